//! The console over a pipe of bytes that takes a few at a time: transcripts, texts that are wrong, torn or too long,
//! and bytes that no terminal sends.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::string::{String, ToString};
use std::vec::Vec;

use embedded_io::ErrorType;
use embedded_storage::nor_flash::{NorFlashError, NorFlashErrorKind, ReadNorFlash};
use steadfast_core::agent::{Link, Report, RouterConfig, State as Standing, Weight};
use steadfast_core::config::{Config, Message};
use steadfast_core::storage::Fixed;
use steadfast_core::time::Duration;
use steadfast_core::types::Family;

use super::*;

const BUILT_IN: &str =
    "vrrp_instance builtin {\n interface eth0\n virtual_router_id 9\n virtual_ipaddress { 192.0.2.9 }\n}\n";
const TEXT: &str =
    "vrrp_instance gw {\n interface eth0\n virtual_router_id 51\n priority 90\n virtual_ipaddress { 192.0.2.1 }\n}\n";
const ROUTERS: usize = 2;

/// A stream with something to read, and room for a few bytes.
#[derive(Default)]
struct Pipe {
    input: VecDeque<u8>,
    output: Vec<u8>,
    room: usize,
}

impl ErrorType for Pipe {
    type Error = Infallible;
}

impl ReadReady for Pipe {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(!self.input.is_empty())
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        assert!(!self.input.is_empty(), "it would wait for input");
        let count = buffer.len().min(self.input.len());
        buffer.iter_mut().zip(self.input.drain(..count)).for_each(|(place, byte)| *place = byte);
        Ok(count)
    }
}

impl WriteReady for Pipe {
    fn write_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.room > 0)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        assert!(self.room > 0, "it would wait for room");
        let count = bytes.len().min(self.room);
        self.room -= count;
        self.output.extend(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        panic!("it would wait for the wire");
    }
}

/// 2 slots of 512 bytes.
#[derive(Clone)]
struct Flash {
    bytes: [u8; 1024],
    fails: bool,
}

#[derive(Clone, Copy, Debug)]
struct Failure;

impl NorFlashError for Failure {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl embedded_storage::nor_flash::ErrorType for &mut Flash {
    type Error = Failure;
}

impl ReadNorFlash for &mut Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Failure> {
        bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl NorFlash for &mut Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 256;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Failure> {
        self.bytes[from as usize..to as usize].fill(0xff);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Failure> {
        if self.fails {
            return Err(Failure);
        }
        self.bytes[offset as usize..].iter_mut().zip(bytes).for_each(|(place, byte)| *place &= byte);
        Ok(())
    }
}

/// A board with one interface, room for two Virtual Routers, and a tracker.
struct Board {
    agent: Agent<Fixed<4, 16, 1, 8, 4, 0>>,
    interface: InterfaceId,
    routers: Vec<(RouterId, String)>,
    applied: String,
    /// How often it has to be asked to apply.
    patience: u32,
}

impl Board {
    fn new() -> Self {
        let mut agent = Agent::new();
        let interface = agent.add_interface().unwrap();
        agent.handle_link(START, interface, Link::Up);
        agent.handle_source(START, interface, Family::V4, Some([192, 0, 2, 7].into()));
        Self { agent, interface, routers: Vec::new(), applied: String::new(), patience: 0 }
    }
}

impl Host for Board {
    type Storage = Fixed<4, 16, 1, 8, 4, 0>;

    fn agent(&self) -> &Agent<Self::Storage> {
        &self.agent
    }

    fn router_name(&self, router: RouterId) -> &str {
        self.routers.iter().find(|(id, _)| *id == router).map_or("", |(_, name)| name)
    }

    fn interface(&self, number: usize) -> Option<(InterfaceId, &str)> {
        (number == 0).then_some((self.interface, "eth0"))
    }

    fn tracker_name(&self, _: TrackerId) -> &str {
        "uplink"
    }

    fn check<'t>(&self, text: &'t str, report: &mut dyn FnMut(Diagnostic<'t>)) {
        let config = Config::parse(text, report);
        let mut instances = config.instances();
        let mut number = 0;
        while let Some(instance) = instances.next(report) {
            number += 1;
            if let Ok(instance) = instance
                && number > ROUTERS
            {
                let message = Message::Text("there is no room for another Virtual Router on this board");
                report(Diagnostic { place: instance.place, severity: Severity::Error, message });
            }
        }
    }

    fn apply(&mut self, now: Instant, text: &str) -> bool {
        if self.patience > 0 {
            self.patience -= 1;
            return false;
        }
        self.applied = text.to_string();
        self.routers.drain(..).for_each(|(id, _)| self.agent.remove(now, id));
        let tracker = self.agent.add_tracker().unwrap();
        let mut instances = Config::parse(text, &mut |_| {}).instances();
        while let Some(Ok(instance)) = instances.next(&mut |_| {}) {
            let addresses: Vec<_> = instance.addresses().map(|entry| entry.address).collect();
            let (interface, settings) = (self.interface, instance.settings);
            let config = RouterConfig { interface, settings, addresses: &addresses, excluded: &[], peers: &[] };
            let id = self.agent.add(now, &config, false).unwrap();
            self.agent.track(now, id, tracker, Weight(-20)).unwrap();
            self.routers.push((id, instance.name.to_string()));
        }
        self.agent.handle_report(now, tracker, Report::Down);
        true
    }

    fn drain(&mut self, now: Instant, router: RouterId) {
        self.agent.drain(now, router);
    }

    fn resume(&mut self, now: Instant, router: RouterId) {
        self.agent.resume(now, router);
    }
}

const START: Instant = Instant::from_micros(0);

/// A board whose console is looked at.
struct Bench<'b> {
    pipe: Pipe,
    store: Store<&'b mut Flash>,
    board: Board,
    console: Console<'b>,
    now: Instant,
    /// How many bytes the stream takes between two calls.
    pace: usize,
}

fn flash() -> Flash {
    Flash { bytes: [0xff; 1024], fails: false }
}

impl<'b> Bench<'b> {
    fn new(flash: &'b mut Flash, buffer: &'b mut [u8]) -> Self {
        let mut store = Store::new(flash, 0, 1024).unwrap();
        let mut board = Board::new();
        let mut console = Console::new(buffer, BUILT_IN);
        console.boot(START, &mut store, &mut board);
        Self { pipe: Pipe::default(), store, board, console, now: START, pace: 7 }
    }

    /// Types this; what is answered until nothing more comes.
    fn answer(&mut self, typed: impl AsRef<[u8]>) -> String {
        self.pipe.input.extend(typed.as_ref());
        loop {
            self.pipe.room = self.pace;
            let turn = self.console.poll(self.now, &mut self.pipe, &mut self.store, &mut self.board);
            let took = self.pipe.room < self.pace;
            if turn == Turn::Reboot || turn == Turn::Wait && !took && self.pipe.input.is_empty() {
                break;
            }
        }
        String::from_utf8_lossy(&core::mem::take(&mut self.pipe.output)).into_owned()
    }

    /// The answer to a command, without echo and prompt.
    fn ask(&mut self, command: &str) -> String {
        let answer = self.answer(format!("{command}\r"));
        let answer = answer.strip_prefix(&format!("{command}\r\n")).unwrap_or_else(|| panic!("{answer:?}"));
        let answer = answer.strip_suffix("> ").unwrap_or_else(|| panic!("{answer:?}"));
        assert!(!answer.replace("\r\n", "").contains(['\r', '\n']), "{answer:?}");
        answer.replace("\r\n", "\n")
    }

    /// Types a configuration; what is said about it.
    fn load(&mut self, text: &str) -> String {
        let asked = self.answer("load config\r");
        assert_eq!(asked, "load config\r\nThe text, then a line with a dot or ctrl-D; ctrl-C abandons it\r\n");
        let answer = self.answer(format!("{text}.\n").replace('\n', "\r"));
        let echo = format!("{text}.\n").replace('\n', "\r\n");
        let said = answer.strip_prefix(&echo).unwrap_or_else(|| panic!("{answer:?} after {echo:?}"));
        said.strip_suffix("> ").unwrap_or_else(|| panic!("{answer:?}")).replace("\r\n", "\n")
    }

    fn stored(&mut self) -> Option<String> {
        let mut text = vec![0; self.store.stored()?];
        self.store.read(0, &mut text);
        Some(String::from_utf8(text).unwrap())
    }
}

#[test]
fn it_greets_and_lists_what_there_is() {
    let (mut flash, mut buffer) = (flash(), [0; 300]);
    let mut bench = Bench::new(&mut flash, &mut buffer);
    let greeting = bench.answer("");
    assert!(
        greeting.starts_with("\r\nSteadfast ") && greeting.ends_with("`help` lists the commands\r\n> "),
        "{greeting:?}"
    );
    let help = bench.ask("help");
    for command in [
        "status",
        "explain NAME",
        "counters [NAME]",
        "show config",
        "load config",
        "drain [NAME]",
        "resume [NAME]",
        "reboot",
    ] {
        assert!(help.lines().any(|line| line.starts_with(&format!("{command} "))), "{command}: {help}");
    }
    assert_eq!(bench.ask("halt"), "There is no such command; `help` lists them\n");
    assert_eq!(bench.ask(""), "");
}

#[test]
fn status_explain_and_counters() {
    let (mut flash, mut buffer) = (flash(), [0; 300]);
    let mut bench = Bench::new(&mut flash, &mut buffer);
    bench.answer("");
    bench.now = START + Duration::from_secs(3);
    let status = "\
ROUTER   INTERFACE  VRID  FAMILY   STATE   PRIORITY  ACTIVE  SINCE  REASON   ADDRESSES
builtin  eth0       9     ipv4 v2  backup  80 (100)  -       3s     startup  192.0.2.9

INTERFACE  LINK  IPV4 SOURCE  IPV6 SOURCE
eth0       up    192.0.2.7    -

";
    // However much the stream takes at once.
    for pace in [1, 2, 63, 64, 65, 1000] {
        bench.pace = pace;
        assert_eq!(bench.ask("status"), status);
    }
    let explanation = bench.ask("explain builtin");
    assert!(explanation.starts_with("builtin: backup, ipv4 v2, VRID 9 on eth0\n"), "{explanation}");
    assert!(explanation.contains("\n  priority     80 = 100 - 20 (uplink)\n"), "{explanation}");
    assert!(
        explanation.ends_with("\n  tracker      uplink: down, weight -20; when it works, priority 100\n"),
        "{explanation}"
    );
    let counters = bench.ask("counters builtin");
    assert!(counters.starts_with("builtin:\n  master-transitions 0\n  advertisement-rcvd 0\n"), "{counters}");
    let all = bench.ask("counters");
    assert!(all.starts_with(&counters), "{all}");
    assert!(all[counters.len()..].starts_with("global:\n  ip-ttl-errors 0\n"), "{all}");
    for command in ["explain", "explain nobody", "counters nobody", "drain nobody"] {
        assert_eq!(bench.ask(command), "There is no such Virtual Router; `status` lists them\n");
    }
}

#[test]
fn drain_and_resume() {
    let (mut flash, mut buffer) = (flash(), [0; 300]);
    let mut bench = Bench::new(&mut flash, &mut buffer);
    bench.answer("");
    let router = bench.board.routers[0].0;
    let state = |bench: &Bench<'_>| bench.board.agent.view(router).unwrap().state;
    for (drain, resume) in [("drain", "resume"), ("drain builtin", "resume \"builtin\"")] {
        assert_eq!(bench.ask(drain), "It hands over and stays out; `resume` takes that back\n");
        assert_eq!(state(&bench), Standing::Initialize);
        assert_eq!(bench.ask(resume), "It takes part again\n");
        assert_eq!(state(&bench), Standing::Backup);
    }
}

#[test]
fn a_good_configuration_is_stored_put_in_force_and_there_after_a_restart() {
    let (mut flash, mut buffer) = (flash(), [0; 300]);
    let mut bench = Bench::new(&mut flash, &mut buffer);
    bench.answer("");
    assert_eq!(bench.ask("show config"), format!("# built in\n{BUILT_IN}"));
    bench.board.patience = 5;
    assert_eq!(bench.load(TEXT), "It is stored and in force\n");
    assert_eq!(bench.board.applied, TEXT);
    assert_eq!(bench.stored().unwrap(), TEXT);
    assert_eq!(bench.ask("show config"), format!("# stored\n{TEXT}"));
    let mut buffer = [0; 300];
    let mut bench = Bench::new(&mut flash, &mut buffer);
    assert_eq!(bench.board.applied, TEXT);
    bench.answer("");
    assert!(bench.ask("explain gw").starts_with("gw: backup"));
}

#[test]
fn a_text_may_end_with_ctrl_d_and_be_mended_while_it_is_typed() {
    let (mut flash, mut buffer) = (flash(), [0; 300]);
    let mut bench = Bench::new(&mut flash, &mut buffer);
    bench.answer("");
    bench.answer("load config\n");
    let typed = TEXT
        .replace("gw", "gx\x7fw")
        .replace("priority", "rubbish \x15 pri\u{e9}\x08ority\x1b[D\x1b[3~\x1bO\x00\x07\x1bb");
    let answer = bench.answer(format!("{}\x04", typed.trim_end()));
    assert!(answer.contains("It is stored and in force"), "{answer}");
    assert_eq!(bench.stored().unwrap(), TEXT);
}

#[test]
fn a_wrong_text_is_refused_with_line_and_column_and_nothing_is_stored() {
    let (mut flash, mut buffer) = (flash(), [0; 400]);
    let mut bench = Bench::new(&mut flash, &mut buffer);
    bench.answer("");
    bench.load(TEXT);
    drop(bench);
    let before = flash.clone();
    let mut bench = Bench::new(&mut flash, &mut buffer);
    bench.answer("");
    let wrong = TEXT.replace("51", "512").replace("priority", "prority");
    assert_eq!(
        bench.load(&wrong),
        "\
3:20: error: `virtual_router_id` wants a number from 1 to 255, not `512`
4:2: warning: unknown keyword `prority`; did you mean `priority`?
There are errors; nothing is stored, and nothing has changed
"
    );
    // More than the board has room for.
    let three: String = ["a", "b", "c"].iter().map(|name| TEXT.replace("gw", name)).collect();
    let three = three.replace(" priority 90\n", "");
    let said = bench.load(&three);
    assert!(said.starts_with("11:1: error: there is no room for another Virtual Router on this board\n"), "{said}");
    // Not UTF-8.
    bench.answer("load config\r");
    let said = bench.answer(b"ok\ra \xc3 b\r\x04");
    let expected = "2:3: error: the text is not UTF-8 from here on\r\nThere are errors; nothing is stored, and nothing has changed\r\n> ";
    assert!(said.ends_with(expected), "{said:?}");
    assert_eq!(bench.board.applied, TEXT);
    drop(bench);
    assert_eq!(flash.bytes, before.bytes);
}

#[test]
fn many_findings_are_cut_short() {
    let (mut flash, mut buffer) = (flash(), [0; 400]);
    let mut bench = Bench::new(&mut flash, &mut buffer);
    bench.answer("");
    let said = bench.load(&"nonsense 1\nvrrp_instance {\n}\n".repeat(11));
    assert!(said.lines().count() == 18, "{said}");
    assert!(said.ends_with("more\nThere are errors; nothing is stored, and nothing has changed\n"), "{said}");
}

#[test]
fn a_text_that_is_too_long_is_refused() {
    for (room, length) in [(300, 301), (400, 1000), (300, 5000), (1000, 490)] {
        let (mut flash, mut buffer) = (flash(), vec![0; room]);
        let before = flash.clone();
        let mut bench = Bench::new(&mut flash, &mut buffer);
        bench.answer("");
        bench.answer("load config\r");
        let mut text = TEXT.to_string();
        while text.len() < length {
            text.push_str("# comment\n");
        }
        let answer = bench.answer(format!("{text}.\n"));
        assert!(answer.ends_with("The text is too long for this board; nothing is stored\r\n> "), "{answer:?}");
        assert_eq!(bench.board.applied, BUILT_IN);
        assert_eq!(bench.ask("help").lines().count(), 8);
        assert_eq!(flash.bytes, before.bytes);
    }
}

#[test]
fn a_text_can_be_abandoned() {
    let (mut flash, mut buffer) = (flash(), [0; 300]);
    let mut bench = Bench::new(&mut flash, &mut buffer);
    bench.answer("");
    bench.answer("load config\r");
    let answer = bench.answer(format!("{TEXT}vrrp\x03"));
    assert!(answer.ends_with("vrrp^C\r\nAbandoned; nothing is stored\r\n> "), "{answer:?}");
    assert_eq!(bench.stored(), None);
}

#[test]
fn a_flash_that_fails_leaves_everything_as_it_was() {
    let (mut flash, mut buffer) = (flash(), [0; 300]);
    flash.fails = true;
    let mut bench = Bench::new(&mut flash, &mut buffer);
    bench.answer("");
    assert_eq!(bench.load(TEXT), "The flash fails: it is not stored, and nothing has changed\n");
    assert_eq!(bench.board.applied, BUILT_IN);
    assert_eq!(bench.ask("show config"), format!("# built in\n{BUILT_IN}"));
}

#[test]
fn a_stored_text_that_this_board_cannot_use_gives_way_to_the_built_in_one() {
    let (mut flash, mut buffer) = (flash(), [0; 300]);
    let mut store = Store::new(&mut flash, 0, 1024).unwrap();
    for text in [b"vrrp_instance x {\n}\n".as_slice(), b"\xff", &[b'#'; 301]] {
        let mut writing = store.begin(text).unwrap();
        while !store.step(&mut writing, text).unwrap() {}
        let mut board = Board::new();
        Console::new(&mut buffer, BUILT_IN).boot(START, &mut store, &mut board);
        assert_eq!(board.applied, BUILT_IN);
    }
    let mut bench = Bench::new(&mut flash, &mut buffer);
    let greeting = bench.answer("");
    assert!(greeting.starts_with("\r\nThe stored configuration cannot be used here; "), "{greeting:?}");
    assert_eq!(bench.ask("show config"), format!("# built in\n{BUILT_IN}"));
}

#[test]
fn a_restart_is_asked_for_when_all_has_been_said() {
    let (mut flash, mut buffer) = (flash(), [0; 300]);
    let mut bench = Bench::new(&mut flash, &mut buffer);
    bench.answer("");
    assert_eq!(bench.answer("reboot\r"), "reboot\r\nHanding over, then restarting\r\n");
    let turn = bench.console.poll(START, &mut bench.pipe, &mut bench.store, &mut bench.board);
    assert_eq!(turn, Turn::Reboot);
}

#[test]
fn the_line_editor_takes_back_and_swallows() {
    let (mut flash, mut buffer) = (flash(), [0; 300]);
    let mut bench = Bench::new(&mut flash, &mut buffer);
    bench.answer("");
    for typed in [
        "hex\x7flp",
        "rubbish\x15help",
        "rubbish\x03help",
        "\x1b[A\x1b[1;5Chelp\x1bOA",
        "\x08\x7f\x15help",
        "  help\t ",
        "h\u{e9}\x08elp",
        "\x04\x00\x01\x7fhelp",
    ] {
        let answer = bench.answer(format!("{typed}\r\n"));
        assert!(answer.contains("\r\nstatus "), "{typed:?}: {answer:?}");
        assert_eq!(answer.matches("status ").count(), 1, "{typed:?}");
    }
    // What does not fit is not taken.
    let answer = bench.answer(format!("{}\r", "x".repeat(100)));
    assert_eq!(answer.matches('\x07').count(), 20);
    assert!(answer.ends_with("There is no such command; `help` lists them\r\n> "), "{answer:?}");
}

#[test]
fn no_bytes_do_harm_or_more_than_a_little_work() {
    let mut random = 1_u32;
    let mut next = move || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) as usize
    };
    let (mut flash, mut buffer) = (flash(), [0; 300]);
    let before = flash.clone();
    let mut bench = Bench::new(&mut flash, &mut buffer);
    let words: [&[u8]; 14] = [
        b"load config\r",
        b"status\r",
        b"explain builtin\r",
        b"counters\n",
        b"show config\r",
        b"help\r",
        b"\x1b[",
        b"\x03",
        b"\x15",
        b"\x7f\x7f",
        b"vrrp_instance x {\r",
        b"}\r",
        b"\xff\xfe",
        b"resume\r",
    ];
    for _ in 0..20_000 {
        match next() % 4 {
            0 => bench.pipe.input.extend(words[next() % words.len()]),
            1 => bench
                .pipe
                .input
                .extend((0..next() % 40).map(|_| next() as u8).filter(|byte| *byte != 4 && *byte != b'.')),
            _ => {}
        }
        bench.pipe.room = next() % 100;
        let (input, room) = (bench.pipe.input.len(), bench.pipe.room);
        bench.console.poll(START, &mut bench.pipe, &mut bench.store, &mut bench.board);
        assert!(input - bench.pipe.input.len() <= INPUT && room - bench.pipe.room <= 2 * 64);
        bench.pipe.output.clear();
    }
    bench.pipe.input.clear();
    bench.answer("\x03");
    bench.answer("\x03");
    assert_eq!(bench.ask("help").lines().count(), 8);
    assert_eq!(flash.bytes, before.bytes);
}

#[test]
fn an_end_of_the_input_is_waited_out() {
    /// Always ready, with nothing to read.
    struct Ended;
    impl ErrorType for Ended {
        type Error = Infallible;
    }
    impl ReadReady for Ended {
        fn read_ready(&mut self) -> Result<bool, Infallible> {
            Ok(true)
        }
    }
    impl Read for Ended {
        fn read(&mut self, _: &mut [u8]) -> Result<usize, Infallible> {
            Ok(0)
        }
    }
    impl WriteReady for Ended {
        fn write_ready(&mut self) -> Result<bool, Infallible> {
            Ok(true)
        }
    }
    impl Write for Ended {
        fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> Result<(), Infallible> {
            Ok(())
        }
    }
    let (mut flash, mut buffer) = (flash(), [0; 300]);
    let mut bench = Bench::new(&mut flash, &mut buffer);
    let turns = (0..100).map(|_| bench.console.poll(START, &mut Ended, &mut bench.store, &mut bench.board));
    assert_eq!(turns.last(), Some(Turn::Wait));
}
