//! Many services: 1,000 with 4 servers each, beside keepalived in the same VM, each in turn. How long until the table
//! is complete; how much a reload writes; what a check costs.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use steadfast_linux::ipvs::client::Client;
use steadfast_linux::ipvs::row::{Destination, DestinationKey, Forwarding, Protocol, Service, ServiceKey};
use steadfast_linux::ipvs::table::Write;

use super::super::director::{Director, Program};
use super::super::net::{Net, Role};
use super::super::server::{Kind, Server};
use super::super::tap::{Tap, Writes};
use super::super::{Scenario, table};
use crate::lab::clock::{Stamp, median, summary, wait_for};
use crate::lab::thorough;

const SERVICES: usize = 1000;
const SERVERS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(60);

/// The scenarios of this file; they want the VM to themselves, and the computer.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("scale", "scale-table-time", table_time),
        Scenario::new("scale", "scale-reload-writes", reload_writes),
        Scenario::new("scale-checks", "scale-cost-of-checks", cost_of_checks).long(),
    ]
}

/// A file with some services of four servers each; with `check`, a TCP_CHECK a second for every server.
fn configuration(services: usize, check: bool) -> String {
    let mut text = String::new();
    for service in 0..services {
        text.push_str(&virtual_server(service, check));
    }
    text
}

fn virtual_address(service: usize) -> Ipv4Addr {
    let number = |number| u8::try_from(number).expect("at most 64,000 services");
    Ipv4Addr::new(10, 50, number(service / 250), number(service % 250 + 1))
}

fn key(service: usize) -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, address: virtual_address(service).into(), port: 80 }
}

fn virtual_server(service: usize, check: bool) -> String {
    let [.., high, low] = virtual_address(service).octets();
    let mut text = format!(
        "virtual_server 10.50.{high}.{low} 80 {{\n    delay_loop 1\n    lb_algo rr\n    lb_kind NAT\n    protocol TCP\n"
    );
    for server in 0..SERVERS {
        let check = if check { "        TCP_CHECK {\n            connect_timeout 3\n        }\n" } else { "" };
        // Writing to a String cannot fail.
        let _ =
            write!(text, "    real_server 10.{}.{high}.{low} 80 {{\n        weight 1\n{check}    }}\n", 60 + server);
    }
    text.push_str("}\n");
    text
}

/// Waits until the table has so many servers. When it was seen to.
#[track_caller]
fn wait_count(net: &Net, wanted: usize) -> Stamp {
    let director = net.machine(Role::Director1);
    wait_for("all servers in the table", PATIENCE, || {
        let at = Stamp::now();
        let complete = table::count_servers(director) == wanted;
        std::thread::sleep(Duration::from_millis(40));
        complete.then_some(at)
    })
}

/// The rows of [`configuration`], one after the other.
fn rows() -> Vec<Write> {
    let mut rows = Vec::new();
    for service in 0..SERVICES {
        let key = key(service);
        rows.push(Write::AddService(Service {
            key,
            scheduler: "rr".into(),
            flags: Default::default(),
            persistence: None,
        }));
        let [.., high, low] = virtual_address(service).octets();
        for network in (60..).take(SERVERS) {
            let destination = DestinationKey { address: Ipv4Addr::new(10, network, high, low).into(), port: 80 };
            let (forwarding, weight) = (Forwarding::Masquerade, 1);
            let (upper_threshold, lower_threshold) = (0, 0);
            let row = Destination { key: destination, forwarding, weight, upper_threshold, lower_threshold };
            rows.push(Write::AddDestination(key, row));
        }
    }
    rows
}

/// How long the kernel takes for the rows alone, in milliseconds: they are ready, and given to it in a few trains.
fn kernel_time() -> f64 {
    let net = Net::new(&[Role::Director1]);
    let rows = rows();
    net.machine(Role::Director1).enter(|| {
        let mut client = Client::open().expect("the kernel's IPVS");
        let begun = Stamp::now();
        let refused = client.write(&rows).expect("an answer of the kernel");
        assert!(refused.is_empty(), "{refused:?}");
        Stamp::now().ms_since(begun)
    })
}

/// Prints what was measured of somebody: for people, and each value for [`values`].
fn tell(what: &str, whose: &str, values: &[f64]) {
    println!("figure: vm: {what}: {whose} {}", summary(values));
    let values: Vec<_> = values.iter().map(|value| format!("{value:.1}")).collect();
    println!("values: {whose}: {}", values.join(" "));
}

/// What a scenario of this file, of which `console` is the output, has measured of somebody.
pub fn values(console: &str, whose: &str) -> Vec<f64> {
    let lines = console.lines().filter_map(|line| line.strip_prefix(&format!("values: {whose}: ")).map(str::to_owned));
    lines.flat_map(|line| line.split(' ').filter_map(|word| word.parse().ok()).collect::<Vec<_>>()).collect()
}

/// From the start of the program to the last server in the table; medians of three, in turn. Each time on a machine
/// that has just been made: a kernel remembers servers for minutes after they were deleted, and looks through them
/// whenever one is added.
///
/// What the kernel needs for the rows alone is most of Steadfast's time, whoever writes them. In millions of instructions
/// (`-icount`): keepalived in all 358, the kernel alone 85, which is 0.24 of that, Steadfast in all 139; reading 320 kB of
/// configuration is 31 of them. By that count it is 0.39; what a system call costs more than such a count says is another
/// matter on each machine and each day, in favour of one or the other. So the bound is a half.
fn table_time() {
    let text = configuration(SERVICES, false);
    let last = key(SERVICES - 1);
    let (mut ours, mut theirs, mut kernel) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        kernel.push(kernel_time());
        for (program, times) in [(Program::Keepalived, &mut theirs), (Program::Steadfast, &mut ours)] {
            let net = Net::new(&[Role::Director1]);
            let director = net.machine(Role::Director1);
            let running = Director::start(program, &net, Role::Director1, &text);
            let complete = table::wait_whole(director, &last, SERVERS, SERVICES * SERVERS, PATIENCE);
            times.push(complete.ms_since(running.started));
            running.stop();
            assert_eq!(table::count_servers(director), 0, "{} leaves servers", program.name());
        }
    }
    let what = "1,000 services with 4 servers, start to complete table, ms";
    for (whose, times) in [("kernel", &kernel), ("steadfast", &ours), ("keepalived", &theirs)] {
        tell(what, whose, times);
    }
    let (ours, theirs) = (median(&ours), median(&theirs));
    println!("figure: vm: the table of steadfast takes {:.2} of keepalived's time", ours / theirs);
    assert!(ours <= theirs * 0.5, "{ours:.0} ms is more than half of keepalived's {theirs:.0} ms");
}

/// What reloads write: nothing when nothing has changed, what is new and no more when something has.
fn reload_writes() {
    let net = Net::new(&[Role::Director1]);
    let director = net.machine(Role::Director1);
    let text = configuration(SERVICES, false);
    let agent = Director::start(Program::Steadfast, &net, Role::Director1, &text);
    wait_count(&net, SERVICES * SERVERS);
    let tap = Tap::start(director);
    let reload = |text: &str, servers: usize| {
        let (accepted, said) = agent.reload_by_command(text);
        assert!(accepted, "{said}");
        wait_count(&net, servers);
        tap.writes()
    };
    let unchanged = reload(&text, SERVICES * SERVERS);
    println!("figure: vm: an unchanged reload of 1,000 services writes {unchanged:?}");
    let whole = format!("{text}{}", virtual_server(SERVICES, false));
    let with_service = reload(&whole, (SERVICES + 1) * SERVERS);
    println!("figure: vm: one more service with four servers writes {with_service:?}");
    let weight = whole.replacen("weight 1", "weight 9", 1);
    let changed = reload(&weight, (SERVICES + 1) * SERVERS);
    println!("figure: vm: one changed weight writes {changed:?}");
    assert_eq!(unchanged, Writes::new());
    assert_eq!(with_service, Writes::from([("new service", 1), ("new server", SERVERS)]));
    assert_eq!(changed, Writes::from([("set server", 1)]));
}

/// 4,000 TCP checks that are due every second: the CPU time of one, and that no server that answers is taken out. An
/// emulated processor does not get to all of them in their second, keepalived's or ours; the cost of one is still told,
/// as the median of three in turn.
/// The program has a processor to itself: what its packets cause at the servers is not its cost.
fn cost_of_checks() {
    let net = Net::new(&[Role::Director1, Role::Rs1, Role::Rs2]);
    net.receive_on_second_processor();
    let director = net.machine(Role::Director1);
    let mut sinks = Vec::new();
    for (role, networks) in [(Role::Rs1, [60, 61]), (Role::Rs2, [62, 63])] {
        for network in networks {
            // Every address of the network is the machine's own.
            net.machine(role).ip(&format!("route add local 10.{network}.0.0/16 dev lo"));
            director.ip(&format!("route add 10.{network}.0.0/16 via 10.9.0.{}", role.number()));
        }
        let address = "0.0.0.0:80".parse().expect("an address");
        sinks.push(Server::start(net.machine(role), address, role.name(), Kind::Sink));
    }
    let text = configuration(SERVICES, true);
    let accepted = || sinks.iter().map(Server::accepted).sum::<u64>();
    let window = Duration::from_secs(if thorough() { 20 } else { 6 });
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for program in [Program::Keepalived, Program::Steadfast].repeat(3) {
        let before = accepted();
        let running = Director::start(program, &net, Role::Director1, &text);
        running.stay_on_first_processor();
        wait_count(&net, SERVICES * SERVERS);
        // So many first checks, or some of them second ones.
        wait_for("the first checks", PATIENCE, || (accepted() - before > (SERVICES * SERVERS) as u64).then_some(()));
        let (begun, checks, cpu) = (Stamp::now(), accepted(), running.process.cpu_ms());
        while Stamp::now() < begun + window {
            std::thread::sleep(Duration::from_secs(1));
            // What keepalived does on a machine that cannot keep up with it is its own business.
            let all = table::count_servers(director) == SERVICES * SERVERS;
            assert!(all || program == Program::Keepalived, "a server was removed");
        }
        let seconds = Stamp::now().ms_since(begun) / 1000.0;
        let (checks, cpu) = ((accepted() - checks) as f64, running.process.cpu_ms() - cpu);
        let cost = cpu * 1000.0 / checks;
        println!(
            "figure: vm: 4,000 TCP checks at 1 s: {}: {cost:.0} us of CPU a check, {:.0} checks a second, {} kB resident",
            program.name(),
            checks / seconds,
            running.process.resident_kb()
        );
        if program == Program::Steadfast { &mut ours } else { &mut theirs }.push(cost);
        running.stop();
    }
    tell("CPU time of a TCP check, us", "steadfast", &ours);
    tell("CPU time of a TCP check, us", "keepalived", &theirs);
    let (ours, theirs) = (median(&ours), median(&theirs));
    println!("figure: vm: a check of steadfast costs {:.2} of keepalived's", ours / theirs);
    assert!(ours * 2.0 <= theirs, "{ours:.0} us a check is more than half of keepalived's {theirs:.0} us");
}
