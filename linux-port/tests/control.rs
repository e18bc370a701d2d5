//! The control socket from outside: clients that behave, and clients that are slow, silent, endless, many
//! or gone. What is asserted for the hostile ones is what the agent's loop notices of them, and that
//! others are still served.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use steadfast_linux::control::client::{self, AskError};
use steadfast_linux::control::{Answer, Control, Explained, Reloaded, Request, Verb};
use steadfast_linux::status::{GlobalStatus, InterfaceStatus, Snapshot};
use steadfast_linux::sys::poll::PollSet;

/// A directory that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("steadfast-control-{}-{name}", process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("run/control.sock")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Stands for the agent's loop: answers what it is asked, and counts.
struct Agent {
    questions: Arc<AtomicUsize>,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    fn start(path: &Path, interfaces: usize) -> Self {
        let mut control = Control::start(path).unwrap();
        let (stop, stopped) = UnixStream::pair().unwrap();
        let questions = Arc::new(AtomicUsize::new(0));
        let asked = Arc::clone(&questions);
        let thread = thread::spawn(move || {
            let mut set = PollSet::new();
            set.add(control.as_fd());
            set.add(stopped.as_fd());
            loop {
                set.wait(None).unwrap();
                if set.is_ready(stopped.as_fd()) {
                    return;
                }
                while let Some(request) = control.take_request() {
                    let count = asked.fetch_add(1, Ordering::SeqCst) + 1;
                    let answer = match request.verb() {
                        Verb::Status => Answer::Status(snapshot(count, interfaces)),
                        Verb::Reload => Answer::Reload(Reloaded::new(false, vec!["f:1:1: error: no".into()])),
                        Verb::Explain(router) => Answer::Explain(Some(Explained::new(router))),
                        Verb::Drain(_) | Verb::Resume(_) => Answer::Drain(Err("no".into())),
                        Verb::Server(command) => Answer::Server(Err(format!("no service {:?}", command.service))),
                    };
                    request.answer(answer);
                }
            }
        });
        Self { questions, stop: Some(stop), thread: Some(thread) }
    }

    fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A document that says how many questions there were, as large as `interfaces` makes it.
fn snapshot(count: usize, interfaces: usize) -> Snapshot {
    let interface =
        InterfaceStatus { name: "eth0".into(), index: None, up: true, ipv4_source: None, ipv6_source: None };
    let counters = [("questions", count as u64)].into_iter().collect();
    Snapshot::new(Vec::new(), vec![interface; interfaces], GlobalStatus { counters })
}

fn questions(path: &Path) -> u64 {
    client::status(path).unwrap().1.global.counters.get("questions").unwrap()
}

/// Everything until the end, which may be a reset.
fn read_all(stream: &mut UnixStream) -> String {
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => text.extend_from_slice(&chunk[..count]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                break;
            }
        }
    }
    String::from_utf8(text).unwrap()
}

fn connect(path: &Path, bytes: &[u8]) -> UnixStream {
    let mut stream = UnixStream::connect(path).unwrap();
    // The answer, and the end, may come before all of a long request is written.
    if let Err(error) = stream.write_all(bytes) {
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
    stream
}

#[test]
fn the_socket_is_private_and_goes_with_the_agent() {
    let scratch = Scratch::new("private");
    let path = scratch.socket();
    let agent = Agent::start(&path, 1);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let directory = fs::metadata(path.parent().unwrap()).unwrap();
    assert_eq!(directory.permissions().mode() & 0o022, 0, "nobody else may write to the directory");
    drop(agent);
    assert!(!path.exists());
}

#[test]
fn questions_are_answered_with_documents() {
    let scratch = Scratch::new("answers");
    let path = scratch.socket();
    let _agent = Agent::start(&path, 3);
    let (document, snapshot) = client::status(&path).unwrap();
    assert!(document.starts_with(r#"{"schema":1,"routers":[],"interfaces":[{"#) && document.ends_with("}\n"));
    assert_eq!(snapshot.interfaces.len(), 3);
    assert_eq!(client::reload(&path).unwrap(), Reloaded::new(false, vec!["f:1:1: error: no".into()]));
    // A line that ends with the stream, as `printf status | nc -NU` sends it.
    let mut stream = connect(&path, b" status\r");
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(read_all(&mut stream).starts_with(r#"{"schema":1,"routers""#));
}

#[test]
fn a_large_answer_arrives_whole() {
    let scratch = Scratch::new("large");
    let path = scratch.socket();
    let _agent = Agent::start(&path, 50_000);
    let (document, snapshot) = client::status(&path).unwrap();
    assert_eq!(snapshot.interfaces.len(), 50_000);
    assert!(document.len() > 2_000_000);
}

#[test]
fn without_an_agent_there_is_a_clear_sentence() {
    let scratch = Scratch::new("nobody");
    let sentence = client::status(&scratch.socket()).unwrap_err().to_string();
    assert_eq!(sentence, "no agent is running there");
}

#[test]
fn a_dead_agents_socket_is_replaced_a_living_ones_is_not() {
    let scratch = Scratch::new("stale");
    let path = scratch.socket();
    fs::create_dir(path.parent().unwrap()).unwrap();
    drop(UnixListener::bind(&path).unwrap());
    let agent = Agent::start(&path, 1);
    assert_eq!(questions(&path), 1);
    assert_eq!(Control::start(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
    assert!(questions(&path) > 1, "the failed start left the living one alone");
    drop(agent);

    fs::write(&path, "precious").unwrap();
    assert_eq!(Control::start(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_socket_that_took_our_place_survives_our_end() {
    let scratch = Scratch::new("replaced");
    let path = scratch.socket();
    let agent = Agent::start(&path, 1);
    let inode = fs::metadata(&path).unwrap().ino();
    // The successor binds before the old file goes, so that it cannot get the old inode.
    let aside = scratch.0.join("successor");
    let _successor = UnixListener::bind(&aside).unwrap();
    fs::rename(&aside, &path).unwrap();
    assert_ne!(fs::metadata(&path).unwrap().ino(), inode);
    drop(agent);
    assert!(path.exists());
}

#[test]
fn nonsense_is_refused_without_asking_the_agent() {
    const UNKNOWN: &str =
        "unknown request; known are: status, explain, reload, drain, drain-all, resume, resume-all, server";
    let scratch = Scratch::new("nonsense");
    let path = scratch.socket();
    let agent = Agent::start(&path, 1);
    for (bytes, error) in [
        (&b"\n"[..], UNKNOWN),
        (b"STATUS\n", UNKNOWN),
        (b"status status\n", UNKNOWN),
        (b"\xff\xfe\x00\n", UNKNOWN),
        (&[b'x'; 4096], "the request is too long"),
        (&[b'\n'; 1 << 16], UNKNOWN),
    ] {
        let answer = read_all(&mut connect(&path, bytes));
        assert_eq!(answer, format!("{{\"schema\":1,\"error\":\"{error}\"}}\n"));
    }
    assert_eq!(agent.questions(), 0);
    // The asking side makes a sentence of it.
    let impostor = scratch.0.join("impostor");
    let listener = UnixListener::bind(&impostor).unwrap();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"{\"schema\":1,\"error\":\"not \\u001btoday\"}\n").unwrap();
    });
    let error = client::status(&impostor).unwrap_err();
    assert!(matches!(error, AskError::Refused(_)));
    assert_eq!(error.to_string(), "the agent refuses: not \\u{1b}today");
    thread.join().unwrap();
}

#[test]
fn an_endless_line_ends_at_once() {
    let scratch = Scratch::new("endless");
    let path = scratch.socket();
    let agent = Agent::start(&path, 1);
    let mut stream = UnixStream::connect(&path).unwrap();
    let mut sent = 0;
    let error = loop {
        match stream.write(&[b'a'; 4096]) {
            Ok(count) => sent += count,
            Err(error) => break error,
        }
        assert!(sent < 16 << 20, "an endless line is read without end");
    };
    assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
    assert_eq!(agent.questions(), 0);
}

#[test]
fn a_client_that_dribbles_is_cut_off_and_delays_nobody() {
    let scratch = Scratch::new("dribble");
    let path = scratch.socket();
    let agent = Agent::start(&path, 1);
    let mut slow = UnixStream::connect(&path).unwrap();
    let began = Instant::now();
    let dribbling = thread::spawn(move || {
        // One byte at a time, each well within any timeout per byte.
        while slow.write_all(b"s").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
        began.elapsed()
    });
    while !dribbling.is_finished() {
        let asked = Instant::now();
        client::status(&path).unwrap();
        assert!(asked.elapsed() < Duration::from_secs(1));
    }
    let survived = dribbling.join().unwrap();
    assert!(survived < Duration::from_secs(5), "{survived:?}");
    drop(agent);
}

#[test]
fn silent_crowds_do_not_keep_others_out() {
    let scratch = Scratch::new("crowd");
    let path = scratch.socket();
    let agent = Agent::start(&path, 1);
    let crowd: Vec<_> = (0..100).map(|_| UnixStream::connect(&path).unwrap()).collect();
    let asked = Instant::now();
    assert_eq!(questions(&path), 1);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    // The first ones were pushed out: their streams have ended.
    assert_eq!(read_all(&mut { crowd }[0]), "");
    drop(agent);
}

#[test]
fn who_does_not_read_its_answer_is_cut_off() {
    let scratch = Scratch::new("deaf");
    let path = scratch.socket();
    let _agent = Agent::start(&path, 50_000);
    let began = Instant::now();
    let mut deaf: Vec<_> = (0..16).map(|_| connect(&path, b"status\n")).collect();
    // All places are taken by clients that read nothing; somebody else waits until they are cut off.
    let (document, _) = client::status(&path).unwrap();
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    for stream in &mut deaf {
        assert!(read_all(stream).len() < document.len(), "what fitted into the socket, no more");
    }
}

#[test]
fn clients_that_leave_before_their_answer_are_forgotten() {
    let scratch = Scratch::new("gone");
    let path = scratch.socket();
    let agent = Agent::start(&path, 1_000);
    for _ in 0..200 {
        drop(connect(&path, b"status\n"));
    }
    assert!(questions(&path) >= 1);
    drop(agent);
}

#[test]
fn however_many_ask_the_agent_is_asked_twenty_times_a_second() {
    let scratch = Scratch::new("greedy");
    let path = scratch.socket();
    let agent = Agent::start(&path, 1);
    let began = Instant::now();
    let mut answers = 0;
    thread::scope(|scope| {
        let greedy: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut answers = 0;
                    while began.elapsed() < Duration::from_secs(1) {
                        client::status(&path).unwrap();
                        answers += 1;
                    }
                    answers
                })
            })
            .collect();
        answers = greedy.into_iter().map(|thread| thread.join().unwrap()).sum();
    });
    let allowed = 1 + began.elapsed().as_millis() as usize / 50;
    assert!(agent.questions() <= allowed, "{} questions, {allowed} allowed", agent.questions());
    assert!(answers > agent.questions(), "{answers} answers, shared");
}

fn next_request(control: &mut Control) -> Request {
    let mut set = PollSet::new();
    set.add(control.as_fd());
    loop {
        match control.take_request() {
            Some(request) => return request,
            None => set.wait(None).unwrap(),
        };
    }
}

#[test]
fn an_agent_that_does_not_answer_is_reported() {
    let scratch = Scratch::new("hung");
    let path = scratch.socket();
    let mut control = Control::start(&path).unwrap();
    let error = client::status(&path).unwrap_err().to_string();
    assert_eq!(error, "the agent refuses: the agent did not answer in time");
    // It was busy; the late answer is for nobody, the next question gets a new one.
    let asking = thread::spawn({
        let path = path.clone();
        move || client::status(&path).unwrap().1
    });
    next_request(&mut control).answer(Answer::Status(snapshot(1, 0)));
    next_request(&mut control).answer(Answer::Status(snapshot(2, 0)));
    assert_eq!(asking.join().unwrap().global.counters.get("questions"), Some(2));
    // A question that is dropped is answered too.
    let asking = thread::spawn(move || client::status(&path).unwrap_err().to_string());
    drop(next_request(&mut control));
    assert_eq!(asking.join().unwrap(), "the agent refuses: the agent cannot answer this now");
}
