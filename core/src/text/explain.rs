//! `explain`: why a Virtual Router is in its state, how its priority comes about, what would change it, and when
//! it would take over. Every line is made of facts in the [`View`]; nothing is guessed.

use core::fmt;

use super::{Address, Age, Printable, Seconds};
use crate::agent::{Obstacle, Report, State, View, Weight};
use crate::time::{Duration, Instant};
use crate::types::{Family, Priority};

/// A tracker that bears on a Virtual Router.
#[derive(Clone, Copy, Debug)]
pub struct Tracked<'a> {
    /// What it is called.
    pub name: &'a str,
    /// How it bears on the Virtual Router.
    pub weight: Weight,
    /// What it has last said.
    pub report: Option<Report>,
}

/// What there is to say about a Virtual Router.
#[derive(Clone, Copy)]
pub struct Explanation<'a> {
    /// What it is called.
    pub name: &'a str,
    /// What its interface is called.
    pub interface: &'a str,
    /// How it is.
    pub view: View<'a>,
    /// The time.
    pub now: Instant,
    /// Its trackers, numbered from 0.
    pub trackers: &'a dyn Fn(usize) -> Option<Tracked<'a>>,
}

/// One line of an [`Explanation`], with its end; some have nothing to say and are not there at all.
#[derive(Clone, Copy)]
pub struct ExplanationLine<'e, 'a> {
    of: &'e Explanation<'a>,
    subject: Subject<'a>,
}

#[derive(Clone, Copy)]
enum Subject<'a> {
    Router,
    Because,
    KeptOut,
    Priority,
    Heard,
    Next,
    Preempts,
    Timers,
    Source,
    Addresses,
    Tracker(Tracked<'a>),
}

impl<'a> Explanation<'a> {
    /// The lines are numbered from 0; `None` after the last one.
    pub fn line(&self, number: usize) -> Option<ExplanationLine<'_, 'a>> {
        const SUBJECTS: [Subject<'static>; 10] = [
            Subject::Router,
            Subject::Because,
            Subject::KeptOut,
            Subject::Priority,
            Subject::Heard,
            Subject::Next,
            Subject::Preempts,
            Subject::Timers,
            Subject::Source,
            Subject::Addresses,
        ];
        let subject = match SUBJECTS.get(number) {
            Some(subject) => *subject,
            None => Subject::Tracker((self.trackers)(number.saturating_sub(SUBJECTS.len()))?),
        };
        Some(ExplanationLine { of: self, subject })
    }

    /// From `now` to a time that is to come.
    fn left(&self, at: Instant) -> Seconds {
        Seconds(at.since(self.now)).rounded()
    }

    /// How long ago something was.
    fn ago(&self, at: Instant) -> Seconds {
        Seconds(self.now.since(at)).rounded()
    }

    fn router(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = self.view.settings;
        writeln!(
            f,
            "{}: {}, {} v{}, VRID {} on {}",
            Printable(self.name),
            self.view.state.as_str(),
            settings.family.as_str(),
            settings.version.number(),
            settings.vrid.get(),
            Printable(self.interface)
        )?;
        if settings.speaks_both() { f.write_str("  versions     3, and 2 beside it\n") } else { Ok(()) }
    }

    fn because(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.view.last_transition {
            None => f.write_str("  because      it has not started yet\n"),
            Some((at, from, to, reason)) => writeln!(
                f,
                "  because      {}: {} to {}, {} ago",
                reason.as_str(),
                from.as_str(),
                to.as_str(),
                Age(self.now.since(at))
            ),
        }
    }

    fn kept_out(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(obstacle) = self.view.obstacle else { return Ok(()) };
        f.write_str("  kept out     ")?;
        match obstacle {
            Obstacle::Stopped => f.write_str("it is drained, or being stopped")?,
            Obstacle::Link => write!(f, "{} is down", Printable(self.interface))?,
            Obstacle::Source => {
                let what = match self.view.settings.family {
                    Family::V4 => "IPv4 address",
                    Family::V6 => "link-local IPv6 address",
                };
                write!(f, "{} has no {what} to send from", Printable(self.interface))?;
            }
            Obstacle::Tracker => f.write_str("a tracker of weight 0 is down or has not reported yet")?,
            Obstacle::Delay(at) => write!(f, "vrrp_startup_delay, for {} s more", self.left(at))?,
            Obstacle::Group => f.write_str("another member of its sync group is kept out")?,
        }
        f.write_str("\n")
    }

    fn priority(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let configured = self.view.settings.priority;
        write!(f, "  priority     {}", self.view.effective_priority.get())?;
        if configured.is_owner() {
            return f.write_str(" = the owner of the addresses, whatever the trackers say\n");
        }
        if self.weighs().next().is_none() {
            return f.write_str(", as configured\n");
        }
        write!(f, " = {}", configured.get())?;
        let mut sum = i32::from(configured.get());
        for (addition, name) in self.weighs() {
            sum = sum.saturating_add(addition);
            let sign = if addition < 0 { '-' } else { '+' };
            write!(f, " {sign} {} ({})", addition.unsigned_abs(), Printable(name))?;
        }
        if sum != i32::from(self.view.effective_priority.get()) {
            f.write_str(", kept within 1 to 254")?;
        }
        f.write_str("\n")
    }

    /// What trackers add to the priority now, and which do.
    fn weighs(&self) -> impl Iterator<Item = (i32, &'a str)> {
        let trackers = (0..usize::MAX).map_while(self.trackers);
        trackers.map(|tracker| (tracker.weight.addition(tracker.report), tracker.name)).filter(|(add, _)| *add != 0)
    }

    fn heard(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = match self.view.state {
            State::Active => self.view.rival,
            _ => self.view.active_address,
        };
        f.write_str("  heard        ")?;
        let Some((at, priority)) = self.view.heard else { return f.write_str("nobody yet\n") };
        if let Some(address) = peer {
            write!(f, "{}, ", Address(address))?;
        }
        match priority {
            None => f.write_str("priority 0 (resigned)")?,
            Some(priority) => write!(f, "priority {}", priority.get())?,
        }
        if self.view.settings.speaks_both()
            && let Some(version) = self.view.heard_version
        {
            write!(f, ", version {}", version.number())?;
        }
        writeln!(f, ", {} s ago", self.ago(at))
    }

    fn next(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = &self.view;
        match view.state {
            State::Initialize => Ok(()),
            State::Backup if view.awaits_group => {
                f.write_str("  takes over   as soon as every member of its sync group can\n")
            }
            State::Backup => match view.takes_over_at {
                None => Ok(()),
                Some(at) => {
                    writeln!(f, "  takes over   in {} s, unless it hears one that it yields to", self.left(at))
                }
            },
            State::Active => {
                let own = view.effective_priority.get();
                if view.effective_priority.is_owner() {
                    return Ok(());
                }
                write!(f, "  yields       to a priority above {own}")?;
                if let Some(source) = view.source {
                    write!(f, ", and to {own} from an address above {}", Address(source))?;
                }
                f.write_str("\n")
            }
        }
    }

    fn preempts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (settings, now) = (self.view.settings, self.now);
        if self.view.state == State::Active {
            return Ok(());
        }
        f.write_str("  preempts     ")?;
        if settings.priority.is_owner() {
            return f.write_str("always, as the owner of the addresses\n");
        }
        if !settings.preempt {
            return f.write_str("no: an Active of less priority stays\n");
        }
        f.write_str("an Active of less priority")?;
        if settings.preempt_delay.duration() > Duration::ZERO {
            write!(f, ", after {} s", Seconds(settings.preempt_delay.duration()))?;
        }
        if let Some(at) = self.view.preempts_at.filter(|at| *at > now) {
            write!(f, ": of which {} s are left", self.left(at))?;
        }
        f.write_str("\n")
    }

    fn timers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = &self.view;
        writeln!(
            f,
            "  timers       the Active is down after {} s = {} x {} s + skew {} s",
            Seconds(view.active_down_interval),
            view.settings.down_timer_adverts,
            Seconds(view.active_interval.duration()),
            Seconds(view.skew)
        )
    }

    fn source(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("  sends        as Active every ")?;
        write!(f, "{} s", Seconds(self.view.settings.interval.duration()))?;
        if let Some(source) = self.view.source {
            write!(f, " from {}", Address(source))?;
        }
        for (number, peer) in self.view.peers.iter().enumerate() {
            write!(f, "{}{}", if number == 0 { " to " } else { ", " }, Address(*peer))?;
        }
        f.write_str("\n")
    }

    fn addresses(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = if self.view.holds { "held" } else { "not held" };
        write!(f, "  addresses    {held}:")?;
        for address in self.view.addresses.iter().chain(self.view.excluded) {
            write!(f, " {}", Address(*address))?;
        }
        f.write_str("\n")
    }

    fn tracker(&self, tracker: &Tracked<'a>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tracked { name, weight, report } = *tracker;
        let (now, change, other) = match report {
            Some(Report::Up) => ("up", "when it fails", Report::Down),
            Some(Report::Down) => ("down", "when it works", Report::Up),
            None => ("not reported", "when it works", Report::Up),
        };
        write!(f, "  tracker      {}: {now}, weight {}; {change}, ", Printable(name), weight.0)?;
        if weight.0 == 0 {
            return f.write_str(match other {
                Report::Up => "it no longer keeps the router out\n",
                Report::Down => "the router goes out\n",
            });
        }
        let change = weight.addition(Some(other)).saturating_sub(weight.addition(report));
        let then = self.view.settings.priority.weighted(self.view.weights.saturating_add(change));
        write!(f, "priority {}", then.get())?;
        if let Some(active) = self.followed()
            && (self.view.effective_priority > active) != (then > active)
        {
            let word = if then > active { "above" } else { "not above" };
            write!(f, ", {word} the Active's {}", active.get())?;
        }
        f.write_str("\n")
    }

    /// The priority of the Active that a Backup follows.
    fn followed(&self) -> Option<Priority> {
        let priority = self.view.heard?.1;
        self.view.active_address.and(priority).filter(|_| self.view.state == State::Backup)
    }
}

impl fmt::Display for ExplanationLine<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Router => self.of.router(f),
            Subject::Because => self.of.because(f),
            Subject::KeptOut => self.of.kept_out(f),
            Subject::Priority => self.of.priority(f),
            Subject::Heard => self.of.heard(f),
            Subject::Next => self.of.next(f),
            Subject::Preempts => self.of.preempts(f),
            Subject::Timers => self.of.timers(f),
            Subject::Source => self.of.source(f),
            Subject::Addresses => self.of.addresses(f),
            Subject::Tracker(tracker) => self.of.tracker(tracker, f),
        }
    }
}

/// All lines.
impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number = 0_usize;
        while let Some(line) = self.line(number) {
            line.fmt(f)?;
            number = number.saturating_add(1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{Action, Agent, InterfaceId, Link, RouterConfig, RouterId, TrackerId};
    use crate::testing::{Heap, settings};
    use crate::types::Version;
    use crate::wire::Envelope;
    use crate::wire::advertisement::{Authentication, Form, Outgoing};

    extern crate std;
    use std::string::{String, ToString};

    const NAMES: [&str; 2] = ["chk", "uplink"];

    struct Lan {
        agent: Agent<Heap>,
        now: Instant,
        interface: InterfaceId,
        router: RouterId,
        trackers: [TrackerId; 2],
    }

    impl Lan {
        fn new() -> Self {
            let mut agent = Agent::new();
            let now = Instant::from_micros(0);
            let interface = agent.add_interface().unwrap();
            let trackers = [(); 2].map(|()| agent.add_tracker().unwrap());
            let addresses = [[192, 0, 2, 1].into()];
            let settings = crate::agent::Settings { version: Version::V3, ..settings(51) };
            let config = RouterConfig { interface, settings, addresses: &addresses, excluded: &[], peers: &[] };
            let router = agent.add(now, &config, false).unwrap();
            agent.track(now, router, trackers[0], Weight(-10)).unwrap();
            agent.track(now, router, trackers[1], Weight(0)).unwrap();
            Self { agent, now, interface, router, trackers }
        }

        fn up(&mut self) {
            self.agent.handle_link(self.now, self.interface, Link::Up);
            self.agent.handle_source(self.now, self.interface, Family::V4, Some([192, 0, 2, 9].into()));
            self.trackers.iter().for_each(|tracker| self.agent.handle_report(self.now, *tracker, Report::Up));
        }

        fn after(&mut self, millis: u64) {
            self.now = self.now + Duration::from_millis(millis);
            while let Some(action) = self.agent.poll(self.now) {
                if let Action::Acquire { router, generation } = action {
                    self.agent.handle_done(self.now, router, generation, Ok(()));
                }
            }
        }

        fn hear(&mut self, priority: u8) {
            let settings = settings(51);
            let (source, destination) = ([192, 0, 2, 2].into(), settings.group);
            let addresses = [[192, 0, 2, 1].into()];
            let outgoing = Outgoing {
                version: Version::V3,
                vrid: settings.vrid,
                priority: Priority::new(priority),
                interval: settings.interval,
                authentication: Authentication::None,
                addresses: &addresses,
            };
            let mut buffer = [0; 64];
            let length = outgoing.emit(source, destination, Form::PseudoHeader, &mut buffer).unwrap();
            let envelope = Envelope { source, destination, hop_limit: 255 };
            self.agent.handle_advertisement(self.now, self.interface, &envelope, &buffer[..length]).unwrap();
        }

        fn explain(&self) -> String {
            let trackers = |number| {
                let (id, weight, report) = self.agent.trackers(self.router).nth(number)?;
                Some(Tracked { name: NAMES[id.index()], weight, report })
            };
            let view = self.agent.view(self.router).unwrap();
            Explanation { name: "gw", interface: "eth0", view, now: self.now, trackers: &trackers }.to_string()
        }
    }

    #[test]
    fn what_keeps_it_out_is_said() {
        let mut lan = Lan::new();
        assert_eq!(
            lan.explain(),
            "\
gw: initialize, ipv4 v3, VRID 51 on eth0
  because      it has not started yet
  kept out     eth0 is down
  priority     100, as configured
  heard        nobody yet
  preempts     an Active of less priority
  timers       the Active is down after 3.609375 s = 3 x 1 s + skew 0.609375 s
  sends        as Active every 1 s
  addresses    not held: 192.0.2.1
  tracker      uplink: not reported, weight 0; when it works, it no longer keeps the router out
  tracker      chk: not reported, weight -10; when it works, priority 100
"
        );
        let kept_out = |lan: &Lan| lan.explain().lines().nth(2).unwrap().to_string();
        lan.agent.handle_link(lan.now, lan.interface, Link::Up);
        assert_eq!(kept_out(&lan), "  kept out     eth0 has no IPv4 address to send from");
        lan.agent.handle_source(lan.now, lan.interface, Family::V4, Some([192, 0, 2, 9].into()));
        assert_eq!(kept_out(&lan), "  kept out     a tracker of weight 0 is down or has not reported yet");
        lan.up();
        assert!(!lan.explain().contains("kept out"));
        lan.agent.drain(lan.now, lan.router);
        assert_eq!(kept_out(&lan), "  kept out     it is drained, or being stopped");
    }

    #[test]
    fn a_backup_says_whom_it_follows_and_what_would_change_it() {
        let mut lan = Lan::new();
        lan.up();
        lan.after(500);
        lan.hear(95);
        lan.agent.handle_report(lan.now, lan.trackers[0], Report::Down);
        lan.hear(95);
        lan.after(250);
        assert_eq!(
            lan.explain(),
            "\
gw: backup, ipv4 v3, VRID 51 on eth0
  because      tracker-up: initialize to backup, 0s ago
  priority     90 = 100 - 10 (chk)
  heard        192.0.2.2, priority 95, 0.25 s ago
  takes over   in 3.398 s, unless it hears one that it yields to
  preempts     an Active of less priority
  timers       the Active is down after 3.648437 s = 3 x 1 s + skew 0.648437 s
  sends        as Active every 1 s from 192.0.2.9
  addresses    not held: 192.0.2.1
  tracker      uplink: up, weight 0; when it fails, the router goes out
  tracker      chk: down, weight -10; when it works, priority 100, above the Active's 95
"
        );
    }

    #[test]
    fn an_active_says_whom_it_yields_to() {
        let mut lan = Lan::new();
        lan.up();
        lan.after(4_000);
        lan.after(1_000);
        lan.hear(95);
        lan.after(1_000);
        let text = lan.explain();
        assert!(text.starts_with("gw: active, ipv4 v3, VRID 51 on eth0\n  because      no-response: "), "{text}");
        for line in [
            "  heard        192.0.2.2, priority 95, 1 s ago\n",
            "  yields       to a priority above 100, and to 100 from an address above 192.0.2.9\n",
            "  addresses    held: 192.0.2.1\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
