//! What goes over the wire: Advertisements, and the ARP and Neighbour Discovery messages that announce
//! or answer for a virtual address. Parsing never copies; emitting writes into a lent buffer.
//! Who may say what, and when, is decided in [`crate::agent`].

pub mod advertisement;
#[cfg(feature = "authentication")]
pub mod ah;
pub mod arp;
pub mod checksum;
pub mod ip;
pub mod ndisc;
#[cfg(feature = "authentication")]
pub mod trailer;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The IP protocol number of VRRP (RFC 9568 section 5.1.1.4).
pub const PROTOCOL: u8 = 112;

/// The TTL or hop limit of every multicast Advertisement (RFC 9568 sections 5.1.1.3, 5.1.2.3).
pub const HOP_LIMIT: u8 = 255;

/// The destination of Advertisements over IPv4 (RFC 9568 section 5.1.1.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// The destination of Advertisements over IPv6 (RFC 9568 section 5.1.2.2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// What the IP header says of a received Advertisement, or shall say of one to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The sender's address.
    pub source: IpAddr,
    /// The destination, of the same family.
    pub destination: IpAddr,
    /// The TTL of IPv4, the hop limit of IPv6.
    pub hop_limit: u8,
}

/// The buffer lent for a message is too small for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The first receive check that an Advertisement failed; the order of the variants is the order of the
/// checks (RFC 9568 section 7.1, RFC 3768 section 7.1). Each has one counter, see [`crate::counters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Discard {
    /// TTL or hop limit is not 255.
    HopLimit,
    /// Neither version 2 nor 3, or not the version of this Virtual Router.
    Version,
    /// The type is not 1 (ADVERTISEMENT).
    Type,
    /// The payload is shorter or longer than its fields and address count say.
    Length,
    /// The checksum fits no form that is allowed.
    Checksum,
    /// No Virtual Router with this VRID, version family and interface.
    Vrid,
    /// The address count is zero (RFC 9568 section 5.2.5, erratum 8299).
    Count,
    /// The interval is zero (erratum 8301), or in version 2 not the local one (RFC 3768 section 7.1).
    Interval,
    /// Authentication type unknown (version 2).
    AuthType,
    /// Authentication type known, but not the configured one (version 2).
    AuthTypeMismatch,
    /// Wrong password (version 2).
    AuthFailure,
    /// Sent to neither the group nor, for unicast, to us.
    Destination,
    /// Unicast from another address than a peer's; only when asked for.
    Peer,
    /// The sender has our own source address.
    OwnSource,
    /// First IPv6 address is not link-local (RFC 9568 section 5.2.9, erratum 8300); only when strict.
    FirstAddress,
    /// Another address list than ours; only when strict (RFC 9568 section 7.1: MAY).
    AddressList,
    /// The Virtual Router is not running: interface down, no source address, or startup delay.
    NotRunning,
}
