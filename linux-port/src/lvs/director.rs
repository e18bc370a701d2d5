//! The director: the thread that does the checks, runs the scripts and keeps the kernel's IPVS table equal to what
//! the pools want. It exists if the configuration has LVS, and shares nothing with the loop that sends
//! Advertisements but a channel: whoever sends on it never waits, and what goes wrong on the other side stays there.

mod checks;
mod engine;
mod keeper;
mod kernel;
mod notices;
mod presence;
mod questions;
mod sync;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use log::error;

use super::plan::LvsPlan;
use crate::control::Request;
use crate::control::command::ServerCommand;
use crate::guard;
use crate::guard::urgency::Who;
use crate::notify::Outlet;
use crate::status::Snapshot;
use crate::sys::event::EventFd;
use crate::sys::process;
use engine::Engine;

/// How much nicer than the loop that sends Advertisements the director is (nice(2)).
const NICENESS: i32 = 5;

/// How long it rests after an error of the system before it begins anew.
const REST: Duration = Duration::from_secs(1);

/// What the director is told.
#[derive(Debug)]
pub enum Command {
    /// This is the plan from now on, and who wants to hear of what happens; without virtual servers there is nothing
    /// left to do.
    Plan(Arc<LvsPlan>, Option<Outlet>),
    /// The `vrrp_instance` of this name is Active, or no longer.
    Router {
        /// Its name.
        name: Arc<str>,
        /// Whether it is Active.
        active: bool,
    },
    /// The status is asked for; this is what is known of it outside LVS.
    Status(Request, Snapshot),
    /// Something is asked of one real server.
    Server(Request, ServerCommand),
    /// The agent stops: what the kernel was given is taken back, and the thread ends.
    Stop,
}

/// The other threads' end.
#[derive(Debug)]
pub struct Director {
    commands: Sender<Command>,
    wake: Arc<EventFd>,
    /// Nothing ever comes; it is closed when the thread has ended.
    ended: Receiver<()>,
    /// Whether somebody was told that the thread has ended.
    mourned: bool,
}

impl Director {
    /// Starts the thread. Whoever wants signals on a descriptor blocks them first.
    ///
    /// # Errors
    /// Of the system.
    pub fn start(plan: Arc<LvsPlan>, outlet: Option<Outlet>) -> io::Result<Self> {
        let (commands, inbox) = channel();
        let (alive, ended) = channel();
        let wake = Arc::new(EventFd::new()?);
        let woken = Arc::clone(&wake);
        let builder = thread::Builder::new().name("director".into()).stack_size(512 << 10);
        guard::start(builder, guard::DIRECTOR, move || {
            let _alive: Sender<()> = alive;
            work(&Inbox { commands: inbox, wake: woken }, plan, outlet);
        })?;
        Ok(Self { commands, wake, ended, mourned: false })
    }

    /// Tells it something; never waits.
    pub fn send(&mut self, command: Command) {
        if self.commands.send(command).is_ok() {
            self.wake.raise();
        } else if !self.mourned {
            self.mourned = true;
            error!("the director has ended: servers are not checked, and the IPVS table stays as it is");
        }
    }

    /// Whether its thread is there.
    pub fn is_alive(&self) -> bool {
        self.ended.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty)
    }

    /// Has it take back what the kernel was given, and waits for its end, but no longer than `patience`; whether it
    /// has ended.
    pub fn stop(mut self, patience: Duration) -> bool {
        self.send(Command::Stop);
        self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected)
    }
}

/// The thread's end.
#[derive(Debug)]
struct Inbox {
    commands: Receiver<Command>,
    wake: Arc<EventFd>,
}

/// What outlives an error of the system.
#[derive(Debug)]
struct Memory {
    plan: Arc<LvsPlan>,
    /// Who wants to hear of what happens.
    outlet: Option<Outlet>,
    /// The `vrrp_instance`s that are Active.
    active: HashSet<Arc<str>>,
    /// Whether the kernel's table has been looked at: then it is not emptied once more (`lvs_flush`).
    begun: bool,
    /// How often the director began anew.
    restarts: u64,
}

impl Memory {
    fn set_active(&mut self, name: &Arc<str>, active: bool) {
        if active {
            self.active.insert(Arc::clone(name));
        } else {
            self.active.remove(name);
        }
    }

    /// Whether the instance that the sync daemon follows is Active.
    fn is_active(&self) -> bool {
        let followed = self.plan.sync_daemon.as_ref().and_then(|daemon| daemon.instance.as_deref());
        followed.is_some_and(|name| self.active.contains(name))
    }
}

/// The thread. Errors of the system end no more than what was going on: it begins anew.
fn work(inbox: &Inbox, plan: Arc<LvsPlan>, outlet: Option<Outlet>) {
    if let Err(error) = process::be_nice(NICENESS) {
        log::debug!("the director is as urgent as everything else: {error}");
    }
    if let Err(error) = process::raise_open_files() {
        log::debug!("no more descriptors: {error}");
    }
    guard::niceness_of_programs(NICENESS);
    guard::urgency::enter(Who::Director);
    let mut memory = Memory { plan, outlet, active: HashSet::new(), begun: false, restarts: 0 };
    loop {
        match Engine::new(inbox, &mut memory).and_then(|mut engine| engine.work()) {
            Ok(()) => return,
            Err(error) => error!("the director begins anew after an error: {error}"),
        }
        memory.restarts += 1;
        thread::sleep(REST);
    }
}
