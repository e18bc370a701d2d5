//! `virtual_server_group`: addresses, ranges and marks that share their real servers. A range stays a range until a
//! virtual server uses it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use steadfast_core::config::statement::Statement;
use steadfast_core::config::{Message, Place, value};
use steadfast_core::types::Family;

use crate::grammar::reader::{Reader, port};

/// A group.
#[derive(Debug)]
pub(super) struct Group {
    /// Where it stands.
    pub(super) place: Place,
    /// In the order of the file.
    pub(super) entries: Vec<Entry>,
    /// Whether an entry is wrong; then no virtual server can use it.
    pub(super) has_errors: bool,
}

/// An entry of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) what: What,
}

/// What an entry stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// All addresses from the first to the last, of one family.
    Addresses { first: IpAddr, last: IpAddr, port: u16 },
    /// A mark, and of which packets if that is said.
    Mark { mark: u32, family: Option<Family> },
}

impl What {
    /// How many services it stands for.
    pub(super) fn count(&self) -> u128 {
        match *self {
            Self::Mark { .. } => 1,
            Self::Addresses { first, last, .. } => bits(last).saturating_sub(bits(first)).saturating_add(1),
        }
    }
}

impl Group {
    /// Reads a group, with its name.
    pub(super) fn read(statement: &Statement<'_>, reader: &mut Reader<'_>) -> Option<(String, Self)> {
        let name = reader.text(statement, "a name")?;
        let mut group = Self { place: statement.keyword.place, entries: Vec::new(), has_errors: !statement.closed };
        reader.entries(statement, "a block of addresses, { to }", |entry, reader| {
            let what = if entry.keyword.text == "fwmark" { mark(entry, reader) } else { addresses(entry, reader) };
            match what {
                Some(what) => group.entries.push(Entry { place: entry.keyword.place, what }),
                None => group.has_errors = true,
            }
        });
        Some((name, group))
    }
}

/// `fwmark NUMBER [inet|inet6]`
fn mark(statement: &Statement<'_>, reader: &mut Reader<'_>) -> Option<What> {
    let keyword = "fwmark";
    let mut words = statement.words;
    let Some(word) = words.next() else {
        reader.error(statement.keyword.place, Message::MissingValue { keyword, expected: MARK });
        return None;
    };
    let Some(mark) = value::number(word.text, 1..=u32::MAX) else {
        reader.error(word.place, Message::WrongValue { keyword, value: word.text, expected: MARK });
        return None;
    };
    let mut family = None;
    if let Some(word) = words.next() {
        family = self::family(word.text);
        if family.is_none() {
            let message = Message::WrongValue { keyword, value: word.text, expected: "inet or inet6 after the mark" };
            reader.error(word.place, message);
            return None;
        }
    }
    reader.no_more(statement, words);
    Some(What::Mark { mark, family })
}

/// What a mark may be.
pub(super) const MARK: &str = "a number from 1 to 4294967295";

/// `inet`, `inet6`.
pub(super) fn family(text: &str) -> Option<Family> {
    match text {
        "inet" => Some(Family::V4),
        "inet6" => Some(Family::V6),
        _ => None,
    }
}

/// `ADDRESS[-LAST|/LENGTH] [PORT]`
fn addresses(statement: &Statement<'_>, reader: &mut Reader<'_>) -> Option<What> {
    let keyword = "virtual_server_group";
    let word = statement.keyword;
    let Some((first, last)) = range(word.text) else {
        let expected = "an address, FIRST-LAST, ADDRESS/LENGTH or fwmark";
        reader.error(word.place, Message::WrongValue { keyword, value: word.text, expected });
        return None;
    };
    let mut words = statement.words;
    let number = match words.next() {
        None => 0,
        Some(word) => match port(word.text) {
            Some(port) => port,
            None => {
                let expected = "a port from 1 to 65535";
                reader.error(word.place, Message::WrongValue { keyword, value: word.text, expected });
                return None;
            }
        },
    };
    reader.no_more(statement, words);
    Some(What::Addresses { first, last, port: number })
}

/// The ends of `192.0.2.1`, `192.0.2.1-10`, `192.0.2.250-192.0.3.10`, `192.0.2.8/29` and their like of IPv6, where the
/// number after `-` is the last group, in hexadecimal digits.
fn range(text: &str) -> Option<(IpAddr, IpAddr)> {
    let (first, last) = if let Some((first, last)) = text.split_once('-') {
        let first = value::address(first)?;
        (first, value::address(last).or_else(|| with_end(first, last))?)
    } else {
        let (address, length) = value::prefix(text)?;
        match length {
            None => (address, address),
            Some(length) => network(address, length.ok()?),
        }
    };
    (first.is_ipv4() == last.is_ipv4() && bits(first) <= bits(last)).then_some((first, last))
}

/// An address with another end.
fn with_end(address: IpAddr, end: &str) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            let end = value::number(end, 0..=255).and_then(|number| u8::try_from(number).ok())?;
            Some(Ipv4Addr::new(a, b, c, end).into())
        }
        IpAddr::V6(address) => {
            let plain = !end.is_empty() && end.len() <= 4 && end.bytes().all(|byte| byte.is_ascii_hexdigit());
            let end = plain.then(|| u16::from_str_radix(end, 16).ok()).flatten()?;
            Some(Ipv6Addr::from_bits(address.to_bits() & !0xffff | u128::from(end)).into())
        }
    }
}

/// The first and the last address of a network.
fn network(address: IpAddr, length: u8) -> (IpAddr, IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let host = u32::MAX.checked_shr(length.into()).unwrap_or(0);
            let low = address.to_bits() & !host;
            (Ipv4Addr::from_bits(low).into(), Ipv4Addr::from_bits(low | host).into())
        }
        IpAddr::V6(address) => {
            let host = u128::MAX.checked_shr(length.into()).unwrap_or(0);
            let low = address.to_bits() & !host;
            (Ipv6Addr::from_bits(low).into(), Ipv6Addr::from_bits(low | host).into())
        }
    }
}

/// The addresses from one to another, both included.
pub(super) fn between(first: IpAddr, last: IpAddr) -> impl Iterator<Item = IpAddr> {
    (bits(first)..=bits(last)).filter_map(move |bits| match first {
        IpAddr::V4(_) => u32::try_from(bits).ok().map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(_) => Some(Ipv6Addr::from_bits(bits).into()),
    })
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(text: &str) -> Option<(String, String)> {
        range(text).map(|(first, last)| (first.to_string(), last.to_string()))
    }

    #[test]
    fn ranges() {
        let pair = |first: &str, last: &str| Some((first.to_owned(), last.to_owned()));
        assert_eq!(ends("192.0.2.1"), pair("192.0.2.1", "192.0.2.1"));
        assert_eq!(ends("192.0.2.1-10"), pair("192.0.2.1", "192.0.2.10"));
        assert_eq!(ends("192.0.2.250-192.0.3.10"), pair("192.0.2.250", "192.0.3.10"));
        assert_eq!(ends("192.0.2.9/29"), pair("192.0.2.8", "192.0.2.15"));
        assert_eq!(ends("2001:db8::1-ff"), pair("2001:db8::1", "2001:db8::ff"));
        assert_eq!(ends("2001:db8::/126"), pair("2001:db8::", "2001:db8::3"));
        for wrong in ["192.0.2.10-1", "192.0.2.1-256", "192.0.2.1-2001:db8::1", "192.0.2.1/33", "::1-+1", "x", "-"] {
            assert_eq!(ends(wrong), None, "{wrong}");
        }
        let what =
            What::Addresses { first: "::".parse().unwrap(), last: Ipv6Addr::from_bits(u128::MAX).into(), port: 0 };
        assert_eq!(what.count(), u128::MAX);
    }
}
