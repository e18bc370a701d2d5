//! The numbers and names of IPVS in generic netlink (`linux/ip_vs.h`), and attributes as such: a writer that nests
//! them and a reader that finds them again. Which attributes a request or an answer is made of is in
//! [`encode`] and [`decode`].

pub mod decode;
pub mod encode;

use std::fmt;
use std::io;
use std::sync::Arc;

use netlink_packet_core::{NLA_F_NESTED, NlasIterator};

/// An attribute: its number, and its name for what is said when it is missing or wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attribute(u16, &'static str);

/// The version of IPVS' messages (`IPVS_GENL_VERSION`).
const VERSION: u8 = 1;

/// `IPVS_CMD_*`.
mod command {
    pub(super) const NEW_SERVICE: u8 = 1;
    pub(super) const SET_SERVICE: u8 = 2;
    pub(super) const DEL_SERVICE: u8 = 3;
    pub(super) const GET_SERVICE: u8 = 4;
    pub(super) const NEW_DEST: u8 = 5;
    pub(super) const SET_DEST: u8 = 6;
    pub(super) const DEL_DEST: u8 = 7;
    pub(super) const GET_DEST: u8 = 8;
    pub(super) const NEW_DAEMON: u8 = 9;
    pub(super) const DEL_DAEMON: u8 = 10;
    pub(super) const GET_DAEMON: u8 = 11;
    pub(super) const SET_CONFIG: u8 = 12;
    pub(super) const GET_CONFIG: u8 = 13;
    pub(super) const GET_INFO: u8 = 15;
    pub(super) const ZERO: u8 = 16;
    pub(super) const FLUSH: u8 = 17;
}

/// `IPVS_CMD_ATTR_*`: what a message is made of.
mod top {
    use super::Attribute;
    pub(super) const SERVICE: Attribute = Attribute(1, "IPVS_CMD_ATTR_SERVICE");
    pub(super) const DEST: Attribute = Attribute(2, "IPVS_CMD_ATTR_DEST");
    pub(super) const DAEMON: Attribute = Attribute(3, "IPVS_CMD_ATTR_DAEMON");
    pub(super) const TIMEOUT_TCP: Attribute = Attribute(4, "IPVS_CMD_ATTR_TIMEOUT_TCP");
    pub(super) const TIMEOUT_TCP_FIN: Attribute = Attribute(5, "IPVS_CMD_ATTR_TIMEOUT_TCP_FIN");
    pub(super) const TIMEOUT_UDP: Attribute = Attribute(6, "IPVS_CMD_ATTR_TIMEOUT_UDP");
}

/// `IPVS_SVC_ATTR_*`.
mod service {
    use super::Attribute;
    pub(super) const AF: Attribute = Attribute(1, "IPVS_SVC_ATTR_AF");
    pub(super) const PROTOCOL: Attribute = Attribute(2, "IPVS_SVC_ATTR_PROTOCOL");
    pub(super) const ADDR: Attribute = Attribute(3, "IPVS_SVC_ATTR_ADDR");
    pub(super) const PORT: Attribute = Attribute(4, "IPVS_SVC_ATTR_PORT");
    pub(super) const FWMARK: Attribute = Attribute(5, "IPVS_SVC_ATTR_FWMARK");
    pub(super) const SCHED_NAME: Attribute = Attribute(6, "IPVS_SVC_ATTR_SCHED_NAME");
    pub(super) const FLAGS: Attribute = Attribute(7, "IPVS_SVC_ATTR_FLAGS");
    pub(super) const TIMEOUT: Attribute = Attribute(8, "IPVS_SVC_ATTR_TIMEOUT");
    pub(super) const NETMASK: Attribute = Attribute(9, "IPVS_SVC_ATTR_NETMASK");
    pub(super) const STATS: Attribute = Attribute(10, "IPVS_SVC_ATTR_STATS");
    pub(super) const PE_NAME: Attribute = Attribute(11, "IPVS_SVC_ATTR_PE_NAME");
    pub(super) const STATS64: Attribute = Attribute(12, "IPVS_SVC_ATTR_STATS64");

    // IP_VS_SVC_F_*
    pub(super) const PERSISTENT: u32 = 0x01;
    pub(super) const ONE_PACKET: u32 = 0x04;
    pub(super) const SCHEDULER_1: u32 = 0x08;
    pub(super) const SCHEDULER_2: u32 = 0x10;
    pub(super) const SCHEDULER_3: u32 = 0x20;
}

/// `IPVS_DEST_ATTR_*`.
mod destination {
    use super::Attribute;
    pub(super) const ADDR: Attribute = Attribute(1, "IPVS_DEST_ATTR_ADDR");
    pub(super) const PORT: Attribute = Attribute(2, "IPVS_DEST_ATTR_PORT");
    pub(super) const FWD_METHOD: Attribute = Attribute(3, "IPVS_DEST_ATTR_FWD_METHOD");
    pub(super) const WEIGHT: Attribute = Attribute(4, "IPVS_DEST_ATTR_WEIGHT");
    pub(super) const U_THRESH: Attribute = Attribute(5, "IPVS_DEST_ATTR_U_THRESH");
    pub(super) const L_THRESH: Attribute = Attribute(6, "IPVS_DEST_ATTR_L_THRESH");
    pub(super) const ACTIVE_CONNS: Attribute = Attribute(7, "IPVS_DEST_ATTR_ACTIVE_CONNS");
    pub(super) const INACT_CONNS: Attribute = Attribute(8, "IPVS_DEST_ATTR_INACT_CONNS");
    pub(super) const PERSIST_CONNS: Attribute = Attribute(9, "IPVS_DEST_ATTR_PERSIST_CONNS");
    pub(super) const STATS: Attribute = Attribute(10, "IPVS_DEST_ATTR_STATS");
    pub(super) const ADDR_FAMILY: Attribute = Attribute(11, "IPVS_DEST_ATTR_ADDR_FAMILY");
    pub(super) const STATS64: Attribute = Attribute(12, "IPVS_DEST_ATTR_STATS64");
    pub(super) const TUN_TYPE: Attribute = Attribute(13, "IPVS_DEST_ATTR_TUN_TYPE");
    pub(super) const TUN_PORT: Attribute = Attribute(14, "IPVS_DEST_ATTR_TUN_PORT");
    pub(super) const TUN_FLAGS: Attribute = Attribute(15, "IPVS_DEST_ATTR_TUN_FLAGS");

    // IP_VS_CONN_F_*
    pub(super) const METHOD_MASK: u32 = 7;
    pub(super) const MASQUERADE: u32 = 0;
    pub(super) const LOCAL: u32 = 1;
    pub(super) const TUNNEL: u32 = 2;
    pub(super) const DIRECT_ROUTE: u32 = 3;
    pub(super) const BYPASS: u32 = 4;
    // IP_VS_CONN_F_TUNNEL_TYPE_*
    pub(super) const IPIP: u8 = 0;
    pub(super) const GUE: u8 = 1;
    pub(super) const GRE: u8 = 2;
    // IP_VS_TUNNEL_ENCAP_FLAG_*
    pub(super) const CHECKSUM: u16 = 1;
    pub(super) const REMOTE_CHECKSUM: u16 = 2;
}

/// `IPVS_DAEMON_ATTR_*`.
mod daemon {
    use super::Attribute;
    pub(super) const STATE: Attribute = Attribute(1, "IPVS_DAEMON_ATTR_STATE");
    pub(super) const MCAST_IFN: Attribute = Attribute(2, "IPVS_DAEMON_ATTR_MCAST_IFN");
    pub(super) const SYNC_ID: Attribute = Attribute(3, "IPVS_DAEMON_ATTR_SYNC_ID");
    pub(super) const SYNC_MAXLEN: Attribute = Attribute(4, "IPVS_DAEMON_ATTR_SYNC_MAXLEN");
    pub(super) const MCAST_GROUP: Attribute = Attribute(5, "IPVS_DAEMON_ATTR_MCAST_GROUP");
    pub(super) const MCAST_GROUP6: Attribute = Attribute(6, "IPVS_DAEMON_ATTR_MCAST_GROUP6");
    pub(super) const MCAST_PORT: Attribute = Attribute(7, "IPVS_DAEMON_ATTR_MCAST_PORT");
    pub(super) const MCAST_TTL: Attribute = Attribute(8, "IPVS_DAEMON_ATTR_MCAST_TTL");

    // IP_VS_STATE_*
    pub(super) const MASTER: u32 = 1;
    pub(super) const BACKUP: u32 = 2;
}

/// `IPVS_STATS_ATTR_*`.
mod statistics {
    use super::Attribute;
    pub(super) const CONNS: Attribute = Attribute(1, "IPVS_STATS_ATTR_CONNS");
    pub(super) const INPKTS: Attribute = Attribute(2, "IPVS_STATS_ATTR_INPKTS");
    pub(super) const OUTPKTS: Attribute = Attribute(3, "IPVS_STATS_ATTR_OUTPKTS");
    pub(super) const INBYTES: Attribute = Attribute(4, "IPVS_STATS_ATTR_INBYTES");
    pub(super) const OUTBYTES: Attribute = Attribute(5, "IPVS_STATS_ATTR_OUTBYTES");
    pub(super) const CPS: Attribute = Attribute(6, "IPVS_STATS_ATTR_CPS");
    pub(super) const INPPS: Attribute = Attribute(7, "IPVS_STATS_ATTR_INPPS");
    pub(super) const OUTPPS: Attribute = Attribute(8, "IPVS_STATS_ATTR_OUTPPS");
    pub(super) const INBPS: Attribute = Attribute(9, "IPVS_STATS_ATTR_INBPS");
    pub(super) const OUTBPS: Attribute = Attribute(10, "IPVS_STATS_ATTR_OUTBPS");
}

/// `IPVS_INFO_ATTR_*`.
mod info {
    use super::Attribute;
    pub(super) const VERSION: Attribute = Attribute(1, "IPVS_INFO_ATTR_VERSION");
    pub(super) const CONN_TAB_SIZE: Attribute = Attribute(2, "IPVS_INFO_ATTR_CONN_TAB_SIZE");
}

/// The family that tells the numbers of all others (`GENL_ID_CTRL`).
mod control {
    use super::Attribute;
    pub(super) const FAMILY: u16 = 16;
    pub(super) const GET_FAMILY: u8 = 3;
    pub(super) const FAMILY_ID: Attribute = Attribute(1, "CTRL_ATTR_FAMILY_ID");
    pub(super) const FAMILY_NAME: Attribute = Attribute(2, "CTRL_ATTR_FAMILY_NAME");
}

/// Appends attributes to a message.
struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    /// One attribute and what fills it up to a multiple of four bytes.
    fn put<const N: usize>(&mut self, Attribute(kind, _): Attribute, value: &[u8; N]) {
        self.header(kind, N);
        self.0.extend_from_slice(value);
        self.0.extend_from_slice(&[0; 3][..N.next_multiple_of(4) - N]);
    }

    /// A text with the NUL at its end.
    fn put_text(&mut self, Attribute(kind, _): Attribute, text: &str) {
        self.header(kind, text.len() + 1);
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        self.fill_up();
    }

    /// Attributes within one.
    fn nest(&mut self, Attribute(kind, _): Attribute, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.header(kind | NLA_F_NESTED, 0);
        fill(self);
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn header(&mut self, kind: u16, length: usize) {
        let [length, kind] = [u16::try_from(length + 4).unwrap_or(u16::MAX), kind].map(u16::to_ne_bytes);
        self.0.extend_from_slice(&[length[0], length[1], kind[0], kind[1]]);
    }

    /// Zeros up to a multiple of four bytes.
    fn fill_up(&mut self) {
        while !self.0.len().is_multiple_of(4) {
            self.0.push(0);
        }
    }
}

/// An answer that is not as it should be: which attribute, and what about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The attribute's name, as in `linux/ip_vs.h`.
    pub attribute: &'static str,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is not there.
    Missing,
    /// It has this many bytes, and should have that many.
    Length(usize, usize),
    /// What it nests does not fit into it.
    Nesting,
    /// It has a value that cannot be.
    Value(u32),
    /// It is no text.
    Text,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the kernel's answer is malformed: {} ", self.attribute)?;
        match self.problem {
            Problem::Missing => write!(f, "is missing"),
            Problem::Length(is, should) => write!(f, "has {is} bytes instead of {should}"),
            Problem::Nesting => write!(f, "holds more than fits into it"),
            Problem::Value(value) => write!(f, "is {value}"),
            Problem::Text => write!(f, "is no text"),
        }
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for io::Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(io::ErrorKind::InvalidData, malformed)
    }
}

/// The attributes of one nest, by number; of two with the same number the last. Those that a newer kernel may add
/// are passed over.
struct Attributes<'a>([Option<&'a [u8]>; 16]);

impl<'a> Attributes<'a> {
    /// Reads what `within` holds.
    fn read(within: Attribute, bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut values = [None; 16];
        for attribute in NlasIterator::new(bytes) {
            let attribute = attribute.map_err(|_| wrong(within, Problem::Nesting))?;
            let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
            if let Some(slot) = values.get_mut(usize::from(kind)) {
                *slot = attribute.into_inner().get(4..length);
            }
        }
        Ok(Self(values))
    }

    fn find(&self, Attribute(kind, _): Attribute) -> Option<&'a [u8]> {
        self.0.get(usize::from(kind)).copied().flatten()
    }

    fn optional<const N: usize>(&self, attribute: Attribute) -> Result<Option<[u8; N]>, Malformed> {
        let Some(value) = self.find(attribute) else { return Ok(None) };
        match value.try_into() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(wrong(attribute, Problem::Length(value.len(), N))),
        }
    }

    fn bytes<const N: usize>(&self, attribute: Attribute) -> Result<[u8; N], Malformed> {
        self.optional(attribute)?.ok_or(wrong(attribute, Problem::Missing))
    }

    fn u16(&self, attribute: Attribute) -> Result<u16, Malformed> {
        self.bytes(attribute).map(u16::from_ne_bytes)
    }

    fn u32(&self, attribute: Attribute) -> Result<u32, Malformed> {
        self.bytes(attribute).map(u32::from_ne_bytes)
    }

    fn port(&self, attribute: Attribute) -> Result<u16, Malformed> {
        self.bytes(attribute).map(u16::from_be_bytes)
    }

    /// A text, up to its NUL if it has one.
    fn text(&self, attribute: Attribute) -> Result<Option<Arc<str>>, Malformed> {
        let Some(value) = self.find(attribute) else { return Ok(None) };
        let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
        match str::from_utf8(&value[..end]) {
            Ok(text) => Ok(Some(text.into())),
            Err(_) => Err(wrong(attribute, Problem::Text)),
        }
    }

    fn nested(&self, attribute: Attribute) -> Result<Attributes<'a>, Malformed> {
        let value = self.find(attribute).ok_or(wrong(attribute, Problem::Missing))?;
        Attributes::read(attribute, value)
    }
}

fn wrong(Attribute(_, name): Attribute, problem: Problem) -> Malformed {
    Malformed { attribute: name, problem }
}
