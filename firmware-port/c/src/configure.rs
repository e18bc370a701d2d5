//! A configuration as text: read and judged as a whole first, then applied. The text is keepalived.conf's, read by the
//! core.

use core::ffi::{c_char, c_void};
use core::fmt::Write;

use steadfast_core::agent::{RouterConfig, RouterId};
use steadfast_core::config::{self, Config, Diagnostic, Instance, Severity};
use steadfast_core::time::Instant;

use crate::api::{Done, said};
use crate::handle::{Addresses, Inner, ROUTERS, Steadfast, enter, slice};
use crate::text::Text;
use crate::types::{SteadfastResult, SteadfastSeverity};

/// The longest sentence of a diagnostic, in bytes.
const SENTENCE: usize = 256;

/// Told of each diagnostic: how much it matters, line and column from 1, and a sentence that ends with a zero byte.
pub type SteadfastReport = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        severity: SteadfastSeverity,
        line: u32,
        column: u32,
        text: *const c_char,
    ),
>;

/// Takes the Virtual Routers of a keepalived.conf: new ones are added, those that are there already (the same
/// interface, family and VRID) get their new settings, and those that the text does not have are handed over and taken
/// out. If the text has an error nothing changes. `report`, which may be null, is told what there is to say about it,
/// with `context`.
///
/// # Safety
///
/// The pointers point to what is said, or are null; `vrrp` came from `steadfast_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn steadfast_configure(
    vrrp: *mut Steadfast,
    now: u64,
    text: *const c_char,
    length: usize,
    report: SteadfastReport,
    context: *mut c_void,
) -> SteadfastResult {
    let configure = || {
        // SAFETY: as the caller promises.
        let (mut inner, text) = unsafe { (enter(vrrp)?, slice(text.cast(), length)?) };
        let mut errors: u32 = 0;
        let mut say = |diagnostic: Diagnostic<'_>| {
            if diagnostic.severity == Severity::Error {
                errors = errors.saturating_add(1);
            }
            tell(report, context, &diagnostic);
        };
        let text = config::text(text).map_err(|diagnostic| {
            say(diagnostic);
            SteadfastResult::Configuration
        })?;
        let config = Config::parse(text, &mut say);
        let mut count: usize = 0;
        let mut instances = config.instances();
        while let Some(instance) = instances.next(&mut say) {
            count = count.saturating_add(1);
            if instance.is_ok_and(|instance| inner.named(instance.interface).is_none()) {
                return Err(SteadfastResult::Unknown);
            }
        }
        if errors > 0 {
            return Err(SteadfastResult::Configuration);
        }
        if count > ROUTERS {
            return Err(SteadfastResult::Full);
        }
        apply(&mut inner, Instant::from_micros(now), &config)
    };
    said(configure())
}

fn tell(report: SteadfastReport, context: *mut c_void, diagnostic: &Diagnostic<'_>) {
    let Some(report) = report else { return };
    let mut buffer = [0; SENTENCE];
    let mut text = Text::new(&mut buffer);
    // The text takes everything.
    let _ = write!(text, "{}", diagnostic.message);
    text.finish();
    let severity = match diagnostic.severity {
        Severity::Notice => SteadfastSeverity::Notice,
        Severity::Warning => SteadfastSeverity::Warning,
        Severity::Error => SteadfastSeverity::Error,
    };
    let place = diagnostic.place;
    // SAFETY: the program's function, called with its own context and with a text that ends with a zero byte.
    unsafe { report(context, severity, place.line, place.column, buffer.as_ptr().cast()) };
}

/// Applies a configuration without errors.
fn apply(inner: &mut Inner, now: Instant, config: &Config<'_>) -> Done {
    let mut stay = heapless::Vec::<RouterId, ROUTERS>::new();
    let mut instances = config.instances();
    while let Some(Ok(instance)) = instances.next(&mut |_| {}) {
        if let Some(id) = existing(inner, &instance) {
            let _ = stay.push(id);
        }
    }
    // First those that go: their VRIDs and addresses may be wanted.
    let mut gone = heapless::Vec::<RouterId, ROUTERS>::new();
    gone.extend(inner.node.agent().routers().filter(|id| !stay.contains(id)).take(ROUTERS));
    gone.into_iter().for_each(|id| inner.node.remove(now, id));
    let mut instances = config.instances();
    while let Some(Ok(instance)) = instances.next(&mut |_| {}) {
        let (mut shared, mut excluded) = (Addresses::new(), Addresses::new());
        fill(&mut shared, instance.addresses())?;
        fill(&mut excluded, instance.excluded())?;
        let interface = inner.named(instance.interface).ok_or(SteadfastResult::Unknown)?;
        let router = RouterConfig { interface, settings: instance.settings, addresses: &shared, excluded: &excluded };
        let id = match existing(inner, &instance) {
            Some(id) => {
                let mut hardware = inner.hardware;
                inner.node.reconfigure(now, id, &router, &mut hardware)?;
                id
            }
            None => inner.node.add(now, &router)?,
        };
        inner.call(id, instance.name);
    }
    Ok(())
}

fn fill<'a>(list: &mut Addresses, addresses: impl Iterator<Item = config::VirtualAddress<'a>>) -> Done {
    for address in addresses {
        list.push(address.address).map_err(|_| SteadfastResult::Full)?;
    }
    Ok(())
}

/// The Virtual Router that an instance speaks of, if it is there.
fn existing(inner: &Inner, instance: &Instance<'_>) -> Option<RouterId> {
    let interface = inner.named(instance.interface)?;
    let (family, vrid) = (instance.settings.family, instance.settings.vrid);
    inner.node.agent().find(interface, family, vrid).map(|presence| presence.router)
}
