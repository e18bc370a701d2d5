//! `interface_up_down_delays`: an interface that goes down or up counts as it only when it has stayed so for a while. What
//! an interface is found as at first, and that it is gone, counts at once.

use std::collections::HashMap;

use steadfast_core::time::{Duration, Instant};

use super::Daemon;
use crate::plan::options::InterfaceDelays;

/// The delays, and which interfaces wait.
#[derive(Debug, Default)]
pub(super) struct Delays {
    spans: InterfaceDelays,
    /// By the number of the interface: when its change counts; it is known from then on that it was there.
    waiting: HashMap<usize, Option<Instant>>,
}

impl Delays {
    /// These are the delays from now on.
    pub(super) fn plan(&mut self, spans: InterfaceDelays) {
        self.spans = spans;
    }

    /// Whether the interface number `at` counts as up, that has counted as up so far or not, and is so now or not;
    /// `None`: it is not there.
    pub(super) fn judge(&mut self, now: Instant, at: usize, name: &str, counted: bool, is_up: Option<bool>) -> bool {
        if self.spans.is_empty() {
            self.waiting.clear();
            return is_up.unwrap_or(false);
        }
        let Some(is_up) = is_up else {
            self.waiting.remove(&at);
            return false;
        };
        let Some([down, up]) = self.spans.get(name).copied() else {
            self.waiting.remove(&at);
            return is_up;
        };
        let span = if is_up { up } else { down };
        match self.waiting.get(&at).copied() {
            Some(since) if is_up != counted && span != Duration::ZERO => {
                let counts_at = since.unwrap_or(now + span);
                let counts = counts_at <= now;
                self.waiting.insert(at, (!counts).then_some(counts_at));
                is_up == counts
            }
            _ => {
                self.waiting.insert(at, None);
                is_up
            }
        }
    }

    /// When the next of those that wait counts.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.values().flatten().min().copied()
    }

    fn over(&self, now: Instant) -> Vec<usize> {
        let over = |(at, until): (&usize, &Option<Instant>)| until.filter(|until| *until <= now).map(|_| *at);
        self.waiting.iter().filter_map(over).collect()
    }
}

impl Daemon {
    /// Takes in the changes of interfaces that have lasted.
    pub(super) fn lasted(&mut self, now: Instant) {
        if self.delays.due().is_some_and(|due| due <= now) {
            for at in self.delays.over(now) {
                self.tell(now, at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_when_it_has_lasted() {
        let ms = Duration::from_millis;
        let mut delays = Delays::default();
        delays.plan([("eth0".to_owned(), [ms(100), ms(300)])].into());
        let begin = Instant::from_micros(5_000_000);
        let at = |after: u64| begin + ms(after);
        let mut counted = false;
        let mut judge = |delays: &mut Delays, after: u64, is_up: Option<bool>| {
            counted = delays.judge(at(after), 0, "eth0", counted, is_up);
            counted
        };
        assert!(judge(&mut delays, 0, Some(true)), "what it is found as counts at once");
        assert!(judge(&mut delays, 10, Some(false)));
        assert_eq!(delays.due(), Some(at(110)));
        assert!(judge(&mut delays, 60, Some(true)), "it has not lasted");
        assert_eq!(delays.due(), None);
        assert!(judge(&mut delays, 70, Some(false)));
        assert!(judge(&mut delays, 169, Some(false)));
        assert!(delays.over(at(169)).is_empty());
        assert_eq!(delays.over(at(170)), [0]);
        assert!(!judge(&mut delays, 170, Some(false)));
        assert!(!judge(&mut delays, 200, Some(true)));
        assert_eq!(delays.due(), Some(at(500)));
        assert!(judge(&mut delays, 500, Some(true)));
        assert!(!judge(&mut delays, 510, None), "what is gone is gone");
        assert!(judge(&mut delays, 520, Some(true)));
        // Without a delay every change counts.
        delays.plan(InterfaceDelays::new());
        assert!(!judge(&mut delays, 530, Some(false)));
    }
}
