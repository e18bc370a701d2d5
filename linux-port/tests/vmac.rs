//! Virtual MAC addresses against the real kernel, in network namespaces of their own: what the host says on
//! the wire with them, what it lets in, what it hears, and what is left afterwards. Skipped where no namespace
//! can be made.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use steadfast_core::time::Duration;
use steadfast_core::types::{Family, MacAddr, Vrid};
use steadfast_core::wire::{GROUP_V4, GROUP_V6, arp, ip};
use steadfast_linux::netlink::{AddressSpec, Client, Event, MacVlanMode, Monitor};
use steadfast_linux::socket::{FrameSender, ReceiveQueue, Receiver};
use steadfast_linux::sys::clock::now;
use steadfast_linux::sys::poll::PollSet;
use steadfast_linux::sys::process::{Namespaces, unshare};
use steadfast_linux::sys::socket;
use steadfast_linux::sysctl;
use steadfast_linux::vmac::Vmacs;

const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 50);
const VIRTUAL: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);
const VIRTUAL_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x50);
const CLIENT_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x50]);

/// A router's interface, the wire behind it, and a directory for notes.
struct Lan {
    client: Client,
    ours: u32,
    theirs: u32,
    mac: MacAddr,
    directory: PathBuf,
    wire: OwnedFd,
}

impl Drop for Lan {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Runs `test` in a thread with a network of its own; `name` is the test's.
fn on_a_lan(name: &str, test: impl FnOnce(Lan) + Send + 'static) {
    let directory = std::env::temp_dir().join(format!("steadfast-{name}-{}", std::process::id()));
    let result = std::thread::spawn(move || match unshare(Namespaces::NETWORK) {
        Ok(()) => test(lan(directory)),
        Err(error) => eprintln!("skipped: needs root or user namespaces ({error})"),
    })
    .join();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

fn lan(directory: PathBuf) -> Lan {
    let mut monitor = Monitor::open().unwrap();
    let mut client = Client::open().unwrap();
    let (ours, theirs) = client.create_veth("ours", "theirs").unwrap();
    // The far end is a wire: what it says is what the tests say.
    sysctl::write("net/ipv4/conf/theirs/arp_ignore", "8").unwrap();
    if has_ipv6() {
        sysctl::write("net/ipv6/conf/theirs/disable_ipv6", "1").unwrap();
        sysctl::write("net/ipv6/conf/ours/accept_dad", "0").unwrap();
    }
    client.set_up(theirs).unwrap();
    client.set_up(ours).unwrap();
    client.add_address(&AddressSpec::new(ours, ROUTER.into(), 24)).unwrap();
    if has_ipv6() {
        // Its link-local address shows that the kernel is done.
        let mut ready = false;
        while !ready {
            wait_for(&monitor);
            monitor
                .receive(1_000, |event| {
                    ready |= matches!(event, Event::AddressAdded(a) if a.interface == ours && a.ip.is_ipv6());
                })
                .unwrap();
        }
    }
    let mut link = client.link("ours").unwrap().unwrap();
    while !link.running {
        wait_for(&monitor);
        monitor
            .receive(1_000, |event| match event {
                Event::Link(news) if news.index == ours => link = news,
                _ => {}
            })
            .unwrap();
    }
    let mac = link.mac.unwrap();
    let wire = socket::packet().unwrap();
    steadfast_linux::sys::option::Flag::IGNORE_OUTGOING.set(wire.as_fd(), 1).unwrap();
    socket::bind_packet(wire.as_fd(), theirs, socket::ETHERTYPE_ALL).unwrap();
    Lan { client, ours, theirs, mac, directory, wire }
}

fn has_ipv6() -> bool {
    std::path::Path::new("/proc/sys/net/ipv6").exists()
}

fn wait_for(fd: impl AsFd) {
    let mut set = PollSet::new();
    set.add(fd.as_fd());
    assert_eq!(set.wait(Some(Duration::from_secs(5))).unwrap(), 1, "nothing came within 5 s");
}

fn virtual_mac(family: Family) -> MacAddr {
    Vrid::new(51).unwrap().virtual_mac(family)
}

impl Lan {
    /// The file of what is to be undone.
    fn notes(&self) -> PathBuf {
        self.directory.join("control.sock.changes")
    }

    /// The frames that the router has sent, until none came for 100 ms.
    fn said(&self) -> Vec<Vec<u8>> {
        let mut set = PollSet::new();
        set.add(self.wire.as_fd());
        let mut frames = Vec::new();
        let mut buffer = [0; 2048];
        while set.wait(Some(Duration::from_millis(100))).unwrap() > 0 {
            while let Some(length) = socket::receive(self.wire.as_fd(), &mut buffer).unwrap() {
                frames.push(buffer[..length].to_vec());
            }
        }
        frames
    }

    fn say(&self, frame: &[u8]) {
        let mut frames = FrameSender::open().unwrap();
        frames.push_frame(self.theirs, frame).unwrap();
        assert_eq!(frames.flush().sent, 1);
    }

    /// The client's question who has `address`.
    fn ask(&self, address: Ipv4Addr) {
        // A question is an announcement of one's own address with another target and no target MAC address.
        let mut frame = arp::gratuitous(CLIENT_MAC, CLIENT);
        frame[32..38].fill(0);
        frame[38..42].copy_from_slice(&address.octets());
        self.say(&frame);
    }

    /// Makes the host send something from `source` to `destination`.
    fn talk(source: impl Into<IpAddr>, destination: impl Into<IpAddr>) {
        let socket = UdpSocket::bind((source.into(), 0)).unwrap();
        socket.send_to(b"hello", (destination.into(), 9)).unwrap();
    }
}

/// Every pair of a protocol address and a MAC address that these frames teach a neighbour, by ARP or Neighbour
/// Discovery, beside the Ethernet source of the frame.
fn bindings(frames: &[Vec<u8>]) -> Vec<(IpAddr, MacAddr, MacAddr)> {
    let mut bindings = Vec::new();
    for frame in frames {
        let header = ip::Ethernet::parse(frame).unwrap();
        let packet = header.payload;
        let mac = |bytes: &[u8]| MacAddr(bytes.try_into().unwrap());
        match header.ethertype {
            ip::ETHERTYPE_ARP => {
                let sender: [u8; 4] = packet[14..18].try_into().unwrap();
                bindings.push((IpAddr::from(sender), mac(&packet[8..14]), header.source));
            }
            // Solicitations bind their source, advertisements their target.
            ip::ETHERTYPE_IPV6 if packet[6] == 58 && matches!(packet[40], 135 | 136) && packet.len() >= 72 => {
                let address = if packet[40] == 135 { &packet[8..24] } else { &packet[48..64] };
                let address: [u8; 16] = address.try_into().unwrap();
                bindings.push((IpAddr::from(address), mac(&packet[66..72]), header.source));
            }
            _ => {}
        }
    }
    bindings
}

/// How many of these frames came from this MAC address.
fn from(frames: &[Vec<u8>], mac: MacAddr) -> usize {
    frames.iter().filter(|frame| frame[6..12] == mac.0).count()
}

#[test]
fn rfc9568_8_1_2_only_an_active_answers_arp_and_nothing_binds_the_address_to_another_mac() {
    on_a_lan("bind4", |mut lan| {
        let mut vmacs = Vmacs::open(&lan.notes()).unwrap();
        let mac = virtual_mac(Family::V4);
        let vmac = vmacs.ensure("vrrp.51", lan.ours, mac, false).unwrap();
        let spec = AddressSpec::new(vmac.index, VIRTUAL.into(), 32);
        // Muted and without its address it says nothing, not even by itself.
        lan.ask(VIRTUAL);
        let said = lan.said();
        assert_eq!((bindings(&said), from(&said, mac)), (vec![], 0));
        vmac.prepare().unwrap();
        vmac.unmute().unwrap();
        lan.client.add_address(&spec).unwrap();
        assert_eq!(bindings(&lan.said()), []);
        // "Who has CLIENT, tell ...": the router's own address, never the virtual one.
        Lan::talk(VIRTUAL, CLIENT);
        assert_eq!(bindings(&lan.said())[..1], [(ROUTER.into(), lan.mac, lan.mac)]);
        lan.said();
        // "Who has VIRTUAL": one answer, from the virtual MAC address.
        lan.ask(VIRTUAL);
        assert_eq!(bindings(&lan.said()), [(VIRTUAL.into(), mac, mac)]);
        lan.ask(ROUTER);
        assert_eq!(bindings(&lan.said()), [(ROUTER.into(), lan.mac, lan.mac)]);
        // The test can fail: without the setting the leak is there.
        sysctl::write("net/ipv4/conf/ours/arp_announce", "0").unwrap();
        Lan::talk(VIRTUAL, Ipv4Addr::new(10, 9, 0, 51));
        assert!(bindings(&lan.said()).contains(&(VIRTUAL.into(), lan.mac, lan.mac)));
        vmacs.close().unwrap();
    });
}

#[test]
fn rfc9568_8_2_2_only_an_active_answers_solicitations_and_nothing_binds_the_address_to_another_mac() {
    on_a_lan("bind6", |mut lan| {
        if !has_ipv6() {
            eprintln!("skipped: the kernel has no IPv6");
            return;
        }
        let mut own = AddressSpec::new(lan.ours, "2001:db8::1".parse().unwrap(), 64);
        own.preferred_lft = None;
        lan.client.add_address(&own).unwrap();
        let mut vmacs = Vmacs::open(&lan.notes()).unwrap();
        let mac = virtual_mac(Family::V6);
        lan.said();
        let vmac = vmacs.ensure("vrrp6.51", lan.ours, mac, true).unwrap();
        assert_eq!(from(&lan.said(), mac), 0, "a muted one is silent");
        vmac.prepare().unwrap();
        vmac.unmute().unwrap();
        lan.client.add_address(&AddressSpec::new(vmac.index, VIRTUAL_V6.into(), 128)).unwrap();
        let held = lan.client.addresses().unwrap().into_iter().filter(|a| a.interface == vmac.index);
        assert_eq!(held.map(|a| a.ip).collect::<Vec<_>>(), [VIRTUAL_V6], "no link-local address by itself");
        Lan::talk(VIRTUAL_V6, CLIENT_V6);
        let said = bindings(&lan.said());
        assert!(!said.is_empty());
        assert!(said.iter().all(|(address, _, _)| *address != VIRTUAL_V6), "{said:?}");
        lan.say(&solicitation(VIRTUAL_V6));
        // What the router asks about the client in turn may come from either; what binds the virtual address
        // says the virtual MAC address.
        let said: Vec<_> = bindings(&lan.said()).into_iter().filter(|(address, ..)| *address == VIRTUAL_V6).collect();
        assert!(!said.is_empty());
        assert!(said.iter().all(|binding| *binding == (VIRTUAL_V6.into(), mac, mac)), "{said:?}");
        vmac.mute().unwrap();
        lan.said();
        lan.say(&solicitation(VIRTUAL_V6));
        assert_eq!(bindings(&lan.said()), []);
        vmacs.close().unwrap();
    });
}

#[test]
fn rfc9568_8_2_2_a_solicitation_is_answered_as_a_router() {
    on_a_lan("router", |mut lan| {
        if !has_ipv6() {
            eprintln!("skipped: the kernel has no IPv6");
            return;
        }
        let mut vmacs = Vmacs::open(&lan.notes()).unwrap();
        let vmac = vmacs.ensure("vrrp6.51", lan.ours, virtual_mac(Family::V6), true).unwrap();
        vmac.prepare().unwrap();
        lan.client.add_address(&AddressSpec::new(vmac.index, VIRTUAL_V6.into(), 64)).unwrap();
        vmac.unmute().unwrap();
        lan.said();
        lan.say(&solicitation(VIRTUAL_V6));
        let said = lan.said();
        let flags = said.iter().find(|frame| frame[12..14] == [0x86, 0xdd] && frame[54] == 136).map(|frame| frame[58]);
        const ROUTER_AND_SOLICITED: u8 = 0x80 | 0x40;
        assert_eq!(flags.map(|flags| flags & ROUTER_AND_SOLICITED), Some(ROUTER_AND_SOLICITED));
        // The machine as a whole forwards as little as before.
        assert_eq!(sysctl::read("net/ipv6/conf/all/forwarding").unwrap(), "0");
        vmacs.close().unwrap();
    });
}

#[test]
fn rfc9568_7_4_the_virtual_mac_makes_no_interface_identifier() {
    on_a_lan("identifier", |mut lan| {
        if !has_ipv6() {
            eprintln!("skipped: the kernel has no IPv6");
            return;
        }
        let mut vmacs = Vmacs::open(&lan.notes()).unwrap();
        let vmac = vmacs.ensure("vrrp6.51", lan.ours, virtual_mac(Family::V6), true).unwrap();
        vmac.prepare().unwrap();
        vmac.unmute().unwrap();
        let spec = AddressSpec::new(vmac.index, VIRTUAL_V6.into(), 64);
        lan.client.add_address(&spec).unwrap();
        lan.said();
        let there = lan.client.addresses().unwrap().into_iter().filter(|address| address.interface == vmac.index);
        assert_eq!(there.map(|address| address.ip).collect::<Vec<_>>(), [VIRTUAL_V6]);
        vmacs.close().unwrap();
    });
}

/// The client's Neighbour Solicitation for `target`.
fn solicitation(target: Ipv6Addr) -> Vec<u8> {
    use steadfast_core::wire::checksum::Sum;
    let group = steadfast_core::wire::ndisc::solicited_node(target);
    let mut frame = Vec::new();
    frame.extend(ip::multicast_mac(group.into()).0);
    frame.extend(CLIENT_MAC.0);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]);
    frame.extend(CLIENT_V6.octets());
    frame.extend(group.octets());
    frame.extend([135, 0, 0, 0, 0, 0, 0, 0]);
    frame.extend(target.octets());
    frame.extend([1, 1]);
    frame.extend(CLIENT_MAC.0);
    let mut pseudo = frame[22..54].to_vec();
    pseudo.extend([0, 0, 0, 32, 0, 0, 0, 58]);
    pseudo.extend(&frame[54..]);
    let checksum = Sum::of(&pseudo).checksum().to_be_bytes();
    frame[56..58].copy_from_slice(&checksum);
    frame
}

#[test]
fn rfc9568_6_4_2_frames_for_the_virtual_mac_are_forwarded_only_while_active() {
    on_a_lan("forward", |mut lan| {
        let (second, wire) = lan.client.create_veth("second", "wire").unwrap();
        lan.client.set_up(wire).unwrap();
        lan.client.set_up(second).unwrap();
        lan.client.add_address(&AddressSpec::new(second, "10.8.0.1".parse().unwrap(), 24)).unwrap();
        sysctl::write("net/ipv4/conf/all/forwarding", "1").unwrap();
        sysctl::write("net/ipv4/conf/wire/forwarding", "0").unwrap();
        let beyond = socket::packet().unwrap();
        socket::bind_packet(beyond.as_fd(), wire, ip::ETHERTYPE_ARP).unwrap();
        let mut vmacs = Vmacs::open(&lan.notes()).unwrap();
        let mac = virtual_mac(Family::V4);
        let vmac = vmacs.ensure("vrrp.51", lan.ours, mac, false).unwrap();
        // A packet that is forwarded makes the router ask for its destination on the other side.
        let forwarded = |host: u8| {
            let destination = Ipv4Addr::new(10, 8, 0, host);
            let mut frame = [0; 64];
            let to = Some(mac);
            let length =
                ip::emit_frame(CLIENT_MAC, to, CLIENT.into(), destination.into(), &mut frame, |_| Ok(8)).unwrap();
            lan.say(&frame[..length]);
            let mut set = PollSet::new();
            set.add(beyond.as_fd());
            let asked = set.wait(Some(Duration::from_millis(300))).unwrap() > 0;
            while socket::receive(beyond.as_fd(), &mut [0; 64]).unwrap().is_some() {}
            asked
        };
        assert!(!forwarded(10));
        vmac.prepare().unwrap();
        vmac.unmute().unwrap();
        assert!(forwarded(20));
        vmac.mute().unwrap();
        assert!(!forwarded(30));
        vmacs.close().unwrap();
    });
}

#[test]
fn rfc9568_8_1_1_no_redirect_comes_from_the_virtual_link() {
    on_a_lan("redirect", |mut lan| {
        sysctl::write("net/ipv4/conf/all/forwarding", "1").unwrap();
        sysctl::write("net/ipv4/conf/theirs/forwarding", "0").unwrap();
        let mut vmacs = Vmacs::open(&lan.notes()).unwrap();
        let mac = virtual_mac(Family::V4);
        let vmac = vmacs.ensure("vrrp.51", lan.ours, mac, false).unwrap();
        vmac.prepare().unwrap();
        vmac.unmute().unwrap();
        // Only the virtual link has the network, so that what comes from there goes back to there.
        lan.client.add_address(&AddressSpec::new(vmac.index, Ipv4Addr::new(10, 7, 0, 100).into(), 24)).unwrap();
        // A packet from one host of the network to another, by way of the router. Whoever is told of the shorter way is
        // asked for its MAC address before.
        let redirected = |from: u8| {
            let [source, destination] = [from, from + 100].map(|host| Ipv4Addr::new(10, 7, 0, host));
            let mut frame = [0; 64];
            let to = Some(mac);
            let length =
                ip::emit_frame(CLIENT_MAC, to, source.into(), destination.into(), &mut frame, |_| Ok(8)).unwrap();
            lan.say(&frame[..length]);
            let asked: Vec<_> = lan
                .said()
                .iter()
                .filter(|frame| frame[12..14] == [0x08, 0x06])
                .map(|frame| <[u8; 4]>::try_from(&frame[38..42]).unwrap())
                .collect();
            assert!(asked.contains(&destination.octets()), "it is forwarded");
            asked.contains(&source.octets())
        };
        assert!(!redirected(50));
        // The test can fail: so it is where nobody sees to it.
        sysctl::write("net/ipv4/conf/vrrp.51/send_redirects", "1").unwrap();
        assert!(redirected(51));
        vmacs.close().unwrap();
    });
}

#[test]
fn redirects_of_other_interfaces_go_on_as_they_were() {
    on_a_lan("others-redirect", |mut lan| {
        let names = ["all", "default", "ours", "theirs"];
        let all = || names.map(|name| sysctl::read(&format!("net/ipv4/conf/{name}/send_redirects")).unwrap());
        for (before, during) in [
            (["1", "1", "1", "1"], ["0", "1", "1", "1"]),
            (["1", "0", "1", "0"], ["0", "1", "1", "1"]),
            (["0", "0", "1", "0"], ["0", "0", "1", "0"]),
        ] {
            for (name, value) in names.iter().zip(before) {
                sysctl::write(&format!("net/ipv4/conf/{name}/send_redirects"), value).unwrap();
            }
            let mut killed = Vmacs::open(&lan.notes()).unwrap();
            killed.ensure("vrrp.51", lan.ours, virtual_mac(Family::V4), false).unwrap();
            drop(killed);
            let mut vmacs = Vmacs::open(&lan.notes()).unwrap();
            let first = vmacs.ensure("vrrp.51", lan.ours, virtual_mac(Family::V4), false).unwrap();
            let second = vmacs.ensure("vrrp.52", lan.ours, virtual_mac(Family::V6), false).unwrap();
            vmacs.clean().unwrap();
            assert_eq!(all(), during);
            vmacs.remove(&first).unwrap();
            assert_eq!(all(), during);
            assert_eq!(sysctl::read("net/ipv4/conf/vrrp.52/send_redirects").unwrap(), "0");
            vmacs.remove(&second).unwrap();
            assert_eq!(all(), before);
            assert_eq!(fs::read_dir(&lan.directory).unwrap().count(), 0, "no notes are left");
        }
        assert_eq!(lan.client.link("vrrp.51").unwrap(), None);
    });
}

#[test]
fn an_active_hears_another_active_with_the_same_mac_address() {
    on_a_lan("hear", |mut lan| {
        let mut vmacs = Vmacs::open(&lan.notes()).unwrap();
        for family in [Family::V4, Family::V6] {
            if family == Family::V6 && !has_ipv6() {
                continue;
            }
            let mac = virtual_mac(family);
            let name = if family == Family::V4 { "vrrp.51" } else { "vrrp6.51" };
            let vmac = vmacs.ensure(name, lan.ours, mac, family == Family::V6).unwrap();
            vmac.prepare().unwrap();
            vmac.unmute().unwrap();
            let receiver = receiver(family, lan.ours).unwrap();
            let mut queue = ReceiveQueue::default();
            let (source, group): (IpAddr, IpAddr) = match family {
                Family::V4 => (Ipv4Addr::new(10, 9, 0, 2).into(), GROUP_V4.into()),
                Family::V6 => ("fe80::2".parse().unwrap(), GROUP_V6.into()),
            };
            let mut frame = [0; 128];
            let length = ip::emit_frame(mac, None, source, group, &mut frame, |_| Ok(40)).unwrap();
            lan.say(&frame[..length]);
            wait_for(&receiver);
            let mut from = Vec::new();
            receiver.receive(&mut queue, 10, |envelope, _| from.push(envelope.source)).unwrap();
            assert_eq!(from, [source]);
            // Why the mode is not private.
            lan.client.set_macvlan_mode(vmac.index, MacVlanMode::Private).unwrap();
            lan.say(&frame[..length]);
            let mut set = PollSet::new();
            set.add(receiver.as_fd());
            assert_eq!(set.wait(Some(Duration::from_millis(100))).unwrap(), 0);
        }
        vmacs.close().unwrap();
    });
}

#[test]
fn muting_is_quick_and_nothing_waits_for_a_grace_period() {
    on_a_lan("mute", |lan| {
        let mut vmacs = Vmacs::open(&lan.notes()).unwrap();
        let vmac = vmacs.ensure("vrrp.51", lan.ours, virtual_mac(Family::V4), has_ipv6()).unwrap();
        let mut spans: Vec<_> = (0..21)
            .map(|_| {
                let start = now();
                vmac.prepare().unwrap();
                vmac.unmute().unwrap();
                vmac.mute().unwrap();
                now().since(start)
            })
            .collect();
        spans.sort();
        println!("unmute and mute: median {} us", spans[10].as_micros());
        assert!(spans[10] < Duration::from_millis(5));
        vmacs.close().unwrap();
    });
}

/// Everything that a virtual MAC address could change outside its macvlan.
fn settings() -> Vec<String> {
    let keys = [
        "ours/arp_ignore",
        "ours/arp_announce",
        "ours/rp_filter",
        "ours/forwarding",
        "ours/send_redirects",
        "all/rp_filter",
        "all/send_redirects",
    ];
    keys.iter().map(|key| sysctl::read(&format!("net/ipv4/conf/{key}")).unwrap()).collect()
}

#[test]
fn a_killed_run_is_taken_over_and_the_true_originals_come_back() {
    on_a_lan("restore", |mut lan| {
        sysctl::write("net/ipv4/conf/ours/arp_announce", "1").unwrap();
        sysctl::write("net/ipv4/conf/all/rp_filter", "1").unwrap();
        let before = settings();
        let mac = virtual_mac(Family::V4);
        let mut killed = Vmacs::open(&lan.notes()).unwrap();
        let first = killed.ensure("vrrp.51", lan.ours, mac, false).unwrap();
        killed.ensure("vrrp.52", lan.ours, virtual_mac(Family::V6), false).unwrap();
        assert!(!first.taken_over);
        assert_ne!(settings(), before);
        let spec = AddressSpec::new(first.index, VIRTUAL.into(), 32);
        lan.client.add_address(&spec).unwrap();
        drop(killed);
        let mut vmacs = Vmacs::open(&lan.notes()).unwrap();
        let second = vmacs.ensure("vrrp.51", lan.ours, mac, false).unwrap();
        assert!(second.taken_over && second.index == first.index);
        assert!(lan.client.addresses().unwrap().iter().any(|a| a.ip == spec.ip), "what it held it still holds");
        // 52 is no longer in the configuration.
        vmacs.clean().unwrap();
        assert_eq!(lan.client.link("vrrp.52").unwrap(), None);
        assert_ne!(settings(), before);
        vmacs.remove(&second).unwrap();
        assert_eq!(lan.client.link("vrrp.51").unwrap(), None);
        assert_eq!(settings(), before);
        assert_eq!(fs::read_dir(&lan.directory).unwrap().count(), 0, "no notes are left");
    });
}

#[test]
fn an_interface_stays_as_long_as_somebody_needs_it() {
    on_a_lan("needed", |mut lan| {
        let mac = virtual_mac(Family::V4);
        let mut vmacs = Vmacs::open(&lan.notes()).unwrap();
        let before = settings();
        let first = vmacs.ensure("vrrp.51", lan.ours, mac, false).unwrap();
        first.prepare().unwrap();
        first.unmute().unwrap();
        // A reload wants it again while the router that has it is Active.
        let second = vmacs.ensure("vrrp.51", lan.ours, mac, false).unwrap();
        assert_eq!(first, second);
        let forwarding = sysctl::read("net/ipv4/conf/ours/forwarding").unwrap();
        assert_eq!(sysctl::read("net/ipv4/conf/vrrp.51/forwarding").unwrap(), forwarding, "as it was");
        vmacs.remove(&first).unwrap();
        assert_eq!(lan.client.link("vrrp.51").unwrap().unwrap().index, second.index);
        assert_ne!(settings(), before);
        vmacs.remove(&second).unwrap();
        assert_eq!(lan.client.link("vrrp.51").unwrap(), None);
        assert_eq!(settings(), before);
    });
}

#[test]
fn links_of_others_are_left_alone() {
    on_a_lan("others", |mut lan| {
        let mac = virtual_mac(Family::V4);
        let mut vmacs = Vmacs::open(&lan.notes()).unwrap();
        let error = vmacs.ensure("theirs", lan.ours, mac, false).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
        assert!(vmacs.ensure("vrrp.51", 9_999, mac, false).is_err());
        // One that the administrator made is used and stays.
        let index = lan.client.create_macvlan("vrrp.51", lan.ours, mac, MacVlanMode::Bridge).unwrap();
        let before = sysctl::read("net/ipv4/conf/vrrp.51/accept_local").unwrap();
        let vmac = vmacs.ensure("vrrp.51", lan.ours, mac, false).unwrap();
        assert!(vmac.taken_over && vmac.index == index);
        vmacs.close().unwrap();
        assert_eq!(lan.client.link("vrrp.51").unwrap().unwrap().index, index);
        assert_eq!(sysctl::read("net/ipv4/conf/vrrp.51/accept_local").unwrap(), before);
    });
}

/// What hears the Advertisements of a family on an interface.
fn receiver(family: Family, interface: u32) -> std::io::Result<Receiver> {
    let group = match family {
        Family::V4 => IpAddr::V4(GROUP_V4),
        Family::V6 => IpAddr::V6(GROUP_V6),
    };
    Receiver::open(family, interface, &[group].into())
}
