//! Reading the body of a `vrrp_instance`: first keyword by keyword, then the rules between them. Where
//! keepalived puts a default in the place of a wrong value, so do we, with a warning; any other wrong
//! value is an error, and the instance is left out.

use core::net::IpAddr;

use super::address::{self, VirtualAddress};
use super::diagnostic::{Diagnostic, Message, Used};
use super::globals::{
    AnnounceOptions, CHECKSUM_EXPECTED, Globals, checksum, checksum_as_v2, delay, down_timer_adverts, version,
};
use super::instance::{Instance, LeftOut, Protocol, VirtualMac};
use super::keywords::Vocabulary;
use super::lexer::Place;
use super::statement::{Block, Statement, Word};
use super::value::{self, Log, defaulted, flag, required, switch};
use crate::agent::{Announcing, ChecksumMode};
use crate::time::Duration;
use crate::types::{Family, Interval, Priority, Version, Vrid};
use crate::wire::advertisement::Authentication;

/// The most addresses that fit into an Advertisement on Ethernet (1500 bytes); IPv4 is bounded by its count.
const MOST_V4: u8 = 255;
const MOST_V6: u8 = 90;

/// What the keywords of an instance say, each as far as it was given; with a place where a rule between
/// keywords may have to speak about it.
#[derive(Default)]
struct Draft<'a> {
    interface: Option<&'a str>,
    vrid: Option<Vrid>,
    priority: Option<Priority>,
    /// Microseconds.
    interval: Option<(Word<'a>, u64)>,
    version: Option<(Place, Version)>,
    /// `state MASTER`.
    active: Option<Place>,
    nopreempt: Option<Place>,
    preempt_delay: Option<(Place, Duration)>,
    authentication: Option<Place>,
    password: Option<[u8; 8]>,
    has_auth_type: bool,
    accept: Option<(Place, bool)>,
    strict: Option<bool>,
    checksum: Option<ChecksumMode>,
    virtual_mac: Option<(Option<&'a str>, Option<Word<'a>>)>,
    transmit_from_base: Option<Place>,
    source: Option<(Word<'a>, IpAddr)>,
    group: Option<(Word<'a>, IpAddr)>,
    announce: AnnounceOptions,
    lower_priority_announced: Option<Place>,
    down_timer_adverts: Option<u8>,
    lower_prio_no_advert: Option<(Place, bool)>,
    higher_prio_send_advert: Option<(Place, bool)>,
    skip_address_check: Option<bool>,
    dont_track_primary: bool,
    /// The first entry of `virtual_ipaddress`.
    first: Option<(Word<'a>, IpAddr)>,
    /// How many there are.
    count: u32,
    missing_addresses: bool,
}

/// Reads a `vrrp_instance`.
pub(super) fn read<'a>(
    statement: &Statement<'a>,
    globals: &Globals<'a>,
    report: &mut dyn FnMut(Diagnostic<'a>),
) -> Result<Instance<'a>, LeftOut<'a>> {
    let place = statement.keyword.place;
    let mut log = Log::new(report);
    let name = required(statement, "a name", |name| (!name.is_empty()).then_some(name), &mut log).unwrap_or("");
    let left_out = LeftOut { name, place };
    let Some(body) = statement.body else {
        log.error(place, Message::MissingValue { keyword: "vrrp_instance", expected: "a block, { to }" });
        return Err(left_out);
    };
    let mut draft = Draft::default();
    draft.read(body, &mut log);
    let instance = draft.finish(name, place, body, globals, &mut log);
    // A block that is not closed was reported with the file.
    if log.has_errors() || !statement.closed { Err(left_out) } else { instance.ok_or(left_out) }
}

impl<'a> Draft<'a> {
    fn read(&mut self, mut body: Block<'a>, log: &mut Log<'_, 'a>) {
        while let Some(statement) = body.next(&mut |diagnostic| log.add(diagnostic)) {
            match statement.keyword.text {
                // Without these it would not hear its peers, and be Active beside them.
                keyword @ ("unicast_peer" | "auth_hmac") => {
                    let otherwise = "without it two routers would be Active at once";
                    log.error(statement.keyword.place, Message::NeededNotYet { keyword, otherwise });
                }
                _ => {
                    if let Some(keyword) = super::known(Vocabulary::Instance, &statement, log) {
                        self.keyword(keyword, &statement, log);
                    }
                }
            }
        }
    }

    fn keyword(&mut self, keyword: &'static str, statement: &Statement<'a>, log: &mut Log<'_, 'a>) {
        let place = statement.keyword.place;
        if self.announce.read(keyword, statement, log) {
            if keyword == "garp_lower_prio_repeat" {
                self.lower_priority_announced = Some(place);
            }
            return;
        }
        match keyword {
            "state" => self.state(statement, log),
            "interface" => {
                let expected = "an interface: 1 to 15 characters";
                self.interface = required(statement, expected, value::interface, log);
            }
            "virtual_router_id" => {
                let parse = |text| value::number(text, 1..=255).and_then(|n| u8::try_from(n).ok()).and_then(Vrid::new);
                self.vrid = required(statement, "a number from 1 to 255", parse, log);
            }
            "priority" => {
                let parse =
                    |text| value::number(text, 1..=255).and_then(|n| u8::try_from(n).ok()).and_then(Priority::new);
                let used = Used::Number(u64::from(Priority::DEFAULT.get()));
                let read = defaulted(statement, "a number from 1 to 255", used, parse, log);
                self.priority = Some(read.unwrap_or(Priority::DEFAULT));
            }
            "advert_int" => {
                let parse = |text| value::micros(text).filter(|micros| (10_000..=255_000_000).contains(micros));
                let read = defaulted(statement, "seconds from 0.01 to 255", Used::Number(1), parse, log);
                self.interval = statement.words.clone().next().zip(read);
            }
            "version" => {
                self.version = defaulted(statement, "2 or 3", Used::Nothing, version, log).map(|read| (place, read));
            }
            "nopreempt" if flag(statement, log) => self.nopreempt = Some(place),
            "preempt" if flag(statement, log) => self.nopreempt = None,
            "preempt_delay" => {
                self.preempt_delay = delay(statement, 1000, "seconds from 0 to 1000", log).map(|read| (place, read));
            }
            "authentication" => self.authentication(statement, log),
            "virtual_ipaddress" => self.addresses(statement, log),
            "virtual_ipaddress_excluded" => {
                for_each_entry(statement, log, |entry, log| {
                    address::parse(&entry, log);
                });
            }
            "use_vmac" => self.use_vmac(statement, log),
            "vmac_xmit_base" if flag(statement, log) => self.transmit_from_base = Some(place),
            "accept" if flag(statement, log) => self.accept = Some((place, true)),
            "no_accept" if flag(statement, log) => self.accept = Some((place, false)),
            "mcast_src_ip" => {
                let read = required(statement, "an address", value::address, log);
                self.source = statement.words.clone().next().zip(read);
            }
            "mcast_dst_ip" => {
                let parse = |text: &'a str| {
                    let v4 = value::group_v4(text).map(IpAddr::V4);
                    v4.or_else(|| value::group_v6(text).map(IpAddr::V6))
                };
                let read = required(statement, "a multicast address, of link-local scope for IPv6", parse, log);
                self.group = statement.words.clone().next().zip(read);
            }
            "strict_mode" => self.strict = switch(statement, log).or(self.strict),
            "v3_checksum_as_v2" => self.checksum = switch(statement, log).map(checksum_as_v2).or(self.checksum),
            "checksum" => self.checksum = required(statement, CHECKSUM_EXPECTED, checksum, log),
            "down_timer_adverts" => self.down_timer_adverts = down_timer_adverts(statement, log),
            "dont_track_primary" if flag(statement, log) => self.dont_track_primary = true,
            "skip_check_adv_addr" => self.skip_address_check = switch(statement, log),
            "lower_prio_no_advert" => self.lower_prio_no_advert = switch(statement, log).map(|on| (place, on)),
            "higher_prio_send_advert" => self.higher_prio_send_advert = switch(statement, log).map(|on| (place, on)),
            "native_ipv6" if flag(statement, log) => {
                log.notice(place, Message::Ignored { keyword, why: "the addresses tell the family" });
            }
            // The table says that we act upon it, so there is an arm for it; see the tests.
            _ => log.warning(place, Message::NotYet { keyword }),
        }
    }

    fn state(&mut self, statement: &Statement<'a>, log: &mut Log<'_, 'a>) {
        let parse = |text| match text {
            "MASTER" => Some(true),
            "BACKUP" => Some(false),
            _ => None,
        };
        let active = defaulted(statement, "MASTER or BACKUP", Used::Word("BACKUP"), parse, log);
        self.active = (active == Some(true)).then_some(statement.keyword.place);
    }

    fn authentication(&mut self, statement: &Statement<'a>, log: &mut Log<'_, 'a>) {
        self.authentication = Some(statement.keyword.place);
        let Some(mut body) = statement.body else {
            let message = Message::MissingValue { keyword: "authentication", expected: "a block, { to }" };
            log.error(statement.keyword.place, message);
            return;
        };
        while let Some(statement) = body.next(&mut |diagnostic| log.add(diagnostic)) {
            match super::known(Vocabulary::Authentication, &statement, log) {
                Some("auth_type") => match required(&statement, "PASS", Some, log) {
                    Some("PASS") => self.has_auth_type = true,
                    Some("AH") => {
                        let otherwise = "without it two routers would be Active at once";
                        let message = Message::NeededNotYet { keyword: "auth_type AH", otherwise };
                        log.error(statement.keyword.place, message);
                    }
                    Some(value) => {
                        let message = Message::WrongValue { keyword: "auth_type", value, expected: "PASS" };
                        log.error(statement.keyword.place, message);
                    }
                    None => {}
                },
                Some("auth_pass") => {
                    let nonempty = |text: &'a str| (!text.is_empty()).then_some(text);
                    if let Some(text) = required(&statement, "a password of 1 to 8 characters", nonempty, log) {
                        let mut password = [0; 8];
                        for (byte, letter) in password.iter_mut().zip(text.bytes()) {
                            *byte = letter;
                        }
                        if text.len() > password.len() {
                            log.warning(statement.keyword.place, Message::PasswordTooLong);
                        }
                        self.password = Some(password);
                    }
                }
                _ => {}
            }
        }
    }

    fn addresses(&mut self, statement: &Statement<'a>, log: &mut Log<'_, 'a>) {
        for_each_entry(statement, log, |entry, log| {
            let Some(VirtualAddress { address, place, .. }) = address::parse(&entry, log) else {
                self.missing_addresses = true;
                return;
            };
            let (_, first) = *self.first.get_or_insert((entry.keyword, address));
            if first.is_ipv4() != address.is_ipv4() {
                let expected = if first.is_ipv4() {
                    "IPv4 addresses only, as the first is one (the other family goes to virtual_ipaddress_excluded)"
                } else {
                    "IPv6 addresses only, as the first is one (the other family goes to virtual_ipaddress_excluded)"
                };
                let value = entry.keyword.text;
                log.error(place, Message::WrongValue { keyword: "virtual_ipaddress", value, expected });
            }
            self.count = self.count.saturating_add(1);
            let most = if first.is_ipv4() { MOST_V4 } else { MOST_V6 };
            if self.count == u32::from(most).saturating_add(1) {
                log.warning(place, Message::TooManyAddresses { advertised: most });
            }
        });
    }

    /// `use_vmac [NAME] [MAC] [netlink_notify_msg] [group NUMBER]`
    fn use_vmac(&mut self, statement: &Statement<'a>, log: &mut Log<'_, 'a>) {
        let mut name = None;
        let mut mac = None;
        let mut words = statement.words;
        while let Some(word) = words.next() {
            match word.text {
                "netlink_notify_msg" => {}
                "group" => {
                    words.next();
                    log.warning(word.place, Message::NotYet { keyword: "use_vmac group" });
                }
                text if value::mac(text, 0).is_some() => mac = Some(word),
                text if name.is_none() && value::interface(text).is_some() => name = Some(text),
                text => {
                    let expected = "a name of 1 to 15 characters or a MAC address";
                    let used = Used::Nothing;
                    log.warning(word.place, Message::Substituted { keyword: "use_vmac", value: text, expected, used });
                }
            }
        }
        self.virtual_mac = Some((name, mac));
    }

    /// Applies the rules between keywords. `None` if a keyword is missing without which nothing can be said.
    fn finish(
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
        if self.first.is_none() && !self.missing_addresses {
            missing("virtual_ipaddress", "at least one address");
        }
        let (first_word, first) = self.first?;
        let family = Family::of(&first);
        let strict = self.strict.unwrap_or(globals.strict);
        let version = self.version_of(family, strict, globals, log);
        let priority = self.priority_of(strict, log);
        self.check_first_address(first_word, first, strict, log);
        let (preempt, preempt_delay) = self.preemption(priority, strict, log);
        let vrid = self.vrid?;
        let interface = self.interface?;
        let virtual_mac = self.virtual_mac_of(vrid, strict, log);
        let protocol = Protocol {
            family,
            version,
            vrid,
            priority,
            interval: self.interval_of(version, log),
            preempt,
            preempt_delay,
            accept: self.accept_of(version, priority, strict, log),
            strict,
            authentication: self.authentication_of(version, strict, log),
            checksum: self.checksum.unwrap_or(globals.checksum),
            virtual_mac: virtual_mac.is_some(),
            source: self.source_of(family, log),
            group: self.group_of(family, globals, log),
            announcing: self.announcing_of(strict, globals, log),
            down_timer_adverts: self.down_timer_adverts.unwrap_or(globals.down_timer_adverts),
            answer_lower: self.answer_lower(strict, globals, log),
        };
        Some(Instance {
            name,
            place,
            interface,
            protocol,
            virtual_mac,
            answer_higher: self.answer_higher(strict, globals, log),
            skip_address_check: self.skip_address_check.unwrap_or(globals.skip_address_check),
            track_interface: !self.dont_track_primary,
            advertised: if family == Family::V4 { MOST_V4 } else { MOST_V6 },
            body,
        })
    }

    fn version_of(&self, family: Family, strict: bool, globals: &Globals<'a>, log: &mut Log<'_, 'a>) -> Version {
        match (family, self.version) {
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
        if self.active.is_some() {
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

    fn authentication_of(&self, version: Version, strict: bool, log: &mut Log<'_, 'a>) -> Authentication {
        let Some(place) = self.authentication else { return Authentication::None };
        let because = if version == Version::V3 {
            "version 3 has no authentication"
        } else if strict {
            "strict mode has no authentication"
        } else if let Some(password) = self.password.filter(|_| self.has_auth_type) {
            return Authentication::Simple(password);
        } else {
            "it wants both `auth_type` and `auth_pass`"
        };
        log.warning(place, Message::NoEffect { keyword: "authentication", because });
        Authentication::None
    }

    fn virtual_mac_of(&self, vrid: Vrid, strict: bool, log: &mut Log<'_, 'a>) -> Option<VirtualMac<'a>> {
        let because = match (self.transmit_from_base, self.virtual_mac) {
            (Some(place), None) => Some((place, "there is no `use_vmac`")),
            (Some(place), Some(_)) if strict => Some((place, "strict mode sends from the virtual MAC address")),
            _ => None,
        };
        if let Some((place, because)) = because {
            log.warning(place, Message::NoEffect { keyword: "vmac_xmit_base", because });
        }
        let (name, mac) = self.virtual_mac?;
        Some(VirtualMac {
            name,
            mac: mac.and_then(|word| value::mac(word.text, vrid.get())),
            transmit_from_base: self.transmit_from_base.is_some() && because.is_none(),
        })
    }

    fn source_of(&self, family: Family, log: &mut Log<'_, 'a>) -> Option<IpAddr> {
        let (word, source) = self.source?;
        if Family::of(&source) == family {
            return Some(source);
        }
        let expected = "an address of the family of the virtual addresses";
        log.error(word.place, Message::WrongValue { keyword: "mcast_src_ip", value: word.text, expected });
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

    fn announcing_of(&self, strict: bool, globals: &Globals<'a>, log: &mut Log<'_, 'a>) -> Announcing {
        let own = &self.announce;
        let all = &globals.announce;
        let repeat_default = if globals.min_garp { 1 } else { 5 };
        let delay_default = Duration::from_secs(if globals.min_garp { 0 } else { 5 });
        let not_zero = |delay: Duration| (delay != Duration::ZERO).then_some(delay);
        let repeat = own.repeat.or(all.repeat).unwrap_or(repeat_default);
        let delay = own.delay.or(all.delay).unwrap_or(delay_default);
        let mut lower_repeat = own.lower_priority_repeat.or(all.lower_priority_repeat).unwrap_or(repeat);
        if strict {
            if let Some(place) = self.lower_priority_announced
                && lower_repeat != 0
            {
                let because = "strict mode has no such announcement";
                log.warning(place, Message::NoEffect { keyword: "garp_lower_prio_repeat", because });
            }
            lower_repeat = 0;
        }
        Announcing {
            repeat,
            delay: not_zero(delay),
            refresh: own.refresh.or(all.refresh).and_then(not_zero),
            refresh_repeat: own.refresh_repeat.or(all.refresh_repeat).unwrap_or(1),
            lower_repeat,
            lower_delay: not_zero(own.lower_priority_delay.or(all.lower_priority_delay).unwrap_or(delay)),
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

    fn answer_higher(&self, strict: bool, globals: &Globals<'a>, log: &mut Log<'_, 'a>) -> bool {
        match self.higher_prio_send_advert {
            Some((place, true)) if strict => {
                let because = "strict mode does not answer a higher priority";
                log.warning(place, Message::NoEffect { keyword: "higher_prio_send_advert", because });
                false
            }
            Some((_, on)) => on,
            None => !strict && globals.higher_prio_send_advert,
        }
    }
}

/// Visits the entries of an address list.
fn for_each_entry<'a>(
    statement: &Statement<'a>,
    log: &mut Log<'_, 'a>,
    mut visit: impl FnMut(Statement<'a>, &mut Log<'_, 'a>),
) {
    value::no_more(statement, statement.words, log);
    let Some(mut list) = statement.body else {
        let expected = "a block of addresses, { to }";
        log.error(statement.keyword.place, Message::MissingValue { keyword: statement.keyword.text, expected });
        return;
    };
    while let Some(entry) = list.next(&mut |diagnostic| log.add(diagnostic)) {
        visit(entry, log);
    }
}
