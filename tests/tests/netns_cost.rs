//! What 255 Virtual Routers at 0.1 s cost: CPU time per Advertisement and resident memory, ours beside keepalived's in
//! the same run, and beside both a bare `sendmmsg` loop over the same veth.

#![forbid(unsafe_code)]

use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockType, sendmmsg, socket};
use nix::time::{ClockId, clock_gettime};
use steadfast_tests::lab::clock::wait_for;
use steadfast_tests::lab::engine::{Daemon, Engine};
use steadfast_tests::lab::hostile::Forge;
use steadfast_tests::lab::inject::link_address;
use steadfast_tests::lab::spec::Spec;
use steadfast_tests::lab::{Lan, namespace, thorough};

const ROUTER: usize = 0;
const ROUTERS: u8 = 255;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    if let Err(why) = namespace::permitted(&["keepalived"]) {
        println!("skipped: {why}");
        return;
    }
    let trial = Trial::test("cost-of-255-routers-at-0.1s", || {
        cost();
        Ok(())
    });
    libtest_mimic::run(&arguments, vec![trial]).exit();
}

/// What an engine used: CPU microseconds per Advertisement, resident kB, Advertisements a second.
#[derive(Clone, Copy, Debug)]
struct Cost {
    microseconds: f64,
    resident_kb: u64,
    rate: f64,
}

fn cost() {
    let bare = bare_loop();
    println!("\nfigure: cost: bare sendmmsg, 64 at a time: {bare:.1} us of CPU a packet");
    let [ours, theirs] = [Engine::Steadfast, Engine::Keepalived].map(|engine| {
        let cost = measure(engine);
        println!(
            "\nfigure: cost: {engine:?}: {:.1} us of CPU an Advertisement, {} kB resident, {:.0} Advertisements a second",
            cost.microseconds, cost.resident_kb, cost.rate
        );
        cost
    });
    // 2550 a second are due.
    assert!(ours.rate > 2500.0, "only {} Advertisements a second", ours.rate);
    assert!(ours.microseconds <= theirs.microseconds / 2.0, "{ours:?}, keepalived {theirs:?}");
    assert!(ours.resident_kb * 4 <= theirs.resident_kb, "{ours:?}, keepalived {theirs:?}");
}

fn configuration() -> String {
    let spec = Spec::v3(10);
    let mut text = "global_defs {\n    router_id lab\n}\n\n".to_owned();
    for vrid in 1..=ROUTERS {
        text.push_str(&spec.instance(&format!("VI_{vrid}"), vrid, 200, &[&format!("10.9.1.{vrid}/32")]));
    }
    text
}

fn measure(engine: Engine) -> Cost {
    let lan = Lan::new(&["router", "client"]);
    let daemon = Daemon::start_with(engine, &lan, ROUTER, &configuration());
    wait_for("255 addresses", Duration::from_secs(30), || {
        let held = lan.addresses(ROUTER).iter().filter(|address| address.to_string().starts_with("10.9.1.")).count();
        (held == usize::from(ROUTERS)).then_some(())
    });
    // The second burst of announcements comes 5 s after the first; it is no cost of Advertisements.
    std::thread::sleep(Duration::from_secs(7));
    // The capture would compete for the same two cores.
    lan.capture.stop();
    let seconds = if thorough() { 20 } else { 10 };
    let (cpu, sent) = (daemon.process.cpu_ms(), packets(&lan));
    std::thread::sleep(Duration::from_secs(seconds));
    let (cpu, sent) = (daemon.process.cpu_ms() - cpu, packets(&lan) - sent);
    Cost { microseconds: cpu * 1000.0 / sent, resident_kb: daemon.process.resident_kb(), rate: sent / seconds as f64 }
}

/// Packets that the router's interface has sent.
fn packets(lan: &Lan) -> f64 {
    let text = lan.host(ROUTER).namespace.ip("-j -s link show dev eth0");
    let links: serde_json::Value = serde_json::from_str(&text).expect("ip prints JSON");
    links[0]["stats64"]["tx"]["packets"].as_f64().expect("a packet counter")
}

/// CPU microseconds per packet of a loop that does nothing but send Advertisements, 64 a call.
fn bare_loop() -> f64 {
    const BATCH: usize = 64;
    const ROUNDS: usize = 400;
    let lan = Lan::new(&["router", "client"]);
    lan.capture.stop();
    let frame = Forge::new(&Spec::v3(10), lan.host(ROUTER), 200).frame();
    lan.host(ROUTER).namespace.enter(|| {
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        let address = Some(link_address("eth0"));
        let addresses = vec![address; BATCH];
        let mut headers = MultiHeaders::<LinkAddr>::preallocate(BATCH, None);
        let cpu = || {
            let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock");
            time.tv_sec() as f64 * 1e6 + time.tv_nsec() as f64 / 1e3
        };
        let mut used = 0.0;
        for _ in 0..ROUNDS {
            let slices: Vec<[IoSlice<'_>; 1]> = (0..BATCH).map(|_| [IoSlice::new(&frame)]).collect();
            let begun = cpu();
            let sent = sendmmsg(socket.as_raw_fd(), &mut headers, &slices, &addresses, [], MsgFlags::empty());
            assert_eq!(sent.expect("packets are sent").count(), BATCH);
            used += cpu() - begun;
            // As an agent that is woken 40 times a second, not as a hot loop.
            std::thread::sleep(Duration::from_millis(5));
        }
        used / (BATCH * ROUNDS) as f64
    })
}
