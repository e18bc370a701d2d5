//! The console's UART of this board: standard input and output. What is written waits here, and leaves when it can
//! without waiting: a reader that does not read delays no Advertisement. What there is no room for is lost, as on a
//! UART that nobody listens to.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, Stdin, Stdout};
use std::os::fd::{AsFd, BorrowedFd};

use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd;

/// How many bytes wait at most.
const WAITING: usize = 64 << 10;
/// So many bytes a pipe takes at once, or says that it is not ready (PIPE_BUF).
const PIECE: usize = 4096;

/// The terminal.
pub(crate) struct Terminal {
    input: Stdin,
    output: Stdout,
    waiting: VecDeque<u8>,
    /// Nothing more will come.
    ended: bool,
    /// How the terminal was before, if it is one.
    before: Option<Termios>,
}

impl Terminal {
    /// The terminal; if it is a real one, what is typed comes at once and is echoed by the console alone.
    pub(crate) fn open() -> Self {
        let input = io::stdin();
        let before = tcgetattr(&input).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
            // Without it each line is seen twice.
            let _ = tcsetattr(&input, SetArg::TCSANOW, &raw);
        }
        Self { input, output: io::stdout(), waiting: VecDeque::new(), ended: false, before }
    }

    /// A line between what the console says.
    pub(crate) fn line(&mut self, text: &str) {
        self.queue(format!("{text}\n").as_bytes());
    }

    fn queue(&mut self, bytes: &[u8]) {
        if self.waiting.len() + bytes.len() <= WAITING {
            self.waiting.extend(bytes);
        }
    }

    /// Lets go what can leave without waiting.
    pub(crate) fn flush(&mut self) {
        while !self.waiting.is_empty() && is_ready(self.output.as_fd(), PollFlags::POLLOUT) {
            let (piece, _) = self.waiting.as_slices();
            let piece = piece.get(..piece.len().min(PIECE)).unwrap_or(piece);
            // An output that is gone takes everything.
            let written = unistd::write(&self.output, piece).unwrap_or(piece.len());
            self.waiting.drain(..written);
        }
    }

    /// What is to be waited for, besides time: input, and room for output.
    pub(crate) fn waits_for(&self) -> [Option<(BorrowedFd<'_>, PollFlags)>; 2] {
        [
            (!self.ended).then(|| (self.input.as_fd(), PollFlags::POLLIN)),
            (!self.waiting.is_empty()).then(|| (self.output.as_fd(), PollFlags::POLLOUT)),
        ]
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.flush();
        if let Some(before) = &self.before {
            let _ = tcsetattr(&self.input, SetArg::TCSANOW, before);
        }
    }
}

/// Whether something can be done at once; also if it would fail at once.
fn is_ready(fd: BorrowedFd<'_>, what: PollFlags) -> bool {
    poll(&mut [PollFd::new(fd, what)], PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

impl ErrorType for Terminal {
    type Error = Infallible;
}

impl ReadReady for Terminal {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(!self.ended && is_ready(self.input.as_fd(), PollFlags::POLLIN))
    }
}

impl Read for Terminal {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        // Not by `Stdin`'s own reading, which would keep more than was asked for.
        let read = unistd::read(&self.input, buffer).unwrap_or(0);
        self.ended |= read == 0;
        Ok(read)
    }
}

impl WriteReady for Terminal {
    fn write_ready(&mut self) -> Result<bool, Infallible> {
        Ok(true)
    }
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.queue(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
