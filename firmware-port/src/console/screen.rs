//! What the console shows: for each command a sequence of small steps, mostly one line each, made again from the
//! facts whenever there is room for the next piece of it. A line whose facts change while it is on its way may show
//! some of both.

use core::fmt::{self, Write};

use embedded_storage::nor_flash::NorFlash;
use steadfast_core::agent::{InterfaceId, RouterId};
use steadfast_core::text::{
    CounterLine, Explanation, InterfaceRow, Line, MovedCounters, Printable, RouterRow, Tracked, widen,
};
use steadfast_core::time::Instant;
use steadfast_core::types::Family;

use super::output::{Output, Window};
use super::{Editor, Host};
use crate::store::Store;

/// How many findings are shown of one text.
const FINDINGS: u16 = 16;

/// How much of the configuration is read at once.
const CHUNK: usize = 32;

/// Steps that are tried for something to show, before something else may have its turn.
const STEPS: u16 = 4;

/// What is said.
pub(super) mod messages {
    pub(crate) const GREETING: &str =
        concat!("\nSteadfast ", env!("CARGO_PKG_VERSION"), "; `help` lists the commands\n");
    pub(crate) const REFUSED: &str =
        "\nThe stored configuration cannot be used here; the built-in one is in force. `help` lists the commands\n";
    pub(crate) const HELP: &str = "\
status            the Virtual Routers, the interfaces, and what has been counted
explain NAME      why a Virtual Router is as it is, and what would change it
counters [NAME]   all counters, or those of one Virtual Router
show config       the configuration
load config       take in another one: it is checked, stored and put in force
drain [NAME]      hand over and stay out, until `resume` or `reboot`
resume [NAME]     take part again
reboot            hand over and restart
";
    pub(crate) const LOAD: &str = "The text, then a line with a dot or ctrl-D; ctrl-C abandons it\n";
    pub(crate) const ABANDONED: &str = "Abandoned; nothing is stored\n";
    pub(crate) const TOO_LONG: &str = "The text is too long for this board; nothing is stored\n";
    pub(crate) const REFUSED_TEXT: &str = "There are errors; nothing is stored, and nothing has changed\n";
    pub(crate) const APPLIED: &str = "It is stored and in force\n";
    pub(crate) const FLASH: &str = "The flash fails: it is not stored, and nothing has changed\n";
    pub(crate) const UNKNOWN: &str = "There is no such command; `help` lists them\n";
    pub(crate) const NO_ROUTER: &str = "There is no such Virtual Router; `status` lists them\n";
    pub(crate) const DRAINED: &str = "It hands over and stays out; `resume` takes that back\n";
    pub(crate) const RESUMED: &str = "It takes part again\n";
    pub(crate) const REBOOT: &str = "Handing over, then restarting\n";
}

/// What is shown.
#[derive(Clone, Copy)]
pub(super) enum Screen {
    Message(&'static str),
    /// The table of Virtual Routers, whose columns are as wide as this; then all else that `status` shows.
    Routers([u16; 10]),
    Interfaces([u16; 4]),
    /// The counters that are not 0.
    Moved,
    Explain(RouterId),
    /// The counters of one, or those of no Virtual Router; and then those of the next.
    Counters(Option<RouterId>, Next),
    Config,
    /// What is wrong with the text, and that so many are errors.
    Findings(Findings),
}

/// Whether others follow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Follows,
    Ends,
}

/// How many findings there are, and how many are errors.
#[derive(Clone, Copy, Default)]
pub(super) struct Findings {
    pub(super) count: u16,
    pub(super) errors: u16,
}

/// A screen, and how far it has been shown.
pub(super) struct Showing {
    pub(super) screen: Screen,
    step: u16,
    /// Of this step.
    offset: u16,
}

/// What the screens are made of.
pub(super) struct Facts<'f, F, H> {
    pub(super) now: Instant,
    pub(super) store: &'f mut Store<F>,
    pub(super) host: &'f H,
    pub(super) editor: &'f Editor<'f>,
    /// The configuration that is in force, if it is not the stored one.
    pub(super) built_in: Option<&'static str>,
}

impl Showing {
    pub(super) const fn new(screen: Screen) -> Self {
        Self { screen, step: 0, offset: 0 }
    }

    /// Puts the next piece into the output, which is empty; whether that was all.
    pub(super) fn show<F: NorFlash, H: Host>(&mut self, output: &mut Output, facts: &mut Facts<'_, F, H>) -> bool {
        for _ in 0..STEPS {
            let mut window = Window::new(output, self.offset);
            match self.screen.step(self.step, &mut window, facts) {
                Some(Ok(())) => {
                    self.step = self.step.saturating_add(1);
                    self.offset = 0;
                }
                // There was no more room.
                Some(Err(fmt::Error)) => self.offset = window.passed,
                None => match self.screen.next(facts.host) {
                    Some(next) => *self = Self::new(next),
                    None => return true,
                },
            }
            if !output.is_empty() {
                break;
            }
        }
        false
    }
}

impl Screen {
    /// The first screen of `status`.
    pub(super) fn status<H: Host>(now: Instant, host: &H) -> Self {
        let mut widths = [0; 10];
        widen(&mut widths, &RouterRow::HEAD);
        for id in host.agent().routers() {
            if let Some(row) = router_row(now, host, id) {
                widen(&mut widths, &row.cells());
            }
        }
        Self::Routers(widths)
    }

    /// The first screen of all counters.
    pub(super) fn counters<H: Host>(host: &H) -> Self {
        Self::Counters(host.agent().routers().next(), Next::Follows)
    }

    /// Writes a step; `None` after the last one.
    fn step<F: NorFlash, H: Host>(
        &self,
        step: u16,
        window: &mut Window<'_>,
        facts: &mut Facts<'_, F, H>,
    ) -> Option<fmt::Result> {
        let (now, host, number) = (facts.now, facts.host, usize::from(step));
        let behind_head = number.checked_sub(1);
        Some(match self {
            Self::Message(text) => match step {
                0 => window.write_str(text),
                _ => return None,
            },
            Self::Routers(widths) => match behind_head {
                None => line(window, widths, &RouterRow::HEAD),
                Some(number) => {
                    let id = host.agent().routers().nth(number)?;
                    line(window, widths, &router_row(now, host, id)?.cells())
                }
            },
            Self::Interfaces(widths) => match behind_head {
                None => window.write_str("\n").and_then(|()| line(window, widths, &InterfaceRow::HEAD)),
                Some(number) => line(window, widths, &interface_row(host, number)?.cells()),
            },
            Self::Moved => {
                if step == 0 {
                    return Some(window.write_str("\n"));
                }
                let agent = host.agent();
                match behind_head.and_then(|number| agent.routers().nth(number)) {
                    Some(id) => {
                        let counters = agent.view(id)?.counters.iter();
                        write!(window, "{}", MovedCounters { name: host.router_name(id), counters })
                    }
                    // Behind the last Virtual Router, once.
                    None if number <= agent.routers().count().saturating_add(1) => {
                        write!(window, "{}", MovedCounters { name: "global", counters: agent.counters().iter() })
                    }
                    None => return None,
                }
            }
            Self::Explain(id) => {
                let trackers = |number| {
                    let (tracker, weight, report) = host.agent().trackers(*id).nth(number)?;
                    Some(Tracked { name: host.tracker_name(tracker), weight, report })
                };
                let view = host.agent().view(*id)?;
                let explanation = Explanation {
                    name: host.router_name(*id),
                    interface: interface_name(host, view.interface),
                    view,
                    now,
                    trackers: &trackers,
                };
                write!(window, "{}", explanation.line(number)?)
            }
            Self::Counters(of, _) => {
                let agent = host.agent();
                let (name, counter) = match of {
                    Some(id) => {
                        let view = agent.view(*id)?;
                        (host.router_name(*id), behind_head.map(|number| view.counters.iter().nth(number)))
                    }
                    None => ("global", behind_head.map(|number| agent.counters().iter().nth(number))),
                };
                match counter {
                    None => writeln!(window, "{}:", Printable(name)),
                    Some(counter) => {
                        let (name, value) = counter?;
                        write!(window, "{}", CounterLine { name, value })
                    }
                }
            }
            Self::Config => {
                let Some(number) = behind_head else {
                    let origin = if facts.built_in.is_some() { "# built in\n" } else { "# stored\n" };
                    return Some(window.write_str(origin));
                };
                let offset = number.saturating_mul(CHUNK);
                let mut chunk = [0; CHUNK];
                match facts.built_in {
                    Some(text) => {
                        let rest = text.as_bytes().get(offset..).filter(|rest| !rest.is_empty())?;
                        window.write_bytes(rest.get(..CHUNK).unwrap_or(rest))
                    }
                    None => {
                        let read = facts.store.read(offset, &mut chunk);
                        let piece = chunk.get(..read).filter(|piece| !piece.is_empty())?;
                        window.write_bytes(piece)
                    }
                }
            }
            Self::Findings(findings) if step < findings.count.min(FINDINGS) => {
                let mut result = Ok(());
                let mut passed = 0_u16;
                let mut report = |diagnostic| {
                    if passed == step {
                        result = writeln!(window, "{diagnostic}");
                    }
                    passed = passed.saturating_add(1);
                };
                match facts.editor.text() {
                    Ok(text) => host.check(text, &mut report),
                    Err(diagnostic) => report(diagnostic),
                }
                result
            }
            Self::Findings(findings) if step == findings.count.min(FINDINGS) => {
                match findings.count.saturating_sub(FINDINGS) {
                    0 => Ok(()),
                    more => writeln!(window, "and {more} more"),
                }
            }
            Self::Findings(_) => return None,
        })
    }

    /// What is shown behind it.
    fn next<H: Host>(&self, host: &H) -> Option<Self> {
        match *self {
            Self::Routers(_) => {
                let mut widths = [0; 4];
                widen(&mut widths, &InterfaceRow::HEAD);
                for row in (0..usize::MAX).map_while(|number| interface_row(host, number)) {
                    widen(&mut widths, &row.cells());
                }
                Some(Self::Interfaces(widths))
            }
            Self::Interfaces(_) => Some(Self::Moved),
            Self::Counters(Some(id), Next::Follows) => {
                let mut routers = host.agent().routers();
                routers.find(|known| *known == id);
                Some(Self::Counters(routers.next(), Next::Follows))
            }
            _ => None,
        }
    }
}

fn line(window: &mut Window<'_>, widths: &[u16], cells: &[steadfast_core::text::Cell<'_>]) -> fmt::Result {
    write!(window, "{}", Line { widths, cells })
}

fn router_row<H: Host>(now: Instant, host: &H, id: RouterId) -> Option<RouterRow<'_>> {
    let view = host.agent().view(id)?;
    Some(RouterRow::new(host.router_name(id), interface_name(host, view.interface), &view, now))
}

fn interface_name<H: Host>(host: &H, interface: InterfaceId) -> &str {
    let mut all = (0..usize::MAX).map_while(|number| host.interface(number));
    all.find(|(id, _)| *id == interface).map_or("", |(_, name)| name)
}

fn interface_row<H: Host>(host: &H, number: usize) -> Option<InterfaceRow<'_>> {
    let (id, name) = host.interface(number)?;
    let (up, ipv4_source) = host.agent().interface(id, Family::V4);
    let (_, ipv6_source) = host.agent().interface(id, Family::V6);
    Some(InterfaceRow { name, up, ipv4_source, ipv6_source })
}
