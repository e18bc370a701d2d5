//! `garp_group`: announcements that leave interfaces of one group wait for each other here, in the order in which the core
//! has asked for them. Who is no longer Active when its turn comes is passed over.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use steadfast_core::agent::RouterId;
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::Family;

use crate::plan::pacing::PacedGroup;

/// What waits in one lane at most: some bursts of all addresses of 255 Virtual Routers. Then the oldest give way.
const MOST: usize = 16_384;

/// An announcement: whose, and of which address.
type Announcement = (RouterId, IpAddr);

/// All lanes.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    plan: Vec<PacedGroup>,
    lanes: Vec<Lane>,
    by_name: HashMap<String, HashMap<Family, usize>>,
}

/// Announcements of one kind that leave one group of interfaces.
#[derive(Debug)]
struct Lane {
    spacing: Duration,
    /// When the next may leave.
    next: Instant,
    waiting: VecDeque<Announcement>,
}

impl Pacing {
    /// These are the groups from now on; what waited in those that are not the same is to be announced again.
    pub(super) fn plan(&mut self, plan: Vec<PacedGroup>) -> Vec<Announcement> {
        if self.plan == plan {
            return Vec::new();
        }
        let old = std::mem::take(self);
        for group in &plan {
            for (family, spacing) in [(Family::V4, group.arp), (Family::V6, group.na)] {
                let Some(spacing) = spacing else { continue };
                for name in &group.interfaces {
                    self.by_name.entry(name.clone()).or_default().insert(family, self.lanes.len());
                }
                self.lanes.push(Lane { spacing, next: Instant::default(), waiting: VecDeque::new() });
            }
        }
        self.plan = plan;
        old.lanes.into_iter().flat_map(|lane| lane.waiting).collect()
    }

    /// Whether nothing is paced.
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Whether an announcement leaves this interface at once; otherwise it waits.
    pub(super) fn admit(&mut self, now: Instant, interface: &str, announcement: Announcement) -> bool {
        let lanes = self.by_name.get(interface);
        let lane = lanes.and_then(|lanes| lanes.get(&Family::of(&announcement.1)));
        let Some(lane) = lane.and_then(|lane| self.lanes.get_mut(*lane)) else { return true };
        if lane.waiting.is_empty() && lane.next <= now {
            lane.next = now + lane.spacing;
            return true;
        }
        if lane.waiting.len() == MOST {
            lane.waiting.pop_front();
        }
        lane.waiting.push_back(announcement);
        false
    }

    /// The next announcement whose turn has come and that is `wanted` still.
    pub(super) fn next(&mut self, now: Instant, wanted: impl Fn(&Announcement) -> bool) -> Option<Announcement> {
        for lane in self.lanes.iter_mut().filter(|lane| lane.next <= now) {
            while let Some(announcement) = lane.waiting.pop_front() {
                if wanted(&announcement) {
                    lane.next = now + lane.spacing;
                    return Some(announcement);
                }
            }
        }
        None
    }

    /// When the next turn comes.
    pub(super) fn due(&self) -> Option<Instant> {
        self.lanes.iter().filter(|lane| !lane.waiting.is_empty()).map(|lane| lane.next).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_core::agent::{Agent, Link, RouterConfig, Settings};
    use steadfast_core::types::Vrid;

    use crate::storage::Heap;

    #[test]
    fn who_shares_a_switch_waits_for_each_other() {
        let mut agent = Agent::<Heap>::new();
        let now = Instant::from_micros(1_000_000);
        let interface = agent.add_interface().unwrap();
        agent.handle_link(now, interface, Link::Up);
        let addresses = [[10, 0, 0, 1].into()];
        let settings = Settings::new(Family::V4, Vrid::new(1).unwrap());
        let config = RouterConfig { interface, settings, addresses: &addresses, excluded: &[], peers: &[] };
        let router = agent.add(now, &config, false).unwrap();
        let of = |last: u8| (router, IpAddr::from([10, 0, 0, last]));
        let mut pacing = Pacing::default();
        assert!(pacing.admit(now, "eth0", of(1)));
        let span = Duration::from_millis(20);
        let group = |names: [&str; 2]| PacedGroup {
            arp: Some(span),
            na: None,
            interfaces: names.iter().map(ToString::to_string).collect(),
        };
        pacing.plan(vec![group(["eth0", "eth1"])]);
        assert!(pacing.admit(now, "eth0", of(1)));
        assert!(
            !pacing.admit(now, "eth1", of(2)) && !pacing.admit(now, "eth0", of(3)) && !pacing.admit(now, "eth0", of(4))
        );
        assert!(pacing.admit(now, "eth2", of(5)), "it is in no group");
        assert!(pacing.admit(now, "eth0", (router, "fe80::1".parse().unwrap())), "of another kind");
        assert_eq!((pacing.next(now, |_| true), pacing.due()), (None, Some(now + span)));
        assert_eq!(pacing.next(now + span, |_| true), Some(of(2)));
        assert_eq!(pacing.next(now + span, |_| true), None);
        // The third is no longer wanted.
        let later = now + span + span;
        assert_eq!(pacing.next(later, |announcement| *announcement != of(3)), Some(of(4)));
        assert_eq!(pacing.due(), None);
        assert!(!pacing.admit(later, "eth0", of(6)));
        assert!(pacing.plan(vec![group(["eth0", "eth1"])]).is_empty());
        assert_eq!(pacing.plan(vec![group(["eth0", "eth3"])]), [of(6)]);
        (0..MOST + 2).for_each(|_| _ = pacing.admit(later, "eth0", of(7)));
        assert_eq!(pacing.lanes[0].waiting.len(), MOST);
    }
}
