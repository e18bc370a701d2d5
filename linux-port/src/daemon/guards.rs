//! What stands between the sockets and the agent for Virtual Routers with `auth_hmac` or `auth_type AH`: packets of
//! others are verified before the agent hears of them, ours get their trailers or headers. What is believed is decided
//! in the core.

use std::net::IpAddr;
use std::sync::Arc;

use steadfast_core::agent::{Agent, InterfaceId};
use steadfast_core::auth::{Authenticator, HeaderAuthenticator, Mode, Packet, PeerMark, Sequence, Unauthentic};
use steadfast_core::time::Instant;
use steadfast_core::types::Family;
use steadfast_core::wire::advertisement::{Authentication, vrid_of};
use steadfast_core::wire::{Discard, Envelope, Full};

use super::numbers::{self, Numbers};
use crate::keys::HeaderKey;
use crate::plan::PlannedRouter;
use crate::plan::hmac::PlannedHmac;
use crate::storage::Heap;

/// Room for the longest message with a trailer: 255 addresses of IPv6.
const ROOM: usize = 8 + 255 * 16 + 28;

/// The authentication of Virtual Routers.
#[derive(Debug, Default)]
pub(super) struct Guards {
    /// By [`RouterId::index`](steadfast_core::agent::RouterId::index); empty if none of them is authenticated.
    table: Vec<Option<Box<Guard>>>,
    /// For messages that have to be rewritten.
    room: Vec<u8>,
    /// Sequence numbers where the time does not count.
    pub(super) numbers: Numbers,
}

#[derive(Debug)]
enum Guard {
    /// `auth_hmac`.
    Trailer(Arc<PlannedHmac>, Authenticator<Vec<PeerMark>>),
    /// `auth_type AH`.
    Header(HeaderKey, HeaderAuthenticator<Vec<PeerMark>>),
}

/// Whether a router sends numbers that have to grow, whatever the clock says.
pub(super) fn counts(router: &PlannedRouter) -> bool {
    let policy = router.hmac.as_ref().map(|hmac| hmac.policy);
    policy.is_some_and(|policy| policy.window.is_none() && policy.mode != Mode::ReceiveOnly)
}

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    Unauthentic(Unauthentic),
    Discarded(Discard),
}

impl Guards {
    /// The Virtual Router number `at` has this plan now. What was heard of its peers stays.
    pub(super) fn set(&mut self, at: usize, router: &PlannedRouter) {
        let settings = &router.settings;
        let peers = router.peers.iter().copied().map(PeerMark::new).collect();
        if counts(router) {
            self.numbers.begin(false);
        }
        let guard = self.table.get_mut(at).and_then(Option::take);
        let guard = match (&router.hmac, settings.authentication, guard.map(|guard| *guard)) {
            (Some(plan), _, Some(Guard::Trailer(_, mut authenticator))) => {
                authenticator.reconfigure(settings, plan.policy, peers);
                Guard::Trailer(Arc::clone(plan), authenticator)
            }
            (Some(plan), ..) => Guard::Trailer(Arc::clone(plan), Authenticator::new(settings, plan.policy, peers)),
            (None, Authentication::Header(password), Some(Guard::Header(_, mut authenticator))) => {
                authenticator.reconfigure(peers);
                Guard::Header(HeaderKey::new(password), authenticator)
            }
            (None, Authentication::Header(password), _) => {
                Guard::Header(HeaderKey::new(password), HeaderAuthenticator::new(peers))
            }
            (None, ..) => return self.forget(at),
        };
        if self.table.len() <= at {
            self.table.resize_with(at + 1, || None);
        }
        self.room.resize(ROOM, 0);
        if let Some(place) = self.table.get_mut(at) {
            *place = Some(Box::new(guard));
        }
    }

    /// The Virtual Router number `at` is gone, or not authenticated any more.
    pub(super) fn forget(&mut self, at: usize) {
        if let Some(guard) = self.table.get_mut(at) {
            *guard = None;
        }
        while self.table.pop_if(|guard| guard.is_none()).is_some() {}
    }

    fn get_mut(&mut self, at: usize) -> Option<&mut Guard> {
        self.table.get_mut(at)?.as_deref_mut()
    }

    /// What has been counted at the Virtual Router number `at`; nothing if it is not authenticated.
    pub(super) fn counters(&self, at: usize) -> impl Iterator<Item = (&'static str, u64)> {
        let guard = self.table.get(at).and_then(Option::as_deref);
        let counters = guard.map(|guard| match guard {
            Guard::Trailer(_, authenticator) => authenticator.counters(),
            Guard::Header(_, authenticator) => authenticator.counters(),
        });
        counters.into_iter().flat_map(|counters| counters.iter())
    }

    /// Puts a trailer behind the first `length` bytes of `buffer`, if the Virtual Router number `at` has them; the
    /// length of both.
    pub(super) fn seal(
        &mut self,
        at: usize,
        envelope: &Envelope,
        buffer: &mut [u8],
        length: usize,
    ) -> Result<usize, Full> {
        let Self { table, numbers, .. } = self;
        match table.get_mut(at).and_then(Option::as_deref_mut) {
            Some(Guard::Trailer(plan, authenticator)) => {
                let clock = if plan.policy.window.is_some() { time_of_day() } else { numbers.next() };
                authenticator.seal(&plan.keys, clock, envelope, buffer, length)
            }
            _ => Ok(length),
        }
    }

    /// Whether the Advertisements of the Virtual Router number `at` go out behind an Authentication Header.
    pub(super) fn has_header(&self, at: usize) -> bool {
        matches!(self.table.get(at), Some(Some(guard)) if matches!(**guard, Guard::Header(..)))
    }

    /// Writes such a packet to the start of `buffer`; its length. `payload` writes the message.
    pub(super) fn emit_packet(
        &mut self,
        at: usize,
        envelope: &Envelope,
        buffer: &mut [u8],
        payload: impl FnOnce(&mut [u8]) -> Result<usize, Full>,
    ) -> Result<usize, Full> {
        match self.get_mut(at) {
            Some(Guard::Header(key, authenticator)) => {
                authenticator.emit(key, time_of_day(), envelope, buffer, payload)
            }
            _ => Err(Full),
        }
    }

    /// Hands a packet to the agent, if it is to be believed; whether its sender's clock is a matter of concern.
    pub(super) fn receive(
        &mut self,
        agent: &mut Agent<Heap>,
        now: Instant,
        interface: InterfaceId,
        envelope: &Envelope,
        payload: &[u8],
    ) -> Result<bool, Refusal> {
        let find = |vrid| agent.find(interface, Family::of(&envelope.source), vrid);
        // Whoever authenticates nothing does not pay for it.
        let wanted = if self.table.is_empty() { None } else { vrid_of(payload).and_then(find) };
        let guard = wanted.and_then(|found| self.table.get_mut(found.router.index())?.as_deref_mut());
        let (plan, authenticator) = match guard {
            None => {
                let heard = agent.handle_advertisement(now, interface, envelope, payload);
                return heard.map(|_| false).map_err(Refusal::Discarded);
            }
            Some(Guard::Header(_, authenticator)) => return Err(Refusal::Unauthentic(authenticator.missing())),
            Some(Guard::Trailer(plan, authenticator)) => (plan, authenticator),
        };
        let opened = authenticator.open(&plan.keys, time_of_day(), envelope, payload, &mut self.room);
        let opened = opened.map_err(Refusal::Unauthentic)?;
        agent.handle_advertisement(now, interface, envelope, opened.message).map_err(Refusal::Discarded)?;
        if let Some(sequence) = opened.sequence {
            authenticator.mark(envelope.source, sequence);
        }
        Ok(opened.skewed)
    }

    /// The same for an IP packet with an Authentication Header; with its source. `None` if it is none that carries VRRP.
    pub(super) fn receive_packet(
        &mut self,
        agent: &mut Agent<Heap>,
        now: Instant,
        interface: InterfaceId,
        packet: &[u8],
    ) -> Option<(IpAddr, Result<bool, Refusal>)> {
        let packet = Packet::parse(packet)?;
        let source = packet.envelope.source;
        let found = vrid_of(packet.message).and_then(|vrid| agent.find(interface, Family::V4, vrid));
        let guard = found.and_then(|found| self.get_mut(found.router.index()));
        let Some(Guard::Header(key, authenticator)) = guard else {
            return Some((source, Err(Refusal::Discarded(Discard::AuthTypeMismatch))));
        };
        let heard = authenticator.verify(key, &packet).map_err(Refusal::Unauthentic).and_then(|()| {
            let heard = agent.handle_advertisement(now, interface, &packet.envelope, packet.message);
            heard.map(|_| authenticator.mark(&packet)).map_err(Refusal::Discarded)
        });
        Some((source, heard.map(|()| false)))
    }
}

/// What the clock of this machine says, right or wrong.
fn time_of_day() -> Sequence {
    numbers::at(numbers::time_of_day())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use steadfast_core::agent::{Action, Link, RouterConfig, RouterId, State};

    use super::*;
    use crate::check::Findings;
    use crate::plan;

    /// Draft-cassen-vrrp-auth-hmac, appendix: key 1 is 00 to 1f, VRID 51, priority 200, sequence 0x6800000080000000.
    const KEY: &str = "hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const V4: (&str, &str, &str, &str, &str) = (
        "198.51.100.10",
        "198.51.100.20",
        "192.0.2.100",
        "checksum rfc9568",
        "3133c80100644402c0000264010100006800000080000000\
         1b84bc4e8e43892dc6d98448f8ee2265",
    );
    const V6: (&str, &str, &str, &str, &str) = (
        "fe80::10",
        "fe80::20",
        "fe80::100",
        "",
        "3133c8010064a2e9fe800000000000000000000000000100010100006800000080000000\
         c8c56146ebfd66ee10ec4d8186461b78",
    );

    fn bytes(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// A router with one unicast peer, and its guard.
    fn machine(
        own: &str,
        peer: &str,
        address: &str,
        line: &str,
        priority: u8,
    ) -> (Agent<Heap>, Guards, InterfaceId, RouterId) {
        let text = format!(
            "vrrp_instance V {{\ninterface eth0\nversion 3\nvirtual_router_id 51\npriority {priority}\n{line}\n\
             unicast_src_ip {own}\nunicast_peer {{\n{peer}\n}}\nvirtual_ipaddress {{\n{address}\n}}\n\
             auth_hmac {{\nkey 1 {KEY}\nactive_key 1\nanti_replay monotonic\n}}\n}}\n"
        );
        let mut findings = Findings::new(Path::new("f"));
        let plan = plan::parse(text.as_bytes(), &mut findings).unwrap();
        assert!(!findings.has_errors());
        let planned = &plan.routers[0];
        let (mut agent, now) = (Agent::new(), Instant::from_micros(1));
        let interface = agent.add_interface().unwrap();
        agent.handle_link(now, interface, Link::Up);
        let addresses: Vec<_> = planned.addresses.iter().map(|planned| planned.address).collect();
        let settings = planned.settings;
        let config = RouterConfig { interface, settings, addresses: &addresses, excluded: &[], peers: &planned.peers };
        let id = agent.add(now, &config, false).unwrap();
        let mut guards = Guards::default();
        guards.set(id.index(), planned);
        (agent, guards, interface, id)
    }

    #[test]
    fn the_images_of_the_draft_are_made_byte_for_byte() {
        for (own, peer, address, line, image) in [V4, V6] {
            let (mut agent, mut guards, _, id) = machine(own, peer, address, line, 200);
            let mut now = Instant::from_micros(2);
            let (priority, form) = loop {
                match agent.poll(now) {
                    Some(Action::Advertise { priority, form, .. }) => break (priority, form),
                    Some(_) => {}
                    None => now = agent.poll_at().unwrap(),
                }
            };
            let envelope = agent.envelopes(id).next().unwrap();
            let mut buffer = [0; 128];
            let length = agent.emit(id, &envelope, priority, form, &mut buffer).unwrap();
            let Some(Guard::Trailer(plan, authenticator)) = guards.get_mut(id.index()) else { panic!() };
            let clock = Sequence::at(0x6800_0000, 500_000_000);
            let length = authenticator.seal(&plan.keys, clock, &envelope, &mut buffer, length).unwrap();
            assert_eq!(buffer[..length], bytes(image));
        }
    }

    #[test]
    fn the_images_of_the_draft_are_heard_once_and_no_other() {
        let now = Instant::from_micros(2);
        for (own, peer, address, line, image) in [V4, V6] {
            // The image is the peer's.
            let (mut agent, mut guards, interface, id) = machine(peer, own, address, line, 100);
            let envelope =
                Envelope { source: own.parse().unwrap(), destination: peer.parse().unwrap(), hop_limit: 255 };
            let image = bytes(image);
            let mut hear = |payload: &[u8]| guards.receive(&mut agent, now, interface, &envelope, payload);
            for bit in 0..image.len() * 8 {
                let mut wrong = image.clone();
                wrong[bit / 8] ^= 1 << (bit % 8);
                assert!(hear(&wrong).is_err(), "bit {bit}");
            }
            for length in 0..image.len() {
                assert!(hear(&image[..length]).is_err(), "{length} bytes");
            }
            assert!(matches!(hear(&image), Ok(false)));
            assert!(matches!(hear(&image), Err(Refusal::Unauthentic(Unauthentic::Replayed))));
            let view = agent.view(id).unwrap();
            assert_eq!((view.state, view.counters.advertisement_rcvd), (State::Backup, 1));
            assert_eq!(view.active_address, Some(envelope.source));
            let counted: u64 =
                guards.counters(id.index()).filter(|(name, _)| name.ends_with("replayed")).map(|c| c.1).sum();
            assert_eq!(counted, 1);
        }
    }
}
