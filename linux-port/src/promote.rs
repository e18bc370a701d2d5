//! `promote_secondaries`: the setting of an interface by which the other addresses of a network stay when the first one is
//! removed; what it was before is noted, and put back.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use crate::sysctl::{self, Changes};

/// The interfaces that have it for our sake.
#[derive(Debug)]
pub struct Promotions(Changes);

impl Promotions {
    /// Begins with what an earlier run has noted in `file`.
    ///
    /// # Errors
    /// Of the system.
    pub fn open(file: &Path) -> io::Result<Self> {
        Changes::open(file).map(Self)
    }

    /// These have it, and of the others those that had it before.
    ///
    /// # Errors
    /// The first of the system's; the rest is done nevertheless.
    pub fn set(&mut self, interfaces: &BTreeSet<&str>) -> io::Result<()> {
        let kept: Vec<String> = interfaces.iter().map(|interface| setting(interface)).collect();
        let mut result = self.0.restore(|key| !kept.iter().any(|kept| kept == key));
        for interface in interfaces {
            let key = setting(interface);
            // Larger values mean the same.
            result = result.and(match sysctl::read(&key) {
                Ok(value) if value != "0" => Ok(()),
                Ok(_) => self.0.set(&key, "1"),
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
