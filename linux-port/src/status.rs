//! The status document: what `steadfast status --json` prints, as plain owned data that the agent's loop
//! fills and another thread writes. The facts come from the core's views and counters; nothing is decided
//! here. The form for people is in [`table`].
//!
//! The document's shape is versioned by [`SCHEMA`]: within one version fields may be added, but none is
//! renamed, removed or given another meaning.

pub mod lvs;
pub mod table;
pub mod tracking;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use steadfast_core::time::Duration;

use crate::metrics::measured::Measured;
use crate::timestamp::Timestamp;

/// The version of the document's shape.
pub const SCHEMA: u32 = 1;

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    schema: u32,
    /// The Virtual Routers, in the order of the configuration.
    pub routers: Vec<RouterStatus>,
    /// The sync groups, if there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupStatus>,
    /// The interfaces that they run on.
    pub interfaces: Vec<InterfaceStatus>,
    /// What belongs to no router.
    pub global: GlobalStatus,
    /// What is tracked, if anything is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trackers: Vec<tracking::TrackerStatus>,
    /// The services of LVS; empty if the configuration has none.
    #[serde(default)]
    pub services: Vec<lvs::ServiceStatus>,
    /// What the director of LVS has counted; empty if the configuration has no LVS.
    #[serde(default)]
    pub director: GlobalStatus,
    /// What is measured for the page of metrics, where there is one; no part of the document.
    #[serde(skip)]
    pub measured: Option<Box<Measured>>,
}

impl Snapshot {
    /// The document of these parts, in this version's schema.
    pub fn new(routers: Vec<RouterStatus>, interfaces: Vec<InterfaceStatus>, global: GlobalStatus) -> Self {
        let (groups, trackers, services, director, measured) = Default::default();
        Self { schema: SCHEMA, routers, groups, interfaces, global, trackers, services, director, measured }
    }

    /// The same with what the director of LVS has to say.
    #[must_use]
    pub fn with_lvs(self, lvs: lvs::LvsStatus) -> Self {
        Self { services: lvs.services, director: GlobalStatus { counters: lvs.counters }, ..self }
    }
}

/// One Virtual Router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterStatus {
    /// Its `vrrp_instance` name.
    pub name: Arc<str>,
    /// The interface that it runs on.
    pub interface: Arc<str>,
    /// Its VRID, 1 to 255.
    pub vrid: u8,
    /// The IP version.
    pub family: Family,
    /// The protocol version that it speaks, 2 or 3.
    pub version: u8,
    /// All of them, if it speaks both (`both_versions`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<u8>,
    /// Of one that speaks both: the version of the last Advertisement that counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_version: Option<u8>,
    /// Where its election stands.
    pub state: State,
    /// The configured priority, 1 to 255.
    pub priority: u8,
    /// The priority that takes part in the election.
    pub effective_priority: u8,
    /// The Active's address: our own source address while we are it, `null` while nobody is known.
    pub active_address: Option<IpAddr>,
    /// How often we advertise while Active, in milliseconds.
    pub advertisement_interval_ms: u64,
    /// How long the Active may be silent until we take over (RFC 9568 section 6.1), in milliseconds.
    #[serde(with = "millis")]
    pub active_down_interval_ms: Duration,
    /// Skew_Time, in milliseconds to three digits.
    #[serde(with = "millis")]
    pub skew_ms: Duration,
    /// The virtual MAC address, `00:00:5e:00:01:33`; `null` where the addresses live on the interface's own.
    pub virtual_mac: Option<String>,
    /// The virtual addresses, advertised ones first.
    pub addresses: Vec<IpAddr>,
    /// Where its Advertisements go, if not to the group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unicast_peers: Vec<IpAddr>,
    /// Its sync group, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_group: Option<Arc<str>>,
    /// What keeps it in `initialize`, if it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_out: Option<KeptOut>,
    /// How it came to the present state; `null` before the first transition.
    pub last_transition: Option<Transition>,
    /// Per router, RFC 8347 names where it has one.
    pub counters: Counters,
}

/// The IP version of a Virtual Router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// `"ipv4"`
    Ipv4,
    /// `"ipv6"`
    Ipv6,
}

impl From<steadfast_core::types::Family> for Family {
    fn from(family: steadfast_core::types::Family) -> Self {
        match family {
            steadfast_core::types::Family::V4 => Self::Ipv4,
            steadfast_core::types::Family::V6 => Self::Ipv6,
        }
    }
}

/// The states of RFC 9568 section 6.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// `"initialize"`
    Initialize,
    /// `"backup"`
    Backup,
    /// `"active"`
    Active,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Initialize => "initialize",
            Self::Backup => "backup",
            Self::Active => "active",
        })
    }
}

/// What keeps a Virtual Router from taking part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeptOut {
    /// `"drained"`: an administrator, until `steadfast resume`.
    Drained,
    /// `"stopping"`: the agent is being stopped.
    Stopping,
    /// `"interface"`: its interface is down.
    Interface,
    /// `"source-address"`: its interface has no address to send from.
    SourceAddress,
    /// `"tracker"`: a tracker of weight 0 is down, or has not reported yet.
    Tracker,
    /// `"startup-delay"`: `vrrp_startup_delay` is not over.
    StartupDelay,
    /// `"sync-group"`: another member of its sync group is kept out.
    SyncGroup,
}

/// One `vrrp_sync_group`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name.
    pub name: Arc<str>,
    /// The state of all its members; `null` while they are in different ones.
    pub state: Option<State>,
    /// Its members, in the order of the configuration.
    pub members: Vec<Arc<str>>,
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// When.
    pub at: Timestamp,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Why, in one word of the core's.
    pub reason: Cow<'static, str>,
}

/// One interface that Virtual Routers run on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: Arc<str>,
    /// The kernel's index; `null` while there is no such interface.
    pub index: Option<u32>,
    /// Whether Advertisements can go out.
    pub up: bool,
    /// The address that IPv4 Advertisements come from.
    pub ipv4_source: Option<IpAddr>,
    /// The link-local address that IPv6 Advertisements come from.
    pub ipv6_source: Option<IpAddr>,
}

/// What belongs to no router.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GlobalStatus {
    /// RFC 8347's global counters, and ours.
    pub counters: Counters,
}

/// Names and values, in the core's order; one JSON object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(pub Vec<(Cow<'static, str>, u64)>);

impl Counters {
    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> + Clone {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }

    /// The value of the counter `name`.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }
}

impl FromIterator<(&'static str, u64)> for Counters {
    fn from_iter<I: IntoIterator<Item = (&'static str, u64)>>(counters: I) -> Self {
        Self(counters.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)).collect())
    }
}

impl Serialize for Counters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Counters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = Counters;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of counters")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Counters, A::Error> {
                let mut counters = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, u64>()? {
                    counters.push((Cow::Owned(name), value));
                }
                Ok(Counters(counters))
            }
        }

        deserializer.deserialize_map(Names)
    }
}

/// A span of time as a number of milliseconds with up to three decimals.
mod millis {
    use serde::{Deserialize, Deserializer, Serializer};
    use steadfast_core::time::Duration;

    pub(super) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        // The quotient nearest to a number of three decimals is written with those three.
        serializer.serialize_f64(span.as_micros() as f64 / 1_000.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        // The cast saturates, and takes NaN for 0.
        Ok(Duration::from_micros((f64::deserialize(deserializer)? * 1_000.0).round() as u64))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example() -> Snapshot {
        let router = RouterStatus {
            name: "gw".into(),
            interface: "eth0".into(),
            vrid: 51,
            family: Family::Ipv4,
            version: 3,
            versions: Vec::new(),
            heard_version: None,
            state: State::Backup,
            priority: 100,
            effective_priority: 90,
            active_address: Some([192, 0, 2, 2].into()),
            advertisement_interval_ms: 1_000,
            active_down_interval_ms: Duration::from_micros(3_609_375),
            skew_ms: Duration::from_micros(609_375),
            virtual_mac: Some("00:00:5e:00:01:33".into()),
            addresses: vec![[192, 0, 2, 1].into()],
            unicast_peers: Vec::new(),
            sync_group: None,
            kept_out: None,
            last_transition: Some(Transition {
                at: "2026-11-22T15:27:01.123456Z".parse().unwrap(),
                from: State::Initialize,
                to: State::Backup,
                reason: "startup".into(),
            }),
            counters: [("master-transitions", 0), ("advertisement-rcvd", 7)].into_iter().collect(),
        };
        let interface = InterfaceStatus {
            name: "eth0".into(),
            index: Some(2),
            up: true,
            ipv4_source: Some([192, 0, 2, 3].into()),
            ipv6_source: None,
        };
        let global = GlobalStatus { counters: [("checksum-errors", 1)].into_iter().collect() };
        Snapshot::new(vec![router], vec![interface], global)
    }

    #[test]
    fn the_document_is_schema_1() {
        let expected = concat!(
            r#"{"schema":1,"routers":[{"name":"gw","interface":"eth0","vrid":51,"family":"ipv4","version":3,"#,
            r#""state":"backup","priority":100,"effective_priority":90,"active_address":"192.0.2.2","#,
            r#""advertisement_interval_ms":1000,"active_down_interval_ms":3609.375,"skew_ms":609.375,"#,
            r#""virtual_mac":"00:00:5e:00:01:33","addresses":["192.0.2.1"],"#,
            r#""last_transition":{"at":"2026-11-22T15:27:01.123456Z","from":"initialize","to":"backup","#,
            r#""reason":"startup"},"counters":{"master-transitions":0,"advertisement-rcvd":7}}],"#,
            r#""interfaces":[{"name":"eth0","index":2,"up":true,"ipv4_source":"192.0.2.3","ipv6_source":null}],"#,
            r#""global":{"counters":{"checksum-errors":1}},"services":[],"director":{"counters":{}}}"#,
        );
        assert_eq!(serde_json::to_string(&example()).unwrap(), expected);
        assert_eq!(serde_json::from_str::<Snapshot>(expected).unwrap(), example());
    }

    #[test]
    fn a_group_and_what_keeps_a_member_out_are_in_the_document() {
        let mut document = example();
        document.routers[0].sync_group = Some("both".into());
        document.routers[0].kept_out = Some(KeptOut::SourceAddress);
        let member = document.routers[0].name.clone();
        document.groups.push(GroupStatus { name: "both".into(), state: None, members: vec![member] });
        let text = serde_json::to_string(&document).unwrap();
        assert!(text.contains(r#""sync_group":"both","kept_out":"source-address","last_transition""#), "{text}");
        assert!(text.contains(r#""groups":[{"name":"both","state":null,"members":["gw"]}]"#), "{text}");
        assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), document);
    }

    #[test]
    fn the_versions_of_one_that_speaks_both_are_in_the_document() {
        let mut document = example();
        document.routers[0].versions = vec![3, 2];
        document.routers[0].heard_version = Some(2);
        let text = serde_json::to_string(&document).unwrap();
        assert!(text.contains(r#""version":3,"versions":[3,2],"heard_version":2,"state""#), "{text}");
        assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), document);
    }

    #[test]
    fn spans_keep_their_microseconds() {
        for micros in (0..200_000_u64).chain([40_950_000 * 3 + 40_790_039]) {
            let mut document = example();
            document.routers[0].skew_ms = Duration::from_micros(micros);
            let Ok(serde_json::Value::Object(router)) = serde_json::to_value(&document.routers[0]) else {
                panic!("a router is an object");
            };
            let text = router["skew_ms"].to_string();
            let (whole, decimals) = text.split_once('.').unwrap();
            assert!(decimals.len() <= 3, "{text}");
            assert_eq!(format!("{whole}{decimals:0<3}").parse::<u64>().unwrap(), micros);
            if micros == 20_000 {
                assert_eq!(text, "20.0");
            }
        }
    }

    #[test]
    fn a_later_document_with_more_fields_can_still_be_read() {
        let document = serde_json::to_string(&example()).unwrap();
        let later = document.replace(r#""vrid""#, r#""explain":{"base":100},"vrid""#);
        assert_ne!(later, document);
        assert_eq!(serde_json::from_str::<Snapshot>(&later).unwrap(), example());
    }
}
