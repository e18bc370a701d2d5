//! Real servers: a small web server that says its name, a server that says back what it hears with its name, and one
//! that only accepts, for thousands of checks. Each ends when dropped, its port then refuses.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::lab::clock::Stamp;
use crate::lab::namespace::Namespace;

/// What a server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Answers one HTTP request with its name.
    Web,
    /// Answers every line with its name, until the client has enough.
    Echo,
    /// Closes it.
    Sink,
}

/// A server that listens until it is dropped.
#[derive(Debug)]
pub struct Server {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server named `name` at an address of a namespace.
    #[track_caller]
    pub fn start(place: &Namespace, address: SocketAddr, name: &str, kind: Kind) -> Self {
        let listener = place.enter(|| TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}")));
        listener.set_nonblocking(true).expect("a listener can be made non-blocking");
        let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count, name) = (Arc::clone(&stop), Arc::clone(&accepted), name.to_owned());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                wait_readable(&listener);
                while let Ok((stream, _)) = listener.accept() {
                    count.fetch_add(1, Ordering::Relaxed);
                    if kind != Kind::Sink {
                        let (name, stopped) = (name.clone(), Arc::clone(&stopped));
                        std::thread::spawn(move || serve(stream, &name, kind, &stopped));
                    }
                }
            }
        });
        Self { stop, accepted, thread: Some(thread) }
    }

    /// A web server at port 80 of an address of a namespace.
    #[track_caller]
    pub fn web(place: &Namespace, address: &str, name: &str) -> Self {
        Self::start(place, address.parse().expect("an address written in a test"), name, Kind::Web)
    }

    /// How many connections it has accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Stops it. When its port had closed.
    pub fn stop(self) -> Stamp {
        drop(self);
        Stamp::now()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn wait_readable(listener: &TcpListener) {
    let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    let _ = poll(&mut fds, PollTimeout::from(20_u8));
}

fn serve(mut stream: TcpStream, name: &str, kind: Kind, stopped: &AtomicBool) {
    let (mut buffer, mut heard) = ([0_u8; 1024], Vec::new());
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
    while !stopped.load(Ordering::Relaxed) && heard.len() < 65_536 {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => heard.extend_from_slice(&buffer[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => return,
        }
        if kind == Kind::Echo && heard.ends_with(b"\n") {
            heard.clear();
            if stream.write_all(format!("{name}\n").as_bytes()).is_err() {
                return;
            }
        }
        if kind == Kind::Web && heard.ends_with(b"\r\n\r\n") {
            let length = name.len() + 1;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(format!("{head}{name}\n").as_bytes());
            return;
        }
    }
}
