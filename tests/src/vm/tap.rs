//! What programs say to the kernel's IPVS over netlink, heard through an nlmon interface: every request that changes
//! the table, whoever sends it and however many travel in one message, without slowing the program as strace would.

use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::table::ipvsadm;
use crate::lab::namespace::Namespace;

/// ARPHRD_NETLINK (linux/if_arp.h): the kind of interface that nlmon is.
const NETLINK_INTERFACE: u16 = 824;
/// NLM_F_REQUEST (linux/netlink.h): a message to the kernel has it, an answer has not.
const REQUEST: u16 = 1;
/// GENL_ID_CTRL (linux/genetlink.h): the family that knows the others' numbers.
const CONTROL: u16 = 16;

/// IPVS_CMD_* (linux/ip_vs.h) that change something, by number, with a name.
const WRITES: [(u8, &str); 11] = [
    (1, "new service"),
    (2, "set service"),
    (3, "delete service"),
    (5, "new server"),
    (6, "set server"),
    (7, "delete server"),
    (9, "new daemon"),
    (10, "delete daemon"),
    (12, "set timeouts"),
    (16, "zero"),
    (17, "flush"),
];

/// Requests that change the table, by name, and how many of each.
pub type Writes = BTreeMap<&'static str, usize>;

/// The number of a family and what it is told, from the header of generic netlink on; the command is its first byte.
type Message = (u16, Vec<u8>);

/// A running tap; it ends when dropped.
#[derive(Debug)]
pub struct Tap {
    heard: Arc<Mutex<Vec<Message>>>,
    /// How often the socket had nothing more.
    idle: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    family: u16,
}

impl Tap {
    /// Starts listening in a namespace that has no tap yet.
    #[track_caller]
    pub fn start(place: &Namespace) -> Self {
        place.ip("link add nlmon0 type nlmon");
        place.ip("link set nlmon0 up");
        let socket = place.enter(|| {
            let (kind, all) = (SockType::Raw, SockProtocol::EthAll);
            socket(AddressFamily::Packet, kind, SockFlag::SOCK_CLOEXEC, all).expect("a packet socket opens")
        });
        setsockopt(&socket, sockopt::RcvBufForce, &(32 << 20)).expect("a large receive buffer");
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(50)).expect("a receive timeout");
        let (heard, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let idle = Arc::new(AtomicU64::new(0));
        let (list, stopped, idles) = (Arc::clone(&heard), Arc::clone(&stop), Arc::clone(&idle));
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0_u8; 1 << 17];
            while !stopped.load(Ordering::Relaxed) {
                let mut slices = [IoSliceMut::new(&mut buffer)];
                let received = recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut slices, None, MsgFlags::empty());
                let Ok((length, Some(from))) = received.map(|message| (message.bytes, message.address)) else {
                    idles.fetch_add(1, Ordering::Relaxed);
                    continue;
                };
                if from.hatype() == NETLINK_INTERFACE {
                    let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
                    list.extend(requests(&buffer[..length]));
                }
            }
        });
        let mut tap = Self { heard, idle, stop, thread: Some(thread), family: 0 };
        // The family's number is the kernel's choice: it is the one that ipvsadm speaks.
        ipvsadm(place, "-Ln");
        tap.settle();
        let heard = tap.lock().iter().map(|(family, _)| *family).find(|&family| family > CONTROL);
        tap.family = heard.expect("ipvsadm is heard");
        tap.writes();
        tap
    }

    /// What has been written since the last call.
    pub fn writes(&self) -> Writes {
        let mut counts = Writes::new();
        for request in self.requests() {
            if let Some((_, name)) = WRITES.iter().find(|(number, _)| request.first() == Some(number)) {
                *counts.entry(*name).or_default() += 1;
            }
        }
        counts
    }

    /// Every request to IPVS since the last call, from the header of generic netlink on.
    pub fn requests(&self) -> Vec<Vec<u8>> {
        self.settle();
        let heard = std::mem::take(&mut *self.lock());
        heard.into_iter().filter(|(family, _)| *family == self.family).map(|(_, request)| request).collect()
    }

    /// Lets the thread take what the socket already holds: until it has twice found nothing, of which the first time may
    /// have been before.
    fn settle(&self) {
        let before = self.idle.load(Ordering::Relaxed);
        while self.idle.load(Ordering::Relaxed) < before + 2 {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Message>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The requests of one send. nlmsghdr is 16 bytes: its length, its type, its flags, and more (linux/netlink.h).
fn requests(mut bytes: &[u8]) -> Vec<Message> {
    let mut found = Vec::new();
    while let Some(head) = bytes.get(..16) {
        let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(payload) = bytes.get(16..length) else { break };
        let [kind, flags] = [[head[4], head[5]], [head[6], head[7]]].map(u16::from_ne_bytes);
        if flags & REQUEST != 0 {
            found.push((kind, payload.to_vec()));
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    found
}
