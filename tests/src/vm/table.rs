//! The kernel's IPVS table of a namespace as `ipvsadm` shows it, and waiting until it is as it should be.

use std::process::Command;
use std::time::Duration;

use steadfast_linux::ipvs::client::Client;
use steadfast_linux::ipvs::row::ServiceKey;

use crate::lab::clock::{Stamp, wait_for};
use crate::lab::namespace::{Namespace, run};

/// How often a table is looked at while it is waited for.
const PERIOD: Duration = Duration::from_millis(40);

/// Runs `ipvsadm` with some words; panics, with what it said, if it fails. Returns what it printed.
#[track_caller]
pub fn ipvsadm(place: &Namespace, words: &str) -> String {
    let output = run(command(place).args(words.split_whitespace()));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn command(place: &Namespace) -> Command {
    place.command("ipvsadm")
}

/// The whole table as `ipvsadm -Sn` writes it: one line for a service, one for each of its servers.
#[track_caller]
pub fn saved(place: &Namespace) -> String {
    ipvsadm(place, "-Sn").lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The servers of a TCP service, `ADDRESS:PORT`, as `ADDRESS:PORT weight`, sorted.
#[track_caller]
pub fn servers(place: &Namespace, service: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in saved(place).lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["-a", "-t", own, "-r", server, _, "-w", weight, ..] = words[..]
            && own == service
        {
            found.push(format!("{server} {weight}"));
        }
    }
    found.sort();
    found
}

/// Waits until the table is what `wanted` says; panics, with both, after `patience`. When it was seen to be so.
#[track_caller]
pub fn wait_saved(place: &Namespace, wanted: &str, patience: Duration) -> Stamp {
    let deadline = Stamp::now() + patience;
    loop {
        let found = saved(place);
        let at = Stamp::now();
        if found == wanted {
            return at;
        }
        assert!(at < deadline, "after {patience:?} the table is\n{found}and should be\n{wanted}");
        std::thread::sleep(PERIOD);
    }
}

/// Waits until a service's servers are `wanted`; panics after `patience`. When they were seen to be so.
#[track_caller]
pub fn wait_servers(place: &Namespace, service: &str, wanted: &[&str], patience: Duration) -> Stamp {
    let deadline = Stamp::now() + patience;
    loop {
        let found = servers(place, service);
        let at = Stamp::now();
        if found == wanted {
            return at;
        }
        assert!(at < deadline, "after {patience:?} the servers of {service} are {found:?} and should be {wanted:?}");
        std::thread::sleep(PERIOD);
    }
}

/// How many servers the table holds, in all its services: cheaper than `ipvsadm` for a table of thousands.
pub fn count_servers(place: &Namespace) -> usize {
    place.enter(count_servers_here)
}

/// The same in the namespace of the calling thread.
fn count_servers_here() -> usize {
    let text = std::fs::read_to_string("/proc/thread-self/net/ip_vs").unwrap_or_default();
    text.lines().filter(|line| line.starts_with("  -> ") && !line.contains("RemoteAddress")).count()
}

/// Waits until the table holds `all` servers, `own` of them those of the service `last`, which comes last; panics after
/// `patience`. When it was seen to. Hardly anything of the machine's time is taken: the last service alone is asked
/// for, every few milliseconds, and the rest is counted when it is there.
#[track_caller]
pub fn wait_whole(place: &Namespace, last: &ServiceKey, own: usize, all: usize, patience: Duration) -> Stamp {
    place.enter(|| {
        let mut client = wait_for("the kernel's IPVS", patience, || Client::open().ok());
        wait_for("the whole table", patience, || {
            let at = Stamp::now();
            let there = client.destinations(last).is_ok_and(|found| found.len() == own);
            (there && count_servers_here() == all).then_some(at)
        })
    })
}
