//! Pools and schedules of LVS in virtual time: seeded scenarios of servers that fail and recover, slow answers,
//! rests, administrators and reloads, judged after every event by a model of its own; and the proof that the
//! judge can fail. `STEADFAST_LVS_SEED` chooses the first seed, `STEADFAST_LVS_COUNT` how many.

#[path = "lvs_simulation/plans.rs"]
mod plans;
#[path = "lvs_simulation/world.rs"]
mod world;

use world::{Tally, World};

/// What is wrong with the machine that is judged. All but the first have to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    /// Failures are not tried again.
    NoRetry,
    /// One more failure is tried again than the file says.
    OneRetryMore,
    /// Failures are tried again without a pause.
    HastyRetry,
    /// Checks are done twice as often.
    HastyLoop,
    /// Checks are done half as often.
    LazyLoop,
    /// A failure sometimes counts before it was tried again.
    EarlyWord,
    /// The quorum knows no hysteresis.
    NoHysteresis,
    /// The sorry server is forgotten.
    NoSorry,
    /// Failed servers are removed where they should be inhibited.
    NoInhibit,
    /// A reload forgets what the administrator said.
    ReloadForgetsOverrides,
    /// A reload takes every server for unchecked.
    ReloadForgetsHealth,
    /// A reload begins every check anew.
    ReloadRestartsChecks,
    /// A check that rests goes on.
    NoRest,
}

const MUTANTS: [Mutant; 13] = [
    Mutant::NoRetry,
    Mutant::OneRetryMore,
    Mutant::HastyRetry,
    Mutant::HastyLoop,
    Mutant::LazyLoop,
    Mutant::EarlyWord,
    Mutant::NoHysteresis,
    Mutant::NoSorry,
    Mutant::NoInhibit,
    Mutant::ReloadForgetsOverrides,
    Mutant::ReloadForgetsHealth,
    Mutant::ReloadRestartsChecks,
    Mutant::NoRest,
];

/// One scenario: what came of it, or what is wrong and where.
fn run(seed: u64, mutant: Mutant) -> Result<Tally, String> {
    let at = |error| format!("seed {seed}, {mutant:?}: {error}");
    let mut world = World::new(seed, mutant).map_err(at)?;
    let begin = world.now;
    for step in 0..400 {
        let result = world.step().and_then(|()| if step % 50 == 49 { world.judge_path() } else { Ok(()) });
        result.map_err(|error| at(format!("step {step}, {:?} after the start: {error}", world.now.since(begin))))?;
    }
    world.tally.virtual_seconds = world.now.since(begin).as_micros() / 1_000_000;
    Ok(world.tally)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name}: {value}")))
}

#[test]
fn pools_and_schedules_keep_their_rules() {
    let count = number("STEADFAST_LVS_COUNT", if cfg!(debug_assertions) { 300 } else { 20_000 });
    let first = number("STEADFAST_LVS_SEED", 1);
    let mut total = Tally::default();
    for seed in first..first + count {
        let tally = run(seed, Mutant::None).unwrap_or_else(|error| panic!("{error}"));
        total.events += tally.events;
        total.attempts += tally.attempts;
        total.downs += tally.downs;
        total.ups += tally.ups;
        total.gained += tally.gained;
        total.lost += tally.lost;
        total.reloads += tally.reloads;
        total.rests += tally.rests;
        total.virtual_seconds += tally.virtual_seconds;
    }
    println!(
        "figure: lvs simulation: {count} scenarios, {} hours of virtual time, {total:?}",
        total.virtual_seconds / 3600
    );
    for (what, often) in [
        ("downs", total.downs),
        ("ups", total.ups),
        ("gained", total.gained),
        ("lost", total.lost),
        ("reloads", total.reloads),
        ("rests", total.rests),
    ] {
        assert!(often > count / 10, "{what}: only {often}");
    }
}

#[test]
fn every_broken_rule_is_found() {
    for mutant in MUTANTS {
        let found = (1..500).find_map(|seed| run(seed, mutant).err());
        let error = found.unwrap_or_else(|| panic!("{mutant:?} is not found"));
        println!("{error}");
    }
}
