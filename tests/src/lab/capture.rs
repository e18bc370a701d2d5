//! The packet capture: what each machine of the LAN sent, with the kernel's time stamp, taken at the machine's port of
//! the bridge. VRRP, ARP and ICMPv6 are kept, the rest is only let pass. Frames can be waited for, and written as a
//! pcap file for tshark.

use std::fs;
use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::clock::Stamp;
use super::frames::{self, Advert, Frame};
use super::namespace::Namespace;

/// PACKET_OUTGOING: a frame that the port sends towards its machine.
const OUTGOING: u8 = 4;

/// A running capture, or a stopped one that still holds its frames.
#[derive(Debug)]
pub struct Capture {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    frames: Mutex<Vec<Frame>>,
    more: Condvar,
    stop: AtomicBool,
}

/// A place in the capture: frames after it came later. The default is its beginning.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark(usize);

impl Capture {
    /// Starts capturing at the ports `p0` .. of the hub.
    pub(super) fn start(hub: &Namespace, ports: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let mine = Arc::clone(&shared);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = hub.spawn(move || {
            let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
                .expect("a packet socket opens");
            super::enlarge(&socket, 16 << 20);
            setsockopt(&socket, sockopt::ReceiveTimestampns, &true).expect("time stamps");
            setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(50)).expect("a receive timeout");
            let of_index: Vec<Option<usize>> = port_table(ports);
            let _ = ready.send(());
            receive(&socket, &of_index, &mine);
        });
        is_ready.recv().expect("the capture starts");
        Self { shared, thread: Mutex::new(Some(thread)) }
    }

    /// Ends the capture; the frames stay.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }

    /// The place that the capture has reached.
    pub fn mark(&self) -> Mark {
        Mark(self.lock().len())
    }

    /// All frames since a mark.
    pub fn since(&self, mark: Mark) -> Vec<Frame> {
        self.lock()[mark.0..].to_vec()
    }

    /// All frames.
    pub fn all(&self) -> Vec<Frame> {
        self.since(Mark(0))
    }

    /// All Advertisements since a mark.
    pub fn adverts(&self, mark: Mark) -> Vec<Advert> {
        self.lock()[mark.0..].iter().filter_map(frames::advert).collect()
    }

    /// The first thing since `mark` that `of` makes out of a frame; panics after `patience`, naming `what`.
    #[track_caller]
    pub fn wait<T>(&self, mark: Mark, what: &str, patience: Duration, of: impl Fn(&Frame) -> Option<T>) -> T {
        match self.look(mark, patience, of) {
            Some(found) => found,
            None => panic!("no {what} within {patience:?}"),
        }
    }

    /// The first thing since `mark` that `of` makes out of a frame, if it comes within `patience`.
    pub fn look<T>(&self, mark: Mark, patience: Duration, of: impl Fn(&Frame) -> Option<T>) -> Option<T> {
        let deadline = Stamp::now() + patience;
        let mut next = mark.0;
        let mut frames = self.lock();
        loop {
            if let Some(found) = frames[next..].iter().find_map(&of) {
                return Some(found);
            }
            next = frames.len();
            let left = deadline.ms_since(Stamp::now());
            if left <= 0.0 {
                return None;
            }
            let waited = self.shared.more.wait_timeout(frames, super::clock::ms(left));
            frames = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    /// Waits for an Advertisement of machine `host` that `accept` likes.
    #[track_caller]
    pub fn wait_advert(&self, mark: Mark, host: usize, patience: Duration, accept: impl Fn(&Advert) -> bool) -> Advert {
        let what = format!("such Advertisement of machine {host}");
        self.wait(mark, &what, patience, |frame| {
            if frame.host != host {
                return None;
            }
            frames::advert(frame).filter(&accept)
        })
    }

    /// Writes all frames as a pcap file (Ethernet, nanoseconds of CLOCK_MONOTONIC).
    pub fn write_pcap(&self, path: &Path) {
        write_pcap(path, &self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Frame>> {
        self.shared.frames.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Writes frames as a pcap file (Ethernet, nanoseconds of CLOCK_MONOTONIC).
pub fn write_pcap(path: &Path, frames: &[Frame]) {
    let mut bytes = Vec::new();
    for word in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    for frame in frames {
        let length = u32::try_from(frame.bytes.len()).unwrap_or(0);
        let (seconds, nanoseconds) = (frame.at.0 / 1_000_000_000, frame.at.0 % 1_000_000_000);
        for word in [u32::try_from(seconds).unwrap_or(0), u32::try_from(nanoseconds).unwrap_or(0), length, length] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.extend_from_slice(&frame.bytes);
    }
    if let Err(error) = fs::write(path, bytes) {
        eprintln!("{}: {error}", path.display());
    }
}

/// Interface index → machine number, for the ports only.
fn port_table(ports: usize) -> Vec<Option<usize>> {
    let mut table = Vec::new();
    for number in 0..ports {
        let index = nix::net::if_::if_nametoindex(format!("p{number}").as_str()).expect("the port is there") as usize;
        if table.len() <= index {
            table.resize(index + 1, None);
        }
        table[index] = Some(number);
    }
    table
}

fn receive(socket: &impl AsRawFd, of_index: &[Option<usize>], shared: &Shared) {
    let mut buffer = vec![0_u8; 65_536];
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    while !shared.stop.load(Ordering::Relaxed) {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::empty();
        let Ok(message) = recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags) else {
            continue;
        };
        let Some(from) = message.address else { continue };
        let host = of_index.get(from.ifindex()).copied().flatten();
        let Some(host) = host.filter(|_| from.pkttype() != OUTGOING) else { continue };
        let stamp = message.cmsgs().ok().and_then(|mut messages| {
            messages.find_map(|message| match message {
                ControlMessageOwned::ScmTimestampns(time) => Some(time.tv_sec() * 1_000_000_000 + time.tv_nsec()),
                _ => None,
            })
        });
        let at = stamp.map_or_else(Stamp::now, Stamp::of_realtime);
        let length = message.bytes;
        let bytes = &buffer[..length];
        if !frames::is_kept(bytes) {
            continue;
        }
        let frame = Frame { at, host, bytes: bytes.to_vec() };
        shared.frames.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(frame);
        shared.more.notify_all();
    }
}
