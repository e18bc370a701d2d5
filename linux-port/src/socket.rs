//! The sockets that Advertisements, ARP and Neighbour Discovery pass through. One receives per interface and
//! family, so that a flooded network cannot crowd out another one; one sends per family; one sends whole
//! Ethernet frames. What the messages mean is the core's affair.

mod filter;
mod frame;
mod receive;
mod send;

pub use frame::FrameSender;
pub use receive::{Drained, Receiver};
pub use send::AdvertSender;

pub use crate::sys::message::{ReceiveQueue, Sent};
