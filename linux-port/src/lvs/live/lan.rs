//! Questions on the LAN: who has an address (ARP), and what a real server makes of a connection to a virtual address
//! that is handed to it as the director would. A few frames in a few seconds, with our own addresses; a connection
//! that a server accepts is reset.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};

use steadfast_core::time::Duration;
use steadfast_core::types::MacAddr;
use steadfast_core::wire::checksum::{Sum, pseudo_header};
use steadfast_core::wire::{arp, ip};

use super::{Lan, Questions, Reception};
use crate::socket::FrameSender;
use crate::sys::clock::now;
use crate::sys::poll::PollSet;
use crate::sys::socket;

/// How often a question is asked until somebody answers.
const TRIES: usize = 3;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(300);

/// How many addresses, and how many connections, are asked about on one interface.
const MOST: usize = 512;

const TCP: u8 = 6;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;

/// Asks everything; an error is that of the system.
pub(super) fn explore(questions: &[Questions]) -> Result<Lan, String> {
    let mut lan = Lan::default();
    for questions in questions {
        ask(questions, &mut lan).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => "it needs CAP_NET_RAW".to_owned(),
            _ => error.to_string(),
        })?;
    }
    Ok(lan)
}

fn ask(questions: &Questions, lan: &mut Lan) -> io::Result<()> {
    let mut wire = Wire::open(questions)?;
    // Real servers until they answer; virtual addresses every time, since more than one machine may answer.
    let servers: Vec<_> = questions.servers.iter().copied().take(MOST).collect();
    let virtuals: Vec<_> = questions.virtuals.iter().copied().take(MOST).collect();
    for _ in 0..TRIES {
        let silent = servers.iter().filter(|server| !lan.owners.contains_key(server));
        for address in silent.chain(&virtuals) {
            wire.send(&who_has(questions, *address))?;
        }
        wire.listen(PATIENCE, |heard| {
            if let Heard::Owner(address, mac) = heard
                && mac != questions.mac
                && (questions.servers.contains(&address) || questions.virtuals.contains(&address))
            {
                lan.owners.entry(address).or_default().insert(mac);
            }
            None
        })?;
    }

    // Each connection has a port of ours by which its answer is known.
    let known = questions.connections.iter().take(MOST).filter_map(|(service, server)| {
        let mac = lan.owners.get(server)?.first()?;
        Some((*service, *server, *mac))
    });
    let ports: BTreeMap<u16, (SocketAddrV4, Ipv4Addr, MacAddr)> = (40_000..).zip(known).collect();
    let mut receptions: BTreeMap<u16, Reception> = ports.keys().map(|port| (*port, Reception::Silent)).collect();
    for _ in 0..TRIES {
        for (port, (service, _, mac)) in ports.iter().filter(|(port, _)| receptions[port] == Reception::Silent) {
            wire.send(&segment(questions, *mac, *port, *service, 0, SYN))?;
        }
        if receptions.values().any(|reception| *reception == Reception::Silent) {
            wire.listen(PATIENCE, |heard| {
                let Heard::Segment { source, port, flags, acknowledged } = heard else { return None };
                let (service, _, mac) = ports.get(&port).filter(|(service, ..)| *service == source)?;
                let reception = if flags & RST != 0 { Reception::Refused } else { Reception::Accepted };
                receptions.insert(port, reception);
                (reception == Reception::Accepted).then(|| segment(questions, *mac, port, *service, acknowledged, RST))
            })?;
        }
    }
    for (port, (service, server, _)) in ports {
        lan.receptions.insert((service, server), receptions[&port]);
    }
    Ok(())
}

/// The interface, for whole frames.
struct Wire {
    index: u32,
    own: Ipv4Addr,
    sender: FrameSender,
    /// One for ARP and one for IPv4: what else passes is nobody's business.
    ears: [OwnedFd; 2],
}

/// What was heard.
enum Heard {
    /// Somebody says to have an address.
    Owner(Ipv4Addr, MacAddr),
    /// A TCP segment for us: from where, to which port.
    Segment { source: SocketAddrV4, port: u16, flags: u8, acknowledged: u32 },
}

impl Wire {
    fn open(questions: &Questions) -> io::Result<Self> {
        let ear = |ethertype| {
            let fd = socket::packet()?;
            socket::bind_packet(fd.as_fd(), questions.index, ethertype)?;
            io::Result::Ok(fd)
        };
        let ears = [ear(ip::ETHERTYPE_ARP)?, ear(ip::ETHERTYPE_IPV4)?];
        Ok(Self { index: questions.index, own: questions.source, sender: FrameSender::open()?, ears })
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.sender.push_frame(self.index, frame).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// Hears what comes within `patience`; what `hear` returns is sent.
    fn listen(&mut self, patience: Duration, mut hear: impl FnMut(Heard) -> Option<Vec<u8>>) -> io::Result<()> {
        self.sender.flush();
        let end = now() + patience;
        let mut polls = PollSet::new();
        for ear in &self.ears {
            polls.add(ear.as_fd());
        }
        let mut buffer = [0; 2048];
        loop {
            let left = end.since(now());
            if left == Duration::ZERO {
                return Ok(());
            }
            polls.wait(Some(left))?;
            for ear in &self.ears {
                // A busy LAN shall not keep us beyond the time.
                for _ in 0..256 {
                    let length = match socket::receive(ear.as_fd(), &mut buffer) {
                        Ok(Some(length)) => length,
                        Ok(None) => break,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => break,
                        Err(error) => return Err(error),
                    };
                    let frame = buffer.get(..length).unwrap_or_default();
                    if let Some(answer) = heard(frame, self.own).and_then(&mut hear) {
                        let _ = self.sender.push_frame(self.index, &answer);
                        self.sender.flush();
                    }
                }
            }
        }
    }
}

/// What a frame says; `own` is our address.
fn heard(frame: &[u8], own: Ipv4Addr) -> Option<Heard> {
    let header = ip::Ethernet::parse(frame)?;
    let packet = header.payload;
    if header.ethertype == ip::ETHERTYPE_ARP {
        // A reply: its sender is at this MAC address.
        let (operation, mac) = (packet.get(6..8)?, packet.get(8..14)?);
        let address: [u8; 4] = packet.get(14..18)?.try_into().ok()?;
        return (operation == [0, 2]).then_some(Heard::Owner(address.into(), MacAddr(mac.try_into().ok()?)));
    }
    let length = usize::from(packet.first()? & 0x0f) * 4;
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let destination: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    let segment = packet.get(length..)?;
    if *packet.get(9)? != TCP || Ipv4Addr::from(destination) != own {
        return None;
    }
    let number = |at: usize| Some(u16::from_be_bytes(segment.get(at..at + 2)?.try_into().ok()?));
    Some(Heard::Segment {
        source: SocketAddrV4::new(source.into(), number(0)?),
        port: number(2)?,
        flags: *segment.get(13)?,
        acknowledged: u32::from_be_bytes(segment.get(8..12)?.try_into().ok()?),
    })
}

/// The ARP question for `address`.
fn who_has(questions: &Questions, address: Ipv4Addr) -> Vec<u8> {
    // It is an announcement of our own address with another target, and no MAC address for it.
    let mut frame = arp::gratuitous(questions.mac, questions.source).to_vec();
    if let Some(mac) = frame.get_mut(32..38) {
        mac.fill(0);
    }
    if let Some(target) = frame.get_mut(38..42) {
        target.copy_from_slice(&address.octets());
    }
    frame
}

/// A TCP segment without data in a frame to `mac`.
fn segment(questions: &Questions, mac: MacAddr, port: u16, to: SocketAddrV4, sequence: u32, flags: u8) -> Vec<u8> {
    let mut tcp = Vec::with_capacity(20);
    tcp.extend(port.to_be_bytes());
    tcp.extend(to.port().to_be_bytes());
    tcp.extend(sequence.to_be_bytes());
    tcp.extend([0; 4]);
    // Five words of header, a window of 1 KiB.
    tcp.extend([5 << 4, flags, 4, 0, 0, 0, 0, 0]);
    let pseudo = pseudo_header(questions.source.into(), (*to.ip()).into(), TCP, 20);
    let checksum = pseudo.plus(&tcp).checksum().to_be_bytes();
    if let Some(field) = tcp.get_mut(16..18) {
        field.copy_from_slice(&checksum);
    }

    let mut header = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, TCP, 0, 0];
    header.extend(questions.source.octets());
    header.extend(to.ip().octets());
    let checksum = Sum::of(&header).checksum().to_be_bytes();
    if let Some(field) = header.get_mut(10..12) {
        field.copy_from_slice(&checksum);
    }

    let mut frame = Vec::with_capacity(54);
    frame.extend(mac.0);
    frame.extend(questions.mac.0);
    frame.extend(ip::ETHERTYPE_IPV4.to_be_bytes());
    frame.extend(header);
    frame.extend(tcp);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn questions() -> Questions {
        Questions {
            index: 2,
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            source: Ipv4Addr::new(10, 0, 0, 254),
            servers: BTreeSet::new(),
            virtuals: BTreeSet::new(),
            connections: BTreeSet::new(),
        }
    }

    #[test]
    fn what_is_sent_can_be_read() {
        let to = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 80);
        let frame = segment(&questions(), MacAddr([2, 0, 0, 0, 0, 9]), 40_000, to, 7, SYN);
        assert!(Sum::of(&frame[14..34]).is_valid());
        let pseudo = pseudo_header(questions().source.into(), (*to.ip()).into(), TCP, 20);
        assert!(pseudo.plus(&frame[34..]).is_valid());
        let Some(Heard::Segment { source, port, flags, .. }) = heard(&frame, *to.ip()) else { panic!("it is TCP") };
        assert_eq!((source.port(), port, flags), (40_000, 80, SYN));
        assert!(heard(&frame, questions().source).is_none(), "to somebody else");

        let query = arp::Query::parse(&who_has(&questions(), *to.ip())[14..]).unwrap();
        assert_eq!((query.sender, query.target), (questions().source, *to.ip()));
        let reply = arp::reply(MacAddr([2, 0, 0, 0, 0, 9]), &query);
        let Some(Heard::Owner(address, mac)) = heard(&reply, questions().source) else { panic!("it is a reply") };
        assert_eq!((address, mac), (*to.ip(), MacAddr([2, 0, 0, 0, 0, 9])));
    }

    #[test]
    fn whatever_comes_is_no_harm() {
        let to = SocketAddrV4::new(questions().source, 80);
        for frame in [segment(&questions(), questions().mac, 1, to, 0, SYN), who_has(&questions(), *to.ip())] {
            for length in 0..frame.len() {
                heard(&frame[..length], questions().source);
            }
            for at in 0..frame.len() {
                for value in [0, 0x0f, 0x7f, 0xff] {
                    let mut damaged = frame.clone();
                    damaged[at] = value;
                    heard(&damaged, questions().source);
                }
            }
        }
    }
}
