//! What the rules demand of all nodes together, seen from outside: one Active and the right one, addresses
//! in one place, the client's frames going there, take-overs in time. Judged by what nodes do, not by what
//! they think; a single node's own rules are `super::shadow`'s.

use steadfast_core::agent::State;
use steadfast_core::types::Family;

use super::node::{Node, Power};
use super::scenario::{GROUPS, MS, Member, NODES, Scenario, Trial};
use super::world::{Found, World};

/// What has been seen so far.
#[derive(Default)]
pub struct Order {
    /// For each address, the node that the client sends its frames to, and since when it last heard so.
    pub client: [[Option<(usize, u64)>; 3]; GROUPS],
    /// Final checks in which the client was rightly excused for an old entry.
    pub excused: u64,
    /// Since when there is more than one Active on a whole network.
    dual_since: [Option<u64>; GROUPS],
    trial: Option<TrialLog>,
}

/// What is seen during the trial of the second half.
#[derive(Default)]
struct TrialLog {
    began_at: u64,
    healed_at: Option<u64>,
    actives: [Option<usize>; GROUPS],
    /// Whether the client was served when it began.
    measured: [bool; GROUPS],
    unserved_since: [Option<u64>; GROUPS],
    unserved: [u64; GROUPS],
}

fn rule(node: Option<usize>, group: usize, rule: &'static str, detail: String) -> Result<(), Found> {
    Err((node, group, (rule, detail)))
}

/// Nodes that take part in a Virtual Router, with their settings.
fn members<'w>(world: &'w World<'_>, group: usize) -> impl Iterator<Item = (&'w Node, Member)> {
    world.nodes.iter().filter_map(move |node| Some((node, node.plan.members[group]?)))
}

fn live<'w>(world: &'w World<'_>, group: usize) -> impl Iterator<Item = (&'w Node, Member)> {
    // What takes out one member of a sync group takes out all.
    let fails =
        |node: &Node, group: usize| node.plan.members[group].is_some_and(Member::can_fail) && !node.tracked[group];
    let taken_out = move |node: &Node| world.scenario.synced.with(group).any(|group| fails(node, group));
    members(world, group).filter(move |(node, _)| node.power == Power::On && !taken_out(node))
}

/// Priority and address, by which one node outranks another.
fn rank(world: &World<'_>, group: usize, node: usize) -> (Option<u8>, std::net::IpAddr) {
    (world.nodes[node].plan.members[group].map(|member| member.priority), source(world, group, node))
}

fn source(world: &World<'_>, group: usize, node: usize) -> std::net::IpAddr {
    let common = &world.scenario.groups[group];
    Scenario::source(node, common.lan, Family::of(&common.addresses[0]))
}

impl Order {
    /// The Active of a Virtual Router, if there is one.
    pub fn active(world: &World<'_>, group: usize) -> Option<usize> {
        members(world, group).find(|(node, _)| node.state(group) == State::Active).map(|(node, _)| node.index)
    }

    /// Looks at the whole after each event.
    pub fn watch(world: &mut World<'_>) -> Result<(), Found> {
        let at = world.at;
        let whole = world.is_whole();
        for group in 0..world.scenario.groups.len() {
            let mut actives = 0;
            let mut still = false;
            for (node, member) in members(world, group).filter(|(node, _)| node.power != Power::Off) {
                still |= node.is_still(at);
                let Some(part) = &node.parts[group] else { continue };
                if part.state != State::Active {
                    continue;
                }
                actives += 1;
                let gap = at.saturating_sub(part.spoke.max(node.still_until));
                if gap > member.interval() + node.plan.lateness() {
                    return rule(Some(node.index), group, "active-silent", format!("{gap} us without a word"));
                }
            }
            let since = &mut world.order.dual_since[group];
            *since = (actives > 1 && whole && !still).then_some(since.unwrap_or(at));
            if let Some(since) = *since {
                let limit = world.scenario.interval(group) + world.scenario.slack();
                if at - since > limit {
                    return rule(None, group, "dual-active", format!("{actives} for {} us", at - since));
                }
            }
            Self::log_service(world, group);
        }
        Ok(())
    }

    /// The rules that hold once the network has been whole for long enough.
    pub fn check(world: &mut World<'_>) -> Result<(), Found> {
        for group in 0..world.scenario.groups.len() {
            let actives: Vec<_> = live(world, group).filter(|(node, _)| node.state(group) == State::Active).collect();
            let expected = usize::from(live(world, group).next().is_some());
            if actives.len() != expected {
                let names: Vec<_> = actives.iter().map(|(node, _)| node.index).collect();
                return rule(None, group, "one-active", format!("Actives {names:?}, {expected} expected"));
            }
            for node in &world.nodes {
                let should = actives.first().is_some_and(|(active, _)| active.index == node.index);
                if node.holding[group].on != should {
                    let held = node.holding[group].on;
                    return rule(Some(node.index), group, "holding", format!("held = {held}, Active = {should}"));
                }
            }
            let Some((active, settings)) = actives.first() else { continue };
            let address = source(world, group, active.index);
            for (node, member) in live(world, group).filter(|(node, _)| node.index != active.index) {
                let preempts = |group: usize| {
                    let part = |index: usize| world.nodes[index].plan.members[group];
                    let (Some(own), Some(other)) = (part(node.index), part(active.index)) else { return false };
                    own.priority > other.priority && (own.preempt || own.priority == 255)
                };
                if world.scenario.synced.with(group).all(preempts) {
                    let detail = format!("priority {} waits for {}", member.priority, settings.priority);
                    return rule(Some(node.index), group, "entitled", detail);
                }
                if node.follows(group) != Some(address) {
                    let detail = format!("follows {:?}, not {address}", node.follows(group));
                    return rule(Some(node.index), group, "follows", detail);
                }
            }
            let index = active.index;
            Self::check_client(world, group, index)?;
        }
        Self::check_together(world)
    }

    /// One node holds all of the sync group.
    fn check_together(world: &World<'_>) -> Result<(), Found> {
        let mut holders = world.scenario.synced.members().map(|group| (group, Self::active(world, group)));
        let Some((_, first)) = holders.next() else { return Ok(()) };
        match holders.find(|(_, holder)| *holder != first) {
            None => Ok(()),
            Some((group, holder)) => rule(holder, group, "one-holder", format!("{holder:?} beside {first:?}")),
        }
    }

    /// The client's frames go to the Active. It is excused if no announcement of this Active can have reached
    /// it after the one that led it astray: a split kept them apart, and the Active heard no rival since.
    fn check_client(world: &mut World<'_>, group: usize, active: usize) -> Result<(), Found> {
        let Some(part) = &world.nodes[active].parts[group] else { return Ok(()) };
        let told = part.active_since.max(part.rival_heard);
        for address in 0..world.scenario.groups[group].addresses.len() {
            let entry = world.order.client[group][address];
            if entry.is_some_and(|(node, _)| node == active) {
                continue;
            }
            let since = entry.map_or(0, |(_, at)| at).max(world.healed_at);
            if told > since {
                return rule(Some(active), group, "client", format!("address {address} is with {entry:?}"));
            }
            world.order.excused += 1;
        }
        Ok(())
    }

    /// Whether the client's frames for all addresses arrive at a node that holds them.
    fn serves(world: &World<'_>, group: usize) -> bool {
        let lan = world.scenario.groups[group].lan;
        (0..world.scenario.groups[group].addresses.len()).all(|address| {
            let Some((index, _)) = world.order.client[group][address] else { return false };
            let node = &world.nodes[index];
            let reaches = world.hears(index, NODES) && world.hears(NODES, index) && node.cable[lan];
            reaches && node.holding[group].on && world.at >= node.frozen_until
        })
    }

    fn log_service(world: &mut World<'_>, group: usize) {
        if world.order.trial.is_none() {
            return;
        }
        let serves = Self::serves(world, group);
        let at = world.at;
        let Some(log) = &mut world.order.trial else { return };
        match (serves, log.unserved_since[group]) {
            (false, None) => log.unserved_since[group] = Some(at),
            (true, Some(since)) => {
                log.unserved_since[group] = None;
                log.unserved[group] += at - since;
            }
            _ => {}
        }
    }

    /// Begins to log what the trial does to the client.
    pub fn begin_trial(world: &mut World<'_>) {
        let groups = 0..world.scenario.groups.len();
        let mut log = TrialLog { began_at: world.at, ..TrialLog::default() };
        for group in groups {
            log.actives[group] = Self::active(world, group);
            log.measured[group] = Self::serves(world, group);
        }
        world.order.trial = Some(log);
    }

    /// The cut or the standstill is over: what the client loses is counted from here.
    pub fn healed(world: &mut World<'_>) {
        let at = world.at;
        if let Some(log) = &mut world.order.trial {
            log.healed_at = Some(at);
            log.unserved = [0; GROUPS];
            for since in log.unserved_since.iter_mut().flatten() {
                *since = at;
            }
        }
    }

    /// Until when somebody has to have taken over from `victim`, counted from its loss. Silence: the last
    /// Advertisement on its way, three intervals, the skew of the quickest Backup. A planned stop: only the
    /// skew. And the lateness of those who take part.
    pub fn takeover_bound(world: &World<'_>, victim: usize) -> u64 {
        let scenario = world.scenario;
        let planned = scenario.trial == Trial::Stop;
        let mut bound = 0;
        for group in 0..scenario.groups.len() {
            let Some(member) = world.nodes[victim].plan.members[group] else { continue };
            let silence = if planned { world.nodes[victim].plan.lateness() } else { 3 * member.interval() };
            bound = bound.max(silence + Self::quickest(world, group, victim) + scenario.calm().farthest + MS);
        }
        bound
    }

    /// The skew of the quickest Backup, with its lateness; a sync group waits for its slowest member.
    fn quickest(world: &World<'_>, group: usize, victim: usize) -> u64 {
        let skew = |node: &Node, group: usize| {
            let interval = world.nodes[victim].plan.members[group].map_or(0, |member| member.interval());
            node.plan.members[group].map_or(0, |member| world.scenario.skew(group, member.priority, interval))
        };
        let others = live(world, group).filter(|(node, _)| node.index != victim);
        let slowest = |node: &Node| world.scenario.synced.with(group).map(|group| skew(node, group)).max();
        others.map(|(node, _)| slowest(node).unwrap_or(0) + 2 * node.plan.lateness()).min().unwrap_or(0)
    }

    /// Somebody has taken over what `victim` had.
    pub fn taken_over(world: &World<'_>, victim: Option<usize>) -> Result<(), Found> {
        let Some(log) = &world.order.trial else { return Ok(()) };
        for group in 0..world.scenario.groups.len() {
            let mut others = live(world, group).filter(|(node, _)| Some(node.index) != victim).peekable();
            if log.actives[group] != victim || others.peek().is_none() || world.scenario.may_cross(group) {
                continue;
            }
            if !others.any(|(node, _)| node.state(group) == State::Active) {
                let span = world.at - log.began_at;
                return rule(None, group, "takeover-bound", format!("nobody has taken over after {span} us"));
            }
        }
        Ok(())
    }

    /// What the trial may cost the client, and whom it may depose.
    pub fn served(world: &World<'_>, victim: Option<usize>) -> Result<(), Found> {
        let Some(log) = &world.order.trial else { return Ok(()) };
        for group in 0..world.scenario.groups.len() {
            Self::check_deposed(world, log, group, victim)?;
            if !log.measured[group] || live(world, group).next().is_none() || world.scenario.may_cross(group) {
                continue;
            }
            let lost = log.unserved[group] + log.unserved_since[group].map_or(0, |since| world.at - since);
            let limit = Self::service_limit(world, log, group, victim);
            if lost > limit {
                let detail = format!("client not served for {lost} us, {limit} us allowed");
                return rule(victim, group, "service", detail);
            }
        }
        Ok(())
    }

    fn service_limit(world: &World<'_>, log: &TrialLog, group: usize, victim: Option<usize>) -> u64 {
        let scenario = world.scenario;
        let was_active = victim.is_some() && log.actives[group] == victim;
        // Five answers come at once; with more than two rivals at a time, each with a farewell, one may wait.
        let crowd = if members(world, group).count() > 3 { 200 * MS } else { 0 };
        let slack = scenario.slack() + crowd;
        let healing = scenario.interval(group) + 20 * MS + slack;
        let Some(victim) = victim else { return 0 };
        let Some(member) = world.nodes[victim].plan.members[group] else { return 0 };
        match scenario.trial {
            Trial::Quiet => 0,
            Trial::CutOff { .. } | Trial::FreezeActive | Trial::FreezeBackup => healing,
            Trial::StallBackup if was_active => healing,
            Trial::Kill if was_active => Self::takeover_bound(world, victim) + slack,
            Trial::Stop if was_active => {
                // The addresses stay for an interval, a second at most; a longer skew is the client's loss.
                let interval = member.interval();
                Self::quickest(world, group, victim).saturating_sub(interval.min(1_000 * MS)) + slack
            }
            _ => 0,
        }
    }

    /// A node that only stood still deposes nobody of more right.
    fn check_deposed(world: &World<'_>, log: &TrialLog, group: usize, victim: Option<usize>) -> Result<(), Found> {
        let still = matches!(world.scenario.trial, Trial::Quiet | Trial::StallBackup | Trial::FreezeBackup);
        let Some(active) = log.actives[group] else { return Ok(()) };
        if !still || Some(active) == victim {
            return Ok(());
        }
        let outranks = victim.is_some_and(|victim| {
            world.scenario.synced.with(group).any(|group| rank(world, group, victim) > rank(world, group, active))
        });
        if outranks && world.scenario.trial == Trial::FreezeBackup {
            return Ok(());
        }
        let Some(part) = &world.nodes[active].parts[group] else { return Ok(()) };
        if part.state != State::Active || part.active_since >= log.began_at {
            return rule(victim, group, "deposed", format!("node {active} was Active and alive"));
        }
        Ok(())
    }
}
