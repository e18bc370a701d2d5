//! A real-time thread that computes without end: in a process of its own, since it is the process' limits that hold it
//! back.

#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use steadfast_linux::check::Findings;
use steadfast_linux::guard::{self, urgency};
use steadfast_linux::plan;
use steadfast_linux::sys::local;

const PATIENCE: Duration = Duration::from_secs(20);

/// The scheduling policy and the real-time priority of the calling thread (proc(5)).
fn scheduling() -> (u32, u32) {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let number = |field: usize| fields[field - 3].parse().unwrap();
    (number(41), number(40))
}

const OTHER: u32 = 0;
const ROUND_ROBIN: u32 = 2;

fn wait(expected: u32, between: impl Fn()) {
    let deadline = Instant::now() + PATIENCE;
    while scheduling().0 != expected {
        assert!(Instant::now() < deadline, "it is still {:?}", scheduling());
        between();
    }
}

/// A real-time thread that never waits is as urgent as others for a second. Without a harness, whose threads would be
/// ended by the kernel's signal.
fn main() {
    if std::env::args().any(|word| word == "--list") {
        println!("0 tests, 0 benchmarks");
        return;
    }
    if local::user() != 0 {
        println!("skipped: real-time priorities need root");
        return;
    }
    guard::begin().unwrap();
    let text = "global_defs {\nvrrp_rt_priority 7\nvrrp_rlimit_rttime 20000\n}\n";
    let plan = plan::parse(text.as_bytes(), &mut Findings::new(Path::new("f"))).unwrap();
    urgency::follow(plan.urgency);
    let pause = || std::thread::sleep(Duration::from_millis(2));
    let deadline = Instant::now() + Duration::from_secs(2);
    while scheduling().0 != ROUND_ROBIN {
        if Instant::now() > deadline {
            println!("skipped: there are no real-time priorities here");
            return;
        }
        pause();
    }
    assert_eq!(scheduling(), (ROUND_ROBIN, 7));
    // Computes, and does not wait.
    wait(OTHER, || ());
    // And then it is heard again.
    wait(ROUND_ROBIN, pause);
    assert_eq!(scheduling().1, 7);
    urgency::follow(Arc::default());
    wait(OTHER, pause);
    println!("1 passed, 0 failed, 0 skipped");
}
