//! The other half of direct routing: a real server has to take packets for the virtual addresses without saying on
//! the LAN that it has them. This puts each address on the loopback interface, keeps the kernel from answering and
//! from asking for it by ARP, and takes all of it back, also what a predecessor that was killed has left.
//!
//! What every tutorial does by hand: the address with /32 (IPv6: /128) on `lo`, a host route to it,
//! `arp_ignore` 1 (answer only for addresses of the interface that was asked) and `arp_announce` 2 (ask with the
//! address of the interface that asks). Neighbour discovery of IPv6 answers only for addresses of the interface
//! that was asked, so IPv6 needs none of the settings. Who keeps it so, for how long, is in `keep`.

mod keep;

pub use keep::{Holder, run};

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use log::warn;

use super::plan::RealServerRole;
use crate::netlink::{Address, AddressSpec, Client};
use crate::sysctl::{self, Changes};

/// The settings that keep ARP quiet about addresses of other interfaces, with the least value that does.
const ARP: [(&str, u32); 2] = [("arp_ignore", 1), ("arp_announce", 2)];

/// A real server's part, for as long as it lives. One at a time has it in a network namespace.
#[derive(Debug)]
pub struct Role {
    client: Client,
    changes: Changes,
    /// Whether an address that another interface has is only warned of: this machine is a director too, and is
    /// Active.
    lenient: bool,
    lock: (PathBuf, File),
}

/// Whether an earlier run has left notes in `directory`.
pub fn has_notes(directory: &Path) -> bool {
    notes(directory).exists()
}

fn notes(directory: &Path) -> PathBuf {
    directory.join("real-server.changes")
}

impl Role {
    /// Begins with what a predecessor has noted in `directory`, which is made if it is not there; nothing is changed
    /// yet. If it is `lenient`, an address that another interface has as well is only warned of.
    ///
    /// # Errors
    /// `AddrInUse` if another process has the role; else of the system.
    pub fn start(directory: &Path, lenient: bool) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let path = directory.join("real-server.lock");
        let lock = lock(&path)?;
        let changes = Changes::open(&notes(directory))?;
        Ok(Self { client: Client::open()?, changes, lenient, lock: (path, lock) })
    }

    /// Holds these virtual addresses, and none besides that it, or a predecessor, held before. What is there
    /// already is not touched, and stays for ever if somebody else put it there. Whether anything was changed.
    ///
    /// # Errors
    /// An address that another interface has, which would answer for it; else of the system, the first. The rest is
    /// done nevertheless.
    pub fn hold(&mut self, role: &RealServerRole) -> io::Result<bool> {
        let interface = role.interface.as_str();
        let link = self.client.link(interface)?;
        let link = link.ok_or_else(|| failed(interface, &io::ErrorKind::NotFound.into()))?;
        if !link.up && !role.addresses.is_empty() {
            return Err(failed(interface, &io::Error::other("the interface is down")));
        }
        let mut result = Ok(());
        let mut changed = false;
        for (before, address) in self.changes.addresses().clone() {
            if before != interface || !role.addresses.contains(&address) {
                changed = true;
                result = result.and(self.remove(&before, address));
            }
        }
        // Before the first address, so that nobody is ever told of it.
        if role.addresses.iter().any(IpAddr::is_ipv4) {
            result = result.and_then(|()| self.quiet(interface));
        } else {
            result = result.and(self.changes.restore(|_| true));
        }
        if result.is_ok() {
            let there = self.client.addresses()?;
            for address in &role.addresses {
                match self.add((link.index, interface), *address, &there) {
                    Ok(added) => changed |= added,
                    Err(error) => result = result.and(Err(failed(address, &error))),
                }
            }
        }
        result.map(|()| changed)
    }

    /// Takes everything back: the machine is as it was.
    ///
    /// # Errors
    /// The first of the system's; as much as possible is undone nevertheless.
    pub fn stop(mut self) -> io::Result<()> {
        let mut result = Ok(());
        for (interface, address) in self.changes.addresses().clone() {
            result = result.and(self.remove(&interface, address));
        }
        // Only then may ARP speak again.
        result = result.and(self.changes.restore(|_| true));
        // Whoever waits for the lock finds that it is of no file any more, and makes a new one.
        result.and(fs::remove_file(&self.lock.0))
    }

    /// Whether an address is one that it holds.
    fn holds(&self, address: &Address) -> bool {
        self.changes.addresses().iter().any(|(_, held)| *held == address.ip)
    }

    fn quiet(&mut self, interface: &str) -> io::Result<()> {
        for interface in ["all", interface] {
            for (setting, least) in ARP {
                let key = format!("net/ipv4/conf/{interface}/{setting}");
                // Larger values say less still.
                if sysctl::read(&key)?.parse().unwrap_or(0) < least {
                    self.changes.set(&key, &least.to_string())?;
                }
            }
        }
        Ok(())
    }

    /// Adds an address, unless it is there; whether it was added.
    fn add(&mut self, (index, interface): (u32, &str), ip: IpAddr, there: &[Address]) -> io::Result<bool> {
        let present = there.iter().any(|address| address.ip == ip && address.interface == index);
        let noted = self.changes.addresses().contains(&(interface.to_owned(), ip));
        if present && !noted {
            warn!("{ip} is on {interface} already; it stays when this ends");
            return Ok(false);
        }
        if let Some(elsewhere) = there.iter().find(|address| address.ip == ip && address.interface != index)
            && !present
        {
            let link = self.client.link_at(elsewhere.interface)?;
            let name = link.map_or_else(|| elsewhere.interface.to_string(), |link| link.name);
            let text = format!("it is on {name} already, which tells the LAN so: this machine would take all packets");
            if !self.lenient {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
            }
            warn!("{ip}: {text}");
        }
        // Noted first: what is noted and was never made does no harm.
        self.changes.add_address(interface, ip)?;
        if !present {
            self.client.add_address(&spec(index, ip))?;
        }
        self.client.add_host_route(index, ip)?;
        Ok(!present)
    }

    fn remove(&mut self, interface: &str, ip: IpAddr) -> io::Result<()> {
        if let Some(link) = self.client.link(interface)? {
            let gone = |result: io::Result<()>| match result {
                Err(error) if matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::NotFound) => {
                    Ok(())
                }
                other => other.map_err(|error| failed(ip, &error)),
            };
            let route = gone(self.client.remove_host_route(link.index, ip));
            gone(self.client.remove_address(&spec(link.index, ip)))?;
            route?;
        }
        self.changes.remove_address(interface, ip)
    }
}

fn spec(index: u32, ip: IpAddr) -> AddressSpec {
    AddressSpec::new(index, ip, if ip.is_ipv4() { 32 } else { 128 })
}

fn failed(what: impl std::fmt::Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// A lock on the file at `path`, which is made if it is not there.
fn lock(path: &Path) -> io::Result<File> {
    loop {
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        file.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::AddrInUse, "another process is the real server")
            }
            fs::TryLockError::Error(error) => error,
        })?;
        // The one before removes the file when it ends.
        let ours = file.metadata()?;
        match fs::metadata(path) {
            Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}
