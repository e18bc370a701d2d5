//! The binary `steadfast` as a user meets it: what it prints where, and its exit statuses.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::{env, fs, process, thread};

use steadfast_linux::control::command::{Action, ServerCommand, ServerReport};
use steadfast_linux::control::{Answer, Control, Drained, Explained, Reloaded, Verb};
use steadfast_linux::status::lvs::{Health, Override};
use steadfast_linux::status::{GlobalStatus, Snapshot};
use steadfast_linux::sys::poll::PollSet;

fn steadfast(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.args(arguments);
    command
}

fn output(arguments: &[&str]) -> Output {
    steadfast(arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

/// A path for a control socket in a directory that goes away with the test.
struct Socket(PathBuf);

impl Socket {
    fn new(name: &str) -> Self {
        let directory = env::temp_dir().join(format!("steadfast-command-{}-{name}", process::id()));
        fs::create_dir(&directory).unwrap();
        Self(directory.join("control.sock"))
    }

    fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}

/// Runs `command` beside an agent that answers its one question.
fn asked(control: &mut Control, command: &mut Command, applied: bool) -> Output {
    beside(control, command, |verb| match verb {
        Verb::Status => Answer::Status(Snapshot::new(Vec::new(), Vec::new(), GlobalStatus::default())),
        Verb::Reload => Answer::Reload(Reloaded::new(applied, vec!["f:1:1: warning: dubious".into()])),
        Verb::Explain(router) => Answer::Explain((router == "gw").then(|| Explained::new("gw: active\n  \x1b[2J\n"))),
        Verb::Drain(Some(_)) | Verb::Resume(Some(_)) => Answer::Drain(Err("there is no such Virtual Router".into())),
        Verb::Drain(None) | Verb::Resume(None) => {
            let mut drained = Drained::new(vec!["gw".into(), "a\x1b[2J".into()]);
            drained.unnoted = (!applied).then(|| "no room".into());
            Answer::Drain(Ok(drained))
        }
        Verb::Server(_) => Answer::Server(Err("there is no real server".into())),
    })
}

/// Runs `command` beside an agent that answers all its questions.
fn beside(control: &mut Control, command: &mut Command, mut answer: impl FnMut(&Verb) -> Answer) -> Output {
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (ended, end) = UnixStream::pair().unwrap();
    let waiting = thread::spawn(move || {
        let output = running.wait_with_output().unwrap();
        drop(ended);
        output
    });
    let mut set = PollSet::new();
    set.add(control.as_fd());
    set.add(end.as_fd());
    while !set.is_ready(end.as_fd()) {
        set.wait(None).unwrap();
        while let Some(request) = control.take_request() {
            let answer = answer(request.verb());
            request.answer(answer);
        }
    }
    waiting.join().unwrap()
}

#[test]
fn help_and_version_go_to_stdout() {
    let help = output(&["--help"]);
    assert_eq!((help.status.code(), stderr(&help)), (Some(0), ""));
    assert!(stdout(&help).starts_with("Usage: steadfast COMMAND"));
    assert_eq!(stdout(&output(&["-V"])), concat!("steadfast ", env!("CARGO_PKG_VERSION"), "\n"));
    assert!(stdout(&output(&["check", "-h"])).starts_with("Usage: steadfast check"));
}

#[test]
fn a_wrong_command_line_is_one_sentence_and_64() {
    let wrong = output(&["run", "--fast"]);
    assert_eq!(wrong.status.code(), Some(64));
    assert_eq!((stdout(&wrong), stderr(&wrong)), ("", "steadfast: invalid option '--fast'; see `steadfast --help`\n"));
}

#[test]
fn without_an_agent_status_and_reload_say_so() {
    let socket = Socket::new("nobody");
    for command in [
        &["status"][..],
        &["counters"],
        &["explain", "gw"],
        &["reload"],
        &["drain", "gw"],
        &["resume", "--all"],
        &["server", "drain", "192.0.2.1 80", "10.0.0.1:80"],
    ] {
        let nobody = steadfast(command).args(["--control", socket.text()]).output().unwrap();
        assert_eq!(nobody.status.code(), Some(1));
        assert_eq!(stderr(&nobody), format!("steadfast: {}: no agent is running there\n", socket.text()));
    }
}

#[test]
fn status_prints_the_document_or_tables() {
    let socket = Socket::new("status");
    let mut control = Control::start(&socket.0).unwrap();
    let document = asked(&mut control, &mut steadfast(&["status", "--json", "--control", socket.text()]), true);
    assert_eq!(document.status.code(), Some(0));
    let expected = "{\"schema\":1,\"routers\":[],\"interfaces\":[],\"global\":{\"counters\":{}},\
                    \"services\":[],\"director\":{\"counters\":{}}}\n";
    assert_eq!(stdout(&document), expected);
    let tables = asked(&mut control, &mut steadfast(&["status", "--control", socket.text()]), true);
    assert!(stdout(&tables).starts_with("ROUTER  INTERFACE  VRID"));
}

#[test]
fn explain_and_counters_are_about_a_router_that_there_is() {
    let socket = Socket::new("explain");
    let mut control = Control::start(&socket.0).unwrap();
    let explained = asked(&mut control, &mut steadfast(&["explain", "gw", "--control", socket.text()]), true);
    // What would speak to the terminal is escaped.
    assert_eq!((explained.status.code(), stdout(&explained)), (Some(0), "gw: active\n  \\u{1b}[2J\n"));
    let counters = asked(&mut control, &mut steadfast(&["counters", "--control", socket.text()]), true);
    assert_eq!((counters.status.code(), stdout(&counters)), (Some(0), "global:\ndirector:\n"));
    for (command, reason) in [
        ("explain", "the agent refuses: there is no such Virtual Router"),
        ("counters", "there is no such Virtual Router"),
    ] {
        let nobody = asked(&mut control, &mut steadfast(&[command, "nobody", "--control", socket.text()]), true);
        assert_eq!((nobody.status.code(), stdout(&nobody)), (Some(1), ""));
        assert_eq!(stderr(&nobody), format!("steadfast: {}: {reason}\n", socket.text()));
    }
}

#[test]
fn reload_prints_the_findings_and_tells_by_its_status_whether_it_is_in_force() {
    let socket = Socket::new("reload");
    let mut control = Control::start(&socket.0).unwrap();
    let mut command = steadfast(&["reload", "--control", socket.text()]);
    let applied = asked(&mut control, &mut command, true);
    assert_eq!((applied.status.code(), stdout(&applied), stderr(&applied)), (Some(0), "f:1:1: warning: dubious\n", ""));
    let refused = asked(&mut control, &mut command, false);
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(stderr(&refused), "steadfast: the configuration is not valid; the old one stays in force\n");
}

#[test]
fn drain_and_resume_name_whom_they_concern_and_say_if_that_is_not_noted() {
    let socket = Socket::new("maintain");
    let mut control = Control::start(&socket.0).unwrap();
    for (word, what) in [("drain", "hands over, and stays out until it is resumed"), ("resume", "takes part again")] {
        let mut all = steadfast(&[word, "--all", "--control", socket.text()]);
        let lines = format!("gw: {what}\na\\u{{1b}}[2J: {what}\n");
        let done = asked(&mut control, &mut all, true);
        assert_eq!((done.status.code(), stdout(&done), stderr(&done)), (Some(0), &*lines, ""));
        let unnoted = asked(&mut control, &mut all, false);
        assert_eq!((unnoted.status.code(), stdout(&unnoted)), (Some(2), &*lines));
        assert_eq!(stderr(&unnoted), "steadfast: the next agent will not know of it: no room\n");
        let nobody = asked(&mut control, &mut steadfast(&[word, "nobody", "--control", socket.text()]), true);
        assert_eq!((nobody.status.code(), stdout(&nobody)), (Some(1), ""));
    }
}

/// The server of every test, with as many connections open.
fn served(active: u64, decree: Option<Override>) -> Answer {
    let mut report = ServerReport::new("192.0.2.1 80".into(), ([10, 0, 0, 1], 80).into(), Health::Up);
    (report.active_connections, report.open_connections) = (active, active);
    (report.r#override, report.weight) = (decree, Some(0));
    Answer::Server(Ok(report))
}

#[test]
fn server_says_how_the_server_is_now_or_why_not() {
    let socket = Socket::new("server");
    let mut control = Control::start(&socket.0).unwrap();
    let mut command = steadfast(&["server", "weight", "192.0.2.1 80", "10.0.0.1", "0", "--control", socket.text()]);
    let done = beside(&mut control, &mut command, |verb| {
        let (service, server) = ("192.0.2.1 80".into(), "10.0.0.1".into());
        assert_eq!(*verb, Verb::Server(ServerCommand { action: Action::Weight(0), service, server }));
        served(2, Some(Override::Weight(0)))
    });
    let line = "10.0.0.1:80 of 192.0.2.1 80: up, weighed 0, weight 0, 2 active and 0 inactive connections\n";
    assert_eq!((done.status.code(), stdout(&done), stderr(&done)), (Some(0), line, ""));
    let refused = asked(&mut control, &mut command, true);
    assert_eq!((refused.status.code(), stdout(&refused)), (Some(1), ""));
    assert!(stderr(&refused).ends_with(": the agent refuses: there is no real server\n"), "{}", stderr(&refused));
}

#[test]
fn drain_waits_for_the_last_connection() {
    let socket = Socket::new("drain");
    let mut control = Control::start(&socket.0).unwrap();
    let drain = |more: &[&str]| {
        let mut command = steadfast(&["server", "drain", "192.0.2.1 80", "10.0.0.1", "--control", socket.text()]);
        command.args(more);
        command
    };
    let mut actions = Vec::new();
    let done = beside(&mut control, &mut drain(&["--wait"]), |verb| {
        let Verb::Server(command) = verb else { panic!("{verb}") };
        actions.push(command.action);
        // One that was half open is there at the fourth look.
        let open = [2, 1, 0, 1, 0].get(actions.len() - 1).copied().unwrap_or(0);
        served(open, Some(Override::Drain))
    });
    assert_eq!(actions[..2], [Action::Drain, Action::Show]);
    assert!(actions.len() > 5 && actions[1..].iter().all(|action| *action == Action::Show), "{actions:?}");
    let line = "10.0.0.1:80 of 192.0.2.1 80: up, drained, weight 0, 0 active and 0 inactive connections\n";
    assert_eq!((done.status.code(), stdout(&done), stderr(&done)), (Some(0), line, ""));

    let late = beside(&mut control, &mut drain(&["--wait", "--timeout", "1"]), |_| served(1, Some(Override::Drain)));
    assert_eq!(late.status.code(), Some(2));
    assert!(stdout(&late).contains("1 active"), "{}", stdout(&late));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut help = steadfast(&["--help"]);
    let mut running = help.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(running.stdout.take());
    let output = running.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
}
