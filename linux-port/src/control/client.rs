//! The asking side of the control socket, for the command line: one request, one answer, one deadline for
//! all of it.

use std::fmt::{self, Write as _};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::command::{Action, ServerCommand, ServerReport};
use super::{Drained, Explained, Failure, Reloaded, Verb};
use crate::status::{SCHEMA, Snapshot};

/// How long one request may take, from connecting to the last byte.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The longest answer that is read: some 100,000 Virtual Routers.
const ANSWER_BYTES: u64 = 128 << 20;

/// Why there is no answer.
#[derive(Debug)]
pub enum AskError {
    /// Nobody answers on the socket.
    Connect(io::Error),
    /// The connection broke or took too long.
    Exchange(io::Error),
    /// The answer is not one that this version understands.
    Garbled(serde_json::Error),
    /// The answer's schema is another than ours.
    Schema(u64),
    /// The agent says why not.
    Refused(String),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                f.write_str("no agent is running there")
            }
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Exchange(error) if is_timeout(error) => f.write_str("the agent took too long to answer"),
            Self::Exchange(error) => write!(f, "the connection broke: {error}"),
            Self::Garbled(error) => write!(f, "the answer cannot be understood: {error}"),
            Self::Schema(schema) => write!(f, "the answer has schema {schema}, this program knows {SCHEMA}"),
            Self::Refused(reason) => {
                f.write_str("the agent refuses: ")?;
                // What would speak to the terminal is escaped; quotes are for people.
                reason.chars().try_for_each(|character| match character.is_control() {
                    true => write!(f, "{}", character.escape_debug()),
                    false => f.write_char(character),
                })
            }
        }
    }
}

impl std::error::Error for AskError {}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The status of the agent at `path`: as it came, a JSON document on one line, and taken apart.
///
/// # Errors
/// See [`AskError`].
pub fn status(path: &Path) -> Result<(String, Snapshot), AskError> {
    ask(path, &Verb::Status)
}

/// Has the agent at `path` read its configuration again.
///
/// # Errors
/// See [`AskError`].
pub fn reload(path: &Path) -> Result<Reloaded, AskError> {
    ask(path, &Verb::Reload).map(|(_, reloaded)| reloaded)
}

/// Why a Virtual Router of the agent at `path` is as it is.
///
/// # Errors
/// See [`AskError`].
pub fn explain(path: &Path, router: &str) -> Result<Explained, AskError> {
    ask(path, &Verb::Explain(router.into())).map(|(_, explained)| explained)
}

/// Has a Virtual Router of the agent at `path` hand over and stay out, with its sync group; without a name all.
///
/// # Errors
/// See [`AskError`].
pub fn drain(path: &Path, router: Option<String>) -> Result<Drained, AskError> {
    ask(path, &Verb::Drain(router)).map(|(_, drained)| drained)
}

/// Lets it take part again, or all.
///
/// # Errors
/// See [`AskError`].
pub fn resume(path: &Path, router: Option<String>) -> Result<Drained, AskError> {
    ask(path, &Verb::Resume(router)).map(|(_, drained)| drained)
}

/// Has the agent at `path` do something about a real server.
///
/// # Errors
/// See [`AskError`].
pub fn server(path: &Path, command: ServerCommand) -> Result<ServerReport, AskError> {
    ask(path, &Verb::Server(command)).map(|(_, report)| report)
}

/// How often it is looked whether the last connection is gone.
const LOOK: Duration = Duration::from_millis(100);

/// For how long there has to be none: what was half open when the server was drained is open by then.
const SETTLED: Duration = Duration::from_secs(1);

/// Waits until the server of `command` has no open connection, but no longer than `timeout`; how it is then.
///
/// # Errors
/// See [`AskError`].
pub fn wait_until_idle(
    path: &Path,
    command: &ServerCommand,
    timeout: Option<Duration>,
) -> Result<ServerReport, AskError> {
    let begin = Instant::now();
    let mut idle_since = None;
    loop {
        let report = server(path, ServerCommand { action: Action::Show, ..command.clone() })?;
        idle_since = report.is_idle().then(|| idle_since.unwrap_or_else(Instant::now));
        let left = timeout.map_or(LOOK, |timeout| timeout.saturating_sub(begin.elapsed()).min(LOOK));
        if idle_since.is_some_and(|since| since.elapsed() >= SETTLED) || left.is_zero() {
            return Ok(report);
        }
        thread::sleep(left);
    }
}

fn ask<T: DeserializeOwned>(path: &Path, verb: &Verb) -> Result<(String, T), AskError> {
    let deadline = Instant::now() + PATIENCE;
    let stream = connect(path, PATIENCE).map_err(AskError::Connect)?;
    let text = exchange(stream, verb, deadline).map_err(AskError::Exchange)?;
    if let Ok(failure) = serde_json::from_str::<Failure>(&text) {
        return Err(AskError::Refused(failure.error));
    }
    let schema = serde_json::from_str::<SchemaOnly>(&text).map_err(AskError::Garbled)?.schema;
    if schema != u64::from(SCHEMA) {
        return Err(AskError::Schema(schema));
    }
    let document = serde_json::from_str(&text).map_err(AskError::Garbled)?;
    Ok((text, document))
}

#[derive(serde::Deserialize)]
struct SchemaOnly {
    schema: u64,
}

fn exchange(mut stream: UnixStream, verb: &Verb, deadline: Instant) -> io::Result<String> {
    stream.set_write_timeout(Some(left(deadline)?))?;
    match stream.write_all(format!("{verb}\n").as_bytes()) {
        // Refused before it was asked; the reason is there to be read.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        result => result?,
    }
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => text.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset && !text.is_empty() => break,
            Err(error) => return Err(error),
        }
        if text.len() as u64 > ANSWER_BYTES {
            return Err(io::Error::new(ErrorKind::FileTooLarge, "the answer does not end"));
        }
    }
    String::from_utf8(text).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Connects, but waits no longer than `patience` for a server whose listen queue is full. The connection
/// is made on a thread that is left behind if it hangs, since connect(2) on a Unix socket knows no timeout.
pub(super) fn connect(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let (connected, result) = channel();
    let path = path.to_owned();
    thread::Builder::new().name("connect".into()).stack_size(64 << 10).spawn(move || {
        // Nobody receives it once `patience` is over.
        let _ = connected.send(UnixStream::connect(path));
    })?;
    result.recv_timeout(patience).unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_shown_as_it_is_but_does_not_speak_to_the_terminal() {
        let refused = AskError::Refused("there is no \"WEB\x1b[2J\"".into());
        assert_eq!(refused.to_string(), r#"the agent refuses: there is no "WEB\u{1b}[2J""#);
    }
}
