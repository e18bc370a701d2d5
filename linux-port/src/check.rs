//! What `steadfast check` has to say about a configuration file: findings with their places, as text or
//! JSON, and the exit status they make. What is wrong in the text itself is found by the core's grammar,
//! what only a whole plan shows by [`crate::plan`].

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use serde::{Serialize, Serializer};
use steadfast_core::config::diagnostic::Short;
use steadfast_core::config::{Diagnostic, Message, Place, Severity};

use crate::cli::CheckOptions;
use crate::lvs::live::{self, Remark};
use crate::plan;
use crate::source::{Lines, Problem, Problems};

/// The exit status of a file without warnings and errors.
pub const EXIT_CLEAN: u8 = 0;
/// The exit status of a file with warnings.
pub const EXIT_WARNINGS: u8 = 1;
/// The exit status of a file with errors, or with `--strict` also of one with warnings.
pub const EXIT_ERRORS: u8 = 2;

/// The most findings of one severity that are kept; the others are counted. Those of all three go into the log at once,
/// without a line being lost.
pub const MOST_FINDINGS: usize = 100;

/// The version of the JSON document.
const SCHEMA: u32 = 1;

/// One thing to say about a file. Displayed as `file:line:column: severity: message`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Finding {
    /// The file's path as it was given.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// How much it matters.
    #[serde(serialize_with = "severity")]
    pub severity: Severity,
    /// One sentence.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, message) = (Printable(&self.file), Printable(&self.message));
        write!(f, "{file}:{}:{}: {}: {message}", self.line, self.column, self.severity)
    }
}

/// Text with its control characters escaped: names of files come from `include` too, and speak to no terminal.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                fmt::Write::write_char(f, character)?;
            }
        }
        Ok(())
    }
}

fn severity<S: Serializer>(severity: &Severity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(severity)
}

/// How many findings there are of each severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    notices: u64,
    warnings: u64,
    errors: u64,
}

impl Counts {
    /// Counts one more; whether it is one of those that are kept.
    pub(crate) fn add(&mut self, severity: Severity) -> bool {
        let count = self.of_mut(severity);
        *count += 1;
        *count <= MOST_FINDINGS as u64
    }

    fn of_mut(&mut self, severity: Severity) -> &mut u64 {
        match severity {
            Severity::Notice => &mut self.notices,
            Severity::Warning => &mut self.warnings,
            Severity::Error => &mut self.errors,
        }
    }

    const fn of(&self, severity: Severity) -> u64 {
        match severity {
            Severity::Notice => self.notices,
            Severity::Warning => self.warnings,
            Severity::Error => self.errors,
        }
    }
}

/// The worst first.
const SEVERITIES: [Severity; 3] = [Severity::Error, Severity::Warning, Severity::Notice];

/// Everything that there is to say about a file, bounded in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    file: String,
    /// Where the lines of the text come from.
    lines: Lines,
    /// With the place in the whole text, by which they are sorted.
    list: Vec<(Place, Finding)>,
    /// The findings of a text into which something was put.
    once: HashSet<Finding>,
    /// What is to be said about the machine, not about the file.
    live: Vec<Remark>,
    counts: Counts,
    /// How many of the warnings are about what only keepalived has, or takes without a word.
    lacking: u64,
}

impl Findings {
    /// No findings yet about `file`.
    pub fn new(file: &Path) -> Self {
        let file = file.display().to_string();
        Self {
            file,
            lines: Lines::default(),
            list: Vec::new(),
            once: HashSet::new(),
            live: Vec::new(),
            counts: Counts::default(),
            lacking: 0,
        }
    }

    /// Tells where the lines of the text come from: from now on, places are those of the text.
    pub(crate) fn set_lines(&mut self, lines: Lines) {
        self.lines = lines;
    }

    /// A place of the text as a sentence about another place names it: with its file, if that is included.
    pub(crate) fn name_of(&self, place: Place) -> String {
        match self.lines.origin(place) {
            (Some(file), place) => format!("{file}:{place}"),
            (None, place) if !self.lines.are_included() => place.to_string(),
            (None, place) => format!("{}:{place}", self.file),
        }
    }

    /// A place of the text as the log names it: with its file.
    pub(crate) fn at(&self, place: Place) -> String {
        let (file, place) = self.lines.origin(place);
        format!("{}:{place}", file.unwrap_or(&self.file))
    }

    /// Adds what the core's grammar says.
    pub fn add(&mut self, diagnostic: Diagnostic<'_>) {
        let Diagnostic { place, severity, message } = diagnostic;
        let before = self.counts.warnings;
        let is_lacking = matches!(message, Message::NotYet { .. });
        if let Message::DuplicateRouter { other, place: other_place } = message {
            let (other, at) = (Short(other), self.name_of(other_place));
            let message =
                format!("`{other}` at {at} has the same virtual_router_id, family and interface; this one is left out");
            self.push(place, severity, || message);
        } else {
            self.push(place, severity, || message.to_string());
        }
        if is_lacking {
            // One that was said already does not count again.
            self.lacking += self.counts.warnings - before;
        }
    }

    /// Warns of what keepalived takes without a word.
    pub(crate) fn add_advice(&mut self, place: Place, message: impl fmt::Display) {
        let before = self.counts.warnings;
        self.push(place, Severity::Warning, || message.to_string());
        self.lacking += self.counts.warnings - before;
    }

    /// Adds a sentence that is none of the core's.
    pub(crate) fn add_text(&mut self, place: Place, severity: Severity, message: impl fmt::Display) {
        self.push(place, severity, || message.to_string());
    }

    /// Adds what is to be said about the machine that the file is for.
    pub fn add_live(&mut self, remark: Remark) {
        self.counts.add(remark.severity);
        self.live.push(remark);
    }

    /// Adds what is wrong with what a file includes and defines.
    pub(crate) fn add_problems(&mut self, problems: Problems) {
        let Problems { list, counts } = problems;
        let mut more = counts;
        for Problem { place, severity, message } in list {
            *more.of_mut(severity) -= 1;
            self.add_text(place, severity, message);
        }
        for severity in SEVERITIES {
            *self.counts.of_mut(severity) += more.of(severity);
        }
    }

    fn push(&mut self, place: Place, severity: Severity, message: impl FnOnce() -> String) {
        if self.lines.are_expanded() {
            return self.push_once(place, severity, message());
        }
        if self.counts.add(severity) {
            let finding = self.finding(place, severity, message());
            self.list.push((place, finding));
        }
    }

    /// The same where what somebody wrote once may be read many times.
    fn push_once(&mut self, place: Place, severity: Severity, message: String) {
        let finding = self.finding(place, severity, message);
        if self.once.contains(&finding) {
            return;
        }
        if self.counts.add(severity) {
            self.once.insert(finding.clone());
            self.list.push((place, finding));
        }
    }

    fn finding(&self, place: Place, severity: Severity, message: String) -> Finding {
        let (file, Place { line, column }) = self.lines.origin(place);
        let file = file.unwrap_or(&self.file).to_owned();
        Finding { file, line, column, severity, message }
    }

    /// The findings that were kept, in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        let mut sorted: Vec<_> = self.list.iter().collect();
        sorted.sort_by_key(|(place, _)| *place);
        sorted.into_iter().map(|(_, finding)| finding)
    }

    /// How many there are of a severity, kept or not.
    pub fn count(&self, severity: Severity) -> u64 {
        self.counts.of(severity)
    }

    /// Whether something is wrong with the file itself: an error, or a warning of more than that only keepalived has
    /// what it asks for.
    pub fn has_mistakes(&self) -> bool {
        self.has_errors() || self.counts.warnings > self.lacking
    }

    /// Whether there is an error.
    pub fn has_errors(&self) -> bool {
        self.counts.errors > 0
    }

    /// How many were counted but not kept.
    pub fn omitted(&self) -> u64 {
        let Counts { notices, warnings, errors } = self.counts;
        notices + warnings + errors - (self.list.len() + self.live.len()) as u64
    }

    /// How many were counted but not kept, in a sentence; `None` if there are none.
    pub fn rest(&self) -> Option<String> {
        let kept = |severity| {
            let listed = self.list.iter().filter(|(_, finding)| finding.severity == severity).count();
            (listed + self.live.iter().filter(|remark| remark.severity == severity).count()) as u64
        };
        let more = SEVERITIES.map(|severity| (self.count(severity) - kept(severity), severity));
        let more = more.iter().filter(|(count, _)| *count > 0);
        let more = more.map(|(count, severity)| format!("{count} {severity}{}", if *count == 1 { "" } else { "s" }));
        let more: Vec<_> = more.collect();
        (!more.is_empty()).then(|| format!("{}: and {} more", Printable(&self.file), more.join(", ")))
    }

    /// What there is to say about the file, a line each: what was kept, and how much there is besides.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.iter().map(ToString::to_string).chain(self.rest())
    }

    /// The exit status of `steadfast check`.
    pub fn exit_status(&self, strict: bool) -> u8 {
        match (self.counts.errors, self.counts.warnings) {
            (0, 0) => EXIT_CLEAN,
            (0, _) if !strict => EXIT_WARNINGS,
            _ => EXIT_ERRORS,
        }
    }

    /// Writes the findings, a line each.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        for line in self.lines() {
            writeln!(out, "{line}")?;
        }
        for Remark { severity, message } in &self.live {
            writeln!(out, "live: {severity}: {message}")?;
        }
        Ok(())
    }

    /// Writes the findings as one JSON document:
    /// `{"schema":1,"file":…,"errors":…,"warnings":…,"notices":…,"omitted":…,"findings":[{"file":…,"line":…,
    /// "column":…,"severity":"error"|"warning"|"notice","message":…},…],"live":[{"severity":…,"message":…},…]}`;
    /// `live` is about the machine, and empty unless that was looked at.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let document = Document {
            schema: SCHEMA,
            file: &self.file,
            errors: self.counts.errors,
            warnings: self.counts.warnings,
            notices: self.counts.notices,
            omitted: self.omitted(),
            findings: self.iter().collect(),
            live: self
                .live
                .iter()
                .map(|remark| LiveFinding { severity: remark.severity, message: &remark.message })
                .collect(),
        };
        serde_json::to_writer(&mut *out, &document)?;
        writeln!(out)
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    file: &'a str,
    errors: u64,
    warnings: u64,
    notices: u64,
    omitted: u64,
    findings: Vec<&'a Finding>,
    live: Vec<LiveFinding<'a>>,
}

#[derive(Serialize)]
struct LiveFinding<'a> {
    #[serde(serialize_with = "severity")]
    severity: Severity,
    message: &'a str,
}

/// `steadfast check`: writes what there is to say about a file and, if wanted, about the machine, and returns the exit
/// status.
///
/// # Errors
/// Those of `out`; a file that cannot be read is a finding.
pub fn run(file: &Path, options: &CheckOptions, out: &mut impl Write) -> io::Result<u8> {
    let plan::Loaded { plan, mut findings } = plan::load_as(file, &options.reading);
    if options.live
        && let Some(plan) = plan
    {
        live::examine(&plan).into_iter().for_each(|remark| findings.add_live(remark));
    }
    if options.json {
        findings.write_json(out)?;
    } else {
        findings.write_text(out)?;
    }
    out.flush()?;
    Ok(findings.exit_status(options.strict))
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_core::config::Message;

    fn findings(severities: &[Severity]) -> Findings {
        let mut findings = Findings::new(Path::new("a.conf"));
        for (line, &severity) in (1..).zip(severities) {
            let place = Place { line: 2000 - line, column: 2 };
            findings.add(Diagnostic { place, severity, message: Message::StrayClose });
        }
        findings
    }

    #[test]
    fn neither_the_name_of_a_file_nor_what_is_said_of_it_speaks_to_the_terminal() {
        let mut findings = Findings::new(Path::new("x\x1b[31m\n.conf"));
        findings.add_text(Place { line: 1, column: 2 }, Severity::Error, "cannot read `\0`");
        let shown: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(shown, [r"x\u{1b}[31m\n.conf:1:2: error: cannot read `\u{0}`"]);
    }

    #[test]
    fn exit_status_is_that_of_the_worst() {
        use Severity::{Error, Notice, Warning};
        assert_eq!(findings(&[]).exit_status(true), EXIT_CLEAN);
        assert_eq!(findings(&[Notice]).exit_status(true), EXIT_CLEAN);
        assert_eq!(findings(&[Notice, Warning]).exit_status(false), EXIT_WARNINGS);
        assert_eq!(findings(&[Notice, Warning]).exit_status(true), EXIT_ERRORS);
        assert_eq!(findings(&[Error, Warning]).exit_status(false), EXIT_ERRORS);
    }

    #[test]
    fn findings_are_sorted_and_counted() {
        let many = [[Severity::Warning; MOST_FINDINGS + 10].as_slice(), &[Severity::Error; MOST_FINDINGS + 1]].concat();
        let findings = findings(&many);
        assert_eq!(findings.iter().count(), 2 * MOST_FINDINGS);
        assert_eq!((findings.count(Severity::Warning), findings.omitted()), (MOST_FINDINGS as u64 + 10, 11));
        assert_eq!(findings.lines().last().as_deref(), Some("a.conf: and 1 error, 10 warnings more"));
        let mut text = Vec::new();
        findings.write_text(&mut text).unwrap();
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 2 * MOST_FINDINGS + 1);
    }

    #[test]
    fn text_and_json_say_the_same() {
        let findings = findings(&[Severity::Warning, Severity::Error]);
        let mut text = Vec::new();
        findings.write_text(&mut text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "a.conf:1998:2: error: this `}` has no `{`\na.conf:1999:2: warning: this `}` has no `{`\n"
        );
        let mut json = Vec::new();
        findings.write_json(&mut json).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["errors"], 1);
        assert_eq!(json["findings"][0]["severity"], "error");
        assert_eq!(json["findings"][1]["line"], 1999);
        assert_eq!(json["live"], serde_json::json!([]));
    }

    #[test]
    fn what_is_said_of_the_machine_stands_beside_what_is_said_of_the_file() {
        let mut findings = findings(&[Severity::Notice]);
        findings.add_live(Remark { severity: Severity::Error, message: "no IPVS".into() });
        assert_eq!((findings.exit_status(false), findings.omitted()), (EXIT_ERRORS, 0));
        let mut text = Vec::new();
        findings.write_text(&mut text).unwrap();
        assert!(String::from_utf8(text).unwrap().ends_with("\nlive: error: no IPVS\n"));
        let mut json = Vec::new();
        findings.write_json(&mut json).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["live"][0], serde_json::json!({"severity": "error", "message": "no IPVS"}));
        assert_eq!((&json["errors"], &json["findings"][0]["severity"]), (&1.into(), &"notice".into()));
    }
}
