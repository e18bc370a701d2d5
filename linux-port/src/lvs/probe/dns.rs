//! DNS_CHECK: one question, and an answer that is looked at, not only its return code (RFC 1035 section 4).
//! Over UDP; an answer that was truncated is one, there is no second question over TCP.

use steadfast_core::time::Duration;

use super::{Dialogue, Outgoing, down, no_answer, span};
use crate::lvs::verdict::Verdict;

const HEADER: usize = 12;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const ANY: u16 = 255;
const INTERNET: u16 = 1;

/// The dialogue with a name server.
#[derive(Debug)]
pub struct Dns {
    outgoing: Outgoing,
    id: u16,
    record: u16,
    /// Name, type and class as they are sent.
    question: Vec<u8>,
    /// Something came that was no answer to us.
    stray: bool,
}

impl Dns {
    /// A question for records of this type at this name.
    ///
    /// # Errors
    /// The name cannot be asked for (RFC 1035 section 2.3.4).
    pub fn new(record: u16, name: &str, random: u64) -> Result<Self, String> {
        let mut question = Vec::new();
        for label in name.split('.').filter(|_| !name.is_empty()) {
            match u8::try_from(label.len()) {
                Ok(length @ 1..=63) => question.push(length),
                _ => return Err(format!("{name:?} is not a name for DNS: a label has 1 to 63 bytes")),
            }
            question.extend_from_slice(label.as_bytes());
        }
        question.push(0);
        if question.len() > 255 {
            return Err(format!("{name:?} is not a name for DNS: it is longer than 255 bytes"));
        }
        question.extend_from_slice(&record.to_be_bytes());
        question.extend_from_slice(&INTERNET.to_be_bytes());
        let [high, low, ..] = random.to_be_bytes();
        // One question, recursion desired.
        let mut query = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend_from_slice(&question);
        let id = u16::from_be_bytes([high, low]);
        Ok(Self { outgoing: Outgoing::new(query), id, record, question, stray: false })
    }

    /// Whether the server has the record, as far as it says.
    ///
    /// A CNAME is an answer for every type: a server need not know where it points to (RFC 1034 section 3.6.2). The
    /// SOA of a zone also counts where it stands in the authority section, as it does for a name within the zone:
    /// the zone is served.
    fn judge(&self, message: &[u8]) -> Result<(), String> {
        const MALFORMED: &str = "a malformed answer";
        let word = |at| word(message, at).ok_or(MALFORMED);
        let flags = word(2)?;
        if flags & 0xf != 0 {
            return Err(code(flags & 0xf));
        }
        let mut at = HEADER.saturating_add(self.question.len());
        let question = message.get(HEADER..at).ok_or(MALFORMED)?;
        // Lengths of labels are below 64, where there are no letters.
        if word(4)? != 1 || !question.eq_ignore_ascii_case(&self.question) {
            return Err("an answer to another question".into());
        }
        // Truncated: what was asked for may be in what is missing.
        if flags & 0x200 != 0 {
            return Ok(());
        }
        let (answers, authorities) = (usize::from(word(6)?), usize::from(word(8)?));
        for number in 0..answers.saturating_add(authorities) {
            at = behind_name(message, at).ok_or(MALFORMED)?;
            let (record, class, length) = (word(at)?, word(at.saturating_add(2))?, word(at.saturating_add(8))?);
            at = at.saturating_add(10).saturating_add(length.into());
            if at > message.len() {
                return Err(MALFORMED.into());
            }
            let wanted = match number < answers {
                true => record == self.record || record == CNAME || self.record == ANY,
                false => record == self.record && record == SOA,
            };
            if wanted && class == INTERNET {
                return Ok(());
            }
        }
        Err(format!("no {} in the answer", name_of(self.record)))
    }
}

impl Dialogue for Dns {
    fn outgoing(&self) -> &[u8] {
        self.outgoing.rest()
    }

    fn sent(&mut self, count: usize) {
        self.outgoing.advance(count);
    }

    fn received(&mut self, bytes: &[u8]) -> Option<Verdict> {
        // Whoever does not know the identifier has not seen the question. What such a one says is not the server's
        // word, for or against it.
        let is_ours = word(bytes, 0) == Some(self.id) && word(bytes, 2).is_some_and(|flags| flags & 0x8000 != 0);
        if !is_ours {
            self.stray = true;
            return None;
        }
        Some(self.judge(bytes).map_or_else(down, |()| Verdict::Up))
    }

    fn ended(&mut self) -> Verdict {
        down("closed without an answer")
    }

    fn timed_out(&self, limit: Duration) -> Verdict {
        match self.stray {
            true => down(format!("no answer within {}, only what answers no question", span(limit))),
            false => no_answer(limit),
        }
    }
}

/// Two bytes of a message.
fn word(message: &[u8], at: usize) -> Option<u16> {
    message.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// Where the name ends that begins here. A pointer ends it (RFC 1035 section 4.1.4): none is followed, so that there
/// are no circles to go round in.
fn behind_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = *message.get(at)?;
        at = at.saturating_add(1);
        match length {
            0 => return Some(at),
            1..=63 => at = at.saturating_add(length.into()),
            0xc0.. => return Some(at.saturating_add(1)),
            64..0xc0 => return None,
        }
    }
}

/// A return code (RFC 1035 section 4.1.1).
fn code(code: u16) -> String {
    match code {
        1 => "FORMERR".into(),
        2 => "SERVFAIL".into(),
        3 => "NXDOMAIN".into(),
        4 => "NOTIMP".into(),
        5 => "REFUSED".into(),
        code => format!("RCODE {code}"),
    }
}

/// A type of records.
fn name_of(record: u16) -> String {
    match record {
        1 => "A".into(),
        2 => "NS".into(),
        CNAME => "CNAME".into(),
        SOA => "SOA".into(),
        12 => "PTR".into(),
        15 => "MX".into(),
        16 => "TXT".into(),
        28 => "AAAA".into(),
        33 => "SRV".into(),
        ANY => "record".into(),
        other => format!("record of type {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvs::probe::testing::down_reason;

    const A: u16 = 1;

    fn dns(record: u16) -> Dns {
        Dns::new(record, "www.example.org", 0xabcd_0000_0000_0000).expect("a name")
    }

    /// An answer with these flags, and records (type) in its answer and authority sections.
    fn answer(dns: &Dns, flags: u16, answers: &[u16], authorities: &[u16]) -> Vec<u8> {
        let mut message = dns.outgoing().to_vec();
        message[2..4].copy_from_slice(&(0x8180 | flags).to_be_bytes());
        message[7] = u8::try_from(answers.len()).expect("few");
        message[9] = u8::try_from(authorities.len()).expect("few");
        for record in answers.iter().chain(authorities) {
            message.extend_from_slice(&[0xc0, 12]);
            message.extend_from_slice(&record.to_be_bytes());
            message.extend_from_slice(&[0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        }
        message
    }

    fn verdict(record: u16, flags: u16, answers: &[u16], authorities: &[u16]) -> Verdict {
        let mut dns = dns(record);
        let answer = answer(&dns, flags, answers, authorities);
        dns.received(&answer).expect("it is an answer")
    }

    #[test]
    fn the_question_is_as_in_rfc1035() {
        let query = dns(A);
        assert_eq!(query.outgoing()[..12], [0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(query.outgoing()[12..], *b"\x03www\x07example\x03org\0\0\x01\0\x01");
        let root = Dns::new(SOA, "", 0).expect("the root");
        assert_eq!(root.outgoing()[12..], [0, 0, 6, 0, 1]);
        for name in ["a..b", ".", &"a".repeat(64), &["a".repeat(60).as_str(); 5].join(".")] {
            assert!(Dns::new(A, name, 0).is_err(), "{name:?}");
        }
    }

    #[test]
    fn an_answer_has_what_was_asked_for() {
        assert_eq!(verdict(A, 0, &[A], &[]), Verdict::Up);
        assert_eq!(verdict(A, 0, &[16, A], &[]), Verdict::Up);
        assert_eq!(verdict(A, 0, &[CNAME], &[]), Verdict::Up);
        assert_eq!(verdict(ANY, 0, &[16], &[]), Verdict::Up);
        assert_eq!(verdict(SOA, 0, &[], &[SOA]), Verdict::Up);
        assert_eq!(verdict(A, 0x200, &[], &[]), Verdict::Up, "truncated");
        assert_eq!(down_reason(verdict(A, 0, &[], &[SOA])), "no A in the answer");
        assert_eq!(down_reason(verdict(A, 0, &[16], &[A])), "no A in the answer");
        assert_eq!(down_reason(verdict(SOA, 0, &[], &[2])), "no SOA in the answer");
        assert_eq!(down_reason(verdict(99, 0, &[], &[])), "no record of type 99 in the answer");
    }

    #[test]
    fn return_codes_are_named() {
        for (flags, reason) in [(2, "SERVFAIL"), (3, "NXDOMAIN"), (5, "REFUSED"), (9, "RCODE 9")] {
            assert_eq!(down_reason(verdict(A, flags, &[A], &[])), reason);
        }
    }

    #[test]
    fn letters_of_a_name_have_no_case() {
        let mut dns = dns(A);
        let mut answer = answer(&dns, 0, &[A], &[]);
        answer[13..16].copy_from_slice(b"WwW");
        assert_eq!(dns.received(&answer), Some(Verdict::Up));
        answer[13..16].copy_from_slice(b"ftp");
        assert_eq!(dns.received(&answer).map(down_reason), Some("an answer to another question".into()));
    }

    #[test]
    fn strays_are_not_the_server_s_word() {
        let mut dns = dns(A);
        let limit = Duration::from_secs(5);
        assert_eq!(down_reason(dns.timed_out(limit)), "no answer within 5 s");
        let good = answer(&dns, 0, &[A], &[]);
        for at in [0, 1, 2] {
            let mut stray = good.clone();
            stray[at] ^= 0x80;
            assert_eq!(dns.received(&stray), None);
        }
        assert_eq!(dns.received(b""), None);
        assert_eq!(down_reason(dns.timed_out(limit)), "no answer within 5 s, only what answers no question");
        assert_eq!(dns.received(&good), Some(Verdict::Up));
    }

    #[test]
    fn cut_or_changed_answers_do_no_harm() {
        let mut dns = dns(A);
        let good = answer(&dns, 0, &[16, A], &[]);
        for length in 0..good.len() {
            assert_ne!(dns.received(&good[..length]), Some(Verdict::Up), "{length} bytes");
        }
        // A name that points to itself.
        let mut circle = good.clone();
        circle[33..35].copy_from_slice(&[0xc0, 33]);
        assert_eq!(dns.received(&circle), Some(Verdict::Up));
        circle[33] = 0x80;
        assert_eq!(dns.received(&circle).map(down_reason), Some("a malformed answer".into()));
        // More records than there are bytes.
        let mut many = answer(&dns, 0, &[], &[]);
        many[6..10].fill(0xff);
        assert_eq!(dns.received(&many).map(down_reason), Some("a malformed answer".into()));
    }
}
