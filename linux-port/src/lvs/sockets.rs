//! TCP sockets that are used again. To make a socket, have it waited for and close it takes the kernel longer than the
//! connection that a TCP_CHECK is after. So a socket whose connection was there is told to forget it, which resets it
//! for the server as closing would, and connects somewhere else the next time.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use crate::sys::client::{self, Failure, Kind, Route};
use crate::sys::epoll::{Epoll, Interest};

/// Sockets of a family that wait for their next connection. So many are under way at a time if checks are answered soon.
const MOST: usize = 128;

/// The sockets that wait for their next connection; all of one epoll set.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    v4: Vec<OwnedFd>,
    v6: Vec<OwnedFd>,
}

impl Sockets {
    /// Begins to connect. `token` comes once, when it is decided whether the connection is there.
    ///
    /// # Errors
    /// As of [`client::connect`].
    pub(crate) fn connect(&mut self, target: SocketAddr, epoll: &Epoll, token: u64) -> Result<OwnedFd, Failure> {
        // What an old socket cannot do is not said of the server: a new one tries.
        if let Some(socket) = self.idle(target).pop()
            && client::connect_again(socket.as_fd(), target).is_ok()
            && epoll.change(socket.as_fd(), Interest::CONNECTION, token).is_ok()
        {
            return Ok(socket);
        }
        let socket = client::connect(Kind::Stream, target, Route::default()).inspect_err(|_| self.clear())?;
        epoll.add(socket.as_fd(), Interest::CONNECTION, token)?;
        Ok(socket)
    }

    /// Resets a connection that [`Self::connect`] has made.
    pub(crate) fn take_back(&mut self, socket: OwnedFd, target: SocketAddr) {
        let idle = self.idle(target);
        if idle.len() < MOST && client::disconnect(socket.as_fd()).is_ok() {
            idle.push(socket);
        }
    }

    fn idle(&mut self, target: SocketAddr) -> &mut Vec<OwnedFd> {
        if target.is_ipv4() { &mut self.v4 } else { &mut self.v6 }
    }

    /// Closes them: somebody may need the descriptors.
    fn clear(&mut self) {
        self.v4.clear();
        self.v6.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read};
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::sys::epoll::{Events, Ready};

    fn wait(epoll: &Epoll) -> Vec<Ready> {
        let mut events = Events::default();
        epoll.wait(&mut events, Some(steadfast_core::time::Duration::from_secs(5))).unwrap();
        events.iter().collect()
    }

    #[test]
    fn a_socket_connects_again_and_each_connection_is_reset() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let target = listener.local_addr().unwrap();
            let (epoll, mut sockets) = (Epoll::new().unwrap(), Sockets::default());
            let mut descriptor = None;
            for token in 0..5 {
                let socket = sockets.connect(target, &epoll, token).unwrap();
                assert_eq!(*descriptor.get_or_insert(socket.as_raw_fd()), socket.as_raw_fd());
                assert_eq!(wait(&epoll), [Ready { token, failed: false }]);
                assert!(client::take_error(socket.as_fd()).is_none());
                let (mut server, _) = listener.accept().unwrap();
                sockets.take_back(socket, target);
                assert_eq!(server.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
            }
        }
    }

    #[test]
    fn a_used_socket_hears_that_nobody_is_there() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (epoll, mut sockets) = (Epoll::new().unwrap(), Sockets::default());
        let target = listener.local_addr().unwrap();
        let socket = sockets.connect(target, &epoll, 1).unwrap();
        wait(&epoll);
        sockets.take_back(socket, target);
        match sockets.connect(gone, &epoll, 2) {
            Ok(socket) => {
                assert_eq!(wait(&epoll), [Ready { token: 2, failed: true }]);
                let error = client::take_error(socket.as_fd()).unwrap();
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            }
            Err(Failure::There(error)) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
            Err(Failure::Here(error)) => panic!("{error}"),
        }
        // One that waits for its next connection has nothing to tell.
        let socket = sockets.connect(target, &epoll, 3).unwrap();
        assert_eq!(wait(&epoll), [Ready { token: 3, failed: false }]);
        sockets.take_back(socket, target);
        let mut events = Events::default();
        epoll.wait(&mut events, Some(steadfast_core::time::Duration::ZERO)).unwrap();
        assert_eq!(events.iter().count(), 0);
    }
}
