//! What the grammars of this port have in common: the core's statements with findings at their other end, programs and
//! who runs them. What the blocks mean is in [`crate::lvs::grammar`] and [`crate::plan`].

mod accounts;
pub(crate) mod reader;
pub(crate) mod script;
