//! The LVS part of a configuration as the agent carries it out: owned values, so that an old and a new plan can
//! be compared. All defaults are filled in (virtual server → real server → checker), groups are expanded.
//! The text is read in `grammar`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use steadfast_core::time::Duration;

use super::expression::Expression;
use crate::ipvs::row::{DestinationKey, Forwarding, Persistence, SchedulerFlags, ServiceKey};
use crate::ipvs::settings::Timeouts;
use crate::process::Script;

/// What the director shall do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LvsPlan {
    /// The virtual servers, in the order of the file; each key is there once.
    pub services: Vec<Arc<VirtualServer>>,
    /// `lvs_sync_daemon`.
    pub sync_daemon: Option<SyncDaemon>,
    /// `lvs_timeouts`.
    pub timeouts: Option<Timeouts>,
    /// `lvs_flush`: the whole table is emptied at the start.
    pub flush_at_start: bool,
    /// `lvs_flush_on_stop`.
    pub flush_on_stop: FlushOnStop,
    /// `SSL { … }`: for all SSL_GET.
    pub tls: TlsIdentity,
    /// `real_server_role`: this machine is a real server.
    pub role: Option<RealServerRole>,
}

/// `real_server_role`: virtual addresses that this machine takes packets for, and does not tell the LAN of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealServerRole {
    /// `interface`: where they are put, `lo` unless said otherwise.
    pub interface: String,
    /// `virtual_ipaddress`: at least one, each once.
    pub addresses: Vec<IpAddr>,
}

/// `lvs_flush_on_stop [VS]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushOnStop {
    /// Each row of ours is taken out, as without the keyword.
    #[default]
    Rows,
    /// Our services are deleted whole.
    Services,
    /// The whole table is emptied.
    Everything,
}

/// `lvs_sync_daemon`: connections are told to the other director.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncDaemon {
    /// On which interface.
    pub interface: String,
    /// The `vrrp_instance` whose state it follows; without one it is both master and backup for ever.
    pub instance: Option<String>,
    /// 0 to 255; the VRID of the instance unless said otherwise.
    pub id: u8,
    /// The longest message in bytes, 0 for the kernel's default.
    pub max_length: u16,
    /// The UDP port, 0 for the kernel's default (8848).
    pub port: u16,
    /// The TTL, 0 for the kernel's default (1).
    pub ttl: u8,
    /// The multicast group; without one the kernel's default (224.0.0.81).
    pub group: Option<IpAddr>,
}

/// `SSL { … }`: what we show to servers, and whom we trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsIdentity {
    /// `ca`: a PEM file of the issuers that we trust. With it, servers are verified.
    pub ca: Option<PathBuf>,
    /// `certificate`: our own, PEM.
    pub certificate: Option<PathBuf>,
    /// `key`: its key, PEM.
    pub key: Option<PathBuf>,
    /// `password` of the key.
    pub password: Option<String>,
}

/// A `virtual_server`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualServer {
    /// As it is written after the keyword: `192.0.2.1 80`, `fwmark 3`, `group WEB`.
    pub name: String,
    /// The services of the kernel's table that it stands for: one, or those of its group; each once.
    pub keys: Vec<ServiceKey>,
    /// `lvs_sched`.
    pub scheduler: Arc<str>,
    /// The scheduler's flags.
    pub flags: SchedulerFlags,
    /// `persistence_timeout`, `_granularity`, `_engine`.
    pub persistence: Option<Persistence>,
    /// `quorum`: the weight that has to be alive; at most the sum of all weights.
    pub quorum: u32,
    /// `hysteresis`.
    pub hysteresis: u32,
    /// `quorum_up`.
    pub quorum_up: Option<Arc<Script>>,
    /// `quorum_down`.
    pub quorum_down: Option<Arc<Script>>,
    /// `sorry_server`.
    pub sorry: Option<SorryServer>,
    /// `alpha`: servers are down until a check has said otherwise.
    pub alpha: bool,
    /// `omega`: notify_down and quorum_down are run when the agent stops.
    pub omega: bool,
    /// `smtp_alert`: mail is sent when the quorum is lost or gained.
    pub mail: bool,
    /// `ha_suspend`: checks rest while the address is not on this machine.
    pub ha_suspend: bool,
    /// The real servers, in the order of the file; each key once.
    pub servers: Vec<Arc<RealServer>>,
}

/// `sorry_server`: the one that is left when the quorum is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SorryServer {
    /// Where it is.
    pub key: DestinationKey,
    /// How packets get there.
    pub forwarding: Forwarding,
    /// `sorry_server_inhibit`: it stands in the table with weight 0 while it is not needed.
    pub inhibit: bool,
}

/// A `real_server`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealServer {
    /// Where it is.
    pub key: DestinationKey,
    /// Its share.
    pub weight: u32,
    /// How packets get there.
    pub forwarding: Forwarding,
    /// `uthreshold`.
    pub upper_threshold: u32,
    /// `lthreshold`.
    pub lower_threshold: u32,
    /// `inhibit_on_failure`: it is kept with weight 0 instead of removed.
    pub inhibit_on_failure: bool,
    /// `notify_up`.
    pub notify_up: Option<Arc<Script>>,
    /// `notify_down`.
    pub notify_down: Option<Arc<Script>>,
    /// `smtp_alert`: mail is sent when it goes up or down.
    pub mail: bool,
    /// Its checks; up while all of them say so. Without one it is always up.
    pub checks: Vec<Arc<Check>>,
}

/// A check of a real server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// When.
    pub timing: Timing,
    /// Where: the server's own address and port, unless `connect_ip`, `connect_port` say otherwise.
    pub target: SocketAddr,
    /// `bindto`, `bind_port`: where from.
    pub source: Option<SocketAddr>,
    /// `bind_if`.
    pub interface: Option<String>,
    /// `fwmark` of the packets, 0 for none.
    pub mark: u32,
    /// `log_all_failures`: also those that change nothing.
    pub log_all_failures: bool,
}

/// When a check is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// `delay_loop`: from the end of one check to the begin of the next.
    pub delay_loop: Duration,
    /// `retry`: failures that are tried again before the server is down.
    pub retry: u32,
    /// `delay_before_retry`.
    pub delay_before_retry: Duration,
    /// `warmup`: the first check comes 1 s plus a random part of this after the start.
    pub warmup: Duration,
    /// `connect_timeout`: the most for a connection to be there, and again for the whole answer.
    pub connect_timeout: Duration,
    /// `alpha` of this check: it counts as failed until it has once succeeded.
    pub alpha: bool,
}

/// The kinds of checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// `TCP_CHECK`: a connection can be made.
    Tcp,
    /// `HTTP_GET`, `SSL_GET`.
    Http(HttpCheck),
    /// `SMTP_CHECK`.
    Smtp {
        /// `helo_name`.
        helo: String,
    },
    /// `DNS_CHECK`.
    Dns {
        /// `type`: its number (RFC 1035 section 3.2.2).
        record: u16,
        /// `name`, without the last dot; empty is the root.
        name: String,
    },
    /// `UDP_CHECK`.
    Udp(UdpCheck),
    /// `PING_CHECK`.
    Ping,
    /// `MISC_CHECK`.
    Misc {
        /// `misc_path`.
        script: Arc<Script>,
        /// `misc_timeout`.
        timeout: Duration,
        /// `misc_dynamic`: exit statuses 2 to 255 are a weight plus 2.
        dynamic: bool,
    },
    /// `FILE_CHECK`: the number in a file.
    File {
        /// The file.
        path: PathBuf,
        /// `weight`: by what the number is multiplied before it is added to the server's; 0: any other number
        /// than 0 is down.
        weight: i32,
        /// `reverse`, with weight 0: 0 is down, any other number is up. (With another weight it is in its sign.)
        reverse: bool,
    },
}

/// `HTTP_GET` and `SSL_GET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// SSL_GET's part.
    pub tls: Option<TlsCheck>,
    /// `http_protocol`.
    pub version: HttpVersion,
    /// Each of them has to be answered as it should.
    pub urls: Vec<UrlCheck>,
}

/// What SSL_GET has besides HTTP_GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsCheck {
    /// `sni_name`, or the first `virtualhost`: the name that has to be in the certificate where servers are verified;
    /// without one it is the target's address.
    pub server_name: Option<String>,
    /// `enable_sni`, `sni_name`: the name is also sent, as SNI.
    pub send_name: bool,
}

/// `http_protocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// `1.0`: no `Connection` header.
    #[default]
    Http10,
    /// `1.0C`: 1.0 with `Connection: close`.
    Http10Close,
    /// `1.1`.
    Http11,
}

/// `url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlCheck {
    /// `path`, from its `/`.
    pub path: String,
    /// `virtualhost` of the url, the checker, the real or the virtual server: the `Host` header.
    pub host: Option<String>,
    /// `status_code`: any of these ranges, ends included; 200 to 299 unless said otherwise.
    pub status: Vec<(u16, u16)>,
    /// `digest`: MD5 of the body.
    pub digest: Option<[u8; 16]>,
    /// `regex`, or with `regex_no_match` what must not be found, in the body between the offsets.
    pub pattern: Option<Pattern>,
}

/// `regex`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The expression, its options put in front.
    pub expression: Expression,
    /// `regex_no_match`.
    pub must_not_match: bool,
    /// `regex_min_offset`, in bytes: where a match may begin.
    pub min_offset: usize,
    /// `regex_max_offset`: where it has to begin at the latest.
    pub max_offset: Option<usize>,
}

/// `UDP_CHECK`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UdpCheck {
    /// `payload`.
    pub payload: Vec<u8>,
    /// `require_reply`: an answer has to come; with a text, it has to begin so (value and mask of each byte).
    pub reply: Option<Vec<(u8, u8)>>,
    /// `min_reply_length`.
    pub min_length: u16,
    /// `max_reply_length`.
    pub max_length: u16,
}
