//! The control socket: one line of request in, one JSON document out, over a Unix stream socket that only
//! root and the agent's own user may talk to. A thread of its own serves it, so that a client which is slow,
//! silent or hostile costs the loop that sends Advertisements nothing: that loop is only ever asked, over a
//! channel ([`inquiry`]), for a copy of its state. The server is in [`server`], the asking side in [`client`].

pub mod client;
pub mod command;
pub mod inquiry;
pub(crate) mod server;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::status::{SCHEMA, Snapshot};

pub use inquiry::Request;

use command::{ServerCommand, ServerReport};
use inquiry::Inbox;

/// Where the socket is unless told otherwise.
pub const DEFAULT_PATH: &str = "/run/steadfast/control.sock";

/// What a client can ask for; [`fmt::Display`] is the request line without its newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `status`: the status document.
    Status,
    /// `reload`: read the configuration file again.
    Reload,
    /// `explain NAME`: why a Virtual Router is as it is.
    Explain(String),
    /// `drain NAME`, `drain-all`: hand over and stay out.
    Drain(Option<String>),
    /// `resume NAME`, `resume-all`: take part again.
    Resume(Option<String>),
    /// `server {…}`: about one real server.
    Server(ServerCommand),
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("status"),
            Self::Reload => f.write_str("reload"),
            Self::Explain(router) => write!(f, "explain {router}"),
            Self::Drain(Some(router)) => write!(f, "drain {router}"),
            Self::Drain(None) => f.write_str("drain-all"),
            Self::Resume(Some(router)) => write!(f, "resume {router}"),
            Self::Resume(None) => f.write_str("resume-all"),
            // Strings and numbers can always be written as JSON.
            Self::Server(command) => {
                write!(f, "server {}", serde_json::to_string(command).map_err(|_| fmt::Error)?)
            }
        }
    }
}

impl FromStr for Verb {
    type Err = BadRequest;

    fn from_str(line: &str) -> Result<Self, BadRequest> {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("status", "") => Ok(Self::Status),
            ("reload", "") => Ok(Self::Reload),
            ("explain", router) if !router.is_empty() => Ok(Self::Explain(router.into())),
            ("drain", router) if !router.is_empty() => Ok(Self::Drain(Some(router.into()))),
            ("drain-all", "") => Ok(Self::Drain(None)),
            ("resume", router) if !router.is_empty() => Ok(Self::Resume(Some(router.into()))),
            ("resume-all", "") => Ok(Self::Resume(None)),
            ("server", command) => {
                serde_json::from_str(command).map(Self::Server).map_err(|error| BadRequest::Garbled(error.to_string()))
            }
            _ => Err(BadRequest::Unknown),
        }
    }
}

/// The request line is none of [`Verb`]'s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadRequest {
    /// There is no such request.
    Unknown,
    /// What belongs to it cannot be understood.
    Garbled(String),
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str(
                "unknown request; known are: status, explain, reload, drain, drain-all, resume, resume-all, server",
            ),
            Self::Garbled(error) => write!(f, "the request cannot be understood: {error}"),
        }
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

/// Why a Virtual Router is as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    schema: u32,
    /// The lines of the explanation.
    pub lines: Vec<String>,
}

impl Explained {
    /// The lines of `text`, in this version's schema.
    pub fn new(text: &str) -> Self {
        Self { schema: SCHEMA, lines: text.lines().map(String::from).collect() }
    }
}

/// What became of a drain, or of its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    schema: u32,
    /// The Virtual Routers that it concerns: the one that was named with its sync group, or all.
    pub routers: Vec<Arc<str>>,
    /// Why it is not noted, if it is not: the next agent will not know of it then.
    pub unnoted: Option<String>,
}

impl Drained {
    /// What concerns these, in this version's schema.
    pub fn new(routers: Vec<Arc<str>>) -> Self {
        Self { schema: SCHEMA, routers, unnoted: None }
    }
}

/// The document in place of the asked one, when there is none.
#[derive(Debug, Serialize, Deserialize)]
struct Failure {
    schema: u32,
    error: String,
}

/// What the agent's loop answers.
#[derive(Debug)]
pub enum Answer {
    /// To [`Verb::Status`]: the state of everything, now.
    Status(Snapshot),
    /// To [`Verb::Reload`].
    Reload(Reloaded),
    /// To [`Verb::Explain`]; `None` if there is no such Virtual Router.
    Explain(Option<Explained>),
    /// To [`Verb::Drain`] and [`Verb::Resume`]; or why that cannot be done.
    Drain(Result<Drained, String>),
    /// To [`Verb::Server`]: how the server is now, or why that cannot be done.
    Server(Result<ServerReport, String>),
}

/// The agent's end: when the descriptor becomes readable, [`Control::take_request`] has a question. At most one is
/// open at any time, and the next one comes no sooner than 50 ms after the one before, however many clients
/// ask, so that they cannot load the loop.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    /// The socket file's device and inode: only our own is removed.
    identity: (u64, u64),
    inbox: Inbox,
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
        let (inbox, asker) = inquiry::pair()?;
        let (listener, identity) = server::listen(path, server::MODE)?;
        let control = Self { path: path.to_owned(), identity, inbox };
        server::start(listener, asker)?;
        Ok(control)
    }

    /// The question that the descriptor announced, if it is still there. Never waits.
    pub fn take_request(&mut self) -> Option<Request> {
        self.inbox.take()
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inbox.as_fd()
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
    fn every_verb_is_known_by_its_line() {
        let server = |action| {
            let (service, server) = ("192.0.2.1 80".into(), "10.0.0.1:80".into());
            Verb::Server(ServerCommand { action, service, server })
        };
        let lines = [
            (Verb::Status, "status"),
            (Verb::Reload, "reload"),
            (Verb::Explain("a router".into()), "explain a router"),
            (Verb::Drain(Some("a router".into())), "drain a router"),
            (Verb::Drain(None), "drain-all"),
            (Verb::Resume(Some("all".into())), "resume all"),
            (Verb::Resume(None), "resume-all"),
            (
                server(command::Action::Drain),
                r#"server {"action":"drain","service":"192.0.2.1 80","server":"10.0.0.1:80"}"#,
            ),
            (
                server(command::Action::Weight(5)),
                r#"server {"action":{"weight":5},"service":"192.0.2.1 80","server":"10.0.0.1:80"}"#,
            ),
        ];
        for (verb, line) in lines {
            assert_eq!(line.parse(), Ok(verb.clone()));
            assert_eq!(verb.to_string(), line);
        }
    }

    #[test]
    fn other_lines_are_refused_with_a_reason() {
        for line in
            ["", "stop", "status now", "status  ", "explain", "explain ", "drain", "drain ", "resume", "drain-all x"]
        {
            assert_eq!(line.parse::<Verb>(), Err(BadRequest::Unknown), "{line:?}");
        }
        for line in ["server", "server {", r#"server {"action":"shoot","service":"a","server":"b"}"#] {
            assert!(matches!(line.parse::<Verb>(), Err(BadRequest::Garbled(_))), "{line:?}");
        }
        assert!(BadRequest::Unknown.to_string().starts_with("unknown request; known are: status, explain, reload, "));
    }
}
