//! The station on the TAP device: smoltcp's interface above, the device below, the firmware's node between them. What a
//! board's main loop does with them is here; what is Linux's about it (waiting, signals, the console's bytes) is not.

use core::net::IpAddr;

use smoltcp::iface::{Config, Interface, PollIngressSingleResult, SocketSet};
use smoltcp::wire::{EthernetAddress, IpCidr};
use steadfast_core::agent::{Event, InterfaceId, Link, RouterId};
use steadfast_core::storage::Fixed;
use steadfast_core::time::Instant;
use steadfast_core::types::{Family, MacAddr};
use steadfast_core::wire::Full;
use steadfast_firmware::device::{Buffers, FrameIo, Under};
use steadfast_firmware::hardware::{Busy, NetworkHardware};
use steadfast_firmware::node::Node;

use crate::arguments::Address;
use crate::device::Tap;
use crate::report;

/// Virtual Routers, their addresses, interfaces, events, trackers and sync groups.
pub(crate) type Storage = Fixed<16, 64, 1, 32, 8, 8>;

/// How many frames are taken in before what is owed is sent.
const BUDGET: usize = 64;

/// The station.
pub(crate) struct Station {
    pub(crate) node: Node<Storage, 1>,
    pub(crate) lan: InterfaceId,
    tap: Tap,
    stack: Interface,
    sockets: SocketSet<'static>,
    buffers: Box<Buffers>,
}

impl Station {
    /// A station whose link is down.
    pub(crate) fn new(now: Instant, mut tap: Tap, mac: MacAddr, addresses: &[Address]) -> Result<Self, Full> {
        let mut node = Node::new();
        let lan = node.add_port(mac, None)?;
        let mut buffers = Box::new(Buffers::new());
        let config = Config::new(EthernetAddress(mac.0).into());
        let stack = Interface::new(config, &mut Under::new(&mut node, &mut tap, lan, &mut buffers), smoltcp_time(now));
        let mut station = Self { node, lan, tap, stack, sockets: SocketSet::new(Vec::new()), buffers };
        for own in addresses {
            put_on(&mut station.stack, IpCidr::new(own.address.into(), own.prefix));
            let source = match own.address {
                IpAddr::V4(_) => true,
                IpAddr::V6(address) => address.is_unicast_link_local(),
            };
            let family = Family::of(&own.address);
            if source && station.node.agent().interface(lan, family).1.is_none() {
                station.node.handle_source(now, lan, family, Some(own.address));
            }
        }
        Ok(station)
    }

    /// The device to be waited for.
    pub(crate) fn tap(&self) -> &Tap {
        &self.tap
    }

    /// The link went up or down.
    pub(crate) fn link(&mut self, now: Instant, up: bool) {
        self.node.handle_link(now, self.lan, if up { Link::Up } else { Link::Down });
    }

    /// Takes frames in, sends what is owed; when to come back. `now` was read before.
    pub(crate) fn turn(&mut self, now: Instant) -> Option<Instant> {
        let time = smoltcp_time(now);
        let mut under = Under::new(&mut self.node, &mut self.tap, self.lan, &mut self.buffers);
        let mut more = true;
        for _ in 0..BUDGET {
            more = self.stack.poll_ingress_single(time, &mut under, &mut self.sockets) != PollIngressSingleResult::None;
            if !more {
                break;
            }
        }
        self.stack.poll_egress(time, &mut under, &mut self.sockets);
        self.stack.poll_maintenance(time);
        let mut hardware = Hardware { tap: &mut self.tap, stack: &mut self.stack, events: Vec::new() };
        let next = self.node.poll(now, &mut hardware);
        for event in hardware.events {
            report::event(self.node.agent(), &event);
        }
        let stack = self.stack.poll_at(time, &self.sockets);
        let stack = stack.map(|at| Instant::from_micros(u64::try_from(at.total_micros()).unwrap_or(0)));
        if more { Some(now) } else { [next, stack].into_iter().flatten().min() }
    }
}

fn smoltcp_time(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

fn put_on(stack: &mut Interface, address: IpCidr) {
    stack.update_ip_addrs(|all| {
        if !all.contains(&address) && all.push(address).is_err() {
            eprintln!("{address}: the stack has no room for it");
        }
    });
}

/// What the node asks for.
struct Hardware<'a> {
    tap: &'a mut Tap,
    stack: &'a mut Interface,
    events: Vec<Event>,
}

impl NetworkHardware for Hardware<'_> {
    fn send(&mut self, _: InterfaceId, frame: &[u8]) -> Result<(), Busy> {
        self.tap.send(frame)
    }

    fn hear(&mut self, _: InterfaceId, _: MacAddr, _: bool) {
        // A TAP device hears everything.
    }

    fn address(&mut self, _: InterfaceId, _: RouterId, address: IpAddr, on: bool) {
        // As a host route: on whose link it is, the station's own addresses say.
        let address = IpCidr::new(address.into(), if address.is_ipv4() { 32 } else { 128 });
        if on {
            put_on(self.stack, address);
        } else {
            self.stack.update_ip_addrs(|all| all.retain(|held| *held != address));
        }
    }

    fn notify(&mut self, event: &Event) {
        self.events.push(*event);
    }
}
