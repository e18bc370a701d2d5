//! The image of `board/mps2-an385` in QEMU, without root: two boards on a cable of UDP datagrams elect, fail over and
//! hand back; how late a take-over is by the board's own clock; what its console says, and that only whole and right
//! configurations are ever in force; what it answers on the wire. The namespaces, and other implementations beside it,
//! are in `netns_firmware`.

#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use steadfast_tests::lab::clock::{Stamp, median, ms, summary, wait_for};
use steadfast_tests::lab::frames::virtual_mac;
use steadfast_tests::lab::thorough;
use steadfast_tests::qemu::{Board, Folder, Lan, PATIENCE, Seen, flip, image};

const VRID: u8 = 7;
const VIRTUAL_V4: [u8; 4] = [10, 9, 0, 100];
const TESTER: [u8; 6] = [2, 0, 0, 0, 0, 0xee];

/// Active_Down_Interval at priority 100 and 0.1 s, in microseconds: 3 x 0.1 s + 156/256 x 0.1 s.
const DOWN: u64 = 360_937;
/// How late a take-over may be.
const LATE: u64 = 10_000;

fn main() {
    let mut arguments = Arguments::from_args();
    // Each has two processors' worth of QEMU.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let image = match image() {
        Ok(image) => image,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let tests: [(&str, fn(&Path)); 9] = [
        ("two-boards-elect-fail-over-and-hand-back", two_boards),
        ("take-over-by-the-boards-own-clock", take_over),
        ("the-console", console),
        ("a-configuration-outlives-its-power", stored),
        ("a-record-that-is-not-whole-falls-back", torn),
        ("as-many-virtual-routers-as-there-is-room-for", full),
        ("what-is-answered-for-a-virtual-address", answered),
        ("a-flood-changes-nothing", flood),
        ("an-idle-board-sleeps", idle),
    ];
    let trials = tests.into_iter().map(|(name, test)| {
        let image = image.clone();
        Trial::test(name, move || {
            test(&image);
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// A configuration with one Virtual Router of each family.
fn configuration(number: u8, priority: u8, more: &str) -> String {
    let instance = |name: &str, addresses: &str| {
        format!(
            "vrrp_instance {name} {{\n    interface eth0\n    virtual_router_id {VRID}\n    version 3\n    priority {priority}\n    \
             advert_int 0.1\n    {more}\n    virtual_ipaddress {{\n{addresses}    }}\n}}\n"
        )
    };
    format!(
        "static_ipaddress {{\n    10.9.0.{number}/24 dev eth0\n}}\n{}{}",
        instance("V4", "        10.9.0.100/24\n        10.9.0.101/24\n"),
        instance("V6", "        fe80::100/64\n        2001:db8::100/64\n")
    )
}

/// Two boards with priorities 150 and 100, of which the first is Active.
fn elected(image: &Path, folder: &Folder) -> [Board; 2] {
    let mut boards = Board::pair(image, folder.path());
    for (board, (number, priority)) in boards.iter_mut().zip([(1, 150), (2, 100)]) {
        board.expect("\n> ");
        let said = board.load(&configuration(number, priority, ""));
        assert!(said.contains("It is stored and in force"), "{said}");
    }
    boards[0].expect("to active");
    boards[0].expect("to active");
    boards
}

/// The state of both Virtual Routers of a board.
fn states(board: &mut Board) -> [String; 2] {
    let status = board.command("status");
    ["V4", "V6"].map(|name| {
        let row = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        row.split_whitespace().nth(5).unwrap_or_default().to_owned()
    })
}

fn two_boards(image: &Path) {
    let folder = Folder::new("pair");
    let [mut high, mut low] = elected(image, &folder);
    assert_eq!(states(&mut high), ["active", "active"]);
    assert_eq!(states(&mut low), ["backup", "backup"]);

    high.power_off();
    low.expect("to active");
    low.expect("to active");
    assert_eq!(states(&mut low), ["active", "active"]);

    // It has its configuration in flash, and takes back what is its own.
    let begun = Stamp::now();
    high.power_on();
    high.expect("startup");
    println!(
        "figure: from power to the first Virtual Router, with the start of QEMU: {:.0} ms",
        Stamp::now().ms_since(begun)
    );
    high.expect("to active");
    high.expect("to active");
    low.expect("active to backup");
    low.expect("active to backup");
    assert_eq!(states(&mut low), ["backup", "backup"]);

    // A planned stop hands over at once.
    high.type_in("drain\r");
    high.expect("stays out");
    let said = low.expect("to active") + &low.expect("to active");
    assert_eq!(said.matches("higher-priority").count(), 0);
    high.type_in("resume\r");
    low.expect("active to backup");
    low.expect("active to backup");
    for (name, board) in [("Active", &mut high), ("Backup", &mut low)] {
        println!("figure: {name}: {} bytes of stack at the deepest", board.stack());
    }
}

/// The times in a line that tells of a take-over, in microseconds.
fn stamps(line: &str) -> (u64, u64) {
    let after = |word: &str| {
        let rest = line.rsplit_once(word).map_or("", |(_, rest)| rest);
        rest.split_whitespace().next().and_then(|number| number.parse().ok())
    };
    after("heard at").zip(after("sent at")).unwrap_or_else(|| panic!("no stamps in {line:?}"))
}

fn take_over(image: &Path) {
    let folder = Folder::new("takeover");
    let [mut high, mut low] = elected(image, &folder);
    let mut late = Vec::new();
    for _ in 0..if thorough() { 20 } else { 5 } {
        high.power_off();
        for _ in 0..2 {
            low.expect("to active at");
            let line = low.expect("\n");
            let (heard, sent) = stamps(&line);
            let took = sent - heard;
            assert!(took >= DOWN, "too soon: {line}");
            late.push((took - DOWN) as f64 / 1e3);
        }
        high.power_on();
        low.expect("active to backup");
        low.expect("active to backup");
    }
    println!("figure: take-over of a board after the Active_Down_Interval, in ms: {}", summary(&late));
    assert!(median(&late) <= LATE as f64 / 1e3, "{late:?}");
}

fn console(image: &Path) {
    let folder = Folder::new("console");
    let [mut high, mut low] = elected(image, &folder);
    let help = high.command("help");
    for word in ["status", "explain", "counters", "show config", "load config", "drain", "reboot"] {
        assert!(help.contains(word), "{help}");
    }
    let explained = low.command("explain V4");
    for fact in ["V4: backup, ipv4 v3, VRID 7 on eth0", "10.9.0.1, priority 150", "3 x 0.1 s + skew 0.060937"] {
        assert!(explained.contains(fact), "{fact:?} in {explained}");
    }
    assert!(high.command("counters V4").contains("advertisement-sent"));
    assert!(high.command("frobnicate").contains("no such command"));

    // A wrong text is refused with line and column, and nothing changes.
    let said = low.load(&configuration(2, 100, "").replacen("virtual_router_id 7", "virtual_router_id 700", 1));
    assert!(said.contains("6:23: error: `virtual_router_id` wants a number from 1 to 255, not `700`"), "{said}");
    assert!(said.contains("nothing is stored"), "{said}");
    let said = low.load("static_ipaddress {\n    10.9.0.2\n}\n");
    assert!(said.contains("2:5: error: "), "{said}");
    assert_eq!(states(&mut low), ["backup", "backup"]);
    assert!(low.command("show config").contains("10.9.0.2/24"));

    // It hands over before it restarts, and comes back with its configuration.
    high.type_in("reboot\r");
    high.expect("\nrestarting\n");
    low.expect("active-resigned");
    high.expect("to active");
    assert!(high.command("show config").contains("priority 150"));
}

fn stored(image: &Path) {
    let folder = Folder::new("stored");
    let [mut board, _] = Board::pair(image, folder.path());
    board.expect("\n> ");
    assert!(board.command("show config").contains("# built in"));
    for priority in [101, 102, 103] {
        board.load(&configuration(1, priority, ""));
        board.power_off();
        board.power_on();
        board.expect("\n> ");
        let shown = board.command("show config");
        assert!(shown.contains("# stored") && shown.contains(&format!("priority {priority}\n")), "{shown}");
    }
    // Its own address is there again too.
    assert!(board.command("status").contains("10.9.0.1"));
}

fn torn(image: &Path) {
    let folder = Folder::new("torn");
    let [mut board, _] = Board::pair(image, folder.path());
    board.expect("\n> ");
    for priority in [101, 102] {
        board.load(&configuration(1, priority, ""));
    }
    let mut expect_after = |flipped: Option<u64>, words: &str| {
        board.power_off();
        if let Some(byte) = flipped {
            flip(board.flash(), byte);
        }
        board.power_on();
        board.expect("\n> ");
        let shown = board.command("show config");
        assert!(shown.contains(words), "{flipped:?}: {shown}");
    };
    // The first record is in the first slot, the second in the second.
    expect_after(None, "priority 102\n");
    expect_after(Some(8192 / 2 + 100), "priority 101\n");
    expect_after(Some(40), "# built in");
}

fn full(image: &Path) {
    let folder = Folder::new("full");
    let [mut board, _] = Board::pair(image, folder.path());
    board.expect("\n> ");
    let text = |count: u8| {
        let mut text = "static_ipaddress {\n10.9.0.1/16\n}\n".to_owned();
        for n in 1..=count {
            let addresses = if n % 2 == 0 {
                [1, 2, 3, 4].map(|host| format!("fe80::{n}:{host}"))
            } else {
                [1, 2, 3, 4].map(|host| format!("10.9.{n}.{host}"))
            };
            let addresses = addresses.join("\n");
            text += &format!(
                "vrrp_instance V{n} {{\ninterface eth0\nvirtual_router_id {n}\nversion 3\nadvert_int 0.1\naccept\nvirtual_ipaddress \
                 {{\n{addresses}\n}}\n}}\n"
            );
        }
        text
    };
    let said = board.load(&text(8));
    assert!(said.contains("It is stored and in force"), "{said}");
    for _ in 0..8 {
        board.expect("to active");
    }
    assert!(board.load(&text(9)).contains("there is no room for so many virtual routers"));
    let status = board.command("status");
    assert_eq!(status.lines().filter(|line| line.contains(" active ")).count(), 8, "{status}");
    println!("figure: {} bytes of stack at the deepest, with 8 Virtual Routers", board.stack());
}

/// An ARP request for an address.
fn who_has(address: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(TESTER);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(TESTER);
    frame.extend([10, 9, 0, 200, 0, 0, 0, 0, 0, 0]);
    frame.extend(address);
    frame.resize(60, 0);
    frame
}

/// The ones' complement sum of RFC 1071.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// An ICMP echo request.
fn ping(mac: [u8; 6], address: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 36, 0, 0, 0, 0, 64, 1, 0, 0, 10, 9, 0, 200];
    packet.extend(address);
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum);
    let mut echo = vec![8, 0, 0, 0, 0x5f, 1, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8];
    let sum = checksum(&echo);
    echo[2..4].copy_from_slice(&sum);
    [&mac[..], &TESTER, &[8, 0], &packet, &echo].concat()
}

/// Whether a frame answers an ARP request of ours for an address, and with which MAC address.
fn arp_answer(seen: &Seen, address: [u8; 4]) -> Option<[u8; 6]> {
    let bytes = &seen.bytes;
    let answer = bytes.get(12..14)? == [8, 6] && bytes.get(20..22)? == [0, 2] && bytes.get(28..32)? == address;
    answer.then(|| bytes[22..28].try_into().ok()).flatten()
}

fn echo_answer(seen: &Seen, address: [u8; 4]) -> bool {
    let bytes = &seen.bytes;
    bytes.get(12..14) == Some(&[8, 0])
        && bytes.get(23) == Some(&1)
        && bytes.get(26..30) == Some(&address)
        && bytes.get(34) == Some(&0)
}

fn is_advertisement(seen: &Seen) -> bool {
    seen.bytes.get(12..14) == Some(&[8, 0]) && seen.bytes.get(23) == Some(&112)
}

/// Two boards on a LAN that we are on too; the first is Active.
fn on_lan(image: &Path, folder: &Folder, more: &str) -> (Lan, [Board; 2]) {
    let lan = Lan::new(2);
    let boards = [(0, 150), (1, 100)].map(|(number, priority)| {
        let flash = folder.path().join(format!("flash-{number}"));
        let mut board = Board::new(image, &flash, [2, 0, 0, 0, 0, number + 1], lan.ports(number.into()));
        board.expect("\n> ");
        board.load(&configuration(number + 1, priority, more));
        if number == 0 {
            board.expect("to active");
            board.expect("to active");
        }
        board
    });
    (lan, boards)
}

fn answered(image: &Path) {
    for (more, accepts) in [("no_accept", false), ("accept", true)] {
        let folder = Folder::new(if accepts { "accept" } else { "answers" });
        let (lan, mut boards) = on_lan(image, &folder, more);
        assert_eq!(states(&mut boards[1]), ["backup", "backup"]);
        let mac = virtual_mac(false, VRID);
        let since = Stamp::now();
        for board in 0..2_u8 {
            let (own, station) = ([10, 9, 0, board + 1], [2, 0, 0, 0, 0, board + 1]);
            // Its stack learns who we are from this one.
            lan.send(board.into(), &who_has(own));
            lan.send(board.into(), &who_has(VIRTUAL_V4));
            lan.send(board.into(), &ping(mac, VIRTUAL_V4));
            // What is asked last is answered last.
            lan.send(board.into(), &ping(station, own));
            lan.wait("an answer to an echo request", since, |seen| echo_answer(seen, own));
            let answer = lan.wait("an answer to ARP", since, |seen| arp_answer(seen, own).is_some());
            assert_eq!(arp_answer(&answer, own), Some(station));
        }
        lan.wait("an answer for the virtual address", since, |seen| arp_answer(seen, VIRTUAL_V4).is_some());
        let seen = lan.seen();
        let answers: Vec<_> =
            seen.iter().filter_map(|seen| Some((seen.board, arp_answer(seen, VIRTUAL_V4)?))).collect();
        assert_eq!(answers, [(0, mac)], "only the Active answers, with the virtual MAC address");
        let echoes: Vec<_> = seen.iter().filter(|seen| echo_answer(seen, VIRTUAL_V4)).collect();
        assert_eq!(echoes.len(), usize::from(accepts), "an echo is answered with Accept_Mode only");
        if let Some(echo) = echoes.first() {
            assert_eq!((echo.board, &echo.bytes[6..12]), (0, &mac[..]));
        }
    }
}

/// How often a board has changed its state.
fn changes(board: &Board) -> usize {
    board.transcript().matches(" us, ").count()
}

fn flood(image: &Path) {
    let folder = Folder::new("flood");
    let (lan, mut boards) = on_lan(image, &folder, "");
    let begun = Stamp::now();
    // What the boards hear and need not, what they answer, and what is VRRP and wrong: TTL 254.
    let mut wrong = lan.wait("an Advertisement", begun, is_advertisement).bytes;
    wrong[22] = 254;
    let kinds = [who_has([10, 9, 0, 222]), who_has(VIRTUAL_V4), ping([2, 0, 0, 0, 0, 1], [10, 9, 0, 1]), wrong];

    // Each a thousand times a second: nothing is missed.
    let before = boards.each_ref().map(changes);
    let begun = Stamp::now();
    for millisecond in 0..3000 {
        (begun + Duration::from_millis(millisecond)).sleep();
        for (kind, board) in kinds.iter().flat_map(|kind| [(kind, 0), (kind, 1)]) {
            lan.send(board, kind);
        }
    }
    let ended = Stamp::now();
    assert_eq!(boards.each_ref().map(changes), before, "a change of state");
    let seen = lan.seen();
    let own = |seen: &&Seen| seen.board == 0 && is_advertisement(seen) && seen.at >= begun;
    let times: Vec<Stamp> = seen.iter().filter(own).map(|seen| seen.at).collect();
    let gap = times.windows(2).map(|pair| pair[1].ms_since(pair[0])).fold(0.0, f64::max);
    let rate = 3000.0 * kinds.len() as f64 / ended.ms_since(begun) * 1e3;
    println!(
        "figure: {rate:.0} bad frames a second: the longest pause between Advertisements of 100 ms was {gap:.0} ms"
    );
    assert!(gap < 200.0, "an Advertisement was missed: {gap} ms");

    // As many as there can be, of which the wire loses some: the board is there all the time, and as before at last.
    let span = Duration::from_secs(if thorough() { 600 } else { 4 });
    let (begun, ended) = (Stamp::now(), AtomicBool::new(false));
    let sent = std::thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            let mut sent = 0_u64;
            while !ended.load(Ordering::Relaxed) {
                kinds.iter().for_each(|kind| lan.send(0, kind));
                sent += kinds.len() as u64;
            }
            sent
        });
        while Stamp::now() < begun + span {
            assert!(boards[0].command("status").contains("V6"));
        }
        ended.store(true, Ordering::Relaxed);
        flooding.join().expect("it only sends")
    });
    println!(
        "figure: {:.0} frames a second, and the console answers",
        sent as f64 / Stamp::now().ms_since(begun) * 1e3
    );
    wait_for("the election as it was", PATIENCE, || {
        (states(&mut boards[0]) == ["active"; 2] && states(&mut boards[1]) == ["backup"; 2]).then_some(())
    });
    println!("figure: {} bytes of stack at the deepest, after a flood", boards[0].stack());
}

fn idle(image: &Path) {
    let folder = Folder::new("idle");
    let [mut board, _] = Board::pair(image, folder.path());
    board.expect("\n> ");
    let (begun, before) = (Stamp::now(), board.cpu_ms());
    (begun + ms(2000.0)).sleep();
    let share = (board.cpu_ms() - before) / Stamp::now().ms_since(begun);
    println!("figure: an idle board takes {:.1} % of a processor of its host", share * 100.0);
    assert!(share < 0.3, "it does not sleep: {share}");
}
