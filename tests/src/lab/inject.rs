//! The injector: whole Ethernet frames from a machine of the LAN, at a rate.

use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike, sendto, socket};

use super::clock::Stamp;
use super::namespace::Namespace;

/// Sends `frames` in turn from `eth0` of a namespace, `rate` a second, for `duration`. How many were sent.
#[track_caller]
pub fn inject(namespace: &Namespace, frames: &[Vec<u8>], rate: u32, duration: Duration) -> usize {
    namespace.enter(|| {
        let socket =
            socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).expect("a packet socket opens");
        let interface = link_address("eth0");
        let (begun, mut sent) = (Stamp::now(), 0_u32);
        let end = begun + duration;
        loop {
            let due = begun + Duration::from_secs(1) * sent / rate;
            if due >= end || frames.is_empty() {
                return sent as usize;
            }
            due.sleep();
            let frame = &frames[sent as usize % frames.len()];
            sendto(socket.as_raw_fd(), frame, &interface, MsgFlags::empty()).expect("a frame is sent");
            sent += 1;
        }
    })
}

/// The packet-socket address of an interface of this thread's namespace.
pub fn link_address(name: &str) -> LinkAddr {
    let mut all = getifaddrs().expect("interfaces can be listed");
    let found = all.find_map(|interface| {
        let address = interface.address.filter(|_| interface.interface_name == name)?;
        (address.family() == Some(AddressFamily::Packet)).then(|| address.as_link_addr().copied())?
    });
    found.unwrap_or_else(|| panic!("{name} has a hardware address"))
}
