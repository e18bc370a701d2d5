//! One virtual server in virtual time: what happens to it, and the model that judges pool and schedules after every
//! event.

use std::collections::BTreeMap;
use std::sync::Arc;

use steadfast_core::time::{Duration, Instant};
use steadfast_linux::ipvs::row::DestinationKey;
use steadfast_linux::lvs::plan::{Check, Timing, VirtualServer};
use steadfast_linux::lvs::pool::{Override, Pool, PoolEvent, heritage};
use steadfast_linux::lvs::schedule::{Outcome, Schedule};
use steadfast_linux::lvs::verdict::{Verdict, WeightChange};
use steadfast_tests::sim::rng::Rng;

use crate::Mutant;
use crate::plans::{check, key, micros, misread, misread_timing, plan, server};

/// What came of a scenario.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) events: u64,
    pub(crate) attempts: u64,
    pub(crate) downs: u64,
    pub(crate) ups: u64,
    pub(crate) gained: u64,
    pub(crate) lost: u64,
    pub(crate) reloads: u64,
    pub(crate) rests: u64,
    pub(crate) virtual_seconds: u64,
}

/// How long an attempt may take in these scenarios, beside its own timeout.
fn attempt_limit(timing: &Timing) -> Duration {
    timing.connect_timeout
}

/// A check as it goes: the machine, the truth about what it asks, and what the model has seen.
#[derive(Clone)]
struct Probe {
    schedule: Schedule,
    /// When the running attempt will end.
    ends: Option<Instant>,
    /// Whether what it asks works.
    truth: bool,
    /// Since when the truth has been what it is, the check has not rested, and been in the file.
    since: Instant,
    /// Failed attempts in a row.
    failures: u32,
    /// What the model takes it to say.
    says: bool,
    spoken: bool,
    /// What it, or the check in whose place it stands, has found.
    knows: Option<bool>,
    weight: Option<WeightChange>,
    /// The next attempt comes no sooner.
    not_before: Instant,
    /// The most that the next due time may be away: after a start or a rest it is not the loop's.
    grace: Duration,
}

pub(crate) struct World {
    rng: Rng,
    pub(crate) now: Instant,
    mutant: Mutant,
    plan: Arc<VirtualServer>,
    pool: Pool,
    probes: Vec<Vec<Probe>>,
    decrees: BTreeMap<DestinationKey, Override>,
    suspended: bool,
    quorum: bool,
    /// The health of each server when it was last told, by its key.
    told: BTreeMap<DestinationKey, bool>,
    pub(crate) tally: Tally,
}

impl Probe {
    fn new(rng: &mut Rng, now: Instant, check: &Check, mutant: Mutant) -> Self {
        let timing = &check.timing;
        Self {
            schedule: Schedule::new(now, &misread_timing(timing, mutant), rng.bits()),
            ends: None,
            truth: rng.percent(80),
            since: now,
            failures: 0,
            says: !timing.alpha,
            spoken: false,
            knows: None,
            weight: None,
            not_before: now + Duration::from_secs(1),
            grace: Duration::from_secs(1) + timing.warmup,
        }
    }

    /// When the next thing happens by itself.
    fn next(&self) -> Option<Instant> {
        self.ends.or(self.schedule.due())
    }
}

impl World {
    pub(crate) fn new(seed: u64, mutant: Mutant) -> Result<Self, String> {
        let mut rng = Rng::new(seed);
        let now = Instant::from_micros(rng.below(1 << 40));
        let plan = Arc::new(plan(&mut rng));
        let probes = plan
            .servers
            .iter()
            .map(|server| server.checks.iter().map(|check| Probe::new(&mut rng, now, check, mutant)).collect());
        let probes = probes.collect();
        let pool = Pool::new(misread(&plan, mutant));
        let mut world = Self {
            rng,
            now,
            mutant,
            plan,
            pool,
            probes,
            decrees: BTreeMap::new(),
            suspended: false,
            quorum: false,
            told: BTreeMap::new(),
            tally: Tally::default(),
        };
        for number in 0..world.plan.servers.len() {
            if world.is_up(number) {
                world.told.insert(world.plan.servers[number].key, true);
            }
        }
        world.judge_quorum();
        let told = world.pool.take_events();
        let begins = match told.as_slice() {
            [] => !world.quorum && world.plan.sorry.is_none(),
            [PoolEvent::QuorumGained { .. }] => world.quorum,
            [PoolEvent::QuorumLost { .. }] => !world.quorum && world.plan.sorry.is_some(),
            _ => false,
        };
        if !begins {
            return Err(format!("it begins with {told:?}"));
        }
        world.judge_rows()?;
        Ok(world)
    }

    // The model: what the file's rules make of what the attempts said.

    fn is_up(&self, server: usize) -> bool {
        self.probes[server].iter().all(|probe| probe.says)
    }

    fn weight(&self, server: usize) -> u32 {
        let plan = &self.plan.servers[server];
        if let Some(decree) = self.decrees.get(&plan.key) {
            return decree.weight();
        }
        let changes = || self.probes[server].iter().filter_map(|probe| probe.weight);
        let mut absolute = changes().filter_map(|change| match change {
            WeightChange::Absolute(weight) => Some(i64::from(weight)),
            WeightChange::Relative(_) => None,
        });
        let relative = changes().map(|change| match change {
            WeightChange::Absolute(_) => 0,
            WeightChange::Relative(change) => i64::from(change),
        });
        (absolute.next_back().unwrap_or(i64::from(plan.weight)) + relative.sum::<i64>()).max(0) as u32
    }

    fn alive(&self) -> u64 {
        let servers = 0..self.plan.servers.len();
        servers.filter(|&server| self.is_up(server)).map(|server| u64::from(self.weight(server))).sum()
    }

    fn judge_quorum(&mut self) {
        let (alive, quorum, hysteresis) =
            (self.alive() as i64, i64::from(self.plan.quorum), i64::from(self.plan.hysteresis));
        self.quorum = if self.quorum {
            alive > 0 && alive >= quorum - hysteresis
        } else {
            alive > 0 && alive >= quorum + hysteresis
        };
    }

    /// The weight of each row that the rules ask for.
    fn rows(&self) -> BTreeMap<DestinationKey, u32> {
        let mut rows = BTreeMap::new();
        let sorry = self.plan.sorry.as_ref();
        let apology = sorry.filter(|_| !self.quorum);
        for (number, server) in self.plan.servers.iter().enumerate() {
            let (up, weight) = (self.is_up(number), self.weight(number));
            let drained = self.decrees.contains_key(&server.key) && weight == 0;
            if up && apology.is_none() {
                rows.insert(server.key, weight);
            } else if server.inhibit_on_failure || (up && drained) {
                rows.insert(server.key, 0);
            }
        }
        if let Some(sorry) = apology {
            rows.insert(sorry.key, 1);
        } else if let Some(sorry) = sorry.filter(|sorry| sorry.inhibit) {
            rows.entry(sorry.key).or_insert(0);
        }
        rows
    }

    // The judge.

    fn judge_rows(&self) -> Result<(), String> {
        let rows: BTreeMap<_, _> = self.pool.destinations().iter().map(|row| (row.key, row.weight)).collect();
        let wanted = self.rows();
        if rows != wanted {
            return Err(format!("the rows are {rows:?} and should be {wanted:?}"));
        }
        if self.pool.has_quorum() != self.quorum {
            return Err(format!("the quorum is {} and should be {}", self.pool.has_quorum(), self.quorum));
        }
        Ok(())
    }

    /// Takes the events, which have to be just those that lead from what was told to what is.
    fn judge_events(&mut self, quorum_before: bool) -> Result<(), String> {
        let mut quorum = quorum_before;
        for event in self.pool.take_events() {
            self.tally.events += 1;
            match event {
                PoolEvent::ServerUp { server } => {
                    self.tally.ups += 1;
                    if self.told.insert(server.key, true) == Some(true) {
                        return Err(format!("{} is told up twice", server.key));
                    }
                }
                PoolEvent::ServerDown { server, reason } => {
                    self.tally.downs += 1;
                    if reason.is_empty() {
                        return Err(format!("{} is down without a reason", server.key));
                    }
                    if self.told.insert(server.key, false) == Some(false) {
                        return Err(format!("{} is told down twice", server.key));
                    }
                }
                PoolEvent::QuorumGained { alive, wanted } => {
                    self.tally.gained += 1;
                    if quorum || alive < wanted {
                        return Err(format!("a quorum gained with {alive} of {wanted}, it was {quorum}"));
                    }
                    quorum = true;
                }
                PoolEvent::QuorumLost { alive, wanted } => {
                    self.tally.lost += 1;
                    if !quorum || alive >= wanted {
                        return Err(format!("a quorum lost with {alive} of {wanted}, it was {quorum}"));
                    }
                    quorum = false;
                }
            }
        }
        for (number, server) in self.plan.servers.iter().enumerate() {
            // A server that alpha holds back is not told of until a check has found it down.
            let held = !self.told.contains_key(&server.key)
                && self.probes[number].iter().all(|probe| probe.says || !probe.spoken);
            let told = self.told.get(&server.key).copied();
            let owed = self.is_up(number) || !held;
            if owed && told != Some(self.is_up(number)) {
                return Err(format!("{} is told {told:?} and is {}", server.key, self.is_up(number)));
            }
        }
        if quorum != self.quorum {
            return Err(format!("the quorum is told {quorum} and is {}", self.quorum));
        }
        Ok(())
    }

    /// No check is silent for longer than the rules allow, in either direction.
    fn judge_times(&self) -> Result<(), String> {
        if self.suspended {
            return Ok(());
        }
        for (server, probes) in self.plan.servers.iter().zip(&self.probes) {
            for (check, probe) in server.checks.iter().zip(probes) {
                let timing = &check.timing;
                let attempt = attempt_limit(timing);
                let retries = u64::from(timing.retry);
                let pause = timing.delay_loop.max(probe.grace).max(timing.delay_before_retry);
                let limit = if probe.truth {
                    pause + attempt
                } else {
                    pause + attempt.times(retries + 1) + timing.delay_before_retry.times(retries)
                };
                let waited = self.now.since(probe.since);
                if (probe.says != probe.truth || !probe.spoken) && waited > limit {
                    return Err(format!(
                        "a check of {} says {} after {waited:?} of {}, {limit:?} at most",
                        server.key, probe.says, probe.truth
                    ));
                }
            }
        }
        Ok(())
    }

    // What happens.

    pub(crate) fn step(&mut self) -> Result<(), String> {
        let next = self.probes.iter().flatten().filter_map(Probe::next).min();
        let chance = self.now + micros(&mut self.rng, 0, 4_000);
        let quorum = self.quorum;
        match next.filter(|next| *next <= chance) {
            Some(at) => {
                self.now = self.now.max(at);
                self.judge_times()?;
                self.attempts()?;
            }
            None => {
                self.now = chance;
                self.judge_times()?;
                self.accident()?;
            }
        }
        self.judge_quorum();
        self.judge_rows()?;
        self.judge_events(quorum)?;
        self.judge_times()
    }

    /// Begins and ends the attempts that are due.
    fn attempts(&mut self) -> Result<(), String> {
        let now = self.now;
        for server in 0..self.probes.len() {
            for number in 0..self.probes[server].len() {
                let timing = self.plan.servers[server].checks[number].timing;
                let probe = &mut self.probes[server][number];
                if probe.ends.is_some_and(|ends| ends <= now) {
                    probe.ends = None;
                    let verdict = match (probe.truth, self.rng.below(20)) {
                        (false, _) => Verdict::Down("connection refused".into()),
                        (true, 0) => Verdict::UpWith(WeightChange::Absolute(self.rng.below(4) as u32)),
                        (true, 1) => Verdict::UpWith(WeightChange::Relative(self.rng.below(5) as i32 - 2)),
                        (true, _) => Verdict::Up,
                    };
                    self.tally.attempts += 1;
                    self.finish(server, number, &timing, verdict)?;
                } else if probe.ends.is_none() && probe.schedule.due().is_some_and(|due| due <= now) {
                    if self.suspended {
                        return Err("a check is done while it should rest".into());
                    }
                    if now < probe.not_before {
                        return Err(format!("a check is done {:?} too soon", probe.not_before.since(now)));
                    }
                    probe.schedule.begin();
                    let limit = attempt_limit(&timing).as_micros();
                    probe.ends = Some(now + Duration::from_micros(self.rng.below(limit + 1)));
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, server: usize, number: usize, timing: &Timing, verdict: Verdict) -> Result<(), String> {
        let probe = &mut self.probes[server][number];
        let outcome = probe.schedule.finish(self.now, &verdict);
        probe.failures = if probe.truth { 0 } else { probe.failures + 1 };
        // Failures are tried again, but not at the first check of a server that is only taken for up, nor while it
        // is down.
        let patient = probe.knows.unwrap_or(timing.alpha);
        let counts = probe.truth || !patient || probe.failures > timing.retry;
        let counted = outcome == Outcome::Counts;
        probe.not_before = self.now + if counted { timing.delay_loop } else { timing.delay_before_retry };
        if counted != counts {
            return Err(format!("{outcome:?} after {} failures with {timing:?}", probe.failures));
        }
        if counted {
            (probe.says, probe.spoken, probe.failures) = (probe.truth, true, 0);
            probe.knows = Some(probe.truth);
            probe.grace = Duration::ZERO;
            if let Verdict::UpWith(change) = verdict {
                probe.weight = Some(change);
            }
            self.pool.set_check(server, number, &verdict);
        } else if self.mutant == Mutant::EarlyWord && self.rng.percent(20) {
            self.pool.set_check(server, number, &verdict);
        }
        Ok(())
    }

    fn accident(&mut self) -> Result<(), String> {
        let server = self.rng.below(self.probes.len() as u64) as usize;
        match self.rng.below(100) {
            0..70 => {
                let now = self.now;
                if let Some(number) = (self.probes[server].len() as u64).checked_sub(1) {
                    let number = self.rng.between(0, number) as usize;
                    let probe = &mut self.probes[server][number];
                    (probe.truth, probe.since) = (!probe.truth, now);
                }
            }
            70..82 => {
                let key = self.plan.servers[server].key;
                let weight = self.rng.below(4) as u32;
                let decree = self.rng.pick(&[Some(Override::Drain), Some(Override::Weight(weight)), None]);
                match decree {
                    Some(decree) => self.decrees.insert(key, decree),
                    None => self.decrees.remove(&key),
                };
                self.pool.set_override(key, decree);
            }
            82..88 => self.rest(),
            88..94 => self.reload(Arc::clone(&self.plan))?,
            _ => {
                let plan = self.changed_plan();
                self.reload(plan)?;
            }
        }
        Ok(())
    }

    /// The address goes, or comes back.
    fn rest(&mut self) {
        self.tally.rests += 1;
        self.suspended = !self.suspended;
        for probe in self.probes.iter_mut().flatten() {
            if !self.suspended {
                probe.schedule.resume(self.now);
                (probe.since, probe.grace) = (self.now, probe.grace.max(Duration::from_secs(1)));
                probe.not_before = self.now;
            } else if self.mutant != Mutant::NoRest {
                probe.schedule.suspend();
                (probe.ends, probe.failures) = (None, 0);
            }
        }
    }

    fn changed_plan(&mut self) -> Arc<VirtualServer> {
        let mut plan = VirtualServer::clone(&self.plan);
        let rng = &mut self.rng;
        match rng.below(5) {
            0 if plan.servers.len() > 1 => drop(plan.servers.remove(rng.below(plan.servers.len() as u64) as usize)),
            1 => {
                let free = (1..9).find(|last| plan.servers.iter().all(|server| server.key != key(*last)));
                if let Some(last) = free {
                    let at = rng.below(plan.servers.len() as u64) as usize;
                    plan.servers.insert(at, server(rng, last));
                }
            }
            2 => {
                let at = rng.below(plan.servers.len() as u64) as usize;
                let check = check(rng);
                let checks = &mut Arc::make_mut(&mut plan.servers[at]).checks;
                if checks.is_empty() { checks.push(check) } else { checks[0] = check }
            }
            3 => {
                let at = rng.below(plan.servers.len() as u64) as usize;
                let server = Arc::make_mut(&mut plan.servers[at]);
                server.weight = rng.below(4) as u32;
                server.checks.pop();
            }
            _ => {
                plan.quorum = rng.between(1, 6) as u32;
                plan.hysteresis = rng.below(u64::from(plan.quorum)) as u32;
                plan.servers.reverse();
            }
        }
        Arc::new(plan)
    }

    fn reload(&mut self, plan: Arc<VirtualServer>) -> Result<(), String> {
        self.tally.reloads += 1;
        let same = plan == self.plan;
        let rows = self.pool.destinations();
        let origins = heritage(&self.plan, &plan);
        let up: BTreeMap<_, _> =
            (0..self.plan.servers.len()).map(|number| (self.plan.servers[number].key, self.is_up(number))).collect();
        let before = std::mem::take(&mut self.probes);
        for (server, origins) in plan.servers.iter().zip(&origins) {
            let old = self.plan.servers.iter().position(|old| old.key == server.key);
            let mut probes = Vec::new();
            for (number, (check, origin)) in server.checks.iter().zip(origins).enumerate() {
                let mut fresh = Probe::new(&mut self.rng, self.now, check, self.mutant);
                if self.suspended && self.mutant != Mutant::NoRest {
                    fresh.schedule.suspend();
                }
                probes.push(match origin {
                    Some(_) if self.mutant == Mutant::ReloadRestartsChecks && !self.suspended => {
                        let (place, number) = origin.unwrap_or_default();
                        Probe { schedule: fresh.schedule, ends: None, ..before[place][number].clone() }
                    }
                    Some((place, number)) => before[*place][*number].clone(),
                    None => {
                        // In the place of another it knows what that one knew; till its first word it says what
                        // the server's health was.
                        if let Some(ancestor) = old.and_then(|old| before[old].get(number)) {
                            fresh.schedule = fresh.schedule.succeeding(&ancestor.schedule);
                            fresh.knows = ancestor.knows;
                        }
                        Probe { says: up.get(&server.key).copied().unwrap_or(!check.timing.alpha), ..fresh }
                    }
                });
            }
            self.probes.push(probes);
        }
        self.told.retain(|key, _| up.contains_key(key));
        self.decrees.retain(|key, _| plan.servers.iter().any(|server| server.key == *key));
        let before = up;
        self.plan = plan;

        let fresh = Pool::new(misread(&self.plan, self.mutant));
        let old = std::mem::replace(&mut self.pool, fresh);
        if self.mutant != Mutant::ReloadForgetsHealth {
            self.pool = Pool::reloaded(misread(&self.plan, self.mutant), old);
        }
        if self.mutant == Mutant::ReloadForgetsOverrides {
            for key in self.decrees.keys() {
                self.pool.set_override(*key, None);
            }
        }
        if same && self.pool.destinations() != rows {
            return Err("a reload of the same file changed the rows".into());
        }
        // Those that are new begin untold; those that are gone have been told down.
        for (number, server) in self.plan.servers.iter().enumerate() {
            if !before.contains_key(&server.key) && self.is_up(number) {
                self.told.insert(server.key, true);
            }
        }
        Ok(())
    }

    /// Another pool that is told the same in another order wants the same rows, if there is no hysteresis that
    /// remembers.
    pub(crate) fn judge_path(&mut self) -> Result<(), String> {
        if self.plan.hysteresis > 0 || self.probes.iter().flatten().any(|probe| !probe.spoken) {
            return Ok(());
        }
        let mut pool = Pool::new(Arc::clone(&self.plan));
        let mut checks: Vec<_> = (0..self.probes.len())
            .flat_map(|server| (0..self.probes[server].len()).map(move |number| (server, number)))
            .collect();
        for at in (1..checks.len()).rev() {
            checks.swap(at, self.rng.below(at as u64 + 1) as usize);
        }
        for (server, number) in checks {
            let probe = &self.probes[server][number];
            if let Some(change) = probe.weight {
                pool.set_check(server, number, &Verdict::UpWith(change));
            }
            pool.set_check(server, number, &if probe.says { Verdict::Up } else { Verdict::Down("no".into()) });
        }
        for (key, decree) in &self.decrees {
            pool.set_override(*key, Some(*decree));
        }
        if pool.destinations() != self.pool.destinations() {
            return Err("another way to the same health leads to other rows".into());
        }
        Ok(())
    }
}
