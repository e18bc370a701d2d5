//! The record of which Virtual Routers are Active and when they last advertised, in a file beside the control socket. It
//! outlives an agent that is killed, so that the next one goes on where it was interrupted, if its peers cannot have
//! missed it yet. The file is memory: writing to it is no system call and never waits. It is trusted only as far as its
//! checksums say, and only within the boot of the machine that it was written in.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crc::{CRC_32_ISO_HDLC, Crc};
use steadfast_core::agent::Settings;
use steadfast_core::time::Instant;

use crate::plan::PlannedRouter;
use crate::sys::shared::SharedWords;

/// What the file begins with: its kind and its version.
const MAGIC: u64 = u64::from_be_bytes(*b"SFRecrd1");
/// As many Virtual Routers as there can be.
const PLACES: usize = 4096;
/// The words before the first place: the magic, two of the boot's name, and their checksum.
const HEAD: usize = 4;
/// The words of a place: two with the interface's name, one with the rest and a checksum, and the time of the last
/// Advertisement in microseconds; without one, nobody is Active there.
const PLACE: usize = 4;

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// What makes a Virtual Router the same one after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity([u64; 3]);

impl Identity {
    fn new(interface: &str, settings: &Settings) -> Self {
        let mut name = [0; 16];
        for (place, byte) in name.iter_mut().zip(interface.bytes()) {
            *place = byte;
        }
        let [first, second] = [&name[..8], &name[8..]].map(|half| half.try_into().map_or(0, u64::from_be_bytes));
        let rest = u32::from_be_bytes([settings.family as u8, settings.vrid.get(), 0, settings.virtual_mac.into()]);
        Self([first, second, u64::from(sum([first, second, rest.into()])) << 32 | u64::from(rest)])
    }
}

/// The checksum of some words.
fn sum<const N: usize>(words: [u64; N]) -> u32 {
    let mut digest = CRC.digest();
    for word in words {
        digest.update(&word.to_be_bytes());
    }
    digest.finalize()
}

/// A Virtual Router that was Active when the agent before this one came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Predecessor {
    identity: Identity,
    /// When it last advertised.
    advertised: Instant,
}

/// The Virtual Routers that were Active when the agent before this one came to its end.
#[derive(Debug, Default)]
pub(super) struct Predecessors(Vec<Predecessor>);

impl Predecessors {
    /// When the predecessor of a router last advertised, if its peers cannot have missed it yet.
    pub(super) fn of(&self, now: Instant, planned: &PlannedRouter) -> Option<Instant> {
        let settings = &planned.settings;
        let identity = Identity::new(&planned.interface, settings);
        let advertised = self.0.iter().find(|predecessor| predecessor.identity == identity)?.advertised;
        // As the first of them takes over, who may have been told to wait for less than we were.
        let patience = settings.interval.duration().times(settings.down_timer_adverts.min(3).into());
        (advertised <= now && now.since(advertised) < patience).then_some(advertised)
    }
}

/// The record, if there is a place for it.
#[derive(Debug, Default)]
pub(super) struct Record(Option<(PathBuf, SharedWords)>);

impl Record {
    /// Begins a record in `file`, after reading what is in it.
    ///
    /// # Errors
    /// Of the system.
    pub(super) fn begin(file: &Path) -> io::Result<(Self, Predecessors)> {
        let mut options = File::options();
        let opened = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(file)?;
        // Read as a file, and begun anew as an empty one: what is looked at through the mapping takes memory.
        let mut old = Vec::new();
        (&opened).take((HEAD + PLACES * PLACE) as u64 * 8).read_to_end(&mut old)?;
        opened.set_len(0)?;
        let shared = SharedWords::map(&opened, HEAD + PLACES * PLACE)?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let boot = u128::from_str_radix(&boot.trim().replace('-', ""), 16).map_err(io::Error::other)?;
        let head = [MAGIC, (boot >> 64) as u64, boot as u64];
        let head: [u64; HEAD] = [head[0], head[1], head[2], sum(head).into()];
        let (old, _) = old.as_chunks();
        let old: Vec<u64> = old.iter().copied().map(u64::from_ne_bytes).collect();
        let before = match old.split_at_checked(HEAD) {
            Some((old, places)) if old == head => places.chunks_exact(PLACE).filter_map(read).collect(),
            _ => Vec::new(),
        };
        for (word, head) in shared.words().iter().zip(head) {
            word.store(head, Ordering::Release);
        }
        Ok((Self(Some((file.to_owned(), shared))), Predecessors(before)))
    }

    fn place(&self, router: usize) -> Option<&[AtomicU64]> {
        let (_, shared) = self.0.as_ref()?;
        shared.words()[HEAD..].chunks_exact(PLACE).nth(router)
    }

    /// The router with this number is, from now on, this one.
    pub(super) fn enter(&self, router: usize, planned: &PlannedRouter) {
        let Some([name, rest @ .., time]) = self.place(router) else { return };
        time.store(0, Ordering::Release);
        let Identity(words) = Identity::new(&planned.interface, &planned.settings);
        for (place, word) in [name].into_iter().chain(rest).zip(words) {
            place.store(word, Ordering::Release);
        }
    }

    /// It advertises as Active.
    pub(super) fn advertised(&self, now: Instant, router: usize) {
        if let Some([.., time]) = self.place(router) {
            time.store(now.as_micros(), Ordering::Release);
        }
    }

    /// It is not, or no longer, Active.
    pub(super) fn ended(&self, router: usize) {
        if let Some([.., time]) = self.place(router) {
            time.store(0, Ordering::Release);
        }
    }

    /// The planned end: there is nothing to go on with.
    pub(super) fn close(&mut self) {
        if let Some((file, _)) = self.0.take() {
            let _ = fs::remove_file(file);
        }
    }
}

/// Who was Active there, if the checksum is right.
fn read(place: &[u64]) -> Option<Predecessor> {
    let [first, second, rest, time] = *place else { return None };
    let right = u64::from(sum([first, second, rest & u64::from(u32::MAX)])) == rest >> 32;
    let predecessor = Predecessor { identity: Identity([first, second, rest]), advertised: Instant::from_micros(time) };
    (right && time != 0).then_some(predecessor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Findings;
    use crate::plan;
    use std::sync::Arc;
    use steadfast_core::time::Duration;

    /// Three routers on one interface: of 1 s, of 0.1 s, and one over IPv6.
    fn planned() -> Vec<Arc<PlannedRouter>> {
        let mut text = String::new();
        for (vrid, lines) in [
            (1, "virtual_ipaddress { 10.0.0.1 }"),
            (2, "advert_int 0.1\nversion 3\nvirtual_ipaddress { 10.0.0.2 }"),
            (1, "virtual_ipaddress { fe80::1 }"),
        ] {
            text += &format!(
                "vrrp_instance V{} {{\ninterface eth0\nvirtual_router_id {vrid}\n{}\n}}\n",
                text.len(),
                lines.replace('{', "{\n").replace('}', "\n}")
            );
        }
        plan::parse(text.as_bytes(), &mut Findings::new(Path::new("x"))).unwrap().routers
    }

    struct File(PathBuf);

    impl File {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("steadfast-record-{name}-{}", std::process::id())))
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn at(ms: u64) -> Instant {
        Instant::default() + Duration::from_millis(ms)
    }

    fn found(file: &File, now: Instant) -> Vec<bool> {
        let (_, before) = Record::begin(&file.0).unwrap();
        planned().iter().map(|planned| before.of(now, planned).is_some()).collect()
    }

    /// A record that ended without a planned end, in which the first two were Active at 1000 ms.
    fn interrupted(file: &File) {
        let (record, before) = Record::begin(&file.0).unwrap();
        assert!(before.0.is_empty());
        for (number, planned) in planned().iter().enumerate() {
            record.enter(number, planned);
            record.advertised(at(1000), number);
        }
        record.ended(2);
    }

    #[test]
    fn who_was_active_is_found_until_its_peers_have_missed_it() {
        for (ms, expected) in [
            (1000, [true, true, false]),
            (1299, [true, true, false]),
            (1300, [true, false, false]),
            (3999, [true, false, false]),
            (4000, [false; 3]),
            (999, [false; 3]),
        ] {
            let file = File::new("found");
            interrupted(&file);
            assert_eq!(found(&file, at(ms)), expected, "at {ms} ms");
            assert_eq!(found(&file, at(ms)), [false; 3], "only once");
        }
    }

    #[test]
    fn nothing_is_left_by_a_planned_end() {
        let file = File::new("planned");
        interrupted(&file);
        let (mut record, _) = Record::begin(&file.0).unwrap();
        record.close();
        assert!(!file.0.exists());
    }

    #[test]
    fn what_is_damaged_cut_or_of_another_boot_is_not_believed() {
        let file = File::new("damaged");
        interrupted(&file);
        let whole = fs::read(&file.0).unwrap();
        let used = (HEAD + 2 * PLACE) * 8;
        for byte in 0..used {
            // A time may be wrong without anybody noticing, but then it is too old, or not yet.
            let word = byte / 8;
            if word >= HEAD && (word - HEAD) % PLACE == PLACE - 1 {
                continue;
            }
            let mut damaged = whole.clone();
            damaged[byte] ^= 0x10;
            fs::write(&file.0, &damaged).unwrap();
            assert_ne!(found(&file, at(1000)), [true, true, false], "byte {byte}");
        }
        for length in [0, 1, 31, 32, 40, 56] {
            fs::write(&file.0, &whole[..length]).unwrap();
            assert_eq!(found(&file, at(1000)), [false; 3], "{length} bytes");
        }
    }
}
