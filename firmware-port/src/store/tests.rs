//! The store over a simulated NOR flash: power cuts at every step of what the flash does, bits that flip, flashes
//! that are worn or do not answer.

extern crate std;

use std::vec;
use std::vec::Vec;

use embedded_storage::nor_flash::{ErrorType, NorFlashError, NorFlashErrorKind, ReadNorFlash};

use super::*;

const SECTOR: usize = 64;
const SLOT: usize = 3 * SECTOR;

const A: &[u8] = b"vrrp_instance A {\n  interface eth0\n  virtual_router_id 1\n  virtual_ipaddress { 192.0.2.1 }\n}\n";
const B: &[u8] = b"vrrp_instance B { interface eth0 virtual_router_id 2 }\n";
const C: &[u8] = b"# nothing at all, in a few more words than fit into one of the sectors\n";

/// NOR flash: erasing sets sectors to ones, writing clears bits. `power` is how many bytes it still erases or
/// writes; what is under way when it goes out is left half done.
struct Flash {
    bytes: Vec<u8>,
    power: usize,
    noise: u32,
    /// A bit that cannot be cleared any more.
    stuck: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PowerCut;

impl NorFlashError for PowerCut {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl Flash {
    fn new() -> Self {
        // What was there before is no record.
        Self { bytes: vec![0x5a; 2 * SLOT], power: usize::MAX, noise: 1, stuck: None }
    }

    fn noise(&mut self) -> u8 {
        self.noise = self.noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.noise >> 24) as u8
    }

    /// One byte is about to change; false if the power goes out in the midst of it.
    fn change(&mut self) -> Result<bool, PowerCut> {
        match self.power {
            0 => Err(PowerCut),
            1 => {
                self.power = 0;
                Ok(false)
            }
            usize::MAX => Ok(true),
            _ => {
                self.power -= 1;
                Ok(true)
            }
        }
    }
}

impl ErrorType for &mut Flash {
    type Error = PowerCut;
}

impl ReadNorFlash for &mut Flash {
    const READ_SIZE: usize = 4;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), PowerCut> {
        if self.power == 0 {
            return Err(PowerCut);
        }
        let offset = offset as usize;
        assert!(offset.is_multiple_of(4) && bytes.len().is_multiple_of(4));
        bytes.copy_from_slice(&self.bytes[offset..offset + bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl NorFlash for &mut Flash {
    const WRITE_SIZE: usize = 8;
    const ERASE_SIZE: usize = SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), PowerCut> {
        let (from, to) = (from as usize, to as usize);
        assert!(from.is_multiple_of(SECTOR) && to.is_multiple_of(SECTOR) && from < to);
        for at in from..to {
            if !self.change()? {
                // The whole sector is somewhere between what it was and ones.
                for at in from..to {
                    self.bytes[at] |= self.noise();
                }
                return Err(PowerCut);
            }
            self.bytes[at] = 0xff;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), PowerCut> {
        let offset = offset as usize;
        assert!(offset.is_multiple_of(8) && bytes.len().is_multiple_of(8));
        for (at, byte) in (offset..).zip(bytes) {
            let whole = self.change()?;
            let torn = if whole { 0 } else { self.noise() };
            self.bytes[at] &= byte | torn;
            if self.stuck == Some(at) {
                self.bytes[at] |= 1;
            }
            if !whole {
                return Err(PowerCut);
            }
        }
        Ok(())
    }
}

fn open(flash: &mut Flash) -> Store<&mut Flash> {
    Store::new(flash, 0, 2 * SLOT as u32).unwrap()
}

fn text(store: &mut Store<&mut Flash>) -> Option<Vec<u8>> {
    let mut buffer = vec![0; store.stored()?];
    assert_eq!(store.read(0, &mut buffer), buffer.len());
    Some(buffer)
}

fn save(store: &mut Store<&mut Flash>, text: &[u8]) -> Result<(), StoreError<PowerCut>> {
    let mut writing = store.begin(text)?;
    // Bounded: sectors, pieces and the header.
    for _ in 0..SLOT / SECTOR + SLOT / CHUNK + 1 {
        if store.step(&mut writing, text)? {
            return Ok(());
        }
    }
    panic!("it does not end");
}

/// A flash with a text in it, and what it takes to store another.
fn with(texts: &[&[u8]]) -> Flash {
    let mut flash = Flash::new();
    let mut store = open(&mut flash);
    texts.iter().for_each(|text| save(&mut store, text).unwrap());
    flash
}

#[test]
fn the_newest_text_is_found_again() {
    let mut flash = Flash::new();
    assert_eq!(text(&mut open(&mut flash)), None);
    for stored in [A, B, C, b"", A, A] {
        let mut store = open(&mut flash);
        save(&mut store, stored).unwrap();
        assert_eq!(text(&mut store).unwrap(), stored);
        assert_eq!(text(&mut open(&mut flash)).unwrap(), stored);
    }
}

#[test]
fn a_text_can_be_read_from_anywhere() {
    let mut flash = with(&[A]);
    let mut store = open(&mut flash);
    for offset in 0..A.len() + 3 {
        for length in 0..80 {
            let mut buffer = [0; 80];
            let read = store.read(offset, &mut buffer[..length]);
            assert_eq!(
                &buffer[..read],
                A.get(offset..).unwrap_or(&[]).get(..length).unwrap_or(&A[offset.min(A.len())..])
            );
        }
    }
}

/// The bytes of a record, with the checksum as zlib computes it.
#[test]
fn a_record_byte_by_byte() {
    let mut flash = Flash::new();
    let mut store = open(&mut flash);
    let stored = b"vrrp_instance V { }\n";
    for _ in 0..8 {
        save(&mut store, stored).unwrap();
    }
    let mut record = Vec::from(*b"SFVR\x01\0\0\0\x14\0\0\0\x07\0\0\0");
    record.extend([0; 12]);
    record.extend(CRC_OF_RECORD.to_le_bytes());
    record.extend(stored);
    record.resize(CHUNK + CHUNK, 0xff);
    assert_eq!(flash.bytes[SLOT..SLOT + record.len()], record);
}

const CRC_OF_RECORD: u32 = 0x9ca1_4a3f;

#[test]
fn a_power_cut_at_any_byte_leaves_a_whole_text_and_so_does_a_second_one() {
    for first_cut in 1.. {
        let mut flash = with(&[A]);
        flash.noise = first_cut as u32;
        flash.power = first_cut;
        let done = save(&mut open_with_power(&mut flash), B);
        flash.power = usize::MAX;
        let after = text(&mut open(&mut flash)).unwrap();
        assert!(after == A || after == B, "{first_cut}: {after:?}");
        assert!(done.is_err() || after == B, "{first_cut}");
        let snapshot = flash.bytes.clone();
        for second_cut in 1.. {
            flash.bytes.clone_from(&snapshot);
            flash.power = second_cut;
            let done = save(&mut open_with_power(&mut flash), C);
            flash.power = usize::MAX;
            let last = text(&mut open(&mut flash)).unwrap();
            assert!(last == after || last == C, "{first_cut}, {second_cut}: {last:?}");
            if done.is_ok() {
                assert_eq!(last, C);
                break;
            }
        }
        if done.is_ok() {
            return;
        }
    }
}

/// Opening changes nothing, so that it takes no power.
fn open_with_power(flash: &mut Flash) -> Store<&mut Flash> {
    let power = flash.power;
    let store = open(flash);
    assert_eq!(store.flash.power, power);
    store
}

#[test]
fn any_flipped_bit_leaves_a_whole_text() {
    let mut flash = with(&[A, B]);
    let whole = flash.bytes.clone();
    // The second slot has B.
    for bit in 0..8 * whole.len() {
        flash.bytes.clone_from(&whole);
        flash.bytes[bit / 8] ^= 1 << (bit % 8);
        let found = text(&mut open(&mut flash)).unwrap();
        let hit = (8 * SLOT..8 * (SLOT + CHUNK + B.len())).contains(&bit);
        assert_eq!(found, if hit { A } else { B }, "bit {bit}");
        // What is left can be replaced.
        save(&mut open(&mut flash), C).unwrap();
        assert_eq!(text(&mut open(&mut flash)).unwrap(), C, "bit {bit}");
    }
}

#[test]
fn a_text_that_is_too_long_is_refused_before_anything_is_erased() {
    let mut flash = with(&[A]);
    let before = flash.bytes.clone();
    let longest = [b'#'; SLOT - CHUNK];
    let mut store = open(&mut flash);
    assert_eq!(save(&mut store, &[b'#'; SLOT - CHUNK + 1]), Err(StoreError::TooLong));
    assert_eq!(store.flash.bytes, before);
    save(&mut store, &longest).unwrap();
    assert_eq!(text(&mut open(&mut flash)).unwrap(), longest);
}

#[test]
fn a_flash_that_does_not_keep_what_is_written_is_noticed() {
    let mut flash = with(&[A]);
    // A byte of the text with its last bit clear.
    flash.stuck = Some(SLOT + CHUNK + B.iter().position(|byte| byte & 1 == 0).unwrap());
    assert_eq!(save(&mut open(&mut flash), B), Err(StoreError::Worn));
    assert_eq!(text(&mut open(&mut flash)).unwrap(), A);
}

#[test]
fn sequence_numbers_go_round() {
    let mut flash = with(&[A, B]);
    let mut store = open(&mut flash);
    store.newest = store.newest.map(|newest| Record { sequence: u32::MAX - 1, ..newest });
    for stored in [A, B, C, A, B] {
        save(&mut store, stored).unwrap();
    }
    assert_eq!(text(&mut open(&mut flash)).unwrap(), B);
}

#[test]
fn there_must_be_room_for_two_slots() {
    let room = |start, length| Store::new(&mut Flash::new(), start, length).is_ok();
    assert!(room(0, 2 * SLOT as u32) && room(SECTOR as u32, 2 * SECTOR as u32));
    assert!(!room(1, 2 * SECTOR as u32), "not at a sector");
    assert!(!room(0, SECTOR as u32) && !room(0, 0));
    assert!(!room(SLOT as u32, 2 * SLOT as u32), "not in the flash");
    assert!(!room(u32::MAX - 63, 2 * SLOT as u32) && !room(0, u32::MAX));
}
