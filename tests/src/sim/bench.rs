//! One Virtual Router on a bench: driven by hand through the agent's public API, with what it does noted
//! down. For tests of single rules; whole networks are `super::world`'s.

use std::net::IpAddr;

use steadfast_core::agent::{
    Action, Agent, EventKind, Generation, InterfaceId, Link, Reason, Refused, RouterConfig, RouterId, Settings, State,
};
use steadfast_core::storage::Fixed;
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Family, Interval, Priority, Version, Vrid};
use steadfast_core::wire::Discard;

use super::packet::{LONGEST, Packet, read};

/// A second in microseconds.
pub const SECOND: u64 = 1_000_000;

/// A millisecond in microseconds.
pub const MS: u64 = 1_000;

/// What the router did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// Sent an Advertisement with this priority and interval (in microseconds).
    Sent(u8, u64),
    /// Asked for its addresses.
    Acquire,
    /// Asked to be rid of them.
    Release,
    /// Announced an address.
    Announce(IpAddr),
    /// Changed its state.
    Moved(State, State, Reason),
    /// Reported another Active.
    Dual(IpAddr),
    /// Is gone.
    Retired,
}

/// How the port of the bench answers acquisitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Done, at once.
    Done,
    /// Refused, at once.
    Refused,
    /// Not at all: the test does.
    Never,
}

/// The bench. Its router has VRID 7, priority 100, version 3, an interval of 1 s; it is at 192.0.2.50 and
/// fe80::50, and its network is up.
pub struct Bench {
    /// The agent.
    pub agent: Agent<Fixed<4, 16, 2, 8>>,
    /// The network.
    pub interface: InterfaceId,
    /// The router.
    pub id: RouterId,
    /// The time, in microseconds.
    pub now: u64,
    /// How acquisitions and releases are answered.
    pub answers: Answers,
    /// The last generation that was asked for.
    pub generation: Option<Generation>,
    family: Family,
}

/// The priority with this number.
pub fn priority(number: u8) -> Priority {
    Priority::new(number).expect("not zero")
}

/// The interval of so many centiseconds.
pub fn centiseconds(number: u16) -> Interval {
    Interval::from_centiseconds(number).expect("1 to 4095")
}

/// The interval of so many seconds, for version 2.
pub fn seconds(number: u8) -> Interval {
    Interval::from_seconds(number).expect("not zero")
}

/// An address on the bench's network: 192.0.2.`host`, or fe80::`host` (read as hexadecimal digits).
pub fn host(family: Family, host: u8) -> IpAddr {
    let text = match family {
        Family::V4 => format!("192.0.2.{host}"),
        Family::V6 => format!("fe80::{host}"),
    };
    text.parse().expect("an address")
}

impl Bench {
    /// A router over IPv4 at time 10 s, with its settings as `edit` leaves them.
    pub fn new(edit: impl FnOnce(&mut Settings)) -> Self {
        Self::with(Family::V4, false, edit)
    }

    /// A router of `family`; `held`: its addresses were found on the interface.
    pub fn with(family: Family, held: bool, edit: impl FnOnce(&mut Settings)) -> Self {
        let now = Instant::from_micros(10 * SECOND);
        let mut agent = Agent::new();
        let interface = agent.add_interface().expect("room");
        for family in [Family::V4, Family::V6] {
            agent.handle_source(now, interface, family, Some(host(family, 50)));
        }
        agent.handle_link(now, interface, Link::Up);
        let mut settings = Settings::new(family, Vrid::new(7).expect("not zero"));
        settings.version = Version::V3;
        edit(&mut settings);
        let addresses = Self::addresses(family);
        let config = RouterConfig { interface, settings, addresses: &addresses, excluded: &[], peers: &[] };
        let id = agent.add(now, &config, held).expect("room");
        let mut bench = Self { agent, interface, id, now: 0, answers: Answers::Done, generation: None, family };
        bench.now = now.as_micros();
        bench
    }

    /// The virtual addresses: two of them, link-local over IPv6.
    pub fn addresses(family: Family) -> [IpAddr; 2] {
        [host(family, 100), host(family, 101)]
    }

    /// The time as the agent takes it.
    pub fn instant(&self) -> Instant {
        Instant::from_micros(self.now)
    }

    /// The state.
    pub fn state(&self) -> State {
        self.agent.view(self.id).expect("it is there").state
    }

    /// A counter, by its name.
    pub fn counter(&self, name: &str) -> u64 {
        let counters = self.agent.view(self.id).expect("it is there").counters;
        counters.iter().find(|(label, _)| *label == name).expect("a counter of this name").1
    }

    /// When the next deadline is, in microseconds from now.
    pub fn due_in(&self) -> Option<u64> {
        self.agent.poll_at().map(|at| at.as_micros().saturating_sub(self.now))
    }

    /// An Advertisement for this router from `from`, in its version, with an interval of 1 s.
    pub fn packet(&self, from: u8, priority: u8) -> Packet {
        let (source, addresses) = (host(self.family, from), Self::addresses(self.family));
        match self.agent.view(self.id).expect("it is there").settings.version {
            Version::V2 => Packet::v2(priority, source, &addresses),
            Version::V3 => Packet::v3(priority, source, &addresses),
        }
    }

    /// Lets it hear an Advertisement, without draining the agent.
    pub fn give(&mut self, packet: &Packet) -> Result<RouterId, Discard> {
        let now = self.instant();
        self.agent.handle_advertisement(now, self.interface, &packet.envelope(), &packet.payload())
    }

    /// Lets it hear a valid Advertisement of 1 s from `from`, and notes what it does.
    pub fn hear(&mut self, from: u8, priority: u8) -> Vec<Did> {
        self.give(&self.packet(from, priority)).expect("it is valid");
        self.drain()
    }

    /// Drains the agent now.
    pub fn drain(&mut self) -> Vec<Did> {
        let mut done = Vec::new();
        while let Some(action) = self.agent.poll(self.instant()) {
            done.push(self.note(action));
        }
        done
    }

    fn note(&mut self, action: Action) -> Did {
        match action {
            Action::Advertise { router, priority, form, .. } => {
                let mut buffer = [0; LONGEST];
                let envelope = self.agent.envelopes(router).next().expect("a source and a group");
                let length = self.agent.emit(router, &envelope, priority, form, &mut buffer).expect("room");
                let said = read(&buffer[..length]).expect("an Advertisement");
                assert_eq!(said.priority, priority.map_or(0, Priority::get));
                Did::Sent(said.priority, said.interval)
            }
            Action::Acquire { router, generation } => {
                self.report(router, generation);
                Did::Acquire
            }
            Action::Release { router, generation } => {
                self.report(router, generation);
                Did::Release
            }
            Action::Announce { address, .. } => Did::Announce(address),
            Action::Notify(event) => match event.kind {
                EventKind::Transition { from, to, reason } => Did::Moved(from, to, reason),
                EventKind::DualActive { rival } => Did::Dual(rival),
            },
            Action::Retired(_) => Did::Retired,
        }
    }

    fn report(&mut self, router: RouterId, generation: Generation) {
        self.generation = Some(generation);
        let result = match self.answers {
            Answers::Never => return,
            Answers::Done => Ok(()),
            Answers::Refused => Err(Refused),
        };
        self.agent.handle_done(self.instant(), router, generation, result);
    }

    /// Lets `micros` pass, draining the agent at each of its deadlines; what it did, and how long after now.
    pub fn pass(&mut self, micros: u64) -> Vec<(u64, Did)> {
        let begin = self.now;
        let end = begin + micros;
        let mut done = Vec::new();
        loop {
            let due = self.agent.poll_at().map_or(u64::MAX, Instant::as_micros);
            self.now = due.clamp(self.now, end);
            let after = self.now - begin;
            done.extend(self.drain().into_iter().map(|did| (after, did)));
            if due >= end {
                return done;
            }
        }
    }

    /// Lets `micros` pass while the whole machine stands still.
    pub fn stand_still(&mut self, micros: u64) -> Vec<Did> {
        self.now += micros;
        self.drain()
    }

    /// Lets it become Active by silence, and stay it until its announcements are over; how long it waited.
    pub fn become_active(&mut self) -> u64 {
        let begin = self.now;
        while self.state() != State::Active {
            let wait = self.due_in().expect("a Backup has a deadline").max(1);
            self.pass(wait);
        }
        let waited = self.now - begin;
        self.pass(6 * SECOND);
        waited
    }

    /// After how long of silence it becomes Active, in microseconds; the bench is used up.
    pub fn silence(mut self) -> u64 {
        self.become_active()
    }
}

/// The Advertisements among what was done: when, and with which priority.
pub fn sent(done: &[(u64, Did)]) -> Vec<(u64, u8)> {
    let pick = |(at, did): &(u64, Did)| match did {
        Did::Sent(priority, _) => Some((*at, *priority)),
        _ => None,
    };
    done.iter().filter_map(pick).collect()
}

/// A delay setting of so many microseconds.
pub fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}
