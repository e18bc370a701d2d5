//! What becomes of a panic where there is no standard library: the program is told, and this library stands still. No
//! panic can be reached: the test `no_panic` links the example without `steadfast_fatal` and succeeds.

use core::panic::PanicInfo;

unsafe extern "C" {
    /// Defined by the program, see the header.
    fn steadfast_fatal(file: *const u8, length: usize, line: u32);
}

#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    let (file, line) = info.location().map_or(("", 0), |location| (location.file(), location.line()));
    // SAFETY: the program defines it as the header says, and reads no more than `length` bytes.
    unsafe { steadfast_fatal(file.as_ptr(), file.len(), line) };
    loop {
        core::hint::spin_loop();
    }
}
