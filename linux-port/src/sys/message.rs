//! Many messages in one system call: a queue of messages to send (sendmmsg) and a set of buffers to receive
//! into (recvmmsg). All memory is made once, and pages are touched only as traffic needs them.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::null_mut;

use steadfast_core::types::MacAddr;
use steadfast_core::wire::Full;

use super::option::in_addr;

/// Messages that go out in one call: no more, so that 64 Advertisements cannot overflow a peer's queue,
/// which holds 256 by default.
pub const SEND_BATCH: usize = 64;
/// Messages taken in by one call.
pub const RECEIVE_BATCH: usize = 32;

/// The longest message sent: 255 IPv6 addresses in a whole frame.
const LONGEST: usize = 14 + 40 + 8 + 255 * 16;
/// Room for a batch of ordinary Advertisements and one of the longest.
const SEND_ROOM: usize = 2 * LONGEST;

/// Where a message goes.
#[derive(Clone, Copy, Debug)]
pub enum Destination {
    /// Through an interface to an IPv4 address.
    V4 {
        /// Interface index.
        interface: u32,
        /// To whom.
        address: Ipv4Addr,
    },
    /// Through an interface to an IPv6 address.
    V6 {
        /// Interface index.
        interface: u32,
        /// From whom.
        source: Ipv6Addr,
        /// To whom.
        address: Ipv6Addr,
    },
    /// A whole frame.
    Frame {
        /// Interface index.
        interface: u32,
        /// The frame's own EtherType.
        ethertype: u16,
        /// The frame's own destination.
        address: MacAddr,
    },
}

/// What became of a queue that was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Accepted by the kernel.
    pub sent: usize,
    /// Lost because a queue of this host was full (EAGAIN, ENOBUFS).
    pub dropped: usize,
    /// Refused for another reason, such as an interface that is down.
    pub failed: usize,
    /// The first refusal: the interface and the error number.
    pub first_failure: Option<(u32, i32)>,
}

impl Sent {
    /// Adds another queue's.
    pub fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.dropped += other.dropped;
        self.failed += other.failed;
        self.first_failure = self.first_failure.or(other.first_failure);
    }
}

/// Messages waiting to be sent, at most [`SEND_BATCH`].
#[derive(Debug)]
pub struct SendQueue {
    bytes: Vec<u8>,
    used: usize,
    messages: Vec<(usize, usize, Destination)>,
}

impl Default for SendQueue {
    fn default() -> Self {
        Self { bytes: vec![0; SEND_ROOM], used: 0, messages: Vec::with_capacity(SEND_BATCH) }
    }
}

impl SendQueue {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether another message of any length fits.
    pub fn has_room(&self) -> bool {
        self.messages.len() < SEND_BATCH && self.bytes.len() - self.used >= LONGEST
    }

    /// Queues the message that `write` writes into the buffer lent to it (it returns the length, and where
    /// to). Hands `Full` back if `write` says so or the queue is full; then the queue is as it was.
    pub fn push(&mut self, write: impl FnOnce(&mut [u8]) -> Result<(usize, Destination), Full>) -> Result<(), Full> {
        if self.messages.len() >= SEND_BATCH {
            return Err(Full);
        }
        let room = self.bytes.get_mut(self.used..).ok_or(Full)?;
        let available = room.len();
        let (length, destination) = write(room)?;
        if length > available {
            return Err(Full);
        }
        self.messages.push((self.used, length, destination));
        self.used += length;
        Ok(())
    }

    /// Sends everything that waits, past messages that the kernel refuses; never blocks.
    pub fn flush(&mut self, fd: BorrowedFd<'_>) -> Sent {
        let mut sent = Sent::default();
        let mut addresses = [const { Address::NONE }; SEND_BATCH];
        let mut controls = [const { MaybeUninit::<Control>::uninit() }; SEND_BATCH];
        let mut vectors = [const { libc::iovec { iov_base: null_mut(), iov_len: 0 } }; SEND_BATCH];
        let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; SEND_BATCH];
        let parts = headers.iter_mut().zip(&mut addresses).zip(&mut controls).zip(&mut vectors);
        for (&(offset, length, destination), (((header, address), control), vector)) in self.messages.iter().zip(parts)
        {
            // In bounds: `push` made sure of it. The kernel only reads; the type says otherwise.
            vector.iov_base = self.bytes[offset..offset + length].as_ptr().cast_mut().cast();
            vector.iov_len = length;
            let (address_length, control_length) = address.set(destination, control);
            header.write(libc::mmsghdr {
                msg_hdr: message_header(
                    (&raw mut *address).cast(),
                    address_length,
                    &raw mut *vector,
                    control.as_mut_ptr().cast(),
                    control_length,
                ),
                msg_len: 0,
            });
        }
        let count = self.messages.len();
        let mut next = 0;
        while next < count {
            // SAFETY: the headers `next..count` were written above; the buffers, addresses and control data
            // that they point to are arrays of this function and `self.bytes`, which all outlive the call.
            let result = unsafe {
                libc::sendmmsg(
                    fd.as_raw_fd(),
                    headers[next..].as_mut_ptr().cast(),
                    (count - next) as libc::c_uint,
                    libc::MSG_DONTWAIT as _,
                )
            };
            match super::check(result) {
                Ok(done) => {
                    let done = usize::try_from(done).unwrap_or(0).max(1);
                    sent.sent += done;
                    next += done;
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN | libc::ENOBUFS) => {
                        sent.dropped += 1;
                        next += 1;
                    }
                    code => {
                        let interface = self.messages[next].2.interface();
                        sent.failed += 1;
                        sent.first_failure.get_or_insert((interface, code.unwrap_or(0)));
                        next += 1;
                    }
                },
            }
        }
        self.messages.clear();
        self.used = 0;
        sent
    }
}

impl Destination {
    const fn interface(&self) -> u32 {
        match *self {
            Self::V4 { interface, .. } | Self::V6 { interface, .. } | Self::Frame { interface, .. } => interface,
        }
    }
}

#[derive(Clone, Copy)]
union Address {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
    frame: libc::sockaddr_ll,
}

/// Control data of one message, laid out as the CMSG macros would: a header and its value.
#[derive(Clone, Copy)]
#[repr(C)]
union Control {
    v4: Labelled<libc::in_pktinfo>,
    v6: Labelled<libc::in6_pktinfo>,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Labelled<T> {
    header: libc::cmsghdr,
    value: T,
}

impl<T> Labelled<T> {
    fn new(level: libc::c_int, kind: libc::c_int, value: T) -> Self {
        // SAFETY: cmsghdr is integers only, for which zeros are valid.
        let mut header: libc::cmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        // The true type of the field depends on the C library.
        header.cmsg_len = (size_of::<libc::cmsghdr>() + size_of::<T>()) as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        Self { header, value }
    }
}

impl Address {
    /// The largest of the three, so that every byte is initialised.
    const NONE: Self = Self {
        v6: libc::sockaddr_in6 {
            sin6_family: 0,
            sin6_port: 0,
            sin6_flowinfo: 0,
            sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
            sin6_scope_id: 0,
        },
    };

    /// Fills in the address and what goes beside it; returns the lengths of both.
    fn set(&mut self, destination: Destination, control: &mut MaybeUninit<Control>) -> (usize, usize) {
        match destination {
            Destination::V4 { interface, address } => {
                self.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: 0,
                    sin_addr: in_addr(address),
                    sin_zero: [0; 8],
                };
                let info = libc::in_pktinfo {
                    ipi_ifindex: interface.cast_signed(),
                    ipi_spec_dst: in_addr(Ipv4Addr::UNSPECIFIED),
                    ipi_addr: in_addr(Ipv4Addr::UNSPECIFIED),
                };
                control.write(Control { v4: Labelled::new(libc::IPPROTO_IP, libc::IP_PKTINFO, info) });
                (size_of::<libc::sockaddr_in>(), size_of::<Labelled<libc::in_pktinfo>>())
            }
            Destination::V6 { interface, source, address } => {
                self.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: 0,
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr { s6_addr: address.octets() },
                    sin6_scope_id: if address.is_unicast_link_local() || address.is_multicast() {
                        interface
                    } else {
                        0
                    },
                };
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: source.octets() },
                    ipi6_ifindex: interface as _,
                };
                control.write(Control { v6: Labelled::new(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info) });
                (size_of::<libc::sockaddr_in6>(), size_of::<Labelled<libc::in6_pktinfo>>())
            }
            Destination::Frame { interface, ethertype, address: MacAddr([a, b, c, d, e, f]) } => {
                self.frame = libc::sockaddr_ll {
                    sll_family: libc::AF_PACKET as libc::sa_family_t,
                    sll_protocol: ethertype.to_be(),
                    sll_ifindex: interface.cast_signed(),
                    sll_hatype: 0,
                    sll_pkttype: 0,
                    sll_halen: 6,
                    sll_addr: [a, b, c, d, e, f, 0, 0],
                };
                (size_of::<libc::sockaddr_ll>(), 0)
            }
        }
    }
}

fn message_header(
    name: *mut libc::c_void,
    name_length: usize,
    vector: *mut libc::iovec,
    control: *mut libc::c_void,
    control_length: usize,
) -> libc::msghdr {
    // SAFETY: msghdr is pointers and integers only (C libraries differ in padding), for which zeros are valid.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_name = name;
    header.msg_namelen = name_length as libc::socklen_t;
    header.msg_iov = vector;
    header.msg_iovlen = 1;
    if control_length > 0 {
        header.msg_control = control;
        header.msg_controllen = control_length as _;
    }
    header
}

/// The longest message that is received whole: more than any valid Advertisement with its IPv4 header.
const RECEIVE_ROOM: usize = 4352;
/// Control data of one received message: an in6_pktinfo and a hop limit, with their headers.
const CONTROL_ROOM: usize = 12;

/// Buffers for [`RECEIVE_BATCH`] messages.
#[derive(Debug)]
pub struct ReceiveQueue {
    bytes: Vec<u8>,
    controls: Vec<[u64; CONTROL_ROOM]>,
    received: Vec<Received>,
}

/// Where in the buffers one message is.
#[derive(Clone, Copy, Debug)]
struct Received {
    length: usize,
    control: usize,
    source: Ipv6Addr,
}

/// What a socket says of one received message beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// From whom (IPv6).
    pub source: Ipv6Addr,
    /// To whom (IPv6), if the socket was asked to tell.
    pub destination: Option<Ipv6Addr>,
    /// Its hop limit (IPv6), if the socket was asked to tell.
    pub hop_limit: Option<u8>,
}

impl Default for ReceiveQueue {
    fn default() -> Self {
        Self {
            bytes: vec![0; RECEIVE_ROOM * RECEIVE_BATCH],
            controls: vec![[0; CONTROL_ROOM]; RECEIVE_BATCH],
            received: Vec::with_capacity(RECEIVE_BATCH),
        }
    }
}

impl ReceiveQueue {
    /// Takes in at most `limit` messages that wait, dropping what was there before; returns how many.
    pub fn receive(&mut self, fd: BorrowedFd<'_>, limit: usize) -> io::Result<usize> {
        self.received.clear();
        let count = limit.min(RECEIVE_BATCH);
        let mut addresses = [const { Address::NONE }; RECEIVE_BATCH];
        let mut vectors = [const { libc::iovec { iov_base: null_mut(), iov_len: 0 } }; RECEIVE_BATCH];
        let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; RECEIVE_BATCH];
        let buffers = self.bytes.chunks_exact_mut(RECEIVE_ROOM).zip(&mut self.controls);
        let parts = headers.iter_mut().zip(&mut addresses).zip(&mut vectors);
        for ((buffer, control), ((header, address), vector)) in buffers.zip(parts).take(count) {
            vector.iov_base = buffer.as_mut_ptr().cast();
            vector.iov_len = buffer.len();
            header.write(libc::mmsghdr {
                msg_hdr: message_header(
                    (&raw mut *address).cast(),
                    size_of::<Address>(),
                    &raw mut *vector,
                    control.as_mut_ptr().cast(),
                    size_of_val(control),
                ),
                msg_len: 0,
            });
        }
        // SAFETY: the first `count` headers were written above; what they point to are arrays of this function
        // and buffers of `self`, exclusively borrowed, which all outlive the call. No timeout.
        let result = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                headers.as_mut_ptr().cast(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                null_mut(),
            )
        };
        let count = match super::check(result) {
            Ok(count) => usize::try_from(count).unwrap_or(0),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => 0,
            Err(error) => return Err(error),
        };
        for (header, address) in headers.iter().zip(&addresses).take(count) {
            // SAFETY: the headers up to `count` were written above and filled in by the kernel.
            let header = unsafe { header.assume_init_ref() };
            // SAFETY: every bit pattern is a valid sockaddr_in6, and `NONE` has initialised all of it.
            let from = unsafe { address.v6 };
            let is_v6 = libc::c_int::from(from.sin6_family) == libc::AF_INET6;
            let source = if is_v6 { Ipv6Addr::from(from.sin6_addr.s6_addr) } else { Ipv6Addr::UNSPECIFIED };
            self.received.push(Received {
                length: (header.msg_len as usize).min(RECEIVE_ROOM),
                #[allow(clippy::unnecessary_cast, reason = "the width of the field depends on the C library")]
                control: (header.msg_hdr.msg_controllen as usize).min(CONTROL_ROOM * 8),
                source,
            });
        }
        Ok(count)
    }

    /// The messages that the last [`receive`](Self::receive) took in: the bytes and what is told beside.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Told)> {
        self.received.iter().zip(self.bytes.chunks_exact(RECEIVE_ROOM)).zip(&self.controls).map(
            |((received, buffer), control)| {
                (&buffer[..received.length], told(received.source, control, received.control))
            },
        )
    }
}

/// Reads control data: a chain of headers, each followed by its value and padding.
fn told(source: Ipv6Addr, control: &[u64; CONTROL_ROOM], length: usize) -> Told {
    let mut told = Told { source, destination: None, hop_limit: None };
    let mut bytes = [0; CONTROL_ROOM * 8];
    for (bytes, word) in bytes.chunks_exact_mut(8).zip(control) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    let mut rest = &bytes[..length];
    while let Some(head) = rest.get(..size_of::<libc::cmsghdr>()) {
        // SAFETY: `head` is as long as a cmsghdr, every bit pattern is valid for its integers, and the read
        // does not rely on alignment.
        let header = unsafe { head.as_ptr().cast::<libc::cmsghdr>().read_unaligned() };
        #[allow(clippy::unnecessary_cast, reason = "the width of the field depends on the C library")]
        let whole = header.cmsg_len as usize;
        let Some(value) = rest.get(head.len()..whole) else { break };
        match (header.cmsg_level, header.cmsg_type) {
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                told.destination = value.first_chunk::<16>().map(|address| Ipv6Addr::from(*address));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                let hops = value.first_chunk::<4>().map(|hops| i32::from_ne_bytes(*hops));
                told.hop_limit = hops.and_then(|hops| u8::try_from(hops).ok());
            }
            _ => {}
        }
        rest = rest.get(whole.next_multiple_of(size_of::<usize>())..).unwrap_or(&[]);
    }
    told
}
