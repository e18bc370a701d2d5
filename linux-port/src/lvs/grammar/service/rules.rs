//! The rules between the keywords of a `virtual_server`: defaults, families, ports, what cancels what.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use steadfast_core::config::diagnostic::{Short, Used};
use steadfast_core::config::statement::Statement;
use steadfast_core::config::{Message, Place};
use steadfast_core::types::Family;

use crate::grammar::reader::Reader;
use crate::ipvs::row::{DestinationKey, Forwarding, Persistence, Protocol, ServiceKey};

use super::super::super::plan::{RealServer, SorryServer, VirtualServer};
use super::super::group::{What, between};
use super::super::server::{Endpoint, Inherited, ServerDraft};
use super::{Draft, MOST_DESTINATIONS, MOST_SERVICES, SCHEDULER, Services, Taken, Target, name, scheduler_flags};

/// How long persistence lasts that says nothing else, in seconds: ipvsadm's too.
pub(super) const PERSISTENCE: u32 = 360;

/// Entries of the kernel's table before the family of marks is known: what a group is, and a lone service too.
struct Entries {
    list: Vec<(Place, What)>,
    /// The first port of addresses, and whether there are others.
    port: Option<u16>,
    has_other_ports: bool,
    /// The first family that is said, of addresses and of marks, and whether there is another.
    family: Option<Family>,
    has_both_families: bool,
}

impl Entries {
    /// Of a target; `None` after an error.
    fn of(target: &Target<'_>, services: &mut Services<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match *target {
            Target::Address(Endpoint { place, address, port, .. }) => {
                Some(Self::new(vec![(place, What::Addresses { first: address, last: address, port })]))
            }
            Target::Mark(place, mark) => Some(Self::new(vec![(place, What::Mark { mark, family: None })])),
            Target::Group(place, name) => {
                let Some(group) = services.definitions.groups.get(name) else {
                    let name = Short(name);
                    reader.error(place, format_args!("there is no virtual_server_group `{name}`"));
                    return None;
                };
                if group.has_errors || group.entries.is_empty() {
                    let at = reader.name_of(group.place);
                    let what = if group.has_errors { "has errors" } else { "is empty" };
                    let name = Short(name);
                    reader.error(place, format_args!("the virtual_server_group `{name}` at {at} {what}"));
                    return None;
                }
                services.entries = services.entries.saturating_add(group.entries.len());
                if services.entries > MOST_SERVICES {
                    let message = format_args!("the groups have more than {MOST_SERVICES} entries, each use counted");
                    reader.error(place, message);
                    return None;
                }
                Some(Self::new(group.entries.iter().map(|entry| (entry.place, entry.what)).collect()))
            }
        }
    }

    fn new(list: Vec<(Place, What)>) -> Self {
        let mut entries = Self { list, port: None, has_other_ports: false, family: None, has_both_families: false };
        for &(_, what) in &entries.list {
            let (port, family) = match what {
                What::Addresses { first, port, .. } => (Some(port), Some(Family::of(&first))),
                What::Mark { family, .. } => (None, family),
            };
            entries.has_other_ports |= port.is_some_and(|port| *entries.port.get_or_insert(port) != port);
            entries.has_both_families |= family.is_some_and(|family| *entries.family.get_or_insert(family) != family);
        }
        entries
    }

    fn has_addresses(&self) -> bool {
        self.list.iter().any(|(_, what)| matches!(what, What::Addresses { .. }))
    }

    fn has_marks(&self) -> bool {
        self.list.iter().any(|(_, what)| matches!(what, What::Mark { .. }))
    }

    /// Whether there are addresses with all their ports.
    fn has_all_ports(&self) -> bool {
        self.list.iter().any(|(_, what)| matches!(what, What::Addresses { port: 0, .. }))
    }
}

impl Draft {
    /// Applies the rules between keywords. `None` if there is nothing to balance, or after an error.
    pub(super) fn finish(
        mut self,
        statement: &Statement<'_>,
        target: &Target<'_>,
        services: &mut Services<'_>,
        reader: &mut Reader<'_>,
    ) -> Option<VirtualServer> {
        let place = statement.keyword.place;
        let entries = Entries::of(target, services, reader)?;
        let forwarding = self.forwarding.unwrap_or(Forwarding::Masquerade);
        let protocol = self.protocol(place, &entries, reader);
        let family = self.family_of(place, &entries, forwarding, reader)?;
        let keys = keys(&entries, protocol, family, place, services, reader)?;
        let servers = self.servers(&entries, forwarding, family, services, reader);
        let sorry = self.sorry(&entries, forwarding, family, services, reader);
        if servers.is_empty() && sorry.is_none() && !reader.has_errors() {
            reader.warning(place, "the virtual server has no real servers; it is left out");
            return None;
        }
        let each = servers.len().saturating_add(usize::from(sorry.is_some()));
        services.destinations = services.destinations.saturating_add(keys.len().saturating_mul(each));
        if services.destinations > MOST_DESTINATIONS {
            let message = format_args!(
                "the file stands for more than {MOST_DESTINATIONS} real servers, each counted for each of its services"
            );
            reader.error(place, message);
            return None;
        }
        let (quorum, hysteresis) = self.quorum(&servers, reader);
        let scheduler = self.scheduler.unwrap_or(SCHEDULER);
        let one_packet = protocol == Protocol::Udp || !entries.has_addresses();
        if let Some(place) = self.ha_suspend
            && entries.has_marks()
        {
            reader.no_effect(place, "ha_suspend", "a mark is on no interface");
            self.ha_suspend = None;
        }
        Some(VirtualServer {
            name: name(statement),
            keys,
            scheduler: scheduler.into(),
            flags: scheduler_flags(&self.flags, scheduler, one_packet, reader),
            persistence: self.persistence(place, &entries, family, reader),
            quorum,
            hysteresis,
            quorum_up: self.quorum_up,
            quorum_down: self.quorum_down,
            sorry,
            alpha: self.common.alpha(),
            omega: self.omega,
            mail: self.mail.or(services.definitions.globals.mail()).unwrap_or(false),
            ha_suspend: self.ha_suspend.is_some(),
            servers,
        })
    }

    fn protocol(&self, place: Place, entries: &Entries, reader: &mut Reader<'_>) -> Protocol {
        match self.protocol {
            Some((place, _)) if !entries.has_addresses() => {
                let because = "a mark may have packets of all protocols";
                reader.notice(place, Message::NoEffect { keyword: "protocol", because });
                Protocol::Udp
            }
            Some((_, protocol)) => protocol,
            None => {
                if entries.has_addresses() {
                    reader.warning(place, "without `protocol`, the virtual server is for UDP");
                }
                Protocol::Udp
            }
        }
    }

    /// The family of the service, and of its marks where they do not say it. With addresses of both families, which
    /// only tunnels can serve, it is that of the first.
    fn family_of(
        &self,
        place: Place,
        entries: &Entries,
        forwarding: Forwarding,
        reader: &mut Reader<'_>,
    ) -> Option<Family> {
        let tunnelled = |server: &ServerDraft| is_tunnel(server.forwarding.unwrap_or(forwarding));
        let (first, are_both) = (entries.family, entries.has_both_families);
        if are_both && !self.servers.iter().all(tunnelled) {
            reader.error(place, "only tunnels can take IPv4 and IPv6 to the same real servers");
            return None;
        }
        if let (Some(first), Some(family)) = (first, self.family)
            && !are_both
            && first != family
        {
            reader.no_effect(place, "ip_family", "the addresses tell the family");
        }
        let granularity = self.granularity.map(|(_, granularity)| granularity.family);
        let of = |server: &ServerDraft| Family::of(&server.endpoint.address);
        let plain = || self.servers.iter().find(|server| !tunnelled(server)).map(of);
        // All tunnels lead to one family, or it is IPv4.
        let six = || !self.servers.is_empty() && self.servers.iter().all(|server| of(server) == Family::V6);
        let guess = || if six() { Family::V6 } else { Family::V4 };
        Some(first.or(self.family).or(granularity).or_else(plain).unwrap_or_else(guess))
    }

    /// The real servers: of the right family, on the right port, each once.
    fn servers(
        &mut self,
        entries: &Entries,
        forwarding: Forwarding,
        family: Family,
        services: &Services<'_>,
        reader: &mut Reader<'_>,
    ) -> Vec<Arc<RealServer>> {
        let inherited = Inherited {
            common: &self.common,
            weight: self.weight.unwrap_or(1),
            forwarding,
            inhibit_on_failure: self.inhibit_on_failure,
            upper_threshold: self.upper_threshold,
            lower_threshold: self.lower_threshold,
            log_all_failures: services.definitions.globals.log_all_failures,
            // As with keepalived: of a server, unless it is said that not; of a quorum, if it is said.
            mail: services.definitions.globals.mail().unwrap_or(true),
        };
        let mut seen = BTreeSet::new();
        let mut servers = Vec::with_capacity(self.servers.len());
        for draft in self.servers.drain(..) {
            let method = draft.forwarding.unwrap_or(forwarding);
            let endpoint = draft.endpoint;
            let Some(key) = destination("real_server", &endpoint, method, entries, family, services, reader) else {
                continue;
            };
            if !seen.insert(key) {
                let message = format_args!("the real server {key} is there already; it is used once");
                reader.warning(endpoint.place, message);
                continue;
            }
            // Where no packet's port is changed, none is written, but a check has to go somewhere.
            let ports = [key.port, endpoint.port, entries.port.unwrap_or(0)];
            let checked = ports.into_iter().find(|&port| port != 0).unwrap_or(0);
            servers.push(Arc::new(draft.finish(key, SocketAddr::new(key.address, checked), &inherited, reader)));
        }
        servers
    }

    fn sorry(
        &self,
        entries: &Entries,
        forwarding: Forwarding,
        family: Family,
        services: &Services<'_>,
        reader: &mut Reader<'_>,
    ) -> Option<SorryServer> {
        let Some(endpoint) = &self.sorry else {
            let without = "there is no `sorry_server`";
            if let Some(place) = self.sorry_inhibit {
                reader.no_effect(place, "sorry_server_inhibit", without);
            }
            if let Some((place, _)) = self.sorry_forwarding {
                reader.no_effect(place, "sorry_server_lvs_method", without);
            }
            return None;
        };
        let forwarding = self.sorry_forwarding.map_or(forwarding, |(_, method)| method);
        let key = destination("sorry_server", endpoint, forwarding, entries, family, services, reader)?;
        Some(SorryServer { key, forwarding, inhibit: self.sorry_inhibit.is_some() })
    }

    /// A quorum that can be reached, and a hysteresis below it.
    fn quorum(&self, servers: &[Arc<RealServer>], reader: &mut Reader<'_>) -> (u32, u32) {
        let total = servers.iter().map(|server| u64::from(server.weight)).sum::<u64>();
        let total = u32::try_from(total).unwrap_or(u32::MAX);
        let mut quorum = self.quorum.map_or(1, |(_, quorum)| quorum);
        if let Some((place, given)) = self.quorum
            && given > total
        {
            quorum = total;
            let message =
                format_args!("`quorum` {given} is more than all real servers weigh together; {total} is used");
            reader.warning(place, message);
        }
        quorum = quorum.min(total);
        let most = quorum.saturating_sub(1);
        let mut hysteresis = self.hysteresis.map_or(0, |(_, hysteresis)| hysteresis);
        if let Some((place, given)) = self.hysteresis
            && given > most
        {
            hysteresis = most;
            reader.warning(place, format_args!("`hysteresis` {given} has to be below the quorum; {most} is used"));
        } else if let Some((place, given)) = self.hysteresis
            && quorum.saturating_add(given) > total
        {
            let message = "`quorum` and `hysteresis` are together more than all real servers weigh: once lost, the \
                           quorum is never gained again";
            reader.warning(place, message);
        }
        (quorum, hysteresis)
    }

    fn persistence(
        &self,
        place: Place,
        entries: &Entries,
        family: Family,
        reader: &mut Reader<'_>,
    ) -> Option<Persistence> {
        let full = if family == Family::V4 { 32 } else { 128 };
        let mut granularity = None;
        if let Some((place, given)) = self.granularity {
            if given.family == family {
                granularity = Some(given.bits);
            } else {
                reader.no_effect(place, "persistence_granularity", "it is that of the other family");
            }
        }
        let mut timeout = self.timeout.or(granularity.map(|_| PERSISTENCE));
        if timeout.is_none() && entries.has_all_ports() {
            reader
                .warning(place, format_args!("without a port, the virtual server is persistent, for {PERSISTENCE} s"));
            timeout = Some(PERSISTENCE);
        }
        if let (Some((place, _)), None) = (&self.engine, timeout) {
            reader.no_effect(*place, "persistence_engine", "there is no `persistence_timeout`");
        }
        let engine = self.engine.as_ref().map(|(_, name)| name.clone());
        timeout.map(|timeout| Persistence { timeout, granularity: granularity.unwrap_or(full), engine })
    }
}

/// The services of the table that a virtual server stands for, each once; `None` after an error.
fn keys(
    entries: &Entries,
    protocol: Protocol,
    family: Family,
    place: Place,
    services: &mut Services<'_>,
    reader: &mut Reader<'_>,
) -> Option<Vec<ServiceKey>> {
    let count = entries.list.iter().map(|(_, what)| what.count()).fold(0, u128::saturating_add);
    if count > MOST_SERVICES as u128 {
        reader.error(place, format_args!("the virtual server stands for more than {MOST_SERVICES} services"));
        return None;
    }
    let mut keys = Vec::new();
    for &(at, what) in &entries.list {
        let mut add = |key: ServiceKey| {
            match services.take(key, place, reader) {
                Taken::New => keys.push(key),
                Taken::Already => reader.warning(at, format_args!("{key} is there already; it is used once")),
                Taken::Refused => return false,
            }
            true
        };
        let taken = match what {
            What::Mark { mark, family: said } => add(ServiceKey::Mark { mark, family: said.unwrap_or(family) }),
            What::Addresses { first, last, port } => {
                between(first, last).all(|address| add(ServiceKey::Address { protocol, address, port }))
            }
        };
        if !taken {
            return None;
        }
    }
    Some(keys)
}

/// Where a server's packets arrive: of the service's family unless they go through a tunnel, and on the service's own
/// port unless NAT changes it. `None` if it cannot be, which is said.
fn destination(
    keyword: &'static str,
    endpoint: &Endpoint,
    forwarding: Forwarding,
    entries: &Entries,
    family: Family,
    services: &Services<'_>,
    reader: &mut Reader<'_>,
) -> Option<DestinationKey> {
    let mut key = endpoint.key();
    let own = Family::of(&key.address);
    if own != family && !is_tunnel(forwarding) {
        let message =
            format_args!("the {keyword} {} is of another family than the virtual server; it is left out", key.address);
        reader.warning(endpoint.place, message);
        return None;
    }
    if forwarding == Forwarding::Masquerade {
        return Some(key);
    }
    let is_own = |other: Family| other == own;
    let are_own = is_own(family) && entries.family.is_none_or(is_own) && !entries.has_both_families;
    if services.has_sync_daemon && !are_own {
        let message = format_args!(
            "the {keyword} {} is of another family than the virtual server: the kernel has no such server beside a sync \
             daemon, and refuses the one or the other",
            key.address
        );
        reader.warning(endpoint.place, message);
    }
    let given = endpoint.port;
    if !entries.has_other_ports {
        key.port = entries.port.unwrap_or(0);
    }
    if given != 0 && given != key.port && entries.port.is_some() {
        reader.warning(
            endpoint.port_place,
            Message::Substituted {
                keyword,
                value: &given.to_string(),
                expected: "the port of the virtual server, as only NAT changes it",
                used: Used::Number(key.port.into()),
            },
        );
    }
    Some(key)
}

fn is_tunnel(forwarding: Forwarding) -> bool {
    matches!(forwarding, Forwarding::Tunnel(_))
}
