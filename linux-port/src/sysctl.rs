//! Kernel settings under /proc/sys that virtual MAC addresses and real servers need, and a note of what they were
//! and of the links and addresses that we made, kept in a file: a run that was killed leaves it behind, and the next one puts the true
//! originals back. Which settings are needed is decided in [`crate::vmac`] and [`crate::lvs::real_server`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const ROOT: &str = "/proc/sys";

/// The value of a setting such as `net/ipv4/conf/eth0/arp_ignore` in the network namespace of the calling
/// thread, without the line's end.
///
/// # Errors
///
/// Of the system, with the name of the setting: `NotFound` if there is none.
pub fn read(key: &str) -> io::Result<String> {
    let value = fs::read_to_string(path(key)?).map_err(|error| named(key, &error))?;
    Ok(value.trim_end().into())
}

/// Sets a setting.
///
/// # Errors
///
/// Of the system, with the name of the setting.
pub fn write(key: &str, value: &str) -> io::Result<()> {
    fs::write(path(key)?, value).map_err(|error| named(key, &error))
}

/// The names that there are in a directory of settings such as `net/ipv4/conf`.
///
/// # Errors
///
/// Of the system, with the name of the directory.
pub fn list(directory: &str) -> io::Result<Vec<String>> {
    let names = fs::read_dir(path(directory)?).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned())).collect()
    });
    names.map_err(|error| named(directory, &error))
}

fn path(key: &str) -> io::Result<PathBuf> {
    // Names of interfaces are part of keys; none of them may lead elsewhere, or off the line of the file.
    let harmless = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_whitespace);
    if !key.split('/').all(harmless) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no name of a setting: {key:?}")));
    }
    Ok(Path::new(ROOT).join(key))
}

fn named(key: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{ROOT}/{key}: {error}"))
}

/// What has been changed on this machine and is to be undone. One process at a time may use a file, and
/// processes in different network namespaces use different ones.
#[derive(Debug)]
pub struct Changes {
    /// `None`: nothing can be noted.
    file: Option<PathBuf>,
    /// What the settings that are changed were before.
    settings: BTreeMap<String, String>,
    links: BTreeSet<String>,
    /// Addresses that we put on interfaces, by their names.
    addresses: BTreeSet<(String, IpAddr)>,
}

impl Changes {
    /// Reads what an earlier run has left in `file`, whose directory is made if it is not there.
    ///
    /// # Errors
    ///
    /// Of the system, also if nothing can be written there. A file that is damaged counts as far as it can be read.
    pub fn open(file: &Path) -> io::Result<Self> {
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory)?;
        }
        create(&beside(file))?;
        fs::remove_file(beside(file))?;
        let text = match fs::read(file) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut changes = Self { file: Some(file.to_owned()), ..Self::unnoted() };
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["setting", key, value] => drop(changes.settings.insert(key.into(), value.into())),
                ["link", name] => drop(changes.links.insert(name.into())),
                ["address", name, address] => {
                    changes.addresses.extend(address.parse().map(|address| (name.to_owned(), address)));
                }
                _ => {}
            }
        }
        Ok(changes)
    }

    /// Begins with nothing, and notes nothing outside: what a run that is killed has changed stays so.
    pub fn unnoted() -> Self {
        Self { file: None, settings: BTreeMap::new(), links: BTreeSet::new(), addresses: BTreeSet::new() }
    }

    /// Sets a setting, after noting what it was, unless that is noted already.
    ///
    /// # Errors
    ///
    /// Of the system; the setting is as it was then.
    pub fn set(&mut self, key: &str, value: &str) -> io::Result<()> {
        let present = read(key)?;
        if present == value {
            return Ok(());
        }
        if !self.settings.contains_key(key) {
            self.settings.insert(key.into(), present);
            self.save()?;
        }
        write(key, value)
    }

    /// Puts back the settings that `undone` says of, by their keys, as far as they still exist.
    ///
    /// # Errors
    ///
    /// The first of the system's; the others are put back nevertheless.
    pub fn restore(&mut self, undone: impl Fn(&str) -> bool) -> io::Result<()> {
        let mut result = Ok(());
        let (undo, keep): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.settings).into_iter().partition(|(key, _)| undone(key));
        self.settings = keep;
        for (key, value) in undo {
            match write(&key, &value) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => result = result.and(outcome),
            }
        }
        result.and(self.save())
    }

    /// Notes that we made a link, or are about to.
    ///
    /// # Errors
    ///
    /// Of the system.
    pub fn add_link(&mut self, name: &str) -> io::Result<()> {
        if self.links.insert(name.into()) { self.save() } else { Ok(()) }
    }

    /// Notes that a link that we made is gone.
    ///
    /// # Errors
    ///
    /// Of the system.
    pub fn remove_link(&mut self, name: &str) -> io::Result<()> {
        if self.links.remove(name) { self.save() } else { Ok(()) }
    }

    /// The links that we, or an earlier run, made.
    pub fn links(&self) -> &BTreeSet<String> {
        &self.links
    }

    /// Notes that we put an address on an interface, or are about to.
    ///
    /// # Errors
    ///
    /// Of the system.
    pub fn add_address(&mut self, interface: &str, address: IpAddr) -> io::Result<()> {
        if self.addresses.insert((interface.into(), address)) { self.save() } else { Ok(()) }
    }

    /// Notes that an address that we put on an interface is gone.
    ///
    /// # Errors
    ///
    /// Of the system.
    pub fn remove_address(&mut self, interface: &str, address: IpAddr) -> io::Result<()> {
        if self.addresses.remove(&(interface.into(), address)) { self.save() } else { Ok(()) }
    }

    /// The addresses that we, or an earlier run, put on interfaces, by the interfaces' names.
    pub fn addresses(&self) -> &BTreeSet<(String, IpAddr)> {
        &self.addresses
    }

    /// Replaces the file as a whole: one that is half written would lose the originals.
    fn save(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if self.settings.is_empty() && self.links.is_empty() && self.addresses.is_empty() {
            return match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let mut text = String::new();
        for name in &self.links {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "link {name}");
        }
        for (interface, address) in &self.addresses {
            let _ = writeln!(text, "address {interface} {address}");
        }
        for (key, value) in &self.settings {
            let _ = writeln!(text, "setting {key} {value}");
        }
        let new = beside(file);
        create(&new)?.write_all(text.as_bytes())?;
        fs::rename(new, file)
    }
}

/// Where the next version of a file is written.
fn beside(file: &Path) -> PathBuf {
    file.with_extension("new")
}

fn create(file: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_below_the_root() {
        for key in ["net/../kernel", "/etc/passwd", "net//x", "net/ipv4/conf/a b/forwarding", "net/\n/x", ""] {
            assert_eq!(read(key).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{key:?}");
        }
        assert_eq!(read("net/ipv4/no_such_thing").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_damaged_file_counts_as_far_as_it_can_be_read() {
        let directory = std::env::temp_dir().join(format!("steadfast-changes-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("control.sock.changes");
        fs::write(&file, b"link vrrp.1\nlink\naddress lo 192.0.2.1\naddress lo x\nsetting net/ipv4/conf/eth0/arp_ignore 0\n\xff\xfe\nsetting x").unwrap();
        let mut changes = Changes::open(&file).unwrap();
        assert_eq!(changes.links().iter().collect::<Vec<_>>(), ["vrrp.1"]);
        assert_eq!(changes.settings.keys().collect::<Vec<_>>(), ["net/ipv4/conf/eth0/arp_ignore"]);
        assert_eq!(changes.addresses().len(), 1);
        changes.remove_address("lo", [192, 0, 2, 1].into()).unwrap();
        changes.add_link("vrrp.2").unwrap();
        assert_eq!(Changes::open(&file).unwrap().links().len(), 2);
        changes.remove_link("vrrp.1").unwrap();
        changes.remove_link("vrrp.2").unwrap();
        assert!(file.exists(), "a setting is still noted");
        fs::remove_dir_all(&directory).unwrap();
    }
}
