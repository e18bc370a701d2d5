//! The status document as text for people, in the words that the core has for every port.

mod lvs;

use std::fmt::Write;

use steadfast_core::text::{
    Age, Cell, CounterLine, InterfaceRow, Line, MovedCounters, Printable, RouterRow, versions, widen,
};
use steadfast_core::time::Duration;
use steadfast_core::types::Version;

use super::tracking::TrackerStatus;
use super::{Counters, Family, GroupStatus, KeptOut, RouterStatus, Snapshot, State};
use crate::timestamp::Timestamp;

/// The whole document in lines of text; `now` is what ages are counted from. Only counters that moved are
/// shown.
pub fn table(snapshot: &Snapshot, now: Timestamp) -> String {
    let mut out = String::new();
    let routers: Vec<_> = snapshot.routers.iter().map(|router| router_row(router, now)).collect();
    let cells: Vec<_> = [RouterRow::HEAD].into_iter().chain(routers.iter().map(RouterRow::cells)).collect();
    lines(&mut out, &cells);

    kept_out(&mut out, &snapshot.routers);
    if !snapshot.groups.is_empty() {
        out.push('\n');
        groups(&mut out, &snapshot.groups);
    }

    out.push('\n');
    let interfaces = snapshot.interfaces.iter().map(|interface| InterfaceRow {
        name: &interface.name,
        up: interface.up,
        ipv4_source: interface.ipv4_source,
        ipv6_source: interface.ipv6_source,
    });
    let cells: Vec<_> = [InterfaceRow::HEAD].into_iter().chain(interfaces.map(|row| row.cells())).collect();
    lines(&mut out, &cells);

    if !snapshot.trackers.is_empty() {
        out.push('\n');
        trackers(&mut out, &snapshot.trackers, now);
    }

    if !snapshot.services.is_empty() {
        out.push('\n');
        lvs::services(&mut out, &snapshot.services, now);
    }

    out.push('\n');
    for (name, counters) in counted(snapshot) {
        // Writing to a String cannot fail.
        let _ = write!(out, "{}", MovedCounters { name, counters: counters.iter() });
    }
    out
}

/// The counters of the Virtual Router of this name, or all there are; `None` if there is no such router.
pub fn counters(snapshot: &Snapshot, router: Option<&str>) -> Option<String> {
    let mut out = String::new();
    let routers = snapshot.routers.iter().filter(|known| router.is_none_or(|name| *known.name == *name));
    let mut shown: Vec<_> = routers.map(|router| (&*router.name, &router.counters)).collect();
    if router.is_none() {
        shown = counted(snapshot).collect();
    }
    for (name, counters) in &shown {
        let _ = writeln!(out, "{}:", Printable(name));
        for (name, value) in counters.iter() {
            let _ = write!(out, "{}", CounterLine { name, value });
        }
    }
    (router.is_none() || !shown.is_empty()).then_some(out)
}

/// What has counters, and what it is called.
fn counted(snapshot: &Snapshot) -> impl Iterator<Item = (&str, &Counters)> {
    let routers = snapshot.routers.iter().map(|router| (&*router.name, &router.counters));
    routers.chain([("global", &snapshot.global.counters), ("director", &snapshot.director.counters)])
}

/// Why some take no part.
fn kept_out(out: &mut String, routers: &[RouterStatus]) {
    let head = ["KEPT OUT", "BECAUSE"].map(String::from);
    let row = |router: &RouterStatus| {
        let (name, interface) = (Printable(&router.name), Printable(&router.interface));
        let because = match router.kept_out? {
            KeptOut::Drained => format!("it is drained, until `steadfast resume {name}`"),
            KeptOut::Stopping => "it is being stopped".into(),
            KeptOut::Interface => format!("{interface} is down"),
            KeptOut::SourceAddress => format!("{interface} has no address to send from"),
            KeptOut::Tracker => "a tracker of weight 0 is down or has not reported yet".into(),
            KeptOut::StartupDelay => "vrrp_startup_delay is not over".into(),
            KeptOut::SyncGroup => "another member of its sync group is kept out".into(),
        };
        Some([name.to_string(), because])
    };
    let rows: Vec<_> = [head].into_iter().chain(routers.iter().filter_map(row)).collect();
    if rows.len() > 1 {
        out.push('\n');
        columns(out, &rows);
    }
}

/// The sync groups.
fn groups(out: &mut String, groups: &[GroupStatus]) {
    let head = ["SYNC GROUP", "STATE", "MEMBERS"].map(String::from);
    let row = |group: &GroupStatus| {
        let members: Vec<_> = group.members.iter().map(|member| Printable(member).to_string()).collect();
        let state = group.state.map_or_else(|| "different".into(), |state| state.to_string());
        [Printable(&group.name).to_string(), state, members.join(", ")]
    };
    let rows: Vec<_> = [head].into_iter().chain(groups.iter().map(row)).collect();
    columns(out, &rows);
}

/// Trackers, each with what it does.
fn trackers(out: &mut String, trackers: &[TrackerStatus], now: Timestamp) {
    let head = ["TRACKER", "KIND", "SAYS", "SINCE", "LAST RESULT", "BEARS ON"].map(String::from);
    let row = |tracker: &TrackerStatus| {
        let bears = tracker.bears_on.iter().map(|bearing| {
            let router = Printable(&bearing.router);
            match (bearing.weight, bearing.fault, bearing.adds) {
                (_, true, _) => format!("{router} (out)"),
                (0, ..) => format!("{router} (weight 0)"),
                (weight, _, adds) => format!("{router} ({adds:+} of {weight})"),
            }
        });
        [
            Printable(&tracker.name).to_string(),
            tracker.kind.to_string(),
            tracker.value(),
            age(tracker.since, now),
            Printable(&tracker.result).to_string(),
            bears.collect::<Vec<_>>().join(", "),
        ]
    };
    let rows: Vec<_> = [head].into_iter().chain(trackers.iter().map(row)).collect();
    columns(out, &rows);
}

fn router_row(router: &RouterStatus, now: Timestamp) -> RouterRow<'_> {
    RouterRow {
        name: &router.name,
        interface: &router.interface,
        vrid: router.vrid,
        family: match router.family {
            Family::Ipv4 => steadfast_core::types::Family::V4,
            Family::Ipv6 => steadfast_core::types::Family::V6,
        },
        versions: versions(version(router.version), router.versions.len() > 1, router.heard_version.map(version)),
        state: match router.state {
            State::Initialize => steadfast_core::agent::State::Initialize,
            State::Backup => steadfast_core::agent::State::Backup,
            State::Active => steadfast_core::agent::State::Active,
        },
        priority: router.priority,
        effective_priority: router.effective_priority,
        active_address: router.active_address,
        last_transition: router.last_transition.as_ref().map(|last| (since(last.at, now), &*last.reason)),
        addresses: &router.addresses,
        excluded: &[],
    }
}

const fn version(number: u8) -> Version {
    if number == 2 { Version::V2 } else { Version::V3 }
}

fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(now.since(then).as_micros()).unwrap_or(u64::MAX))
}

/// The largest two units of the time that has passed: `3m 12s`.
fn age(then: Timestamp, now: Timestamp) -> String {
    Age(since(then, now)).to_string()
}

/// Rows under their heads, each column as wide as its widest cell.
fn columns<const N: usize>(out: &mut String, rows: &[[String; N]]) {
    let cells: Vec<_> = rows.iter().map(|row| row.each_ref().map(|cell| Cell::Text(cell))).collect();
    lines(out, &cells);
}

fn lines<const N: usize>(out: &mut String, rows: &[[Cell<'_>; N]]) {
    let mut widths = [0; N];
    rows.iter().for_each(|row| widen(&mut widths, row));
    for cells in rows {
        let _ = write!(out, "{}", Line { widths: &widths, cells });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::example;

    #[test]
    fn the_table_says_what_the_document_says() {
        let snapshot = example();
        let text = table(&snapshot, "2026-11-22T15:30:13.000000Z".parse().unwrap());
        assert_eq!(
            text,
            "\
ROUTER  INTERFACE  VRID  FAMILY   STATE   PRIORITY  ACTIVE     SINCE   REASON   ADDRESSES
gw      eth0       51    ipv4 v3  backup  90 (100)  192.0.2.2  3m 11s  startup  192.0.2.1

INTERFACE  LINK  IPV4 SOURCE  IPV6 SOURCE
eth0       up    192.0.2.3    -

gw: advertisement-rcvd 7
global: checksum-errors 1
"
        );
    }

    #[test]
    fn who_is_kept_out_and_who_moves_together_is_said() {
        let mut snapshot = example();
        snapshot.routers[0].kept_out = Some(KeptOut::Drained);
        let members = vec!["gw".into(), "inside".into()];
        snapshot.groups.push(GroupStatus { name: "both".into(), state: Some(State::Initialize), members });
        let text = table(&snapshot, Timestamp::default());
        let kept_out = "\nKEPT OUT  BECAUSE\ngw        it is drained, until `steadfast resume gw`\n";
        let groups = "\nSYNC GROUP  STATE       MEMBERS\nboth        initialize  gw, inside\n\nINTERFACE";
        assert!(text.contains(&format!("{kept_out}{groups}")), "{text}");
    }

    #[test]
    fn who_speaks_both_versions_says_what_it_heard() {
        let mut snapshot = example();
        snapshot.routers[0].versions = vec![3, 2];
        for (heard, shown) in [(None, "v3+v2 "), (Some(2), "v3+v2, heard v2 "), (Some(3), "v3+v2, heard v3 ")] {
            snapshot.routers[0].heard_version = heard;
            let text = table(&snapshot, Timestamp::default());
            assert!(text.contains(&format!(" ipv4 {shown}")), "{text}");
        }
    }

    #[test]
    fn a_name_cannot_speak_to_the_terminal() {
        let mut snapshot = example();
        snapshot.routers[0].name = "gw\x1b]0;owned\x07".into();
        assert!(!table(&snapshot, Timestamp::default()).contains(['\x1b', '\x07']));
    }

    #[test]
    fn counters_of_one_or_of_all() {
        let mut snapshot = example();
        let gw = "gw:\n  master-transitions 0\n  advertisement-rcvd 7\n";
        assert_eq!(counters(&snapshot, Some("gw")).unwrap(), gw);
        assert_eq!(counters(&snapshot, Some("global")), None);
        assert_eq!(counters(&snapshot, None).unwrap(), format!("{gw}global:\n  checksum-errors 1\ndirector:\n"));
        snapshot.routers.clear();
        assert_eq!(counters(&snapshot, Some("gw")), None);
    }
}
