//! The kernel's process connector (linux/connector.h, linux/cn_proc.h): news of processes over netlink. It is there in the
//! first network and process namespaces only, and only in a kernel with CONFIG_PROC_EVENTS; one without it does not answer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr};

use crate::sys::option;

const NETLINK_CONNECTOR: isize = 11;
/// CN_IDX_PROC and CN_VAL_PROC.
const CHANNEL: u32 = 1;
/// PROC_CN_MCAST_LISTEN.
const LISTEN: u32 = 1;

/// `struct nlmsghdr` and `struct cn_msg`.
const NETLINK_HEAD: usize = 16;
const HEAD: usize = NETLINK_HEAD + 20;
/// What, processor and time of a `struct proc_event`, before the part that depends on the first.
const EVENT_HEAD: usize = 16;

/// Room for many processes at once.
const QUEUE: i32 = 1 << 20;

/// What the kernel tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It tells from now on.
    Ready,
    /// A process has made another one like itself.
    Forked {
        /// Which.
        parent: u32,
        /// The new one.
        child: u32,
    },
    /// A process runs another program, or has another name.
    Changed(u32),
    /// A process has ended.
    Ended(u32),
    /// Some of it is lost.
    Overflow,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connector(Socket);

impl Connector {
    /// Asks the kernel to tell of processes; [`Event::Ready`] says that it does.
    ///
    /// # Errors
    /// It does not tell in this network namespace, or not us.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_CONNECTOR)?;
        socket.set_non_blocking(true)?;
        // A smaller queue overflows earlier, and then all of /proc is read.
        let _ = option::set_receive_buffer(socket.as_fd(), QUEUE);
        socket.bind(&SocketAddr::new(0, CHANNEL))?;
        let operation = LISTEN.to_ne_bytes();
        let length = u32::try_from(HEAD + operation.len()).unwrap_or(0).to_ne_bytes();
        let mut message = Vec::with_capacity(HEAD + operation.len());
        message.extend_from_slice(&length);
        // NLMSG_DONE, no flags, number and sender 0.
        message.extend_from_slice(&3_u16.to_ne_bytes());
        message.extend_from_slice(&[0; 10]);
        // Channel, number and answer 0, length, no flags.
        message.extend_from_slice(&CHANNEL.to_ne_bytes());
        message.extend_from_slice(&CHANNEL.to_ne_bytes());
        message.extend_from_slice(&[0; 8]);
        message.extend_from_slice(&4_u16.to_ne_bytes());
        message.extend_from_slice(&[0; 2]);
        message.extend_from_slice(&operation);
        socket.send_to(&message, &SocketAddr::new(0, 0), 0)?;
        Ok(Self(socket))
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Hands on what there is; never waits.
    pub(super) fn read(&mut self, mut hand: impl FnMut(Event)) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(4096);
        loop {
            buffer.clear();
            match self.0.recv_from(&mut buffer, 0) {
                // Only the kernel is believed.
                Ok((_, from)) if from.port_number() == 0 => {
                    if let Some(event) = event(&buffer) {
                        hand(event);
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => hand(Event::Overflow),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The event in a message, if it is of interest: of whole processes, not of threads.
fn event(message: &[u8]) -> Option<Event> {
    let event = message.get(HEAD..)?;
    let number = |at: usize| event.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
    let of = |index: usize| number(EVENT_HEAD + 4 * index);
    let process = || of(0).filter(|process| Some(*process) == of(1));
    match number(0)? {
        // PROC_EVENT_NONE: the answer to our question.
        0 => (of(0)? == 0).then_some(Event::Ready),
        // PROC_EVENT_FORK: thread and process of the parent, then of the child.
        1 => {
            let child = of(2).filter(|child| Some(*child) == of(3))?;
            Some(Event::Forked { parent: of(1)?, child })
        }
        // PROC_EVENT_EXEC, PROC_EVENT_COMM
        2 | 0x200 => process().map(Event::Changed),
        // PROC_EVENT_EXIT
        0x8000_0000 => process().map(Event::Ended),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_threads_are_none() {
        let message = |what: u32, numbers: &[u32]| {
            let mut bytes = vec![0; HEAD];
            bytes.extend_from_slice(&what.to_ne_bytes());
            bytes.extend_from_slice(&[0; EVENT_HEAD - 4]);
            numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_ne_bytes()));
            bytes
        };
        for (what, numbers, expected) in [
            (0, &[0][..], Some(Event::Ready)),
            (0, &[1], None),
            (1, &[11, 10, 20, 20], Some(Event::Forked { parent: 10, child: 20 })),
            (1, &[10, 10, 21, 20], None),
            (2, &[20, 20], Some(Event::Changed(20))),
            (2, &[21, 20], None),
            (0x8000_0000, &[20, 20, 0, 17], Some(Event::Ended(20))),
            (0x8000_0000, &[20], None),
            (0x4000_0000, &[20, 20], None),
        ] {
            assert_eq!(event(&message(what, numbers)), expected, "{what} {numbers:?}");
        }
        assert_eq!(event(&[]), None);
    }
}
