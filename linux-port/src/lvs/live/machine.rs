//! The facts of this machine: settings, modules, addresses.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::{Facts, Lan, Modules};
use crate::netlink::{Client, Link};
use crate::sysctl;

/// The settings of the whole machine that rules ask for.
const SETTINGS: [&str; 6] = [
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv4/vs/expire_nodest_conn",
    "net/ipv4/vs/expire_quiescent_template",
    "net/ipv4/vs/conntrack",
    "net/ipv4/vs/backup_only",
];

/// Those of an interface, or of `all`.
const OF_INTERFACES: [&str; 1] = ["send_redirects"];

/// The facts, without those of the LAN.
pub(super) fn facts() -> io::Result<Facts> {
    let mut client = Client::open()?;
    let (links, addresses) = (client.links()?, client.addresses()?);
    Ok(Facts { settings: settings(&links), modules: modules(), addresses, links, lan: Ok(Lan::default()) })
}

fn settings(links: &[Link]) -> BTreeMap<String, u32> {
    let interfaces = links.iter().map(|link| link.name.as_str()).chain(["all"]);
    let keys = interfaces.flat_map(|name| OF_INTERFACES.map(|setting| format!("net/ipv4/conf/{name}/{setting}")));
    let keys = keys.chain(SETTINGS.map(String::from));
    keys.filter_map(|key| Some((key.clone(), sysctl::read(&key).ok()?.parse().ok()?))).collect()
}

fn modules() -> Modules {
    let release = sysctl::read("kernel/osrelease").unwrap_or_default();
    let directory = Path::new("/lib/modules").join(&release);
    let read = |path: &Path| fs::read_to_string(path).ok();
    let loaded = read(Path::new("/proc/modules")).unwrap_or_default();
    let built_in = read(&directory.join("modules.builtin")).unwrap_or_default();
    let first_words = loaded.lines().filter_map(|line| line.split_whitespace().next());
    Modules {
        ipvs: Path::new("/proc/net/ip_vs").exists(),
        present: first_words.map(String::from).chain(built_in.lines().filter_map(module)).collect(),
        on_disk: read(&directory.join("modules.dep"))
            .map(|list| list.lines().filter_map(|line| module(line.split_once(':')?.0)).collect()),
        modprobe: Path::new("/sbin/modprobe").exists(),
        release,
    }
}

/// The name of a module by its file: `kernel/net/netfilter/ipvs/ip_vs_rr.ko.zst`.
fn module(path: &str) -> Option<String> {
    let (name, _) = path.rsplit('/').next()?.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_known_by_their_files() {
        for (file, name) in [
            ("kernel/net/netfilter/ipvs/ip_vs_rr.ko", Some("ip_vs_rr")),
            ("kernel/net/netfilter/ipvs/ip_vs.ko.xz", Some("ip_vs")),
            ("kernel/drivers/net/snd-hda.ko.zst", Some("snd_hda")),
            ("kernel/net", None),
            ("", None),
        ] {
            assert_eq!(module(file).as_deref(), name);
        }
    }

    #[test]
    fn this_machine_has_facts() {
        let facts = facts().unwrap();
        assert!(facts.is_local([127, 0, 0, 1].into()) || facts.links.iter().any(|link| link.name == "lo"));
        assert!(!facts.modules.release.is_empty());
        assert!(facts.setting("net/ipv4/ip_forward").is_some());
    }
}
