//! Signals as something to read (signalfd), so that the loop meets them like every other event. Nothing
//! runs in a handler.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The signals that an agent listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: stop.
    Terminate,
    /// SIGINT: stop.
    Interrupt,
    /// SIGHUP: read the configuration again.
    Hangup,
    /// Write something down.
    Dump(Dump),
    /// SIGCHLD: a child has ended.
    Child,
    /// SIGXCPU: a real-time thread has computed for too long.
    Overtime,
}

/// What keepalived's signals ask to be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dump {
    /// SIGUSR1: everything, for people.
    Data,
    /// SIGUSR2: what has been counted.
    Stats,
    /// SIGRTMAX - 1: the same; keepalived then counts anew.
    StatsClear,
    /// SIGRTMIN + 2: everything, for programs.
    Json,
    /// The same where the C library is musl, whose SIGRTMIN is one more: OpenWrt's scripts send this one.
    JsonOfMusl,
}

impl Signal {
    /// Those that an agent listens to.
    pub const OF_AN_AGENT: [Self; 8] = [
        Self::Terminate,
        Self::Interrupt,
        Self::Hangup,
        Self::Dump(Dump::Data),
        Self::Dump(Dump::Stats),
        Self::Dump(Dump::StatsClear),
        Self::Dump(Dump::Json),
        Self::Dump(Dump::JsonOfMusl),
    ];

    /// As the kernel has it, which is what a signalfd tells: the C libraries differ in their SIGRTMIN.
    const fn number(self) -> libc::c_int {
        match self {
            Self::Terminate => libc::SIGTERM,
            Self::Interrupt => libc::SIGINT,
            Self::Hangup => libc::SIGHUP,
            Self::Dump(Dump::Data) => libc::SIGUSR1,
            Self::Dump(Dump::Stats) => libc::SIGUSR2,
            Self::Dump(Dump::StatsClear) => 63,
            Self::Dump(Dump::Json) => 36,
            Self::Dump(Dump::JsonOfMusl) => 37,
            Self::Child => libc::SIGCHLD,
            Self::Overtime => libc::SIGXCPU,
        }
    }
}

/// The queue of arrived signals, non-blocking.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// From now on these signals arrive here and do nothing else: they are blocked for the calling thread and
    /// for the threads it will make, so call this before making any.
    pub fn listen(signals: &[Signal]) -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises the set; it fails for no valid pointer.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        for signal in signals {
            // SAFETY: the set is initialised and the number is that of a signal.
            unsafe { libc::sigaddset(set.as_mut_ptr(), signal.number()) };
        }
        // SAFETY: the set is initialised; a null pointer for the old mask is allowed.
        let result = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) };
        if result != 0 {
            return Err(io::Error::from_raw_os_error(result));
        }
        // SAFETY: -1 asks for a new descriptor; the set is initialised and outlives the call.
        let fd = super::check(unsafe { libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) })?;
        // SAFETY: the descriptor was just made and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next one that arrived; `None` if there is none.
    pub fn next(&self) -> Option<Signal> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: `info` is valid for its size and exclusively borrowed.
        let length = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if usize::try_from(length) != Ok(size) {
            return None;
        }
        // SAFETY: the structure is plain integers, and was zeroed and then filled by the kernel.
        let number = unsafe { info.assume_init() }.ssi_signo;
        let mut known = Signal::OF_AN_AGENT.into_iter().chain([Signal::Child, Signal::Overtime]);
        known.find(|signal| signal.number().cast_unsigned() == number)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_signal_is_read() {
        // In a thread of its own: the mask of the test harness stays as it is.
        std::thread::spawn(|| {
            let signals = Signals::listen(&[Signal::Hangup]).unwrap();
            assert_eq!(signals.next(), None);
            // SAFETY: the signal is blocked for this thread, so it is queued and runs nothing.
            unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGHUP) };
            assert_eq!(signals.next(), Some(Signal::Hangup));
            assert_eq!(signals.next(), None);
        })
        .join()
        .unwrap();
    }
}
