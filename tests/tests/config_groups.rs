//! `vrrp_sync_group`: which members a plan gives it, and what is said about a list that makes no sense.

use std::path::Path;

use steadfast_linux::check::Findings;
use steadfast_linux::plan::{self, Plan};

/// The plan of these sync groups with the good instances A, B, C and D, which come last; what is said, with its
/// line and severity.
fn read(groups: &str) -> (Plan, Vec<String>) {
    with(groups, "")
}

fn with(groups: &str, d: &str) -> (Plan, Vec<String>) {
    let mut text = groups.to_owned();
    for (number, name) in ["A", "B", "C", "D"].into_iter().enumerate() {
        let further = if name == "D" { d } else { "" };
        text += &format!(
            "\nvrrp_instance {name} {{\n interface eth{number}\n virtual_router_id 7\n virtual_ipaddress {{ 192.0.2.{} }}\n{further}\n}}",
            1 + number
        );
    }
    let mut findings = Findings::new(Path::new("f"));
    let plan = plan::parse(text.as_bytes(), &mut findings).unwrap();
    let said = findings
        .iter()
        .map(|finding| format!("{}:{}: {}: {}", finding.line, finding.column, finding.severity, finding.message));
    (plan, said.collect())
}

fn groups(plan: &Plan) -> Vec<(&str, Vec<&str>)> {
    plan.groups
        .iter()
        .map(|group| {
            assert!(group.members.iter().all(|name| plan.routers.iter().any(|router| router.name == *name)));
            (group.name.as_str(), group.members.iter().map(String::as_str).collect())
        })
        .collect()
}

fn routers(plan: &Plan) -> Vec<&str> {
    plan.routers.iter().map(|router| router.name.as_str()).collect()
}

#[test]
fn members_stand_one_a_line_or_side_by_side() {
    for list in ["group { A B }", "group {\n A # the first\n B\n}", "group\n{\nA B }"] {
        let (plan, said) = read(&format!("vrrp_sync_group G {{\n{list}\n}}\nvrrp_sync_group H {{ group {{ D C }} }}"));
        assert_eq!(groups(&plan), [("G", vec!["A", "B"]), ("H", vec!["D", "C"])]);
        assert_eq!((routers(&plan), said), (vec!["A", "B", "C", "D"], vec![]));
    }
}

#[test]
fn what_is_still_to_come_is_said() {
    let (plan, said) =
        read("vrrp_sync_group G {\n group { A B }\n track_bfd {\n }\n notify_master \"/bin/x y\"\n nofity x\n}");
    assert_eq!(groups(&plan).len(), 1);
    assert_eq!(said.len(), 3);
    assert!(said[0].starts_with("3:2: warning: keepalived's `track_bfd` is not supported yet"), "{said:?}");
    assert!(said[2].contains("`notify`"), "{said:?}");
}

#[test]
fn names_that_make_no_sense_are_passed_over_with_a_warning() {
    let (plan, said) =
        read("vrrp_sync_group G {\n group {\n  A\n  X\n  B\n  A\n }\n}\nvrrp_sync_group H {\n group { B C D }\n}");
    assert_eq!(groups(&plan), [("G", vec!["A", "B"]), ("H", vec!["C", "D"])]);
    assert_eq!(routers(&plan).len(), 4);
    assert_eq!(
        said,
        [
            "4:3: warning: there is no vrrp_instance `X`; the sync group goes on without it",
            "6:3: warning: `A` is there already; it is used once",
            "10:10: warning: `B` is in the sync group `G` already; it stays there",
        ]
    );
}

#[test]
fn a_group_of_one_or_none_has_a_warning() {
    let (plan, said) = read("vrrp_sync_group G { group { A } }\nvrrp_sync_group H { group { } }");
    assert_eq!(groups(&plan), [("G", vec!["A"])]);
    assert!(said[0].starts_with("1:1: warning: the sync group has one member only"), "{said:?}");
    assert!(said[1].starts_with("2:1: warning: the sync group has no members"), "{said:?}");
    assert_eq!(said.len(), 2);
}

#[test]
fn members_of_different_priority_have_a_warning() {
    let (plan, said) = with("vrrp_sync_group G { group { C D } }", "priority 150");
    assert_eq!(groups(&plan).len(), 1);
    assert!(said.len() == 1 && said[0].contains("should have one priority"), "{said:?}");
}

/// Half a firewall must not move.
#[test]
fn a_group_with_a_member_that_is_left_out_is_left_out_whole() {
    let (plan, said) = with("vrrp_sync_group G {\n group {\n  B\n  D\n  A\n }\n}", "mcast_src_ip nonsense");
    assert_eq!((groups(&plan), routers(&plan)), (vec![], vec!["C"]));
    assert!(said.contains(&"4:3: error: `D` has an error, so the whole sync group is left out".to_owned()), "{said:?}");
}

#[test]
fn a_group_that_is_wrong_itself_is_left_out_with_its_members() {
    for (text, message) in [
        ("vrrp_sync_group { group { A B } }", "`vrrp_sync_group` wants a name"),
        ("vrrp_sync_group G { group { A B { } } }", "`group` wants names only"),
        ("vrrp_sync_group G { group { A B }", "`vrrp_sync_group`"),
    ] {
        let (plan, said) = read(text);
        assert_eq!((groups(&plan), routers(&plan)), (vec![], vec!["C", "D"]), "{text}");
        assert!(said.len() == 1 && said[0].contains("error") && said[0].contains(message), "{said:?}");
    }
    for text in ["vrrp_sync_group G", "vrrp_sync_group G { }", "vrrp_sync_group G { group }"] {
        let (plan, said) = read(text);
        assert_eq!((groups(&plan), routers(&plan).len()), (vec![], 4), "{text}");
        assert!(said.iter().all(|said| said.contains("error")) && !said.is_empty(), "{said:?}");
    }
    let (plan, said) = read("vrrp_sync_group G { group { A B } }\nvrrp_sync_group G { group { C } }");
    assert_eq!((groups(&plan), routers(&plan)), (vec![("G", vec!["A", "B"])], vec!["A", "B", "D"]));
    assert_eq!(said, ["2:1: error: there is a `G` already; this one is left out"]);
}

#[test]
fn hostile_lists_are_read_in_linear_time() {
    let names: String = (0..200_000).map(|number| format!("N{} ", number % 100_000)).collect();
    let (plan, said) = read(&format!("vrrp_sync_group G {{ group {{ A B\n{} }} }}", names.replace("9 ", "9\n")));
    assert_eq!(groups(&plan), [("G", vec!["A", "B"])]);
    assert!(!said.is_empty());
}
