//! The agent's memory on Linux: tables on the heap, which grow while Virtual Routers are added and never
//! between.

use std::ops::{Deref, DerefMut};

use steadfast_core::storage::{Storage, Table};
use steadfast_core::wire::Full;

/// Tables on the heap, as long as the configuration asks for.
#[derive(Clone, Copy, Debug)]
pub struct Heap;

impl Storage for Heap {
    type Routers<T> = Growing<T>;
    type Addresses<T> = Growing<T>;
    type Interfaces<T> = Growing<T>;
    type Transitions<T> = Growing<T>;
    type Trackers<T> = Growing<T>;
    type Groups<T> = Growing<T>;
}

/// A list that grows as long as there is memory.
#[derive(Clone, Debug)]
pub struct Growing<T>(Vec<T>);

impl<T> Default for Growing<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Deref for Growing<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for Growing<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T> Table<T> for Growing<T> {
    fn push(&mut self, item: T) -> Result<(), Full> {
        self.0.try_reserve(1).map_err(|_| Full)?;
        self.0.push(item);
        Ok(())
    }
}
