//! What is said to a server, and what its answer means: one [`Dialogue`] for each attempt of a check, without
//! I/O and without a clock. Sockets, deadlines, connecting and errors of the system are [`super::attempt`]'s; when to
//! try and what follows from the verdict is the schedule's. A dialogue takes whatever a server may send, in
//! pieces of any size, in memory that does not grow with it: the verdict does not depend on how it was cut.

pub mod dns;
pub mod http;
pub mod icmp;
pub mod smtp;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod udp;

use std::borrow::Cow;
use std::net::SocketAddr;

use steadfast_core::time::Duration;

pub use self::tls::TlsContext;
use super::plan::CheckKind;
use super::verdict::Verdict;

/// One attempt, from the moment when the connection is there, or the socket is made.
///
/// What [`Self::outgoing`] holds is to be sent as far as the socket takes it, at the begin and again after
/// whatever came in; on [`Transport::Datagram`] and [`Transport::Echo`] it is one datagram. When a verdict has been
/// given, the rest of it (`close_notify`) may be sent if the socket takes it at once; then the socket is closed.
pub trait Dialogue: Send {
    /// Bytes to be sent now, or the datagram; empty: nothing.
    fn outgoing(&self) -> &[u8];

    /// So many of them have gone.
    fn sent(&mut self, count: usize);

    /// Bytes, or one whole datagram, have come. A verdict ends the attempt.
    fn received(&mut self, bytes: &[u8]) -> Option<Verdict>;

    /// The other side has closed its direction, or reset the connection; nothing more will come.
    fn ended(&mut self) -> Verdict;

    /// The deadline has come, `limit` after the begin.
    fn timed_out(&self, limit: Duration) -> Verdict;

    /// After so long without an answer and without an ICMP error, and no later than at the deadline, the server is
    /// up: there is nothing to wait for. `None`: an answer has to come.
    fn silence_is_up(&self) -> Option<Duration> {
        None
    }
}

/// What carries an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A TCP connection; that it can be made is all, there is no dialogue.
    Connect,
    /// A TCP connection and a dialogue over it.
    Stream,
    /// A connected UDP socket; an ICMP error on it is the end.
    Datagram,
    /// An ICMP or ICMPv6 socket, of the datagram kind or raw.
    Echo,
    /// A program; no dialogue.
    Process,
    /// A file; no dialogue.
    File,
}

/// What carries the attempts of such a check.
pub fn transport(kind: &CheckKind) -> Transport {
    match kind {
        CheckKind::Tcp => Transport::Connect,
        CheckKind::Http(_) | CheckKind::Smtp { .. } => Transport::Stream,
        CheckKind::Dns { .. } | CheckKind::Udp(_) => Transport::Datagram,
        CheckKind::Ping => Transport::Echo,
        CheckKind::Misc { .. } => Transport::Process,
        CheckKind::File { .. } => Transport::File,
    }
}

/// How many attempts one check takes, each on its own connection: HTTP has one for each url. All of them have to
/// end [`Verdict::Up`] before the check is up.
pub fn rounds(kind: &CheckKind) -> usize {
    match kind {
        CheckKind::Http(http) => http.urls.len(),
        _ => 1,
    }
}

/// The dialogue of attempt number `round` (from 0) with the server at `target`. `random` makes identifiers that
/// nobody can guess. `None`: there is none, see [`Transport`].
///
/// # Errors
/// The check cannot be carried out, in words for the log: a name that is none.
pub fn dialogue(
    kind: &CheckKind,
    target: SocketAddr,
    round: usize,
    tls: &TlsContext,
    random: u64,
) -> Result<Option<Box<dyn Dialogue>>, String> {
    let dialogue: Box<dyn Dialogue> = match kind {
        CheckKind::Http(check) => {
            let url = check.urls.get(round).ok_or("there is no such url")?;
            let http = Box::new(http::Http::new(check.version, url, target));
            match &check.tls {
                None => http,
                Some(check) => tls.wrap(check, target.ip(), http)?,
            }
        }
        CheckKind::Smtp { helo } => Box::new(smtp::Smtp::new(helo)),
        CheckKind::Dns { record, name } => Box::new(dns::Dns::new(*record, name, random)?),
        CheckKind::Udp(check) => Box::new(udp::Udp::new(check)),
        CheckKind::Ping => Box::new(icmp::Echo::new(target.ip(), random)),
        CheckKind::Tcp | CheckKind::Misc { .. } | CheckKind::File { .. } => return Ok(None),
    };
    Ok(Some(dialogue))
}

/// The verdict against a server.
fn down(reason: impl Into<Cow<'static, str>>) -> Verdict {
    Verdict::Down(reason.into())
}

/// What a dialogue has to say where it has heard nothing at all.
fn no_answer(limit: Duration) -> Verdict {
    down(format!("no answer within {}", span(limit)))
}

/// `5 s`, `1.5 s`, `250 ms`.
pub(super) fn span(span: Duration) -> String {
    match span.as_millis() {
        millis if millis % 1000 == 0 => format!("{} s", millis / 1000),
        millis if millis < 1000 => format!("{millis} ms"),
        millis => format!("{}.{:03}", millis / 1000, millis % 1000).trim_end_matches('0').to_owned() + " s",
    }
}

/// Bytes on their way out.
#[derive(Debug, Default)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), sent: 0 }
    }

    /// Where more can be put behind what has not gone yet.
    #[cfg(feature = "tls")]
    fn buffer(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.sent);
        self.sent = 0;
        &mut self.bytes
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    fn advance(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count).min(self.bytes.len());
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        for (millis, text) in [(5000, "5 s"), (1500, "1.5 s"), (250, "250 ms"), (1001, "1.001 s"), (0, "0 s")] {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn what_has_gone_is_not_sent_again() {
        let mut outgoing = Outgoing::new(*b"abc");
        outgoing.advance(2);
        assert_eq!(outgoing.rest(), b"c");
        outgoing.advance(9);
        assert_eq!(outgoing.rest(), b"");
    }
}
