//! A TLS session with another dialogue inside.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ClientConnection, Error};
use steadfast_core::time::Duration;

use crate::lvs::probe::{Dialogue, Outgoing, down, span};
use crate::lvs::verdict::Verdict;
use crate::timestamp::Timestamp;

/// The most that waits to be sent. A server that does not read, but lets us answer, gets no further.
const OUTGOING_LIMIT: usize = 64 * 1024;

/// The longest reason: it may hold names out of a certificate.
const REASON_LIMIT: usize = 200;

/// The dialogue and the session around it.
///
/// That a server closes without `close_notify` is not held against it; many do, and what the dialogue inside has to
/// hear is in its own protocol.
pub(super) struct Tls {
    session: ClientConnection,
    inner: Box<dyn Dialogue>,
    outgoing: Outgoing,
}

impl Tls {
    /// A session in which nothing has been heard yet.
    ///
    /// # Errors
    /// rustls cannot make one.
    pub(super) fn new(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        inner: Box<dyn Dialogue>,
    ) -> Result<Self, String> {
        let session = ClientConnection::new(config, name).map_err(|error| format!("SSL_GET: {error}"))?;
        let mut tls = Self { session, inner, outgoing: Outgoing::default() };
        tls.flush();
        Ok(tls)
    }

    /// Takes what is to be sent from the dialogue through the session.
    fn flush(&mut self) {
        let count = self.session.writer().write(self.inner.outgoing()).unwrap_or(0);
        self.inner.sent(count);
        while self.session.wants_write() {
            // A vector takes everything.
            if self.session.write_tls(self.outgoing.buffer()).is_err() {
                break;
            }
        }
    }

    /// Gives the dialogue what has come for it.
    fn read(&mut self) -> Option<Verdict> {
        let mut buffer = [0; 4096];
        loop {
            match self.session.reader().read(&mut buffer) {
                Ok(0) => return Some(self.inner.ended()),
                Ok(count) => {
                    if let Some(verdict) = self.inner.received(buffer.get(..count)?) {
                        return Some(verdict);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => return Some(down(format!("TLS: {error}"))),
            }
        }
    }

    /// Takes in all of `bytes`.
    fn advance(&mut self, mut bytes: &[u8]) -> Option<Verdict> {
        while !bytes.is_empty() {
            if let Err(error) = self.session.read_tls(&mut bytes) {
                return Some(down(format!("TLS: {error}")));
            }
            let processed = self.session.process_new_packets();
            // What came before an error comes first, as it would have come alone.
            let verdict = self.read().or_else(|| processed.err().map(|error| down(reason(&error))));
            self.flush();
            if verdict.is_some() {
                return verdict;
            }
            if self.outgoing.rest().len() > OUTGOING_LIMIT {
                return Some(down("it does not read what we answer"));
            }
        }
        None
    }
}

impl Dialogue for Tls {
    fn outgoing(&self) -> &[u8] {
        self.outgoing.rest()
    }

    fn sent(&mut self, count: usize) {
        self.outgoing.advance(count);
    }

    fn received(&mut self, bytes: &[u8]) -> Option<Verdict> {
        let verdict = self.advance(bytes)?;
        self.session.send_close_notify();
        self.flush();
        Some(verdict)
    }

    fn ended(&mut self) -> Verdict {
        match self.session.is_handshaking() {
            true => down("closed in the TLS handshake"),
            false => self.inner.ended(),
        }
    }

    fn timed_out(&self, limit: Duration) -> Verdict {
        match self.session.is_handshaking() {
            true => down(format!("no TLS handshake within {}", span(limit))),
            false => self.inner.timed_out(limit),
        }
    }

    fn silence_is_up(&self) -> Option<Duration> {
        self.inner.silence_is_up()
    }
}

/// What is wrong, in a few words.
fn reason(error: &Error) -> String {
    let text = match error {
        Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
            format!("certificate expired at {}", calendar(*not_after))
        }
        Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => {
            format!("certificate not valid before {}", calendar(*not_before))
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => "certificate of an unknown issuer".into(),
        Error::InvalidCertificate(CertificateError::BadSignature) => "certificate with a wrong signature".into(),
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }) => {
            let presented = if presented.is_empty() { "no name".into() } else { presented.join(", ") };
            format!("certificate is not for {} but for {presented}", expected.to_str())
        }
        Error::InvalidCertificate(other) => format!("certificate refused: {other}"),
        Error::InvalidMessage(_) => "not a TLS answer".into(),
        Error::AlertReceived(alert) => format!("TLS alert {alert:?}"),
        other => format!("TLS: {other}"),
    };
    // It came from the server.
    let printable = text.chars().map(|character| if character.is_control() { '?' } else { character });
    printable.take(REASON_LIMIT).collect()
}

/// A point in time to the second.
fn calendar(time: UnixTime) -> String {
    let time = UNIX_EPOCH.checked_add(std::time::Duration::from_secs(time.as_secs())).unwrap_or(UNIX_EPOCH);
    Timestamp::from(time).to_string().replace(".000000", "")
}

#[cfg(test)]
mod tests;
