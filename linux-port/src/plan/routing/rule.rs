//! A line of `virtual_rules` or `static_rules`: what `ip rule` takes, with keepalived's own words.

use std::net::IpAddr;
use std::sync::Arc;

use netlink_packet_route::route::{RouteProtocol, RouteRealm};
use netlink_packet_route::rule::{
    RuleAction, RuleAttribute, RuleFlags, RuleHeader, RuleMessage, RulePortRange, RuleUidRange,
};
use steadfast_core::config::Place;
use steadfast_core::config::statement::Word;
use steadfast_core::types::Family;

use super::Remarks;
use super::names::{Named, Names};
use super::route::address_family;
use super::words::{Line, OneFamily, PREFIX, Prefix, Wrong, number, prefix, range};

/// What a line is, as a sentence names it.
const RULE: &str = "rule";

/// The first priority that is given to a rule without one; the next has one less.
const FIRST_PRIORITY: u32 = 16_384;

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRule {
    /// What a sentence calls it: where it stands, and its priority.
    pub label: Arc<str>,
    /// All of it.
    pub message: RuleMessage,
    /// `iif`, which a `track_group` follows.
    pub input: Option<String>,
    /// `no_track`: not put back if somebody else removes it.
    pub no_track: bool,
}

/// The priorities of rules that have none, as keepalived gives them: in the order of the file, each family its own.
#[derive(Debug)]
pub(super) struct Priorities {
    v4: u32,
    v6: u32,
}

impl Default for Priorities {
    fn default() -> Self {
        Self { v4: FIRST_PRIORITY, v6: FIRST_PRIORITY }
    }
}

impl Priorities {
    fn next(&mut self, family: Family) -> u32 {
        let next = if family == Family::V4 { &mut self.v4 } else { &mut self.v6 };
        let given = *next;
        *next = next.saturating_sub(1);
        given
    }
}

/// A line as far as it has been read.
#[derive(Default)]
struct Draft<'a> {
    family: OneFamily,
    header: RuleHeader,
    from: Option<Prefix>,
    to: Option<Prefix>,
    attributes: Vec<RuleAttribute>,
    priority: Option<u32>,
    target: Option<(Place, u32)>,
    input: Option<String>,
    protocol: Option<(Place, u8)>,
    /// An option that only a rule with a table has.
    of_table: Option<Word<'a>>,
    no_track: bool,
    group: Option<Word<'a>>,
}

/// Reads a line; with the `track_group` of a static one.
pub(super) fn read<'a>(
    line: &mut Line<'a>,
    is_static: bool,
    names: &Names,
    priorities: &mut Priorities,
    remarks: &mut Remarks,
) -> Result<(PlannedRule, Option<Word<'a>>), Wrong> {
    let Some(first) = line.peek() else { return Err(Wrong::new(Place::START, "an empty line")) };
    let mut draft = Draft::default();
    while let Some(word) = line.next() {
        match word.text {
            "inet" => draft.family.be(word.place, Family::V4)?,
            "inet6" => draft.family.be(word.place, Family::V6)?,
            "from" => draft.from = Some(draft.prefix(line, word)?),
            "to" => draft.to = Some(draft.prefix(line, word)?),
            "not" => draft.header.flags |= RuleFlags::Invert,
            "table" | "lookup" => {
                let table = |text| names.find(Named::Table, text).filter(|table| *table != 0);
                let table = line.value(word, "a routing table", table)?;
                draft.action(word, RuleAction::ToTable)?;
                draft.header.table = u8::try_from(table).unwrap_or_default();
                draft.attributes.push(RuleAttribute::Table(table));
            }
            "l3mdev" => {
                draft.action(word, RuleAction::ToTable)?;
                draft.attributes.push(RuleAttribute::L3MDev(true));
            }
            "preference" | "priority" | "order" | "pref" => draft.priority = Some(line.number(word, u32::MAX)?),
            "tos" | "dsfield" => {
                let field = |text| names.find(Named::Field, text).and_then(|number| u8::try_from(number).ok());
                draft.header.tos = line.value(word, "a value of the DS field", field)?;
            }
            "fwmark" => {
                let (mark, mask) = line.value(word, "a number, or two: MARK/MASK", mark)?;
                draft.attributes.push(RuleAttribute::FwMark(mark));
                draft.attributes.extend(mask.map(RuleAttribute::FwMask));
            }
            "realms" => {
                let (source, destination) = line.value(word, "a realm, or two: FROM/TO", |text| names.realms(text))?;
                draft.family.be(word.place, Family::V4).map_err(|_| Wrong::new(word.place, "`realms` are IPv4's"))?;
                draft.attributes.push(RuleAttribute::Realm(RouteRealm { source, destination }));
                draft.of_table = Some(word);
            }
            "suppress_prefixlength" | "sup_pl" => {
                draft.attributes.push(RuleAttribute::SuppressPrefixLen(line.number(word, 128)?));
                draft.of_table = Some(word);
            }
            "suppress_ifgroup" | "sup_group" => {
                let group = line.value(word, "a group of interfaces", |text| names.find(Named::Group, text))?;
                draft.attributes.push(RuleAttribute::SuppressIfGroup(group));
                draft.of_table = Some(word);
            }
            "iif" | "dev" => draft.input = Some(line.device(word)?),
            "oif" => draft.attributes.push(RuleAttribute::Oifname(line.device(word)?)),
            "tunnel-id" => {
                let id = line.value(word, "a number", |text| text.parse().ok())?;
                draft.attributes.push(RuleAttribute::TunId(id));
            }
            "uidrange" => {
                let (start, end) = line.value(word, "two numbers: FIRST-LAST", |text| range(text, u32::MAX))?;
                draft.attributes.push(RuleAttribute::UidRange(RuleUidRange { start, end }));
            }
            "protocol" => {
                let protocol = |text| names.find(Named::Protocol, text).and_then(|number| u8::try_from(number).ok());
                draft.protocol = Some((word.place, line.value(word, "a routing protocol", protocol)?));
            }
            "ipproto" | "ip_proto" => {
                let protocol = line.value(word, "a protocol's name or number", ip_protocol)?;
                draft.attributes.push(RuleAttribute::IpProtocol(protocol.into()));
            }
            "sport" => draft.attributes.push(RuleAttribute::SourcePortRange(ports(line, word)?)),
            "dport" => draft.attributes.push(RuleAttribute::DestinationPortRange(ports(line, word)?)),
            "no_track" => draft.no_track = true,
            "track_group" if is_static => {
                let group = line.peek();
                line.value(word, "the name of a track_group", Some)?;
                draft.group = group;
            }
            "type" => {
                let action = line.value(word, "blackhole, unreachable or prohibit", verdict)?;
                draft.action(word, action)?;
            }
            "goto" => {
                draft.action(word, RuleAction::Goto)?;
                draft.target = Some((word.place, line.number(word, u32::MAX)?));
            }
            "nop" => draft.action(word, RuleAction::Nop)?,
            text => match verdict(text) {
                Some(action) => draft.action(word, action)?,
                None => return Err(Wrong::unknown(word, RULE)),
            },
        }
    }
    draft.finish(first, priorities, remarks)
}

impl<'a> Draft<'a> {
    fn prefix(&mut self, line: &mut Line<'a>, option: Word<'a>) -> Result<Prefix, Wrong> {
        let place = line.peek().map_or(option.place, |word| word.place);
        let read = line.value(option, PREFIX, prefix)?;
        if let Some(address) = read.address {
            self.family.be(place, Family::of(&address))?;
        }
        Ok(read)
    }

    fn action(&mut self, word: Word<'a>, action: RuleAction) -> Result<(), Wrong> {
        match std::mem::replace(&mut self.header.action, action) {
            RuleAction::Unspec => Ok(()),
            _ => Err(Wrong::new(
                word.place,
                "a rule has one of table, l3mdev, goto, nop, blackhole, unreachable, prohibit",
            )),
        }
    }

    /// The rule that all of it makes.
    fn finish(
        mut self,
        first: Word<'a>,
        priorities: &mut Priorities,
        remarks: &mut Remarks,
    ) -> Result<(PlannedRule, Option<Word<'a>>), Wrong> {
        match (self.header.action, self.of_table) {
            (RuleAction::Unspec, _) => return Err(Wrong::new(first.place, "a rule wants a table, or another action")),
            (action, Some(word)) if action != RuleAction::ToTable => {
                return Err(Wrong::new(word.place, format_args!("`{}` is of rules with a table", word.text)));
            }
            _ => {}
        }
        if let Some((place, target)) = self.target {
            if self.priority.is_none_or(|priority| priority >= target) {
                return Err(Wrong::new(place, "`goto` wants a `preference` that is less than where it goes"));
            }
            self.attributes.push(RuleAttribute::Goto(target));
        }
        let family = self.family.0.unwrap_or(Family::V4);
        let priority = self.priority.unwrap_or_else(|| {
            let given = priorities.next(family);
            let text = format!("a rule wants a `preference`: this one gets {given}, as keepalived gives it");
            remarks.warning(first.place, &text);
            given
        });
        let mut message = RuleMessage::default();
        message.header = self.header;
        message.header.family = address_family(family);
        let length = |prefix: Option<Prefix>| prefix.map_or(0, |prefix| prefix.length);
        let address = |prefix: Option<Prefix>| -> Option<IpAddr> {
            prefix.filter(|prefix| prefix.length > 0).and_then(|prefix| prefix.address)
        };
        message.header.src_len = length(self.from);
        message.header.dst_len = length(self.to);
        message.attributes.extend(address(self.from).map(RuleAttribute::Source));
        message.attributes.extend(address(self.to).map(RuleAttribute::Destination));
        message.attributes.push(RuleAttribute::Priority(priority));
        message.attributes.append(&mut self.attributes);
        message.attributes.extend(self.input.clone().map(RuleAttribute::Iifname));
        let ours = u8::from(RouteProtocol::KeepAlived);
        if let Some((place, _)) = self.protocol.filter(|(_, protocol)| *protocol != ours && !self.no_track) {
            remarks.warning(place, "`protocol` has no effect without `no_track`: it is keepalived's");
        }
        let protocol = if self.no_track { self.protocol.map(|(_, protocol)| protocol) } else { Some(ours) };
        message.attributes.extend(protocol.map(|protocol| RuleAttribute::Protocol(protocol.into())));
        let rule = PlannedRule {
            label: remarks.label(RULE, &priority.to_string()),
            message,
            input: self.input,
            no_track: self.no_track,
        };
        Ok((rule, self.group))
    }
}

/// What a rule does with a packet, other than looking it up.
fn verdict(text: &str) -> Option<RuleAction> {
    Some(match text {
        "blackhole" => RuleAction::Blackhole,
        "unreachable" => RuleAction::Unreachable,
        "prohibit" => RuleAction::Prohibit,
        _ => return None,
    })
}

/// `MARK[/MASK]`
fn mark(text: &str) -> Option<(u32, Option<u32>)> {
    match text.split_once('/') {
        Some((mark, mask)) => Some((number(mark, u32::MAX)?, Some(number(mask, u32::MAX)?))),
        None => Some((number(text, u32::MAX)?, None)),
    }
}

fn ports<'a>(line: &mut Line<'a>, word: Word<'a>) -> Result<RulePortRange, Wrong> {
    let (start, end) = line.value(word, "a port, or two: FIRST-LAST", |text| range(text, 65_535))?;
    // They fit.
    let port = |number: u32| u16::try_from(number).unwrap_or_default();
    Ok(RulePortRange { start: port(start), end: port(end) })
}

/// The protocols over IP that people name.
fn ip_protocol(text: &str) -> Option<u8> {
    Some(match text.to_ascii_lowercase().as_str() {
        "icmp" => 1,
        "igmp" => 2,
        "tcp" => 6,
        "udp" => 17,
        "dccp" => 33,
        "gre" => 47,
        "esp" => 50,
        "ah" => 51,
        "ipv6-icmp" | "icmpv6" => 58,
        "ospf" => 89,
        "pim" => 103,
        "vrrp" => 112,
        "sctp" => 132,
        "udplite" => 136,
        other => number(other, 255).and_then(|number| u8::try_from(number).ok())?,
    })
}
