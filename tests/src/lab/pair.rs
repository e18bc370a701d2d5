//! Two routers of one engine and a client that probes their address, and what they are put to: a silent partition, a
//! planned stop, a split that heals in its worst phase. How long clients wait is measured here, and judged elsewhere.

use std::time::Duration;

use super::Lan;
use super::capture::Mark;
use super::clock::{Stamp, ms, wait_for};
use super::engine::{Daemon, Engine};
use super::frames::binding;
use super::monitor::Monitor;
use super::probe::Prober;
use super::spec::Spec;

/// The machine of the lower priority.
pub const LOW: usize = 0;
/// That of the higher one.
pub const HIGH: usize = 1;
/// By machine.
pub const PRIORITIES: [u8; 2] = [100, 200];

const CLIENT: usize = 2;
/// How often the client probes.
const PERIOD: Duration = Duration::from_millis(1);

/// Two routers of one engine, Steadfast or keepalived, and a client, with the addresses of the lower router watched.
#[derive(Debug)]
pub struct Pair {
    daemons: [Option<Daemon>; 2],
    monitor: Monitor,
    spec: Spec,
    engine: Engine,
    // Last, so that everything above is ended before the namespaces go.
    lan: Lan,
}

/// What came of a silent partition, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// From the last Advertisement until the Backup had the address, less the theoretical time.
    pub late: f64,
    /// The same until it announced the address.
    pub announced: f64,
    /// How long the client had no answer.
    pub gap: f64,
}

impl Pair {
    /// Starts them, the higher one first, and waits until they have come to rest.
    #[track_caller]
    pub fn start(engine: Engine, spec: &Spec) -> Self {
        let lan = Lan::new(&["low", "high", "client"]);
        let monitor = Monitor::start(&lan.host(LOW).namespace);
        let mut pair = Self { daemons: [None, None], monitor, spec: spec.clone(), engine, lan };
        pair.launch(HIGH);
        pair.launch(LOW);
        pair.settle();
        pair
    }

    fn launch(&mut self, host: usize) {
        self.daemons[host] = Some(Daemon::start(self.engine, &self.lan, host, &self.spec, PRIORITIES[host]));
    }

    /// Waits until HIGH alone advertises and clients reach it.
    #[track_caller]
    fn settle(&self) {
        let window = ms(self.spec.interval_ms() * 2.5);
        let begun = Stamp::now();
        wait_for("a single Active", ms(self.spec.down_ms(1) * 2.0 + 45_000.0), || {
            let now = Stamp::now();
            let adverts = self.lan.capture.adverts(Mark::default());
            let recent: Vec<_> = adverts.iter().filter(|advert| advert.at + window > now).collect();
            let sole = !recent.is_empty() && recent.iter().all(|advert| advert.host == HIGH);
            (now > begun + window && sole).then_some(())
        });
        let client = &self.lan.host(CLIENT).namespace;
        client.ip("neigh flush all");
        let prober = Prober::start(client, self.spec.vip(), Duration::from_millis(5));
        prober.wait_answer(Stamp::now(), Duration::from_secs(3));
    }

    #[track_caller]
    fn probe(&self) -> Prober {
        let prober = Prober::start(&self.lan.host(CLIENT).namespace, self.spec.vip(), PERIOD);
        prober.wait_answer(Stamp::now(), Duration::from_secs(3));
        prober
    }

    /// Waits for an Advertisement of `host`, then a part of an interval.
    #[track_caller]
    fn reach_phase(&self, host: usize, part: f64) {
        let patience = ms(self.spec.interval_ms() * 3.0 + 500.0);
        self.lan.capture.wait_advert(self.lan.capture.mark(), host, patience, |_| true);
        (Stamp::now() + ms(self.spec.interval_ms() * part)).sleep();
    }

    /// Waits until the lower router has the address. When it had.
    #[track_caller]
    fn taken_over(&self, from: Stamp) -> Stamp {
        let patience = ms(self.spec.down_ms(PRIORITIES[LOW]) + 2000.0);
        self.monitor.wait(self.spec.vip(), true, from, patience)
    }

    /// Waits until the lower router announces the address. When it left the machine.
    #[track_caller]
    fn announced(&self, from: Stamp, patience: Duration) -> Stamp {
        self.lan.capture.wait(Mark::default(), "announcement of the Backup", patience, |frame| {
            let is_vip = || binding(frame).is_some_and(|(address, _)| address == self.spec.vip());
            (frame.host == LOW && frame.at >= from && is_vip()).then_some(frame.at)
        })
    }

    /// Cuts the Active off at some part of its interval, and heals that again.
    #[track_caller]
    pub fn cut(&self, phase: f64) -> Cut {
        let (spec, lan) = (&self.spec, &self.lan);
        // Cutting takes some milliseconds, in which no Advertisement should fall.
        let room = (1.0 - 6.0 / spec.interval_ms()).max(0.0);
        for _ in 0..8 {
            let prober = self.probe();
            self.reach_phase(HIGH, phase * room.min(0.9));
            let before = Stamp::now();
            let after = lan.cut(HIGH);
            let held = self.taken_over(before);
            let announced = self.announced(before, Duration::from_secs(1));
            prober.wait_answer(held, Duration::from_secs(1));
            let end = Stamp::now();
            let probes = prober.stop();
            lan.heal(HIGH);
            self.settle();
            let adverts = lan.capture.adverts(Mark::default());
            let sent = |from: Stamp, to: Stamp| {
                adverts.iter().rev().find(|advert| advert.host == HIGH && advert.at >= from && advert.at <= to)
            };
            // An Advertisement at the very moment of the cut: nobody knows whether it came through.
            if sent(before, after).is_some() {
                continue;
            }
            let last = sent(Stamp(0), before).expect("the Active had been heard").at;
            let [late, announced] = [held, announced].map(|at| at.ms_since(last) - spec.down_ms(PRIORITIES[LOW]));
            return Cut { late, announced, gap: probes.gap_ms(before, end) };
        }
        panic!("an Advertisement at the very moment of every cut");
    }

    /// Stops the Active as planned, and starts it again: how many probes were lost by each.
    #[track_caller]
    pub fn stop(&mut self) -> (f64, f64) {
        let prober = self.probe();
        let at = self.daemons[HIGH].as_ref().expect("it runs").terminate();
        let held = self.taken_over(at);
        if let Some(mut daemon) = self.daemons[HIGH].take() {
            daemon.process.wait(Duration::from_secs(5));
        }
        prober.wait_answer(held, Duration::from_secs(2));
        let stopped = Stamp::now();
        self.launch(HIGH);
        self.settle();
        prober.wait_answer(Stamp::now(), Duration::from_secs(2));
        let end = Stamp::now();
        let probes = prober.stop();
        (probes.lost(at, stopped) as f64, probes.lost(stopped, end) as f64)
    }

    /// Splits the two, and heals that just after an Advertisement of the lower router, so that it hears the higher one
    /// first and steps down before it was heard: (longest gap, last lost probe after the heal), in ms.
    #[track_caller]
    pub fn heal(&self) -> (f64, f64) {
        let lan = &self.lan;
        for _ in 0..6 {
            let cut = lan.cut(HIGH);
            let held = self.taken_over(cut);
            let prober = self.probe();
            prober.wait_answer(held, Duration::from_secs(2));
            // Its Advertisement has just been sent into the void, and HIGH's comes before its next: 3 intervals + skew
            // after the last one that was heard is never a multiple of the interval.
            self.reach_phase(LOW, 0.0);
            let mark = lan.capture.mark();
            let healed = lan.heal(HIGH);
            let done = Stamp::now();
            (healed + Duration::from_secs(3)).sleep();
            let end = Stamp::now();
            let probes = prober.stop();
            self.settle();
            let first = lan.capture.adverts(mark).first().map(|advert| (advert.host, advert.at));
            if first.is_some_and(|(host, at)| host == HIGH && at > done) {
                let tail = probes.last_lost(healed, end).map_or(0.0, |at| at.ms_since(healed));
                return (probes.gap_ms(healed, end), tail);
            }
        }
        panic!("the worst phase was not reached");
    }
}
