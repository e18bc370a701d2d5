//! What becomes of packets to a virtual address on machines that forward: the Active takes them and never sends them
//! out again, the Backup does nothing with those that the virtual MAC address brings it, and none goes round between
//! the two when the address moves. Without Accept_Mode the Active takes nothing either, but goes on forwarding and
//! saying where the address is. Every frame reaches every machine here, which is the worst a switch can do.

#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use steadfast_tests::lab::clock::{Stamp, ms, wait_for};
use steadfast_tests::lab::engine::{Daemon, Engine};
use steadfast_tests::lab::frames::{self, Frame, discard, mac_text};
use steadfast_tests::lab::hostile::{Forge, checksum};
use steadfast_tests::lab::inject::inject;
use steadfast_tests::lab::probe::Prober;
use steadfast_tests::lab::spec::Spec;
use steadfast_tests::lab::{Host, Lan, namespace};

const LOW: usize = 0;
const HIGH: usize = 1;
const CLIENT: usize = 2;
const PATIENCE: Duration = Duration::from_secs(5);
const PORT: u16 = 80;

/// How long the moment without a holder may be, in ms. The kernel makes an IPv6 address its own some time after it has
/// said that it is there, and a packet on its way round keeps it from that.
const LOOP: f64 = 100.0;

/// One test of a spec.
type Test = fn(&Spec);

fn main() {
    let arguments = Arguments::from_args();
    if !arguments.list
        && let Err(why) = namespace::permitted(&[])
    {
        println!("skipped: {why}");
        return;
    }
    let mut trials = Vec::new();
    for spec in [Spec::v3(10), Spec::v6(10)] {
        for vmac in [false, true] {
            let spec = spec.clone().with_vmac(vmac);
            let tests: [(&str, Test); 8] = [
                ("rfc9568_5_1_1_2_an_advertisement_is_never_forwarded", advertisements),
                ("rfc9568_6_4_2_no_router_advertises_the_virtual_address_as_its_own", router_advertisements),
                ("rfc9568_6_4_3_the_active_alone_advertises_itself_as_the_router_of_hosts", router_of_hosts),
                ("rfc9568_8_3_1_an_active_never_forwards_what_is_for_the_virtual_address", active),
                ("rfc9568_6_4_2_a_backup_drops_what_is_for_the_virtual_mac", backup),
                ("rfc9568_6_4_3_without_accept_mode_nothing_is_accepted", no_accept),
                ("rfc9568_6_4_3_with_accept_mode_packets_are_accepted", accept),
                ("rfc9568_8_3_1_nothing_goes_round_when_the_address_moves", moving),
            ];
            for (name, test) in tests {
                if !spec.v6 && (name.contains("router_advertises") || name.contains("router_of_hosts")) {
                    continue;
                }
                let spec = spec.clone();
                trials.push(Trial::test(format!("{name}_{}", spec.name()), move || {
                    test(&spec);
                    Ok(())
                }));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Two routers that forward, and a client, on a LAN without memory.
struct Scene {
    low: Daemon,
    high: Daemon,
    spec: Spec,
    lan: Lan,
}

impl Scene {
    fn start(spec: &Spec) -> Self {
        let lan = Lan::new(&["low", "high", "client"]);
        for host in [LOW, HIGH] {
            let namespace = &lan.host(host).namespace;
            for setting in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
                namespace.sysctl(setting, "1");
            }
            // What leaves where it came in is told to its sender, once; that is not what is looked at.
            namespace.sysctl("net/ipv4/conf/all/send_redirects", "0");
        }
        lan.flood();
        let high = Daemon::start(Engine::Steadfast, &lan, HIGH, spec, 200);
        let low = Daemon::start(Engine::Steadfast, &lan, LOW, spec, 100);
        let scene = Self { low, high, spec: spec.clone(), lan };
        scene.settle();
        scene
    }

    #[track_caller]
    fn settle(&self) {
        self.high.wait_state("active", PATIENCE);
        self.low.wait_state("backup", PATIENCE);
        let held = |host: usize| self.lan.addresses(host).contains(&self.spec.vip());
        wait_for("the address to be where it belongs", PATIENCE, || (held(HIGH) && !held(LOW)).then_some(()));
    }

    /// A datagram to a port that nobody listens to, from the client.
    fn datagram(&self, mac: [u8; 6], to: IpAddr) -> Vec<u8> {
        let client = self.lan.host(CLIENT);
        let mut frame = [&mac[..], &client.mac].concat();
        let mut udp = vec![0x30, 0x39, 0, 9, 0, 12, 0, 0];
        udp.extend(b"loop");
        match to {
            IpAddr::V4(to) => {
                let mut header = vec![0x45, 0, 0, 32, 0, 1, 0, 0, 64, 17, 0, 0];
                header.extend(client.v4.octets());
                header.extend(to.octets());
                let sum = checksum(&[&header]);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                frame.extend([8, 0]);
                frame.extend(header);
            }
            IpAddr::V6(to) => {
                let sum = checksum(&[&client.v6.octets(), &to.octets(), &[0, 12, 0, 17], &udp]);
                udp[6..8].copy_from_slice(&sum.to_be_bytes());
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 12, 17, 64]);
                frame.extend(client.v6.octets());
                frame.extend(to.octets());
            }
        }
        frame.extend(udp);
        frame
    }

    /// The MAC address that the virtual address is at.
    fn mac(&self) -> [u8; 6] {
        if self.spec.vmac { self.spec.virtual_mac() } else { self.lan.host(HIGH).mac }
    }

    fn host(&self, host: usize) -> &Host {
        self.lan.host(host)
    }

    /// How many packets a machine has forwarded, and how many it has taken for itself.
    fn counts(&self, host: usize) -> (u64, u64) {
        let namespace = &self.host(host).namespace;
        if self.spec.v6 {
            (namespace.counter("Ip6", "OutForwDatagrams"), namespace.counter("Udp6", "NoPorts"))
        } else {
            (namespace.counter("Ip", "ForwDatagrams"), namespace.counter("Udp", "NoPorts"))
        }
    }

    /// Sends `frame` 100 times; what (LOW, HIGH) made of it.
    fn send(&self, frame: Vec<u8>) -> [(u64, u64); 2] {
        let before = [LOW, HIGH].map(|host| self.counts(host));
        let sent = inject(&self.host(CLIENT).namespace, &[frame], 1000, ms(100.0));
        assert_eq!(sent, 100);
        // What was sent has been dealt with when it was sent: a packet on a veth does not wait for anybody.
        let after = [LOW, HIGH].map(|host| self.counts(host));
        [LOW, HIGH].map(|host| (after[host].0 - before[host].0, after[host].1 - before[host].1))
    }
}

/// Heard, and not sent on.
fn advertisements(spec: &Spec) {
    let scene = Scene::start(spec);
    let heard = scene.high.counter("advertisement-rcvd");
    let frame = Forge::new(spec, scene.host(CLIENT), 20).frame();
    let [low, high] = scene.send(frame);
    assert_eq!((low.0, high.0), (0, 0), "forwarded");
    assert!(scene.high.counter("advertisement-rcvd") >= heard + 90);
}

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;

fn is(frame: &Frame, kind: u8) -> bool {
    frame.bytes.get(20) == Some(&58) && frame.bytes.get(54) == Some(&kind)
}

/// Unless it is asked to: neither a Backup nor an Active sends Router Advertisements on its own.
fn router_advertisements(spec: &Spec) {
    let scene = Scene::start(spec);
    scene.high.terminate();
    scene.low.wait_state("active", PATIENCE);
    assert_eq!(scene.lan.capture.all().iter().filter(|frame| is(frame, ROUTER_ADVERTISEMENT)).count(), 0);
}

/// A host's question for routers.
fn solicitation(host: &Host) -> Vec<u8> {
    let routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    let mut message = [&[ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0, 1, 1], &host.mac[..]].concat();
    let sum = checksum(&[&host.link_local.octets(), &routers.octets(), &[0, 16, 0, 58], &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = [&[0x33, 0x33, 0, 0, 0, 2], &host.mac[..], &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 16, 58, 255]].concat();
    frame.extend(host.link_local.octets());
    frame.extend(routers.octets());
    frame.extend(message);
    frame
}

/// The Active alone, from the virtual addresses, also when asked; whoever takes over goes on; and only the last one, whom
/// nobody follows, says that it is no router any more.
fn router_of_hosts(spec: &Spec) {
    let mut scene = Scene::start(&spec.clone().with("router_advertisements {\n    prefix fd0a::/64\n}"));
    let (capture, client) = (&scene.lan.capture, scene.lan.host(CLIENT));
    let knows = || client.namespace.ip("-6 route show default").contains("via fe80::64 dev eth0");
    let learns = |what: &str, known: bool| wait_for(what, PATIENCE, || (knows() == known).then_some(()));
    learns("a default route", true);
    let prefix = client.namespace.ip("-6 route show fd0a::/64");
    assert!(prefix.contains("dev eth0"), "{prefix}");
    // A host that comes up asks, and does not wait for the next ones, which are 16 s apart.
    let mark = capture.mark();
    inject(&client.namespace, &[solicitation(client)], 1000, ms(1.0));
    let of = |host: usize, kind: u8| move |frame: &Frame| (frame.host == host && is(frame, kind)).then_some(frame.at);
    let asked = capture.wait(mark, "question", PATIENCE, of(CLIENT, ROUTER_SOLICITATION));
    let told = capture.wait(mark, "answer", PATIENCE, of(HIGH, ROUTER_ADVERTISEMENT));
    assert!(told > asked, "told before it was asked");
    let all = capture.all();
    let adverts: Vec<_> = all.iter().filter(|frame| is(frame, ROUTER_ADVERTISEMENT)).collect();
    for frame in &adverts {
        assert_eq!((frame.host, frame.bytes[21], &frame.bytes[6..12]), (HIGH, 255, &scene.mac()[..]));
        assert_eq!(frames::binding(frame), Some(("fe80::64".parse().unwrap(), scene.mac())));
    }
    // The other one goes on; the client is not told anything else.
    let mark = capture.mark();
    scene.high.terminate();
    capture.wait(mark, "Router Advertisement of the successor", PATIENCE, of(LOW, ROUTER_ADVERTISEMENT));
    scene.high.process.wait(PATIENCE);
    assert!(knows());
    let since = capture.since(mark);
    let adverts: Vec<_> = since.iter().filter(|frame| is(frame, ROUTER_ADVERTISEMENT)).collect();
    assert!(adverts.iter().all(|frame| frame.host == LOW && frame.bytes[60..62] != [0, 0]), "{adverts:02x?}");
    // Nobody follows this one.
    let mark = capture.mark();
    scene.low.terminate();
    let last = capture.wait(mark, "last word", PATIENCE, |frame| {
        of(LOW, ROUTER_ADVERTISEMENT)(frame).map(|_| frame.bytes[60..62].to_vec())
    });
    assert_eq!(last, [0, 0]);
    learns("no default route", false);
}

/// Taken, all of it, and not sent out again; while packets to somebody else are forwarded as ever.
fn active(spec: &Spec) {
    let scene = Scene::start(spec);
    let [_, (forwarded, taken)] = scene.send(scene.datagram(scene.mac(), spec.vip()));
    assert_eq!((forwarded, taken), (0, 100));
    let client = scene.host(CLIENT);
    let other: IpAddr = if spec.v6 { client.v6.into() } else { client.v4.into() };
    let [_, (forwarded, taken)] = scene.send(scene.datagram(scene.mac(), other));
    assert_eq!((forwarded, taken), (100, 0), "the test sees what is forwarded");
}

/// Whether the client's pings to the virtual address are answered, and its connections; and at which MAC address it
/// has found the virtual address.
fn questions(scene: &Scene) -> (bool, bool, String) {
    let (router, client) = (&scene.host(HIGH).namespace, &scene.host(CLIENT).namespace);
    let vip = scene.spec.vip();
    let any: IpAddr = if scene.spec.v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let _listener = router.enter(|| TcpListener::bind((any, PORT)).expect("a port is free"));
    let begun = Stamp::now();
    let prober = Prober::start(client, vip, ms(10.0));
    let connected = client.enter(|| TcpStream::connect_timeout(&(vip, PORT).into(), ms(500.0)).is_ok());
    std::thread::sleep(ms(200.0));
    let neighbour = client.ip(&format!("neigh show {vip} dev eth0"));
    let probes = prober.stop();
    let (sent, lost) = (probes.sent(begun, Stamp::now()), probes.lost(begun, Stamp::now()));
    assert!(sent > 10 && (lost == 0 || lost == sent), "{lost} of {sent} pings lost");
    let mac = neighbour.split_whitespace().skip_while(|word| *word != "lladdr").nth(1).unwrap_or("nowhere");
    (lost == 0, connected, mac.to_owned())
}

/// Dropped, all of it; while packets to somebody else are forwarded, and questions for the address answered, as ever.
fn no_accept(spec: &Spec) {
    let mut scene = Scene::start(&spec.clone().with("no_accept"));
    for _ in 0..2 {
        let [_, (forwarded, taken)] = scene.send(scene.datagram(scene.mac(), spec.vip()));
        assert_eq!((forwarded, taken), (0, 0));
        let client = scene.host(CLIENT);
        let other: IpAddr = if spec.v6 { client.v6.into() } else { client.v4.into() };
        let [_, (forwarded, taken)] = scene.send(scene.datagram(scene.mac(), other));
        assert_eq!((forwarded, taken), (100, 0));
        assert_eq!(questions(&scene), (false, false, mac_text(scene.mac())));
        // The neighbour is asked directly whether it is still there.
        scene.host(CLIENT).namespace.ip(&format!(
            "neigh change {} dev eth0 lladdr {} nud probe",
            spec.vip(),
            mac_text(scene.mac())
        ));
        wait_for("an answer", PATIENCE, || {
            let shown = scene.host(CLIENT).namespace.ip(&format!("neigh show {} dev eth0", spec.vip()));
            assert!(!shown.contains("FAILED"), "{shown}");
            shown.contains("REACHABLE").then_some(())
        });
        // Killed, it leaves what the next one takes over.
        scene.high.kill();
        scene.high = Daemon::start(Engine::Steadfast, &scene.lan, HIGH, &scene.spec, 200);
        scene.settle();
    }
    scene.high.reload(&spec.text(200));
    wait_for("what was configured anew", PATIENCE, || {
        scene.high.process.log().contains("configuration was read again").then_some(())
    });
    assert_eq!(questions(&scene), (true, true, mac_text(scene.mac())));
    let policies = scene.host(HIGH).namespace.ip("xfrm policy");
    assert!(policies.is_empty(), "{policies}");
    scene.low.terminate();
    scene.low.process.wait(PATIENCE);
    let policies = scene.host(LOW).namespace.ip("xfrm policy");
    assert!(policies.is_empty(), "{policies}");
}

/// Taken and answered.
fn accept(spec: &Spec) {
    let scene = Scene::start(spec);
    assert_eq!(questions(&scene), (true, true, mac_text(scene.mac())));
}

/// Neither taken nor forwarded, whomever it is for.
fn backup(spec: &Spec) {
    let scene = Scene::start(spec);
    for to in [spec.vip(), if spec.v6 { scene.host(HIGH).v6.into() } else { scene.host(HIGH).v4.into() }] {
        let [low, _] = scene.send(scene.datagram(spec.virtual_mac(), to));
        assert_eq!(low, (0, 0), "to {to}");
    }
}

/// A stream of packets to the virtual address while it moves there and back. A client that has not heard the news
/// sends to a machine which rightly passes the packet on, once. None goes to and fro between the two, but for the
/// moment in which the old Active has let go and the new one not yet taken hold; with the virtual MAC address, which
/// only its holder hears, not even then.
fn moving(spec: &Spec) {
    /// How often a packet is sent on without it being a loop.
    const ONCE: u8 = 64 - 1;
    let mut scene = Scene::start(spec);
    for stop in [true, false] {
        let frames: Vec<_> = if spec.vmac {
            vec![scene.datagram(spec.virtual_mac(), spec.vip())]
        } else {
            [LOW, HIGH].map(|host| scene.datagram(scene.host(host).mac, spec.vip())).to_vec()
        };
        let mark = scene.lan.capture.mark();
        let sent = std::thread::scope(|scope| {
            let client = &scene.lan.host(CLIENT).namespace;
            let stream = scope.spawn(|| inject(client, &frames, 500, Duration::from_secs(2)));
            if stop {
                scene.high.terminate();
                scene.low.wait_state("active", PATIENCE);
            } else {
                scene.high = Daemon::start(Engine::Steadfast, &scene.lan, HIGH, spec, 200);
                scene.high.wait_state("active", PATIENCE);
                scene.low.wait_state("backup", PATIENCE);
            }
            stream.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let of_routers = scene.lan.capture.since(mark).into_iter().filter(|frame| frame.host != CLIENT);
        let limits: Vec<_> = of_routers.filter_map(|frame| Some((frame.at, discard(&frame.bytes)?))).collect();
        let rounds: Vec<_> = limits.iter().filter(|(_, limit)| *limit < ONCE).map(|(at, _)| *at).collect();
        let span = rounds.last().map_or(0.0, |last| last.ms_since(rounds[0]));
        println!(
            "\nfigure: forwarding: {} moves: {} of {sent} packets sent on, {} rounds in {span:.1} ms",
            spec.name(),
            limits.len() - rounds.len(),
            rounds.len()
        );
        assert!(!spec.vmac || rounds.is_empty(), "{} rounds", rounds.len());
        // An IPv6 address cannot be added to an interface that is shut to IPv6 packets: there is a moment between.
        assert!(!spec.vmac || spec.v6 || limits.is_empty(), "{} packets sent on", limits.len());
        assert!(span <= LOOP, "packets went round for {span} ms");
    }
    scene.settle();
}
