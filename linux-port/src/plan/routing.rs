//! Routes and rules of a file: `virtual_routes` and `virtual_rules` of its instances, `static_ipaddress`, `static_routes`,
//! `static_rules` and the `track_group`s that follow them. A line that is wrong is said and left out, as keepalived does; an
//! instance runs without it. How they come to the kernel is in the daemon, and what the words of a line mean below.

mod encapsulation;
mod names;
mod route;
mod rule;
mod show;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use steadfast_core::config::Place;
use steadfast_core::config::diagnostic::Short;
use steadfast_core::config::statement::{Statement, Word};

use self::names::Names;
pub use self::route::PlannedRoute;
pub use self::rule::PlannedRule;
use self::rule::Priorities;
use self::words::{Line, Wrong};
use super::PlannedAddress;
use super::room::Room;
use crate::grammar::reader::Reader;

/// The routes and rules that a virtual router has while it is Active, or the machine always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlannedRouting {
    /// In the order of the file.
    pub routes: Vec<PlannedRoute>,
    /// In the order of the file.
    pub rules: Vec<PlannedRule>,
}

impl PlannedRouting {
    fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.rules.is_empty()
    }

    /// Whether a route may lead over this interface: it says so, or does not say where it leads.
    pub fn may_lead_over(&self, name: &str) -> bool {
        self.routes.iter().any(|route| {
            let mut devices = route.devices().peekable();
            devices.peek().is_none() || devices.any(|device| device == name)
        })
    }
}

/// What the machine has as long as the agent runs, whoever is Active.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticPlan {
    /// `static_ipaddress`, with the interface of each.
    pub addresses: Vec<(String, PlannedAddress)>,
    /// `static_routes` and `static_rules`.
    pub routing: PlannedRouting,
}

impl StaticPlan {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.routing.is_empty()
    }

    /// Whether something of it may depend on this interface.
    pub fn may_lead_over(&self, name: &str) -> bool {
        self.addresses.iter().any(|(device, _)| device == name) || self.routing.may_lead_over(name)
    }
}

/// What a file says of routes and rules.
#[derive(Debug, Default)]
pub(super) struct Routings<'a> {
    pub(super) statics: StaticPlan,
    instances: HashMap<&'a str, Arc<PlannedRouting>>,
    promoting: HashSet<&'a str>,
    groups: HashSet<&'a str>,
    /// The `track_group`s that an instance is a member of.
    groups_of: HashMap<&'a str, Vec<&'a str>>,
    /// The interfaces that the members of a `track_group` follow.
    grouped: HashMap<&'a str, Vec<String>>,
}

impl<'a> Routings<'a> {
    /// Reads the statements of a file. What is wrong with the blocks of instances themselves is the core's to say.
    pub(super) fn read(statements: &[Statement<'a>], default_interface: &str, reader: &mut Reader<'_>) -> Self {
        let mut all = Self::default();
        let mut file = File::default();
        for statement in statements {
            match statement.keyword.text {
                "vrrp_instance" => all.instance(statement, &mut file, reader),
                "static_ipaddress" => all.addresses(statement, default_interface, &mut file, reader),
                "static_routes" => file.routes(statement, true, &mut all.statics.routing.routes, reader),
                "static_rules" => file.rules(statement, true, &mut all.statics.routing.rules, reader),
                "track_group" => all.group(statement, reader),
                _ => {}
            }
        }
        for room in [&file.addresses, &file.lines] {
            room.judge(reader);
        }
        let mut seen = HashSet::new();
        for (group, device) in file.grouped {
            if all.groups.contains(group.text) {
                if seen.insert((group.text, device.clone())) {
                    all.grouped.entry(group.text).or_default().push(device);
                }
            } else {
                let name = Short(group.text);
                reader.warning(group.place, format_args!("there is no track_group `{name}`: nothing follows it"));
            }
        }
        all
    }

    /// The routes and rules of an instance.
    pub(super) fn of_instance(&self, name: &str) -> Option<Arc<PlannedRouting>> {
        self.instances.get(name).cloned()
    }

    /// Whether an instance says `promote_secondaries`.
    pub(super) fn promotes(&self, name: &str) -> bool {
        self.promoting.contains(name)
    }

    /// The interfaces that an instance follows for the sake of its routes, or of a `track_group`; some more than once.
    pub(super) fn followed(&self, name: &str) -> impl Iterator<Item = &str> {
        let routes = self.instances.get(name).into_iter().flat_map(|routing| &routing.routes);
        let own = routes.filter(|route| !route.no_track).flat_map(PlannedRoute::devices);
        let groups = self.groups_of.get(name).into_iter().flatten();
        let grouped = groups.filter_map(|group| self.grouped.get(group)).flatten().map(String::as_str);
        own.chain(grouped)
    }

    fn instance(&mut self, statement: &Statement<'a>, file: &mut File<'a>, reader: &mut Reader<'_>) {
        let (Some(name), Some(mut body)) = (statement.words.clone().next(), statement.body) else { return };
        let mut routing = PlannedRouting::default();
        while let Some(entry) = body.next(&mut |_| {}) {
            match entry.keyword.text {
                "virtual_routes" => file.routes(&entry, false, &mut routing.routes, reader),
                "virtual_rules" => file.rules(&entry, false, &mut routing.rules, reader),
                "promote_secondaries" if reader.flag(&entry) => _ = self.promoting.insert(name.text),
                _ => {}
            }
        }
        if !routing.is_empty() {
            // Of a name that is there twice, the first is run.
            self.instances.entry(name.text).or_insert_with(|| Arc::new(routing));
        }
    }

    /// `static_ipaddress`
    fn addresses(
        &mut self,
        statement: &Statement<'a>,
        default_interface: &str,
        file: &mut File<'a>,
        reader: &mut Reader<'_>,
    ) {
        reader.no_more(statement, statement.words);
        reader.entries(statement, "a block of addresses, { to }", |entry, reader| {
            let Some(read) = reader.address(entry) else { return };
            let device = read.device.unwrap_or(default_interface).to_owned();
            let mut words = entry.words.skip_while(|word| word.text != "track_group").skip(1);
            if let Some(group) = words.next() {
                file.grouped.push((group, device.clone()));
            }
            if file.addresses.take(read.place) {
                self.statics.addresses.push((device, PlannedAddress::from(read)));
            }
        });
    }

    /// `track_group NAME { group { INSTANCE … } }`
    fn group(&mut self, statement: &Statement<'a>, reader: &mut Reader<'_>) {
        let Some(name) = statement.words.clone().next() else {
            return reader.warning(statement.keyword.place, "a track_group wants a name: this one is left out");
        };
        let mut members = HashSet::new();
        reader.entries(statement, "a block, { to }", |entry, reader| {
            if entry.keyword.text != "group" {
                let word = Short(entry.keyword.text);
                return reader.warning(entry.keyword.place, format_args!("a track_group has `group`, not `{word}`"));
            }
            reader.entries(entry, "a block of names, { to }", |line, _| {
                members.extend([line.keyword].into_iter().chain(line.words).map(|word| word.text));
            });
        });
        // Of a name that is there twice, the first counts.
        if self.groups.insert(name.text) {
            for member in members {
                self.groups_of.entry(member).or_default().push(name.text);
            }
        }
    }
}

/// What the lines of a whole file share.
#[derive(Debug)]
struct File<'a> {
    names: Names,
    priorities: Priorities,
    grouped: Vec<(Word<'a>, String)>,
    addresses: Room,
    /// For routes and rules.
    lines: Room,
}

impl Default for File<'_> {
    fn default() -> Self {
        let (addresses, lines) = (Room::new("static addresses"), Room::new("routes and rules"));
        Self { names: Names::default(), priorities: Priorities::default(), grouped: Vec::new(), addresses, lines }
    }
}

impl<'a> File<'a> {
    fn routes(
        &mut self,
        statement: &Statement<'a>,
        is_static: bool,
        routes: &mut Vec<PlannedRoute>,
        reader: &mut Reader<'_>,
    ) {
        let mut grouped = Vec::new();
        lines(statement, "a block of routes, { to }", reader, |line, remarks| {
            let (route, group) = route::read(line, is_static, &self.names, remarks)?;
            if let Some(group) = group {
                match &route.device {
                    Some(device) => grouped.push((group, device.clone())),
                    None => remarks.warning(group.place, "a route without `dev` has no interface to be followed"),
                }
            }
            if self.lines.take(line.place()) {
                routes.push(route);
            }
            Ok(())
        });
        self.grouped.append(&mut grouped);
    }

    fn rules(
        &mut self,
        statement: &Statement<'a>,
        is_static: bool,
        rules: &mut Vec<PlannedRule>,
        reader: &mut Reader<'_>,
    ) {
        let Self { names, priorities, grouped, lines: room, .. } = self;
        lines(statement, "a block of rules, { to }", reader, |line, remarks| {
            let (rule, group) = rule::read(line, is_static, names, priorities, remarks)?;
            if let Some(group) = group {
                match &rule.input {
                    Some(device) => grouped.push((group, device.clone())),
                    None => remarks.warning(group.place, "a rule without `iif` has no interface to be followed"),
                }
            }
            if room.take(line.place()) {
                rules.push(rule);
            }
            Ok(())
        });
    }
}

/// Visits the lines of a block; says what is wrong with them.
fn lines<'a>(
    statement: &Statement<'a>,
    expected: &'static str,
    reader: &mut Reader<'_>,
    mut read: impl FnMut(&mut Line<'a>, &mut Remarks) -> Result<(), Wrong>,
) {
    reader.no_more(statement, statement.words);
    reader.entries(statement, expected, |entry, reader| {
        let at = entry.keyword.place;
        let mut remarks = Remarks { at: reader.at(at).into(), list: Vec::new() };
        let result = match entry.body {
            Some(_) => Err(Wrong::new(at, "a block has no meaning here")),
            None => read(&mut Line::of(entry), &mut remarks),
        };
        for Remark { place, text, is_advice } in remarks.list {
            if is_advice { reader.advice(place, text) } else { reader.warning(place, text) }
        }
        if let Err(Wrong { place, text }) = result {
            reader.error(place, text);
        }
    });
}

/// What there is to say about a line that is right.
#[derive(Debug)]
struct Remarks {
    /// Where the line stands, with its file.
    at: Arc<str>,
    list: Vec<Remark>,
}

#[derive(Debug)]
struct Remark {
    place: Place,
    text: String,
    is_advice: bool,
}

impl Remarks {
    /// Something that keepalived complains about too.
    fn warning(&mut self, place: Place, text: &str) {
        self.list.push(Remark { place, text: text.to_owned(), is_advice: false });
    }

    /// Something that keepalived takes without a word.
    fn advice(&mut self, place: Place, text: &str) {
        self.list.push(Remark { place, text: text.to_owned(), is_advice: true });
    }

    /// What a sentence of the log calls the line.
    fn label(&self, what: &str, which: &str) -> Arc<str> {
        format!("{}: {what} {which}", self.at).into()
    }
}
