//! One `vrrp_instance` as it is to be run: every default filled in, every rule between keywords applied.
//! Its addresses and peers stay in the text and are read again whenever they are asked for.

use core::net::IpAddr;

use super::address::{self, VirtualAddress};
use super::lexer::Place;
use super::statement::{Block, Statement};
#[cfg(feature = "unicast")]
use super::value;
use super::value::Log;
use crate::agent::Settings;
use crate::types::MacAddr;

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
    /// What the core wants to know of it.
    pub settings: Settings,
    /// `use_vmac`.
    pub virtual_mac: Option<VirtualMac<'a>>,
    /// How many entries of `virtual_ipaddress` are advertised; the rest counts as excluded.
    pub(super) advertised: u8,
    pub(super) body: Block<'a>,
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
        addresses(self.body, "virtual_ipaddress").take(usize::from(self.advertised))
    }

    /// The addresses that are put on and taken off without being advertised: those that no longer fit into
    /// an Advertisement, then `virtual_ipaddress_excluded`, of either family.
    pub fn excluded(&self) -> impl Iterator<Item = VirtualAddress<'a>> + Clone + use<'a> {
        let overflow = addresses(self.body, "virtual_ipaddress").skip(usize::from(self.advertised));
        overflow.chain(addresses(self.body, "virtual_ipaddress_excluded"))
    }

    /// `unicast_peer`: where its Advertisements go instead of a group; at most 255, all of its family. None where core
    /// does not know it.
    #[cfg(not(feature = "unicast"))]
    pub fn peers(&self) -> impl Iterator<Item = IpAddr> + Clone + use<'a> {
        core::iter::empty()
    }

    /// `unicast_peer`: where its Advertisements go instead of a group; at most 255, all of its family.
    #[cfg(feature = "unicast")]
    pub fn peers(&self) -> impl Iterator<Item = IpAddr> + Clone + use<'a> {
        Entries::new(self.body, "unicast_peer").filter_map(|entry| value::address(entry.keyword.text))
    }
}

/// The addresses of one kind of list. What is wrong there was reported when the instance was read.
fn addresses<'a>(body: Block<'a>, keyword: &'static str) -> impl Iterator<Item = VirtualAddress<'a>> + Clone + use<'a> {
    Entries::new(body, keyword).filter_map(|entry| address::parse(&entry, &mut Log::new(&mut |_| {})))
}

/// The entries of one kind of list in the body of an instance.
#[derive(Clone, Copy, Debug)]
struct Entries<'a> {
    body: Block<'a>,
    keyword: &'static str,
    list: Option<Block<'a>>,
}

impl<'a> Entries<'a> {
    fn new(body: Block<'a>, keyword: &'static str) -> Self {
        Self { body, keyword, list: None }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Statement<'a>;

    fn next(&mut self) -> Option<Statement<'a>> {
        loop {
            if let Some(list) = &mut self.list {
                if let Some(entry) = list.next(&mut |_| {}) {
                    return Some(entry);
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
