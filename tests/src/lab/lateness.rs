//! What a test of punctuality needs: how late packets were that ought to come in even steps, a loop that does nothing
//! but sleep and send, and the company that an agent may have to put up with: servers that are connected to thousands
//! of times a second, clients that never stop asking, a log that nobody reads, programs that would have every processor.

use std::fmt;
use std::io::{PipeReader, PipeWriter, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::socket::{Backlog, listen};

use super::Lan;
use super::capture::Mark;
use super::clock::Stamp;
use super::frames::discard;
use super::namespace::Namespace;

/// How late packets were, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Lateness {
    /// How many packets.
    pub count: usize,
    /// The middle.
    pub median: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The 99.9th percentile.
    pub p999: f64,
    /// The latest.
    pub latest: f64,
}

impl Lateness {
    /// Of packets that were due an interval after the one before each: this is what a Backup sees, which restarts its
    /// timer whenever it hears one. It is just to whoever counts an interval from each packet that it sends, and
    /// lenient to whoever keeps a beat: of two packets that are late alike, the second one counts as punctual.
    #[track_caller]
    pub fn after_each_other(times: &[Stamp], interval: Duration) -> Self {
        let interval = interval.as_nanos() as i64;
        Self::new(times.windows(2).map(|pair| pair[1].0 - pair[0].0 - interval))
    }

    /// Of packets that were due an interval after the one before each was due: of whoever keeps a beat, and takes up a
    /// new one when it was late by a whole interval. The beat is taken from the packets that came earliest.
    #[track_caller]
    pub fn on_beat(times: &[Stamp], interval: Duration) -> Self {
        Self::on_beats(&[times.to_vec()], interval)
    }

    /// The same of several that keep a beat each.
    #[track_caller]
    pub fn on_beats(all: &[Vec<Stamp>], interval: Duration) -> Self {
        let late = all.iter().flat_map(|times| {
            let mut due = *times.first().expect("packets");
            times.windows(2).map(move |pair| {
                let next = due + interval;
                due = if next > pair[0] { next } else { pair[0] + interval }.min(pair[1]);
                pair[1].0 - due.0
            })
        });
        Self::new(late)
    }

    #[track_caller]
    fn new(late: impl Iterator<Item = i64>) -> Self {
        let mut late: Vec<f64> = late.map(|nanoseconds| nanoseconds as f64 / 1e6).collect();
        late.sort_by(f64::total_cmp);
        let latest = *late.last().expect("at least two packets");
        // So many of a thousand are not later.
        let at = |thousandths: usize| late[(late.len() * thousandths).div_ceil(1000).max(1) - 1];
        Self { count: late.len(), median: at(500), p99: at(990), p999: at(999), latest }
    }
}

impl fmt::Display for Lateness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, median, p99, p999, latest } = self;
        write!(f, "50 % {median:.2}, 99 % {p99:.2}, 99.9 % {p999:.2}, latest {latest:.2} ms (n={count})")
    }
}

/// When packets came, of a router and of a [`Bare`] loop beside it.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The Advertisements, by Virtual Router.
    pub routers: Vec<Vec<Stamp>>,
    /// What the loop sent.
    pub bare: Vec<Stamp>,
}

impl Heard {
    /// Since a mark, of machines `router` and `bare`.
    pub fn since(lan: &Lan, mark: Mark, router: usize, bare: usize) -> Self {
        let mut routers = vec![Vec::new(); 256];
        for advert in lan.capture.adverts(mark).iter().filter(|advert| advert.host == router) {
            routers[usize::from(advert.vrid)].push(advert.at);
        }
        routers.retain(|times| !times.is_empty());
        let frames = lan.capture.since(mark);
        let datagrams = frames.iter().filter(|frame| frame.host == bare && discard(&frame.bytes).is_some());
        Self { routers, bare: datagrams.map(|frame| frame.at).collect() }
    }
}

/// The group that a [`Bare`] loop sends to: nobody has joined it.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 253);
/// The discard port: the capture keeps what goes there.
const DISCARD: u16 = 9;

/// A thread that does nothing but sleep until its next packet is due and send it to a group.
#[derive(Debug)]
pub struct Bare(Beside<()>);

impl Bare {
    /// Starts it in a namespace with an `eth0`.
    #[track_caller]
    pub fn start(place: &Namespace, interval: Duration) -> Self {
        place.ip("route add 224.0.0.0/4 dev eth0");
        let socket = place.enter(|| UdpSocket::bind("0.0.0.0:0").expect("a port is free"));
        Self(Beside::start(move |over| {
            let mut due = Stamp::now();
            while !over.load(Ordering::Relaxed) {
                // On a beat; what was missed is not made up for.
                let now = Stamp::now();
                due = if due + interval > now { due } else { now } + interval;
                due.sleep();
                socket.send_to(b"bare", (GROUP, DISCARD)).expect("a datagram is sent");
            }
        }))
    }

    /// Ends it.
    pub fn stop(self) {
        self.0.stop();
    }
}

/// A server that accepts whatever comes to one port, at any address, and closes it.
#[derive(Debug)]
pub struct Sink {
    accepted: Arc<AtomicU64>,
    _thread: Beside<()>,
}

impl Sink {
    /// Starts it.
    #[track_caller]
    pub fn start(place: &Namespace, port: u16) -> Self {
        let accepted = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&accepted);
        let listener = place.enter(|| {
            let listener = TcpListener::bind(("0.0.0.0", port)).expect("a port is free");
            listener.set_nonblocking(true).expect("a listener can be made non-blocking");
            listen(&listener, Backlog::MAXALLOWABLE).expect("a queue can be made longer");
            listener
        });
        let thread = Beside::start(move |over| {
            while !over.load(Ordering::Relaxed) {
                while listener.accept().is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                // The queue holds far more: woken for each one it would cost more than those who connect.
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self { accepted, _thread: thread }
    }

    /// Connections so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// Clients of a control socket that ask for the status again and again; one more connects and says nothing.
#[derive(Debug)]
pub struct Flood(Vec<Beside<u64>>);

impl Flood {
    /// Starts `clients` of them.
    pub fn start(control: &Path, clients: usize) -> Self {
        let client = |number: usize| {
            let control = control.to_owned();
            Beside::start(move |over| {
                let mut answers = 0;
                while !over.load(Ordering::Relaxed) {
                    let Ok(mut stream) = UnixStream::connect(&control) else { continue };
                    let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
                    let asked = number == 0 || stream.write_all(b"status\n").is_ok();
                    // Not kept, so that the clients cost less than the agent.
                    let answer = std::io::copy(&mut stream, &mut std::io::sink());
                    if asked && number > 0 && answer.is_ok_and(|bytes| bytes > 0) {
                        answers += 1;
                    }
                }
                answers
            })
        };
        Self((0..=clients).map(client).collect())
    }

    /// Ends them; how many answers they got.
    pub fn stop(self) -> u64 {
        self.0.into_iter().map(Beside::stop).sum()
    }
}

/// Threads that would have every processor for themselves; they end when dropped.
#[derive(Debug)]
pub struct Burners {
    _threads: Vec<Beside<()>>,
}

impl Burners {
    /// Starts one for each processor.
    pub fn start() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let burner = || {
            Beside::start(|over| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        Self { _threads: std::iter::repeat_with(burner).take(processors).collect() }
    }
}

/// The end of a pipe into which nothing more goes, so that whoever writes to it waits; and its other end, which must be
/// kept and is not to be read.
#[track_caller]
pub fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    // What fills it ends when nobody could read any more.
    let mut other = writer.try_clone().expect("a descriptor can be duplicated");
    std::thread::spawn(move || while other.write(&[b'\n'; 4096]).is_ok() {});
    (reader, writer)
}

/// A thread that is told to end.
#[derive(Debug)]
struct Beside<T> {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Beside<T> {
    fn start(work: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        Self { over, thread: Some(std::thread::spawn(move || work(&told))) }
    }

    fn stop(mut self) -> T {
        self.over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is stopped once");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl<T> Drop for Beside<T> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(10);

    fn times(milliseconds: impl IntoIterator<Item = f64>) -> Vec<Stamp> {
        milliseconds.into_iter().map(|at| Stamp((at * 1e6) as i64 + 7_003_000_000)).collect()
    }

    #[test]
    fn late_packets_are_seen_on_a_beat_and_after_each_other() {
        // Two of two thousand are late, one right after the other, and two beats have no packet.
        let beat = (0..2000).filter(|number| !(700..702).contains(number)).map(|number| {
            let late = [(500, 4.0), (501, 3.0)].into_iter().find(|(late, _)| *late == number);
            f64::from(number) * 10.0 + late.map_or(0.0, |(_, late)| late)
        });
        let times = times(beat);
        let on_beat = Lateness::on_beat(&times, INTERVAL);
        assert_eq!((on_beat.median, on_beat.p99, on_beat.p999, on_beat.latest), (0.0, 0.0, 4.0, 20.0));
        let each = Lateness::after_each_other(&times, INTERVAL);
        assert_eq!((each.median, each.p99, each.p999, each.latest), (0.0, 0.0, 4.0, 20.0));
    }

    #[test]
    fn whoever_counts_from_the_last_packet_is_late_once() {
        let times = times((0..2000).map(|number| f64::from(number) * 10.0 + if number < 500 { 0.0 } else { 4.0 }));
        let each = Lateness::after_each_other(&times, INTERVAL);
        assert_eq!((each.count, each.p999, each.latest), (1999, 0.0, 4.0));
    }
}
