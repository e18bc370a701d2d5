//! Under a supervisor that speaks systemd's notification protocol: what it hears of a start, of reloads good and bad, of
//! standing still and of a planned stop, in the foreground and of a keepalived in the background; and that programs
//! which the agent starts hear nothing of the supervisor.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use steadfast_tests::lab::clock::{Stamp, ms, wait_for};
use steadfast_tests::lab::process::Process;
use steadfast_tests::lab::spec::Spec;
use steadfast_tests::lab::{Lan, steadfast_binary};

/// Other tests run beside, and want the processors too.
const PATIENCE: Duration = Duration::from_secs(15);

/// After how many milliseconds without a sign of life the agent counts as hung.
const LIMIT: f64 = 2000.0;

/// The supervisor.
struct Listener {
    socket: UnixDatagram,
    path: PathBuf,
    heard: Vec<String>,
}

impl Listener {
    fn new(lan: &Lan) -> Self {
        let path = lan.folder().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket can be made");
        Self { socket, path, heard: Vec::new() }
    }

    /// What is said next, if it is said within `patience`.
    fn next(&mut self, patience: Duration) -> Option<String> {
        let mut buffer = [0; 1024];
        self.socket.set_read_timeout(Some(patience.max(ms(1.0)))).expect("a time can be set");
        let length = match self.socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => panic!("{error}"),
        };
        let word = String::from_utf8_lossy(&buffer[..length]).into_owned();
        self.heard.push(word.clone());
        Some(word)
    }

    /// Waits for a word that begins so; the whole of it.
    #[track_caller]
    fn wait(&mut self, begin: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.next(until.saturating_duration_since(Instant::now())) {
                Some(word) if word.starts_with(begin) => return word,
                Some(_) => {}
                None => panic!("{begin} was never said, but {:?}", self.heard),
            }
        }
    }

    /// How many signs of life there are within `time`; nothing else is said.
    fn signs(&mut self, time: Duration) -> usize {
        let until = Instant::now() + time;
        let left = || until.saturating_duration_since(Instant::now());
        std::iter::from_fn(|| self.next(left())).inspect(|word| assert_eq!(word, "WATCHDOG=1")).count()
    }

    /// The kinds of what was said, signs of life and mere statuses left out.
    fn kinds(&self) -> Vec<&str> {
        let kinds = self.heard.iter().filter_map(|word| word.split('=').next());
        kinds.filter(|kind| !["WATCHDOG", "STATUS"].contains(kind)).collect()
    }
}

/// A file for the agent, and a script that notes its environment when it is Active.
fn prepare(lan: &Lan, text: &str) -> (PathBuf, PathBuf) {
    let (configuration, script, noted) =
        (lan.folder().join("0.conf"), lan.folder().join("note"), lan.folder().join("environment"));
    fs::write(&configuration, text).expect("a file can be written");
    let note = format!("#!/bin/sh\nenv >{0}.new && mv {0}.new {0}\n", noted.display());
    fs::write(&script, note).expect("a file can be written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it can be made a program");
    (configuration, noted)
}

/// The configuration: one Virtual Router that has a script run.
fn text(lan: &Lan) -> String {
    Spec::v3(10).with(&format!("notify_master {}", lan.folder().join("note").display())).text(200)
}

/// `steadfast run`.
fn start(lan: &Lan, listener: &Listener, configuration: &Path) -> Process {
    let mut command = lan.host(0).namespace.command(&steadfast_binary().display().to_string());
    command.arg("run").arg("--config").arg(configuration).arg("--control").arg(lan.folder().join("control.sock"));
    command.env("NOTIFY_SOCKET", &listener.path).env("WATCHDOG_USEC", format!("{}", LIMIT * 1e3));
    Process::start(&mut command, &lan.folder().join("0.log"))
}

pub(super) fn a_life() {
    let lan = Lan::new(&["router"]);
    let text = text(&lan);
    let (configuration, noted) = prepare(&lan, &text);
    let mut listener = Listener::new(&lan);
    let mut process = start(&lan, &listener, &configuration);
    assert_eq!(listener.wait("READY=1"), "READY=1\nSTATUS=0 of 1 virtual routers active");
    assert_eq!(listener.heard.len(), 1, "nothing before it: {:?}", listener.heard);
    listener.wait("STATUS=1 of 1 virtual routers active");
    let environment = wait_for("the script", PATIENCE, || fs::read_to_string(&noted).ok());
    assert!(environment.contains("PATH="), "{environment}");
    assert!(!environment.contains("NOTIFY_SOCKET") && !environment.contains("WATCHDOG"), "{environment}");
    // Three, each in time: a fourth may or may not be among them.
    for _ in 0..3 {
        let word = listener.next(ms(LIMIT));
        assert_eq!(word.as_deref(), Some("WATCHDOG=1"));
    }

    let reload = |text: &str| {
        fs::write(&configuration, text).expect("a file can be written");
        process.signal(Signal::SIGHUP).0 / 1000
    };
    let asked = reload(&text.replace("priority 200", "priority 201"));
    let word = listener.wait("RELOADING=1");
    let stamp: i64 = word.trim_start_matches("RELOADING=1\nMONOTONIC_USEC=").parse().expect("a number");
    assert!(asked <= stamp && stamp <= Stamp::now().0 / 1000, "{asked} {stamp}");
    assert_eq!(listener.wait("READY=1"), "READY=1\nSTATUS=1 of 1 virtual routers active");
    reload(&text.replace("virtual_router_id 51", "virtual_router_id 256"));
    listener.wait("RELOADING=1");
    let refused = "the file was not taken up, the one before it is in force; 1 of 1 virtual routers active";
    assert_eq!(listener.wait("READY=1"), format!("READY=1\nSTATUS={refused}"));
    // `steadfast reload` returns once it is over, and says how.
    let ask = || {
        let mut command = Command::new(steadfast_binary());
        command.arg("reload").arg("--control").arg(lan.folder().join("control.sock"));
        command.output().expect("it runs").status.code()
    };
    assert_eq!(ask(), Some(2));
    assert!(listener.wait("READY=1").contains("not taken up"));
    fs::write(&configuration, &text).expect("a file can be written");
    assert_eq!(ask(), Some(0));
    assert_eq!(listener.wait("READY=1"), "READY=1\nSTATUS=1 of 1 virtual routers active");

    // The process stands still, and so does the loop: nobody else says that it lives.
    process.signal(Signal::SIGSTOP);
    let signs = listener.signs(ms(1.5 * LIMIT));
    assert!(signs <= 1, "{signs} signs of life");
    process.signal(Signal::SIGCONT);
    listener.wait("WATCHDOG=1");
    process.signal(Signal::SIGTERM);
    assert_eq!(listener.wait("STOPPING=1"), "STOPPING=1\nSTATUS=hands over");
    assert_eq!(process.wait(PATIENCE), Some(0), "{}", process.log());
    assert_eq!(listener.signs(ms(1.0)), 0, "after its last word");
    let reloads = ["RELOADING", "READY"].repeat(listener.kinds().len() / 2 - 1);
    assert_eq!(listener.kinds(), [["READY"].as_slice(), reloads.as_slice(), ["STOPPING"].as_slice()].concat());
}

/// The parent ends before anybody else is known: the word of who is the agent comes first, and the watchdog that was
/// meant for the parent watches the agent.
pub(super) fn in_the_background() {
    let lan = Lan::new(&["router"]);
    let (configuration, _) = prepare(&lan, &text(&lan));
    let mut listener = Listener::new(&lan);
    let pid_file = lan.folder().join("agent.pid");
    let script = format!(
        "mount -t tmpfs tmpfs /run && export NOTIFY_SOCKET={notify} WATCHDOG_USEC={limit} WATCHDOG_PID=$$ && \
         exec {binary} keepalived --use-file={configuration} --pid={pid} --vrrp_pid={pid}.vrrp --log-file={log}",
        notify = listener.path.display(),
        limit = LIMIT * 1e3,
        binary = steadfast_binary().display(),
        configuration = configuration.display(),
        pid = pid_file.display(),
        log = lan.folder().join("0.log").display(),
    );
    let mut command = lan.host(0).namespace.command("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    let mut parent = Process::start(&mut command, &lan.folder().join("parent.log"));
    assert_eq!(parent.wait(PATIENCE), Some(0), "{}", parent.log());
    let pid = fs::read_to_string(&pid_file).expect("there is a pid file");
    let first = listener.next(ms(1.0));
    let expected = format!("READY=1\nMAINPID={}\nSTATUS=0 of 1 virtual routers active", pid.trim());
    assert_eq!(first.as_deref(), Some(&*expected), "it was said before the parent ended");
    listener.wait("WATCHDOG=1");
    let agent = Pid::from_raw(pid.trim().parse().expect("a number"));
    kill(agent, Signal::SIGTERM).expect("it runs");
    listener.wait("STOPPING=1");
    // Whoever has inherited it may never ask how it ended.
    let stat = || fs::read_to_string(format!("/proc/{agent}/stat")).unwrap_or_default();
    wait_for("its end", PATIENCE, || Some(stat()).filter(|stat| stat.is_empty() || stat.contains(") Z ")));
}

/// Whoever cannot start says why, and that it is ready never; whom nobody listens to runs all the same.
pub(super) fn not_ready() {
    let lan = Lan::new(&["router"]);
    let (configuration, _) = prepare(&lan, "global_defs {\n}\n");
    let mut listener = Listener::new(&lan);
    let mut process = start(&lan, &listener, &configuration);
    assert_eq!(process.wait(PATIENCE), Some(2), "{}", process.log());
    let word = listener.next(ms(1.0)).expect("it says something");
    assert!(word.starts_with("STATUS=") && word.contains("there is no vrrp_instance"), "{word}");
    assert_eq!(listener.next(ms(1.0)), None);
    fs::write(&configuration, text(&lan)).expect("a file can be written");
    fs::remove_file(&listener.path).expect("it can be removed");
    let mut process = start(&lan, &listener, &configuration);
    let vip = Spec::v3(10).vip();
    wait_for("the address", PATIENCE, || lan.addresses(0).contains(&vip).then_some(()));
    assert!(process.log().contains("is not told how it is"), "{}", process.log());
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait(PATIENCE), Some(0), "{}", process.log());
}
