//! The laboratory's clock: CLOCK_MONOTONIC for everything, so that a probe, a captured packet and an address event
//! can be subtracted from each other; and waiting for an event with a deadline.

use std::ops::Add;
use std::time::Duration;

use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

/// A moment of CLOCK_MONOTONIC, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(pub i64);

impl Stamp {
    /// The moment now.
    pub fn now() -> Self {
        Self(read(ClockId::CLOCK_MONOTONIC))
    }

    /// The moment that a CLOCK_REALTIME reading (nanoseconds), taken a moment ago, names.
    pub(crate) fn of_realtime(nanoseconds: i64) -> Self {
        let offset = read(ClockId::CLOCK_REALTIME) - read(ClockId::CLOCK_MONOTONIC);
        Self(nanoseconds - offset)
    }

    /// Milliseconds from `earlier` to here; negative if `earlier` is later.
    pub fn ms_since(self, earlier: Self) -> f64 {
        (self.0 - earlier.0) as f64 / 1e6
    }

    /// Sleeps until this moment; returns at once if it has passed.
    pub fn sleep(self) {
        let request = nix::sys::time::TimeSpec::new(self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        while Self::now() < self {
            // Interrupted by a signal: the loop asks again.
            let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &request);
        }
    }
}

impl Add<Duration> for Stamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration.as_nanos() as i64)
    }
}

fn read(clock: ClockId) -> i64 {
    let time = clock_gettime(clock).expect("the clock can be read");
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

/// Milliseconds as a `Duration`; negative counts as zero.
pub fn ms(milliseconds: f64) -> Duration {
    Duration::from_secs_f64(milliseconds.max(0.0) / 1e3)
}

/// Asks `question` every few milliseconds until it answers; panics, naming `what`, when `patience` is over.
#[track_caller]
pub fn wait_for<T>(what: &str, patience: Duration, mut question: impl FnMut() -> Option<T>) -> T {
    let deadline = Stamp::now() + patience;
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(Stamp::now() < deadline, "waited {patience:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The middle value; 0 for an empty slice.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// `median [min..max] (n)` of a list of milliseconds, for the printed tables.
pub fn summary(values: &[f64]) -> String {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.2} [{low:.2}..{high:.2}] (n={})", median(values), values.len())
}
