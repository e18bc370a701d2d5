//! Where the sentences about a text go, and how a block is walked: the core's helpers for one value, with findings at
//! their other end.

use std::fmt;

use steadfast_core::config::diagnostic::Used;
use steadfast_core::config::keywords::Vocabulary;
use steadfast_core::config::statement::{Statement, Word};
use steadfast_core::config::value::{self, Log};
use steadfast_core::config::{self, Diagnostic, Message, Place, Severity, VirtualAddress};
use steadfast_core::time::Duration;

use crate::check::Findings;

/// The longest time that keepalived reads, in seconds.
const MOST_SECONDS: u32 = 4294;

/// The longest text, in bytes.
const MOST_TEXT: usize = 1024;

/// The longest name of a host, with a port, in bytes.
const MOST_HOST: usize = 260;

/// Takes what there is to say; remembers whether there was an error since [`Reader::begin`].
pub(crate) struct Reader<'r> {
    findings: &'r mut Findings,
    errors: bool,
}

impl<'r> Reader<'r> {
    pub(crate) fn new(findings: &'r mut Findings) -> Self {
        Self { findings, errors: false }
    }

    /// Forgets the errors so far: what follows stands for itself.
    pub(crate) fn begin(&mut self) {
        self.errors = false;
    }

    /// Whether there was an error.
    pub(crate) fn has_errors(&self) -> bool {
        self.errors
    }

    /// A place as a sentence about another place names it.
    pub(crate) fn name_of(&self, place: Place) -> String {
        self.findings.name_of(place)
    }

    /// A place as the log names it: always with its file.
    pub(crate) fn at(&self, place: Place) -> String {
        self.findings.at(place)
    }

    pub(crate) fn error(&mut self, place: Place, message: impl fmt::Display) {
        self.errors = true;
        self.findings.add_text(place, Severity::Error, message);
    }

    pub(crate) fn warning(&mut self, place: Place, message: impl fmt::Display) {
        self.findings.add_text(place, Severity::Warning, message);
    }

    /// A warning of what keepalived takes without a word.
    pub(crate) fn advice(&mut self, place: Place, message: impl fmt::Display) {
        self.findings.add_advice(place, message);
    }

    pub(crate) fn notice(&mut self, place: Place, message: impl fmt::Display) {
        self.findings.add_text(place, Severity::Notice, message);
    }

    /// A warning that a keyword has no effect.
    pub(crate) fn no_effect(&mut self, place: Place, keyword: &str, because: &'static str) {
        self.warning(place, Message::NoEffect { keyword, because });
    }

    /// Calls something of the core's.
    fn core<'a, T>(&mut self, act: impl FnOnce(&mut Log<'_, 'a>) -> T) -> T {
        let findings = &mut *self.findings;
        let mut report = |diagnostic: Diagnostic<'a>| findings.add(diagnostic);
        let mut log = Log::new(&mut report);
        let result = act(&mut log);
        self.errors |= log.has_errors();
        result
    }

    /// Visits the statements of a block that we act upon; without a block there is an error, and `false`.
    pub(crate) fn block<'a>(
        &mut self,
        statement: &Statement<'a>,
        vocabulary: Vocabulary,
        mut visit: impl FnMut(&'static str, &Statement<'a>, &mut Self),
    ) -> bool {
        self.entries(statement, "a block, { to }", |entry, reader| {
            if let Some(keyword) = reader.core(|log| config::known(vocabulary, entry, log)) {
                visit(keyword, entry, reader);
            }
        });
        statement.body.is_some()
    }

    /// Visits the statements of a block, whatever they are.
    pub(crate) fn entries<'a>(
        &mut self,
        statement: &Statement<'a>,
        expected: &'static str,
        mut visit: impl FnMut(&Statement<'a>, &mut Self),
    ) {
        let Some(mut body) = statement.body else {
            let keyword = statement.keyword.text;
            return self.error(statement.keyword.place, Message::MissingValue { keyword, expected });
        };
        while let Some(entry) = self.core(|log| body.next(&mut |diagnostic| log.add(diagnostic))) {
            visit(&entry, self);
        }
        // This was reported when the statement was read.
        self.errors |= !statement.closed;
    }

    /// A keyword that this kind of block knows and this one does not take.
    pub(crate) fn not_here(&mut self, statement: &Statement<'_>, owner: &str) {
        let keyword = config::diagnostic::Short(statement.keyword.text);
        self.warning(statement.keyword.place, format_args!("`{keyword}` has no effect: {owner} does not take it"));
    }

    /// An entry of a list of addresses.
    pub(crate) fn address<'a>(&mut self, entry: &Statement<'a>) -> Option<VirtualAddress<'a>> {
        self.core(|log| VirtualAddress::read(entry, log))
    }

    pub(crate) fn no_more<'a>(&mut self, statement: &Statement<'a>, words: impl Iterator<Item = Word<'a>>) {
        self.core(|log| value::no_more(statement, words, log));
    }

    pub(crate) fn flag(&mut self, statement: &Statement<'_>) -> bool {
        self.core(|log| value::flag(statement, log))
    }

    pub(crate) fn switch(&mut self, statement: &Statement<'_>) -> Option<bool> {
        self.core(|log| value::switch(statement, log))
    }

    pub(crate) fn required<'a, T>(
        &mut self,
        statement: &Statement<'a>,
        expected: &'static str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Option<T> {
        self.core(|log| value::required(statement, expected, parse, log))
    }

    pub(crate) fn defaulted<'a, T>(
        &mut self,
        statement: &Statement<'a>,
        expected: &'static str,
        used: Used<'static>,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Option<T> {
        self.core(|log| value::defaulted(statement, expected, used, parse, log))
    }

    /// A text that is neither empty nor longer than a line of keepalived's.
    pub(crate) fn text(&mut self, statement: &Statement<'_>, expected: &'static str) -> Option<String> {
        self.required(statement, expected, |text| (1..=MOST_TEXT).contains(&text.len()).then(|| text.to_owned()))
    }

    /// The name of a host as it may stand in a header.
    pub(crate) fn host(&mut self, statement: &Statement<'_>) -> Option<String> {
        let plain = |text: &str| text.len() <= MOST_HOST && text.chars().all(|c| !c.is_control() && c != ' ');
        let parse = |text: &str| (!text.is_empty() && plain(text)).then(|| text.to_owned());
        self.required(statement, "the name of a host", parse)
    }

    /// A number; a wrong one has no effect.
    pub(crate) fn number(
        &mut self,
        statement: &Statement<'_>,
        expected: &'static str,
        range: std::ops::RangeInclusive<u32>,
    ) -> Option<u32> {
        self.defaulted(statement, expected, Used::Nothing, |text| value::number(text, range))
    }

    /// A time that may be 0; a wrong one has no effect.
    pub(crate) fn delay(&mut self, statement: &Statement<'_>) -> Option<Duration> {
        let parse = |text| value::seconds(text, MOST_SECONDS);
        self.defaulted(statement, "seconds from 0 to 4294", Used::Nothing, parse)
    }

    /// A time of at least 10 ms; a wrong one has no effect.
    pub(crate) fn time(&mut self, statement: &Statement<'_>) -> Option<Duration> {
        let parse = |text| value::seconds(text, MOST_SECONDS).filter(|time| time.as_micros() >= 10_000);
        self.defaulted(statement, "seconds from 0.01 to 4294", Used::Nothing, parse)
    }

    /// A TCP or UDP port.
    pub(crate) fn port(&mut self, statement: &Statement<'_>) -> Option<u16> {
        self.required(statement, "a port from 1 to 65535", port)
    }
}

/// A port that is not 0.
pub(crate) fn port(text: &str) -> Option<u16> {
    value::number(text, 1..=65535).and_then(|number| u16::try_from(number).ok())
}
