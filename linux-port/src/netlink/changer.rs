//! Changes of addresses, routes and rules: all that a transition needs goes to the kernel in one train of messages, and
//! the answers are picked up later. The kernel carries a train out while it is being sent, which takes as long as others
//! hold its lock for such changes.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NLMSG_ERROR};
use netlink_packet_route::RouteNetlinkMessage as Request;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::client::receive;
use super::{AddressSpec, RoutingEntry, message, parse};
use crate::sys::option;

/// Room for the answers to some thousand trains.
const QUEUE: i32 = 1 << 22;
/// The longest piece of a train that is sent at once, some 500 addresses.
const PIECE: usize = 48 * 1024;
/// An answer without the request it is about, with room to spare.
const DATAGRAM: usize = 4096;

/// One change.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// Add an address, or give the one that is there the properties asked for.
    Add(&'a AddressSpec),
    /// Remove an address.
    Remove(&'a AddressSpec),
    /// Add a route or a rule; nothing if it is there.
    Put(&'a RoutingEntry),
    /// Remove a route or a rule.
    Take(&'a RoutingEntry),
    /// Set a link up.
    Up(u32),
    /// Set a link down.
    Down(u32),
}

/// Sends trains of changes; `T` tells them apart.
#[derive(Debug)]
pub struct AddressChanger<T> {
    socket: Socket,
    sequence: u32,
    waiting: VecDeque<Train<T>>,
    buffer: Vec<u8>,
}

/// A route or a rule that the kernel did not take, or did not remove.
#[derive(Debug)]
pub struct Refusal {
    /// Which change of the train it is, from 0.
    pub number: usize,
    /// Why.
    pub error: io::Error,
    /// What the kernel says to it.
    pub complaint: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.complaint {
            Some(complaint) => write!(f, "{complaint} ({})", self.error),
            None => write!(f, "{}", self.error),
        }
    }
}

#[derive(Debug)]
struct Train<T> {
    tag: T,
    first: u32,
    last: u32,
    result: io::Result<()>,
    refused: Vec<Refusal>,
    answered: bool,
}

impl<T> AddressChanger<T> {
    /// A connection in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// Of the system.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        // An answer need not repeat the request. A kernel without the option repeats it.
        let _ = socket.set_cap_ack(true);
        // Nor need it say more than a number.
        let _ = socket.set_ext_ack(true);
        option::set_receive_buffer(socket.as_fd(), QUEUE)?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket, sequence: 0, waiting: VecDeque::new(), buffer: Vec::new() })
    }

    /// Hands the kernel all of `changes`, in this order. The answer comes with `tag` from
    /// [`completed`](Self::completed), in the order of submission. Nothing is undone when one fails.
    pub fn submit<'a>(&mut self, tag: T, changes: impl IntoIterator<Item = Change<'a>>) {
        let mut result = Ok(());
        self.buffer.clear();
        let mut changes = changes.into_iter().peekable();
        let mut any = false;
        let first = self.sequence.wrapping_add(1);
        while let Some(change) = changes.next() {
            any = true;
            self.sequence = self.sequence.wrapping_add(1);
            // Errors are always reported; success only by the last one.
            let ack = if changes.peek().is_none() { NLM_F_ACK } else { 0 };
            let asked = NLM_F_REQUEST | ack;
            let (request, flags) = match change {
                Change::Add(spec) => (Some(Request::NewAddress(message::address(spec))), NLM_F_CREATE | NLM_F_REPLACE),
                Change::Remove(spec) => (Some(Request::DelAddress(message::address(spec))), 0),
                Change::Up(index) => (Some(Request::SetLink(message::link_state(index, true))), 0),
                Change::Down(index) => (Some(Request::SetLink(message::link_state(index, false))), 0),
                Change::Put(entry) => {
                    let (kind, flags) = entry.addition();
                    message::append_body(&mut self.buffer, kind, entry.body(), asked | flags, self.sequence);
                    (None, 0)
                }
                Change::Take(entry) => {
                    message::append_body(&mut self.buffer, entry.removal(), entry.body(), asked, self.sequence);
                    (None, 0)
                }
            };
            if let Some(request) = request {
                message::append(&mut self.buffer, request, asked | flags, self.sequence);
            }
            if self.buffer.len() >= PIECE || ack != 0 {
                if let Err(error) = self.socket.send_to(&self.buffer, &SocketAddr::new(0, 0), 0) {
                    result = Err(error);
                    break;
                }
                self.buffer.clear();
            }
        }
        // A train that did not leave, or is empty, waits for no answer.
        let answered = !any || result.is_err();
        self.waiting.push_back(Train { tag, first, last: self.sequence, result, refused: Vec::new(), answered });
    }

    /// Whether an answer is outstanding.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Hands on the results of the trains that are complete: success, or the first error; and the routes and
    /// rules that were refused, which is no error of the train. That something to be added is there, or
    /// something to be removed is not (or not even its interface), is success. Costs nothing if none is
    /// outstanding; otherwise it never blocks.
    ///
    /// # Errors
    ///
    /// Of the system.
    pub fn completed(&mut self, mut hand: impl FnMut(T, io::Result<()>, Vec<Refusal>)) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        while self.waiting.iter().any(|train| !train.answered) {
            let mut buffer = [0; DATAGRAM];
            match receive(&self.socket, &mut buffer, 0) {
                Ok(length) => {
                    for (header, payload) in parse::messages(&buffer[..length]) {
                        if header.message_type == NLMSG_ERROR {
                            self.answer(header.sequence_number, header.flags, payload);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Answers are lost. What they would have said is unknown: the trains failed.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    for train in &mut self.waiting {
                        train.answered = true;
                        train.result = Err(io::Error::from_raw_os_error(libc::ENOBUFS));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        while self.waiting.front().is_some_and(|train| train.answered) {
            if let Some(train) = self.waiting.pop_front() {
                hand(train.tag, train.result, train.refused);
            }
        }
        Ok(())
    }

    /// Enters one answer of the kernel's.
    fn answer(&mut self, sequence: u32, flags: u16, payload: &[u8]) {
        // The sequence numbers of a train end at its last one; the first train that ends there or later is it.
        let reaches = |train: &Train<T>| train.last.wrapping_sub(sequence) < u32::MAX / 2;
        let Some(train) = self.waiting.iter_mut().find(|train| reaches(train)) else { return };
        train.answered |= train.last == sequence;
        let Err(error) = parse::verdict(payload) else { return };
        let code = error.raw_os_error();
        let number = sequence.wrapping_sub(train.first) as usize;
        let mut refused = |forgiven: bool| {
            if !forgiven {
                let (error, complaint) =
                    (io::Error::from_raw_os_error(code.unwrap_or(0)), parse::complaint(flags, payload));
                train.refused.push(Refusal { number, error, complaint });
            }
        };
        let forgiven = match parse::request_type(payload) {
            Some(libc::RTM_NEWADDR) => code == Some(libc::EEXIST),
            Some(libc::RTM_DELADDR) => matches!(code, Some(libc::EADDRNOTAVAIL | libc::ENODEV | libc::ENXIO)),
            Some(libc::RTM_NEWROUTE | libc::RTM_NEWRULE) => return refused(code == Some(libc::EEXIST)),
            Some(libc::RTM_DELROUTE | libc::RTM_DELRULE) => {
                return refused(matches!(code, Some(libc::ESRCH | libc::ENOENT | libc::ENODEV)));
            }
            _ => false,
        };
        if !forgiven && train.result.is_ok() {
            train.result = Err(error);
        }
    }
}

impl<T> AsFd for AddressChanger<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
