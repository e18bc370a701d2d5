//! The handle: what lies in the caller's memory, and how a pointer from C becomes a reference to it. Every pointer is
//! looked at before it is used: null, alignment, the mark that `steadfast_create` left, and whether a call is under way
//! already (a callback that calls back). What cannot be looked at is promised by the header.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::net::IpAddr;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

use steadfast_core::agent::{InterfaceId, RouterId, TrackerId};
use steadfast_core::storage::Fixed;
use steadfast_firmware::node::Node;

use crate::hardware::SteadfastHardware;
use crate::types::SteadfastResult;

/// Reads a capacity from a build-time variable.
const fn capacity(variable: Option<&str>, default: usize) -> usize {
    let Some(text) = variable else { return default };
    let mut digits = text.as_bytes();
    let mut value: usize = 0;
    while let [digit, rest @ ..] = digits {
        assert!(digit.is_ascii_digit(), "a capacity is a decimal number");
        value = value.saturating_mul(10).saturating_add(digit.saturating_sub(b'0') as usize);
        digits = rest;
    }
    value
}

/// Virtual Routers.
pub(crate) const ROUTERS: usize = capacity(option_env!("STEADFAST_ROUTERS"), 8);
/// Virtual addresses, over all Virtual Routers.
const ADDRESSES: usize = capacity(option_env!("STEADFAST_ADDRESSES"), 64);
/// Interfaces, each VLAN one of its own.
pub(crate) const INTERFACES: usize = capacity(option_env!("STEADFAST_INTERFACES"), 4);
/// Whether it was built for other sizes than the usual ones.
pub(crate) const RESIZED: bool = option_env!("STEADFAST_ROUTERS").is_some()
    || option_env!("STEADFAST_ADDRESSES").is_some()
    || option_env!("STEADFAST_INTERFACES").is_some();
/// The longest name of an interface, as Linux has it.
const NAME: usize = 15;
/// Events that wait to be told.
const EVENTS: usize = 16;
/// Trackers.
const TRACKERS: usize = 8;
/// Sync groups.
const GROUPS: usize = 4;

pub(crate) type Storage = Fixed<ROUTERS, ADDRESSES, INTERFACES, EVENTS, TRACKERS, GROUPS>;

/// A Virtual Router's addresses as the node wants them.
pub(crate) type Addresses = heapless::Vec<IpAddr, ADDRESSES>;

/// "SFVR": memory that `steadfast_create` has filled.
const MARK: u32 = 0x5346_5652;

/// Steadfast in the memory that was lent to it. C knows only its address.
pub struct Steadfast {
    mark: u32,
    entered: AtomicBool,
    inner: UnsafeCell<Inner>,
}

/// What a call works on.
pub(crate) struct Inner {
    pub(crate) node: Node<Storage, INTERFACES>,
    pub(crate) interfaces: heapless::Vec<Interface, INTERFACES>,
    pub(crate) names: Names,
    /// By the numbers that C knows them by.
    pub(crate) trackers: heapless::Vec<TrackerId, TRACKERS>,
    pub(crate) hardware: SteadfastHardware,
}

/// What the Virtual Routers of a configuration are called.
pub(crate) struct Names(heapless::Vec<(RouterId, heapless::String<NAME>), ROUTERS>);

impl Names {
    /// What one is called; what has no name is `-`.
    pub(crate) fn of(&self, router: RouterId) -> &str {
        self.0.iter().find(|known| known.0 == router).map_or("-", |known| known.1.as_str())
    }

    /// Calls one by as much of a name as there is room for, instead of the one that had its place before.
    pub(crate) fn set(&mut self, router: RouterId, name: &str) {
        let mut short = heapless::String::new();
        for character in name.chars() {
            if short.push(character).is_err() {
                break;
            }
        }
        self.0.retain(|known| known.0.index() != router.index());
        // As many as there are places.
        let _ = self.0.push((router, short));
    }
}

/// An interface, by the number that C knows it by.
pub(crate) struct Interface {
    pub(crate) id: InterfaceId,
    pub(crate) name: heapless::String<NAME>,
}

/// A call that is under way. While it is, no other one gets a reference to what it works on.
pub(crate) struct Entered<'a>(&'a Steadfast);

impl Deref for Entered<'_> {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        // SAFETY: `enter` makes one of these at a time, so nobody holds a mutable reference to it.
        unsafe { &*self.0.inner.get() }
    }
}

impl DerefMut for Entered<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        // SAFETY: `enter` makes one of these at a time, and this one is borrowed mutably.
        unsafe { &mut *self.0.inner.get() }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.entered.store(false, Ordering::Release);
    }
}

/// The memory that a handle points to, for one call.
///
/// # Safety
///
/// `vrrp` is null, or readable and writable for as many bytes as `steadfast_memory_size` says; nobody else uses that
/// memory, and no other thread is in here with it.
pub(crate) unsafe fn enter<'a>(vrrp: *mut Steadfast) -> Result<Entered<'a>, SteadfastResult> {
    if !vrrp.is_aligned() {
        return Err(SteadfastResult::Pointer);
    }
    // SAFETY: it is aligned, not null where `as_ref` gives a reference, and the memory is ours as the caller promises.
    // The mark is read before anything else is: it lies in memory that is readable, and any bytes make a number.
    let handle = unsafe { vrrp.as_ref() }.filter(|handle| handle.mark == MARK).ok_or(SteadfastResult::Pointer)?;
    if handle.entered.load(Ordering::Acquire) {
        return Err(SteadfastResult::Reentered);
    }
    handle.entered.store(true, Ordering::Relaxed);
    Ok(Entered(handle))
}

/// Fills lent memory.
///
/// # Safety
///
/// `memory` is null, or readable and writable for `length` bytes that nobody else uses from now on.
pub(crate) unsafe fn create(
    memory: *mut c_void,
    length: usize,
    hardware: SteadfastHardware,
) -> Result<*mut Steadfast, SteadfastResult> {
    let place = memory.cast::<Steadfast>();
    if place.is_null() || !place.is_aligned() {
        return Err(SteadfastResult::Pointer);
    }
    if length < size_of::<Steadfast>() {
        return Err(SteadfastResult::Full);
    }
    let inner = Inner {
        node: Node::new(),
        interfaces: heapless::Vec::new(),
        names: Names(heapless::Vec::new()),
        trackers: heapless::Vec::new(),
        hardware,
    };
    // SAFETY: it is not null, aligned, large enough, and ours as the caller promises. Nothing is there to be dropped.
    unsafe { place.write(Steadfast { mark: MARK, entered: AtomicBool::new(false), inner: UnsafeCell::new(inner) }) };
    Ok(place)
}

/// A slice that C lends; an empty one may be null.
///
/// # Safety
///
/// `first` is null, or readable for `count` items as long as the call lasts, and nobody writes to them meanwhile.
pub(crate) unsafe fn slice<'a, T>(first: *const T, count: usize) -> Result<&'a [T], SteadfastResult> {
    if count == 0 {
        return Ok(&[]);
    }
    if first.is_null() || !first.is_aligned() || !fits::<T>(count) {
        return Err(SteadfastResult::Pointer);
    }
    // SAFETY: it is not null, aligned, no longer than memory can be, and readable as the caller promises.
    Ok(unsafe { core::slice::from_raw_parts(first, count) })
}

/// A slice that C lends to be written to.
///
/// # Safety
///
/// `first` is null, or readable and writable for `count` items as long as the call lasts, by nobody else.
pub(crate) unsafe fn slice_mut<'a, T>(first: *mut T, count: usize) -> Result<&'a mut [T], SteadfastResult> {
    if count == 0 {
        return Ok(&mut []);
    }
    if first.is_null() || !first.is_aligned() || !fits::<T>(count) {
        return Err(SteadfastResult::Pointer);
    }
    // SAFETY: it is not null, aligned, no longer than memory can be, and ours as the caller promises.
    Ok(unsafe { core::slice::from_raw_parts_mut(first, count) })
}

/// Whether so many items are no longer than memory can be.
const fn fits<T>(count: usize) -> bool {
    match count.checked_mul(size_of::<T>()) {
        Some(bytes) => bytes <= isize::MAX as usize,
        None => false,
    }
}

/// A value that C lends.
///
/// # Safety
///
/// `pointer` is null, or readable for one value as long as the call lasts.
pub(crate) unsafe fn read<'a, T>(pointer: *const T) -> Result<&'a T, SteadfastResult> {
    if !pointer.is_aligned() {
        return Err(SteadfastResult::Pointer);
    }
    // SAFETY: it is aligned, and readable as the caller promises unless it is null.
    unsafe { pointer.as_ref() }.ok_or(SteadfastResult::Pointer)
}

/// Gives a value to C.
///
/// # Safety
///
/// `place` is null, or writable for one value.
pub(crate) unsafe fn give<T: Copy>(place: *mut T, value: T) -> Result<(), SteadfastResult> {
    if place.is_null() || !place.is_aligned() {
        return Err(SteadfastResult::Pointer);
    }
    // SAFETY: it is not null, aligned, and writable as the caller promises.
    unsafe { place.write(value) };
    Ok(())
}
