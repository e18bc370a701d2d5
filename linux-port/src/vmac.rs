//! Virtual router MAC addresses (RFC 9568 section 7.3) as macvlans on top of the interface: making them or
//! taking them over, the kernel settings that they need, silencing them while Backup, and leaving the machine
//! as it was. The frames that must come *from* a virtual MAC address are sent by [`crate::socket`].
//!
//! A macvlan stays up all the time and is *muted* while the router is not Active: it forwards no IPv4 packet
//! and has no IPv6, so what arrives for the virtual MAC address is dropped (RFC 9568 section 6.4.2), and it
//! says nothing. Muting takes some 50 us. Setting it down would take the kernel up to 20 ms for each, with
//! the lock held that every change of an address needs.
//!
//! The mode is VEPA, not private as with keepalived: a private macvlan that is up takes the multicasts of its
//! own MAC address away from the interface below, and an Active would not hear the other Active.

use std::io;
use std::path::Path;

use log::warn;
use steadfast_core::types::MacAddr;

use crate::netlink::{Client, Link, MacVlanMode};
use crate::sysctl::{self, Changes};

const MODE: MacVlanMode = MacVlanMode::Vepa;

const REDIRECTS: &str = "send_redirects";

/// Whether groups of the link (224.0.0.0/24) are reported at all.
const LOCAL_IGMP: &str = "net/ipv4/igmp_link_local_mcast_reports";

/// A virtual MAC address on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vmac {
    /// The index of the macvlan: where the virtual addresses go.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it was there already, left by an earlier run or made by the administrator. Then it is not
    /// muted, and may hold addresses.
    pub taken_over: bool,
    /// The name of the interface below.
    parent: String,
    /// Whether IPv6 addresses go there.
    ipv6: bool,
}

impl Vmac {
    /// Lets IPv6 addresses be added. One write to /proc, some 20 us.
    ///
    /// # Errors
    ///
    /// Of the system; IPv6 addresses cannot be added then.
    pub fn prepare(&self) -> io::Result<()> {
        if self.ipv6 { sysctl::write(&v6(&self.name, "disable_ipv6"), "0") } else { Ok(()) }
    }

    /// Lets packets for the virtual MAC address through: after its addresses are added, so that a packet to one
    /// of them is never sent on (RFC 9568 section 8.3.1). Two writes to /proc, some 50 us.
    ///
    /// # Errors
    ///
    /// Of the system.
    pub fn unmute(&self) -> io::Result<()> {
        let forwarding = sysctl::read(&v4(&self.parent, "forwarding"))?;
        sysctl::write(&v4(&self.name, "forwarding"), &forwarding)
    }

    /// Keeps packets for the virtual MAC address out: before its addresses are removed, so that a packet to one
    /// of them is never sent on. (The IPv6 addresses the kernel removes now.)
    ///
    /// # Errors
    ///
    /// Of the system.
    pub fn mute(&self) -> io::Result<()> {
        sysctl::write(&v4(&self.name, "forwarding"), "0")?;
        if self.ipv6 { sysctl::write(&v6(&self.name, "disable_ipv6"), "1") } else { Ok(()) }
    }
}

/// The virtual MAC addresses of this network namespace, and what was changed for their sake.
#[derive(Debug)]
pub struct Vmacs {
    client: Client,
    changes: Changes,
    /// Why what is changed cannot be noted; until that was said.
    unnoted: Option<io::Error>,
    /// As often as they are needed.
    held: Vec<Vmac>,
    /// No group of the link is reported (`disable_local_igmp`).
    silent: bool,
}

impl Vmacs {
    /// Begins with what an earlier run noted in the file `notes`, if it was killed. Where nothing can be written, nothing
    /// is noted.
    ///
    /// # Errors
    ///
    /// Of the system.
    pub fn open(notes: &Path) -> io::Result<Self> {
        let (changes, unnoted) = match Changes::open(notes) {
            Ok(changes) => (changes, None),
            Err(error) => (Changes::unnoted(), Some(error)),
        };
        Ok(Self { client: Client::open()?, changes, unnoted, held: Vec::new(), silent: false })
    }

    /// The macvlan `name` with this MAC address on top of the interface `parent`, made or taken over, up, and
    /// muted if it was made; `ipv6` says whether IPv6 addresses will be put there. One that is held already is
    /// left as it is; each is to be removed as often as it was asked for. Waits for netlink.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if `name` is something else, which is left alone; else of the system, such as a
    /// /proc/sys that cannot be written. Nothing is left behind then.
    pub fn ensure(&mut self, name: &str, parent: u32, mac: MacAddr, ipv6: bool) -> io::Result<Vmac> {
        if let Some(error) = self.unnoted.take() {
            warn!("what virtual MAC addresses change cannot be noted, and stays so if the agent is killed: {error}");
        }
        let parent = &self.client.link_at(parent)?.ok_or(io::ErrorKind::NotFound)?;
        let present = self.client.link(name)?;
        let same = |held: &&Vmac| {
            let there = present.as_ref().filter(|link| link.index == held.index);
            held.name == name && held.ipv6 == ipv6 && there.is_some_and(|link| is(link, parent, mac))
        };
        if let Some(held) = self.held.iter().find(same).cloned() {
            self.held.push(held.clone());
            return Ok(held);
        }
        let index = match &present {
            Some(link) if is(link, parent, mac) => {
                if link.macvlan_mode != Some(MODE) {
                    self.client.set_macvlan_mode(link.index, MODE)?;
                }
                // Before it goes up, if it is down; otherwise it has its link-local address already.
                let _ = self.client.disable_address_generation(link.index);
                link.index
            }
            Some(link) if self.changes.links().contains(name) => {
                // An earlier run's, from another configuration.
                self.client.delete_link(link.index)?;
                self.create(name, parent, mac)?
            }
            Some(_) => {
                let text = format!("{name} exists and is no macvlan of {} with MAC address {mac}", parent.name);
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
            }
            None => self.create(name, parent, mac)?,
        };
        let taken_over = present.is_some_and(|link| link.index == index);
        let vmac = Vmac { index, name: name.into(), taken_over, parent: parent.name.clone(), ipv6 };
        self.held.push(vmac.clone());
        if let Err(error) = self.configure(&vmac).and_then(|()| self.client.set_up(index)) {
            let _ = self.remove(&vmac);
            return Err(error);
        }
        Ok(vmac)
    }

    /// Deletes the macvlan, unless it is still needed or the administrator made it, and puts the settings of the
    /// interface below back if it was the last one there.
    ///
    /// # Errors
    ///
    /// The first of the system's; as much as possible is undone nevertheless.
    pub fn remove(&mut self, vmac: &Vmac) -> io::Result<()> {
        if let Some(at) = self.held.iter().position(|held| held == vmac) {
            self.held.remove(at);
        }
        if self.held.iter().any(|held| held.index == vmac.index) {
            return Ok(());
        }
        // Its own settings go with it, unless it stays.
        let result = self.delete(&vmac.name);
        result.and(self.restore())
    }

    /// Undoes what an earlier run has left and this one does not hold: call it when every virtual MAC address
    /// of the configuration is there.
    ///
    /// # Errors
    ///
    /// The first of the system's; as much as possible is undone nevertheless.
    pub fn clean(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        for name in self.changes.links().clone() {
            if !self.held.iter().any(|held| held.name == name) {
                result = result.and(self.delete(&name));
            }
        }
        result.and(self.restore())
    }

    /// Has the kernel report groups of the link to switches, or not (`disable_local_igmp`).
    ///
    /// # Errors
    ///
    /// Of the system: `NotFound` before kernel 4.3.
    pub fn report_local_groups(&mut self, report: bool) -> io::Result<()> {
        self.silent = !report;
        if self.silent { self.changes.set(LOCAL_IGMP, "0") } else { self.restore() }
    }

    /// Whether groups of the link are not reported.
    pub fn is_silent(&self) -> bool {
        self.silent
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Removes all of them: the machine is as it was.
    ///
    /// # Errors
    ///
    /// The first of the system's; as much as possible is undone nevertheless.
    pub fn close(&mut self) -> io::Result<()> {
        self.held.clear();
        self.silent = false;
        self.clean()
    }

    /// Puts back the settings that are not needed any more.
    fn restore(&mut self) -> io::Result<()> {
        let Self { changes, held, silent, .. } = self;
        changes.restore(|key| {
            if key == LOCAL_IGMP {
                return !*silent;
            }
            if key.ends_with(REDIRECTS) {
                return held.is_empty();
            }
            let of = |interface: &str| key.starts_with(&v4(interface, "")) || key.starts_with(&v6(interface, ""));
            !held.iter().any(|held| of(&held.name) || of(&held.parent))
        })
    }

    fn create(&mut self, name: &str, parent: &Link, mac: MacAddr) -> io::Result<u32> {
        // Noted first: what is noted and was never made does no harm.
        self.changes.add_link(name)?;
        self.client.create_macvlan(name, parent.index, mac, MODE).map_err(|error| match error.raw_os_error() {
            Some(libc::EOPNOTSUPP) => {
                let text = "this kernel has no macvlan, or its module macvlan is not loaded";
                io::Error::new(io::ErrorKind::Unsupported, text)
            }
            _ => error,
        })
    }

    /// Deletes a link if we made it.
    fn delete(&mut self, name: &str) -> io::Result<()> {
        if !self.changes.links().contains(name) {
            return Ok(());
        }
        let present = self.client.link(name)?;
        if let Some(link) = present.filter(|link| link.kind.as_deref() == Some("macvlan")) {
            self.client.delete_link(link.index)?;
        }
        self.changes.remove_link(name)
    }

    fn configure(&mut self, vmac: &Vmac) -> io::Result<()> {
        let Vmac { name, parent, .. } = vmac;
        self.free_redirects(name)?;
        let changes = &mut self.changes;
        // Only the macvlan answers for its addresses, and only for its own ...
        at_least(changes, &v4(parent, "arp_ignore"), 1)?;
        // ... and a query of the interface's never names a virtual address as its sender, which would bind it
        // to the interface's own MAC address at every host that hears it.
        at_least(changes, &v4(parent, "arp_announce"), 2)?;
        // The settings of a macvlan that we made go with it: nothing to note.
        let ours = changes.links().contains(name);
        let mut set = |key: &str, value: &str| {
            if ours { sysctl::write(key, value) } else { changes.set(key, value) }
        };
        set(&v4(name, "arp_ignore"), "1")?;
        set(&v4(name, "arp_announce"), "2")?;
        // Packets come in here whose answers go out below. The larger of this and `all` counts: where that is
        // strict (1), loose (2) overrules it, so `all` need not be touched.
        let strict = sysctl::read(&v4("all", "rp_filter"))? == "1";
        set(&v4(name, "rp_filter"), if strict { "2" } else { "0" })?;
        set(&v4(name, "accept_local"), "1")?;
        // The kernel's redirects do not come from the address that their reader has sent to, as they must (RFC 9568
        // section 8.1.1), and in IPv6 they do.
        set(&v4(name, REDIRECTS), "0")?;
        // Removing one address of a subnet must not take the others with it.
        set(&v4(name, "promote_secondaries"), "1")?;
        if !vmac.taken_over {
            set(&v4(name, "forwarding"), "0")?;
        }
        if sysctl::read(&v6(name, "disable_ipv6")).is_err() {
            // No IPv6 in this kernel.
            return Ok(());
        }
        // Nothing is forwarded for that unless everything is; but the kernel's Neighbour Advertisements say that
        // the sender is a router, as an Active's must (RFC 9568 section 8.2.2).
        set(&v6(name, "forwarding"), "1")?;
        set(&v6(name, "accept_ra"), "0")?;
        set(&v6(name, "autoconf"), "0")?;
        set(&v6(name, "accept_dad"), "0")?;
        set(&v6(name, "router_solicitations"), "0")?;
        if vmac.taken_over && vmac.ipv6 { Ok(()) } else { set(&v6(name, "disable_ipv6"), "1") }
    }

    /// Makes every interface send redirects by its own setting: `all` turns them on everywhere, and so none could be
    /// without. The others, and those that are still to come, go on as they were.
    fn free_redirects(&mut self, name: &str) -> io::Result<()> {
        let all = v4("all", REDIRECTS);
        if sysctl::read(&all)? == "0" {
            return Ok(());
        }
        for other in sysctl::list("net/ipv4/conf")? {
            if other == "all" || other == *name || self.changes.links().contains(&other) {
                continue;
            }
            match self.changes.set(&v4(&other, REDIRECTS), "1") {
                // It is gone meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => outcome?,
            }
        }
        self.changes.set(&all, "0")
    }
}

/// Whether `link` is the macvlan with this MAC address on top of `parent`.
fn is(link: &Link, parent: &Link, mac: MacAddr) -> bool {
    link.kind.as_deref() == Some("macvlan") && link.parent == Some(parent.index) && link.mac == Some(mac)
}

/// Makes a setting at least `value`; a larger one demands more.
fn at_least(changes: &mut Changes, key: &str, value: u32) -> io::Result<()> {
    let present = sysctl::read(key)?;
    if present.parse::<u32>().is_ok_and(|present| present >= value) {
        return Ok(());
    }
    changes.set(key, &value.to_string())
}

fn v4(interface: &str, name: &str) -> String {
    format!("net/ipv4/conf/{interface}/{name}")
}

fn v6(interface: &str, name: &str) -> String {
    format!("net/ipv6/conf/{interface}/{name}")
}
