//! What the kernel has counted for the rows of the table.

use super::row::{Destination, Service};

/// What has gone through a service or a destination; the kernel adds it up every two seconds. Of a kernel older than 4.1 the numbers of connections and
/// packets wrap at 32 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
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
    /// How much of each there was in a second of late.
    pub rates: Rates,
}

/// How much there was in a second, of late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Connections that were scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets from servers.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes from servers.
    pub bytes_out: u64,
}

/// A service, what went through it, and its destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceStatistics {
    /// The service.
    pub service: Service,
    /// What went through it.
    pub counters: Counters,
    /// Its destinations, in the kernel's order.
    pub destinations: Vec<DestinationStatistics>,
}

/// A destination and what went through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationStatistics {
    /// The destination.
    pub destination: Destination,
    /// What went through it.
    pub counters: Counters,
    /// Connections that are open.
    pub active: u32,
    /// Connections in any other state.
    pub inactive: u32,
    /// Clients that are kept with it.
    pub persistent: u32,
}
