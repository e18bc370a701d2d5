//! The kernel's IPVS table over generic netlink: its rows as plain values, how they look on the wire, a client
//! that reads and writes them, and the difference between two tables. What the table ought to be is decided in
//! [`crate::lvs`].

pub mod attributes;
pub mod client;
pub mod row;
pub mod settings;
pub mod statistics;
pub mod table;

pub use self::client::Client;
