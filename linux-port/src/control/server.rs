//! The control thread: makes the socket, accepts a bounded number of clients, reads one request line from
//! each, asks the agent's loop and writes the answer. It never waits for one client, everything has a
//! deadline and a size, and however many ask, the loop gets one question at a time.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use serde::Serialize;
use steadfast_core::time::{Duration, Instant};

use super::inquiry::Asker;
use super::{Answer, BadRequest, Failure, Verb, client};
use crate::guard;
use crate::status::SCHEMA;
use crate::sys::clock::now;
use crate::sys::local::{peer_user, user};
use crate::sys::poll::PollSet;
use crate::sys::process::be_nice;

/// How much nicer this thread is than the loop (nice(2)).
const NICENESS: i32 = 5;

/// Clients at a time. One more pushes out the one that has been connected longest without a request; while
/// there is none such, newcomers wait in the listen queue.
const CLIENTS: usize = 16;

/// The longest request line, newline included: room for the names of a service and a server.
const REQUEST_BYTES: usize = 4096;

/// How long a client may take for its request line.
const REQUEST_TIME: Duration = Duration::from_secs(2);

/// How long a client waits for the agent's loop: longer than a reload waits for a pipe, shorter than `steadfast` waits for
/// the answer ([`super::client::PATIENCE`]).
const ANSWER_TIME: Duration = Duration::from_secs(8);

/// How long a client may take to read its answer.
const WRITE_TIME: Duration = Duration::from_secs(5);

/// The least time between two questions to the agent's loop; who asks meanwhile shares the next answer.
const SPACING: Duration = Duration::from_millis(50);

/// How long nobody is accepted after accepting failed, for want of descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The mode of the socket file.
pub(super) const MODE: u32 = 0o600;

/// How long a socket that is already there has to accept a connection before it counts as alive but stuck.
const PROBE_TIME: std::time::Duration = std::time::Duration::from_secs(1);

/// The listening socket at `path`, of this mode, and its [`identity`].
pub(crate) fn listen(path: &Path, mode: u32) -> io::Result<(UnixListener, (u64, u64))> {
    match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file that is not a socket"));
        }
        Ok(_) => match client::connect(path, PROBE_TIME) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            // It went away meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(error),
            Ok(_) | Err(_) => {
                return Err(io::Error::new(ErrorKind::AddrInUse, "another agent answers there"));
            }
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
                DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
            }
        }
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    // Until here the mode is the umask's; from the control socket whoever slips in is kept by the check of its user.
    let result = fs::set_permissions(path, Permissions::from_mode(mode))
        .and_then(|()| listener.set_nonblocking(true))
        .and_then(|()| identity(path));
    match result {
        Ok(identity) => Ok((listener, identity)),
        Err(error) => {
            let _ = fs::remove_file(path);
            Err(error)
        }
    }
}

/// Device and inode of the file at `path`.
pub(crate) fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Serves `listener` on a thread of its own until the agent's end is gone.
pub(super) fn start(listener: UnixListener, asker: Asker) -> io::Result<()> {
    let server = Server { listener, asker, clients: Vec::new(), open: None, ask_from: now(), accept_from: now() };
    let builder = thread::Builder::new().name("control".into()).stack_size(128 << 10);
    guard::start(builder, guard::NOTHING, move || {
        // Large answers take their time, and whoever advertises goes first. Without the setting it is only less so.
        let _ = be_nice(NICENESS);
        server.run();
    })?;
    Ok(())
}

struct Server {
    listener: UnixListener,
    asker: Asker,
    /// In the order of their arrival.
    clients: Vec<Client>,
    /// The question that the loop has not answered yet.
    open: Option<Verb>,
    ask_from: Instant,
    accept_from: Instant,
}

struct Client {
    stream: UnixStream,
    stage: Stage,
    deadline: Instant,
}

enum Stage {
    /// Its request line, so far.
    Request(Vec<u8>),
    /// For an answer; `asked`: the question that is open was asked after this client came.
    Waiting { verb: Verb, asked: bool },
    /// An answer, which clients may share, and how much of it is written.
    Answer(Arc<[u8]>, usize),
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
        let accepts = now >= self.accept_from && (self.clients.len() < CLIENTS || self.idlest().is_some());
        let mut set = PollSet::new();
        set.add(self.asker.as_fd());
        if accepts {
            set.add(self.listener.as_fd());
        }
        for client in &self.clients {
            match client.stage {
                Stage::Request(_) => set.add(client.stream.as_fd()),
                Stage::Waiting { .. } => set.add_end(client.stream.as_fd()),
                Stage::Answer(..) => set.add_writable(client.stream.as_fd()),
            }
        }
        let deadlines = self.clients.iter().map(|client| client.deadline);
        let ask = (self.open.is_none() && self.next_question().is_some()).then_some(self.ask_from);
        let accept = (now < self.accept_from).then_some(self.accept_from);
        let next = deadlines.chain(ask).chain(accept).min();
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
            let Some(open) = self.open.take() else { continue };
            let answer = match &answer {
                Some(Answer::Status(snapshot)) => document(snapshot),
                Some(Answer::Reload(reloaded)) => document(reloaded),
                Some(Answer::Explain(Some(explained))) => document(explained),
                Some(Answer::Explain(None)) => failure("there is no such Virtual Router"),
                Some(Answer::Drain(Ok(drained))) => document(drained),
                Some(Answer::Drain(Err(problem))) => failure(problem),
                Some(Answer::Server(Ok(report))) => document(report),
                Some(Answer::Server(Err(problem))) => failure(problem),
                None => failure("the agent cannot answer this now"),
            };
            let deadline = now() + WRITE_TIME;
            for client in &mut self.clients {
                if matches!(&client.stage, Stage::Waiting { verb, asked: true } if *verb == open) {
                    client.stage = Stage::Answer(Arc::clone(&answer), 0);
                    client.deadline = deadline;
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
                client.reply(failure("the agent did not answer in time"), now);
            }
            waits && client.go_on(now)
        });
    }

    fn accept(&mut self, now: Instant) {
        if self.clients.len() >= CLIENTS
            && let Some(idlest) = self.idlest()
        {
            self.clients.remove(idlest);
        }
        let client = match self.listener.accept() {
            Ok((stream, _)) => Client::new(stream, now),
            Err(error) => {
                if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
                    self.accept_from = now + ACCEPT_PAUSE;
                }
                return;
            }
        };
        // Whoever has already written its request cannot be pushed out before it is read.
        if let Ok(mut client) = client
            && client.go_on(now)
        {
            self.clients.push(client);
        }
    }

    /// The client that has been silent longest.
    fn idlest(&self) -> Option<usize> {
        self.clients.iter().position(|client| matches!(client.stage, Stage::Request(_)))
    }

    /// What the client that has waited longest asks.
    fn next_question(&self) -> Option<Verb> {
        self.clients.iter().find_map(|client| match &client.stage {
            Stage::Waiting { verb, asked: false } => Some(verb.clone()),
            _ => None,
        })
    }

    fn ask(&mut self, now: Instant) {
        if self.open.is_some() || now < self.ask_from {
            return;
        }
        let Some(question) = self.next_question() else { return };
        for client in &mut self.clients {
            match &mut client.stage {
                Stage::Waiting { verb, asked } if *verb == question => *asked = true,
                _ => {}
            }
        }
        self.open = Some(question.clone());
        self.ask_from = now + SPACING;
        self.asker.ask(question);
    }
}

/// Which descriptors have news.
struct Ready {
    woken: bool,
    newcomer: bool,
    clients: Vec<bool>,
}

impl Client {
    fn new(stream: UnixStream, now: Instant) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let peer = peer_user(stream.as_fd())?;
        let mut client = Self { stream, stage: Stage::Request(Vec::new()), deadline: now + REQUEST_TIME };
        if peer != 0 && peer != user() {
            client.reply(failure("only root and the agent's own user may ask"), now);
        }
        Ok(client)
    }

    fn reply(&mut self, answer: Arc<[u8]>, now: Instant) {
        self.stage = Stage::Answer(answer, 0);
        self.deadline = now + WRITE_TIME;
    }

    /// Does what can be done without waiting; false if the client is done with.
    fn go_on(&mut self, now: Instant) -> bool {
        match &mut self.stage {
            Stage::Request(line) => {
                let mut bytes = [0; REQUEST_BYTES];
                let count = match self.stream.read(&mut bytes) {
                    Ok(count) => count,
                    Err(error) => return is_temporary(&error),
                };
                line.extend_from_slice(bytes.get(..count).unwrap_or_default());
                let end = match line.iter().position(|&byte| byte == b'\n') {
                    Some(end) if end < REQUEST_BYTES => end,
                    // The end of what is sent ends the line too.
                    None if count == 0 && !line.is_empty() => line.len(),
                    None if count == 0 => return false,
                    None if line.len() < REQUEST_BYTES => return true,
                    _ => {
                        self.reply(failure("the request is too long"), now);
                        return self.go_on(now);
                    }
                };
                let line = line.get(..end).unwrap_or_default();
                match str::from_utf8(line.trim_ascii()).map_err(|_| BadRequest::Unknown).and_then(str::parse) {
                    Ok(verb) => {
                        self.stage = Stage::Waiting { verb, asked: false };
                        self.deadline = now + ANSWER_TIME;
                        true
                    }
                    Err(bad) => {
                        self.reply(failure(bad), now);
                        self.go_on(now)
                    }
                }
            }
            // Ready without being waited for: the client is gone.
            Stage::Waiting { .. } => false,
            Stage::Answer(answer, written) => {
                match self.stream.write(answer.get(*written..).unwrap_or_default()) {
                    Ok(count) => *written = written.saturating_add(count),
                    Err(error) => return is_temporary(&error),
                }
                *written < answer.len()
            }
        }
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn document(document: &impl Serialize) -> Arc<[u8]> {
    match serde_json::to_vec(document) {
        Ok(mut bytes) => {
            bytes.push(b'\n');
            bytes.into()
        }
        Err(error) => failure(error),
    }
}

fn failure(error: impl ToString) -> Arc<[u8]> {
    let failure = Failure { schema: SCHEMA, error: error.to_string() };
    let mut bytes = serde_json::to_vec(&failure).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}
