//! The simulated LAN in virtual time: carries frames, lets nodes run, does the scenario's faults to them, and
//! looks at the whole, as no single node can. What it demands of the whole is in `super::order`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use steadfast_core::agent::{Generation, State};
use steadfast_core::types::{Family, Version};

use super::mutant::Mutant;
use super::node::{Node, Power};
use super::order::Order;
use super::packet::{self, Packet};
use super::port::{Frame, Input, Output};
use super::rng::Rng;
use super::scenario::{Fault, GROUPS, LANS, Member, NODES, Scenario, Trial, Weather};
use super::shadow::Broken;
use super::trace::{Note, Trace};

/// Something that is going to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Coming {
    Fault(usize),
    Start(usize),
    Run(usize),
    Frame { to: usize, frame: usize },
    Announcement { node: usize, group: usize, address: usize },
    Changed { node: usize, life: u32, group: usize, acquire: bool, generation: Generation, success: bool },
    Junk,
    Settled,
    TakenOver,
    Healed,
    End,
}

/// A broken rule, where and when.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The seed of the scenario.
    pub seed: u64,
    /// When, in microseconds of virtual time.
    pub at: u64,
    /// Which Virtual Router, by its number.
    pub group: usize,
    /// On which node, if it is one node's.
    pub node: Option<usize>,
    /// Which rule.
    pub rule: &'static str,
    /// How.
    pub detail: String,
}

/// One run of a scenario.
pub struct World<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// Virtual time.
    pub at: u64,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// For each endpoint (the client is the last), a mask of those that it does not hear.
    pub deaf_to: [u8; NODES + 1],
    /// When the last split ended.
    pub healed_at: u64,
    /// What is seen of the whole.
    pub order: Order,
    /// What happened.
    pub trace: Trace,
    /// How often a node ran.
    pub runs: u64,
    weather: Weather,
    /// For each endpoint, when the last frame from each sender gets there: only strays are overtaken.
    arrives: [[u64; NODES + 1]; NODES + 1],
    rng: Rng,
    coming: BinaryHeap<Reverse<(u64, u64, Coming)>>,
    sequence: u64,
    frames: Vec<Frame>,
    outbox: Vec<Output>,
    judged: bool,
    ended: bool,
    victim: Option<usize>,
}

impl<'a> World<'a> {
    /// The world of `scenario`, with routers that are broken as `mutant` says. Without `judged`, only what
    /// can be seen from outside is held against them.
    pub fn new(scenario: &'a Scenario, mutant: Mutant, judged: bool, verbose: bool) -> Self {
        let mut rng = Rng::new(scenario.seed ^ 0x5eed);
        let nodes = scenario.nodes.iter().enumerate();
        let nodes = nodes.map(|(index, plan)| Node::new(index, plan.clone(), mutant, rng.fork())).collect();
        let mut world = Self {
            scenario,
            at: 0,
            nodes,
            deaf_to: [0; NODES + 1],
            healed_at: 0,
            order: Order::default(),
            trace: Trace::new(verbose),
            runs: 0,
            weather: scenario.weather,
            arrives: [[0; NODES + 1]; NODES + 1],
            rng,
            coming: BinaryHeap::with_capacity(64),
            sequence: 0,
            frames: Vec::with_capacity(256),
            outbox: Vec::with_capacity(64),
            judged,
            ended: false,
            victim: None,
        };
        for (number, (at, _)) in scenario.faults.iter().enumerate() {
            world.expect(*at, Coming::Fault(number));
        }
        for (node, plan) in scenario.nodes.iter().enumerate() {
            world.expect(plan.starts_at, Coming::Start(node));
        }
        if let Some(every) = scenario.junk {
            world.expect(every, Coming::Junk);
        }
        world.expect(scenario.settled_at, Coming::Settled);
        world
    }

    fn expect(&mut self, at: u64, coming: Coming) {
        self.sequence += 1;
        self.coming.push(Reverse((at, self.sequence, coming)));
    }

    /// Runs to the end, or to the first broken rule.
    pub fn run(&mut self) -> Option<Violation> {
        while !self.ended {
            let Some(Reverse((at, _, coming))) = self.coming.pop() else { break };
            self.at = at;
            let broken = self.happen(coming).err().or_else(|| Order::watch(self).err());
            if let Some((node, group, (rule, detail))) = broken {
                return Some(Violation { seed: self.scenario.seed, at, group, node, rule, detail });
            }
        }
        for node in &self.nodes {
            node.count_into(&mut self.trace.tally);
        }
        None
    }

    fn happen(&mut self, coming: Coming) -> Result<(), Found> {
        match coming {
            Coming::Fault(number) => {
                let fault = self.scenario.faults[number].1;
                self.trace.note(self.at, Note::Fault(fault));
                if self.at == self.scenario.whole_at {
                    self.weather = self.scenario.calm();
                }
                self.fault(fault);
            }
            Coming::Start(node) => self.fault(Fault::Start(node)),
            Coming::Run(node) => return self.run_node(node),
            Coming::Frame { to, frame } => self.arrive(to, frame),
            Coming::Announcement { node, group, address } => self.client_hears(node, group, Some(address)),
            Coming::Changed { node, life, group, acquire, generation, success } => {
                let node = &mut self.nodes[node];
                if node.life == life {
                    if success {
                        node.holding[group].on = acquire;
                    }
                    node.queue.push_back(Input::Done(group, acquire, generation, success));
                    let index = node.index;
                    self.call(index);
                }
            }
            Coming::Junk => self.junk(),
            Coming::Settled => {
                Order::check(self)?;
                self.begin_trial();
            }
            Coming::TakenOver => return Order::taken_over(self, self.victim),
            Coming::Healed => {
                self.fault(Fault::Heal);
                Order::healed(self);
            }
            Coming::End => {
                self.ended = true;
                Order::check(self)?;
                return Order::served(self, self.victim);
            }
        }
        Ok(())
    }

    /// Lets a node run soon.
    fn call(&mut self, node: usize) {
        let before = self.nodes[node].wake_at;
        self.nodes[node].call(self.at);
        self.schedule(node, before);
    }

    fn schedule(&mut self, node: usize, before: u64) {
        let at = self.nodes[node].wake_at;
        if at != before && at != u64::MAX {
            self.expect(at, Coming::Run(node));
        }
    }

    fn run_node(&mut self, index: usize) -> Result<(), Found> {
        let node = &mut self.nodes[index];
        if node.wake_at != self.at || node.power == Power::Off {
            return Ok(());
        }
        self.runs += 1;
        node.wake_at = u64::MAX;
        if node.is_still(self.at) {
            self.call(index);
            return Ok(());
        }
        let result = node.run(self.at, self.scenario, &self.frames, &mut self.trace, &mut self.outbox);
        self.schedule(index, u64::MAX);
        let outbox = std::mem::take(&mut self.outbox);
        for output in &outbox {
            self.carry_out(index, output);
        }
        self.outbox = outbox;
        self.outbox.clear();
        let node = &mut self.nodes[index];
        if node.power == Power::Off && node.restart {
            self.fault(Fault::Start(index));
        }
        match result {
            Some((group, broken)) if self.judged => Err((Some(index), group, broken)),
            _ => Ok(()),
        }
    }

    fn carry_out(&mut self, from: usize, output: &Output) {
        match *output {
            Output::Send(frame) => self.broadcast(frame),
            Output::Change(group, acquire, generation) => {
                let whole = self.at >= self.scenario.whole_at;
                let node = &mut self.nodes[from];
                let refusals = if whole || !acquire { 0 } else { node.plan.refusals };
                let takes = self.rng.between(5, node.plan.latency);
                let at = node.holding[group].busy_until.max(self.at) + takes;
                node.holding[group].busy_until = at;
                let (life, success) = (node.life, !self.rng.percent(refusals));
                self.expect(at, Coming::Changed { node: from, life, group, acquire, generation, success });
            }
            Output::Announce(group, address) => {
                if self.hears(NODES, from) && self.nodes[from].cable[self.scenario.groups[group].lan] {
                    // Broadcasts pass one switch, so the client hears them in the order in which they were sent.
                    let at = self.at + self.weather.nearest;
                    self.expect(at, Coming::Announcement { node: from, group, address });
                }
            }
            Output::Held(group, on) => self.nodes[from].holding[group].on = on,
            Output::Tell(..) => {}
        }
    }

    /// Whether what `from` says reaches `to`.
    pub fn hears(&self, to: usize, from: usize) -> bool {
        self.deaf_to[to] & 1 << from == 0
    }

    /// Whether all endpoints hear each other and nothing gets lost.
    pub fn is_whole(&self) -> bool {
        self.at >= self.scenario.whole_at + Scenario::STRAYING && self.deaf_to.iter().all(|mask| *mask == 0)
    }

    fn broadcast(&mut self, frame: Frame) {
        let number = self.frames.len();
        self.frames.push(frame);
        if frame.from < NODES && !self.nodes[frame.from].cable[frame.lan] {
            return;
        }
        for to in 0..self.nodes.len() {
            if to != frame.from {
                self.transmit(to, number);
            }
        }
        // Frames from the virtual MAC move the switches, and so the client's frames.
        if self.scenario.groups[frame.group].virtual_mac && frame.valid && self.hears(NODES, frame.from) {
            let at = self.at + self.weather.nearest;
            self.expect(at, Coming::Frame { to: NODES, frame: number });
        }
    }

    fn transmit(&mut self, to: usize, number: usize) {
        let Weather { nearest, farthest, loss, doubled, strays, straying } = self.weather;
        let from = self.frames[number].from;
        if !self.hears(to, from) || (loss > 0 && self.rng.percent(loss)) {
            return;
        }
        let copies = if doubled > 0 && self.rng.percent(doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let stray = strays > 0 && self.rng.percent(strays);
            let farthest = if stray { straying } else { farthest };
            let mut at = self.at + self.rng.between(nearest, farthest);
            if !stray {
                at = at.max(self.arrives[to][from]);
                self.arrives[to][from] = at;
            }
            self.expect(at, Coming::Frame { to, frame: number });
        }
    }

    fn arrive(&mut self, to: usize, number: usize) {
        let frame = &self.frames[number];
        if to == NODES {
            return self.client_hears(frame.from, frame.group, None);
        }
        let node = &mut self.nodes[to];
        if node.power != Power::Off && node.cable[frame.lan] && self.at >= node.frozen_until {
            node.queue.push_back(Input::Frame(number));
            self.call(to);
        }
    }

    /// The client learns where an address (or all of a virtual MAC) is.
    fn client_hears(&mut self, node: usize, group: usize, address: Option<usize>) {
        let count = self.scenario.groups[group].addresses.len();
        let range = address.map_or(0..count, |address| address..address + 1);
        for address in range {
            let entry = &mut self.order.client[group][address];
            if entry.is_none_or(|(known, _)| known != node) {
                self.trace.note(self.at, Note::Client { group, node });
            }
            *entry = Some((node, self.at));
        }
    }

    fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Weather(weather) => self.weather = weather,
            Fault::Split(mask) => {
                self.deaf_to = std::array::from_fn(|to| if mask >> to & 1 == 1 { !mask } else { mask });
            }
            Fault::Deaf(mask) => {
                self.deaf_to = std::array::from_fn(|to| if mask >> to & 1 == 1 { 0 } else { mask });
            }
            Fault::Heal => {
                self.deaf_to = [0; NODES + 1];
                self.healed_at = self.at;
            }
            Fault::Stall(node, span) => self.stand_still(node, span),
            Fault::Freeze(node, span) => {
                self.nodes[node].frozen_until = self.at + span;
                self.stand_still(node, span);
            }
            Fault::Crash(index, leftovers) => {
                let node = &mut self.nodes[index];
                if node.power != Power::Off {
                    node.stop();
                }
                if !leftovers {
                    node.holding = Default::default();
                }
            }
            Fault::Stop(index) => {
                let node = &mut self.nodes[index];
                if node.power == Power::On {
                    node.power = Power::Leaving;
                    node.queue.push_back(Input::Shutdown);
                    self.call(index);
                }
            }
            Fault::Start(index) => {
                let node = &mut self.nodes[index];
                match node.power {
                    Power::Off => {
                        node.start(self.at, self.scenario);
                        self.schedule(index, u64::MAX);
                    }
                    Power::Leaving => node.restart = true,
                    Power::On => {}
                }
            }
            Fault::Cable(index, lan, up) => {
                let node = &mut self.nodes[index];
                if node.cable[lan] != up {
                    node.cable[lan] = up;
                    if node.power == Power::Off {
                        return;
                    }
                    node.queue.push_back(Input::Link(lan, up));
                    self.call(index);
                }
            }
            Fault::Reload(index, group, base, preempt, centiseconds) => {
                let node = &mut self.nodes[index];
                let up = node.tracked[group];
                if let Some(member) = &mut node.plan.members[group] {
                    *member = Member { base, preempt, centiseconds, ..*member }.tracked(up);
                }
                if let Some(part) = &mut node.parts[group] {
                    // Until it runs, it knows nothing of a shorter interval.
                    part.spoke = part.spoke.max(self.at);
                    node.queue.push_back(Input::Reload(group));
                    self.call(index);
                }
            }
            Fault::Track(index, group, up) => {
                let node = &mut self.nodes[index];
                node.tracked[group] = up;
                if let Some(member) = &mut node.plan.members[group] {
                    *member = member.tracked(up);
                }
                if node.power != Power::Off {
                    node.queue.push_back(Input::Track(group, up));
                    self.call(index);
                }
            }
            Fault::Deface(index, group) => {
                let node = &mut self.nodes[index];
                if node.power != Power::Off && node.holding[group].on {
                    node.holding[group].on = false;
                    node.queue.push_back(Input::Lost(group));
                    self.call(index);
                }
            }
        }
    }

    fn stand_still(&mut self, index: usize, span: u64) {
        let node = &mut self.nodes[index];
        node.still_until = node.still_until.max(self.at + span);
        if node.power != Power::Off {
            self.call(index);
        }
    }

    /// A stranger sends an Advertisement of high priority that fails one receive check.
    fn junk(&mut self) {
        let group = self.rng.below(self.scenario.groups.len() as u64) as usize;
        let common = &self.scenario.groups[group];
        let family = Family::of(&common.addresses[0]);
        let source = Scenario::source(NODES, common.lan, family);
        let interval = self.scenario.interval(group);
        let mut packet = Packet {
            version: common.version,
            vrid: common.vrid,
            priority: self.rng.pick(&[0, 255]),
            interval: if common.version == Version::V2 { interval / 1_000_000 } else { interval / 10_000 } as u16,
            source,
            pseudo_header: self.rng.percent(50),
            authentication: (0, [0; 8]),
            addresses: common.addresses.clone(),
        };
        let mut envelope = packet.envelope();
        let kind = self.rng.below(9);
        match kind {
            0 => envelope.hop_limit = self.rng.pick(&[0, 1, 64, 254]),
            1 => packet.vrid = self.rng.pick(&[0, 9, 255]),
            2 => packet.addresses.clear(),
            3 => packet.interval = 0,
            _ => {}
        }
        let mut payload = packet.payload();
        match kind {
            4 => payload[7] ^= 0x40,
            5 => payload[0] = self.rng.pick(&[0x11, 0x41, 0x01, 0xf1]),
            6 => payload[0] = payload[0] & 0xf0 | self.rng.pick(&[0, 2, 15]),
            7 => payload.truncate(self.rng.below(payload.len() as u64) as usize),
            8 => payload.extend([0; 4]),
            _ => {}
        }
        self.broadcast(Frame::new(NODES, group, common.lan, envelope, &payload));
        if let Some(every) = self.scenario.junk {
            let next = self.rng.between(every / 2 + 1, every * 2);
            self.expect(self.at + next, Coming::Junk);
        }
    }

    /// The second half: one thing is done to a quiet network.
    fn begin_trial(&mut self) {
        let Scenario { trial, trial_length: length, .. } = *self.scenario;
        let active = Order::active(self, 0);
        let backup = self.nodes.iter().position(|node| node.state(0) == State::Backup);
        let victim = match trial {
            Trial::Quiet => None,
            Trial::StallBackup | Trial::FreezeBackup => backup,
            _ => active,
        };
        self.trace.note(self.at, Note::Trial(victim));
        self.victim = victim;
        Order::begin_trial(self);
        let settling = self.scenario.settling();
        let Some(node) = victim else {
            let interval = (0..GROUPS.min(self.scenario.groups.len())).map(|group| self.scenario.interval(group)).max();
            return self.expect(self.at + 4 * interval.unwrap_or(0), Coming::End);
        };
        match trial {
            Trial::Quiet => {}
            Trial::Kill => self.fault(Fault::Crash(node, false)),
            Trial::Stop => self.fault(Fault::Stop(node)),
            Trial::CutOff { with_client } => {
                let client = if with_client { 1 << NODES } else { 0 };
                self.fault(Fault::Split(1 << node | client));
            }
            Trial::StallBackup => self.fault(Fault::Stall(node, length)),
            Trial::FreezeBackup | Trial::FreezeActive => self.fault(Fault::Freeze(node, length)),
        }
        let bound = Order::takeover_bound(self, node);
        let lasting = matches!(trial, Trial::Kill | Trial::Stop) || length > bound;
        if lasting && active == victim {
            self.expect(self.at + bound, Coming::TakenOver);
        }
        let healed = if matches!(trial, Trial::Kill | Trial::Stop) { 0 } else { length };
        if healed > 0 {
            self.expect(self.at + healed, Coming::Healed);
        }
        self.expect(self.at + healed + settling, Coming::End);
    }

    /// How many frames were sent.
    pub fn sent(&self) -> usize {
        self.frames.len()
    }
}

/// Where a rule was broken (node, Virtual Router), and which.
pub type Found = (Option<usize>, usize, Broken);

const _: () = assert!(LANS <= 8 && NODES < 8, "masks are bytes");
const _: () = assert!(packet::LONGEST >= 8 + 3 * 16 + 4 + 8, "junk is longer than what it spoils");
