//! One router of the demo: its configuration file, the agent (a process of this same program, in the
//! router's network namespace), and what that agent says over its control socket. What happens to it is
//! decided in [`super::scenario`].

use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::control::client::{self, AskError};
use crate::status::{RouterStatus, State};
use crate::sys::process::{kill_with_parent, terminate};

use super::lan::{self, PREFIX, VIRTUAL};
use super::namespace::Namespace;

/// The Virtual Router's number.
const VRID: u8 = 51;
/// How often the Active advertises, in milliseconds; the demo's clock, since everything takes some intervals.
pub(super) const INTERVAL_MS: u64 = 500;

/// A directory for the demo's files, removed with all that is in it.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    /// A new one, that only we may look into.
    pub(super) fn new() -> io::Result<Self> {
        // One that was killed may have left its directory behind, and a process with our number.
        for attempt in 0..100 {
            let path = std::env::temp_dir().join(format!("steadfast-demo-{}-{attempt}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(Self(path)),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Nothing can be done about a failure, and the files are small.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A router; its agent runs or not.
#[derive(Debug)]
pub(super) struct Router {
    /// Its name in the timeline.
    pub(super) name: &'static str,
    /// Its own address.
    pub(super) address: Ipv4Addr,
    priority: u8,
    config: PathBuf,
    control: PathBuf,
    log: PathBuf,
    agent: Option<Child>,
}

impl Router {
    /// A router that is not running, its configuration in `directory`.
    pub(super) fn new(name: &'static str, address: Ipv4Addr, priority: u8, directory: &Directory) -> io::Result<Self> {
        let file = |suffix| directory.path().join(format!("{name}.{suffix}"));
        let router = Self {
            name,
            address,
            priority,
            config: file("conf"),
            control: file("sock"),
            log: file("log"),
            agent: None,
        };
        fs::write(&router.config, router.configuration())?;
        Ok(router)
    }

    /// The configuration file's text.
    fn configuration(&self) -> String {
        let (name, interface, priority) = (self.name, lan::INTERFACE, self.priority);
        let interval = INTERVAL_MS as f64 / 1_000.0;
        format!(
            "global_defs {{\n    router_id {name}\n}}\n\n\
             vrrp_instance demo {{\n    interface {interface}\n    version 3\n    virtual_router_id {VRID}\n    \
             priority {priority}\n    advert_int {interval}\n    \
             virtual_ipaddress {{\n        {VIRTUAL}/{PREFIX}\n    }}\n}}\n"
        )
    }

    /// How long after the Active's last Advertisement this router takes over, in microseconds (RFC 9568
    /// section 6.1).
    pub(super) fn active_down(&self) -> u64 {
        3 * INTERVAL_MS * 1_000 + self.skew()
    }

    /// How long after the Active's farewell this router takes over, in microseconds (RFC 9568 section 6.1).
    pub(super) fn skew(&self) -> u64 {
        (256 - u64::from(self.priority)) * INTERVAL_MS * 1_000 / 256
    }

    /// Its priority.
    pub(super) fn priority(&self) -> u8 {
        self.priority
    }

    /// Starts its agent in `namespace`. However this process ends, the agent is killed with it.
    pub(super) fn start(&mut self, namespace: &Namespace, home: &Namespace) -> io::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("steadfast").arg("run").arg("--config").arg(&self.config).arg("--control").arg(&self.control);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Ctrl-C is for us; the agents are told what to do.
        command.process_group(0);
        kill_with_parent(&mut command);
        self.agent = Some(namespace.within(home, || command.spawn())?);
        Ok(())
    }

    /// Asks its agent to stop as planned: to hand over, and then to exit.
    pub(super) fn stop(&self) -> io::Result<()> {
        self.agent.as_ref().map_or(Ok(()), |agent| terminate(agent.id()))
    }

    /// How its agent ended, once; `None` while it runs or after that.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let Some(agent) = &mut self.agent else { return Ok(None) };
        let status = agent.try_wait()?;
        if status.is_some() {
            self.agent = None;
        }
        Ok(status)
    }

    /// Whether its agent has been started and has not ended, as far as [`Router::ended`] knows.
    pub(super) fn is_running(&self) -> bool {
        self.agent.is_some()
    }

    /// What its agent says about the Virtual Router; `None` while nobody answers on its control socket.
    pub(super) fn status(&self) -> Result<Option<RouterStatus>, AskError> {
        match client::status(&self.control) {
            Ok((_, snapshot)) => Ok(snapshot.routers.into_iter().next()),
            Err(AskError::Connect(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What its agent has logged.
    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            // The only failures say that it has ended already.
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

/// The word for a router's state in the timeline.
pub(super) fn word(state: Option<State>) -> String {
    state.map_or_else(|| "-".to_owned(), |state| state.to_string())
}
