//! The patterns of `include`, as glob(7) has them: `*`, `?`, `[…]`, and `{a,b}` as in a shell. Which files match, in
//! the order of their names, looked for in bounded time.

use std::fs;
use std::path::{Path, PathBuf};

/// The longest pattern, that of a path.
const MOST_BYTES: usize = 4096;

/// The most patterns that braces make.
const MOST_PATTERNS: usize = 256;

/// The most directory entries and paths that are looked at, all `include`s together; long patterns count more.
const MOST_LOOKS: usize = 200_000;

/// So many letters of a pattern cost as much as looking at an entry.
const LETTERS: usize = 16;

/// What may still be looked at.
pub(super) struct Looks(usize);

impl Default for Looks {
    fn default() -> Self {
        Self(MOST_LOOKS)
    }
}

impl Looks {
    /// Takes one look with a pattern, or a part of one.
    fn take(&mut self, pattern: &str) -> Result<(), String> {
        let left = self.0.checked_sub(1 + pattern.len() / LETTERS);
        // Whoever comes next shall not find something left.
        self.0 = left.unwrap_or(0);
        left.map(|_| ()).ok_or_else(|| "all patterns together look at too many files".to_owned())
    }
}

/// A pattern without braces, and what it matches.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Matches {
    /// The pattern.
    pub(super) pattern: String,
    /// Whether it could match anything but its own text.
    pub(super) wild: bool,
    /// The files, sorted; a pattern that is not wild matches what exists.
    pub(super) paths: Vec<PathBuf>,
}

/// The files that `pattern` means, seen from `directory`.
///
/// # Errors
/// Why it cannot be said.
pub(super) fn expand(directory: &Path, pattern: &str, looks: &mut Looks) -> Result<Vec<Matches>, String> {
    if pattern.len() > MOST_BYTES {
        return Err("its name is too long".into());
    }
    let mut all = Vec::new();
    for pattern in braces(pattern, looks)? {
        let wild = pattern.contains(['*', '?', '[']);
        let paths = if wild {
            matching(directory, &pattern, looks)?
        } else {
            Some(directory.join(&pattern)).filter(|path| fs::symlink_metadata(path).is_ok()).into_iter().collect()
        };
        all.push(Matches { pattern, wild, paths });
    }
    Ok(all)
}

/// The patterns that `{a,b}` stands for, nested or not.
fn braces(pattern: &str, looks: &mut Looks) -> Result<Vec<String>, String> {
    let mut open = vec![pattern.to_owned()];
    let mut done = Vec::new();
    while let Some(pattern) = open.pop() {
        looks.take(&pattern)?;
        let Some((before, choices, after)) = first_braces(&pattern) else {
            done.push(pattern);
            continue;
        };
        open.extend(choices.iter().rev().map(|choice| format!("{before}{choice}{after}")));
        if open.len() + done.len() > MOST_PATTERNS {
            return Err(format!("its braces stand for more than {MOST_PATTERNS} patterns"));
        }
    }
    Ok(done)
}

/// The text before the first braces, what stands between its commas, and the text after them.
fn first_braces(pattern: &str) -> Option<(&str, Vec<&str>, &str)> {
    let begin = pattern.find('{')?;
    let inside = pattern.get(begin + 1..)?;
    let mut depth = 0_usize;
    let mut from = 0;
    let mut choices = Vec::new();
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b',' if depth == 0 => {
                choices.push(inside.get(from..at)?);
                from = at + 1;
            }
            b'}' if depth == 0 => {
                choices.push(inside.get(from..at)?);
                return Some((pattern.get(..begin)?, choices, inside.get(at + 1..)?));
            }
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// What exists of a pattern without braces.
fn matching(directory: &Path, pattern: &str, looks: &mut Looks) -> Result<Vec<PathBuf>, String> {
    let mut found = vec![if pattern.starts_with('/') { PathBuf::from("/") } else { directory.to_owned() }];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        if !part.contains(['*', '?', '[']) {
            for path in &mut found {
                looks.take(part)?;
                path.push(part);
            }
            continue;
        }
        let mut next = Vec::new();
        for path in &found {
            looks.take(part)?;
            // A path without a directory is beside us.
            let listed = if path.as_os_str().is_empty() { Path::new(".") } else { path.as_path() };
            // What is no directory has nothing that could match.
            let Ok(entries) = fs::read_dir(listed) else { continue };
            for entry in entries.flatten() {
                looks.take(part)?;
                let name = entry.file_name();
                if name.to_str().is_some_and(|name| matches(part, name)) {
                    next.push(path.join(name));
                }
            }
        }
        next.sort();
        found = next;
    }
    // A directory is not meant; a link to nowhere is a mistake that reading it will tell.
    found.retain(|path| fs::metadata(path).map_or(fs::symlink_metadata(path).is_ok(), |known| known.is_file()));
    Ok(found)
}

/// Whether a name matches a part of a pattern; a dot at its beginning has to be written.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where to go on if what follows the last `*` does not match: one more letter belongs to it.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(p), name.get(n)) {
            (None, None) => return true,
            (Some('*'), _) => {
                retry = Some((p + 1, n));
                Some((p + 1, n))
            }
            (Some(_), Some(&letter)) => single(&pattern[p..], letter).map(|length| (p + length, n + 1)),
            _ => None,
        };
        (p, n) = match (step, &mut retry) {
            (Some(next), _) => next,
            (None, Some((after, taken))) if *taken < name.len() => {
                *taken += 1;
                (*after, *taken)
            }
            _ => return false,
        };
    }
}

/// How much of the pattern matches one letter.
fn single(pattern: &[char], letter: char) -> Option<usize> {
    match *pattern.first()? {
        '?' => Some(1),
        '[' => {
            let Some(close) = pattern.iter().skip(2).position(|&c| c == ']').map(|at| at + 2) else {
                return (letter == '[').then_some(1);
            };
            let set = pattern.get(1..close)?;
            let (negated, set) = match set {
                ['!' | '^', rest @ ..] => (true, rest),
                _ => (false, set),
            };
            (contains(set, letter) != negated).then_some(close + 1)
        }
        own => (own == letter).then_some(1),
    }
}

/// Whether a letter is in the inside of `[…]`.
fn contains(mut set: &[char], letter: char) -> bool {
    loop {
        match set {
            [first, '-', last, rest @ ..] => {
                if (*first..=*last).contains(&letter) {
                    return true;
                }
                set = rest;
            }
            [one, rest @ ..] => {
                if *one == letter {
                    return true;
                }
                set = rest;
            }
            [] => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_a_shell() {
        for (pattern, name) in [
            ("*", "a"),
            ("*.conf", "a.conf"),
            ("a*b*c", "a-b-b-c"),
            ("?x", "äx"),
            ("[a-c]1", "b1"),
            ("[!a-c]1", "d1"),
            ("[]]", "]"),
            ("[", "["),
            (".*", ".a"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*", ".a"), ("*.conf", "a.conf~"), ("a*b", "a"), ("[a-c]", "d"), ("[^a]", "a"), ("?", "")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        // Quadratic at worst.
        assert!(!matches(&"*a".repeat(100), &"a".repeat(99)));
    }

    #[test]
    fn braces_make_patterns() {
        let braces = |pattern: &str| braces(pattern, &mut Looks::default());
        assert_eq!(braces("foo/{,cat,{a,b}x}/y").unwrap(), ["foo//y", "foo/cat/y", "foo/ax/y", "foo/bx/y"]);
        assert_eq!(braces("no{brace").unwrap(), ["no{brace"]);
        assert!(braces(&"{a,b}".repeat(20)).is_err());
    }
}
