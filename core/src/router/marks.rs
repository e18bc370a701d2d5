//! What is so or not so of a Virtual Router, in one byte: a board has many of them and little memory.

/// What may be so.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Mark {
    /// It was idle when the agent looked at it last, see [`Router::is_idle`](super::Router::is_idle).
    WasIdle = 1,
    /// There is an address to send Advertisements from.
    HasSource = 2,
    /// A tracker of weight 0 is down.
    Faulty = 4,
}

/// Which of them are so.
#[derive(Clone, Copy, Default)]
pub(crate) struct Marks(u8);

impl Marks {
    pub(crate) const fn has(self, mark: Mark) -> bool {
        self.0 & mark as u8 != 0
    }

    /// Whether that changed anything.
    pub(crate) const fn set(&mut self, mark: Mark, on: bool) -> bool {
        let before = self.0;
        self.0 = if on { before | mark as u8 } else { before & !(mark as u8) };
        self.0 != before
    }
}
