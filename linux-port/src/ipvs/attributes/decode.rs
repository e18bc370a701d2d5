//! Answers as values. An answer may be cut short, or hold what no kernel says: then the error names the attribute.
//! What a newer kernel may add is passed over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use steadfast_core::types::Family;

use super::super::row::{
    Destination, DestinationKey, Forwarding, Persistence, Protocol, SchedulerFlags, Service, ServiceKey, Tunnel,
    TunnelChecksum,
};
use super::super::settings::{Info, SyncDaemon, SyncState, Timeouts};
use super::super::statistics::{Counters, DestinationStatistics, Rates};
use super::{
    Attribute, Attributes, Malformed, Problem, control, daemon, destination, info, service, statistics, top, wrong,
};

/// What stands for the message itself in errors.
const MESSAGE: Attribute = Attribute(0, "IPVS_CMD_ATTR");

/// The number of a family, from the answer of the one that knows them all.
pub fn family(payload: &[u8]) -> Result<u16, Malformed> {
    message(payload)?.u16(control::FAMILY_ID)
}

/// A service and what went through it; `None` for one of a protocol that has no place in our table.
pub fn service(payload: &[u8]) -> Result<Option<(Service, Counters)>, Malformed> {
    let attributes = message(payload)?.nested(top::SERVICE)?;
    let Some(key) = service_key(&attributes)? else { return Ok(None) };
    let [flags, _mask] = halves(attributes.bytes(service::FLAGS)?);
    let persistence = if flags & service::PERSISTENT != 0 {
        Some(Persistence {
            timeout: attributes.u32(service::TIMEOUT)?,
            granularity: granularity(key.family(), attributes.bytes(service::NETMASK)?),
            engine: attributes.text(service::PE_NAME)?.filter(|engine| !engine.is_empty()),
        })
    } else {
        None
    };
    let row = Service {
        key,
        scheduler: attributes.text(service::SCHED_NAME)?.ok_or(wrong(service::SCHED_NAME, Problem::Missing))?,
        flags: SchedulerFlags {
            one: flags & service::SCHEDULER_1 != 0,
            two: flags & service::SCHEDULER_2 != 0,
            three: flags & service::SCHEDULER_3 != 0,
            one_packet: flags & service::ONE_PACKET != 0,
        },
        persistence,
    };
    Ok(Some((row, counters(&attributes, service::STATS64, service::STATS)?)))
}

fn service_key(attributes: &Attributes<'_>) -> Result<Option<ServiceKey>, Malformed> {
    let family = address_family(attributes.u16(service::AF)?, service::AF)?;
    if attributes.find(service::FWMARK).is_some() {
        return Ok(Some(ServiceKey::Mark { mark: attributes.u32(service::FWMARK)?, family }));
    }
    let protocol = match attributes.u16(service::PROTOCOL)? {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        132 => Protocol::Sctp,
        _ => return Ok(None),
    };
    let address = address(family, attributes.bytes(service::ADDR)?);
    Ok(Some(ServiceKey::Address { protocol, address, port: attributes.port(service::PORT)? }))
}

/// How many leading bits count; 0, which is never wanted, for a mask that is no prefix.
fn granularity(family: Family, netmask: [u8; 4]) -> u8 {
    match family {
        Family::V4 => {
            let mask = u32::from_be_bytes(netmask);
            if mask.count_ones() == mask.leading_ones() { bits(mask.leading_ones()) } else { 0 }
        }
        Family::V6 => bits(u32::from_ne_bytes(netmask)),
    }
}

fn bits(count: u32) -> u8 {
    u8::try_from(count).unwrap_or(0)
}

/// A destination of a service of the family `service`, which is its own on kernels that do not say it (before
/// 3.18).
pub fn destination(payload: &[u8], service: Family) -> Result<DestinationStatistics, Malformed> {
    let attributes = message(payload)?.nested(top::DEST)?;
    let family = match attributes.optional(destination::ADDR_FAMILY)?.map(u16::from_ne_bytes) {
        Some(family) => address_family(family, destination::ADDR_FAMILY)?,
        None => service,
    };
    let key = DestinationKey {
        address: address(family, attributes.bytes(destination::ADDR)?),
        port: attributes.port(destination::PORT)?,
    };
    let forwarding = match attributes.u32(destination::FWD_METHOD)? & destination::METHOD_MASK {
        destination::MASQUERADE => Forwarding::Masquerade,
        destination::DIRECT_ROUTE => Forwarding::DirectRoute,
        destination::TUNNEL => tunnel(&attributes)?.map_or(Forwarding::Bypass, Forwarding::Tunnel),
        destination::LOCAL => Forwarding::Local,
        _ => Forwarding::Bypass,
    };
    Ok(DestinationStatistics {
        destination: Destination {
            key,
            forwarding,
            weight: attributes.u32(destination::WEIGHT)?,
            upper_threshold: attributes.u32(destination::U_THRESH)?,
            lower_threshold: attributes.u32(destination::L_THRESH)?,
        },
        counters: counters(&attributes, destination::STATS64, destination::STATS)?,
        active: attributes.u32(destination::ACTIVE_CONNS)?,
        inactive: attributes.u32(destination::INACT_CONNS)?,
        persistent: attributes.u32(destination::PERSIST_CONNS)?,
    })
}

/// How a tunnel wraps packets; `None` if we do not know its kind. Kernels before 5.3 know and say none.
fn tunnel(attributes: &Attributes<'_>) -> Result<Option<Tunnel>, Malformed> {
    let flags = attributes.optional(destination::TUN_FLAGS)?.map_or(0, u16::from_ne_bytes);
    let checksum = if flags & destination::REMOTE_CHECKSUM != 0 {
        TunnelChecksum::Remote
    } else if flags & destination::CHECKSUM != 0 {
        TunnelChecksum::Full
    } else {
        TunnelChecksum::None
    };
    let kind = attributes.optional(destination::TUN_TYPE)?.map_or(destination::IPIP, u8::from_ne_bytes);
    Ok(match kind {
        destination::IPIP => Some(Tunnel::Ipip),
        destination::GUE => Some(Tunnel::Gue { port: attributes.port(destination::TUN_PORT)?, checksum }),
        destination::GRE => Some(Tunnel::Gre { checksum }),
        _ => None,
    })
}

/// The counters: those of 64 bits, or what an older kernel (before 4.1) has. Nothing at all is 0.
fn counters(attributes: &Attributes<'_>, wide: Attribute, narrow: Attribute) -> Result<Counters, Malformed> {
    if attributes.find(wide).is_some() {
        let nested = attributes.nested(wide)?;
        return all_counters(|attribute| nested.bytes(attribute).map(u64::from_ne_bytes));
    }
    if attributes.find(narrow).is_none() {
        return Ok(Counters::default());
    }
    let nested = attributes.nested(narrow)?;
    all_counters(|attribute| match attribute {
        statistics::INBYTES | statistics::OUTBYTES => nested.bytes(attribute).map(u64::from_ne_bytes),
        _ => nested.u32(attribute).map(u64::from),
    })
}

fn all_counters(get: impl Fn(Attribute) -> Result<u64, Malformed>) -> Result<Counters, Malformed> {
    Ok(Counters {
        connections: get(statistics::CONNS)?,
        packets_in: get(statistics::INPKTS)?,
        packets_out: get(statistics::OUTPKTS)?,
        bytes_in: get(statistics::INBYTES)?,
        bytes_out: get(statistics::OUTBYTES)?,
        rates: Rates {
            connections: get(statistics::CPS)?,
            packets_in: get(statistics::INPPS)?,
            packets_out: get(statistics::OUTPPS)?,
            bytes_in: get(statistics::INBPS)?,
            bytes_out: get(statistics::OUTBPS)?,
        },
    })
}

/// The timeouts.
pub fn timeouts(payload: &[u8]) -> Result<Timeouts, Malformed> {
    let attributes = message(payload)?;
    Ok(Timeouts {
        tcp: attributes.u32(top::TIMEOUT_TCP)?,
        tcp_fin: attributes.u32(top::TIMEOUT_TCP_FIN)?,
        udp: attributes.u32(top::TIMEOUT_UDP)?,
    })
}

/// A sync daemon. Kernels before 4.3 say neither group nor port nor anything after them.
pub fn sync_daemon(payload: &[u8]) -> Result<SyncDaemon, Malformed> {
    let attributes = message(payload)?.nested(top::DAEMON)?;
    let state = match attributes.u32(daemon::STATE)? {
        daemon::MASTER => SyncState::Master,
        daemon::BACKUP => SyncState::Backup,
        other => return Err(wrong(daemon::STATE, Problem::Value(other))),
    };
    let id = attributes.u32(daemon::SYNC_ID)?;
    let group_v4 = attributes.optional(daemon::MCAST_GROUP)?.map(|group: [u8; 4]| IpAddr::from(group));
    let group_v6 = attributes.optional(daemon::MCAST_GROUP6)?.map(|group: [u8; 16]| IpAddr::from(group));
    Ok(SyncDaemon {
        state,
        interface: attributes.text(daemon::MCAST_IFN)?.ok_or(wrong(daemon::MCAST_IFN, Problem::Missing))?.to_string(),
        id: u8::try_from(id).map_err(|_| wrong(daemon::SYNC_ID, Problem::Value(id)))?,
        max_length: attributes.optional(daemon::SYNC_MAXLEN)?.map_or(0, u16::from_ne_bytes),
        port: attributes.optional(daemon::MCAST_PORT)?.map_or(0, u16::from_ne_bytes),
        ttl: attributes.optional(daemon::MCAST_TTL)?.map_or(0, u8::from_ne_bytes),
        group: group_v4.or(group_v6),
    })
}

/// What IPVS says of itself.
pub fn info(payload: &[u8]) -> Result<Info, Malformed> {
    let attributes = message(payload)?;
    let [_, major, minor, patch] = attributes.u32(info::VERSION)?.to_be_bytes();
    Ok(Info { version: (major, minor, patch), connection_table_size: attributes.u32(info::CONN_TAB_SIZE)? })
}

/// The attributes of a message, after the header of generic netlink.
fn message(payload: &[u8]) -> Result<Attributes<'_>, Malformed> {
    let attributes = payload.get(4..).ok_or(wrong(MESSAGE, Problem::Length(payload.len(), 4)))?;
    Attributes::read(MESSAGE, attributes)
}

fn address_family(number: u16, attribute: Attribute) -> Result<Family, Malformed> {
    match i32::from(number) {
        libc::AF_INET => Ok(Family::V4),
        libc::AF_INET6 => Ok(Family::V6),
        _ => Err(wrong(attribute, Problem::Value(number.into()))),
    }
}

/// An address from the sixteen bytes that IPVS has for either family.
fn address(family: Family, bytes: [u8; 16]) -> IpAddr {
    let [a, b, c, d, ..] = bytes;
    match family {
        Family::V4 => Ipv4Addr::new(a, b, c, d).into(),
        Family::V6 => Ipv6Addr::from(bytes).into(),
    }
}

fn halves(bytes: [u8; 8]) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = bytes;
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}
