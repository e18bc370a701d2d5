//! The table of rules and their tests, `tests/RULES.md`, names tests that exist.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every name in the sources that begins as a rule's test does: of functions, and of tests made at run time.
fn names() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders: Vec<PathBuf> =
        ["core", "linux-port", "firmware-port", "tests"].map(|package| root.join(package)).into();
    let mut found = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                if !path.ends_with("target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap_or_default();
                let words = text.split(|character: char| !character.is_alphanumeric() && character != '_');
                found.extend(words.filter(|word| word.starts_with("rfc")).map(str::to_owned));
            }
        }
    }
    found
}

#[test]
fn every_test_that_the_table_of_rules_names_is_there() {
    let text = include_str!("../RULES.md");
    let there = names();
    let named: Vec<_> = text.split('`').skip(1).step_by(2).filter(|word| word.starts_with("rfc")).collect();
    assert!(named.len() > 100, "only {} tests are named", named.len());
    let missing: Vec<_> = named.iter().filter(|name| !there.contains(**name)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

#[test]
fn every_rule_has_a_test() {
    for line in include_str!("../RULES.md").lines().filter(|line| line.starts_with("| ") && !line.contains("| ---")) {
        let tests = line.split('|').nth(2).unwrap_or("").trim();
        assert!(tests == "tests" || tests.contains("`rfc"), "{line}");
    }
}
