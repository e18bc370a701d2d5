//! `vrrp_sync_group`: its name and the names of its members. The names stay in the text. Whether there are such
//! instances, and whether one is in two groups, shows only when all of the file is seen together; that is left to
//! the ports.

use super::diagnostic::{Diagnostic, Message};
use super::keywords::Vocabulary;
use super::lexer::Place;
use super::statement::{Block, Statement, Word, Words};
use super::value::{self, Log};

/// One `vrrp_sync_group`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SyncGroup<'a> {
    /// Its name; empty if it has none.
    pub name: &'a str,
    /// Where it begins.
    pub place: Place,
    /// Something in it is wrong: what it says of its members cannot be relied upon, and none of them shall run.
    pub has_errors: bool,
    list: Option<Block<'a>>,
}

impl<'a> SyncGroup<'a> {
    /// The names in its `group` block, as often as they stand there.
    pub fn members(&self) -> Members<'a> {
        Members { list: self.list, line: None }
    }
}

/// The names of members; see [`SyncGroup::members`].
#[derive(Clone, Copy, Debug)]
pub struct Members<'a> {
    list: Option<Block<'a>>,
    /// What is left of a line.
    line: Option<Words<'a>>,
}

impl<'a> Iterator for Members<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        if let Some(word) = self.line.as_mut().and_then(Iterator::next) {
            return Some(word);
        }
        // What is wrong in the list was reported when the group was read.
        let entry = self.list.as_mut()?.next(&mut |_| {})?;
        self.line = Some(entry.words);
        Some(entry.keyword)
    }
}

/// Reads a `vrrp_sync_group`.
pub(super) fn read<'a>(statement: &Statement<'a>, report: &mut dyn FnMut(Diagnostic<'a>)) -> SyncGroup<'a> {
    let place = statement.keyword.place;
    let mut log = Log::new(report);
    let name = value::required(statement, "a name", |name| (!name.is_empty()).then_some(name), &mut log);
    let mut list = None;
    match statement.body {
        Some(body) => read_body(body, &mut list, &mut log),
        None => log.error(place, Message::MissingValue { keyword: "vrrp_sync_group", expected: "a block, { to }" }),
    }
    if list.is_none() && !log.has_errors() {
        log.error(place, Message::MissingKeyword { keyword: "group", expected: "the names of its vrrp_instances" });
    }
    // A block that is not closed was reported with the file.
    SyncGroup { name: name.unwrap_or(""), place, has_errors: log.has_errors() || !statement.closed, list }
}

fn read_body<'a>(mut body: Block<'a>, list: &mut Option<Block<'a>>, log: &mut Log<'_, 'a>) {
    while let Some(statement) = body.next(&mut |diagnostic| log.add(diagnostic)) {
        let Some("group") = super::known(Vocabulary::SyncGroup, &statement, log) else { continue };
        let place = statement.keyword.place;
        value::no_more(&statement, statement.words, log);
        let Some(mut entries) = statement.body else {
            log.error(place, Message::MissingValue { keyword: "group", expected: "a block of names, { to }" });
            continue;
        };
        if list.is_some() {
            log.warning(place, Message::NoEffect { keyword: "group", because: "the members have been named already" });
            continue;
        }
        *list = Some(entries);
        while let Some(entry) = entries.next(&mut |diagnostic| log.add(diagnostic)) {
            if entry.body.is_some() {
                let expected = "names only, no blocks";
                let value = entry.keyword.text;
                log.error(entry.keyword.place, Message::WrongValue { keyword: "group", value, expected });
            }
        }
    }
}
