//! The checkers of a real server. All have a connection and a timing; what else a block may say depends on its kind.

mod dns;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use steadfast_core::config::diagnostic::{Short, Used};
use steadfast_core::config::keywords::Vocabulary;
use steadfast_core::config::statement::Statement;
use steadfast_core::config::{Message, Place, value};
use steadfast_core::time::Duration;

use crate::grammar::reader::Reader;
use crate::grammar::script::{After, Scripts, Unchecked};

use super::super::plan::{Check, CheckKind, HttpCheck};
use super::common::{Common, Defaults};
use super::http::{self, HttpDraft};
use super::udp::UdpDraft;
use super::{Definitions, globals};

/// How SMTP_CHECK greets unless told otherwise, as keepalived does: servers may know it.
const HELO: &str = "smtpchecker.keepalived.org";

/// A checker without what it inherits.
pub(super) struct CheckDraft {
    place: Place,
    /// Names and times that are inherited are not in it yet.
    kind: CheckKind,
    misc_timeout: Option<Duration>,
    common: Common,
    /// Where it goes: to one place, but SMTP_CHECK may have several `host`s.
    connections: Vec<Connection>,
    log_all_failures: Option<bool>,
}

/// A checker while its block is read.
struct Block {
    kind: KindDraft,
    common: Common,
    connection: Connection,
    /// SMTP_CHECK's `host` blocks.
    hosts: Vec<Connection>,
    log_all_failures: Option<bool>,
}

/// From where to where.
#[derive(Clone, Default)]
struct Connection {
    address: Option<IpAddr>,
    port: Option<u16>,
    source: Option<(Place, IpAddr)>,
    source_port: u16,
    interface: Option<String>,
    mark: u32,
}

/// What depends on the kind, as far as it was given.
enum KindDraft {
    Tcp,
    Ping,
    Http(HttpDraft),
    Smtp { helo: Option<String> },
    Dns { record: u16, name: String },
    Udp(UdpDraft),
    Misc(MiscDraft),
    File { name: Option<(Place, String)>, weight: Option<(i32, bool)> },
}

/// `MISC_CHECK`.
#[derive(Default)]
struct MiscDraft {
    script: Option<Unchecked>,
    timeout: Option<Duration>,
    dynamic: bool,
    /// `Some(None)`: given, but wrong.
    user: Option<Option<(u32, u32)>>,
}

impl CheckDraft {
    /// Reads a checker; `None` if `name` is none.
    pub(super) fn read(
        name: &'static str,
        statement: &Statement<'_>,
        definitions: &Definitions,
        scripts: &Scripts,
        reader: &mut Reader<'_>,
    ) -> Option<Self> {
        let kind = match name {
            "TCP_CHECK" => KindDraft::Tcp,
            "PING_CHECK" => KindDraft::Ping,
            "HTTP_GET" | "SSL_GET" => KindDraft::Http(HttpDraft::new(name == "SSL_GET")),
            "SMTP_CHECK" => KindDraft::Smtp { helo: None },
            "DNS_CHECK" => KindDraft::Dns { record: dns::SOA, name: String::new() },
            "UDP_CHECK" => KindDraft::Udp(UdpDraft::default()),
            "MISC_CHECK" => KindDraft::Misc(MiscDraft::default()),
            "FILE_CHECK" => KindDraft::File { name: None, weight: None },
            _ => {
                // The table says that we act upon it, so there is an arm for it; see the tests.
                reader.warning(statement.keyword.place, Message::NotYet { keyword: name });
                return None;
            }
        };
        reader.flag(statement);
        let place = statement.keyword.place;
        let mut block = Block {
            kind,
            common: Common::default(),
            connection: Connection::default(),
            hosts: Vec::new(),
            log_all_failures: None,
        };
        reader.block(statement, Vocabulary::Checker, |keyword, entry, reader| {
            if !block.own(keyword, entry, scripts, reader) && !block.general(keyword, entry, reader) {
                reader.not_here(entry, name);
            }
        });
        let Block { kind, common, connection, hosts, log_all_failures } = block;
        let misc_timeout = if let KindDraft::Misc(misc) = &kind { misc.timeout } else { None };
        let kind = kind.complete(place, definitions, scripts, reader)?;
        let connections = if hosts.is_empty() {
            vec![connection]
        } else {
            hosts.into_iter().map(|host| host.within(&connection)).collect()
        };
        Some(Self { place, kind, misc_timeout, common, connections, log_all_failures })
    }

    /// The checks of a server at `target`, with all that they inherit.
    pub(super) fn finish(
        self,
        target: SocketAddr,
        outer: &Common,
        log_all_failures: bool,
        reader: &mut Reader<'_>,
    ) -> Vec<Check> {
        let common = self.common.within(outer);
        let timing = common.timing(defaults(&self.kind));
        let mut kind = self.kind;
        match &mut kind {
            CheckKind::Http(http) => http::inherit(http, common.virtualhost.as_deref()),
            CheckKind::Misc { timeout, .. } => *timeout = self.misc_timeout.unwrap_or(timing.delay_loop),
            _ => {}
        }
        let mut checks = Vec::new();
        for connection in self.connections {
            let Some((target, source)) = connection.ends(target, &kind, self.place, reader) else { continue };
            checks.push(Check {
                kind: kind.clone(),
                timing,
                target,
                source,
                interface: connection.interface,
                mark: connection.mark,
                log_all_failures: self.log_all_failures.unwrap_or(log_all_failures),
            });
        }
        checks
    }
}

/// The defaults of a kind.
fn defaults(kind: &CheckKind) -> Defaults {
    let second = Some(Duration::from_secs(1));
    let (retry, delay_before_retry) = match kind {
        CheckKind::Http(_) => (1, Some(Duration::from_secs(3))),
        CheckKind::Dns { .. } => (3, None),
        CheckKind::Misc { .. } | CheckKind::File { .. } => (0, second),
        _ => (1, second),
    };
    Defaults { retry, delay_before_retry }
}

impl Connection {
    /// Reads a keyword if it is one of these.
    fn read(&mut self, keyword: &str, statement: &Statement<'_>, reader: &mut Reader<'_>) -> bool {
        let place = statement.keyword.place;
        match keyword {
            "connect_ip" => self.address = reader.required(statement, "an address", value::address),
            "connect_port" => self.port = reader.port(statement),
            "bindto" => {
                self.source = reader.required(statement, "an address", value::address).map(|source| (place, source));
            }
            "bind_port" => self.source_port = reader.port(statement).unwrap_or(0),
            "bind_if" => {
                let expected = "an interface: 1 to 15 characters";
                self.interface = reader.required(statement, expected, value::interface).map(str::to_owned);
            }
            "fwmark" => {
                let parse = |text| value::number(text, 0..=u32::MAX);
                self.mark = reader.required(statement, "a number from 0 to 4294967295", parse).unwrap_or(0);
            }
            _ => return false,
        }
        true
    }

    /// This, and where it says nothing what is around it.
    fn within(self, outer: &Self) -> Self {
        Self {
            address: self.address.or(outer.address),
            port: self.port.or(outer.port),
            source: self.source.or(outer.source),
            source_port: if self.source_port == 0 { outer.source_port } else { self.source_port },
            interface: self.interface.or_else(|| outer.interface.clone()),
            mark: if self.mark == 0 { outer.mark } else { self.mark },
        }
    }

    /// Where to, and where from if that is said; `None` after an error.
    fn ends(
        &self,
        server: SocketAddr,
        kind: &CheckKind,
        place: Place,
        reader: &mut Reader<'_>,
    ) -> Option<(SocketAddr, Option<SocketAddr>)> {
        let usual = match kind {
            CheckKind::Http(HttpCheck { tls: None, .. }) => Some(80),
            CheckKind::Http(HttpCheck { tls: Some(_), .. }) => Some(443),
            CheckKind::Smtp { .. } => Some(25),
            CheckKind::Dns { .. } => Some(53),
            CheckKind::Tcp | CheckKind::Udp(_) => None,
            CheckKind::Ping | CheckKind::Misc { .. } | CheckKind::File { .. } => Some(0),
        };
        let port = self.port.or(Some(server.port()).filter(|&port| port != 0)).or(usual);
        let Some(port) = port else {
            let expected = "a port, as neither the real nor the virtual server has one";
            reader.error(place, Message::MissingKeyword { keyword: "connect_port", expected });
            return None;
        };
        let target = SocketAddr::new(self.address.unwrap_or(server.ip()), port);
        let any: IpAddr = if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let source = match self.source {
            Some((place, source)) if source.is_ipv4() != target.is_ipv4() => {
                let expected = "an address of the family of what is checked";
                let value = source.to_string();
                reader.error(place, Message::WrongValue { keyword: "bindto", value: &value, expected });
                return None;
            }
            Some((_, source)) => Some(SocketAddr::new(source, self.source_port)),
            None if self.source_port != 0 => Some(SocketAddr::new(any, self.source_port)),
            None => None,
        };
        Some((target, source))
    }
}

impl Block {
    /// Reads a keyword that this kind has.
    fn own(
        &mut self,
        keyword: &'static str,
        statement: &Statement<'_>,
        scripts: &Scripts,
        reader: &mut Reader<'_>,
    ) -> bool {
        match (&mut self.kind, keyword) {
            (KindDraft::Http(http), _) => return http.read(keyword, statement, reader),
            (KindDraft::Udp(udp), _) => return udp.read(keyword, statement, reader),
            (KindDraft::Smtp { helo }, "helo_name") => *helo = reader.host(statement),
            (KindDraft::Smtp { .. }, "host") => {
                reader.flag(statement);
                let mut host = Connection::default();
                reader.block(statement, Vocabulary::Checker, |keyword, entry, reader| {
                    let taken = host.read(keyword, entry, reader) || self.common.read(keyword, entry, reader);
                    if !taken {
                        reader.not_here(entry, "a host");
                    }
                });
                self.hosts.push(host);
            }
            (KindDraft::Dns { record, .. }, "type") => {
                let used = Used::Word("SOA");
                *record = reader.defaulted(statement, dns::EXPECTED, used, dns::record).unwrap_or(dns::SOA);
            }
            (KindDraft::Dns { name, .. }, "name") => {
                *name = reader.required(statement, "a domain name", dns::name).unwrap_or_default();
            }
            (KindDraft::Misc(misc), "misc_path") => misc.script = scripts.read(statement, After::Arguments, reader),
            (KindDraft::Misc(misc), "misc_timeout") => misc.timeout = reader.time(statement).or(misc.timeout),
            (KindDraft::Misc(misc), "misc_dynamic") => misc.dynamic = reader.flag(statement),
            (KindDraft::Misc(misc), "user") => misc.user = Some(scripts.user(statement, statement.words, reader)),
            (KindDraft::File { name, .. }, "track_file") => {
                let place = statement.keyword.place;
                *name = reader.text(statement, "the name of a track_file").map(|name| (place, name));
            }
            (KindDraft::File { weight, .. }, "weight") => *weight = globals::signed(statement, reader).or(*weight),
            _ => return false,
        }
        true
    }

    /// Reads a keyword that checkers have in common.
    fn general(&mut self, keyword: &'static str, statement: &Statement<'_>, reader: &mut Reader<'_>) -> bool {
        if keyword == "log_all_failures" {
            self.log_all_failures = reader.switch(statement).or(self.log_all_failures);
            return true;
        }
        let is_local = matches!(self.kind, KindDraft::Misc(_) | KindDraft::File { .. });
        // A name is for HTTP only, and read there.
        keyword != "virtualhost"
            && (!is_local && self.connection.read(keyword, statement, reader)
                || (!is_local || keyword != "connect_timeout") && self.common.read(keyword, statement, reader))
    }
}

impl KindDraft {
    /// What is to be asked, without what is inherited; `None` after an error.
    fn complete(
        self,
        place: Place,
        definitions: &Definitions,
        scripts: &Scripts,
        reader: &mut Reader<'_>,
    ) -> Option<CheckKind> {
        let missing = |reader: &mut Reader<'_>, keyword, expected| {
            reader.error(place, Message::MissingKeyword { keyword, expected });
        };
        match self {
            Self::Tcp => Some(CheckKind::Tcp),
            Self::Ping => Some(CheckKind::Ping),
            Self::Http(http) => http.complete(place, reader).map(CheckKind::Http),
            Self::Smtp { helo } => Some(CheckKind::Smtp { helo: helo.unwrap_or_else(|| HELO.to_owned()) }),
            Self::Dns { record, name } => Some(CheckKind::Dns { record, name }),
            Self::Udp(udp) => Some(CheckKind::Udp(udp.complete(place, reader))),
            Self::Misc(MiscDraft { script, dynamic, user, .. }) => {
                let Some(mut unchecked) = script else {
                    missing(reader, "misc_path", "a program");
                    return None;
                };
                if let Some(user) = user {
                    unchecked.script.user = Some(user?);
                }
                let script = scripts.settle(unchecked, reader)?;
                // The time is inherited.
                Some(CheckKind::Misc { script, timeout: Duration::ZERO, dynamic })
            }
            Self::File { name, weight } => {
                let Some((place, name)) = name else {
                    missing(reader, "track_file", "the name of a track_file");
                    return None;
                };
                let Some(file) = definitions.files.get(&name) else {
                    reader.error(place, format_args!("there is no track_file `{}`", Short(&name)));
                    return None;
                };
                let (weight, reverse) = weight.unwrap_or((file.weight, false));
                Some(CheckKind::File { path: file.path.clone(), weight, reverse })
            }
        }
    }
}
