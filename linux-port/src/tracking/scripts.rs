//! `vrrp_script`: programs that are run again and again, one run of each at a time, and what their exit statuses come to.
//! One that does not end in its time has failed; it is ended with everything that it has started, and runs again only
//! when nothing of that run is left.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use log::{debug, warn};
use steadfast_core::time::Instant;

use super::News;
use super::level::Level;
use crate::plan::tracking::{Kind, ScriptSubject, TrackerName, Value};
use crate::process::{Ended, ProgramId, Programs};
use crate::sys::clock;
use crate::sys::spawn::Exit;

/// Scripts at a time; others wait for their turn.
const MOST: usize = 64;

/// All of them.
#[derive(Debug)]
pub(super) struct Scripts {
    programs: Programs<(Arc<str>, u64)>,
    list: HashMap<Arc<str>, Script>,
    timers: BTreeSet<(Instant, Arc<str>)>,
    serial: u64,
}

/// One script.
#[derive(Debug)]
struct Script {
    subject: ScriptSubject,
    /// Results of runs of another are none of its.
    serial: u64,
    level: Level,
    /// When it is run next.
    next: Instant,
    /// The last run.
    run: Option<ProgramId>,
    /// It has not been told how that has ended.
    awaited: bool,
    result: Arc<str>,
}

impl Scripts {
    pub(super) fn new() -> io::Result<Self> {
        let (list, timers) = Default::default();
        Ok(Self { programs: Programs::new(MOST)?, list, timers, serial: 0 })
    }

    /// These are run from now on. One whose command is the same keeps what it has come to; one whose command has changed
    /// does until the new command has been run once.
    pub(super) fn plan<'a>(
        &mut self,
        now: Instant,
        planned: impl Iterator<Item = (&'a Arc<str>, &'a ScriptSubject)>,
        news: &mut Vec<News>,
    ) {
        let mut kept = HashSet::new();
        for (name, subject) in planned {
            kept.insert(Arc::clone(name));
            match self.list.get_mut(name) {
                Some(known) if known.subject.script == subject.script => {
                    if known.subject.interval != subject.interval {
                        self.timers.remove(&(known.next, Arc::clone(name)));
                        known.next = known.next.min(now + subject.interval);
                        self.timers.insert((known.next, Arc::clone(name)));
                    }
                    (known.level.rise, known.level.fall) = (subject.rise, subject.fall);
                    known.subject = subject.clone();
                }
                known => {
                    let mut level = Level::new(subject.rise, subject.fall, subject.init_fail);
                    if let Some(known) = known {
                        self.timers.remove(&(known.next, Arc::clone(name)));
                        if let Some(run) = known.run.take() {
                            self.programs.cancel(now, run);
                        }
                        level = level.after(known.level);
                    }
                    self.serial += 1;
                    let script = Script {
                        subject: subject.clone(),
                        serial: self.serial,
                        level,
                        next: now,
                        run: None,
                        awaited: false,
                        result: "it has not ended yet".into(),
                    };
                    news.push(script.news(name));
                    self.list.insert(Arc::clone(name), script);
                    self.timers.insert((now, Arc::clone(name)));
                }
            }
        }
        let Self { list, timers, programs, .. } = self;
        list.retain(|name, script| {
            let stays = kept.contains(name);
            if !stays {
                timers.remove(&(script.next, Arc::clone(name)));
                if let Some(run) = script.run {
                    programs.cancel(now, run);
                }
            }
            stays
        });
    }

    /// Runs what is due.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((due, name)) = self.timers.first().filter(|(due, _)| *due <= now).cloned() {
            self.timers.remove(&(due, Arc::clone(&name)));
            let Some(script) = self.list.get_mut(&name) else { continue };
            let next = due + script.subject.interval;
            script.next = if next > now { next } else { now + script.subject.interval };
            self.timers.insert((script.next, Arc::clone(&name)));
            if script.awaited || script.run.is_some_and(|run| self.programs.is_running(run)) {
                debug!("VRRP_Script({name}) still runs: it is not started again");
                continue;
            }
            let (command, tag) = (Arc::clone(&script.subject.script), (name, script.serial));
            script.awaited = true;
            script.run = Some(self.programs.run(now, command, script.subject.timeout, tag));
        }
    }

    /// Takes in what has become of those that run.
    pub(super) fn poll(&mut self, now: Instant, news: &mut Vec<News>) -> io::Result<()> {
        self.programs.poll(now)?;
        while let Some(((name, serial), ended)) = self.programs.next_ended() {
            let Some(script) = self.list.get_mut(&name).filter(|script| script.serial == serial) else { continue };
            script.awaited = false;
            let (success, result) = match ended {
                Ended::Exited(Exit::Status(status)) => (status == 0, format!("exit status {status}")),
                Ended::Exited(Exit::Signal(signal)) => (false, format!("ended by signal {signal}")),
                Ended::TimedOut(limit) => {
                    (false, format!("no exit within {} s", limit.as_micros() as f64 / 1_000_000.0))
                }
                // That there is no room for another process says nothing about what the script looks at.
                Ended::NotRun(error) if is_shortage(&error) => {
                    warn!("VRRP_Script({name}) could not be run, and stays as it was: {error}");
                    continue;
                }
                Ended::NotRun(error) => (false, format!("it cannot be run: {error}")),
            };
            let before = script.level.up;
            let result = script.level.note(success, result);
            if script.level.up != before || *script.result != *result {
                script.result = result.into();
                news.push(script.news(&name));
            }
        }
        Ok(())
    }

    /// When [`Self::expire`] or [`Self::poll`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        let next = self.timers.first().map(|(due, _)| *due);
        [next, self.programs.due()].into_iter().flatten().min()
    }

    /// Ends those that run, with everything that they have started.
    pub(super) fn kill_all(&mut self) {
        self.programs.kill_all();
        // Those that have ended are nobody's zombies then.
        let _ = self.programs.poll(clock::now());
    }
}

impl AsFd for Scripts {
    /// Readable when one of them has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.programs.as_fd()
    }
}

impl Script {
    fn news(&self, name: &Arc<str>) -> News {
        let tracker = TrackerName { kind: Kind::Script, name: Arc::clone(name) };
        News { tracker, value: self.level.up.map(Value::from), result: Arc::clone(&self.result) }
    }
}

/// Whether an error is the machine's, not the script's.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE))
}

#[cfg(test)]
mod tests {
    use steadfast_core::time::Duration;

    use super::*;
    use crate::process;
    use crate::sys::poll::PollSet;

    fn subject(text: &str, millis: u64) -> ScriptSubject {
        let words = ["/bin/sh", "-c", text].map(str::to_owned).to_vec();
        let interval = Duration::from_millis(millis);
        let script = Arc::new(process::Script { words, user: None });
        ScriptSubject { script, interval, timeout: interval, rise: 1, fall: 1, init_fail: false }
    }

    /// Runs until there is news of `name` with this value.
    fn wait(scripts: &mut Scripts, value: Value) -> News {
        let mut set = PollSet::new();
        set.add(scripts.as_fd());
        loop {
            let mut news = Vec::new();
            scripts.expire(clock::now());
            scripts.poll(clock::now(), &mut news).unwrap();
            if let Some(found) = news.into_iter().find(|news| news.value == Some(value)) {
                return found;
            }
            set.wait(scripts.due().map(|due| due.since(clock::now()))).unwrap();
        }
    }

    #[test]
    fn a_script_that_hangs_has_failed_and_runs_once_at_a_time() {
        let mut scripts = Scripts::new().unwrap();
        let name: Arc<str> = "hangs".into();
        let hangs = subject("trap '' TERM; while :; do sleep 1; done", 50);
        scripts.plan(clock::now(), [(&name, &hangs)].into_iter(), &mut Vec::new());
        assert_eq!(&*wait(&mut scripts, Value::Down).result, "no exit within 0.05 s");
        let run = scripts.list[&name].run.unwrap();
        for _ in 0..3 {
            let now = scripts.list[&name].next;
            scripts.expire(now);
        }
        assert_eq!(scripts.list[&name].run.unwrap(), run);
        // Another command instead of it: the old one is on its way out, and the new one decides.
        let succeeds = subject("exit 0", 50);
        scripts.plan(clock::now(), [(&name, &succeeds)].into_iter(), &mut Vec::new());
        assert_eq!(&*wait(&mut scripts, Value::Up).result, "exit status 0");
        scripts.kill_all();
    }

    #[test]
    fn a_plan_with_the_same_command_forgets_nothing() {
        let mut scripts = Scripts::new().unwrap();
        let name: Arc<str> = "fails".into();
        let mut fails = subject("exit 3", 50);
        scripts.plan(clock::now(), [(&name, &fails)].into_iter(), &mut Vec::new());
        assert_eq!(&*wait(&mut scripts, Value::Down).result, "exit status 3");
        fails.fall = 5;
        let mut news = Vec::new();
        scripts.plan(clock::now(), [(&name, &fails)].into_iter(), &mut news);
        assert_eq!(news, []);
        assert_eq!(scripts.list[&name].level.up, Some(false));
        // With another command it stays what it was until that has been run.
        scripts.plan(clock::now(), [(&name, &subject("exit 0", 50))].into_iter(), &mut news);
        assert_eq!(news.pop().unwrap().value, Some(Value::Down));
        wait(&mut scripts, Value::Up);
        scripts.plan(clock::now(), std::iter::empty(), &mut news);
        assert_eq!((scripts.due(), scripts.list.len()), (None, 0));
    }
}
