//! The client: asks the virtual address for an echo every millisecond (ICMP, RFC 792) and notes which were
//! answered. Sending waits for no answer, so an outage is measured from outside, to the millisecond. What a
//! gap should have been is decided in [`super::report`].

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::Family;
use steadfast_core::wire::checksum::Sum;

use crate::sys::clock::{now, set_timer_slack};
use crate::sys::option::set_receive_buffer;
use crate::sys::socket::raw;

/// How often the client asks.
pub(super) const PERIOD: Duration = Duration::from_millis(1);
/// An answer that takes longer than this to arrive or to be read counts as lost in [`Probes::outage`].
pub(super) const PATIENCE: Duration = Duration::from_millis(200);

/// For how many probes there is room: two minutes.
const CAPACITY: usize = 120_000;
const ICMP: u8 = 1;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;
/// Type, code, checksum, identifier, sequence number, and our own number of the probe.
const MESSAGE: usize = 16;

/// One probe: microseconds of the monotonic clock, 0 for not yet.
#[derive(Debug, Default)]
struct Slot {
    sent: AtomicU64,
    answered: AtomicU64,
}

/// What the two threads share.
#[derive(Debug)]
struct Shared {
    socket: UdpSocket,
    slots: Vec<Slot>,
    stop: AtomicBool,
}

/// The running client.
#[derive(Debug)]
pub(super) struct Probes {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the client missed in a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outage {
    /// Probes that were sent and never answered.
    pub(super) lost: usize,
    /// The longest time without service: from the sending of a lost probe, after an answered one, to the
    /// sending of the next that was answered.
    pub(super) gap: Duration,
}

/// The client's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    /// One every [`PERIOD`].
    pub(super) due: usize,
    /// Less than due where the machine was too busy to send in time.
    pub(super) sent: usize,
    /// Less than sent where there was no service.
    pub(super) answered: usize,
}

impl Probes {
    /// Starts asking `target` from the network namespace of the calling thread.
    pub(super) fn start(target: Ipv4Addr) -> io::Result<Self> {
        // Nothing below is about UDP: std has no raw socket, but its connect, send and receive are the same.
        let socket = UdpSocket::from(raw(Family::V4, ICMP)?);
        socket.connect(SocketAddr::from((target, 0)))?;
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(std::time::Duration::from_millis(100)))?;
        // A receiver that is not scheduled for a second still finds every answer.
        set_receive_buffer(std::os::fd::AsFd::as_fd(&socket), 4 << 20)?;
        let slots = std::iter::repeat_with(Slot::default).take(CAPACITY).collect();
        let shared = Arc::new(Shared { socket, slots, stop: AtomicBool::new(false) });
        let mut probes = Self { shared, threads: Vec::new() };
        for (name, body) in [("probe answers", receive as fn(&Shared)), ("probes", send)] {
            let shared = Arc::clone(&probes.shared);
            probes.threads.push(thread::Builder::new().name(name.into()).spawn(move || body(&shared))?);
        }
        Ok(probes)
    }

    /// What was missed of the probes sent from `from` on and before `to`, which should lie [`PATIENCE`] back.
    pub(super) fn outage(&self, from: Instant, to: Instant) -> Outage {
        outage(self.sent(from, to), to)
    }

    /// Whether any of the probes sent from `from` on and before `to` has been answered.
    pub(super) fn any_answered(&self, from: Instant, to: Instant) -> bool {
        self.sent(from, to).any(|(_, answered)| answered.is_some())
    }

    /// When each probe of a span was sent, and answered.
    fn sent(&self, from: Instant, to: Instant) -> impl Iterator<Item = (Instant, Option<Instant>)> {
        let load = |time: &AtomicU64| match time.load(Ordering::Acquire) {
            0 => None,
            micros => Some(Instant::from_micros(micros)),
        };
        let probes = self.shared.slots.iter().filter_map(move |slot| Some((load(&slot.sent)?, load(&slot.answered))));
        probes.filter(move |(sent, _)| (from..to).contains(sent))
    }

    /// How many were due so far, how many of those were sent, and how many of those answered.
    pub(super) fn totals(&self) -> Totals {
        let slots = &self.shared.slots;
        let is_set = |time: &AtomicU64| time.load(Ordering::Acquire) != 0;
        Totals {
            due: slots.iter().rposition(|slot| is_set(&slot.sent)).map_or(0, |last| last + 1),
            sent: slots.iter().filter(|slot| is_set(&slot.sent)).count(),
            answered: slots.iter().filter(|slot| is_set(&slot.answered)).count(),
        }
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            // A panic in it has already been printed.
            let _ = thread.join();
        }
    }
}

/// The arithmetic of [`Probes::outage`] over (sent, answered) in the order of sending.
fn outage(probes: impl Iterator<Item = (Instant, Option<Instant>)>, end: Instant) -> Outage {
    let mut outage = Outage::default();
    let mut dark_since = None;
    for (sent, answered) in probes {
        if answered.is_some_and(|answered| answered.since(sent) <= PATIENCE) {
            if let Some(since) = dark_since.take() {
                outage.gap = outage.gap.max(sent.since(since));
            }
        } else {
            outage.lost += 1;
            dark_since.get_or_insert(sent);
        }
    }
    if let Some(since) = dark_since {
        outage.gap = outage.gap.max(end.since(since));
    }
    outage
}

/// Probe n is due n periods after the first. When the machine held us up, those that are overdue are left
/// out: they would say nothing about the time at which they should have gone.
fn send(shared: &Shared) {
    // Later by 50 us at most without it.
    let _ = set_timer_slack();
    let start = now();
    let mut number = 0;
    while !shared.stop.load(Ordering::Acquire) {
        let Some(slot) = shared.slots.get(number) else { break };
        slot.sent.store(now().as_micros(), Ordering::Release);
        // A client that cannot send has no service either: the probe stays unanswered.
        let _ = shared.socket.send(&request(number));
        let passed = now().since(start).as_micros() / PERIOD.as_micros();
        number = (number + 1).max(usize::try_from(passed).unwrap_or(usize::MAX));
        let due = start + PERIOD.times(number as u64);
        thread::sleep(std::time::Duration::from_micros(due.since(now()).as_micros()));
    }
}

fn receive(shared: &Shared) {
    let mut packet = [0; 128];
    while !shared.stop.load(Ordering::Acquire) {
        // Errors are time-outs, and unreachable hosts reported by the kernel: an answer that is missing.
        let Ok(length) = shared.socket.recv(&mut packet) else { continue };
        let answered = now().as_micros();
        let slot = packet.get(..length).and_then(answer).and_then(|number| shared.slots.get(number));
        if let Some(slot) = slot.filter(|slot| slot.sent.load(Ordering::Acquire) != 0) {
            slot.answered.store(answered, Ordering::Release);
        }
    }
}

/// The echo request that carries `number`. The namespace is ours alone, so the identifier need not tell us
/// from others.
fn request(number: usize) -> [u8; MESSAGE] {
    let mut message = [0; MESSAGE];
    message[0] = ECHO_REQUEST;
    message[6..8].copy_from_slice(&(number as u16).to_be_bytes());
    message[8..].copy_from_slice(&(number as u64).to_be_bytes());
    let checksum = Sum::of(&message).checksum();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}

/// The number in an IPv4 packet with an echo reply to one of ours.
fn answer(packet: &[u8]) -> Option<usize> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let message = packet.get(header..)?;
    let (&[ECHO_REPLY, 0, ..], Some(number)) = (message, message.get(8..MESSAGE)) else { return None };
    usize::try_from(u64::from_be_bytes(number.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(1_000_000 + millis * 1_000)
    }

    /// Ten probes, a millisecond apart; those in `lost` have no answer.
    fn ten(lost: &[u64]) -> Outage {
        let probes = (0..10).map(|n| (at(n), (!lost.contains(&n)).then(|| at(n) + Duration::from_micros(80))));
        outage(probes, at(10))
    }

    #[test]
    fn a_gap_ends_with_the_next_answered_probe() {
        let gap = Duration::from_millis;
        assert_eq!(ten(&[]), Outage::default());
        assert_eq!(ten(&[4]), Outage { lost: 1, gap: gap(1) });
        assert_eq!(ten(&[2, 5, 6, 7]), Outage { lost: 4, gap: gap(3) });
        assert_eq!(ten(&[8, 9]), Outage { lost: 2, gap: gap(2) });
    }

    #[test]
    fn a_very_late_answer_is_none() {
        let late = [(at(0), Some(at(201))), (at(1), Some(at(201)))];
        assert_eq!(outage(late.into_iter(), at(2)), Outage { lost: 1, gap: Duration::from_millis(1) });
    }

    #[test]
    fn an_answer_is_recognised_by_its_number() {
        let mut packet = vec![0x46; 24];
        packet.extend(request(70_000));
        assert_eq!(answer(&packet), None, "that is a request");
        assert!(Sum::of(&packet[24..]).is_valid());
        packet[24] = ECHO_REPLY;
        assert_eq!(answer(&packet), Some(70_000));
        assert_eq!(answer(&packet[..39]), None);
        assert_eq!(answer(&[]), None);
    }
}
