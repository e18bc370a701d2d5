//! `steadfast-tap`: the firmware as an ordinary process on a TAP device, for makers who want to try it in a minute, and
//! for tests. It is a board like any other: a device, a clock, a console, and a loop; what a board's firmware does
//! beyond that is in `steadfast-firmware`. Here is the loop, and what Linux gives to it.

mod arguments;
mod configure;
mod device;
mod link;
mod report;
mod station;

use std::error::Error;
use std::fs;
use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use steadfast_firmware::hardware::Clock;

use arguments::Arguments;
use device::Tap;
use link::Links;
use station::Station;

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
    let text = arguments.configuration.as_ref().map(fs::read).transpose()?;

    // Before the device is looked at, so that no change is missed.
    let mut links = Links::listen()?;
    let tap = Tap::open(&arguments.tap)?;
    let now = Monotonic.now();
    let mut station = Station::new(now, tap, arguments.mac, &arguments.addresses)
        .map_err(|_| "there is no room for the interface")?;
    if let (Some(path), Some(text)) = (&arguments.configuration, &text) {
        configure::apply(&mut station, now, &arguments.interface, path, text)?;
    }
    station.link(now, link::is_up(&arguments.tap));

    let mut stopping = false;
    while !(stopping && station.node.agent().is_idle()) {
        // Read before the queue is emptied, so that no deadline fires ahead of a frame that came before it.
        let next = station.turn(Monotonic.now());
        let pause = next.map(|at| {
            let micros = at.since(Monotonic.now()).as_micros();
            TimeSpec::new((micros / 1_000_000) as i64, (micros % 1_000_000 * 1_000) as i64)
        });
        let mut waited =
            [station.tap().as_fd(), links.as_fd(), signals.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match ppoll(&mut waited, pause, None) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        if links.changed() {
            station.link(Monotonic.now(), link::is_up(&arguments.tap));
        }
        if signals.read_signal()?.is_some() {
            // Hands over to the Backup; the addresses stay until it has been heard.
            station.node.shutdown(Monotonic.now());
            stopping = true;
        }
    }
    Ok(())
}
