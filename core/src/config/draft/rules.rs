//! The rules between the keywords of a `vrrp_instance`: defaults, what cancels what, and what strict mode
//! forbids.

use core::net::IpAddr;

use super::super::diagnostic::{Message, Used};
use super::super::globals::Globals;
use super::super::instance::{Instance, VirtualMac};
use super::super::lexer::Place;
use super::super::statement::{Block, Word};
use super::super::value::{self, Log};
#[cfg(feature = "authentication")]
use super::MOST_V6_HMAC;
use super::{Draft, MOST_V4, MOST_V6};
use crate::agent::{Announcing, Settings};
use crate::time::{Duration, Pause};
use crate::types::{Family, Interval, Priority, Version, Vrid};
use crate::wire::advertisement::Authentication;

impl<'a> Draft<'a> {
    /// Applies the rules between keywords. `None` if a keyword is missing without which nothing can be said.
    pub(super) fn finish(
        &self,
        name: &'a str,
        place: Place,
        body: Block<'a>,
        globals: &Globals<'a>,
        log: &mut Log<'_, 'a>,
    ) -> Option<Instance<'a>> {
        let mut missing = |keyword, expected| log.error(place, Message::MissingKeyword { keyword, expected });
        if self.interface.is_none() {
            missing("interface", "the interface to speak on");
        }
        if self.vrid.is_none() {
            missing("virtual_router_id", "a number from 1 to 255");
        }
        if self.first.is_none() && !self.has_wrong_address {
            missing("virtual_ipaddress", "at least one address");
        }
        let (first_word, first) = self.first?;
        let family = Family::of(&first);
        let strict = self.strict.unwrap_or(globals.strict);
        let version = self.version_of(family, strict, globals, log);
        let priority = self.priority_of(strict, log);
        self.check_first_address(first_word, first, strict, log);
        let (preempt, preempt_delay) = self.preemption(priority, strict, log);
        let vrid = self.vrid??;
        let interface = self.interface??;
        let (check_peers, least_peer_hops) = self.peers_of(family, strict, globals, log);
        let virtual_mac = self.virtual_mac_of(vrid, strict, log);
        let interval = self.interval_of(version, log);
        #[cfg(feature = "both-versions")]
        if let (true, None, Some((word, _))) = (self.speaks_both(family), interval.seconds(), self.interval) {
            let text = "version 2 says it in whole seconds, rounded up: the `advert_int` of its routers";
            log.notice(word.place, Message::Text(text));
        }
        let settings = Settings {
            family,
            version,
            #[cfg(feature = "both-versions")]
            both_versions: self.speaks_both(family),
            vrid,
            priority,
            interval,
            preempt,
            preempt_delay: preempt_delay.into(),
            accept: self.accept_of(version, priority, strict, log),
            strict,
            skip_address_check: self.skip_address_check || globals.skip_address_check,
            track_link: !self.dont_track_primary,
            authentication: self.authentication_of(version == Version::V2 || self.speaks_both(family), strict, log),
            checksum: self.checksum.unwrap_or(globals.checksum),
            virtual_mac: virtual_mac.is_some(),
            check_peers,
            least_peer_hops,
            source: self.source_of(family, log),
            group: self.group_of(family, globals, log),
            announcing: self.announcing_of(family, strict, globals, log),
            down_timer_adverts: self.down_timer_adverts.unwrap_or(globals.down_timer_adverts),
            answer_lower: self.answer_lower(strict, globals, log),
        };
        Some(Instance {
            name,
            place,
            interface,
            settings,
            virtual_mac,
            advertised: self.advertised_of(family, log),
            body,
        })
    }

    fn version_of(&self, family: Family, strict: bool, globals: &Globals<'a>, log: &mut Log<'_, 'a>) -> Version {
        #[cfg(feature = "both-versions")]
        if let (Family::V6, Some(place)) = (family, self.both_versions) {
            log.warning(place, Message::NoEffect { keyword: "both_versions", because: "version 2 has no IPv6" });
        }
        match (family, self.version) {
            // Version 2 is what comes beside it.
            (Family::V4, _) if self.speaks_both(family) => Version::V3,
            (Family::V6, Some((place, Version::V2))) => {
                let expected = "3 for IPv6";
                let message = Message::Substituted { keyword: "version", value: "2", expected, used: Used::Number(3) };
                if strict {
                    log.error(place, message)
                } else {
                    log.warning(place, message)
                }
                Version::V3
            }
            (Family::V6, _) => Version::V3,
            (Family::V4, Some((_, version))) => version,
            (Family::V4, None) => globals.version,
        }
    }

    /// `both_versions`, where there are two.
    fn speaks_both(&self, family: Family) -> bool {
        #[cfg(feature = "both-versions")]
        let asked = self.both_versions.is_some();
        #[cfg(not(feature = "both-versions"))]
        let asked = false;
        asked && family == Family::V4
    }

    fn priority_of(&self, strict: bool, log: &mut Log<'_, 'a>) -> Priority {
        match (self.priority, self.active) {
            (Some(priority), Some(place)) if strict && !priority.is_owner() => {
                let because = "under strict mode only the owner (priority 255) begins as Active";
                log.warning(place, Message::NoEffect { keyword: "state MASTER", because });
                priority
            }
            (Some(priority), _) => priority,
            (None, Some(place)) => {
                log.notice(place, Message::Text("`state MASTER` without `priority` means priority 255"));
                Priority::OWNER
            }
            (None, None) => Priority::DEFAULT,
        }
    }

    fn check_first_address(&self, word: Word<'a>, first: IpAddr, strict: bool, log: &mut Log<'_, 'a>) {
        if let IpAddr::V6(address) = first
            && !address.is_unicast_link_local()
        {
            let message = Message::FirstNotLinkLocal { value: word.text };
            if strict { log.error(word.place, message) } else { log.warning(word.place, message) }
        }
    }

    /// Whether it preempts, and after how long.
    fn preemption(&self, priority: Priority, strict: bool, log: &mut Log<'_, 'a>) -> (bool, Duration) {
        let mut because = None;
        if self.active.is_some() && (priority.is_owner() || !strict) {
            because = Some("`state MASTER` cancels it");
        } else if priority.is_owner() {
            because = Some("the owner (priority 255) always preempts");
        }
        let mut nopreempt = self.nopreempt.is_some();
        if let (Some(place), Some(because)) = (self.nopreempt, because) {
            log.warning(place, Message::NoEffect { keyword: "nopreempt", because });
            nopreempt = false;
        }
        let because = match because {
            None if strict => Some("strict mode has no delay"),
            None if nopreempt => Some("`nopreempt` cancels it"),
            other => other,
        };
        let delay = match (self.preempt_delay, because) {
            (Some((place, delay)), Some(because)) if delay != Duration::ZERO => {
                log.warning(place, Message::NoEffect { keyword: "preempt_delay", because });
                Duration::ZERO
            }
            (Some((_, delay)), _) => delay,
            (None, _) => Duration::ZERO,
        };
        (!nopreempt, delay)
    }

    /// The interval as the version can say it: whole seconds in version 2, rounded half up; in version 3
    /// hundredths of a second, at most 40.95 s.
    fn interval_of(&self, version: Version, log: &mut Log<'_, 'a>) -> Interval {
        let Some((word, micros)) = self.interval else { return Interval::DEFAULT };
        let (interval, expected) = match version {
            Version::V2 => {
                let seconds = micros.saturating_add(500_000) / 1_000_000;
                let interval = Interval::from_seconds(u8::try_from(seconds).unwrap_or(u8::MAX).max(1));
                (interval, "whole seconds from 1 to 255 in version 2")
            }
            Version::V3 => {
                let centiseconds = (micros.saturating_add(5_000) / 10_000).clamp(1, 4095);
                let interval = u16::try_from(centiseconds).ok().and_then(Interval::from_centiseconds);
                (interval, "seconds from 0.01 to 40.95 in version 3, in steps of 0.01")
            }
        };
        let interval = interval.unwrap_or(Interval::DEFAULT);
        let used = interval.duration().as_micros();
        if used != micros {
            let used = Used::Micros(used);
            log.warning(word.place, Message::Substituted { keyword: "advert_int", value: word.text, expected, used });
        }
        interval
    }

    fn accept_of(&self, version: Version, priority: Priority, strict: bool, log: &mut Log<'_, 'a>) -> bool {
        match self.accept {
            Some((place, true)) if strict && version == Version::V2 && !priority.is_owner() => {
                let because = "under strict mode version 2 has no accept mode";
                log.warning(place, Message::NoEffect { keyword: "accept", because });
                false
            }
            Some((_, accept)) => accept,
            None => !strict || priority.is_owner(),
        }
    }

    fn authentication_of(&self, is_known: bool, strict: bool, log: &mut Log<'_, 'a>) -> Authentication {
        let Some(place) = self.authentication else { return Authentication::None };
        #[cfg(feature = "authentication")]
        if self.hmac.is_some() {
            let because = "`auth_hmac` takes its place";
            log.warning(place, Message::NoEffect { keyword: "authentication", because });
            return Authentication::None;
        }
        #[cfg(all(feature = "authentication", feature = "both-versions"))]
        if let (true, Some(place)) = (self.is_header, self.both_versions) {
            log.error(place, Message::Text("version 3 has no `auth_type AH`, so both versions cannot have it"));
        }
        let because = if !is_known {
            "version 3 has no authentication"
        } else if strict {
            "strict mode has no authentication"
        } else if let (true, Some(password)) = (self.has_auth_type, self.password) {
            // A wrong one has been reported.
            return password.map_or(Authentication::None, |password| self.authentication_with(password));
        } else {
            "it wants both `auth_type` and `auth_pass`"
        };
        log.warning(place, Message::NoEffect { keyword: "authentication", because });
        Authentication::None
    }

    fn authentication_with(&self, password: [u8; 8]) -> Authentication {
        #[cfg(feature = "authentication")]
        if self.is_header {
            return Authentication::Header(password);
        }
        Authentication::Simple(password)
    }

    /// How many addresses are advertised at most.
    #[cfg(not(feature = "authentication"))]
    fn advertised_of(&self, family: Family, _: &mut Log<'_, 'a>) -> u8 {
        if family == Family::V4 { MOST_V4 } else { MOST_V6 }
    }

    /// How many addresses are advertised at most.
    #[cfg(feature = "authentication")]
    fn advertised_of(&self, family: Family, log: &mut Log<'_, 'a>) -> u8 {
        match (family, self.hmac) {
            (Family::V4, _) => MOST_V4,
            (Family::V6, None) => MOST_V6,
            (Family::V6, Some(place)) => {
                // Of more than that it has been said.
                if self.count == u32::from(MOST_V6) {
                    log.warning(place, Message::TooManyAddresses { advertised: MOST_V6_HMAC });
                }
                MOST_V6_HMAC
            }
        }
    }

    fn virtual_mac_of(&self, vrid: Vrid, strict: bool, log: &mut Log<'_, 'a>) -> Option<VirtualMac<'a>> {
        // Only on Linux it has another link, and can have another address.
        let is_link = cfg!(feature = "all-keywords");
        let transmit_from_base = self.transmit_from_base.filter(|_| is_link);
        let because = match (transmit_from_base, self.virtual_mac) {
            (Some(place), None) => Some((place, "there is no `use_vmac`")),
            (Some(place), Some(_)) if strict => Some((place, "strict mode sends from the virtual MAC address")),
            _ => None,
        };
        if let Some((place, because)) = because {
            log.warning(place, Message::NoEffect { keyword: "vmac_xmit_base", because });
        }
        let (name, mac) = self.virtual_mac?;
        // What goes to a peer is routed, so it leaves with the interface's own address.
        #[cfg(feature = "unicast")]
        let is_routed = self.peers.are_any();
        #[cfg(not(feature = "unicast"))]
        let is_routed = false;
        Some(VirtualMac {
            name,
            mac: mac.filter(|_| is_link).and_then(|word| value::mac(word.text, vrid.get())),
            transmit_from_base: is_routed || transmit_from_base.is_some() && because.is_none(),
        })
    }

    /// There are none to be checked.
    #[cfg(not(feature = "unicast"))]
    fn peers_of(&self, _: Family, _: bool, _: &Globals<'a>, _: &mut Log<'_, 'a>) -> (bool, u8) {
        (false, 0)
    }

    fn source_of(&self, family: Family, log: &mut Log<'_, 'a>) -> Option<IpAddr> {
        let (keyword, word, source) = self.source?;
        if Family::of(&source) == family {
            return Some(source);
        }
        let expected = "an address of the family of the virtual addresses";
        log.error(word.place, Message::WrongValue { keyword, value: word.text, expected });
        None
    }

    fn group_of(&self, family: Family, globals: &Globals<'a>, log: &mut Log<'_, 'a>) -> IpAddr {
        let default = match family {
            Family::V4 => IpAddr::V4(globals.group_v4),
            Family::V6 => IpAddr::V6(globals.group_v6),
        };
        let Some((word, group)) = self.group else { return default };
        if Family::of(&group) == family {
            return group;
        }
        let expected = "a group of the family of the virtual addresses";
        log.error(word.place, Message::WrongValue { keyword: "mcast_dst_ip", value: word.text, expected });
        default
    }

    fn announcing_of(&self, family: Family, strict: bool, globals: &Globals<'a>, log: &mut Log<'_, 'a>) -> Announcing {
        let own = &self.announce;
        let all = &globals.announce;
        let repeat_default = if globals.min_garp { 1 } else { 5 };
        let delay_default = Duration::from_secs(if globals.min_garp { 0 } else { 5 });
        let not_zero = |delay: Duration| (delay != Duration::ZERO).then(|| Pause::new(delay));
        let repeat = all.repeat.unwrap_or(repeat_default);
        let delay = all.delay.unwrap_or(delay_default);
        // These inherit the master values of `global_defs`, not those of the instance.
        let mut lower_repeat = own.lower_priority_repeat.or(all.lower_priority_repeat).unwrap_or(repeat);
        let mut lower_delay = own.lower_priority_delay.or(all.lower_priority_delay).unwrap_or(delay);
        if strict {
            if let Some(place) = self.lower_priority_announced
                && lower_repeat != 0
            {
                let because = "strict mode has no such announcement";
                log.warning(place, Message::NoEffect { keyword: "garp_lower_prio_repeat", because });
            }
            lower_repeat = 0;
            lower_delay = Duration::ZERO;
        }
        Announcing {
            repeat: own.repeat.unwrap_or(repeat),
            delay: not_zero(own.delay.unwrap_or(delay)),
            refresh: own.refresh.or(all.refresh).and_then(not_zero),
            refresh_repeat: own.refresh_repeat.or(all.refresh_repeat).unwrap_or(1),
            lower_repeat,
            lower_delay: not_zero(lower_delay),
            spacing: match family {
                Family::V4 => globals.arp_interval,
                Family::V6 => globals.na_interval,
            }
            .map(Pause::new),
        }
    }

    fn answer_lower(&self, strict: bool, globals: &Globals<'a>, log: &mut Log<'_, 'a>) -> bool {
        match self.lower_prio_no_advert {
            Some((place, false)) if strict => {
                let because = "strict mode does not answer a lower priority";
                log.warning(place, Message::NoEffect { keyword: "lower_prio_no_advert", because });
                false
            }
            Some((_, on)) => !on,
            None => !(strict || globals.lower_prio_no_advert.unwrap_or(false)),
        }
    }
}
