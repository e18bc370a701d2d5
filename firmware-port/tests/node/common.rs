//! What the tests of the node share: a board that remembers what it was asked to do, a node with one Virtual Router of
//! each family on one port, and frames of other stations. No test is here.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use steadfast_core::agent::{Event, InterfaceId, Link, RouterConfig, RouterId, Settings, State};
use steadfast_core::storage::Fixed;
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Family, MacAddr, Priority, Version, Vrid};
use steadfast_core::wire::advertisement::{Authentication, Form, Outgoing};
use steadfast_core::wire::checksum::{Sum, pseudo_header};
use steadfast_core::wire::ip::emit_frame;
use steadfast_core::wire::ndisc::solicited_node;
use steadfast_core::wire::{GROUP_V4, GROUP_V6};
use steadfast_firmware::hardware::{Busy, NetworkHardware};
use steadfast_firmware::node::{Node, Received};
use steadfast_firmware::vlan::VlanId;

pub(crate) type Store = Fixed<4, 16, 3, 16, 4, 4>;
pub(crate) type TestNode = Node<Store, 3>;

pub(crate) const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
pub(crate) const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
pub(crate) const VIRTUAL_V4: MacAddr = MacAddr([0, 0, 0x5e, 0, 1, 7]);
pub(crate) const VIRTUAL_V6: MacAddr = MacAddr([0, 0, 0x5e, 0, 2, 7]);
pub(crate) const OWN_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(crate) const OTHER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
pub(crate) const VIP_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
pub(crate) const OTHER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
pub(crate) const VIP_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// A second address of the IPv6 router.
pub(crate) const GLOBAL_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x1234);

/// A board that remembers.
#[derive(Default)]
pub(crate) struct Board {
    pub(crate) sent: Vec<(usize, Vec<u8>)>,
    /// The receive filter: interface and MAC address.
    pub(crate) heard: BTreeSet<(usize, MacAddr)>,
    /// What the stack holds.
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// What the maker's forwarding plane has.
    pub(crate) ours: BTreeSet<(usize, MacAddr)>,
    pub(crate) events: Vec<Event>,
    /// Refuse so many frames.
    pub(crate) refuse: usize,
}

impl NetworkHardware for Board {
    fn send(&mut self, interface: InterfaceId, frame: &[u8]) -> Result<(), Busy> {
        if self.refuse > 0 {
            self.refuse -= 1;
            return Err(Busy);
        }
        self.sent.push((interface.index(), frame.to_vec()));
        Ok(())
    }

    fn hear(&mut self, interface: InterfaceId, address: MacAddr, on: bool) {
        change(&mut self.heard, (interface.index(), address), on);
    }

    fn address(&mut self, _: InterfaceId, _: RouterId, address: IpAddr, on: bool) {
        change(&mut self.addresses, address, on);
    }

    fn virtual_mac(&mut self, interface: InterfaceId, address: MacAddr, ours: bool) {
        change(&mut self.ours, (interface.index(), address), ours);
    }

    fn notify(&mut self, event: &Event) {
        self.events.push(*event);
    }
}

fn change<T: Ord>(set: &mut BTreeSet<T>, item: T, on: bool) {
    if on {
        set.insert(item)
    } else {
        set.remove(&item)
    };
}

/// A node, its board and the time.
pub(crate) struct Bench {
    pub(crate) node: TestNode,
    pub(crate) board: Board,
    pub(crate) now: Instant,
    pub(crate) lan: InterfaceId,
}

impl Bench {
    /// One port that is up, without Virtual Routers.
    pub(crate) fn new() -> Self {
        Self::with_vlan(None)
    }

    pub(crate) fn with_vlan(vlan: Option<u16>) -> Self {
        let mut node = Node::new();
        let now = Instant::from_micros(1_000_000);
        let lan = node.add_port(STATION, vlan.map(|number| VlanId::new(number).unwrap())).unwrap();
        let mut bench = Self { node, board: Board::default(), now, lan };
        bench.up(lan, 2);
        bench
    }

    /// Brings a port up, with addresses that end in `host`.
    pub(crate) fn up(&mut self, interface: InterfaceId, host: u8) {
        let v4 = Ipv4Addr::new(192, 0, 2, host);
        let v6 = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host.into());
        self.node.handle_source(self.now, interface, Family::V4, Some(v4.into()));
        self.node.handle_source(self.now, interface, Family::V6, Some(v6.into()));
        self.node.handle_link(self.now, interface, Link::Up);
    }

    /// Adds the Virtual Router of a family, without Accept_Mode.
    pub(crate) fn add(&mut self, family: Family) -> RouterId {
        self.add_with(family, |_| {})
    }

    pub(crate) fn add_with(&mut self, family: Family, change: impl FnOnce(&mut Settings)) -> RouterId {
        let mut settings = settings(family);
        change(&mut settings);
        let v4 = [VIP_V4.into()];
        let v6 = [VIP_V6.into(), GLOBAL_V6.into()];
        let addresses: &[IpAddr] = if family == Family::V4 { &v4 } else { &v6 };
        let config = RouterConfig { interface: self.lan, settings, addresses, excluded: &[], peers: &[] };
        self.node.add(self.now, &config).unwrap()
    }

    /// A port with an Active of this family.
    pub(crate) fn active(family: Family) -> Self {
        Self::active_with(family, |_| {})
    }

    pub(crate) fn active_with(family: Family, change: impl FnOnce(&mut Settings)) -> Self {
        let mut bench = Self::new();
        bench.add_with(family, change);
        bench.run(Duration::from_secs(4));
        assert_eq!(bench.state(), State::Active);
        bench.run(Duration::from_secs(10));
        bench.board.sent.clear();
        bench
    }

    /// A port with a Backup of this family.
    pub(crate) fn backup(family: Family) -> Self {
        let mut bench = Self::new();
        bench.add(family);
        bench.poll();
        assert_eq!(bench.state(), State::Backup);
        bench.board.sent.clear();
        bench
    }

    pub(crate) fn state(&self) -> State {
        let first = self.node.agent().routers().next().unwrap();
        self.node.agent().view(first).unwrap().state
    }

    pub(crate) fn poll(&mut self) -> Option<Instant> {
        let mut next = self.node.poll(self.now, &mut self.board);
        for _ in 0..100 {
            if next.is_none_or(|at| at > self.now) {
                return next;
            }
            next = self.node.poll(self.now, &mut self.board);
        }
        panic!("it is never done");
    }

    /// Lets time pass, polling when it asks for it.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.poll().filter(|at| *at <= end) {
            self.now = at;
        }
        self.now = end;
        self.poll();
    }

    /// A frame from the wire; what is handed up.
    pub(crate) fn receive(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let mut frame = frame.to_vec();
        match self.node.receive(self.now, self.lan, &mut frame) {
            Received::Up(frame) => Some(frame.to_vec()),
            Received::Taken | Received::Dropped => None,
        }
    }

    /// A frame from the wire, and what is sent because of it.
    pub(crate) fn ask(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        self.board.sent.clear();
        assert_eq!(self.receive(frame), None, "handed up");
        self.poll();
        self.sent()
    }

    /// A frame of the stack; what leaves.
    pub(crate) fn transmit(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = frame.to_vec();
        buffer.extend([0; 4]);
        self.node.transmit(self.lan, &mut buffer, frame.len()).map(<[u8]>::to_vec)
    }

    /// What was sent on the first port.
    pub(crate) fn sent(&mut self) -> Vec<Vec<u8>> {
        self.board.sent.drain(..).map(|(_, frame)| frame).collect()
    }
}

pub(crate) fn settings(family: Family) -> Settings {
    let mut settings = Settings::new(family, Vrid::new(7).unwrap());
    settings.version = Version::V3;
    settings.accept = false;
    settings
}

/// An Advertisement of the other station for the Virtual Router of this family.
pub(crate) fn advertisement(family: Family, priority: Option<u8>) -> Vec<u8> {
    let (source, group, addresses): (IpAddr, IpAddr, &[IpAddr]) = match family {
        Family::V4 => (OTHER_V4.into(), GROUP_V4.into(), &[IpAddr::V4(VIP_V4)]),
        Family::V6 => (OTHER_V6.into(), GROUP_V6.into(), &[IpAddr::V6(VIP_V6), IpAddr::V6(GLOBAL_V6)]),
    };
    let settings = settings(family);
    let outgoing = Outgoing {
        version: settings.version,
        vrid: settings.vrid,
        priority: priority.and_then(Priority::new),
        interval: settings.interval,
        authentication: Authentication::None,
        addresses,
    };
    let mut frame = [0; 200];
    let from = settings.vrid.virtual_mac(family);
    let length = emit_frame(from, None, source, group, &mut frame, |room| {
        outgoing.emit(source, group, Form::PseudoHeader, room)
    })
    .unwrap();
    frame[..length].to_vec()
}

pub(crate) fn ethernet(to: MacAddr, from: MacAddr, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&to.0[..], &from.0, &ethertype.to_be_bytes(), payload].concat()
}

/// The frame with a tag.
pub(crate) fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    [&frame[..12], &[0x81, 0], &vlan.to_be_bytes(), &frame[12..]].concat()
}

/// An ARP message: 1 asks, 2 answers.
pub(crate) fn arp(to: MacAddr, operation: u8, from: MacAddr, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let body = [&[0, 1, 8, 0, 6, 4, 0, operation][..], &from.0, &sender.octets(), &[0; 6], &target.octets()].concat();
    ethernet(to, from, 0x0806, &body)
}

pub(crate) fn who_has(target: Ipv4Addr) -> Vec<u8> {
    arp(MacAddr::BROADCAST, 1, OTHER, OTHER_V4, target)
}

/// An IPv4 packet of this protocol.
pub(crate) fn ipv4(
    to: MacAddr,
    from: MacAddr,
    source: Ipv4Addr,
    target: Ipv4Addr,
    protocol: u8,
    body: &[u8],
) -> Vec<u8> {
    let total = u16::try_from(20 + body.len()).unwrap().to_be_bytes();
    let mut header =
        [&[0x45, 0][..], &total, &[0, 0, 0, 0, 64, protocol, 0, 0], &source.octets(), &target.octets()].concat();
    let checksum = Sum::of(&header).checksum();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header.extend(body);
    ethernet(to, from, 0x0800, &header)
}

/// An IPv6 packet with an ICMPv6 message, whose checksum is put in.
pub(crate) fn icmpv6(to: MacAddr, from: MacAddr, source: Ipv6Addr, target: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    let mut message = message.to_vec();
    message[2..4].fill(0);
    let checksum = pseudo_header(source.into(), target.into(), 58, length).plus(&message).checksum();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let [high, low] = length.to_be_bytes();
    let packet = [&[0x60, 0, 0, 0, high, low, 58, 255][..], &source.octets(), &target.octets(), &message].concat();
    ethernet(to, from, 0x86dd, &packet)
}

/// A Neighbour Solicitation of the other station, or with an unspecified source a probe for duplicates.
pub(crate) fn solicitation(source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let mut message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat();
    if !source.is_unspecified() {
        message.extend([&[1, 1][..], &OTHER.0].concat());
    }
    let group = solicited_node(target);
    icmpv6(steadfast_core::wire::ip::multicast_mac(group.into()), OTHER, source, group, &message)
}

/// A Neighbour Advertisement from a station that says to have `target`.
pub(crate) fn neighbour(
    to: MacAddr,
    from: MacAddr,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    target: Ipv6Addr,
) -> Vec<u8> {
    let message = [&[136, 0, 0, 0, 0x60, 0, 0, 0][..], &target.octets(), &[2, 1], &from.0].concat();
    icmpv6(to, from, source, destination, &message)
}

/// Whether the checksum of the ICMPv6 message in this frame is right.
pub(crate) fn icmpv6_is_valid(frame: &[u8]) -> bool {
    let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap());
    let message = &frame[54..];
    let pseudo = pseudo_header(address(22).into(), address(38).into(), 58, u16::try_from(message.len()).unwrap());
    pseudo.plus(message).is_valid()
}
