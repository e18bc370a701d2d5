//! Shows that nothing in steadfast-core and steadfast-firmware can panic as this board builds them: it calls what the
//! image calls of them, with values that the optimizer cannot know, and its panic handler needs a symbol that exists
//! nowhere. So it links only if no call of the handler is left. smoltcp, which can panic, is not in it: of the device
//! that lies under smoltcp the two halves are called as smoltcp does. It is built by `budget`, not to be run.

#![no_std]
#![no_main]

#[path = "../memory.rs"]
mod memory;
#[path = "../vectors.rs"]
mod vectors;

use core::convert::Infallible;
use core::hint::black_box;
use core::net::IpAddr;
use core::panic::PanicInfo;

use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};
use embedded_storage::nor_flash::{self, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use smoltcp::phy::{Device, RxToken, TxToken};
use steadfast_core::agent::{Agent, Event, InterfaceId, Link, RouterConfig, RouterId, TrackerId};
use steadfast_core::config::Diagnostic;
use steadfast_core::storage::Fixed;
use steadfast_core::time::Instant;
use steadfast_core::types::{Family, MacAddr};
use steadfast_firmware::console::{Console, Host};
use steadfast_firmware::device::{Buffers, FrameIo, Under};
use steadfast_firmware::hardware::{Busy, Extender, NetworkHardware};
use steadfast_firmware::node::Node;
use steadfast_firmware::setup;
use steadfast_firmware::store::Store;

// The same as the image's.
type Storage = Fixed<8, 32, 1, 8, 0, 4>;

unsafe extern "C" {
    /// Defined nowhere. The name is what the linker then complains about.
    fn steadfast_can_panic() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: never runs, because it does not link.
    unsafe { steadfast_can_panic() }
}

/// A value that the optimizer knows nothing about.
fn any<T: Copy>(value: T) -> T {
    black_box(value)
}

struct Board;

impl FrameIo for Board {
    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        black_box(buffer);
        any(Some(1))
    }

    fn is_ready(&mut self) -> bool {
        any(true)
    }

    fn send(&mut self, frame: &[u8]) -> Result<(), Busy> {
        black_box(frame);
        any(Ok(()))
    }
}

impl NetworkHardware for Board {
    fn send(&mut self, _: InterfaceId, frame: &[u8]) -> Result<(), Busy> {
        black_box(frame);
        any(Ok(()))
    }

    fn hear(&mut self, interface: InterfaceId, address: MacAddr, on: bool) {
        black_box((interface.index(), address, on));
    }

    fn address(&mut self, _: InterfaceId, router: RouterId, address: IpAddr, on: bool) {
        black_box((router, address, on));
    }

    fn notify(&mut self, event: &Event) {
        black_box(event);
    }
}

impl ErrorType for Board {
    type Error = Infallible;
}

impl ReadReady for Board {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(any(true))
    }
}

impl Read for Board {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        black_box(buffer);
        Ok(any(1))
    }
}

impl WriteReady for Board {
    fn write_ready(&mut self) -> Result<bool, Infallible> {
        Ok(any(true))
    }
}

impl Write for Board {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        black_box(bytes);
        Ok(any(1))
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

#[derive(Debug)]
struct Failure;

impl NorFlashError for Failure {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl nor_flash::ErrorType for Board {
    type Error = Failure;
}

impl ReadNorFlash for Board {
    const READ_SIZE: usize = 1;

    fn read(&mut self, _: u32, bytes: &mut [u8]) -> Result<(), Failure> {
        black_box(bytes);
        if any(true) { Ok(()) } else { Err(Failure) }
    }

    fn capacity(&self) -> usize {
        any(8192)
    }
}

impl NorFlash for Board {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, _: u32, _: u32) -> Result<(), Failure> {
        if any(true) { Ok(()) } else { Err(Failure) }
    }

    fn write(&mut self, _: u32, bytes: &[u8]) -> Result<(), Failure> {
        black_box(bytes);
        if any(true) { Ok(()) } else { Err(Failure) }
    }
}

struct Station<'a> {
    node: &'a mut Node<Storage, 1>,
    lan: InterfaceId,
}

impl Host for Station<'_> {
    type Storage = Storage;

    fn agent(&self) -> &Agent<Storage> {
        self.node.agent()
    }

    fn router_name(&self, _: RouterId) -> &str {
        any("V")
    }

    fn interface(&self, number: usize) -> Option<(InterfaceId, &str)> {
        (number == 0).then_some((self.lan, any("eth0")))
    }

    fn tracker_name(&self, _: TrackerId) -> &str {
        any("t")
    }

    fn check<'t>(&self, text: &'t str, report: &mut dyn FnMut(Diagnostic<'t>)) {
        setup::check(self.node, &[(any("eth0"), self.lan)], text, report);
    }

    fn apply(&mut self, now: Instant, text: &str) -> bool {
        setup::apply(self.node, now, &[(any("eth0"), self.lan)], text, &mut Board, &mut |router, name| {
            black_box((router, name));
        })
    }

    fn drain(&mut self, now: Instant, router: RouterId) {
        self.node.drain(now, router);
    }

    fn resume(&mut self, now: Instant, router: RouterId) {
        self.node.resume(now, router);
    }
}

#[cortex_m_rt::entry]
fn main() -> ! {
    let mut extender = Extender::new(any(25_000_000));
    let mut node: Node<Storage, 1> = Node::new();
    let mut buffers = Buffers::<1518>::new();
    let mut text = [0; 2048];
    if let Ok(lan) = node.add_port(any(MacAddr([2; 6])), any(None))
        && let Ok(mut store) = Store::new(Board, any(0), any(8192))
    {
        let mut console = Console::new(black_box(&mut text), any("#"));
        let now = Instant::from_micros(extender.micros(any(0)));
        console.boot(now, &mut store, &mut Station { node: &mut node, lan });
        while any(true) {
            let now = Instant::from_micros(extender.micros(any(0)));
            turn(&mut node, now, lan, &mut buffers);
            black_box(console.poll(now, &mut Board, &mut store, &mut Station { node: &mut node, lan }));
        }
    }
    // What shows that the check can fail.
    #[cfg(feature = "panics")]
    black_box([0_u8; 4][any(0_usize)]);
    loop {
        black_box(());
    }
}

/// What the image does between two sleeps.
fn turn(node: &mut Node<Storage, 1>, now: Instant, lan: InterfaceId, buffers: &mut Buffers<1518>) {
    let address: Option<IpAddr> = any(None);
    match any(0_u8) {
        0 => node.handle_link(now, lan, any(Link::Up)),
        1 => node.handle_source(now, lan, any(Family::V4), address),
        2 => node.shutdown(now),
        3 => {
            let config: Option<RouterConfig<'static>> = any(None);
            if let Some(config) = config {
                black_box(node.add(now, &config).is_ok());
            }
        }
        _ => {}
    }
    let mut board = Board;
    let mut under = Under::new(node, &mut board, lan, buffers);
    let time = smoltcp::time::Instant::from_micros(any(0_i64));
    if let Some((received, sending)) = under.receive(time) {
        received.consume(|frame| {
            black_box(frame);
        });
        sending.consume(any(60), |frame| {
            black_box(frame);
        });
    }
    if let Some(sending) = under.transmit(time) {
        sending.consume(any(60), |frame| {
            black_box(frame);
        });
    }
    black_box(node.poll(now, &mut Board));
    black_box((node.agent().is_idle(), node.refused()));
    for router in node.agent().routers() {
        black_box(node.agent().view(router));
    }
}
