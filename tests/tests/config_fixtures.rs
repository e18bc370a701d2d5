//! Whole configuration files, and exactly what is to be said about them: `tests/configs/NAME.conf` beside
//! `NAME.findings`, the text that `steadfast check` prints. `STEADFAST_BLESS=1` writes the latter anew.

use std::fs;
use std::path::{Path, PathBuf};

use steadfast_core::config::Severity;
use steadfast_linux::check::Findings;
use steadfast_linux::plan::{self, Loaded, Plan};

/// The fixtures, as the tests of this package are run.
const FOLDER: &str = "configs";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER)
}

/// The plan of a fixture and its findings.
fn read(name: &str) -> (Plan, Findings) {
    let Loaded { plan, findings } = plan::load(&Path::new(FOLDER).join(name));
    (plan.unwrap(), findings)
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.routers.iter().map(|router| router.name.as_str()).collect()
}

#[test]
fn every_fixture_has_exactly_its_findings() {
    let bless = std::env::var_os("STEADFAST_BLESS").is_some();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(stem) = name.strip_suffix(".conf") else { continue };
        seen += 1;
        let mut text = Vec::new();
        read(&name).1.write_text(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap().replace(&format!("{FOLDER}/"), "");
        let expected_path = folder().join(format!("{stem}.findings"));
        if bless {
            fs::write(expected_path, text).unwrap();
        } else if fs::read_to_string(expected_path).unwrap_or_default() != text {
            wrong.push(format!("{name}:\n{text}"));
        }
    }
    assert!(seen >= 25, "{seen} fixtures found");
    assert!(wrong.is_empty(), "other findings than recorded:\n{}", wrong.join("\n"));
}

#[test]
fn a_wrong_instance_leaves_the_others_alone() {
    let (plan, findings) = read("wrong.conf");
    assert_eq!(names(&plan), ["good", "other_family"]);
    assert!(findings.has_errors());

    let (plan, _) = read("brokenbraces.conf");
    assert_eq!(names(&plan), ["FIRST", "AFTER"]);
}

#[test]
fn where_keepalived_uses_a_default_there_is_a_warning_and_the_instance_runs() {
    let (plan, findings) = read("substitutes.conf");
    assert_eq!(names(&plan), ["substitutes", "rounds3", "rounds2", "master", "waits", "global6"]);
    assert_eq!(findings.count(Severity::Error), 0);
}

#[test]
fn the_shapes_of_real_files_have_no_errors() {
    let names = ["kubeadm", "haproxy", "octavia-vrrp", "neutron", "vyos", "openwrt", "kolla", "patroni", "firewall"];
    for name in names.into_iter().chain(["openshift", "docker"]) {
        let (plan, findings) = read(&format!("{name}.conf"));
        assert_eq!(findings.count(Severity::Error), 0, "{name}");
        assert!(!plan.routers.is_empty(), "{name}");
    }
}

#[test]
fn every_option_of_an_address_reaches_the_plan() {
    let (plan, findings) = read("plain.conf");
    assert_eq!(findings.count(Severity::Error), 0);
    let office = &plan.routers[0];
    assert_eq!((office.name.as_str(), office.interface.as_str()), ("office lan", "lan0"));
    let [first, second, third] = office.addresses.as_slice() else { panic!("three addresses") };
    assert_eq!(first.broadcast, Some([192, 0, 2, 255].into()));
    assert_eq!((first.device.as_deref(), first.label.as_deref(), first.scope), (Some("lan0"), Some("lan0:1"), Some(0)));
    assert!(second.no_prefix_route && second.no_track && !first.no_track);
    assert_eq!(third.peer, Some(([192, 0, 2, 5].into(), 32)));
    assert_eq!((third.scope, third.preferred_lifetime, third.prefix_len), (Some(253), Some(600), 32));
    let [sixth, forever, wan] = office.excluded.as_slice() else { panic!("three excluded") };
    assert!(sixth.home && sixth.no_dad && sixth.manage_temporary);
    assert_eq!((sixth.prefix_len, sixth.preferred_lifetime), (64, None));
    assert_eq!((forever.prefix_len, forever.preferred_lifetime), (128, None));
    assert_eq!((wan.broadcast, wan.scope), (Some([198, 51, 100, 0].into()), Some(200)));
    assert!(wan.auto_join);
    let mac = plan.routers[1].virtual_mac.as_ref().unwrap();
    assert_eq!(mac.name.as_deref(), Some("vip6"));
    assert_eq!(mac.mac.unwrap().to_string(), "02:00:5e:00:02:33");
    assert!(mac.transmit_from_base);
}

#[test]
fn the_syntax_means_what_keepalived_makes_of_it() {
    let (plan, findings) = read("syntax.conf");
    assert!(!findings.has_errors());
    assert_eq!(names(&plan), ["A", "B C"]);
    assert_eq!(plan.globals.router_id.as_deref(), Some("a name with # and ! and { and }"));
    let addresses: Vec<_> = plan.routers[0].addresses.iter().map(|address| address.address.to_string()).collect();
    assert_eq!(addresses, ["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    assert_eq!(plan.routers[1].addresses.len(), 1);
}

#[test]
fn unicast_peers_reach_the_plan_and_wrong_ones_leave_the_instance_out() {
    let (plan, _) = read("unicast.conf");
    assert_eq!(names(&plan), ["good", "nobody", "base"]);
    let [good, nobody, base] = plan.routers.as_slice() else { unreachable!() };
    assert_eq!(good.peers, [[192, 0, 2, 11], [192, 0, 2, 12], [192, 0, 2, 13]].map(std::net::IpAddr::from));
    assert!(good.settings.check_peers && nobody.peers.is_empty());
    assert!(
        base.virtual_mac.as_ref().unwrap().transmit_from_base,
        "what is routed leaves with the interface's address"
    );
}
