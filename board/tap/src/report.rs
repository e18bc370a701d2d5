//! What is told of what happens, one line an event, as a board logs it on its UART; and what is wrong with the
//! configuration that the program was started with.

use std::path::Path;

use steadfast_core::agent::{Event, EventKind};
use steadfast_core::config::{self, Severity};
use steadfast_firmware::console::Host;

use crate::station::Station;

/// One event as a line.
pub(crate) fn line(station: &Station, event: &Event) -> String {
    let seconds = event.at.as_micros() as f64 / 1e6;
    let name = station.router_name(event.router);
    match event.kind {
        EventKind::Transition { from, to, reason } => {
            format!("{seconds:.6} {name}: {} to {}, {}", from.as_str(), to.as_str(), reason.as_str())
        }
        EventKind::DualActive { rival } => format!("{seconds:.6} {name}: {rival} is Active too"),
    }
}

/// The text of a configuration file, if it has no errors; what there is to say about it goes to standard error.
pub(crate) fn check(station: &Station, file: &Path, bytes: &[u8]) -> Result<String, String> {
    let mut errors = 0;
    let mut say = |diagnostic: config::Diagnostic<'_>| {
        errors += usize::from(diagnostic.severity == Severity::Error);
        eprintln!("{}:{diagnostic}", file.display());
    };
    let text = config::text(bytes).map_err(&mut say).unwrap_or("");
    station.check(text, &mut say);
    if errors > 0 { Err(format!("{} has errors", file.display())) } else { Ok(text.to_owned()) }
}
