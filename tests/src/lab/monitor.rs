//! The address monitor: when an address came to or left a machine, or had its lifetime renewed, from the kernel's own
//! notifications.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::clock::{Stamp, ms};
use super::namespace::Namespace;

/// An address that came or left.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// When this program heard of it; the kernel did it a moment before.
    pub at: Stamp,
    /// True for an added address, false for a removed one.
    pub added: bool,
    /// The address.
    pub address: IpAddr,
}

#[derive(Debug, Default)]
struct Shared {
    changes: Mutex<Vec<Change>>,
    /// Whose lifetime was renewed, and when.
    renewals: Mutex<Vec<(IpAddr, Stamp)>>,
    more: Condvar,
    stop: AtomicBool,
}

/// A running monitor.
#[derive(Debug)]
pub struct Monitor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Monitor {
    /// Starts listening in a namespace.
    pub fn start(namespace: &Namespace) -> Self {
        let shared = Arc::new(Shared::default());
        let mine = Arc::clone(&shared);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = namespace.spawn(move || {
            let socket =
                socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
                    .expect("a netlink socket opens");
            // RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0x10 | 0x100)).expect("the address groups can be joined");
            super::enlarge(&socket, 8 << 20);
            setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(50)).expect("a receive timeout");
            let _ = ready.send(());
            let mut buffer = vec![0_u8; 65_536];
            while !mine.stop.load(Ordering::Relaxed) {
                let Ok(length) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) else { continue };
                let at = Stamp::now();
                let (found, renewed) = changes(&buffer[..length], at);
                let renewals = renewed.into_iter().map(|address| (address, at));
                mine.renewals.lock().unwrap_or_else(PoisonError::into_inner).extend(renewals);
                mine.changes.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
                mine.more.notify_all();
            }
        });
        is_ready.recv().expect("the monitor starts");
        Self { shared, thread: Some(thread) }
    }

    /// All changes so far.
    pub fn changes(&self) -> Vec<Change> {
        self.shared.changes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When the lifetime of `address` was last renewed before `until`.
    pub fn renewed(&self, address: IpAddr, until: Stamp) -> Option<Stamp> {
        let renewals = self.shared.renewals.lock().unwrap_or_else(PoisonError::into_inner);
        renewals.iter().filter(|(whose, at)| *whose == address && *at < until).map(|(_, at)| *at).max()
    }

    /// Waits until `address` is added (or removed) at or after `from`; panics after `patience`.
    #[track_caller]
    pub fn wait(&self, address: IpAddr, added: bool, from: Stamp, patience: Duration) -> Stamp {
        let deadline = Stamp::now() + patience;
        let mut changes = self.shared.changes.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let fits = |change: &&Change| change.address == address && change.added == added && change.at >= from;
            if let Some(change) = changes.iter().find(fits) {
                return change.at;
            }
            let left = deadline.ms_since(Stamp::now());
            assert!(left > 0.0, "{address} was not {} within {patience:?}", if added { "added" } else { "removed" });
            changes = self.shared.more.wait_timeout(changes, ms(left)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads RTM_NEWADDR and RTM_DELADDR out of a datagram of netlink messages: the changes, and whose lifetime was renewed.
fn changes(mut bytes: &[u8], at: Stamp) -> (Vec<Change>, Vec<IpAddr>) {
    const NEW: u16 = 20;
    const DELETED: u16 = 21;
    const ADDRESS: u16 = 1;
    const LOCAL: u16 = 2;
    const CACHE: u16 = 6;
    let (mut found, mut renewals) = (Vec::new(), Vec::new());
    while let Some((message, rest)) = split(bytes, 4, 16) {
        bytes = rest;
        let kind = u16::from_ne_bytes([message[4], message[5]]);
        if kind != NEW && kind != DELETED {
            continue;
        }
        // nlmsghdr 16, ifaddrmsg 8, then attributes of u16 length, u16 type.
        let mut attributes = message.get(24..).unwrap_or(&[]);
        let (mut address, mut local, mut renewed) = (None, None, false);
        while let Some((attribute, rest)) = split(attributes, 2, 4) {
            attributes = rest;
            let value = &attribute[4..];
            let ip = match value.len() {
                4 => value.try_into().ok().map(|octets: [u8; 4]| IpAddr::from(Ipv4Addr::from(octets))),
                16 => value.try_into().ok().map(|octets: [u8; 16]| IpAddr::from(Ipv6Addr::from(octets))),
                _ => None,
            };
            match u16::from_ne_bytes([attribute[2], attribute[3]]) {
                ADDRESS => address = ip,
                LOCAL => local = ip,
                // After two lifetimes: when it was made, and when it was last changed.
                CACHE => renewed = value.get(8..12) != value.get(12..16),
                _ => {}
            }
        }
        match local.or(address) {
            Some(address) if kind == NEW && renewed => renewals.push(address),
            Some(address) => found.push(Change { at, added: kind == NEW, address }),
            None => {}
        }
    }
    (found, renewals)
}

/// Splits one 4-byte aligned record off whose length is its first `width` bytes, and which is at least `least` long.
fn split(bytes: &[u8], width: usize, least: usize) -> Option<(&[u8], &[u8])> {
    let length = match width {
        4 => usize::try_from(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?,
        _ => usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?)),
    };
    let record = bytes.get(..length).filter(|record| record.len() >= least)?;
    Some((record, bytes.get(length.next_multiple_of(4)..).unwrap_or(&[])))
}
