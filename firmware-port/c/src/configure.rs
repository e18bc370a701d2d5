//! A configuration as text: keepalived.conf's. It is read by the core, and judged and applied by the firmware port.

use core::ffi::{c_char, c_void};
use core::fmt::Write;

use steadfast_core::agent::InterfaceId;
use steadfast_core::config::{self, Diagnostic, Severity};
use steadfast_core::time::Instant;
use steadfast_firmware::setup;

use crate::api::said;
use crate::handle::{INTERFACES, Inner, Steadfast, enter, slice};
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

/// Takes the Virtual Routers of a keepalived.conf: those that are there already (the same interface, family and VRID) get
/// their new settings, new ones are added, and those that the text does not have are handed over and taken out. If the
/// text has an error nothing changes (`STEADFAST_RESULT_CONFIGURATION`). `STEADFAST_RESULT_AGAIN`: some have to go before
/// there is room for others; call it again with the same text after the next `steadfast_poll`. `report`, which may be
/// null, is told with `context` what there is to say about the text; it may not call the library with this handle.
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
        let mut say = |diagnostic: Diagnostic<'_>| tell(report, context, &diagnostic);
        let Ok(text) = config::text(text).map_err(&mut say) else { return Err(SteadfastResult::Configuration) };
        let Inner { node, interfaces, names, hardware, .. } = &mut *inner;
        let mut ports = heapless::Vec::<(&str, InterfaceId), INTERFACES>::new();
        for known in interfaces.iter() {
            // There is room for as many.
            let _ = ports.push((known.name.as_str(), known.id));
        }
        if !setup::check(node, &ports, text, &mut say) {
            return Err(SteadfastResult::Configuration);
        }
        let now = Instant::from_micros(now);
        let done = setup::apply(node, now, &ports, text, hardware, &mut |router, name| names.set(router, name));
        if done { Ok(()) } else { Err(SteadfastResult::Again) }
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
