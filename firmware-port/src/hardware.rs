//! What a board gives: a way to send, a receive filter, and a clock. Nothing here drives a chip, and nothing
//! waits.

use core::net::IpAddr;

use steadfast_core::agent::{Event, InterfaceId, RouterId};
use steadfast_core::time::Instant;
use steadfast_core::types::MacAddr;

/// There is no room for a frame at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// What differs between boards. No method waits; each may be called again with what holds already, which then
/// changes nothing. Where two interfaces share a chip (VLANs), the same MAC address may be asked for by both: it
/// is heard while one of them wants it.
pub trait NetworkHardware {
    /// Sends a frame, which has its 802.1Q tag if the interface has one; short frames are not padded, and the
    /// frame check sequence is the hardware's matter.
    ///
    /// # Errors
    ///
    /// [`Busy`] if there is no room now. An Advertisement is then lost, as one may be on the wire.
    fn send(&mut self, interface: InterfaceId, frame: &[u8]) -> Result<(), Busy>;

    /// The receive filter: frames to this virtual MAC address or multicast group are to be heard (`on`), or
    /// need not be any more. Hearing more than that is harmless: what is not ours is sorted out.
    fn hear(&mut self, interface: InterfaceId, address: MacAddr, on: bool);

    /// The host's own stack shall hold a virtual address (`on`), or let go of it. Only asked for where packets to
    /// it are accepted: Accept_Mode, or the owner (whose stack may hold it anyway).
    fn address(&mut self, interface: InterfaceId, router: RouterId, address: IpAddr, on: bool) {
        let _ = (interface, router, address, on);
    }

    /// A virtual MAC address has become ours, or has ceased to be: for the maker's forwarding plane, which
    /// routes packets that come to it, and for switch tables.
    fn virtual_mac(&mut self, interface: InterfaceId, address: MacAddr, ours: bool) {
        let _ = (interface, address, ours);
    }

    /// Something that an operator wants to know, for the log.
    fn notify(&mut self, event: &Event) {
        let _ = event;
    }
}

/// A monotonic clock.
pub trait Clock {
    /// Microseconds since an epoch of the board's choice; never less than before.
    fn micros(&self) -> u64;

    /// The same for the agent.
    fn now(&self) -> Instant {
        Instant::from_micros(self.micros())
    }
}

/// Extends a free-running counter of 32 bits that wraps to 64 bits, which do not. It has to be asked at least
/// once in each round of the counter: once in 71 minutes if it counts microseconds, in 171 s at 25 MHz.
///
/// ```
/// use steadfast_firmware::hardware::Extender;
///
/// let mut clock = Extender::new(25_000_000);
/// assert_eq!(clock.micros(50_000_000), 2_000_000);
/// // The counter has wrapped: it is less than before, and time goes on.
/// assert_eq!(clock.micros(0), 171_798_691);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Extender {
    /// Ticks a second.
    rate: u32,
    /// The last reading.
    last: u32,
    ticks: u64,
}

impl Extender {
    /// For a counter that counts up from 0 at `rate` ticks a second (at least one).
    pub const fn new(rate: u32) -> Self {
        Self { rate: if rate == 0 { 1 } else { rate }, last: 0, ticks: 0 }
    }

    /// Ticks since the counter was 0 for the first time, by its reading now.
    pub const fn ticks(&mut self, reading: u32) -> u64 {
        let passed = reading.wrapping_sub(self.last);
        self.last = reading;
        self.ticks = self.ticks.saturating_add(passed as u64);
        self.ticks
    }

    /// Microseconds since the counter was 0 for the first time, by its reading now.
    pub const fn micros(&mut self, reading: u32) -> u64 {
        let ticks = self.ticks(reading);
        let rate = self.rate as u64;
        // In two parts, so that nothing overflows within 500,000 years. `rate` is never 0.
        let (seconds, rest) = match (ticks.checked_div(rate), ticks.checked_rem(rate)) {
            (Some(seconds), Some(rest)) => (seconds, rest),
            _ => (0, 0),
        };
        let part = match rest.saturating_mul(1_000_000).checked_div(rate) {
            Some(part) => part,
            None => 0,
        };
        seconds.saturating_mul(1_000_000).saturating_add(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_across_the_wrap_of_the_counter() {
        let mut clock = Extender::new(1_000_000);
        let mut before = 0;
        let mut reading = 0_u32;
        // Ten rounds of the counter, in steps that do not divide it.
        for step in 1..=30_000_u64 {
            reading = reading.wrapping_add(1_431_655);
            let micros = clock.micros(reading);
            assert_eq!(micros, step * 1_431_655);
            assert!(micros > before);
            before = micros;
        }
        assert!(before > 10 * (1 << 32) - (1 << 32));
    }

    #[test]
    fn a_reading_just_before_and_after_the_wrap() {
        let mut clock = Extender::new(1_000_000);
        assert_eq!(clock.micros(u32::MAX), u64::from(u32::MAX));
        assert_eq!(clock.micros(u32::MAX), u64::from(u32::MAX));
        assert_eq!(clock.micros(0), 1 << 32);
        assert_eq!(clock.micros(u32::MAX), (1 << 33) - 1);
    }

    #[test]
    fn ticks_that_are_no_microseconds_keep_their_rest() {
        let mut clock = Extender::new(3);
        assert_eq!([1, 2, 3, 4].map(|reading| clock.micros(reading)), [333_333, 666_666, 1_000_000, 1_333_333]);
    }

    #[test]
    fn a_rate_of_nothing_does_no_harm() {
        assert_eq!(Extender::new(0).micros(5), 5_000_000);
    }
}
