//! Frames of the host's own stack on their way out. Where one speaks for a virtual address it leaves with the
//! virtual MAC address, everywhere in it, or not at all: never with the station's (RFC 9568 sections 7.2, 8.1.2,
//! 8.2.2), but for packets of a router that has [resigned](steadfast_core::agent::Presence::resigned).

use core::net::IpAddr;

use steadfast_core::agent::InterfaceId;
use steadfast_core::storage::Storage;
use steadfast_core::types::MacAddr;
use steadfast_core::wire::checksum::Sum;
use steadfast_core::wire::ip::{ETHERNET_HEADER, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV6_HEADER};

use super::Node;
use crate::bytes::{
    ICMPV6, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION, byte, ipv4_at,
    ipv6_at, octets, put, word_at,
};
use crate::vlan;

/// Where the source address of an Ethernet frame is.
const SOURCE: usize = 6;
/// Where the sender's MAC address is in an ARP message, and the IPv4 addresses.
const ARP_SENDER_MAC: usize = 8;
const ARP_SENDER: usize = 14;
const ARP_TARGET: usize = 24;
/// Where an ICMPv6 message has its checksum.
const CHECKSUM: usize = 2;

impl<S: Storage, const I: usize> Node<S, I> {
    /// A frame of the host's own stack: the first `length` bytes of `buffer`, which has room for a tag behind it if
    /// the interface has one ([`TAG`](vlan::TAG) bytes). What is to be sent instead; `None`: nothing, because it
    /// speaks for a virtual address that is not ours now.
    pub fn transmit<'f>(&self, interface: InterfaceId, buffer: &'f mut [u8], length: usize) -> Option<&'f [u8]> {
        let vlan = self.ports.get(interface.index())?.vlan;
        let frame = buffer.get_mut(..length)?;
        if let Some(presence) = speaks_for(frame).and_then(|address| self.with_address(interface, address)) {
            if !presence.serves() {
                return None;
            }
            if !presence.resigned || binds(frame) {
                rewrite(frame, presence.virtual_mac())?;
            }
        }
        let length = vlan::tag(buffer, length, vlan, false)?;
        buffer.get(..length)
    }
}

/// The address for which a frame speaks, be it virtual or not: the sender's, or, where it claims or looks for
/// another one, that.
fn speaks_for(frame: &[u8]) -> Option<IpAddr> {
    let packet = frame.get(ETHERNET_HEADER..)?;
    match word_at(frame, ETHERNET_HEADER.saturating_sub(2))? {
        ETHERTYPE_ARP => {
            let sender = ipv4_at(packet, ARP_SENDER)?;
            // A probe whether the address is free (RFC 5227 section 2.1.1).
            let probe = sender.is_unspecified();
            Some(if probe { ipv4_at(packet, ARP_TARGET)? } else { sender }.into())
        }
        ETHERTYPE_IPV4 => ipv4_at(packet, 12).map(IpAddr::V4),
        ETHERTYPE_IPV6 => {
            let source = ipv6_at(packet, 8)?;
            let target = match icmpv6_kind(packet) {
                Some(NEIGHBOUR_ADVERTISEMENT) => ipv6_at(packet, IPV6_HEADER.saturating_add(8)),
                Some(NEIGHBOUR_SOLICITATION) if source.is_unspecified() => {
                    ipv6_at(packet, IPV6_HEADER.saturating_add(8))
                }
                _ => None,
            };
            Some(target.unwrap_or(source).into())
        }
        _ => None,
    }
}

/// Whether a frame says which MAC address belongs to an address.
fn binds(frame: &[u8]) -> bool {
    let kind = frame.get(ETHERNET_HEADER..).and_then(icmpv6_kind);
    match word_at(frame, ETHERNET_HEADER.saturating_sub(2)) {
        Some(ETHERTYPE_IPV6) => {
            kind.is_some_and(|kind| (ROUTER_SOLICITATION..=NEIGHBOUR_ADVERTISEMENT).contains(&kind))
        }
        ethertype => ethertype == Some(ETHERTYPE_ARP),
    }
}

fn icmpv6_kind(packet: &[u8]) -> Option<u8> {
    byte(packet, 6).filter(|next_header| *next_header == ICMPV6)?;
    byte(packet, IPV6_HEADER)
}

/// Puts the virtual MAC address wherever the frame says its sender's.
fn rewrite(frame: &mut [u8], mac: MacAddr) -> Option<()> {
    put(frame, SOURCE, mac.0)?;
    let ethertype = word_at(frame, ETHERNET_HEADER.saturating_sub(2))?;
    let packet = frame.get_mut(ETHERNET_HEADER..)?;
    match ethertype {
        ETHERTYPE_ARP => put(packet, ARP_SENDER_MAC, mac.0),
        ETHERTYPE_IPV6 => match icmpv6_kind(packet) {
            Some(kind) => discovery_options(packet.get_mut(IPV6_HEADER..)?, kind, mac),
            None => Some(()),
        },
        _ => Some(()),
    }
}

/// Puts the virtual MAC address into the link-layer options of a message of Neighbour Discovery.
fn discovery_options(message: &mut [u8], kind: u8, mac: MacAddr) -> Option<()> {
    /// Source and target link-layer address.
    const LINK_LAYER: [u8; 2] = [1, 2];
    let mut at: usize = match kind {
        ROUTER_SOLICITATION => 8,
        ROUTER_ADVERTISEMENT => 16,
        NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT => 24,
        _ => return Some(()),
    };
    while let Some([option, units]) = octets(message, at) {
        if units == 0 {
            return None;
        }
        if LINK_LAYER.contains(&option) && units == 1 {
            let place = at.saturating_add(2);
            let old: [u8; 6] = octets(message, place)?;
            put(message, place, mac.0)?;
            // RFC 1624: the words that went are taken off the sum, the new ones put on.
            let sum = !word_at(message, CHECKSUM)?;
            let mended = Sum::ZERO.plus_word(sum).plus(&old.map(|byte| !byte)).plus(&mac.0);
            put(message, CHECKSUM, mended.checksum().to_be_bytes())?;
        }
        at = at.saturating_add(usize::from(units).saturating_mul(8));
    }
    Some(())
}
