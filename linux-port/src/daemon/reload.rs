//! Reading the configuration again, on a thread of its own: however large or slow the file is, no
//! Advertisement waits for it; and taking in what has been read.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use log::{error, info, warn};
use steadfast_core::config::Severity;
use steadfast_core::time::Instant;

use super::Daemon;
use crate::check::Findings;
use crate::control::{Answer, Reloaded, Request};
use crate::guard;
use crate::plan::{self, Loaded, Plan, Reading};
use crate::sys::event::EventFd;
use crate::sys::process;

/// The reader and what it was asked for.
#[derive(Debug)]
pub(super) struct Reloads {
    asked: Sender<Option<Request>>,
    read: Receiver<Finished>,
    done: Arc<EventFd>,
}

/// A file that was read, and who wants to know. The loop has nothing to do with it but to pass it on.
#[derive(Debug)]
pub(super) struct Finished {
    /// What it says, unless it has errors: a running agent keeps what it has rather than half of a new one.
    plan: Option<Box<Plan>>,
    /// What there is to say about it, if somebody wants to know.
    findings: Vec<String>,
    request: Option<Request>,
}

impl Reloads {
    /// Starts the thread; it ends when this is dropped. `namespace` is where the agent runs.
    ///
    /// # Errors
    /// Of the system.
    pub(super) fn new(file: PathBuf, reading: Reading, namespace: Option<String>) -> io::Result<Self> {
        let (asked, questions) = channel::<Option<Request>>();
        let (answers, read) = channel();
        let done = Arc::new(EventFd::new()?);
        let raise = Arc::clone(&done);
        let builder = thread::Builder::new().name("reload".into());
        guard::start(builder, guard::RELOAD, move || {
            while let Ok(request) = questions.recv() {
                let finished = Finished::read(&file, &reading, request);
                if finished.plan.as_ref().is_some_and(|plan| plan.namespace != namespace) {
                    warn!("the network namespace stays as it is until the agent is started anew");
                }
                if answers.send(finished).is_err() {
                    return;
                }
                raise.raise();
                // What a large file has taken is not kept until there is another one.
                process::release_heap();
            }
        })?;
        Ok(Self { asked, read, done })
    }

    /// Has the file read; never waits.
    pub(super) fn ask(&self, request: Option<Request>) {
        if self.asked.send(request).is_err() {
            error!("the configuration cannot be read again: its reader has ended");
        }
    }

    /// A file that has been read since; never waits.
    pub(super) fn finished(&self) -> Option<Finished> {
        self.done.lower();
        self.read.try_recv().ok()
    }
}

impl AsFd for Reloads {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.done.as_fd()
    }
}

impl Finished {
    fn read(file: &Path, reading: &Reading, request: Option<Request>) -> Self {
        let Loaded { plan, findings } = plan::load_as(file, reading);
        log_findings(&findings);
        // What is not used is done away with here: it may be large.
        let plan = plan.filter(|_| !findings.has_errors()).map(Box::new);
        let findings = if request.is_some() { findings.lines().collect() } else { Vec::new() };
        Self { plan, findings, request }
    }

    /// The plan, if there is one to be carried out; once.
    pub(super) fn take_plan(&mut self) -> Option<Plan> {
        self.plan.take().map(|plan| *plan)
    }

    /// Tells whoever asked.
    pub(super) fn answer(self, applied: bool) {
        if let Some(request) = self.request {
            request.answer(Answer::Reload(Reloaded::new(applied, self.findings)));
        }
    }
}

impl Daemon {
    /// Has the configuration read again.
    pub(super) fn reload(&mut self, request: Option<Request>) {
        self.port.supervisor.reloading();
        self.reloads.ask(request);
    }

    /// A configuration that was read is in force, or never will be.
    fn reload_is_over(&mut self, now: Instant, finished: Finished, applied: bool) {
        let counts = self.counts();
        // Before anybody goes on who has waited for it.
        self.port.supervisor.reloaded(now, applied, counts);
        finished.answer(applied);
    }

    /// Has what is needed made for a configuration that was read.
    pub(super) fn reloaded(&mut self, now: Instant) {
        while let Some(mut finished) = self.reloads.finished() {
            match finished.take_plan() {
                Some(plan) if self.stopping.is_none() => self.links.prepare(plan, finished),
                _ => {
                    error!("the configuration is not valid; the old one stays in force");
                    self.configured(false);
                    self.reload_is_over(now, finished, false);
                }
            }
        }
    }

    /// Takes in a configuration for which everything has been made.
    pub(super) fn prepared(&mut self, now: Instant) {
        while let Some((prepared, finished)) = self.links.prepared() {
            if self.stopping.is_some() {
                self.reload_is_over(now, finished, false);
                continue;
            }
            let applied = prepared.and_then(|prepared| self.apply(now, prepared));
            match &applied {
                Ok(()) => info!("the configuration was read again: {} virtual routers", self.order.len()),
                Err(error) => error!("the configuration could not be applied: {error}"),
            }
            self.configured(applied.is_ok());
            self.reload_is_over(now, finished, applied.is_ok());
        }
    }
}

/// Logs what there is to say about a file.
pub(super) fn log_findings(findings: &Findings) {
    for finding in findings.iter() {
        match finding.severity {
            Severity::Error => error!("{finding}"),
            Severity::Warning => warn!("{finding}"),
            Severity::Notice => info!("{finding}"),
        }
    }
    if let Some(rest) = findings.rest() {
        warn!("{rest}");
    }
}
