//! A node of the simulated LAN: an agent (or a board with firmware), and around it all that a port and its kernel do. Inputs wait in a
//! queue until the node gets to run; it drains the queue, then drives the agent within its budget, as
//! the core's contract says; what comes out is left in a box for `super::world` to carry out. The rules are
//! held against all of it on the way, by a `Shadow` for each Virtual Router.

use std::collections::VecDeque;
use std::net::IpAddr;

use steadfast_core::agent::{
    Agent, EventKind, InterfaceId, Link, Refused, Report, RouterConfig, RouterId, Settings, State, TrackerId, Weight,
};
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Family, Interval, Priority, Version, Vrid};
use steadfast_core::wire::Discard;

use super::brain::Brain;
use super::mutant::Mutant;
use super::port::{Frame, Hands, Input, Output, Store};
use super::rng::Rng;
use super::scenario::{GROUPS, Group, LANS, Member, NodePlan, Scenario};
use super::shadow::{Broken, Shadow, Verdict};
use super::trace::{Note, Tally, Trace};

/// Whether a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Off.
    Off,
    /// Running.
    On,
    /// On its way out, as planned.
    Leaving,
}

/// A Virtual Router on this node.
#[derive(Clone, Debug)]
pub struct Part {
    id: RouterId,
    tracker: Option<TrackerId>,
    /// Its state as the agent shows it.
    pub state: State,
    /// The judge of it.
    pub shadow: Shadow,
    /// When it last sent an Advertisement as Active, or became able to, in the world's time.
    pub spoke: u64,
    /// When it became Active.
    pub active_since: u64,
    /// When it last heard a rival while it was Active.
    pub rival_heard: u64,
    /// How many announcements it has sent since it became Active.
    pub announced: usize,
}

impl Part {
    fn observe(&mut self, at: u64, state: State) {
        if self.state != state && state == State::Active {
            self.active_since = at;
            self.spoke = at;
            self.announced = 0;
        }
        self.state = state;
    }
}

/// What the node's kernel holds for a Virtual Router.
#[derive(Clone, Copy, Debug, Default)]
pub struct Holding {
    /// Its addresses are on.
    pub on: bool,
    /// Until when the kernel works on earlier requests.
    pub busy_until: u64,
}

/// A node.
pub struct Node {
    /// Its number.
    pub index: usize,
    /// How good its machine is.
    pub plan: NodePlan,
    /// Whether it runs.
    pub power: Power,
    /// How often it was started: reports to an earlier life go nowhere.
    pub life: u32,
    /// What waits for it.
    pub queue: VecDeque<Input>,
    /// When it runs next; `u64::MAX`: when something comes in.
    pub wake_at: u64,
    /// It stands still until then.
    pub still_until: u64,
    /// What arrives until then is lost.
    pub frozen_until: u64,
    /// Its cables.
    pub cable: [bool; LANS],
    /// What its kernel holds.
    pub holding: [Holding; GROUPS],
    /// Whether what its trackers look at works, by Virtual Router.
    pub tracked: [bool; GROUPS],
    /// Its Virtual Routers.
    pub parts: [Option<Part>; GROUPS],
    /// Switched on again as soon as it has ended.
    pub restart: bool,
    brain: Option<Brain>,
    /// What its clock shows beyond the world's time.
    offset: u64,
    interfaces: [Option<InterfaceId>; LANS],
    by_router: [usize; GROUPS],
    rng: Rng,
    mutant: Mutant,
    muted_until: u64,
    broken: Option<(usize, Broken)>,
}

impl Node {
    /// A node that is off.
    pub fn new(index: usize, plan: NodePlan, mutant: Mutant, rng: Rng) -> Self {
        Self {
            index,
            plan,
            power: Power::Off,
            life: 0,
            queue: VecDeque::new(),
            wake_at: u64::MAX,
            still_until: 0,
            frozen_until: 0,
            cable: [true; LANS],
            holding: [Holding::default(); GROUPS],
            tracked: [true; GROUPS],
            parts: [const { None }; GROUPS],
            restart: false,
            brain: None,
            offset: 0,
            interfaces: [None; LANS],
            by_router: [0; GROUPS],
            rng,
            mutant,
            muted_until: 0,
            broken: None,
        }
    }

    /// A time of the world on this node's clock.
    fn clock(&self, at: u64) -> Instant {
        Instant::from_micros(at.wrapping_add(self.offset))
    }

    /// The state of a Virtual Router, if the node runs.
    pub fn state(&self, group: usize) -> State {
        self.view(group, |view| view.state).unwrap_or(State::Initialize)
    }

    /// The Active that a Virtual Router follows.
    pub fn follows(&self, group: usize) -> Option<IpAddr> {
        self.view(group, |view| view.active_address).flatten()
    }

    fn view<T>(&self, group: usize, read: impl Fn(steadfast_core::agent::View<'_>) -> T) -> Option<T> {
        let part = self.parts[group].as_ref()?;
        self.brain.as_ref()?.view(part.id).map(read)
    }

    /// Adds what its Virtual Routers have counted.
    pub fn count_into(&self, tally: &mut Tally) {
        for part in self.parts.iter().flatten() {
            let Some(view) = self.brain.as_ref().and_then(|brain| brain.view(part.id)) else { continue };
            for (name, count) in view.counters.iter() {
                *tally.entry(name).or_default() += count;
            }
        }
    }

    /// Whether it stands still.
    pub fn is_still(&self, at: u64) -> bool {
        at < self.still_until
    }

    /// How late it gets to run this time.
    pub fn delay(&mut self) -> u64 {
        self.rng.below(self.plan.jitter + 1)
    }

    /// Sees to it that it runs soon.
    pub fn call(&mut self, at: u64) {
        let soon = at.max(self.still_until) + self.delay();
        self.wake_at = self.wake_at.min(soon);
    }

    /// Switches it on: a new agent, with what its kernel still holds.
    pub fn start(&mut self, at: u64, scenario: &Scenario) {
        let mut brain = Brain::new(self.plan.firmware);
        let now = brain.now(at + self.plan.clock);
        self.offset = now.as_micros().wrapping_sub(at);
        self.power = Power::On;
        self.restart = false;
        self.life += 1;
        self.queue.clear();
        self.wake_at = u64::MAX;
        let startup = Duration::from_micros(self.plan.startup_delay);
        brain.set_startup_delay(now, startup);
        for lan in 0..LANS {
            let interface = brain.add_interface().ok();
            self.interfaces[lan] = interface;
            let Some(interface) = interface else { continue };
            for family in [Family::V4, Family::V6] {
                brain.handle_source(now, interface, Scenario::source(self.index, lan, family));
            }
        }
        for (group, common) in scenario.groups.iter().enumerate() {
            self.parts[group] = None;
            let Some(member) = self.plan.members[group] else { continue };
            let Some(interface) = self.interfaces[common.lan] else { continue };
            let settings = self.settings(common, member);
            let config = RouterConfig { interface, settings, addresses: &common.addresses, excluded: &[], peers: &[] };
            let id = brain.add(now, &config, self.holding[group].on).expect("the agent has room");
            self.by_router[id.index()] = group;
            let tracker = brain.agent().zip(member.weight).map(|(agent, weight)| {
                let tracker = agent.add_tracker().expect("the agent has room");
                agent.handle_report(now, tracker, report(self.tracked[group]));
                agent.track(now, id, tracker, Weight(weight)).expect("the agent has room");
                tracker
            });
            let grouped = scenario.synced.has(group);
            let begins = (now + startup).as_micros();
            let mut shadow = Shadow::new(member, common.version, common.virtual_mac, begins, grouped);
            shadow.tracked(now.as_micros(), self.tracked[group]);
            self.parts[group] = Some(Part {
                id,
                tracker,
                state: State::Initialize,
                shadow,
                spoke: at,
                active_since: at,
                rival_heard: 0,
                announced: 0,
            });
        }
        if let Some(agent) = brain.agent() {
            self.join(agent, now, scenario);
        }
        for lan in (0..LANS).filter(|lan| self.cable[*lan]) {
            if let Some(interface) = self.interfaces[lan] {
                brain.handle_link(now, interface, Link::Up);
            }
        }
        self.compare(&brain, at, scenario);
        self.brain = Some(brain);
        self.call(at);
    }

    /// Makes the sync group of the scenario.
    fn join(&self, agent: &mut Agent<Store>, now: Instant, scenario: &Scenario) {
        if self.mutant == Mutant::MovesAlone {
            return;
        }
        let mut sync_group = None;
        for group in scenario.synced.members() {
            let Some(part) = &self.parts[group] else { continue };
            let id = *sync_group.get_or_insert_with(|| agent.add_group().expect("the agent has room"));
            agent.join(now, part.id, id).expect("the agent has room");
        }
    }

    /// What the agent is told that a Virtual Router is.
    fn settings(&self, common: &Group, member: Member) -> Settings {
        let told = self.mutant.configure(member, common.version);
        let family = Family::of(&common.addresses[0]);
        let vrid = Vrid::new(common.vrid).expect("scenarios have VRIDs from 10");
        let mut settings = Settings::new(family, vrid);
        settings.version = common.version;
        settings.priority = Priority::new(told.base).expect("scenarios have priorities from 1");
        settings.interval = match common.version {
            Version::V2 => Interval::from_seconds((told.centiseconds / 100) as u8).expect("whole seconds"),
            Version::V3 => Interval::from_centiseconds(told.centiseconds).expect("at most 4095"),
        };
        settings.preempt = told.preempt;
        settings.preempt_delay = Duration::from_micros(told.preempt_delay).into();
        settings.checksum = told.checksum;
        settings.virtual_mac = common.virtual_mac;
        settings.announcing.repeat = self.plan.rounds;
        settings
    }

    /// It is gone: by a crash, or because it has ended.
    pub fn stop(&mut self) {
        self.power = Power::Off;
        self.life += 1;
        self.brain = None;
        if self.plan.firmware {
            // A board without power holds nothing.
            self.holding = Default::default();
        }
        self.queue.clear();
        self.wake_at = u64::MAX;
        self.parts = [const { None }; GROUPS];
    }

    /// Runs once: drains the queue, drives the agent. What it does is put into `outbox`. The group and the
    /// rule, if one was broken.
    pub fn run(
        &mut self,
        at: u64,
        scenario: &Scenario,
        frames: &[Frame],
        trace: &mut Trace,
        outbox: &mut Vec<Output>,
    ) -> Option<(usize, Broken)> {
        let mut brain = self.brain.take()?;
        let (told, now) = (brain.now(at + self.plan.clock), self.clock(at));
        if told != now {
            keep(&mut self.broken, 0, Err(("clock", format!("{told:?} and not {now:?}"))));
        }
        self.run_brain(&mut brain, at, scenario, frames, trace, outbox);
        let ended = self.power == Power::Leaving && brain.is_idle();
        self.brain = Some(brain);
        if ended {
            trace.note(at, Note::Ended { node: self.index });
            self.stop();
        }
        self.broken.take()
    }

    fn run_brain(
        &mut self,
        brain: &mut Brain,
        at: u64,
        scenario: &Scenario,
        frames: &[Frame],
        trace: &mut Trace,
        outbox: &mut Vec<Output>,
    ) {
        // The contract: `now` is read before the queues are drained.
        let now = self.clock(at);
        if self.mutant == Mutant::ExpiresBeforeDraining {
            self.drive(brain, at, now, scenario, trace, outbox);
        }
        while let Some(input) = self.queue.pop_front() {
            self.take(brain, at, input, scenario, frames, trace, outbox);
        }
        if at < self.muted_until {
            self.wake_at = self.muted_until;
            return;
        }
        if self.mutant == Mutant::ForgetsPatience
            && self.plan.startup_delay == 0
            && let Some(due) = brain.poll_at()
            && due > Instant::default()
            && due < now
        {
            self.drive(brain, at, due, scenario, trace, outbox);
        }
        self.drive(brain, at, now, scenario, trace, outbox);
    }

    #[allow(clippy::too_many_arguments, reason = "the world lends what it has")]
    fn take(
        &mut self,
        brain: &mut Brain,
        at: u64,
        input: Input,
        scenario: &Scenario,
        frames: &[Frame],
        trace: &mut Trace,
        outbox: &mut Vec<Output>,
    ) {
        let now = self.clock(at);
        let before = self.shown();
        match input {
            Input::Frame(number) => self.hear(brain, at, now, &frames[number], trace),
            Input::Link(lan, up) => {
                let Some(interface) = self.interfaces[lan] else { return };
                let link = if up { Link::Up } else { Link::Down };
                brain.handle_link(now, interface, link);
                for part in self.parts.iter_mut().flatten() {
                    let here = brain.view(part.id).is_some_and(|view| view.interface == interface);
                    if here && !up {
                        part.shadow.stopped(now.as_micros());
                    }
                }
            }
            Input::Done(group, acquire, generation, success) => {
                trace.note(at, Note::Done { node: self.index, group, acquire, success });
                let (Some(part), Some(agent)) = (&mut self.parts[group], brain.agent()) else { return };
                part.shadow.done(generation, success);
                agent.handle_done(now, part.id, generation, if success { Ok(()) } else { Err(Refused) });
            }
            Input::Lost(group) => {
                let (Some(part), Some(agent)) = (&mut self.parts[group], brain.agent()) else { return };
                part.shadow.lost();
                agent.handle_lost(now, part.id);
            }
            Input::Reload(group) => {
                let (Some(member), Some(part)) = (self.plan.members[group], &self.parts[group]) else { return };
                let id = part.id;
                let common = &scenario.groups[group];
                let Some(interface) = self.interfaces[common.lan] else { return };
                let settings = self.settings(common, member);
                let config =
                    RouterConfig { interface, settings, addresses: &common.addresses, excluded: &[], peers: &[] };
                let mut hands = Hands { node: self.index, by_router: self.by_router, scenario, outbox };
                brain.reconfigure(now, id, &config, &mut hands).expect("it is the same Virtual Router");
                if let Some(part) = &mut self.parts[group] {
                    // An interval that has become shorter counts from here.
                    part.spoke = at;
                    part.shadow.reloaded(now.as_micros(), member.tracked(self.tracked[group]));
                }
            }
            Input::Track(group, up) => {
                let (Some(part), Some(agent)) = (&mut self.parts[group], brain.agent()) else { return };
                let Some(tracker) = part.tracker else { return };
                part.shadow.tracked(now.as_micros(), up);
                agent.handle_report(now, tracker, report(up));
            }
            Input::Shutdown => {
                brain.shutdown(now);
                for part in self.parts.iter_mut().flatten() {
                    part.shadow.stopped(now.as_micros());
                }
            }
        }
        scenario.synced.carry(&mut self.parts, before, now.as_micros());
        self.compare(brain, at, scenario);
    }

    /// The state of each Virtual Router as it was last looked at.
    fn shown(&self) -> [State; GROUPS] {
        std::array::from_fn(|group| self.parts[group].as_ref().map_or(State::Initialize, |part| part.state))
    }

    /// Compares each Virtual Router with its judge, after an input.
    fn compare(&mut self, brain: &Brain, at: u64, scenario: &Scenario) {
        let now = self.clock(at);
        for (group, part) in self.parts.iter_mut().enumerate() {
            let Some(part) = part else { continue };
            let Some(view) = brain.view(part.id) else { continue };
            part.observe(at, view.state);
            if !scenario.synced.has(group) && !self.plan.firmware {
                keep(&mut self.broken, group, part.shadow.compare(now.as_micros(), view.state));
            }
        }
        let shown = self.shown();
        let verdict = scenario.synced.compare(&mut self.parts, now.as_micros(), &shown);
        keep_verdict(&mut self.broken, verdict);
    }

    fn hear(&mut self, brain: &mut Brain, at: u64, now: Instant, frame: &Frame, trace: &mut Trace) {
        let Some(interface) = self.interfaces[frame.lan] else { return };
        let said = frame.heard;
        let mut frame = *frame;
        let part = self.parts[frame.group].as_mut();
        let (own, interval) = self.plan.members[frame.group].map_or((0, 0), |m| (m.priority, m.interval()));
        if self.mutant == Mutant::YieldsToEqual && frame.valid && frame.heard.priority == own && own < 255 {
            frame = frame.with_priority(own + 1);
        }
        let active = part.as_ref().is_some_and(|part| part.shadow.state == State::Active);
        if self.mutant == Mutant::RearmsOnReceive && active {
            self.muted_until = at + interval;
        }
        let result = brain.hear(now, interface, &frame, part.as_ref().map(|part| part.id));
        let note = Note::Heard {
            node: self.index,
            group: frame.group,
            from: frame.from,
            priority: said.priority,
            valid: result.is_ok(),
        };
        trace.note(at, note);
        let Some(part) = part else {
            let foreign = ("foreign", "accepted for a Virtual Router that is not ours".into());
            return keep(&mut self.broken, frame.group, result.map_or(Ok(()), |_| Err(foreign)));
        };
        match result {
            Ok(id) if frame.valid && id == part.id => {
                let sender = frame.envelope.source;
                let ours = Scenario::source(self.index, frame.lan, Family::of(&sender));
                part.shadow.heard(now.as_micros(), said, sender > ours);
                if part.shadow.state == State::Active && said.priority > 0 {
                    part.rival_heard = at;
                }
            }
            // A planned stop still listens for its successor.
            Err(Discard::NotRunning) if frame.valid && part.shadow.state == State::Initialize => {}
            Err(_) if !frame.valid => {}
            result => {
                let detail = format!("{result:?}, valid = {}", frame.valid);
                keep(&mut self.broken, frame.group, Err(("receive-checks", detail)));
            }
        }
    }

    /// Drives the brain, which is told that it is `told`.
    fn drive(
        &mut self,
        brain: &mut Brain,
        at: u64,
        told: Instant,
        scenario: &Scenario,
        trace: &mut Trace,
        outbox: &mut Vec<Output>,
    ) {
        let first = outbox.len();
        let haste = Duration::from_micros(self.mutant.haste(scenario));
        let now = self.clock(at);
        let budget = self.plan.budget;
        let mut port = Hands { node: self.index, by_router: self.by_router, scenario, outbox };
        let next = brain.drive(told + haste, budget, &mut port);
        let spent = outbox.len() - first == budget || self.plan.firmware && outbox.len() > first;
        let unheard = self.queue.iter().any(|input| matches!(input, Input::Frame(_)));
        for (group, part) in self.parts.iter_mut().enumerate() {
            let Some(part) = part else { continue };
            let Some(view) = brain.view(part.id) else { continue };
            part.observe(at, view.state);
            if !scenario.synced.has(group) && !self.plan.firmware {
                keep(&mut self.broken, group, part.shadow.expired(now.as_micros(), view.state, unheard));
            }
        }
        let shown = self.shown();
        let verdict = scenario.synced.expired(&mut self.parts, now.as_micros(), &shown, unheard);
        keep_verdict(&mut self.broken, verdict);
        if self.mutant != Mutant::Sound {
            self.mutant.spoil(&mut self.parts, &mut self.queue, now.as_micros(), outbox, first);
        }
        let mut rank = 0;
        for output in &outbox[first..] {
            // A board has put its addresses on before it is asked for the Advertisement that waits for them.
            let waited = self.plan.firmware && matches!(output, Output::Send(_));
            if output.rank() < rank && !waited {
                keep(&mut self.broken, 0, Err(("order", format!("{output:?} after rank {rank}"))));
            }
            rank = output.rank();
            self.judge(at, now, output, trace);
        }
        self.wake_at = match next {
            None => u64::MAX,
            Some(due) if due <= now && spent => at + 20,
            Some(due) if due <= now => {
                let detail = format!("poll_at {due:?} is not after {now:?} when drained");
                keep(&mut self.broken, 0, Err(("contract", detail)));
                at + 20
            }
            Some(due) => {
                due.as_micros().saturating_sub(haste.as_micros()).wrapping_sub(self.offset).max(at) + self.delay()
            }
        };
        if !spent && !self.plan.firmware {
            for (group, part) in self.parts.iter_mut().enumerate() {
                if let Some(part) = part {
                    keep(&mut self.broken, group, part.shadow.drained(now.as_micros()));
                }
            }
        }
    }

    fn judge(&mut self, at: u64, now: Instant, output: &Output, trace: &mut Trace) {
        let node = self.index;
        match *output {
            Output::Send(frame) => {
                let (group, priority) = (frame.group, frame.heard.priority);
                trace.note(at, Note::Sent { node, group, priority });
                let Some(part) = &mut self.parts[group] else { return };
                part.spoke = at;
                let verdict = part.shadow.advertised(now.as_micros(), priority);
                if !self.plan.firmware {
                    keep(&mut self.broken, group, verdict);
                }
            }
            Output::Change(group, acquire, generation) => {
                trace.note(at, Note::Asked { node, group, acquire, generation });
                let Some(part) = &mut self.parts[group] else { return };
                keep(&mut self.broken, group, part.shadow.asked(acquire, generation));
            }
            Output::Held(group, acquire) => {
                trace.note(at, Note::Done { node, group, acquire, success: true });
            }
            Output::Announce(group, address) => {
                trace.note(at, Note::Announced { node, group, address });
                let Some(part) = &mut self.parts[group] else { return };
                part.announced += 1;
                let verdict = part.shadow.announced();
                if !self.plan.firmware {
                    keep(&mut self.broken, group, verdict);
                }
            }
            Output::Tell(group, event) => {
                if let EventKind::Transition { from, to, reason } = event.kind {
                    trace.note(at, Note::Moved { node, group, from, to, reason });
                }
            }
        }
    }
}

fn report(up: bool) -> Report {
    if up { Report::Up } else { Report::Down }
}

/// Keeps the first broken rule.
fn keep(broken: &mut Option<(usize, Broken)>, group: usize, result: Result<(), Broken>) {
    if let Err(rule) = result {
        broken.get_or_insert((group, rule));
    }
}

fn keep_verdict(broken: &mut Option<(usize, Broken)>, verdict: Verdict) {
    if let Err(rule) = verdict {
        broken.get_or_insert(rule);
    }
}
