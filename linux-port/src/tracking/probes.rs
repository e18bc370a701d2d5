//! `vrrp_probe`: what most scripts do, without one. The dialogues with servers are those of LVS's checks, routes and
//! processes are watched; what the results come to follows the rules of scripts.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use log::{error, warn};
use steadfast_core::time::{Duration, Instant};

use super::News;
use super::level::Level;
use super::routes::Routes;
use crate::lvs::attempt::{self, Attempt, Buffer, Step, Way, describe};
use crate::lvs::probe::{self, TlsContext};
use crate::lvs::sockets::Sockets;
use crate::lvs::verdict::Verdict;
use crate::plan::tracking::{Kind, Probe, ProbeSubject, Question, TrackerName, TrackingPlan, Value};
use crate::sys::client::{Failure, Route};
use crate::sys::epoll::Epoll;

/// Events of probes have their serial numbers, counted from here, as tokens.
pub(super) const FIRST_TOKEN: u64 = 1 << 32;

/// Servers that are asked at a time; others wait for their turn.
const MOST: usize = 256;
/// How long they do before they are looked at again.
const TURN: Duration = Duration::from_millis(10);
/// How long a server that sends without end is left alone between two helpings.
const BREATH: Duration = Duration::from_millis(1);

/// All of them.
pub(super) struct Probes {
    list: HashMap<Arc<str>, Probing>,
    /// When something is to be begun, gone on with, or ended.
    timers: BTreeSet<(Instant, Arc<str>)>,
    /// Whose a question is, by its serial number.
    asked: HashMap<u64, Arc<str>>,
    serial: u64,
    routes: Routes,
    sockets: Sockets,
    /// Made when it is first needed.
    buffer: Option<Buffer>,
    tls: TlsContext,
    random: RandomState,
}

/// One probe.
struct Probing {
    subject: ProbeSubject,
    level: Level,
    /// When it is begun next.
    next: Instant,
    /// The question that is under way.
    asking: Option<Asking>,
    /// What is known of a route or of processes, which is told when it changes.
    known: Option<(bool, Arc<str>)>,
    /// The timer that is set.
    timer: Instant,
    result: Arc<str>,
}

/// A question that is under way.
struct Asking {
    serial: u64,
    attempt: Attempt,
    /// When its time is over, however far it has come.
    until: Instant,
    /// It is left alone for a moment, since it had more to read than one helping.
    breathes: bool,
}

impl Probes {
    pub(super) fn new() -> Self {
        let (list, timers, asked, sockets) = Default::default();
        let (routes, tls, random) = Default::default();
        Self { list, timers, asked, serial: 0, routes, sockets, buffer: None, tls, random }
    }

    /// These are probed from now on. One that asks the same keeps what it has come to; one that asks something else
    /// under the same name does until it has a result. Whether there are routes to be waited for that were not there.
    ///
    /// # Errors
    /// Of the system.
    pub(super) fn plan<'a>(
        &mut self,
        now: Instant,
        plan: &TrackingPlan,
        planned: impl Iterator<Item = (&'a Arc<str>, &'a ProbeSubject)>,
        news: &mut Vec<News>,
    ) -> io::Result<bool> {
        match TlsContext::of(&plan.tls, plan.tls_checks()) {
            Ok(tls) => self.tls = tls,
            Err(error) => error!("vrrp_probe: {error}"),
        }
        let mut kept = HashSet::new();
        let mut routes = false;
        for (name, subject) in planned {
            kept.insert(Arc::clone(name));
            routes |= matches!(subject.probe, Probe::DefaultRoute(_));
            match self.list.get_mut(name) {
                Some(known) if known.subject.probe == subject.probe => {
                    if known.subject.interval != subject.interval {
                        known.next = known.next.min(now + subject.interval);
                        if known.asking.is_none() {
                            let next = known.next;
                            self.set_timer(name, next);
                        }
                    }
                    if let Some(known) = self.list.get_mut(name) {
                        (known.level.rise, known.level.fall) = (subject.rise, subject.fall);
                        known.subject = subject.clone();
                    }
                }
                _ => self.add(now, name, subject, news),
            }
        }
        let gone: Vec<_> = self.list.keys().filter(|name| !kept.contains(*name)).cloned().collect();
        for name in gone {
            self.remove(&name);
        }
        self.routes.want(routes)
    }

    fn add(&mut self, now: Instant, name: &Arc<str>, subject: &ProbeSubject, news: &mut Vec<News>) {
        let mut level = Level::new(subject.rise, subject.fall, subject.init_fail);
        let mut known = None;
        if let Some(before) = self.remove(name) {
            level = level.after(before.level);
            // Whoever counts them tells only what is new.
            if let (Probe::Process(old), Probe::Process(new)) = (&before.subject.probe, &subject.probe)
                && old.words == new.words
            {
                known = before.known;
            }
        }
        let result = "there is no result yet".into();
        let subject = subject.clone();
        let probing = Probing { subject, level, next: now, asking: None, known, timer: now, result };
        news.push(probing.news(name));
        self.list.insert(Arc::clone(name), probing);
        self.timers.insert((now, Arc::clone(name)));
    }

    fn remove(&mut self, name: &Arc<str>) -> Option<Probing> {
        let probing = self.list.remove(name)?;
        self.timers.remove(&(probing.timer, Arc::clone(name)));
        if let Some(asking) = &probing.asking {
            self.asked.remove(&asking.serial);
        }
        Some(probing)
    }

    /// Begins what is due, and ends what has had its time.
    pub(super) fn expire(&mut self, now: Instant, epoll: &Epoll, news: &mut Vec<News>) {
        for family in self.routes.expire(now) {
            let concerned = self.list.iter().filter(|(_, it)| it.subject.probe == Probe::DefaultRoute(family));
            for name in concerned.map(|(name, _)| Arc::clone(name)).collect::<Vec<_>>() {
                match self.routes.state(now, family) {
                    Ok((up, result)) => self.observe(now, &name, up, result.into(), news),
                    Err(error) => unknown(&name, &error),
                }
            }
        }
        while self.timers.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, name)) = self.timers.pop_first() else { break };
            let Some(probing) = self.list.get_mut(&name) else { continue };
            match &mut probing.asking {
                Some(asking) if asking.breathes && now < asking.until => {
                    asking.breathes = false;
                    let serial = asking.serial;
                    self.go_on(now, serial, false, news);
                }
                Some(asking) => {
                    let verdict = asking.attempt.expire();
                    self.finish(&name, verdict, news);
                }
                None => self.begin(now, &name, epoll, news),
            }
        }
    }

    fn begin(&mut self, now: Instant, name: &Arc<str>, epoll: &Epoll, news: &mut Vec<News>) {
        let Some(probing) = self.list.get_mut(name) else { return };
        if matches!(probing.subject.probe, Probe::Server(_)) && self.asked.len() >= MOST {
            return self.set_timer(name, now + TURN);
        }
        let interval = probing.subject.interval;
        let next = probing.next + interval;
        probing.next = if next > now { next } else { now + interval };
        match &probing.subject.probe {
            Probe::DefaultRoute(family) => match self.routes.state(now, *family) {
                Ok((up, result)) => probing.known = Some((up, result.into())),
                Err(error) => unknown(name, &error),
            },
            Probe::Process(_) => {}
            Probe::Server(question) => {
                self.serial += 1;
                let way = way(question, probing.subject.timeout);
                let dialogue =
                    probe::dialogue(&question.kind, question.target, 0, &self.tls, self.random.hash_one(self.serial));
                let begun = match dialogue {
                    Ok(dialogue) => {
                        let transport = probe::transport(&question.kind);
                        let token = FIRST_TOKEN + self.serial;
                        Attempt::begin(now, way, transport, dialogue, epoll, &mut self.sockets, token)
                    }
                    Err(why) => Err(Failure::There(io::Error::other(why))),
                };
                return self.begun(now, name, begun, news);
            }
        }
        if let Some((up, result)) = probing.known.clone() {
            self.note(name, up, &result, news);
        }
        self.rest(name);
    }

    /// A question has been put, or could not be.
    fn begun(&mut self, now: Instant, name: &Arc<str>, begun: Result<Attempt, Failure>, news: &mut Vec<News>) {
        let Some(probing) = self.list.get_mut(name) else { return };
        match begun {
            Ok(attempt) => {
                let until = now + probing.subject.timeout;
                let speaks_first = attempt.speaks_first();
                let serial = self.serial;
                probing.asking = Some(Asking { serial, attempt, until, breathes: false });
                self.asked.insert(serial, Arc::clone(name));
                self.set_timer(name, until);
                if speaks_first {
                    self.go_on(now, serial, false, news);
                }
            }
            Err(Failure::There(error)) => self.finish(name, Verdict::Down(describe(&error)), news),
            Err(Failure::Here(error)) if is_shortage(&error, &probing.subject.probe) => {
                unknown(name, &error);
                self.rest(name);
            }
            // The interface or the address that it is to go out by is not there: what is behind it is out of reach.
            Err(Failure::Here(error)) => {
                let why = format!("it cannot be asked: {}", describe(&error));
                self.finish(name, Verdict::Down(why.into()), news);
            }
        }
    }

    /// Something has happened at a socket.
    pub(super) fn ready(&mut self, now: Instant, token: u64, failed: bool, news: &mut Vec<News>) {
        if let Some(serial) = token.checked_sub(FIRST_TOKEN) {
            self.go_on(now, serial, failed, news);
        }
    }

    fn go_on(&mut self, now: Instant, serial: u64, failed: bool, news: &mut Vec<News>) {
        let Some(name) = self.asked.get(&serial).cloned() else { return };
        let Some(asking) = self.list.get_mut(&name).and_then(|probing| probing.asking.as_mut()) else { return };
        // It is gone on with when it has its breath.
        if asking.breathes {
            return;
        }
        let buffer = self.buffer.get_or_insert_with(attempt::buffer);
        let timer = match asking.attempt.go_on(now, failed, buffer) {
            Step::Done(verdict) => return self.finish(&name, verdict, news),
            Step::Wait => asking.attempt.deadline,
            Step::Again => {
                asking.breathes = true;
                now + BREATH
            }
        };
        let timer = timer.min(asking.until);
        self.set_timer(&name, timer);
    }

    /// A question has been answered, or not.
    fn finish(&mut self, name: &Arc<str>, verdict: Verdict, news: &mut Vec<News>) {
        let Some(probing) = self.list.get_mut(name) else { return };
        let asking = probing.asking.take();
        let up = !matches!(verdict, Verdict::Down(_));
        if let Some(Asking { serial, attempt, .. }) = asking {
            self.asked.remove(&serial);
            if up && let Probe::Server(Question { target, .. }) = probing.subject.probe {
                attempt.give_back(target, &mut self.sockets);
            }
        }
        match verdict {
            Verdict::Down(why) => self.note(name, false, &why, news),
            _ => self.note(name, true, "it answers", news),
        }
        self.rest(name);
    }

    /// What a probe looks at without asking is so now. If it was otherwise before, that is a result.
    pub(super) fn observe(&mut self, now: Instant, name: &Arc<str>, up: bool, result: Arc<str>, news: &mut Vec<News>) {
        let Some(probing) = self.list.get_mut(name) else { return };
        let before = probing.known.replace((up, Arc::clone(&result)));
        if before.is_some_and(|(before, _)| before == up) {
            return;
        }
        probing.next = now + probing.subject.interval;
        self.note(name, up, &result, news);
        self.rest(name);
    }

    /// Takes in a result.
    fn note(&mut self, name: &Arc<str>, up: bool, result: &str, news: &mut Vec<News>) {
        let Some(probing) = self.list.get_mut(name) else { return };
        let before = probing.level.up;
        let result = probing.level.note(up, result.to_owned());
        if probing.level.up != before || *probing.result != *result {
            probing.result = result.into();
            news.push(probing.news(name));
        }
    }

    /// Nothing more until it is begun next.
    fn rest(&mut self, name: &Arc<str>) {
        if let Some(next) = self.list.get(name).map(|probing| probing.next) {
            self.set_timer(name, next);
        }
    }

    fn set_timer(&mut self, name: &Arc<str>, at: Instant) {
        let Some(probing) = self.list.get_mut(name) else { return };
        self.timers.remove(&(probing.timer, Arc::clone(name)));
        probing.timer = at;
        self.timers.insert((at, Arc::clone(name)));
    }

    /// When [`Self::expire`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(due, _)| *due);
        [timer, self.routes.due()].into_iter().flatten().min()
    }

    /// What tells of routes, if they are probed.
    pub(super) fn routes(&self) -> Option<BorrowedFd<'_>> {
        self.routes.as_fd()
    }

    /// Takes in what the kernel tells of routes.
    ///
    /// # Errors
    /// Of the system.
    pub(super) fn read_routes(&mut self) -> io::Result<()> {
        self.routes.read()
    }
}

impl Probing {
    fn news(&self, name: &Arc<str>) -> News {
        let tracker = TrackerName { kind: Kind::Probe, name: Arc::clone(name) };
        News { tracker, value: self.level.up.map(Value::from), result: Arc::clone(&self.result) }
    }
}

/// The way of a question.
fn way(question: &Question, limit: Duration) -> Way<'_> {
    let source = question.source.map(|ip| SocketAddr::new(ip, 0));
    let route = Route { source, interface: question.interface.as_deref(), mark: 0 };
    Way { target: question.target, route, limit }
}

/// Something here is missing that says nothing about what is probed.
fn unknown(name: &str, error: &io::Error) {
    warn!("vrrp_probe {name} could not be made, and stays as it was: {error}");
}

/// Whether an error is the machine's, not that of the way that was asked for.
fn is_shortage(error: &io::Error, probe: &Probe) -> bool {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::ENOBUFS) => true,
        // No port is free; or the source is not here.
        Some(libc::EADDRNOTAVAIL) => matches!(probe, Probe::Server(Question { source: None, .. })),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::path::Path;
    use std::thread;

    use super::*;
    use crate::check::Findings;
    use crate::plan;
    use crate::plan::tracking::Subject;
    use crate::sys::clock;
    use crate::sys::epoll::Events;
    use crate::sys::local;

    /// One probe at work.
    struct Rig {
        probes: Probes,
        epoll: Epoll,
        events: Events,
        news: Vec<News>,
    }

    impl Rig {
        fn new(lines: &str) -> Self {
            let (epoll, events, news) = (Epoll::new().unwrap(), Events::default(), Vec::new());
            let mut rig = Self { probes: Probes::new(), epoll, events, news };
            rig.plan(lines);
            rig
        }

        /// The probe has these lines from now on.
        fn plan(&mut self, lines: &str) {
            let text = format!(
                "vrrp_probe p {{\n{lines}\n}}\nvrrp_instance V {{\ninterface eth0\nvirtual_router_id 1\n\
                 virtual_ipaddress {{ 192.0.2.1 }}\ntrack_probe {{ p }}\n}}\n"
            );
            let mut findings = Findings::new(Path::new("f"));
            let plan = plan::parse(text.as_bytes(), &mut findings).unwrap().tracking;
            assert_eq!(findings.iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
            let planned = plan.trackers.iter().filter_map(|tracker| match &tracker.subject {
                Subject::Probe(subject) => Some((&tracker.name.name, subject)),
                _ => None,
            });
            self.probes.plan(clock::now(), &plan, planned, &mut self.news).unwrap();
        }

        /// The next news.
        fn next(&mut self) -> (Option<bool>, String) {
            while self.news.is_empty() {
                let due = self.probes.due().map(|due| due.since(clock::now()));
                self.epoll.wait(&mut self.events, due).unwrap();
                let now = clock::now();
                for ready in self.events.iter() {
                    self.probes.ready(now, ready.token, ready.failed, &mut self.news);
                }
                self.probes.expire(now, &self.epoll, &mut self.news);
            }
            let News { value, result, .. } = self.news.remove(0);
            (value.map(|value| value == Value::Up), result.to_string())
        }

        #[track_caller]
        fn expect(&mut self, up: Option<bool>, result: &str) {
            assert_eq!(self.next(), (up, result.to_owned()));
        }
    }

    const BEGIN: &str = "there is no result yet";

    #[test]
    fn a_port_is_closed_and_opened_again() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let mut rig = Rig::new(&format!("tcp {address}\ninterval 0.02\nrise 3\nfall 2"));
        rig.expect(None, BEGIN);
        rig.expect(Some(true), "it answers");
        drop(server);
        rig.expect(Some(true), "connection refused, 1 of 2");
        rig.expect(Some(false), "connection refused");
        let _server = TcpListener::bind(address).unwrap();
        rig.expect(Some(false), "it answers, 1 of 3");
        rig.expect(Some(false), "it answers, 2 of 3");
        rig.expect(Some(true), "it answers");
        assert!(rig.probes.asked.is_empty());
    }

    /// A web server that hands each connection, once it has read a request, to `answer`.
    fn server(mut answer: impl FnMut(TcpStream) + Send + 'static) -> SocketAddr {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        thread::spawn(move || {
            for stream in server.incoming() {
                let mut stream = stream.unwrap();
                if stream.read(&mut [0; 1024]).is_ok() {
                    answer(stream);
                }
            }
        });
        address
    }

    #[test]
    fn an_answer_has_the_status_that_is_wanted() {
        let mut answers = ["200 OK", "204 No Content", "503 Service Unavailable", "200 OK"].into_iter().cycle();
        let address = server(move |mut stream| {
            let _ = write!(stream, "HTTP/1.1 {}\r\nContent-Length: 0\r\n\r\n", answers.next().unwrap());
        });
        let mut rig = Rig::new(&format!("http http://{address}/health\ninterval 0.3\nstatus_code 200"));
        rig.expect(None, BEGIN);
        rig.expect(Some(true), "it answers");
        rig.expect(Some(false), "status 204, expected 200");
        rig.expect(Some(false), "status 503, expected 200");
        rig.expect(Some(true), "it answers");
    }

    #[test]
    #[cfg(feature = "tls")]
    fn a_page_may_be_behind_tls() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(["www.example.org".to_owned()]).unwrap();
        let certificate = certificate.self_signed(&key).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        let config = Arc::new(config.with_single_cert(vec![certificate.der().clone()], key.into()).unwrap());
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let told = thread::spawn(move || {
            let (stream, _) = server.accept().unwrap();
            let connection = rustls::ServerConnection::new(config).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
            stream.flush().unwrap();
            (stream.conn.server_name().map(str::to_owned), String::from_utf8_lossy(&request[..length]).into_owned())
        });
        // With the stack that it has in the agent.
        let probing = thread::Builder::new().stack_size(super::super::STACK).spawn(move || {
            let mut rig = Rig::new(&format!("http https://{address}/health\nvirtualhost www.example.org\ninterval 10"));
            rig.expect(None, BEGIN);
            rig.expect(Some(true), "it answers");
        });
        probing.unwrap().join().unwrap();
        let (name, request) = told.join().unwrap();
        assert_eq!(name.as_deref(), Some("www.example.org"));
        assert!(request.starts_with("GET /health HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("Host: www.example.org\r\n"), "{request}");
    }

    #[test]
    fn neither_silence_nor_a_flood_is_an_answer() {
        // Nobody accepts: the kernel connects all the same.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let begun = clock::now();
        let mut rig = Rig::new(&format!("http http://{}/\ninterval 0.1\ntimeout 0.1", silent.local_addr().unwrap()));
        rig.expect(None, BEGIN);
        rig.expect(Some(false), "no answer within 100 ms");
        assert!(clock::now().since(begun) >= Duration::from_millis(100));
        let flood = server(|mut stream| {
            let mut more = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while more.is_ok() {
                more = stream.write_all(&[b'x'; 65536]);
            }
        });
        rig.plan(&format!("http http://{flood}/\ninterval 0.1\ntimeout 0.1"));
        // Another question: what it was holds until there is a result.
        rig.expect(Some(false), BEGIN);
        rig.expect(Some(false), "no end of the body within 100 ms");
        assert!(rig.probes.asked.len() <= 1);
    }

    #[test]
    fn who_asks_the_same_has_forgotten_nothing() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let mut rig = Rig::new(&format!("tcp {address}\ninterval 0.02"));
        rig.expect(None, BEGIN);
        rig.expect(Some(true), "it answers");
        rig.plan(&format!("tcp {address}\ninterval 0.01\nfall 2"));
        assert!(rig.news.is_empty());
        drop(server);
        rig.expect(Some(true), "connection refused, 1 of 2");
        rig.expect(Some(false), "connection refused");
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        rig.plan(&format!("tcp {}\ninterval 0.01\nrise 9", other.local_addr().unwrap()));
        rig.expect(Some(false), BEGIN);
        rig.expect(Some(true), "it answers");
        rig.probes.plan(clock::now(), &TrackingPlan::default(), std::iter::empty(), &mut Vec::new()).unwrap();
        assert_eq!((rig.probes.due(), rig.probes.asked.len()), (None, 0));
    }

    #[test]
    fn a_way_that_is_not_there_leads_nowhere() {
        let mut rig = Rig::new("tcp 192.0.2.1 80\nbind_if no-such-one\ninterval 0.01");
        rig.expect(None, BEGIN);
        let (up, why) = rig.next();
        assert_eq!(up, Some(false));
        assert!(why.starts_with("it cannot be asked: "), "{why}");
        rig.plan("tcp 192.0.2.1 80\nbindto 192.0.2.77\ninterval 0.01");
        rig.expect(Some(false), BEGIN);
        assert!(rig.next().1.starts_with("it cannot be asked: "));
    }

    #[test]
    fn we_answer_ourselves() {
        if local::user() != 0 {
            return;
        }
        let mut rig = Rig::new("ping 127.0.0.1\ninterval 0.05");
        rig.expect(None, BEGIN);
        rig.expect(Some(true), "it answers");
    }

    #[test]
    fn a_process_that_goes_is_a_result_and_the_next_ones_come_with_the_interval() {
        let mut rig = Rig::new("process x\ninterval 0.02\nfall 3\nrise 2");
        rig.expect(None, BEGIN);
        let name: Arc<str> = "p".into();
        let observe = |rig: &mut Rig, up: bool| {
            rig.probes.observe(
                clock::now(),
                &name,
                up,
                if up { "1 running" } else { "0 running" }.into(),
                &mut rig.news,
            )
        };
        observe(&mut rig, true);
        rig.expect(Some(true), "1 running");
        observe(&mut rig, false);
        rig.expect(Some(true), "0 running, 1 of 3");
        // The same once more is no result.
        observe(&mut rig, false);
        assert!(rig.news.is_empty());
        rig.expect(Some(true), "0 running, 2 of 3");
        rig.expect(Some(false), "0 running");
        observe(&mut rig, true);
        rig.expect(Some(false), "1 running, 1 of 2");
        rig.expect(Some(true), "1 running");
    }

    #[test]
    fn a_default_route_is_there_or_not() {
        let mut rig = Rig::new("default_route\ninterval 0.02");
        rig.expect(None, BEGIN);
        let (up, why) = rig.next();
        assert!(up.is_some() && why.contains("default route"), "{why}");
        assert!(rig.probes.routes().is_some());
    }
}
