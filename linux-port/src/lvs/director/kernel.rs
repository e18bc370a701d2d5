//! The connection to the kernel's IPVS: opened as soon as there is one, its module loaded where that can be done, and
//! what went wrong said once.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use log::{error, info, warn};
use steadfast_core::time::{Duration, Instant};

use crate::guard;
use crate::ipvs::client::Client;
use crate::sys::poll::PollSet;
use crate::sys::spawn::Exit;

/// Loads modules, where there is one.
const MODPROBE: &str = "/sbin/modprobe";
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// After how long the kernel is asked again.
const RETRY: Duration = Duration::from_secs(30);
/// After how long a connection that broke is opened again; twice as long each time that it breaks at once, up to
/// [`RETRY`].
const RECONNECT: Duration = Duration::from_secs(1);

/// The connection, if there is one.
#[derive(Default)]
pub(super) struct Kernel {
    client: Option<Client>,
    retry_at: Instant,
    modprobe_tried: bool,
    complained: bool,
    /// How long to wait when it breaks the next time.
    pause: Duration,
}

impl Kernel {
    /// The connection, opened if it is time to; whether it has just been.
    pub(super) fn client(&mut self, now: Instant) -> (Option<&mut Client>, bool) {
        let mut new = false;
        if self.client.is_none() && now >= self.retry_at {
            match self.open() {
                Ok(client) => {
                    new = true;
                    self.complained = false;
                    self.client = Some(client);
                }
                Err(error) => {
                    self.retry_at = now + RETRY;
                    if !std::mem::replace(&mut self.complained, true) {
                        error!(
                            "there is no IPVS table: {error}; servers are checked all the same, and the kernel is asked again every 30 s"
                        );
                    }
                }
            }
        }
        (self.client.as_mut(), new)
    }

    /// The connection broke.
    pub(super) fn broke(&mut self, now: Instant, error: &io::Error) {
        warn!("the IPVS table cannot be kept: {error}; it is looked at anew");
        self.client = None;
        self.pause = self.pause.max(RECONNECT);
        self.retry_at = now + self.pause;
        self.pause = self.pause.times(2).min(RETRY);
    }

    /// The connection has done what it was to do.
    pub(super) fn works(&mut self) {
        self.pause = RECONNECT;
    }

    /// When to ask for a connection again; `None` while there is one.
    pub(super) fn due(&self) -> Option<Instant> {
        self.client.is_none().then_some(self.retry_at)
    }

    fn open(&mut self) -> io::Result<Client> {
        let missing = match Client::open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => error,
            result => return result,
        };
        if !Path::new(MODPROBE).exists() {
            let text = "the kernel has no IPVS, or its module ip_vs is not loaded and there is no /sbin/modprobe";
            return Err(io::Error::new(missing.kind(), text));
        }
        if std::mem::replace(&mut self.modprobe_tried, true) {
            return Err(io::Error::new(missing.kind(), "the kernel has no IPVS, or its module ip_vs is not loaded"));
        }
        match modprobe() {
            Ok(Some(Exit::Status(0))) => info!("the kernel's module ip_vs was loaded"),
            Ok(Some(_)) => info!("the kernel's module ip_vs cannot be loaded by {MODPROBE}"),
            Ok(None) => warn!("{MODPROBE} ip_vs does not end"),
            Err(error) => warn!("{MODPROBE} cannot be run: {error}"),
        }
        Client::open()
            .map_err(|error| io::Error::new(error.kind(), "the kernel has no IPVS, or its module ip_vs is not loaded"))
    }
}

/// Loads the module; nothing else is to be done before.
fn modprobe() -> io::Result<Option<Exit>> {
    let mut child = guard::spawn(&[MODPROBE.into(), "ip_vs".into()], None)?;
    let mut set = PollSet::new();
    set.add(child.as_fd());
    set.wait(Some(PATIENCE))?;
    let exit = child.try_wait();
    if exit.is_none() {
        guard::kill(&child);
    }
    Ok(exit)
}
