//! `steadfast check --live`: what on this machine and its LANs will make LVS fail, looked at with the plan at hand.
//! Here are the rules: facts in, sentences out. The machine's facts are gathered in `machine`, those of the LANs in
//! `lan`, which sends a few ARP questions and TCP SYNs; nothing is changed.

mod lan;
mod machine;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use steadfast_core::config::Severity;
use steadfast_core::types::{Family, MacAddr};

use crate::ipvs::row::{Forwarding, Protocol, ServiceKey};
use crate::lvs::plan::{RealServer, VirtualServer};
use crate::netlink::{Address, Link};
use crate::plan::Plan;

/// How many names a sentence has at most.
const NAMED: usize = 5;

/// One thing to say: what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// An error is what cannot work; a warning, what probably does not; a notice, what to know.
    pub severity: Severity,
    /// One or two sentences.
    pub message: String,
}

/// What is so on this machine.
struct Facts {
    /// The settings below /proc/sys that rules ask for, as far as there are such.
    settings: BTreeMap<String, u32>,
    modules: Modules,
    /// The interfaces that IPv4's default routes leave by.
    default_routes: BTreeSet<String>,
    addresses: Vec<Address>,
    links: Vec<Link>,
    lan: Result<Lan, String>,
}

/// What the kernel can do, and could.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Modules {
    /// `uname -r`.
    release: String,
    /// Whether IPVS runs: /proc/net/ip_vs is there.
    ipvs: bool,
    /// In the kernel or loaded, with `_` in the name and never `-`.
    present: BTreeSet<String>,
    /// On the disk; `None` if there is no list of them.
    on_disk: Option<BTreeSet<String>>,
    /// Whether there is a modprobe to load them.
    modprobe: bool,
}

/// What answered on the LANs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lan {
    /// Who said to have the addresses that were asked for.
    owners: BTreeMap<Ipv4Addr, BTreeSet<MacAddr>>,
    /// What real servers made of a connection to the virtual address, handed to their MAC address.
    receptions: BTreeMap<(SocketAddrV4, Ipv4Addr), Reception>,
}

/// What became of a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reception {
    Accepted,
    Refused,
    Silent,
}

/// Looks at the machine and its LANs, and says what will make the plan's LVS fail. Takes a few seconds.
pub fn examine(plan: &Plan) -> Vec<Remark> {
    if plan.lvs.services.is_empty() {
        return Vec::new();
    }
    match machine::facts() {
        Ok(mut facts) => {
            facts.lan = lan::explore(&questions(plan, &facts));
            judge(plan, &facts)
        }
        Err(error) => {
            vec![Remark { severity: Severity::Error, message: format!("this machine cannot be looked at: {error}") }]
        }
    }
}

/// What is to be asked on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Questions {
    index: u32,
    mac: MacAddr,
    source: Ipv4Addr,
    servers: BTreeSet<Ipv4Addr>,
    virtuals: BTreeSet<Ipv4Addr>,
    /// Which services are to be tried on which servers.
    connections: BTreeSet<(SocketAddrV4, Ipv4Addr)>,
}

/// The questions about servers with direct routing, by interface.
fn questions(plan: &Plan, facts: &Facts) -> Vec<Questions> {
    let mut questions: BTreeMap<u32, Questions> = BTreeMap::new();
    for service in &plan.lvs.services {
        for server in direct(service) {
            let IpAddr::V4(server) = server.key.address else { continue };
            if facts.is_local(server.into()) {
                continue;
            }
            let Some((link, source)) = facts.link_to(server) else { continue };
            let Some(mac) = link.mac else { continue };
            let entry = questions.entry(link.index).or_insert_with(|| Questions {
                index: link.index,
                mac,
                source,
                servers: BTreeSet::new(),
                virtuals: BTreeSet::new(),
                connections: BTreeSet::new(),
            });
            entry.servers.insert(server);
            for key in &service.keys {
                let ServiceKey::Address { protocol, address: IpAddr::V4(address), port } = *key else { continue };
                entry.virtuals.insert(address);
                if protocol == Protocol::Tcp && port != 0 {
                    entry.connections.insert((SocketAddrV4::new(address, port), server));
                }
            }
        }
    }
    questions.into_values().collect()
}

fn direct(service: &VirtualServer) -> impl Iterator<Item = &Arc<RealServer>> {
    service.servers.iter().filter(|server| server.forwarding == Forwarding::DirectRoute)
}

impl Facts {
    fn setting(&self, key: &str) -> Option<u32> {
        self.settings.get(key).copied()
    }

    fn is_local(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|address| address.ip == ip)
    }

    /// The interface whose network has `ip`, and our address there.
    fn link_to(&self, ip: Ipv4Addr) -> Option<(&Link, Ipv4Addr)> {
        self.addresses.iter().find_map(|address| {
            let IpAddr::V4(own) = address.ip else { return None };
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(address.prefix_len.into())).unwrap_or(0);
            let near = address.prefix_len < 32 && (own.to_bits() ^ ip.to_bits()) & mask == 0 && !own.is_loopback();
            let link = self.links.iter().find(|link| link.index == address.interface)?;
            near.then_some((link, own))
        })
    }
}

/// Everything that the rules have to say, the worst first.
fn judge(plan: &Plan, facts: &Facts) -> Vec<Remark> {
    let mut judge = Judge { plan, facts, remarks: Vec::new() };
    judge.modules();
    judge.forwarding();
    judge.ipvs_settings();
    judge.redirects();
    judge.reverse_paths();
    judge.virtual_addresses();
    judge.neighbours();
    judge.own_servers();
    match &facts.lan {
        Ok(lan) => {
            judge.answers(lan);
            judge.receptions(lan);
        }
        Err(problem) => judge.say(Severity::Notice, format!("the LAN cannot be asked: {problem}")),
    }
    let mut remarks = judge.remarks;
    remarks.sort_by_key(|remark| match remark.severity {
        Severity::Error => 0,
        Severity::Warning => 1,
        Severity::Notice => 2,
    });
    remarks
}

struct Judge<'a> {
    plan: &'a Plan,
    facts: &'a Facts,
    remarks: Vec<Remark>,
}

impl Judge<'_> {
    fn say(&mut self, severity: Severity, message: String) {
        self.remarks.push(Remark { severity, message });
    }

    fn services(&self) -> impl Iterator<Item = &Arc<VirtualServer>> {
        self.plan.lvs.services.iter()
    }

    /// Whether a service has servers that are reached so.
    fn any(&self, of: impl Fn(&VirtualServer, Forwarding) -> bool) -> bool {
        self.services().any(|service| {
            let sorry = service.sorry.as_ref().map(|sorry| sorry.forwarding);
            service.servers.iter().map(|server| server.forwarding).chain(sorry).any(|kind| of(service, kind))
        })
    }

    fn modules(&mut self) {
        let modules = &self.facts.modules;
        if !modules.ipvs && !modules.present.contains("ip_vs") {
            let release = &modules.release;
            let remark = match (&modules.on_disk, modules.modprobe) {
                (Some(disk), true) if disk.contains("ip_vs") => (
                    Severity::Notice,
                    "the kernel's module ip_vs is not loaded; `steadfast run` has it loaded".to_owned(),
                ),
                (Some(disk), false) if disk.contains("ip_vs") => (
                    Severity::Error,
                    "the kernel's module ip_vs is not loaded, and there is no /sbin/modprobe: load it with insmod, or \
                     install kmod"
                        .to_owned(),
                ),
                (Some(_), _) => (
                    Severity::Error,
                    format!(
                        "the kernel {release} has no module ip_vs: install the package with all its modules (such as \
                         linux-modules-extra), or a kernel with IPVS"
                    ),
                ),
                (None, _) => (
                    Severity::Error,
                    format!(
                        "the kernel has no IPVS, and there is no /lib/modules/{release} to load it from: install its \
                         modules; in a container, load ip_vs on the host"
                    ),
                ),
            };
            return self.say(remark.0, remark.1);
        }
        let schedulers = self.services().map(|service| format!("ip_vs_{}", service.scheduler));
        let engines = self.services().filter_map(|service| service.persistence.as_ref()?.engine.as_ref());
        let wanted: BTreeSet<String> = schedulers.chain(engines.map(|engine| format!("ip_vs_pe_{engine}"))).collect();
        for module in wanted {
            let modules = &self.facts.modules;
            let there = modules.present.contains(&module);
            let loadable = modules.on_disk.as_ref().is_some_and(|disk| disk.contains(&module));
            if !there && loadable && !modules.modprobe {
                let message = format!(
                    "the kernel's module {module} is not loaded, and there is no /sbin/modprobe for the kernel to load \
                     it with: load it with insmod, or install kmod"
                );
                self.say(Severity::Error, message);
            } else if !there && !loadable {
                let message = format!(
                    "the kernel {} has no module {module}: install the package with all its modules (such as \
                     linux-modules-extra)",
                    modules.release
                );
                self.say(Severity::Error, message);
            }
        }
    }

    /// NAT: the answers of servers pass through this machine as through a router.
    fn forwarding(&mut self) {
        for (family, key) in [(Family::V4, "net/ipv4/ip_forward"), (Family::V6, "net/ipv6/conf/all/forwarding")] {
            let nat = self.any(|service, kind| {
                kind == Forwarding::Masquerade && service.keys.iter().any(|service| service.family() == family)
            });
            if nat && self.facts.setting(key) == Some(0) {
                let name = key.replace('/', ".");
                let message = format!(
                    "{name} is 0: with NAT the answers of real servers are dropped here; set `sysctl -w {name}=1` \
                     (direct routing does not need it)"
                );
                self.say(Severity::Error, message);
            }
        }
    }

    /// `net.ipv4.vs.*`, as far as it hurts what is configured.
    fn ipvs_settings(&mut self) {
        let setting = |name: &str| self.facts.setting(&format!("net/ipv4/vs/{name}"));
        let mut remarks = Vec::new();
        if setting("expire_nodest_conn") == Some(0)
            && self.services().any(|service| service.servers.iter().any(|server| !server.inhibit_on_failure))
        {
            remarks.push((
                Severity::Notice,
                "net.ipv4.vs.expire_nodest_conn is 0: packets of connections to a server that was removed are dropped \
                 in silence until the connections expire; with 1 they end at once and clients try another server",
            ));
        }
        if setting("expire_quiescent_template") == Some(0)
            && self.services().any(|service| service.persistence.is_some())
        {
            remarks.push((
                Severity::Warning,
                "net.ipv4.vs.expire_quiescent_template is 0: with persistence, clients stay with a server of weight 0 \
                 (inhibit_on_failure, `steadfast server drain`) also for new connections; set it to 1",
            ));
        }
        if setting("conntrack") == Some(0)
            && self.facts.modules.present.contains("nf_conntrack")
            && self.any(|_, kind| kind == Forwarding::Masquerade)
        {
            remarks.push((
                Severity::Notice,
                "net.ipv4.vs.conntrack is 0: firewall rules with connection tracking (state, SNAT, MASQUERADE) do not \
                 see balanced connections; set it to 1 if you have such rules for them",
            ));
        }
        for (severity, message) in remarks {
            self.say(severity, message.into());
        }
    }

    /// One-armed NAT: servers and clients on one LAN are told by ICMP to talk past this machine.
    fn redirects(&mut self) {
        let mut told = BTreeSet::new();
        for service in self.plan.lvs.services.iter() {
            for server in service.servers.iter().filter(|server| server.forwarding == Forwarding::Masquerade) {
                let IpAddr::V4(server) = server.key.address else { continue };
                let Some((link, _)) = self.facts.link_to(server) else { continue };
                let one_armed = service.keys.iter().any(|key| match *key {
                    ServiceKey::Address { address: IpAddr::V4(address), .. } => {
                        self.facts.link_to(address).is_some_and(|(other, _)| other.index == link.index)
                    }
                    _ => false,
                });
                let sends = ["all", &link.name]
                    .iter()
                    .any(|name| self.facts.setting(&format!("net/ipv4/conf/{name}/send_redirects")) == Some(1));
                if one_armed && sends && told.insert(link.index) {
                    let name = &link.name;
                    let message = format!(
                        "virtual and real servers of NAT share the LAN of {name}, and net.ipv4.conf.{name}.send_redirects \
                         is on: real servers are told to answer clients directly, which breaks connections; set \
                         net.ipv4.conf.all.send_redirects and net.ipv4.conf.{name}.send_redirects to 0"
                    );
                    self.remarks.push(Remark { severity: Severity::Warning, message });
                }
            }
        }
    }

    /// Clients' packets that come in where their answers would not go out.
    fn reverse_paths(&mut self) {
        if self.facts.default_routes.is_empty() {
            return;
        }
        let mut names: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
        let services: BTreeSet<IpAddr> = self
            .services()
            .flat_map(|service| &service.keys)
            .filter_map(|key| match *key {
                ServiceKey::Address { address, .. } => Some(address),
                ServiceKey::Mark { .. } => None,
            })
            .collect();
        for router in &self.plan.routers {
            for address in router.all_addresses() {
                let interface = address.device.as_deref().unwrap_or(&router.interface);
                let of = |name: &str| self.facts.setting(&format!("net/ipv4/conf/{name}/rp_filter"));
                let strict = of("all").max(of(interface)) == Some(1);
                let here = address.address.is_ipv4() && services.contains(&address.address);
                if here && strict && !self.facts.default_routes.contains(interface) {
                    names.entry(interface).or_default().insert(address.address);
                }
            }
        }
        let routes = self.facts.default_routes.iter().cloned().collect::<Vec<_>>().join(", ");
        let messages = names.into_iter().map(|(interface, addresses)| {
            format!(
                "net.ipv4.conf.{interface}.rp_filter is 1 and the default route leaves by {routes}: packets for {} from \
                 clients that have no route by {interface} are dropped; set it, and that of `all`, to 0 or 2",
                list(&addresses)
            )
        });
        for message in messages.collect::<Vec<_>>() {
            self.say(Severity::Warning, message);
        }
    }

    fn virtual_addresses(&mut self) {
        let held: BTreeSet<IpAddr> =
            self.plan.routers.iter().flat_map(|router| router.all_addresses()).map(|address| address.address).collect();
        let mut lost = BTreeSet::new();
        for service in self.services() {
            for key in &service.keys {
                if let ServiceKey::Address { address, .. } = *key
                    && !held.contains(&address)
                    && !self.facts.is_local(address)
                {
                    lost.insert(address);
                }
            }
        }
        if !lost.is_empty() {
            let (names, have) = (list(&lost), if lost.len() == 1 { "is" } else { "are" });
            let message = format!(
                "{names} {have} in no vrrp_instance and not on this machine: unless a router sends such packets here, \
                 nobody gets them; add a virtual_ipaddress"
            );
            self.say(Severity::Warning, message);
        }
    }

    /// Direct routing hands frames to the MAC address of a neighbour.
    fn neighbours(&mut self) {
        let far: BTreeSet<IpAddr> = self
            .services()
            .flat_map(|service| direct(service))
            .map(|server| server.key.address)
            .filter(|address| !self.facts.is_local(*address))
            .filter(|address| matches!(address, IpAddr::V4(address) if self.facts.link_to(*address).is_none()))
            .collect();
        if !far.is_empty() {
            let message = format!(
                "direct routing reaches neighbours only, and no network of this machine has {}: use lvs_method TUN, or put \
                 the real servers on one LAN with this machine",
                list(&far)
            );
            self.say(Severity::Error, message);
        }
    }

    /// Directors that are real servers as well.
    fn own_servers(&mut self) {
        let own: BTreeSet<IpAddr> = self
            .services()
            .flat_map(|service| direct(service))
            .map(|server| server.key.address)
            .filter(|address| self.facts.is_local(*address))
            .collect();
        if own.is_empty() || self.plan.routers.is_empty() {
            return;
        }
        let names = list(&own);
        let synced = self.plan.lvs.sync_daemon.is_some();
        let only = self.facts.setting("net/ipv4/vs/backup_only").is_some_and(|value| value != 0);
        let missing = match (only, synced) {
            (true, true) => return,
            (false, true) => "set `sysctl -w net.ipv4.vs.backup_only=1` on both",
            (true, false) => "net.ipv4.vs.backup_only works only with lvs_sync_daemon: configure it on both",
            (false, false) => {
                "configure lvs_sync_daemon and set `sysctl -w net.ipv4.vs.backup_only=1` on both, or let a firewall mark \
                 only packets that do not come from the other director, and balance by `virtual_server fwmark`"
            }
        };
        let message = format!(
            "{names} is this machine, which is a real server and, with its vrrp_instance, a director: while it is Backup \
             it balances what the Active sends it once more, and packets bounce between the two; {missing}"
        );
        self.say(Severity::Warning, message);
    }

    /// Who answers ARP.
    fn answers(&mut self, lan: &Lan) {
        let silent: BTreeSet<IpAddr> =
            self.asked().filter(|server| !lan.owners.contains_key(server)).map(IpAddr::V4).collect();
        if !silent.is_empty() {
            let message = format!(
                "nobody answers ARP for {}: direct routing cannot reach a real server that is down, or not on the LAN",
                list(&silent)
            );
            self.say(Severity::Warning, message);
        }
        for (address, owners) in &lan.owners {
            if owners.len() > 1 {
                let owners: Vec<_> = owners.iter().map(MacAddr::to_string).collect();
                let message =
                    format!("{address} is had by {} at once: give each machine its own", owners.join(" and "));
                self.say(Severity::Error, message);
            }
        }
        let mut servers: BTreeMap<MacAddr, Ipv4Addr> = BTreeMap::new();
        for server in self.asked() {
            servers.extend(lan.owners.get(&server).into_iter().flatten().map(|mac| (*mac, server)));
        }
        let mutual = self.services().flat_map(|service| direct(service)).any(|s| self.facts.is_local(s.key.address));
        for address in self.virtuals() {
            let owners = lan.owners.get(&address).into_iter().flatten();
            for (mac, server) in owners.map(|mac| (*mac, servers.get(mac).copied())).collect::<Vec<_>>() {
                match server {
                    // With directors that are real servers, that may just be the Active.
                    Some(server) if mutual && !self.facts.is_local(address.into()) => self.say(
                        Severity::Notice,
                        format!("the real server {server} answers ARP for {address}: right only if it is the Active"),
                    ),
                    Some(server) => self.say(
                        Severity::Error,
                        format!(
                            "the real server {server} ({mac}) answers ARP for {address}: clients that hear it talk past the \
                             director; run `steadfast real-server --vip {address}` there, or set arp_ignore=1 and \
                             arp_announce=2"
                        ),
                    ),
                    None if self.facts.is_local(address.into()) => self.say(
                        Severity::Error,
                        format!(
                            "{address} is on this machine, and {mac} answers ARP for it too: there are two Actives, or a \
                             machine with a leftover"
                        ),
                    ),
                    // The Active, which is another machine.
                    None => {}
                }
            }
        }
    }

    /// Whether real servers take packets for the virtual address.
    fn receptions(&mut self, lan: &Lan) {
        let mut silent: BTreeMap<SocketAddr, BTreeSet<IpAddr>> = BTreeMap::new();
        let mut refused = silent.clone();
        for ((service, server), reception) in &lan.receptions {
            let list = match reception {
                Reception::Accepted => continue,
                Reception::Silent => &mut silent,
                Reception::Refused => &mut refused,
            };
            list.entry(SocketAddr::V4(*service)).or_default().insert(IpAddr::V4(*server));
        }
        for (service, servers) in silent {
            let message = format!(
                "{} does not answer a connection to {service} that is handed to it: it does not have the address, or a \
                 firewall or rp_filter there drops it; run `steadfast real-server --vip {}` there",
                list(&servers),
                service.ip()
            );
            self.say(Severity::Warning, message);
        }
        for (service, servers) in refused {
            let message = format!(
                "{} takes packets for {service} but nobody listens there: have the service listen on the virtual address, \
                 or on all",
                list(&servers)
            );
            self.say(Severity::Warning, message);
        }
    }

    /// The servers that were asked for.
    fn asked(&self) -> impl Iterator<Item = Ipv4Addr> {
        questions(self.plan, self.facts).into_iter().flat_map(|questions| questions.servers)
    }

    fn virtuals(&self) -> BTreeSet<Ipv4Addr> {
        questions(self.plan, self.facts).into_iter().flat_map(|questions| questions.virtuals).collect()
    }
}

/// `a, b, c and 7 more`.
fn list(addresses: &BTreeSet<IpAddr>) -> String {
    let names: Vec<_> = addresses.iter().take(NAMED).map(IpAddr::to_string).collect();
    let more = addresses.len().saturating_sub(NAMED);
    let names = names.join(", ");
    if more == 0 { names } else { format!("{names} and {more} more") }
}
