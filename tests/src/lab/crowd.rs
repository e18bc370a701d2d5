//! Many Virtual Routers on one machine, and what they cost: CPU time, system calls, wake-ups and memory of whoever
//! advertises them, beside a loop that does nothing but send as many.

use std::fmt::Write;
use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockType, sendmmsg, socket};
use nix::time::{ClockId, clock_gettime};

use super::Lan;
use super::capture::Mark;
use super::clock::{Stamp, wait_for};
use super::engine::{Daemon, Engine, start_frr};
use super::hostile::Forge;
use super::inject::link_address;
use super::process::Process;
use super::spec::Spec;

/// The machine that has the Virtual Routers. Machine 1 has none.
pub const ROUTER: usize = 0;

const PRIORITY: u8 = 200;

/// How many Virtual Routers, and how often they advertise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Interfaces.
    pub links: u8,
    /// Virtual Routers on each.
    pub each: u8,
    /// The interval in centiseconds.
    pub centiseconds: u32,
}

impl Size {
    /// How many Virtual Routers.
    pub fn routers(self) -> usize {
        usize::from(self.links) * usize::from(self.each)
    }

    /// Advertisements that are due in a second.
    pub fn rate(self) -> f64 {
        self.routers() as f64 * 100.0 / f64::from(self.centiseconds)
    }

    /// The address of a Virtual Router.
    fn address(link: u8, vrid: u8) -> String {
        format!("10.{}.1.{vrid}/32", 9 + link)
    }

    /// The whole configuration file.
    pub fn configuration(self) -> String {
        let spec = Spec::v3(self.centiseconds);
        let mut text = "global_defs {\n    router_id lab\n}\n\n".to_owned();
        for link in 0..self.links {
            for vrid in 1..=self.each {
                let address = Self::address(link, vrid);
                let instance = spec.instance(&format!("VI_{link}_{vrid}"), vrid, PRIORITY, &[&address]);
                // Writing to a String cannot fail.
                let _ = write!(text, "{}", instance.replace("interface eth0", &format!("interface eth{link}")));
            }
        }
        text
    }
}

/// What an Advertisement costs.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// CPU time, in microseconds.
    pub microseconds: f64,
    /// How often its sender was woken.
    pub wakeups: f64,
    /// System calls, where they can be counted.
    pub system_calls: Option<f64>,
    /// How many were sent, of those that were due.
    pub share: f64,
    /// Resident memory of all programs, in kB.
    pub resident_kb: u64,
}

/// A machine with many Virtual Routers, all Active, and one beside it that has none.
#[derive(Debug)]
pub struct Crowd {
    /// Who advertises.
    pub daemon: Daemon,
    /// How many.
    pub size: Size,
    /// Where.
    pub lan: Lan,
}

impl Crowd {
    /// Starts them, and waits until they have come to rest.
    #[track_caller]
    pub fn start(engine: Engine, size: Size) -> Self {
        Self::start_as(size, |lan| match engine {
            Engine::Frr => {
                let routers: Vec<_> = (1..=size.each).map(|vrid| (vrid, vec![Size::address(0, vrid)])).collect();
                start_frr(lan, ROUTER, &Spec::v3(size.centiseconds), PRIORITY, &routers)
            }
            _ => Daemon::start_with(engine, lan, ROUTER, &size.configuration()),
        })
    }

    /// The same of Steadfast, with a page of metrics.
    #[track_caller]
    pub fn start_serving(size: Size, metrics: &str) -> Self {
        Self::start_as(size, |lan| Daemon::start_serving(lan, ROUTER, &size.configuration(), metrics))
    }

    #[track_caller]
    fn start_as(size: Size, start: impl FnOnce(&Lan) -> Daemon) -> Self {
        let lan = Lan::new(&["router", "other"]);
        for link in 1..size.links {
            lan.add_link(ROUTER as u8, link);
        }
        let daemon = start(&lan);
        let crowd = Self { daemon, size, lan };
        // Who looks often is in the way of those who put addresses on.
        let look = Duration::from_millis(200);
        wait_for("all Virtual Routers", Duration::from_secs(180), || {
            std::thread::sleep(look);
            crowd.is_complete().then_some(())
        });
        // The second burst of announcements comes 5 s after the first.
        std::thread::sleep(Duration::from_secs(7));
        crowd
    }

    fn is_complete(&self) -> bool {
        if self.daemon.engine() == Engine::Frr {
            // Its addresses are always on.
            let mut heard: Vec<_> =
                self.lan.capture.adverts(Mark::default()).iter().map(|advert| advert.vrid).collect();
            heard.sort_unstable();
            heard.dedup();
            return heard.len() == self.size.routers();
        }
        let held = self.lan.addresses(ROUTER);
        let is_virtual =
            |address: &&std::net::IpAddr| matches!(address, std::net::IpAddr::V4(v4) if v4.octets()[2] == 1);
        held.iter().filter(is_virtual).count() == self.size.routers()
    }

    /// What they cost in some time. The capture is ended: it would compete for the same processors.
    pub fn measure(&self, time: Duration) -> Cost {
        self.lan.capture.stop();
        let process = &self.daemon.process;
        let used = || (Stamp::now(), process.cpu_ms(), process.wakeups() as f64, self.sent());
        let (begun, cpu, wakeups, sent) = used();
        std::thread::sleep(time);
        let (end, cpu_then, wakeups_then, sent_then) = used();
        let sent = sent_then - sent;
        // Counting costs something too: in a time of its own.
        let before = self.sent();
        let calls = process.system_calls(time / 2);
        let meanwhile = self.sent() - before;
        Cost {
            microseconds: (cpu_then - cpu) * 1000.0 / sent,
            wakeups: (wakeups_then - wakeups) / sent,
            system_calls: calls.map(|calls| calls as f64 / meanwhile),
            share: sent / (end.ms_since(begun) / 1000.0 * self.size.rate()),
            resident_kb: self.daemon.programs().map(Process::resident_kb).sum(),
        }
    }

    /// Packets that the machine has sent so far.
    fn sent(&self) -> f64 {
        let text = self.lan.host(ROUTER).namespace.ip("-j -s link show");
        let links: serde_json::Value = serde_json::from_str(&text).expect("ip prints JSON");
        let own = links.as_array().into_iter().flatten();
        let own = own.filter(|link| link["ifname"].as_str().is_some_and(|name| name.starts_with("eth")));
        own.map(|link| link["stats64"]["tx"]["packets"].as_f64().expect("a packet counter")).sum()
    }
}

/// CPU microseconds per packet of a loop that does nothing but send Advertisements, 64 a call.
#[track_caller]
pub fn bare_loop() -> f64 {
    const BATCH: usize = 64;
    const ROUNDS: usize = 400;
    let lan = Lan::new(&["router", "other"]);
    lan.capture.stop();
    let frame = Forge::new(&Spec::v3(10), lan.host(ROUTER), PRIORITY).frame();
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
