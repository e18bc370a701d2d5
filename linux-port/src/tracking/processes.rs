//! `vrrp_track_process`: how many processes there are of a name or command line. The kernel tells which come and go (the
//! process connector); where it does not, as in a network namespace or in a kernel without it, /proc is read every second.
//! Also for probes of processes.

mod connector;
mod proc;

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::BorrowedFd;

use log::{info, warn};
use steadfast_core::time::{Duration, Instant};

use super::News;
use crate::plan::tracking::{Comparison, ProcessSubject, TrackerName};

use connector::{Connector, Event};

/// How often /proc is read where the kernel tells of no processes.
const EVERY: Duration = Duration::from_secs(1);

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Processes {
    list: Vec<Watched>,
    /// Which of the list a process is one of, where it is one of any.
    known: HashMap<u32, Vec<usize>>,
    connector: Option<Connector>,
    /// The kernel tells of processes.
    told: bool,
    /// When /proc is read again.
    scan_at: Option<Instant>,
}

/// One kind of process.
#[derive(Debug)]
struct Watched {
    tracker: TrackerName,
    subject: ProcessSubject,
    count: u32,
    /// What was told.
    up: Option<bool>,
    /// When the opposite will have been so for long enough.
    turns_at: Option<Instant>,
}

impl Processes {
    /// These are counted from now on. Whether there is a connector now where there was none.
    pub(super) fn plan<'a>(
        &mut self,
        now: Instant,
        planned: impl Iterator<Item = (&'a TrackerName, &'a ProcessSubject)>,
        news: &mut Vec<News>,
    ) -> bool {
        let mut before: HashMap<TrackerName, Watched> =
            self.list.drain(..).map(|watched| (watched.tracker.clone(), watched)).collect();
        for (tracker, subject) in planned {
            let known = before.remove(tracker).filter(|known| known.subject.words == subject.words);
            let (tracker, subject) = (tracker.clone(), subject.clone());
            self.list.push(Watched {
                tracker,
                subject,
                count: 0,
                up: known.and_then(|known| known.up),
                turns_at: None,
            });
        }
        self.known.clear();
        let mut opened = false;
        if self.list.is_empty() {
            (self.scan_at, self.told) = (None, false);
            // Closed, it is not waited for either.
            self.connector = None;
            return false;
        }
        if self.connector.is_none() {
            match Connector::open() {
                Ok(connector) => {
                    self.connector = Some(connector);
                    opened = true;
                }
                Err(error) => silent(&error.to_string()),
            }
        }
        self.scan(now, news);
        opened
    }

    /// What is to be waited for, if the kernel tells of processes.
    pub(super) fn connector(&self) -> Option<BorrowedFd<'_>> {
        self.connector.as_ref().map(Connector::as_fd)
    }

    /// Takes in what the kernel tells.
    pub(super) fn read(&mut self, now: Instant, news: &mut Vec<News>) -> io::Result<()> {
        let Some(mut connector) = self.connector.take() else { return Ok(()) };
        let mut lost = false;
        let mut look = HashSet::new();
        let result = connector.read(|event| match event {
            Event::Ready => {
                if !self.told {
                    info!("processes: the kernel tells of them");
                }
                (self.told, lost) = (true, true);
            }
            Event::Forked { parent, child } => {
                let kinds = self.known.get(&parent).cloned().unwrap_or_default();
                self.set(child, kinds);
            }
            // What it is now is looked at once, however often it has changed.
            Event::Changed(process) => _ = look.insert(process),
            Event::Ended(process) => {
                look.remove(&process);
                self.set(process, Vec::new());
            }
            Event::Overflow => lost = true,
        });
        self.connector = Some(connector);
        result?;
        if lost {
            self.scan(now, news);
            return Ok(());
        }
        let by_name = self.compares_names();
        for process in look {
            let kinds = proc::look(process, by_name).map(|found| self.kinds(&found)).unwrap_or_default();
            self.set(process, kinds);
        }
        self.judge(now, news);
        Ok(())
    }

    /// Reads all of /proc.
    fn scan(&mut self, now: Instant, news: &mut Vec<News>) {
        self.known.clear();
        self.list.iter_mut().for_each(|watched| watched.count = 0);
        let by_name = self.compares_names();
        for process in proc::all() {
            if let Some(found) = proc::look(process, by_name) {
                let kinds = self.kinds(&found);
                self.set(process, kinds);
            }
        }
        self.scan_at = (!self.told).then_some(now + EVERY);
        self.judge(now, news);
    }

    /// Which of the list a process is one of.
    fn kinds(&self, found: &proc::Process) -> Vec<usize> {
        (0..).zip(&self.list).filter(|(_, watched)| watched.subject.is(found)).map(|(at, _)| at).collect()
    }

    /// Whether command lines need not be looked at.
    fn compares_names(&self) -> bool {
        self.list.iter().all(|watched| watched.subject.comparison == Comparison::Name)
    }

    /// A process is one of these now.
    fn set(&mut self, process: u32, kinds: Vec<usize>) {
        let Self { list, known, .. } = self;
        let mut count = |kinds: &[usize], change: fn(u32, u32) -> u32| {
            for at in kinds {
                if let Some(watched) = list.get_mut(*at) {
                    watched.count = change(watched.count, 1);
                }
            }
        };
        count(&kinds, u32::saturating_add);
        let before = if kinds.is_empty() { known.remove(&process) } else { known.insert(process, kinds) };
        count(&before.unwrap_or_default(), u32::saturating_sub);
    }

    /// Tells what has been so for long enough, and what has had its time is looked at again.
    pub(super) fn expire(&mut self, now: Instant, news: &mut Vec<News>) {
        if self.scan_at.is_some_and(|at| at <= now) {
            if self.connector.take().is_some() {
                silent("it does not answer");
            }
            self.scan(now, news);
        } else {
            self.judge(now, news);
        }
    }

    fn judge(&mut self, now: Instant, news: &mut Vec<News>) {
        for watched in &mut self.list {
            news.extend(watched.judge(now));
        }
    }

    /// When [`Self::expire`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.list.iter().filter_map(|watched| watched.turns_at).chain(self.scan_at).min()
    }
}

fn silent(why: &str) {
    warn!("processes: the kernel does not tell of processes here, so /proc is read every second: {why}");
}

impl Watched {
    /// What is to be told, if something is.
    fn judge(&mut self, now: Instant) -> Option<News> {
        let Self { subject, count, .. } = self;
        let up = (subject.quorum..=subject.quorum_max).contains(count);
        if self.up == Some(up) {
            self.turns_at = None;
            return None;
        }
        if self.up.is_some() {
            let delay = if up { subject.fork_delay } else { subject.terminate_delay };
            if *self.turns_at.get_or_insert(now + delay) > now {
                return None;
            }
        }
        (self.up, self.turns_at) = (Some(up), None);
        let wanted = match (subject.quorum, subject.quorum_max) {
            (least, u32::MAX) => format!("at least {least} wanted"),
            (least, most) => format!("{least} to {most} wanted"),
        };
        let result = format!("{count} running, {wanted}").into();
        Some(News { tracker: self.tracker.clone(), value: Some(up.into()), result })
    }
}

impl ProcessSubject {
    /// Whether a process is one of these.
    fn is(&self, found: &proc::Process) -> bool {
        let words = || self.words.iter().map(String::as_bytes);
        let Some((last, begin)) = self.words.split_last() else { return false };
        let line = || found.command.iter().map(Vec::as_slice);
        match self.comparison {
            Comparison::Name => words().next() == Some(&found.name),
            Comparison::Command => words().next() == line().next(),
            Comparison::Whole => words().eq(line()),
            Comparison::Partial => found.command.len() >= self.words.len() && words().eq(line().take(self.words.len())),
            Comparison::Initial => {
                begin.iter().map(String::as_bytes).eq(line().take(begin.len()))
                    && line().nth(begin.len()).is_some_and(|word| word.starts_with(last.as_bytes()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;
    use crate::plan::tracking::{Kind, Value};
    use crate::sys::clock;
    use crate::sys::local;
    use crate::sys::poll::PollSet;

    fn tracker() -> TrackerName {
        TrackerName { kind: Kind::Process, name: "x".into() }
    }

    fn subject(words: &[&str], comparison: Comparison) -> ProcessSubject {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        let (fork_delay, terminate_delay) = (Duration::ZERO, Duration::ZERO);
        ProcessSubject { words, comparison, quorum: 1, quorum_max: u32::MAX, fork_delay, terminate_delay }
    }

    #[test]
    fn words_are_compared_as_asked() {
        let found = proc::Process {
            name: b"haproxy".to_vec(),
            command: [&b"/usr/sbin/haproxy"[..], b"-f", b"/etc/a.cfg"].map(<[u8]>::to_vec).to_vec(),
        };
        let program = "/usr/sbin/haproxy";
        for (words, comparison, expected) in [
            (&["haproxy"][..], Comparison::Name, true),
            (&["hapro"], Comparison::Name, false),
            (&[program], Comparison::Command, true),
            (&["haproxy"], Comparison::Command, false),
            (&[program], Comparison::Whole, false),
            (&[program, "-f", "/etc/a.cfg"], Comparison::Whole, true),
            (&[program, "-f"], Comparison::Partial, true),
            (&[program, "-"], Comparison::Partial, false),
            (&[program, "-"], Comparison::Initial, true),
            (&[program, "-f", "/etc/a.cfg", "x"], Comparison::Initial, false),
        ] {
            assert_eq!(subject(words, comparison).is(&found), expected, "{words:?} {comparison:?}");
        }
    }

    /// Waits for this value of the only one.
    fn wait(processes: &mut Processes, news: &mut Vec<News>, up: bool) -> News {
        loop {
            if let Some(found) = news.drain(..).find(|news| news.value == Some(up.into())) {
                return found;
            }
            let mut set = PollSet::new();
            if let Some(connector) = processes.connector() {
                set.add(connector);
            }
            set.wait(processes.due().map(|due| due.since(clock::now()))).unwrap();
            processes.read(clock::now(), news).unwrap();
            processes.expire(clock::now(), news);
        }
    }

    fn sleeper(name: &str) -> (Child, std::path::PathBuf) {
        let program = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&program);
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        (Command::new(&program).arg("60").spawn().unwrap(), program)
    }

    /// `told`: with the kernel's help, where there is any; otherwise by reading /proc.
    fn comes_and_goes(name: &str, told: bool) {
        let (mut processes, mut news) = (Processes::default(), Vec::new());
        let watched = subject(&[name], Comparison::Name);
        processes.plan(clock::now(), [(&tracker(), &watched)].into_iter(), &mut news);
        if !told {
            processes.connector = None;
        }
        assert_eq!(&*wait(&mut processes, &mut news, false).result, "0 running, at least 1 wanted");
        let (mut child, program) = sleeper(name);
        assert_eq!(&*wait(&mut processes, &mut news, true).result, "1 running, at least 1 wanted");
        child.kill().unwrap();
        // A zombie does not run.
        wait(&mut processes, &mut news, false);
        child.wait().unwrap();
        assert!(processes.known.is_empty());
        std::fs::remove_file(program).unwrap();
    }

    #[test]
    fn a_process_comes_and_goes_and_the_kernel_tells() {
        if local::user() == 0 {
            comes_and_goes("sf-told", true);
        }
    }

    #[test]
    fn a_process_comes_and_goes_and_proc_tells() {
        comes_and_goes("sf-read", false);
    }

    #[test]
    fn delays_bridge_a_restart() {
        let now = Instant::from_micros(1_000_000);
        let mut watched = Watched {
            tracker: tracker(),
            subject: ProcessSubject { terminate_delay: Duration::from_secs(2), ..subject(&["x"], Comparison::Name) },
            count: 1,
            up: None,
            turns_at: None,
        };
        assert_eq!(watched.judge(now).unwrap().value, Some(Value::Up));
        watched.count = 0;
        assert_eq!(watched.judge(now), None);
        watched.count = 1;
        assert_eq!((watched.judge(now), watched.turns_at), (None, None));
        watched.count = 0;
        assert_eq!(watched.judge(now), None);
        assert_eq!(watched.judge(watched.turns_at.unwrap()).unwrap().value, Some(Value::Down));
    }
}
