//! What is left: how big the programs are with their libraries, how long a reload takes, and what a flood does.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use steadfast_tests::lab::clock::{Stamp, ms};
use steadfast_tests::lab::crowd::{Crowd, ROUTER, Size};
use steadfast_tests::lab::engine::{Daemon, Engine};
use steadfast_tests::lab::frames::largest_pause;
use steadfast_tests::lab::hostile::kinds;
use steadfast_tests::lab::inject::inject;
use steadfast_tests::lab::monitor::Monitor;
use steadfast_tests::lab::spec::Spec;
use steadfast_tests::lab::{Lan, steadfast_binary};

use super::engines;
use super::sheet::{Good, Row, Sheet};

/// Programs and the libraries that they want.
pub(super) fn size(_: usize) -> Sheet {
    let mut row = Row::new("Programs with their libraries, kB", 0, Good::Low);
    for engine in engines() {
        let programs = match engine {
            Engine::Steadfast => vec![steadfast_binary()],
            Engine::Keepalived => vec![found("keepalived")],
            Engine::Frr => ["vrrpd", "zebra"].map(|program| PathBuf::from("/usr/lib/frr").join(program)).into(),
        };
        let mut files: BTreeSet<PathBuf> = programs.iter().cloned().collect();
        files.extend(programs.iter().flat_map(|program| libraries(program)));
        let bytes = files.iter().map(|file| file.metadata().expect("a file").len()).sum::<u64>();
        row.of(engine, bytes as f64 / 1000.0);
    }
    Sheet::new([row])
}

fn found(program: &str) -> PathBuf {
    let output = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().expect("a shell");
    String::from_utf8_lossy(&output.stdout).trim().into()
}

/// What the dynamic linker would load; nothing for a static program.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().expect("ldd");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let paths = said.split_whitespace().filter(|word| word.starts_with('/'));
    paths.filter_map(|path| PathBuf::from(path).canonicalize().ok()).collect()
}

/// From the signal until an address that is new in the file is on.
pub(super) fn reload(rounds: usize) -> Sheet {
    let patience = Duration::from_secs(20);
    let new: IpAddr = "10.9.2.1".parse().expect("an address");
    let rows = [1, 255].map(|each| {
        let mut row = Row::new(format!("Reload, {each} routers at 1 s: signal to an address more, ms"), 1, Good::Low);
        let size = Size { links: 1, each, centiseconds: 100 };
        let text = size.configuration();
        let more = text.replacen("10.9.1.1/32", "10.9.1.1/32\n        10.9.2.1/32", 1);
        // FRR is configured by commands.
        let crowds = [Engine::Steadfast, Engine::Keepalived].map(|engine| {
            let crowd = Crowd::start(engine, size);
            (engine, Monitor::start(&crowd.lan.host(ROUTER).namespace), crowd)
        });
        for _ in 0..rounds {
            for (engine, monitor, crowd) in &crowds {
                let asked = crowd.daemon.reload(&more);
                row.of(*engine, monitor.wait(new, true, asked, patience).ms_since(asked));
                std::thread::sleep(Duration::from_secs(1));
                let asked = crowd.daemon.reload(&text);
                monitor.wait(new, false, asked, patience);
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        row
    });
    Sheet::new(rows)
}

/// Advertisements with a wrong checksum, from a stranger.
pub(super) fn flood(rounds: usize) -> Sheet {
    const RATE: u32 = 10_000;
    const ATTACKER: usize = 1;
    let time = Duration::from_secs(6);
    let row = |what: &str, digits| {
        Row::new(format!("10,000 wrong Advertisements a second, a router at 1 s: {what}"), digits, Good::Low)
    };
    let mut silent = row("longest pause of its own, ms", 0);
    let mut cpu = row("CPU time of one, us", 1);
    let mut log = row("log, kB a second", 1);
    let spec = Spec::v3(100);
    for _ in 0..rounds {
        for engine in engines() {
            let lan = Lan::new(&["router", "attacker"]);
            let daemon = Daemon::start(engine, &lan, ROUTER, &spec, 200);
            let patience = ms(spec.down_ms(200) + 10_000.0);
            lan.capture.wait_advert(lan.capture.mark(), ROUTER, patience, |advert| advert.priority == 200);
            let wrong = kinds(&spec, lan.host(ATTACKER), lan.host(ROUTER));
            let wrong = wrong.into_iter().find(|kind| kind.name == "bad-checksum").expect("a kind of that name");
            let (mark, begun) = (lan.capture.mark(), Stamp::now());
            let before = (daemon.process.cpu_ms(), daemon.process.log().len());
            let sent = inject(&lan.host(ATTACKER).namespace, &[wrong.frame], RATE, time);
            let end = Stamp::now();
            let seconds = end.ms_since(begun) / 1000.0;
            silent.of(engine, largest_pause(&lan.capture.adverts(mark), ROUTER, begun, end));
            cpu.of(engine, (daemon.process.cpu_ms() - before.0) * 1000.0 / sent as f64);
            log.of(engine, (daemon.process.log().len() - before.1) as f64 / 1000.0 / seconds);
        }
    }
    Sheet::new([silent, cpu, log])
}
