//! The virtual MAC interfaces of the configuration, made and deleted on a thread of its own, and settings of interfaces: the kernel takes some
//! 20 ms for each, and no Advertisement waits for that. What Virtual Routers do with them is decided in
//! [`super::apply`]; how they are made, in [`crate::vmac`].

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use log::{error, warn};
use steadfast_core::types::Family;

use super::Name;
use super::local::virtual_mac;
use super::reload::Finished;
use crate::accept::Unaccepted;
use crate::guard;
use crate::netlink::{Address, Client};
use crate::plan::{Plan, PlannedAddress, PlannedGlobals, PlannedRouter};
use crate::promote::Promotions;
use crate::sys::event::EventFd;
use crate::sysctl;
use crate::vmac::{Vmac, Vmacs};

/// How long virtual MAC interfaces outlive a planned stop. Deleting one holds, for some 20 ms, a lock of the
/// whole kernel, which a successor in another namespace of this machine needs for its addresses just now.
const HANDOVER: std::time::Duration = std::time::Duration::from_millis(50);

/// A plan for which everything has been made that takes its time.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) plan: Plan,
    /// The virtual MAC interfaces of each router of the plan, or why they are not there. They are given back by
    /// [`VirtualLinks::remove`], also where a router had them before.
    pub(super) links: Vec<Result<Links, String>>,
    /// The addresses on all interfaces, after that.
    pub(super) there: Vec<Address>,
}

/// The virtual MAC interfaces of one Virtual Router.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    /// On its own interface, for its own family: `use_vmac`.
    pub(super) own: Option<Vmac>,
    /// Of an interface and a family: `use_vmac_addr`.
    others: Vec<(String, Family, Vmac)>,
}

impl Links {
    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Vmac> {
        self.own.iter().chain(self.others.iter().map(|(.., link)| link))
    }

    /// The one for addresses of a family that belong to an interface, which is not the router's own with its own family.
    pub(super) fn other(&self, interface: &str, family: Family) -> Option<&Vmac> {
        let fits = |(name, of, _): &&(String, Family, Vmac)| name == interface && *of == family;
        self.others.iter().find(fits).map(|(.., link)| link)
    }
}

enum Job {
    Prepare(Box<(Plan, Finished)>),
    Remove(Name, Links),
    Close,
}

/// The thread and what it was asked for.
#[derive(Debug)]
pub(super) struct VirtualLinks {
    jobs: Sender<Job>,
    prepared: Receiver<(io::Result<Prepared>, Finished)>,
    done: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl VirtualLinks {
    /// Makes ready what `plan` needs, undoes what an earlier run noted in `notes` and this one does not need,
    /// and starts the thread. Waits for the kernel.
    ///
    /// # Errors
    /// Of the system.
    pub(super) fn start(notes: &Path, plan: Plan) -> io::Result<(Self, Prepared)> {
        let mut vmacs = Vmacs::open(notes)?;
        let mut note = notes.as_os_str().to_owned();
        note.push(".accept");
        let mut unaccepted = Unaccepted::new(note.as_ref());
        if let Err(error) = unaccepted.recall() {
            warn!("what drops packets to virtual addresses for an earlier run cannot be found: {error}");
        }
        let mut note = notes.as_os_str().to_owned();
        note.push(".promote");
        let mut promotions = Promotions::open(note.as_ref());
        let first = prepare(&mut vmacs, &mut unaccepted, &mut promotions, plan)?;
        if let Err(error) = vmacs.clean() {
            warn!("what an earlier run has left cannot all be cleared away: {error}");
        }
        let (jobs, asked) = channel();
        let (answers, prepared) = channel();
        let done = Arc::new(EventFd::new()?);
        let raise = Arc::clone(&done);
        let builder = thread::Builder::new().name("links".into());
        let thread = guard::start(builder, guard::NETWORK, move || {
            while let Ok(job) = asked.recv() {
                match job {
                    Job::Prepare(asked) => {
                        let (plan, finished) = *asked;
                        let prepared = prepare(&mut vmacs, &mut unaccepted, &mut promotions, plan);
                        if answers.send((prepared, finished)).is_err() {
                            return;
                        }
                        raise.raise();
                    }
                    Job::Remove(name, links) => {
                        for link in links.iter() {
                            if let Err(error) = vmacs.remove(link) {
                                warn!("{name}: {} cannot be removed: {error}", link.name);
                            }
                        }
                    }
                    Job::Close => return close(&mut vmacs, &mut unaccepted, &mut promotions),
                }
            }
        })?;
        Ok((Self { jobs, prepared, done, thread: Some(thread) }, first))
    }

    /// Has a plan prepared that somebody asked for; never waits.
    pub(super) fn prepare(&self, plan: Plan, finished: Finished) {
        self.give(Job::Prepare(Box::new((plan, finished))));
    }

    /// A plan that has been prepared since, or why it could not be; never waits.
    pub(super) fn prepared(&self) -> Option<(io::Result<Prepared>, Finished)> {
        self.done.lower();
        self.prepared.try_recv().ok()
    }

    /// Gives back interfaces that `router` needs no longer; never waits.
    pub(super) fn remove(&self, router: Name, links: Links) {
        self.give(Job::Remove(router, links));
    }

    /// Leaves the machine as it was. Waits for the kernel.
    pub(super) fn close(&mut self) {
        self.give(Job::Close);
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            error!("virtual MAC interfaces may be left behind");
        }
    }

    fn give(&self, job: Job) {
        if self.jobs.send(job).is_err() {
            error!("virtual MAC interfaces cannot be made or deleted: their thread has ended");
        }
    }
}

impl AsFd for VirtualLinks {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.done.as_fd()
    }
}

fn close(vmacs: &mut Vmacs, unaccepted: &mut Unaccepted, promotions: &mut Promotions) {
    if let Err(error) = promotions.set(&BTreeSet::new()) {
        warn!("promote_secondaries cannot be put back as it was: {error}");
    }
    if let Err(error) = unaccepted.set(&BTreeSet::new()) {
        warn!("what drops packets to virtual addresses cannot all be removed: {error}");
    }
    if !vmacs.is_empty() {
        thread::sleep(HANDOVER);
    }
    if let Err(error) = vmacs.close() {
        warn!("the settings of virtual MAC addresses cannot all be restored: {error}");
    }
}

fn prepare(
    vmacs: &mut Vmacs,
    unaccepted: &mut Unaccepted,
    promotions: &mut Promotions,
    mut plan: Plan,
) -> io::Result<Prepared> {
    let mut client = Client::open()?;
    let ipv6 = has_ipv6();
    for router in &mut plan.routers {
        let lacking = lacking(router, ipv6);
        if !lacking.is_empty() {
            let shown: Vec<_> = lacking.iter().map(IpAddr::to_string).collect();
            warn!("{}: IPv6 is switched off here, so it goes without {}", router.name, shown.join(", "));
            Arc::make_mut(router).excluded.retain(|planned| !lacking.contains(&planned.address));
        }
        if ipv6 && router.settings.family == Family::V6 && is_off(&router.interface) {
            warn!("{}: IPv6 is switched off on {}, so it waits until it is on", router.name, router.interface);
        }
    }
    if let Err(error) = unaccepted.set(&unaccepted_by(&plan, ipv6)) {
        warn!("no_accept: packets to virtual addresses are accepted: {error}");
    }
    if (!plan.globals.local_igmp || vmacs.is_silent())
        && let Err(error) = vmacs.report_local_groups(plan.globals.local_igmp)
    {
        warn!("disable_local_igmp: {error}");
    }
    let promoting = plan.routers.iter().filter(|router| router.promote_secondaries);
    if let Err(error) = promotions.set(&promoting.map(|router| &*router.interface).collect()) {
        warn!("promote_secondaries: {error}");
    }
    let made = |router: &Arc<PlannedRouter>| match router.settings.family {
        Family::V6 if !ipv6 => Err("this kernel has no IPv6".to_owned()),
        _ => links(&mut client, vmacs, router, &plan.globals),
    };
    let links: Vec<_> = plan.routers.iter().map(made).collect();
    match client.addresses() {
        Ok(there) => Ok(Prepared { plan, links, there }),
        Err(error) => {
            for links in links.into_iter().flatten() {
                for link in links.iter() {
                    vmacs.remove(link)?;
                }
            }
            Err(error)
        }
    }
}

/// Whether the kernel has IPv6 at all.
fn has_ipv6() -> bool {
    let tried = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0));
    !matches!(tried, Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT))
}

/// Whether IPv6 is switched off on an interface.
fn is_off(interface: &str) -> bool {
    sysctl::read(&format!("net/ipv6/conf/{interface}/disable_ipv6")).is_ok_and(|value| value == "1")
}

/// The IPv6 addresses that a Virtual Router of IPv4 cannot have beside its own.
fn lacking(router: &PlannedRouter, ipv6: bool) -> Vec<IpAddr> {
    let on = |planned: &PlannedAddress| planned.device.as_deref().unwrap_or(&router.interface).to_owned();
    let of_ipv4 = router.settings.family == Family::V4;
    let excluded = router.excluded.iter().filter(|planned| of_ipv4 && planned.address.is_ipv6());
    excluded.filter(|planned| !ipv6 || is_off(&on(planned))).map(|planned| planned.address).collect()
}

/// The addresses that no router of a plan accepts packets to, with or without IPv6.
fn unaccepted_by(plan: &Plan, ipv6: bool) -> BTreeSet<IpAddr> {
    let (accepting, others): (Vec<_>, Vec<_>) = plan.routers.iter().partition(|router| router.accepts());
    let of = |routers: &[&Arc<PlannedRouter>]| {
        let addresses = routers.iter().flat_map(|router| router.all_addresses());
        addresses.map(|planned| planned.address).filter(|address| ipv6 || address.is_ipv4()).collect::<BTreeSet<_>>()
    };
    &of(&others) - &of(&accepting)
}

/// The macvlans of a Virtual Router with `use_vmac` or `use_vmac_addr`: all, or why not.
fn links(
    client: &mut Client,
    vmacs: &mut Vmacs,
    router: &PlannedRouter,
    globals: &PlannedGlobals,
) -> Result<Links, String> {
    let mut links = Links::default();
    let all = add_links(client, vmacs, router, globals, &mut links);
    if all.is_err() {
        for link in links.iter() {
            if let Err(error) = vmacs.remove(link) {
                warn!("{}: {} cannot be removed: {error}", router.name, link.name);
            }
        }
    }
    all.map(|()| links)
}

fn add_links(
    client: &mut Client,
    vmacs: &mut Vmacs,
    router: &PlannedRouter,
    globals: &PlannedGlobals,
    links: &mut Links,
) -> Result<(), String> {
    let protocol = &router.settings;
    let mut parent = |name: &str| match client.link(name) {
        Ok(Some(parent)) => Ok(parent.index),
        Ok(None) => Err(format!("use_vmac: {name} does not exist")),
        Err(error) => Err(format!("use_vmac: {name}: {error}")),
    };
    let six = |family| if family == Family::V6 { "6" } else { "" };
    if let Some(planned) = &router.virtual_mac {
        let name = planned.name.clone();
        let name = name.unwrap_or_else(|| format!("{}{}.{}", globals.vmac_prefix, six(protocol.family), protocol.vrid));
        let ipv6 = router.all_addresses().any(|address| address.address.is_ipv6());
        let made = vmacs.ensure(&name, parent(&router.interface)?, virtual_mac(router), ipv6);
        links.own = Some(made.map_err(|error| format!("use_vmac: {name}: {error}"))?);
    }
    for (interface, family) in router.other_virtual_macs() {
        let parent = parent(interface)?;
        // By the interface's number: two may each have a router of this VRID.
        let name = format!("{}{}.{}.{parent}", globals.vmac_addr_prefix, six(family), protocol.vrid);
        let made = vmacs.ensure(&name, parent, protocol.vrid.virtual_mac(family), family == Family::V6);
        let made = made.map_err(|error| format!("use_vmac_addr: {name}: {error}"))?;
        links.others.push((interface.to_owned(), family, made));
    }
    Ok(())
}
