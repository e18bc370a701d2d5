//! Boards in QEMU, without root: the image of `board/mps2-an385`, its console, its flash in a file, and a LAN of UDP
//! datagrams between boards, on which the test can listen, speak, and pull cables. What the boards do is judged by the
//! tests.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::lab::clock::Stamp;
use crate::lab::frames::mac_text;
use crate::lab::namespace::Namespace;

/// How long a board may take for anything, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Where the board's scripts are.
fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../board/mps2-an385")
}

/// The image, built if need be; `STEADFAST_IMAGE` names another. An error says why there is none.
pub fn image() -> Result<PathBuf, String> {
    if Command::new("qemu-system-arm").arg("--version").stdout(Stdio::null()).status().is_err() {
        return Err("no qemu-system-arm".to_owned());
    }
    if let Some(image) = std::env::var_os("STEADFAST_IMAGE") {
        return Ok(image.into());
    }
    let built = Command::new(scripts().join("build")).output().map_err(|error| format!("the image: {error}"))?;
    let path = String::from_utf8_lossy(&built.stdout).trim().to_owned();
    if built.status.success() {
        Ok(path.into())
    } else {
        Err(format!("the image cannot be built: {}", String::from_utf8_lossy(&built.stderr)))
    }
}

/// A UDP port of this machine that nobody has.
fn free_port() -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.local_addr().expect("a bound socket has an address").port()
}

/// What a board has said, and whoever waits for more of it.
type Transcript = Arc<(Mutex<String>, Condvar)>;

/// Where a board's Ethernet goes.
#[derive(Clone, Debug)]
enum Cable {
    /// The UDP port of its Ethernet, and where frames go.
    Udp(u16, u16),
    /// A namespace, and a TAP device in it.
    Tap(String, String),
}

/// A board. Its power is on from the start, and off when it is dropped.
#[derive(Debug)]
pub struct Board {
    image: PathBuf,
    flash: PathBuf,
    mac: [u8; 6],
    cable: Cable,
    child: Option<Child>,
    transcript: Transcript,
    /// What has been waited for already.
    read: usize,
}

impl Board {
    /// A board with the station address `mac`, whose Ethernet is the UDP port `ports.0`, cabled to `ports.1`. Its flash
    /// is `flash`, a file that is made if it is not there.
    #[track_caller]
    pub fn new(image: &Path, flash: &Path, mac: [u8; 6], ports: (u16, u16)) -> Self {
        Self::on(image, flash, mac, Cable::Udp(ports.0, ports.1))
    }

    /// The same on a TAP device that is there already, in a namespace.
    #[track_caller]
    pub fn on_tap(image: &Path, flash: &Path, mac: [u8; 6], namespace: &Namespace, tap: &str) -> Self {
        Self::on(image, flash, mac, Cable::Tap(namespace.name().to_owned(), tap.to_owned()))
    }

    #[track_caller]
    fn on(image: &Path, flash: &Path, mac: [u8; 6], cable: Cable) -> Self {
        let (image, flash) = (image.to_owned(), flash.to_owned());
        let mut board = Self { image, flash, mac, cable, child: None, transcript: Arc::default(), read: 0 };
        board.power_on();
        board
    }

    /// Two boards on one cable.
    #[track_caller]
    pub fn pair(image: &Path, folder: &Path) -> [Self; 2] {
        let (one, other) = (free_port(), free_port());
        [(1, (one, other)), (2, (other, one))].map(|(number, ports)| {
            Self::new(image, &folder.join(format!("flash-{number}")), [2, 0, 0, 0, 0, number], ports)
        })
    }

    /// Switches it on.
    #[track_caller]
    pub fn power_on(&mut self) {
        let run = scripts().join("run");
        let (mut command, net) = match &self.cable {
            Cable::Udp(mine, peer) => (Command::new(run), vec!["--udp".to_owned(), mine.to_string(), peer.to_string()]),
            Cable::Tap(namespace, tap) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(run);
                (command, vec!["--tap".to_owned(), tap.clone()])
            }
        };
        command.arg("--image").arg(&self.image).arg("--flash").arg(&self.flash).args(["--mac", &mac_text(self.mac)]);
        command.args(net).args(["--serial", "stdio"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("the board's script can be run");
        let mut output = child.stdout.take().expect("it is piped");
        let transcript = Arc::clone(&self.transcript);
        // Ends with the board.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..count]).replace('\r', "");
                transcript.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
                transcript.1.notify_all();
            }
        });
        self.child = Some(child);
    }

    /// Cuts its power.
    pub fn power_off(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Whether it has power.
    pub fn is_on(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// CPU time that QEMU has taken, in milliseconds.
    pub fn cpu_ms(&self) -> f64 {
        self.child.as_ref().map_or(0.0, |child| crate::lab::process::cpu_ms(child.id() as i32))
    }

    /// Everything it has said.
    pub fn transcript(&self) -> String {
        self.transcript.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it says `text`, after what was waited for before; everything from there to the end of it.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut said = self.transcript.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let new = said.get(self.read..).unwrap_or("");
            if let Some(place) = new.find(text) {
                let end = place + text.len();
                let until = new[..end].to_owned();
                self.read += end;
                return until;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waiting for {text:?}; it has said {:?}", end_of(new));
            said = self.transcript.1.wait_timeout(said, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Types something.
    #[track_caller]
    pub fn type_in(&mut self, text: &str) {
        let child = self.child.as_mut().expect("its power is on");
        let input = child.stdin.as_mut().expect("it is piped");
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).expect("the console takes it");
    }

    /// Types a command; what it says until the next prompt.
    #[track_caller]
    pub fn command(&mut self, line: &str) -> String {
        let from = self.transcript().len();
        self.type_in(&format!("{line}\r"));
        self.echo(from, line);
        self.expect("\n> ")
    }

    /// Waits for what was typed and its end of line, after the place `from`. The log may speak in the midst of it.
    #[track_caller]
    fn echo(&mut self, from: usize, line: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut said = self.transcript.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let new = said.get(from..).unwrap_or("");
            let mut shown = new.char_indices();
            let last = line.chars().chain(['\n']).map(|typed| shown.find(|(_, c)| *c == typed)).last().flatten();
            if let Some((place, _)) = last {
                // The line's end begins the prompt that is waited for next.
                self.read = from + place;
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waiting for the echo of {line:?}; it has said {:?}", end_of(new));
            said = self.transcript.1.wait_timeout(said, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Gives it a configuration; what it says to that.
    #[track_caller]
    pub fn load(&mut self, text: &str) -> String {
        self.type_in("load config\r");
        self.expect("abandons it\n");
        self.type_in(&format!("{}\r.\r", text.trim_end().replace('\n', "\r")));
        self.expect("\n.\n");
        self.expect("\n> ")
    }

    /// What ctrl-T says: the deepest use of the stack, in bytes.
    #[track_caller]
    pub fn stack(&mut self) -> usize {
        self.type_in("\x14");
        self.expect("stack ");
        self.expect(" of ").trim_end_matches(" of ").parse().expect("a number")
    }

    /// Its flash.
    pub fn flash(&self) -> &Path {
        &self.flash
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.power_off();
        if std::thread::panicking() {
            eprintln!("board {}:\n{}", mac_text(self.mac), end_of(&self.transcript()));
        }
    }
}

/// The end of a text that may be long.
fn end_of(text: &str) -> &str {
    let begin = text.ceil_char_boundary(text.len().saturating_sub(3000));
    text.get(begin..).unwrap_or("")
}

/// A frame that a board has sent.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When.
    pub at: Stamp,
    /// Which board.
    pub board: usize,
    /// The frame.
    pub bytes: Vec<u8>,
}

/// What the threads of a LAN share.
#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    changed: Condvar,
    /// Which boards have no cable.
    pulled: Mutex<Vec<bool>>,
    ended: AtomicBool,
}

/// A LAN of boards, of which everything is seen.
#[derive(Debug)]
pub struct Lan {
    /// For each board: our end of its cable, and its own.
    ends: Arc<Vec<(UdpSocket, SocketAddr)>>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Lan {
    /// A LAN for `count` boards.
    #[track_caller]
    pub fn new(count: usize) -> Self {
        let mut ends = Vec::new();
        for _ in 0..count {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket has a timeout");
            ends.push((socket, SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))));
        }
        let ends = Arc::new(ends);
        let shared = Arc::new(Shared { pulled: Mutex::new(vec![false; count]), ..Shared::default() });
        let threads = (0..count)
            .map(|board| {
                let (ends, shared) = (Arc::clone(&ends), Arc::clone(&shared));
                std::thread::spawn(move || forward(board, &ends, &shared))
            })
            .collect();
        Self { ends, shared, threads }
    }

    /// The UDP ports of a board, for [`Board::new`].
    pub fn ports(&self, board: usize) -> (u16, u16) {
        let (ours, theirs) = &self.ends[board];
        (theirs.port(), ours.local_addr().map_or(0, |address| address.port()))
    }

    /// Pulls the cable of a board out of the switch, or puts it in. The board does not see that.
    pub fn pull(&self, board: usize, out: bool) {
        self.shared.pulled.lock().unwrap_or_else(PoisonError::into_inner)[board] = out;
    }

    /// Sends a frame to a board.
    pub fn send(&self, board: usize, frame: &[u8]) {
        let (ours, theirs) = &self.ends[board];
        // As on a wire, it may be lost.
        let _ = ours.send_to(frame, theirs);
    }

    /// Everything that the boards have sent.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a frame, sent after `since`.
    #[track_caller]
    pub fn wait(&self, what: &str, since: Stamp, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = seen.iter().find(|frame| frame.at >= since && wanted(frame)) {
                return found.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waiting for {what}");
            seen = self.shared.changed.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Carries the frames of one board to all others, until the end.
fn forward(board: usize, ends: &[(UdpSocket, SocketAddr)], shared: &Shared) {
    let mut buffer = [0; 2048];
    while !shared.ended.load(Ordering::Relaxed) {
        let Some(frame) = ends[board].0.recv(&mut buffer).ok().and_then(|length| buffer.get(..length)) else {
            continue;
        };
        let seen = Seen { at: Stamp::now(), board, bytes: frame.to_vec() };
        shared.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        shared.changed.notify_all();
        let pulled = shared.pulled.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (other, (ours, theirs)) in ends.iter().enumerate() {
            if other != board && !pulled[other] && !pulled[board] {
                let _ = ours.send_to(frame, theirs);
            }
        }
    }
}

/// A folder for the files of one test, removed at its end.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new one.
    #[track_caller]
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("steadfast-qemu-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder for the test");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Turns over one bit of a flash, as wear or a stray particle may.
#[track_caller]
pub fn flip(flash: &Path, byte: u64) {
    use std::os::unix::fs::FileExt;
    let file = File::options().read(true).write(true).open(flash).expect("the flash is a file");
    let mut value = [0];
    file.read_exact_at(&mut value, byte).and_then(|()| file.write_all_at(&[value[0] ^ 0x10], byte)).expect("a byte");
}
