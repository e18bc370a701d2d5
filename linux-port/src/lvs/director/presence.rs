//! Which addresses are on this machine, whoever put them there: for `ha_suspend`.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use crate::netlink::{Client, Event, Monitor};

/// Changes that are taken in at once.
const CHANGES: usize = 256;

/// The addresses, by interface.
#[derive(Debug)]
pub(super) struct Presence {
    monitor: Monitor,
    addresses: HashSet<(u32, IpAddr)>,
}

impl Presence {
    /// Listens from now on.
    pub(super) fn open() -> io::Result<Self> {
        let mut presence = Self { monitor: Monitor::open()?, addresses: HashSet::new() };
        presence.read()?;
        Ok(presence)
    }

    fn read(&mut self) -> io::Result<()> {
        self.addresses = Client::open()?.addresses()?.iter().map(|address| (address.interface, address.ip)).collect();
        Ok(())
    }

    /// Takes in what has changed.
    pub(super) fn take_in(&mut self) -> io::Result<()> {
        let mut overrun = false;
        let Self { monitor, addresses } = self;
        monitor.receive(CHANGES, |event| match event {
            Event::AddressAdded(address) => {
                addresses.insert((address.interface, address.ip));
            }
            Event::AddressRemoved(address) => {
                addresses.remove(&(address.interface, address.ip));
            }
            Event::LinkGone(link) => addresses.retain(|(interface, _)| *interface != link.index),
            Event::Link(_) => {}
            Event::Overrun => overrun = true,
        })?;
        if overrun { self.read() } else { Ok(()) }
    }

    /// Whether an address is here.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|(_, known)| *known == ip)
    }
}

impl AsFd for Presence {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.monitor.as_fd()
    }
}
