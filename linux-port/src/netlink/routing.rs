//! Routes and rules in the form in which the kernel takes and names them: the body of a message, which adds what it says
//! and removes the very same; and the key by which the kernel's news of one is told from another.

use netlink_packet_core::{Emitable, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::rule::RuleMessage;

use super::parse::attributes;

/// The length of the heads of both kinds of bodies: struct rtmsg and struct fib_rule_hdr.
const HEAD: usize = 12;

// Attributes that libc does not name on every target (fib_rules.h).
const FRA_PRIORITY: u16 = 6;

/// Where a route goes among others to the same network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Insertion {
    /// Before them: it is the one that counts.
    #[default]
    Prepend,
    /// Only if there are none.
    Add,
    /// After them.
    Append,
}

/// A route or a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoutingEntry {
    body: Box<[u8]>,
    is_rule: bool,
    insertion: Insertion,
}

/// Which route or rule it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoutingKey {
    /// To a network, in a table; there may be several.
    Route {
        /// AF_INET or AF_INET6.
        family: u8,
        /// The table's number.
        table: u32,
        /// The network's address, from its first byte on.
        network: [u8; 16],
        /// The length of its prefix.
        length: u8,
    },
    /// With a priority; there may be several.
    Rule {
        /// AF_INET or AF_INET6.
        family: u8,
        /// Its priority.
        priority: u32,
    },
}

impl RoutingEntry {
    /// A route.
    pub fn route(message: &RouteMessage, insertion: Insertion) -> Self {
        Self { body: emitted(message), is_rule: false, insertion }
    }

    /// A rule.
    pub fn rule(message: &RuleMessage) -> Self {
        Self { body: emitted(message), is_rule: true, insertion: Insertion::Add }
    }

    /// What the kernel's news call it.
    pub fn key(&self) -> Option<RoutingKey> {
        key(self.is_rule, &self.body)
    }

    /// The body of its messages.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The type and the flags of the message that adds it. A rule that is there already would be added once more.
    pub(super) fn addition(&self) -> (u16, u16) {
        let kind = if self.is_rule { libc::RTM_NEWRULE } else { libc::RTM_NEWROUTE };
        let flags = match self.insertion {
            Insertion::Prepend => 0,
            Insertion::Add => NLM_F_EXCL,
            Insertion::Append => NLM_F_APPEND,
        };
        (kind, NLM_F_CREATE | flags)
    }

    /// The type of the message that removes it.
    pub(super) fn removal(&self) -> u16 {
        if self.is_rule { libc::RTM_DELRULE } else { libc::RTM_DELROUTE }
    }
}

fn emitted(message: &impl Emitable) -> Box<[u8]> {
    let mut body = vec![0; message.buffer_len()];
    message.emit(&mut body);
    body.into()
}

/// The key of a route or a rule, from the body of a message.
pub(super) fn key(is_rule: bool, body: &[u8]) -> Option<RoutingKey> {
    let [family, length, _, _, table, ..] = *body.first_chunk::<HEAD>()?;
    let mut table = u32::from(table);
    let (mut network, mut priority) = ([0; 16], 0);
    let number = |value: &[u8]| value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    for attribute in attributes(body.get(HEAD..)?) {
        let value = attribute.value();
        match attribute.kind() {
            libc::RTA_DST => network.iter_mut().zip(value).for_each(|(place, byte)| *place = *byte),
            libc::RTA_TABLE => table = number(value).unwrap_or(table),
            FRA_PRIORITY if is_rule => priority = number(value).unwrap_or(0),
            _ => {}
        }
    }
    Some(match is_rule {
        true => RoutingKey::Rule { family, priority },
        false => RoutingKey::Route { family, table, network, length },
    })
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::AddressFamily;
    use netlink_packet_route::route::{RouteAddress, RouteAttribute};
    use netlink_packet_route::rule::RuleAttribute;

    use super::*;

    #[test]
    fn a_key_is_what_the_kernel_tells_apart() {
        let mut route = RouteMessage::default();
        route.header.address_family = AddressFamily::Inet;
        route.header.destination_prefix_length = 8;
        route.attributes.push(RouteAttribute::Table(1000));
        route.attributes.push(RouteAttribute::Destination(RouteAddress::Inet([10, 0, 0, 0].into())));
        let mut network = [0; 16];
        network[0] = 10;
        let entry = RoutingEntry::route(&route, Insertion::Append);
        assert_eq!(entry.key(), Some(RoutingKey::Route { family: 2, table: 1000, network, length: 8 }));
        assert_eq!(entry.addition(), (libc::RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND));
        let mut rule = RuleMessage::default();
        rule.header.family = AddressFamily::Inet6;
        rule.attributes.push(RuleAttribute::Priority(7));
        let entry = RoutingEntry::rule(&rule);
        assert_eq!(entry.key(), Some(RoutingKey::Rule { family: 10, priority: 7 }));
        assert_eq!((entry.addition().1, entry.removal()), (NLM_F_CREATE | NLM_F_EXCL, libc::RTM_DELRULE));
    }

    #[test]
    fn no_cut_and_no_flipped_byte_does_harm() {
        let mut route = RouteMessage::default();
        route.attributes.push(RouteAttribute::Destination(RouteAddress::Inet6([1; 16].into())));
        route.attributes.push(RouteAttribute::Table(7));
        let body = emitted(&route);
        for end in 0..body.len() {
            let _ = (key(false, &body[..end]), key(true, &body[..end]));
        }
        for index in 0..body.len() {
            for value in [0, 1, 3, 0x7f, 0xff] {
                let mut body = body.clone();
                body[index] = value;
                let _ = (key(false, &body), key(true, &body));
            }
        }
    }
}
