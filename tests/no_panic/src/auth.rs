//! Everything of `auth`: sealing, opening and remembering, with a cipher that does nothing.

use steadfast_core::agent::Settings;
use steadfast_core::auth::{Authenticator, HeaderAuthenticator, Keys, Mode, Packet, PeerMark, Policy, Sequence, Tag};
use steadfast_core::types::Family;

use crate::wire::{address, envelope, vrid};
use crate::{any, bytes, room, used};

struct NoCipher;

impl Keys for NoCipher {
    fn tag(&self, key: u8, parts: &[&[u8]]) -> Option<Tag> {
        used((key, parts));
        any(Some([0; 16]))
    }
}

fn clock() -> Sequence {
    let clock = any(Sequence::at(any(1), any(1)));
    used((clock.is_after(clock.next()), clock.seconds_ahead_of(any(clock))));
    clock
}

fn policy() -> Policy {
    Policy { mode: any(Mode::Permissive), active_key: any(1), window: any(Some(5)) }
}

fn peers() -> heapless::Vec<PeerMark, 4> {
    let mut peers = heapless::Vec::new();
    for _ in 0..any(4) {
        used(peers.push(PeerMark::new(address())));
    }
    peers
}

pub(crate) fn drive(memory: &mut [u8]) {
    trailers(memory);
    headers(memory);
}

fn headers(memory: &mut [u8]) {
    let mut authenticator = HeaderAuthenticator::new(peers());
    for _ in 0..any(9) {
        if let Some(packet) = Packet::parse(bytes(memory)) {
            used((packet, authenticator.verify(&NoCipher, &packet)));
            authenticator.mark(&packet);
        }
        let payload = |room: &mut [u8]| {
            used(room);
            any(Ok(20))
        };
        used(authenticator.emit(&NoCipher, clock(), &envelope(), room(memory), payload));
        used(authenticator.missing());
        authenticator.reconfigure(peers());
        used(authenticator.counters());
    }
}

fn trailers(memory: &mut [u8]) {
    let mut settings = Settings::new(any(Family::V4), vrid());
    settings.version = any(settings.version);
    let mut authenticator = Authenticator::new(&settings, policy(), peers());
    let mut copy = any([0; 2048]);
    for _ in 0..any(9) {
        let opened = authenticator.open(&NoCipher, clock(), &envelope(), bytes(memory), room(&mut copy));
        if let Ok(opened) = opened {
            used(opened);
            if let Some(sequence) = opened.sequence {
                authenticator.mark(address(), sequence);
            }
        }
        used(authenticator.seal(&NoCipher, clock(), &envelope(), room(memory), any(20)));
        authenticator.reconfigure(&settings, policy(), peers());
        for counter in authenticator.counters().iter() {
            used(counter);
        }
    }
}
