//! `lvs_method NAT|DR|TUN [type ipip|gue port NUMBER|gre] [nocsum|csum|remcsum]`: how packets get to a real server.

use steadfast_core::config::Message;
use steadfast_core::config::diagnostic::Used;
use steadfast_core::config::statement::{Statement, Word};

use crate::grammar::reader::{Reader, port};
use crate::ipvs::row::{Forwarding, Tunnel, TunnelChecksum};

/// Reads a forwarding method. A wrong one has no effect, as in keepalived; a wrong tunnel is an error.
pub(super) fn read(statement: &Statement<'_>, reader: &mut Reader<'_>) -> Option<Forwarding> {
    const EXPECTED: &str = "NAT, DR or TUN";
    let keyword = statement.keyword.text;
    let place = statement.keyword.place;
    let mut words = statement.words;
    let Some(word) = words.next() else {
        reader.warning(place, Message::MissingValue { keyword, expected: EXPECTED });
        return None;
    };
    let forwarding = match word.text {
        "NAT" => Forwarding::Masquerade,
        "DR" => Forwarding::DirectRoute,
        "TUN" => return tunnel(statement, words, reader).map(Forwarding::Tunnel),
        value => {
            let message = Message::Substituted { keyword, value, expected: EXPECTED, used: Used::Nothing };
            reader.warning(word.place, message);
            return None;
        }
    };
    reader.no_more(statement, words);
    Some(forwarding)
}

fn tunnel<'a>(
    statement: &Statement<'a>,
    mut words: impl Iterator<Item = Word<'a>> + Clone,
    reader: &mut Reader<'_>,
) -> Option<Tunnel> {
    let keyword = statement.keyword.text;
    let place = statement.keyword.place;
    let wrong = |word: Option<Word<'a>>, expected, reader: &mut Reader<'_>| match word {
        None => reader.error(place, Message::MissingValue { keyword, expected }),
        Some(Word { place, text: value }) => reader.error(place, Message::WrongValue { keyword, value, expected }),
    };
    let mut kind = None;
    let mut checksum = None;
    while let Some(word) = words.next() {
        match word.text {
            "type" => {
                let Some(name) = words.next().filter(|word| matches!(word.text, "ipip" | "gue" | "gre")) else {
                    wrong(None, "a tunnel type: ipip, gue or gre", reader);
                    return None;
                };
                kind = Some((name, None));
            }
            "port" if kind.is_some_and(|(name, _): (Word<'_>, _)| name.text == "gue") => {
                let number = words.next();
                let Some(port) = number.and_then(|word| port(word.text)) else {
                    wrong(number, "a port from 1 to 65535", reader);
                    return None;
                };
                kind = kind.map(|(name, _)| (name, Some(port)));
            }
            "nocsum" => checksum = Some((word, TunnelChecksum::None)),
            "csum" => checksum = Some((word, TunnelChecksum::Full)),
            "remcsum" => checksum = Some((word, TunnelChecksum::Remote)),
            _ => {
                wrong(Some(word), "type ipip, type gue port NUMBER or type gre, and nocsum, csum or remcsum", reader);
                return None;
            }
        }
    }
    let how = checksum.map_or(TunnelChecksum::None, |(_, how)| how);
    match (kind.map(|(name, port)| (name.text, port)), checksum) {
        (None | Some(("ipip", _)), Some((word, _))) => {
            wrong(Some(word), "no checksum with ipip", reader);
            None
        }
        (None | Some(("ipip", _)), None) => Some(Tunnel::Ipip),
        (Some(("gue", None)), _) => {
            wrong(None, "`port NUMBER` with gue", reader);
            None
        }
        (Some(("gue", Some(port))), _) => Some(Tunnel::Gue { port, checksum: how }),
        (Some(_), Some((word, TunnelChecksum::Remote))) => {
            wrong(Some(word), "nocsum or csum with gre", reader);
            None
        }
        (Some(_), _) => Some(Tunnel::Gre { checksum: how }),
    }
}
