//! The values of keywords: numbers, times, switches, addresses, names; and the sentences for those that
//! are missing or wrong. Public for the grammars of ports, which read other blocks of the same file.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::RangeInclusive;

use super::diagnostic::{Diagnostic, Message, Severity, Used};
use super::lexer::Place;
use super::statement::{Statement, Word};
use crate::time::Duration;
use crate::types::MacAddr;

/// Where the diagnostics of one block go; remembers whether one of them was an error.
pub struct Log<'r, 'a> {
    report: &'r mut dyn FnMut(Diagnostic<'a>),
    errors: bool,
}

impl<'r, 'a> Log<'r, 'a> {
    /// Reports go to `report`.
    pub fn new(report: &'r mut dyn FnMut(Diagnostic<'a>)) -> Self {
        Self { report, errors: false }
    }

    /// Whether an error was reported.
    pub fn has_errors(&self) -> bool {
        self.errors
    }

    /// Reports a diagnostic.
    pub fn add(&mut self, diagnostic: Diagnostic<'a>) {
        self.errors |= diagnostic.severity == Severity::Error;
        (self.report)(diagnostic);
    }

    /// Reports an error.
    pub fn error(&mut self, place: Place, message: Message<'a>) {
        self.add(Diagnostic { place, severity: Severity::Error, message });
    }

    /// Reports a warning.
    pub fn warning(&mut self, place: Place, message: Message<'a>) {
        self.add(Diagnostic { place, severity: Severity::Warning, message });
    }

    /// Reports a notice.
    pub fn notice(&mut self, place: Place, message: Message<'a>) {
        self.add(Diagnostic { place, severity: Severity::Notice, message });
    }
}

/// Says that the words left over have no effect.
pub fn no_more<'a>(statement: &Statement<'a>, mut words: impl Iterator<Item = Word<'a>>, log: &mut Log<'_, 'a>) {
    if let Some(extra) = words.next() {
        log.warning(extra.place, Message::Extra { keyword: statement.keyword.text, word: extra.text });
    }
}

/// The one value of a keyword that cannot do without: an error if it is missing or wrong.
pub fn required<'a, T>(
    statement: &Statement<'a>,
    expected: &'static str,
    parse: impl FnOnce(&'a str) -> Option<T>,
    log: &mut Log<'_, 'a>,
) -> Option<T> {
    let word = only(statement, Severity::Error, expected, log)?;
    let value = parse(word.text);
    if value.is_none() {
        wrong(statement, word, expected, None, log);
    }
    value
}

/// The one value of a keyword that has a default: a warning if it is missing or wrong, and `used` tells
/// what the default is.
pub fn defaulted<'a, T>(
    statement: &Statement<'a>,
    expected: &'static str,
    used: Used<'static>,
    parse: impl FnOnce(&'a str) -> Option<T>,
    log: &mut Log<'_, 'a>,
) -> Option<T> {
    let word = only(statement, Severity::Warning, expected, log)?;
    let value = parse(word.text);
    if value.is_none() {
        wrong(statement, word, expected, Some(used), log);
    }
    value
}

/// The one word behind a keyword. Apart, as is the next one: they are wanted for every type that a value can have.
#[inline(never)]
fn only<'a>(
    statement: &Statement<'a>,
    severity: Severity,
    expected: &'static str,
    log: &mut Log<'_, 'a>,
) -> Option<Word<'a>> {
    let Word { text: keyword, place } = statement.keyword;
    let mut words = statement.words;
    let word = words.next();
    match word {
        None => log.add(Diagnostic { place, severity, message: Message::MissingValue { keyword, expected } }),
        Some(_) => no_more(statement, words, log),
    }
    word
}

/// Reports a word that is no value of its keyword.
#[inline(never)]
fn wrong<'a>(
    statement: &Statement<'a>,
    word: Word<'a>,
    expected: &'static str,
    used: Option<Used<'static>>,
    log: &mut Log<'_, 'a>,
) {
    let Word { text: value, place } = word;
    let keyword = statement.keyword.text;
    match used {
        None => log.error(place, Message::WrongValue { keyword, value, expected }),
        Some(used) => log.warning(place, Message::Substituted { keyword, value, expected, used }),
    }
}

/// A keyword that switches something on, and may say `off`.
pub fn switch<'a>(statement: &Statement<'a>, log: &mut Log<'_, 'a>) -> Option<bool> {
    if statement.words.clone().next().is_none() {
        return Some(true);
    }
    defaulted(statement, "on, off, true, false, yes or no", Used::Nothing, boolean, log)
}

/// A keyword without a value.
pub fn flag<'a>(statement: &Statement<'a>, log: &mut Log<'_, 'a>) -> bool {
    no_more(statement, statement.words, log);
    true
}

/// The text before and after the first `separator`, an ASCII character. Unlike `split_once` it has no
/// panic inside that the linker would have to keep.
pub(super) fn split(text: &str, separator: u8) -> (&str, Option<&str>) {
    let mut position = 0_usize;
    for byte in text.bytes() {
        let after = position.saturating_add(1);
        if byte == separator {
            return (text.get(..position).unwrap_or(""), text.get(after..));
        }
        position = after;
    }
    (text, None)
}

/// A number of decimal digits alone; `None` also if it is too large.
fn digits(text: &str) -> Option<u64> {
    let mut number = (!text.is_empty()).then_some(0_u64)?;
    for byte in text.bytes() {
        number = number.checked_mul(10)?.checked_add(u64::from(digit(byte, 10)?))?;
    }
    Some(number)
}

/// The value of a digit; no byte of a longer character is one.
fn digit(byte: u8, radix: u32) -> Option<u32> {
    char::from(byte).to_digit(radix)
}

/// A whole number within `range`.
pub fn number(text: &str, range: RangeInclusive<u32>) -> Option<u32> {
    u32::try_from(digits(text)?).ok().filter(|number| range.contains(number))
}

/// A whole number from `least` to 255.
pub(super) fn small(text: &str, least: u8) -> Option<u8> {
    u8::try_from(digits(text)?).ok().filter(|number| *number >= least)
}

/// A time in seconds with decimals, in microseconds; what is finer is cut.
pub fn micros(text: &str) -> Option<u64> {
    let (seconds, decimals) = split(text, b'.');
    let seconds = match (seconds, decimals) {
        ("", None | Some("")) => return None,
        ("", Some(_)) => 0,
        (seconds, _) => digits(seconds)?,
    };
    let mut micros = seconds.checked_mul(1_000_000)?;
    let mut unit = 100_000_u64;
    for byte in decimals.unwrap_or("").bytes() {
        micros = micros.checked_add(u64::from(digit(byte, 10)?).saturating_mul(unit))?;
        unit /= 10;
    }
    Some(micros)
}

/// A time in seconds with decimals, of at most `most` seconds.
pub fn seconds(text: &str, most: u32) -> Option<Duration> {
    let micros = micros(text)?;
    (micros <= u64::from(most).saturating_mul(1_000_000)).then(|| Duration::from_micros(micros))
}

/// A time in whole seconds.
pub fn whole_seconds(text: &str, most: u32) -> Option<Duration> {
    number(text, 0..=most).map(|seconds| Duration::from_secs(u64::from(seconds)))
}

/// on, off, true, false, yes, no.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "on" | "true" | "yes" => Some(true),
        "off" | "false" | "no" => Some(false),
        _ => None,
    }
}

/// An address.
pub fn address(text: &str) -> Option<IpAddr> {
    let v4 = address_v4(text).map(IpAddr::V4);
    v4.or_else(|| address_v6(text).map(IpAddr::V6))
}

/// An IPv4 address: four decimal numbers, without leading zeros, which some take for octal. As the standard library's
/// parser, whose code takes a kibibyte more.
pub(super) fn address_v4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut places = octets.iter_mut();
    let mut octet: Option<u8> = None;
    for byte in text.bytes() {
        match (byte, octet) {
            (b'.', Some(read)) => {
                *places.next()? = read;
                octet = None;
            }
            (b'0'..=b'9', None) => octet = Some(byte & 0xf),
            (b'0'..=b'9', Some(read @ 1..)) => octet = Some(read.checked_mul(10)?.checked_add(byte & 0xf)?),
            _ => return None,
        }
    }
    *places.next()? = octet?;
    places.next().is_none().then_some(Ipv4Addr::from(octets))
}

/// An IPv6 address (RFC 4291 section 2.2). The standard library's parser takes the same texts, but has a
/// panic inside that the linker would have to keep.
fn address_v6(text: &str) -> Option<Ipv6Addr> {
    let shifted = |value: u128, groups: u32| value.checked_shl(groups.saturating_mul(16)).unwrap_or(0);
    let mut value = 0_u128;
    let mut groups = 0_u32;
    // How many groups stand before `::`.
    let mut gap = None;
    let mut rest = Some(text);
    if let Some(after) = text.strip_prefix("::") {
        gap = Some(0);
        rest = Some(after).filter(|after| !after.is_empty());
    }
    while let Some(text) = rest {
        let (part, after) = split(text, b':');
        if let (Some(_), None) = (split(part, b'.').1, after) {
            value = shifted(value, 2) | u128::from(address_v4(part)?.to_bits());
            groups = groups.saturating_add(2);
        } else {
            value = shifted(value, 1) | u128::from(hexadecimal(part, 4)?);
            groups = groups.saturating_add(1);
        }
        if groups > 8 {
            return None;
        }
        rest = after;
        if let Some(after) = after.and_then(|after| after.strip_prefix(':')) {
            if gap.replace(groups).is_some() {
                return None;
            }
            rest = Some(after).filter(|after| !after.is_empty());
        }
    }
    let bits = match gap {
        None => (groups == 8).then_some(value)?,
        Some(before) => {
            let after = groups.saturating_sub(before);
            let low = shifted(1, after).checked_sub(1)?;
            let high = value & !low;
            (groups < 8).then(|| shifted(high, 8_u32.saturating_sub(groups)) | (value & low))?
        }
    };
    Some(Ipv6Addr::from_bits(bits))
}

/// An IPv4 multicast group.
pub(super) fn group_v4(text: &str) -> Option<Ipv4Addr> {
    address_v4(text).filter(Ipv4Addr::is_multicast)
}

/// An IPv6 multicast group of link-local scope.
pub(super) fn group_v6(text: &str) -> Option<Ipv6Addr> {
    address_v6(text).filter(|group| group.is_multicast() && group.segments()[0] & 0xf == 2)
}

/// An address with or without a prefix length. The length is not checked; `Err` holds one that is no number.
pub fn prefix(text: &str) -> Option<(IpAddr, Option<Result<u8, &str>>)> {
    let (address_text, length) = split(text, b'/');
    let address = address(address_text)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let parse = |text| small(text, 0).filter(|length| *length <= most).ok_or(text);
    Some((address, length.map(parse)))
}

/// The name of an interface or an address label as the kernel takes it: 1 to 15 bytes, no `/`.
pub fn interface(text: &str) -> Option<&str> {
    let allowed = |c: char| c != '/' && !c.is_ascii_whitespace() && !c.is_control();
    ((1..=15).contains(&text.len()) && text.chars().all(allowed)).then_some(text)
}

/// An Ethernet address of six octets, or of five to which `last` is added.
pub(super) fn mac(text: &str, last: u8) -> Option<MacAddr> {
    let mut octets = [0; 6];
    let mut rest = Some(text);
    for (number, octet) in octets.iter_mut().enumerate() {
        *octet = match rest {
            Some(text) => {
                let (part, after) = split(text, b':');
                rest = after;
                u8::try_from(hexadecimal(part, 2)?).ok()?
            }
            None if number == 5 => last,
            None => return None,
        };
    }
    rest.is_none().then_some(MacAddr(octets))
}

/// One to `most` hexadecimal digits.
fn hexadecimal(text: &str, most: usize) -> Option<u32> {
    let mut number = (1..=most).contains(&text.len()).then_some(0_u32)?;
    for byte in text.bytes() {
        number = number.saturating_mul(16).saturating_add(digit(byte, 16)?);
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_decimals() {
        assert_eq!(micros("1"), Some(1_000_000));
        assert_eq!(micros("0.01"), Some(10_000));
        assert_eq!(micros(".5"), Some(500_000));
        assert_eq!(micros("2."), Some(2_000_000));
        assert_eq!(micros("1.2345678"), Some(1_234_567));
        for wrong in ["", ".", "-1", "1s", "1.5.5", "1,5", "99999999999999999999", "18446744073709551615"] {
            assert_eq!(micros(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn prefixes() {
        let v4 = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(prefix("10.0.0.1"), Some((v4, None)));
        assert_eq!(prefix("10.0.0.1/24"), Some((v4, Some(Ok(24)))));
        assert_eq!(prefix("10.0.0.1/33"), Some((v4, Some(Err("33")))));
        assert_eq!(prefix("10.0.0.1/"), Some((v4, Some(Err("")))));
        assert_eq!(prefix("10.0.0.300/24"), None);
        assert_eq!(prefix("fe80::1/128").map(|(_, length)| length), Some(Some(Ok(128))));
    }

    #[test]
    fn ipv4_addresses_are_those_of_the_standard_library() {
        for text in ["0.0.0.0", "10.0.0.1", "255.255.255.255", "192.0.2.100"] {
            assert_eq!(address_v4(text), text.parse().ok(), "{text}");
            assert!(address_v4(text).is_some(), "{text}");
        }
        for text in [
            "",
            ".",
            "1",
            "1.2.3",
            "1.2.3.",
            "1.2.3.4.",
            "1.2.3.4.5",
            ".1.2.3",
            "1..2.3",
            "256.0.0.1",
            "01.2.3.4",
            "1.2.3.00",
            "+1.2.3.4",
            "1.2.3.4 ",
            "0x1.2.3.4",
            "1.2.3.\u{664}",
            "99999999999999999999.0.0.1",
        ] {
            assert_eq!(address_v4(text), None, "{text}");
            assert!(text.parse::<Ipv4Addr>().is_err(), "{text}");
        }
    }

    #[test]
    fn ipv6_addresses_are_those_of_the_standard_library() {
        let good = ["::", "::1", "1::", "fe80::1", "2001:db8:0:1:2:3:4:5", "::ffff:192.0.2.1", "1:2:3:4:5:6:7::"];
        let good_too = ["1:2:3:4:5:6:192.0.2.1", "1::192.0.2.1", "::2:3:4:5:6:7:8", "1:2:3::5:6:7:8", "ABCD::ef"];
        for text in good.iter().chain(&good_too) {
            assert_eq!(address_v6(text), text.parse().ok(), "{text}");
            assert!(address_v6(text).is_some(), "{text}");
        }
        let bad = ["", ":", ":::", "1", "1:", ":1", "1:2", "::1::", "1::2::3", "1:2:3:4:5:6:7:8:9", "::12345"];
        let bad_too = [
            "1:2:3:4::5:6:7:8",
            "1:2:3:4:5:6:7:8::",
            "::1%lo",
            "::192.0.2.1:1",
            "1.2.3.4",
            "::g",
            "1:2:3:4:5:6:7:1.2.3.4",
        ];
        for text in bad.iter().chain(&bad_too) {
            assert_eq!(address_v6(text), None, "{text}");
            assert!(text.parse::<Ipv6Addr>().is_err(), "{text}");
        }
    }

    #[test]
    fn ethernet_addresses() {
        assert_eq!(mac("00:00:5e:00:01:0a", 7), Some(MacAddr([0, 0, 0x5e, 0, 1, 10])));
        assert_eq!(mac("2:0:5e:0:1", 7), Some(MacAddr([2, 0, 0x5e, 0, 1, 7])));
        assert_eq!(mac("00:00:5e:00", 7), None);
        assert_eq!(mac("00:00:5e:00:01:0a:0b", 7), None);
        assert_eq!(mac("vrrp.1", 7), None);
    }
}
