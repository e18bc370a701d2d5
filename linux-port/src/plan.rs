//! A configuration file as the agent carries it out: owned values, so that an old and a new plan can be
//! compared. The grammar is the core's; here are the file, its bounds, and what shows only when all
//! instances are seen together. Interfaces are names: whether they exist is asked when the plan is run.

mod flagged;
mod groups;
pub mod hmac;
mod judge;
mod namespace;
pub mod notify;
pub mod options;
pub mod pacing;
pub mod radv;
mod room;
pub mod routing;
pub mod tracking;
pub mod urgency;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use steadfast_core::agent::Settings;
use steadfast_core::config::diagnostic::Used;
use steadfast_core::config::statement::Statement;
use steadfast_core::config::value;
use steadfast_core::config::{self, Config, Diagnostic, Globals, Instance, Message, Place, Severity, VirtualAddress};
use steadfast_core::time::Duration;
use steadfast_core::types::{Family, MacAddr, Vrid};

use crate::check::Findings;
use crate::grammar::reader::Reader;
use crate::grammar::script::Scripts;
use crate::lvs::grammar;
use crate::lvs::plan::LvsPlan;
use crate::netlink::{AddressFlags, AddressSpec};
use crate::source;

use flagged::{Flagged, says};
use hmac::{Authentications, PlannedHmac};
use notify::{Notifications, Notified, NotifyPlan};
use options::{Asked, InterfaceDelays, PortOptions};
use pacing::PacedGroup;
use radv::RouterAdvertisements;
use room::Room;
use routing::{PlannedRouting, Routings, StaticPlan};
use tracking::TrackingPlan;
use urgency::UrgencyPlan;

/// The most blocks and other statements that a file may have, not counting what is in the blocks: twice as many as
/// there may be services.
const MOST_STATEMENTS: usize = 200_000;

/// What the agent shall do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What holds for all virtual routers.
    pub globals: PlannedGlobals,
    /// The virtual routers, in the order of the file; names, and interface with family and VRID, are
    /// there once.
    pub routers: Vec<Arc<PlannedRouter>>,
    /// The sync groups, in the order of the file. Their members are among the routers; none is there twice.
    pub groups: Vec<PlannedGroup>,
    /// `interface_up_down_delays`.
    pub delays: InterfaceDelays,
    /// `garp_group`.
    pub pacing: Vec<PacedGroup>,
    /// What is tracked.
    pub tracking: TrackingPlan,
    /// What the director shall do.
    pub lvs: LvsPlan,
    /// Who is told of what happens.
    pub notify: Arc<NotifyPlan>,
    /// How urgent the agent's threads are.
    pub urgency: Arc<UrgencyPlan>,
    /// What the machine has besides, whoever is Active.
    pub statics: StaticPlan,
    /// `net_namespace`, or what the command line says instead: where the agent runs.
    pub namespace: Option<String>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.routers.is_empty() && self.lvs.services.is_empty() && self.lvs.role.is_none()
    }
}

/// What holds for all virtual routers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedGlobals {
    /// `router_id`.
    pub router_id: Option<String>,
    /// `vrrp_startup_delay`.
    pub startup_delay: Duration,
    /// `vrrp_delay_after_boot`: since the machine was started.
    pub delay_after_boot: Duration,
    /// `default_interface`.
    pub default_interface: String,
    /// `vmac_prefix`.
    pub vmac_prefix: String,
    /// `vmac_addr_prefix`.
    pub vmac_addr_prefix: String,
    /// Groups of the link (224.0.0.0/24) are joined audibly: not `disable_local_igmp`.
    pub local_igmp: bool,
}

/// One `vrrp_sync_group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedGroup {
    /// Its name.
    pub name: String,
    /// The names of its members, at least one.
    pub members: Vec<String>,
    /// Whom it tells of what happens.
    pub notified: Option<Arc<Notified>>,
}

/// One `vrrp_instance`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRouter {
    /// Its name.
    pub name: String,
    /// The interface that it speaks on.
    pub interface: String,
    /// What the core has to know of it.
    pub settings: Settings,
    /// `use_vmac`.
    pub virtual_mac: Option<PlannedVirtualMac>,
    /// The advertised addresses; at least one, each once.
    pub addresses: Vec<PlannedAddress>,
    /// The other addresses, of either family, each once.
    pub excluded: Vec<PlannedAddress>,
    /// Its addresses have a lifetime that is renewed (not `no_lease`).
    pub lease: bool,
    /// Whom it tells of what happens.
    pub notified: Option<Arc<Notified>>,
    /// What it asks of the loop itself.
    pub options: PortOptions,
    /// FIFOs are told when its priority changes.
    pub tells_priority: bool,
    /// `unicast_peer`: where Advertisements go instead of a group, each once.
    pub peers: Vec<IpAddr>,
    /// `auth_hmac`.
    pub hmac: Option<Arc<PlannedHmac>>,
    /// `router_advertisements`; then the first address is an IPv6 link-local one.
    pub router_advertisements: Option<Arc<RouterAdvertisements>>,
    /// `virtual_routes` and `virtual_rules`, if it has any.
    pub routing: Option<Arc<PlannedRouting>>,
    /// `promote_secondaries`.
    pub promote_secondaries: bool,
}

impl PlannedRouter {
    /// Whether packets to its addresses are for this host (RFC 9568 section 6.4.3).
    pub fn accepts(&self) -> bool {
        self.settings.accept || self.settings.priority.is_owner()
    }

    /// All its addresses, the advertised ones first.
    pub fn all_addresses(&self) -> impl Iterator<Item = &PlannedAddress> {
        self.addresses.iter().chain(&self.excluded)
    }

    /// The interface that an address belongs to.
    pub fn interface_of<'a>(&'a self, address: &'a PlannedAddress) -> &'a str {
        address.device.as_deref().unwrap_or(&self.interface)
    }

    /// Where else than on its own interface, in its own family, addresses are at the virtual router MAC address: each
    /// interface and family once.
    pub fn other_virtual_macs(&self) -> Vec<(&str, Family)> {
        let mut seen = HashSet::from([(&*self.interface, self.settings.family)]);
        let own = self.all_addresses().filter(|address| address.use_vmac);
        let places = own.map(|address| (self.interface_of(address), Family::of(&address.address)));
        places.filter(|place| seen.insert(*place)).collect()
    }
}

/// `use_vmac`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlannedVirtualMac {
    /// The name of its interface; without one `vmac_prefix` and the VRID.
    pub name: Option<String>,
    /// Another MAC address than the virtual router's.
    pub mac: Option<MacAddr>,
    /// `vmac_xmit_base`.
    pub transmit_from_base: bool,
}

/// An address and how it is put on an interface; see [`VirtualAddress`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedAddress {
    /// The address.
    pub address: IpAddr,
    /// The length of its network's prefix.
    pub prefix_len: u8,
    /// `dev`: another interface than the virtual router's.
    pub device: Option<String>,
    /// `label`.
    pub label: Option<String>,
    /// `scope`, as rtnetlink's number.
    pub scope: Option<u8>,
    /// `brd`.
    pub broadcast: Option<Ipv4Addr>,
    /// `peer`, with its prefix length.
    pub peer: Option<(IpAddr, u8)>,
    /// `preferred_lft` in seconds; `None` for ever.
    pub preferred_lifetime: Option<u32>,
    /// `home`.
    pub home: bool,
    /// `-nodad`.
    pub no_dad: bool,
    /// `mngtmpaddr`.
    pub manage_temporary: bool,
    /// `noprefixroute`.
    pub no_prefix_route: bool,
    /// `autojoin`.
    pub auto_join: bool,
    /// `no_track`.
    pub no_track: bool,
    /// `use_vmac`, or the instance's `use_vmac_addr`: also elsewhere than on the instance's own interface it is at the
    /// virtual router MAC address.
    pub use_vmac: bool,
}

impl PlannedAddress {
    /// How it is put on the interface with this index.
    pub fn spec(&self, interface: u32) -> AddressSpec {
        let mut spec = AddressSpec::new(interface, self.address, self.prefix_len);
        spec.scope = self.scope.unwrap_or(0);
        spec.label.clone_from(&self.label);
        spec.broadcast = self.broadcast;
        spec.peer = self.peer.map(|(peer, _)| peer);
        if let Some((_, prefix_len)) = self.peer {
            spec.prefix_len = prefix_len;
        }
        if self.preferred_lifetime.is_some() {
            spec.preferred_lft = self.preferred_lifetime;
        }
        for (wanted, flag) in [
            (self.home, AddressFlags::Homeaddress),
            (self.manage_temporary, AddressFlags::Managetempaddr),
            (self.no_prefix_route, AddressFlags::Noprefixroute),
            (self.auto_join, AddressFlags::Mcautojoin),
        ] {
            if wanted {
                spec.flags |= flag;
            }
        }
        spec
    }
}

impl From<VirtualAddress<'_>> for PlannedAddress {
    fn from(read: VirtualAddress<'_>) -> Self {
        Self {
            address: read.address,
            prefix_len: read.prefix_len,
            device: read.device.map(str::to_owned),
            label: read.label.map(str::to_owned),
            scope: read.scope,
            broadcast: read.broadcast,
            peer: read.peer,
            preferred_lifetime: read.preferred_lifetime,
            home: read.home,
            no_dad: read.no_dad,
            manage_temporary: read.manage_temporary,
            no_prefix_route: read.no_prefix_route,
            auto_join: read.auto_join,
            no_track: read.no_track,
            use_vmac: read.use_vmac,
        }
    }
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The plan, without what has errors; `None` if the file could not be read at all.
    pub plan: Option<Plan>,
    /// What is to be said about the file. With errors among it, a running agent keeps its old plan.
    pub findings: Findings,
}

/// How a file is read: what the command line adds to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What lines that begin with `@` are for; `None`: the host name up to its first dot.
    pub config_id: Option<String>,
    /// The network namespace to run in, whatever `net_namespace` says.
    pub namespace: Option<String>,
    /// The Virtual Routers are somebody else's.
    pub without_vrrp: bool,
    /// The virtual servers are somebody else's.
    pub without_lvs: bool,
}

/// Reads a file and what it includes, of at most [`source::MOST_BYTES`] together.
pub fn load(file: &Path) -> Loaded {
    load_as(file, &Reading::default())
}

/// As [`load`], in the way that the command line asks for.
pub fn load_as(file: &Path, reading: &Reading) -> Loaded {
    let Loaded { mut plan, findings } = load_whole(file, reading);
    if let Some(plan) = &mut plan {
        if reading.namespace.is_some() {
            plan.namespace.clone_from(&reading.namespace);
        }
        if reading.without_vrrp {
            plan.routers.clear();
            plan.groups.clear();
            plan.statics = StaticPlan::default();
        }
        if reading.without_lvs {
            plan.lvs = LvsPlan::default();
        }
    }
    Loaded { plan, findings }
}

fn load_whole(file: &Path, reading: &Reading) -> Loaded {
    let mut findings = Findings::new(file);
    let plan = match source::read(file, reading.config_id.as_deref()) {
        Ok(source) => {
            findings.set_lines(source.lines);
            findings.add_problems(source.problems);
            judge::judge(&source.text, &mut findings);
            Some(plan(&source.text, &mut findings))
        }
        Err((place, problem)) => {
            findings.add_text(place, Severity::Error, problem);
            None
        }
    };
    Loaded { plan, findings }
}

/// The plan of a file's bytes, which include no other; `None` if they are no text.
pub fn parse(bytes: &[u8], findings: &mut Findings) -> Option<Plan> {
    match config::text(bytes) {
        Ok(text) => Some(plan(text, findings)),
        Err(diagnostic) => {
            findings.add(diagnostic);
            None
        }
    }
}

fn plan<'a>(text: &'a str, findings: &mut Findings) -> Plan {
    let mut statements = Vec::new();
    let mut room = Room::of(MOST_STATEMENTS, "blocks and other statements");
    let mut note = |statement: Statement<'a>| {
        if room.take(statement.keyword.place) {
            statements.push(statement);
        }
    };
    let config = Config::parse_noting(text, &mut |diagnostic| findings.add(diagnostic), &mut note);
    room.judge(&mut Reader::new(findings));
    let unleased = Flagged::read("no_lease", &statements, findings);
    let everywhere = Flagged::read("use_vmac_addr", &statements, findings);
    let scripts = Scripts::of(&statements, &mut Reader::new(findings));
    let authentications = Authentications::read(&statements, &mut Reader::new(findings));
    let notifications = Notifications::read(&statements, &scripts, &mut Reader::new(findings));
    let routings = Routings::read(&statements, config.globals.default_interface, &mut Reader::new(findings));
    let asked = Asked::read(&statements, &mut Reader::new(findings));
    // Those that were read are no statements any more.
    for statement in statements.iter().filter(|statement| statement.keyword.text.starts_with("include")) {
        let problem = "nothing is included: a file is looked for before anything is put into its line";
        findings.add_text(statement.keyword.place, Severity::Error, problem);
    }
    let mut seen = Seen::default();
    let mut room = Room::new("virtual addresses");
    let mut routers = Vec::new();
    let mut instances = config.instances();
    while let Some(instance) = instances.next(&mut |diagnostic| findings.add(diagnostic)) {
        // The name of an instance that is left out is not free again: nothing shall move because of an error.
        match instance {
            Ok(instance) => {
                if let Some(duplicate) = seen.instance(&instance) {
                    findings.add(duplicate);
                } else if let Ok(hmac) = authentications.of(&instance, &mut Reader::new(findings)) {
                    let mut router = planned(&instance, !unleased.has(instance.name), &mut room, findings);
                    router.hmac = hmac;
                    if everywhere.has(instance.name) {
                        router
                            .addresses
                            .iter_mut()
                            .chain(&mut router.excluded)
                            .for_each(|address| address.use_vmac = true);
                    }
                    router.notified = notifications.of_instance(instance.name);
                    router.routing = routings.of_instance(instance.name);
                    router.promote_secondaries = routings.promotes(instance.name);
                    router.options = asked.of(&router, &mut Reader::new(findings));
                    routers.push(Arc::new(router));
                }
            }
            Err(left_out) => {
                seen.names.entry(left_out.name).or_insert(left_out.place);
            }
        }
    }
    room.judge(&mut Reader::new(findings));
    radv::read(&statements, &mut routers, &mut Reader::new(findings));
    let mut groups = groups::read(&config, &seen.names, &mut routers, findings);
    for group in &mut groups {
        group.notified = notifications.of_group(&group.name);
    }
    notifications.tell_priorities(&mut routers, &groups);
    let lvs = grammar::read(&statements, &scripts, findings);
    let mut tracking = tracking::read(&statements, &scripts, &routers, &groups, &routings, findings);
    if tracking.tls_checks().next().is_some() {
        tracking.tls = lvs.tls.clone();
    }
    let delays = asked.delays(routers.iter().map(|router| &**router), &mut Reader::new(findings));
    let pacing = pacing::read(&statements, &mut Reader::new(findings));
    let notify = Arc::new(notifications.plan);
    let urgency = Arc::new(urgency::read(&statements, &mut Reader::new(findings)));
    let globals = planned_globals(&config.globals, &statements, findings);
    let statics = routings.statics;
    let globals = PlannedGlobals { delay_after_boot: asked.delay_after_boot(), ..globals };
    let namespace = namespace::read(&statements, &mut Reader::new(findings));
    Plan { globals, routers, groups, delays, pacing, tracking, lvs, notify, urgency, statics, namespace }
}

/// What instances may not share.
#[derive(Default)]
struct Seen<'a> {
    names: HashMap<&'a str, Place>,
    identities: HashMap<(&'a str, Family, Vrid), (&'a str, Place)>,
}

impl<'a> Seen<'a> {
    /// Remembers an instance, or says why it may not be there.
    fn instance(&mut self, instance: &Instance<'a>) -> Option<Diagnostic<'a>> {
        let Instance { name, place, interface, .. } = *instance;
        let error = |message| Some(Diagnostic { place, severity: Severity::Error, message });
        let Entry::Vacant(free_name) = self.names.entry(name) else {
            return error(Message::DuplicateName { name });
        };
        let identity = (interface, instance.settings.family, instance.settings.vrid);
        match self.identities.entry(identity) {
            Entry::Occupied(taken) => {
                let (other, place) = *taken.get();
                error(Message::DuplicateRouter { other, place })
            }
            Entry::Vacant(free) => {
                free.insert((name, place));
                free_name.insert(place);
                None
            }
        }
    }
}

fn planned<'a>(instance: &Instance<'a>, lease: bool, room: &mut Room, findings: &mut Findings) -> PlannedRouter {
    // The same link-local address may be wanted on several interfaces.
    let mut seen = HashSet::new();
    let mut once = |read: &VirtualAddress<'a>| {
        if room.is_over() {
            return false;
        }
        let new = seen.insert((read.address, read.device));
        if !new {
            let message = Message::DuplicateAddress { value: read.text };
            findings.add(Diagnostic { place: read.place, severity: Severity::Warning, message });
        }
        new && room.take(read.place)
    };
    let addresses = instance.addresses().filter(&mut once).map(PlannedAddress::from).collect();
    let excluded = instance.excluded().filter(&mut once).map(PlannedAddress::from).collect();
    let mut peers = Vec::new();
    for peer in instance.peers() {
        if !peers.contains(&peer) {
            peers.push(peer);
        }
    }
    PlannedRouter {
        name: instance.name.to_owned(),
        interface: instance.interface.to_owned(),
        settings: instance.settings,
        virtual_mac: instance.virtual_mac.map(|read| PlannedVirtualMac {
            name: read.name.map(str::to_owned),
            mac: read.mac,
            transmit_from_base: read.transmit_from_base,
        }),
        addresses,
        excluded,
        lease,
        notified: None,
        options: PortOptions::default(),
        tells_priority: false,
        peers,
        hmac: None,
        router_advertisements: None,
        routing: None,
        promote_secondaries: false,
    }
}

fn planned_globals(read: &Globals<'_>, statements: &[Statement<'_>], findings: &mut Findings) -> PlannedGlobals {
    let mut local_igmp = true;
    let mut vmac_addr_prefix = None;
    for statement in statements.iter().filter(|statement| statement.keyword.text == "global_defs") {
        local_igmp &= !says(statement, "disable_local_igmp", findings);
        let mut body = statement.body;
        while let Some(entry) = body.as_mut().and_then(|body| body.next(&mut |_| {})) {
            if entry.keyword.text == "vmac_addr_prefix" {
                // `PREFIX6.255.` and the number of an interface have to be the name of one.
                let parse = |text| value::interface(text).filter(|prefix| prefix.len() <= 8);
                let mut reader = Reader::new(findings);
                vmac_addr_prefix =
                    reader.defaulted(&entry, "1 to 8 characters", Used::Nothing, parse).or(vmac_addr_prefix);
            }
        }
    }
    PlannedGlobals {
        local_igmp,
        router_id: read.router_id.map(str::to_owned),
        startup_delay: read.startup_delay,
        delay_after_boot: Duration::ZERO,
        default_interface: read.default_interface.to_owned(),
        vmac_prefix: read.vmac_prefix.to_owned(),
        vmac_addr_prefix: vmac_addr_prefix.unwrap_or(read.vmac_prefix).to_owned(),
    }
}
