//! What passes between C and the library by value: addresses, the plain description of a Virtual Router, events and
//! results. All of it is plain data without padding that matters; numbers that come from C are checked when they are
//! read, so that no value of theirs is forbidden to exist.

use core::net::IpAddr;

use steadfast_core::agent::{AddError, Reason, Settings, State};
use steadfast_core::time::Duration;
use steadfast_core::types::{Family, Interval, Priority, Version, Vrid};
use steadfast_core::wire::advertisement::Authentication;

/// What a function has to say.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SteadfastResult {
    /// It is done.
    Ok = 0,
    /// A pointer is null or not aligned, the memory was not made by `steadfast_create`, or a length is impossible.
    Pointer,
    /// Called from within one of its own callbacks; nothing was done.
    Reentered,
    /// The memory, or the room for interfaces, Virtual Routers or addresses, is too small.
    Full,
    /// No such interface or Virtual Router.
    Unknown,
    /// This interface, family and VRID are taken.
    Duplicate,
    /// A value that VRRP does not allow.
    Value,
    /// The addresses: none, too many, of the wrong family, or version 2 with IPv6.
    Addresses,
    /// The text of a configuration has an error, which was reported; nothing has changed.
    Configuration,
    /// It is not done yet: call it again after the next `steadfast_poll`.
    Again,
}

impl From<AddError> for SteadfastResult {
    fn from(error: AddError) -> Self {
        match error {
            AddError::Full => Self::Full,
            AddError::Duplicate => Self::Duplicate,
            AddError::Interface => Self::Unknown,
            AddError::Addresses => Self::Addresses,
            AddError::Identity => Self::Unknown,
        }
    }
}

/// An IP address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SteadfastAddress {
    /// 4 or 6.
    pub family: u8,
    /// The address in network order: the first 4 bytes for IPv4, all 16 for IPv6.
    pub bytes: [u8; 16],
}

impl SteadfastAddress {
    /// The address; `None` unless the family is 4 or 6.
    pub(crate) fn read(&self) -> Option<IpAddr> {
        let [a, b, c, d, ..] = self.bytes;
        match self.family {
            4 => Some(IpAddr::from([a, b, c, d])),
            6 => Some(IpAddr::from(self.bytes)),
            _ => None,
        }
    }
}

impl From<IpAddr> for SteadfastAddress {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets();
                Self { family: 4, bytes: [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] }
            }
            IpAddr::V6(address) => Self { family: 6, bytes: address.octets() },
        }
    }
}

/// The family with this number, 4 or 6.
pub(crate) fn family(number: u8) -> Option<Family> {
    match number {
        4 => Some(Family::V4),
        6 => Some(Family::V6),
        _ => None,
    }
}

/// A Virtual Router to be. `steadfast_router_defaults` fills one in; change what shall differ. Truth is 0 or 1.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SteadfastRouter {
    /// The interface that it speaks on, as `steadfast_add_interface` numbered it.
    pub interface: u16,
    /// Advertisement_Interval in centiseconds; whole seconds in version 2. Default: 100.
    pub interval_centiseconds: u16,
    /// 4 or 6.
    pub family: u8,
    /// 2 (IPv4 only) or 3. Default: 3.
    pub version: u8,
    /// 1 to 255.
    pub vrid: u8,
    /// 1 to 255, which is the owner of the addresses. Default: 100.
    pub priority: u8,
    /// Preempt_Mode. Default: 1.
    pub preempt: u8,
    /// Accept_Mode: packets for the virtual addresses are handed up. Default: 0, as in RFC 9568.
    pub accept: u8,
    /// Discard Advertisements whose address list is not ours. Default: 0.
    pub strict: u8,
    /// A simple password in version 2 (RFC 3768 calls it historic). Default: 0.
    pub authenticate: u8,
    /// The password, padded with zeros.
    pub password: [u8; 8],
    /// How long a lower priority is tolerated before it is preempted, in milliseconds. Default: 0.
    pub preempt_delay_ms: u32,
    /// The addresses in its Advertisements, 1 to 255; for IPv6 the first one link-local.
    pub addresses: *const SteadfastAddress,
    /// How many.
    pub address_count: usize,
    /// Addresses that go with it but are not advertised, of either family.
    pub excluded: *const SteadfastAddress,
    /// How many; 0 is usual, then `excluded` may be null.
    pub excluded_count: usize,
}

impl SteadfastRouter {
    /// The settings; `None` if a value is one that VRRP does not allow.
    pub(crate) fn settings(&self) -> Option<Settings> {
        let family = family(self.family)?;
        let version = match (self.version, family) {
            (2, Family::V4) => Version::V2,
            (3, _) => Version::V3,
            _ => return None,
        };
        let interval = match version {
            Version::V3 => Interval::from_centiseconds(self.interval_centiseconds)?,
            Version::V2 if self.interval_centiseconds.is_multiple_of(100) => {
                Interval::from_seconds(u8::try_from(self.interval_centiseconds.checked_div(100)?).ok()?)?
            }
            Version::V2 => return None,
        };
        let authentication = match (truth(self.authenticate)?, version) {
            (false, _) => Authentication::None,
            (true, Version::V2) => Authentication::Simple(self.password),
            (true, Version::V3) => return None,
        };
        Some(Settings {
            version,
            priority: Priority::new(self.priority)?,
            interval,
            preempt: truth(self.preempt)?,
            preempt_delay: Duration::from_millis(u64::from(self.preempt_delay_ms)).into(),
            accept: truth(self.accept)?,
            strict: truth(self.strict)?,
            authentication,
            virtual_mac: true,
            ..Settings::new(family, Vrid::new(self.vrid)?)
        })
    }
}

fn truth(number: u8) -> Option<bool> {
    match number {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// The states of RFC 9568 section 6.4.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SteadfastState {
    /// Not taking part.
    Initialize = 0,
    /// Listening to the Active.
    Backup,
    /// Holding the addresses.
    Active,
}

impl From<State> for SteadfastState {
    fn from(state: State) -> Self {
        match state {
            State::Initialize => Self::Initialize,
            State::Backup => Self::Backup,
            State::Active => Self::Active,
        }
    }
}

/// Why a transition happened.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SteadfastReason {
    /// It was started.
    Startup = 0,
    /// It was stopped.
    Shutdown,
    /// It was configured anew.
    Reconfigured,
    /// The interface came up.
    LinkUp,
    /// The interface went down.
    LinkDown,
    /// The interface has got a source address for Advertisements.
    SourceAddress,
    /// The interface has lost its source address.
    NoSourceAddress,
    /// An Active with more right was heard.
    HigherPriority,
    /// The Active has not been heard for Active_Down_Interval.
    NoResponse,
    /// The Active has resigned.
    ActiveResigned,
    /// The Active had less priority.
    Preempt,
    /// What it tracks works again.
    TrackerUp,
    /// What it tracks has failed.
    TrackerDown,
    /// Another member of its sync group moved.
    Group,
    /// An administrator took it out.
    Drained,
    /// It was late for so long that another may have taken over.
    Late,
}

impl From<Reason> for SteadfastReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Startup => Self::Startup,
            Reason::Shutdown => Self::Shutdown,
            Reason::Reconfigured => Self::Reconfigured,
            Reason::LinkUp => Self::LinkUp,
            Reason::LinkDown => Self::LinkDown,
            Reason::SourceAddress => Self::SourceAddress,
            Reason::NoSourceAddress => Self::NoSourceAddress,
            Reason::HigherPriority => Self::HigherPriority,
            Reason::NoResponse => Self::NoResponse,
            Reason::ActiveResigned => Self::ActiveResigned,
            Reason::Preempt => Self::Preempt,
            Reason::TrackerUp => Self::TrackerUp,
            Reason::TrackerDown => Self::TrackerDown,
            Reason::Group => Self::Group,
            Reason::Drained => Self::Drained,
            Reason::Late => Self::Late,
        }
    }
}

/// What happened.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SteadfastEventKind {
    /// A Virtual Router has changed its state.
    Transition = 0,
    /// Another Active is on the LAN: the network was, or is, split.
    DualActive,
}

/// Something that an operator wants to know.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SteadfastEvent {
    /// When, in microseconds of the program's clock.
    pub at: u64,
    /// Whom it concerns.
    pub router: u16,
    /// What happened.
    pub kind: SteadfastEventKind,
    /// The state before.
    pub from: SteadfastState,
    /// The state after.
    pub to: SteadfastState,
    /// Why it changed.
    pub reason: SteadfastReason,
    /// The other Active, if that is what happened.
    pub rival: SteadfastAddress,
}

/// What has become of a received frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SteadfastReceived {
    /// It was for Steadfast.
    Taken = 0,
    /// It is for the program's own stack, where it lies now.
    Up,
    /// It is for nobody.
    Dropped,
    /// The call was wrong: a pointer, an interface that is not there, or called from within a callback.
    Wrong,
}

/// How much a diagnostic of a configuration matters.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SteadfastSeverity {
    /// Worth knowing; the text is right.
    Notice = 0,
    /// Something has no effect, or another value is used.
    Warning,
    /// It is refused.
    Error,
}

/// One Virtual Router as it is now.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SteadfastView {
    /// The interface that it speaks on.
    pub interface: u16,
    /// Its VRID.
    pub vrid: u8,
    /// 4 or 6.
    pub family: u8,
    /// 2 or 3.
    pub version: u8,
    /// The priority that takes part in the election.
    pub priority: u8,
    /// Its state.
    pub state: SteadfastState,
    /// The Active, as far as it is known; family 0 if it is not.
    pub active: SteadfastAddress,
}
