//! The options of an address that only Linux acts upon, and a build that knows all keywords reads.

use core::net::{IpAddr, Ipv4Addr};

use super::super::diagnostic::{Message, Used};
use super::super::statement::Word;
use super::super::value;
use super::{Options, VirtualAddress};
use crate::types::Family;

const EXPECTED_NAME: &str = "a name of 1 to 15 characters";
const EXPECTED_SCOPE: &str = "site, link, host, nowhere, global or a number up to 255";

impl<'a, I: Iterator<Item = Word<'a>>> Options<'_, '_, 'a, I> {
    /// Reads one of these options; false if it is none.
    pub(super) fn read(&mut self, read: &mut VirtualAddress<'a>) -> bool {
        let (address, prefix_len) = (read.address, read.prefix_len);
        match self.option.text {
            "label" => {
                read.label = self.take(EXPECTED_NAME, value::interface).filter(|_| {
                    let v4 = address.is_ipv4();
                    if !v4 {
                        let because = "IPv6 addresses have no label";
                        self.log.warning(self.option.place, Message::NoEffect { keyword: "label", because });
                    }
                    v4
                });
            }
            "scope" => read.scope = self.take_or_ignore(EXPECTED_SCOPE, scope),
            "brd" | "broadcast" => {
                read.broadcast = self.take("an IPv4 address, + or -", |text| broadcast(text, address, prefix_len));
            }
            "peer" => read.peer = self.take("an address of the same family", |text| peer(text, address)),
            "preferred_lft" => {
                if let Some(lifetime) = self.take_or_ignore("a number of seconds, or forever", lifetime) {
                    read.preferred_lifetime = lifetime;
                }
            }
            "home" => read.home = true,
            "-nodad" | "nodad" => read.no_dad = true,
            "mngtmpaddr" => read.manage_temporary = true,
            "noprefixroute" => read.no_prefix_route = true,
            "autojoin" => read.auto_join = true,
            "no_track" => read.no_track = true,
            "use_vmac" => read.use_vmac = true,
            // Of static ones; the port that has them reads it.
            "track_group" => _ = self.words.next(),
            _ => return false,
        }
        true
    }

    /// A value that keepalived does without if it is wrong.
    fn take_or_ignore<T>(&mut self, expected: &'static str, parse: impl FnOnce(&'a str) -> Option<T>) -> Option<T> {
        let word = self.word(expected)?;
        let value = parse(word.text);
        if value.is_none() {
            let (keyword, value, used) = (self.option.text, word.text, Used::Nothing);
            self.log.warning(word.place, Message::Substituted { keyword, value, expected, used });
        }
        value
    }
}

/// The numbers of /etc/iproute2/rt_scopes, which are those of rtnetlink(7).
fn scope(text: &str) -> Option<u8> {
    match text {
        "global" => Some(0),
        "site" => Some(200),
        "link" => Some(253),
        "host" => Some(254),
        "nowhere" => Some(255),
        number => value::small(number, 0),
    }
}

/// The broadcast address: `+` sets the host bits of the address, `-` clears them.
fn broadcast(text: &str, address: IpAddr, prefix_len: u8) -> Option<Ipv4Addr> {
    let IpAddr::V4(address) = address else { return None };
    let host_bits = u32::MAX.checked_shr(u32::from(prefix_len)).unwrap_or(0);
    match text {
        "+" => Some(Ipv4Addr::from_bits(address.to_bits() | host_bits)),
        "-" => Some(Ipv4Addr::from_bits(address.to_bits() & !host_bits)),
        explicit => value::address_v4(explicit),
    }
}

fn peer(text: &str, address: IpAddr) -> Option<(IpAddr, u8)> {
    let (peer, length) = value::prefix(text)?;
    let bits = if peer.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => bits,
        Some(length) => length.ok()?,
    };
    (Family::of(&peer) == Family::of(&address)).then_some((peer, length))
}

/// `Some(None)` is for ever.
fn lifetime(text: &str) -> Option<Option<u32>> {
    if text == "forever" {
        return Some(None);
    }
    value::number(text, 0..=u32::MAX).map(Some)
}
