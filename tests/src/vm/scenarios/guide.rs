//! What the guide (`linux-port/GUIDE.md`) says of LVS, followed word by word on the machines that it names.

use super::super::Scenario;
use super::super::net::{Net, Role};
use crate::guide::{self, Shell};

/// The machines, by the guide's names, and the last part of their addresses.
const MACHINES: [(&str, Role, u8); 5] = [
    ("one", Role::Director1, 11),
    ("two", Role::Director2, 12),
    ("web1", Role::Rs1, 21),
    ("web2", Role::Rs2, 22),
    ("client", Role::Client, 50),
];
/// The folders that each machine has for itself, besides its network: `ip netns exec` gives it its own mounts.
const ENTER: &str = "\
export PATH=/:$PATH
mkdir -p /etc/steadfast /srv /var/log
for place in /etc/steadfast /run /srv /var/log; do mount -t tmpfs own $place; done
exec sh -s";

/// The scenario.
pub(super) fn all() -> Vec<Scenario> {
    vec![Scenario::new("runtime", "guide-is-true", is_true)]
}

fn is_true() {
    let net = Net::new(&MACHINES.map(|(_, role, _)| role));
    let mut shells: Vec<_> = MACHINES
        .iter()
        .map(|&(name, role, number)| {
            let machine = net.machine(role);
            machine.ip("-4 address flush dev eth0");
            machine.ip(&format!("address add 192.0.2.{number}/24 dev eth0"));
            (name, Shell::start(machine.command("sh").args(["-c", ENTER])))
        })
        .collect();
    guide::follow(&guide::steps(guide::TEXT, "A load balancer"), &mut shells);
}
