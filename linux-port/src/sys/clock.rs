//! The monotonic clock as the core's [`Instant`], and how precisely the kernel wakes us. No timers: the
//! loop waits with a timeout, see [`super::poll`].

use std::io;

use steadfast_core::time::Instant;

/// Microseconds of CLOCK_MONOTONIC: comparable between processes of one machine, unaffected by the wall
/// clock being set.
pub fn now() -> Instant {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that outlives the call. CLOCK_MONOTONIC exists on every kernel, so
    // the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    // Neither is ever negative; a microsecond never has more than 999,999 of them.
    #[allow(clippy::unnecessary_cast, reason = "the width of both fields depends on the target")]
    let micros = (time.tv_sec as u64).saturating_mul(1_000_000).saturating_add(time.tv_nsec as u64 / 1_000);
    Instant::from_micros(micros)
}

/// Asks the kernel not to delay this thread's timeouts to save power: 1 ns of slack, the default is 50 us.
pub fn set_timer_slack() -> io::Result<()> {
    // SAFETY: PR_SET_TIMERSLACK takes one unsigned long and touches no memory of ours.
    super::check(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong, 0, 0, 0) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_runs_backwards() {
        set_timer_slack().unwrap();
        let first = now();
        assert!(first > Instant::from_micros(0));
        assert!(now() >= first);
    }
}
