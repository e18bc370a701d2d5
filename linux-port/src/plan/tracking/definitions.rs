//! `vrrp_script`, `track_file` and `vrrp_track_process`: what is looked at, and the weight that holds where a use gives
//! none; `vrrp_probe` is in [`super::probe`]. What is wrong with the path of a `track_file` is said by LVS's grammar, which
//! reads it too.

use std::path::PathBuf;

use steadfast_core::config::diagnostic::{Short, Used};
use steadfast_core::config::keywords::Vocabulary;
use steadfast_core::config::lexer::unescape;
use steadfast_core::config::statement::Statement;
use steadfast_core::config::{Message, Place, value};
use steadfast_core::time::Duration;

use crate::grammar::reader::Reader;
use crate::grammar::script::{After, Scripts};

use super::{Comparison, FileSubject, Kind, ProcessSubject, ScriptSubject, Subject, probe};

/// The kernel keeps so many bytes of a process's name.
const LONGEST_NAME: usize = 15;

/// The longest `fork_delay` and the like, in seconds.
const MOST_DELAY: u32 = 3600;

/// A tracker as it is defined.
pub(super) struct Definition {
    pub(super) place: Place,
    /// `None`: it is left out, which has been said.
    pub(super) subject: Option<Subject>,
    pub(super) weight: i32,
    pub(super) reverse: bool,
    pub(super) used: bool,
}

/// Which kind of tracker a keyword of the file defines.
pub(super) fn defines(keyword: &str) -> Option<Kind> {
    match keyword {
        "vrrp_script" => Some(Kind::Script),
        "track_file" | "vrrp_track_file" => Some(Kind::File),
        "vrrp_track_process" => Some(Kind::Process),
        "vrrp_probe" => Some(Kind::Probe),
        _ => None,
    }
}

/// Reads a definition, and its name; `None` without one.
pub(super) fn read(
    kind: Kind,
    statement: &Statement<'_>,
    scripts: &Scripts,
    reader: &mut Reader<'_>,
) -> Option<(String, Definition)> {
    reader.begin();
    let (subject, weight) = match kind {
        Kind::Interface | Kind::Source | Kind::Peers => return None,
        Kind::Script => script(statement, scripts, reader),
        Kind::File => file(statement, reader),
        Kind::Process => process(statement, reader),
        Kind::Probe => probe::read(statement, reader),
    };
    let name = match kind {
        // LVS's grammar says what is wrong.
        Kind::File => statement.words.clone().next()?.text.to_owned(),
        _ => reader.text(statement, "a name")?,
    };
    let default = i32::from(!matches!(kind, Kind::Script | Kind::Probe));
    let (weight, reverse) = weight.unwrap_or((default, false));
    Some((name, Definition { place: statement.keyword.place, subject, weight, reverse, used: false }))
}

/// `weight NUMBER [reverse]`: within `most`, as far as it is right.
pub(super) fn weight(
    statement: &Statement<'_>,
    most: u32,
    expected: &'static str,
    reader: &mut Reader<'_>,
) -> Option<(i32, bool)> {
    let keyword = statement.keyword.text;
    let mut words = statement.words;
    let Some(word) = words.next() else {
        reader.warning(statement.keyword.place, Message::MissingValue { keyword, expected });
        return None;
    };
    let reverse = words.clone().next().is_some_and(|word| word.text == "reverse");
    if reverse {
        words.next();
    }
    reader.no_more(statement, words);
    let number = word.text.parse::<i32>().ok().filter(|number| number.unsigned_abs() <= most);
    if number.is_none() {
        let message = Message::Substituted { keyword, value: word.text, expected, used: Used::Nothing };
        reader.warning(word.place, message);
    }
    number.map(|number| (number, reverse))
}

fn script(
    statement: &Statement<'_>,
    scripts: &Scripts,
    reader: &mut Reader<'_>,
) -> (Option<Subject>, Option<(i32, bool)>) {
    let mut unchecked = None;
    let mut interval = Duration::from_secs(1);
    let (mut timeout, mut user, mut weighed) = (None, None, None);
    let (mut rise, mut fall, mut init_fail) = (1, 1, false);
    let there = reader.block(statement, Vocabulary::Script, |keyword, entry, reader| {
        let place = entry.keyword.place;
        match keyword {
            "script" => unchecked = scripts.read(entry, After::Arguments, reader),
            "interval" => interval = reader.time(entry).unwrap_or(interval),
            "timeout" => timeout = reader.time(entry).or(timeout),
            "weight" => weighed = weight(entry, 253, "a number from -253 to 253", reader).or(weighed),
            "rise" => rise = count(entry, 1, reader).unwrap_or(rise),
            "fall" => fall = count(entry, 1, reader).unwrap_or(fall),
            "user" => user = Some(scripts.user(entry, entry.words, reader)),
            "init_fail" => init_fail = reader.flag(entry),
            // The table says that we act upon it, so there is an arm for it; see the tests.
            _ => reader.warning(place, Message::NotYet { keyword }),
        }
    });
    if !there {
        return (None, weighed);
    }
    let Some(mut unchecked) = unchecked else {
        if !reader.has_errors() {
            let message = Message::MissingKeyword { keyword: "script", expected: "a program" };
            reader.error(statement.keyword.place, message);
        }
        return (None, weighed);
    };
    if let Some(user) = user {
        unchecked.script.user = user;
    }
    let script = scripts.settle_if_there(unchecked, reader).filter(|_| !reader.has_errors());
    let subject = script.map(|script| ScriptSubject {
        script,
        interval,
        timeout: timeout.unwrap_or(interval),
        rise,
        fall,
        init_fail,
    });
    (subject.map(Subject::Script), weighed)
}

/// A number of times, at least `least`.
pub(super) fn count(statement: &Statement<'_>, least: u32, reader: &mut Reader<'_>) -> Option<u32> {
    let expected = if least == 0 { "a number" } else { "a number of 1 or more" };
    reader.number(statement, expected, least..=i32::MAX.unsigned_abs())
}

fn file(statement: &Statement<'_>, reader: &mut Reader<'_>) -> (Option<Subject>, Option<(i32, bool)>) {
    let (mut path, mut weight, mut initial) = (None, None, None);
    let Some(mut body) = statement.body else { return (None, None) };
    while let Some(entry) = body.next(&mut |_| {}) {
        let mut words = entry.words;
        match (entry.keyword.text, words.next()) {
            ("file", Some(word)) => path = Some(PathBuf::from(word.text)),
            ("weight", Some(word)) => {
                let reverse = words.next().is_some_and(|word| word.text == "reverse");
                weight = word.text.parse().ok().map(|weight| (weight, reverse));
            }
            ("init_file", _) => initial = Some(initial_value(&entry, reader)),
            _ => {}
        }
    }
    let path = path.filter(|path: &PathBuf| !path.as_os_str().is_empty());
    (path.map(|path| Subject::File(FileSubject { path, initial })), weight)
}

/// `init_file [VALUE] [overwrite]`
fn initial_value(statement: &Statement<'_>, reader: &mut Reader<'_>) -> (i64, bool) {
    let (mut value, mut overwrite) = (0, false);
    for word in statement.words {
        match (word.text, word.text.parse::<i32>()) {
            ("overwrite", _) => overwrite = true,
            (_, Ok(number)) => value = number.into(),
            (text, Err(_)) => {
                let expected = "a number, `overwrite` or both";
                let message = Message::Substituted { keyword: "init_file", value: text, expected, used: Used::Nothing };
                reader.warning(word.place, message);
            }
        }
    }
    (value, overwrite)
}

fn process(statement: &Statement<'_>, reader: &mut Reader<'_>) -> (Option<Subject>, Option<(i32, bool)>) {
    let mut words: Vec<String> = Vec::new();
    let (mut matching, mut full, mut weighed) = (None, false, None);
    let (mut quorum, mut quorum_max) = (None, u32::MAX);
    let (mut fork_delay, mut terminate_delay) = (Duration::ZERO, Duration::ZERO);
    reader.block(statement, Vocabulary::TrackProcess, |keyword, entry, reader| match keyword {
        "process" => words = entry.words.map(|word| unescape(word.text).collect()).collect(),
        "param_match" => {
            let parse = |text| match text {
                "initial" => Some(Comparison::Initial),
                "partial" => Some(Comparison::Partial),
                _ => None,
            };
            matching = reader.defaulted(entry, "initial or partial", Used::Nothing, parse).or(matching);
        }
        "weight" => weighed = weight(entry, 254, "a number from -254 to 254", reader).or(weighed),
        "quorum" => quorum = count(entry, 1, reader).or(quorum),
        "quorum_max" => quorum_max = count(entry, 0, reader).unwrap_or(quorum_max),
        "fork_delay" => fork_delay = delay(entry, reader).unwrap_or(fork_delay),
        "terminate_delay" => terminate_delay = delay(entry, reader).unwrap_or(terminate_delay),
        "delay" => {
            if let Some(both) = delay(entry, reader) {
                (fork_delay, terminate_delay) = (both, both);
            }
        }
        "full_command" => full = reader.flag(entry),
        _ => reader.warning(entry.keyword.place, Message::NotYet { keyword }),
    });
    if words.first().is_none_or(String::is_empty) {
        if !reader.has_errors() {
            let message = Message::MissingKeyword { keyword: "process", expected: "the name of a process" };
            reader.error(statement.keyword.place, message);
        }
        return (None, weighed);
    }
    let comparison = comparison(&mut words, matching, full, statement.keyword.place, reader);
    let quorum = quorum.unwrap_or(1.min(quorum_max));
    if quorum > quorum_max {
        let message = Message::Text("`quorum` is larger than `quorum_max`: it can never be up");
        reader.warning(statement.keyword.place, message);
    }
    let subject = ProcessSubject { words, comparison, quorum, quorum_max, fork_delay, terminate_delay };
    (Some(Subject::Process(subject)).filter(|_| !reader.has_errors()), weighed)
}

/// What the words of `process` are compared with. A name of which the kernel keeps only a part is cut, which is said.
pub(super) fn comparison(
    words: &mut [String],
    matching: Option<Comparison>,
    full: bool,
    place: Place,
    reader: &mut Reader<'_>,
) -> Comparison {
    let comparison = match (matching, words.len()) {
        // Without arguments it is to have none.
        (Some(_), 1) => Comparison::Whole,
        (Some(matching), _) => matching,
        (None, 1) if full => Comparison::Command,
        (None, 1) => Comparison::Name,
        (None, _) => Comparison::Whole,
    };
    if comparison == Comparison::Name
        && let Some(name) = words.first_mut()
        && name.len() > LONGEST_NAME
    {
        let shown = Short(name).to_string();
        *name = String::from_utf8_lossy(&name.as_bytes()[..LONGEST_NAME]).into_owned();
        let message = format_args!("the kernel keeps {LONGEST_NAME} bytes of a name: `{shown}` is looked for by them");
        reader.warning(place, message);
    }
    comparison
}

fn delay(statement: &Statement<'_>, reader: &mut Reader<'_>) -> Option<Duration> {
    let parse = |text| value::seconds(text, MOST_DELAY);
    reader.defaulted(statement, "seconds from 0 to 3600", Used::Nothing, parse)
}
