//! What a priority can depend on: the link of another port, and whether a gateway answers. A gateway is asked from
//! the interface's own address and with frames of our own: who has its address, then an echo. It is asked anew for
//! its MAC address every time, so there is no table that could be stale, and no stack is needed for it. Anything
//! else the maker looks at himself, and reports.

use core::net::IpAddr;

use steadfast_core::agent::{AddError, InterfaceId, Link, Report, RouterId, TrackerId, Weight};
use steadfast_core::storage::{Storage, Table};
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Family, MacAddr};
use steadfast_core::wire::{Full, arp, ndisc};

use crate::echo::{self, Echo};
use crate::hardware::NetworkHardware;
use crate::node::Node;

/// How a gateway is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reachability {
    /// From where.
    pub interface: InterfaceId,
    /// Its address, on the network of this interface.
    pub gateway: IpAddr,
    /// From the begin of a question to that of the next one.
    pub interval: Duration,
    /// How long an answer is waited for, at each of two steps: its MAC address, and the echo.
    pub timeout: Duration,
    /// So many answers in a row, at least one, and it counts as reachable.
    pub rise: u8,
    /// So many silences in a row, at least one, and it counts as unreachable.
    pub fall: u8,
}

impl Reachability {
    /// Once a second, an answer within half of it, three in a row.
    pub const fn new(interface: InterfaceId, gateway: IpAddr) -> Self {
        Self {
            interface,
            gateway,
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(500),
            rise: 3,
            fall: 3,
        }
    }
}

/// What a tracker looks at.
pub(crate) enum Watch {
    /// The maker looks at it.
    Own,
    Link(InterfaceId),
    Gateway(Gateway),
}

impl Watch {
    pub(crate) fn due(&self) -> Option<Instant> {
        match self {
            Self::Gateway(gateway) => Some(gateway.at),
            Self::Own | Self::Link(_) => None,
        }
    }
}

pub(crate) struct Gateway {
    how: Reachability,
    step: Step,
    /// When the step ends.
    at: Instant,
    /// When the next question begins.
    next: Instant,
    sequence: u16,
    /// How often in a row the last result was had.
    count: u8,
    last: Option<Report>,
    reported: Option<Report>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Until the next question.
    Resting,
    /// Who has its address?
    Resolving,
    /// It is there; the echo is to be sent.
    Found(MacAddr),
    /// Does it answer?
    Asking,
}

impl Gateway {
    fn new(now: Instant, how: Reachability) -> Self {
        Self { how, step: Step::Resting, at: now, next: now, sequence: 0, count: 0, last: None, reported: None }
    }

    /// The question has ended so; what is to be reported, if that is new. The first result counts at once.
    fn end(&mut self, now: Instant, result: Report) -> Option<Report> {
        self.step = Step::Resting;
        self.at = if self.next > now { self.next } else { now + self.how.interval.max(Duration::from_millis(1)) };
        self.count = if self.last == Some(result) { self.count.saturating_add(1) } else { 1 };
        self.last = Some(result);
        let enough = match result {
            Report::Up => self.how.rise,
            Report::Down => self.how.fall,
        };
        if self.reported == Some(result) || (self.reported.is_some() && self.count < enough) {
            return None;
        }
        self.reported = Some(result);
        Some(result)
    }
}

impl<S: Storage, const I: usize> Node<S, I> {
    /// A tracker of the link of a port. It has reported what the link is now.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room.
    pub fn track_link(&mut self, now: Instant, of: InterfaceId) -> Result<TrackerId, Full> {
        let tracker = self.add_watch(Watch::Link(of))?;
        let (up, _) = self.agent().interface(of, Family::V4);
        self.handle_report(now, tracker, if up { Report::Up } else { Report::Down });
        Ok(tracker)
    }

    /// A tracker of whether a gateway answers, which is asked from now on.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room.
    pub fn track_gateway(&mut self, now: Instant, how: &Reachability) -> Result<TrackerId, Full> {
        self.add_watch(Watch::Gateway(Gateway::new(now, *how)))
    }

    /// A tracker of something else, which reports by [`handle_report`](Self::handle_report).
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room.
    pub fn add_tracker(&mut self) -> Result<TrackerId, Full> {
        self.add_watch(Watch::Own)
    }

    fn add_watch(&mut self, watch: Watch) -> Result<TrackerId, Full> {
        let tracker = self.agent.add_tracker()?;
        self.watches.push((tracker, watch))?;
        Ok(tracker)
    }

    /// Lets a tracker bear on a Virtual Router.
    ///
    /// # Errors
    ///
    /// As [`Agent::track`](steadfast_core::agent::Agent::track).
    pub fn track(&mut self, now: Instant, id: RouterId, tracker: TrackerId, weight: Weight) -> Result<(), AddError> {
        self.agent.track(now, id, tracker, weight)
    }

    /// A tracker of the maker's own reports.
    pub fn handle_report(&mut self, now: Instant, tracker: TrackerId, report: Report) {
        self.agent.handle_report(now, tracker, report);
    }

    /// The link of a port has changed.
    pub(crate) fn link_changed(&mut self, now: Instant, interface: InterfaceId, link: Link) {
        let report = if link == Link::Up { Report::Up } else { Report::Down };
        for (tracker, watch) in self.watches.iter() {
            if matches!(watch, Watch::Link(of) if *of == interface) {
                self.agent.handle_report(now, *tracker, report);
            }
        }
    }

    /// Somebody may be saying to have an address.
    pub(crate) fn neighbour(&mut self, interface: InterfaceId, family: Family, packet: &[u8]) {
        if self.watches.is_empty() {
            return;
        }
        let said = match family {
            Family::V4 => echo::arp_reply(packet),
            Family::V6 => echo::neighbour_advertisement(packet),
        };
        let Some((address, mac)) = said else { return };
        for (_, watch) in self.watches.iter_mut() {
            if let Watch::Gateway(gateway) = watch
                && (gateway.how.interface, gateway.how.gateway) == (interface, address)
                && gateway.step == Step::Resolving
            {
                gateway.step = Step::Found(mac);
                gateway.at = Instant::default();
            }
        }
    }

    /// Whether a packet is an echo reply for us.
    pub(crate) fn echoed(&mut self, now: Instant, interface: InterfaceId, family: Family, packet: &[u8]) -> bool {
        if self.watches.is_empty() {
            return false;
        }
        let reply = match family {
            Family::V4 => echo::echo_reply_v4(packet),
            Family::V6 => echo::echo_reply_v6(packet),
        };
        let Some((source, destination, echo)) = reply else { return false };
        if self.agent.interface(interface, Family::of(&destination)).1 != Some(destination) {
            return false;
        }
        for (tracker, watch) in self.watches.iter_mut() {
            if let Watch::Gateway(gateway) = watch
                && (gateway.how.interface, gateway.how.gateway) == (interface, source)
                && gateway.step == Step::Asking
                && echo == (Echo { identifier: identifier(*tracker), sequence: gateway.sequence })
            {
                if let Some(report) = gateway.end(now, Report::Up) {
                    self.agent.handle_report(now, *tracker, report);
                }
                return true;
            }
        }
        false
    }

    /// Asks the gateways whose turn it is, and gives up on those that are silent.
    pub(crate) fn ask(&mut self, now: Instant, hardware: &mut impl NetworkHardware) {
        for index in 0..self.watches.len() {
            self.ask_one(now, index, hardware);
        }
    }

    fn ask_one(&mut self, now: Instant, index: usize, hardware: &mut impl NetworkHardware) {
        let Some((tracker, Watch::Gateway(gateway))) = self.watches.get_mut(index) else { return };
        if gateway.at > now {
            return;
        }
        let Reachability { interface, gateway: target, interval, timeout, .. } = gateway.how;
        match gateway.step {
            Step::Resting => {
                gateway.step = Step::Resolving;
                gateway.next = now + interval;
                gateway.sequence = gateway.sequence.wrapping_add(1);
            }
            Step::Found(_) => {}
            Step::Resolving | Step::Asking => {
                if let Some(report) = gateway.end(now, Report::Down) {
                    self.agent.handle_report(now, *tracker, report);
                }
                return;
            }
        }
        gateway.at = now + timeout;
        let (step, echo) = (gateway.step, Echo { identifier: identifier(*tracker), sequence: gateway.sequence });
        if let Step::Found(_) = step {
            gateway.step = Step::Asking;
        }
        let Some((mac, source)) = self.speaker(interface, Family::of(&target)) else { return };
        let mut buffer = [0; echo::LONGEST];
        // Without room it counts as not answered.
        match (step, source, target) {
            (Step::Found(to), ..) => {
                let length = echo::emit_echo(mac, to, source, target, echo, &mut buffer);
                let frame = length.and_then(|length| buffer.get(..length));
                frame.is_some_and(|frame| self.send_short(interface, frame, hardware))
            }
            (_, IpAddr::V4(source), IpAddr::V4(target)) => {
                self.send_short(interface, &arp::request(mac, source, target), hardware)
            }
            (_, IpAddr::V6(source), IpAddr::V6(target)) => {
                self.send_short(interface, &ndisc::solicitation(mac, source, target), hardware)
            }
            _ => false,
        };
    }

    /// The source of what an interface says for itself, and its MAC address: the virtual one if the address is
    /// virtual, as an owner's is.
    fn speaker(&self, interface: InterfaceId, family: Family) -> Option<(MacAddr, IpAddr)> {
        let source = self.source(interface, family)?;
        let mac = match self.with_address(interface, source) {
            None => self.station(interface)?,
            Some(presence) => presence.serves().then(|| presence.virtual_mac())?,
        };
        Some((mac, source))
    }
}

/// What tells the echoes of one tracker from another's.
fn identifier(tracker: TrackerId) -> u16 {
    const OURS: u16 = 0x5f00;
    OURS ^ (tracker.index() as u16)
}
