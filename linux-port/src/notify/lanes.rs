//! The scripts that are still to run. Each instance and each group has a lane of its own, in which one runs at a time,
//! and the next only when nothing is left of the one before. A lane is bounded: if too many wait, the oldest give way,
//! since the latest state is what has to be reached.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use steadfast_core::time::{Duration, Instant};

use super::{Notice, What, Whose};
use crate::process::{ProgramId, Programs, Script};

/// Scripts that run at a time, over all lanes.
pub(super) const MOST: usize = 128;
/// Scripts that wait in one lane.
const WAITING: usize = 64;
/// How long a script may run.
const LIMIT: Duration = Duration::from_secs(300);
/// How long it may still run once the next of its lane waits.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same, once the agent stops.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// Whose scripts run in a lane.
pub(super) type Key = (Whose, Arc<str>);

/// A script to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Job {
    /// Which event it is for: those of one need not hurry for each other.
    event: u64,
    script: Arc<Script>,
    what: What,
    /// `notify`: with four arguments more, the last of them the priority.
    priority: Option<u8>,
}

/// A script that runs, as the programs know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) key: Key,
    pub(super) what: What,
    /// `notify` rather than that of one state.
    pub(super) any: bool,
}

#[derive(Debug, Default)]
struct Lane {
    /// What runs, and which event it is for.
    running: Option<(ProgramId, u64)>,
    waiting: VecDeque<Job>,
}

impl Lane {
    /// Whether something waits that is of a later event than this.
    fn is_impatient(&self, event: u64) -> bool {
        self.waiting.iter().any(|job| job.event != event)
    }
}

/// All lanes that have anything in them.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: HashMap<Key, Lane>,
    /// How many there have been.
    events: u64,
    stopping: bool,
}

impl Lanes {
    /// Has the scripts run that a notice is for; how many others gave way.
    pub(super) fn notice<T: From<Tag>>(&mut self, now: Instant, notice: &Notice, programs: &mut Programs<T>) -> u64 {
        let Some(notified) = &notice.notified else { return 0 };
        let what = notice.what;
        let (own, any) = match what {
            What::Master => (&notified.master, &notified.any),
            What::Backup => (&notified.backup, &notified.any),
            What::Fault => (&notified.fault, &notified.any),
            What::Stop => (&notified.stop, &notified.any),
            What::Deleted => (&notified.deleted, &notified.any),
            What::Gone => (&None, &notified.any),
            What::LowerPriority => (&notified.lower, &None),
            // These are for FIFOs alone.
            What::MasterPriority | What::BackupPriority => return 0,
        };
        self.events += 1;
        let job =
            |script: &Arc<Script>, priority| Job { event: self.events, script: Arc::clone(script), what, priority };
        let jobs = own.iter().map(|own| job(own, None)).chain(any.iter().map(|any| job(any, Some(notice.priority))));
        let jobs: Vec<Job> = jobs.collect();
        if jobs.is_empty() {
            return 0;
        }
        let key = (notice.whose, Arc::clone(&notice.name));
        let lane = self.lanes.entry(key.clone()).or_default();
        lane.waiting.extend(jobs);
        let mut dropped = 0;
        while lane.waiting.len() > WAITING {
            lane.waiting.pop_front();
            dropped += 1;
        }
        self.go_on(now, &key, programs);
        dropped
    }

    /// The script that ran in a lane is gone.
    pub(super) fn ended<T: From<Tag>>(&mut self, now: Instant, key: &Key, programs: &mut Programs<T>) {
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.running = None;
        }
        self.go_on(now, key, programs);
    }

    /// From now on nobody has more time than an orderly stop can wait for.
    pub(super) fn stop<T: From<Tag>>(&mut self, now: Instant, programs: &mut Programs<T>) {
        self.stopping = true;
        for key in self.lanes.keys().cloned().collect::<Vec<_>>() {
            self.go_on(now, &key, programs);
        }
    }

    /// Whether nothing runs or waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// How many scripts wait.
    pub(super) fn waiting(&self) -> u64 {
        self.lanes.values().map(|lane| lane.waiting.len() as u64).sum()
    }

    /// Starts what comes next in a lane, or hurries what is in its way.
    fn go_on<T: From<Tag>>(&mut self, now: Instant, key: &Key, programs: &mut Programs<T>) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let patience = if self.stopping { STOP_PATIENCE } else { PATIENCE };
        if let Some((running, event)) = lane.running {
            if lane.is_impatient(event) {
                programs.hurry(now, running, patience);
            }
            return;
        }
        let Some(job) = lane.waiting.pop_front() else {
            self.lanes.remove(key);
            return;
        };
        let limit = if lane.is_impatient(job.event) { patience } else { LIMIT };
        let tag = Tag { key: key.clone(), what: job.what, any: job.priority.is_some() };
        lane.running = Some((programs.run(now, job.script(key), limit, tag.into()), job.event));
    }
}

impl Job {
    /// The whole command.
    fn script(&self, (whose, name): &Key) -> Arc<Script> {
        let Some(priority) = self.priority else { return Arc::clone(&self.script) };
        let mut script = (*self.script).clone();
        script.words.extend([whose.to_string(), name.to_string(), self.what.to_string(), priority.to_string()]);
        Arc::new(script)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whose, name) = &self.key;
        let keyword = match (self.any, self.what) {
            (true, _) => "notify",
            (_, What::Master) => "notify_master",
            (_, What::Backup) => "notify_backup",
            (_, What::Fault) => "notify_fault",
            (_, What::Stop) => "notify_stop",
            (_, What::Deleted) => "notify_deleted",
            _ => "notify_master_rx_lower_pri",
        };
        match whose {
            Whose::Instance => write!(f, "{name}: {keyword}"),
            Whose::Group => write!(f, "sync group {name}: {keyword}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::plan::notify::Notified;
    use crate::process::Ended;
    use crate::sys::clock;
    use crate::sys::poll::PollSet;

    struct Lab {
        lanes: Lanes,
        programs: Programs<Tag>,
        /// What the scripts have written.
        file: std::path::PathBuf,
    }

    impl Lab {
        fn new(name: &str) -> Self {
            let file = std::env::temp_dir().join(format!("steadfast-lanes-{}-{name}", std::process::id()));
            let _ = std::fs::remove_file(&file);
            Self { lanes: Lanes::default(), programs: Programs::new(MOST).unwrap().told_when_gone(), file }
        }

        /// A script that runs `text` and then writes its arguments.
        fn script(&self, text: &str) -> Option<Arc<Script>> {
            let text = format!("{text}\necho \"$@\" >>{}", self.file.display());
            let words = ["/bin/sh", "-c", &text, "sh"].map(str::to_owned).to_vec();
            Some(Arc::new(Script { words, user: None }))
        }

        fn tell(&mut self, name: &str, what: What, notified: &Arc<Notified>) -> u64 {
            let notified = Some(Arc::clone(notified));
            let notice = Notice { whose: Whose::Instance, name: name.into(), what, priority: 100, notified };
            self.lanes.notice(clock::now(), &notice, &mut self.programs)
        }

        /// Runs until nothing is left to run; how many were killed.
        fn finish(&mut self) -> usize {
            let mut killed = 0;
            let mut set = PollSet::new();
            set.add(self.programs.as_fd());
            while !self.lanes.is_empty() {
                self.programs.poll(clock::now()).unwrap();
                while let Some((tag, ended)) = self.programs.next_ended() {
                    killed += usize::from(matches!(ended, Ended::TimedOut(_)));
                    self.lanes.ended(clock::now(), &tag.key, &mut self.programs);
                }
                if self.lanes.is_empty() {
                    break;
                }
                set.wait(self.programs.due().map(|due| due.since(clock::now()))).unwrap();
            }
            killed
        }

        fn written(&self) -> Vec<String> {
            std::fs::read_to_string(&self.file).unwrap_or_default().lines().map(str::to_owned).collect()
        }
    }

    impl Drop for Lab {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.file);
        }
    }

    fn words(mut script: Arc<Script>, word: &str) -> Option<Arc<Script>> {
        Arc::make_mut(&mut script).words.push(word.to_owned());
        Some(script)
    }

    #[test]
    fn what_takes_long_is_not_overtaken_and_others_do_not_wait_for_it() {
        let mut lab = Lab::new("order");
        let slow = words(lab.script("sleep 1").unwrap(), "master");
        let quick = words(lab.script("").unwrap(), "backup");
        let notified = Arc::new(Notified { master: slow, backup: quick, any: lab.script(""), ..Notified::default() });
        let other = Arc::new(Notified { any: lab.script(""), ..Notified::default() });
        lab.tell("A", What::Master, &notified);
        lab.tell("A", What::Backup, &notified);
        lab.tell("B", What::Fault, &other);
        assert_eq!(lab.finish(), 0);
        let expected = ["INSTANCE B FAULT 100", "master", "INSTANCE A MASTER 100", "backup", "INSTANCE A BACKUP 100"];
        assert_eq!(lab.written(), expected);
    }

    #[test]
    fn what_hangs_when_the_agent_stops_is_killed_and_its_successor_runs() {
        let mut lab = Lab::new("stop");
        // The shell's child does not listen either, and is gone with it.
        let hung = lab.script("trap '' TERM; (trap '' TERM; sleep 60); sleep 60");
        let notified = Arc::new(Notified { master: hung, any: lab.script(""), ..Notified::default() });
        lab.tell("A", What::Master, &notified);
        lab.tell("A", What::Stop, &notified);
        lab.lanes.stop(clock::now(), &mut lab.programs);
        assert_eq!(lab.finish(), 1);
        assert_eq!(lab.written(), ["INSTANCE A MASTER 100", "INSTANCE A STOP 100"]);
    }

    #[test]
    fn a_lane_is_bounded_and_the_latest_are_kept() {
        let mut lab = Lab::new("bound");
        let notified = Arc::new(Notified { any: lab.script("sleep 0.01"), ..Notified::default() });
        let states = [What::Master, What::Backup];
        let dropped: u64 = (0..200).map(|number| lab.tell("A", states[number % 2], &notified)).sum();
        // One runs at once.
        assert_eq!(dropped, 200 - 1 - WAITING as u64);
        lab.finish();
        let written = lab.written();
        assert_eq!(written.len(), WAITING + 1);
        assert_eq!(written.last().map(String::as_str), Some("INSTANCE A BACKUP 100"));
    }
}
