//! A whole agent on a hostile LAN: any packets, links that come and go, time that passes. Whatever arrives, `poll` runs
//! dry, the deadline is never in the past afterwards, and at most one counter moves for a packet that is discarded.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use steadfast_core::agent::{Action, Agent, Link, Refused, RouterConfig, Settings};
use steadfast_core::storage::Fixed;
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Family, Priority, Version, Vrid};
use steadfast_core::wire::checksum::{Sum, pseudo_header};
use steadfast_core::wire::{Envelope, GROUP_V4, GROUP_V6};

/// Three Virtual Routers in up to three sync groups.
type Small = Agent<Fixed<3, 6, 1, 4, 0, 3>>;

/// More than three routers can owe at one moment: every debt, every announcement of a burst, every event.
const BUDGET: usize = 1000;

fuzz_target!(|input: &[u8]| {
    let mut agent = Small::new();
    let group = agent.add_group().expect("room for one");
    let mut now = Instant::from_micros(1);
    let interface = agent.add_interface().expect("room for one");
    let sources = [IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), "fe80::1".parse().expect("an address")];
    for (family, source) in [Family::V4, Family::V6].into_iter().zip(sources) {
        agent.handle_source(now, interface, family, Some(source));
    }
    agent.handle_link(now, interface, Link::Up);
    for (vrid, family, version) in
        [(1, Family::V4, Version::V2), (2, Family::V4, Version::V3), (1, Family::V6, Version::V3)]
    {
        let mut settings = Settings::new(family, Vrid::new(vrid).expect("not zero"));
        settings.version = version;
        settings.priority = Priority::new(100 + vrid).expect("not zero");
        let addresses: [IpAddr; 2] = match family {
            Family::V4 => [[10, 0, 0, 8].into(), [10, 0, 0, 9].into()],
            Family::V6 => [Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 8).into(), Ipv6Addr::LOCALHOST.into()],
        };
        agent
            .add(now, &RouterConfig { interface, settings, addresses: &addresses, excluded: &[], peers: &[] }, false)
            .expect("room for three");
    }

    let mut rest = input;
    while let Some((&[what, amount], tail)) = rest.split_first_chunk() {
        rest = tail;
        let ids: Vec<_> = agent.routers().collect();
        match what % 8 {
            0 => now = now + Duration::from_millis(u64::from(amount)),
            1 => now = now + Duration::from_secs(u64::from(amount)),
            2 => agent.handle_link(now, interface, if amount % 2 == 0 { Link::Up } else { Link::Down }),
            3 => {
                if let Some(id) = ids.get(usize::from(amount) % 4) {
                    agent.handle_lost(now, *id);
                }
            }
            4 if amount == 255 => agent.shutdown(now),
            4 => {
                let family = if amount % 2 == 0 { Family::V4 } else { Family::V6 };
                let source = (amount < 128).then_some(sources[usize::from(amount % 2)]);
                agent.handle_source(now, interface, family, source);
            }
            5 => {
                let Some(id) = ids.get(usize::from(amount) % 4) else { continue };
                if amount < 192 {
                    agent.join(now, *id, group).expect("room for three");
                } else {
                    agent.leave(now, *id);
                }
            }
            _ => {
                let (packet, tail) = rest.split_at(rest.len().min(usize::from(amount)));
                rest = tail;
                receive(&mut agent, now, interface, packet);
            }
        }
        drain(&mut agent, now, amount);
    }
});

/// A packet from a neighbour whose address ends like the packet begins; its checksum is right.
fn receive(agent: &mut Small, now: Instant, interface: steadfast_core::agent::InterfaceId, packet: &[u8]) {
    let Some((&host, message)) = packet.split_first() else { return };
    let (source, destination): (IpAddr, IpAddr) = match host & 1 {
        0 => (Ipv4Addr::new(10, 0, 0, host).into(), GROUP_V4.into()),
        _ => (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host.into()).into(), GROUP_V6.into()),
    };
    let mut message = message.to_vec();
    if let Some(field) = message.get_mut(6..8) {
        field.fill(0);
        let length = u16::try_from(message.len()).expect("a byte");
        let plain = message[0] >> 4 == 2 || host & 2 != 0;
        let sum = if plain { Sum::ZERO } else { pseudo_header(source, destination, 112, length) };
        let checksum = sum.plus(&message).checksum().to_be_bytes();
        message[6..8].copy_from_slice(&checksum);
    }
    let envelope = Envelope { source, destination, hop_limit: 255 };
    let before = counted(agent);
    let deadline = agent.poll_at();
    let heard = agent.handle_advertisement(now, interface, &envelope, &message);
    if heard.is_err() {
        assert_eq!(counted(agent), before + 1, "one counter for {heard:?}");
        assert_eq!(agent.poll_at(), deadline, "nothing else moves");
    }
}

fn counted(agent: &Small) -> u64 {
    let routers = agent.routers().filter_map(|id| agent.view(id)).flat_map(|view| view.counters.iter());
    agent.counters().iter().chain(routers).map(|(_, count)| count).sum()
}

/// Does as the agent says; `mood` decides which acquisitions fail.
fn drain(agent: &mut Small, now: Instant, mood: u8) {
    for _ in 0..BUDGET {
        match agent.poll(now) {
            None => {
                assert!(agent.poll_at().is_none_or(|at| at > now), "{:?} at {now:?}", agent.poll_at());
                return;
            }
            Some(Action::Acquire { router, generation } | Action::Release { router, generation }) => {
                let result = if mood % 5 == 4 { Err(Refused) } else { Ok(()) };
                agent.handle_done(now, router, generation, result);
            }
            Some(Action::Advertise { router, priority, form, .. }) => {
                let envelope = agent.envelopes(router).next().expect("a source and a group");
                let mut buffer = [0; 64];
                agent.emit(router, &envelope, priority, form, &mut buffer).expect("two addresses");
            }
            Some(Action::Announce { .. } | Action::Notify(_) | Action::Retired(_)) => {}
        }
    }
    panic!("poll does not run dry");
}
