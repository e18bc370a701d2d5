//! `track_interface`, `track_script`, `track_file`, `track_process` and `track_probe` in a `vrrp_instance` or a
//! `vrrp_sync_group`: which trackers bear on it, and with which weight. As with keepalived an entry with a wrong option is left out, and it is
//! said.

use steadfast_core::config::diagnostic::Short;
use steadfast_core::config::statement::{Statement, Word};
use steadfast_core::config::{Place, value};

use crate::grammar::reader::Reader;

use super::Kind;

/// An entry of such a list.
pub(super) struct Use<'a> {
    pub(super) place: Place,
    pub(super) kind: Kind,
    pub(super) name: &'a str,
    /// Those of the definition where the entry has none.
    pub(super) weight: Option<i32>,
    pub(super) reverse: Option<bool>,
}

/// What the trackers of an instance or a group say about it as a whole.
pub(super) struct Uses<'a> {
    /// Where the instance or the group stands.
    pub(super) place: Place,
    pub(super) list: Vec<Use<'a>>,
    /// `sync_group_tracking_weight`, `global_tracking`: the weights of members' own trackers count.
    pub(super) weighs_members: bool,
}

impl<'a> Uses<'a> {
    /// Reads the lists in a block.
    pub(super) fn read(statement: &Statement<'a>, reader: &mut Reader<'_>) -> Self {
        let mut uses = Self { place: statement.keyword.place, list: Vec::new(), weighs_members: false };
        let Some(mut body) = statement.body else { return uses };
        while let Some(entry) = body.next(&mut |_| {}) {
            let kind = match entry.keyword.text {
                "track_interface" => Kind::Interface,
                "track_script" => Kind::Script,
                "track_file" => Kind::File,
                "track_process" => Kind::Process,
                "track_probe" => Kind::Probe,
                "sync_group_tracking_weight" | "global_tracking" => {
                    uses.weighs_members |= reader.flag(&entry);
                    continue;
                }
                _ => continue,
            };
            reader.no_more(&entry, entry.words);
            reader.entries(&entry, "a block of names, { to }", |entry, reader| {
                uses.list.extend(one(kind, entry, reader));
            });
        }
        uses
    }
}

/// `NAME [weight NUMBER [reverse|noreverse]]`
fn one<'a>(kind: Kind, entry: &Statement<'a>, reader: &mut Reader<'_>) -> Option<Use<'a>> {
    let Word { place, text: name } = entry.keyword;
    let shown = Short(name);
    if kind == Kind::Interface && value::interface(name).is_none() {
        reader.warning(place, format_args!("`{shown}` is no interface: it is not tracked"));
        return None;
    }
    let mut words = entry.words;
    let (mut weight, mut reverse) = (None, None);
    if let Some(option) = words.next() {
        if option.text != "weight" {
            let option = Short(option.text);
            reader.warning(place, format_args!("`{shown}` is not tracked: it knows `weight`, not `{option}`"));
            return None;
        }
        let most = if matches!(kind, Kind::Interface | Kind::Script | Kind::Probe) { 253 } else { 254 };
        let Some(number) = words.next() else {
            reader.warning(place, format_args!("`{shown}` is not tracked: its `weight` has no number"));
            return None;
        };
        match number.text.parse::<i32>().ok().filter(|weight| weight.unsigned_abs() <= 254) {
            Some(read) => {
                weight = Some(read.clamp(-most, most));
                if weight != Some(read) {
                    reader.warning(number.place, format_args!("the weight of `{shown}` is {most} at most, as is used"));
                }
            }
            None => {
                let number = Short(number.text);
                let text = format_args!("the weight of `{shown}` is no number from -{most} to {most}: `{number}`");
                reader.warning(place, text);
                if kind == Kind::Interface {
                    weight = Some(0);
                }
            }
        }
        reverse = words.next().and_then(|word| match word.text {
            "reverse" => Some(true),
            "noreverse" | "no_reverse" => Some(false),
            _ => {
                let option = Short(word.text);
                reader
                    .warning(word.place, format_args!("a weight is followed by `reverse` or nothing, not `{option}`"));
                None
            }
        });
        reader.no_more(entry, words);
    }
    Some(Use { place, kind, name, weight, reverse })
}
