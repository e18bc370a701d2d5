//! The table as a map of rows, and what has to be written to make one table into another. Nothing here talks to
//! the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::{fmt, mem, slice};

use super::row::{Destination, DestinationKey, Service, ServiceKey};

/// The kernel's table, or one that it ought to be.
pub type Table = BTreeMap<ServiceKey, Row>;

/// The destinations of a service, each key once, in their order. A list and no map, since most services have few, and of
/// services there may be thousands. All services of a group share theirs, and so do the tables that a row is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destinations(Arc<Vec<Destination>>);

impl Destinations {
    /// All of them.
    pub fn iter(&self) -> slice::Iter<'_, Destination> {
        self.0.iter()
    }

    /// All of them, to be changed but for their keys; who shares them keeps them as they were.
    pub fn iter_mut(&mut self) -> slice::IterMut<'_, Destination> {
        Arc::make_mut(&mut self.0).iter_mut()
    }

    /// The one with this key.
    pub fn get(&self, key: &DestinationKey) -> Option<&Destination> {
        self.0.get(self.place(key).ok()?)
    }

    /// Whether there is one with this key.
    pub fn contains(&self, key: &DestinationKey) -> bool {
        self.get(key).is_some()
    }

    /// Puts one in, in the place of another with its key.
    pub fn insert(&mut self, destination: Destination) {
        let place = self.place(&destination.key);
        let list = Arc::make_mut(&mut self.0);
        match place {
            Ok(at) => list[at] = destination,
            Err(at) => list.insert(at, destination),
        }
    }

    /// Takes the one with this key out; whether it was there.
    pub fn remove(&mut self, key: &DestinationKey) -> bool {
        let place = self.place(key);
        if let Ok(at) = place {
            Arc::make_mut(&mut self.0).remove(at);
        }
        place.is_ok()
    }

    /// Where the one with this key is, or would be.
    fn place(&self, key: &DestinationKey) -> Result<usize, usize> {
        self.0.binary_search_by_key(key, |one| one.key)
    }
}

/// Of two with the same key the last.
impl FromIterator<Destination> for Destinations {
    fn from_iter<I: IntoIterator<Item = Destination>>(destinations: I) -> Self {
        let mut list: Vec<Destination> = destinations.into_iter().collect();
        list.sort_by_key(|one| one.key);
        list.dedup_by(|later, earlier| {
            let same = later.key == earlier.key;
            if same {
                mem::swap(later, earlier);
            }
            same
        });
        Self(Arc::new(list))
    }
}

/// A service and its destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The service.
    pub service: Service,
    /// Its destinations.
    pub destinations: Destinations,
}

impl Row {
    /// A row; of two destinations with the same key the last.
    pub fn new(service: Service, destinations: impl IntoIterator<Item = Destination>) -> Self {
        Self { service, destinations: destinations.into_iter().collect() }
    }
}

/// One change of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Add a service, without destinations.
    AddService(Service),
    /// Change a service.
    SetService(Service),
    /// Delete a service and all its destinations.
    DeleteService(ServiceKey),
    /// Add a destination to a service.
    AddDestination(ServiceKey, Destination),
    /// Change a destination of a service.
    SetDestination(ServiceKey, Destination),
    /// Delete a destination of a service. Its connections go on, unless the kernel is told otherwise.
    DeleteDestination(ServiceKey, DestinationKey),
}

impl Write {
    /// Which service it is about.
    pub fn service(&self) -> ServiceKey {
        match self {
            Self::AddService(service) | Self::SetService(service) => service.key,
            Self::DeleteService(key)
            | Self::AddDestination(key, _)
            | Self::SetDestination(key, _)
            | Self::DeleteDestination(key, _) => *key,
        }
    }
}

/// For the log: `add 10.0.0.1:80 to TCP 192.0.2.1:80`.
impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddService(service) => write!(f, "add {}", service.key),
            Self::SetService(service) => write!(f, "change {}", service.key),
            Self::DeleteService(key) => write!(f, "delete {key}"),
            Self::AddDestination(key, destination) => write!(f, "add {} to {key}", destination.key),
            Self::SetDestination(key, destination) => write!(f, "change {} of {key}", destination.key),
            Self::DeleteDestination(key, destination) => write!(f, "delete {destination} from {key}"),
        }
    }
}

/// What makes `kernel` into `wanted`: nothing if they do not differ. Only the services in `wanted` and in `ours`
/// (those that were wanted formerly) are touched; other destinations within them are deleted.
///
/// The writes are to be carried out in this order: at no instant is a service without a destination that takes
/// connections if it has one before and after.
pub fn diff(kernel: &Table, wanted: &Table, ours: &BTreeSet<ServiceKey>) -> Vec<Write> {
    let mut writes = Vec::new();
    for (key, row) in wanted {
        match kernel.get(key) {
            Some(present) => change(present, row, &mut writes),
            None => {
                writes.push(Write::AddService(row.service.clone()));
                writes.extend(row.destinations.iter().map(|new| Write::AddDestination(*key, new.clone())));
            }
        }
    }
    let gone = kernel.keys().filter(|key| ours.contains(*key) && !wanted.contains_key(*key));
    writes.extend(gone.map(|key| Write::DeleteService(*key)));
    writes
}

/// What makes one row into another of the same key.
fn change(present: &Row, wanted: &Row, writes: &mut Vec<Write>) {
    let key = wanted.service.key;
    if present.service != wanted.service {
        writes.push(Write::SetService(wanted.service.clone()));
    }
    let is_new = |new: &&Destination| !present.destinations.contains(&new.key);
    writes.extend(wanted.destinations.iter().filter(is_new).map(|new| Write::AddDestination(key, new.clone())));
    // Those that take connections afterwards come before those that no longer do.
    let differs = |new: &&Destination| present.destinations.get(&new.key).is_some_and(|old| old != *new);
    let (takes, rests): (Vec<_>, Vec<_>) = wanted.destinations.iter().filter(differs).partition(|new| new.weight > 0);
    writes.extend(takes.into_iter().chain(rests).map(|new| Write::SetDestination(key, new.clone())));
    let gone = present.destinations.iter().map(|old| old.key).filter(|old| !wanted.destinations.contains(old));
    writes.extend(gone.map(|old| Write::DeleteDestination(key, old)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvs::row::Forwarding;

    fn destination(last: u8, weight: u32) -> Destination {
        let key = DestinationKey { address: [10, 0, 0, last].into(), port: 80 };
        Destination { key, forwarding: Forwarding::DirectRoute, weight, upper_threshold: 0, lower_threshold: 0 }
    }

    #[test]
    fn of_destinations_with_the_same_key_the_last_counts() {
        let weights = |all: &Destinations| all.iter().map(|one| one.weight).collect::<Vec<_>>();
        let given = [destination(3, 1), destination(1, 1), destination(3, 2), destination(3, 4)];
        let before: Destinations = given.into_iter().collect();
        assert_eq!(weights(&before), [1, 4]);
        let mut after = before.clone();
        after.insert(destination(2, 7));
        after.insert(destination(3, 5));
        assert_eq!(weights(&after), [1, 7, 5]);
        assert!(after.remove(&destination(1, 0).key));
        assert!(!after.remove(&destination(1, 0).key));
        assert_eq!(weights(&after), [7, 5]);
        assert_eq!(weights(&before), [1, 4], "those of another table stay");
    }
}
