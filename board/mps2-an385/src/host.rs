//! Whom the console speaks for: the station, what its Virtual Routers are called, and its configuration.

use heapless::{String, Vec};
use steadfast_core::agent::{Agent, InterfaceId, RouterId, TrackerId};
use steadfast_core::config::{Diagnostic, Message};
use steadfast_core::time::Instant;
use steadfast_firmware::console::Host;
use steadfast_firmware::setup;

use crate::address;
use crate::station::{Hardware, INTERFACE, ROUTERS, Station, Storage};

/// As much of a name as is kept.
const NAME: usize = 20;

/// What the Virtual Routers are called.
#[derive(Default)]
pub struct Names(Vec<(RouterId, String<NAME>), ROUTERS>);

impl Names {
    /// What one is called; nothing if it is not known.
    pub fn of(&self, router: RouterId) -> &str {
        self.0.iter().find(|known| known.0 == router).map_or("", |known| &known.1)
    }

    fn set(&mut self, router: RouterId, name: &str) {
        let mut short = String::new();
        for character in name.chars() {
            if short.push(character).is_err() {
                break;
            }
        }
        self.0.retain(|known| known.0 != router);
        // As many as there are Virtual Routers.
        let _ = self.0.push((router, short));
    }
}

impl Host for Station<'_> {
    type Storage = Storage;

    fn agent(&self) -> &Agent<Storage> {
        self.node.agent()
    }

    fn router_name(&self, router: RouterId) -> &str {
        self.names.of(router)
    }

    fn interface(&self, number: usize) -> Option<(InterfaceId, &str)> {
        (number == 0).then_some((self.lan, INTERFACE))
    }

    fn tracker_name(&self, _: TrackerId) -> &str {
        ""
    }

    fn check<'t>(&self, text: &'t str, report: &mut dyn FnMut(Diagnostic<'t>)) {
        let ports = [(INTERFACE, self.lan)];
        setup::check(self.node, &ports, text, &mut |diagnostic| {
            // The grammar does not know that this board has it.
            if !matches!(diagnostic.message, Message::NotYet { keyword: address::KEYWORD }) {
                report(diagnostic);
            }
        });
        address::read(text, report);
    }

    fn apply(&mut self, now: Instant, text: &str) -> bool {
        self.readdress(now, address::read(text, &mut |_| {}));
        let ports = [(INTERFACE, self.lan)];
        let mut hardware = Hardware { chip: &mut self.chip, stack: self.stack, told: None };
        let names = &mut self.names;
        let agent = |router| self.node.agent().view(router).is_some();
        names.0.retain(|known| agent(known.0));
        setup::apply(self.node, now, &ports, text, &mut hardware, &mut |router, name| names.set(router, name))
    }

    fn drain(&mut self, now: Instant, router: RouterId) {
        self.node.drain(now, router);
    }

    fn resume(&mut self, now: Instant, router: RouterId) {
        self.node.resume(now, router);
    }
}
