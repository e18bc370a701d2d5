//! How late the VM itself is: the worst lateness of a loop that only sleeps. A bound on what a program does in the VM
//! is the formula's, plus this, so that a computer that is busy with other things fails nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::lab::clock::Stamp;

const PERIOD: Duration = Duration::from_millis(10);

/// A running loop; it ends when dropped.
#[derive(Debug)]
pub struct Lateness {
    worst: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Lateness {
    /// Starts the loop.
    pub fn watch() -> Self {
        let (worst, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (found, stopped) = (Arc::clone(&worst), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let due = Stamp::now() + PERIOD;
                due.sleep();
                found.fetch_max(Stamp::now().ms_since(due) as u64, Ordering::Relaxed);
            }
        });
        Self { worst, stop, thread: Some(thread) }
    }

    /// The worst lateness since the last call, in milliseconds.
    pub fn worst_ms(&self) -> f64 {
        self.worst.swap(0, Ordering::Relaxed) as f64
    }
}

impl Drop for Lateness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
