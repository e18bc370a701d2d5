//! How long clients wait: a silent partition, a planned stop, a split that heals in its worst phase; Steadfast's pair
//! beside keepalived's own pair in the same run, alternating. Figures are printed as `figure:` lines. Wants a machine
//! to itself: one test at a time, or two of those that wait for seconds.

#![forbid(unsafe_code)]

use libtest_mimic::{Arguments, Trial};
use steadfast_tests::lab::clock::{median, summary};
use steadfast_tests::lab::engine::Engine;
use steadfast_tests::lab::pair::{LOW, PRIORITIES, Pair};
use steadfast_tests::lab::spec::Spec;
use steadfast_tests::lab::{namespace, thorough};

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
            let cut = pair.cut(run as f64 / runs as f64 % 1.0);
            excess[number].push(cut.late);
            gaps[number].push(cut.gap);
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

/// SIGTERM to the Active: our own pair loses at most one probe; keepalived's loses about a skew, and the test sees it.
fn planned_stop(spec: &Spec, runs: usize) {
    let mut lost = [Vec::new(), Vec::new()];
    let mut back = [Vec::new(), Vec::new()];
    for (number, engine) in ENGINES.into_iter().enumerate() {
        let mut pair = Pair::start(engine, spec);
        for _ in 0..runs {
            let (stop, preempt) = pair.stop();
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
            let (gap, tail) = pair.heal();
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
