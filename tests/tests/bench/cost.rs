//! Many Virtual Routers: what an Advertisement costs in CPU time, system calls and wake-ups, how many are really sent,
//! and how much memory they take.

use std::panic::catch_unwind;
use std::time::Duration;

use steadfast_tests::lab::crowd::{Crowd, Size, bare_loop};
use steadfast_tests::lab::engine::Engine;

use super::engines;
use super::sheet::{Good, Row, Sheet, Who};

/// How much more than a bare loop an Advertisement may cost, in microseconds.
const ABOVE: f64 = 3.0;

pub(super) fn cost(rounds: usize) -> Sheet {
    let mut sheet = Sheet::default();
    let mut bare = Row::new("A bare loop, 64 packets a system call: CPU time of a packet, us", 1, Good::Low);
    for _ in 0..rounds {
        bare.add(Who::Bare, bare_loop());
    }
    let least = bare.median(Who::Bare).unwrap_or_default();
    sheet.append(Sheet::new([bare]));
    for (links, each) in [(1, 1), (1, 64), (1, 255), (4, 255)] {
        for centiseconds in [100, 10, 1] {
            sheet.append(of_size(Size { links, each, centiseconds }, rounds, least));
        }
    }
    sheet
}

fn of_size(size: Size, rounds: usize, least: f64) -> Sheet {
    let seconds = f64::from(size.centiseconds) / 100.0;
    let number = if size.links > 1 { format!("{} × {}", size.links, size.each) } else { size.each.to_string() };
    let row = |what: &str, digits, good| Row::new(format!("{number} routers, {seconds} s: {what}"), digits, good);
    let mut cpu = row("CPU time of an Advertisement, us", 1, Good::Low);
    let mut calls = row("system calls of an Advertisement", 3, Good::Low);
    let mut wakeups = row("wake-ups of an Advertisement", 3, Good::Low);
    let mut share = row("Advertisements sent, of those due, %", 1, Good::High);
    let mut memory = row("resident memory of all processes, kB", 0, Good::Low);
    let mut window = Duration::from_secs(if size.centiseconds == 100 { 10 } else { 5 });
    if size.rate() > 10_000.0 {
        // There are enough of them in a shorter time.
        window = Duration::from_secs(3);
    }
    for _ in 0..rounds {
        // FRR's Virtual Routers want a macvlan each, and are asked for on one interface.
        for engine in engines().into_iter().filter(|engine| *engine != Engine::Frr || size.links == 1) {
            // Who cannot do so much has no figures.
            let Ok(found) = catch_unwind(|| Crowd::start(engine, size).measure(window)) else { continue };
            cpu.of(engine, found.microseconds);
            wakeups.of(engine, found.wakeups);
            // More than all of them is a matter of when one looks.
            share.of(engine, found.share.min(1.0) * 100.0);
            memory.of(engine, found.resident_kb as f64);
            if let Some(count) = found.system_calls {
                calls.of(engine, count);
            }
        }
    }
    let medians = |row: &Row| [Engine::Steadfast, Engine::Keepalived].map(|one| row.median(Who::Engine(one)));
    let (cpus, shares, counts, memories) = (medians(&cpu), medians(&share), medians(&calls), medians(&memory));
    let mut sheet = Sheet::new([cpu, calls, wakeups, share, memory]);
    let what = |what: &str| format!("{number} routers, {seconds} s: {what}");
    if (size.routers(), size.centiseconds) == (255, 10) {
        if let [Some(ours), _] = cpus {
            sheet.bound(&what("CPU time of an Advertisement, us, beside a bare loop's + 3 us"), ours, least + ABOVE);
        }
        if let [Some(ours), Some(theirs)] = counts {
            sheet.bound(&what("system calls, beside a tenth of keepalived's"), ours, theirs / 10.0);
        }
        if let [Some(ours), Some(theirs)] = memories {
            sheet.bound(&what("memory, kB, beside a tenth of keepalived's"), ours, theirs / 10.0);
        }
    }
    if let ([Some(ours), _], 1) = (shares, size.centiseconds) {
        sheet.bound(&what("Advertisements left out, %"), 100.0 - ours, 0.05);
    }
    sheet
}
