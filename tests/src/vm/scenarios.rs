//! The list of scenarios; each family has a file of its own.

mod basics;

use super::Scenario;

/// Every scenario, those of a group together.
pub fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(basics::all());
    all
}
