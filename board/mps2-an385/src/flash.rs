//! The flash that the configuration is stored in. The board has none that a program can write, so the PSRAM plays it,
//! with the manners of NOR flash: erasing sets a whole sector to ones, and writing can only clear bits. QEMU keeps it
//! in a file (see `run`), so that it outlives a power cut.

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

use crate::registers::Registers;

/// What is erased at once.
const SECTOR: u32 = 4096;
/// All of it: two slots of one sector.
pub const SIZE: u32 = 2 * SECTOR;

/// The flash.
pub struct Flash(Registers);

/// What was asked for is not in the flash, or not whole words or sectors of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfBounds;

impl NorFlashError for OutOfBounds {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::OutOfBounds
    }
}

impl Flash {
    /// The flash.
    pub fn new() -> Self {
        // SAFETY: 16 MiB of PSRAM, in which the linker puts nothing.
        Self(unsafe { Registers::at(0x2100_0000) })
    }

    /// Checks that a part of the flash is there, and whole units of it.
    fn part(from: u32, length: usize, unit: u32) -> Result<(), OutOfBounds> {
        let length = u32::try_from(length).map_err(|_| OutOfBounds)?;
        let end = from.checked_add(length).ok_or(OutOfBounds)?;
        let whole = from.is_multiple_of(unit) && length.is_multiple_of(unit);
        if end <= SIZE && whole { Ok(()) } else { Err(OutOfBounds) }
    }
}

impl ErrorType for Flash {
    type Error = OutOfBounds;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        Self::part(offset, bytes.len(), 1)?;
        for (place, at) in bytes.iter_mut().zip(offset as usize..) {
            *place = (self.0.read(at & !3) >> (8 * (at & 3))) as u8;
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        SIZE as usize
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = SECTOR as usize;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), OutOfBounds> {
        Self::part(from, to.checked_sub(from).ok_or(OutOfBounds)? as usize, SECTOR)?;
        for at in (from as usize..to as usize).step_by(4) {
            self.0.write(at, u32::MAX);
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), OutOfBounds> {
        Self::part(offset, bytes.len(), 4)?;
        for (word, at) in bytes.as_chunks().0.iter().zip((offset as usize..).step_by(4)) {
            self.0.write(at, self.0.read(at) & u32::from_le_bytes(*word));
        }
        Ok(())
    }
}
