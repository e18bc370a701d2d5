//! Another listener on the LAN, beside the client: notes when it hears whose Advertisement. It takes no part
//! in anything.

use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use steadfast_core::time::Instant;
use steadfast_core::types::Family;
use steadfast_core::wire::advertisement::Advertisement;
use steadfast_core::wire::ip::parse_ipv4;
use steadfast_core::wire::{GROUP_V4, PROTOCOL};

use crate::sys::clock::now;
use crate::sys::option::join;
use crate::sys::socket::{interface_index, raw};

/// An Advertisement that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// When.
    pub(super) at: Instant,
    /// From whom.
    pub(super) source: Ipv4Addr,
    /// Whether it says that its sender stops (priority 0).
    pub(super) farewell: bool,
}

/// The running listener.
#[derive(Debug)]
pub(super) struct Observer {
    heard: Arc<Mutex<Vec<Heard>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    /// Listens on `interface` of the calling thread's network namespace.
    pub(super) fn start(interface: &str) -> io::Result<Self> {
        // As in `super::probe`: std's receive with a time-out, not UDP.
        let socket = UdpSocket::from(raw(Family::V4, PROTOCOL)?);
        join(socket.as_fd(), GROUP_V4.into(), interface_index(interface)?)?;
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(std::time::Duration::from_millis(100)))?;
        let (heard, stop) = (Arc::default(), Arc::default());
        let (sink, stopped) = (Arc::clone(&heard), Arc::clone(&stop));
        let thread = thread::Builder::new().name("observer".into()).spawn(move || listen(&socket, &sink, &stopped))?;
        Ok(Self { heard, stop, thread: Some(thread) })
    }

    /// The last Advertisement from `source` before `before`.
    pub(super) fn last(&self, source: Ipv4Addr, before: Instant) -> Option<Heard> {
        lock(&self.heard).iter().rev().find(|heard| heard.source == source && heard.at < before).copied()
    }

    /// The first Advertisement from `source` from `from` on.
    pub(super) fn first(&self, source: Ipv4Addr, from: Instant) -> Option<Heard> {
        lock(&self.heard).iter().find(|heard| heard.source == source && heard.at >= from).copied()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic in it has already been printed.
            let _ = thread.join();
        }
    }
}

/// Nothing is ever left half done under this lock.
fn lock(heard: &Mutex<Vec<Heard>>) -> MutexGuard<'_, Vec<Heard>> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(socket: &UdpSocket, heard: &Mutex<Vec<Heard>>, stop: &AtomicBool) {
    let mut packet = [0; 2048];
    while !stop.load(Ordering::Acquire) {
        // The only errors are time-outs.
        let Ok(length) = socket.recv(&mut packet) else { continue };
        if let Some(advertisement) = packet.get(..length).and_then(|packet| parse(packet, now())) {
            lock(heard).push(advertisement);
        }
    }
}

fn parse(packet: &[u8], at: Instant) -> Option<Heard> {
    let (envelope, payload) = parse_ipv4(packet)?;
    let advertisement = Advertisement::parse(payload, &envelope).ok()?;
    let IpAddr::V4(source) = envelope.source else { return None };
    Some(Heard { at, source, farewell: advertisement.priority.is_none() })
}

#[cfg(test)]
mod tests {
    use steadfast_core::types::{Interval, Version, Vrid};
    use steadfast_core::wire::advertisement::{Authentication, Form, Outgoing};
    use steadfast_core::wire::ip::emit_packet;

    use super::*;

    #[test]
    fn whose_it_is_and_whether_it_is_the_last() {
        let source = Ipv4Addr::new(192, 0, 2, 2);
        let addresses = [IpAddr::from([192, 0, 2, 1])];
        let outgoing = Outgoing {
            version: Version::V3,
            vrid: Vrid::new(51).unwrap(),
            priority: None,
            interval: Interval::DEFAULT,
            authentication: Authentication::None,
            addresses: &addresses,
        };
        let (from, to) = (source.into(), GROUP_V4.into());
        let mut packet = [0; 128];
        let length = emit_packet(from, to, &mut packet, |buffer| outgoing.emit(from, to, Form::Plain, buffer)).unwrap();
        let at = Instant::from_micros(7);
        assert_eq!(parse(&packet[..length], at), Some(Heard { at, source, farewell: true }));
        assert_eq!(parse(&packet[..length - 1], at), None);
    }
}
