//! What a thread may do: its capabilities, each of which is a part of what root may (capabilities(7)), and letting go
//! of them for good. Linux keeps them for each thread. Who needs which is decided in [`crate::guard`].

use std::fmt;
use std::io;

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(u64);

impl Rights {
    /// None.
    pub const NONE: Self = Self(0);
    /// CAP_CHOWN: give files to others.
    pub const CHOWN: Self = Self(1);
    /// CAP_DAC_OVERRIDE: read and write what belongs to others.
    pub const FILES: Self = Self(1 << 1);
    /// CAP_DAC_READ_SEARCH: read what belongs to others.
    pub const READ: Self = Self(1 << 2);
    /// CAP_NET_BIND_SERVICE: ports below 1024.
    pub const PORTS: Self = Self(1 << 10);
    /// CAP_NET_ADMIN: addresses, interfaces, policies, IPVS, and the settings of the network in /proc/sys.
    pub const NETWORK: Self = Self(1 << 12);
    /// CAP_NET_RAW: raw and packet sockets.
    pub const RAW: Self = Self(1 << 13);
    /// CAP_IPC_LOCK: more locked memory than a limit allows.
    pub const LOCK: Self = Self(1 << 14);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that the calling thread can use.
    ///
    /// # Errors
    /// Of the system.
    pub fn held() -> io::Result<Self> {
        Ok(Self(get()?.effective()))
    }
}

impl fmt::Display for Rights {
    /// As /proc/PID/status has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The calling thread keeps of its capabilities these, as far as it has them, and neither it nor what it starts gets any
/// others again: it may raise none (the bounding set, where it may be made smaller), and programs that it runs give it
/// none (no_new_privs).
///
/// # Errors
/// Of the system; then some have been let go of, or none.
pub fn shed(kept: Rights) -> io::Result<()> {
    // SAFETY: the call takes integers and touches no memory of ours.
    super::check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1 as libc::c_ulong, 0, 0, 0) })?;
    for number in 0..64 as libc::c_ulong {
        // SAFETY: the call takes integers and touches no memory of ours.
        let dropped = super::check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) });
        // This kernel has no more, or we may not: then no_new_privs has to do.
        if dropped.is_err() {
            break;
        }
    }
    let held = get()?.permitted() & kept.0;
    set(&Sets::of(held))
}

/// The kernel's `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

/// `_LINUX_CAPABILITY_VERSION_3`, of the calling thread.
const HEADER: Header = Header { version: 0x2008_0522, pid: 0 };

/// Two of the kernel's `struct __user_cap_data_struct`: the lower halves, the upper halves.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets([Half; 2]);

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

impl Sets {
    /// These as effective and permitted ones; none are handed on.
    fn of(set: u64) -> Self {
        let half = |half: u32| Half { effective: half, permitted: half, inheritable: 0 };
        Self([half(set as u32), half((set >> 32) as u32)])
    }

    fn whole(&self, of: impl Fn(&Half) -> u32) -> u64 {
        let [low, high] = &self.0;
        u64::from(of(high)) << 32 | u64::from(of(low))
    }

    fn effective(&self) -> u64 {
        self.whole(|half| half.effective)
    }

    fn permitted(&self) -> u64 {
        self.whole(|half| half.permitted)
    }
}

fn get() -> io::Result<Sets> {
    let (mut header, mut sets) = (HEADER, Sets::default());
    // SAFETY: both have the kernel's layout for this version and are valid for writing during the call.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, &raw mut sets) };
    super::check(result as libc::c_int)?;
    Ok(sets)
}

fn set(sets: &Sets) -> io::Result<()> {
    let mut header = HEADER;
    // SAFETY: both have the kernel's layout for this version and outlive the call, which only reads the sets.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, std::ptr::from_ref(sets)) };
    super::check(result as libc::c_int).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    #[test]
    fn what_a_thread_has_shed_neither_it_nor_what_it_starts_has_again() {
        let before = Rights::held().unwrap();
        std::thread::spawn(move || {
            shed(Rights::NETWORK).unwrap();
            assert_eq!(Rights::held().unwrap(), Rights(before.0 & Rights::NETWORK.0));
            let status = Command::new("cat").arg("/proc/self/status").output().unwrap();
            let status = String::from_utf8(status.stdout).unwrap();
            let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
            let started = u64::from_str_radix(&line("CapEff:"), 16).unwrap();
            assert_eq!(started & !(before.0 & Rights::NETWORK.0), 0, "{status}");
            assert_eq!(line("NoNewPrivs:"), "1");
        })
        .join()
        .unwrap();
        // That was one thread's affair.
        assert_eq!(Rights::held().unwrap(), before);
        let own = fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(own.contains(&format!("CapEff:\t{before}")), "{own}");
    }
}
