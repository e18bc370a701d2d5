//! Renewing the lifetimes of addresses: many in one message train, without answers. An address whose lifetime has
//! run out is added by the same message, so whoever renews has to know that it is wanted.

use std::io;
use std::os::fd::AsFd;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST};
use netlink_packet_route::RouteNetlinkMessage as Request;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use steadfast_core::time::{Duration, Instant};

use super::{AddressSpec, message};
use crate::sys::filter::Instruction;
use crate::sys::option;

/// The longest train that is sent at once, some 1,500 addresses: what the default send buffer holds.
const PIECE: usize = 128 * 1024;

/// What renews the lifetime of one address.
#[derive(Clone, Debug)]
pub struct Renewal {
    spec: AddressSpec,
    since: Instant,
    bytes: Vec<u8>,
}

impl Renewal {
    /// For an address that was put on at `since`.
    pub fn new(spec: AddressSpec, since: Instant) -> Self {
        let bytes = encode(&spec);
        Self { spec, since, bytes }
    }

    /// Which address it is for.
    pub fn spec(&self) -> &AddressSpec {
        &self.spec
    }

    /// Appends the message that is right at `now`.
    fn append(&self, now: Instant, train: &mut Vec<u8>) {
        match self.spec.preferred_lft {
            None | Some(0 | u32::MAX) => train.extend_from_slice(&self.bytes),
            // It stays preferred for as long as it was configured, not for as long after each renewal.
            Some(seconds) => {
                let left =
                    Duration::from_secs(seconds.into()).as_micros().saturating_sub(now.since(self.since).as_micros());
                let left = u32::try_from(left.div_ceil(1_000_000)).unwrap_or(u32::MAX);
                train.extend_from_slice(&encode(&AddressSpec { preferred_lft: Some(left), ..self.spec.clone() }));
            }
        }
    }
}

fn encode(spec: &AddressSpec) -> Vec<u8> {
    let mut bytes = Vec::new();
    let flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE;
    message::append(&mut bytes, Request::NewAddress(message::address(spec)), flags, 0);
    bytes
}

/// A connection that only sends.
#[derive(Debug)]
pub struct Renewer {
    socket: Socket,
    train: Vec<u8>,
}

impl Renewer {
    /// A connection in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// Of the system.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        option::attach_filter(socket.as_fd(), &[Instruction::REJECT])?;
        Ok(Self { socket, train: Vec::new() })
    }

    /// Renews all of them. What cannot be renewed, because its interface is gone, is passed over.
    ///
    /// # Errors
    ///
    /// Of the system; some may not have been renewed.
    pub fn renew<'a>(&mut self, now: Instant, renewals: impl Iterator<Item = &'a Renewal>) -> io::Result<()> {
        self.train.clear();
        let mut result = Ok(());
        for renewal in renewals {
            renewal.append(now, &mut self.train);
            if self.train.len() >= PIECE {
                result = result.and(self.send());
            }
        }
        if self.train.is_empty() { result } else { result.and(self.send()) }
    }

    fn send(&mut self) -> io::Result<()> {
        let sent = self.socket.send_to(&self.train, &SocketAddr::new(0, 0), 0);
        self.train.clear();
        sent.map(drop)
    }
}
