//! Which thread of the agent may do what. The loop that reads what the LAN sends, and every other thread, lets go of the
//! rights (capabilities) that its work does not need. One thread keeps them all, and starts the others; so do those that
//! start programs, one for each thread that has programs run. They read nothing from outside. So a script of root's may do
//! all that root may, one of another user's nothing that this user may not, and neither inherits what was done to a thread
//! for the sake of Advertisements: a priority, processors, limits.
//!
//! This is a fence within one process: it holds back what a thread does by mistake. Whoever makes one run code of their
//! own can reach the memory of the others.
//!
//! Without [`begin`], as in tests and in commands that are no agent, threads have what their process has.

pub mod urgency;

use std::cell::{Cell, OnceCell};
use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvError, Sender, channel};
use std::thread::{self, Builder, JoinHandle, ThreadId};

use log::{debug, warn};

use crate::sys::process::{self, be_nice};
use crate::sys::rights;
pub use crate::sys::rights::Rights;
use crate::sys::signal::{Signal, Signals};
use crate::sys::spawn::{Child, Group};

use urgency::{Urgencies, Who};

/// The loop that sends Advertisements: its sockets, also those of an interface that comes later; addresses, and the
/// settings in /proc/sys of virtual MAC addresses.
pub const LOOP: Rights = Rights::NETWORK.and(Rights::RAW);
/// Leases of addresses; interfaces; addresses of a real server.
pub const NETWORK: Rights = Rights::NETWORK;
/// A reload: files of the configuration, scripts that are judged, wherever they are and whosever.
pub const RELOAD: Rights = Rights::READ;
/// Checks: the IPVS table and marks, ICMP, ports below 1024 to check from, keys and FILE_CHECK's files.
pub const DIRECTOR: Rights = Rights::NETWORK.and(Rights::RAW).and(Rights::PORTS).and(Rights::READ);
/// Trackers: the kernel's news of processes; ICMP and the interface of probes; files that are read, and made by
/// `init_file`, in folders of others.
pub const TRACKING: Rights = Rights::NETWORK.and(Rights::RAW).and(Rights::FILES);
/// Notifications: FIFOs that are made for, and belong to, others.
pub const NOTIFY: Rights = Rights::CHOWN.and(Rights::FILES);
/// Whoever speaks to clients and mail servers, and writes what is ours anyway.
pub const NOTHING: Rights = Rights::NONE;

/// The thread with all rights, as others reach it.
struct Keeper {
    jobs: Sender<Job>,
    thread: ThreadId,
}

type Job = Box<dyn FnOnce(&mut Urgencies) + Send>;
type Task = Box<dyn FnOnce() + Send>;

static KEEPER: OnceLock<Keeper> = OnceLock::new();
static COMPLAINED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Who starts the programs of this thread. One that hangs, because its file is on a server that does, holds up nobody
    /// else's.
    static PROGRAMS: OnceCell<Sender<Task>> = const { OnceCell::new() };
    /// How nice they are.
    static NICENESS: Cell<i32> = const { Cell::new(0) };
}

/// Starts the thread that keeps all rights: before all others, and after signals were blocked. The calling thread is the
/// loop that sends Advertisements.
///
/// # Errors
/// Of the system.
pub fn begin() -> io::Result<()> {
    // Nobody else may be interrupted by it.
    let mut urgencies = Urgencies::new(Signals::listen(&[Signal::Overtime])?);
    let (jobs, asked) = channel::<Job>();
    let thread = Builder::new().name("keeper".into()).stack_size(128 << 10).spawn(move || {
        while let Ok(job) = asked.recv() {
            job(&mut urgencies);
        }
    })?;
    // A second one, of which nobody knows, would end at once.
    let _ = KEEPER.set(Keeper { jobs, thread: thread.thread().id() });
    urgency::enter(Who::Loop);
    Ok(())
}

/// That thread, for all others.
fn keeper() -> Option<&'static Keeper> {
    KEEPER.get().filter(|keeper| keeper.thread != thread::current().id())
}

/// Has it do something without waiting; where there is none, nothing is done.
fn later(act: impl FnOnce(&mut Urgencies) + Send + 'static) {
    if let Some(keeper) = keeper() {
        // If it is gone, nobody can do it.
        let _ = keeper.jobs.send(Box::new(act));
    }
}

/// Starts a thread with all rights, or without a keeper with those of the caller.
fn spawn_thread(builder: Builder, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let Some(keeper) = keeper() else { return builder.spawn(body) };
    let (answer, answered) = channel();
    // If it is gone, so is the answer.
    let _ = keeper.jobs.send(Box::new(move |_| _ = answer.send(builder.spawn(body))));
    answered.recv().unwrap_or_else(gone)
}

fn gone<T>(_: RecvError) -> io::Result<T> {
    Err(io::Error::other("a thread of the agent has ended that should not"))
}

/// Starts a thread that has these rights, as far as the agent has them, whatever its maker has.
///
/// # Errors
/// Of the system.
pub fn start(builder: Builder, rights: Rights, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    spawn_thread(builder, move || {
        shed(rights);
        body();
    })
}

/// Moves the calling thread into a network namespace, and with it every thread and program that is started from now on.
///
/// # Errors
/// Of the system.
pub fn enter(namespace: impl AsFd) -> io::Result<()> {
    process::enter(&namespace)?;
    let Some(keeper) = keeper() else { return Ok(()) };
    let namespace = namespace.as_fd().try_clone_to_owned()?;
    let (answer, answered) = channel();
    // If it is gone, so is the answer.
    let _ = keeper.jobs.send(Box::new(move |_| _ = answer.send(process::enter(&namespace))));
    answered.recv().unwrap_or_else(gone)
}

/// The programs of the calling thread are so nice (nice(2)), whatever becomes of itself: before the first of them.
pub fn niceness_of_programs(by: i32) {
    NICENESS.set(by);
}

/// Has something done to programs with all rights, and waits for it.
fn with_programs<T: Send + 'static>(act: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    if keeper().is_none() {
        return act();
    }
    PROGRAMS.with(|programs| {
        let tasks = match programs.get() {
            Some(tasks) => tasks,
            None => {
                let (tasks, asked) = channel::<Task>();
                let builder = Builder::new().name("programs".into()).stack_size(256 << 10);
                let niceness = NICENESS.get();
                spawn_thread(builder, move || {
                    if niceness > 0
                        && let Err(error) = be_nice(niceness)
                    {
                        debug!("programs are as urgent as everything else: {error}");
                    }
                    asked.into_iter().for_each(|task| task());
                })?;
                programs.get_or_init(|| tasks)
            }
        };
        let (answer, answered) = channel();
        // If it is gone, so is the answer.
        let _ = tasks.send(Box::new(move || _ = answer.send(act())));
        answered.recv().unwrap_or_else(gone)
    })
}

/// From now on the calling thread has these rights and no others.
pub fn shed(rights: Rights) {
    if KEEPER.get().is_some()
        && let Err(error) = rights::shed(rights)
        && !COMPLAINED.swap(true, Ordering::Relaxed)
    {
        warn!("threads keep rights that they do not need: {error}");
    }
}

/// Starts a program, with all rights if it is one of the agent's own user.
///
/// # Errors
/// As [`Child::spawn`].
pub fn spawn(words: &[String], user: Option<(u32, u32)>) -> io::Result<Child> {
    let words = words.to_vec();
    with_programs(move || {
        let child = Child::spawn(&words, user)?;
        urgency::release(&child);
        Ok(child)
    })
}

/// Asks a program and everything in its group to end (SIGTERM), whosever it is.
pub fn terminate(child: &Child) {
    signal(child.group(), Group::terminate);
}

/// Ends a program and everything in its group (SIGKILL), whosever it is.
pub fn kill(child: &Child) {
    signal(child.group(), Group::kill);
}

fn signal(group: Group, send: fn(Group)) {
    // The caller has not waited for the program, so its number is still its own when this is done.
    let done = with_programs(move || {
        send(group);
        Ok(())
    });
    if done.is_err() {
        send(group);
    }
}
