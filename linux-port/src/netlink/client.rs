//! A client that asks and waits for the answer, at most five seconds: for set-up work and tests, never in the
//! loop. It works in the network namespace of the thread that opened it.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR,
};
use netlink_packet_route::RouteNetlinkMessage as Request;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridge, InfoData, InfoKind, InfoMacVlan, InfoVeth, LinkAttribute,
    LinkInfo, LinkMessage, MacVlanMode,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use steadfast_core::types::MacAddr;

use super::{Address, AddressSpec, Link, message, parse};
use crate::sys::option;

const PATIENCE_MILLIS: u32 = 5_000;
/// As large as the kernel makes the datagrams of a dump.
const DATAGRAM: usize = 32 * 1024;

/// A connection for requests, one at a time.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    sequence: u32,
}

impl Client {
    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// Of the system. Like every method here.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        option::set_receive_timeout(socket.as_fd(), PATIENCE_MILLIS)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// All interfaces.
    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        self.dump(|| Request::GetLink(LinkMessage::default()), parse::link)
    }

    /// The interface with this name.
    pub fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.into()));
        self.get(link)
    }

    /// The interface with this index.
    pub fn link_at(&mut self, index: u32) -> io::Result<Option<Link>> {
        self.get(message::link(index))
    }

    /// The addresses of all interfaces, of both families.
    pub fn addresses(&mut self) -> io::Result<Vec<Address>> {
        self.dump(|| Request::GetAddress(AddressMessage::default()), parse::address)
    }

    /// Adds an address, or gives the one that is there the properties asked for.
    pub fn add_address(&mut self, spec: &AddressSpec) -> io::Result<()> {
        self.request(Request::NewAddress(message::address(spec)), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Removes an address; `AddrNotAvailable` if it is not there.
    pub fn remove_address(&mut self, spec: &AddressSpec) -> io::Result<()> {
        self.request(Request::DelAddress(message::address(spec)), 0)
    }

    /// Adds a route to one address over an interface, in the main table; nothing if it is there.
    pub fn add_host_route(&mut self, interface: u32, ip: IpAddr) -> io::Result<()> {
        self.request(Request::NewRoute(message::host_route(interface, ip)), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Removes a route that [`Self::add_host_route`] added; `NotFound` if it is not there.
    pub fn remove_host_route(&mut self, interface: u32, ip: IpAddr) -> io::Result<()> {
        let result = self.request(Request::DelRoute(message::host_route(interface, ip)), 0);
        result.map_err(|error| match error.raw_os_error() {
            Some(libc::ESRCH) => io::ErrorKind::NotFound.into(),
            _ => error,
        })
    }

    /// Makes a macvlan on top of `parent`, down, without an automatic IPv6 link-local address; returns its
    /// index.
    pub fn create_macvlan(&mut self, name: &str, parent: u32, mac: MacAddr, mode: MacVlanMode) -> io::Result<u32> {
        let data = InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)]);
        let mut link = named(name, InfoKind::MacVlan, Some(data));
        link.attributes.push(LinkAttribute::Link(parent));
        link.attributes.push(LinkAttribute::Address(mac.0.to_vec()));
        let index = self.create(link, name)?;
        // The kernel ignores it in the request that makes the link. A kernel without IPv6 has no such setting.
        match self.disable_address_generation(index) {
            Err(error) if error.raw_os_error() != Some(libc::EAFNOSUPPORT) => {
                let _ = self.delete_link(index);
                return Err(error);
            }
            _ => {}
        }
        Ok(index)
    }

    /// Changes the mode of a macvlan.
    pub fn set_macvlan_mode(&mut self, index: u32, mode: MacVlanMode) -> io::Result<()> {
        let data = InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)]);
        let mut link = message::link(index);
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::MacVlan), LinkInfo::Data(data)]));
        self.request(Request::NewLink(link), 0)
    }

    /// Makes a pair of virtual Ethernet interfaces, both down; returns their indexes.
    pub fn create_veth(&mut self, name: &str, peer: &str) -> io::Result<(u32, u32)> {
        let mut other = LinkMessage::default();
        other.attributes.push(LinkAttribute::IfName(peer.into()));
        let link = named(name, InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(other))));
        let first = self.create(link, name)?;
        Ok((first, self.index(peer)?))
    }

    /// Makes a bridge that floods multicast (no snooping) and runs no spanning tree, down; returns its index.
    pub fn create_bridge(&mut self, name: &str) -> io::Result<u32> {
        let data = InfoData::Bridge(vec![InfoBridge::MulticastSnooping(false)]);
        self.create(named(name, InfoKind::Bridge, Some(data)), name)
    }

    /// Deletes an interface.
    pub fn delete_link(&mut self, index: u32) -> io::Result<()> {
        self.request(Request::DelLink(message::link(index)), 0)
    }

    /// Sets an interface up.
    pub fn set_up(&mut self, index: u32) -> io::Result<()> {
        self.request(Request::SetLink(message::link_state(index, true)), 0)
    }

    /// Sets an interface down.
    pub fn set_down(&mut self, index: u32) -> io::Result<()> {
        self.request(Request::SetLink(message::link_state(index, false)), 0)
    }

    /// Gives an interface another MAC address.
    pub fn set_mac(&mut self, index: u32, mac: MacAddr) -> io::Result<()> {
        self.set(index, LinkAttribute::Address(mac.0.to_vec()))
    }

    /// Gives an interface, which must be down, another name.
    pub fn rename(&mut self, index: u32, name: &str) -> io::Result<()> {
        self.set(index, LinkAttribute::IfName(name.into()))
    }

    /// Makes an interface a port of the bridge `controller`, or of none: then its cable is cut.
    pub fn set_controller(&mut self, index: u32, controller: Option<u32>) -> io::Result<()> {
        self.set(index, LinkAttribute::Controller(controller.unwrap_or(0)))
    }

    /// Moves an interface into the network namespace that `namespace` (an open `/proc/PID/ns/net`) stands for.
    pub fn move_to_namespace(&mut self, index: u32, namespace: impl AsFd) -> io::Result<()> {
        self.set(index, LinkAttribute::NetNsFd(namespace.as_fd().as_raw_fd()))
    }

    /// Stops the kernel from giving an interface an IPv6 link-local address when it goes up.
    pub fn disable_address_generation(&mut self, index: u32) -> io::Result<()> {
        let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        self.set(index, LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]))
    }

    /// The index of an interface that was just made.
    fn index(&mut self, name: &str) -> io::Result<u32> {
        self.link(name)?.map(|link| link.index).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&mut self, link: LinkMessage, name: &str) -> io::Result<u32> {
        self.request(Request::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)?;
        self.index(name)
    }

    fn set(&mut self, index: u32, attribute: LinkAttribute) -> io::Result<()> {
        let mut link = message::link(index);
        link.attributes.push(attribute);
        self.request(Request::SetLink(link), 0)
    }

    fn get(&mut self, link: LinkMessage) -> io::Result<Option<Link>> {
        let sequence = self.send(Request::GetLink(link), 0)?;
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let length = self.receive(&mut buffer)?;
            for (header, payload) in parse::messages(&buffer[..length]) {
                if header.sequence_number != sequence {
                    continue;
                }
                return match (header.message_type, parse::verdict(payload)) {
                    (NLMSG_ERROR, Err(error)) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
                    (NLMSG_ERROR, verdict) => verdict.map(|()| None),
                    _ => Ok(parse::link(payload)),
                };
            }
        }
    }

    fn request(&mut self, request: Request, flags: u16) -> io::Result<()> {
        let sequence = self.send(request, NLM_F_ACK | flags)?;
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let length = self.receive(&mut buffer)?;
            for (header, payload) in parse::messages(&buffer[..length]) {
                if header.sequence_number == sequence && header.message_type == NLMSG_ERROR {
                    return parse::verdict(payload);
                }
            }
        }
    }

    pub(super) fn dump<T>(
        &mut self,
        request: impl Fn() -> Request,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        // What changes under way makes the kernel say so; then it is asked again, within reason.
        for _ in 0..8 {
            if let Some(items) = self.dump_once(request(), &parse)? {
                return Ok(items);
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    fn dump_once<T>(&mut self, request: Request, parse: &impl Fn(&[u8]) -> Option<T>) -> io::Result<Option<Vec<T>>> {
        let sequence = self.send(request, NLM_F_DUMP)?;
        let mut buffer = vec![0; DATAGRAM];
        let mut items = Vec::new();
        let mut interrupted = false;
        loop {
            let length = self.receive(&mut buffer)?;
            for (header, payload) in parse::messages(&buffer[..length]) {
                if header.sequence_number != sequence {
                    continue;
                }
                interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
                match header.message_type {
                    NLMSG_DONE => return Ok((!interrupted).then_some(items)),
                    NLMSG_ERROR => parse::verdict(payload)?,
                    _ => items.extend(parse(payload)),
                }
            }
        }
    }

    fn send(&mut self, request: Request, flags: u16) -> io::Result<u32> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut buffer = Vec::new();
        message::append(&mut buffer, request, NLM_F_REQUEST | flags, self.sequence);
        self.socket.send_to(&buffer, &SocketAddr::new(0, 0), 0)?;
        Ok(self.sequence)
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        receive(&self.socket, buffer, 0)
    }
}

/// Receives one datagram of the kernel's; those of other processes are ignored.
pub(crate) fn receive(socket: &Socket, buffer: &mut [u8], flags: i32) -> io::Result<usize> {
    loop {
        let mut room = &mut *buffer;
        match socket.recv_from(&mut room, flags) {
            Ok((length, sender)) if sender.port_number() == 0 => return Ok(length.min(buffer.len())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn named(name: &str, kind: InfoKind, data: Option<InfoData>) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.into()));
    let info = [LinkInfo::Kind(kind)].into_iter().chain(data.map(LinkInfo::Data)).collect();
    link.attributes.push(LinkAttribute::LinkInfo(info));
    link
}
