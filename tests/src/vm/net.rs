//! The LAN inside the VM: a bridge with machines around it, whose addresses the configurations in `tests/vm/configs`
//! know by heart; clients in any of them; and what the other half of direct routing wants of a real server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::lab::clock::Stamp;
use crate::lab::namespace::{Namespace, run};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The machines of a LAN, by what they are. Each has the addresses 10.9.0.N/24 and fd09::N/64 on `eth0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// N = 1.
    Client,
    /// N = 11.
    Director1,
    /// N = 12.
    Director2,
    /// A real server, N = 21.
    Rs1,
    /// A real server, N = 22.
    Rs2,
}

impl Role {
    /// The machine's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Director1 => "director1",
            Self::Director2 => "director2",
            Self::Rs1 => "rs1",
            Self::Rs2 => "rs2",
        }
    }

    /// The last part of its addresses, as it is written.
    pub fn number(self) -> u8 {
        match self {
            Self::Client => 1,
            Self::Director1 => 11,
            Self::Director2 => 12,
            Self::Rs1 => 21,
            Self::Rs2 => 22,
        }
    }
}

/// A bridge with machines around it, removed when dropped.
#[derive(Debug)]
pub struct Net {
    machines: Vec<(Role, Namespace)>,
    hub: Namespace,
    folder: PathBuf,
}

impl Net {
    /// A LAN of some machines.
    #[track_caller]
    pub fn new(roles: &[Role]) -> Self {
        let hub = Namespace::new("hub");
        hub.sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        hub.ip("link add br0 type bridge mcast_snooping 0 forward_delay 0 stp_state 0");
        hub.ip("link set br0 up");
        let mut machines = Vec::new();
        for &role in roles {
            let namespace = Namespace::new(role.name());
            let (port, number) = (format!("p-{}", role.name()), role.number());
            hub.ip(&format!("link add {port} type veth peer name eth0 netns {}", namespace.name()));
            hub.ip(&format!("link set {port} master br0 up"));
            namespace.ip(&format!("link set eth0 address 02:5f:00:00:00:{number:02x} up"));
            namespace.ip(&format!("addr add 10.9.0.{number}/24 dev eth0"));
            namespace.ip(&format!("addr add fd09::{number}/64 dev eth0 nodad"));
            machines.push((role, namespace));
        }
        let folder = PathBuf::from(format!("/tmp/net{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        Self { machines, hub, folder }
    }

    /// A machine's namespace.
    #[track_caller]
    pub fn machine(&self, role: Role) -> &Namespace {
        let found = self.machines.iter().find(|(other, _)| *other == role);
        &found.unwrap_or_else(|| panic!("this LAN has no {}", role.name())).1
    }

    /// A folder for configurations and logs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes a machine's port out of the bridge, as its sudden death looks from outside. When.
    #[track_caller]
    pub fn cut(&self, role: Role) -> Stamp {
        let at = Stamp::now();
        self.hub.ip(&format!("link set p-{} nomaster", role.name()));
        at
    }

    /// Takes a machine's carrier away, as pulling its cable does.
    #[track_caller]
    pub fn unplug(&self, role: Role) {
        self.hub.ip(&format!("link set p-{} down", role.name()));
    }

    /// Puts the cable back.
    #[track_caller]
    pub fn plug(&self, role: Role) {
        self.hub.ip(&format!("link set p-{} up", role.name()));
    }

    /// Has the second processor take in every packet, so that what a program's sending brings about elsewhere is not
    /// counted as its own time.
    #[track_caller]
    pub fn receive_on_second_processor(&self) {
        let steer = |place: &Namespace, interface: &str| {
            let file = format!("/sys/class/net/{interface}/queues/rx-0/rps_cpus");
            run(place.command("sh").args(["-c", &format!("echo 2 >{file}")]));
        };
        for (role, machine) in &self.machines {
            steer(machine, "eth0");
            steer(&self.hub, &format!("p-{}", role.name()));
        }
    }

    /// Makes a machine a real server of direct routing for `vip`: it holds the address on `lo` and neither answers nor
    /// announces it by ARP.
    #[track_caller]
    pub fn hold_silently(&self, role: Role, vip: IpAddr) {
        let machine = self.machine(role);
        for interface in ["all", "eth0", "lo"] {
            machine.sysctl(&format!("net/ipv4/conf/{interface}/arp_ignore"), "1");
            machine.sysctl(&format!("net/ipv4/conf/{interface}/arp_announce"), "2");
        }
        let bits = if vip.is_ipv4() { 32 } else { 128 };
        machine.ip(&format!("addr add {vip}/{bits} dev lo"));
    }
}

/// What a web server at `address` answers to a request from a machine: the body, without its end of line.
///
/// # Errors
/// Why there was no answer within `patience`, twice: to the connection, and to the request.
pub fn request(from: &Namespace, address: SocketAddr, patience: Duration) -> std::io::Result<String> {
    from.enter(|| {
        let mut stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(b"GET / HTTP/1.0\r\nHost: vip\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.rsplit("\r\n\r\n").next().unwrap_or("").trim_end().to_owned())
    })
}

/// A connection to an echo server that stays open.
#[derive(Debug)]
pub struct Conversation(BufReader<TcpStream>);

impl Conversation {
    /// Connects a machine to an address.
    #[track_caller]
    pub fn open(from: &Namespace, address: SocketAddr) -> Self {
        let patience = Duration::from_secs(20);
        let stream = from.enter(|| TcpStream::connect_timeout(&address, patience));
        let stream = stream.unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_read_timeout(Some(patience)).expect("a read timeout");
        Self(BufReader::new(stream))
    }

    /// Says something; the name of the server that answers.
    #[track_caller]
    pub fn ask(&mut self) -> String {
        let mut answer = String::new();
        self.0.get_mut().write_all(b"who\n").expect("the connection is open");
        self.0.read_line(&mut answer).unwrap_or_else(|error| panic!("the open connection: {error}"));
        assert!(answer.ends_with('\n'), "the open connection was closed");
        answer.trim_end().to_owned()
    }
}
