//! Default routes, for the probes that want one: looked at when the kernel tells that something has changed, and when a
//! probe is due. To look is to read all routes of a family, so it rests in between for many times as long as that took.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use steadfast_core::time::Instant;
use steadfast_core::types::Family;

use crate::netlink::{DefaultRoute, DefaultRoutes};
use crate::sys::clock;

/// How many times as long as a look took it rests: looking takes a twentieth of a processor at most, however many
/// routes there are.
const REST: u64 = 20;

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// While somebody wants to know.
    kernel: Option<DefaultRoutes>,
    v4: Seen,
    v6: Seen,
}

/// What is known of a family.
#[derive(Debug, Default)]
struct Seen {
    found: Option<DefaultRoute>,
    /// Something may have changed since.
    stale: bool,
    /// It is not looked again before that.
    rests_until: Instant,
}

impl Routes {
    /// Whether there is somebody who wants to know. Whether there is something to be waited for now that was not there.
    ///
    /// # Errors
    /// Of the system.
    pub(super) fn want(&mut self, wanted: bool) -> io::Result<bool> {
        if !wanted {
            *self = Self::default();
        } else if self.kernel.is_none() {
            self.kernel = Some(DefaultRoutes::open()?);
            return Ok(true);
        }
        Ok(false)
    }

    /// What is to be waited for.
    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.kernel.as_ref().map(AsFd::as_fd)
    }

    /// Takes in what the kernel tells.
    ///
    /// # Errors
    /// Of the system.
    pub(super) fn read(&mut self) -> io::Result<()> {
        if let Some(kernel) = &self.kernel
            && kernel.take_in()?
        {
            (self.v4.stale, self.v6.stale) = (true, true);
        }
        Ok(())
    }

    /// Whether there is a default route, and in words; as it was a moment ago if it is not time to look again.
    ///
    /// # Errors
    /// Of the system.
    pub(super) fn state(&mut self, now: Instant, family: Family) -> io::Result<(bool, &'static str)> {
        let found = match self.seen(family) {
            Seen { found: Some(found), rests_until, .. } if now < *rests_until => *found,
            _ => self.look(family)?,
        };
        Ok(match found {
            DefaultRoute::There => (true, "there is a default route"),
            DefaultRoute::Down => (false, "the link of the default route is down"),
            DefaultRoute::Missing => (false, "there is no default route"),
        })
    }

    /// The families of which there may be something new to see now.
    pub(super) fn expire(&mut self, now: Instant) -> impl Iterator<Item = Family> + use<> {
        let new = [Family::V4, Family::V6].map(|family| {
            let seen = self.seen(family);
            (now >= seen.rests_until && std::mem::take(&mut seen.stale)).then_some(family)
        });
        new.into_iter().flatten()
    }

    /// When [`Self::expire`] has something to say.
    pub(super) fn due(&self) -> Option<Instant> {
        [&self.v4, &self.v6].into_iter().filter(|seen| seen.stale).map(|seen| seen.rests_until).min()
    }

    fn seen(&mut self, family: Family) -> &mut Seen {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }

    fn look(&mut self, family: Family) -> io::Result<DefaultRoute> {
        let kernel = self.kernel.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let begun = clock::now();
        let found = kernel.find(family)?;
        let ended = clock::now();
        let rests_until = ended + ended.since(begun).times(REST);
        *self.seen(family) = Seen { found: Some(found), stale: false, rests_until };
        Ok(found)
    }
}
