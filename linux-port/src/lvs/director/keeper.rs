//! Keeping the kernel's table equal to the wanted one: what the pools change is written at once, as a difference to
//! what the kernel is known to hold; what others change is found by looking at the table now and then, and put right.
//! Services that never were ours are left alone.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::io;

use log::{info, warn};
use steadfast_core::time::{Duration, Instant};

use crate::ipvs::client::Client;
use crate::ipvs::row::ServiceKey;
use crate::ipvs::table::{Row, Table, Write, diff};
use crate::sys::clock;

/// How often the kernel's table is looked at. A large one is looked at less often, so that looking never takes more
/// than one part in [`SHARE`] of the time.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);
const SHARE: u64 = 50;

/// What the kernel is asked.
pub(super) trait Kernel {
    /// The whole table.
    fn table(&mut self) -> io::Result<Table>;
    /// Carries all of them out; which failed.
    fn write(&mut self, writes: &[Write]) -> io::Result<Vec<(usize, io::Error)>>;
}

impl Kernel for Client {
    fn table(&mut self) -> io::Result<Table> {
        Self::table(self)
    }

    fn write(&mut self, writes: &[Write]) -> io::Result<Vec<(usize, io::Error)>> {
        Self::write(self, writes)
    }
}

/// The wanted table, and what is known of the kernel's.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    wanted: Table,
    /// Our services as the kernel holds them; `None` if that is not known.
    held: Option<Table>,
    /// Services that were ours, and may still be there.
    former: BTreeSet<ServiceKey>,
    /// Services whose rows may differ from `held`.
    dirty: BTreeSet<ServiceKey>,
    look_at: Instant,
    pub(super) counts: Counts,
}

/// What has been done to the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// How often it was looked at.
    pub(super) looks: u64,
    /// Rows that the kernel was given, changed or deleted.
    pub(super) writes: u64,
    /// Rows among them that somebody else had changed.
    pub(super) repairs: u64,
    /// Rows that the kernel refused.
    pub(super) refused: u64,
}

impl Keeper {
    /// This is what a service ought to be like.
    pub(super) fn want(&mut self, row: Row) {
        let key = row.service.key;
        self.former.remove(&key);
        match self.wanted.entry(key) {
            Entry::Occupied(known) if *known.get() == row => return,
            Entry::Occupied(mut known) => drop(known.insert(row)),
            Entry::Vacant(new) => drop(new.insert(row)),
        }
        self.touch(key);
    }

    /// A service ought not to be there any more.
    pub(super) fn unwant(&mut self, key: ServiceKey) {
        if self.wanted.remove(&key).is_some() {
            self.former.insert(key);
            self.touch(key);
        }
    }

    /// The row of a service may differ from the kernel's. Where nothing is known of that one, all are compared anyway.
    fn touch(&mut self, key: ServiceKey) {
        if self.held.is_some() {
            self.dirty.insert(key);
        }
    }

    /// The services that ought to be there.
    pub(super) fn wanted(&self) -> impl Iterator<Item = ServiceKey> {
        self.wanted.keys().copied()
    }

    /// When [`Self::keep`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        let anything = !self.wanted.is_empty() || !self.former.is_empty();
        let at_once = !self.dirty.is_empty() || self.held.is_none();
        anything.then_some(if at_once { Instant::default() } else { self.look_at })
    }

    /// Nothing is known of the kernel's table any more.
    pub(super) fn forget(&mut self) {
        self.held = None;
    }

    /// Writes what is to be written, and looks if it is time to. What the kernel holds already is not written.
    ///
    /// # Errors
    /// Of the system: nothing is known of the table then, and the next call looks.
    pub(super) fn keep(&mut self, now: Instant, kernel: &mut impl Kernel) -> io::Result<()> {
        let result = match self.held.take() {
            Some(held) if now < self.look_at => self.write_changes(now, kernel, held),
            before => self.look(now, kernel, before),
        };
        if result.is_err() {
            self.held = None;
        }
        result
    }

    fn write_changes(&mut self, now: Instant, kernel: &mut impl Kernel, held: Table) -> io::Result<()> {
        let part = |table: &Table| -> Table {
            self.dirty.iter().filter_map(|key| Some((*key, table.get(key)?.clone()))).collect()
        };
        let writes = diff(&part(&held), &part(&self.wanted), &self.former);
        // A refusal may mean that somebody has changed the table meanwhile.
        if self.carry_out(kernel, held, &writes)? > 0 {
            self.look_at = now;
        }
        Ok(())
    }

    fn look(&mut self, now: Instant, kernel: &mut impl Kernel, before: Option<Table>) -> io::Result<()> {
        let begun = clock::now();
        let mut held = kernel.table()?;
        held.retain(|key, _| self.wanted.contains_key(key) || self.former.contains(key));
        let pause = clock::now().since(begun).times(SHARE).max(INTERVAL);
        self.look_at = now + pause;
        self.counts.looks += 1;
        if let Some(before) = &before {
            let changed = diff(&held, before, &self.former);
            self.counts.repairs += changed.len() as u64;
            if let Some(first) = changed.first() {
                warn!(
                    "somebody else has changed the IPVS table: {} rows are put right, the first: {first}",
                    changed.len()
                );
            }
        } else if !held.is_empty() {
            info!("{} of our services are in the IPVS table already", held.len());
        }
        let writes = diff(&held, &self.wanted, &self.former);
        self.carry_out(kernel, held, &writes)?;
        Ok(())
    }

    /// Has the kernel carry out `writes` upon what it holds; how many it refused.
    fn carry_out(&mut self, kernel: &mut impl Kernel, mut held: Table, writes: &[Write]) -> io::Result<usize> {
        self.dirty.clear();
        let refused = if writes.is_empty() { Vec::new() } else { kernel.write(writes)? };
        let incomplete: BTreeSet<ServiceKey> =
            refused.iter().filter_map(|(index, _)| writes.get(*index)).map(Write::service).collect();
        let mut failures = refused.iter().map(|(index, _)| *index).peekable();
        let mut last = None;
        for (index, write) in writes.iter().enumerate() {
            let (key, failed) = (write.service(), failures.next_if_eq(&index).is_some());
            if incomplete.contains(&key) {
                if !failed {
                    enter(&mut held, write);
                }
            } else if last.replace(key) != Some(key) {
                // All of it was carried out, so it is as it ought to be.
                match self.wanted.get(&key) {
                    Some(row) => drop(held.insert(key, row.clone())),
                    None => drop(held.remove(&key)),
                }
            }
        }
        if let Some((index, error)) = refused.first()
            && let Some(write) = writes.get(*index)
        {
            warn!(
                "the kernel refuses {} of {} changes of the IPVS table, the first: {write}: {error}",
                refused.len(),
                writes.len()
            );
        }
        self.former.retain(|key| held.contains_key(key));
        self.counts.writes += (writes.len() - refused.len()) as u64;
        self.counts.refused += refused.len() as u64;
        self.held = Some(held);
        Ok(refused.len())
    }
}

/// Enters a change that was made.
fn enter(table: &mut Table, write: &Write) {
    match write {
        Write::AddService(service) | Write::SetService(service) => {
            let row = table.entry(service.key).or_insert_with(|| Row::new(service.clone(), []));
            row.service = service.clone();
        }
        Write::DeleteService(key) => {
            table.remove(key);
        }
        Write::AddDestination(key, destination) | Write::SetDestination(key, destination) => {
            if let Some(row) = table.get_mut(key) {
                row.destinations.insert(destination.clone());
            }
        }
        Write::DeleteDestination(key, destination) => {
            if let Some(row) = table.get_mut(key) {
                row.destinations.remove(destination);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvs::row::{Destination, Protocol, Service};
    use crate::lvs::testing::{address_key, server};

    /// A kernel that carries out what it is told, but for what it refuses.
    #[derive(Default)]
    struct Fake {
        table: Table,
        writes: usize,
        refuses: Option<ServiceKey>,
        broken: bool,
    }

    impl Kernel for Fake {
        fn table(&mut self) -> io::Result<Table> {
            if self.broken { Err(io::ErrorKind::TimedOut.into()) } else { Ok(self.table.clone()) }
        }

        fn write(&mut self, writes: &[Write]) -> io::Result<Vec<(usize, io::Error)>> {
            if self.broken {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let mut refused = Vec::new();
            for (index, write) in writes.iter().enumerate() {
                self.writes += 1;
                if self.refuses == Some(write.service()) {
                    refused.push((index, io::ErrorKind::PermissionDenied.into()));
                } else {
                    enter(&mut self.table, write);
                }
            }
            Ok(refused)
        }
    }

    fn key(last: u8) -> ServiceKey {
        address_key(Protocol::Tcp, &format!("192.0.2.{last}:80"))
    }

    fn destination(last: u8, weight: u32) -> Destination {
        let plan = server(&format!("10.0.0.{last}:80"));
        let (key, forwarding) = (plan.key, plan.forwarding);
        Destination { key, forwarding, weight, upper_threshold: 0, lower_threshold: 0 }
    }

    fn row(last: u8, destinations: impl IntoIterator<Item = Destination>) -> Row {
        let service = Service { key: key(last), scheduler: "rr".into(), flags: Default::default(), persistence: None };
        Row::new(service, destinations)
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    /// A keeper of two services that has written them.
    fn kept() -> (Keeper, Fake) {
        let (mut keeper, mut kernel) = (Keeper::default(), Fake::default());
        keeper.want(row(1, [destination(1, 1), destination(2, 1)]));
        keeper.want(row(2, [destination(1, 1)]));
        assert_eq!(keeper.due(), Some(Instant::default()));
        keeper.keep(at(1), &mut kernel).unwrap();
        assert_eq!(kernel.table, keeper.wanted);
        assert_eq!((kernel.writes, keeper.counts.repairs), (5, 0));
        (keeper, kernel)
    }

    #[test]
    fn what_is_right_is_not_written() {
        let (mut keeper, mut kernel) = kept();
        keeper.want(row(2, [destination(1, 1)]));
        assert!(keeper.due() > Some(at(1)));
        for second in 2..100 {
            keeper.keep(at(second), &mut kernel).unwrap();
        }
        assert_eq!(kernel.writes, 5);
        assert!(keeper.counts.looks > 10, "{:?}", keeper.counts);
        // Nor is it by one that starts anew and finds it.
        let mut successor = Keeper { wanted: keeper.wanted.clone(), ..Keeper::default() };
        successor.keep(at(200), &mut kernel).unwrap();
        assert_eq!((kernel.writes, successor.counts.writes), (5, 0));
    }

    #[test]
    fn a_change_is_written_at_once_and_alone() {
        let (mut keeper, mut kernel) = kept();
        keeper.want(row(1, [destination(2, 1)]));
        keeper.unwant(key(2));
        assert_eq!(keeper.due(), Some(Instant::default()));
        keeper.keep(at(2), &mut kernel).unwrap();
        assert_eq!(kernel.writes, 7);
        assert_eq!((keeper.counts.looks, &kernel.table), (1, &keeper.wanted));
    }

    #[test]
    fn what_others_change_is_put_right_at_the_next_look() {
        let (mut keeper, mut kernel) = kept();
        kernel.table.remove(&key(1));
        kernel.table.insert(key(9), row(9, [destination(9, 9)]));
        let second = kernel.table.get_mut(&key(2)).unwrap();
        *second = row(2, [destination(1, 7), destination(8, 1)]);
        let look = keeper.due().unwrap();
        assert!(look <= at(1) + INTERVAL);
        keeper.keep(look, &mut kernel).unwrap();
        assert_eq!(keeper.counts.repairs, 5);
        // What never was ours stays.
        assert!(kernel.table.remove(&key(9)).is_some());
        assert_eq!(kernel.table, keeper.wanted);
    }

    #[test]
    fn a_change_that_meets_one_of_others_leads_to_a_look() {
        let (mut keeper, mut kernel) = kept();
        kernel.refuses = Some(key(2));
        keeper.want(row(2, [destination(3, 1)]));
        keeper.keep(at(2), &mut kernel).unwrap();
        assert_eq!(keeper.counts.refused, 2);
        assert_eq!(keeper.due(), Some(at(2)));
        // It is tried again, but not more often than the table is looked at.
        keeper.keep(at(2), &mut kernel).unwrap();
        assert!(keeper.due() >= Some(at(2) + INTERVAL));
        kernel.refuses = None;
        keeper.keep(keeper.due().unwrap(), &mut kernel).unwrap();
        assert_eq!(kernel.table, keeper.wanted);
    }

    #[test]
    fn after_an_error_nothing_is_taken_for_known() {
        let (mut keeper, mut kernel) = kept();
        kernel.broken = true;
        keeper.unwant(key(1));
        keeper.keep(at(2), &mut kernel).unwrap_err();
        assert_eq!(keeper.due(), Some(Instant::default()));
        kernel.broken = false;
        kernel.table.remove(&key(2));
        keeper.keep(at(3), &mut kernel).unwrap();
        assert_eq!(kernel.table, keeper.wanted);
        assert!(!kernel.table.contains_key(&key(1)));
    }

    #[test]
    fn a_service_that_left_and_came_back_is_kept() {
        let (mut keeper, mut kernel) = kept();
        keeper.unwant(key(1));
        keeper.want(row(1, [destination(4, 1)]));
        keeper.keep(at(2), &mut kernel).unwrap();
        assert_eq!(kernel.table, keeper.wanted);
        keeper.unwant(key(1));
        keeper.unwant(key(2));
        keeper.keep(at(3), &mut kernel).unwrap();
        assert!(kernel.table.is_empty());
        assert_eq!(keeper.due(), None);
    }
}
