//! smoltcp above, a driver below, and the [`Node`] between: a `smoltcp::phy::Device` whose frames have passed
//! [`Node::receive`] and [`Node::transmit`]. smoltcp's own interface knows one MAC address and no VLANs; this is
//! how it lives with several.
//!
//! smoltcp answers nobody whose MAC address it does not know: it drops the answer and asks. It forgets all that it
//! knows whenever its addresses change, which is when a Virtual Router becomes Active, and it never sees who asks for
//! a virtual address. So whoever sends a packet to an address of this station is introduced to it first, by the MAC
//! address that the packet came from. (As every station of a LAN it takes anybody's word for that: ARP and Neighbour
//! Discovery know no proof.)
//!
//! A board that has no smoltcp driver implements [`FrameIo`], two methods that copy; [`Below`] makes one of any
//! smoltcp driver. The clock that smoltcp is polled with has to be the one that [`Node::poll`] gets.

use core::ops::Range;

use smoltcp::phy::{self, DeviceCapabilities, Medium, RxToken, TxToken};
use steadfast_core::agent::InterfaceId;
use steadfast_core::storage::Storage;
use steadfast_core::time::Instant;
use steadfast_core::wire::ip::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet};
use steadfast_core::wire::{arp, ndisc};

use crate::bytes::{ipv4_at, ipv6_at, octets};
use crate::hardware::Busy;
use crate::node::{Node, Received};
use crate::vlan::TAG;

/// The longest frame on Ethernet without its check sequence, and a tag.
pub const LONGEST: usize = 1514 + TAG;

/// A driver that copies frames in and out. Neither method waits.
pub trait FrameIo {
    /// Copies the next frame that was received into `buffer`; its length. One that is longer is lost.
    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize>;

    /// Whether there is room to send a frame now.
    fn is_ready(&mut self) -> bool {
        true
    }

    /// Sends a frame, which is not padded.
    ///
    /// # Errors
    ///
    /// [`Busy`] if there is no room.
    fn send(&mut self, frame: &[u8]) -> Result<(), Busy>;
}

/// Any smoltcp driver as [`FrameIo`].
#[derive(Debug)]
pub struct Below<D>(pub D);

impl<D: phy::Device> FrameIo for Below<D> {
    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let (frame, _) = self.0.receive(smoltcp::time::Instant::ZERO)?;
        frame.consume(|frame| {
            let length = frame.len().min(buffer.len());
            for (place, byte) in buffer.iter_mut().zip(frame) {
                *place = *byte;
            }
            Some(if length == frame.len() { length } else { 0 })
        })
    }

    fn is_ready(&mut self) -> bool {
        self.0.transmit(smoltcp::time::Instant::ZERO).is_some()
    }

    fn send(&mut self, frame: &[u8]) -> Result<(), Busy> {
        let token = self.0.transmit(smoltcp::time::Instant::ZERO).ok_or(Busy)?;
        token.consume(frame.len(), |buffer| {
            for (place, byte) in buffer.iter_mut().zip(frame) {
                *place = *byte;
            }
        });
        Ok(())
    }
}

/// The two frames that smoltcp has in its hands at a time. `N` bytes are room for frames of `N` less a tag's
/// 4: a board whose LAN carries short frames only may lend less than [`LONGEST`].
#[derive(Debug)]
pub struct Buffers<const N: usize = LONGEST> {
    received: [u8; N],
    sent: [u8; N],
    /// The frame among the bytes that were received that waits while its sender is introduced.
    waits: Range<usize>,
}

impl<const N: usize> Buffers<N> {
    /// Empty ones.
    pub const fn new() -> Self {
        Self { received: [0; N], sent: [0; N], waits: 0..0 }
    }
}

impl<const N: usize> Default for Buffers<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// One interface of a [`Node`] as a device of smoltcp, for as long as smoltcp polls it.
pub struct Under<'a, D, S: Storage, const I: usize, const N: usize> {
    node: &'a mut Node<S, I>,
    device: &'a mut D,
    interface: InterfaceId,
    buffers: &'a mut Buffers<N>,
}

impl<'a, D: FrameIo, S: Storage, const I: usize, const N: usize> Under<'a, D, S, I, N> {
    /// The `interface` of `node`, whose frames `device` carries. The same `buffers` each time: a frame may wait in
    /// them.
    pub fn new(
        node: &'a mut Node<S, I>,
        device: &'a mut D,
        interface: InterfaceId,
        buffers: &'a mut Buffers<N>,
    ) -> Self {
        Self { node, device, interface, buffers }
    }
}

impl<D: FrameIo, S: Storage, const I: usize, const N: usize> phy::Device for Under<'_, D, S, I, N> {
    type RxToken<'t>
        = Handed<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Sending<'t, D, S, I>
    where
        Self: 't;

    fn receive(&mut self, timestamp: smoltcp::time::Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let now = Instant::from_micros(u64::try_from(timestamp.total_micros()).unwrap_or(0));
        let Buffers { received, sent, waits } = &mut *self.buffers;
        let mut introduced = None;
        if Range::is_empty(waits) {
            let length = self.device.receive(received)?;
            let frame = received.get_mut(..length).unwrap_or(&mut []);
            if let Received::Up(frame) = self.node.receive(now, self.interface, frame) {
                // Where there was a tag, it begins later.
                *waits = length.saturating_sub(frame.len())..length;
                introduced = introduction(self.node, self.interface, frame);
            }
        }
        let handed = introduced.unwrap_or_else(|| Content::Frame(received.get(core::mem::take(waits)).unwrap_or(&[])));
        let sending = Sending { node: self.node, device: self.device, interface: self.interface, buffer: sent };
        Some((Handed(handed), sending))
    }

    fn transmit(&mut self, _timestamp: smoltcp::time::Instant) -> Option<Self::TxToken<'_>> {
        self.device.is_ready().then_some(Sending {
            node: self.node,
            device: self.device,
            interface: self.interface,
            buffer: &mut self.buffers.sent,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = N.saturating_sub(TAG);
        capabilities
    }
}

/// By what smoltcp learns the MAC address of whoever sent this frame; `None` if it is not for an address of this
/// station, or smoltcp need not know: a packet that has come through a router is answered through one.
fn introduction<S: Storage, const I: usize>(
    node: &Node<S, I>,
    interface: InterfaceId,
    frame: &[u8],
) -> Option<Content<'static>> {
    let Ethernet { destination: station, source: mac, ethertype, payload } = Ethernet::parse(frame)?;
    match ethertype {
        ETHERTYPE_IPV4 => {
            let (neighbour, target) = (ipv4_at(payload, 12)?, ipv4_at(payload, 16)?);
            // Whether the neighbour is one, by its address, smoltcp looks itself.
            let asked = arp::Query { sender_mac: station, sender: target, target: neighbour };
            node.has(interface, target.into()).then(|| Content::Arp(arp::reply(mac, &asked)))
        }
        ETHERTYPE_IPV6 => {
            let (neighbour, target) = (ipv6_at(payload, 8)?, ipv6_at(payload, 24)?);
            // It does not look at that here; a link has prefixes of 64 bits.
            let near = octets::<8>(payload, 8) == octets::<8>(payload, 24);
            let known = near && node.has(interface, target.into());
            known.then(|| Content::Advertisement(ndisc::unsolicited(mac, neighbour, false)))
        }
        _ => None,
    }
}

/// What is handed up.
enum Content<'t> {
    Frame(&'t [u8]),
    Arp([u8; arp::FRAME]),
    Advertisement([u8; ndisc::FRAME]),
}

/// A frame that is handed up. smoltcp passes over one without bytes, and asks for the next one.
pub struct Handed<'t>(Content<'t>);

impl RxToken for Handed<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(match &self.0 {
            Content::Frame(frame) => frame,
            Content::Arp(frame) => frame,
            Content::Advertisement(frame) => frame,
        })
    }
}

/// A frame to be: of smoltcp, and through the node.
pub struct Sending<'t, D, S: Storage, const I: usize> {
    node: &'t Node<S, I>,
    device: &'t mut D,
    interface: InterfaceId,
    buffer: &'t mut [u8],
}

impl<D: FrameIo, S: Storage, const I: usize> TxToken for Sending<'_, D, S, I> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        // smoltcp keeps to the MTU that it was told.
        let frame = self.buffer.get_mut(..len).unwrap_or(&mut []);
        let result = f(frame);
        if let Some(frame) = self.node.transmit(self.interface, self.buffer, len) {
            // As on the wire, a frame may be lost.
            let _ = self.device.send(frame);
        }
        result
    }
}
