//! How long clients wait: a silent partition, a planned stop, a split that heals in its worst phase; Steadfast's pair
//! beside keepalived's own pair in the same run, alternating. Figures are printed as `figure:` lines. Wants a machine
//! to itself: one test at a time, or two of those that wait for seconds.

#![forbid(unsafe_code)]

use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use steadfast_tests::lab::capture::Mark;
use steadfast_tests::lab::clock::{Stamp, median, ms, summary, wait_for};
use steadfast_tests::lab::engine::{Daemon, Engine};
use steadfast_tests::lab::monitor::Monitor;
use steadfast_tests::lab::probe::{Prober, Probes};
use steadfast_tests::lab::spec::Spec;
use steadfast_tests::lab::{Lan, namespace, thorough};

const LOW: usize = 0;
const HIGH: usize = 1;
const CLIENT: usize = 2;
const PRIORITIES: [u8; 2] = [100, 200];
const PERIOD: Duration = Duration::from_millis(1);
const ENGINES: [Engine; 2] = [Engine::Steadfast, Engine::Keepalived];

/// Runs of each test in the long form.
const RUNS: usize = 12;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(1);
    if let Err(why) = namespace::permitted(&["keepalived"]) {
        println!("skipped: {why}");
        return;
    }
    let runs = |few: usize| if thorough() { RUNS } else { few };
    let mut trials = Vec::new();
    let mut add = |name: &str, spec: Spec, test: fn(&Spec, usize), runs: usize| {
        let name = format!("{name}-{}", spec.name());
        trials.push(Trial::test(name, move || {
            test(&spec, runs);
            Ok(())
        }));
    };
    add("cut-off", Spec::v2(), cut_off, runs(2));
    add("cut-off", Spec::v3(10), cut_off, runs(4));
    add("cut-off", Spec::v3(10).with_vmac(true), cut_off, runs(3));
    add("cut-off", Spec::v6(10), cut_off, runs(3));
    add("cut-off", Spec::v3(1), cut_off, runs(4));
    add("planned-stop", Spec::v2(), planned_stop, runs(2));
    add("planned-stop", Spec::v3(10), planned_stop, runs(2));
    add("planned-stop", Spec::v3(10).with_vmac(true), planned_stop, runs(2));
    add("planned-stop", Spec::v6(10), planned_stop, runs(2));
    add("planned-stop", Spec::v6(10).with_vmac(true), planned_stop, runs(2));
    add("planned-stop", Spec::v3(1), planned_stop, runs(2));
    add("split-heals", Spec::v2(), split_heals, runs(2));
    add("split-heals", Spec::v3(10), split_heals, runs(2));
    add("split-heals", Spec::v3(10).with_vmac(true), split_heals, runs(2));
    add("split-heals", Spec::v6(10), split_heals, runs(2));
    libtest_mimic::run(&arguments, trials).exit();
}

/// Two routers of one engine and a client, with the address of the lower router watched.
struct Pair {
    daemons: [Option<Daemon>; 2],
    monitor: Monitor,
    spec: Spec,
    engine: Engine,
    // Last, so that everything above is ended before the namespaces go.
    lan: Lan,
}

impl Pair {
    fn start(engine: Engine, spec: &Spec) -> Self {
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

    fn probe(&self) -> Prober {
        let prober = Prober::start(&self.lan.host(CLIENT).namespace, self.spec.vip(), PERIOD);
        prober.wait_answer(Stamp::now(), Duration::from_secs(3));
        prober
    }

    /// Waits for an Advertisement of `host`, then a part of an interval.
    fn reach_phase(&self, host: usize, part: f64) {
        let patience = ms(self.spec.interval_ms() * 3.0 + 500.0);
        self.lan.capture.wait_advert(self.lan.capture.mark(), host, patience, |_| true);
        (Stamp::now() + ms(self.spec.interval_ms() * part)).sleep();
    }
}

fn figure(spec: &Spec, what: &str, engine: Engine, values: &[f64]) {
    // After the name of the test, which has no end of line yet.
    println!("\nfigure: {:<22} {:<44} {:<10} {}", spec.name(), what, format!("{engine:?}"), summary(values));
}

/// Last Advertisement → address on the Backup, less the theoretical interval: no worse than keepalived's plus 1 ms.
fn cut_off(spec: &Spec, runs: usize) {
    let pairs = ENGINES.map(|engine| Pair::start(engine, spec));
    let (mut excess, mut gaps) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let mut run = 0;
    // The verdict is over twelve runs; fewer will do where it is clear.
    while run < runs || (run < RUNS && median(&excess[0]) > median(&excess[1]) + 1.0) {
        for (number, pair) in pairs.iter().enumerate() {
            let (late, gap) = cut_once(pair, run as f64 / runs as f64 % 1.0);
            excess[number].push(late);
            gaps[number].push(gap);
        }
        run += 1;
    }
    for (number, engine) in ENGINES.into_iter().enumerate() {
        figure(spec, "cut off: address on Backup - theory, ms", engine, &excess[number]);
        figure(spec, "cut off: client gap, ms", engine, &gaps[number]);
    }
    let (ours, theirs) = (median(&excess[0]), median(&excess[1]));
    assert!(ours <= theirs + 1.0, "{ours} ms over theory, keepalived {theirs} ms");
    // 1 ms: reading of clocks and of probes.
    let early = excess[0].iter().copied().fold(f64::INFINITY, f64::min);
    assert!(early >= -1.0, "taken over {} ms too early", -early);
}

fn cut_once(pair: &Pair, phase: f64) -> (f64, f64) {
    let (spec, lan) = (&pair.spec, &pair.lan);
    // Cutting takes some milliseconds, in which no Advertisement should fall.
    let room = (1.0 - 6.0 / spec.interval_ms()).max(0.0);
    for _ in 0..8 {
        let prober = pair.probe();
        pair.reach_phase(HIGH, phase * room.min(0.9));
        let before = Stamp::now();
        let after = lan.cut(HIGH);
        let patience = ms(spec.down_ms(PRIORITIES[LOW]) + 1000.0);
        let held = pair.monitor.wait(spec.vip(), true, before, patience);
        prober.wait_answer(held, Duration::from_secs(1));
        let end = Stamp::now();
        let probes = prober.stop();
        lan.heal(HIGH);
        pair.settle();
        let adverts = lan.capture.adverts(Mark::default());
        let sent = |from: Stamp, to: Stamp| {
            adverts.iter().rev().find(|advert| advert.host == HIGH && advert.at >= from && advert.at <= to)
        };
        // An Advertisement at the very moment of the cut: nobody knows whether it came through.
        if sent(before, after).is_some() {
            continue;
        }
        let last = sent(Stamp(0), before).expect("the Active had been heard").at;
        return (held.ms_since(last) - spec.down_ms(PRIORITIES[LOW]), probes.gap_ms(before, end));
    }
    panic!("an Advertisement at the very moment of every cut");
}

/// SIGTERM to the Active: our own pair loses at most one probe; keepalived's loses about a skew, and the test sees it.
fn planned_stop(spec: &Spec, runs: usize) {
    let mut lost = [Vec::new(), Vec::new()];
    let mut back = [Vec::new(), Vec::new()];
    for (number, engine) in ENGINES.into_iter().enumerate() {
        let mut pair = Pair::start(engine, spec);
        for _ in 0..runs {
            let (stop, preempt) = stop_once(&mut pair);
            lost[number].push(stop);
            back[number].push(preempt);
        }
        figure(spec, "planned stop: lost probes of 1 ms", engine, &lost[number]);
        figure(spec, "its return (preempts): lost probes of 1 ms", engine, &back[number]);
    }
    let theirs = median(&lost[1]);
    assert!(theirs > spec.skew_ms(PRIORITIES[LOW]) * 0.5, "keepalived's skew was expected to be seen, not {theirs}");
    assert!(lost[0].iter().all(|&lost| lost <= 1.0), "lost probes at planned stops: {:?}", lost[0]);
}

fn stop_once(pair: &mut Pair) -> (f64, f64) {
    let spec = pair.spec.clone();
    let prober = pair.probe();
    let at = pair.daemons[HIGH].as_ref().expect("it runs").terminate();
    let held = pair.monitor.wait(spec.vip(), true, at, ms(spec.down_ms(PRIORITIES[LOW]) + 2000.0));
    if let Some(mut daemon) = pair.daemons[HIGH].take() {
        daemon.process.wait(Duration::from_secs(5));
    }
    prober.wait_answer(held, Duration::from_secs(2));
    let stopped = Stamp::now();
    pair.launch(HIGH);
    pair.settle();
    prober.wait_answer(Stamp::now(), Duration::from_secs(2));
    let end = Stamp::now();
    let probes: Probes = prober.stop();
    (probes.lost(at, stopped) as f64, probes.lost(stopped, end) as f64)
}

/// The split heals just after an Advertisement of the lower router, so that it hears the higher one first and steps
/// down before it was heard: a client waits for one interval + 20 ms at most.
fn split_heals(spec: &Spec, runs: usize) {
    let bound = spec.interval_ms() + 20.0;
    let mut gaps = [Vec::new(), Vec::new()];
    let mut tails = Vec::new();
    for (number, engine) in ENGINES.into_iter().enumerate() {
        let pair = Pair::start(engine, spec);
        // keepalived's client can wait for 36 s: its pair is observed for 3 s only.
        let runs = if engine == Engine::Steadfast { runs } else { 1 };
        for _ in 0..runs {
            let (gap, tail) = heal_once(&pair);
            gaps[number].push(gap);
            if engine == Engine::Steadfast {
                tails.push(tail);
            }
        }
        figure(spec, "split heals: client gap in 3 s, ms", engine, &gaps[number]);
    }
    assert!(gaps[0].iter().all(|&gap| gap <= bound), "client gaps {:?}, bound {bound} ms", gaps[0]);
    assert!(tails.iter().all(|&tail| tail <= bound), "last lost probe {tails:?} ms after the heal, bound {bound} ms");
}

/// (longest gap, last lost probe after the heal), in ms.
fn heal_once(pair: &Pair) -> (f64, f64) {
    let (spec, lan) = (&pair.spec, &pair.lan);
    for _ in 0..6 {
        let cut = lan.cut(HIGH);
        let held = pair.monitor.wait(spec.vip(), true, cut, ms(spec.down_ms(PRIORITIES[LOW]) + 2000.0));
        let prober = pair.probe();
        prober.wait_answer(held, Duration::from_secs(2));
        // Its Advertisement has just been sent into the void, and HIGH's comes before its next: 3 intervals + skew
        // after the last one that was heard is never a multiple of the interval.
        pair.reach_phase(LOW, 0.0);
        let mark = lan.capture.mark();
        let healed = lan.heal(HIGH);
        let done = Stamp::now();
        (healed + Duration::from_secs(3)).sleep();
        let end = Stamp::now();
        let probes = prober.stop();
        pair.settle();
        let first = lan.capture.adverts(mark).first().map(|advert| (advert.host, advert.at));
        if first.is_some_and(|(host, at)| host == HIGH && at > done) {
            let tail = probes.last_lost(healed, end).map_or(0.0, |at| at.ms_since(healed));
            return (probes.gap_ms(healed, end), tail);
        }
    }
    panic!("the worst phase was not reached");
}
