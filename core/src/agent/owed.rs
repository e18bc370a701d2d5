//! Who owes what: one list of Virtual Routers for each kind of debt, first come first served. The lists are
//! threaded through a table, so a debt is entered and paid in constant time, and none can overflow.

use crate::storage::{Storage, Table};
use crate::wire::Full;

/// The kinds of debt, in the order in which they are paid over all Virtual Routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Debt {
    Advertise,
    Release,
    Acquire,
    Announce,
    Retire,
}

impl Debt {
    pub(crate) const ALL: [Self; 5] = [Self::Advertise, Self::Release, Self::Acquire, Self::Announce, Self::Retire];
}

/// The end of a list, which is a ring: it stands between the last and the first.
const END: u16 = u16::MAX;

#[derive(Clone, Copy)]
struct Link {
    previous: u16,
    next: u16,
}

/// What a Virtual Router owes, and its places in the lists: in that of Advertisements, and in at most one other,
/// because no two of the others can be owed at a time.
#[derive(Clone, Copy)]
struct Debts {
    advertises: bool,
    other: Option<Debt>,
    advertise_link: Link,
    other_link: Link,
}

const ALONE: Link = Link { previous: END, next: END };

const NOTHING: Debts = Debts { advertises: false, other: None, advertise_link: ALONE, other_link: ALONE };

pub(crate) struct Owed<S: Storage> {
    debts: S::Routers<Debts>,
    ends: [Link; Debt::ALL.len()],
}

impl<S: Storage> Owed<S> {
    pub(crate) fn new() -> Self {
        Self { debts: Default::default(), ends: [ALONE; Debt::ALL.len()] }
    }

    /// Makes room for `count` Virtual Routers.
    pub(crate) fn grow(&mut self, count: usize) -> Result<(), Full> {
        while self.debts.len() < count {
            self.debts.push(NOTHING)?;
        }
        Ok(())
    }

    /// The Virtual Router that has owed this the longest.
    pub(crate) fn first(&self, debt: Debt) -> Option<usize> {
        self.ends.get(debt as usize).map(|end| end.next).filter(|first| *first != END).map(usize::from)
    }

    /// Enters what a Virtual Router owes now: an Advertisement, and one of the other kinds. What it has owed before
    /// keeps its place; what it owes no more is struck out.
    pub(crate) fn set(&mut self, router: usize, advertises: bool, other: Option<Debt>) {
        let Some(debts) = self.debts.get_mut(router) else { return };
        let before = *debts;
        debts.advertises = advertises;
        debts.other = other;
        match (before.advertises, advertises) {
            (false, true) => self.append(router as u16, Debt::Advertise),
            (true, false) => self.strike(Debt::Advertise, before.advertise_link),
            _ => {}
        }
        if before.other != other {
            if let Some(debt) = before.other {
                self.strike(debt, before.other_link);
            }
            if let Some(debt) = other {
                self.append(router as u16, debt);
            }
        }
    }

    /// The place of a Virtual Router, or of the end, in a list.
    fn link(&mut self, router: u16, debt: Debt) -> Option<&mut Link> {
        match self.debts.get_mut(usize::from(router)) {
            Some(debts) if debt == Debt::Advertise => Some(&mut debts.advertise_link),
            Some(debts) => Some(&mut debts.other_link),
            None => self.ends.get_mut(debt as usize),
        }
    }

    fn append(&mut self, router: u16, debt: Debt) {
        let last = self.link(END, debt).map_or(END, |end| end.previous);
        if let Some(link) = self.link(router, debt) {
            *link = Link { previous: last, next: END };
        }
        self.join(router, END, debt);
        self.join(last, router, debt);
    }

    fn strike(&mut self, debt: Debt, gone: Link) {
        self.join(gone.previous, gone.next, debt);
    }

    /// Makes two neighbours.
    fn join(&mut self, previous: u16, next: u16, debt: Debt) {
        if let Some(link) = self.link(previous, debt) {
            link.next = next;
        }
        if let Some(link) = self.link(next, debt) {
            link.previous = previous;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Fixed;
    use crate::testing::{Heap, Random};

    extern crate std;
    use std::collections::VecDeque;

    #[test]
    fn debts_are_paid_in_the_order_in_which_they_were_entered() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let mut owed = Owed::<Heap>::new();
            let mut model = [const { VecDeque::new() }; Debt::ALL.len()];
            let mut routers = 0;
            for _ in 0..500 {
                if routers == 0 || random.once_in(20) {
                    routers += 1;
                    owed.grow(routers).unwrap();
                }
                let router = random.below(routers);
                let advertises = random.once_in(2);
                let other = Some(Debt::ALL[random.below(Debt::ALL.len())]).filter(|debt| *debt != Debt::Advertise);
                owed.set(router, advertises, other);
                for debt in Debt::ALL {
                    let list = &mut model[debt as usize];
                    let owes = if debt == Debt::Advertise { advertises } else { other == Some(debt) };
                    if !owes {
                        list.retain(|other| *other != router);
                    } else if !list.contains(&router) {
                        list.push_back(router);
                    }
                    assert_eq!(owed.first(debt), list.front().copied());
                }
            }
            for debt in Debt::ALL {
                for router in core::mem::take(&mut model[debt as usize]) {
                    assert_eq!(owed.first(debt), Some(router));
                    let advertises = debt != Debt::Advertise && model[0].contains(&router);
                    let other = Debt::ALL.into_iter().skip(1).find(|other| model[*other as usize].contains(&router));
                    owed.set(router, advertises, other);
                }
                assert_eq!(owed.first(debt), None);
            }
        }
    }

    #[test]
    fn what_there_is_no_room_for_changes_nothing() {
        let mut owed = Owed::<Fixed<1, 0, 0, 0>>::new();
        assert_eq!(owed.grow(1), Ok(()));
        assert_eq!(owed.grow(2), Err(Full));
        owed.set(1, true, None);
        owed.set(usize::from(END), true, None);
        assert_eq!(owed.first(Debt::Advertise), None);
        owed.set(0, true, Some(Debt::Retire));
        owed.set(1, false, None);
        assert_eq!((owed.first(Debt::Advertise), owed.first(Debt::Retire)), (Some(0), Some(0)));
    }
}
