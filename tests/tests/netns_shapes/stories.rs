//! The shapes as pairs: what their files need around them, what differs on the second machine, and the story that they
//! go through: with whom each step leaves every instance, and with which priority.

use Act::{CableBack, CableCut, Reload, ScriptFails, ScriptWorks, StartFirst, StartSecond, Stop};

/// The machine on which the file is as it is written, and the other one.
pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;

/// Text that is replaced, in this order.
pub(crate) type Edits = &'static [(&'static str, &'static str)];

/// A shape as it is run.
#[derive(Debug)]
pub(crate) struct Shape {
    /// The file in `tests/configs`, without its ending.
    pub name: &'static str,
    /// What is replaced on both machines, so that the story is a short one.
    pub both: Edits,
    /// What is replaced on the second machine.
    pub second: Edits,
    /// `DAEMON_ARGS`.
    pub arguments: &'static [&'static str],
    /// The networks between the two: the name of the interface on each, and the machines' addresses there.
    pub cables: &'static [(&'static str, [&'static [&'static str]; 2])],
    /// Scripts that the file tracks: they succeed as long as there is `healthy`.
    pub checks: &'static [&'static str],
    /// The file that makes them succeed.
    pub healthy: &'static str,
    /// Scripts that are told of something: they write down their arguments.
    pub told: &'static [&'static str],
    /// Those that read a notify FIFO: they write down its lines.
    pub readers: &'static [&'static str],
    /// What happens.
    pub story: &'static [Step],
}

/// Something happens, and then the instances of A and of B are in these states, with these priorities.
#[derive(Debug)]
pub(crate) struct Step {
    /// In a message.
    pub name: &'static str,
    /// What happens.
    pub act: Act,
    /// The states; empty of one that does not run.
    pub then: [&'static str; 2],
}

/// What happens, on which machine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// A is started.
    StartFirst,
    /// B is started.
    StartSecond,
    /// What the scripts look for is gone.
    ScriptFails(usize),
    /// It is there again.
    ScriptWorks(usize),
    /// The interface has no carrier any more.
    CableCut(usize, &'static str),
    /// It has it again.
    CableBack(usize, &'static str),
    /// The file is read again with this replaced.
    Reload(usize, &'static str, &'static str),
    /// The program is stopped.
    Stop(usize),
}

const fn step(name: &'static str, act: Act, then: [&'static str; 2]) -> Step {
    Step { name, act, then }
}

/// A shape of a file without scripts, which the shapes differ from.
const PLAIN: Shape = Shape {
    name: "",
    both: &[],
    second: &[],
    arguments: &[],
    cables: &[],
    checks: &[],
    healthy: "/run/healthy",
    told: &[],
    readers: &[],
    story: &[],
};
/// Of those that have virtual servers too: the routers alone.
const ROUTERS: &[&str] = &["--vrrp"];

/// In the order of the sample that they are drawn from.
pub(crate) const SHAPES: [Shape; 12] = [
    Shape {
        name: "kubeadm",
        both: &[("interval 3", "interval 1"), ("fall 10", "fall 2")],
        second: &[("state MASTER", "state BACKUP"), ("priority 101", "priority 100")],
        cables: &[("ens192", [&["192.0.2.11/24"], &["192.0.2.12/24"]])],
        checks: &["/etc/keepalived/check_apiserver.sh"],
        story: &[
            step("the first start", StartFirst, ["VI_1 MASTER 101", ""]),
            step("the second start", StartSecond, ["VI_1 MASTER 101", "VI_1 BACKUP 100"]),
            step("a failed script", ScriptFails(A), ["VI_1 BACKUP 99", "VI_1 MASTER 100"]),
            step("a script that works again", ScriptWorks(A), ["VI_1 MASTER 101", "VI_1 BACKUP 100"]),
            step("a cut cable", CableCut(A, "ens192"), ["VI_1 FAULT 101", "VI_1 MASTER 100"]),
            step("a cable put back", CableBack(A, "ens192"), ["VI_1 MASTER 101", "VI_1 BACKUP 100"]),
            step("a reload", Reload(A, "priority 101", "priority 90"), ["VI_1 BACKUP 90", "VI_1 MASTER 100"]),
            step("a stop", Stop(B), ["VI_1 MASTER 90", ""]),
        ],
        ..PLAIN
    },
    Shape {
        name: "haproxy",
        both: &[("interval 2", "interval 1")],
        second: &[("state MASTER", "state BACKUP"), ("priority 101", "priority 100")],
        cables: &[("eth0", [&["192.0.2.3/24"], &["192.0.2.4/24"]])],
        healthy: "/run/haproxy.pid",
        story: &[
            step("the first start", StartFirst, ["VI_1 MASTER 103", ""]),
            step("the second start", StartSecond, ["VI_1 MASTER 103", "VI_1 BACKUP 102"]),
            step("a failed script", ScriptFails(A), ["VI_1 BACKUP 101", "VI_1 MASTER 102"]),
            step("a script that works again", ScriptWorks(A), ["VI_1 MASTER 103", "VI_1 BACKUP 102"]),
            step("a cut cable", CableCut(A, "eth0"), ["VI_1 FAULT 103", "VI_1 MASTER 102"]),
            step("a cable put back", CableBack(A, "eth0"), ["VI_1 MASTER 103", "VI_1 BACKUP 102"]),
            step("a reload", Reload(A, "priority 101", "priority 99"), ["VI_1 BACKUP 101", "VI_1 MASTER 102"]),
            step("a stop", Stop(B), ["VI_1 MASTER 101", ""]),
        ],
        ..PLAIN
    },
    Shape {
        name: "openshift",
        both: &[("interval 2", "interval 1"), ("interval 5", "interval 1"), ("rise 3", "rise 2")],
        second: &[("192.0.2.11", "OWN"), ("192.0.2.12", "192.0.2.11"), ("OWN", "192.0.2.12")],
        cables: &[("br-ex", [&["192.0.2.11/24"], &["192.0.2.12/24"]])],
        checks: &[
            "/etc/keepalived/chk_api.sh",
            "/etc/keepalived/chk_ingress.sh",
            "/etc/keepalived/chk_default_ingress.sh",
        ],
        // All nodes have one priority: who has the address keeps it.
        story: &[
            step("the first start", StartFirst, ["api_0 MASTER 60, ingress_0 MASTER 90", ""]),
            step(
                "the second start",
                StartSecond,
                ["api_0 MASTER 60, ingress_0 MASTER 90", "api_0 BACKUP 60, ingress_0 BACKUP 90"],
            ),
            step(
                "a failed script",
                ScriptFails(A),
                ["api_0 BACKUP 40, ingress_0 BACKUP 20", "api_0 MASTER 60, ingress_0 MASTER 90"],
            ),
            step(
                "a script that works again",
                ScriptWorks(A),
                ["api_0 BACKUP 60, ingress_0 BACKUP 90", "api_0 MASTER 60, ingress_0 MASTER 90"],
            ),
            step(
                "a cut cable",
                CableCut(B, "br-ex"),
                ["api_0 MASTER 60, ingress_0 MASTER 90", "api_0 FAULT 60, ingress_0 FAULT 90"],
            ),
            step(
                "a cable put back",
                CableBack(B, "br-ex"),
                ["api_0 MASTER 60, ingress_0 MASTER 90", "api_0 BACKUP 60, ingress_0 BACKUP 90"],
            ),
            step(
                "a reload",
                Reload(B, "priority 40", "priority 45"),
                ["api_0 BACKUP 60, ingress_0 MASTER 90", "api_0 MASTER 65, ingress_0 BACKUP 90"],
            ),
            step("a stop", Stop(A), ["", "api_0 MASTER 65, ingress_0 MASTER 90"]),
        ],
        ..PLAIN
    },
    Shape {
        name: "octavia-vrrp",
        both: &[("interval 5", "interval 1")],
        second: &[("priority 100\n  nopreempt", "priority 90\n  nopreempt")],
        cables: &[("eth1", [&["203.0.113.11/24", "2001:db8::11/64"], &["203.0.113.12/24", "2001:db8::12/64"]])],
        checks: &["/var/lib/octavia/vrrp/check_script.sh"],
        story: &[
            step("the first start", StartFirst, ["0a1b2c3d4e5f60718293 MASTER 100", ""]),
            step(
                "the second start",
                StartSecond,
                ["0a1b2c3d4e5f60718293 MASTER 100", "0a1b2c3d4e5f60718293 BACKUP 90"],
            ),
            step(
                "a failed script",
                ScriptFails(A),
                ["0a1b2c3d4e5f60718293 FAULT 100", "0a1b2c3d4e5f60718293 MASTER 90"],
            ),
            step(
                "a script that works again",
                ScriptWorks(A),
                ["0a1b2c3d4e5f60718293 BACKUP 100", "0a1b2c3d4e5f60718293 MASTER 90"],
            ),
            step(
                "a cut cable",
                CableCut(B, "eth1"),
                ["0a1b2c3d4e5f60718293 MASTER 100", "0a1b2c3d4e5f60718293 FAULT 90"],
            ),
            step(
                "a cable put back",
                CableBack(B, "eth1"),
                ["0a1b2c3d4e5f60718293 MASTER 100", "0a1b2c3d4e5f60718293 BACKUP 90"],
            ),
            step(
                "a reload",
                Reload(A, "priority 100\n  nopreempt", "priority 95\n  nopreempt"),
                ["0a1b2c3d4e5f60718293 MASTER 95", "0a1b2c3d4e5f60718293 BACKUP 90"],
            ),
            step("a stop", Stop(A), ["", "0a1b2c3d4e5f60718293 MASTER 90"]),
        ],
        ..PLAIN
    },
    Shape {
        name: "neutron",
        cables: &[
            ("ha-a1b2c3d4-e5", [&["169.254.192.11/18"], &["169.254.192.12/18"]]),
            ("qr-11112222-33", [&[], &[]]),
            ("qg-44445555-66", [&[], &[]]),
        ],
        // Both have one priority, and none preempts.
        story: &[
            step("the first start", StartFirst, ["VR_1 MASTER 50", ""]),
            step("the second start", StartSecond, ["VR_1 MASTER 50", "VR_1 BACKUP 50"]),
            step("a cut cable", CableCut(A, "ha-a1b2c3d4-e5"), ["VR_1 FAULT 50", "VR_1 MASTER 50"]),
            step("a cable put back", CableBack(A, "ha-a1b2c3d4-e5"), ["VR_1 BACKUP 50", "VR_1 MASTER 50"]),
            step("a reload", Reload(A, "priority 50", "priority 60"), ["VR_1 BACKUP 60", "VR_1 MASTER 50"]),
            step("a stop", Stop(B), ["VR_1 MASTER 60", ""]),
        ],
        ..PLAIN
    },
    Shape {
        name: "vyos",
        second: &[("priority 200", "priority 100"), ("192.0.2.2", "192.0.2.3")],
        cables: &[
            ("eth1", [&["192.0.2.2/24"], &["192.0.2.3/24"]]),
            ("eth2", [&["198.51.100.2/24"], &["198.51.100.3/24"]]),
        ],
        readers: &["/usr/libexec/vyos/system/keepalived-fifo.py"],
        story: &[
            step("the first start", StartFirst, ["OFFICE MASTER 200, OFFICE_V2 MASTER 200", ""]),
            step(
                "the second start",
                StartSecond,
                ["OFFICE MASTER 200, OFFICE_V2 MASTER 200", "OFFICE BACKUP 100, OFFICE_V2 BACKUP 100"],
            ),
            step(
                "a cut cable",
                CableCut(A, "eth2"),
                ["OFFICE FAULT 200, OFFICE_V2 FAULT 200", "OFFICE MASTER 100, OFFICE_V2 MASTER 100"],
            ),
            step(
                "a cable put back",
                CableBack(A, "eth2"),
                ["OFFICE BACKUP 200, OFFICE_V2 BACKUP 200", "OFFICE MASTER 100, OFFICE_V2 MASTER 100"],
            ),
            step(
                "a reload",
                Reload(A, "priority 200", "priority 150"),
                ["OFFICE BACKUP 150, OFFICE_V2 BACKUP 150", "OFFICE MASTER 100, OFFICE_V2 MASTER 100"],
            ),
            step("a stop", Stop(B), ["OFFICE MASTER 150, OFFICE_V2 MASTER 150", ""]),
        ],
        ..PLAIN
    },
    Shape {
        name: "vyos-unicast",
        second: &[
            ("priority 200", "priority 100"),
            ("203.0.113.2", "OWN"),
            ("203.0.113.3", "203.0.113.2"),
            ("OWN", "203.0.113.3"),
        ],
        cables: &[("eth3", [&["203.0.113.2/24"], &["203.0.113.3/24"]])],
        story: &[
            step("the first start", StartFirst, ["WAN MASTER 200", ""]),
            step("the second start", StartSecond, ["WAN MASTER 200", "WAN BACKUP 100"]),
            step("a cut cable", CableCut(A, "eth3"), ["WAN FAULT 200", "WAN MASTER 100"]),
            step("a cable put back", CableBack(A, "eth3"), ["WAN MASTER 200", "WAN BACKUP 100"]),
            step("a reload", Reload(A, "priority 200", "priority 50"), ["WAN BACKUP 50", "WAN MASTER 100"]),
            step("a stop", Stop(B), ["WAN MASTER 50", ""]),
        ],
        ..PLAIN
    },
    Shape {
        name: "openwrt",
        second: &[("priority 100", "priority 90")],
        arguments: ROUTERS,
        cables: &[("br-lan", [&["192.0.2.2/24"], &["192.0.2.3/24"]])],
        told: &["/sbin/hotplug-call"],
        story: &[
            step("the first start", StartFirst, ["lan MASTER 100", ""]),
            step("the second start", StartSecond, ["lan MASTER 100", "lan BACKUP 90"]),
            step("a cut cable", CableCut(A, "br-lan"), ["lan FAULT 100", "lan MASTER 90"]),
            step("a cable put back", CableBack(A, "br-lan"), ["lan BACKUP 100", "lan MASTER 90"]),
            step("a reload", Reload(A, "priority 100", "priority 80"), ["lan BACKUP 80", "lan MASTER 90"]),
            step("a stop", Stop(B), ["lan MASTER 80", ""]),
        ],
        ..PLAIN
    },
    Shape {
        name: "kolla",
        both: &[("interval 2", "interval 1"), ("rise 10", "rise 2")],
        second: &[("priority 17", "priority 10")],
        cables: &[
            ("eno1", [&["192.0.2.11/24"], &["192.0.2.12/24"]]),
            ("eno2", [&["198.51.100.11/24"], &["198.51.100.12/24"]]),
        ],
        checks: &["/check_alive.sh"],
        story: &[
            step("the first start", StartFirst, ["kolla_internal_vip_51 MASTER 17", ""]),
            step(
                "the second start",
                StartSecond,
                ["kolla_internal_vip_51 MASTER 17", "kolla_internal_vip_51 BACKUP 10"],
            ),
            step(
                "a failed script",
                ScriptFails(A),
                ["kolla_internal_vip_51 FAULT 17", "kolla_internal_vip_51 MASTER 10"],
            ),
            step(
                "a script that works again",
                ScriptWorks(A),
                ["kolla_internal_vip_51 BACKUP 17", "kolla_internal_vip_51 MASTER 10"],
            ),
            step(
                "a cut cable",
                CableCut(B, "eno2"),
                ["kolla_internal_vip_51 MASTER 17", "kolla_internal_vip_51 FAULT 10"],
            ),
            step(
                "a cable put back",
                CableBack(B, "eno2"),
                ["kolla_internal_vip_51 MASTER 17", "kolla_internal_vip_51 BACKUP 10"],
            ),
            step(
                "a reload",
                Reload(A, "priority 17", "priority 20"),
                ["kolla_internal_vip_51 MASTER 20", "kolla_internal_vip_51 BACKUP 10"],
            ),
            step("a stop", Stop(A), ["", "kolla_internal_vip_51 MASTER 10"]),
        ],
        ..PLAIN
    },
    Shape {
        name: "patroni",
        both: &[("interval 2", "interval 1")],
        second: &[("priority 149", "priority 148"), ("pg-1", "pg-2")],
        cables: &[("eth0", [&["192.0.2.11/24"], &["192.0.2.12/24"]])],
        checks: &["/usr/local/bin/is_leader.sh"],
        story: &[
            step("the first start", StartFirst, ["pg-vip MASTER 159", ""]),
            step("the second start", StartSecond, ["pg-vip MASTER 159", "pg-vip BACKUP 158"]),
            // Without preemption a weight moves nothing.
            step("a failed script", ScriptFails(A), ["pg-vip MASTER 149", "pg-vip BACKUP 158"]),
            step("a script that works again", ScriptWorks(A), ["pg-vip MASTER 159", "pg-vip BACKUP 158"]),
            step("a cut cable", CableCut(A, "eth0"), ["pg-vip FAULT 159", "pg-vip MASTER 158"]),
            step("a cable put back", CableBack(A, "eth0"), ["pg-vip BACKUP 159", "pg-vip MASTER 158"]),
            step("a reload", Reload(A, "priority 149", "priority 120"), ["pg-vip BACKUP 130", "pg-vip MASTER 158"]),
            step("a stop", Stop(B), ["pg-vip MASTER 130", ""]),
        ],
        ..PLAIN
    },
    Shape {
        name: "docker",
        second: &[("priority 150", "priority 100"), ("192.0.2.11", "192.0.2.10")],
        arguments: ROUTERS,
        cables: &[("eth0", [&["192.0.2.10/24"], &["192.0.2.11/24"]])],
        told: &["/container/service/keepalived/assets/notify.sh"],
        story: &[
            step("the first start", StartFirst, ["VI_1 MASTER 150", ""]),
            step("the second start", StartSecond, ["VI_1 MASTER 150", "VI_1 BACKUP 100"]),
            step("a cut cable", CableCut(A, "eth0"), ["VI_1 FAULT 150", "VI_1 MASTER 100"]),
            step("a cable put back", CableBack(A, "eth0"), ["VI_1 BACKUP 150", "VI_1 MASTER 100"]),
            step("a reload", Reload(A, "priority 150", "priority 90"), ["VI_1 BACKUP 90", "VI_1 MASTER 100"]),
            step("a stop", Stop(B), ["VI_1 MASTER 90", ""]),
        ],
        ..PLAIN
    },
    Shape {
        name: "firewall",
        second: &[("state MASTER", "state BACKUP"), ("priority 150", "priority 100"), ("fw1", "fw2")],
        cables: &[
            ("eth0", [&["203.0.113.101/24"], &["203.0.113.102/24"]]),
            ("eth1", [&["192.0.2.101/24"], &["192.0.2.102/24"]]),
            ("eth2", [&["198.51.100.101/24"], &["198.51.100.102/24"]]),
        ],
        told: &["/etc/conntrackd/primary-backup.sh"],
        story: &[
            step("the first start", StartFirst, ["inside MASTER 150, outside MASTER 150, side MASTER 150", ""]),
            step(
                "the second start",
                StartSecond,
                [
                    "inside MASTER 150, outside MASTER 150, side MASTER 150",
                    "inside BACKUP 100, outside BACKUP 100, side BACKUP 100",
                ],
            ),
            step(
                "a cut cable",
                CableCut(A, "eth1"),
                [
                    "inside FAULT 150, outside FAULT 150, side MASTER 150",
                    "inside MASTER 100, outside MASTER 100, side BACKUP 100",
                ],
            ),
            step(
                "a cable put back",
                CableBack(A, "eth1"),
                [
                    "inside MASTER 150, outside MASTER 150, side MASTER 150",
                    "inside BACKUP 100, outside BACKUP 100, side BACKUP 100",
                ],
            ),
            step(
                "a reload",
                Reload(A, "63\n    priority 150", "63\n    priority 50"),
                [
                    "inside MASTER 150, outside MASTER 150, side BACKUP 50",
                    "inside BACKUP 100, outside BACKUP 100, side MASTER 100",
                ],
            ),
            step("a stop", Stop(A), ["", "inside MASTER 100, outside MASTER 100, side MASTER 100"]),
        ],
        ..PLAIN
    },
];
