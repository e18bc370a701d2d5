//! What 255 Virtual Routers at 0.1 s cost: CPU time per Advertisement and resident memory, ours beside keepalived's in
//! the same run, and beside both a bare `sendmmsg` loop over the same veth. What it costs to serve metrics of them is
//! [`scraped`]'s.

#![forbid(unsafe_code)]

#[path = "netns_cost/scraped.rs"]
mod scraped;

use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use steadfast_tests::lab::crowd::{Crowd, Size, bare_loop};
use steadfast_tests::lab::engine::Engine;
use steadfast_tests::lab::{namespace, thorough};

const SIZE: Size = Size { links: 1, each: 255, centiseconds: 10 };

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    if let Err(why) = namespace::permitted(&["keepalived"]) {
        println!("skipped: {why}");
        return;
    }
    let mut trials = vec![Trial::test("cost-of-255-routers-at-0.1s", || {
        cost();
        Ok(())
    })];
    if thorough() {
        trials.push(Trial::test("a-scrape-a-second-of-255-routers", || {
            scraped::scraped();
            Ok(())
        }));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn cost() {
    let bare = bare_loop();
    println!("\nfigure: cost: bare sendmmsg, 64 at a time: {bare:.1} us of CPU a packet");
    let [ours, theirs] = [Engine::Steadfast, Engine::Keepalived].map(|engine| {
        let cost = Crowd::start(engine, SIZE).measure(Duration::from_secs(if thorough() { 20 } else { 8 }));
        println!(
            "\nfigure: cost: {engine:?}: {:.1} us of CPU an Advertisement, {:.3} wake-ups, {} system calls, {} kB resident, \
             {:.1} % of Advertisements",
            cost.microseconds,
            cost.wakeups,
            cost.system_calls.map_or("?".to_owned(), |calls| format!("{calls:.3}")),
            cost.resident_kb,
            cost.share * 100.0
        );
        cost
    });
    assert!(ours.share > 0.98, "only {:.1} % of the Advertisements", ours.share * 100.0);
    assert!(ours.microseconds <= theirs.microseconds / 2.0, "{ours:?}, keepalived {theirs:?}");
    assert!(ours.resident_kb * 4 <= theirs.resident_kb, "{ours:?}, keepalived {theirs:?}");
}
