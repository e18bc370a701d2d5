//! The station on the TAP device: smoltcp's interface above, the device below, the firmware's node between them. What a
//! board's main loop does with them is here; what is Linux's about it (waiting, signals, the console's bytes) is not.

use std::collections::HashMap;
use std::net::IpAddr;

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

use crate::arguments::Arguments;
use crate::device::Tap;

/// Virtual Routers, their addresses, interfaces, events, trackers and sync groups.
pub(crate) type Storage = Fixed<16, 64, 1, 32, 8, 8>;

/// How many frames are taken in before what is owed is sent.
const BUDGET: usize = 64;

/// The station.
pub(crate) struct Station {
    pub(crate) node: Node<Storage, 1>,
    pub(crate) lan: InterfaceId,
    /// What the configuration calls it.
    pub(crate) interface: String,
    /// What it calls the Virtual Routers.
    pub(crate) names: HashMap<RouterId, String>,
    /// What has happened and has not been told.
    pub(crate) events: Vec<Event>,
    pub(crate) tap: Tap,
    pub(crate) stack: Interface,
    sockets: SocketSet<'static>,
    buffers: Box<Buffers>,
}

impl Station {
    /// A station whose link is down.
    pub(crate) fn new(now: Instant, mut tap: Tap, arguments: &Arguments) -> Result<Self, Full> {
        let mut node = Node::new();
        let (mac, interface) = (arguments.mac, arguments.interface.clone());
        let lan = node.add_port(mac, None)?;
        let mut buffers = Box::new(Buffers::new());
        let config = Config::new(EthernetAddress(mac.0).into());
        let stack = Interface::new(config, &mut Under::new(&mut node, &mut tap, lan, &mut buffers), smoltcp_time(now));
        let (names, events, sockets) = (HashMap::new(), Vec::new(), SocketSet::new(Vec::new()));
        let mut station = Self { node, lan, interface, names, events, tap, stack, sockets, buffers };
        for own in &arguments.addresses {
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
        let mut hardware = Hardware { tap: &mut self.tap, stack: &mut self.stack, events: &mut self.events };
        let next = self.node.poll(now, &mut hardware);
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
pub(crate) struct Hardware<'a> {
    pub(crate) tap: &'a mut Tap,
    pub(crate) stack: &'a mut Interface,
    pub(crate) events: &'a mut Vec<Event>,
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
