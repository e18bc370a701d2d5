//! One scenario, drawn from its seed: who takes part, with what configuration and how good a machine, what
//! befalls them and when, and by when the rules demand order again. What happens then is `super::world`'s.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use steadfast_core::agent::ChecksumMode;
use steadfast_core::types::{Family, Version};

use super::rng::Rng;
use super::sync::Synced;

/// Nodes at most; the client is endpoint number `NODES`.
pub const NODES: usize = 5;
/// Virtual Routers at most.
pub const GROUPS: usize = 3;
/// Networks at most.
pub const LANS: usize = 2;

/// Microseconds in a millisecond.
pub const MS: u64 = 1_000;

/// A Virtual Router, as all its members agree on it.
#[derive(Clone, Debug)]
pub struct Group {
    /// The network that it is on.
    pub lan: usize,
    /// Its VRID.
    pub vrid: u8,
    /// The protocol version.
    pub version: Version,
    /// Its addresses, of one family; an IPv6 list begins with a link-local one.
    pub addresses: Vec<IpAddr>,
    /// Whether its members use the virtual MAC.
    pub virtual_mac: bool,
}

/// One node's part in a Virtual Router. Times are microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Configured priority.
    pub base: u8,
    /// The priority that takes part in the election.
    pub priority: u8,
    /// How a tracker bears on it, if one does: 0 takes it out while the tracker is down, a positive weight
    /// counts while it is up, a negative one while it is down.
    pub weight: Option<i16>,
    /// Preempt_Mode.
    pub preempt: bool,
    /// How long to put off preempting.
    pub preempt_delay: u64,
    /// Advertisement_Interval in centiseconds.
    pub centiseconds: u16,
    /// Which checksum it sends.
    pub checksum: ChecksumMode,
}

impl Member {
    /// The same with its tracker up or down.
    pub fn tracked(self, up: bool) -> Self {
        let weight = match self.weight {
            Some(weight) if (weight > 0) == up && self.base < 255 => weight,
            _ => 0,
        };
        let weighted = (i16::from(self.base) + weight).clamp(1, 254) as u8;
        Self { priority: if self.base == 255 { 255 } else { weighted }, ..self }
    }

    /// Whether its tracker takes it out when it is down.
    pub fn can_fail(self) -> bool {
        self.weight == Some(0)
    }

    /// Advertisement_Interval.
    pub fn interval(&self) -> u64 {
        u64::from(self.centiseconds) * 10 * MS
    }
}

/// A node: how good its machine is. Times are microseconds.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// It is a board with firmware.
    pub firmware: bool,
    /// What its clock shows at time zero.
    pub clock: u64,
    /// How late it gets to run, at most.
    pub jitter: u64,
    /// Actions that it does before it looks at its queues again.
    pub budget: usize,
    /// How long its kernel takes to put an address on or off, at most.
    pub latency: u64,
    /// How many address operations in a hundred fail during the bad times.
    pub refusals: u64,
    /// Announcements of each address when it becomes Active.
    pub rounds: u8,
    /// The configured startup delay.
    pub startup_delay: u64,
    /// When it is first switched on.
    pub starts_at: u64,
    /// Its parts, by Virtual Router.
    pub members: Vec<Option<Member>>,
}

/// What the network does to frames.
#[derive(Clone, Copy, Debug, Hash)]
pub struct Weather {
    /// Delay, at least.
    pub nearest: u64,
    /// Delay, at most.
    pub farthest: u64,
    /// Frames lost, in a hundred.
    pub loss: u64,
    /// Frames doubled, in a hundred.
    pub doubled: u64,
    /// Frames kept back, and so overtaken, in a hundred.
    pub strays: u64,
    /// How long those are kept back, at most.
    pub straying: u64,
}

/// What befalls the network or a node.
#[derive(Clone, Copy, Debug, Hash)]
pub enum Fault {
    /// Other weather.
    Weather(Weather),
    /// The endpoints in the mask (bit `NODES`: the client) and the others do not hear each other.
    Split(u8),
    /// The others do not hear the endpoints in the mask.
    Deaf(u8),
    /// All hear all.
    Heal,
    /// The process stands still; what arrives waits in its queue.
    Stall(usize, u64),
    /// The whole machine stands still; what arrives is lost.
    Freeze(usize, u64),
    /// The process dies without a word. Its addresses stay behind (`true`) or vanish with the machine.
    Crash(usize, bool),
    /// A planned stop.
    Stop(usize),
    /// Switched on again, if off.
    Start(usize),
    /// Cable out (`false`) or in; the port is told.
    Cable(usize, usize, bool),
    /// Someone removes a Virtual Router's addresses from a node that holds them.
    Deface(usize, usize),
    /// What a node's tracker for a Virtual Router looks at works (`true`) or not.
    Track(usize, usize, bool),
    /// A node's configuration of a Virtual Router changes: priority, Preempt_Mode, interval (which is not
    /// longer than the longest that there is already).
    Reload(usize, usize, u8, bool, u16),
}

/// What is done to the quiet network of the second half, to measure the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// Nothing.
    Quiet,
    /// The Active's machine dies.
    Kill,
    /// The Active is stopped as planned.
    Stop,
    /// The Active is cut off, with or without the client, and heard again later.
    CutOff {
        /// Whether the client is cut off with it.
        with_client: bool,
    },
    /// A Backup's process stands still for long.
    StallBackup,
    /// A Backup's machine stands still for long.
    FreezeBackup,
    /// The Active's machine stands still for long.
    FreezeActive,
}

/// All that a seed decides.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Where it comes from.
    pub seed: u64,
    /// The Virtual Routers.
    pub groups: Vec<Group>,
    /// Those that form a sync group.
    pub synced: Synced,
    /// The nodes.
    pub nodes: Vec<NodePlan>,
    /// The weather at first.
    pub weather: Weather,
    /// What befalls them, in order of time; all of it before `whole_at`.
    pub faults: Vec<(u64, Fault)>,
    /// From here the network is whole and nobody stands still.
    pub whole_at: u64,
    /// By here the rules demand order.
    pub settled_at: u64,
    /// How often somebody sends Advertisements that fail a receive check, if at all.
    pub junk: Option<u64>,
    /// The second half.
    pub trial: Trial,
    /// How long a cut or a standstill of the second half lasts.
    pub trial_length: u64,
}

impl Weather {
    /// A good network: nothing lost, little delay.
    pub fn calm(unit: u64) -> Self {
        let farthest = (unit / 40).clamp(100, 2 * MS);
        Self { nearest: 20, farthest, loss: 0, doubled: 0, strays: 0, straying: 0 }
    }
}

impl NodePlan {
    /// How late an action can come after its time on this node while it runs: it gets to run late, and its
    /// budget makes it pause in between.
    pub fn lateness(&self) -> u64 {
        self.jitter + if self.budget < 64 { 2 * MS } else { 0 }
    }
}

impl Scenario {
    /// For this long after the network has become whole, frames from before may still arrive.
    pub const STRAYING: u64 = 500 * MS;

    /// The scenario of `seed`.
    pub fn draw(seed: u64) -> Self {
        Self::draw_for(seed, None)
    }

    /// One of a week, with an interval of a second and something happening every five minutes.
    pub fn week(seed: u64) -> Self {
        Self::draw_for(seed, Some(7 * 24 * 3_600_000 * MS))
    }

    fn draw_for(seed: u64, length: Option<u64>) -> Self {
        let mut rng = Rng::new(seed);
        let lans = 1 + usize::from(rng.percent(15));
        let any_v2 = rng.percent(25);
        let base: u16 = match any_v2 {
            true => rng.pick(&[100, 100, 100, 200, 300]),
            false => rng.pick(&[1, 2, 5, 10, 10, 20, 50, 100, 100, 100, 300, 1000, 4095]),
        };
        let base = if length.is_some() { 100 } else { base };
        let groups = groups(&mut rng, lans, any_v2);
        let unit = u64::from(base) * 10 * MS;
        let count = rng.pick(&[2, 2, 2, 3, 3, 3, 4, 5]);
        let mut nodes: Vec<_> = (0..count).map(|_| node(&mut rng, &groups, base)).collect();
        for group in 0..groups.len() {
            crown(&mut rng, &mut nodes, group);
        }

        // Apart, so that all else is what it would be without.
        let synced = Synced::draw(&mut Rng::new(seed ^ 0x0601_0905), &groups, &mut nodes);

        let longest = longest(&nodes, unit);
        let begin = nodes.iter().map(|node| node.starts_at).max().unwrap_or(0);
        let whole_at = begin + length.unwrap_or(rng.between(4, 12) * longest);
        let weather = weather(&mut rng, unit);
        let few = rng.pick(&[0, 1, 2, 2, 3, 3, 4, 5, 6, 8]);
        let count = length.map_or(few, |length| length / (300_000 * MS));
        let faults = faults(&mut rng, &nodes, &groups, (begin / 2, whole_at), unit, count);
        let trial = rng.pick(&[
            Trial::Quiet,
            Trial::Kill,
            Trial::Kill,
            Trial::Stop,
            Trial::Stop,
            Trial::CutOff { with_client: false },
            Trial::CutOff { with_client: true },
            Trial::StallBackup,
            Trial::FreezeBackup,
            Trial::FreezeActive,
        ]);
        let trial_length = rng.between(longest / 4, 7 * longest);
        let junk = rng.percent(25).then(|| rng.between(unit / 20 + 1, unit));
        let mut scenario =
            Self { junk, seed, groups, synced, nodes, weather, faults, whole_at, settled_at: 0, trial, trial_length };
        scenario.settled_at = whole_at + scenario.settling();
        scenario
    }

    /// The same with a board as its first node: it always has virtual MAC addresses, as then all have, nothing that
    /// its core does not know (trackers, sync groups), nobody takes its addresses away, and its clock of 32 bits
    /// wraps in the midst of it.
    pub fn with_firmware(mut self) -> Self {
        self.synced = Synced::default();
        for group in &mut self.groups {
            group.virtual_mac = true;
        }
        if let Some(board) = self.nodes.first_mut() {
            board.firmware = true;
            board.clock = (1 << 32) - self.settled_at / 2 % (1 << 32);
            board.refusals = 0;
            for member in board.members.iter_mut().flatten() {
                *member = Member { weight: None, priority: member.base, ..*member };
            }
        }
        self.faults.retain(|(_, fault)| !matches!(fault, Fault::Deface(0, _) | Fault::Track(0, ..)));
        for (_, fault) in &mut self.faults {
            if let Fault::Crash(0, leftovers) = fault {
                *leftovers = false;
            }
        }
        self
    }

    /// Time within which the rules bring order to a whole network, over all Virtual Routers. The terms:
    ///
    /// * what is still on its way when the network becomes whole (`straying`);
    /// * a startup delay that still runs;
    /// * a preempt delay: it begins when the first Active is heard, three intervals and a skew at most;
    /// * three intervals and a skew, until the last Backup that hears nobody it yields to takes over;
    /// * one interval, until an Active that answers to no one repeats its Advertisement to the others;
    /// * the release of a planned stop, an interval or a second;
    /// * a second, where an address could not be put on, or was taken off, and it is tried again;
    /// * the lateness of the machines and the network.
    ///
    /// A sync group settles when its last member does. Where priorities are crossed, both of two groups may step
    /// down once, and the one that is to have it all takes over a second time.
    pub fn settling(&self) -> u64 {
        let longest = (0..self.groups.len()).map(|group| self.settling_of(group)).max().unwrap_or(0);
        if self.synced.members().next().is_some() { 2 * longest } else { longest }
    }

    fn settling_of(&self, group: usize) -> u64 {
        let members = || self.nodes.iter().filter_map(move |node| Some((node, node.members[group]?)));
        let interval = self.interval(group);
        // Trackers and new configurations can lower any priority.
        let skew = self.skew(group, 1, interval);
        let startup = members().map(|(node, _)| node.startup_delay).max().unwrap_or(0);
        let preempt = members().map(|(_, member)| member.preempt_delay).max().unwrap_or(0);
        let defaced = self.faults.iter().any(|(_, fault)| matches!(fault, Fault::Deface(..)));
        let retry = if defaced || members().any(|(node, _)| node.refusals > 0) { 1_100 * MS } else { 0 };
        let preempt = if preempt > 0 { preempt + 3 * interval + skew } else { 0 };
        Self::STRAYING
            + startup
            + preempt
            + retry
            + 3 * interval
            + skew
            + interval
            + interval.min(1_000 * MS)
            + 20 * MS
            + 2 * self.slack()
    }

    /// Whether two nodes can each outrank the other in some member of a Virtual Router's sync group. Both may
    /// step down then, and the group takes longer to move.
    pub fn may_cross(&self, group: usize) -> bool {
        let reloaded = self.faults.iter().any(|(_, fault)| matches!(fault, Fault::Reload(..)));
        let differs = |node: &NodePlan| {
            let mut members = self.synced.members().filter_map(|group| node.members[group]);
            let base = members.next().map(|member| member.base);
            members.any(|member| Some(member.base) != base)
        };
        let weighs = |node: &NodePlan| {
            self.synced.members().filter_map(|group| node.members[group]?.weight).any(|weight| weight != 0)
        };
        self.synced.has(group) && (reloaded || self.nodes.iter().any(|node| differs(node) || weighs(node)))
    }

    /// The longest Advertisement_Interval of a Virtual Router's members.
    pub fn interval(&self, group: usize) -> u64 {
        self.nodes.iter().filter_map(|node| node.members[group]).map(|member| member.interval()).max().unwrap_or(0)
    }

    /// Skew_Time (RFC 9568 section 6.1, RFC 3768 section 6.1), in whole microseconds.
    pub fn skew(&self, group: usize, priority: u8, interval: u64) -> u64 {
        skew(self.groups[group].version, priority, interval)
    }

    /// How late anything can come on a whole network: two nodes that get to run late, two address
    /// operations, two frames on their way.
    pub fn slack(&self) -> u64 {
        let node = self.nodes.iter().map(|node| node.lateness() + node.latency).max().unwrap_or(0);
        2 * node + 2 * self.calm().farthest
    }

    /// The weather of the second half.
    pub fn calm(&self) -> Weather {
        Weather::calm((0..self.groups.len()).map(|group| self.interval(group)).min().unwrap_or(0))
    }

    /// The source address of a node on a network.
    pub fn source(node: usize, lan: usize, family: Family) -> IpAddr {
        // The order of addresses is not that of the nodes, so that ties do not always go the same way.
        let host = [30_u8, 10, 50, 20, 40, 60][node.min(NODES)];
        match family {
            Family::V4 => Ipv4Addr::new(192, 0, 2 + lan as u8, host).into(),
            Family::V6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, lan as u16, host.into()).into(),
        }
    }
}

/// Skew_Time in whole microseconds.
pub fn skew(version: Version, priority: u8, interval: u64) -> u64 {
    let weight = 256 - u64::from(priority);
    match version {
        Version::V3 => (weight * interval) / 256,
        Version::V2 => (weight * 1_000 * MS) / 256,
    }
}

fn longest(nodes: &[NodePlan], unit: u64) -> u64 {
    nodes.iter().flat_map(|node| node.members.iter().flatten()).map(Member::interval).max().unwrap_or(unit)
}

fn groups(rng: &mut Rng, lans: usize, any_v2: bool) -> Vec<Group> {
    let count = rng.pick(&[1, 1, 1, 1, 1, 2, 2, 3]);
    let same_vrid = rng.percent(30);
    (0..count)
        .map(|index: usize| {
            // Same VRID in several groups: then network or family tells them apart.
            let distinct = !same_vrid || index == 2;
            let vrid = if distinct { 10 + index as u8 } else { 10 };
            let lan = if same_vrid && lans == 2 { index % 2 } else { index.min(lans - 1) };
            let v6 = if same_vrid && lans == 1 { index == 1 } else { !any_v2 && rng.percent(30) };
            let version = if any_v2 && !v6 { Version::V2 } else { Version::V3 };
            let length = rng.between(1, 3) as u16;
            let addresses = (0..length)
                .map(|n| match v6 {
                    true if n == 0 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa, 1 + index as u16).into(),
                    true => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, n, 1 + index as u16).into(),
                    false => Ipv4Addr::new(192, 0, 2 + lan as u8, 100 + 10 * index as u8 + n as u8).into(),
                })
                .collect();
            Group { lan, vrid, version, addresses, virtual_mac: rng.percent(30) }
        })
        .collect()
}

fn node(rng: &mut Rng, groups: &[Group], unit_centiseconds: u16) -> NodePlan {
    let unit = u64::from(unit_centiseconds) * 10 * MS;
    let slow = if rng.percent(20) { 15 * MS } else { MS };
    let latency = rng.between(10, slow);
    let anywhere = rng.below(1 << 40);
    let clock = rng.pick(&[0, 1, anywhere, u64::from(u32::MAX) - 1_000_000]);
    let members = groups
        .iter()
        .map(|group| {
            let other_interval = group.version == Version::V3 && unit_centiseconds <= 400 && rng.percent(10);
            let base = rng.pick(&[1, 50, 100, 100, 100, 101, 150, 200, 253, 254]);
            let weight = rng.percent(20).then(|| rng.pick(&[-150, -60, -60, -20, 50, 100, 0, 0]));
            let member = Member {
                base,
                priority: base,
                weight,
                preempt: !rng.percent(20),
                preempt_delay: if rng.percent(10) { rng.between(1, 3 * unit / 100) * 100 } else { 0 },
                centiseconds: if other_interval {
                    unit_centiseconds * rng.pick(&[2, 4, 10])
                } else {
                    unit_centiseconds
                },
                checksum: rng.pick(&[ChecksumMode::Auto, ChecksumMode::PseudoHeader, ChecksumMode::Plain]),
            };
            Some(member.tracked(true))
        })
        .collect();
    NodePlan {
        clock,
        firmware: false,
        jitter: rng.between(1, (unit / 20).clamp(50, 3 * MS)),
        budget: if rng.percent(25) { rng.between(1, 4) as usize } else { 1_000 },
        latency,
        refusals: if rng.percent(10) { rng.between(5, 50) } else { 0 },
        rounds: rng.pick(&[1, 1, 2, 5]),
        startup_delay: if rng.percent(8) { rng.between(1, 2 * unit) } else { 0 },
        starts_at: if rng.percent(50) { 0 } else { rng.below(5 * unit) },
        members,
    }
}

/// Sometimes leaves nodes out of a Virtual Router, and sometimes makes one or two its owner.
fn crown(rng: &mut Rng, nodes: &mut [NodePlan], group: usize) {
    let count = nodes.len();
    if count > 2 && rng.percent(20) {
        nodes[rng.below(count as u64) as usize].members[group] = None;
    }
    let owners = rng.pick(&[0, 0, 0, 0, 0, 0, 1, 1, 2]);
    for _ in 0..owners {
        let chosen = rng.below(count as u64) as usize;
        if let Some(member) = &mut nodes[chosen].members[group] {
            member.base = 255;
            member.priority = 255;
        }
    }
}

fn weather(rng: &mut Rng, unit: u64) -> Weather {
    let calm = Weather::calm(unit);
    if rng.percent(40) {
        return calm;
    }
    let farthest = rng.between(calm.farthest, calm.farthest.max((unit / 5).min(30 * MS)));
    Weather {
        nearest: calm.nearest,
        farthest,
        loss: rng.pick(&[0, 0, 5, 20, 50, 80]),
        doubled: rng.pick(&[0, 0, 5, 30]),
        strays: rng.pick(&[0, 0, 5, 20]),
        straying: rng.between(farthest, 400 * MS),
    }
}

fn faults(
    rng: &mut Rng,
    nodes: &[NodePlan],
    groups: &[Group],
    (from, whole_at): (u64, u64),
    unit: u64,
    count: u64,
) -> Vec<(u64, Fault)> {
    let span = whole_at - from;
    let mut faults = Vec::new();
    for _ in 0..count {
        let at = from + rng.below(span);
        let until = at + 1 + rng.below((whole_at - at).min(8 * unit));
        let until = until.min(whole_at - 1);
        let node = rng.below(nodes.len() as u64) as usize;
        match rng.below(12) {
            0 => faults.push((at, Fault::Weather(weather(rng, unit)))),
            1 | 2 => {
                let mask = rng.between(1, (1 << (NODES + 1)) - 2) as u8;
                let fault = if rng.percent(70) { Fault::Split(mask) } else { Fault::Deaf(mask) };
                faults.extend([(at, fault), (until, Fault::Heal)]);
            }
            3 => faults.push((at, Fault::Stall(node, until - at))),
            4 => faults.push((at, Fault::Freeze(node, until - at))),
            5 => {
                faults.push((at, Fault::Crash(node, true)));
                faults.push((until, Fault::Start(node)));
            }
            6 => {
                faults.push((at, Fault::Crash(node, false)));
                if rng.percent(70) {
                    faults.push((until, Fault::Start(node)));
                }
            }
            7 => {
                faults.push((at, Fault::Stop(node)));
                if rng.percent(70) {
                    faults.push((until, Fault::Start(node)));
                }
            }
            8 => {
                let lan = groups[rng.below(groups.len() as u64) as usize].lan;
                faults.extend([(at, Fault::Cable(node, lan, false)), (until, Fault::Cable(node, lan, true))]);
            }
            9 => faults.push((at, Fault::Deface(node, rng.below(groups.len() as u64) as usize))),
            10 => {
                let group = rng.below(groups.len() as u64) as usize;
                let interval = nodes[node].members[group].map_or(100, |member| member.centiseconds);
                let other = nodes[rng.below(nodes.len() as u64) as usize].members[group];
                let interval = other.map_or(interval, |other| other.centiseconds);
                let priority = rng.pick(&[1, 50, 100, 100, 101, 150, 254, 255]);
                faults.push((at, Fault::Reload(node, group, priority, rng.percent(80), interval)));
            }
            _ => {
                let group = rng.below(groups.len() as u64) as usize;
                faults.push((at, Fault::Track(node, group, false)));
                if rng.percent(60) {
                    faults.push((until, Fault::Track(node, group, true)));
                }
            }
        }
    }
    // The bad times end here, for every one of them.
    let end = whole_at;
    faults.push((end, Fault::Heal));
    for (node, plan) in nodes.iter().enumerate() {
        for (group, member) in plan.members.iter().enumerate() {
            if member.is_some_and(Member::can_fail) {
                faults.push((end, Fault::Track(node, group, true)));
            }
        }
        for lan in 0..LANS {
            faults.push((end, Fault::Cable(node, lan, true)));
        }
        if faults.iter().any(|(_, fault)| matches!(fault, Fault::Crash(crashed, true) if *crashed == node)) {
            faults.push((end, Fault::Start(node)));
        }
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}
