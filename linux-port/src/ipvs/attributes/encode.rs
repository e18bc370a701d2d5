//! Requests as bytes. Each is what ipvsadm sends for the same purpose, attribute for attribute, so that no kernel
//! sees anything from us that it does not see every day.

use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_core::{Emitable, NetlinkHeader};
use steadfast_core::types::Family;

use super::super::row::{
    Destination, DestinationKey, Forwarding, Protocol, SchedulerFlags, Service, ServiceKey, Tunnel, TunnelChecksum,
};
use super::super::settings::{SyncDaemon, SyncState, Timeouts};
use super::super::table::Write;
use super::{VERSION, Writer, command, control, daemon, destination, service, top};

const HEADER: usize = 16;

/// A request to IPVS.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    /// One change of the table.
    Write(&'a Write),
    /// All services (a dump).
    Services,
    /// All destinations of a service (a dump).
    Destinations(&'a ServiceKey),
    /// Make all counters zero, or those of one service.
    Zero(Option<&'a ServiceKey>),
    /// Delete everything.
    Flush,
    /// Change the timeouts.
    SetTimeouts(&'a Timeouts),
    /// The timeouts.
    Timeouts,
    /// Start a sync daemon.
    StartDaemon(&'a SyncDaemon),
    /// Stop the sync daemon with this part.
    StopDaemon(SyncState),
    /// The sync daemons (a dump).
    Daemons,
    /// What IPVS says of itself.
    Info,
}

impl Request<'_> {
    fn command(&self) -> u8 {
        match self {
            Self::Write(Write::AddService(_)) => command::NEW_SERVICE,
            Self::Write(Write::SetService(_)) => command::SET_SERVICE,
            Self::Write(Write::DeleteService(_)) => command::DEL_SERVICE,
            Self::Write(Write::AddDestination(..)) => command::NEW_DEST,
            Self::Write(Write::SetDestination(..)) => command::SET_DEST,
            Self::Write(Write::DeleteDestination(..)) => command::DEL_DEST,
            Self::Services => command::GET_SERVICE,
            Self::Destinations(_) => command::GET_DEST,
            Self::Zero(_) => command::ZERO,
            Self::Flush => command::FLUSH,
            Self::SetTimeouts(_) => command::SET_CONFIG,
            Self::Timeouts => command::GET_CONFIG,
            Self::StartDaemon(_) => command::NEW_DAEMON,
            Self::StopDaemon(_) => command::DEL_DAEMON,
            Self::Daemons => command::GET_DAEMON,
            Self::Info => command::GET_INFO,
        }
    }

    /// Appends the request without netlink's own header: the header of generic netlink and the attributes.
    pub fn append(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&[self.command(), VERSION, 0, 0]);
        let mut writer = Writer(buffer);
        match self {
            Self::Write(Write::AddService(row) | Write::SetService(row)) => whole_service(&mut writer, row),
            Self::Write(Write::DeleteService(key)) => named_service(&mut writer, key),
            Self::Zero(Some(key)) => named_service(&mut writer, key),
            Self::Write(Write::AddDestination(key, row) | Write::SetDestination(key, row)) => {
                named_service(&mut writer, key);
                whole_destination(&mut writer, row);
            }
            Self::Write(Write::DeleteDestination(key, row)) => {
                named_service(&mut writer, key);
                named_destination(&mut writer, row);
            }
            Self::Destinations(key) => writer.nest(top::SERVICE, |writer| identity(writer, key)),
            Self::SetTimeouts(timeouts) => {
                writer.put(top::TIMEOUT_TCP, &timeouts.tcp.to_ne_bytes());
                writer.put(top::TIMEOUT_TCP_FIN, &timeouts.tcp_fin.to_ne_bytes());
                writer.put(top::TIMEOUT_UDP, &timeouts.udp.to_ne_bytes());
            }
            Self::StartDaemon(row) => writer.nest(top::DAEMON, |writer| sync_daemon(writer, row)),
            Self::StopDaemon(state) => writer.nest(top::DAEMON, |writer| {
                writer.put(daemon::STATE, &sync_state(*state).to_ne_bytes());
                writer.put_text(daemon::MCAST_IFN, "");
                writer.put(daemon::SYNC_ID, &[0; 4]);
            }),
            Self::Services | Self::Zero(None) | Self::Flush | Self::Timeouts | Self::Daemons | Self::Info => {}
        }
    }
}

/// Appends a whole message: netlink's header, and the request.
pub(in super::super) fn append(buffer: &mut Vec<u8>, family: u16, flags: u16, sequence: u32, request: &Request<'_>) {
    frame(buffer, family, flags, sequence, |buffer| request.append(buffer));
}

/// Appends the message that asks for the number of the family `name`.
pub(in super::super) fn append_family(buffer: &mut Vec<u8>, name: &str, flags: u16, sequence: u32) {
    frame(buffer, control::FAMILY, flags, sequence, |buffer| {
        buffer.extend_from_slice(&[control::GET_FAMILY, 1, 0, 0]);
        Writer(buffer).put_text(control::FAMILY_NAME, name);
    });
}

fn frame(buffer: &mut Vec<u8>, family: u16, flags: u16, sequence: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.resize(start + HEADER, 0);
    fill(buffer);
    let mut header = NetlinkHeader::default();
    header.length = u32::try_from(buffer.len() - start).unwrap_or(u32::MAX);
    header.message_type = family;
    header.flags = flags;
    header.sequence_number = sequence;
    header.emit(&mut buffer[start..]);
}

/// A service with all its properties.
fn whole_service(writer: &mut Writer<'_>, row: &Service) {
    writer.nest(top::SERVICE, |writer| {
        identity(writer, &row.key);
        writer.put_text(service::SCHED_NAME, &row.scheduler);
        let persistence = row.persistence.as_ref();
        if let Some(engine) = persistence.and_then(|persistence| persistence.engine.as_ref()) {
            writer.put_text(service::PE_NAME, engine);
        }
        let mut flags = scheduler_flags(row.flags);
        if persistence.is_some() {
            flags |= service::PERSISTENT;
        }
        let (timeout, bits) =
            persistence.map_or((0, u8::MAX), |persistence| (persistence.timeout, persistence.granularity));
        properties(writer, flags, timeout, netmask(row.key.family(), bits));
    });
}

/// A service that a request is about: its properties are there, but mean nothing.
fn named_service(writer: &mut Writer<'_>, key: &ServiceKey) {
    writer.nest(top::SERVICE, |writer| {
        identity(writer, key);
        writer.put_text(service::SCHED_NAME, "");
        properties(writer, 0, 0, netmask(key.family(), u8::MAX));
    });
}

/// What makes a service the same one.
fn identity(writer: &mut Writer<'_>, key: &ServiceKey) {
    writer.put(service::AF, &family(key.family()).to_ne_bytes());
    match *key {
        ServiceKey::Address { protocol, address, port } => {
            let protocol: u16 = match protocol {
                Protocol::Tcp => 6,
                Protocol::Udp => 17,
                Protocol::Sctp => 132,
            };
            writer.put(service::PROTOCOL, &protocol.to_ne_bytes());
            writer.put(service::ADDR, &padded(address));
            writer.put(service::PORT, &port.to_be_bytes());
        }
        ServiceKey::Mark { mark, .. } => writer.put(service::FWMARK, &mark.to_ne_bytes()),
    }
}

fn properties(writer: &mut Writer<'_>, flags: u32, timeout: u32, netmask: [u8; 4]) {
    let [flags, mask] = [flags.to_ne_bytes(), u32::MAX.to_ne_bytes()];
    let mut both = [0; 8];
    both[..4].copy_from_slice(&flags);
    both[4..].copy_from_slice(&mask);
    writer.put(service::FLAGS, &both);
    writer.put(service::TIMEOUT, &timeout.to_ne_bytes());
    writer.put(service::NETMASK, &netmask);
}

/// How many leading bits count: a mask for IPv4, their number for IPv6.
fn netmask(family: Family, bits: u8) -> [u8; 4] {
    match family {
        Family::V4 => u32::MAX.checked_shl(32_u32.saturating_sub(bits.into())).unwrap_or(0).to_be_bytes(),
        Family::V6 => u32::from(bits.min(128)).to_ne_bytes(),
    }
}

fn scheduler_flags(flags: SchedulerFlags) -> u32 {
    let SchedulerFlags { one, two, three, one_packet } = flags;
    let all = [
        (one, service::SCHEDULER_1),
        (two, service::SCHEDULER_2),
        (three, service::SCHEDULER_3),
        (one_packet, service::ONE_PACKET),
    ];
    all.into_iter().filter(|(set, _)| *set).fold(0, |flags, (_, flag)| flags | flag)
}

/// A destination with all its properties.
fn whole_destination(writer: &mut Writer<'_>, row: &Destination) {
    let (method, tunnel) = match row.forwarding {
        Forwarding::Masquerade => (destination::MASQUERADE, None),
        Forwarding::DirectRoute => (destination::DIRECT_ROUTE, None),
        Forwarding::Tunnel(tunnel) => (destination::TUNNEL, Some(tunnel)),
        Forwarding::Local => (destination::LOCAL, None),
        Forwarding::Bypass => (destination::BYPASS, None),
    };
    let (kind, port, checksum) = match tunnel {
        None | Some(Tunnel::Ipip) => (destination::IPIP, 0, TunnelChecksum::None),
        Some(Tunnel::Gue { port, checksum }) => (destination::GUE, port, checksum),
        Some(Tunnel::Gre { checksum }) => (destination::GRE, 0, checksum),
    };
    let flags = match checksum {
        TunnelChecksum::None => 0,
        TunnelChecksum::Full => destination::CHECKSUM,
        TunnelChecksum::Remote => destination::REMOTE_CHECKSUM,
    };
    writer.nest(top::DEST, |writer| {
        place(writer, &row.key);
        writer.put(destination::FWD_METHOD, &method.to_ne_bytes());
        writer.put(destination::WEIGHT, &row.weight.to_ne_bytes());
        writer.put(destination::TUN_TYPE, &[kind]);
        writer.put(destination::TUN_PORT, &port.to_be_bytes());
        writer.put(destination::TUN_FLAGS, &flags.to_ne_bytes());
        writer.put(destination::U_THRESH, &row.upper_threshold.to_ne_bytes());
        writer.put(destination::L_THRESH, &row.lower_threshold.to_ne_bytes());
    });
}

/// A destination that is deleted: its properties are there, but mean nothing.
fn named_destination(writer: &mut Writer<'_>, key: &DestinationKey) {
    let (key, forwarding) = (*key, Forwarding::DirectRoute);
    whole_destination(writer, &Destination { key, forwarding, weight: 1, upper_threshold: 0, lower_threshold: 0 });
}

/// What makes a destination the same one.
fn place(writer: &mut Writer<'_>, key: &DestinationKey) {
    writer.put(destination::ADDR_FAMILY, &family(Family::of(&key.address)).to_ne_bytes());
    writer.put(destination::ADDR, &padded(key.address));
    writer.put(destination::PORT, &key.port.to_be_bytes());
}

fn sync_daemon(writer: &mut Writer<'_>, row: &SyncDaemon) {
    writer.put(daemon::STATE, &sync_state(row.state).to_ne_bytes());
    writer.put_text(daemon::MCAST_IFN, &row.interface);
    writer.put(daemon::SYNC_ID, &u32::from(row.id).to_ne_bytes());
    if row.max_length != 0 {
        writer.put(daemon::SYNC_MAXLEN, &row.max_length.to_ne_bytes());
    }
    if row.port != 0 {
        writer.put(daemon::MCAST_PORT, &row.port.to_ne_bytes());
    }
    if row.ttl != 0 {
        writer.put(daemon::MCAST_TTL, &[row.ttl]);
    }
    match row.group {
        Some(IpAddr::V4(group)) => writer.put(daemon::MCAST_GROUP, &group.octets()),
        Some(IpAddr::V6(group)) => writer.put(daemon::MCAST_GROUP6, &group.octets()),
        None => {}
    }
}

fn sync_state(state: SyncState) -> u32 {
    match state {
        SyncState::Master => daemon::MASTER,
        SyncState::Backup => daemon::BACKUP,
    }
}

/// The number of an address family.
fn family(family: Family) -> u16 {
    let number = match family {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    };
    u16::try_from(number).unwrap_or(0)
}

/// An address in the sixteen bytes that IPVS has for either family.
fn padded(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            bytes
        }
        IpAddr::V6(address) => Ipv6Addr::octets(&address),
    }
}
