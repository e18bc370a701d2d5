//! What is counted. Names are those of RFC 8347 (`ietf-vrrp`) where it has one, RFC 2787's for
//! authentication, and begin with `steadfast-` where neither has one. Counters never wrap, stay at their
//! maximum and are never reset while the agent lives.

#[cfg(feature = "authentication")]
use crate::auth::Unauthentic;
use crate::wire::Discard;

/// A counter is as wide as the machine's words: a board has no memory for wider ones, and needs four billion
/// packets to fill them.
pub type Count = usize;

macro_rules! counters {
    ($(#[$outer:meta])* $name:ident { $(#[doc = $help:literal] $field:ident: $label:literal,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name { $(#[doc = $help] pub $field: Count,)* }

        impl $name {
            /// Every counter's name with what it counts, in the order of [`Self::iter`].
            pub const HELP: &[(&str, &str)] = &[$(($label, $help.trim_ascii()),)*];

            /// Every counter with its name, in a fixed order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + Clone + use<> {
                // Two lists, of which one is no code.
                const LABELS: &[&str] = &[$($label,)*];
                LABELS.iter().copied().zip([$(self.$field,)*]).map(|(label, count)| (label, count as u64))
            }
        }
    };
}

counters! {
    /// Counters of the whole agent: for packets that name none of its Virtual Routers.
    GlobalCounters {
        /// TTL or hop limit not 255.
        ip_ttl_errors: "ip-ttl-errors",
        /// Version unknown, or not that of the Virtual Router.
        version_errors: "version-errors",
        /// Checksum wrong in every allowed form.
        checksum_errors: "checksum-errors",
        /// VRID not configured on the receiving interface.
        vrid_errors: "vrid-errors",
        /// Unicast from an address that is no peer's (discarded only when asked for).
        peer_errors: "steadfast-peer-errors",
        /// Wrong type or length, and a VRID that is not ours (or none).
        unattributed_errors: "steadfast-unattributed-errors",
    }
}

counters! {
    /// Counters of one Virtual Router.
    RouterCounters {
        /// Transitions to Active.
        master_transitions: "master-transitions",
        /// Advertisements that passed every receive check.
        advertisement_rcvd: "advertisement-rcvd",
        /// Advertisements handed to the port for sending.
        advertisement_sent: "advertisement-sent",
        /// Interval zero, or in version 2 not the local one.
        interval_errors: "interval-errors",
        /// Valid Advertisements of priority 0.
        priority_zero_pkts_rcvd: "priority-zero-pkts-rcvd",
        /// Advertisements of priority 0 handed to the port.
        priority_zero_pkts_sent: "priority-zero-pkts-sent",
        /// Type is not ADVERTISEMENT.
        invalid_type_pkts_rcvd: "invalid-type-pkts-rcvd",
        /// Another address list than ours (discarded only when strict).
        address_list_errors: "address-list-errors",
        /// Length does not fit the contents.
        packet_length_errors: "packet-length-errors",
        /// RFC 2787 vrrpStatsInvalidAuthType.
        invalid_auth_type: "invalid-auth-type",
        /// RFC 2787 vrrpStatsAuthTypeMismatch.
        auth_type_mismatch: "auth-type-mismatch",
        /// RFC 2787 vrrpStatsAuthFailures.
        auth_failures: "auth-failures",
        /// Address count zero.
        address_count_errors: "steadfast-address-count-errors",
        /// First IPv6 address not link-local (discarded only when strict).
        first_address_errors: "steadfast-first-address-errors",
        /// Sent to an address that this Virtual Router does not listen to.
        destination_errors: "steadfast-destination-errors",
        /// Sent from our own source address.
        own_source_errors: "steadfast-own-source-errors",
        /// Received while not running.
        not_running: "steadfast-not-running",
        /// Version 3: another interval than the local one; valid, and learned.
        interval_mismatches: "steadfast-interval-mismatches",
        /// Advertisements of another Active heard while Active.
        dual_active: "steadfast-dual-active",
        /// Immediate answers held back by the rate limit.
        answers_held_back: "steadfast-answers-held-back",
        /// Deadlines met more than an interval late: the machine stood still.
        late_wakeups: "steadfast-late-wakeups",
        /// The port could not put the addresses on, or take them off.
        address_failures: "steadfast-address-failures",
        /// Somebody else took an address away while we held it.
        addresses_lost: "steadfast-addresses-lost",
    }
}

#[cfg(feature = "authentication")]
counters! {
    /// Counters of the authentication of one Virtual Router (`auth_hmac`).
    AuthCounters {
        /// Packets whose tag and sequence number were right.
        verified: "steadfast-hmac-verified",
        /// Those of them whose sender's clock differed by more than half of what is allowed.
        skewed: "steadfast-hmac-clock-skew",
        /// Packets without a trailer that were let through, by the mode.
        unsigned: "steadfast-hmac-unsigned",
        /// Packets without a trailer that were discarded.
        missing: "steadfast-hmac-missing",
        /// A trailer of unknown type, or with reserved bits set.
        malformed: "steadfast-hmac-malformed",
        /// A time outside the window.
        stale: "steadfast-hmac-stale",
        /// No key of that number.
        unknown_key: "steadfast-hmac-unknown-key",
        /// A wrong tag.
        mismatches: "steadfast-hmac-mismatches",
        /// A sequence number that had been there.
        replayed: "steadfast-hmac-replayed",
    }
}

#[cfg(feature = "authentication")]
impl AuthCounters {
    /// The counter of a reason not to believe a packet.
    pub(crate) fn of(&mut self, reason: Unauthentic) -> &mut Count {
        match reason {
            Unauthentic::Missing => &mut self.missing,
            Unauthentic::Malformed => &mut self.malformed,
            Unauthentic::Stale => &mut self.stale,
            Unauthentic::UnknownKey => &mut self.unknown_key,
            Unauthentic::Mismatch => &mut self.mismatches,
            Unauthentic::Replayed => &mut self.replayed,
        }
    }
}

impl GlobalCounters {
    /// The counter of a check that fails before a Virtual Router is known.
    pub(crate) fn count(&mut self, discard: Discard) {
        let counter = match discard {
            Discard::HopLimit => &mut self.ip_ttl_errors,
            Discard::Version => &mut self.version_errors,
            Discard::Checksum => &mut self.checksum_errors,
            Discard::Vrid => &mut self.vrid_errors,
            Discard::Peer => &mut self.peer_errors,
            _ => &mut self.unattributed_errors,
        };
        *counter = counter.saturating_add(1);
    }
}

impl RouterCounters {
    /// The counter of a check that is this Virtual Router's own; `None` for the global ones.
    pub(crate) fn of(&mut self, discard: Discard) -> Option<&mut Count> {
        Some(match discard {
            Discard::HopLimit | Discard::Version | Discard::Checksum | Discard::Vrid | Discard::Peer => return None,
            Discard::Type => &mut self.invalid_type_pkts_rcvd,
            Discard::Length => &mut self.packet_length_errors,
            Discard::Count => &mut self.address_count_errors,
            Discard::Interval => &mut self.interval_errors,
            Discard::AuthType => &mut self.invalid_auth_type,
            Discard::AuthTypeMismatch => &mut self.auth_type_mismatch,
            Discard::AuthFailure => &mut self.auth_failures,
            Discard::Destination => &mut self.destination_errors,
            Discard::OwnSource => &mut self.own_source_errors,
            Discard::FirstAddress => &mut self.first_address_errors,
            Discard::AddressList => &mut self.address_list_errors,
            Discard::NotRunning => &mut self.not_running,
        })
    }
}

/// Adds one; a counter stays at its maximum.
pub(crate) fn bump(counter: &mut Count) {
    *counter = counter.saturating_add(1);
}
