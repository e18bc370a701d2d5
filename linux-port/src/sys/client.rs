//! Sockets that ask servers something: TCP, UDP and ICMP, from an address, through an interface and with a mark of
//! the caller's choice. All are non-blocking, closed on exec and connected, so that answers of others never arrive
//! and errors of the network do. What is asked is in [`crate::lvs`].

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::option;

/// Missing in libc for some targets; the kernel's number is the same on all of them.
const IP_BIND_ADDRESS_NO_PORT: libc::c_int = 24;

/// What kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP; closing it resets the connection, so that nothing of it stays behind on either side (no TIME_WAIT).
    Stream,
    /// UDP.
    Datagram,
    /// ICMP or ICMPv6 messages. Where the system lets nobody ping without privilege, it is a raw socket, which over
    /// IPv4 receives them with their IP header.
    Echo,
}

/// Where packets leave from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Route<'a> {
    /// The source address and port, 0 for any.
    pub source: Option<SocketAddr>,
    /// The interface.
    pub interface: Option<&'a str>,
    /// The firewall's mark, 0 for none.
    pub mark: u32,
}

/// Why a connection could not even be begun.
#[derive(Debug)]
pub enum Failure {
    /// For want of something here: descriptors, memory, ports, privilege, the source address, the interface. It says
    /// nothing about the other side.
    Here(io::Error),
    /// The other side cannot be reached.
    There(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Here(error)
    }
}

/// Begins to connect; never waits. The socket becomes writable, or fails, when it is decided whether the connection is
/// there.
///
/// # Errors
/// What the kernel says at once, see [`Failure`].
pub fn connect(kind: Kind, target: SocketAddr, route: Route<'_>) -> Result<OwnedFd, Failure> {
    let domain = if target.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let socket = match kind {
        Kind::Stream => {
            let socket = super::socket::socket(domain, libc::SOCK_STREAM, libc::IPPROTO_TCP)?;
            let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
            option::set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_LINGER, &at_once)?;
            socket
        }
        Kind::Datagram => super::socket::socket(domain, libc::SOCK_DGRAM, libc::IPPROTO_UDP)?,
        Kind::Echo => {
            let protocol = if target.is_ipv4() { libc::IPPROTO_ICMP } else { libc::IPPROTO_ICMPV6 };
            // Whether ping sockets are allowed is net.ipv4.ping_group_range; root may always open a raw one.
            super::socket::socket(domain, libc::SOCK_DGRAM, protocol)
                .or_else(|_| super::socket::socket(domain, libc::SOCK_RAW, protocol))?
        }
    };
    if let Some(interface) = route.interface {
        bind_to_interface(socket.as_fd(), interface)?;
    }
    if route.mark != 0 {
        option::set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_MARK, &route.mark)?;
    }
    if let Some(source) = route.source {
        if source.port() == 0 {
            // The port is chosen at the connect, where only the whole connection has to be a new one.
            let _ = option::set(socket.as_fd(), libc::IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &1_i32);
        } else {
            option::set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, &1_i32)?;
        }
        let (address, length) = Address::of(source);
        // SAFETY: the address is valid for the length given, during the call.
        super::check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
    }
    // ICMP has no ports: raw IPv6 sockets refuse one.
    let target = if kind == Kind::Echo { without_port(target) } else { target };
    connect_again(socket.as_fd(), target).map(|()| socket)
}

/// Begins to connect a socket that is not connected, or no longer (see [`disconnect`]); otherwise like [`connect`].
///
/// # Errors
/// What the kernel says at once, see [`Failure`].
pub fn connect_again(fd: BorrowedFd<'_>, target: SocketAddr) -> Result<(), Failure> {
    let (address, length) = Address::of(target);
    // SAFETY: the address is valid for the length given, during the call.
    let result = super::check(unsafe { libc::connect(fd.as_raw_fd(), (&raw const address).cast(), length) });
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        Err(error) => {
            let here = [libc::EADDRNOTAVAIL, libc::EAGAIN, libc::ENOBUFS, libc::ENOMEM];
            let here = error.raw_os_error().is_some_and(|code| here.contains(&code));
            Err(if here { Failure::Here(error) } else { Failure::There(error) })
        }
    }
}

/// Resets the connection of a socket, which may be connected again.
///
/// # Errors
/// Of the system.
pub fn disconnect(fd: BorrowedFd<'_>) -> io::Result<()> {
    let nowhere = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    let length = size_of_val(&nowhere) as libc::socklen_t;
    // SAFETY: the address is valid for the length given, during the call.
    super::check(unsafe { libc::connect(fd.as_raw_fd(), &raw const nowhere, length) }).map(drop)
}

/// Sends on a connected socket; how much was taken, `None` if there is no room now.
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<Option<usize>> {
    // SAFETY: the buffer is valid for its length; the kernel only reads it.
    let length = unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
    match usize::try_from(length) {
        Ok(length) => Ok(Some(length)),
        Err(_) => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            error => Err(error),
        },
    }
}

/// The error that a socket failed with, if it did; it is taken away by asking.
pub fn take_error(fd: BorrowedFd<'_>) -> Option<io::Error> {
    let mut code: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option's value is an int, `length` holds its size, and both outlive the call.
    let result = unsafe {
        let value = (&raw mut code).cast();
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR, value, &raw mut length)
    };
    match super::check(result) {
        Ok(_) if code == 0 => None,
        Ok(_) => Some(io::Error::from_raw_os_error(code)),
        Err(error) => Some(error),
    }
}

fn bind_to_interface(fd: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    if name.len() >= libc::IF_NAMESIZE {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = [0_u8; libc::IF_NAMESIZE];
    for (byte, letter) in bytes.iter_mut().zip(name.bytes()) {
        *byte = letter;
    }
    option::set(fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, &bytes)
}

fn without_port(mut target: SocketAddr) -> SocketAddr {
    target.set_port(0);
    target
}

#[repr(C)]
union Address {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Address {
    fn of(address: SocketAddr) -> (Self, libc::socklen_t) {
        match (address.ip(), address) {
            (IpAddr::V4(ip), _) => {
                let v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: address.port().to_be(),
                    sin_addr: option::in_addr(ip),
                    sin_zero: [0; 8],
                };
                (Self { v4 }, size_of::<libc::sockaddr_in>() as libc::socklen_t)
            }
            (IpAddr::V6(ip), _) => {
                let scope = if let SocketAddr::V6(whole) = address { whole.scope_id() } else { 0 };
                let v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr { s6_addr: ip.octets() },
                    sin6_scope_id: scope,
                };
                (Self { v6 }, size_of::<libc::sockaddr_in6>() as libc::socklen_t)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, UdpSocket};

    use super::super::poll::PollSet;
    use super::super::socket::receive;
    use super::*;

    fn wait(socket: &OwnedFd) {
        let mut set = PollSet::new();
        set.add_writable(socket.as_fd());
        set.wait(None).unwrap();
    }

    #[test]
    fn a_connection_is_made_from_the_address_asked_for_and_reset_when_dropped() {
        for (listen, source) in [("127.0.0.1:0", "127.0.0.9:0"), ("[::1]:0", "[::1]:0")] {
            let Ok(listener) = TcpListener::bind(listen) else { continue };
            let route = Route { source: Some(source.parse().unwrap()), ..Route::default() };
            let connected = connect(Kind::Stream, listener.local_addr().unwrap(), route).unwrap();
            wait(&connected);
            assert!(take_error(connected.as_fd()).is_none());
            let (mut server, peer) = listener.accept().unwrap();
            assert_eq!(peer.ip(), source.parse::<SocketAddr>().unwrap().ip());
            server.write_all(b"hello").unwrap();
            assert_eq!(send(connected.as_fd(), b"hi").unwrap(), Some(2));
            server.read_exact(&mut [0; 2]).unwrap();
            drop(connected);
            assert_eq!(server.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        }
    }

    #[test]
    fn nobody_there_is_refused() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = match connect(Kind::Stream, gone, Route::default()) {
            Ok(connected) => {
                wait(&connected);
                take_error(connected.as_fd()).unwrap()
            }
            Err(Failure::There(error) | Failure::Here(error)) => error,
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn datagrams_go_there_and_come_back() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let asked = connect(Kind::Datagram, server.local_addr().unwrap(), Route::default()).unwrap();
        assert_eq!(receive(asked.as_fd(), &mut [0; 8]).unwrap(), None);
        send(asked.as_fd(), b"?").unwrap();
        let (_, client) = server.recv_from(&mut [0; 8]).unwrap();
        server.send_to(b"answer", client).unwrap();
        let mut answer = [0; 8];
        assert_eq!(receive(asked.as_fd(), &mut answer).unwrap(), Some(6));
        drop(server);
        // The ICMP error comes back before the second send, or with it.
        let first = send(asked.as_fd(), b"?");
        let told = first.err().or_else(|| take_error(asked.as_fd()));
        assert_eq!(told.map(|error| error.kind()), Some(io::ErrorKind::ConnectionRefused));
    }

    #[test]
    fn an_interface_or_address_that_is_not_there_is_no_fault_of_the_server() {
        let target = "127.0.0.1:9".parse().unwrap();
        for name in ["no-such-one", "a name that is much too long"] {
            let route = Route { interface: Some(name), ..Route::default() };
            assert!(matches!(connect(Kind::Datagram, target, route), Err(Failure::Here(_))));
        }
        let route = Route { source: Some("192.0.2.77:0".parse().unwrap()), ..Route::default() };
        assert!(matches!(connect(Kind::Datagram, target, route), Err(Failure::Here(_))));
    }
}
