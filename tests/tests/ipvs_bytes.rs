//! What Steadfast says to IPVS is, byte for byte, what `ipvsadm` was recorded to say for the same purpose.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use steadfast_linux::ipvs::row::ServiceKey;
use steadfast_linux::ipvs::table::Write;
use steadfast_tests::ipvsadm::{Command, parse, recorded, requests};

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
