//! SMTP_CHECK: the greeting, HELO, QUIT (RFC 5321). Of each reply only its code is looked at, and nothing but the
//! last few bytes are kept. What follows HELO's reply cannot make the server worse: it is polite to wait for it.

use steadfast_core::time::Duration;

use super::{Dialogue, Outgoing, down, span};
use crate::lvs::verdict::Verdict;

/// The longest reply, all of its lines together. RFC 5321 section 4.5.3.1.5 has 512 bytes for a line.
pub const REPLY_LIMIT: usize = 16 * 1024;

/// The dialogue with a mail server.
#[derive(Debug)]
pub struct Smtp {
    outgoing: Outgoing,
    helo: String,
    stage: Stage,
    /// The code of the line so far, as long as it has not all come, and whether another line follows.
    code: u16,
    more: bool,
    /// The length of the line so far, and of the whole reply.
    column: usize,
    length: usize,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Greeting,
    Helo,
    Quit,
}

impl Smtp {
    /// A dialogue in which we call ourselves `helo`.
    pub fn new(helo: &str) -> Self {
        Self {
            outgoing: Outgoing::default(),
            helo: helo.to_owned(),
            stage: Stage::Greeting,
            code: 0,
            more: false,
            column: 0,
            length: 0,
        }
    }

    /// The code, if this byte ends a reply (RFC 5321 section 4.2).
    fn byte(&mut self, byte: u8) -> Result<Option<u16>, Verdict> {
        self.length = self.length.saturating_add(1);
        if self.length > REPLY_LIMIT {
            return Err(down(format!("a reply of more than {} KiB", REPLY_LIMIT / 1024)));
        }
        match (self.column, byte) {
            (0..3, b'0'..=b'9') => {
                let digit = u16::from(byte.saturating_sub(b'0'));
                self.code = if self.column == 0 { digit } else { self.code.saturating_mul(10).saturating_add(digit) };
            }
            (3, b' ' | b'-' | b'\r' | b'\n') => self.more = byte == b'-',
            (0..=3, _) => return Err(down("not an SMTP answer")),
            _ => {}
        }
        self.column = self.column.saturating_add(1);
        if byte != b'\n' {
            return Ok(None);
        }
        self.column = 0;
        if self.more {
            return Ok(None);
        }
        self.length = 0;
        Ok(Some(self.code))
    }

    /// What a whole reply leads to.
    fn reply(&mut self, code: u16) -> Option<Verdict> {
        match (self.stage, code) {
            (Stage::Greeting, 220) => {
                self.outgoing = Outgoing::new(format!("HELO {}\r\n", self.helo));
                self.stage = Stage::Helo;
                None
            }
            (Stage::Greeting, code) => Some(down(format!("greeting {code}, expected 220"))),
            (Stage::Helo, 250) => {
                self.outgoing = Outgoing::new(*b"QUIT\r\n");
                self.stage = Stage::Quit;
                None
            }
            (Stage::Helo, code) => Some(down(format!("{code} to HELO, expected 250"))),
            (Stage::Quit, _) => Some(Verdict::Up),
        }
    }
}

impl Dialogue for Smtp {
    fn outgoing(&self) -> &[u8] {
        self.outgoing.rest()
    }

    fn sent(&mut self, count: usize) {
        self.outgoing.advance(count);
    }

    fn received(&mut self, bytes: &[u8]) -> Option<Verdict> {
        for &byte in bytes {
            if matches!(self.stage, Stage::Quit) {
                return Some(Verdict::Up);
            }
            let verdict = match self.byte(byte) {
                Ok(Some(code)) => self.reply(code),
                Ok(None) => None,
                Err(verdict) => Some(verdict),
            };
            if verdict.is_some() {
                return verdict;
            }
        }
        None
    }

    fn ended(&mut self) -> Verdict {
        match self.stage {
            Stage::Greeting => down("closed before the greeting"),
            Stage::Helo => down("closed before the answer to HELO"),
            Stage::Quit => Verdict::Up,
        }
    }

    fn timed_out(&self, limit: Duration) -> Verdict {
        match self.stage {
            Stage::Greeting => down(format!("no greeting within {}", span(limit))),
            Stage::Helo => down(format!("no answer to HELO within {}", span(limit))),
            Stage::Quit => Verdict::Up,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvs::probe::testing::{assert_same_however_cut, down_reason};

    fn verdict(answer: impl AsRef<[u8]>) -> Verdict {
        assert_same_however_cut(|| Box::new(Smtp::new("checker.example.org")), answer.as_ref())
    }

    #[test]
    fn a_mail_server_is_greeted_and_left() {
        let mut smtp = Smtp::new("checker.example.org");
        assert_eq!(smtp.outgoing(), b"");
        assert_eq!(smtp.received(b"220-mail.example.org\r\n220-welcome\r\n"), None);
        assert_eq!(smtp.outgoing(), b"", "the greeting goes on");
        assert_eq!(smtp.received(b"220 ESMTP\r\n"), None);
        assert_eq!(smtp.outgoing(), b"HELO checker.example.org\r\n");
        smtp.sent(26);
        assert_eq!(smtp.received(b"250 mail.example.org\r\n"), None);
        assert_eq!(smtp.outgoing(), b"QUIT\r\n");
        smtp.sent(6);
        assert_eq!(smtp.received(b"221 Bye\r\n"), Some(Verdict::Up));
    }

    #[test]
    fn codes_decide() {
        assert_eq!(verdict("220 a\r\n250 b\r\n221 c\r\n"), Verdict::Up);
        assert_eq!(verdict("220\n250\n"), Verdict::Up);
        assert_eq!(verdict("220-a\r\n220 b\r\n250-c\r\n250 d\r\n421 e\r\n"), Verdict::Up);
        for (answer, reason) in [
            ("554 no service\r\n", "greeting 554, expected 220"),
            ("220 a\r\n502 what\r\n", "502 to HELO, expected 250"),
            ("220 a\r\n", "closed before the answer to HELO"),
            ("220 a", "closed before the greeting"),
            ("", "closed before the greeting"),
            ("HTTP/1.1 400 Bad Request\r\n", "not an SMTP answer"),
            ("22\r\n", "not an SMTP answer"),
            ("2200 a\r\n", "not an SMTP answer"),
            ("\0\0\0\0", "not an SMTP answer"),
        ] {
            assert_eq!(down_reason(verdict(answer)), reason, "{answer:?}");
        }
    }

    #[test]
    fn replies_have_a_bound() {
        assert_eq!(down_reason(verdict("220-a\r\n".repeat(REPLY_LIMIT))), "a reply of more than 16 KiB");
        let line = format!("220 {}", "a".repeat(REPLY_LIMIT));
        assert_eq!(down_reason(verdict(line)), "a reply of more than 16 KiB");
    }

    #[test]
    fn deadlines_say_what_was_waited_for() {
        let limit = Duration::from_secs(5);
        let mut smtp = Smtp::new("a");
        assert_eq!(down_reason(smtp.timed_out(limit)), "no greeting within 5 s");
        assert_eq!(smtp.received(b"220 a\r\n"), None);
        assert_eq!(down_reason(smtp.timed_out(limit)), "no answer to HELO within 5 s");
        assert_eq!(smtp.received(b"250 a\r\n"), None);
        assert_eq!(smtp.timed_out(limit), Verdict::Up);
    }
}
