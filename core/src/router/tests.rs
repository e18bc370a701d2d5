//! One Virtual Router by itself: the arithmetic of its timers, and laws that hold whatever happens to it.

use core::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::testing::{Random, interfaces, settings};
use crate::wire::advertisement::Fit;

const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 5));

fn priority(number: u8) -> Priority {
    Priority::new(number).unwrap()
}

fn router(version: Version, own: u8, centiseconds: u16) -> Router {
    let mut settings = settings(1);
    settings.version = version;
    settings.priority = priority(own);
    settings.interval = Interval::from_centiseconds(centiseconds).unwrap();
    Router::new(interfaces(1)[0], settings, true, false)
}

#[test]
fn rfc9568_6_1_skew_in_microseconds() {
    let skew = |version, own, centiseconds| router(version, own, centiseconds).skew().as_micros();
    assert_eq!(skew(Version::V3, 254, 1), 78);
    assert_eq!(skew(Version::V3, 1, 1), 9_960);
    assert_eq!(skew(Version::V3, 100, 100), 609_375);
    assert_eq!(skew(Version::V3, 255, 4095), 159_960);
    assert_eq!(skew(Version::V2, 100, 1000), 609_375, "RFC 3768: of one second, whatever the interval");
}

#[test]
fn rfc9568_6_1_active_down_interval() {
    let down = |version, own, centiseconds| router(version, own, centiseconds).down_interval().as_micros();
    assert_eq!(down(Version::V3, 100, 100), 3_609_375);
    assert_eq!(down(Version::V3, 254, 1), 30_078);
    assert_eq!(down(Version::V2, 100, 300), 9_609_375);
}

#[test]
fn the_rest_of_a_time_is_what_a_division_leaves() {
    let intervals = [Interval::from_centiseconds(1), Interval::from_centiseconds(4095), Interval::from_seconds(255)];
    for interval in intervals.map(|interval| interval.unwrap().duration()) {
        let length = interval.as_micros();
        for micros in (0..64).flat_map(|bit| [1 << bit, u64::MAX >> bit, length << bit]) {
            for micros in [micros.wrapping_sub(1), micros, micros.saturating_add(1)] {
                assert_eq!(remainder(micros, interval).as_micros(), micros % length, "{micros} by {length}");
            }
        }
    }
}

#[test]
fn aligned_advertisements_come_an_interval_after_the_last_or_earlier() {
    let mut random = Random::new(1);
    for _ in 0..10_000 {
        let mut router = router(Version::V3, 100, 1 + random.below(4095) as u16);
        let interval = router.settings.interval.duration();
        let now = Instant::from_micros(random.next() % 10_000_000_000);
        assert_eq!(router.after(now), now + interval);
        let phase = NonZeroU8::new(1 + random.below(255) as u8).unwrap();
        router.phase = Some(phase);
        let next = router.after(now);
        assert!(now < next && next <= now + interval, "{now:?} {next:?}");
        let offset = interval.as_micros() * u64::from(phase.get()) / 256;
        let since = next.as_micros().checked_sub(offset);
        assert!(since.is_none_or(|since| since % interval.as_micros() == 0), "{next:?}");
    }
}

/// A router to which anything happens, and the port that does as it says.
struct World {
    random: Random,
    router: Router,
    now: Instant,
    addresses: u16,
    /// Generations of what the port has not finished yet.
    begun: Option<u16>,
    /// What trackers add to the priority.
    weights: i32,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let version = if random.once_in(4) { Version::V2 } else { Version::V3 };
        let own = [1, 99, 100, 254, 255][random.below(5)];
        let centiseconds = [1, 10, 100, 1000][random.below(4)];
        let mut router = router(version, own, centiseconds);
        router.settings.preempt = !random.once_in(4);
        router.settings.preempt_delay = Duration::from_secs(random.below(3) as u64).into();
        router.settings.answer_lower = !random.once_in(4);
        router.settings.virtual_mac = random.once_in(2);
        router.settings.announcing.refresh = random.once_in(2).then(|| Duration::from_secs(2).into());
        router.phase = NonZeroU8::new(random.below(256) as u8).filter(|_| random.once_in(2));
        if random.once_in(4) {
            router.held = Held::Acquired;
        }
        Self { random, router, now: Instant::from_micros(7), addresses: 3, begun: None, weights: 0 }
    }

    /// Time passes: mostly to the next deadline, sometimes far beyond it.
    fn wait(&mut self) {
        let interval = self.router.settings.interval.duration().as_micros();
        let span = match self.random.below(8) {
            0 => 0,
            1 => self.random.next() % 3_000,
            2 => interval * self.random.below(9) as u64,
            3 => self.random.next() % (5 * interval),
            _ => self.router.deadline().map_or(0, |at| at.since(self.now).as_micros()),
        };
        self.now = self.now + Duration::from_micros(span);
    }

    /// Anything that can happen, and the laws that hold for all of it.
    fn input(&mut self) {
        let before = (self.router.state(), self.adver_at(), self.router.last_transition());
        let (now, router, random) = (self.now, &mut self.router, &mut self.random);
        let mut heard = None;
        let event = match random.below(16) {
            0 => router.start(now, now + Duration::from_secs(random.below(2) as u64), Reason::LinkUp),
            1 => router.stop(now, Reason::LinkDown, random.once_in(2)),
            2 => {
                self.weights += random.below(11) as i32 - 5;
                router.track(now, self.weights, router.marks.has(Mark::Faulty))
            }
            3 if !router.marks.has(Mark::Faulty) => router.track(now, self.weights, true),
            3 => router.track(now, self.weights, false).or(router.start(now, now, Reason::TrackerUp)),
            4 => {
                let mut settings = router.settings;
                settings.priority = priority([1, 100, 254, 255][random.below(4)]);
                settings.interval = Interval::from_centiseconds([1, 10, 100][random.below(3)]).unwrap();
                router.reconfigure(now, settings)
            }
            5 => {
                router.lost(now);
                None
            }
            6 => {
                router.reacquire();
                None
            }
            7 | 8 => {
                if let Some(generation) = self.begun.take_if(|_| random.once_in(2)) {
                    router.done(now, generation, !random.once_in(4));
                }
                router.done(now, router.generation.wrapping_sub(1), true);
                None
            }
            _ if !router.listens() => None,
            _ => {
                let advertisement = Heard {
                    source: IpAddr::V4(Ipv4Addr::new(192, 0, 2, random.below(9) as u8)),
                    own: Some(OWN),
                    priority: Priority::new([0, 1, 99, 100, 101, 254, 255][random.below(7)]),
                    interval: Interval::from_centiseconds([1, 10, 100][random.below(3)]).unwrap(),
                    fit: [Fit::Plain, Fit::PseudoHeader, Fit::Both][random.below(3)],
                    is_old: false,
                };
                let event = router.advertisement(now, &advertisement);
                heard = Some(advertisement);
                event
            }
        };
        self.check_event(before.0, before.2, event);
        let Some(heard) = heard else { return };
        let (state, adver_at) = (self.router.state(), self.adver_at());
        // Nothing that arrives moves the Adver_Timer but by making the router transmit.
        if before.1.is_some() && adver_at.is_some() && adver_at != before.1 {
            assert!(self.router.owes_advertisement(), "{before:?} {adver_at:?}");
        }
        match (before.0, state) {
            (State::Active, State::Backup) => {
                let own = self.router.effective_priority();
                assert!(heard.priority > Some(own) || (heard.priority == Some(own) && heard.source > OWN));
                assert_eq!(self.router.speak, Speak::Farewell);
            }
            (before, after) => assert_eq!(before, after, "only a deadline makes an Active"),
        }
    }

    fn adver_at(&self) -> Option<Instant> {
        match self.router.machine {
            Machine::Active(active) => Some(active.adver_at),
            _ => None,
        }
    }

    /// A change of state is told, once, and as it was.
    fn check_event(&self, before: State, last: Option<(Instant, State, State, Reason)>, event: Option<EventKind>) {
        let after = self.router.state();
        match event {
            Some(EventKind::Transition { from, to, reason }) => {
                assert_eq!((from, to), (before, after));
                assert_eq!(self.router.last_transition(), Some((self.now, from, to, reason)));
                assert_ne!(from, to);
            }
            _ => {
                assert_eq!(before, after);
                assert_eq!(self.router.last_transition(), last);
            }
        }
    }

    /// As the agent does: first what is due, then all that is owed.
    fn poll(&mut self) {
        // At most two states in one go: Initialize, and Active at once.
        for _ in 0..3 {
            if self.router.deadline().is_none_or(|at| at > self.now) {
                break;
            }
            let before = (self.router.state(), self.router.last_transition());
            let event = self.router.expire(self.now);
            self.check_event(before.0, before.1, event);
        }
        self.check_deadlines();
        let mut said = 0;
        while self.router.owes_advertisement() {
            let zeros = self.router.counters.priority_zero_pkts_sent;
            let speak = self.router.speak;
            let (priority, _) = self.router.advertise(self.now).unwrap();
            assert_eq!(priority.is_none(), speak == Speak::Resign);
            assert_eq!(self.router.counters.priority_zero_pkts_sent - zeros, usize::from(priority.is_none()));
            assert!(priority.is_none_or(|priority| priority == self.router.effective_priority()));
            said += 1;
            assert!(said <= 2, "at most both forms");
        }
        if self.router.owes_release() {
            assert!(!self.router.owes_acquisition());
            self.begun = Some(self.router.release());
        }
        if self.router.owes_acquisition() {
            self.begun = Some(self.router.acquire());
            assert!(!self.router.owes_release());
        }
        let mut announced = 0;
        while self.router.owes_announcement(self.addresses) {
            assert_eq!((self.router.state(), self.router.held), (State::Active, Held::Acquired));
            assert!(self.router.announce(self.now, self.addresses).unwrap() < self.addresses);
            announced += 1;
            assert!(announced <= 5 * self.addresses);
        }
        self.check_deadlines();
        // What the port has finished is as it is wanted; an address of a Backup is on its way out.
        if !self.router.wanted() {
            assert!(matches!(self.router.held, Held::Nothing | Held::Releasing), "{:?}", self.router.held);
        }
        assert!(self.begun.is_some() || !matches!(self.router.held, Held::Acquiring | Held::Releasing));
    }

    fn check_deadlines(&self) {
        let (router, now) = (&self.router, self.now);
        assert!(router.deadline().is_none_or(|at| at > now), "{:?} at {now:?}", router.deadline());
        match router.machine {
            Machine::Initialize { .. } => {}
            Machine::Backup(backup) => assert!(backup.down_at <= now + router.down_interval()),
            Machine::Active(active) => assert!(active.adver_at <= now + router.settings.interval.duration()),
        }
    }
}

#[test]
fn the_laws_of_a_router_hold_whatever_happens() {
    let mut seen = [0; 3];
    for seed in 0..3_000 {
        let mut world = World::new(seed);
        for _ in 0..60 {
            world.wait();
            for _ in 0..world.random.below(4) {
                world.input();
            }
            world.poll();
            seen[world.router.state() as usize] += 1;
        }
    }
    assert!(seen.iter().all(|times| *times > 1_000), "{seen:?}");
}
