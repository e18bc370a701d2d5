//! Frames from the wire: which are VRRP's, which are answered here, which the stack may see, and in what form.
//! Every frame may be hostile; what cannot be read is dropped, and costs nothing else.

use core::net::IpAddr;

use steadfast_core::agent::InterfaceId;
use steadfast_core::storage::Storage;
use steadfast_core::time::Instant;
use steadfast_core::types::{Family, MacAddr};
use steadfast_core::wire::arp::Query;
use steadfast_core::wire::ip::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, IPV6_HEADER, multicast_mac, parse_ipv4, parse_ipv6,
};
use steadfast_core::wire::ndisc::Solicitation;
use steadfast_core::wire::{Envelope, PROTOCOL};

use super::Node;
use super::answer::Answer;
use crate::bytes::{ICMPV6, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, byte, ipv4_at, ipv6_at};
use crate::{multicast, vlan};

/// What became of a frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'f> {
    /// It was for VRRP, or asked for what is answered here.
    Taken,
    /// It is for the stack, in this form: without a tag, and to the station's MAC address where it came to a
    /// virtual one.
    Up(&'f [u8]),
    /// It is for nobody here.
    Dropped,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Taken,
    Up,
    Dropped,
}

impl<S: Storage, const I: usize> Node<S, I> {
    /// A frame from the wire, without its check sequence. It may be rewritten in place. What is to be sent because
    /// of it is sent by the next [`poll`](Self::poll).
    pub fn receive<'f>(&mut self, now: Instant, interface: InterfaceId, frame: &'f mut [u8]) -> Received<'f> {
        let Some(port) = self.ports.get(interface.index()) else { return Received::Dropped };
        let (station, vlan) = (port.station, port.vlan);
        let Some(frame) = vlan::untag(frame, vlan) else { return Received::Dropped };
        let Some(ethernet) = Ethernet::parse(frame) else { return Received::Dropped };
        let to_virtual = match self.with_virtual_mac(interface, ethernet.destination) {
            // RFC 9568 section 6.4.2: a Backup discards what is sent to the virtual MAC address.
            Some(presence) if !presence.serves() => return Received::Dropped,
            presence => presence.is_some(),
        };
        match self.judge(now, interface, station, &ethernet) {
            Verdict::Taken => Received::Taken,
            Verdict::Dropped => Received::Dropped,
            Verdict::Up => {
                if to_virtual && let Some(destination) = frame.first_chunk_mut() {
                    *destination = station.0;
                }
                Received::Up(frame)
            }
        }
    }

    fn judge(&mut self, now: Instant, interface: InterfaceId, station: MacAddr, ethernet: &Ethernet<'_>) -> Verdict {
        let verdict = match ethernet.ethertype {
            ETHERTYPE_ARP => self.arp(interface, ethernet.payload),
            ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => self.ip(now, interface, station, ethernet),
            _ => Some(Verdict::Up),
        };
        verdict.unwrap_or(Verdict::Dropped)
    }

    fn arp(&mut self, interface: InterfaceId, packet: &[u8]) -> Option<Verdict> {
        if let Some(query) = Query::parse(packet)
            && let Some(presence) = self.with_address(interface, query.target.into())
        {
            // Never handed up: the stack would answer with the station's MAC address. Our own announcement that
            // came back is no question.
            if !presence.serves() || query.sender_mac == presence.virtual_mac() {
                return Some(Verdict::Dropped);
            }
            self.owe(Answer::to_query(interface, &query));
            return Some(Verdict::Taken);
        }
        self.neighbour(interface, Family::V4, packet);
        // Somebody else's claim to an address that we serve.
        let sender = ipv4_at(packet, 14)?;
        Some(if self.serving(interface, sender.into()).is_some() { Verdict::Dropped } else { Verdict::Up })
    }

    fn ip(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        station: MacAddr,
        ethernet: &Ethernet<'_>,
    ) -> Option<Verdict> {
        let packet = ethernet.payload;
        let (protocol, destination): (u8, IpAddr) = match ethernet.ethertype {
            ETHERTYPE_IPV4 => (byte(packet, 9)?, ipv4_at(packet, 16)?.into()),
            _ => (byte(packet, 6)?, ipv6_at(packet, 24)?.into()),
        };
        let family = Family::of(&destination);
        if protocol == PROTOCOL {
            let (envelope, payload) = match family {
                Family::V4 => parse_ipv4(packet)?,
                Family::V6 => parse_ipv6(packet)?,
            };
            return self.advertisement(now, interface, station, ethernet, &envelope, payload);
        }
        let query = match family {
            Family::V4 => multicast::igmp_query(packet),
            Family::V6 => multicast::mld_query(packet),
        };
        if let Some(query) = query {
            self.queried(now, interface, family, query);
        }
        if self.echoed(now, interface, family, packet) {
            return Some(Verdict::Taken);
        }
        let kind = byte(packet, IPV6_HEADER).filter(|_| family == Family::V6 && protocol == ICMPV6);
        let verdict = match kind {
            Some(NEIGHBOUR_SOLICITATION) => self.solicited(interface, ethernet),
            Some(NEIGHBOUR_ADVERTISEMENT) => self.advertised(interface, packet),
            _ => return Some(self.admit(interface, destination, false)),
        };
        Some(verdict.unwrap_or_else(|| self.admit(interface, destination, true)))
    }

    /// Somebody asks who has an address; `None` if it is none of ours.
    fn solicited(&mut self, interface: InterfaceId, ethernet: &Ethernet<'_>) -> Option<Verdict> {
        let serves = self.virtual_target(interface, ethernet.payload)?;
        match Solicitation::parse(ethernet.payload, ethernet.source).filter(|_| serves) {
            Some(query) => {
                self.owe(Answer::to_solicitation(interface, &query));
                Some(Verdict::Taken)
            }
            None => Some(Verdict::Dropped),
        }
    }

    /// Somebody says to have an address; `None` if the stack may want to know, as that of a Backup where the Active is.
    fn advertised(&mut self, interface: InterfaceId, packet: &[u8]) -> Option<Verdict> {
        let serves = self.virtual_target(interface, packet);
        if serves.is_none() {
            self.neighbour(interface, Family::V6, packet);
        }
        serves.filter(|serves| *serves).map(|_| Verdict::Dropped)
    }

    /// Whether a Virtual Router serves the target of Neighbour Discovery; `None` if none has it.
    fn virtual_target(&self, interface: InterfaceId, packet: &[u8]) -> Option<bool> {
        let target = ipv6_at(packet, IPV6_HEADER.saturating_add(8))?;
        self.with_address(interface, target.into()).map(|presence| presence.serves())
    }

    /// An Advertisement: only from its group's MAC address, or ours if it is for one station.
    fn advertisement(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        station: MacAddr,
        ethernet: &Ethernet<'_>,
        envelope: &Envelope,
        payload: &[u8],
    ) -> Option<Verdict> {
        let group = envelope.destination;
        let expected = if group.is_multicast() { multicast_mac(group) } else { station };
        if ethernet.destination != expected {
            return None;
        }
        // Why it was discarded has been counted.
        let _ = self.agent.handle_advertisement(now, interface, envelope, payload);
        Some(Verdict::Taken)
    }

    /// Whether a packet to this address is for the stack. One to a virtual address only while Active, and then
    /// with Accept_Mode or as owner; Neighbour Discovery is excepted (RFC 9568 sections 6.1, 6.4.2, 6.4.3).
    fn admit(&self, interface: InterfaceId, destination: IpAddr, discovery: bool) -> Verdict {
        match self.with_address(interface, destination) {
            Some(presence) if !(presence.serves() && (presence.accepts() || discovery)) => Verdict::Dropped,
            _ => Verdict::Up,
        }
    }
}
