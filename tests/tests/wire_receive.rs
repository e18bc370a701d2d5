//! The receive checks as a Virtual Router makes them: those of the parser, and those that need to know what is
//! configured. Each has one counter, and a packet that fails one changes nothing else. What a packet that passes does
//! to timers and states is tested elsewhere.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use steadfast_core::agent::{Action, AddError, Agent, InterfaceId, Link, RouterConfig, RouterId, Settings, State};
use steadfast_core::storage::Fixed;
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Family, Interval, Priority, Version, Vrid};
use steadfast_core::wire::advertisement::{Advertisement, Authentication, Form};
use steadfast_core::wire::{Discard, Envelope, GROUP_V4, GROUP_V6};
use steadfast_tests::wire::{Message, Seal};

const OURS_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const OURS_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
const PEER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const PEER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2));
const VIP_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254));
const VIP_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xfe));
const FROM_PEER_V4: Envelope = Envelope { source: PEER_V4, destination: IpAddr::V4(GROUP_V4), hop_limit: 255 };
const FROM_PEER_V6: Envelope = Envelope { source: PEER_V6, destination: IpAddr::V6(GROUP_V6), hop_limit: 255 };

const BEGIN: Instant = Instant::from_micros(1_000_000);

/// An agent with two interfaces, which are up.
struct Lan {
    agent: Agent<Fixed<8, 32, 2, 8>>,
    first: InterfaceId,
    second: InterfaceId,
    now: Instant,
}

impl Lan {
    fn new() -> Self {
        let mut agent = Agent::new();
        let [first, second] = [(); 2].map(|()| {
            let interface = agent.add_interface().unwrap();
            agent.handle_link(BEGIN, interface, Link::Up);
            agent.handle_source(BEGIN, interface, Family::V4, Some(OURS_V4));
            agent.handle_source(BEGIN, interface, Family::V6, Some(OURS_V6));
            interface
        });
        Self { agent, first, second, now: BEGIN }
    }

    /// Adds VRID 1 on the first interface with its usual address, changed by `edit`.
    fn add(&mut self, family: Family, version: Version, edit: impl FnOnce(&mut Settings)) -> RouterId {
        let mut settings = Settings::new(family, Vrid::new(1).unwrap());
        settings.version = version;
        edit(&mut settings);
        self.add_with(settings, &[])
    }

    /// The same with these settings and peers.
    fn add_with(&mut self, settings: Settings, peers: &[IpAddr]) -> RouterId {
        let addresses = [if settings.family == Family::V4 { VIP_V4 } else { VIP_V6 }];
        let interface = self.first;
        let config = RouterConfig { interface, settings, addresses: &addresses, excluded: &[], peers };
        self.agent.add(BEGIN, &config, false).unwrap()
    }

    fn hear(&mut self, message: &Message, envelope: &Envelope) -> Result<RouterId, Discard> {
        self.agent.handle_advertisement(self.now, self.first, envelope, &message.bytes(envelope))
    }

    fn state(&self, router: RouterId) -> State {
        self.agent.view(router).unwrap().state
    }

    /// The names of the counters that are not zero, over the agent and all its routers, with their sums.
    fn counters(&self) -> BTreeMap<&'static str, u64> {
        let routers = self.agent.routers().flat_map(|router| self.agent.view(router).unwrap().counters.iter());
        let mut all = BTreeMap::new();
        for (name, count) in self.agent.counters().iter().chain(routers).filter(|&(_, count)| count > 0) {
            *all.entry(name).or_default() += count;
        }
        all
    }

    /// Everything about a router that a discarded packet must not touch.
    fn face(&self, router: RouterId) -> impl PartialEq + std::fmt::Debug + use<> {
        let view = self.agent.view(router).unwrap();
        let timers = (view.active_interval, view.active_down_interval, view.skew, self.agent.poll_at());
        (view.state, view.active_address, view.last_transition, timers, view.rival, view.holds)
    }

    /// Lets time pass and does as the agent says.
    fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
        while let Some(action) = self.agent.poll(self.now) {
            if let Action::Acquire { router, generation } = action {
                self.agent.handle_done(self.now, router, generation, Ok(()));
            }
        }
    }

    /// Hears nobody until its Backups have taken over. A machine that wakes up so late gives the Active one more
    /// interval, so it takes two waits.
    fn take_over(&mut self) {
        self.wait(Duration::from_secs(60));
        self.wait(Duration::from_secs(60));
    }
}

/// The packet is discarded for this, counted under this name and nothing else, and changes nothing, be the router
/// Backup or Active.
fn discarded(
    (family, version): (Family, Version),
    configure: impl Fn(&mut Settings),
    (message, envelope): (&Message, &Envelope),
    (discard, counter): (Discard, &'static str),
) {
    for state in [State::Backup, State::Active] {
        let mut lan = Lan::new();
        let router = lan.add(family, version, &configure);
        lan.wait(Duration::ZERO);
        if state == State::Active {
            lan.take_over();
        }
        assert_eq!(lan.state(router), state);
        let mut expected = lan.counters();
        *expected.entry(counter).or_default() += 1;
        let face = lan.face(router);
        assert_eq!(lan.hear(message, envelope), Err(discard), "{state:?}");
        assert_eq!(lan.counters(), expected, "{state:?}");
        assert_eq!(lan.face(router), face, "{state:?}");
        assert_eq!(lan.agent.poll(lan.now), None, "{state:?}: nothing is owed for it");
    }
}

/// The packet passes every check.
fn accepted(
    (family, version): (Family, Version),
    configure: impl Fn(&mut Settings),
    (message, envelope): (&Message, &Envelope),
) -> BTreeMap<&'static str, u64> {
    let mut lan = Lan::new();
    let router = lan.add(family, version, configure);
    assert_eq!(lan.hear(message, envelope), Ok(router));
    let counters = lan.counters();
    assert_eq!(counters.get("advertisement-rcvd"), Some(&1));
    counters
}

const V2: (Family, Version) = (Family::V4, Version::V2);
const V3: (Family, Version) = (Family::V4, Version::V3);
const V3_IPV6: (Family, Version) = (Family::V6, Version::V3);

/// Each kind of Virtual Router with a right packet for it.
fn all_kinds() -> [((Family, Version), Message, Envelope); 3] {
    [
        (V2, Message::v2(&[VIP_V4]), FROM_PEER_V4),
        (V3, Message::v3(&[VIP_V4]), FROM_PEER_V4),
        (V3_IPV6, Message::v3(&[VIP_V6]), FROM_PEER_V6),
    ]
}

fn every_kind_discards(edit: impl Fn(&mut Message, &mut Envelope), discard: Discard, counter: &'static str) {
    for (kind, mut message, mut envelope) in all_kinds() {
        edit(&mut message, &mut envelope);
        discarded(kind, |_| (), (&message, &envelope), (discard, counter));
    }
}

#[test]
fn the_unedited_packets_of_these_tests_are_accepted() {
    for (kind, message, envelope) in all_kinds() {
        assert_eq!(accepted(kind, |_| (), (&message, &envelope)), BTreeMap::from([("advertisement-rcvd", 1)]));
    }
}

#[test]
fn rfc9568_1_1_ipv4_and_ipv6_routers_of_the_same_vrid_are_independent() {
    let mut lan = Lan::new();
    let four = lan.add(Family::V4, Version::V3, |_| ());
    let six = lan.add(Family::V6, Version::V3, |_| ());
    let face = lan.agent.view(six).unwrap().active_address;
    assert_eq!(lan.hear(&Message::v3(&[VIP_V4]), &FROM_PEER_V4), Ok(four));
    assert_eq!(lan.agent.view(four).unwrap().active_address, Some(PEER_V4));
    assert_eq!(lan.agent.view(six).unwrap().active_address, face);
    assert_eq!(lan.hear(&Message::v3(&[VIP_V6]), &FROM_PEER_V6), Ok(six));
    assert_eq!(lan.agent.view(six).unwrap().active_address, Some(PEER_V6));
}

#[test]
fn rfc9568_7_1_hop_limit_is_counted() {
    every_kind_discards(|_, envelope| envelope.hop_limit = 254, Discard::HopLimit, "ip-ttl-errors");
}

#[test]
fn rfc9568_7_1_an_unknown_version_is_counted() {
    every_kind_discards(|message, _| message.first = 0x11, Discard::Version, "version-errors");
    every_kind_discards(|message, _| message.first = 0x41, Discard::Version, "version-errors");
}

#[test]
fn rfc9568_7_1_the_version_that_is_not_configured_is_counted() {
    let counter = (Discard::Version, "version-errors");
    discarded(V3, |_| (), (&Message::v2(&[VIP_V4]), &FROM_PEER_V4), counter);
    discarded(V2, |_| (), (&Message::v3(&[VIP_V4]), &FROM_PEER_V4), counter);
    // Its version, whatever else may be wrong.
    let message = Message { seal: Seal::Literal(0), ..Message::v2(&[]) };
    discarded(V3, |_| (), (&message, &FROM_PEER_V4), counter);
}

#[test]
fn rfc9568_5_2_2_another_type_is_counted() {
    every_kind_discards(|message, _| message.first = message.first & 0xf0 | 2, Discard::Type, "invalid-type-pkts-rcvd");
}

#[test]
fn rfc9568_7_1_a_wrong_length_is_counted() {
    for extra in [1, 8, 1200] {
        let longer = |message: &mut Message, _: &mut Envelope| message.trailer.resize(message.trailer.len() + extra, 0);
        every_kind_discards(longer, Discard::Length, "packet-length-errors");
    }
    every_kind_discards(|message, _| message.count = Some(255), Discard::Length, "packet-length-errors");
}

#[test]
fn rfc9568_5_2_8_a_wrong_checksum_is_counted() {
    every_kind_discards(|message, _| message.seal = Seal::Literal(0x1234), Discard::Checksum, "checksum-errors");
}

#[test]
fn rfc9568_7_1_a_vrid_that_is_not_configured_is_counted() {
    for vrid in [0, 2, 255] {
        every_kind_discards(|message, _| message.vrid = vrid, Discard::Vrid, "vrid-errors");
    }
}

#[test]
fn rfc9568_7_1_the_vrid_must_be_configured_on_the_receiving_interface() {
    for ((family, version), message, envelope) in all_kinds() {
        let mut lan = Lan::new();
        let router = lan.add(family, version, |_| ());
        let face = lan.face(router);
        let bytes = message.bytes(&envelope);
        let elsewhere = lan.agent.handle_advertisement(lan.now, lan.second, &envelope, &bytes);
        assert_eq!(elsewhere, Err(Discard::Vrid));
        assert_eq!(lan.counters(), BTreeMap::from([("vrid-errors", 1)]));
        assert_eq!(lan.face(router), face);
    }
}

#[test]
fn rfc9568_5_2_5_erratum_8299_count_zero_is_counted() {
    every_kind_discards(|message, _| message.addresses.clear(), Discard::Count, "steadfast-address-count-errors");
}

#[test]
fn rfc9568_5_2_7_erratum_8301_interval_zero_is_counted() {
    every_kind_discards(|message, _| message.interval = 0, Discard::Interval, "interval-errors");
}

#[test]
fn rfc3768_7_1_another_interval_than_the_local_one_is_discarded() {
    let message = Message { interval: 2, ..Message::v2(&[VIP_V4]) };
    discarded(V2, |_| (), (&message, &FROM_PEER_V4), (Discard::Interval, "interval-errors"));
    let two = |settings: &mut Settings| settings.interval = Interval::from_seconds(2).unwrap();
    accepted(V2, two, (&message, &FROM_PEER_V4));
}

#[test]
fn rfc9568_7_1_another_interval_is_learned_and_counted_in_version_3() {
    let mut lan = Lan::new();
    let router = lan.add(Family::V4, Version::V3, |_| ());
    let message = Message { interval: 250, ..Message::v3(&[VIP_V4]) };
    assert_eq!(lan.hear(&message, &FROM_PEER_V4), Ok(router));
    assert_eq!(lan.agent.view(router).unwrap().active_interval.centiseconds(), 250);
    let expected = BTreeMap::from([("advertisement-rcvd", 1), ("steadfast-interval-mismatches", 1)]);
    assert_eq!(lan.counters(), expected);
}

/// A message of version 2 with this authentication.
fn authenticated(auth_type: u8, data: &[u8; 8]) -> Message {
    Message { interval: u16::from_be_bytes([auth_type, 1]), trailer: data.into(), ..Message::v2(&[VIP_V4]) }
}

#[test]
fn rfc2787_an_unknown_authentication_type_is_counted() {
    for auth_type in [3, 254, 255] {
        let packet = authenticated(auth_type, b"password");
        discarded(V2, |_| (), (&packet, &FROM_PEER_V4), (Discard::AuthType, "invalid-auth-type"));
    }
}

#[test]
fn rfc2787_another_authentication_type_than_the_local_one_is_counted() {
    let password = |settings: &mut Settings| settings.authentication = Authentication::Simple(*b"password");
    let counter = (Discard::AuthTypeMismatch, "auth-type-mismatch");
    for auth_type in [1, 2] {
        discarded(V2, |_| (), (&authenticated(auth_type, b"password"), &FROM_PEER_V4), counter);
    }
    for auth_type in [0, 2] {
        discarded(V2, password, (&authenticated(auth_type, b"password"), &FROM_PEER_V4), counter);
    }
}

#[test]
fn rfc2787_a_wrong_password_is_counted() {
    let password = |settings: &mut Settings| settings.authentication = Authentication::Simple(*b"password");
    for wrong in [b"Password", b"passwore", b"passwor\0", &[0; 8]] {
        let packet = authenticated(1, wrong);
        discarded(V2, password, (&packet, &FROM_PEER_V4), (Discard::AuthFailure, "auth-failures"));
    }
    accepted(V2, password, (&authenticated(1, b"password"), &FROM_PEER_V4));
}

#[test]
fn rfc3768_5_3_10_authentication_data_of_type_0_is_ignored() {
    accepted(V2, |_| (), (&authenticated(0, b"whatever"), &FROM_PEER_V4));
}

#[test]
fn rfc9568_5_1_1_2_another_destination_is_counted() {
    let elsewhere: [IpAddr; 2] = [OURS_V4, Ipv4Addr::new(224, 0, 0, 1).into()];
    for destination in elsewhere {
        let envelope = Envelope { destination, ..FROM_PEER_V4 };
        let counter = (Discard::Destination, "steadfast-destination-errors");
        discarded(V3, |_| (), (&Message::v3(&[VIP_V4]), &envelope), counter);
        discarded(V2, |_| (), (&Message::v2(&[VIP_V4]), &envelope), counter);
    }
}

/// A router with peers hears what is sent to an address of this machine, from as far away as it may come.
#[test]
fn unicast_is_heard_from_any_distance_and_the_group_is_not() {
    for (family, version) in [V2, V3, V3_IPV6] {
        let (peer, own, vip) =
            if family == Family::V4 { (PEER_V4, OURS_V4, VIP_V4) } else { (PEER_V6, OURS_V6, VIP_V6) };
        let settings = Settings { version, ..Settings::new(family, Vrid::new(1).unwrap()) };
        let mut lan = Lan::new();
        let router = lan.add_with(settings, &[peer]);
        lan.wait(Duration::ZERO);
        let message = if version == Version::V2 { Message::v2(&[vip]) } else { Message::v3(&[vip]) };
        let message = Message { priority: 200, ..message };
        let from_peer = Envelope { source: peer, destination: own, hop_limit: 3 };
        assert_eq!(lan.hear(&message, &from_peer), Ok(router));
        assert_eq!(lan.agent.view(router).unwrap().active_address, Some(peer));
        let to_the_group = Envelope { destination: settings.group, hop_limit: 255, ..from_peer };
        assert_eq!(lan.hear(&message, &to_the_group), Err(Discard::Destination));
        let stranger = if family == Family::V4 { "192.0.2.77" } else { "fe80::77" }.parse().unwrap();
        assert_eq!(lan.hear(&message, &Envelope { source: stranger, ..from_peer }), Ok(router));
    }
}

#[test]
fn unicast_from_a_stranger_is_counted_when_sources_are_checked() {
    let settings =
        Settings { check_peers: true, version: Version::V3, ..Settings::new(Family::V4, Vrid::new(1).unwrap()) };
    let mut lan = Lan::new();
    let router = lan.add_with(settings, &[Ipv4Addr::new(192, 0, 2, 9).into(), PEER_V4]);
    lan.wait(Duration::ZERO);
    let message = Message { priority: 200, ..Message::v3(&[VIP_V4]) };
    let stranger = Envelope { source: Ipv4Addr::new(192, 0, 2, 77).into(), destination: OURS_V4, hop_limit: 255 };
    let before = lan.face(router);
    assert_eq!(lan.hear(&message, &stranger), Err(Discard::Peer));
    assert_eq!(lan.counters(), BTreeMap::from([("steadfast-peer-errors", 1)]));
    assert_eq!(lan.face(router), before);
    assert_eq!(lan.hear(&message, &Envelope { source: PEER_V4, ..stranger }), Ok(router));
}

#[test]
fn unicast_from_further_away_than_configured_is_counted() {
    let settings = Settings { least_peer_hops: 250, ..Settings::new(Family::V4, Vrid::new(1).unwrap()) };
    let mut lan = Lan::new();
    let router = lan.add_with(settings, &[PEER_V4]);
    lan.wait(Duration::ZERO);
    let heard = |lan: &mut Lan, hop_limit| {
        lan.hear(&Message::v2(&[VIP_V4]), &Envelope { source: PEER_V4, destination: OURS_V4, hop_limit })
    };
    for hop_limit in [0, 249] {
        assert_eq!(heard(&mut lan, hop_limit), Err(Discard::HopLimit));
    }
    assert_eq!((heard(&mut lan, 250), heard(&mut lan, 255)), (Ok(router), Ok(router)));
    assert_eq!(lan.counters()["ip-ttl-errors"], 2);
}

/// Each peer gets an Advertisement whose checksum covers its own address; a peer that is this router itself gets none.
#[test]
fn unicast_goes_to_each_peer() {
    let mut lan = Lan::new();
    let settings = Settings { version: Version::V3, ..Settings::new(Family::V4, Vrid::new(1).unwrap()) };
    let third = Ipv4Addr::new(192, 0, 2, 3).into();
    let router = lan.add_with(settings, &[PEER_V4, OURS_V4, third]);
    lan.take_over();
    let to = |lan: &Lan| lan.agent.envelopes(router).map(|envelope| envelope.destination).collect::<Vec<_>>();
    assert_eq!(to(&lan), [PEER_V4, third]);
    for envelope in lan.agent.envelopes(router) {
        let mut buffer = [0; 64];
        let length = lan.agent.emit(router, &envelope, Some(Priority::DEFAULT), Form::PseudoHeader, &mut buffer);
        assert!(Advertisement::parse(&buffer[..length.unwrap()], &envelope).is_ok());
    }
    let without = RouterConfig { interface: lan.first, settings, addresses: &[VIP_V4], excluded: &[], peers: &[] };
    lan.agent.reconfigure(lan.now, router, &without).unwrap();
    assert_eq!(to(&lan), [settings.group]);
    let group = RouterConfig { peers: &[GROUP_V4.into()], ..without };
    assert_eq!(lan.agent.reconfigure(lan.now, router, &group), Err(AddError::Addresses));
}

#[test]
fn a_packet_from_our_own_source_address_is_counted() {
    every_kind_discards(
        |_, envelope| envelope.source = if envelope.source.is_ipv4() { OURS_V4 } else { OURS_V6 },
        Discard::OwnSource,
        "steadfast-own-source-errors",
    );
}

/// Erratum 8298 lets the owner hear a rival, so that two owners are resolved by an election.
#[test]
fn rfc9568_7_1_erratum_8298_an_owner_hears_advertisements() {
    let owner = |settings: &mut Settings| settings.priority = Priority::OWNER;
    for (kind, message, envelope) in all_kinds() {
        accepted(kind, owner, (&Message { priority: 255, ..message }, &envelope));
    }
}

#[test]
fn rfc9568_7_1_another_address_list_is_counted_and_accepted() {
    for (kind, message, envelope) in all_kinds() {
        let other = Message { addresses: vec![message.addresses[0]; 2], ..message };
        let counters = accepted(kind, |_| (), (&other, &envelope));
        assert_eq!(counters.get("address-list-errors"), Some(&1));
    }
}

#[test]
fn rfc9568_7_1_another_address_list_is_discarded_when_strict() {
    let strict = |settings: &mut Settings| settings.strict = true;
    for (kind, message, envelope) in all_kinds() {
        accepted(kind, strict, (&message, &envelope));
        let other = Message { addresses: vec![message.addresses[0]; 2], ..message };
        discarded(kind, strict, (&other, &envelope), (Discard::AddressList, "address-list-errors"));
    }
}

/// Both addresses are ours, but one of ours is missing.
#[test]
fn rfc9568_7_1_an_address_said_twice_is_another_list() {
    let mut lan = Lan::new();
    let settings = Settings { strict: true, ..Settings::new(Family::V4, Vrid::new(1).unwrap()) };
    let second = Ipv4Addr::new(192, 0, 2, 253).into();
    let config =
        RouterConfig { interface: lan.first, settings, addresses: &[VIP_V4, second], excluded: &[], peers: &[] };
    let router = lan.agent.add(BEGIN, &config, false).unwrap();
    assert_eq!(lan.hear(&Message::v2(&[VIP_V4, VIP_V4]), &FROM_PEER_V4), Err(Discard::AddressList));
    assert_eq!(lan.hear(&Message::v2(&[second, VIP_V4]), &FROM_PEER_V4), Ok(router));
}

/// FRR's first address is a global one.
#[test]
fn rfc9568_5_2_9_erratum_8300_a_first_address_that_is_not_link_local_is_discarded_when_strict() {
    let global: IpAddr = "2001:db8::1".parse().unwrap();
    let message = Message::v3(&[global]);
    let counters = accepted(V3_IPV6, |_| (), (&message, &FROM_PEER_V6));
    assert_eq!(counters.get("steadfast-first-address-errors"), Some(&1));
    let counter = (Discard::FirstAddress, "steadfast-first-address-errors");
    discarded(V3_IPV6, |settings| settings.strict = true, (&message, &FROM_PEER_V6), counter);
}

#[test]
fn a_router_that_does_not_run_counts_what_it_hears() {
    let mut lan = Lan::new();
    let router = lan.add(Family::V4, Version::V3, |_| ());
    lan.agent.handle_link(BEGIN, lan.first, Link::Down);
    assert_eq!(lan.state(router), State::Initialize);
    assert_eq!(lan.hear(&Message::v3(&[VIP_V4]), &FROM_PEER_V4), Err(Discard::NotRunning));
    assert_eq!(lan.counters(), BTreeMap::from([("steadfast-not-running", 1)]));
}

#[test]
fn a_malformed_packet_of_nobodys_vrid_is_counted_globally() {
    let mut lan = Lan::new();
    lan.add(Family::V4, Version::V3, |_| ());
    let bytes = [0x31];
    assert_eq!(lan.agent.handle_advertisement(lan.now, lan.first, &FROM_PEER_V4, &bytes), Err(Discard::Length));
    assert_eq!(lan.counters(), BTreeMap::from([("steadfast-unattributed-errors", 1)]));
}

/// RFC 9568 section 7.1 gives the order; a packet that is wrong in everything is counted by the first.
#[test]
fn rfc9568_7_1_a_packet_wrong_in_many_ways_moves_one_counter() {
    for (kind, message, envelope) in all_kinds() {
        let message = Message { first: 0x52, vrid: 0, seal: Seal::Literal(1), interval: 0, ..message };
        let envelope = Envelope { hop_limit: 0, ..envelope };
        discarded(kind, |settings| settings.strict = true, (&message, &envelope), (Discard::HopLimit, "ip-ttl-errors"));
    }
}
