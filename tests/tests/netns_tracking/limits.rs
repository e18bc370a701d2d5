//! Everything that hangs, forks, overflows or is too large, all at once: memory stays what it was, words are clear, and
//! Advertisements are on time beside a loop that does nothing else.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use steadfast_tests::lab::clock::Stamp;
use steadfast_tests::lab::frames::discard;
use steadfast_tests::lab::lateness::{Bare, Lateness};

use super::*;

const INTERVAL: Duration = Duration::from_millis(100);
/// How much later than the bare loop the latest Advertisement may be: a Backup has more than two intervals of patience.
const ABOVE_MS: f64 = 100.0;
/// What the agent may have taken at its most while it read 10 MB, in kB, and what may be left of it.
const PEAK: u64 = 64 << 10;
const LEFT: u64 = 4 << 10;

/// A FIFO that nobody reads and that takes no byte more. It is full as long as this is held.
fn full_fifo(path: &Path) -> File {
    let made = Command::new("mkfifo").arg(path).status().expect("mkfifo runs");
    assert!(made.success());
    let flags = nix::libc::O_NONBLOCK;
    let mut fifo = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).expect("a FIFO opens");
    for length in [4096, 1] {
        loop {
            match fifo.write(&vec![b'\n'; length]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    fifo
}

/// 100,000 keywords that nobody knows, of 100 bytes each: 10 MB.
fn unknown_keywords() -> String {
    (0..100_000).map(|number| format!("keyword_{number:06} {:<84}\n", "that nobody knows")).collect()
}

/// A line of /proc/PID/status, in kB.
fn memory(pid: i32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
    line.trim_start_matches(':').trim_end_matches("kB").trim().parse().expect("a number")
}

pub(super) fn all_at_once(stage: &mut Stage) {
    stage.lan = Lan::new(&["one", "bare"]);
    let (forked, escaped) = (format!("62.{}", std::process::id()), format!("63.{}", std::process::id()));
    stage.program("hangs", "trap '' TERM\nwhile :; do sleep 1000; done");
    stage.program("forks", &format!("trap '' TERM\nwhile :; do sleep {forked} & sleep 0.02; done"));
    // What makes a session of its own means to outlive the script, as a daemon that a script starts does.
    stage.program("escapes", &format!("setsid sleep {escaped} &\nexit 0"));
    let fifo = stage.path("fifo");
    let _full = full_fifo(&fifo);
    let script = |name| format!("vrrp_script {name} {{\n    script FOLDER/{name}\n    timeout 1\n    weight -10\n}}\n");
    let scripts = ["hangs", "forks", "escapes"].map(script).concat();
    let uses = "track_script {\n    hangs\n    forks\n    escapes\n}";
    let fifo = format!("vrrp_notify_fifo {}", fifo.display());
    let text = |more: &str| {
        stage.text(&scripts, uses).replacen("script_user root", &format!("script_user root\n{fifo}"), 1) + more
    };
    let daemon = Daemon::start_with(stage.engine, &stage.lan, 0, &text(""));
    // Two of them have failed by now, and are being ended for the first time.
    stage.hear(Priority(80));
    let bare = Bare::start(&stage.lan.host(1).namespace, INTERVAL);
    let (mark, pid) = (stage.lan.capture.mark(), daemon.process.pid());
    let before = daemon.process.resident_kb();
    let huge = unknown_keywords();
    assert!(huge.len() >= 10_000_000);
    let again = || daemon.process.log().matches("configuration was read again").count();
    for round in 1..=2 {
        let begun = Stamp::now();
        daemon.reload(&text(&huge));
        wait_for("a reload", PATIENCE, || (again() == round).then_some(()));
        println!("figure: limits: 10 MB of unknown keywords are read in {:.0} ms", Stamp::now().ms_since(begun));
    }
    // As long as it takes a script to be ended and to begin anew.
    std::thread::sleep(Duration::from_secs(2));
    let (frames, adverts) = (stage.lan.capture.since(mark), stage.lan.capture.adverts(mark));
    bare.stop();
    let adverts: Vec<_> = adverts.iter().filter(|advert| advert.host == 0).collect();
    assert!(adverts.iter().all(|advert| advert.priority == 80), "{adverts:?}");
    let sent: Vec<_> = adverts.iter().map(|advert| advert.at).collect();
    let beside = frames.iter().filter(|frame| frame.host == 1 && discard(&frame.bytes).is_some());
    let beside: Vec<_> = beside.map(|frame| frame.at).collect();
    let (late, beside) = (Lateness::after_each_other(&sent, INTERVAL), Lateness::after_each_other(&beside, INTERVAL));
    println!("figure: limits: {late}; a bare loop beside it: {beside}");
    assert!(late.latest <= beside.latest + ABOVE_MS, "{late}; a bare loop beside it: {beside}");
    let (left, peak) = (daemon.process.resident_kb().saturating_sub(before), memory(pid, "VmHWM"));
    println!("figure: limits: {peak} kB at most, {left} kB more than before afterwards");
    assert!(peak <= PEAK && left <= LEFT, "{peak} kB at most, {left} kB left");
    let log = daemon.process.log();
    for words in [
        "warning: unknown keyword `keyword_000000`; it has no effect",
        "there are 99000 more findings",
        "nobody reads it and it is full",
        "VRRP_Script(hangs) failed (no exit within 1 s)",
    ] {
        assert!(log.contains(words), "{words}: {}", log.chars().take(4000).collect::<String>());
    }
    // One run of each at a time; what has left its group is nobody's.
    assert!(running(&forked) < 200);
    daemon.terminate();
    wait_for("the end of what was in its group", PATIENCE, || (running(&forked) == 0).then_some(()));
    for pid in stage.lan.host(0).namespace.pids() {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if line.split(|byte| *byte == 0).any(|word| word == escaped.as_bytes()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
