//! What a priority can depend on, as the C side asks for it: the link of another interface, a gateway that answers, and
//! what the program looks at itself.

use core::net::IpAddr;

use steadfast_core::agent::{Report, TrackerId, Weight};
use steadfast_core::time::{Duration, Instant};
use steadfast_firmware::tracking::Reachability;

use crate::api::said;
use crate::handle::{Inner, Steadfast, enter, give, read};
use crate::types::{SteadfastAddress, SteadfastResult};

impl Inner {
    fn tracker(&self, number: u16) -> Result<TrackerId, SteadfastResult> {
        self.trackers.get(usize::from(number)).copied().ok_or(SteadfastResult::Unknown)
    }

    /// Gives a new tracker its number.
    fn number(&mut self, tracker: TrackerId) -> Result<u16, SteadfastResult> {
        let number = u16::try_from(self.trackers.len()).map_err(|_| SteadfastResult::Full)?;
        self.trackers.push(tracker).map_err(|_| SteadfastResult::Full)?;
        Ok(number)
    }
}

/// Adds a tracker that the program reports for by `steadfast_report`. Its number comes in `tracker`.
///
/// # Safety
///
/// The pointers point to what is said, or are null; `vrrp` came from `steadfast_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_add_tracker(vrrp: *mut Steadfast, tracker: *mut u16) -> SteadfastResult {
    let add = || {
        // SAFETY: as the caller promises.
        let mut inner = unsafe { enter(vrrp) }?;
        let id = inner.node.add_tracker().map_err(|_| SteadfastResult::Full)?;
        let number = inner.number(id)?;
        // SAFETY: as the caller promises.
        unsafe { give(tracker, number) }
    };
    said(add())
}

/// Adds a tracker of the link of an interface.
///
/// # Safety
///
/// The pointers point to what is said, or are null; `vrrp` came from `steadfast_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_add_link_tracker(
    vrrp: *mut Steadfast,
    now: u64,
    interface: u16,
    tracker: *mut u16,
) -> SteadfastResult {
    let add = || {
        // SAFETY: as the caller promises.
        let mut inner = unsafe { enter(vrrp) }?;
        let of = inner.interface(interface)?;
        let now = Instant::from_micros(now);
        let id = inner.node.track_link(now, of).map_err(|_| SteadfastResult::Full)?;
        let number = inner.number(id)?;
        // SAFETY: as the caller promises.
        unsafe { give(tracker, number) }
    };
    said(add())
}

/// Adds a tracker of a gateway on the network of an interface: it is asked once in `interval_ms`, and its answer waited
/// for half of that. `rise` answers in a row and it counts as up, `fall` silences in a row and it counts as down.
///
/// # Safety
///
/// The pointers point to what is said, or are null; `vrrp` came from `steadfast_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_add_gateway_tracker(
    vrrp: *mut Steadfast,
    now: u64,
    interface: u16,
    gateway: *const SteadfastAddress,
    interval_ms: u32,
    rise: u8,
    fall: u8,
    tracker: *mut u16,
) -> SteadfastResult {
    let add = || {
        // SAFETY: as the caller promises.
        let (mut inner, gateway) = unsafe { (enter(vrrp)?, read(gateway)?) };
        let interface = inner.interface(interface)?;
        let gateway: IpAddr = gateway.read().ok_or(SteadfastResult::Value)?;
        if interval_ms < 2 || rise == 0 || fall == 0 {
            return Err(SteadfastResult::Value);
        }
        let interval = Duration::from_millis(u64::from(interval_ms));
        let timeout = Duration::from_millis(u64::from(interval_ms / 2));
        let how = Reachability { interval, timeout, rise, fall, ..Reachability::new(interface, gateway) };
        let now = Instant::from_micros(now);
        let id = inner.node.track_gateway(now, &how).map_err(|_| SteadfastResult::Full)?;
        let number = inner.number(id)?;
        // SAFETY: as the caller promises.
        unsafe { give(tracker, number) }
    };
    said(add())
}

/// Lets a tracker bear on a Virtual Router, as keepalived's weights do: 0 takes it out while the tracker is down, a
/// positive weight is added to its priority while the tracker is up, a negative one while it is down. -253 to 253.
///
/// # Safety
///
/// `vrrp` came from `steadfast_create`, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_track(
    vrrp: *mut Steadfast,
    now: u64,
    router: u16,
    tracker: u16,
    weight: i16,
) -> SteadfastResult {
    let track = || {
        // SAFETY: as the caller promises.
        let mut inner = unsafe { enter(vrrp) }?;
        let (router, tracker) = (inner.router(router)?, inner.tracker(tracker)?);
        if !(-253..=253).contains(&weight) {
            return Err(SteadfastResult::Value);
        }
        Ok(inner.node.track(Instant::from_micros(now), router, tracker, Weight(weight))?)
    };
    said(track())
}

/// What the program looks at works (`up`), or does not.
///
/// # Safety
///
/// `vrrp` came from `steadfast_create`, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_report(vrrp: *mut Steadfast, now: u64, tracker: u16, up: bool) -> SteadfastResult {
    let report = || {
        // SAFETY: as the caller promises.
        let mut inner = unsafe { enter(vrrp) }?;
        let tracker = inner.tracker(tracker)?;
        let report = if up { Report::Up } else { Report::Down };
        inner.node.handle_report(Instant::from_micros(now), tracker, report);
        Ok(())
    };
    said(report())
}
