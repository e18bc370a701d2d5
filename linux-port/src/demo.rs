//! `steadfast demo`: two routers and a client on a LAN of their own, so that anybody can watch an election, a
//! takeover and a hand-back within seconds. The routers are real agents, processes of this same program;
//! everything is built through the kernel's own interfaces, without another program, and vanishes with this
//! process. Here it is put together and cleared away; what happens on the LAN is in `scenario`.

mod lan;
mod namespace;
mod observer;
mod probe;
mod report;
mod router;
mod scenario;

use std::fs;
use std::io::{self, Write};
use std::panic;

use crate::sys::signal::{Signal, Signals};

use lan::{Lan, ROUTERS};
use namespace::Privilege;
use router::{Directory, Router};
use scenario::Stop;

/// How the demo ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All states were right.
    Right,
    /// A router was in a wrong state, or something failed.
    Wrong,
    /// This system does not allow what the demo needs.
    Forbidden,
}

impl Outcome {
    /// The exit status that says it.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Right => 0,
            Self::Wrong => 1,
            Self::Forbidden => 2,
        }
    }
}

/// Runs the demo: the timeline and the tables go to `out`, what is wrong to stderr. The calling process must
/// have one thread, and gives up its network for good.
pub fn run(out: &mut dyn Write) -> Outcome {
    let privilege = match namespace::isolate() {
        Ok(privilege) => privilege,
        Err(forbidden) => {
            complain(forbidden);
            return Outcome::Forbidden;
        }
    };
    match show(privilege, out) {
        Ok(()) => Outcome::Right,
        Err(stop) => {
            complain(stop);
            Outcome::Wrong
        }
    }
}

fn show(privilege: Privilege, out: &mut dyn Write) -> Result<(), Stop> {
    // Before any thread is made, so that no other one takes them.
    let signals = Signals::listen(&[Signal::Terminate, Signal::Interrupt, Signal::Hangup, Signal::Child])?;
    writeln!(out, "{}\n", how(privilege))?;
    let mut lan = Lan::new().map_err(|error| about("cannot build a LAN", &error))?;
    let directory = Directory::new().map_err(|error| about("cannot make a directory for the sockets", &error))?;
    remove_on_panic(&directory);
    let [a, b] = ROUTERS;
    let mut routers = [Router::new("a", a, 200, &directory)?, Router::new("b", b, 100, &directory)?];
    let played = scenario::play(&mut lan, &mut routers, &signals, out);
    match played {
        Ok(report) => {
            writeln!(out, "{report}")?;
            if report.missed() {
                writeln!(
                    out,
                    "All states were right. What is late has missed its bound because the machine was busy."
                )?;
            } else {
                writeln!(out, "All states were right, and all figures are within their bounds.")?;
            }
            Ok(())
        }
        Err(stop) => {
            if stop.concerns_agents() {
                for router in &routers {
                    complain(format_args!("what the agent of router {} has said:\n{}", router.name, router.log()));
                }
            }
            Err(stop)
        }
    }
}

fn how(privilege: Privilege) -> &'static str {
    match privilege {
        Privilege::Own => "A LAN in network namespaces of its own:",
        Privilege::UserNamespace => "A LAN in network namespaces of its own, without root, through a user namespace:",
    }
}

fn about(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// A panic may abort the process, without a chance for destructors. The agents and the namespaces are the
/// kernel's to clear away.
fn remove_on_panic(directory: &Directory) {
    let path = directory.path().to_owned();
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        // Nothing can be done about a failure.
        let _ = fs::remove_dir_all(&path);
        usual(info);
    }));
}

/// On stderr; if even that is closed, the exit status has to say it.
fn complain(problem: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "steadfast demo: {problem}");
}
