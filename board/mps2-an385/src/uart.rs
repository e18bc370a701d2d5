//! The CMSDK UART 0, which the console and the log share. Two rings of bytes stand between it and the program, so that
//! nothing waits for the wire; they are moved on by [`service`], which the main loop calls between any two frames.

use core::convert::Infallible;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering::Relaxed};

use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};

use crate::registers::Registers;

const DATA: usize = 0x0;
const STATE: usize = 0x4;
const CTRL: usize = 0x8;
const INTCLEAR: usize = 0xc;
const BAUDDIV: usize = 0x10;
const TX_FULL: u32 = 1;
const RX_FULL: u32 = 1 << 1;
const RX_OVERRUN: u32 = 1 << 3;
/// Send and receive, with an interrupt for each.
const ENABLE: u32 = 0xf;
/// 115,200 baud from 25 MHz.
const DIVISOR: u32 = 217;

static SENT: Ring<1024> = Ring::new();
static RECEIVED: Ring<128> = Ring::new();
/// Bytes that did not fit into a ring, or came before the last one was taken.
static LOST: AtomicU32 = AtomicU32::new(0);

/// Ctrl-T asks about the board itself, whatever the console is at.
const CTRL_T: u8 = 0x14;
static ASKED: AtomicBool = AtomicBool::new(false);

// SAFETY: UART 0 of the AN385.
static UART: Registers = unsafe { Registers::at(0x4000_4000) };

/// A ring of bytes. No handler ever runs beside the program, so that loads and stores are atomic enough.
struct Ring<const N: usize> {
    bytes: [AtomicU8; N],
    /// Where the next byte is taken from, and how many there are.
    first: AtomicUsize,
    count: AtomicUsize,
}

impl<const N: usize> Ring<N> {
    const fn new() -> Self {
        Self { bytes: [const { AtomicU8::new(0) }; N], first: AtomicUsize::new(0), count: AtomicUsize::new(0) }
    }

    fn push(&self, byte: u8) -> bool {
        let count = self.count.load(Relaxed);
        if count >= N {
            return false;
        }
        if let Some(place) = self.bytes.get((self.first.load(Relaxed) + count) % N) {
            place.store(byte, Relaxed);
        }
        self.count.store(count + 1, Relaxed);
        true
    }

    fn pop(&self) -> Option<u8> {
        let (first, count) = (self.first.load(Relaxed), self.count.load(Relaxed));
        if count == 0 {
            return None;
        }
        let byte = self.bytes.get(first)?.load(Relaxed);
        self.first.store((first + 1) % N, Relaxed);
        self.count.store(count - 1, Relaxed);
        Some(byte)
    }

    fn is_empty(&self) -> bool {
        self.count.load(Relaxed) == 0
    }

    fn is_full(&self) -> bool {
        self.count.load(Relaxed) >= N
    }
}

/// Switches the UART on.
pub fn start() {
    UART.write(BAUDDIV, DIVISOR);
    UART.write(CTRL, ENABLE);
}

/// Moves what has been received into its ring, and what is to be sent out of its own. Never waits.
pub fn service() {
    UART.write(INTCLEAR, 0xf);
    if UART.read(STATE) & RX_OVERRUN != 0 {
        UART.write(STATE, RX_OVERRUN);
        lose();
    }
    while !RECEIVED.is_full() && UART.read(STATE) & RX_FULL != 0 {
        match UART.read(DATA) as u8 {
            CTRL_T => ASKED.store(true, Relaxed),
            byte => {
                RECEIVED.push(byte);
            }
        }
    }
    while !SENT.is_empty() && UART.read(STATE) & TX_FULL == 0 {
        if let Some(byte) = SENT.pop() {
            UART.write(DATA, u32::from(byte));
        }
    }
}

/// Whether nothing is there to be read. What is still to be sent goes on with an interrupt.
pub fn is_idle() -> bool {
    RECEIVED.is_empty()
}

/// Whether ctrl-T was typed since the last call.
pub fn asked() -> bool {
    ASKED.swap(false, Relaxed)
}

/// Bytes that were lost because nobody took them.
pub fn lost() -> u32 {
    LOST.load(Relaxed)
}

fn lose() {
    LOST.store(LOST.load(Relaxed).saturating_add(1), Relaxed);
}

/// Sends everything, waiting for the wire: for last words.
pub fn flush() {
    while let Some(byte) = SENT.pop() {
        put(byte);
    }
}

/// Sends a byte, waiting for the wire.
fn put(byte: u8) {
    // A dead UART does not keep the board from restarting.
    for _ in 0..100_000 {
        if UART.read(STATE) & TX_FULL == 0 {
            break;
        }
    }
    UART.write(DATA, u32::from(byte));
}

/// The UART for last words: nothing is kept in a ring.
pub struct LastWords;

impl core::fmt::Write for LastWords {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        flush();
        text.bytes().for_each(put);
        Ok(())
    }
}

/// The log's end of the UART: what does not fit into the ring is left out.
pub struct Tail;

impl core::fmt::Write for Tail {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            if SENT.is_full() {
                service();
            }
            if !SENT.push(byte) {
                lose();
            }
        }
        Ok(())
    }
}

/// The console's end of the UART.
pub struct Uart;

impl ErrorType for Uart {
    type Error = Infallible;
}

impl ReadReady for Uart {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(!RECEIVED.is_empty())
    }
}

impl Read for Uart {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        let mut count = 0;
        for place in buffer {
            let Some(byte) = RECEIVED.pop() else { break };
            *place = byte;
            count += 1;
        }
        Ok(count)
    }
}

impl WriteReady for Uart {
    fn write_ready(&mut self) -> Result<bool, Infallible> {
        Ok(!SENT.is_full())
    }
}

impl Write for Uart {
    /// Takes what fits into the ring; when it is full it waits for the wire to take one byte.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let mut count = 0;
        for byte in bytes {
            if SENT.is_full() {
                service();
            }
            if SENT.is_full() && count == 0 {
                SENT.pop().into_iter().for_each(put);
            }
            if !SENT.push(*byte) {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        flush();
        Ok(())
    }
}
