//! One FIFO: lines go in whole and in order, and nobody ever waits for its reader. What finds no room waits in a bounded
//! queue; when that is full the oldest line gives way, since what matters most to a reader that returns is how things
//! stand now, and each line that is lost is counted and said.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, chown};
use std::sync::Arc;

use log::{info, warn};

use crate::plan::notify::PlannedFifo;
use crate::sys::fifo;

/// Lines that wait for room, beside the some thousand that the FIFO itself holds.
const WAITING: usize = 4096;

/// A FIFO that is open.
#[derive(Debug)]
pub(super) struct Fifo {
    pub(super) plan: PlannedFifo,
    file: File,
    /// Made by us, and taken away in the end.
    made: bool,
    waiting: VecDeque<Arc<str>>,
    /// Lines lost since there was last room.
    lost: u64,
}

/// What has become of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// They are in the FIFO.
    pub(super) lines: u64,
    /// They had to give way.
    pub(super) lost: u64,
}

impl Fifo {
    /// Opens a FIFO, which is made if it is not there.
    ///
    /// # Errors
    /// Of the system, or it is no FIFO.
    pub(super) fn open(plan: &PlannedFifo) -> io::Result<Self> {
        let made = match fifo::make(&plan.path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error),
        };
        let opened = open(plan, made);
        if opened.is_err() && made {
            let _ = fs::remove_file(&plan.path);
        }
        Ok(Self { plan: plan.clone(), file: opened?, made, waiting: VecDeque::new(), lost: 0 })
    }

    /// Writes a line, after those that wait.
    pub(super) fn write(&mut self, line: &Arc<str>) -> Written {
        let mut written = Written::default();
        if self.waiting.len() >= WAITING {
            self.waiting.pop_front();
            self.lost += 1;
            written.lost = 1;
            if self.lost == 1 {
                let path = self.plan.path.display();
                warn!("{path}: nobody reads it and it is full: the oldest lines are lost");
            }
        }
        self.waiting.push_back(Arc::clone(line));
        written.lines = self.flush();
        written
    }

    /// Writes what waits, as far as there is room; how many lines that were.
    pub(super) fn flush(&mut self) -> u64 {
        let mut lines = 0;
        while let Some(line) = self.waiting.front() {
            // A line is shorter than what goes in whole or not at all (PIPE_BUF, 4096 bytes).
            match self.file.write(line.as_bytes()) {
                Ok(_) => {
                    lines += 1;
                    self.waiting.pop_front();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return lines,
            }
        }
        if self.lost > 0 && self.waiting.is_empty() {
            info!("{}: it is read again; {} lines were lost", self.plan.path.display(), self.lost);
            self.lost = 0;
        }
        lines
    }

    /// How many lines wait for room.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Closes it: whoever reads it comes to its end after the last line.
    pub(super) fn close(self) {
        if self.made
            && let Err(error) = fs::remove_file(&self.plan.path)
        {
            warn!("{}: it cannot be removed: {error}", self.plan.path.display());
        }
    }
}

impl AsFd for Fifo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn open(plan: &PlannedFifo, made: bool) -> io::Result<File> {
    // Read and write: it opens without a reader, and stays open when its reader goes. What is no FIFO is not opened,
    // which for some devices is already an act.
    if !fs::metadata(&plan.path)?.file_type().is_fifo() {
        return Err(io::Error::other("it is no FIFO"));
    }
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&plan.path)?;
    if !file.metadata()?.file_type().is_fifo() {
        return Err(io::Error::other("it is no FIFO"));
    }
    if let Some((user, group)) = plan.owner.filter(|_| made) {
        chown(&plan.path, Some(user), Some(group))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::path::Path;

    use super::*;

    fn plan(name: &str) -> PlannedFifo {
        let path = std::env::temp_dir().join(format!("steadfast-notify-{}-{name}", std::process::id()));
        PlannedFifo { path, owner: None, script: None, vrrp: true, lvs: true }
    }

    fn line(number: usize) -> Arc<str> {
        format!("{number:06} {}\n", "x".repeat(90)).into()
    }

    fn exists(path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }

    #[test]
    fn what_we_made_we_remove_and_no_other_file_is_written_to() {
        let plan = plan("made");
        Fifo::open(&plan).unwrap().close();
        assert!(!exists(&plan.path));
        fifo::make(&plan.path).unwrap();
        Fifo::open(&plan).unwrap().close();
        assert!(exists(&plan.path));
        fs::remove_file(&plan.path).unwrap();
        fs::write(&plan.path, "text").unwrap();
        assert!(Fifo::open(&plan).is_err());
        assert_eq!(fs::read(&plan.path).unwrap(), b"text");
        fs::remove_file(&plan.path).unwrap();
    }

    #[test]
    fn without_a_reader_the_oldest_lines_that_wait_are_lost_and_the_rest_is_in_order() {
        let plan = plan("full");
        let mut fifo = Fifo::open(&plan).unwrap();
        let mut total = Written::default();
        for number in 0..20_000 {
            let written = fifo.write(&line(number));
            total = Written { lines: total.lines + written.lines, lost: total.lost + written.lost };
        }
        assert_eq!(fifo.waiting(), WAITING);
        assert_eq!(total.lines + total.lost + WAITING as u64, 20_000);
        let reader = BufReader::new(File::open(&plan.path).unwrap());
        let thread = std::thread::spawn(move || reader.lines().map(Result::unwrap).collect::<Vec<_>>());
        let mut late = 0;
        while fifo.waiting() > 0 {
            late += fifo.flush();
            std::thread::yield_now();
        }
        assert_eq!(late, WAITING as u64);
        fifo.close();
        let lines = thread.join().unwrap();
        assert_eq!(lines.len() as u64, total.lines + late);
        assert!(lines.is_sorted());
        assert_eq!(format!("{}\n", lines.last().unwrap()), *line(19_999));
    }
}
