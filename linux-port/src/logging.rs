//! Log lines on stderr, to syslog or to a file that delay nobody: the caller formats its line and drops it into a bounded queue, a
//! thread of its own writes it out. When the reader of stderr stops reading, lines are lost and counted,
//! never waited for. How often a hostile packet may be logged is in [`limiter`].

pub mod limiter;
mod syslog;

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};

pub use limiter::{Limiter, Summary};
pub use syslog::Facility;

use crate::guard;
use crate::timestamp::Timestamp;

/// Lines that wait to be written; with [`LINE_BYTES`] this bounds the memory of a blocked log.
const QUEUE_LINES: usize = 512;

/// A longer line is cut.
const LINE_BYTES: usize = 1024;

/// How long the writer waits after a write that would have blocked (someone made our stderr non-blocking).
const RETRY: Duration = Duration::from_millis(10);

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To stderr.
    Stderr,
    /// To syslog, and to stderr where there is none.
    Syslog(Facility),
    /// To the end of a file.
    File(PathBuf),
}

/// Sends the lines of the `log` macros, from `level` up, to stderr; see [`init_to`].
///
/// # Errors
/// stderr cannot be duplicated, or the thread cannot be started.
pub fn init(level: LevelFilter) -> io::Result<()> {
    init_to(&Target::Stderr, level)
}

/// Sends the lines of the `log` macros, from `level` up, to `target`. Starts the writer's thread, so whoever
/// wants signals on a descriptor blocks them first. A second call changes only the level.
///
/// # Errors
/// stderr cannot be duplicated, the file cannot be opened, or the thread cannot be started.
pub fn init_to(target: &Target, level: LevelFilter) -> io::Result<()> {
    if LOGGER.get().is_none() {
        let logger = match target {
            Target::Stderr => Logger::on_stderr()?,
            Target::Syslog(facility) => match syslog::Syslog::open() {
                Ok(out) => Logger::start(out, Style::Syslog(*facility))?,
                Err(_) => Logger::on_stderr()?,
            },
            Target::File(path) => {
                let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
                Logger::start(file, Style::Plain)?
            }
        };
        // Only a race of two first calls can find it set; the loser's thread then ends by itself.
        let _ = log::set_logger(LOGGER.get_or_init(|| logger));
    }
    log::set_max_level(level);
    Ok(())
}

/// Waits until everything logged so far is written, but no longer than `patience`. For the end of the
/// program. Whether it was all written.
pub fn flush(patience: Duration) -> bool {
    LOGGER.get().is_none_or(|logger| logger.queue.flush(patience))
}

/// What goes before the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// `2026-11-22T15:27:01.123456Z WARN `.
    Plain,
    /// `<4>`: systemd's journal adds time and level itself.
    Journal,
    /// `<28>Keepalived[123]: `: syslog adds the time.
    Syslog(Facility),
}

impl Style {
    /// The journal names the stream that it reads as `device:inode` in an environment variable; only if that
    /// is our stderr does it read these lines.
    fn of(stderr: &File) -> Self {
        let ours = stderr.metadata().map(|file| format!("{}:{}", file.dev(), file.ino()));
        match (ours, std::env::var("JOURNAL_STREAM")) {
            (Ok(ours), Ok(journal)) if ours == journal => Self::Journal,
            _ => Self::Plain,
        }
    }

    /// One line with its newline, cut to [`LINE_BYTES`]. Control characters are escaped, so that no text from
    /// outside can fake a line or speak to a terminal.
    fn line(self, level: Level, message: fmt::Arguments<'_>) -> String {
        let mut line = Line(String::with_capacity(128));
        // Formatting ends early, and with an error, exactly when the line is full.
        let _ = match self {
            Self::Plain => write!(line, "{} {level} ", Timestamp::now()),
            Self::Journal => write!(line, "<{}>", severity(level)),
            Self::Syslog(facility) => {
                write!(line, "<{}>Keepalived[{}]: ", facility.priority(severity(level)), std::process::id())
            }
        }
        .and_then(|()| line.write_fmt(message));
        line.0.push('\n');
        line.0
    }
}

/// The level in syslog's numbers.
const fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Collects at most [`LINE_BYTES`] of text without control characters.
struct Line(String);

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let before = self.0.len();
            if character.is_control() {
                self.0.extend(character.escape_default());
            } else {
                self.0.push(character);
            }
            if self.0.len() >= LINE_BYTES {
                self.0.truncate(before);
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

struct Logger {
    queue: Queue,
    style: Style,
}

impl Logger {
    fn on_stderr() -> io::Result<Self> {
        // A descriptor of our own: std's handle has a lock, which a blocked write would hold while a panic
        // wants to print.
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let style = Style::of(&stderr);
        Self::start(stderr, style)
    }

    fn start(out: impl Write + Send + 'static, style: Style) -> io::Result<Self> {
        Ok(Self { queue: Queue::start(out, style)?, style })
    }
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.queue.put(self.style.line(record.level(), *record.args()));
    }

    /// Nothing: waiting here could block the caller. See [`flush`].
    fn flush(&self) {}
}

enum Item {
    Line(String),
    /// Answered once everything before it is written.
    Flush(Sender<()>),
}

/// The caller's end of the queue to the writing thread.
struct Queue {
    items: SyncSender<Item>,
    lost: Arc<AtomicUsize>,
}

impl Queue {
    fn start(out: impl Write + Send + 'static, style: Style) -> io::Result<Self> {
        let (items, received) = sync_channel(QUEUE_LINES);
        let lost = Arc::new(AtomicUsize::new(0));
        let writer = Writer { out, style, lost: Arc::clone(&lost) };
        let builder = thread::Builder::new().name("log".into()).stack_size(64 << 10);
        guard::start(builder, guard::NOTHING, move || writer.run(&received))?;
        Ok(Self { items, lost })
    }

    /// Never waits: a line that finds the queue full is counted instead.
    fn put(&self, line: String) {
        if self.items.try_send(Item::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let (done, wait) = channel();
        let mut item = Item::Flush(done);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.items.try_send(item) {
                Ok(()) => return wait.recv_timeout(left).is_ok(),
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(_)) if left.is_zero() => return false,
                Err(TrySendError::Full(back)) => item = back,
            }
            thread::sleep(RETRY.min(left));
        }
    }
}

/// The writing thread's side.
struct Writer<W> {
    out: W,
    style: Style,
    lost: Arc<AtomicUsize>,
}

impl<W: Write> Writer<W> {
    fn run(mut self, items: &Receiver<Item>) {
        let mut since_admitted = 0;
        loop {
            // Losses are told when the queue is empty, or when it has been turned over once.
            let queued = items.try_recv();
            if queued.is_err() || since_admitted >= QUEUE_LINES {
                self.admit_losses();
                since_admitted = 0;
            }
            let Ok(item) = queued.or_else(|_| items.recv()) else { return };
            match item {
                Item::Line(line) => {
                    self.write(line.as_bytes());
                    since_admitted += 1;
                }
                Item::Flush(done) => {
                    self.admit_losses();
                    // Whoever asked may have lost patience.
                    let _ = done.send(());
                }
            }
        }
    }

    fn admit_losses(&mut self) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let plural = if lost == 1 { "" } else { "s" };
            let line =
                self.style.line(Level::Warn, format_args!("{lost} log line{plural} lost: they could not be written"));
            self.write(line.as_bytes());
        }
    }

    /// Writes it all, however long that takes. If stderr is closed there is nobody to tell, and the line is
    /// gone.
    fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.out.write(bytes) {
                Ok(0) => return,
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => thread::sleep(RETRY),
                    _ => return,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, pipe};

    use super::*;

    fn text(level: Level, message: &str) -> String {
        Style::Plain.line(level, format_args!("{message}"))
    }

    #[test]
    fn a_line_is_one_line_of_bounded_length() {
        let line = text(Level::Info, "a\nb\x1b[31mc");
        assert!(line.ends_with("Z INFO a\\nb\\u{1b}[31mc\n"), "{line}");
        let line = text(Level::Info, &"ü".repeat(LINE_BYTES));
        assert!(line.len() <= LINE_BYTES && line.len() > LINE_BYTES - 4);
        assert!(text(Level::Info, &"\x07".repeat(LINE_BYTES)).len() <= LINE_BYTES);
        assert_eq!(Style::Journal.line(Level::Warn, format_args!("x")), "<4>x\n");
    }

    #[test]
    fn a_reader_that_stops_reading_delays_nothing_and_later_learns_how_much_it_missed() {
        let (reader, writer) = pipe().unwrap();
        let queue = Queue::start(writer, Style::Journal).unwrap();
        let line = format!("{}\n", "x".repeat(LINE_BYTES - 1));
        // Far more than pipe and queue hold.
        let began = Instant::now();
        for _ in 0..10_000 {
            queue.put(line.clone());
        }
        assert!(!queue.flush(Duration::from_millis(50)));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());

        let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
        let (mut whole, mut lost, mut admissions) = (0, 0, 0);
        while whole + lost < 10_000 {
            let line = lines.next().unwrap();
            match line.strip_prefix("<4>").and_then(|line| line.split_once(" log line")) {
                Some((count, _)) => {
                    lost += count.parse::<usize>().unwrap();
                    admissions += 1;
                }
                None => whole += 1,
            }
        }
        assert_eq!(whole + lost, 10_000);
        assert!(lost > 0 && admissions <= 2 + whole / QUEUE_LINES, "{lost} lost, told {admissions} times");
        thread::spawn(move || lines.for_each(drop));
        assert!(queue.flush(Duration::from_secs(10)));
    }

    #[test]
    fn flush_returns_when_all_is_written() {
        let (reader, writer) = pipe().unwrap();
        let queue = Queue::start(writer, Style::Plain).unwrap();
        queue.put(text(Level::Error, "last words"));
        assert!(queue.flush(Duration::from_secs(10)));
        drop(queue);
        let lines: Vec<_> = BufReader::new(reader).lines().map(Result::unwrap).collect();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].ends_with(" ERROR last words"));
    }

    #[test]
    fn a_closed_stderr_is_survived() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let queue = Queue::start(writer, Style::Plain).unwrap();
        queue.put(text(Level::Error, "nobody hears this"));
        assert!(queue.flush(Duration::from_secs(10)));
    }
}
