//! The simulator, the core's third port: a seeded LAN of routers in virtual time, with the faults that
//! networks and machines have, and the rules of VRRP held against everything that happens. Advertisements
//! are real bytes. The same seed gives the same run, on every machine.
//!
//! `scenario` draws what befalls whom, `world` lets it happen, `node` is a router with its kernel, `brain` what decides in it, `shadow`
//! judges one router, `sync` those of a sync group and `order` all of them together, `mutant` breaks routers to show that they are judged.
//! `bench` is apart: one router under test, driven by hand.

pub mod bench;
pub mod brain;
pub mod mutant;
pub mod node;
pub mod order;
pub mod packet;
pub mod port;
pub mod rng;
pub mod scenario;
pub mod shadow;
pub mod sync;
pub mod trace;
pub mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use mutant::Mutant;
use scenario::Scenario;
use trace::Tally;
use world::{Violation, World};

/// What a run was.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The hash of its trace.
    pub hash: u64,
    /// Notes in the trace.
    pub notes: u64,
    /// Virtual time, in microseconds.
    pub lasted: u64,
    /// Frames sent.
    pub sent: usize,
    /// How often a node ran.
    pub runs: u64,
    /// Checks of the client in which it was excused.
    pub excused: u64,
    /// What happened how often.
    pub tally: Tally,
    /// The rule that was broken, if one was.
    pub violation: Option<Violation>,
    /// The trace, if it was asked for.
    pub trace: String,
}

/// How to run a scenario.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// What is broken.
    pub mutant: Mutant,
    /// Judge each router by its shadow, too, and not only all of them from outside.
    pub judged: bool,
    /// Keep the trace to read.
    pub verbose: bool,
    /// The first node is a board with firmware.
    pub firmware: bool,
}

impl Default for Mode {
    fn default() -> Self {
        Self { mutant: Mutant::Sound, judged: true, verbose: false, firmware: false }
    }
}

/// Runs the scenario of `seed`.
pub fn run(seed: u64, mode: Mode) -> Outcome {
    let scenario = Scenario::draw(seed);
    play(if mode.firmware { scenario.with_firmware() } else { scenario }, mode)
}

/// Runs a week with a board.
pub fn week(seed: u64) -> Outcome {
    play(Scenario::week(seed).with_firmware(), Mode { firmware: true, ..Mode::default() })
}

fn play(scenario: Scenario, mode: Mode) -> Outcome {
    let mut world = World::new(&scenario, mode.mutant, mode.judged, mode.verbose);
    let violation = world.run();
    Outcome {
        hash: world.trace.hash(),
        notes: world.trace.length(),
        lasted: world.at,
        sent: world.sent(),
        runs: world.runs,
        excused: world.order.excused,
        tally: std::mem::take(&mut world.trace.tally),
        violation,
        trace: world.trace.lines().to_owned(),
    }
}

/// What many runs were.
#[derive(Debug, Default)]
pub struct Campaign {
    /// Scenarios run.
    pub scenarios: u64,
    /// Virtual time of all of them, in microseconds.
    pub lasted: u64,
    /// Frames sent.
    pub sent: u64,
    /// How often nodes ran.
    pub runs: u64,
    /// Checks of the client in which it was excused.
    pub excused: u64,
    /// What happened how often: transitions by reason, and what routers counted.
    pub tally: Tally,
    /// Those that broke a rule; after a few no more are run.
    pub violations: Vec<Violation>,
}

/// Runs the scenarios of seeds `first` up to `first + count`, on all processors. Every 64th is run twice, and
/// two traces that differ are a violation.
pub fn campaign(first: u64, count: u64, mode: Mode) -> Campaign {
    const ENOUGH: usize = 8;
    let next = AtomicU64::new(0);
    let total = Mutex::new(Campaign::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut mine = Campaign::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                break;
            }
            let seed = first + number;
            let outcome = run(seed, mode);
            mine.scenarios += 1;
            mine.lasted += outcome.lasted;
            mine.sent += outcome.sent as u64;
            mine.runs += outcome.runs;
            mine.excused += outcome.excused;
            add(&mut mine.tally, &outcome.tally);
            let mut violation = outcome.violation;
            if number.is_multiple_of(64) && run(seed, mode).hash != outcome.hash {
                let detail = "the same seed gave another trace".to_owned();
                violation = Some(Violation { seed, at: 0, group: 0, node: None, rule: "determinism", detail });
            }
            if let Some(violation) = violation {
                mine.violations.push(violation);
                if mine.violations.len() >= ENOUGH {
                    next.store(count, Ordering::Relaxed);
                }
            }
        }
        let mut total = total.lock().expect("no thread panics while it holds the lock");
        total.scenarios += mine.scenarios;
        total.lasted += mine.lasted;
        total.sent += mine.sent;
        total.runs += mine.runs;
        total.excused += mine.excused;
        add(&mut total.tally, &mine.tally);
        total.violations.append(&mut mine.violations);
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    total.into_inner().expect("no thread panicked")
}

fn add(total: &mut Tally, tally: &Tally) {
    for (name, count) in tally {
        *total.entry(name).or_default() += count;
    }
}

/// Lines of a trace that a report shows.
const TAIL: usize = 400;

/// A violation as text: a line to reproduce it, and the trace up to it.
pub fn report(violation: &Violation, mode: Mode) -> String {
    let Violation { seed, at, group, node, rule, detail } = violation;
    let scenario = Scenario::draw(*seed);
    let trace = run(*seed, Mode { verbose: true, ..mode }).trace;
    let tail: Vec<_> = trace.lines().rev().take(TAIL).collect();
    let tail: Vec<_> = tail.into_iter().rev().collect();
    format!(
        "seed {seed}: rule `{rule}` broken at {at} us, Virtual Router {group}, node {node:?}: {detail}\n\
         reproduce: STEADFAST_SIM_SEED={seed} cargo test --profile quick -p steadfast-tests --test simulation \
         reproduce -- --nocapture\n{scenario:?}\n{}\n",
        tail.join("\n")
    )
}
