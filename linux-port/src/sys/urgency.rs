//! How the kernel treats a thread of ours when processors or memory are short: its scheduling, processors and name, the
//! process' locked memory, limits and umask. Who wants what is decided in [`crate::guard::urgency`].

use std::fs;
use std::io;
use std::mem::MaybeUninit;

// Missing in libc for some targets; the kernel's numbers are the same on all of them.
const SCHED_RESET_ON_FORK: libc::c_int = 0x4000_0000;

/// A thread of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread(libc::pid_t);

impl Thread {
    /// The calling one.
    pub fn this() -> Self {
        // SAFETY: gettid has no preconditions and cannot fail.
        Self(unsafe { libc::syscall(libc::SYS_gettid) } as libc::pid_t)
    }

    /// How nice it is, from -20 to 19.
    ///
    /// # Errors
    /// Of the system.
    pub fn niceness(self) -> io::Result<i32> {
        // SAFETY: getpriority takes two integers. The system call, unlike the C library's, answers 20 less the value.
        let result = unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS as libc::c_int, self.0) };
        super::check(result as libc::c_int).map(|value| 20 - value)
    }

    /// Makes it so nice.
    ///
    /// # Errors
    /// Of the system.
    pub fn set_niceness(self, nice: i32) -> io::Result<()> {
        // SAFETY: setpriority takes three integers.
        let result = unsafe { libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS as libc::c_int, self.0, nice) };
        super::check(result as libc::c_int).map(drop)
    }

    /// Goes before all that have a smaller real-time priority (SCHED_RR, 1 to 99), or is as others are. What it starts
    /// is as others are.
    ///
    /// # Errors
    /// Of the system.
    pub fn set_realtime(self, priority: Option<u8>) -> io::Result<()> {
        let policy = if priority.is_some() { libc::SCHED_RR | SCHED_RESET_ON_FORK } else { libc::SCHED_OTHER };
        let parameter = libc::c_int::from(priority.unwrap_or(0));
        // SAFETY: the kernel's `struct sched_param` is one integer, valid during the call, which only reads it. (musl's
        // function of that name does nothing.)
        let result =
            unsafe { libc::syscall(libc::SYS_sched_setscheduler, self.0, policy, std::ptr::from_ref(&parameter)) };
        super::check(result as libc::c_int).map(drop)
    }

    /// The processors that it may run on.
    ///
    /// # Errors
    /// Of the system.
    pub fn cpus(self) -> io::Result<Cpus> {
        let mut cpus = Cpus::none();
        // SAFETY: the set is valid for writing its whole size.
        super::check(unsafe { libc::sched_getaffinity(self.0, size_of::<libc::cpu_set_t>(), &raw mut cpus.0) })?;
        Ok(cpus)
    }

    /// Lets it run on these processors, as far as there are such.
    ///
    /// # Errors
    /// `InvalidInput` if there are none of them; else of the system.
    pub fn set_cpus(self, cpus: &Cpus) -> io::Result<()> {
        // SAFETY: the set is valid for its whole size during the call, which only reads it.
        super::check(unsafe { libc::sched_setaffinity(self.0, size_of::<libc::cpu_set_t>(), &raw const cpus.0) })
            .map(drop)
    }

    /// Its name, as `ps` and /proc show it.
    ///
    /// # Errors
    /// Of the system.
    pub fn name(self) -> io::Result<String> {
        fs::read_to_string(self.comm()).map(|name| name.trim_end_matches('\n').to_owned())
    }

    /// Names it; of a long name the kernel keeps the first 15 bytes.
    ///
    /// # Errors
    /// Of the system.
    pub fn set_name(self, name: &str) -> io::Result<()> {
        fs::write(self.comm(), name)
    }

    fn comm(self) -> String {
        format!("/proc/self/task/{}/comm", self.0)
    }
}

/// A set of processors.
#[derive(Clone, Copy, Debug)]
pub struct Cpus(libc::cpu_set_t);

impl Cpus {
    /// How many there can be.
    pub const MOST: u32 = libc::CPU_SETSIZE as u32;

    fn none() -> Self {
        // SAFETY: the set is an array of integers, for which zero is a value.
        Self(unsafe { MaybeUninit::zeroed().assume_init() })
    }

    /// These, by their numbers; those from [`Self::MOST`] on are none.
    pub fn of(numbers: impl IntoIterator<Item = u32>) -> Self {
        let mut cpus = Self::none();
        for number in numbers.into_iter().filter(|number| *number < Self::MOST) {
            // SAFETY: the number is within the set.
            unsafe { libc::CPU_SET(number as usize, &mut cpus.0) };
        }
        cpus
    }

    /// Their numbers.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        // SAFETY: the number is within the set.
        (0..Self::MOST).filter(|number| unsafe { libc::CPU_ISSET(*number as usize, &self.0) })
    }
}

/// Keeps the memory of this process out of swap: what it has now, and with `also_later` what it will have once it is
/// used.
///
/// # Errors
/// Of the system.
pub fn lock_memory(also_later: bool) -> io::Result<()> {
    // SAFETY: mlockall takes integers, and changes no memory.
    super::check(unsafe { libc::mlockall(libc::MCL_CURRENT) })?;
    if also_later {
        // Stacks are large, and hardly used.
        // SAFETY: as above.
        super::check(unsafe { libc::mlockall(libc::MCL_FUTURE | libc::MCL_ONFAULT) })?;
    }
    Ok(())
}

/// Takes that back.
///
/// # Errors
/// Of the system.
pub fn unlock_memory() -> io::Result<()> {
    // SAFETY: munlockall has no preconditions.
    super::check(unsafe { libc::munlockall() }).map(drop)
}

/// A limit of this process (setrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Microseconds that a real-time thread may compute without waiting; then SIGXCPU comes.
    Computing,
    /// Bytes of locked memory.
    Locked,
}

/// What a limit is at, and what it may be at; `None` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// What counts.
    pub soft: Option<u64>,
    /// What that may become.
    pub hard: Option<u64>,
}

impl Limit {
    /// What it is.
    ///
    /// # Errors
    /// Of the system.
    pub fn get(self) -> io::Result<Bounds> {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        let resource = match self {
            Self::Computing => libc::RLIMIT_RTTIME,
            Self::Locked => libc::RLIMIT_MEMLOCK,
        };
        // SAFETY: `limit` is valid for writing during the call.
        super::check(unsafe { libc::getrlimit(resource, &raw mut limit) })?;
        #[allow(clippy::useless_conversion, reason = "the width depends on the target")]
        let number = |value: libc::rlim_t| (value != libc::RLIM_INFINITY).then_some(u64::from(value));
        Ok(Bounds { soft: number(limit.rlim_cur), hard: number(limit.rlim_max) })
    }

    /// Makes it this for this process.
    ///
    /// # Errors
    /// Of the system.
    pub fn set(self, bounds: Bounds) -> io::Result<()> {
        self.set_for(0, bounds)
    }

    /// Makes it this for another process.
    ///
    /// # Errors
    /// Of the system.
    pub fn set_for(self, process: libc::pid_t, bounds: Bounds) -> io::Result<()> {
        #[allow(clippy::useless_conversion, reason = "the width depends on the target")]
        let number = |value: Option<u64>| {
            value.map_or(libc::RLIM_INFINITY, |value| libc::rlim_t::try_from(value).unwrap_or(libc::RLIM_INFINITY))
        };
        let limit = libc::rlimit { rlim_cur: number(bounds.soft), rlim_max: number(bounds.hard) };
        let resource = match self {
            Self::Computing => libc::RLIMIT_RTTIME,
            Self::Locked => libc::RLIMIT_MEMLOCK,
        };
        let none = std::ptr::null_mut();
        // SAFETY: `limit` is valid during the call, which only reads it; a null pointer for the old one is allowed.
        super::check(unsafe { libc::prlimit(process, resource, &raw const limit, none) }).map(drop)
    }
}

/// Sets which bits of their modes files that this process makes do not get; which they were.
pub fn set_umask(mask: u32) -> u32 {
    // SAFETY: umask takes an integer and cannot fail.
    unsafe { libc::umask(mask) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_as_it_was_made() {
        std::thread::spawn(|| {
            let thread = Thread::this();
            let nice = thread.niceness().unwrap();
            thread.set_niceness((nice + 3).min(19)).unwrap();
            assert_eq!(thread.niceness().unwrap(), (nice + 3).min(19));
            thread.set_name("sf-name").unwrap();
            assert_eq!(thread.name().unwrap(), "sf-name");
            let cpus = thread.cpus().unwrap();
            let first = (0..Cpus::MOST).map(|number| Cpus::of([number])).find(|one| thread.set_cpus(one).is_ok());
            let one: Vec<u32> = first.unwrap().numbers().collect();
            assert_eq!((one.len(), thread.cpus().unwrap().numbers().collect::<Vec<_>>()), (1, one));
            thread.set_cpus(&cpus).unwrap();
            assert!(thread.set_cpus(&Cpus::of([])).is_err());
            thread.set_realtime(None).unwrap();
        })
        .join()
        .unwrap();
    }

    #[test]
    fn limits_come_back_as_they_were_set() {
        let before = Limit::Computing.get().unwrap();
        let lower = Bounds { soft: Some(10_000_000), ..before };
        Limit::Computing.set(lower).unwrap();
        assert_eq!(Limit::Computing.get().unwrap(), lower);
        Limit::Computing.set(before).unwrap();
        assert_eq!(Limit::Computing.get().unwrap(), before);
    }
}
