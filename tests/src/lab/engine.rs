//! The three VRRP programs behind one handle: start one on a machine of the LAN with a `Spec` and a priority, signal
//! it, read its log and cost. State is told by what any of them does on the wire and to addresses, except where
//! Steadfast's own `status --json` is the subject.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::clock::{Stamp, wait_for};
use super::process::Process;
use super::spec::Spec;
use super::{Lan, frames, steadfast_binary};

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The agent under test.
    Steadfast,
    /// Debian's keepalived.
    Keepalived,
    /// Debian's FRR: zebra and vrrpd.
    Frr,
}

impl Engine {
    /// What its log says when a reload is over.
    pub fn reloaded(self) -> &'static str {
        if self == Self::Keepalived { "Reload complete" } else { "was read again" }
    }
}

/// Whether an engine can run here; if not, why.
pub fn available(engine: Engine) -> Result<(), String> {
    let there = |program: &str| {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
        let found = found.is_ok_and(|output| output.status.success());
        if found { Ok(()) } else { Err(format!("{program} is not installed")) }
    };
    match engine {
        Engine::Steadfast => there(&steadfast_binary().display().to_string()),
        Engine::Keepalived => there("keepalived"),
        Engine::Frr => {
            // It wants to become its own user.
            let users = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
            if users.split_whitespace().nth(2) == Some("1") {
                return Err("FRR cannot run in a user namespace of a single user".to_owned());
            }
            there("/usr/lib/frr/vrrpd")
        }
    }
}

/// A running VRRP program.
#[derive(Debug)]
pub struct Daemon {
    /// The program itself (FRR: vrrpd).
    pub process: Process,
    engine: Engine,
    configuration: PathBuf,
    control: PathBuf,
    helpers: Vec<Process>,
}

impl Daemon {
    /// Starts an engine on machine `host`.
    #[track_caller]
    pub fn start(engine: Engine, lan: &Lan, host: usize, spec: &Spec, priority: u8) -> Self {
        match engine {
            Engine::Frr => {
                let addresses = spec.addresses().iter().map(ToString::to_string).collect();
                start_frr(lan, host, spec, priority, &[(spec.vrid, addresses)])
            }
            _ => Self::start_with(engine, lan, host, &spec.text(priority)),
        }
    }

    /// Starts Steadfast or keepalived on machine `host` with a whole configuration file.
    #[track_caller]
    pub fn start_with(engine: Engine, lan: &Lan, host: usize, text: &str) -> Self {
        let run = lan.folder().join(format!("run{host}"));
        Self::start_at(engine, lan, host, text, &run.join("control.sock"))
    }

    /// The same with a place for Steadfast's control socket, beside which it notes what it has changed.
    #[track_caller]
    pub fn start_at(engine: Engine, lan: &Lan, host: usize, text: &str, control: &Path) -> Self {
        Self::start_as(engine, lan, host, text, control, &[])
    }

    /// Steadfast on machine `host`, with a page of metrics.
    #[track_caller]
    pub fn start_serving(lan: &Lan, host: usize, text: &str, metrics: &str) -> Self {
        let control = lan.folder().join(format!("run{host}")).join("control.sock");
        Self::start_as(Engine::Steadfast, lan, host, text, &control, &["--metrics", metrics])
    }

    #[track_caller]
    fn start_as(engine: Engine, lan: &Lan, host: usize, text: &str, control: &Path, options: &[&str]) -> Self {
        let folder = lan.folder();
        let configuration = folder.join(format!("{host}.conf"));
        fs::write(&configuration, text).expect("a configuration can be written");
        let (control, log) = (control.to_owned(), folder.join(format!("{host}.log")));
        fs::create_dir_all(control.parent().unwrap_or(folder)).expect("a folder can be made");
        let namespace = &lan.host(host).namespace;
        let mut command = match engine {
            Engine::Steadfast => {
                let mut command = namespace.command(&steadfast_binary().display().to_string());
                command.arg("run").arg("--config").arg(&configuration).arg("--control").arg(&control);
                command.args(options);
                command
            }
            _ => {
                let mut command = namespace.command("keepalived");
                command.args(["--dont-fork", "--vrrp", "--log-console", "--log-detail", "--use-file"]);
                command.arg(&configuration);
                command.arg("--pid").arg(folder.join(format!("{host}.pid")));
                command.arg("--vrrp_pid").arg(folder.join(format!("{host}.vrrp.pid")));
                command
            }
        };
        let process = Process::start(&mut command, &log);
        Self { process, engine, configuration, control, helpers: Vec::new() }
    }

    /// Which engine it is.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// All programs of it; those that it starts itself are children of theirs.
    pub fn programs(&self) -> impl Iterator<Item = &Process> {
        std::iter::once(&self.process).chain(&self.helpers)
    }

    /// Where its control socket is (Steadfast).
    pub fn control(&self) -> &PathBuf {
        &self.control
    }

    /// Asks for a planned stop. When.
    #[track_caller]
    pub fn terminate(&self) -> Stamp {
        self.process.signal(Signal::SIGTERM)
    }

    /// Kills it and its children, without a chance to clean up.
    pub fn kill(&mut self) -> Stamp {
        let at = Stamp::now();
        for pid in self.process.family() {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.process.wait(Duration::from_secs(5));
        at
    }

    /// Writes another configuration and sends SIGHUP. When.
    #[track_caller]
    pub fn reload(&self, text: &str) -> Stamp {
        fs::write(&self.configuration, text).expect("a configuration can be written");
        self.process.signal(Signal::SIGHUP)
    }

    /// The same, and waits until Steadfast has taken it up.
    #[track_caller]
    pub fn reload_and_wait(&self, text: &str, patience: Duration) {
        let said = || self.process.log().matches("configuration was read again").count();
        let before = said();
        self.reload(text);
        wait_for("a reload", patience, || (said() > before).then_some(()));
    }

    /// `steadfast status --json`, if it answers.
    pub fn status(&self) -> Option<Value> {
        let mut command = Command::new(steadfast_binary());
        command.args(["status", "--json", "--control"]).arg(&self.control);
        let output = command.output().ok()?;
        output.status.success().then(|| serde_json::from_slice(&output.stdout).ok())?
    }

    /// The state of Steadfast's first Virtual Router, in lower case.
    pub fn state(&self) -> Option<String> {
        let status = self.status()?;
        Some(status["routers"][0]["state"].as_str()?.to_lowercase())
    }

    /// Waits for a state of Steadfast's first Virtual Router: `initialize`, `backup` or `active`.
    #[track_caller]
    pub fn wait_state(&self, state: &str, patience: Duration) {
        wait_for(&format!("state {state}"), patience, || self.state().filter(|found| found == state));
    }

    /// A counter of Steadfast's: of the first Virtual Router, else the global one; 0 if there is none.
    pub fn counter(&self, name: &str) -> u64 {
        let Some(status) = self.status() else { return 0 };
        let own = status["routers"][0]["counters"][name].as_u64().unwrap_or(0);
        own + status["global"]["counters"][name].as_u64().unwrap_or(0)
    }

    /// Every counter of Steadfast's, router's and global.
    pub fn counters(&self) -> std::collections::BTreeMap<String, u64> {
        let status = self.status().unwrap_or_default();
        let mut all = std::collections::BTreeMap::new();
        for place in [&status["routers"][0]["counters"], &status["global"]["counters"]] {
            for (name, value) in place.as_object().into_iter().flatten() {
                *all.entry(name.clone()).or_default() += value.as_u64().unwrap_or(0);
            }
        }
        all
    }
}

/// The macvlan that FRR is given; it stays up, and answers for its addresses, when vrrpd ends.
pub fn frr_link(spec: &Spec) -> &'static str {
    if spec.v6 { "vrrp6-1" } else { "vrrp4-1" }
}

/// FRR on machine `host` with Virtual Routers (VRID and addresses) that are otherwise alike. It wants a macvlan with the
/// virtual MAC and the addresses for each, made beforehand.
#[track_caller]
pub fn start_frr(lan: &Lan, host: usize, spec: &Spec, priority: u8, routers: &[(u8, Vec<String>)]) -> Daemon {
    let namespace = &lan.host(host).namespace;
    let mut text = format!("hostname r{host}\nlog stdout debugging\ninterface eth0\n");
    for ((vrid, addresses), number) in routers.iter().zip(1..) {
        let name = format!("{}-{number}", if spec.v6 { "vrrp6" } else { "vrrp4" });
        namespace.ip(&format!("link add {name} link eth0 type macvlan mode bridge"));
        namespace.ip(&format!("link set {name} addrgenmode none"));
        namespace.ip(&format!("link set {name} address {}", frames::mac_text(frames::virtual_mac(spec.v6, *vrid))));
        text.push_str(&format!(" vrrp {vrid} version 3\n vrrp {vrid} priority {priority}\n"));
        text.push_str(&format!(" vrrp {vrid} advertisement-interval {}\n", spec.centiseconds * 10));
        for address in addresses {
            namespace.ip(&format!("addr add {address} dev {name}"));
            let address = address.split('/').next().unwrap_or(address);
            text.push_str(&format!(" vrrp {vrid} {} {address}\n", if spec.v6 { "ipv6" } else { "ip" }));
        }
        namespace.ip(&format!("link set {name} up"));
    }
    // While FRR is Backup, Linux would answer for the macvlan's addresses from eth0.
    namespace.sysctl("net/ipv4/conf/eth0/arp_ignore", "1");
    text.push_str("exit\n");
    // FRR drops its privileges, and writes its sockets as another user.
    let folder = lan.folder().join(format!("frr{host}"));
    fs::create_dir_all(&folder).expect("a folder can be made");
    let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(&folder, everyone).expect("a folder can be opened to all");
    let configuration = folder.join("vrrpd.conf");
    fs::write(&configuration, &text).expect("a configuration can be written");
    let empty = folder.join("zebra.conf");
    fs::write(&empty, "log stdout\n").expect("a configuration can be written");
    let start = |program: &str, configuration: &PathBuf| {
        let mut command = namespace.command(&format!("/usr/lib/frr/{program}"));
        command.arg("-f").arg(configuration).arg("-i").arg(folder.join(format!("{program}.pid")));
        command.arg("-z").arg(folder.join("zserv.api")).arg("--vty_socket").arg(&folder).args(["-P", "0"]);
        Process::start(&mut command, &lan.folder().join(format!("{host}-{program}.log")))
    };
    let zebra = start("zebra", &empty);
    wait_for("zebra's socket", Duration::from_secs(10), || folder.join("zserv.api").exists().then_some(()));
    let process = start("vrrpd", &configuration);
    Daemon { process, engine: Engine::Frr, configuration, control: folder.join("vrrpd.vty"), helpers: vec![zebra] }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // zebra outlives vrrpd, so that vrrpd does not complain about its loss.
        if self.process.is_running() {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.process.pid()), Signal::SIGKILL);
        }
        self.helpers.clear();
    }
}
