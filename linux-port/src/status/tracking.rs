//! Trackers in the status document: what each says, since when, and what that does to which Virtual Router.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::plan::tracking::Kind;
use crate::timestamp::Timestamp;

/// One tracker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackerStatus {
    /// What it is called.
    pub name: Arc<str>,
    /// What it looks at.
    pub kind: Kind,
    /// Whether that works; `null` for a file, and as long as nothing is known.
    pub up: Option<bool>,
    /// The number in a file.
    pub number: Option<i64>,
    /// Since when it says so.
    pub since: Timestamp,
    /// The last result, as part of a sentence: `exit status 1`.
    pub result: Arc<str>,
    /// What it bears on.
    pub bears_on: Vec<BearingStatus>,
}

/// What a tracker does to a Virtual Router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BearingStatus {
    /// The Virtual Router.
    pub router: Arc<str>,
    /// The configured weight; 0 takes it out.
    pub weight: i32,
    /// Whether it bears the other way round.
    pub reverse: bool,
    /// What it adds to the priority now.
    pub adds: i32,
    /// Whether it takes the Virtual Router out now.
    pub fault: bool,
}

impl TrackerStatus {
    /// What it says, in a word.
    pub fn value(&self) -> String {
        match (self.number, self.up) {
            (Some(number), _) => number.to_string(),
            (None, Some(true)) => "up".into(),
            (None, Some(false)) => "down".into(),
            (None, None) => "unknown".into(),
        }
    }
}
