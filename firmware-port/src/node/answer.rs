//! Questions for virtual addresses that were heard, and their answers. The answer is decided when it is sent, so
//! that a router that has stepped down between is silent.

use core::net::IpAddr;

use steadfast_core::agent::InterfaceId;
use steadfast_core::storage::Storage;
use steadfast_core::types::MacAddr;
use steadfast_core::wire::arp::{self, Query};
use steadfast_core::wire::ndisc::{self, Solicitation};

use super::Node;
use crate::hardware::NetworkHardware;

/// A question: who has `target`? Both addresses are of one family.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    interface: InterfaceId,
    asker: MacAddr,
    from: IpAddr,
    target: IpAddr,
}

impl Answer {
    pub(super) fn to_query(interface: InterfaceId, query: &Query) -> Self {
        Self { interface, asker: query.sender_mac, from: query.sender.into(), target: query.target.into() }
    }

    pub(super) fn to_solicitation(interface: InterfaceId, query: &Solicitation) -> Self {
        Self { interface, asker: query.sender_mac, from: query.source.into(), target: query.target.into() }
    }
}

impl<S: Storage, const I: usize> Node<S, I> {
    /// Remembers a question, unless it waits already or too many do.
    pub(super) fn owe(&mut self, answer: Answer) {
        if !self.answers.contains(&answer) {
            // Who gets no answer asks again.
            let _ = self.answers.push(answer);
        }
    }

    /// Answers for the addresses of those that serve, with the virtual MAC address (RFC 9568 sections 8.1.2,
    /// 8.2.2).
    pub(super) fn answer(&mut self, hardware: &mut impl NetworkHardware) {
        while let Some(Answer { interface, asker, from, target }) = self.answers.pop() {
            let Some(mac) = self.serving(interface, target) else { continue };
            match (from, target) {
                (IpAddr::V4(sender), IpAddr::V4(target)) => {
                    let reply = arp::reply(mac, &Query { sender_mac: asker, sender, target });
                    self.send_short(interface, &reply, hardware);
                }
                (IpAddr::V6(source), IpAddr::V6(target)) => {
                    let query = Solicitation { source, sender_mac: asker, target };
                    self.send_short(interface, &ndisc::solicited(mac, &query, true), hardware);
                }
                _ => {}
            }
        }
    }
}
