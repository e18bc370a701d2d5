//! The program that runs inside the VM: the scenarios whose names it is given, or those of `--group NAME`, one after
//! the other. It prints `test NAME ... ok` or `FAILED` for each, and its exit status says whether all passed; the host's
//! side of it is `tests/tests/vm_lvs.rs`.

#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use steadfast_tests::lab::clock::Stamp;
use steadfast_tests::vm::scenarios;

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let mut all_passed = true;
    for scenario in scenarios::all().iter().filter(|scenario| names.contains(&scenario.name)) {
        println!("begin {}", scenario.name);
        let begun = Stamp::now();
        let passed = catch_unwind(AssertUnwindSafe(|| (scenario.run)())).is_ok();
        let seconds = Stamp::now().ms_since(begun) / 1e3;
        println!("test {} ... {} ({seconds:.1} s)", scenario.name, if passed { "ok" } else { "FAILED" });
        all_passed &= passed;
    }
    println!("memory {}", std::fs::read_to_string("/proc/meminfo").unwrap_or_default().lines().nth(2).unwrap_or(""));
    if all_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
