//! What a Virtual Router is configured to be: plain values, checked when they were made. Its addresses are
//! kept apart, in the agent's table.

use core::net::IpAddr;

use crate::time::{Duration, Pause};
use crate::types::{Family, Interval, Priority, Version, Vrid};
use crate::wire::advertisement::{Authentication, Form};
use crate::wire::{GROUP_V4, GROUP_V6};

/// Which checksum form is sent in version 3 over IPv4. Both are accepted, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChecksumMode {
    /// Begin with the pseudo-header, then follow the Active that was accepted.
    #[default]
    Auto,
    /// With a pseudo-header, as keepalived, FRR and MikroTik do.
    PseudoHeader,
    /// Over the message alone (RFC 9568 section 5.2.8).
    Plain,
}

/// How often addresses are announced (gratuitous ARP, unsolicited Neighbour Advertisement).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcing {
    /// Rounds of the burst when it becomes Active (`garp_master_repeat`).
    pub repeat: u8,
    /// The same again after this time (`garp_master_delay`); `None`: no second burst.
    pub delay: Option<Pause>,
    /// Again and again at this interval (`garp_master_refresh`).
    pub refresh: Option<Pause>,
    /// Rounds of each refresh (`garp_master_refresh_repeat`).
    pub refresh_repeat: u8,
    /// Rounds when another Active of less right was heard (`garp_lower_prio_repeat`).
    pub lower_repeat: u8,
    /// The same again after this time (`garp_lower_prio_delay`).
    pub lower_delay: Option<Pause>,
    /// The least time between two announcements (`vrrp_garp_interval`, `vrrp_gna_interval`). `None`: between two
    /// rounds of a burst, and growing: the last of five is over after 15 ms, so that a last frame of the predecessor
    /// does not turn the switches back for long.
    pub spacing: Option<Pause>,
}

impl Announcing {
    /// keepalived's defaults, but spread: five rounds in 15 ms, five more after five seconds.
    pub const DEFAULT: Self = Self {
        repeat: 5,
        delay: Some(Pause::new(Duration::from_secs(5))),
        refresh: None,
        refresh_repeat: 1,
        lower_repeat: 5,
        lower_delay: Some(Pause::new(Duration::from_secs(5))),
        spacing: None,
    };
}

impl Default for Announcing {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The settings of one Virtual Router, without its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A fault of the interface is a fault of the router; without it (`dont_track_primary`) an Active stays
    /// Active on an interface that is down.
    pub track_link: bool,
    /// The family of its Advertisements and advertised addresses.
    pub family: Family,
    /// The protocol version; version 2 only over IPv4.
    pub version: Version,
    /// Version 2 is sent and heard beside version 3, over IPv4 (RFC 9568 section 8.4.2).
    #[cfg(feature = "both-versions")]
    pub both_versions: bool,
    /// Its VRID.
    pub vrid: Vrid,
    /// Its priority; [`Priority::OWNER`] for the address owner.
    pub priority: Priority,
    /// Advertisement_Interval.
    pub interval: Interval,
    /// Preempt_Mode; the address owner always preempts (RFC 9568 section 6.1).
    pub preempt: bool,
    /// How long a lower priority is tolerated before it is preempted.
    pub preempt_delay: Pause,
    /// Accept_Mode (RFC 9568 section 6.1); carried out by the port.
    pub accept: bool,
    /// Which checksum form is sent.
    pub checksum: ChecksumMode,
    /// Authentication of version 2.
    pub authentication: Authentication,
    /// Drop Advertisements whose address list is not ours.
    pub strict: bool,
    /// Look at the address list only of a new Active (`skip_check_adv_addr`).
    pub skip_address_check: bool,
    /// Advertisements and announcements come from the virtual MAC address.
    pub virtual_mac: bool,
    /// Where Advertisements go and come to without peers: 224.0.0.18 or ff02::12, unless configured otherwise.
    pub group: IpAddr,
    /// Drop Advertisements whose source is no peer (`check_unicast_src`).
    pub check_peers: bool,
    /// The least TTL or hop limit of what comes from peers (`min_ttl`), which bounds how far away they are; from the
    /// group it is 255 (RFC 9568 section 5.1.1.3).
    pub least_peer_hops: u8,
    /// A source address to use instead of the interface's.
    pub source: Option<IpAddr>,
    /// How often addresses are announced.
    pub announcing: Announcing,
    /// Intervals without an Advertisement until the Active counts as down, 1 to 100; 3 in the RFC.
    pub down_timer_adverts: u8,
    /// Answer an Active of lower priority at once (RFC 9568 section 6.4.3).
    pub answer_lower: bool,
}

impl Settings {
    /// The defaults of RFC 9568 section 6.1 (Accept_Mode as in keepalived: on), version 2 for IPv4 and 3 for
    /// IPv6.
    pub const fn new(family: Family, vrid: Vrid) -> Self {
        Self {
            track_link: true,
            family,
            version: match family {
                Family::V4 => Version::V2,
                Family::V6 => Version::V3,
            },
            #[cfg(feature = "both-versions")]
            both_versions: false,
            vrid,
            priority: Priority::DEFAULT,
            interval: Interval::DEFAULT,
            preempt: true,
            preempt_delay: Pause::ZERO,
            accept: true,
            checksum: ChecksumMode::Auto,
            authentication: Authentication::None,
            strict: false,
            skip_address_check: false,
            virtual_mac: false,
            group: match family {
                Family::V4 => IpAddr::V4(GROUP_V4),
                Family::V6 => IpAddr::V6(GROUP_V6),
            },
            check_peers: false,
            least_peer_hops: 0,
            source: None,
            announcing: Announcing::DEFAULT,
            down_timer_adverts: 3,
            answer_lower: true,
        }
    }

    /// Whether version 2 is spoken beside version 3.
    pub const fn speaks_both(&self) -> bool {
        #[cfg(feature = "both-versions")]
        let both = self.both_versions && matches!((self.family, self.version), (Family::V4, Version::V3));
        #[cfg(not(feature = "both-versions"))]
        let both = false;
        both
    }

    /// The checksum form that it begins with.
    pub(crate) const fn first_form(&self) -> Form {
        match (self.version, self.checksum) {
            (Version::V2, _) | (Version::V3, ChecksumMode::Plain) => Form::Plain,
            _ => Form::PseudoHeader,
        }
    }
}
