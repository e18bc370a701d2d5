//! Laws that hold for every packet: what is emitted is read back, nothing that arrives makes a parser panic, a
//! flipped bit is found, checksums add up. The rules of single fields are in `wire_rules.rs`. `PROPTEST_CASES` says
//! how many packets each law is tried on.

use std::net::IpAddr;

use proptest::prelude::*;
use steadfast_core::types::{Family, MacAddr, Version};
use steadfast_core::wire::advertisement::{Advertisement, Authentication, Fit, Form, Outgoing};
use steadfast_core::wire::checksum::{Sum, pseudo_header};
use steadfast_core::wire::{Discard, Envelope, arp, ip, ndisc};
use steadfast_tests::wire::samples::{Sample, advertisement, ipv4, ipv6};
use steadfast_tests::wire::{self, Message, Seal};

/// Whether the pseudo-header of this sample sums to nothing, so that its form cannot be told.
fn is_ambiguous(sample: &Sample, length: usize) -> bool {
    wire::checksum(&wire::pseudo(&sample.envelope, 112, length)) == 0
}

/// Bytes that look like an Advertisement often enough to get past the first checks.
fn nearly_an_advertisement() -> impl Strategy<Value = (Vec<u8>, Envelope)> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let length = prop_oneof![4 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)];
    (advertisement(6), edits, length, any::<bool>()).prop_map(|(sample, edits, length, mend)| {
        let mut bytes = sample.emit();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(length) = length {
            bytes.truncate(length.index(bytes.len()));
        }
        if mend && bytes.len() >= 8 {
            bytes[6..8].fill(0);
            let sum = wire::checksum(&bytes).to_be_bytes();
            bytes[6..8].copy_from_slice(&sum);
        }
        (bytes, sample.envelope)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_emitted_is_read_back(sample in advertisement(20)) {
        let bytes = sample.emit();
        let read = Advertisement::parse(&bytes, &sample.envelope).unwrap();
        prop_assert_eq!(read.version, sample.version);
        prop_assert_eq!(read.vrid, sample.vrid);
        prop_assert_eq!(read.priority, sample.priority);
        prop_assert_eq!(read.interval, sample.interval);
        prop_assert_eq!((read.auth_type, read.auth_data), (sample.authentication.number(), sample.authentication.data()));
        prop_assert!(read.addresses.iter().eq(sample.addresses.iter().copied()));
        let fit = match (sample.version, sample.family(), sample.form) {
            (Version::V2, ..) => Fit::Plain,
            (Version::V3, Family::V6, _) => Fit::PseudoHeader,
            _ if is_ambiguous(&sample, bytes.len()) => Fit::Both,
            (.., Form::Plain | Form::Version2) => Fit::Plain,
            (.., Form::PseudoHeader) => Fit::PseudoHeader,
        };
        prop_assert_eq!(read.fit, fit);
    }

    #[test]
    fn what_is_read_is_emitted_again_to_the_same_bytes((bytes, envelope) in nearly_an_advertisement()) {
        let Ok(read) = Advertisement::parse(&bytes, &envelope) else { return Ok(()) };
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
        let length = outgoing.emit(envelope.source, envelope.destination, form, &mut again).unwrap();
        prop_assert_eq!(length, bytes.len());
        // The reserved bits, or the authentication type, are not kept, and the checksum covers them.
        for at in (0..length).filter(|at| ![4, 6, 7].contains(at)) {
            prop_assert_eq!(again[at], bytes[at], "byte {}", at);
        }
    }

    #[test]
    fn an_accepted_message_is_what_an_independent_reader_says((bytes, envelope) in nearly_an_advertisement()) {
        let accepted = Advertisement::parse(&bytes, &envelope);
        let size = if envelope.source.is_ipv4() { 4 } else { 16 };
        let trailer = if bytes.first() == Some(&0x21) { 8 } else { 0 };
        let right_version = match bytes.first() {
            Some(0x21) => envelope.source.is_ipv4(),
            Some(0x31) => true,
            _ => false,
        };
        let right_length = bytes.len() >= 8 && bytes.len() == 8 + size * usize::from(bytes[3]) + trailer;
        let plain = wire::checksum(&bytes) == 0;
        let with_pseudo = wire::checksum(&[wire::pseudo(&envelope, 112, bytes.len()), bytes.clone()].concat()) == 0;
        let right_checksum = match (bytes.first(), envelope.source.is_ipv4()) {
            (Some(0x21), _) => plain,
            (_, true) => plain || with_pseudo,
            (_, false) => with_pseudo,
        };
        let right_fields = right_length && bytes[1] != 0 && bytes[3] != 0 && match bytes[0] {
            0x21 => bytes[5] != 0,
            _ => (bytes[4] & 0x0f, bytes[5]) != (0, 0),
        };
        prop_assert_eq!(accepted.is_ok(), right_version && right_checksum && right_fields);
    }

    /// Ones' complement sums find every flipped bit. Only where two forms are allowed, and the pseudo-header sums to
    /// a single bit, may the other form fit afterwards: what accepting both forms costs.
    #[test]
    fn any_flipped_bit_is_discarded(sample in advertisement(3)) {
        let bytes = sample.emit();
        let form = Advertisement::parse(&bytes, &sample.envelope).unwrap().fit;
        let pseudo = !wire::checksum(&wire::pseudo(&sample.envelope, 112, bytes.len()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let expected: &[Discard] = match bit / 8 {
                // Version 2 may become 3 and the other way round.
                0 => &[Discard::Version, Discard::Type, Discard::Length, Discard::Checksum],
                3 => &[Discard::Length],
                _ => &[Discard::Checksum],
            };
            match Advertisement::parse(&flipped, &sample.envelope) {
                Err(discard) => prop_assert!(expected.contains(&discard), "bit {}: {:?}", bit, discard),
                Ok(read) => {
                    prop_assert!((sample.version, sample.family()) == (Version::V3, Family::V4), "bit {}", bit);
                    prop_assert!(read.fit != form && pseudo.min(!pseudo).is_power_of_two(), "bit {}", bit);
                }
            }
        }
    }

    #[test]
    fn any_other_source_or_destination_breaks_the_pseudo_header(sample in advertisement(3), bit in 0_usize..128) {
        let sample = Sample { version: Version::V3, form: Form::PseudoHeader, ..sample };
        let bytes = sample.emit();
        prop_assume!(!is_ambiguous(&sample, bytes.len()));
        let flip = |address: IpAddr| -> IpAddr {
            match address {
                IpAddr::V4(address) => (u32::from(address) ^ 1 << (bit % 32)).to_be_bytes().into(),
                IpAddr::V6(address) => (u128::from(address) ^ 1 << bit).to_be_bytes().into(),
            }
        };
        let source = Envelope { source: flip(sample.envelope.source), ..sample.envelope };
        let destination = Envelope { destination: flip(sample.envelope.destination), ..sample.envelope };
        prop_assert_eq!(Advertisement::parse(&bytes, &source), Err(Discard::Checksum));
        prop_assert_eq!(Advertisement::parse(&bytes, &destination), Err(Discard::Checksum));
    }

    #[test]
    fn no_bytes_make_the_parser_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..1500), source in ipv6(), destination in ipv4(), hop_limit: u8,
    ) {
        // Not even an envelope that no port would make.
        let families: [(IpAddr, IpAddr); 4] = [
            (source.into(), destination.into()),
            (destination.into(), source.into()),
            (source.into(), source.into()),
            (destination.into(), destination.into()),
        ];
        for (source, destination) in families {
            for hop_limit in [hop_limit, 255] {
                let _ = Advertisement::parse(&bytes, &Envelope { source, destination, hop_limit });
            }
        }
    }

    #[test]
    fn no_frame_makes_a_parser_panic(frame in prop::collection::vec(any::<u8>(), 0..200), kind in 0..4) {
        let mut frame = frame;
        // Let it get somewhere: version and next header right.
        let start: &[u8] = match kind {
            0 => &[0x45],
            1 => &[0x60, 0, 0, 0, 0, 24, 58, 255],
            2 => &[0, 1, 8, 0, 6, 4, 0, 1],
            _ => &[],
        };
        frame.iter_mut().zip(start).for_each(|(slot, byte)| *slot = *byte);
        let _ = ip::Ethernet::parse(&frame);
        let _ = ip::parse_ipv4(&frame);
        let _ = ip::parse_ipv6(&frame);
        let _ = arp::Query::parse(&frame);
        let _ = ndisc::Solicitation::parse(&frame, MacAddr::BROADCAST);
    }

    #[test]
    fn emitting_into_any_room_is_whole_or_full(sample in advertisement(5), room in 0_usize..120) {
        let whole = sample.emit();
        let mut buffer = vec![0x5a; room];
        let Envelope { source, destination, .. } = sample.envelope;
        let emitted = sample.outgoing().emit(source, destination, sample.form, &mut buffer);
        if room < whole.len() {
            prop_assert!(emitted.is_err());
            prop_assert!(buffer.iter().all(|&byte| byte == 0x5a));
        } else {
            prop_assert_eq!(emitted, Ok(whole.len()));
            prop_assert_eq!(&buffer[..whole.len()], &whole[..]);
            prop_assert!(buffer[whole.len()..].iter().all(|&byte| byte == 0x5a));
        }
    }

    #[test]
    fn a_frame_is_opened_to_what_was_put_into_it(sample in advertisement(5), padding in 0_usize..50) {
        let mut buffer = [0; 256];
        let Envelope { source, destination, .. } = sample.envelope;
        let mac = sample.vrid.virtual_mac(sample.family());
        let length = ip::emit_frame(mac, None, source, destination, &mut buffer, |room| {
            sample.outgoing().emit(source, destination, sample.form, room)
        }).unwrap();
        let frame = ip::Ethernet::parse(&buffer[..length + padding]).unwrap();
        prop_assert_eq!(frame.source, mac);
        let opened = match sample.family() {
            Family::V4 => ip::parse_ipv4(frame.payload),
            Family::V6 => ip::parse_ipv6(frame.payload),
        };
        prop_assert_eq!(opened, Some((sample.envelope, &sample.emit()[..])));
    }

    #[test]
    fn the_builder_of_these_tests_and_the_core_agree(sample in advertisement(5)) {
        let [high, low] = match sample.version {
            Version::V2 => [sample.authentication.number(), sample.interval.seconds().unwrap()],
            Version::V3 => sample.interval.centiseconds().to_be_bytes(),
        };
        let plain = sample.version == Version::V2 || sample.family() == Family::V4 && sample.form == Form::Plain;
        let message = Message {
            first: sample.version.number() << 4 | 1,
            vrid: sample.vrid.get(),
            priority: sample.priority.map_or(0, |priority| priority.get()),
            count: None,
            interval: u16::from_be_bytes([high, low]),
            seal: if plain { Seal::Plain } else { Seal::Pseudo },
            addresses: sample.addresses.clone(),
            trailer: if sample.version == Version::V2 { sample.authentication.data().to_vec() } else { Vec::new() },
        };
        prop_assert_eq!(message.bytes(&sample.envelope), sample.emit());
    }

    #[test]
    fn a_checksum_is_the_naive_one(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(Sum::of(&bytes).checksum(), wire::checksum(&bytes));
    }

    #[test]
    fn a_checksum_may_be_taken_piece_by_piece(bytes in prop::collection::vec(any::<u8>(), 0..200), cut: prop::sample::Index) {
        let cut = cut.index(bytes.len() / 2 + 1) * 2;
        let (head, tail) = bytes.split_at(cut);
        prop_assert_eq!(Sum::of(head).plus(tail).fold(), Sum::of(&bytes).fold());
        prop_assert_eq!(Sum::of(tail).plus_sum(Sum::of(head)).fold(), Sum::of(&bytes).fold());
    }

    #[test]
    fn a_checksum_does_not_depend_on_the_order_of_words(words in prop::collection::vec(any::<u16>(), 0..50)) {
        let sum = |words: &[u16]| words.iter().fold(Sum::ZERO, |sum, &word| sum.plus_word(word)).fold();
        let mut sorted = words.clone();
        sorted.sort_unstable();
        prop_assert_eq!(sum(&words), sum(&sorted));
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        prop_assert_eq!(sum(&words), Sum::of(&bytes).fold());
    }

    /// RFC 1624: a word may be exchanged without summing the rest again.
    #[test]
    fn a_checksum_can_be_brought_up_to_date(words in prop::collection::vec(any::<u16>(), 1..50), at: prop::sample::Index, new: u16) {
        let sum = |words: &[u16]| words.iter().fold(Sum::ZERO, |sum, &word| sum.plus_word(word));
        let at = at.index(words.len());
        let mut changed = words.clone();
        changed[at] = new;
        let updated = Sum::ZERO.plus_word(!sum(&words).checksum()).plus_word(!words[at]).plus_word(new);
        // Minus zero and plus zero are the same sum.
        prop_assert_eq!(updated.fold() % 0xffff, sum(&changed).fold() % 0xffff);
    }

    #[test]
    fn a_sealed_message_is_valid_and_an_altered_one_is_not(words in prop::collection::vec(any::<u16>(), 1..50), at: prop::sample::Index, change in 1..0xffff_u16) {
        let mut words = words;
        words[0] = 0;
        let sum = |words: &[u16]| words.iter().fold(Sum::ZERO, |sum, &word| sum.plus_word(word));
        words[0] = sum(&words).checksum();
        prop_assume!(words.iter().any(|&word| word != 0));
        prop_assert!(sum(&words).is_valid());
        let at = at.index(words.len());
        let altered = words[at].wrapping_add(change);
        prop_assume!(altered % 0xffff != words[at] % 0xffff);
        words[at] = altered;
        prop_assert!(!sum(&words).is_valid());
    }

    #[test]
    fn the_pseudo_header_is_the_naive_one(a in ipv6(), b in ipv6(), c in ipv4(), d in ipv4(), protocol: u8, length: u16) {
        for (source, destination) in [(IpAddr::V6(a), IpAddr::V6(b)), (IpAddr::V4(c), IpAddr::V4(d))] {
            let envelope = Envelope { source, destination, hop_limit: 255 };
            let naive = wire::checksum(&wire::pseudo(&envelope, protocol, length.into()));
            prop_assert_eq!(pseudo_header(source, destination, protocol, length).checksum(), naive);
        }
    }
}
