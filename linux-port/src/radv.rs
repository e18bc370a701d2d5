//! Router Advertisements (RFC 4861) of Virtual Routers over IPv6: the Active sends them, from the virtual link-local
//! address and the MAC address that this is at, and answers Router Solicitations; nobody else does (RFC 9568 sections
//! 6.4.2, 6.4.3, 8.2.3). A thread of its own does it, which is started when a configuration first wants it. Whose turn
//! it is, the loop says; what an advertisement looks like is in [`message`], when one is due in [`schedule`].

mod message;
mod schedule;

use std::collections::HashMap;
use std::io;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};

use log::{debug, error, warn};
use steadfast_core::time::Instant;
use steadfast_core::types::{Family, MacAddr};

use crate::plan::radv::RouterAdvertisements;
use crate::socket::FrameSender;
use crate::sys::event::EventFd;
use crate::sys::filter::{Instruction as I, NETWORK};
use crate::sys::poll::PollSet;
use crate::sys::{clock, option, option::Flag, socket};
use crate::sysctl;

use schedule::Schedule;

const ICMPV6: u8 = 58;
const ROUTER_SOLICITATION: u32 = 133;
const HOP_LIMIT: u32 = 255;

/// All routers of the link.
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// A Router Solicitation from this link (RFC 4861 section 6.1.1).
const SOLICITATIONS: [I; 8] = [
    I::load_byte(NETWORK + 6),
    I::if_equal(ICMPV6 as u32, 0, 5),
    I::load_byte(NETWORK + 7),
    I::if_equal(HOP_LIMIT, 0, 3),
    I::load_byte(NETWORK + 40),
    I::if_equal(ROUTER_SOLICITATION, 0, 1),
    I::ACCEPT,
    I::REJECT,
];

/// How many Solicitations are passed over at once; any more wait for the next Advertisement.
const SOLICITATIONS_AT_ONCE: usize = 1024;

/// What a Virtual Router advertises, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The index of the interface.
    pub interface: u32,
    /// The MAC address that the virtual address is at.
    pub mac: MacAddr,
    /// The virtual link-local address.
    pub source: Ipv6Addr,
    /// What is advertised.
    pub what: Arc<RouterAdvertisements>,
}

enum Command {
    Serve(usize, Service),
    Silence(usize),
    End(usize, bool),
}

/// The loop's side. Nothing here waits, but for [`stop`](Self::stop).
#[derive(Debug, Default)]
pub struct Advertiser {
    running: Option<Running>,
    /// By the number of the router: what it advertises, and since when no longer.
    served: HashMap<usize, (Service, Option<Instant>)>,
}

#[derive(Debug)]
struct Running {
    commands: Sender<Command>,
    raised: Arc<EventFd>,
    thread: JoinHandle<()>,
}

impl Advertiser {
    /// A router is Active, and its addresses are on: it advertises this from now on.
    pub fn serve(&mut self, router: usize, service: Service) {
        let serving = |(known, silent_since): &(Service, Option<Instant>)| *known == service && silent_since.is_none();
        if self.served.get(&router).is_some_and(serving) {
            return;
        }
        if self.running.is_none() {
            match Running::start() {
                Ok(running) => self.running = Some(running),
                Err(error) => return error!("there will be no Router Advertisements: {error}"),
            }
        }
        self.served.insert(router, (service.clone(), None));
        self.give(Command::Serve(router, service));
    }

    /// A router is no longer Active. What it served last it may still have to take back.
    pub fn silence(&mut self, now: Instant, router: usize) {
        if let Some((_, silent_since)) = self.served.get_mut(&router) {
            silent_since.get_or_insert(now);
            self.give(Command::Silence(router));
        }
    }

    /// Since when a router is silent that has advertised.
    pub fn silent_since(&self, router: usize) -> Option<Instant> {
        self.served.get(&router)?.1
    }

    /// A router has let go of its addresses. `farewell`: nobody takes them over, so its hosts are told to look for
    /// another router (RFC 4861 section 6.2.5).
    pub fn end(&mut self, router: usize, farewell: bool) {
        if self.served.remove(&router).is_some() {
            self.give(Command::End(router, farewell));
        }
    }

    /// Waits until what is owed has been sent.
    pub fn stop(&mut self) {
        if let Some(Running { commands, raised, thread }) = self.running.take() {
            drop(commands);
            raised.raise();
            if thread.join().is_err() {
                error!("Router Advertisements: their thread has ended");
            }
        }
    }

    fn give(&self, command: Command) {
        let Some(running) = &self.running else { return };
        if running.commands.send(command).is_err() {
            error!("Router Advertisements can no longer be sent: their thread has ended");
        }
        running.raised.raise();
    }
}

impl Running {
    fn start() -> io::Result<Self> {
        let mut frames = FrameSender::open()?;
        let raised = Arc::new(EventFd::new()?);
        let (commands, received) = channel();
        let theirs = Arc::clone(&raised);
        let thread = thread::Builder::new().name("radv".into()).spawn(move || {
            if let Err(error) = work(&received, &theirs, &mut frames) {
                error!("Router Advertisements: {error}");
            }
        })?;
        Ok(Self { commands, raised, thread })
    }
}

/// A router as the thread knows it.
struct Served {
    service: Service,
    schedule: Schedule,
    /// Where Solicitations come in; without it there are only unsolicited Advertisements.
    solicitations: Option<OwnedFd>,
    /// It sends, and is asked.
    speaks: bool,
    /// An answer is due, so nobody listens until then: a flood of questions wakes nobody.
    asked: bool,
}

/// Sends what is due until the loop hangs up.
fn work(commands: &Receiver<Command>, raised: &EventFd, frames: &mut FrameSender) -> io::Result<()> {
    let mut served: HashMap<usize, Served> = HashMap::new();
    loop {
        let mut polls = PollSet::new();
        polls.add(raised.as_fd());
        for one in served.values().filter(|one| one.speaks && !one.asked) {
            if let Some(socket) = &one.solicitations {
                polls.add(socket.as_fd());
            }
        }
        let due = served.values().filter(|one| one.speaks).map(|one| one.schedule.due()).min();
        polls.wait(due.map(|due| due.since(clock::now())))?;
        raised.lower();
        let now = clock::now();
        for one in served.values_mut().filter(|one| one.speaks && !one.asked) {
            if one.solicitations.as_ref().is_some_and(|socket| polls.is_ready(socket.as_fd())) {
                one.asked = true;
                one.schedule.solicited(now);
            }
        }
        let ended = loop {
            match commands.try_recv() {
                Ok(command) => carry_out(now, command, &mut served, frames),
                Err(TryRecvError::Empty) => break false,
                Err(TryRecvError::Disconnected) => break true,
            }
        };
        for one in served.values_mut().filter(|one| one.speaks && one.schedule.due() <= now) {
            // Before the Advertisement: it answers all of these.
            one.forget_questions();
            send(&one.service, false, frames);
            one.schedule.sent(now);
        }
        let sent = frames.flush();
        if let Some((_, errno)) = sent.first_failure {
            debug!("a Router Advertisement was not sent: {}", io::Error::from_raw_os_error(errno));
        }
        if ended {
            return Ok(());
        }
    }
}

fn carry_out(now: Instant, command: Command, served: &mut HashMap<usize, Served>, frames: &mut FrameSender) {
    match command {
        Command::Serve(router, service) => {
            let solicitations = listen(service.interface);
            if let Err(error) = &solicitations {
                warn!("Router Solicitations are not answered: {error}");
            }
            if sysctl::read("net/ipv6/conf/all/forwarding").is_ok_and(|value| value == "0") {
                warn!(
                    "hosts are told to send their packets here, but this machine forwards none (net.ipv6.conf.all.forwarding)"
                );
            }
            let schedule = Schedule::new(now, service.what.interval, router as u64);
            let one = Served { service, schedule, solicitations: solicitations.ok(), speaks: true, asked: false };
            served.insert(router, one);
        }
        Command::Silence(router) => {
            if let Some(one) = served.get_mut(&router) {
                one.speaks = false;
                one.solicitations = None;
            }
        }
        Command::End(router, farewell) => {
            if let Some(one) = served.remove(&router).filter(|_| farewell) {
                send(&one.service, true, frames);
            }
        }
    }
}

impl Served {
    fn forget_questions(&mut self) {
        self.asked = false;
        let Some(socket) = &self.solicitations else { return };
        for _ in 0..SOLICITATIONS_AT_ONCE {
            if !matches!(socket::receive(socket.as_fd(), &mut [0; 8]), Ok(Some(_))) {
                return;
            }
        }
    }
}

fn send(service: &Service, farewell: bool, frames: &mut FrameSender) {
    let frame = message::frame(service, farewell);
    if frames.push_frame(service.interface, &frame).is_err() {
        debug!("a Router Advertisement is too long");
    }
}

/// A socket that hears the Router Solicitations of an interface.
fn listen(interface: u32) -> io::Result<OwnedFd> {
    let socket = socket::raw(Family::V6, ICMPV6)?;
    let fd = socket.as_fd();
    option::attach_filter(fd, &SOLICITATIONS)?;
    Flag::BIND_INTERFACE.set(fd, interface.cast_signed())?;
    option::join(fd, ALL_ROUTERS.into(), interface)?;
    Ok(socket)
}
