//! Network namespaces: made with a name of this process, entered by threads, removed with everything in them when
//! dropped, also when the test panics. What a killed test left behind is removed by the next one.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const DIRECTORY: &str = "/run/netns";
static COUNT: AtomicU32 = AtomicU32::new(0);
static SWEEP: Once = Once::new();

/// A network namespace that lives as long as this value.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one, with the loopback up, no router advertisements, no duplicate address detection.
    #[track_caller]
    pub fn new(role: &str) -> Self {
        SWEEP.call_once(sweep);
        let name = format!("sf{}x{}{role}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name]));
        let namespace = Self { name };
        namespace.sysctl("net/ipv6/conf/default/accept_dad", "0");
        namespace.sysctl("net/ipv6/conf/all/accept_dad", "0");
        namespace.sysctl("net/ipv6/conf/default/router_solicitations", "0");
        namespace.ip("link set lo up");
        namespace
    }

    /// Its name, as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `ip -n NAME ARGUMENTS`, split at spaces; panics if it fails. Returns what it printed.
    #[track_caller]
    pub fn ip(&self, arguments: &str) -> String {
        let output = run(Command::new("ip").args(["-n", &self.name]).args(arguments.split_whitespace()));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A command that will run in here, with its own mount of /sys, as `ip netns exec` does.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]).stdin(Stdio::null());
        command
    }

    /// Runs `work` on a thread inside; for sockets and /proc/sys/net. Panics of `work` come through.
    #[track_caller]
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.join();
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts `work` on a thread of its own inside; whoever calls it must be able to end it.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        let here = Self { name: self.name.clone() };
        std::thread::spawn(move || {
            here.join();
            // Dropping this copy would remove the namespace.
            std::mem::forget(here);
            work()
        })
    }

    /// Writes one value under /proc/sys of this namespace.
    #[track_caller]
    pub fn sysctl(&self, path: &str, value: &str) {
        let file = PathBuf::from("/proc/sys").join(path);
        self.enter(|| fs::write(&file, value).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    }

    /// Every readable `name = value` under /proc/sys/net of this namespace, sorted.
    pub fn sysctls(&self) -> Vec<(String, String)> {
        self.enter(|| {
            let mut found = Vec::new();
            let mut folders = vec![PathBuf::from("/proc/sys/net")];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                    let path = entry.path();
                    if path.is_dir() {
                        folders.push(path);
                    } else if let Ok(value) = fs::read_to_string(&path) {
                        found.push((path.display().to_string(), value.trim().to_owned()));
                    }
                }
            }
            found.sort();
            found
        })
    }

    /// A counter of this namespace's IP stack, such as `Ip` `ForwDatagrams` or `Udp6` `NoPorts`.
    #[track_caller]
    pub fn counter(&self, protocol: &str, name: &str) -> u64 {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let (v4, v6) = self.enter(|| (read("/proc/thread-self/net/snmp"), read("/proc/thread-self/net/snmp6")));
        // IPv4's come as a line of names and a line of values, IPv6's one in a line.
        let mut lines = v4.lines().filter_map(|line| line.strip_prefix(&format!("{protocol}: ")));
        let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
        let mut pairs: Vec<_> = names.split_whitespace().zip(values.split_whitespace()).collect();
        let full = format!("{protocol}{name}");
        pairs.extend(v6.lines().filter_map(|line| line.split_once(char::is_whitespace)));
        let found = pairs.iter().find(|(found, _)| *found == name || *found == full);
        found.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or_else(|| panic!("no counter {full}"))
    }

    /// The processes in here.
    pub fn pids(&self) -> Vec<i32> {
        let output = Command::new("ip").args(["netns", "pids", &self.name]).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
    }

    fn join(&self) {
        let file = fs::File::open(format!("{DIRECTORY}/{}", self.name)).expect("the namespace is there");
        setns(file, CloneFlags::CLONE_NEWNET).expect("a thread may enter the namespace");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(self);
    }
}

fn remove(namespace: &Namespace) {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    for pid in namespace.pids() {
        // A thread of this very process may still be inside: it ends by itself.
        if pid != own {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    let _ = Command::new("ip").args(["netns", "del", &namespace.name]).stderr(Stdio::null()).status();
}

/// Removes the namespaces of test processes that no longer live.
fn sweep() {
    for entry in fs::read_dir(DIRECTORY).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("sf").and_then(|rest| rest.split_once('x')).map(|(pid, _)| pid.to_owned());
        let Some(owner) = owner.filter(|pid| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit())) else {
            continue;
        };
        if !PathBuf::from(format!("/proc/{owner}")).exists() {
            drop(Namespace { name });
        }
    }
}

/// Runs a command to its end; panics with what it said if it fails.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Whether this process may make network namespaces and has the programs that are named; if not, why.
pub fn permitted(programs: &[&str]) -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("network namespaces need root, or `unshare -Urmn` around the tests".to_owned());
    }
    for program in programs {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
        if !found.is_ok_and(|output| output.status.success()) {
            return Err(format!("{program} is not installed"));
        }
    }
    let name = format!("sf{}xprobe", std::process::id());
    match Command::new("ip").args(["netns", "add", &name]).output() {
        Ok(output) if output.status.success() => {
            drop(Namespace { name });
            Ok(())
        }
        Ok(output) => Err(format!("ip netns add: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("ip (iproute2): {error}")),
    }
}
