//! `steadfast check --live` on a LAN of network namespaces: a director and a real server that is set up wrongly in one
//! way after the other. Skipped where no namespace can be made.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::{io, thread};

use steadfast_linux::netlink::{AddressSpec, Client};
use steadfast_linux::sys::process::{Namespaces, kill_with_parent, unshare};

const DIRECTOR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 11);
const VIRTUAL: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);

const CONFIG: &str = "\
vrrp_instance LAN {
    interface eth0
    virtual_router_id 51
    priority 100
    virtual_ipaddress {
        10.9.0.100/24
    }
}
virtual_server 10.9.0.100 80 {
    protocol TCP
    lvs_sched rr
    lvs_method DR
    real_server 10.9.0.11 80 {
        TCP_CHECK {
        }
    }
    real_server 10.9.0.12 80 {
        TCP_CHECK {
        }
    }
    real_server 198.51.100.1 80 {
        TCP_CHECK {
        }
    }
}
";

type Job = Box<dyn FnOnce() + Send>;

/// A machine of its own: a thread in a namespace that does what it is told.
struct Machine {
    jobs: Sender<Job>,
    namespace: File,
}

impl Machine {
    /// # Errors
    /// No namespace can be made.
    fn new() -> io::Result<Self> {
        let (jobs, work) = channel::<Job>();
        let (made, namespace) = channel();
        thread::spawn(move || {
            let namespace = unshare(Namespaces::NETWORK).and_then(|()| File::open("/proc/thread-self/ns/net"));
            made.send(namespace).unwrap();
            work.into_iter().for_each(|job| job());
        });
        Ok(Self { jobs, namespace: namespace.recv().unwrap()? })
    }

    /// Does something there, and waits for it.
    fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        self.jobs.send(Box::new(move || drop(done.send(job())))).unwrap();
        result.recv().expect("the job ends")
    }
}

/// A director and a real server on one LAN; `None`, with a word on stderr, where that cannot be had.
fn lan() -> Option<(Machine, Machine)> {
    let machines = Machine::new().and_then(|director| Ok((director, Machine::new()?)));
    let (director, server) =
        machines.inspect_err(|error| eprintln!("skipped: needs root or user namespaces ({error})")).ok()?;
    let there = server.namespace.try_clone().unwrap();
    director.run(move || {
        let mut client = Client::open().unwrap();
        let (ours, theirs) = client.create_veth("eth0", "away").unwrap();
        client.move_to_namespace(theirs, there).unwrap();
        client.set_up(ours).unwrap();
        client.add_address(&AddressSpec::new(ours, DIRECTOR.into(), 24)).unwrap();
    });
    server.run(|| {
        let mut client = Client::open().unwrap();
        for name in ["lo", "away"] {
            let link = client.link(name).unwrap().unwrap().index;
            client.set_up(link).unwrap();
        }
        let away = client.link("away").unwrap().unwrap().index;
        client.add_address(&AddressSpec::new(away, SERVER.into(), 24)).unwrap();
    });
    director.run(|| {
        let mut client = Client::open().unwrap();
        // Both ends are up: the carrier is there in a moment.
        let begun = std::time::Instant::now();
        while !client.link("eth0").unwrap().unwrap().running {
            assert!(begun.elapsed().as_secs() < 5, "no carrier");
            thread::yield_now();
        }
    });
    Some((director, server))
}

/// A directory that goes away with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("steadfast-live-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the director says live, without what is so of every machine without IPVS.
fn check(director: &Machine, directory: &Directory) -> Vec<String> {
    let file = directory.0.join("a.conf");
    fs::write(&file, CONFIG).unwrap();
    let output = director.run(move || {
        Command::new(env!("CARGO_BIN_EXE_steadfast")).args(["check", "--live", "--config"]).arg(file).output().unwrap()
    });
    let said = String::from_utf8(output.stdout).unwrap();
    let live = said.lines().filter_map(|line| line.strip_prefix("live: "));
    live.filter(|line| line.contains("10.9.0.") || line.contains("198.51")).map(str::to_owned).collect()
}

/// Whether something is said that has all these parts.
fn says(said: &[String], parts: &[&str]) -> bool {
    said.iter().any(|line| parts.iter().all(|part| line.contains(part)))
}

#[test]
fn a_real_server_is_told_what_is_wrong_with_it() {
    let Some((director, server)) = lan() else { return };
    let directory = Directory::new("server");

    // It has no virtual address.
    let said = check(&director, &directory);
    let missing = ["warning: 10.9.0.11 does not answer a connection to 10.9.0.100:80"];
    assert!(says(&said, &missing), "{said:#?}");
    assert!(says(&said, &["warning: nobody answers ARP for 10.9.0.12"]), "{said:#?}");
    assert!(says(&said, &["error: direct routing reaches neighbours only", "198.51.100.1"]), "{said:#?}");
    assert_eq!(said.len(), 3, "{said:#?}");

    // It has it, and says so.
    server.run(|| {
        let mut client = Client::open().unwrap();
        let lo = client.link("lo").unwrap().unwrap().index;
        client.add_address(&AddressSpec::new(lo, VIRTUAL.into(), 32)).unwrap();
    });
    let said = check(&director, &directory);
    let leak = ["error: the real server 10.9.0.11 (", "answers ARP for 10.9.0.100"];
    let nobody = ["warning: 10.9.0.11 takes packets for 10.9.0.100:80 but nobody listens there"];
    assert!(says(&said, &leak) && says(&said, &nobody) && !says(&said, &missing), "{said:#?}");

    // The role makes it quiet, and a service that listens makes all well.
    server.run(|| {
        let mut client = Client::open().unwrap();
        let lo = client.link("lo").unwrap().unwrap().index;
        client.remove_address(&AddressSpec::new(lo, VIRTUAL.into(), 32)).unwrap();
    });
    let state = directory.0.join("state");
    let (mut role, _listener) = server.run(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        command.args(["real-server", "--vip", "10.9.0.100", "--state"]).arg(state).stderr(Stdio::piped());
        let mut role = kill_with_parent(&mut command).spawn().unwrap();
        let mut log = io::BufReader::new(role.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("virtual addresses on lo") {
            line.clear();
            assert!(io::BufRead::read_line(&mut log, &mut line).unwrap() > 0, "it ended");
        }
        role.stderr = Some(log.into_inner());
        (role, TcpListener::bind((VIRTUAL, 80)).unwrap())
    });
    let said = check(&director, &directory);
    assert!(!says(&said, &["10.9.0.11"]), "{said:#?}");
    assert_eq!(said.len(), 2, "{said:#?}");

    // On the Active, which has the address too, the same.
    director.run(|| {
        let mut client = Client::open().unwrap();
        let eth0 = client.link("eth0").unwrap().unwrap().index;
        client.add_address(&AddressSpec::new(eth0, VIRTUAL.into(), 32)).unwrap();
    });
    assert_eq!(check(&director, &directory), said);
    role.kill().unwrap();
    role.wait().unwrap();
}

#[test]
fn two_machines_with_the_address_are_found() {
    let Some((director, server)) = lan() else { return };
    let directory = Directory::new("two");
    for machine in [&director, &server] {
        machine.run(|| {
            let mut client = Client::open().unwrap();
            let links = client.links().unwrap();
            let index = links.iter().find(|link| matches!(&*link.name, "eth0" | "away")).unwrap().index;
            client.add_address(&AddressSpec::new(index, VIRTUAL.into(), 32)).unwrap();
        });
    }
    let said = check(&director, &directory);
    assert!(says(&said, &["error: the real server 10.9.0.11", "answers ARP for 10.9.0.100"]), "{said:#?}");
}
