//! What a virtual server, a real server and a checker may each say, where the inner one inherits what it does not say:
//! when checks are done, and the name that is asked for.

use steadfast_core::config::statement::Statement;
use steadfast_core::time::Duration;

use crate::grammar::reader::Reader;

use super::super::plan::Timing;

const DELAY_LOOP: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What was said, each as far as it was.
#[derive(Clone, Debug, Default)]
pub(super) struct Common {
    pub(super) delay_loop: Option<Duration>,
    retry: Option<u32>,
    delay_before_retry: Option<Duration>,
    warmup: Option<Duration>,
    connect_timeout: Option<Duration>,
    alpha: Option<bool>,
    pub(super) virtualhost: Option<String>,
}

/// The defaults that depend on the kind of the check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defaults {
    pub(super) retry: u32,
    /// `None`: as `delay_loop`.
    pub(super) delay_before_retry: Option<Duration>,
}

impl Common {
    /// Reads a keyword if it is one of these; `nb_get_retry` is an old name.
    pub(super) fn read(&mut self, keyword: &str, statement: &Statement<'_>, reader: &mut Reader<'_>) -> bool {
        match keyword {
            "delay_loop" => self.delay_loop = reader.time(statement).or(self.delay_loop),
            "retry" | "nb_get_retry" => {
                let read = reader.number(statement, "a number from 0 to 4294967295", 0..=u32::MAX);
                self.retry = read.or(self.retry);
            }
            "delay_before_retry" => self.delay_before_retry = reader.delay(statement).or(self.delay_before_retry),
            "warmup" => self.warmup = reader.delay(statement).or(self.warmup),
            "connect_timeout" => self.connect_timeout = reader.time(statement).or(self.connect_timeout),
            "alpha" => self.alpha = reader.switch(statement).or(self.alpha),
            "virtualhost" => self.virtualhost = reader.host(statement).or(self.virtualhost.take()),
            _ => return false,
        }
        true
    }

    /// This, and where it says nothing what is around it.
    pub(super) fn within(self, outer: &Self) -> Self {
        Self {
            delay_loop: self.delay_loop.or(outer.delay_loop),
            retry: self.retry.or(outer.retry),
            delay_before_retry: self.delay_before_retry.or(outer.delay_before_retry),
            warmup: self.warmup.or(outer.warmup),
            connect_timeout: self.connect_timeout.or(outer.connect_timeout),
            alpha: self.alpha.or(outer.alpha),
            virtualhost: self.virtualhost.or_else(|| outer.virtualhost.clone()),
        }
    }

    /// `alpha`.
    pub(super) fn alpha(&self) -> bool {
        self.alpha.unwrap_or(false)
    }

    /// When checks are done that inherit no more.
    pub(super) fn timing(&self, defaults: Defaults) -> Timing {
        let delay_loop = self.delay_loop.unwrap_or(DELAY_LOOP);
        Timing {
            delay_loop,
            retry: self.retry.unwrap_or(defaults.retry),
            delay_before_retry: self.delay_before_retry.or(defaults.delay_before_retry).unwrap_or(delay_loop),
            warmup: self.warmup.unwrap_or(delay_loop),
            connect_timeout: self.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
            alpha: self.alpha(),
        }
    }
}
