//! The LVS part of keepalived.conf. Whatever the text: it ends, every finding can be printed, reading the same text
//! again gives the same, and what is planned can be carried out.
#![no_main]

use std::collections::HashSet;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use steadfast_linux::check::Findings;
use steadfast_linux::plan::{self, Plan};

fuzz_target!(|input: &[u8]| {
    let first = read(input);
    assert_eq!(first, read(input));
    let (plan, _) = first;
    let mut keys = HashSet::new();
    for service in plan.iter().flat_map(|plan| &plan.lvs.services) {
        assert!(!service.keys.is_empty() && service.keys.iter().all(|key| keys.insert(*key)));
        assert!(!service.servers.is_empty() || service.sorry.is_some());
        for check in service.servers.iter().flat_map(|server| &server.checks) {
            assert!(check.source.is_none_or(|source| source.is_ipv4() == check.target.is_ipv4()));
        }
    }
});

fn read(input: &[u8]) -> (Option<Plan>, Vec<String>) {
    let mut findings = Findings::new(Path::new("f"));
    let plan = plan::parse(input, &mut findings);
    (plan, findings.iter().map(ToString::to_string).collect())
}
