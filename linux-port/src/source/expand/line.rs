//! A line while values are put into it, which remembers where each of its columns was written.

use std::cell::Cell;

/// From this column on, the columns of a line are those of a line of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) struct Piece {
    /// Where it begins: while the line is made a byte, from 0; in the end a column, from 1.
    pub(in crate::source) at: u32,
    /// The column of the source.
    pub(in crate::source) from: u32,
    /// Whether each column has one in the source; if not, they all have this one.
    pub(in crate::source) copied: bool,
}

/// A line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) text: String,
    /// The line of the source.
    pub(super) line: u32,
    /// In the order of their beginnings, the first at 0; none while all columns are the source's.
    pieces: Vec<Piece>,
    /// The characters between two bytes that were counted last: who goes on from there need not begin anew.
    counted: Cell<(usize, usize, u32)>,
}

impl Line {
    /// A whole line of the source, but for its end.
    pub(super) fn whole(text: &str, line: u32) -> Self {
        Self { text: text.to_owned(), ..Self::empty(line) }
    }

    /// What there is from the byte `offset` on.
    pub(super) fn cut(&self, offset: usize) -> Self {
        let mut rest = self.begun();
        rest.copy(self, offset, self.text.len());
        rest
    }

    /// The same line of the source with nothing there.
    pub(super) fn begun(&self) -> Self {
        Self::empty(self.line)
    }

    fn empty(line: u32) -> Self {
        Self { text: String::new(), line, pieces: Vec::new(), counted: Cell::default() }
    }

    /// The same without blanks at both ends.
    pub(super) fn trimmed(&self) -> Self {
        let blanks = self.text.len() - self.text.trim_start().len();
        let mut trimmed = self.cut(blanks);
        trimmed.text.truncate(trimmed.text.trim_end().len());
        trimmed
    }

    /// Takes a `\` at the end away; whether there was one.
    pub(super) fn end_continuation(&mut self) -> bool {
        let Some(text) = self.text.strip_suffix('\\') else { return false };
        self.text.truncate(text.trim_end().len());
        true
    }

    /// Appends the bytes from `start` to `end` of a line, with their columns.
    pub(super) fn copy(&mut self, other: &Self, start: usize, end: usize) {
        let Some(text) = other.text.get(start..end).filter(|text| !text.is_empty()) else { return };
        let shift = self.text.len();
        let (from, copied) = other.origin(start);
        self.piece(shift, from, copied);
        for piece in other.pieces.iter().filter(|piece| piece.at as usize > start && (piece.at as usize) < end) {
            self.piece(piece.at as usize - start + shift, piece.from, piece.copied);
        }
        self.text.push_str(text);
    }

    /// Appends a value that stands in the place of what begins at the byte `offset` of a line.
    pub(super) fn put(&mut self, other: &Self, offset: usize, value: &str) {
        if !value.is_empty() {
            self.piece(self.text.len(), other.column(offset), false);
            self.text.push_str(value);
        }
    }

    fn piece(&mut self, at: usize, from: u32, copied: bool) {
        self.pieces.push(Piece { at: u32::try_from(at).unwrap_or(u32::MAX), from, copied });
    }

    /// The column of the source that the byte `offset` comes from.
    pub(super) fn column(&self, offset: usize) -> u32 {
        self.origin(offset).0
    }

    fn origin(&self, offset: usize) -> (u32, bool) {
        let after = self.pieces.partition_point(|piece| piece.at as usize <= offset);
        let piece = after.checked_sub(1).and_then(|before| self.pieces.get(before));
        let piece = piece.copied().unwrap_or(Piece { at: 0, from: 1, copied: true });
        let passed = if piece.copied { self.characters(piece.at as usize, offset) } else { 0 };
        (piece.from.saturating_add(passed), piece.copied)
    }

    fn characters(&self, start: usize, end: usize) -> u32 {
        let count = |from| self.text.get(from..end).map_or(0, |text| text.chars().count());
        let count = |from| u32::try_from(count(from)).unwrap_or(u32::MAX);
        let passed = match self.counted.get() {
            (begin, until, passed) if begin == start && until <= end => passed.saturating_add(count(until)),
            _ => count(start),
        };
        self.counted.set((start, end, passed));
        passed
    }

    /// Its pieces by columns; none if all columns are the source's.
    pub(super) fn columns(&self) -> impl Iterator<Item = Piece> {
        let is_plain = matches!(self.pieces.as_slice(), [] | [Piece { at: 0, from: 1, copied: true }]);
        let mut column = 1_u32;
        let mut offset = 0;
        self.pieces.iter().filter(move |_| !is_plain).map(move |piece| {
            column = column.saturating_add(self.characters(offset, piece.at as usize));
            offset = piece.at as usize;
            Piece { at: column, ..*piece }
        })
    }
}
