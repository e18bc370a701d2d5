//! `encap` of a route or of one of its next hops: what packets are wrapped into on their way.

use std::net::IpAddr;

use netlink_packet_route::route::{
    MplsLabel, RouteAttribute, RouteIp6Tunnel, RouteIp6TunnelFlags, RouteIpTunnel, RouteIpTunnelFlags,
    RouteLwEnCapType, RouteLwTunnelEncap, RouteMplsIpTunnel,
};
use steadfast_core::config::statement::Word;
use steadfast_core::config::value;

use super::names::{Named, Names};
use super::words::{Line, Wrong, number};

/// The most labels of a stack of MPLS.
const MOST_LABELS: usize = 16;

/// `encap ip|ip6|mpls …`
pub(super) fn read<'a>(line: &mut Line<'a>, option: Word<'a>, names: &Names) -> Result<[RouteAttribute; 2], Wrong> {
    let kind = line.peek();
    let (list, number) = match line.value(option, "ip, ip6 or mpls", Some)? {
        "ip" => (tunnel(line, option, names, ip)?, RouteLwEnCapType::Ip),
        "ip6" => (tunnel(line, option, names, ip6)?, RouteLwEnCapType::Ip6),
        "mpls" => {
            let labels = line.value(option, "labels from 0 to 1048575 with / between them", labels)?;
            let list = vec![RouteLwTunnelEncap::Mpls(RouteMplsIpTunnel::Destination(labels))];
            (list, RouteLwEnCapType::Mpls)
        }
        other => return Err(Wrong::unsupported(kind.unwrap_or(option), &format!("encap {other}"))),
    };
    Ok([RouteAttribute::Encap(list), RouteAttribute::EncapType(number)])
}

/// Reads one option of a tunnel, if it is one.
type Read<'a> = fn(&mut Line<'a>, Word<'a>, &Names) -> Result<Option<RouteLwTunnelEncap>, Wrong>;

/// The options of a tunnel: as many as there are.
fn tunnel<'a>(
    line: &mut Line<'a>,
    option: Word<'a>,
    names: &Names,
    read: Read<'a>,
) -> Result<Vec<RouteLwTunnelEncap>, Wrong> {
    let mut list = Vec::new();
    while let Some(word) = line.next() {
        match read(line, word, names)? {
            Some(read) => list.push(read),
            // It is the route's.
            None => {
                line.back();
                break;
            }
        }
    }
    let leads = |one: &RouteLwTunnelEncap| {
        matches!(
            one,
            RouteLwTunnelEncap::Ip(RouteIpTunnel::Destination(_) | RouteIpTunnel::Id(_))
                | RouteLwTunnelEncap::Ip6(RouteIp6Tunnel::Destination(_) | RouteIp6Tunnel::Id(_))
        )
    };
    if list.iter().any(leads) { Ok(list) } else { Err(Wrong::new(option.place, "a tunnel wants `dst` or `id`")) }
}

fn ip<'a>(line: &mut Line<'a>, word: Word<'a>, names: &Names) -> Result<Option<RouteLwTunnelEncap>, Wrong> {
    let v4 = |text| match value::address(text) {
        Some(IpAddr::V4(address)) => Some(address),
        _ => None,
    };
    Ok(Some(RouteLwTunnelEncap::Ip(match word.text {
        "id" => RouteIpTunnel::Id(id(line, word)?),
        "dst" => RouteIpTunnel::Destination(line.value(word, "an IPv4 address", v4)?),
        "src" => RouteIpTunnel::Source(line.value(word, "an IPv4 address", v4)?),
        "tos" => RouteIpTunnel::Tos(field(line, word, names)?),
        "ttl" => RouteIpTunnel::Ttl(byte(line, word)?),
        "flags" => RouteIpTunnel::Flags(RouteIpTunnelFlags::from_bits_retain(flags(line, word)?)),
        _ => return Ok(None),
    })))
}

fn ip6<'a>(line: &mut Line<'a>, word: Word<'a>, names: &Names) -> Result<Option<RouteLwTunnelEncap>, Wrong> {
    let v6 = |text| match value::address(text) {
        Some(IpAddr::V6(address)) => Some(address),
        _ => None,
    };
    Ok(Some(RouteLwTunnelEncap::Ip6(match word.text {
        "id" => RouteIp6Tunnel::Id(id(line, word)?),
        "dst" => RouteIp6Tunnel::Destination(line.value(word, "an IPv6 address", v6)?),
        "src" => RouteIp6Tunnel::Source(line.value(word, "an IPv6 address", v6)?),
        "tc" => RouteIp6Tunnel::Tc(field(line, word, names)?),
        "hoplimit" => RouteIp6Tunnel::Hoplimit(byte(line, word)?),
        "flags" => RouteIp6Tunnel::Flags(RouteIp6TunnelFlags::from_bits_retain(flags(line, word)?)),
        _ => return Ok(None),
    })))
}

fn id<'a>(line: &mut Line<'a>, word: Word<'a>) -> Result<u64, Wrong> {
    line.value(word, "a number", |text| text.parse().ok())
}

fn byte<'a>(line: &mut Line<'a>, word: Word<'a>) -> Result<u8, Wrong> {
    line.value(word, "a number from 0 to 255", |text| number(text, 255).and_then(|number| u8::try_from(number).ok()))
}

fn flags<'a>(line: &mut Line<'a>, word: Word<'a>) -> Result<u16, Wrong> {
    let flags = |text| number(text, 65_535).and_then(|number| u16::try_from(number).ok());
    line.value(word, "a number from 0 to 65535", flags)
}

fn field<'a>(line: &mut Line<'a>, word: Word<'a>, names: &Names) -> Result<u8, Wrong> {
    let field = |text| names.find(Named::Field, text).and_then(|number| u8::try_from(number).ok());
    line.value(word, "a value of the DS field", field)
}

/// `LABEL[/LABEL…]`
fn labels(text: &str) -> Option<Vec<MplsLabel>> {
    let mut labels = Vec::new();
    for part in text.split('/') {
        let label = number(part, 0xf_ffff)?;
        labels.push(MplsLabel { label, traffic_class: 0, bottom_of_stack: false, ttl: 0 });
    }
    labels.last_mut()?.bottom_of_stack = true;
    (labels.len() <= MOST_LABELS).then_some(labels)
}
