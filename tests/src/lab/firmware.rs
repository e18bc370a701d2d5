//! The firmware on the LAN: as a process on a TAP device (`board/tap`), as the C example over the static library
//! (`firmware-port/c/example/tap.c`, built here), and as the image of a board in QEMU. Each is a machine whose port of
//! the bridge is a TAP device, see [`Lan::with_taps`]; it says its state on the wire, and what it prints is its log.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::clock::Stamp;
use super::engine::{self, Daemon, Engine};
use super::frames::mac_text;
use super::process::Process;
use super::spec::Spec;
use super::{Lan, namespace, steadfast_binary};
use crate::qemu;

/// Which form of the firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    /// The Rust process on a TAP device.
    Tap,
    /// The C program on a TAP device.
    C,
    /// The same with gcc's sanitizers for addresses and undefined behaviour, which end it at the first fault.
    Sanitized,
    /// The image of a board in QEMU.
    Image,
}

/// Who takes part in an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// A program of Linux.
    Linux(Engine),
    /// The firmware.
    Firmware(Board),
}

impl Party {
    /// For test lists.
    pub fn name(self) -> String {
        match self {
            Self::Linux(engine) => format!("{engine:?}").to_lowercase(),
            Self::Firmware(board) => format!("{board:?}").to_lowercase(),
        }
    }

    /// Whether it is Steadfast, in whatever form.
    pub fn is_ours(self) -> bool {
        self != Self::Linux(Engine::Keepalived) && self != Self::Linux(Engine::Frr)
    }

    /// Whether it sits on a TAP device.
    pub fn on_tap(self) -> bool {
        matches!(self, Self::Firmware(_))
    }

    /// Whether it can run here; if not, why.
    pub fn available(self) -> Result<(), String> {
        match self {
            Self::Linux(engine) => engine::available(engine),
            Self::Firmware(_) if !Path::new("/dev/net/tun").exists() => Err("there is no /dev/net/tun".to_owned()),
            Self::Firmware(Board::Tap) => there(&tap_binary()),
            Self::Firmware(Board::C) => there(&c_library()).and_then(|()| {
                let compiled = C_EXAMPLE.get_or_init(|| build_c_example(&c_binary("steadfast-c-tap"), &[]));
                compiled.clone()
            }),
            Self::Firmware(Board::Sanitized) => there(&c_library()).and_then(|()| {
                let options = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
                let compiled =
                    SANITIZED.get_or_init(|| build_c_example(&c_binary("steadfast-c-tap-sanitized"), &options));
                compiled.clone()
            }),
            Self::Firmware(Board::Image) => image().map(|_| ()),
        }
    }
}

static IMAGE: OnceLock<Result<PathBuf, String>> = OnceLock::new();

/// The image, built once.
fn image() -> Result<&'static Path, String> {
    IMAGE.get_or_init(qemu::image).as_deref().map_err(Clone::clone)
}

static C_EXAMPLE: OnceLock<Result<(), String>> = OnceLock::new();
static SANITIZED: OnceLock<Result<(), String>> = OnceLock::new();

/// Something that was built beside Steadfast's own binary or in this test's own target folder.
fn built(name: &str, variable: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let own = std::env::current_exe().expect("this test has a path");
    let target = own.ancestors().find(|path| path.join("release").is_dir());
    let release = target.map_or_else(|| PathBuf::from("target/release"), |target| target.join("release"));
    let beside = steadfast_binary().with_file_name(name);
    if release.join(name).exists() || !beside.exists() { release.join(name) } else { beside }
}

/// The process on a TAP device: `STEADFAST_TAP`, or where cargo puts it.
pub fn tap_binary() -> PathBuf {
    built("steadfast-tap", "STEADFAST_TAP")
}

/// The static library of the C interface: `STEADFAST_C`, or where cargo puts it.
pub fn c_library() -> PathBuf {
    built("libsteadfast_c.a", "STEADFAST_C")
}

fn c_binary(name: &str) -> PathBuf {
    c_library().with_file_name(name)
}

fn there(path: &Path) -> Result<(), String> {
    if path.exists() { Ok(()) } else { Err(format!("{} is not built", path.display())) }
}

/// Builds the C example with every warning an error; what the compiler said if it did not.
pub fn build_c_example(output: &Path, options: &[&str]) -> Result<(), String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware-port/c");
    let mut command = Command::new("gcc");
    command.args(["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O2", "-g"]).args(options);
    command.arg("-I").arg(folder.join("include")).arg(folder.join("example/tap.c")).arg(c_library());
    let output = command.arg("-o").arg(output).output().map_err(|error| format!("gcc: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// A party that runs.
#[derive(Debug)]
pub enum Running {
    /// A program of Linux.
    Linux(Daemon),
    /// The firmware as a process.
    Process(Process),
    /// The firmware in QEMU.
    Image(qemu::Board),
}

impl Running {
    /// Starts a party as machine `host` of the LAN, with one Virtual Router.
    #[track_caller]
    pub fn start(party: Party, lan: &Lan, host: usize, spec: &Spec, priority: u8) -> Self {
        match party {
            Party::Linux(engine) => Self::Linux(Daemon::start(engine, lan, host, spec, priority)),
            Party::Firmware(Board::Image) => Self::Image(start_image(lan, host, &spec.text(priority))),
            Party::Firmware(board) => Self::Process(start_process(board, lan, host, &spec.text(priority))),
        }
    }

    /// Asks for a planned stop. When.
    #[track_caller]
    pub fn terminate(&mut self) -> Stamp {
        match self {
            Self::Linux(daemon) => daemon.terminate(),
            Self::Process(process) => process.signal(Signal::SIGTERM),
            Self::Image(board) => {
                let at = Stamp::now();
                board.type_in("drain\r");
                at
            }
        }
    }

    /// Waits for its end, a board's until it stays out; its exit code, `None` if a signal ended it.
    #[track_caller]
    pub fn wait(&mut self, patience: Duration) -> Option<i32> {
        match self {
            Self::Linux(daemon) => daemon.process.wait(patience),
            Self::Process(process) => process.wait(patience),
            Self::Image(board) => {
                board.expect("stays out");
                Some(0)
            }
        }
    }

    /// Lets one that was stopped as planned, and has ended, take part again.
    #[track_caller]
    pub fn resume(&mut self, party: Party, lan: &Lan, host: usize, spec: &Spec, priority: u8) {
        match self {
            Self::Image(board) => board.type_in("resume\r"),
            _ => *self = Self::start(party, lan, host, spec, priority),
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        match self {
            Self::Linux(daemon) => daemon.process.is_running(),
            Self::Process(process) => process.is_running(),
            Self::Image(board) => board.is_on(),
        }
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        match self {
            Self::Linux(daemon) => daemon.process.log(),
            Self::Process(process) => process.log(),
            Self::Image(board) => board.transcript(),
        }
    }
}

/// Starts a board on the TAP device of machine `host` with a whole configuration, which its console takes.
#[track_caller]
fn start_image(lan: &Lan, host: usize, text: &str) -> qemu::Board {
    let machine = lan.host(host);
    let image = image().unwrap_or_else(|why| panic!("{why}"));
    let flash = lan.folder().join(format!("{host}.flash"));
    let mut board = qemu::Board::on_tap(image, &flash, machine.mac, lan.hub(), &format!("p{host}"));
    board.expect("\n> ");
    let own = [format!("{}/24", machine.v4), format!("{}/64", machine.link_local), format!("{}/64", machine.v6)];
    let own = format!("static_ipaddress {{\n    {}\n}}\n", own.join("\n    "));
    let said = board.load(&(own + text));
    assert!(said.contains("in force"), "{said}");
    board
}

/// Starts the firmware on the TAP device of machine `host` with a whole configuration.
#[track_caller]
fn start_process(board: Board, lan: &Lan, host: usize, text: &str) -> Process {
    let configuration = lan.folder().join(format!("{host}.conf"));
    fs::write(&configuration, text).expect("a configuration can be written");
    let machine = lan.host(host);
    let program = match board {
        Board::C => c_binary("steadfast-c-tap"),
        Board::Sanitized => c_binary("steadfast-c-tap-sanitized"),
        _ => tap_binary(),
    };
    let mut command = lan.hub().command(&program.display().to_string());
    command.args(["--tap", &format!("p{host}"), "--interface", "eth0", "--mac", &mac_text(machine.mac)]);
    command.args(["--address", &format!("{}/24", machine.v4), "--address", &format!("{}/64", machine.link_local)]);
    if board == Board::Tap {
        command.args(["--address", &format!("{}/64", machine.v6)]);
    }
    command.arg(&configuration);
    Process::start(&mut command, &lan.folder().join(format!("{host}.log")))
}

/// tcpdump in a namespace, as a second pair of eyes: every ARP and ICMP packet of its `eth0`, one a line, with the
/// hardware addresses.
#[derive(Debug)]
pub struct Tcpdump {
    process: Process,
}

impl Tcpdump {
    /// Starts it, and waits until it listens.
    #[track_caller]
    pub fn start(lan: &Lan, host: usize) -> Self {
        let mut command = lan.host(host).namespace.command("tcpdump");
        command.args(["-i", "eth0", "-e", "-n", "-l", "arp or icmp or icmp6"]);
        let process = Process::start(&mut command, &lan.folder().join(format!("{host}.tcpdump")));
        super::clock::wait_for("tcpdump", Duration::from_secs(10), || {
            process.log().contains("listening").then_some(())
        });
        Self { process }
    }

    /// What it has seen; it ends.
    #[track_caller]
    pub fn stop(mut self) -> Vec<String> {
        self.process.signal(Signal::SIGINT);
        self.process.wait(Duration::from_secs(10));
        self.process.log().lines().filter(|line| line.contains("ethertype")).map(str::to_owned).collect()
    }
}

/// Whether the programs of these tests are there; if not, why.
pub fn permitted() -> Result<(), String> {
    namespace::permitted(&["tcpdump", "arping", "ndisc6", "ping"])
}
