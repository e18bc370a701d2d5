//! Text in memory that C lends, and the text of `status` written into it.

use core::fmt::{self, Write};

use steadfast_core::text::{InterfaceRow, Line, MovedCounters, RouterRow, widen};
use steadfast_core::time::Instant;
use steadfast_core::types::Family;

use crate::handle::Inner;

/// Text that ends with a zero byte in lent memory. What does not fit is counted, not written.
pub(crate) struct Text<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> Text<'a> {
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    /// Ends the text; how long it would be with enough room, without the zero byte.
    pub(crate) fn finish(self) -> usize {
        let end = self.length.min(self.buffer.len().saturating_sub(1));
        if let Some(place) = self.buffer.get_mut(end) {
            *place = 0;
        }
        self.length
    }
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // The last byte is kept for the zero.
        let room = self.buffer.len().saturating_sub(1);
        let places = self.buffer.get_mut(self.length.min(room)..room).unwrap_or(&mut []);
        for (place, byte) in places.iter_mut().zip(text.bytes()) {
            *place = byte;
        }
        self.length = self.length.saturating_add(text.len());
        Ok(())
    }
}

/// The tables of `status`, and the counters that have moved.
pub(crate) fn status(inner: &Inner, now: Instant, text: &mut Text<'_>) {
    // The text takes everything.
    let _ = write_status(inner, now, text);
}

fn write_status(inner: &Inner, now: Instant, text: &mut Text<'_>) -> fmt::Result {
    let agent = inner.node.agent();
    let rows = || {
        agent.routers().filter_map(|id| {
            let view = agent.view(id)?;
            let interface = inner.interfaces.get(view.interface.index()).map_or("-", |known| known.name.as_str());
            Some(RouterRow::new(inner.names.of(id), interface, &view, now))
        })
    };
    let mut widths = [0; RouterRow::HEAD.len()];
    widen(&mut widths, &RouterRow::HEAD);
    rows().for_each(|row| widen(&mut widths, &row.cells()));
    write!(text, "{}", Line { widths: &widths, cells: &RouterRow::HEAD })?;
    for row in rows() {
        write!(text, "{}", Line { widths: &widths, cells: &row.cells() })?;
    }
    text.write_str("\n")?;
    let rows = || {
        inner.interfaces.iter().map(|known| {
            let (up, ipv4_source) = agent.interface(known.id, Family::V4);
            let (_, ipv6_source) = agent.interface(known.id, Family::V6);
            InterfaceRow { name: &known.name, up, ipv4_source, ipv6_source }
        })
    };
    let mut widths = [0; InterfaceRow::HEAD.len()];
    widen(&mut widths, &InterfaceRow::HEAD);
    rows().for_each(|row| widen(&mut widths, &row.cells()));
    write!(text, "{}", Line { widths: &widths, cells: &InterfaceRow::HEAD })?;
    for row in rows() {
        write!(text, "{}", Line { widths: &widths, cells: &row.cells() })?;
    }
    text.write_str("\n")?;
    for id in agent.routers() {
        if let Some(view) = agent.view(id) {
            write!(text, "{}", MovedCounters { name: inner.names.of(id), counters: view.counters.iter() })?;
        }
    }
    write!(text, "{}", MovedCounters { name: "all", counters: agent.counters().iter() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_with_a_zero_byte_in_any_room() {
        for room in 0..12 {
            let mut buffer = [0xff_u8; 12];
            let mut text = Text::new(&mut buffer[..room]);
            text.write_str("status").unwrap();
            text.write_str(" ok").unwrap();
            assert_eq!(text.finish(), 9);
            let shown = room.saturating_sub(1).min(9);
            assert_eq!(&buffer[..shown], &b"status ok"[..shown]);
            assert!(room == 0 || buffer[shown] == 0);
            assert!(buffer[room..].iter().all(|byte| *byte == 0xff), "written behind its end");
        }
    }
}
