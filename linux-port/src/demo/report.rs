//! The demo's figures beside what they should be, and how timeline and tables look. Where the figures come
//! from is in [`super::scenario`].

use std::fmt;

use steadfast_core::time::Duration;

use super::probe::Outage;

/// By how much a figure may exceed its bound: a scheduler's share, the kernel's, and that of our own clocks.
pub(super) const SLACK: Duration = Duration::from_millis(20);

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// No more probes lost than this.
    Lost(usize),
    /// The gap no longer than this.
    AtMost(Duration),
    /// The gap neither shorter nor longer.
    Within(Duration, Duration),
}

impl Bound {
    /// Between what the rules say, give or take [`SLACK`]: both ends of a span are read by processes that may
    /// be held up, so it can look shorter, too.
    pub(super) fn between(least: Duration, most: Duration) -> Self {
        let least = least.as_micros().saturating_sub(SLACK.as_micros());
        Self::Within(Duration::from_micros(least), most + SLACK)
    }

    /// Whether this outage is what it should be.
    fn allows(self, outage: Outage) -> bool {
        match self {
            Self::Lost(most) => outage.lost <= most,
            Self::AtMost(most) => outage.gap <= most,
            Self::Within(least, most) => (least..=most).contains(&outage.gap),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::Lost(1) => "1 probe lost".to_owned(),
            Self::Lost(most) => format!("{most} probes lost"),
            Self::AtMost(most) => format!("0.0 .. {}", Millis(most)),
            Self::Within(least, most) => format!("{} .. {}", Millis(least), Millis(most)),
        };
        f.pad(&text)
    }
}

/// A span in milliseconds, to a tenth.
#[derive(Clone, Copy, Debug)]
pub(super) struct Millis(pub(super) Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.0.as_micros().saturating_add(50) / 100;
        f.pad(&format!("{}.{}", tenths / 10, tenths % 10))
    }
}

/// One event's outage.
#[derive(Clone, Debug)]
pub(super) struct Gap {
    /// What happened.
    pub(super) event: &'static str,
    /// What the client missed.
    pub(super) outage: Outage,
    /// What it may miss.
    pub(super) bound: Bound,
}

/// One timer of the election as another host on the LAN saw it.
#[derive(Clone, Debug)]
pub(super) struct Timer {
    /// From what to what.
    pub(super) event: &'static str,
    /// How long it took; `None` if one of the two was not heard.
    pub(super) measured: Option<Duration>,
    /// What the RFC says.
    pub(super) theory: Duration,
}

/// Everything that was measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    /// In the order of the events.
    pub(super) gaps: Vec<Gap>,
    /// In the order of the events.
    pub(super) timers: Vec<Timer>,
}

/// `ok`, or `missed`: a late figure, on a machine that was busy.
fn verdict(kept: bool) -> &'static str {
    if kept { "ok" } else { "missed" }
}

impl Report {
    /// Whether a figure is out of its bound.
    pub(super) fn missed(&self) -> bool {
        !self.gaps.iter().all(|gap| gap.bound.allows(gap.outage)) || !self.timers.iter().all(Timer::kept)
    }
}

impl Timer {
    fn kept(&self) -> bool {
        let gap = self.measured.unwrap_or_default();
        self.measured.is_some() && Bound::between(self.theory, self.theory).allows(Outage { lost: 0, gap })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, cells: [&dyn fmt::Display; 5]| {
            let [event, lost, gap, bound, verdict] = cells;
            writeln!(f, "{event:<42} {lost:>11} {gap:>8}   {bound:<18} {verdict}")
        };
        line(f, [&"event", &"probes lost", &"gap ms", &"bound ms", &"verdict"])?;
        for Gap { event, outage, bound } in &self.gaps {
            line(f, [event, &outage.lost, &Millis(outage.gap), bound, &verdict(bound.allows(*outage))])?;
        }
        writeln!(f)?;
        line(f, [&"timer, as heard on the LAN", &"theory ms", &"ms", &"bound ms", &"verdict"])?;
        for timer in &self.timers {
            let measured = timer.measured.map_or_else(|| "-".to_owned(), |span| Millis(span).to_string());
            let bound = Bound::between(timer.theory, timer.theory);
            line(f, [&timer.event, &Millis(timer.theory), &measured, &bound, &verdict(timer.kept())])?;
        }
        Ok(())
    }
}

/// A line of the timeline, or its head: when, the state of each router, what happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a>(pub(super) &'a str, pub(super) [&'a str; 2], pub(super) &'a str);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line(when, [a, b], what) = self;
        write!(f, "{when:>8}   {a:<10}  {b:<10}  {what}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outage(lost: usize, gap: u64) -> Outage {
        Outage { lost, gap: Duration::from_millis(gap) }
    }

    #[test]
    fn bounds_hold_at_both_ends() {
        let ms = Duration::from_millis;
        for (bound, outage, kept) in [
            (Bound::Lost(1), outage(1, 9), true),
            (Bound::Lost(1), outage(2, 1), false),
            (Bound::AtMost(ms(5)), outage(5, 5), true),
            (Bound::AtMost(ms(5)), outage(5, 6), false),
            (Bound::Within(ms(3), ms(5)), outage(2, 2), false),
            (Bound::Within(ms(3), ms(5)), outage(3, 3), true),
            (Bound::Within(ms(3), ms(5)), outage(5, 5), true),
            (Bound::Within(ms(3), ms(5)), outage(6, 6), false),
        ] {
            assert_eq!(bound.allows(outage), kept, "{bound:?} {outage:?}");
        }
    }

    #[test]
    fn the_tables_say_what_was_missed() {
        let mut report = Report {
            gaps: vec![
                Gap {
                    event: "router a is cut off, b takes over",
                    outage: outage(1_500, 1_500),
                    bound: Bound::Within(Duration::from_micros(1_304_688), Duration::from_micros(1_824_687)),
                },
                Gap { event: "router a stops, b takes over", outage: outage(1, 1), bound: Bound::Lost(1) },
            ],
            timers: vec![Timer {
                event: "last Advertisement of a, first of b",
                measured: Some(Duration::from_micros(1_805_049)),
                theory: Duration::from_micros(1_804_687),
            }],
        };
        assert!(!report.missed());
        let text = "\
event                                      probes lost   gap ms   bound ms           verdict
router a is cut off, b takes over                 1500   1500.0   1304.7 .. 1824.7   ok
router a stops, b takes over                         1      1.0   1 probe lost       ok

timer, as heard on the LAN                   theory ms       ms   bound ms           verdict
last Advertisement of a, first of b             1804.7   1805.0   1784.7 .. 1824.7   ok
";
        assert_eq!(report.to_string(), text);
        report.timers[0].measured = None;
        assert!(report.missed());
        assert!(report.to_string().ends_with("   1804.7        -   1784.7 .. 1824.7   missed\n"));
        report.timers.clear();
        report.gaps[1].outage.lost = 2;
        assert!(report.missed());
    }
}
