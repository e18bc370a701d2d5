//! Whom the console speaks for: the station, what its Virtual Routers are called, and its configuration.

use steadfast_core::agent::{Agent, InterfaceId, RouterId, TrackerId};
use steadfast_core::config::Diagnostic;
use steadfast_core::time::Instant;
use steadfast_firmware::console::Host;
use steadfast_firmware::setup;

use crate::station::{Hardware, Station, Storage};

impl Host for Station {
    type Storage = Storage;

    fn agent(&self) -> &Agent<Storage> {
        self.node.agent()
    }

    fn router_name(&self, router: RouterId) -> &str {
        self.names.get(&router).map_or("", String::as_str)
    }

    fn interface(&self, number: usize) -> Option<(InterfaceId, &str)> {
        (number == 0).then_some((self.lan, &self.interface))
    }

    fn tracker_name(&self, _: TrackerId) -> &str {
        ""
    }

    fn check<'t>(&self, text: &'t str, report: &mut dyn FnMut(Diagnostic<'t>)) {
        setup::check(&self.node, &[(&self.interface, self.lan)], text, report);
    }

    fn apply(&mut self, now: Instant, text: &str) -> bool {
        let ports = [(self.interface.as_str(), self.lan)];
        let names = &mut self.names;
        names.retain(|router, _| self.node.agent().view(*router).is_some());
        let mut name = |router, name: &str| {
            names.insert(router, name.to_owned());
        };
        let mut hardware = Hardware { tap: &mut self.tap, stack: &mut self.stack, events: &mut self.events };
        setup::apply(&mut self.node, now, &ports, text, &mut hardware, &mut name)
    }

    fn drain(&mut self, now: Instant, router: RouterId) {
        self.node.drain(now, router);
    }

    fn resume(&mut self, now: Instant, router: RouterId) {
        self.node.resume(now, router);
    }
}
