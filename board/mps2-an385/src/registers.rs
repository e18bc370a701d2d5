//! Memory-mapped registers: the one place where a device is read and written. What the registers mean is said by
//! the drivers.

use core::ptr;

/// The 32-bit registers of one device.
pub struct Registers {
    base: usize,
}

impl Registers {
    /// The device whose registers begin at `base`.
    ///
    /// # Safety
    /// From `base` on, as far as offsets will be asked for, there are registers of a device: reading and writing
    /// them has no effect on memory that Rust knows of.
    pub const unsafe fn at(base: usize) -> Self {
        Self { base }
    }

    /// Reads the register at `offset` bytes.
    pub fn read(&self, offset: usize) -> u32 {
        // SAFETY: `at` was promised a device here, and the drivers use offsets of its registers, which are multiples
        // of 4.
        unsafe { ptr::with_exposed_provenance::<u32>(self.base.wrapping_add(offset)).read_volatile() }
    }

    /// Writes the register at `offset` bytes.
    pub fn write(&self, offset: usize, value: u32) {
        // SAFETY: as for `read`.
        unsafe { ptr::with_exposed_provenance_mut::<u32>(self.base.wrapping_add(offset)).write_volatile(value) }
    }
}
