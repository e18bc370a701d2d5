//! Sleep without interrupt handlers. PRIMASK stays set, so no handler ever runs and nothing is shared with one; an
//! interrupt that is enabled still ends WFI when it becomes pending. Between clearing what is pending and sleeping
//! the main loop drains every device, so nothing that arrives meanwhile is slept through.

use core::arch::asm;

use crate::registers::Registers;

/// Set enable, clear pending: the first 32 interrupts.
const ISER: usize = 0x100;
const ICPR: usize = 0x280;

/// UART 0 receives, UART 0 has sent, timer 1, Ethernet.
const USED: u32 = 1 << 0 | 1 << 1 | 1 << 9 | 1 << 13;

/// What can wake the processor.
pub struct Interrupts(Registers);

impl Interrupts {
    /// Masks the handlers and enables the interrupts.
    pub fn new() -> Self {
        cortex_m::interrupt::disable();
        // SAFETY: the system control space of every Cortex-M3.
        let nvic = unsafe { Registers::at(0xe000_e000) };
        nvic.write(ICPR, USED);
        nvic.write(ISER, USED);
        Self(nvic)
    }

    /// Forgets what is pending; every device is looked at after this.
    pub fn clear(&mut self) {
        self.0.write(ICPR, USED);
    }

    /// Sleeps until something is pending.
    pub fn wait(&mut self) {
        // SAFETY: waits for an interrupt, and touches no memory; the handler is masked.
        unsafe { asm!("dsb", "wfi", options(nomem, nostack, preserves_flags)) };
    }
}
