//! When a Router Advertisement is due (RFC 4861 sections 6.2.4 and 6.2.6), of one router: a few at once, then now and
//! then, and soon after a Solicitation, but never two within three seconds.

use steadfast_core::time::{Duration, Instant};

/// MAX_INITIAL_RTR_ADVERTISEMENTS: so many come sooner,
const INITIAL: u8 = 3;
/// MAX_INITIAL_RTR_ADVERT_INTERVAL: at most this time apart.
const INITIAL_INTERVAL: Duration = Duration::from_secs(16);
/// MIN_DELAY_BETWEEN_RAS.
const APART: Duration = Duration::from_secs(3);
/// MAX_RA_DELAY_TIME.
const ANSWER: Duration = Duration::from_millis(500);

/// The deadlines of one router.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    longest: Duration,
    due: Instant,
    last: Option<Instant>,
    initial: u8,
    random: u64,
}

impl Schedule {
    /// Begins now; `seed` tells it from others that begin now.
    pub(super) fn new(now: Instant, longest: Duration, seed: u64) -> Self {
        let random = now.as_micros() ^ seed.rotate_left(32);
        Self { longest, due: now, last: None, initial: INITIAL, random }
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// An Advertisement was sent.
    pub(super) fn sent(&mut self, now: Instant) {
        self.last = Some(now);
        self.initial = self.initial.saturating_sub(1);
        // MinRtrAdvInterval.
        let longest = self.longest.as_micros();
        let shortest = if longest >= 9_000_000 { longest / 3 } else { longest * 3 / 4 };
        let mut span = Duration::from_micros(shortest) + self.up_to(Duration::from_micros(longest - shortest));
        if self.initial > 0 {
            span = span.min(INITIAL_INTERVAL);
        }
        self.due = now + span;
    }

    /// A Solicitation came.
    pub(super) fn solicited(&mut self, now: Instant) {
        let soon = now + self.up_to(ANSWER);
        let answer = self.last.map_or(soon, |last| soon.max(last + APART));
        self.due = self.due.min(answer);
    }

    /// A time from nothing to this, at random: that others do not speak at the same time is all that it is for.
    fn up_to(&mut self, most: Duration) -> Duration {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        Duration::from_micros(mixed % (most.as_micros() + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn rfc4861_6_2_4_the_first_come_soon_and_the_others_within_the_interval() {
        let begin = Instant::default() + seconds(100);
        for (longest, shortest) in [(600, 200), (9, 3), (4, 3)] {
            for seed in 0..100 {
                let mut schedule = Schedule::new(begin, seconds(longest), seed);
                assert_eq!(schedule.due(), begin);
                for number in 1..20 {
                    let now = schedule.due();
                    schedule.sent(now);
                    let span = schedule.due().since(now);
                    let most = if number < 3 { seconds(longest.min(16)) } else { seconds(longest) };
                    assert!(
                        span <= most && span >= seconds(shortest).min(most),
                        "{longest} s, number {number}: {span:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn rfc4861_6_2_6_an_answer_comes_within_half_a_second_and_three_after_the_last() {
        let begin = Instant::default() + seconds(100);
        for seed in 0..100 {
            let mut schedule = Schedule::new(begin, seconds(600), seed);
            for _ in 0..3 {
                let now = schedule.due();
                schedule.sent(now);
            }
            let last = schedule.last.unwrap();
            schedule.solicited(last + Duration::from_millis(100));
            assert_eq!(schedule.due(), last + APART, "not twice within three seconds");
            schedule.sent(last + APART);
            let later = last + seconds(30);
            schedule.solicited(later);
            assert!(schedule.due() >= later && schedule.due() <= later + ANSWER);
            let due = schedule.due();
            schedule.solicited(later + Duration::from_millis(1));
            assert!(schedule.due() <= due, "never later for a second question");
        }
    }
}
