//! Machines that lack something: a root that cannot be written to and no /run, IPv6 that is switched off, a virtual MAC
//! interface that cannot be made. It is said, and only what needs it does not run; of a sync group, everything.

#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use nix::sys::signal::Signal;
use steadfast_tests::lab::clock::wait_for;
use steadfast_tests::lab::engine::{Daemon, Engine};
use steadfast_tests::lab::process::Process;
use steadfast_tests::lab::spec::Spec;
use steadfast_tests::lab::{Lan, namespace, steadfast_binary};

const PATIENCE: Duration = Duration::from_secs(12);
/// Five intervals: who is silent for so long sends no Advertisements.
const SILENCE: Duration = Duration::from_millis(500);

fn main() {
    let arguments = Arguments::from_args();
    if let Err(why) = namespace::permitted(&[]) {
        println!("skipped: {why}");
        return;
    }
    let tests: [(&str, fn()); 5] = [
        ("an-image-of-one-program-that-nothing-can-be-written-to", || image(false)),
        ("the-same-as-keepalived", || image(true)),
        ("without-ipv6-an-address-more-or-less", ipv6_beside),
        ("ipv6-is-waited-for-by-the-whole-group", ipv6_group),
        ("half-a-group-is-no-group", broken_group),
    ];
    let trials = tests.into_iter().map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// Waits until a machine holds an address, or does not.
#[track_caller]
fn wait_address(lan: &Lan, address: &str, held: bool) {
    let address = address.parse().expect("an address");
    let what = format!("{address}: {}", if held { "held" } else { "gone" });
    wait_for(&what, PATIENCE, || (lan.addresses(0).contains(&address) == held).then_some(()));
}

/// A program that runs in a root of its own, in which there is /proc, the program, and its file.
fn image_command(lan: &Lan, arguments: &str) -> Command {
    let binary = fs::canonicalize(steadfast_binary()).expect("the program is there");
    let image = lan.folder().join("image");
    fs::create_dir_all(&image).expect("a folder can be made");
    // Beside the program, the C library of one that is not static.
    let script = format!(
        "set -e\n\
         mount -t tmpfs image {image}\n\
         cd {image}\n\
         mkdir proc usr bin\n\
         ln -s usr/lib lib\n\
         ln -s usr/lib64 lib64\n\
         mount --rbind /proc proc\n\
         mount --bind -o ro /usr usr\n\
         mount --bind -o ro {folder} bin\n\
         cp {configuration} steadfast.conf\n\
         mount -o remount,ro {image}\n\
         exec chroot . /bin/{name} {arguments}",
        image = image.display(),
        folder = binary.parent().unwrap_or(Path::new("/")).display(),
        configuration = lan.folder().join("0.conf").display(),
        name = binary.file_name().unwrap_or_default().display(),
    );
    let mut command = lan.host(0).namespace.command("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    command
}

fn image(as_keepalived: bool) {
    let lan = Lan::new(&["one"]);
    let text = Spec::v3(10).with_vmac(true).text(200)
        + &Spec::v3(10)
            .instance("PLAIN", 52, 200, &["10.9.0.101/24"])
            .replace("    virtual_ip", "    no_accept\n    virtual_ip");
    fs::write(lan.folder().join("0.conf"), text).expect("a file can be written");
    let settings = || {
        let mut all = lan.host(0).namespace.sysctls();
        all.retain(|(name, _)| name.contains("/conf/"));
        all
    };
    let before = settings();
    let arguments = if as_keepalived {
        "keepalived --dont-fork --log-console --use-file=/steadfast.conf"
    } else {
        "run --config /steadfast.conf"
    };
    let mut process = Process::start(&mut image_command(&lan, arguments), &lan.folder().join("0.log"));
    for address in ["10.9.0.100", "10.9.0.101"] {
        wait_address(&lan, address, true);
    }
    let log = process.log();
    let mut sentences = vec![
        "/run/steadfast/control.sock: Read-only file system (os error 30); there will be no status",
        "after a crash the next start will be one as Backup: no record can be kept: No such file or directory",
        "what virtual MAC addresses change cannot be noted, and stays so if the agent is killed: Read-only file system",
    ];
    if as_keepalived {
        sentences.push("/run/keepalived.pid: Read-only file system (os error 30); it goes on without a pid file");
    }
    for sentence in sentences {
        assert_eq!(log.matches(sentence).count(), 1, "{sentence}: {log}");
    }
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait(PATIENCE), Some(0), "{}", process.log());
    wait_address(&lan, "10.9.0.101", false);
    assert!(!lan.host(0).namespace.ip("-o link show").contains("vrrp."), "a virtual MAC interface stays");
    let after = settings();
    let changed: Vec<_> = after.iter().filter(|setting| !before.contains(setting)).collect();
    assert!(changed.is_empty(), "{changed:?}");
}

fn switch_ipv6(lan: &Lan, on: bool) {
    lan.host(0).namespace.sysctl("net/ipv6/conf/eth0/disable_ipv6", if on { "0" } else { "1" });
    if on {
        lan.host(0).namespace.ip("addr add fe80::1/64 dev eth0 nodad");
    }
}

fn start(lan: &Lan, text: &str) -> Daemon {
    Daemon::start_with(Engine::Steadfast, lan, 0, text)
}

fn ipv6_beside() {
    let lan = Lan::new(&["one"]);
    switch_ipv6(&lan, false);
    let excluded = "virtual_ipaddress_excluded {\n    10.9.0.102/24\n    fd09::66/64\n}";
    let text = Spec::v3(10).with(excluded).text(200);
    let daemon = start(&lan, &text);
    daemon.wait_state("active", PATIENCE);
    for address in ["10.9.0.100", "10.9.0.102"] {
        wait_address(&lan, address, true);
    }
    let log = daemon.process.log();
    assert!(log.contains("VI: IPv6 is switched off here, so it goes without fd09::66"), "{log}");
    // Looked at again by a reload.
    switch_ipv6(&lan, true);
    daemon.reload(&text);
    wait_address(&lan, "fd09::66", true);
    assert_eq!(daemon.state().as_deref(), Some("active"));
}

fn ipv6_group() {
    let lan = Lan::new(&["one"]);
    switch_ipv6(&lan, false);
    let text = Spec::v3(10).text(200)
        + &Spec::v6(10).instance("SIX", 51, 200, &["fe80::64/64", "fd09::64/64"])
        + "vrrp_sync_group BOTH {\n    group {\n        VI\n        SIX\n    }\n}\n";
    let daemon = start(&lan, &text);
    wait_for("a word", PATIENCE, || {
        let said = "SIX: IPv6 is switched off on eth0, so it waits until it is on";
        daemon.process.log().contains(said).then_some(())
    });
    std::thread::sleep(SILENCE);
    assert_eq!(lan.capture.adverts(Default::default()).len(), 0, "half a group runs");
    switch_ipv6(&lan, true);
    for address in ["10.9.0.100", "fd09::64"] {
        wait_address(&lan, address, true);
    }
}

fn broken_group() {
    let lan = Lan::new(&["one"]);
    lan.host(0).namespace.ip("link add taken type veth peer name other");
    let instance = |name: &str, vrid: u8, more: &str| {
        Spec::v3(10).with(more).instance(name, vrid, 200, &[&format!("10.9.0.{vrid}/24")])
    };
    let text = |link: &str| {
        instance("FIRST", 101, "")
            + &instance("SECOND", 102, &format!("use_vmac {link}"))
            + &instance("THIRD", 103, "")
            + "vrrp_sync_group BOTH {\n    group {\n        FIRST\n        SECOND\n    }\n}\n"
    };
    let mut daemon = start(&lan, &text("taken"));
    wait_address(&lan, "10.9.0.103", true);
    std::thread::sleep(SILENCE);
    let others = lan.capture.adverts(Default::default()).iter().filter(|advert| advert.vrid != 103).count();
    assert_eq!(others, 0, "half a group runs");
    let log = daemon.process.log();
    for sentence in [
        "SECOND: use_vmac: taken: taken exists and is no macvlan of eth0",
        "sync group BOTH: SECOND is left out, so the whole group is",
    ] {
        assert!(log.contains(sentence), "{log}");
    }
    daemon.reload(&text("mine"));
    for address in ["10.9.0.101", "10.9.0.102", "10.9.0.103"] {
        wait_address(&lan, address, true);
    }
    // And back: of what cannot go on whole, nothing does.
    daemon.reload(&text("taken"));
    for address in ["10.9.0.101", "10.9.0.102"] {
        wait_address(&lan, address, false);
    }
    wait_address(&lan, "10.9.0.103", true);
    daemon.terminate();
    assert_eq!(daemon.process.wait(PATIENCE), Some(0), "{}", daemon.process.log());
    assert!(lan.host(0).namespace.ip("-o link show").contains("taken"), "somebody else's link is gone");
}
