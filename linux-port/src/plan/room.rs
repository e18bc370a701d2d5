//! How much of a kind a file may have in all. What multiplies, or is kept by the agent or the kernel, is bounded by more
//! than the size of the file.

use std::fmt;

use steadfast_core::config::Place;

use crate::grammar::reader::Reader;

/// The most addresses, the most routes and rules, and so on.
const MOST: usize = 100_000;

/// The room for what is of one kind.
#[derive(Debug)]
pub(super) struct Room {
    /// What there is room for, as a sentence names several.
    what: &'static str,
    most: usize,
    left: usize,
    /// The first place for which there was none.
    over: Option<Place>,
}

impl Room {
    /// For as many as there may usually be.
    pub(super) fn new(what: &'static str) -> Self {
        Self::of(MOST, what)
    }

    pub(super) fn of(most: usize, what: &'static str) -> Self {
        Self { what, most, left: most, over: None }
    }

    /// Takes room for one; whether there was.
    pub(super) fn take(&mut self, place: Place) -> bool {
        self.take_all(1, place)
    }

    /// Takes room for several, or for none of them; whether there was.
    pub(super) fn take_all(&mut self, count: usize, place: Place) -> bool {
        match self.left.checked_sub(count) {
            Some(left) => self.left = left,
            None => _ = self.over.get_or_insert(place),
        }
        !self.is_over()
    }

    /// Whether there was not enough of it.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Says where there was not enough of it.
    pub(super) fn judge(&self, reader: &mut Reader<'_>) {
        if let Some(place) = self.over {
            reader.error(place, self);
        }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {} {}", self.most, self.what)
    }
}
