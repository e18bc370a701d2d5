//! What an Advertisement costs in core, counted in instructions by callgrind: received by a Backup and sent
//! by an Active, with few Virtual Routers on the agent and with many. Without arguments it prints the table
//! and fails if the cost grows with the number of Virtual Routers; `cost received|sent v2|v4|v6 ROUTERS EVENTS` is
//! one workload, which it runs itself under valgrind. Sockets are no part of it. It also prints what a
//! Virtual Router costs in memory where memory is fixed.

#![forbid(unsafe_code)]

use std::env;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Command, ExitCode};

use steadfast_core::agent::{Action, Agent, InterfaceId, Link, RouterConfig, RouterId, Settings};
use steadfast_core::counters::RouterCounters;
use steadfast_core::storage::Fixed;
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Family, Interval, Priority, Version, Vrid};
use steadfast_core::wire::Envelope;
use steadfast_core::wire::advertisement::{Authentication, Form, Outgoing};
use steadfast_linux::storage::Heap;

/// How many Virtual Routers the agent has.
const ROUTERS: [usize; 4] = [1, 16, 255, 4096];

/// The least number of events that are counted; it is rounded up to as many for each Virtual Router.
const EVENTS: usize = 8192;

/// VRIDs on one interface.
const VRIDS: usize = 255;

const INTERVAL: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] if !memory() => ExitCode::FAILURE,
        [] => table(),
        [kind, family, routers, events] => workload(kind, family, number(routers), number(events)),
        _ => panic!("cost [received|sent v2|v4|v6 ROUTERS EVENTS]"),
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

// Memory.

/// Bytes of one more Virtual Router with four addresses in fixed memory, and what has the most of them.
/// Whether it is within the limit.
fn memory() -> bool {
    const LIMIT: usize = 528;
    let one_more = size_of::<Agent<Fixed<5, 20, 1, 1>>>() - size_of::<Agent<Fixed<4, 16, 1, 1>>>();
    println!(
        "figure: bytes of a Virtual Router with 4 addresses: {one_more}, of which settings {}, counters {}, addresses {}",
        size_of::<Settings>(),
        size_of::<RouterCounters>(),
        4 * size_of::<IpAddr>(),
    );
    if one_more > LIMIT {
        println!("more than {LIMIT} bytes");
    }
    one_more <= LIMIT
}

// The table.

fn table() -> ExitCode {
    if let Err(error) = Command::new("valgrind").arg("--version").output() {
        println!("skipped: valgrind: {error}");
        return ExitCode::SUCCESS;
    }
    let mut scales = true;
    println!("figure: instructions per Advertisement in core, at {ROUTERS:?} Virtual Routers");
    for family in ["v2", "v4", "v6"] {
        for kind in ["received", "sent"] {
            let costs = ROUTERS.map(|routers| cost(kind, family, routers));
            let [_, few, .., many] = costs;
            let ratio = many as f64 / few as f64;
            scales &= ratio < 2.0;
            println!("figure: {family} {kind:8} {costs:6?}, from 16 to 4096: x{ratio:.2}");
        }
    }
    if !scales {
        println!("more than twice the instructions at 4096 Virtual Routers than at 16");
    }
    if scales { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Instructions per event: the difference of two runs, so that what comes before the events does not count.
fn cost(kind: &str, family: &str, routers: usize) -> u64 {
    let events = EVENTS.next_multiple_of(routers);
    let once = instructions(kind, family, routers, events);
    let twice = instructions(kind, family, routers, 2 * events);
    (twice - once) / events as u64
}

fn instructions(kind: &str, family: &str, routers: usize, events: usize) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().expect("the name of this program"))
        .args([kind, family, &routers.to_string(), &events.to_string()])
        .output()
        .expect("valgrind runs");
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}");
    let collected = report.lines().find_map(|line| line.split_once("Collected :")).expect("callgrind's count");
    collected.1.trim().parse().expect("a number of instructions")
}

// The workload.

fn workload(kind: &str, family: &str, routers: usize, events: usize) -> ExitCode {
    let version = if family == "v2" { Version::V2 } else { Version::V3 };
    let family = if family == "v6" { Family::V6 } else { Family::V4 };
    match kind {
        "received" => received(Lan::new(version, family, Priority::DEFAULT, routers), events),
        "sent" => sent(Lan::new(version, family, Priority::OWNER, routers), events),
        _ => panic!("received or sent"),
    }
    ExitCode::SUCCESS
}

/// An agent and its Virtual Routers, settled: none of them owes anything.
struct Lan {
    agent: Agent<Heap>,
    routers: Vec<(InterfaceId, RouterId)>,
    now: Instant,
}

impl Lan {
    fn new(version: Version, family: Family, priority: Priority, routers: usize) -> Self {
        let mut lan = Self { agent: Agent::new(), routers: Vec::new(), now: Instant::from_micros(1) };
        let mut interface = None;
        for index in 0..routers {
            if index % VRIDS == 0 {
                let new = lan.agent.add_interface().expect("room for an interface");
                lan.agent.handle_source(lan.now, new, family, Some(own(family)));
                lan.agent.handle_link(lan.now, new, Link::Up);
                interface = Some(new);
            }
            let interface = interface.expect("an interface");
            let vrid = Vrid::new((index % VRIDS) as u8 + 1).expect("a VRID");
            let mut settings = Settings::new(family, vrid);
            settings.version = version;
            settings.priority = priority;
            settings.announcing.repeat = 1;
            settings.announcing.delay = None;
            let config =
                RouterConfig { interface, settings, addresses: &[address(family, index)], excluded: &[], peers: &[] };
            let id = lan.agent.add(lan.now, &config, false).expect("room for a Virtual Router");
            lan.routers.push((interface, id));
        }
        while let Some(action) = lan.agent.poll(lan.now) {
            if let Action::Acquire { router, generation } = action {
                lan.agent.handle_done(lan.now, router, generation, Ok(()));
            }
        }
        lan
    }
}

/// Backups hear their Actives, one after the other.
fn received(mut lan: Lan, events: usize) {
    let settings = *lan.agent.view(lan.routers[0].1).expect("a Virtual Router").settings;
    let (source, destination) = (peer(settings.family), settings.group);
    let envelope = Envelope { source, destination, hop_limit: 255 };
    let packets: Vec<(InterfaceId, Vec<u8>)> = lan
        .routers
        .iter()
        .map(|(interface, id)| {
            let view = lan.agent.view(*id).expect("a Virtual Router");
            let message = Outgoing {
                version: view.settings.version,
                vrid: view.settings.vrid,
                priority: Priority::new(200),
                interval: Interval::DEFAULT,
                authentication: Authentication::None,
                addresses: view.addresses,
            };
            let mut buffer = vec![0; 64];
            let length = message.emit(source, destination, Form::PseudoHeader, &mut buffer).expect("room");
            buffer.truncate(length);
            (*interface, buffer)
        })
        .collect();
    let step = Duration::from_micros(INTERVAL.as_micros() / packets.len() as u64);
    for (interface, packet) in packets.iter().cycle().take(events) {
        lan.now = lan.now + step;
        let heard = lan.agent.handle_advertisement(lan.now, *interface, &envelope, packet);
        heard.expect("an acceptable Advertisement");
        assert_eq!(lan.agent.poll(lan.now), None);
        assert!(lan.agent.poll_at() > Some(lan.now));
    }
}

/// Actives advertise, each at its time.
fn sent(mut lan: Lan, events: usize) {
    let mut buffer = [0; 64];
    let mut events = 0..events;
    loop {
        lan.now = lan.now.max(lan.agent.poll_at().expect("a deadline"));
        while let Some(action) = lan.agent.poll(lan.now) {
            let Action::Advertise { router, priority, form, .. } = action else { panic!("{action:?}") };
            let envelope = lan.agent.envelopes(router).next().expect("a source and a group");
            let length = lan.agent.emit(router, &envelope, priority, form, &mut buffer).expect("room");
            black_box(&buffer[..length]);
            if events.next().is_none() {
                return;
            }
        }
    }
}

fn own(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(192, 0, 2, 1).into(),
        Family::V6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(),
    }
}

fn peer(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(192, 0, 2, 2).into(),
        Family::V6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2).into(),
    }
}

fn address(family: Family, index: usize) -> IpAddr {
    let [high, low] = (index as u16).to_be_bytes();
    match family {
        Family::V4 => Ipv4Addr::new(10, 0, high, low).into(),
        Family::V6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, index as u16).into(),
    }
}
