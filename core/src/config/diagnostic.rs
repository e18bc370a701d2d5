//! What can be said about a configuration file: a place, a severity and a sentence that tells what would
//! be right. The sentences are written when they are displayed, from words of the file itself, so that a
//! diagnostic costs nothing until somebody reads it.

use core::fmt;

use super::keywords::{self, Vocabulary};
use super::lexer::Place;
use crate::text::Seconds;
use crate::time::Duration;

/// How much a [`Diagnostic`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; the file is right.
    Notice,
    /// Something has no effect, or another value is used.
    Warning,
    /// What it stands in is left out.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// A sentence about a place in the text. Displayed as `line:column: severity: message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diagnostic<'a> {
    /// Where it is.
    pub place: Place,
    /// How much it matters.
    pub severity: Severity,
    /// What there is to say.
    pub message: Message<'a>,
}

impl fmt::Display for Diagnostic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.severity, self.message)
    }
}

/// What a [`Diagnostic`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// The text is not UTF-8 from here on.
    NotUtf8,
    /// The line is longer than keepalived reads.
    LineTooLong,
    /// A quote that does not end on its line. What follows it may be half of a key.
    Unterminated,
    /// `{` that belongs to no keyword.
    StrayOpen,
    /// `}` without `{`.
    StrayClose,
    /// A block without `}`.
    Unclosed {
        /// What the block belongs to.
        keyword: &'a str,
    },
    /// A keyword that neither keepalived nor we know, here.
    UnknownKeyword {
        /// The keyword.
        word: &'a str,
        /// Where it stands; the nearest known word is looked for there.
        vocabulary: Vocabulary,
    },
    /// A keyword that keepalived has and we do not have yet.
    NotYet {
        /// The keyword.
        keyword: &'a str,
    },
    /// A keyword without which this instance would do harm, and that we do not have yet.
    NeededNotYet {
        /// The keyword.
        keyword: &'a str,
        /// What would happen without it.
        otherwise: &'static str,
    },
    /// A keyword that we read and need not act upon.
    Ignored {
        /// The keyword.
        keyword: &'a str,
        /// Why.
        why: &'static str,
    },
    /// A keyword that is right in itself and cancelled by something else.
    NoEffect {
        /// The keyword.
        keyword: &'a str,
        /// What cancels it.
        because: &'static str,
    },
    /// More words than the keyword takes.
    Extra {
        /// The keyword.
        keyword: &'a str,
        /// The first word too many.
        word: &'a str,
    },
    /// A word after an address that is none of its options.
    UnknownOption {
        /// The word.
        word: &'a str,
    },
    /// The keyword stands without its value.
    MissingValue {
        /// The keyword.
        keyword: &'a str,
        /// What would be right.
        expected: &'static str,
    },
    /// A value that cannot be used.
    WrongValue {
        /// The keyword.
        keyword: &'a str,
        /// The value.
        value: &'a str,
        /// What would be right.
        expected: &'static str,
    },
    /// A value that cannot be used, and what is used instead.
    Substituted {
        /// The keyword.
        keyword: &'a str,
        /// The value.
        value: &'a str,
        /// What would be right.
        expected: &'static str,
        /// What is used.
        used: Used<'a>,
    },
    /// A block lacks a keyword that it must have.
    MissingKeyword {
        /// The keyword.
        keyword: &'static str,
        /// What would be right.
        expected: &'static str,
    },
    /// The same name twice.
    DuplicateName {
        /// The name.
        name: &'a str,
    },
    /// A second router with the same identity.
    DuplicateRouter {
        /// What the other one is called.
        other: &'a str,
        /// Where the other one is.
        place: Place,
    },
    /// An address that the instance already has.
    DuplicateAddress {
        /// The address.
        value: &'a str,
    },
    /// The list of a sync group names an instance that does not exist.
    NoSuchMember {
        /// The name.
        name: &'a str,
    },
    /// The list of a sync group names an instance that is left out.
    MemberLeftOut {
        /// The name.
        name: &'a str,
    },
    /// The list of a sync group names an instance that another group has.
    InOtherGroup {
        /// The name.
        name: &'a str,
        /// The other group.
        group: &'a str,
    },
    /// A password that is cut.
    PasswordTooLong,
    /// The first IPv6 address should be link-local (RFC 9568 section 5.2.9).
    FirstNotLinkLocal {
        /// The address.
        value: &'a str,
    },
    /// More addresses than an Advertisement holds.
    TooManyAddresses {
        /// How many are advertised.
        advertised: u8,
    },
    /// A free sentence, for what only one place can say.
    Text(&'static str),
}

/// What is used instead of a wrong value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used<'a> {
    /// A number.
    Number(u64),
    /// A time in microseconds, shown in seconds.
    Micros(u64),
    /// A word.
    Word(&'a str),
    /// Nothing: as if the keyword were not there.
    Nothing,
}

impl fmt::Display for Used<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Number(number) => write!(f, "{number} is used"),
            Self::Micros(micros) => write!(f, "{} is used", Seconds(Duration::from_micros(micros))),
            Self::Word(word) => write!(f, "`{}` is used", Short(word)),
            Self::Nothing => f.write_str("it has no effect"),
        }
    }
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotUtf8 => f.write_str("the text is not UTF-8 from here on"),
            Self::LineTooLong => f.write_str("the line is longer than 1024 characters, which keepalived would cut"),
            Self::Unterminated => f.write_str("this quote does not end on its line"),
            Self::StrayOpen => f.write_str("this `{` belongs to no keyword; its block is skipped"),
            Self::StrayClose => f.write_str("this `}` has no `{`"),
            Self::Unclosed { keyword } => write!(f, "the block of `{}` has no `}}`", Short(keyword)),
            Self::UnknownKeyword { word, vocabulary } => {
                write!(f, "unknown keyword `{}`", Short(word))?;
                if let Some(home) = keywords::home(word) {
                    write!(f, " here; it belongs {home}")
                } else if let Some(known) = keywords::nearest(vocabulary, word) {
                    write!(f, "; did you mean `{known}`?")
                } else {
                    f.write_str("; it has no effect")
                }
            }
            Self::NotYet { keyword } if !cfg!(feature = "all-keywords") => {
                write!(f, "`{}` is not known here; it has no effect", Short(keyword))
            }
            Self::NotYet { keyword } => {
                write!(f, "keepalived's `{}` is not supported yet; it has no effect", Short(keyword))
            }
            Self::NeededNotYet { keyword, otherwise } => write!(
                f,
                "keepalived's `{}` is not supported yet; the instance is left out, because {otherwise}",
                Short(keyword)
            ),
            Self::Ignored { keyword, why } => write!(f, "`{}` is not needed: {why}", Short(keyword)),
            Self::NoEffect { keyword, because } => write!(f, "`{}` has no effect: {because}", Short(keyword)),
            Self::Extra { keyword, word } => {
                write!(f, "`{}` has no effect: `{}` takes no more words", value_of(keyword, word), Short(keyword))
            }
            Self::UnknownOption { word } => {
                write!(f, "`{}` is no option of an address; it has no effect", Short(word))
            }
            Self::MissingValue { keyword, expected } => write!(f, "`{}` wants {expected}", Short(keyword)),
            Self::WrongValue { keyword, value, expected } => {
                write!(f, "`{}` wants {expected}, not `{}`", Short(keyword), value_of(keyword, value))
            }
            Self::Substituted { keyword, value, expected, used } => {
                write!(f, "`{}` wants {expected}, not `{}`; {used}", Short(keyword), value_of(keyword, value))
            }
            Self::MissingKeyword { keyword, expected } => write!(f, "`{keyword}` is missing: it wants {expected}"),
            Self::DuplicateName { name } => write!(f, "there is a `{}` already; this one is left out", Short(name)),
            Self::DuplicateRouter { other, place } => write!(
                f,
                "`{}` at {place} has the same virtual_router_id, family and interface; this one is left out",
                Short(other)
            ),
            Self::DuplicateAddress { value } => write!(f, "`{}` is there already; it is used once", Short(value)),
            Self::NoSuchMember { name } => {
                write!(f, "there is no vrrp_instance `{}`; the sync group goes on without it", Short(name))
            }
            Self::MemberLeftOut { name } => {
                write!(f, "`{}` has an error, so the whole sync group is left out", Short(name))
            }
            Self::InOtherGroup { name, group } => {
                write!(f, "`{}` is in the sync group `{}` already; it stays there", Short(name), Short(group))
            }
            Self::PasswordTooLong => f.write_str("`auth_pass` is longer than 8 characters; only the first 8 are used"),
            Self::FirstNotLinkLocal { value } => {
                write!(f, "the first IPv6 address should be link-local (fe80::/10), not `{}`", Short(value))
            }
            Self::TooManyAddresses { advertised } => write!(
                f,
                "an Advertisement holds {advertised} addresses; from here on they are treated as virtual_ipaddress_excluded"
            ),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// What stands for a word that may be a key or a password: neither is shown anywhere.
pub(super) const HIDDEN: &str = "***";

/// A word behind a keyword, if it may be shown.
fn value_of<'a>(keyword: &str, value: &'a str) -> Short<'a> {
    let is_secret = keyword.starts_with("auth")
        || cfg!(feature = "all-keywords") && matches!(keyword, "key" | "active_key" | "password");
    Short(if is_secret { HIDDEN } else { value })
}

/// A word of the file, cut to a length that a line of a log can bear, without control characters.
#[derive(Clone, Copy, Debug)]
pub struct Short<'a>(pub &'a str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 64;
        // As nearly all are.
        if self.0.len() <= MOST && self.0.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return f.write_str(self.0);
        }
        let mut characters = self.0.chars();
        for character in characters.by_ref().take(MOST) {
            let shown = if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
            fmt::Write::write_char(f, shown)?;
        }
        if characters.next().is_some() { f.write_str("...") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::string::ToString;

    #[test]
    fn words_of_the_file_are_shown_short_and_harmless() {
        let word = "\x1b[31m".to_string() + &"x".repeat(100);
        let shown = Message::DuplicateName { name: &word }.to_string();
        assert!(shown.starts_with("there is a `\u{fffd}[31mxxx"), "{shown}");
        assert!(shown.contains("x...`"), "{shown}");
        assert_eq!(Used::Word("eth0\x1b[31m\0").to_string(), "`eth0\u{fffd}[31m\u{fffd}` is used");
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        let (word, expected) = ("hunter2", "PASS");
        let more: &[&str] = if cfg!(feature = "all-keywords") { &["key", "password"] } else { &[] };
        for keyword in ["auth_pass", "auth_type"].iter().chain(more).copied() {
            let value = word;
            for message in [
                Message::Extra { keyword, word },
                Message::WrongValue { keyword, value, expected },
                Message::Substituted { keyword, value, expected, used: Used::Nothing },
            ] {
                let shown = message.to_string();
                assert!(!shown.contains(word) && shown.contains("`***`"), "{shown}");
            }
        }
        assert!(Message::Extra { keyword: "priority", word }.to_string().contains(word));
    }

    #[test]
    fn times_are_shown_in_seconds() {
        assert_eq!(Used::Micros(40_950_000).to_string(), "40.95 is used");
        assert_eq!(Used::Micros(1_000_000).to_string(), "1 is used");
        assert_eq!(Used::Micros(1).to_string(), "0.000001 is used");
    }
}
