//! Steadfast beside keepalived, FRR and a bare loop, in turns, in one run: a table of figures in Markdown, for whoever
//! wants to know what holds on his machine. Nothing is judged, but where Steadfast is behind, the table says so, and
//! whether it keeps to the bounds that it has set itself. `tests/bench` runs this; what is measured is the laboratory's.

#![forbid(unsafe_code)]

#[path = "bench/balancing.rs"]
mod balancing;
#[path = "bench/cost.rs"]
mod cost;
#[path = "bench/election.rs"]
mod election;
#[path = "bench/punctual.rs"]
mod punctual;
#[path = "bench/sheet.rs"]
mod sheet;
#[path = "bench/work.rs"]
mod work;

use std::panic::catch_unwind;
use std::process::ExitCode;

use sheet::Sheet;
use steadfast_tests::lab::engine::{Engine, available};
use steadfast_tests::lab::namespace;

/// What fills a part of the table, in so many rounds.
type Part = fn(usize) -> Sheet;

/// What can be measured, in the order of the table.
const PARTS: [(&str, Part); 8] = [
    ("size", work::size),
    ("election", election::idle),
    ("burning", election::burning),
    ("punctual", punctual::punctual),
    ("cost", cost::cost),
    ("reload", work::reload),
    ("flood", work::flood),
    ("lvs", balancing::balancing),
];

fn main() -> ExitCode {
    let Some((rounds, parts)) = arguments() else {
        eprintln!("tests/bench [--rounds N] [{}]", PARTS.map(|(name, _)| name).join("|"));
        return ExitCode::from(2);
    };
    if let Err(why) = namespace::permitted(&["keepalived"]) {
        println!("skipped: {why}");
        return ExitCode::FAILURE;
    }
    let mut whole = Sheet::default();
    for (name, part) in PARTS.iter().filter(|(name, _)| parts.is_empty() || parts.iter().any(|part| part == name)) {
        println!("{name}");
        match catch_unwind(|| part(rounds)) {
            Ok(sheet) => whole.append(sheet),
            Err(_) => whole.failed(name),
        }
        // What there is so far is kept, should it be interrupted.
        sheet::write(&whole, rounds);
    }
    println!("{}", sheet::text(&whole, rounds));
    ExitCode::SUCCESS
}

fn arguments() -> Option<(usize, Vec<String>)> {
    let (mut rounds, mut parts) = (5, Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--rounds" => rounds = words.next()?.parse().ok().filter(|rounds| *rounds > 0)?,
            _ if PARTS.iter().any(|(name, _)| *name == word) => parts.push(word),
            _ => return None,
        }
    }
    Some((rounds, parts))
}

/// Those that can run here, Steadfast first.
fn engines() -> Vec<Engine> {
    [Engine::Steadfast, Engine::Keepalived, Engine::Frr].into_iter().filter(|one| available(*one).is_ok()).collect()
}
