//! What a pool says and wants, case by case. Chance is in the workspace's `lvs_simulation`.

use std::net::{IpAddr, Ipv4Addr};

use steadfast_core::time::Duration;

use super::*;
use crate::ipvs::row::{Forwarding, ServiceKey};
use crate::lvs::plan::SorryServer;
use crate::lvs::testing;

const DOWN: Verdict = Verdict::Down(Cow::Borrowed("connection refused"));

fn key(last: u8) -> DestinationKey {
    DestinationKey { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), port: 80 }
}

fn check(alpha: bool, seconds: u64) -> Arc<Check> {
    testing::check(alpha, Duration::from_secs(seconds))
}

fn server(last: u8, weight: u32, checks: Vec<Arc<Check>>) -> RealServer {
    RealServer { weight, checks, ..testing::server(&key(last).to_string()) }
}

/// Servers 1 to `count` of weight 1 with a check each, quorum 1.
fn service(count: u8, alpha: bool) -> VirtualServer {
    let servers = (1..=count).map(|last| Arc::new(server(last, 1, vec![check(alpha, 6)]))).collect();
    VirtualServer { alpha, servers, ..testing::service() }
}

fn sorry(last: u8, inhibit: bool) -> Option<SorryServer> {
    Some(SorryServer { key: key(last), forwarding: Forwarding::Masquerade, inhibit })
}

/// Changes server `place` of a plan.
fn change(plan: &mut VirtualServer, place: usize, with: impl FnOnce(&mut RealServer)) {
    with(Arc::make_mut(&mut plan.servers[place]));
}

fn pool(plan: VirtualServer) -> Pool {
    Pool::new(Arc::new(plan))
}

/// The rows, as the last byte of the address and the weight.
fn rows(pool: &Pool) -> Vec<(u8, u32)> {
    let last = |key: &DestinationKey| match key.address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(_) => 0,
    };
    pool.destinations().iter().map(|row| (last(&row.key), row.weight)).collect()
}

/// The events in short: `+1` and `-1` of a server, `Q+`, `Q-`.
fn events(pool: &mut Pool) -> String {
    short(pool.take_events())
}

fn short(events: Vec<PoolEvent>) -> String {
    let last = |server: &RealServer| server.key.address.to_string().rsplit_once('.').unwrap().1.to_owned();
    let words = events.into_iter().map(|event| match event {
        PoolEvent::ServerUp { server } => format!("+{}", last(&server)),
        PoolEvent::ServerDown { server, .. } => format!("-{}", last(&server)),
        PoolEvent::QuorumGained { .. } => "Q+".to_owned(),
        PoolEvent::QuorumLost { .. } => "Q-".to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn without_alpha_servers_are_up_until_a_check_fails() {
    let mut pool = pool(service(2, false));
    assert_eq!((rows(&pool), events(&mut pool).as_str()), (vec![(1, 1), (2, 1)], "Q+"));
    pool.set_check(0, 0, &DOWN);
    assert_eq!((rows(&pool), events(&mut pool).as_str()), (vec![(2, 1)], "-1"));
    assert_eq!(pool.view().next().unwrap().reason, "connection refused");
    pool.set_check(1, 0, &DOWN);
    assert_eq!((rows(&pool), events(&mut pool).as_str()), (vec![], "-2 Q-"));
    pool.set_check(0, 0, &Verdict::Up);
    assert_eq!((rows(&pool), events(&mut pool).as_str()), (vec![(1, 1)], "+1 Q+"));
    pool.set_check(0, 0, &Verdict::Up);
    pool.set_check(1, 0, &DOWN);
    assert_eq!(events(&mut pool), "", "no news");
}

#[test]
fn with_alpha_they_are_down_until_every_check_succeeds() {
    let mut plan = service(2, true);
    change(&mut plan, 0, |server| server.checks.push(check(true, 7)));
    let mut pool = pool(plan);
    assert_eq!((rows(&pool), events(&mut pool).as_str()), (vec![], ""));
    assert!(pool.view().all(|server| !server.known && server.reason == "not checked yet"));
    pool.set_check(0, 0, &Verdict::Up);
    assert_eq!((rows(&pool), events(&mut pool).as_str()), (vec![], ""));
    pool.set_check(0, 1, &Verdict::Up);
    assert_eq!((rows(&pool), events(&mut pool).as_str()), (vec![(1, 1)], "+1 Q+"));
    pool.set_check(1, 0, &DOWN);
    assert_eq!(events(&mut pool), "-2", "that it is down and not only held back is news");
    pool.set_check(1, 0, &DOWN);
    assert_eq!(events(&mut pool), "");
}

#[test]
fn a_server_without_checks_is_up() {
    let mut plan = service(1, true);
    change(&mut plan, 0, |server| server.checks.clear());
    assert_eq!(rows(&pool(plan)), [(1, 1)]);
}

#[test]
fn the_quorum_has_its_hysteresis() {
    let mut plan = service(5, false);
    (plan.quorum, plan.hysteresis) = (3, 1);
    let mut pool = pool(plan);
    assert_eq!(events(&mut pool), "Q+");
    for place in [0, 1, 2] {
        assert!(pool.has_quorum());
        pool.set_check(place, 0, &DOWN);
    }
    assert!(pool.has_quorum(), "2 is not less than 3 - 1");
    pool.set_check(3, 0, &DOWN);
    assert_eq!(events(&mut pool), "-1 -2 -3 -4 Q-");
    for place in [0, 1] {
        pool.set_check(place, 0, &Verdict::Up);
        assert!(!pool.has_quorum());
    }
    pool.set_check(2, 0, &Verdict::Up);
    assert_eq!(events(&mut pool), "+1 +2 +3 Q+", "4 is 3 + 1");
}

#[test]
fn no_weight_at_all_is_no_quorum_whatever_the_hysteresis() {
    let mut plan = service(2, false);
    (plan.quorum, plan.hysteresis) = (1, 9);
    let mut weak = pool(plan.clone());
    assert!(!weak.has_quorum(), "10 are wanted");
    plan.quorum = 0;
    plan.hysteresis = 0;
    change(&mut plan, 0, |server| server.weight = 0);
    change(&mut plan, 1, |server| server.weight = 0);
    let mut none = pool(plan);
    none.set_check(0, 0, &DOWN);
    none.set_check(0, 0, &Verdict::Up);
    assert_eq!((rows(&none), events(&mut none).as_str()), (vec![(1, 0), (2, 0)], "-1 +1"));
    assert_eq!(events(&mut weak), "");
}

#[test]
fn the_sorry_server_stands_for_all_while_the_quorum_is_lost() {
    let mut plan = service(3, false);
    plan.quorum = 2;
    plan.sorry = sorry(9, false);
    let mut pool = pool(plan.clone());
    assert_eq!(rows(&pool), [(1, 1), (2, 1), (3, 1)]);
    pool.set_check(0, 0, &DOWN);
    assert_eq!(rows(&pool), [(2, 1), (3, 1)]);
    pool.set_check(1, 0, &DOWN);
    assert_eq!(rows(&pool), [(9, 1)]);
    assert_eq!(pool.destinations().get(&key(9)).unwrap().forwarding, Forwarding::Masquerade);
    pool.set_check(1, 0, &Verdict::Up);
    assert_eq!((rows(&pool), events(&mut pool).as_str()), (vec![(2, 1), (3, 1)], "Q+ -1 -2 Q- +2 Q+"));

    plan.sorry = None;
    let mut without = self::pool(plan);
    without.set_check(0, 0, &DOWN);
    without.set_check(1, 0, &DOWN);
    assert_eq!(rows(&without), [(3, 1)], "without one, those that live stay");
}

#[test]
fn a_start_without_the_quorum_begins_with_the_sorry_server() {
    let mut plan = service(2, true);
    plan.sorry = sorry(9, false);
    let mut pool = pool(plan);
    assert_eq!((rows(&pool), events(&mut pool).as_str()), (vec![(9, 1)], "Q-"));
    pool.set_check(0, 0, &Verdict::Up);
    assert_eq!((rows(&pool), events(&mut pool).as_str()), (vec![(1, 1)], "+1 Q+"));
}

#[test]
fn an_inhibited_sorry_server_is_always_there() {
    let mut plan = service(1, false);
    plan.sorry = sorry(9, true);
    let mut pool = pool(plan);
    assert_eq!(rows(&pool), [(1, 1), (9, 0)]);
    pool.set_check(0, 0, &DOWN);
    assert_eq!(rows(&pool), [(9, 1)]);
}

#[test]
fn a_sorry_server_may_be_a_real_server_too() {
    for inhibit in [false, true] {
        let mut plan = service(2, false);
        (plan.quorum, plan.sorry) = (2, sorry(1, inhibit));
        change(&mut plan, 0, |server| server.weight = 5);
        let mut pool = pool(plan);
        assert_eq!(rows(&pool), [(1, 5), (2, 1)]);
        pool.set_check(0, 0, &DOWN);
        assert_eq!(rows(&pool), [(1, 1)]);
    }
}

#[test]
fn inhibit_on_failure_keeps_the_row() {
    let mut plan = service(3, false);
    (plan.quorum, plan.sorry) = (2, sorry(9, false));
    change(&mut plan, 0, |server| server.inhibit_on_failure = true);
    change(&mut plan, 1, |server| server.inhibit_on_failure = true);
    let mut pool = pool(plan);
    pool.set_check(0, 0, &DOWN);
    assert_eq!(rows(&pool), [(1, 0), (2, 1), (3, 1)]);
    pool.set_check(2, 0, &DOWN);
    assert_eq!(rows(&pool), [(1, 0), (2, 0), (9, 1)], "also one that lives, without the quorum");
}

#[test]
fn checks_change_weights() {
    let mut plan = service(1, false);
    change(&mut plan, 0, |server| {
        server.weight = 10;
        server.checks.extend([check(false, 7), check(false, 8)]);
    });
    let mut pool = pool(plan);
    pool.set_check(0, 0, &Verdict::UpWith(WeightChange::Relative(5)));
    assert_eq!(rows(&pool), [(1, 15)]);
    pool.set_check(0, 1, &Verdict::UpWith(WeightChange::Absolute(100)));
    assert_eq!(rows(&pool), [(1, 105)]);
    pool.set_check(0, 2, &Verdict::UpWith(WeightChange::Relative(-1000)));
    assert_eq!(rows(&pool), [(1, 0)]);
    pool.set_check(0, 2, &Verdict::Up);
    assert_eq!(rows(&pool), [(1, 0)], "one that names no weight leaves it");
    pool.set_check(0, 2, &Verdict::UpWith(WeightChange::Relative(i32::MAX)));
    assert_eq!(rows(&pool), [(1, LARGEST_WEIGHT)]);
}

#[test]
fn a_weight_that_falls_can_cost_the_quorum() {
    let mut plan = service(2, false);
    plan.quorum = 2;
    let mut pool = pool(plan);
    pool.set_check(0, 0, &Verdict::UpWith(WeightChange::Absolute(0)));
    assert_eq!(events(&mut pool), "Q+ Q-");
}

#[test]
fn an_administrator_has_the_last_word() {
    let mut pool = pool(service(2, false));
    pool.set_check(0, 0, &Verdict::UpWith(WeightChange::Absolute(7)));
    assert!(pool.set_override(key(1), Some(Override::Drain)));
    assert_eq!(rows(&pool), [(1, 0), (2, 1)]);
    pool.set_check(0, 0, &DOWN);
    assert_eq!(rows(&pool), [(2, 1)], "its checks go on");
    pool.set_check(0, 0, &Verdict::Up);
    assert!(pool.set_override(key(1), Some(Override::Weight(u32::MAX))));
    assert_eq!(rows(&pool), [(1, LARGEST_WEIGHT), (2, 1)]);
    assert!(pool.set_override(key(1), None));
    assert_eq!(rows(&pool), [(1, 7), (2, 1)]);
    assert!(!pool.set_override(key(3), Some(Override::Drain)));
}

#[test]
fn a_drained_server_keeps_its_connections_when_the_sorry_server_comes() {
    let mut plan = service(2, false);
    plan.sorry = sorry(9, false);
    let mut pool = pool(plan);
    pool.set_override(key(1), Some(Override::Drain));
    pool.set_check(1, 0, &DOWN);
    assert_eq!(rows(&pool), [(1, 0), (9, 1)]);
    assert_eq!(events(&mut pool), "Q+ -2 Q-");
}

#[test]
fn numbers_that_are_not_in_the_plan_are_nobodys() {
    let mut pool = pool(service(1, false));
    events(&mut pool);
    pool.set_check(1, 0, &DOWN);
    pool.set_check(0, 1, &DOWN);
    assert_eq!((rows(&pool), events(&mut pool).as_str()), (vec![(1, 1)], ""));
}

#[test]
fn a_reload_keeps_health_weight_and_overrides() {
    let mut plan = service(4, false);
    plan.quorum = 2;
    let mut old = pool(plan.clone());
    old.set_check(0, 0, &DOWN);
    old.set_check(1, 0, &Verdict::UpWith(WeightChange::Absolute(4)));
    old.set_override(key(3), Some(Override::Drain));
    let before = rows(&old);
    assert_eq!(before, [(2, 4), (3, 0), (4, 1)]);
    events(&mut old);
    let mut same = Pool::reloaded(Arc::new(plan.clone()), old.clone());
    assert_eq!((rows(&same), events(&mut same).as_str()), (before, ""));

    plan.servers.reverse();
    plan.servers.remove(0);
    plan.servers.push(Arc::new(server(5, 2, vec![check(true, 6)])));
    plan.servers.push(Arc::new(server(6, 2, vec![check(false, 6)])));
    let mut new = Pool::reloaded(Arc::new(plan), old);
    assert_eq!((rows(&new), events(&mut new).as_str()), (vec![(2, 4), (3, 0), (6, 2)], "-4"));
    assert_eq!(new.view().map(|server| server.known).collect::<Vec<_>>(), [false, true, true, false, false]);
}

#[test]
fn a_changed_check_keeps_the_health_until_its_first_verdict() {
    let mut plan = service(2, false);
    let mut old = pool(plan.clone());
    old.set_check(0, 0, &DOWN);
    old.set_check(1, 0, &Verdict::Up);
    events(&mut old);
    for place in [0, 1] {
        change(&mut plan, place, |server| server.checks = vec![check(true, 60)]);
    }
    let mut new = Pool::reloaded(Arc::new(plan), old);
    assert_eq!((rows(&new), events(&mut new).as_str()), (vec![(2, 1)], ""));
    assert!(new.view().all(|server| !server.known));
    new.set_check(0, 0, &Verdict::Up);
    new.set_check(1, 0, &DOWN);
    assert_eq!((rows(&new), events(&mut new).as_str()), (vec![(1, 1)], "+1 -2"));
}

#[test]
fn a_failing_check_that_is_taken_out_lets_its_server_up() {
    let mut plan = service(1, false);
    change(&mut plan, 0, |server| server.checks.push(check(false, 7)));
    let mut old = pool(plan.clone());
    old.set_check(0, 0, &Verdict::Up);
    old.set_check(0, 1, &DOWN);
    events(&mut old);
    change(&mut plan, 0, |server| server.checks.truncate(1));
    let mut new = Pool::reloaded(Arc::new(plan), old);
    assert_eq!((rows(&new), events(&mut new).as_str()), (vec![(1, 1)], "+1 Q+"));
}

#[test]
fn a_reload_judges_the_quorum_anew() {
    let mut plan = service(3, false);
    let mut old = pool(plan.clone());
    events(&mut old);
    plan.quorum = 4;
    let mut new = Pool::reloaded(Arc::new(plan.clone()), old);
    assert_eq!(events(&mut new), "Q-");
    plan.quorum = 3;
    let mut new = Pool::reloaded(Arc::new(plan), new);
    assert_eq!(events(&mut new), "Q+");
}

#[test]
fn checks_are_found_again_wherever_they_stand() {
    let plan = |servers: Vec<RealServer>| VirtualServer {
        servers: servers.into_iter().map(Arc::new).collect(),
        ..service(0, false)
    };
    let (a, b, c) = (check(false, 1), check(false, 2), check(true, 1));
    let old = plan(vec![
        server(1, 1, vec![a.clone(), b.clone(), a.clone()]),
        server(2, 1, vec![a.clone()]),
        server(3, 1, vec![a.clone()]),
    ]);
    let new = plan(vec![
        server(4, 1, vec![a.clone()]),
        server(2, 9, vec![b.clone(), check(false, 1)]),
        server(1, 1, vec![a.clone(), c, a.clone(), a, b]),
    ]);
    assert_eq!(
        heritage(&old, &new),
        [vec![None], vec![None, Some((1, 0))], vec![Some((0, 0)), None, Some((0, 2)), None, Some((0, 1))],]
    );
}

#[test]
fn the_end_is_told_as_keepalived_tells_it() {
    let mut plan = service(3, false);
    let with = |plan: &VirtualServer| {
        let mut pool = pool(plan.clone());
        pool.set_check(1, 0, &DOWN);
        pool
    };
    assert_eq!(short(with(&plan).end(false)), "-1 -3 Q-");
    assert_eq!(short(with(&plan).end(true)), "");
    plan.omega = true;
    assert_eq!(short(with(&plan).end(true)), "-1 -3 Q-");
}

#[test]
fn every_key_of_a_group_is_a_service() {
    let mut plan = service(1, false);
    plan.keys.push(ServiceKey::Mark { mark: 3, family: steadfast_core::types::Family::V4 });
    let services: Vec<_> = pool(plan.clone()).services().collect();
    assert_eq!(services.iter().map(|service| service.key).collect::<Vec<_>>(), plan.keys);
    assert!(services.iter().all(|service| &*service.scheduler == "rr"));
}
