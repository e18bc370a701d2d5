//! The CMSDK watchdog: a main loop that makes no progress for two seconds is restarted. It counts down twice: the
//! first time it raises the NMI, which says where the processor hangs, the second time it resets the board.

use crate::registers::Registers;

const LOAD: usize = 0x0;
const CTRL: usize = 0x8;
const INTCLEAR: usize = 0xc;
const LOCK: usize = 0xc00;
const INTERRUPT: u32 = 1;
const RESET: u32 = 1 << 1;
/// What unlocks the registers.
const KEY: u32 = 0x1acc_e551;
/// One second at 25 MHz.
const SECOND: u32 = 25_000_000;

/// The watchdog, running.
pub struct Watchdog(Registers);

impl Watchdog {
    /// Starts it.
    pub fn start() -> Self {
        // SAFETY: the CMSDK watchdog of the AN385.
        let watchdog = unsafe { Registers::at(0x4000_8000) };
        watchdog.write(LOCK, KEY);
        watchdog.write(LOAD, SECOND);
        watchdog.write(CTRL, INTERRUPT | RESET);
        Self(watchdog)
    }

    /// The main loop has come round.
    pub fn feed(&mut self) {
        // Reloads the counter too.
        self.0.write(INTCLEAR, 1);
    }
}
