//! The way to the kernel: datagrams of generic netlink, sent and received. What is in them is not known here.

use std::io;
use std::os::fd::AsFd;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

use crate::netlink::receive;
use crate::sys::option;

const PATIENCE_MILLIS: u32 = 5_000;
/// Room for the errors of a whole train, of which each takes some 800 bytes.
const QUEUE: i32 = 1 << 21;

/// What a client needs of a socket.
pub(super) trait Connection: Send {
    /// Hands the kernel one datagram; it is carried out when this returns.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The next answer, into `buffer`; waits a few seconds for it.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Throws away the answers that are there.
    fn drain(&mut self, buffer: &mut [u8]);
}

/// A socket in the network namespace of the thread that opened it.
pub(super) struct Netlink(Socket);

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        // An error need not repeat the request. A kernel without the option repeats it.
        let _ = socket.set_cap_ack(true);
        option::set_receive_buffer(socket.as_fd(), QUEUE)?;
        option::set_receive_timeout(socket.as_fd(), PATIENCE_MILLIS)?;
        Ok(Self(socket))
    }
}

impl Connection for Netlink {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match self.0.send_to(bytes, &SocketAddr::new(0, 0), 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        receive(&self.0, buffer, 0).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "the kernel does not answer"),
            _ => error,
        })
    }

    fn drain(&mut self, buffer: &mut [u8]) {
        loop {
            match receive(&self.0, buffer, libc::MSG_DONTWAIT) {
                Err(error) if error.raw_os_error() != Some(libc::ENOBUFS) => return,
                _ => {}
            }
        }
    }
}
