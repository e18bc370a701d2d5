//! Who keeps a real server's part: the command, until a signal; and the agent, on a thread of its own, for as long as
//! its configuration says so. Both put back what somebody else removes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use log::{error, info, warn};

use super::Role;
use crate::cli::RealServerOptions;
use crate::guard;
use crate::logging;
use crate::lvs::plan::RealServerRole;
use crate::netlink::{Event, Monitor};
use crate::sys::event::EventFd;
use crate::sys::poll::PollSet;
use crate::sys::signal::{Signal, Signals};

/// How long news of addresses may gather before they are looked at.
const GATHER: steadfast_core::time::Duration = steadfast_core::time::Duration::from_millis(200);

/// `steadfast real-server`: has the role until it is told to stop.
pub fn run(options: &RealServerOptions) -> ExitCode {
    // Before any thread is made: threads inherit the mask.
    let signals = match Signals::listen(&[Signal::Terminate, Signal::Interrupt]) {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("cannot listen to signals: {error}")),
    };
    if let Err(error) = logging::init(log::LevelFilter::Info) {
        return fail(&format!("cannot start the log: {error}"));
    }
    let result = serve(options, signals);
    if let Err(error) = &result {
        error!("{error}");
    }
    logging::flush(Duration::from_millis(500));
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fail(problem: &str) -> ExitCode {
    // The log does not run yet; if stderr is closed, the exit status has to say it.
    let _ = io::Write::write_all(&mut io::stderr(), format!("steadfast: {problem}\n").as_bytes());
    ExitCode::FAILURE
}

fn serve(options: &RealServerOptions, signals: Signals) -> io::Result<()> {
    let mut role = Role::start(&options.state, false)?;
    if options.undo {
        let count = role.changes.addresses().len();
        role.stop()?;
        info!("{count} virtual addresses were taken back");
        return Ok(());
    }
    let mut watch = Watch::new(signals.as_fd())?;
    let wanted = &options.role;
    let result = role.hold(wanted).and_then(|_| {
        info!("{} virtual addresses on {}", wanted.addresses.len(), wanted.interface);
        loop {
            watch.turn(&mut role, Some(wanted))?;
            if signals.next().is_some() {
                info!("stopping");
                return Ok(());
            }
        }
    });
    result.and(role.stop())
}

/// Watches over the addresses while nobody wants anything else.
struct Watch<'fd> {
    polls: PollSet,
    monitor: Monitor,
    /// Whether one of ours is missing.
    missing: bool,
    wake: BorrowedFd<'fd>,
}

impl<'fd> Watch<'fd> {
    /// Begins before the first address is added. `wake` is what else ends the waiting.
    fn new(wake: BorrowedFd<'fd>) -> io::Result<Self> {
        let monitor = Monitor::open()?;
        let mut polls = PollSet::new();
        polls.add(wake);
        polls.add(monitor.as_fd());
        Ok(Self { polls, monitor, missing: false, wake })
    }

    /// Waits until there is news, and puts back what somebody has removed.
    fn turn(&mut self, role: &mut Role, wanted: Option<&RealServerRole>) -> io::Result<()> {
        self.polls.wait(self.missing.then_some(GATHER))?;
        let mut news = false;
        self.monitor.receive(256, |event| match event {
            Event::AddressRemoved(address) => news |= role.holds(&address),
            Event::Overrun => news = true,
            _ => {}
        })?;
        if news || self.polls.is_ready(self.wake) {
            self.missing |= news;
        } else if std::mem::take(&mut self.missing)
            && let Some(wanted) = wanted
        {
            match role.hold(wanted) {
                Ok(true) => warn!("virtual addresses were removed by somebody else, and are back"),
                Ok(false) => {}
                Err(error) => {
                    error!("virtual addresses were removed by somebody else, and cannot be put back: {error}");
                }
            }
        }
        Ok(())
    }
}

/// The role of an agent: a thread that has what its configuration says.
#[derive(Debug)]
pub struct Holder {
    roles: Sender<Option<RealServerRole>>,
    wake: Arc<EventFd>,
    /// Nothing ever comes; it is closed when the thread has ended.
    ended: Receiver<()>,
}

impl Holder {
    /// Starts the thread, which notes in `directory` what it changes. It has nothing to hold yet.
    ///
    /// # Errors
    /// `AddrInUse` if another process has the role; else of the system.
    pub fn start(directory: &Path) -> io::Result<Self> {
        let role = Role::start(directory, true)?;
        let (roles, wanted) = channel();
        let (alive, ended) = channel();
        let wake = Arc::new(EventFd::new()?);
        let woken = Arc::clone(&wake);
        let builder = thread::Builder::new().name("real-server".into()).stack_size(128 << 10);
        guard::start(builder, guard::NETWORK, move || {
            let _alive: Sender<()> = alive;
            if let Err(error) = work(role, &wanted, &woken) {
                error!("real_server_role: {error}");
            }
        })?;
        Ok(Self { roles, wake, ended })
    }

    /// This is to be held from now on; never waits.
    pub fn hold(&self, role: Option<RealServerRole>) {
        // A thread that has ended has said why.
        if self.roles.send(role).is_ok() {
            self.wake.raise();
        }
    }

    /// Has everything taken back, and waits for it, but no longer than `patience`; whether it was done.
    pub fn stop(self, patience: Duration) -> bool {
        drop(self.roles);
        self.wake.raise();
        self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected)
    }
}

fn work(mut role: Role, roles: &Receiver<Option<RealServerRole>>, wake: &EventFd) -> io::Result<()> {
    let result = follow(&mut role, roles, wake);
    result.and(role.stop())
}

fn follow(role: &mut Role, roles: &Receiver<Option<RealServerRole>>, wake: &EventFd) -> io::Result<()> {
    use std::sync::mpsc::TryRecvError;

    let mut watch = Watch::new(wake.as_fd())?;
    let mut wanted = None;
    loop {
        watch.turn(role, wanted.as_ref())?;
        wake.lower();
        loop {
            match roles.try_recv() {
                Ok(new) if new == wanted && new.is_some() => {}
                Ok(new) => {
                    wanted = new;
                    let nothing = RealServerRole { interface: "lo".into(), addresses: Vec::new() };
                    match role.hold(wanted.as_ref().unwrap_or(&nothing)) {
                        Ok(true) => info!(
                            "real_server_role: {} virtual addresses",
                            wanted.as_ref().map_or(0, |role| role.addresses.len())
                        ),
                        Ok(false) => {}
                        Err(error) => error!("real_server_role: {error}"),
                    }
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }
}
