//! Every checker against a server that is good, gone, silent, slow, without end, and talking nonsense: the verdict, the
//! time to it within its formula, memory that does not grow, and back up again when the server is good again. The
//! host's kernel needs no IPVS for this: health is seen in the status and in what notify scripts do.

#![forbid(unsafe_code)]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use steadfast_tests::lab::clock::{Stamp, wait_for};
use steadfast_tests::lab::engine::{Daemon, Engine};
use steadfast_tests::lab::servers::{Manner, Servant, Speech};
use steadfast_tests::lab::{Lan, namespace};

const DIRECTOR: usize = 0;
const SERVER: usize = 1;

/// delay_loop, connect_timeout and delay_before_retry of every check here, and its retries.
const SECOND: f64 = 1000.0;
const RETRIES: f64 = 1.0;
/// What a busy machine may add to a formula, in milliseconds.
const SLACK: f64 = 1500.0;
/// What memory may grow by, in kB: allocators do not give everything back.
const GROWTH: u64 = 1536;
/// How long something that should not happen is waited for.
const WHILE: Duration = Duration::from_secs(4);

fn main() {
    let arguments = Arguments::from_args();
    if let Err(why) = namespace::permitted(&[]) {
        println!("skipped: {why}");
        return;
    }
    let mut trials = Vec::new();
    for checker in CHECKERS {
        for &(manner, expected) in checker.manners {
            trials.push(Trial::test(format!("{}-{}", checker.name, manner_name(manner)), move || {
                server_changes(checker, manner, expected);
                Ok(())
            }));
        }
        trials.push(Trial::test(format!("{}-black-hole", checker.name), move || {
            black_hole(checker);
            Ok(())
        }));
    }
    let mut add = |name: &str, test: fn()| {
        trials.push(Trial::test(name, move || {
            test();
            Ok(())
        }));
    };
    add("ping-unreachable", ping_unreachable);
    add("udp-silence-is-enough-without-a-reply", udp_silence);
    add("misc-exit-status", misc_exit_status);
    add("misc-hangs", misc_hangs);
    add("misc-is-not-there", misc_is_not_there);
    add("misc-dynamic-weight", misc_dynamic_weight);
    add("file-contents", file_contents);
    add("one-bad-server-costs-no-other", one_bad_server);
    add("checks-rest-without-the-address", checks_rest);
    add("reload-disturbs-nothing", reload_disturbs_nothing);
    add("stop-with-omega", stop_with_omega);
    libtest_mimic::run(&arguments, trials).exit();
}

/// A checker, and what it makes of servers.
struct Checker {
    name: &'static str,
    protocol: &'static str,
    /// What it speaks with; none: it only connects, or pings.
    speech: Option<Speech>,
    port: u16,
    /// Its block, without what all have.
    block: &'static str,
    /// For each manner: what the verdict says, or that the server stays up; and how many timeouts an attempt takes.
    manners: &'static [(Manner, Expected)],
    /// What it says of a server that packets do not reach.
    lost: &'static str,
}

#[derive(Clone, Copy)]
enum Expected {
    StaysUp,
    /// Down for this reason, after an attempt of so many times connect_timeout.
    Down(&'static str, f64),
}
use Expected::{Down, StaysUp};

const CHECKERS: &[Checker] = &[
    Checker {
        name: "tcp",
        protocol: "TCP",
        speech: Some(Speech::Http),
        port: 80,
        block: "TCP_CHECK {",
        manners: &[
            (Manner::Refused, Down("connection refused", 0.0)),
            (Manner::Silent, StaysUp),
            (Manner::Slow, StaysUp),
            (Manner::Endless, StaysUp),
            (Manner::Garbage, StaysUp),
        ],
        lost: "no connection within 1 s",
    },
    Checker {
        name: "http",
        protocol: "TCP",
        speech: Some(Speech::Http),
        port: 80,
        block: "HTTP_GET {\n            url {\n                path /\n                status_code 200\n            }",
        manners: &[
            (Manner::Refused, Down("connection refused", 0.0)),
            (Manner::Silent, Down("no answer within 1 s", 1.0)),
            (Manner::Slow, Down("no whole head within 1 s", 1.0)),
            (Manner::Endless, Down("a body of more than", 1.0)),
            (Manner::Garbage, Down("not an HTTP answer", 0.0)),
        ],
        lost: "no connection within 1 s",
    },
    Checker {
        name: "smtp",
        protocol: "TCP",
        speech: Some(Speech::Smtp),
        port: 25,
        block: "SMTP_CHECK {",
        manners: &[
            (Manner::Refused, Down("connection refused", 0.0)),
            (Manner::Silent, Down("no greeting within 1 s", 1.0)),
            (Manner::Slow, Down("no greeting within 1 s", 1.0)),
            (Manner::Endless, Down("a reply of more than", 1.0)),
            (Manner::Garbage, Down("not an SMTP answer", 1.0)),
        ],
        lost: "no connection within 1 s",
    },
    Checker {
        name: "dns",
        protocol: "UDP",
        speech: Some(Speech::Dns),
        port: 53,
        block: "DNS_CHECK {\n            type A\n            name www.test",
        manners: &[
            (Manner::Refused, Down("connection refused", 0.0)),
            (Manner::Silent, Down("no answer within 1 s", 1.0)),
            (Manner::Slow, Down("no answer within 1 s", 1.0)),
            (Manner::Endless, Down("only what answers no question", 1.0)),
            (Manner::Garbage, Down("only what answers no question", 1.0)),
        ],
        lost: "no answer within 1 s",
    },
    Checker {
        name: "udp",
        protocol: "UDP",
        speech: Some(Speech::Pong),
        port: 7,
        block: "UDP_CHECK {\n            payload 70696e67\n            require_reply 706F6E67",
        manners: &[
            (Manner::Refused, Down("connection refused", 0.0)),
            (Manner::Silent, Down("no answer within 1 s", 1.0)),
            (Manner::Slow, Down("no answer within 1 s", 1.0)),
            (Manner::Endless, Down("", 1.0)),
            (Manner::Garbage, Down("is not as expected", 1.0)),
        ],
        lost: "no answer within 1 s",
    },
    Checker {
        name: "ping",
        protocol: "UDP",
        speech: None,
        port: 7,
        block: "PING_CHECK {",
        manners: &[],
        lost: "no answer within 1 s",
    },
];

fn manner_name(manner: Manner) -> String {
    format!("{manner:?}").to_lowercase()
}

/// A director with one virtual server, and a machine with its real servers.
struct Scene {
    director: Daemon,
    lan: Lan,
}

impl Scene {
    /// Starts the director with this configuration.
    fn start(lan: Lan, text: &str) -> Self {
        let director = Daemon::start_with(Engine::Steadfast, &lan, DIRECTOR, text);
        Self { director, lan }
    }

    /// The server number `server` of the virtual server number `service`, as status shows it.
    fn server(&self, service: usize, server: usize) -> Option<Value> {
        let status = self.director.status()?;
        status["services"][service]["servers"].get(server).cloned()
    }

    /// Waits until a server has been checked, and was found up.
    #[track_caller]
    fn wait_up(&self) {
        wait_for("a server that is up", Duration::from_secs(8), || {
            let server = self.server(0, 0)?;
            (server["known"] == true && server["health"] == "up").then_some(())
        });
    }

    /// Waits for a line of the log after the first `skip` that holds `words`; when it was seen, and the line.
    #[track_caller]
    fn wait_line(&self, skip: usize, words: &str, patience: f64) -> (Stamp, String) {
        wait_for(&format!("`{words}` in the log"), Duration::from_secs_f64(patience / 1000.0), || {
            let log = self.director.process.log();
            let line = log.lines().skip(skip).find(|line| line.contains(words))?.to_owned();
            Some((Stamp::now(), line))
        })
    }

    fn lines(&self) -> usize {
        self.director.process.log().lines().count()
    }
}

/// One virtual server whose real servers are `blocks`, each a check without its closing brace.
fn configuration(protocol: &str, servers: &[(SocketAddr, &str)]) -> String {
    let mut text = format!(
        "virtual_server 10.9.0.100 80 {{\n    delay_loop 1\n    lb_algo rr\n    lb_kind NAT\n    protocol {protocol}\n"
    );
    for (address, block) in servers {
        text.push_str(&format!(
            "    real_server {} {} {{\n        weight 1\n        {block}\n            warmup 0\n            retry 1\n            \
             delay_before_retry 1\n        }}\n    }}\n",
            address.ip(),
            address.port()
        ));
    }
    text.push_str("}\n");
    text
}

/// The same block with a connect_timeout of a second.
fn timed(block: &str) -> String {
    format!("{block}\n            connect_timeout 1")
}

fn lan() -> Lan {
    let lan = Lan::new(&["director", "server"]);
    lan.capture.stop();
    lan
}

fn address(lan: &Lan, port: u16) -> SocketAddr {
    SocketAddr::new(lan.host(SERVER).v4.into(), port)
}

/// A good server is up; then it changes its manner, and changes back.
fn server_changes(checker: &Checker, manner: Manner, expected: Expected) {
    let lan = lan();
    let address = address(&lan, checker.port);
    let speech = checker.speech.expect("a server that behaves");
    let server = Servant::start(&lan.host(SERVER).namespace, address, speech);
    let scene = Scene::start(lan, &configuration(checker.protocol, &[(address, &timed(checker.block))]));
    scene.wait_up();
    let (memory, lines) = (scene.director.process.resident_kb(), scene.lines());
    server.behave(manner);
    let changed = Stamp::now();
    match expected {
        StaysUp => {
            std::thread::sleep(WHILE);
            assert_eq!(scene.lines(), lines, "{}", scene.director.process.log());
        }
        Down(reason, timeouts) => {
            let slowest = SECOND + (RETRIES + 1.0) * timeouts * SECOND + RETRIES * SECOND;
            let (at, line) = scene.wait_line(lines, " is down: ", slowest + SLACK);
            let took = at.ms_since(changed);
            let why = line.rsplit(" is down: ").next().unwrap_or_default();
            println!(
                "\nfigure: checks: {}-{}: down after {took:.0} ms of {slowest:.0}: {why}",
                checker.name,
                manner_name(manner)
            );
            assert!(line.contains(reason), "{line}");
            assert!(took >= RETRIES * SECOND * 0.95, "{took} ms: it was not tried again");
            // Attempts go on, and each is the server's whole chance to do harm.
            std::thread::sleep(WHILE);
            assert_eq!(scene.server(0, 0).expect("status answers")["health"], "down");
        }
    }
    let grown = scene.director.process.resident_kb().saturating_sub(memory);
    assert!(grown <= GROWTH, "{grown} kB more after {} bytes of the server's", server.sent());
    if !matches!(expected, StaysUp) {
        let lines = scene.lines();
        server.behave(Manner::Good);
        let changed = Stamp::now();
        let slowest = SECOND + 2.0 * SECOND;
        let (at, _) = scene.wait_line(lines, " is up", slowest + SLACK);
        println!("\nfigure: checks: {}-{}: up after {:.0} ms", checker.name, manner_name(manner), at.ms_since(changed));
    }
}

/// Packets to a good server, or from it, are lost.
fn black_hole(checker: &Checker) {
    let lan = lan();
    let address = address(&lan, checker.port);
    let server = checker.speech.map(|speech| Servant::start(&lan.host(SERVER).namespace, address, speech));
    let scene = Scene::start(lan, &configuration(checker.protocol, &[(address, &timed(checker.block))]));
    scene.wait_up();
    let lines = scene.lines();
    let director = &scene.lan.host(DIRECTOR).namespace;
    director.ip(&format!("neigh replace {} lladdr 02:00:00:00:00:77 dev eth0 nud permanent", address.ip()));
    let changed = Stamp::now();
    let slowest = SECOND + (RETRIES + 1.0) * SECOND + RETRIES * SECOND;
    let (at, line) = scene.wait_line(lines, " is down: ", slowest + SLACK);
    println!(
        "\nfigure: checks: {}-black-hole: down after {:.0} ms of {slowest:.0}",
        checker.name,
        at.ms_since(changed)
    );
    assert!(line.contains(checker.lost), "{line}");
    assert!(at.ms_since(changed) >= (2.0 * RETRIES + 1.0) * SECOND * 0.95, "{} ms", at.ms_since(changed));
    let lines = scene.lines();
    director.ip(&format!("neigh del {} dev eth0", address.ip()));
    scene.wait_line(lines, " is up", 3.0 * SECOND + SLACK);
    drop(server);
}

/// A host that the kernel knows to be unreachable is down without waiting.
fn ping_unreachable() {
    let lan = lan();
    let address = address(&lan, 7);
    let scene = Scene::start(lan, &configuration("UDP", &[(address, &timed("PING_CHECK {"))]));
    scene.wait_up();
    let lines = scene.lines();
    scene.lan.host(DIRECTOR).namespace.ip(&format!("route add unreachable {}/32", address.ip()));
    let changed = Stamp::now();
    let (at, line) = scene.wait_line(lines, " is down: ", 2.0 * SECOND + SLACK);
    assert!(line.contains("no route to the host"), "{line}");
    assert!(at.ms_since(changed) >= SECOND * 0.95);
}

/// Without require_reply a server is up as long as no ICMP error comes.
fn udp_silence() {
    let lan = lan();
    let address = address(&lan, 7);
    let server = Servant::start(&lan.host(SERVER).namespace, address, Speech::Pong);
    server.behave(Manner::Silent);
    let scene = Scene::start(lan, &configuration("UDP", &[(address, &timed("UDP_CHECK {\n            payload 70"))]));
    scene.wait_up();
    let lines = scene.lines();
    server.behave(Manner::Refused);
    let (_, line) = scene.wait_line(lines, " is down: ", 2.0 * SECOND + SLACK);
    assert!(line.contains("connection refused"), "{line}");
    server.behave(Manner::Silent);
    scene.wait_line(lines, " is up", 3.0 * SECOND + SLACK);
}

/// A script whose text can be changed.
struct Program(PathBuf);

impl Program {
    fn new(lan: &Lan, text: &str) -> Self {
        let program = Self(lan.folder().join("check.sh"));
        program.set(text);
        program
    }

    fn set(&self, text: &str) {
        // A new file each time: one that is being written cannot be run.
        let new = self.0.with_extension("new");
        fs::write(&new, format!("#!/bin/sh\n{text}\n")).expect("a script can be written");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("a mode can be set");
        fs::rename(&new, &self.0).expect("a script can be put in place");
    }

    /// What runs of it.
    fn running(&self) -> usize {
        let output = Command::new("pgrep").arg("-f").arg(&self.0).output().expect("pgrep runs");
        String::from_utf8_lossy(&output.stdout).lines().count()
    }

    fn block(&self, more: &str) -> String {
        format!("MISC_CHECK {{\n            misc_path {}\n            misc_timeout 1\n{more}", self.0.display())
    }
}

fn misc(text: &str, more: &str) -> (Scene, Program) {
    let lan = lan();
    let program = Program::new(&lan, text);
    let address = address(&lan, 80);
    let text = configuration("TCP", &[(address, &program.block(more))]);
    (Scene::start(lan, &format!("global_defs {{\n    script_user root\n}}\n{text}")), program)
}

fn misc_exit_status() {
    let (scene, program) = misc("exit 0", "");
    scene.wait_up();
    for status in ["1", "2", "255"] {
        let lines = scene.lines();
        program.set(&format!("exit {status}"));
        let changed = Stamp::now();
        let (at, line) = scene.wait_line(lines, " is down: ", 2.0 * SECOND + SLACK);
        assert!(line.contains(&format!("exit status {status}")), "{line}");
        assert!(at.ms_since(changed) >= SECOND * 0.95);
        program.set("exit 0");
        scene.wait_line(lines, " is up", SECOND + SLACK);
    }
}

/// A script that does not end is ended, with all that it has started, also if it does not listen to SIGTERM; and its
/// output goes nowhere.
fn misc_hangs() {
    let (scene, program) = misc("exit 0", "");
    scene.wait_up();
    let own = program.0.display().to_string();
    for text in [
        "sleep 600",
        "trap '' TERM; while :; do sleep 1; done",
        &format!("[ \"$1\" ] && exec sleep 600; {own} child & exec {own} child"),
        "exec cat /dev/zero",
    ] {
        let lines = scene.lines();
        program.set(text);
        let changed = Stamp::now();
        let (at, line) = scene.wait_line(lines, " is down: ", 4.0 * SECOND + SLACK);
        assert!(line.contains("no exit within 1 s"), "{line}");
        assert!(at.ms_since(changed) >= 2.8 * SECOND, "{}", at.ms_since(changed));
        program.set("exit 0");
        scene.wait_line(lines, " is up", 2.0 * SECOND + SLACK);
        wait_for("the end of all that was started", Duration::from_secs(5), || (program.running() == 0).then_some(()));
    }
}

fn misc_is_not_there() {
    let (scene, program) = misc("exit 0", "");
    scene.wait_up();
    let lines = scene.lines();
    fs::remove_file(&program.0).expect("the script is there");
    let (_, line) = scene.wait_line(lines, " is down: ", 2.0 * SECOND + SLACK);
    assert!(line.contains("it cannot be run"), "{line}");
    program.set("exit 0");
    scene.wait_line(lines, " is up", SECOND + SLACK);
}

/// misc_dynamic: exit statuses from 2 are weights; without IPVS the weight shows in the quorum.
fn misc_dynamic_weight() {
    let (scene, program) = misc("exit 0", "            misc_dynamic");
    scene.wait_up();
    let alive = |wanted: u64| {
        wait_for("another weight", Duration::from_secs(4), || {
            let status = scene.director.status()?;
            (status["services"][0]["alive_weight"] == wanted).then_some(())
        });
    };
    alive(1);
    program.set("exit 252");
    alive(250);
    program.set("exit 2");
    alive(0);
    program.set("exit 7");
    alive(5);
}

/// FILE_CHECK: whatever stands in the place of the file, its own check is all that it costs.
fn file_contents() {
    let lan = lan();
    let file = lan.folder().join("weight");
    fs::write(&file, "0\n").expect("a file can be written");
    let block = "FILE_CHECK {\n            track_file weight";
    let text = configuration("TCP", &[(address(&lan, 80), block)]);
    let text = format!("track_file weight {{\n    file {}\n    weight 0\n}}\n{text}", file.display());
    let scene = Scene::start(lan, &text);
    scene.wait_up();
    let fifo = || {
        let made = Command::new("mkfifo").arg(&file).status().expect("mkfifo runs");
        assert!(made.success());
    };
    let cases: [(&dyn Fn(), &str); 5] = [
        (&|| fs::write(&file, "1").expect("a file can be written"), "the file says 1"),
        (&|| fs::write(&file, "no number").expect("a file can be written"), "no number"),
        (&|| fs::write(&file, vec![b'1'; 1 << 20]).expect("a file can be written"), "no number"),
        (&|| fs::remove_file(&file).expect("the file is there"), "cannot be read"),
        (
            &|| {
                fs::remove_file(&file).expect("the file is there");
                fifo()
            },
            "it is no file",
        ),
    ];
    for (change, reason) in cases {
        let lines = scene.lines();
        change();
        let (_, line) = scene.wait_line(lines, " is down: ", 2.0 * SECOND + SLACK);
        assert!(line.contains(reason), "{line}");
        let _ = fs::remove_file(&file);
        fs::write(&file, "0\n").expect("a file can be written");
        scene.wait_line(lines, " is up", SECOND + SLACK);
    }
}

/// Bad servers of every kind beside good ones: the good ones stay up, and are checked every second.
fn one_bad_server() {
    let lan = lan();
    let block = timed(CHECKERS[1].block);
    let good = address(&lan, 80);
    let mut servants = vec![Servant::start(&lan.host(SERVER).namespace, good, Speech::Http)];
    let mut servers = vec![(good, block.as_str())];
    let bad = [Manner::Refused, Manner::Silent, Manner::Slow, Manner::Endless, Manner::Endless, Manner::Garbage];
    for (port, manner) in (81..).zip(bad) {
        let address = address(&lan, port);
        let servant = Servant::start(&lan.host(SERVER).namespace, address, Speech::Http);
        servant.behave(manner);
        servants.push(servant);
        servers.push((address, block.as_str()));
    }
    let scene = Scene::start(lan, &configuration("TCP", &servers));
    scene.wait_up();
    let attempts =
        || scene.director.status().expect("status answers")["director"]["counters"]["check-attempts"].as_u64();
    wait_for("verdicts on all", Duration::from_secs(10), || {
        let down =
            (1..=bad.len()).all(|server| scene.server(0, server).is_some_and(|server| server["health"] == "down"));
        down.then_some(())
    });
    let (before, cpu) = (attempts(), scene.director.process.cpu_ms());
    let begun = Stamp::now();
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(1000));
        assert_eq!(scene.server(0, 0).expect("status answers")["health"], "up");
    }
    let busy = (scene.director.process.cpu_ms() - cpu) / Stamp::now().ms_since(begun);
    println!("\nfigure: checks: two servers without end and four other bad ones: {:.1} % of a processor", busy * 100.0);
    assert!(attempts() > before, "checks go on");
    assert!(busy < 0.5, "{busy}");
}

/// ha_suspend: while the virtual address is not on this machine, nothing is asked.
fn checks_rest() {
    let lan = lan();
    let address = address(&lan, 80);
    let server = Servant::start(&lan.host(SERVER).namespace, address, Speech::Http);
    let text = configuration("TCP", &[(address, &timed(CHECKERS[1].block))]).replacen('{', "{\n    ha_suspend", 1);
    let director = lan.host(DIRECTOR).namespace.name().to_owned();
    let scene = Scene::start(lan, &text);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(server.sent(), 0, "nothing was asked");
    assert_eq!(scene.server(0, 0).expect("status answers")["known"], false);
    let ip = |arguments: &str| {
        let status = Command::new("ip").args(["-n", &director]).args(arguments.split(' ')).status();
        assert!(status.expect("ip runs").success());
    };
    ip("addr add 10.9.0.100/32 dev eth0");
    scene.wait_up();
    ip("addr del 10.9.0.100/32 dev eth0");
    std::thread::sleep(Duration::from_millis(500));
    let sent = server.sent();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(server.sent(), sent, "checks rest again");
}

/// A reload keeps health and the beat of checks that stay; a server that is new is checked as at the start.
fn reload_disturbs_nothing() {
    let lan = lan();
    let block = timed("TCP_CHECK {");
    let (one, two) = (address(&lan, 80), address(&lan, 81));
    let first = Servant::start(&lan.host(SERVER).namespace, one, Speech::Http);
    let scene = Scene::start(lan, &configuration("TCP", &[(one, &block)]));
    scene.wait_up();
    first.behave(Manner::Refused);
    scene.wait_line(0, " is down: ", 2.0 * SECOND + SLACK);
    let lines = scene.lines();
    scene.director.reload(&configuration("TCP", &[(one, &block), (two, &block)]));
    let (_, line) = scene.wait_line(lines, " is down: ", 2.0 * SECOND + SLACK);
    // The one that is down stays so without a word; the new one is found down at its first check.
    assert!(line.contains(":81 is down"), "{line}");
    assert_eq!(scene.server(0, 0).expect("status answers")["health"], "down");
    // A broken file changes nothing.
    let lines = scene.lines();
    scene.director.reload("virtual_server 10.9.0.100 {");
    scene.wait_line(lines, "the old one stays in force", 3.0 * SECOND);
    assert_eq!(
        scene.director.status().expect("status answers")["services"][0]["servers"].as_array().map(Vec::len),
        Some(2)
    );
    first.behave(Manner::Good);
    scene.wait_line(lines, ":80 is up", SECOND + SLACK);
}

/// Scripts: on the way down, on the way up, for the quorum, and with omega at the stop.
fn stop_with_omega() {
    let lan = lan();
    let address = address(&lan, 80);
    let server = Servant::start(&lan.host(SERVER).namespace, address, Speech::Http);
    let note = lan.folder().join("notes");
    let script = Program::new(&lan, &format!("echo \"$@\" >>{}", note.display()));
    let scripts = |words: &[&str]| -> String {
        words.iter().map(|word| format!("    {word} \"{} {word}\"\n", script.0.display())).collect()
    };
    let text = configuration("TCP", &[(address, &timed("TCP_CHECK {"))])
        .replacen("{\n", &format!("{{\n    omega\n{}", scripts(&["quorum_up", "quorum_down"])), 1)
        .replacen("weight 1\n", &format!("weight 1\n{}", scripts(&["notify_up", "notify_down"])), 1);
    let mut scene = Scene::start(lan, &format!("global_defs {{\n    script_user root\n}}\n{text}"));
    scene.wait_up();
    let noted = |wanted: &[&str]| {
        wait_for(&format!("{wanted:?}"), Duration::from_secs(5), || {
            let text = fs::read_to_string(&note).unwrap_or_default();
            let mut words: Vec<&str> = text.lines().collect();
            let mut wanted = wanted.to_vec();
            // Scripts run beside each other.
            words.sort_unstable();
            wanted.sort_unstable();
            (words == wanted).then_some(())
        });
        let _ = fs::remove_file(&note);
    };
    noted(&["quorum_up"]);
    server.behave(Manner::Refused);
    noted(&["notify_down", "quorum_down"]);
    server.behave(Manner::Good);
    noted(&["notify_up", "quorum_up"]);
    scene.director.terminate();
    assert_eq!(scene.director.process.wait(Duration::from_secs(5)), Some(0));
    noted(&["notify_down", "quorum_down"]);
}
