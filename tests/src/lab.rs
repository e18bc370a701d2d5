//! The namespace laboratory: a LAN of network namespaces around a bridge, on which Steadfast, keepalived and FRR run
//! as the real programs they are; a prober, a packet capture, an address monitor and an injector of frames, all on one
//! clock. What is measured here is judged by the tests in `tests/tests/netns_*.rs`, not here.

pub mod capture;
pub mod clock;
pub mod crowd;
pub mod engine;
pub mod firmware;
pub mod folder;
pub mod frames;
pub mod hostile;
pub mod inject;
pub mod lateness;
pub mod machine;
pub mod monitor;
pub mod namespace;
pub mod pair;
pub mod probe;
pub mod process;
pub mod scrape;
pub mod servers;
pub mod shown;
pub mod spec;
pub mod tshark;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::sys::socket::{setsockopt, sockopt};

use capture::Capture;
use clock::Stamp;
use folder::Folder;
use namespace::Namespace;

/// The binary under test: `STEADFAST_BIN`, or the release build beside this test's own target folder.
pub fn steadfast_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("STEADFAST_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().expect("this test has a path");
    let target = own.ancestors().find(|path| path.join("release").is_dir() || path.join("debug").is_dir());
    target.unwrap_or(Path::new("target")).join("release/steadfast")
}

/// Whether the long matrices were asked for (`tests/run --all`).
pub fn thorough() -> bool {
    std::env::var_os("STEADFAST_ALL").is_some_and(|value| value == "1")
}

/// A machine on the LAN: one namespace with one interface, `eth0`; or a program on a TAP device, whose namespace is
/// empty.
#[derive(Debug)]
pub struct Host {
    /// Its namespace.
    pub namespace: Namespace,
    /// The hardware address of `eth0`.
    pub mac: [u8; 6],
    /// Its IPv4 address, 10.9.0.(n + 1)/24.
    pub v4: Ipv4Addr,
    /// Its global IPv6 address, fd09::(n + 1)/64.
    pub v6: Ipv6Addr,
    /// Its link-local IPv6 address, fe80::(n + 1)/64.
    pub link_local: Ipv6Addr,
}

/// A bridge with machines around it. Machine n is plugged into port `p{n}` of the bridge.
#[derive(Debug)]
pub struct Lan {
    /// What the machines send; taken at their ports, so that a machine that is cut off is still heard by the capture.
    pub capture: Capture,
    hosts: Vec<Host>,
    hub: Namespace,
    folder: Folder,
}

impl Lan {
    /// A LAN of `names.len()` machines.
    #[track_caller]
    pub fn new(names: &[&str]) -> Self {
        Self::with_taps(names, &[])
    }

    /// The same, but the machines numbered in `taps` are programs that read and write a TAP device, which is their port
    /// `p{n}` of the bridge; they run in the bridge's own namespace, see [`Lan::hub`].
    #[track_caller]
    pub fn with_taps(names: &[&str], taps: &[usize]) -> Self {
        let hub = Namespace::new("hub");
        hub.sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        add_bridge(&hub, "br0");
        let mut hosts = Vec::new();
        for (name, number) in names.iter().zip(0_u8..) {
            hosts.push(plug(&hub, name, number, taps.contains(&usize::from(number))));
        }
        let folder = Folder::new();
        let capture = Capture::start(&hub, hosts.len());
        Self { capture, hosts, hub, folder }
    }

    /// Gives a machine one more interface, `eth{other}` with 10.{9 + other}.0.(n + 1)/24, on a LAN of its own where nobody
    /// else is; the capture does not hear it.
    #[track_caller]
    pub fn add_link(&self, number: u8, other: u8) {
        let (bridge, port) = (format!("b{number}x{other}"), format!("p{number}x{other}"));
        let (namespace, host) = (&self.host(number.into()).namespace, number + 1);
        add_bridge(&self.hub, &bridge);
        self.hub.ip(&format!("link add {port} type veth peer name eth{other} netns {}", namespace.name()));
        self.hub.ip(&format!("link set {port} master {bridge} up"));
        namespace.ip(&format!("link set eth{other} up"));
        namespace.ip(&format!("addr add 10.{}.0.{host}/24 dev eth{other}", 9 + other));
    }

    /// Machine `number`.
    pub fn host(&self, number: usize) -> &Host {
        &self.hosts[number]
    }

    /// Where the bridge is, and the TAP devices with it.
    pub fn hub(&self) -> &Namespace {
        &self.hub
    }

    /// A folder for configuration, logs and captures, removed with the LAN.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Takes a machine's port out of the bridge: a silent partition, its link stays up. When it was done.
    #[track_caller]
    pub fn cut(&self, number: usize) -> Stamp {
        self.hub.ip(&format!("link set p{number} nomaster"));
        Stamp::now()
    }

    /// Puts a machine's port back. When that began.
    #[track_caller]
    pub fn heal(&self, number: usize) -> Stamp {
        let begun = Stamp::now();
        self.hub.ip(&format!("link set p{number} master br0"));
        begun
    }

    /// Makes the bridge forget where machines are: from now on every frame reaches every machine, as it may right
    /// after a Virtual Router has moved.
    #[track_caller]
    pub fn flood(&self) {
        self.hub.ip("link set br0 type bridge ageing_time 0");
    }

    /// Takes a machine's link down or up, as pulling its cable does.
    #[track_caller]
    pub fn link(&self, number: usize, up: bool) {
        self.hub.ip(&format!("link set p{number} {}", if up { "up" } else { "down" }));
    }

    /// The addresses that a machine holds now, on all its interfaces, without the loopback's.
    pub fn addresses(&self, number: usize) -> Vec<IpAddr> {
        let text = self.host(number).namespace.ip("-o addr show");
        let lines = text.lines().filter(|line| line.split_whitespace().nth(1) != Some("lo"));
        lines
            .filter_map(|line| line.split_whitespace().nth(3))
            .filter_map(|address| address.split('/').next().and_then(|address| address.parse().ok()))
            .collect()
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.capture.stop();
        if std::thread::panicking() {
            self.capture.write_pcap(&self.folder().join("lan.pcap"));
        }
    }
}

/// Gives a socket a receive buffer of some bytes; in a user namespace, as many as the system allows to everybody.
fn enlarge(socket: &impl AsFd, bytes: usize) {
    if setsockopt(socket, sockopt::RcvBufForce, &bytes).is_err() {
        let _ = setsockopt(socket, sockopt::RcvBuf, &bytes);
    }
}

#[track_caller]
fn add_bridge(hub: &Namespace, name: &str) {
    hub.ip(&format!("link add {name} type bridge mcast_snooping 0 forward_delay 0 stp_state 0"));
    hub.ip(&format!("link set {name} up"));
}

#[track_caller]
fn plug(hub: &Namespace, name: &str, number: u8, tap: bool) -> Host {
    let namespace = Namespace::new(name);
    let mac = [0x02, 0x5f, 0, 0, 0, number + 1];
    let (v4, v6) = (Ipv4Addr::new(10, 9, 0, number + 1), format!("fd09::{:x}", number + 1));
    let link_local = format!("fe80::{:x}", number + 1);
    if tap {
        hub.ip(&format!("tuntap add dev p{number} mode tap"));
        hub.ip(&format!("link set p{number} master br0 up"));
    } else {
        hub.ip(&format!("link add p{number} type veth peer name eth0 netns {}", namespace.name()));
        hub.ip(&format!("link set p{number} master br0 up"));
        namespace.ip("link set eth0 addrgenmode none");
        namespace.ip(&format!("link set eth0 address {} up", frames::mac_text(mac)));
        namespace.ip(&format!("addr add {v4}/24 dev eth0"));
        namespace.ip(&format!("addr add {v6}/64 dev eth0"));
        namespace.ip(&format!("addr add {link_local}/64 dev eth0"));
    }
    let parse = |text: &str| text.parse().expect("an address written above");
    Host { namespace, mac, v4, v6: parse(&v6), link_local: parse(&link_local) }
}
