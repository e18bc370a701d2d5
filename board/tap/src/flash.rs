//! The flash of this board, for the configuration that the console stores: two sectors in memory, and in a file if one
//! is named, so that it outlives the process.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

const SECTOR: usize = 64 << 10;
/// All of it: two slots of one sector.
pub(crate) const SIZE: usize = 2 * SECTOR;

/// The flash.
#[derive(Debug)]
pub(crate) struct Flash {
    bytes: Vec<u8>,
    file: Option<File>,
}

impl Flash {
    /// The flash in a file, which is made if it is not there, or in memory.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Self> {
        let Some(path) = path else { return Ok(Self { bytes: vec![0xff; SIZE], file: None }) };
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        let mut bytes = fs::read(path)?;
        bytes.resize(SIZE, 0xff);
        Ok(Self { bytes, file: Some(file) })
    }

    fn keep(&mut self, at: usize, length: usize) -> Result<(), Fault> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let part = self.bytes.get(at..at + length).ok_or(Fault(NorFlashErrorKind::OutOfBounds))?;
        let written = file.seek(SeekFrom::Start(at as u64)).and_then(|_| file.write_all(part));
        written.map_err(|_| Fault(NorFlashErrorKind::Other))
    }
}

/// Not in the flash, or the file cannot be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault(NorFlashErrorKind);

impl NorFlashError for Fault {
    fn kind(&self) -> NorFlashErrorKind {
        self.0
    }
}

impl ErrorType for Flash {
    type Error = Fault;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Fault> {
        let at = offset as usize;
        let part = self.bytes.get(at..at + bytes.len()).ok_or(Fault(NorFlashErrorKind::OutOfBounds))?;
        bytes.copy_from_slice(part);
        Ok(())
    }

    fn capacity(&self) -> usize {
        SIZE
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Fault> {
        let (from, to) = (from as usize, to as usize);
        self.bytes.get_mut(from..to).ok_or(Fault(NorFlashErrorKind::OutOfBounds))?.fill(0xff);
        self.keep(from, to - from)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Fault> {
        let at = offset as usize;
        let part = self.bytes.get_mut(at..at + bytes.len()).ok_or(Fault(NorFlashErrorKind::OutOfBounds))?;
        // What is written can only clear bits.
        part.iter_mut().zip(bytes).for_each(|(place, byte)| *place &= byte);
        self.keep(at, bytes.len())
    }
}
