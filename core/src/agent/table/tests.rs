//! The table beside a plain model of it, and what happens when it is full.

use super::*;
use crate::storage::Fixed;
use crate::testing::{Heap, Random, interfaces, settings};

extern crate std;
use std::collections::BTreeMap;
use std::vec::Vec;

/// What the table should hold of one Virtual Router.
struct Entry {
    id: RouterId,
    interface: InterfaceId,
    vrid: u8,
    addresses: Vec<IpAddr>,
    excluded: Vec<IpAddr>,
    peers: Vec<IpAddr>,
}

/// A configuration with these lists; the table looks at nothing else in it.
fn lists<'a>(addresses: &'a [IpAddr], excluded: &'a [IpAddr], peers: &'a [IpAddr]) -> RouterConfig<'a> {
    RouterConfig { interface: InterfaceId(0), settings: settings(1), addresses, excluded, peers }
}

/// The model: every Virtual Router by its index, and all ids that were given out and are void.
#[derive(Default)]
struct Model {
    entries: BTreeMap<usize, Entry>,
    void: Vec<RouterId>,
}

const VRIDS: u8 = 6;

fn check<S: Storage>(table: &Routers<S>, model: &Model, interfaces: &[InterfaceId]) {
    let mut addresses = 0;
    for (&index, entry) in &model.entries {
        assert_eq!(table.index(entry.id), Some(index));
        assert_eq!(table.id(index), entry.id);
        assert_eq!(table.advertised(index), entry.addresses);
        assert_eq!(table.addresses(index), [&entry.addresses[..], &entry.excluded].concat());
        assert_eq!(usize::from(table.address_count(index)), entry.addresses.len() + entry.excluded.len());
        assert_eq!(table.peers(index), entry.peers);
        addresses += table.addresses(index).len() + entry.peers.len();
    }
    assert_eq!(table.addresses_used, addresses, "no gaps");
    assert_eq!((0..table.len()).filter(|index| table.get(*index).is_some()).count(), model.entries.len());
    for id in &model.void {
        assert_eq!(table.index(*id), None);
    }
    for interface in interfaces {
        for vrid in 1..=VRIDS {
            let expected = model.entries.iter().find(|(_, e)| e.interface == *interface && e.vrid == vrid);
            let vrid = Vrid::new(vrid).unwrap();
            assert_eq!(table.find(*interface, Family::V4, vrid), expected.map(|(index, _)| *index));
            assert_eq!(table.find(*interface, Family::V6, vrid), None);
        }
    }
}

fn addresses(random: &mut Random, least: usize) -> Vec<IpAddr> {
    (least..=random.below(5)).map(|_| IpAddr::V4(Ipv4Addr::from_bits(random.next() as u32))).collect()
}

/// Random additions, removals and changes of addresses beside the model; returns how many found no room.
fn beside_the_model<S: Storage>(seed: u64) -> usize {
    let mut random = Random::new(seed);
    let interfaces = interfaces(3);
    let mut table = Routers::<S>::new();
    let mut model = Model::default();
    let mut full = 0;
    for _ in 0..200 {
        let interface = interfaces[random.below(interfaces.len())];
        let vrid = 1 + random.below(VRIDS.into()) as u8;
        let known = model.entries.iter().find(|(_, e)| e.interface == interface && e.vrid == vrid);
        let known = known.map(|(index, _)| *index);
        let [addresses, excluded, peers] = [0, 1, 3].map(|least| addresses(&mut random, least));
        let peers = if cfg!(feature = "unicast") { peers } else { Vec::new() };
        let config = lists(&addresses, &excluded, &peers);
        match known {
            None => match table.insert(Router::new(interface, settings(vrid), false, false), &config) {
                Ok(index) => {
                    let id = table.id(index);
                    let entry = Entry { id, interface, vrid, addresses, excluded, peers };
                    assert!(model.entries.insert(index, entry).is_none());
                }
                Err(error) => {
                    assert_eq!(error, AddError::Full);
                    full += 1;
                }
            },
            Some(index) if random.once_in(2) => {
                table.remove(index);
                model.void.push(model.entries.remove(&index).unwrap().id);
            }
            Some(index) => match table.set_addresses(index, &config) {
                Ok(changed) => {
                    let entry = model.entries.get_mut(&index).unwrap();
                    assert_eq!(changed, entry.addresses != addresses || entry.excluded != excluded);
                    (entry.addresses, entry.excluded, entry.peers) = (addresses, excluded, peers);
                }
                Err(error) => {
                    assert_eq!(error, AddError::Full);
                    full += 1;
                }
            },
        }
        check(&table, &model, &interfaces);
    }
    full
}

#[test]
fn routers_and_addresses_are_found_after_any_changes() {
    for seed in 0..100 {
        assert_eq!(beside_the_model::<Heap>(seed), 0);
    }
}

#[test]
fn what_there_is_no_room_for_changes_nothing() {
    let mut full = 0;
    for seed in 0..100 {
        full += beside_the_model::<Fixed<8, 12, 0, 0>>(seed);
        full += beside_the_model::<Fixed<4, 100, 0, 0>>(seed);
        full += beside_the_model::<Fixed<0, 100, 0, 0>>(seed);
        full += beside_the_model::<Fixed<9, 0, 0, 0>>(seed);
    }
    assert!(full > 1000, "{full}");
}

#[test]
fn other_addresses_need_no_room_beside_the_old_ones() {
    let interface = interfaces(1)[0];
    let mut table = Routers::<Fixed<2, 4, 0, 0>>::new();
    let address = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
    let first =
        table.insert(Router::new(interface, settings(1), false, false), &lists(&[address(1), address(2)], &[], &[]));
    let second =
        table.insert(Router::new(interface, settings(2), false, false), &lists(&[address(3)], &[address(4)], &[]));
    assert_eq!((first, second), (Ok(0), Ok(1)));
    assert_eq!(table.set_addresses(0, &lists(&[address(5)], &[address(6)], &[])), Ok(true));
    assert_eq!(table.set_addresses(0, &lists(&[address(5)], &[address(6)], &[])), Ok(false));
    assert_eq!(
        table.set_addresses(0, &lists(&[address(5), address(6)], &[], &[])),
        Ok(true),
        "another part is advertised"
    );
    assert_eq!(table.set_addresses(0, &lists(&[address(5), address(6), address(7)], &[], &[])), Err(AddError::Full));
    assert_eq!(table.addresses(0), [address(5), address(6)]);
    assert_eq!(table.addresses(1), [address(3), address(4)]);
    assert_eq!(table.advertised(1), [address(3)]);
}

#[test]
fn a_router_that_is_being_removed_gives_way_to_a_new_one() {
    let interface = interfaces(1)[0];
    let mut table = Routers::<Heap>::new();
    let vrid = Vrid::new(1).unwrap();
    let old = table.insert(Router::new(interface, settings(1), false, false), &lists(&[], &[], &[])).unwrap();
    table.get_mut(old).unwrap().set_retiring();
    assert_eq!(table.find(interface, Family::V4, vrid), Some(old));
    let new = table.insert(Router::new(interface, settings(1), false, false), &lists(&[], &[], &[])).unwrap();
    assert_eq!(table.find(interface, Family::V4, vrid), Some(new));
    table.remove(old);
    assert_eq!(table.find(interface, Family::V4, vrid), Some(new));
}

#[test]
fn a_place_is_used_again_under_another_id() {
    let interface = interfaces(1)[0];
    let mut table = Routers::<Heap>::new();
    let mut ids = Vec::new();
    for _ in 0..100 {
        let index = table.insert(Router::new(interface, settings(1), false, false), &lists(&[], &[], &[])).unwrap();
        assert_eq!(index, 0);
        let id = table.id(index);
        assert!(!ids.contains(&id));
        ids.push(id);
        table.remove(index);
        assert_eq!(table.index(id), None);
    }
}

#[test]
fn a_place_whose_ids_are_used_up_is_not_used_again() {
    let interface = interfaces(1)[0];
    let mut table = Routers::<Heap>::new();
    let mut insert = |epoch: Option<u32>| {
        let index = table.insert(Router::new(interface, settings(1), false, false), &lists(&[], &[], &[])).unwrap();
        table.slots[index].epoch = epoch.unwrap_or(table.slots[index].epoch);
        let id = table.id(index);
        table.remove(index);
        assert_eq!(table.index(id), None);
        id
    };
    insert(None);
    let last_but_one = insert(Some(u32::MAX - 1));
    let last = insert(None);
    let next = insert(None);
    assert_eq!([last_but_one.index(), last.index(), next.index()], [0, 0, 1]);
    assert!(last != last_but_one);
}

#[test]
fn the_list_of_an_interface_holds_what_was_linked() {
    for seed in 0..50 {
        let mut random = Random::new(seed);
        let interface = interfaces(1)[0];
        let mut table = Routers::<Heap>::new();
        let mut first = END;
        let mut model = Vec::new();
        for vrid in 1..=20 {
            table.insert(Router::new(interface, settings(vrid), false, false), &lists(&[], &[], &[])).unwrap();
        }
        for _ in 0..200 {
            let index = random.below(20);
            if model.contains(&index) {
                first = table.unlink(first, index);
                model.retain(|other| *other != index);
            } else {
                first = table.link(first, index);
                model.insert(0, index);
            }
            let mut list = Vec::new();
            let mut next = first;
            while next != END {
                list.push(usize::from(next));
                next = table.after(usize::from(next));
            }
            assert_eq!(list, model);
        }
    }
}

/// Whatever share of the VRIDs of how many interfaces is used, no bucket holds many.
#[test]
fn the_buckets_hold_few_each() {
    for (count, vrids) in [(1, 255), (17, 255), (64, 64), (255, 16), (1000, 1)] {
        let mut table = Routers::<Heap>::new();
        for interface in interfaces(count) {
            for vrid in 1..=vrids {
                let router = Router::new(interface, settings(vrid), false, false);
                table.insert(router, &lists(&[], &[], &[])).unwrap();
            }
        }
        let mut longest = 0;
        for head in table.buckets.iter().take(table.buckets_used) {
            let mut length = 0;
            let mut next = *head;
            while let Some(slot) = table.slots.get(usize::from(next)) {
                length += 1;
                next = slot.next;
            }
            longest = longest.max(length);
        }
        assert!(longest <= 8, "{longest} of {count} interfaces with {vrids} each in one bucket");
    }
}
