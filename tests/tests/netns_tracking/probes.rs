//! `vrrp_probe` on real interfaces: each of them fails and recovers, and the router's priority or state follows as often
//! as `rise` and `fall` say.

use std::process::{Child, Command};

use steadfast_tests::lab::clock::Stamp;
use steadfast_tests::lab::servers::{Manner, Servant, Speech};

use super::*;

const PORT: &str = "127.0.0.1:8001";
const WEB: &str = "127.0.0.1:8002";

fn probe(name: &str, lines: &str, more: &str) -> String {
    format!("vrrp_probe {name} {{\n    {lines}\n    interval 0.1\n    {more}\n}}\n")
}

/// A web server on the router itself.
fn servant(stage: &Stage, address: &str) -> Servant {
    let address = address.parse().expect("an address written above");
    Servant::start(&stage.lan.host(0).namespace, address, Speech::Http)
}

/// The processes of this test's own kind.
struct Tracked(PathBuf, Child);

impl Tracked {
    fn start(stage: &Stage) -> Self {
        let program = stage.path("sf-probed");
        let _ = std::os::unix::fs::symlink("/bin/sleep", &program);
        let child = Command::new(&program).arg("60").spawn().expect("a program runs");
        Self(program, child)
    }

    fn stop(&mut self) {
        let _ = self.1.kill();
        let _ = self.1.wait();
    }

    fn again(&mut self) {
        self.1 = Command::new(&self.0).arg("60").spawn().expect("a program runs");
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Each probe has a bit of the priority.
pub(super) fn each_probe_counts(stage: &mut Stage) {
    stage.lan = Lan::new(&["one", "two"]);
    let router = &stage.lan.host(0).namespace;
    router.ip("link add w0 type veth peer name w1");
    router.ip("link set w0 up");
    router.ip("link set w1 up");
    router.ip("route add default dev w0");
    let (port, web) = (servant(stage, PORT), servant(stage, WEB));
    let mut process = Tracked::start(stage);
    let both = "rise 2\n    fall 2";
    let text = [
        probe("port", "tcp 127.0.0.1 8001", "fall 5\n    weight 16"),
        probe("web", &format!("http http://{WEB}/health\n    timeout 0.1"), &format!("weight 8\n    {both}")),
        probe("gateway", "ping 10.9.0.2\n    bind_if eth0\n    timeout 0.1", &format!("weight 4\n    {both}")),
        probe("uplink", "default_route", "weight 2"),
        probe("program", "process sf-probed", &format!("weight 1\n    {both}")),
        probe("turned", "tcp 127.0.0.1:8003", "weight 32 reverse"),
    ];
    let uses = "track_probe {\n    port\n    web\n    gateway\n    uplink\n    program\n    turned\n}";
    stage.start(&text.concat(), uses);
    stage.hear(Priority(131));
    let (stage, router) = (&*stage, &stage.lan.host(0).namespace);
    // Five failures in succession: the first comes within an interval, and four intervals lie between it and the last.
    let mark = stage.lan.capture.mark();
    let closed = Stamp::now();
    port.behave(Manner::Refused);
    let lower = stage.lan.capture.wait_advert(mark, 0, PATIENCE, |advert| advert.priority == 115);
    let took = lower.at.ms_since(closed);
    assert!(took >= 400.0, "{took} ms are not five failures");
    stage.then(|| web.behave(Manner::Silent), Priority(107));
    stage.then(|| _ = stage.lan.cut(1), Priority(103));
    stage.then(|| _ = router.ip("route del default"), Priority(101));
    stage.then(|| process.stop(), Priority(100));
    stage.then(|| port.behave(Manner::Good), Priority(116));
    stage.then(|| web.behave(Manner::Good), Priority(124));
    stage.then(|| _ = stage.lan.heal(1), Priority(128));
    stage.then(|| _ = router.ip("route add default dev w0"), Priority(130));
    stage.then(|| process.again(), Priority(131));
    // Over a link without a carrier a route leads nowhere, and with a link that is down the kernel takes it away silently.
    stage.then(|| _ = router.ip("link set w1 down"), Priority(129));
    stage.then(|| _ = router.ip("link set w1 up"), Priority(131));
    stage.then(|| _ = router.ip("link set w0 down"), Priority(129));
    let _turned = servant(stage, "127.0.0.1:8003");
    stage.hear(Priority(97));
}

/// With weight 0, in an instance and in a sync group, over a reload; and what is told of it.
pub(super) fn probes_take_out(stage: &mut Stage) {
    stage.lan = Lan::new(&["one", "two"]);
    stage.lan.host(0).namespace.ip("-6 route add default dev eth0");
    let web = servant(stage, WEB);
    let second = Spec::v3(10).instance("SECOND", 52, 100, &["10.9.0.101/24"]);
    let group = "vrrp_sync_group BOTH {\n    group {\n        VI\n        SECOND\n    }\n    track_probe {\n        gateway\n        web weight -30\n    }\n}\n";
    let text = probe("gateway", "ping 10.9.0.2", "timeout 0.1\n    fall 2")
        + &probe("web", &format!("http http://{WEB}/"), "timeout 0.1")
        + &probe("six", "default_route ipv6", "init_fail")
        + &second
        + group;
    let uses = "track_probe {\n    six\n}";
    stage.start(&text, uses);
    stage.hear(Priority(100));
    let stage = &*stage;
    stage.then(|| web.behave(Manner::Garbage), Priority(70));
    let status = stage.daemon().status().expect("a status");
    let trackers = status["trackers"].as_array().expect("trackers");
    let found = trackers.iter().find(|tracker| tracker["name"] == "web").expect("the probe");
    assert_eq!((&found["kind"], &found["up"]), (&"probe".into(), &false.into()));
    assert_eq!(found["result"], "not an HTTP answer");
    let ask = |words: &[&str]| {
        let mut command = Command::new(steadfast_tests::lab::steadfast_binary());
        let output = command.args(words).arg("--control").arg(stage.daemon().control()).output().expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let explained = ask(&["explain", "VI"]);
    assert!(explained.contains("probe web: down, weight -30; when it works, priority 100"), "{explained}");
    assert!(explained.contains("probe gateway: up"), "{explained}");
    // A reload that leaves them as they are, or asks them more often, forgets nothing.
    let mark = stage.lan.capture.mark();
    for interval in ["0.1", "0.05"] {
        stage.reload(&stage.text(&text.replace("interval 0.1", &format!("interval {interval}")), uses));
        let mark = stage.lan.capture.mark();
        stage.lan.capture.wait_advert(mark, 0, PATIENCE, |_| true);
    }
    std::thread::sleep(SILENCE);
    let others: Vec<u8> = stage.lan.capture.adverts(mark).iter().map(|a| a.priority).filter(|p| *p != 70).collect();
    assert_eq!(others, [0_u8; 0], "a reload changes nothing");
    stage.then(|| _ = stage.lan.cut(1), Resigned);
    stage.then(|| _ = stage.lan.heal(1), Priority(70));
    stage.then(|| _ = stage.lan.host(0).namespace.ip("-6 route del default"), Resigned);
    web.behave(Manner::Good);
    stage.then(|| _ = stage.lan.host(0).namespace.ip("-6 route add default dev eth0"), Priority(100));
}
