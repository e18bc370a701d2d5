//! A client of the kernel's table: it reads rows, and writes many of them with few system calls. It waits for
//! its answers, at most five seconds for each, so it has no place in the Advertisement loop.

mod connection;
#[cfg(test)]
mod tests;

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN, NetlinkBuffer,
};

use self::connection::{Connection, Netlink};
use super::attributes::decode;
use super::attributes::encode::{self, Request};
use super::row::{Service, ServiceKey};
use super::settings::{Info, SyncDaemon, SyncState, Timeouts};
use super::statistics::{Counters, DestinationStatistics, ServiceStatistics};
use super::table::{Row, Table, Write};
use crate::netlink::{messages, verdict};

/// The kernel makes the datagrams of a dump as large as the buffer that it has seen, and at least this large: its
/// smallest is 8 KiB or less. With 32 KiB, reading many small services takes twice as long.
const DATAGRAM: usize = 8 * 1024;
/// The most bytes of a train that are sent at once, some 600 destinations. The system's default allows 200 KiB.
const PIECE: usize = 120 * 1024;
/// The most messages of one answer: far above the largest table, so that no answer is without end.
const ANSWERS: usize = 1 << 22;

/// A connection to the table of one network namespace.
pub struct Client {
    connection: Box<dyn Connection>,
    family: u16,
    sequence: u32,
    /// What is sent.
    train: Vec<u8>,
    /// What is received.
    answer: Vec<u8>,
}

impl Client {
    /// A connection to the table of the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// Of the system, like every method here; `NotFound` if the kernel has no IPVS and cannot load its module
    /// `ip_vs` by itself, through `/sbin/modprobe`.
    pub fn open() -> io::Result<Self> {
        Self::over(Box::new(Netlink::open()?))
    }

    fn over(connection: Box<dyn Connection>) -> io::Result<Self> {
        let mut client = Self { connection, family: 0, sequence: 0, train: Vec::new(), answer: vec![0; DATAGRAM] };
        client.family = client.find_family()?;
        Ok(client)
    }

    /// The whole table.
    pub fn table(&mut self) -> io::Result<Table> {
        let mut table = Table::new();
        for service in self.services()? {
            let destinations = self.destinations(&service.key)?;
            table.insert(service.key, Row::new(service, destinations.into_iter().map(|row| row.destination)));
        }
        Ok(table)
    }

    /// The services, without their destinations: one dump however many there are.
    pub fn services(&mut self) -> io::Result<Vec<Service>> {
        Ok(self.counted_services()?.into_iter().map(|(service, _)| service).collect())
    }

    /// The destinations of a service and their counters; none if the service is not there.
    pub fn destinations(&mut self, service: &ServiceKey) -> io::Result<Vec<DestinationStatistics>> {
        self.dump(&Request::Destinations(service), |payload| decode::destination(payload, service.family()).map(Some))
    }

    /// The whole table with its counters, in the kernel's order.
    pub fn statistics(&mut self) -> io::Result<Vec<ServiceStatistics>> {
        let services = self.counted_services()?;
        services
            .into_iter()
            .map(|(service, counters)| {
                let destinations = self.destinations(&service.key)?;
                Ok(ServiceStatistics { service, counters, destinations })
            })
            .collect()
    }

    fn counted_services(&mut self) -> io::Result<Vec<(Service, Counters)>> {
        self.dump(&Request::Services, decode::service)
    }

    /// Carries out all of `writes` in their order, with as few system calls as possible, and says which failed (by
    /// index) and why. A failed one does not keep the others from being tried. What an addition finds there is
    /// given the properties asked for, and what a deletion does not find is as good as deleted.
    ///
    /// # Errors
    ///
    /// Of the system: then it is unknown what has been carried out, and the table has to be read again.
    pub fn write(&mut self, writes: &[Write]) -> io::Result<Vec<(usize, io::Error)>> {
        let mut failed = Vec::new();
        let mut changes = Vec::new();
        for (index, code) in self.run_train(writes)? {
            match (&writes[index], code) {
                (Write::AddService(row), libc::EEXIST) => changes.push((index, Write::SetService(row.clone()))),
                (Write::AddDestination(key, row), libc::EEXIST) => {
                    changes.push((index, Write::SetDestination(*key, row.clone())));
                }
                (Write::DeleteService(_) | Write::DeleteDestination(..), libc::ENOENT | libc::ESRCH) => {}
                _ => failed.push((index, io::Error::from_raw_os_error(code))),
            }
        }
        if !changes.is_empty() {
            let (indexes, changes): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
            let again = self.run_train(&changes)?;
            failed.extend(again.into_iter().map(|(index, code)| (indexes[index], io::Error::from_raw_os_error(code))));
            failed.sort_by_key(|(index, _)| *index);
        }
        Ok(failed)
    }

    /// What IPVS says of itself.
    pub fn info(&mut self) -> io::Result<Info> {
        self.get(&Request::Info, decode::info)
    }

    /// The timeouts of connections.
    pub fn timeouts(&mut self) -> io::Result<Timeouts> {
        self.get(&Request::Timeouts, decode::timeouts)
    }

    /// Changes the timeouts of connections; those that are 0 stay.
    pub fn set_timeouts(&mut self, timeouts: &Timeouts) -> io::Result<()> {
        self.order(&Request::SetTimeouts(timeouts))
    }

    /// The sync daemons that run, at most one of each part.
    pub fn sync_daemons(&mut self) -> io::Result<Vec<SyncDaemon>> {
        self.dump(&Request::Daemons, |payload| decode::sync_daemon(payload).map(Some))
    }

    /// Starts a sync daemon; `AlreadyExists` if one with this part runs, whatever its other properties.
    pub fn start_sync_daemon(&mut self, daemon: &SyncDaemon) -> io::Result<()> {
        self.order(&Request::StartDaemon(daemon))
    }

    /// Stops the sync daemon with this part. That there is none is no error.
    pub fn stop_sync_daemon(&mut self, state: SyncState) -> io::Result<()> {
        // A daemon that has not come to run yet ends with EINTR, which netlink never answers. So it is stopped twice
        // in one train, and the second time it is not there.
        let request = Request::StopDaemon(state);
        self.begin();
        for _ in 0..2 {
            self.sequence = self.sequence.wrapping_add(1);
            encode::append(&mut self.train, self.family, NLM_F_REQUEST | NLM_F_ACK, self.sequence, &request);
        }
        match self.converse(|_| Ok(())) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Deletes every service.
    pub fn flush(&mut self) -> io::Result<()> {
        self.order(&Request::Flush)
    }

    /// Makes the counters zero, of one service or of all.
    pub fn zero(&mut self, service: Option<&ServiceKey>) -> io::Result<()> {
        self.order(&Request::Zero(service))
    }

    fn find_family(&mut self) -> io::Result<u16> {
        self.begin();
        encode::append_family(&mut self.train, "IPVS", NLM_F_REQUEST | NLM_F_ACK, self.sequence);
        let mut family = None;
        self.converse(|payload| {
            family = Some(decode::family(payload)?);
            Ok(())
        })?;
        family.ok_or_else(unanswered)
    }

    fn order(&mut self, request: &Request<'_>) -> io::Result<()> {
        self.begin();
        encode::append(&mut self.train, self.family, NLM_F_REQUEST | NLM_F_ACK, self.sequence, request);
        self.converse(|_| Ok(())).map(drop)
    }

    fn get<T, E: Into<io::Error>>(
        &mut self,
        request: &Request<'_>,
        read: impl Fn(&[u8]) -> Result<T, E>,
    ) -> io::Result<T> {
        self.begin();
        encode::append(&mut self.train, self.family, NLM_F_REQUEST | NLM_F_ACK, self.sequence, request);
        let mut value = None;
        self.converse(|payload| {
            value = Some(read(payload).map_err(Into::into)?);
            Ok(())
        })?;
        value.ok_or_else(unanswered)
    }

    fn dump<T, E: Into<io::Error>>(
        &mut self,
        request: &Request<'_>,
        read: impl Fn(&[u8]) -> Result<Option<T>, E>,
    ) -> io::Result<Vec<T>> {
        // What changes under way makes the kernel say so; then it is asked again, within reason.
        for _ in 0..8 {
            self.begin();
            encode::append(&mut self.train, self.family, NLM_F_REQUEST | NLM_F_DUMP, self.sequence, request);
            let mut rows = Vec::new();
            let whole = self.converse(|payload| {
                rows.extend(read(payload).map_err(Into::into)?);
                Ok(())
            })?;
            if whole {
                return Ok(rows);
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    /// Begins a new message.
    fn begin(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
        self.train.clear();
    }

    /// Sends the one message in the train and hands on its answers up to the last; says whether nothing changed
    /// under way. What is wrong with an answer is said after all of them are read, so that the next conversation
    /// begins with none of this one left.
    fn converse(&mut self, mut hand: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<bool> {
        self.connection.send(&self.train)?;
        let mut result = Ok(());
        let mut whole = true;
        for _ in 0..ANSWERS {
            let length = self.receive()?;
            for (header, payload) in messages(&self.answer[..length]) {
                if header.sequence_number != self.sequence {
                    continue;
                }
                whole &= header.flags & NLM_F_DUMP_INTR == 0;
                match header.message_type {
                    NLMSG_DONE | NLMSG_ERROR => return result.and(verdict(payload)).map(|()| whole),
                    NLMSG_OVERRUN => return Err(io::Error::from_raw_os_error(libc::ENOBUFS)),
                    kind if kind < 16 => {}
                    _ if result.is_ok() => result = hand(payload),
                    _ => {}
                }
            }
        }
        Err(endless())
    }

    fn receive(&mut self) -> io::Result<usize> {
        self.connection.receive(&mut self.answer)
    }

    /// Carries out all of `writes`; the error codes of those that failed, by index.
    fn run_train(&mut self, writes: &[Write]) -> io::Result<Vec<(usize, i32)>> {
        let mut failed = Vec::new();
        let mut limit = PIECE;
        let mut next = 0;
        while next < writes.len() {
            let first = self.sequence.wrapping_add(1);
            let count = self.couple(&writes[next..], limit);
            match self.run_piece(first, count) {
                Ok(codes) => {
                    failed.extend(codes.into_iter().map(|(index, code)| (next + index, code)));
                    next += count;
                }
                // Too long for the way there, or for the answers. Writing a row once more does no harm.
                Err(error) if count > 1 && matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::ENOBUFS)) => {
                    self.connection.drain(&mut self.answer);
                    limit = self.train.len() / 2;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(failed)
    }

    /// Fills the train with the first of `writes`, up to `limit` bytes and at least one; says how many.
    fn couple(&mut self, writes: &[Write], limit: usize) -> usize {
        self.train.clear();
        let mut count = 0;
        let mut last = 0;
        for write in writes {
            last = self.train.len();
            self.sequence = self.sequence.wrapping_add(1);
            encode::append(&mut self.train, self.family, NLM_F_REQUEST, self.sequence, &Request::Write(write));
            count += 1;
            if self.train.len() >= limit {
                break;
            }
        }
        // Errors are always answered; success only by the last one, which ends the answers.
        if let Some(message) = self.train.get_mut(last..).filter(|message| !message.is_empty()) {
            NetlinkBuffer::new(message).set_flags(NLM_F_REQUEST | NLM_F_ACK);
        }
        count
    }

    /// Sends the train and waits until its last message is answered; the error codes by index.
    fn run_piece(&mut self, first: u32, count: usize) -> io::Result<Vec<(usize, i32)>> {
        self.connection.send(&self.train)?;
        let mut failed = Vec::new();
        for _ in 0..ANSWERS {
            let length = self.receive()?;
            for (header, payload) in messages(&self.answer[..length]) {
                let index = header.sequence_number.wrapping_sub(first) as usize;
                if header.message_type != NLMSG_ERROR || index >= count {
                    continue;
                }
                if let Err(error) = verdict(payload) {
                    failed.push((index, error.raw_os_error().ok_or(error)?));
                }
                if index + 1 == count {
                    return Ok(failed);
                }
            }
        }
        Err(endless())
    }
}

fn unanswered() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is malformed: it holds nothing")
}

fn endless() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is malformed: it has no end")
}
