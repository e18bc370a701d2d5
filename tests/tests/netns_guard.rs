//! What the agent's threads may do, and what its scripts may: every thread has the capabilities that its work needs and
//! no others, and a script has what its user has. How urgent the threads are, which a script is not.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use nix::sys::signal::Signal;
use steadfast_tests::lab::clock::wait_for;
use steadfast_tests::lab::engine::{Daemon, Engine};
use steadfast_tests::lab::spec::Spec;
use steadfast_tests::lab::{Lan, namespace};

const PATIENCE: Duration = Duration::from_secs(12);

/// The user that scripts are run as who are not root's.
const NOBODY: u32 = 65_534;

// capabilities(7)
const CHOWN: u64 = 1;
const DAC_OVERRIDE: u64 = 1 << 1;
const DAC_READ_SEARCH: u64 = 1 << 2;
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;

fn main() {
    let arguments = Arguments::from_args();
    if let Err(why) = namespace::permitted(&[]) {
        println!("skipped: {why}");
        return;
    }
    // Which users there are to be.
    let users = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if users.split_whitespace().nth(2) == Some("1") {
        println!("skipped: in a user namespace of a single user no script can be another's");
        return;
    }
    let tests: [(&str, fn(&Stage)); 5] = [
        ("every-thread-has-the-rights-it-needs", rights_of_threads),
        ("what-a-reload-brings-has-its-rights-too", rights_after_a_reload),
        ("urgency-is-the-threads-and-no-scripts", urgency),
        ("all-of-it-is-in-the-namespace-that-the-file-names", namespace_of_the_file),
        (LATE, lateness),
    ];
    let realtime = realtime();
    if let Err(why) = &realtime {
        println!("skipped: real-time priorities: {why}");
    }
    let chosen = tests.into_iter().filter(|(name, _)| realtime.is_ok() || *name != LATE);
    let trials = chosen.map(|(name, test)| {
        Trial::test(name, move || {
            test(&Stage::new());
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

const LATE: &str = "who-is-late-becomes-more-urgent";

/// Whether there are real-time priorities here; a group of processes may have none (CONFIG_RT_GROUP_SCHED).
fn realtime() -> Result<(), String> {
    let output = Command::new("chrt").args(["--rr", "1", "true"]).output().map_err(|error| format!("chrt: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

/// One machine, with another beside it, and a folder in which everybody may write.
struct Stage {
    lan: Lan,
}

impl Stage {
    fn new() -> Self {
        let stage = Self { lan: Lan::new(&["one", "other"]) };
        fs::create_dir(stage.path("open")).expect("a folder can be made");
        fs::set_permissions(stage.path("open"), fs::Permissions::from_mode(0o777)).expect("a mode can be set");
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.lan.folder().join(name)
    }

    /// A text about files of this stage.
    fn text(&self, text: &str) -> String {
        text.replace("FOLDER", &self.lan.folder().display().to_string())
    }

    /// Makes a program that leaves what it prints in `open/NAME`, whole.
    fn program(&self, name: &str, text: &str) {
        let path = self.path(name);
        let text = format!(
            "#!/bin/sh\n{{\n{text}\n}} >FOLDER/open/{name}.new 2>&1\n[ -e FOLDER/open/{name} ] || mv FOLDER/open/{name}.new FOLDER/open/{name}\n"
        );
        fs::write(&path, self.text(&text)).expect("a program can be written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode can be set");
    }

    /// What it has left.
    #[track_caller]
    fn said(&self, name: &str) -> String {
        wait_for(name, PATIENCE, || fs::read_to_string(self.path("open").join(name)).ok())
    }

    fn start(&self, globals: &str, before: &str, inside: &str) -> Daemon {
        let daemon = Daemon::start_with(Engine::Steadfast, &self.lan, 0, &self.configuration(globals, before, inside));
        daemon.wait_state("active", PATIENCE);
        daemon
    }

    fn configuration(&self, globals: &str, before: &str, inside: &str) -> String {
        let mut spec = Spec::v3(10).with(inside);
        spec.globals = self.text(&format!("script_user root\n{globals}"));
        self.text(&spec.text(200).replacen("vrrp_instance", &format!("{before}vrrp_instance"), 1))
    }
}

/// The number behind a name of /proc/PID/status.
#[track_caller]
fn number(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    u64::from_str_radix(line.unwrap_or_else(|| panic!("no {name} in {status}")).trim(), 16).expect("a number")
}

/// The capabilities of this process, which whoever runs the tests has.
fn own() -> u64 {
    number(&fs::read_to_string("/proc/self/status").expect("there is /proc"), "CapEff")
}

/// A file of /proc about every thread, by the thread's name.
fn of_threads(daemon: &Daemon, file: &str) -> BTreeMap<String, String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.process.pid())).expect("it runs").flatten();
    let read = |path: PathBuf| fs::read_to_string(path).ok();
    tasks
        .filter_map(|task| Some((read(task.path().join("comm"))?.trim().to_owned(), read(task.path().join(file))?)))
        .collect()
}

/// The status of every thread, by its name.
fn threads(daemon: &Daemon) -> BTreeMap<String, String> {
    of_threads(daemon, "status")
}

/// Those that start others.
const STARTING: [&str; 2] = ["keeper", "programs"];

/// Asserts that the threads are those of the list, and that each has what stands there and can get nothing more, but for
/// those that start others.
#[track_caller]
fn assert_rights(daemon: &Daemon, expected: &[(&str, u64)]) {
    let mut names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    wait_for("all threads", PATIENCE, || {
        let mut statuses = threads(daemon);
        statuses.retain(|name, _| !STARTING.contains(&name.as_str()));
        let shed = statuses.values().all(|status| number(status, "NoNewPrivs") == 1);
        (statuses.keys().eq(&names) && shed).then_some(())
    });
    let statuses = threads(daemon);
    assert!(statuses.contains_key("keeper"), "{:?}", statuses.keys());
    for (name, status) in statuses {
        if STARTING.contains(&name.as_str()) {
            assert_eq!(number(&status, "CapEff"), own(), "{status}");
            assert_eq!(number(&status, "NoNewPrivs"), 0, "{status}");
            continue;
        }
        let (_, rights) = expected.iter().find(|(expected, _)| *expected == name).expect("it is expected");
        for set in ["CapEff", "CapPrm"] {
            assert_eq!(number(&status, set), rights & own(), "{name}: {status}");
        }
        for set in ["CapInh", "CapAmb", "CapBnd"] {
            assert_eq!(number(&status, set), 0, "{name}: {status}");
        }
    }
}

/// Those that every agent has.
const ALWAYS: [(&str, u64); 6] = [
    ("steadfast", NET_ADMIN | NET_RAW),
    ("addresses", NET_ADMIN),
    ("links", NET_ADMIN),
    ("reload", DAC_READ_SEARCH),
    ("log", 0),
    ("control", 0),
];

/// What a script says that is to do what only root may, and what it is allowed at all.
const PROGRAM: &str = "cat /proc/self/status\ntouch FOLDER/open/file-$(id -u)\nchown 1 FOLDER/open/file-$(id -u) && echo given away\nip link add x$(id -u) type veth peer name y$(id -u) && echo made";

/// Asserts that root's script may do all that the agent may, and another's nothing.
#[track_caller]
fn assert_scripts(stage: &Stage, root: &str, nobody: &str) {
    let (root, nobody) = (stage.said(root), stage.said(nobody));
    assert_eq!(number(&root, "CapEff"), own(), "{root}");
    assert!(root.contains("given away") && root.contains("made"), "{root}");
    assert_eq!(fs::metadata(stage.path("open/file-0")).expect("the file is there").uid(), 1);
    for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        assert_eq!(number(&nobody, set), 0, "{nobody}");
    }
    assert!(nobody.contains(&format!("Uid:\t{NOBODY}")), "{nobody}");
    assert!(!nobody.contains("given away") && !nobody.contains("made"), "{nobody}");
    for said in [root, nobody] {
        // sudo in a script goes on working.
        assert_eq!(number(&said, "NoNewPrivs"), 0, "{said}");
    }
}

const TRACKED: &str = "vrrp_script tracked {\n    script FOLDER/tracked\n    interval 1\n    timeout 30\n    user nobody nogroup\n    weight 1\n}\n";
const INSIDE: &str = "notify_master FOLDER/master\ntrack_script {\n    tracked\n}";

fn rights_of_threads(stage: &Stage) {
    stage.program("master", PROGRAM);
    stage.program("tracked", PROGRAM);
    let mut daemon = stage.start("notify_fifo FOLDER/fifo nobody nogroup", TRACKED, INSIDE);
    let more = [("tracking", NET_ADMIN | NET_RAW | DAC_OVERRIDE), ("notify", CHOWN | DAC_OVERRIDE)];
    assert_rights(&daemon, &[&ALWAYS[..], &more].concat());
    assert_scripts(stage, "master", "tracked");
    assert_eq!(fs::metadata(stage.path("fifo")).expect("a FIFO").uid(), NOBODY);
    daemon.terminate();
    assert_eq!(daemon.process.wait(PATIENCE), Some(0), "{}", daemon.process.log());
    assert!(!stage.lan.addresses(0).contains(&Spec::v3(10).vip()), "the address stays");
    assert!(!stage.path("fifo").exists(), "the FIFO stays");
}

/// Threads that only a reload needs are started by a loop that has let go of their rights long ago.
fn rights_after_a_reload(stage: &Stage) {
    let mut daemon = stage.start("", "", "");
    assert_rights(&daemon, &ALWAYS);
    let ip = |command: &str| _ = stage.lan.host(0).namespace.ip(command);
    for command in ["link add new0 type veth peer name new1", "addr add 10.8.0.1/24 dev new0", "link set new1 up"] {
        ip(command);
    }
    ip("link set new0 up");
    stage.program("master", PROGRAM);
    stage.program("tracked", PROGRAM);
    // A folder of somebody else's, which only its owner may look into.
    fs::create_dir(stage.path("private")).expect("a folder can be made");
    fs::write(stage.path("private/more.conf"), "# nothing\n").expect("a file can be written");
    std::os::unix::fs::chown(stage.path("private/more.conf"), Some(NOBODY), None).expect("a file can be given away");
    std::os::unix::fs::chown(stage.path("private"), Some(NOBODY), None).expect("a folder can be given away");
    for (name, mode) in [("private/more.conf", 0o600), ("private", 0o700)] {
        fs::set_permissions(stage.path(name), fs::Permissions::from_mode(mode)).expect("a mode can be set");
    }
    let second = Spec::v3(10).instance("SECOND", 52, 100, &["10.8.0.100/24"]).replace("eth0", "new0");
    let third = Spec::v3(10).with_vmac(true).instance("THIRD", 53, 100, &["10.9.0.101/24"]);
    let third = third.replacen("    virtual_ip", "    notify_master FOLDER/master\n    virtual_ip", 1);
    let file =
        "include FOLDER/private/more.conf\ntrack_file made {\n    file FOLDER/private/made\n    init_file 3\n}\n";
    let text = stage.configuration(
        "notify_fifo FOLDER/fifo nobody nogroup",
        &format!("{file}{TRACKED}{second}{third}"),
        "track_script {\n    tracked\n}\ntrack_file {\n    made\n}",
    );
    daemon.reload(&text);
    let holds = |address: &str| stage.lan.addresses(0).contains(&address.parse().expect("an address")).then_some(());
    for address in ["10.8.0.100", "10.9.0.101", "10.9.0.100"] {
        wait_for(address, PATIENCE, || holds(address));
    }
    let more = [("tracking", NET_ADMIN | NET_RAW | DAC_OVERRIDE), ("notify", CHOWN | DAC_OVERRIDE)];
    assert_rights(&daemon, &[&ALWAYS[..], &more].concat());
    assert_scripts(stage, "master", "tracked");
    let made = wait_for("the tracked file", PATIENCE, || fs::read_to_string(stage.path("private/made")).ok());
    assert_eq!(made, "3\n");
    daemon.terminate();
    assert_eq!(daemon.process.wait(PATIENCE), Some(0), "{}", daemon.process.log());
    let left = stage.lan.addresses(0);
    assert!(!left.iter().any(|address| address.to_string().ends_with(".100")), "{left:?}");
    assert!(!stage.lan.host(0).namespace.ip("-o link show").contains("vrrp."), "a virtual MAC interface stays");
}

/// How a thread or a program is scheduled.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Scheduling {
    nice: i32,
    realtime: u32,
    policy: u32,
}

const OTHER: u32 = 0;
const ROUND_ROBIN: u32 = 2;
/// SCHED_RESET_ON_FORK
const ALONE: u32 = 0x4000_0000;

impl Scheduling {
    /// Reads /proc/PID/stat.
    #[track_caller]
    fn of(stat: &str) -> Self {
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let number = |field: usize| fields[field - 3].parse::<i64>().expect("a number");
        let small = |field: usize| u32::try_from(number(field)).expect("a small number") & !ALONE;
        Self { nice: i32::try_from(number(19)).expect("a small number"), realtime: small(40), policy: small(41) }
    }

    fn ordinary(nice: i32) -> Self {
        Self { nice, realtime: 0, policy: OTHER }
    }
}

/// A line of /proc/PID/status.
#[track_caller]
fn line<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).trim()
}

const SERVICE: &str = "virtual_server 10.9.0.100 80 {\n    protocol TCP\n    delay_loop 1\n    warmup 0\n    real_server 10.9.0.1 80 {\n        MISC_CHECK {\n            misc_path FOLDER/check\n        }\n    }\n}\n";
const ABOUT_ITSELF: &str = "cat /proc/self/stat /proc/self/status\numask\nulimit -l";

fn urgency(stage: &Stage) {
    for name in ["master", "check", "later"] {
        stage.program(name, ABOUT_ITSELF);
    }
    // In the namespace of the test's own, the plainest of all threads.
    let plain = fs::read_to_string("/proc/self/status").expect("there is /proc");
    let umask = Command::new("sh").args(["-c", "umask"]).output().expect("there is a shell").stdout;
    let umask = String::from_utf8(umask).expect("digits");
    let nice = Scheduling::of(&fs::read_to_string("/proc/self/stat").expect("there is /proc")).nice;
    let globals = "vrrp_rt_priority 7\nvrrp_priority -3\nvrrp_cpu_affinity 0\nvrrp_no_swap\nchecker_rt_priority 5\nchecker_priority 4\n\
                   checker_cpu_affinity 0\nvrrp_process_name watched\nchecker_process_name checks\numask 077\n";
    let mut daemon = stage.start(globals, SERVICE, "notify_master FOLDER/master");
    let urgent = realtime().is_ok();
    let policy = if urgent { ROUND_ROBIN } else { OTHER };
    let expected = [("watched", -3, 7), ("addresses", -3, 7), ("checks", 4, 5)];
    let stats = wait_for("what was asked for", PATIENCE, || {
        let stats = of_threads(&daemon, "stat");
        let is = |(name, nice, realtime): &(&str, i32, u32)| {
            let expected = Scheduling { nice: *nice, realtime: if urgent { *realtime } else { 0 }, policy };
            stats.get(*name).is_some_and(|stat| Scheduling::of(stat) == expected)
        };
        expected.iter().all(is).then_some(stats)
    });
    if !urgent {
        let log = daemon.process.log();
        assert!(log.contains("vrrp_rt_priority: it cannot be done"), "{log}");
    }
    assert_eq!(Scheduling::of(&stats["links"]).policy, OTHER);
    let locked = |daemon: &Daemon| line(&threads(daemon)["watched"], "VmLck").to_owned();
    assert_ne!(locked(&daemon), "0 kB", "{}", daemon.process.log());
    for name in ["watched", "checks"] {
        assert_eq!(line(&threads(&daemon)[name], "Cpus_allowed_list"), "0", "{name}");
    }
    for (name, nice) in [("master", nice), ("check", 5)] {
        let said = stage.said(name);
        assert_eq!(Scheduling::of(said.lines().next().unwrap_or("")), Scheduling::ordinary(nice), "{name}: {said}");
        assert_eq!(line(&said, "Cpus_allowed_list"), line(&plain, "Cpus_allowed_list"), "{name}: {said}");
        assert_eq!(line(&said, "VmLck"), "0 kB", "{name}: {said}");
        assert_eq!(said.lines().rev().nth(1), Some("0077"), "{name}: {said}");
    }
    // Without all that everything is as it was, and scripts are as ever.
    let later = SERVICE.replace("check\n", "later\n");
    daemon.reload(&stage.configuration("", &later, ""));
    let said = stage.said("later");
    assert_eq!(said.lines().rev().nth(1), Some(umask.trim()), "{said}");
    let stats = wait_for("the old names", PATIENCE, || {
        let stats = of_threads(&daemon, "stat");
        (stats.contains_key("steadfast") && stats.contains_key("director")).then_some(stats)
    });
    assert_eq!(Scheduling::of(&stats["steadfast"]), Scheduling::ordinary(nice));
    assert_eq!(Scheduling::of(&stats["director"]), Scheduling::ordinary(5));
    let status = &threads(&daemon)["steadfast"];
    assert_eq!(line(status, "VmLck"), "0 kB");
    assert_eq!(line(status, "Cpus_allowed_list"), line(&plain, "Cpus_allowed_list"));
    daemon.terminate();
    assert_eq!(daemon.process.wait(PATIENCE), Some(0), "{}", daemon.process.log());
}

fn lateness(stage: &Stage) {
    let globals = "max_auto_priority 2\nmin_auto_priority_delay 200000\n";
    let daemon = stage.start(globals, "", "");
    let scheduling = || Scheduling::of(&of_threads(&daemon, "stat")["steadfast"]);
    assert_eq!(scheduling().policy, OTHER);
    for expected in [1, 2, 2] {
        daemon.process.signal(Signal::SIGSTOP);
        std::thread::sleep(Duration::from_millis(500));
        daemon.process.signal(Signal::SIGCONT);
        wait_for("its priority", PATIENCE, || {
            (scheduling().policy == ROUND_ROBIN && scheduling().realtime == expected).then_some(())
        });
        daemon.wait_state("active", PATIENCE);
    }
    assert_eq!(scheduling().realtime, 2);
    // Its limit does not end it, and what keepalived's maximum allows is no more than this one.
    let log = daemon.process.log();
    assert_eq!(log.matches("(max_auto_priority)").count(), 2, "{log}");
}

/// `net_namespace`: the other machine's. Its address goes there, and nothing of the agent is left on the first.
fn namespace_of_the_file(stage: &Stage) {
    let there = &stage.lan.host(1).namespace;
    let network = |task: &str| fs::read_link(format!("/proc/{task}/ns/net"));
    let wanted = there.enter(|| network("thread-self")).expect("a thread has a namespace");
    stage.program("told", "readlink /proc/self/ns/net");
    let before = format!("net_namespace {}\n", there.name());
    let daemon = stage.start("", &before, "notify_master FOLDER/told");
    assert_eq!(stage.said("told").trim(), wanted.to_string_lossy());
    let held = |number| stage.lan.addresses(number).iter().any(|address| address.to_string() == "10.9.0.100");
    assert_eq!([held(0), held(1)], [false, true], "who holds the address");
    let pid = daemon.process.pid();
    for task in fs::read_dir(format!("/proc/{pid}/task")).expect("it has threads").flatten() {
        let task = task.file_name().to_string_lossy().into_owned();
        let name = fs::read_to_string(format!("/proc/{pid}/task/{task}/comm")).unwrap_or_default();
        // The log was there before; it opens no socket of the network.
        if name.trim() != "log" {
            assert_eq!(network(&format!("{pid}/task/{task}")).expect("a thread has a namespace"), wanted, "{name}");
        }
    }
}
