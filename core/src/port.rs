//! The verbs that every port shares, and the loop that drains an agent into them.

use core::net::IpAddr;

use crate::agent::{Action, Agent, Event, Generation, InterfaceId, RouterId};
use crate::storage::Storage;
use crate::time::Instant;
use crate::types::Priority;
use crate::wire::advertisement::Form;

/// What a port can do for an agent. No verb waits: what takes time is begun, and reported later by
/// [`Agent::handle_done`].
pub trait Port<S: Storage> {
    /// Send an Advertisement, written by [`Agent::emit`].
    fn advertise(
        &mut self,
        agent: &Agent<S>,
        router: RouterId,
        interface: InterfaceId,
        priority: Option<Priority>,
        form: Form,
    );
    /// Begin to put the addresses of a Virtual Router on.
    fn acquire(&mut self, agent: &Agent<S>, router: RouterId, generation: Generation);
    /// Begin to take the addresses of a Virtual Router off.
    fn release(&mut self, agent: &Agent<S>, router: RouterId, generation: Generation);
    /// Send one gratuitous ARP or unsolicited Neighbour Advertisement.
    fn announce(&mut self, agent: &Agent<S>, router: RouterId, address: IpAddr);
    /// Tell of an event.
    fn notify(&mut self, agent: &Agent<S>, event: &Event);
    /// Forget a Virtual Router.
    fn retired(&mut self, router: RouterId);
}

/// Drains an agent, at most `budget` actions; when to come back, unless an input comes first. A time that is
/// not after `now` means that the budget was spent.
pub fn drive<S: Storage, P: Port<S>>(
    agent: &mut Agent<S>,
    port: &mut P,
    now: Instant,
    budget: usize,
) -> Option<Instant> {
    for _ in 0..budget {
        match agent.poll(now) {
            None => break,
            Some(Action::Advertise { router, interface, priority, form }) => {
                port.advertise(agent, router, interface, priority, form);
            }
            Some(Action::Release { router, generation }) => port.release(agent, router, generation),
            Some(Action::Acquire { router, generation }) => port.acquire(agent, router, generation),
            Some(Action::Announce { router, address }) => port.announce(agent, router, address),
            Some(Action::Notify(event)) => port.notify(agent, &event),
            Some(Action::Retired(router)) => port.retired(router),
        }
    }
    agent.poll_at()
}
