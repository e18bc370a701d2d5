//! `UDP_CHECK`: what is sent and what has to come back, in hexadecimal digits.

use steadfast_core::config::statement::{Statement, Word};
use steadfast_core::config::{Message, Place};

use crate::grammar::reader::Reader;

use super::super::plan::UdpCheck;

/// The most bytes that are sent or compared.
const MOST_BYTES: usize = 4096;

/// What the block says.
#[derive(Default)]
pub(super) struct UdpDraft {
    payload: Vec<u8>,
    reply: Option<Vec<(u8, u8)>>,
    min_length: Option<u16>,
    max_length: Option<u16>,
}

impl UdpDraft {
    /// Reads a keyword if it is one of these.
    pub(super) fn read(&mut self, keyword: &str, statement: &Statement<'_>, reader: &mut Reader<'_>) -> bool {
        let length = |reader: &mut Reader<'_>| {
            let number = reader.number(statement, "a number from 0 to 65535", 0..=65535);
            number.and_then(|number| u16::try_from(number).ok())
        };
        match keyword {
            "payload" => {
                if statement.words.clone().next().is_none() {
                    let message = Message::MissingValue { keyword: "payload", expected: "hexadecimal digits" };
                    reader.error(statement.keyword.place, message);
                }
                let bytes = bytes(statement, "hexadecimal digits", false, reader).unwrap_or_default();
                self.payload = bytes.into_iter().map(|(value, _)| value).collect();
            }
            "require_reply" => self.reply = bytes(statement, "hexadecimal digits, or X for any", true, reader),
            "min_reply_length" => self.min_length = length(reader).or(self.min_length),
            "max_reply_length" => self.max_length = length(reader).or(self.max_length),
            _ => return false,
        }
        true
    }

    /// What is to be asked.
    pub(super) fn complete(self, place: Place, reader: &mut Reader<'_>) -> UdpCheck {
        let Self { payload, reply, min_length, max_length } = self;
        if reply.is_none() && (min_length.is_some() || max_length.is_some()) {
            let because = "no reply is required";
            reader.no_effect(place, "min_reply_length, max_reply_length", because);
        }
        let min_length = min_length.unwrap_or(0);
        // Where only the shortest is given, it must be possible.
        let max_length = max_length.unwrap_or(255.max(min_length));
        if min_length > max_length {
            reader.error(
                place,
                format_args!("`min_reply_length` {min_length} is more than `max_reply_length` {max_length}"),
            );
        }
        UdpCheck { payload, reply, min_length, max_length }
    }
}

/// The bytes of `Ab12f 3 456`, which are AB 12 0F 03 45 06: a value and a mask each. `None` after an error.
fn bytes(
    statement: &Statement<'_>,
    expected: &'static str,
    wildcards: bool,
    reader: &mut Reader<'_>,
) -> Option<Vec<(u8, u8)>> {
    let keyword = statement.keyword.text;
    let mut bytes = Vec::new();
    for Word { place, text } in statement.words {
        // In quotes, one word has several groups.
        for group in text.split_ascii_whitespace() {
            let digits: Option<Vec<_>> = group.chars().map(|digit| nibble(digit, wildcards)).collect();
            let Some(digits) = digits.filter(|digits| bytes.len() + digits.len() / 2 < MOST_BYTES) else {
                reader.error(place, Message::WrongValue { keyword, value: text, expected });
                return None;
            };
            bytes.extend(digits.chunks(2).map(|pair| match *pair {
                [(high, high_mask), (low, low_mask)] => (high << 4 | low, high_mask << 4 | low_mask),
                [(low, low_mask)] => (low, 0xf0 | low_mask),
                _ => (0, 0),
            }));
        }
    }
    Some(bytes)
}

/// The value and the mask of a digit.
fn nibble(digit: char, wildcards: bool) -> Option<(u8, u8)> {
    if wildcards && matches!(digit, 'x' | 'X') {
        return Some((0, 0));
    }
    digit.to_digit(16).and_then(|value| u8::try_from(value).ok()).map(|value| (value, 0xf))
}
