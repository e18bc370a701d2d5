//! The agent as a process: one loop that waits for packets, deadlines, netlink, signals and questions, feeds
//! the core and carries out what it says. It never waits for anything else: reading the file, logging and
//! answering clients are other threads' work.

mod addresses;
mod apply;
mod balancing;
mod delays;
mod drains;
mod groups;
mod guards;
mod interfaces;
mod journal;
mod late;
mod lease;
mod links;
mod local;
mod measures;
mod notify;
mod numbers;
mod pacing;
mod port;
mod record;
mod reload;
mod routing;
mod snapshot;
mod supervise;
mod tracking;
mod watch;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::{error, info, warn};
use steadfast_core::agent::{Agent, InterfaceId, RouterId};
use steadfast_core::config::value;
use steadfast_core::port::drive;
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Family, Vrid};
use steadfast_core::wire::Envelope;

use crate::cli::{self, RunOptions};
use crate::control::{Answer, Control, Explained, Verb};
use crate::guard;
use crate::guard::urgency::{self, Who};
use crate::keepalived::dump::Dumps;
use crate::logging::{self, Target};
use crate::netlink::Monitor;
use crate::plan;
use crate::socket::ReceiveQueue;
use crate::statics::Statics;
use crate::status::{self, Snapshot};
use crate::storage::Heap;
use crate::supervisor::Supervisor;
use crate::sys::clock;
use crate::sys::poll::PollSet;
use crate::sys::process;
use crate::sys::signal::{Dump, Signal, Signals};
use crate::timestamp::Timestamp;

use delays::Delays;
use drains::Drains;
use groups::SyncGroups;
use late::LATE;
use links::VirtualLinks;
use local::Local;
use measures::Measures;
use port::LinuxPort;
use record::{Predecessors, Record};
use reload::Reloads;
use tracking::Tracking;

/// Exit status when it could not start or had to give up.
const EXIT_FAILURE: u8 = 1;

/// Exit status when the configuration has nothing that can be run.
const EXIT_CONFIG: u8 = 2;

/// Where `ip netns` has its namespaces, by name.
const NAMESPACES: &str = "/var/run/netns";

/// Actions that are carried out before the sockets are looked at again.
const ACTIONS: usize = 2048;

/// Packets that are taken from one socket before deadlines are looked at: more than a queue holds, so that
/// what arrived before a deadline is heard before it.
const PACKETS: usize = 2048;

/// Changes of links and addresses that are taken in at once.
const CHANGES: usize = 256;

/// When an agent has come to rest: its routers have taken their addresses and announced them for the second time.
const SETTLED: Duration = Duration::from_secs(6);

/// How long a planned stop may take in all; a handover takes one second at most.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// How long a stop that is cut short waits for addresses to be taken off.
const CHANGES_LIMIT: Duration = Duration::from_secs(1);

/// How long a stop waits for what is static to be taken off.
const STATICS_LIMIT: std::time::Duration = std::time::Duration::from_secs(2);

/// How long to wait for a deadline that is `left` away. The kernel may let a wait last 0.1 % longer than it was
/// told, 3.6 ms of an Active_Down_Interval: a long one ends a little early, and the short rest is waited for then.
const fn punctual(left: Duration) -> Duration {
    if left.as_micros() < 200_000 { left } else { Duration::from_micros(left.as_micros() - left.as_micros() / 512) }
}

/// What a started agent has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// Whether there are Virtual Routers.
    pub routers: bool,
    /// Whether there are virtual servers.
    pub services: bool,
}

/// Runs the agent until it is told to stop; its exit status.
pub fn run(options: &RunOptions) -> u8 {
    run_as(options, &Target::Stderr, Supervisor::find(), |_| ())
}

/// As [`run`], with its log somewhere else, and with whoever is told how it is; `started` is called once it runs, unless
/// it cannot.
pub fn run_as(
    options: &RunOptions,
    log: &Target,
    supervisor: io::Result<Supervisor>,
    started: impl FnOnce(Running),
) -> u8 {
    // Before any thread is made: threads inherit the mask.
    let signals = match Signals::listen(&Signal::OF_AN_AGENT) {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("cannot listen to signals: {error}")),
    };
    if let Err(error) = guard::begin() {
        return fail(&format!("cannot start the thread that starts programs: {error}"));
    }
    if let Err(error) = logging::init_to(log, options.log_level) {
        return fail(&format!("cannot start the log: {error}"));
    }
    let mut supervisor = supervisor.unwrap_or_else(|error| {
        warn!("NOTIFY_SOCKET: {error}; whoever started this agent is not told how it is");
        Supervisor::default()
    });
    let code = match Daemon::start(options, signals) {
        Ok((mut daemon, running)) => {
            // Before a parent ends, who may be the only one that is known so far.
            supervisor.ready(clock::now(), daemon.counts());
            daemon.port.supervisor = supervisor;
            started(running);
            guard::shed(guard::LOOP.and(urgency::rights()));
            match daemon.work() {
                Ok(()) => 0,
                Err(error) => {
                    error!("stopped by an error: {error}");
                    EXIT_FAILURE
                }
            }
        }
        Err((problem, code)) => {
            error!("{problem}");
            supervisor.failed(&problem);
            code
        }
    };
    logging::flush(std::time::Duration::from_millis(500));
    code
}

fn fail(problem: &str) -> u8 {
    // The log does not run yet; if stderr is closed, the exit status has to say it.
    let _ = io::Write::write_all(&mut io::stderr(), format!("steadfast: {problem}\n").as_bytes());
    EXIT_FAILURE
}

/// Everything that the loop holds.
struct Daemon {
    agent: Agent<Heap>,
    port: LinuxPort,
    monitor: Monitor,
    control: Option<Control>,
    signals: Signals,
    reloads: Reloads,
    links: VirtualLinks,
    dumps: Dumps,
    polls: PollSet,
    queue: ReceiveQueue,
    /// The Virtual Routers in the order of the file.
    order: Vec<RouterId>,
    groups: SyncGroups,
    drains: Drains,
    delays: Delays,
    /// Who stands back after a pause (`timer_expired_backup`).
    cautious: Vec<RouterId>,
    /// Whether an owner ignores others (`owner_ignore_adverts`).
    ignoring: bool,
    /// Who was Active when the agent before this one came to its end; only for the first configuration.
    predecessors: Predecessors,
    tracking: Tracking,
    /// What the machine has besides, if there is any such thing.
    statics: Option<Statics>,
    /// How many virtual servers there are.
    services: usize,
    /// When it was told to stop.
    stopping: Option<Instant>,
}

impl Daemon {
    fn start(options: &RunOptions, signals: Signals) -> Result<(Self, Running), (String, u8)> {
        let failed = |what: &'static str| move |error: io::Error| (format!("{what}: {error}"), EXIT_FAILURE);
        let file: PathBuf = cli::find_config(options.config.as_deref()).map_err(|problem| (problem, EXIT_CONFIG))?;
        let loaded = plan::load_as(&file, &options.reading);
        reload::log_findings(&loaded.findings);
        let plan = loaded.plan.filter(|plan| !plan.is_empty()).ok_or_else(|| {
            (
                format!("{}: there is no vrrp_instance and no virtual_server that can be run", file.display()),
                EXIT_CONFIG,
            )
        })?;
        if let Some(name) = &plan.namespace {
            File::open(Path::new(NAMESPACES).join(name))
                .and_then(guard::enter)
                .map_err(|error| (format!("cannot enter the network namespace `{name}`: {error}"), EXIT_FAILURE))?;
        }
        let running = Running { routers: !plan.routers.is_empty(), services: !plan.lvs.services.is_empty() };

        if let Some((script, limit)) = &plan.notify.startup
            && notify::run_once("startup_script", script, *limit, &signals)
        {
            return Err(("told to stop".to_owned(), 0));
        }
        // A coarse timer is a late Advertisement; without the setting it is only later.
        let _ = clock::set_timer_slack();
        let mut port =
            LinuxPort::open().map_err(failed("cannot open sockets (CAP_NET_RAW and CAP_NET_ADMIN are needed)"))?;
        let monitor = Monitor::open().map_err(failed("cannot listen to the kernel's news"))?;
        let reloads = Reloads::new(file.clone(), options.reading.clone(), plan.namespace.clone())
            .map_err(failed("cannot prepare reloads"))?;
        let control = match Control::start(&options.control) {
            Ok(control) => Some(control),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let problem = format!("{}: another agent answers there", options.control.display());
                return Err((problem, EXIT_FAILURE));
            }
            Err(error) => {
                warn!("{}: {error}; there will be no status", options.control.display());
                None
            }
        };
        port.measures = options.metrics.as_ref().and_then(Measures::start);
        port.balancing.keep_notes_in(options.control.parent().unwrap_or(Path::new(".")));
        // Beside the socket and by its name: two agents may have theirs in one directory.
        let beside = |ending| {
            let mut file = options.control.clone().into_os_string();
            file.push(ending);
            file
        };
        let notes = beside(".changes");
        let mut predecessors = Predecessors::default();
        match Record::begin(beside(".record").as_ref()) {
            Ok(begun) => (port.record, predecessors) = begun,
            Err(error) => warn!("after a crash the next start will be one as Backup: no record can be kept: {error}"),
        }
        port.guards.numbers.keep_in(numbers::places(&options.control));
        if plan.routers.iter().any(|router| guards::counts(router)) {
            port.guards.numbers.begin(true);
        }
        let startup_delay = plan.globals.startup_delay.max(left_after_boot(plan.globals.delay_after_boot));
        // Virtual Routers may advertise from a static address.
        let statics = Some(plan.statics.clone()).filter(|statics| !statics.is_empty());
        let statics = statics.map(Statics::start).transpose().map_err(failed("cannot put on what is static"))?;
        let (links, prepared) = VirtualLinks::start(notes.as_ref(), plan)
            .map_err(failed("cannot prepare the interfaces of virtual routers"))?;
        let mut polls = PollSet::new();
        polls.add(signals.as_fd());
        polls.add(monitor.as_fd());
        polls.add(port.addresses.as_fd());
        polls.add(reloads.as_fd());
        polls.add(links.as_fd());
        if let Some(control) = &control {
            polls.add(control.as_fd());
        }
        if let Some(measures) = &port.measures {
            polls.add(measures.as_fd());
        }
        let mut daemon = Self {
            agent: Agent::new(),
            port,
            monitor,
            control,
            signals,
            reloads,
            links,
            dumps: Dumps::default(),
            polls,
            queue: ReceiveQueue::default(),
            order: Vec::new(),
            groups: SyncGroups::default(),
            drains: Drains::begin(beside(".drained").into()),
            delays: Delays::default(),
            cautious: Vec::new(),
            ignoring: false,
            predecessors,
            tracking: Tracking::default(),
            statics,
            services: 0,
            stopping: None,
        };
        let now = clock::now();
        daemon.agent.set_startup_delay(now, startup_delay);
        daemon.apply(now, prepared).map_err(failed("cannot read the interfaces from the kernel"))?;
        daemon.predecessors = Predecessors::default();
        daemon.configured(true);
        info!("{}: {} virtual routers", file.display(), daemon.order.len());
        // The start is over, and most of the code with it; without this only more memory counts as resident.
        process::release_heap();
        let _ = process::release_code();
        Ok((daemon, running))
    }

    /// The loop. An error of the system is no reason to leave the addresses behind: what can still be handed
    /// over is.
    fn work(&mut self) -> io::Result<()> {
        let mut due = Some(Instant::default());
        let mut result = Ok(());
        let mut settled = Some(clock::now() + SETTLED);
        loop {
            if settled.is_some_and(|at| at <= clock::now()) {
                settled = None;
                // Taking over for the first time wants much code that is not wanted again soon.
                let _ = process::release_code();
            }
            match self.turn(due) {
                Ok(next) => due = next,
                Err(error) if result.is_ok() => {
                    result = Err(error);
                    due = Some(Instant::default());
                    self.stop(clock::now());
                }
                Err(_) => break,
            }
            let Some(since) = self.stopping else { continue };
            if self.agent.is_idle() && !self.port.addresses.is_waiting() {
                break;
            }
            let now = clock::now();
            if now.since(since) > STOP_LIMIT {
                // Cut short: as if every handover had come to its end.
                self.act(now + STOP_LIMIT);
                if !self.port.addresses.finish(CHANGES_LIMIT) {
                    warn!("addresses could not be taken off in time");
                }
                break;
            }
        }
        self.stop_tracking();
        let LinuxPort { locals, notices, .. } = &mut self.port;
        notices.finish(&self.agent, self.order.iter().filter_map(|id| locals.get(id.index())?.as_ref()));
        // After the addresses have moved: until then connections still come here, and have to find their servers.
        self.port.balancing.stop();
        self.port.advertiser.stop();
        self.port.notices.stop();
        if let Some(statics) = self.statics.take()
            && !statics.stop(STATICS_LIMIT)
        {
            warn!("static addresses, routes and rules could not be taken off in time");
        }
        self.links.close();
        self.port.guards.numbers.close();
        self.port.record.close();
        if let Some((script, limit)) = self.port.notices.shutdown() {
            notify::run_once("shutdown_script", script, *limit, &self.signals);
        }
        result
    }

    /// Waits until something happens or is due, takes it in, and acts; when to come back.
    fn turn(&mut self, due: Option<Instant>) -> io::Result<Option<Instant>> {
        let timeout = due.map(|at| punctual(at.since(clock::now())));
        self.polls.wait(timeout)?;
        // Before the queues are drained: no deadline fires ahead of what arrived before it.
        let now = clock::now();
        if due.is_some_and(|due| now.since(due) >= LATE) {
            // Whoever is stopped just as a wait ends has not seen what has come since.
            self.polls.wait(Some(Duration::ZERO))?;
        }
        urgency::woke(Who::Loop, due, now);
        self.port.set_now(now);
        self.look_for_lateness(now, due);
        self.receive(now);
        self.answers(now);
        self.news(now)?;
        self.routing_news(now)?;
        self.lasted(now);
        self.seen(now);
        if self.polls.is_ready(self.signals.as_fd()) {
            self.signals(now);
        }
        if self.control.as_ref().is_some_and(|control| self.polls.is_ready(control.as_fd())) {
            self.questions(now);
        }
        if self.port.measures.as_ref().is_some_and(|measures| self.polls.is_ready(measures.as_fd())) {
            self.scraped(now);
        }
        if self.polls.is_ready(self.reloads.as_fd()) {
            self.reloaded(now);
        }
        if self.polls.is_ready(self.links.as_fd()) {
            self.prepared(now);
        }
        Ok(self.act(now))
    }

    /// Begins a planned stop.
    fn stop(&mut self, now: Instant) {
        self.stopping = Some(now);
        self.port.supervisor.stopping(now);
        self.agent.shutdown(now);
    }

    /// Carries out what is owed; when to come back.
    fn act(&mut self, now: Instant) -> Option<Instant> {
        self.port.announce_waiting(&self.agent);
        let mut due = drive(&mut self.agent, &mut self.port, now, ACTIONS);
        self.port.flush();
        // What another processor has carried out meanwhile.
        while self.port.addresses.is_waiting() || !self.port.reports.is_empty() {
            if !self.answers(now) {
                break;
            }
            due = drive(&mut self.agent, &mut self.port, now, ACTIONS);
            self.port.flush();
        }
        // Only now, when addresses are on and announced.
        if self.port.put_routes(now) && self.answers(now) {
            due = drive(&mut self.agent, &mut self.port, now, ACTIONS);
            self.port.flush();
        }
        if !self.port.addresses.is_waiting() {
            self.port.notices.tell(&self.agent);
        }
        if self.stopping.is_none() {
            self.bury();
        }
        self.port.addresses.ask(now);
        self.port.summarize(now);
        self.supervise(now);
        let limit = self.stopping.map(|since| since + STOP_LIMIT + Duration::from_micros(1));
        let (routing, delays, pacing) = (self.port.routings.due(now), self.delays.due(), self.port.pacing.due());
        let (leases, journal, supervisor) =
            (self.port.addresses.due(), self.port.journal.due(), self.port.supervisor.due());
        let dues = [due, leases, journal, supervisor, routing, delays, pacing, limit];
        dues.into_iter().flatten().min()
    }

    /// Takes in Advertisements.
    fn receive(&mut self, now: Instant) {
        let Self { agent, port, polls, queue, ignoring, .. } = self;
        let LinuxPort { interfaces, journal, guards, locals, measures, .. } = port;
        for (at, interface) in interfaces.iter().enumerate() {
            for receiver in [&interface.receive_v4, &interface.receive_v6].into_iter().flatten() {
                if !polls.is_ready(receiver.as_fd()) {
                    continue;
                }
                let result = receiver.receive(queue, PACKETS, |envelope, payload| {
                    if *ignoring && is_ignored(agent, locals, interface.id, envelope, payload) {
                        return;
                    }
                    let heard = guards.receive(agent, now, interface.id, envelope, payload);
                    if let (Some(measures), Ok(_)) = (measures.as_mut(), &heard) {
                        measures.heard(agent, now, interface.id, envelope.source, payload);
                    }
                    journal.heard(now, at, &interface.name, envelope.source, heard);
                });
                if let Err(error) = result {
                    // An interface that went down says so once; the news of it comes by netlink.
                    log::debug!("{}: cannot receive: {error}", interface.name);
                }
            }
            let Some(receiver) = interface.receive_headers.as_ref().filter(|all| polls.is_ready(all.as_fd())) else {
                continue;
            };
            let result = receiver.receive_packets(queue, PACKETS, |packet| {
                if let Some((source, heard)) = guards.receive_packet(agent, now, interface.id, packet) {
                    journal.heard(now, at, &interface.name, source, heard);
                }
            });
            if let Err(error) = result {
                log::debug!("{}: cannot receive: {error}", interface.name);
            }
        }
    }

    /// Takes in the kernel's answers; whether there were any.
    fn answers(&mut self, now: Instant) -> bool {
        self.port.answers();
        let mut any = false;
        for (router, generation, result) in self.port.reports.drain(..) {
            any = true;
            self.agent.handle_done(now, router, generation, result);
        }
        any
    }

    fn signals(&mut self, now: Instant) {
        while let Some(signal) = self.signals.next() {
            match signal {
                Signal::Hangup => self.reload(None),
                Signal::Dump(kind) => self.dump(now, kind),
                Signal::Terminate | Signal::Interrupt if self.stopping.is_none() => {
                    info!("stopping");
                    self.stop(now);
                }
                // Told twice: the handover is cut short.
                Signal::Terminate | Signal::Interrupt => self.stopping = Some(Instant::default()),
                Signal::Child | Signal::Overtime => {}
            }
        }
    }

    fn questions(&mut self, now: Instant) {
        let Some(mut control) = self.control.take() else { return };
        while let Some(request) = control.take_request() {
            match request.verb() {
                Verb::Status => {
                    let snapshot = self.snapshot(now);
                    self.port.balancing.status(request, snapshot);
                }
                Verb::Reload => self.reload(Some(request)),
                Verb::Explain(router) => {
                    let explained = self.explain(now, router);
                    request.answer(Answer::Explain(explained));
                }
                Verb::Drain(name) => {
                    let name = name.clone();
                    self.maintain(now, request, name.as_deref(), true);
                }
                Verb::Resume(name) => {
                    let name = name.clone();
                    self.maintain(now, request, name.as_deref(), false);
                }
                Verb::Server(command) => {
                    let command = command.clone();
                    self.port.balancing.server(request, command);
                }
            }
        }
        self.control = Some(control);
    }

    /// Answers who serves the page of metrics, as the control socket is answered.
    fn scraped(&mut self, now: Instant) {
        while let Some(request) = self.port.measures.as_mut().and_then(|measures| measures.take_request()) {
            let mut snapshot = self.snapshot(now);
            let names = self.order.iter().filter_map(|id| Some((&self.port.local(*id)?.name, *id)));
            snapshot.measured = self.port.measures.as_ref().map(|measures| measures.measured(names));
            self.port.balancing.status(request, snapshot);
        }
    }

    /// Notes whether the configuration that was read last is in force.
    fn configured(&mut self, applied: bool) {
        match &mut self.port.measures {
            Some(measures) if applied => measures.configured(),
            Some(measures) => measures.refused(),
            None => {}
        }
    }

    fn explain(&self, now: Instant, router: &str) -> Option<Explained> {
        let locals = self.order.iter().filter_map(|id| self.port.local(*id));
        let local = locals.into_iter().find(|local| *local.name == *router)?;
        let interface = self.port.interfaces.get(local.interface)?;
        let view = self.agent.view(local.id)?;
        let trackers = self.tracking.explain(local.id);
        let group = view.sync_group.map(|group| self.group(group)).map(|group| {
            let state = group.state.map_or_else(|| "in different states".into(), |state| state.to_string());
            format!("{}: {}, {state}", group.name, group.members.join(" and "))
        });
        Some(snapshot::explanation(&local.name, &interface.name, view, now, &trackers, group.as_deref()))
    }

    /// Has the state written down in keepalived's way.
    fn dump(&mut self, now: Instant, kind: Dump) {
        let wall = Timestamp::now();
        let routers = self.order.iter().filter_map(|&id| {
            let (local, view) = (self.port.local(id)?, self.agent.view(id)?);
            Some(snapshot::dumped(local, &view, now, wall))
        });
        let routers = routers.collect();
        self.dumps.write(kind, routers, self.tracking.plan());
    }

    fn snapshot(&self, now: Instant) -> Snapshot {
        let wall = Timestamp::now();
        let groups: HashMap<_, _> = self.groups.iter().map(|(name, id)| (id, name)).collect();
        let routers = self.order.iter().filter_map(|&id| {
            let (local, view) = (self.port.local(id)?, self.agent.view(id)?);
            let interface = self.port.interfaces.get(local.interface)?;
            let group = view.sync_group.and_then(|group| groups.get(&group).copied());
            let names = [&local.name, &interface.name];
            let hmac = self.port.guards.counters(id.index());
            Some(snapshot::router(names, group, &view, hmac, (now, wall), self.stopping.is_some()))
        });
        let interfaces = self.port.interfaces.iter().map(|interface| interface.status(&self.agent));
        let lost = ("steadfast-events-lost", self.agent.lost_events());
        let notices = self.port.notices.outlet().into_iter().flat_map(|outlet| outlet.counts().iter());
        let counters = self.agent.counters().iter().chain([lost]).chain(notices).collect();
        let mut snapshot = Snapshot::new(routers.collect(), interfaces.collect(), status::GlobalStatus { counters });
        let name = |id| self.port.local(id).map(|local| Name::clone(&local.name));
        snapshot.trackers = self.tracking.status(now, wall, name);
        snapshot.groups = self.groups.iter().map(|(_, id)| self.group(id)).collect();
        snapshot
    }
}

/// What is left of a time that begins with the machine.
fn left_after_boot(delay: Duration) -> Duration {
    if delay == Duration::ZERO {
        return delay;
    }
    // `seconds.hundredths idle`; without it nothing has to be waited for.
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let uptime = text.split(' ').next().and_then(value::micros).unwrap_or(u64::MAX);
    Duration::from_micros(delay.as_micros().saturating_sub(uptime))
}

/// Whether an Advertisement is for an owner of addresses that hears nobody (`owner_ignore_adverts`).
fn is_ignored(
    agent: &Agent<Heap>,
    locals: &[Option<Local>],
    interface: InterfaceId,
    envelope: &Envelope,
    payload: &[u8],
) -> bool {
    let vrid = payload.get(1).copied().and_then(Vrid::new);
    let found = vrid.and_then(|vrid| agent.find(interface, Family::of(&envelope.source), vrid));
    let local = found.and_then(|found| locals.get(found.router.index())?.as_ref());
    local.is_some_and(|local| local.plan.options.ignores_others)
}

/// The name of a thing that status, log and tables share.
type Name = Arc<str>;
