//! The entries of `virtual_ipaddress` and `virtual_ipaddress_excluded`: an address and how it is put on an
//! interface. They are read again from the text whenever they are asked for.

#[cfg(feature = "all-keywords")]
mod options;

use core::net::{IpAddr, Ipv4Addr};

use super::diagnostic::{Message, Used};
use super::lexer::Place;
use super::statement::{Statement, Word};
use super::value::{self, Log};
use crate::types::Family;

/// One address of a virtual router, with its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtualAddress<'a> {
    /// Where it stands.
    pub place: Place,
    /// The address as it is written, with its prefix length.
    pub text: &'a str,
    /// The address.
    pub address: IpAddr,
    /// The length of its network's prefix; without one in the text all bits, 32 or 128.
    pub prefix_len: u8,
    /// `dev`: another interface than the virtual router's.
    pub device: Option<&'a str>,
    /// `label`: the name of an IPv4 alias.
    pub label: Option<&'a str>,
    /// `scope`, as the number that rtnetlink has for it.
    pub scope: Option<u8>,
    /// `brd`: the broadcast address, worked out if the text says `+` or `-`.
    pub broadcast: Option<Ipv4Addr>,
    /// `peer`: the other end of a point-to-point link, with its prefix length.
    pub peer: Option<(IpAddr, u8)>,
    /// `preferred_lft` in seconds; `Some(0)` also for a /128 that does not say otherwise, so that it does
    /// not become a source address. `None`: for ever.
    pub preferred_lifetime: Option<u32>,
    /// `home`: a Mobile IPv6 home address.
    pub home: bool,
    /// `-nodad`: no duplicate address detection is said explicitly (it is never done for these addresses).
    pub no_dad: bool,
    /// `mngtmpaddr`: the kernel makes temporary addresses from this one.
    pub manage_temporary: bool,
    /// `noprefixroute`: no route to the prefix.
    pub no_prefix_route: bool,
    /// `autojoin`: joins the multicast group that the address is.
    pub auto_join: bool,
    /// `no_track`: not put back if someone else removes it.
    pub no_track: bool,
    /// `use_vmac`: on a virtual MAC interface of its own on `device`.
    pub use_vmac: bool,
}

impl<'a> VirtualAddress<'a> {
    /// Reads an entry of a list of addresses, for a port that has such lists of its own. `None` if it cannot be used; why
    /// is reported.
    pub fn read(entry: &Statement<'a>, log: &mut Log<'_, 'a>) -> Option<Self> {
        parse(entry, log)
    }

    /// The address's family.
    pub fn family(&self) -> Family {
        Family::of(&self.address)
    }
}

const EXPECTED_ADDRESS: &str = "an IPv4 or IPv6 address, with or without /length";

/// Reads one entry. `None` if it cannot be used; why is reported.
pub(super) fn parse<'a>(entry: &Statement<'a>, log: &mut Log<'_, 'a>) -> Option<VirtualAddress<'a>> {
    let Word { place, text } = entry.keyword;
    let Some((address, length)) = value::prefix(text) else {
        log.error(place, Message::WrongValue { keyword: "virtual_ipaddress", value: text, expected: EXPECTED_ADDRESS });
        return None;
    };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix_len = match length {
        None => bits,
        Some(Ok(length)) => length,
        Some(Err(_)) => {
            let expected = if address.is_ipv4() { "a length from 0 to 32" } else { "a length from 0 to 128" };
            let used = Used::Number(u64::from(bits));
            log.warning(place, Message::Substituted { keyword: "virtual_ipaddress", value: text, expected, used });
            bits
        }
    };
    let deprecated = !address.is_ipv4() && prefix_len == 128;
    let mut entry_read = VirtualAddress {
        place,
        text,
        address,
        prefix_len,
        device: None,
        label: None,
        scope: None,
        broadcast: None,
        peer: None,
        preferred_lifetime: deprecated.then_some(0),
        home: false,
        no_dad: false,
        manage_temporary: false,
        no_prefix_route: false,
        auto_join: false,
        no_track: false,
        use_vmac: false,
    };
    let mut usable = true;
    let mut words = entry.words;
    while let Some(option) = words.next() {
        let mut options = Options { option, words: &mut words, log, usable: &mut usable };
        if option.text == "dev" {
            entry_read.device = options.take("an interface: 1 to 15 characters", value::interface);
        } else if !options.read(&mut entry_read) {
            let word = option.text;
            let knows_all = cfg!(feature = "all-keywords");
            let message = if knows_all { Message::UnknownOption { word } } else { Message::NotYet { keyword: word } };
            log.warning(option.place, message);
        }
    }
    usable.then_some(entry_read)
}

/// Reads the value of one option of an entry.
struct Options<'o, 'r, 'a, I> {
    option: Word<'a>,
    words: &'o mut I,
    log: &'o mut Log<'r, 'a>,
    usable: &'o mut bool,
}

impl<'a, I: Iterator<Item = Word<'a>>> Options<'_, '_, 'a, I> {
    fn word(&mut self, expected: &'static str) -> Option<Word<'a>> {
        let word = self.words.next();
        if word.is_none() {
            self.log.error(self.option.place, Message::MissingValue { keyword: self.option.text, expected });
            *self.usable = false;
        }
        word
    }

    /// A value without which the address cannot be used.
    fn take<T>(&mut self, expected: &'static str, parse: impl FnOnce(&'a str) -> Option<T>) -> Option<T> {
        let word = self.word(expected)?;
        let value = parse(word.text);
        if value.is_none() {
            let message = Message::WrongValue { keyword: self.option.text, value: word.text, expected };
            self.log.error(word.place, message);
            *self.usable = false;
        }
        value
    }

    /// Passes over what only Linux acts upon: how an address is put on an interface. False, as for what nobody knows.
    #[cfg(not(feature = "all-keywords"))]
    fn read(&mut self, _: &mut VirtualAddress<'a>) -> bool {
        if matches!(self.option.text, "label" | "scope" | "brd" | "broadcast" | "peer" | "preferred_lft") {
            self.words.next();
        }
        false
    }
}
