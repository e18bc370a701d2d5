//! What the election asks for, turned into frames and calls to the hardware: Advertisements, announcements,
//! acquiring and releasing the virtual MAC address and the virtual addresses. It is done at once, so it is
//! reported to the agent at once; this is why the loop is not [`steadfast_core::port::drive`], which lends the
//! agent only for reading.

use core::net::IpAddr;

use steadfast_core::agent::{Action, InterfaceId, RouterId};
use steadfast_core::storage::Storage;
use steadfast_core::time::Instant;
use steadfast_core::types::{Family, MacAddr, Priority};
use steadfast_core::wire::advertisement::Form;
use steadfast_core::wire::ip::{emit_frame, multicast_mac};
use steadfast_core::wire::{arp, ndisc};

use super::Node;
use crate::hardware::NetworkHardware;
use crate::vlan::{self, TAG};

/// The longest frame that we send: Ethernet without its check sequence, and a tag. An Advertisement with more
/// addresses than fit (366 of IPv4, 90 of IPv6) is not sent.
const LONGEST: usize = 1514 + TAG;

/// At most so many actions in one poll; the rest in the next one, so that frames are not kept waiting.
const BUDGET: usize = 64;

impl<S: Storage, const I: usize> Node<S, I> {
    pub(super) fn act(&mut self, now: Instant, hardware: &mut impl NetworkHardware) {
        for _ in 0..BUDGET {
            match self.agent.poll(now) {
                None => break,
                Some(Action::Advertise { router, interface, priority, form }) => {
                    self.advertise(router, interface, priority, form, hardware);
                }
                Some(Action::Release { router, generation }) => {
                    self.hold(now, router, false, hardware);
                    self.agent.handle_done(now, router, generation, Ok(()));
                }
                Some(Action::Acquire { router, generation }) => {
                    self.hold(now, router, true, hardware);
                    self.agent.handle_done(now, router, generation, Ok(()));
                }
                Some(Action::Announce { router, address }) => self.announce(router, address, hardware),
                Some(Action::Notify(event)) => hardware.notify(&event),
                Some(Action::Retired(_)) => self.retire(hardware),
            }
        }
    }

    /// Puts the tag on and sends; `buffer` has room for it behind the frame.
    pub(super) fn send(
        &mut self,
        interface: InterfaceId,
        buffer: &mut [u8],
        length: usize,
        hardware: &mut impl NetworkHardware,
    ) -> bool {
        let vlan = self.ports.get(interface.index()).and_then(|port| port.vlan);
        let frame = vlan::tag(buffer, length, vlan, true).and_then(|length| buffer.get(..length));
        let sent = frame.is_some_and(|frame| hardware.send(interface, frame).is_ok());
        if !sent {
            self.refused = self.refused.saturating_add(1);
        }
        sent
    }

    // Its buffer shall be on the stack only while an Advertisement is sent.
    #[inline(never)]
    fn advertise(
        &mut self,
        router: RouterId,
        interface: InterfaceId,
        priority: Option<Priority>,
        form: Form,
        hardware: &mut impl NetworkHardware,
    ) {
        let Some(view) = self.agent.view(router) else { return };
        let Some(envelope) = self.agent.envelopes(router).next() else { return };
        let from = view.settings.vrid.virtual_mac(view.settings.family);
        let mut buffer = [0; LONGEST];
        let payload = |room: &mut [u8]| self.agent.emit(router, &envelope, priority, form, room);
        let written = emit_frame(from, None, envelope.source, envelope.destination, &mut buffer, payload);
        if let Ok(length) = written {
            self.send(interface, &mut buffer, length, hardware);
        }
    }

    /// A gratuitous ARP or an unsolicited Neighbour Advertisement, from the virtual MAC address.
    fn announce(&mut self, router: RouterId, address: IpAddr, hardware: &mut impl NetworkHardware) {
        let Some(view) = self.agent.view(router) else { return };
        let interface = view.interface;
        let from = view.settings.vrid.virtual_mac(view.settings.family);
        match address {
            IpAddr::V4(address) => self.send_short(interface, &arp::gratuitous(from, address), hardware),
            IpAddr::V6(address) => self.send_short(interface, &ndisc::unsolicited(from, address, true), hardware),
        };
    }

    /// Sends a frame of at most 110 bytes.
    pub(crate) fn send_short(
        &mut self,
        interface: InterfaceId,
        frame: &[u8],
        hardware: &mut impl NetworkHardware,
    ) -> bool {
        let mut buffer = [0; 110 + TAG];
        for (place, byte) in buffer.iter_mut().zip(frame) {
            *place = *byte;
        }
        self.send(interface, &mut buffer, frame.len(), hardware)
    }

    /// Acquires (`on`) or releases: receive filter, the maker's hook, and the addresses of the stack.
    fn hold(&mut self, now: Instant, router: RouterId, on: bool, hardware: &mut impl NetworkHardware) {
        let Some(view) = self.agent.view(router) else { return };
        let (interface, mac) = (view.interface, view.settings.vrid.virtual_mac(view.settings.family));
        if !on {
            // Nothing more of the stack shall leave with an address that it is to forget.
            self.tell_addresses(router, false, hardware);
        }
        hardware.hear(interface, mac, on);
        hardware.virtual_mac(interface, mac, on);
        self.solicited_nodes(now, router, on, hardware);
        if on {
            self.tell_addresses(router, true, hardware);
        }
    }

    /// Tells the stack to hold the addresses of a Virtual Router, or to let go of them.
    pub(super) fn tell_addresses(&self, router: RouterId, on: bool, hardware: &mut impl NetworkHardware) {
        let Some(view) = self.agent.view(router) else { return };
        let accepts = view.settings.accept || view.settings.priority.is_owner();
        if !accepts || !view.holds {
            return;
        }
        for address in view.addresses.iter().chain(view.excluded) {
            hardware.address(view.interface, router, *address, on);
        }
    }

    /// The MAC address to which frames to a group go, heard or not.
    pub(super) fn hear_group(interface: InterfaceId, group: IpAddr, on: bool, hardware: &mut impl NetworkHardware) {
        hardware.hear(interface, multicast_mac(group), on);
    }

    /// The virtual MAC address that answers for an address of an interface now.
    pub(super) fn serving(&self, interface: InterfaceId, address: IpAddr) -> Option<MacAddr> {
        self.with_address(interface, address)
            .filter(|presence| presence.serves())
            .map(|presence| presence.virtual_mac())
    }

    /// The source of what is sent for an interface itself.
    pub(crate) fn source(&self, interface: InterfaceId, family: Family) -> Option<IpAddr> {
        self.agent.interface(interface, family).1
    }
}
