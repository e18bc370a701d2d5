//! The names that iproute2 has for numbers of tables, protocols, scopes and more: files of lines with a number and a name,
//! in /etc/iproute2 and, where that has none, where the package puts its own. Read when the first name is looked up.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::words::{in_radix, number};

/// Where the files are; the first that has one counts.
const FOLDERS: [&str; 3] = ["/etc/iproute2", "/usr/share/iproute2", "/usr/lib/iproute2"];

/// The most bytes of a file that are read.
const MOST_BYTES: u64 = 64 << 10;

/// The most files of a directory beside a file that are read.
const MOST_FILES: usize = 64;

/// What has names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// Routing tables.
    Table,
    /// Who made a route.
    Protocol,
    /// How far a route reaches.
    Scope,
    /// Realms of IPv4.
    Realm,
    /// Values of the DS field; their numbers are hexadecimal.
    Field,
    /// Groups of interfaces.
    Group,
}

impl Named {
    /// The file, the largest number, and the names that need no file.
    const fn kind(self) -> (&'static str, u32, &'static [(&'static str, u32)]) {
        match self {
            Self::Table => ("rt_tables", u32::MAX, &[("default", 253), ("main", 254), ("local", 255)]),
            Self::Protocol => ("rt_protos", 255, PROTOCOLS),
            Self::Scope => (
                "rt_scopes",
                255,
                &[("global", 0), ("universe", 0), ("site", 200), ("link", 253), ("host", 254), ("nowhere", 255)],
            ),
            Self::Realm => ("rt_realms", 65_535, &[]),
            Self::Field => ("rt_dsfield", 255, &[]),
            Self::Group => ("group", u32::MAX, &[("default", 0)]),
        }
    }
}

const PROTOCOLS: &[(&str, u32)] = &[
    ("unspec", 0),
    ("redirect", 1),
    ("kernel", 2),
    ("boot", 3),
    ("static", 4),
    ("gated", 8),
    ("ra", 9),
    ("mrt", 10),
    ("zebra", 11),
    ("bird", 12),
    ("dnrouted", 13),
    ("xorp", 14),
    ("ntk", 15),
    ("dhcp", 16),
    ("keepalived", 18),
    ("babel", 42),
    ("bgp", 186),
    ("isis", 187),
    ("ospf", 188),
    ("rip", 189),
    ("eigrp", 192),
];

/// The names of this machine.
#[derive(Debug, Default)]
pub(super) struct Names {
    files: [OnceCell<Vec<(String, u32)>>; 6],
}

impl Names {
    /// The number that a word stands for: a number, or a name.
    pub(super) fn find(&self, named: Named, word: &str) -> Option<u32> {
        let (file, most, builtin) = named.kind();
        let plain = match named {
            Named::Field => in_radix(word.strip_prefix("0x").unwrap_or(word), 16).filter(|number| *number <= most),
            _ => number(word, most),
        };
        let from_file = || {
            let names = self.files.get(named as usize)?.get_or_init(|| read_all(file));
            names.iter().find(|(name, _)| name == word).map(|(_, number)| *number).filter(|number| *number <= most)
        };
        let from_here = || builtin.iter().find(|(name, _)| *name == word).map(|(_, number)| *number);
        plain.or_else(from_file).or_else(from_here)
    }

    /// `FROM/TO` or `TO`: a pair of realms.
    pub(super) fn realms(&self, text: &str) -> Option<(u16, u16)> {
        let realm = |text| self.find(Named::Realm, text).and_then(|number| u16::try_from(number).ok());
        match text.split_once('/') {
            Some((from, to)) => Some((realm(from)?, realm(to)?)),
            None => Some((0, realm(text)?)),
        }
    }
}

/// The names in a file, and in those of the directory beside it.
fn read_all(file: &str) -> Vec<(String, u32)> {
    let mut names = Vec::new();
    let mut main = FOLDERS.iter().filter_map(|folder| read(&Path::new(folder).join(file)));
    names.extend(main.next().unwrap_or_default());
    for folder in FOLDERS {
        let beside = fs::read_dir(Path::new(folder).join(format!("{file}.d"))).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = beside.map(|entry| entry.path()).take(MOST_FILES).collect();
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "conf"));
        paths.sort();
        names.extend(paths.iter().filter_map(|path| read(path)).flatten());
    }
    names
}

fn read(path: &Path) -> Option<Vec<(String, u32)>> {
    let opened = File::open(path).ok()?;
    if !opened.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    opened.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
    Some(names(&String::from_utf8_lossy(&bytes)))
}

fn names(text: &str) -> Vec<(String, u32)> {
    let line = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let number = number(words.next()?, u32::MAX)?;
        Some((words.next()?.to_owned(), number))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_numbers_and_names() {
        let text = "#\n# reserved\n255\tlocal\n 0x10  small # ours\n#1 no\n7\nx y\n12 table with more\n";
        assert_eq!(names(text), [("local".into(), 255), ("small".into(), 16), ("table".into(), 12)]);
    }

    #[test]
    fn what_everybody_knows_needs_no_file() {
        let names = Names::default();
        assert_eq!(names.find(Named::Table, "main"), Some(254));
        assert_eq!(names.find(Named::Table, "100000"), Some(100_000));
        assert_eq!(names.find(Named::Table, "no such table"), None);
        assert_eq!(names.find(Named::Scope, "link"), Some(253));
        assert_eq!(names.find(Named::Protocol, "static"), Some(4));
        assert_eq!(names.find(Named::Protocol, "256"), None);
        assert_eq!(names.find(Named::Field, "10"), Some(16));
        assert_eq!(names.find(Named::Field, "0x1c"), Some(28));
        assert_eq!(names.realms("3/4"), Some((3, 4)));
        assert_eq!(names.realms("4"), Some((0, 4)));
        assert_eq!(names.realms("65536"), None);
    }
}
