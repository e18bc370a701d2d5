//! The sync groups of a plan, carried over to the agent. A group is recognised by its name; the agent's place of
//! one that is gone serves the next new one.

use std::collections::{HashMap, HashSet};

use log::error;
use steadfast_core::agent::{GroupId, RouterId};
use steadfast_core::time::Instant;

use super::port::LinuxPort;
use super::{Daemon, Name, snapshot};
use crate::plan::PlannedGroup;
use crate::status::GroupStatus;

/// The sync groups that the agent has.
#[derive(Default)]
pub(super) struct SyncGroups {
    named: HashMap<Name, GroupId>,
    /// Their names, in the order of the file.
    order: Vec<Name>,
    /// Those that are gone: without members, as good as new.
    free: Vec<GroupId>,
}

impl SyncGroups {
    /// Keeps these and no others.
    fn retain(&mut self, planned: &[PlannedGroup]) {
        let names: HashSet<&str> = planned.iter().map(|planned| planned.name.as_str()).collect();
        self.order = planned.iter().map(|planned| Name::from(&*planned.name)).collect();
        let gone = self.named.extract_if(|name, _| !names.contains(&**name));
        self.free.extend(gone.map(|(_, id)| id));
    }

    /// Their names and the agent's, in the order of the file.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Name, GroupId)> {
        self.order.iter().filter_map(|name| Some((name, *self.named.get(name)?)))
    }
}

impl Daemon {
    /// Takes the members of those groups out of which one could not be begun, and these groups off the list: half a
    /// firewall must not move.
    pub(super) fn leave_out_broken(
        &mut self,
        now: Instant,
        order: &mut Vec<RouterId>,
        planned: Vec<PlannedGroup>,
    ) -> Vec<PlannedGroup> {
        let locals = order.iter().filter_map(|id| self.port.local(*id));
        let mut there: HashMap<Name, RouterId> = locals.map(|local| (Name::clone(&local.name), local.id)).collect();
        let mut gone = HashSet::new();
        let mut whole = Vec::with_capacity(planned.len());
        for group in planned {
            let Some(missing) = group.members.iter().find(|name| !there.contains_key(name.as_str())) else {
                whole.push(group);
                continue;
            };
            error!("sync group {}: {missing} is left out, so the whole group is", group.name);
            gone.extend(group.members.iter().filter_map(|name| there.remove(name.as_str())));
        }
        order.retain(|id| !gone.contains(id));
        for id in gone {
            let LinuxPort { locals, notices, .. } = &mut self.port;
            if let Some(local) = locals.get(id.index()).and_then(Option::as_ref) {
                notices.removed(&self.agent, local);
            }
            self.agent.remove(now, id);
        }
        whole
    }

    /// Makes the agent's sync groups what the plan says: whoever leaves one goes on by itself, whoever stays
    /// notices nothing.
    pub(super) fn regroup(&mut self, now: Instant, planned: &[PlannedGroup]) {
        self.groups.retain(planned);
        let locals = self.order.iter().filter_map(|id| self.port.local(*id));
        let ids: HashMap<Name, RouterId> = locals.map(|local| (Name::clone(&local.name), local.id)).collect();
        let mut wanted: Vec<(RouterId, GroupId)> = Vec::new();
        for planned in planned {
            match self.sync_group(&planned.name) {
                Some(id) => {
                    wanted.extend(planned.members.iter().filter_map(|name| Some((*ids.get(name.as_str())?, id))));
                }
                None => error!("{}: there is no room for another sync group", planned.name),
            }
        }
        let grouped: HashSet<RouterId> = wanted.iter().map(|(router, _)| *router).collect();
        for id in self.order.iter().filter(|id| !grouped.contains(id)) {
            self.agent.leave(now, *id);
        }
        for (router, group) in wanted {
            if self.agent.join(now, router, group).is_err() {
                error!("a Virtual Router cannot join its sync group");
            }
        }
        let named =
            planned.iter().filter_map(|planned| Some((planned, *self.groups.named.get(planned.name.as_str())?)));
        self.port.notices.regroup(&self.agent, named);
    }

    /// A sync group, for the status.
    pub(super) fn group(&self, id: GroupId) -> GroupStatus {
        let members = || self.agent.members(id);
        let states: Vec<_> = members().filter_map(|member| Some(self.agent.view(member)?.state)).collect();
        GroupStatus {
            name: self.groups.iter().find(|(_, known)| *known == id).map_or("".into(), |(name, _)| Name::clone(name)),
            state: states
                .first()
                .filter(|first| states.iter().all(|state| state == *first))
                .copied()
                .map(snapshot::state),
            members: members().filter_map(|member| Some(Name::clone(&self.port.local(member)?.name))).collect(),
        }
    }

    /// The agent's sync group of this name.
    fn sync_group(&mut self, name: &str) -> Option<GroupId> {
        if let Some(known) = self.groups.named.get(name) {
            return Some(*known);
        }
        let id = self.groups.free.pop().or_else(|| self.agent.add_group().ok())?;
        self.groups.named.insert(Name::from(name), id);
        Some(id)
    }
}
