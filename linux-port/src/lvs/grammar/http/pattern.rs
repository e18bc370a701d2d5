//! `regex` and its options. keepalived has PCRE2, we have regex-lite: no look-around, no back-references, and in
//! return time that grows with the text and the expression only. What it cannot do is said here, by its place.

use steadfast_core::config::diagnostic::Short;
use steadfast_core::config::statement::{Statement, Word};
use steadfast_core::config::{Message, Place, value};

use crate::grammar::reader::Reader;

use super::super::super::expression::Expression;
use super::super::super::plan::Pattern;

/// Where a match may begin, at the latest.
const MOST_OFFSET: u32 = i32::MAX as u32;

/// What a `url` says about it.
#[derive(Default)]
pub(super) struct PatternDraft {
    expression: Option<(Place, String)>,
    must_not_match: Option<Place>,
    /// The letters of the options, as they stand in front of an expression.
    flags: String,
    min_offset: Option<Place>,
    from: usize,
    to: Option<usize>,
}

impl PatternDraft {
    /// Reads a keyword of a `url`.
    pub(super) fn read(&mut self, keyword: &str, statement: &Statement<'_>, reader: &mut Reader<'_>) {
        let place = statement.keyword.place;
        let offset = |reader: &mut Reader<'_>| {
            let parse = |text| value::number(text, 0..=MOST_OFFSET).and_then(|number| usize::try_from(number).ok());
            reader.required(statement, "a number from 0 to 2147483647", parse)
        };
        match keyword {
            "regex" => {
                let place = statement.words.clone().next().map_or(place, |word| word.place);
                self.expression = reader.text(statement, "a regular expression").map(|text| (place, text));
            }
            "regex_no_match" if reader.flag(statement) => self.must_not_match = Some(place),
            "regex_options" => statement.words.for_each(|word| self.option(word, reader)),
            "regex_min_offset" => {
                self.from = offset(reader).unwrap_or(0);
                self.min_offset = Some(place);
            }
            "regex_max_offset" => {
                self.to = offset(reader);
                self.min_offset = Some(place);
            }
            // The table says that we act upon it, so there is an arm for it; see the tests.
            _ => reader.warning(place, Message::NotYet { keyword }),
        }
    }

    fn option(&mut self, word: Word<'_>, reader: &mut Reader<'_>) {
        let flag = match word.text {
            "caseless" => 'i',
            "multiline" => 'm',
            "dotall" => 's',
            "extended" => 'x',
            "ungreedy" => 'U',
            // They change speed or what can be written, never what matches here.
            "dupnames" | "never_backslash_c" | "never_ucp" | "never_utf" | "no_auto_capture" | "no_auto_possess"
            | "no_dotstar_anchor" | "no_start_optimize" | "use_offset_limit" | "utf" => return,
            option => {
                return reader.warning(word.place, format_args!("the option `{}` has no effect", Short(option)));
            }
        };
        if !self.flags.contains(flag) {
            self.flags.push(flag);
        }
    }

    /// The expression, tried; `None` without one or after an error.
    pub(super) fn complete(self, reader: &mut Reader<'_>) -> Option<Pattern> {
        let Some((place, text)) = self.expression else {
            for (place, keyword) in
                [(self.must_not_match, "regex_no_match"), (self.min_offset, "regex_min_offset, regex_max_offset")]
            {
                if let Some(place) = place {
                    reader.no_effect(place, keyword, "there is no `regex`");
                }
            }
            return None;
        };
        let body = end_of_text(&text, self.flags.contains('m'));
        let expression = if self.flags.is_empty() { body } else { format!("(?{}){body}", self.flags) };
        let expression = match Expression::new(expression) {
            Ok(expression) => expression,
            Err(error) => {
                let shown = Short(&text);
                reader.error(place, format_args!("`regex` cannot be used: {error} in `{shown}`"));
                return None;
            }
        };
        if self.to.is_some_and(|to| to < self.from) {
            reader.error(place, "`regex_max_offset` is less than `regex_min_offset`");
        }
        let must_not_match = self.must_not_match.is_some();
        Some(Pattern { expression, must_not_match, min_offset: self.from, max_offset: self.to })
    }
}

/// The expression with PCRE's `$` and `\Z` in regex-lite's words: they also match before a line feed that ends the
/// text, as most answers do.
fn end_of_text(expression: &str, multiline: bool) -> String {
    const END: &str = r"(?:\n?\z)";
    // Where an expression sets `m` itself, its `$` are those of lines.
    let lines = multiline || expression.contains("(?");
    let mut written = String::with_capacity(expression.len());
    let mut letters = expression.chars();
    let mut class = 0_usize;
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('Z') if class == 0 => written.push_str(END),
                Some(escaped) => written.extend(['\\', escaped]),
                None => written.push('\\'),
            },
            '[' => {
                class += 1;
                written.push('[');
            }
            ']' => {
                class = class.saturating_sub(1);
                written.push(']');
            }
            '$' if class == 0 && !lines => written.push_str(END),
            other => written.push(other),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_text_is_before_its_last_line_feed_too() {
        let found = |expression, text| regex_lite::Regex::new(&end_of_text(expression, false)).unwrap().is_match(text);
        assert!(found("^OK$", "OK\n") && found("^OK$", "OK") && !found("^OK$", "OK\n\n") && !found("^OK$", "OKAY"));
        assert!(found(r"a\$b", "a$b") && found("[$]", "$") && found(r"\d\Z", "1\n") && found("(a|b$)c?", "b\n"));
    }
}
