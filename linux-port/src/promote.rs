//! `promote_secondaries`: the setting of an interface by which the other addresses of a network stay when the first one is
//! removed; what it was before is noted, and put back.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use log::warn;

use crate::sysctl::{self, Changes};

/// The interfaces that have it for our sake.
#[derive(Debug)]
pub struct Promotions {
    changes: Changes,
    /// Why what is changed cannot be noted; until that was said.
    unnoted: Option<io::Error>,
}

impl Promotions {
    /// Begins with what an earlier run has noted in `file`. Where nothing can be noted, nothing is.
    pub fn open(file: &Path) -> Self {
        match Changes::open(file) {
            Ok(changes) => Self { changes, unnoted: None },
            Err(error) => Self { changes: Changes::unnoted(), unnoted: Some(error) },
        }
    }

    /// These have it, and of the others those that had it before.
    ///
    /// # Errors
    /// The first of the system's; the rest is done nevertheless.
    pub fn set(&mut self, interfaces: &BTreeSet<&str>) -> io::Result<()> {
        if !interfaces.is_empty()
            && let Some(error) = self.unnoted.take()
        {
            warn!("promote_secondaries cannot be noted, and stays on if the agent is killed: {error}");
        }
        let kept: Vec<String> = interfaces.iter().map(|interface| setting(interface)).collect();
        let mut result = self.changes.restore(|key| !kept.iter().any(|kept| kept == key));
        for interface in interfaces {
            let key = setting(interface);
            // Larger values mean the same.
            result = result.and(match sysctl::read(&key) {
                Ok(value) if value != "0" => Ok(()),
                Ok(_) => self.changes.set(&key, "1"),
                // It is waited for elsewhere.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            });
        }
        result
    }
}

fn setting(interface: &str) -> String {
    format!("net/ipv4/conf/{interface}/promote_secondaries")
}
