//! The socket filters, in classic BPF: what they reject costs neither room in a queue nor a wake-up. They
//! reject only what is no Advertisement for us in any reading; what is one and wrong (TTL, version,
//! checksum, VRID, ...) has to be counted by name and passes.

use std::net::Ipv4Addr;

use steadfast_core::wire::{GROUP_V4, GROUP_V6};

use crate::sys::filter::{Instruction as I, NETWORK, PACKET_TYPE};

// Types of packets, as the kernel numbers them (if_packet.h). The others are broadcasts, frames for other
// hosts, and copies of what this host sent.
const HOST: u32 = 0;
const MULTICAST: u32 = 2;

/// Rejects everything: for sockets that only send.
pub(super) const NOTHING: [I; 1] = [I::REJECT];

/// An IPv4 packet from outside, whole, to the group or to an address of this host.
pub(super) const ADVERTISEMENTS_V4: [I; 10] = [
    I::load_byte(PACKET_TYPE),
    I::if_equal(HOST, 1, 0),
    I::if_equal(MULTICAST, 0, 5),
    // More Fragments, or an offset. (Complete ones have been put together before they come here.)
    I::load_half(NETWORK + 6),
    I::if_any(0x3fff, 3, 0),
    I::load_word(NETWORK + 16),
    I::if_equal(GROUP_V4.to_bits(), 2, 0),
    I::if_at_least(Ipv4Addr::new(224, 0, 0, 0).to_bits(), 0, 1),
    I::REJECT,
    I::ACCEPT,
];

/// An IPv6 packet from outside to the group or to an address of this host.
pub(super) const ADVERTISEMENTS_V6: [I; 15] = [
    I::load_byte(PACKET_TYPE),
    I::if_equal(HOST, 1, 0),
    I::if_equal(MULTICAST, 0, 11),
    I::load_byte(NETWORK + 24),
    I::if_equal(0xff, 0, 8),
    I::load_word(NETWORK + 24),
    I::if_equal(word(GROUP_V6.to_bits(), 0), 0, 7),
    I::load_word(NETWORK + 28),
    I::if_equal(word(GROUP_V6.to_bits(), 1), 0, 5),
    I::load_word(NETWORK + 32),
    I::if_equal(word(GROUP_V6.to_bits(), 2), 0, 3),
    I::load_word(NETWORK + 36),
    I::if_equal(word(GROUP_V6.to_bits(), 3), 0, 1),
    I::ACCEPT,
    I::REJECT,
];

/// A packet from outside to an address of this host or to any group.
pub(super) const FROM_OUTSIDE: [I; 5] =
    [I::load_byte(PACKET_TYPE), I::if_equal(HOST, 1, 0), I::if_equal(MULTICAST, 0, 1), I::ACCEPT, I::REJECT];

/// The word number `index` of an IPv6 address, from the left.
const fn word(address: u128, index: u32) -> u32 {
    (address >> (96 - 32 * index)) as u32
}
