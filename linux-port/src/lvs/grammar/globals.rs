//! What `global_defs`, `SSL`, `track_file` and the instances say about LVS.

use std::path::PathBuf;

use steadfast_core::config::diagnostic::{Short, Used};
use steadfast_core::config::keywords::Vocabulary;
use steadfast_core::config::statement::{Statement, Word};
use steadfast_core::config::{Message, Place, value};

use crate::grammar::reader::{Reader, port};
use crate::ipvs::settings::Timeouts;
use crate::source;

use super::super::plan::{FlushOnStop, SyncDaemon};
use super::group::Group;
use super::{Definitions, TrackFile};

/// The LVS keywords of `global_defs`.
#[derive(Default)]
pub(super) struct Globals {
    pub(super) timeouts: Option<Timeouts>,
    pub(super) flush_at_start: bool,
    pub(super) flush_on_stop: FlushOnStop,
    /// `checker_log_all_failures`.
    pub(super) log_all_failures: bool,
    /// `smtp_alert`, and `smtp_alert_checker`, which has precedence.
    smtp_alert: Option<bool>,
    smtp_alert_checker: Option<bool>,
    /// `lvs_sync_daemon`, and whether an id was given.
    sync_daemon: Option<(Place, SyncDaemon, bool)>,
}

impl Definitions {
    /// Reads a block of the file that is no virtual server.
    pub(super) fn read(&mut self, statement: &Statement<'_>, reader: &mut Reader<'_>) {
        match statement.keyword.text {
            "global_defs" => self.globals.read(statement, reader),
            "virtual_server_group" => self.group(statement, reader),
            "track_file" | "vrrp_track_file" => self.track_file(statement, reader),
            "SSL" => self.ssl(statement, reader),
            "vrrp_instance" => self.instance(statement, reader),
            "real_server_role" => self.role(statement, reader),
            _ => {}
        }
    }

    fn group(&mut self, statement: &Statement<'_>, reader: &mut Reader<'_>) {
        let Some((name, group)) = Group::read(statement, reader) else { return };
        let place = statement.keyword.place;
        if let Some(other) = self.groups.get(&name) {
            let at = reader.name_of(other.place);
            let name = Short(&name);
            reader.error(place, format_args!("there is a group `{name}` at {at} already; this one is left out"));
        } else {
            self.groups.insert(name, group);
        }
    }

    fn track_file(&mut self, statement: &Statement<'_>, reader: &mut Reader<'_>) {
        let Some(name) = reader.text(statement, "a name") else { return };
        let mut path = None;
        let mut weight = 1;
        reader.block(statement, Vocabulary::TrackFile, |keyword, entry, reader| match keyword {
            "file" => path = reader.text(entry, "a file").map(PathBuf::from),
            "weight" => weight = signed(entry, reader).map_or(weight, |(number, _)| number),
            // What the file holds at the start is the tracking instances' matter.
            _ => {}
        });
        match path {
            Some(path) => _ = self.files.insert(name, TrackFile { path, weight }),
            None => {
                let message = Message::MissingKeyword { keyword: "file", expected: "the path of a file" };
                reader.error(statement.keyword.place, message);
            }
        }
    }

    fn ssl(&mut self, statement: &Statement<'_>, reader: &mut Reader<'_>) {
        reader.flag(statement);
        reader.block(statement, Vocabulary::Ssl, |keyword, entry, reader| {
            if keyword == "password" {
                self.tls.password = reader.text(entry, "a password");
                return;
            }
            let Some(path) = reader.text(entry, "a PEM file").map(PathBuf::from) else { return };
            if let (Some(word), Err(error)) = (entry.words.clone().next(), source::open(&path)) {
                let shown = Short(word.text);
                reader.error(word.place, format_args!("`{shown}` cannot be read: {error}"));
            }
            match keyword {
                "ca" => self.tls.ca = Some(path),
                "certificate" => self.tls.certificate = Some(path),
                _ => self.tls.key = Some(path),
            }
        });
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            let expected = "both `certificate` and `key`, or neither";
            reader.error(statement.keyword.place, Message::MissingValue { keyword: "SSL", expected });
        }
    }

    /// Notes an instance's VRID; what is wrong with the instance is the core's to say.
    fn instance(&mut self, statement: &Statement<'_>, reader: &mut Reader<'_>) {
        let (Some(name), Some(mut body)) = (statement.words.clone().next(), statement.body) else { return };
        let mut vrid = None;
        let mut sync_interface = None;
        while let Some(entry) = body.next(&mut |_| {}) {
            let word = entry.words.clone().next();
            match entry.keyword.text {
                "virtual_router_id" => {
                    vrid = word
                        .and_then(|word| value::number(word.text, 1..=255))
                        .and_then(|number| u8::try_from(number).ok());
                }
                "lvs_sync_daemon_interface" => {
                    let expected = "an interface: 1 to 15 characters";
                    sync_interface = reader.required(&entry, expected, value::interface).map(str::to_owned);
                }
                _ => {}
            }
        }
        let id = vrid.unwrap_or(0);
        if let Some(interface) = sync_interface {
            let instance = Some(name.text.to_owned());
            self.sync_daemon =
                Some(SyncDaemon { interface, instance, id, max_length: 0, port: 0, ttl: 0, group: None });
        }
        self.vrids.insert(name.text.to_owned(), id);
    }

    /// `lvs_sync_daemon`, its id filled in.
    pub(super) fn sync_daemon(&mut self, reader: &mut Reader<'_>) -> Option<SyncDaemon> {
        let Some((place, mut daemon, has_id)) = self.globals.sync_daemon.take() else {
            return self.sync_daemon.take();
        };
        if let Some(name) = &daemon.instance {
            match self.vrids.get(name) {
                Some(&vrid) if !has_id => daemon.id = vrid,
                Some(_) => {}
                None => {
                    let message =
                        format_args!("`lvs_sync_daemon` wants a vrrp_instance of the file, not `{}`", Short(name));
                    reader.error(place, message);
                    return None;
                }
            }
        }
        Some(daemon)
    }
}

/// A switch of which somebody else says what is wrong with it.
fn boolean(statement: &Statement<'_>) -> Option<bool> {
    statement.words.clone().next().map_or(Some(true), |word| value::boolean(word.text))
}

impl Globals {
    /// Whether mail is sent of what does not say so itself.
    pub(super) fn mail(&self) -> Option<bool> {
        self.smtp_alert_checker.or(self.smtp_alert)
    }

    fn read(&mut self, statement: &Statement<'_>, reader: &mut Reader<'_>) {
        // The core has said what is wrong with the block and with the keywords that are not of LVS.
        let Some(mut body) = statement.body else { return };
        while let Some(entry) = body.next(&mut |_| {}) {
            self.keyword(&entry, reader);
        }
    }

    fn keyword(&mut self, statement: &Statement<'_>, reader: &mut Reader<'_>) {
        let place = statement.keyword.place;
        match statement.keyword.text {
            "lvs_sync_daemon" => {
                self.sync_daemon = sync_daemon(statement, reader).map(|(daemon, has_id)| (place, daemon, has_id));
            }
            "lvs_timeouts" => self.timeouts = timeouts(statement, reader).or(self.timeouts),
            "lvs_flush" => self.flush_at_start = reader.flag(statement),
            "lvs_flush_on_stop" | "lvs_flush_onstop" => {
                self.flush_on_stop = match statement.words.clone().next() {
                    None => FlushOnStop::Everything,
                    Some(_) => {
                        let parse = |text| (text == "VS").then_some(FlushOnStop::Services);
                        let read = reader.defaulted(statement, "VS or nothing", Used::Nothing, parse);
                        read.unwrap_or(self.flush_on_stop)
                    }
                };
            }
            "checker_log_all_failures" => {
                self.log_all_failures = reader.switch(statement).unwrap_or(self.log_all_failures);
            }
            // What is wrong there is said where the instances are read.
            "smtp_alert" => self.smtp_alert = boolean(statement).or(self.smtp_alert),
            "smtp_alert_checker" => self.smtp_alert_checker = reader.switch(statement).or(self.smtp_alert_checker),
            _ => {}
        }
    }
}

/// `lvs_timeouts [tcp SECONDS] [tcpfin SECONDS] [udp SECONDS]`
fn timeouts(statement: &Statement<'_>, reader: &mut Reader<'_>) -> Option<Timeouts> {
    const EXPECTED: &str = "tcp, tcpfin or udp, each with seconds from 1 to 2678400";
    let keyword = "lvs_timeouts";
    let mut timeouts = Timeouts::default();
    let mut words = statement.words;
    while let Some(name) = words.next() {
        let number = words.next().and_then(|word| value::number(word.text, 1..=2_678_400));
        match (name.text, number) {
            ("tcp", Some(seconds)) => timeouts.tcp = seconds,
            ("tcpfin", Some(seconds)) => timeouts.tcp_fin = seconds,
            ("udp", Some(seconds)) => timeouts.udp = seconds,
            (value, _) => {
                let message = Message::Substituted { keyword, value, expected: EXPECTED, used: Used::Nothing };
                reader.warning(name.place, message);
            }
        }
    }
    if timeouts == Timeouts::default() {
        reader.warning(statement.keyword.place, Message::MissingValue { keyword, expected: EXPECTED });
        return None;
    }
    Some(timeouts)
}

/// `lvs_sync_daemon INTERFACE [[inst] INSTANCE] [id ID] [maxlen LENGTH] [port PORT] [ttl TTL] [group ADDRESS]`; whether
/// it gives an id. A wrong word is an error: two directors that do not hear each other look like one that works.
fn sync_daemon(statement: &Statement<'_>, reader: &mut Reader<'_>) -> Option<(SyncDaemon, bool)> {
    let keyword = "lvs_sync_daemon";
    let expected = "an interface: 1 to 15 characters";
    let mut words = statement.words;
    let Some(interface) = words.next() else {
        reader.error(statement.keyword.place, Message::MissingValue { keyword, expected });
        return None;
    };
    let Some(name) = value::interface(interface.text) else {
        reader.error(interface.place, Message::WrongValue { keyword, value: interface.text, expected });
        return None;
    };
    let mut daemon =
        SyncDaemon { interface: name.to_owned(), instance: None, id: 0, max_length: 0, port: 0, ttl: 0, group: None };
    let mut has_id = false;
    let mut first = true;
    while let Some(option) = words.next() {
        let is_option = matches!(option.text, "inst" | "id" | "maxlen" | "port" | "ttl" | "group");
        if first && !is_option {
            daemon.instance = Some(option.text.to_owned());
        } else if sync_option(&mut daemon, option, words.next(), reader).is_none() {
            return None;
        }
        has_id |= option.text == "id";
        first = false;
    }
    Some((daemon, has_id))
}

/// Takes one option of `lvs_sync_daemon`; `None` after an error.
fn sync_option(
    daemon: &mut SyncDaemon,
    option: Word<'_>,
    given: Option<Word<'_>>,
    reader: &mut Reader<'_>,
) -> Option<()> {
    let text = given.map_or("", |word| word.text);
    let number = |most: u32| value::number(text, 0..=most);
    let expected = match option.text {
        "inst" => "the name of a vrrp_instance",
        "id" => "a number from 0 to 255",
        "maxlen" => "a number from 0 to 65535",
        "port" => "a port from 1 to 65535",
        "ttl" => "a number from 1 to 255",
        "group" => "a multicast address",
        word => {
            let expected = "inst, id, maxlen, port, ttl or group";
            let message = Message::WrongValue { keyword: "lvs_sync_daemon", value: word, expected };
            reader.error(option.place, message);
            return None;
        }
    };
    let taken = match option.text {
        "inst" => (!text.is_empty()).then(|| daemon.instance = Some(text.to_owned())),
        "id" => number(255).and_then(|number| u8::try_from(number).ok()).map(|id| daemon.id = id),
        "maxlen" => number(65535).and_then(|number| u16::try_from(number).ok()).map(|most| daemon.max_length = most),
        "port" => port(text).map(|port| daemon.port = port),
        "ttl" => {
            number(255).and_then(|number| u8::try_from(number).ok()).filter(|&ttl| ttl > 0).map(|ttl| daemon.ttl = ttl)
        }
        "group" => value::address(text).filter(|group| group.is_multicast()).map(|group| daemon.group = Some(group)),
        _ => None,
    };
    if taken.is_none() {
        let keyword = option.text;
        match given {
            None => reader.error(option.place, Message::MissingValue { keyword, expected }),
            Some(word) => reader.error(word.place, Message::WrongValue { keyword, value: text, expected }),
        }
    }
    taken
}

/// `weight NUMBER [reverse]`: the number, and whether it is turned round.
pub(super) fn signed(statement: &Statement<'_>, reader: &mut Reader<'_>) -> Option<(i32, bool)> {
    const EXPECTED: &str = "a number from -2147483647 to 2147483647";
    let keyword = statement.keyword.text;
    let mut words = statement.words;
    let Some(word) = words.next() else {
        reader.warning(statement.keyword.place, Message::MissingValue { keyword, expected: EXPECTED });
        return None;
    };
    let reverse = words.clone().next().is_some_and(|word| word.text == "reverse");
    if reverse {
        words.next();
    }
    reader.no_more(statement, words);
    let number = word.text.parse::<i32>().ok().filter(|&number| number != i32::MIN);
    if number.is_none() {
        let message = Message::Substituted { keyword, value: word.text, expected: EXPECTED, used: Used::Nothing };
        reader.warning(word.place, message);
    }
    number.map(|number| (if reverse { -number } else { number }, reverse))
}
