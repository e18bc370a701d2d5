//! The two forms of the page: OpenMetrics 1.0, and the text format of Prometheus that came before it (0.0.4), which
//! knows neither units nor the types info and stateset. What is on the page is not decided here.

use std::fmt::{self, Display, Write};

use steadfast_core::time::Duration;

use super::measured::Histogram;
use crate::timestamp::Timestamp;

/// What every name begins with.
const PREFIX: &str = "steadfast";

/// The form of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// For who asks for it.
    OpenMetrics,
    /// For everybody else.
    Prometheus,
}

impl Format {
    /// The media type of HTTP.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// What the values of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only ever grows.
    Counter,
    /// Comes and goes.
    Gauge,
    /// Is always 1: the labels say it.
    Info,
    /// 1 for the state that it is in, which a label of the family's name holds, 0 for the others.
    StateSet,
    /// Counts by length.
    Histogram,
}

/// A page that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    out: String,
    format: Format,
}

/// A family of the page; it is named when its first sample comes, and without samples not at all.
#[derive(Debug)]
pub(super) struct Family<'a> {
    writer: &'a mut Writer,
    kind: Kind,
    /// Without the prefix.
    name: &'a str,
    unit: &'a str,
    help: &'a str,
    is_named: bool,
}

/// Names and values.
pub(super) type Labels<'a> = [(&'a str, &'a str)];

impl Writer {
    /// An empty page that will have about so many bytes.
    pub(super) fn new(format: Format, length: usize) -> Self {
        Self { out: String::with_capacity(length), format }
    }

    /// The next family. Its name is without the prefix and a counter's `_total`, and ends in its unit, if it has one:
    /// `seconds` or `bytes`.
    pub(super) fn family<'a>(&'a mut self, kind: Kind, name: &'a str, help: &'a str) -> Family<'a> {
        let unit = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(unit)).unwrap_or_default();
        Family { writer: self, kind, name, unit, help, is_named: false }
    }

    /// The whole page.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

impl Family<'_> {
    /// One value.
    pub(super) fn sample(&mut self, labels: &Labels<'_>, value: impl Display) {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::StateSet | Kind::Histogram => "",
        };
        self.line(suffix, labels, None, value);
    }

    /// A set of states, of which one is it, or none.
    pub(super) fn states(&mut self, labels: &Labels<'_>, states: &[&str], state: Option<&str>) {
        let name = format!("{PREFIX}_{}", self.name);
        for one in states.iter().copied() {
            self.line("", labels, Some((&*name, one)), u8::from(state == Some(one)));
        }
    }

    /// A histogram.
    pub(super) fn histogram(&mut self, histogram: &Histogram) {
        for (bound, count) in histogram.up_to() {
            self.line("_bucket", &[], Some(("le", bound)), count);
        }
        self.line("_bucket", &[], Some(("le", "+Inf")), histogram.count());
        self.line("_count", &[], None, histogram.count());
        self.line("_sum", &[], None, Seconds(histogram.sum()));
    }

    fn line(&mut self, suffix: &str, labels: &Labels<'_>, last: Option<(&str, &str)>, value: impl Display) {
        self.head();
        let out = &mut self.writer.out;
        // Writing to a String cannot fail.
        let _ = write!(out, "{PREFIX}_{}{suffix}", self.name);
        let mut before = '{';
        for (name, value) in labels.iter().copied().chain(last) {
            out.push(before);
            out.push_str(name);
            out.push_str("=\"");
            escape(out, value);
            out.push('"');
            before = ',';
        }
        if before == ',' {
            out.push('}');
        }
        let _ = writeln!(out, " {value}");
    }

    fn head(&mut self) {
        if self.is_named {
            return;
        }
        self.is_named = true;
        let Self { kind, name, unit, help, .. } = *self;
        let Writer { out, format } = &mut *self.writer;
        let is_new = *format == Format::OpenMetrics;
        // The older format names a family as its samples are named.
        let (suffix, kind) = match kind {
            Kind::Counter => (if is_new { "" } else { "_total" }, "counter"),
            Kind::Gauge => ("", "gauge"),
            Kind::Info if is_new => ("", "info"),
            Kind::Info => ("_info", "gauge"),
            Kind::StateSet => ("", if is_new { "stateset" } else { "gauge" }),
            Kind::Histogram => ("", "histogram"),
        };
        let _ = writeln!(out, "# TYPE {PREFIX}_{name}{suffix} {kind}");
        if is_new && !unit.is_empty() {
            let _ = writeln!(out, "# UNIT {PREFIX}_{name} {unit}");
        }
        let _ = write!(out, "# HELP {PREFIX}_{name}{suffix} ");
        escape(out, help);
        out.push('\n');
    }
}

/// The value of a label, or a text of help.
fn escape(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '"', '\n']) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut characters = special.chars();
        out.push_str(match characters.next() {
            Some('\\') => r"\\",
            Some('"') => "\\\"",
            _ => r"\n",
        });
        rest = characters.as_str();
    }
    out.push_str(rest);
}

/// A span of time in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seconds(pub(super) Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

/// A point in time in seconds since 1970.
pub(super) fn since_1970(time: Timestamp) -> impl Display {
    let since = time.since(Timestamp::default());
    Seconds(Duration::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(format: Format) -> String {
        let mut writer = Writer::new(format, 0);
        writer.family(Kind::Counter, "router_heard", "Says \"who\".").sample(&[("router", "a\"b\\c\nd")], 7);
        writer
            .family(Kind::Gauge, "router_interval_seconds", "Of time.")
            .sample(&[], Seconds(Duration::from_millis(1)));
        writer.family(Kind::Info, "build", "What it is.").sample(&[("version", "1.0.0"), ("os", "linux")], 1);
        writer.family(Kind::StateSet, "router_state", "Where.").states(&[("router", "a")], &["up", "down"], Some("up"));
        writer.family(Kind::Gauge, "nobody", "Has no samples.");
        let mut lateness = Histogram::default();
        lateness.note(Duration::from_micros(300_000));
        writer.family(Kind::Histogram, "lateness_seconds", "How late.").histogram(&lateness);
        writer.finish()
    }

    #[test]
    fn openmetrics_has_units_and_all_types_and_an_end() {
        let page = page(Format::OpenMetrics);
        let begin = concat!(
            "# TYPE steadfast_router_heard counter\n",
            "# HELP steadfast_router_heard Says \\\"who\\\".\n",
            "steadfast_router_heard_total{router=\"a\\\"b\\\\c\\nd\"} 7\n",
            "# TYPE steadfast_router_interval_seconds gauge\n",
            "# UNIT steadfast_router_interval_seconds seconds\n",
            "# HELP steadfast_router_interval_seconds Of time.\n",
            "steadfast_router_interval_seconds 0.001000\n",
            "# TYPE steadfast_build info\n",
            "# HELP steadfast_build What it is.\n",
            "steadfast_build_info{version=\"1.0.0\",os=\"linux\"} 1\n",
            "# TYPE steadfast_router_state stateset\n",
            "# HELP steadfast_router_state Where.\n",
            "steadfast_router_state{router=\"a\",steadfast_router_state=\"up\"} 1\n",
            "steadfast_router_state{router=\"a\",steadfast_router_state=\"down\"} 0\n",
            "# TYPE steadfast_lateness_seconds histogram\n",
        );
        assert!(page.starts_with(begin), "{page}");
        let end = concat!(
            "steadfast_lateness_seconds_bucket{le=\"0.25\"} 0\n",
            "steadfast_lateness_seconds_bucket{le=\"1.0\"} 1\n",
            "steadfast_lateness_seconds_bucket{le=\"+Inf\"} 1\n",
            "steadfast_lateness_seconds_count 1\n",
            "steadfast_lateness_seconds_sum 0.300000\n",
            "# EOF\n",
        );
        assert!(page.ends_with(end), "{page}");
    }

    #[test]
    fn the_older_format_is_told_what_it_knows() {
        let page = page(Format::Prometheus);
        for line in ["# TYPE steadfast_router_heard_total counter", "# TYPE steadfast_build_info gauge"] {
            assert!(page.lines().any(|found| found == line), "{page}");
        }
        assert!(page.contains("# TYPE steadfast_router_state gauge\n"), "{page}");
        assert!(!page.contains("UNIT") && !page.contains("EOF"), "{page}");
    }
}
