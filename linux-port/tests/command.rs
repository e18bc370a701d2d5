//! The binary `steadfast` as a user meets it: what it prints where, and its exit statuses.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::{env, fs, process, thread};

use steadfast_linux::control::{Answer, Control, Reloaded, Verb};
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
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let waiting = thread::spawn(move || running.wait_with_output().unwrap());
    let mut set = PollSet::new();
    set.add(control.as_fd());
    let request = loop {
        match control.take_request() {
            Some(request) => break request,
            None => set.wait(None).unwrap(),
        };
    };
    let answer = match request.verb() {
        Verb::Status => Answer::Status(Snapshot::new(Vec::new(), Vec::new(), GlobalStatus::default())),
        Verb::Reload => Answer::Reload(Reloaded::new(applied, vec!["f:1:1: warning: dubious".into()])),
    };
    request.answer(answer);
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
    for command in ["status", "reload"] {
        let nobody = output(&[command, "--control", socket.text()]);
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
    let expected = "{\"schema\":1,\"routers\":[],\"interfaces\":[],\"global\":{\"counters\":{}}}\n";
    assert_eq!(stdout(&document), expected);
    let tables = asked(&mut control, &mut steadfast(&["status", "--control", socket.text()]), true);
    assert!(stdout(&tables).starts_with("ROUTER  INTERFACE  VRID"));
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
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut help = steadfast(&["--help"]);
    let mut running = help.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(running.stdout.take());
    let output = running.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
}
