//! Mail: plain SMTP (RFC 5321), a letter at a time, on a thread of its own, however slow the server is. What finds no
//! room in the queue is dropped and counted; what could not be delivered is logged. No TLS, no authentication, as
//! keepalived: the server is a relay near by.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use log::{debug, error, warn};

use super::lanes::Key;
use super::{Notice, Shared, What, Whose, add};
use crate::guard;
use crate::plan::notify::MailPlan;
use crate::timestamp::Timestamp;

/// Letters that wait.
const QUEUE: usize = 64;

/// The longest line of an answer, and the most lines. RFC 5321 section 4.5.3.1.5 has 512 bytes for a line.
const MOST_LINE: u64 = 1024;
const MOST_LINES: usize = 100;

/// How long a stop waits for what has been written.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// What is said to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Letter {
    plan: Arc<MailPlan>,
    subject: String,
    body: String,
    date: String,
}

/// Where letters are written.
#[derive(Debug, Default)]
pub(super) struct Post {
    plan: Option<Arc<MailPlan>>,
    letters: Option<(SyncSender<Letter>, Receiver<()>)>,
    /// What was written last of whom: the same is not written twice.
    written: HashMap<Key, What>,
}

impl Post {
    pub(super) fn set_plan(&mut self, plan: Option<Arc<MailPlan>>) {
        self.plan = plan;
    }

    /// Writes of a new state of an instance or a group.
    pub(super) fn notice(&mut self, notice: &Notice, shared: &Arc<Shared>) {
        let Some(plan) = &self.plan else { return };
        let (subject, body) = match notice.what {
            What::Master => ("Entering MASTER state", "it holds its addresses now"),
            What::Backup => ("Entering BACKUP state", "it does not hold its addresses"),
            What::Fault if !plan.faults => return,
            What::Fault => ("Entering FAULT state", "it cannot take part"),
            What::Stop => ("Stopping", "it was stopped"),
            _ => return,
        };
        let key = (notice.whose, Arc::clone(&notice.name));
        if self.written.insert(key, notice.what) == Some(notice.what) {
            return;
        }
        let (kind, name) = match notice.whose {
            Whose::Instance => ("Instance", &notice.name),
            Whose::Group => ("Group", &notice.name),
        };
        self.write(format!("VRRP {kind} {name} - {subject}"), format!("VRRP {kind} {name}: {body}."), shared);
    }

    /// Writes a letter, if somebody reads letters.
    pub(super) fn write(&mut self, subject: String, body: String, shared: &Arc<Shared>) {
        let Some(plan) = self.plan.clone() else { return };
        let subject = format!("[{}] {subject}", plan.router_id);
        let letter = Letter { plan, subject, body, date: Timestamp::now().to_rfc5322() };
        if self.letters.is_none() {
            match start(Arc::clone(shared)) {
                Ok(started) => self.letters = Some(started),
                Err(error) => error!("mail cannot be sent: {error}"),
            }
        }
        let taken = self.letters.as_ref().is_some_and(|(letters, _)| letters.try_send(letter).is_ok());
        if !taken {
            add(&shared.counts.mails_dropped, 1);
            warn!("a mail was dropped: {QUEUE} others wait for the mail server");
        }
    }

    /// Waits until what was written has been sent, for a bounded time.
    pub(super) fn finish(&mut self) {
        let Some((letters, ended)) = self.letters.take() else { return };
        drop(letters);
        if ended.recv_timeout(STOP_PATIENCE) != Err(RecvTimeoutError::Disconnected) {
            warn!("not every mail could be sent in time");
        }
    }
}

/// Starts the thread that sends letters; it ends when nobody can write any more.
fn start(shared: Arc<Shared>) -> io::Result<(SyncSender<Letter>, Receiver<()>)> {
    let (letters, inbox) = sync_channel::<Letter>(QUEUE);
    let (alive, ended) = channel();
    let builder = thread::Builder::new().name("mail".into()).stack_size(256 << 10);
    guard::start(builder, guard::NOTHING, move || {
        let _alive = alive;
        while let Ok(letter) = inbox.recv() {
            match send(&letter) {
                Ok(()) => {
                    add(&shared.counts.mails, 1);
                    debug!("mail: {}", letter.subject);
                }
                Err(problem) => {
                    add(&shared.counts.mails_dropped, 1);
                    let (host, port) = &letter.plan.server;
                    warn!("mail was not sent by {host}:{port}: {problem}: {}", letter.subject);
                }
            }
        }
    })?;
    Ok((letters, ended))
}

/// A connection on which all of a dialogue has to be done in time.
struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

/// Delivers a letter to the server.
fn send(letter: &Letter) -> Result<(), String> {
    let plan = &letter.plan;
    let problem = |error: io::Error| error.to_string();
    let (host, port) = &plan.server;
    let addresses = (host.as_str(), *port).to_socket_addrs().map_err(problem)?;
    let mut last = "it has no address".to_owned();
    let mut connected = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, plan.timeout) {
            Ok(stream) => {
                connected = Some(stream);
                break;
            }
            Err(error) => last = error.to_string(),
        }
    }
    let stream = connected.ok_or(last)?;
    stream.set_write_timeout(Some(plan.timeout)).map_err(problem)?;
    let mut writer = stream.try_clone().map_err(problem)?;
    let mut reader = BufReader::new(Timed { stream, deadline: Instant::now() + plan.timeout });
    reply(&mut reader, "the greeting", 220)?;
    let mut say = |line: String, expected: u16| {
        writer.write_all(line.as_bytes()).map_err(problem)?;
        let what = line.split_ascii_whitespace().next().unwrap_or("");
        reply(&mut reader, if line.len() > 512 { "the mail" } else { what }, expected)
    };
    say(format!("HELO {}\r\n", plan.helo), 250)?;
    say(format!("MAIL FROM:<{}>\r\n", plan.from), 250)?;
    for to in &plan.to {
        say(format!("RCPT TO:<{to}>\r\n"), 250)?;
    }
    say("DATA\r\n".to_owned(), 354)?;
    say(message(letter), 250)?;
    // It has been taken; whatever follows makes it no worse.
    let _ = say("QUIT\r\n".to_owned(), 221);
    Ok(())
}

/// The header and the text, up to the dot that ends it.
fn message(letter: &Letter) -> String {
    let Letter { plan, subject, body, date } = letter;
    let mut text = String::new();
    let to = plan.to.join(", ");
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "Date: {date}\r\nFrom: {}\r\nTo: {to}\r\nSubject: {}\r\nX-Mailer: Steadfast\r\n\r\n",
        plan.from,
        one_line(subject)
    );
    for line in body.lines() {
        // RFC 5321 section 4.5.2: a dot at the beginning is doubled.
        let dot = if line.starts_with('.') { "." } else { "" };
        let _ = write!(text, "{dot}{}\r\n", one_line(line));
    }
    text.push_str(".\r\n");
    text
}

/// Without what would begin another line.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Waits for the reply to `what`; RFC 5321 section 4.2.
fn reply(reader: &mut BufReader<Timed>, what: &str, expected: u16) -> Result<(), String> {
    for _ in 0..MOST_LINES {
        let mut line = Vec::new();
        let read = reader.by_ref().take(MOST_LINE).read_until(b'\n', &mut line);
        let length = read.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("no answer to {what} in time"),
            _ => error.to_string(),
        })?;
        if length == 0 {
            return Err(format!("closed before the answer to {what}"));
        }
        let code = line.get(..3).and_then(|code| std::str::from_utf8(code).ok()).and_then(|code| code.parse().ok());
        match (code, line.get(3)) {
            (None, _) => return Err(format!("no SMTP answer to {what}")),
            (Some(_), Some(b'-')) => {}
            (Some(code), _) if code == expected => return Ok(()),
            // RFC 5321 section 4.3.2: 251 is a success too.
            (Some(251), _) if expected == 250 => return Ok(()),
            (Some(code), _) => return Err(format!("{code} to {what}, expected {expected}")),
        }
    }
    Err(format!("an answer without end to {what}"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that answers each line with the next of `answers`, and what it was told.
    fn server(answers: &'static [&'static str]) -> (u16, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut writer = stream.try_clone().unwrap();
            let mut reader = BufReader::new(stream);
            let mut told = String::new();
            let mut in_text = false;
            for answer in answers {
                writer.write_all(answer.as_bytes()).unwrap();
                loop {
                    let before = told.len();
                    if reader.read_line(&mut told).unwrap_or(0) == 0 {
                        return told;
                    }
                    in_text &= &told[before..] != ".\r\n";
                    if !in_text {
                        break;
                    }
                }
                in_text = told.ends_with("DATA\r\n");
            }
            told
        });
        (port, thread)
    }

    fn letter(port: u16) -> Letter {
        let plan = MailPlan {
            server: ("127.0.0.1".into(), port),
            helo: "r1".into(),
            from: "r1@example.org".into(),
            to: vec!["a@example.org".into(), "b@example.org".into()],
            timeout: Duration::from_millis(300),
            faults: true,
            router_id: "r1".into(),
        };
        let date = "Mon, 23 Nov 2026 01:02:03 +0000".into();
        Letter { plan: Arc::new(plan), subject: "[r1] VRRP\r\nBcc: x".into(), body: "one\n.two".into(), date }
    }

    const GOOD: &[&str] = &[
        "220-a\r\n220 b\r\n",
        "250 hello\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
        "251 ok\r\n",
        "354 go\r\n",
        "250 taken\r\n",
    ];

    #[test]
    fn a_letter_arrives_whole() {
        let (port, server) = server(GOOD);
        assert_eq!(send(&letter(port)), Ok(()));
        let expected = "HELO r1\r\nMAIL FROM:<r1@example.org>\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n\
             Date: Mon, 23 Nov 2026 01:02:03 +0000\r\nFrom: r1@example.org\r\nTo: a@example.org, b@example.org\r\n\
             Subject: [r1] VRRP  Bcc: x\r\nX-Mailer: Steadfast\r\n\r\none\r\n..two\r\n.\r\nQUIT\r\n";
        assert_eq!(server.join().unwrap(), expected);
    }

    #[test]
    fn what_goes_wrong_is_said() {
        for (answers, problem) in [
            (&["554 no\r\n"][..], "554 to the greeting, expected 220"),
            (&["220 a\r\n", "250 b\r\n", "250 c\r\n", "550 who\r\n"], "550 to RCPT, expected 250"),
            (&["220 a\r\n"], "closed before the answer to HELO"),
            (&["HTTP/1.1 400\r\n"], "no SMTP answer to the greeting"),
        ] {
            let (port, server) = server(answers);
            assert_eq!(send(&letter(port)), Err(problem.to_owned()));
            server.join().unwrap();
        }
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        assert_eq!(send(&letter(port)), Err("no answer to the greeting in time".to_owned()));
        drop(silent);
        assert!(send(&letter(port)).is_err());
    }
}
