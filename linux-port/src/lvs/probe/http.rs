//! HTTP_GET: one request, one response. The head of the response is collected, within a bound, and read by
//! httparse; how the body is framed is [`body`]'s, what it has to be [`content`]'s. Redirects are not followed:
//! they are a status like others.
//!
//! As keepalived does it: the body is read to its end, but that it ended early is not held against the server.
//! Scripts behind inetd announce lengths that are wrong, and have been in use for years.

mod body;
mod content;

use std::net::SocketAddr;

use steadfast_core::time::Duration;

use self::body::{Framing, Step};
use self::content::Content;
use super::{Dialogue, Outgoing, down, no_answer, span};
use crate::lvs::plan::{HttpVersion, UrlCheck};
use crate::lvs::verdict::Verdict;

/// The longest head of a response, interim ones (1xx) before it included.
pub const HEAD_LIMIT: usize = 32 * 1024;
/// The most header fields of a response.
pub const FIELD_LIMIT: usize = 128;

/// How a response begins, whichever version of those that have a head.
const BEGIN: &[u8] = b"HTTP/1.";

/// The dialogue with a web server about one url.
#[derive(Debug)]
pub struct Http {
    outgoing: Outgoing,
    /// Those that are as they should be, ends included.
    expected: Vec<(u16, u16)>,
    content: Content,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Head {
        /// The head so far.
        head: Vec<u8>,
        /// The bytes of interim heads before it.
        before: usize,
        /// Whether the line so far is empty.
        blank: bool,
    },
    Body(Framing),
}

impl Stage {
    fn head(before: usize) -> Self {
        Self::Head { head: Vec::new(), before, blank: true }
    }
}

impl Http {
    /// A request for `url` to `target`.
    pub fn new(version: HttpVersion, url: &UrlCheck, target: SocketAddr) -> Self {
        Self {
            outgoing: Outgoing::new(request(version, url, target)),
            expected: url.status.clone(),
            content: Content::new(url.digest, url.pattern.as_ref()),
            stage: Stage::head(0),
        }
    }

    /// What follows from a whole head: the next stage, or the end.
    fn conclude_head(&mut self, head: &[u8], before: usize) -> Result<Stage, Verdict> {
        let mut fields = [httparse::EMPTY_HEADER; FIELD_LIMIT];
        let mut response = httparse::Response::new(&mut fields);
        // What a browser puts up with is good enough.
        let parsed = httparse::ParserConfig::default()
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .allow_multiple_spaces_in_response_status_delimiters(true)
            .ignore_invalid_headers_in_responses(true)
            .parse_response(&mut response, head);
        let status = match (parsed, response.code) {
            (Ok(httparse::Status::Complete(_)), Some(status)) => status,
            (Err(httparse::Error::TooManyHeaders), _) => {
                return Err(down(format!("more than {FIELD_LIMIT} header fields")));
            }
            _ => return Err(down("a head that is not HTTP's")),
        };
        // 101 cannot be the answer to what was asked, and nothing would follow it.
        if (100..200).contains(&status) && status != 101 {
            return Ok(Stage::head(before.saturating_add(head.len())));
        }
        if !self.expected.iter().any(|&(from, to)| (from..=to).contains(&status)) {
            return Err(down(format!("status {status}, expected {}", ranges(&self.expected))));
        }
        Ok(Stage::Body(Framing::of(status, response.headers)))
    }
}

impl Dialogue for Http {
    fn outgoing(&self) -> &[u8] {
        self.outgoing.rest()
    }

    fn sent(&mut self, count: usize) {
        self.outgoing.advance(count);
    }

    fn received(&mut self, mut bytes: &[u8]) -> Option<Verdict> {
        loop {
            match &mut self.stage {
                Stage::Head { head, before, blank } => {
                    let (&byte, rest) = bytes.split_first()?;
                    bytes = rest;
                    if BEGIN.get(head.len()).is_some_and(|&expected| expected != byte) {
                        return Some(down("not an HTTP answer"));
                    }
                    head.push(byte);
                    let complete = byte == b'\n' && *blank;
                    *blank = byte == b'\n' || byte == b'\r' && *blank;
                    if complete {
                        let (head, before) = (std::mem::take(head), *before);
                        match self.conclude_head(&head, before) {
                            Ok(stage) => self.stage = stage,
                            Err(verdict) => return Some(verdict),
                        }
                    } else if before.saturating_add(head.len()) >= HEAD_LIMIT {
                        return Some(down(format!("a head of more than {} KiB", HEAD_LIMIT / 1024)));
                    }
                }
                Stage::Body(framing) => match framing.step(&mut bytes) {
                    Step::Content(content) => {
                        if let Err(verdict) = self.content.add(content) {
                            return Some(verdict);
                        }
                    }
                    Step::More => return None,
                    Step::End => return Some(self.content.finish()),
                    Step::Bad(reason) => return Some(down(reason)),
                },
            }
        }
    }

    fn ended(&mut self) -> Verdict {
        match &self.stage {
            Stage::Head { head, before: 0, .. } if head.is_empty() => down("closed without an answer"),
            Stage::Head { .. } => down("closed before the end of the head"),
            Stage::Body(_) => self.content.finish(),
        }
    }

    fn timed_out(&self, limit: Duration) -> Verdict {
        match &self.stage {
            Stage::Head { head, before: 0, .. } if head.is_empty() => no_answer(limit),
            Stage::Head { .. } => down(format!("no whole head within {}", span(limit))),
            Stage::Body(_) => down(format!("no end of the body within {}", span(limit))),
        }
    }
}

/// The request. The name is keepalived's: people keep its lines out of their servers' logs by it.
fn request(version: HttpVersion, url: &UrlCheck, target: SocketAddr) -> String {
    let (minor, close) = match version {
        HttpVersion::Http10 => (0, ""),
        HttpVersion::Http10Close => (0, "Connection: close\r\n"),
        HttpVersion::Http11 => (1, "Connection: close\r\n"),
    };
    // A name is sent as it was configured, an address always with its port.
    let host = match &url.host {
        Some(name) => name.clone(),
        None => without_zone(target).to_string(),
    };
    let path = &url.path;
    format!("GET {path} HTTP/1.{minor}\r\nUser-Agent: KeepAliveClient\r\n{close}Host: {host}\r\n\r\n")
}

/// The address without what only this machine knows of it.
fn without_zone(target: SocketAddr) -> SocketAddr {
    SocketAddr::new(target.ip(), target.port())
}

/// `200-299, 301`.
fn ranges(ranges: &[(u16, u16)]) -> String {
    let texts: Vec<String> =
        ranges.iter().map(|&(from, to)| if from == to { from.to_string() } else { format!("{from}-{to}") }).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests;
