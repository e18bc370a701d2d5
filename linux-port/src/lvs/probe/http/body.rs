//! How the body of an HTTP response is framed: by a length, in chunks, or by the end of the connection
//! (RFC 9112 section 6.3). Only the framing is taken off here, what is inside is [`super::content`]'s.

/// Where in the body we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    /// RFC 9112 section 7.1.
    Chunked(Chunk),
    /// Everything until the connection ends.
    UntilClosed,
}

/// Where in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// In its size, so many digits long by now.
    Size { size: u64, digits: u8 },
    /// Behind the size, in what may follow it on the line.
    Extension { size: u64 },
    /// In its data, of which so much is left.
    Data(u64),
    /// In the line end after the data.
    DataEnd,
    /// In the fields behind the last chunk; whether the line so far is empty.
    Trailer { blank: bool },
}

/// What the next bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// This much of the content.
    Content(&'a [u8]),
    /// There are no more bytes now.
    More,
    /// The body is complete; what follows is not ours.
    End,
    /// The framing is broken; how.
    Bad(&'static str),
}

impl Framing {
    /// The framing of a response to GET with this status and these fields.
    pub(super) fn of(status: u16, fields: &[httparse::Header<'_>]) -> Self {
        if matches!(status, 101 | 204 | 304) {
            return Self::Length(0);
        }
        let values = |name: &'static str| {
            fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
        };
        let mut codings = values("transfer-encoding").flat_map(|value| value.split(|&byte| byte == b','));
        if let Some(last) = codings.next_back() {
            return match last.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                true => Self::Chunked(Chunk::START),
                false => Self::UntilClosed,
            };
        }
        // A length that cannot be read, or two of them, are as good as none.
        let mut lengths = values("content-length").flat_map(|value| value.split(|&byte| byte == b',')).map(number);
        match lengths.next() {
            Some(Some(first)) if lengths.all(|other| other == Some(first)) => Self::Length(first),
            _ => Self::UntilClosed,
        }
    }

    /// Takes the next piece off `bytes`.
    pub(super) fn step<'a>(&mut self, bytes: &mut &'a [u8]) -> Step<'a> {
        match self {
            Self::Length(left) => content(left, bytes).unwrap_or(Step::End),
            Self::Chunked(chunk) => chunk.step(bytes),
            Self::UntilClosed if bytes.is_empty() => Step::More,
            Self::UntilClosed => Step::Content(std::mem::take(bytes)),
        }
    }
}

impl Chunk {
    const START: Self = Self::Size { size: 0, digits: 0 };

    fn step<'a>(&mut self, bytes: &mut &'a [u8]) -> Step<'a> {
        loop {
            if let Self::Data(left) = self {
                match content(left, bytes) {
                    Some(step) => return step,
                    None => *self = Self::DataEnd,
                }
            }
            let Some((&byte, rest)) = bytes.split_first() else { return Step::More };
            *bytes = rest;
            *self = match (*self, byte) {
                (Self::Size { size, digits }, digit) if digit.is_ascii_hexdigit() => {
                    if digits == 16 {
                        return Step::Bad("a chunk's size is too long");
                    }
                    let digit = char::from(digit).to_digit(16).unwrap_or(0);
                    Self::Size { size: size << 4 | u64::from(digit), digits: digits.saturating_add(1) }
                }
                (Self::Size { digits: 0, .. }, _) => return Step::Bad("a chunk without a size"),
                (Self::Size { size, .. } | Self::Extension { size }, b'\n') => match size {
                    0 => Self::Trailer { blank: true },
                    size => Self::Data(size),
                },
                (Self::Size { size, .. }, b'\r' | b';' | b' ' | b'\t') => Self::Extension { size },
                (Self::Size { .. }, _) => return Step::Bad("a chunk's size is not a number"),
                (Self::Extension { size }, _) => Self::Extension { size },
                (Self::DataEnd, b'\r') => Self::DataEnd,
                (Self::DataEnd, b'\n') => Self::START,
                (Self::DataEnd, _) => return Step::Bad("a chunk longer than its size"),
                (Self::Trailer { blank: true }, b'\n') => {
                    // For good: whoever asks again is told the same.
                    *self = Self::Trailer { blank: true };
                    return Step::End;
                }
                (Self::Trailer { blank }, b'\r') => Self::Trailer { blank },
                (Self::Trailer { .. }, byte) => Self::Trailer { blank: byte == b'\n' },
                (Self::Data(left), _) => Self::Data(left),
            };
        }
    }
}

/// What of `bytes` belongs to the next `left` bytes; `None` when nothing is left.
fn content<'a>(left: &mut u64, bytes: &mut &'a [u8]) -> Option<Step<'a>> {
    if *left == 0 {
        return None;
    }
    if bytes.is_empty() {
        return Some(Step::More);
    }
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    *left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
    Some(Step::Content(taken))
}

/// A decimal number and nothing else.
fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    match text.iter().all(u8::is_ascii_digit) {
        true => std::str::from_utf8(text).ok()?.parse().ok(),
        false => None,
    }
}
