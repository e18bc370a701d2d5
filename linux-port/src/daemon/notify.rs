//! The loop's side of notifications: which transition of which router is told in keepalived's words, and when. A state
//! is told once what it promises is true: MASTER when the addresses are on, STOP when they are off. Nothing here ever
//! waits, but for the end.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::sync::Arc;

use log::{error, info, warn};
use steadfast_core::agent::{Agent, Event, EventKind, GroupId, Obstacle, Reason, RouterId, State, View};
use steadfast_core::time::Duration;

use super::Name;
use super::local::Local;
use crate::notify::{Notice, Notifier, Outlet, What, Whose};
use crate::plan::PlannedGroup;
use crate::plan::notify::{Notified, NotifyPlan};
use crate::process::{Ended, Programs, Script};
use crate::storage::Heap;
use crate::sys::clock;
use crate::sys::poll::PollSet;
use crate::sys::signal::{Signal, Signals};
use crate::sys::spawn::Exit;

/// Who is to be told, and what has not been told yet.
#[derive(Debug, Default)]
pub(super) struct Notices {
    notifier: Option<Notifier>,
    plan: Arc<NotifyPlan>,
    /// Whether anybody wants to be told.
    wanted: bool,
    /// In the order in which it has happened.
    news: Vec<News>,
    /// The state that was told last of each router.
    told: HashMap<RouterId, What>,
    /// Routers that are gone from the configuration: that they stop then is told with their end.
    gone: HashSet<RouterId>,
    groups: HashMap<GroupId, Group>,
}

/// What has happened to a router.
#[derive(Debug)]
struct News {
    router: RouterId,
    name: Name,
    notified: Option<Arc<Notified>>,
    what: What,
    priority: u8,
    /// It is told when the addresses are off, which is when a successor has been heard.
    waits: bool,
}

/// What was told of a sync group and its members.
#[derive(Debug)]
struct Group {
    name: Name,
    notified: Option<Arc<Notified>>,
    told: Option<What>,
    /// How many members there are, and of how many which state was told last.
    size: usize,
    census: [usize; STATES.len()],
}

/// What is a state, and not merely an event.
const STATES: [What; 5] = [What::Master, What::Backup, What::Fault, What::Stop, What::Deleted];

fn number(what: What) -> Option<usize> {
    STATES.iter().position(|state| *state == what)
}

impl Notices {
    /// This is the plan from now on; `agent` is as it was before.
    pub(super) fn plan(&mut self, agent: &Agent<Heap>, plan: &Arc<NotifyPlan>) {
        let wanted = plan.is_wanted();
        if wanted && !self.wanted {
            // What has been before is not told.
            for id in agent.routers() {
                if let Some(what) = agent.view(id).as_ref().and_then(state) {
                    self.told.insert(id, what);
                }
            }
        }
        self.wanted = wanted;
        self.plan = Arc::clone(plan);
        match &self.notifier {
            Some(notifier) => notifier.plan(Arc::clone(plan)),
            None if !wanted => {}
            None => match Notifier::start(Arc::clone(plan)) {
                Ok(notifier) => self.notifier = Some(notifier),
                Err(error) => error!("nobody will be notified: {error}"),
            },
        }
    }

    /// `shutdown_script`, and how long it may run.
    pub(super) fn shutdown(&self) -> Option<&(Arc<Script>, Duration)> {
        self.plan.shutdown.as_ref()
    }

    /// Where others tell of what has happened.
    pub(super) fn outlet(&self) -> Option<&Outlet> {
        self.notifier.as_ref().map(Notifier::outlet)
    }

    /// The same, for what is told of virtual and real servers; `None` if nobody takes that.
    pub(super) fn balancing_outlet(&self) -> Option<Outlet> {
        let taken = self.plan.mail.is_some() || self.plan.fifos.iter().any(|fifo| fifo.lvs);
        self.outlet().filter(|_| taken).cloned()
    }

    /// Something has happened to a router.
    pub(super) fn event(&mut self, agent: &Agent<Heap>, local: &Local, event: &Event) {
        if !self.wanted || self.gone.contains(&event.router) {
            return;
        }
        let Some(view) = agent.view(event.router) else { return };
        let (what, waits) = match event.kind {
            EventKind::Transition { to: State::Active, .. } => (What::Master, false),
            EventKind::Transition { to: State::Backup, .. } => (What::Backup, false),
            EventKind::Transition { to: State::Initialize, reason, .. } => match reason {
                Reason::Shutdown => (What::Stop, true),
                // It is there and cannot take part, which is what FAULT means; and it serves until its successor is
                // heard, so that a script which stops services must not come sooner.
                Reason::Drained => (What::Fault, true),
                Reason::Group if is_drained_with_group(agent, &view) => (What::Fault, true),
                _ => (What::Fault, false),
            },
            EventKind::DualActive { .. } => (What::LowerPriority, false),
        };
        self.push(local, &view, what, waits);
    }

    /// A router is no longer in the configuration, and will be removed.
    pub(super) fn removed(&mut self, agent: &Agent<Heap>, local: &Local) {
        let Some(view) = agent.view(local.id).filter(|_| self.wanted) else { return };
        let tells = local.plan.notified.as_ref().is_some_and(|notified| notified.tells_deletion);
        if tells {
            self.push(local, &view, What::Deleted, true);
        } else if self.told.get(&local.id) != Some(&What::Fault) {
            self.push(local, &view, What::Gone, true);
        }
        self.gone.insert(local.id);
    }

    /// A configuration has been carried out: these are its routers. Those that cannot even begin are told of.
    pub(super) fn applied<'a>(&mut self, agent: &Agent<Heap>, routers: impl Iterator<Item = &'a Local>) {
        if !self.wanted {
            return;
        }
        for local in routers.filter(|local| !self.told.contains_key(&local.id)).collect::<Vec<_>>() {
            if let Some(view) = agent.view(local.id).filter(|view| is_kept_out(agent, view)) {
                self.push(local, &view, What::Fault, false);
            }
        }
    }

    /// A router cannot even begin, which is told unless something has been told of it.
    pub(super) fn kept_out(&mut self, agent: &Agent<Heap>, local: &Local) {
        let is_news = self.wanted && !self.told.contains_key(&local.id);
        let view = agent.view(local.id).filter(|view| is_news && view.state == State::Initialize);
        if let Some(view) = view {
            // Of several before the first is told, the last one stays.
            self.push(local, &view, What::Fault, false);
        }
    }

    /// The priority of a router has changed, which is for those who read FIFOs.
    pub(super) fn priority(&mut self, agent: &Agent<Heap>, local: &Local) {
        if !self.wanted || !local.plan.tells_priority || self.gone.contains(&local.id) {
            return;
        }
        let Some(view) = agent.view(local.id) else { return };
        let is_active = view.state == State::Active;
        self.news.push(News {
            router: local.id,
            name: Arc::clone(&local.name),
            notified: None,
            what: if is_active { What::MasterPriority } else { What::BackupPriority },
            priority: view.effective_priority.get(),
            waits: false,
        });
    }

    /// The states of all are written to the FIFOs once more, if the file says so.
    pub(super) fn repeat<'a>(&self, agent: &Agent<Heap>, routers: impl Iterator<Item = &'a Local>) {
        if !self.plan.states_on_reload {
            return;
        }
        for local in routers {
            let (Some(&what), Some(view)) = (self.told.get(&local.id), agent.view(local.id)) else { continue };
            let (name, priority) = (Arc::clone(&local.name), view.effective_priority.get());
            self.give(Notice { whose: Whose::Instance, name, what, priority, notified: None });
        }
        for group in self.groups.values() {
            let Some(what) = group.told else { continue };
            let name = Arc::clone(&group.name);
            self.give(Notice { whose: Whose::Group, name, what, priority: 0, notified: None });
        }
    }

    fn push(&mut self, local: &Local, view: &View<'_>, what: What, waits: bool) {
        self.news.push(News {
            router: local.id,
            name: Arc::clone(&local.name),
            notified: local.plan.notified.clone(),
            what,
            priority: view.effective_priority.get(),
            waits,
        });
    }

    /// These are the sync groups now, with the agent's members.
    pub(super) fn regroup<'a>(
        &mut self,
        agent: &Agent<Heap>,
        groups: impl Iterator<Item = (&'a PlannedGroup, GroupId)>,
    ) {
        let mut old = std::mem::take(&mut self.groups);
        for (planned, id) in groups {
            let told = old.remove(&id).filter(|group| *group.name == *planned.name).and_then(|group| group.told);
            let mut group = Group {
                name: Name::from(&*planned.name),
                notified: planned.notified.clone(),
                told,
                size: 0,
                census: [0; STATES.len()],
            };
            for member in agent.members(id) {
                group.size += 1;
                group.count(self.told.get(&member).copied(), |count| count + 1);
            }
            self.groups.insert(id, group);
        }
    }

    /// Tells what is true by now. Nothing is outstanding at the kernel.
    pub(super) fn tell(&mut self, agent: &Agent<Heap>) {
        self.tell_if(agent, |news| !news.waits || agent.view(news.router).is_none_or(|view| !view.holds));
    }

    fn tell_if(&mut self, agent: &Agent<Heap>, is_true: impl Fn(&News) -> bool) {
        // What a new router was for a moment, before it was in its sync group, is not told.
        let mut settled: HashMap<RouterId, usize> = HashMap::new();
        for (at, news) in self.news.iter().enumerate() {
            if news.what == What::Fault && !self.told.contains_key(&news.router) {
                settled.insert(news.router, at);
            }
        }
        // Of one router everything is told in order.
        let mut waiting: HashSet<RouterId> = HashSet::new();
        for (at, news) in std::mem::take(&mut self.news).into_iter().enumerate() {
            if settled.get(&news.router).is_some_and(|settled| at < *settled) {
                continue;
            }
            if waiting.contains(&news.router) || !is_true(&news) {
                waiting.insert(news.router);
                self.news.push(news);
            } else {
                self.tell_one(agent, news);
            }
        }
    }

    fn tell_one(&mut self, agent: &Agent<Heap>, news: News) {
        let News { router, name, notified, what, priority, .. } = news;
        let group = agent.view(router).and_then(|view| view.sync_group);
        if what == What::Backup
            && let Some(id) = group
        {
            self.tell_beginning(agent, id);
        }
        self.give(Notice { whose: Whose::Instance, name, what, priority, notified });
        if number(what).is_none() {
            return;
        }
        let before = self.told.insert(router, what);
        let Some(group) = group.and_then(|id| self.groups.get_mut(&id)) else { return };
        group.count(before, |count| count.saturating_sub(1));
        group.count(Some(what), |count| count + 1);
        let notice = group.agreed(what);
        notice.into_iter().for_each(|notice| self.give(notice));
    }

    /// As with keepalived, a sync group begins before its members.
    fn tell_beginning(&mut self, agent: &Agent<Heap>, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let is_new = group.told.is_none() && group.census.iter().all(|count| *count == 0);
        let is_backup = |member| agent.view(member).is_some_and(|view| view.state == State::Backup);
        if is_new && agent.members(id).all(is_backup) {
            let notice = group.notice(What::Backup);
            self.give(notice);
        }
    }

    fn give(&self, notice: Notice) {
        if let Some(outlet) = self.outlet() {
            outlet.tell(notice);
        }
    }

    /// A router has retired.
    pub(super) fn forget(&mut self, router: RouterId) {
        self.told.remove(&router);
        self.gone.remove(&router);
    }

    /// Tells the rest: all routers have stopped.
    pub(super) fn finish<'a>(&mut self, agent: &Agent<Heap>, routers: impl Iterator<Item = &'a Local>) {
        self.tell_if(agent, |_| true);
        for local in routers.filter(|_| self.wanted).collect::<Vec<_>>() {
            let was_told = self.told.get(&local.id) == Some(&What::Stop);
            if let Some(view) = agent.view(local.id).filter(|_| !was_told) {
                self.push(local, &view, What::Stop, false);
            }
        }
        self.tell_if(agent, |_| true);
    }

    /// Waits until all have been told, for a bounded time.
    pub(super) fn stop(&mut self) {
        if let Some(notifier) = self.notifier.take() {
            notifier.stop();
        }
    }
}

impl Group {
    /// Counts one member more or less.
    fn count(&mut self, what: Option<What>, change: impl FnOnce(usize) -> usize) {
        if let Some(count) = what.and_then(number).and_then(|at| self.census.get_mut(at)) {
            *count = change(*count);
        }
    }

    /// The notice of the state that all members have now, if it is new.
    fn agreed(&mut self, what: What) -> Option<Notice> {
        let count = number(what).and_then(|at| self.census.get(at));
        (count == Some(&self.size) && self.told != Some(what)).then(|| self.notice(what))
    }

    fn notice(&mut self, what: What) -> Notice {
        self.told = Some(what);
        let (name, notified) = (Arc::clone(&self.name), self.notified.clone());
        Notice { whose: Whose::Group, name, what, priority: 0, notified }
    }
}

/// The state of a router in keepalived's words; `None` as long as it has not begun.
fn state(view: &View<'_>) -> Option<What> {
    match (view.state, view.obstacle) {
        (State::Active, _) => Some(What::Master),
        (State::Backup, _) => Some(What::Backup),
        (State::Initialize, Some(Obstacle::Delay(_)) | None) => None,
        (State::Initialize, _) => Some(What::Fault),
    }
}

/// Whether another member of its sync group was drained.
fn is_drained_with_group(agent: &Agent<Heap>, view: &View<'_>) -> bool {
    let mut others = view.sync_group.into_iter().flat_map(|group| agent.members(group));
    others.any(|id| agent.view(id).is_some_and(|other| other.obstacle == Some(Obstacle::Stopped)))
}

/// Whether it cannot begin, for a reason that is not merely that it has to wait.
fn is_kept_out(agent: &Agent<Heap>, view: &View<'_>) -> bool {
    let is_out = |view: &View<'_>| matches!(view.obstacle, Some(Obstacle::Link | Obstacle::Source | Obstacle::Stopped));
    let mut others = view.sync_group.into_iter().flat_map(|group| agent.members(group));
    is_out(view)
        || view.obstacle == Some(Obstacle::Group) && others.any(|id| agent.view(id).is_some_and(|other| is_out(&other)))
}

/// Runs `startup_script` or `shutdown_script` and waits for it, no longer than `limit`; whether the agent was told to
/// stop meanwhile, which ends it.
pub(super) fn run_once(keyword: &str, script: &Arc<Script>, limit: Duration, signals: &Signals) -> bool {
    let mut programs = match Programs::new(1) {
        Ok(programs) => programs.told_when_gone(),
        Err(error) => {
            error!("{keyword}: it cannot be run: {error}");
            return false;
        }
    };
    let id = programs.run(clock::now(), Arc::clone(script), limit, ());
    let mut polls = PollSet::new();
    polls.add(programs.as_fd());
    polls.add(signals.as_fd());
    let mut told_to_stop = false;
    loop {
        if let Err(error) = programs.poll(clock::now()) {
            error!("{keyword}: it is not waited for: {error}");
            return told_to_stop;
        }
        match programs.next_ended() {
            None => {}
            Some((_, ended)) => {
                match ended {
                    Ended::Exited(Exit::Status(0)) => info!("{keyword}: done"),
                    Ended::Exited(Exit::Status(status)) => warn!("{keyword}: exit status {status}"),
                    Ended::Exited(Exit::Signal(signal)) => warn!("{keyword}: ended by signal {signal}"),
                    Ended::TimedOut(_) => warn!("{keyword}: it was ended, since its time was over"),
                    Ended::NotRun(error) => error!("{keyword}: it cannot be run: {error}"),
                }
                return told_to_stop;
            }
        }
        let timeout = programs.due().map(|due| due.since(clock::now()));
        if let Err(error) = polls.wait(timeout) {
            error!("{keyword}: it is not waited for: {error}");
            return told_to_stop;
        }
        while let Some(signal) = signals.next() {
            if matches!(signal, Signal::Terminate | Signal::Interrupt) {
                told_to_stop = true;
                programs.hurry(clock::now(), id, Duration::ZERO);
            }
        }
    }
}
