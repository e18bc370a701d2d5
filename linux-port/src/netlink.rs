//! Links, addresses, routes and rules over rtnetlink: a small client that waits for its answers, for set-up work
//! ([`Client`]); changes of addresses in trains ([`AddressChanger`]); and what changes
//! on its own ([`Monitor`], [`RouteMonitor`], [`DefaultRoutes`]). Framing and message types come from the rust-netlink
//! crates.

mod changer;
mod client;
mod default_route;
mod message;
mod monitor;
mod parse;
mod renewer;
mod route_monitor;
mod routing;

use std::net::{IpAddr, Ipv4Addr};

use steadfast_core::types::{Family, MacAddr};

pub use self::changer::{AddressChanger, Change, Refusal};
pub use self::client::Client;
pub(crate) use self::client::receive;
pub(crate) use self::default_route::{DefaultRoute, DefaultRoutes};
pub use self::monitor::{Event, Monitor};
pub(crate) use self::parse::{messages, verdict};
pub use self::renewer::{Renewal, Renewer};
pub use self::route_monitor::{Removal, RouteMonitor};
pub use self::routing::{Insertion, RoutingEntry, RoutingKey};
pub use netlink_packet_route::address::AddressFlags;
pub use netlink_packet_route::link::MacVlanMode;

/// How addresses that we add are marked (IFA_PROTO, kernel 5.18; an older one ignores it): the number that
/// routes of VRRP daemons have (RTPROT_KEEPALIVED), so that leftovers of one are recognisable.
pub const ADDRESS_PROTOCOL: u8 = 18;

/// An address of an interface, as it is to be added or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressSpec {
    /// The index of the interface.
    pub interface: u32,
    /// The address.
    pub ip: IpAddr,
    /// The length of its prefix in bits, at most 32 or 128.
    pub prefix_len: u8,
    /// How far it is valid, as the kernel numbers it: 0 everywhere, 253 on the link, 254 on the host.
    pub scope: u8,
    /// A label (IPv4): the interface's name, or that, a colon and more, 15 bytes at most in all.
    pub label: Option<String>,
    /// The broadcast address (IPv4); none if `None`.
    pub broadcast: Option<Ipv4Addr>,
    /// The other end, on a point-to-point link.
    pub peer: Option<IpAddr>,
    /// Flags such as Nodad, Noprefixroute, Homeaddress.
    pub flags: AddressFlags,
    /// Seconds for which it is preferred as a source; as long as it is valid if `None`, and no longer.
    pub preferred_lft: Option<u32>,
    /// Seconds after which the kernel takes it off, counted from when it was last told; never if `None`.
    pub valid_lft: Option<u32>,
}

impl AddressSpec {
    /// An address of global scope with the customary flags: for IPv6 no duplicate address detection, since a
    /// virtual address is on other routers too, and a /128 is never preferred as a source.
    pub fn new(interface: u32, ip: IpAddr, prefix_len: u8) -> Self {
        let is_v6 = ip.is_ipv6();
        Self {
            interface,
            ip,
            prefix_len,
            scope: 0,
            label: None,
            broadcast: None,
            peer: None,
            flags: if is_v6 { AddressFlags::Nodad } else { AddressFlags::empty() },
            preferred_lft: (is_v6 && prefix_len == 128).then_some(0),
            valid_lft: None,
        }
    }

    /// Whether it is the same address with the same properties, for however long.
    pub fn is_same(&self, other: &Self) -> bool {
        let Self { preferred_lft, valid_lft, .. } = *other;
        Self { preferred_lft, valid_lft, ..self.clone() } == *other
    }
}

/// An address that an interface has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The index of the interface.
    pub interface: u32,
    /// The address.
    pub ip: IpAddr,
    /// The length of its prefix in bits.
    pub prefix_len: u8,
    /// How far it is valid, as the kernel numbers it: 0 everywhere, 253 on the link, 254 on the host.
    pub scope: u8,
    /// Tentative, Secondary, Dadfailed, Permanent, ...
    pub flags: AddressFlags,
    /// Its label (IPv4).
    pub label: Option<String>,
    /// Who added it, see [`ADDRESS_PROTOCOL`]; 0 if unknown.
    pub protocol: u8,
}

impl Address {
    /// Whether the address can be a source: neither still nor failed in duplicate address detection.
    pub fn is_usable(&self) -> bool {
        !self.flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed)
            || self.flags.contains(AddressFlags::Optimistic)
    }

    /// The family of the address.
    pub fn family(&self) -> Family {
        Family::of(&self.ip)
    }
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Set up by the administrator (IFF_UP).
    pub up: bool,
    /// Up and able to carry packets (IFF_UP and IFF_RUNNING): what VRRP means by a link that is up.
    pub running: bool,
    /// Can carry multicast.
    pub multicast: bool,
    /// Its Ethernet address.
    pub mac: Option<MacAddr>,
    /// The largest packet, in bytes.
    pub mtu: u32,
    /// The index of the interface below it (macvlan, VLAN) or at the other end (veth).
    pub parent: Option<u32>,
    /// The index of the bridge or bond that it is a port of.
    pub controller: Option<u32>,
    /// What kind of device, such as `macvlan`; `None` for hardware.
    pub kind: Option<String>,
    /// The mode of a macvlan.
    pub macvlan_mode: Option<MacVlanMode>,
}
