//! What happened in a run: a running hash of every note, so that two runs can be compared cheaply, and the
//! notes themselves when somebody wants to read them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use steadfast_core::agent::{Generation, Reason, State};

use super::scenario::Fault;

/// Something that happened at a node (by number) in a Virtual Router (by number).
#[derive(Clone, Copy, Debug, Hash)]
pub enum Note {
    /// A fault of the scenario.
    Fault(Fault),
    /// The trial of the second half, done to this node.
    Trial(Option<usize>),
    /// A node sent an Advertisement.
    Sent {
        /// Who.
        node: usize,
        /// For which Virtual Router.
        group: usize,
        /// With which priority.
        priority: u8,
    },
    /// A node was handed an Advertisement; it was discarded if not `valid`.
    Heard {
        /// Who.
        node: usize,
        /// For which Virtual Router.
        group: usize,
        /// From whom.
        from: usize,
        /// With which priority.
        priority: u8,
        /// Whether it passed every check.
        valid: bool,
    },
    /// A node changed its state.
    Moved {
        /// Who.
        node: usize,
        /// In which Virtual Router.
        group: usize,
        /// From.
        from: State,
        /// To.
        to: State,
        /// Why.
        reason: Reason,
    },
    /// A node asked for its addresses to be put on or off.
    Asked {
        /// Who.
        node: usize,
        /// For which Virtual Router.
        group: usize,
        /// On (or off).
        acquire: bool,
        /// The generation.
        generation: Generation,
    },
    /// That was done, or failed.
    Done {
        /// Who.
        node: usize,
        /// For which Virtual Router.
        group: usize,
        /// On (or off).
        acquire: bool,
        /// Whether it was done.
        success: bool,
    },
    /// A node announced an address.
    Announced {
        /// Who.
        node: usize,
        /// For which Virtual Router.
        group: usize,
        /// Which of its addresses.
        address: usize,
    },
    /// The client now sends frames for an address to another node.
    Client {
        /// The Virtual Router.
        group: usize,
        /// To whom.
        node: usize,
    },
    /// A node has ended as planned.
    Ended {
        /// Who.
        node: usize,
    },
}

/// How often what happened, by name.
pub type Tally = BTreeMap<&'static str, u64>;

/// The notes of one run.
#[derive(Debug)]
pub struct Trace {
    hash: Fnv,
    length: u64,
    lines: Option<String>,
    /// Transitions by their reason; what routers counted is added at the end of a run.
    pub tally: Tally,
}

impl Trace {
    /// An empty trace, which keeps lines to read if `verbose`.
    pub fn new(verbose: bool) -> Self {
        Self { hash: Fnv(0xcbf2_9ce4_8422_2325), length: 0, lines: verbose.then(String::new), tally: Tally::new() }
    }

    /// Adds a note of what happened at `at` microseconds.
    pub fn note(&mut self, at: u64, note: Note) {
        (at, note).hash(&mut self.hash);
        self.length += 1;
        if let Note::Moved { reason, .. } = note {
            *self.tally.entry(reason.as_str()).or_default() += 1;
        }
        if let Some(lines) = &mut self.lines {
            let (seconds, micros) = (at / 1_000_000, at % 1_000_000);
            // Writing to a String does not fail.
            let _ = writeln!(lines, "{seconds:>6}.{micros:06}  {note:?}");
        }
    }

    /// The hash of all notes so far.
    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// How many notes there are.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The lines, if they were kept.
    pub fn lines(&self) -> &str {
        self.lines.as_deref().unwrap_or("")
    }
}

/// FNV-1a, word by word: the same on every machine and in every run, as the standard hasher is not.
#[derive(Clone, Copy, Debug)]
struct Fnv(u64);

impl Fnv {
    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.word((*byte).into());
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.word(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.word(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        self.word(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.word(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.word(word as u64);
    }
}
