//! `global_defs`: what holds for every instance that does not say otherwise, wherever in the file it stands.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::diagnostic::{Message, Used};
use super::keywords::Vocabulary;
use super::statement::{Block, Statement};
use super::value::{self, Log, defaulted, flag, switch};
use crate::agent::ChecksumMode;
use crate::time::Duration;
use crate::types::Version;
use crate::wire::{GROUP_V4, GROUP_V6};

/// What `checksum` may say.
pub(super) const CHECKSUM_EXPECTED: &str = "auto, pseudo-header or rfc9568";

/// Reads the value of `checksum`.
pub(super) fn checksum(text: &str) -> Option<ChecksumMode> {
    match text {
        "auto" => Some(ChecksumMode::Auto),
        "pseudo-header" => Some(ChecksumMode::PseudoHeader),
        "rfc9568" => Some(ChecksumMode::Plain),
        _ => None,
    }
}

/// The form that `v3_checksum_as_v2` on or off stands for.
pub(super) fn checksum_as_v2(on: bool) -> ChecksumMode {
    if on { ChecksumMode::Plain } else { ChecksumMode::PseudoHeader }
}

/// The announcement keywords, each as far as it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AnnounceOptions {
    pub(super) repeat: Option<u8>,
    pub(super) delay: Option<Duration>,
    pub(super) refresh: Option<Duration>,
    pub(super) refresh_repeat: Option<u8>,
    pub(super) lower_priority_repeat: Option<u8>,
    pub(super) lower_priority_delay: Option<Duration>,
}

impl AnnounceOptions {
    /// Reads the keyword `name` (without `vrrp_`) if it is one of these.
    pub(super) fn read<'a>(&mut self, name: &str, statement: &Statement<'a>, log: &mut Log<'_, 'a>) -> bool {
        /// A day.
        const MOST: u32 = 86_400;
        let mut seconds = || {
            let parse = |text| value::whole_seconds(text, MOST);
            defaulted(statement, "whole seconds from 0 to 86400", Used::Nothing, parse, log)
        };
        match name {
            "garp_master_delay" => self.delay = seconds().or(self.delay),
            "garp_master_refresh" => self.refresh = seconds().or(self.refresh),
            "garp_lower_prio_delay" => self.lower_priority_delay = seconds().or(self.lower_priority_delay),
            "garp_master_repeat" => self.repeat = repeat(statement, 1, log).or(self.repeat),
            "garp_master_refresh_repeat" => {
                self.refresh_repeat = repeat(statement, 1, log).or(self.refresh_repeat);
            }
            "garp_lower_prio_repeat" => {
                self.lower_priority_repeat = repeat(statement, 0, log).or(self.lower_priority_repeat);
            }
            _ => return false,
        }
        true
    }
}

/// A number of repetitions; one out of range becomes the nearest in range, as in keepalived.
fn repeat<'a>(statement: &Statement<'a>, least: u8, log: &mut Log<'_, 'a>) -> Option<u8> {
    let expected = if least == 0 { "a number from 0 to 255" } else { "a number from 1 to 255" };
    let number = defaulted(statement, expected, Used::Nothing, |text| value::number(text, 0..=u32::MAX), log)?;
    let used = u8::try_from(number).unwrap_or(u8::MAX).max(least);
    if u32::from(used) != number
        && let Some(word) = statement.words.clone().next()
    {
        let message = Message::Substituted {
            keyword: statement.keyword.text,
            value: word.text,
            expected,
            used: Used::Number(u64::from(used)),
        };
        log.warning(word.place, message);
    }
    Some(used)
}

/// What `global_defs` says.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Globals<'a> {
    /// `router_id`: the name of this machine in messages.
    pub router_id: Option<&'a str>,
    /// `vrrp_version`: the version of IPv4 instances that do not give one; 2.
    pub version: Version,
    /// `vrrp_strict`: the protocol to the letter.
    pub strict: bool,
    /// `vrrp_startup_delay`: how long nothing is heard or sent after the start.
    pub startup_delay: Duration,
    /// `default_interface`: the interface of static addresses; eth0.
    pub default_interface: &'a str,
    /// `vrrp_mcast_group4`: where Advertisements over IPv4 go.
    pub group_v4: Ipv4Addr,
    /// `vrrp_mcast_group6`: where Advertisements over IPv6 go.
    pub group_v6: Ipv6Addr,
    /// `vmac_prefix`: what the names of virtual MAC interfaces begin with; vrrp.
    pub vmac_prefix: &'a str,
    /// `checksum`, `v3_checksum_as_v2`: the checksum form of instances that do not give one.
    pub checksum: ChecksumMode,
    /// `vrrp_down_timer_adverts`: how many intervals a Backup waits; 3.
    pub down_timer_adverts: u8,
    /// `vrrp_garp_interval`: the time between two gratuitous ARPs on an interface, if it is given.
    pub arp_interval: Option<Duration>,
    /// `vrrp_gna_interval`: the time between two unsolicited Neighbour Advertisements on an interface, if it is given.
    pub na_interval: Option<Duration>,
    /// `vrrp_lower_prio_no_advert`: a lower priority is not answered; as `strict` unless given.
    pub(super) lower_prio_no_advert: Option<bool>,
    /// `vrrp_check_unicast_src`.
    #[cfg(feature = "unicast")]
    pub(super) check_peers: bool,
    /// `vrrp_skip_check_adv_addr`.
    pub(super) skip_address_check: bool,
    pub(super) announce: AnnounceOptions,
    /// `vrrp_min_garp`.
    pub(super) min_garp: bool,
}

impl Default for Globals<'_> {
    fn default() -> Self {
        Self {
            router_id: None,
            version: Version::V2,
            strict: false,
            startup_delay: Duration::ZERO,
            default_interface: "eth0",
            group_v4: GROUP_V4,
            group_v6: GROUP_V6,
            vmac_prefix: "vrrp",
            checksum: ChecksumMode::Auto,
            down_timer_adverts: 3,
            lower_prio_no_advert: None,
            #[cfg(feature = "unicast")]
            check_peers: false,
            skip_address_check: false,
            announce: AnnounceOptions::default(),
            arp_interval: None,
            na_interval: None,
            min_garp: false,
        }
    }
}

impl<'a> Globals<'a> {
    /// Reads the body of a `global_defs`; what it does not name stays as it is.
    pub(super) fn read(&mut self, mut body: Block<'a>, log: &mut Log<'_, 'a>) {
        while let Some(statement) = body.next(&mut |diagnostic| log.add(diagnostic)) {
            let Some(keyword) = super::known(Vocabulary::Global, &statement, log) else { continue };
            if let Some(name) = keyword.strip_prefix("vrrp_")
                && self.announce.read(name, &statement, log)
            {
                continue;
            }
            match keyword {
                #[cfg(feature = "all-keywords")]
                "router_id" => {
                    self.router_id = defaulted(&statement, "a name", Used::Nothing, Some, log).or(self.router_id);
                }
                "vrrp_version" => {
                    let used = Used::Number(u64::from(self.version.number()));
                    self.version = defaulted(&statement, "2 or 3", used, version, log).unwrap_or(self.version);
                }
                "vrrp_strict" => self.strict = flag(&statement, log),
                "vrrp_startup_delay" => {
                    let delay = delay(&statement, 86_400, "seconds from 0 to 86400", log);
                    self.startup_delay = delay.unwrap_or(self.startup_delay);
                }
                "vrrp_garp_interval" => {
                    self.arp_interval = delay(&statement, 10, "seconds from 0 to 10", log).or(self.arp_interval);
                }
                "vrrp_gna_interval" => {
                    self.na_interval = delay(&statement, 10, "seconds from 0 to 10", log).or(self.na_interval);
                }
                #[cfg(feature = "all-keywords")]
                "default_interface" => {
                    let used = Used::Word("eth0");
                    let parsed = defaulted(&statement, "an interface: 1 to 15 characters", used, value::interface, log);
                    self.default_interface = parsed.unwrap_or(self.default_interface);
                }
                "vrrp_mcast_group4" => {
                    let used = Used::Word("224.0.0.18");
                    let parsed = defaulted(&statement, "an IPv4 multicast address", used, value::group_v4, log);
                    self.group_v4 = parsed.unwrap_or(self.group_v4);
                }
                "vrrp_mcast_group6" => {
                    let used = Used::Word("ff02::12");
                    let expected = "an IPv6 multicast address of link-local scope";
                    let parsed = defaulted(&statement, expected, used, value::group_v6, log);
                    self.group_v6 = parsed.unwrap_or(self.group_v6);
                }
                #[cfg(feature = "all-keywords")]
                "vmac_prefix" => {
                    // `PREFIX.255` has to be the name of an interface.
                    let parse = |text: &'a str| value::interface(text).filter(|prefix| prefix.len() <= 11);
                    let parsed = defaulted(&statement, "1 to 11 characters", Used::Word("vrrp"), parse, log);
                    self.vmac_prefix = parsed.unwrap_or(self.vmac_prefix);
                }
                "v3_checksum_as_v2" => {
                    self.checksum = switch(&statement, log).map_or(self.checksum, checksum_as_v2);
                }
                "checksum" => {
                    let parsed = defaulted(&statement, CHECKSUM_EXPECTED, Used::Nothing, checksum, log);
                    self.checksum = parsed.unwrap_or(self.checksum);
                }
                "vrrp_down_timer_adverts" => {
                    self.down_timer_adverts = down_timer_adverts(&statement, log).unwrap_or(self.down_timer_adverts);
                }
                "vrrp_lower_prio_no_advert" => {
                    self.lower_prio_no_advert = switch(&statement, log).or(self.lower_prio_no_advert);
                }
                #[cfg(feature = "unicast")]
                "vrrp_check_unicast_src" => self.check_peers = flag(&statement, log),
                "vrrp_skip_check_adv_addr" => self.skip_address_check = flag(&statement, log),
                "vrrp_min_garp" => self.min_garp = switch(&statement, log).unwrap_or(self.min_garp),
                other => log.warning(statement.keyword.place, Message::NotYet { keyword: other }),
            }
        }
    }
}

pub(super) fn version(text: &str) -> Option<Version> {
    match text {
        "2" => Some(Version::V2),
        "3" => Some(Version::V3),
        _ => None,
    }
}

pub(super) fn down_timer_adverts<'a>(statement: &Statement<'a>, log: &mut Log<'_, 'a>) -> Option<u8> {
    let parse = |text| value::small(text, 1).filter(|number| *number <= 100);
    defaulted(statement, "a number from 1 to 100", Used::Nothing, parse, log)
}

pub(super) fn delay<'a>(
    statement: &Statement<'a>,
    most: u32,
    expected: &'static str,
    log: &mut Log<'_, 'a>,
) -> Option<Duration> {
    defaulted(statement, expected, Used::Nothing, |text| value::seconds(text, most), log)
}
