//! A pair and its client: how late a take-over is, on an idle machine and on one whose processors are all wanted by
//! others; how much a client loses at a planned stop, and when a split heals.

use steadfast_tests::lab::engine::Engine;
use steadfast_tests::lab::lateness::Burners;
use steadfast_tests::lab::pair::Pair;
use steadfast_tests::lab::spec::Spec;

use super::sheet::{Good, Row, Sheet};

/// FRR's Backup goes on answering for the address once it has been Active, and its address stays on when it ends: what a
/// client of such a pair sees is no take-over.
const ENGINES: [Engine; 2] = [Engine::Steadfast, Engine::Keepalived];

/// How often an Active is cut off in a round.
const CUTS: usize = 3;

pub(super) fn idle(rounds: usize) -> Sheet {
    let mut rows = cuts(rounds, &[Spec::v3(10), Spec::v3(1)], "idle");
    rows.extend(stops(rounds));
    rows.push(heals(rounds));
    Sheet::new(rows)
}

pub(super) fn burning(rounds: usize) -> Sheet {
    let _burners = Burners::start();
    // Cutting takes longer then than 10 ms, in which no Advertisement may fall.
    Sheet::new(cuts(rounds, &[Spec::v3(10)], "all processors burning"))
}

/// Take-overs in a silent partition.
fn cuts(rounds: usize, specs: &[Spec], machine: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for spec in specs {
        let seconds = spec.interval_ms() / 1000.0;
        let row = |what: &str| Row::new(format!("Active cut off, {seconds} s, {machine}: {what}, ms"), 2, Good::Low);
        let mut late = row("the Backup announces the address, later than the theory");
        let mut gap = row("a client has no answer");
        let pairs = ENGINES.map(|engine| (engine, Pair::start(engine, spec)));
        let all = rounds * CUTS;
        for run in 0..all {
            for (engine, pair) in &pairs {
                let cut = pair.cut(run as f64 / all as f64);
                late.of(*engine, cut.announced);
                gap.of(*engine, cut.gap);
            }
        }
        rows.extend([late, gap]);
    }
    rows
}

fn stops(rounds: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for spec in [Spec::v2(), Spec::v3(10)] {
        let (version, seconds) = (spec.version, spec.interval_ms() / 1000.0);
        let row = |what: &str| {
            Row::new(format!("{what} of the Active, v{version}, {seconds} s: probes of 1 ms lost"), 0, Good::Low)
        };
        let (mut stop, mut back) = (row("Planned stop"), row("Return"));
        let mut pairs = ENGINES.map(|engine| (engine, Pair::start(engine, &spec)));
        for _ in 0..rounds {
            for (engine, pair) in &mut pairs {
                let (lost, lost_at_return) = pair.stop();
                stop.of(*engine, lost);
                back.of(*engine, lost_at_return);
            }
        }
        rows.extend([stop, back]);
    }
    rows
}

fn heals(rounds: usize) -> Row {
    let mut row = Row::new("Split heals, 0.1 s, in its worst phase: a client has no answer in 3 s, ms", 0, Good::Low);
    let spec = Spec::v3(10);
    let pairs = ENGINES.map(|engine| (engine, Pair::start(engine, &spec)));
    for _ in 0..rounds {
        for (engine, pair) in &pairs {
            row.of(*engine, pair.heal().0);
        }
    }
    row
}
