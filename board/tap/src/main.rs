//! `steadfast-tap`: the firmware as an ordinary process on a TAP device, for makers who want to try it in a minute, and
//! for tests. It is a board like any other: a device, a clock, a console, and a loop; what a board's firmware does
//! beyond that is in `steadfast-firmware`. Here is the loop, and what Linux gives to it.

mod arguments;
mod device;
mod flash;
mod host;
mod link;
mod report;
mod station;
mod terminal;

use std::error::Error;
use std::fs;
use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use steadfast_core::time::Instant;
use steadfast_firmware::console::{Console, Turn};
use steadfast_firmware::hardware::Clock;
use steadfast_firmware::store::Store;

use arguments::Arguments;
use device::Tap;
use flash::Flash;
use link::Links;
use station::Station;
use terminal::Terminal;

/// The longest configuration that the console takes.
const TEXT: usize = 60 << 10;

/// CLOCK_MONOTONIC.
struct Monotonic;

impl Clock for Monotonic {
    fn micros(&self) -> u64 {
        let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or((0, 0), |time| (time.tv_sec(), time.tv_nsec()));
        let part = |value: i64| u64::try_from(value).unwrap_or(0);
        part(time.0) * 1_000_000 + part(time.1) / 1_000
    }
}

fn main() -> ExitCode {
    let arguments = match arguments::read(lexopt::Parser::from_env()) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{}", arguments::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}\n\n{}", arguments::USAGE);
            return ExitCode::from(64);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", arguments.tap);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let stops = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    stops.thread_block()?;
    let signals = SignalFd::with_flags(&stops, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    // Before the device is looked at, so that no change is missed.
    let mut links = Links::listen()?;
    let tap = Tap::open(&arguments.tap)?;
    let now = Monotonic.now();
    let mut station = Station::new(now, tap, arguments).map_err(|_| "there is no room for the interface")?;

    let built_in = match &arguments.configuration {
        Some(path) => report::check(&station, path, &fs::read(path)?)?,
        None => "# Nothing is configured: `load config` takes a keepalived.conf\n".to_owned(),
    };
    let flash = Flash::open(arguments.store.as_deref())?;
    let mut store = Store::new(flash, 0, flash::SIZE as u32).map_err(|_| "the store has no room for two slots")?;
    let mut text = vec![0; TEXT];
    // As on any board, it is there as long as the program.
    let mut console = Console::new(&mut text, Box::leak(built_in.into_boxed_str()));
    console.boot(now, &mut store, &mut station);
    let mut terminal = Terminal::open();
    station.link(now, link::is_up(&arguments.tap));

    let mut stopping = false;
    while !(stopping && station.node.agent().is_idle()) {
        // Read before the queue is emptied, so that no deadline fires ahead of a frame that came before it.
        let next = station.turn(Monotonic.now());
        for event in std::mem::take(&mut station.events) {
            terminal.line(&report::line(&station, &event));
        }
        let turn = console.poll(Monotonic.now(), &mut terminal, &mut store, &mut station);
        terminal.flush();
        let stop = turn == Turn::Reboot || wait(&station, &links, &signals, &terminal, next, turn)?;
        if links.changed() {
            station.link(Monotonic.now(), link::is_up(&arguments.tap));
        }
        if stop && !stopping {
            // Hands over to the Backup; the addresses stay until it has been heard.
            station.node.shutdown(Monotonic.now());
            stopping = true;
        }
    }
    Ok(())
}

/// Waits until there is something to do; whether a signal wants it to stop.
fn wait(
    station: &Station,
    links: &Links,
    signals: &SignalFd,
    terminal: &Terminal,
    next: Option<Instant>,
    turn: Turn,
) -> Result<bool, Box<dyn Error>> {
    let pause = match turn {
        Turn::Again => Some(TimeSpec::new(0, 0)),
        _ => next.map(|at| {
            let micros = at.since(Monotonic.now()).as_micros();
            TimeSpec::new((micros / 1_000_000) as i64, (micros % 1_000_000 * 1_000) as i64)
        }),
    };
    let always = [station.tap.as_fd(), links.as_fd(), signals.as_fd()];
    let mut waited: Vec<PollFd<'_>> = always.into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    waited.extend(terminal.waits_for().into_iter().flatten().map(|(fd, what)| PollFd::new(fd, what)));
    match ppoll(&mut waited, pause, None) {
        Ok(_) | Err(nix::Error::EINTR) => Ok(signals.read_signal()?.is_some()),
        Err(error) => Err(error.into()),
    }
}
