//! Being called as `keepalived`: what the words of its command line come to. Its pid files are in [`pidfile`], its
//! dumps in [`dump`].

pub mod dump;
mod pidfile;
mod scripts;

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use log::{info, warn};

use crate::cli::keepalived::{HELP, Invocation, Options, VERSION};
use crate::daemon;
use crate::logging::Target;
use crate::plan::{self, Loaded, Reading};
use crate::supervisor::Supervisor;
use crate::sys::background::{self, Side, Starting};

use pidfile::{PidFile, Refused};

/// Exit status of a second agent with the same pid file, as keepalived's.
const EXIT_RUNNING: u8 = 0;

/// Exit status of a test whose file cannot be read.
const EXIT_CANNOT_RUN: u8 = 4;
/// Exit status of a test that finds mistakes. That only keepalived has what the file asks for is none of them.
const EXIT_MISTAKES: u8 = 5;
/// Exit status of a test that finds scripts which nobody guards; before mistakes, as with keepalived.
const EXIT_INSECURE: u8 = 6;

/// Does what the command line asks for.
pub fn run(invocation: Invocation) -> ExitCode {
    match invocation {
        Invocation::Run(options) => start(*options),
        Invocation::Test { config, log, reading } => test(&config, log.as_deref(), &reading),
        Invocation::SignalNumber(_, Some(number)) => print(io::stdout(), &format!("{number}\n")),
        Invocation::SignalNumber(name, None) => {
            print(io::stderr(), &format!("Unknown sigfunc {name}\n"));
            ExitCode::FAILURE
        }
        // As keepalived does; those who ask read either.
        Invocation::Version => print(io::stderr(), VERSION),
        Invocation::Help => print(io::stdout(), HELP),
    }
}

fn print(mut out: impl Write, text: &str) -> ExitCode {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// `keepalived -t`.
fn test(config: &Path, log: Option<&Path>, reading: &Reading) -> ExitCode {
    let Loaded { plan, findings } = plan::load_as(config, reading);
    let written = match log {
        None => findings.write_text(&mut io::stderr().lock()),
        Some(path) => File::create(path).and_then(|mut file| findings.write_text(&mut file)),
    };
    if let (Err(error), Some(path)) = (written, log) {
        complain(&format!("{}: {error}", path.display()));
    }
    ExitCode::from(match plan {
        None => EXIT_CANNOT_RUN,
        Some(_) if scripts::are_unguarded(config, reading) => {
            complain("scripts are run, and `enable_script_security` is not set");
            EXIT_INSECURE
        }
        Some(_) if findings.has_mistakes() => EXIT_MISTAKES,
        Some(_) => 0,
    })
}

/// Being the agent, in the background or not.
fn start(mut options: Options) -> ExitCode {
    // The background has another directory.
    if let Some(config) = &mut options.run.config
        && let Ok(absolute) = std::path::absolute(&*config)
    {
        *config = absolute;
    }
    let supervisor = Supervisor::find();
    let mut starting = None;
    if !options.foreground {
        match background::divide() {
            Ok(Side::Parent(child)) => return ExitCode::from(child.exit_status()),
            Ok(Side::Child(parent)) => starting = Some(parent),
            Err(error) => return complain(&format!("cannot go into the background: {error}")),
        }
    }
    let status = agent(&options, supervisor, &mut starting);
    if let Some(starting) = starting {
        starting.over(status);
    }
    ExitCode::from(status)
}

/// Runs the agent; its exit status. Once it runs, whoever waits for its start is told.
fn agent(options: &Options, supervisor: io::Result<Supervisor>, starting: &mut Option<Starting>) -> u8 {
    let pid = match PidFile::take(&options.pid) {
        Ok(pid) => Some(pid),
        Err(Refused::System(error)) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            complain(&format!("{}: {error}; it goes on without a pid file", options.pid.display()));
            None
        }
        Err(Refused::Running(other)) => {
            complain(&format!("{}: process {other} is running already", options.pid.display()));
            return EXIT_RUNNING;
        }
        Err(Refused::System(error)) => {
            complain(&format!("{}: {error}", options.pid.display()));
            return 1;
        }
    };
    let mut files: Vec<PidFile> = pid.into_iter().collect();
    daemon::run_as(&options.run, &options.log, supervisor, |running| {
        options.remarks.iter().for_each(|remark| info!("{remark}"));
        for (path, wanted) in [(&options.vrrp_pid, running.routers), (&options.checkers_pid, running.services)] {
            if !wanted {
                continue;
            }
            match PidFile::take(path) {
                Ok(file) => files.push(file),
                Err(Refused::Running(other)) => warn!("{}: process {other} has it", path.display()),
                Err(Refused::System(error)) => warn!("{}: {error}", path.display()),
            }
        }
        if let Some(starting) = starting.take() {
            if let Err(error) = background::close_streams(options.log == Target::Stderr) {
                warn!("the standard streams stay open: {error}");
            }
            let _ = std::env::set_current_dir("/");
            starting.over(0);
        }
    })
}

fn complain(problem: &str) -> ExitCode {
    print(io::stderr(), &format!("keepalived: {problem}\n"));
    ExitCode::FAILURE
}
