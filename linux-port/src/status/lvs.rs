//! The LVS part of the status document: services as the kernel has them (a `virtual_server` with a group is
//! several), their real servers, what the checks say of them, and what the kernel has counted. The form for
//! people is in [`super::table`]; who fills it is [`crate::lvs::report`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Counters, Family};
use crate::timestamp::Timestamp;

/// Everything of LVS at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LvsStatus {
    /// The services, in the order of the configuration.
    pub services: Vec<ServiceStatus>,
    /// What the director has done and met.
    pub counters: Counters,
}

/// One service of the kernel's table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// As its `virtual_server` is written in the file, `192.0.2.1 80`, `group WEB`; services of one group share it.
    pub name: Arc<str>,
    /// `"tcp"`, `"udp"`, `"sctp"`, or `"fwmark"`.
    pub protocol: Protocol,
    /// The IP version of its packets.
    pub family: Family,
    /// The virtual address; `null` for a mark.
    pub address: Option<IpAddr>,
    /// The port, 0 for every port; `null` for a mark.
    pub port: Option<u16>,
    /// The mark; `null` for an address.
    pub fwmark: Option<u32>,
    /// The scheduler, `rr`.
    pub scheduler: Arc<str>,
    /// What ipvsadm calls its flags: `flag-1`, `ops`, with the names that the scheduler has for them.
    pub flags: Vec<Arc<str>>,
    /// For how long a client stays with its server, in seconds; `null` without persistence.
    pub persistence_timeout_s: Option<u32>,
    /// How many leading bits of a client's address count for that; `null` if all do.
    pub persistence_granularity: Option<u8>,
    /// The persistence engine, such as `sip`.
    pub persistence_engine: Option<Arc<str>>,
    /// Whether the kernel has it.
    pub in_table: bool,
    /// Whether the weight that is alive is enough.
    pub quorum: bool,
    /// The weight that is alive.
    pub alive_weight: u64,
    /// The weight that is wanted: what keeps the quorum, or what brings it back.
    pub wanted_weight: u64,
    /// What went through it; `null` if the kernel does not have it.
    pub traffic: Option<Traffic>,
    /// Its real servers, in the order of the configuration; then the sorry server, if there is one.
    pub servers: Vec<ServerStatus>,
}

/// The protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// `"tcp"`
    Tcp,
    /// `"udp"`
    Udp,
    /// `"sctp"`
    Sctp,
    /// `"fwmark"`: whatever has the mark.
    Fwmark,
}

/// One real server of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its address and port, `10.0.0.1:80`.
    pub address: SocketAddr,
    /// How packets get there.
    pub forwarding: Forwarding,
    /// Whether it is the sorry server; that is not checked.
    pub sorry: bool,
    /// Whether it answers.
    pub health: Health,
    /// Whether all its checks have said so; if not, it is only taken for that.
    pub known: bool,
    /// Why it is down; `null` if it is not.
    pub reason: Option<String>,
    /// When one of its checks was last done; `null` if none was.
    pub last_check: Option<Timestamp>,
    /// The weight in the file.
    pub configured_weight: u32,
    /// What an administrator has said; `null` if nothing. Lost when the agent starts anew.
    pub r#override: Option<Override>,
    /// Its weight in the kernel's table; `null` if it is not in it.
    pub weight: Option<u32>,
    /// Connections that are open.
    pub active_connections: u32,
    /// Connections in any other state.
    pub inactive_connections: u32,
    /// Clients that are kept with it.
    pub persistent_connections: u32,
    /// What went through it since it came into the table; `null` if it is not in it.
    pub traffic: Option<Traffic>,
}

/// ipvsadm's `Forward`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forwarding {
    /// `"masq"`: NAT.
    Masq,
    /// `"route"`: direct routing.
    Route,
    /// `"tunnel"`
    Tunnel,
    /// `"local"`: the director itself.
    Local,
    /// `"bypass"`
    Bypass,
}

/// Whether a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// `"up"`
    Up,
    /// `"down"`
    Down,
}

/// What an administrator has said of a server: `"drain"` or `{"weight":5}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Override {
    /// No new connections.
    Drain,
    /// This weight.
    Weight(u32),
}

/// What went through a service or a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Connections that were scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets from servers; with direct routing and tunnels they pass elsewhere.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes from servers.
    pub bytes_out: u64,
}
