//! What is measured for the page of metrics alone, as the agent's loop hands it over: plain data. Who measures it is
//! [`crate::daemon`], and only where there is such a page.

use std::sync::Arc;

use steadfast_core::agent::{Reason, State};
use steadfast_core::time::Duration;

use crate::timestamp::Timestamp;

/// All of it at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Since when it is measured: the agent's start.
    pub started: Timestamp,
    /// Of the configuration.
    pub configuration: Configuration,
    /// How late periodic Advertisements left, behind the time when each was due.
    pub lateness: Histogram,
    /// Of the Virtual Routers, in the order of the configuration.
    pub routers: Vec<RouterMeasured>,
}

/// The configuration in force, and those that were not taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// How many have been in force, this one included.
    pub generation: u64,
    /// When this one came into force.
    pub applied: Timestamp,
    /// How many were read again and refused.
    pub refused: u64,
    /// Whether the one that was read last was refused.
    pub last_refused: bool,
}

/// Of one Virtual Router.
#[derive(Clone, Debug, PartialEq)]
pub struct RouterMeasured {
    /// Its `vrrp_instance` name.
    pub name: Arc<str>,
    /// How often it went which way, and why.
    pub passages: Vec<(Passage, u64)>,
    /// For how long another Active was heard while it was Active.
    pub dual_active: Duration,
    /// By how much the intervals between the Advertisements of the Active that it follows differ from what they should
    /// be (the mean of RFC 3550 section 6.4.1); `None` if it follows none.
    pub jitter: Option<Duration>,
}

/// From which state to which, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Why.
    pub reason: Reason,
}

/// Spans of time, counted by their length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// By [`Histogram::BOUNDS`]; those that are longer than the last bound come last.
    counts: [u64; Self::BOUNDS.len() + 1],
    sum: Duration,
}

impl Histogram {
    /// The longest span of each place in microseconds, and the same in seconds.
    pub const BOUNDS: [(u64, &str); 12] = [
        (100, "0.0001"),
        (250, "0.00025"),
        (500, "0.0005"),
        (1_000, "0.001"),
        (2_500, "0.0025"),
        (5_000, "0.005"),
        (10_000, "0.01"),
        (25_000, "0.025"),
        (50_000, "0.05"),
        (100_000, "0.1"),
        (250_000, "0.25"),
        (1_000_000, "1.0"),
    ];

    /// Counts one.
    pub fn note(&mut self, span: Duration) {
        let at = Self::BOUNDS.partition_point(|(bound, _)| *bound < span.as_micros());
        if let Some(count) = self.counts.get_mut(at) {
            *count = count.saturating_add(1);
        }
        self.sum = Duration::from_micros(self.sum.as_micros().saturating_add(span.as_micros()));
    }

    /// How many were no longer than each bound.
    pub fn up_to(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let sums = self.counts.iter().scan(0_u64, |sum, count| {
            *sum = sum.saturating_add(*count);
            Some(*sum)
        });
        Self::BOUNDS.iter().map(|(_, bound)| *bound).zip(sums)
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_counted_up_to_their_bounds() {
        let mut histogram = Histogram::default();
        for micros in [0, 100, 101, 2_500, 1_000_000, 1_000_001, 7_000_000] {
            histogram.note(Duration::from_micros(micros));
        }
        let up_to: Vec<_> = histogram.up_to().collect();
        assert_eq!(up_to.first(), Some(&("0.0001", 2)));
        assert_eq!(up_to.get(1), Some(&("0.00025", 3)));
        assert_eq!(up_to.get(4), Some(&("0.0025", 4)));
        assert_eq!(up_to.last(), Some(&("1.0", 5)));
        assert_eq!((histogram.count(), histogram.sum().as_micros()), (7, 9_002_702));
        for (micros, seconds) in Histogram::BOUNDS {
            assert_eq!(seconds.parse::<f64>().unwrap(), micros as f64 / 1e6);
        }
    }
}
