//! The shapes of real configurations, each on a pair of machines, through an election, a script that fails, a cut cable,
//! a reload and a stop: once keepalived beside keepalived, and Steadfast in the place of either. What each machine shows
//! then (states and priorities, addresses, routes, rules, what was told to scripts and FIFOs) is the same, but for the
//! differences that are listed here with their reasons. The shapes with virtual servers are in
//! `tests/src/vm/scenarios/shapes.rs`.

#![forbid(unsafe_code)]

#[path = "netns_shapes/stories.rs"]
mod stories;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use steadfast_tests::lab::clock::Stamp;
use steadfast_tests::lab::engine::{Engine, available};
use steadfast_tests::lab::folder::Folder;
use steadfast_tests::lab::machine::{Agent, FIFO, Machine};
use steadfast_tests::lab::namespace::{self, Namespace};
use steadfast_tests::lab::spec::edited;
use steadfast_tests::lab::{shown, thorough};

use stories::{A, Act, B, SHAPES, Shape, Step};

/// Who runs on A and on B.
type Pair = [Engine; 2];
const REFERENCE: Pair = [Engine::Keepalived; 2];
const EXCHANGED: [Pair; 2] = [[Engine::Steadfast, Engine::Keepalived], [Engine::Keepalived, Engine::Steadfast]];
/// Those that stand for the others, where time is short.
const FEW: [&str; 4] = ["kubeadm", "kolla", "docker", "firewall"];
/// Far more than a step takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks; what shows the same in two of them has come to rest.
const REST: Duration = Duration::from_millis(400);
/// What the test's scripts have been told.
const SAID: &str = "/run/said";

/// A line that only one of the two has, and why.
struct Difference {
    /// Who has it.
    engine: Engine,
    /// What all are in the line.
    words: &'static [&'static str],
    /// Why that is so.
    why: &'static str,
}

const DIFFERENCES: [Difference; 3] = [
    Difference {
        engine: Engine::Keepalived,
        words: &["route ", r#""dev":"eth1v10v4""#, r#""dst":"ff00::/8""#],
        why: "as Backup, a virtual MAC interface of ours has no IPv6, so that it says nothing",
    },
    Difference {
        engine: Engine::Steadfast,
        words: &["script INSTANCE \"OFFICE", " STOP "],
        why: "the script of a FIFO is ended once it has read of the stop, keepalived's before",
    },
    Difference {
        engine: Engine::Steadfast,
        words: &["script GROUP \"ALL\" STOP 0"],
        why: "the script of a FIFO is ended once it has read of the stop of a group, keepalived's before",
    },
];
/// What the one shows in other words than the other, what is compared instead, and why.
const WORDS: [(&str, &str, &str); 3] = [
    (" leased, deprecated", " deprecated", "the addresses are leased"),
    (" leased", " forever", "the addresses are leased"),
    (" macvlan vepa", " macvlan private", "in that mode an Active would not hear another one"),
];
/// A line that comes, or not, by the instant: an Active of ours that gives way says so with a last Advertisement, and
/// whoever has taken over may tell of that. `netns_notify` looks at it alone.
const INSTANT: &str = "MASTER_RX_LOWER_PRI";
/// The reasons that were needed.
static SEEN: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

fn main() {
    let arguments = Arguments::from_args();
    if let Err(why) = namespace::permitted(&[]).and_then(|()| available(Engine::Keepalived)) {
        println!("skipped: {why}");
        return;
    }
    let shapes = SHAPES.iter().filter(|shape| thorough() || FEW.contains(&shape.name));
    let trials = shapes.map(|shape| {
        Trial::test(shape.name, move || {
            as_keepalived(shape);
            Ok(())
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if thorough() && arguments.filter.is_none() && !conclusion.has_failed() {
        let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        let stale: Vec<&str> = DIFFERENCES.iter().map(|known| known.why).filter(|why| !seen.contains(why)).collect();
        assert!(stale.is_empty(), "these are no differences any more: {stale:#?}");
    }
    conclusion.exit();
}

/// What a machine shows when a step has come to rest.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    states: String,
    network: Vec<String>,
    /// Since the step before: the lines of the FIFO, by whom they are about, in order.
    lines: BTreeMap<String, Vec<String>>,
    /// Since the step before: what scripts were told, in any order.
    said: Vec<String>,
}

fn as_keepalived(shape: &'static Shape) {
    let (reference, ours) = std::thread::scope(|scope| {
        let start = |pair: Pair| scope.spawn(move || run(shape, pair));
        let (reference, ours) = (start(REFERENCE), EXCHANGED.map(start));
        let end = |run: std::thread::ScopedJoinHandle<'_, _>| match run.join() {
            Ok(shown) => shown,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        (end(reference), ours.map(end))
    });
    let mut differ = String::new();
    for (pair, shown) in EXCHANGED.iter().zip(&ours) {
        for ((step, shown), reference) in shape.story.iter().zip(shown).zip(&reference) {
            for machine in [A, B] {
                let lines = compare(pair[machine], &shown[machine], &reference[machine]);
                if !lines.is_empty() {
                    let (engine, name) = (pair[machine], ["A", "B"][machine]);
                    let _ = write!(differ, "{engine:?} on {name} after {}:\n{lines}", step.name);
                }
            }
        }
    }
    assert!(
        differ.is_empty(),
        "{}: lines of the one (+), lines of keepalived beside keepalived (-):\n{differ}",
        shape.name
    );
}

/// The lines in which they differ without a reason.
fn compare(engine: Engine, shown: &Shown, reference: &Shown) -> String {
    let [mut ours, mut theirs] = [shown, reference].map(lines);
    ours.retain(|line| theirs.iter().position(|other| other == line).map(|at| theirs.remove(at)).is_none());
    let excused = |who: Engine, line: &str| {
        let mut known = DIFFERENCES.iter().filter(|known| known.engine == who && engine == Engine::Steadfast);
        let known = known.find(|known| known.words.iter().all(|word| line.contains(word)));
        known.is_some_and(|known| {
            SEEN.lock().unwrap_or_else(PoisonError::into_inner).insert(known.why);
            true
        })
    };
    ours.retain(|line| !excused(Engine::Steadfast, line));
    theirs.retain(|line| !excused(Engine::Keepalived, line));
    let with = |sign: char, lines: Vec<String>| lines.into_iter().map(move |line| format!("  {sign} {line}\n"));
    with('+', ours).chain(with('-', theirs)).collect()
}

/// All that is shown, as far as it is compared; what was told to a FIFO about one is one line, as its order counts.
fn lines(shown: &Shown) -> Vec<String> {
    let mut lines = vec![format!("states {}", shown.states)];
    let same = |line: &String| WORDS.iter().fold(line.clone(), |line, (from, to, _)| line.replace(from, to));
    lines.extend(shown.network.iter().map(same));
    lines.extend(shown.lines.values().map(|lines| format!("FIFO {}", lines.join(", "))));
    lines.extend(shown.said.iter().map(|line| format!("script {line}")));
    lines
}

/// Two machines and the networks between them.
struct Site {
    machines: [Machine; 2],
    hub: Namespace,
    shape: &'static Shape,
    _folder: Folder,
}

fn run(shape: &'static Shape, pair: Pair) -> Vec<[Shown; 2]> {
    let site = Site::new(shape);
    let mut agents: [Option<Agent<'_>>; 2] = [None, None];
    let mut before = [Mark::default(), Mark::default()];
    let mut all = Vec::new();
    for step in shape.story {
        site.act(step.act, &mut agents, pair);
        all.push(site.settled(step, &agents, pair, &mut before));
    }
    all
}

/// How many lines have been looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    lines: usize,
    said: usize,
}

impl Site {
    fn new(shape: &'static Shape) -> Self {
        let (folder, hub) = (Folder::new(), Namespace::new("hub"));
        hub.sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        let machines = ["a", "b"].map(|name| Machine::new(&folder, name));
        for (number, (name, addresses)) in shape.cables.iter().enumerate() {
            hub.ip(&format!("link add br{number} type bridge mcast_snooping 0 forward_delay 0 stp_state 0"));
            hub.ip(&format!("link set br{number} up"));
            for machine in [A, B] {
                let namespace = &machines[machine].namespace;
                let port = port(number, machine);
                let mac = format!("02:5f:00:00:{machine:02x}:{number:02x}");
                hub.ip(&format!("link add {port} type veth peer name {name} netns {}", namespace.name()));
                hub.ip(&format!("link set {port} master br{number} up"));
                namespace.ip(&format!("link set {name} addrgenmode none"));
                namespace.ip(&format!("link set {name} address {mac} up"));
                for address in addresses[machine] {
                    namespace.ip(&format!("address add {address} dev {name}"));
                }
            }
        }
        for machine in &machines {
            machine.write(shape.healthy, "");
            for check in shape.checks {
                machine.script(check, &format!("test -e {}", shape.healthy));
            }
            for script in shape.told {
                machine.script(script, &format!("echo \"$0 $*\" >>{SAID}"));
            }
            for reader in shape.readers {
                machine.script(reader, &format!("while read -r line; do echo \"$line\" >>{SAID}; done <>\"$1\""));
            }
        }
        Self { machines, hub, shape, _folder: folder }
    }

    fn act<'a>(&'a self, act: Act, agents: &mut [Option<Agent<'a>>; 2], pair: Pair) {
        let cable = |machine: usize, name: &str, state: &str| {
            let number = self.shape.cables.iter().position(|cable| cable.0 == name).expect("a cable of the shape");
            self.hub.ip(&format!("link set {} {state}", port(number, machine)));
        };
        match act {
            Act::StartFirst => agents[A] = Some(self.start(A, pair)),
            Act::StartSecond => agents[B] = Some(self.start(B, pair)),
            Act::ScriptFails(machine) => {
                std::fs::remove_file(self.machines[machine].path(self.shape.healthy)).expect("it is there");
            }
            Act::ScriptWorks(machine) => self.machines[machine].write(self.shape.healthy, ""),
            Act::CableCut(machine, name) => cable(machine, name, "down"),
            Act::CableBack(machine, name) => cable(machine, name, "up"),
            Act::Reload(machine, from, to) => {
                let text = edited(&self.text(machine), &[(from, to)]);
                agents[machine].as_ref().expect("it runs").reload(&text);
            }
            Act::Stop(machine) => agents[machine].as_mut().expect("it runs").stop(),
        }
    }

    fn start(&self, machine: usize, pair: Pair) -> Agent<'_> {
        self.machines[machine].start(pair[machine], &self.text(machine), self.shape.arguments)
    }

    /// The shape's file as it is on a machine, and a FIFO that is told of everything.
    fn text(&self, machine: usize) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(self.shape.name).with_extension("conf");
        let text = edited(&std::fs::read_to_string(path).expect("a file of the shape"), self.shape.both);
        let text = if machine == B { edited(&text, self.shape.second) } else { text };
        text + &format!("\nglobal_defs {{\n    vrrp_notify_fifo {FIFO}\n}}\n")
    }

    /// Waits until both are in the states of a step, and show nothing new.
    fn settled(&self, step: &Step, agents: &[Option<Agent<'_>>; 2], pair: Pair, before: &mut [Mark; 2]) -> [Shown; 2] {
        let states = || [A, B].map(|machine| self.states(machine, step, agents));
        let deadline = Stamp::now() + PATIENCE;
        let late = |what: String| {
            assert!(Stamp::now() < deadline, "{}, {pair:?}, after {}: {what}", self.shape.name, step.name);
            std::thread::sleep(REST);
        };
        loop {
            let found = states();
            if found == step.then {
                break;
            }
            late(format!("{found:?} instead of {:?}", step.then));
        }
        let look = || {
            let states = states();
            [A, B].map(|machine| self.look(machine, states[machine].clone(), agents, before[machine]))
        };
        let mut shown = look();
        loop {
            late("no rest".into());
            let next = look();
            if next == shown {
                break;
            }
            shown = next;
        }
        for (mark, shown) in before.iter_mut().zip(&shown) {
            mark.lines += shown.lines.values().map(Vec::len).sum::<usize>();
            mark.said += shown.said.len();
        }
        shown
    }

    /// The states on a machine; nothing where nothing should run any more.
    fn states(&self, machine: usize, step: &Step, agents: &[Option<Agent<'_>>; 2]) -> String {
        let agent = agents[machine].as_ref().filter(|_| !step.then[machine].is_empty());
        agent.map_or_else(String::new, |agent| agent.states().unwrap_or_default())
    }

    fn look(&self, machine: usize, states: String, agents: &[Option<Agent<'_>>; 2], before: Mark) -> Shown {
        let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let all = agents[machine].as_ref().map(Agent::lines).unwrap_or_default();
        for line in all.into_iter().filter(|line| !line.contains(INSTANT)).skip(before.lines) {
            let words: Vec<&str> = line.split(' ').collect();
            // The first result of a script may come before or after the first state is told.
            let first = before.lines == 0 && words.get(2) == Some(&"BACKUP");
            let line = if first { words[..3].join(" ") } else { line.clone() };
            lines.entry(words[..2].join(" ")).or_default().push(line);
        }
        let mut said = self.machines[machine].lines(SAID);
        said.retain(|line| !line.contains(INSTANT));
        said.drain(..before.said);
        said.sort();
        Shown { states, network: shown::network(&self.machines[machine].namespace), lines, said }
    }
}

/// The end of a cable at the hub.
fn port(number: usize, machine: usize) -> String {
    format!("p{number}x{machine}")
}
