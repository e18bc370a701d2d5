//! Fields of packets by their offset, and numbers of protocols that core's wire formats do not need.

use core::net::{Ipv4Addr, Ipv6Addr};

pub(crate) const ICMPV6: u8 = 58;
pub(crate) const ROUTER_SOLICITATION: u8 = 133;
pub(crate) const ROUTER_ADVERTISEMENT: u8 = 134;
pub(crate) const NEIGHBOUR_SOLICITATION: u8 = 135;
pub(crate) const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// `N` bytes from `at` on; `None` if there are fewer.
pub(crate) fn octets<const N: usize>(packet: &[u8], at: usize) -> Option<[u8; N]> {
    packet.get(at..)?.first_chunk().copied()
}

/// Puts `N` bytes at `at`, if they have room.
pub(crate) fn put<const N: usize>(packet: &mut [u8], at: usize, bytes: [u8; N]) -> Option<()> {
    *packet.get_mut(at..)?.first_chunk_mut()? = bytes;
    Some(())
}

pub(crate) fn byte(packet: &[u8], at: usize) -> Option<u8> {
    packet.get(at).copied()
}

pub(crate) fn word_at(packet: &[u8], at: usize) -> Option<u16> {
    octets(packet, at).map(u16::from_be_bytes)
}

pub(crate) fn ipv4_at(packet: &[u8], at: usize) -> Option<Ipv4Addr> {
    octets::<4>(packet, at).map(Ipv4Addr::from)
}

pub(crate) fn ipv6_at(packet: &[u8], at: usize) -> Option<Ipv6Addr> {
    octets::<16>(packet, at).map(Ipv6Addr::from)
}
