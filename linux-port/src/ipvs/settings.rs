//! What IPVS has besides its rows: timeouts, the daemons that tell connections to another director, and facts
//! about itself.

use std::net::IpAddr;

/// Of connections without traffic, in seconds; 0 leaves one alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Of a TCP connection.
    pub tcp: u32,
    /// Of a TCP connection after a FIN.
    pub tcp_fin: u32,
    /// Of UDP.
    pub udp: u32,
}

/// Which part a sync daemon plays; both can run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SyncState {
    /// Tells its connections.
    Master,
    /// Hears those of another director.
    Backup,
}

/// A sync daemon of the kernel's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncDaemon {
    /// Its part.
    pub state: SyncState,
    /// Its interface, at most 15 bytes.
    pub interface: String,
    /// The group of directors that it belongs to; a backup with 0 hears every one.
    pub id: u8,
    /// The longest message in bytes, 0 for the kernel's default.
    pub max_length: u16,
    /// The UDP port, 0 for the kernel's default (8848).
    pub port: u16,
    /// The TTL, 0 for the kernel's default (1).
    pub ttl: u8,
    /// The multicast group; without one the kernel's default (224.0.0.81).
    pub group: Option<IpAddr>,
}

/// What IPVS says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its version: major, minor, patch.
    pub version: (u8, u8, u8),
    /// How many slots the hash table of connections has.
    pub connection_table_size: u32,
}
