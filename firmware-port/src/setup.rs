//! From the text of a keepalived.conf to the Virtual Routers of a node. The grammar is the core's; here is what shows
//! only when all of the text is seen together and beside the board: names and VRIDs that are there twice, interfaces
//! that the board does not have, and whether there is room. No memory is needed for it: the text is read again
//! wherever something is asked of it, and a text of more Virtual Routers than there is room for is not read further.
//! What Linux does with the same findings, with tables that grow, is in its `plan`.
//!
//! A text is judged first ([`check`]), and put in force when it has no errors ([`apply`]). The functions below them are
//! kept apart (`inline(never)`): in one piece the compiler makes 1.5 KiB more of them, and a deeper stack.

use core::net::IpAddr;

use heapless::Vec;
use steadfast_core::agent::{AddError, InterfaceId, RouterConfig, RouterId};
use steadfast_core::config::{Config, Diagnostic, Instance, Message, Place, Severity, SyncGroup};
use steadfast_core::storage::{Storage, Table};
use steadfast_core::time::Instant;

use crate::hardware::NetworkHardware;
use crate::node::Node;

/// The most addresses of one Virtual Router, advertised or not.
const MOST_ADDRESSES: usize = 32;

/// What the interfaces of the board are called in a configuration.
pub type Ports<'p> = [(&'p str, InterfaceId)];

/// Judges a text for this node; whether it has no errors, so that [`apply`] can put it in force. Nothing changes.
pub fn check<'t, S: Storage, const I: usize>(
    node: &Node<S, I>,
    ports: &Ports<'_>,
    text: &'t str,
    report: &mut dyn FnMut(Diagnostic<'t>),
) -> bool {
    let mut good = true;
    let mut say = |diagnostic: Diagnostic<'t>| {
        good &= diagnostic.severity != Severity::Error;
        report(diagnostic);
    };
    let config = Config::parse(text, &mut say);
    let capacity = node.agent().capacity();
    let mut instances = config.instances();
    let (mut count, mut addresses): (usize, usize) = (0, 0);
    while let Some(instance) = instances.next(&mut say) {
        let place = match instance {
            Ok(instance) => {
                check_instance(&config, &instance, count, ports, &mut say);
                addresses = addresses.saturating_add(check_addresses(&instance, &mut say));
                instance.place
            }
            Err(left_out) => left_out.place,
        };
        count = count.saturating_add(1);
        if count > capacity.routers {
            error(place, "there is no room for so many virtual routers", &mut say);
            return false;
        }
    }
    if addresses > capacity.addresses {
        error(Place::START, "there is no room for so many addresses", &mut say);
    }
    check_groups(&config, capacity.groups, &mut say);
    good
}

/// Puts a text without errors in force: Virtual Routers that it does not have are handed over and taken out, those
/// that are there get their new settings and addresses, new ones are added, in its order. Whether that is done: if not
/// it is to be called again after the next poll, because some have to go before there is room for others. `named` is
/// told what each Virtual Router is called.
pub fn apply<S: Storage, const I: usize>(
    node: &mut Node<S, I>,
    now: Instant,
    ports: &Ports<'_>,
    text: &str,
    hardware: &mut impl NetworkHardware,
    named: &mut dyn FnMut(RouterId, &str),
) -> bool {
    let config = Config::parse(text, &mut |_| {});
    node.set_startup_delay(now, config.globals.startup_delay);
    let mut done = true;
    // First those that go: their addresses may be wanted, and their room.
    for n in 0..node.agent().capacity().routers {
        let Some(router) = node.agent().routers().nth(n) else { break };
        let stays = each(&config).any(|instance| existing(node, ports, &instance) == Some(router));
        if !stays {
            node.remove(now, router);
            done = false;
        }
    }
    for instance in each(&config) {
        match put(node, now, ports, &instance, hardware) {
            Ok(router) => named(router, instance.name),
            Err(Some(other)) => {
                node.remove(now, other);
                done = false;
            }
            Err(None) => done = false,
        }
    }
    regroup(node, now, ports, &config);
    done
}

/// Adds or reconfigures a Virtual Router. `Err(Some)`: that one has to go first; `Err(None)`: there is no room yet.
#[inline(never)]
fn put<S: Storage, const I: usize>(
    node: &mut Node<S, I>,
    now: Instant,
    ports: &Ports<'_>,
    instance: &Instance<'_>,
    hardware: &mut impl NetworkHardware,
) -> Result<RouterId, Option<RouterId>> {
    let interface = find(ports, instance.interface).ok_or(None)?;
    let mut all = Vec::new();
    fill(&mut all, instance.addresses().map(|read| read.address));
    let advertised = all.len();
    fill(&mut all, instance.excluded().map(|read| read.address));
    let (addresses, excluded) = all.split_at_checked(advertised).ok_or(None)?;
    let config = RouterConfig { interface, settings: instance.settings, addresses, excluded, peers: &[] };
    match existing(node, ports, instance) {
        None => node.add(now, &config).map_err(|_| None),
        Some(router) => match node.reconfigure(now, router, &config, hardware) {
            Ok(()) => Ok(router),
            // It is on its way out.
            Err(AddError::Identity) => Err(Some(router)),
            Err(_) => Err(None),
        },
    }
}

/// Adds what is not there yet.
fn fill(all: &mut Vec<IpAddr, MOST_ADDRESSES>, addresses: impl Iterator<Item = IpAddr>) {
    for address in addresses {
        if !all.contains(&address) {
            // That there is room has been checked.
            let _ = all.push(address);
        }
    }
}

/// Makes the sync groups what the text says. They are told by their number in it: a group is what its members are.
#[inline(never)]
fn regroup<S: Storage, const I: usize>(node: &mut Node<S, I>, now: Instant, ports: &Ports<'_>, config: &Config<'_>) {
    for instance in each(config) {
        if let Some(router) = existing(node, ports, &instance)
            && group_of(config, instance.name).is_none()
        {
            node.agent.leave(now, router);
        }
    }
    for (number, group) in groups(config).enumerate() {
        if node.groups.get(number).is_none() {
            let new = node.agent.add_group().and_then(|id| node.groups.push(id));
            if new.is_err() {
                return;
            }
        }
        let Some(id) = node.groups.get(number).copied() else { return };
        for member in group.members() {
            let own = group_of(config, member.text) == Some(number);
            let instance = each(config).find(|instance| own && instance.name == member.text);
            if let Some(router) = instance.and_then(|instance| existing(node, ports, &instance)) {
                let _ = node.agent.join(now, router, id);
            }
        }
    }
}

/// The Virtual Router that an instance speaks of, if it is there.
#[inline(never)]
fn existing<S: Storage, const I: usize>(
    node: &Node<S, I>,
    ports: &Ports<'_>,
    instance: &Instance<'_>,
) -> Option<RouterId> {
    let interface = find(ports, instance.interface)?;
    let (family, vrid) = (instance.settings.family, instance.settings.vrid);
    node.agent().find(interface, family, vrid).map(|presence| presence.router)
}

fn find(ports: &Ports<'_>, name: &str) -> Option<InterfaceId> {
    ports.iter().find(|(known, _)| *known == name).map(|(_, interface)| *interface)
}

/// The instances without errors.
fn each<'t>(config: &Config<'t>) -> impl Iterator<Item = Instance<'t>> + use<'t> {
    let mut instances = config.instances();
    core::iter::from_fn(move || instances.next(&mut |_| {})).filter_map(Result::ok)
}

fn groups<'t>(config: &Config<'t>) -> impl Iterator<Item = SyncGroup<'t>> + use<'t> {
    let mut groups = config.sync_groups();
    core::iter::from_fn(move || groups.next(&mut |_| {}))
}

/// The number of the group that an instance is in: the first that names it.
#[inline(never)]
fn group_of(config: &Config<'_>, name: &str) -> Option<usize> {
    groups(config).position(|group| group.members().any(|member| member.text == name))
}

type Say<'s, 't> = &'s mut dyn FnMut(Diagnostic<'t>);

fn error<'t>(place: Place, text: &'static str, say: Say<'_, 't>) {
    say(Diagnostic { place, severity: Severity::Error, message: Message::Text(text) });
}

/// What an instance may not share with those before it, and where it is.
#[inline(never)]
fn check_instance<'t>(
    config: &Config<'t>,
    instance: &Instance<'t>,
    before: usize,
    ports: &Ports<'_>,
    say: Say<'_, 't>,
) {
    let Instance { name, place, interface, settings, .. } = *instance;
    let mut wrong = |message| say(Diagnostic { place, severity: Severity::Error, message });
    if instance.peers().next().is_some() {
        // What goes to one address is routed, and this node knows no routes.
        wrong(Message::Text("this board speaks to a group only, not to each `unicast_peer`"));
    }
    if find(ports, interface).is_none() {
        wrong(Message::WrongValue { keyword: "interface", value: interface, expected: "an interface of this board" });
    }
    let mut others = config.instances();
    for _ in 0..before {
        let other = match others.next(&mut |_| {}) {
            Some(Ok(other)) => other,
            Some(Err(left_out)) if left_out.name == name => {
                wrong(Message::DuplicateName { name });
                return;
            }
            _ => continue,
        };
        let same = (other.interface, other.settings.family, other.settings.vrid)
            == (interface, settings.family, settings.vrid);
        if other.name == name {
            wrong(Message::DuplicateName { name });
            return;
        }
        if same {
            wrong(Message::DuplicateRouter { other: other.name, place: other.place });
            return;
        }
    }
    if let Some(read) = instance.virtual_mac {
        let own = settings.vrid.virtual_mac(settings.family);
        let warning = |because| Diagnostic {
            place,
            severity: Severity::Warning,
            message: Message::NoEffect { keyword: "use_vmac", because },
        };
        if read.mac.is_some_and(|mac| mac != own) {
            say(warning("a virtual router of this firmware has the MAC address of RFC 9568"));
        }
        if read.transmit_from_base {
            say(warning("Advertisements of this firmware always leave with the virtual MAC address"));
        }
    }
}

/// How many different addresses an instance has.
#[inline(never)]
fn check_addresses<'t>(instance: &Instance<'t>, say: Say<'_, 't>) -> usize {
    let mut all: Vec<IpAddr, MOST_ADDRESSES> = Vec::new();
    for read in instance.addresses().chain(instance.excluded()) {
        let place = read.place;
        if all.contains(&read.address) {
            let message = Message::DuplicateAddress { value: read.text };
            say(Diagnostic { place, severity: Severity::Warning, message });
        } else if all.push(read.address).is_err() {
            error(place, "there is no room for so many addresses in one virtual router", say);
            break;
        }
        if let Some(device) = read.device.filter(|device| *device != instance.interface) {
            let expected = "the interface of the virtual router";
            let message = Message::WrongValue { keyword: "dev", value: device, expected };
            say(Diagnostic { place, severity: Severity::Error, message });
        }
    }
    all.len()
}

/// What sync groups may not share, and whether there are such members.
#[inline(never)]
fn check_groups<'t>(config: &Config<'t>, room: usize, say: Say<'_, 't>) {
    let mut all = config.sync_groups();
    let (mut count, mut members): (usize, usize) = (0, 0);
    while let Some(group) = all.next(say) {
        let place = group.place;
        if groups(config).take(count).any(|other| other.name == group.name) {
            say(Diagnostic { place, severity: Severity::Error, message: Message::DuplicateName { name: group.name } });
        }
        for member in group.members() {
            let (place, name) = (member.place, member.text);
            // Also those that are not there: how often the text is read again is bounded by this.
            members = members.saturating_add(1);
            if members > room {
                break;
            }
            let other = group_of(config, name).filter(|number| *number < count);
            let other = other.and_then(|number| groups(config).nth(number));
            let message = if !each(config).any(|instance| instance.name == name) {
                Message::NoSuchMember { name }
            } else if let Some(other) = other {
                Message::InOtherGroup { name, group: other.name }
            } else {
                continue;
            };
            say(Diagnostic { place, severity: Severity::Warning, message });
        }
        count = count.saturating_add(1);
        if count > room || members > room {
            error(place, "there is no room for so many sync groups or members of them", say);
            return;
        }
    }
}
