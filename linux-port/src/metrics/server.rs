//! The thread that serves the page: accepts a bounded number of clients, reads one request of each, asks the agent's
//! loop and writes the page. It never waits for one client, everything has a deadline and a size, and however many ask,
//! the loop gets one question at a time, whose answer they share.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use steadfast_core::time::{Duration, Instant};

use super::Endpoint;
use super::page::page;
use super::request::{self, LIMIT, Refusal, Wanted};
use super::text::Format;
use crate::control::inquiry::Asker;
use crate::control::{self, Answer, Verb};
use crate::guard;
use crate::sys::clock::now;
use crate::sys::poll::PollSet;
use crate::sys::process::be_nice;

/// How much nicer this thread is than the loop (nice(2)): a page of thousands of lines takes its time.
const NICENESS: i32 = 10;

/// Clients at a time. One more pushes out the one that has been connected longest without a request, or else one that
/// reads slowly; while there is none such, newcomers wait in the listen queue.
const CLIENTS: usize = 32;

/// How long a client may take for its request.
const REQUEST_TIME: Duration = Duration::from_secs(2);

/// How long a client waits for the agent's loop.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// How long a client may take to read its answer: as long as a scraper waits by default.
const WRITE_TIME: Duration = Duration::from_secs(10);

/// How long a client that reads can be sure of its place.
const SURE: Duration = Duration::from_secs(1);

/// The least time between two questions to the agent's loop; who asks meanwhile shares the next answer.
const SPACING: Duration = Duration::from_millis(200);

/// How long nobody is accepted after accepting failed, for want of descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The mode of a socket file: what it says is no secret.
const MODE: u32 = 0o666;

/// The socket file with its device and inode.
type File = Option<(PathBuf, (u64, u64))>;

/// Where clients come from.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    pub(super) fn open(endpoint: &Endpoint) -> io::Result<(Self, File)> {
        match endpoint {
            Endpoint::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok((Self::Tcp(listener), None))
            }
            Endpoint::Unix(path) => {
                let (listener, identity) = control::server::listen(path, MODE)?;
                Ok((Self::Unix(listener), Some((path.clone(), identity))))
            }
        }
    }

    fn accept(&self) -> io::Result<Box<dyn Connection>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Box::new(stream))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Box::new(stream))
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// A client's end, of either kind.
trait Connection: Read + Write + AsFd + Send {
    /// Tells the client that nothing more comes.
    fn finish(&self);
}

impl Connection for TcpStream {
    fn finish(&self) {
        // It may be gone already.
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Connection for UnixStream {
    fn finish(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

/// Serves `listener` on a thread of its own until the agent's end is gone.
pub(super) fn start(listener: Listener, asker: Asker) -> io::Result<()> {
    let server =
        Server { listener, asker, clients: Vec::new(), is_open: false, ask_from: now(), accept_from: now(), length: 0 };
    let builder = thread::Builder::new().name("metrics".into()).stack_size(128 << 10);
    guard::start(builder, guard::NOTHING, move || {
        // Whoever advertises goes first. Without the setting it is only less so.
        let _ = be_nice(NICENESS);
        server.run();
    })?;
    Ok(())
}

struct Server {
    listener: Listener,
    asker: Asker,
    /// In the order of their arrival.
    clients: Vec<Client>,
    /// Whether there is a question that the loop has not answered yet.
    is_open: bool,
    ask_from: Instant,
    accept_from: Instant,
    /// How long the last page was.
    length: usize,
}

struct Client {
    stream: Box<dyn Connection>,
    stage: Stage,
    deadline: Instant,
}

enum Stage {
    /// Its request, so far.
    Request(Vec<u8>),
    /// For the page; `asked`: the question that is open was asked after this client came.
    Waiting { wanted: Wanted, asked: bool },
    /// An answer, which clients may share, how much of it is written, and how much is to be.
    Reply { reply: Arc<Reply>, written: usize, end: usize },
}

/// An answer of HTTP.
struct Reply {
    head: String,
    body: String,
}

impl Reply {
    /// What comes after the first `written` bytes, or a part of it.
    fn rest(&self, written: usize) -> &[u8] {
        let (head, body) = (self.head.as_bytes(), self.body.as_bytes());
        match written.checked_sub(head.len()) {
            Some(written) => body.get(written..).unwrap_or_default(),
            None => head.get(written..).unwrap_or_default(),
        }
    }

    fn refusal(refusal: Refusal) -> Arc<Self> {
        let (head, body) = request::refusal(refusal);
        Arc::new(Self { head, body })
    }
}

impl Server {
    fn run(mut self) {
        loop {
            let Ok(ready) = self.wait() else {
                // poll fails for want of memory, or by a mistake of ours: not at full speed.
                thread::sleep(std::time::Duration::from_micros(ACCEPT_PAUSE.as_micros()));
                continue;
            };
            if ready.woken && !self.hear() {
                return;
            }
            let now = now();
            for (client, ready) in self.clients.iter_mut().zip(ready.clients) {
                if ready && !client.go_on(now) {
                    client.deadline = now;
                }
            }
            self.expire(now);
            if ready.newcomer {
                self.accept(now);
            }
            self.ask(now);
        }
    }

    fn wait(&self) -> io::Result<Ready> {
        let now = now();
        let is_full = self.clients.len() >= CLIENTS && self.victim(now).is_none();
        let accepts = now >= self.accept_from && !is_full;
        let mut set = PollSet::new();
        set.add(self.asker.as_fd());
        if accepts {
            set.add(self.listener.as_fd());
        }
        for client in &self.clients {
            match client.stage {
                Stage::Request(_) => set.add(client.stream.as_fd()),
                Stage::Waiting { .. } => set.add_end(client.stream.as_fd()),
                Stage::Reply { .. } => set.add_writable(client.stream.as_fd()),
            }
        }
        let deadlines = self.clients.iter().map(|client| client.deadline);
        let ask = (!self.is_open && self.is_asked()).then_some(self.ask_from);
        let accept = (now < self.accept_from).then_some(self.accept_from);
        let place = is_full.then(|| self.clients.iter().filter_map(Client::unsure_from).min()).flatten();
        let next = deadlines.chain(ask).chain(accept).chain(place).min();
        set.wait(next.map(|next| next.since(now)))?;
        Ok(Ready {
            woken: set.is_ready(self.asker.as_fd()),
            newcomer: accepts && set.is_ready(self.listener.as_fd()),
            clients: self.clients.iter().map(|client| set.is_ready(client.stream.as_fd())).collect(),
        })
    }

    /// Takes what the agent's loop answered; false if the loop is gone.
    fn hear(&mut self) -> bool {
        if !self.asker.is_heard() {
            return false;
        }
        while let Some(answer) = self.asker.answer() {
            self.is_open = false;
            let Self { clients, length, .. } = self;
            let mut pages: Vec<(Format, Arc<Reply>)> = Vec::new();
            for client in clients {
                let Stage::Waiting { wanted, asked: true } = client.stage else { continue };
                let Some(Answer::Status(snapshot)) = &answer else {
                    client.reply(Reply::refusal(Refusal::Unavailable), now());
                    continue;
                };
                let made = pages.iter().find(|(format, _)| *format == wanted.format);
                let reply = made.map(|(_, reply)| Arc::clone(reply)).unwrap_or_else(|| {
                    // A little longer than the last one, since counters grow.
                    let body = page(snapshot, wanted.format, length.saturating_add(*length / 64));
                    *length = body.len();
                    Arc::new(Reply { head: request::head(wanted.format, body.len()), body })
                });
                client.reply(Arc::clone(&reply), now());
                if wanted.head_only {
                    client.reply_only_head();
                }
                if pages.iter().all(|(format, _)| *format != wanted.format) {
                    pages.push((wanted.format, reply));
                }
            }
        }
        true
    }

    /// Ends whose time is over; a client that waits for the agent is told so first.
    fn expire(&mut self, now: Instant) {
        self.clients.retain_mut(|client| {
            if now < client.deadline {
                return true;
            }
            let waits = matches!(client.stage, Stage::Waiting { .. });
            if waits {
                client.reply(Reply::refusal(Refusal::Unavailable), now);
            }
            waits && client.go_on(now)
        });
    }

    fn accept(&mut self, now: Instant) {
        if self.clients.len() >= CLIENTS {
            // Whoever was one may have been heard since.
            let Some(victim) = self.victim(now) else { return };
            self.clients.remove(victim);
        }
        match self.listener.accept() {
            Ok(stream) => {
                let mut client = Client { stream, stage: Stage::Request(Vec::new()), deadline: now + REQUEST_TIME };
                // Whoever has already written its request cannot be pushed out before it is read.
                if client.go_on(now) {
                    self.clients.push(client);
                }
            }
            Err(error) if is_temporary(&error) => {}
            Err(_) => self.accept_from = now + ACCEPT_PAUSE,
        }
    }

    /// Who is pushed out: the client that has been silent longest, or else the one that has read longest.
    fn victim(&self, now: Instant) -> Option<usize> {
        let is_silent = |client: &Client| matches!(client.stage, Stage::Request(_));
        let is_slow = |client: &Client| client.unsure_from().is_some_and(|from| from <= now);
        self.clients.iter().position(is_silent).or_else(|| self.clients.iter().position(is_slow))
    }

    /// Whether a client waits for a question.
    fn is_asked(&self) -> bool {
        self.clients.iter().any(|client| matches!(client.stage, Stage::Waiting { asked: false, .. }))
    }

    fn ask(&mut self, now: Instant) {
        if self.is_open || now < self.ask_from || !self.is_asked() {
            return;
        }
        for client in &mut self.clients {
            if let Stage::Waiting { asked, .. } = &mut client.stage {
                *asked = true;
            }
        }
        self.is_open = true;
        self.ask_from = now + SPACING;
        self.asker.ask(Verb::Status);
    }
}

/// Which descriptors have news.
struct Ready {
    woken: bool,
    newcomer: bool,
    clients: Vec<bool>,
}

impl Client {
    fn reply(&mut self, reply: Arc<Reply>, now: Instant) {
        let end = reply.head.len().saturating_add(reply.body.len());
        self.stage = Stage::Reply { reply, written: 0, end };
        self.deadline = now + WRITE_TIME;
    }

    fn reply_only_head(&mut self) {
        if let Stage::Reply { reply, end, .. } = &mut self.stage {
            *end = reply.head.len();
        }
    }

    /// From when on it may be pushed out, if it reads.
    fn unsure_from(&self) -> Option<Instant> {
        matches!(self.stage, Stage::Reply { .. }).then(|| self.deadline - WRITE_TIME + SURE)
    }

    /// Does what can be done without waiting; false if the client is done with.
    fn go_on(&mut self, now: Instant) -> bool {
        match &mut self.stage {
            Stage::Request(bytes) => {
                let mut chunk = [0; LIMIT];
                let count = match self.stream.read(&mut chunk) {
                    Ok(0) => return false,
                    Ok(count) => count,
                    Err(error) => return is_temporary(&error),
                };
                bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
                match request::parse(bytes) {
                    None => true,
                    Some(Ok(wanted)) => {
                        self.stage = Stage::Waiting { wanted, asked: false };
                        self.deadline = now + ANSWER_TIME;
                        true
                    }
                    Some(Err(refusal)) => {
                        self.reply(Reply::refusal(refusal), now);
                        self.go_on(now)
                    }
                }
            }
            // Ready without being waited for: the client is gone.
            Stage::Waiting { .. } => false,
            Stage::Reply { reply, written, end } => {
                while *written < *end {
                    let rest = reply.rest(*written);
                    let rest = rest.get(..end.saturating_sub(*written)).unwrap_or(rest);
                    match self.stream.write(rest) {
                        Ok(0) => return false,
                        Ok(count) => *written = written.saturating_add(count),
                        Err(error) => return is_temporary(&error),
                    }
                }
                self.stream.finish();
                false
            }
        }
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
