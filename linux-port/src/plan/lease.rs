//! `no_lease`, in `global_defs` and in an instance: whether addresses are put on for ever, as keepalived does, instead
//! of with a lifetime that is renewed.

use std::collections::HashSet;

use steadfast_core::config::statement::Statement;
use steadfast_core::config::value::{self, Log};

use crate::check::Findings;

/// Who has no lease.
#[derive(Debug, Default)]
pub(super) struct Unleased<'a> {
    all: bool,
    names: HashSet<&'a str>,
}

impl<'a> Unleased<'a> {
    /// Reads the statements of a file.
    pub(super) fn read(statements: &[Statement<'a>], findings: &mut Findings) -> Self {
        let mut unleased = Self::default();
        for statement in statements {
            match statement.keyword.text {
                "global_defs" => unleased.all |= says(statement, findings),
                "vrrp_instance" if says(statement, findings) => {
                    unleased.names.extend(statement.words.clone().next().map(|name| name.text));
                }
                _ => {}
            }
        }
        unleased
    }

    /// Whether the addresses of this instance are leased.
    pub(super) fn leases(&self, instance: &str) -> bool {
        !self.all && !self.names.contains(instance)
    }
}

/// Whether a block says `no_lease`. What is wrong with the block itself is the core's to say.
fn says<'a>(statement: &Statement<'a>, findings: &mut Findings) -> bool {
    let Some(mut body) = statement.body else { return false };
    let mut said = false;
    while let Some(entry) = body.next(&mut |_| {}) {
        if entry.keyword.text == "no_lease" {
            said |= value::flag(&entry, &mut Log::new(&mut |diagnostic| findings.add(diagnostic)));
        }
    }
    said
}
