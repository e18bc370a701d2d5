//! Deliberately broken routers, most of them bugs that other implementations had: the proof that the
//! simulator can fail. A mutant sits between the agent and its node and spoils what goes in or comes out.

use std::collections::VecDeque;

use steadfast_core::agent::State;
use steadfast_core::types::Version;

use super::node::Part;
use super::port::{Input, Output};
use super::scenario::{GROUPS, Member, Scenario};

/// What is broken on every node of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Nothing.
    Sound,
    /// An Active that hears anything starts its Adver_Timer anew (keepalived).
    RearmsOnReceive,
    /// Lower-priority Advertisements are not answered at once (FRR, RFC 5798).
    SwallowsAnswers,
    /// An Active that steps down says nothing.
    SwallowsFarewells,
    /// A planned stop does not send priority 0 (failover_vr).
    SwallowsResignations,
    /// Deadlines fire before the receive queue has been drained.
    ExpiresBeforeDraining,
    /// Timers run fast.
    HurriesTakeover,
    /// Timers run slow: an interval of centiseconds is taken for something longer (holo).
    SlowsTakeover,
    /// Addresses stay on a router that has stepped down.
    KeepsAddresses,
    /// The rightful Active does not announce its addresses again after a split (Vrrpd).
    AnnouncesOnce,
    /// Preempt_Mode the wrong way round (seesaw-rust).
    InvertsPreempt,
    /// Equal priorities: an Active always yields (failover_vr).
    YieldsToEqual,
    /// A machine that stood still takes over as if it had been awake.
    ForgetsPatience,
    /// An Active that steps down sends priority 0.
    ResignsOnYield,
    /// A new Active announces its addresses before it holds them.
    AnnouncesEarly,
    /// Every Advertisement is sent again and again.
    Chatters,
    /// The members of a sync group move alone.
    MovesAlone,
}

impl Mutant {
    /// All of them but the sound one.
    pub const BROKEN: [Self; 16] = [
        Self::RearmsOnReceive,
        Self::SwallowsAnswers,
        Self::SwallowsFarewells,
        Self::SwallowsResignations,
        Self::ExpiresBeforeDraining,
        Self::HurriesTakeover,
        Self::SlowsTakeover,
        Self::KeepsAddresses,
        Self::AnnouncesOnce,
        Self::InvertsPreempt,
        Self::YieldsToEqual,
        Self::ForgetsPatience,
        Self::ResignsOnYield,
        Self::AnnouncesEarly,
        Self::Chatters,
        Self::MovesAlone,
    ];

    /// The rule that it breaks first of all.
    pub fn breaks(self) -> Option<&'static str> {
        Some(match self {
            Self::Sound => return None,
            Self::RearmsOnReceive => "active-silent",
            Self::SwallowsAnswers => "answer",
            Self::SwallowsFarewells => "farewell",
            Self::SwallowsResignations => "resignation",
            Self::ExpiresBeforeDraining => "takeover-before-drain",
            Self::HurriesTakeover => "takeover-too-early",
            Self::SlowsTakeover | Self::InvertsPreempt => "takeover-too-late",
            Self::KeepsAddresses => "holding",
            Self::AnnouncesOnce => "client",
            Self::YieldsToEqual => "state",
            Self::ForgetsPatience => "takeover-after-standstill",
            Self::ResignsOnYield => "advertisement",
            Self::AnnouncesEarly => "announcement",
            Self::Chatters => "storm",
            Self::MovesAlone => "together",
        })
    }

    /// What the agent is told that it is configured to be.
    pub fn configure(self, member: Member, version: Version) -> Member {
        let longer = (member.centiseconds * 10).min(if version == Version::V2 { 25_500 } else { 4_095 });
        match self {
            Self::InvertsPreempt => Member { preempt: !member.preempt, ..member },
            Self::SlowsTakeover => Member { centiseconds: longer, ..member },
            _ => member,
        }
    }

    /// How far ahead of the clock the agent's deadlines are looked at.
    pub fn haste(self, scenario: &Scenario) -> u64 {
        match self {
            Self::HurriesTakeover => scenario.interval(0) / 3,
            _ => 0,
        }
    }

    /// Spoils what came out of the agent, from `first` on.
    pub fn spoil(
        self,
        parts: &mut [Option<Part>; GROUPS],
        queue: &mut VecDeque<Input>,
        now: u64,
        outbox: &mut Vec<Output>,
        first: usize,
    ) {
        for output in outbox.split_off(first) {
            let group = match output {
                Output::Send(frame) => frame.group,
                Output::Change(group, ..)
                | Output::Held(group, _)
                | Output::Announce(group, _)
                | Output::Tell(group, _) => group,
            };
            let Some(part) = &parts[group] else { continue };
            match (self, output) {
                (Self::SwallowsAnswers, Output::Send(_)) if part.shadow.answers(now) => {}
                (Self::SwallowsFarewells, Output::Send(frame))
                    if part.shadow.state == State::Backup && frame.heard.priority > 0 => {}
                (Self::ResignsOnYield, Output::Send(frame)) if part.shadow.state == State::Backup => {
                    outbox.push(Output::Send(frame.with_priority(0)));
                }
                (Self::SwallowsResignations, Output::Send(frame)) if frame.heard.priority == 0 => {}
                (Self::KeepsAddresses, Output::Change(_, false, generation)) => {
                    queue.push_back(Input::Done(group, false, generation, true));
                }
                (Self::AnnouncesOnce, Output::Announce(..)) if part.announced >= 3 => {}
                (Self::AnnouncesEarly, Output::Change(_, true, _)) => {
                    outbox.extend([output, Output::Announce(group, 0)]);
                }
                (Self::Chatters, Output::Send(_)) => outbox.extend([output; 20]),
                _ => outbox.push(output),
            }
        }
        outbox[first..].sort_by_key(Output::rank);
    }
}
