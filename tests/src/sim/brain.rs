//! What decides in a node: the agent alone, driven by the simulator's own port; or the firmware's node, which sees
//! Ethernet frames and a clock of 32 bits, and holds what it is to hold at once. To the world both are the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use steadfast_core::agent::{AddError, Agent, Event, InterfaceId, Link, RouterConfig, RouterId};
use steadfast_core::port::drive;
use steadfast_core::storage::Fixed;
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Family, MacAddr};
use steadfast_core::wire::ip::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, parse_ipv4, parse_ipv6};
use steadfast_core::wire::{Discard, Full, PROTOCOL};
use steadfast_firmware::hardware::{Busy, Extender, NetworkHardware};
use steadfast_firmware::node;

use super::packet;
use super::port::{BOARD, Frame, Hands, Output, Store};
use super::scenario::{GROUPS, LANS};

/// The longest frame: headers of IPv6 over Ethernet, and a payload.
const LONGEST: usize = 14 + 40 + packet::LONGEST;

/// ICMPv6's Neighbour Advertisement (RFC 4861 section 4.4).
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// What decides.
pub enum Brain {
    /// The agent.
    Agent(Box<Agent<Store>>),
    /// The firmware.
    Firmware(Box<Firmware>),
}

/// The firmware of a board with a counter of microseconds that wraps after 71 minutes.
pub struct Firmware {
    node: node::Node<Fixed<GROUPS, 16, LANS, 16>, LANS>,
    clock: Extender,
}

impl Brain {
    /// A brain without interfaces.
    pub fn new(firmware: bool) -> Self {
        if firmware {
            Self::Firmware(Box::new(Firmware { node: node::Node::new(), clock: Extender::new(1_000_000) }))
        } else {
            Self::Agent(Box::default())
        }
    }

    /// What time it takes it to be when the hardware's clock shows `micros`.
    pub fn now(&mut self, micros: u64) -> Instant {
        match self {
            Self::Agent(_) => Instant::from_micros(micros),
            Self::Firmware(firmware) => Instant::from_micros(firmware.clock.micros(micros as u32)),
        }
    }

    /// Its agent, if nothing is between it and the simulator.
    pub fn agent(&mut self) -> Option<&mut Agent<Store>> {
        match self {
            Self::Agent(agent) => Some(agent),
            Self::Firmware(_) => None,
        }
    }

    /// One of its Virtual Routers.
    pub fn view(&self, id: RouterId) -> Option<steadfast_core::agent::View<'_>> {
        match self {
            Self::Agent(agent) => agent.view(id),
            Self::Firmware(firmware) => firmware.node.agent().view(id),
        }
    }

    /// Whether it may end.
    pub fn is_idle(&self) -> bool {
        match self {
            Self::Agent(agent) => agent.is_idle(),
            Self::Firmware(firmware) => firmware.node.agent().is_idle(),
        }
    }

    /// When it has something to do by itself.
    pub fn poll_at(&self) -> Option<Instant> {
        match self {
            Self::Agent(agent) => agent.poll_at(),
            Self::Firmware(firmware) => firmware.node.agent().poll_at(),
        }
    }

    /// `vrrp_startup_delay`.
    pub fn set_startup_delay(&mut self, now: Instant, delay: Duration) {
        match self {
            Self::Agent(agent) => agent.set_startup_delay(now, delay),
            Self::Firmware(firmware) => firmware.node.set_startup_delay(now, delay),
        }
    }

    /// A network card.
    pub fn add_interface(&mut self) -> Result<InterfaceId, Full> {
        match self {
            Self::Agent(agent) => agent.add_interface(),
            Self::Firmware(firmware) => firmware.node.add_port(BOARD, None),
        }
    }

    /// The address of a network card.
    pub fn handle_source(&mut self, now: Instant, interface: InterfaceId, source: IpAddr) {
        let family = Family::of(&source);
        match self {
            Self::Agent(agent) => agent.handle_source(now, interface, family, Some(source)),
            Self::Firmware(firmware) => firmware.node.handle_source(now, interface, family, Some(source)),
        }
    }

    /// A cable.
    pub fn handle_link(&mut self, now: Instant, interface: InterfaceId, link: Link) {
        match self {
            Self::Agent(agent) => agent.handle_link(now, interface, link),
            Self::Firmware(firmware) => firmware.node.handle_link(now, interface, link),
        }
    }

    /// A Virtual Router. A board holds nothing when it boots.
    pub fn add(&mut self, now: Instant, config: &RouterConfig<'_>, held: bool) -> Result<RouterId, AddError> {
        match self {
            Self::Agent(agent) => agent.add(now, config, held),
            Self::Firmware(firmware) => firmware.node.add(now, config),
        }
    }

    /// New settings.
    pub fn reconfigure(
        &mut self,
        now: Instant,
        id: RouterId,
        config: &RouterConfig<'_>,
        hands: &mut Hands<'_>,
    ) -> Result<(), AddError> {
        match self {
            Self::Agent(agent) => agent.reconfigure(now, id, config),
            Self::Firmware(firmware) => firmware.node.reconfigure(now, id, config, hands),
        }
    }

    /// A planned stop.
    pub fn shutdown(&mut self, now: Instant) {
        match self {
            Self::Agent(agent) => agent.shutdown(now),
            Self::Firmware(firmware) => firmware.node.shutdown(now),
        }
    }

    /// A frame with an Advertisement. The firmware tells nobody why it discards one: then it is `NotRunning`.
    pub fn hear(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        frame: &Frame,
        id: Option<RouterId>,
    ) -> Result<RouterId, Discard> {
        let firmware = match self {
            Self::Agent(agent) => {
                return agent.handle_advertisement(now, interface, &frame.envelope, frame.payload());
            }
            Self::Firmware(firmware) => firmware,
        };
        let received =
            |node: &node::Node<_, LANS>, id| node.agent().view(id).map_or(0, |view| view.counters.advertisement_rcvd);
        let before = id.map(|id| received(&firmware.node, id));
        let mut buffer = [0; LONGEST];
        let length = frame.write(&mut buffer);
        firmware.node.receive(now, interface, &mut buffer[..length]);
        match (id, before) {
            (Some(id), Some(before)) if received(&firmware.node, id) > before => Ok(id),
            _ => Err(Discard::NotRunning),
        }
    }

    /// Does what is due; when to come back.
    pub fn drive(&mut self, now: Instant, budget: usize, hands: &mut Hands<'_>) -> Option<Instant> {
        match self {
            Self::Agent(agent) => drive(agent, hands, now, budget),
            Self::Firmware(firmware) => firmware.node.poll(now, hands),
        }
    }
}

/// The board: what the firmware sends and is told, as outputs to the world.
impl NetworkHardware for Hands<'_> {
    fn send(&mut self, interface: InterfaceId, frame: &[u8]) -> Result<(), Busy> {
        let lan = interface.index();
        let ethernet = Ethernet::parse(frame).expect("a frame has a header");
        let packet = ethernet.payload;
        match ethernet.ethertype {
            ETHERTYPE_IPV4 if packet[9] == PROTOCOL => {
                let (envelope, payload) = parse_ipv4(packet).expect("a good header");
                self.say(Frame::new(self.node, self.group_of(lan, Family::V4, payload[1]), lan, envelope, payload));
            }
            ETHERTYPE_IPV6 if packet[6] == PROTOCOL => {
                let (envelope, payload) = parse_ipv6(packet).expect("a good header");
                self.say(Frame::new(self.node, self.group_of(lan, Family::V6, payload[1]), lan, envelope, payload));
            }
            ETHERTYPE_ARP => {
                let address: [u8; 4] = packet[14..18].try_into().expect("four bytes");
                self.announced(ethernet.source, lan, Ipv4Addr::from(address).into());
            }
            ETHERTYPE_IPV6 if packet[6] == 58 && packet[40] == NEIGHBOUR_ADVERTISEMENT => {
                let address: [u8; 16] = packet[48..64].try_into().expect("sixteen bytes");
                self.announced(ethernet.source, lan, Ipv6Addr::from(address).into());
            }
            // Reports of group membership: the simulated switches flood.
            _ => {}
        }
        Ok(())
    }

    fn hear(&mut self, _: InterfaceId, _: MacAddr, _: bool) {}

    fn virtual_mac(&mut self, interface: InterfaceId, address: MacAddr, ours: bool) {
        let family = if address.0[4] == 1 { Family::V4 } else { Family::V6 };
        let group = self.group_of(interface.index(), family, address.0[5]);
        self.outbox.push(Output::Held(group, ours));
    }

    fn notify(&mut self, event: &Event) {
        self.outbox.push(Output::Tell(self.by_router[event.router.index()], *event));
    }
}

impl Hands<'_> {
    fn say(&mut self, frame: Frame) {
        self.outbox.push(Output::Send(frame));
    }

    fn announced(&mut self, from: MacAddr, lan: usize, address: IpAddr) {
        let group = self.group_of(lan, Family::of(&address), from.0[5]);
        let index = self.scenario.groups[group].addresses.iter().position(|known| *known == address);
        self.outbox.push(Output::Announce(group, index.expect("one of its addresses")));
    }

    /// The Virtual Router of a network with this family and VRID.
    fn group_of(&self, lan: usize, family: Family, vrid: u8) -> usize {
        let mut groups = self.scenario.groups.iter();
        let same = |group: &super::scenario::Group| {
            group.lan == lan && group.vrid == vrid && Family::of(&group.addresses[0]) == family
        };
        groups.position(same).expect("a Virtual Router of the scenario")
    }
}
