//! The vocabulary of VRRP as types that cannot hold a forbidden value: VRID, priority, interval,
//! version, address family, MAC address. Parsing makes them; everything after may rely on them.

use core::fmt;
use core::net::IpAddr;
use core::num::NonZeroU8;

use crate::time::Duration;

/// The IP version that a Virtual Router lives in. An IPv4 and an IPv6 Virtual Router with the same
/// VRID are independent (RFC 9568 section 1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub const fn of(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The word for it in status and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }
}

/// The protocol version of an Advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// RFC 3768; IPv4, intervals in whole seconds.
    V2,
    /// RFC 9568 (and RFC 5798); IPv4 and IPv6, intervals in centiseconds.
    V3,
}

impl Version {
    /// The number on the wire: 2 or 3.
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

/// A Virtual Router Identifier, 1 to 255 (RFC 9568 section 5.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vrid(NonZeroU8);

impl Vrid {
    /// The VRID with this number; `None` for 0.
    pub const fn new(number: u8) -> Option<Self> {
        match NonZeroU8::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number on the wire.
    pub const fn get(self) -> u8 {
        self.0.get()
    }

    /// The virtual router MAC address: 00-00-5E-00-01-VRID for IPv4, 00-00-5E-00-02-VRID for IPv6
    /// (RFC 9568 section 7.3).
    pub const fn virtual_mac(self, family: Family) -> MacAddr {
        let kind = match family {
            Family::V4 => 1,
            Family::V6 => 2,
        };
        MacAddr([0x00, 0x00, 0x5e, 0x00, kind, self.get()])
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A priority that a router can have, 1 to 255. The 0 that a resigning Active sends is no priority:
/// on the wire it is `None` (RFC 9568 section 5.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(NonZeroU8);

impl Priority {
    /// The lowest priority that takes part in an election.
    pub const LOWEST: Self = Self(NonZeroU8::MIN);
    /// The default of a router that does not own its addresses.
    pub const DEFAULT: Self = match Self::new(100) {
        Some(priority) => priority,
        None => Self::LOWEST,
    };
    /// The owner of the addresses: the router whose own interface addresses they are.
    pub const OWNER: Self = Self(NonZeroU8::MAX);

    /// The priority with this number; `None` for 0.
    pub const fn new(number: u8) -> Option<Self> {
        match NonZeroU8::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number on the wire.
    pub const fn get(self) -> u8 {
        self.0.get()
    }

    /// What trackers make of it: it and the sum of their weights, but 1 to 254; the owner's never changes.
    pub fn weighted(self, weights: i32) -> Self {
        if weights == 0 || self.is_owner() {
            return self;
        }
        let weighted = i32::from(self.get()).saturating_add(weights).clamp(1, 254);
        Self::new(weighted as u8).unwrap_or(Self::LOWEST)
    }

    /// Whether this is the priority of the address owner (255).
    pub const fn is_owner(self) -> bool {
        self.get() == u8::MAX
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An advertisement interval: 1 to 4095 centiseconds in version 3, 1 to 255 seconds in version 2;
/// never zero (RFC 9568 section 5.2.7, erratum 8301).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    centiseconds: u16,
}

impl Interval {
    /// One second, the default of both versions.
    pub const DEFAULT: Self = Self { centiseconds: 100 };

    /// An interval of version 3; `None` outside 1 to 4095 centiseconds.
    pub const fn from_centiseconds(centiseconds: u16) -> Option<Self> {
        if centiseconds == 0 || centiseconds > 4095 { None } else { Some(Self { centiseconds }) }
    }

    /// An interval of version 2; `None` for 0.
    pub const fn from_seconds(seconds: u8) -> Option<Self> {
        if seconds == 0 { None } else { Some(Self { centiseconds: (seconds as u16).saturating_mul(100) }) }
    }

    /// The interval in centiseconds, 1 to 25,500.
    pub const fn centiseconds(self) -> u16 {
        self.centiseconds
    }

    /// The interval in whole seconds, if it is one that version 2 can carry.
    pub const fn seconds(self) -> Option<u8> {
        let seconds = self.centiseconds / 100;
        if self.centiseconds.is_multiple_of(100) && seconds >= 1 && seconds <= 255 { Some(seconds as u8) } else { None }
    }

    /// The interval as a span of time.
    pub const fn duration(self) -> Duration {
        Duration::from_millis((self.centiseconds as u64).saturating_mul(10))
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: Self = Self([0xff; 6]);
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
