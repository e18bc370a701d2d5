//! Routes and rules in the words in which keepalived's dumps name them.

use std::fmt::Write as _;
use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHopFlags, RoutePreference,
    RouteRealm, RouteType, RouteVia,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags};

use super::{PlannedRoute, PlannedRule};

/// The table that a route is in if nothing else is said.
const MAIN: u32 = 254;

impl PlannedRoute {
    /// As keepalived writes it, up to metrics and encapsulations.
    pub fn dumped(&self) -> String {
        let RouteMessage { header, attributes, .. } = &self.message;
        let is_v4 = header.address_family == AddressFamily::Inet;
        let mut text = match kind(header.kind) {
            Some(kind) => format!("{kind} "),
            None => String::new(),
        };
        let destination = attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Destination(address) => network(address, header.destination_prefix_length),
            _ => None,
        });
        text += &destination.unwrap_or_else(|| "default".to_owned());
        let mut add = |part: &dyn std::fmt::Display| _ = write!(text, " {part}");
        for attribute in attributes {
            match attribute {
                RouteAttribute::Source(address) => {
                    add(&format_args!("from {}", network(address, header.source_prefix_length).unwrap_or_default()));
                }
                RouteAttribute::PrefSource(address) => {
                    add(&format_args!("src {}", plain(address).unwrap_or_default()));
                }
                _ => {}
            }
        }
        if header.tos != 0 {
            add(&format_args!("tos {}", header.tos));
        }
        for attribute in attributes {
            if let Some(via) = via(attribute) {
                add(&via);
            }
        }
        if let Some(device) = &self.device {
            add(&format_args!("dev {device}"));
        }
        for attribute in attributes {
            if let RouteAttribute::Table(table) = attribute
                && *table != MAIN
            {
                add(&format_args!("table {table}"));
            }
        }
        add(&format_args!("proto {}", u8::from(header.protocol)));
        let scope = u8::from(header.scope);
        if scope != 0 {
            add(&format_args!("scope {scope}"));
        }
        for attribute in attributes {
            if let RouteAttribute::Priority(metric) = attribute {
                add(&format_args!("metric {metric}"));
            }
        }
        if is_v4 && header.flags.contains(RouteFlags::Onlink) {
            add(&"onlink");
        }
        for attribute in attributes {
            match attribute {
                RouteAttribute::Realm(pair) => add(&realm(pair)),
                RouteAttribute::Expires(seconds) => add(&format_args!("expires {seconds}sec")),
                RouteAttribute::Metrics(metrics) => metrics.iter().filter_map(metric).for_each(|metric| add(&metric)),
                RouteAttribute::Preference(preference) => add(&match preference {
                    RoutePreference::Low => "pref low",
                    RoutePreference::High => "pref high",
                    _ => "pref medium",
                }),
                _ => {}
            }
        }
        for attribute in attributes {
            let RouteAttribute::MultiPath(hops) = attribute else { continue };
            for (hop, device) in hops.iter().zip(&self.hop_devices) {
                add(&"nexthop");
                hop.attributes.iter().filter_map(via).for_each(|via| add(&via));
                if let Some(device) = device {
                    add(&format_args!("dev {device}"));
                }
                if hop.hops != 0 {
                    add(&format_args!("weight {}", u16::from(hop.hops) + 1));
                }
                if hop.flags.contains(RouteNextHopFlags::Onlink) {
                    add(&"onlink");
                }
            }
        }
        if self.no_track {
            add(&"no_track");
        }
        text
    }
}

impl PlannedRule {
    /// As keepalived writes it.
    pub fn dumped(&self) -> String {
        let header = &self.message.header;
        let attributes = &self.message.attributes;
        let address = |length: u8, wanted: fn(&RuleAttribute) -> Option<IpAddr>| {
            attributes.iter().find_map(wanted).map(|address| with_length(address, length))
        };
        let from = address(header.src_len, |attribute| match attribute {
            RuleAttribute::Source(address) => Some(*address),
            _ => None,
        });
        let to = address(header.dst_len, |attribute| match attribute {
            RuleAttribute::Destination(address) => Some(*address),
            _ => None,
        });
        let mut text = String::new();
        if from.is_none() && to.is_none() && header.family == AddressFamily::Inet6 {
            text += "inet6 ";
        }
        if header.flags.contains(RuleFlags::Invert) {
            text += "not ";
        }
        text += &format!("from {}", from.as_deref().unwrap_or("all"));
        if let Some(to) = to {
            text += &format!(" to {to}");
        }
        let mut add = |part: &dyn std::fmt::Display| _ = write!(text, " {part}");
        for attribute in attributes {
            if let RuleAttribute::Priority(priority) = attribute {
                add(&format_args!("priority {priority}"));
            }
        }
        add(&format_args!("tos 0x{:x}", header.tos));
        let mut end = String::new();
        for attribute in attributes {
            match attribute {
                RuleAttribute::FwMark(mark) => add(&format_args!("fwmark 0x{mark:x}")),
                // It follows the mark.
                RuleAttribute::FwMask(mask) if *mask != u32::MAX => end = format!("/0x{mask:x}"),
                _ => {}
            }
        }
        text += &end;
        let mut add = |part: &dyn std::fmt::Display| _ = write!(text, " {part}");
        for attribute in attributes {
            match attribute {
                RuleAttribute::Iifname(name) => add(&format_args!("iif {name}")),
                RuleAttribute::Oifname(name) => add(&format_args!("oif {name}")),
                RuleAttribute::SuppressPrefixLen(length) => add(&format_args!("suppress_prefixlen {length}")),
                RuleAttribute::SuppressIfGroup(group) => add(&format_args!("suppress_ifgroup {group}")),
                RuleAttribute::TunId(id) => add(&format_args!("tunnel-id {id}")),
                RuleAttribute::UidRange(range) => add(&format_args!("uidrange {}-{}", range.start, range.end)),
                RuleAttribute::L3MDev(true) => add(&"l3mdev"),
                RuleAttribute::Protocol(protocol) => add(&format_args!("protocol {}", u8::from(*protocol))),
                RuleAttribute::IpProtocol(protocol) => add(&format_args!("ipproto {}", u8::from(*protocol))),
                RuleAttribute::SourcePortRange(range) => add(&format_args!("sport {}-{}", range.start, range.end)),
                RuleAttribute::DestinationPortRange(range) => add(&format_args!("dport {}-{}", range.start, range.end)),
                RuleAttribute::Realm(RouteRealm { source, destination }) => {
                    add(&format_args!("realms {source}/{destination}"));
                }
                _ => {}
            }
        }
        let number = |wanted: fn(&RuleAttribute) -> Option<u32>| attributes.iter().find_map(wanted).unwrap_or(0);
        match header.action {
            RuleAction::ToTable => add(&format_args!(
                "lookup {}",
                number(|attribute| match attribute {
                    RuleAttribute::Table(table) => Some(*table),
                    _ => None,
                })
            )),
            RuleAction::Goto => add(&format_args!(
                "goto {}",
                number(|attribute| match attribute {
                    RuleAttribute::Goto(target) => Some(*target),
                    _ => None,
                })
            )),
            RuleAction::Nop => add(&"nop"),
            RuleAction::Blackhole => add(&"type blackhole"),
            RuleAction::Unreachable => add(&"type unreachable"),
            _ => add(&"type prohibit"),
        }
        if self.no_track {
            add(&"no_track");
        }
        text
    }
}

fn kind(kind: RouteType) -> Option<&'static str> {
    Some(match kind {
        RouteType::Local => "local",
        RouteType::Broadcast => "broadcast",
        RouteType::Anycast => "anycast",
        RouteType::Multicast => "multicast",
        RouteType::BlackHole => "blackhole",
        RouteType::Unreachable => "unreachable",
        RouteType::Prohibit => "prohibit",
        RouteType::Throw => "throw",
        _ => return None,
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

fn plain(address: &RouteAddress) -> Option<String> {
    ip(address).map(|address| address.to_string())
}

fn network(address: &RouteAddress, length: u8) -> Option<String> {
    ip(address).map(|address| with_length(address, length))
}

fn with_length(address: IpAddr, length: u8) -> String {
    if length == if address.is_ipv4() { 32 } else { 128 } { address.to_string() } else { format!("{address}/{length}") }
}

fn via(attribute: &RouteAttribute) -> Option<String> {
    let address = match attribute {
        RouteAttribute::Gateway(address) => ip(address)?,
        RouteAttribute::Via(RouteVia::Inet6(address)) => IpAddr::V6(*address),
        _ => return None,
    };
    Some(format!("via {} {address}", if address.is_ipv4() { "inet" } else { "inet6" }))
}

fn realm(RouteRealm { source, destination }: &RouteRealm) -> String {
    if *source == 0 { format!("realm {destination}") } else { format!("realms {source}/{destination}") }
}

fn metric(metric: &RouteMetric) -> Option<String> {
    Some(match metric {
        RouteMetric::Mtu(value) => format!("mtu {value}"),
        RouteMetric::Window(value) => format!("window {value}"),
        RouteMetric::SsThresh(value) => format!("ssthresh {value}"),
        RouteMetric::Cwnd(value) => format!("cwnd {value}"),
        RouteMetric::Advmss(value) => format!("advmss {value}"),
        RouteMetric::Reordering(value) => format!("reordering {value}"),
        RouteMetric::Hoplimit(value) => format!("hoplimit {value}"),
        RouteMetric::InitCwnd(value) => format!("initcwnd {value}"),
        RouteMetric::InitRwnd(value) => format!("initrwnd {value}"),
        RouteMetric::QuickAck(value) => format!("quickack {value}"),
        RouteMetric::FastopenNoCookie(value) => format!("fastopen_no_cookie {value}"),
        RouteMetric::CcAlgo(name) => format!("congctl {name}"),
        RouteMetric::Features(_) => "features ecn".to_owned(),
        RouteMetric::RtoMin(value) => format!("rto_min {value}ms"),
        RouteMetric::Rtt(value) => format!("rtt {}ms", value / 8),
        RouteMetric::RttVar(value) => format!("rttvar {}ms", value / 4),
        _ => return None,
    })
}
