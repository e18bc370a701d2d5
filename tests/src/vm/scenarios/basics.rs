//! That the VM is what the other scenarios take it for: a kernel with IPVS whose table `ipvsadm` writes and reads, and
//! a LAN on which requests arrive.

use std::time::Duration;

use super::super::Scenario;
use super::super::net::{Net, Role, request};
use super::super::server::Server;
use super::super::table;

const PATIENCE: Duration = Duration::from_secs(5);

/// The scenarios of this file.
pub(super) fn all() -> Vec<Scenario> {
    vec![Scenario::new("basics", "vm-has-ipvs", has_ipvs), Scenario::new("basics", "vm-balances", balances)]
}

fn has_ipvs() {
    let net = Net::new(&[Role::Director1]);
    let director = net.machine(Role::Director1);
    assert_eq!(table::saved(director), "");
    table::ipvsadm(director, "-A -t 10.9.0.100:80 -s rr");
    table::ipvsadm(director, "-a -t 10.9.0.100:80 -r 10.9.0.21:80 -g -w 3");
    assert_eq!(table::saved(director), "-A -t 10.9.0.100:80 -s rr\n-a -t 10.9.0.100:80 -r 10.9.0.21:80 -g -w 3\n");
    assert_eq!(table::servers(director, "10.9.0.100:80"), ["10.9.0.21:80 3"]);
    assert_eq!(table::count_servers(director), 1);
}

/// `ipvsadm` alone as the director: what a scenario with an agent asserts can be seen here.
fn balances() {
    let vip = "10.9.0.100".parse().expect("an address");
    let net = Net::new(&[Role::Client, Role::Director1, Role::Rs1, Role::Rs2]);
    let director = net.machine(Role::Director1);
    director.ip("addr add 10.9.0.100/32 dev eth0");
    table::ipvsadm(director, "-A -t 10.9.0.100:80 -s rr");
    let mut servers = Vec::new();
    for role in [Role::Rs1, Role::Rs2] {
        net.hold_silently(role, vip);
        servers.push(Server::web(net.machine(role), "0.0.0.0:80", role.name()));
        table::ipvsadm(director, &format!("-a -t 10.9.0.100:80 -r 10.9.0.{} -g", role.number()));
    }
    let address = "10.9.0.100:80".parse().expect("an address");
    let mut answers: Vec<String> =
        (0..4).map(|_| request(net.machine(Role::Client), address, PATIENCE).expect("an answer")).collect();
    assert_ne!(answers[0], answers[1], "round robin alternates: {answers:?}");
    answers.sort();
    assert_eq!(answers, ["rs1", "rs1", "rs2", "rs2"]);
    drop(servers);
    assert!(request(net.machine(Role::Client), address, PATIENCE).is_err(), "stopped servers refuse");
}
