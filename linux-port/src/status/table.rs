//! The status document as tables for people.

mod lvs;

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use super::{Counters, Family, Snapshot};
use crate::timestamp::Timestamp;

/// The whole document in lines of text; `now` is what ages are counted from. Only counters that moved are
/// shown.
pub fn table(snapshot: &Snapshot, now: Timestamp) -> String {
    let mut out = String::new();
    let mut routers = vec![
        ["ROUTER", "INTERFACE", "VRID", "FAMILY", "STATE", "PRIORITY", "ACTIVE", "SINCE", "REASON", "ADDRESSES"]
            .map(String::from),
    ];
    for router in &snapshot.routers {
        let priority = if router.priority == router.effective_priority {
            router.priority.to_string()
        } else {
            format!("{} ({})", router.effective_priority, router.priority)
        };
        let family = match router.family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        let transition = router.last_transition.as_ref();
        routers.push([
            router.name.to_string(),
            router.interface.to_string(),
            router.vrid.to_string(),
            format!("{family} v{}", router.version),
            router.state.to_string(),
            priority,
            address(router.active_address),
            transition.map_or("-".into(), |transition| age(now.since(transition.at))),
            transition.map_or("-".into(), |transition| transition.reason.to_string()),
            router.addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" "),
        ]);
    }
    columns(&mut out, &routers);

    out.push('\n');
    let mut interfaces = vec![["INTERFACE", "LINK", "IPV4 SOURCE", "IPV6 SOURCE"].map(String::from)];
    for interface in &snapshot.interfaces {
        interfaces.push([
            interface.name.to_string(),
            if interface.up { "up" } else { "down" }.into(),
            address(interface.ipv4_source),
            address(interface.ipv6_source),
        ]);
    }
    columns(&mut out, &interfaces);

    if !snapshot.services.is_empty() {
        out.push('\n');
        lvs::services(&mut out, &snapshot.services, now);
    }

    out.push('\n');
    for router in &snapshot.routers {
        counters(&mut out, &router.name, &router.counters);
    }
    counters(&mut out, "global", &snapshot.global.counters);
    counters(&mut out, "director", &snapshot.director.counters);
    out
}

fn address(address: Option<IpAddr>) -> String {
    address.map_or("-".into(), |address| address.to_string())
}

/// The largest two units of a span of time: `3m 12s`.
fn age(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// Rows under their heads, each column as wide as its widest cell.
fn columns<const N: usize>(out: &mut String, rows: &[[String; N]]) {
    let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(|cell| printable(cell))).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in &rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

fn counters(out: &mut String, of: &str, counters: &Counters) {
    let moved: Vec<_> =
        counters.0.iter().filter(|(_, value)| *value > 0).map(|(name, value)| format!("{name} {value}")).collect();
    if !moved.is_empty() {
        let _ = writeln!(out, "{}: {}", printable(of), printable(&moved.join(", ")));
    }
}

/// Names come from a configuration file: what would speak to the terminal is escaped.
fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, character| {
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
        out
    })
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
    fn a_name_cannot_speak_to_the_terminal() {
        let mut snapshot = example();
        snapshot.routers[0].name = "gw\x1b]0;owned\x07".into();
        assert!(!table(&snapshot, Timestamp::default()).contains(['\x1b', '\x07']));
    }

    #[test]
    fn ages() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m 0s"), (3_700, "1h 1m"), (90_000, "1d 1h")] {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }
}
