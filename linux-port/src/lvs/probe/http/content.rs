//! What the body of an HTTP response has to be: its MD5 digest, and what has to be, or must not be, found in it.
//! The body goes by as a stream; of it only a window is kept, and only while there is something to look for.

use md5::{Digest, Md5};
use regex_lite::Regex;

use crate::lvs::plan::Pattern;
use crate::lvs::probe::down;
use crate::lvs::verdict::Verdict;

/// The longest body. No check needs more, and a server that sends for ever shall not keep us busy to the deadline.
pub(super) const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// The window moves by so much. A match that is longer may be missed; in a body that ends within two of them
/// nothing is.
pub(super) const STRIDE: usize = 64 * 1024;

/// What is made of a body as it goes by.
#[derive(Debug)]
pub(super) struct Content {
    length: usize,
    digest: Option<(Md5, [u8; 16])>,
    search: Option<Search>,
}

impl Content {
    /// What is asked of the body; with neither it may be anything.
    pub(super) fn new(digest: Option<[u8; 16]>, pattern: Option<&Pattern>) -> Self {
        Self { length: 0, digest: digest.map(|expected| (Md5::new(), expected)), search: pattern.map(Search::new) }
    }

    /// The next bytes of the body.
    ///
    /// # Errors
    /// The verdict, when it is certain before the end that the body is not as it should be.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), Verdict> {
        let room = BODY_LIMIT.saturating_sub(self.length);
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.length = self.length.saturating_add(taken.len());
        if let Some((md5, _)) = &mut self.digest {
            md5.update(taken);
        }
        if let Some(search) = &mut self.search {
            search.add(taken);
            if search.unwanted && search.found {
                return Err(down("found what must not match"));
            }
        }
        if taken.len() < bytes.len() {
            return Err(down(format!("a body of more than {} MiB", BODY_LIMIT / 1024 / 1024)));
        }
        Ok(())
    }

    /// The bytes that are kept.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.search.as_ref().map_or(0, |search| search.text.capacity())
    }

    /// The verdict at the end of the body.
    pub(super) fn finish(&mut self) -> Verdict {
        if let Some((md5, expected)) = &mut self.digest {
            let digest: [u8; 16] = md5.finalize_reset().into();
            if digest != *expected {
                return down(format!("digest {}, expected {}", hex(&digest), hex(expected)));
            }
        }
        match &mut self.search {
            None => Verdict::Up,
            Some(search) => {
                search.end();
                match (search.found, search.unwanted) {
                    (true, true) => down("found what must not match"),
                    (false, false) => down("no match of the regex"),
                    (true, false) | (false, true) => Verdict::Up,
                }
            }
        }
    }
}

/// A search for a pattern.
///
/// The window is a text whose characters are the body's bytes (U+0000 to U+00FF), as an
/// [`Expression`](crate::lvs::expression::Expression) wants it: whatever the server's encoding is, valid or not.
#[derive(Debug)]
struct Search {
    regex: Regex,
    unwanted: bool,
    found: bool,
    /// Where a match may begin at the latest.
    latest: usize,
    /// Where one may begin that has not been looked for yet.
    next: usize,
    text: String,
    /// The place in the body of the text's first character, and behind its last.
    begin: usize,
    end: usize,
}

impl Search {
    fn new(pattern: &Pattern) -> Self {
        Self {
            regex: pattern.expression.regex().clone(),
            unwanted: pattern.must_not_match,
            found: false,
            latest: pattern.max_offset.unwrap_or(usize::MAX),
            next: pattern.min_offset,
            text: String::new(),
            begin: 0,
            end: 0,
        }
    }

    /// Looks, and moves the window, at places of the body that do not depend on how it came.
    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.is_over() {
            let room = self.begin.saturating_add(2 * STRIDE).saturating_sub(self.end);
            let (taken, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            bytes = rest;
            self.text.extend(taken.iter().copied().map(char::from));
            self.end = self.end.saturating_add(taken.len());
            if taken.len() == room {
                // Begins in the second half are left to the next window, where there is more behind them. A match
                // that takes all of one half and more may have had to end at the end (`$`): it is taken for one.
                let until = self.begin.saturating_add(STRIDE);
                self.found =
                    self.next < until && self.match_from(self.next, self.text.len()).is_some_and(|at| at < until);
                self.next = self.next.max(until);
                // One character stays, for `^` and `\b`.
                let kept = self.index_of(until.saturating_sub(1));
                self.text.drain(..kept);
                self.begin = until.saturating_sub(1);
            }
        }
        if self.is_over() {
            self.text = String::new();
        }
    }

    /// Looks through what is left.
    fn end(&mut self) {
        if self.is_over() || self.next > self.end {
            return;
        }
        // PCRE's `$` also matches before a line end that is the last character. Here it does not; but it does where
        // that line end is left out.
        let whole = self.text.len();
        let line = self.text.strip_suffix('\n').map_or(whole, str::len);
        self.found = self.match_from(self.next, whole).is_some()
            || line < whole && self.next < self.end && self.match_from(self.next, line).is_some();
    }

    fn is_over(&self) -> bool {
        self.found || self.next > self.latest
    }

    /// The place of the first match that begins at or after `from`, and not after the latest, in the text up to its
    /// byte `to`.
    fn match_from(&self, from: usize, to: usize) -> Option<usize> {
        let text = self.text.get(..to)?;
        let found = self.regex.find_at(text, self.index_of(from))?;
        let at = self.begin.saturating_add(text.get(..found.start())?.chars().count());
        (at <= self.latest).then_some(at)
    }

    /// Where in the text the body's byte at `place` is.
    fn index_of(&self, place: usize) -> usize {
        let mut indices = self.text.char_indices();
        indices.nth(place.saturating_sub(self.begin)).map_or(self.text.len(), |(index, _)| index)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
