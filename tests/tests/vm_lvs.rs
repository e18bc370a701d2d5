//! Steadfast's LVS against the real kernel's IPVS, in virtual machines: one VM for each group of scenarios, each
//! scenario a test here. What the scenarios do is in `tests/src/vm/scenarios`; this boots the VMs that the chosen tests
//! want, and tells each test what became of it. `tests/vm/README.md` says how to run one of them by hand.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use steadfast_tests::lab::thorough;
use steadfast_tests::vm::machine::{Machine, Report, Unavailable};
use steadfast_tests::vm::{Scenario, scenarios};

/// The groups that compare times and want the computer to themselves; they run after the others.
const ALONE: &[&str] = &["scale", "scale-checks"];

/// How long a VM may take for each of its scenarios, and for its boot. On an idle machine it is a tenth of that.
const PATIENCE: Duration = Duration::from_secs(150);

fn main() {
    let mut arguments = Arguments::from_args();
    // How many VMs run at once is decided below; the tests only wait for theirs.
    let at_once = arguments.test_threads.unwrap_or(2).max(1);
    arguments.test_threads = Some(1);
    let scenarios: Vec<Scenario> = scenarios::all().into_iter().filter(|one| thorough() || !one.long).collect();
    let chosen: Vec<&Scenario> = scenarios.iter().filter(|scenario| is_chosen(&arguments, &scenario.name)).collect();
    let results = Arc::new(Results::default());
    std::thread::scope(|scope| {
        if !arguments.list && !chosen.is_empty() {
            match Machine::prepare() {
                Ok(machine) => {
                    let results = Arc::clone(&results);
                    let chosen = chosen.clone();
                    scope.spawn(move || run_all(&machine, &chosen, at_once, &results));
                }
                Err(Unavailable::Skipped(why)) => {
                    println!("skipped: {why}");
                    return;
                }
                Err(Unavailable::Failed(why)) => {
                    eprintln!("{why}");
                    std::process::exit(1);
                }
            }
        }
        let trials = scenarios.iter().map(|scenario| {
            let (results, name) = (Arc::clone(&results), scenario.name.clone());
            Trial::test(scenario.name.clone(), move || results.wait(&name))
        });
        libtest_mimic::run(&arguments, trials.collect()).exit();
    });
}

/// Whether libtest-mimic will run the test of that name.
fn is_chosen(arguments: &Arguments, name: &str) -> bool {
    let matches = |filter: &String| if arguments.exact { name == filter } else { name.contains(filter.as_str()) };
    arguments.filter.as_ref().is_none_or(matches) && !arguments.skip.iter().any(matches)
}

/// Runs each group's VM, some at a time, and those that want to be alone at the end.
fn run_all(machine: &Machine, chosen: &[&Scenario], at_once: usize, results: &Results) {
    let mut groups: Vec<&str> = Vec::new();
    for scenario in chosen {
        if !groups.contains(&scenario.group) {
            groups.push(scenario.group);
        }
    }
    let (alone, together): (Vec<&str>, Vec<&str>) = groups.into_iter().partition(|group| ALONE.contains(group));
    for (groups, workers) in [(together, at_once), (alone, 1)] {
        let queue = Mutex::new(groups.into_iter());
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(group) = next else { return };
                        run_group(machine, group, chosen, results);
                    }
                });
            }
        });
    }
}

fn run_group(machine: &Machine, group: &str, chosen: &[&Scenario], results: &Results) {
    let mine: Vec<&Scenario> = chosen.iter().filter(|scenario| scenario.group == group).copied().collect();
    let patience = PATIENCE * u32::try_from(mine.len() + 1).unwrap_or(1);
    let report = match machine.run(group, &mine, patience) {
        Ok(report) => report,
        Err(error) => Report { console: format!("the VM could not be run: {error}"), status: None, seconds: 0.0 },
    };
    let logs = Path::new(env!("CARGO_MANIFEST_DIR")).join("logs");
    let _ = fs::create_dir_all(&logs);
    let _ = fs::write(logs.join(format!("vm-{group}.console")), &report.console);
    for line in report.console.lines().filter(|line| line.starts_with("figure: ")) {
        println!("\n{line}");
    }
    println!("\nfigure: vm: group {group}: {} scenarios in {:.0} s", mine.len(), report.seconds);
    for scenario in mine {
        results.set(&scenario.name, verdict(&report, &scenario.name));
    }
}

/// What the console says of a scenario: passed, or what it printed.
fn verdict(report: &Report, name: &str) -> Result<(), String> {
    let own = report.console.split_once(&format!("begin {name}\n")).map(|(_, rest)| rest);
    let Some(own) = own else { return Err(format!("the VM did not get to it; its console:\n{}", report.console)) };
    match own.split_once(&format!("test {name} ... ")) {
        Some((_, verdict)) if verdict.starts_with("ok") => Ok(()),
        Some((said, _)) => Err(said.to_owned()),
        None => Err(format!("the VM ended in the midst of it, status {:?}; its console:\n{own}", report.status)),
    }
}

/// The results so far, by scenario.
#[derive(Default)]
struct Results {
    known: Mutex<HashMap<String, Result<(), String>>>,
    more: Condvar,
}

impl Results {
    fn set(&self, name: &str, result: Result<(), String>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), result);
        self.more.notify_all();
    }

    fn wait(&self, name: &str) -> Result<(), Failed> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(result) = known.get(name) {
                return result.clone().map_err(Failed::from);
            }
            known = self.more.wait(known).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
