//! The words of keepalived.conf: where one begins and ends, with line and column. What the words mean, and
//! which of them belong together, is decided elsewhere ([`super::statement`], [`super::keywords`]).
//!
//! The syntax, as measured on keepalived 2.2.7:
//!
//! * `#` and `!` begin a comment wherever they stand outside quotes, also in the middle of a word.
//! * `{` and `}` stand alone, or close to the word before or after them (`vrrp_instance A{`). Inside a
//!   word they belong to it.
//! * Most words are [plain](Quoting::Plain): `"` begins and ends a word, and nothing else is special.
//!   Commands and their like are [shell-like](Quoting::Shell): both quotes join and protect, and a
//!   backslash escapes.

use core::fmt;
use core::str::Chars;

use super::keywords;

/// A place in the text: line and column, both counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Place {
    /// The first character of a text.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// How the words of a statement are quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quoting {
    /// `"several words"` are one word, without its quotes; a backslash and `'` are themselves.
    Plain,
    /// As in a shell; the text keeps quotes and escapes, [`unescape`] takes them away.
    Shell,
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A word; of a plain one, the text between its quotes.
    Word(&'a str),
    /// A quote that does not end on its line.
    Unterminated,
    /// `{`
    Open,
    /// `}`
    Close,
    /// The end of a line.
    EndOfLine,
    /// The end of the text; comes again and again.
    End,
}

/// One piece of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub kind: Kind<'a>,
}

/// A line, or what is left of one, of nothing but words of ordinary characters, and perhaps a brace at its end: however
/// it is quoted, it means the same, and it is much sooner read at once than by tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct SimpleLine<'a> {
    /// Its first word.
    pub(super) word: &'a str,
    /// Behind that word.
    pub(super) rest: Lexer<'a>,
    /// Whether `{` ends it.
    pub(super) opens: bool,
}

/// What ends a [`SimpleLine`]; a brace with the end of the line, if that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEnd {
    /// Nothing else.
    EndOfLine,
    /// `{`
    Open,
    /// `}`, and there is no word before it.
    Close,
}

/// A position in the text, from which tokens are read. It is small and can be copied to come back later.
#[derive(Clone, Copy, Debug)]
pub struct Lexer<'a> {
    /// The whole text up to its end (or the end of the part that may be read).
    text: &'a str,
    /// Bytes already read; always on a character boundary.
    offset: usize,
    place: Place,
}

impl<'a> Lexer<'a> {
    /// At the beginning of `text`; a byte order mark is skipped.
    pub fn new(text: &'a str) -> Self {
        let offset = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { text, offset, place: Place::START }
    }

    /// The place of the next character.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Reads the next token. Each call that does not return [`Kind::End`] reads at least one byte.
    pub fn next_token(&mut self, quoting: Quoting) -> Token<'a> {
        loop {
            self.pass::<BLANK>();
            let place = self.place;
            let kind = match self.peek() {
                None => Kind::End,
                Some(b'\n') => {
                    self.bump();
                    Kind::EndOfLine
                }
                Some(b'#' | b'!') => {
                    self.skip_line();
                    continue;
                }
                Some(b'{') => {
                    self.bump();
                    Kind::Open
                }
                Some(b'}') => {
                    self.bump();
                    Kind::Close
                }
                Some(byte) if is_blank(byte) => {
                    self.bump();
                    continue;
                }
                Some(b'"') if quoting == Quoting::Plain => self.quoted_word(),
                Some(_) if quoting == Quoting::Plain => self.plain_word(),
                Some(_) => self.shell_word(),
            };
            return Token { place, kind };
        }
    }

    /// Reads the line that begins with the next word, if it is a [`SimpleLine`] and ends before the column `most`.
    pub(super) fn simple_line(&mut self, most: u32) -> Option<SimpleLine<'a>> {
        let bytes = self.text.as_bytes().get(self.offset..)?;
        let length = leading::<ORDINARY>(bytes);
        let others = leading::<{ BLANK | ORDINARY }>(bytes.get(length..)?);
        let mut rest = *self;
        rest.advance(length);
        let word = rest.since(self.offset);
        let end = self.end_simple_line(length.saturating_add(others), false, most)?;
        Some(SimpleLine { word, rest, opens: end == LineEnd::Open })
    }

    /// Passes over a [`SimpleLine`] that ends before the column `most`, or one without words; what ended it. One that
    /// may begin with a keyword of the file is left.
    pub(super) fn pass_simple_line(&mut self, most: u32) -> Option<LineEnd> {
        let bytes = self.text.as_bytes().get(self.offset..)?;
        let blanks = leading::<BLANK>(bytes);
        let line = bytes.get(blanks..)?;
        if line.first().is_some_and(|&first| keywords::may_begin_file_block(first)) {
            return None;
        }
        let words = leading::<{ BLANK | ORDINARY }>(line);
        self.end_simple_line(blanks.saturating_add(words), words == 0, most)
    }

    /// Reads so many bytes and what ends a [`SimpleLine`] behind them, or nothing.
    fn end_simple_line(&mut self, length: usize, is_empty: bool, most: u32) -> Option<LineEnd> {
        let (line, after) = self.text.as_bytes().get(self.offset..)?.split_at_checked(length)?;
        // Not in the midst of a word, to which it would belong.
        let is_apart = || line.last().is_some_and(|&last| is_blank(last));
        let (end, at_end) = match after {
            [b'\n', ..] => (LineEnd::EndOfLine, true),
            [b'{', rest @ ..] if is_apart() => (LineEnd::Open, rest.first() == Some(&b'\n')),
            [b'}', rest @ ..] if is_empty => (LineEnd::Close, rest.first() == Some(&b'\n')),
            _ => return None,
        };
        let mut ahead = *self;
        ahead.advance(length);
        if ahead.place.column > most {
            return None;
        }
        if end != LineEnd::EndOfLine {
            ahead.advance(1);
        }
        if at_end {
            ahead.bump();
        }
        *self = ahead;
        Some(end)
    }

    /// Whether no word follows on this line.
    pub(super) fn is_behind_words(&mut self) -> bool {
        self.pass::<BLANK>();
        matches!(self.peek(), None | Some(b'\n' | b'{' | b'}' | b'#' | b'!'))
    }

    /// The word that begins here, if it is one of ordinary characters alone, whichever way it is quoted.
    pub(super) fn simple_word(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes().get(self.offset..)?;
        let length = leading::<ORDINARY>(bytes);
        let after = *bytes.get(length)?;
        if after != b'\n' && !is_blank(after) {
            return None;
        }
        let start = self.offset;
        self.advance(length);
        Some(self.since(start))
    }

    /// Whether something other than a brace, a comment or a quoted word begins here, or behind blanks.
    pub(super) fn is_at_word(&mut self) -> bool {
        self.pass::<BLANK>();
        self.peek().is_some_and(|byte| kind(byte) == ORDINARY)
    }

    /// Skips what is left of the line, but not its end.
    pub fn skip_line(&mut self) {
        while self.peek().is_some_and(|byte| byte != b'\n') {
            self.bump();
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.offset).copied()
    }

    /// The byte after the next one.
    fn peek_second(&self) -> Option<u8> {
        self.text.as_bytes().get(self.offset.saturating_add(1)).copied()
    }

    /// Reads one byte; the column moves with the first byte of each character.
    fn bump(&mut self) {
        let Some(byte) = self.peek() else { return };
        self.offset = self.offset.saturating_add(1);
        if byte == b'\n' {
            self.place.line = self.place.line.saturating_add(1);
            self.place.column = 1;
        } else if byte & 0xc0 != 0x80 {
            self.place.column = self.place.column.saturating_add(1);
        }
    }

    /// Reads bytes while they are of one of these kinds.
    fn pass<const KINDS: u8>(&mut self) {
        let rest = self.text.as_bytes().get(self.offset..).unwrap_or_default();
        self.advance(leading::<KINDS>(rest));
    }

    /// Reads so many bytes that are characters of one line.
    fn advance(&mut self, count: usize) {
        self.offset = self.offset.saturating_add(count);
        self.place.column = self.place.column.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// The text from `start` to the next byte to be read.
    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.offset).unwrap_or("")
    }

    /// `"` to `"`; other quotes and escapes are themselves.
    fn quoted_word(&mut self) -> Kind<'a> {
        self.bump();
        let start = self.offset;
        loop {
            match self.peek() {
                None | Some(b'\n') => return Kind::Unterminated,
                Some(b'"') => {
                    let word = self.since(start);
                    self.bump();
                    return Kind::Word(word);
                }
                Some(_) => self.bump(),
            }
        }
    }

    fn plain_word(&mut self) -> Kind<'a> {
        let start = self.offset;
        let mut nested = 0_u32;
        loop {
            self.pass::<ORDINARY>();
            let Some(byte) = self.peek() else { break };
            if is_blank(byte) || matches!(byte, b'\n' | b'#' | b'!' | b'"') || self.is_outer_brace(byte, &mut nested) {
                break;
            }
            self.bump();
        }
        Kind::Word(self.since(start))
    }

    fn shell_word(&mut self) -> Kind<'a> {
        let start = self.offset;
        let mut nested = 0_u32;
        let mut quote = None;
        loop {
            self.pass::<ORDINARY>();
            let Some(byte) = self.peek() else { break };
            match (quote, byte) {
                (_, b'\n') => break,
                // The escaped character is read below, unless the line ends here.
                (_, b'\\') if self.peek_second().is_some_and(|next| next != b'\n') => self.bump(),
                (Some(open), _) if open == byte => quote = None,
                (Some(_), _) => {}
                (None, b'"' | b'\'') => quote = Some(byte),
                (None, b'#' | b'!') => break,
                (None, _) if is_blank(byte) || self.is_outer_brace(byte, &mut nested) => break,
                (None, _) => {}
            }
            self.bump();
        }
        let text = self.since(start);
        if quote.is_some() { Kind::Unterminated } else { Kind::Word(text) }
    }

    /// Whether the brace `byte` in the middle of a word ends that word: one that closes the word, but not
    /// one within it, nor a pair such as `${NAME}`.
    fn is_outer_brace(&self, byte: u8, nested: &mut u32) -> bool {
        let last = self.peek_second().is_none_or(|next| is_blank(next) || matches!(next, b'\n' | b'#' | b'!'));
        match byte {
            b'{' if last => true,
            b'{' => {
                *nested = nested.saturating_add(1);
                false
            }
            b'}' if *nested > 0 => {
                *nested = nested.saturating_sub(1);
                false
            }
            b'}' => last || self.peek_second() == Some(b'}'),
            _ => false,
        }
    }
}

/// The kinds of most bytes, all of them ASCII, and none the end of a line.
const BLANK: u8 = 1;
/// A part of a word wherever it stands, and of however quoted a one: not all of these, but nearly.
const ORDINARY: u8 = 2;

/// The kind of each byte; 0 for all others.
static KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut rest: &mut [u8] = &mut kinds;
    let mut byte = 0_u8;
    while let [kind, after @ ..] = rest {
        *kind = match byte {
            b' ' | b'\t' | b'\r' | 0x0b | 0x0c => BLANK,
            b'('..=b'[' | b']'..=b'z' => ORDINARY,
            _ => 0,
        };
        byte = byte.wrapping_add(1);
        rest = after;
    }
    kinds
};

fn kind(byte: u8) -> u8 {
    KINDS.get(usize::from(byte)).copied().unwrap_or(0)
}

/// How many bytes there are of one of these kinds before the first other one.
fn leading<const KINDS: u8>(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| kind(byte) & KINDS == 0).unwrap_or(bytes.len())
}

fn is_blank(byte: u8) -> bool {
    kind(byte) == BLANK
}

/// The characters that a [shell-like](Quoting::Shell) word stands for: quotes removed, escapes replaced
/// (`\a \b \E \f \n \r \t \v`, `\nnn` octal, `\xXX`, `\cC` control; any other character is itself).
pub fn unescape(word: &str) -> Unescape<'_> {
    Unescape { rest: word.chars(), quote: None }
}

/// The iterator that [`unescape`] returns.
#[derive(Clone, Debug)]
pub struct Unescape<'a> {
    rest: Chars<'a>,
    quote: Option<char>,
}

impl Unescape<'_> {
    /// Reads up to `most` digits of a number to the base `radix`, beginning with `value`.
    fn number(&mut self, mut value: u32, radix: u32, most: u32) -> char {
        for _ in 0..most {
            let mut ahead = self.rest.clone();
            let Some(digit) = ahead.next().and_then(|c| c.to_digit(radix)) else { break };
            value = value.saturating_mul(radix).saturating_add(digit) & 0xff;
            self.rest = ahead;
        }
        char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    fn escaped(&mut self) -> Option<char> {
        let character = self.rest.next()?;
        Some(match character {
            'a' => '\x07',
            'b' => '\x08',
            'E' => '\x1b',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => self.number(0, 16, u32::MAX),
            'c' => char::from_u32(u32::from(self.rest.next()?) & 0x1f)?,
            '0'..='7' => self.number(character.to_digit(8)?, 8, 2),
            other => other,
        })
    }
}

impl Iterator for Unescape<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        loop {
            let character = self.rest.next()?;
            match (self.quote, character) {
                (_, '\\') => return self.escaped(),
                (Some(open), _) if open == character => self.quote = None,
                (None, '"' | '\'') => self.quote = Some(character),
                _ => return Some(character),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::string::String;
    use std::vec::Vec;

    fn kinds(text: &str, quoting: Quoting) -> Vec<Kind<'_>> {
        let mut lexer = Lexer::new(text);
        let mut kinds = Vec::new();
        loop {
            match lexer.next_token(quoting).kind {
                Kind::End => return kinds,
                kind => kinds.push(kind),
            }
        }
    }

    #[test]
    fn comments_begin_anywhere_outside_quotes() {
        use Kind::{EndOfLine, Word};
        assert_eq!(kinds("ab#cd ef\n! x\ngh !x", Quoting::Plain), [Word("ab"), EndOfLine, EndOfLine, Word("gh")]);
        assert_eq!(kinds("\"a # b\" c", Quoting::Plain), [Word("a # b"), Word("c")]);
        assert_eq!(kinds("'a # b' c", Quoting::Shell), [Word("'a # b'"), Word("c")]);
    }

    #[test]
    fn braces_stand_alone_or_close_to_a_word() {
        use Kind::{Close, Open, Word};
        assert_eq!(kinds("A{", Quoting::Plain), [Word("A"), Open]);
        assert_eq!(kinds("{lo}", Quoting::Plain), [Open, Word("lo"), Close]);
        assert_eq!(kinds("{ lo }}", Quoting::Plain), [Open, Word("lo"), Close, Close]);
        assert_eq!(kinds("a{b x}y ${V}", Quoting::Plain), [Word("a{b"), Word("x}y"), Word("${V}")]);
    }

    #[test]
    fn a_plain_word_knows_only_the_double_quote() {
        use Kind::Word;
        assert_eq!(kinds("'a b'", Quoting::Plain), [Word("'a"), Word("b'")]);
        assert_eq!(kinds(r#"ab"c{d"e a\sb"#, Quoting::Plain), [Word("ab"), Word("c{d"), Word("e"), Word(r"a\sb")]);
        assert_eq!(kinds("a \"b c \nd", Quoting::Plain), [Word("a"), Kind::Unterminated, Kind::EndOfLine, Word("d")]);
    }

    #[test]
    fn a_shell_word_joins_quotes_and_escapes() {
        assert_eq!(
            kinds(r#"abcd" efg h jkl "mnop x"#, Quoting::Shell),
            [Kind::Word(r#"abcd" efg h jkl "mnop"#), Kind::Word("x")]
        );
        let text = |word| unescape(word).collect::<String>();
        assert_eq!(text(r#"abcd" efg h jkl "mnop"#), "abcd efg h jkl mnop");
        assert_eq!(text(r#"a\tb\101\x42\cC\"\\'d\'"#), "a\tbAB\x03\"\\d'");
    }

    #[test]
    fn a_simple_line_is_what_its_tokens_say() {
        let simple = ["a b\n", "  a\tb {\nc", "  }\n", "} x\n", "{ a\n", "\n", " \r\n", " {\n", "a-b/c 1.2:3 [x] {x\n"];
        let others = [
            "a{\n",
            "a b}\n",
            "a }\n",
            "a # b\n",
            "!\n",
            "a \"b\"\n",
            "it's\n",
            "a\\b\n",
            "\u{e9} a\n",
            "a",
            "",
            "${A}\n",
        ];
        for text in simple.into_iter().chain(others) {
            let mut passed = Lexer::new(text);
            let end = passed.pass_simple_line(1024);
            let mut lexer = Lexer::new(text);
            let line = lexer.is_at_word().then(|| lexer.simple_line(1024)).flatten();
            assert!(end.is_none() || !others.contains(&text), "{text:?}");
            assert!(line.is_none() || end.is_some(), "{text:?}");
            for quoting in [Quoting::Plain, Quoting::Shell] {
                let Some(end) = end else { continue };
                let mut tokens = Lexer::new(text);
                let mut first = None;
                let kind = loop {
                    match tokens.next_token(quoting).kind {
                        Kind::Word(word) => first = first.or(Some((word, tokens))),
                        kind => break kind,
                    }
                };
                let expected = match end {
                    LineEnd::EndOfLine => Kind::EndOfLine,
                    LineEnd::Open => Kind::Open,
                    LineEnd::Close => Kind::Close,
                };
                assert_eq!(kind, expected, "{text:?}");
                if end != LineEnd::EndOfLine && tokens.peek() == Some(b'\n') {
                    tokens.bump();
                }
                assert_eq!((tokens.offset, tokens.place), (passed.offset, passed.place), "{text:?}");
                assert_eq!(line.is_some(), first.is_some(), "{text:?}");
                if let (Some(line), Some((word, rest))) = (line, first) {
                    assert_eq!((line.word, line.opens), (word, end == LineEnd::Open), "{text:?}");
                    assert_eq!((line.rest.offset, line.rest.place), (rest.offset, rest.place), "{text:?}");
                    assert_eq!((lexer.offset, lexer.place), (passed.offset, passed.place), "{text:?}");
                }
            }
        }
        // Others may belong to the file, which is looked at word by word.
        assert_eq!(Lexer::new("virtual_server a {\n").pass_simple_line(1024), None);
        assert_eq!(Lexer::new("a b\n").pass_simple_line(3), None);
        assert!(Lexer::new("a b\n").simple_line(3).is_none());
    }

    #[test]
    fn places_count_lines_and_characters() {
        let mut lexer = Lexer::new("\u{feff}\u{e9}\u{e9} b\r\n\tc");
        let places: Vec<_> = (0..5).map(|_| lexer.next_token(Quoting::Plain).place).collect();
        let place = |line, column| Place { line, column };
        assert_eq!(places, [place(1, 1), place(1, 4), place(1, 6), place(2, 2), place(2, 3)]);
    }
}
