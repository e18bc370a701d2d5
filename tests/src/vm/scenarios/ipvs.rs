//! Steadfast's IPVS client against the real table: it says what `ipvsadm` says, reads what `ipvsadm` shows, and writes
//! thousands of rows with a few system calls.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;
use std::time::{Duration, Instant};

use steadfast_linux::ipvs::Client;
use steadfast_linux::ipvs::row::{
    Destination, DestinationKey, Forwarding, Protocol, SchedulerFlags, Service, ServiceKey,
};
use steadfast_linux::ipvs::settings::{SyncDaemon, SyncState, Timeouts};
use steadfast_linux::ipvs::table::{Row, Table, Write, diff};

use super::super::net::{Net, Role, request};
use super::super::server::Server;
use super::super::tap::Tap;
use super::super::{Scenario, table};
use crate::ipvsadm::{self, Command, parse, recorded};
use crate::lab::clock::wait_for;
use crate::lab::namespace::Namespace;

/// IPVS_CMD_GET_INFO, which `ipvsadm` sends before everything else.
const GET_INFO: u8 = 15;

/// The scenarios of this file.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("ipvs", "ipvs-bytes", bytes),
        Scenario::new("ipvs", "ipvs-rows", rows),
        Scenario::new("ipvs", "ipvs-trains", trains),
        Scenario::new("ipvs", "ipvs-refusals", refusals),
        Scenario::new("ipvs", "ipvs-settings", settings),
        Scenario::new("ipvs", "ipvs-statistics", statistics),
    ]
}

fn client(place: &Namespace) -> Client {
    place.enter(Client::open).expect("the kernel has IPVS")
}

/// Runs `ipvsadm`, and does not mind if it fails: it may say something before.
fn try_ipvsadm(place: &Namespace, line: &str) {
    let mut command = place.command("ipvsadm");
    command.args(line.split_whitespace()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("ipvsadm starts");
}

/// The recorded requests, which `cargo test` compares with ours, are what `ipvsadm` sends.
fn bytes() {
    let net = Net::new(&[Role::Director1]);
    let director = net.machine(Role::Director1);
    let tap = Tap::start(director);
    let recorded = recorded();
    for recorded in &recorded {
        try_ipvsadm(director, recorded.line);
    }
    let mut heard = tap.requests().into_iter().filter(|request| request.first() != Some(&GET_INFO));
    for recorded in &recorded {
        for request in &recorded.requests {
            assert_eq!(heard.next().as_ref(), Some(request), "ipvsadm {}", recorded.line);
        }
    }
    assert_eq!(heard.next(), None, "after all of them");
}

/// Every kind of row is read as `ipvsadm` shows it, and written so that `ipvsadm` shows the same.
fn rows() {
    let net = Net::new(&[Role::Director1]);
    let director = net.machine(Role::Director1);
    let mut wanted = Table::new();
    for recorded in recorded() {
        match parse(recorded.line) {
            Command::Write(Write::AddService(service)) => {
                wanted.insert(service.key, Row::new(service, []));
            }
            Command::Write(Write::AddDestination(key, destination)) => {
                let row = wanted.get_mut(&key).expect("its service is there");
                row.destinations.insert(destination);
            }
            _ => continue,
        }
        table::ipvsadm(director, recorded.line);
    }
    let saved = table::saved(director);
    assert_eq!(ipvsadm::table(&saved), without_thresholds(&wanted), "{saved}");

    let mut client = client(director);
    let read = client.table().expect("it can be read");
    assert_eq!(read, wanted);
    assert_eq!(diff(&read, &wanted, &BTreeSet::new()), []);

    client.flush().expect("it can be emptied");
    assert_eq!(table::saved(director), "");
    let writes = diff(&Table::new(), &wanted, &BTreeSet::new());
    let failed = client.write(&writes).expect("it can be written");
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(table::saved(director), saved);
    assert_eq!(client.table().expect("it can be read"), wanted);

    // Everything about a row can be changed, and changed back.
    let mut other = wanted.clone();
    for row in other.values_mut() {
        row.service.scheduler = "wlc".into();
        row.service.flags = SchedulerFlags { one: true, two: false, three: true, one_packet: false };
        row.service.persistence = None;
        for destination in row.destinations.iter_mut() {
            (destination.weight, destination.upper_threshold, destination.lower_threshold) = (9, 20, 10);
        }
    }
    other.values_mut().filter(|row| row.service.key.family() == steadfast_core::types::Family::V4).for_each(|row| {
        let of_family = |row: &&mut Destination| row.key.address.is_ipv4();
        row.destinations.iter_mut().filter(of_family).for_each(|row| row.forwarding = Forwarding::Masquerade);
    });
    // A service for every packet of an address wants persistence.
    other.retain(|key, _| !matches!(key, ServiceKey::Address { port: 0, .. }));
    for (from, to) in [(&wanted, &other), (&other, &wanted)] {
        let writes = diff(from, to, &from.keys().copied().collect());
        let failed = client.write(&writes).expect("it can be written");
        assert!(failed.is_empty(), "{failed:?} of {writes:?}");
        assert_eq!(&client.table().expect("it can be read"), to);
    }
}

/// What `ipvsadm -S` leaves of a table.
fn without_thresholds(table: &Table) -> Table {
    let mut table = table.clone();
    for destination in table.values_mut().flat_map(|row| row.destinations.iter_mut()) {
        (destination.upper_threshold, destination.lower_threshold) = (0, 0);
    }
    table
}

fn service(address: Ipv4Addr) -> Service {
    let (protocol, port) = (Protocol::Tcp, 80);
    let key = ServiceKey::Address { protocol, address: address.into(), port };
    Service { key, scheduler: "rr".into(), flags: SchedulerFlags::default(), persistence: None }
}

fn destination(address: impl Into<IpAddr>) -> Destination {
    Destination {
        key: DestinationKey { address: address.into(), port: 80 },
        forwarding: Forwarding::DirectRoute,
        weight: 1,
        upper_threshold: 0,
        lower_threshold: 0,
    }
}

/// A thousand services of four destinations each.
fn large_table() -> Table {
    let addresses = (0..4_u8).flat_map(|high| (1..=250).map(move |low| Ipv4Addr::new(10, 50, high, low)));
    let destinations = || (1..=4).map(|low| destination(Ipv4Addr::new(10, 60, 0, low)));
    addresses.map(service).map(|row| (row.key, Row::new(row, destinations()))).collect()
}

/// A large table is there much sooner than `ipvsadm` restores it, and is not written again.
fn trains() {
    let net = Net::new(&[Role::Director1]);
    let director = net.machine(Role::Director1);
    let mut client = client(director);
    let wanted = large_table();
    let begun = Instant::now();
    let read = client.table().expect("it can be read");
    let writes = diff(&read, &wanted, &BTreeSet::new());
    let failed = client.write(&writes).expect("it can be written");
    let ours = begun.elapsed();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(writes.len(), 5_000);
    assert_eq!(table::count_servers(director), 4_000);

    let begun = Instant::now();
    let read = client.table().expect("it can be read");
    let reading = begun.elapsed();
    assert_eq!(read, wanted);
    assert_eq!(diff(&read, &wanted, &BTreeSet::new()), []);

    // What is there already is adopted, also by one who has not looked.
    let failed = client.write(&writes).expect("it can be written");
    assert!(failed.is_empty(), "{failed:?}");

    let saved = table::saved(director);
    table::ipvsadm(director, "-C");
    let begun = Instant::now();
    let theirs = restore(director, &saved, begun);
    println!("1,000 x 4 rows: {ours:?}, ipvsadm -R {theirs:?}, read again {reading:?}");
    assert!(ours * 3 < theirs, "{ours:?} against {theirs:?}");

    let writes = diff(&wanted, &Table::new(), &wanted.keys().copied().collect());
    for _ in 0..2 {
        let failed = client.write(&writes).expect("it can be written");
        assert!(failed.is_empty(), "{failed:?}");
        assert_eq!(table::saved(director), "");
    }
}

/// `ipvsadm -R`: how long it takes.
fn restore(place: &Namespace, saved: &str, begun: Instant) -> Duration {
    let mut child = place.command("ipvsadm").arg("-R").stdin(Stdio::piped()).spawn().expect("ipvsadm starts");
    child.stdin.take().expect("a pipe").write_all(saved.as_bytes()).expect("ipvsadm reads");
    assert!(child.wait().expect("ipvsadm ends").success());
    begun.elapsed()
}

/// Each refusal is told of its own row, however many there are.
fn refusals() {
    let net = Net::new(&[Role::Director1]);
    let director = net.machine(Role::Director1);
    let mut client = client(director);
    let there = service(Ipv4Addr::new(10, 50, 0, 1));
    let missing = service(Ipv4Addr::new(10, 50, 0, 2)).key;
    let one = destination(Ipv4Addr::new(10, 60, 0, 1));
    let errors = |client: &mut Client, writes: &[Write]| -> Vec<(usize, i32)> {
        let failed = client.write(writes).expect("it can be written");
        failed.into_iter().map(|(index, error)| (index, error.raw_os_error().unwrap_or(0))).collect()
    };
    let unknown = Service { scheduler: "unheard".into(), ..service(Ipv4Addr::new(10, 50, 0, 3)) };
    let heavy = Destination { weight: 1 << 31, ..one.clone() };
    let other_family = destination("fd09::1".parse::<IpAddr>().expect("an address"));
    let (enoent, esrch, einval, erange) = (2, 3, 22, 34);
    let writes = [
        Write::AddService(there.clone()),
        Write::AddService(unknown),
        Write::AddDestination(missing, one.clone()),
        Write::SetService(Service { key: missing, ..there.clone() }),
        Write::SetDestination(there.key, one.clone()),
        Write::AddDestination(there.key, heavy),
        Write::AddDestination(there.key, other_family),
        Write::DeleteService(missing),
        Write::DeleteDestination(there.key, one.key),
        Write::AddDestination(there.key, one.clone()),
    ];
    let expected = [(1, enoent), (2, esrch), (3, esrch), (4, enoent), (5, erange), (6, einval)];
    assert_eq!(errors(&mut client, &writes), expected);
    assert_eq!(table::servers(director, "10.50.0.1:80"), ["10.60.0.1:80 1"]);

    let many: Vec<Write> = (0..10_000).map(|_| Write::AddDestination(missing, one.clone())).collect();
    let failed = errors(&mut client, &many);
    assert!(failed.into_iter().eq((0..10_000).map(|index| (index, esrch))));
    assert_eq!(table::servers(director, "10.50.0.1:80"), ["10.60.0.1:80 1"]);
}

fn settings() {
    let net = Net::new(&[Role::Director1]);
    let director = net.machine(Role::Director1);
    let mut client = client(director);
    let info = client.info().expect("it says what it is");
    let version = table::ipvsadm(director, "-Ln");
    let (major, minor, patch) = info.version;
    let expected = format!("version {major}.{minor}.{patch} (size={})", info.connection_table_size);
    assert!(version.contains(&expected), "{expected} in {version}");

    client.set_timeouts(&Timeouts { tcp: 901, tcp_fin: 121, udp: 301 }).expect("they can be set");
    client.set_timeouts(&Timeouts { tcp: 0, tcp_fin: 61, udp: 0 }).expect("they can be set");
    assert_eq!(client.timeouts().expect("they can be read"), Timeouts { tcp: 901, tcp_fin: 61, udp: 301 });
    let shown = table::ipvsadm(director, "-Ln --timeout");
    assert!(shown.contains("901 61 301"), "{shown}");

    assert_eq!(client.sync_daemons().expect("they can be read"), []);
    let master = SyncDaemon {
        state: SyncState::Master,
        interface: "eth0".into(),
        id: 255,
        max_length: 1_400,
        port: 9_000,
        ttl: 3,
        group: Some(Ipv4Addr::new(224, 0, 0, 99).into()),
    };
    let group = Some("ff02::99".parse().expect("a group"));
    let backup = SyncDaemon { state: SyncState::Backup, id: 9, group, ..master.clone() };
    for daemon in [&master, &backup] {
        client.start_sync_daemon(daemon).expect("it can be started");
        assert_eq!(
            client.start_sync_daemon(daemon).map_err(|error| error.kind()),
            Err(std::io::ErrorKind::AlreadyExists)
        );
    }
    let shown = table::ipvsadm(director, "-Ln --daemon");
    assert!(
        shown.contains("master sync daemon (mcast=eth0, syncid=255, maxlen=1400, group=224.0.0.99, port=9000, ttl=3)"),
        "{shown}"
    );
    assert_eq!(client.sync_daemons().expect("they can be read"), [master.clone(), backup]);
    for state in [SyncState::Master, SyncState::Backup, SyncState::Backup] {
        client.stop_sync_daemon(state).expect("it can be stopped, and stopped again");
    }
    // Those of which little is said have the kernel's defaults.
    let plain = SyncDaemon { max_length: 0, port: 0, ttl: 0, group: None, ..master };
    client.start_sync_daemon(&plain).expect("it can be started");
    let found = client.sync_daemons().expect("they can be read");
    assert_eq!(found.len(), 1);
    let group = Some(Ipv4Addr::new(224, 0, 0, 81).into());
    assert_eq!((found[0].port, found[0].ttl, found[0].group), (8_848, 1, group));
    client.stop_sync_daemon(SyncState::Master).expect("it can be stopped");
    // Also before it has come to run, of which the kernel says nothing.
    for _ in 0..20 {
        client.start_sync_daemon(&plain).expect("it can be started");
        client.stop_sync_daemon(SyncState::Master).expect("it can be stopped");
    }
    assert_eq!(client.sync_daemons().expect("they can be read"), []);
}

fn statistics() {
    let vip = Ipv4Addr::new(10, 9, 0, 100);
    let net = Net::new(&[Role::Client, Role::Director1, Role::Rs1, Role::Rs2]);
    let director = net.machine(Role::Director1);
    director.ip("addr add 10.9.0.100/32 dev eth0");
    let mut client = client(director);
    let row = service(vip);
    let mut writes = vec![Write::AddService(row.clone())];
    let mut servers = Vec::new();
    for role in [Role::Rs1, Role::Rs2] {
        net.hold_silently(role, vip.into());
        servers.push(Server::web(net.machine(role), "0.0.0.0:80", role.name()));
        writes.push(Write::AddDestination(row.key, destination(Ipv4Addr::new(10, 9, 0, role.number()))));
    }
    assert!(client.write(&writes).expect("it can be written").is_empty());
    let address = "10.9.0.100:80".parse().expect("an address");
    for _ in 0..6 {
        request(net.machine(Role::Client), address, Duration::from_secs(5)).expect("an answer");
    }
    // The kernel adds them up every two seconds.
    let all = wait_for("counters", Duration::from_secs(20), || {
        let all = client.statistics().expect("they can be read");
        std::thread::sleep(Duration::from_millis(40));
        (all.first()?.counters.connections == 6).then_some(all)
    });
    assert_eq!((all.len(), all[0].service.key), (1, row.key));
    let counters = all[0].counters;
    assert!(counters.packets_in >= 6 * 4 && counters.bytes_in >= 6 * 4 * 40, "{counters:?}");
    assert_eq!((counters.packets_out, counters.bytes_out), (0, 0), "answers do not pass the director");
    for destination in &all[0].destinations {
        assert_eq!(destination.counters.connections, 3);
        assert_eq!(destination.active + destination.inactive, 3, "{destination:?}");
    }
    client.zero(Some(&row.key)).expect("they can be made zero");
    client.zero(None).expect("they can be made zero");
    let all = client.statistics().expect("they can be read");
    assert_eq!(all[0].counters.connections, 0);
    drop(servers);
}
