//! Tracking on real interfaces: scripts, interfaces, files and processes change what a router says of its priority, or
//! take it out. Each story is told to Steadfast and to keepalived with the same file, and both have to say the same on
//! the wire.

#![forbid(unsafe_code)]

#[path = "netns_tracking/limits.rs"]
mod limits;
#[path = "netns_tracking/probes.rs"]
mod probes;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use steadfast_tests::lab::Lan;
use steadfast_tests::lab::clock::wait_for;
use steadfast_tests::lab::engine::{Daemon, Engine, available};
use steadfast_tests::lab::namespace;
use steadfast_tests::lab::spec::Spec;

const PATIENCE: Duration = Duration::from_secs(12);
/// Five intervals: who is silent for so long sends no Advertisements.
const SILENCE: Duration = Duration::from_millis(500);

fn main() {
    let arguments = Arguments::from_args();
    if let Err(why) = namespace::permitted(&[]) {
        println!("skipped: {why}");
        return;
    }
    let stories: [Story; 6] = [
        ("scripts-weigh-and-take-out", scripts),
        ("a-script-that-hangs-has-failed", hanging_script),
        ("interfaces-weigh-and-take-out", interfaces),
        ("the-number-in-a-file-counts", files),
        ("a-sync-group-tracks-for-its-members", sync_group),
        ("a-reload-forgets-nothing", reload),
    ];
    let mut trials = Vec::new();
    for engine in [Engine::Steadfast, Engine::Keepalived] {
        if let Err(why) = available(engine) {
            println!("skipped: {engine:?}: {why}");
            continue;
        }
        for (name, story) in stories {
            trials.push(Trial::test(format!("{name}-{}", format!("{engine:?}").to_lowercase()), move || {
                story(&mut Stage::new(engine));
                Ok(())
            }));
        }
    }
    let own: [Story; 8] = [
        ("a-process-dies-and-comes-back", process),
        ("whatever-a-script-has-started-ends-with-it", forking_script),
        ("a-new-tracker-takes-nobody-out-who-runs", new_tracker),
        ("status-and-explain-tell-of-trackers", told),
        ("nothing-is-left-behind", nothing_left),
        ("each-probe-fails-and-recovers", probes::each_probe_counts),
        ("probes-take-out-and-are-told-of", probes::probes_take_out),
        ("whatever-it-is-told-to-read-it-advertises-on-time", limits::refused_in_few_words),
    ];
    for (name, story) in own {
        trials.push(Trial::test(name, move || {
            story(&mut Stage::new(Engine::Steadfast));
            Ok(())
        }));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// A test and its name.
type Story = (&'static str, fn(&mut Stage));

/// One machine on a LAN, with a folder for what is tracked.
struct Stage {
    lan: Lan,
    engine: Engine,
    daemon: Option<Daemon>,
}

/// What is heard of a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// Advertisements with this priority.
    Priority(u8),
    /// Nothing, after it has resigned.
    Resigned,
    /// Nothing.
    Nothing,
}
use Heard::{Nothing, Priority, Resigned};

impl Stage {
    fn new(engine: Engine) -> Self {
        Self { lan: Lan::new(&["one"]), engine, daemon: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.lan.folder().join(name)
    }

    /// Makes a file, with a text.
    #[track_caller]
    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file can be written");
    }

    #[track_caller]
    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).expect("a file can be removed");
    }

    /// Makes a program.
    #[track_caller]
    fn program(&self, name: &str, text: &str) {
        self.write(name, &format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).expect("a mode can be set");
    }

    fn text(&self, before: &str, inside: &str) -> String {
        let mut spec = Spec::v3(10).with(inside);
        spec.globals = "script_user root\n".into();
        // keepalived wants to know a tracker before it is used.
        let text = spec.text(100).replacen("vrrp_instance", &format!("{before}vrrp_instance"), 1);
        text.replace("FOLDER", &self.lan.folder().display().to_string())
    }

    /// Starts with this file: `before` the instance, `inside` it.
    #[track_caller]
    fn start(&mut self, before: &str, inside: &str) {
        let text = self.text(before, inside);
        self.daemon = Some(Daemon::start_with(self.engine, &self.lan, 0, &text));
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("it was started")
    }

    /// Waits until this is heard, and nothing else any more.
    #[track_caller]
    fn hear(&self, expected: Heard) {
        let mark = self.lan.capture.mark();
        match expected {
            Priority(priority) => {
                self.lan.capture.wait_advert(mark, 0, PATIENCE, |advert| advert.priority == priority);
                let mark = self.lan.capture.mark();
                let next = self.lan.capture.wait_advert(mark, 0, PATIENCE, |_| true);
                assert_eq!(next.priority, priority, "it has changed its mind");
            }
            Resigned | Nothing => {
                if expected == Resigned {
                    self.lan.capture.wait_advert(mark, 0, PATIENCE, |advert| advert.priority == 0);
                    // keepalived resigns twice.
                    std::thread::sleep(Duration::from_millis(50));
                }
                let mark = self.lan.capture.mark();
                std::thread::sleep(SILENCE);
                assert_eq!(self.lan.capture.adverts(mark).len(), 0, "it goes on");
            }
        }
    }

    /// Does something, and waits until this is heard.
    #[track_caller]
    fn then(&self, act: impl FnOnce(), expected: Heard) {
        let mark = self.lan.capture.mark();
        act();
        if expected == Resigned {
            self.lan.capture.wait_advert(mark, 0, PATIENCE, |advert| advert.priority == 0);
            std::thread::sleep(Duration::from_millis(50));
            self.hear(Nothing);
        } else {
            self.hear(expected);
        }
    }

    fn reload(&self, text: &str) {
        if self.engine == Engine::Steadfast {
            self.daemon().reload_and_wait(text, PATIENCE);
        } else {
            self.daemon().reload(text);
        }
    }
}

/// `vrrp_script NAME` that succeeds as long as there is a file of its name.
fn script(name: &str, more: &str) -> String {
    format!("vrrp_script {name} {{\n    script \"/usr/bin/test -e FOLDER/{name}\"\n    interval 1\n    {more}\n}}\n")
}

fn scripts(stage: &mut Stage) {
    for name in ["plus", "minus", "zero", "turned"] {
        stage.write(name, "");
    }
    let scripts = [
        script("plus", "weight 20"),
        script("minus", "weight -10\n    rise 2\n    fall 2"),
        script("zero", ""),
        script("turned", "weight 5 reverse"),
    ];
    let uses = "track_script {\n    plus\n    minus weight -30\n    zero\n    turned\n}";
    stage.start(&scripts.concat(), uses);
    stage.hear(Priority(115));
    stage.then(|| stage.remove("minus"), Priority(85));
    stage.then(|| stage.remove("plus"), Priority(65));
    stage.then(|| stage.remove("turned"), Priority(70));
    stage.then(|| stage.remove("zero"), Resigned);
    stage.then(|| stage.write("zero", ""), Priority(70));
    stage.write("plus", "");
    stage.then(|| stage.write("minus", ""), Priority(120));
}

fn hanging_script(stage: &mut Stage) {
    stage.program(
        "check",
        "test -e FOLDER/hang || exit 0\nexec sleep 60"
            .replace("FOLDER", &stage.path("").display().to_string())
            .as_str(),
    );
    let text = "vrrp_script hangs {\n    script FOLDER/check\n    interval 1\n    timeout 1\n    weight -30\n}\n";
    stage.start(text, "track_script {\n    hangs\n}");
    stage.hear(Priority(100));
    stage.then(|| stage.write("hang", ""), Priority(70));
    stage.then(|| stage.remove("hang"), Priority(100));
}

fn interfaces(stage: &mut Stage) {
    let ip = |command: &str| _ = stage.lan.host(0).namespace.ip(command);
    for name in ["w", "z", "t"] {
        ip(&format!("link add {name}0 type veth peer name {name}1"));
        ip(&format!("link set {name}0 up"));
        ip(&format!("link set {name}1 up"));
    }
    let (lan, engine) = (&stage.lan, stage.engine);
    let text =
        stage.text("", "track_interface {\n    eth0 weight 7\n    w0 weight -40\n    z0\n    t0 weight 10 reverse\n}");
    let _daemon = Daemon::start_with(engine, lan, 0, &text);
    stage.hear(Priority(90));
    stage.then(|| ip("link set w0 down"), Priority(50));
    // Its carrier is what counts.
    stage.then(|| ip("link set t1 down"), Priority(60));
    stage.then(|| ip("link set z0 down"), Resigned);
    ip("link set w0 up");
    stage.then(|| ip("link set z0 up"), Priority(100));
    stage.then(|| ip("link set t1 up"), Priority(90));
}

fn files(stage: &mut Stage) {
    stage.write("number", "5\n");
    let text = "track_file weighed {\n    file FOLDER/number\n    weight 3\n}\ntrack_file zero {\n    file FOLDER/zero\n    weight 0\n    init_file 0\n}\n";
    stage.start(text, "track_file {\n    weighed\n    zero weight 0\n}");
    stage.hear(Priority(115));
    stage.then(|| stage.write("number", "-20 and words"), Priority(40));
    stage.then(|| stage.write("number", "-100"), Resigned);
    stage.write("other", "10");
    let rename = || fs::rename(stage.path("other"), stage.path("number")).expect("a file can be renamed");
    stage.then(rename, Priority(130));
    stage.then(|| stage.remove("number"), Priority(100));
    stage.then(|| stage.write("zero", "1"), Resigned);
    stage.then(|| stage.write("zero", "0"), Priority(100));
}

fn sync_group(stage: &mut Stage) {
    for name in ["weighed", "zero", "ignored"] {
        stage.write(name, "");
    }
    let second = Spec::v3(10).instance("SECOND", 52, 100, &["10.9.0.101/24"]);
    let group = "vrrp_sync_group BOTH {\n    group {\n        VI\n        SECOND\n    }\n    track_script {\n        weighed\n        zero\n    }\n}\n";
    let scripts = [script("weighed", "weight -10"), script("zero", ""), script("ignored", "weight -50")].concat();
    stage.start(&format!("{scripts}{second}{group}"), "track_script {\n    ignored\n}");
    let both = |priority: u8| {
        let mark = stage.lan.capture.mark();
        for vrid in [51, 52] {
            let fits =
                |advert: &steadfast_tests::lab::frames::Advert| (advert.vrid, advert.priority) == (vrid, priority);
            stage.lan.capture.wait_advert(mark, 0, PATIENCE, fits);
        }
    };
    both(100);
    stage.remove("ignored");
    stage.remove("weighed");
    both(90);
    stage.then(|| stage.remove("zero"), Resigned);
    stage.write("zero", "");
    both(90);
}

fn reload(stage: &mut Stage) {
    stage.write("zero", "");
    let (scripts, uses) =
        ([script("minus", "weight -30"), script("zero", "")].concat(), "track_script {\n    minus\n    zero\n}");
    stage.start(&scripts, uses);
    stage.hear(Priority(70));
    let mark = stage.lan.capture.mark();
    for round in 0..3 {
        stage.reload(&stage.text(&format!("{scripts}# {round}\n"), uses));
        let mark = stage.lan.capture.mark();
        stage.lan.capture.wait_advert(mark, 0, PATIENCE, |_| true);
    }
    std::thread::sleep(SILENCE);
    let others: Vec<u8> = stage.lan.capture.adverts(mark).iter().map(|a| a.priority).filter(|p| *p != 70).collect();
    assert_eq!(others, [0_u8; 0], "a reload changes nothing");
}

fn process(stage: &mut Stage) {
    let program = stage.path("sf-tracked");
    std::os::unix::fs::symlink("/bin/sleep", &program).expect("a link can be made");
    let text = "vrrp_track_process there {\n    process sf-tracked\n    weight 15\n}\n";
    stage.start(text, "track_process {\n    there\n}");
    stage.hear(Priority(100));
    let log = stage.daemon().process.log();
    assert!(log.contains("the kernel does not tell of processes here"), "{log}");
    let run = || Command::new(&program).arg("60").spawn().expect("a program runs");
    let mut child = run();
    stage.hear(Priority(115));
    stage.then(|| _ = child.kill(), Priority(100));
    let _ = child.wait();
    child = run();
    stage.hear(Priority(115));
    let _ = child.kill();
    let _ = child.wait();
}

/// How many processes have this argument.
fn running(argument: &str) -> usize {
    let lines = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = lines.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())).count()
}

fn forking_script(stage: &mut Stage) {
    // Neither it nor what it starts listens to SIGTERM.
    let argument = format!("60.{}", std::process::id());
    stage.program("forks", &format!("trap '' TERM\nwhile :; do sleep {argument} & sleep 0.02; done"));
    let text = "vrrp_script forks {\n    script FOLDER/forks\n    interval 1\n    timeout 1\n    weight -30\n}\n";
    stage.start(text, "track_script {\n    forks\n}");
    stage.hear(Priority(100));
    wait_for("children", PATIENCE, || (running(&argument) > 5).then_some(()));
    stage.hear(Priority(70));
    // Two seconds after its time was over nothing of that run is left, before the next one has begun as many.
    let most = wait_for("their end", PATIENCE, || {
        let count = running(&argument);
        (count < 5).then_some(count)
    });
    assert!(most < 5);
    stage.daemon().terminate();
    wait_for("the end of all", PATIENCE, || (running(&argument) == 0).then_some(()));
}

fn new_tracker(stage: &mut Stage) {
    stage.start("", "");
    stage.hear(Priority(100));
    let mark = stage.lan.capture.mark();
    stage.write("zero", "");
    stage.write("number", "0");
    let text = script("zero", "") + "track_file number {\n    file FOLDER/number\n}\n";
    stage.reload(&stage.text(&text, "track_script {\n    zero\n}\ntrack_file {\n    number weight 0\n}"));
    wait_for("the first result", PATIENCE, || {
        stage.daemon().process.log().contains("VRRP_Script(zero) succeeded").then_some(())
    });
    let wrong = stage.lan.capture.adverts(mark).iter().filter(|advert| advert.priority != 100).count();
    assert_eq!(wrong, 0, "nothing is wrong with what it tracks");
    stage.then(|| stage.remove("zero"), Resigned);
    // The next one without it: nothing keeps the router out.
    stage.then(|| stage.reload(&stage.text("", "")), Priority(100));
}

fn told(stage: &mut Stage) {
    stage.write("number", "4");
    let text = script("minus", "weight -30") + "track_file number {\n    file FOLDER/number\n}\n";
    stage.start(&text, "track_script {\n    minus\n}\ntrack_file {\n    number weight 2\n}");
    stage.hear(Priority(78));
    let status = stage.daemon().status().expect("a status");
    let tracker = |name: &str| {
        let trackers = status["trackers"].as_array().expect("trackers");
        trackers.iter().find(|tracker| tracker["name"] == name).expect("the tracker").clone()
    };
    let (minus, number) = (tracker("minus"), tracker("number"));
    assert_eq!(
        (&minus["kind"], &minus["up"], &minus["result"]),
        (&"script".into(), &false.into(), &"exit status 1".into())
    );
    assert_eq!(minus["bears_on"][0]["adds"], -30);
    assert_eq!((&number["number"], &number["bears_on"][0]["adds"]), (&4.into(), &8.into()));
    let ask = |words: &[&str]| {
        let mut command = Command::new(steadfast_tests::lab::steadfast_binary());
        let output = command.args(words).arg("--control").arg(stage.daemon().control()).output().expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let table = ask(&["status"]);
    assert!(table.contains("minus    script  down"), "{table}");
    assert!(table.contains("VI (-30 of -30)"), "{table}");
    let explained = ask(&["explain", "VI"]);
    assert!(
        explained.contains("priority     78 = 100 - 30 (script minus) + 8 (file number (its number is 4))"),
        "{explained}"
    );
    assert!(explained.contains("script minus: down, weight -30; when it works, priority 108"), "{explained}");
}

fn nothing_left(stage: &mut Stage) {
    let argument = format!("61.{}", std::process::id());
    let quick = |name: &str, script: &str| {
        format!("vrrp_script {name} {{\n    script \"{script}\"\n    interval 0.02\n    weight -1\n}}\n")
    };
    let hangs = format!("/bin/sleep {argument}");
    let text = [quick("good", "/bin/true"), quick("bad", "/bin/false"), quick("hangs", &hangs)].concat();
    stage.start(&text, "track_script {\n    good\n    bad\n    hangs\n}");
    stage.hear(Priority(98));
    let process = &stage.daemon().process;
    let files = || fs::read_dir(format!("/proc/{}/fd", process.pid())).map_or(0, Iterator::count);
    let (before, files_before) = (process.resident_kb(), files());
    std::thread::sleep(Duration::from_secs(4));
    let children = process.family().len() - 1;
    let grown = process.resident_kb().saturating_sub(before);
    println!("figure: scripts: some 400 runs later {grown} KiB more, {children} children at that moment");
    assert!(children <= 4 && grown <= 300, "{children} children, {grown} KiB more");
    assert!(files() <= files_before + 4, "{} descriptors, {files_before} before", files());
    stage.daemon().terminate();
    wait_for("the end of scripts", PATIENCE, || (running(&argument) == 0).then_some(()));
}
