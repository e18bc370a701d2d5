//! `keepalived.json`: an array of `{"data":{…},"stats":{…}}`, with the fields of keepalived 2.2 and later as far as this
//! agent has what they tell of.

use std::collections::HashMap;

use serde::Serialize;
use steadfast_core::time::Pause;
use steadfast_core::types::Interval;

use super::DumpedRouter;
use crate::plan::routing::{PlannedRoute, PlannedRule};
use crate::plan::tracking::{Kind, Subject, TrackingPlan};
use crate::timestamp::Timestamp;

/// The document.
pub(super) fn document(routers: &[DumpedRouter], tracking: &TrackingPlan) -> String {
    let commands = tracking.trackers.iter().filter_map(|tracker| match &tracker.subject {
        Subject::Script(subject) => Some((&*tracker.name.name, command(&subject.script.words))),
        _ => None,
    });
    let commands: HashMap<&str, String> = commands.collect();
    let tracked = |router: &DumpedRouter, kind: Kind| {
        let bearings = tracking.bearings.get(&router.plan.name).into_iter().flatten();
        // As with keepalived, without those of its sync group.
        let own = bearings.filter(|bearing| bearing.tracker.kind == kind && !bearing.of_group);
        let names = own.map(|bearing| &*bearing.tracker.name);
        let text = |name: &str| commands.get(name).filter(|_| kind == Kind::Script).map_or(name, String::as_str).into();
        names.map(text).collect()
    };
    let entries = routers.iter().map(|router| {
        let mut entry = Entry::of(router);
        entry.data.track_ifp = tracked(router, Kind::Interface);
        entry.data.track_script = tracked(router, Kind::Script);
        entry.data.track_process = tracked(router, Kind::Process);
        entry
    });
    let entries: Vec<Entry<'_>> = entries.collect();
    // Strings and numbers can always be written as JSON.
    serde_json::to_string(&entries).unwrap_or_default()
}

/// A command in keepalived's words.
fn command(words: &[String]) -> String {
    words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ")
}

#[derive(Serialize)]
struct Entry<'a> {
    data: Data<'a>,
    stats: Stats,
}

#[derive(Serialize)]
struct Data<'a> {
    iname: &'a str,
    dont_track_primary: u8,
    skip_check_adv_addr: u8,
    strict_mode: u8,
    vmac_ifname: &'a str,
    ifp_ifname: &'a str,
    master_priority: u8,
    last_transition: f64,
    garp_delay: u64,
    garp_refresh: u64,
    garp_rep: u8,
    garp_refresh_rep: u8,
    garp_lower_prio_delay: u64,
    garp_lower_prio_rep: u8,
    lower_prio_no_advert: u8,
    higher_prio_send_advert: u8,
    vrid: u8,
    base_priority: u8,
    effective_priority: u8,
    vipset: bool,
    promote_secondaries: bool,
    adver_int: f64,
    master_adver_int: f64,
    accept: u8,
    nopreempt: bool,
    preempt_delay: u64,
    state: u8,
    wantstate: u8,
    version: u8,
    smtp_alert: bool,
    notify_deleted: bool,
    vips: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    evips: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vroutes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vrules: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    track_ifp: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    track_script: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    track_process: Vec<String>,
    auth_type: u8,
}

#[derive(Serialize)]
struct Stats {
    advert_rcvd: usize,
    advert_sent: usize,
    become_master: usize,
    release_master: usize,
    packet_len_err: usize,
    advert_interval_err: usize,
    ip_ttl_err: usize,
    invalid_type_rcvd: usize,
    addr_list_err: usize,
    invalid_authtype: usize,
    authtype_mismatch: usize,
    auth_failure: usize,
    pri_zero_rcvd: usize,
    pri_zero_sent: usize,
}

impl<'a> Entry<'a> {
    fn of(router: &'a DumpedRouter) -> Self {
        let plan = &*router.plan;
        let settings = &plan.settings;
        let announcing = &settings.announcing;
        let state = router.state_number();
        let data = Data {
            iname: &plan.name,
            dont_track_primary: (!settings.track_link).into(),
            skip_check_adv_addr: settings.skip_address_check.into(),
            strict_mode: settings.strict.into(),
            vmac_ifname: router.virtual_link.as_deref().unwrap_or_default(),
            ifp_ifname: router.interface(),
            master_priority: router.active_priority.map_or(0, |priority| priority.get()),
            last_transition: router.last_transition.map_or(0.0, seconds_of),
            garp_delay: seconds(announcing.delay),
            garp_refresh: seconds(announcing.refresh),
            garp_rep: announcing.repeat,
            garp_refresh_rep: announcing.refresh_repeat,
            garp_lower_prio_delay: seconds(announcing.lower_delay),
            garp_lower_prio_rep: announcing.lower_repeat,
            lower_prio_no_advert: (!settings.answer_lower).into(),
            // An Active that steps down always does.
            higher_prio_send_advert: 1,
            vrid: settings.vrid.get(),
            base_priority: settings.priority.get(),
            effective_priority: router.effective_priority.get(),
            vipset: router.holds,
            promote_secondaries: plan.promote_secondaries,
            adver_int: interval(settings.interval),
            master_adver_int: interval(router.active_interval),
            accept: settings.accept.into(),
            nopreempt: !settings.preempt,
            preempt_delay: settings.preempt_delay.duration().as_millis() / 1000,
            state,
            wantstate: if state == 2 { 2 } else { 1 },
            version: settings.version.number(),
            smtp_alert: false,
            notify_deleted: false,
            vips: plan.addresses.iter().map(|planned| router.address(planned)).collect(),
            evips: plan.excluded.iter().map(|planned| router.address(planned)).collect(),
            track_ifp: Vec::new(),
            track_script: Vec::new(),
            track_process: Vec::new(),
            auth_type: settings.authentication.number(),
            vroutes: plan.routing.iter().flat_map(|routing| &routing.routes).map(PlannedRoute::dumped).collect(),
            vrules: plan.routing.iter().flat_map(|routing| &routing.rules).map(PlannedRule::dumped).collect(),
        };
        let counters = &router.counters;
        let stats = Stats {
            advert_rcvd: counters.advertisement_rcvd,
            advert_sent: counters.advertisement_sent,
            become_master: counters.master_transitions,
            release_master: router.released(),
            packet_len_err: counters.packet_length_errors,
            advert_interval_err: counters.interval_errors,
            // Such a packet names nobody's VRID: it is counted for the whole agent.
            ip_ttl_err: 0,
            invalid_type_rcvd: counters.invalid_type_pkts_rcvd,
            addr_list_err: counters.address_list_errors,
            invalid_authtype: counters.invalid_auth_type,
            authtype_mismatch: counters.auth_type_mismatch,
            auth_failure: counters.auth_failures,
            pri_zero_rcvd: counters.priority_zero_pkts_rcvd,
            pri_zero_sent: counters.priority_zero_pkts_sent,
        };
        Self { data, stats }
    }
}

fn seconds(pause: Option<Pause>) -> u64 {
    pause.map_or(0, |pause| pause.duration().as_millis() / 1000)
}

fn interval(interval: Interval) -> f64 {
    f64::from(interval.centiseconds()) / 100.0
}

/// Seconds since 1970, to the microsecond.
fn seconds_of(at: Timestamp) -> f64 {
    at.since(Timestamp::default()).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;

    #[test]
    fn an_exporter_finds_what_it_looks_for() {
        let document: serde_json::Value =
            serde_json::from_str(&document(&[example()], &TrackingPlan::default())).unwrap();
        let (data, stats) = (&document[0]["data"], &document[0]["stats"]);
        assert_eq!((&data["iname"], &data["ifp_ifname"]), (&"gw".into(), &"lan0".into()));
        assert_eq!((&data["state"], &data["wantstate"], &data["vrid"]), (&2.into(), &2.into(), &51.into()));
        assert_eq!((&data["adver_int"], &data["garp_delay"]), (&serde_json::json!(1.0), &5.into()));
        assert_eq!(data["vips"], serde_json::json!(["192.0.2.1/24 dev lan0 scope global set"]));
        let route = "10.0.0.0/8 via inet 192.0.2.9 dev lan1 table 7 proto 18";
        assert_eq!(data["vroutes"], serde_json::json!([route]));
        assert_eq!(data["vrules"], serde_json::json!(["from 192.0.2.0/24 priority 9 tos 0x0 protocol 18 lookup 7"]));
        assert_eq!(data["evips"], serde_json::json!(["2001:db8::1 dev lan0 scope global deprecated set"]));
        assert_eq!(
            (&stats["advert_sent"], &stats["become_master"], &stats["release_master"]),
            (&7.into(), &2.into(), &1.into())
        );
        assert_eq!(data["last_transition"], serde_json::json!(1_795_398_371.461_552));
    }
}
