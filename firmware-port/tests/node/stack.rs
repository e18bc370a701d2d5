//! smoltcp as the oracle: a stack above the node that is between them, and a neighbour on the same network that is
//! nothing but a stack. What the neighbour's own tables and sockets say is the judgement.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;

use crate::common::*;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::socket::{icmp, udp};
use smoltcp::wire::{
    EthernetAddress, HardwareAddress, Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpAddress, IpCidr,
};
use steadfast_core::agent::{InterfaceId, RouterId};
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Family, MacAddr};
use steadfast_core::wire::checksum::Sum;
use steadfast_firmware::device::{Below, Buffers, FrameIo, Under};
use steadfast_firmware::hardware::{Busy, NetworkHardware};

/// A cable with two ends, and what has gone over it from the first.
#[derive(Clone, Default)]
struct Cable(Rc<RefCell<[VecDeque<Vec<u8>>; 2]>>, Rc<RefCell<Vec<Vec<u8>>>>);

/// One end of it, as a driver of smoltcp.
struct End(Cable, usize);

struct Frame(Vec<u8>);

struct Sending<'a>(&'a End);

impl phy::RxToken for Frame {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.put(&frame);
        result
    }
}

impl End {
    fn put(&self, frame: &[u8]) {
        if self.1 == 0 {
            self.0.1.borrow_mut().push(frame.to_vec());
        }
        self.0.0.borrow_mut()[1 - self.1].push_back(frame.to_vec());
    }
}

impl phy::Device for End {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Frame, Sending<'_>)> {
        let frame = self.0.0.borrow_mut()[self.1].pop_front()?;
        Some((Frame(frame), Sending(self)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Sending<'_>> {
        Some(Sending(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

/// The board: sends by the driver, and tells the stack of addresses.
struct Hardware<'a> {
    driver: &'a mut Below<End>,
    stack: &'a mut Interface,
}

impl NetworkHardware for Hardware<'_> {
    fn send(&mut self, _: InterfaceId, frame: &[u8]) -> Result<(), Busy> {
        self.driver.send(frame)
    }

    fn hear(&mut self, _: InterfaceId, _: MacAddr, _: bool) {}

    fn address(&mut self, _: InterfaceId, _: RouterId, address: IpAddr, on: bool) {
        let address = IpCidr::new(address.into(), if address.is_ipv4() { 24 } else { 64 });
        self.stack.update_ip_addrs(|all| {
            all.retain(|held| *held != address);
            if on {
                all.push(address).unwrap();
            }
        });
    }
}

fn stack(device: &mut impl phy::Device, mac: MacAddr, addresses: [IpCidr; 2]) -> Interface {
    let config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac.0)));
    let mut stack = Interface::new(config, device, smoltcp::time::Instant::ZERO);
    stack.update_ip_addrs(|all| all.extend(addresses));
    stack
}

/// The router, its neighbour, and the cable between.
struct Lan {
    cable: Cable,
    node: TestNode,
    driver: Below<End>,
    buffers: Box<Buffers>,
    router: Interface,
    router_sockets: SocketSet<'static>,
    neighbour: Interface,
    neighbour_end: End,
    sockets: SocketSet<'static>,
    icmp: SocketHandle,
    udp: SocketHandle,
    interface: InterfaceId,
    now: Instant,
}

impl Lan {
    /// A router with the Virtual Routers of both families, Active if nobody else is.
    fn new(accept: bool) -> Self {
        let bench = Bench::new();
        let cable = Cable::default();
        let (mut first, mut second) = (End(cable.clone(), 0), End(cable.clone(), 1));
        let v4 = |address: std::net::Ipv4Addr| IpCidr::new(address.into(), 24);
        let v6 = |address: std::net::Ipv6Addr| IpCidr::new(address.into(), 64);
        let router = stack(&mut first, STATION, [v4(OWN_V4), v6(OWN_V6)]);
        let neighbour = stack(&mut second, OTHER, [v4(OTHER_V4), v6(OTHER_V6)]);
        let mut sockets = SocketSet::new(vec![]);
        let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 8], vec![0; 1024]);
        let mut icmp = icmp::Socket::new(buffer(), buffer());
        icmp.bind(icmp::Endpoint::Ident(7)).unwrap();
        let icmp = sockets.add(icmp);
        let mut router_sockets = SocketSet::new(vec![]);
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 8], vec![0; 1024]);
        let udp = router_sockets.add(udp::Socket::new(buffer(), buffer()));
        let Bench { mut node, now, lan, .. } = { bench };
        for family in [Family::V4, Family::V6] {
            let mut settings = settings(family);
            settings.accept = accept;
            let (v4, v6) = ([VIP_V4.into()], [VIP_V6.into()]);
            let addresses: &[IpAddr] = if family == Family::V4 { &v4 } else { &v6 };
            let config =
                steadfast_core::agent::RouterConfig { interface: lan, settings, addresses, excluded: &[], peers: &[] };
            node.add(now, &config).unwrap();
        }
        let (driver, buffers) = (Below(first), Box::new(Buffers::new()));
        Self {
            cable,
            node,
            driver,
            buffers,
            router,
            router_sockets,
            neighbour,
            neighbour_end: second,
            sockets,
            icmp,
            udp,
            interface: lan,
            now,
        }
    }

    fn active(accept: bool) -> Self {
        let mut lan = Self::new(accept);
        lan.run(Duration::from_secs(15));
        lan
    }

    fn time(&self) -> smoltcp::time::Instant {
        smoltcp::time::Instant::from_micros(i64::try_from(self.now.as_micros()).unwrap())
    }

    fn turn(&mut self) {
        let time = self.time();
        let mut under = Under::new(&mut self.node, &mut self.driver, self.interface, &mut self.buffers);
        self.router.poll(time, &mut under, &mut self.router_sockets);
        let mut hardware = Hardware { driver: &mut self.driver, stack: &mut self.router };
        self.node.poll(self.now, &mut hardware);
        self.neighbour.poll(time, &mut self.neighbour_end, &mut self.sockets);
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.turn();
            self.now = self.now + Duration::from_millis(10);
        }
    }

    /// Whether an echo of the neighbour's to this address comes back.
    fn ping(&mut self, target: IpAddr) -> bool {
        let socket = self.sockets.get_mut::<icmp::Socket<'_>>(self.icmp);
        let target = IpAddress::from(target);
        let caps = phy::ChecksumCapabilities::default();
        match target {
            IpAddress::Ipv4(_) => {
                let echo = Icmpv4Repr::EchoRequest { ident: 7, seq_no: 1, data: b"steadfast" };
                let room = socket.send(echo.buffer_len(), target).unwrap();
                echo.emit(&mut Icmpv4Packet::new_unchecked(room), &caps);
            }
            IpAddress::Ipv6(to) => {
                let echo = Icmpv6Repr::EchoRequest { ident: 7, seq_no: 1, data: b"steadfast" };
                let room = socket.send(echo.buffer_len(), target).unwrap();
                echo.emit(&OTHER_V6, &to, &mut Icmpv6Packet::new_unchecked(room), &caps);
            }
        }
        // A stack of smoltcp asks for MAC addresses once a second.
        self.run(Duration::from_millis(1_200));
        let socket = self.sockets.get_mut::<icmp::Socket<'_>>(self.icmp);
        let answered = socket.can_recv();
        while let Ok((_, from)) = socket.recv() {
            assert_eq!(from, target);
        }
        answered
    }

    /// The MAC addresses of which a frame that the router sent says that an address is there.
    fn claims(&self, address: IpAddr) -> Vec<MacAddr> {
        let mac = |bytes: &[u8]| MacAddr(bytes[..6].try_into().unwrap());
        let sent = self.cable.1.borrow();
        let claims = |frame: &Vec<u8>| match address {
            IpAddr::V4(address) if frame[12..14] == [8, 6] && frame[28..32] == address.octets() => {
                vec![mac(&frame[6..]), mac(&frame[22..])]
            }
            IpAddr::V6(address)
                if frame[12..14] == [0x86, 0xdd] && frame[54] == 136 && frame[62..78] == address.octets() =>
            {
                vec![mac(&frame[6..]), mac(&frame[80..])]
            }
            IpAddr::V4(address) if frame[12..14] == [8, 0] && frame[26..30] == address.octets() => {
                vec![mac(&frame[6..])]
            }
            IpAddr::V6(address) if frame[12..14] == [0x86, 0xdd] && frame[22..38] == address.octets() => {
                vec![mac(&frame[6..])]
            }
            _ => vec![],
        };
        sent.iter().flat_map(claims).collect()
    }
}

const BOTH: [(IpAddr, MacAddr); 2] = [(IpAddr::V4(VIP_V4), VIRTUAL_V4), (IpAddr::V6(VIP_V6), VIRTUAL_V6)];

#[test]
fn rfc9568_8_1_2_a_neighbour_resolves_the_address_to_the_virtual_mac_and_only_to_that() {
    for accept in [false, true] {
        let mut lan = Lan::active(accept);
        for (address, mac) in BOTH {
            // With Accept_Mode the echo comes back, from the virtual address and the virtual MAC address.
            assert_eq!(lan.ping(address), accept, "{address}");
            let claims = lan.claims(address);
            assert!(claims.len() >= 2 && claims.iter().all(|claimed| *claimed == mac), "{claims:?}");
        }
    }
}

#[test]
fn the_station_answers_for_itself_as_if_nothing_were_between() {
    let mut lan = Lan::active(false);
    for address in [IpAddr::V4(OWN_V4), OWN_V6.into()] {
        assert!(lan.ping(address));
        assert!(lan.claims(address).contains(&STATION));
    }
}

#[test]
fn rfc9568_6_4_2_a_backup_is_not_there_for_its_neighbour() {
    let mut lan = Lan::new(true);
    lan.run(Duration::from_millis(500));
    for (address, _) in BOTH {
        assert!(!lan.ping(address));
        assert_eq!(lan.claims(address), []);
    }
}

#[test]
fn rfc9568_8_1_2_a_stack_that_speaks_from_the_address_is_known_by_the_virtual_mac() {
    let mut lan = Lan::active(true);
    for (address, mac) in BOTH {
        let socket = lan.router_sockets.get_mut::<udp::Socket<'_>>(lan.udp);
        socket.close();
        let from = IpAddress::from(address);
        socket.bind(udp::UdpMetadata { ..(from, 500).into() }.endpoint).unwrap();
        let to: IpAddress = if address.is_ipv4() { OTHER_V4.into() } else { OTHER_V6.into() };
        socket.send_slice(b"from the virtual address", (to, 500)).unwrap();
        lan.cable.1.borrow_mut().clear();
        lan.run(Duration::from_secs(2));
        let claims = lan.claims(address);
        assert!(!claims.is_empty() && claims.iter().all(|claimed| *claimed == mac), "{claims:?}");
    }
}

#[test]
fn a_new_active_answers_the_first_packet_although_its_stack_has_forgotten_everybody() {
    let mut lan = Lan::new(true);
    while lan.router.ip_addrs().len() < 4 {
        lan.turn();
        lan.now = lan.now + Duration::from_millis(10);
    }
    lan.cable.1.borrow_mut().clear();
    // The neighbour knows the virtual MAC address from the predecessor, and asks nobody.
    let sum = Sum::of(&[8, 0, 0, 0, 0, 7, 0, 1]).checksum().to_be_bytes();
    let echo = [8, 0, sum[0], sum[1], 0, 7, 0, 1];
    lan.neighbour_end.put(&ipv4(VIRTUAL_V4, OTHER, OTHER_V4, VIP_V4, 1, &echo));
    lan.neighbour_end.put(&icmpv6(VIRTUAL_V6, OTHER, OTHER_V6, VIP_V6, &[128, 0, 0, 0, 0, 7, 0, 1]));
    lan.turn();
    let sent = lan.cable.1.borrow();
    let addresses = |mac: MacAddr| [OTHER.0, mac.0].concat();
    assert!(sent.iter().any(|frame| frame[..12] == addresses(VIRTUAL_V4) && frame[34] == 0), "{sent:x?}");
    assert!(sent.iter().any(|frame| frame[..12] == addresses(VIRTUAL_V6) && frame[54] == 129), "{sent:x?}");
}

#[test]
fn a_neighbour_is_introduced_before_its_frame_and_nobody_for_other_frames() {
    /// A driver with frames to receive.
    struct Queue(VecDeque<Vec<u8>>);
    impl FrameIo for Queue {
        fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
            let frame = self.0.pop_front()?;
            buffer[..frame.len()].copy_from_slice(&frame);
            Some(frame.len())
        }
        fn send(&mut self, _: &[u8]) -> Result<(), Busy> {
            Ok(())
        }
    }
    let Bench { mut node, lan, .. } = Bench::with_vlan(Some(300));
    let body = [0x30, 0x39, 0, 7, 0, 8, 0, 0];
    let (v4, away) =
        (|target| ipv4(STATION, OTHER, OTHER_V4, target, 17, &body), std::net::Ipv4Addr::new(203, 0, 113, 5));
    let v6 = |source| icmpv6(STATION, OTHER, source, OWN_V6, &[128, 0, 0, 0, 0, 7, 0, 1]);
    let far = "2001:db8:9::9".parse().unwrap();
    let frames = [v4(OWN_V4), v4(away), v6(OTHER_V6), v6(far)];
    let mut queue = Queue(frames.iter().map(|frame| tagged(frame, 300)).collect());
    let mut buffers = Box::new(Buffers::<200>::new());
    let mut handed = Vec::new();
    loop {
        // A new one each time, as on a board.
        let mut under = Under::new(&mut node, &mut queue, lan, &mut buffers);
        let Some((frame, _)) = phy::Device::receive(&mut under, smoltcp::time::Instant::ZERO) else { break };
        handed.push(phy::RxToken::consume(frame, <[u8]>::to_vec));
    }
    let [own, elsewhere, near, from_far] = frames;
    let reply = ethernet(
        STATION,
        OTHER,
        0x0806,
        &[&[0, 1, 8, 0, 6, 4, 0, 2][..], &OTHER.0, &OTHER_V4.octets(), &STATION.0, &OWN_V4.octets()].concat(),
    );
    assert_eq!(handed.len(), 6);
    assert_eq!((&handed[0], &handed[1], &handed[2]), (&reply, &own, &elsewhere));
    assert_eq!((handed[3][54], &handed[3][22..38], &handed[3][80..]), (136, &OTHER_V6.octets()[..], &OTHER.0[..]));
    assert_eq!((&handed[4], &handed[5]), (&near, &from_far));
}

#[test]
fn who_steps_down_takes_the_addresses_off_its_stack() {
    let mut lan = Lan::active(true);
    assert_eq!(lan.router.ip_addrs().len(), 4);
    for family in [Family::V4, Family::V6] {
        lan.neighbour_end.put(&advertisement(family, Some(200)));
    }
    lan.turn();
    assert_eq!(lan.router.ip_addrs().len(), 2);
    lan.cable.1.borrow_mut().clear();
    for (address, _) in BOTH {
        assert!(!lan.ping(address));
        assert_eq!(lan.claims(address), []);
        for family in [Family::V4, Family::V6] {
            lan.neighbour_end.put(&advertisement(family, Some(200)));
        }
        lan.turn();
    }
}
