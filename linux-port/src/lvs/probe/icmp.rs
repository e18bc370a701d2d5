//! PING_CHECK: an Echo Request and its reply (RFC 792, RFC 4443 section 4). Errors of other kinds come back
//! through the socket and are the director's.

use std::net::IpAddr;

use steadfast_core::time::Duration;
use steadfast_core::wire::checksum::Sum;

use super::{Dialogue, Outgoing, down, no_answer};
use crate::lvs::verdict::Verdict;

/// Type, code, checksum, identifier and sequence number.
const HEADER: usize = 8;

/// The dialogue with a machine.
///
/// It does over a datagram ICMP socket, whose kernel puts in an identifier of its own, and over a raw one, which gets
/// the replies to everyone: what makes a reply ours are the sequence number and 64 random bits.
#[derive(Debug)]
pub struct Echo {
    outgoing: Outgoing,
    reply_type: u8,
    /// What a reply has behind its identifier: sequence number and data.
    tail: Vec<u8>,
}

impl Echo {
    /// A request to this address. The checksum is in it for IPv4; that of ICMPv6 is the kernel's to fill in.
    pub fn new(target: IpAddr, random: u64) -> Self {
        let (request_type, reply_type) = match target {
            IpAddr::V4(_) => (8, 0),
            IpAddr::V6(_) => (128, 129),
        };
        let random = random.to_be_bytes();
        let mut request = vec![request_type, 0, 0, 0];
        // Neither identifier nor sequence number has to be unguessable, only different from attempt to attempt.
        request.extend_from_slice(&random[4..]);
        request.extend_from_slice(&random);
        let tail = request[6..].to_vec();
        if target.is_ipv4() {
            let checksum = Sum::of(&request).checksum();
            request[2..4].copy_from_slice(&checksum.to_be_bytes());
        }
        Self { outgoing: Outgoing::new(request), reply_type, tail }
    }
}

impl Dialogue for Echo {
    fn outgoing(&self) -> &[u8] {
        self.outgoing.rest()
    }

    fn sent(&mut self, count: usize) {
        self.outgoing.advance(count);
    }

    fn received(&mut self, bytes: &[u8]) -> Option<Verdict> {
        let message = without_ip_header(bytes);
        let (header, _) = message.split_at_checked(HEADER)?;
        let ours = header[..2] == [self.reply_type, 0] && message.get(6..)? == self.tail;
        ours.then_some(Verdict::Up)
    }

    fn ended(&mut self) -> Verdict {
        down("closed without an answer")
    }

    fn timed_out(&self, limit: Duration) -> Verdict {
        no_answer(limit)
    }
}

/// A raw IPv4 socket gives its header too. No ICMP message that we wait for begins with 4 in its upper half.
fn without_ip_header(packet: &[u8]) -> &[u8] {
    match packet.first() {
        Some(first) if first >> 4 == 4 => packet.get(usize::from(first & 0xf) * 4..).unwrap_or_default(),
        _ => packet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> [IpAddr; 2] {
        ["192.0.2.1", "2001:db8::1"].map(|address| address.parse().expect("an address"))
    }

    /// What a machine answers.
    fn reply(request: &[u8]) -> Vec<u8> {
        let mut reply = request.to_vec();
        reply[0] = if request[0] == 8 { 0 } else { 129 };
        reply[2..4].fill(7);
        reply
    }

    #[test]
    fn requests_are_whole() {
        let echo = Echo::new(addresses()[0], 0x0102_0304_0506_0708);
        assert!(Sum::of(echo.outgoing()).is_valid());
        assert_eq!(echo.outgoing()[..2], [8, 0]);
        assert_eq!(echo.outgoing()[4..], [5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(Echo::new(addresses()[1], 0).outgoing()[..4], [128, 0, 0, 0]);
    }

    #[test]
    fn only_the_reply_to_our_request_counts() {
        for address in addresses() {
            let mut echo = Echo::new(address, 0x0102_0304_0506_0708);
            let good = reply(echo.outgoing());
            for at in [0, 1, 6, 7, 8, 15] {
                let mut bad = good.clone();
                bad[at] ^= 1;
                assert_eq!(echo.received(&bad), None, "{address}: byte {at}");
            }
            for length in 0..good.len() {
                assert_eq!(echo.received(&good[..length]), None);
            }
            assert_eq!(echo.received(&[&good[..], b"x"].concat()), None);
            let request = echo.outgoing().to_vec();
            assert_eq!(echo.received(&request), None, "our own one, on the loopback interface");
            let mut renamed = good.clone();
            renamed[4..6].fill(0xee);
            assert_eq!(echo.received(&renamed), Some(Verdict::Up), "a datagram socket's identifier");
            assert_eq!(echo.received(&good), Some(Verdict::Up));
        }
    }

    #[test]
    fn an_ipv4_header_is_skipped() {
        let mut echo = Echo::new(addresses()[0], 9);
        let good = reply(echo.outgoing());
        for words in [5, 6, 15] {
            let mut packet = vec![0x40 | words; usize::from(words) * 4];
            assert_eq!(echo.received(&packet), None);
            packet.extend_from_slice(&good);
            assert_eq!(echo.received(&packet), Some(Verdict::Up));
        }
    }
}
