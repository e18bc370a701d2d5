//! The node through its public API: frames and time in, frames and calls to the hardware out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics fails, also where its helpers do"
)]

mod common;
mod hostile;
mod membership;
mod receive;
mod setup;
mod stack;
mod tracking;
mod transmit;
