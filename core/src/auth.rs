//! `auth_hmac`: the authentication of the Advertisements of one Virtual Router, in either version (draft-cassen-vrrp-
//! auth-hmac, keepalived 2.4.1); and `auth_type AH`, of which all is in [`HeaderAuthenticator`]. Here are what is demanded of a packet, protection against replays, and key rotation.
//! It stands between a port's socket and its [agent](crate::agent): what it does not believe never reaches the agent, so
//! no state and no timer is touched by it. It holds no key and no cipher, see [`Keys`], and no clock: UTC is handed in.
//!
//! Sending: [`seal`](Authenticator::seal) what [`Agent::emit`](crate::agent::Agent::emit) has written. Receiving:
//! [`open`](Authenticator::open) the payload, hand the message to the agent, and if it took it,
//! [`mark`](Authenticator::mark) it, so that it is not taken again.

mod header;
mod marks;

use core::hint::black_box;
use core::net::IpAddr;
use core::ops::DerefMut;

use crate::agent::Settings;
use crate::counters::{AuthCounters, bump};
use crate::types::Family;
use crate::wire::trailer::{Identity, Trailer, is_intact_v6, set_checksum_v6};
use crate::wire::{Envelope, Full};

pub use crate::wire::ah::Packet;
pub use crate::wire::trailer::{Keys, Sequence, TRAILER, Tag};
pub use header::HeaderAuthenticator;
pub use marks::PeerMark;

use marks::Marks;

/// What becomes of Advertisements without a trailer (`mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They are discarded.
    #[default]
    Enforce,
    /// They are taken; what has a trailer has to have the right one.
    Permissive,
    /// The same, and our own have none: the first step where nobody else has any yet.
    ReceiveOnly,
}

/// What is demanded of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `mode`.
    pub mode: Mode,
    /// `active_key`: the number of the key that ours are made with.
    pub active_key: u8,
    /// `anti_replay time`: how many seconds the sender's clock and ours may differ (`time_window`). `None` for
    /// `anti_replay monotonic`: each sender's sequence numbers have to grow, whatever its clock.
    pub window: Option<u16>,
}

impl Policy {
    fn is_near(&self, clock: Sequence, sequence: Sequence) -> bool {
        self.window.is_none_or(|window| clock.seconds_ahead_of(sequence).unsigned_abs() <= window.into())
    }

    /// Whether the clocks differ by so much that it is time to say so.
    fn is_skewed(&self, clock: Sequence, sequence: Sequence) -> bool {
        self.window.is_some_and(|window| clock.seconds_ahead_of(sequence).unsigned_abs() > u32::from(window / 2))
    }
}

/// Why a packet is not believed. Each has one counter, see [`AuthCounters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unauthentic {
    /// It has no trailer.
    Missing,
    /// The trailer is of an unknown type, or has reserved bits set.
    Malformed,
    /// Its time is outside the window: a late copy, or clocks that differ.
    Stale,
    /// There is no key of its number.
    UnknownKey,
    /// The tag is wrong: another key, or somebody has changed something.
    Mismatch,
    /// Its sequence number is none that comes after the last one of its sender.
    Replayed,
}

/// A payload that may go to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// What to hand to the agent: the message without its trailer.
    pub message: &'a [u8],
    /// What to [mark](Authenticator::mark) if the agent took it; `None` if it had no trailer.
    pub sequence: Option<Sequence>,
    /// The sender's clock differs from ours by more than half of what is allowed.
    pub skewed: bool,
}

/// The authentication of one Virtual Router. `P` holds a place for each of its unicast peers.
#[derive(Debug)]
pub struct Authenticator<P> {
    identity: Identity,
    policy: Policy,
    sent: Option<Sequence>,
    marks: Marks<P>,
    counters: AuthCounters,
}

impl<P: DerefMut<Target = [PeerMark]>> Authenticator<P> {
    /// For the Virtual Router of these settings.
    pub fn new(settings: &Settings, policy: Policy, peers: P) -> Self {
        Self {
            identity: identity(settings),
            policy,
            sent: None,
            marks: Marks::new(peers),
            counters: AuthCounters::default(),
        }
    }

    /// Demands something else from now on, perhaps of another version. What was heard is not forgotten: a reload lets
    /// nobody play it again.
    pub fn reconfigure(&mut self, settings: &Settings, policy: Policy, peers: P) {
        self.identity = identity(settings);
        self.policy = policy;
        self.marks.set_peers(peers);
    }

    /// What has been counted.
    pub fn counters(&self) -> &AuthCounters {
        &self.counters
    }

    /// Puts a trailer behind the first `length` bytes of `buffer`, a message of the Virtual Router for `envelope`; the
    /// length with it. `clock` is the time of day.
    ///
    /// # Errors
    ///
    /// `Full` if there is no room for it, or no active key.
    pub fn seal(
        &mut self,
        keys: &impl Keys,
        clock: Sequence,
        envelope: &Envelope,
        buffer: &mut [u8],
        length: usize,
    ) -> Result<usize, Full> {
        if self.policy.mode == Mode::ReceiveOnly {
            return Ok(length);
        }
        let payload = length.checked_add(TRAILER).and_then(|whole| buffer.get_mut(..whole)).ok_or(Full)?;
        let (message, place) = payload.split_last_chunk_mut().ok_or(Full)?;
        let (key, sequence) = (self.policy.active_key, self.next(clock));
        let tag = self.identity.tag(keys, key, sequence, envelope.source, message).ok_or(Full)?;
        *place = Trailer { key, sequence, tag }.bytes();
        if self.identity.family == Family::V6 {
            set_checksum_v6(envelope, payload);
        }
        Ok(payload.len())
    }

    /// The next sequence number: the time of day or, if that has not grown, one more than the last. A clock that was
    /// set back by more than the window is followed, since nobody would believe the old time any more; where the window
    /// does not count, growing does.
    fn next(&mut self, clock: Sequence) -> Sequence {
        let next = match self.sent {
            Some(sent) if !clock.is_after(sent) && self.policy.is_near(clock, sent) => sent.next(),
            _ => clock,
        };
        self.sent = Some(next);
        next
    }

    /// Whether a received payload is believed, and what of it goes to the agent. `clock` is the time of day; a message
    /// that has to be rewritten, because the checksum over IPv6 is over the trailer as well, is written to `room`, which
    /// wants to be as long as the payload.
    ///
    /// What is no message of this Virtual Router, or of a wrong length, is let through: the agent says which receive
    /// check it fails.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub fn open<'a>(
        &mut self,
        keys: &impl Keys,
        clock: Sequence,
        envelope: &Envelope,
        payload: &'a [u8],
        room: &'a mut [u8],
    ) -> Result<Opened<'a>, Unauthentic> {
        let as_it_is = |message| Ok(Opened { message, sequence: None, skewed: false });
        let Some((message, trailer)) = self.identity.split(payload) else { return as_it_is(payload) };
        if trailer.is_empty() && self.policy.mode != Mode::Enforce {
            bump(&mut self.counters.unsigned);
            return as_it_is(message);
        }
        match self.verify(keys, clock, envelope.source, message, trailer) {
            Ok(sequence) => {
                bump(&mut self.counters.verified);
                let skewed = self.policy.is_skewed(clock, sequence);
                if skewed {
                    bump(&mut self.counters.skewed);
                }
                let message = match self.identity.family {
                    Family::V4 => message,
                    Family::V6 => without_trailer_v6(envelope, payload, message, room),
                };
                Ok(Opened { message, sequence: Some(sequence), skewed })
            }
            Err(reason) => {
                bump(self.counters.of(reason));
                Err(reason)
            }
        }
    }

    /// The cheap checks first: a flood of old packets is not worth a tag each.
    fn verify(
        &self,
        keys: &impl Keys,
        clock: Sequence,
        source: IpAddr,
        message: &[u8],
        trailer: &[u8],
    ) -> Result<Sequence, Unauthentic> {
        if trailer.is_empty() {
            return Err(Unauthentic::Missing);
        }
        let Trailer { key, sequence, tag } = Trailer::parse(trailer).ok_or(Unauthentic::Malformed)?;
        if !self.policy.is_near(clock, sequence) {
            return Err(Unauthentic::Stale);
        }
        let right = self.identity.tag(keys, key, sequence, source, message).ok_or(Unauthentic::UnknownKey)?;
        if !is_same(&right, &tag) {
            return Err(Unauthentic::Mismatch);
        }
        // A mark outside the window orders nothing that the window lets in: its sender's clock was set back.
        let mark = self.marks.of(source).filter(|mark| self.policy.is_near(clock, *mark));
        if mark.is_some_and(|mark| !sequence.is_after(mark)) {
            return Err(Unauthentic::Replayed);
        }
        Ok(sequence)
    }

    /// Remembers the sequence number of a message that was taken.
    pub fn mark(&mut self, source: IpAddr, sequence: Sequence) {
        self.marks.set(source, sequence);
    }
}

/// What a Virtual Router with these settings is on the wire.
const fn identity(settings: &Settings) -> Identity {
    let Settings { family, version, vrid, .. } = *settings;
    Identity { family, version, speaks_both: settings.speaks_both(), vrid }
}

/// The message with a checksum as if it had no trailer. One whose checksum is wrong is left as it is: the agent says so.
fn without_trailer_v6<'a>(envelope: &Envelope, payload: &[u8], message: &'a [u8], room: &'a mut [u8]) -> &'a [u8] {
    if !is_intact_v6(envelope, payload) {
        return message;
    }
    let Some(copy) = room.get_mut(..message.len()) else { return message };
    copy.iter_mut().zip(message).for_each(|(to, from)| *to = *from);
    set_checksum_v6(envelope, copy);
    copy
}

/// Compares without telling by its duration where they differ.
fn is_same<const N: usize>(ours: &[u8; N], theirs: &[u8; N]) -> bool {
    black_box(ours.iter().zip(theirs).fold(0, |difference, (a, b)| difference | (a ^ b))) == 0
}

#[cfg(test)]
mod tests;
