//! Configurations that are too large, too deep, without end or no files at all, given to a running agent: each is
//! answered in clear and few words, what was in force stays so, memory stays within a bound, and Advertisements are on
//! time beside a loop that does nothing else. `steadfast check` says the same of them.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;

use steadfast_tests::lab::clock::Stamp;
use steadfast_tests::lab::frames::discard;
use steadfast_tests::lab::lateness::{Bare, Lateness};
use steadfast_tests::lab::{steadfast_binary, thorough};

use super::*;

const INTERVAL: Duration = Duration::from_millis(100);
/// How much later than the bare loop, in intervals, the latest Advertisement may be: a Backup has two more of patience.
const ABOVE: u32 = 1;
/// What the agent may have taken at its most, in kB: sixteen times the largest file. The most is 11 times, for 10 MB of
/// virtual servers that it remembers until it has found too many.
const PEAK: u64 = 160 << 10;
/// What may be left of it, in kB: some pages of the heap in which something else has found a place.
const LEFT: u64 = 4 << 10;
/// The findings of each of three severities that are shown, and the line that counts the others.
const MOST_LINES: usize = 3 * 100 + 1;

/// What the agent is given.
enum More {
    /// This text before what is in force already.
    Text(String),
    /// Instead of a file, whatever this makes in its place.
    Other(fn(&Path)),
}

/// A configuration that is given to the agent.
struct Case {
    name: &'static str,
    more: More,
    /// Whether it is carried out.
    applied: bool,
    /// What is said of it; FILE is its path.
    says: &'static [&'static str],
}

/// A line of /proc/PID/status, in kB.
fn memory(pid: i32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
    line.trim_start_matches(':').trim_end_matches("kB").trim().parse().expect("a number")
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo runs").success());
}

/// 100 bytes a line, 10 MB.
fn many(line: impl Fn(usize) -> String) -> String {
    (0..100_000).map(|number| format!("{:<99}\n", line(number))).collect()
}

fn cases() -> Vec<Case> {
    const KIB: usize = 1 << 10;
    let case = |name, applied, text: String, says| Case { name, more: More::Text(text), applied, says };
    let other = |name, make, says| Case { name, more: More::Other(make), applied: false, says };
    let server = |number: usize| {
        let address = format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
        format!("virtual_server {address} 80 {{\nreal_server 10.0.0.1 80 {{\nTCP_CHECK {{\n}}\n}}\n}}\n")
    };
    let instance = |name: &str, vrid: usize, more: &str| {
        format!(
            "vrrp_instance {name} {{\ninterface none{vrid}\nvirtual_router_id 1\nvirtual_ipaddress {{\n10.9.1.1\n{more}}}\n}}\n"
        )
    };
    let lines = |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
    let group = format!(
        "{}vrrp_sync_group G {{\ngroup {{\n{}}}\ntrack_interface {{\n{}}}\n}}\n",
        lines(2000, &|number| instance(&format!("V{number}"), number, "")),
        lines(2000, &|number| format!("V{number}\n")),
        lines(100_000, &|number| format!("e{number}\n"))
    );
    let double = |number: usize| format!("$A{}=$A{number}$A{number}\n", number + 1);
    let mut cases = vec![
        case(
            "100,000 unknown keywords",
            true,
            many(|number| format!("keyword_{number:06} that nobody knows")),
            &[": warning: unknown keyword `keyword_000000`; it has no effect", ": and 99900 warnings more"],
        ),
        case("10 MB of comments", true, many(|_| "# nothing".into()), &[]),
        case(
            "10 MB of virtual servers",
            false,
            (0..110_000).map(server).collect(),
            &[": error: ", " errors, ", " warnings more"],
        ),
        case(
            "10 MB of addresses",
            false,
            instance("MANY", 0, &lines(850_000, &|n| format!("10.{}.{}.{}\n", n >> 16, n >> 8 & 255, n & 255))),
            &[": error: more than 100000 virtual addresses"],
        ),
        case(
            "2,000 instances that track 100,000 interfaces each",
            false,
            group,
            &[": error: more than 100000 trackers of instances, those of a sync group counted for each member"],
        ),
        case(
            "a line of 10 MB",
            false,
            "a".repeat(10_000 * KIB),
            &[": error: the line is longer than 1024 characters, which keepalived would cut"],
        ),
        case(
            "10,000 blocks within each other",
            true,
            "block {\n".repeat(10_000) + &"}\n".repeat(10_000),
            &[": warning: unknown keyword `block`; it has no effect"],
        ),
        case(
            "a million blocks that nobody closes",
            false,
            "block {\n".repeat(1_000_000),
            &[": error: the block of `block` has no `}`"],
        ),
        case("one that includes itself", false, "include FILE".into(), &["it would include itself"]),
        case(
            "what is no file, included",
            false,
            "include /dev/zero\ninclude FILE.fifo\ninclude /\n".into(),
            &[
                ":1:9: error: `/dev/zero` is not included: the file cannot be read: it is no file",
                ":2:9: error: `FILE.fifo` is not included: the file cannot be read: it is no file",
                ":3:9: error: `/` is not included: the file cannot be read: it is no file",
            ],
        ),
        case(
            "100,000 files that are not there",
            false,
            many(|_| "include nothing".into()),
            &[": error: `nothing` is not included: there is no such file", ": and 99900 errors more"],
        ),
        case(
            "a sequence of 10^16",
            false,
            "~SEQ(A, 1, 100000000) ~SEQ(B, 1, 100000000) x".into(),
            &[":1:1: error: nothing of the file is read: `$`, `~SEQ` and the like would make more of it than 16 MiB"],
        ),
        case(
            "a list of lists",
            false,
            format!("~LST(A, {0}) ~LST(B, {0}) x$A$B", "a, ".repeat(10_000) + "a"),
            &[":1:1: error: nothing of the file is read: `$`, `~SEQ` and the like would make more of it than 16 MiB"],
        ),
        case(
            "a value of 2^30 letters",
            false,
            format!("$A0=a\n{}x $A30\n", (0..30).map(double).collect::<String>()),
            &[":32:1: error: nothing of the file is read: `$`, `~SEQ` and the like would make more of it than 16 MiB"],
        ),
        case(
            "a line of a million values",
            false,
            format!("$A=b\n{}\n", "$A ".repeat(1_000_000)),
            &[":2:1: error: nothing of the file is read: `$`, `~SEQ` and the like would make more of it than 16 MiB"],
        ),
        case(
            "20 MB of comments",
            false,
            many(|_| "# nothing".into()).repeat(2),
            &["FILE:1:1: error: the file is larger than 16 MiB"],
        ),
        other(
            "10 MB that are no text",
            |path| fs::write(path, vec![0xff; 10_000_000]).expect("it can be written"),
            &["FILE:1:1: error: the text is not UTF-8 from here on"],
        ),
        other(
            "a folder",
            |path| fs::create_dir(path).expect("a folder can be made"),
            &["FILE:1:1: error: the file cannot be read: it is no file"],
        ),
        other(
            "/dev/zero",
            |path| symlink("/dev/zero", path).expect("a link can be made"),
            &["FILE:1:1: error: the file cannot be read: it is no file"],
        ),
        other(
            "a pipe of which nothing comes",
            |path| {
                pipe(path);
                let path = path.to_owned();
                std::thread::spawn(move || drop(File::options().write(true).open(path)));
            },
            &["FILE:1:1: error: nothing has come out of the pipe"],
        ),
    ];
    if thorough() {
        let nothing = &["FILE:1:1: error: nothing has come out of the pipe within 5 s"];
        cases.push(other("a pipe that nobody writes to", pipe, nothing));
    }
    cases
}

impl Case {
    /// Puts it where the agent reads it.
    fn put(&self, path: &Path, text: &str) {
        let gone = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
        gone.expect("what was there can be removed");
        match &self.more {
            More::Text(more) => {
                let more = more.replace("FILE", &path.display().to_string());
                fs::write(path, format!("{more}\n{text}")).expect("a configuration can be written");
            }
            More::Other(make) => make(path),
        }
    }

    /// Whether it was answered as it ought to be.
    #[track_caller]
    fn judge(&self, path: &Path, answer: &Output) {
        let said = String::from_utf8_lossy(&answer.stdout);
        let shown = || said.chars().take(2000).collect::<String>();
        for words in self.says {
            let words = words.replace("FILE", &path.display().to_string());
            assert!(said.contains(&words), "{}: {words}: {}", self.name, shown());
        }
        let place = path.display().to_string();
        assert!(said.lines().count() <= MOST_LINES, "{}: {} lines", self.name, said.lines().count());
        assert!(said.lines().all(|line| line.starts_with(&place) && line.len() < 1000), "{}: {}", self.name, shown());
    }
}

pub(super) fn refused_in_few_words(stage: &mut Stage) {
    stage.lan = Lan::new(&["one", "bare"]);
    // What is tracked is as large, and talks as much.
    stage.program("talks", &format!("head -c 10000000 /dev/zero\nexit 0\n{}", "#\n".repeat(5_000_000)));
    stage.write("long", &format!("5\n{}", "7".repeat(10_000_000)));
    pipe(&stage.path("0.conf.fifo"));
    let trackers = "vrrp_script talks {\n    script FOLDER/talks\n    interval 1\n    weight 10\n}\ntrack_file long {\n    file FOLDER/long\n    weight 1\n}\n";
    let text = stage.text(trackers, "track_script {\n    talks\n}\ntrack_file {\n    long\n}");
    let daemon = Daemon::start_with(stage.engine, &stage.lan, 0, &text);
    stage.hear(Priority(115));
    // The first reload may take what the others need too.
    daemon.reload_and_wait(&text, PATIENCE);
    let (path, pid) = (stage.path("0.conf"), daemon.process.pid());
    // What of the program was read from its file is nothing that a configuration has taken.
    let before = memory(pid, "RssAnon");
    let bare = Bare::start(&stage.lan.host(1).namespace, INTERVAL);
    let mark = stage.lan.capture.mark();
    let cases = cases();
    let mut slowest = ("", 0.0);
    for case in &cases {
        let mut asked = |command: &mut Command| {
            case.put(&path, &text);
            let begun = Stamp::now();
            let answer = command.output().expect("it runs");
            let took = Stamp::now().ms_since(begun);
            if took > slowest.1 {
                slowest = (case.name, took);
            }
            case.judge(&path, &answer);
            answer
        };
        let steadfast = || Command::new(steadfast_binary());
        let reload = asked(steadfast().arg("reload").arg("--control").arg(daemon.control()));
        assert_eq!(reload.status.code(), Some(if case.applied { 0 } else { 2 }), "{}: {reload:?}", case.name);
        let check = asked(steadfast().arg("check").arg(&path));
        assert_eq!(check.status.code() < Some(2), case.applied, "{}: {check:?}", case.name);
        assert_eq!(reload.stdout, check.stdout, "{}", case.name);
    }
    println!(
        "figure: limits: the slowest of {} configurations, {}, is answered in {:.0} ms",
        cases.len(),
        slowest.0,
        slowest.1
    );
    let (frames, adverts) = (stage.lan.capture.since(mark), stage.lan.capture.adverts(mark));
    bare.stop();
    let adverts: Vec<_> = adverts.iter().filter(|advert| advert.host == 0).collect();
    assert!(adverts.iter().all(|advert| advert.priority == 115), "{adverts:?}");
    let sent: Vec<_> = adverts.iter().map(|advert| advert.at).collect();
    let beside = frames.iter().filter(|frame| frame.host == 1 && discard(&frame.bytes).is_some());
    let beside: Vec<_> = beside.map(|frame| frame.at).collect();
    let (late, beside) = (Lateness::after_each_other(&sent, INTERVAL), Lateness::after_each_other(&beside, INTERVAL));
    println!("figure: limits: Advertisements late: {late}; a bare loop beside them: {beside}");
    let above = (INTERVAL * ABOVE).as_secs_f64() * 1000.0;
    assert!(late.latest <= beside.latest + above, "{late}; a bare loop beside it: {beside}");
    let (left, peak) = (memory(pid, "RssAnon").saturating_sub(before), memory(pid, "VmHWM"));
    println!("figure: limits: {peak} kB at most, {left} kB more than before afterwards");
    assert!(peak <= PEAK && left <= LEFT, "{peak} kB at most, {left} kB left");
    // All of it is in the log too, and none of it in the place of anything else.
    let log = daemon.process.log();
    assert!(!log.contains("could not be written"), "{}", log.lines().filter(|line| line.contains("lost")).count());
    for words in [": and 99900 warnings more", ": and 99900 errors more", "nothing has come out of the pipe"] {
        assert!(log.contains(words), "{words}");
    }
    let refused = cases.iter().filter(|case| !case.applied).count();
    assert_eq!(log.matches("the configuration is not valid; the old one stays in force").count(), refused);
}
