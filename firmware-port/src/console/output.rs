//! What is on its way to the stream: a few bytes, and the window through which a longer text is written into them
//! piece by piece, without ever being whole in memory.

use core::fmt;

use embedded_io::{Write, WriteReady};

/// The longest piece.
const PIECE: usize = 64;

/// The longest echo of one byte.
const ECHO: usize = 8;

/// Bytes that the stream has not taken yet.
pub(super) struct Output {
    bytes: [u8; PIECE],
    /// Of them, these are still to be sent.
    start: usize,
    end: usize,
}

impl Output {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; PIECE], start: 0, end: 0 }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether what one typed byte is answered with fits in.
    pub(super) const fn has_room(&self) -> bool {
        self.end.saturating_add(ECHO) <= PIECE
    }

    /// Gives the stream what it takes without waiting. What cannot be sent is lost, as on a wire that is cut.
    pub(super) fn drain(&mut self, stream: &mut (impl Write + WriteReady)) {
        while self.start < self.end && matches!(stream.write_ready(), Ok(true)) {
            let rest = self.bytes.get(self.start..self.end).unwrap_or(&[]);
            let taken = stream.write(rest).unwrap_or(rest.len());
            self.start = self.start.saturating_add(taken).min(self.end);
            if taken == 0 {
                break;
            }
        }
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// One more byte, if there is room.
    fn push(&mut self, byte: u8) -> bool {
        match self.bytes.get_mut(self.end) {
            Some(place) => {
                *place = byte;
                self.end = self.end.saturating_add(1);
                true
            }
            None => false,
        }
    }

    /// Puts in what fits: the echo of a byte.
    pub(super) fn echo(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.push(*byte);
        }
    }
}

/// Writes the part of a text that follows its first `skip` bytes, as far as there is room; line ends become those of
/// a terminal. Fails when there is no more room, so that nothing is made in vain.
pub(super) struct Window<'o> {
    output: &'o mut Output,
    skip: u16,
    /// How much of the text has been sent before or is in the output now.
    pub(super) passed: u16,
}

impl<'o> Window<'o> {
    pub(super) fn new(output: &'o mut Output, skip: u16) -> Self {
        Self { output, skip, passed: 0 }
    }

    pub(super) fn write_bytes(&mut self, bytes: &[u8]) -> fmt::Result {
        for byte in bytes {
            if *byte == b'\n' {
                self.push(b'\r')?;
            }
            self.push(*byte)?;
        }
        Ok(())
    }

    fn push(&mut self, byte: u8) -> fmt::Result {
        if self.passed >= self.skip && !self.output.push(byte) {
            return Err(fmt::Error);
        }
        self.passed = self.passed.saturating_add(1);
        Ok(())
    }
}

impl fmt::Write for Window<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_bytes(text.as_bytes())
    }
}
