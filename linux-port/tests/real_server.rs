//! `steadfast real-server` against the real kernel, in network namespaces of their own: what the machine says of a
//! virtual address on the wire, and what is left afterwards. Skipped where no namespace can be made.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use steadfast_core::time::Duration;
use steadfast_core::types::MacAddr;
use steadfast_core::wire::{arp, ip};
use steadfast_linux::netlink::{AddressSpec, Client, Event, Monitor};
use steadfast_linux::socket::FrameSender;
use steadfast_linux::sys::poll::PollSet;
use steadfast_linux::sys::process::{Namespaces, kill, kill_with_parent, terminate, unshare};
use steadfast_linux::sys::socket;
use steadfast_linux::sysctl;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const DIRECTOR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 50);
const DIRECTOR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x50]);
const VIRTUAL: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 101);
const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const DIRECTOR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x50);
const VIRTUAL_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);

/// A machine with an interface `ours` and `lo`, the wire behind it, and a directory for notes.
struct Machine {
    client: Client,
    ours: u32,
    theirs: u32,
    directory: PathBuf,
    wire: OwnedFd,
    monitor: Monitor,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A running `steadfast real-server`, killed if the test forgets it.
struct Role(Child);

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything that the role may change.
#[derive(Debug, PartialEq)]
struct Snapshot {
    addresses: Vec<(u32, IpAddr, u8)>,
    settings: Vec<(String, String)>,
    routes: String,
}

/// Runs `test` in a thread with a network of its own; `name` is the test's.
fn on_a_machine(name: &str, test: impl FnOnce(Machine) + Send + 'static) {
    let directory = std::env::temp_dir().join(format!("steadfast-{name}-{}", std::process::id()));
    let result = std::thread::spawn(move || match unshare(Namespaces::NETWORK) {
        Ok(()) => test(Machine::new(directory)),
        Err(error) => eprintln!("skipped: needs root or user namespaces ({error})"),
    })
    .join();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

fn has_ipv6() -> bool {
    std::path::Path::new("/proc/sys/net/ipv6").exists()
}

fn wait_for(fd: impl AsFd) {
    let mut set = PollSet::new();
    set.add(fd.as_fd());
    assert_eq!(set.wait(Some(Duration::from_secs(5))).unwrap(), 1, "nothing came within 5 s");
}

/// The director's ARP question.
fn who_has(address: Ipv4Addr) -> Vec<u8> {
    let mut frame = arp::gratuitous(DIRECTOR_MAC, DIRECTOR).to_vec();
    frame[32..38].fill(0);
    frame[38..42].copy_from_slice(&address.octets());
    frame
}

/// The director's Neighbour Solicitation, to all nodes: the target's own group is joined in the kernel's own time.
fn solicitation(target: Ipv6Addr) -> Vec<u8> {
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut frame = Vec::new();
    frame.extend(ip::multicast_mac(group.into()).0);
    frame.extend(DIRECTOR_MAC.0);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]);
    frame.extend(DIRECTOR_V6.octets());
    frame.extend(group.octets());
    frame.extend([135, 0, 0, 0, 0, 0, 0, 0]);
    frame.extend(target.octets());
    frame.extend([1, 1]);
    frame.extend(DIRECTOR_MAC.0);
    let mut pseudo = frame[22..54].to_vec();
    pseudo.extend([0, 0, 0, 32, 0, 0, 0, 58]);
    pseudo.extend(&frame[54..]);
    let checksum = steadfast_core::wire::checksum::Sum::of(&pseudo).checksum().to_be_bytes();
    frame[56..58].copy_from_slice(&checksum);
    frame
}

impl Machine {
    fn new(directory: PathBuf) -> Self {
        let monitor = Monitor::open().unwrap();
        let mut client = Client::open().unwrap();
        let (ours, theirs) = client.create_veth("ours", "theirs").unwrap();
        // The far end is a wire: what it says is what the tests say.
        sysctl::write("net/ipv4/conf/theirs/arp_ignore", "8").unwrap();
        if has_ipv6() {
            sysctl::write("net/ipv6/conf/theirs/disable_ipv6", "1").unwrap();
            sysctl::write("net/ipv6/conf/ours/accept_dad", "0").unwrap();
        }
        let lo = client.link("lo").unwrap().unwrap().index;
        for link in [lo, theirs, ours] {
            client.set_up(link).unwrap();
        }
        client.add_address(&AddressSpec::new(ours, SERVER.into(), 24)).unwrap();
        while !client.link_at(ours).unwrap().unwrap().running {
            wait_for(&monitor);
        }
        let wire = socket::packet().unwrap();
        steadfast_linux::sys::option::Flag::IGNORE_OUTGOING.set(wire.as_fd(), 1).unwrap();
        socket::bind_packet(wire.as_fd(), theirs, socket::ETHERTYPE_ALL).unwrap();
        Self { client, ours, theirs, directory, wire, monitor }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        command.arg("real-server").arg("--state").arg(&self.directory).args(arguments);
        command
    }

    /// The role with these addresses, once it says that it has them.
    fn role(&self, addresses: &[&str]) -> Role {
        let arguments: Vec<_> = addresses.iter().flat_map(|address| ["--vip", address]).collect();
        let mut command = self.command(&arguments);
        let mut role = Role(kill_with_parent(command.stderr(Stdio::piped())).spawn().unwrap());
        let mut log = BufReader::new(role.0.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("virtual addresses on lo") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended");
        }
        // What it says later nobody reads, but it has to get rid of it.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        role
    }

    fn snapshot(&mut self) -> Snapshot {
        let mut addresses: Vec<_> =
            self.client.addresses().unwrap().into_iter().map(|a| (a.interface, a.ip, a.prefix_len)).collect();
        addresses.sort();
        let settings = ["all", "lo", "ours"].into_iter().flat_map(|interface| {
            ["arp_ignore", "arp_announce"].map(|setting| format!("net/ipv4/conf/{interface}/{setting}"))
        });
        let settings = settings.map(|key| (key.clone(), sysctl::read(&key).unwrap())).collect();
        let output = Command::new("ip").args(["route", "show", "table", "all"]).output();
        let text = output.map_or(String::new(), |output| String::from_utf8(output.stdout).unwrap());
        // Those of the link-local address come and go in the kernel's own time.
        let lasting = text.lines().filter(|line| !line.contains("fe80:") && !line.contains("ff00:"));
        let routes = lasting.collect::<Vec<_>>().join("\n");
        addresses.retain(|(_, address, _)| !matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()));
        Snapshot { addresses, settings, routes }
    }

    fn holds(&mut self, address: impl Into<IpAddr>) -> bool {
        let address = address.into();
        self.client.addresses().unwrap().iter().any(|held| held.ip == address)
    }

    /// Waits until there is news of an address.
    fn until_added(&mut self, wanted: IpAddr) {
        let mut added = false;
        while !added {
            wait_for(&self.monitor);
            let news = |event| added |= matches!(event, Event::AddressAdded(address) if address.ip == wanted);
            self.monitor.receive(1_000, news).unwrap();
        }
    }

    fn say(&self, frame: &[u8]) {
        let mut frames = FrameSender::open().unwrap();
        frames.push_frame(self.theirs, frame).unwrap();
        assert_eq!(frames.flush().sent, 1);
    }

    /// The addresses that the machine tells of by ARP, after the director has asked for `address`; the question for
    /// its own address comes after that, and its answer ends the waiting.
    fn told(&self, address: Ipv4Addr) -> Vec<Ipv4Addr> {
        for address in [address, SERVER] {
            self.say(&who_has(address));
        }
        self.heard(|heard| heard.last() == Some(&SERVER))
    }

    /// Whether the machine advertises `address` by Neighbour Discovery, after the director has asked for it.
    fn advertises(&self, address: Ipv6Addr) -> bool {
        let mut heard = Vec::new();
        self.say(&solicitation(address));
        self.say(&who_has(SERVER));
        let mut buffer = [0; 2048];
        while heard.last() != Some(&IpAddr::from(SERVER)) {
            wait_for(&self.wire);
            while let Some(length) = socket::receive(self.wire.as_fd(), &mut buffer).unwrap() {
                let header = ip::Ethernet::parse(&buffer[..length]).unwrap();
                let packet = header.payload;
                if header.ethertype == ip::ETHERTYPE_ARP {
                    heard.push(IpAddr::from(<[u8; 4]>::try_from(&packet[14..18]).unwrap()));
                } else if header.ethertype == ip::ETHERTYPE_IPV6 && packet[6] == 58 && packet[40] == 136 {
                    heard.push(IpAddr::from(<[u8; 16]>::try_from(&packet[48..64]).unwrap()));
                }
            }
        }
        heard.contains(&address.into())
    }

    /// The addresses that the machine tells of by ARP until it is `enough`.
    fn heard(&self, enough: impl Fn(&[Ipv4Addr]) -> bool) -> Vec<Ipv4Addr> {
        let mut heard = Vec::new();
        let mut buffer = [0; 2048];
        while !enough(&heard) {
            wait_for(&self.wire);
            while let Some(length) = socket::receive(self.wire.as_fd(), &mut buffer).unwrap() {
                let header = ip::Ethernet::parse(&buffer[..length]).unwrap();
                if header.ethertype == ip::ETHERTYPE_ARP {
                    let sender: [u8; 4] = header.payload[14..18].try_into().unwrap();
                    heard.push(sender.into());
                }
            }
        }
        heard
    }
}

#[test]
fn the_address_is_held_in_silence_and_given_back() {
    on_a_machine("real-server-silence", |mut machine| {
        let before = machine.snapshot();
        // The test can fail: an address on lo alone is told to whoever asks.
        let lo = machine.client.link("lo").unwrap().unwrap().index;
        machine.client.add_address(&AddressSpec::new(lo, VIRTUAL.into(), 32)).unwrap();
        // (A link that has just come up may lose the first frame.)
        assert!((0..10).any(|_| machine.told(VIRTUAL) == [VIRTUAL, SERVER]));
        machine.client.remove_address(&AddressSpec::new(lo, VIRTUAL.into(), 32)).unwrap();

        let (v4, v6) = (VIRTUAL.to_string(), VIRTUAL_V6.to_string());
        let addresses: &[&str] = if has_ipv6() { &[&v4, &v6] } else { &[&v4] };
        let mut role = machine.role(addresses);
        assert!(machine.holds(VIRTUAL));
        assert_eq!(has_ipv6(), machine.holds(VIRTUAL_V6));
        for _ in 0..3 {
            assert_eq!(machine.told(VIRTUAL), [SERVER]);
        }
        if has_ipv6() {
            assert!(!machine.advertises(VIRTUAL_V6));
            // The test can fail: its own address it advertises.
            let mut own = AddressSpec::new(machine.ours, SERVER_V6.into(), 64);
            own.preferred_lft = None;
            machine.client.add_address(&own).unwrap();
            assert!(machine.advertises(SERVER_V6));
            machine.client.remove_address(&own).unwrap();
        }
        // It has the address all the same, and asks for others with its own.
        let socket = UdpSocket::bind((VIRTUAL, 0)).unwrap();
        socket.send_to(b"hello", (Ipv4Addr::new(10, 9, 0, 77), 9)).unwrap();
        assert_eq!(machine.heard(|heard| !heard.is_empty()), [SERVER]);
        drop(socket);

        terminate(role.0.id()).unwrap();
        assert!(role.0.wait().unwrap().success());
        assert_eq!(machine.snapshot(), before);
        assert_eq!(fs::read_dir(&machine.directory).unwrap().count(), 0, "no notes are left");
    });
}

#[test]
fn an_address_that_somebody_removes_is_put_back() {
    on_a_machine("real-server-back", |mut machine| {
        let _role = machine.role(&["10.9.0.100"]);
        let lo = machine.client.link("lo").unwrap().unwrap().index;
        machine.monitor.receive(1_000, |_| ()).unwrap();
        machine.client.remove_address(&AddressSpec::new(lo, VIRTUAL.into(), 32)).unwrap();
        machine.until_added(VIRTUAL.into());
        assert_eq!(machine.told(VIRTUAL), [SERVER]);
    });
}

#[test]
fn what_a_killed_predecessor_left_is_taken_over_or_taken_back() {
    on_a_machine("real-server-killed", |mut machine| {
        let before = machine.snapshot();
        let mut killed = machine.role(&["10.9.0.100", "10.9.0.101"]);
        kill(killed.0.id()).unwrap();
        killed.0.wait().unwrap();
        assert!(machine.holds(VIRTUAL) && machine.holds(OTHER), "the service goes on");

        machine.monitor.receive(1_000, |_| ()).unwrap();
        let mut next = machine.role(&["10.9.0.100"]);
        assert!(machine.holds(VIRTUAL) && !machine.holds(OTHER));
        let mut gaps = 0;
        let gap = |event| gaps += usize::from(matches!(event, Event::AddressRemoved(a) if a.ip == VIRTUAL));
        machine.monitor.receive(1_000, gap).unwrap();
        assert_eq!(gaps, 0, "what both have is never gone");
        kill(next.0.id()).unwrap();
        next.0.wait().unwrap();

        let undo = machine.command(&["--undo"]).output().unwrap();
        assert!(undo.status.success(), "{}", String::from_utf8_lossy(&undo.stderr));
        assert_eq!(machine.snapshot(), before);
        assert_eq!(fs::read_dir(&machine.directory).unwrap().count(), 0);
    });
}

#[test]
fn an_agent_has_the_role_by_its_configuration() {
    on_a_machine("real-server-agent", |mut machine| {
        let before = machine.snapshot();
        fs::create_dir_all(&machine.directory).unwrap();
        let (file, socket) = (machine.directory.join("a.conf"), machine.directory.join("c.sock"));
        let write = |addresses: &str| {
            fs::write(&file, format!("real_server_role {{\nvirtual_ipaddress {{\n{addresses}\n}}\n}}\n")).unwrap();
        };
        let run = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
            command.args(["run", "--config"]).arg(&file).arg("--control").arg(&socket);
            Role(kill_with_parent(command.stderr(Stdio::null())).spawn().unwrap())
        };
        write("10.9.0.100");
        let mut agent = run();
        machine.until_added(VIRTUAL.into());
        assert_eq!(machine.told(VIRTUAL), [SERVER]);

        // A reload changes what the file changes.
        write("10.9.0.101");
        let mut reload = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        let reload = reload.args(["reload", "--control"]).arg(&socket).output().unwrap();
        assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
        machine.until_added(OTHER.into());
        assert!(!machine.holds(VIRTUAL));
        assert_eq!(machine.told(OTHER), [SERVER]);

        // Killed, it leaves the service as it is; the next one takes it over, and gives it back in the end.
        kill(agent.0.id()).unwrap();
        agent.0.wait().unwrap();
        assert!(machine.holds(OTHER));
        write("10.9.0.100");
        let mut agent = run();
        machine.until_added(VIRTUAL.into());
        assert!(!machine.holds(OTHER));
        terminate(agent.0.id()).unwrap();
        assert!(agent.0.wait().unwrap().success());
        assert_eq!(machine.snapshot(), before);
    });
}

#[test]
fn there_is_one_at_a_time() {
    on_a_machine("real-server-two", |mut machine| {
        let _role = machine.role(&["10.9.0.100"]);
        let during = machine.snapshot();
        let second = machine.command(&["--vip", "10.9.0.101"]).output().unwrap();
        assert_eq!(second.status.code(), Some(1));
        let said = String::from_utf8_lossy(&second.stderr);
        assert!(said.contains("another process is the real server"), "{said}");
        assert_eq!(machine.snapshot(), during);
    });
}

#[test]
fn an_address_that_the_lan_is_told_of_is_refused() {
    on_a_machine("real-server-told", |mut machine| {
        machine.client.add_address(&AddressSpec::new(machine.ours, VIRTUAL.into(), 24)).unwrap();
        let before = machine.snapshot();
        let refused = machine.command(&["--vip", "10.9.0.100"]).output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("10.9.0.100: it is on ours already"), "{said}");
        assert_eq!(machine.snapshot(), before);
    });
}

#[test]
fn what_the_administrator_has_put_there_stays() {
    on_a_machine("real-server-there", |mut machine| {
        let lo = machine.client.link("lo").unwrap().unwrap().index;
        machine.client.add_address(&AddressSpec::new(lo, VIRTUAL.into(), 32)).unwrap();
        sysctl::write("net/ipv4/conf/all/arp_ignore", "2").unwrap();
        let before = machine.snapshot();
        let mut role = machine.role(&["10.9.0.100"]);
        assert_eq!(sysctl::read("net/ipv4/conf/all/arp_ignore").unwrap(), "2", "that says less still");
        terminate(role.0.id()).unwrap();
        assert!(role.0.wait().unwrap().success());
        assert_eq!(machine.snapshot(), before);
    });
}
