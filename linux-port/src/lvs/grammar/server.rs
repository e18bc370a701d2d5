//! `real_server`, and `sorry_server` where it is the same: an address with a port, and what its block says.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use steadfast_core::config::keywords::Vocabulary;
use steadfast_core::config::statement::Statement;
use steadfast_core::config::{Message, Place, value};

use crate::grammar::reader::{Reader, port};
use crate::grammar::script::Scripts;
use crate::ipvs::row::{DestinationKey, Forwarding};
use crate::process::Script;

use super::super::plan::RealServer;
use super::check::CheckDraft;
use super::common::Common;
use super::{Definitions, forwarding};

/// The largest weight of the kernel's.
const MOST_WEIGHT: u32 = i32::MAX as u32;

/// `ADDRESS [PORT]`
#[derive(Clone, Copy, Debug)]
pub(super) struct Endpoint {
    /// Where the address stands.
    pub(super) place: Place,
    pub(super) address: IpAddr,
    /// 0 if none is given.
    pub(super) port: u16,
    /// Where the port stands.
    pub(super) port_place: Place,
}

impl Endpoint {
    /// Reads the words after a keyword.
    pub(super) fn read(statement: &Statement<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let keyword = statement.keyword.text;
        let mut words = statement.words;
        let expected = "an address, and perhaps a port";
        let Some(word) = words.next() else {
            reader.error(statement.keyword.place, Message::MissingValue { keyword, expected });
            return None;
        };
        let Some(address) = value::address(word.text) else {
            reader.error(word.place, Message::WrongValue { keyword, value: word.text, expected });
            return None;
        };
        let mut endpoint = Self { place: word.place, address, port: 0, port_place: word.place };
        if let Some(word) = words.next() {
            // Some write it to say that there is none.
            let Some(port) = port(word.text).or_else(|| (word.text == "0").then_some(0)) else {
                let expected = "a port from 1 to 65535 after the address";
                reader.error(word.place, Message::WrongValue { keyword, value: word.text, expected });
                return None;
            };
            endpoint.port = port;
            endpoint.port_place = word.place;
        }
        reader.no_more(statement, words);
        Some(endpoint)
    }

    pub(super) fn key(&self) -> DestinationKey {
        DestinationKey { address: self.address, port: self.port }
    }
}

/// A weight; a wrong one has no effect.
pub(super) fn weight(statement: &Statement<'_>, reader: &mut Reader<'_>) -> Option<u32> {
    reader.number(statement, "a number from 0 to 2147483647", 0..=MOST_WEIGHT)
}

/// A number of connections; a wrong one has no effect.
pub(super) fn threshold(statement: &Statement<'_>, reader: &mut Reader<'_>) -> Option<u32> {
    reader.number(statement, "a number from 0 to 4294967295", 0..=u32::MAX)
}

/// What a `real_server` says.
pub(super) struct ServerDraft {
    pub(super) endpoint: Endpoint,
    pub(super) weight: Option<u32>,
    pub(super) forwarding: Option<Forwarding>,
    upper_threshold: Option<u32>,
    lower_threshold: Option<u32>,
    inhibit_on_failure: Option<bool>,
    notify_up: Option<Arc<Script>>,
    notify_down: Option<Arc<Script>>,
    mail: Option<bool>,
    common: Common,
    checks: Vec<CheckDraft>,
}

/// What a virtual server's servers inherit.
pub(super) struct Inherited<'a> {
    pub(super) common: &'a Common,
    pub(super) weight: u32,
    pub(super) forwarding: Forwarding,
    pub(super) inhibit_on_failure: bool,
    pub(super) upper_threshold: u32,
    pub(super) lower_threshold: u32,
    pub(super) log_all_failures: bool,
    pub(super) mail: bool,
}

impl ServerDraft {
    /// Reads a `real_server`; `None` after an error in its address.
    pub(super) fn read(
        statement: &Statement<'_>,
        definitions: &Definitions,
        scripts: &Scripts,
        reader: &mut Reader<'_>,
    ) -> Option<Self> {
        let mut draft = Self {
            endpoint: Endpoint::read(statement, reader)?,
            weight: None,
            forwarding: None,
            upper_threshold: None,
            lower_threshold: None,
            inhibit_on_failure: None,
            notify_up: None,
            notify_down: None,
            mail: None,
            common: Common::default(),
            checks: Vec::new(),
        };
        // One without a block is a server with all defaults.
        if statement.body.is_some() {
            reader.block(statement, Vocabulary::RealServer, |keyword, entry, reader| {
                draft.keyword(keyword, entry, definitions, scripts, reader);
            });
        }
        Some(draft)
    }

    fn keyword(
        &mut self,
        keyword: &'static str,
        statement: &Statement<'_>,
        definitions: &Definitions,
        scripts: &Scripts,
        reader: &mut Reader<'_>,
    ) {
        if self.common.read(keyword, statement, reader) {
            return;
        }
        match keyword {
            "weight" => self.weight = weight(statement, reader).or(self.weight),
            "lvs_method" | "lb_kind" => {
                self.forwarding = forwarding::read(statement, reader).or(self.forwarding);
            }
            "uthreshold" => self.upper_threshold = threshold(statement, reader).or(self.upper_threshold),
            "lthreshold" => self.lower_threshold = threshold(statement, reader).or(self.lower_threshold),
            "inhibit_on_failure" => {
                self.inhibit_on_failure = reader.switch(statement).or(self.inhibit_on_failure);
            }
            "notify_up" => self.notify_up = scripts.notify(statement, reader),
            "notify_down" => self.notify_down = scripts.notify(statement, reader),
            "smtp_alert" => self.mail = reader.switch(statement).or(self.mail),
            // The rest of the table are checkers.
            _ => self.checks.extend(CheckDraft::read(keyword, statement, definitions, scripts, reader)),
        }
    }

    /// The server with all that it inherits; `key` is where its packets arrive, `checked` where its checks go that say
    /// nothing else.
    pub(super) fn finish(
        self,
        key: DestinationKey,
        checked: SocketAddr,
        inherited: &Inherited<'_>,
        reader: &mut Reader<'_>,
    ) -> RealServer {
        let common = self.common.within(inherited.common);
        let mut checks = Vec::new();
        for draft in self.checks {
            checks.extend(draft.finish(checked, &common, inherited.log_all_failures, reader).into_iter().map(Arc::new));
        }
        RealServer {
            key,
            weight: self.weight.unwrap_or(inherited.weight),
            forwarding: self.forwarding.unwrap_or(inherited.forwarding),
            upper_threshold: self.upper_threshold.unwrap_or(inherited.upper_threshold),
            lower_threshold: self.lower_threshold.unwrap_or(inherited.lower_threshold),
            inhibit_on_failure: self.inhibit_on_failure.unwrap_or(inherited.inhibit_on_failure),
            notify_up: self.notify_up,
            notify_down: self.notify_down,
            mail: self.mail.unwrap_or(inherited.mail),
            checks,
        }
    }
}
