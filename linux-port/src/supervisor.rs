//! Whoever started the agent, where it wants to be told how the agent is: systemd's notification protocol
//! (sd_notify(3)), which other supervisors speak too. Each word is a datagram to the socket that the environment names.
//! When which word is said is the loop's to know.
//!
//! The loop says them itself, so that a watchdog watches the loop and nothing else. The socket is connected and never
//! waits; what it does not take at once is said a little later.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;

use log::{debug, warn};
use steadfast_core::text::Printable;
use steadfast_core::time::{Duration, Instant};

use crate::sys::clock;

/// How soon what was not taken is said again.
const AGAIN: Duration = Duration::from_millis(100);

/// How long after a change the new status is said: those of a moment are one.
const SETTLED: Duration = Duration::from_secs(1);

/// Words that wait to be taken; the oldest is lost to a further one.
const WORDS: usize = 8;

/// The shortest time between two signs of life, whatever is asked for.
const SHORTEST: Duration = Duration::from_millis(10);

/// What the agent is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Virtual Routers.
    pub routers: usize,
    /// Those of them that are Active.
    pub active: usize,
    /// Virtual servers.
    pub services: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { routers, active, services } = self;
        match (routers, services) {
            (0, 0) => f.write_str("nothing to do"),
            (0, _) => write!(f, "{services} virtual servers"),
            (_, 0) => write!(f, "{active} of {routers} virtual routers active"),
            _ => write!(f, "{active} of {routers} virtual routers active, {services} virtual servers"),
        }
    }
}

/// Whoever is told; by default nobody.
#[derive(Debug, Default)]
pub struct Supervisor {
    socket: Option<UnixDatagram>,
    /// The process that it started, which may not be the one that is the agent.
    started: u32,
    /// How often it wants a sign of life.
    period: Option<Duration>,
    /// When it gets the next one.
    alive_at: Option<Instant>,
    /// When it gets the next status.
    status_at: Option<Instant>,
    /// What it has not taken yet, and when it is offered again.
    words: Vec<String>,
    again_at: Option<Instant>,
    /// Reloads that were asked for and are not over.
    reloads: usize,
    /// Whether the file on disk is another than the one in force.
    refused: bool,
    stopping: bool,
}

impl Supervisor {
    /// Whom the environment names (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`). By the process that was started,
    /// where it was started: a way into the background or into another network namespace comes later.
    ///
    /// # Errors
    /// The socket is of no kind that is known, or nobody listens there.
    pub fn find() -> io::Result<Self> {
        let Some(address) = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else {
            return Ok(Self::default());
        };
        let text = |name| env::var(name).ok();
        let period = period(text("WATCHDOG_USEC").as_deref(), text("WATCHDOG_PID").as_deref(), process::id());
        Self::at(&address, period)
    }

    fn at(address: &OsStr, period: Option<Duration>) -> io::Result<Self> {
        let address = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(address)?,
            _ => return Err(io::Error::new(ErrorKind::InvalidInput, "neither a path nor the name of a local socket")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket: Some(socket), started: process::id(), period, ..Self::default() })
    }

    /// The agent takes part.
    pub fn ready(&mut self, now: Instant, counts: Counts) {
        let own = process::id();
        let main = if own == self.started { String::new() } else { format!("\nMAINPID={own}") };
        self.say(now, format!("READY=1{main}\nSTATUS={counts}"));
        if self.socket.is_some() {
            self.alive_at = self.period.map(|period| now + period);
        }
    }

    /// It could not start.
    pub fn failed(&mut self, problem: &str) {
        self.say(clock::now(), format!("STATUS={}", Printable(problem)));
    }

    /// The file is about to be read again; each time it is, there is a [`reloaded`](Self::reloaded).
    pub fn reloading(&mut self) {
        self.reloads += 1;
        if self.reloads == 1 && !self.stopping {
            // Later than whatever made us, which is what it is compared with.
            let now = clock::now();
            self.say(now, format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
        }
    }

    /// It was read, and is in force or not.
    pub fn reloaded(&mut self, now: Instant, applied: bool, counts: Counts) {
        self.reloads = self.reloads.saturating_sub(1);
        self.refused = !applied;
        if self.reloads == 0 && !self.stopping {
            let status = self.status(counts);
            self.say(now, format!("READY=1\n{status}"));
        }
    }

    /// The agent hands over and ends.
    pub fn stopping(&mut self, now: Instant) {
        self.stopping = true;
        (self.alive_at, self.status_at) = (None, None);
        self.say(now, "STOPPING=1\nSTATUS=hands over".to_owned());
    }

    /// The counts are others than before.
    pub fn changed(&mut self, now: Instant) {
        if self.socket.is_some() && !self.stopping {
            self.status_at.get_or_insert(now + SETTLED);
        }
    }

    /// When [`Supervisor::turn`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        [self.alive_at, self.status_at, self.again_at].into_iter().flatten().min()
    }

    /// Says what is due: one turn of the loop has been made.
    pub fn turn(&mut self, now: Instant, counts: impl FnOnce() -> Counts) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.again_at) {
            self.offer(now);
        }
        if is_due(self.status_at) {
            self.status_at = None;
            let status = self.status(counts());
            self.say(now, status);
        }
        if is_due(self.alive_at) {
            let taken = self.send("WATCHDOG=1");
            let period = self.period.filter(|_| self.socket.is_some());
            self.alive_at = period.map(|period| now + if taken { period } else { period.min(AGAIN) });
        }
    }

    fn status(&self, counts: Counts) -> String {
        let refused = if self.refused { "the file was not taken up, the one before it is in force; " } else { "" };
        format!("STATUS={refused}{counts}")
    }

    fn say(&mut self, now: Instant, word: String) {
        if self.socket.is_none() {
            return;
        }
        if self.words.len() == WORDS {
            self.words.remove(0);
        }
        self.words.push(word);
        self.offer(now);
    }

    /// Sends what waits, as far as it is taken.
    fn offer(&mut self, now: Instant) {
        let mut words = std::mem::take(&mut self.words);
        let taken = words.iter().take_while(|word| self.send(word)).count();
        words.drain(..taken);
        if self.socket.is_some() {
            self.words = words;
        }
        self.again_at = (!self.words.is_empty()).then_some(now + AGAIN);
    }

    /// Whether a word was taken. Never waits.
    fn send(&mut self, word: &str) -> bool {
        let Some(socket) = &self.socket else { return false };
        let Err(error) = socket.send(word.as_bytes()) else { return true };
        match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset | ErrorKind::NotConnected => {
                warn!("whoever started this agent no longer listens to how it is: {error}");
                *self = Self { stopping: self.stopping, ..Self::default() };
            }
            _ => debug!("whoever started this agent is told later how it is: {error}"),
        }
        false
    }
}

/// Half the time after which the process `pid`, or whoever reads this, counts as hung; `None`: never.
fn period(microseconds: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let is_ours = pid.is_none_or(|pid| pid.parse() == Ok(own));
    let limit: u64 = microseconds.filter(|_| is_ours)?.parse().ok()?;
    (limit > 0).then(|| Duration::from_micros(limit / 2).max(SHORTEST))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const COUNTS: Counts = Counts { routers: 2, active: 1, services: 0 };

    /// A socket that listens, and whom to tell there.
    struct Listener(UnixDatagram, PathBuf);

    impl Listener {
        fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("steadfast-supervisor-{}-{name}", process::id()));
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_nonblocking(true).unwrap();
            Self(socket, path)
        }

        fn supervisor(&self, period: Option<Duration>) -> Supervisor {
            Supervisor::at(self.1.as_os_str(), period).unwrap()
        }

        fn heard(&self) -> Vec<String> {
            heard(&self.0)
        }
    }

    impl Drop for Listener {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.1);
        }
    }

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 512];
        let next =
            || socket.recv(&mut buffer).ok().map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned());
        std::iter::from_fn(next).collect()
    }

    /// Sends until nothing more is taken, whoever sends it.
    fn fill(listener: &Listener) {
        let taken = || {
            let other = UnixDatagram::unbound().unwrap();
            other.set_nonblocking(true).unwrap();
            std::iter::repeat_with(|| other.send_to(b"x", &listener.1)).take_while(Result::is_ok).count()
        };
        while taken() > 0 {}
    }

    fn at(ms: u64) -> Instant {
        Instant::from_micros(1_000_000 + ms * 1_000)
    }

    #[test]
    fn each_word_is_said_in_its_time() {
        let listener = Listener::new("words");
        let mut supervisor = listener.supervisor(None);
        supervisor.ready(at(0), COUNTS);
        assert_eq!(listener.heard(), ["READY=1\nSTATUS=1 of 2 virtual routers active"]);
        assert_eq!(supervisor.due(), None);
        supervisor.changed(at(10));
        supervisor.changed(at(20));
        assert_eq!(supervisor.due(), Some(at(1010)));
        supervisor.turn(at(1010), || Counts { services: 3, ..COUNTS });
        assert_eq!(listener.heard(), ["STATUS=1 of 2 virtual routers active, 3 virtual servers"]);
        supervisor.reloading();
        supervisor.reloading();
        let words = listener.heard();
        let stamp = words[0].strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse::<u64>().unwrap();
        assert!(words.len() == 1 && stamp <= clock::now().as_micros(), "{words:?}");
        supervisor.reloaded(at(1100), true, COUNTS);
        assert_eq!(listener.heard(), [""; 0]);
        supervisor.reloaded(at(1101), false, COUNTS);
        let refused = "STATUS=the file was not taken up, the one before it is in force; 1 of 2 virtual routers active";
        assert_eq!(listener.heard(), [format!("READY=1\n{refused}")]);
        supervisor.reloading();
        supervisor.stopping(at(1200));
        supervisor.reloaded(at(1201), true, COUNTS);
        supervisor.changed(at(1202));
        let words = listener.heard();
        assert_eq!(words[1..], ["STOPPING=1\nSTATUS=hands over"], "{words:?}");
        assert_eq!(supervisor.due(), None);
    }

    #[test]
    fn whoever_cannot_start_says_why_in_one_line() {
        let listener = Listener::new("failed");
        listener.supervisor(None).failed("/a\nREADY=1: no");
        assert_eq!(listener.heard(), ["STATUS=/a\\u{a}READY=1: no"]);
    }

    #[test]
    fn a_watchdog_hears_of_turns_alone() {
        let listener = Listener::new("watchdog");
        let mut supervisor = listener.supervisor(Some(Duration::from_millis(500)));
        supervisor.ready(at(0), COUNTS);
        assert_eq!((listener.heard().len(), supervisor.due()), (1, Some(at(500))));
        supervisor.turn(at(499), || COUNTS);
        assert!(listener.heard().is_empty());
        supervisor.turn(at(700), || COUNTS);
        assert_eq!((listener.heard(), supervisor.due()), (vec!["WATCHDOG=1".to_owned()], Some(at(1200))));
        supervisor.stopping(at(800));
        assert_eq!(supervisor.due(), None);
    }

    #[test]
    fn what_is_not_taken_is_said_again() {
        let listener = Listener::new("full");
        let mut supervisor = listener.supervisor(Some(Duration::from_millis(500)));
        fill(&listener);
        supervisor.ready(at(0), COUNTS);
        supervisor.turn(at(99), || COUNTS);
        assert_eq!(supervisor.due(), Some(at(100)));
        supervisor.turn(at(500), || COUNTS);
        assert_eq!(supervisor.due(), Some(at(600)), "also a sign of life");
        listener.heard();
        supervisor.turn(at(600), || COUNTS);
        assert_eq!(listener.heard(), ["READY=1\nSTATUS=1 of 2 virtual routers active", "WATCHDOG=1"]);
        assert_eq!(supervisor.due(), Some(at(1100)));
        fill(&listener);
        for _ in 0..3 * WORDS {
            supervisor.failed("no");
        }
        assert_eq!(supervisor.words.len(), WORDS);
    }

    #[test]
    fn nobody_is_waited_for() {
        let listener = Listener::new("gone");
        let mut supervisor = listener.supervisor(Some(Duration::from_millis(500)));
        supervisor.ready(at(0), COUNTS);
        drop(listener);
        supervisor.turn(at(500), || COUNTS);
        supervisor.changed(at(501));
        assert_eq!(supervisor.due(), None);
        let mut nobody = Supervisor::default();
        nobody.ready(at(0), COUNTS);
        nobody.reloading();
        nobody.stopping(at(1));
        assert_eq!(nobody.due(), None);
        for address in ["relative", "vsock:2:1234", "/no/such/socket", "@steadfast-no-such-socket"] {
            assert!(Supervisor::at(OsStr::new(address), None).is_err(), "{address}");
        }
    }

    #[test]
    fn a_name_without_a_file_is_a_socket_too() {
        let name = format!("steadfast-supervisor-{}", process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        Supervisor::at(OsStr::new(&format!("@{name}")), None).unwrap().ready(at(0), Counts::default());
        assert_eq!(heard(&socket), ["READY=1\nSTATUS=nothing to do"]);
    }

    #[test]
    fn signs_of_life_come_twice_as_often_as_they_must() {
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(period(Some("30000000"), None, 7), ms(15_000));
        assert_eq!(period(Some("1000000"), Some("7"), 7), ms(500));
        assert_eq!(period(Some("1000000"), Some("8"), 7), None);
        assert_eq!(period(Some("2"), None, 7), ms(10));
        for nothing in [None, Some(""), Some("0"), Some("-1"), Some("x")] {
            assert_eq!(period(nothing, None, 7), None);
        }
    }
}
