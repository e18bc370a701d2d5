//! `timer_expired_backup`: an Active with `nopreempt` that has not advertised for so long that another has taken over does
//! not take that back, but listens as Backup. It is looked for when the loop was late, before anything that has arrived
//! meanwhile is heard: a rival of less right would be answered otherwise.

use log::warn;
use steadfast_core::agent::{RouterId, Settings};
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Priority, Version};

use super::Daemon;

/// The least lateness of the loop that is looked into: an instance of 10 ms that is late by less has a peer that waits.
pub(super) const LATE: Duration = Duration::from_millis(20);

/// How long another router of this priority waits until it takes over.
fn patience(settings: &Settings, other: Priority) -> Duration {
    let interval = settings.interval.duration();
    let base = if settings.version == Version::V2 { Duration::from_secs(1) } else { interval };
    let skew = base.as_micros().saturating_mul(256 - u64::from(other.get())) / 256;
    interval.times(settings.down_timer_adverts.into()) + Duration::from_micros(skew)
}

impl Daemon {
    /// Has those stand back whose peers cannot have waited for them. `due` is when the loop should have gone on.
    pub(super) fn look_for_lateness(&mut self, now: Instant, due: Option<Instant>) {
        if self.cautious.is_empty() || due.is_none_or(|due| now.since(due) < LATE) {
            return;
        }
        let late: Vec<RouterId> = self.cautious.iter().copied().filter(|id| self.is_overdue(now, *id)).collect();
        for id in late {
            if let Some(local) = self.port.local(id) {
                warn!("{}: this machine was late for so long that another may have taken over", local.name);
            }
            let group = self.agent.view(id).and_then(|view| view.sync_group);
            let members: Vec<RouterId> = group.into_iter().flat_map(|group| self.agent.members(group)).collect();
            for member in members.into_iter().chain([id]) {
                self.agent.stand_back(now, member);
            }
        }
    }

    fn is_overdue(&self, now: Instant, id: RouterId) -> bool {
        let other = self.port.local(id).and_then(|local| local.plan.options.stands_back);
        let (Some(other), Some(view)) = (other, self.agent.view(id)) else { return false };
        self.agent.advertised_at(id).is_some_and(|at| now.since(at) >= patience(view.settings, other))
    }

    /// Who wants that to be looked for.
    pub(super) fn note_cautious(&mut self) {
        let wants =
            |id: &&RouterId| self.port.local(**id).is_some_and(|local| local.plan.options.stands_back.is_some());
        self.cautious = self.order.iter().filter(wants).copied().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_core::types::{Family, Vrid};

    #[test]
    fn patience_is_that_of_the_other_router() {
        let mut settings = Settings::new(Family::V4, Vrid::new(1).unwrap());
        let ms = |settings: &Settings, other| patience(settings, Priority::new(other).unwrap()).as_micros();
        assert_eq!(ms(&settings, 254), 3_007_812);
        assert_eq!(ms(&settings, 100), 3_609_375);
        settings.version = Version::V3;
        settings.interval = steadfast_core::types::Interval::from_centiseconds(10).unwrap();
        assert_eq!(ms(&settings, 128), 350_000);
    }
}
