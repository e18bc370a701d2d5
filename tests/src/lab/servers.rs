//! Real servers that behave as a test wants, and change their behaviour while they run: good, gone, silent, slow,
//! without end, and talking nonsense; over TCP and UDP. How the checks take it is judged in the tests.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::namespace::Namespace;

/// How a server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Manner {
    /// It answers as it should.
    Good,
    /// It is not there: its port is closed.
    Refused,
    /// It is there and says nothing.
    Silent,
    /// It says what it should, a byte every 100 ms (UDP: seconds later).
    Slow,
    /// It never stops sending.
    Endless,
    /// It says something else.
    Garbage,
    /// The test is over.
    Over,
}

impl Manner {
    const ALL: [Self; 7] =
        [Self::Good, Self::Refused, Self::Silent, Self::Slow, Self::Endless, Self::Garbage, Self::Over];
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// HTTP.
    Http,
    /// SMTP.
    Smtp,
    /// DNS, over UDP.
    Dns,
    /// `ping` is answered by `pong`, over UDP.
    Pong,
}

/// How long a UDP server that is slow thinks.
const SLOW_ANSWER: Duration = Duration::from_secs(3);
/// How often a server looks whether its manner has changed.
const GLANCE: Duration = Duration::from_millis(5);

/// A server; it ends when dropped.
#[derive(Debug)]
pub struct Servant {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    manner: AtomicU8,
    /// What came of late is answered in this manner, what came before in the one before.
    sent: AtomicU64,
}

impl Shared {
    fn manner(&self) -> Manner {
        let number = usize::from(self.manner.load(Ordering::SeqCst));
        Manner::ALL.get(number).copied().unwrap_or(Manner::Over)
    }
}

impl Servant {
    /// Starts a good one.
    #[track_caller]
    pub fn start(place: &Namespace, address: SocketAddr, speech: Speech) -> Self {
        let shared = Arc::new(Shared { manner: AtomicU8::new(Manner::Good as u8), sent: AtomicU64::new(0) });
        let own = Arc::clone(&shared);
        let (ready, started) = std::sync::mpsc::channel();
        let thread = place.spawn(move || match speech {
            Speech::Http | Speech::Smtp => listen(address, speech, &own, || ready.send(()).is_ok()),
            Speech::Dns | Speech::Pong => answer(address, speech, &own, || ready.send(()).is_ok()),
        });
        started.recv_timeout(Duration::from_secs(5)).expect("a server starts");
        Self { shared, thread: Some(thread) }
    }

    /// Changes its manner; for connections that are open too, and a port that is to be closed is when this returns.
    pub fn behave(&self, manner: Manner) {
        self.shared.manner.store(manner as u8, Ordering::SeqCst);
        std::thread::sleep(GLANCE * 3);
    }

    /// Bytes that it has sent.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Servant {
    fn drop(&mut self) {
        self.shared.manner.store(Manner::Over as u8, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen(address: SocketAddr, speech: Speech, shared: &Arc<Shared>, ready: impl Fn() -> bool) {
    let mut listener = None;
    loop {
        match shared.manner() {
            Manner::Over => return,
            Manner::Refused => listener = None,
            _ if listener.is_none() => {
                listener = TcpListener::bind(address).ok();
                if let Some(listener) = &listener {
                    let _ = listener.set_nonblocking(true);
                    ready();
                }
            }
            _ => {}
        }
        match listener.as_ref().map(TcpListener::accept) {
            Some(Ok((stream, _))) => {
                let shared = Arc::clone(shared);
                std::thread::spawn(move || serve(stream, speech, &shared));
            }
            _ => std::thread::sleep(GLANCE),
        }
    }
}

/// One connection.
fn serve(mut stream: TcpStream, speech: Speech, shared: &Shared) {
    let manner = shared.manner();
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let _ = stream.set_write_timeout(Some(Duration::from_secs(2)));
    let mut request = [0; 4096];
    // The mail server speaks first.
    let heard = speech == Speech::Smtp || matches!(stream.read(&mut request), Ok(count) if count > 0);
    if !heard {
        return;
    }
    let (good, endless): (&[u8], &[u8]) = match speech {
        Speech::Smtp => (b"220 mail.test ready\r\n", b"220-and more\r\n"),
        _ => (b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello\n", b"HTTP/1.0 200 OK\r\n\r\n"),
    };
    let mut send = |bytes: &[u8]| {
        shared.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        stream.write_all(bytes).is_ok()
    };
    match manner {
        Manner::Silent => {
            let _ = stream.read(&mut request);
        }
        Manner::Slow => {
            for byte in good {
                if !send(&[*byte]) || shared.manner() == Manner::Over {
                    return;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Manner::Endless => {
            let more: Vec<u8> =
                if speech == Speech::Smtp { endless.repeat(4096) } else { b"more and more\n".repeat(4096) };
            let mut alive = send(endless);
            while alive && shared.manner() == Manner::Endless {
                alive = send(&more);
            }
        }
        Manner::Garbage => {
            send(b"\x16\x03\x00\xff\xfe\0\0garbage\n\xff\n".repeat(20).as_slice());
        }
        _ => {
            if send(good) && speech == Speech::Smtp {
                converse(&mut stream);
            }
        }
    }
}

/// The rest of a mail server's conversation.
fn converse(stream: &mut TcpStream) {
    let mut request = [0; 512];
    while let Ok(count @ 1..) = stream.read(&mut request) {
        let quit = request.get(..count).is_some_and(|line| line.to_ascii_uppercase().starts_with(b"QUIT"));
        if stream.write_all(if quit { b"221 bye\r\n" } else { b"250 fine\r\n" }).is_err() || quit {
            return;
        }
    }
}

fn answer(address: SocketAddr, speech: Speech, shared: &Arc<Shared>, ready: impl Fn() -> bool) {
    let mut socket: Option<UdpSocket> = None;
    let mut late: Vec<(Instant, Vec<u8>, SocketAddr)> = Vec::new();
    loop {
        let manner = shared.manner();
        match manner {
            Manner::Over => return,
            Manner::Refused => socket = None,
            _ if socket.is_none() => {
                socket = UdpSocket::bind(address).ok();
                if let Some(socket) = &socket {
                    let _ = socket.set_read_timeout(Some(GLANCE));
                    ready();
                }
            }
            _ => {}
        }
        let Some(socket) = &socket else {
            std::thread::sleep(GLANCE);
            continue;
        };
        late.retain(|(due, answer, client)| {
            let waits = *due > Instant::now();
            if !waits {
                let _ = socket.send_to(answer, client);
            }
            waits
        });
        let mut request = [0; 1500];
        let Ok((count, client)) = socket.recv_from(&mut request) else { continue };
        let request = request.get(..count).unwrap_or_default();
        let good = match speech {
            Speech::Dns => dns_answer(request),
            _ => b"pong".to_vec(),
        };
        let send = |bytes: &[u8]| {
            shared.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            let _ = socket.send_to(bytes, client);
        };
        match manner {
            Manner::Silent => {}
            Manner::Slow => late.push((Instant::now() + SLOW_ANSWER, good, client)),
            Manner::Endless => {
                let end = Instant::now() + Duration::from_secs(2);
                while Instant::now() < end && shared.manner() == Manner::Endless {
                    send(&[0xa5; 1400]);
                }
            }
            Manner::Garbage => send(b"\xff\xfe\0garbage"),
            _ => send(&good),
        }
    }
}

/// The answer to a question for an address: 192.0.2.1.
fn dns_answer(question: &[u8]) -> Vec<u8> {
    let mut answer = question.to_vec();
    if let Some(header) = answer.get_mut(2..8) {
        // A response without error, one question, one answer.
        header.copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
    }
    // The name of the question, type A, class IN, 60 s, 4 bytes.
    answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    answer
}
