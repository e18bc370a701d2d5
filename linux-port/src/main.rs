//! The binary `steadfast`: reads the command line and calls the module that does it. Everything else is in
//! the library.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use steadfast_core::text::Printable;
use steadfast_linux::check;
use steadfast_linux::cli::{self, CheckOptions, Command, MaintenanceOptions, ServerOptions, StatusOptions};
use steadfast_linux::control::Drained;
use steadfast_linux::control::client::{self, AskError};
use steadfast_linux::daemon;
use steadfast_linux::demo;
use steadfast_linux::keepalived;
use steadfast_linux::lvs::real_server;
use steadfast_linux::status::table;
use steadfast_linux::timestamp::Timestamp;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    if Path::new(&name).file_name().is_some_and(|name| name == "keepalived") {
        return as_keepalived(arguments);
    }
    let mut arguments = arguments.peekable();
    if arguments.next_if(|word| word == "keepalived").is_some() {
        return as_keepalived(arguments);
    }
    match cli::parse(arguments) {
        Ok(Command::Status(options)) => status(&options),
        Ok(Command::Counters { control, router }) => counters(&control, router.as_deref()),
        Ok(Command::Explain { control, router }) => explain(&control, &router),
        Ok(Command::Reload { control }) => reload(&control),
        Ok(Command::Drain(MaintenanceOptions { control, router })) => {
            maintained(&control, client::drain(&control, router), "hands over, and stays out until it is resumed")
        }
        Ok(Command::Resume(MaintenanceOptions { control, router })) => {
            maintained(&control, client::resume(&control, router), "takes part again")
        }
        Ok(Command::Server(options)) => server(options),
        Ok(Command::RealServer(options)) => real_server::run(&options),
        Ok(Command::Demo) => ExitCode::from(demo::run(&mut std::io::stdout()).exit_status()),
        Ok(Command::Run(options)) => ExitCode::from(daemon::run(&options)),
        Ok(Command::Keywords) => print(&steadfast_linux::keywords::markdown()),
        Ok(Command::Check(options)) => check(&options),
        Ok(Command::Help(text)) => print(text),
        Ok(Command::Version) => print(concat!("steadfast ", env!("CARGO_PKG_VERSION"), "\n")),
        Err(error) => {
            complain(error);
            ExitCode::from(cli::EXIT_USAGE)
        }
    }
}

fn as_keepalived(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match cli::keepalived::parse(arguments) {
        Ok(invocation) => keepalived::run(invocation),
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}

fn check(options: &CheckOptions) -> ExitCode {
    let file = match cli::find_config(options.config.as_deref()) {
        Ok(file) => file,
        Err(problem) => {
            complain(problem);
            return ExitCode::from(check::EXIT_ERRORS);
        }
    };
    match check::run(&file, options, &mut std::io::stdout().lock()) {
        Ok(status) => ExitCode::from(status),
        // A reader that has seen enough does not make the file any better.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            complain(format_args!("cannot print: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn status(options: &StatusOptions) -> ExitCode {
    match client::status(&options.control) {
        Ok((document, _)) if options.json => print(&document),
        Ok((_, snapshot)) => print(&table::table(&snapshot, Timestamp::now())),
        Err(error) => refused(&options.control, &error),
    }
}

fn counters(control: &Path, router: Option<&str>) -> ExitCode {
    let snapshot = match client::status(control) {
        Ok((_, snapshot)) => snapshot,
        Err(error) => return refused(control, &error),
    };
    table::counters(&snapshot, router).map_or_else(
        || {
            complain(format_args!("{}: there is no such Virtual Router", control.display()));
            ExitCode::FAILURE
        },
        |text| print(&text),
    )
}

fn explain(control: &Path, router: &str) -> ExitCode {
    match client::explain(control, router) {
        Ok(explained) => {
            let lines: String = explained.lines.iter().map(|line| format!("{}\n", Printable(line))).collect();
            print(&lines)
        }
        Err(error) => refused(control, &error),
    }
}

fn refused(control: &Path, error: &AskError) -> ExitCode {
    complain(format_args!("{}: {error}", control.display()));
    ExitCode::FAILURE
}

fn reload(control: &Path) -> ExitCode {
    match client::reload(control) {
        Ok(reloaded) => {
            let findings: String = reloaded.findings.iter().map(|finding| format!("{finding}\n")).collect();
            let printed = print(&findings);
            if reloaded.applied {
                printed
            } else {
                complain("the configuration is not valid; the old one stays in force");
                ExitCode::from(2)
            }
        }
        Err(error) => refused(control, &error),
    }
}

fn maintained(control: &Path, done: Result<Drained, AskError>, what: &str) -> ExitCode {
    match done {
        Ok(Drained { routers, unnoted, .. }) => {
            let lines: String = routers.iter().map(|router| format!("{}: {what}\n", Printable(router))).collect();
            let printed = print(&lines);
            let Some(problem) = unnoted else { return printed };
            complain(format_args!("the next agent will not know of it: {}", Printable(&problem)));
            ExitCode::from(2)
        }
        Err(error) => refused(control, &error),
    }
}

fn server(options: ServerOptions) -> ExitCode {
    let ServerOptions { control, command, wait, timeout } = options;
    let done = client::server(&control, command.clone());
    let done = if wait { done.and_then(|_| client::wait_until_idle(&control, &command, timeout)) } else { done };
    match done {
        Ok(report) => {
            let printed = print(&format!("{report}\n"));
            if wait && !report.is_idle() { ExitCode::from(2) } else { printed }
        }
        Err(error) => refused(&control, &error),
    }
}

/// Prints to stdout. A reader that has seen enough (`steadfast status | head`) is no failure.
fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            complain(format_args!("cannot print: {error}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// One line on stderr; if even that is closed, the exit status has to say it.
fn complain(problem: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "steadfast: {problem}");
}
