//! What whoever started the agent is told of the loop, and when: see [`crate::supervisor`].

use steadfast_core::agent::{RouterId, State};
use steadfast_core::time::Instant;

use super::Daemon;
use crate::supervisor::Counts;

impl Daemon {
    /// What there is, and what of it is Active.
    pub(super) fn counts(&self) -> Counts {
        let is_active = |id: &&RouterId| self.agent.view(**id).is_some_and(|view| view.state == State::Active);
        let active = self.order.iter().filter(is_active).count();
        Counts { routers: self.order.len(), active, services: self.services }
    }

    /// Tells whoever started the agent what it wants to hear now.
    pub(super) fn supervise(&mut self, now: Instant) {
        if self.port.supervisor.due().is_some_and(|due| due <= now) {
            let mut supervisor = std::mem::take(&mut self.port.supervisor);
            supervisor.turn(now, || self.counts());
            self.port.supervisor = supervisor;
        }
    }
}
