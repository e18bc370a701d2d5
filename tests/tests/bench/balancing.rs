//! LVS, in the virtual machine: how long a table of thousands of rows takes, and what a check costs. The scenarios are
//! those of the tests.

use std::time::Duration;

use steadfast_tests::lab::engine::Engine;
use steadfast_tests::vm::machine::{Machine, Unavailable};
use steadfast_tests::vm::scenarios::scale::values;
use steadfast_tests::vm::{Scenario, scenarios};

use super::sheet::{Good, Row, Sheet, Who};

const PATIENCE: Duration = Duration::from_secs(600);

/// How the scenarios call them.
const NAMES: [(&str, Who); 3] = [
    ("steadfast", Who::Engine(Engine::Steadfast)),
    ("keepalived", Who::Engine(Engine::Keepalived)),
    ("kernel", Who::Bare),
];

pub(super) fn balancing(rounds: usize) -> Sheet {
    let machine = match Machine::prepare() {
        Ok(machine) => machine,
        Err(Unavailable::Skipped(why) | Unavailable::Failed(why)) => panic!("{why}"),
    };
    let table = "LVS, 1,000 services of 4 servers: start to complete table (bare: the kernel alone), ms";
    let check = "LVS, 4,000 TCP checks due a second: CPU time of one, us";
    let rows = [("scale-table-time", table, 0), ("scale-cost-of-checks", check, 0)].map(|(name, title, digits)| {
        let scenario: Vec<Scenario> = scenarios::all().into_iter().filter(|one| one.name == name).collect();
        let scenario: Vec<&Scenario> = scenario.iter().collect();
        let group = scenario.first().expect("a scenario of that name").group;
        let mut row = Row::new(title, digits, Good::Low);
        // Each does everything three times.
        for _ in 0..rounds.div_ceil(3) {
            let report = machine.run(group, &scenario, PATIENCE).expect("a virtual machine");
            for (name, who) in NAMES {
                values(&report.console, name).into_iter().for_each(|value| row.add(who, value));
            }
            assert!(row.median(NAMES[0].1).is_some(), "no figures: {}", report.console);
        }
        row
    });
    Sheet::new(rows)
}
