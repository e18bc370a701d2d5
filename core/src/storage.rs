//! Where an agent keeps its tables. A board gives fixed arrays, Linux something that grows while the
//! configuration is read; the agent itself is the same code and never allocates.

use core::ops::{Deref, DerefMut};

use crate::wire::Full;

/// A list that only grows at its end, up to a capacity that its owner chose.
pub trait Table<T>: Default + DerefMut<Target = [T]> {
    /// Adds an item at the end, or says that there is no room.
    fn push(&mut self, item: T) -> Result<(), Full>;

    /// How many items it can ever hold.
    fn most(&self) -> usize {
        usize::MAX
    }
}

/// The tables of one agent, by what bounds their length.
pub trait Storage {
    /// One entry for each Virtual Router.
    type Routers<T>: Table<T>;
    /// One entry for each virtual address, over all Virtual Routers.
    type Addresses<T>: Table<T>;
    /// One entry for each interface.
    type Interfaces<T>: Table<T>;
    /// Transitions that wait to be notified, at least one; the oldest is lost when it is full.
    type Transitions<T>: Table<T>;
    /// Trackers, and the links between them and Virtual Routers: as many of each.
    type Trackers<T>: Table<T>;
    /// Sync groups, and members of them: as many of each.
    type Groups<T>: Table<T>;
}

/// Fixed memory: up to `R` Virtual Routers, `A` virtual addresses in all, `I` interfaces, `T` transitions
/// that wait, `K` trackers and as many links from trackers to Virtual Routers, `G` sync groups and as many
/// members of them.
#[derive(Clone, Copy, Debug)]
pub struct Fixed<const R: usize, const A: usize, const I: usize, const T: usize, const K: usize = 0, const G: usize = 0>;

impl<const R: usize, const A: usize, const I: usize, const T: usize, const K: usize, const G: usize> Storage
    for Fixed<R, A, I, T, K, G>
{
    type Routers<U> = FixedTable<U, R>;
    type Addresses<U> = FixedTable<U, A>;
    type Interfaces<U> = FixedTable<U, I>;
    type Transitions<U> = FixedTable<U, T>;
    type Trackers<U> = FixedTable<U, K>;
    type Groups<U> = FixedTable<U, G>;
}

/// A table of [`Fixed`]: of `N` items at most. Where that is none the compiler sees it, so what a board has no memory for
/// takes no flash either.
#[derive(Debug)]
pub struct FixedTable<T, const N: usize>(heapless::Vec<T, N>);

impl<T, const N: usize> Default for FixedTable<T, N> {
    fn default() -> Self {
        Self(heapless::Vec::new())
    }
}

impl<T, const N: usize> Deref for FixedTable<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        if N == 0 { &[] } else { &self.0 }
    }
}

impl<T, const N: usize> DerefMut for FixedTable<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        if N == 0 { &mut [] } else { &mut self.0 }
    }
}

impl<T, const N: usize> Table<T> for FixedTable<T, N> {
    fn push(&mut self, item: T) -> Result<(), Full> {
        self.0.push(item).map_err(|_| Full)
    }

    fn most(&self) -> usize {
        N
    }
}
