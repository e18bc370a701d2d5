//! The state in the forms in which keepalived writes it down on a signal, at the places where it does: what exporters
//! and scripts read goes on being there. A thread of its own writes; the loop only copies. A file is made anew and
//! then takes the place of the one before, readable by its owner alone, so that no link is followed and nobody reads
//! half of it.

mod json;
mod text;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use log::{error, info};
use steadfast_core::agent::State;
use steadfast_core::counters::RouterCounters;
use steadfast_core::types::{Family, Interval, Priority};

use crate::guard;
use crate::plan::tracking::TrackingPlan;
use crate::plan::{PlannedAddress, PlannedRouter};
use crate::sys::signal::Dump;
use crate::timestamp::Timestamp;

/// One Virtual Router, as far as a dump tells of it.
#[derive(Clone, Debug)]
pub struct DumpedRouter {
    /// How it is configured.
    pub plan: Arc<PlannedRouter>,
    /// The name of the interface that `use_vmac` gives it.
    pub virtual_link: Option<String>,
    /// Its state.
    pub state: State,
    /// Whether something keeps it from running.
    pub broken: bool,
    /// The priority that takes part in the election.
    pub effective_priority: Priority,
    /// The priority that was heard last; `None`: nothing, or 0.
    pub active_priority: Option<Priority>,
    /// Active_Adver_Interval.
    pub active_interval: Interval,
    /// Whether its addresses are, or may be, on an interface.
    pub holds: bool,
    /// When it last changed its state.
    pub last_transition: Option<Timestamp>,
    /// What has been counted.
    pub counters: RouterCounters,
}

impl DumpedRouter {
    /// keepalived's number of the state.
    fn state_number(&self) -> u8 {
        match self.state {
            State::Initialize if self.broken => 3,
            State::Initialize => 0,
            State::Backup => 1,
            State::Active => 2,
        }
    }

    /// How often it has stopped to be Active.
    fn released(&self) -> usize {
        let now = usize::from(self.state == State::Active);
        self.counters.master_transitions.saturating_sub(now)
    }

    /// The interface that it speaks on.
    fn interface(&self) -> &str {
        self.virtual_link.as_deref().unwrap_or(&self.plan.interface)
    }

    /// An address in keepalived's words.
    fn address(&self, planned: &PlannedAddress) -> String {
        let PlannedAddress { address, prefix_len, .. } = planned;
        let mut text = address.to_string();
        if *prefix_len != if address.is_ipv4() { 32 } else { 128 } {
            text += &format!("/{prefix_len}");
        }
        if let Some(broadcast) = planned.broadcast {
            text += &format!(" brd {broadcast}");
        }
        // An excluded address of the other family stays on the interface below.
        let link = self.virtual_link.as_ref().filter(|_| Family::of(address) == self.plan.settings.family);
        text += &match (&planned.device, link) {
            (Some(device), _) => format!(" dev {device}"),
            (None, Some(link)) => format!(" dev {link}@{}", self.plan.interface),
            (None, None) => format!(" dev {}", self.plan.interface),
        };
        // The kernel knows itself which scope an IPv6 address has.
        text += &match planned.scope.filter(|_| address.is_ipv4()) {
            None | Some(0) => " scope global".to_owned(),
            Some(200) => " scope site".to_owned(),
            Some(253) => " scope link".to_owned(),
            Some(number) => format!(" scope {number}"),
        };
        if let Some(label) = &planned.label {
            text += &format!(" label {label}");
        }
        for (on, word) in [
            (planned.home, " home"),
            (planned.no_dad, " -nodad"),
            (planned.manage_temporary, " mngtmpaddr"),
            (planned.no_prefix_route, " noprefixroute"),
            (planned.auto_join, " autojoin"),
            (planned.no_track, " no_track"),
        ] {
            text += if on { word } else { "" };
        }
        if let Some((peer, length)) = planned.peer {
            text += &format!(" peer {peer}/{length}");
        }
        if address.is_ipv6() {
            text += if planned.preferred_lifetime == Some(0) { " deprecated" } else { " preferred_lft forever" };
        }
        text + if self.holds { " set" } else { "" }
    }
}

/// What the writer is asked.
type Asked = (Dump, Vec<DumpedRouter>, Arc<TrackingPlan>);

/// The loop's end; the writer is started when it is first asked.
#[derive(Debug, Default)]
pub struct Dumps(Option<Sender<Asked>>);

impl Dumps {
    /// Has `routers` written down, and what bears on them; never waits.
    pub fn write(&mut self, kind: Dump, routers: Vec<DumpedRouter>, tracking: Arc<TrackingPlan>) {
        if self.0.is_none() {
            let (asked, questions) = channel();
            let builder = thread::Builder::new().name("dump".into());
            let writer = guard::start(builder, guard::NOTHING, move || write(&questions));
            match writer {
                Ok(_) => self.0 = Some(asked),
                Err(error) => return error!("the state cannot be written down: {error}"),
            }
        }
        if let Some(writer) = &self.0
            && writer.send((kind, routers, tracking)).is_err()
        {
            self.0 = None;
        }
    }
}

/// The writing thread's side; it ends with the loop's.
fn write(asked: &Receiver<Asked>) {
    while let Ok(mut next) = asked.recv() {
        // Asked faster than it can write, it writes the last of a kind.
        while let Ok(later) = asked.try_recv() {
            if later.0 != next.0 {
                write_one(next);
            }
            next = later;
        }
        write_one(next);
    }
}

fn write_one((kind, routers, tracking): Asked) {
    let (path, text) = match kind {
        Dump::Json | Dump::JsonOfMusl => ("/tmp/keepalived.json", json::document(&routers, &tracking)),
        Dump::Data => ("/tmp/keepalived.data", text::data(&routers)),
        Dump::Stats | Dump::StatsClear => ("/tmp/keepalived.stats", text::stats(&routers)),
    };
    match replace(Path::new(path), text.as_bytes()) {
        Ok(()) => info!("{path}: the state was written down"),
        Err(error) => error!("{path}: {error}"),
    }
    if kind == Dump::StatsClear {
        info!("what is counted is never set back: subtract what was counted before");
    }
}

/// Makes `path` a file of these bytes, at once.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = path.with_file_name(name);
    let flags = libc::O_NOFOLLOW;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).custom_flags(flags);
    let opened = options.open(&beside).or_else(|error| {
        // Left by one of our number that was killed meanwhile.
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
        fs::remove_file(&beside)?;
        options.open(&beside)
    });
    let written = opened.and_then(|mut file| file.write_all(bytes)).and_then(|()| fs::rename(&beside, path));
    written.inspect_err(|_| _ = fs::remove_file(&beside))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::check::Findings;

    /// A Virtual Router that has become Active twice.
    pub(super) fn example() -> DumpedRouter {
        let text = "vrrp_instance gw {\ninterface lan0\nvirtual_router_id 51\nvirtual_ipaddress {\n192.0.2.1/24\n}\n\
                    virtual_ipaddress_excluded {\n2001:db8::1\n}\n\
                    virtual_routes {\n10.0.0.0/8 via 192.0.2.9 dev lan1 table 7\n}\n\
                    virtual_rules {\nfrom 192.0.2.0/24 table 7 priority 9\n}\n}\n";
        let plan = crate::plan::parse(text.as_bytes(), &mut Findings::new(Path::new("f"))).unwrap();
        let plan = Arc::clone(&plan.routers[0]);
        DumpedRouter {
            virtual_link: None,
            state: State::Active,
            broken: false,
            effective_priority: plan.settings.priority,
            active_priority: None,
            active_interval: plan.settings.interval,
            holds: true,
            last_transition: Some("2026-11-23T01:46:11.461552Z".parse().unwrap()),
            counters: RouterCounters { advertisement_sent: 7, master_transitions: 2, ..RouterCounters::default() },
            plan,
        }
    }

    #[test]
    fn a_dump_shows_no_secret() {
        let text = "vrrp_instance gw {\ninterface lan0\nvirtual_router_id 51\nvirtual_ipaddress {\n192.0.2.1/24\n}\n";
        let (password, key) = ("hunter22", "correct-horse-battery-staple-0123");
        for lines in [
            format!("authentication {{\nauth_type PASS\nauth_pass {password}\n}}\n"),
            format!("authentication {{\nauth_type AH\nauth_pass {password}\n}}\n"),
            format!("auth_hmac {{\nkey 1 {key}\nactive_key 1\n}}\n"),
        ] {
            let text = format!("{text}{lines}}}\n");
            let plan = crate::plan::parse(text.as_bytes(), &mut Findings::new(Path::new("f"))).unwrap();
            let routers = [DumpedRouter { plan: Arc::clone(&plan.routers[0]), ..example() }];
            let shown = [
                text::data(&routers),
                text::stats(&routers),
                json::document(&routers, &plan.tracking),
                format!("{plan:?}"),
            ];
            // Nor as the numbers of its letters.
            let bytes = format!("{:?}", &password.as_bytes()[..4]).replace(']', "");
            for secret in [password, "horse", &bytes] {
                assert!(shown.iter().all(|shown| !shown.contains(secret)), "{secret}: {shown:#?}");
            }
        }
    }

    #[test]
    fn a_dump_takes_the_place_of_what_was_there_and_follows_no_link() {
        let folder: PathBuf = std::env::temp_dir().join(format!("steadfast-dump-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let (path, other) = (folder.join("keepalived.json"), folder.join("other"));
        fs::write(&other, "untouched").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        for text in ["one", "two"] {
            replace(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_to_string(&other).unwrap(), "untouched");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        fs::remove_dir_all(folder).unwrap();
    }
}
