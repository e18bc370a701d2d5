//! The facts of this machine: settings, modules, addresses.

use std::collections::{BTreeMap, BTreeSet};
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
const OF_INTERFACES: [&str; 2] = ["send_redirects", "rp_filter"];

/// The facts, without those of the LAN.
pub(super) fn facts() -> io::Result<Facts> {
    let mut client = Client::open()?;
    let (links, addresses) = (client.links()?, client.addresses()?);
    let default_routes = default_routes(&fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default());
    Ok(Facts {
        settings: settings(&links),
        modules: modules(),
        default_routes,
        addresses,
        links,
        lan: Ok(Lan::default()),
    })
}

/// The interfaces of the routes to everywhere in the kernel's list: `eth0 00000000 0102A8C0 ... 00000000 ...`.
fn default_routes(list: &str) -> BTreeSet<String> {
    let default = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            [interface, "00000000", _, _, _, _, _, "00000000", ..] => Some(interface.to_owned()),
            _ => None,
        }
    };
    list.lines().filter_map(default).collect()
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
    fn default_routes_are_those_to_everywhere() {
        let list = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
            eth1\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
            eth2\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\nx\n";
        assert_eq!(default_routes(list), ["eth0".to_owned()].into());
    }

    #[test]
    fn this_machine_has_facts() {
        let facts = facts().unwrap();
        assert!(facts.is_local([127, 0, 0, 1].into()) || facts.links.iter().any(|link| link.name == "lo"));
        assert!(!facts.modules.release.is_empty());
        assert!(facts.setting("net/ipv4/ip_forward").is_some());
    }
}
