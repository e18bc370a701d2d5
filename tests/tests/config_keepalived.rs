//! The same file read by keepalived and by us comes to the same: keepalived is run on each fixture in a
//! network namespace of its own, and what it dumps as JSON is compared with our plan.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use steadfast_core::types::Family;
use steadfast_linux::check::Findings;
use steadfast_linux::plan::{self, Plan, PlannedAddress, PlannedRouter};

/// Runs keepalived on the text on stdin, with the interfaces that its arguments name, and prints its dump.
/// Everything that it writes is in file systems of its own.
const SCRIPT: &str = r#"
PATH=$PATH:/usr/sbin:/sbin
command -v keepalived >/dev/null || { echo "keepalived is not installed" >&2; exit 77; }
mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /tmp || exit 77
cat >/run/k.conf
ip link set lo up
for name in "$@"; do
    number=$((number + 1))
    ip link add "$name" type veth peer name "other$number" && ip link set "$name" up &&
        ip link set "other$number" up && ip address add "10.99.$number.1/24" dev "$name" || exit 77
done
keepalived -n -l -P -f /run/k.conf >/run/log 2>&1 &
daemon=$!
wait_for() {
    for attempt in $(seq 200); do "$@" && return; sleep 0.05; done
    cat /run/log >&2
    return 1
}
started() { grep -q 'Entering [A-Z]* STATE' /run/log; }
dumped() { tail -c 2 /tmp/keepalived.json 2>/dev/null | grep -q ']'; }
wait_for started && kill -"$(keepalived --signum=JSON)" $daemon && wait_for dumped && cat /tmp/keepalived.json
kill $daemon
wait $daemon
"#;

/// Where we differ on purpose: file, field, why.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("substitutes", "version", "version 2 has no IPv6; keepalived sends it all the same"),
    ("substitutes", "garp_rep", "300 announcements are cut to 255"),
    ("substitutes", "garp_lower_prio_rep", "as garp_rep"),
    (
        "substitutes",
        "garp_delay",
        "keepalived says that it ignores a wrong time, and takes the digits before the error",
    ),
    ("substitutes", "garp_lower_prio_delay", "as garp_delay"),
];

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn ours(text: &str) -> Plan {
    plan::parse(text.as_bytes(), &mut Findings::new(Path::new("f"))).unwrap()
}

/// What keepalived makes of a text; `Err` says why it cannot be run here.
fn theirs(text: &str, interfaces: &BTreeSet<&str>) -> Result<Vec<Value>, String> {
    let mut unshare = Command::new("unshare");
    if !nix::unistd::Uid::effective().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args(["--net", "--mount", "--fork", "--kill-child", "sh", "-c", SCRIPT, "sh"]).args(interfaces);
    let mut child = unshare
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("unshare: {error}"))?;
    let mut stdin = child.stdin.take().unwrap();
    // A script that ended early has said why on stderr.
    let _ = stdin.write_all(text.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.stdout.is_empty() && (complaint.contains("not permitted") || output.status.code() == Some(77)) {
        return Err(format!("keepalived cannot be run in a namespace here: {}", complaint.trim()));
    }
    let dump: Vec<Value> =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {complaint}"));
    Ok(dump.into_iter().map(|mut instance| instance["data"].take()).collect())
}

/// An address in the words of keepalived's dump.
fn address(router: &PlannedRouter, planned: &PlannedAddress) -> String {
    let PlannedAddress { address, prefix_len, broadcast, .. } = planned;
    let mut text = address.to_string();
    if *prefix_len != if address.is_ipv4() { 32 } else { 128 } {
        write!(text, "/{prefix_len}").unwrap();
    }
    if let Some(broadcast) = broadcast {
        write!(text, " brd {broadcast}").unwrap();
    }
    // An excluded address of the other family stays on the interface below.
    let vmac = vmac_name(router).filter(|_| Family::of(address) == router.settings.family);
    let own = vmac.as_deref().unwrap_or(&router.interface);
    write!(text, " dev {}", planned.device.as_deref().unwrap_or(own)).unwrap();
    // The kernel knows itself which scope an IPv6 address has.
    let scope = match planned.scope.filter(|_| address.is_ipv4()) {
        None | Some(0) => "global".into(),
        Some(200) => "site".into(),
        Some(253) => "link".into(),
        Some(number) => number.to_string(),
    };
    write!(text, " scope {scope}").unwrap();
    if let Some(label) = &planned.label {
        write!(text, " label {label}").unwrap();
    }
    for (on, word) in [
        (planned.home, " home"),
        (planned.no_dad, " -nodad"),
        (planned.manage_temporary, " mngtmpaddr"),
        (planned.no_prefix_route, " noprefixroute"),
        (planned.auto_join, " autojoin"),
        (planned.no_track, " no_track"),
    ] {
        text += if on { word } else { "" };
    }
    if let Some((peer, length)) = planned.peer {
        write!(text, " peer {peer}/{length}").unwrap();
    }
    if address.is_ipv6() {
        text += if planned.preferred_lifetime == Some(0) { " deprecated" } else { " preferred_lft forever" };
    }
    text
}

fn vmac_name(router: &PlannedRouter) -> Option<String> {
    let planned = router.virtual_mac.as_ref()?;
    let six = if router.settings.family == Family::V6 { "6" } else { "" };
    Some(planned.name.clone().unwrap_or_else(|| format!("vrrp{six}.{}", router.settings.vrid)))
}

/// Our plan of a router, under keepalived's names.
fn dump(router: &PlannedRouter) -> Vec<(&'static str, Value)> {
    let protocol = &router.settings;
    let announcing = protocol.announcing;
    let seconds = |time: Option<steadfast_core::time::Pause>| time.map_or(0, |time| time.duration().as_millis() / 1000);
    let flag = u8::from;
    let list = |all: &[PlannedAddress]| all.iter().map(|one| address(router, one)).collect::<Vec<_>>();
    vec![
        ("vrid", protocol.vrid.get().into()),
        ("base_priority", protocol.priority.get().into()),
        ("adver_int", (f64::from(protocol.interval.centiseconds()) / 100.0).into()),
        ("version", protocol.version.number().into()),
        ("accept", flag(protocol.accept).into()),
        ("nopreempt", (!protocol.preempt).into()),
        ("preempt_delay", seconds(Some(protocol.preempt_delay)).into()),
        ("strict_mode", flag(protocol.strict).into()),
        ("garp_rep", announcing.repeat.into()),
        ("garp_delay", seconds(announcing.delay).into()),
        ("garp_refresh", seconds(announcing.refresh).into()),
        ("garp_refresh_rep", announcing.refresh_repeat.into()),
        ("garp_lower_prio_rep", announcing.lower_repeat.into()),
        ("garp_lower_prio_delay", seconds(announcing.lower_delay).into()),
        ("lower_prio_no_advert", flag(!protocol.answer_lower).into()),
        ("skip_check_adv_addr", flag(protocol.skip_address_check).into()),
        ("dont_track_primary", flag(!protocol.track_link).into()),
        ("vmac_ifname", vmac_name(router).unwrap_or_default().into()),
        ("vips", list(&router.addresses).into()),
        ("evips", list(&router.excluded).into()),
    ]
}

/// A field of keepalived's dump in the form of ours.
fn normal(value: &Value) -> Value {
    match value {
        Value::Null => Value::Array(Vec::new()),
        Value::Number(number) => number.as_f64().into(),
        Value::Array(list) => list.iter().map(normal).collect(),
        // The interface below, and whether it is put on at the moment.
        Value::String(text) => {
            let text = text.strip_suffix(" set").unwrap_or(text);
            let words = text
                .split(' ')
                .map(|word| if word.contains(':') { word } else { word.split('@').next().unwrap_or(word) });
            Value::String(words.collect::<Vec<_>>().join(" "))
        }
        other => other.clone(),
    }
}

/// The fields in which keepalived's reading of a fixture differs from ours, each with a sentence.
fn differences(name: &str) -> Result<Vec<(&'static str, String)>, String> {
    let text = fixture(&format!("{name}.conf"));
    let plan = ours(&text);
    let devices = plan.routers.iter().flat_map(|router| router.all_addresses().filter_map(|one| one.device.as_deref()));
    let interfaces = plan.routers.iter().map(|router| router.interface.as_str()).chain(devices).collect();
    let theirs = theirs(&text, &interfaces)?;
    let our_names: BTreeSet<_> = plan.routers.iter().map(|router| router.name.as_str()).collect();
    let their_names: BTreeSet<_> = theirs.iter().filter_map(|one| one["iname"].as_str()).collect();
    assert_eq!(our_names, their_names, "{name}");
    let mut found = Vec::new();
    for router in &plan.routers {
        let theirs = theirs.iter().find(|one| one["iname"] == *router.name).unwrap();
        for (field, our_value) in dump(router) {
            let (our_value, their_value) = (normal(&our_value), normal(&theirs[field]));
            if our_value != their_value {
                found.push((field, format!("{name}: {}: {field}: {our_value}, theirs {their_value}", router.name)));
            }
        }
    }
    Ok(found)
}

#[test]
fn keepalived_makes_the_same_of_the_same_file() {
    // Those whose every instance both of us run.
    let names = [
        "plain",
        "syntax",
        "substitutes",
        "strict",
        "kubeadm",
        "haproxy",
        "octavia-vrrp",
        "neutron",
        "vyos",
        "openwrt",
        "kolla",
        "patroni",
        "firewall",
    ];
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = names.map(|name| scope.spawn(move || (name, differences(name)))).into();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut unexpected = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, result) in results {
        let differences = match result {
            Ok(differences) => differences,
            Err(why) => return println!("skipped: {why}"),
        };
        for (field, sentence) in differences {
            match DIFFERENCES.iter().find(|&&(file, known, _)| (file, known) == (name, field)) {
                Some(known) => _ = seen.insert(known),
                None => unexpected.push(sentence),
            }
        }
    }
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
    assert_eq!(seen.len(), DIFFERENCES.len(), "only these are still there: {seen:?}");
}
