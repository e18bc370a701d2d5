//! How urgent the agent's threads are to be, as `global_defs` says: `vrrp_*` is about the loop that sends Advertisements,
//! `checker_*` about the director. What becomes of it is in [`crate::guard::urgency`].

use steadfast_core::config::Message;
use steadfast_core::config::diagnostic::Used;
use steadfast_core::config::statement::Statement;
use steadfast_core::config::value;
use steadfast_core::time::Duration;

use crate::grammar::reader::Reader;
use crate::sys::urgency::Cpus;

/// How long a real-time thread may compute without waiting, in microseconds, unless the file says otherwise.
const LIMIT: u32 = 10_000;

/// The names that `process_names` stands for.
const NAMES: [&str; 2] = ["keepalived", "keepalived_ipvs"];

/// What `global_defs` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UrgencyPlan {
    /// `vrrp_*`.
    pub vrrp: Urgency,
    /// `checker_*`.
    pub checker: Urgency,
    /// `max_auto_priority`.
    pub auto: Option<AutoPriority>,
    /// The name of the process: `vrrp_process_name`, else `process_name`.
    pub process_name: Option<String>,
    /// The name of the director's thread: `checker_process_name`.
    pub checker_name: Option<String>,
    /// `umask`.
    pub umask: Option<u32>,
}

impl UrgencyPlan {
    /// Whether memory is to be locked.
    pub fn locks(&self) -> bool {
        self.vrrp.no_swap || self.checker.no_swap
    }
}

/// What is said about one thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Urgency {
    /// `_priority`: how nice, from -20 to 19.
    pub nice: Option<i32>,
    /// `_no_swap`: the agent's memory is locked.
    pub no_swap: bool,
    /// `_rt_priority`, from 1 to 99.
    pub realtime: Option<u8>,
    /// `_cpu_affinity`: the numbers of processors, at least one.
    pub cpus: Option<Vec<u32>>,
    /// `_rlimit_rttime`.
    limit: Option<u32>,
}

impl Urgency {
    /// How long it may compute without waiting as a real-time thread, in microseconds.
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(LIMIT)
    }
}

/// A thread that is late becomes more urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoPriority {
    /// The largest real-time priority that it comes to, from 1 to 99.
    pub most: u8,
    /// `min_auto_priority_delay`: as late as that.
    pub delay: Duration,
}

/// The keywords as they are read.
#[derive(Default)]
struct Read {
    plan: UrgencyPlan,
    most: Option<u8>,
    delay: Option<u32>,
    /// `process_names`.
    names: bool,
    parent: Option<String>,
    vrrp: Option<String>,
}

/// Reads the statements of a file. What is wrong with the block itself is reported by the core.
pub(super) fn read(statements: &[Statement<'_>], reader: &mut Reader<'_>) -> UrgencyPlan {
    let mut read = Read::default();
    for statement in statements.iter().filter(|statement| statement.keyword.text == "global_defs") {
        let Some(mut body) = statement.body else { continue };
        while let Some(entry) = body.next(&mut |_| {}) {
            read.keyword(&entry, reader);
        }
    }
    let Read { mut plan, most, delay, names, parent, vrrp } = read;
    plan.auto = most.filter(|most| *most > 0).map(|most| {
        let delay = Duration::from_micros(delay.unwrap_or(1_000_000).into());
        AutoPriority { most, delay }
    });
    let [own, checker] = NAMES.map(|name| names.then(|| name.to_owned()));
    plan.process_name = vrrp.or(parent).or(own);
    plan.checker_name = plan.checker_name.or(checker);
    plan
}

impl Read {
    fn keyword(&mut self, entry: &Statement<'_>, reader: &mut Reader<'_>) {
        let keyword = entry.keyword.text;
        match keyword {
            "max_auto_priority" => {
                let parse = |text: &str| text.parse::<i8>().ok().filter(|number| (-1..=99).contains(number));
                let read = match entry.words.clone().next() {
                    None => Some(99),
                    Some(_) => reader.defaulted(entry, "a number from -1 to 99", Used::Nothing, parse),
                };
                // -1 is 0 without a warning, which there is none of here.
                self.most = read.map(|number| u8::try_from(number).unwrap_or(0)).or(self.most);
            }
            "min_auto_priority_delay" => {
                let expected = "microseconds from 1 to 10000000";
                self.delay = reader.number(entry, expected, 1..=10_000_000).or(self.delay);
            }
            "process_names" => self.names = reader.flag(entry),
            "process_name" | "parent_process_name" => name(&mut self.parent, entry, reader),
            "vrrp_process_name" => name(&mut self.vrrp, entry, reader),
            "checker_process_name" | "lvs_process_name" => name(&mut self.plan.checker_name, entry, reader),
            "umask" => self.plan.umask = umask(entry, reader).or(self.plan.umask),
            _ => {
                if let Some(rest) = keyword.strip_prefix("vrrp_") {
                    self.plan.vrrp.keyword(rest, entry, reader);
                } else if let Some(rest) = keyword.strip_prefix("checker_") {
                    self.plan.checker.keyword(rest, entry, reader);
                }
            }
        }
    }
}

impl Urgency {
    /// Takes in a keyword without what it begins with; others are not of this kind.
    fn keyword(&mut self, keyword: &str, entry: &Statement<'_>, reader: &mut Reader<'_>) {
        match keyword {
            "priority" => {
                let parse = |text: &str| text.parse().ok().filter(|number| (-20..=19).contains(number));
                self.nice = reader.defaulted(entry, "a number from -20 to 19", Used::Nothing, parse).or(self.nice);
            }
            "no_swap" => self.no_swap = reader.flag(entry),
            "rt_priority" => {
                let read = reader.number(entry, "a number from 1 to 99", 1..=99);
                self.realtime = read.and_then(|number| u8::try_from(number).ok()).or(self.realtime);
            }
            "cpu_affinity" => self.cpus = cpus(entry, reader).or(self.cpus.take()),
            "rlimit_rttime" | "rlimit_rtime" => {
                let expected = "microseconds from 2 to 4294967295";
                self.limit = reader.number(entry, expected, 2..=u32::MAX).or(self.limit);
            }
            _ => {}
        }
    }
}

/// The numbers of processors.
fn cpus(entry: &Statement<'_>, reader: &mut Reader<'_>) -> Option<Vec<u32>> {
    let (keyword, expected) = (entry.keyword.text, "numbers of processors from 0 to 1023");
    let mut numbers = Vec::new();
    for word in entry.words {
        let Some(number) = value::number(word.text, 0..=Cpus::MOST - 1) else {
            let message = Message::Substituted { keyword, value: word.text, expected, used: Used::Nothing };
            reader.warning(word.place, message);
            return None;
        };
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    if numbers.is_empty() {
        reader.warning(entry.keyword.place, Message::MissingValue { keyword, expected });
        return None;
    }
    Some(numbers)
}

/// The name of a process.
fn name(place: &mut Option<String>, entry: &Statement<'_>, reader: &mut Reader<'_>) {
    let parse = |text: &str| (!text.is_empty() && !text.contains(char::is_control)).then(|| text.to_owned());
    if let Some(read) = reader.defaulted(entry, "a name", Used::Nothing, parse) {
        *place = Some(read);
    }
}

/// A number, or names of bits with `|` between them.
fn umask(entry: &Statement<'_>, reader: &mut Reader<'_>) -> Option<u32> {
    let (keyword, expected) = ("umask", "a number up to 0777, or bits such as IWGRP | IROTH");
    let Some(first) = entry.words.clone().next() else {
        reader.warning(entry.keyword.place, Message::MissingValue { keyword, expected });
        return None;
    };
    let text: Vec<&str> = entry.words.map(|word| word.text).collect();
    let text = text.join(" ");
    let mask = number(&text).or_else(|| text.split('|').try_fold(0, |mask, name| Some(mask | bit(name.trim())?)));
    let Some(mask) = mask.filter(|mask| *mask <= 0o777) else {
        let message = Message::Substituted { keyword, value: &text, expected, used: Used::Nothing };
        reader.warning(first.place, message);
        return None;
    };
    if mask & 0o600 != 0 {
        reader.no_effect(first.place, keyword, "the agent could not read and write its own files");
        return None;
    }
    Some(mask)
}

/// A number as C writes it: decimal, octal after 0, hexadecimal after 0x.
fn number(text: &str) -> Option<u32> {
    match (text.strip_prefix("0x"), text.strip_prefix('0')) {
        (Some(digits), _) => u32::from_str_radix(digits, 16).ok(),
        (_, Some("")) => Some(0),
        (_, Some(digits)) => u32::from_str_radix(digits, 8).ok(),
        _ => text.parse().ok(),
    }
}

/// A bit of a file's mode, as <sys/stat.h> names it, or all three of somebody's.
fn bit(name: &str) -> Option<u32> {
    let (bits, who) = match name {
        "IRWXU" => (7, 6),
        "IRWXG" => (7, 3),
        "IRWXO" => (7, 0),
        _ => {
            let rest = name.strip_prefix('I')?;
            let (bits, who) = rest.split_at_checked(1)?;
            let bits = match bits {
                "R" => 4,
                "W" => 2,
                "X" => 1,
                _ => return None,
            };
            let who = match who {
                "USR" => 6,
                "GRP" => 3,
                "OTH" => 0,
                _ => return None,
            };
            (bits, who)
        }
    };
    Some(bits << who)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::check::Findings;
    use crate::plan;

    fn read(lines: &str) -> (UrgencyPlan, Vec<String>) {
        let mut findings = Findings::new(Path::new("f"));
        let text = format!("global_defs {{\n{lines}\n}}\n");
        let plan = plan::parse(text.as_bytes(), &mut findings).unwrap();
        ((*plan.urgency).clone(), findings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn everything_is_read() {
        let (plan, findings) = read(
            "vrrp_priority -10\nvrrp_no_swap\nvrrp_rt_priority 50\nvrrp_cpu_affinity 0 2 2\nvrrp_rlimit_rttime 20000\n\
             checker_priority 5\nchecker_rt_priority 3\nmax_auto_priority\nmin_auto_priority_delay 500000\numask 027\n\
             process_names\nchecker_process_name checks",
        );
        assert_eq!(findings, [""; 0]);
        let vrrp =
            Urgency { nice: Some(-10), no_swap: true, realtime: Some(50), cpus: Some(vec![0, 2]), limit: Some(20_000) };
        assert_eq!(plan.vrrp, vrrp);
        assert_eq!((plan.checker.nice, plan.checker.realtime, plan.checker.limit()), (Some(5), Some(3), 10_000));
        assert_eq!(plan.auto, Some(AutoPriority { most: 99, delay: Duration::from_millis(500) }));
        assert_eq!(plan.umask, Some(0o027));
        assert_eq!([plan.process_name.as_deref(), plan.checker_name.as_deref()], [Some("keepalived"), Some("checks")]);
    }

    #[test]
    fn what_is_wrong_has_no_effect() {
        let (plan, findings) = read(
            "vrrp_priority 20\nvrrp_rt_priority 0\nvrrp_cpu_affinity 0 x\nvrrp_cpu_affinity\nvrrp_rlimit_rttime 1\n\
             max_auto_priority 100\nmin_auto_priority_delay 0\numask 01777\numask IWGRP IROTH\numask\numask 0700",
        );
        assert_eq!(plan, UrgencyPlan::default());
        assert_eq!(findings.len(), 11, "{findings:#?}");
        assert!(findings[0].contains("f:2:15: warning: "), "{findings:#?}");
        let (plan, findings) = read("max_auto_priority -1");
        assert_eq!((plan, findings.len()), (UrgencyPlan::default(), 0));
    }

    #[test]
    fn a_umask_has_many_forms() {
        for (text, expected) in [
            ("022", 0o022),
            ("18", 18),
            ("0x12", 0x12),
            ("0", 0),
            ("IWGRP | IWOTH", 0o022),
            ("IRWXG|IRWXO|IXUSR", 0o177),
        ] {
            assert_eq!(read(&format!("umask {text}")).0.umask, Some(expected), "{text}");
        }
    }
}
