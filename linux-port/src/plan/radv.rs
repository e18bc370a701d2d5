//! `router_advertisements` in a `vrrp_instance`: what the Active of an IPv6 Virtual Router tells its hosts. What is wrong
//! costs a warning and that one value, never the instance.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use steadfast_core::config::diagnostic::Used;
use steadfast_core::config::keywords::Vocabulary;
use steadfast_core::config::statement::{Statement, Word};
use steadfast_core::config::{Message, value};
use steadfast_core::time::Duration;

use super::PlannedRouter;
use crate::grammar::reader::Reader;

/// The most prefixes, and the most name servers, of one router.
const MOST: usize = 16;

/// For ever, as a lifetime.
const FOREVER: u32 = u32::MAX;

/// What a router advertises. The defaults are those of RFC 4861 section 6.2.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterAdvertisements {
    /// MaxRtrAdvInterval.
    pub interval: Duration,
    /// AdvDefaultLifetime in seconds; 0: no default router.
    pub lifetime: u16,
    /// AdvCurHopLimit; 0: unspecified.
    pub hop_limit: u8,
    /// Addresses are to be had by DHCPv6.
    pub managed: bool,
    /// Other things are to be had by DHCPv6.
    pub other: bool,
    /// AdvLinkMTU.
    pub mtu: Option<u32>,
    /// The prefixes of the link.
    pub prefixes: Vec<Prefix>,
    /// Name servers (RFC 8106).
    pub dns: Vec<Ipv6Addr>,
}

/// A prefix of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Its bits; the others are 0.
    pub address: Ipv6Addr,
    /// How many they are.
    pub length: u8,
    /// How long it is valid, in seconds.
    pub valid: u32,
    /// How long addresses of it are preferred, in seconds.
    pub preferred: u32,
    /// Its addresses are on this link.
    pub on_link: bool,
    /// Hosts may make themselves addresses of it.
    pub autonomous: bool,
}

impl Default for RouterAdvertisements {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(600),
            lifetime: 1800,
            hop_limit: 64,
            managed: false,
            other: false,
            mtu: None,
            prefixes: Vec::new(),
            dns: Vec::new(),
        }
    }
}

impl RouterAdvertisements {
    /// How long the name servers hold, in seconds (RFC 8106 section 5.1).
    pub fn dns_lifetime(&self) -> u32 {
        u32::try_from(self.interval.as_micros() / 1_000_000).unwrap_or(FOREVER).saturating_mul(3)
    }
}

/// Gives the routers of a file what their instances want to be advertised.
pub(super) fn read(statements: &[Statement<'_>], routers: &mut [Arc<PlannedRouter>], reader: &mut Reader<'_>) {
    let mut at: HashMap<String, usize> = HashMap::new();
    for (number, router) in routers.iter().enumerate() {
        at.insert(router.name.clone(), number);
    }
    for statement in statements.iter().filter(|statement| statement.keyword.text == "vrrp_instance") {
        let Some(mut body) = statement.body else { continue };
        let name = statement.words.clone().next().map_or("", |word| word.text);
        // Once only: the second of a name is left out.
        let Some(router) = at.remove(name).and_then(|number| routers.get_mut(number)) else { continue };
        // What is wrong with the block itself has been said.
        while let Some(entry) = body.next(&mut |_| {}) {
            if entry.keyword.text != "router_advertisements" {
                continue;
            }
            let what = block(&entry, reader);
            let first = router.addresses.first().map(|planned| planned.address);
            if matches!(first, Some(IpAddr::V6(first)) if first.is_unicast_link_local()) {
                Arc::make_mut(router).router_advertisements = what.map(Arc::new);
            } else {
                let because = "the first virtual address is no IPv6 link-local one, from which they could come";
                reader.no_effect(entry.keyword.place, "router_advertisements", because);
            }
        }
    }
}

fn block(statement: &Statement<'_>, reader: &mut Reader<'_>) -> Option<RouterAdvertisements> {
    let mut what = RouterAdvertisements::default();
    let mut lifetime = None;
    reader.no_more(statement, statement.words);
    let there = reader.block(statement, Vocabulary::RouterAdvertisements, |keyword, entry, reader| match keyword {
        "interval" => {
            let interval = reader.number(entry, "seconds from 4 to 1800", 4..=1800);
            what.interval = interval.map_or(what.interval, |seconds| Duration::from_secs(seconds.into()));
        }
        "lifetime" => {
            let parse = |text| value::number(text, 0..=9000).and_then(|number| u16::try_from(number).ok());
            lifetime = reader
                .defaulted(entry, "seconds from 0 to 9000", Used::Nothing, parse)
                .map(|read| (entry.keyword, read));
        }
        "hop_limit" => {
            let parse = |text| value::number(text, 0..=255).and_then(|number| u8::try_from(number).ok());
            what.hop_limit = reader.defaulted(entry, "a number from 0 to 255", Used::Number(64), parse).unwrap_or(64);
        }
        "managed" => what.managed = reader.flag(entry),
        "other" => what.other = reader.flag(entry),
        "mtu" => what.mtu = reader.number(entry, "bytes from 1280 to 65535", 1280..=65535),
        "prefix" => {
            let read = prefix(entry, reader);
            if what.prefixes.len() < MOST {
                what.prefixes.extend(read);
            } else {
                reader.no_effect(entry.keyword.place, "prefix", "there are 16 already");
            }
        }
        "dns" => {
            let parse = |text| match value::address(text) {
                Some(IpAddr::V6(server)) => Some(server),
                _ => None,
            };
            let read = reader.defaulted(entry, "an IPv6 address", Used::Nothing, parse);
            if what.dns.len() < MOST {
                what.dns.extend(read);
            } else {
                reader.no_effect(entry.keyword.place, "dns", "there are 16 already");
            }
        }
        // The table says that we act upon it, so there is an arm for it; see the tests.
        _ => reader.warning(entry.keyword.place, Message::NotYet { keyword }),
    });
    let interval = u16::try_from(what.interval.as_micros() / 1_000_000).unwrap_or(u16::MAX);
    what.lifetime = interval.saturating_mul(3);
    if let Some((word, read)) = lifetime {
        if read == 0 || read >= interval {
            what.lifetime = read;
        } else {
            reader.no_effect(word.place, "lifetime", "it is shorter than the interval");
        }
    }
    there.then_some(what)
}

/// `prefix ADDRESS/LENGTH [valid SECONDS] [preferred SECONDS] [off_link] [not_autonomous]`
fn prefix(statement: &Statement<'_>, reader: &mut Reader<'_>) -> Option<Prefix> {
    const EXPECTED: &str = "an IPv6 prefix, ADDRESS/LENGTH";
    let mut words = statement.words;
    let Some(first) = words.next() else {
        reader.warning(statement.keyword.place, Message::MissingValue { keyword: "prefix", expected: EXPECTED });
        return None;
    };
    let Some((IpAddr::V6(address), Some(Ok(length)))) = value::prefix(first.text) else {
        return wrong(first, EXPECTED, reader);
    };
    let mask = u128::MAX.checked_shl(u32::from(128_u8.saturating_sub(length))).unwrap_or(0);
    let mut prefix = Prefix {
        address: Ipv6Addr::from_bits(address.to_bits() & mask),
        length,
        valid: 2_592_000,
        preferred: 604_800,
        on_link: true,
        autonomous: true,
    };
    while let Some(word) = words.next() {
        match word.text {
            "valid" => prefix.valid = lifetime(word, words.next(), reader).unwrap_or(prefix.valid),
            "preferred" => prefix.preferred = lifetime(word, words.next(), reader).unwrap_or(prefix.preferred),
            "off_link" => prefix.on_link = false,
            "not_autonomous" => prefix.autonomous = false,
            other => reader.warning(word.place, Message::UnknownOption { word: other }),
        }
    }
    if prefix.preferred > prefix.valid {
        // RFC 4862 section 5.5.3: hosts would ignore it.
        prefix.preferred = prefix.valid;
    }
    Some(prefix)
}

fn lifetime(option: Word<'_>, word: Option<Word<'_>>, reader: &mut Reader<'_>) -> Option<u32> {
    let word = word.unwrap_or(Word { text: "", ..option });
    match word.text {
        "forever" => Some(FOREVER),
        text => value::number(text, 0..=FOREVER).or_else(|| wrong(word, "seconds or `forever`", reader)),
    }
}

fn wrong<T>(word: Word<'_>, expected: &'static str, reader: &mut Reader<'_>) -> Option<T> {
    let message = Message::Substituted { keyword: "prefix", value: word.text, expected, used: Used::Nothing };
    reader.warning(word.place, message);
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::check::Findings;

    /// What an instance with this block advertises, and what is said about the file.
    fn read(address: &str, block: &str) -> (Option<Arc<RouterAdvertisements>>, Vec<String>) {
        let text = format!(
            "vrrp_instance V {{\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {{\n{address}\n}}\n\
             router_advertisements {{\n{block}\n}}\n}}\n"
        );
        let mut findings = Findings::new(Path::new("f"));
        let plan = crate::plan::parse(text.as_bytes(), &mut findings).unwrap();
        (plan.routers[0].router_advertisements.clone(), findings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn rfc4861_6_2_1_defaults() {
        let (what, said) = read("fe80::64", "");
        assert_eq!((what.as_deref(), said.len()), (Some(&RouterAdvertisements::default()), 0), "{said:?}");
        let (what, _) = read("fe80::64", "interval 30\nprefix 2001:db8::5/64\ndns 2001:db8::53");
        let what = what.unwrap();
        assert_eq!((what.lifetime, what.dns_lifetime()), (90, 90));
        let prefix = what.prefixes[0];
        assert_eq!((prefix.address.to_string().as_str(), prefix.length), ("2001:db8::", 64));
        assert_eq!((prefix.valid, prefix.preferred), (2_592_000, 604_800));
        assert!(prefix.on_link && prefix.autonomous);
    }

    #[test]
    fn every_keyword_is_acted_upon() {
        let block = "interval 10\nlifetime 0\nhop_limit 0\nmanaged\nother\nmtu 1400\n\
                     prefix ::/0 valid forever preferred 5 off_link not_autonomous\ndns ::1";
        let (what, said) = read("fe80::64", block);
        assert_eq!(said, [""; 0]);
        let expected = RouterAdvertisements {
            interval: Duration::from_secs(10),
            lifetime: 0,
            hop_limit: 0,
            managed: true,
            other: true,
            mtu: Some(1400),
            prefixes: vec![Prefix {
                address: Ipv6Addr::UNSPECIFIED,
                length: 0,
                valid: u32::MAX,
                preferred: 5,
                on_link: false,
                autonomous: false,
            }],
            dns: vec![Ipv6Addr::LOCALHOST],
        };
        assert_eq!(what.as_deref(), Some(&expected));
        for keyword in Vocabulary::RouterAdvertisements.keywords() {
            assert!(block.contains(keyword.name), "{}", keyword.name);
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_costs_nothing_else() {
        let wrong =
            ["interval 3", "lifetime 10", "hop_limit 256", "mtu 1279", "prefix 10.0.0.0/8", "prefix 2001:db8::"];
        for line in
            wrong.into_iter().chain(["prefix", "dns 192.0.2.1", "prefix ::/64 valid x", "prefix ::/64 y", "rdnss ::1"])
        {
            let (what, said) = read("fe80::64", &format!("managed\n{line}"));
            assert!(what.unwrap().managed, "{line}");
            assert_eq!(said.len(), 1, "{line}: {said:?}");
            assert!(said[0].contains(":9:") && said[0].contains("warning"), "{said:?}");
        }
        let many = "prefix 2001:db8::/64\ndns ::1\n".repeat(17);
        let (what, said) = read("fe80::64", &many);
        let what = what.unwrap();
        assert_eq!((what.prefixes.len(), what.dns.len(), said.len()), (16, 16, 2));
        for address in ["192.0.2.1", "2001:db8::1"] {
            let (what, said) = read(address, "");
            assert_eq!(what, None);
            assert!(said.iter().any(|finding| finding.contains("`router_advertisements` has no effect")), "{said:?}");
        }
    }
}
