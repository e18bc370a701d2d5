//! The trackers of a plan: what is looked at, and how each bears on which virtual routers. Weights as with keepalived:
//! what a tracker says is added to the priority or, with weight 0, takes the virtual router out. How things are looked
//! at is in [`crate::tracking`].

mod definitions;
mod probe;
mod read;
#[cfg(test)]
mod tests;
mod uses;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use steadfast_core::agent::{Report, Weight};
use steadfast_core::time::Duration;
use steadfast_core::types::Family;

use crate::lvs::plan::{CheckKind, TlsCheck, TlsIdentity};
use crate::process::Script;

pub(super) use read::read;

/// The largest addition of a file to a priority; the opposite of one more takes the virtual router out.
const MOST_OF_A_FILE: i64 = 253;

/// What is tracked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackingPlan {
    /// What is looked at: only what bears on a virtual router, each name once.
    pub trackers: Vec<Arc<Tracker>>,
    /// What bears on a virtual router, by its name, its sync group's trackers included. Each tracker is there once.
    pub bearings: HashMap<String, Vec<Bearing>>,
    /// `SSL { … }`, if a probe wants TLS.
    pub tls: TlsIdentity,
}

impl TrackingPlan {
    /// What the probes that want TLS say of it.
    pub(crate) fn tls_checks(&self) -> impl Iterator<Item = &TlsCheck> {
        self.trackers.iter().filter_map(|tracker| match &tracker.subject {
            Subject::Probe(ProbeSubject {
                probe: Probe::Server(Question { kind: CheckKind::Http(http), .. }), ..
            }) => http.tls.as_ref(),
            _ => None,
        })
    }
}

/// Which kind of thing a tracker looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `track_interface`: whether it is up.
    Interface,
    /// `vrrp_script`: its exit status.
    Script,
    /// `track_file`: the number in it.
    File,
    /// `vrrp_track_process`: whether as many as wanted are there.
    Process,
    /// `vrrp_probe`: whether what it looks at is there, or answers.
    Probe,
    /// `track_src_ip`: whether an address is on an interface.
    Source,
    /// `unicast_fault_no_peer`: there is none.
    Peers,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Interface => "interface",
            Self::Script => "script",
            Self::File => "file",
            Self::Process => "process",
            Self::Probe => "probe",
            Self::Source => "source",
            Self::Peers => "peers",
        })
    }
}

/// What a tracker is called. Two kinds may use one name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackerName {
    /// Which kind.
    pub kind: Kind,
    /// As it is defined; of an interface, its name.
    pub name: Arc<str>,
}

/// Something that is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracker {
    /// What it is called.
    pub name: TrackerName,
    /// What is looked at, and how.
    pub subject: Subject,
}

/// What a tracker looks at, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The interface of its name.
    Interface,
    /// `vrrp_script`.
    Script(ScriptSubject),
    /// `track_file`.
    File(FileSubject),
    /// `vrrp_track_process`.
    Process(ProcessSubject),
    /// `vrrp_probe`.
    Probe(ProbeSubject),
    /// `track_src_ip`.
    Source(SourceSubject),
    /// `unicast_fault_no_peer` of an instance that has none.
    Peers,
}

/// `track_src_ip`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSubject {
    /// The address.
    pub address: IpAddr,
    /// The name of the interface that it has to be on.
    pub interface: String,
}

/// `vrrp_script`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptSubject {
    /// What is run.
    pub script: Arc<Script>,
    /// `interval`: from one start to the next.
    pub interval: Duration,
    /// `timeout`: one that runs longer has failed, and is ended.
    pub timeout: Duration,
    /// `rise`: how many successes after a failure make it up.
    pub rise: u32,
    /// `fall`: how many failures after a success make it down.
    pub fall: u32,
    /// `init_fail`: it is down until it has succeeded as often as `rise` says.
    pub init_fail: bool,
}

/// `track_file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSubject {
    /// `file`.
    pub path: PathBuf,
    /// `init_file [VALUE] [overwrite]`: what is written to it at the start, and whether also where it is there already.
    pub initial: Option<(i64, bool)>,
}

/// `vrrp_track_process`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSubject {
    /// `process`: its name and, if they matter, its arguments.
    pub words: Vec<String>,
    /// What the words are compared with.
    pub comparison: Comparison,
    /// `quorum`: at least so many.
    pub quorum: u32,
    /// `quorum_max`: at most so many.
    pub quorum_max: u32,
    /// `fork_delay`: it is up only after so long a time.
    pub fork_delay: Duration,
    /// `terminate_delay`: it is down only after so long a time.
    pub terminate_delay: Duration,
}

/// What the words of `process` are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The process's own name, 15 bytes of it at most; it has one word.
    Name,
    /// The first word of its command line (`full_command`); it has one word.
    Command,
    /// Its whole command line.
    Whole,
    /// The begin of its command line: each word as it is, others may follow (`param_match partial`).
    Partial,
    /// The same, and the last word may go on (`param_match initial`).
    Initial,
}

/// `vrrp_probe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSubject {
    /// What it looks at.
    pub probe: Probe,
    /// `interval`: from one begin to the next. A route or a process that comes or goes is a result at once.
    pub interval: Duration,
    /// `timeout`: a server that has not answered in this time has failed.
    pub timeout: Duration,
    /// `rise`: how many successes after a failure make it up.
    pub rise: u32,
    /// `fall`: how many failures after a success make it down.
    pub fall: u32,
    /// `init_fail`: it is down until it has succeeded as often as `rise` says.
    pub init_fail: bool,
}

/// What a probe looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `tcp`, `http`, `ping`: whether a server answers.
    Server(Question),
    /// `default_route`: whether there is one in the main table, over a link that is up.
    DefaultRoute(Family),
    /// `process`: whether there are as many as `quorum` says.
    Process(ProcessSubject),
}

/// What a server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// `Tcp`, `Ping`, or `Http` with one url.
    pub kind: CheckKind,
    /// Whom; a ping has port 0.
    pub target: SocketAddr,
    /// `bindto`: where from, of the target's family.
    pub source: Option<IpAddr>,
    /// `bind_if`: over which interface.
    pub interface: Option<String>,
}

/// How a tracker bears on a virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearing {
    /// Which tracker.
    pub tracker: TrackerName,
    /// 0 takes the virtual router out.
    pub weight: i32,
    /// `reverse`: the other way round.
    pub reverse: bool,
    /// It is its sync group's, not its own.
    pub of_group: bool,
}

/// What a tracker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// It works.
    Up,
    /// It does not.
    Down,
    /// The number in a file; with weight 0 any other than 0 means that something does not work.
    Number(i64),
}

impl From<bool> for Value {
    fn from(up: bool) -> Self {
        if up { Self::Up } else { Self::Down }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => f.pad("up"),
            Self::Down => f.pad("down"),
            Self::Number(number) => f.pad(&number.to_string()),
        }
    }
}

impl Bearing {
    /// What it does, in the core's terms, while the tracker says `value` (`None`: nothing yet).
    pub fn effect(&self, value: Option<Value>) -> (Weight, Option<Report>) {
        let sign = if self.reverse { -1 } else { 1 };
        let weight = i16::try_from(self.weight.saturating_mul(sign)).map_or(Weight(0), Weight);
        let report = |works: bool| Some(if works == self.reverse { Report::Down } else { Report::Up });
        match value {
            None => (weight, None),
            Some(Value::Up) => (weight, report(true)),
            Some(Value::Down) => (weight, report(false)),
            Some(Value::Number(number)) if self.weight == 0 => (weight, report(number == 0)),
            Some(Value::Number(number)) => {
                let share = number.saturating_mul(i64::from(self.weight)).saturating_mul(sign.into());
                match i16::try_from(share.clamp(-MOST_OF_A_FILE - 1, MOST_OF_A_FILE)) {
                    Ok(share) if i64::from(share) >= -MOST_OF_A_FILE => {
                        (Weight(share), Some(if share < 0 { Report::Down } else { Report::Up }))
                    }
                    _ => (Weight(0), Some(Report::Down)),
                }
            }
        }
    }
}
