//! The VRRP payload of an IP packet. The input is a byte that chooses family and mending, both addresses, and the
//! payload. What is accepted must be emitted again to the same message.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use steadfast_core::wire::Envelope;
use steadfast_core::wire::advertisement::{Advertisement, Authentication, Fit, Form, Outgoing, vrid_of};
use steadfast_core::wire::checksum::{Sum, pseudo_header};

fuzz_target!(|input: &[u8]| {
    let Some((&choice, rest)) = input.split_first() else { return };
    let opened = match choice & 1 {
        0 => addresses::<4>(rest),
        _ => addresses::<16>(rest),
    };
    let Some((source, destination, payload)) = opened else { return };
    let mut message = payload.to_vec();
    // No fuzzer guesses a checksum: mend it, in one form or the other, or leave it.
    let length = u16::try_from(message.len()).unwrap_or(0);
    let pseudo = pseudo_header(source, destination, 112, length);
    if choice & 6 != 0 && message.len() >= 8 {
        message[6..8].fill(0);
        let sum = if choice & 2 != 0 { Sum::ZERO } else { pseudo };
        let checksum = sum.plus(&message).checksum().to_be_bytes();
        message[6..8].copy_from_slice(&checksum);
    }
    let envelope = Envelope { source, destination, hop_limit: 255 };
    let Ok(read) = Advertisement::parse(&message, &envelope) else { return };
    assert_eq!(vrid_of(&message), Some(read.vrid));
    assert!(!read.addresses.is_empty());

    let addresses: Vec<IpAddr> = read.addresses.iter().collect();
    let outgoing = Outgoing {
        version: read.version,
        vrid: read.vrid,
        priority: read.priority,
        interval: read.interval,
        authentication: Authentication::Simple(read.auth_data),
        addresses: &addresses,
    };
    let form = if read.fit == Fit::Plain { Form::Plain } else { Form::PseudoHeader };
    let mut again = [0; 4096];
    let length = outgoing.emit(source, destination, form, &mut again).expect("it came in one packet");
    // Reserved bits or the authentication type are not kept, and the checksum covers them.
    assert_eq!(again[..4], message[..4]);
    assert_eq!(again[5], message[5]);
    assert_eq!(again[8..length], message[8..]);
});

/// Two addresses of `N` bytes and what follows.
fn addresses<const N: usize>(bytes: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = bytes.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    Some((IpAddr::from(*source), IpAddr::from(*destination), rest))
}
