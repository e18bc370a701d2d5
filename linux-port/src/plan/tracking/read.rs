//! Which trackers bear on which virtual routers: definitions and uses of a file brought together, with keepalived's rules
//! for sync groups (all trackers of a group bear on each member; weights of members' own do not count) and for the owner
//! of the addresses (whose priority never changes).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use steadfast_core::config::Place;
use steadfast_core::config::diagnostic::Short;
use steadfast_core::config::statement::Statement;

use crate::check::Findings;
use crate::grammar::reader::Reader;
use crate::grammar::script::Scripts;
use crate::lvs::plan::TlsIdentity;
use crate::plan::room::Room;
use crate::plan::routing::Routings;
use crate::plan::{PlannedGroup, PlannedRouter};

use super::definitions::{self, Definition};
use super::uses::{Use, Uses};
use super::{Bearing, Kind, SourceSubject, Subject, Tracker, TrackerName, TrackingPlan};

/// Reads what the statements of a file say of the trackers of these virtual routers.
pub(crate) fn read(
    statements: &[Statement<'_>],
    scripts: &Scripts,
    routers: &[Arc<PlannedRouter>],
    groups: &[PlannedGroup],
    routings: &Routings<'_>,
    findings: &mut Findings,
) -> TrackingPlan {
    let mut file = File { reader: Reader::new(findings), definitions: HashMap::new(), order: Vec::new() };
    // What is defined anywhere may be used anywhere.
    for statement in statements {
        file.define(statement, scripts);
    }
    // Of one name there is one instance, the first; likewise groups.
    let (mut instances, mut sync_groups) = (HashMap::new(), HashMap::new());
    for statement in statements {
        let uses = match statement.keyword.text {
            "vrrp_instance" => &mut instances,
            "vrrp_sync_group" => &mut sync_groups,
            _ => continue,
        };
        if let Some(name) = statement.words.clone().next() {
            uses.entry(name.text).or_insert_with(|| Uses::read(statement, &mut file.reader));
        }
    }
    for used in instances.values().chain(sync_groups.values()).flat_map(|uses| &uses.list) {
        if let Some(definition) = file.definitions.get_mut(&(used.kind, used.name.to_owned())) {
            definition.used = true;
        }
    }
    let members: HashMap<&str, &PlannedRouter> = routers.iter().map(|router| (&*router.name, &**router)).collect();
    let mut shared: HashMap<&str, Rc<Shared>> = HashMap::new();
    for group in groups {
        let Some(uses) = sync_groups.get(&*group.name) else { continue };
        let members = || group.members.iter().filter_map(|name| members.get(&**name));
        let owned = members().any(|router| router.settings.priority.is_owner());
        let of_group = Rc::new(file.of_group(uses, owned));
        for member in members() {
            shared.insert(&member.name, Rc::clone(&of_group));
        }
    }
    let mut bearings = HashMap::new();
    let mut needed: BTreeMap<TrackerName, Subject> = BTreeMap::new();
    let mut room = Room::new("trackers of instances, those of a sync group counted for each member");
    for router in routers {
        let uses = instances.get(&*router.name);
        let group = shared.get(&*router.name).map(|group| &**group);
        let own = uses.map(|uses| file.of_instance(uses, router, group)).unwrap_or_default();
        let asked = asked_for(router, &mut needed);
        let groups = group.map_or(&[][..], |group| group.bearings.as_slice());
        // Before there are as many.
        let place = uses.map_or(Place::START, |uses| uses.place);
        if !room.take_all(groups.len() + own.len() + asked.len(), place) {
            break;
        }
        let mut all: Vec<Bearing> = groups.iter().cloned().chain(own).chain(asked).collect();
        // Without the interface that a route leads to, the router is not what it should be.
        let mut followed = routings.followed(&router.name).filter(|device| *device != router.interface).peekable();
        if followed.peek().is_some() {
            let mut seen: HashSet<TrackerName> = all.iter().map(|bearing| bearing.tracker.clone()).collect();
            for device in followed {
                let tracker = TrackerName { kind: Kind::Interface, name: device.into() };
                if seen.insert(tracker.clone()) && room.take(place) {
                    all.push(Bearing { tracker, weight: 0, reverse: false, of_group: false });
                }
            }
        }
        if !all.is_empty() {
            bearings.insert(router.name.clone(), all);
        }
    }
    room.judge(&mut file.reader);
    let mut trackers = file.trackers(&bearings);
    trackers.extend(needed.into_iter().map(|(name, subject)| Arc::new(Tracker { name, subject })));
    TrackingPlan { trackers, bearings, tls: TlsIdentity::default() }
}

/// The trackers that an instance has by its options.
fn asked_for(router: &PlannedRouter, needed: &mut BTreeMap<TrackerName, Subject>) -> Vec<Bearing> {
    let mut asked = Vec::new();
    if let Some(address) = router.options.source {
        let interface = router.interface.clone();
        let name = format!("{address} on {interface}").into();
        asked.push((TrackerName { kind: Kind::Source, name }, Subject::Source(SourceSubject { address, interface })));
    }
    if router.options.has_no_peer {
        asked.push((TrackerName { kind: Kind::Peers, name: "unicast_peer".into() }, Subject::Peers));
    }
    let mut bearing = |(tracker, subject): (TrackerName, Subject)| {
        needed.insert(tracker.clone(), subject);
        Bearing { tracker, weight: 0, reverse: false, of_group: false }
    };
    asked.into_iter().map(&mut bearing).collect()
}

/// What a sync group's trackers are to its members.
struct Shared {
    bearings: Vec<Bearing>,
    names: HashSet<TrackerName>,
    /// The weights of members' own trackers count.
    weighs_members: bool,
}

struct File<'r> {
    reader: Reader<'r>,
    definitions: HashMap<(Kind, String), Definition>,
    /// Their names in the order of the file.
    order: Vec<(Kind, String)>,
}

/// Why a weight does not count.
#[derive(Clone, Copy)]
enum NoWeight {
    SyncGroup,
    Owner,
}

impl NoWeight {
    const fn because(self) -> &'static str {
        match self {
            Self::SyncGroup => {
                "in a sync group without `sync_group_tracking_weight` weights have no effect: give weight 0, or track \
                 it in the vrrp_sync_group"
            }
            Self::Owner => "the priority of the owner (255) never changes: give weight 0",
        }
    }
}

impl File<'_> {
    fn define(&mut self, statement: &Statement<'_>, scripts: &Scripts) {
        let Some(kind) = definitions::defines(statement.keyword.text) else { return };
        let Some((name, definition)) = definitions::read(kind, statement, scripts, &mut self.reader) else { return };
        let key = (kind, name);
        if let Some(first) = self.definitions.get(&key) {
            let at = self.reader.name_of(first.place);
            let name = Short(&key.1);
            let text = format_args!("there is a {kind} `{name}` at {at} already: this one is left out");
            return self.reader.warning(definition.place, text);
        }
        self.order.push(key.clone());
        self.definitions.insert(key, definition);
    }

    /// The trackers of a group, for each of its members.
    fn of_group(&mut self, uses: &Uses<'_>, owned: bool) -> Shared {
        let mut seen = HashSet::new();
        let mut bearings = Vec::new();
        for used in &uses.list {
            let Some((mut bearing, _)) = self.bearing(used, &mut seen) else { continue };
            if owned && bearing.weight != 0 {
                let name = Short(used.name);
                let text = format_args!("a member owns its addresses (priority 255): `{name}` has weight 0");
                self.reader.warning(used.place, text);
                bearing.weight = 0;
            }
            bearings.push(Bearing { of_group: true, ..bearing });
        }
        Shared { bearings, names: seen, weighs_members: uses.weighs_members }
    }

    /// The trackers of an instance's own.
    fn of_instance(&mut self, uses: &Uses<'_>, router: &PlannedRouter, group: Option<&Shared>) -> Vec<Bearing> {
        let no_weight = match group {
            _ if router.settings.priority.is_owner() => Some(NoWeight::Owner),
            Some(Shared { weighs_members: false, .. }) => Some(NoWeight::SyncGroup),
            _ => None,
        };
        let mut seen = HashSet::new();
        let mut bearings = Vec::new();
        for used in &uses.list {
            if used.kind == Kind::Interface && used.name == router.interface && router.settings.track_link {
                let name = Short(used.name);
                self.reader.notice(used.place, format_args!("`{name}`: an instance follows its own interface anyway"));
                continue;
            }
            let Some((mut bearing, by_default)) = self.bearing(used, &mut seen) else { continue };
            if let Some(no_weight) = no_weight.filter(|_| bearing.weight != 0) {
                self.no_effect(used.place, used.name, no_weight.because());
                if used.kind != Kind::File || !by_default {
                    continue;
                }
                // Where its default of 1 is all that there is, the file still takes the instance out.
                bearing.weight = 0;
            }
            if group.is_some_and(|group| group.names.contains(&bearing.tracker)) {
                self.no_effect(used.place, used.name, "its sync group tracks it too");
                continue;
            }
            bearings.push(bearing);
        }
        bearings
    }

    fn no_effect(&mut self, place: Place, name: &str, because: &str) {
        self.reader.warning(place, format_args!("`{}` is not tracked as it stands here: {because}", Short(name)));
    }

    /// What a use comes to, and whether its weight is the definition's; `None` if it is left out.
    fn bearing(&mut self, used: &Use<'_>, seen: &mut HashSet<TrackerName>) -> Option<(Bearing, bool)> {
        let Use { place, kind, name, weight, reverse } = *used;
        let tracker = TrackerName { kind, name: name.into() };
        let (default, reversed) = if kind == Kind::Interface {
            (0, false)
        } else {
            let Some(definition) = self.definitions.get_mut(&(kind, name.to_owned())) else {
                let what = match kind {
                    Kind::File => "track_file",
                    Kind::Process => "vrrp_track_process",
                    Kind::Probe => "vrrp_probe",
                    _ => "vrrp_script",
                };
                let name = Short(name);
                self.reader.warning(place, format_args!("there is no {what} `{name}`: it is not tracked"));
                return None;
            };
            // That it is left out has been said.
            definition.subject.as_ref()?;
            (definition.weight, definition.reverse)
        };
        if !seen.insert(tracker.clone()) {
            self.reader.warning(place, format_args!("`{}` is tracked already: this one is left out", Short(name)));
            return None;
        }
        let (weight_here, reverse) = (weight.unwrap_or(default), reverse.unwrap_or(reversed));
        let bearing = Bearing { tracker, weight: weight_here, reverse, of_group: false };
        Some((bearing, weight.is_none()))
    }

    /// What is to be looked at for these.
    fn trackers(mut self, bearings: &HashMap<String, Vec<Bearing>>) -> Vec<Arc<Tracker>> {
        let mut wanted: HashSet<&TrackerName> = bearings.values().flatten().map(|bearing| &bearing.tracker).collect();
        let mut trackers = Vec::new();
        for key in &self.order {
            let Some(definition) = self.definitions.get_mut(key) else { continue };
            let (kind, name) = key;
            if !definition.used && *kind != Kind::File {
                let text = format_args!("nothing tracks the {kind} `{}`: it is not looked at", Short(name));
                self.reader.warning(definition.place, text);
            }
            let name = TrackerName { kind: *kind, name: name.as_str().into() };
            if wanted.remove(&name)
                && let Some(subject) = definition.subject.take()
            {
                trackers.push(Arc::new(Tracker { name, subject }));
            }
        }
        // What needs no definition.
        let mut interfaces: Vec<_> = wanted.into_iter().filter(|name| name.kind == Kind::Interface).collect();
        interfaces.sort();
        trackers.extend(
            interfaces.into_iter().map(|name| Arc::new(Tracker { name: name.clone(), subject: Subject::Interface })),
        );
        trackers
    }
}
