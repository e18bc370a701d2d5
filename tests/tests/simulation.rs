//! Seeded scenarios through the simulator, and the proof that it can fail. `STEADFAST_SIM_SEED` chooses the
//! first seed, `STEADFAST_SIM_COUNT` how many.

use std::time::Instant;

use steadfast_tests::sim::mutant::Mutant;
use steadfast_tests::sim::{Mode, campaign, report, run, week};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}: not a number: {value}")))
}

/// Transitions by their reason, and counters, that a campaign has to have seen.
const REACHED: [&str; 18] = [
    "active-resigned",
    "higher-priority",
    "interface-down",
    "interface-up",
    "no-response",
    "preempted",
    "reconfigured",
    "shutdown",
    "sync-group",
    "tracker-down",
    "tracker-up",
    "steadfast-address-failures",
    "steadfast-addresses-lost",
    "steadfast-answers-held-back",
    "steadfast-dual-active",
    "steadfast-interval-mismatches",
    "steadfast-late-wakeups",
    "steadfast-not-running",
];

#[test]
fn order_returns_in_every_scenario() {
    // Optimized, these are the hundred thousand that are promised; a debug build takes a sample.
    let usual = if cfg!(debug_assertions) { 1_000 } else { 100_000 };
    let count = number("STEADFAST_SIM_COUNT").unwrap_or(usual);
    let first = number("STEADFAST_SIM_SEED").unwrap_or(1);
    let begin = Instant::now();
    let result = campaign(first, count, Mode::default());
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "figure: simulation: {} scenarios in {seconds:.1} s ({:.0} a second), {:.0} hours of virtual time, {} frames, {} runs of a node, \
         client excused {} times",
        result.scenarios,
        result.scenarios as f64 / seconds,
        result.lasted as f64 / 3.6e9,
        result.sent,
        result.runs,
        result.excused,
    );
    println!("{:?}", result.tally);
    if count >= 1_000 && result.violations.is_empty() {
        // The scenarios reach what they are meant to reach.
        for name in REACHED {
            assert!(result.tally.get(name).is_some_and(|count| *count > 0), "no scenario with `{name}`");
        }
    }
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

/// The first scenario, of a few thousand, in which a mutant breaks a rule that `matches`.
fn caught(mutant: Mutant, judged: bool, matches: impl Fn(&str) -> bool) -> bool {
    let mut violations = (1..3_000).filter_map(|seed| run(seed, Mode { mutant, judged, ..Mode::default() }).violation);
    let first = violations.find(|violation| matches(violation.rule));
    println!("{mutant:?}: {first:?}");
    first.is_some()
}

#[test]
fn every_broken_router_is_caught_by_the_rule_that_it_breaks() {
    for mutant in Mutant::BROKEN {
        let expected = mutant.breaks().expect("it is broken");
        assert!(caught(mutant, true, |rule| rule == expected), "{mutant:?} was not caught by `{expected}`");
    }
}

/// No judge at the router's side, only what a stranger on the LAN would see. Some faults cannot be seen from
/// there, or only by rare chance, because the protocol mends them at once.
#[test]
fn most_broken_routers_are_caught_from_outside_alone() {
    let hidden = [Mutant::ForgetsPatience, Mutant::AnnouncesEarly, Mutant::ExpiresBeforeDraining, Mutant::Chatters];
    for mutant in Mutant::BROKEN.into_iter().filter(|mutant| !hidden.contains(mutant)) {
        assert!(caught(mutant, false, |_| true), "{mutant:?} was not caught");
    }
}

/// The firmware's node, on a clock of 32 bits that wraps in the midst, beside agents: the same rules, as far as they
/// can be seen from outside of it.
#[test]
fn firmware_keeps_the_same_rules() {
    let count = if cfg!(debug_assertions) { 500 } else { 6_000 };
    let mode = Mode { firmware: true, ..Mode::default() };
    let result = campaign(1, count, mode);
    let hours = result.lasted as f64 / 3.6e9;
    println!("figure: simulation with firmware: {} scenarios, {hours:.0} hours of virtual time", result.scenarios);
    println!("{:?}", result.tally);
    if let Some(violation) = result.violations.first() {
        panic!("{}", report(violation, mode));
    }
}

/// One run of seven days: the clock of 32 bits wraps 140 times, and something happens every five minutes.
#[test]
fn firmware_keeps_the_rules_for_a_week() {
    let seeds = if cfg!(debug_assertions) { 1..2 } else { 1..5 };
    for seed in seeds {
        let outcome = week(seed);
        assert!(outcome.violation.is_none(), "{:?}", outcome.violation);
        let days = outcome.lasted as f64 / 86_400e6;
        println!("figure: simulation with firmware: {days:.2} days in one run, {} frames", outcome.sent);
        assert!(days >= 7.0);
    }
}

#[test]
fn a_seed_to_reproduce() {
    let seed = number("STEADFAST_SIM_SEED").unwrap_or(1);
    let verbose = std::env::var_os("STEADFAST_SIM_SEED").is_some();
    let outcome = run(seed, Mode { verbose, ..Mode::default() });
    println!("{}", outcome.trace);
    assert!(outcome.violation.is_none(), "{:?}", outcome.violation);
}
