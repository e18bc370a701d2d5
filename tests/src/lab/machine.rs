//! A whole machine: a network namespace and a file system of its own, on which a VRRP program is what Debian's package
//! starts: `/usr/sbin/keepalived --dont-fork`, with its file in /etc/keepalived, its pid files in /run and its dumps in
//! /tmp. Files that name absolute paths run here as they are. What the machine shows is read in [`super::shown`].

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::clock::wait_for;
use super::engine::Engine;
use super::folder::Folder;
use super::namespace::Namespace;
use super::process::Process;
use super::steadfast_binary;
use crate::guide::Shell;

/// What of the real /etc is there too.
const ETC: [&str; 8] =
    ["passwd", "group", "nsswitch.conf", "ld.so.cache", "hosts", "protocols", "services", "iproute2"];
/// In the mount namespace of `ip netns exec`, of which nobody else sees anything: the program's folders, what the test
/// has put beside them, and keepalived, or who takes its place, by its name; then becomes a program of the machine.
const ENTER: &str = r#"set -e
cd "$1"
mount --bind /usr usr
mount -o remount,bind,ro usr
for place in own/*; do [ ! -d "$place" ] || mount --bind "$place" "usr/${place#own/}"; done
for place in dev proc sys; do mount --rbind "/$place" "$place"; done
mount --bind "$2" usr/sbin/keepalived
shift 2
exec chroot . "$@"
"#;
/// Where every line of a notify FIFO of ours ends up, see [`Agent::lines`].
pub const FIFO: &str = "/run/lab.fifo";
/// Its place in the configuration file.
const DUMP: &str = "/tmp/keepalived.json";
const CONFIGURATION: &str = "/etc/keepalived/keepalived.conf";

/// A machine.
#[derive(Debug)]
pub struct Machine {
    /// Its network.
    pub namespace: Namespace,
    /// Files of the test beside its file system: `NAME.log`, `NAME.conf`, `NAME.lines`.
    evidence: PathBuf,
    root: PathBuf,
}

impl Machine {
    /// A machine whose file system is in a folder of the test.
    #[track_caller]
    pub fn new(folder: &Folder, name: &str) -> Self {
        let root = folder.path().join(format!("{name}.root"));
        for place in ["dev", "etc/keepalived", "own", "proc", "run/keepalived", "sbin", "sys", "tmp", "usr", "var/log"]
        {
            fs::create_dir_all(root.join(place)).expect("a folder can be made");
        }
        for link in ["bin", "lib", "lib64"] {
            std::os::unix::fs::symlink(format!("usr/{link}"), root.join(link)).expect("a link can be made");
        }
        let there = ETC.iter().map(|name| Path::new("/etc").join(name)).filter(|path| path.exists());
        super::namespace::run(
            Command::new("cp").args(["--recursive", "--dereference"]).args(there).arg(root.join("etc")),
        );
        Self { namespace: Namespace::new(name), evidence: folder.path().join(name), root }
    }

    /// Where the test finds what is `path` on the machine.
    pub fn path(&self, path: &str) -> PathBuf {
        let path = path.trim_start_matches('/');
        self.root.join(path.strip_prefix("usr/").map_or_else(|| path.to_owned(), |rest| format!("own/{rest}")))
    }

    /// Makes a file. One under /usr hides what else is in that folder of /usr.
    #[track_caller]
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap_or(&self.root)).expect("a folder can be made");
        fs::write(path, text).expect("a file can be written");
    }

    /// Makes a script.
    #[track_caller]
    pub fn script(&self, path: &str, text: &str) {
        self.write(path, &format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).expect("a mode can be set");
    }

    /// The lines of a file, none if it is not there.
    pub fn lines(&self, path: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(path)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Starts Steadfast by keepalived's name, or keepalived, as Debian's unit does, with these `DAEMON_ARGS` besides those
    /// that let it log here. What it writes into [`FIFO`], if its file says so, is read.
    #[track_caller]
    pub fn start(&self, engine: Engine, text: &str, arguments: &[&str]) -> Agent<'_> {
        let fifo = self.path(FIFO);
        super::namespace::run(Command::new("mkfifo").arg(&fifo));
        // Open for both, so that it never comes to an end: keepalived closes it at a reload.
        let read = format!("exec cat <>{}", fifo.display());
        let lines = self.evidence.with_extension("lines");
        let reader = Process::start(Command::new("sh").args(["-c", &read]), &lines);
        self.configure(text);
        let program = match engine {
            Engine::Steadfast => std::path::absolute(steadfast_binary()).expect("a path"),
            _ => "/usr/sbin/keepalived".into(),
        };
        let mut command = self.enter(&program);
        command.args(["/usr/sbin/keepalived", "--dont-fork", "--log-console", "--log-detail"]).args(arguments);
        let process = Process::start(&mut command, &self.evidence.with_extension("log"));
        Agent { machine: self, engine, process, reader }
    }

    /// A shell in which Steadfast is installed, under both names.
    #[track_caller]
    pub fn shell(&self) -> Shell {
        let link = self.root.join("sbin/steadfast");
        std::os::unix::fs::symlink("../usr/sbin/keepalived", link).expect("a link can be made");
        let mut command = self.enter(&std::path::absolute(steadfast_binary()).expect("a path"));
        command.args(["/bin/sh", "-s"]).env("PATH", "/sbin:/usr/sbin:/usr/bin:/bin");
        Shell::start(&mut command)
    }

    /// Becomes the program, by its path on the machine, and arguments that are added to it; `keepalived` is what
    /// /usr/sbin/keepalived is there.
    fn enter(&self, keepalived: &Path) -> Command {
        let mut command = self.namespace.command("sh");
        command.args(["-c", ENTER, "sh"]).arg(&self.root).arg(keepalived);
        command
    }

    fn configure(&self, text: &str) {
        self.write(CONFIGURATION, text);
        let _ = fs::write(self.evidence.with_extension("conf"), text);
    }
}

/// A VRRP program on its machine.
#[derive(Debug)]
pub struct Agent<'a> {
    machine: &'a Machine,
    engine: Engine,
    process: Process,
    reader: Process,
}

impl Agent<'_> {
    /// Which one.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// All lines of [`FIFO`].
    pub fn lines(&self) -> Vec<String> {
        self.reader.log().lines().map(str::to_owned).collect()
    }

    /// `NAME STATE PRIORITY` of each instance, by their names, from the dump that exporters read; `None` if none came.
    pub fn states(&self) -> Option<String> {
        // Before it is told of a state, it may not know the signal yet, and die of it.
        if self.lines().is_empty() {
            return None;
        }
        let dump = self.machine.path(DUMP);
        let _ = fs::remove_file(&dump);
        super::namespace::run(Command::new("sh").args(["-c", "kill -36 $0", &self.process.pid().to_string()]));
        let read = || serde_json::from_slice::<Value>(&fs::read(&dump).ok()?).ok();
        let value = wait_for("a dump", Duration::from_secs(10), read);
        let mut states: Vec<String> = value.as_array()?.iter().map(|entry| state(&entry["data"])).collect();
        states.sort();
        Some(states.join(", "))
    }

    /// Has it read another file; returns when it has.
    #[track_caller]
    pub fn reload(&self, text: &str) {
        self.machine.configure(text);
        let done = || self.process.log().matches(self.engine.reloaded()).count();
        let before = done();
        self.process.signal(Signal::SIGHUP);
        wait_for("a reload", Duration::from_secs(10), || (done() > before).then_some(()));
    }

    /// Stops it, and waits for its end.
    #[track_caller]
    pub fn stop(&mut self) {
        self.process.signal(Signal::SIGTERM);
        self.process.wait(Duration::from_secs(10));
    }
}

fn state(data: &Value) -> String {
    const STATES: [&str; 4] = ["INIT", "BACKUP", "MASTER", "FAULT"];
    let number = data["state"].as_u64().and_then(|number| usize::try_from(number).ok());
    let state = number.and_then(|number| STATES.get(number)).unwrap_or(&"?");
    format!("{} {state} {}", data["iname"].as_str().unwrap_or("?"), data["effective_priority"])
}
