//! What is left to do when nothing works any more: say where on the UART, and restart.

use core::arch::naked_asm;
use core::fmt::Write;
use core::panic::PanicInfo;

use cortex_m::peripheral::SCB;
use cortex_m_rt::exception;

use crate::registers::Registers;
use crate::stack;
use crate::uart::LastWords;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // Where, and not what: the words of every panic in smoltcp would be 4 KiB of the image.
    if let Some(place) = info.location() {
        let _ = write!(LastWords, "\r\npanicked at {}:{}:{}", place.file(), place.line(), place.column());
    }
    restart()
}

/// Restarts the board once everything has been said.
pub fn restart() -> ! {
    let _ = LastWords.write_str("\r\nrestarting\r\n");
    SCB::sys_reset()
}

/// A bad access or instruction. The stack may be what is bad, so it is begun anew.
///
/// # Safety
/// Only for the processor to call.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn HardFault() -> ! {
    naked_asm!(
        "mrs r0, msp",
        "movw r1, #:lower16:_stack_start",
        "movt r1, #:upper16:_stack_start",
        "mov sp, r1",
        "b {}",
        sym fault
    )
}

/// `frame`: where the processor has put its registers, or has tried to.
extern "C" fn fault(frame: usize) -> ! {
    if frame < stack::lowest() {
        let _ = LastWords.write_str("\r\nthe stack is too deep");
    } else {
        // SAFETY: the frame of an exception, eight words of the stack; they are only read, as numbers.
        let frame = unsafe { Registers::at(frame) };
        let (from, at) = (frame.read(20), frame.read(24));
        let _ = write!(LastWords, "\r\nfault at {at:#010x}, called from {from:#010x}");
    }
    restart()
}

/// The watchdog has not been fed for a second.
#[exception]
unsafe fn NonMaskableInt() {
    let _ = LastWords.write_str("\r\nthe main loop makes no progress");
    restart()
}
