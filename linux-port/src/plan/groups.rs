//! The sync groups of a plan: which instances are members of which. A group of which a member is left out is left
//! out whole, with all its members: half a firewall must not move.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use steadfast_core::config::{Config, Diagnostic, Message, Place, Severity, SyncGroup};

use super::{PlannedGroup, PlannedRouter};
use crate::check::Findings;

/// Reads the sync groups of a file with these names of instances, and takes the members of those that are left
/// out off `routers`.
pub(super) fn read<'a>(
    config: &Config<'a>,
    names: &HashMap<&'a str, Place>,
    routers: &mut Vec<Arc<PlannedRouter>>,
    findings: &mut Findings,
) -> Vec<PlannedGroup> {
    let running: HashMap<String, Arc<PlannedRouter>> =
        routers.iter().map(|router| (router.name.clone(), Arc::clone(router))).collect();
    let mut reader = Reader { names, running: &running, group_of: HashMap::new(), left_out: HashSet::new(), findings };
    let mut seen = HashSet::new();
    let mut planned = Vec::new();
    let mut groups = config.sync_groups();
    while let Some(group) = groups.next(&mut |diagnostic| reader.findings.add(diagnostic)) {
        planned.extend(reader.group(&group, seen.insert(group.name)));
    }
    let left_out = reader.left_out;
    if !left_out.is_empty() {
        routers.retain(|router| !left_out.contains(&*router.name));
    }
    planned
}

struct Reader<'r, 'a> {
    /// The instances of the file, also those with errors.
    names: &'r HashMap<&'a str, Place>,
    /// Those without.
    running: &'r HashMap<String, Arc<PlannedRouter>>,
    /// The group of each instance, by its place: two may have one name.
    group_of: HashMap<&'a str, (&'a str, Place)>,
    left_out: HashSet<&'a str>,
    findings: &'r mut Findings,
}

impl<'a> Reader<'_, 'a> {
    fn say(&mut self, place: Place, severity: Severity, message: Message<'_>) {
        self.findings.add(Diagnostic { place, severity, message });
    }

    /// What is to be run of a group.
    fn group(&mut self, group: &SyncGroup<'a>, is_new: bool) -> Option<PlannedGroup> {
        let mut whole = !group.has_errors;
        if !is_new && whole {
            self.say(group.place, Severity::Error, Message::DuplicateName { name: group.name });
            whole = false;
        }
        let mut members: Vec<&'a str> = Vec::new();
        for word in group.members() {
            let name = word.text;
            if !self.names.contains_key(name) {
                self.say(word.place, Severity::Warning, Message::NoSuchMember { name });
                continue;
            }
            match self.group_of.entry(name) {
                Entry::Occupied(other) if other.get().1 == group.place => {
                    self.say(word.place, Severity::Warning, Message::DuplicateAddress { value: name });
                    continue;
                }
                Entry::Occupied(other) => {
                    let (group, _) = *other.get();
                    self.say(word.place, Severity::Warning, Message::InOtherGroup { name, group });
                    continue;
                }
                Entry::Vacant(free) => _ = free.insert((group.name, group.place)),
            }
            if !self.running.contains_key(name) && whole {
                self.say(word.place, Severity::Error, Message::MemberLeftOut { name });
                whole = false;
            }
            members.push(name);
        }
        if !whole {
            self.left_out.extend(members);
            return None;
        }
        self.judge(group.place, &members);
        let members: Vec<_> = members.into_iter().map(str::to_owned).collect();
        (!members.is_empty()).then(|| PlannedGroup { name: group.name.to_owned(), members, notified: None })
    }

    /// Says what makes little sense.
    fn judge(&mut self, place: Place, members: &[&'a str]) {
        let text = match members {
            [] => "the sync group has no members; it has no effect",
            [_] => "the sync group has one member only: nothing moves with it",
            [first, rest @ ..] => {
                let priority = |name: &str| self.running.get(name).map(|router| router.settings.priority);
                if rest.iter().all(|other| priority(other) == priority(first)) {
                    return;
                }
                "the members of a sync group should have one priority: with others, two nodes can each have more right"
            }
        };
        self.say(place, Severity::Warning, Message::Text(text));
    }
}
