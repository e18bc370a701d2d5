//! VRRP versions 2 and 3 (RFC 3768, RFC 5798, RFC 9568) without I/O: the core that every Steadfast port
//! shares.
//!
//! # The contract
//!
//! * Every input takes `now`. Inputs never return effects.
//! * After an input, or when [`Agent::poll_at`](agent::Agent::poll_at) is reached, call
//!   [`Agent::poll`](agent::Agent::poll) until it returns `None` or a budget is spent; then wait for the
//!   next input or `poll_at()`. Early, late and repeated calls are harmless.
//! * The `now` of `poll` is read *before* the receive queues are drained, so that no deadline fires ahead
//!   of something that arrived before it.
//! * No method blocks, allocates or panics on any input. There is no clock, socket or randomness inside.
//! * Memory is fixed when the agent is built; the [storage](storage::Storage) is a parameter, and the cost
//!   of an event follows what it affects, not how many Virtual Routers there are.
//! * Every input from outside may be hostile: what fails a receive check moves one counter and nothing else.
#![no_std]

pub mod agent;
pub mod counters;
pub mod port;
mod router;
pub mod storage;
pub mod time;
pub mod types;
pub mod wire;
