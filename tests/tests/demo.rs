//! `steadfast demo` from outside: it ends with status 0 and its tables, as root and without, loses nothing at a planned
//! stop, says clearly where it cannot run, and leaves no process, namespace, interface or file behind, also when it is
//! interrupted or killed.

#![forbid(unsafe_code)]

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use steadfast_tests::lab::clock::wait_for;
use steadfast_tests::lab::steadfast_binary;

/// A user who may do nothing (`nobody`).
const NOBODY: u32 = 65_534;
const PATIENCE: Duration = Duration::from_secs(10);

fn main() {
    let mut arguments = Arguments::from_args();
    // One at a time: its figures are milliseconds.
    arguments.test_threads.get_or_insert(1);
    let mut trials = Vec::new();
    for user in [User::Own, User::Nobody] {
        if let Err(why) = user.permitted() {
            println!("skipped: demo as {}: {why}", user.name());
            continue;
        }
        let tests: [Test; 3] = [("shows-it-all", shows_it_all), ("interrupted", interrupted), ("killed", killed)];
        for (name, test) in tests {
            trials.push(Trial::test(format!("demo-{name}-as-{}", user.name()), move || {
                test(user);
                Ok(())
            }));
        }
    }
    if User::Nobody.permitted().is_ok() {
        trials.push(Trial::test("demo-says-why-it-cannot-run", || {
            says_why_it_cannot_run();
            Ok(())
        }));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// A name, and what it does.
type Test = (&'static str, fn(User));

/// Who runs the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum User {
    /// Whoever runs the tests, if that is root.
    Own,
    /// An unprivileged user.
    Nobody,
}

impl User {
    fn name(self) -> &'static str {
        match self {
            Self::Own => "root",
            Self::Nobody => "user",
        }
    }

    /// Makes `command` this user's. Whoever is not root already is the unprivileged one.
    fn become_in(self, command: &mut Command) -> &mut Command {
        if self == Self::Nobody && geteuid().is_root() { command.uid(NOBODY).gid(NOBODY) } else { command }
    }

    /// Whether the demo's namespaces are allowed to this user here; why not.
    fn permitted(self) -> Result<(), String> {
        if self == Self::Own && !geteuid().is_root() {
            return Err("not root".into());
        }
        let mut command = Command::new("unshare");
        command.args(if self == Self::Own { &["--net", "true"][..] } else { &["--user", "--net", "true"] });
        let output = self.become_in(&mut command).output().map_err(|error| format!("unshare: {error}"))?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
    }
}

/// A folder for the demo's temporary files, with a copy of the binary that anybody can run.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("demo-test-{}-{number}", std::process::id()));
        DirBuilder::new().mode(0o755).create(&path).expect("a folder can be made");
        for folder in ["bin", "tmp"] {
            fs::create_dir(path.join(folder)).expect("a folder can be made");
        }
        let open = |path: &Path, mode| {
            fs::set_permissions(path, Permissions::from_mode(mode)).expect("permissions can be set");
        };
        let folder = Self(path);
        fs::copy(steadfast_binary(), folder.binary()).expect("the binary is built");
        open(&folder.0, 0o755);
        open(&folder.0.join("bin"), 0o755);
        open(&folder.binary(), 0o755);
        open(&folder.0.join("tmp"), 0o1777);
        folder
    }

    fn binary(&self) -> PathBuf {
        self.0.join("bin/steadfast")
    }

    /// `steadfast demo`, in a folder of its own.
    fn start(&self, user: User) -> Child {
        let mut command = Command::new(self.binary());
        command.arg("demo").env("TMPDIR", self.0.join("tmp")).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        user.become_in(&mut command).spawn().expect("the demo can be started")
    }

    /// The processes of this demo that run now: those with its folder in their arguments or environment. A
    /// namespace lives as long as a process in it, unless it is mounted somewhere, which the demo never does.
    fn processes(&self) -> Vec<u32> {
        let needle = self.0.display().to_string();
        let entries = fs::read_dir("/proc").expect("/proc is there").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let told = |pid: u32, what| String::from_utf8_lossy(&read(format!("/proc/{pid}/{what}"))).contains(&needle);
        pids.filter(|pid| told(*pid, "cmdline") || told(*pid, "environ")).collect()
    }

    /// Waits for both agents, and checks where they are.
    #[track_caller]
    fn wait_for_agents(&self) {
        let agents = wait_for("two agents", PATIENCE, || {
            let is_agent = |pid: &u32| read(format!("/proc/{pid}/cmdline")).starts_with(b"steadfast\0run\0");
            Some(self.processes().into_iter().filter(is_agent).collect::<Vec<_>>()).filter(|agents| agents.len() == 2)
        });
        let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).expect("a namespace");
        let [a, b] = [agents[0], agents[1]].map(|pid| namespace(&pid.to_string()));
        let own = namespace("self");
        assert!(a != b && a != own && b != own, "each agent is in a namespace of its own: {a:?} {b:?} {own:?}");
    }

    /// Fails if the demo has left something behind.
    #[track_caller]
    fn assert_clean(&self) {
        assert_eq!(self.files(), Vec::<PathBuf>::new(), "temporary files");
        self.assert_gone();
    }

    /// Fails if a process, or something in our own network, is left.
    #[track_caller]
    fn assert_gone(&self) {
        wait_for("the end of the agents", PATIENCE, || self.processes().is_empty().then_some(()));
        let devices = fs::read_to_string("/proc/net/dev").expect("interfaces can be listed");
        assert!(!devices.contains("switch:"), "{devices}");
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(self.0.join("tmp")).expect("the folder is there").flatten().map(|entry| entry.path()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The whole demo: states, tables, exit status, time, nothing left.
fn shows_it_all(user: User) {
    let folder = Folder::new();
    let begun = std::time::Instant::now();
    let child = folder.start(user);
    folder.wait_for_agents();
    let output = child.wait_with_output().expect("the demo can be waited for");
    let (text, took) = (String::from_utf8_lossy(&output.stdout), begun.elapsed());
    assert!(output.status.success(), "{}: {text}\n{}", output.status, errors(&output));
    assert_eq!(errors(&output), "", "{text}");
    assert!(took < Duration::from_secs(30), "took {took:?}");
    folder.assert_clean();

    let without_root = user == User::Nobody;
    assert_eq!(text.contains("without root, through a user namespace"), without_root, "{text}");
    // The events of the timeline in their order, and both routers' states after each.
    let mut rest = &*text;
    for (a, b, what) in [
        ("-", "-", "== both routers are started"),
        ("active", "backup", "router a: backup -> active"),
        ("active", "backup", "== router a is cut off"),
        ("active", "active", "router b: backup -> active"),
        ("active", "active", "== router a is back"),
        ("active", "backup", "router b: active -> backup"),
        ("active", "backup", "== router a is asked to stop"),
        ("-", "active", "router a has ended"),
        ("-", "active", "== router a is started again"),
    ] {
        let line = rest.lines().find(|line| line.contains(what) && states(line) == [a, b]);
        let line = line.unwrap_or_else(|| panic!("nothing like `{a} {b} {what}` in order in:\n{text}"));
        rest = rest.split_once(line).map_or("", |(_, rest)| rest);
    }
    // Which of the two tells of the hand-over first is chance.
    let moves = ["router a: backup -> active", "router b: active -> backup"];
    let told: Vec<_> = rest.lines().filter(|line| moves.iter().any(|what| line.contains(what))).collect();
    assert_eq!(told.len(), 2, "one hand-over after the return:\n{text}");
    assert_eq!(told.last().map(|line| states(line)), Some(["active", "backup"]), "{text}");
    let rows: Vec<_> = rest.lines().filter(|line| line.ends_with(" ok") || line.ends_with(" missed")).collect();
    assert_eq!(rows.len(), 6, "four events and two timers:\n{text}");
    // The name of the test is on this line already.
    println!();
    for row in &rows {
        println!("figure: demo as {}: {}", user.name(), row.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let planned =
        rows.iter().find(|row| row.starts_with("router a stops as planned")).expect("a row of the planned stop");
    let lost: usize = planned["router a stops as planned, b takes over".len()..]
        .split_whitespace()
        .next()
        .and_then(|lost| lost.parse().ok())
        .expect("a number of lost probes");
    assert!(lost <= 1, "a planned stop lost {lost} probes:\n{text}");
}

/// The two routers' states in a line of the timeline.
fn states(line: &str) -> [&str; 2] {
    let mut words = line.split_whitespace().skip(1);
    [words.next().unwrap_or(""), words.next().unwrap_or("")]
}

/// A file of /proc; empty if its process has ended or is not ours to look into.
fn read(path: String) -> Vec<u8> {
    fs::read(path).unwrap_or_default()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Ctrl-C, and what a supervisor sends.
fn interrupted(user: User) {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let folder = Folder::new();
        let child = folder.start(user);
        folder.wait_for_agents();
        send(&child, signal);
        let output = child.wait_with_output().expect("the demo can be waited for");
        assert_eq!(output.status.code(), Some(1), "{signal}: {}", errors(&output));
        assert_eq!(errors(&output), "steadfast demo: interrupted\n");
        folder.assert_clean();
    }
}

/// A demo that could clear nothing away leaves no process and no namespace; only files of some kilobytes.
fn killed(user: User) {
    let folder = Folder::new();
    let child = folder.start(user);
    folder.wait_for_agents();
    send(&child, Signal::SIGKILL);
    let output = child.wait_with_output().expect("the demo can be waited for");
    assert!(!output.status.success());
    folder.assert_gone();
}

/// In a user namespace that may have no further ones, without any capability.
fn says_why_it_cannot_run() {
    let folder = Folder::new();
    let script =
        "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all \"$0\" demo";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", script]).arg(folder.binary());
    command.env("TMPDIR", folder.0.join("tmp"));
    let output = User::Nobody.become_in(&mut command).output().expect("unshare can be run");
    assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
    let sentence = errors(&output);
    assert_eq!(sentence.lines().count(), 1, "{sentence}");
    assert!(sentence.starts_with("steadfast demo: the demo needs network namespaces of its own"), "{sentence}");
    assert!(sentence.contains("run it as root, or where user namespaces are allowed"), "{sentence}");
    assert!(output.stdout.is_empty());
    assert_eq!(folder.files(), Vec::<PathBuf>::new());
}

fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).expect("a process id");
    kill(Pid::from_raw(pid), signal).expect("the demo is running");
}
