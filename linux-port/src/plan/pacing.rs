//! `garp_group`: how far apart announcements leave interfaces that share a switch.

use std::collections::HashSet;

use steadfast_core::config::diagnostic::{Short, Used};
use steadfast_core::config::keywords::Vocabulary;
use steadfast_core::config::statement::{Statement, Word};
use steadfast_core::config::{Message, value};
use steadfast_core::time::Duration;

use crate::grammar::reader::Reader;

/// What an entry that names an interface has to be.
const INTERFACE: &str = "an interface: 1 to 15 characters";

/// Interfaces of which one announcement at a time leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacedGroup {
    /// `garp_interval`: the time between two gratuitous ARPs, if it is not 0.
    pub arp: Option<Duration>,
    /// `gna_interval`: the same of unsolicited Neighbour Advertisements.
    pub na: Option<Duration>,
    /// `interface`, `interfaces`: each is in one group only.
    pub interfaces: Vec<String>,
}

/// Reads the groups of a file.
pub(super) fn read(statements: &[Statement<'_>], reader: &mut Reader<'_>) -> Vec<PacedGroup> {
    let mut taken: HashSet<String> = HashSet::new();
    let mut groups = Vec::new();
    for statement in statements.iter().filter(|statement| statement.keyword.text == "garp_group") {
        let mut group = PacedGroup::default();
        let mut add = |word: Word<'_>, group: &mut PacedGroup, reader: &mut Reader<'_>| {
            if taken.insert(word.text.to_owned()) {
                group.interfaces.push(word.text.to_owned());
            } else {
                let name = Short(word.text);
                reader.warning(word.place, format_args!("`{name}` is in a garp_group already: this one is left out"));
            }
        };
        reader.block(statement, Vocabulary::GarpGroup, |keyword, entry, reader| match keyword {
            "garp_interval" => group.arp = interval(entry, reader).or(group.arp),
            "gna_interval" => group.na = interval(entry, reader).or(group.na),
            "interface" => {
                let read = reader.defaulted(entry, INTERFACE, Used::Nothing, value::interface);
                if let (Some(word), Some(_)) = (entry.words.clone().next(), read) {
                    add(word, &mut group, reader);
                }
            }
            "interfaces" => reader.entries(entry, "a block of interfaces, { to }", |line, reader| {
                for word in [line.keyword].into_iter().chain(line.words) {
                    if value::interface(word.text).is_some() {
                        add(word, &mut group, reader);
                    } else {
                        let name = Short(word.text);
                        reader.warning(word.place, format_args!("`{name}` is no interface: it is left out"));
                    }
                }
            }),
            // The table says that we act upon it, so there is an arm for it; see the tests.
            _ => reader.warning(entry.keyword.place, Message::NotYet { keyword }),
        });
        if group.interfaces.is_empty() || group.arp.is_none() && group.na.is_none() {
            let because = "it wants an interface, and `garp_interval` or `gna_interval`";
            reader.no_effect(statement.keyword.place, "garp_group", because);
        } else {
            groups.push(group);
        }
    }
    groups
}

fn interval(entry: &Statement<'_>, reader: &mut Reader<'_>) -> Option<Duration> {
    let parse = |text| value::seconds(text, 10);
    let read = reader.defaulted(entry, "seconds from 0 to 10", Used::Nothing, parse);
    read.filter(|interval| *interval != Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::check::Findings;
    use crate::plan;

    #[test]
    fn interfaces_share_an_interval_and_are_in_one_group() {
        let text = "garp_group {\ngarp_interval 0.02\ngna_interval 0.001\ninterface eth0\n}\n\
                    garp_group {\ngarp_interval 0.5\ninterfaces {\neth1 eth2\neth0\n}\n}\n\
                    garp_group {\ninterface eth3\n}\n";
        let mut findings = Findings::new(Path::new("f"));
        let plan = plan::parse(text.as_bytes(), &mut findings).unwrap();
        let ms = |span: Option<Duration>| span.map(|span| span.as_micros());
        let groups: Vec<_> = plan.pacing.iter().map(|g| (ms(g.arp), ms(g.na), g.interfaces.join(" "))).collect();
        assert_eq!(groups, [(Some(20_000), Some(1_000), "eth0".into()), (Some(500_000), None, "eth1 eth2".to_owned())]);
        let said: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("`eth0` is in a garp_group already"), "{said:?}");
        assert!(said[1].contains("`garp_group` has no effect"), "{said:?}");
    }
}
