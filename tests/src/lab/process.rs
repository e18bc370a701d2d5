//! A daemon running in a namespace: its log, its signals, its CPU time and memory, and its end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::clock::{Stamp, wait_for};

/// A child process whose output goes to a file; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command with its output appended to `log`.
    #[track_caller]
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("the log can be written");
        let errors = file.try_clone().expect("a file can be duplicated");
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log: log.to_owned() }
    }

    /// Its process id; `ip netns exec` has become the program itself.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(0)
    }

    /// Sends a signal. When.
    #[track_caller]
    pub fn signal(&self, signal: Signal) -> Stamp {
        let at = Stamp::now();
        kill(Pid::from_raw(self.pid()), signal).unwrap_or_else(|error| panic!("{signal}: {error}"));
        at
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end; its exit code, `None` if a signal ended it.
    #[track_caller]
    pub fn wait(&mut self, patience: Duration) -> Option<i32> {
        wait_for("the end of a process", patience, || self.child.try_wait().expect("a child can be waited for")).code()
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// CPU time of it and its children so far, in milliseconds (user + system, 10 ms steps).
    pub fn cpu_ms(&self) -> f64 {
        self.family().iter().map(|&pid| cpu_ms(pid)).sum()
    }

    /// Resident memory of it and its children, in kB.
    pub fn resident_kb(&self) -> u64 {
        self.family().iter().map(|&pid| resident_kb(pid)).sum()
    }

    /// It and its children.
    pub fn family(&self) -> Vec<i32> {
        let own = self.pid();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        let mut all: Vec<i32> = children.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        all.push(own);
        all
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            let family = self.family();
            for pid in family {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            let _ = self.child.wait();
        }
    }
}

pub(crate) fn cpu_ms(pid: i32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The command name, in parentheses, may hold spaces; utime and stime are fields 14 and 15 of the whole.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) * 10.0
}

fn resident_kb(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("");
    line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}
