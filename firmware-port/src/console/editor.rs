//! The line editor: bytes from a terminal become a line, in memory that is lent. Backspace and ctrl-U take back,
//! ctrl-C abandons, escape sequences (arrow keys) are swallowed, and no other control character gets in. A text of
//! many lines is collected in the same way, each line edited while it is typed.

use steadfast_core::config::{self, Diagnostic};

use super::output::Output;

/// The longest command.
const COMMAND: usize = 80;

const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const BELL: u8 = 0x07;
const BACKSPACE: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;

/// What a byte has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Something, or nothing; the line or text goes on.
    More,
    /// The line or text is complete.
    Complete,
    /// It is not wanted any more.
    Abandoned,
}

/// How far an escape sequence has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sequence {
    None,
    Begun,
    /// `ESC [`: up to a letter.
    Control,
}

/// What is being typed.
pub(super) struct Editor<'b> {
    buffer: &'b mut [u8],
    length: usize,
    /// Where the line begins.
    line: usize,
    /// How many bytes the line has had, whether there was room for them or not, and the first of them.
    typed: usize,
    first: u8,
    sequence: Sequence,
    /// The last byte was a carriage return: a line feed after it is not another line.
    returned: bool,
}

impl<'b> Editor<'b> {
    pub(super) fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, length: 0, line: 0, typed: 0, first: 0, sequence: Sequence::None, returned: false }
    }

    /// Forgets all that was typed.
    pub(super) fn clear(&mut self) {
        (self.length, self.line, self.typed) = (0, 0, 0);
    }

    /// Fills the buffer otherwise: `with` says how much of it. How much it is.
    pub(super) fn fill(&mut self, with: impl FnOnce(&mut [u8]) -> usize) -> usize {
        self.clear();
        self.length = with(self.buffer);
        self.length
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or(&[])
    }

    /// All lines.
    pub(super) fn text(&self) -> Result<&str, Diagnostic<'static>> {
        config::text(self.bytes())
    }

    /// The first word of the line, and the rest without the blanks and quotes around it.
    pub(super) fn words(&self) -> (&[u8], &[u8]) {
        let line = self.bytes().trim_ascii();
        let mut length = 0_usize;
        for byte in line {
            if *byte == b' ' {
                break;
            }
            length = length.saturating_add(1);
        }
        let (word, rest) = line.split_at_checked(length).unwrap_or((line, &[]));
        let rest = rest.trim_ascii();
        let unquoted = rest.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        (word, unquoted.unwrap_or(rest))
    }

    /// Takes in a byte of a command.
    pub(super) fn command(&mut self, byte: u8, output: &mut Output) -> Input {
        match self.plain(byte) {
            Some(CTRL_C) => {
                output.echo(b"^C");
                self.end(output);
                self.clear();
                Input::Abandoned
            }
            Some(b'\n') => {
                self.end(output);
                Input::Complete
            }
            Some(b'\t') => self.put(b' ', COMMAND, output),
            Some(CTRL_U) => {
                self.take_line(output);
                output.echo(b"> ");
                Input::More
            }
            Some(byte) => self.edit(byte, COMMAND, output),
            None => Input::More,
        }
    }

    /// Takes in a byte of a text; it is no longer `whole` once there was no room for one.
    pub(super) fn line_of_text(&mut self, byte: u8, whole: &mut bool, output: &mut Output) -> Input {
        let room = self.buffer.len();
        match self.plain(byte) {
            Some(CTRL_C) => {
                output.echo(b"^C");
                self.end(output);
                self.clear();
                Input::Abandoned
            }
            Some(b'\n') => {
                self.end(output);
                if self.typed == 1 && self.first == b'.' {
                    self.length = self.line;
                    return Input::Complete;
                }
                *whole &= self.store(b'\n', room);
                self.next_line();
                Input::More
            }
            Some(CTRL_D) => {
                if self.typed > 0 {
                    self.end(output);
                    *whole &= self.store(b'\n', room);
                }
                self.next_line();
                Input::Complete
            }
            Some(CTRL_U) => {
                self.take_line(output);
                Input::More
            }
            Some(byte) => {
                let had_room = self.length < room || byte == BACKSPACE;
                let typed = self.typed;
                let input = self.edit(byte, room, output);
                *whole &= had_room || self.typed == typed;
                input
            }
            None => Input::More,
        }
    }

    /// Passes over escape sequences and what is of no use; line ends become line feeds, and backspaces one.
    fn plain(&mut self, byte: u8) -> Option<u8> {
        let returned = core::mem::replace(&mut self.returned, byte == b'\r');
        match (self.sequence, byte) {
            (Sequence::None, ESCAPE) => self.sequence = Sequence::Begun,
            (Sequence::Begun, b'[' | b'O') => self.sequence = Sequence::Control,
            // A control character is none of a sequence: it counts.
            (Sequence::Begun | Sequence::Control, b' '..) => {
                if self.sequence == Sequence::Begun || byte >= b'@' {
                    self.sequence = Sequence::None;
                }
            }
            (Sequence::Begun | Sequence::Control, ESCAPE) => self.sequence = Sequence::Begun,
            (_, byte) => {
                self.sequence = Sequence::None;
                return match byte {
                    b'\n' if returned => None,
                    b'\r' | b'\n' => Some(b'\n'),
                    BACKSPACE | DELETE => Some(BACKSPACE),
                    CTRL_C | CTRL_D | CTRL_U | b'\t' | b' '.. => Some(byte),
                    _ => None,
                };
            }
        }
        None
    }

    fn edit(&mut self, byte: u8, room: usize, output: &mut Output) -> Input {
        match byte {
            BACKSPACE => {
                if self.typed > 0 && self.take() {
                    output.echo(b"\x08 \x08");
                }
                Input::More
            }
            CTRL_D => Input::More,
            byte => self.put(byte, room, output),
        }
    }

    fn put(&mut self, byte: u8, room: usize, output: &mut Output) -> Input {
        if self.typed == 0 {
            self.first = byte;
        }
        self.typed = self.typed.saturating_add(1);
        if self.store(byte, room) {
            output.echo(&[if byte == b'\t' { b' ' } else { byte }]);
        } else {
            output.echo(&[BELL]);
        }
        Input::More
    }

    fn store(&mut self, byte: u8, room: usize) -> bool {
        match self.buffer.get_mut(..room.min(self.buffer.len())).and_then(|buffer| buffer.get_mut(self.length)) {
            Some(place) => {
                *place = byte;
                self.length = self.length.saturating_add(1);
                true
            }
            None => false,
        }
    }

    /// Takes back the last character of the line; false if there is none.
    fn take(&mut self) -> bool {
        let mut any = false;
        while self.length > self.line {
            self.length = self.length.saturating_sub(1);
            self.typed = self.typed.saturating_sub(1);
            any = true;
            // The bytes that continue a character go with the one that begins it.
            if self.buffer.get(self.length).is_none_or(|byte| byte & 0xc0 != 0x80) {
                break;
            }
        }
        any
    }

    fn take_line(&mut self, output: &mut Output) {
        self.length = self.line;
        self.typed = 0;
        output.echo(b"\r\x1b[K");
    }

    fn next_line(&mut self) {
        self.line = self.length;
        self.typed = 0;
    }

    fn end(&mut self, output: &mut Output) {
        output.echo(b"\r\n");
    }
}
