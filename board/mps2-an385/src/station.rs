//! The station on the wire: smoltcp's interface above, the chip below, and the firmware's node between them. Whom the
//! console asks about it is in `host`.

use core::net::{IpAddr, Ipv6Addr};

use heapless::Vec;
use smoltcp::iface::{Config, Interface, PollIngressSingleResult, SocketSet};
use smoltcp::wire::{EthernetAddress, IpCidr};
use steadfast_core::agent::{Event, EventKind, InterfaceId, Link, RouterId, State};
use steadfast_core::storage::Fixed;
use steadfast_core::time::Instant;
use steadfast_core::types::{Family, MacAddr};
use steadfast_core::wire::PROTOCOL;
use steadfast_core::wire::ip::multicast_mac;
use steadfast_core::wire::ndisc::solicited_node;
use steadfast_firmware::device::{Buffers, FrameIo, Under};
use steadfast_firmware::hardware::{Busy, NetworkHardware};
use steadfast_firmware::node::Node;

use crate::address::{self, Own};
use crate::clock::Time;
use crate::host::Names;
use crate::lan9118::Lan9118;
use crate::{info, uart, warn};

/// What the configuration calls the one interface.
pub const INTERFACE: &str = "eth0";

/// Four Virtual Routers of IPv4 and four of IPv6, with four addresses each.
pub const ROUTERS: usize = 8;
const ADDRESSES: usize = 32;
/// Events that are told in one turn.
const EVENTS: usize = 8;
/// Sync groups, and members of them.
const GROUPS: usize = 4;

/// The memory of the agent.
pub type Storage = Fixed<ROUTERS, ADDRESSES, 1, EVENTS, 0, GROUPS>;

/// What the receive filter knows the station's own groups by; no interface has this number.
const OWN: u8 = u8::MAX;

/// How many frames are taken in before what is owed is sent.
const BUDGET: usize = 32;

/// The station. What is large is lent, so that it is never moved.
pub struct Station<'a> {
    pub node: &'a mut Node<Storage, 1>,
    pub lan: InterfaceId,
    pub chip: Lan9118,
    pub stack: &'a mut Interface,
    pub names: Names,
    buffers: &'a mut Buffers,
    own: Vec<Own, { address::MOST }>,
}

/// The stack's interface for a port; it has no addresses.
pub fn stack(
    node: &mut Node<Storage, 1>,
    chip: &mut Lan9118,
    lan: InterfaceId,
    buffers: &mut Buffers,
    now: Instant,
) -> Interface {
    let config = Config::new(EthernetAddress(chip.station().0).into());
    Interface::new(config, &mut Under::new(node, chip, lan, buffers), smoltcp_time(now))
}

impl<'a> Station<'a> {
    /// A station whose only address is its link-local one.
    pub fn new(
        now: Instant,
        node: &'a mut Node<Storage, 1>,
        lan: InterfaceId,
        chip: Lan9118,
        stack: &'a mut Interface,
        buffers: &'a mut Buffers,
    ) -> Self {
        let mut station = Self { node, lan, chip, stack, names: Names::default(), buffers, own: Vec::new() };
        station.readdress(now, Vec::new());
        station.link(now);
        station
    }

    /// Gives the station these addresses instead of those it has. The first of IPv4 and the first link-local one of
    /// IPv6 are the sources of Advertisements; without a link-local one there is that of the MAC address.
    pub fn readdress(&mut self, now: Instant, own: Vec<Own, { address::MOST }>) {
        for Own { address, prefix } in &self.own {
            take_off(self.stack, IpCidr::new((*address).into(), *prefix));
            hear_questions(&mut self.chip, *address, false);
        }
        let automatic = IpAddr::V6(link_local(self.chip.station()));
        let scoped = own.iter().map(|one| one.address).find(|address| source_family(address) == Some(Family::V6));
        let cidr = IpCidr::new(automatic.into(), 64);
        take_off(self.stack, cidr);
        hear_questions(&mut self.chip, automatic, scoped.is_none());
        if scoped.is_none() {
            put_on(self.stack, cidr);
        }
        for Own { address, prefix } in &own {
            put_on(self.stack, IpCidr::new((*address).into(), *prefix));
            hear_questions(&mut self.chip, *address, true);
        }
        let v4 = own.iter().map(|one| one.address).find(|address| source_family(address) == Some(Family::V4));
        for (family, source) in [(Family::V4, v4), (Family::V6, scoped.or(Some(automatic)))] {
            if self.node.agent().interface(self.lan, family).1 != source {
                self.node.handle_source(now, self.lan, family, source);
            }
        }
        self.own = own;
    }

    /// Looks whether there is a link.
    fn link(&mut self, now: Instant) {
        let link = if self.chip.link() { Link::Up } else { Link::Down };
        info!("{}: the link is {}", INTERFACE, if link == Link::Up { "up" } else { "down" });
        self.node.handle_link(now, self.lan, link);
    }

    /// Takes frames in, sends what is owed; when to come back, unless a frame comes first.
    pub fn turn(&mut self, time: &mut Time) -> Option<Instant> {
        // Read before the queue is emptied, so that no deadline fires ahead of a frame that came before it.
        let now = time.now();
        if self.chip.acknowledge() {
            self.link(now);
        }
        let more = self.take_in(now);
        let mut hardware = Hardware { chip: &mut self.chip, stack: self.stack, told: Some(Told::new(time)) };
        let next = self.node.poll(now, &mut hardware);
        if let Some(told) = hardware.told {
            self.tell(&told);
        }
        if more { Some(now) } else { next }
    }

    /// Hands frames to the node and the stack, which answers; whether there may be more. The stack has no sockets, so
    /// it owes nothing else.
    fn take_in(&mut self, now: Instant) -> bool {
        let mut sockets = SocketSet::new(&mut [][..]);
        let mut under = Under::new(self.node, &mut self.chip, self.lan, self.buffers);
        for _ in 0..BUDGET {
            let taken = self.stack.poll_ingress_single(smoltcp_time(now), &mut under, &mut sockets);
            if taken == PollIngressSingleResult::None {
                return false;
            }
            uart::service();
        }
        true
    }

    /// Says what has happened: with the time of the last Advertisement that was heard, and of the first that was sent,
    /// by this board's clock.
    fn tell(&self, told: &Told<'_>) {
        for event in &told.events {
            let name = self.names.of(event.router);
            let Some(view) = self.node.agent().view(event.router) else { continue };
            match event.kind {
                EventKind::Transition { from, to, reason } => {
                    let at = event.at.as_micros();
                    let (from, word, reason) = (from.as_str(), to.as_str(), reason.as_str());
                    let mac = view.settings.vrid.virtual_mac(view.settings.family);
                    let sent = told.sent.iter().find(|sent| sent.0 == mac);
                    match (view.heard, sent) {
                        (Some((heard, _)), Some((_, sent))) if to == State::Active => {
                            let (heard, sent) = (heard.as_micros(), sent.as_micros());
                            info!(
                                "{}: {} to {} at {} us, {}: heard at {} us, sent at {} us",
                                name, from, word, at, reason, heard, sent
                            );
                        }
                        _ => info!("{}: {} to {} at {} us, {}", name, from, word, at, reason),
                    }
                }
                EventKind::DualActive { .. } => warn!("{}: there is another Active", name),
            }
        }
    }
}

impl FrameIo for Lan9118 {
    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        Self::receive(self, buffer)
    }

    fn send(&mut self, frame: &[u8]) -> Result<(), Busy> {
        Self::send(self, frame)
    }
}

/// What the node does with the hardware.
pub struct Hardware<'h, 't> {
    pub chip: &'h mut Lan9118,
    pub stack: &'h mut Interface,
    /// What is to be said of it.
    pub told: Option<Told<'t>>,
}

/// What has happened in one turn.
pub struct Told<'t> {
    time: &'t mut Time,
    events: Vec<Event, EVENTS>,
    /// The first Advertisement of a Virtual Router, by its virtual MAC address.
    sent: Vec<(MacAddr, Instant), EVENTS>,
}

impl<'t> Told<'t> {
    fn new(time: &'t mut Time) -> Self {
        Self { time, events: Vec::new(), sent: Vec::new() }
    }
}

impl NetworkHardware for Hardware<'_, '_> {
    fn send(&mut self, _: InterfaceId, frame: &[u8]) -> Result<(), Busy> {
        self.chip.send(frame)?;
        let advertisement = matches!(frame, [_, _, _, _, _, _, 0, 0, 0x5e, 0, 1, _, 8, 0, ..])
            && frame.get(23) == Some(&PROTOCOL)
            || matches!(frame, [_, _, _, _, _, _, 0, 0, 0x5e, 0, 2, _, 0x86, 0xdd, ..])
                && frame.get(20) == Some(&PROTOCOL);
        if let Some(told) = &mut self.told
            && advertisement
            && let Some(source) = frame.get(6..).and_then(|rest| rest.first_chunk())
        {
            // One that finds no room is of a later turn of the same state.
            let _ = told.sent.push((MacAddr(*source), told.time.now()));
        }
        Ok(())
    }

    fn hear(&mut self, interface: InterfaceId, address: MacAddr, on: bool) {
        self.chip.hear(interface.index() as u8, address, on);
    }

    fn address(&mut self, _: InterfaceId, _: RouterId, address: IpAddr, on: bool) {
        // As a host route: on whose link it is, the station's own addresses say.
        let cidr = IpCidr::new(address.into(), if address.is_ipv4() { 32 } else { 128 });
        if on {
            put_on(self.stack, cidr);
        } else {
            take_off(self.stack, cidr);
        }
    }

    fn notify(&mut self, event: &Event) {
        if let Some(told) = &mut self.told {
            // There is room for as many as the agent keeps.
            let _ = told.events.push(*event);
        }
    }
}

fn put_on(stack: &mut Interface, address: IpCidr) {
    stack.update_ip_addrs(|all| {
        if !all.contains(&address) && all.push(address).is_err() {
            warn!("the stack has no room for another address");
        }
    });
}

/// Neighbour Solicitations for an address of the station's own are heard, or not; the node asks for those for virtual
/// addresses.
fn hear_questions(chip: &mut Lan9118, address: IpAddr, on: bool) {
    if let IpAddr::V6(address) = address {
        chip.hear(OWN, multicast_mac(solicited_node(address).into()), on);
    }
}

fn take_off(stack: &mut Interface, address: IpCidr) {
    stack.update_ip_addrs(|all| all.retain(|held| *held != address));
}

/// The family whose Advertisements may leave from an address.
fn source_family(address: &IpAddr) -> Option<Family> {
    match address {
        IpAddr::V4(_) => Some(Family::V4),
        IpAddr::V6(address) => address.is_unicast_link_local().then_some(Family::V6),
    }
}

fn smoltcp_time(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

/// The link-local address that is made of a MAC address (RFC 4291 appendix A).
fn link_local(MacAddr([a, b, c, d, e, f]): MacAddr) -> Ipv6Addr {
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}
