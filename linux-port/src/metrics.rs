//! `--metrics`: what `steadfast status` shows, as a page for Prometheus and whoever else reads OpenMetrics, over HTTP.
//! A thread of its own, without any rights, serves it; the loop that sends Advertisements is only ever asked for the copy
//! of its state that the control socket gets too, and what is counted for the page alone is counted only where there is
//! one. What is on the page is in [`page`], how it is written in [`text`], who may ask and how in [`server`].

pub mod measured;
mod page;
mod request;
mod server;
mod text;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::str::FromStr;

use crate::control::inquiry::{self, Inbox, Request};
use crate::control::server::identity;

/// Where the page is to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `192.0.2.1:9165`, `[::1]:9165`.
    Tcp(SocketAddr),
    /// `unix:/run/steadfast/metrics.sock`: whoever may enter the directory may read the page.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The text is no [`Endpoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoEndpoint;

impl fmt::Display for NoEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("use ADDRESS:PORT or unix:PATH")
    }
}

impl FromStr for Endpoint {
    type Err = NoEndpoint;

    fn from_str(text: &str) -> Result<Self, NoEndpoint> {
        match text.strip_prefix("unix:") {
            Some("") => Err(NoEndpoint),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| NoEndpoint),
        }
    }
}

/// The agent's end: when the descriptor becomes readable, [`Metrics::take_request`] has a question, which is always
/// [`Verb::Status`](crate::control::Verb::Status). At most one is open, and the next one comes no sooner than 200 ms
/// after the one before, however many clients ask.
#[derive(Debug)]
pub struct Metrics {
    inbox: Inbox,
    /// The socket file with its device and inode: only our own is removed.
    file: Option<(PathBuf, (u64, u64))>,
}

impl Metrics {
    /// Opens the endpoint and starts the thread that serves it. With the rights of the caller, so that a port may be one
    /// below 1024.
    ///
    /// # Errors
    /// What the system says about the address, the socket file or the thread; of a file what
    /// [`Control::start`](crate::control::Control::start) says.
    pub fn start(endpoint: &Endpoint) -> io::Result<Self> {
        let (inbox, asker) = inquiry::pair()?;
        let (listener, file) = server::Listener::open(endpoint)?;
        let metrics = Self { inbox, file };
        server::start(listener, asker)?;
        Ok(metrics)
    }

    /// The question that the descriptor announced, if it is still there. Never waits.
    pub fn take_request(&mut self) -> Option<Request> {
        self.inbox.take()
    }
}

impl AsFd for Metrics {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inbox.as_fd()
    }
}

impl Drop for Metrics {
    /// Removes the socket file, if it is still ours; the thread ends, and its clients with it.
    fn drop(&mut self) {
        if let Some((path, ours)) = &self.file
            && identity(path).is_ok_and(|identity| identity == *ours)
        {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_address_with_its_port_or_a_path() {
        for text in ["127.0.0.1:9165", "[::1]:9165", "unix:/run/steadfast/metrics.sock", "unix:here"] {
            assert_eq!(text.parse::<Endpoint>().map(|endpoint| endpoint.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "9165", "127.0.0.1", "localhost:9165", ":9165", "unix:", "/run/metrics.sock", "::1:9165x"] {
            assert_eq!(text.parse::<Endpoint>(), Err(NoEndpoint), "{text:?}");
        }
    }
}
