//! Reading the body of a `vrrp_instance`, keyword by keyword. Where keepalived puts a default in the place
//! of a wrong value, so do we, with a warning; any other wrong value is an error, and the instance is left
//! out. What the keywords mean together is in [`rules`].

mod rules;
#[cfg(feature = "unicast")]
mod unicast;

use core::net::IpAddr;

use super::address;
use super::diagnostic::{Diagnostic, Message, Used};
use super::globals::{
    AnnounceOptions, CHECKSUM_EXPECTED, Globals, checksum, checksum_as_v2, delay, down_timer_adverts, version,
};
use super::instance::{Instance, LeftOut};
use super::keywords::Vocabulary;
use super::lexer::Place;
use super::statement::{Block, Statement, Word};
use super::value::{self, Log, defaulted, flag, required, switch};
use crate::agent::ChecksumMode;
use crate::time::Duration;
use crate::types::{Priority, Version, Vrid};

/// The most addresses that fit into an Advertisement on Ethernet (1500 bytes); IPv4 is bounded by its count.
const MOST_V4: u8 = 255;
const MOST_V6: u8 = 90;

/// How many of IPv6 fit beside the trailer of `auth_hmac`.
#[cfg(feature = "authentication")]
const MOST_V6_HMAC: u8 = 89;

/// What a router would do that does not hear its peers.
#[cfg(not(all(feature = "authentication", feature = "unicast")))]
const TWO_ACTIVES: &str = "without it two routers would be Active at once";

/// What the keywords of an instance say, each as far as it was given; with a place where a rule between
/// keywords may have to speak about it.
#[derive(Default)]
struct Draft<'a> {
    /// `Some(None)`: given, but wrong.
    interface: Option<Option<&'a str>>,
    /// `Some(None)`: given, but wrong.
    vrid: Option<Option<Vrid>>,
    priority: Option<Priority>,
    /// Microseconds.
    interval: Option<(Word<'a>, u64)>,
    version: Option<(Place, Version)>,
    #[cfg(feature = "both-versions")]
    both_versions: Option<Place>,
    /// `state MASTER`.
    active: Option<Place>,
    nopreempt: Option<Place>,
    preempt_delay: Option<(Place, Duration)>,
    authentication: Option<Place>,
    /// `auth_hmac`, of which the rest is the port's.
    #[cfg(feature = "authentication")]
    hmac: Option<Place>,
    /// A type was given, right or wrong.
    has_auth_type: bool,
    /// It is AH.
    #[cfg(feature = "authentication")]
    is_header: bool,
    /// `Some(None)`: given, but wrong.
    password: Option<Option<[u8; 8]>>,
    accept: Option<(Place, bool)>,
    strict: Option<bool>,
    checksum: Option<ChecksumMode>,
    virtual_mac: Option<(Option<&'a str>, Option<Word<'a>>)>,
    transmit_from_base: Option<Place>,
    /// With its keyword: `mcast_src_ip` or `unicast_src_ip`.
    source: Option<(&'static str, Word<'a>, IpAddr)>,
    group: Option<(Word<'a>, IpAddr)>,
    #[cfg(feature = "unicast")]
    peers: unicast::Peers<'a>,
    announce: AnnounceOptions,
    lower_priority_announced: Option<Place>,
    down_timer_adverts: Option<u8>,
    lower_prio_no_advert: Option<(Place, bool)>,
    skip_address_check: bool,
    dont_track_primary: bool,
    /// The first entry of `virtual_ipaddress`.
    first: Option<(Word<'a>, IpAddr)>,
    /// How many there are.
    count: u32,
    has_wrong_address: bool,
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
                #[cfg(feature = "authentication")]
                "auth_hmac" => self.hmac = Some(statement.keyword.place),
                // A port that knows it keeps an instance without peers out.
                #[cfg(all(feature = "all-keywords", feature = "unicast"))]
                "unicast_fault_no_peer" => self.peers.are_wanted = true,
                // Without it it would not hear its peers, and be Active beside them.
                #[cfg(not(feature = "authentication"))]
                "auth_hmac" => needed("auth_hmac", statement.keyword.place, log),
                #[cfg(not(feature = "unicast"))]
                "unicast_peer" => needed("unicast_peer", statement.keyword.place, log),
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
                self.interface = Some(required(statement, expected, value::interface, log));
            }
            "virtual_router_id" => {
                let parse = |text| value::small(text, 1).and_then(Vrid::new);
                self.vrid = Some(required(statement, "a number from 1 to 255", parse, log));
            }
            "priority" => {
                let parse = |text| value::small(text, 1).and_then(Priority::new);
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
            #[cfg(feature = "both-versions")]
            "both_versions" if flag(statement, log) => self.both_versions = Some(place),
            "nopreempt" if flag(statement, log) => self.nopreempt = Some(place),
            "preempt" if flag(statement, log) => self.nopreempt = None,
            "preempt_delay" => {
                self.preempt_delay = delay(statement, 1000, "seconds from 0 to 1000", log).map(|read| (place, read));
            }
            "authentication" => self.authentication(statement, log),
            "virtual_ipaddress" => self.addresses(statement, log),
            "virtual_ipaddress_excluded" => {
                for_each_entry(statement, log, &mut |entry, log| {
                    address::parse(entry, log);
                });
            }
            "use_vmac" => self.use_vmac(statement, log),
            #[cfg(feature = "all-keywords")]
            "vmac_xmit_base" if flag(statement, log) => self.transmit_from_base = Some(place),
            "accept" if flag(statement, log) => self.accept = Some((place, true)),
            "no_accept" if flag(statement, log) => self.accept = Some((place, false)),
            "mcast_src_ip" | "unicast_src_ip" => {
                let read = required(statement, "an address", value::address, log);
                self.source = statement.words.clone().next().zip(read).map(|(word, source)| (keyword, word, source));
            }
            #[cfg(feature = "unicast")]
            "unicast_peer" | "check_unicast_src" => self.peers.keyword(keyword, statement, log),
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
            "skip_check_adv_addr" if flag(statement, log) => self.skip_address_check = true,
            "lower_prio_no_advert" => self.lower_prio_no_advert = switch(statement, log).map(|on| (place, on)),
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
                Some("auth_type") => {
                    self.has_auth_type = true;
                    self.auth_type(&statement, log);
                }
                Some("auth_pass") => self.password = Some(auth_pass(&statement, log)),
                _ => {}
            }
        }
    }

    fn auth_type(&mut self, statement: &Statement<'a>, log: &mut Log<'_, 'a>) {
        const EXPECTED: &str = if cfg!(feature = "authentication") { "PASS or AH" } else { "PASS" };
        let place = statement.keyword.place;
        #[cfg(feature = "authentication")]
        {
            self.is_header = false;
        }
        match required(statement, EXPECTED, Some, log) {
            Some("PASS") | None => {}
            #[cfg(feature = "authentication")]
            Some("AH") => self.is_header = true,
            #[cfg(not(feature = "authentication"))]
            Some("AH") => needed("auth_type AH", place, log),
            Some(value) => {
                log.error(place, Message::WrongValue { keyword: "auth_type", value, expected: EXPECTED });
            }
        }
    }

    fn addresses(&mut self, statement: &Statement<'a>, log: &mut Log<'_, 'a>) {
        for_each_entry(statement, log, &mut |entry, log| {
            let place = entry.keyword.place;
            address::parse(entry, log);
            // Also one with a wrong option counts: it tells the family.
            let Some((address, _)) = value::prefix(entry.keyword.text) else {
                self.has_wrong_address = true;
                return;
            };
            let (_, first) = *self.first.get_or_insert((entry.keyword, address));
            if first.is_ipv4() != address.is_ipv4() {
                let expected = "addresses of the family of the first (the other goes to virtual_ipaddress_excluded)";
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

    /// `use_vmac`, which has no other link or MAC address but on Linux.
    #[cfg(not(feature = "all-keywords"))]
    fn use_vmac(&mut self, statement: &Statement<'a>, log: &mut Log<'_, 'a>) {
        self.virtual_mac = flag(statement, log).then_some((None, None));
    }

    /// `use_vmac [NAME] [MAC] [netlink_notify_msg] [group NUMBER]`
    #[cfg(feature = "all-keywords")]
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
}

/// Says that an instance cannot be run without what this build does not have.
#[cfg(not(all(feature = "authentication", feature = "unicast")))]
fn needed<'a>(keyword: &'static str, place: Place, log: &mut Log<'_, 'a>) {
    log.error(place, Message::NeededNotYet { keyword, otherwise: TWO_ACTIVES });
}

/// Reads `auth_pass`: eight bytes, filled up with zeros.
fn auth_pass<'a>(statement: &Statement<'a>, log: &mut Log<'_, 'a>) -> Option<[u8; 8]> {
    let nonempty = |text: &'a str| (!text.is_empty()).then_some(text);
    let text = required(statement, "a password of 1 to 8 characters", nonempty, log)?;
    let mut password = [0; 8];
    for (byte, letter) in password.iter_mut().zip(text.bytes()) {
        *byte = letter;
    }
    if text.len() > password.len() {
        log.warning(statement.keyword.place, Message::PasswordTooLong);
    }
    Some(password)
}

/// Visits the entries of an address list.
fn for_each_entry<'a>(
    statement: &Statement<'a>,
    log: &mut Log<'_, 'a>,
    visit: &mut dyn FnMut(&Statement<'a>, &mut Log<'_, 'a>),
) {
    value::no_more(statement, statement.words, log);
    let Some(mut list) = statement.body else {
        let expected = "a block of addresses, { to }";
        log.error(statement.keyword.place, Message::MissingValue { keyword: statement.keyword.text, expected });
        return;
    };
    while let Some(entry) = list.next(&mut |diagnostic| log.add(diagnostic)) {
        visit(&entry, log);
    }
}
