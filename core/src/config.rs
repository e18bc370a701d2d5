//! keepalived.conf: its words, its blocks, the grammar of its VRRP part, and what can be said about a file.
//! The text is the only storage, so that a board reads the same file from flash as Linux does from a disk.
//! What one file cannot tell (does the interface exist, is a router there twice) is left to the ports.
//!
//! ```
//! use steadfast_core::config::Config;
//!
//! let text = "vrrp_instance V1 {\n interface eth0\n virtual_router_id 51\n virtual_ipaddress { 10.0.0.1/24 }\n}\n";
//! let mut report = |diagnostic: steadfast_core::config::Diagnostic<'_>| panic!("{diagnostic}");
//! let config = Config::parse(text, &mut report);
//! let mut instances = config.instances();
//! while let Some(instance) = instances.next(&mut report) {
//!     let instance = instance.expect("a good instance");
//!     assert_eq!((instance.name, instance.interface, instance.addresses().count()), ("V1", "eth0", 1));
//! }
//! ```

mod address;
pub mod diagnostic;
mod draft;
mod globals;
mod group;
mod instance;
pub mod keywords;
pub mod lexer;
pub mod statement;
pub mod value;

pub use address::VirtualAddress;
pub use diagnostic::{Diagnostic, Message, Severity};
pub use globals::Globals;
pub use group::{Members, SyncGroup};
pub use instance::{Instance, LeftOut, VirtualMac};
pub use lexer::Place;

#[cfg(feature = "all-keywords")]
use keywords::Support;
use keywords::Vocabulary;
use statement::{Block, Statement};
use value::Log;

/// The text of a file that is UTF-8; the diagnostic names the place of the first byte that is not.
pub fn text(bytes: &[u8]) -> Result<&str, Diagnostic<'static>> {
    core::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).and_then(|good| core::str::from_utf8(good).ok()).unwrap_or("");
        let mut place = Place::START;
        for character in good.chars() {
            if character == '\n' {
                place = Place { line: place.line.saturating_add(1), column: 1 };
            } else {
                place.column = place.column.saturating_add(1);
            }
        }
        Diagnostic { place, severity: Severity::Error, message: Message::NotUtf8 }
    })
}

/// A configuration file. Small: everything but `global_defs` stays in the text.
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    text: &'a str,
    /// What `global_defs` says.
    pub globals: Globals<'a>,
    has_instances: bool,
    has_groups: bool,
}

impl<'a> Config<'a> {
    /// Reads all but the insides of the instances and sync groups, and reports everything that is wrong there. A wrong
    /// value in `global_defs` is a warning, and the default is used.
    pub fn parse(text: &'a str, report: &mut dyn FnMut(Diagnostic<'a>)) -> Self {
        Self::parse_noting(text, report, &mut |_| {})
    }

    /// As [`parse`](Self::parse); hands each statement of the file to `note`, for a port that reads some of them itself
    /// and need not walk a long file once more.
    pub fn parse_noting(
        text: &'a str,
        report: &mut dyn FnMut(Diagnostic<'a>),
        note: &mut dyn FnMut(Statement<'a>),
    ) -> Self {
        let mut log = Log::new(report);
        let mut globals = Globals::default();
        let (mut has_instances, mut has_groups) = (false, false);
        let mut file = Block::file(text);
        while let Some(statement) = file.next(&mut |diagnostic| log.add(diagnostic)) {
            note(statement);
            match known(Vocabulary::File, &statement, &mut log) {
                Some("global_defs") => {
                    value::no_more(&statement, statement.words, &mut log);
                    if let Some(body) = statement.body {
                        globals.read(body, &mut log);
                    }
                }
                Some("vrrp_instance") => has_instances = true,
                Some("vrrp_sync_group") => has_groups = true,
                _ => {}
            }
        }
        Self { text, globals, has_instances, has_groups }
    }

    /// The instances of the file, in its order.
    pub fn instances(&self) -> Instances<'a> {
        Instances { file: self.file_with(self.has_instances), globals: self.globals }
    }

    /// The sync groups of the file, in its order.
    pub fn sync_groups(&self) -> SyncGroups<'a> {
        SyncGroups { file: self.file_with(self.has_groups) }
    }

    /// The file, if it has what is looked for: a long one is not read in vain.
    fn file_with(&self, there: bool) -> Block<'a> {
        Block::file(if there { self.text } else { "" })
    }
}

/// The instances of a file; see [`Config::instances`].
#[derive(Clone, Copy, Debug)]
pub struct Instances<'a> {
    file: Block<'a>,
    globals: Globals<'a>,
}

impl<'a> Instances<'a> {
    /// The next instance, or what is left of one that has an error; what is wrong in it is reported.
    pub fn next(&mut self, report: &mut dyn FnMut(Diagnostic<'a>)) -> Option<Result<Instance<'a>, LeftOut<'a>>> {
        // What is wrong between the instances was reported by `Config::parse`.
        loop {
            let statement = self.file.next(&mut |_| {})?;
            if statement.keyword.text == "vrrp_instance" {
                return Some(draft::read(&statement, &self.globals, report));
            }
        }
    }
}

/// The sync groups of a file; see [`Config::sync_groups`].
#[derive(Clone, Copy, Debug)]
pub struct SyncGroups<'a> {
    file: Block<'a>,
}

impl<'a> SyncGroups<'a> {
    /// The next sync group; what is wrong in it is reported.
    pub fn next(&mut self, report: &mut dyn FnMut(Diagnostic<'a>)) -> Option<SyncGroup<'a>> {
        // What is wrong between them was reported by `Config::parse`.
        loop {
            let statement = self.file.next(&mut |_| {})?;
            if statement.keyword.text == "vrrp_sync_group" {
                return Some(group::read(&statement, report));
            }
        }
    }
}

/// The keyword of a statement, if its reader acts upon it; otherwise it is reported why not.
pub fn known<'a>(vocabulary: Vocabulary, statement: &Statement<'a>, log: &mut Log<'_, 'a>) -> Option<&'static str> {
    let word = statement.keyword;
    let Some(keyword) = keywords::find(vocabulary, word.text) else {
        // A build that knows only what it acts upon cannot tell what else it is. A port that reads definitions, sequences
        // and lines for one of several machines has put something in their place, if they mean anything.
        let anywhere = word.text.starts_with(['@', '$', '~']) || word.text.starts_with("include");
        let near = keywords::nearest(vocabulary, word.text).is_some();
        // Half of a key that is on two lines, or the value of a name that none can have.
        let secrets = matches!(vocabulary, Vocabulary::Authentication | Vocabulary::AuthHmac | Vocabulary::Ssl);
        let elsewhere = cfg!(feature = "all-keywords") && keywords::home(word.text).is_some();
        let hidden = secrets && !near && !elsewhere;
        let text = if hidden { diagnostic::HIDDEN } else { value::split(word.text, b'=').0 };
        if !cfg!(feature = "all-keywords") && (anywhere || !near) {
            log.warning(word.place, Message::NotYet { keyword: text });
        } else {
            log.warning(word.place, Message::UnknownKeyword { word: text, vocabulary });
        }
        return None;
    };
    #[cfg(feature = "all-keywords")]
    match keyword.support {
        Support::Supported => {}
        Support::Port => return None,
        Support::NotYet => {
            log.warning(word.place, Message::NotYet { keyword: keyword.name });
            return None;
        }
        Support::Ignored(why) => {
            log.notice(word.place, Message::Ignored { keyword: keyword.name, why });
            return None;
        }
    }
    Some(keyword.name)
}
