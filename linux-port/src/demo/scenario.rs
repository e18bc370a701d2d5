//! What happens to the two routers, in what order, and what must come of it. Every step waits for the
//! routers to say over their control sockets that they are in the right states, not for time to pass.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::AsFd;

use steadfast_core::time::{Duration, Instant};

use crate::control::client::AskError;
use crate::status::{State, Transition};
use crate::sys::clock::now;
use crate::sys::poll::PollSet;
use crate::sys::signal::{Signal, Signals};
use crate::timestamp::Timestamp;

use super::lan::{CLIENT, INTERFACE, Lan, VIRTUAL};
use super::observer::Observer;
use super::probe::{Outage, PATIENCE, Probes, Totals};
use super::report::{Bound, Gap, Line, Millis, Report, SLACK, Timer};
use super::router::{INTERVAL_MS, Router, word};

/// How often the routers are asked for their states.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How long a state is watched before the next thing happens; the probes of its end are not judged yet.
const REST: Duration = Duration::from_millis(1_000 + PATIENCE.as_millis());
/// The time in which at least one probe of a settled state is answered.
const SERVED: Duration = Duration::from_millis(300);
/// How much longer than in theory a state may take to be reached: what takes longer is an error.
const LENIENCE: Duration = Duration::from_secs(5);

const INTERVAL: Duration = Duration::from_millis(INTERVAL_MS);

/// Why the demo ends early.
#[derive(Debug)]
pub(super) enum Stop {
    /// By a signal.
    Interrupted,
    /// A router is not in the state that it should be in, or its agent has ended.
    Wrong(String),
    /// Something that is not the routers' fault.
    Failed(io::Error),
    /// An agent's answer cannot be had.
    Silent(&'static str, AskError),
}

impl Stop {
    /// Whether what the agents have logged may explain it.
    pub(super) fn concerns_agents(&self) -> bool {
        matches!(self, Self::Wrong(_) | Self::Silent(..))
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => f.write_str("interrupted"),
            Self::Wrong(what) => f.write_str(what),
            Self::Failed(error) => error.fmt(f),
            Self::Silent(name, error) => write!(f, "router {name}: {error}"),
        }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// A router and what is known of it.
struct Seen<'a> {
    router: &'a mut Router,
    state: Option<State>,
    transition: Option<Transition>,
    /// Its agent was asked to end.
    stopping: bool,
}

impl Seen<'_> {
    /// Whether this is the transition that it was last seen to have made. The agent counts back from the
    /// present to tell when that was, which may come out a little differently each time.
    fn knows(&self, transition: &Transition) -> bool {
        self.transition.as_ref().is_some_and(|known| {
            let apart = known.at.since(transition.at) + transition.at.since(known.at);
            (known.from, known.to) == (transition.from, transition.to) && micros(apart) < 10_000
        })
    }
}

/// The demo under way.
struct Scenario<'a> {
    lan: &'a mut Lan,
    routers: [Seen<'a>; 2],
    signals: &'a Signals,
    out: &'a mut dyn Write,
    start: Instant,
    /// Probes sent from here on belong to the present step.
    step: Instant,
    report: Report,
}

/// The first router of the pair, which has the higher priority.
const A: usize = 0;
/// The second.
const B: usize = 1;

/// Runs all of it; the figures that were measured.
pub(super) fn play(
    lan: &mut Lan,
    [a, b]: &mut [Router; 2],
    signals: &Signals,
    out: &mut dyn Write,
) -> Result<Report, Stop> {
    let seen = |router| Seen { router, state: None, transition: None, stopping: false };
    let start = now();
    let routers = [seen(a), seen(b)];
    let mut scenario = Scenario { lan, routers, signals, out, start, step: start, report: Report::default() };
    scenario.introduce()?;
    scenario.elect()?;
    let (observer, probes) = scenario
        .lan
        .client
        .within(&scenario.lan.home, || Ok((Observer::start(INTERFACE)?, Probes::start(VIRTUAL)?)))?;
    scenario.rest()?;
    scenario.served(&probes, now() - PATIENCE)?;
    scenario.cut_off(&probes, &observer)?;
    scenario.let_return(&probes)?;
    scenario.stop(&probes, &observer)?;
    scenario.start_again(&probes)?;
    let Totals { due, sent, answered } = probes.totals();
    writeln!(scenario.out, "\n{due} probes were due, {sent} were sent in time, {answered} answered\n")?;
    Ok(scenario.report)
}

impl Scenario<'_> {
    fn introduce(&mut self) -> io::Result<()> {
        let [a, b] = &self.routers;
        for Seen { router, .. } in [a, b] {
            let (name, address, priority) = (router.name, router.address, router.priority());
            writeln!(self.out, "router {name}  {address}  priority {priority}")?;
        }
        writeln!(self.out, "client    {CLIENT}  asks the virtual address {VIRTUAL} for an echo every millisecond")?;
        writeln!(self.out, "VRRP version 3, one Advertisement every {INTERVAL_MS} ms\n")?;
        writeln!(self.out, "{}", Line("ms", ["router a", "router b"], "what happened"))
    }

    fn elect(&mut self) -> Result<(), Stop> {
        self.act("both routers are started")?;
        for (seen, namespace) in self.routers.iter_mut().zip(&self.lan.routers) {
            seen.router.start(namespace, &self.lan.home)?;
        }
        self.reach([State::Active, State::Backup], "the higher priority is elected")
    }

    fn cut_off(&mut self, probes: &Probes, observer: &Observer) -> Result<(), Stop> {
        self.act("router a is cut off: its port leaves the bridge, silently")?;
        let cut = now();
        self.lan.cut(A)?;
        self.reach([State::Active, State::Active], "router b takes over")?;
        self.rest()?;
        let router = &self.routers[B].router;
        let (down, skew) = (Duration::from_micros(router.active_down()), Duration::from_micros(router.skew()));
        // It happened at any time between two Advertisements.
        let bound = Bound::between(INTERVAL.times(2) + skew, down);
        self.measure(probes, "router a is cut off, b takes over", bound)?;
        let first = observer.first(self.routers[B].router.address, cut);
        let last = first.and_then(|first| observer.last(self.routers[A].router.address, first.at));
        self.report.timers.push(Timer {
            event: "last Advertisement of a, first of b",
            measured: first.zip(last).map(|(first, last)| first.at.since(last.at)),
            theory: down,
        });
        Ok(())
    }

    fn let_return(&mut self, probes: &Probes) -> Result<(), Stop> {
        self.act("router a is back on the LAN, where there are two Active now")?;
        self.lan.plug(A)?;
        self.reach([State::Active, State::Backup], "router b hands back")?;
        self.rest()?;
        self.measure(probes, "router a is back, b hands back", Bound::AtMost(INTERVAL + SLACK))
    }

    fn stop(&mut self, probes: &Probes, observer: &Observer) -> Result<(), Stop> {
        self.act("router a is asked to stop (SIGTERM)")?;
        let asked = now();
        self.routers[A].stopping = true;
        self.routers[A].router.stop()?;
        self.reach_when("router b takes over and router a ends", |[a, b]| {
            !a.router.is_running() && b.state == Some(State::Active)
        })?;
        self.rest()?;
        self.measure(probes, "router a stops as planned, b takes over", Bound::Lost(1))?;
        let farewell = observer.first(self.routers[A].router.address, asked).filter(|heard| heard.farewell);
        let first = farewell.and_then(|heard| observer.first(self.routers[B].router.address, heard.at));
        self.report.timers.push(Timer {
            event: "priority 0 of a, first of b",
            measured: first.zip(farewell).map(|(first, farewell)| first.at.since(farewell.at)),
            theory: Duration::from_micros(self.routers[B].router.skew()),
        });
        Ok(())
    }

    fn start_again(&mut self, probes: &Probes) -> Result<(), Stop> {
        self.act("router a is started again")?;
        self.routers[A].router.start(&self.lan.routers[A], &self.lan.home)?;
        self.reach([State::Active, State::Backup], "router a takes back what is its by priority")?;
        self.rest()?;
        self.measure(probes, "router a is started again, b hands back", Bound::AtMost(SLACK))
    }

    /// Closes a step: what the client missed since the last one.
    fn measure(&mut self, probes: &Probes, event: &'static str, bound: Bound) -> Result<(), Stop> {
        let end = now() - PATIENCE;
        let outage = probes.outage(self.step, end);
        self.step = end;
        self.report.gaps.push(Gap { event, outage, bound });
        let Outage { lost, gap } = outage;
        self.line(now(), &format!("   client: {lost} probes lost, gap {} ms", Millis(gap)))?;
        self.served(probes, end)
    }

    /// Fails unless the virtual address was answering shortly before `end`: a state is not right because the
    /// routers say so.
    fn served(&self, probes: &Probes, end: Instant) -> Result<(), Stop> {
        if probes.any_answered(end - SERVED, end) {
            return Ok(());
        }
        let [a, b] = self.routers.each_ref().map(|seen| word(seen.state));
        Err(Stop::Wrong(format!("the virtual address does not answer, while router a is {a} and router b is {b}")))
    }

    /// Says that something is done to the routers.
    fn act(&mut self, what: &str) -> io::Result<()> {
        self.line(now(), &format!("== {what}"))
    }

    fn line(&mut self, at: Instant, what: &str) -> io::Result<()> {
        let when = at.since(self.start).as_millis().to_string();
        let [a, b] = self.routers.each_ref().map(|seen| word(seen.state));
        writeln!(self.out, "{}", Line(&when, [&a, &b], what))?;
        self.out.flush()
    }

    /// Waits for these states of both routers.
    fn reach(&mut self, states: [State; 2], what: &str) -> Result<(), Stop> {
        let [a, b] = states;
        let what = format!("{what} (router a {a}, router b {b})");
        self.reach_when(&what, |seen| seen.each_ref().map(|seen| seen.state) == states.map(Some))
    }

    /// Waits until `condition` holds; `what` says what was waited for, in an error.
    fn reach_when(&mut self, what: &str, condition: impl Fn(&[Seen<'_>; 2]) -> bool) -> Result<(), Stop> {
        let patience = Duration::from_micros(self.routers[B].router.active_down()) + LENIENCE;
        let deadline = now() + patience;
        loop {
            self.look()?;
            if condition(&self.routers) {
                return Ok(());
            }
            if now() > deadline {
                let [a, b] = self.routers.each_ref().map(|seen| word(seen.state));
                let patience = patience.as_millis();
                return Err(Stop::Wrong(format!(
                    "expected for {patience} ms, and it did not happen: {what}; router a is {a}, router b is {b}"
                )));
            }
            self.wait(ASK_EVERY)?;
        }
    }

    /// Watches for a while, in which nothing may happen.
    fn rest(&mut self) -> Result<(), Stop> {
        let states = self.routers.each_ref().map(|seen| seen.state);
        let end = now() + REST;
        while now() < end {
            self.wait(ASK_EVERY)?;
            self.look()?;
            let [a, b] = self.routers.each_ref().map(|seen| seen.state);
            if [a, b] != states {
                let [a, b] = [word(a), word(b)];
                return Err(Stop::Wrong(format!(
                    "nothing was done to the routers, but their states changed to router a {a}, router b {b}"
                )));
            }
        }
        Ok(())
    }

    /// Asks both routers for their states, and says what has changed.
    fn look(&mut self) -> Result<(), Stop> {
        let mut news = Vec::new();
        for (index, seen) in self.routers.iter_mut().enumerate() {
            let name = seen.router.name;
            if let Some(status) = seen.router.ended()? {
                if !(seen.stopping && status.success()) {
                    return Err(Stop::Wrong(format!("the agent of router {name} has ended ({status})")));
                }
                (seen.stopping, seen.transition) = (false, None);
                news.push((now(), index, None, format!("router {name} has ended")));
            }
            if !seen.router.is_running() {
                continue;
            }
            let status = match seen.router.status() {
                Ok(Some(status)) => status,
                // It does not listen yet.
                Ok(None) => continue,
                // It ends in the middle of an answer.
                Err(_) if seen.stopping => continue,
                Err(error) => return Err(Stop::Silent(name, error)),
            };
            if let Some(transition) = status.last_transition.filter(|new| !seen.knows(new)) {
                let at = now() - Duration::from_micros(micros(Timestamp::now().since(transition.at)));
                let Transition { from, to, reason, .. } = &transition;
                let what = format!("router {name}: {from} -> {to} ({reason})");
                news.push((at, index, Some(status.state), what));
                seen.transition = Some(transition);
            }
        }
        news.sort_by_key(|(at, ..)| *at);
        for (at, index, state, what) in news {
            self.routers[index].state = state;
            self.line(at, &what)?;
        }
        Ok(())
    }

    /// Waits for a while, or until an agent ends.
    fn wait(&self, span: Duration) -> Result<(), Stop> {
        let mut set = PollSet::new();
        set.add(self.signals.as_fd());
        set.wait(Some(span))?;
        while let Some(signal) = self.signals.next() {
            if signal != Signal::Child {
                return Err(Stop::Interrupted);
            }
        }
        Ok(())
    }
}

fn micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
