//! `no_accept` (Accept_Mode, RFC 9568 section 6.1): packets to a virtual address that this host would take for itself
//! are dropped, while the kernel goes on answering ARP and Neighbour Discovery for it and forwarding what is on its
//! way to others. No firewall is needed: the kernel's table of policies for packets that come in (XFRM, made for
//! IPsec) has one for each address, which blocks it. They do no harm while the address is on another host, so they stay
//! as long as the configuration wants them, and a note beside the control socket says that there are some.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_XFRM};

use crate::netlink::{messages, receive, verdict};
use crate::sys::option;

const PATIENCE_MILLIS: u32 = 5_000;
const DATAGRAM: usize = 32 * 1024;

// linux/xfrm.h
const XFRM_MSG_NEWPOLICY: u16 = 0x13;
const XFRM_MSG_DELPOLICY: u16 = 0x14;
const XFRM_MSG_GETPOLICY: u16 = 0x15;
const XFRM_POLICY_IN: u8 = 0;
const XFRM_POLICY_ALLOW: u8 = 0;
const XFRM_POLICY_BLOCK: u8 = 1;
/// struct xfrm_selector
const SELECTOR: usize = 56;
/// Where struct xfrm_userpolicy_info has its limits, its priority, and what comes after that.
const LIMITS: usize = SELECTOR;
const PRIORITY: usize = SELECTOR + 64 + 32;
const DIRECTION: usize = PRIORITY + 8;
const POLICY: usize = 168;
/// struct xfrm_userpolicy_id
const POLICY_ID: usize = 64;

/// By these our policies are told from others'. They come before those of IPsec daemons.
const ALLOWING: u32 = 112_000;
const BLOCKING: u32 = 112_001;

/// What of ICMPv6 is answered nevertheless (RFC 9568 section 6.1): Neighbour Solicitations and Advertisements.
const NEIGHBOUR_DISCOVERY: [u16; 2] = [135, 136];

/// A policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Policy {
    address: IpAddr,
    /// Lets this type of ICMPv6 through; blocks everything without it.
    allowed: Option<u16>,
}

impl Policy {
    /// All that an address needs; those that allow come first.
    fn all(address: IpAddr) -> Vec<Self> {
        let allowed = NEIGHBOUR_DISCOVERY.map(Some);
        let allowed = if address.is_ipv6() { &allowed[..] } else { &[] };
        allowed.iter().copied().chain([None]).map(|allowed| Self { address, allowed }).collect()
    }

    /// struct xfrm_selector
    fn selector(self) -> Vec<u8> {
        let mut bytes = vec![0; SELECTOR];
        let (family, length) = match self.address {
            IpAddr::V4(ip) => {
                bytes[..4].copy_from_slice(&ip.octets());
                (libc::AF_INET, 32)
            }
            IpAddr::V6(ip) => {
                bytes[..16].copy_from_slice(&ip.octets());
                (libc::AF_INET6, 128)
            }
        };
        if let Some(kind) = self.allowed {
            // The type stands where others have the source port.
            bytes[36..38].copy_from_slice(&kind.to_be_bytes());
            bytes[38..40].fill(0xff);
            bytes[44] = libc::IPPROTO_ICMPV6 as u8;
        }
        bytes[40..42].copy_from_slice(&(family as u16).to_ne_bytes());
        bytes[42] = length;
        bytes
    }

    /// struct xfrm_userpolicy_info
    fn info(self) -> Vec<u8> {
        let mut bytes = self.selector();
        bytes.resize(POLICY, 0);
        // No limit of bytes or packets; those of time are 0: none.
        bytes[LIMITS..LIMITS + 32].fill(0xff);
        let (priority, action) = match self.allowed {
            Some(_) => (ALLOWING, XFRM_POLICY_ALLOW),
            None => (BLOCKING, XFRM_POLICY_BLOCK),
        };
        bytes[PRIORITY..PRIORITY + 4].copy_from_slice(&priority.to_ne_bytes());
        bytes[DIRECTION] = XFRM_POLICY_IN;
        bytes[DIRECTION + 1] = action;
        bytes
    }

    /// struct xfrm_userpolicy_id
    fn id(self) -> Vec<u8> {
        let mut bytes = self.selector();
        bytes.resize(POLICY_ID, 0);
        bytes
    }

    /// One of ours, from struct xfrm_userpolicy_info: the address of one that blocks, or whose address has others.
    fn ours(info: &[u8]) -> Option<IpAddr> {
        let priority = info.get(PRIORITY..PRIORITY + 4)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))?;
        let family = info.get(40..42)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))?;
        let [length, direction] = [*info.get(42)?, *info.get(DIRECTION)?];
        let address: IpAddr = match (i32::from(family), length) {
            (libc::AF_INET, 32) => info.first_chunk::<4>().copied()?.into(),
            (libc::AF_INET6, 128) => info.first_chunk::<16>().copied()?.into(),
            _ => return None,
        };
        ([ALLOWING, BLOCKING].contains(&priority) && direction == XFRM_POLICY_IN).then_some(address)
    }
}

/// The addresses that this network namespace does not accept packets to.
#[derive(Debug)]
pub struct Unaccepted {
    /// There as long as there may be policies of ours.
    note: PathBuf,
    held: BTreeSet<IpAddr>,
    client: Option<Client>,
}

impl Unaccepted {
    /// None yet; `note` is where it is noted that there are some.
    pub fn new(note: &Path) -> Self {
        Self { note: note.to_owned(), held: BTreeSet::new(), client: None }
    }

    /// Begins with what an earlier run has left, if it noted so.
    ///
    /// # Errors
    ///
    /// Of the system.
    pub fn recall(&mut self) -> io::Result<()> {
        if self.note.exists() {
            self.held = self.client()?.dump()?;
        }
        Ok(())
    }

    /// Makes it exactly these. Waits for the kernel.
    ///
    /// # Errors
    ///
    /// The first of the system's; as much as possible is done nevertheless. `Unsupported` on a kernel without XFRM.
    pub fn set(&mut self, wanted: &BTreeSet<IpAddr>) -> io::Result<()> {
        if wanted.is_empty() && self.held.is_empty() {
            return Ok(());
        }
        self.client()?;
        if !wanted.is_empty() {
            // Where nothing can be noted, they do no harm if this run is killed.
            let _ = fs::write(&self.note, "");
        }
        let mut result = Ok(());
        let before = self.held.clone();
        // Also those that should be there: an earlier run may have been cut short, or somebody may have removed all.
        for address in wanted.iter().copied() {
            let all = Policy::all(address);
            let mut added = Ok(());
            for policy in all {
                added = added.and_then(|()| self.client()?.request(XFRM_MSG_NEWPOLICY, &policy.info()));
            }
            // Also if only some were added: they are to be removed.
            self.held.insert(address);
            result = result.and(added.map_err(|error| named(address, &error)));
        }
        for address in before.difference(wanted).copied() {
            self.held.remove(&address);
            // The one that blocks goes first: those that allow do nothing alone.
            for policy in Policy::all(address).into_iter().rev() {
                let removed = self.client()?.request(XFRM_MSG_DELPOLICY, &policy.id());
                result = result.and(removed.map_err(|error| named(address, &error)));
            }
        }
        if self.held.is_empty() {
            let _ = fs::remove_file(&self.note);
        }
        result
    }

    fn client(&mut self) -> io::Result<&mut Client> {
        match &mut self.client {
            Some(client) => Ok(client),
            client @ None => Ok(client.insert(Client::open()?)),
        }
    }
}

fn named(address: IpAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{address}: {error}"))
}

/// A connection for requests, one at a time.
#[derive(Debug)]
struct Client {
    socket: Socket,
    sequence: u32,
}

impl Client {
    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_XFRM).map_err(|error| match error.raw_os_error() {
            Some(libc::EPROTONOSUPPORT) => {
                io::Error::new(io::ErrorKind::Unsupported, "this kernel has no policies (CONFIG_XFRM_USER)")
            }
            _ => error,
        })?;
        socket.bind_auto()?;
        option::set_receive_timeout(socket.as_fd(), PATIENCE_MILLIS)?;
        Ok(Self { socket, sequence: 0 })
    }

    fn send(&mut self, kind: u16, flags: u16, payload: &[u8]) -> io::Result<u32> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = u32::try_from(16 + payload.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(payload);
        self.socket.send_to(&message, &SocketAddr::new(0, 0), 0)?;
        Ok(self.sequence)
    }

    /// Adds or removes a policy. That one to be added is there, or one to be removed is not, is success.
    fn request(&mut self, kind: u16, payload: &[u8]) -> io::Result<()> {
        let sequence = self.send(kind, NLM_F_ACK, payload)?;
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let length = receive(&self.socket, &mut buffer, 0)?;
            for (header, payload) in messages(&buffer[..length]) {
                if header.sequence_number == sequence && header.message_type == NLMSG_ERROR {
                    return verdict(payload).or_else(|error| match (kind, error.raw_os_error()) {
                        (XFRM_MSG_NEWPOLICY, Some(libc::EEXIST)) | (XFRM_MSG_DELPOLICY, Some(libc::ENOENT)) => Ok(()),
                        _ => Err(error),
                    });
                }
            }
        }
    }

    /// The addresses that have policies of ours.
    fn dump(&mut self) -> io::Result<BTreeSet<IpAddr>> {
        let sequence = self.send(XFRM_MSG_GETPOLICY, NLM_F_DUMP, &[0; POLICY_ID])?;
        let mut buffer = vec![0; DATAGRAM];
        let mut found = BTreeSet::new();
        loop {
            let length = receive(&self.socket, &mut buffer, 0)?;
            for (header, payload) in messages(&buffer[..length]) {
                if header.sequence_number != sequence {
                    continue;
                }
                match header.message_type {
                    NLMSG_DONE => return Ok(found),
                    NLMSG_ERROR => verdict(payload)?,
                    _ => found.extend(Policy::ours(payload)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_recognised_and_nothing_else_is() {
        for text in ["10.9.0.100", "fd09::64"] {
            let address: IpAddr = text.parse().unwrap();
            let all = Policy::all(address);
            assert_eq!(all.len(), if address.is_ipv6() { 3 } else { 1 });
            for policy in all {
                let info = policy.info();
                assert_eq!(Policy::ours(&info), Some(address));
                for length in 0..DIRECTION {
                    assert_eq!(Policy::ours(&info[..length]), None);
                }
                let mut other = info.clone();
                other[42] -= 8;
                assert_eq!(Policy::ours(&other), None, "a network's");
                let mut other = info;
                other[PRIORITY..PRIORITY + 4].fill(1);
                assert_eq!(Policy::ours(&other), None, "somebody else's");
            }
        }
    }
}
