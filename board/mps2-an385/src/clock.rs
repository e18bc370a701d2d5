//! Time: CMSDK timer 0 counts freely at 25 MHz and is read as microseconds, CMSDK timer 1 wakes the processor at a
//! deadline. No interrupt is counted, so none can be missed.

use steadfast_core::time::{Duration, Instant};
use steadfast_firmware::hardware::Extender;

use crate::registers::Registers;

const CTRL: usize = 0x0;
const VALUE: usize = 0x4;
const RELOAD: usize = 0x8;
const INTCLEAR: usize = 0xc;
const ENABLE: u32 = 1;
const INTERRUPT: u32 = 1 << 3;

/// Ticks a second, and in a microsecond.
const RATE: u32 = 25_000_000;
const MICROSECOND: u32 = 25;

/// The clock. It has to be read once in 171 s at least.
pub struct Time {
    timer: Registers,
    extender: Extender,
}

impl Time {
    /// Starts timer 0, which counts down from its greatest value.
    pub fn start() -> Self {
        // SAFETY: CMSDK timer 0 of the AN385.
        let timer = unsafe { Registers::at(0x4000_0000) };
        timer.write(CTRL, 0);
        timer.write(RELOAD, u32::MAX);
        timer.write(VALUE, u32::MAX);
        timer.write(CTRL, ENABLE);
        Self { timer, extender: Extender::new(RATE) }
    }

    /// The time since the start.
    pub fn now(&mut self) -> Instant {
        Instant::from_micros(self.extender.micros(!self.timer.read(VALUE)))
    }
}

/// Timer 1, which ends the sleep of the processor.
pub struct Alarm(Registers);

impl Alarm {
    /// The alarm, off.
    pub fn new() -> Self {
        // SAFETY: CMSDK timer 1 of the AN385.
        let timer = unsafe { Registers::at(0x4000_1000) };
        timer.write(CTRL, 0);
        Self(timer)
    }

    /// Asks for an interrupt after `span`, or a little later, but within 171 s; an earlier request is forgotten.
    pub fn set(&mut self, span: Duration) {
        let micros = u32::try_from(span.as_micros()).unwrap_or(u32::MAX);
        let ticks = micros.saturating_mul(MICROSECOND).max(1);
        self.0.write(CTRL, 0);
        self.0.write(INTCLEAR, 1);
        self.0.write(RELOAD, ticks);
        self.0.write(VALUE, ticks);
        self.0.write(CTRL, ENABLE | INTERRUPT);
    }
}
