//! Sequence numbers for `anti_replay monotonic` that no run of this agent before has sent, whatever the clock says: a peer
//! takes none twice and none that is lower, so an agent that was killed, or a router that was switched on again and knows
//! no time, would be taken for somebody who plays old packets until it has passed what it once sent.
//!
//! A number is the time of day, as long as that grows. A file says up to which second they may have been sent: a thread
//! writes it an hour ahead, and whoever begins anew begins there. No number goes out that the file does not cover; while
//! the disk is slow, or the clock has jumped ahead, they are counted on within the last second that it does, and there are
//! 2^32 in each. Where /var/lib can be written to the file outlives the machine; otherwise it is beside the control
//! socket, and ends with the boot.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crc::{CRC_32_ISO_HDLC, Crc};
use log::warn;
use steadfast_core::auth::Sequence;

use crate::control;
use crate::guard;

/// What the first line of the file begins with; the checksum of the second follows.
const MAGIC: &str = "SFNumbr1 ";
/// The folder of files that outlive the machine, unless the service manager names another one.
const FOLDER: &str = "/var/lib/steadfast";
/// How many seconds are reserved at once.
const BLOCK: u64 = 3600;
/// How long after a vain attempt the next one is made, in seconds.
const RETRY: u64 = 60;
/// How long a start waits for the disk.
const PATIENCE: Duration = Duration::from_secs(2);

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// The time of day of this machine, right or wrong.
pub(super) fn time_of_day() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A time as a number; it may be the same as the last one.
pub(super) fn at(time: Duration) -> Sequence {
    Sequence::at(time.as_secs(), time.subsec_nanos())
}

/// Where the agent with this control socket may keep the file, the best place first.
pub(super) fn places(control: &Path) -> Vec<PathBuf> {
    let mut name = control.file_name().unwrap_or_default().to_owned();
    name.push(".numbers");
    let named = env::var_os("STATE_DIRECTORY").and_then(|folders| env::split_paths(&folders).next());
    // Whoever wants the socket elsewhere does not want anything there either.
    let is_usual = control.parent() == Path::new(control::DEFAULT_PATH).parent();
    let lasting = named.or_else(|| is_usual.then(|| FOLDER.into())).map(|folder: PathBuf| folder.join(&name));
    lasting.into_iter().chain([control.with_file_name(&name)]).collect()
}

/// The loop's side.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    places: Vec<PathBuf>,
    /// Once somebody wants them.
    keeper: Option<Keeper>,
}

#[derive(Debug)]
struct Keeper {
    shared: Arc<Shared>,
    asks: Sender<u64>,
    /// Says that the thread has begun, and that it has ended.
    done: Receiver<()>,
    /// When the thread was last asked, by the clock.
    asked: u64,
    /// The last second of which there are numbers that were sent.
    highest: u64,
}

/// What loop and thread share, in seconds since 1970.
#[derive(Debug, Default)]
struct Shared {
    /// Where what others may have sent ends.
    floor: AtomicU64,
    /// Where what is reserved ends; 0 until that is known.
    end: AtomicU64,
}

impl Numbers {
    /// They will be kept in the first of these places that can be written to, once they are wanted.
    pub(super) fn keep_in(&mut self, places: Vec<PathBuf>) {
        self.places = places;
    }

    /// They are wanted from now on. Until the file has been read, which somebody may wait for, they are the time of day.
    pub(super) fn begin(&mut self, waits: bool) {
        if self.keeper.is_none() && !self.places.is_empty() {
            match Keeper::start(self.places.clone(), time_of_day(), waits) {
                Ok(keeper) => self.keeper = Some(keeper),
                Err(error) => warn!("after a crash peers may not believe this agent at first: {error}"),
            }
        }
    }

    /// What to send next, unless that or a later one has been sent.
    pub(super) fn next(&mut self) -> Sequence {
        let now = time_of_day();
        self.keeper.as_mut().map_or_else(|| at(now), |keeper| keeper.next(now))
    }

    /// The planned end: the next run goes on where this one has ended. Waits for the disk.
    pub(super) fn close(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.close();
        }
    }
}

impl Keeper {
    fn start(places: Vec<PathBuf>, now: Duration, waits: bool) -> io::Result<Self> {
        let (asks, asked) = channel();
        let (answers, done) = channel();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let builder = thread::Builder::new().name("numbers".into()).stack_size(128 << 10);
        guard::start(builder, guard::NOTHING, move || {
            let place = begin(&places, now.as_secs(), &theirs);
            // Nobody may be waiting for it.
            let _ = answers.send(());
            if let Some(place) = place {
                keep(place, &theirs, &asked);
            }
            let _ = answers.send(());
        })?;
        if waits && done.recv_timeout(PATIENCE).is_err() {
            warn!("the disk is slow: until it has answered, sequence numbers are the time of day");
        }
        Ok(Self { shared, asks, done, asked: 0, highest: 0 })
    }

    /// What to send at this time of day, unless that or a later one has been sent.
    fn next(&mut self, now: Duration) -> Sequence {
        let (seconds, end) = (now.as_secs(), self.shared.end.load(Ordering::Acquire));
        if end == 0 {
            return at(now);
        }
        if end <= seconds.saturating_add(BLOCK / 2) && self.asked.abs_diff(seconds) >= RETRY {
            self.asked = seconds;
            // If it is gone, they are counted on.
            let _ = self.asks.send(seconds.saturating_add(BLOCK));
        }
        let (floor, last) = (self.shared.floor.load(Ordering::Acquire), end - 1);
        let covered = floor..last;
        let next = if covered.contains(&seconds) { now } else { Duration::from_secs(seconds.clamp(floor, last)) };
        self.highest = self.highest.max(next.as_secs());
        at(next)
    }

    fn close(self) {
        let Self { shared, asks, done, highest, .. } = self;
        let end = shared.floor.load(Ordering::Acquire).max(highest.saturating_add(1));
        // If nothing can be written, it has ended.
        let _ = asks.send(end);
        drop(asks);
        while done.recv_timeout(PATIENCE).is_ok() {}
    }
}

/// Reads where others have ended, and reserves what follows; the file for the rest of it.
fn begin(places: &[PathBuf], now: u64, shared: &Shared) -> Option<PathBuf> {
    let floor = places.iter().filter_map(|place| read(place)).max().unwrap_or(0);
    shared.floor.store(floor, Ordering::Release);
    // Behind what others have sent, there is nothing to follow: they are counted, for which a second is enough.
    let end = if now < floor { floor.saturating_add(2) } else { now.saturating_add(BLOCK) };
    let mut problems = Vec::new();
    for place in places {
        match write(place, end) {
            Ok(()) => {
                if let [problem, ..] = &*problems {
                    warn!(
                        "after a reboot without the right time peers may not believe this router at first: {problem}"
                    );
                }
                shared.end.store(end, Ordering::Release);
                return Some(place.clone());
            }
            Err(error) => problems.push(format!("{}: {error}", place.display())),
        }
    }
    warn!("after a crash peers may not believe this agent at first: {}", problems.join("; "));
    // There is no end.
    shared.end.store(u64::MAX, Ordering::Release);
    None
}

/// Reserves what the loop asks for; ends with it.
fn keep(place: PathBuf, shared: &Shared, asked: &Receiver<u64>) {
    while let Ok(end) = asked.recv() {
        match write(&place, end) {
            Ok(()) => shared.end.store(end, Ordering::Release),
            Err(error) => warn!("{}: {error}; sequence numbers are counted on", place.display()),
        }
    }
}

/// The second that a file says, if it is whole.
fn read(file: &Path) -> Option<u64> {
    let mut text = String::new();
    File::open(file).ok()?.take(64).read_to_string(&mut text).ok()?;
    let (head, rest) = text.split_once('\n')?;
    let sum = u32::from_str_radix(head.strip_prefix(MAGIC)?, 16).ok()?;
    let end = rest.trim_end().parse().ok().filter(|_| sum == CRC.checksum(rest.as_bytes()));
    if end.is_none() {
        warn!("{}: it is damaged, and not believed", file.display());
    }
    end
}

/// Replaces the file as a whole, and waits until the disk has it.
fn write(file: &Path, end: u64) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let text = format!("{end}\n");
    let text = format!("{MAGIC}{:08x}\n{text}", CRC.checksum(text.as_bytes()));
    let mut new = file.to_owned().into_os_string();
    new.push(".new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut opened = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    opened.write_all(text.as_bytes())?;
    opened.sync_all()?;
    fs::rename(new, file)?;
    // The new name too; not every file system can be asked for that.
    let _ = file.parent().map(|folder| File::open(folder)?.sync_all());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = env::temp_dir().join(format!("steadfast-numbers-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn file(&self) -> PathBuf {
            self.0.join("lasting/control.sock.numbers")
        }

        fn places(&self) -> Vec<PathBuf> {
            vec![self.file(), self.0.join("control.sock.numbers")]
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// An agent that sends, and what it sent last.
    struct Sender {
        keeper: Keeper,
        sent: Option<Sequence>,
    }

    impl Sender {
        fn start(folder: &Folder, now: u64) -> Self {
            Self { keeper: Keeper::start(folder.places(), Duration::from_secs(now), true).unwrap(), sent: None }
        }

        /// As the core does it.
        fn send(&mut self, now: u64) -> Sequence {
            let next = self.keeper.next(Duration::from_secs(now));
            let next = self.sent.filter(|sent| !next.is_after(*sent)).map_or(next, Sequence::next);
            self.sent = Some(next);
            next
        }

        /// Killed; what its thread was asked for may have been written or not.
        fn crash(self) {
            let Keeper { asks, done, .. } = self.keeper;
            drop(asks);
            while done.recv().is_ok() {}
        }
    }

    #[test]
    fn no_number_is_sent_twice_whatever_the_clock_says_over_crashes_and_reboots() {
        let folder = Folder::new("crash");
        let mut last = at(Duration::ZERO);
        // The right time; set back; no time at all after a reboot, twice; the right time again; 40 years ahead, and back.
        for begin in [1_700_000_000, 1_600_000_000, 30, 20, 1_700_010_000, 3_000_000_000, 1_700_020_000] {
            let mut sender = Sender::start(&folder, begin);
            for step in 0..2000 {
                // The clock is set in the middle.
                let now = if step < 1000 { begin } else { begin.saturating_sub(500) + 10 * step };
                let sent = sender.send(now);
                assert!(sent.is_after(last), "{begin} {step}: {sent:?} after {last:?}");
                last = sent;
            }
            sender.crash();
        }
    }

    #[test]
    fn nothing_goes_out_that_the_file_does_not_cover() {
        let folder = Folder::new("cover");
        let mut sender = Sender::start(&folder, 1_000_000);
        let covered = |sent: Sequence| {
            let end = Duration::from_secs(read(&folder.file()).unwrap());
            at(end).is_after(sent)
        };
        for step in (0..40_000).step_by(10) {
            // An hour at once, now and then, as when the time is known at last.
            let sent = sender.send(1_000_000 + step + step / 10_000 * 10_000);
            assert!(covered(sent), "{step}");
        }
        // It follows the clock, once that is covered.
        let now = 2_000_000;
        let follows = (0..1000).any(|_| {
            thread::sleep(Duration::from_millis(10));
            sender.send(now) == at(Duration::from_secs(now))
        });
        assert!(follows);
        sender.crash();
    }

    #[test]
    fn a_planned_end_costs_a_second_and_a_crash_an_hour() {
        let folder = Folder::new("end");
        let mut sender = Sender::start(&folder, 5000);
        assert_eq!(sender.send(5001), at(Duration::from_secs(5001)));
        sender.keeper.close();
        assert_eq!(read(&folder.file()), Some(5002));
        let mut sender = Sender::start(&folder, 5002);
        assert_eq!(sender.send(5002), at(Duration::from_secs(5002)));
        sender.crash();
        let mut sender = Sender::start(&folder, 5003);
        assert_eq!(sender.send(5003), at(Duration::from_secs(5002 + BLOCK)));
        // Again and again costs little.
        sender.crash();
        assert_eq!(read(&folder.file()), Some(5002 + BLOCK + 2));
    }

    #[test]
    fn what_is_damaged_is_not_believed_and_what_cannot_be_written_is_elsewhere() {
        let folder = Folder::new("damaged");
        Sender::start(&folder, 5000).crash();
        let whole = fs::read(folder.file()).unwrap();
        for byte in 0..whole.len() - 1 {
            let mut damaged = whole.clone();
            damaged[byte] ^= 0x04;
            fs::write(folder.file(), damaged).unwrap();
            assert_eq!(read(&folder.file()), None, "byte {byte}");
            fs::write(folder.file(), &whole[..byte]).unwrap();
            assert_eq!(read(&folder.file()), None, "{byte} bytes");
        }
        // A file where the folder should be.
        let _ = fs::remove_dir_all(folder.file().parent().unwrap());
        fs::write(folder.file().parent().unwrap(), "").unwrap();
        Sender::start(&folder, 5000).crash();
        assert_eq!(read(&folder.places()[1]), Some(5000 + BLOCK));
        let mut sender = Sender::start(&folder, 4000);
        assert_eq!(sender.send(4000), at(Duration::from_secs(5000 + BLOCK)));
        sender.crash();
    }

    #[test]
    fn the_file_is_where_it_outlives_the_machine_if_the_socket_is_where_it_usually_is() {
        // A service manager may have said something else.
        if env::var_os("STATE_DIRECTORY").is_none() {
            let usual = ["/var/lib/steadfast/control.sock.numbers", "/run/steadfast/control.sock.numbers"];
            assert_eq!(places(Path::new(control::DEFAULT_PATH)), usual.map(PathBuf::from));
            assert_eq!(places(Path::new("/tmp/x/a.sock")), [PathBuf::from("/tmp/x/a.sock.numbers")]);
        }
    }
}
