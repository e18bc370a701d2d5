//! Which sequence numbers have been there: that of each peer, and of the last senders that are none.

use core::net::IpAddr;
use core::ops::DerefMut;

use crate::wire::trailer::Sequence;

/// How many senders are remembered that are no peers.
const OTHERS: usize = 4;

/// The last sequence number of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerMark {
    address: IpAddr,
    mark: Option<Sequence>,
}

impl PeerMark {
    /// Nothing has been heard of it yet.
    pub const fn new(address: IpAddr) -> Self {
        Self { address, mark: None }
    }
}

/// The last sequence numbers.
#[derive(Debug)]
pub(super) struct Marks<P> {
    peers: P,
    /// The last heard first.
    others: [Option<(IpAddr, Sequence)>; OTHERS],
}

impl<P: DerefMut<Target = [PeerMark]>> Marks<P> {
    pub(super) fn new(peers: P) -> Self {
        Self { peers, others: [None; OTHERS] }
    }

    /// There are other peers now.
    pub(super) fn set_peers(&mut self, mut peers: P) {
        for peer in peers.iter_mut() {
            peer.mark = self.of(peer.address);
        }
        self.peers = peers;
    }

    /// That of a sender.
    pub(super) fn of(&self, source: IpAddr) -> Option<Sequence> {
        let peer = self.peers.iter().find(|peer| peer.address == source).and_then(|peer| peer.mark);
        let others = || self.others.iter().flatten().find(|(known, _)| *known == source).map(|(_, mark)| *mark);
        peer.or_else(others)
    }

    /// Remembers one.
    pub(super) fn set(&mut self, source: IpAddr, sequence: Sequence) {
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.address == source) {
            peer.mark = Some(sequence);
            return;
        }
        // It becomes the first; those before it move on by one place each, up to its own, an empty one, or the last.
        let mut moved = Some((source, sequence));
        for place in &mut self.others {
            let ends = place.is_none_or(|(known, _)| known == source);
            moved = core::mem::replace(place, moved);
            if ends {
                return;
            }
        }
    }
}
