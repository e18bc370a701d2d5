//! Telling others: the thread that runs the scripts of `vrrp_instance`s and `vrrp_sync_group`s, writes to FIFOs and
//! sends mail. It
//! exists if the configuration wants it. Whoever has something to tell leaves it in a bounded queue and goes on; how
//! long a script runs, and whether anybody reads a FIFO, is this thread's matter alone. What happens is decided
//! elsewhere; here is what becomes of it.
//!
//! The scripts of one instance or group run one after the other, in the order of what has happened, so that a late
//! script never undoes the work of its successor. Those of different ones run side by side. Lines of a FIFO are in the
//! order in which things have happened, whosever they are.

mod engine;
mod fifo;
mod lanes;
mod mail;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use log::{error, warn};

use crate::guard;
use crate::plan::notify::{Notified, NotifyPlan};
use crate::sys::event::EventFd;

/// What the thread has not taken in yet, at most: a few of each of 4,096 Virtual Routers.
const QUEUE: usize = 32_768;

/// How long an orderly stop may take: scripts that are still to run, and readers that take their last lines.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// Whose state it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whose {
    /// A `vrrp_instance`.
    Instance,
    /// A `vrrp_sync_group`.
    Group,
}

/// What there is to tell, in keepalived's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// It is Active.
    Master,
    /// It is Backup.
    Backup,
    /// It cannot take part.
    Fault,
    /// It was stopped.
    Stop,
    /// It is no longer in the configuration.
    Deleted,
    /// The same, told as FAULT, but to those alone that hear of every state.
    Gone,
    /// As Active it has heard one of less right.
    LowerPriority,
    /// Its priority has changed while it is Active.
    MasterPriority,
    /// The same in any other state.
    BackupPriority,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Instance => "INSTANCE",
            Self::Group => "GROUP",
        })
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "MASTER",
            Self::Backup => "BACKUP",
            Self::Fault | Self::Gone => "FAULT",
            Self::Stop => "STOP",
            Self::Deleted => "DELETED",
            Self::LowerPriority => "MASTER_RX_LOWER_PRI",
            Self::MasterPriority => "MASTER_PRIORITY",
            Self::BackupPriority => "BACKUP_PRIORITY",
        })
    }
}

/// Something that has happened to an instance or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whose it is.
    pub whose: Whose,
    /// Its name.
    pub name: Arc<str>,
    /// What has happened.
    pub what: What,
    /// The priority that takes part in the election; 0 for a group.
    pub priority: u8,
    /// Whose scripts are to run; without any it goes to the FIFOs alone.
    pub notified: Option<Arc<Notified>>,
}

/// Something that has happened to a virtual or real server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalancingNotice {
    /// A whole line for the FIFOs that take LVS's.
    pub line: Arc<str>,
    /// The subject and the text of a mail, if one is to be sent.
    pub mail: Option<(String, String)>,
}

/// What the thread is told.
#[derive(Debug)]
enum Command {
    Plan(Arc<NotifyPlan>),
    Notice(Notice),
    Balancing(BalancingNotice),
    Stop,
}

/// What has been done, and what has not; for the status.
#[derive(Debug, Default)]
pub struct Counts {
    scripts: AtomicU64,
    failed: AtomicU64,
    killed: AtomicU64,
    scripts_dropped: AtomicU64,
    lines: AtomicU64,
    lines_dropped: AtomicU64,
    notices_dropped: AtomicU64,
    mails: AtomicU64,
    mails_dropped: AtomicU64,
}

impl Counts {
    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let Self {
            scripts,
            failed,
            killed,
            scripts_dropped,
            lines,
            lines_dropped,
            notices_dropped,
            mails,
            mails_dropped,
        } = self;
        [
            ("steadfast-notify-scripts", scripts),
            ("steadfast-notify-scripts-failed", failed),
            ("steadfast-notify-scripts-killed", killed),
            ("steadfast-notify-scripts-dropped", scripts_dropped),
            ("steadfast-notify-lines", lines),
            ("steadfast-notify-lines-dropped", lines_dropped),
            ("steadfast-notify-dropped", notices_dropped),
            ("steadfast-notify-mails", mails),
            ("steadfast-notify-mails-not-sent", mails_dropped),
        ]
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
        .into_iter()
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

/// Where whoever has something to tell leaves it.
#[derive(Clone, Debug)]
pub struct Outlet {
    commands: Sender<Command>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    wake: EventFd,
    waiting: AtomicUsize,
    counts: Counts,
}

impl Outlet {
    /// Tells of an instance or a group; never waits.
    pub fn tell(&self, notice: Notice) {
        self.give(Command::Notice(notice));
    }

    /// Tells of a virtual or real server; never waits.
    pub fn tell_balancing(&self, notice: BalancingNotice) {
        self.give(Command::Balancing(notice));
    }

    /// What has been done so far.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    fn give(&self, command: Command) {
        if self.shared.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            if self.shared.counts.notices_dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                error!("more happens than can be told: {QUEUE} notifications wait, and others are dropped");
            }
            return;
        }
        self.send(command);
    }

    fn send(&self, command: Command) {
        // Without its thread nobody is told; its end has been logged.
        if self.commands.send(command).is_ok() {
            self.shared.wake.raise();
        }
    }
}

/// The agent's end.
#[derive(Debug)]
pub struct Notifier {
    outlet: Outlet,
    /// Nothing ever comes; it is closed when the thread has ended.
    ended: Receiver<()>,
}

impl Notifier {
    /// Starts the thread. Whoever wants signals on a descriptor blocks them first.
    ///
    /// # Errors
    /// Of the system.
    pub fn start(plan: Arc<NotifyPlan>) -> io::Result<Self> {
        let (commands, inbox) = channel();
        let (alive, ended) = channel();
        let shared =
            Arc::new(Shared { wake: EventFd::new()?, waiting: AtomicUsize::new(0), counts: Counts::default() });
        let theirs = Arc::clone(&shared);
        let builder = thread::Builder::new().name("notify".into()).stack_size(256 << 10);
        guard::start(builder, guard::NOTIFY, move || {
            let _alive: Sender<()> = alive;
            if let Err(error) = engine::work(&Inbox { commands: inbox, shared: theirs }, &plan) {
                error!("nobody is notified any more: {error}");
            }
        })?;
        Ok(Self { outlet: Outlet { commands, shared }, ended })
    }

    /// Where to tell of something.
    pub fn outlet(&self) -> &Outlet {
        &self.outlet
    }

    /// This is the plan from now on; never waits.
    pub fn plan(&self, plan: Arc<NotifyPlan>) {
        self.outlet.send(Command::Plan(plan));
    }

    /// Has everything told that is still to be told, and waits for its end, for a bounded time.
    pub fn stop(self) {
        self.outlet.send(Command::Stop);
        if self.ended.recv_timeout(STOP_LIMIT) != Err(RecvTimeoutError::Disconnected) {
            warn!("not everybody could be notified in time");
        }
    }
}

/// The thread's end.
#[derive(Debug)]
struct Inbox {
    commands: Receiver<Command>,
    shared: Arc<Shared>,
}

impl Inbox {
    /// What was left since; never waits.
    fn next(&self) -> Option<Command> {
        let command = self.commands.try_recv().ok()?;
        if matches!(command, Command::Notice(_) | Command::Balancing(_)) {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        Some(command)
    }
}
