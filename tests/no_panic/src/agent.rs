//! Every input and output of an agent with fixed storage, in any order and number, and the loop that ports
//! share.

use core::net::IpAddr;

use steadfast_core::agent::{
    Action, Agent, Announcing, ChecksumMode, Event, Generation, GroupId, InterfaceId, Link, Refused, Report,
    RouterConfig, RouterId, Settings, TrackerId, Weight,
};
use steadfast_core::port::{self, Port};
use steadfast_core::storage::Fixed;
use steadfast_core::text::Tracked;
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Family, Priority, Version};
use steadfast_core::wire::advertisement::{Authentication, Form};

use crate::wire::{address, envelope, interval, vrid};
use crate::{any, bytes, room, used};

type Storage = Fixed<4, 16, 2, 8, 4, 4>;

pub(crate) fn drive(memory: &mut [u8]) {
    let mut agent = Agent::<Storage>::default();
    agent.set_startup_delay(now(), span());
    let (Ok(interface), Ok(_)) = (agent.add_interface(), agent.add_interface()) else { return };
    let Ok(tracker) = agent.add_tracker() else { return };
    let (Ok(group), Ok(_)) = (agent.add_group(), agent.add_group()) else { return };
    let mut known = None;
    let mut generation = None;
    // Any inputs in any order: one round makes each of them, or not.
    for _ in 0..any(9) {
        configure(&mut agent, interface, &mut known);
        track(&mut agent, tracker, known);
        join(&mut agent, group, known);
        input(&mut agent, interface, known, generation, memory);
        if any(true) {
            generation = output(&mut agent, memory).or(generation);
        }
        if any(true) {
            used(port::drive(&mut agent, &mut Sink, now(), any(3)));
        }
        view(&agent, interface);
    }
}

fn now() -> Instant {
    let now = Instant::from_micros(any(1)) + span() - span();
    used((now.as_micros(), now.since(any(now))));
    now
}

fn span() -> Duration {
    let span = Duration::from_millis(any(1)) + Duration::from_secs(any(1)).times(any(1));
    used((span.as_millis(), span.as_micros()));
    any(Duration::from_micros(any(1)))
}

fn settings() -> Settings {
    let mut settings = Settings::new(any(Family::V4), vrid());
    settings.version = any(Version::V3);
    settings.priority = Priority::new(any(1)).unwrap_or(Priority::DEFAULT);
    settings.interval = interval();
    settings.preempt = any(true);
    settings.preempt_delay = span().into();
    settings.accept = any(true);
    settings.checksum = any(ChecksumMode::Auto);
    settings.authentication = any(Authentication::None);
    settings.strict = any(true);
    settings.virtual_mac = any(true);
    settings.group = address();
    settings.source = any(Some(address()));
    settings.announcing = any(Announcing::default());
    settings.track_link = any(true);
    settings.skip_address_check = any(true);
    settings.down_timer_adverts = any(3);
    settings.answer_lower = any(true);
    settings
}

fn configure(agent: &mut Agent<Storage>, interface: InterfaceId, known: &mut Option<RouterId>) {
    let list = any([address(); 300]);
    let config = RouterConfig {
        interface: any(interface),
        settings: settings(),
        addresses: list.get(any(0)..any(2)).unwrap_or(&[]),
        excluded: list.get(any(2)..any(3)).unwrap_or(&[]),
        peers: list.get(any(3)..any(4)).unwrap_or(&[]),
    };
    if any(true) {
        let added = agent.add(now(), &config, any(false));
        *known = added.ok().or(*known);
        used(added);
    }
    let Some(id) = *known else { return };
    if any(true) {
        used(agent.reconfigure(now(), id, &config));
    }
    if any(true) {
        agent.reacquire(id);
    }
    if any(false) {
        agent.drain(now(), id);
    }
    if any(false) {
        agent.resume(now(), id);
    }
    if any(false) {
        agent.remove(now(), id);
    }
    if any(false) {
        agent.shutdown(now());
    }
}

fn track(agent: &mut Agent<Storage>, tracker: TrackerId, known: Option<RouterId>) {
    if any(true) {
        agent.handle_report(now(), any(tracker), any(Report::Up));
    }
    let Some(id) = known else { return };
    for (tracker, weight, report) in agent.trackers(any(id)) {
        used((tracker.index(), weight.addition(report), weight.is_fault(report)));
    }
    if any(true) {
        used(agent.track(now(), any(id), any(tracker), any(Weight(1))));
    }
    if any(false) {
        agent.untrack(now(), any(id));
    }
}

fn join(agent: &mut Agent<Storage>, group: GroupId, known: Option<RouterId>) {
    for member in agent.members(any(group)) {
        used((group.index(), member));
    }
    let Some(id) = known else { return };
    if any(true) {
        used(agent.join(now(), any(id), any(group)));
    }
    if any(false) {
        agent.leave(now(), any(id));
    }
}

fn input(
    agent: &mut Agent<Storage>,
    interface: InterfaceId,
    known: Option<RouterId>,
    generation: Option<Generation>,
    memory: &[u8],
) {
    if any(true) {
        agent.handle_link(now(), any(interface), any(Link::Up));
    }
    if any(true) {
        agent.handle_source(now(), any(interface), any(Family::V4), any(Some(address())));
    }
    if any(true) {
        used(agent.handle_advertisement(now(), any(interface), &envelope(), bytes(memory)));
    }
    let Some(id) = known else { return };
    if let Some(generation) = generation {
        agent.handle_done(now(), any(id), any(generation), any(Ok(())).map_err(|()| Refused));
    }
    if any(true) {
        agent.handle_lost(now(), any(id));
    }
}

fn output(agent: &mut Agent<Storage>, memory: &mut [u8]) -> Option<Generation> {
    used((agent.poll_at(), agent.is_idle()));
    match agent.poll(now())? {
        Action::Advertise { router, priority, form, .. } => {
            used(agent.emit(router, &envelope(), priority, form, room(memory)));
            None
        }
        Action::Acquire { generation, .. } | Action::Release { generation, .. } => Some(generation),
        other => {
            used(other);
            None
        }
    }
}

fn view(agent: &Agent<Storage>, interface: InterfaceId) {
    for id in agent.routers() {
        used(id.index());
        let Some(view) = agent.view(any(id)) else { continue };
        for counter in view.counters.iter() {
            used(counter);
        }
        if let Some((_, from, to, reason)) = view.last_transition {
            used((from.as_str(), to.as_str(), reason.as_str()));
        }
        crate::fmt::tell(view, &|number| {
            let (_, weight, report) = agent.trackers(any(id)).nth(number)?;
            Some(Tracked { name: any(""), weight, report })
        });
        used(view);
    }
    for counter in agent.counters().iter() {
        used(counter);
    }
    used(agent.lost_events());
    used(agent.last_retired());
    used((interface.index(), agent.interface(any(interface), any(Family::V6))));
}

/// A port that does nothing.
struct Sink;

impl Port<Storage> for Sink {
    fn advertise(
        &mut self,
        agent: &Agent<Storage>,
        router: RouterId,
        interface: InterfaceId,
        priority: Option<Priority>,
        form: Form,
    ) {
        let mut buffer = any([0; 128]);
        used((interface, agent.emit(router, &envelope(), priority, form, &mut buffer)));
    }
    fn release(&mut self, _: &Agent<Storage>, router: RouterId, generation: Generation) {
        used((router, generation));
    }
    fn acquire(&mut self, _: &Agent<Storage>, router: RouterId, generation: Generation) {
        used((router, generation));
    }
    fn announce(&mut self, _: &Agent<Storage>, router: RouterId, address: IpAddr) {
        used((router, address));
    }
    fn notify(&mut self, _: &Agent<Storage>, event: &Event) {
        used(*event);
    }
    fn retired(&mut self, router: RouterId) {
        used(router);
    }
}
