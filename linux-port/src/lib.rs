//! Steadfast on Linux: what the binary `steadfast` is made of, as a library, so that tests and the demo use
//! the same parts. The protocol is in `steadfast-core`; here is everything that touches the system.

pub mod cli;
pub mod control;
pub mod logging;
pub mod status;
pub mod sys;
pub mod timestamp;
