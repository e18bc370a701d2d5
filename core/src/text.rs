//! The texts that every port shows in the same words: the tables of `status`, the lines of `counters`, and
//! `explain`. They are values to be displayed, made from what an agent lets see, so nothing is collected
//! before it is written, and nothing here allocates or can panic. Where they are written to, and what a
//! Virtual Router is called, is the port's matter.
//!
//! A port with little memory writes them line by line: each line is a value of its own.

mod counters;
mod explain;
mod table;

use core::fmt::{self, Write};
use core::net::{IpAddr, Ipv6Addr};

use crate::time::Duration;

pub use counters::{CounterLine, MovedCounters};
pub use explain::{Explanation, ExplanationLine, Tracked};
pub use table::{Cell, InterfaceRow, Line, RouterRow, versions, widen};

/// An address as std shows it (RFC 5952), without the panics inside std's own display that a linker would have to
/// keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub IpAddr);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => dotted(f, address.octets()),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(mapped) => {
                    f.write_str("::ffff:")?;
                    dotted(f, mapped.octets())
                }
                None => colons(f, address),
            },
        }
    }
}

fn dotted(f: &mut fmt::Formatter<'_>, [a, b, c, d]: [u8; 4]) -> fmt::Result {
    write!(f, "{a}.{b}.{c}.{d}")
}

fn colons(f: &mut fmt::Formatter<'_>, address: Ipv6Addr) -> fmt::Result {
    let segments = address.segments();
    // The first of the longest runs of zeros, if it is longer than one, is left out.
    let (mut start, mut length, mut run) = (segments.len(), 1_usize, 0_usize);
    for (at, segment) in segments.iter().enumerate() {
        run = if *segment == 0 { run.saturating_add(1) } else { 0 };
        if run > length {
            length = run;
            start = at.saturating_add(1).saturating_sub(run);
        }
    }
    let end = start.saturating_add(length);
    for (at, segment) in segments.iter().enumerate() {
        if at == start {
            f.write_str("::")?;
        } else if at < start || at >= end {
            if at != 0 && at != end {
                f.write_str(":")?;
            }
            write!(f, "{segment:x}")?;
        }
    }
    Ok(())
}

/// A span of time in seconds, without the unit, with as many decimals as it has: `3.609375`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl Seconds {
    /// The same without what is less than a millisecond: for what has passed or is to come.
    #[must_use]
    pub const fn rounded(self) -> Self {
        Self(Duration::from_millis(self.0.as_millis()))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}", micros / 1_000_000)?;
        // Less than a million.
        let mut fraction = (micros % 1_000_000) as u32;
        if fraction != 0 {
            f.write_str(".")?;
        }
        while fraction != 0 {
            write!(f, "{}", fraction / 100_000)?;
            fraction = (fraction % 100_000).saturating_mul(10);
        }
        Ok(())
    }
}

/// The largest two units of a span of time: `3m 12s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(pub Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_micros() / 1_000_000;
        match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60) {
            (0, 0, 0) => write!(f, "{seconds}s"),
            (0, 0, minutes) => write!(f, "{minutes}m {}s", seconds % 60),
            (0, hours, minutes) => write!(f, "{hours}h {minutes}m"),
            (days, hours, _) => write!(f, "{days}d {hours}h"),
        }
    }
}

/// A text from outside: what would speak to a terminal is escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if character.is_control() {
                write!(f, "\\u{{{:x}}}", u32::from(character))?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    extern crate std;
    use core::net::Ipv4Addr;
    use std::format;
    use std::string::ToString;

    #[test]
    fn addresses_are_shown_as_std_shows_them() {
        let mut random = Random::new(1);
        for _ in 0..20_000 {
            let v4 = IpAddr::V4(Ipv4Addr::from_bits(random.next() as u32));
            // Many zeros, in every place.
            let v6 = [(); 8].map(|()| if random.once_in(2) { 0 } else { random.below(0x1_0000) as u16 });
            for address in [v4, IpAddr::V6(v6.into())] {
                assert_eq!(Address(address).to_string(), address.to_string());
            }
        }
        for text in ["::", "::1", "1::", "::ffff:192.0.2.1", "::192.0.2.1", "fe80::1", "1:0:0:2::", "0:1::2"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(Address(address).to_string(), address.to_string());
        }
    }

    #[test]
    fn spans() {
        for (micros, text) in [(0, "0"), (3_609_375, "3.609375"), (30_000, "0.03"), (1_000_000, "1")] {
            assert_eq!(Seconds(Duration::from_micros(micros)).to_string(), text);
        }
        assert_eq!(Seconds(Duration::from_micros(3_609_375)).rounded().to_string(), "3.609");
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m 0s"), (3_700, "1h 1m"), (90_000, "1d 1h")] {
            assert_eq!(Age(Duration::from_secs(seconds)).to_string(), text);
        }
        assert_eq!(format!("{}", Age(Duration::from_micros(u64::MAX - 1))), "213503982d 8h");
    }

    #[test]
    fn a_text_from_outside_cannot_speak_to_the_terminal() {
        assert_eq!(Printable("gw\x1b[2J é\u{9b}").to_string(), "gw\\u{1b}[2J é\\u{9b}");
    }
}
