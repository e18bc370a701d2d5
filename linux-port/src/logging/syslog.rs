//! Lines as datagrams to the local syslog daemon. It may be started anew at any time; a line that finds none is lost,
//! as with any other program.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;

/// Where the daemon listens.
const PATH: &str = "/dev/log";

/// What kind of program says it, in syslog's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(u8);

impl Facility {
    /// LOG_USER.
    pub const USER: Self = Self(1);
    /// LOG_DAEMON.
    pub const DAEMON: Self = Self(3);

    /// LOG_LOCAL0 to LOG_LOCAL7; a larger number is 7.
    pub const fn local(number: u8) -> Self {
        Self(16 + if number > 7 { 7 } else { number })
    }

    /// What stands before a line of this severity, 0 to 7.
    pub(super) const fn priority(self, severity: u8) -> u8 {
        (self.0 << 3) | (severity & 7)
    }
}

impl Default for Facility {
    fn default() -> Self {
        Self::DAEMON
    }
}

/// The daemon. What is written at once is one line.
#[derive(Debug)]
pub(super) struct Syslog {
    socket: UnixDatagram,
    path: &'static str,
}

impl Syslog {
    /// # Errors
    /// Nobody listens.
    pub(super) fn open() -> io::Result<Self> {
        Self::at(PATH)
    }

    fn at(path: &'static str) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Self { socket, path })
    }
}

impl Write for Syslog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        if self.socket.send(text).is_err()
            && let Ok(again) = Self::at(self.path)
        {
            *self = again;
            // Whoever is not there now is not waited for.
            let _ = self.socket.send(text);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_datagram() {
        let path = std::env::temp_dir().join(format!("steadfast-syslog-{}", std::process::id()));
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut syslog = Syslog::at(path.to_str().unwrap().to_owned().leak()).unwrap();
        assert_eq!(syslog.write(b"<28>x: one\n").unwrap(), 11);
        let mut buffer = [0; 64];
        let length = daemon.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"<28>x: one");
        std::fs::remove_file(path).unwrap();
        drop(daemon);
        // Nobody listens any more: the line is gone, and nothing else happens.
        assert_eq!(syslog.write(b"<28>x: two\n").unwrap(), 11);
    }

    #[test]
    fn facilities_have_their_numbers() {
        assert_eq!(
            [Facility::DAEMON.priority(4), Facility::USER.priority(6), Facility::local(1).priority(3)],
            [28, 14, 139]
        );
    }
}
