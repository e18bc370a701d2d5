//! The programs that a configuration names: their words, who runs them, and whether they are there. keepalived's
//! `"/path/program 'an argument'"` is one word of the file, which holds several.

use std::cell::OnceCell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use steadfast_core::config::diagnostic::Short;
use steadfast_core::config::lexer::unescape;
use steadfast_core::config::statement::{Statement, Word};
use steadfast_core::config::{Message, Place};

use crate::process::Script;

use super::accounts::Accounts;
use super::reader::Reader;

/// Where a program without a path is looked for.
const DIRECTORIES: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Who runs scripts if nobody is named.
const DEFAULT_USER: &str = "keepalived_script";

/// What the words after a script are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Arguments: `misc_path PROGRAM ARGUMENT…`.
    Arguments,
    /// `notify_up PROGRAM [USER [GROUP]]`.
    User,
}

/// A script as it is written.
pub(crate) struct Unchecked {
    place: Place,
    /// Its user is `None` where the file names none.
    pub(crate) script: Script,
}

/// How scripts are run.
pub(crate) struct Scripts {
    accounts: OnceCell<Accounts>,
    /// `script_user` as it is written: where, the user, and the group if one is named.
    script_user: Option<(Place, String, Option<String>)>,
    /// Who that is, once somebody wants to know; `Err` if nobody: then no one else may run what they should.
    user: OnceCell<Result<Option<(u32, u32)>, ()>>,
    /// `enable_script_security`.
    secure: bool,
}

impl Scripts {
    /// As `global_defs` of a file say, whose statements these are.
    pub(crate) fn of(statements: &[Statement<'_>], reader: &mut Reader<'_>) -> Self {
        let mut scripts = Self { accounts: OnceCell::new(), script_user: None, user: OnceCell::new(), secure: false };
        let globals = statements.iter().filter(|statement| statement.keyword.text == "global_defs");
        // The core has said what is wrong with the block and with other keywords.
        for mut body in globals.filter_map(|statement| statement.body) {
            while let Some(entry) = body.next(&mut |_| {}) {
                scripts.keyword(&entry, reader);
            }
        }
        scripts
    }

    fn keyword(&mut self, statement: &Statement<'_>, reader: &mut Reader<'_>) {
        match statement.keyword.text {
            "script_user" => {
                let mut words = statement.words;
                let Some(user) = words.next() else {
                    let message = Message::MissingValue { keyword: "script_user", expected: "a user" };
                    return reader.error(statement.keyword.place, message);
                };
                let group = words.next().map(|word| word.text.to_owned());
                reader.no_more(statement, words);
                self.script_user = Some((user.place, user.text.to_owned(), group));
            }
            "enable_script_security" => self.secure = reader.flag(statement),
            _ => {}
        }
    }

    /// Who runs a script that names nobody.
    fn default_user(&self, reader: &mut Reader<'_>) -> Result<Option<(u32, u32)>, ()> {
        *self.user.get_or_init(|| match &self.script_user {
            Some((place, user, group)) => self.account(*place, user, group.as_deref(), reader).map(Some).ok_or(()),
            None => Ok(self.accounts().user(DEFAULT_USER)),
        })
    }

    fn accounts(&self) -> &Accounts {
        self.accounts.get_or_init(Accounts::read)
    }

    /// The numbers of a user, and of a group or the user's own; an error if they are not there.
    pub(crate) fn account(
        &self,
        place: Place,
        user: &str,
        group: Option<&str>,
        reader: &mut Reader<'_>,
    ) -> Option<(u32, u32)> {
        let Some((uid, own)) = self.accounts().user(user) else {
            reader.error(place, format_args!("there is no user `{}` in /etc/passwd", Short(user)));
            return None;
        };
        let Some(group) = group else { return Some((uid, own)) };
        let Some(gid) = self.accounts().group(group) else {
            reader.error(place, format_args!("there is no group `{}` in /etc/group", Short(group)));
            return None;
        };
        Some((uid, gid))
    }

    /// `user USER [GROUP]`, the words after the keyword.
    pub(crate) fn user<'a>(
        &self,
        statement: &Statement<'a>,
        mut words: impl Iterator<Item = Word<'a>>,
        reader: &mut Reader<'_>,
    ) -> Option<(u32, u32)> {
        let Some(user) = words.next() else {
            let keyword = statement.keyword.text;
            reader.error(statement.keyword.place, Message::MissingValue { keyword, expected: "a user" });
            return None;
        };
        let group = words.next();
        reader.no_more(statement, words);
        let text = |word: Word<'a>| unescape(word.text).collect::<String>();
        let group = group.map(text);
        self.account(user.place, &text(user), group.as_deref(), reader)
    }

    /// Reads the script of a keyword, without what follows from others; `None` after an error.
    pub(crate) fn read<'a>(
        &self,
        statement: &Statement<'a>,
        after: After,
        reader: &mut Reader<'_>,
    ) -> Option<Unchecked> {
        let mut words = statement.words;
        let first = words.next().map(|word| (word.place, split(&unescape(word.text).collect::<String>())));
        let Some((place, mut program)) = first.filter(|(_, program)| !program.is_empty()) else {
            let message = format_args!("`{}` wants a program", statement.keyword.text);
            reader.error(statement.keyword.place, message);
            return None;
        };
        let mut user = None;
        match after {
            After::Arguments => program.extend(words.map(|word| unescape(word.text).collect::<String>())),
            After::User => {
                if words.clone().next().is_some() {
                    user = Some(self.user(statement, words, reader)?);
                }
            }
        }
        let script = Script { words: program, user };
        Some(Unchecked { place, script })
    }

    /// Settles who runs a script, finds its program, and says what would keep it from being run.
    pub(crate) fn settle(&self, unchecked: Unchecked, reader: &mut Reader<'_>) -> Option<Arc<Script>> {
        let Unchecked { place, mut script } = unchecked;
        if script.user.is_none() {
            let Ok(user) = self.default_user(reader) else {
                reader.error(place, "`script_user` is wrong, and nobody else is named to run this");
                return None;
            };
            script.user = user;
        }
        self.look(place, &mut script, reader);
        Some(Arc::new(script))
    }

    /// The same for a script that is left out if its program cannot be run now, which is said.
    pub(crate) fn settle_if_there(&self, unchecked: Unchecked, reader: &mut Reader<'_>) -> Option<Arc<Script>> {
        let place = unchecked.place;
        let script = self.settle(unchecked, reader)?;
        let there = script.words.first().is_some_and(|program| is_program(Path::new(program)));
        if !there {
            reader.warning(place, "it is not tracked until a reload finds it");
        }
        there.then_some(script)
    }

    /// Finds the program of a script, and says what would keep it from being run.
    fn look(&self, place: Place, script: &mut Script, reader: &mut Reader<'_>) {
        let Some(name) = script.words.first_mut() else { return };
        let shown = Short(name).to_string();
        if !name.contains('/') {
            let found =
                DIRECTORIES.iter().map(|directory| Path::new(directory).join(&*name)).find(|path| path.is_file());
            let Some(found) = found else {
                return reader
                    .warning(place, format_args!("there is no program `{shown}` in {}", DIRECTORIES.join(":")));
            };
            *name = found.display().to_string();
        }
        let path = PathBuf::from(&*name);
        match fs::metadata(&path) {
            Err(error) => reader.warning(place, format_args!("`{shown}` cannot be run now: {error}")),
            Ok(known) if !known.is_file() || known.mode() & 0o111 == 0 => {
                reader.warning(place, format_args!("`{shown}` cannot be run: it is no executable file"));
            }
            Ok(_) => {}
        }
        if script.user.is_none_or(|(uid, _)| uid == 0)
            && let Some(writable) = writable_by_others(&path)
        {
            let why = format!("`{shown}` is run as root, and others than root can change `{}`", writable.display());
            if self.secure {
                reader.error(place, format_args!("{why}; `enable_script_security` forbids that"));
            } else {
                reader.warning(place, why);
            }
        }
    }

    /// Reads and settles a script that is complete in itself.
    pub(crate) fn notify(&self, statement: &Statement<'_>, reader: &mut Reader<'_>) -> Option<Arc<Script>> {
        let unchecked = self.read(statement, After::User, reader)?;
        self.settle(unchecked, reader)
    }
}

/// Whether there is a program at a path.
fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|known| known.is_file() && known.mode() & 0o111 != 0)
}

/// The part of a path that others than root can change: the file or a directory above it.
fn writable_by_others(path: &Path) -> Option<PathBuf> {
    const STICKY: u32 = 0o1000;
    // The file that is meant, whatever links lead there.
    let real = fs::canonicalize(path).ok()?;
    real.ancestors().find_map(|part| {
        let known = fs::metadata(part).ok()?;
        let sticky = known.is_dir() && known.mode() & STICKY != 0;
        let group = known.mode() & 0o020 != 0 && known.gid() != 0;
        let others = known.mode() & 0o002 != 0;
        (known.uid() != 0 || (group || others) && !sticky).then(|| part.to_owned())
    })
}

/// The words of a command: blanks separate, quotes protect.
fn split(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in command.chars() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(letter),
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, _) if letter.is_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_at_blanks_outside_quotes() {
        assert_eq!(split("/a/b  'c d' e\"f g\"h ''"), ["/a/b", "c d", "ef gh", ""]);
        assert_eq!(split(" "), [""; 0]);
    }

    #[test]
    fn what_only_root_can_change_is_safe() {
        assert_eq!(writable_by_others(Path::new("/bin/sh")), None);
        let folder = std::env::temp_dir().join(format!("steadfast-script-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("x");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        assert_eq!(writable_by_others(&file), fs::canonicalize(&file).ok());
        fs::remove_dir_all(folder).unwrap();
    }
}
