//! What Steadfast says to IPVS is, byte for byte, what `ipvsadm` was recorded to say for the same purpose; what the
//! kernel was recorded to answer is read as it was meant, and answers that no kernel gives do no harm.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use steadfast_core::types::Family;
use steadfast_linux::ipvs::attributes::decode;
use steadfast_linux::ipvs::row::ServiceKey;
use steadfast_linux::ipvs::settings::{Info, SyncState, Timeouts};
use steadfast_linux::ipvs::statistics::Counters;
use steadfast_linux::ipvs::table::{Row, Table, Write};
use steadfast_tests::ipvsadm::{Command, bytes, parse, recorded, requests, table};

/// The line whose request `ipvsadm` fills with leftovers: the IPv4 address of a server in an IPv6 service has the last
/// twelve bytes of the service's address behind it, where ours has zeros. The kernel reads the first four only.
const LEFTOVERS: &str = "-a -t [2001:db8::2]:80 -r 10.0.0.9:80 -i";

#[test]
fn every_request_is_ipvsadms() {
    let mut services: BTreeSet<ServiceKey> = BTreeSet::new();
    let all = recorded();
    assert!(all.len() > 50, "{} command lines are recorded", all.len());
    for recorded in all {
        let ours = requests(recorded.line, &services);
        let theirs: Vec<Vec<u8>> =
            recorded.requests.into_iter().map(|request| cleaned(recorded.line, request)).collect();
        assert_eq!(hex(&ours), hex(&theirs), "ipvsadm {}", recorded.line);
        match parse(recorded.line) {
            Command::Write(Write::AddService(service)) => drop(services.insert(service.key)),
            Command::Write(Write::DeleteService(service)) => drop(services.remove(&service)),
            _ => {}
        }
    }
}

fn cleaned(line: &str, mut request: Vec<u8>) -> Vec<u8> {
    if line == LEFTOVERS {
        let address = [10, 0, 0, 9];
        let at = request.windows(4).position(|bytes| bytes == address).expect("the server's address");
        assert_ne!(request[at + 4..at + 16], [0; 12], "the leftovers are gone: remove this exception");
        request[at + 4..at + 16].fill(0);
    }
    request
}

fn hex(requests: &[Vec<u8>]) -> Vec<String> {
    requests.iter().map(|request| request.iter().map(|byte| format!("{byte:02x}")).collect()).collect()
}

/// What an answer is about, and its bytes.
fn answers() -> Vec<(&'static str, Vec<u8>)> {
    let lines = include_str!("../vectors/ipvs/answers.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').expect("two words")).map(|(kind, hex)| (kind, bytes(hex))).collect()
}

#[test]
fn a_recorded_table_is_read_as_it_was_written() {
    let mut read = Table::new();
    let mut last = None;
    for (kind, answer) in answers() {
        match kind {
            "service" => {
                let (service, counters) = decode::service(&answer).expect("it can be read").expect("it is a service");
                assert_eq!(counters, Counters::default());
                last = Some(service.key);
                read.insert(service.key, Row::new(service, []));
            }
            "destination" => {
                let key = last.expect("its service comes before it");
                let destination = decode::destination(&answer, key.family()).expect("it can be read");
                assert_eq!((destination.counters, destination.active), (Counters::default(), 0));
                let row = read.get_mut(&key).expect("its service is there");
                let destination = destination.destination;
                row.destinations.insert(destination);
            }
            _ => {}
        }
    }
    let additions: Vec<&str> = recorded()
        .iter()
        .map(|recorded| recorded.line)
        .filter(|line| line.starts_with("-A") || line.starts_with("-a"))
        .collect();
    assert_eq!(read, table(&additions.join("\n")));
}

#[test]
fn recorded_settings_are_read_as_they_were_written() {
    let of = |wanted: &str| {
        answers().into_iter().filter(|(kind, _)| *kind == wanted).map(|(_, bytes)| bytes).collect::<Vec<_>>()
    };
    let info = Info { version: (1, 2, 1), connection_table_size: 4_096 };
    assert_eq!(decode::info(&of("info")[0]), Ok(info));
    assert_eq!(decode::timeouts(&of("timeouts")[0]), Ok(Timeouts { tcp: 900, tcp_fin: 120, udp: 300 }));
    let daemons: Vec<_> =
        of("daemon").iter().map(|answer| decode::sync_daemon(answer).expect("it can be read")).collect();
    let [master, backup] = &daemons[..] else { panic!("{daemons:?}") };
    assert_eq!((master.state, master.interface.as_str(), master.id), (SyncState::Master, "eth0", 255));
    assert_eq!((master.max_length, master.port, master.ttl), (1_400, 9_000, 3));
    assert_eq!(master.group, "224.0.0.99".parse().ok());
    assert_eq!((backup.state, backup.id, backup.group), (SyncState::Backup, 9, "ff02::99".parse().ok()));
}

/// Reads an answer as everything it could be; whether any could read it.
fn read_all(answer: &[u8]) -> bool {
    [
        decode::family(answer).is_ok(),
        decode::service(answer).is_ok(),
        decode::destination(answer, Family::V4).is_ok(),
        decode::destination(answer, Family::V6).is_ok(),
        decode::timeouts(answer).is_ok(),
        decode::sync_daemon(answer).is_ok(),
        decode::info(answer).is_ok(),
    ]
    .contains(&true)
}

#[test]
fn no_cut_and_no_changed_byte_does_harm() {
    for (_, answer) in answers() {
        assert!(read_all(&answer));
        for end in 0..answer.len() {
            read_all(&answer[..end]);
        }
        for index in 0..answer.len() {
            for value in [0, 1, 3, 4, 0x7f, 0x80, 0xff] {
                let mut answer = answer.clone();
                answer[index] = value;
                read_all(&answer);
            }
        }
    }
}

#[test]
fn a_cut_answer_is_an_error() {
    for (kind, answer) in answers() {
        for end in 0..answer.len() {
            assert!(!read_all(&answer[..end]), "{kind} cut after {end} of {} bytes", answer.len());
        }
    }
}

#[test]
fn what_is_wrong_with_an_answer_is_named() {
    let service = |hex: &str| decode::service(&bytes(hex)).expect_err("it is wrong").to_string();
    let begin = "the kernel's answer is malformed: ";
    assert_eq!(service("010100"), format!("{begin}IPVS_CMD_ATTR has 3 bytes instead of 4"));
    assert_eq!(service("01010000"), format!("{begin}IPVS_CMD_ATTR_SERVICE is missing"));
    assert_eq!(service("01010000040001800000"), format!("{begin}IPVS_CMD_ATTR holds more than fits into it"));
    assert_eq!(service("010100000c000180060001000300"), format!("{begin}IPVS_CMD_ATTR holds more than fits into it"));
    assert_eq!(service("010100000c0001800600010003000000"), format!("{begin}IPVS_SVC_ATTR_AF is 3"));
    assert_eq!(
        service("010100000c0001800700010002000000"),
        format!("{begin}IPVS_SVC_ATTR_AF has 3 bytes instead of 2")
    );
    assert_eq!(
        service("010100000c0001800a00010002000000"),
        format!("{begin}IPVS_CMD_ATTR_SERVICE holds more than fits into it")
    );
    assert_eq!(service("010100000c0001800600010002000000"), format!("{begin}IPVS_SVC_ATTR_PROTOCOL is missing"));
}

/// A service of a protocol that we do not know has no place in our table, and is none of ours.
#[test]
fn a_service_of_another_protocol_is_passed_over() {
    assert_eq!(decode::service(&bytes("010100001400018006000100020000000600020032000000")), Ok(None));
}

proptest! {
    #[test]
    fn no_bytes_do_harm(answer in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_all(&answer);
    }
}
