//! How deep the stack has ever been: what has not been used since the start still has the paint on it.

use core::ptr;

const PAINT: u32 = 0x5afe_57ac;

unsafe extern "C" {
    // Set by memory.x: the stack grows down from the first to the second.
    static _stack_start: u32;
    static _stack_end: u32;
}

/// Where the stack ends.
pub fn lowest() -> usize {
    (&raw const _stack_end).expose_provenance()
}

/// Paints what is not in use.
pub fn paint() {
    // Some distance from here, for this function and what it calls.
    let here = cortex_m::register::msp::read() as usize;
    for place in (lowest()..here.saturating_sub(256)).step_by(4) {
        // SAFETY: below the stack pointer, within the stack: nothing that lives is there, and no handler runs.
        unsafe { ptr::with_exposed_provenance_mut::<u32>(place).write_volatile(PAINT) };
    }
}

/// The deepest use and the size of the stack, in bytes.
pub fn depth() -> (usize, usize) {
    let (lowest, highest) = (lowest(), (&raw const _stack_start).expose_provenance());
    let painted = (lowest..highest)
        .step_by(4)
        // SAFETY: within the stack; whatever is there may be read as a number, for nobody else runs.
        .take_while(|&place| unsafe { ptr::with_exposed_provenance::<u32>(place).read_volatile() } == PAINT)
        .count();
    let size = highest.saturating_sub(lowest);
    (size.saturating_sub(painted.saturating_mul(4)), size)
}
