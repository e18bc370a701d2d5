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

    /// CPU time of it and its children so far, in milliseconds; without that of threads that have ended.
    pub fn cpu_ms(&self) -> f64 {
        self.family().iter().map(|&pid| cpu_ms(pid)).sum()
    }

    /// How often it and its children have slept and been woken so far.
    pub fn wakeups(&self) -> u64 {
        self.family().iter().flat_map(|&pid| of_threads(pid, "status")).map(|text| wakeups(&text)).sum()
    }

    /// How many system calls it and its children make in some time, as `perf` counts them; `None` where it cannot.
    pub fn system_calls(&self, time: Duration) -> Option<u64> {
        let pids: Vec<String> = self.family().iter().map(i32::to_string).collect();
        let mut command = Command::new("perf");
        command.args(["stat", "--field-separator", ",", "--event", "raw_syscalls:sys_enter", "--pid", &pids.join(",")]);
        command.args(["sleep", &time.as_secs_f64().to_string()]);
        let output = command.stdin(Stdio::null()).output().ok()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = said.lines().find(|line| line.contains("sys_enter"))?;
        line.split(',').next()?.parse().ok()
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

/// CPU time of all threads of a process so far, in milliseconds.
pub(crate) fn cpu_ms(pid: i32) -> f64 {
    let run = of_threads(pid, "schedstat").filter_map(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    run.sum::<f64>() / 1e6
}

/// A file of /proc for each thread of a process.
fn of_threads(pid: i32, file: &str) -> impl Iterator<Item = String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(move |thread| fs::read_to_string(thread.path().join(file)).ok())
}

fn wakeups(status: &str) -> u64 {
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

fn resident_kb(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("");
    line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}
