//! `HTTP_GET` and `SSL_GET`: the urls and what their answers have to be.

mod pattern;

use steadfast_core::config::diagnostic::Used;
use steadfast_core::config::keywords::Vocabulary;
use steadfast_core::config::statement::Statement;
use steadfast_core::config::{Message, Place};

use crate::grammar::reader::Reader;

use super::super::plan::{HttpCheck, HttpVersion, TlsCheck, UrlCheck};
use pattern::PatternDraft;

/// The status codes of an answer that is as it should be, unless told otherwise.
pub(crate) const GOOD: (u16, u16) = (200, 299);

/// The longest path, in bytes.
const MOST_PATH: usize = 1024;

/// Whether it can be asked for: from its `/`, without what would end the request's first line.
pub(crate) fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.len() <= MOST_PATH && text.chars().all(|c| !c.is_control() && c != ' ')
}

/// What the block says.
pub(super) struct HttpDraft {
    is_tls: bool,
    version: HttpVersion,
    urls: Vec<UrlCheck>,
    /// `virtualhost` of the checker.
    host: Option<String>,
    enable_sni: bool,
    sni_name: Option<String>,
}

impl HttpDraft {
    pub(super) fn new(is_tls: bool) -> Self {
        let version = HttpVersion::default();
        Self { is_tls, version, urls: Vec::new(), host: None, enable_sni: false, sni_name: None }
    }

    /// Reads a keyword if it is one of these.
    pub(super) fn read(&mut self, keyword: &str, statement: &Statement<'_>, reader: &mut Reader<'_>) -> bool {
        match keyword {
            "url" => self.url(statement, reader),
            "http_protocol" => {
                let parse = |text| match text {
                    "1.0" => Some(HttpVersion::Http10),
                    "1.0C" | "1.0c" => Some(HttpVersion::Http10Close),
                    "1.1" => Some(HttpVersion::Http11),
                    _ => None,
                };
                let used = Used::Nothing;
                self.version = reader.defaulted(statement, "1.0, 1.0C or 1.1", used, parse).unwrap_or(self.version);
            }
            "virtualhost" => self.host = reader.host(statement),
            "enable_sni" if self.is_tls => self.enable_sni = reader.switch(statement).unwrap_or(self.enable_sni),
            "sni_name" if self.is_tls => self.sni_name = reader.host(statement),
            _ => return false,
        }
        true
    }

    fn url(&mut self, statement: &Statement<'_>, reader: &mut Reader<'_>) {
        reader.flag(statement);
        let mut path = None;
        let mut url = UrlCheck { path: String::new(), host: None, status: Vec::new(), digest: None, pattern: None };
        let mut good = [false; CODES];
        let mut pattern = PatternDraft::default();
        let has_block = reader.block(statement, Vocabulary::Url, |keyword, entry, reader| match keyword {
            "path" => {
                let parse = |text: &str| is_path(text).then(|| text.to_owned());
                path = reader.required(entry, "a path from its /, without blanks", parse).or(path.take());
                path.get_or_insert_default();
            }
            "digest" => url.digest = reader.required(entry, "an MD5 digest: 32 hexadecimal digits", digest),
            "status_code" => statuses(entry, &mut good, reader),
            "virtualhost" => url.host = reader.host(entry),
            _ => pattern.read(keyword, entry, reader),
        });
        if path.is_none() && has_block {
            let message = Message::MissingKeyword { keyword: "path", expected: "a path from its /" };
            reader.error(statement.keyword.place, message);
        }
        url.status = ranges(&good);
        if url.status.is_empty() {
            url.status.push(GOOD);
        }
        url.path = path.unwrap_or_default();
        url.pattern = pattern.complete(reader);
        self.urls.push(url);
    }

    /// What is to be asked, without what is inherited; `None` after an error.
    pub(super) fn complete(self, place: Place, reader: &mut Reader<'_>) -> Option<HttpCheck> {
        let Self { is_tls, version, mut urls, host, enable_sni, sni_name } = self;
        if urls.is_empty() {
            reader.error(place, Message::MissingKeyword { keyword: "url", expected: "a block with a path" });
            return None;
        }
        for url in &mut urls {
            url.host = url.host.take().or_else(|| host.clone());
        }
        let send_name = enable_sni || sni_name.is_some();
        let tls = is_tls.then_some(TlsCheck { server_name: sni_name, send_name });
        Some(HttpCheck { tls, version, urls })
    }
}

/// Fills in the name that a check inherits.
pub(super) fn inherit(http: &mut HttpCheck, virtualhost: Option<&str>) {
    for url in &mut http.urls {
        url.host = url.host.take().or_else(|| virtualhost.map(str::to_owned));
    }
    if let Some(tls) = &mut http.tls {
        let first = http.urls.iter().find_map(|url| url.host.as_deref());
        // A port belongs to the `Host` header, not to a certificate.
        let name = first
            .map(|host| host.rsplit_once(':').filter(|(name, _)| !name.contains(':')).map_or(host, |(name, _)| name));
        tls.server_name = tls.server_name.take().or_else(|| name.map(str::to_owned));
    }
}

fn digest(text: &str) -> Option<[u8; 16]> {
    let mut digest = [0; 16];
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        let [high, low] = *pair else { return None };
        let value = char::from(high).to_digit(16)? << 4 | char::from(low).to_digit(16)?;
        *byte = u8::try_from(value).ok()?;
    }
    Some(digest)
}

/// How many status codes there may be, 0 included.
const CODES: usize = 600;

/// Which status codes are good.
type Statuses = [bool; CODES];

/// `status_code 200 300-399 …`; a wrong one has no effect, as in keepalived.
fn statuses(statement: &Statement<'_>, good: &mut Statuses, reader: &mut Reader<'_>) {
    const EXPECTED: &str = "status codes from 100 to 599, or ranges of them";
    let keyword = "status_code";
    let code = |text: &str| text.parse::<u16>().ok().filter(|code| (100..=599).contains(code));
    if statement.words.clone().next().is_none() {
        reader.warning(statement.keyword.place, Message::MissingValue { keyword, expected: EXPECTED });
    }
    for word in statement.words {
        let (first, last) = word.text.split_once('-').unwrap_or((word.text, word.text));
        match (code(first), code(last)) {
            (Some(first), Some(last)) if first <= last => {
                if let Some(range) = good.get_mut(usize::from(first)..=usize::from(last)) {
                    range.fill(true);
                }
            }
            _ => {
                let message =
                    Message::Substituted { keyword, value: word.text, expected: EXPECTED, used: Used::Nothing };
                reader.warning(word.place, message);
            }
        }
    }
}

/// The codes that one `status_code` names.
pub(crate) fn status_code(statement: &Statement<'_>, reader: &mut Reader<'_>) -> Vec<(u16, u16)> {
    let mut good = [false; CODES];
    statuses(statement, &mut good, reader);
    ranges(&good)
}

/// The ranges of codes that follow each other.
fn ranges(good: &Statuses) -> Vec<(u16, u16)> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for (code, _) in (0..).zip(good).filter(|(_, good)| **good) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == code => *last = code,
            _ => ranges.push((code, code)),
        }
    }
    ranges
}
