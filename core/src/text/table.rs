//! The tables of `status`: one row for each Virtual Router, one for each interface, each column as wide as its
//! widest cell. The rows can be made from a [`View`], or from the same facts that came over a control socket.

use core::fmt::{self, Write};
use core::net::IpAddr;

use super::{Address, Age, Printable};
use crate::agent::{State, View};
use crate::time::{Duration, Instant};
use crate::types::{Family, Version};

/// What stands in one field of a table.
#[derive(Clone, Copy, Debug)]
pub enum Cell<'a> {
    /// A text; what would speak to a terminal is escaped.
    Text(&'a str),
    /// A small number.
    Number(u8),
    /// `ipv4 v3`
    Protocol(Family, &'a str),
    /// The effective priority, and in parentheses the configured one if it is another.
    Priority {
        /// The one that takes part in the election.
        effective: u8,
        /// The one in the file.
        configured: u8,
    },
    /// An address, or `-`.
    Address(Option<IpAddr>),
    /// How long ago, or `-`.
    Age(Option<Duration>),
    /// Addresses, and more of them.
    Addresses(&'a [IpAddr], &'a [IpAddr]),
}

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Text(text) => Printable(text).fmt(f),
            Self::Number(number) => write!(f, "{number}"),
            Self::Protocol(family, versions) => write!(f, "{} {versions}", family.as_str()),
            Self::Priority { effective, configured } if effective == configured => write!(f, "{effective}"),
            Self::Priority { effective, configured } => write!(f, "{effective} ({configured})"),
            Self::Address(Some(address)) => Address(address).fmt(f),
            Self::Age(Some(span)) => Age(span).fmt(f),
            Self::Address(None) | Self::Age(None) => f.write_str("-"),
            Self::Addresses(first, more) => {
                let mut separator = "";
                for address in first.iter().chain(more) {
                    f.write_str(separator)?;
                    Address(*address).fmt(f)?;
                    separator = " ";
                }
                Ok(())
            }
        }
    }
}

impl Cell<'_> {
    /// How many characters it takes.
    fn width(&self) -> u16 {
        struct Characters(u16);

        impl Write for Characters {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                // Every byte but those that continue a character.
                for _ in text.bytes().filter(|byte| byte & 0xc0 != 0x80) {
                    self.0 = self.0.saturating_add(1);
                }
                Ok(())
            }
        }

        let mut characters = Characters(0);
        // It takes everything.
        let _ = write!(characters, "{self}");
        characters.0
    }
}

/// Makes columns, `widths`, wide enough for a row.
pub fn widen(widths: &mut [u16], cells: &[Cell<'_>]) {
    for (width, cell) in widths.iter_mut().zip(cells) {
        *width = cell.width().max(*width);
    }
}

/// One line of a table, with its end; columns are two spaces apart.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// How wide each column is, in characters.
    pub widths: &'a [u16],
    /// What stands in them.
    pub cells: &'a [Cell<'a>],
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Written before the next cell only, so that no line ends in spaces.
        let mut gap = 0_u16;
        for (width, cell) in self.widths.iter().zip(self.cells) {
            let own = cell.width();
            if own > 0 {
                for _ in 0..gap {
                    f.write_char(' ')?;
                }
                gap = 0;
                cell.fmt(f)?;
            }
            gap = gap.saturating_add(width.saturating_sub(own)).saturating_add(2);
        }
        f.write_char('\n')
    }
}

/// The version that a Virtual Router speaks; of one that speaks both, also which it last heard.
pub const fn versions(version: Version, speaks_both: bool, heard: Option<Version>) -> &'static str {
    match (speaks_both, heard, version) {
        (true, Some(Version::V2), _) => "v3+v2, heard v2",
        (true, Some(Version::V3), _) => "v3+v2, heard v3",
        (true, None, _) => "v3+v2",
        (false, _, Version::V2) => "v2",
        (false, _, Version::V3) => "v3",
    }
}

/// A Virtual Router in the table.
#[derive(Clone, Copy, Debug)]
pub struct RouterRow<'a> {
    /// What it is called.
    pub name: &'a str,
    /// What its interface is called.
    pub interface: &'a str,
    /// Its VRID.
    pub vrid: u8,
    /// Its IP version.
    pub family: Family,
    /// The protocol versions, see [`versions`].
    pub versions: &'a str,
    /// Its state.
    pub state: State,
    /// The configured priority.
    pub priority: u8,
    /// The one that takes part in the election.
    pub effective_priority: u8,
    /// The Active, as far as it is known.
    pub active_address: Option<IpAddr>,
    /// How long ago it changed its state, and why in a word.
    pub last_transition: Option<(Duration, &'a str)>,
    /// The advertised addresses.
    pub addresses: &'a [IpAddr],
    /// The addresses that go with it.
    pub excluded: &'a [IpAddr],
}

impl<'a> RouterRow<'a> {
    /// What stands above the columns.
    pub const HEAD: [Cell<'static>; 10] = [
        Cell::Text("ROUTER"),
        Cell::Text("INTERFACE"),
        Cell::Text("VRID"),
        Cell::Text("FAMILY"),
        Cell::Text("STATE"),
        Cell::Text("PRIORITY"),
        Cell::Text("ACTIVE"),
        Cell::Text("SINCE"),
        Cell::Text("REASON"),
        Cell::Text("ADDRESSES"),
    ];

    /// The row of a Virtual Router as it is at `now`.
    pub fn new(name: &'a str, interface: &'a str, view: &View<'a>, now: Instant) -> Self {
        Self {
            name,
            interface,
            vrid: view.settings.vrid.get(),
            family: view.settings.family,
            versions: versions(view.settings.version, view.settings.speaks_both(), view.heard_version),
            state: view.state,
            priority: view.settings.priority.get(),
            effective_priority: view.effective_priority.get(),
            active_address: view.active_address,
            last_transition: view.last_transition.map(|(at, _, _, reason)| (now.since(at), reason.as_str())),
            addresses: view.addresses,
            excluded: view.excluded,
        }
    }

    /// What stands in the columns.
    pub fn cells(&self) -> [Cell<'a>; 10] {
        [
            Cell::Text(self.name),
            Cell::Text(self.interface),
            Cell::Number(self.vrid),
            Cell::Protocol(self.family, self.versions),
            Cell::Text(self.state.as_str()),
            Cell::Priority { effective: self.effective_priority, configured: self.priority },
            Cell::Address(self.active_address),
            Cell::Age(self.last_transition.map(|(ago, _)| ago)),
            Cell::Text(self.last_transition.map_or("-", |(_, reason)| reason)),
            Cell::Addresses(self.addresses, self.excluded),
        ]
    }
}

/// An interface in the table.
#[derive(Clone, Copy, Debug)]
pub struct InterfaceRow<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Whether Advertisements can go out.
    pub up: bool,
    /// The address that IPv4 Advertisements come from.
    pub ipv4_source: Option<IpAddr>,
    /// The link-local address that IPv6 Advertisements come from.
    pub ipv6_source: Option<IpAddr>,
}

impl<'a> InterfaceRow<'a> {
    /// What stands above the columns.
    pub const HEAD: [Cell<'static>; 4] =
        [Cell::Text("INTERFACE"), Cell::Text("LINK"), Cell::Text("IPV4 SOURCE"), Cell::Text("IPV6 SOURCE")];

    /// What stands in the columns.
    pub fn cells(&self) -> [Cell<'a>; 4] {
        [
            Cell::Text(self.name),
            Cell::Text(if self.up { "up" } else { "down" }),
            Cell::Address(self.ipv4_source),
            Cell::Address(self.ipv6_source),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::string::{String, ToString};

    #[test]
    fn each_column_is_as_wide_as_its_widest_cell_and_no_line_ends_in_spaces() {
        let rows = [
            [Cell::Text("A"), Cell::Text("B"), Cell::Text("C")],
            [Cell::Text("é\x07"), Cell::Number(255), Cell::Text("")],
            [Cell::Text(""), Cell::Text(""), Cell::Text("z")],
            [Cell::Text(""), Cell::Text(""), Cell::Text("")],
        ];
        let mut widths = [0; 3];
        rows.iter().for_each(|row| widen(&mut widths, row));
        let text: String = rows.iter().map(|cells| Line { widths: &widths, cells }.to_string()).collect();
        assert_eq!(text, "A       B    C\né\\u{7}  255\n             z\n\n");
    }
}
