//! Notifications: the same file under Steadfast and under keepalived tells the same in the same order; a state is told
//! when it is true; and whoever does not listen, hangs or forks without end costs nobody else anything.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use steadfast_tests::lab::clock::{Stamp, wait_for};
use steadfast_tests::lab::engine::{Daemon, Engine, available};
use steadfast_tests::lab::lateness::Lateness;
use steadfast_tests::lab::namespace;
use steadfast_tests::lab::process::Process;
use steadfast_tests::lab::spec::Spec;
use steadfast_tests::lab::{Lan, frames};

const PATIENCE: Duration = Duration::from_secs(10);

fn main() {
    let arguments = Arguments::from_args();
    if let Err(why) = namespace::permitted(&[]) {
        println!("skipped: {why}");
        return;
    }
    let mut trials = Vec::new();
    let mut add = |name: &str, test: fn()| {
        trials.push(Trial::test(name, move || {
            test();
            Ok(())
        }));
    };
    match available(Engine::Keepalived) {
        Ok(()) => {
            add("instances-are-told-of-as-by-keepalived", instances_as_keepalived);
            add("a-group-is-told-of-as-by-keepalived", group_as_keepalived);
            add("a-start-without-a-link-is-told-of-as-by-keepalived", down_as_keepalived);
            add("mail-has-the-subjects-of-keepalived", mail_as_keepalived);
            add("what-a-tracker-keeps-from-its-begin-is-told-of-as-by-keepalived", tracker_as_keepalived);
            add("priorities-are-told-as-by-keepalived", priorities_as_keepalived);
        }
        Err(why) => println!("skipped: as-keepalived: {why}"),
    }
    add("a-state-is-told-when-it-is-true", told_when_true);
    add("a-slow-script-is-not-overtaken", not_overtaken);
    add("hung-and-forking-scripts-cost-nobody-anything", hung_and_forking);
    add("a-full-fifo-delays-nothing-and-what-is-lost-is-counted", full_fifo);
    add("scripts-of-the-start-and-the-end-and-of-a-fifo", start_and_end);
    add("an-active-of-less-right-is-told-of", lower_priority);
    add("servers-and-quorums-are-told-of", servers);
    add("reloads-repeat-states-if-asked-to-and-leak-nothing", reloads);
    libtest_mimic::run(&arguments, trials).exit();
}

/// A machine, what it is to run, and what its scripts have written.
struct Lab {
    lan: Lan,
}

impl Lab {
    fn new() -> Self {
        Self::with(&["told"])
    }

    /// The same with other machines on the LAN.
    fn with(names: &[&str]) -> Self {
        let lab = Self { lan: Lan::new(names) };
        // A second network, of which the other end of the cable is all there is.
        let hub = lab.lan.hub();
        hub.ip(&format!("link add q0 type veth peer name eth1 netns {}", lab.lan.host(0).namespace.name()));
        hub.ip("link set q0 up");
        lab.lan.host(0).namespace.ip("addr add 10.8.0.1/24 dev eth1");
        lab.lan.host(0).namespace.ip("link set eth1 up");
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.lan.folder().join(name)
    }

    /// A script in a file of its own; what it echoes goes to `NAME.said`.
    fn script(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\nexec >>{0}.said 2>&1\n{text}\n", path.display())).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a script can be made executable");
        path.display().to_string()
    }

    /// The lines that a script has echoed.
    fn said(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(&format!("{name}.said"))).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// A FIFO that is there before the agent, and its reader.
    fn fifo(&self) -> (String, Process) {
        let path = self.path("fifo");
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
        // Open for both, so that it never comes to an end: keepalived closes it at a reload.
        let read = format!("exec cat <>{}", path.display());
        let reader = Process::start(Command::new("sh").args(["-c", &read]), &self.path("lines"));
        (path.display().to_string(), reader)
    }

    fn start(&self, engine: Engine, text: &str) -> Daemon {
        Daemon::start_with(engine, &self.lan, 0, text)
    }

    fn wait_said(&self, name: &str, what: &str, count: usize) {
        let found = || self.said(name).iter().filter(|line| line.contains(what)).count();
        wait_for(&format!("{count} times `{what}` by {name}"), PATIENCE, || (found() >= count).then_some(()));
    }
}

fn globals(lines: &str) -> String {
    format!("global_defs {{\n    script_user root\n{lines}\n}}\n")
}

fn instance(name: &str, interface: &str, vrid: u8, extra: &str) -> String {
    let spec = Spec::v3(20).with(extra);
    let address = format!("10.7.{vrid}.1/24");
    spec.instance(name, vrid, 100, &[&address]).replace("interface eth0", &format!("interface {interface}"))
}

/// All kinds of scripts of an instance or group, each of which echoes its arguments after this first one.
fn all_kinds(script: &str, whose: &str) -> String {
    ["master", "backup", "fault", "stop"]
        .map(|state| format!("notify_{state} \"{script} {whose} {state} 'as written'\"\n"))
        .concat()
        + &format!("notify \"{script} {whose} any\"\n")
}

/// What was told, by whom it is about, in order; and by phase which lines scripts wrote, in any order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    lines: BTreeMap<String, Vec<String>>,
    /// In which phases a group was told of after its members.
    group_last: Vec<bool>,
    scripts: Vec<Vec<String>>,
}

/// A part of the story: what is done, and the last line that it brings.
struct Phase<'a> {
    act: &'a dyn Fn(&Lab, &Daemon),
    brings: &'a [&'a str],
    /// Lines for which there is no script of their own.
    generic: usize,
}

fn tell(engine: Engine, text: &dyn Fn(&Lab, &str) -> String, before: fn(&Lab), phases: &[Phase<'_>]) -> Told {
    let lab = Lab::new();
    before(&lab);
    lab.script("script", "echo \"$@\"");
    let (fifo, reader) = lab.fifo();
    let mut daemon = lab.start(engine, &text(&lab, &fifo));
    let mut told = Told::default();
    let (mut lines, mut scripts) = (0, 0);
    for phase in phases {
        (phase.act)(&lab, &daemon);
        for line in phase.brings.iter().flat_map(|line| with_members(line)) {
            let found = || reader.log().lines().skip(lines).any(|found| found == line);
            wait_for(&format!("{engine:?}: {line}"), PATIENCE, || found().then_some(()));
        }
        let new: Vec<String> = reader.log().lines().skip(lines).map(str::to_owned).collect();
        lines += new.len();
        let grouped = new.iter().rfind(|line| !line.starts_with("INSTANCE \"C\""));
        told.group_last.push(grouped.is_some_and(|line| line.starts_with("GROUP")));
        for line in &new {
            let whose = line.split(' ').nth(1).unwrap_or("").to_owned();
            told.lines.entry(whose).or_default().push(line.clone());
        }
        // One generic script for each line, and one for its state.
        let expected = scripts + 2 * new.len() - phase.generic;
        wait_for("scripts", PATIENCE, || (lab.said("script").len() >= expected).then_some(()));
        let mut new = lab.said("script").split_off(scripts);
        scripts += new.len();
        if engine == Engine::Steadfast {
            in_order(&new);
        }
        new.sort();
        told.scripts.push(new);
    }
    daemon.process.wait(PATIENCE);
    assert_eq!(reader.log().lines().count(), lines, "{engine:?}: {}", reader.log());
    told
}

/// A line about the group, and those about its members: keepalived may tell of the group before the last of them.
fn with_members(line: &str) -> Vec<String> {
    let mut lines = vec![line.to_owned()];
    if let Some(state) = line.strip_prefix("GROUP \"G\" ").and_then(|rest| rest.strip_suffix(" 0")) {
        lines.extend(["A", "B"].map(|member| format!("INSTANCE \"{member}\" {state} 100")));
    }
    lines
}

/// Of each instance and group, the script of a state comes before the generic one.
#[track_caller]
fn in_order(said: &[String]) {
    for (at, line) in said.iter().enumerate() {
        let words: Vec<&str> = line.split(' ').collect();
        if words[1] == "any" {
            let (whose, state) = (words[0], words[4].to_lowercase());
            let own = format!("{whose} {state} as written");
            let before = said[..at].iter().filter(|line| **line == own).count();
            let generic = said[..=at].iter().filter(|other| *other == line).count();
            let has_own = said.contains(&own);
            assert!(!has_own || before >= generic, "{own} not before {line}: {said:?}");
        }
    }
}

#[track_caller]
fn assert_same(text: &dyn Fn(&Lab, &str) -> String, before: fn(&Lab), phases: &[Phase<'_>]) {
    let [ours, theirs] = [Engine::Steadfast, Engine::Keepalived].map(|engine| tell(engine, text, before, phases));
    assert_eq!(ours, theirs);
}

fn terminate(_: &Lab, daemon: &Daemon) {
    daemon.terminate();
}

fn reload(lab: &Lab, daemon: &Daemon, change: impl Fn(String) -> String) {
    let mut paths = fs::read_dir(lab.lan.folder()).expect("the folder").flatten().map(|entry| entry.path());
    let path = paths.find(|path| path.extension().is_some_and(|end| end == "conf")).expect("a configuration");
    let text = fs::read_to_string(path).expect("a configuration");
    let said = || daemon.process.log().matches(daemon.engine().reloaded()).count();
    let before = said();
    daemon.reload(&change(text));
    wait_for("a reload", PATIENCE, || (said() > before).then_some(()));
}

fn instances_as_keepalived() {
    let text = |lab: &Lab, fifo: &str| {
        let script = lab.path("script").display().to_string();
        let kinds = |name: &str| all_kinds(&script, name);
        globals(&format!("vrrp_notify_fifo {fifo}"))
            + &instance("A", "eth0", 51, &kinds("A"))
            + &instance("B", "eth0", 52, &(kinds("B") + &format!("notify_deleted \"{script} B deleted 'as written'\"")))
            + &instance("C", "eth1", 53, &kinds("C"))
    };
    let without = |text: String| {
        let begin = text.find("vrrp_instance B").expect("B");
        let end = text.find("vrrp_instance C").expect("C");
        text[..begin].to_owned()
            + &text[end..]
                .replace("vrrp_instance C", "vrrp_instance D")
                .replace("id 53", "id 54")
                .replace("10.7.53", "10.7.54")
    };
    assert_same(
        &text,
        |_| {},
        &[
            Phase {
                act: &|_, _| {},
                brings: &[r#"INSTANCE "A" MASTER 100"#, r#"INSTANCE "B" MASTER 100"#, r#"INSTANCE "C" MASTER 100"#],
                generic: 0,
            },
            Phase {
                act: &|lab, _| lab.lan.link(0, false),
                brings: &[r#"INSTANCE "A" FAULT 100"#, r#"INSTANCE "B" FAULT 100"#],
                generic: 0,
            },
            Phase {
                act: &|lab, _| lab.lan.link(0, true),
                brings: &[r#"INSTANCE "A" MASTER 100"#, r#"INSTANCE "B" MASTER 100"#],
                generic: 0,
            },
            // A reload repeats nothing.
            Phase { act: &|lab, daemon| reload(lab, daemon, |text| text), brings: &[], generic: 0 },
            Phase {
                act: &|lab, daemon| reload(lab, daemon, without),
                brings: &[r#"INSTANCE "B" DELETED 100"#, r#"INSTANCE "C" FAULT 100"#, r#"INSTANCE "D" MASTER 100"#],
                generic: 1,
            },
            Phase { act: &terminate, brings: &[r#"INSTANCE "A" STOP 100"#, r#"INSTANCE "D" STOP 100"#], generic: 0 },
        ],
    );
}

/// Two instances in one group, which tell all they can.
fn grouped(lab: &Lab, fifo: &str) -> String {
    let script = lab.path("script").display().to_string();
    let kinds = |name: &str| all_kinds(&script, name);
    globals(&format!("notify_fifo {fifo}"))
        + &instance("A", "eth0", 51, &kinds("A"))
        + &instance("B", "eth1", 52, &kinds("B"))
        + &format!("vrrp_sync_group G {{\n    group {{\n        A\n        B\n    }}\n{}}}\n", kinds("G"))
}

fn down_as_keepalived() {
    let text = |lab: &Lab, fifo: &str| {
        let script = lab.path("script").display().to_string();
        grouped(lab, fifo) + &instance("C", "eth1", 53, &all_kinds(&script, "C"))
    };
    let down = |lab: &Lab| _ = lab.lan.hub().ip("link set q0 down");
    assert_same(
        &text,
        down,
        &[
            Phase { act: &|_, _| {}, brings: &[r#"GROUP "G" FAULT 0"#, r#"INSTANCE "C" FAULT 100"#], generic: 0 },
            Phase {
                act: &|lab, _| _ = lab.lan.hub().ip("link set q0 up"),
                brings: &[r#"GROUP "G" MASTER 0"#, r#"INSTANCE "C" MASTER 100"#],
                generic: 0,
            },
            Phase {
                act: &|lab, _| down(lab),
                brings: &[r#"GROUP "G" FAULT 0"#, r#"INSTANCE "C" FAULT 100"#],
                generic: 0,
            },
            // Also of what could not take part it is told that it stops.
            Phase { act: &terminate, brings: &[r#"GROUP "G" STOP 0"#, r#"INSTANCE "C" STOP 100"#], generic: 0 },
        ],
    );
}

fn group_as_keepalived() {
    let text = grouped;
    assert_same(
        &text,
        |_| {},
        &[
            Phase { act: &|_, _| {}, brings: &[r#"GROUP "G" MASTER 0"#], generic: 0 },
            Phase {
                act: &|lab, _| _ = lab.lan.hub().ip("link set q0 down"),
                brings: &[r#"GROUP "G" FAULT 0"#],
                generic: 0,
            },
            Phase {
                act: &|lab, _| _ = lab.lan.hub().ip("link set q0 up"),
                brings: &[r#"GROUP "G" MASTER 0"#],
                generic: 0,
            },
            Phase { act: &|lab, daemon| reload(lab, daemon, |text| text), brings: &[], generic: 0 },
            Phase { act: &terminate, brings: &[r#"GROUP "G" STOP 0"#], generic: 0 },
        ],
    );
}

/// A `vrrp_script` of weight `weight` that succeeds as long as there is a file of its name.
fn check(lab: &Lab, name: &str, weight: i32) -> String {
    let path = lab.path(name).display().to_string();
    format!("vrrp_script {name} {{\n    script \"/usr/bin/test -e {path}\"\n    interval 1\n    weight {weight}\n}}\n")
}

/// An instance by itself and a group, each with a tracker of weight 0 that is down when it is first looked at.
fn tracker_as_keepalived() {
    let text = |lab: &Lab, fifo: &str| {
        let script = lab.path("script").display().to_string();
        let tracks = all_kinds(&script, "C") + "track_script {\n    alone\n}\n";
        let group = grouped(lab, fifo).replace("group {", "track_script {\n        shared\n    }\n    group {");
        let at = group.find("vrrp_instance").expect("an instance");
        let checks = check(lab, "alone", 0) + &check(lab, "shared", 0);
        group[..at].to_owned() + &checks + &group[at..] + &instance("C", "eth1", 53, &tracks)
    };
    let phases = [
        Phase { act: &|_, _| {}, brings: &[r#"GROUP "G" FAULT 0"#, r#"INSTANCE "C" FAULT 100"#], generic: 0 },
        Phase {
            act: &|lab, _| ["alone", "shared"].iter().for_each(|name| fs::write(lab.path(name), "").expect("a file")),
            brings: &[r#"GROUP "G" MASTER 0"#, r#"INSTANCE "C" MASTER 100"#],
            generic: 0,
        },
        Phase { act: &terminate, brings: &[r#"GROUP "G" STOP 0"#, r#"INSTANCE "C" STOP 100"#], generic: 0 },
    ];
    let [mut ours, mut theirs] =
        [Engine::Steadfast, Engine::Keepalived].map(|engine| tell(engine, &text, |_| {}, &phases));
    // Whether the group or the last of its members is told of first is not the same.
    ours.group_last.clear();
    theirs.group_last.clear();
    assert_eq!(ours, theirs);
}

/// By an instance's own word, by its group's, and by the one for all; lines for FIFOs, of which no script hears.
fn priorities_as_keepalived() {
    let tell = |engine: Engine| {
        let lab = Lab::new();
        let (fifo, reader) = lab.fifo();
        let tracks = "track_script {\n    more\n}\n";
        let mut text = globals(&format!("vrrp_notify_fifo {fifo}")) + &check(&lab, "more", 20);
        text += &instance("OWN", "eth0", 51, &format!("notify_priority_changes\n{tracks}"));
        text += &instance("SILENT", "eth0", 52, tracks);
        for (name, vrid, extra) in [("GROUPED", 53, ""), ("NOT", 54, "notify_priority_changes off")] {
            text += &instance(name, "eth0", vrid, extra);
        }
        text += "vrrp_sync_group G {\n    group {\n        GROUPED\n        NOT\n    }\n    notify_priority_changes\n    \
                 track_script {\n        more\n    }\n}\n";
        let mut daemon = lab.start(engine, &text);
        let lines = |what: &str| {
            let mut lines: Vec<String> =
                reader.log().lines().filter(|line| line.contains(what)).map(Into::into).collect();
            lines.sort();
            lines
        };
        let wait = |what: &str, count: usize| {
            wait_for(&format!("{engine:?}: {count} {what}"), PATIENCE, || (lines(what).len() >= count).then_some(()));
        };
        wait(" MASTER 100", 4);
        fs::write(lab.path("more"), "").expect("a file");
        wait("MASTER_PRIORITY 120", 2);
        fs::remove_file(lab.path("more")).expect("a file");
        wait("MASTER_PRIORITY 100", 2);
        // The one for all, but for whoever says otherwise.
        reload(&lab, &daemon, |text| {
            text.replace("script_user root", "script_user root\n    vrrp_notify_priority_changes on")
        });
        fs::write(lab.path("more"), "").expect("a file");
        wait("MASTER_PRIORITY 120", 5);
        daemon.terminate();
        daemon.process.wait(PATIENCE);
        lines("_PRIORITY")
    };
    let [ours, theirs] = [Engine::Steadfast, Engine::Keepalived].map(tell);
    assert_eq!(ours, theirs);
}

/// Takes mail in the machine's namespace; the subjects that have come.
fn mail_server(lab: &Lab) -> Arc<Mutex<Vec<String>>> {
    let listener = lab.lan.host(0).namespace.enter(|| TcpListener::bind("127.0.0.1:2525").expect("a port"));
    let subjects = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&subjects);
    std::thread::spawn(move || {
        // It ends with the test's process.
        for mut stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().expect("a second end"));
            let _ = stream.write_all(b"220 mail\r\n");
            let (mut line, mut in_text) = (String::new(), false);
            while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
                if let Some(subject) = line.strip_prefix("Subject: ") {
                    theirs.lock().expect("no panic").push(subject.trim().to_owned());
                }
                if line == "QUIT\r\n" {
                    let _ = stream.write_all(b"221 bye\r\n");
                    break;
                }
                in_text = if in_text { line != ".\r\n" } else { line == "DATA\r\n" };
                if !in_text {
                    let _ = stream.write_all(b"250 ok\r\n");
                } else if line == "DATA\r\n" {
                    let _ = stream.write_all(b"354 go\r\n");
                }
                line.clear();
            }
        }
    });
    subjects
}

fn mail_as_keepalived() {
    let [ours, theirs] = [Engine::Steadfast, Engine::Keepalived].map(|engine| {
        let lab = Lab::new();
        let subjects = mail_server(&lab);
        let mail =
            "router_id r1\nnotification_email {\na@example.org\n}\nsmtp_server 127.0.0.1 2525\nsmtp_alert_vrrp on";
        let text = globals(mail) + &instance("A", "eth0", 51, "") + &instance("QUIET", "eth1", 52, "smtp_alert off");
        let mut daemon = lab.start(engine, &text);
        let wait = |count: usize| {
            let got = || Some(subjects.lock().expect("no panic").clone()).filter(|got| got.len() >= count);
            wait_for(&format!("{engine:?}: {count} mails"), PATIENCE, got)
        };
        wait(2);
        lab.lan.link(0, false);
        wait(3);
        lab.lan.link(0, true);
        let got = wait(5);
        daemon.terminate();
        daemon.process.wait(PATIENCE);
        if engine == Engine::Steadfast {
            // keepalived does not wait for this one.
            assert_eq!(wait(6).last().map(String::as_str), Some("[r1] VRRP Instance A - Stopping"));
        }
        got
    });
    assert_eq!(ours, theirs);
    assert_eq!(ours[1], "[r1] VRRP Instance A - Entering MASTER state");
}

fn told_when_true() {
    let lab = Lab::new();
    let looks =
        "echo $1 $(ip -o addr show dev eth0 | grep -c 10.7.51.1)\nls -l /proc/self/fd\necho home $HOME\necho end";
    let looks = lab.script("looks", looks);
    let extra =
        format!("notify_master \"{looks} master\"\nnotify_fault \"{looks} fault\"\nnotify_stop \"{looks} stop\"");
    let mut daemon = lab.start(Engine::Steadfast, &(globals("") + &instance("A", "eth0", 51, &extra)));
    lab.wait_said("looks", "end", 1);
    lab.lan.link(0, false);
    lab.wait_said("looks", "end", 2);
    lab.lan.link(0, true);
    lab.wait_said("looks", "end", 3);
    daemon.terminate();
    assert_eq!(daemon.process.wait(PATIENCE), Some(0));
    let said = lab.said("looks");
    let is_state = |line: &&str| ["master", "fault", "stop"].contains(&line.split(' ').next().unwrap_or(""));
    let states: Vec<&str> = said.iter().map(String::as_str).filter(is_state).collect();
    assert_eq!(states, ["master 1", "fault 0", "master 1", "stop 0"], "{said:?}");
    assert!(!said.iter().any(|line| line.contains("socket:") || line.contains("anon_inode:")), "{said:?}");
    let home = format!("home {}", std::env::var("HOME").unwrap_or_default());
    assert!(said.contains(&home), "{said:?}");
}

fn not_overtaken() {
    let lab = Lab::new();
    let script = lab.script("script", "[ $1 = master ] && sleep 0.7\necho $1");
    let extra = format!(
        "notify_master \"{script} master\"\nnotify_fault \"{script} fault\"\nnotify_backup \"{script} backup\""
    );
    let daemon = lab.start(Engine::Steadfast, &(globals("") + &instance("A", "eth0", 51, &extra)));
    daemon.wait_state("active", PATIENCE);
    lab.lan.link(0, false);
    daemon.wait_state("initialize", PATIENCE);
    lab.wait_said("script", "fault", 1);
    assert_eq!(lab.said("script"), ["backup", "master", "fault"]);
}

/// How late the Advertisements of a VRID were, of which some more are waited for.
fn lateness(lab: &Lab, vrid: u8, interval_ms: u64) -> Lateness {
    let sent = || -> Vec<Stamp> {
        let adverts = lab.lan.capture.all();
        let adverts = adverts.iter().filter_map(frames::advert).filter(|advert| advert.vrid == vrid);
        adverts.filter(|advert| advert.priority > 0).map(|advert| advert.at).collect()
    };
    let sent = wait_for("Advertisements", PATIENCE, || Some(sent()).filter(|sent| sent.len() > 15));
    Lateness::after_each_other(&sent, Duration::from_millis(interval_ms))
}

fn hung_and_forking() {
    let lab = Lab::new();
    let hangs = lab.script("hangs", "echo hangs\ntrap '' TERM\n(trap '' TERM; sleep 1000) &\nsleep 1000");
    let forks = lab.script("forks", "echo forks\nwhile :; do sleep 1000 & sleep 0.005; done");
    let says = lab.script("says", "echo \"$@\"");
    let text = globals("")
        + &instance("HANGS", "eth0", 51, &format!("notify_master {hangs}\nnotify_stop \"{says} after all\""))
        + &instance("FORKS", "eth0", 52, &format!("notify_master {forks}"))
        + &instance("SAYS", "eth1", 53, &format!("notify {says}"));
    let mut daemon = lab.start(Engine::Steadfast, &text);
    lab.wait_said("hangs", "hangs", 1);
    lab.wait_said("forks", "forks", 1);
    lab.wait_said("says", "SAYS MASTER", 1);
    // Others are told of meanwhile.
    lab.lan.hub().ip("link set q0 down");
    lab.wait_said("says", "SAYS FAULT", 1);
    lab.lan.hub().ip("link set q0 up");
    lab.wait_said("says", "SAYS MASTER", 2);
    let late = lateness(&lab, 51, 200);
    let stopped = daemon.terminate();
    assert_eq!(daemon.process.wait(Duration::from_secs(15)), Some(0));
    let took = Stamp::now().ms_since(stopped);
    println!("figure: beside a hung script and one that forks without end: {late}; the stop took {took:.0} ms");
    assert!(late.latest < 400.0, "a Backup would have taken over: {late}");
    assert_eq!(lab.said("says").iter().filter(|line| *line == "after all").count(), 1, "{:?}", lab.said("says"));
    // Nothing is left of any of them.
    wait_for("the end of all processes", PATIENCE, || lab.lan.host(0).namespace.pids().is_empty().then_some(()));
}

fn full_fifo() {
    let lab = Lab::new();
    let fifo = lab.path("fifo").display().to_string();
    let mut text = globals(&format!("vrrp_notify_fifo {fifo}")) + &instance("JUDGED", "eth0", 51, "");
    for vrid in 1..=250 {
        let address = format!("10.6.{vrid}.1/32");
        let spec = Spec::v3(10).instance(&format!("I{vrid}-{}", "x".repeat(150)), vrid, 100, &[&address]);
        text.push_str(&spec.replace("interface eth0", "interface eth1"));
    }
    let mut daemon = lab.start(Engine::Steadfast, &text);
    daemon.wait_state("active", PATIENCE);
    let dropped = || daemon.counter("steadfast-notify-lines-dropped");
    let mut flaps = 0;
    while dropped() == 0 {
        flaps += 1;
        assert!(flaps < 60, "{:?}", daemon.counters());
        lab.lan.hub().ip("link set q0 down");
        lab.lan.hub().ip("link set q0 up");
        std::thread::sleep(Duration::from_millis(20));
    }
    let late = lateness(&lab, 51, 200);
    println!("figure: beside a full FIFO and {flaps} changes of 250 others: {late}; {} lines lost", dropped());
    assert!(late.latest < 400.0, "a Backup would have taken over: {late}");
    assert!(daemon.process.log().contains("nobody reads it and it is full"));
    // A reader that comes late has what is left, whole lines, the latest state last.
    let reader = Process::start(Command::new("cat").arg(&fifo), &lab.path("lines"));
    wait_for("the FIFO to be read", PATIENCE, || daemon.process.log().contains("lines were lost").then_some(()));
    daemon.terminate();
    assert_eq!(daemon.process.wait(PATIENCE), Some(0));
    wait_for("the last line", PATIENCE, || reader.log().contains("\"JUDGED\" STOP 100\n").then_some(()));
    assert!(reader.log().lines().all(|line| line.starts_with("INSTANCE \"") && line.ends_with(" 100")));
    assert!(!lab.path("fifo").exists(), "what the agent has made it removes");
}

fn start_and_end() {
    let lab = Lab::new();
    let fifo = lab.path("fifo").display().to_string();
    let script = lab.script("script", "echo $1 $(ip -o addr show dev eth0 | grep -c 10.7.51.1)");
    let reader = lab.script("reader", "echo begin $1\nwhile read -r line; do echo \"$line\"; done <$2\necho end");
    let lines = format!(
        "startup_script \"{script} startup\"\nshutdown_script \"{script} shutdown\"\n\
         notify_fifo {fifo}\nnotify_fifo_script \"{reader} word\""
    );
    let text = globals(&lines) + &instance("A", "eth0", 51, &format!("notify_stop \"{script} stop\""));
    let mut daemon = lab.start(Engine::Steadfast, &text);
    lab.wait_said("reader", "MASTER", 1);
    assert_eq!(lab.said("script"), ["startup 0"]);
    daemon.terminate();
    assert_eq!(daemon.process.wait(PATIENCE), Some(0));
    assert_eq!(lab.said("script"), ["startup 0", "stop 0", "shutdown 0"]);
    let expected =
        ["begin word", r#"INSTANCE "A" BACKUP 100"#, r#"INSTANCE "A" MASTER 100"#, r#"INSTANCE "A" STOP 100"#, "end"];
    assert_eq!(lab.said("reader"), expected);
}

fn lower_priority() {
    let lab = Lab::with(&["told", "other"]);
    let (fifo, reader) = lab.fifo();
    let script = lab.script("script", "echo \"$@\"");
    let scripts = format!("notify_master_rx_lower_pri \"{script} lower\"\nnotify \"{script} any\"");
    let higher = instance("A", "eth0", 51, &scripts).replace("priority 100", "priority 200");
    let _daemon = lab.start(Engine::Steadfast, &(globals(&format!("notify_fifo {fifo}")) + &higher));
    let other = Daemon::start_with(Engine::Steadfast, &lab.lan, 1, &instance("A", "eth0", 51, ""));
    lab.wait_said("script", "MASTER 200", 1);
    lab.lan.cut(1);
    other.wait_state("active", PATIENCE);
    lab.lan.heal(1);
    lab.wait_said("script", "lower", 1);
    other.wait_state("backup", PATIENCE);
    let expected = ["BACKUP", "MASTER", "MASTER_RX_LOWER_PRI"].map(|what| format!("INSTANCE \"A\" {what} 200"));
    assert_eq!(reader.log().lines().collect::<Vec<_>>(), expected);
    assert_eq!(lab.said("script"), ["any INSTANCE A BACKUP 200", "any INSTANCE A MASTER 200", "lower"]);
}

fn servers() {
    let lab = Lab::new();
    let (fifo, reader) = lab.fifo();
    let subjects = mail_server(&lab);
    let mail = "router_id r1\nnotification_email {\na@example.org\n}\nsmtp_server 127.0.0.1 2525";
    let server = "real_server 127.0.0.1 8081 {\nTCP_CHECK {\nwarmup 0\nretry 0\n}\n}\n";
    let quiet = server.replace("8081 {", "8082 {\nsmtp_alert off");
    let text = globals(&format!("lvs_notify_fifo {fifo}\n{mail}"))
        + &format!("virtual_server 10.9.0.100 80 {{\nprotocol TCP\ndelay_loop 1\nsmtp_alert\n{server}{quiet}}}\n");
    let open = |port: u16| lab.lan.host(0).namespace.enter(|| TcpListener::bind(("127.0.0.1", port)).expect("a port"));
    let quiet = open(8082);
    let _daemon = lab.start(Engine::Steadfast, &text);
    let wait = |line: &str| {
        wait_for(line, PATIENCE, || reader.log().lines().any(|found| found == line).then_some(()));
    };
    wait("RS [127.0.0.1]:tcp:8081 [10.9.0.100]:tcp:80 DOWN");
    drop(quiet);
    wait("RS [127.0.0.1]:tcp:8082 [10.9.0.100]:tcp:80 DOWN");
    wait("VS [10.9.0.100]:tcp:80 DOWN");
    let _server = open(8081);
    wait("RS [127.0.0.1]:tcp:8081 [10.9.0.100]:tcp:80 UP");
    wait("VS [10.9.0.100]:tcp:80 UP");
    let got = || Some(subjects.lock().expect("no panic").clone()).filter(|got| got.len() >= 5);
    let expected = [
        // As long as nothing has been checked, all are taken to be up.
        "[r1] Virtualserver [10.9.0.100]:tcp:80 - UP",
        "[r1] Realserver [127.0.0.1]:tcp:8081 of virtual server [10.9.0.100]:tcp:80 - DOWN",
        "[r1] Virtualserver [10.9.0.100]:tcp:80 - DOWN",
        "[r1] Realserver [127.0.0.1]:tcp:8081 of virtual server [10.9.0.100]:tcp:80 - UP",
        "[r1] Virtualserver [10.9.0.100]:tcp:80 - UP",
    ];
    let mut got = wait_for("five mails", PATIENCE, got);
    // What happens at once is told in no order of its own.
    got.sort();
    let mut expected = expected.map(str::to_owned);
    expected.sort();
    assert_eq!(got, expected);
}

fn reloads() {
    let lab = Lab::new();
    let other = lab.path("other").display().to_string();
    let (fifo, reader) = lab.fifo();
    let script = lab.script("script", "exec sleep 1000");
    let text = |number: usize| {
        let lines = match number % 2 {
            0 => format!("vrrp_notify_fifo {fifo}\nfifo_write_vrrp_states_on_reload"),
            _ => format!("vrrp_notify_fifo {fifo}\nnotify_fifo {other}\nnotify_fifo_script {script}"),
        };
        globals(&lines) + &instance("A", "eth0", 51, "")
    };
    let daemon = lab.start(Engine::Steadfast, &text(0));
    let masters = || reader.log().lines().filter(|line| *line == r#"INSTANCE "A" MASTER 100"#).count();
    wait_for("the Active", PATIENCE, || (masters() == 1).then_some(()));
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", daemon.process.pid())).expect("descriptors").count();
    let before = descriptors();
    for number in 1..=10 {
        reload(&lab, &daemon, |_| text(number));
    }
    wait_for("five repetitions", PATIENCE, || (masters() == 6).then_some(()));
    assert!(!lab.path("other").exists());
    // Each reader of the other FIFO is told to end.
    wait_for("the end of all readers", PATIENCE, || daemon.process.family().len().eq(&1).then_some(()));
    wait_for("as many descriptors as before", PATIENCE, || (descriptors() <= before).then_some(()));
}
