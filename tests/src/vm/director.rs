//! A director's program, Steadfast or keepalived, running on a machine of the LAN from a configuration file; the same
//! handle for both, so that every scenario can be put to keepalived first.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::net::{Net, Role};
use crate::lab::clock::Stamp;
use crate::lab::process::Process;
use crate::lab::steadfast_binary;

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The agent under test.
    Steadfast,
    /// Debian's keepalived.
    Keepalived,
}

impl Program {
    /// Its name, in a test's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Steadfast => "steadfast",
            Self::Keepalived => "keepalived",
        }
    }
}

/// A running director.
#[derive(Debug)]
pub struct Director {
    /// The process; keepalived's have children.
    pub process: Process,
    /// When it was started.
    pub started: Stamp,
    configuration: PathBuf,
    control: PathBuf,
}

impl Director {
    /// Starts a program on a machine with a whole configuration file.
    #[track_caller]
    pub fn start(program: Program, net: &Net, role: Role, text: &str) -> Self {
        let folder = net.folder().join(format!("{}-{}", role.name(), program.name()));
        fs::create_dir_all(&folder).expect("a folder can be made");
        let (configuration, control) = (folder.join("keepalived.conf"), folder.join("control.sock"));
        fs::write(&configuration, text).expect("a configuration can be written");
        let machine = net.machine(role);
        let mut command = match program {
            Program::Steadfast => {
                let mut command = Command::new(steadfast_binary());
                command.arg("run").arg("--config").arg(&configuration).arg("--control").arg(&control);
                command
            }
            Program::Keepalived => {
                let mut command = Command::new("keepalived");
                command
                    .args(["--dont-fork", "--log-console", "--no-syslog", "--log-detail", "--use-file"])
                    .arg(&configuration);
                for child in ["", "vrrp_", "checkers_", "bfd_"] {
                    command.arg(format!("--{child}pid")).arg(folder.join(format!("{child}pid")));
                }
                command
            }
        };
        command.stdin(Stdio::null());
        // From a thread on that machine, so that its time begins with its own start and not with that of `ip netns exec`.
        let (started, process) = machine.enter(|| (Stamp::now(), Process::start(&mut command, &folder.join("log"))));
        Self { process, started, configuration, control }
    }

    /// Keeps it, just started, to the first processor.
    #[track_caller]
    pub fn stay_on_first_processor(&self) {
        let mut first = CpuSet::new();
        first.set(0).expect("there is a first processor");
        sched_setaffinity(Pid::from_raw(self.process.pid()), &first).expect("a child can be bound to a processor");
    }

    /// Writes another configuration file and has it read. When.
    #[track_caller]
    pub fn reload(&self, text: &str) -> Stamp {
        fs::write(&self.configuration, text).expect("a configuration can be written");
        self.process.signal(Signal::SIGHUP)
    }

    /// Has the file read again as it is, by Steadfast's own command: whether it was accepted, and what was said.
    #[track_caller]
    pub fn reload_by_command(&self, text: &str) -> (bool, String) {
        fs::write(&self.configuration, text).expect("a configuration can be written");
        self.steadfast(&["reload"])
    }

    /// Runs a command of Steadfast against this agent: whether it succeeded, and what it printed.
    #[track_caller]
    pub fn steadfast(&self, words: &[&str]) -> (bool, String) {
        let mut command = Command::new(steadfast_binary());
        command.args(words).arg("--control").arg(&self.control).stdin(Stdio::null());
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Ends it as a service manager does, and waits for that. How long it took.
    #[track_caller]
    pub fn stop(mut self) -> f64 {
        let asked = self.process.signal(Signal::SIGTERM);
        self.process.wait(Duration::from_secs(15));
        Stamp::now().ms_since(asked)
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.process.log();
            let lines: Vec<&str> = log.lines().collect();
            println!("the end of the log of {}:", self.configuration.display());
            for line in lines.iter().skip(lines.len().saturating_sub(40)) {
                println!("    {line}");
            }
        }
        // keepalived's children see to their parent's death, but not at once.
        if self.process.is_running() {
            for pid in self.process.family().into_iter().rev() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}
