//! The functions that C calls. Each one checks its pointers, enters the handle, does one thing of the node's, and says
//! how it went; what they promise together is told at the top of this package.

use core::ffi::{c_char, c_void};

use steadfast_core::agent::{Link, RouterConfig, RouterId};
use steadfast_core::time::Instant;
use steadfast_core::types::MacAddr;
use steadfast_firmware::node::Received;
use steadfast_firmware::vlan::VlanId;

use crate::handle::{self, Addresses, Entered, Inner, Interface, Steadfast, enter, give, read, slice, slice_mut};
use crate::hardware::SteadfastHardware;
use crate::text::{self, Text};
use crate::types::{self, SteadfastAddress, SteadfastReceived, SteadfastResult, SteadfastRouter, SteadfastView};

/// Memory that is enough for a handle of the usual sizes, on every target; `steadfast_memory_size` is exact.
pub const STEADFAST_MEMORY_SIZE: usize = 12288;

/// The alignment of that memory.
pub const STEADFAST_MEMORY_ALIGN: usize = 8;

const _: () = assert!(align_of::<Steadfast>() <= STEADFAST_MEMORY_ALIGN);
const _: () = assert!(size_of::<Steadfast>() <= STEADFAST_MEMORY_SIZE || handle::RESIZED);

/// The number that `steadfast_counter` knows the counters of no Virtual Router in particular by.
pub const STEADFAST_GLOBAL: u16 = 0xffff;

/// A time that never comes.
pub const STEADFAST_NEVER: u64 = u64::MAX;

pub(crate) type Done = Result<(), SteadfastResult>;

pub(crate) fn said(result: Done) -> SteadfastResult {
    match result {
        Ok(()) => SteadfastResult::Ok,
        Err(result) => result,
    }
}

impl Inner {
    pub(crate) fn interface(&self, number: u16) -> Result<steadfast_core::agent::InterfaceId, SteadfastResult> {
        self.interfaces.get(usize::from(number)).map(|known| known.id).ok_or(SteadfastResult::Unknown)
    }

    pub(crate) fn router(&self, number: u16) -> Result<RouterId, SteadfastResult> {
        let mut all = self.node.agent().routers();
        all.find(|id| id.index() == usize::from(number)).ok_or(SteadfastResult::Unknown)
    }
}

/// How many bytes a handle takes.
#[unsafe(no_mangle)]
pub extern "C" fn steadfast_memory_size() -> usize {
    size_of::<Steadfast>()
}

/// Makes a handle in `length` bytes of memory that belong to it from then on, aligned to `STEADFAST_MEMORY_ALIGN`. There
/// is nothing to be freed: forget the handle, and the memory is the program's again.
///
/// # Safety
///
/// `memory` has `length` writable bytes, `hardware` and `vrrp` point to one of theirs or are null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_create(
    memory: *mut c_void,
    length: usize,
    hardware: *const SteadfastHardware,
    vrrp: *mut *mut Steadfast,
) -> SteadfastResult {
    // SAFETY: as the caller promises.
    let create = || unsafe {
        let hardware = *read(hardware)?;
        if hardware.send.is_none() {
            return Err(SteadfastResult::Pointer);
        }
        give(vrrp, core::ptr::null_mut())?;
        give(vrrp, handle::create(memory, length, hardware)?)
    };
    said(create())
}

/// Adds an interface: a port of the box, or with `vlan` from 1 to 4094 a VLAN on one. `name` is what a configuration
/// calls it, at most 15 bytes of UTF-8; `mac` are the 6 bytes of the station's own MAC address. It is down and has no
/// source addresses at first. Its number, counted from 0, comes in `interface`.
///
/// # Safety
///
/// The pointers point to what is said, or are null; `vrrp` came from `steadfast_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_add_interface(
    vrrp: *mut Steadfast,
    name: *const c_char,
    name_length: usize,
    mac: *const u8,
    vlan: u16,
    interface: *mut u16,
) -> SteadfastResult {
    let add = || {
        // SAFETY: as the caller promises.
        let (mut inner, name, mac) = unsafe { (enter(vrrp)?, slice(name.cast(), name_length)?, read(mac.cast())?) };
        let name = core::str::from_utf8(name).map_err(|_| SteadfastResult::Value)?;
        let name = heapless::String::try_from(name).map_err(|_| SteadfastResult::Value)?;
        let vlan = match vlan {
            0 => None,
            number => Some(VlanId::new(number).ok_or(SteadfastResult::Value)?),
        };
        let number = u16::try_from(inner.interfaces.len()).map_err(|_| SteadfastResult::Full)?;
        let id = inner.node.add_port(MacAddr(*mac), vlan).map_err(|_| SteadfastResult::Full)?;
        inner.interfaces.push(Interface { id, name }).map_err(|_| SteadfastResult::Full)?;
        // SAFETY: as the caller promises.
        unsafe { give(interface, number) }
    };
    said(add())
}

/// A cable was put in (`up`) or pulled out.
///
/// # Safety
///
/// `vrrp` came from `steadfast_create`, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_link(vrrp: *mut Steadfast, now: u64, interface: u16, up: bool) -> SteadfastResult {
    let tell = || {
        // SAFETY: as the caller promises.
        let mut inner = unsafe { enter(vrrp) }?;
        let id = inner.interface(interface)?;
        inner.node.handle_link(Instant::from_micros(now), id, if up { Link::Up } else { Link::Down });
        Ok(())
    };
    said(tell())
}

/// The source of Advertisements: the primary IPv4 address of the interface, or its IPv6 link-local address; the
/// station's own, never a virtual one. Null: it has none any more. `family` is 4 or 6.
///
/// # Safety
///
/// The pointers point to what is said, or are null; `vrrp` came from `steadfast_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_source(
    vrrp: *mut Steadfast,
    now: u64,
    interface: u16,
    family: u8,
    address: *const SteadfastAddress,
) -> SteadfastResult {
    let tell = || {
        // SAFETY: as the caller promises.
        let mut inner = unsafe { enter(vrrp) }?;
        let source = if address.is_null() {
            None
        } else {
            // SAFETY: as the caller promises.
            Some(unsafe { read(address) }?.read().ok_or(SteadfastResult::Value)?)
        };
        let id = inner.interface(interface)?;
        let known = types::family(family).ok_or(SteadfastResult::Value)?;
        if source.is_some_and(|source| steadfast_core::types::Family::of(&source) != known) {
            return Err(SteadfastResult::Value);
        }
        inner.node.handle_source(Instant::from_micros(now), id, known, source);
        Ok(())
    };
    said(tell())
}

/// Fills in the defaults of RFC 9568 section 6.1 for a Virtual Router of a family (4 or 6) and VRID; `interface` is 0
/// and there are no addresses.
///
/// # Safety
///
/// `router` points to one, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_router_defaults(
    family: u8,
    vrid: u8,
    router: *mut SteadfastRouter,
) -> SteadfastResult {
    let defaults = SteadfastRouter {
        interface: 0,
        interval_centiseconds: 100,
        family,
        version: 3,
        vrid,
        priority: 100,
        preempt: 1,
        accept: 0,
        strict: 0,
        authenticate: 0,
        password: [0; 8],
        preempt_delay_ms: 0,
        addresses: core::ptr::null(),
        address_count: 0,
        excluded: core::ptr::null(),
        excluded_count: 0,
    };
    // SAFETY: as the caller promises.
    said(unsafe { give(router, defaults) })
}

fn addresses(list: &[SteadfastAddress]) -> Result<Addresses, SteadfastResult> {
    let mut all = Addresses::new();
    for address in list {
        let address = address.read().ok_or(SteadfastResult::Value)?;
        all.push(address).map_err(|_| SteadfastResult::Full)?;
    }
    Ok(all)
}

/// Adds a Virtual Router, which takes part as soon as its interface is up and has a source address. Its number comes in
/// `number`.
///
/// # Safety
///
/// The pointers, also those within `router`, point to what is said, or are null; `vrrp` came from `steadfast_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_add_router(
    vrrp: *mut Steadfast,
    now: u64,
    router: *const SteadfastRouter,
    number: *mut u16,
) -> SteadfastResult {
    let add = || {
        // SAFETY: as the caller promises.
        let (mut inner, router) = unsafe { (enter(vrrp)?, read(router)?) };
        // SAFETY: as the caller promises.
        let (shared, excluded) =
            unsafe { (slice(router.addresses, router.address_count)?, slice(router.excluded, router.excluded_count)?) };
        let (shared, excluded) = (addresses(shared)?, addresses(excluded)?);
        let settings = router.settings().ok_or(SteadfastResult::Value)?;
        let interface = inner.interface(router.interface)?;
        let config = RouterConfig { interface, settings, addresses: &shared, excluded: &excluded, peers: &[] };
        let id = inner.node.add(Instant::from_micros(now), &config)?;
        // SAFETY: as the caller promises.
        unsafe { give(number, u16::try_from(id.index()).unwrap_or(u16::MAX)) }
    };
    said(add())
}

/// What is done to one Virtual Router.
///
/// # Safety
///
/// `vrrp` came from `steadfast_create`, or is null.
unsafe fn with_router(vrrp: *mut Steadfast, router: u16, change: impl FnOnce(&mut Inner, RouterId)) -> SteadfastResult {
    // SAFETY: as the caller promises.
    let entered: Result<Entered<'_>, SteadfastResult> = unsafe { enter(vrrp) };
    said(entered.and_then(|mut inner| {
        let id = inner.router(router)?;
        change(&mut inner, id);
        Ok(())
    }))
}

/// Takes a Virtual Router out, handing over to its successor first. Its number may be given to another one later.
///
/// # Safety
///
/// `vrrp` came from `steadfast_create`, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_remove_router(vrrp: *mut Steadfast, now: u64, router: u16) -> SteadfastResult {
    // SAFETY: as the caller promises.
    unsafe { with_router(vrrp, router, |inner, id| inner.node.remove(Instant::from_micros(now), id)) }
}

/// Hands a Virtual Router over and keeps it out until `steadfast_resume`.
///
/// # Safety
///
/// `vrrp` came from `steadfast_create`, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_drain(vrrp: *mut Steadfast, now: u64, router: u16) -> SteadfastResult {
    // SAFETY: as the caller promises.
    unsafe { with_router(vrrp, router, |inner, id| inner.node.drain(Instant::from_micros(now), id)) }
}

/// Lets a drained Virtual Router take part again.
///
/// # Safety
///
/// `vrrp` came from `steadfast_create`, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_resume(vrrp: *mut Steadfast, now: u64, router: u16) -> SteadfastResult {
    // SAFETY: as the caller promises.
    unsafe { with_router(vrrp, router, |inner, id| inner.node.resume(Instant::from_micros(now), id)) }
}

/// Stops all Virtual Routers as planned: they resign, and keep their addresses until the successor has been heard. Go on
/// with the loop until `steadfast_is_idle`.
///
/// # Safety
///
/// `vrrp` came from `steadfast_create`, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_shutdown(vrrp: *mut Steadfast, now: u64) -> SteadfastResult {
    // SAFETY: as the caller promises.
    said(unsafe { enter(vrrp) }.map(|mut inner| inner.node.shutdown(Instant::from_micros(now))))
}

/// Whether every Virtual Router has been stopped and nothing is held any more. Also true if the handle is wrong: there
/// is nothing to wait for.
///
/// # Safety
///
/// `vrrp` came from `steadfast_create`, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_is_idle(vrrp: *mut Steadfast) -> bool {
    // SAFETY: as the caller promises.
    unsafe { enter(vrrp) }.map_or(true, |inner| inner.node.agent().is_idle())
}

/// A frame from the wire, `length` bytes at `frame`, which may be rewritten. If it says `Up`, the frame is for the
/// program's own stack: `up_length` bytes at `up`, which lie within `frame`.
///
/// # Safety
///
/// The pointers point to what is said, or are null; `vrrp` came from `steadfast_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_receive(
    vrrp: *mut Steadfast,
    now: u64,
    interface: u16,
    frame: *mut u8,
    length: usize,
    up: *mut *const u8,
    up_length: *mut usize,
) -> SteadfastReceived {
    let receive = || {
        // SAFETY: as the caller promises.
        let (mut inner, frame) = unsafe { (enter(vrrp)?, slice_mut(frame, length)?) };
        let id = inner.interface(interface)?;
        Ok(match inner.node.receive(Instant::from_micros(now), id, frame) {
            Received::Taken => SteadfastReceived::Taken,
            Received::Dropped => SteadfastReceived::Dropped,
            Received::Up(frame) => {
                // SAFETY: as the caller promises.
                unsafe {
                    give(up, frame.as_ptr())?;
                    give(up_length, frame.len())?;
                }
                SteadfastReceived::Up
            }
        })
    };
    Result::<_, SteadfastResult>::unwrap_or(receive(), SteadfastReceived::Wrong)
}

/// A frame of the program's own stack, `length` bytes at `frame`, where there is room for `room` bytes: 4 more than the
/// frame if the interface is a VLAN. What is to be sent instead comes in `out` and `out_length`, and lies within
/// `frame`; a length of 0 says that nothing is: it speaks for a virtual address that is not ours now.
///
/// # Safety
///
/// The pointers point to what is said, or are null; `vrrp` came from `steadfast_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_transmit(
    vrrp: *mut Steadfast,
    interface: u16,
    frame: *mut u8,
    room: usize,
    length: usize,
    out: *mut *const u8,
    out_length: *mut usize,
) -> SteadfastResult {
    let transmit = || {
        // SAFETY: as the caller promises.
        let (inner, buffer) = unsafe { (enter(vrrp)?, slice_mut(frame, room)?) };
        let id = inner.interface(interface)?;
        if length > room {
            return Err(SteadfastResult::Pointer);
        }
        let sent = inner.node.transmit(id, buffer, length).unwrap_or(&[]);
        // SAFETY: as the caller promises.
        unsafe {
            give(out, sent.as_ptr())?;
            give(out_length, sent.len())
        }
    };
    said(transmit())
}

/// Sends what is owed, by the program's functions. When to come back, unless a frame or another input comes first, comes
/// in `next`: a time that is not after `now` means at once, `STEADFAST_NEVER` that there is nothing to wait for.
///
/// # Safety
///
/// The pointers point to what is said, or are null; `vrrp` came from `steadfast_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_poll(vrrp: *mut Steadfast, now: u64, next: *mut u64) -> SteadfastResult {
    let poll = || {
        // SAFETY: as the caller promises.
        let mut inner = unsafe { enter(vrrp) }?;
        let mut hardware = inner.hardware;
        let at = inner.node.poll(Instant::from_micros(now), &mut hardware);
        // SAFETY: as the caller promises.
        unsafe { give(next, at.map_or(STEADFAST_NEVER, Instant::as_micros)) }
    };
    said(poll())
}

/// How many Virtual Routers there are room for; their numbers are less than this.
#[unsafe(no_mangle)]
pub extern "C" fn steadfast_router_room() -> u16 {
    u16::try_from(handle::ROUTERS).unwrap_or(u16::MAX)
}

/// One Virtual Router as it is now; `STEADFAST_RESULT_UNKNOWN` if there is none of that number.
///
/// # Safety
///
/// The pointers point to what is said, or are null; `vrrp` came from `steadfast_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_view(
    vrrp: *mut Steadfast,
    router: u16,
    view: *mut SteadfastView,
) -> SteadfastResult {
    let look = || {
        // SAFETY: as the caller promises.
        let inner = unsafe { enter(vrrp) }?;
        let id = inner.router(router)?;
        let seen = inner.node.agent().view(id).ok_or(SteadfastResult::Unknown)?;
        let told = SteadfastView {
            interface: u16::try_from(seen.interface.index()).unwrap_or(u16::MAX),
            vrid: seen.settings.vrid.get(),
            family: if seen.settings.family == steadfast_core::types::Family::V4 { 4 } else { 6 },
            version: seen.settings.version.number(),
            priority: seen.effective_priority.get(),
            state: seen.state.into(),
            active: seen.active_address.map(SteadfastAddress::from).unwrap_or_default(),
        };
        // SAFETY: as the caller promises.
        unsafe { give(view, told) }
    };
    said(look())
}

/// The counter number `index` of a Virtual Router, or of none in particular (`STEADFAST_GLOBAL`), by the order in which
/// they are told; `STEADFAST_RESULT_UNKNOWN` after the last one. Its name, which lasts for ever and does not end with a
/// zero byte, is that of RFC 8347 where it has one.
///
/// # Safety
///
/// The pointers point to what is said, or are null; `vrrp` came from `steadfast_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_counter(
    vrrp: *mut Steadfast,
    router: u16,
    index: u16,
    name: *mut *const c_char,
    name_length: *mut usize,
    value: *mut u64,
) -> SteadfastResult {
    let count = || {
        // SAFETY: as the caller promises.
        let inner = unsafe { enter(vrrp) }?;
        let agent = inner.node.agent();
        let index = usize::from(index);
        let found = if router == STEADFAST_GLOBAL {
            agent.counters().iter().nth(index)
        } else {
            agent.view(inner.router(router)?).and_then(|view| view.counters.iter().nth(index))
        };
        let (label, counted) = found.ok_or(SteadfastResult::Unknown)?;
        // SAFETY: as the caller promises.
        unsafe {
            give(name, label.as_ptr().cast())?;
            give(name_length, label.len())?;
            give(value, counted)
        }
    };
    said(count())
}

/// What `status` shows, as text with lines, into `room` bytes at `buffer`; it ends with a zero byte, and with it if the
/// room is too small. The length of the whole text, without the zero byte, comes in `length`.
///
/// # Safety
///
/// The pointers point to what is said, or are null; `vrrp` came from `steadfast_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_status(
    vrrp: *mut Steadfast,
    now: u64,
    buffer: *mut c_char,
    room: usize,
    length: *mut usize,
) -> SteadfastResult {
    let tell = || {
        // SAFETY: as the caller promises.
        let (inner, buffer) = unsafe { (enter(vrrp)?, slice_mut(buffer.cast(), room)?) };
        let mut text = Text::new(buffer);
        text::status(&inner, Instant::from_micros(now), &mut text);
        // SAFETY: as the caller promises.
        unsafe { give(length, text.finish()) }
    };
    said(tell())
}
