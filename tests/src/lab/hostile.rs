//! The hostile packets: every kind that `tests/netns_hostile.rs` throws at a pair, built byte by byte and independently
//! of the code under test, and the counter that has to name it.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Host;
use super::spec::Spec;

/// The addresses of a machine, as far as a forger needs them.
#[derive(Clone, Copy, Debug)]
pub struct Station {
    mac: [u8; 6],
    v4: Ipv4Addr,
    link_local: Ipv6Addr,
}

impl From<&Host> for Station {
    fn from(host: &Host) -> Self {
        Self { mac: host.mac, v4: host.v4, link_local: host.link_local }
    }
}

/// One kind of packet.
#[derive(Clone, Debug)]
pub struct Kind {
    /// Its name in test lists.
    pub name: &'static str,
    /// The counter that counts it; `None` where the kernel never delivers it.
    pub counter: Option<&'static str>,
    /// The whole Ethernet frame.
    pub frame: Vec<u8>,
}

/// A forged Advertisement: every field can be wrong.
#[derive(Clone, Debug)]
pub struct Forge {
    source_mac: [u8; 6],
    destination_mac: [u8; 6],
    source: [u8; 16],
    destination: [u8; 16],
    v6: bool,
    ttl: u8,
    options: Vec<u8>,
    fragment: u16,
    /// What stands in the first byte: version and type.
    pub version_type: u8,
    /// VRID.
    pub vrid: u8,
    /// Priority.
    pub priority: u8,
    /// Address count; `None` for the true one.
    pub count: Option<u8>,
    /// Bytes 4 and 5: authentication type and interval, or reserved bits and interval.
    pub word: u16,
    /// The addresses.
    pub addresses: Vec<u8>,
    /// What follows the addresses: the authentication data of version 2.
    pub trailer: Vec<u8>,
    /// Added to the right checksum.
    pub checksum_error: u16,
    /// Cut or lengthened to this payload length after the checksum was made.
    pub length: Option<usize>,
}

impl Forge {
    /// A valid Advertisement of `spec` from `from`.
    pub fn new(spec: &Spec, from: impl Into<Station>, priority: u8) -> Self {
        let from = from.into();
        let mut forge = Self {
            source_mac: from.mac,
            destination_mac: [1, 0, 0x5e, 0, 0, 18],
            source: v4(from.v4),
            destination: v4(Ipv4Addr::new(224, 0, 0, 18)),
            v6: spec.v6,
            ttl: 255,
            options: Vec::new(),
            fragment: 0,
            version_type: spec.version << 4 | 1,
            vrid: spec.vrid,
            priority,
            count: None,
            word: if spec.version == 2 { (spec.centiseconds / 100) as u16 } else { spec.centiseconds as u16 },
            addresses: Vec::new(),
            trailer: if spec.version == 2 { vec![0; 8] } else { Vec::new() },
            checksum_error: 0,
            length: None,
        };
        if spec.v6 {
            forge.destination_mac = [0x33, 0x33, 0, 0, 0, 0x12];
            forge.source = from.link_local.octets();
            forge.destination = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12).octets();
        }
        if spec.pass {
            forge.word |= 0x100;
            forge.trailer = b"s3cret\0\0".to_vec();
        }
        for address in spec.addresses() {
            forge.add_address(address.split('/').next().unwrap_or(address));
        }
        forge
    }

    fn add_address(&mut self, text: &str) {
        match text.parse() {
            Ok(std::net::IpAddr::V4(address)) => self.addresses.extend(address.octets()),
            Ok(std::net::IpAddr::V6(address)) => self.addresses.extend(address.octets()),
            Err(error) => panic!("{text}: {error}"),
        }
    }

    /// The same with a change.
    #[must_use]
    pub fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The whole frame.
    pub fn frame(&self) -> Vec<u8> {
        let size = if self.v6 { 16 } else { 4 };
        let count = self.count.unwrap_or((self.addresses.len() / size) as u8);
        let mut payload = vec![self.version_type, self.vrid, self.priority, count];
        payload.extend(self.word.to_be_bytes());
        payload.extend([0, 0]);
        payload.extend(&self.addresses);
        payload.extend(&self.trailer);
        let length = (payload.len() as u16).to_be_bytes();
        let sum = if self.version_type >> 4 == 2 {
            checksum(&[&payload])
        } else if self.v6 {
            checksum(&[&self.source, &self.destination, &length, &[0, 112], &payload])
        } else {
            checksum(&[&self.source[..4], &self.destination[..4], &[0, 112], &length, &payload])
        };
        payload[6..8].copy_from_slice(&sum.wrapping_add(self.checksum_error).to_be_bytes());
        if let Some(length) = self.length {
            payload.resize(length, 0xa5);
        }
        let mut frame = Vec::new();
        frame.extend(self.destination_mac);
        frame.extend(self.source_mac);
        if self.v6 {
            frame.extend([0x86, 0xdd, 0x6c, 0, 0, 0]);
            frame.extend((payload.len() as u16).to_be_bytes());
            frame.extend([112, self.ttl]);
            frame.extend(self.source);
            frame.extend(self.destination);
        } else {
            frame.extend([8, 0]);
            frame.extend(self.ipv4_header(payload.len()));
        }
        frame.extend(payload);
        frame
    }

    fn ipv4_header(&self, payload: usize) -> Vec<u8> {
        let header = 20 + self.options.len();
        let mut bytes = vec![0x40 | (header / 4) as u8, 0xc0];
        bytes.extend(((header + payload) as u16).to_be_bytes());
        bytes.extend([0x12, 0x34]);
        bytes.extend(self.fragment.to_be_bytes());
        bytes.extend([self.ttl, 112, 0, 0]);
        bytes.extend(&self.source[..4]);
        bytes.extend(&self.destination[..4]);
        bytes.extend(&self.options);
        let sum = checksum(&[&bytes]);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

/// RFC 1071 over even-length parts, the last may be odd.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn v4(address: Ipv4Addr) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&address.octets());
    bytes
}

/// A priority that would depose the Active if the packet were accepted.
const DEPOSES: u8 = 254;
/// The priority of packets that are valid: too low to change who is Active.
const VALID: u8 = 20;

/// Every kind for a pair that runs `spec`; `attacker` sends, `active` is the machine that holds the addresses.
pub fn kinds(spec: &Spec, attacker: impl Into<Station>, active: impl Into<Station>) -> Vec<Kind> {
    let (attacker, active) = (attacker.into(), active.into());
    let base = Forge::new(spec, attacker, DEPOSES);
    let valid = Forge::new(spec, attacker, VALID);
    let nobody = Station {
        mac: active.mac,
        v4: Ipv4Addr::new(10, 9, 0, 99),
        link_local: "fe80::99".parse().expect("an address"),
    };
    let kind = |name, counter, forge: Forge| Kind { name, counter, frame: forge.frame() };
    let mut all = vec![
        kind("ttl-254", Some("ip-ttl-errors"), base.clone().but(|f| f.ttl = 254)),
        kind("bad-checksum", Some("checksum-errors"), base.clone().but(|f| f.checksum_error = 0x1111)),
        kind("version-7", Some("version-errors"), base.clone().but(|f| f.version_type = 0x71)),
        kind("type-2", Some("invalid-type-pkts-rcvd"), base.clone().but(|f| f.version_type = spec.version << 4 | 2)),
        kind("payload-of-4-bytes", Some("packet-length-errors"), base.clone().but(|f| f.length = Some(4))),
        kind("payload-of-0-bytes", Some("steadfast-unattributed-errors"), base.clone().but(|f| f.length = Some(0))),
        kind("count-255", Some("packet-length-errors"), base.clone().but(|f| f.count = Some(255))),
        kind("count-0", Some("steadfast-address-count-errors"), base.clone().but(|f| f.addresses.clear())),
        kind("unknown-vrid", Some("vrid-errors"), base.clone().but(|f| f.vrid = 77)),
        kind("vrid-0", Some("vrid-errors"), base.clone().but(|f| f.vrid = 0)),
        kind("trailing-1200-bytes", Some("packet-length-errors"), base.clone().but(|f| f.length = Some(1220))),
        kind("unicast", Some("steadfast-destination-errors"), base.clone().but(|f| to(f, active))),
        kind("foreign-unicast", None, base.clone().but(|f| to(f, nobody))),
        kind(
            "own-source",
            None,
            base.clone().but(|f| f.source = if f.v6 { active.link_local.octets() } else { v4(active.v4) }),
        ),
        kind("other-address-list", Some("address-list-errors"), valid.clone().but(other_addresses)),
    ];
    if !spec.v6 {
        // Router alert, and no-operations: legal, and a longer header.
        let options = vec![0x94, 4, 0, 0, 1, 1, 1, 0];
        all.push(kind("ip-options", Some("advertisement-rcvd"), valid.clone().but(|f| f.options = options)));
        all.push(kind("fragment", None, base.clone().but(|f| f.fragment = 0x2000)));
    }
    if spec.version == 2 {
        let version_3 = Spec { version: 3, ..spec.clone() };
        let version_3 = Forge::new(&version_3, attacker, DEPOSES);
        all.extend([
            kind("version-3-to-version-2", Some("version-errors"), version_3),
            kind("interval-5", Some("interval-errors"), base.clone().but(|f| f.word = 5)),
            kind("auth-type-9", Some("invalid-auth-type"), base.clone().but(|f| f.word = 0x901)),
            // The other of the two known types.
            kind("auth-type-other", Some("auth-type-mismatch"), base.clone().but(|f| f.word ^= 0x100)),
        ]);
        if spec.pass {
            let wrong = base.clone().but(|f| f.trailer = b"s3cres\0\0".to_vec());
            all.push(kind("wrong-password", Some("auth-failures"), wrong));
        }
    } else {
        let truncated = 8 + base.addresses.len() - 2;
        all.extend([
            kind("interval-0", Some("interval-errors"), base.clone().but(|f| f.word = 0)),
            kind("reserved-bits", Some("advertisement-rcvd"), valid.clone().but(|f| f.word |= 0xf000)),
            kind("version-2-trailer", Some("packet-length-errors"), base.clone().but(|f| f.trailer = vec![0; 8])),
            kind("truncated-address", Some("packet-length-errors"), base.clone().but(|f| f.length = Some(truncated))),
        ]);
    }
    if spec.v6 {
        all.push(kind(
            "first-address-global",
            Some("steadfast-first-address-errors"),
            valid.clone().but(|f| {
                f.addresses.clear();
                f.add_address("fd09::64");
                f.add_address("fe80::64");
            }),
        ));
    }
    all
}

/// The names of all kinds for `spec`; for listing tests before there are machines.
pub fn names(spec: &Spec) -> Vec<&'static str> {
    let nobody = Station { mac: [0; 6], v4: Ipv4Addr::UNSPECIFIED, link_local: Ipv6Addr::UNSPECIFIED };
    kinds(spec, nobody, nobody).into_iter().map(|kind| kind.name).collect()
}

fn to(forge: &mut Forge, host: Station) {
    forge.destination_mac = host.mac;
    forge.destination = if forge.v6 { host.link_local.octets() } else { v4(host.v4) };
}

fn other_addresses(forge: &mut Forge) {
    forge.addresses.clear();
    forge.add_address(if forge.v6 { "fe80::77" } else { "10.9.0.177" });
}

/// A stream of valid Advertisements of a lower priority.
pub fn lower_priority(spec: &Spec, attacker: impl Into<Station>) -> Vec<u8> {
    Forge::new(spec, attacker, VALID).frame()
}
