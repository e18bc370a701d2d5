//! A scraper of metrics: one request of HTTP, the answer taken apart, and the judgement of those who wrote the formats:
//! promtool, and the parser of Prometheus's own Python library, which takes OpenMetrics at its word.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::namespace::Namespace;

/// How long a scraper waits, as Prometheus does by default.
const PATIENCE: Duration = Duration::from_secs(10);

/// What Prometheus asks for.
pub const REQUEST: &str = "GET /metrics HTTP/1.1\r\nHost: router\r\nAccept: application/openmetrics-text;version=1.0.0,\
                           application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\
                           \r\nAccept-Encoding: gzip\r\nUser-Agent: Prometheus/2.42.0\r\n\r\n";

/// What curl asks for.
pub const OLD_REQUEST: &str = "GET /metrics HTTP/1.1\r\nHost: router\r\nAccept: */*\r\n\r\n";

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its head.
    pub head: String,
    /// The rest.
    pub body: String,
}

impl Answer {
    /// The value of a sample, named with its labels.
    pub fn value(&self, sample: &str) -> Option<f64> {
        let rest = self.body.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        rest.and_then(|value| value.parse().ok())
    }

    /// The same of a sample that has to be there.
    #[track_caller]
    pub fn must(&self, sample: &str) -> f64 {
        self.value(sample).unwrap_or_else(|| panic!("no {sample} in\n{}", self.body))
    }
}

/// Sends a request and reads the answer to its end.
///
/// # Errors
/// Of the system; `InvalidData` if it is no answer of HTTP, or shorter than it says.
fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<Answer> {
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let garbled = || io::Error::new(io::ErrorKind::InvalidData, text.chars().take(200).collect::<String>());
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(garbled)?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
    if length != Some(body.len()) && !request.starts_with("HEAD") {
        return Err(garbled());
    }
    Ok(Answer { head: head.to_owned(), body: body.to_owned() })
}

/// Asks at an address of the calling thread's namespace.
///
/// # Errors
/// As [`exchange`].
pub fn ask_here(address: SocketAddr, request: &str) -> io::Result<Answer> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    exchange(stream, request)
}

/// Asks at an address of a namespace.
///
/// # Errors
/// As [`exchange`].
pub fn ask(place: &Namespace, address: SocketAddr, request: &str) -> io::Result<Answer> {
    place.enter(|| ask_here(address, request))
}

/// Asks at a socket file.
///
/// # Errors
/// As [`exchange`].
pub fn ask_file(path: &Path, request: &str) -> io::Result<Answer> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    exchange(stream, request)
}

/// How many families `prometheus_client` finds in a page of OpenMetrics; an error if it is none.
///
/// # Errors
/// Why it cannot be asked.
#[track_caller]
pub fn families(page: &str) -> Result<usize, String> {
    const PROGRAM: &str = "import sys\n\
                           from prometheus_client.openmetrics.parser import text_string_to_metric_families\n\
                           print(len(list(text_string_to_metric_families(sys.stdin.read()))))";
    let python = std::env::var_os("STEADFAST_PYTHON").map(PathBuf::from).ok_or("STEADFAST_PYTHON is not set")?;
    if !Command::new(&python).args(["-c", "import prometheus_client"]).output().is_ok_and(|it| it.status.success()) {
        return Err(format!("{} has no prometheus_client", python.display()));
    }
    let said = judged(Command::new(python).args(["-c", PROGRAM]), page);
    Ok(said.trim().parse().expect("a number"))
}

/// Has promtool look at a page in the older format; it must have nothing to say.
///
/// # Errors
/// Why it cannot be asked.
#[track_caller]
pub fn promtool(page: &str) -> Result<(), String> {
    if Command::new("promtool").arg("--version").output().is_err() {
        return Err("promtool is not installed".to_owned());
    }
    judged(Command::new("promtool").args(["check", "metrics"]), page);
    Ok(())
}

/// What a program prints that reads a page; it must find nothing wrong.
#[track_caller]
fn judged(command: &mut Command, page: &str) -> String {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut input = child.stdin.take().expect("a pipe");
    let text = page.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    let written = writer.join().expect("a thread");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && written.is_ok(), "{command:?}: {said}\n{page}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
