//! The guide (`linux-port/GUIDE.md`) followed word by word, as far as it wants no IPVS: on two routers and a client, each
//! a machine with a file system of its own. What it says of LVS is followed in the virtual machine.

#![forbid(unsafe_code)]

use libtest_mimic::{Arguments, Trial};
use steadfast_tests::guide;
use steadfast_tests::lab::folder::Folder;
use steadfast_tests::lab::machine::Machine;
use steadfast_tests::lab::namespace::{self, Namespace};

/// In the order of the guide: what is done in one goes on in the next.
const CHAPTERS: [&str; 3] = ["A first pair", "Two that both say they are Active", "Away from keepalived"];
/// The machines, and the last part of their addresses.
const MACHINES: [(&str, u8); 3] = [("one", 11), ("two", 12), ("client", 50)];

fn main() {
    let arguments = Arguments::from_args();
    if let Err(why) = namespace::permitted(&["ping"]) {
        println!("skipped: {why}");
        return;
    }
    let trial = Trial::test("guide-is-true", || {
        is_true();
        Ok(())
    });
    libtest_mimic::run(&arguments, vec![trial]).exit();
}

fn is_true() {
    let (folder, hub) = (Folder::new(), Namespace::new("hub"));
    hub.sysctl("net/ipv6/conf/default/disable_ipv6", "1");
    hub.ip("link add br0 type bridge mcast_snooping 0 forward_delay 0 stp_state 0");
    hub.ip("link set br0 up");
    let machines = MACHINES.map(|(name, number)| {
        let machine = Machine::new(&folder, name);
        let namespace = &machine.namespace;
        hub.ip(&format!("link add {name} type veth peer name eth0 netns {}", namespace.name()));
        hub.ip(&format!("link set {name} master br0 up"));
        namespace.ip(&format!("address add 192.0.2.{number}/24 dev eth0"));
        namespace.ip("link set eth0 up");
        (name, machine)
    });
    let mut shells: Vec<_> = machines.iter().map(|(name, machine)| (*name, machine.shell())).collect();
    for chapter in CHAPTERS {
        guide::follow(&guide::steps(guide::TEXT, chapter), &mut shells);
    }
}
