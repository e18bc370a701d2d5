//! Virtual Routers that an administrator has taken out (`steadfast drain`): by their names, until `steadfast resume`, over
//! reloads and over the end of the agent. A file beside the control socket has the names. A thread writes it, so that the
//! loop never waits, and answers whoever has asked once that is done.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crc::{CRC_32_ISO_HDLC, Crc};
use log::{error, info, warn};
use serde::{Deserialize, Serialize};
use steadfast_core::agent::{Agent, Obstacle, RouterId};
use steadfast_core::time::Instant;

use super::{Daemon, Name};
use crate::control::{Answer, Drained, Request};
use crate::guard;
use crate::storage::Heap;

/// What the first line of the file begins with; the checksum of the rest follows.
const MAGIC: &str = "SFDrain1 ";
/// The longest file that is read: the names of 4,096 Virtual Routers, each as long as a line.
const MOST_BYTES: u64 = 8 << 20;

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Who is drained.
#[derive(Debug, Default)]
pub(super) struct Drains {
    file: PathBuf,
    noted: Noted,
    /// The writer; it is started when there is something to write for the first time.
    writer: Option<Sender<Job>>,
}

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Noted {
    /// Also those that a reload adds.
    all: bool,
    routers: BTreeSet<String>,
}

/// What the writer is asked: to write this, and to answer.
type Job = (Noted, Option<(Request, Drained)>);

impl Drains {
    /// Who was drained when the agent before this one came to its end.
    pub(super) fn begin(file: PathBuf) -> Self {
        let noted = match read(&file) {
            Ok(noted) => noted,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Noted::default(),
            Err(error) => {
                error!("{}: {error}; no Virtual Router is drained", file.display());
                Noted::default()
            }
        };
        Self { file, noted, writer: None }
    }

    /// Whether a new Virtual Router of this name is to stay out.
    pub(super) fn has(&self, name: &str) -> bool {
        self.noted.all || self.noted.routers.contains(name)
    }

    /// Has it written down who is drained, and whoever asked answered.
    fn write(&mut self, asked: Option<(Request, Drained)>) {
        let mut job = (self.noted.clone(), asked);
        for _ in 0..2 {
            let Some(writer) = &self.writer else {
                let (writer, jobs) = channel();
                let file = self.file.clone();
                let builder = thread::Builder::new().name("drains".into());
                match guard::start(builder, guard::NOTHING, move || work(&file, &jobs)) {
                    Ok(_) => self.writer = Some(writer),
                    Err(error) => return finish(job.1, Err(error)),
                }
                continue;
            };
            match writer.send(job) {
                Ok(()) => return,
                Err(unsent) => job = unsent.0,
            }
            self.writer = None;
        }
        finish(job.1, Err(io::Error::other("its writer has ended")));
    }
}

/// The writer's side; it ends with the loop's.
fn work(file: &Path, jobs: &Receiver<Job>) {
    while let Ok((noted, asked)) = jobs.recv() {
        finish(asked, write(file, &noted));
    }
}

/// Answers whoever has asked.
fn finish(asked: Option<(Request, Drained)>, written: io::Result<()>) {
    let unnoted = written.err().map(|error| error.to_string());
    if let Some(problem) = &unnoted {
        warn!("who is drained could not be noted: {problem}");
    }
    if let Some((request, mut answer)) = asked {
        answer.unnoted = unnoted;
        request.answer(Answer::Drain(Ok(answer)));
    }
}

fn read(file: &Path) -> io::Result<Noted> {
    let mut text = String::new();
    File::open(file)?.take(MOST_BYTES).read_to_string(&mut text)?;
    let whole = text.split_once('\n').and_then(|(head, rest)| {
        let sum = u32::from_str_radix(head.strip_prefix(MAGIC)?, 16).ok()?;
        (sum == CRC.checksum(rest.as_bytes())).then(|| serde_json::from_str(rest).ok())?
    });
    whole.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is damaged, and not believed"))
}

/// Replaces the file as a whole; without anybody who is drained there is none.
fn write(file: &Path, noted: &Noted) -> io::Result<()> {
    if *noted == Noted::default() {
        return match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let text = serde_json::to_string(noted)?;
    let text = format!("{MAGIC}{:08x}\n{text}", CRC.checksum(text.as_bytes()));
    let mut new = file.to_owned().into_os_string();
    new.push(".new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::options().write(true).create_new(true).mode(0o600).open(&new)?.write_all(text.as_bytes())?;
    fs::rename(new, file)
}

/// Whether a Virtual Router of an agent that is not being stopped is drained.
pub(super) fn is_drained(agent: &Agent<Heap>, router: RouterId) -> bool {
    agent.view(router).is_some_and(|view| view.obstacle == Some(Obstacle::Stopped))
}

impl Daemon {
    /// Drains a Virtual Router with its sync group, or all without a name; or lets them in again.
    pub(super) fn maintain(&mut self, now: Instant, request: Request, name: Option<&str>, drains: bool) {
        let Some(routers) = self.concerned(name).filter(|_| self.stopping.is_none()) else {
            // One that is not, or no longer, in the configuration.
            let known = !drains && name.is_some_and(|name| self.drains.noted.routers.remove(name));
            return match name {
                Some(name) if known => self.drains.write(Some((request, Drained::new(vec![name.into()])))),
                Some(_) if self.stopping.is_none() => {
                    request.answer(Answer::Drain(Err("there is no such Virtual Router".into())));
                }
                _ => request.answer(Answer::Drain(Err("the agent is being stopped".into()))),
            };
        };
        for id in &routers {
            if drains {
                self.agent.drain(now, *id);
            } else {
                self.agent.resume(now, *id);
            }
        }
        let names: Vec<Name> = routers.iter().filter_map(|id| Some(Name::clone(&self.port.local(*id)?.name))).collect();
        let what = if drains { "drained: it stays out until it is resumed" } else { "resumed: it may take part again" };
        names.iter().for_each(|name| info!("{name}: {what}"));
        let noted = &mut self.drains.noted;
        match (drains, name) {
            (true, _) => noted.routers.extend(names.iter().map(ToString::to_string)),
            (false, None) => noted.routers.clear(),
            (false, Some(_)) => noted.routers.retain(|known| !names.iter().any(|name| **name == **known)),
        }
        noted.all = drains && (noted.all || name.is_none());
        self.drains.write(Some((request, Drained::new(names))));
    }

    /// The Virtual Router of this name and its sync group, or all; `None` if there is none of that name.
    fn concerned(&self, name: Option<&str>) -> Option<Vec<RouterId>> {
        let Some(name) = name else { return Some(self.order.clone()) };
        let named = |id: &&RouterId| self.port.local(**id).is_some_and(|local| *local.name == *name);
        let id = *self.order.iter().find(named)?;
        let group = self.agent.view(id).and_then(|view| view.sync_group);
        Some(group.map_or_else(|| vec![id], |group| self.agent.members(group).collect()))
    }

    /// Notes who is drained after a reload: names may have changed, and a Virtual Router may be new.
    pub(super) fn note_drains(&mut self) {
        let mut noted = self.drains.noted.clone();
        for id in &self.order {
            let Some(local) = self.port.local(*id) else { continue };
            if is_drained(&self.agent, *id) {
                noted.routers.insert(local.name.to_string());
            } else {
                noted.routers.remove(&*local.name);
            }
        }
        if noted != self.drains.noted {
            self.drains.noted = noted;
            self.drains.write(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("steadfast-drains-{name}-{}", std::process::id()))
    }

    #[test]
    fn what_is_noted_is_found_again_and_what_is_damaged_is_not_believed() {
        let file = file("noted");
        assert_eq!(read(&file).unwrap_err().kind(), io::ErrorKind::NotFound);
        let names = ["gw", "a \"name\" with\tmore", "ä"].map(String::from);
        let noted = Noted { all: false, routers: BTreeSet::from(names) };
        write(&file, &noted).unwrap();
        assert_eq!(read(&file).unwrap(), noted);
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x01;
            fs::write(&file, &damaged).unwrap();
            assert!(read(&file).is_err(), "byte {at}");
            fs::write(&file, &whole[..at]).unwrap();
            assert!(read(&file).is_err(), "{at} bytes");
        }
        write(&file, &Noted::default()).unwrap();
        assert!(!file.exists());
        write(&file, &Noted::default()).unwrap();
    }

    #[test]
    fn a_drain_of_all_holds_for_those_to_come() {
        let mut drains = Drains::begin(file("all"));
        assert!(!drains.has("gw"));
        drains.noted.routers.insert("gw".into());
        assert!(drains.has("gw") && !drains.has("other"));
        drains.noted.all = true;
        assert!(drains.has("other"));
    }
}
