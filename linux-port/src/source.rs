//! The text of a configuration with everything that it includes, its definitions put in ([`expand`]), and where each of
//! its lines comes from, so that whatever is said about the text names the file, the line and the column that somebody
//! has written. What the lines mean is not known here, but for `include`, which keepalived looks for in the same way: at
//! the beginning of a line, wherever that line stands, and before anything is put into it.
//!
//! Everything is bounded: bytes, files, depth, what patterns may look at, and how long a pipe is waited for.

mod expand;
mod glob;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use steadfast_core::config::diagnostic::Short;
use steadfast_core::config::lexer::{Kind, Lexer, Quoting};
use steadfast_core::config::{self, Place, Severity};
use steadfast_core::time::Duration;

use crate::check::Counts;
use crate::sys::poll::PollSet;
use expand::{Context, Piece, Step};
use glob::{Looks, Matches};

/// The most bytes that are read, all files together.
pub const MOST_BYTES: u64 = 16 << 20;

/// The most files that are included, counted again each time.
const MOST_FILES: usize = 1000;

/// How many files may be open within each other.
const MOST_DEPTH: usize = 16;

/// How long it may take until everything has come out of a pipe: less than a client waits for a reload.
const PIPE_SECONDS: u64 = 5;

/// A configuration as one text.
#[derive(Debug)]
pub struct Source {
    /// The text. A line that includes something is empty in it, and what it includes follows.
    pub text: String,
    /// Where its lines come from.
    pub lines: Lines,
    /// What is wrong with the `include`s, by places in the text.
    pub problems: Problems,
}

/// What is to be said about `include`s and definitions: of each severity as many as are shown; the others are counted.
#[derive(Debug, Default)]
pub struct Problems {
    pub(crate) list: Vec<Problem>,
    /// Those that are not in the list too.
    pub(crate) counts: Counts,
}

impl Problems {
    fn add(&mut self, place: Place, severity: Severity, message: impl FnOnce() -> String) {
        if self.counts.add(severity) {
            self.list.push(Problem { place, severity, message: message() });
        }
    }
}

/// What is to be said about an `include`.
#[derive(Debug)]
pub struct Problem {
    /// Where it stands in the text.
    pub place: Place,
    /// How much it matters.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
}

/// Where the lines of a text come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// The included files; the main one has no name here.
    files: Vec<String>,
    /// Each run of lines of one file, in the order of the text.
    runs: Vec<Run>,
    /// Which lines of the text, as it was before anything was put into it, those of the text come from; empty if they
    /// are the same.
    steps: Vec<Step>,
    /// The pieces of those lines whose columns have moved.
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    /// Its first line in the text.
    first: u32,
    /// That line in the file.
    line: u32,
    /// The number of an included file.
    file: Option<usize>,
}

impl Lines {
    /// The file that the line of a place comes from, if it is included, and the place in that file.
    pub fn origin(&self, place: Place) -> (Option<&str>, Place) {
        let place = self.before_expansion(place);
        let after = self.runs.partition_point(|run| run.first <= place.line);
        let Some(run) = after.checked_sub(1).and_then(|before| self.runs.get(before)) else { return (None, place) };
        let line = run.line.saturating_add(place.line - run.first);
        let file = run.file.and_then(|number| self.files.get(number)).map(String::as_str);
        (file, Place { line, column: place.column })
    }

    /// Whether lines of other files are among them.
    pub(crate) fn are_included(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Whether one line that somebody wrote may be several of the text.
    pub(crate) fn are_expanded(&self) -> bool {
        !self.steps.is_empty()
    }

    /// The place before anything was put into the text.
    fn before_expansion(&self, place: Place) -> Place {
        let after = self.steps.partition_point(|step| step.first <= place.line);
        let Some(step) = after.checked_sub(1).and_then(|before| self.steps.get(before)) else { return place };
        if step.first < place.line {
            return Place { line: step.line.saturating_add(place.line - step.first), column: place.column };
        }
        let pieces = self.pieces.get(step.pieces.0 as usize..step.pieces.1 as usize).unwrap_or_default();
        let after = pieces.partition_point(|piece| piece.at <= place.column);
        let piece = after.checked_sub(1).and_then(|before| pieces.get(before));
        let column = piece.map_or(place.column, |piece| {
            if piece.copied { piece.from.saturating_add(place.column - piece.at) } else { piece.from }
        });
        Place { line: step.line, column }
    }
}

/// Reads a file and what it includes. `id` is what lines that begin with `@` are for; without one it is the host name
/// up to its first dot.
///
/// # Errors
/// What is wrong with the file itself, and where.
pub fn read(file: &Path, id: Option<&str>) -> Result<Source, (Place, String)> {
    let bytes = read_main(file).map_err(|problem| (Place::START, problem))?;
    let left = MOST_BYTES - bytes.len() as u64;
    let text = utf8(bytes)?;
    let source = if text.contains("include") {
        Expansion::new(file, text, left).run()
    } else {
        Source { text, lines: Lines::default(), problems: Problems::default() }
    };
    Ok(if expand::is_wanted(&source.text) { source.expanded(file, id) } else { source })
}

impl Source {
    /// The same with everything put in.
    fn expanded(self, file: &Path, id: Option<&str>) -> Self {
        let Self { text, mut lines, problems } = self;
        // Each file is looked for once, however often it wants to know.
        let known = RefCell::new(HashMap::new());
        let directory = |line| {
            let origin = lines.origin(Place { line, column: 1 }).0.map_or(file, Path::new);
            let look = || {
                let directory = origin.parent().filter(|parent| !parent.as_os_str().is_empty());
                let absolute = fs::canonicalize(directory.unwrap_or(Path::new(".")));
                absolute.unwrap_or_default().to_string_lossy().into_owned()
            };
            known.borrow_mut().entry(origin.to_owned()).or_insert_with(look).clone()
        };
        let id = id.map_or_else(host_name, str::to_owned);
        let expanded = expand::expand(&text, problems, &Context { id: &id, directory: &directory });
        (lines.steps, lines.pieces) = (expanded.map, expanded.pieces);
        Self { text: expanded.text, lines, problems: expanded.problems }
    }
}

/// The host name up to its first dot.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().split('.').next().unwrap_or_default().to_owned()
}

fn read_main(file: &Path) -> Result<Vec<u8>, String> {
    if fs::metadata(file).map_err(cannot_read)?.file_type().is_fifo() {
        return read_pipe(file, Duration::from_secs(PIPE_SECONDS));
    }
    read_bounded(open(file).map_err(cannot_read)?, MOST_BYTES)?.ok_or_else(too_large)
}

fn too_large() -> String {
    format!("the file is larger than {} MiB", MOST_BYTES >> 20)
}

/// What comes out of a pipe until nobody writes to it any more. Whoever does may still have to open it.
fn read_pipe(path: &Path, patience: Duration) -> Result<Vec<u8>, String> {
    let mut pipe = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(cannot_read)?;
    let deadline = Instant::now() + std::time::Duration::from_micros(patience.as_micros());
    let mut polls = PollSet::new();
    polls.add(pipe.as_fd());
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let what = if bytes.is_empty() { "nothing has" } else { "not everything has" };
            return Err(format!("{what} come out of the pipe within {} s", patience.as_micros() / 1_000_000));
        }
        let left = Duration::from_micros(u64::try_from(left.as_micros()).unwrap_or(u64::MAX).max(1));
        if polls.wait(Some(left)).map_err(cannot_read)? == 0 {
            continue;
        }
        match pipe.read(&mut buffer) {
            // Who has nothing to say has not said that there shall be nothing.
            Ok(0) if bytes.is_empty() => return Err("nothing has come out of the pipe".to_owned()),
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(cannot_read(error)),
        }
        if bytes.len() as u64 > MOST_BYTES {
            return Err(too_large());
        }
    }
}

/// Opens a file that a configuration names; never waits, and touches nothing but files.
///
/// # Errors
/// Those of the system; `InvalidInput` for a directory, a pipe, a device and the like.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let regular = |known: Metadata| {
        let is_none = || io::Error::new(ErrorKind::InvalidInput, "it is no file");
        known.is_file().then_some(()).ok_or_else(is_none)
    };
    // Already to open a device may do something.
    regular(fs::metadata(path)?)?;
    // If it has become a pipe since, opening it does not wait for its writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    regular(file.metadata()?)?;
    Ok(file)
}

/// The bytes of a file; `None` if there are more than `most`.
fn read_bounded(file: File, most: u64) -> Result<Option<Vec<u8>>, String> {
    // One that has no size, such as those of /proc, takes as much as there comes.
    let size = file.metadata().map_or(0, |known| known.len()).min(most);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1));
    file.take(most + 1).read_to_end(&mut bytes).map_err(cannot_read)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

fn cannot_read(error: io::Error) -> String {
    format!("the file cannot be read: {error}")
}

fn utf8(bytes: Vec<u8>) -> Result<String, (Place, String)> {
    String::from_utf8(bytes).map_err(|error| {
        let diagnostic = config::text(error.as_bytes()).err();
        let place = diagnostic.map_or(Place::START, |diagnostic| diagnostic.place);
        (place, config::Message::NotUtf8.to_string())
    })
}

/// A file that is being read.
struct Open {
    /// The number of an included file.
    file: Option<usize>,
    text: String,
    /// Bytes already read.
    offset: usize,
    /// The next line.
    line: u32,
    /// What the paths in it are relative to.
    directory: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    /// What its current `include` still wants to be read, and where that stands in the text.
    wanted: VecDeque<PathBuf>,
    place: Place,
}

/// An included file that was read.
struct Included {
    text: String,
    identity: (u64, u64),
}

/// The text as it grows.
struct Expansion {
    text: String,
    lines: Lines,
    problems: Problems,
    /// The files within each other, the innermost last.
    open: Vec<Open>,
    /// How many lines the text has.
    count: u32,
    /// How many bytes may still be read.
    bytes_left: u64,
    /// How many files may still be read.
    files_left: usize,
    /// What patterns may still look at.
    looks: Looks,
}

impl Expansion {
    fn new(file: &Path, text: String, bytes_left: u64) -> Self {
        let identity = fs::metadata(file).map_or((0, 0), |known| (known.dev(), known.ino()));
        let main = Open::new(None, text, file, identity);
        let lines = Lines { runs: vec![Run { first: 1, line: 1, file: None }], ..Lines::default() };
        Self {
            text: String::new(),
            lines,
            problems: Problems::default(),
            open: vec![main],
            count: 0,
            bytes_left,
            files_left: MOST_FILES,
            looks: Looks::default(),
        }
    }

    fn run(mut self) -> Source {
        while let Some(current) = self.open.last_mut() {
            if let Some(path) = current.wanted.pop_front() {
                let place = current.place;
                if let Err(problem) = self.include(&path) {
                    let message = || format!("`{}` is not included: {problem}", Short(&path.to_string_lossy()));
                    self.problems.add(place, Severity::Error, message);
                }
            } else if let Some(piece) = current.next_piece() {
                self.piece(&piece);
            } else {
                self.open.pop();
                self.begin_run();
            }
        }
        Source { text: self.text, lines: self.lines, problems: self.problems }
    }

    /// Notes that the next line of the text is the next one of the innermost file.
    fn begin_run(&mut self) {
        if let Some(current) = self.open.last() {
            let first = self.count.saturating_add(1);
            self.lines.runs.push(Run { first, line: current.line, file: current.file });
        }
    }

    /// Takes a piece of the innermost file: whole lines, of which only the last may include something.
    fn piece(&mut self, piece: &str) {
        let last = piece.trim_end_matches('\n').rfind('\n').map_or(0, |end| end + 1);
        let (before, line) = piece.split_at(last);
        let Some((place, include)) = Include::read(line) else {
            self.text.push_str(piece);
            if !piece.ends_with('\n') {
                self.text.push('\n');
            }
            self.count = self.count.saturating_add(lines_in(piece));
            return;
        };
        self.text.push_str(before);
        self.text.push('\n');
        self.count = self.count.saturating_add(lines_in(before)).saturating_add(1);
        let place = Place { line: self.count, column: place.column };
        match include {
            Err(problem) => self.problems.add(place, Severity::Error, || problem),
            Ok(include) => self.resolve(place, &include),
        }
    }

    /// Finds out which files an `include` means.
    fn resolve(&mut self, place: Place, include: &Include<'_>) {
        let Some(current) = self.open.last_mut() else { return };
        let matches = match glob::expand(&current.directory, include.pattern, &mut self.looks) {
            Ok(matches) => matches,
            Err(problem) => {
                let message = || format!("`{}` is not included: {problem}", Short(include.pattern));
                return self.problems.add(place, Severity::Error, message);
            }
        };
        current.place = place;
        for Matches { pattern, wild, paths } in matches {
            let pattern = Short(&pattern);
            let mut problem = |severity, message: std::fmt::Arguments<'_>| {
                self.problems.add(place, severity, || message.to_string());
            };
            if !paths.is_empty() {
                current.wanted.extend(paths);
            } else if !wild {
                problem(Severity::Error, format_args!("`{pattern}` is not included: there is no such file"));
            } else if include.wants_matches {
                problem(Severity::Error, format_args!("no file matches `{pattern}`"));
            } else {
                problem(Severity::Notice, format_args!("no file matches `{pattern}`; nothing is included"));
            }
        }
    }

    /// Begins to read an included file.
    fn include(&mut self, path: &Path) -> Result<(), String> {
        if self.open.len() > MOST_DEPTH {
            return Err(format!("files include each other more than {MOST_DEPTH} deep"));
        }
        self.files_left = self.files_left.checked_sub(1).ok_or(format!("there are more than {MOST_FILES} files"))?;
        let Included { text, identity } = self.open_included(path)?;
        self.bytes_left = self.bytes_left.saturating_sub(text.len() as u64);
        let number = self.lines.files.len();
        self.lines.files.push(path.display().to_string());
        self.open.push(Open::new(Some(number), text, path, identity));
        self.begin_run();
        Ok(())
    }

    fn open_included(&self, path: &Path) -> Result<Included, String> {
        let file = open(path).map_err(cannot_read)?;
        let known = file.metadata().map_err(cannot_read)?;
        let identity = (known.dev(), known.ino());
        if self.open.iter().any(|outer| outer.identity == identity) {
            return Err("it would include itself".into());
        }
        let too_large = || format!("all files together are larger than {} MiB", MOST_BYTES >> 20);
        let bytes = read_bounded(file, self.bytes_left)?.ok_or_else(too_large)?;
        let text = utf8(bytes).map_err(|(place, problem)| format!("{place}: {problem}"))?;
        Ok(Included { text, identity })
    }
}

impl Open {
    fn new(file: Option<usize>, text: String, path: &Path, identity: (u64, u64)) -> Self {
        // In the middle of a text, a byte order mark would be a letter.
        let offset = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        Self { file, text, offset, line: 1, directory, identity, wanted: VecDeque::new(), place: Place::START }
    }

    /// The lines up to the next one that may include something, that one included.
    fn next_piece(&mut self) -> Option<String> {
        let rest = self.text.get(self.offset..).filter(|rest| !rest.is_empty())?;
        let found = rest.find("include").and_then(|at| rest.get(at..)?.find('\n').map(|end| at + end + 1));
        let piece = rest.get(..found.unwrap_or(rest.len()))?.to_owned();
        self.offset += piece.len();
        self.line = self.line.saturating_add(lines_in(&piece));
        Some(piece)
    }
}

/// How many lines a text has, the last one with or without its end.
fn lines_in(text: &str) -> u32 {
    u32::try_from(text.lines().count()).unwrap_or(u32::MAX)
}

/// A line that includes something.
struct Include<'a> {
    pattern: &'a str,
    /// A pattern without matches is an error.
    wants_matches: bool,
}

impl<'a> Include<'a> {
    /// Reads a line if it is one, with the place of what it includes.
    fn read(line: &'a str) -> Option<(Place, Result<Self, String>)> {
        if !line.trim_start().starts_with("include") {
            return None;
        }
        let mut lexer = Lexer::new(line);
        let keyword = lexer.next_token(Quoting::Plain);
        let Kind::Word(name) = keyword.kind else { return None };
        // keepalived asks for readable files with the second, for a file with the third; both are always asked for here.
        let wants_matches = match name {
            "include" | "includer" | "includem" => false,
            "includew" | "includeb" | "includea" => true,
            _ => return None,
        };
        let token = lexer.next_token(Quoting::Plain);
        let Kind::Word(pattern) = token.kind else {
            return Some((keyword.place, Err(format!("`{name}` wants a file"))));
        };
        match lexer.next_token(Quoting::Plain).kind {
            Kind::EndOfLine | Kind::End => Some((token.place, Ok(Self { pattern, wants_matches }))),
            _ => Some((token.place, Err(format!("`{name}` wants one file; a name with blanks stands in quotes")))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_pipe_that_nobody_writes_to_or_closes_is_not_waited_for_without_end() {
        let path = std::env::temp_dir().join(format!("steadfast-pipe-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let read = || read_pipe(&path, Duration::from_secs(1)).unwrap_err();
        assert_eq!(read(), "nothing has come out of the pipe within 1 s");
        let mut writer = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        writer.write_all(b"vrrp_instance").unwrap();
        assert_eq!(read(), "not everything has come out of the pipe within 1 s");
        fs::remove_file(&path).unwrap();
    }
}
