//! From a configuration to the Virtual Routers of a node, and from one configuration to the next.

use std::collections::BTreeMap;

use crate::common::*;
use steadfast_core::agent::{InterfaceId, State};
use steadfast_core::config::Severity;
use steadfast_core::time::Duration;
use steadfast_core::types::Version;
use steadfast_firmware::setup;

/// An instance with these lines besides.
fn instance(name: &str, vrid: u8, more: &str) -> String {
    format!(
        "vrrp_instance {name} {{\n interface lan\n version 3\n virtual_router_id {vrid}\n virtual_ipaddress {{ 192.0.2.{vrid}/24 }}\n {more}\n}}\n"
    )
}

impl Bench {
    fn check(&self, text: &str) -> (bool, Vec<String>) {
        let mut said = Vec::new();
        let good = setup::check(&self.node, &self.ports(), text, &mut |diagnostic| {
            if diagnostic.severity != Severity::Notice {
                said.push(diagnostic.to_string());
            }
        });
        (good, said)
    }

    fn ports(&self) -> [(&'static str, InterfaceId); 1] {
        [("lan", self.lan)]
    }

    /// Applies until it is done; what the Virtual Routers are called, by VRID.
    fn apply(&mut self, text: &str) -> BTreeMap<u8, String> {
        assert_eq!(self.check(text), (true, Vec::new()));
        for _ in 0..100 {
            let mut names = Vec::new();
            let ports = self.ports();
            let named = &mut |id, name: &str| names.push((id, name.to_owned()));
            let done = setup::apply(&mut self.node, self.now, &ports, text, &mut self.board, named);
            if done {
                let vrid = |id| self.node.agent().view(id).unwrap().settings.vrid.get();
                return names.into_iter().map(|(id, name)| (vrid(id), name)).collect();
            }
            self.run(Duration::from_millis(50));
        }
        panic!("it is never done");
    }

    fn states(&self) -> Vec<(u8, State)> {
        let agent = self.node.agent();
        agent.routers().map(|id| agent.view(id).unwrap()).map(|view| (view.settings.vrid.get(), view.state)).collect()
    }
}

#[test]
fn a_configuration_becomes_virtual_routers() {
    let mut bench = Bench::new();
    let text = instance("A", 1, "priority 200\n no_accept") + &instance("B", 2, "advert_int 0.5");
    let names = bench.apply(&text);
    assert_eq!(names, [(1, "A".to_owned()), (2, "B".to_owned())].into());
    let agent = bench.node.agent();
    let first = agent.view(agent.routers().next().unwrap()).unwrap();
    assert_eq!((first.settings.priority.get(), first.settings.accept, first.settings.virtual_mac), (200, false, true));
    bench.run(Duration::from_secs(4));
    assert_eq!(bench.states(), [(1, State::Active), (2, State::Active)]);
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_changes_nothing() {
    let bench = Bench::new();
    let good = instance("A", 1, "");
    for (text, place, what) in [
        (instance("A", 1, "") + &instance("A", 2, ""), "8:1", "A"),
        (instance("A", 1, "") + &instance("B", 1, ""), "8:1", "A"),
        (good.replace("interface lan", "interface wan"), "1:1", "an interface of this board"),
        (good.replace("id 1", "id 300"), "4:", "300"),
        (good.replace("192.0.2.1/24", "192.0.2.1/24 dev wan"), "5:22", "dev"),
        (good.trim_end_matches("}\n").to_owned(), "1:", ""),
        ((1..=5).map(|vrid| instance(&format!("V{vrid}"), vrid, "")).collect(), "29:1", "no room"),
        (
            good.replace("192.0.2.1/24", &(1..=17).map(|n| format!("\n192.0.2.{n}")).collect::<String>()),
            "1:1",
            "no room",
        ),
        (
            good.replace("192.0.2.1/24", &(1..=40).map(|n| format!("\n192.0.2.{n}")).collect::<String>()),
            "38:1",
            "no room",
        ),
        (good.clone() + "vrrp_sync_group G {\n group { A }\n}\nvrrp_sync_group G {\n group { B }\n}\n", "11:1", "G"),
    ] {
        let (is_good, said) = bench.check(&text);
        assert!(!is_good, "{text}\n{said:?}");
        assert!(said.iter().any(|line| line.contains(place) && line.contains(what)), "{text}\n{said:?}");
    }
    assert_eq!(bench.node.agent().routers().count(), 0);
    assert_eq!(bench.check(&good), (true, vec![]));
}

#[test]
fn what_is_odd_is_said_and_carried_out() {
    let bench = Bench::new();
    for (more, what) in
        [("use_vmac 02:00:00:00:00:07", "use_vmac"), ("virtual_ipaddress_excluded { 192.0.2.1 }", "192.0.2.1")]
    {
        let (is_good, said) = bench.check(&instance("A", 1, more));
        assert!(is_good && said.iter().any(|line| line.contains(what)), "{said:?}");
    }
    let unknown = instance("A", 1, "") + "vrrp_sync_group G {\n group {\n A\n B\n }\n}\n";
    let (is_good, said) = bench.check(&unknown);
    assert!(is_good && said.iter().any(|line| line.contains('B')), "{said:?}");
}

#[test]
fn another_configuration_keeps_what_is_the_same_and_hands_over_what_is_gone() {
    let mut bench = Bench::new();
    bench.apply(&(instance("A", 1, "") + &instance("B", 2, "")));
    bench.run(Duration::from_secs(15));
    assert_eq!(bench.states(), [(1, State::Active), (2, State::Active)]);
    bench.sent();
    let names = bench.apply(&(instance("B", 2, "priority 150") + &instance("C", 3, "")));
    assert_eq!(names, [(2, "B".to_owned()), (3, "C".to_owned())].into());
    // It has resigned: priority 0.
    let resigned = bench.sent().into_iter().any(|frame| frame[12..14] == [8, 0] && frame[23] == 112 && frame[36] == 0);
    assert!(resigned);
    let states: BTreeMap<_, _> = bench.states().into_iter().collect();
    assert_eq!(states, [(2, State::Active), (3, State::Backup)].into());
    let agent = bench.node.agent();
    let second = agent.routers().map(|id| agent.view(id).unwrap()).find(|view| view.settings.vrid.get() == 2);
    assert_eq!(second.unwrap().settings.priority.get(), 150);
}

#[test]
fn a_full_board_makes_room_first() {
    let mut bench = Bench::new();
    let four = |from: u8| (from..from + 4).map(|vrid| instance(&format!("V{vrid}"), vrid, "")).collect::<String>();
    bench.apply(&four(1));
    bench.run(Duration::from_secs(15));
    bench.apply(&four(11));
    assert_eq!(bench.states().len(), 4);
    assert!(bench.states().iter().all(|(vrid, _)| *vrid >= 11));
}

#[test]
fn addresses_change_places_on_a_full_board() {
    let mut bench = Bench::new();
    let with = |first: u8, second: u8| {
        let list = |from: u8, count: u8| (0..count).map(|n| format!("192.0.2.{}\n", from + n)).collect::<String>();
        instance("A", 1, "").replace("192.0.2.1/24", &list(100, first))
            + &instance("B", 2, "").replace("192.0.2.2/24", &list(200, second))
    };
    bench.apply(&with(12, 4));
    bench.run(Duration::from_secs(5));
    bench.apply(&with(4, 12));
    bench.apply(&with(15, 1));
    let agent = bench.node.agent();
    let counts: Vec<_> = agent.routers().map(|id| agent.view(id).unwrap().addresses.len()).collect();
    assert_eq!(counts, [15, 1]);
}

#[test]
fn another_version_is_spoken_without_letting_go() {
    let mut bench = Bench::new();
    bench.apply(&instance("A", 1, ""));
    bench.run(Duration::from_secs(15));
    bench.apply(&instance("A", 1, "").replace("version 3", "version 2"));
    let agent = bench.node.agent();
    let versions: Vec<_> = agent.routers().map(|id| agent.view(id).unwrap().settings.version).collect();
    assert_eq!((versions, bench.states()), (vec![Version::V2], vec![(1, State::Active)]));
}

#[test]
fn sync_groups_are_joined_and_left() {
    let mut bench = Bench::new();
    let both = instance("A", 1, "") + &instance("B", 2, "");
    let group = |text: &str, members: &str| format!("{text}vrrp_sync_group G {{\n group {{\n {members}\n }}\n}}\n");
    let grouped = |bench: &Bench| {
        let agent = bench.node.agent();
        agent.routers().filter(|id| agent.view(*id).unwrap().sync_group.is_some()).count()
    };
    let accept_odd = |bench: &mut Bench, text: &str| {
        assert!(bench.check(text).0);
        let ports = bench.ports();
        assert!(setup::apply(&mut bench.node, bench.now, &ports, text, &mut bench.board, &mut |_, _| {}));
        bench.run(Duration::from_secs(1));
        grouped(bench)
    };
    assert_eq!(accept_odd(&mut bench, &group(&both, "A\n B")), 2);
    assert_eq!(accept_odd(&mut bench, &group(&both, "A")), 1);
    assert_eq!(accept_odd(&mut bench, &both), 0);
}

#[test]
fn the_startup_delay_holds() {
    let mut bench = Bench::new();
    bench.apply(&("global_defs {\n vrrp_startup_delay 10\n}\n".to_owned() + &instance("A", 1, "")));
    bench.run(Duration::from_secs(9));
    assert_eq!(bench.states(), [(1, State::Initialize)]);
    bench.run(Duration::from_secs(2));
    assert_eq!(bench.states(), [(1, State::Backup)]);
}

#[test]
fn hostile_texts_end_soon_and_change_nothing() {
    let bench = Bench::new();
    let many: String = (0..2000).map(|n| instance(&format!("V{n}"), 1, "")).collect();
    let groups: String = (0..2000).map(|n| format!("vrrp_sync_group G{n} {{ group {{ A }} }}\n")).collect();
    let members = format!("vrrp_sync_group G {{\n group {{\n {}\n }}\n}}\n", "A\n".repeat(2000));
    for text in [many, groups, members, "{".repeat(10_000), "vrrp_instance\n".repeat(1000)] {
        bench.check(&text);
    }
    let whole = instance("A", 1, "priority 200\n no_accept") + "vrrp_sync_group G {\n group { A }\n}\n";
    for length in 0..whole.len() {
        bench.check(&whole[..length]);
    }
    assert_eq!(bench.node.agent().routers().count(), 0);
}
