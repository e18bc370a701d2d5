//! The interfaces that Virtual Routers run on, as the kernel tells of them: index, state, MAC address, and
//! the addresses that are on them. What follows from a change is decided by the daemon; here it is only
//! known.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use steadfast_core::agent::{Agent, InterfaceId};
use steadfast_core::types::{Family, MacAddr};

use crate::netlink::{ADDRESS_PROTOCOL, Address, AddressFlags, Link};
use crate::socket::Receiver;
use crate::status::InterfaceStatus;
use crate::storage::Heap;

/// One interface, there or not.
#[derive(Debug)]
pub(super) struct Interface {
    pub(super) name: Arc<str>,
    pub(super) id: InterfaceId,
    /// The kernel's index, while it exists.
    pub(super) index: Option<u32>,
    pub(super) up: bool,
    pub(super) mac: Option<MacAddr>,
    /// What is on it, in the kernel's order.
    pub(super) addresses: Vec<Address>,
    /// The virtual addresses of routers on it, which are no source of Advertisements.
    pub(super) virtual_addresses: HashSet<IpAddr>,
    /// Those of them that this router owns.
    pub(super) owned: HashSet<IpAddr>,
    /// The groups that routers on it listen to; `None` if there are no routers of that family.
    pub(super) groups_v4: Option<BTreeSet<IpAddr>>,
    pub(super) groups_v6: Option<BTreeSet<IpAddr>>,
    pub(super) receive_v4: Option<Receiver>,
    pub(super) receive_v6: Option<Receiver>,
    /// Routers on it have `auth_type AH`.
    pub(super) has_headers: bool,
    pub(super) receive_headers: Option<Receiver>,
}

impl Interface {
    /// The source of Advertisements (RFC 9568 sections 5.1.1.1 and 5.1.2.1): the first address that is
    /// neither virtual nor still being probed; link-local for IPv6. Where there is no other, a virtual
    /// address will do for its owner.
    pub(super) fn source(&self, family: Family) -> Option<IpAddr> {
        let fits = |address: &&Address| match address.ip {
            IpAddr::V4(_) => family == Family::V4,
            IpAddr::V6(ip) => family == Family::V6 && ip.is_unicast_link_local() && address.is_usable(),
        };
        let all = || self.addresses.iter().filter(fits).map(|address| address.ip);
        all().find(|ip| !self.virtual_addresses.contains(ip)).or_else(|| all().find(|ip| self.owned.contains(ip)))
    }

    /// For `steadfast status`.
    pub(super) fn status(&self, agent: &Agent<Heap>) -> InterfaceStatus {
        let (up, ipv4_source) = agent.interface(self.id, Family::V4);
        let (_, ipv6_source) = agent.interface(self.id, Family::V6);
        InterfaceStatus { name: Arc::clone(&self.name), index: self.index, up, ipv4_source, ipv6_source }
    }

    pub(super) fn has(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|address| address.ip == ip)
    }
}

/// All of them, by name and by the kernel's index.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    list: Vec<Interface>,
    by_name: HashMap<Arc<str>, usize>,
    by_index: HashMap<u32, usize>,
}

impl Interfaces {
    pub(super) fn at(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(super) fn by_index(&self, index: u32) -> Option<usize> {
        self.by_index.get(&index).copied()
    }

    pub(super) fn get(&self, at: usize) -> Option<&Interface> {
        self.list.get(at)
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Interface> {
        self.list.get_mut(at)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Interface> {
        self.list.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Interface> {
        self.list.iter_mut()
    }

    /// The kernel's indices of those that exist.
    pub(super) fn indices(&self) -> Vec<u32> {
        self.by_index.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Adds an interface that nothing is known of yet.
    pub(super) fn add(&mut self, name: &Arc<str>, id: InterfaceId) -> usize {
        let at = self.list.len();
        self.by_name.insert(Arc::clone(name), at);
        self.list.push(Interface {
            name: Arc::clone(name),
            id,
            index: None,
            up: false,
            mac: None,
            addresses: Vec::new(),
            virtual_addresses: HashSet::new(),
            owned: HashSet::new(),
            groups_v4: None,
            groups_v6: None,
            receive_v4: None,
            receive_v6: None,
            has_headers: false,
            receive_headers: None,
        });
        at
    }

    /// The kernel tells of a link. Which of ours it is; whether it is another one than before under the same
    /// name.
    pub(super) fn link(&mut self, link: &Link) -> Option<(usize, bool)> {
        // A renamed interface is no longer the one that was configured.
        if let Some(at) = self.by_index(link.index)
            && self.list.get(at).is_some_and(|interface| *interface.name != *link.name)
        {
            self.gone(link.index);
        }
        let at = self.at(&link.name)?;
        let interface = self.list.get_mut(at)?;
        let another = interface.index != Some(link.index);
        if another {
            if let Some(old) = interface.index.replace(link.index) {
                self.by_index.remove(&old);
            }
            self.by_index.insert(link.index, at);
            interface.addresses.clear();
        }
        interface.up = link.running;
        interface.mac = link.mac;
        Some((at, another))
    }

    /// An interface is no more. Which of ours it was.
    pub(super) fn gone(&mut self, index: u32) -> Option<usize> {
        let at = self.by_index.remove(&index)?;
        let interface = self.list.get_mut(at)?;
        interface.index = None;
        interface.up = false;
        interface.mac = None;
        interface.addresses.clear();
        interface.receive_v4 = None;
        interface.receive_v6 = None;
        interface.receive_headers = None;
        Some(at)
    }

    /// Whether the host has an address without our doing, and for ever.
    pub(super) fn is_kept(&self, index: u32, ip: IpAddr) -> bool {
        let known = self.by_index(index).and_then(|at| self.list.get(at));
        known.is_some_and(|known| {
            known.addresses.iter().any(|address| {
                address.ip == ip
                    && address.protocol != ADDRESS_PROTOCOL
                    && address.flags.contains(AddressFlags::Permanent)
            })
        })
    }

    /// The kernel tells of an address, new or changed. On which of ours.
    pub(super) fn address(&mut self, address: &Address) -> Option<usize> {
        let at = self.by_index(address.interface)?;
        let known = &mut self.list.get_mut(at)?.addresses;
        match known.iter_mut().find(|known| known.ip == address.ip && known.prefix_len == address.prefix_len) {
            Some(known) => *known = address.clone(),
            None => known.push(address.clone()),
        }
        Some(at)
    }

    /// An address is no more. On which of ours it was.
    pub(super) fn address_gone(&mut self, address: &Address) -> Option<usize> {
        let at = self.by_index(address.interface)?;
        let known = &mut self.list.get_mut(at)?.addresses;
        known.retain(|known| known.ip != address.ip || known.prefix_len != address.prefix_len);
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::AddressSpec;

    /// An interface with these addresses, of which the last one is virtual.
    fn source(addresses: &[&str], owner: bool, flags: AddressFlags) -> [Option<String>; 2] {
        let mut agent = Agent::<Heap>::new();
        let mut interfaces = Interfaces::default();
        let at = interfaces.add(&"eth0".into(), agent.add_interface().unwrap());
        let interface = interfaces.get_mut(at).unwrap();
        for (number, text) in addresses.iter().enumerate() {
            let ip = text.parse().unwrap();
            let AddressSpec { interface: index, prefix_len, scope, label, .. } = AddressSpec::new(1, ip, 24);
            let flags = if number == 0 { flags } else { AddressFlags::Permanent };
            interface.addresses.push(Address { interface: index, ip, prefix_len, scope, flags, label, protocol: 0 });
            if number + 1 == addresses.len() {
                interface.virtual_addresses.insert(ip);
                interface.owned.extend(owner.then_some(ip));
            }
        }
        [Family::V4, Family::V6].map(|family| interface.source(family).map(|ip| ip.to_string()))
    }

    #[test]
    fn rfc9568_5_1_1_1_the_source_is_the_first_address_that_is_not_virtual() {
        let usual = AddressFlags::Permanent;
        let v4 = |addresses: &[&str], owner| source(addresses, owner, usual)[0].clone();
        assert_eq!(v4(&["10.9.0.1", "10.9.0.2", "10.9.0.100"], false).as_deref(), Some("10.9.0.1"));
        assert_eq!(v4(&["10.9.0.100"], false), None);
        assert_eq!(v4(&["10.9.0.100"], true).as_deref(), Some("10.9.0.100"));
        assert_eq!(v4(&["fe80::1", "fe80::64"], false), None);
    }

    #[test]
    fn rfc9568_5_1_2_1_the_source_of_ipv6_is_link_local() {
        let v6 = |addresses: &[&str], flags| source(addresses, false, flags)[1].clone();
        let usual = AddressFlags::Permanent;
        assert_eq!(v6(&["fd09::1", "fe80::1", "fe80::64"], usual).as_deref(), Some("fe80::1"));
        assert_eq!(v6(&["fd09::1", "fd09::64"], usual), None);
        // One that is still being probed is no source yet.
        assert_eq!(v6(&["fe80::1", "fe80::64"], AddressFlags::Tentative), None);
    }
}
