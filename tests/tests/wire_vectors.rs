//! Every captured Advertisement is read to the recorded fields and emitted again to the same bytes: MikroTik,
//! keepalived, FRR and the packets of PcapPlusPlus's tests. What an Advertisement must not be is in
//! `wire_rules.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use steadfast_core::types::{Family, Priority, Vrid};
use steadfast_core::wire::advertisement::{Advertisement, Authentication, Fit, Form, Outgoing};
use steadfast_core::wire::{Discard, Envelope, ip};
use steadfast_tests::wire::{Vector, vectors};

/// The vectors that are well-formed: all but the version 2 packet without authentication data.
fn well_formed() -> Vec<Vector> {
    let (malformed, well_formed): (Vec<_>, Vec<_>) = vectors()
        .into_iter()
        .partition(|vector| vector.authentication.as_ref().is_some_and(|(_, data)| data.is_empty()));
    assert_eq!((malformed.len(), well_formed.len()), (1, 66));
    well_formed
}

fn family(vector: &Vector) -> Family {
    Family::of(&vector.envelope.source)
}

fn parse(vector: &Vector) -> Advertisement<'_> {
    Advertisement::parse(&vector.vrrp, &vector.envelope)
        .unwrap_or_else(|discard| panic!("line {} ({}): {discard:?}", vector.line, vector.source))
}

#[test]
fn every_captured_advertisement_is_read_to_the_recorded_fields() {
    for vector in &well_formed() {
        let read = parse(vector);
        assert_eq!(read.version.number(), vector.version, "line {}", vector.line);
        assert_eq!(Some(read.vrid), Vrid::new(vector.vrid), "line {}", vector.line);
        assert_eq!(read.priority, Priority::new(vector.priority), "line {}", vector.line);
        assert_eq!(read.interval.centiseconds(), vector.centiseconds, "line {}", vector.line);
        assert_eq!(read.addresses.iter().collect::<Vec<_>>(), vector.addresses, "line {}", vector.line);
        assert_eq!(read.addresses.len(), vector.addresses.len(), "line {}", vector.line);
        assert_eq!(read.addresses.family(), family(vector), "line {}", vector.line);
        let (auth_type, auth_data) = vector.authentication.clone().unwrap_or((0, vec![0; 8]));
        assert_eq!((read.auth_type, &read.auth_data[..]), (auth_type, &auth_data[..]), "line {}", vector.line);
    }
}

#[test]
fn every_captured_checksum_fits_the_recorded_form() {
    let mut seen = BTreeSet::new();
    for vector in &well_formed() {
        let expected = match (vector.plain, vector.pseudo) {
            (true, true) => Fit::Both,
            (true, false) => Fit::Plain,
            (false, true) => Fit::PseudoHeader,
            (false, false) => panic!("line {}: no form recorded", vector.line),
        };
        assert_eq!(parse(vector).fit, expected, "line {}", vector.line);
        seen.insert((vector.version, family(vector), vector.plain));
    }
    let all = [(2, Family::V4, true), (3, Family::V4, false), (3, Family::V4, true), (3, Family::V6, false)];
    assert_eq!(seen, BTreeSet::from(all), "the vectors hold every form");
}

#[test]
fn every_captured_advertisement_is_emitted_to_the_same_bytes() {
    for vector in &well_formed() {
        let read = parse(vector);
        let addresses: Vec<IpAddr> = read.addresses.iter().collect();
        let outgoing = Outgoing {
            version: read.version,
            vrid: read.vrid,
            priority: read.priority,
            interval: read.interval,
            authentication: match read.auth_type {
                0 => Authentication::None,
                _ => Authentication::Simple(read.auth_data),
            },
            addresses: &addresses,
        };
        let form = if vector.plain { Form::Plain } else { Form::PseudoHeader };
        let Envelope { source, destination, .. } = vector.envelope;
        let mut buffer = [0xa5; 256];
        let length = outgoing.emit(source, destination, form, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], vector.vrrp, "line {}", vector.line);
    }
}

#[test]
fn every_captured_frame_is_opened_to_its_envelope_and_message() {
    for vector in &vectors() {
        let frame = ip::Ethernet::parse(&vector.frame).unwrap();
        let opened = match frame.ethertype {
            ip::ETHERTYPE_IPV4 => ip::parse_ipv4(frame.payload),
            ip::ETHERTYPE_IPV6 => ip::parse_ipv6(frame.payload),
            other => panic!("line {}: {other:04x}", vector.line),
        };
        assert_eq!(opened, Some((vector.envelope, &vector.vrrp[..])), "line {}", vector.line);
    }
}

#[test]
fn every_captured_advertisement_is_framed_like_the_capture() {
    for vector in &well_formed() {
        let frame = ip::Ethernet::parse(&vector.frame).unwrap();
        let mut buffer = [0; 256];
        let Envelope { source, destination, .. } = vector.envelope;
        let length = ip::emit_frame(frame.source, Some(frame.destination), source, destination, &mut buffer, |room| {
            room[..vector.vrrp.len()].copy_from_slice(&vector.vrrp);
            Ok(vector.vrrp.len())
        })
        .unwrap();
        // Traffic class, flow label, identification, Don't Fragment and the header checksum differ between
        // implementations; some pad the frame.
        let blind: &[usize] = match frame.ethertype {
            ip::ETHERTYPE_IPV4 => &[15, 18, 19, 20, 24, 25],
            _ => &[14, 15, 16, 17],
        };
        for (at, (ours, theirs)) in buffer[..length].iter().zip(&vector.frame).enumerate() {
            assert!(ours == theirs || blind.contains(&at), "line {}, byte {at}: {ours:02x} {theirs:02x}", vector.line);
        }
    }
}

#[test]
fn the_version_2_packet_without_authentication_data_has_the_wrong_length() {
    let odd: Vec<_> = vectors()
        .into_iter()
        .filter(|vector| vector.authentication.as_ref().is_some_and(|(_, data)| data.is_empty()))
        .collect();
    assert_eq!(odd.len(), 1);
    assert_eq!(Advertisement::parse(&odd[0].vrrp, &odd[0].envelope), Err(Discard::Length));
}

/// The capture itself, of which the vectors are the distinct packets.
#[test]
fn every_frame_of_the_tcpdump_capture_is_accepted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/tcpdump-vrrp.pcap");
    let capture = fs::read(path).unwrap();
    let word = |at: usize| usize::try_from(u32::from_le_bytes(capture[at..at + 4].try_into().unwrap())).unwrap();
    assert_eq!(word(0), 0xa1b2_c3d4, "a little-endian pcap with microseconds");
    let (mut at, mut frames) = (24, 0);
    while at < capture.len() {
        let length = word(at + 8);
        let frame = ip::Ethernet::parse(&capture[at + 16..at + 16 + length]).unwrap();
        let (envelope, payload) = match frame.ethertype {
            ip::ETHERTYPE_IPV4 => ip::parse_ipv4(frame.payload),
            _ => ip::parse_ipv6(frame.payload),
        }
        .unwrap();
        assert!(Advertisement::parse(payload, &envelope).is_ok(), "frame {frames}");
        frames += 1;
        at += 16 + length;
    }
    assert_eq!(frames, 165);
}
