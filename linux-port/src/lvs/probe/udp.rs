//! UDP_CHECK: a datagram, and what comes back. That nothing listens is told by an ICMP error, which is the
//! director's to see.

use steadfast_core::time::Duration;

use super::{Dialogue, Outgoing, down, no_answer};
use crate::lvs::plan::UdpCheck;
use crate::lvs::verdict::Verdict;

/// How long silence has to last before it is taken for consent: longer than an ICMP error is on its way.
const SILENCE: Duration = Duration::from_secs(1);

/// The dialogue with a server of which we know no more than some bytes.
#[derive(Debug)]
pub struct Udp {
    outgoing: Outgoing,
    check: UdpCheck,
}

impl Udp {
    /// A dialogue that sends this check's payload, an empty datagram if it has none.
    pub fn new(check: &UdpCheck) -> Self {
        Self { outgoing: Outgoing::new(check.payload.as_slice()), check: check.clone() }
    }
}

impl Dialogue for Udp {
    fn outgoing(&self) -> &[u8] {
        self.outgoing.rest()
    }

    fn sent(&mut self, count: usize) {
        self.outgoing.advance(count);
    }

    fn received(&mut self, bytes: &[u8]) -> Option<Verdict> {
        let Some(reply) = &self.check.reply else { return Some(Verdict::Up) };
        let (length, min, max) = (bytes.len(), usize::from(self.check.min_length), usize::from(self.check.max_length));
        if length < min {
            return Some(down(format!("reply length {length}, expected at least {min}")));
        }
        // As in keepalived, any reply will do where none is described: its default of 255 bytes is not meant for it.
        if !reply.is_empty() && length > max {
            return Some(down(format!("reply length {length}, expected at most {max}")));
        }
        if length < reply.len() {
            return Some(down(format!("reply length {length}, expected {} known bytes", reply.len())));
        }
        let differs = reply.iter().zip(bytes).position(|(&(value, mask), &byte)| (byte ^ value) & mask != 0);
        Some(differs.map_or(Verdict::Up, |at| down(format!("the reply's byte {at} is not as expected"))))
    }

    fn ended(&mut self) -> Verdict {
        down("closed without an answer")
    }

    fn timed_out(&self, limit: Duration) -> Verdict {
        match self.silence_is_up() {
            Some(_) => Verdict::Up,
            None => no_answer(limit),
        }
    }

    fn silence_is_up(&self) -> Option<Duration> {
        self.check.reply.is_none().then_some(SILENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvs::probe::testing::down_reason;

    fn check(reply: Option<&[(u8, u8)]>) -> UdpCheck {
        UdpCheck { payload: b"ping".to_vec(), reply: reply.map(<[_]>::to_vec), min_length: 0, max_length: 255 }
    }

    fn verdict(check: &UdpCheck, reply: &[u8]) -> Verdict {
        Udp::new(check).received(reply).expect("a datagram is an answer")
    }

    #[test]
    fn silence_is_enough_where_no_reply_is_asked_for() {
        let mut udp = Udp::new(&check(None));
        assert_eq!(udp.outgoing(), b"ping");
        udp.sent(4);
        assert_eq!(udp.outgoing(), b"");
        assert!(udp.silence_is_up().is_some());
        assert_eq!(udp.timed_out(Duration::from_secs(5)), Verdict::Up);
        assert_eq!(udp.received(b"anything"), Some(Verdict::Up));
    }

    #[test]
    fn a_reply_has_to_come_where_it_is_asked_for() {
        let udp = Udp::new(&check(Some(&[])));
        assert_eq!(udp.silence_is_up(), None);
        assert_eq!(down_reason(udp.timed_out(Duration::from_secs(5))), "no answer within 5 s");
        assert_eq!(verdict(&check(Some(&[])), b""), Verdict::Up);
        assert_eq!(verdict(&check(Some(&[])), &[0; 4000]), Verdict::Up);
    }

    #[test]
    fn a_described_reply_begins_so() {
        let check = UdpCheck { min_length: 2, max_length: 5, ..check(Some(&[(0xab, 0xff), (0x30, 0xf0), (0, 0)])) };
        assert_eq!(verdict(&check, b"\xab\x3fz"), Verdict::Up);
        assert_eq!(verdict(&check, b"\xab\x30zzz"), Verdict::Up);
        for (reply, reason) in [
            (&b"\xab\x40z"[..], "the reply's byte 1 is not as expected"),
            (b"\xabz", "reply length 2, expected 3 known bytes"),
            (b"\xab", "reply length 1, expected at least 2"),
            (b"\xab\x30zzzz", "reply length 6, expected at most 5"),
        ] {
            assert_eq!(down_reason(verdict(&check, reply)), reason);
        }
    }
}
