//! Where an agent keeps its tables. A board gives fixed arrays, Linux something that grows while the
//! configuration is read; the agent itself is the same code and never allocates.

use core::ops::DerefMut;

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
    type Routers<U> = heapless::Vec<U, R>;
    type Addresses<U> = heapless::Vec<U, A>;
    type Interfaces<U> = heapless::Vec<U, I>;
    type Transitions<U> = heapless::Vec<U, T>;
    type Trackers<U> = heapless::Vec<U, K>;
    type Groups<U> = heapless::Vec<U, G>;
}

impl<T, const N: usize> Table<T> for heapless::Vec<T, N> {
    fn push(&mut self, item: T) -> Result<(), Full> {
        heapless::Vec::push(self, item).map_err(|_| Full)
    }

    fn most(&self) -> usize {
        N
    }
}
