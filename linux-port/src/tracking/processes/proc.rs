//! What /proc says of processes.

use std::fs::{self, File};
use std::io::Read;

/// The longest command line that is looked at, in bytes.
const LONGEST_LINE: u64 = 64 * 1024;

/// A process that runs.
#[derive(Debug)]
pub(super) struct Process {
    /// Its own name.
    pub(super) name: Vec<u8>,
    /// Its command line, if it was asked for.
    pub(super) command: Vec<Vec<u8>>,
}

/// The numbers of all processes.
pub(super) fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// What there is to know of a process; `None` if it does not run.
pub(super) fn look(process: u32, only_name: bool) -> Option<Process> {
    let stat = fs::read(format!("/proc/{process}/stat")).ok()?;
    // `PID (NAME) STATE …`; the name may be anything.
    let begin = stat.iter().position(|byte| *byte == b'(')? + 1;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let name = stat.get(begin..end)?.to_vec();
    if matches!(stat.get(end + 2)?, b'Z' | b'X' | b'x') {
        return None;
    }
    let mut command = Vec::new();
    if !only_name {
        let mut line = Vec::new();
        let file = File::open(format!("/proc/{process}/cmdline")).ok()?;
        file.take(LONGEST_LINE).read_to_end(&mut line).ok()?;
        let line = line.strip_suffix(&[0]).unwrap_or(&line);
        if !line.is_empty() {
            command = line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        }
    }
    Some(Process { name, command })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_among_them() {
        let own = std::process::id();
        assert!(all().any(|process| process == own));
        let found = look(own, false).unwrap();
        let arguments: Vec<_> = std::env::args().map(String::into_bytes).collect();
        assert_eq!(found.command, arguments);
        assert!(!found.name.is_empty());
        assert!(look(u32::MAX, true).is_none());
    }
}
