//! What the unit tests of core share: tables that grow as they do on Linux, settings, and random numbers
//! that are the same in every run.

extern crate std;

use std::ops::{Deref, DerefMut};
use std::vec::Vec;

use crate::agent::{Agent, InterfaceId, Settings};
use crate::storage::{Storage, Table};
use crate::types::{Family, Vrid};
use crate::wire::Full;

/// Tables that grow without end.
pub(crate) struct Heap;

impl Storage for Heap {
    type Routers<T> = Growing<T>;
    type Addresses<T> = Growing<T>;
    type Interfaces<T> = Growing<T>;
    type Transitions<T> = Growing<T>;
    type Trackers<T> = Growing<T>;
    type Groups<T> = Growing<T>;
}

pub(crate) struct Growing<T>(Vec<T>);

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
        self.0.push(item);
        Ok(())
    }
}

/// So many interfaces.
pub(crate) fn interfaces(count: usize) -> Vec<InterfaceId> {
    let mut agent = Agent::<Heap>::new();
    (0..count).map(|_| agent.add_interface().unwrap()).collect()
}

/// The settings of an IPv4 Virtual Router.
pub(crate) fn settings(vrid: u8) -> Settings {
    Settings::new(Family::V4, Vrid::new(vrid).unwrap())
}

/// Random numbers (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}
