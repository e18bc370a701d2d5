//! The words of one line of `virtual_routes`, `virtual_rules` and their static likes, read one after the other: options
//! with their values as `ip route` and `ip rule` take them. The first thing that is wrong ends the line.

use std::fmt;
use std::net::IpAddr;

use steadfast_core::config::diagnostic::Short;
use steadfast_core::config::statement::{Statement, Word};
use steadfast_core::config::{Message, Place, value};
use steadfast_core::types::Family;

/// Why a line is left out.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) place: Place,
    pub(super) text: String,
}

impl Wrong {
    pub(super) fn new(place: Place, text: impl fmt::Display) -> Self {
        Self { place, text: text.to_string() }
    }

    /// A word that is none of the options.
    pub(super) fn unknown(word: Word<'_>, what: &str) -> Self {
        Self::new(word.place, format_args!("`{}` is no option of a {what}", Short(word.text)))
    }

    /// An option that keepalived has, or `ip` has, and we do not.
    pub(super) fn unsupported(word: Word<'_>, option: &str) -> Self {
        Self::new(word.place, format_args!("`{option}` is not supported"))
    }
}

/// A line.
#[derive(Debug)]
pub(super) struct Line<'a> {
    words: Vec<Word<'a>>,
    at: usize,
}

impl<'a> Line<'a> {
    pub(super) fn of(entry: &Statement<'a>) -> Self {
        Self { words: [entry.keyword].into_iter().chain(entry.words).collect(), at: 0 }
    }

    /// Where it begins.
    pub(super) fn place(&self) -> Place {
        self.words.first().map_or(Place::START, |word| word.place)
    }

    pub(super) fn next(&mut self) -> Option<Word<'a>> {
        let word = self.peek()?;
        self.at += 1;
        Some(word)
    }

    /// Puts back the word that was read last.
    pub(super) fn back(&mut self) {
        self.at = self.at.saturating_sub(1);
    }

    pub(super) fn peek(&self) -> Option<Word<'a>> {
        self.words.get(self.at).copied()
    }

    /// Passes over the next word if it is this one.
    pub(super) fn take(&mut self, text: &str) -> bool {
        let is = self.peek().is_some_and(|word| word.text == text);
        self.at += usize::from(is);
        is
    }

    /// The value of an option.
    pub(super) fn value<T>(
        &mut self,
        option: Word<'a>,
        expected: &'static str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, Wrong> {
        let keyword = option.text;
        let Some(word) = self.next() else {
            return Err(Wrong::new(option.place, Message::MissingValue { keyword, expected }));
        };
        let wrong = || Wrong::new(word.place, Message::WrongValue { keyword, value: word.text, expected });
        parse(word.text).ok_or_else(wrong)
    }

    /// The value of an option that is a number of at most `most`.
    pub(super) fn number(&mut self, option: Word<'a>, most: u32) -> Result<u32, Wrong> {
        let expected = match most {
            1 => "0 or 1",
            255 => "a number from 0 to 255",
            _ => "a number",
        };
        self.value(option, expected, |text| number(text, most))
    }

    /// The name of an interface.
    pub(super) fn device(&mut self, option: Word<'a>) -> Result<String, Wrong> {
        self.value(option, "an interface: 1 to 15 characters", value::interface).map(str::to_owned)
    }
}

/// The family of a line, which its first address tells, or `inet` and `inet6`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OneFamily(pub(super) Option<Family>);

impl OneFamily {
    pub(super) fn be(&mut self, place: Place, family: Family) -> Result<(), Wrong> {
        match self.0.replace(family) {
            Some(other) if other != family => Err(Wrong::new(place, "IPv4 and IPv6 in one line")),
            _ => Ok(()),
        }
    }
}

/// A network, or all addresses of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    /// `None`: `default`, `any` and `all` are of either family.
    pub(super) address: Option<IpAddr>,
    pub(super) length: u8,
}

/// What an option that takes a [`prefix`] expects.
pub(super) const PREFIX: &str = "a network, ADDRESS/LENGTH, or default";

pub(super) fn prefix(text: &str) -> Option<Prefix> {
    if matches!(text, "default" | "any" | "all") {
        return Some(Prefix { address: None, length: 0 });
    }
    let (address, length) = value::prefix(text)?;
    let length = match length {
        Some(length) => length.ok()?,
        None if address.is_ipv4() => 32,
        None => 128,
    };
    Some(Prefix { address: Some(address), length })
}

/// A number as strtoul reads it: decimal, hexadecimal after `0x`, octal after `0`.
pub(super) fn number(text: &str, most: u32) -> Option<u32> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (text.get(2..)?, 16),
        [b'0', _, ..] => (text.get(1..)?, 8),
        _ => (text, 10),
    };
    in_radix(digits, radix).filter(|number| *number <= most)
}

/// A number of digits alone.
pub(super) fn in_radix(digits: &str, radix: u32) -> Option<u32> {
    let plain = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    plain.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
}

/// Two numbers with a `-` between them, or one that is both.
pub(super) fn range(text: &str, most: u32) -> Option<(u32, u32)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first, most)?, number(last, most)?);
    (first <= last).then_some((first, last))
}

/// A time: with `s` or `ms`, in units of which `per_ms` are a millisecond; a bare number is in those units.
pub(super) fn time(text: &str, per_ms: u32) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (amount, unit) = text.split_at(end);
    let ms = match unit {
        "" => return number(amount, u32::MAX),
        "s" | "sec" | "secs" => 1000,
        "ms" | "msec" | "msecs" => 1,
        _ => return None,
    };
    let millionths = value::micros(amount)?.checked_mul(ms)?.checked_mul(per_ms.into())?;
    u32::try_from(millionths.div_ceil(1_000_000)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_shell_commands() {
        assert_eq!(number("100", 255), Some(100));
        assert_eq!(number("0x1F", 255), Some(31));
        assert_eq!(number("010", 255), Some(8));
        assert_eq!(number("0", 255), Some(0));
        for wrong in ["", "256", "-1", "+1", "0x", "08", "1a", "4294967296", " 1"] {
            assert_eq!(number(wrong, 255), None, "{wrong}");
        }
        assert_eq!(range("10-20", 65535), Some((10, 20)));
        assert_eq!(range("10", 65535), Some((10, 10)));
        assert_eq!(range("20-10", 65535), None);
        assert_eq!(range("1-70000", 65535), None);
    }

    #[test]
    fn times_have_units() {
        assert_eq!(time("50ms", 8), Some(400));
        assert_eq!(time("1.5s", 1), Some(1500));
        assert_eq!(time("0.1ms", 1), Some(1));
        assert_eq!(time("102", 8), Some(102));
        for wrong in ["", "s", "5m", "5 s", "4294967296s", "1.2.3s"] {
            assert_eq!(time(wrong, 8), None, "{wrong}");
        }
    }

    #[test]
    fn networks_have_a_length_of_their_family() {
        let read = |text| prefix(text).map(|prefix| (prefix.address.map(|address| address.to_string()), prefix.length));
        assert_eq!(read("default"), Some((None, 0)));
        assert_eq!(read("10.0.0.0/8"), Some((Some("10.0.0.0".into()), 8)));
        assert_eq!(read("10.0.0.1"), Some((Some("10.0.0.1".into()), 32)));
        assert_eq!(read("::/0"), Some((Some("::".into()), 0)));
        assert_eq!(read("fd00::1"), Some((Some("fd00::1".into()), 128)));
        for wrong in ["10.1/16", "10.0.0.0/33", "10.0.0.0/", "x", "fd00::/129"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
