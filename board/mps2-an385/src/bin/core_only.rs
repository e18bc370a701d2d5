//! What VRRP itself costs: the core's election and its wire formats for four Virtual Routers of four addresses, without
//! a stack, a configuration's grammar, texts and drivers, and with no room for sync groups and trackers. It is built to be
//! weighed by `budget`, not to be run: where the inputs come from is left open.

#![no_std]
#![no_main]

#[path = "../memory.rs"]
mod memory;
#[path = "../vectors.rs"]
mod vectors;

use core::hint::black_box;
use core::panic::PanicInfo;

use steadfast_core::agent::{Action, Agent, InterfaceId, Link, RouterConfig};
use steadfast_core::storage::Fixed;
use steadfast_core::time::Instant;
use steadfast_core::types::{Family, MacAddr};
use steadfast_core::wire::ip::{emit_frame, parse_ipv4, parse_ipv6};
use steadfast_core::wire::{arp, ndisc};
use steadfast_firmware::node::Node;

// How much RAM four more Virtual Routers with four addresses each take, in the agent and in the firmware's node: as the
// sizes of these, which `budget` reads.
#[used]
#[unsafe(no_mangle)]
static BYTES_OF_ROUTERS: [u8; size_of::<Agent<Fixed<8, 32, 1, 4>>>() - size_of::<Agent<Fixed<4, 16, 1, 4>>>()] = [0; _];
#[used]
#[unsafe(no_mangle)]
static BYTES_OF_ROUTERS_OF_A_NODE: [u8; size_of::<Node<Fixed<8, 32, 1, 4>, 1>>()
    - size_of::<Node<Fixed<4, 16, 1, 4>, 1>>()] = [0; _];

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        black_box(());
    }
}

/// Frames and inputs that nothing is known of.
fn any<T>() -> T
where
    T: Copy,
{
    black_box(core::cell::Cell::new(None)).get().unwrap_or_else(|| {
        loop {
            black_box(());
        }
    })
}

#[cortex_m_rt::entry]
fn main() -> ! {
    let mut agent: Agent<Fixed<4, 16, 1, 4>> = Agent::new();
    let _ = agent.add_interface();
    for _ in 0..any() {
        let (now, config): (Instant, RouterConfig<'static>) = any();
        black_box(agent.add(now, &config, false).is_ok());
    }
    let mut frame = [0; 256];
    loop {
        let (now, interface): (Instant, InterfaceId) = any();
        agent.handle_link(now, interface, if any() { Link::Up } else { Link::Down });
        agent.handle_source(now, interface, if any() { Family::V4 } else { Family::V6 }, any());
        black_box(&mut frame);
        for read in [parse_ipv4(&frame), parse_ipv6(&frame)] {
            if let Some((envelope, payload)) = read {
                black_box(agent.handle_advertisement(now, interface, &envelope, payload).is_ok());
            }
        }
        if let Some(query) = arp::Query::parse(&frame) {
            black_box(arp::reply(any(), &query));
        }
        if let Some(query) = ndisc::Solicitation::parse(&frame, any()) {
            black_box(ndisc::solicited(any(), &query, true));
        }
        while let Some(action) = agent.poll(now) {
            match action {
                Action::Advertise { router, priority, form, .. } => {
                    let Some(view) = agent.view(router) else { continue };
                    let from = view.settings.vrid.virtual_mac(view.settings.family);
                    let Some(envelope) = agent.envelopes(router).next() else { continue };
                    let payload = |room: &mut [u8]| agent.emit(router, &envelope, priority, form, room);
                    let (source, group) = (envelope.source, envelope.destination);
                    black_box(emit_frame(from, None, source, group, &mut frame, payload).is_ok());
                }
                Action::Acquire { router, generation } | Action::Release { router, generation } => {
                    agent.handle_done(now, router, generation, Ok(()));
                }
                Action::Announce { address, .. } => {
                    let from: MacAddr = any();
                    match address {
                        core::net::IpAddr::V4(address) => {
                            black_box(arp::gratuitous(from, address));
                        }
                        core::net::IpAddr::V6(address) => {
                            black_box(ndisc::unsolicited(from, address, true));
                        }
                    }
                }
                Action::Notify(event) => {
                    black_box(event);
                }
                Action::Retired(_) => {}
            }
        }
        black_box(agent.poll_at());
    }
}
