//! One attempt of a check that goes over a socket: connecting, then the dialogue, each within the same time. Whatever
//! the other side does, one step takes a bounded amount of bytes. The director makes them for real servers, tracking
//! for `vrrp_probe` ([`crate::tracking`]).

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use steadfast_core::time::{Duration, Instant};

use super::sockets::Sockets;
use crate::lvs::plan::Check;
use crate::lvs::probe::{self, Dialogue, Transport};
use crate::lvs::verdict::Verdict;
use crate::sys::client::{self, Failure, Kind, Route};
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::socket;

/// What is read from a stream at once.
const PIECE: usize = 32 * 1024;
/// How many pieces, or datagrams, one step takes.
const PIECES: usize = 4;
/// How often a step turns around between sending and receiving.
const TURNS: usize = 16;

/// What is under way.
pub(crate) struct Attempt {
    socket: OwnedFd,
    /// Whether the socket is one of [`Sockets`].
    lent: bool,
    stage: Stage,
    dialogue: Option<Box<dyn Dialogue>>,
    /// How long each stage may take.
    limit: Duration,
    /// When it is over at the latest.
    pub(crate) deadline: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Stream,
    Datagram,
}

/// Where an attempt goes, how, and how long each of its stages may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'a> {
    pub(crate) target: SocketAddr,
    pub(crate) route: Route<'a>,
    pub(crate) limit: Duration,
}

impl<'a> From<&'a Check> for Way<'a> {
    fn from(check: &'a Check) -> Self {
        let route = Route { source: check.source, interface: check.interface.as_deref(), mark: check.mark };
        Self { target: check.target, route, limit: check.timing.connect_timeout }
    }
}

/// What follows from a step.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing until something happens, or the deadline.
    Wait,
    /// There is more to do at once.
    Again,
    /// That was the attempt.
    Done(Verdict),
}

/// Memory that all attempts share.
pub(crate) type Buffer = Box<[u8]>;

/// A buffer for [`Attempt::go_on`].
pub(crate) fn buffer() -> Buffer {
    vec![0; PIECE].into_boxed_slice()
}

impl Attempt {
    /// Begins an attempt over a socket; events of it come with `token`. `Err` is a verdict, or something that is
    /// missing here.
    pub(crate) fn begin(
        now: Instant,
        way: Way<'_>,
        transport: Transport,
        dialogue: Option<Box<dyn Dialogue>>,
        epoll: &Epoll,
        sockets: &mut Sockets,
        token: u64,
    ) -> Result<Self, Failure> {
        let Way { target, route, limit } = way;
        let deadline = now + limit;
        let anyhow = route.source.is_none() && route.interface.is_none() && route.mark == 0;
        if transport == Transport::Connect && anyhow {
            let socket = sockets.connect(target, epoll, token)?;
            return Ok(Self { socket, lent: true, stage: Stage::Connecting, dialogue: None, limit, deadline });
        }
        let (kind, stage, interest) = match transport {
            Transport::Datagram => (Kind::Datagram, Stage::Datagram, Interest::ARRIVALS),
            Transport::Echo => (Kind::Echo, Stage::Datagram, Interest::ARRIVALS),
            Transport::Stream => (Kind::Stream, Stage::Connecting, Interest::CHANGES),
            _ => (Kind::Stream, Stage::Connecting, Interest::CONNECTION),
        };
        let socket = client::connect(kind, target, route)?;
        epoll.add(socket.as_fd(), interest, token)?;
        Ok(Self { socket, lent: false, stage, dialogue, limit, deadline })
    }

    /// The attempt is over, and its connection was there: its socket goes back to where it came from.
    pub(crate) fn give_back(self, target: SocketAddr, sockets: &mut Sockets) {
        if self.lent {
            sockets.take_back(self.socket, target);
        }
    }

    /// Whether something is to be sent before anything can happen: there is no connection to wait for.
    pub(crate) fn speaks_first(&self) -> bool {
        self.stage == Stage::Datagram
    }

    /// Something has happened at the socket (`failed`: an error, or its end), or it was just made, or is to go on.
    pub(crate) fn go_on(&mut self, now: Instant, failed: bool, buffer: &mut Buffer) -> Step {
        match self.stage {
            Stage::Connecting => {
                if failed && let Some(error) = client::take_error(self.socket.as_fd()) {
                    return Step::Done(Verdict::Down(describe(&error)));
                }
                if self.dialogue.is_none() {
                    return Step::Done(Verdict::Up);
                }
                self.stage = Stage::Stream;
                self.deadline = now + self.limit;
                self.stream(buffer)
            }
            Stage::Stream => self.stream(buffer),
            Stage::Datagram => self.datagrams(now, buffer),
        }
    }

    /// What a deadline means that has come.
    pub(crate) fn expire(&mut self) -> Verdict {
        match (&self.dialogue, self.stage) {
            (Some(dialogue), Stage::Stream | Stage::Datagram) if dialogue.silence_is_up().is_some() => Verdict::Up,
            (Some(dialogue), Stage::Stream | Stage::Datagram) => dialogue.timed_out(self.limit),
            _ => Verdict::Down(format!("no connection within {}", probe::span(self.limit)).into()),
        }
    }

    /// Sends and reads until there is nothing more to do, or enough was done for one time.
    fn stream(&mut self, buffer: &mut Buffer) -> Step {
        let Some(dialogue) = &mut self.dialogue else { return Step::Done(Verdict::Up) };
        let mut pieces = 0;
        for _ in 0..TURNS {
            // A send that fails is the end, but what the server has said before may still be read.
            let sent = flush(&self.socket, dialogue.as_mut());
            match socket::receive(self.socket.as_fd(), buffer) {
                Ok(None) => {
                    return match sent {
                        Ok(()) => Step::Wait,
                        Err(_) => Step::Done(dialogue.ended()),
                    };
                }
                Ok(Some(0)) => return Step::Done(dialogue.ended()),
                Ok(Some(count)) => {
                    let verdict = dialogue.received(buffer.get(..count).unwrap_or_default());
                    if let Some(verdict) = verdict {
                        // A farewell, if it goes at once.
                        let _ = flush(&self.socket, dialogue.as_mut());
                        return Step::Done(verdict);
                    }
                    pieces += 1;
                    if pieces >= PIECES {
                        return Step::Again;
                    }
                }
                Err(error) if is_end(&error) => return Step::Done(dialogue.ended()),
                Err(error) => return Step::Done(Verdict::Down(describe(&error))),
            }
        }
        Step::Again
    }

    fn datagrams(&mut self, now: Instant, buffer: &mut Buffer) -> Step {
        let Some(dialogue) = &mut self.dialogue else { return Step::Done(Verdict::Up) };
        if let Err(error) = flush(&self.socket, dialogue.as_mut()) {
            return Step::Done(Verdict::Down(describe(&error)));
        }
        // Silence counts from the moment when everything has been said.
        if let Some(silence) = dialogue.silence_is_up()
            && dialogue.outgoing().is_empty()
        {
            self.deadline = self.deadline.min(now + silence);
        }
        for _ in 0..PIECES {
            match socket::receive(self.socket.as_fd(), buffer) {
                Ok(None) => return Step::Wait,
                Ok(Some(count)) => {
                    let message = buffer.get(..count).unwrap_or_default();
                    if let Some(verdict) = dialogue.received(message) {
                        return Step::Done(verdict);
                    }
                }
                Err(error) => return Step::Done(Verdict::Down(describe(&error))),
            }
        }
        Step::Again
    }
}

/// Sends what there is to be sent, as far as there is room.
fn flush(socket: &OwnedFd, dialogue: &mut dyn Dialogue) -> io::Result<()> {
    while !dialogue.outgoing().is_empty() {
        match client::send(socket.as_fd(), dialogue.outgoing())? {
            Some(count) => dialogue.sent(count),
            None => break,
        }
    }
    Ok(())
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// An error of the network, in a few words.
pub(crate) fn describe(error: &io::Error) -> Cow<'static, str> {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::ConnectionReset => "connection reset".into(),
        io::ErrorKind::HostUnreachable => "no route to the host".into(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".into(),
        io::ErrorKind::TimedOut => "connection timed out".into(),
        _ => error.to_string().into(),
    }
}
