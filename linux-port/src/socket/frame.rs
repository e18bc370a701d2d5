//! Sending whole Ethernet frames out of an interface: gratuitous ARP, unsolicited Neighbour Advertisements,
//! and Advertisements whose source must be the virtual MAC address, for which the macvlan need not be used.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use steadfast_core::wire::Full;
use steadfast_core::wire::ip::Ethernet;

use super::send::make_room;
use crate::sys::message::{Destination, SendQueue, Sent};
use crate::sys::socket;

/// Sends frames, at most 64 in one system call, and receives nothing.
#[derive(Debug)]
pub struct FrameSender {
    fd: OwnedFd,
    queue: SendQueue,
    sent: Sent,
}

impl FrameSender {
    /// A packet socket with protocol 0: the kernel gives it no frames.
    ///
    /// # Errors
    ///
    /// Of the system: no privilege (CAP_NET_RAW).
    pub fn open() -> io::Result<Self> {
        Ok(Self { fd: socket::packet()?, queue: SendQueue::default(), sent: Sent::default() })
    }

    /// Queues one frame out of `interface`; `frame` writes it, with its Ethernet header, into the buffer lent
    /// to it and returns its length. When 64 wait they are sent first.
    ///
    /// # Errors
    ///
    /// `Full` if `frame` says so or wrote less than a header; nothing is queued then.
    pub fn push(&mut self, interface: u32, frame: impl FnOnce(&mut [u8]) -> Result<usize, Full>) -> Result<(), Full> {
        make_room(&mut self.queue, &self.fd, &mut self.sent);
        self.queue.push(|buffer| {
            let length = frame(buffer)?;
            let header = Ethernet::parse(buffer.get(..length).ok_or(Full)?).ok_or(Full)?;
            let (ethertype, address) = (header.ethertype, header.destination);
            Ok((length, Destination::Frame { interface, ethertype, address }))
        })
    }

    /// Queues a frame that is already written; as [`push`](Self::push).
    ///
    /// # Errors
    ///
    /// `Full` if it is longer than any frame of ours or shorter than a header.
    pub fn push_frame(&mut self, interface: u32, frame: &[u8]) -> Result<(), Full> {
        self.push(interface, |buffer| {
            buffer.get_mut(..frame.len()).ok_or(Full)?.copy_from_slice(frame);
            Ok(frame.len())
        })
    }

    /// Sends everything queued; what became of it and of what was sent since the last flush. Never blocks.
    pub fn flush(&mut self) -> Sent {
        if !self.queue.is_empty() {
            self.sent.add(self.queue.flush(self.fd.as_fd()));
        }
        std::mem::take(&mut self.sent)
    }
}
