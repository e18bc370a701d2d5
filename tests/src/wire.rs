//! Advertisements for the wire tests, made without a line of the core: the captured vectors, and a builder
//! that can get every field wrong, with the simplest checksum arithmetic that can be written. Frames for the
//! laboratory are in [`crate::lab`].

pub mod samples;

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use serde_json::Value;
use steadfast_core::wire::Envelope;

/// One captured Advertisement, as `tests/vectors/SOURCES.md` describes it.
#[derive(Debug)]
pub struct Vector {
    /// Its line in the file, for messages.
    pub line: usize,
    /// Where it was captured.
    pub source: String,
    /// The whole Ethernet frame.
    pub frame: Vec<u8>,
    /// The VRRP message.
    pub vrrp: Vec<u8>,
    /// What its IP header says.
    pub envelope: Envelope,
    /// 2 or 3.
    pub version: u8,
    /// The VRID.
    pub vrid: u8,
    /// The priority, which may be 0.
    pub priority: u8,
    /// The interval in centiseconds.
    pub centiseconds: u16,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// Authentication type and data; version 2 only.
    pub authentication: Option<(u8, Vec<u8>)>,
    /// Whether the checksum fits over the message alone.
    pub plain: bool,
    /// Whether the checksum fits with the pseudo-header.
    pub pseudo: bool,
}

/// All captured Advertisements.
///
/// # Panics
///
/// If the file is not what `SOURCES.md` says.
pub fn vectors() -> Vec<Vector> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/advertisements.jsonl");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().enumerate().map(|(index, line)| vector(index + 1, line)).collect()
}

fn vector(line: usize, text: &str) -> Vector {
    let json: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("line {line}: {error}"));
    let string = |key: &str| json[key].as_str().unwrap_or_else(|| panic!("line {line}: {key}"));
    let number = |key: &str| json[key].as_u64().unwrap_or_else(|| panic!("line {line}: {key}"));
    let byte = |key: &str| u8::try_from(number(key)).unwrap();
    let address = |text: &str| text.parse::<IpAddr>().unwrap_or_else(|_| panic!("line {line}: {text}"));
    let strings = |key: &str| -> Vec<&str> {
        json[key].as_array().into_iter().flatten().map(|value| value.as_str().unwrap()).collect()
    };
    let flavours = strings("checksum_flavour");
    let version = byte("version");
    Vector {
        line,
        source: string("source").into(),
        frame: hex(string("frame")),
        vrrp: hex(string("vrrp")),
        envelope: Envelope {
            source: address(string("src")),
            destination: address(string("dst")),
            hop_limit: byte("ttl"),
        },
        version,
        vrid: byte("vrid"),
        priority: byte("priority"),
        centiseconds: match version {
            2 => u16::from(byte("adver_s")) * 100,
            _ => u16::try_from(number("max_adver_cs")).unwrap(),
        },
        addresses: strings("addrs").into_iter().map(address).collect(),
        authentication: (version == 2).then(|| (byte("auth_type"), hex(string("auth_data")))),
        plain: flavours.contains(&"plain"),
        pseudo: flavours.contains(&"pseudo"),
    }
}

/// The bytes that `text` says in hexadecimal.
///
/// # Panics
///
/// If it is not hexadecimal.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect()
}

/// The checksum that a [`Message`] gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// Right, over the message alone.
    Plain,
    /// Right, with the pseudo-header.
    Pseudo,
    /// This one.
    Literal(u16),
}

/// An Advertisement of which every field may be wrong.
#[derive(Clone, Debug)]
pub struct Message {
    /// Version in the upper four bits, type in the lower.
    pub first: u8,
    /// The VRID.
    pub vrid: u8,
    /// The priority.
    pub priority: u8,
    /// The count, if it shall not be the number of addresses.
    pub count: Option<u8>,
    /// Bytes 4 and 5: reserved bits and centiseconds, or authentication type and seconds.
    pub interval: u16,
    /// The checksum.
    pub seal: Seal,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// What follows the addresses: version 2's authentication data, or what does not belong there.
    pub trailer: Vec<u8>,
}

impl Message {
    /// A right one of version 2: VRID 1, priority 100, 1 s, no authentication.
    pub fn v2(addresses: &[IpAddr]) -> Self {
        Self { first: 0x21, interval: 1, seal: Seal::Plain, trailer: vec![0; 8], ..Self::v3(addresses) }
    }

    /// A right one of version 3: VRID 1, priority 100, 1 s, with the pseudo-header.
    pub fn v3(addresses: &[IpAddr]) -> Self {
        Self {
            first: 0x31,
            vrid: 1,
            priority: 100,
            count: None,
            interval: 100,
            seal: Seal::Pseudo,
            addresses: addresses.into(),
            trailer: Vec::new(),
        }
    }

    /// The bytes, sealed for this envelope.
    ///
    /// # Panics
    ///
    /// If there are more than 255 addresses and no count is given.
    pub fn bytes(&self, envelope: &Envelope) -> Vec<u8> {
        let count = self.count.unwrap_or_else(|| u8::try_from(self.addresses.len()).unwrap());
        let mut bytes = vec![self.first, self.vrid, self.priority, count];
        bytes.extend(self.interval.to_be_bytes());
        bytes.extend([0, 0]);
        for address in &self.addresses {
            bytes.extend(octets(*address));
        }
        bytes.extend(&self.trailer);
        let checksum = match self.seal {
            Seal::Plain => checksum(&bytes),
            Seal::Pseudo => checksum(&[pseudo(envelope, 112, bytes.len()), bytes.clone()].concat()),
            Seal::Literal(checksum) => checksum,
        };
        bytes[6..8].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }
}

/// The pseudo-header as bytes, in the layout of the family (RFC 793 section 3.1, RFC 8200 section 8.1).
///
/// # Panics
///
/// If the message is longer than IPv4 allows.
pub fn pseudo(envelope: &Envelope, protocol: u8, length: usize) -> Vec<u8> {
    let mut bytes = [octets(envelope.source), octets(envelope.destination)].concat();
    match envelope.source {
        IpAddr::V4(_) => {
            bytes.extend([0, protocol]);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        IpAddr::V6(_) => {
            bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
            bytes.extend([0, 0, 0, protocol]);
        }
    }
    bytes
}

/// The Internet checksum, one word at a time with the carry brought round at once.
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u16;
    for pair in bytes.chunks(2) {
        let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
        let (wrapped, carry) = sum.overflowing_add(word);
        sum = wrapped + u16::from(carry);
    }
    !sum
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().into(),
        IpAddr::V6(address) => address.octets().into(),
    }
}
