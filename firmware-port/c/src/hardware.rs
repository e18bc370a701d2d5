//! What the program does for the library: its functions for sending, the receive filter, addresses and events, as the
//! board's hardware that the firmware port wants.

use core::ffi::c_void;
use core::net::IpAddr;

use steadfast_core::agent::{Event, EventKind, InterfaceId, RouterId};
use steadfast_core::types::MacAddr;
use steadfast_firmware::hardware::{Busy, NetworkHardware};

use crate::types::{SteadfastAddress, SteadfastEvent, SteadfastEventKind, SteadfastReason, SteadfastState};

/// The program's functions, called from within `steadfast_poll` and `steadfast_configure` alone. None of them may wait, nor call the library with
/// the same handle (`STEADFAST_RESULT_REENTERED`). Each may be asked for what holds already. Only `send` must be there.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SteadfastHardware {
    /// Given back in each call.
    pub context: *mut c_void,
    /// Sends a whole frame, with its 802.1Q tag if the interface has one, neither padded nor with a check sequence;
    /// false if there is no room now.
    pub send:
        Option<unsafe extern "C" fn(context: *mut c_void, interface: u16, frame: *const u8, length: usize) -> bool>,
    /// The receive filter: frames to these 6 bytes are to be heard, or need not be any more. Null where everything is
    /// heard.
    pub hear: Option<unsafe extern "C" fn(context: *mut c_void, interface: u16, mac: *const u8, on: bool)>,
    /// The IP stack shall hold a virtual address, or let go of it; asked only with Accept_Mode or of the owner.
    pub address:
        Option<unsafe extern "C" fn(context: *mut c_void, interface: u16, address: *const SteadfastAddress, on: bool)>,
    /// A virtual MAC address has become ours, or has ceased to be: for the forwarding plane.
    pub virtual_mac: Option<unsafe extern "C" fn(context: *mut c_void, interface: u16, mac: *const u8, ours: bool)>,
    /// Something that an operator wants to know.
    pub event: Option<unsafe extern "C" fn(context: *mut c_void, event: *const SteadfastEvent)>,
}

/// The number that C knows an interface by.
fn number(interface: InterfaceId) -> u16 {
    u16::try_from(interface.index()).unwrap_or(u16::MAX)
}

impl NetworkHardware for SteadfastHardware {
    fn send(&mut self, interface: InterfaceId, frame: &[u8]) -> Result<(), Busy> {
        let send = self.send.ok_or(Busy)?;
        // SAFETY: the program's function, called with its own context and with a frame that is readable while it runs.
        if unsafe { send(self.context, number(interface), frame.as_ptr(), frame.len()) } { Ok(()) } else { Err(Busy) }
    }

    fn hear(&mut self, interface: InterfaceId, address: MacAddr, on: bool) {
        if let Some(hear) = self.hear {
            // SAFETY: the program's function, called with its own context and with 6 readable bytes.
            unsafe { hear(self.context, number(interface), address.0.as_ptr(), on) };
        }
    }

    fn address(&mut self, interface: InterfaceId, _: RouterId, address: IpAddr, on: bool) {
        if let Some(program) = self.address {
            let address = SteadfastAddress::from(address);
            // SAFETY: the program's function, called with its own context and with an address that is readable.
            unsafe { program(self.context, number(interface), &raw const address, on) };
        }
    }

    fn virtual_mac(&mut self, interface: InterfaceId, address: MacAddr, ours: bool) {
        if let Some(virtual_mac) = self.virtual_mac {
            // SAFETY: the program's function, called with its own context and with 6 readable bytes.
            unsafe { virtual_mac(self.context, number(interface), address.0.as_ptr(), ours) };
        }
    }

    fn notify(&mut self, event: &Event) {
        let Some(tell) = self.event else { return };
        let told = told(event);
        // SAFETY: the program's function, called with its own context and with an event that is readable.
        unsafe { tell(self.context, &raw const told) };
    }
}

fn told(event: &Event) -> SteadfastEvent {
    let router = u16::try_from(event.router.index()).unwrap_or(u16::MAX);
    let base = SteadfastEvent {
        at: event.at.as_micros(),
        router,
        kind: SteadfastEventKind::DualActive,
        from: SteadfastState::Active,
        to: SteadfastState::Active,
        reason: SteadfastReason::Startup,
        rival: SteadfastAddress::default(),
    };
    match event.kind {
        EventKind::Transition { from, to, reason } => SteadfastEvent {
            kind: SteadfastEventKind::Transition,
            from: from.into(),
            to: to.into(),
            reason: reason.into(),
            ..base
        },
        EventKind::DualActive { rival } => SteadfastEvent { rival: rival.into(), ..base },
    }
}
