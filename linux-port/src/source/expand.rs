//! What keepalived does to each line before it looks for keywords in it: lines for one of several machines (`@id`,
//! `@^id`), definitions (`$NAME=value`, over several lines if they end with `\`), their values in the place of `$NAME`
//! and `${NAME}`, and lines that stand for many (`~SEQ`, `~LST`). What comes out is a text again, and a map of which of
//! its lines and columns somebody has written where.
//!
//! Values are put in when a line is read, not when they are defined, and may name others. A line of a definition of
//! several lines keeps the place where it was written; any other value has the place where it is used.
//!
//! Everything is bounded by [`MOST_WORK`], and how deep values name each other by [`MOST_DEPTH`].

mod line;
mod sequence;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::rc::Rc;

use steadfast_core::config::diagnostic::Short;
use steadfast_core::config::{Place, Severity};

use super::{MOST_BYTES, Problem, Problems};
use line::Line;
pub(super) use line::Piece;

/// How much is done for a text in all: bytes that are looked at, and a little for each line.
const MOST_WORK: usize = 4 * MOST_BYTES as usize;

/// What a line costs beside its bytes.
const LINE_COST: usize = 134;

/// What a piece of a line costs.
const PIECE_COST: usize = 16;

/// How deep values, sequences and lines of definitions may stand within each other.
const MOST_DEPTH: usize = 32;

/// What is known beside the text.
pub(super) struct Context<'a> {
    /// What `@id` is compared with, and the value of `${_INSTANCE}`.
    pub(super) id: &'a str,
    /// The directory of the file that a line of the text comes from: `${_PWD}`.
    pub(super) directory: &'a dyn Fn(u32) -> String,
}

/// A text without anything left to expand.
#[derive(Default)]
pub(super) struct Expanded {
    pub(super) text: String,
    pub(super) map: Vec<Step>,
    pub(super) pieces: Vec<Piece>,
    pub(super) problems: Problems,
}

/// From this line on, the lines of the text are those of the source, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The line of the text.
    pub(super) first: u32,
    /// The line of the source.
    pub(super) line: u32,
    /// The pieces of the first line, where its columns are not the source's.
    pub(super) pieces: (u32, u32),
}

/// Whether there is anything to expand.
pub(super) fn is_wanted(text: &str) -> bool {
    [b'$', b'@', b'~'].iter().any(|sign| text.as_bytes().contains(sign)) && text.lines().any(concerns)
}

/// Whether a line may be or contain anything to expand.
fn concerns(line: &str) -> bool {
    line.contains('$') || line.trim_start().starts_with(['@', '~'])
}

/// Expands a text. `problems` are those that are known already, by places in it.
pub(super) fn expand(text: &str, problems: Problems, context: &Context<'_>) -> Expanded {
    let Problems { list, counts } = problems;
    let mut known = list.into_iter();
    let next_known = known.next();
    let mut expander = Expander {
        context,
        source: text.lines(),
        line: 0,
        known,
        next_known,
        definitions: HashMap::new(),
        random: std::hash::RandomState::new().build_hasher().finish(),
        work_left: MOST_WORK,
        count: 0,
        last_step: None,
        done: Expanded {
            text: String::with_capacity(text.len()),
            problems: Problems { list: Vec::new(), counts },
            ..Expanded::default()
        },
    };
    if let Err(Stop) = expander.run() {
        let message = format!(
            "nothing of the file is read: `$`, `~SEQ` and the like would make more of it than {} MiB or {} lines",
            MOST_BYTES >> 20,
            MOST_WORK / LINE_COST / 1000 * 1000
        );
        // A part of it could be anything.
        expander.done = Expanded::default();
        expander.count = 0;
        expander.fault(expander.line, 1, message);
        return expander.done;
    }
    expander.done.problems.list.extend(expander.next_known.take());
    expander.done.problems.list.extend(expander.known);
    expander.done
}

/// The limit is reached.
struct Stop;

/// A definition.
struct Definition {
    /// Its lines, and where they stand in the source.
    lines: Vec<Line>,
    /// Whether it was written over several lines.
    several: bool,
}

struct Expander<'a> {
    context: &'a Context<'a>,
    source: std::str::Lines<'a>,
    /// The line of the source that was read last.
    line: u32,
    known: std::vec::IntoIter<Problem>,
    next_known: Option<Problem>,
    definitions: HashMap<String, Rc<Definition>>,
    /// What the next `${_RANDOM}` is made of.
    random: u64,
    work_left: usize,
    /// How many lines the text has.
    count: u32,
    /// The line of the source that the last line of the text is, if its columns are the same.
    last_step: Option<u32>,
    done: Expanded,
}

impl<'a> Expander<'a> {
    fn run(&mut self) -> Result<(), Stop> {
        while let Some(text) = self.next_line() {
            if !concerns(text) {
                self.seed(text);
                self.copy(text)?;
                continue;
            }
            let line = Line::whole(without_comment(text), self.line);
            let rest = if begins_definition(&line) { self.rest_of_definition(&line)? } else { Vec::new() };
            self.process(line, rest, 0)?;
        }
        Ok(())
    }

    fn next_line(&mut self) -> Option<&'a str> {
        let text = self.source.next()?;
        self.line = self.line.saturating_add(1);
        while let Some(mut problem) = self.next_known.take_if(|problem| problem.place.line <= self.line) {
            problem.place.line = self.count.saturating_add(1);
            self.done.problems.list.push(problem);
            self.next_known = self.known.next();
        }
        Some(text)
    }

    /// The lines that belong to a definition after its first, which has ended with `\`.
    fn rest_of_definition(&mut self, first: &Line) -> Result<Vec<Line>, Stop> {
        let mut lines = Vec::new();
        let mut goes_on = first.text.ends_with('\\');
        while goes_on {
            let Some(text) = self.next_line() else { break };
            let mut line = Line::whole(without_comment(text), self.line);
            self.work(line.text.len())?;
            goes_on = line.end_continuation();
            lines.push(line);
        }
        Ok(lines)
    }

    /// Takes a line in. `rest` are the other lines of the definition that it begins, if it does.
    fn process(&mut self, mut line: Line, rest: Vec<Line>, depth: usize) -> Result<(), Stop> {
        self.work(line.text.len())?;
        if depth > MOST_DEPTH {
            let message = format!("values and sequences stand within each other more than {MOST_DEPTH} deep");
            self.fault_in(&line, 0, message);
            return Ok(());
        }
        while let Some((is_for_us, end)) = self.condition(&line.text) {
            if !is_for_us {
                return self.emit(&line.begun());
            }
            // Of a line of megabytes there may be as many.
            self.work(line.text.len())?;
            line = line.cut(end);
        }
        if line.text.trim_start().starts_with('~') {
            return self.sequence(&line, depth);
        }
        if let Some((name, value)) = definition(&line.text) {
            let name = name.to_owned();
            self.define(name, line.cut(value), rest);
            return self.emit(&line.begun());
        }
        self.substitute(&line, depth)
    }

    /// `@id`, `@^id` at the beginning of a line: whether it is for us, and where it ends.
    fn condition(&self, text: &str) -> Option<(bool, usize)> {
        let condition = text.trim_start().strip_prefix('@')?;
        let word = condition.split(char::is_whitespace).next().unwrap_or_default();
        let end = text.len() - condition.len() + word.len();
        let is_for_us = match word.strip_prefix('^') {
            Some(other) => other != self.context.id,
            None => word == self.context.id,
        };
        Some((is_for_us, end))
    }

    fn define(&mut self, name: String, mut first: Line, rest: Vec<Line>) {
        let several = first.end_continuation();
        let first = first.trimmed();
        let mut lines = Vec::with_capacity(rest.len() + 1);
        // Nothing needs to stand on the first of several lines.
        if !(several && first.text.is_empty()) {
            lines.push(first);
        }
        lines.extend(rest);
        self.definitions.insert(name, Rc::new(Definition { lines, several }));
    }

    /// Sets a variable of a sequence.
    fn set(&mut self, name: &str, value: &str, line: u32) {
        let definition = Definition { lines: vec![Line::whole(value, line)], several: false };
        self.definitions.insert(name.to_owned(), Rc::new(definition));
    }

    /// Puts values into a line that is neither a definition nor a sequence.
    fn substitute(&mut self, line: &Line, depth: usize) -> Result<(), Stop> {
        let mut made = line.begun();
        let mut offset = 0;
        while let Some((start, end, reference)) = next_reference(&line.text, offset) {
            made.copy(line, offset, start);
            offset = end;
            if let Some(definition) = self.definitions.get(reference).filter(|found| found.several).cloned() {
                return self.lines_of(&definition, made, line, start, &line.cut(end), depth);
            }
            let mut value = String::new();
            match self.value(reference, line.line, 0, &mut value) {
                Ok(true) => made.put(line, start, &value),
                Ok(false) => made.copy(line, start, end),
                Err(Fault::Stop) => return Err(Stop),
                Err(Fault::Says(message)) => {
                    self.fault_in(line, start, message);
                    return Ok(());
                }
            }
        }
        made.copy(line, offset, line.text.len());
        // What a value has brought to the beginning of the line is read as if it had been written there.
        let is_new = line.text.trim_start().starts_with('$') && made.text != line.text;
        if is_new && (self.condition(&made.text).is_some() || made.text.trim_start().starts_with('~')) {
            return self.process(made, Vec::new(), depth + 1);
        }
        if is_new && definition(&made.text).is_some() {
            return self.process(made, Vec::new(), depth + 1);
        }
        self.emit(&made)
    }

    /// Takes in the lines of a definition of several: what stands before its name goes with the first of them, what
    /// stands behind it with the last.
    fn lines_of(
        &mut self,
        definition: &Definition,
        before: Line,
        line: &Line,
        start: usize,
        behind: &Line,
        depth: usize,
    ) -> Result<(), Stop> {
        let last = definition.lines.len().saturating_sub(1);
        let is_alone = before.text.trim().is_empty();
        let is_last = behind.text.trim().is_empty();
        let mut before = Some(before).filter(|_| !is_alone);
        if definition.lines.is_empty() {
            let mut made = before.unwrap_or_else(|| line.begun());
            made.copy(behind, 0, behind.text.len());
            return self.emit(&made);
        }
        for (number, body) in definition.lines.iter().enumerate() {
            let ends = number == last && !is_last;
            let made = match before.take() {
                None if !ends => body.clone(),
                // With others beside it, its place is where it is used.
                begun => {
                    let mut made = begun.unwrap_or_else(|| line.begun());
                    made.put(line, start, &body.text);
                    if ends {
                        made.copy(behind, 0, behind.text.len());
                    }
                    made
                }
            };
            self.process(made, Vec::new(), depth + 1)?;
        }
        Ok(())
    }

    /// Appends the value of a name, with the values that it names; whether there is one.
    fn value(&mut self, reference: &str, line: u32, depth: usize, made: &mut String) -> Result<bool, Fault> {
        if depth > MOST_DEPTH {
            return Err(Fault::Says(format!("the value of `{}` names itself", Short(reference))));
        }
        self.work(0).map_err(|Stop| Fault::Stop)?;
        let Some(definition) = self.definitions.get(reference).cloned() else {
            let before = made.len();
            let is_one = self.predefined(reference, line, made);
            self.work(made.len() - before).map_err(|Stop| Fault::Stop)?;
            return Ok(is_one);
        };
        if definition.several {
            let message = format!("`{}` has several lines: it cannot be named by another value", Short(reference));
            return Err(Fault::Says(message));
        }
        let value = definition.lines.first().map_or("", |line| line.text.as_str());
        self.work(value.len()).map_err(|Stop| Fault::Stop)?;
        let mut offset = 0;
        while let Some((start, end, inner)) = next_reference(value, offset) {
            made.push_str(value.get(offset..start).unwrap_or_default());
            if !self.value(inner, line, depth + 1, made)? {
                made.push_str(value.get(start..end).unwrap_or_default());
            }
            offset = end;
        }
        made.push_str(value.get(offset..).unwrap_or_default());
        Ok(true)
    }

    /// Appends the value of a name that is always there; whether it is one.
    fn predefined(&mut self, reference: &str, line: u32, made: &mut String) -> bool {
        let mut words = reference.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        let (first, second) = (words.next(), words.next());
        match (name, first) {
            ("_PWD", None) => made.push_str(&(self.context.directory)(line)),
            ("_INSTANCE", None) => made.push_str(self.context.id),
            ("_HASH", None) => made.push('#'),
            ("_BANG", None) => made.push('!'),
            ("_ENV", Some(variable)) => match std::env::var(variable) {
                // What would end a line would begin another.
                Ok(value) => made.extend(value.chars().filter(|character| !character.is_control())),
                Err(_) => return false,
            },
            ("_RANDOM", _) => {
                let bound = |word: Option<&str>, default| word.map_or(Some(default), |word| word.parse::<u32>().ok());
                let (Some(least), Some(most)) = (bound(first, 0), bound(second, 32_767)) else { return false };
                let span = u64::from(most.saturating_sub(least)) + 1;
                *made += &(u64::from(least) + self.random() % span).to_string();
            }
            _ => return false,
        }
        true
    }

    /// The next of a series of numbers (splitmix64).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// `random_seed`: the same numbers each time.
    fn seed(&mut self, text: &str) {
        if let Some(seed) = text.trim().strip_prefix("random_seed").and_then(|rest| rest.trim().parse().ok()) {
            self.random = seed;
        }
    }

    /// Takes a line of the source over as it is.
    fn copy(&mut self, text: &str) -> Result<(), Stop> {
        self.push(text)?;
        if self.last_step.and_then(|last| last.checked_add(1)) != Some(self.line) {
            self.done.map.push(Step { first: self.count, line: self.line, pieces: (0, 0) });
        }
        self.last_step = Some(self.line);
        Ok(())
    }

    fn emit(&mut self, line: &Line) -> Result<(), Stop> {
        self.push(&line.text)?;
        let before = self.done.pieces.len();
        self.done.pieces.extend(line.columns());
        self.work((self.done.pieces.len() - before) * PIECE_COST)?;
        let begin = u32::try_from(before).unwrap_or(u32::MAX);
        let end = u32::try_from(self.done.pieces.len()).unwrap_or(u32::MAX);
        self.done.map.push(Step { first: self.count, line: line.line, pieces: (begin, end) });
        self.last_step = None;
        Ok(())
    }

    fn push(&mut self, text: &str) -> Result<(), Stop> {
        if self.done.text.len() + text.len() >= MOST_BYTES as usize {
            return Err(Stop);
        }
        self.done.text.push_str(text);
        self.done.text.push('\n');
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    fn work(&mut self, bytes: usize) -> Result<(), Stop> {
        self.work_left = self.work_left.checked_sub(bytes + LINE_COST).ok_or(Stop)?;
        Ok(())
    }

    /// Says what is wrong in a line, in the place of which there is nothing.
    fn fault_in(&mut self, line: &Line, offset: usize, message: String) {
        self.fault(line.line, line.column(offset), message);
    }

    fn fault(&mut self, line: u32, column: u32, message: String) {
        self.done.text.push('\n');
        self.count = self.count.saturating_add(1);
        self.done.map.push(Step { first: self.count, line, pieces: (0, 0) });
        self.last_step = None;
        let place = Place { line: self.count, column };
        self.done.problems.add(place, Severity::Error, || message);
    }
}

/// Why a value cannot be put in.
enum Fault {
    Stop,
    Says(String),
}

/// Whether a line, behind its conditions, is a definition that goes on on the next one.
fn begins_definition(line: &Line) -> bool {
    let mut text = line.text.trim_start();
    while let Some(condition) = text.strip_prefix('@') {
        text = condition.trim_start_matches(|character: char| !character.is_whitespace()).trim_start();
    }
    text.ends_with('\\') && definition(text).is_some()
}

/// `$NAME=value`: the name, and where the value begins.
fn definition(text: &str) -> Option<(&str, usize)> {
    let begun = text.trim_start().strip_prefix('$')?;
    let name = name(begun)?;
    begun.get(name.len()..)?.starts_with('=').then(|| (name, text.len() - begun.len() + name.len() + 1))
}

/// The name at the beginning of a text.
fn name(text: &str) -> Option<&str> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let end = text.find(|character| !is_part(character)).unwrap_or(text.len());
    text.get(..end).filter(|name| !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit()))
}

/// The next `$NAME` or `${NAME}` from `offset` on: where it begins and ends, and the name; of the ready-made ones with
/// what stands behind it.
fn next_reference(text: &str, mut offset: usize) -> Option<(usize, usize, &str)> {
    loop {
        let start = offset + text.get(offset..)?.find('$')?;
        let behind = text.get(start + 1..)?;
        if let Some(braced) = behind.strip_prefix('{') {
            // Up to the next `$` at most: however many have no end, each letter is looked at once.
            let end = braced.find(['}', '$']).and_then(|end| braced.split_at_checked(end));
            let inside = end.filter(|(_, behind)| behind.starts_with('}')).map(|(inside, _)| inside);
            let is_reference = |inside: &&str| {
                name(inside).is_some_and(|name| {
                    name.len() == inside.len()
                        || name.starts_with('_') && inside.get(name.len()..).is_some_and(|rest| rest.starts_with(' '))
                })
            };
            if let Some(inside) = inside.filter(is_reference) {
                return Some((start, start + inside.len() + 3, inside));
            }
        } else if let Some(name) = name(behind) {
            return Some((start, start + 1 + name.len(), name));
        }
        offset = start + 1;
    }
}

/// A line without its comment and the blanks before that. What is quoted or escaped is none.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut characters = line.char_indices();
    while let Some((at, character)) = characters.next() {
        match (quote, character) {
            (_, '\\') => _ = characters.next(),
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if characters.as_str().contains(character) => quote = Some(character),
            (None, '#' | '!') => return line.get(..at).unwrap_or_default().trim_end(),
            (None, _) => {}
        }
    }
    line.trim_end()
}
