//! The rules of the election, written a second time and only as a judge: what a Virtual Router may, must and
//! must not do next, from what it heard and said. It knows nothing of the core's insides. Times are
//! microseconds of the node's own clock. What no single node can judge is `super::world`'s.
//!
//! Where the RFC leaves room, this is what is held against the core:
//!
//! * Skew_Time and Active_Down_Interval in whole microseconds (RFC 9568 section 6.1).
//! * Priority 0 never moves the Active_Down_Timer later (section 6.4.2 sets it to Skew_Time): a flood of
//!   resignations must not keep a Backup waiting.
//! * A Backup that meets its deadline more than an interval late stood still itself, and gives the Active one
//!   interval more, once.
//! * An answer to a lower priority comes at once, or within 200 ms if one came in the last 200 ms.
//! * An answer to priority 0 comes within 2 ms.
//! * An Active that steps down says its own priority once more.

use steadfast_core::agent::{Generation, State};
use steadfast_core::types::Version;

use super::packet::Heard;
use super::scenario::{MS, Member, skew};

/// A rule that was broken, and how.
pub type Broken = (&'static str, String);

/// What the judge of a sync group says: the Virtual Router that a rule was broken in, and the rule.
pub type Verdict = Result<(), (usize, Broken)>;

/// At most this often does a router answer a lower priority in a second.
const ANSWERS: u64 = 10;
const ANSWER_SPACING: u64 = 200 * MS;
const ZERO_MERGE: u64 = 2 * MS;
const SECOND: u64 = 1_000 * MS;

/// What an Advertisement of ours may be in this state.
#[derive(Clone, Copy, Debug, Default)]
struct Allowance {
    farewells: u8,
    resignations: u8,
}

/// The judge of one Virtual Router on one node.
#[derive(Clone, Debug)]
pub struct Shadow {
    /// The state that the rules demand.
    pub state: State,
    member: Member,
    version: Version,
    virtual_mac: bool,
    /// It is in a sync group.
    grouped: bool,
    started: u64,
    /// A tracker keeps it out.
    barred: bool,
    // Backup.
    learned: u64,
    down_at: u64,
    hold_until: Option<u64>,
    followed: bool,
    patient: bool,
    /// The Active_Down_Timer has fired, and the sync group is waited for.
    ready: bool,
    /// Its sync group has just lost, at another member than its first.
    lost_elsewhere: bool,
    /// And to one of less right here: it listens an interval longer.
    crossed: bool,
    /// Whoever it takes over from still serves.
    relieves: bool,
    // Active.
    sent: Option<u64>,
    /// When the first Advertisement is due.
    first_by: u64,
    answer_by: Option<u64>,
    /// When a rival of less right was last heard.
    rival_at: Option<u64>,
    allowance: Allowance,
    // What is held, and when an acquisition may follow an acquisition.
    last: Option<(bool, Generation)>,
    again: bool,
    acquired: bool,
    // This second's transmissions, and what they are owed to.
    second: u64,
    transmissions: u64,
    allowed: u64,
}

impl Shadow {
    /// The judge of `member`, which may begin at `start`.
    pub fn new(member: Member, version: Version, virtual_mac: bool, start: u64, grouped: bool) -> Self {
        Self {
            state: State::Initialize,
            member,
            version,
            virtual_mac,
            grouped,
            started: start,
            barred: false,
            learned: member.interval(),
            down_at: 0,
            hold_until: None,
            followed: false,
            patient: false,
            ready: false,
            lost_elsewhere: false,
            crossed: false,
            relieves: false,
            sent: None,
            first_by: 0,
            answer_by: None,
            rival_at: None,
            allowance: Allowance::default(),
            last: None,
            again: true,
            acquired: false,
            second: u64::MAX,
            transmissions: 0,
            allowed: 0,
        }
    }

    fn down_interval(&self) -> u64 {
        3 * self.learned + self.skew()
    }

    /// How much longer it listens because priorities are crossed.
    fn longer(&self) -> u64 {
        if self.crossed { self.member.interval() } else { 0 }
    }

    fn skew(&self) -> u64 {
        skew(self.version, self.member.priority, self.learned)
    }

    /// How many Advertisements one intent may take: a router in `auto` speaks both checksum forms to an
    /// Active of the other.
    fn forms(&self) -> u8 {
        if self.version == Version::V3 { 2 } else { 1 }
    }

    fn backup(&mut self, now: u64, learned: u64) {
        self.state = State::Backup;
        self.learned = learned;
        self.down_at = now + self.down_interval();
        self.hold_until = None;
        self.followed = false;
        self.patient = false;
        self.ready = false;
        self.lost_elsewhere = false;
        self.crossed = false;
        self.relieves = false;
        self.answer_by = None;
    }

    fn active(&mut self, now: u64) {
        self.state = State::Active;
        self.sent = None;
        self.rival_at = None;
        // With a virtual MAC the addresses may be put on first.
        let head_start = if self.relieves && self.virtual_mac { (self.member.interval() / 32).min(5 * MS) } else { 0 };
        self.first_by = now + head_start;
        self.answer_by = Some(self.first_by);
        self.allowance = Allowance::default();
        self.again = true;
        self.allow(now, 2);
    }

    fn allow(&mut self, now: u64, intents: u64) {
        self.turn(now);
        self.allowed += intents;
    }

    /// Begins a new second of the count of transmissions.
    fn turn(&mut self, now: u64) {
        if now / SECOND != self.second {
            self.second = now / SECOND;
            self.transmissions = 0;
            // What was allowed late in the last second may be sent early in this one.
            self.allowed = SECOND / self.member.interval() + 2 + ANSWERS + 2;
        }
    }

    /// A valid Advertisement is handed over; `outranks`: the sender's address is higher than ours.
    pub fn heard(&mut self, now: u64, heard: Heard, outranks: bool) {
        match self.state {
            State::Initialize => {}
            State::Backup => self.heard_as_backup(now, heard, outranks),
            State::Active => self.heard_as_active(now, heard, outranks),
        }
    }

    fn heard_as_backup(&mut self, now: u64, heard: Heard, outranks: bool) {
        let Member { priority, preempt, preempt_delay, .. } = self.member;
        if heard.priority == 0 {
            self.down_at = self.down_at.min(now + self.skew());
            self.relieves = true;
            return;
        }
        if self.lost_elsewhere || self.crossed {
            let was = std::mem::replace(
                &mut self.crossed,
                heard.priority < priority || (heard.priority == priority && !outranks),
            );
            self.lost_elsewhere = false;
            self.down_at += if was { 0 } else { self.longer() };
        }
        if heard.priority < priority && (preempt || priority == 255) {
            let until = *self.hold_until.get_or_insert(now + preempt_delay);
            if until <= now {
                self.followed = true;
                self.relieves = true;
                return;
            }
        } else {
            self.hold_until = None;
        }
        self.patient = false;
        self.ready = false;
        self.followed = true;
        self.relieves = false;
        if self.version == Version::V3 {
            self.learned = heard.interval;
        }
        self.down_at = now + self.down_interval() + self.longer();
    }

    fn heard_as_active(&mut self, now: u64, heard: Heard, outranks: bool) {
        let own = self.member.priority;
        if heard.priority == 0 {
            self.owe(now + ZERO_MERGE);
            self.allow(now, 1);
        } else if heard.priority > own || (heard.priority == own && outranks) {
            let learned = if self.version == Version::V3 { heard.interval } else { self.member.interval() };
            self.backup(now, learned);
            self.followed = true;
            self.allowance = Allowance { farewells: self.forms(), resignations: 0 };
            self.allow(now, 1);
        } else {
            self.rival_at = Some(now);
            let lately = self.sent.is_some_and(|sent| now < sent + ANSWER_SPACING);
            self.owe(if lately { now + ANSWER_SPACING } else { now });
        }
    }

    fn owe(&mut self, by: u64) {
        self.answer_by = Some(self.answer_by.map_or(by, |earlier| earlier.min(by)));
    }

    /// Its tracker reports. A changed priority shifts the running Active_Down_Timer by the change of its skew,
    /// as keepalived does.
    pub fn tracked(&mut self, now: u64, up: bool) {
        let before = self.skew();
        self.member = self.member.tracked(up);
        if self.state == State::Backup {
            let longest = now + self.down_interval() + self.longer();
            self.down_at = (self.down_at + self.skew()).saturating_sub(before).min(longest);
        }
        self.barred = self.member.can_fail() && !up;
        if self.barred {
            self.stopped(now);
        }
    }

    /// It is configured anew. The learned interval stays, the Active_Down_Timer is shifted by the change of its
    /// skew; the Adver_Timer is met an interval from now at the latest. A new owner becomes Active.
    pub fn reloaded(&mut self, now: u64, member: Member) {
        let before = self.skew();
        self.allow(now, SECOND / member.interval());
        let was_owner = std::mem::replace(&mut self.member, member).base == 255;
        match self.state {
            State::Initialize => {}
            State::Backup if member.base == 255 && !was_owner && self.grouped => self.ready = true,
            State::Backup if member.base == 255 && !was_owner => self.active(now),
            State::Backup if member.base != 255 && was_owner && self.ready => {
                let (learned, followed) = (self.learned, self.followed);
                self.backup(now, learned);
                self.followed = followed;
            }
            State::Backup => {
                if !self.followed {
                    self.learned = member.interval();
                }
                let longest = now + self.down_interval() + self.longer();
                self.down_at = (self.down_at + self.skew()).saturating_sub(before).min(longest);
            }
            State::Active => {
                self.sent = self.sent.map(|_| now);
            }
        }
    }

    /// The node was told to leave the election, or that its interface is down.
    pub fn stopped(&mut self, now: u64) {
        if self.state == State::Active {
            self.allowance = Allowance { farewells: 0, resignations: self.forms() };
            self.allow(now, 1);
        }
        self.state = State::Initialize;
        self.answer_by = None;
    }

    /// Whether an Advertisement at `now` is an answer, not the Adver_Timer's.
    pub fn answers(&self, now: u64) -> bool {
        self.state == State::Active && self.sent.is_some_and(|sent| now + MS < sent + self.member.interval())
    }

    /// Compares with the state that the core shows after an input.
    pub fn compare(&mut self, now: u64, actual: State) -> Result<(), Broken> {
        if actual == self.state {
            return Ok(());
        }
        if self.state == State::Initialize {
            return self.begun(now, actual);
        }
        Err(("state", format!("the rules demand {:?}, it is {actual:?}", self.state)))
    }

    /// It may leave Initialize.
    fn may_begin(&mut self, now: u64) -> Result<(), Broken> {
        if now < self.started {
            return Err(("startup-delay", format!("begun {} us too early", self.started - now)));
        }
        if self.barred {
            return Err(("tracker", "begun while its tracker is down".into()));
        }
        // A cable that is out and in again before anything was sent: nobody could have heard it.
        self.allowance = Allowance::default();
        Ok(())
    }

    /// It left Initialize.
    fn begun(&mut self, now: u64, actual: State) -> Result<(), Broken> {
        self.may_begin(now)?;
        let owner = self.member.priority == 255;
        match actual {
            State::Backup if !owner => self.backup(now, self.member.interval()),
            State::Active if owner => self.active(now),
            _ => return Err(("startup", format!("begun as {actual:?}, priority {}", self.member.priority))),
        }
        Ok(())
    }

    /// Compares with the state that the core shows after its deadlines were looked at. `unheard`: something
    /// that would have kept it waiting is still in its queue.
    pub fn expired(&mut self, now: u64, actual: State, unheard: bool) -> Result<(), Broken> {
        if self.state != State::Backup {
            return self.compare(now, actual);
        }
        let late = now.saturating_sub(self.down_at);
        let stood_still = late > self.learned && !self.patient;
        match actual {
            State::Active if now < self.down_at => {
                Err(("takeover-too-early", format!("{} us before Active_Down_Interval", self.down_at - now)))
            }
            State::Active if stood_still => {
                Err(("takeover-after-standstill", format!("{late} us late, and no interval of patience")))
            }
            State::Active if unheard => Err(("takeover-before-drain", "an Advertisement is in the queue".into())),
            State::Active => {
                self.active(now);
                Ok(())
            }
            State::Backup if now < self.down_at => Ok(()),
            State::Backup if stood_still => {
                self.patient = true;
                self.down_at = now + self.learned;
                Ok(())
            }
            _ => Err(("takeover-too-late", format!("{actual:?} {late} us after Active_Down_Interval"))),
        }
    }

    // For the judge of a sync group.

    /// Whether it would take over.
    pub fn is_ready(&self) -> bool {
        self.state == State::Backup && self.ready
    }

    /// It left Initialize together with its sync group: an owner, too, as Backup.
    pub fn begin_in_group(&mut self, now: u64) -> Result<(), Broken> {
        self.may_begin(now)?;
        self.backup(now, self.member.interval());
        self.ready = self.member.base == 255;
        Ok(())
    }

    /// Its deadlines are looked at.
    pub fn fire(&mut self, now: u64) {
        if self.state != State::Backup || self.ready || now < self.down_at {
            return;
        }
        if now - self.down_at > self.learned && !self.patient {
            self.patient = true;
            self.down_at = now + self.learned;
        } else {
            self.ready = true;
        }
    }

    /// It takes over with its sync group.
    pub fn take_over(&mut self, now: u64) {
        self.active(now);
    }

    /// It steps down because another member of its sync group did.
    pub fn dragged(&mut self, now: u64, by_first: bool) {
        let rival = self.rival_at.is_some_and(|at| now - at <= self.member.interval());
        self.backup(now, self.member.interval());
        self.lost_elsewhere = !by_first && !rival;
        self.crossed = !by_first && rival;
        self.down_at += self.longer();
        self.allowance = Allowance { farewells: self.forms(), resignations: 0 };
        self.allow(now, 1);
    }

    /// Compares with the state that the core shows.
    pub fn agrees(&self, actual: State) -> Result<(), Broken> {
        if actual == self.state {
            return Ok(());
        }
        Err(("state", format!("the rules demand {:?}, it is {actual:?}", self.state)))
    }

    /// It sends an Advertisement.
    pub fn advertised(&mut self, now: u64, priority: u8) -> Result<(), Broken> {
        self.turn(now);
        self.transmissions += 1;
        if self.transmissions > self.allowed * u64::from(self.forms()) {
            return Err(("storm", format!("{} Advertisements in a second", self.transmissions)));
        }
        let Allowance { farewells, resignations } = &mut self.allowance;
        match self.state {
            State::Active if priority == self.member.priority => {
                self.sent = Some(now);
                self.answer_by = None;
                Ok(())
            }
            // It may have been stopped since it stepped down.
            State::Backup | State::Initialize if priority == self.member.priority && *farewells > 0 => {
                *farewells -= 1;
                Ok(())
            }
            State::Initialize if priority == 0 && *resignations > 0 => {
                *resignations -= 1;
                Ok(())
            }
            state => Err(("advertisement", format!("priority {priority} as {state:?}"))),
        }
    }

    /// Everything that was due has been done.
    pub fn drained(&mut self, now: u64) -> Result<(), Broken> {
        if self.allowance.resignations >= self.forms() {
            return Err(("resignation", "left without an Advertisement of priority 0".into()));
        }
        if self.state == State::Backup && self.allowance.farewells >= self.forms() {
            return Err(("farewell", "stepped down without a word".into()));
        }
        if self.state != State::Active {
            return Ok(());
        }
        if self.answer_by.is_some_and(|by| by <= now) {
            return Err(("answer", "an Advertisement was due at once".into()));
        }
        match self.sent {
            Some(sent) if now < sent + self.member.interval() => Ok(()),
            None if now < self.first_by => Ok(()),
            sent => Err(("silence", format!("now {now}, last Advertisement at {sent:?}"))),
        }
    }

    /// It asks for its addresses to be put on (`acquire`) or off.
    pub fn asked(&mut self, acquire: bool, generation: Generation) -> Result<(), Broken> {
        let fresh = self.last.is_none_or(|(_, last)| last < generation);
        let turn = match self.last {
            Some((true, _)) => !acquire || self.again,
            Some((false, _)) => acquire,
            None => true,
        };
        self.last = Some((acquire, generation));
        self.again = false;
        self.acquired = false;
        if !fresh {
            return Err(("generation", format!("{generation:?} is not new")));
        }
        if !turn {
            return Err(("alternation", format!("acquire = {acquire} twice")));
        }
        if acquire && self.state != State::Active {
            return Err(("acquisition", format!("as {:?}", self.state)));
        }
        Ok(())
    }

    /// The answer to that is handed over.
    pub fn done(&mut self, generation: Generation, success: bool) {
        if let Some((acquire, last)) = self.last
            && last == generation
        {
            self.acquired = acquire && success;
            self.again |= acquire && !success;
        }
    }

    /// It is told that somebody took its addresses away.
    pub fn lost(&mut self) {
        self.again = true;
        self.acquired = false;
    }

    /// It announces an address.
    pub fn announced(&self) -> Result<(), Broken> {
        match (self.state, self.acquired) {
            (State::Active, true) => Ok(()),
            (state, acquired) => Err(("announcement", format!("as {state:?}, acquired = {acquired}"))),
        }
    }
}
