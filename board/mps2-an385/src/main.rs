//! Steadfast on the Arm MPS2 board with the AN385 image (a Cortex-M3; QEMU's `mps2-an385`): what is switched on, and the
//! loop. The drivers are one file each; what VRRP is about is in steadfast-core and steadfast-firmware.

#![no_std]
#![no_main]

mod address;
mod clock;
mod faults;
mod flash;
mod host;
mod interrupts;
mod lan9118;
mod memory;
mod registers;
mod say;
mod stack;
mod station;
mod uart;
mod vectors;
mod watchdog;

use core::fmt::Write;

use steadfast_core::time::{Duration, Instant};
use steadfast_firmware::console::{Console, Turn};
use steadfast_firmware::device::Buffers;
use steadfast_firmware::node::Node;
use steadfast_firmware::store::Store;

use clock::{Alarm, Time};
use flash::Flash;
use interrupts::Interrupts;
use lan9118::Lan9118;
use station::Station;
use uart::{Tail, Uart};
use watchdog::Watchdog;

/// The configuration until another one is stored: no Virtual Router, no IPv4 address. The console is there.
const BUILT_IN: &str = "# Nothing is configured: `load config` takes a keepalived.conf\n";

/// The longest configuration.
const TEXT: usize = 2048;

/// The processor does not sleep longer: the watchdog wants to be fed.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);

/// How long handing over may take before a restart.
const FAREWELL: Duration = Duration::from_secs(5);

#[cortex_m_rt::entry]
fn main() -> ! {
    stack::paint();
    let mut time = Time::start();
    let mut alarm = Alarm::new();
    let mut interrupts = Interrupts::new();
    uart::start();
    say::start();
    let mut watchdog = Watchdog::start();
    let Ok(mut chip) = Lan9118::start() else { panic!("the Ethernet controller does not answer") };
    let now = time.now();

    // What is large lives here, and is only lent.
    let mut node = Node::new();
    let mut buffers = Buffers::new();
    let mut text = [0; TEXT];
    let Ok(lan) = node.add_port(chip.station(), None) else { panic!("no room for the interface") };
    let mut stack = station::stack(&mut node, &mut chip, lan, &mut buffers, now);
    let mut station = Station::new(now, &mut node, lan, chip, &mut stack, &mut buffers);
    let Ok(mut store) = Store::new(Flash::new(), 0, flash::SIZE) else { panic!("no room for two slots") };
    let mut console = Console::new(&mut text, BUILT_IN);
    console.boot(now, &mut store, &mut station);
    let mut farewell: Option<Instant> = None;

    loop {
        interrupts.clear();
        uart::service();
        let next = station.turn(&mut time);
        let turn = console.poll(time.now(), &mut Uart, &mut store, &mut station);
        uart::service();
        // Frames were taken in, what was owed is sent, and the console has had its turn.
        watchdog.feed();
        if uart::asked() {
            facts(&station, time.now());
        }
        let now = time.now();
        if turn == Turn::Reboot && farewell.is_none() {
            farewell = Some(now + FAREWELL);
            station.node.shutdown(now);
        }
        if farewell.is_some_and(|last| now >= last || station.node.agent().is_idle()) {
            faults::restart();
        }
        let pause = next.map_or(LONGEST_SLEEP, |next| next.since(now).min(LONGEST_SLEEP));
        if pause > Duration::ZERO && turn != Turn::Again && uart::is_idle() && farewell.is_none() {
            alarm.set(pause);
            interrupts.wait();
        }
    }
}

/// What is to be known of the board itself: ctrl-T asks for it.
#[inline(never)]
fn facts(station: &Station<'_>, now: Instant) {
    let (deepest, size) = stack::depth();
    let (discarded, refused, lost) = (station.chip.discarded(), station.node.refused(), uart::lost());
    let seconds = now.as_micros() / 1_000_000;
    let _ = write!(
        Tail,
        "\r\n{}, up {seconds} s; stack {deepest} of {size} bytes; frames discarded {discarded}, refused {refused}; \
         characters lost {lost}\r\n",
        station.chip.station()
    );
}
