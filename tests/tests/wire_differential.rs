//! Our packets beside those of others: ARP, Neighbour Discovery, IP headers and checksums against smoltcp's wire
//! layer, whole frames against scapy.
//!
//! scapy needs a Python that has it, named by `STEADFAST_PYTHON`; `tests/run` makes one. Without it, that test says so
//! and passes.

use std::env;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, Icmpv6Packet,
    Icmpv6Repr, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr, checksum,
};
use steadfast_core::types::{MacAddr, Priority, Version};
use steadfast_core::wire::advertisement::Form;
use steadfast_core::wire::checksum::{Sum, pseudo_header};
use steadfast_core::wire::{Envelope, arp, ip, ndisc};
use steadfast_tests::wire::hex;
use steadfast_tests::wire::samples::{Sample, advertisement, ipv4, ipv6};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

/// Addresses that may ask and be asked for.
fn unicast() -> impl Strategy<Value = Ipv6Addr> {
    ipv6()
        .prop_map(|address| if address.is_multicast() { Ipv6Addr::from_bits(!address.to_bits()) } else { address })
        .prop_filter("specified", |address| !address.is_unspecified())
}

fn ethernet(destination: MacAddr, source: MacAddr, ethertype: EthernetProtocol, frame: &mut [u8]) {
    EthernetRepr { src_addr: EthernetAddress(source.0), dst_addr: EthernetAddress(destination.0), ethertype }
        .emit(&mut EthernetFrame::new_unchecked(frame));
}

/// The ARP frame that smoltcp makes.
fn smoltcp_arp(
    destination: MacAddr,
    operation: ArpOperation,
    sender: (MacAddr, Ipv4Addr),
    target: (MacAddr, Ipv4Addr),
) -> Vec<u8> {
    let mut frame = vec![0; 42];
    ethernet(destination, sender.0, EthernetProtocol::Arp, &mut frame);
    let message = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: EthernetAddress(sender.0.0),
        source_protocol_addr: sender.1,
        target_hardware_addr: EthernetAddress(target.0.0),
        target_protocol_addr: target.1,
    };
    message.emit(&mut ArpPacket::new_unchecked(&mut frame[14..]));
    frame
}

/// The ICMPv6 packet in a frame that smoltcp makes.
fn smoltcp_ndisc(
    to: MacAddr,
    from: MacAddr,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    message: NdiscRepr<'_>,
) -> Vec<u8> {
    let message = Icmpv6Repr::Ndisc(message);
    let mut frame = vec![0; 54 + message.buffer_len()];
    ethernet(to, from, EthernetProtocol::Ipv6, &mut frame);
    let header = Ipv6Repr {
        src_addr: source,
        dst_addr: destination,
        next_header: IpProtocol::Icmpv6,
        payload_len: message.buffer_len(),
        hop_limit: 255,
    };
    header.emit(&mut Ipv6Packet::new_unchecked(&mut frame[14..]));
    let mut packet = Icmpv6Packet::new_unchecked(&mut frame[54..]);
    message.emit(&source, &destination, &mut packet, &ChecksumCapabilities::default());
    frame
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_gratuitous_arp_is_smoltcps(mac in mac(), address in ipv4()) {
        let theirs = smoltcp_arp(MacAddr::BROADCAST, ArpOperation::Request, (mac, address), (mac, address));
        prop_assert_eq!(&arp::gratuitous(mac, address)[..], &theirs[..]);
    }

    #[test]
    fn an_arp_query_of_smoltcp_is_read_and_answered_as_smoltcp_would(
        ours in mac(), theirs in mac(), sender in ipv4(), target in ipv4(),
    ) {
        let asked = smoltcp_arp(MacAddr::BROADCAST, ArpOperation::Request, (theirs, sender), (MacAddr([0; 6]), target));
        let query = arp::Query::parse(&asked[14..]).unwrap();
        prop_assert_eq!(query, arp::Query { sender_mac: theirs, sender, target });
        let answer = smoltcp_arp(theirs, ArpOperation::Reply, (ours, target), (theirs, sender));
        prop_assert_eq!(&arp::reply(ours, &query)[..], &answer[..]);
        prop_assert_eq!(arp::Query::parse(&answer[14..]), None);
    }

    #[test]
    fn an_unsolicited_neighbour_advertisement_is_smoltcps(mac in mac(), address in ipv6(), router: bool) {
        let mut flags = NdiscNeighborFlags::OVERRIDE;
        flags.set(NdiscNeighborFlags::ROUTER, router);
        let lladdr = Some(EthernetAddress(mac.0).into());
        let message = NdiscRepr::NeighborAdvert { flags, target_addr: address, lladdr };
        let theirs = smoltcp_ndisc(MacAddr([0x33, 0x33, 0, 0, 0, 1]), mac, address, ALL_NODES, message);
        prop_assert_eq!(&ndisc::unsolicited(mac, address, router)[..], &theirs[..]);
    }

    #[test]
    fn a_solicitation_of_smoltcp_is_read_and_answered_as_smoltcp_would(
        ours in mac(), theirs in mac(), source in unicast(), target in unicast(), with_option: bool,
    ) {
        let option = with_option.then_some(EthernetAddress(theirs.0).into());
        let group = ndisc::solicited_node(target);
        let ask = NdiscRepr::NeighborSolicit { target_addr: target, lladdr: option };
        let asked = smoltcp_ndisc(ip::multicast_mac(group.into()), theirs, source, group, ask);
        let query = ndisc::Solicitation::parse(&asked[14..], theirs).unwrap();
        prop_assert_eq!(query, ndisc::Solicitation { source, sender_mac: theirs, target });
        let answer = NdiscRepr::NeighborAdvert {
            flags: NdiscNeighborFlags::ROUTER | NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE,
            target_addr: target,
            lladdr: Some(EthernetAddress(ours.0).into()),
        };
        let answer = smoltcp_ndisc(theirs, ours, target, source, answer);
        prop_assert_eq!(&ndisc::solicited(ours, &query, true)[..], &answer[..]);
        prop_assert_eq!(ndisc::Solicitation::parse(&answer[14..], theirs), None);
    }

    #[test]
    fn a_checksum_is_smoltcps(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        prop_assert_eq!(Sum::of(&bytes).fold(), checksum::data(&bytes));
    }

    #[test]
    fn a_pseudo_header_is_smoltcps(a in ipv4(), b in ipv4(), c in ipv6(), d in ipv6(), length: u16) {
        let vrrp = IpProtocol::Unknown(112);
        let theirs = checksum::pseudo_header_v4(&a, &b, vrrp, length.into());
        prop_assert_eq!(pseudo_header(a.into(), b.into(), 112, length).fold(), theirs);
        let theirs = checksum::pseudo_header_v6(&c, &d, vrrp, length.into());
        prop_assert_eq!(pseudo_header(c.into(), d.into(), 112, length).fold(), theirs);
    }

    /// smoltcp sets no class of traffic, so that byte is brought over before the comparison.
    #[test]
    fn ip_headers_are_smoltcps(a in ipv4(), b in ipv4(), c in ipv6(), d in ipv6(), length in 0_usize..1480) {
        let mut ours = [0; 20];
        ip::emit_ipv4(a, b, length, &mut ours).unwrap();
        let header = Ipv4Repr { src_addr: a, dst_addr: b, next_header: IpProtocol::Unknown(112), payload_len: length, hop_limit: 255 };
        let mut theirs = Ipv4Packet::new_unchecked([0; 20]);
        header.emit(&mut theirs, &ChecksumCapabilities::default());
        theirs.set_dscp(0x30);
        theirs.fill_checksum();
        prop_assert_eq!(&ours, &theirs.into_inner());
        prop_assert!(Ipv4Packet::new_unchecked(&ours).verify_checksum());

        let mut ours = [0; 40];
        ip::emit_ipv6(c, d, length, &mut ours).unwrap();
        let header = Ipv6Repr { src_addr: c, dst_addr: d, next_header: IpProtocol::Unknown(112), payload_len: length, hop_limit: 255 };
        let mut theirs = Ipv6Packet::new_unchecked([0; 40]);
        header.emit(&mut theirs);
        theirs.set_traffic_class(0xc0);
        prop_assert_eq!(ours, theirs.into_inner());
    }

    #[test]
    fn frames_are_opened_as_smoltcp_opens_them(sample in advertisement(5)) {
        let frame = our_frame(&sample);
        let ethernet = EthernetFrame::new_checked(&frame[..]).unwrap();
        let (theirs, source): (&[u8], IpAddr) = match ethernet.ethertype() {
            EthernetProtocol::Ipv4 => {
                let packet = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
                prop_assert!(packet.verify_checksum() && packet.dont_frag() && !packet.more_frags());
                prop_assert_eq!((packet.next_header(), packet.hop_limit()), (IpProtocol::Unknown(112), 255));
                (packet.payload(), packet.src_addr().into())
            }
            _ => {
                let packet = Ipv6Packet::new_checked(ethernet.payload()).unwrap();
                prop_assert_eq!((packet.next_header(), packet.hop_limit()), (IpProtocol::Unknown(112), 255));
                (packet.payload(), packet.src_addr().into())
            }
        };
        prop_assert_eq!(theirs, &sample.emit()[..]);
        prop_assert_eq!(source, sample.envelope.source);
    }
}

/// The whole frame of a sample, from the virtual MAC address.
fn our_frame(sample: &Sample) -> Vec<u8> {
    let mut buffer = [0; 4200];
    let Envelope { source, destination, .. } = sample.envelope;
    let from = sample.vrid.virtual_mac(sample.family());
    let length = ip::emit_frame(from, None, source, destination, &mut buffer, |room| {
        sample.outgoing().emit(source, destination, sample.form, room)
    })
    .unwrap();
    buffer[..length].to_vec()
}

fn scapy_advertisement(sample: &Sample) -> Value {
    let version_2 = sample.version == Version::V2;
    json!({
        "kind": "advertisement",
        "from": sample.vrid.virtual_mac(sample.family()).to_string(),
        "to": ip::multicast_mac(sample.envelope.destination).to_string(),
        "source": sample.envelope.source,
        "destination": sample.envelope.destination,
        "version": sample.version.number(),
        "vrid": sample.vrid.get(),
        "priority": sample.priority.map_or(0, Priority::get),
        "interval": if version_2 { sample.interval.centiseconds() / 100 } else { sample.interval.centiseconds() },
        "addresses": sample.addresses,
        "plain": sample.form == Form::Plain && sample.envelope.source.is_ipv4(),
        "auth_type": sample.authentication.number(),
        "password": sample.authentication.data().map(|byte| format!("{byte:02x}")).concat(),
    })
}

fn scapy_arp(
    operation: u8,
    to: MacAddr,
    from: MacAddr,
    source: Ipv4Addr,
    target_mac: MacAddr,
    target: Ipv4Addr,
) -> Value {
    json!({
        "kind": "arp",
        "to": to.to_string(),
        "from": from.to_string(),
        "operation": operation,
        "source": source,
        "target_mac": target_mac.to_string(),
        "target": target,
    })
}

fn scapy_na(
    to: MacAddr,
    from: MacAddr,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    router: bool,
    solicited: bool,
) -> Value {
    json!({
        "kind": "na",
        "to": to.to_string(),
        "from": from.to_string(),
        "source": source,
        "destination": destination,
        "router": router,
        "solicited": solicited,
    })
}

/// The Python that has scapy, if there is one.
fn python() -> Result<PathBuf, String> {
    let python =
        env::var_os("STEADFAST_PYTHON").map(PathBuf::from).ok_or("STEADFAST_PYTHON names no Python with scapy")?;
    let import = Command::new(&python).args(["-c", "import scapy.layers.vrrp"]).output();
    match import {
        Ok(output) if output.status.success() => Ok(python),
        Ok(output) => Err(format!("{}: {}", python.display(), String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{}: {error}", python.display())),
    }
}

/// What scapy makes of each case.
fn scapy(python: &Path, cases: &[Value]) -> Vec<Vec<u8>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire_scapy.py");
    let mut child =
        Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python starts");
    let mut input = child.stdin.take().unwrap();
    let lines: String = cases.iter().map(|case| format!("{case}\n")).collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(hex).collect()
}

#[test]
fn whole_frames_are_scapys() {
    let python = match python() {
        Ok(python) => python,
        Err(reason) => {
            println!("skipped: {reason}");
            return;
        }
    };
    let mut runner = TestRunner::deterministic();
    let mut frames = Vec::new();
    let mut cases = Vec::new();
    let strategy = (advertisement(8), mac(), mac(), ipv4(), ipv4(), (ipv6(), ipv6(), any::<bool>()));
    for _ in 0..300 {
        let (sample, ours, theirs, a, b, (c, d, router)) = strategy.new_tree(&mut runner).unwrap().current();
        frames.push(our_frame(&sample));
        cases.push(scapy_advertisement(&sample));

        frames.push(arp::gratuitous(ours, a).to_vec());
        cases.push(scapy_arp(1, MacAddr::BROADCAST, ours, a, ours, a));

        let query = arp::Query { sender_mac: theirs, sender: b, target: a };
        frames.push(arp::reply(ours, &query).to_vec());
        cases.push(scapy_arp(2, theirs, ours, a, theirs, b));

        frames.push(ndisc::unsolicited(ours, c, router).to_vec());
        cases.push(scapy_na(ip::multicast_mac(ALL_NODES.into()), ours, c, ALL_NODES, router, false));

        if !d.is_unspecified() {
            let query = ndisc::Solicitation { source: d, sender_mac: theirs, target: c };
            frames.push(ndisc::solicited(ours, &query, router).to_vec());
            cases.push(scapy_na(theirs, ours, c, d, router, true));
        }
    }
    let theirs = scapy(&python, &cases);
    assert_eq!(theirs.len(), frames.len());
    for ((ours, theirs), case) in frames.iter().zip(&theirs).zip(&cases) {
        assert_eq!(ours, theirs, "{case}");
    }
}
