//! Sync groups: Virtual Routers that are in the same state at any time, because half a firewall is worse than
//! none.
//!
//! A group is Active only while every member may be. It takes over in the instant in which the last of its
//! members would: when the Active_Down_Timer of each has fired, so nobody with more right is heard on any of
//! their networks. A member that hears an Active with more right steps down, and all others with it, each with
//! a farewell. A member that is kept out (no link, no source address, a tracker of weight 0) takes all others
//! into Initialize at once, and none starts before all can. The address owner waits for its group like
//! everyone. A Virtual Router that joins running ones listens until its own timer has fired, and the group
//! stays what it is unless that one hears an Active with more right: then the group steps down. Members
//! should have one priority; where two groups each have more right at another member, both may step down, and
//! one that lost at another member than its first, to one of less right elsewhere, then listens an interval
//! longer, so that the other takes all of it.
//! What a group looks at, and whom it tells, is the port's matter.

use core::num::NonZeroU16;

use crate::agent::{AddError, Agent, EventKind, Reason, RouterId};
use crate::router::{Router, Standing};
use crate::storage::{Storage, Table};
use crate::time::Instant;
use crate::wire::Full;

/// The end of a list.
const END: u16 = u16::MAX;

/// A sync group of the agent, by the order in which it was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(u16);

impl GroupId {
    /// Its number, counted from 0.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The place of a Virtual Router in the list of its group, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Membership(NonZeroU16);

impl Membership {
    const fn at(place: u16) -> Self {
        Self(NonZeroU16::MIN.saturating_add(place))
    }

    const fn place(self) -> u16 {
        self.0.get().saturating_sub(1)
    }
}

/// How many members stand how.
#[derive(Clone, Copy, Default)]
struct Census([u16; Standing::ALL.len()]);

impl Census {
    fn of<const N: usize>(&self, standings: [Standing; N]) -> u16 {
        standings
            .iter()
            .fold(0, |sum, standing| sum.saturating_add(self.0.get(*standing as usize).copied().unwrap_or(0)))
    }

    fn add(&mut self, standing: Standing) {
        if let Some(count) = self.0.get_mut(standing as usize) {
            *count = count.saturating_add(1);
        }
    }

    fn remove(&mut self, standing: Standing) {
        if let Some(count) = self.0.get_mut(standing as usize) {
            *count = count.saturating_sub(1);
        }
    }
}

struct Group {
    /// Its members, in the order in which they joined.
    first: u16,
    last: u16,
    census: Census,
}

struct Member {
    group: u16,
    router: u16,
    previous: u16,
    /// Next of the same group, or in the list of free places.
    next: u16,
    standing: Standing,
}

pub(crate) struct Groups<S: Storage> {
    groups: S::Groups<Group>,
    members: S::Groups<Member>,
    free: u16,
}

impl<S: Storage> Groups<S> {
    pub(crate) fn new() -> Self {
        Self { groups: Default::default(), members: Default::default(), free: END }
    }

    /// How many groups there can ever be, and members.
    pub(crate) fn capacity(&self) -> usize {
        self.groups.most()
    }

    fn insert(&mut self, group: u16, router: usize, standing: Standing) -> Result<Membership, Full> {
        let last = self.groups.get(usize::from(group)).ok_or(Full)?.last;
        let member = Member { group, router: router as u16, previous: last, next: END, standing };
        let at = if let Some(reused) = self.members.get_mut(usize::from(self.free)) {
            let at = self.free;
            self.free = reused.next;
            *reused = member;
            at
        } else {
            let at = u16::try_from(self.members.len()).ok().filter(|at| *at != END).ok_or(Full)?;
            self.members.push(member)?;
            at
        };
        if let Some(before) = self.members.get_mut(usize::from(last)) {
            before.next = at;
        }
        if let Some(group) = self.groups.get_mut(usize::from(group)) {
            if group.first == END {
                group.first = at;
            }
            group.last = at;
            group.census.add(standing);
        }
        Ok(Membership::at(at))
    }

    fn remove(&mut self, membership: Membership) {
        let Some(member) = self.members.get(usize::from(membership.place())) else { return };
        let &Member { group, previous, next, standing, .. } = member;
        if let Some(before) = self.members.get_mut(usize::from(previous)) {
            before.next = next;
        }
        if let Some(after) = self.members.get_mut(usize::from(next)) {
            after.previous = previous;
        }
        if let Some(group) = self.groups.get_mut(usize::from(group)) {
            if group.first == membership.place() {
                group.first = next;
            }
            if group.last == membership.place() {
                group.last = previous;
            }
            group.census.remove(standing);
        }
        let free = core::mem::replace(&mut self.free, membership.place());
        if let Some(member) = self.members.get_mut(usize::from(membership.place())) {
            member.next = free;
        }
    }

    /// Notes how a member stands now; its group, if that has changed.
    fn note(&mut self, membership: Membership, standing: Standing) -> Option<GroupId> {
        let member = self.members.get_mut(usize::from(membership.place()))?;
        let before = core::mem::replace(&mut member.standing, standing);
        let id = GroupId(member.group);
        if before == standing {
            return None;
        }
        let census = &mut self.groups.get_mut(id.index())?.census;
        census.remove(before);
        census.add(standing);
        Some(id)
    }

    pub(crate) fn group_of(&self, membership: Membership) -> Option<GroupId> {
        self.members.get(usize::from(membership.place())).map(|member| GroupId(member.group))
    }

    fn census(&self, group: GroupId) -> Census {
        self.groups.get(group.index()).map_or_else(Census::default, |group| group.census)
    }

    fn first(&self, group: GroupId) -> Option<u16> {
        self.groups.get(group.index()).map(|group| group.first)
    }
}

impl<S: Storage> Agent<S> {
    /// Adds a sync group without members. One that has lost its members is as good as new.
    pub fn add_group(&mut self) -> Result<GroupId, Full> {
        let index = u16::try_from(self.groups.groups.len()).ok().filter(|index| *index != END).ok_or(Full)?;
        self.groups.groups.push(Group { first: END, last: END, census: Census::default() })?;
        Ok(GroupId(index))
    }

    /// Makes a Virtual Router a member of a sync group, from now on; it leaves the one that it was in.
    pub fn join(&mut self, now: Instant, id: RouterId, group: GroupId) -> Result<(), AddError> {
        let index = self.routers.index(id).ok_or(AddError::Identity)?;
        let router = self.routers.get(index).ok_or(AddError::Identity)?;
        if router.is_retiring() || self.groups.groups.get(group.index()).is_none() {
            return Err(AddError::Identity);
        }
        if let Some(membership) = router.membership {
            if self.groups.group_of(membership) == Some(group) {
                return Ok(());
            }
            // Its place is used again, so there is room.
            self.part(now, index);
        }
        let standing = self.standing(index);
        let membership = self.groups.insert(group.0, index, standing)?;
        if let Some(router) = self.routers.get_mut(index) {
            router.membership = Some(membership);
        }
        self.agree(now, group, Some(index));
        self.settle(index);
        Ok(())
    }

    /// Takes a Virtual Router out of its sync group: it goes on by itself.
    pub fn leave(&mut self, now: Instant, id: RouterId) {
        let Some(index) = self.routers.index(id) else { return };
        if !self.part(now, index) {
            return;
        }
        if self.can_speak(index) {
            self.start(now, index, Reason::Reconfigured);
        }
        self.settle(index);
    }

    /// The members of a sync group, in the order in which they joined.
    pub fn members(&self, group: GroupId) -> impl Iterator<Item = RouterId> + '_ {
        let mut next = self.groups.first(group).unwrap_or(END);
        core::iter::from_fn(move || {
            let member = self.groups.members.get(usize::from(next))?;
            next = member.next;
            Some(self.routers.id(usize::from(member.router)))
        })
    }

    /// Takes a Virtual Router out of its sync group, if it is in one; those that it kept out may start.
    pub(super) fn part(&mut self, now: Instant, index: usize) -> bool {
        let Some(router) = self.routers.get_mut(index) else { return false };
        let Some(membership) = router.membership.take() else { return false };
        router.part(now);
        let Some(group) = self.groups.group_of(membership) else { return false };
        self.groups.remove(membership);
        let first = self.groups.first(group).and_then(|first| self.groups.members.get(usize::from(first)));
        if let Some(first) = first.map(|member| usize::from(member.router))
            && self.can_speak(first)
        {
            self.start(now, first, Reason::Group);
            self.settle(first);
        }
        self.agree(now, group, None);
        true
    }

    /// How a member stands now.
    fn standing(&self, index: usize) -> Standing {
        let can_speak = self.can_speak(index);
        self.routers.get(index).map_or(Standing::Barred, |router| router.standing(can_speak))
    }

    /// Whether the group of a Virtual Router, if it has one, lets it start.
    pub(super) fn may_start(&mut self, index: usize) -> bool {
        let Some(membership) = self.routers.get(index).and_then(|router| router.membership) else { return true };
        let standing = self.standing(index);
        self.groups.note(membership, standing);
        let group = self.groups.group_of(membership);
        group.is_none_or(|group| self.groups.census(group).of([Standing::Barred]) == 0)
    }

    /// Carries over to its group what has become of a member.
    pub(super) fn sync(&mut self, now: Instant, index: usize) {
        let Some(membership) = self.routers.get(index).and_then(|router| router.membership) else { return };
        let standing = self.standing(index);
        if let Some(group) = self.groups.note(membership, standing) {
            self.agree(now, group, Some(index));
        }
    }

    /// Moves the members of a group so that all are in one state again. `mover` is the one of which something
    /// has become.
    fn agree(&mut self, now: Instant, group: GroupId, mover: Option<usize>) {
        use Standing::{Active, Barred, Following, Listening, Ready, Resting, Starting};
        if self.stopping {
            return;
        }
        let census = self.groups.census(group);
        if census.of([Barred]) > 0 {
            if census.of([Starting, Listening, Following, Ready, Active]) > 0 {
                let hands_over = mover.and_then(|index| self.routers.get(index)).is_some_and(Router::hands_over);
                self.each(now, group, &mut |standing, router| {
                    let runs = !matches!(standing, Barred | Resting);
                    if runs { router.stop(now, Reason::Group, hands_over) } else { None }
                });
            }
            return;
        }
        let start = |not_before| {
            move |standing, router: &mut Router| {
                let waits = matches!(standing, Resting | Starting);
                if waits { router.start(now, not_before, Reason::Group) } else { None }
            }
        };
        if census.of([Resting]) > 0 && census.of([Starting]) > 0 {
            self.each(now, group, &mut start(self.start_at));
        }
        let census = self.groups.census(group);
        if census.of([Resting, Starting]) > 0 && census.of([Listening, Following, Ready, Active]) > 0 {
            self.each(now, group, &mut start(now));
        }
        let census = self.groups.census(group);
        if census.of([Following]) > 0 && census.of([Active]) > 0 {
            let first = self.groups.first(group).and_then(|first| self.groups.members.get(usize::from(first)));
            let by_first = mover == first.map(|member| usize::from(member.router));
            self.each(now, group, &mut |_, router| router.step_down(now, by_first));
        } else if census.of([Ready]) > 0 && census.of([Resting, Starting, Listening, Following]) == 0 {
            if let Some(mover) = mover {
                self.moved(now, mover, &mut |router| router.take_over(now, None));
            }
            self.each(now, group, &mut |_, router| router.take_over(now, Some(Reason::Group)));
        }
    }

    /// Does something to each member of a group. Behind a pointer, as the next one: there is one of each in a firmware.
    fn each(&mut self, now: Instant, group: GroupId, act: &mut dyn FnMut(Standing, &mut Router) -> Option<EventKind>) {
        let mut next = self.groups.first(group).unwrap_or(END);
        while let Some(member) = self.groups.members.get(usize::from(next)) {
            next = member.next;
            let (index, standing) = (usize::from(member.router), member.standing);
            self.moved(now, index, &mut |router| act(standing, router));
        }
    }

    fn moved(&mut self, now: Instant, index: usize, act: &mut dyn FnMut(&mut Router) -> Option<EventKind>) {
        let Some(router) = self.routers.get_mut(index) else { return };
        let event = act(router);
        let membership = router.membership;
        self.report(now, index, event);
        if let Some(membership) = membership {
            let standing = self.standing(index);
            self.groups.note(membership, standing);
        }
        self.settle(index);
    }
}
