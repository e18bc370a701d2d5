//! The rules about packets, one test each, named after its section: format and addressing, checksums, and the
//! receive checks that need nothing but the packet. Packets are built without the core's emitter wherever the
//! core's parser is judged, and the other way round. Rules about timers and states are in other files.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use steadfast_core::types::{Family, Interval, MacAddr, Priority, Version, Vrid};
use steadfast_core::wire::advertisement::{Advertisement, Authentication, Fit, Form, Outgoing, vrid_of};
use steadfast_core::wire::{Discard, Envelope, GROUP_V4, GROUP_V6, HOP_LIMIT, PROTOCOL, arp, ip, ndisc};
use steadfast_tests::wire::{Message, Seal, checksum, pseudo};

const SOURCE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const SOURCE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
const ENVELOPE_V4: Envelope = Envelope { source: SOURCE_V4, destination: IpAddr::V4(GROUP_V4), hop_limit: 255 };
const ENVELOPE_V6: Envelope = Envelope { source: SOURCE_V6, destination: IpAddr::V6(GROUP_V6), hop_limit: 255 };

const VIP_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254));
const VIP_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xff));

/// The three kinds of Advertisement there are, right in every field.
fn all_kinds() -> [(Message, Envelope); 3] {
    [
        (Message::v2(&[VIP_V4]), ENVELOPE_V4),
        (Message::v3(&[VIP_V4]), ENVELOPE_V4),
        (Message::v3(&[VIP_V6]), ENVELOPE_V6),
    ]
}

/// What comes of a message, or why it is discarded.
fn verdict(message: &Message, envelope: &Envelope) -> Result<(), Discard> {
    Advertisement::parse(&message.bytes(envelope), envelope).map(|_| ())
}

/// What becomes of each kind after an edit.
fn verdicts(edit: impl Fn(&mut Message)) -> [Result<(), Discard>; 3] {
    all_kinds().map(|(mut message, envelope)| {
        edit(&mut message);
        verdict(&message, &envelope)
    })
}

fn outgoing(version: Version, addresses: &[IpAddr]) -> Outgoing<'_> {
    Outgoing {
        version,
        vrid: Vrid::new(7).unwrap(),
        priority: Priority::new(100),
        interval: Interval::DEFAULT,
        authentication: Authentication::None,
        addresses,
    }
}

fn emit(outgoing: &Outgoing<'_>, envelope: &Envelope, form: Form) -> Vec<u8> {
    let mut buffer = [0xa5; 4200];
    let length = outgoing.emit(envelope.source, envelope.destination, form, &mut buffer).unwrap();
    buffer[..length].to_vec()
}

/// A whole frame from the virtual MAC address to the group.
fn emit_frame(outgoing: &Outgoing<'_>, envelope: &Envelope) -> Vec<u8> {
    let mut buffer = [0xa5; 4300];
    let mac = outgoing.vrid.virtual_mac(Family::of(&envelope.source));
    let Envelope { source, destination, .. } = *envelope;
    let length = ip::emit_frame(mac, None, source, destination, &mut buffer, |room| {
        outgoing.emit(source, destination, Form::PseudoHeader, room)
    })
    .unwrap();
    buffer[..length].to_vec()
}

#[test]
fn the_unedited_packets_of_these_tests_are_accepted() {
    assert_eq!(verdicts(|_| ()), [Ok(()); 3]);
}

// Section 1: format, addressing.

#[test]
fn rfc9568_5_1_1_2_ipv4_goes_to_224_0_0_18() {
    assert_eq!(GROUP_V4, Ipv4Addr::new(224, 0, 0, 18));
    let frame = emit_frame(&outgoing(Version::V3, &[VIP_V4]), &ENVELOPE_V4);
    assert_eq!(frame[..6], [0x01, 0x00, 0x5e, 0x00, 0x00, 0x12]);
    assert_eq!(frame[14 + 16..14 + 20], [224, 0, 0, 18]);
}

#[test]
fn rfc9568_5_1_1_3_ipv4_ttl_is_255() {
    let frame = emit_frame(&outgoing(Version::V3, &[VIP_V4]), &ENVELOPE_V4);
    assert_eq!((HOP_LIMIT, frame[14 + 8]), (255, 255));
}

#[test]
fn rfc9568_5_1_1_4_ipv4_protocol_is_112() {
    let frame = emit_frame(&outgoing(Version::V3, &[VIP_V4]), &ENVELOPE_V4);
    assert_eq!((PROTOCOL, frame[14 + 9]), (112, 112));
    let mut packet = frame[14..].to_vec();
    assert!(ip::parse_ipv4(&packet).is_some());
    packet[9] = 51;
    packet[10..12].fill(0);
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(ip::parse_ipv4(&packet), None);
}

#[test]
fn rfc9568_5_1_2_2_ipv6_goes_to_ff02_12() {
    assert_eq!(GROUP_V6, "ff02::12".parse::<Ipv6Addr>().unwrap());
    let frame = emit_frame(&outgoing(Version::V3, &[VIP_V6]), &ENVELOPE_V6);
    assert_eq!(frame[..6], [0x33, 0x33, 0x00, 0x00, 0x00, 0x12]);
    assert_eq!(frame[14 + 24..14 + 40], GROUP_V6.octets());
}

#[test]
fn rfc9568_5_1_2_3_ipv6_hop_limit_is_255() {
    assert_eq!(emit_frame(&outgoing(Version::V3, &[VIP_V6]), &ENVELOPE_V6)[14 + 7], 255);
}

#[test]
fn rfc9568_5_1_2_4_ipv6_next_header_is_112() {
    let frame = emit_frame(&outgoing(Version::V3, &[VIP_V6]), &ENVELOPE_V6);
    assert_eq!(frame[14 + 6], 112);
    let mut packet = frame[14..].to_vec();
    assert!(ip::parse_ipv6(&packet).is_some());
    packet[6] = 51;
    assert_eq!(ip::parse_ipv6(&packet), None);
}

/// A router that forwards one takes one from its TTL, so that the receive check finds it.
#[test]
fn rfc9568_5_1_1_2_a_forwarded_advertisement_is_discarded() {
    for (message, envelope) in all_kinds() {
        let forwarded = Envelope { hop_limit: 254, ..envelope };
        assert_eq!(verdict(&message, &forwarded), Err(Discard::HopLimit));
    }
}

#[test]
fn rfc9568_7_2_the_source_is_the_interfaces_address_and_the_virtual_mac() {
    let frame = emit_frame(&outgoing(Version::V3, &[VIP_V4]), &ENVELOPE_V4);
    assert_eq!(frame[6..12], [0x00, 0x00, 0x5e, 0x00, 0x01, 0x07]);
    assert_eq!(frame[14 + 12..14 + 16], [192, 0, 2, 1]);
    let frame = emit_frame(&outgoing(Version::V3, &[VIP_V6]), &ENVELOPE_V6);
    assert_eq!(frame[6..12], [0x00, 0x00, 0x5e, 0x00, 0x02, 0x07]);
    assert_eq!(IpAddr::from(<[u8; 16]>::try_from(&frame[14 + 8..14 + 24]).unwrap()), SOURCE_V6);
}

#[test]
fn rfc9568_7_3_the_virtual_mac_of_every_vrid() {
    for number in 1..=255 {
        let vrid = Vrid::new(number).unwrap();
        assert_eq!(vrid.virtual_mac(Family::V4), MacAddr([0x00, 0x00, 0x5e, 0x00, 0x01, number]));
        assert_eq!(vrid.virtual_mac(Family::V6), MacAddr([0x00, 0x00, 0x5e, 0x00, 0x02, number]));
    }
}

#[test]
fn rfc9568_5_2_3_vrid_is_1_to_255() {
    assert_eq!(Vrid::new(0), None);
    for number in 1..=255 {
        assert_eq!(verdicts(|message| message.vrid = number), [Ok(()); 3], "{number}");
    }
    assert_eq!(verdicts(|message| message.vrid = 0), [Err(Discard::Vrid); 3]);
}

#[test]
fn rfc9568_5_2_version_3_over_ipv4_byte_by_byte() {
    let addresses = [VIP_V4, Ipv4Addr::new(198, 51, 100, 7).into()];
    let outgoing =
        Outgoing { interval: Interval::from_centiseconds(0xabc).unwrap(), ..outgoing(Version::V3, &addresses) };
    let bytes = emit(&outgoing, &ENVELOPE_V4, Form::Plain);
    assert_eq!(bytes[..6], [0x31, 7, 100, 2, 0x0a, 0xbc]);
    assert_eq!(bytes[8..], [192, 0, 2, 254, 198, 51, 100, 7]);
}

#[test]
fn rfc9568_5_2_version_3_over_ipv6_byte_by_byte() {
    let outgoing = outgoing(Version::V3, &[VIP_V6]);
    let bytes = emit(&outgoing, &ENVELOPE_V6, Form::Plain);
    assert_eq!(bytes[..6], [0x31, 7, 100, 1, 0, 100]);
    assert_eq!(bytes[8..], "fe80::ff".parse::<Ipv6Addr>().unwrap().octets());
}

#[test]
fn rfc3768_5_1_version_2_byte_by_byte() {
    let outgoing = outgoing(Version::V2, &[VIP_V4]);
    let bytes = emit(&outgoing, &ENVELOPE_V4, Form::Plain);
    assert_eq!(bytes[..6], [0x21, 7, 100, 1, 0, 1]);
    assert_eq!(bytes[8..], [192, 0, 2, 254, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn rfc2338_5_3_6_version_2_with_a_password_byte_by_byte() {
    let outgoing =
        Outgoing { authentication: Authentication::Simple(*b"secret\0\0"), ..outgoing(Version::V2, &[VIP_V4]) };
    let bytes = emit(&outgoing, &ENVELOPE_V4, Form::Plain);
    assert_eq!(bytes[..6], [0x21, 7, 100, 1, 1, 1]);
    assert_eq!(bytes[12..], *b"secret\0\0");
    let read = Advertisement::parse(&bytes, &ENVELOPE_V4).unwrap();
    assert_eq!((read.auth_type, &read.auth_data), (1, b"secret\0\0"));
}

#[test]
fn rfc9568_5_2_4_priority_0_is_no_priority() {
    let resigning = Outgoing { priority: None, ..outgoing(Version::V3, &[VIP_V4]) };
    assert_eq!(emit(&resigning, &ENVELOPE_V4, Form::Plain)[2], 0);
    for number in 0..=255 {
        for (message, envelope) in all_kinds() {
            let bytes = Message { priority: number, ..message }.bytes(&envelope);
            let read = Advertisement::parse(&bytes, &envelope).unwrap();
            assert_eq!(read.priority.map_or(0, Priority::get), number);
        }
    }
}

#[test]
fn rfc9568_5_2_6_reserved_bits_are_sent_as_zero() {
    for centiseconds in [1, 100, 4095] {
        let interval = Interval::from_centiseconds(centiseconds).unwrap();
        let bytes = emit(&Outgoing { interval, ..outgoing(Version::V3, &[VIP_V4]) }, &ENVELOPE_V4, Form::Plain);
        assert_eq!(bytes[4] & 0xf0, 0);
    }
    // Version 2 can have an interval that has no room in the twelve bits.
    let interval = Interval::from_seconds(255).unwrap();
    let bytes = emit(&Outgoing { interval, ..outgoing(Version::V3, &[VIP_V4]) }, &ENVELOPE_V4, Form::Plain);
    assert_eq!(bytes[4..6], [0x0f, 0xff]);
}

#[test]
fn rfc9568_5_2_6_reserved_bits_are_ignored_when_received() {
    for reserved in 0..=15 {
        for (message, envelope) in all_kinds().into_iter().skip(1) {
            let bytes = Message { interval: reserved << 12 | 250, ..message }.bytes(&envelope);
            let read = Advertisement::parse(&bytes, &envelope).unwrap();
            assert_eq!(read.interval.centiseconds(), 250);
        }
    }
}

#[test]
fn rfc9568_5_2_7_interval_is_1_to_4095_centiseconds() {
    for centiseconds in 1..=4095 {
        let bytes = Message { interval: centiseconds, ..Message::v3(&[VIP_V4]) }.bytes(&ENVELOPE_V4);
        let read = Advertisement::parse(&bytes, &ENVELOPE_V4).unwrap();
        assert_eq!(read.interval.centiseconds(), centiseconds);
        let interval = Interval::from_centiseconds(centiseconds).unwrap();
        let sent = emit(&Outgoing { interval, ..outgoing(Version::V3, &[VIP_V4]) }, &ENVELOPE_V4, Form::Plain);
        assert_eq!(sent[4..6], centiseconds.to_be_bytes());
    }
    assert_eq!(Interval::from_centiseconds(0), None);
    assert_eq!(Interval::from_centiseconds(4096), None);
}

#[test]
fn rfc9568_5_2_7_erratum_8301_interval_zero_is_discarded() {
    // With reserved bits, too: they are not part of it.
    for interval in [0x0000, 0x1000, 0xf000] {
        for (message, envelope) in all_kinds().into_iter().skip(1) {
            assert_eq!(verdict(&Message { interval, ..message }, &envelope), Err(Discard::Interval));
        }
    }
}

#[test]
fn rfc3768_5_3_7_interval_is_1_to_255_seconds() {
    for seconds in 1..=255 {
        let bytes = Message { interval: seconds, ..Message::v2(&[VIP_V4]) }.bytes(&ENVELOPE_V4);
        assert_eq!(Advertisement::parse(&bytes, &ENVELOPE_V4).unwrap().interval.centiseconds(), seconds * 100);
    }
    // The byte before is the authentication type.
    for interval in [0x0000, 0x0100] {
        let message = Message { interval, ..Message::v2(&[VIP_V4]) };
        assert_eq!(verdict(&message, &ENVELOPE_V4), Err(Discard::Interval));
    }
}

#[test]
fn rfc9568_5_2_5_erratum_8299_count_zero_is_discarded() {
    assert_eq!(verdicts(|message| message.addresses.clear()), [Err(Discard::Count); 3]);
}

#[test]
fn rfc9568_5_2_5_count_255_is_accepted_with_as_many_addresses() {
    let many = |vip: IpAddr| vec![vip; 255];
    assert_eq!(verdicts(|message| message.addresses = many(message.addresses[0])), [Ok(()); 3]);
    let addresses = many(VIP_V6);
    let bytes = emit(&outgoing(Version::V3, &addresses), &ENVELOPE_V6, Form::PseudoHeader);
    assert_eq!(bytes.len(), 8 + 16 * 255);
    assert_eq!(Advertisement::parse(&bytes, &ENVELOPE_V6).unwrap().addresses.len(), 255);
}

#[test]
fn rfc9568_5_2_5_more_than_255_addresses_are_never_sent() {
    let addresses = [VIP_V4; 256];
    let mut buffer = [0; 4200];
    for version in [Version::V2, Version::V3] {
        let outgoing = outgoing(version, &addresses);
        assert!(outgoing.emit(SOURCE_V4, GROUP_V4.into(), Form::Plain, &mut buffer).is_err());
    }
}

/// The receive check of erratum 8300 is made when strict, by the Virtual Router: FRR sends none.
#[test]
fn rfc9568_5_2_9_erratum_8300_a_first_ipv6_address_that_is_not_link_local_can_be_told() {
    let global: IpAddr = "2001:db8::1".parse().unwrap();
    let bytes = Message::v3(&[global, VIP_V6]).bytes(&ENVELOPE_V6);
    let read = Advertisement::parse(&bytes, &ENVELOPE_V6).unwrap();
    assert_eq!(read.addresses.iter().next(), Some(global));
}

#[test]
fn rfc9568_5_2_9_the_address_family_is_that_of_the_ip_header() {
    // Sixteen bytes are one IPv6 address or four IPv4 addresses; only the IP header knows.
    let four = [[192, 0, 2, 1], [192, 0, 2, 2], [192, 0, 2, 3], [192, 0, 2, 4]].map(IpAddr::from);
    let message = Message { count: Some(1), ..Message::v3(&four) };
    assert_eq!(verdict(&message, &ENVELOPE_V4), Err(Discard::Length));
    let bytes = message.bytes(&ENVELOPE_V6);
    let read = Advertisement::parse(&bytes, &ENVELOPE_V6).unwrap();
    assert_eq!((read.addresses.len(), read.addresses.family()), (1, Family::V6));
    assert!(read.addresses.iter().all(|address| address.is_ipv6()));
}

#[test]
fn rfc9568_5_2_9_an_address_of_the_other_family_is_never_sent() {
    let bytes = emit(&outgoing(Version::V3, &[VIP_V6, VIP_V4]), &ENVELOPE_V4, Form::Plain);
    assert_eq!((bytes.len(), bytes[3]), (12, 1));
    assert_eq!(bytes[8..], [192, 0, 2, 254]);
}

#[test]
fn rfc9568_1_1_the_same_vrid_over_ipv4_and_ipv6_shares_no_mac_address() {
    let vrid = Vrid::new(9).unwrap();
    assert_ne!(vrid.virtual_mac(Family::V4), vrid.virtual_mac(Family::V6));
}

// Section 2: checksums. Every field is summed by `wire::checksum`, a naive one.

#[test]
fn rfc3768_5_3_8_version_2_is_plain_sent_and_received() {
    for form in [Form::Plain, Form::PseudoHeader] {
        let mut bytes = emit(&outgoing(Version::V2, &[VIP_V4]), &ENVELOPE_V4, form);
        assert_eq!(Advertisement::parse(&bytes, &ENVELOPE_V4).unwrap().fit, Fit::Plain);
        let sent = [bytes[6], bytes[7]];
        bytes[6..8].fill(0);
        assert_eq!(sent, checksum(&bytes).to_be_bytes());
    }
    let message = Message { seal: Seal::Pseudo, ..Message::v2(&[VIP_V4]) };
    assert_eq!(verdict(&message, &ENVELOPE_V4), Err(Discard::Checksum));
}

#[test]
fn rfc9568_5_2_8_version_3_over_ipv4_is_sent_in_the_form_asked_for() {
    let message = outgoing(Version::V3, &[VIP_V4]);
    let plain = emit(&message, &ENVELOPE_V4, Form::Plain);
    let with_pseudo = emit(&message, &ENVELOPE_V4, Form::PseudoHeader);
    assert_eq!(checksum(&plain), 0);
    assert_eq!(checksum(&[pseudo(&ENVELOPE_V4, 112, 12), with_pseudo.clone()].concat()), 0);
    assert_ne!(plain[6..8], with_pseudo[6..8]);
}

#[test]
fn rfc9568_5_2_8_version_3_over_ipv4_is_received_in_either_form() {
    for (seal, fit) in [(Seal::Plain, Fit::Plain), (Seal::Pseudo, Fit::PseudoHeader)] {
        let bytes = Message { seal, ..Message::v3(&[VIP_V4]) }.bytes(&ENVELOPE_V4);
        assert_eq!(Advertisement::parse(&bytes, &ENVELOPE_V4).unwrap().fit, fit);
    }
}

#[test]
fn rfc9568_5_2_8_version_3_over_ipv6_has_the_pseudo_header_and_nothing_else() {
    for form in [Form::Plain, Form::PseudoHeader] {
        let bytes = emit(&outgoing(Version::V3, &[VIP_V6]), &ENVELOPE_V6, form);
        assert_eq!(checksum(&[pseudo(&ENVELOPE_V6, 112, 24), bytes.clone()].concat()), 0);
        assert_eq!(Advertisement::parse(&bytes, &ENVELOPE_V6).unwrap().fit, Fit::PseudoHeader);
    }
    let message = Message { seal: Seal::Plain, ..Message::v3(&[VIP_V6]) };
    assert_eq!(verdict(&message, &ENVELOPE_V6), Err(Discard::Checksum));
}

#[test]
fn rfc9568_5_2_8_every_other_checksum_is_discarded() {
    for (message, envelope) in all_kinds() {
        let bytes = message.bytes(&envelope);
        let right = u16::from_be_bytes([bytes[6], bytes[7]]);
        let plain = Message { seal: Seal::Plain, ..message.clone() }.bytes(&envelope);
        let plain = u16::from_be_bytes([plain[6], plain[7]]);
        let accepts_plain = message.first == 0x31 && envelope.source.is_ipv4();
        for wrong in (0..=u16::MAX).filter(|&sum| sum != right && !(accepts_plain && sum == plain)) {
            let message = Message { seal: Seal::Literal(wrong), ..message.clone() };
            assert_eq!(verdict(&message, &envelope), Err(Discard::Checksum), "{wrong:04x}");
        }
    }
}

/// 224.0.0.18, 112 and 12 sum to 0xe08e; 10.99.21.14 brings that to 0xffff, which is nothing.
#[test]
fn rfc9568_5_2_8_a_pseudo_header_that_sums_to_nothing_fits_both_forms() {
    let source = Ipv4Addr::new(10, 99, 0x15, 0x0e).into();
    let envelope = Envelope { source, ..ENVELOPE_V4 };
    assert_eq!(checksum(&pseudo(&envelope, 112, 12)), 0);
    let plain = Message { seal: Seal::Plain, ..Message::v3(&[VIP_V4]) }.bytes(&envelope);
    assert_eq!(plain, Message::v3(&[VIP_V4]).bytes(&envelope));
    assert_eq!(Advertisement::parse(&plain, &envelope).unwrap().fit, Fit::Both);
    let outgoing = outgoing(Version::V3, &[VIP_V4]);
    assert_eq!(emit(&outgoing, &envelope, Form::Plain), emit(&outgoing, &envelope, Form::PseudoHeader));
}

/// Version 2 knows one form, and so does IPv6: nothing is ambiguous there.
#[test]
fn rfc9568_5_2_8_only_version_3_over_ipv4_can_fit_both_forms() {
    let source = Ipv4Addr::new(10, 99, 0x15, 0x06).into();
    let envelope = Envelope { source, ..ENVELOPE_V4 };
    assert_eq!(checksum(&pseudo(&envelope, 112, 20)), 0);
    let bytes = Message::v2(&[VIP_V4]).bytes(&envelope);
    assert_eq!(Advertisement::parse(&bytes, &envelope).unwrap().fit, Fit::Plain);

    let rest = checksum(&pseudo(&Envelope { source: Ipv6Addr::UNSPECIFIED.into(), ..ENVELOPE_V6 }, 112, 24));
    let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x017f, rest).into();
    let envelope = Envelope { source, ..ENVELOPE_V6 };
    assert_eq!(checksum(&pseudo(&envelope, 112, 24)), 0);
    let bytes = Message::v3(&[VIP_V6]).bytes(&envelope);
    assert_eq!(Advertisement::parse(&bytes, &envelope).unwrap().fit, Fit::PseudoHeader);
}

#[test]
fn rfc5798_5_2_8_the_pseudo_header_of_unicast_has_the_actual_destination() {
    for (source, destination, vip) in
        [(SOURCE_V4, IpAddr::from([192, 0, 2, 2]), VIP_V4), (SOURCE_V6, "fe80::2".parse().unwrap(), VIP_V6)]
    {
        let envelope = Envelope { source, destination, hop_limit: 255 };
        let group = if source.is_ipv4() { ENVELOPE_V4 } else { ENVELOPE_V6 };
        let sent = emit(&outgoing(Version::V3, &[vip]), &envelope, Form::PseudoHeader);
        assert_eq!(checksum(&[pseudo(&envelope, 112, sent.len()), sent.clone()].concat()), 0);
        assert_eq!(Advertisement::parse(&sent, &envelope).unwrap().fit, Fit::PseudoHeader);
        let for_the_group = Message::v3(&[vip]).bytes(&group);
        assert_eq!(Advertisement::parse(&for_the_group, &envelope), Err(Discard::Checksum));
    }
}

/// A checksum field of zero and of 0xffff are the same number; a sender may use either (RFC 1071).
#[test]
fn rfc1071_2_both_zeros_are_the_same_checksum() {
    // Found by letting the address make the rest sum to 0xffff.
    let mut message = Message { seal: Seal::Literal(0), ..Message::v3(&[Ipv4Addr::new(192, 0, 0, 0).into()]) };
    let rest = checksum(&message.bytes(&ENVELOPE_V4)).to_be_bytes();
    message.addresses = vec![Ipv4Addr::new(192, 0, rest[0], rest[1]).into()];
    for seal in [0, 0xffff] {
        message.seal = Seal::Literal(seal);
        assert_eq!(verdict(&message, &ENVELOPE_V4), Ok(()), "{seal:04x}");
    }
}

// Section 3: receive checks, in their order.

#[test]
fn rfc9568_7_1_hop_limit_other_than_255_is_discarded() {
    for (message, envelope) in all_kinds() {
        for hop_limit in 0..255 {
            let envelope = Envelope { hop_limit, ..envelope };
            assert_eq!(verdict(&message, &envelope), Err(Discard::HopLimit));
        }
    }
}

#[test]
fn rfc9568_7_1_version_other_than_2_and_3_is_discarded() {
    for version in (0..16).filter(|version| ![2, 3].contains(version)) {
        assert_eq!(verdicts(|message| message.first = version << 4 | 1), [Err(Discard::Version); 3]);
    }
}

#[test]
fn rfc3768_1_version_2_over_ipv6_is_discarded() {
    for seal in [Seal::Plain, Seal::Pseudo] {
        let message = Message { seal, ..Message::v2(&[VIP_V6]) };
        assert_eq!(verdict(&message, &ENVELOPE_V6), Err(Discard::Version));
    }
}

#[test]
fn rfc9568_5_2_2_type_other_than_1_is_discarded() {
    for kind in (0..16).filter(|&kind| kind != 1) {
        assert_eq!(verdicts(|message| message.first = message.first & 0xf0 | kind), [Err(Discard::Type); 3]);
    }
}

#[test]
fn rfc9568_7_1_a_truncated_packet_is_discarded() {
    for (message, envelope) in all_kinds() {
        let bytes = message.bytes(&envelope);
        for length in 0..bytes.len() {
            assert_eq!(Advertisement::parse(&bytes[..length], &envelope), Err(Discard::Length), "{length}");
        }
    }
}

#[test]
fn rfc9568_7_1_a_truncated_last_address_is_discarded() {
    for (mut message, envelope) in all_kinds() {
        message.addresses = vec![message.addresses[0]; 3];
        let whole = message.bytes(&envelope);
        for missing in 1..8 {
            let mut bytes = whole[..whole.len() - missing].to_vec();
            bytes[6..8].fill(0);
            let sum = checksum(&bytes).to_be_bytes();
            bytes[6..8].copy_from_slice(&sum);
            assert_eq!(Advertisement::parse(&bytes, &envelope), Err(Discard::Length), "{missing}");
        }
    }
}

#[test]
fn rfc9568_7_1_a_packet_longer_than_its_count_is_discarded() {
    for extra in [1, 2, 4, 8, 16, 1200] {
        let longer = verdicts(|message| message.trailer.resize(message.trailer.len() + extra, 0));
        assert_eq!(longer, [Err(Discard::Length); 3], "{extra}");
    }
}

#[test]
fn rfc9568_5_2_authentication_data_after_version_3_is_a_wrong_length() {
    for data in [[0; 8], *b"password"] {
        let message = Message { trailer: data.into(), ..Message::v3(&[VIP_V4]) };
        assert_eq!(verdict(&message, &ENVELOPE_V4), Err(Discard::Length));
    }
}

#[test]
fn rfc3768_5_3_10_version_2_without_authentication_data_is_a_wrong_length() {
    for interval in [0x0001, 0x0101] {
        let message = Message { interval, trailer: Vec::new(), ..Message::v2(&[VIP_V4]) };
        assert_eq!(verdict(&message, &ENVELOPE_V4), Err(Discard::Length));
        // Two addresses cannot pass for one and the data.
        let message = Message { addresses: vec![VIP_V4; 3], count: Some(3), ..message };
        assert_eq!(verdict(&message, &ENVELOPE_V4), Err(Discard::Length));
    }
}

#[test]
fn rfc9568_7_1_a_count_that_is_not_the_number_of_addresses_is_discarded() {
    for count in (0..=255).filter(|&count| count != 1) {
        assert_eq!(verdicts(|message| message.count = Some(count)), [Err(Discard::Length); 3], "{count}");
    }
}

#[test]
fn rfc9568_7_1_the_checks_are_made_in_their_order() {
    let expected = [
        Discard::HopLimit,
        Discard::Version,
        Discard::Type,
        Discard::Length,
        Discard::Checksum,
        Discard::Vrid,
        Discard::Count,
        Discard::Interval,
    ];
    // Everything is wrong at first; what was found is mended, and the next is found.
    let mut envelope = Envelope { hop_limit: 1, ..ENVELOPE_V4 };
    let mut message = Message {
        first: 0x12,
        vrid: 0,
        interval: 0,
        seal: Seal::Literal(0xdead),
        trailer: vec![0],
        ..Message::v3(&[])
    };
    let mut found = Vec::new();
    while let Err(discard) = verdict(&message, &envelope) {
        found.push(discard);
        match discard {
            Discard::HopLimit => envelope.hop_limit = 255,
            Discard::Version => message.first = 0x32,
            Discard::Type => message.first = 0x31,
            Discard::Length => message.trailer.clear(),
            Discard::Checksum => message.seal = Seal::Plain,
            Discard::Vrid => message.vrid = 1,
            Discard::Count => message.addresses.push(VIP_V4),
            Discard::Interval => message.interval = 1,
            other => panic!("{other:?} is not the parser's to find"),
        }
    }
    assert_eq!(found, expected);
    assert!(expected.is_sorted());
}

#[test]
fn rfc9568_7_1_a_discarded_packet_can_be_attributed_to_its_vrid() {
    for (message, envelope) in all_kinds() {
        let bytes = Message { vrid: 77, seal: Seal::Literal(0), ..message }.bytes(&envelope);
        assert_eq!(Advertisement::parse(&bytes, &envelope), Err(Discard::Checksum));
        assert_eq!(vrid_of(&bytes), Vrid::new(77));
    }
    assert_eq!(vrid_of(&[]), None);
}

#[test]
fn rfc3768_7_1_the_authentication_type_is_handed_on_whatever_it_is() {
    // Whether it is the configured one is for the Virtual Router to say.
    for auth_type in 0..=255 {
        let interval = u16::from_be_bytes([auth_type, 1]);
        let bytes = Message { interval, trailer: b"password".to_vec(), ..Message::v2(&[VIP_V4]) }.bytes(&ENVELOPE_V4);
        let read = Advertisement::parse(&bytes, &ENVELOPE_V4).unwrap();
        assert_eq!((read.auth_type, &read.auth_data), (auth_type, b"password"));
    }
}

#[test]
fn rfc791_3_1_a_fragment_is_no_advertisement() {
    let frame = emit_frame(&outgoing(Version::V3, &[VIP_V4]), &ENVELOPE_V4);
    for (flags, offset) in [(0x20, 0), (0x20, 1), (0x00, 1), (0x1f, 0xff)] {
        let mut packet = frame[14..].to_vec();
        packet[6..8].copy_from_slice(&[flags, offset]);
        packet[10..12].fill(0);
        let sum = checksum(&packet[..20]).to_be_bytes();
        packet[10..12].copy_from_slice(&sum);
        assert_eq!(ip::parse_ipv4(&packet), None);
    }
}

// The announcements that sections 6 and 8 ask for, as packets.

#[test]
fn rfc9568_8_1_2_errata_7947_7949_a_gratuitous_arp_carries_address_and_virtual_mac() {
    let mac = Vrid::new(7).unwrap().virtual_mac(Family::V4);
    let frame = arp::gratuitous(mac, Ipv4Addr::new(192, 0, 2, 254));
    assert_eq!(frame[..6], [0xff; 6]);
    assert_eq!(frame[6..12], mac.0);
    assert_eq!(frame[20..22], [0, 1], "a request");
    assert_eq!((&frame[22..28], &frame[28..32]), (&mac.0[..], &[192, 0, 2, 254][..]), "sender");
    assert_eq!((&frame[32..38], &frame[38..42]), (&mac.0[..], &[192, 0, 2, 254][..]), "target");
}

#[test]
fn rfc9568_6_4_1_an_unsolicited_advertisement_has_r_and_o_and_the_virtual_mac() {
    let mac = Vrid::new(7).unwrap().virtual_mac(Family::V6);
    let address = "fe80::ff".parse().unwrap();
    let frame = ndisc::unsolicited(mac, address, true);
    assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!((&frame[6..12], frame[21]), (&mac.0[..], 255));
    assert_eq!(frame[58], 0xa0, "R and O, not S");
    assert_eq!(frame[62..78], address.octets());
    assert_eq!((&frame[78..80], &frame[80..86]), (&[2, 1][..], &mac.0[..]), "target link-layer address");
    let envelope = Envelope { source: address.into(), destination: "ff02::1".parse().unwrap(), hop_limit: 255 };
    assert_eq!(checksum(&[pseudo(&envelope, 58, 32), frame[54..].to_vec()].concat()), 0);
}

#[test]
fn rfc9568_8_1_2_an_arp_query_is_answered_with_the_virtual_mac() {
    let mac = Vrid::new(7).unwrap().virtual_mac(Family::V4);
    let asker = MacAddr([2, 0, 0, 0, 0, 9]);
    let query = arp::Query { sender_mac: asker, sender: [192, 0, 2, 9].into(), target: [192, 0, 2, 254].into() };
    let frame = arp::reply(mac, &query);
    assert_eq!((&frame[..6], &frame[6..12]), (&asker.0[..], &mac.0[..]));
    assert_eq!(frame[20..22], [0, 2], "a reply");
    assert_eq!((&frame[22..28], &frame[28..32]), (&mac.0[..], &[192, 0, 2, 254][..]), "sender");
    assert_eq!((&frame[32..38], &frame[38..42]), (&asker.0[..], &[192, 0, 2, 9][..]), "target");
}

#[test]
fn rfc9568_8_2_2_a_solicitation_is_answered_with_the_virtual_mac() {
    let mac = Vrid::new(7).unwrap().virtual_mac(Family::V6);
    let asker = MacAddr([2, 0, 0, 0, 0, 9]);
    let source = "fe80::9".parse().unwrap();
    let target = "fe80::ff".parse().unwrap();
    let frame = ndisc::solicited(mac, &ndisc::Solicitation { source, sender_mac: asker, target }, true);
    assert_eq!((&frame[..6], &frame[6..12]), (&asker.0[..], &mac.0[..]));
    assert_eq!(frame[38..54], source.octets());
    assert_eq!(frame[58], 0xe0, "R, S and O");
    assert_eq!(frame[80..86], mac.0);
}

#[test]
fn rfc4291_2_7_1_the_group_that_an_active_joins_for_an_address() {
    let address = "2001:db8::ab:cdef:1234".parse().unwrap();
    assert_eq!(ndisc::solicited_node(address), "ff02::1:ffef:1234".parse::<Ipv6Addr>().unwrap());
}
