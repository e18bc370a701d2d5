//! `auth_hmac` of an instance: its keys, from the configuration or from files, and what is demanded of packets. An
//! instance with an error in it is left out: beside routers that authenticate, one that cannot is a second Active. No
//! sentence shows a word that may be a key.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use steadfast_core::auth::{Mode, Policy};
use steadfast_core::config::diagnostic::Short;
use steadfast_core::config::keywords::Vocabulary;
use steadfast_core::config::statement::Statement;
use steadfast_core::config::{Instance, Place, value};

use crate::grammar::reader::Reader;
use crate::keys::{self, KeyRing, Secret};

/// What a key looks like.
const KEY: &str =
    "`key` wants a number from 1 to 255, and one word: hex: and digits, file: and a path, or 32 to 64 characters";

/// The shortest window that follows from an interval, in seconds.
const LEAST_WINDOW: u16 = 5;

/// How the packets of a Virtual Router are authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedHmac {
    /// `key`; that of the active number is there.
    pub keys: KeyRing,
    /// What is demanded.
    pub policy: Policy,
}

/// What the instances of a file say.
pub(super) struct Authentications(HashMap<String, Option<Draft>>);

#[derive(Default)]
struct Draft {
    keys: KeyRing,
    active_key: Option<(Place, u8)>,
    monotonic: bool,
    window: Option<(Place, u16)>,
    mode: Option<(Place, Mode)>,
}

impl Authentications {
    /// Reads the statements of a file.
    pub(super) fn read(statements: &[Statement<'_>], reader: &mut Reader<'_>) -> Self {
        let mut all = HashMap::new();
        for statement in statements.iter().filter(|statement| statement.keyword.text == "vrrp_instance") {
            let (Some(name), Some(mut body)) = (statement.words.clone().next(), statement.body) else { continue };
            let mut draft = None;
            reader.begin();
            while let Some(entry) = body.next(&mut |_| {}) {
                if entry.keyword.text != "auth_hmac" {
                    continue;
                }
                if draft.is_some() {
                    reader.error(entry.keyword.place, "there is one `auth_hmac` already; put all keys into one block");
                }
                draft = Some(Draft::read(&entry, reader));
            }
            if let Some(draft) = draft {
                // Of a name that is there twice, the first is run.
                all.entry(name.text.to_owned()).or_insert_with(|| Some(draft).filter(|_| !reader.has_errors()));
            }
        }
        Self(all)
    }

    /// How the packets of an instance are authenticated, if they are; an error if that cannot be done.
    pub(super) fn of(&self, instance: &Instance<'_>, reader: &mut Reader<'_>) -> Result<Option<Arc<PlannedHmac>>, ()> {
        let Some(draft) = self.0.get(instance.name) else { return Ok(None) };
        let Some(draft) = draft else { return Err(()) };
        let settings = &instance.settings;
        let usual = settings.interval.centiseconds().saturating_mul(3).div_ceil(100).max(LEAST_WINDOW);
        let mode = match draft.mode {
            Some((place, mode)) if settings.strict && mode != Mode::Enforce => {
                reader.no_effect(place, "mode", "strict mode takes no packet that is not authenticated");
                Mode::Enforce
            }
            given => given.map_or_else(Mode::default, |(_, mode)| mode),
        };
        let window = (!draft.monotonic).then(|| draft.window.map_or(usual, |(_, window)| window));
        let active_key = draft.active_key.map_or(0, |(_, number)| number);
        Ok(Some(Arc::new(PlannedHmac { keys: draft.keys.clone(), policy: Policy { mode, active_key, window } })))
    }
}

impl Draft {
    fn read(block: &Statement<'_>, reader: &mut Reader<'_>) -> Self {
        let mut draft = Self::default();
        reader.no_more(block, block.words);
        reader.block(block, Vocabulary::AuthHmac, |keyword, entry, reader| draft.keyword(keyword, entry, reader));
        match draft.active_key {
            None => reader.error(block.keyword.place, "`auth_hmac` wants `active_key`, the number of one of its keys"),
            Some((place, number)) if !draft.keys.has(number) => {
                reader.error(place, format_args!("there is no `key {number}`"));
            }
            Some(_) => {}
        }
        if let (true, Some((place, _))) = (draft.monotonic, draft.window) {
            reader.no_effect(place, "time_window", "`anti_replay monotonic` looks at no clock");
        }
        draft
    }

    fn keyword(&mut self, keyword: &'static str, entry: &Statement<'_>, reader: &mut Reader<'_>) {
        let place = entry.keyword.place;
        match keyword {
            "key" => self.key(entry, reader),
            "active_key" => {
                self.active_key = reader.required(entry, "the number of a key", number).map(|read| (place, read));
            }
            "anti_replay" => {
                let parse = |text| match text {
                    "time" => Some(false),
                    "monotonic" => Some(true),
                    _ => None,
                };
                self.monotonic = reader.required(entry, "time or monotonic", parse).unwrap_or_default();
            }
            "time_window" => {
                let read = reader.number(entry, "seconds from 1 to 300", 1..=300);
                self.window = read.and_then(|read| u16::try_from(read).ok()).map(|read| (place, read));
            }
            "mode" => {
                let parse = |text| match text {
                    "enforce" => Some(Mode::Enforce),
                    "permissive" => Some(Mode::Permissive),
                    "receive-only" => Some(Mode::ReceiveOnly),
                    _ => None,
                };
                let read = reader.required(entry, "enforce, permissive or receive-only", parse);
                self.mode = read.map(|read| (place, read));
            }
            _ => {}
        }
    }

    fn key(&mut self, entry: &Statement<'_>, reader: &mut Reader<'_>) {
        let mut words = entry.words;
        let (name, key, more) = (words.next(), words.next(), words.next());
        let (Some(number), Some(key), None) = (name.and_then(|name| number(name.text)), key, more) else {
            return reader.error(entry.keyword.place, KEY);
        };
        let Some(secret) = secret(key.text, key.place, reader) else { return };
        if !self.keys.add(number, secret) {
            reader.error(entry.keyword.place, format_args!("there is a `key {number}` already"));
        }
    }
}

fn number(text: &str) -> Option<u8> {
    value::number(text, 1..=255).and_then(|number| u8::try_from(number).ok())
}

fn secret(text: &str, place: Place, reader: &mut Reader<'_>) -> Option<Secret> {
    let Some(path) = text.strip_prefix("file:") else {
        return keys::parse(text.as_bytes()).map_err(|problem| reader.error(place, problem)).ok();
    };
    let name = Short(path);
    let read = keys::read(Path::new(path)).map_err(|error| {
        reader.error(place, format_args!("the key in `{name}` cannot be read: {error}"));
    });
    let read = read.ok()?;
    if read.is_open {
        reader.warning(place, format_args!("others than its owner may read the key in `{name}`"));
    }
    read.secret.map_err(|problem| reader.error(place, format_args!("`{name}`: {problem}"))).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::{Plan, parse};
    use super::*;
    use crate::check::Findings;

    const SECRET: &str = "correct-horse-battery-staple-0123";

    /// The plan of an instance with these lines in its `auth_hmac`, and what is said about it.
    fn read(lines: &str, instance: &str) -> (Plan, Vec<String>) {
        let text = format!(
            "vrrp_instance V {{\ninterface eth0\nvirtual_router_id 51\n{instance}\n\
             virtual_ipaddress {{\n192.0.2.1\n}}\nauth_hmac {{\n{lines}\n}}\n}}\n"
        );
        let mut findings = Findings::new(Path::new("f"));
        let plan = parse(text.as_bytes(), &mut findings).unwrap();
        (plan, findings.iter().map(ToString::to_string).collect())
    }

    fn policy(lines: &str, instance: &str) -> Policy {
        let (plan, said) = read(&format!("key 1 {SECRET}\nactive_key 1\n{lines}"), instance);
        assert_eq!(said, [""; 0]);
        plan.routers[0].hmac.as_ref().unwrap().policy
    }

    #[test]
    fn the_defaults_are_keepalived_s() {
        let usual = Policy { mode: Mode::Enforce, active_key: 1, window: Some(5) };
        assert_eq!(policy("", ""), usual);
        assert_eq!(policy("", "advert_int 4").window, Some(12));
        assert_eq!(policy("time_window 30", ""), Policy { window: Some(30), ..usual });
        assert_eq!(policy("anti_replay monotonic", ""), Policy { window: None, ..usual });
        assert_eq!(policy("mode permissive", "").mode, Mode::Permissive);
        assert_eq!(policy("anti_replay time\nmode receive-only", "").mode, Mode::ReceiveOnly);
    }

    #[test]
    fn what_is_wrong_leaves_the_instance_out_and_shows_no_key() {
        for (lines, said) in [
            ("", "f:8:1: error: `auth_hmac` wants `active_key`, the number of one of its keys"),
            (&*format!("key 1 {SECRET}\nactive_key 2"), "f:10:1: error: there is no `key 2`"),
            (&format!("key 1 {SECRET}\nkey 1 {SECRET}\nactive_key 1"), "f:10:1: error: there is a `key 1` already"),
            (&format!("key 1 {SECRET} {SECRET}\nactive_key 1"), &*format!("f:9:1: error: {KEY}")),
            (&format!("key {SECRET}\nactive_key 1"), &*format!("f:9:1: error: {KEY}")),
            ("key 1 hex:5EC4E7\nactive_key 1", "f:9:7: error: a key has 32 to 64 bytes"),
            ("key 1 file:/nonexistent/key\nactive_key 1", "f:9:7: error: the key in `/nonexistent/key` cannot be read"),
            (
                &format!("key 1 {SECRET}\nactive_key 1\nmode enforced"),
                "f:11:6: error: `mode` wants enforce, permissive",
            ),
        ] {
            let (plan, findings) = read(lines, "");
            assert!(plan.routers.is_empty(), "{lines}");
            assert!(findings.iter().any(|finding| finding.starts_with(said)), "{lines}: {findings:#?}");
            assert!(
                findings.iter().all(|finding| !finding.contains("horse") && !finding.contains("5EC4")),
                "{findings:?}"
            );
        }
    }

    #[test]
    fn what_is_in_vain_is_said() {
        let good = format!("key 1 {SECRET}\nactive_key 1\n");
        let (plan, said) = read(&format!("{good}anti_replay monotonic\ntime_window 9"), "");
        assert!(plan.routers[0].hmac.is_some());
        assert!(said[0].contains("`time_window` has no effect"), "{said:?}");
        let (plan, said) = read(&format!("{good}mode permissive"), "strict_mode on");
        assert_eq!(plan.routers[0].hmac.as_ref().unwrap().policy.mode, Mode::Enforce);
        assert!(said.iter().any(|said| said.contains("`mode` has no effect")), "{said:?}");
        let password = "version 2\nauthentication {\nauth_type PASS\nauth_pass x\n}";
        let (plan, said) = read(&good, password);
        assert_eq!(plan.routers[0].settings.authentication, Default::default());
        assert!(said[0].contains("`authentication` has no effect"), "{said:?}");
        // Whatever is shown of a plan, the key is not.
        assert!(!format!("{plan:?}").contains("horse"));
    }

    #[test]
    fn a_key_is_read_from_a_file() {
        let file = std::env::temp_dir().join(format!("steadfast-key-{}", std::process::id()));
        let lines = format!("key 3 file:{}\nactive_key 3", file.display());
        fs::write(&file, format!("{SECRET}\n")).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        let (plan, said) = read(&lines, "");
        assert_eq!(said, [""; 0]);
        let direct = read(&format!("key 3 {SECRET}\nactive_key 3"), "").0;
        assert_eq!(plan.routers, direct.routers);
        fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(read(&lines, "").1[0].contains("others than its owner may read the key"));
        fs::write(&file, "x".repeat(1000)).unwrap();
        assert!(read(&lines, "").1.iter().any(|said| said.contains("longer than a key")));
        fs::remove_file(&file).unwrap();
    }
}
