//! The stored configuration: two slots in NOR flash, each a record of one text. The newest record that is whole is
//! the configuration; a power cut or a flipped bit leaves the other one. What the text means is not looked at here.
//!
//! A record is a header of 32 bytes and the text behind it. Numbers are little-endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0-3 | `SFVR` |
//! | 4-7 | version of the format, 1 |
//! | 8-11 | length of the text in bytes |
//! | 12-15 | sequence: the newer of two records has the higher one, in serial number arithmetic |
//! | 16-27 | 0 |
//! | 28-31 | CRC-32 (IEEE 802.3) of the header up to here and the text |
//!
//! Writing never touches the newest whole record: the other slot is erased, then the text is written, and the
//! header last. So there is no record in that slot until all of it is there.
//!
//! Erasing and writing take their time in any flash, and [`NorFlash`] waits for them. [`Store::step`] does one
//! sector or 32 bytes at once, so that the caller can do other things between.

use crc::{CRC_32_ISO_HDLC, Crc, Digest, NoTable};
use embedded_storage::nor_flash::NorFlash;

/// The length of a header, and of what is read and written at once.
const CHUNK: usize = 32;
/// The part of an offset that is inside a chunk.
const WITHIN: u32 = 31;
/// Where the header's checksum stands.
const SUM: usize = 28;
const MAGIC: [u8; 4] = *b"SFVR";
const VERSION: u32 = 1;

/// Without a table it is slow, and small.
static CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// Why a text was not stored. The newest record is what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError<E> {
    /// The text is longer than a slot.
    TooLong,
    /// The flash does not keep what is written to it.
    Worn,
    /// The flash says no.
    Flash(E),
}

/// The flash has no room for two slots where they were to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSlots;

/// A record that is whole.
#[derive(Clone, Copy, Debug)]
struct Record {
    /// Where its slot begins.
    slot: u32,
    sequence: u32,
    /// Of its text.
    length: u32,
}

/// Two slots of a flash.
#[derive(Debug)]
pub struct Store<F> {
    flash: F,
    slots: [u32; 2],
    /// The length of a slot.
    size: u32,
    newest: Option<Record>,
}

/// A text on its way into a slot; dropped before its end, it is not stored.
#[derive(Clone)]
pub struct Writing {
    record: Record,
    digest: Digest<'static, u32, NoTable>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// This much of the slot is erased.
    Erase(u32),
    /// This much of the text is written.
    Text(u32),
}

impl<F: NorFlash> Store<F> {
    /// The store in `length` bytes of the flash from `start` on, both whole sectors: one half of it is one slot, the
    /// other half the other. Both are read.
    ///
    /// # Errors
    ///
    /// [`NoSlots`] if that is not in the flash, or too little.
    pub fn new(mut flash: F, start: u32, length: u32) -> Result<Self, NoSlots> {
        const {
            assert!(CHUNK.is_multiple_of(F::WRITE_SIZE) && CHUNK.is_multiple_of(F::READ_SIZE));
            assert!(F::ERASE_SIZE.is_multiple_of(CHUNK));
        }
        let sector = F::ERASE_SIZE as u32;
        let size = (length / 2).checked_div(sector).ok_or(NoSlots)?.saturating_mul(sector);
        let second = start.checked_add(size).ok_or(NoSlots)?;
        let end = second.checked_add(size).ok_or(NoSlots)?;
        if size == 0 || !start.is_multiple_of(sector) || end as usize > flash.capacity() {
            return Err(NoSlots);
        }
        let slots = [start, second];
        let [first, second] = slots.map(|slot| find(&mut flash, slot, size));
        let newest = match (first, second) {
            (Some(first), Some(second)) => Some(if newer(first.sequence, second.sequence) { first } else { second }),
            (one, other) => one.or(other),
        };
        Ok(Self { flash, slots, size, newest })
    }

    /// How long the stored text is; `None` if there is none.
    pub fn stored(&self) -> Option<usize> {
        self.newest.map(|record| record.length as usize)
    }

    /// Reads the stored text from `offset` on into `buffer`; how much there was.
    pub fn read(&mut self, offset: usize, buffer: &mut [u8]) -> usize {
        let (Some(record), Ok(offset)) = (self.newest, u32::try_from(offset)) else { return 0 };
        let mut read = 0_usize;
        let whole = pieces(&mut self.flash, &record, offset, &mut |piece| {
            let room = buffer.get_mut(read..).unwrap_or(&mut []);
            for (place, byte) in room.iter_mut().zip(piece) {
                *place = *byte;
                read = read.saturating_add(1);
            }
            read < buffer.len()
        });
        if whole.is_ok() { read } else { 0 }
    }

    /// Begins to store `text`, which [`step`](Self::step) does.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLong`].
    pub fn begin(&self, text: &[u8]) -> Result<Writing, StoreError<F::Error>> {
        let length = u32::try_from(text.len()).map_err(|_| StoreError::TooLong)?;
        if length > self.size.saturating_sub(CHUNK as u32) {
            return Err(StoreError::TooLong);
        }
        let [first, second] = self.slots;
        let slot = match self.newest {
            Some(newest) if newest.slot == first => second,
            _ => first,
        };
        let sequence = self.newest.map_or(0, |newest| newest.sequence.wrapping_add(1));
        let record = Record { slot, sequence, length };
        let mut digest = CRC.digest();
        digest.update(record.header(0).get(..SUM).unwrap_or(&[]));
        Ok(Writing { record, digest, stage: Stage::Erase(0) })
    }

    /// Goes on storing `text`, the one that it began with; whether it is stored now.
    ///
    /// # Errors
    ///
    /// [`StoreError::Worn`] or [`StoreError::Flash`]; there is nothing to be gone on with then.
    pub fn step(&mut self, writing: &mut Writing, text: &[u8]) -> Result<bool, StoreError<F::Error>> {
        let Writing { record, digest, stage } = writing;
        match *stage {
            Stage::Erase(done) => {
                let from = record.slot.saturating_add(done);
                let to = from.saturating_add(F::ERASE_SIZE as u32);
                self.flash.erase(from, to).map_err(StoreError::Flash)?;
                let done = done.saturating_add(F::ERASE_SIZE as u32);
                let needed = record.length.saturating_add(CHUNK as u32);
                *stage = if done < needed { Stage::Erase(done) } else { Stage::Text(0) };
                Ok(false)
            }
            Stage::Text(done) if done < record.length => {
                let rest = text.get(done as usize..record.length as usize).unwrap_or(&[]);
                let piece = rest.get(..CHUNK).unwrap_or(rest);
                let mut chunk = [0xff; CHUNK];
                for (place, byte) in chunk.iter_mut().zip(piece) {
                    *place = *byte;
                }
                digest.update(piece);
                let at = record.slot.saturating_add(CHUNK as u32).saturating_add(done);
                self.write(at, &chunk)?;
                *stage = Stage::Text(done.saturating_add(CHUNK as u32));
                Ok(false)
            }
            Stage::Text(_) => {
                self.write(record.slot, &record.header(digest.clone().finalize()))?;
                self.newest = Some(*record);
                Ok(true)
            }
        }
    }

    fn write(&mut self, at: u32, chunk: &[u8; CHUNK]) -> Result<(), StoreError<F::Error>> {
        self.flash.write(at, chunk).map_err(StoreError::Flash)?;
        let mut back = [0; CHUNK];
        self.flash.read(at, &mut back).map_err(StoreError::Flash)?;
        if back == *chunk { Ok(()) } else { Err(StoreError::Worn) }
    }
}

impl Record {
    fn header(&self, sum: u32) -> [u8; CHUNK] {
        let words = [u32::from_le_bytes(MAGIC), VERSION, self.length, self.sequence, 0, 0, 0, sum];
        let mut header = [0; CHUNK];
        for (place, word) in header.as_chunks_mut().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        header
    }
}

/// Whether one sequence number is that of the newer record. They differ by one, if the flash is nobody else's.
fn newer(one: u32, other: u32) -> bool {
    one.wrapping_sub(other) < 1 << 31
}

/// The record in a slot, if it is whole.
fn find<F: NorFlash>(flash: &mut F, slot: u32, size: u32) -> Option<Record> {
    let mut header = [0; CHUNK];
    flash.read(slot, &mut header).ok()?;
    let mut words = [0; CHUNK / 4];
    for (word, bytes) in words.iter_mut().zip(header.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    let [magic, VERSION, length, sequence, .., sum] = words else { return None };
    if magic != u32::from_le_bytes(MAGIC) || length > size.saturating_sub(CHUNK as u32) {
        return None;
    }
    let record = Record { slot, sequence, length };
    let mut digest = CRC.digest();
    digest.update(header.get(..SUM)?);
    pieces(flash, &record, 0, &mut |piece| {
        digest.update(piece);
        true
    })
    .ok()?;
    (digest.finalize() == sum).then_some(record)
}

/// Hands the text of a record, from `offset` on, to `take` in pieces, until it wants no more.
fn pieces<F: NorFlash>(
    flash: &mut F,
    record: &Record,
    offset: u32,
    take: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<(), F::Error> {
    let mut at = offset;
    while at < record.length {
        let skip = at & WITHIN;
        let base = at.saturating_sub(skip);
        let mut chunk = [0; CHUNK];
        flash.read(record.slot.saturating_add(CHUNK as u32).saturating_add(base), &mut chunk)?;
        let end = record.length.saturating_sub(base).min(CHUNK as u32);
        if !take(chunk.get(skip as usize..end as usize).unwrap_or(&[])) {
            break;
        }
        at = base.saturating_add(end);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
