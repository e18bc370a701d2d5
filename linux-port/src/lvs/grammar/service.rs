//! `virtual_server`: what its block says, and the rules between its keywords. What a user of keepalived is used to
//! holds here too: UDP without `protocol`, persistence without a port, one port with DR and TUN, a quorum that can be
//! reached, each real server once; and each of these is said.

mod rules;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write;
use std::sync::Arc;

use steadfast_core::config::diagnostic::{Short, Used};
use steadfast_core::config::keywords::Vocabulary;
use steadfast_core::config::statement::Statement;
use steadfast_core::config::{Message, Place, value};
use steadfast_core::types::Family;

use crate::grammar::reader::Reader;
use crate::grammar::script::Scripts;
use crate::ipvs::row::{Forwarding, Protocol, SchedulerFlags, ServiceKey};
use crate::process::Script;

use super::super::plan::VirtualServer;
use super::common::Common;
use super::group::{self, MARK};
use super::server::{self, Endpoint, ServerDraft};
use super::{Definitions, forwarding};

/// The most services of the kernel's table that a file may stand for.
const MOST_SERVICES: usize = 100_000;

/// The most real servers that they may have together.
const MOST_DESTINATIONS: usize = 1_000_000;

/// The scheduler without `lvs_sched`.
const SCHEDULER: &str = "wlc";

/// Linux has these.
const SCHEDULERS: [&str; 14] =
    ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "mh", "dh", "fo", "ovf", "sed", "nq", "twos"];

/// The virtual servers of a file, and what they may not share.
pub(super) struct Services<'d> {
    definitions: &'d Definitions,
    scripts: &'d Scripts,
    /// Whether there is `lvs_sync_daemon`.
    has_sync_daemon: bool,
    services: Vec<Arc<VirtualServer>>,
    /// All that were read, also those that are left out: nothing shall move because of an error.
    seen: Vec<&'d Statement<'d>>,
    /// Whose a service of the table is, by number.
    taken: BTreeMap<ServiceKey, usize>,
    /// How many entries of groups were looked at, each use counted.
    entries: usize,
    /// How many real servers there are, each counted for each service of the table.
    destinations: usize,
}

impl<'d> Services<'d> {
    pub(super) fn new(definitions: &'d Definitions, scripts: &'d Scripts, has_sync_daemon: bool) -> Self {
        let (services, seen, taken) = Default::default();
        Self { definitions, scripts, has_sync_daemon, services, seen, taken, entries: 0, destinations: 0 }
    }

    pub(super) fn finish(self) -> Vec<Arc<VirtualServer>> {
        self.services
    }

    /// Reads a `virtual_server`.
    pub(super) fn read(&mut self, statement: &'d Statement<'d>, reader: &mut Reader<'_>) {
        reader.begin();
        self.seen.push(statement);
        let Some(target) = Target::read(statement, reader) else { return };
        let mut draft = Draft::default();
        let has_block = reader.block(statement, Vocabulary::VirtualServer, |keyword, entry, reader| {
            draft.keyword(keyword, entry, self.definitions, self.scripts, reader);
        });
        if !has_block {
            return;
        }
        let service = draft.finish(statement, &target, self, reader);
        if !reader.has_errors() {
            self.services.extend(service.map(Arc::new));
        }
    }

    /// Takes a service of the table for the virtual server that is being read; an error if another has it.
    fn take(&mut self, key: ServiceKey, place: Place, reader: &mut Reader<'_>) -> Taken {
        let own = self.seen.len().saturating_sub(1);
        let is_full = self.taken.len() >= MOST_SERVICES;
        let owner = match self.taken.entry(key) {
            Entry::Vacant(_) if is_full => {
                reader.error(place, format_args!("the file stands for more than {MOST_SERVICES} services"));
                return Taken::Refused;
            }
            Entry::Vacant(free) => {
                free.insert(own);
                return Taken::New;
            }
            Entry::Occupied(taken) => *taken.get(),
        };
        if owner != own
            && let Some(other) = self.seen.get(owner)
        {
            let (name, at) = (name(other), reader.name_of(other.keyword.place));
            reader
                .error(place, format_args!("`virtual_server {name}` at {at} has {key} already; this one is left out"));
            return Taken::Refused;
        }
        Taken::Already
    }
}

/// What has come of taking a service of the table.
enum Taken {
    New,
    /// The same virtual server has it.
    Already,
    Refused,
}

/// The name of a virtual server: what stands after the keyword.
fn name(statement: &Statement<'_>) -> String {
    let mut name = String::new();
    for word in statement.words.take(3) {
        let blank = if name.is_empty() { "" } else { " " };
        // Writing to a String cannot fail.
        let _ = write!(name, "{blank}{}", Short(word.text));
    }
    name
}

/// What stands after `virtual_server`.
enum Target<'d> {
    Address(Endpoint),
    Mark(Place, u32),
    Group(Place, &'d str),
}

impl<'d> Target<'d> {
    fn read(statement: &Statement<'d>, reader: &mut Reader<'_>) -> Option<Self> {
        let keyword = "virtual_server";
        let mut words = statement.words;
        let kind = words.next().map(|word| word.text);
        if !matches!(kind, Some("fwmark" | "group")) {
            if kind.is_none() {
                let expected = "an address and a port, `fwmark` and a mark, or `group` and a name";
                reader.error(statement.keyword.place, Message::MissingValue { keyword, expected });
                return None;
            }
            return Endpoint::read(statement, reader).map(Self::Address);
        }
        let (expected, is_mark) =
            if kind == Some("fwmark") { (MARK, true) } else { ("the name of a virtual_server_group", false) };
        let Some(word) = words.next() else {
            reader.error(statement.keyword.place, Message::MissingValue { keyword, expected });
            return None;
        };
        reader.no_more(statement, words);
        if !is_mark {
            return Some(Self::Group(word.place, word.text));
        }
        let Some(mark) = value::number(word.text, 1..=u32::MAX) else {
            reader.error(word.place, Message::WrongValue { keyword, value: word.text, expected });
            return None;
        };
        Some(Self::Mark(word.place, mark))
    }
}

/// What the keywords of a virtual server say, each as far as it was given; with a place where a rule between keywords
/// may have to speak about it.
#[derive(Default)]
struct Draft {
    common: Common,
    family: Option<Family>,
    scheduler: Option<&'static str>,
    /// The keywords of the scheduler's flags.
    flags: Vec<(Place, &'static str)>,
    forwarding: Option<Forwarding>,
    protocol: Option<(Place, Protocol)>,
    engine: Option<(Place, Arc<str>)>,
    timeout: Option<u32>,
    granularity: Option<(Place, Granularity)>,
    ha_suspend: Option<Place>,
    omega: bool,
    mail: Option<bool>,
    weight: Option<u32>,
    quorum: Option<(Place, u32)>,
    hysteresis: Option<(Place, u32)>,
    quorum_up: Option<Arc<Script>>,
    quorum_down: Option<Arc<Script>>,
    inhibit_on_failure: bool,
    upper_threshold: u32,
    lower_threshold: u32,
    sorry: Option<Endpoint>,
    sorry_inhibit: Option<Place>,
    sorry_forwarding: Option<(Place, Forwarding)>,
    servers: Vec<ServerDraft>,
}

/// How many leading bits of a client's address count.
#[derive(Clone, Copy)]
struct Granularity {
    family: Family,
    bits: u8,
}

impl Draft {
    fn keyword(
        &mut self,
        keyword: &'static str,
        statement: &Statement<'_>,
        definitions: &Definitions,
        scripts: &Scripts,
        reader: &mut Reader<'_>,
    ) {
        // Of these there are the most.
        if keyword == "real_server" {
            return self.servers.extend(ServerDraft::read(statement, definitions, scripts, reader));
        }
        if self.common.read(keyword, statement, reader) {
            return;
        }
        let place = statement.keyword.place;
        match keyword {
            "ip_family" => {
                let used = Used::Nothing;
                self.family = reader.defaulted(statement, "inet or inet6", used, group::family).or(self.family);
            }
            "lb_algo" | "lvs_sched" => {
                let parse = |text| SCHEDULERS.into_iter().find(|&scheduler| scheduler == text);
                self.scheduler = reader.defaulted(statement, "a scheduler of Linux", Used::Word(SCHEDULER), parse);
            }
            "flag-1" | "flag-2" | "flag-3" | "sh-port" | "sh-fallback" | "mh-port" | "mh-fallback" | "ops" => {
                if reader.flag(statement) && !self.flags.iter().any(|&(_, known)| known == keyword) {
                    self.flags.push((place, keyword));
                }
            }
            "lb_kind" | "lvs_method" => self.forwarding = forwarding::read(statement, reader).or(self.forwarding),
            "protocol" => {
                let read = reader.defaulted(statement, "TCP, UDP or SCTP", Used::Word("UDP"), protocol);
                self.protocol = Some((place, read.unwrap_or(Protocol::Udp)));
            }
            "persistence_engine" => {
                // As the kernel holds it.
                let parse = |text: &str| (1..=15).contains(&text.len()).then(|| Arc::from(text));
                self.engine = reader.required(statement, "a name, such as sip", parse).map(|name| (place, name));
            }
            "persistence_timeout" => {
                self.timeout = Some(if statement.words.clone().next().is_none() {
                    rules::PERSISTENCE
                } else {
                    let read = reader.number(statement, "seconds from 1 to 2678400", 1..=2_678_400);
                    let Some(seconds) = read.or(self.timeout) else { return };
                    seconds
                });
            }
            "persistence_granularity" => {
                let expected = "a netmask such as 255.255.255.0, or for IPv6 a number from 1 to 128";
                let read = reader.defaulted(statement, expected, Used::Nothing, granularity);
                self.granularity = read.map(|read| (place, read)).or(self.granularity);
            }
            "ha_suspend" if reader.flag(statement) => self.ha_suspend = Some(place),
            "omega" => self.omega = reader.switch(statement).unwrap_or(self.omega),
            "smtp_alert" => self.mail = reader.switch(statement).or(self.mail),
            "weight" => self.weight = server::weight(statement, reader).or(self.weight),
            "quorum" => {
                let read = reader.number(statement, "a number from 1 to 2147483647", 1..=i32::MAX as u32);
                self.quorum = read.map(|quorum| (place, quorum)).or(self.quorum);
            }
            "hysteresis" => {
                let read = reader.number(statement, "a number from 0 to 2147483647", 0..=i32::MAX as u32);
                self.hysteresis = read.map(|hysteresis| (place, hysteresis)).or(self.hysteresis);
            }
            "quorum_up" => self.quorum_up = scripts.notify(statement, reader),
            "quorum_down" => self.quorum_down = scripts.notify(statement, reader),
            "inhibit_on_failure" => {
                self.inhibit_on_failure = reader.switch(statement).unwrap_or(self.inhibit_on_failure);
            }
            "uthreshold" => {
                self.upper_threshold = server::threshold(statement, reader).unwrap_or(self.upper_threshold);
            }
            "lthreshold" => {
                self.lower_threshold = server::threshold(statement, reader).unwrap_or(self.lower_threshold);
            }
            "sorry_server" => self.sorry = Endpoint::read(statement, reader),
            "sorry_server_inhibit" if reader.flag(statement) => self.sorry_inhibit = Some(place),
            "sorry_server_lvs_method" => {
                self.sorry_forwarding = forwarding::read(statement, reader).map(|read| (place, read));
            }
            // The table says that we act upon it, so there is an arm for it; see the tests.
            _ => reader.warning(place, Message::NotYet { keyword }),
        }
    }
}

fn protocol(text: &str) -> Option<Protocol> {
    match text {
        _ if text.eq_ignore_ascii_case("TCP") => Some(Protocol::Tcp),
        _ if text.eq_ignore_ascii_case("UDP") => Some(Protocol::Udp),
        _ if text.eq_ignore_ascii_case("SCTP") => Some(Protocol::Sctp),
        _ => None,
    }
}

/// A netmask without gaps, or the number of leading bits of an IPv6 address.
fn granularity(text: &str) -> Option<Granularity> {
    if let Ok(mask) = text.parse::<std::net::Ipv4Addr>() {
        let mask = mask.to_bits();
        let bits = mask.leading_ones();
        let solid = bits > 0 && mask.count_ones() == bits;
        return solid.then_some(Granularity { family: Family::V4, bits: u8::try_from(bits).ok()? });
    }
    let bits = value::number(text, 1..=128).and_then(|number| u8::try_from(number).ok())?;
    Some(Granularity { family: Family::V6, bits })
}

/// The flags that the keywords stand for; what does not fit the scheduler or the service has no effect.
fn scheduler_flags(
    given: &[(Place, &'static str)],
    scheduler: &str,
    one_packet_allowed: bool,
    reader: &mut Reader<'_>,
) -> SchedulerFlags {
    let mut flags = SchedulerFlags::default();
    for &(place, keyword) in given {
        match keyword {
            "flag-1" => flags.one = true,
            "flag-2" => flags.two = true,
            "flag-3" => flags.three = true,
            "ops" if one_packet_allowed => flags.one_packet = true,
            "ops" => reader.no_effect(place, keyword, "only UDP and marks have it"),
            _ if keyword.strip_prefix(scheduler).is_none_or(|rest| !rest.starts_with('-')) => {
                reader.no_effect(place, keyword, "the scheduler is another one");
            }
            "sh-fallback" | "mh-fallback" => flags.one = true,
            _ => flags.two = true,
        }
    }
    flags
}
