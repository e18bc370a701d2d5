//! The rows of the IPVS table as plain values: services and destinations (ipvsadm's words; keepalived's are
//! virtual and real server), comparable and sortable, so that two tables can be told apart row by row.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use steadfast_core::types::Family;

/// A transport protocol that IPVS balances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// What makes a service the same one: by address, protocol and port, or by a mark of the firewall's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceKey {
    /// `ipvsadm -t`, `-u`, `--sctp-service`; port 0 is every port and wants persistence.
    Address {
        /// The protocol.
        protocol: Protocol,
        /// The virtual address.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// `ipvsadm -f MARK [-6]`.
    Mark {
        /// The mark, not 0.
        mark: u32,
        /// Of which packets.
        family: Family,
    },
}

impl ServiceKey {
    /// Of which packets.
    pub fn family(&self) -> Family {
        match *self {
            Self::Address { address: IpAddr::V4(_), .. } => Family::V4,
            Self::Address { address: IpAddr::V6(_), .. } => Family::V6,
            Self::Mark { family, .. } => family,
        }
    }
}

/// As `ipvsadm -Ln` shows it: `TCP 192.0.2.1:80`, `UDP [2001:db8::1]:53`, `FWM 3`, `FWM 3 IPv6`.
impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Address { protocol, address, port } => {
                let word = match protocol {
                    Protocol::Tcp => "TCP",
                    Protocol::Udp => "UDP",
                    Protocol::Sctp => "SCTP",
                };
                write!(f, "{word} {}", SocketAddr::new(address, port))
            }
            Self::Mark { mark, family: Family::V4 } => write!(f, "FWM {mark}"),
            Self::Mark { mark, family: Family::V6 } => write!(f, "FWM {mark} IPv6"),
        }
    }
}

/// What a scheduler is told besides its name: the kernel's `IP_VS_SVC_F_SCHED1` to `3` and `ONEPACKET`. What
/// they mean is the scheduler's matter: 1 is `sh-fallback`, `mh-fallback`; 2 is `sh-port`, `mh-port`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchedulerFlags {
    /// `flag-1`, `sh-fallback`, `mh-fallback`.
    pub one: bool,
    /// `flag-2`, `sh-port`, `mh-port`.
    pub two: bool,
    /// `flag-3`.
    pub three: bool,
    /// `ops`: each packet is scheduled anew.
    pub one_packet: bool,
}

/// Persistence: a client stays with its server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Persistence {
    /// For how long after its last connection, in seconds.
    pub timeout: u32,
    /// How many leading bits of a client's address count: 32 or 128 is each client for itself.
    pub granularity: u8,
    /// `persistence_engine`, such as `sip`.
    pub engine: Option<Arc<str>>,
}

/// A service of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Which one.
    pub key: ServiceKey,
    /// The scheduler's name, `rr`, at most 15 bytes.
    pub scheduler: Arc<str>,
    /// What it is told.
    pub flags: SchedulerFlags,
    /// Persistence, if any.
    pub persistence: Option<Persistence>,
}

/// What makes a destination the same one within its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationKey {
    /// The real server's address; with tunnels not necessarily of the service's family.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for DestinationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address, self.port).fmt(f)
    }
}

/// How packets get to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forwarding {
    /// NAT, ipvsadm's `Masq`.
    Masquerade,
    /// DR, ipvsadm's `Route`.
    DirectRoute,
    /// TUN, ipvsadm's `Tunnel`.
    Tunnel(Tunnel),
    /// The director itself, ipvsadm's `Local`: never configured. Today's kernels leave what was asked for also where the
    /// address is their own.
    Local,
    /// The packet's own destination, or a method or a tunnel that this program does not know: never configured.
    Bypass,
}

/// How a tunnel wraps packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tunnel {
    /// IP in IP.
    Ipip,
    /// Generic UDP encapsulation.
    Gue {
        /// The server's UDP port.
        port: u16,
        /// Its checksum.
        checksum: TunnelChecksum,
    },
    /// GRE.
    Gre {
        /// Its checksum; never `Remote`.
        checksum: TunnelChecksum,
    },
}

/// What a tunnel does about checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TunnelChecksum {
    /// `nocsum`.
    #[default]
    None,
    /// `csum`.
    Full,
    /// `remcsum`: remote checksum offload, GUE only.
    Remote,
}

/// A destination of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Which one.
    pub key: DestinationKey,
    /// How packets get there.
    pub forwarding: Forwarding,
    /// Its share; 0 gets no new connections.
    pub weight: u32,
    /// The most connections, 0 for no limit.
    pub upper_threshold: u32,
    /// Below how many an overloaded one is taken again, 0 for three quarters of the upper one.
    pub lower_threshold: u32,
}
