//! `net_namespace`: the network namespace that the agent is to run in. It is entered in [`crate::guard`].

use steadfast_core::config::diagnostic::Used;
use steadfast_core::config::statement::Statement;

use crate::grammar::reader::Reader;

/// The name, if the file gives one; the first counts, as with keepalived.
pub(super) fn read(statements: &[Statement<'_>], reader: &mut Reader<'_>) -> Option<String> {
    let mut name = None;
    for statement in statements.iter().filter(|statement| statement.keyword.text == "net_namespace") {
        if name.is_some() {
            reader.no_effect(statement.keyword.place, "net_namespace", "there is one already");
        } else {
            name = reader.defaulted(statement, "the name of a network namespace", Used::Nothing, parse);
        }
    }
    name
}

/// A name that `ip netns` would give.
fn parse(text: &str) -> Option<String> {
    let plain = !text.contains('/') && !text.contains(char::is_control) && !matches!(text, "" | "." | "..");
    plain.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::check::Findings;
    use crate::plan::parse;

    #[test]
    fn the_first_name_counts() {
        let mut findings = Findings::new(Path::new("f"));
        let text = "net_namespace ../x\nnet_namespace blue\nnet_namespace red\n";
        let plan = parse(text.as_bytes(), &mut findings).unwrap();
        assert_eq!(plan.namespace.as_deref(), Some("blue"));
        let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].starts_with("f:1:15: warning: ") && findings[0].contains("`../x`"), "{findings:?}");
        assert_eq!(findings[1], "f:3:1: warning: `net_namespace` has no effect: there is one already");
    }
}
