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

/// The end of a list.
const END: u16 = u16::MAX;
/// In no list.
const OUTSIDE: u16 = u16::MAX - 1;

#[derive(Clone, Copy)]
struct Link {
    previous: u16,
    next: u16,
}

type Links = [Link; Debt::ALL.len()];

pub(crate) struct Owed<S: Storage> {
    links: S::Routers<Links>,
    first: [u16; Debt::ALL.len()],
    last: [u16; Debt::ALL.len()],
}

impl<S: Storage> Owed<S> {
    pub(crate) fn new() -> Self {
        Self { links: Default::default(), first: [END; Debt::ALL.len()], last: [END; Debt::ALL.len()] }
    }

    /// Makes room for `count` Virtual Routers.
    pub(crate) fn grow(&mut self, count: usize) -> Result<(), Full> {
        while self.links.len() < count {
            self.links.push([Link { previous: OUTSIDE, next: OUTSIDE }; Debt::ALL.len()])?;
        }
        Ok(())
    }

    /// The Virtual Router that has owed this the longest.
    pub(crate) fn first(&self, debt: Debt) -> Option<usize> {
        match self.first.get(debt as usize).copied() {
            None | Some(END) => None,
            Some(router) => Some(usize::from(router)),
        }
    }

    /// Enters or strikes out a debt; no change if it stands already.
    pub(crate) fn set(&mut self, router: usize, debt: Debt, owes: bool) {
        let Some(link) = self.link(router, debt).copied() else { return };
        let owed = link.next != OUTSIDE;
        match (owed, owes) {
            (false, true) => self.append(router as u16, debt),
            (true, false) => self.strike(router, debt, link),
            _ => {}
        }
    }

    fn link(&mut self, router: usize, debt: Debt) -> Option<&mut Link> {
        self.links.get_mut(router)?.get_mut(debt as usize)
    }

    fn append(&mut self, router: u16, debt: Debt) {
        let Some(last) = self.last.get_mut(debt as usize) else { return };
        let before = core::mem::replace(last, router);
        match self.link(usize::from(before), debt) {
            Some(link) => link.next = router,
            None => {
                if let Some(first) = self.first.get_mut(debt as usize) {
                    *first = router;
                }
            }
        }
        if let Some(link) = self.link(usize::from(router), debt) {
            *link = Link { previous: before, next: END };
        }
    }

    fn strike(&mut self, router: usize, debt: Debt, gone: Link) {
        match self.link(usize::from(gone.previous), debt) {
            Some(link) => link.next = gone.next,
            None => {
                if let Some(first) = self.first.get_mut(debt as usize) {
                    *first = gone.next;
                }
            }
        }
        match self.link(usize::from(gone.next), debt) {
            Some(link) => link.previous = gone.previous,
            None => {
                if let Some(last) = self.last.get_mut(debt as usize) {
                    *last = gone.previous;
                }
            }
        }
        if let Some(link) = self.link(router, debt) {
            *link = Link { previous: OUTSIDE, next: OUTSIDE };
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
                let debt = Debt::ALL[random.below(Debt::ALL.len())];
                let list = &mut model[debt as usize];
                let owes = random.once_in(2);
                owed.set(router, debt, owes);
                if !owes {
                    list.retain(|other| *other != router);
                } else if !list.contains(&router) {
                    list.push_back(router);
                }
                for debt in Debt::ALL {
                    assert_eq!(owed.first(debt), model[debt as usize].front().copied());
                }
            }
            for debt in Debt::ALL {
                for router in model[debt as usize].drain(..) {
                    assert_eq!(owed.first(debt), Some(router));
                    owed.set(router, debt, false);
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
        owed.set(1, Debt::Advertise, true);
        owed.set(usize::from(OUTSIDE), Debt::Advertise, true);
        owed.set(usize::from(END), Debt::Advertise, true);
        assert_eq!(owed.first(Debt::Advertise), None);
        owed.set(0, Debt::Advertise, true);
        owed.set(1, Debt::Advertise, false);
        assert_eq!(owed.first(Debt::Advertise), Some(0));
    }
}
