//! The sockets and netlink against the real kernel, in network namespaces of their own: what goes in at one
//! end of a virtual cable, and what the other end then says of it. Skipped where no namespace can be made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

use steadfast_core::time::Duration;
use steadfast_core::types::{Family, MacAddr};
use steadfast_core::wire::{Envelope, GROUP_V4, GROUP_V6, ip};
use steadfast_linux::netlink::{AddressChanger, AddressFlags, AddressSpec, Change, Client, Event, Link, Monitor};
use steadfast_linux::socket::{AdvertSender, FrameSender, ReceiveQueue, Receiver, Sent};
use steadfast_linux::sys::poll::PollSet;
use steadfast_linux::sys::process::{Namespaces, unshare};

/// Runs `test` in a thread with a network of its own.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let result = std::thread::spawn(move || match unshare(Namespaces::NETWORK) {
        Ok(()) => test(),
        Err(error) => eprintln!("skipped: needs root or user namespaces ({error})"),
    })
    .join();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// Two ends of a cable, both up and able to carry: ours, and the one that plays the network.
struct Cable {
    client: Client,
    ours: u32,
    theirs: u32,
}

fn cable() -> Cable {
    let mut monitor = Monitor::open().unwrap();
    let mut client = Client::open().unwrap();
    let (ours, theirs) = client.create_veth("ours", "theirs").unwrap();
    client.set_up(ours).unwrap();
    client.set_up(theirs).unwrap();
    // The kernel notices a carrier some time after the other end has gone up, and loses what is sent before.
    for end in [ours, theirs] {
        let running = |event: &Event| matches!(event, Event::Link(link) if link.index == end && link.running);
        if !client.link_at(end).unwrap().unwrap().running {
            hear_until(&mut monitor, &mut Vec::new(), running);
        }
    }
    Cable { client, ours, theirs }
}

fn has_ipv6() -> bool {
    let there = std::path::Path::new("/proc/sys/net/ipv6").exists();
    if !there {
        eprintln!("skipped: the kernel has no IPv6");
    }
    there
}

fn wait_for(fd: impl AsFd) {
    let mut set = PollSet::new();
    set.add(fd.as_fd());
    assert_eq!(set.wait(Some(Duration::from_secs(5))).unwrap(), 1, "nothing came within 5 s");
}

/// Collects what the monitor says until it has said what `wanted` accepts.
fn hear_until(monitor: &mut Monitor, events: &mut Vec<Event>, wanted: impl Fn(&Event) -> bool) {
    while !events.iter().any(&wanted) {
        wait_for(&*monitor);
        monitor.receive(1_000, |event| events.push(event)).unwrap();
    }
}

/// Everything a receiver hands on until it is silent.
fn drain(receiver: &Receiver) -> Vec<(Envelope, Vec<u8>)> {
    let mut queue = ReceiveQueue::default();
    let mut packets = Vec::new();
    let drained =
        receiver.receive(&mut queue, 1_000, |envelope, payload| packets.push((*envelope, payload.to_vec()))).unwrap();
    assert_eq!((drained.packets, drained.unreadable, drained.pending), (packets.len(), 0, false));
    packets
}

fn sent(count: usize) -> Sent {
    Sent { sent: count, ..Sent::default() }
}

const VIRTUAL: MacAddr = MacAddr([0, 0, 0x5e, 0, 1, 51]);
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 7);

#[test]
fn links_are_made_found_changed_and_deleted() {
    in_namespace(|| {
        let mut cable = cable();
        let bridge = cable.client.create_bridge("bridge").unwrap();
        cable.client.set_controller(cable.theirs, Some(bridge)).unwrap();
        cable.client.set_mac(cable.ours, VIRTUAL).unwrap();
        let ours = cable.client.link("ours").unwrap().unwrap();
        assert_eq!((ours.index, ours.mac, ours.up, ours.running), (cable.ours, Some(VIRTUAL), true, true));
        assert_eq!((ours.kind.as_deref(), ours.parent, ours.mtu), (Some("veth"), Some(cable.theirs), 1500));
        assert_eq!(cable.client.link("theirs").unwrap().unwrap().controller, Some(bridge));
        cable.client.set_controller(cable.theirs, None).unwrap();
        assert_eq!(cable.client.link("theirs").unwrap().unwrap().controller, None);
        cable.client.set_down(cable.theirs).unwrap();
        cable.client.rename(cable.theirs, "renamed").unwrap();
        let ours = cable.client.link("ours").unwrap().unwrap();
        assert!(ours.up && !ours.running, "the other end is down");
        cable.client.delete_link(cable.ours).unwrap();
        let mut names: Vec<_> = cable.client.links().unwrap().into_iter().map(|link| link.name).collect();
        names.sort();
        assert_eq!(names, ["bridge", "lo"]);
        assert_eq!(cable.client.delete_link(cable.ours).unwrap_err().raw_os_error(), Some(libc::ENODEV));
    });
}

#[test]
fn addresses_carry_what_was_asked_for() {
    in_namespace(|| {
        let mut cable = cable();
        let mut spec = AddressSpec::new(cable.ours, "10.9.0.1".parse().unwrap(), 24);
        spec.label = Some("ours:vip".into());
        spec.broadcast = Some("10.9.0.255".parse().unwrap());
        cable.client.add_address(&spec).unwrap();
        cable.client.add_address(&spec).unwrap();
        let found: Vec<_> = cable.client.addresses().unwrap().into_iter().filter(|a| a.ip == spec.ip).collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].prefix_len, found[0].label.as_deref()), (24, Some("ours:vip")));
        assert!(found[0].is_usable() && found[0].protocol == 18 && found[0].family() == Family::V4);
        cable.client.remove_address(&spec).unwrap();
        assert_eq!(cable.client.remove_address(&spec).unwrap_err().kind(), std::io::ErrorKind::AddrNotAvailable);
        if has_ipv6() {
            let spec = AddressSpec::new(cable.ours, "2001:db8::1".parse().unwrap(), 128);
            cable.client.add_address(&spec).unwrap();
            let found = cable.client.addresses().unwrap().into_iter().find(|a| a.ip == spec.ip).unwrap();
            assert!(found.is_usable(), "no duplicate address detection");
            assert!(found.flags.contains(AddressFlags::Deprecated), "never a source by itself");
            cable.client.remove_address(&spec).unwrap();
        }
    });
}

#[test]
fn a_train_of_changes_is_answered_once_in_order() {
    in_namespace(|| {
        let mut cable = cable();
        let specs: Vec<_> =
            (1..=200).map(|n| AddressSpec::new(cable.ours, Ipv4Addr::new(10, 9, 1, n).into(), 32)).collect();
        let nowhere = AddressSpec::new(9_999, "10.9.9.9".parse().unwrap(), 32);
        let mut changer = AddressChanger::open().unwrap();
        assert!(!changer.is_waiting());
        changer.submit("empty", []);
        changer.submit("all", specs.iter().map(Change::Add));
        // What is there already is no error; what cannot be is the first one's, and the rest is done.
        changer.submit("wrong", [Change::Add(&specs[0]), Change::Add(&nowhere), Change::Down(9_998)]);
        changer.submit("gone", [Change::Remove(&specs[0]), Change::Remove(&specs[0]), Change::Remove(&nowhere)]);
        let mut results = Vec::new();
        while changer.is_waiting() {
            if results.is_empty() {
                wait_for(&changer);
            }
            changer.completed(|tag, result, _| results.push((tag, result.map_err(|e| e.raw_os_error())))).unwrap();
        }
        let failed = Err(Some(libc::ENODEV));
        assert_eq!(results, [("empty", Ok(())), ("all", Ok(())), ("wrong", failed), ("gone", Ok(()))]);
        let held =
            cable.client.addresses().unwrap().into_iter().filter(|a| a.interface == cable.ours && a.ip.is_ipv4());
        assert_eq!(held.count(), 199);
    });
}

#[test]
fn the_monitor_tells_of_links_and_addresses() {
    in_namespace(|| {
        let mut monitor = Monitor::open().unwrap();
        let mut cable = cable();
        let mut events = Vec::new();
        hear_until(
            &mut monitor,
            &mut events,
            |event| matches!(event, Event::Link(link) if link.index == cable.ours && link.running),
        );
        let spec = AddressSpec::new(cable.ours, "10.9.0.1".parse().unwrap(), 24);
        cable.client.add_address(&spec).unwrap();
        cable.client.remove_address(&spec).unwrap();
        let bridge = cable.client.create_bridge("bridge").unwrap();
        cable.client.set_controller(cable.theirs, Some(bridge)).unwrap();
        cable.client.set_controller(cable.theirs, None).unwrap();
        cable.client.set_down(cable.theirs).unwrap();
        cable.client.delete_link(cable.ours).unwrap();
        hear_until(&mut monitor, &mut events, |event| matches!(event, Event::LinkGone(link) if link.name == "theirs"));
        let ours = |link: &Link| link.index == cable.ours;
        assert!(events.iter().any(|event| matches!(event, Event::Link(link) if ours(link) && !link.running)));
        assert!(events.iter().any(|event| matches!(event, Event::AddressAdded(address) if address.ip == spec.ip)));
        assert!(events.iter().any(|event| matches!(event, Event::AddressRemoved(address) if address.ip == spec.ip)));
        // A port that leaves a bridge is not a link that is gone, though the kernel's message looks like it.
        let gone = events.iter().filter(|event| matches!(event, Event::LinkGone(link) if link.name == "theirs"));
        assert_eq!(gone.count(), 1);
    });
}

#[test]
fn a_monitor_that_is_overrun_says_so() {
    in_namespace(|| {
        let mut monitor = Monitor::open().unwrap();
        let cable = cable();
        let mut changer = AddressChanger::open().unwrap();
        let spec = AddressSpec::new(cable.ours, "10.9.0.1".parse().unwrap(), 32);
        let mut overrun = false;
        for _ in 0..200 {
            changer.submit((), (0..100).flat_map(|_| [Change::Add(&spec), Change::Remove(&spec)]));
            changer.completed(|(), result, _| result.unwrap()).unwrap();
        }
        while monitor.receive(1_000, |event| overrun |= event == Event::Overrun).unwrap() {}
        assert!(overrun);
    });
}

/// Sends `count` Advertisements over IPv4 from the other end, as whole frames.
fn inject(cable: &Cable, destination: Ipv4Addr, mac: Option<MacAddr>, payload: &[u8], ttl: u8) {
    let mut frames = FrameSender::open().unwrap();
    frames
        .push(cable.theirs, |buffer| {
            let length = ip::emit_frame(VIRTUAL, mac, STRANGER.into(), destination.into(), buffer, |buffer| {
                buffer[..payload.len()].copy_from_slice(payload);
                Ok(payload.len())
            })?;
            if ttl != 255 {
                buffer[22] = ttl;
                // RFC 1624: the checksum grows by what the field shrank.
                let checksum = u16::from_be_bytes([buffer[24], buffer[25]]) as u32 + (u32::from(255 - ttl) << 8);
                let checksum = (checksum & 0xffff) + (checksum >> 16);
                buffer[24..26].copy_from_slice(&(checksum as u16).to_be_bytes());
            }
            Ok(length)
        })
        .unwrap();
    assert_eq!(frames.flush(), sent(1));
}

#[test]
fn a_receiver_hears_the_group_on_its_interface_and_nothing_foreign() {
    in_namespace(|| {
        let mut cable = cable();
        let ours: IpAddr = "10.9.0.1".parse().unwrap();
        cable.client.add_address(&AddressSpec::new(cable.ours, ours, 24)).unwrap();
        let mac = cable.client.link("ours").unwrap().unwrap().mac;
        let (receiver, other) =
            (receiver(Family::V4, cable.ours).unwrap(), receiver(Family::V4, cable.theirs).unwrap());
        // Another group, or for another host: never seen.
        inject(&cable, Ipv4Addr::new(224, 0, 0, 5), None, b"another group", 255);
        inject(&cable, GROUP_V4, Some(VIRTUAL), b"another host", 255);
        // What must be counted by name passes: a wrong TTL, no payload, a long one, unicast to us.
        inject(&cable, GROUP_V4, None, b"first", 255);
        inject(&cable, GROUP_V4, None, b"ttl", 254);
        inject(&cable, GROUP_V4, None, b"", 255);
        inject(&cable, GROUP_V4, None, &[7; 1_200], 255);
        let IpAddr::V4(unicast) = ours else { unreachable!() };
        inject(&cable, unicast, mac, b"unicast", 255);
        wait_for(&receiver);
        let group = Envelope { source: STRANGER.into(), destination: GROUP_V4.into(), hop_limit: 255 };
        let expected = [
            (group, b"first".to_vec()),
            (Envelope { hop_limit: 254, ..group }, b"ttl".to_vec()),
            (group, vec![]),
            (group, vec![7; 1_200]),
            (Envelope { destination: ours, ..group }, b"unicast".to_vec()),
        ];
        assert_eq!(drain(&receiver), expected);
        assert_eq!(drain(&other), []);
    });
}

#[test]
fn a_budget_leaves_the_rest_in_the_queue() {
    in_namespace(|| {
        let cable = cable();
        let receiver = receiver(Family::V4, cable.ours).unwrap();
        for _ in 0..100 {
            inject(&cable, GROUP_V4, None, b"x", 255);
        }
        let mut queue = ReceiveQueue::default();
        let drained = receiver.receive(&mut queue, 70, |_, _| {}).unwrap();
        assert_eq!((drained.packets, drained.pending), (70, true));
        assert_eq!(drain(&receiver).len(), 30);
    });
}

#[test]
fn advertisements_leave_with_any_source_and_no_copy_comes_back() {
    in_namespace(|| {
        let cable = cable();
        // Neither end has an address: the source is ours to choose.
        let (ours, theirs) = (receiver(Family::V4, cable.ours).unwrap(), receiver(Family::V4, cable.theirs).unwrap());
        let mut sender = AdvertSender::open(Family::V4).unwrap();
        for number in 0..150_u8 {
            let payload = |buffer: &mut [u8]| {
                buffer[..8].fill(number);
                Ok(8)
            };
            sender.push(cable.ours, STRANGER.into(), GROUP_V4.into(), payload).unwrap();
        }
        assert_eq!(sender.flush(), sent(150));
        wait_for(&theirs);
        let heard = drain(&theirs);
        assert_eq!(heard.len(), 150);
        assert!(heard.iter().enumerate().all(|(number, (envelope, payload))| {
            envelope.source == IpAddr::V4(STRANGER) && envelope.hop_limit == 255 && payload == &[number as u8; 8]
        }));
        assert_eq!(drain(&ours), []);
        assert!(sender.push(cable.ours, "fe80::1".parse().unwrap(), GROUP_V6.into(), |_| Ok(0)).is_err());
    });
}

#[test]
fn a_message_that_fails_does_not_stop_the_batch() {
    in_namespace(|| {
        let mut cable = cable();
        let theirs = receiver(Family::V4, cable.theirs).unwrap();
        let (down, _) = cable.client.create_veth("down", "down1").unwrap();
        let mut sender = AdvertSender::open(Family::V4).unwrap();
        for interface in [down, cable.ours, 9_999, cable.ours, down] {
            sender.push(interface, STRANGER.into(), GROUP_V4.into(), |_| Ok(8)).unwrap();
        }
        let result = sender.flush();
        assert_eq!((result.sent, result.dropped, result.failed), (2, 0, 3));
        assert_eq!(result.first_failure.map(|(interface, _)| interface), Some(down));
        wait_for(&theirs);
        assert_eq!(drain(&theirs).len(), 2);
    });
}

#[test]
fn ipv6_advertisements_carry_source_and_hop_limit() {
    in_namespace(|| {
        if !has_ipv6() {
            return;
        }
        let mut monitor = Monitor::open().unwrap();
        let cable = cable();
        // The kernel routes IPv6 multicast over a link once it has configured it, which its own address shows.
        hear_until(
            &mut monitor,
            &mut Vec::new(),
            |event| matches!(event, Event::AddressAdded(address) if address.interface == cable.ours),
        );
        let (ours, theirs) = (receiver(Family::V6, cable.ours).unwrap(), receiver(Family::V6, cable.theirs).unwrap());
        let mut sender = AdvertSender::open(Family::V6).unwrap();
        // Not an address of the interface: that needs the free choice of a source.
        let source: Ipv6Addr = "fe80::5:77".parse().unwrap();
        for _ in 0..3 {
            sender.push(cable.ours, source.into(), GROUP_V6.into(), |_| Ok(40)).unwrap();
        }
        assert_eq!(sender.flush(), sent(3));
        wait_for(&theirs);
        let envelope = Envelope { source: source.into(), destination: GROUP_V6.into(), hop_limit: 255 };
        assert_eq!(drain(&theirs), vec![(envelope, vec![0; 40]); 3]);
        assert_eq!(drain(&ours), []);
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
