//! Reading the configuration again, on a thread of its own: however large or slow the file is, no
//! Advertisement waits for it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use log::{error, info, warn};
use steadfast_core::config::Severity;

use crate::check::Findings;
use crate::control::{Answer, Reloaded, Request};
use crate::guard;
use crate::plan::{self, Loaded, Plan, Reading};
use crate::sys::event::EventFd;

/// The reader and what it was asked for.
#[derive(Debug)]
pub(super) struct Reloads {
    asked: Sender<Option<Request>>,
    read: Receiver<Finished>,
    done: Arc<EventFd>,
}

/// A file that was read, and who wants to know.
#[derive(Debug)]
pub(super) struct Finished {
    loaded: Loaded,
    request: Option<Request>,
}

impl Reloads {
    /// Starts the thread; it ends when this is dropped.
    ///
    /// # Errors
    /// Of the system.
    pub(super) fn new(file: PathBuf, reading: Reading) -> io::Result<Self> {
        let (asked, questions) = channel::<Option<Request>>();
        let (answers, read) = channel();
        let done = Arc::new(EventFd::new()?);
        let raise = Arc::clone(&done);
        let builder = thread::Builder::new().name("reload".into());
        guard::start(builder, guard::RELOAD, move || {
            while let Ok(request) = questions.recv() {
                let loaded = plan::load_as(&file, &reading);
                log_findings(&loaded.findings);
                if answers.send(Finished { loaded, request }).is_err() {
                    return;
                }
                raise.raise();
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
    /// The plan, if the file has no errors: a running agent keeps what it has rather than half of a new one.
    pub(super) fn plan(&self) -> Option<Plan> {
        self.loaded.plan.clone().filter(|_| !self.loaded.findings.has_errors())
    }

    /// Tells whoever asked.
    pub(super) fn answer(self, applied: bool) {
        if let Some(request) = self.request {
            let findings = self.loaded.findings.iter().map(ToString::to_string).collect();
            request.answer(Answer::Reload(Reloaded::new(applied, findings)));
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
    if findings.omitted() > 0 {
        warn!("there are {} more findings", findings.omitted());
    }
}
