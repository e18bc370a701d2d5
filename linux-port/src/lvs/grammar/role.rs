//! `real_server_role`: the virtual addresses that this machine takes packets for as a real server.

use std::collections::HashSet;

use steadfast_core::config::keywords::Vocabulary;
use steadfast_core::config::statement::Statement;
use steadfast_core::config::{Message, value};

use crate::grammar::reader::Reader;

use super::super::plan::RealServerRole;
use super::Definitions;

impl Definitions {
    /// Reads the block. One with an error has no effect at all.
    pub(super) fn role(&mut self, statement: &Statement<'_>, reader: &mut Reader<'_>) {
        let place = statement.keyword.place;
        reader.begin();
        reader.flag(statement);
        let mut seen = HashSet::new();
        let mut role = RealServerRole { interface: "lo".into(), addresses: Vec::new() };
        reader.block(statement, Vocabulary::RealServerRole, |keyword, entry, reader| {
            if keyword == "interface" {
                let interface = reader.required(entry, "an interface: 1 to 15 characters", value::interface);
                role.interface = interface.map_or_else(String::new, str::to_owned);
                return;
            }
            reader.entries(entry, "a block of addresses, { to }", |entry, reader| {
                let word = entry.keyword;
                match value::address(word.text) {
                    Some(address) if seen.insert(address) => role.addresses.push(address),
                    Some(_) => reader.warning(word.place, Message::DuplicateAddress { value: word.text }),
                    None => {
                        let expected = "an IPv4 or IPv6 address";
                        let keyword = "virtual_ipaddress";
                        reader.error(word.place, Message::WrongValue { keyword, value: word.text, expected });
                    }
                }
                reader.no_more(entry, entry.words);
            });
        });
        if role.addresses.is_empty() && !reader.has_errors() {
            let message = Message::MissingKeyword { keyword: "virtual_ipaddress", expected: "a block of addresses" };
            reader.error(place, message);
        }
        if self.role.is_some() {
            reader.error(place, "there is a real_server_role already; this one is left out");
        }
        if !reader.has_errors() {
            self.role = Some(role);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::check::Findings;
    use crate::lvs::plan::RealServerRole;

    fn read(text: &str) -> (Option<RealServerRole>, Vec<String>) {
        let mut findings = Findings::new(Path::new("a.conf"));
        let plan = crate::plan::parse(text.as_bytes(), &mut findings).unwrap();
        (plan.lvs.role, findings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_role_is_read() {
        let (role, said) = read("real_server_role {\n virtual_ipaddress {\n 192.0.2.1\n 2001:db8::1\n }\n}\n");
        let addresses = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!((role, said), (Some(RealServerRole { interface: "lo".into(), addresses }), vec![]));
        let (role, _) = read("real_server_role {\n interface dummy0\n virtual_ipaddress {\n 192.0.2.1\n }\n}\n");
        assert_eq!(role.unwrap().interface, "dummy0");
    }

    #[test]
    fn what_is_wrong_has_its_place_and_leaves_the_role_out() {
        for (text, said) in [
            ("real_server_role {\n}\n", "a.conf:1:1: error: "),
            ("real_server_role {\n virtual_ipaddress {\n 192.0.2\n }\n}\n", "a.conf:3:2: error: "),
            ("real_server_role {\n interface a/b\n virtual_ipaddress {\n 192.0.2.1\n }\n}\n", "a.conf:2:12: error: "),
            ("real_server_role {\n virtual_ipaddress\n}\n", "a.conf:2:2: error: "),
        ] {
            let (role, findings) = read(text);
            assert_eq!(role, None, "{text}");
            assert!(findings.iter().any(|finding| finding.starts_with(said)), "{findings:?}");
        }
        let one = "real_server_role {\n virtual_ipaddress {\n 192.0.2.1\n }\n}\n";
        let (role, findings) = read(&format!("{one}{one}"));
        assert!(role.is_some());
        assert_eq!(findings, ["a.conf:6:1: error: there is a real_server_role already; this one is left out"]);
    }
}
