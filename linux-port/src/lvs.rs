//! LVS: virtual servers, the health of their real servers, and the IPVS table that follows from both. Pools and
//! checks are machines without I/O and with explicit time; the director's thread drives them and keeps the
//! kernel's table ([`crate::ipvs`]) equal to what they want.

pub(crate) mod attempt;
pub mod director;
pub mod expression;
pub mod find;
pub mod grammar;
pub mod live;
pub mod plan;
pub mod pool;
pub mod probe;
pub mod real_server;
pub mod report;
pub mod schedule;
pub(crate) mod sockets;
#[cfg(test)]
pub(crate) mod testing;
pub mod verdict;
