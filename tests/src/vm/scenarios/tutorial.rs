//! The classic cluster, end to end: two directors that share a virtual address by VRRP, direct routing in turn to two
//! web servers, from one file (`tutorial.conf` beside this one). A server that stops leaves the table within its check's
//! time and comes back when it answers; a director that dies leaves its place to one with a full table, and with the
//! sync daemon an open connection goes on.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::director::{Director, Program};
use super::super::lateness::Lateness;
use super::super::net::{Conversation, Net, Role, request};
use super::super::server::{Kind, Server};
use super::super::{Scenario, table};
use crate::lab::clock::{Stamp, wait_for};

const CONFIGURATION: &str = include_str!("tutorial.conf");
const WEB: &str = "10.9.0.100:80";
const ECHO: &str = "10.9.0.100:7";

/// delay_loop, connect_timeout, retry and delay_before_retry of the file.
const DELAY_LOOP: f64 = 1000.0;
const TIMEOUT: f64 = 1000.0;
const RETRY: f64 = 1.0;
const DELAY: f64 = 1000.0;
/// Active_Down_Interval of the file's Virtual Router: three intervals of half a second, and a priority of 100.
const DOWN: f64 = 1500.0 + 156.0 * 500.0 / 256.0;

/// What the VM may add to a bound: a look at the table every few tens of milliseconds, a program started for it.
const SLACK: f64 = 500.0;
/// How long something may take that has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(20);

/// The scenario, with Steadfast; and its proof, that the same can be seen of keepalived.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("tutorial", "tutorial-steadfast", || tutorial(Program::Steadfast)),
        Scenario::new("tutorial", "tutorial-keepalived", || tutorial(Program::Keepalived)).long(),
    ]
}

fn tutorial(program: Program) {
    let net = Net::new(&[Role::Client, Role::Director1, Role::Director2, Role::Rs1, Role::Rs2]);
    let mut web = Vec::new();
    let mut echo = Vec::new();
    for role in [Role::Rs1, Role::Rs2] {
        net.hold_silently(role, "10.9.0.100".parse().expect("an address"));
        web.push(Server::web(net.machine(role), "0.0.0.0:80", role.name()));
        let address = "0.0.0.0:7".parse().expect("an address");
        echo.push(Server::start(net.machine(role), address, role.name(), Kind::Echo));
    }
    let first = Director::start(program, &net, Role::Director1, CONFIGURATION);
    wait_for("director1 to be Active", PATIENCE, || holds_vip(&net, Role::Director1).then_some(()));
    let second = Director::start(program, &net, Role::Director2, CONFIGURATION);
    for director in [Role::Director1, Role::Director2] {
        full(&net, director, PATIENCE);
    }
    alternate(&net);

    let lateness = Lateness::watch();
    let slack = || SLACK + 3.0 * lateness.worst_ms();

    // One web server stops: both directors take it out, in the time of its check; the other answers all.
    let stopped = web.remove(0).stop();
    let formula = DELAY_LOOP + RETRY * (TIMEOUT + DELAY);
    for director in [Role::Director1, Role::Director2] {
        let gone = table::wait_servers(net.machine(director), WEB, &["10.9.0.22:80 1"], PATIENCE).ms_since(stopped);
        println!("figure: vm: {}: stopped server out after {gone:.0} ms at {}", program.name(), director.name());
        let bound = formula + slack();
        assert!(gone < bound, "the stopped server left after {gone:.0} ms, its check allows {bound:.0}");
    }
    assert_eq!(answers(&net, 4), ["rs2"; 4]);

    // It starts again, and is back after its next check.
    web.insert(0, Server::web(net.machine(Role::Rs1), "0.0.0.0:80", Role::Rs1.name()));
    let started = Stamp::now();
    let back = full(&net, Role::Director1, PATIENCE).ms_since(started);
    println!("figure: vm: {}: started server back after {back:.0} ms", program.name());
    let bound = DELAY_LOOP + TIMEOUT + slack();
    assert!(back < bound, "the server came back after {back:.0} ms, its check allows {bound:.0}");
    full(&net, Role::Director2, PATIENCE);
    alternate(&net);

    // A connection that stays open; the Backup learns of it.
    let mut open = Conversation::open(net.machine(Role::Client), ECHO.parse().expect("an address"));
    let server = open.ask();
    wait_for("the Backup to know the connection", PATIENCE, || {
        assert_eq!(open.ask(), server);
        knows_connection(&net, Role::Director2).then_some(())
    });

    // The Active director dies: the Backup serves, with a full table from its first moment on.
    lateness.worst_ms();
    let died = net.cut(Role::Director1);
    let client = net.machine(Role::Client);
    let address: SocketAddr = WEB.parse().expect("an address");
    let served = wait_for("an answer", PATIENCE, || {
        let begun = Stamp::now();
        request(client, address, Duration::from_millis(300)).is_ok().then_some(begun)
    });
    full(&net, Role::Director2, Duration::ZERO);
    let gap = served.ms_since(died);
    println!("figure: vm: {}: director dead, first answered request begun {gap:.0} ms later", program.name());
    let bound = DOWN + slack();
    assert!(gap < bound, "no answer for {gap:.0} ms, the Virtual Router allows {bound:.0}");
    alternate(&net);
    assert_eq!(open.ask(), server, "the open connection goes on, with its server");
    println!(
        "figure: vm: {}: the open connection goes on, {:.0} ms after",
        program.name(),
        Stamp::now().ms_since(died)
    );
    drop((first, second, echo, web));
}

fn holds_vip(net: &Net, role: Role) -> bool {
    net.machine(role).ip("-o addr show dev eth0").contains(" 10.9.0.100/32 ")
}

/// Waits until both services of a director have both servers.
#[track_caller]
fn full(net: &Net, director: Role, patience: Duration) -> Stamp {
    let machine = net.machine(director);
    table::wait_servers(machine, ECHO, &["10.9.0.21:7 1", "10.9.0.22:7 1"], patience);
    table::wait_servers(machine, WEB, &["10.9.0.21:80 1", "10.9.0.22:80 1"], patience)
}

fn answers(net: &Net, count: usize) -> Vec<String> {
    let address: SocketAddr = WEB.parse().expect("an address");
    let ask =
        || request(net.machine(Role::Client), address, PATIENCE).unwrap_or_else(|error| panic!("no answer: {error}"));
    (0..count).map(|_| ask()).collect()
}

/// Six requests are answered by both servers in turn.
#[track_caller]
fn alternate(net: &Net) {
    let answers = answers(net, 6);
    assert!(answers.windows(2).all(|pair| pair[0] != pair[1]), "not in turn: {answers:?}");
}

/// Whether a director's connection table has one to the echo service.
fn knows_connection(net: &Net, director: Role) -> bool {
    // FromIP FPrt ToIP TPrt in hexadecimal: port 7 of 10.9.0.100.
    let connections = || std::fs::read_to_string("/proc/thread-self/net/ip_vs_conn").unwrap_or_default();
    net.machine(director).enter(connections).contains(" 0A090064 0007 ")
}
