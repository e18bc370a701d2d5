//! Everything in core that writes text, into a sink that may refuse.

use core::fmt::{self, Write};

use steadfast_core::agent::View;
use steadfast_core::text::{
    Address, Age, Cell, CounterLine, Explanation, InterfaceRow, Line, MovedCounters, Printable, RouterRow, Seconds,
    Tracked, widen,
};
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Family, Priority};

use crate::wire::{address, mac, vrid};
use crate::{any, used};

pub(crate) struct Sink;

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        used(text);
        any(Ok(()))
    }
}

pub(crate) fn drive() {
    used(write!(Sink, "{}{}{}", vrid(), mac(), any(Priority::DEFAULT)));
    used(any(Family::V4).as_str());
    used(write!(Sink, "{}{}", Address(address()), Printable(any(""))));
    let span = any(Duration::ZERO);
    used(write!(Sink, "{}{}{}", Seconds(span), Seconds(span).rounded(), Age(span)));
    let row = InterfaceRow { name: any(""), up: any(true), ipv4_source: any(None), ipv6_source: any(None) };
    table(&InterfaceRow::HEAD, &row.cells());
}

/// Everything that is told of a Virtual Router.
pub(crate) fn tell<'a>(view: View<'a>, trackers: &'a dyn Fn(usize) -> Option<Tracked<'a>>) {
    let now = any(Instant::default());
    table(&RouterRow::HEAD, &RouterRow::new(any(""), any(""), &view, now).cells());
    used(write!(Sink, "{}", MovedCounters { name: any(""), counters: view.counters.iter() }));
    for (name, value) in view.counters.iter() {
        used(write!(Sink, "{}", CounterLine { name, value }));
    }
    let explanation = Explanation { name: any(""), interface: any(""), view, now, trackers };
    if let Some(line) = explanation.line(any(0)) {
        used(write!(Sink, "{line}"));
    }
    used(write!(Sink, "{explanation}"));
}

fn table(head: &[Cell<'_>], cells: &[Cell<'_>]) {
    let mut widths = any([0; 10]);
    widen(&mut widths, head);
    widen(&mut widths, cells);
    used(write!(Sink, "{}", Line { widths: &widths, cells }));
}
