//! The SMSC LAN911x family (the AN385 has a LAN9220, QEMU gives a LAN9118): an Ethernet controller with FIFOs in front
//! of it and without DMA. Frames in and out, the receive filter, and the link. What is in a frame is not known here.

use heapless::Vec;
use steadfast_core::types::MacAddr;
use steadfast_firmware::hardware::Busy;

use crate::registers::Registers;

const RX_DATA: usize = 0x00;
const TX_DATA: usize = 0x20;
const RX_STATUS: usize = 0x40;
const TX_STATUS: usize = 0x48;
const ID_REV: usize = 0x50;
const IRQ_CFG: usize = 0x54;
const INT_STS: usize = 0x58;
const INT_EN: usize = 0x5c;
const BYTE_TEST: usize = 0x64;
const FIFO_INT: usize = 0x68;
const RX_CFG: usize = 0x6c;
const TX_CFG: usize = 0x70;
const HW_CFG: usize = 0x74;
const RX_FIFO_INF: usize = 0x7c;
const TX_FIFO_INF: usize = 0x80;
const MAC_CSR_CMD: usize = 0xa4;
const MAC_CSR_DATA: usize = 0xa8;
const AFC_CFG: usize = 0xac;

// Registers of the MAC, behind MAC_CSR.
const MAC_CR: u32 = 1;
const ADDRH: u32 = 2;
const ADDRL: u32 = 3;
const HASHH: u32 = 4;
const HASHL: u32 = 5;
const MII_ACC: u32 = 6;
const MII_DATA: u32 = 7;

// Registers of the PHY, behind MII.
const BASIC_CONTROL: u32 = 0;
const BASIC_STATUS: u32 = 1;
const ADVERTISE: u32 = 4;
const INTERRUPT_SOURCE: u32 = 29;
const INTERRUPT_MASK: u32 = 30;

const ALIVE: u32 = 0x8765_4321;
const SOFT_RESET: u32 = 1;
const PHY_INTERRUPT: u32 = 1 << 18;
const RX_INTERRUPT: u32 = 1 << 3;
const BUSY: u32 = 1 << 31;
const MAC_READ: u32 = 1 << 30;
/// Full duplex, hash filter for unicast and for multicast, transmitter, receiver.
const MAC_ON: u32 = 1 << 20 | 1 << 15 | 1 << 13 | 1 << 3 | 1 << 2;
/// The PHY says that the link has come or gone.
const LINK_INTERRUPTS: u32 = 1 << 6 | 1 << 4;
const LINK_UP: u32 = 1 << 2;

/// An Ethernet frame without its check sequence: shortest, and longest with an 802.1Q tag.
const SHORTEST: usize = 60;
const LONGEST: usize = 1518;

/// How many addresses the receive filter can tell apart from none: enough for the virtual MAC addresses and groups of
/// the image's Virtual Routers.
const ADDRESSES: usize = 32;

/// How often a register is read that should soon change: a chip that does not answer is not waited for.
const PATIENCE: usize = 100_000;

/// What keeps the chip from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No chip answers, or not one of this family.
    Absent,
    /// It does not come out of its reset.
    Stuck,
}

/// The controller, running.
pub struct Lan9118 {
    registers: Registers,
    station: MacAddr,
    /// What shall be heard beside the station address, and for whom.
    heard: Vec<(u8, MacAddr), ADDRESSES>,
    /// There were more: everything is heard from then on.
    overflown: bool,
    /// Frames that were longer than the buffer, or that the chip has marked as damaged.
    discarded: u32,
}

impl Lan9118 {
    /// Resets the chip and switches it on. It hears its station address and broadcasts.
    pub fn start() -> Result<Self, Fault> {
        // SAFETY: the Ethernet controller of the AN385.
        let registers = unsafe { Registers::at(0x4020_0000) };
        let mut chip = Self { registers, station: MacAddr([0; 6]), heard: Vec::new(), overflown: false, discarded: 0 };
        chip.until(Fault::Absent, |chip| chip.registers.read(BYTE_TEST) == ALIVE)?;
        // 9115 to 9118, 9215 to 9218, 9210, 9211, 9220, 9221.
        let id = chip.registers.read(ID_REV) >> 16;
        if !matches!(id, 0x0115..=0x0118 | 0x115a..=0x118a | 0x9210 | 0x9211 | 0x9220 | 0x9221) {
            return Err(Fault::Absent);
        }
        chip.registers.write(HW_CFG, SOFT_RESET);
        chip.until(Fault::Stuck, |chip| chip.registers.read(HW_CFG) & SOFT_RESET == 0)?;
        // 5 KiB for frames that leave, 10.5 KiB for those that arrive.
        chip.registers.write(HW_CFG, 1 << 20 | 5 << 16);
        chip.registers.write(AFC_CFG, 0x006e_3740);
        let [low, high] = [chip.mac_read(ADDRL), chip.mac_read(ADDRH)];
        let ([a, b, c, d], [e, f, _, _]) = (low.to_le_bytes(), high.to_le_bytes());
        chip.station = MacAddr([a, b, c, d, e, f]);
        chip.set_filter();
        chip.start_phy()?;
        // Push-pull and active high, on; the first frame and any change of the link interrupt.
        chip.registers.write(IRQ_CFG, 1 << 8 | 1 << 4 | 1);
        chip.registers.write(INT_STS, u32::MAX);
        chip.registers.write(FIFO_INT, 0x4800_0000);
        chip.registers.write(INT_EN, RX_INTERRUPT | PHY_INTERRUPT);
        chip.registers.write(RX_CFG, 0);
        chip.registers.write(TX_CFG, 1 << 2 | 1 << 1);
        chip.mac_write(MAC_CR, MAC_ON);
        Ok(chip)
    }

    fn start_phy(&mut self) -> Result<(), Fault> {
        self.phy_write(BASIC_CONTROL, 1 << 15);
        self.until(Fault::Stuck, |chip| chip.phy_read(BASIC_CONTROL) & 1 << 15 == 0)?;
        // 10 and 100 Mbit/s, half and full duplex; negotiate.
        self.phy_write(ADVERTISE, 0x01e1);
        self.phy_write(BASIC_CONTROL, 1 << 12 | 1 << 9);
        self.phy_read(INTERRUPT_SOURCE);
        self.phy_write(INTERRUPT_MASK, LINK_INTERRUPTS);
        Ok(())
    }

    /// The address that is burnt into the chip's EEPROM; QEMU's `mac=`.
    pub fn station(&self) -> MacAddr {
        self.station
    }

    /// Frames that were received and thrown away here.
    pub fn discarded(&self) -> u32 {
        self.discarded
    }

    /// Whether there is a link.
    pub fn link(&mut self) -> bool {
        // What went down in between is latched: the second reading is how it is now.
        self.phy_read(BASIC_STATUS);
        self.phy_read(BASIC_STATUS) & LINK_UP != 0
    }

    /// Takes back the interrupt; whether the link may have changed. Every frame is taken after this.
    pub fn acknowledge(&mut self) -> bool {
        let status = self.registers.read(INT_STS);
        self.registers.write(INT_STS, status);
        let link = status & PHY_INTERRUPT != 0;
        if link {
            self.phy_read(INTERRUPT_SOURCE);
        }
        link
    }

    /// Hears frames to an address on behalf of an interface, or ceases to. Others that fall on the same bit of the
    /// hash are heard as well, so whoever reads the frames has to look at their address.
    pub fn hear(&mut self, interface: u8, mac: MacAddr, on: bool) {
        let known = self.heard.iter().position(|entry| *entry == (interface, mac));
        match known {
            Some(place) if !on => {
                self.heard.swap_remove(place);
            }
            None if on => self.overflown |= self.heard.push((interface, mac)).is_err(),
            _ => return,
        }
        self.set_filter();
    }

    fn set_filter(&mut self) {
        let wanted = self.heard.iter().map(|(_, mac)| *mac).chain([self.station]);
        let bits = wanted.fold(if self.overflown { u64::MAX } else { 0 }, |bits, mac| bits | 1 << hash(mac));
        self.mac_write(HASHH, (bits >> 32) as u32);
        self.mac_write(HASHL, bits as u32);
    }

    /// The next frame, without its check sequence: how much of the buffer it takes.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        while self.registers.read(RX_FIFO_INF) >> 16 & 0xff != 0 {
            let status = self.registers.read(RX_STATUS);
            let on_wire = (status >> 16 & 0x3fff) as usize;
            let words = on_wire.div_ceil(4);
            let length = on_wire.saturating_sub(4);
            let good = status & 1 << 15 == 0;
            match buffer.get_mut(..length) {
                Some(frame) if good && length >= 14 => {
                    let (whole, rest) = frame.as_chunks_mut();
                    for place in whole {
                        *place = self.registers.read(RX_DATA).to_le_bytes();
                    }
                    // The last bytes share a word with the check sequence, which ends in one more.
                    let mut left = words.saturating_sub(length / 4);
                    if !rest.is_empty() {
                        let last = self.registers.read(RX_DATA).to_le_bytes();
                        rest.iter_mut().zip(last).for_each(|(place, byte)| *place = byte);
                        left = left.saturating_sub(1);
                    }
                    self.skip(left);
                    return Some(length);
                }
                _ => {
                    self.skip(words);
                    self.discarded = self.discarded.saturating_add(1);
                }
            }
        }
        None
    }

    fn skip(&mut self, words: usize) {
        for _ in 0..words {
            self.registers.read(RX_DATA);
        }
    }

    /// Sends a frame, padded to what Ethernet wants.
    pub fn send(&mut self, frame: &[u8]) -> Result<(), Busy> {
        let length = frame.len().clamp(SHORTEST, LONGEST);
        let free = self.registers.read(TX_FIFO_INF);
        if (free & 0xffff) < length as u32 + 12 {
            return Err(Busy);
        }
        for _ in 0..free >> 16 & 0xff {
            self.registers.read(TX_STATUS);
        }
        // One buffer is the whole frame.
        self.registers.write(TX_DATA, 1 << 13 | 1 << 12 | length as u32);
        self.registers.write(TX_DATA, length as u32);
        let mut bytes = frame.iter().copied().take(LONGEST).chain(core::iter::repeat(0));
        for _ in 0..length.div_ceil(4) {
            let word = [(); 4].map(|()| bytes.next().unwrap_or(0));
            self.registers.write(TX_DATA, u32::from_le_bytes(word));
        }
        Ok(())
    }

    fn until(&mut self, fault: Fault, mut done: impl FnMut(&mut Self) -> bool) -> Result<(), Fault> {
        if (0..PATIENCE).any(|_| done(self)) { Ok(()) } else { Err(fault) }
    }

    fn mac_idle(&mut self) {
        let _ = self.until(Fault::Stuck, |chip| chip.registers.read(MAC_CSR_CMD) & BUSY == 0);
    }

    fn mac_read(&mut self, register: u32) -> u32 {
        self.mac_idle();
        self.registers.write(MAC_CSR_CMD, BUSY | MAC_READ | register);
        self.mac_idle();
        self.registers.read(MAC_CSR_DATA)
    }

    fn mac_write(&mut self, register: u32, value: u32) {
        self.mac_idle();
        self.registers.write(MAC_CSR_DATA, value);
        self.registers.write(MAC_CSR_CMD, BUSY | register);
        self.mac_idle();
    }

    /// The PHY inside the chip has the address 1.
    fn mii(&mut self, register: u32, write: u32) {
        self.mac_write(MII_ACC, 1 << 11 | register << 6 | write << 1 | 1);
        let _ = self.until(Fault::Stuck, |chip| chip.mac_read(MII_ACC) & 1 == 0);
    }

    fn phy_read(&mut self, register: u32) -> u32 {
        self.mii(register, 0);
        self.mac_read(MII_DATA) & 0xffff
    }

    fn phy_write(&mut self, register: u32, value: u32) {
        self.mac_write(MII_DATA, value);
        self.mii(register, 1);
    }
}

/// Where an address is in the hash filter: the upper six bits of its Ethernet check sequence.
fn hash(mac: MacAddr) -> usize {
    let mut crc = u32::MAX;
    for byte in mac.0 {
        for bit in 0..8 {
            let carry = crc >> 31 ^ u32::from(byte >> bit & 1);
            crc = crc << 1 ^ (carry * 0x04c1_1db7);
        }
    }
    (crc >> 26) as usize
}
