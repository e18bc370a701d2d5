//! Keywords without a value that only this port acts upon: which instances say one, by themselves or by `global_defs`.

use std::collections::HashSet;

use steadfast_core::config::statement::Statement;
use steadfast_core::config::value::{self, Log};

use crate::check::Findings;

/// Who says a keyword.
#[derive(Debug, Default)]
pub(super) struct Flagged<'a> {
    all: bool,
    names: HashSet<&'a str>,
}

impl<'a> Flagged<'a> {
    /// Looks for a keyword in the statements of a file.
    pub(super) fn read(keyword: &str, statements: &[Statement<'a>], findings: &mut Findings) -> Self {
        let mut flagged = Self::default();
        for statement in statements {
            match statement.keyword.text {
                "global_defs" => flagged.all |= says(statement, keyword, findings),
                "vrrp_instance" if says(statement, keyword, findings) => {
                    flagged.names.extend(statement.words.clone().next().map(|name| name.text));
                }
                _ => {}
            }
        }
        flagged
    }

    /// Whether it holds for this instance.
    pub(super) fn has(&self, instance: &str) -> bool {
        self.all || self.names.contains(instance)
    }
}

/// Whether a block says a keyword. What is wrong with the block itself is the core's to say.
pub(super) fn says<'a>(statement: &Statement<'a>, keyword: &str, findings: &mut Findings) -> bool {
    let Some(mut body) = statement.body else { return false };
    let mut said = false;
    while let Some(entry) = body.next(&mut |_| {}) {
        if entry.keyword.text == keyword {
            said |= value::flag(&entry, &mut Log::new(&mut |diagnostic| findings.add(diagnostic)));
        }
    }
    said
}
