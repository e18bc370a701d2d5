//! A kernel without IPv6, without macvlan, without IPVS, and nothing that loads a module: what needs none of them works,
//! and what is missing is said. Root may raise every limit here.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::super::Scenario;
use super::super::machine::WITHOUT_IPV6;
use crate::lab::clock::wait_for;
use crate::lab::namespace::run;
use crate::lab::process::Process;
use crate::lab::steadfast_binary;

const PATIENCE: Duration = Duration::from_secs(30);

/// The scenarios of this file.
pub(super) fn all() -> Vec<Scenario> {
    vec![Scenario::new(WITHOUT_IPV6, "a-bare-kernel-costs-only-what-needs-it", bare)]
}

fn ip(arguments: &str) -> String {
    let output = run(Command::new("ip").args(arguments.split_whitespace()));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn instance(name: &str, vrid: u8, more: &str, address: &str) -> String {
    format!(
        "vrrp_instance {name} {{\n    interface lan0\n    virtual_router_id {vrid}\n    version 3\n    advert_int 0.5\n    \
         {more}\n    virtual_ipaddress {{\n        {address}\n    }}\n}}\n"
    )
}

fn bare() {
    assert!(!Path::new("/proc/sys/net/ipv6").exists(), "the kernel was told to have no IPv6");
    ip("link add lan0 type veth peer name lan1");
    ip("addr add 10.9.0.1/24 dev lan0");
    ip("link set lan1 up");
    ip("link set lan0 up");
    // From now on the kernel is what it is.
    fs::remove_file("/sbin/modprobe").expect("there was one");
    let excluded = "virtual_ipaddress_excluded {\n        10.9.0.111/24\n        fd09::64/64\n    }";
    let text = "global_defs {\n    vrrp_no_swap\n    vrrp_rt_priority 1\n    vrrp_rlimit_rttime 500000\n}\n".to_owned()
        + &instance("PLAIN", 1, excluded, "10.9.0.101/24")
        + &instance("SIX", 2, "", "fe80::64/64")
        + &instance("VMAC", 3, "use_vmac", "10.9.0.103/24")
        + &instance("BESIDE", 4, "", "10.9.0.104/24")
        + "vrrp_sync_group BOTH {\n    group {\n        VMAC\n        BESIDE\n    }\n}\n\
           virtual_server 10.9.0.101 80 {\n    protocol TCP\n    real_server 10.9.0.1 80 {\n        TCP_CHECK {\n        }\n    }\n}\n";
    fs::create_dir_all("/tmp/bare").expect("a folder can be made");
    fs::write("/tmp/bare/conf", text).expect("a configuration can be written");
    let mut command = Command::new(steadfast_binary());
    command.args(["run", "--config", "/tmp/bare/conf", "--control", "/tmp/bare/control.sock"]).stdin(Stdio::null());
    let mut process = Process::start(&mut command, Path::new("/tmp/bare/log"));
    for address in ["10.9.0.101", "10.9.0.111"] {
        let held = || ip("-o addr show dev lan0").contains(&format!(" {address}/")).then_some(());
        wait_for(address, PATIENCE, held);
    }
    let sentences = [
        "SIX: this kernel has no IPv6; it is left out",
        "PLAIN: IPv6 is switched off here, so it goes without fd09::64",
        "VMAC: use_vmac: vrrp.3: this kernel has no macvlan, or its module macvlan is not loaded; it is left out",
        "sync group BOTH: VMAC is left out, so the whole group is",
        "there is no IPVS table: the kernel has no IPVS, or its module ip_vs is not loaded and there is no /sbin/modprobe",
    ];
    for sentence in sentences {
        wait_for(sentence, PATIENCE, || process.log().contains(sentence).then_some(()));
    }
    let held = ip("-o addr show dev lan0");
    assert!(!held.contains("10.9.0.103") && !held.contains("10.9.0.104"), "half a group runs: {held}");
    // Locked beyond the limit that it began with, also by threads that may lock nothing.
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("it runs");
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).expect("a line").trim().to_owned();
    assert_ne!(locked, "0 kB", "{}", process.log());
    // In an emulator the start alone computes for longer than it may, and is as urgent as others for a second.
    wait_for("its real-time priority", PATIENCE, || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid())).ok()?;
        // proc(5): the real-time priority and the policy, SCHED_RR.
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        (fields.get(40 - 3..=41 - 3)? == ["1", "2"]).then_some(())
    });
    println!("figure: vm: locked memory: {locked}");
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait(PATIENCE), Some(0), "{}", process.log());
}
