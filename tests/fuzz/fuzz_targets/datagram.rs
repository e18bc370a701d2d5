//! What comes back to a DNS, UDP or PING check. The input is a byte that chooses the check, and datagrams, each after
//! a byte with its length. What must not come of them is a server that is up without having answered.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use steadfast_linux::lvs::plan::UdpCheck;
use steadfast_linux::lvs::probe::Dialogue;
use steadfast_linux::lvs::probe::dns::Dns;
use steadfast_linux::lvs::probe::icmp::Echo;
use steadfast_linux::lvs::probe::udp::Udp;
use steadfast_linux::lvs::verdict::Verdict;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, mut rest)) = input.split_first() else { return };
    let mut dialogue: Box<dyn Dialogue> = match choice % 6 {
        0 => Box::new(Dns::new(1, "www.example.org", 0).expect("a name")),
        1 => Box::new(Dns::new(6, "", 0).expect("a name")),
        2 => Box::new(Dns::new(255, "a", 0).expect("a name")),
        3 => Box::new(Udp::new(&UdpCheck {
            payload: b"ping".to_vec(),
            reply: Some(vec![(b'p', 0xff), (b'o', 0xf0), (0, 0)]),
            min_length: 2,
            max_length: 100,
        })),
        4 => Box::new(Echo::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)),
        _ => Box::new(Echo::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0)),
    };
    let least = match choice % 6 {
        0..3 => dialogue.outgoing().len(),
        3 => 3,
        _ => 16,
    };
    let sent = dialogue.outgoing().len();
    dialogue.sent(sent);
    while let Some((&length, tail)) = rest.split_first() {
        let (datagram, tail) = tail.split_at(tail.len().min(usize::from(length)));
        rest = tail;
        match dialogue.received(datagram) {
            Some(Verdict::Up) => return assert!(datagram.len() >= least),
            Some(Verdict::Down(reason)) => return assert!(!reason.is_empty() && reason.len() < 200),
            Some(verdict) => panic!("{verdict:?}"),
            None => {}
        }
    }
});
