//! The control socket: one line of request in, one JSON document out, over a Unix stream socket that only
//! root and the agent's own user may talk to. A thread of its own serves it, so that a client which is slow,
//! silent or hostile costs the loop that sends Advertisements nothing: that loop is only ever asked, over a
//! channel, for a copy of its state. The server is in [`server`], the asking side in [`client`].

pub mod client;
mod server;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use serde::{Deserialize, Serialize};

use crate::status::{SCHEMA, Snapshot};

/// Where the socket is unless told otherwise.
pub const DEFAULT_PATH: &str = "/run/steadfast/control.sock";

/// What a client can ask for; its word on the wire is [`Verb::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `status`: the status document.
    Status,
    /// `reload`: read the configuration file again.
    Reload,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 2] = [Self::Status, Self::Reload];

    /// The request line, without its newline.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Reload => "reload",
        }
    }
}

impl FromStr for Verb {
    type Err = UnknownVerb;

    fn from_str(name: &str) -> Result<Self, UnknownVerb> {
        Self::ALL.into_iter().find(|verb| verb.name() == name).ok_or(UnknownVerb)
    }
}

/// The request is none of [`Verb::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownVerb;

impl fmt::Display for UnknownVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown request; known are: ")?;
        for (index, verb) in Verb::ALL.into_iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}", verb.name())?;
        }
        Ok(())
    }
}

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    schema: u32,
    /// Whether the new configuration is in force; if not, the old one still is.
    pub applied: bool,
    /// What is to be said about the file, a line each: `file:line:column: severity: message`.
    pub findings: Vec<String>,
}

impl Reloaded {
    /// The outcome of a reload, in this version's schema.
    pub fn new(applied: bool, findings: Vec<String>) -> Self {
        Self { schema: SCHEMA, applied, findings }
    }
}

/// The document in place of the asked one, when there is none.
#[derive(Debug, Serialize, Deserialize)]
struct Failure {
    schema: u32,
    error: String,
}

/// A question to the agent's loop. Dropped without an answer, the client is told that there is none.
#[derive(Debug)]
pub struct Request {
    verb: Verb,
    answers: Sender<Option<Answer>>,
    wake: Arc<UnixStream>,
    answer: Option<Answer>,
}

impl Request {
    /// What is asked for.
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// Hands the answer to the control thread; never waits, and costs no more than a move and a wake-up.
    pub fn answer(mut self, answer: Answer) {
        self.answer = Some(answer);
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        // If the thread is gone, so are its clients. A wake-up that finds the pipe full is one too many.
        let _ = self.answers.send(self.answer.take());
        let _ = io::Write::write(&mut &*self.wake, &[0]);
    }
}

/// What the agent's loop answers.
#[derive(Debug)]
pub enum Answer {
    /// To [`Verb::Status`]: the state of everything, now.
    Status(Snapshot),
    /// To [`Verb::Reload`].
    Reload(Reloaded),
}

/// The agent's end: when the descriptor becomes readable, [`Control::take_request`] has a question. At most one is
/// open at any time, and the next one comes no sooner than 50 ms after the one before, however many clients
/// ask, so that they cannot load the loop.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    /// The socket file's device and inode: only our own is removed.
    identity: (u64, u64),
    questions: Receiver<Verb>,
    answers: Sender<Option<Answer>>,
    wake: Arc<UnixStream>,
}

impl Control {
    /// Makes the socket at `path` (mode 0600; its directory, if missing, 0755) and starts the thread that
    /// serves it. A socket file that nobody answers on is replaced. Whoever wants signals on a descriptor
    /// blocks them first.
    ///
    /// # Errors
    /// `AddrInUse` if another agent answers on `path`; `AlreadyExists` if something is there that is no
    /// socket; else what the system says about the directory, the socket or the thread.
    pub fn start(path: &Path) -> io::Result<Self> {
        let (questions, asked) = channel();
        let (answers, answered) = channel();
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let (listener, identity) = server::listen(path)?;
        let control = Self { path: path.to_owned(), identity, questions: asked, answers, wake: Arc::new(wake) };
        server::start(listener, questions, answered, woken)?;
        Ok(control)
    }

    /// The question that the descriptor announced, if it is still there. Never waits.
    pub fn take_request(&mut self) -> Option<Request> {
        // One question is open at most, so one read takes every wake-up there is.
        let _ = io::Read::read(&mut &*self.wake, &mut [0; 16]);
        let verb = self.questions.try_recv().ok()?;
        Some(Request { verb, answers: self.answers.clone(), wake: Arc::clone(&self.wake), answer: None })
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

impl Drop for Control {
    /// Removes the socket file, if it is still ours; the thread ends, and its clients with it.
    fn drop(&mut self) {
        if server::identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_known_by_its_name() {
        for verb in Verb::ALL {
            assert_eq!(verb.name().parse(), Ok(verb));
        }
        assert_eq!("".parse::<Verb>(), Err(UnknownVerb));
        assert_eq!(UnknownVerb.to_string(), "unknown request; known are: status, reload");
    }
}
