//! The second Advertisement of a Virtual Router that speaks versions 2 and 3 (RFC 9568 section 8.4.2): whatever was said
//! in version 3 is said in version 2 right after it. Without the feature `both-versions` there is none.

use crate::agent::Action;
#[cfg(feature = "both-versions")]
use crate::wire::advertisement::Form;

/// What is owed in version 2. Nothing comes between it and its twin, so there is one at most.
#[cfg(feature = "both-versions")]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Twin(Option<Action>);

#[cfg(feature = "both-versions")]
impl Twin {
    /// The twin of an [`Action::Advertise`].
    pub(super) fn owe(&mut self, first: Action) {
        if let Action::Advertise { router, interface, priority, .. } = first {
            self.0 = Some(Action::Advertise { router, interface, priority, form: Form::Version2 });
        }
    }

    pub(super) const fn is_owed(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn take(&mut self) -> Option<Action> {
        self.0.take()
    }
}

/// None at all.
#[cfg(not(feature = "both-versions"))]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Twin;

#[cfg(not(feature = "both-versions"))]
impl Twin {
    pub(super) const fn owe(&mut self, _: Action) {}

    pub(super) const fn is_owed(&self) -> bool {
        false
    }

    pub(super) const fn take(&mut self) -> Option<Action> {
        None
    }
}
