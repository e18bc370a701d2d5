//! keepalived's keywords, and ours: which of them we act upon, which are read and need nothing, and which
//! are still to come. The tables are data; what a keyword does is decided where its block is read.

mod lvs;
mod vrrp;

use super::lexer::Quoting;

/// What we make of a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// We act upon it.
    Supported,
    /// A port acts upon it, which reads it by a grammar of its own; the core passes over it without a word. A port
    /// without that grammar has to say so itself.
    Port,
    /// keepalived has it and we do not yet: a warning says so, and its block is skipped.
    NotYet,
    /// It is read and needs nothing; the reason is given in a notice.
    Ignored(&'static str),
}

/// A keyword of keepalived.conf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyword {
    /// As it is written.
    pub name: &'static str,
    /// What we make of it. A build that does not know all acts upon what it knows.
    #[cfg(feature = "all-keywords")]
    pub support: Support,
    /// Whether it is Steadfast's own, unknown to keepalived.
    #[cfg(feature = "all-keywords")]
    pub own: bool,
}

/// A keyword; without a name if this build does not know it.
#[cfg(feature = "all-keywords")]
const fn keyword(name: &'static str, support: Support, own: bool) -> Keyword {
    Keyword { name, support, own }
}

#[cfg(not(feature = "all-keywords"))]
const fn keyword(name: &'static str, support: Support, _: bool) -> Keyword {
    Keyword { name: if matches!(support, Support::Supported) { name } else { "" } }
}

const fn supported(name: &'static str) -> Keyword {
    keyword(name, Support::Supported, false)
}

const fn port(name: &'static str) -> Keyword {
    keyword(name, Support::Port, false)
}

const fn own(name: &'static str) -> Keyword {
    keyword(name, Support::Supported, true)
}

const fn own_port(name: &'static str) -> Keyword {
    keyword(name, Support::Port, true)
}

const fn not_yet(name: &'static str) -> Keyword {
    keyword(name, Support::NotYet, false)
}

const fn ignored(name: &'static str, why: &'static str) -> Keyword {
    keyword(name, Support::Ignored(why), false)
}

/// What there is of a table in this build.
macro_rules! table {
    ($all:expr) => {{
        const KEPT: &[Keyword] = &kept::<{ count($all) }>($all);
        KEPT
    }};
}

const fn count(mut all: &[Keyword]) -> usize {
    let mut count = 0_usize;
    while let Some((keyword, rest)) = all.split_first() {
        if !keyword.name.is_empty() {
            count = count.saturating_add(1);
        }
        all = rest;
    }
    count
}

const fn kept<const N: usize>(mut all: &[Keyword]) -> [Keyword; N] {
    let mut kept = [supported(""); N];
    let mut places: &mut [Keyword] = &mut kept;
    while let Some((keyword, rest)) = all.split_first() {
        if !keyword.name.is_empty() {
            let Some((place, more)) = places.split_first_mut() else { break };
            *place = *keyword;
            places = more;
        }
        all = rest;
    }
    kept
}

/// The kinds of places that have keywords of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Vocabulary {
    /// Outside all blocks.
    File,
    /// `global_defs`.
    Global,
    /// `vrrp_instance`.
    Instance,
    /// `authentication` in a `vrrp_instance`.
    Authentication,
    /// `auth_hmac` in a `vrrp_instance`.
    AuthHmac,
    /// `vrrp_sync_group`.
    SyncGroup,
    /// `vrrp_script`.
    Script,
    /// `track_file`, `vrrp_track_file`.
    TrackFile,
    /// `vrrp_track_process`.
    TrackProcess,
    /// `garp_group`.
    GarpGroup,
    /// `track_group`.
    TrackGroup,
    /// `bfd_instance`.
    Bfd,
    /// `virtual_server`.
    VirtualServer,
    /// `virtual_server_group`.
    VirtualServerGroup,
    /// `real_server`.
    RealServer,
    /// The checkers of a `real_server`.
    Checker,
    /// `url` in HTTP_GET and SSL_GET.
    Url,
    /// `SSL`.
    Ssl,
    /// `real_server_role`.
    RealServerRole,
    /// `router_advertisements` in a `vrrp_instance`.
    #[cfg(feature = "all-keywords")]
    RouterAdvertisements,
    /// `vrrp_probe`.
    #[cfg(feature = "all-keywords")]
    Probe,
}

impl Vocabulary {
    /// All of them.
    pub const ALL: [Self; if cfg!(feature = "all-keywords") { 21 } else { 19 }] = [
        Self::File,
        Self::Global,
        Self::Instance,
        Self::Authentication,
        Self::AuthHmac,
        Self::SyncGroup,
        Self::Script,
        Self::TrackFile,
        Self::TrackProcess,
        Self::GarpGroup,
        Self::TrackGroup,
        Self::Bfd,
        Self::VirtualServer,
        Self::VirtualServerGroup,
        Self::RealServer,
        Self::Checker,
        Self::Url,
        Self::Ssl,
        Self::RealServerRole,
        #[cfg(feature = "all-keywords")]
        Self::RouterAdvertisements,
        #[cfg(feature = "all-keywords")]
        Self::Probe,
    ];

    /// Its keywords: all, or those that core acts upon.
    pub const fn keywords(self) -> &'static [Keyword] {
        match self {
            Self::File => table!(vrrp::FILE),
            Self::Global => table!(vrrp::GLOBAL),
            Self::Instance => table!(vrrp::INSTANCE),
            Self::Authentication => table!(vrrp::AUTHENTICATION),
            Self::SyncGroup => table!(vrrp::SYNC_GROUP),
            // The other blocks are none of core's.
            _ if !cfg!(feature = "all-keywords") => &[],
            Self::AuthHmac => vrrp::AUTH_HMAC,
            Self::Script => vrrp::SCRIPT,
            Self::TrackFile => vrrp::TRACK_FILE,
            Self::TrackProcess => vrrp::TRACK_PROCESS,
            Self::GarpGroup => vrrp::GARP_GROUP,
            Self::TrackGroup => vrrp::TRACK_GROUP,
            Self::Bfd => vrrp::BFD,
            Self::VirtualServer => lvs::VIRTUAL_SERVER,
            Self::VirtualServerGroup => lvs::VIRTUAL_SERVER_GROUP,
            Self::RealServer => lvs::REAL_SERVER,
            Self::Checker => lvs::CHECKER,
            Self::Url => lvs::URL,
            Self::Ssl => lvs::SSL,
            Self::RealServerRole => lvs::REAL_SERVER_ROLE,
            #[cfg(feature = "all-keywords")]
            Self::RouterAdvertisements => vrrp::ROUTER_ADVERTISEMENTS,
            #[cfg(feature = "all-keywords")]
            Self::Probe => vrrp::PROBE,
        }
    }

    /// Where these keywords stand, as the end of a sentence.
    pub const fn place(self) -> &'static str {
        match self {
            Self::File => "outside all blocks",
            Self::Global => "in global_defs",
            Self::Instance => "in a vrrp_instance",
            Self::Authentication => "in authentication",
            Self::SyncGroup => "in a vrrp_sync_group",
            _ if !cfg!(feature = "all-keywords") => "",
            Self::AuthHmac => "in auth_hmac",
            Self::Script => "in a vrrp_script",
            Self::TrackFile => "in a track_file",
            Self::TrackProcess => "in a vrrp_track_process",
            Self::GarpGroup => "in a garp_group",
            Self::TrackGroup => "in a track_group",
            Self::Bfd => "in a bfd_instance",
            Self::VirtualServer => "in a virtual_server",
            Self::VirtualServerGroup => "in a virtual_server_group",
            Self::RealServer => "in a real_server",
            Self::Checker => "in a checker of a real_server",
            Self::Url => "in a url",
            Self::Ssl => "in SSL",
            Self::RealServerRole => "in real_server_role",
            #[cfg(feature = "all-keywords")]
            Self::RouterAdvertisements => "in router_advertisements",
            #[cfg(feature = "all-keywords")]
            Self::Probe => "in a vrrp_probe",
        }
    }
}

/// The keyword `word` of a vocabulary.
pub fn find(vocabulary: Vocabulary, word: &str) -> Option<&'static Keyword> {
    vocabulary.keywords().iter().find(|keyword| keyword.name == word)
}

/// Where `word` belongs, if it is a keyword at all: the end of a sentence such as "in a vrrp_instance".
pub fn home(word: &str) -> Option<&'static str> {
    Vocabulary::ALL.into_iter().find(|&vocabulary| find(vocabulary, word).is_some()).map(Vocabulary::place)
}

/// The keyword of a vocabulary that is nearest to `word`, if it is near: a third of its letters wrong at
/// most, and never more than two.
pub fn nearest(vocabulary: Vocabulary, word: &str) -> Option<&'static str> {
    let limit = (word.len() / 3).min(2);
    let mut best = None;
    let mut best_distance = limit.saturating_add(1);
    for keyword in vocabulary.keywords() {
        if let Some(distance) = distance(word.as_bytes(), keyword.name.as_bytes(), limit)
            && distance < best_distance
        {
            best = Some(keyword.name);
            best_distance = distance;
        }
    }
    best
}

/// The least number of letters to insert, remove or replace to make `b` of `a`, if it is at most `limit`.
fn distance(a: &[u8], b: &[u8], limit: usize) -> Option<usize> {
    /// No keyword is longer.
    const LONGEST: usize = 48;
    if a.len().abs_diff(b.len()) > limit || b.len() >= LONGEST {
        return None;
    }
    // One row of the usual table; cell j is the distance between what was read of `a` and j letters of `b`.
    let mut row = [0_usize; LONGEST];
    for (number, cell) in row.iter_mut().enumerate() {
        *cell = number;
    }
    for (number, letter) in (1_usize..).zip(a) {
        let (first, cells) = row.split_first_mut()?;
        let mut diagonal = core::mem::replace(first, number);
        let mut left = number;
        let mut least = number;
        for (cell, other) in cells.iter_mut().zip(b) {
            let replaced = if letter == other { diagonal } else { diagonal.saturating_add(1) };
            let value = replaced.min(left.saturating_add(1)).min(cell.saturating_add(1));
            diagonal = core::mem::replace(cell, value);
            left = value;
            least = least.min(value);
        }
        if least > limit {
            return None;
        }
    }
    row.get(b.len()).copied().filter(|&distance| distance <= limit)
}

/// Whether `word` begins a block at the top of a file and can be no keyword anywhere else.
pub(super) fn begins_file_block(word: &str) -> bool {
    matches!(
        word,
        "global_defs" | "vrrp_instance" | "vrrp_sync_group" | "vrrp_script" | "vrrp_track_process" | "virtual_server"
    ) || cfg!(feature = "all-keywords") && word == "vrrp_probe"
}

/// Whether such a block may begin with this letter.
pub(super) fn may_begin_file_block(first: u8) -> bool {
    matches!(first, b'g' | b'v')
}

/// How the words after `keyword` are quoted: commands as in a shell, everything else plainly.
pub fn quoting(keyword: &str) -> Quoting {
    match keyword {
        "script" | "process" | "misc_path" | "quorum_up" | "quorum_down" | "startup_script" | "shutdown_script" => {
            Quoting::Shell
        }
        _ if keyword.starts_with("notify") || keyword.ends_with("_fifo_script") => Quoting::Shell,
        _ => Quoting::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_names_each_keyword_once() {
        for vocabulary in Vocabulary::ALL {
            let keywords = vocabulary.keywords();
            for (number, keyword) in keywords.iter().enumerate() {
                assert!(keyword.name.len() < 48);
                assert!(keywords[..number].iter().all(|other| other.name != keyword.name), "{} twice", keyword.name);
            }
        }
    }

    #[test]
    fn the_nearest_word_is_near() {
        assert_eq!(nearest(Vocabulary::Instance, "virtual_router_di"), Some("virtual_router_id"));
        assert_eq!(nearest(Vocabulary::Instance, "prioritty"), Some("priority"));
        assert_eq!(nearest(Vocabulary::Instance, "stat"), Some("state"));
        assert_eq!(nearest(Vocabulary::Instance, "completely_else"), None);
        assert_eq!(nearest(Vocabulary::Instance, "x"), None);
        assert_eq!(home("priority"), Some("in a vrrp_instance"));
        assert_eq!(distance(b"kitten", b"sitting", 3), Some(3));
        assert_eq!(distance(b"kitten", b"sitting", 2), None);
    }
}
