//! One `vrrp_instance` as it is to be run: every default filled in, every rule between keywords applied.
//! Its addresses stay in the text and are read again whenever they are asked for.

use core::net::IpAddr;

use super::address::{self, VirtualAddress};
use super::lexer::Place;
use super::statement::Block;
use super::value::Log;
use crate::agent::{Announcing, ChecksumMode, InterfaceId, Settings};
use crate::time::Duration;
use crate::types::{Family, Interval, MacAddr, Priority, Version, Vrid};
use crate::wire::advertisement::Authentication;

/// A `vrrp_instance` without errors.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Instance<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it begins.
    pub place: Place,
    /// `interface`.
    pub interface: &'a str,
    /// What the protocol wants to know of it.
    pub protocol: Protocol,
    /// `use_vmac`.
    pub virtual_mac: Option<VirtualMac<'a>>,
    /// How many entries of `virtual_ipaddress` are advertised; the rest counts as excluded.
    pub(super) advertised: u8,
    pub(super) body: Block<'a>,
}

/// The part of an instance that needs no text: what becomes the core's [`Settings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// The family of its addresses.
    pub family: Family,
    /// `version`; without one `vrrp_version` for IPv4, 3 for IPv6.
    pub version: Version,
    /// `virtual_router_id`.
    pub vrid: Vrid,
    /// `priority`; without one 255 if `state MASTER`, else 100.
    pub priority: Priority,
    /// `advert_int`, as the version can say it.
    pub interval: Interval,
    /// Not `nopreempt`.
    pub preempt: bool,
    /// `preempt_delay`.
    pub preempt_delay: Duration,
    /// `accept` or `no_accept`; without either `accept`, and under `strict` only the owner's.
    pub accept: bool,
    /// `strict_mode` or `vrrp_strict`.
    pub strict: bool,
    /// `skip_check_adv_addr`: the address list is compared only when the sender changes.
    pub skip_address_check: bool,
    /// Not `dont_track_primary`: a fault of the interface is a fault of the instance.
    pub track_link: bool,
    /// `authentication` of version 2.
    pub authentication: Authentication,
    /// `checksum`, `v3_checksum_as_v2`.
    pub checksum: ChecksumMode,
    /// Whether there is a `use_vmac`.
    pub virtual_mac: bool,
    /// `mcast_src_ip`: the source address of Advertisements, instead of the interface's own.
    pub source: Option<IpAddr>,
    /// `mcast_dst_ip` or `vrrp_mcast_group4`/`6`: where Advertisements go.
    pub group: IpAddr,
    /// How addresses are announced.
    pub announcing: Announcing,
    /// `down_timer_adverts`: how many intervals a Backup waits.
    pub down_timer_adverts: u8,
    /// Not `lower_prio_no_advert`: a lower priority is answered at once.
    pub answer_lower: bool,
}

impl Protocol {
    /// The same for an agent; `interface` is what it calls the instance's interface.
    pub fn settings(&self, interface: InterfaceId) -> Settings {
        Settings {
            interface,
            family: self.family,
            version: self.version,
            vrid: self.vrid,
            priority: self.priority,
            interval: self.interval,
            preempt: self.preempt,
            preempt_delay: self.preempt_delay,
            accept: self.accept,
            checksum: self.checksum,
            authentication: self.authentication,
            strict: self.strict,
            skip_address_check: self.skip_address_check,
            track_link: self.track_link,
            virtual_mac: self.virtual_mac,
            source: self.source,
            group: self.group,
            announcing: self.announcing,
            down_timer_adverts: self.down_timer_adverts,
            answer_lower: self.answer_lower,
        }
    }
}

/// `use_vmac`: the addresses live on an interface of their own with the virtual router MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtualMac<'a> {
    /// The interface's name; without one `PREFIX.VRID` with `vmac_prefix`.
    pub name: Option<&'a str>,
    /// Another MAC address than the virtual router's.
    pub mac: Option<MacAddr>,
    /// `vmac_xmit_base`: Advertisements leave from the interface below.
    pub transmit_from_base: bool,
}

/// What is left of an instance that has an error: it is not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut<'a> {
    /// Its name; empty if it has none.
    pub name: &'a str,
    /// Where it begins.
    pub place: Place,
}

impl<'a> Instance<'a> {
    /// The addresses that are advertised, all of one family, at least one.
    pub fn addresses(&self) -> impl Iterator<Item = VirtualAddress<'a>> + Clone + use<'a> {
        Addresses::new(self.body, "virtual_ipaddress").take(usize::from(self.advertised))
    }

    /// The addresses that are put on and taken off without being advertised: those that no longer fit into
    /// an Advertisement, then `virtual_ipaddress_excluded`, of either family.
    pub fn excluded(&self) -> impl Iterator<Item = VirtualAddress<'a>> + Clone + use<'a> {
        let overflow = Addresses::new(self.body, "virtual_ipaddress").skip(usize::from(self.advertised));
        overflow.chain(Addresses::new(self.body, "virtual_ipaddress_excluded"))
    }
}

/// The entries of one kind of address list in the body of an instance.
#[derive(Clone, Copy, Debug)]
struct Addresses<'a> {
    body: Block<'a>,
    keyword: &'static str,
    list: Option<Block<'a>>,
}

impl<'a> Addresses<'a> {
    fn new(body: Block<'a>, keyword: &'static str) -> Self {
        Self { body, keyword, list: None }
    }
}

impl<'a> Iterator for Addresses<'a> {
    type Item = VirtualAddress<'a>;

    fn next(&mut self) -> Option<VirtualAddress<'a>> {
        // What is wrong here was reported when the instance was read.
        loop {
            if let Some(list) = &mut self.list {
                while let Some(entry) = list.next(&mut |_| {}) {
                    if let Some(address) = address::parse(&entry, &mut Log::new(&mut |_| {})) {
                        return Some(address);
                    }
                }
                self.list = None;
            }
            let statement = self.body.next(&mut |_| {})?;
            if statement.keyword.text == self.keyword {
                self.list = statement.body;
            }
        }
    }
}
