//! The shapes of real configurations that have virtual servers, each on two directors: Steadfast beside keepalived, and
//! keepalived beside Steadfast, from one file. A start, a real server that fails and comes back, a cut cable, a reload and
//! a stop leave both with the table that is written here, as `ipvsadm -Sn` shows it, and with the virtual address where
//! the state that a notify script was told of says. What that script was told, and the thresholds, are the same whichever
//! of the two has done it. The shapes without virtual servers are in `tests/tests/netns_shapes.rs`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::director::{Director, Program};
use super::super::net::{Net, Role};
use super::super::server::Server;
use super::super::{Scenario, table};
use crate::lab::clock::Stamp;
use crate::lab::spec::edited;

/// The two directors.
const A: usize = 0;
const B: usize = 1;
const DIRECTORS: [Role; 2] = [Role::Director1, Role::Director2];
/// Who runs on A and on B.
type Pair = [Program; 2];
const PAIRS: [Pair; 2] = [[Program::Keepalived, Program::Steadfast], [Program::Steadfast, Program::Keepalived]];
const SERVERS: [Role; 2] = [Role::Rs1, Role::Rs2];
/// Where the real servers of the shapes serve, or are checked.
const PORTS: [u16; 4] = [80, 2905, 5060, 8080];
/// The virtual address in all of them.
const ADDRESS: &str = " 10.9.0.100/";
/// Far more than a step takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const PERIOD: Duration = Duration::from_millis(150);
/// What notify scripts have been told, in a file for each machine.
const SAID: &str = "/run/said";
/// What comes, or not, by the instant.
const INSTANT: &str = "MASTER_RX_LOWER_PRI";

type Edits = &'static [(&'static str, &'static str)];

/// A shape, and what is replaced in its file: addresses by those of this LAN, and whatever waits.
struct Shape {
    name: &'static str,
    text: &'static str,
    both: Edits,
    /// On B, besides.
    second: Edits,
    /// The script that is told of its instance, if it has one.
    told: Option<&'static str>,
    /// Every other script of the file.
    check: Option<&'static str>,
    /// With every server in it.
    table: &'static str,
    /// What keepalived leaves out of it.
    missed: Option<&'static str>,
}

const SHAPES: [Shape; 4] = [
    Shape {
        name: "docker",
        text: include_str!("../../../configs/docker.conf"),
        both: &[
            ("192.0.2.231", "10.9.0.100"),
            ("192.0.2.232", "10.9.0.101"),
            ("192.0.2.11", "10.9.0.12"),
            ("192.0.2.12", "10.9.0.13"),
            ("10.244.0.5", "10.9.0.21"),
            ("priority 150", "priority 150\n  advert_int 0.3"),
            ("delay_loop 5", "delay_loop 1\n  warmup 0"),
        ],
        second: &[("priority 150", "priority 100"), ("10.9.0.12", "10.9.0.11")],
        told: Some("/container/service/keepalived/assets/notify.sh"),
        check: None,
        table: "\
-A -t 10.9.0.100:80 -s wlc -p 1800
-a -t 10.9.0.100:80 -r 10.9.0.21:8080 -m -w 1",
        missed: None,
    },
    Shape {
        name: "octavia-lvs",
        text: include_str!("../../../configs/octavia-lvs.conf"),
        both: &[
            ("203.0.113.5", "10.9.0.100"),
            ("192.0.2.2", "10.9.0.2"),
            ("delay_loop 30", "delay_loop 1\n    warmup 0"),
            ("delay_before_retry 31", "delay_before_retry 1"),
            ("retry 3", "retry 1"),
        ],
        second: &[],
        told: None,
        check: Some("/var/lib/octavia/lvs/check/udp_check.sh"),
        table: "\
-A -u 10.9.0.100:514 -s rr -p 10 -M 255.255.0.0
-a -u 10.9.0.100:514 -r 10.9.0.21:514 -m -w 1
-A --sctp-service 10.9.0.100:2905 -s sh
-a --sctp-service 10.9.0.100:2905 -r 10.9.0.21:2905 -m -w 1
-a --sctp-service 10.9.0.100:2905 -r 10.9.0.22:2905 -m -w 2",
        // The `persistence_granularity` of a group.
        missed: Some(" -M 255.255.0.0"),
    },
    Shape {
        name: "openwrt",
        text: include_str!("../../../configs/openwrt.conf"),
        both: &[
            ("br-lan", "eth0"),
            ("192.0.2.1", "10.9.0.100"),
            ("198.51.100.11", "10.9.0.21"),
            ("delay_loop 6", "delay_loop 1\n\twarmup 0"),
            ("nb_get_retry 3", "nb_get_retry 1"),
            ("delay_before_retry 3", "delay_before_retry 1"),
        ],
        second: &[("priority 100", "priority 90")],
        told: Some("/sbin/hotplug-call"),
        check: None,
        table: "\
-A -t 10.9.0.100:80 -s rr -p 50
-a -t 10.9.0.100:80 -r 10.9.0.21:80 -m -w 1",
        missed: None,
    },
    Shape {
        name: "vyos-lvs",
        text: include_str!("../../../configs/vyos-lvs.conf"),
        both: &[
            ("203.0.113.1", "10.9.0.100"),
            ("192.0.2.11", "10.9.0.21"),
            ("192.0.2.12", "10.9.0.22"),
            ("delay_loop 10", "delay_loop 1\n    warmup 0"),
        ],
        second: &[],
        told: None,
        check: None,
        table: "\
-A -t 10.9.0.100:8280 -s lc -p 180
-a -t 10.9.0.100:8280 -r 10.9.0.21:80 -m -w 1
-a -t 10.9.0.100:8280 -r 10.9.0.22:80 -m -w 1
-A -f 111 -s wrr
-a -f 111 -r 10.9.0.21:5060 -m -w 1",
        missed: None,
    },
];

/// The one that is looked at also where time is short.
const OFTEN: &str = "docker";

/// A scenario for each shape, in two VMs.
pub(super) fn all() -> Vec<Scenario> {
    let groups = ["shapes-a", "shapes-b"].into_iter().cycle();
    let scenario = |(shape, group): (&'static Shape, _)| {
        let scenario = Scenario::new(group, format!("shape-{}", shape.name), move || as_keepalived(shape));
        if shape.name == OFTEN { scenario } else { scenario.long() }
    };
    SHAPES.iter().zip(groups).map(scenario).collect()
}

fn as_keepalived(shape: &'static Shape) {
    fs::create_dir_all(SAID).expect("a folder can be made");
    // busybox has its commands in /bin only.
    let _ = symlink("/bin/env", "/usr/bin/env");
    if let Some(path) = shape.told {
        script(path, &format!("echo \"$*\" >>\"{SAID}/$(readlink /proc/self/ns/net)\""));
    }
    if let Some(path) = shape.check {
        script(path, "exec nc -w 2 \"$1\" 80 </dev/null >/dev/null");
    }
    let [one, other] = std::thread::scope(|scope| {
        PAIRS.map(|pair| scope.spawn(move || story(shape, pair))).map(|running| match running.join() {
            Ok(shown) => shown,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    });
    for machine in [A, B] {
        let who = PAIRS.map(|pair| pair[machine].name());
        assert_eq!(one[machine], other[machine], "what {who:?} have shown on {:?}", DIRECTORS[machine]);
    }
}

fn script(path: &str, text: &str) {
    fs::create_dir_all(Path::new(path).parent().unwrap_or(Path::new("/"))).expect("a folder can be made");
    fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("a script can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode can be set");
}

/// Goes through all of it with one pair. What is compared of each in the end: what it was told, and the thresholds.
fn story(shape: &'static Shape, pair: Pair) -> [Vec<String>; 2] {
    let mut site = Site::new(shape, pair);
    let whole = rows(shape.table);
    let without: Vec<String> = whole.iter().filter(|row| !row.contains(" -r 10.9.0.21:")).cloned().collect();
    let heavier: Vec<String> = whole.iter().map(|row| row.replace(" -w 1", " -w 3")).collect();

    site.start(A);
    site.settled(A, "MASTER", Some(&whole));
    site.start(B);
    site.settled(B, "BACKUP", Some(&whole));
    site.settled(A, "MASTER", Some(&whole));
    // What `-S` leaves out.
    let mut thresholds = DIRECTORS.map(|role| rows(&table::ipvsadm(site.net.machine(role), "-Ln --thresholds")));
    thresholds.iter_mut().for_each(|rows| rows.retain(|row| row.contains(" -> ")));

    site.step = "a failed server";
    site.servers[0].clear();
    site.settled(A, "MASTER", Some(&without));
    site.settled(B, "BACKUP", Some(&without));
    site.step = "a server that works again";
    site.servers[0] = serve(&site.net, SERVERS[0]);
    site.settled(A, "MASTER", Some(&whole));
    site.settled(B, "BACKUP", Some(&whole));

    if shape.told.is_some() {
        site.step = "a cut cable";
        site.net.unplug(DIRECTORS[A]);
        site.settled(A, "FAULT", None);
        site.settled(B, "MASTER", Some(&whole));
        site.step = "a cable put back";
        site.net.plug(DIRECTORS[A]);
        site.settled(A, "BACKUP", Some(&whole));
        site.settled(B, "MASTER", Some(&whole));
    }

    site.step = "a reload";
    site.reload(A, "weight 1", "weight 3");
    site.settled(A, "BACKUP", Some(&heavier));
    site.settled(B, "MASTER", Some(&whole));

    site.step = "a stop";
    for machine in [B, A] {
        site.stop(machine);
        site.settled(machine, "STOP", Some(&[]));
        if machine == B {
            site.settled(A, "MASTER", Some(&heavier));
        }
    }
    let mut shown = [A, B].map(|machine| site.said(machine));
    for (shown, thresholds) in shown.iter_mut().zip(thresholds) {
        shown.extend(thresholds);
    }
    shown
}

/// The lines of a table, in an order of their own: the kernel's differs from one namespace to the next.
fn rows(table: &str) -> Vec<String> {
    let mut rows: Vec<String> = table.lines().map(|row| row.trim_end().to_owned()).collect();
    rows.sort();
    rows
}

/// A real server, at all that the shapes want of it.
fn serve(net: &Net, role: Role) -> Vec<Server> {
    PORTS.map(|port| Server::web(net.machine(role), &format!("[::]:{port}"), role.name())).into()
}

/// Two directors and their real servers.
struct Site {
    shape: &'static Shape,
    pair: Pair,
    directors: [Option<Director>; 2],
    servers: [Vec<Server>; 2],
    /// Where its machines' scripts write.
    said: [PathBuf; 2],
    step: &'static str,
    net: Net,
}

impl Site {
    fn new(shape: &'static Shape, pair: Pair) -> Self {
        let net = Net::new(&[Role::Director1, Role::Director2, Role::Rs1, Role::Rs2]);
        let servers = SERVERS.map(|role| serve(&net, role));
        let said = DIRECTORS.map(|role| {
            let own = || fs::read_link("/proc/thread-self/ns/net").expect("a thread has a network namespace");
            let file = Path::new(SAID).join(net.machine(role).enter(own));
            // Of another namespace, long gone, that had the same number.
            let _ = fs::remove_file(&file);
            file
        });
        Self { shape, pair, directors: [None, None], servers, said, step: "the start", net }
    }

    /// The shape's file as it is on a machine.
    fn text(&self, machine: usize) -> String {
        // A namespace that a file names is the machine's own.
        let own = self.net.machine(DIRECTORS[machine]).name();
        let text = edited(self.shape.text, self.shape.both).replace("amphora-haproxy", own);
        if machine == B { edited(&text, self.shape.second) } else { text }
    }

    fn start(&mut self, machine: usize) {
        let running = Director::start(self.pair[machine], &self.net, DIRECTORS[machine], &self.text(machine));
        self.directors[machine] = Some(running);
    }

    fn reload(&self, machine: usize, from: &str, to: &str) {
        let text = edited(&self.text(machine), &[(from, to)]);
        self.directors[machine].as_ref().expect("it runs").reload(&text);
    }

    fn stop(&mut self, machine: usize) {
        self.directors[machine].take().expect("it runs").stop();
    }

    /// What the notify script of a machine was told, in order.
    fn said(&self, machine: usize) -> Vec<String> {
        let text = fs::read_to_string(&self.said[machine]).unwrap_or_default();
        text.lines().filter(|line| !line.contains(INSTANT)).map(str::to_owned).collect()
    }

    /// Waits until a machine's instance is in a state, with the address only as MASTER, and its table is as it should be.
    fn settled(&self, machine: usize, state: &str, table: Option<&[String]>) {
        let place = self.net.machine(DIRECTORS[machine]);
        let missed = self.shape.missed.filter(|_| self.pair[machine] == Program::Keepalived).unwrap_or("");
        let table = table.map(|rows| rows.iter().map(|row| row.replace(missed, "")).collect::<Vec<_>>());
        let deadline = Stamp::now() + PATIENCE;
        loop {
            let said = self.said(machine);
            // Keyword, name in quotes, state, and a priority.
            let told = said.last().and_then(|line| line.split(' ').rev().nth(1)).unwrap_or("nothing");
            let holds = place.ip("-o -4 addr show dev eth0").contains(ADDRESS);
            let right = self.shape.told.is_none() || (told == state && holds == (state == "MASTER"));
            let found = if table.is_some() && right { rows(&table::saved(place)) } else { Vec::new() };
            if right && table.as_ref().is_none_or(|wanted| found == *wanted) {
                return;
            }
            assert!(
                Stamp::now() < deadline,
                "{}, after {}: {} on {:?} was told {said:?}, holds the address: {holds}; should be {state}; \
                 its table\n{found:#?}\nshould be\n{table:#?}",
                self.shape.name,
                self.step,
                self.pair[machine].name(),
                DIRECTORS[machine],
            );
            std::thread::sleep(PERIOD);
        }
    }
}
