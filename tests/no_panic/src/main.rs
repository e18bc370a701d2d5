//! A binary without std and allocator that drives everything public in steadfast-core with values that the
//! optimizer cannot know. Its panic handler needs a symbol that exists nowhere, so the program links only if
//! no call of the handler is left: that is, if nothing in core can panic. What core *does* with the values
//! is not checked here.

#![no_std]
#![no_main]

mod agent;
mod auth;
mod config;
mod fmt;
mod wire;

use core::hint::black_box;
use core::panic::PanicInfo;

// For `memcpy` and the like, and the code that calls `main`; nothing else of it is used.
#[link(name = "c")]
unsafe extern "C" {}

unsafe extern "C" {
    /// Defined nowhere. The name is what the linker then complains about.
    fn steadfast_core_can_panic() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: never runs, because it does not link.
    unsafe { steadfast_core_can_panic() }
}

/// Called by the C library's start code.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    let mut memory = any([0; 2048]);
    wire::drive(&mut memory);
    agent::drive(&mut memory);
    auth::drive(&mut memory);
    config::drive(&memory);
    fmt::drive();
    0
}

/// A value that the optimizer knows nothing about.
fn any<T>(value: T) -> T {
    black_box(value)
}

/// Bytes of any content and length.
fn bytes(memory: &[u8]) -> &[u8] {
    memory.get(any(0)..any(64)).unwrap_or(&[])
}

/// The same to write to.
fn room(memory: &mut [u8]) -> &mut [u8] {
    memory.get_mut(any(0)..any(2048)).unwrap_or(&mut [])
}

/// Uses a result, so that what made it is not left out.
fn used<T>(value: T) {
    black_box(value);
}
