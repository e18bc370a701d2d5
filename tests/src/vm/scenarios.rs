//! The list of scenarios; each family has a file of its own.

mod bare;
mod basics;
mod guide;
mod ipvs;
mod runtime;
mod same_table;
pub mod scale;
mod shapes;
mod steady;
mod tutorial;

use super::Scenario;

/// Every scenario.
pub fn all() -> Vec<Scenario> {
    let families = [
        basics::all(),
        ipvs::all(),
        same_table::all(),
        shapes::all(),
        tutorial::all(),
        runtime::all(),
        guide::all(),
        steady::all(),
        scale::all(),
        bare::all(),
    ];
    families.into_iter().flatten().collect()
}
