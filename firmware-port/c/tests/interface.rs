//! The C interface as a C program sees it, called from Rust: wrong pointers, lengths, numbers and calls from within
//! callbacks are refused and change nothing; two handles on a cable elect; a configuration is taken whole or not at all.

#![allow(missing_docs, clippy::arithmetic_side_effects, clippy::expect_used, reason = "a test fails by a panic")]
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by a panic")]

use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};

use steadfast_c::*;

/// Memory as a C program declares it.
#[repr(align(8))]
struct Memory([u8; STEADFAST_MEMORY_SIZE]);

/// What a program's functions were told. It stays where it is, because its address is a callback's context.
#[derive(Default)]
struct Program {
    sent: Vec<Vec<u8>>,
    heard: Vec<[u8; 6]>,
    lent: Vec<SteadfastAddress>,
    ours: Vec<[u8; 6]>,
    states: Vec<SteadfastState>,
    said: Vec<(u32, u32, String)>,
    /// To be called back, wrongly.
    handle: Option<*mut Steadfast>,
    reentered: Vec<SteadfastResult>,
}

unsafe fn program<'a>(context: *mut c_void) -> &'a mut Program {
    // SAFETY: every context here is a `Program` that outlives its handle, and nothing else uses it during a call.
    unsafe { &mut *context.cast() }
}

unsafe extern "C" fn send(context: *mut c_void, _: u16, frame: *const u8, length: usize) -> bool {
    // SAFETY: the library lends `length` bytes.
    let (program, frame) = unsafe { (program(context), std::slice::from_raw_parts(frame, length)) };
    program.sent.push(frame.to_vec());
    if let Some(handle) = program.handle {
        // SAFETY: the handle is the one that is calling.
        program.reentered.push(unsafe { steadfast_shutdown(handle, 0) });
    }
    true
}

unsafe extern "C" fn hear(context: *mut c_void, _: u16, mac: *const u8, on: bool) {
    // SAFETY: the library lends 6 bytes.
    let (program, mac) = unsafe { (program(context), *mac.cast::<[u8; 6]>()) };
    program.heard.retain(|known| *known != mac);
    program.heard.extend(on.then_some(mac));
}

unsafe extern "C" fn address(context: *mut c_void, _: u16, address: *const SteadfastAddress, on: bool) {
    // SAFETY: the library lends an address.
    let (program, address) = unsafe { (program(context), *address) };
    program.lent.retain(|known| *known != address);
    program.lent.extend(on.then_some(address));
}

unsafe extern "C" fn virtual_mac(context: *mut c_void, _: u16, mac: *const u8, ours: bool) {
    // SAFETY: the library lends 6 bytes.
    let (program, mac) = unsafe { (program(context), *mac.cast::<[u8; 6]>()) };
    program.ours.retain(|known| *known != mac);
    program.ours.extend(ours.then_some(mac));
}

unsafe extern "C" fn event(context: *mut c_void, event: *const SteadfastEvent) {
    // SAFETY: the library lends an event.
    let (program, event) = unsafe { (program(context), &*event) };
    program.states.push(event.to);
}

unsafe extern "C" fn report(context: *mut c_void, _: SteadfastSeverity, line: u32, column: u32, text: *const c_char) {
    // SAFETY: the library lends a text that ends with a zero byte.
    let (program, text) = unsafe { (program(context), std::ffi::CStr::from_ptr(text)) };
    program.said.push((line, column, text.to_string_lossy().into_owned()));
}

/// A handle with one interface that is up, in memory of its own.
struct Station {
    handle: *mut Steadfast,
    program: Box<Program>,
    memory: Box<Memory>,
}

const NAME: &[u8] = b"eth0";

impl Station {
    fn new(number: u8) -> Self {
        let mut memory = Box::new(Memory([0xa5; STEADFAST_MEMORY_SIZE]));
        let mut program = Box::<Program>::default();
        let hardware = SteadfastHardware {
            context: (&raw mut *program).cast(),
            send: Some(send),
            hear: Some(hear),
            address: Some(address),
            virtual_mac: Some(virtual_mac),
            event: Some(event),
        };
        let (mut handle, mut interface) = (null_mut(), 9);
        let mac = [2, 0, 0, 0, 0, number];
        let own = SteadfastAddress { family: 4, bytes: v4([192, 0, 2, number]) };
        // SAFETY: everything outlives the calls, and the memory the handle.
        unsafe {
            let place = memory.0.as_mut_ptr().cast();
            ok(steadfast_create(place, STEADFAST_MEMORY_SIZE, &hardware, &mut handle));
            let name = NAME.as_ptr().cast();
            ok(steadfast_add_interface(handle, name, NAME.len(), mac.as_ptr(), 0, &mut interface));
            ok(steadfast_source(handle, 0, interface, 4, &own));
            ok(steadfast_link(handle, 0, interface, true));
        }
        assert_eq!(interface, 0);
        Self { handle, program, memory }
    }

    fn poll(&self, now: u64) -> u64 {
        let mut next = 0;
        // SAFETY: the handle is alive.
        ok(unsafe { steadfast_poll(self.handle, now, &mut next) });
        next
    }

    fn view(&self) -> SteadfastView {
        let mut view = std::mem::MaybeUninit::uninit();
        // SAFETY: the handle is alive, and the view is written if the result is good.
        unsafe {
            ok(steadfast_view(self.handle, 0, view.as_mut_ptr()));
            view.assume_init()
        }
    }

    fn configure(&mut self, now: u64, text: &str) -> SteadfastResult {
        let context = (&raw mut *self.program).cast();
        // SAFETY: the text and the program outlive the call.
        unsafe { steadfast_configure(self.handle, now, text.as_ptr().cast(), text.len(), Some(report), context) }
    }
}

#[track_caller]
fn ok(result: SteadfastResult) {
    assert_eq!(result, SteadfastResult::Ok);
}

fn v4([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

fn router(priority: u8, addresses: &[SteadfastAddress]) -> SteadfastRouter {
    let mut router = std::mem::MaybeUninit::uninit();
    // SAFETY: it is written if the result is good.
    let mut router = unsafe {
        ok(steadfast_router_defaults(4, 51, router.as_mut_ptr()));
        router.assume_init()
    };
    router.priority = priority;
    router.accept = 1;
    (router.addresses, router.address_count) = (addresses.as_ptr(), addresses.len());
    router
}

const VIRTUAL: [SteadfastAddress; 1] =
    [SteadfastAddress { family: 4, bytes: [192, 0, 2, 100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] }];
const VIRTUAL_MAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];

/// Carries frames between the boxes until `end`, in virtual time.
fn run(boxes: &mut [Station], from: u64, end: u64) {
    let mut now = from;
    while now < end {
        let next = boxes.iter().map(|one| one.poll(now)).min().unwrap_or(end);
        let mut quiet = true;
        for from in 0..boxes.len() {
            for frame in std::mem::take(&mut boxes[from].program.sent) {
                for to in (0..boxes.len()).filter(|to| *to != from) {
                    let mut frame = frame.clone();
                    let (mut up, mut length) = (null(), 0);
                    // SAFETY: the frame is this loop's own.
                    let result = unsafe {
                        let (start, size) = (frame.as_mut_ptr(), frame.len());
                        steadfast_receive(boxes[to].handle, now, 0, start, size, &mut up, &mut length)
                    };
                    assert_ne!(result, SteadfastReceived::Wrong);
                    quiet = false;
                }
            }
        }
        if quiet {
            now = next.max(now + 1);
        }
    }
}

#[test]
fn two_handles_elect_and_hand_over() {
    let mut boxes = [Station::new(1), Station::new(2)];
    for (one, priority) in boxes.iter().zip([100, 200]) {
        let mut number = 9;
        // SAFETY: everything outlives the call.
        ok(unsafe { steadfast_add_router(one.handle, 0, &router(priority, &VIRTUAL), &mut number) });
        assert_eq!(number, 0);
    }
    run(&mut boxes, 0, 5_000_000);
    assert_eq!(boxes[0].view().state, SteadfastState::Backup);
    let active = boxes[1].view();
    assert_eq!((active.state, active.priority, active.vrid), (SteadfastState::Active, 200, 51));
    assert_eq!(boxes[0].view().active.bytes, v4([192, 0, 2, 2]));
    let program = &boxes[1].program;
    assert_eq!((&program.lent[..], &program.ours[..]), (&VIRTUAL[..], &[VIRTUAL_MAC][..]));
    assert!(program.heard.contains(&VIRTUAL_MAC));
    assert_eq!(program.states, [SteadfastState::Backup, SteadfastState::Active]);
    assert!(boxes[0].program.lent.is_empty() && boxes[0].program.ours.is_empty());

    // A drained one stays out, and comes back.
    // SAFETY: the handle is alive.
    ok(unsafe { steadfast_drain(boxes[1].handle, 5_000_000, 0) });
    run(&mut boxes, 5_000_000, 8_000_000);
    assert_eq!(boxes[0].view().state, SteadfastState::Active);
    assert!(boxes[1].program.lent.is_empty() && boxes[1].program.ours.is_empty());
    // SAFETY: the handle is alive.
    ok(unsafe { steadfast_resume(boxes[1].handle, 8_000_000, 0) });
    run(&mut boxes, 8_000_000, 13_000_000);
    assert_eq!(boxes[1].view().state, SteadfastState::Active);

    // A tracker takes priority away.
    let mut tracker = 9;
    // SAFETY: the handle is alive, and the number is written.
    unsafe {
        ok(steadfast_add_tracker(boxes[1].handle, &mut tracker));
        ok(steadfast_track(boxes[1].handle, 13_000_000, 0, tracker, -150));
        ok(steadfast_report(boxes[1].handle, 13_000_000, tracker, false));
    }
    run(&mut boxes, 13_000_000, 18_000_000);
    assert_eq!((boxes[1].view().priority, boxes[0].view().state), (50, SteadfastState::Active));

    // A planned stop.
    // SAFETY: the handle is alive.
    unsafe {
        assert!(!steadfast_is_idle(boxes[0].handle));
        ok(steadfast_shutdown(boxes[0].handle, 18_000_000));
    }
    run(&mut boxes, 18_000_000, 22_000_000);
    // SAFETY: the handle is alive.
    assert!(unsafe { steadfast_is_idle(boxes[0].handle) });
    assert_eq!(boxes[1].view().state, SteadfastState::Active);
}

#[test]
fn a_callback_that_calls_back_is_refused() {
    let mut one = Station::new(1);
    // SAFETY: everything outlives the call.
    ok(unsafe { steadfast_add_router(one.handle, 0, &router(255, &VIRTUAL), &mut 0) });
    one.program.handle = Some(one.handle);
    one.poll(0);
    one.poll(10_000_000);
    assert!(!one.program.reentered.is_empty());
    assert!(one.program.reentered.iter().all(|result| *result == SteadfastResult::Reentered));
    assert_eq!(one.view().state, SteadfastState::Active);
}

#[test]
fn wrong_pointers_and_numbers_are_refused() {
    use SteadfastResult::{Addresses, Duplicate, Full, Pointer, Unknown, Value};
    let one = Station::new(1);
    let handle = one.handle;
    let hardware = SteadfastHardware {
        context: null_mut(),
        send: None,
        hear: None,
        address: None,
        virtual_mac: None,
        event: None,
    };
    let good = SteadfastHardware { send: Some(send), ..hardware };
    let mut other = null_mut();
    let mut memory = Memory([0; STEADFAST_MEMORY_SIZE]);
    let place: *mut c_void = memory.0.as_mut_ptr().cast();
    let mut frame = [0_u8; 60];
    let (mut up, mut length, mut number) = (null(), 0, 0);
    // SAFETY: what is not null lives as long as the calls; what is wrong with the rest is what is tested.
    unsafe {
        let size = steadfast_memory_size();
        assert!(size <= STEADFAST_MEMORY_SIZE, "{size}");
        println!("figure: a C handle of 8 Virtual Routers, 64 addresses and 4 interfaces takes {size} bytes");
        assert_eq!(steadfast_create(null_mut(), size, &good, &mut other), Pointer);
        assert_eq!(steadfast_create(place.byte_add(1), size, &good, &mut other), Pointer);
        assert_eq!(steadfast_create(place, size - 1, &good, &mut other), Full);
        assert_eq!(steadfast_create(place, size, null(), &mut other), Pointer);
        assert_eq!(steadfast_create(place, size, &hardware, &mut other), Pointer);
        assert_eq!(steadfast_create(place, size, &good, null_mut()), Pointer);
        assert!(other.is_null());
        // Memory that nobody has filled, and none at all.
        for wrong in [place.cast(), null_mut(), handle.byte_add(1)] {
            assert_eq!(steadfast_link(wrong, 0, 0, true), Pointer);
            assert_eq!(steadfast_poll(wrong, 0, &mut 0), Pointer);
            assert_eq!(steadfast_shutdown(wrong, 0), Pointer);
            assert!(steadfast_is_idle(wrong));
            let start = frame.as_mut_ptr();
            let result = steadfast_receive(wrong, 0, 0, start, 60, &mut up, &mut length);
            assert_eq!(result, SteadfastReceived::Wrong);
        }
        assert_eq!(steadfast_poll(handle, 0, null_mut()), Pointer);
        assert_eq!(steadfast_link(handle, 0, 1, true), Unknown);
        assert_eq!(steadfast_source(handle, 0, 0, 5, null()), Value);
        assert_eq!(steadfast_source(handle, 0, 0, 6, &VIRTUAL[0]), Value);
        let name = NAME.as_ptr().cast::<c_char>();
        let mac = [2_u8; 6];
        assert_eq!(steadfast_add_interface(handle, name, 4, null(), 0, &mut number), Pointer);
        assert_eq!(steadfast_add_interface(handle, null(), 4, mac.as_ptr(), 0, &mut number), Pointer);
        assert_eq!(steadfast_add_interface(handle, name, usize::MAX, mac.as_ptr(), 0, &mut number), Pointer);
        assert_eq!(
            steadfast_add_interface(handle, [0xff_u8; 4].as_ptr().cast(), 4, mac.as_ptr(), 0, &mut number),
            Value
        );
        assert_eq!(steadfast_add_interface(handle, name, 4, mac.as_ptr(), 4095, &mut number), Value);

        let add = |change: &dyn Fn(&mut SteadfastRouter)| {
            let mut router = router(100, &VIRTUAL);
            change(&mut router);
            steadfast_add_router(handle, 0, &router, &mut 0)
        };
        assert_eq!(add(&|router| router.vrid = 0), Value);
        assert_eq!(add(&|router| router.priority = 0), Value);
        assert_eq!(add(&|router| router.family = 7), Value);
        assert_eq!(add(&|router| router.version = 1), Value);
        assert_eq!(add(&|router| router.interval_centiseconds = 0), Value);
        assert_eq!(add(&|router| router.interval_centiseconds = 4096), Value);
        assert_eq!(add(&|router| (router.version, router.interval_centiseconds) = (2, 150)), Value);
        assert_eq!(add(&|router| router.preempt = 2), Value);
        assert_eq!(add(&|router| router.authenticate = 1), Value);
        assert_eq!(add(&|router| router.interface = 3), Unknown);
        assert_eq!(add(&|router| router.address_count = 0), Addresses);
        assert_eq!(add(&|router| router.addresses = null()), Pointer);
        assert_eq!(add(&|router| router.address_count = usize::MAX), Pointer);
        assert_eq!(add(&|router| router.excluded_count = 1), Pointer);
        assert_eq!(steadfast_add_router(handle, 0, null(), &mut 0), Pointer);
        assert_eq!(steadfast_view(handle, 0, null_mut()), Unknown, "nothing was added");
        ok(add(&|_| {}));
        assert_eq!(add(&|_| {}), Duplicate);
        assert_eq!(steadfast_view(handle, 0, null_mut()), Pointer);
        assert_eq!(steadfast_track(handle, 0, 0, 0, 5), Unknown);

        let start = frame.as_mut_ptr();
        let receive =
            |interface, frame, size| steadfast_receive(handle, 0, interface, frame, size, null_mut(), null_mut());
        assert_eq!(receive(1, start, 60), SteadfastReceived::Wrong);
        assert_eq!(receive(0, null_mut(), 60), SteadfastReceived::Wrong);
        assert_eq!(receive(0, start, usize::MAX), SteadfastReceived::Wrong);
        assert_eq!(receive(0, null_mut(), 0), SteadfastReceived::Dropped);
        // It is for the stack, and there is no place to say where it is.
        assert_eq!(receive(0, start, 60), SteadfastReceived::Wrong);
        assert_eq!(steadfast_transmit(handle, 0, start, 60, 61, &mut up, &mut length), Pointer);
        ok(steadfast_transmit(handle, 0, start, 60, 60, &mut up, &mut length));
        assert_eq!(length, 60);
    }
    // The whole of the memory was filled before; what lies behind the handle is untouched.
    assert!(one.memory.0[steadfast_memory_size()..].iter().all(|byte| *byte == 0xa5));
    one.poll(0);
}

#[test]
fn a_configuration_is_taken_whole_or_not_at_all() {
    let mut one = Station::new(1);
    let text = |vrid: u8| {
        format!(
            "vrrp_instance gateway {{\n interface eth0\n version 3\n virtual_router_id {vrid}\n priority 200\n \
             virtual_ipaddress {{ 192.0.2.100/24 }}\n}}\n"
        )
    };
    assert_eq!(one.configure(0, &text(0)), SteadfastResult::Configuration);
    let (line, column, said) = one.program.said.first().cloned().expect("a diagnostic");
    assert_eq!((line, column), (4, 20), "{said}");
    assert_eq!(one.configure(0, &text(51).replace("eth0", "eth7")), SteadfastResult::Configuration);
    // SAFETY: the handle is alive.
    assert_eq!(unsafe { steadfast_view(one.handle, 0, null_mut()) }, SteadfastResult::Unknown);

    ok(one.configure(0, &text(51)));
    let mut buffer = [0 as c_char; 2000];
    let mut length = 0;
    // SAFETY: the buffer outlives the call.
    let status = unsafe {
        ok(steadfast_status(one.handle, 1, buffer.as_mut_ptr(), buffer.len(), &mut length));
        std::ffi::CStr::from_ptr(buffer.as_ptr()).to_string_lossy().into_owned()
    };
    assert_eq!(status.len(), length);
    assert!(status.contains("gateway") && status.contains("backup") && status.contains("192.0.2.100"), "{status}");
    // Too little room: what fits, with its end, and how long it would be.
    // SAFETY: the buffer outlives the call.
    ok(unsafe { steadfast_status(one.handle, 1, buffer.as_mut_ptr(), 10, &mut length) });
    assert_eq!((buffer[9], length), (0, status.len()));
    // SAFETY: no memory is lent.
    ok(unsafe { steadfast_status(one.handle, 1, null_mut(), 0, &mut length) });

    // Another VRID instead: the old one goes first.
    let mut now = 5_000_000;
    one.poll(now);
    assert_eq!(one.configure(now, &text(52)), SteadfastResult::Again);
    while one.configure(now, &text(52)) == SteadfastResult::Again {
        now += 100_000;
        assert!(now < 20_000_000, "it never went");
        one.poll(now);
    }
    let end = now + 10_000_000;
    while now < end {
        now = one.poll(now).max(now + 1);
    }
    assert!(one.program.ours.iter().all(|mac| *mac == [0, 0, 0x5e, 0, 1, 52]), "{:?}", one.program.ours);

    let counters = |router: u16| {
        let (mut name, mut length, mut value, mut all) = (null(), 0, 0, Vec::new());
        let mut index = 0;
        // SAFETY: the name lasts for ever.
        unsafe {
            while steadfast_counter(one.handle, router, index, &mut name, &mut length, &mut value)
                == SteadfastResult::Ok
            {
                let label = std::str::from_utf8(std::slice::from_raw_parts(name.cast::<u8>(), length)).unwrap();
                all.push((label.to_owned(), value));
                index += 1;
            }
        }
        all
    };
    assert!(counters(STEADFAST_GLOBAL).iter().any(|(name, _)| name == "checksum-errors"));
    let sent = (0..steadfast_router_room()).flat_map(counters).find(|(name, _)| name == "advertisement-sent");
    assert!(sent.is_some_and(|(_, value)| value > 0));
}

/// Frames of every length and much content: nothing panics, and what is handed up lies within the frame.
#[test]
fn any_frame_is_taken() {
    let one = Station::new(1);
    // SAFETY: everything outlives the call.
    ok(unsafe { steadfast_add_router(one.handle, 0, &router(255, &VIRTUAL), &mut 0) });
    one.poll(0);
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    let starts: [&[u8]; 5] = [
        &[0, 0, 0x5e, 0, 1, 51, 2, 0, 0, 0, 0, 9, 8, 0, 0x45],
        &[1, 0, 0x5e, 0, 0, 18, 2, 0, 0, 0, 0, 9, 8, 0, 0x46, 0xc0, 0, 60, 0, 0, 0, 0, 255, 112],
        &[0x33, 0x33, 0, 0, 0, 18, 2, 0, 0, 0, 0, 9, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 40, 112, 255],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x81, 0, 0, 0, 8, 0],
    ];
    for round in 0..20_000_usize {
        let mut frame: Vec<u8> = starts[round % starts.len()].to_vec();
        frame.resize(usize::from(random()) / 2, 0);
        frame.iter_mut().skip(14).for_each(|byte| *byte ^= if random() < 40 { random() } else { 0 });
        let (mut up, mut length) = (null(), 0);
        let (start, size) = (frame.as_mut_ptr(), frame.len());
        // SAFETY: the frame outlives the calls.
        unsafe {
            let result = steadfast_receive(one.handle, 1, 0, start, size, &mut up, &mut length);
            assert_ne!(result, SteadfastReceived::Wrong);
            if result == SteadfastReceived::Up {
                let range = frame.as_ptr_range();
                assert!(range.contains(&up) && up.add(length) <= range.end);
            }
            let result = steadfast_transmit(one.handle, 0, start, size, size, &mut up, &mut length);
            assert_eq!(result, SteadfastResult::Ok);
        }
        if round % 16 == 0 {
            one.poll(round as u64);
        }
    }
}
