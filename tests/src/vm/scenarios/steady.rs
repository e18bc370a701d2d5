//! The table stays as it should be whatever happens beside Steadfast: rows deleted, added and changed behind its back
//! by `ipvsadm` are put right within a reconcile interval, others' services are left alone, nothing is written when
//! nothing differs, and a reload with a file that is wrong changes nothing at all.

use std::time::Duration;

use super::super::director::{Director, Program};
use super::super::lateness::Lateness;
use super::super::net::{Conversation, Net, Role};
use super::super::server::{Kind, Server};
use super::super::tap::{Tap, Writes};
use super::super::{Scenario, table};
use crate::lab::clock::{Stamp, wait_for};
use crate::lab::thorough;

/// The interval in which Steadfast looks at the kernel's table.
const RECONCILE: f64 = 5000.0;
/// What the VM may add to it.
const SLACK: f64 = 1500.0;
const PATIENCE: Duration = Duration::from_secs(20);

const CONFIGURATION: &str = "\
virtual_server 10.9.0.100 80 {
    delay_loop 1
    lb_algo rr
    lb_kind DR
    protocol TCP
    warmup 0
    real_server 10.9.0.21 80 {
        weight 1
        TCP_CHECK {
            connect_timeout 1
        }
    }
    real_server 10.9.0.22 80 {
        weight 2
        TCP_CHECK {
            connect_timeout 1
        }
    }
}

virtual_server fwmark 7 {
    lb_algo wlc
    lb_kind NAT
    persistence_timeout 60
    real_server 10.9.0.21 80 {
        weight 1
    }
}
";

const TABLE: &str = "\
-A -t 10.9.0.100:80 -s rr
-a -t 10.9.0.100:80 -r 10.9.0.21:80 -g -w 1
-a -t 10.9.0.100:80 -r 10.9.0.22:80 -g -w 2
-A -f 7 -s wlc -p 60
-a -f 7 -r 10.9.0.21:80 -m -w 1
";

/// What somebody else's program may have in the table, in front of all of that.
const FOREIGN: &str = "-A -t 10.8.0.1:99 -s sh\n-a -t 10.8.0.1:99 -r 10.8.0.2:99 -g -w 1\n";

/// The scenarios of this file.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        // First in its VM: no other has loaded the module yet.
        Scenario::new("steady", "module-is-loaded", module_is_loaded),
        Scenario::new("steady", "reload-with-errors-changes-nothing", reload_with_errors),
        Scenario::new("steady", "what-is-right-is-adopted", adopted),
        Scenario::new("steady", "drift-is-put-right", drift),
    ]
}

/// A director with the table above, complete.
struct Stage {
    net: Net,
    servers: Vec<Server>,
    agent: Director,
}

impl Stage {
    #[track_caller]
    fn new() -> Self {
        let net = Net::new(&[Role::Client, Role::Director1, Role::Rs1, Role::Rs2]);
        net.machine(Role::Director1).ip("addr add 10.9.0.100/32 dev eth0");
        let mut servers = Vec::new();
        for role in [Role::Rs1, Role::Rs2] {
            net.hold_silently(role, "10.9.0.100".parse().expect("an address"));
            let address = "0.0.0.0:80".parse().expect("an address");
            servers.push(Server::start(net.machine(role), address, role.name(), Kind::Echo));
        }
        let agent = Director::start(Program::Steadfast, &net, Role::Director1, CONFIGURATION);
        table::wait_saved(net.machine(Role::Director1), TABLE, PATIENCE);
        Self { net, servers, agent }
    }

    /// Waits for some checks to be done from now on.
    #[track_caller]
    fn wait_checks(&self, count: u64) {
        let checks = || self.servers.iter().map(Server::accepted).sum::<u64>();
        let before = checks();
        wait_for("checks", PATIENCE, || (checks() >= before + count).then_some(()));
    }
}

fn module_is_loaded() {
    let modules = || std::fs::read_to_string("/proc/modules").unwrap_or_default();
    assert!(!modules().contains("ip_vs "), "another scenario has loaded ip_vs");
    let stage = Stage::new();
    assert!(modules().contains("ip_vs "));
    stage.agent.stop();
}

fn reload_with_errors() {
    let stage = Stage::new();
    let director = stage.net.machine(Role::Director1);
    let tap = Tap::start(director);
    let mut conversation =
        Conversation::open(stage.net.machine(Role::Client), "10.9.0.100:80".parse().expect("an address"));
    let server = conversation.ask();
    let address = CONFIGURATION.replace("real_server 10.9.0.22", "real_server 10.9.0.222222");
    let brace = CONFIGURATION.trim_end().strip_suffix('}').expect("the file ends with a brace").to_owned();
    let include = format!("{CONFIGURATION}\ninclude /no/such/file.conf\n");
    let twice = format!("{CONFIGURATION}\nvirtual_server 10.9.0.100 80 {{\n    protocol TCP\n}}\n");
    // The line that is to blame: the last one with these words.
    let wrong = [
        ("an address that is none", address, "10.9.0.222222"),
        ("a brace that is missing", brace, "virtual_server fwmark 7"),
        ("an include that is missing", include, "/no/such/file"),
        ("a service twice", twice, "virtual_server 10.9.0.100 80"),
    ];
    let mut complaints = Vec::new();
    for (what, text, blame) in &wrong {
        let line = text.lines().count() - text.lines().rev().position(|line| line.contains(blame)).unwrap_or(0);
        let (accepted, said) = stage.agent.reload_by_command(text);
        println!("{what}: {}", said.trim_end());
        if accepted || !said.contains(&format!("keepalived.conf:{line}")) {
            complaints.push(format!("{what} (line {line}): accepted: {accepted}, said: {said}"));
        }
        assert_eq!(table::saved(director), TABLE, "{what} has changed the table");
    }
    stage.wait_checks(4);
    assert_eq!(table::saved(director), TABLE);
    let writes = tap.writes();
    assert!(writes.is_empty(), "a refused reload writes nothing: {writes:?}");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert_eq!(conversation.ask(), server, "an open connection");
}

/// Started on a table that is right already, and reloaded with the file it has: not one write.
fn adopted() {
    let stage = Stage::new();
    let director = stage.net.machine(Role::Director1);
    let tap = Tap::start(director);
    let Stage { net, servers, mut agent } = stage;
    // A crash leaves the table as it is.
    agent.process.signal(nix::sys::signal::Signal::SIGKILL);
    agent.process.wait(PATIENCE);
    let director = net.machine(Role::Director1);
    assert_eq!(table::saved(director), TABLE);
    let agent = Director::start(Program::Steadfast, &net, Role::Director1, CONFIGURATION);
    let stage = Stage { net, servers, agent };
    stage.wait_checks(4);
    let started = tap.writes();
    let (accepted, said) = stage.agent.reload_by_command(CONFIGURATION);
    assert!(accepted, "{said}");
    stage.wait_checks(4);
    let reloaded = tap.writes();
    assert_eq!((started, reloaded), (Writes::new(), Writes::new()), "writes after the start and after the reload");
    assert_eq!(table::saved(stage.net.machine(Role::Director1)), TABLE);
}

fn drift() {
    let stage = Stage::new();
    let director = stage.net.machine(Role::Director1);
    // What is not ours stays, from here to the end.
    for line in FOREIGN.lines() {
        table::ipvsadm(director, line);
    }
    let wanted = table::saved(director);
    assert!(wanted.contains(FOREIGN) && wanted.len() == FOREIGN.len() + TABLE.len(), "{wanted}");
    let meddling = [
        "-d -t 10.9.0.100:80 -r 10.9.0.21:80",
        "-e -t 10.9.0.100:80 -r 10.9.0.22:80 -g -w 77",
        "-a -t 10.9.0.100:80 -r 10.9.0.99:80 -g -w 1",
        "-D -t 10.9.0.100:80",
        "-E -t 10.9.0.100:80 -s lc -p 30",
        "-e -f 7 -r 10.9.0.21:80 -g -w 1",
    ];
    let lateness = Lateness::watch();
    let begun = Stamp::now();
    let rounds = if thorough() { 60_000.0 } else { 10_000.0 };
    let mut times = Vec::new();
    for words in meddling.iter().cycle() {
        // Every kind once, and on until the time is over.
        if times.len() >= meddling.len() && Stamp::now().ms_since(begun) > rounds {
            break;
        }
        table::ipvsadm(director, words);
        let meddled = Stamp::now();
        let right = table::wait_saved(director, &wanted, PATIENCE).ms_since(meddled);
        let bound = RECONCILE + SLACK + 3.0 * lateness.worst_ms();
        assert!(right < bound, "ipvsadm {words}: put right after {right:.0} ms, {bound:.0} at most");
        println!("ipvsadm {words}: put right after {right:.0} ms");
        times.push(right);
    }
    let summary = crate::lab::clock::summary(&times);
    println!("figure: vm: {} rows changed behind the agent's back, put right after {summary} ms", times.len());

    // Two intervals in which nothing differs.
    let tap = Tap::start(director);
    (Stamp::now() + Duration::from_secs_f64(2.0 * RECONCILE / 1000.0)).sleep();
    let writes = tap.writes();
    assert!(writes.is_empty(), "nothing differed, and this was written: {writes:?}");
    let (_, status) = stage.agent.steadfast(&["status", "--json"]);
    println!("status: {status}");
    stage.agent.stop();
    assert_eq!(table::saved(director), FOREIGN, "what is left is not ours");
}
