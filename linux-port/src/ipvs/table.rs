//! The table as a map of rows, and what has to be written to make one table into another. Nothing here talks to
//! the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::row::{Destination, DestinationKey, Service, ServiceKey};

/// The kernel's table, or one that it ought to be.
pub type Table = BTreeMap<ServiceKey, Row>;

/// The destinations of a service, by what makes them the same.
pub type Destinations = BTreeMap<DestinationKey, Destination>;

/// A service and its destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The service.
    pub service: Service,
    /// Its destinations; all services of a group share theirs, and so do the tables that a row is in.
    pub destinations: Arc<Destinations>,
}

impl Row {
    /// A row; of two destinations with the same key the last.
    pub fn new(service: Service, destinations: impl IntoIterator<Item = Destination>) -> Self {
        let destinations: Destinations = destinations.into_iter().map(|one| (one.key, one)).collect();
        Self { service, destinations: Arc::new(destinations) }
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
                writes.extend(row.destinations.values().map(|new| Write::AddDestination(*key, new.clone())));
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
    let is_new = |new: &&Destination| !present.destinations.contains_key(&new.key);
    writes.extend(wanted.destinations.values().filter(is_new).map(|new| Write::AddDestination(key, new.clone())));
    // Those that take connections afterwards come before those that no longer do.
    let differs = |new: &&Destination| present.destinations.get(&new.key).is_some_and(|old| old != *new);
    let (takes, rests): (Vec<_>, Vec<_>) = wanted.destinations.values().filter(differs).partition(|new| new.weight > 0);
    writes.extend(takes.into_iter().chain(rests).map(|new| Write::SetDestination(key, new.clone())));
    let gone = present.destinations.keys().filter(|old| !wanted.destinations.contains_key(*old));
    writes.extend(gone.map(|old| Write::DeleteDestination(key, *old)));
}
