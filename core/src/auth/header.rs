//! `auth_type AH`: the authentication of the Advertisements of one Virtual Router of version 2 over IPv4 by IP
//! Authentication Headers, as keepalived does it. There is one key, and no clock: sequence numbers grow, over all
//! routers.

use core::ops::DerefMut;

use super::marks::{Marks, PeerMark};
use super::{Unauthentic, is_same};
use crate::counters::{AuthCounters, bump};
use crate::wire::ah::{Packet, emit_packet};
use crate::wire::trailer::{Keys, Sequence};
use crate::wire::{Envelope, Full};

/// The authentication of one Virtual Router by Authentication Headers. `P` holds a place for each of its unicast peers;
/// the number of the key is 0.
#[derive(Debug)]
pub struct HeaderAuthenticator<P> {
    /// The highest sequence number, of whomever: keepalived takes none that does not exceed all others.
    last: u32,
    marks: Marks<P>,
    counters: AuthCounters,
}

impl<P: DerefMut<Target = [PeerMark]>> HeaderAuthenticator<P> {
    /// Nothing has been heard yet.
    pub fn new(peers: P) -> Self {
        Self { last: 0, marks: Marks::new(peers), counters: AuthCounters::default() }
    }

    /// There are other peers now. What was heard is not forgotten.
    pub fn reconfigure(&mut self, peers: P) {
        self.marks.set_peers(peers);
    }

    /// What has been counted.
    pub fn counters(&self) -> &AuthCounters {
        &self.counters
    }

    /// Writes a packet to the start of `buffer` and returns its length: the headers, and the message that `payload`
    /// writes (it returns how much). Sequence numbers are at least the seconds of `clock`, so that who is started anew
    /// need not begin at 1, which nobody would take.
    ///
    /// # Errors
    ///
    /// `Full` if it is too small, or there is no key.
    pub fn emit(
        &mut self,
        keys: &impl Keys,
        clock: Sequence,
        envelope: &Envelope,
        buffer: &mut [u8],
        payload: impl FnOnce(&mut [u8]) -> Result<usize, Full>,
    ) -> Result<usize, Full> {
        self.last = self.last.saturating_add(1).max(clock.seconds());
        emit_packet(keys, self.last, envelope, buffer, payload)
    }

    /// Whether a packet is believed. If the agent takes its message, [`mark`](Self::mark) it.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub fn verify(&mut self, keys: &impl Keys, packet: &Packet<'_>) -> Result<(), Unauthentic> {
        let is_right = packet.right_icv(keys).is_some_and(|right| is_same(&right, &packet.icv));
        let mark = self.marks.of(packet.envelope.source);
        let reason = if !is_right {
            Unauthentic::Mismatch
        } else if !packet.has_own_index {
            Unauthentic::Malformed
        } else if mark.is_some_and(|mark| !Sequence::counted(packet.sequence).is_after(mark)) {
            Unauthentic::Replayed
        } else {
            bump(&mut self.counters.verified);
            return Ok(());
        };
        bump(self.counters.of(reason));
        Err(reason)
    }

    /// Remembers a packet that was taken.
    pub fn mark(&mut self, packet: &Packet<'_>) {
        self.last = self.last.max(packet.sequence);
        self.marks.set(packet.envelope.source, Sequence::counted(packet.sequence));
    }

    /// Counts a packet that had no Authentication Header.
    pub fn missing(&mut self) -> Unauthentic {
        bump(&mut self.counters.missing);
        Unauthentic::Missing
    }
}
