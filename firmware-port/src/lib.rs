//! VRRP for firmware: [`steadfast_core`]'s election under a router's own network stack, as Ethernet frames. No
//! operating system, no allocator, no unsafe code, and nothing that waits. What a board gives is
//! [`NetworkHardware`](hardware::NetworkHardware) and a [`Clock`](hardware::Clock); what the stack sees of it is a
//! device that knows more than one MAC address ([`device`], for smoltcp; any other stack calls the two methods of
//! [`Node`](node::Node) itself).
//!
//! * Frames from the wire go through [`Node::receive`](node::Node::receive): VRRP's are taken, ARP and Neighbour
//!   Solicitations for virtual addresses are answered with the virtual MAC address, and what the stack may see is
//!   handed up, to the station's MAC address.
//! * Frames of the stack go through [`Node::transmit`](node::Node::transmit): what speaks for a virtual address
//!   leaves with the virtual MAC address.
//! * [`Node::poll`](node::Node::poll) sends what is owed, and says when to come back. Its `now` is read before the
//!   receive queue is drained.
//!
//! # A walk through it
//!
//! One port, one Virtual Router, and nobody else on the LAN.
//!
//! ```
//! use steadfast_core::agent::{InterfaceId, Link, RouterConfig, Settings, State};
//! use steadfast_core::storage::Fixed;
//! use steadfast_core::time::Instant;
//! use steadfast_core::types::{Family, MacAddr, Vrid};
//! use steadfast_firmware::hardware::{Busy, NetworkHardware};
//! use steadfast_firmware::node::{Node, Received};
//!
//! /// A port that counts.
//! #[derive(Default)]
//! struct Port {
//!     sent: Vec<Vec<u8>>,
//!     heard: Vec<MacAddr>,
//! }
//!
//! impl NetworkHardware for Port {
//!     fn send(&mut self, _: InterfaceId, frame: &[u8]) -> Result<(), Busy> {
//!         self.sent.push(frame.to_vec());
//!         Ok(())
//!     }
//!     fn hear(&mut self, _: InterfaceId, address: MacAddr, on: bool) {
//!         self.heard.retain(|known| *known != address);
//!         if on {
//!             self.heard.push(address);
//!         }
//!     }
//! }
//!
//! // Room for 4 Virtual Routers with 16 addresses on one interface, and for 8 events that wait.
//! let mut node: Node<Fixed<4, 16, 1, 8>, 1> = Node::new();
//! let mut port = Port::default();
//! let now = Instant::from_micros(0);
//!
//! let station = MacAddr([0x02, 0, 0, 0, 0, 2]);
//! let lan = node.add_port(station, None).unwrap();
//! let vrid = Vrid::new(7).unwrap();
//! let addresses = ["192.0.2.1".parse().unwrap()];
//! let settings = Settings::new(Family::V4, vrid);
//! let router = node.add(now, &RouterConfig { interface: lan, settings, addresses: &addresses, excluded: &[], peers: &[] }).unwrap();
//! node.handle_source(now, lan, Family::V4, Some("192.0.2.2".parse().unwrap()));
//! node.handle_link(now, lan, Link::Up);
//!
//! // It joins 224.0.0.18 and listens. Three intervals and a skew later it takes over.
//! let mut now = now;
//! let mut next = node.poll(now, &mut port);
//! while node.agent().view(router).unwrap().state != State::Active {
//!     now = next.unwrap();
//!     next = node.poll(now, &mut port);
//! }
//! let virtual_mac = vrid.virtual_mac(Family::V4);
//! assert_eq!(now.as_micros(), 3_609_375);
//! assert!(port.heard.contains(&virtual_mac));
//! // Its Advertisement and its announcement come from the virtual MAC address.
//! assert_eq!(port.sent.last().unwrap()[6..12], virtual_mac.0);
//!
//! // Who has 192.0.2.1? The virtual MAC address.
//! let mut question = [0; 42];
//! question[..6].fill(0xff);
//! question[6..22].copy_from_slice(&[2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
//! question[22..32].copy_from_slice(&[2, 0, 0, 0, 0, 9, 192, 0, 2, 9]);
//! question[38..].copy_from_slice(&[192, 0, 2, 1]);
//! assert_eq!(node.receive(now, lan, &mut question), Received::Taken);
//! node.poll(now, &mut port);
//! let answer = port.sent.last().unwrap();
//! assert_eq!((&answer[..6], &answer[6..12]), (&[2, 0, 0, 0, 0, 9][..], &virtual_mac.0[..]));
//! ```
#![no_std]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails"))]

#[cfg(test)]
#[macro_use]
extern crate std;

mod bytes;
#[cfg(feature = "console")]
pub mod console;
#[cfg(feature = "smoltcp")]
pub mod device;
mod echo;
pub mod hardware;
mod multicast;
pub mod node;
pub mod setup;
#[cfg(feature = "console")]
pub mod store;
pub mod tracking;
pub mod vlan;

#[cfg(all(feature = "log", feature = "defmt"))]
compile_error!("smoltcp does not compile with both `log` and `defmt`: choose one");
