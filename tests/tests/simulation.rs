//! Seeded scenarios through the simulator, and the proof that it can fail. `STEADFAST_SIM_SEED` chooses the
//! first seed, `STEADFAST_SIM_COUNT` how many.

use std::time::Instant;

use steadfast_tests::sim::mutant::Mutant;
use steadfast_tests::sim::{Mode, campaign, report, run};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}: not a number: {value}")))
}

#[test]
fn order_returns_in_every_scenario() {
    // Optimized, these are the hundred thousand that are promised; a debug build takes a sample.
    let usual = if cfg!(debug_assertions) { 4_000 } else { 100_000 };
    let count = number("STEADFAST_SIM_COUNT").unwrap_or(usual);
    let first = number("STEADFAST_SIM_SEED").unwrap_or(1);
    let begin = Instant::now();
    let result = campaign(first, count, Mode::default());
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{} scenarios in {seconds:.1} s ({:.0} a second), {:.0} hours of virtual time, {} frames, {} runs of a node, \
         client excused {} times",
        result.scenarios,
        result.scenarios as f64 / seconds,
        result.lasted as f64 / 3.6e9,
        result.sent,
        result.runs,
        result.excused,
    );
    for violation in result.violations.iter().skip(1) {
        println!("also: {violation:?}");
    }
    if let Some(violation) = result.violations.first() {
        panic!("{}", report(violation, Mode::default()));
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1..200 {
        let first = run(seed, Mode::default());
        let again = run(seed, Mode { verbose: true, ..Mode::default() });
        assert_eq!((first.hash, first.notes), (again.hash, again.notes), "seed {seed}");
    }
    assert_ne!(run(1, Mode::default()).hash, run(2, Mode::default()).hash);
}

#[test]
fn every_broken_router_is_caught() {
    for mutant in Mutant::BROKEN {
        let result = campaign(1, 2_000, Mode { mutant, ..Mode::default() });
        let violation = result.violations.first();
        println!("{mutant:?}: {} scenarios, then {violation:?}", result.scenarios);
        assert!(violation.is_some(), "{mutant:?} was not caught");
    }
}

#[test]
fn a_seed_to_reproduce() {
    let seed = number("STEADFAST_SIM_SEED").unwrap_or(1);
    let outcome = run(seed, Mode { verbose: true, ..Mode::default() });
    println!("{}", outcome.trace);
    assert!(outcome.violation.is_none(), "{:?}", outcome.violation);
}
