//! One file for keepalived and Steadfast: each configuration of `tests/vm/configs` is given to both, one after the
//! other, on the same director with the same real servers, and the table that `ipvsadm -Sn` shows is the same, that of
//! `NAME.table`, once the checks have run; both leave an empty table when they end. A configuration without a table
//! fails, and shows keepalived's.

use std::fs;
use std::time::Duration;

use super::super::director::{Director, Program};
use super::super::net::{Net, Role};
use super::super::server::Server;
use super::super::{Scenario, configurations, table};
use crate::lab::clock::{Stamp, wait_for};

/// How long a program may take to start, check twice and write: its own seconds and the VM's slowness.
const PATIENCE: Duration = Duration::from_secs(20);

/// The configurations of every run: what each kind of service and each way of forwarding is made of.
const SAMPLED: [&str; 12] = [
    "direct",
    "fwmark",
    "groups",
    "inhibited",
    "ipv6",
    "nat",
    "persistence",
    "quorum-sorry",
    "schedulers",
    "sctp",
    "tunnel",
    "udp",
];

/// A scenario for each configuration.
pub(super) fn all() -> Vec<Scenario> {
    let mut names: Vec<String> = fs::read_dir(configurations())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".conf").map(str::to_owned))
        .collect();
    names.sort();
    // Two VMs, so that both can run at once.
    let groups = ["same-table-a", "same-table-b"].into_iter().cycle();
    let scenario = |(name, group): (String, _)| {
        let sampled = SAMPLED.contains(&name.as_str());
        let scenario = Scenario::new(group, format!("same-table-{name}"), move || same_table(&name));
        if sampled { scenario } else { scenario.long() }
    };
    names.into_iter().zip(groups).map(scenario).collect()
}

fn same_table(name: &str) {
    let read = |kind: &str| fs::read_to_string(configurations().join(format!("{name}.{kind}"))).ok();
    let text = read("conf").expect("a scenario is made of its configuration");
    let net = Net::new(&[Role::Director1, Role::Rs1, Role::Rs2]);
    let servers = [Role::Rs1, Role::Rs2].map(|role| Server::web(net.machine(role), "[::]:80", role.name()));
    let director = net.machine(Role::Director1);
    let Some(wanted) = read("table") else { panic!("keepalived's table is\n{}", settled(&net, &text)) };
    let mut thresholds = Vec::new();
    for program in [Program::Keepalived, Program::Steadfast] {
        let checks = || servers.iter().map(Server::accepted).sum::<u64>();
        let before = checks();
        let running = Director::start(program, &net, Role::Director1, &text);
        println!("{} has been started", program.name());
        let right = table::wait_saved(director, &wanted, PATIENCE);
        println!("its table is right after {:.0} ms", right.ms_since(running.started));
        // Every server that answers is checked at least twice, and the table is as it was.
        let rounds = 2 * text.matches("_CHECK {").count() as u64;
        let answering = rounds.saturating_sub(2 * text.matches("connect_port 81").count() as u64).min(8);
        wait_for("checks", PATIENCE, || (checks() >= before + answering).then_some(()));
        assert_eq!(table::saved(director), wanted, "{}: the checks have changed the table", program.name());
        thresholds.push(table::ipvsadm(director, "-Ln --thresholds"));
        let took = running.stop();
        println!("it has ended after {took:.0} ms");
        assert_eq!(table::saved(director), "", "{} has left something in the table", program.name());
    }
    // What `-S` leaves out.
    assert_eq!(thresholds[1], thresholds[0], "ipvsadm -Ln --thresholds");
}

/// The table that keepalived makes, once it has been the same for five seconds.
fn settled(net: &Net, text: &str) -> String {
    let director = net.machine(Role::Director1);
    let _running = Director::start(Program::Keepalived, net, Role::Director1, text);
    let (mut last, mut since) = (table::saved(director), Stamp::now());
    while Stamp::now().ms_since(since) < 5000.0 {
        let now = table::saved(director);
        if now != last {
            (last, since) = (now, Stamp::now());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    last
}
