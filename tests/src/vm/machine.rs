//! The host's side of the VM: its kernel and initramfs made by `tests/vm/prepare`, the guest program built, one boot
//! under QEMU with some scenarios to run, and what came of them. No KVM: it runs where nested virtualisation does not.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Scenario;
use crate::lab::clock::Stamp;
use crate::lab::{steadfast_binary, thorough};

/// The group whose VM has two processors, one for the program that is measured and one for everything else.
const TWO_PROCESSORS: &str = "scale-checks";

/// The group whose VM's kernel has no IPv6.
pub(super) const WITHOUT_IPV6: &str = "bare";

/// A kernel, an initramfs and the programs that go into it.
#[derive(Debug)]
pub struct Machine {
    cache: PathBuf,
    guest: PathBuf,
}

/// Why there is no machine.
#[derive(Debug)]
pub enum Unavailable {
    /// Something cannot be had here: a reason to skip.
    Skipped(String),
    /// Something is wrong.
    Failed(String),
}

/// What a VM has said and how it ended.
#[derive(Debug)]
pub struct Report {
    /// Everything on its console.
    pub console: String,
    /// The guest program's exit status; `None` if the VM ended, or was ended, without one.
    pub status: Option<i32>,
    /// How long it ran, in seconds.
    pub seconds: f64,
}

impl Machine {
    /// Makes what is missing: the kernel, the initramfs, the guest program.
    ///
    /// # Errors
    /// Why there is no machine.
    pub fn prepare() -> Result<Self, Unavailable> {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let cache = top.join("target/vm");
        let output = Command::new(top.join("tests/vm/prepare")).arg(&cache).stdin(Stdio::null()).output();
        let output = output.map_err(|error| Unavailable::Failed(format!("tests/vm/prepare: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            return Err(match said.lines().find_map(|line| line.strip_prefix("skipped: ")) {
                Some(why) => Unavailable::Skipped(why.to_owned()),
                None => Unavailable::Failed(format!("{said}{}", String::from_utf8_lossy(&output.stderr))),
            });
        }
        Ok(Self { cache, guest: build_guest(&top)? })
    }

    /// Boots a VM that runs some scenarios and ends; one that takes longer than `patience` is ended.
    ///
    /// # Errors
    /// What could not be written or started.
    pub fn run(&self, group: &str, scenarios: &[&Scenario], patience: Duration) -> std::io::Result<Report> {
        let folder = self.cache.join(format!("{group}-{}", std::process::id()));
        let result = self.run_in(&folder, scenarios, patience);
        let _ = fs::remove_dir_all(&folder);
        result
    }

    fn run_in(&self, folder: &Path, scenarios: &[&Scenario], patience: Duration) -> std::io::Result<Report> {
        let stage = folder.join("stage");
        fs::create_dir_all(stage.join("configs"))?;
        fs::copy(&self.guest, stage.join("vm_guest"))?;
        fs::copy(steadfast_binary(), stage.join("steadfast"))?;
        for entry in fs::read_dir(super::configurations())? {
            let entry = entry?;
            fs::copy(entry.path(), stage.join("configs").join(entry.file_name()))?;
        }
        let names: Vec<&str> = scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
        let all = if thorough() { "export STEADFAST_ALL=1\n" } else { "" };
        let environment = format!("export STEADFAST_BIN=/steadfast\n{all}scenarios='{}'\n", names.join(" "));
        fs::write(stage.join("environment"), environment)?;
        let initramfs = folder.join("initramfs");
        pack(&self.cache.join("base.cpio"), &stage, &initramfs)?;

        let console = folder.join("console");
        let begun = Stamp::now();
        let processors = if scenarios.iter().any(|scenario| scenario.group == TWO_PROCESSORS) { 2 } else { 1 };
        let bare = scenarios.iter().any(|scenario| scenario.group == WITHOUT_IPV6);
        let more = if bare { " ipv6.disable=1" } else { "" };
        let mut qemu = Qemu(self.command(&initramfs, &console, processors, more).spawn()?);
        let status = qemu.wait(begun + patience)?;
        Ok(Report {
            console: String::from_utf8_lossy(&fs::read(&console)?).replace('\r', ""),
            status,
            seconds: Stamp::now().ms_since(begun) / 1e3,
        })
    }

    /// QEMU with so many processors, and with `more` on the kernel's command line.
    fn command(&self, initramfs: &Path, console: &Path, processors: u8, more: &str) -> Command {
        let mut command = Command::new("qemu-system-x86_64");
        // q35 and not microvm, which hung in one boot of three; five-level paging costs time and gives nothing.
        command.args(["-accel", "tcg", "-machine", "q35", "-cpu", "max,la57=off", "-m", "768"]);
        command.arg("-smp").arg(processors.to_string());
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]);
        command.arg("-kernel").arg(self.cache.join("kernel")).arg("-initrd").arg(initramfs);
        // Programs at random places would be translated anew each time that they start, which nothing but an emulator
        // does: for a short program that is most of its time.
        let kernel = "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off nokaslr norandmaps random.trust_cpu=on";
        command.arg("-append").arg(format!("{kernel}{more}"));
        command.arg("-serial").arg(format!("file:{}", console.display()));
        command.stdin(Stdio::null());
        command
    }
}

/// A running QEMU, killed when dropped.
struct Qemu(Child);

impl Qemu {
    /// Waits for its end, until a deadline; the status that the guest gave.
    fn wait(&mut self, deadline: Stamp) -> std::io::Result<Option<i32>> {
        while Stamp::now() < deadline {
            if let Some(status) = self.0.try_wait()? {
                // isa-debug-exit: the guest's number, doubled, plus one. Zero is a guest that rebooted or powered off.
                return Ok(status.code().filter(|code| code % 2 == 1).map(|code| code / 2));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(None)
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The guest program, static as Steadfast's own binary is, so that it wants no library of the initramfs.
fn build_guest(top: &Path) -> Result<PathBuf, Unavailable> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["guest", "--message-format", "json-render-diagnostics"]).current_dir(top).stdin(Stdio::null());
    // What cargo has told this test of itself: there are packages that are built anew if they are told something else.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    let output = command.output().map_err(|error| Unavailable::Failed(format!("{command:?}: {error}")))?;
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let built = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut programs = built.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    match programs.next_back() {
        Some(program) if output.status.success() => Ok(program),
        _ => Err(Unavailable::Failed(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

/// Archives a folder behind another archive: the kernel unpacks both, one after the other.
fn pack(base: &Path, folder: &Path, target: &Path) -> std::io::Result<()> {
    let mut file = File::create(target)?;
    std::io::copy(&mut File::open(base)?, &mut file)?;
    file.flush()?;
    let mut command = Command::new("sh");
    command.args(["-c", "find . -mindepth 1 -print0 | cpio --null --create --format newc --owner 0:0 --quiet"]);
    let status = command.current_dir(folder).stdin(Stdio::null()).stdout(file).status()?;
    if status.success() { Ok(()) } else { Err(std::io::Error::other(format!("cpio: {status}"))) }
}
