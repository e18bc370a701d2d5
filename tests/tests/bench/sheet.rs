//! The table: measured values by row and by whose they are, as medians with ranges in Markdown, and the rows in which
//! Steadfast is behind.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use steadfast_tests::lab::clock::median;
use steadfast_tests::lab::engine::Engine;

/// Whose values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Engine(Engine),
    Bare,
}

/// The columns, and what is above them.
const COLUMNS: [(Who, &str); 4] = [
    (Who::Engine(Engine::Steadfast), "Steadfast"),
    (Who::Engine(Engine::Keepalived), "keepalived"),
    (Who::Engine(Engine::Frr), "FRR"),
    (Who::Bare, "bare loop"),
];

/// Which values are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Good {
    Low,
    High,
}

/// One line of the table.
#[derive(Debug)]
pub(super) struct Row {
    name: String,
    digits: usize,
    good: Good,
    values: [Vec<f64>; COLUMNS.len()],
}

impl Row {
    /// An empty one, whose values have so many digits after the point.
    pub(super) fn new(name: impl Into<String>, digits: usize, good: Good) -> Self {
        Self { name: name.into(), digits, good, values: Default::default() }
    }

    /// Adds a value.
    pub(super) fn add(&mut self, who: Who, value: f64) {
        println!("    {}: {who:?} {value:.*}", self.name, self.digits);
        let column = COLUMNS.iter().position(|(column, _)| *column == who).expect("a column");
        self.values[column].push(value);
    }

    /// The same of an engine.
    pub(super) fn of(&mut self, engine: Engine, value: f64) {
        self.add(Who::Engine(engine), value);
    }

    /// The median of somebody, if there is any value.
    pub(super) fn median(&self, who: Who) -> Option<f64> {
        let (_, values) = COLUMNS.iter().zip(&self.values).find(|((column, _), _)| *column == who)?;
        (!values.is_empty()).then(|| median(values))
    }

    /// What is told of Steadfast, and of the better one of the others, if that is better.
    fn behind(&self) -> Option<String> {
        let ours = self.median(Who::Engine(Engine::Steadfast))?;
        let others = [Engine::Keepalived, Engine::Frr].into_iter().filter_map(|one| self.median(Who::Engine(one)));
        let best = others.reduce(if self.good == Good::Low { f64::min } else { f64::max })?;
        // As they are written.
        let unit = 10_f64.powi(i32::try_from(self.digits).unwrap_or(0));
        let [ours, best] = [ours, best].map(|value| (value * unit).round() / unit);
        let is_behind = if self.good == Good::Low { ours > best } else { ours < best };
        is_behind.then(|| format!("{}: {ours:.1$}, against {best:.1$}", self.name, self.digits))
    }

    fn line(&self) -> String {
        let cells: Vec<_> = self.values.iter().map(|values| cell(values, self.digits)).collect();
        format!("| {} | {} |\n", self.name, cells.join(" | "))
    }
}

/// A median with its range.
fn cell(values: &[f64], digits: usize) -> String {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let [middle, low, high] = [median(values), low, high].map(|value| format!("{value:.digits$}"));
    match values {
        [] => "–".to_owned(),
        _ if low == high => middle,
        _ => format!("{middle} [{low}..{high}]"),
    }
}

/// Rows, and what else is to be said.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    rows: Vec<Row>,
    bounds: Vec<String>,
    failed: Vec<String>,
}

impl Sheet {
    /// One of some rows.
    pub(super) fn new(rows: impl IntoIterator<Item = Row>) -> Self {
        Self { rows: rows.into_iter().collect(), ..Self::default() }
    }

    /// Adds a bound that Steadfast has set itself: what is, and what may be at most.
    pub(super) fn bound(&mut self, what: &str, is: f64, most: f64) {
        let verdict = if is <= most { "kept" } else { "**missed**" };
        self.bounds.push(format!("- {what}: {is:.2}, at most {most:.2}: {verdict}\n"));
    }

    pub(super) fn append(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.bounds.extend(other.bounds);
        self.failed.extend(other.failed);
    }

    /// A part that has come to no end.
    pub(super) fn failed(&mut self, part: &str) {
        self.failed.push(part.to_owned());
    }
}

/// The whole text.
pub(super) fn text(sheet: &Sheet, rounds: usize) -> String {
    let rounds = if rounds == 1 { "one round".to_owned() } else { format!("{rounds} rounds") };
    let mut text = format!("{}; medians and ranges of {rounds}, in turns.\n\n", place());
    let names: Vec<_> = COLUMNS.iter().map(|(_, name)| *name).collect();
    // Writing to a String cannot fail.
    let _ = write!(text, "| | {} |\n| ---{} |\n", names.join(" | "), " | ---".repeat(COLUMNS.len()));
    text.extend(sheet.rows.iter().map(Row::line));
    for (title, lines) in [
        ("Bounds", sheet.bounds.clone()),
        ("Behind", sheet.rows.iter().filter_map(Row::behind).map(|row| format!("- {row}\n")).collect()),
        ("No figures, for an error", sheet.failed.iter().map(|part| format!("- {part}\n")).collect()),
    ] {
        if !lines.is_empty() {
            let _ = write!(text, "\n{title}:\n\n{}", lines.concat());
        }
    }
    text
}

/// Writes it to `tests/logs/bench.md`.
pub(super) fn write(sheet: &Sheet, rounds: usize) {
    let logs = Path::new(env!("CARGO_MANIFEST_DIR")).join("logs");
    std::fs::create_dir_all(&logs).expect("a folder can be made");
    std::fs::write(logs.join("bench.md"), text(sheet, rounds)).expect("the table can be written");
}

/// When, and beside what.
fn place() -> String {
    let said = |command: &str| {
        let output = Command::new("sh").args(["-c", command]).output().expect("a shell");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).lines().next().unwrap_or("").trim().to_owned()
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{}, {processors} processors, Linux {}, {}, {}",
        said("date -u +%F"),
        said("uname -r"),
        said("keepalived --version").split(',').next().unwrap_or("").split(" (").next().unwrap_or(""),
        said("/usr/lib/frr/vrrpd --version"),
    )
}
