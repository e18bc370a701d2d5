//! The rules of the state machine (RFC 9568 section 6.4, RFC 3768 section 6.4), at the core's public API: one
//! test a rule, with its section in the name.

use steadfast_core::agent::{Link, Reason, State};
use steadfast_core::time::{Duration, Instant};
use steadfast_core::types::{Family, Version};
use steadfast_core::wire::Discard;
use steadfast_tests::sim::bench::{Answers, Bench, Did, MS, SECOND, host, micros, priority, sent};

const DOWN: u64 = 3 * SECOND + 156 * SECOND / 256;
const SKEW: u64 = 156 * SECOND / 256;

fn announcements(done: &[(u64, Did)]) -> Vec<u64> {
    done.iter().filter(|(_, did)| matches!(did, Did::Announce(_))).map(|(at, _)| *at).collect()
}

// Initialize.

#[test]
fn rfc9568_6_4_1_an_owner_becomes_active_at_startup() {
    for family in [Family::V4, Family::V6] {
        let mut bench = Bench::with(family, false, |settings| {
            settings.priority = priority(255);
            settings.announcing.repeat = 1;
        });
        assert_eq!(bench.state(), State::Active);
        let [first, second] = Bench::addresses(family);
        let moved = Did::Moved(State::Initialize, State::Active, Reason::Startup);
        let announced = [Did::Announce(first), Did::Announce(second)];
        // The Advertisement first; announcements wait for the addresses.
        assert_eq!(bench.drain(), [&[Did::Sent(255, SECOND), Did::Acquire][..], &announced, &[moved]].concat());
        assert_eq!(bench.due_in(), Some(SECOND));
    }
}

#[test]
fn rfc9568_6_4_1_anyone_else_becomes_backup_at_startup() {
    for number in [1, 100, 254] {
        let mut bench = Bench::new(|settings| settings.priority = priority(number));
        assert_eq!(bench.state(), State::Backup);
        assert_eq!(bench.drain(), [Did::Moved(State::Initialize, State::Backup, Reason::Startup)]);
    }
}

#[test]
fn rfc9568_6_4_1_it_stays_in_initialize_until_there_is_a_network_and_a_source_address() {
    let mut bench = Bench::new(|_| {});
    let now = bench.instant();
    bench.agent.handle_link(now, bench.interface, Link::Down);
    assert_eq!(bench.state(), State::Initialize);
    bench.agent.handle_source(now, bench.interface, Family::V4, None);
    bench.agent.handle_link(now, bench.interface, Link::Up);
    assert_eq!(bench.state(), State::Initialize);
    // The other family's address is none for this router.
    bench.agent.handle_source(now, bench.interface, Family::V6, Some(host(Family::V6, 51)));
    assert_eq!(bench.state(), State::Initialize);
    bench.agent.handle_source(now, bench.interface, Family::V4, Some(host(Family::V4, 51)));
    assert_eq!(bench.state(), State::Backup);
    assert_eq!(bench.due_in(), Some(0), "the transitions are to be told");
    bench.drain();
    assert_eq!(bench.due_in(), Some(DOWN));
}

#[test]
fn rfc9568_6_4_1_in_initialize_nothing_is_sent_and_nothing_is_heard() {
    let mut bench = Bench::new(|_| {});
    bench.agent.handle_link(bench.instant(), bench.interface, Link::Down);
    bench.drain();
    assert_eq!(bench.give(&bench.packet(99, 0)), Err(Discard::NotRunning));
    assert_eq!(bench.give(&bench.packet(99, 200)), Err(Discard::NotRunning));
    assert_eq!(bench.pass(100 * SECOND), []);
}

#[test]
fn a_startup_delay_keeps_it_in_initialize() {
    let mut bench = Bench::new(|_| {});
    let now = bench.instant();
    bench.agent.handle_link(now, bench.interface, Link::Down);
    bench.drain();
    bench.agent.set_startup_delay(now, Duration::from_secs(5));
    bench.agent.handle_link(now, bench.interface, Link::Up);
    assert_eq!(bench.pass(5 * SECOND - 1), []);
    assert_eq!(bench.state(), State::Initialize);
    assert_eq!(bench.pass(1).len(), 1);
    assert_eq!(bench.state(), State::Backup);
    assert_eq!(bench.due_in(), Some(DOWN));
}

// Backup.

#[test]
fn rfc9568_6_4_2_a_backup_holds_and_says_nothing() {
    let mut bench = Bench::new(|_| {});
    bench.drain();
    for _ in 0..100 {
        assert_eq!(bench.hear(99, 200), []);
        assert_eq!(bench.pass(SECOND), []);
    }
    assert!(!bench.agent.view(bench.id).unwrap().holds);
}

#[test]
fn rfc9568_6_4_2_addresses_left_by_a_predecessor_are_taken_off_a_backup() {
    let mut bench = Bench::with(Family::V4, true, |_| {});
    assert!(bench.drain().contains(&Did::Release));
    assert!(!bench.agent.view(bench.id).unwrap().holds);
}

#[test]
fn rfc9568_6_4_2_a_shutdown_in_backup_is_silent() {
    let mut bench = Bench::new(|_| {});
    bench.drain();
    bench.agent.shutdown(bench.instant());
    assert_eq!(bench.drain(), [Did::Moved(State::Backup, State::Initialize, Reason::Shutdown)]);
    assert!(bench.agent.is_idle());
    assert_eq!(bench.pass(100 * SECOND), []);
}

#[test]
fn rfc9568_6_4_2_the_down_timer_makes_it_active() {
    for family in [Family::V4, Family::V6] {
        let mut bench = Bench::with(family, false, |settings| settings.announcing.repeat = 1);
        bench.drain();
        assert_eq!(bench.pass(DOWN - 1), []);
        let [first, second] = Bench::addresses(family);
        let moved = Did::Moved(State::Backup, State::Active, Reason::NoResponse);
        let announced = [Did::Announce(first), Did::Announce(second)];
        let expected = [&[Did::Sent(100, SECOND), Did::Acquire][..], &announced, &[moved]].concat();
        let done: Vec<_> = bench.pass(1).into_iter().map(|(_, did)| did).collect();
        assert_eq!(done, expected);
    }
}

#[test]
fn rfc9568_6_4_2_priority_zero_sets_the_down_timer_to_skew() {
    for version in [Version::V2, Version::V3] {
        let mut bench = Bench::new(|settings| settings.version = version);
        bench.hear(99, 200);
        assert_eq!(bench.hear(99, 0), []);
        assert_eq!(bench.due_in(), Some(SKEW));
        let done = bench.pass(SKEW);
        assert_eq!(done[0], (SKEW, Did::Sent(100, SECOND)));
        let moved = Did::Moved(State::Backup, State::Active, Reason::ActiveResigned);
        assert!(done.contains(&(SKEW, moved)));
    }
}

#[test]
fn whoever_relieves_one_that_still_serves_has_its_addresses_on_before_it_turns_the_switches() {
    let addresses = Bench::addresses(Family::V4).map(Did::Announce);
    let relieved = |answers: Answers, leave: fn(&mut Bench) -> u64| {
        let mut bench = Bench::new(|settings| {
            settings.virtual_mac = true;
            settings.preempt_delay = Duration::from_micros(SECOND).into();
        });
        bench.hear(99, 200);
        let begin = leave(&mut bench);
        bench.answers = answers;
        (begin, bench.pass(begin + SECOND))
    };
    let leaves: [fn(&mut Bench) -> u64; 2] = [
        |bench| {
            bench.hear(99, 0);
            SKEW
        },
        |bench| {
            bench.hear(99, 50);
            bench.pass(SECOND);
            bench.hear(99, 50);
            DOWN - SECOND
        },
    ];
    for leave in leaves {
        let (at, done) = relieved(Answers::Done, leave);
        let first = [Did::Acquire, Did::Sent(100, SECOND), addresses[0], addresses[1]].map(|did| (at, did));
        assert_eq!(done[..4], first);
        assert_eq!(sent(&done), [(at, 100), (at + SECOND, 100)]);
        // It does not wait for long.
        let (at, done) = relieved(Answers::Never, leave);
        assert_eq!(done[0], (at, Did::Acquire));
        assert_eq!(sent(&done), [(at + 5 * MS, 100)]);
    }
    // Nobody serves: at once.
    let (at, done) = relieved(Answers::Done, |_| DOWN);
    assert_eq!(done[..2], [(at, Did::Sent(100, SECOND)), (at, Did::Acquire)]);
}

#[test]
fn rfc9568_6_4_2_priority_zero_never_puts_the_takeover_off() {
    let mut bench = Bench::new(|_| {});
    bench.hear(99, 200);
    let begin = bench.now;
    // A flood of resignations, faster than the skew.
    while bench.state() == State::Backup {
        bench.hear(99, 0);
        bench.pass(100 * MS);
    }
    assert!(bench.now - begin <= SKEW + 100 * MS);
}

#[test]
fn rfc9568_6_4_2_an_equal_or_higher_priority_restarts_the_down_timer() {
    for number in [100, 101, 254, 255] {
        let mut bench = Bench::new(|_| {});
        bench.drain();
        bench.pass(2 * SECOND);
        // The sender's address plays no part here.
        for from in [1, 99] {
            assert_eq!(bench.hear(from, number), []);
            assert_eq!(bench.due_in(), Some(DOWN), "priority {number} from {from}");
        }
        assert_eq!(bench.agent.view(bench.id).unwrap().active_address, Some(host(Family::V4, 99)));
    }
}

#[test]
fn rfc9568_6_4_2_a_lower_priority_leaves_the_down_timer_alone_where_preempting_is_allowed() {
    let mut bench = Bench::new(|_| {});
    bench.drain();
    bench.pass(2 * SECOND);
    for number in [1, 50, 99] {
        assert_eq!(bench.hear(99, number), []);
        assert_eq!(bench.due_in(), Some(DOWN - 2 * SECOND), "priority {number}");
    }
    // Nor is its interval learned.
    let mut packet = bench.packet(99, 50);
    packet.interval = 4_095;
    bench.give(&packet).unwrap();
    assert_eq!(bench.due_in(), Some(DOWN - 2 * SECOND));
    let done = bench.pass(DOWN - 2 * SECOND);
    assert!(done.contains(&(DOWN - 2 * SECOND, Did::Moved(State::Backup, State::Active, Reason::Preempt))));
}

#[test]
fn rfc9568_6_4_2_a_lower_priority_restarts_the_down_timer_where_it_is_not() {
    let mut bench = Bench::new(|settings| settings.preempt = false);
    bench.drain();
    for _ in 0..20 {
        bench.pass(2 * SECOND);
        assert_eq!(bench.hear(99, 1), []);
        assert_eq!(bench.due_in(), Some(DOWN));
    }
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn rfc9568_6_1_the_owner_preempts_whatever_its_preempt_mode() {
    let mut bench = Bench::new(|settings| {
        settings.priority = priority(255);
        settings.preempt = false;
    });
    bench.become_active();
    // Another owner of a higher address makes it a Backup, and then is silent; a lower one remains.
    bench.hear(99, 255);
    assert_eq!(bench.state(), State::Backup);
    let due = bench.due_in().unwrap();
    bench.pass(SECOND);
    bench.hear(99, 200);
    assert_eq!(bench.due_in(), Some(due - SECOND));
    bench.pass(due - SECOND);
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn rfc9568_6_4_2_a_backup_never_sends_priority_zero() {
    let mut bench = Bench::new(|_| {});
    bench.drain();
    let link = |bench: &mut Bench, link| bench.agent.handle_link(bench.instant(), bench.interface, link);
    link(&mut bench, Link::Down);
    assert_eq!(sent(&bench.pass(SECOND)), []);
    link(&mut bench, Link::Up);
    bench.agent.handle_source(bench.instant(), bench.interface, Family::V4, None);
    assert_eq!(sent(&bench.pass(SECOND)), []);
    bench.agent.handle_source(bench.instant(), bench.interface, Family::V4, Some(host(Family::V4, 50)));
    bench.agent.remove(bench.instant(), bench.id);
    assert_eq!(sent(&bench.pass(SECOND)), []);
}

#[test]
fn a_preempt_delay_puts_preempting_off_and_no_more() {
    let mut bench = Bench::new(|settings| settings.preempt_delay = Duration::from_secs(10).into());
    bench.drain();
    let begin = bench.now;
    while bench.state() == State::Backup {
        bench.hear(99, 50);
        bench.pass(SECOND);
    }
    let waited = bench.now - begin;
    assert!((10 * SECOND + DOWN - SECOND..=11 * SECOND + DOWN).contains(&waited), "{waited}");
    // A dead Active is not given the delay.
    let mut bench = Bench::new(|settings| settings.preempt_delay = Duration::from_secs(10).into());
    bench.hear(99, 50);
    assert_eq!(bench.silence(), DOWN);
}

// Active.

#[test]
fn rfc9568_6_4_3_a_shutdown_sends_priority_zero_and_nothing_more() {
    let mut bench = Bench::new(|_| {});
    bench.become_active();
    bench.agent.shutdown(bench.instant());
    let moved = Did::Moved(State::Active, State::Initialize, Reason::Shutdown);
    assert_eq!(bench.drain(), [Did::Sent(0, SECOND), moved]);
    let rest = bench.pass(100 * SECOND);
    // Nobody takes over: the addresses go after an interval.
    assert_eq!(rest, [(SECOND, Did::Release)]);
    assert!(bench.agent.is_idle());
}

#[test]
fn a_planned_stop_keeps_the_addresses_until_the_successor_is_heard() {
    let mut bench = Bench::new(|_| {});
    bench.become_active();
    bench.agent.shutdown(bench.instant());
    bench.drain();
    assert_eq!(bench.pass(300 * MS), []);
    // Another's resignation is no successor.
    assert_eq!(bench.hear(30, 0), []);
    assert_eq!(bench.hear(30, 50), []);
    assert_eq!(bench.pass(SECOND), [(20 * MS, Did::Release)]);
    assert!(bench.agent.is_idle());
}

#[test]
fn a_fault_lets_the_addresses_go_at_once() {
    let mut bench = Bench::new(|_| {});
    bench.become_active();
    bench.agent.handle_link(bench.instant(), bench.interface, Link::Down);
    assert!(bench.drain().contains(&Did::Release));
    assert!(!bench.agent.view(bench.id).unwrap().holds);
}

#[test]
fn rfc9568_6_4_3_priority_zero_is_answered_at_once_and_resets_the_adver_timer() {
    let mut bench = Bench::new(|_| {});
    bench.become_active();
    bench.pass(400 * MS);
    assert_eq!(bench.hear(99, 0), [Did::Sent(100, SECOND)]);
    assert_eq!(bench.due_in(), Some(SECOND));
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn rfc9568_6_4_3_answers_to_priority_zero_are_merged_within_two_milliseconds() {
    let mut bench = Bench::new(|_| {});
    bench.become_active();
    bench.pass(400 * MS);
    assert_eq!(bench.hear(99, 0), [Did::Sent(100, SECOND)]);
    for _ in 0..10 {
        assert_eq!(bench.hear(99, 0), []);
    }
    let done = bench.pass(10 * MS);
    assert_eq!(done, [(2 * MS, Did::Sent(100, SECOND))]);
}

#[test]
fn rfc9568_6_4_3_a_higher_priority_makes_it_backup() {
    for from in [1, 99] {
        let mut bench = Bench::new(|_| {});
        bench.become_active();
        // One last Advertisement of its own tells the other that there were two.
        let moved = Did::Moved(State::Active, State::Backup, Reason::HigherPriority);
        assert_eq!(bench.hear(from, 101), [Did::Sent(100, SECOND), Did::Release, moved]);
        assert_eq!(bench.due_in(), Some(DOWN));
    }
}

#[test]
fn rfc9568_6_4_3_an_equal_priority_is_decided_by_address() {
    for family in [Family::V4, Family::V6] {
        for version in [Version::V2, Version::V3] {
            if family == Family::V6 && version == Version::V2 {
                continue;
            }
            let bench = || {
                let mut bench = Bench::with(family, false, |settings| settings.version = version);
                bench.become_active();
                bench
            };
            let mut higher = bench();
            higher.hear(51, 100);
            assert_eq!(higher.state(), State::Backup, "{family:?}");
            let mut lower = bench();
            let done = lower.hear(49, 100);
            assert_eq!(lower.state(), State::Active, "{family:?}");
            assert_eq!(done[0], Did::Sent(100, SECOND));
        }
    }
}

#[test]
fn rfc9568_6_4_3_addresses_compare_as_unsigned_numbers_in_network_order() {
    for (from, higher) in [("200.0.0.1", true), ("10.255.255.255", false), ("192.0.3.1", true), ("192.0.2.128", true)] {
        let mut bench = Bench::new(|_| {});
        bench.become_active();
        let mut packet = bench.packet(1, 100);
        packet.source = from.parse().unwrap();
        bench.give(&packet).unwrap();
        assert_eq!(bench.state() == State::Backup, higher, "{from}");
    }
}

#[test]
fn rfc9568_6_4_3_a_lower_priority_is_answered_at_once() {
    let mut bench = Bench::new(|settings| settings.announcing.lower_repeat = 1);
    bench.become_active();
    bench.pass(400 * MS);
    let due = bench.due_in();
    let [first, second] = Bench::addresses(Family::V4);
    let done = bench.hear(99, 99);
    let rival = Did::Dual(host(Family::V4, 99));
    assert_eq!(done, [Did::Sent(100, SECOND), Did::Announce(first), Did::Announce(second), rival]);
    assert_eq!(bench.due_in(), due, "the Adver_Timer stays");
    assert_eq!(bench.counter("steadfast-dual-active"), 1);
}

#[test]
fn rfc5798_6_4_3_a_lower_priority_can_be_left_unanswered() {
    let mut bench = Bench::new(|settings| settings.answer_lower = false);
    bench.become_active();
    assert_eq!(bench.hear(99, 99), [Did::Dual(host(Family::V4, 99))]);
}

#[test]
fn rfc9568_6_4_3_a_flood_of_lower_priorities_draws_ten_answers_a_second() {
    let mut bench = Bench::new(|_| {});
    bench.become_active();
    let mut times = Vec::new();
    for n in 0..5_000_u64 {
        let answers = bench.hear(99, 50);
        times.extend(answers.iter().filter(|did| matches!(did, Did::Sent(..))).map(|_| n * MS));
        times.extend(sent(&bench.pass(MS)).into_iter().map(|(at, _)| n * MS + at));
    }
    let most = times.iter().map(|from| times.iter().filter(|at| (*from..from + SECOND).contains(at)).count()).max();
    // The Adver_Timer's own is beside them.
    assert!((5..=11).contains(&most.unwrap()), "{most:?}");
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap <= SECOND));
    assert!(bench.counter("steadfast-answers-held-back") > 4_000);
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn rfc9568_6_4_3_an_answer_that_was_held_back_follows() {
    let mut bench = Bench::new(|_| {});
    bench.become_active();
    while bench.counter("steadfast-answers-held-back") == 0 {
        bench.hear(99, 50);
    }
    let done = bench.pass(200 * MS);
    assert_eq!(sent(&done).len(), 1);
    // So does the announcement: the rival's may have been the last that clients heard.
    assert_eq!(announcements(&done).len() % 2, 0);
    assert!(!announcements(&done).is_empty());
}

#[test]
fn rfc9568_6_4_3_nothing_that_arrives_moves_the_adver_timer_later() {
    for number in [1, 50, 99, 100] {
        let mut bench = Bench::new(|_| {});
        bench.become_active();
        let mut last = bench.now + bench.due_in().unwrap();
        for _ in 0..1_000 {
            bench.hear(49, number);
            let adverts = sent(&bench.pass(7 * MS));
            if let Some((at, _)) = adverts.last() {
                last = last.max(bench.now - 7 * MS + at);
            }
            assert!(bench.now < last + SECOND + 7 * MS, "silent for more than an interval");
        }
    }
}

#[test]
fn rfc9568_7_1_erratum_8298_two_owners_are_decided_by_address() {
    let owner = || {
        let mut bench = Bench::new(|settings| settings.priority = priority(255));
        bench.become_active();
        bench
    };
    let mut bench = owner();
    bench.hear(99, 255);
    assert_eq!(bench.state(), State::Backup);
    let mut bench = owner();
    assert_eq!(bench.hear(1, 255)[0], Did::Sent(255, SECOND));
    assert_eq!(bench.state(), State::Active);
}

// Addresses and announcements.

#[test]
fn rfc9568_8_1_2_nothing_is_announced_before_the_addresses_are_on() {
    for family in [Family::V4, Family::V6] {
        let mut bench = Bench::with(family, false, |_| {});
        bench.answers = Answers::Never;
        bench.become_active();
        assert!(announcements(&bench.pass(20 * SECOND)).is_empty());
        let generation = bench.generation.unwrap();
        bench.agent.handle_done(bench.instant(), bench.id, generation, Ok(()));
        assert_eq!(announcements(&bench.pass(20 * MS)).len(), 10, "five rounds over two addresses");
    }
}

#[test]
fn rfc9568_8_1_2_a_report_on_an_earlier_request_is_ignored() {
    let mut bench = Bench::new(|_| {});
    bench.answers = Answers::Never;
    bench.become_active();
    let acquired = bench.generation.unwrap();
    bench.hear(99, 200);
    let released = bench.generation.unwrap();
    assert_ne!(acquired, released);
    bench.become_active();
    bench.agent.handle_done(bench.instant(), bench.id, acquired, Ok(()));
    bench.agent.handle_done(bench.instant(), bench.id, released, Ok(()));
    assert!(announcements(&bench.pass(2 * SECOND)).is_empty());
}

#[test]
fn addresses_that_could_not_be_put_on_are_tried_again_every_second() {
    let mut bench = Bench::new(|_| {});
    bench.answers = Answers::Refused;
    bench.pass(DOWN);
    let done = bench.pass(10 * SECOND);
    let asked: Vec<_> = done.iter().filter(|(_, did)| *did == Did::Acquire).map(|(at, _)| *at).collect();
    assert_eq!(asked, (1..=10).map(|n| n * SECOND).collect::<Vec<_>>());
    assert!(announcements(&done).is_empty());
    assert_eq!(bench.state(), State::Active, "the election is not about that");
    bench.answers = Answers::Done;
    assert!(!announcements(&bench.pass(SECOND)).is_empty());
}

#[test]
fn an_address_that_somebody_took_away_is_put_back_and_announced() {
    let mut bench = Bench::new(|_| {});
    bench.become_active();
    bench.agent.handle_lost(bench.instant(), bench.id);
    let done = bench.drain();
    assert_eq!(done[0], Did::Acquire);
    assert!(done.len() > 1, "announced again");
    // Not more often than once a second.
    let mut asked = 0;
    for _ in 0..1_000 {
        bench.agent.handle_lost(bench.instant(), bench.id);
        asked += bench.pass(10 * MS).iter().filter(|(_, did)| *did == Did::Acquire).count();
    }
    assert!((9..=11).contains(&asked), "{asked}");
}

#[test]
fn rfc9568_6_4_1_announcements_are_repeated_after_five_seconds() {
    let mut bench = Bench::new(|settings| settings.announcing.repeat = 2);
    let done = bench.pass(DOWN + 20 * SECOND);
    let times = announcements(&done);
    let (again, pause) = (DOWN + 5 * SECOND, 10 * MS);
    assert_eq!(times, [[DOWN; 2], [DOWN + pause; 2], [again; 2], [again + pause; 2]].concat());
}

#[test]
fn a_new_burst_does_not_wait_for_the_next_round_of_another() {
    let mut bench = Bench::new(|_| {});
    bench.pass(DOWN + 10 * MS);
    let [first, second] = Bench::addresses(Family::V4);
    let done = bench.hear(99, 99);
    assert_eq!(done[..3], [Did::Sent(100, SECOND), Did::Announce(first), Did::Announce(second)]);
}

#[test]
fn a_burst_of_announcements_is_spread_over_15_ms_unless_paced_otherwise() {
    let burst = |spacing: Option<u64>| {
        let mut bench = Bench::new(|settings| {
            settings.announcing.delay = None;
            settings.announcing.spacing = spacing.map(|span| Duration::from_micros(span).into());
        });
        let times = announcements(&bench.pass(DOWN + SECOND));
        assert_eq!(bench.due_in(), Some(SECOND), "it is over");
        times.into_iter().map(|at| at - DOWN).collect::<Vec<_>>()
    };
    // Both addresses of a round leave together.
    assert_eq!(burst(None), [0, 500, 1_500, 5_000, 15_000].map(|at| [at; 2]).concat());
    assert_eq!(burst(Some(0)), [0; 10]);
    let paced: Vec<u64> = (0..10).map(|number| number * 3 * MS).collect();
    assert_eq!(burst(Some(3 * MS)), paced);
}

// Late is not dead.

#[test]
fn a_machine_that_stood_still_gives_the_active_one_more_interval() {
    let mut bench = Bench::new(|_| {});
    bench.hear(99, 200);
    assert_eq!(bench.stand_still(DOWN + SECOND + 1), []);
    assert_eq!(bench.state(), State::Backup);
    assert_eq!(bench.due_in(), Some(SECOND));
    // It is alive after all.
    bench.pass(900 * MS);
    bench.hear(99, 200);
    assert_eq!(bench.due_in(), Some(DOWN));
    // It is not.
    bench.stand_still(100 * SECOND);
    assert_eq!(bench.pass(SECOND)[0], (SECOND, Did::Sent(100, SECOND)));
    assert_eq!(bench.counter("steadfast-late-wakeups"), 2);
}

#[test]
fn a_little_late_is_not_standing_still() {
    let mut bench = Bench::new(|_| {});
    bench.hear(99, 200);
    assert_eq!(bench.stand_still(DOWN + SECOND)[0], Did::Sent(100, SECOND));
}

#[test]
fn an_active_that_stood_still_announces_again() {
    let mut bench = Bench::new(|_| {});
    bench.become_active();
    let [first, second] = Bench::addresses(Family::V4);
    let done = bench.stand_still(60 * SECOND);
    assert_eq!(done, [Did::Sent(100, SECOND), Did::Announce(first), Did::Announce(second)]);
    assert_eq!(bench.due_in(), Some(SECOND), "what was missed is not made up for");
}

#[test]
fn what_is_owed_comes_in_order_whatever_the_budget() {
    let mut bench = Bench::new(|settings| settings.priority = priority(255));
    let mut ranks = Vec::new();
    while let Some(action) = bench.agent.poll(Instant::from_micros(bench.now)) {
        ranks.push(format!("{action:?}").split(' ').next().unwrap().to_owned());
        if let steadfast_core::agent::Action::Acquire { router, generation } = action {
            bench.agent.handle_done(bench.instant(), router, generation, Ok(()));
        }
    }
    ranks.dedup();
    assert_eq!(ranks, ["Advertise", "Acquire", "Announce", "Notify(Event"]);
}

#[test]
fn a_preempt_delay_of_zero_is_none() {
    let mut bench = Bench::new(|settings| settings.preempt_delay = micros(0).into());
    bench.drain();
    let due = bench.due_in();
    bench.hear(99, 1);
    assert_eq!(bench.due_in(), due);
}
