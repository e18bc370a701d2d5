//! Everything of `wire`: parsers on any bytes, emitters into any room. Types without a way to fail are made
//! on the way.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use steadfast_core::types::{Family, Interval, MacAddr, Priority, Version, Vrid};
use steadfast_core::wire::advertisement::{Advertisement, Authentication, Form, Outgoing, vrid_of};
use steadfast_core::wire::checksum::{Sum, pseudo_header};
use steadfast_core::wire::{Envelope, arp, ip, ndisc};

use crate::{any, bytes, room, used};

pub(crate) fn drive(memory: &mut [u8]) {
    types();
    parse(memory);
    emit(memory);
}

pub(crate) fn address() -> IpAddr {
    any(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

pub(crate) fn mac() -> MacAddr {
    any(MacAddr::BROADCAST)
}

pub(crate) fn vrid() -> Vrid {
    loop {
        if let Some(vrid) = Vrid::new(any(1)) {
            return vrid;
        }
    }
}

pub(crate) fn interval() -> Interval {
    Interval::from_centiseconds(any(1)).or(Interval::from_seconds(any(1))).unwrap_or(Interval::DEFAULT)
}

pub(crate) fn envelope() -> Envelope {
    Envelope { source: address(), destination: address(), hop_limit: any(255) }
}

fn types() {
    used(vrid().virtual_mac(any(Family::V4)));
    used((interval().seconds(), interval().centiseconds()));
    used(interval().duration());
    used(Priority::new(any(0)).map(Priority::is_owner));
    used(any(Priority::DEFAULT).weighted(any(1)));
    used(Family::of(&address()));
    used(any(Version::V2).number());
}

fn parse(memory: &[u8]) {
    let input = bytes(memory);
    used(vrid_of(input));
    if let Ok(advertisement) = Advertisement::parse(input, &envelope()) {
        used((advertisement.addresses.family(), advertisement.addresses.len(), advertisement.addresses.is_empty()));
        for address in advertisement.addresses.iter() {
            used(address);
        }
        used(advertisement);
    }
    used(ip::Ethernet::parse(input));
    used(ip::parse_ipv4(input));
    used(ip::parse_ipv6(input));
    if let Some(query) = arp::Query::parse(input) {
        used(arp::reply(mac(), &query));
    }
    if let Some(query) = ndisc::Solicitation::parse(input, mac()) {
        used(ndisc::solicited(mac(), &query, any(true)));
    }
    let sum = Sum::of(input).plus(bytes(memory)).plus_word(any(1));
    let sum = sum.plus_sum(pseudo_header(address(), address(), any(112), any(8)));
    used((sum.fold(), sum.checksum(), sum.is_valid()));
}

fn emit(memory: &mut [u8]) {
    let v4 = any(Ipv4Addr::LOCALHOST);
    let v6 = any(Ipv6Addr::LOCALHOST);
    used(arp::gratuitous(mac(), v4));
    used(ndisc::unsolicited(mac(), v6, any(true)));
    used(ndisc::solicited_node(v6));
    used(ip::multicast_mac(address()));
    used(ip::emit_ethernet(mac(), mac(), any(1), room(memory)));
    used(ip::emit_ipv4(v4, v4, any(1), room(memory)));
    used(ip::emit_ipv6(v6, v6, any(1), room(memory)));
    let list = any([address(); 300]);
    let outgoing = Outgoing {
        version: any(Version::V3),
        vrid: vrid(),
        priority: Priority::new(any(1)),
        interval: interval(),
        authentication: any(Authentication::Simple([1; 8])),
        addresses: list.get(any(0)..any(2)).unwrap_or(&[]),
    };
    used((outgoing.authentication.number(), outgoing.authentication.data()));
    used(outgoing.emit(address(), address(), any(Form::Plain), room(memory)));
    used(ip::emit_packet(address(), address(), room(memory), |room| {
        outgoing.emit(address(), address(), any(Form::Plain), room)
    }));
    used(ip::emit_frame(mac(), any(Some(mac())), address(), address(), room(memory), |room| {
        outgoing.emit(address(), address(), any(Form::PseudoHeader), room)
    }));
}
