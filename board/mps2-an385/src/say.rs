//! What the image says while it works, by `log` on the UART or by `defmt` to a debugger: one of them, chosen when it is
//! built.

#[cfg(all(feature = "log", feature = "defmt"))]
compile_error!("choose `log` or `defmt`");

// Where defmt's frames go: to a debugger, or QEMU with -semihosting. Without either the first one is a fault.
#[cfg(feature = "defmt")]
use defmt_semihosting as _;

/// Says something that is as it should be.
#[macro_export]
macro_rules! info {
    ($($arguments:tt)*) => {{
        #[cfg(feature = "log")]
        log::info!($($arguments)*);
        #[cfg(feature = "defmt")]
        defmt::info!($($arguments)*);
    }};
}

/// Says something that is not.
#[macro_export]
macro_rules! warn {
    ($($arguments:tt)*) => {{
        #[cfg(feature = "log")]
        log::warn!($($arguments)*);
        #[cfg(feature = "defmt")]
        defmt::warn!($($arguments)*);
    }};
}

#[cfg(feature = "log")]
mod uart_log {
    use core::fmt::Write;

    use crate::uart::Tail;

    struct UartLog;

    impl log::Log for UartLog {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            let sign = if record.level() <= log::Level::Warn { "! " } else { "" };
            let _ = write!(Tail, "{sign}{}\r\n", record.args());
        }

        fn flush(&self) {}
    }

    pub(super) fn start() {
        let _ = log::set_logger(&UartLog);
        log::set_max_level(log::LevelFilter::Info);
    }
}

/// Sets up what takes the words.
pub fn start() {
    #[cfg(feature = "log")]
    uart_log::start();
}
