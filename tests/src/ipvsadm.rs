//! `ipvsadm`'s command lines as rows and requests of Steadfast's, and what `ipvsadm` was recorded to send for them
//! (`tests/vectors/ipvs`). The words are read strictly: one that is not known panics.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use steadfast_core::types::Family;
use steadfast_linux::ipvs::attributes::encode::Request;
use steadfast_linux::ipvs::row::{
    Destination, DestinationKey, Forwarding, Persistence, Protocol, SchedulerFlags, Service, ServiceKey, Tunnel,
    TunnelChecksum,
};
use steadfast_linux::ipvs::settings::{SyncDaemon, SyncState, Timeouts};
use steadfast_linux::ipvs::table::{Row, Table, Write};

/// A command line and the requests that were recorded for it, from the header of generic netlink on.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The words after `ipvsadm`.
    pub line: &'static str,
    /// The requests, without those for facts about IPVS itself.
    pub requests: Vec<Vec<u8>>,
}

/// The recorded command lines, in their order.
pub fn recorded() -> Vec<Recorded> {
    let mut all: Vec<Recorded> = Vec::new();
    for line in include_str!("../vectors/ipvs/ipvsadm.txt").lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("    ") {
            Some(hex) => all.last_mut().expect("a command line comes first").requests.push(bytes(hex)),
            None => all.push(Recorded { line, requests: Vec::new() }),
        }
    }
    all
}

/// Bytes that are written as hex.
pub fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().map(|digit| digit.to_digit(16).expect("hex digits")).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("a byte")).collect()
}

/// What Steadfast sends for a command line, on a kernel that has these services.
pub fn requests(line: &str, services: &BTreeSet<ServiceKey>) -> Vec<Vec<u8>> {
    let as_bytes = |request: Request<'_>| {
        let mut bytes = Vec::new();
        request.append(&mut bytes);
        bytes
    };
    match parse(line) {
        Command::Write(write) => vec![as_bytes(Request::Write(&write))],
        Command::Zero(service) => vec![as_bytes(Request::Zero(service.as_ref()))],
        Command::Flush => vec![as_bytes(Request::Flush)],
        Command::SetTimeouts(timeouts) => vec![as_bytes(Request::SetTimeouts(&timeouts))],
        Command::StartDaemon(daemon) => vec![as_bytes(Request::StartDaemon(&daemon))],
        Command::StopDaemon(state) => vec![as_bytes(Request::StopDaemon(state))],
        Command::ListTimeouts => vec![as_bytes(Request::Timeouts)],
        Command::ListDaemons => vec![as_bytes(Request::Daemons)],
        Command::List => {
            let all = std::iter::once(Request::Services);
            all.chain(services.iter().map(Request::Destinations)).map(as_bytes).collect()
        }
    }
}

/// What a command line wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `-A`, `-E`, `-D`, `-a`, `-e`, `-d`.
    Write(Write),
    /// `-Z`.
    Zero(Option<ServiceKey>),
    /// `-C`.
    Flush,
    /// `--set`.
    SetTimeouts(Timeouts),
    /// `--start-daemon`.
    StartDaemon(SyncDaemon),
    /// `--stop-daemon`.
    StopDaemon(SyncState),
    /// `-L -n`.
    List,
    /// `-L -n --timeout`.
    ListTimeouts,
    /// `-L -n --daemon`.
    ListDaemons,
}

/// The table that `ipvsadm -Sn` has saved.
pub fn table(saved: &str) -> Table {
    let mut table = Table::new();
    for line in saved.lines().filter(|line| !line.trim().is_empty()) {
        match parse(line) {
            Command::Write(Write::AddService(service)) => {
                table.insert(service.key, Row::new(service, []));
            }
            Command::Write(Write::AddDestination(service, destination)) => {
                let row = table.get_mut(&service).expect("a service comes before its destinations");
                row.destinations.insert(destination);
            }
            other => panic!("{other:?} is no line of a saved table"),
        }
    }
    table
}

/// Reads a command line.
pub fn parse(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let verb = words.next().expect("a command");
    let mut options = Options::default();
    if verb == "--set" {
        let [tcp, tcp_fin, udp] = [(); 3].map(|()| number(words.next()));
        return Command::SetTimeouts(Timeouts { tcp, tcp_fin, udp });
    }
    let state = match verb {
        "--start-daemon" | "--stop-daemon" => match words.next() {
            Some("master") => SyncState::Master,
            Some("backup") => SyncState::Backup,
            other => panic!("{other:?} is no state"),
        },
        _ => SyncState::Master,
    };
    while let Some(word) = words.next() {
        options.read(word, &mut words);
    }
    let options = options;
    match verb {
        "-A" => Command::Write(Write::AddService(options.service())),
        "-E" => Command::Write(Write::SetService(options.service())),
        "-D" => Command::Write(Write::DeleteService(options.key())),
        "-a" => Command::Write(Write::AddDestination(options.key(), options.destination())),
        "-e" => Command::Write(Write::SetDestination(options.key(), options.destination())),
        "-d" => Command::Write(Write::DeleteDestination(options.key(), options.destination().key)),
        "-Z" => Command::Zero(options.mark.or(options.address.map(|_| 0)).map(|_| options.key())),
        "-C" => Command::Flush,
        "-L" => match options.listing {
            "--timeout" => Command::ListTimeouts,
            "--daemon" => Command::ListDaemons,
            _ => Command::List,
        },
        "--stop-daemon" => Command::StopDaemon(state),
        "--start-daemon" => Command::StartDaemon(SyncDaemon { state, ..options.daemon }),
        other => panic!("{other} is no command"),
    }
}

/// The words after the first.
struct Options {
    protocol: Protocol,
    address: Option<SocketAddr>,
    mark: Option<u32>,
    v6: bool,
    scheduler: Arc<str>,
    flags: SchedulerFlags,
    timeout: Option<u32>,
    granularity: Option<u8>,
    engine: Option<Arc<str>>,
    server: Option<SocketAddr>,
    forwarding: Forwarding,
    tunnel: String,
    tunnel_port: u16,
    checksum: TunnelChecksum,
    weight: u32,
    upper: u32,
    lower: u32,
    daemon: SyncDaemon,
    listing: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        let (state, interface) = (SyncState::Master, String::new());
        Self {
            protocol: Protocol::Tcp,
            address: None,
            mark: None,
            v6: false,
            scheduler: "wlc".into(),
            flags: SchedulerFlags::default(),
            timeout: None,
            granularity: None,
            engine: None,
            server: None,
            forwarding: Forwarding::DirectRoute,
            tunnel: "ipip".into(),
            tunnel_port: 0,
            checksum: TunnelChecksum::None,
            weight: 1,
            upper: 0,
            lower: 0,
            daemon: SyncDaemon { state, interface, id: 0, max_length: 0, port: 0, ttl: 0, group: None },
            listing: "",
        }
    }
}

impl Options {
    fn read<'a>(&mut self, word: &str, words: &mut impl Iterator<Item = &'a str>) {
        match word {
            "-n" => {}
            "-t" => self.address = socket(words.next()),
            "-u" => (self.protocol, self.address) = (Protocol::Udp, socket(words.next())),
            "--sctp-service" => (self.protocol, self.address) = (Protocol::Sctp, socket(words.next())),
            "-f" => self.mark = Some(number(words.next())),
            "-6" => self.v6 = true,
            "-s" => self.scheduler = words.next().expect("a scheduler").into(),
            "-b" => words.next().expect("flags").split(',').for_each(|flag| self.flag(flag)),
            "-o" | "--ops" => self.flags.one_packet = true,
            "-p" => self.timeout = Some(number(words.next())),
            "-M" => self.granularity = Some(granularity(words.next().expect("a mask"))),
            "--pe" => self.engine = words.next().map(Into::into),
            "-r" => self.server = socket(words.next()),
            "-g" => self.forwarding = Forwarding::DirectRoute,
            "-m" => self.forwarding = Forwarding::Masquerade,
            "-i" => self.forwarding = Forwarding::Tunnel(Tunnel::Ipip),
            "--tun-type" => self.tunnel = words.next().expect("a tunnel").to_owned(),
            "--tun-port" => self.tunnel_port = number(words.next()),
            "--tun-nocsum" => self.checksum = TunnelChecksum::None,
            "--tun-csum" => self.checksum = TunnelChecksum::Full,
            "--tun-remcsum" => self.checksum = TunnelChecksum::Remote,
            "-w" => self.weight = number(words.next()),
            "-x" => self.upper = number(words.next()),
            "-y" => self.lower = number(words.next()),
            "--mcast-interface" => self.daemon.interface = words.next().expect("an interface").to_owned(),
            "--syncid" => self.daemon.id = number(words.next()),
            "--sync-maxlen" => self.daemon.max_length = number(words.next()),
            "--mcast-group" => self.daemon.group = Some(number::<IpAddr>(words.next())),
            "--mcast-port" => self.daemon.port = number(words.next()),
            "--mcast-ttl" => self.daemon.ttl = number(words.next()),
            "--timeout" => self.listing = "--timeout",
            "--daemon" => self.listing = "--daemon",
            other => panic!("{other} is no option"),
        }
    }

    fn flag(&mut self, flag: &str) {
        match flag {
            "flag-1" | "sh-fallback" | "mh-fallback" => self.flags.one = true,
            "flag-2" | "sh-port" | "mh-port" => self.flags.two = true,
            "flag-3" => self.flags.three = true,
            other => panic!("{other} is no flag"),
        }
    }

    fn key(&self) -> ServiceKey {
        let family = if self.v6 { Family::V6 } else { Family::V4 };
        match (self.mark, self.address) {
            (Some(mark), _) => ServiceKey::Mark { mark, family },
            (_, Some(socket)) => {
                let (protocol, address, port) = (self.protocol, socket.ip(), socket.port());
                ServiceKey::Address { protocol, address, port }
            }
            _ => panic!("no service is named"),
        }
    }

    fn service(&self) -> Service {
        let key = self.key();
        let whole = if key.family() == Family::V4 { 32 } else { 128 };
        let persistence = self.timeout.map(|timeout| Persistence {
            timeout,
            granularity: self.granularity.unwrap_or(whole),
            engine: self.engine.clone(),
        });
        Service { key, scheduler: self.scheduler.clone(), flags: self.flags, persistence }
    }

    fn destination(&self) -> Destination {
        let socket = self.server.expect("a server is named");
        let checksum = self.checksum;
        let forwarding = match self.forwarding {
            Forwarding::Tunnel(_) => Forwarding::Tunnel(match self.tunnel.as_str() {
                "ipip" => Tunnel::Ipip,
                "gue" => Tunnel::Gue { port: self.tunnel_port, checksum },
                "gre" => Tunnel::Gre { checksum },
                other => panic!("{other} is no tunnel"),
            }),
            other => other,
        };
        Destination {
            key: DestinationKey { address: socket.ip(), port: socket.port() },
            forwarding,
            weight: self.weight,
            upper_threshold: self.upper,
            lower_threshold: self.lower,
        }
    }
}

fn number<T: std::str::FromStr>(word: Option<&str>) -> T {
    let word = word.expect("a number");
    word.parse().unwrap_or_else(|_| panic!("{word} is none"))
}

fn socket(word: Option<&str>) -> Option<SocketAddr> {
    Some(number(word))
}

fn granularity(mask: &str) -> u8 {
    match mask.parse::<std::net::Ipv4Addr>() {
        Ok(mask) => u8::try_from(mask.to_bits().leading_ones()).expect("at most 32"),
        Err(_) => number(Some(mask)),
    }
}
