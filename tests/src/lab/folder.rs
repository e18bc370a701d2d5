//! A folder for the configurations, logs and captures of one test, removed at its end. A test that fails leaves the
//! files in tests/logs/failed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A folder that lives as long as this value.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one.
    #[track_caller]
    pub fn new() -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("steadfast-lab-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder can be made");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Keeps a copy of the files in it, not of folders.
    pub fn keep_evidence(&self) {
        let place =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("logs/failed").join(self.0.file_name().unwrap_or_default());
        let _ = fs::create_dir_all(&place);
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            // To open a FIFO is to wait for its other end.
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                let _ = fs::copy(entry.path(), place.join(entry.file_name()));
            }
        }
        eprintln!("evidence of the failure: {}", place.display());
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep_evidence();
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}
