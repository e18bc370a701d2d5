//! What a test wants of a Virtual Router, and the keepalived.conf that says it: one text for Steadfast and keepalived,
//! only the priority differs.

use std::fmt::Write;
use std::net::IpAddr;

/// A Virtual Router as a test wants it.
#[derive(Clone, Debug)]
pub struct Spec {
    /// 2 or 3.
    pub version: u8,
    /// IPv6 rather than IPv4.
    pub v6: bool,
    /// v2 with a simple password.
    pub pass: bool,
    /// v2 with IP Authentication Headers.
    pub ah: bool,
    /// With the virtual MAC.
    pub vmac: bool,
    /// From machine 0 to machine 1 and back, instead of to the group; see [`Spec::on`].
    pub unicast: bool,
    /// The advertisement interval in centiseconds.
    pub centiseconds: u32,
    /// Virtual Router Identifier.
    pub vrid: u8,
    /// Further lines of the instance.
    pub extra: String,
    /// Further lines of `global_defs`.
    pub globals: String,
}

impl Spec {
    /// Version 2 at 1 s.
    pub fn v2() -> Self {
        Self {
            version: 2,
            v6: false,
            pass: false,
            ah: false,
            vmac: false,
            unicast: false,
            centiseconds: 100,
            vrid: 51,
            extra: String::new(),
            globals: String::new(),
        }
    }

    /// Version 3 over IPv4 at an interval.
    pub fn v3(centiseconds: u32) -> Self {
        Self { version: 3, centiseconds, ..Self::v2() }
    }

    /// Version 3 over IPv6 at an interval.
    pub fn v6(centiseconds: u32) -> Self {
        Self { version: 3, v6: true, centiseconds, ..Self::v2() }
    }

    /// The same with another choice of virtual MAC.
    #[must_use]
    pub fn with_vmac(mut self, vmac: bool) -> Self {
        self.vmac = vmac;
        self
    }

    /// As it is on machine 0 or 1: where Advertisements go to the peer, each has another peer.
    #[must_use]
    pub fn on(&self, host: usize) -> Self {
        if !self.unicast {
            return self.clone();
        }
        let [own, peer] = [self.destination(1 - host), self.destination(host)];
        self.clone().with(&format!("unicast_src_ip {own}\nunicast_peer {{\n    {peer}\n}}"))
    }

    /// Where the Advertisements of machine 0 or 1 go.
    pub fn destination(&self, host: usize) -> IpAddr {
        let text = match (self.v6, self.unicast) {
            (false, false) => "224.0.0.18".into(),
            (true, false) => "ff02::12".into(),
            (false, true) => format!("10.9.0.{}", 2 - host),
            (true, true) => format!("fd09::{}", 2 - host),
        };
        text.parse().expect("an address")
    }

    /// The same with a line more in the instance.
    #[must_use]
    pub fn with(mut self, line: &str) -> Self {
        self.extra.push_str(line);
        self.extra.push('\n');
        self
    }

    /// A name for test lists: `v3-ipv6-vmac-0.1s`.
    pub fn name(&self) -> String {
        let kind = match (self.version, self.v6, self.pass) {
            _ if self.ah => "v2-ah",
            (2, _, true) => "v2-pass",
            (2, _, false) => "v2",
            (_, true, _) => "v3-ipv6",
            _ => "v3-ipv4",
        };
        let vmac = if self.vmac { "-vmac" } else { "" };
        let unicast = if self.unicast { "-unicast" } else { "" };
        format!("{kind}{vmac}{unicast}-{}s", f64::from(self.centiseconds) / 100.0)
    }

    /// The interval in milliseconds.
    pub fn interval_ms(&self) -> f64 {
        f64::from(self.centiseconds) * 10.0
    }

    /// Active_Down_Interval of a priority, in milliseconds (RFC 9568 section 6.1; RFC 3768's skew is the same at 1 s).
    pub fn down_ms(&self, priority: u8) -> f64 {
        3.0 * self.interval_ms() + self.skew_ms(priority)
    }

    /// Skew_Time of a priority, in milliseconds.
    pub fn skew_ms(&self, priority: u8) -> f64 {
        let of = if self.version == 2 { 1000.0 } else { self.interval_ms() };
        f64::from(256 - u16::from(priority)) * of / 256.0
    }

    /// The virtual address that clients use.
    pub fn vip(&self) -> IpAddr {
        if self.v6 { "fd09::64".parse() } else { "10.9.0.100".parse() }.expect("an address")
    }

    /// All virtual addresses with their prefix, the advertised first one first.
    pub fn addresses(&self) -> Vec<&'static str> {
        if self.v6 { vec!["fe80::64/64", "fd09::64/64"] } else { vec!["10.9.0.100/24"] }
    }

    /// The virtual MAC.
    pub fn virtual_mac(&self) -> [u8; 6] {
        super::frames::virtual_mac(self.v6, self.vrid)
    }

    /// The whole configuration file for a priority.
    pub fn text(&self, priority: u8) -> String {
        let mut text = format!("global_defs {{\n    router_id lab\n{}}}\n\n", indent(&self.globals));
        text.push_str(&self.instance("VI", self.vrid, priority, &self.addresses()));
        text
    }

    /// One `vrrp_instance`.
    pub fn instance(&self, name: &str, vrid: u8, priority: u8, addresses: &[&str]) -> String {
        let mut text = format!("vrrp_instance {name} {{\n    state BACKUP\n    interface eth0\n");
        let seconds = f64::from(self.centiseconds) / 100.0;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    virtual_router_id {vrid}\n    priority {priority}\n    advert_int {seconds}");
        let _ = writeln!(text, "    version {}", self.version);
        if self.pass {
            text.push_str("    authentication {\n        auth_type PASS\n        auth_pass s3cret\n    }\n");
        }
        if self.ah {
            text.push_str("    authentication {\n        auth_type AH\n        auth_pass s3cret\n    }\n");
        }
        if self.vmac {
            text.push_str("    use_vmac\n");
        }
        text.push_str(&indent(&self.extra));
        text.push_str("    virtual_ipaddress {\n");
        for address in addresses {
            let _ = writeln!(text, "        {address}");
        }
        text.push_str("    }\n}\n");
        text
    }
}

/// A text with replacements, one after the other; panics if there is nothing to replace.
#[track_caller]
pub fn edited(text: &str, edits: &[(&str, &str)]) -> String {
    edits.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "no `{from}` in {text}");
        text.replace(from, to)
    })
}

fn indent(lines: &str) -> String {
    lines.lines().map(|line| format!("    {line}\n")).collect()
}
