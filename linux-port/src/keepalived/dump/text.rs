//! `keepalived.stats` and the part of `keepalived.data` that tells of the instances, line for line as scripts and
//! exporters look for them.

use std::fmt::Write as _;

use steadfast_core::types::Interval;

use super::DumpedRouter;
use crate::plan::routing::{PlannedRoute, PlannedRule};

/// `keepalived.stats`.
pub(super) fn stats(routers: &[DumpedRouter]) -> String {
    let mut text = String::new();
    for router in routers {
        let counters = &router.counters;
        let lines = [
            ("  Advertisements:", None),
            ("    Received:", Some(counters.advertisement_rcvd)),
            ("    Sent:", Some(counters.advertisement_sent)),
            ("  Became master:", Some(counters.master_transitions)),
            ("  Released master:", Some(router.released())),
            ("  Packet Errors:", None),
            ("    Length:", Some(counters.packet_length_errors)),
            // Such a packet names nobody's VRID: it is counted for the whole agent.
            ("    TTL:", Some(0)),
            ("    Invalid Type:", Some(counters.invalid_type_pkts_rcvd)),
            ("    Advertisement Interval:", Some(counters.interval_errors)),
            ("    Address List:", Some(counters.address_list_errors)),
            ("  Authentication Errors:", None),
            ("    Invalid Type:", Some(counters.invalid_auth_type)),
            ("    Type Mismatch:", Some(counters.auth_type_mismatch)),
            ("    Failure:", Some(counters.auth_failures)),
            ("  Priority Zero:", None),
            ("    Received:", Some(counters.priority_zero_pkts_rcvd)),
            ("    Sent:", Some(counters.priority_zero_pkts_sent)),
        ];
        let _ = writeln!(text, "VRRP Instance: {}", router.plan.name);
        for (label, value) in lines {
            let _ = match value {
                Some(value) => writeln!(text, "{label} {value}"),
                None => writeln!(text, "{label}"),
            };
        }
    }
    text
}

/// `keepalived.data`.
pub(super) fn data(routers: &[DumpedRouter]) -> String {
    let mut text = String::from("------< VRRP Topology >------\n");
    for router in routers {
        let plan = &*router.plan;
        let settings = &plan.settings;
        let announcing = &settings.announcing;
        let state = ["INIT", "BACKUP", "MASTER", "FAULT"].get(usize::from(router.state_number())).unwrap_or(&"INIT");
        let want = if *state == "MASTER" { "MASTER" } else { "BACKUP" };
        let enabled = |on: bool| if on { "enabled" } else { "disabled" };
        let seconds =
            |pause: Option<steadfast_core::time::Pause>| pause.map_or(0, |pause| pause.duration().as_millis() / 1000);
        let mut line = |label: &str, value: &dyn std::fmt::Display| _ = writeln!(text, "{label} = {value}");
        line(" VRRP Instance", &plan.name);
        line("   VRRP Version", &settings.version.number());
        line("   State", state);
        line("   Master priority", &router.active_priority.map_or(0, |priority| priority.get()));
        line("   Wantstate", &want);
        if let Some(at) = router.last_transition {
            line("   Last transition", &at);
        }
        if let Some(link) = &router.virtual_link {
            line("   Interface", &format_args!("{link}, vmac on {}, xmit base iface", plan.interface));
        } else {
            line("   Interface", &plan.interface);
        }
        line("   Gratuitous ARP delay", &seconds(announcing.delay));
        line("   Gratuitous ARP repeat", &announcing.repeat);
        line("   Gratuitous ARP refresh", &seconds(announcing.refresh));
        line("   Gratuitous ARP refresh repeat", &announcing.refresh_repeat);
        line("   Gratuitous ARP lower priority delay", &seconds(announcing.lower_delay));
        line("   Gratuitous ARP lower priority repeat", &announcing.lower_repeat);
        line("   Down timer adverts", &settings.down_timer_adverts);
        line("   Send advert after receive lower priority advert", &settings.answer_lower);
        line("   Virtual Router ID", &settings.vrid.get());
        line("   Priority", &settings.priority.get());
        line("   Effective priority", &router.effective_priority.get());
        line("   Advert interval", &Shown(settings.interval, settings.version.number()));
        line("   Accept", &enabled(settings.accept));
        line("   Preempt", &enabled(settings.preempt));
        for (label, list) in [("Virtual IP", &plan.addresses), ("Virtual IP Excluded", &plan.excluded)] {
            if list.is_empty() && label != "Virtual IP" {
                continue;
            }
            let _ = writeln!(text, "   {label} ({}):", list.len());
            for planned in list {
                let _ = writeln!(text, "     {}", router.address(planned));
            }
        }
        let Some(routing) = &plan.routing else { continue };
        let routes: Vec<_> = routing.routes.iter().map(PlannedRoute::dumped).collect();
        let rules: Vec<_> = routing.rules.iter().map(PlannedRule::dumped).collect();
        for (label, list) in [("Virtual Routes", routes), ("Virtual Rules", rules)] {
            if !list.is_empty() {
                let _ = writeln!(text, "   {label} ({}):", list.len());
                list.iter().for_each(|line| _ = writeln!(text, "     {line}"));
            }
        }
    }
    text
}

/// An interval in the unit of its version.
struct Shown(Interval, u8);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(interval, version) = self;
        let centiseconds = interval.centiseconds();
        if *version == 2 {
            write!(f, "{} sec", centiseconds / 100)
        } else {
            write!(f, "{} milli-sec", u32::from(centiseconds) * 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;

    #[test]
    fn the_counters_have_keepaliveds_words() {
        let text = stats(&[example()]);
        assert!(text.starts_with(
            "VRRP Instance: gw\n  Advertisements:\n    Received: 0\n    Sent: 7\n  Became master: 2\n  Released master: 1\n  Packet Errors:\n"
        ));
        assert_eq!(text.lines().count(), 19);
    }

    #[test]
    fn the_data_have_keepaliveds_words() {
        let text = data(&[example()]);
        for line in [
            " VRRP Instance = gw",
            "   State = MASTER",
            "   Interface = lan0",
            "   Virtual Router ID = 51",
            "   Advert interval = 1 sec",
            "   Virtual IP (1):",
            "     192.0.2.1/24 dev lan0 scope global set",
            "   Virtual Rules (1):",
            "     from 192.0.2.0/24 priority 9 tos 0x0 protocol 18 lookup 7",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }
}
