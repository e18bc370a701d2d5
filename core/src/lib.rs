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
//!
//! # A walk through it
//!
//! One interface, one Virtual Router, nobody else on the LAN: it listens for three intervals and a skew, then
//! it advertises, takes the address, and announces it.
//!
//! ```
//! use steadfast_core::agent::{Action, Agent, Link, RouterConfig, Settings};
//! use steadfast_core::storage::Fixed;
//! use steadfast_core::time::{Duration, Instant};
//! use steadfast_core::types::{Family, Vrid};
//!
//! // Room for 4 Virtual Routers with 16 addresses on 2 interfaces, and for 8 events that wait.
//! let mut agent: Agent<Fixed<4, 16, 2, 8>> = Agent::new();
//! let mut now = Instant::from_micros(0);
//!
//! let lan = agent.add_interface().unwrap();
//! agent.handle_link(now, lan, Link::Up);
//! agent.handle_source(now, lan, Family::V4, Some("192.0.2.2".parse().unwrap()));
//! let settings = Settings::new(Family::V4, Vrid::new(7).unwrap());
//! let addresses = ["192.0.2.1".parse().unwrap()];
//! let config = RouterConfig { interface: lan, settings, addresses: &addresses, excluded: &[], peers: &[] };
//! let router = agent.add(now, &config, false).unwrap();
//!
//! // Startup is notified, and then there is nothing to do for 3 x 1 s + 156/256 s.
//! assert!(matches!(agent.poll(now), Some(Action::Notify(_))));
//! assert_eq!(agent.poll(now), None);
//! assert_eq!(agent.poll_at(), Some(now + Duration::from_micros(3_609_375)));
//!
//! now = agent.poll_at().unwrap();
//! let Some(Action::Advertise { priority, form, .. }) = agent.poll(now) else { panic!() };
//! let mut buffer = [0; 64];
//! let envelope = agent.envelopes(router).next().unwrap();
//! let length = agent.emit(router, &envelope, priority, form, &mut buffer).unwrap();
//! assert_eq!(length, 20);
//! let Some(Action::Acquire { generation, .. }) = agent.poll(now) else { panic!() };
//! // The port puts the address on, and reports.
//! agent.handle_done(now, router, generation, Ok(()));
//! assert!(matches!(agent.poll(now), Some(Action::Announce { .. })));
//! ```
#![no_std]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails"))]

pub mod agent;
#[cfg(feature = "authentication")]
pub mod auth;
pub mod config;
pub mod counters;
pub mod port;
mod router;
pub mod storage;
#[cfg(test)]
mod testing;
pub mod text;
pub mod time;
pub mod types;
pub mod wire;
