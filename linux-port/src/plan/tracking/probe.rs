//! `vrrp_probe`: what most scripts are for, without one. One line says what is looked at, the others how; their names
//! are those of `vrrp_script` and of the checkers of a `real_server`.

use std::net::{IpAddr, SocketAddr};

use steadfast_core::config::diagnostic::Short;
use steadfast_core::config::keywords::Vocabulary;
use steadfast_core::config::lexer::unescape;
use steadfast_core::config::statement::{Statement, Word};
use steadfast_core::config::{Message, Place, value};
use steadfast_core::time::Duration;
use steadfast_core::types::Family;

use crate::grammar::reader::{Reader, port};
use crate::lvs::grammar::http;
use crate::lvs::plan::{CheckKind, HttpCheck, HttpVersion, TlsCheck, UrlCheck};

use super::definitions::{comparison, count, weight};
use super::{Probe, ProbeSubject, ProcessSubject, Question, Subject};

/// Where a web page is.
const URL: &str = "an address in its URL, as http://192.0.2.1:8080/path (a name is sent by `virtualhost`)";

/// What the block says.
#[derive(Default)]
struct Draft {
    subject: Option<(Place, Asked)>,
    /// Keywords that not every probe takes, and where they stand.
    extras: Vec<(Place, &'static str)>,
    interval: Option<Duration>,
    timeout: Option<(Place, Duration)>,
    weight: Option<(i32, bool)>,
    rise: Option<u32>,
    fall: Option<u32>,
    init_fail: bool,
    quorum: Option<u32>,
    status: Vec<(u16, u16)>,
    host: Option<String>,
    source: Option<(Place, IpAddr)>,
    interface: Option<String>,
}

/// What is looked at.
enum Asked {
    Tcp(SocketAddr),
    Http(Url),
    Ping(IpAddr),
    DefaultRoute(Family),
    Process(Vec<String>),
}

/// The word after `http`.
struct Url {
    tls: bool,
    target: SocketAddr,
    path: String,
}

/// Reads the block: the probe, and the weight with its `reverse`.
pub(super) fn read(statement: &Statement<'_>, reader: &mut Reader<'_>) -> (Option<Subject>, Option<(i32, bool)>) {
    let mut draft = Draft::default();
    let there =
        reader.block(statement, Vocabulary::Probe, |keyword, entry, reader| draft.keyword(keyword, entry, reader));
    let weighed = draft.weight;
    if !there {
        return (None, weighed);
    }
    if draft.subject.is_none() && !reader.has_errors() {
        let expected = "what is probed: `tcp`, `http`, `ping`, `default_route` or `process`";
        reader.error(statement.keyword.place, Message::MissingValue { keyword: "vrrp_probe", expected });
    }
    let subject = draft.complete(reader).filter(|_| !reader.has_errors());
    (subject.map(Subject::Probe), weighed)
}

impl Draft {
    fn keyword(&mut self, keyword: &'static str, entry: &Statement<'_>, reader: &mut Reader<'_>) {
        let place = entry.keyword.place;
        match keyword {
            "tcp" => self.ask(place, tcp(entry, reader).map(Asked::Tcp), reader),
            "http" => self.ask(place, reader.required(entry, URL, url).map(Asked::Http), reader),
            "ping" => self.ask(place, reader.required(entry, "an address", host).map(Asked::Ping), reader),
            "default_route" => self.ask(place, family(entry, reader).map(Asked::DefaultRoute), reader),
            "process" => self.ask(place, process(entry, reader).map(Asked::Process), reader),
            "interval" => self.interval = reader.time(entry).or(self.interval),
            "weight" => self.weight = weight(entry, 253, "a number from -253 to 253", reader).or(self.weight),
            "rise" => self.rise = count(entry, 1, reader).or(self.rise),
            "fall" => self.fall = count(entry, 1, reader).or(self.fall),
            "init_fail" => self.init_fail = reader.flag(entry),
            _ => {
                self.extras.push((place, keyword));
                self.extra(keyword, entry, reader);
            }
        }
    }

    /// A keyword that not every probe takes.
    fn extra(&mut self, keyword: &'static str, entry: &Statement<'_>, reader: &mut Reader<'_>) {
        let place = entry.keyword.place;
        match keyword {
            "timeout" => self.timeout = reader.time(entry).map(|time| (place, time)).or(self.timeout),
            "quorum" => self.quorum = count(entry, 1, reader).or(self.quorum),
            "status_code" => self.status = http::status_code(entry, reader),
            "virtualhost" => self.host = reader.host(entry),
            "bindto" => self.source = reader.required(entry, "an address", value::address).map(|ip| (place, ip)),
            "bind_if" => {
                let expected = "an interface: 1 to 15 characters";
                self.interface = reader.required(entry, expected, value::interface).map(str::to_owned);
            }
            // The table says that we act upon it, so there is an arm for it; see the tests.
            _ => reader.warning(place, Message::NotYet { keyword }),
        }
    }

    /// This is what is looked at; nothing else is.
    fn ask(&mut self, place: Place, asked: Option<Asked>, reader: &mut Reader<'_>) {
        let Some(asked) = asked else { return };
        if let Some((_, first)) = &self.subject {
            let (first, second) = (first.keyword(), asked.keyword());
            let text =
                format_args!("a vrrp_probe looks at one thing, this one at its `{first}`: `{second}` is another");
            return reader.error(place, text);
        }
        self.subject = Some((place, asked));
    }

    fn complete(self, reader: &mut Reader<'_>) -> Option<ProbeSubject> {
        let Self { subject, extras, interval, timeout, rise, fall, init_fail, .. } = self;
        let (place, asked) = subject?;
        for (place, keyword) in extras {
            if !asked.takes(keyword) {
                let owner = asked.keyword();
                reader.warning(place, format_args!("`{keyword}` has no effect: a probe of `{owner}` does not take it"));
            }
        }
        let interval = interval.unwrap_or(Duration::from_secs(1));
        if let Some((place, _)) = timeout.filter(|(_, timeout)| *timeout > interval && asked.is_server()) {
            let text = "`timeout` is longer than `interval`: a probe that gets no answer is made less often than that";
            reader.warning(place, text);
        }
        let probe = match asked {
            Asked::DefaultRoute(family) => Probe::DefaultRoute(family),
            Asked::Process(mut words) => {
                let comparison = comparison(&mut words, None, false, place, reader);
                let (quorum, quorum_max) = (self.quorum.unwrap_or(1), u32::MAX);
                let (fork_delay, terminate_delay) = (Duration::ZERO, Duration::ZERO);
                Probe::Process(ProcessSubject { words, comparison, quorum, quorum_max, fork_delay, terminate_delay })
            }
            Asked::Tcp(target) => question(place, CheckKind::Tcp, target, self.source, self.interface, reader)?,
            Asked::Ping(ip) => {
                question(place, CheckKind::Ping, SocketAddr::new(ip, 0), self.source, self.interface, reader)?
            }
            Asked::Http(Url { tls, target, path }) => {
                let status = if self.status.is_empty() { vec![http::GOOD] } else { self.status };
                let tls = tls.then(|| TlsCheck { server_name: self.host.clone(), send_name: self.host.is_some() });
                let url = UrlCheck { path, host: self.host, status, digest: None, pattern: None };
                // Servers that still know HTTP/1.0 know 1.1 too, and not the other way round.
                let kind = CheckKind::Http(HttpCheck { tls, version: HttpVersion::Http11, urls: vec![url] });
                question(place, kind, target, self.source, self.interface, reader)?
            }
        };
        let timeout = timeout.map_or(interval, |(_, timeout)| timeout);
        Some(ProbeSubject { probe, interval, timeout, rise: rise.unwrap_or(1), fall: fall.unwrap_or(1), init_fail })
    }
}

impl Asked {
    const fn keyword(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "tcp",
            Self::Http(_) => "http",
            Self::Ping(_) => "ping",
            Self::DefaultRoute(_) => "default_route",
            Self::Process(_) => "process",
        }
    }

    const fn is_server(&self) -> bool {
        matches!(self, Self::Tcp(_) | Self::Http(_) | Self::Ping(_))
    }

    /// Whether it takes a keyword that others do not.
    fn takes(&self, keyword: &str) -> bool {
        match keyword {
            "status_code" | "virtualhost" => matches!(self, Self::Http(_)),
            "quorum" => matches!(self, Self::Process(_)),
            _ => self.is_server(),
        }
    }
}

/// The question to a server; `None` after an error.
fn question(
    place: Place,
    kind: CheckKind,
    target: SocketAddr,
    source: Option<(Place, IpAddr)>,
    interface: Option<String>,
    reader: &mut Reader<'_>,
) -> Option<Probe> {
    if let Some((place, source)) = source.filter(|(_, source)| source.is_ipv4() != target.is_ipv4()) {
        let expected = "an address of the family of what is probed";
        reader.error(place, Message::WrongValue { keyword: "bindto", value: &source.to_string(), expected });
        return None;
    }
    let local = matches!(target.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
    if local && interface.is_none() {
        let expected = "the interface behind which a link-local address is";
        reader.error(place, Message::MissingKeyword { keyword: "bind_if", expected });
        return None;
    }
    Some(Probe::Server(Question { kind, target, source: source.map(|(_, source)| source), interface }))
}

/// An address that one host has.
fn host(text: &str) -> Option<IpAddr> {
    value::address(text).filter(|ip| !ip.is_unspecified() && !ip.is_multicast())
}

/// `ADDRESS PORT`, as after `real_server`, or `ADDRESS:PORT`, `[ADDRESS]:PORT`.
fn tcp(statement: &Statement<'_>, reader: &mut Reader<'_>) -> Option<SocketAddr> {
    const EXPECTED: &str = "an address and a port";
    let keyword = statement.keyword.text;
    let mut words = statement.words;
    let Some(Word { place, text }) = words.next() else {
        reader.error(statement.keyword.place, Message::MissingValue { keyword, expected: EXPECTED });
        return None;
    };
    let target = match host(text) {
        Some(ip) => words.next().and_then(|word| port(word.text)).map(|port| SocketAddr::new(ip, port)),
        None => with_port(text),
    };
    match target {
        Some(_) => reader.no_more(statement, words),
        None => reader.error(place, Message::WrongValue { keyword, value: text, expected: EXPECTED }),
    }
    target
}

/// `ADDRESS:PORT`, `[ADDRESS]:PORT`.
fn with_port(text: &str) -> Option<SocketAddr> {
    let (address, number) = text.rsplit_once(':')?;
    Some(SocketAddr::new(without_port(address)?, port(number)?))
}

/// `ADDRESS`, which is in brackets if it is one of IPv6: otherwise nobody knows where its port begins.
fn without_port(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[') {
        Some(rest) => host(rest.strip_suffix(']')?).filter(IpAddr::is_ipv6),
        None => host(text).filter(IpAddr::is_ipv4),
    }
}

/// `http://ADDRESS[:PORT][/PATH]`
fn url(text: &str) -> Option<Url> {
    let (scheme, rest) = text.split_once("://")?;
    let (tls, usual) = match scheme {
        "http" => (false, 80),
        "https" => (true, 443),
        _ => return None,
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let target = with_port(authority).or_else(|| without_port(authority).map(|ip| SocketAddr::new(ip, usual)))?;
    http::is_path(path).then(|| Url { tls, target, path: path.to_owned() })
}

/// `default_route [ipv4|ipv6]`
fn family(statement: &Statement<'_>, reader: &mut Reader<'_>) -> Option<Family> {
    let mut words = statement.words;
    let word = words.next();
    reader.no_more(statement, words);
    match word {
        None => Some(Family::V4),
        Some(Word { text: "ipv4", .. }) => Some(Family::V4),
        Some(Word { text: "ipv6", .. }) => Some(Family::V6),
        Some(Word { place, text }) => {
            let value = Short(text);
            reader.error(place, format_args!("`default_route` wants ipv4, ipv6 or nothing, which is ipv4: `{value}`"));
            None
        }
    }
}

/// `process NAME` or `process COMMAND ARGUMENT…`, as in a `vrrp_track_process`.
fn process(statement: &Statement<'_>, reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let words: Vec<String> = statement.words.map(|word| unescape(word.text).collect()).collect();
    let there = words.first().is_some_and(|name| !name.is_empty());
    if !there {
        let expected = "the name of a process";
        reader.error(statement.keyword.place, Message::MissingValue { keyword: "process", expected });
    }
    there.then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_an_address_and_perhaps_a_port_and_a_path() {
        let read = |text: &str| url(text).map(|url| (url.tls, url.target.to_string(), url.path));
        let good = |tls, target: &str, path: &str| Some((tls, target.to_owned(), path.to_owned()));
        assert_eq!(read("http://192.0.2.1"), good(false, "192.0.2.1:80", "/"));
        assert_eq!(read("http://192.0.2.1:8080/a?b=c"), good(false, "192.0.2.1:8080", "/a?b=c"));
        assert_eq!(read("https://[2001:db8::1]/"), good(true, "[2001:db8::1]:443", "/"));
        assert_eq!(read("https://[2001:db8::1]:8443/x"), good(true, "[2001:db8::1]:8443", "/x"));
        for text in
            ["", "192.0.2.1", "ftp://192.0.2.1/", "http://www.example.org/", "http://192.0.2.1:0/", "http://0.0.0.0/"]
        {
            assert_eq!(read(text), None, "{text}");
        }
        for text in ["http://", "http://[::1", "http://::1:80/", "http://192.0.2.1:80x/", "http://192.0.2.1/a b"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
