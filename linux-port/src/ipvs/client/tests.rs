//! The client against a kernel that is made of a queue: what goes wrong on the way, and answers that no kernel
//! gives. What the real one says is tested in the VM (`tests/vm`).

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use super::*;
use crate::ipvs::row::{Destination, DestinationKey, Forwarding, Protocol, SchedulerFlags};

/// The number of the family IPVS.
const IPVS: u16 = 30;

/// What the kernel has been asked and has still to say.
#[derive(Default)]
struct State {
    answers: VecDeque<Vec<u8>>,
    lost: bool,
    /// How many messages each datagram had.
    trains: Vec<usize>,
    /// The longest datagram that is taken.
    longest: Option<usize>,
    /// How many answers there is room for.
    room: Option<usize>,
    /// The error of a command, by its number and how many requests came before.
    refuse: Option<fn(command: u8, index: usize) -> i32>,
    requests: usize,
    /// The payloads that answer any request that is no write, before its end.
    rows: Vec<Vec<u8>>,
    /// What ends them: the type of the message, and its payload.
    end: Option<(u16, Vec<u8>)>,
}

#[derive(Clone, Default)]
struct Kernel(Arc<Mutex<State>>);

impl Kernel {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn client(&self) -> Client {
        let mut client = Client::over(Box::new(self.clone())).unwrap();
        assert_eq!(client.family, IPVS);
        client.sequence = u32::MAX - 3; // which wraps in the middle of a train
        *self.state() = State::default();
        client
    }
}

impl State {
    fn push(&mut self, kind: u16, sequence: u32, payload: &[u8]) {
        if self.room.is_some_and(|room| self.answers.len() >= room) {
            self.lost = true;
            return;
        }
        let length = 16 + payload.len();
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&u32::try_from(length).unwrap().to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&sequence.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(payload);
        self.answers.push_back(bytes);
    }
}

impl Connection for Kernel {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        if state.longest.is_some_and(|longest| bytes.len() > longest) {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        let mut count = 0;
        for (header, payload) in messages(bytes) {
            count += 1;
            let sequence = header.sequence_number;
            if header.message_type == 16 {
                state.push(16, sequence, &[1, 2, 0, 0, 6, 0, 1, 0, IPVS.to_ne_bytes()[0], 0, 0, 0]);
            }
            for row in state.rows.clone() {
                state.push(IPVS, sequence, &row);
            }
            let index = state.requests;
            state.requests += 1;
            let code = state.refuse.map_or(0, |refuse| refuse(payload[0], index));
            if code == libc::EINTR {
                // As netlink does: no answer at all.
            } else if let Some((kind, payload)) = state.end.clone() {
                state.push(kind, sequence, &payload);
            } else if code != 0 || header.flags & NLM_F_ACK != 0 {
                state.push(NLMSG_ERROR, sequence, &(-code).to_ne_bytes());
            } else if header.flags & NLM_F_DUMP == NLM_F_DUMP {
                state.push(NLMSG_DONE, sequence, &[0; 4]);
            }
        }
        state.trains.push(count);
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state();
        if std::mem::take(&mut state.lost) {
            return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
        }
        let answer = state.answers.pop_front().ok_or(io::ErrorKind::TimedOut)?;
        buffer[..answer.len()].copy_from_slice(&answer);
        Ok(answer.len())
    }

    fn drain(&mut self, _: &mut [u8]) {
        self.state().answers.clear();
    }
}

fn key(port: u16) -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, address: Ipv4Addr::new(192, 0, 2, 1).into(), port }
}

fn service(port: u16) -> Service {
    Service { key: key(port), scheduler: "rr".into(), flags: SchedulerFlags::default(), persistence: None }
}

fn destination() -> Destination {
    Destination {
        key: DestinationKey { address: Ipv4Addr::new(10, 0, 0, 1).into(), port: 80 },
        forwarding: Forwarding::DirectRoute,
        weight: 1,
        upper_threshold: 0,
        lower_threshold: 0,
    }
}

fn additions(count: u16) -> Vec<Write> {
    (0..count).map(|port| Write::AddDestination(key(port), destination())).collect()
}

fn codes(failed: &[(usize, io::Error)]) -> Vec<(usize, i32)> {
    failed.iter().map(|(index, error)| (*index, error.raw_os_error().unwrap())).collect()
}

#[test]
fn thousands_of_writes_are_a_few_datagrams() {
    let kernel = Kernel::default();
    assert!(kernel.client().write(&additions(4_000)).unwrap().is_empty());
    let trains = &kernel.state().trains;
    assert_eq!(trains.iter().sum::<usize>(), 4_000);
    assert!(trains.len() <= 7, "{trains:?}");
}

#[test]
fn no_write_is_no_system_call() {
    let kernel = Kernel::default();
    assert!(kernel.client().write(&[]).unwrap().is_empty());
    assert!(kernel.state().trains.is_empty());
}

#[test]
fn a_refusal_is_told_of_the_write_that_it_is_about() {
    let kernel = Kernel::default();
    let mut client = kernel.client();
    kernel.state().refuse = Some(|_, index| if index % 1_000 == 5 { libc::EINVAL } else { 0 });
    let failed = client.write(&additions(2_006)).unwrap();
    assert_eq!(codes(&failed), [(5, libc::EINVAL), (1_005, libc::EINVAL), (2_005, libc::EINVAL)]);
}

#[test]
fn what_is_there_is_changed_and_what_is_gone_is_deleted() {
    let kernel = Kernel::default();
    let mut client = kernel.client();
    kernel.state().refuse = Some(|command, index| match (command, index) {
        (1 | 5, _) => libc::EEXIST,
        (2, _) => libc::EPERM,
        (3, _) => libc::ESRCH,
        (7, _) => libc::ENOENT,
        _ => 0,
    });
    let writes = [
        Write::DeleteService(key(1)),
        Write::AddService(service(2)),
        Write::AddDestination(key(2), destination()),
        Write::DeleteDestination(key(2), destination().key),
    ];
    // The change that the addition became is refused.
    assert_eq!(codes(&client.write(&writes).unwrap()), [(1, libc::EPERM)]);
    assert_eq!(kernel.state().trains, [4, 2]);
}

#[test]
fn a_train_that_is_too_long_is_cut() {
    let kernel = Kernel::default();
    let mut client = kernel.client();
    kernel.state().longest = Some(10_000);
    assert!(client.write(&additions(1_000)).unwrap().is_empty());
    assert_eq!(kernel.state().trains.iter().sum::<usize>(), 1_000);
}

#[test]
fn answers_that_are_lost_are_asked_for_again() {
    let kernel = Kernel::default();
    let mut client = kernel.client();
    kernel.state().room = Some(100);
    kernel.state().refuse = Some(|_, _| libc::EINVAL);
    let failed = client.write(&additions(1_000)).unwrap();
    assert_eq!(failed.len(), 1_000);
    assert!(codes(&failed).iter().enumerate().all(|(index, code)| *code == (index, libc::EINVAL)));
}

#[test]
fn without_room_for_one_answer_there_is_an_error() {
    let kernel = Kernel::default();
    let mut client = kernel.client();
    kernel.state().room = Some(0);
    let error = client.write(&additions(10)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS));
}

#[test]
fn a_daemon_that_is_stopped_without_an_answer_is_not_waited_for() {
    let kernel = Kernel::default();
    let mut client = kernel.client();
    kernel.state().refuse = Some(|_, index| if index == 0 { libc::EINTR } else { libc::ESRCH });
    client.stop_sync_daemon(SyncState::Master).unwrap();
    kernel.state().refuse = Some(|_, _| libc::EPERM);
    assert_eq!(client.stop_sync_daemon(SyncState::Master).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn a_kernel_without_ipvs_is_not_found() {
    let kernel = Kernel::default();
    kernel.state().end = Some((NLMSG_ERROR, (-libc::ENOENT).to_ne_bytes().to_vec()));
    let error = Client::over(Box::new(kernel)).map(drop).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn an_answer_that_is_wrong_is_named_and_the_next_one_is_read() {
    let kernel = Kernel::default();
    let mut client = kernel.client();
    // A service of which only the family is told, and that with one byte too many.
    let cut = [1, 1, 0, 0, 11, 0, 1, 0x80, 7, 0, 1, 0, 2, 0, 0, 0];
    kernel.state().rows = vec![cut.to_vec(), cut.to_vec()];
    let error = client.services().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(error.to_string(), "the kernel's answer is malformed: IPVS_SVC_ATTR_AF has 3 bytes instead of 2");
    kernel.state().rows.clear();
    assert!(client.services().unwrap().is_empty());
}

#[test]
fn a_dump_can_fail_at_its_end() {
    let kernel = Kernel::default();
    let mut client = kernel.client();
    kernel.state().end = Some((NLMSG_DONE, (-libc::EIO).to_ne_bytes().to_vec()));
    assert_eq!(client.services().unwrap_err().raw_os_error(), Some(libc::EIO));
}

#[test]
fn an_answer_without_contents_or_end_is_an_error() {
    let kernel = Kernel::default();
    let mut client = kernel.client();
    assert_eq!(client.info().unwrap_err().kind(), io::ErrorKind::InvalidData);
    // An end that is cut off.
    kernel.state().end = Some((NLMSG_ERROR, vec![0; 2]));
    assert_eq!(client.timeouts().unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert_eq!(client.write(&additions(1)).unwrap_err().kind(), io::ErrorKind::InvalidData);
    kernel.state().end = Some((NLMSG_ERROR, i32::MIN.to_ne_bytes().to_vec()));
    assert!(client.flush().is_err());
    // None at all.
    kernel.state().end = Some((77, Vec::new()));
    kernel.state().rows.clear();
    assert_eq!(client.flush().unwrap_err().kind(), io::ErrorKind::TimedOut);
}
