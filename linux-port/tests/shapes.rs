//! The twelve shapes of real configurations (`tests/configs`), under both names of the binary: `steadfast check` and
//! `keepalived -t` say what is recorded beside each file, and end with the statuses recorded in `shapes.statuses`.
//! `STEADFAST_BLESS=1` writes the latter anew; the findings are written by `config_fixtures` of the package of tests.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// In the order of the sample that they are drawn from; the seventh, a router distribution, has three files.
const SHAPES: [&str; 14] = [
    "kubeadm",
    "haproxy",
    "openshift",
    "octavia-vrrp",
    "octavia-lvs",
    "neutron",
    "vyos",
    "vyos-unicast",
    "vyos-lvs",
    "openwrt",
    "kolla",
    "patroni",
    "docker",
    "firewall",
];

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/configs"))
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_steadfast")).args(arguments).current_dir(folder()).output().unwrap()
}

fn status(output: &Output) -> i32 {
    output.status.code().expect("an exit status")
}

#[test]
fn each_shape_is_judged_the_same_under_both_names() {
    let mut statuses = String::new();
    for shape in SHAPES {
        let file = format!("{shape}.conf");
        let recorded = fs::read_to_string(folder().join(format!("{shape}.findings"))).unwrap();
        let ours = run(&["check", &file]);
        assert_eq!(String::from_utf8_lossy(&ours.stdout), recorded, "{file}");
        let theirs = run(&["keepalived", "-t", "-f", &file]);
        let said = String::from_utf8_lossy(&theirs.stderr).into_owned();
        let guarded = said.lines().filter(|line| !line.starts_with("keepalived: ")).map(|line| format!("{line}\n"));
        assert_eq!(guarded.collect::<String>(), recorded, "{file}");
        let _ = writeln!(statuses, "{shape}: check {}, keepalived -t {}", status(&ours), status(&theirs));
    }
    let path = folder().join("shapes.statuses");
    if std::env::var_os("STEADFAST_BLESS").is_some() {
        fs::write(path, statuses).unwrap();
    } else {
        assert_eq!(statuses, fs::read_to_string(path).unwrap_or_default());
    }
}
