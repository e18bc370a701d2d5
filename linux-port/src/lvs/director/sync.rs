//! What IPVS has besides its table, and follows from the configuration: the sync daemons, which follow the state of a
//! `vrrp_instance`, and the timeouts of connections, which are restored at the end.

use std::io;

use log::{info, warn};

use crate::ipvs::client::Client;
use crate::ipvs::settings::{SyncDaemon, SyncState, Timeouts};
use crate::lvs::plan::{self, LvsPlan};

/// What was set, so that it can be undone.
#[derive(Debug, Default)]
pub(super) struct Sync {
    /// The timeouts before ours.
    before: Option<Timeouts>,
    /// Ours.
    set: Option<Timeouts>,
    /// The daemons that ought to run, as of the last time.
    running: Vec<SyncDaemon>,
    /// What was said last of what cannot be done.
    complaint: Option<String>,
}

impl Sync {
    /// Makes the kernel's daemons and timeouts what the plan says; `active`: whether the instance that the daemon
    /// follows is Active. Daemons that run already as they ought to stay as they are.
    pub(super) fn keep(&mut self, client: &mut Client, plan: &LvsPlan, active: bool) {
        let timeouts = self.keep_timeouts(client, plan.timeouts).map_err(|error| format!("lvs_timeouts: {error}"));
        let daemons = self.keep_daemons(client, plan, active).map_err(|error| format!("lvs_sync_daemon: {error}"));
        let complaint = timeouts.and(daemons).err();
        if self.complaint != complaint {
            if let Some(complaint) = &complaint {
                warn!("{complaint}; it is tried again");
            }
            self.complaint = complaint;
        }
    }

    fn keep_daemons(&mut self, client: &mut Client, plan: &LvsPlan, active: bool) -> io::Result<()> {
        let wanted = plan.sync_daemon.as_ref().map(|daemon| wanted(daemon, active)).unwrap_or_default();
        if wanted.is_empty() && self.running.is_empty() {
            return Ok(());
        }
        let there = client.sync_daemons()?;
        for old in there.iter().filter(|old| !wanted.iter().any(|new| same(new, old))) {
            client.stop_sync_daemon(old.state)?;
        }
        self.running.clone_from(&wanted);
        for new in wanted.iter().filter(|new| !there.iter().any(|old| same(new, old))) {
            client.start_sync_daemon(new)?;
            info!("the IPVS sync daemon runs as {} on {}", part(new.state), new.interface);
        }
        Ok(())
    }

    fn keep_timeouts(&mut self, client: &mut Client, wanted: Option<Timeouts>) -> io::Result<()> {
        if wanted == self.set {
            return Ok(());
        }
        // From what there was before ours: a line that is gone has no effect any more.
        let before = match self.before {
            Some(before) => before,
            None => *self.before.insert(client.timeouts()?),
        };
        let or = |wanted: u32, before| if wanted == 0 { before } else { wanted };
        let new = wanted.map_or(before, |wanted| Timeouts {
            tcp: or(wanted.tcp, before.tcp),
            tcp_fin: or(wanted.tcp_fin, before.tcp_fin),
            udp: or(wanted.udp, before.udp),
        });
        client.set_timeouts(&new)?;
        self.set = wanted;
        Ok(())
    }

    /// Undoes everything.
    ///
    /// # Errors
    /// Of the system.
    pub(super) fn undo(&mut self, client: &mut Client) -> io::Result<()> {
        for daemon in self.running.drain(..) {
            client.stop_sync_daemon(daemon.state)?;
        }
        if let Some(before) = self.before.take() {
            client.set_timeouts(&before)?;
        }
        self.set = None;
        Ok(())
    }
}

/// The daemons that ought to run.
fn wanted(plan: &plan::SyncDaemon, active: bool) -> Vec<SyncDaemon> {
    let states: &[SyncState] = match (&plan.instance, active) {
        (None, _) => &[SyncState::Master, SyncState::Backup],
        (Some(_), true) => &[SyncState::Master],
        (Some(_), false) => &[SyncState::Backup],
    };
    let daemon = |state: &SyncState| SyncDaemon {
        state: *state,
        interface: plan.interface.clone(),
        id: plan.id,
        max_length: plan.max_length,
        port: plan.port,
        ttl: plan.ttl,
        group: plan.group,
    };
    states.iter().map(daemon).collect()
}

/// Whether a daemon that runs is the wanted one; where the kernel was to choose, whatever it has chosen.
fn same(wanted: &SyncDaemon, there: &SyncDaemon) -> bool {
    wanted.state == there.state
        && wanted.interface == there.interface
        && wanted.id == there.id
        && (wanted.max_length == 0 || wanted.max_length == there.max_length)
        && (wanted.port == 0 || wanted.port == there.port)
        && (wanted.ttl == 0 || wanted.ttl == there.ttl)
        && (wanted.group.is_none() || wanted.group == there.group)
}

fn part(state: SyncState) -> &'static str {
    match state {
        SyncState::Master => "master",
        SyncState::Backup => "backup",
    }
}
