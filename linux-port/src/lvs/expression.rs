//! A regular expression for the bytes of an answer: tried and made ready once, where the file is read.

use regex_lite::{Regex, RegexBuilder};

/// The most memory that one takes, in bytes.
const MOST_MEMORY: usize = 64 << 10;

/// An expression of the crate `regex-lite`, which is matched byte by byte, as PCRE does it without its option `utf`:
/// in a text whose characters (U+0000 to U+00FF) are the bytes, and it is itself written the same way. Two are equal if
/// they are written equally.
#[derive(Clone, Debug)]
pub struct Expression {
    text: String,
    regex: Regex,
}

impl Expression {
    /// An expression as it is written.
    ///
    /// # Errors
    /// It is none, or takes too much memory.
    pub fn new(text: String) -> Result<Self, regex_lite::Error> {
        let bytewise: String = text.bytes().map(char::from).collect();
        let regex = RegexBuilder::new(&bytewise).size_limit(MOST_MEMORY).build()?;
        Ok(Self { text, regex })
    }

    /// As it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// For texts whose characters are bytes.
    pub fn regex(&self) -> &Regex {
        &self.regex
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_several_bytes_are_several() {
        let expression = Expression::new("^...$".into()).unwrap();
        let bytes: String = "aü".bytes().map(char::from).collect();
        assert!(expression.regex().is_match(&bytes));
        let letter = Expression::new("ü".into()).unwrap();
        assert!(letter.regex().is_match(&bytes) && letter.text() == "ü");
        assert_eq!(letter, Expression::new("ü".into()).unwrap());
        assert_ne!(letter, expression);
    }

    #[test]
    fn what_is_none_or_too_large_is_refused() {
        for wrong in ["(", "a{9999999}", r"[[:alpha:]]{500}{500}", r"(a)\1"] {
            assert!(Expression::new(wrong.into()).is_err(), "{wrong}");
        }
    }
}
