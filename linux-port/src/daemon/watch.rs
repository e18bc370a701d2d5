//! What the kernel tells of links and addresses, and what follows from it for the core: an interface goes up
//! or down, its source address changes, an address that we hold is taken away.

use std::io;
use std::os::fd::AsFd;

use log::{error, info, warn};
use steadfast_core::agent::Link as LinkState;
use steadfast_core::time::Instant;
use steadfast_core::types::Family;
use steadfast_core::wire::PROTOCOL;
use steadfast_core::wire::ah::PROTOCOL_AH;

use super::{CHANGES, Daemon};
use crate::netlink::{Address, Client, Event};
use crate::socket::Receiver;

impl Daemon {
    /// Takes in the kernel's news.
    pub(super) fn news(&mut self, now: Instant) -> io::Result<()> {
        if !self.polls.is_ready(self.monitor.as_fd()) {
            return Ok(());
        }
        let mut events = Vec::new();
        self.monitor.receive(CHANGES, |event| events.push(event))?;
        for event in events {
            match event {
                Event::Link(link) => {
                    if let Some((at, another)) = self.link(&link) {
                        if another {
                            self.reread_addresses(at)?;
                        }
                        self.tell(now, at);
                    }
                }
                Event::LinkGone(link) => self.link_gone(now, link.index),
                Event::AddressAdded(address) => {
                    if let Some(at) = self.port.interfaces.address(&address) {
                        self.tell(now, at);
                    }
                }
                Event::AddressRemoved(address) => self.address_gone(now, &address),
                Event::Overrun => {
                    warn!("the kernel's news came too fast; asking for everything again");
                    self.reread(now)?;
                }
            }
        }
        Ok(())
    }

    /// Asks the kernel for all links and addresses.
    pub(super) fn reread(&mut self, now: Instant) -> io::Result<()> {
        let mut client = Client::open()?;
        let links = client.links()?;
        let addresses = client.addresses()?;
        for index in self.port.interfaces.indices() {
            if !links.iter().any(|link| link.index == index) {
                self.link_gone(now, index);
            }
        }
        for link in &links {
            self.link(link);
        }
        let known: Vec<Address> =
            self.port.interfaces.iter().flat_map(|interface| interface.addresses.iter().cloned()).collect();
        for old in known {
            if !addresses.iter().any(|new| new.ip == old.ip && new.interface == old.interface) {
                self.address_gone(now, &old);
            }
        }
        for address in &addresses {
            self.port.interfaces.address(address);
        }
        for at in 0..self.port.interfaces.len() {
            self.tell(now, at);
        }
        Ok(())
    }

    /// The kernel tells of a link: which of ours it is, and whether it is another one than before.
    fn link(&mut self, link: &crate::netlink::Link) -> Option<(usize, bool)> {
        let (at, another) = self.port.interfaces.link(link)?;
        if another {
            self.close(at);
            self.listen(at);
        }
        Some((at, another))
    }

    fn link_gone(&mut self, now: Instant, index: u32) {
        if let Some(at) = self.port.interfaces.by_index(index) {
            self.close(at);
            self.port.interfaces.gone(index);
            if let Some(interface) = self.port.interfaces.get(at) {
                warn!("{}: the interface is gone", interface.name);
            }
            self.tell(now, at);
        }
    }

    /// The addresses of an interface that has just appeared.
    fn reread_addresses(&mut self, at: usize) -> io::Result<()> {
        let index = self.port.interfaces.get(at).and_then(|interface| interface.index);
        for address in Client::open()?.addresses()? {
            if Some(address.interface) == index {
                self.port.interfaces.address(&address);
            }
        }
        Ok(())
    }

    fn address_gone(&mut self, now: Instant, address: &Address) {
        let at = self.port.interfaces.address_gone(address);
        for router in self.port.holders.of(address.interface, address.ip).to_vec() {
            let super::port::LinuxPort { locals, holders, addresses, journal, .. } = &mut self.port;
            let Some(local) = locals.get_mut(router.index()).and_then(Option::as_mut) else { continue };
            let over = addresses.is_over(now, router.index());
            if !over && local.lets_go(address.ip) {
                local.let_go(now, holders, addresses, address.interface, address.ip);
                continue;
            }
            journal.address_lost(now, router.index(), &local.name, address.ip, over);
            self.agent.handle_lost(now, router);
        }
        if let Some(at) = at {
            self.tell(now, at);
        }
    }

    /// Tells the core what an interface is like now.
    pub(super) fn tell(&mut self, now: Instant, at: usize) {
        let Some(interface) = self.port.interfaces.get(at) else { return };
        let id = interface.id;
        let was_up = self.agent.interface(id, Family::V4).0;
        let is_up = interface.index.map(|_| interface.up);
        let up = self.delays.judge(now, at, &interface.name, was_up, is_up);
        let sources = [Family::V4, Family::V6].map(|family| (family, interface.source(family)));
        // The addresses of an interface that comes up are told first, those of one that goes down last: the
        // reason of a transition is the link then.
        if was_up && !up {
            info!("{}: the interface is down", interface.name);
            self.agent.handle_link(now, id, LinkState::Down);
        }
        for (family, source) in sources {
            if self.agent.interface(id, family).1 != source {
                self.agent.handle_source(now, id, family, source);
            }
        }
        if up && !was_up {
            self.agent.handle_link(now, id, LinkState::Up);
            self.routes_lead_again(at);
        }
        self.tracked_interface(now, at);
    }

    /// Opens the sockets that an interface needs.
    pub(super) fn listen(&mut self, at: usize) {
        let Some(interface) = self.port.interfaces.get_mut(at) else { return };
        let Some(index) = interface.index else { return };
        let behind_headers = interface.groups_v4.as_ref().filter(|_| interface.has_headers);
        for (family, protocol, groups, receiver) in [
            (Family::V4, PROTOCOL, interface.groups_v4.as_ref(), &mut interface.receive_v4),
            (Family::V6, PROTOCOL, interface.groups_v6.as_ref(), &mut interface.receive_v6),
            (Family::V4, PROTOCOL_AH, behind_headers, &mut interface.receive_headers),
        ] {
            let Some(groups) = groups.filter(|_| receiver.is_none()) else { continue };
            match Receiver::open_for(protocol, family, index, groups) {
                Ok(opened) => self.polls.add(receiver.insert(opened).as_fd()),
                Err(error) => error!("{}: cannot listen for Advertisements: {error}", interface.name),
            }
        }
    }

    /// Closes the sockets of an interface.
    pub(super) fn close(&mut self, at: usize) {
        let Some(interface) = self.port.interfaces.get_mut(at) else { return };
        let receivers = [&mut interface.receive_v4, &mut interface.receive_v6, &mut interface.receive_headers];
        for receiver in receivers.into_iter().filter_map(Option::take) {
            self.polls.remove(receiver.as_fd());
        }
    }
}
