//! Socket options, by name. Which socket wants which is decided in [`crate::socket`].

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::filter::Instruction;

// Missing in libc for some targets; the kernel's numbers are the same on all of them.
const IP_MULTICAST_ALL: libc::c_int = 49;
const IPV6_MULTICAST_ALL: libc::c_int = 29;
const IPV6_FREEBIND: libc::c_int = 78;
const SO_BINDTOIFINDEX: libc::c_int = 62;
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// An option whose value is an integer.
#[derive(Clone, Copy, Debug)]
pub struct Flag(libc::c_int, libc::c_int);

impl Flag {
    /// Receive only from the interface with this index, and send through it (kernel 5.0).
    pub const BIND_INTERFACE: Self = Self(libc::SOL_SOCKET, SO_BINDTOIFINDEX);
    /// Messages carry their own IPv4 header.
    pub const OWN_HEADER_V4: Self = Self(libc::IPPROTO_IP, libc::IP_HDRINCL);
    /// Deliver every group that the host has joined, not only those of this socket.
    pub const ALL_GROUPS_V4: Self = Self(libc::IPPROTO_IP, IP_MULTICAST_ALL);
    /// The same for IPv6 (kernel 4.20).
    pub const ALL_GROUPS_V6: Self = Self(libc::IPPROTO_IPV6, IPV6_MULTICAST_ALL);
    /// Deliver our own multicasts to our own host.
    pub const LOOP_V4: Self = Self(libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP);
    /// The same for IPv6.
    pub const LOOP_V6: Self = Self(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP);
    /// Hop limit of multicasts.
    pub const MULTICAST_HOPS_V6: Self = Self(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS);
    /// Hop limit of the rest.
    pub const UNICAST_HOPS_V6: Self = Self(libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS);
    /// Traffic class.
    pub const TRAFFIC_CLASS_V6: Self = Self(libc::IPPROTO_IPV6, libc::IPV6_TCLASS);
    /// A source address need not be one of the interface's.
    pub const ANY_SOURCE_V6: Self = Self(libc::IPPROTO_IPV6, IPV6_FREEBIND);
    /// Say with each message what its hop limit was.
    pub const TELL_HOPS_V6: Self = Self(libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT);
    /// Say with each message where it was sent to and how it came in.
    pub const TELL_DESTINATION_V6: Self = Self(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO);
    /// Do not hear the frames that this host sends (kernel 4.20).
    pub const IGNORE_OUTGOING: Self = Self(libc::SOL_PACKET, PACKET_IGNORE_OUTGOING);
    /// The send buffer.
    pub const SEND_BUFFER: Self = Self(libc::SOL_SOCKET, libc::SO_SNDBUF);

    /// Sets the option.
    pub fn set(self, fd: BorrowedFd<'_>, value: i32) -> io::Result<()> {
        set(fd, self.0, self.1, &value)
    }
}

/// Makes the receive buffer `bytes` large, beyond the system's limit if we may.
pub fn set_receive_buffer(fd: BorrowedFd<'_>, bytes: i32) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &bytes)
        .or_else(|_| set(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &bytes))
}

/// Makes a blocking receive end after `millis` with `WouldBlock`.
pub fn set_receive_timeout(fd: BorrowedFd<'_>, millis: u32) -> io::Result<()> {
    let time = libc::timeval { tv_sec: (millis / 1_000) as _, tv_usec: (millis % 1_000 * 1_000) as _ };
    set(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &time)
}

/// Joins a multicast group on one interface.
pub fn join(fd: BorrowedFd<'_>, group: IpAddr, interface: u32) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => {
            let request = libc::ip_mreqn {
                imr_multiaddr: in_addr(group),
                imr_address: in_addr(Ipv4Addr::UNSPECIFIED),
                imr_ifindex: interface.cast_signed(),
            };
            set(fd, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &request)
        }
        IpAddr::V6(group) => {
            let request = libc::ipv6_mreq {
                ipv6mr_multiaddr: libc::in6_addr { s6_addr: group.octets() },
                ipv6mr_interface: interface as _,
            };
            set(fd, libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP, &request)
        }
    }
}

/// Attaches a filter, replacing the former one: what it rejects never reaches the queue nor wakes anybody.
pub fn attach_filter(fd: BorrowedFd<'_>, filter: &[Instruction]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        // The kernel only reads it; the type says otherwise.
        filter: filter.as_ptr().cast_mut().cast(),
    };
    set(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// An IPv4 address in the kernel's form.
pub(super) fn in_addr(address: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) }
}

/// Sets the option `name` of `level`; `T` is the type that the kernel expects.
pub(super) fn set<T>(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: `value` is valid for the length given, and the kernel copies from it during the call only (a
    // filter program points to instructions that are borrowed as long).
    let result = unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const *value).cast(), size_of::<T>() as libc::socklen_t)
    };
    super::check(result).map(drop)
}
