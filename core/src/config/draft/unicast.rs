//! `unicast_peer` and what belongs to it: the peers that Advertisements go to and come from, as far as something is to be
//! said of them together. They stay in the text.

use core::net::IpAddr;

use super::super::diagnostic::Message;
use super::super::globals::Globals;
use super::super::lexer::Place;
use super::super::statement::{Statement, Word};
use super::super::value::{self, Log, flag};
use super::{Draft, for_each_entry};
use crate::types::Family;

/// The most entries of `unicast_peer`.
const MOST: u32 = 255;

/// What the keywords say, as far as they were given.
#[derive(Default)]
pub(super) struct Peers<'a> {
    /// `unicast_peer`
    place: Option<Place>,
    count: u32,
    first_v4: Option<Word<'a>>,
    first_v6: Option<Word<'a>>,
    /// The lowest `min_ttl`, and whether peers have different ones.
    least_hops: Option<u8>,
    has_other_bounds: bool,
    /// `check_unicast_src`
    are_checked: bool,
    /// `unicast_fault_no_peer`
    pub(super) are_wanted: bool,
}

impl<'a> Peers<'a> {
    pub(super) fn keyword(&mut self, keyword: &str, statement: &Statement<'a>, log: &mut Log<'_, 'a>) {
        if keyword == "check_unicast_src" {
            self.are_checked = flag(statement, log);
        } else {
            self.place = Some(statement.keyword.place);
            for_each_entry(statement, log, &mut |entry, log| self.read(entry, log));
        }
    }

    /// An entry: `ADDRESS [min_ttl NUMBER] [max_ttl NUMBER]`
    fn read(&mut self, entry: &Statement<'a>, log: &mut Log<'_, 'a>) {
        let Word { text, place } = entry.keyword;
        self.bound(entry, log);
        self.count = self.count.saturating_add(1);
        match value::address(text).filter(|peer| !peer.is_multicast() && !peer.is_unspecified()) {
            Some(IpAddr::V4(_)) => _ = self.first_v4.get_or_insert(entry.keyword),
            Some(IpAddr::V6(_)) => _ = self.first_v6.get_or_insert(entry.keyword),
            // One that it does not speak to would be Active beside it.
            None => {
                let expected = "the address of another router";
                log.error(place, Message::WrongValue { keyword: "unicast_peer", value: text, expected });
            }
        }
        if self.count == MOST.saturating_add(1) {
            let expected = "at most 255 peers";
            log.error(place, Message::WrongValue { keyword: "unicast_peer", value: text, expected });
        }
    }

    /// `min_ttl` and `max_ttl`. One bound holds for all peers: the lowest.
    fn bound(&mut self, entry: &Statement<'a>, log: &mut Log<'_, 'a>) {
        let mut least = 0;
        let mut words = entry.words;
        while let Some(word) = words.next() {
            match word.text {
                "min_ttl" => {
                    let value = words.next().map_or("", |word| word.text);
                    match value::small(value, 0) {
                        Some(number) => least = number,
                        None => {
                            let expected = "a number from 0 to 255";
                            log.error(word.place, Message::WrongValue { keyword: word.text, value, expected });
                        }
                    }
                }
                "max_ttl" => {
                    words.next();
                    let because = "how near a peer is does not matter";
                    log.warning(word.place, Message::NoEffect { keyword: word.text, because });
                }
                other => log.warning(word.place, Message::UnknownOption { word: other }),
            }
        }
        let lowest = *self.least_hops.get_or_insert(least);
        if lowest != least && !self.has_other_bounds {
            self.has_other_bounds = true;
            let text = "one `min_ttl` holds for all peers: the lowest, which is 0 for a peer that has none";
            log.warning(entry.keyword.place, Message::Text(text));
        }
        self.least_hops = Some(lowest.min(least));
    }

    pub(super) const fn are_any(&self) -> bool {
        self.count > 0
    }
}

impl<'a> Draft<'a> {
    /// Whether only peers are heard, and from how near they have to be.
    pub(super) fn peers_of(
        &self,
        family: Family,
        strict: bool,
        globals: &Globals<'a>,
        log: &mut Log<'_, 'a>,
    ) -> (bool, u8) {
        let peers = &self.peers;
        if let Some(place) = peers.place {
            if peers.count == 0 && !peers.are_wanted {
                let because = "it names no peer, so Advertisements go to the group";
                log.warning(place, Message::NoEffect { keyword: "unicast_peer", because });
            } else if strict {
                log.error(place, Message::Text("strict mode knows no `unicast_peer`: Advertisements go to a group"));
            }
            let wrong = if family == Family::V4 { peers.first_v6 } else { peers.first_v4 };
            if let Some(Word { text: value, place }) = wrong {
                let expected = "addresses of the family of the virtual addresses";
                log.error(place, Message::WrongValue { keyword: "unicast_peer", value, expected });
            }
        }
        (peers.are_checked || globals.check_peers, peers.least_hops.unwrap_or(0))
    }
}
