//! What is told of what happens: one line an event on standard output, as a board logs it on its UART, and diagnostics
//! of the configuration on standard error.

use std::path::Path;

use steadfast_core::agent::{Agent, Event, EventKind};
use steadfast_core::config::Diagnostic;
use steadfast_core::storage::Storage;

/// One event.
pub(crate) fn event<S: Storage>(agent: &Agent<S>, event: &Event) {
    let seconds = event.at.as_micros() as f64 / 1e6;
    let who = agent.view(event.router).map_or_else(String::new, |view| {
        let settings = view.settings;
        format!("{} VRID {}", settings.family.as_str(), settings.vrid)
    });
    match event.kind {
        EventKind::Transition { from, to, reason } => {
            println!("{seconds:.6} {who}: {} -> {} ({})", from.as_str(), to.as_str(), reason.as_str());
        }
        EventKind::DualActive { rival } => println!("{seconds:.6} {who}: {rival} is Active too"),
    }
}

/// Something about the configuration.
pub(crate) fn diagnostic(file: &Path, diagnostic: &Diagnostic<'_>) {
    eprintln!("{}:{diagnostic}", file.display());
}
