//! `track_file`: the number at the begin of a file, read again whenever somebody has written to the file, replaced it or
//! taken it away (then it is 0). A file whose directory is not there is looked for every second.

use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::warn;
use steadfast_core::time::{Duration, Instant};

use super::News;
use crate::plan::tracking::{FileSubject, Kind, TrackerName, Value};
use crate::source;
use crate::sys::inotify::{Change, Inotify, Watch};

/// So much of a file is read: a number.
const FILE_BYTES: u64 = 128;

/// How often a directory is looked for that is not there.
const EVERY: Duration = Duration::from_secs(1);

/// All of them.
#[derive(Debug)]
pub(super) struct Files {
    inotify: Inotify,
    list: HashMap<Arc<str>, File>,
    /// When directories that are not there are looked for.
    retry_at: Option<Instant>,
}

/// One file.
#[derive(Debug)]
struct File {
    subject: FileSubject,
    /// Where it really is.
    path: PathBuf,
    watch: Option<Watch>,
    /// What was last told of it.
    told: Option<(i64, Arc<str>)>,
}

impl Files {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { inotify: Inotify::new()?, list: HashMap::new(), retry_at: None })
    }

    /// These are watched from now on.
    pub(super) fn plan<'a>(
        &mut self,
        now: Instant,
        planned: impl Iterator<Item = (&'a Arc<str>, &'a FileSubject)>,
        news: &mut Vec<News>,
    ) {
        let mut kept = HashSet::new();
        for (name, subject) in planned {
            kept.insert(Arc::clone(name));
            if self.list.get(name).is_some_and(|known| known.subject.path == subject.path) {
                continue;
            }
            if let Some((value, overwrite)) = subject.initial
                && let Err(error) = initialize(&subject.path, value, overwrite)
            {
                warn!("track_file {name}: {} cannot be written: {error}", subject.path.display());
            }
            let file = File { subject: subject.clone(), path: subject.path.clone(), watch: None, told: None };
            if let Some(before) = self.list.insert(Arc::clone(name), file) {
                self.forget(before.watch);
            }
            self.watch(now, name, news);
        }
        let gone: Vec<_> = self.list.extract_if(|name, _| !kept.contains(name)).collect();
        for (_, file) in gone {
            self.forget(file.watch);
        }
    }

    /// Begins to watch a file, and reads it.
    fn watch(&mut self, now: Instant, name: &Arc<str>, news: &mut Vec<News>) {
        let Some(file) = self.list.get_mut(name) else { return };
        file.path = resolve(&file.subject.path);
        let directory = file.path.parent().filter(|directory| !directory.as_os_str().is_empty());
        file.watch = match self.inotify.watch(directory.unwrap_or(Path::new("."))) {
            Ok(watch) => Some(watch),
            Err(error) => {
                if file.told.is_none() {
                    let path = file.subject.path.display();
                    warn!("track_file {name}: {path} cannot be watched, and is looked for every second: {error}");
                }
                self.retry_at.get_or_insert(now + EVERY);
                None
            }
        };
        file.look(name, news);
    }

    /// A directory needs not be watched for a file any more.
    fn forget(&self, watch: Option<Watch>) {
        if let Some(watch) = watch
            && !self.list.values().any(|file| file.watch == Some(watch))
        {
            self.inotify.forget(watch);
        }
    }

    /// Takes in what has happened.
    pub(super) fn read(&mut self, now: Instant, news: &mut Vec<News>) -> io::Result<()> {
        let Self { inotify, list, retry_at } = self;
        let mut changed = HashSet::new();
        inotify.read(|change| {
            for (name, file) in list.iter_mut() {
                match change {
                    Change::File(watch, changed)
                        if file.watch != Some(watch) || file.path.file_name() != Some(changed) =>
                    {
                        continue;
                    }
                    Change::Gone(watch) if file.watch != Some(watch) => continue,
                    Change::File(..) | Change::Overflow => {}
                    Change::Gone(_) => {
                        file.watch = None;
                        retry_at.get_or_insert(now + EVERY);
                    }
                }
                changed.insert(Arc::clone(name));
            }
        })?;
        for name in changed {
            if let Some(file) = self.list.get_mut(&name) {
                file.look(&name, news);
            }
        }
        Ok(())
    }

    /// Looks for directories that were not there.
    pub(super) fn expire(&mut self, now: Instant, news: &mut Vec<News>) {
        if self.retry_at.is_none_or(|at| at > now) {
            return;
        }
        self.retry_at = None;
        let unwatched = self.list.iter().filter(|(_, file)| file.watch.is_none());
        let names: Vec<_> = unwatched.map(|(name, _)| Arc::clone(name)).collect();
        for name in names {
            self.watch(now, &name, news);
        }
    }

    /// When [`Self::expire`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.retry_at
    }
}

impl AsFd for Files {
    /// Readable when something has happened.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl File {
    /// Reads it, and tells what is new.
    fn look(&mut self, name: &Arc<str>, news: &mut Vec<News>) {
        let (number, result) = match content(&self.path) {
            Ok(bytes) => (number(&bytes), Arc::from("it was read")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (0, Arc::from("there is no such file")),
            Err(error) => (0, Arc::from(format!("it cannot be read: {error}"))),
        };
        let now = (number, result);
        if self.told.as_ref() != Some(&now) {
            let tracker = TrackerName { kind: Kind::File, name: Arc::clone(name) };
            news.push(News { tracker, value: Some(Value::Number(now.0)), result: Arc::clone(&now.1) });
            self.told = Some(now);
        }
    }
}

/// The file that a path leads to, or would if it were there.
fn resolve(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| {
        match (path.parent().and_then(|at| fs::canonicalize(at).ok()), path.file_name()) {
            (Some(directory), Some(name)) => directory.join(name),
            _ => path.to_owned(),
        }
    })
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source::open(path)?.take(FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes what `init_file` says.
fn initialize(path: &Path, value: i64, overwrite: bool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(libc::O_NONBLOCK);
    let options = if overwrite { options.create(true).truncate(true) } else { options.create_new(true) };
    match options.open(path) {
        Ok(mut file) => writeln!(file, "{value}"),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// The number that a text begins with, as C reads it: decimal, or octal after 0, or hexadecimal after 0x; 0 if there is
/// none.
fn number(bytes: &[u8]) -> i64 {
    let text = bytes.trim_ascii_start();
    let (negative, text) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let (radix, digits) = match text {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest),
        [b'0', rest @ ..] => (8, rest),
        _ => (10, text),
    };
    let mut number = 0_i64;
    for digit in digits.iter().map_while(|byte| char::from(*byte).to_digit(radix)) {
        number = number.saturating_mul(radix.into()).saturating_add(digit.into());
    }
    if negative { -number } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_in_c() {
        for (text, expected) in [
            ("", 0),
            ("0\n", 0),
            (" \t-12 and more", -12),
            ("+7", 7),
            ("0x1F", 31),
            ("010", 8),
            ("x", 0),
            ("99999999999999999999", i64::MAX),
            ("-99999999999999999999", -i64::MAX),
            ("\u{fe}5", 0),
        ] {
            assert_eq!(number(text.as_bytes()), expected, "{text:?}");
        }
    }

    fn values(news: &mut Vec<News>) -> Vec<(i64, String)> {
        let value = |value| if let Some(Value::Number(number)) = value { number } else { i64::MIN };
        news.drain(..).map(|news| (value(news.value), news.result.to_string())).collect()
    }

    #[test]
    fn a_file_is_read_when_it_is_written_replaced_and_gone() {
        let folder = std::env::temp_dir().join(format!("steadfast-track-file-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let (path, now) = (folder.join("deep/f"), Instant::from_micros(1_000_000));
        let (mut files, mut news) = (Files::new().unwrap(), Vec::new());
        let name: Arc<str> = "f".into();
        let subject = FileSubject { path: path.clone(), initial: None };
        // Its directory is not there yet.
        files.plan(now, [(&name, &subject)].into_iter(), &mut news);
        assert_eq!(values(&mut news), [(0, "there is no such file".into())]);
        fs::create_dir_all(folder.join("deep")).unwrap();
        fs::write(&path, "3").unwrap();
        files.expire(files.due().unwrap(), &mut news);
        assert_eq!(values(&mut news), [(3, "it was read".into())]);
        assert_eq!(files.due(), None);
        fs::write(&path, "4").unwrap();
        files.read(now, &mut news).unwrap();
        assert_eq!(values(&mut news), [(4, "it was read".into())]);
        fs::write(folder.join("deep/other"), "5").unwrap();
        files.read(now, &mut news).unwrap();
        assert_eq!(values(&mut news), []);
        fs::rename(folder.join("deep/other"), &path).unwrap();
        files.read(now, &mut news).unwrap();
        assert_eq!(values(&mut news), [(5, "it was read".into())]);
        fs::remove_file(&path).unwrap();
        files.read(now, &mut news).unwrap();
        assert_eq!(values(&mut news), [(0, "there is no such file".into())]);
        fs::remove_dir_all(&folder).unwrap();
        files.read(now, &mut news).unwrap();
        assert_eq!((values(&mut news), files.due()), (vec![], Some(now + EVERY)));
        files.plan(now, std::iter::empty(), &mut news);
        assert!(files.list.is_empty());
    }

    #[test]
    fn a_file_is_made_where_there_is_none() {
        let path = std::env::temp_dir().join(format!("steadfast-init-file-{}", std::process::id()));
        initialize(&path, 7, false).unwrap();
        initialize(&path, 8, false).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "7\n");
        initialize(&path, 9, true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "9\n");
        fs::remove_file(&path).unwrap();
    }
}
