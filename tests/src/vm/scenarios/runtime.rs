//! What an administrator does while LVS runs: real servers by `steadfast real-server`, a look by `steadfast check
//! --live`, a server drained until its last connection is gone, and given back.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use super::super::director::{Director, Program};
use super::super::net::{Conversation, Net, Role};
use super::super::server::{Kind, Server};
use super::super::{Scenario, table};
use crate::lab::clock::{Stamp, wait_for};
use crate::lab::namespace::run;
use crate::lab::process::Process;
use crate::lab::steadfast_binary;

const VIP: &str = "10.9.0.100";
const ECHO: &str = "10.9.0.100:7";
/// How long something may take that has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(20);

const CONFIGURATION: &str = "\
vrrp_instance VI {
    interface eth0
    virtual_router_id 51
    version 3
    advert_int 0.5
    virtual_ipaddress {
        10.9.0.100/32
    }
}
virtual_server 10.9.0.100 7 {
    delay_loop 1
    lvs_sched rr
    lvs_method DR
    protocol TCP
    warmup 0
    real_server 10.9.0.21 7 {
        TCP_CHECK {
        }
    }
    real_server 10.9.0.22 7 {
        TCP_CHECK {
        }
    }
}
";

/// The scenarios.
pub(super) fn all() -> Vec<Scenario> {
    vec![Scenario::new("runtime", "runtime-live", live), Scenario::new("runtime", "runtime-drain", drain)]
}

/// `steadfast real-server` on a machine, once it has the address.
fn real_server(net: &Net, role: Role) -> Process {
    let machine = net.machine(role);
    let mut command = machine.command(&steadfast_binary().display().to_string());
    let folder = net.folder().join(role.name());
    fs::create_dir_all(&folder).expect("a folder can be made");
    command.args(["real-server", "--vip", VIP, "--state"]).arg(&folder);
    let process = Process::start(&mut command, &folder.join("log"));
    wait_for("the real server to have the address", PATIENCE, || holds(net, role).then_some(()));
    process
}

fn holds(net: &Net, role: Role) -> bool {
    net.machine(role).ip("-o addr show").contains(&format!(" {VIP}/32 "))
}

fn echo(net: &Net, role: Role) -> Server {
    Server::start(net.machine(role), "0.0.0.0:7".parse().expect("an address"), role.name(), Kind::Echo)
}

/// What `check --live` says that is worse than a notice.
fn look(net: &Net) -> Vec<String> {
    let file = net.folder().join("live.conf");
    fs::write(&file, CONFIGURATION).expect("a configuration can be written");
    let mut command = net.machine(Role::Director1).command(&steadfast_binary().display().to_string());
    let output = command.args(["check", "--live", "--config"]).arg(&file).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let live = said.lines().filter_map(|line| line.strip_prefix("live: "));
    live.filter(|line| !line.starts_with("notice: ")).map(str::to_owned).collect()
}

fn live() {
    let net = Net::new(&[Role::Director1, Role::Rs1, Role::Rs2]);
    let servers = [echo(&net, Role::Rs1), echo(&net, Role::Rs2)];
    let _quiet = real_server(&net, Role::Rs1);
    let said = look(&net);
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].contains("10.9.0.22 does not answer a connection to 10.9.0.100:7"), "{said:#?}");

    // The classic mistake: the address on lo, and ARP as it is.
    net.machine(Role::Rs2).ip(&format!("addr add {VIP}/32 dev lo"));
    let said = look(&net);
    assert!(said.iter().any(|line| line.starts_with("error: the real server 10.9.0.22 (")), "{said:#?}");

    net.machine(Role::Rs2).ip(&format!("addr del {VIP}/32 dev lo"));
    let _quiet_too = real_server(&net, Role::Rs2);
    assert_eq!(look(&net), Vec::<String>::new());

    // On the Active, with IPVS at work, the same.
    let director = Director::start(Program::Steadfast, &net, Role::Director1, CONFIGURATION);
    wait_for("director1 to be Active", PATIENCE, || holds(&net, Role::Director1).then_some(()));
    full(&net, &["10.9.0.21:7 1", "10.9.0.22:7 1"]);
    assert_eq!(look(&net), Vec::<String>::new());
    drop((director, servers));
}

#[track_caller]
fn full(net: &Net, servers: &[&str]) {
    table::wait_servers(net.machine(Role::Director1), ECHO, servers, PATIENCE);
}

fn drain() {
    let net = Net::new(&[Role::Client, Role::Director1, Role::Rs1, Role::Rs2]);
    let mut quiet = [real_server(&net, Role::Rs1), real_server(&net, Role::Rs2)];
    let servers = [echo(&net, Role::Rs1), echo(&net, Role::Rs2)];
    let director = Director::start(Program::Steadfast, &net, Role::Director1, CONFIGURATION);
    wait_for("director1 to be Active", PATIENCE, || holds(&net, Role::Director1).then_some(()));
    full(&net, &["10.9.0.21:7 1", "10.9.0.22:7 1"]);

    let client = net.machine(Role::Client);
    let address: SocketAddr = ECHO.parse().expect("an address");
    let mut open = Conversation::open(client, address);
    let server = open.ask();
    let (drained, rows) = match server.as_str() {
        "rs1" => ("10.9.0.21", ["10.9.0.21:7 0", "10.9.0.22:7 1"]),
        _ => ("10.9.0.22", ["10.9.0.21:7 1", "10.9.0.22:7 0"]),
    };

    // No new connections; the one that is open goes on.
    let (done, said) = director.steadfast(&["server", "drain", ECHO, drained]);
    assert!(done && said.contains("up, drained, weight 0, 1 active"), "{said}");
    full(&net, &rows);
    for _ in 0..4 {
        assert_ne!(Conversation::open(client, address).ask(), server, "a new connection to a drained server");
    }
    assert_eq!(open.ask(), server);

    // Status shows it, and a reload keeps it.
    let (_, text) = director.steadfast(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let shown = status["services"][0]["servers"].as_array().expect("there are servers");
    let shown = shown.iter().find(|shown| shown["address"] == format!("{drained}:7")).expect("it is one of them");
    assert_eq!((&shown["override"], &shown["weight"]), (&"drain".into(), &0.into()), "{shown}");
    assert_eq!((&shown["health"], &shown["active_connections"]), (&"up".into(), &1.into()), "{shown}");
    let (_, text) = director.steadfast(&["status"]);
    assert!(text.contains("TCP  10.9.0.100:7 rr") && text.contains(&format!("-> {drained}:7")), "{text}");
    let (done, said) = director.reload_by_command(&CONFIGURATION.replace("delay_loop 1", "delay_loop 2"));
    assert!(done, "{said}");
    full(&net, &rows);

    // The wait ends with the connection, or with its time.
    let wait = ["server", "drain", ECHO, drained, "--wait"];
    let (done, said) = director.steadfast(&[&wait[..], &["--timeout", "1"]].concat());
    assert!(!done && said.contains("1 active"), "{said}");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| director.steadfast(&wait));
        for _ in 0..20 {
            assert_eq!(open.ask(), server);
            assert!(!waiting.is_finished(), "there is an open connection");
        }
        drop(open);
        let closed = Stamp::now();
        let (done, said) = waiting.join().expect("it ends");
        assert!(done && said.contains(" 0 active"), "{said}");
        println!("figure: vm: drain --wait ends {:.0} ms after the last connection", Stamp::now().ms_since(closed));
    });

    // And back.
    let (done, said) = director.steadfast(&["server", "weight", ECHO, drained, "7"]);
    assert!(done && said.contains("weighed 7, weight 7"), "{said}");
    let (done, said) = director.steadfast(&["server", "enable", ECHO, drained]);
    assert!(done && said.contains("enabled, weight 1"), "{said}");
    full(&net, &["10.9.0.21:7 1", "10.9.0.22:7 1"]);
    let (done, said) = director.steadfast(&["server", "drain", "10.9.0.100:8", drained]);
    assert!(
        !done && said.contains(r#"there is no virtual server "10.9.0.100:8"; there is "TCP 10.9.0.100:7""#),
        "{said}"
    );

    // The real servers leave nothing behind.
    for (process, role) in quiet.iter_mut().zip([Role::Rs1, Role::Rs2]) {
        process.signal(nix::sys::signal::Signal::SIGTERM);
        process.wait(PATIENCE);
        assert!(!holds(&net, role));
        let setting = run(net.machine(role).command("cat").arg("/proc/sys/net/ipv4/conf/all/arp_ignore"));
        assert_eq!(String::from_utf8_lossy(&setting.stdout).trim(), "0");
    }
    drop((director, servers));
}
