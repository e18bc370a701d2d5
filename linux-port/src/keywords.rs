//! Every keyword of keepalived.conf and what becomes of it, as a table: generated from the very tables that the grammar
//! reads by, so that it cannot say anything else. `linux-port/KEYWORDS.md` is its text; a test keeps it current.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use steadfast_core::config::keywords::{Keyword, Support, Vocabulary};

/// What stands before the tables.
const HEAD: &str = "\
# The keywords of keepalived.conf

Each keyword that keepalived 2.4 registers, by the block that it stands in, and what becomes of it here. *Supported* is
acted upon; *accepted* is read and needs nothing, for the reason that follows, and is a notice of `steadfast check`; *not
supported* is a warning, and has no effect. Those in *italics* are Steadfast's own.

This file is printed by `steadfast keywords`; `STEADFAST_BLESS=1 cargo test -p steadfast-linux keywords` writes it anew.
";

/// The table in Markdown.
pub fn markdown() -> String {
    let mut text = String::from(HEAD);
    let mut names = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
    let mut blocks = String::new();
    for vocabulary in Vocabulary::ALL {
        let _ = write!(blocks, "\n## {}\n\n| Keyword | |\n| --- | --- |\n", title(vocabulary));
        for keyword in vocabulary.keywords() {
            let Keyword { name, support, own } = keyword;
            let (place, standing) = match support {
                Support::Supported | Support::Port => (0, "supported".to_owned()),
                Support::Ignored(why) => (1, format!("accepted: {why}")),
                Support::NotYet => (2, "not supported".to_owned()),
            };
            if let Some(names) = names.get_mut(place).filter(|_| !own) {
                names.insert(*name);
            }
            let name = if *own { format!("*`{name}`*") } else { format!("`{name}`") };
            let _ = writeln!(blocks, "| {name} | {standing} |");
        }
    }
    // A name that stands in several blocks is one keyword, and as well off as it is at best.
    let [supported, accepted, missing] = &names;
    let all: BTreeSet<_> = names.iter().flatten().collect();
    let accepted_only = accepted.difference(supported).count();
    let _ = writeln!(
        text,
        "\nOf its {} names, {} are supported in at least one block, {accepted_only} accepted, and {} not supported.",
        all.len(),
        supported.len(),
        missing.iter().filter(|name| !supported.contains(*name) && !accepted.contains(*name)).count(),
    );
    text + &blocks
}

/// The heading of a block's table.
fn title(vocabulary: Vocabulary) -> String {
    let place = vocabulary.place();
    let mut title = String::new();
    for (number, word) in place.split(' ').enumerate() {
        // Keywords are code, the words between them are not.
        let code = !matches!(word, "in" | "a" | "an" | "of" | "checker" | "outside" | "all" | "blocks");
        match number {
            0 => title.push_str(if word == "in" { "In" } else { "Outside" }),
            _ if code => title += &format!(" `{word}`"),
            _ => title += &format!(" {word}"),
        }
    }
    title
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_keywords_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/KEYWORDS.md");
        let text = markdown();
        if std::env::var_os("STEADFAST_BLESS").is_some() {
            std::fs::write(path, text).unwrap();
            return;
        }
        assert!(
            std::fs::read_to_string(path).unwrap_or_default() == text,
            "linux-port/KEYWORDS.md is not what the grammar says; \
             `STEADFAST_BLESS=1 cargo test -p steadfast-linux keywords` writes it anew"
        );
    }

    #[test]
    fn all_of_keepaliveds_keywords_are_there() {
        let names: BTreeSet<_> = Vocabulary::ALL
            .into_iter()
            .flat_map(Vocabulary::keywords)
            .filter(|keyword| !keyword.own)
            .map(|keyword| keyword.name)
            .collect();
        assert!(names.len() >= 364, "{}", names.len());
    }
}
