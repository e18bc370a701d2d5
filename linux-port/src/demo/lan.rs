//! The demo's LAN: a bridge in the namespace of this process, and a cable from it to each router and to the
//! client, which live in namespaces of their own. Who runs in them is not decided here.

use std::io;
use std::net::Ipv4Addr;

use crate::netlink::{AddressSpec, Client};
use crate::sys::socket::interface_index;

use super::namespace::Namespace;

/// The virtual address.
pub(super) const VIRTUAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The routers' own addresses.
pub(super) const ROUTERS: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(192, 0, 2, 3)];
/// The client's address.
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
/// The length of all their prefixes.
pub(super) const PREFIX: u8 = 24;
/// What each of them calls its end of the cable.
pub(super) const INTERFACE: &str = "lan";

/// The LAN. It vanishes with this process and the agents.
#[derive(Debug)]
pub(super) struct Lan {
    /// The bridge's namespace, where this process is.
    pub(super) home: Namespace,
    /// The routers' namespaces.
    pub(super) routers: [Namespace; 2],
    /// The client's.
    pub(super) client: Namespace,
    netlink: Client,
    bridge: u32,
    /// The bridge's ports to the routers.
    ports: [u32; 2],
}

impl Lan {
    /// Builds it around the namespace of the calling thread.
    pub(super) fn new() -> io::Result<Self> {
        let home = Namespace::current()?;
        let routers = [Namespace::new(&home)?, Namespace::new(&home)?];
        let client = Namespace::new(&home)?;
        let mut netlink = Client::open()?;
        let bridge = netlink.create_bridge("switch")?;
        netlink.set_up(bridge)?;
        let mut connect = |port: &str, there: &Namespace, address: Ipv4Addr| -> io::Result<u32> {
            let (port, interface) = netlink.create_veth(port, INTERFACE)?;
            netlink.set_controller(port, Some(bridge))?;
            netlink.set_up(port)?;
            netlink.move_to_namespace(interface, there.file())?;
            there.within(&home, || inhabit(address))?;
            Ok(port)
        };
        let [a, b] = ROUTERS;
        let ports = [connect("a", &routers[0], a)?, connect("b", &routers[1], b)?];
        connect("client", &client, CLIENT)?;
        Ok(Self { home, routers, client, netlink, bridge, ports })
    }

    /// Takes a router's port out of the bridge. The router's own end of the cable stays up, so that it cannot
    /// tell.
    pub(super) fn cut(&mut self, router: usize) -> io::Result<()> {
        let port = self.port(router)?;
        self.netlink.set_controller(port, None)
    }

    /// Puts it back.
    pub(super) fn plug(&mut self, router: usize) -> io::Result<()> {
        let port = self.port(router)?;
        self.netlink.set_controller(port, Some(self.bridge))
    }

    fn port(&self, router: usize) -> io::Result<u32> {
        self.ports.get(router).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Gives the cable's end in the calling thread's namespace an address, and sets it up.
fn inhabit(address: Ipv4Addr) -> io::Result<()> {
    let mut netlink = Client::open()?;
    let interface = interface_index(INTERFACE)?;
    netlink.add_address(&AddressSpec::new(interface, address.into(), PREFIX))?;
    netlink.set_up(interface)
}
