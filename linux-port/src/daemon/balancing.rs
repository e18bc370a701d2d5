//! The loop's side of LVS: the director is started when a configuration first has virtual servers, told of plans and
//! transitions, and stopped in the end. Nothing here ever waits, but for the end.

use log::{error, warn};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Name;
use crate::control::command::ServerCommand;
use crate::control::{Answer, Request};
use crate::lvs::director::{Command, Director};
use crate::lvs::plan::{LvsPlan, RealServerRole};
use crate::lvs::real_server::{self, Holder};
use crate::notify::Outlet;
use crate::status::Snapshot;

/// How long a stop waits for the kernel's table to be cleared.
const PATIENCE: Duration = Duration::from_secs(5);

/// The director, if there is one.
#[derive(Debug, Default)]
pub(super) struct Balancing {
    director: Option<Director>,
    /// The `vrrp_instance` that the sync daemon follows.
    followed: Option<Name>,
    /// Where what `real_server_role` changes is noted.
    notes: PathBuf,
    /// `real_server_role`, if there is or was one.
    holder: Option<Holder>,
}

impl Balancing {
    /// Where what is changed on this machine is noted: before the first plan.
    pub(super) fn keep_notes_in(&mut self, directory: &Path) {
        self.notes = directory.to_owned();
    }

    /// This is the plan from now on, and who wants to hear of servers. A director that has nothing left to do stays, and does nothing.
    pub(super) fn plan(&mut self, plan: LvsPlan, outlet: Option<Outlet>) {
        self.followed = plan.sync_daemon.as_ref().and_then(|daemon| daemon.instance.as_deref()).map(Name::from);
        self.hold(plan.role.clone());
        let plan = Arc::new(plan);
        match &mut self.director {
            Some(director) if director.is_alive() => director.send(Command::Plan(plan, outlet)),
            _ if plan.services.is_empty() && plan.sync_daemon.is_none() => {}
            _ => match Director::start(plan, outlet) {
                Ok(director) => self.director = Some(director),
                Err(error) => error!("LVS: the director cannot be started: {error}"),
            },
        }
    }

    /// Holds the addresses of `real_server_role`, or takes back what an earlier run has left.
    fn hold(&mut self, role: Option<RealServerRole>) {
        if self.holder.is_none() && (role.is_some() || real_server::has_notes(&self.notes)) {
            match Holder::start(&self.notes) {
                Ok(holder) => self.holder = Some(holder),
                Err(error) => error!("real_server_role: {error}"),
            }
        }
        if let Some(holder) = &self.holder {
            holder.hold(role);
        }
    }

    /// Which `vrrp_instance` wants to be told of.
    pub(super) fn followed(&self) -> Option<&Name> {
        self.director.as_ref().and(self.followed.as_ref())
    }

    /// A `vrrp_instance` is Active, or no longer.
    pub(super) fn router(&mut self, name: &Name, active: bool) {
        if self.followed.as_ref() == Some(name)
            && let Some(director) = &mut self.director
        {
            director.send(Command::Router { name: Arc::clone(name), active });
        }
    }

    /// Has the status of LVS added to the rest of it.
    pub(super) fn status(&mut self, request: Request, snapshot: Snapshot) {
        match self.director.as_mut().filter(|director| director.is_alive()) {
            Some(director) => director.send(Command::Status(request, snapshot)),
            None => request.answer(Answer::Status(snapshot)),
        }
    }

    /// Has a request about one real server answered.
    pub(super) fn server(&mut self, request: Request, command: ServerCommand) {
        match self.director.as_mut().filter(|director| director.is_alive()) {
            Some(director) => director.send(Command::Server(request, command)),
            None => request.answer(Answer::Server(Err("the configuration has no virtual_server".into()))),
        }
    }

    /// Has everything taken back that the kernel was given; waits for it.
    pub(super) fn stop(&mut self) {
        if let Some(director) = self.director.take()
            && !director.stop(PATIENCE)
        {
            warn!("LVS: the IPVS table could not be cleared in time");
        }
        if let Some(holder) = self.holder.take()
            && !holder.stop(PATIENCE)
        {
            warn!("real_server_role: the addresses could not be taken back in time");
        }
    }
}
