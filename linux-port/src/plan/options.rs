//! What an instance asks of the loop itself, which the core need not know: to listen after the machine stood still, to
//! hear nobody as the owner of the addresses, and to stay out without a source address or a peer; and how long changes of
//! an interface are left unheeded.

use std::collections::HashMap;
use std::net::IpAddr;

use steadfast_core::config::diagnostic::{Short, Used};
use steadfast_core::config::statement::Statement;
use steadfast_core::config::{Place, value};
use steadfast_core::time::Duration;
use steadfast_core::types::Priority;

use crate::grammar::reader::Reader;

use super::PlannedRouter;

/// The longest delay of an interface, in seconds.
const MOST_DELAY: u32 = 255;

/// The longest wait after the machine was started, in seconds.
const MOST_AFTER_BOOT: u32 = 86_400;

/// The highest priority of another router that is not the owner.
const HIGHEST: u8 = 254;

/// What an instance asks of the loop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortOptions {
    /// `timer_expired_backup`: as Active it becomes Backup if it has been late for so long that one of this priority has
    /// taken over.
    pub stands_back: Option<Priority>,
    /// `owner_ignore_adverts`: as the owner it hears nobody.
    pub ignores_others: bool,
    /// `track_src_ip`: without this address on its interface it stays out.
    pub source: Option<IpAddr>,
    /// `unicast_fault_no_peer`, and there is none: it stays out.
    pub has_no_peer: bool,
}

/// `interface_up_down_delays`: by the name of an interface, how long it has to be down, and up, to count as it.
pub type InterfaceDelays = HashMap<String, [Duration; 2]>;

/// What a file says of it.
#[derive(Default)]
pub(super) struct Asked<'a> {
    all: Wishes,
    delay_after_boot: Duration,
    instances: HashMap<&'a str, Wishes>,
    delays: HashMap<&'a str, (Place, [Duration; 2])>,
}

/// The keywords of one block, as far as they were given.
#[derive(Clone, Copy, Default)]
struct Wishes {
    stands_back: Option<(Place, Priority)>,
    ignores_others: Option<bool>,
    tracks_source: Option<Place>,
    wants_peer: bool,
}

impl<'a> Asked<'a> {
    /// Reads the statements of a file.
    pub(super) fn read(statements: &[Statement<'a>], reader: &mut Reader<'_>) -> Self {
        let mut asked = Self::default();
        for statement in statements {
            match statement.keyword.text {
                "global_defs" => {
                    asked.all.read(statement, reader);
                    asked.delay_after_boot = after_boot(statement, reader).unwrap_or(asked.delay_after_boot);
                }
                "vrrp_instance" => {
                    let Some(name) = statement.words.clone().next() else { continue };
                    let mut wishes = Wishes::default();
                    wishes.read(statement, reader);
                    // Of a name that is there twice, the first is run.
                    asked.instances.entry(name.text).or_insert(wishes);
                }
                "interface_up_down_delays" => {
                    reader.entries(statement, "a block of interfaces, { to }", |entry, reader| {
                        if let Some(spans) = delays(entry, reader) {
                            asked.delays.insert(entry.keyword.text, (entry.keyword.place, spans));
                        }
                    })
                }
                _ => {}
            }
        }
        asked
    }

    /// `vrrp_delay_after_boot`.
    pub(super) fn delay_after_boot(&self) -> Duration {
        self.delay_after_boot
    }

    /// What this instance asks for.
    pub(super) fn of(&self, router: &PlannedRouter, reader: &mut Reader<'_>) -> PortOptions {
        let own = self.instances.get(&*router.name).copied().unwrap_or_default();
        let settings = &router.settings;
        let because = match settings.preempt {
            _ if settings.priority.is_owner() => Some("the owner (priority 255) is always Active"),
            true => Some("without `nopreempt` it takes over again"),
            false => None,
        };
        if let (Some((place, _)), Some(because)) = (own.stands_back, because) {
            reader.no_effect(place, "timer_expired_backup", because);
        }
        if let (Some(place), None) = (own.tracks_source, settings.source) {
            let because = "there is no `mcast_src_ip` and no `unicast_src_ip`";
            reader.no_effect(place, "track_src_ip", because);
        }
        PortOptions {
            stands_back: own.stands_back.or(self.all.stands_back).map(|(_, other)| other).filter(|_| because.is_none()),
            ignores_others: settings.priority.is_owner()
                && own.ignores_others.or(self.all.ignores_others).unwrap_or(false),
            source: own.tracks_source.and(settings.source),
            has_no_peer: own.wants_peer && router.peers.is_empty(),
        }
    }

    /// The delays of interfaces. None is down for longer than its instances may be silent, less an interval: a peer would
    /// have taken over before they let go.
    pub(super) fn delays<'r>(
        &self,
        routers: impl Iterator<Item = &'r PlannedRouter>,
        reader: &mut Reader<'_>,
    ) -> InterfaceDelays {
        let mut patience: HashMap<&str, Duration> = HashMap::new();
        for PlannedRouter { interface, settings, .. } in routers {
            let most = settings.interval.duration().times(u64::from(settings.down_timer_adverts).saturating_sub(1));
            patience.entry(interface).and_modify(|least| *least = most.min(*least)).or_insert(most);
        }
        let limited = self.delays.iter().map(|(name, (place, [down, up]))| {
            let most = patience.get(name).copied().unwrap_or(*down);
            if *down > most {
                let (name, most) = (Short(name), most.as_millis());
                let text = format_args!(
                    "`{name}` counts as down after {most} ms, not later: a peer would take over before its instances stop"
                );
                reader.warning(*place, text);
            }
            ((*name).to_owned(), [(*down).min(most), *up])
        });
        limited.collect()
    }
}

impl Wishes {
    fn read(&mut self, block: &Statement<'_>, reader: &mut Reader<'_>) {
        let Some(mut body) = block.body else { return };
        while let Some(entry) = body.next(&mut |_| {}) {
            let place = entry.keyword.place;
            match entry.keyword.text {
                "timer_expired_backup" | "thread_timer_expired" => {
                    let other = stands_back(&entry, reader);
                    self.stands_back = other.map(|other| (place, other)).or(self.stands_back);
                }
                "owner_ignore_adverts" | "vrrp_owner_ignore_adverts" => {
                    self.ignores_others = reader.switch(&entry).or(self.ignores_others);
                }
                "track_src_ip" if reader.flag(&entry) => self.tracks_source = Some(place),
                "unicast_fault_no_peer" => self.wants_peer |= reader.flag(&entry),
                _ => {}
            }
        }
    }
}

/// `vrrp_delay_after_boot` in `global_defs`.
fn after_boot(block: &Statement<'_>, reader: &mut Reader<'_>) -> Option<Duration> {
    let mut body = block.body?;
    let mut delay = None;
    while let Some(entry) = body.next(&mut |_| {}) {
        if entry.keyword.text == "vrrp_delay_after_boot" {
            let parse = |text| value::seconds(text, MOST_AFTER_BOOT);
            delay = reader.defaulted(&entry, "seconds from 0 to 86400", Used::Nothing, parse).or(delay);
        }
    }
    delay
}

/// `timer_expired_backup [PRIORITY]`
fn stands_back(entry: &Statement<'_>, reader: &mut Reader<'_>) -> Option<Priority> {
    if entry.words.clone().next().is_none() {
        return Priority::new(HIGHEST);
    }
    let parse =
        |text| value::number(text, 1..=HIGHEST.into()).and_then(|n| u8::try_from(n).ok()).and_then(Priority::new);
    reader.defaulted(entry, "a priority from 1 to 254", Used::Number(HIGHEST.into()), parse).or(Priority::new(HIGHEST))
}

/// `INTERFACE DOWN [UP]`
fn delays(entry: &Statement<'_>, reader: &mut Reader<'_>) -> Option<[Duration; 2]> {
    let name = Short(entry.keyword.text);
    if value::interface(entry.keyword.text).is_none() {
        reader.warning(entry.keyword.place, format_args!("`{name}` is no interface: its changes are heeded at once"));
        return None;
    }
    let mut words = entry.words;
    let seconds = |word: &str| value::seconds(word, MOST_DELAY);
    let Some(word) = words.next() else {
        reader.warning(entry.keyword.place, format_args!("`{name}` has no delay: its changes are heeded at once"));
        return None;
    };
    let down = seconds(word.text);
    let other = words.next();
    let up = other.map_or(down, |word| seconds(word.text));
    reader.no_more(entry, words);
    let both = down.zip(up);
    if both.is_none() {
        let word = if down.is_none() { word } else { other.unwrap_or(word) };
        let text = format_args!("`{}` is no delay, seconds from 0 to 255: `{name}` has none", Short(word.text));
        reader.warning(word.place, text);
    }
    both.map(|(down, up)| [down, up])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::check::Findings;
    use crate::plan::{self, Plan};

    fn read(before: &str, globals: &str, inside: &str) -> (Plan, Vec<String>) {
        let text = format!(
            "global_defs {{\n{globals}\n}}\n{before}\nvrrp_instance V {{\ninterface eth0\nvirtual_router_id 1\nversion 3\n\
             advert_int 0.5\nvirtual_ipaddress {{\n10.0.0.1\n}}\n{inside}\n}}\n"
        );
        let mut findings = Findings::new(Path::new("f"));
        let plan = plan::parse(text.as_bytes(), &mut findings).unwrap();
        (plan, findings.iter().map(ToString::to_string).collect())
    }

    fn options(globals: &str, inside: &str) -> (PortOptions, String) {
        let (plan, said) = read("", globals, inside);
        (plan.routers[0].options.clone(), said.join("\n"))
    }

    #[test]
    fn standing_back_is_for_those_that_do_not_preempt() {
        let other = |globals, inside| options(globals, inside).0.stands_back.map(Priority::get);
        assert_eq!(other("", "nopreempt\ntimer_expired_backup"), Some(254));
        assert_eq!(other("", "nopreempt\nthread_timer_expired 120"), Some(120));
        assert_eq!(other("timer_expired_backup 9", "nopreempt"), Some(9));
        assert_eq!(other("timer_expired_backup 9", ""), None);
        let (options, said) = options("", "timer_expired_backup 255");
        assert_eq!(options.stands_back, None);
        assert!(
            said.contains("expected a priority from 1 to 254") || said.contains("a priority from 1 to 254"),
            "{said}"
        );
        assert!(said.contains("without `nopreempt` it takes over again"), "{said}");
    }

    #[test]
    fn the_owner_may_ignore_others() {
        let ignores = |globals, inside| options(globals, inside).0.ignores_others;
        assert!(ignores("", "priority 255\nowner_ignore_adverts"));
        assert!(ignores("vrrp_owner_ignore_adverts", "priority 255"));
        assert!(!ignores("vrrp_owner_ignore_adverts", "priority 255\nowner_ignore_adverts off"));
        assert!(!ignores("vrrp_owner_ignore_adverts", "priority 254"));
    }

    #[test]
    fn a_delay_after_boot_is_read() {
        let (plan, said) = read("", "vrrp_delay_after_boot 15.23", "");
        assert_eq!((plan.globals.delay_after_boot.as_millis(), said.len()), (15_230, 0), "{said:?}");
    }

    #[test]
    fn a_source_and_a_peer_can_be_missed() {
        let (with, said) = options("", "track_src_ip\nmcast_src_ip 10.0.0.9");
        assert_eq!((with.source, said.as_str()), (Some([10, 0, 0, 9].into()), ""));
        let (without, said) = options("", "track_src_ip");
        assert_eq!(without.source, None);
        assert!(said.contains("`track_src_ip` has no effect"), "{said}");
        assert!(options("", "unicast_fault_no_peer\nunicast_peer {\n}").0.has_no_peer);
        assert!(!options("", "unicast_fault_no_peer\nunicast_peer {\n10.0.0.2\n}").0.has_no_peer);
    }

    #[test]
    fn delays_end_before_a_peer_takes_over() {
        let block = "interface_up_down_delays {\neth0 0.25 3\neth1 200\neth2 x\neth3\neth4 300\n}";
        let (plan, said) = read(block, "", "");
        let ms = |name: &str| plan.delays.get(name).map(|spans| spans.map(|span| span.as_millis()));
        assert_eq!((ms("eth0"), ms("eth1"), ms("eth2")), (Some([250, 3000]), Some([200_000, 200_000]), None));
        assert_eq!((ms("eth3"), ms("eth4"), said.len()), (None, None, 3), "{said:?}");
        let (plan, said) = read("interface_up_down_delays {\neth0 2\n}", "", "");
        assert_eq!(plan.delays["eth0"].map(|span| span.as_millis()), [1000, 2000]);
        assert!(said[0].contains("counts as down after 1000 ms"), "{said:?}");
    }
}
