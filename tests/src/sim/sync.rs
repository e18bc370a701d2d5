//! Sync groups in the simulator: which Virtual Routers of a scenario form one, and the judge of those of one
//! node together. It knows the rules (all members are in one state; the group takes over when the last of them
//! would; what befalls one befalls all) and nothing of the core's insides. A single Virtual Router's rules are
//! `super::shadow`'s.

use steadfast_core::agent::State;

use super::node::Part;
use super::rng::Rng;
use super::scenario::{GROUPS, Group, NodePlan};
use super::shadow::{Broken, Verdict};

/// The Virtual Routers (by number) that form a sync group on every node; empty: none do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Synced([bool; GROUPS]);

impl Synced {
    /// Draws the sync group of a scenario, and makes every node take part in all of it. Mostly a node has one
    /// priority in all of it, as it should; two nodes may have their priorities crossed.
    pub fn draw(rng: &mut Rng, groups: &[Group], nodes: &mut [NodePlan]) -> Self {
        let mut synced = Self::default();
        if groups.len() < 2 || rng.percent(50) {
            return synced;
        }
        let spared = if groups.len() > 2 && rng.percent(30) { rng.below(groups.len() as u64) as usize } else { GROUPS };
        for group in (0..groups.len()).filter(|group| *group != spared) {
            synced.0[group] = true;
        }
        let one_priority = nodes.len() > 2 || !rng.percent(30);
        let one_weight = one_priority && rng.percent(60);
        let examples: Vec<_> =
            (0..groups.len()).map(|group| nodes.iter().find_map(|node| node.members[group])).collect();
        for node in nodes {
            let base = synced.members().find_map(|group| node.members[group]).map(|member| member.base);
            for group in synced.members() {
                let (Some(base), Some(example)) = (base, examples[group]) else { continue };
                let member = node.members[group].get_or_insert(example);
                if one_priority {
                    member.base = base;
                } else if member.base == u8::MAX {
                    // Groups of which only a part owns its addresses cannot work.
                    member.base = 254;
                }
                if one_weight {
                    member.weight = member.weight.filter(|weight| *weight == 0);
                }
                *member = member.tracked(true);
            }
        }
        synced
    }

    /// Whether a Virtual Router is a member.
    pub fn has(&self, group: usize) -> bool {
        self.0.get(group).is_some_and(|is| *is)
    }

    /// The members.
    pub fn members(&self) -> impl Iterator<Item = usize> + use<> {
        let members = self.0;
        (0..GROUPS).filter(move |group| members[*group])
    }

    /// All Virtual Routers that move with this one, itself among them.
    pub fn with(&self, group: usize) -> impl Iterator<Item = usize> + use<> {
        let (members, alone) = (self.0, !self.has(group));
        (0..GROUPS).filter(move |other| if alone { *other == group } else { members[*other] })
    }

    fn each<'p>(&self, parts: &'p mut [Option<Part>; GROUPS]) -> impl Iterator<Item = (usize, &'p mut Part)> + use<'p> {
        let members = self.0;
        parts
            .iter_mut()
            .enumerate()
            .filter_map(move |(group, part)| Some((group, part.as_mut()?)).filter(|_| members[group]))
    }

    /// Carries over to all what has befallen one, after an input. `before`: the states before it.
    pub fn carry(&self, parts: &mut [Option<Part>; GROUPS], before: [State; GROUPS], now: u64) {
        let state = |group: usize| parts[group].as_ref().map_or(State::Initialize, |part| part.shadow.state);
        let changed =
            |from: State, to: State| self.members().find(|group| before[*group] == from && state(*group) == to);
        let stopped = changed(State::Backup, State::Initialize).or(changed(State::Active, State::Initialize));
        let deposed = changed(State::Active, State::Backup);
        if stopped.is_some() {
            for (_, part) in self.each(parts).filter(|(_, part)| part.shadow.state != State::Initialize) {
                part.shadow.stopped(now);
            }
        } else if let Some(deposed) = deposed {
            let by_first = self.members().next() == Some(deposed);
            for (_, part) in self.each(parts).filter(|(_, part)| part.shadow.state == State::Active) {
                part.shadow.dragged(now, by_first);
            }
        } else {
            self.take_over(parts, now);
        }
    }

    /// The group takes over if nothing keeps any member from it.
    fn take_over(&self, parts: &mut [Option<Part>; GROUPS], now: u64) -> bool {
        let due = self.each(parts).all(|(_, part)| part.shadow.is_ready() || part.shadow.state == State::Active);
        if due {
            for (_, part) in self.each(parts).filter(|(_, part)| part.shadow.state == State::Backup) {
                part.shadow.take_over(now);
            }
        }
        due
    }

    /// Compares with the states that the core shows after an input.
    pub fn compare(&self, parts: &mut [Option<Part>; GROUPS], now: u64, actual: &[State; GROUPS]) -> Verdict {
        for (group, part) in self.each(parts) {
            if part.shadow.state == State::Initialize && actual[group] != State::Initialize {
                part.shadow.begin_in_group(now).map_err(|broken| (group, broken))?;
            }
        }
        self.take_over(parts, now);
        for (group, part) in self.each(parts) {
            part.shadow.agrees(actual[group]).map_err(|broken| (group, broken))?;
        }
        self.are_together(actual)
    }

    /// Compares after the core's deadlines were looked at.
    pub fn expired(
        &self,
        parts: &mut [Option<Part>; GROUPS],
        now: u64,
        actual: &[State; GROUPS],
        unheard: bool,
    ) -> Verdict {
        self.are_together(actual)?;
        for (group, part) in self.each(parts) {
            if part.shadow.state == State::Initialize && actual[group] != State::Initialize {
                part.shadow.begin_in_group(now).map_err(|broken| (group, broken))?;
            }
            part.shadow.fire(now);
        }
        let waited = self.each(parts).any(|(_, part)| part.shadow.state == State::Backup);
        let due = self.take_over(parts, now) && waited;
        for (group, part) in self.each(parts) {
            let broken: Result<(), Broken> = match (part.shadow.state, actual[group]) {
                (State::Backup, State::Active) => Err(("takeover-too-early", format!("{:?}", part.shadow))),
                (State::Active, State::Backup) => Err(("takeover-too-late", "the whole group could".into())),
                (State::Active, State::Active) if due && unheard => {
                    Err(("takeover-before-drain", "an Advertisement is in the queue".into()))
                }
                (_, actual) => part.shadow.agrees(actual),
            };
            broken.map_err(|broken| (group, broken))?;
        }
        Ok(())
    }

    /// All members are in one state whenever no event is being processed.
    fn are_together(&self, actual: &[State; GROUPS]) -> Verdict {
        let mut states = self.members().map(|group| (group, actual[group]));
        let Some((_, first)) = states.next() else { return Ok(()) };
        match states.find(|(_, state)| *state != first) {
            None => Ok(()),
            Some((group, state)) => Err((group, ("together", format!("{state:?} beside {first:?}")))),
        }
    }
}
