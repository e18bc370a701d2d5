//! The difference of two tables, carried out on a model of the kernel's table that refuses what the kernel refuses.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use proptest::sample::select;
use steadfast_core::types::Family;
use steadfast_linux::ipvs::row::{
    Destination, DestinationKey, Forwarding, Persistence, Protocol, SchedulerFlags, Service, ServiceKey, Tunnel,
    TunnelChecksum,
};
use steadfast_linux::ipvs::table::{Row, Table, Write, diff};

/// Why the kernel does not carry out a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// EEXIST.
    Exists,
    /// ENOENT, ESRCH.
    Missing,
}

/// Carries out a write as the kernel does.
fn carry_out(kernel: &mut Table, write: &Write) -> Result<(), Refusal> {
    match write {
        Write::AddService(service) => {
            if kernel.contains_key(&service.key) {
                return Err(Refusal::Exists);
            }
            kernel.insert(service.key, Row::new(service.clone(), []));
        }
        Write::SetService(service) => {
            kernel.get_mut(&service.key).ok_or(Refusal::Missing)?.service = service.clone();
        }
        Write::DeleteService(key) => drop(kernel.remove(key).ok_or(Refusal::Missing)?),
        Write::AddDestination(key, destination) => {
            let row = kernel.get_mut(key).ok_or(Refusal::Missing)?;
            if row.destinations.contains(&destination.key) {
                return Err(Refusal::Exists);
            }
            row.destinations.insert(destination.clone());
        }
        Write::SetDestination(key, destination) => {
            let row = kernel.get_mut(key).ok_or(Refusal::Missing)?;
            if !row.destinations.contains(&destination.key) {
                return Err(Refusal::Missing);
            }
            row.destinations.insert(destination.clone());
        }
        Write::DeleteDestination(key, destination) => {
            let row = kernel.get_mut(key).ok_or(Refusal::Missing)?;
            if !row.destinations.remove(destination) {
                return Err(Refusal::Missing);
            }
        }
    }
    Ok(())
}

/// Carries out a write as `Client::write` does: an addition of what is there is a change.
fn carry_out_leniently(kernel: &mut Table, write: &Write) {
    if carry_out(kernel, write) == Err(Refusal::Exists) {
        let change = match write.clone() {
            Write::AddService(service) => Write::SetService(service),
            Write::AddDestination(key, destination) => Write::SetDestination(key, destination),
            other => other,
        };
        let _ = carry_out(kernel, &change);
    }
}

/// Whether a service has a destination that takes connections.
fn takes(table: &Table, key: &ServiceKey) -> bool {
    table.get(key).is_some_and(|row| row.destinations.iter().any(|destination| destination.weight > 0))
}

// Few keys, so that tables share many of them.

fn service_key() -> impl Strategy<Value = ServiceKey> {
    let v4 = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1));
    let v6 = IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    let of = |protocol, address, port| ServiceKey::Address { protocol, address, port };
    select(vec![
        of(Protocol::Tcp, v4, 80),
        of(Protocol::Udp, v4, 80),
        of(Protocol::Tcp, v6, 80),
        of(Protocol::Sctp, v4, 443),
        ServiceKey::Mark { mark: 3, family: Family::V4 },
        ServiceKey::Mark { mark: 3, family: Family::V6 },
    ])
}

fn service(key: ServiceKey) -> impl Strategy<Value = Service> {
    let flags = any::<(bool, bool, bool, bool)>().prop_map(|(one, two, three, one_packet)| SchedulerFlags {
        one,
        two,
        three,
        one_packet,
    });
    let persistence = proptest::option::of((1_u32..3, select(vec![24_u8, 32]), proptest::option::of(Just("sip"))))
        .prop_map(|persistence| {
            persistence.map(|(timeout, granularity, engine)| Persistence {
                timeout,
                granularity,
                engine: engine.map(Into::into),
            })
        });
    (select(vec!["rr", "wlc", "sh"]), flags, persistence).prop_map(move |(scheduler, flags, persistence)| Service {
        key,
        scheduler: scheduler.into(),
        flags,
        persistence,
    })
}

fn destination() -> impl Strategy<Value = Destination> {
    let address = select(vec![
        IpAddr::from(Ipv4Addr::new(10, 0, 0, 1)),
        IpAddr::from(Ipv4Addr::new(10, 0, 0, 2)),
        IpAddr::from(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)),
    ]);
    let forwarding = select(vec![
        Forwarding::DirectRoute,
        Forwarding::Masquerade,
        Forwarding::Tunnel(Tunnel::Gue { port: 6080, checksum: TunnelChecksum::Full }),
    ]);
    (address, select(vec![80_u16, 81]), forwarding, 0_u32..3, 0_u32..2).prop_map(
        |(address, port, forwarding, weight, lower_threshold)| Destination {
            key: DestinationKey { address, port },
            forwarding,
            weight,
            upper_threshold: lower_threshold * 2,
            lower_threshold,
        },
    )
}

fn table() -> impl Strategy<Value = Table> {
    let row = service_key().prop_flat_map(|key| (service(key), proptest::collection::vec(destination(), 0..5)));
    proptest::collection::vec(row, 0..6).prop_map(|rows| {
        rows.into_iter().map(|(service, destinations)| (service.key, Row::new(service, destinations))).collect()
    })
}

fn keys() -> impl Strategy<Value = BTreeSet<ServiceKey>> {
    proptest::collection::btree_set(service_key(), 0..4)
}

/// What the kernel's table ought to be afterwards: the wanted services, and those that never were ours.
fn expected(kernel: &Table, wanted: &Table, ours: &BTreeSet<ServiceKey>) -> Table {
    let mut table: Table = kernel.iter().filter(|(key, _)| !ours.contains(key)).map(|(k, r)| (*k, r.clone())).collect();
    table.extend(wanted.iter().map(|(key, row)| (*key, row.clone())));
    table
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn writes_lead_to_the_wanted_table(kernel in table(), wanted in table(), ours in keys()) {
        let mut now = kernel.clone();
        for write in diff(&kernel, &wanted, &ours) {
            prop_assert_eq!(carry_out(&mut now, &write), Ok(()), "{}", write);
        }
        prop_assert_eq!(&now, &expected(&kernel, &wanted, &ours));
        prop_assert_eq!(diff(&now, &wanted, &ours), []);
    }

    #[test]
    fn a_table_as_it_should_be_is_not_written(table in table(), ours in keys()) {
        let ours = ours.into_iter().filter(|key| table.contains_key(key)).collect();
        prop_assert_eq!(diff(&table, &table, &ours), []);
    }

    #[test]
    fn each_row_is_written_once(kernel in table(), wanted in table(), ours in keys()) {
        let mut seen: BTreeMap<(ServiceKey, Option<DestinationKey>), usize> = BTreeMap::new();
        for write in diff(&kernel, &wanted, &ours) {
            let destination = match &write {
                Write::AddDestination(_, row) | Write::SetDestination(_, row) => Some(row.key),
                Write::DeleteDestination(_, key) => Some(*key),
                _ => None,
            };
            *seen.entry((write.service(), destination)).or_default() += 1;
        }
        prop_assert!(seen.values().all(|count| *count == 1), "{:?}", seen);
    }

    #[test]
    fn a_service_that_has_destinations_before_and_after_always_has_one(
        kernel in table(), wanted in table(), ours in keys()
    ) {
        let served: Vec<_> = wanted.keys().filter(|key| takes(&kernel, key) && takes(&wanted, key)).copied().collect();
        let mut now = kernel.clone();
        for write in diff(&kernel, &wanted, &ours) {
            carry_out(&mut now, &write).expect("it is not refused");
            for key in &served {
                prop_assert!(takes(&now, key), "{} leaves {} empty", write, key);
            }
        }
    }

    #[test]
    fn services_of_others_are_left_alone(kernel in table(), wanted in table(), ours in keys()) {
        for write in diff(&kernel, &wanted, &ours) {
            let key = write.service();
            prop_assert!(wanted.contains_key(&key) || ours.contains(&key), "{}", write);
        }
    }

    /// Rows that were changed by somebody else since the table was read are right after the next look at it.
    #[test]
    fn a_table_that_changes_under_way_becomes_right(
        read in table(), actual in table(), wanted in table(), ours in keys()
    ) {
        let mut now = actual.clone();
        for write in diff(&read, &wanted, &ours) {
            carry_out_leniently(&mut now, &write);
        }
        for write in diff(&now.clone(), &wanted, &ours) {
            carry_out_leniently(&mut now, &write);
        }
        prop_assert_eq!(&now, &expected(&actual, &wanted, &ours));
    }
}

#[test]
fn writes_say_in_a_log_what_they_do() {
    let key = ServiceKey::Mark { mark: 3, family: Family::V6 };
    let place = DestinationKey { address: Ipv6Addr::LOCALHOST.into(), port: 0 };
    assert_eq!(Write::DeleteDestination(key, place).to_string(), "delete [::1]:0 from FWM 3 IPv6");
}
