//! Statements and blocks: which words of keepalived.conf belong to one keyword, and where its block ends.
//! No keyword is known here but those that begin a block at the top of a file, which is how a forgotten
//! `}` is found where it was forgotten.
//!
//! The text is the only storage: a [`Block`] is a position, and walking it twice reads the text twice.
//! Nothing recurses, so depth costs nothing.

use super::diagnostic::{Diagnostic, Message, Severity};
use super::keywords;
use super::lexer::{Kind, Lexer, LineEnd, Place, Quoting, SimpleLine};

/// The longest line that keepalived reads, in characters.
pub const LINE_MAX: u32 = 1024;

/// Whether simple lines are read at once, and not by tokens: it is much sooner done. A build that does not know all
/// keywords is for short files, and has no room for two ways.
const AT_ONCE: bool = cfg!(feature = "all-keywords");

/// A word and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<'a> {
    /// Where it begins.
    pub place: Place,
    /// Its text, see [`Quoting`].
    pub text: &'a str,
}

/// A keyword with what belongs to it: the words after it on its line, and perhaps a block.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// The keyword, or in a list the first word of an entry.
    pub keyword: Word<'a>,
    /// The words after it.
    pub words: Words<'a>,
    /// Its block, if it has one.
    pub body: Option<Block<'a>>,
    /// Whether the block's `}` was found; true without a block.
    pub closed: bool,
}

/// The words of a line after its keyword.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    lexer: Lexer<'a>,
    quoting: Quoting,
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        if self.lexer.is_behind_words() {
            return None;
        }
        let place = self.lexer.place();
        if AT_ONCE && let Some(text) = self.lexer.simple_word() {
            return Some(Word { place, text });
        }
        let mut ahead = self.lexer;
        let token = ahead.next_token(self.quoting);
        match token.kind {
            Kind::Word(text) => {
                self.lexer = ahead;
                Some(Word { place: token.place, text })
            }
            _ => None,
        }
    }
}

/// The statements of a file or between `{` and `}`.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    lexer: Lexer<'a>,
    /// Whether this is the whole file, which no `}` ends.
    file: bool,
}

impl<'a> Block<'a> {
    /// The statements of a whole text.
    pub fn file(text: &'a str) -> Self {
        Self { lexer: Lexer::new(text), file: true }
    }

    /// The next statement; what is no statement is reported and passed over.
    pub fn next(&mut self, report: &mut dyn FnMut(Diagnostic<'a>)) -> Option<Statement<'a>> {
        loop {
            let before = self.lexer;
            if AT_ONCE && self.lexer.is_at_word() {
                let place = self.lexer.place();
                if let Some(SimpleLine { word, rest, opens }) = self.lexer.simple_line(LINE_MAX) {
                    if !self.file && keywords::begins_file_block(word) {
                        self.lexer = before;
                        return None;
                    }
                    let keyword = Word { place, text: word };
                    let words = Words { lexer: rest, quoting: keywords::quoting(word) };
                    return Some(match opens {
                        true => self.with_body(keyword, words, report),
                        false => self.at_end_of_line(keyword, words, report),
                    });
                }
            }
            let token = self.lexer.next_token(Quoting::Plain);
            let mut error = |message| report(Diagnostic { place: token.place, severity: Severity::Error, message });
            match token.kind {
                Kind::EndOfLine => {}
                Kind::End => return None,
                Kind::Close if self.file => error(Message::StrayClose),
                Kind::Close => {
                    self.lexer = before;
                    return None;
                }
                Kind::Open => {
                    error(Message::StrayOpen);
                    self.lexer = skip(self.lexer).0;
                }
                Kind::Unterminated => error(Message::Unterminated),
                Kind::Word(text) if !self.file && keywords::begins_file_block(text) => {
                    self.lexer = before;
                    return None;
                }
                Kind::Word(text) => return Some(self.statement(Word { place: token.place, text }, report)),
            }
        }
    }

    /// Reads to the end of the statement that begins with `keyword`.
    fn statement(&mut self, keyword: Word<'a>, report: &mut dyn FnMut(Diagnostic<'a>)) -> Statement<'a> {
        let quoting = keywords::quoting(keyword.text);
        let words = Words { lexer: self.lexer, quoting };
        let mut too_long = false;
        loop {
            let before = self.lexer;
            let token = self.lexer.next_token(quoting);
            if token.place.column > LINE_MAX && !too_long {
                too_long = true;
                report(Diagnostic { place: token.place, severity: Severity::Error, message: Message::LineTooLong });
            }
            match token.kind {
                Kind::Word(_) => {}
                Kind::Unterminated => {
                    let message = Message::Unterminated;
                    report(Diagnostic { place: token.place, severity: Severity::Error, message });
                }
                Kind::Open => return self.with_body(keyword, words, report),
                Kind::Close => {
                    self.lexer = before;
                    return Statement { keyword, words, body: None, closed: true };
                }
                Kind::EndOfLine | Kind::End => return self.at_end_of_line(keyword, words, report),
            }
        }
    }

    /// The statement whose line has just been read: its `{` may stand on a later one.
    fn at_end_of_line(
        &mut self,
        keyword: Word<'a>,
        words: Words<'a>,
        report: &mut dyn FnMut(Diagnostic<'a>),
    ) -> Statement<'a> {
        let mut ahead = self.lexer;
        while !ahead.is_at_word() {
            match ahead.next_token(Quoting::Plain).kind {
                Kind::EndOfLine => {}
                Kind::Open => {
                    self.lexer = ahead;
                    return self.with_body(keyword, words, report);
                }
                _ => return Statement { keyword, words, body: None, closed: true },
            }
        }
        self.lexer = ahead;
        Statement { keyword, words, body: None, closed: true }
    }

    /// The statement whose `{` has just been read.
    fn with_body(
        &mut self,
        keyword: Word<'a>,
        words: Words<'a>,
        report: &mut dyn FnMut(Diagnostic<'a>),
    ) -> Statement<'a> {
        let body = Block { lexer: self.lexer, file: false };
        let (after, closed) = skip(self.lexer);
        self.lexer = after;
        if !closed {
            let message = Message::Unclosed { keyword: keyword.text };
            report(Diagnostic { place: keyword.place, severity: Severity::Error, message });
        }
        Statement { keyword, words, body: Some(body), closed }
    }
}

/// Passes over the rest of a block whose `{` has been read: the position after its `}`, and whether there
/// was one. A word that can only begin a block at the top of a file ends it too.
fn skip(mut lexer: Lexer<'_>) -> (Lexer<'_>, bool) {
    let mut depth = 1_u32;
    let mut quoting = None;
    loop {
        let before = lexer;
        if AT_ONCE
            && quoting.is_none()
            && let Some(end) = lexer.pass_simple_line(LINE_MAX)
        {
            match end {
                LineEnd::EndOfLine => {}
                LineEnd::Open => depth = depth.saturating_add(1),
                LineEnd::Close => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return (lexer, true);
                    }
                }
            }
            continue;
        }
        match lexer.next_token(quoting.unwrap_or(Quoting::Plain)).kind {
            Kind::Word(word) => {
                if quoting.is_none() {
                    if keywords::begins_file_block(word) {
                        return (before, false);
                    }
                    quoting = Some(keywords::quoting(word));
                }
            }
            Kind::Unterminated => {}
            Kind::EndOfLine => quoting = None,
            Kind::Open => {
                quoting = None;
                depth = depth.saturating_add(1);
            }
            Kind::Close => {
                quoting = None;
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return (lexer, true);
                }
            }
            Kind::End => return (lexer, false),
        }
    }
}
