//! What passes between a node and the world: frames, what waits for a node, what it does; and the port
//! itself, which turns the agent's verbs into the latter. When a node runs is `super::node`'s matter.

use std::net::IpAddr;

use steadfast_core::agent::{Agent, Event, Generation, InterfaceId, RouterId};
use steadfast_core::port::Port;
use steadfast_core::storage::Fixed;
use steadfast_core::types::{Family, MacAddr, Priority};
use steadfast_core::wire::Envelope;
use steadfast_core::wire::advertisement::Form;
use steadfast_core::wire::ip::{emit_frame, multicast_mac};

use super::packet::{self, Heard, LONGEST};
use super::scenario::{GROUPS, LANS, NODES, Scenario};

/// The agent's tables.
pub type Store = Fixed<GROUPS, 16, LANS, 16, GROUPS, GROUPS>;

/// The MAC address of a board.
pub const BOARD: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
/// Where all other frames come from: nobody looks at it.
const STRANGER: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

/// A payload on the wire, with what the simulator knows of it.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// The sender, `NODES` for a stranger.
    pub from: usize,
    /// The Virtual Router that it is for.
    pub group: usize,
    /// The network.
    pub lan: usize,
    /// The IP header.
    pub envelope: Envelope,
    /// What it says.
    pub heard: Heard,
    /// Whether every receive check has to pass.
    pub valid: bool,
    bytes: [u8; LONGEST],
    length: usize,
}

impl Frame {
    /// A frame with this payload.
    pub fn new(from: usize, group: usize, lan: usize, envelope: Envelope, payload: &[u8]) -> Self {
        let mut bytes = [0; LONGEST];
        bytes[..payload.len()].copy_from_slice(payload);
        let heard = packet::read(payload).unwrap_or(Heard { vrid: 0, priority: 0, interval: 0 });
        Self { from, group, lan, envelope, heard, valid: from < NODES, bytes, length: payload.len() }
    }

    /// The same frame with another priority.
    pub fn with_priority(mut self, priority: u8) -> Self {
        packet::set_priority(&mut self.bytes, priority);
        self.heard.priority = priority;
        self
    }

    /// Writes it as an Ethernet frame; its length.
    pub fn write(&self, buffer: &mut [u8]) -> usize {
        let Envelope { source, destination, hop_limit } = self.envelope;
        let to = if destination.is_multicast() { multicast_mac(destination) } else { BOARD };
        let length = emit_frame(STRANGER, Some(to), source, destination, buffer, |room| {
            room[..self.length].copy_from_slice(self.payload());
            Ok(self.length)
        });
        match source {
            IpAddr::V4(_) => packet::set_ttl(&mut buffer[14..34], hop_limit),
            IpAddr::V6(_) => buffer[14 + 7] = hop_limit,
        }
        length.expect("the buffer is long enough")
    }

    /// The VRRP payload.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// What waits until the node runs.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// A frame, by number.
    Frame(usize),
    /// The state of a network's cable.
    Link(usize, bool),
    /// A report on an acquisition (`true`) or release of a Virtual Router.
    Done(usize, bool, Generation, bool),
    /// Somebody removed a Virtual Router's addresses.
    Lost(usize),
    /// What the tracker of a Virtual Router looks at works, or not.
    Track(usize, bool),
    /// A Virtual Router has another configuration.
    Reload(usize),
    /// Stop as planned.
    Shutdown,
}

/// What a node does to the world.
#[derive(Clone, Copy, Debug)]
pub enum Output {
    /// An Advertisement.
    Send(Frame),
    /// Addresses of a Virtual Router to be taken off (`false`) or put on.
    Change(usize, bool, Generation),
    /// A board has put the addresses of a Virtual Router on, or taken them off (`false`).
    Held(usize, bool),
    /// An announcement of one address of a Virtual Router.
    Announce(usize, usize),
    /// An event.
    Tell(usize, Event),
}

impl Output {
    /// Its place in the order of a drain.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Send(_) => 0,
            Self::Change(_, false, _) | Self::Held(_, false) => 1,
            Self::Change(_, true, _) | Self::Held(_, true) => 2,
            Self::Announce(..) => 3,
            Self::Tell(..) => 4,
        }
    }
}

/// The port: every verb becomes an output.
pub struct Hands<'a> {
    /// The node's number.
    pub node: usize,
    /// The scenario's number of each Virtual Router, by its place in the agent.
    pub by_router: [usize; GROUPS],
    /// The scenario.
    pub scenario: &'a Scenario,
    /// Where the outputs go.
    pub outbox: &'a mut Vec<Output>,
}

impl Hands<'_> {
    fn group(&self, router: RouterId) -> usize {
        self.by_router[router.index()]
    }
}

impl Port<Store> for Hands<'_> {
    fn advertise(
        &mut self,
        agent: &Agent<Store>,
        router: RouterId,
        _interface: InterfaceId,
        priority: Option<Priority>,
        form: Form,
    ) {
        let group = self.group(router);
        let common = &self.scenario.groups[group];
        let source = Scenario::source(self.node, common.lan, Family::of(&common.addresses[0]));
        let envelope = packet::envelope(source);
        let mut buffer = [0; LONGEST];
        let written = agent.emit(router, &envelope, priority, form, &mut buffer);
        let length = written.expect("the buffer is long enough");
        self.outbox.push(Output::Send(Frame::new(self.node, group, common.lan, envelope, &buffer[..length])));
    }

    fn acquire(&mut self, _agent: &Agent<Store>, router: RouterId, generation: Generation) {
        self.outbox.push(Output::Change(self.group(router), true, generation));
    }

    fn release(&mut self, _agent: &Agent<Store>, router: RouterId, generation: Generation) {
        self.outbox.push(Output::Change(self.group(router), false, generation));
    }

    fn announce(&mut self, _agent: &Agent<Store>, router: RouterId, address: IpAddr) {
        let group = self.group(router);
        let addresses = &self.scenario.groups[group].addresses;
        let index = addresses.iter().position(|known| *known == address).expect("one of its addresses");
        self.outbox.push(Output::Announce(group, index));
    }

    fn notify(&mut self, _agent: &Agent<Store>, event: &Event) {
        self.outbox.push(Output::Tell(self.group(event.router), *event));
    }

    fn retired(&mut self, _router: RouterId) {}
}
