//! Steadfast's firmware port behind a C interface. The program lends memory of a fixed size, says what time it is in
//! each call, and does what the library asks for by a handful of functions of its own; the library allocates nothing
//! and keeps nothing outside the lent memory. This package is where the firmware's `unsafe` lives: the election, frames
//! and configuration are `steadfast-core` and `steadfast-firmware`.
//!
//! # What the functions promise together
//!
//! * Time is microseconds of a monotonic clock of the program's choice, and never goes back. The `now` of
//!   `steadfast_poll` is read before the receive queue is emptied, so that no deadline fires ahead of a frame that came
//!   before it.
//! * The loop: read the clock; give every received frame to `steadfast_receive`; call `steadfast_poll`; sleep until the
//!   time it names or until a frame comes. Early, late and repeated calls are harmless.
//! * Frames are Ethernet without check sequence. `steadfast_receive` may rewrite a frame where it lies; what it says is
//!   `Up` goes to the program's own stack. Every frame of that stack goes through `steadfast_transmit`, which gives it
//!   the virtual MAC where it speaks for a virtual address.
//! * Only `steadfast_poll` and `steadfast_configure` call the program's functions; they may not call the library with
//!   the same handle.
//! * One handle is for one thread at a time; different handles have nothing in common.
//! * Pointers are checked for null, alignment and what else can be seen; that they point to memory of the length that
//!   is said is the program's promise. Text need not end with a zero byte: its length is given.
//!
//! # Sizes
//!
//! A handle has room for 8 Virtual Routers, 64 virtual addresses in all and 4 interfaces; the environment variables
//! `STEADFAST_ROUTERS`, `STEADFAST_ADDRESSES` and `STEADFAST_INTERFACES` change that when the library is built, and
//! `steadfast_memory_size` tells what it takes then.
#![cfg_attr(any(target_os = "none", feature = "freestanding"), no_std)]

mod api;
mod configure;
#[cfg(any(target_os = "none", feature = "freestanding"))]
mod fatal;
mod handle;
mod hardware;
mod text;
mod tracking;
mod types;

pub use api::*;
pub use configure::{SteadfastReport, steadfast_configure};
pub use handle::Steadfast;
pub use hardware::SteadfastHardware;
pub use tracking::*;
pub use types::{
    SteadfastAddress, SteadfastEvent, SteadfastEventKind, SteadfastReason, SteadfastReceived, SteadfastResult,
    SteadfastRouter, SteadfastSeverity, SteadfastState, SteadfastView,
};
