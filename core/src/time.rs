//! Time as the core sees it: microseconds of the port's monotonic clock. All arithmetic saturates, so
//! no input can overflow it. Nothing here reads a clock.

use core::fmt;
use core::num::{NonZeroU32, NonZeroU64};
use core::ops::{Add, Sub};

/// A point in time: microseconds since an epoch of the port's choice (boot, program start). Kept as one more than
/// they are, so that an `Option` of it takes no more memory than it does: a Virtual Router has many such options,
/// and a board little memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(NonZeroU64);

/// A span of time in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

/// A span of time that is configured and takes half the memory: tenths of milliseconds, up to 119 hours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pause(NonZeroU32);

impl Instant {
    /// The point `micros` microseconds after the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(micros))
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0.get().wrapping_sub(1)
    }

    /// The time from `earlier` to `self`; zero if `earlier` is the later one.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl Default for Instant {
    fn default() -> Self {
        Self(NonZeroU64::MIN)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instant({})", self.as_micros())
    }
}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self::from_micros(0);

    /// A span of `micros` microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// A span of `millis` milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self::from_micros(millis.saturating_mul(1_000))
    }

    /// A span of `secs` seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self::from_micros(secs.saturating_mul(1_000_000))
    }

    /// The span in microseconds.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The span in whole milliseconds, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.as_micros() / 1_000
    }

    /// `self`, `times` times.
    #[must_use]
    pub const fn times(self, times: u64) -> Self {
        Self::from_micros(self.as_micros().saturating_mul(times))
    }
}

impl Pause {
    /// No time at all.
    pub const ZERO: Self = Self(NonZeroU32::MIN);

    const UNIT: u64 = 100;

    /// A pause of this length, rounded up, or the longest.
    pub const fn new(length: Duration) -> Self {
        let units = length.as_micros().div_ceil(Self::UNIT);
        let units = if units > u32::MAX as u64 { u32::MAX } else { units as u32 };
        Self(NonZeroU32::MIN.saturating_add(units))
    }

    /// Its length.
    pub const fn duration(self) -> Duration {
        Duration::from_micros((self.0.get() as u64).saturating_sub(1).saturating_mul(Self::UNIT))
    }
}

impl Default for Pause {
    fn default() -> Self {
        Self::ZERO
    }
}

impl From<Duration> for Pause {
    fn from(length: Duration) -> Self {
        Self::new(length)
    }
}

impl fmt::Debug for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.duration().fmt(f)
    }
}

impl Add<Pause> for Instant {
    type Output = Self;
    fn add(self, pause: Pause) -> Self {
        self + pause.duration()
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(NonZeroU64::new(self.0.get().saturating_sub(span.0)).unwrap_or(NonZeroU64::MIN))
    }
}

impl Add for Duration {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::from_micros(self.as_micros().saturating_add(other.as_micros()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_saturates_at_both_ends() {
        let end = Instant::from_micros(u64::MAX);
        assert_eq!(end + Duration::from_micros(1), end);
        assert_eq!(end + Duration::from_secs(u64::MAX), end);
        assert_eq!(Instant::default() - Duration::from_micros(1), Instant::default());
        assert_eq!(Instant::default().since(end), Duration::ZERO);
        assert!(Instant::from_micros(u64::MAX - 2) < end);
        assert_eq!(Duration::from_millis(u64::MAX), Duration::from_micros(u64::MAX).times(u64::MAX));
    }

    #[test]
    fn microseconds_come_back_as_they_were_given() {
        for micros in [0, 1, 999, 1_000_000, 1 << 62] {
            assert_eq!(Instant::from_micros(micros).as_micros(), micros);
            assert_eq!(
                (Instant::default() + Duration::from_micros(micros)).since(Instant::default()).as_micros(),
                micros
            );
        }
        assert_eq!(Duration::from_micros(2_999).as_millis(), 2);
    }

    #[test]
    fn a_pause_is_rounded_up_and_saturates() {
        for (micros, kept) in [(0, 0), (1, 100), (100, 100), (101, 200), (86_400_000_000, 86_400_000_000)] {
            assert_eq!(Pause::new(Duration::from_micros(micros)).duration().as_micros(), kept);
        }
        assert!(Pause::new(Duration::from_secs(u64::MAX)).duration() > Duration::from_secs(119 * 3600));
        assert_eq!(Instant::default() + Pause::new(Duration::from_secs(3)), Instant::from_micros(3_000_000));
        assert_eq!((Pause::default(), size_of::<Option<Pause>>()), (Pause::ZERO, 4));
    }

    #[test]
    fn an_option_of_a_time_takes_no_more_memory() {
        assert_eq!(size_of::<Option<Instant>>(), size_of::<u64>());
    }
}
