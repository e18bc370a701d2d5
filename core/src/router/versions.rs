//! Versions 2 and 3 side by side, for the time of an upgrade (RFC 9568 section 8.4.2), as far as one Virtual Router is
//! concerned: which of an Active's Advertisements count that speaks both. Without the feature `both-versions` all of
//! this comes to nothing.

#[cfg(feature = "both-versions")]
use super::Machine;
use super::{Backup, Heard, Router};
#[cfg(feature = "both-versions")]
use crate::time::Duration;
use crate::time::Instant;
use crate::types::Version;
use crate::wire::advertisement::Form;

/// When the Active that a Backup follows last spoke version 3.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Newer {
    #[cfg(feature = "both-versions")]
    at: Option<Instant>,
}

impl Newer {
    /// An Advertisement of the Active that is followed counts.
    #[cfg(feature = "both-versions")]
    pub(super) fn heard(&mut self, now: Instant, heard: &Heard) {
        self.at = (!heard.is_old).then_some(now);
    }

    #[cfg(not(feature = "both-versions"))]
    pub(super) fn heard(&mut self, _: Instant, _: &Heard) {}

    /// Whether it has spoken version 3 within this time.
    #[cfg(feature = "both-versions")]
    fn within(&self, now: Instant, span: Duration) -> bool {
        self.at.is_some_and(|at| now.since(at) < span)
    }
}

impl Router {
    /// Whether an Advertisement of version 2 says nothing: it comes from the Active that is followed, and that one speaks
    /// version 3 too. Where that has stopped, version 2 counts again before the Active_Down_Timer fires.
    #[cfg(feature = "both-versions")]
    pub(super) fn is_superseded(now: Instant, heard: &Heard, backup: &Backup) -> bool {
        let followed = backup.active == Some(heard.source);
        heard.is_old && followed && backup.newer.within(now, backup.interval.duration().times(2))
    }

    #[cfg(not(feature = "both-versions"))]
    pub(super) const fn is_superseded(_: Instant, _: &Heard, _: &Backup) -> bool {
        false
    }

    /// Notes in which version something was said, unless it says nothing.
    #[cfg(feature = "both-versions")]
    pub(super) fn note_version(&mut self, now: Instant, heard: &Heard) {
        if !matches!(&self.machine, Machine::Backup(backup) if Self::is_superseded(now, heard, backup)) {
            self.heard_version = if heard.is_old { Version::V2 } else { self.settings.version };
        }
    }

    #[cfg(not(feature = "both-versions"))]
    pub(super) const fn note_version(&mut self, _: Instant, _: &Heard) {}

    /// The version that was last heard, where there are two.
    #[cfg(feature = "both-versions")]
    pub(crate) fn heard_version(&self) -> Option<Version> {
        self.heard.map(|_| self.heard_version).filter(|_| self.settings.speaks_both())
    }

    #[cfg(not(feature = "both-versions"))]
    pub(crate) const fn heard_version(&self) -> Option<Version> {
        None
    }

    /// Whether the same is to be said in version 2 as has just been said in this form.
    pub(crate) fn repeats_in_version_2(&self, form: Form) -> bool {
        self.settings.speaks_both() && form == self.form
    }
}
