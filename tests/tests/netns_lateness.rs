//! A router at 10 ms beside everything else that an agent does: 4,000 checks a second, scripts that hang, a control
//! socket that is flooded, a log that nobody reads. How late its Advertisements are on the wire, beside a bare loop
//! that only sleeps and sends in the same seconds, and beside keepalived.
//!
//! keepalived's checker ends at once where the kernel has no IPVS, and host kernels may have none. Its VRRP process
//! therefore runs beside a second agent of ours that has the same checks, scripts, flood and log, but no router: the
//! same work on the same machine, and less urgent (nice) than keepalived's own checker would be.

#![forbid(unsafe_code)]

use std::fs;
use std::io::PipeReader;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use steadfast_tests::lab::clock::{Stamp, median, wait_for};
use steadfast_tests::lab::engine::Engine;
use steadfast_tests::lab::lateness::{Bare, Flood, Heard, Lateness, Sink, full_pipe};
use steadfast_tests::lab::spec::Spec;
use steadfast_tests::lab::{Lan, namespace, steadfast_binary, thorough};

const ROUTER: usize = 0;
const SERVER: usize = 1;
const BARE: usize = 2;
const INTERVAL: Duration = Duration::from_millis(10);
const SERVICES: u64 = 1000;
const SERVERS: u64 = 4;
const CLIENTS: usize = 4;
/// How much later than the bare loop the router may be, in milliseconds.
const ABOVE: f64 = 1.0;
/// What two loops that are alike differ by, in milliseconds.
const ALIKE: f64 = 0.5;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    if let Err(why) = namespace::permitted(&["keepalived"]) {
        println!("skipped: {why}");
        return;
    }
    let trial = Trial::test("advertisements-are-punctual-beside-4000-checks", || {
        punctual();
        Ok(())
    });
    libtest_mimic::run(&arguments, vec![trial]).exit();
}

/// One run of an engine, and the bare loop beside it.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// After one another, which is what a Backup sees.
    router: Lateness,
    /// On their beat, if the engine keeps one, as ours does; else after one another.
    strictly: Lateness,
    /// On its beat.
    bare: Lateness,
}

fn punctual() {
    // On a machine that is busy with other things it takes more rounds until the medians are what they are.
    let (few, most) = if thorough() { (5, 15) } else { (3, 9) };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    while ours.len() < few || (ours.len() < most && verdict(&ours, &theirs).is_err()) {
        theirs.push(measure(Engine::Keepalived));
        ours.push(measure(Engine::Steadfast));
    }
    for (engine, rounds) in [(Engine::Steadfast, &ours), (Engine::Keepalived, &theirs)] {
        println!(
            "\nfigure: lateness at 10 ms, 99.9 %, medians of {}: {engine:?} {:.2} ms, bare loop beside {:.2} ms, \
             difference {:.2} ms",
            rounds.len(),
            of(rounds, |round| round.router.p999),
            of(rounds, |round| round.bare.p999),
            of(rounds, |round| round.router.p999 - round.bare.p999),
        );
    }
    if let Err(problem) = verdict(&ours, &theirs) {
        panic!("{problem}");
    }
}

/// The median of something over all rounds.
fn of(rounds: &[Round], what: impl Fn(&Round) -> f64) -> f64 {
    median(&rounds.iter().map(what).collect::<Vec<_>>())
}

/// Whoever else wants the processors in some seconds makes everything late in them: what counts is the lateness above
/// that of the bare loop in the same seconds.
fn verdict(ours: &[Round], theirs: &[Round]) -> Result<(), String> {
    let strictly = of(ours, |round| round.strictly.p999 - round.bare.p999);
    if strictly > ABOVE {
        return Err(format!("{strictly:.2} ms later than a bare loop"));
    }
    let [ours, theirs] = [ours, theirs].map(|rounds| of(rounds, |round| round.router.p999 - round.bare.p999));
    if ours > theirs.max(0.0) + ALIKE {
        return Err(format!("{ours:.2} ms later than a bare loop, keepalived {theirs:.2} ms"));
    }
    Ok(())
}

fn measure(engine: Engine) -> Round {
    let lan = Lan::new(&["router", "server", "bare"]);
    let (router, server) = (&lan.host(ROUTER).namespace, &lan.host(SERVER).namespace);
    for network in 60..60 + SERVERS {
        server.ip(&format!("route add local 10.{network}.0.0/16 dev lo"));
        router.ip(&format!("route add 10.{network}.0.0/16 via {}", lan.host(SERVER).v4));
    }
    let sink = Sink::start(server, 80);
    let mut programs = Vec::new();
    let vrrp = Spec::v3(1).text(200);
    let checks = checks(lan.folder());
    match engine {
        Engine::Steadfast => programs.push(Program::agent(&lan, &format!("{vrrp}{checks}"))),
        _ => programs.extend([Program::agent(&lan, &checks), Program::keepalived(&lan, &vrrp)]),
    }
    let patience = Duration::from_secs(20);
    lan.capture.wait_advert(lan.capture.mark(), ROUTER, patience, |advert| advert.priority == 200);
    wait_for("the first checks", patience, || (sink.accepted() > 2 * SERVICES * SERVERS).then_some(()));
    let flood = Flood::start(&control(&lan), CLIENTS);
    let bare = Bare::start(&lan.host(BARE).namespace, INTERVAL);
    // The kernel's announcements, the first answers.
    std::thread::sleep(Duration::from_secs(1));
    let (mark, begun, accepted) = (lan.capture.mark(), Stamp::now(), sink.accepted());
    let duration = Duration::from_secs(if thorough() { 20 } else { 10 });
    std::thread::sleep(duration);
    let heard = Heard::since(&lan, mark, ROUTER, BARE);
    let seconds = Stamp::now().ms_since(begun) / 1e3;
    let rate = (sink.accepted() - accepted) as f64 / seconds;
    let answers = flood.stop();
    bare.stop();
    drop(programs);
    let [adverts] = &heard.routers[..] else { panic!("one router advertises, not {}", heard.routers.len()) };
    let router = Lateness::after_each_other(adverts, INTERVAL);
    let strictly = if engine == Engine::Steadfast { Lateness::on_beat(adverts, INTERVAL) } else { router };
    let round = Round { router, strictly, bare: Lateness::on_beat(&heard.bare, INTERVAL) };
    println!("\nfigure: lateness at 10 ms: {engine:?}: {}", round.router);
    if engine == Engine::Steadfast {
        println!("figure: lateness at 10 ms: {engine:?} on its beat: {}", round.strictly);
    }
    println!("figure: lateness at 10 ms: bare loop beside {engine:?}: {}", round.bare);
    println!("figure: lateness at 10 ms: beside {engine:?}: {rate:.0} checks a second, {answers} answers");
    // Without the load nothing is shown.
    let due = (SERVICES * SERVERS) as f64;
    assert!(rate > due * 0.75, "{rate:.0} checks a second, {due} are due");
    assert!(answers as f64 > seconds, "only {answers} answers");
    for lateness in [round.router, round.bare] {
        assert!(lateness.count > 500, "too few for a percentile: {lateness}");
    }
    round
}

/// The virtual servers: all good, but for one with a check that hangs, and one that is down and whose script hangs.
fn checks(folder: &Path) -> String {
    let hang = folder.join("hang.sh");
    fs::write(&hang, "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n").expect("a script can be written");
    fs::set_permissions(&hang, fs::Permissions::from_mode(0o755)).expect("a script can be made executable");
    let mut text = "global_defs {\n    script_user root\n}\n".to_owned();
    let mut service = |address: &str, servers: &str| {
        text.push_str(&format!(
            "virtual_server {address} 80 {{\n    delay_loop 1\n    lb_algo rr\n    lb_kind NAT\n    protocol TCP\n{servers}}}\n"
        ));
    };
    for number in 0..SERVICES {
        let rest = format!("{}.{}", number / 250, number % 250 + 1);
        let servers: String =
            (60..60 + SERVERS).map(|network| real_server(&format!("10.{network}.{rest} 80"), "", TCP_CHECK)).collect();
        service(&format!("10.50.{rest}"), &servers);
    }
    let check =
        format!("MISC_CHECK {{\n            misc_path {}\n            misc_timeout 1\n        }}", hang.display());
    service("10.51.0.1", &real_server("10.9.0.2 81", "", &check));
    let script = format!("notify_down {}", hang.display());
    service("10.51.0.2", &real_server("10.9.0.2 82", &script, TCP_CHECK));
    text
}

const TCP_CHECK: &str = "TCP_CHECK {\n            connect_timeout 3\n        }";

fn real_server(address: &str, more: &str, check: &str) -> String {
    format!("    real_server {address} {{\n        {more}\n        {check}\n    }}\n")
}

fn control(lan: &Lan) -> std::path::PathBuf {
    lan.folder().join("control.sock")
}

/// A running program; it is ended when dropped.
struct Program {
    child: Child,
    /// The end of its log that nobody reads.
    _log: Option<PipeReader>,
}

impl Program {
    /// Ours, with a log that blocks from its first line on.
    fn agent(lan: &Lan, text: &str) -> Self {
        let file = lan.folder().join("agent.conf");
        fs::write(&file, text).expect("a configuration can be written");
        let mut command = lan.host(ROUTER).namespace.command(&steadfast_binary().display().to_string());
        command.args(["run", "--log-level", "debug", "--control"]).arg(control(lan)).arg("--config").arg(&file);
        let (reader, writer) = full_pipe();
        command.stdout(Stdio::null()).stderr(writer);
        Self { child: spawn(command), _log: Some(reader) }
    }

    /// keepalived's VRRP process and its parent. They write their log themselves, and would never start with one that
    /// blocks.
    fn keepalived(lan: &Lan, text: &str) -> Self {
        let folder = lan.folder();
        let file = folder.join("keepalived.conf");
        fs::write(&file, text).expect("a configuration can be written");
        let mut command = lan.host(ROUTER).namespace.command("keepalived");
        command.args(["--dont-fork", "--vrrp", "--log-console", "--use-file"]).arg(&file);
        command.arg("--pid").arg(folder.join("pid")).arg("--vrrp_pid").arg(folder.join("vrrp.pid"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: spawn(command), _log: None }
    }
}

fn spawn(mut command: Command) -> Child {
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

impl Drop for Program {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        // A planned stop, which ends what it has started; what is left goes with the namespace.
        let _ = kill(pid, Signal::SIGTERM);
        let deadline = Stamp::now() + Duration::from_secs(10);
        while !matches!(self.child.try_wait(), Ok(Some(_))) && Stamp::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
