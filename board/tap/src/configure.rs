//! From the text of a configuration to the Virtual Routers of the station. A text with an error changes nothing.

use std::error::Error;
use std::net::IpAddr;
use std::path::Path;

use steadfast_core::agent::RouterConfig;
use steadfast_core::config::{self, Config, Diagnostic, Severity};
use steadfast_core::time::Instant;

use crate::report;
use crate::station::Station;

/// Adds the Virtual Routers of `text` that are on `interface`.
pub(crate) fn apply(
    station: &mut Station,
    now: Instant,
    interface: &str,
    file: &Path,
    text: &[u8],
) -> Result<(), Box<dyn Error>> {
    let mut errors = 0;
    let mut say = |diagnostic: Diagnostic<'_>| {
        errors += usize::from(diagnostic.severity == Severity::Error);
        report::diagnostic(file, &diagnostic);
    };
    let text = match config::text(text) {
        Ok(text) => text,
        Err(diagnostic) => {
            say(diagnostic);
            return Err("no text".into());
        }
    };
    let config = Config::parse(text, &mut say);
    let mut routers = Vec::new();
    let mut instances = config.instances();
    while let Some(instance) = instances.next(&mut say) {
        routers.extend(instance.ok());
    }
    if errors > 0 {
        return Err(format!("{}: {errors} errors", file.display()).into());
    }
    for instance in routers.iter().filter(|instance| instance.interface == interface) {
        let addresses: Vec<IpAddr> = instance.addresses().map(|one| one.address).collect();
        let excluded: Vec<IpAddr> = instance.excluded().map(|one| one.address).collect();
        let (lan, settings) = (station.lan, instance.settings);
        let router = RouterConfig { interface: lan, settings, addresses: &addresses, excluded: &excluded };
        station.node.add(now, &router).map_err(|error| format!("{}: {error:?}", instance.name))?;
    }
    Ok(())
}
