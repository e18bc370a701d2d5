//! The prober: one ICMP echo a millisecond from a client to the virtual address, and which of them were answered.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, recv, sendmsg, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::clock::{Stamp, wait_for};
use super::namespace::Namespace;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(200);

/// One probe.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// When it was sent.
    pub sent: Stamp,
    /// When its answer came.
    pub answered: Option<Stamp>,
}

/// A running prober.
#[derive(Debug)]
pub struct Prober {
    probes: Arc<Mutex<Vec<Probe>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What a prober found.
#[derive(Clone, Debug, Default)]
pub struct Probes(pub Vec<Probe>);

impl Prober {
    /// Starts probing `target` once per `period` from a namespace.
    pub fn start(namespace: &Namespace, target: IpAddr, period: Duration) -> Self {
        let probes = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let socket = namespace.enter(|| open(target));
        let receiver = socket.try_clone().expect("a socket can be duplicated");
        let (list, ended) = (Arc::clone(&probes), Arc::clone(&stop));
        let sending = std::thread::spawn(move || send_all(&socket, target, period, &list, &ended));
        let (list, ended) = (Arc::clone(&probes), Arc::clone(&stop));
        let receiving = std::thread::spawn(move || receive_all(&receiver, target, &list, &ended));
        Self { probes, stop, threads: vec![sending, receiving] }
    }

    /// Waits until a probe that was sent at or after `from` has been answered; when it was sent.
    #[track_caller]
    pub fn wait_answer(&self, from: Stamp, patience: Duration) -> Stamp {
        wait_for("an answered probe", patience, || {
            let probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
            let later = probes.iter().rev().take_while(|probe| probe.sent >= from);
            later.filter(|probe| probe.answered.is_some()).last().map(|probe| probe.sent)
        })
    }

    /// Ends the probing, once the last answers have had their time.
    pub fn stop(mut self) -> Probes {
        self.end();
        Probes(std::mem::take(&mut self.probes.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn end(&mut self) {
        if let Some(sending) = (!self.threads.is_empty()).then(|| self.threads.remove(0)) {
            self.stop.store(true, Ordering::Relaxed);
            let _ = sending.join();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.end();
    }
}

impl Probes {
    /// How many went unanswered, of those sent in [from, to].
    pub fn lost(&self, from: Stamp, to: Stamp) -> usize {
        self.window(from, to).filter(|probe| probe.answered.is_none()).count()
    }

    /// How many were sent in [from, to].
    pub fn sent(&self, from: Stamp, to: Stamp) -> usize {
        self.window(from, to).count()
    }

    /// The longest run without an answer in [from, to]: milliseconds from the first lost probe to the next answered.
    pub fn gap_ms(&self, from: Stamp, to: Stamp) -> f64 {
        let (mut longest, mut begun) = (0.0_f64, None);
        let mut last = from;
        for probe in self.window(from, to) {
            last = probe.sent;
            match (probe.answered, begun) {
                (None, None) => begun = Some(probe.sent),
                (Some(_), Some(first)) => {
                    longest = longest.max(probe.sent.ms_since(first));
                    begun = None;
                }
                _ => {}
            }
        }
        begun.map_or(longest, |first: Stamp| longest.max(last.ms_since(first)))
    }

    /// When the unanswered probes of [from, to] were sent.
    pub fn unanswered(&self, from: Stamp, to: Stamp) -> impl Iterator<Item = Stamp> {
        self.window(from, to).filter(|probe| probe.answered.is_none()).map(|probe| probe.sent)
    }

    /// When the last unanswered probe of [from, to] was sent.
    pub fn last_lost(&self, from: Stamp, to: Stamp) -> Option<Stamp> {
        self.unanswered(from, to).last()
    }

    fn window(&self, from: Stamp, to: Stamp) -> impl Iterator<Item = &Probe> {
        self.0.iter().filter(move |probe| probe.sent >= from && probe.sent <= to)
    }
}

fn open(target: IpAddr) -> OwnedFd {
    let (family, protocol) = match target {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let socket = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).expect("a raw socket opens");
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(50)).expect("a receive timeout");
    super::enlarge(&socket, 4 << 20);
    socket
}

fn send_all(socket: &OwnedFd, target: IpAddr, period: Duration, list: &Mutex<Vec<Probe>>, ended: &AtomicBool) {
    let mut next = Stamp::now();
    while !ended.load(Ordering::Relaxed) {
        next.sleep();
        let now = Stamp::now();
        let number = {
            let mut probes = list.lock().unwrap_or_else(PoisonError::into_inner);
            probes.push(Probe { sent: now, answered: None });
            probes.len() - 1
        };
        let packet = echo(target, u32::try_from(number).unwrap_or(0));
        let slices = [IoSlice::new(&packet)];
        let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        // A probe that cannot be sent (no neighbour, no buffer) is a lost one.
        let _ = match target {
            IpAddr::V4(ip) => sendmsg(fd, &slices, &[], flags, Some(&SockaddrIn::from(SocketAddrV4::new(ip, 0)))),
            IpAddr::V6(ip) => {
                sendmsg(fd, &slices, &[], flags, Some(&SockaddrIn6::from(SocketAddrV6::new(ip, 0, 0, 0))))
            }
        };
        next = next + period;
        if now > next {
            // Late by a whole period: no burst to make up for it.
            next = now + period;
        }
    }
    (Stamp::now() + PATIENCE).sleep();
}

fn receive_all(socket: &OwnedFd, target: IpAddr, list: &Mutex<Vec<Probe>>, ended: &AtomicBool) {
    let mut buffer = [0_u8; 2048];
    let mut over = None;
    loop {
        if ended.load(Ordering::Relaxed) {
            let over = *over.get_or_insert_with(|| Stamp::now() + PATIENCE);
            if Stamp::now() > over {
                return;
            }
        }
        let Ok(length) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) else { continue };
        let now = Stamp::now();
        let packet = &buffer[..length];
        let (start, reply) = match target {
            IpAddr::V4(_) => (usize::from(packet.first().copied().unwrap_or(0) & 15) * 4, 0),
            IpAddr::V6(_) => (0, 129),
        };
        let Some(icmp) = packet.get(start..start + 12) else { continue };
        if icmp[0] != reply || icmp[4..6] != IDENTIFIER {
            continue;
        }
        let number = u32::from_be_bytes([icmp[8], icmp[9], icmp[10], icmp[11]]) as usize;
        if let Some(probe) = list.lock().unwrap_or_else(PoisonError::into_inner).get_mut(number)
            && probe.answered.is_none()
            && now <= probe.sent + PATIENCE
        {
            probe.answered = Some(now);
        }
    }
}

const IDENTIFIER: [u8; 2] = *b"SF";

/// An ICMP echo request that carries its number; the kernel adds ICMPv6's checksum.
fn echo(target: IpAddr, number: u32) -> [u8; 12] {
    let mut packet = [0_u8; 12];
    packet[0] = if target.is_ipv4() { 8 } else { 128 };
    packet[4..6].copy_from_slice(&IDENTIFIER);
    packet[8..].copy_from_slice(&number.to_be_bytes());
    if target.is_ipv4() {
        let sum = super::hostile::checksum(&[&packet]);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}
