//! A line of `virtual_routes` or `static_routes`: what `ip route` takes, with keepalived's defaults and its own words
//! (`gw`, `or`, `no_track`, `track_group`).

use std::net::IpAddr;
use std::sync::Arc;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteMplsTtlPropagation,
    RouteNextHop, RouteNextHopFlags, RoutePreference, RouteProtocol, RouteRealm, RouteType, RouteVia,
};
use steadfast_core::config::statement::Word;
use steadfast_core::config::{Place, value};
use steadfast_core::types::Family;

use super::Remarks;
use super::encapsulation;
use super::names::{Named, Names};
use super::words::{Line, OneFamily, PREFIX, Prefix, Wrong, number, prefix, time};
use crate::netlink::Insertion;

/// What a line is, as a sentence names it.
const ROUTE: &str = "route";

/// A route. Interfaces are names, whose numbers are looked up when it is put on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRoute {
    /// What a sentence calls it: where it stands, and where it leads.
    pub label: Arc<str>,
    /// All of it but the interfaces.
    pub message: RouteMessage,
    /// `dev`.
    pub device: Option<String>,
    /// The interfaces of its next hops, as many as the message has.
    pub hop_devices: Vec<Option<String>>,
    /// Where it goes among others to the same network.
    pub insertion: Insertion,
    /// `no_track`, or without `dev`: not put back if somebody else removes it, and its interface may go down.
    pub no_track: bool,
}

impl PlannedRoute {
    /// The interfaces that it names.
    pub fn devices(&self) -> impl Iterator<Item = &str> {
        self.device.iter().chain(self.hop_devices.iter().flatten()).map(String::as_str)
    }

    /// The route with the numbers of its interfaces.
    ///
    /// # Errors
    /// The name of the first one that `index` does not know.
    pub fn on_interfaces(&self, index: impl Fn(&str) -> Option<u32>) -> Result<RouteMessage, &str> {
        let mut message = self.message.clone();
        if let Some(device) = &self.device {
            message.attributes.push(RouteAttribute::Oif(index(device).ok_or(&**device)?));
        }
        for attribute in &mut message.attributes {
            let RouteAttribute::MultiPath(hops) = attribute else { continue };
            for (hop, device) in hops.iter_mut().zip(&self.hop_devices) {
                if let Some(device) = device {
                    hop.interface_index = index(device).ok_or(&**device)?;
                }
            }
        }
        Ok(message)
    }
}

/// A line as far as it has been read.
#[derive(Default)]
struct Draft<'a> {
    family: OneFamily,
    header: RouteHeader,
    destination: Option<Prefix>,
    source: Option<Prefix>,
    attributes: Vec<RouteAttribute>,
    gateway: Option<(Word<'a>, IpAddr)>,
    device: Option<String>,
    metrics: Vec<RouteMetric>,
    locked: u32,
    protocol: Option<(Place, u8)>,
    hops: Vec<(RouteNextHop, Option<String>)>,
    /// `or`: the next hops are on `dev`.
    alternative: bool,
    insertion: Insertion,
    no_track: bool,
    group: Option<Word<'a>>,
}

/// Reads a line; with the `track_group` of a static one.
pub(super) fn read<'a>(
    line: &mut Line<'a>,
    is_static: bool,
    names: &Names,
    remarks: &mut Remarks,
) -> Result<(PlannedRoute, Option<Word<'a>>), Wrong> {
    let Some(first) = line.peek() else { return Err(Wrong::new(Place::START, "an empty line")) };
    let mut draft = Draft::default();
    while let Some(word) = line.next() {
        match word.text {
            "inet" => draft.family.be(word.place, Family::V4)?,
            "inet6" => draft.family.be(word.place, Family::V6)?,
            "add" => draft.insertion = Insertion::Add,
            "append" => draft.insertion = Insertion::Append,
            "to" => draft.destination(line)?,
            "src" => {
                let address = draft.address(line, word)?;
                draft.attributes.push(RouteAttribute::PrefSource(route_address(address)));
            }
            "via" | "gw" => {
                if word.text == "gw" {
                    remarks.warning(word.place, "`gw` is what `via` was called once");
                }
                draft.gateway(line, word)?;
            }
            "or" => draft.or(line, word, remarks)?,
            "from" => {
                let at = line.peek().map_or(word.place, |word| word.place);
                draft.source = Some(line.value(word, PREFIX, prefix)?);
                draft.family.be(at, Family::V6).map_err(|_| Wrong::new(at, "`from` is IPv6's"))?;
            }
            "tos" | "dsfield" => draft.header.tos = byte(line, word, "a value of the DS field", names, Named::Field)?,
            "table" => {
                let table = line.value(word, "a routing table", |text| names.find(Named::Table, text))?;
                draft.attributes.push(RouteAttribute::Table(table));
            }
            "protocol" => {
                let protocol = byte(line, word, "a routing protocol", names, Named::Protocol)?;
                draft.protocol = Some((word.place, protocol));
            }
            "scope" => draft.header.scope = byte(line, word, "a scope", names, Named::Scope)?.into(),
            "metric" | "priority" | "preference" => {
                draft.attributes.push(RouteAttribute::Priority(line.number(word, u32::MAX)?));
            }
            "dev" | "oif" => draft.device = Some(line.device(word)?),
            "onlink" => draft.header.flags |= RouteFlags::Onlink,
            "encap" => draft.attributes.extend(encapsulation::read(line, word, names)?),
            "expires" => {
                draft.family.be(word.place, Family::V6).map_err(|_| Wrong::new(word.place, "`expires` is IPv6's"))?;
                draft.attributes.push(RouteAttribute::Expires(line.number(word, u32::MAX)?));
            }
            "realms" => draft.realms(line, word, names)?,
            "pref" => {
                draft.family.be(word.place, Family::V6).map_err(|_| Wrong::new(word.place, "`pref` is IPv6's"))?;
                let preference = line.value(word, "low, medium or high", preference)?;
                draft.attributes.push(RouteAttribute::Preference(preference));
            }
            "ttl-propagate" => {
                let propagates = |text| match text {
                    "enabled" => Some(RouteMplsTtlPropagation::Enabled),
                    "disabled" => Some(RouteMplsTtlPropagation::Disabled),
                    _ => None,
                };
                let propagates = line.value(word, "enabled or disabled", propagates)?;
                draft.attributes.push(RouteAttribute::TtlPropagate(propagates));
            }
            "features" => {
                line.value(word, "ecn", |text| (text == "ecn").then_some(()))?;
                draft.metrics.push(RouteMetric::Features(1));
            }
            "congctl" => {
                draft.locked |= u32::from(line.take("lock")) << 16;
                let name = |text: &'a str| (1..16).contains(&text.len()).then(|| text.to_owned());
                draft.metrics.push(RouteMetric::CcAlgo(line.value(word, "a name of 1 to 15 characters", name)?));
            }
            "nexthop" => draft.next_hop(line, names)?,
            "no_track" => draft.no_track = true,
            "track_group" if is_static => {
                let group = line.peek();
                line.value(word, "the name of a track_group", Some)?;
                draft.group = group;
            }
            "as" | "vrf" => return Err(Wrong::unsupported(word, word.text)),
            _ if draft.metric(line, word)? => {}
            text => match kind(text) {
                Some(kind) => {
                    draft.header.kind = kind;
                    // As `ip route` has it: `unreachable default`, with or without `to`.
                    line.take("to");
                    draft.destination(line)?;
                }
                None if prefix(text).is_some() => draft.destination_is(word)?,
                None => return Err(Wrong::unknown(word, ROUTE)),
            },
        }
    }
    draft.finish(first, remarks)
}

impl<'a> Draft<'a> {
    fn address(&mut self, line: &mut Line<'a>, option: Word<'a>) -> Result<IpAddr, Wrong> {
        let place = line.peek().map_or(option.place, |word| word.place);
        let address = line.value(option, "an address", value::address)?;
        self.family.be(place, Family::of(&address))?;
        Ok(address)
    }

    fn destination(&mut self, line: &mut Line<'a>) -> Result<(), Wrong> {
        match line.next() {
            Some(word) if prefix(word.text).is_some() => self.destination_is(word),
            Some(word) => match kind(word.text) {
                Some(kind) => {
                    self.header.kind = kind;
                    self.destination(line)
                }
                None => Err(Wrong::new(word.place, format_args!("`{}` is no network", word.text))),
            },
            None => Ok(()),
        }
    }

    fn destination_is(&mut self, word: Word<'a>) -> Result<(), Wrong> {
        let Some(read) = prefix(word.text) else { return Ok(()) };
        if let Some(address) = read.address {
            self.family.be(word.place, Family::of(&address))?;
        }
        if self.destination.replace(read).is_some() {
            return Err(Wrong::new(word.place, format_args!("`{}` is a second destination", word.text)));
        }
        Ok(())
    }

    /// `via [inet|inet6] ADDRESS`
    fn hop_address(&mut self, line: &mut Line<'a>, option: Word<'a>) -> Result<IpAddr, Wrong> {
        let named = match line.peek().map(|word| word.text) {
            Some("inet") => Some(Family::V4),
            Some("inet6") => Some(Family::V6),
            _ => None,
        };
        let Some(named) = named else { return self.address(line, option) };
        line.next();
        let address = line.value(option, "an address", value::address)?;
        if Family::of(&address) != named {
            return Err(Wrong::new(option.place, "an address of another family than the word before it says"));
        }
        // A network of IPv4 may be behind a neighbour of IPv6.
        self.family.0.get_or_insert(named);
        Ok(address)
    }

    fn gateway(&mut self, line: &mut Line<'a>, option: Word<'a>) -> Result<(), Wrong> {
        let address = self.hop_address(line, option)?;
        if self.gateway.replace((option, address)).is_some() {
            return Err(Wrong::new(option.place, "a second `via`: several are said with `nexthop`"));
        }
        Ok(())
    }

    /// `via ADDRESS or ADDRESS`
    fn or(&mut self, line: &mut Line<'a>, word: Word<'a>, remarks: &mut Remarks) -> Result<(), Wrong> {
        remarks.warning(word.place, "`or` is what `nexthop` was called once");
        let second = self.address(line, word)?;
        let Some((_, first)) = self.gateway.take().filter(|_| self.hops.is_empty()) else {
            return Err(Wrong::new(word.place, "`or` stands after one `via`"));
        };
        for address in [first, second] {
            let mut hop = RouteNextHop::default();
            hop.attributes.push(self.via(address));
            self.hops.push((hop, None));
        }
        self.alternative = true;
        Ok(())
    }

    /// How a neighbour is named in a message of this family.
    fn via(&self, address: IpAddr) -> RouteAttribute {
        match (self.family.0, address) {
            (Some(Family::V4), IpAddr::V6(address)) => RouteAttribute::Via(RouteVia::Inet6(address)),
            _ => RouteAttribute::Gateway(route_address(address)),
        }
    }

    fn realms(&mut self, line: &mut Line<'a>, word: Word<'a>, names: &Names) -> Result<(), Wrong> {
        let realm = realms(line, word, names)?;
        self.family.be(word.place, Family::V4).map_err(|_| Wrong::new(word.place, "`realms` are IPv4's"))?;
        self.attributes.push(RouteAttribute::Realm(realm));
        Ok(())
    }

    /// `nexthop` and what belongs to it: up to the next one, or to the end.
    fn next_hop(&mut self, line: &mut Line<'a>, names: &Names) -> Result<(), Wrong> {
        let (mut hop, mut device) = (RouteNextHop::default(), None);
        while let Some(word) = line.peek().filter(|word| word.text != "nexthop") {
            line.next();
            match word.text {
                "via" => {
                    let address = self.hop_address(line, word)?;
                    hop.attributes.push(self.via(address));
                }
                "dev" => device = Some(line.device(word)?),
                "weight" => {
                    let weight = |text| number(text, 256).and_then(|weight| u8::try_from(weight.checked_sub(1)?).ok());
                    hop.hops = line.value(word, "a number from 1 to 256", weight)?;
                }
                "onlink" => hop.flags |= RouteNextHopFlags::Onlink,
                "encap" => hop.attributes.extend(encapsulation::read(line, word, names)?),
                "realms" => {
                    let realm = realms(line, word, names)?;
                    self.family.be(word.place, Family::V4)?;
                    hop.attributes.push(RouteAttribute::Realm(realm));
                }
                "as" => return Err(Wrong::unsupported(word, "as")),
                _ => return Err(Wrong::unknown(word, "next hop")),
            }
        }
        self.hops.push((hop, device));
        Ok(())
    }

    /// `OPTION [lock] NUMBER`: what is known of the path. Whether it is one.
    fn metric(&mut self, line: &mut Line<'a>, word: Word<'a>) -> Result<bool, Wrong> {
        type Make = fn(u32) -> RouteMetric;
        // The number of the metric, whether it may be locked, the largest value, and of a time the units in a ms.
        let (make, bit, lockable, most, per_ms): (Make, u32, bool, u32, Option<u32>) = match word.text {
            "mtu" => (RouteMetric::Mtu, 2, true, u32::MAX, None),
            "window" => (RouteMetric::Window, 3, false, u32::MAX, None),
            "rtt" => (RouteMetric::Rtt, 4, true, u32::MAX, Some(8)),
            "rttvar" => (RouteMetric::RttVar, 5, true, u32::MAX, Some(4)),
            "ssthresh" => (RouteMetric::SsThresh, 6, true, u32::MAX, None),
            "cwnd" => (RouteMetric::Cwnd, 7, true, u32::MAX, None),
            "advmss" => (RouteMetric::Advmss, 8, true, u32::MAX, None),
            "reordering" => (RouteMetric::Reordering, 9, true, u32::MAX, None),
            "hoplimit" => (RouteMetric::Hoplimit, 10, false, 255, None),
            "initcwnd" => (RouteMetric::InitCwnd, 11, false, u32::MAX, None),
            "rto_min" => (RouteMetric::RtoMin, 13, true, u32::MAX, Some(1)),
            "initrwnd" => (RouteMetric::InitRwnd, 14, false, u32::MAX, None),
            "quickack" => (RouteMetric::QuickAck, 15, false, 1, None),
            "fastopen_no_cookie" => (RouteMetric::FastopenNoCookie, 17, false, 1, None),
            _ => return Ok(false),
        };
        if lockable && line.take("lock") {
            self.locked |= 1 << bit;
        }
        let value = match per_ms {
            Some(per_ms) => line.value(word, "a time, such as 50ms or 1s", |text| time(text, per_ms))?,
            None => line.number(word, most)?,
        };
        self.metrics.push(make(value));
        Ok(true)
    }

    /// The route that all of it makes.
    fn finish(mut self, first: Word<'a>, remarks: &mut Remarks) -> Result<(PlannedRoute, Option<Word<'a>>), Wrong> {
        let Some(destination) = self.destination else {
            return Err(Wrong::new(first.place, "a route wants a destination"));
        };
        let family = self.family.0.unwrap_or(Family::V4);
        self.family.0 = Some(family);
        if self.header.kind == RouteType::Unspec {
            self.header.kind = RouteType::Unicast;
        }
        self.protocol(first.place, remarks);
        let mut message = RouteMessage::default();
        message.header = self.header.clone();
        message.header.address_family = address_family(family);
        message.header.destination_prefix_length = destination.length;
        if let Some(address) = destination.address.filter(|_| destination.length > 0) {
            if has_host_bits(address, destination.length) {
                remarks.advice(first.place, "the kernel refuses it: the destination has bits after its length");
            }
            message.attributes.push(RouteAttribute::Destination(route_address(address)));
        }
        if let Some(source) = self.source {
            message.header.source_prefix_length = source.length;
            message.attributes.extend(source.address.map(|address| RouteAttribute::Source(route_address(address))));
        }
        if let Some((_, address)) = self.gateway {
            message.attributes.push(self.via(address));
        }
        let goes = self.gateway.is_some() || self.device.is_some() || !self.hops.is_empty();
        if message.header.kind == RouteType::Unicast && !goes {
            remarks.advice(first.place, "the kernel refuses it: it has neither `via` nor `dev`");
        }
        // As the kernel wants it: one that does not fit into the header's byte is in the attribute alone.
        let table = self.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        });
        let table = table.unwrap_or(RouteHeader::RT_TABLE_MAIN.into());
        message.header.table = u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
        message.attributes.append(&mut self.attributes);
        if self.locked != 0 {
            self.metrics.push(RouteMetric::Lock(self.locked));
        }
        if !self.metrics.is_empty() {
            message.attributes.push(RouteAttribute::Metrics(self.metrics));
        }
        let mut device = self.device.take();
        let (hops, mut hop_devices): (Vec<_>, Vec<_>) = self.hops.into_iter().unzip();
        if self.alternative {
            // The kernel wants to hear of it hop by hop.
            hop_devices.fill(device.take());
        }
        if !hops.is_empty() {
            message.attributes.push(RouteAttribute::MultiPath(hops));
        }
        let route = PlannedRoute {
            label: remarks.label(ROUTE, &destination_text(destination, family)),
            message,
            device,
            hop_devices,
            insertion: self.insertion,
            no_track: self.no_track,
        };
        Ok((route, self.group))
    }

    /// Who is said to have made it. What is tracked is recognised by that.
    fn protocol(&mut self, place: Place, remarks: &mut Remarks) {
        let given = self.protocol.filter(|(_, protocol)| *protocol != u8::from(RouteProtocol::KeepAlived));
        self.header.protocol = RouteProtocol::KeepAlived;
        match given {
            Some((_, protocol)) if self.no_track => self.header.protocol = protocol.into(),
            Some((at, _)) => remarks.warning(at, "`protocol` has no effect without `no_track`: it is keepalived's"),
            None => {}
        }
        if !self.no_track && self.device.is_none() {
            self.no_track = true;
            remarks.warning(place, "a route without `dev` is not tracked: it is not put back if somebody removes it");
        }
    }
}

/// A byte that may be named.
fn byte<'a>(
    line: &mut Line<'a>,
    option: Word<'a>,
    expected: &'static str,
    names: &Names,
    named: Named,
) -> Result<u8, Wrong> {
    line.value(option, expected, |text| names.find(named, text).and_then(|number| u8::try_from(number).ok()))
}

/// `[FROM/]TO`
fn realms<'a>(line: &mut Line<'a>, word: Word<'a>, names: &Names) -> Result<RouteRealm, Wrong> {
    let (source, destination) = line.value(word, "a realm, or two: FROM/TO", |text| names.realms(text))?;
    Ok(RouteRealm { source, destination })
}

/// The kinds of routes that can be added.
fn kind(text: &str) -> Option<RouteType> {
    Some(match text {
        "unicast" => RouteType::Unicast,
        "local" => RouteType::Local,
        "broadcast" => RouteType::Broadcast,
        "anycast" => RouteType::Anycast,
        "multicast" => RouteType::Multicast,
        "blackhole" => RouteType::BlackHole,
        "unreachable" => RouteType::Unreachable,
        "prohibit" => RouteType::Prohibit,
        "throw" => RouteType::Throw,
        _ => return None,
    })
}

fn preference(text: &str) -> Option<RoutePreference> {
    Some(match text {
        "low" => RoutePreference::Low,
        "medium" => RoutePreference::Medium,
        "high" => RoutePreference::High,
        _ => return None,
    })
}

/// Whether an IPv4 address is more than the network of this length. The kernel takes such a network of IPv6.
fn has_host_bits(address: IpAddr, length: u8) -> bool {
    let IpAddr::V4(address) = address else { return false };
    address.to_bits() & u32::MAX.checked_shr(length.into()).unwrap_or(0) != 0
}

fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

/// The number of a family in messages.
pub(super) fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

fn destination_text(destination: Prefix, family: Family) -> String {
    match destination.address {
        Some(address) => format!("{address}/{}", destination.length),
        None if family == Family::V4 => "default".into(),
        None => "inet6 default".into(),
    }
}
