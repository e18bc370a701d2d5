//! What the keywords of keepalived.conf come to: defaults, inheritance, and the rules between them; and
//! what `steadfast check` makes of files that cannot be read.

use std::sync::Arc;

use std::fs;
use std::path::{Path, PathBuf};

use steadfast_core::agent::{Announcing, ChecksumMode};
use steadfast_core::config::keywords::{Support, Vocabulary};
use steadfast_core::time::{Duration, Pause};
use steadfast_core::types::{Family, Version};
use steadfast_core::wire::advertisement::Authentication;
use steadfast_linux::check::{self, Findings};
use steadfast_linux::cli::CheckOptions;
use steadfast_linux::plan::{self, Plan, PlannedRouter, Reading};
use steadfast_linux::source;

fn read(text: &str) -> (Plan, Vec<String>) {
    let mut findings = Findings::new(Path::new("f"));
    let plan = plan::parse(text.as_bytes(), &mut findings).unwrap();
    (plan, findings.iter().map(|finding| finding.message.clone()).collect())
}

/// The one router of a file with this `global_defs` and these further lines in its instance.
fn router(global: &str, lines: &str) -> PlannedRouter {
    let address = if lines.contains("virtual_ipaddress") { "" } else { "virtual_ipaddress { 192.0.2.1 }" };
    // What is global holds wherever it stands.
    let text = format!(
        "vrrp_instance A {{\ninterface lan0\nvirtual_router_id 7\n{address}\n{lines}\n}}\nglobal_defs {{\n{global}\n}}\n"
    );
    let (mut plan, messages) = read(&text);
    plan.routers.pop().map(Arc::unwrap_or_clone).unwrap_or_else(|| panic!("{messages:?}"))
}

fn seconds(seconds: u64) -> Option<Pause> {
    Some(Duration::from_secs(seconds).into())
}

#[test]
fn the_defaults_are_those_of_keepalived() {
    let router = router("", "");
    let protocol = router.settings;
    assert_eq!((protocol.version, protocol.family, protocol.priority.get()), (Version::V2, Family::V4, 100));
    assert_eq!(protocol.interval.duration(), Duration::from_secs(1));
    assert!(protocol.preempt && protocol.accept && protocol.answer_lower && !protocol.strict);
    assert_eq!((protocol.preempt_delay, protocol.down_timer_adverts), (Pause::ZERO, 3));
    assert_eq!((protocol.authentication, protocol.checksum), (Authentication::None, ChecksumMode::Auto));
    assert_eq!((protocol.source, protocol.group.to_string().as_str()), (None, "224.0.0.18"));
    assert_eq!(protocol.announcing, Announcing::default());
    assert_eq!((protocol.virtual_mac, router.virtual_mac), (false, None));
    assert!(protocol.track_link && !protocol.skip_address_check);
    assert_eq!((router.addresses[0].prefix_len, router.addresses[0].preferred_lifetime), (32, None));
    let (plan, _) = read("");
    assert_eq!((plan.globals.vmac_prefix.as_str(), plan.globals.default_interface.as_str()), ("vrrp", "eth0"));
}

#[test]
fn ipv6_is_version_3_whatever_is_said_globally() {
    let router =
        router("vrrp_version 2\nvrrp_mcast_group6 ff02::99", "virtual_ipaddress {\nfe80::1\n2001:db8::1/64\n}");
    assert_eq!((router.settings.version, router.settings.family), (Version::V3, Family::V6));
    assert_eq!(router.settings.group.to_string(), "ff02::99");
    // A /128 is no source address unless that is wanted.
    let lifetimes: Vec<_> = router.addresses.iter().map(|address| address.preferred_lifetime).collect();
    assert_eq!(lifetimes, [Some(0), None]);
}

#[test]
fn what_is_global_holds_unless_the_instance_says_otherwise() {
    let global = "vrrp_version 3\nvrrp_garp_master_repeat 2\nvrrp_garp_master_delay 0\nvrrp_garp_master_refresh 60\n\
        vrrp_lower_prio_no_advert\nvrrp_down_timer_adverts 5\nvrrp_skip_check_adv_addr\n\
        v3_checksum_as_v2\nvrrp_garp_interval 0.25\nvrrp_gna_interval 3";
    let inherited = router(global, "");
    let announcing = Announcing {
        repeat: 2,
        delay: None,
        refresh: seconds(60),
        refresh_repeat: 1,
        // As the global master values unless given.
        lower_repeat: 2,
        lower_delay: None,
        spacing: Some(Duration::from_millis(250).into()),
    };
    assert_eq!(inherited.settings.announcing, announcing);
    assert_eq!(inherited.settings.version, Version::V3);
    assert!(!inherited.settings.answer_lower && inherited.settings.skip_address_check);
    assert_eq!((inherited.settings.down_timer_adverts, inherited.settings.checksum), (5, ChecksumMode::Plain));

    let own = "version 2\ngarp_master_repeat 4\ngarp_master_delay 1\ngarp_master_refresh 0\ngarp_lower_prio_repeat 0\n\
        lower_prio_no_advert off\ndown_timer_adverts 3\nchecksum pseudo-header";
    let own = router(global, own);
    let announcing = Announcing {
        repeat: 4,
        delay: seconds(1),
        refresh: None,
        refresh_repeat: 1,
        lower_repeat: 0,
        lower_delay: None,
        spacing: Some(Duration::from_millis(250).into()),
    };
    assert_eq!(own.settings.announcing, announcing);
    assert_eq!(own.settings.version, Version::V2);
    assert!(own.settings.answer_lower);
    assert_eq!((own.settings.down_timer_adverts, own.settings.checksum), (3, ChecksumMode::PseudoHeader));
}

#[test]
fn min_garp_is_one_announcement_and_no_second() {
    let announcing = router("vrrp_min_garp", "").settings.announcing;
    assert_eq!((announcing.repeat, announcing.delay, announcing.lower_repeat), (1, None, 1));
}

#[test]
fn intervals_are_what_the_version_can_say() {
    let interval = |lines| router("", lines).settings.interval.duration().as_millis();
    assert_eq!(interval("advert_int 0.4"), 1000);
    assert_eq!(interval("advert_int 1.4"), 1000);
    assert_eq!(interval("advert_int 1.5"), 2000);
    assert_eq!(interval("advert_int 255"), 255_000);
    assert_eq!(interval("advert_int 256"), 1000);
    assert_eq!(interval("version 3\nadvert_int 0.01"), 10);
    assert_eq!(interval("version 3\nadvert_int 0.015"), 20);
    assert_eq!(interval("version 3\nadvert_int 41"), 40_950);
    assert_eq!(interval("advert_int 0.1\nversion 3"), 100);
}

#[test]
fn state_master_cancels_nopreempt_and_makes_an_owner_of_one_without_priority() {
    let master = router("", "state MASTER\nnopreempt\npreempt_delay 4");
    assert_eq!((master.settings.priority.get(), master.settings.preempt), (255, true));
    assert_eq!(master.settings.preempt_delay, Pause::ZERO);
    let master = router("", "state MASTER\npriority 101\nnopreempt");
    assert_eq!((master.settings.priority.get(), master.settings.preempt), (101, true));
    let backup = router("", "state BACKUP\nnopreempt");
    assert_eq!((backup.settings.priority.get(), backup.settings.preempt), (100, false));
    assert!(router("", "nopreempt\npreempt").settings.preempt);
}

#[test]
fn rfc9568_6_1_accept_is_the_default_and_under_strict_only_the_owner_s() {
    assert!(!router("", "no_accept").settings.accept);
    assert!(!router("vrrp_strict", "").settings.accept);
    assert!(router("vrrp_strict", "priority 255").settings.accept);
    assert!(!router("vrrp_strict", "accept").settings.accept);
    assert!(router("vrrp_strict", "version 3\naccept").settings.accept);
    assert!(router("vrrp_strict", "strict_mode off").settings.accept);
    let strict = router("", "strict_mode").settings;
    assert!(strict.strict && !strict.answer_lower && strict.announcing.lower_repeat == 0);
}

#[test]
fn a_password_is_eight_bytes_of_version_2() {
    let password = |lines: &str, auth: &str| {
        router("", &format!("{lines}\nauthentication {{\nauth_type PASS\n{auth}\n}}")).settings.authentication
    };
    assert_eq!(password("", "auth_pass abc"), Authentication::Simple(*b"abc\0\0\0\0\0"));
    assert_eq!(password("", "auth_pass 123456789"), Authentication::Simple(*b"12345678"));
    assert_eq!(password("", "auth_pass \"a b#c\""), Authentication::Simple(*b"a b#c\0\0\0"));
    assert_eq!(password("", r"auth_pass 'a\b!x"), Authentication::Simple(*b"'a\\b\0\0\0\0"));
    assert_eq!(password("version 3", "auth_pass abc"), Authentication::None);
    assert_eq!(password("", ""), Authentication::None);
}

#[test]
fn both_versions_is_version_3_and_the_password_is_that_of_version_2() {
    let auth = "authentication {\nauth_type PASS\nauth_pass abc\n}";
    for version in ["", "version 2", "version 3"] {
        let protocol = router("", &format!("both_versions\n{version}\nadvert_int 0.5\n{auth}")).settings;
        assert!(protocol.both_versions && protocol.version == Version::V3, "{version}");
        assert_eq!(protocol.interval.duration(), Duration::from_millis(500));
        assert_eq!(protocol.authentication, Authentication::Simple(*b"abc\0\0\0\0\0"));
    }
    let protocol = router("", "both_versions\nvirtual_ipaddress { fe80::1 }").settings;
    assert!(!protocol.both_versions && protocol.version == Version::V3);
}

#[test]
fn use_vmac_takes_a_name_an_address_both_or_nothing() {
    let mac = |lines: &str| {
        let read = router("", lines).virtual_mac.unwrap();
        (read.name, read.mac.map(|mac| mac.to_string()), read.transmit_from_base)
    };
    assert_eq!(mac("use_vmac"), (None, None, false));
    assert_eq!(mac("use_vmac vip0\nvmac_xmit_base"), (Some("vip0".into()), None, true));
    assert_eq!(mac("use_vmac 02:00:00:00:00:01"), (None, Some("02:00:00:00:00:01".into()), false));
    assert_eq!(mac("use_vmac vip0 02:00:00:00:00"), (Some("vip0".into()), Some("02:00:00:00:00:07".into()), false));
}

#[test]
fn use_vmac_addr_is_for_addresses_elsewhere_and_of_the_other_family() {
    let excluded = "virtual_ipaddress {\n192.0.2.1\n}\nvirtual_ipaddress_excluded {\n192.0.2.2\n10.0.0.1 dev eth1\n10.0.0.2 dev eth1\nfd00::1\n}";
    let all = router("", &format!("use_vmac_addr\n{excluded}"));
    assert_eq!(all.other_virtual_macs(), [("eth1", Family::V4), ("lan0", Family::V6)]);
    let one = router("", &excluded.replace("10.0.0.2 dev eth1", "10.0.0.2 dev eth2 use_vmac"));
    assert_eq!(one.other_virtual_macs(), [("eth2", Family::V4)]);
    assert_eq!(router("", excluded).other_virtual_macs(), []);
    let text = "global_defs {\nvmac_prefix v\n}\n";
    assert_eq!(read(text).0.globals.vmac_addr_prefix, "v");
    assert_eq!(read(&text.replace('}', "vmac_addr_prefix w\n}")).0.globals.vmac_addr_prefix, "w");
    assert!(!read("global_defs {\ndisable_local_igmp\n}\n").0.globals.local_igmp);
}

#[test]
fn duplicates_are_left_out_later_ones_first() {
    let instance = |name: &str, interface: &str, vrid: u8| {
        format!(
            "vrrp_instance {name} {{\ninterface {interface}\nvirtual_router_id {vrid}\nvirtual_ipaddress {{ 192.0.2.{vrid} }}\n}}\n"
        )
    };
    let all = [instance("A", "a", 1), instance("A", "a", 2), instance("B", "a", 1), instance("C", "b", 1)];
    let (plan, messages) = read(&all.concat());
    let names: Vec<_> = plan.routers.iter().map(|router| router.name.as_str()).collect();
    assert_eq!(names, ["A", "C"]);
    assert_eq!(messages.len(), 2);
}

#[test]
fn every_keyword_that_is_called_supported_is_acted_upon() {
    for (vocabulary, open) in [
        (Vocabulary::Global, "global_defs {"),
        (Vocabulary::Instance, "vrrp_instance A {"),
        (Vocabulary::Authentication, "vrrp_instance A {\nauthentication {"),
        (Vocabulary::SyncGroup, "vrrp_sync_group A {"),
        (Vocabulary::VirtualServer, "virtual_server 192.0.2.1 80 {"),
        (Vocabulary::RealServer, "virtual_server 192.0.2.1 80 {\nreal_server 192.0.2.1 80 {"),
        (Vocabulary::Checker, "virtual_server 192.0.2.1 80 {\nreal_server 192.0.2.1 80 {\nSSL_GET {"),
        (Vocabulary::Url, "virtual_server 192.0.2.1 80 {\nreal_server 192.0.2.1 80 {\nHTTP_GET {\nurl {"),
        (Vocabulary::Ssl, "SSL {"),
        (Vocabulary::TrackFile, "track_file a {"),
        (Vocabulary::Probe, "vrrp_probe a {"),
    ] {
        for keyword in vocabulary.keywords() {
            let (_, messages) = read(&format!("{open}\n{} 1\n}}\n}}\n}}\n}}\n", keyword.name));
            let said =
                |text: &str| messages.iter().any(|message| message.contains(text) && message.contains(keyword.name));
            assert_eq!(said("not supported yet"), keyword.support == Support::NotYet, "{}: {messages:?}", keyword.name);
            assert!(!said("unknown keyword"), "{}", keyword.name);
        }
    }
    let kinds = ["SSL_GET", "SMTP_CHECK", "DNS_CHECK", "UDP_CHECK", "MISC_CHECK", "FILE_CHECK"];
    for keyword in Vocabulary::Checker.keywords() {
        let taken = |kind: &&str| {
            let text = format!(
                "virtual_server 192.0.2.1 80 {{\nreal_server 192.0.2.1 80 {{\n{kind} {{\n{}\n}}\n}}\n}}\n",
                keyword.name
            );
            !read(&text).1.iter().any(|message| message.contains("does not take it"))
        };
        assert!(kinds.iter().any(taken), "{}", keyword.name);
    }
}

#[test]
fn our_own_keywords_are_few_and_marked() {
    let own = |vocabulary: Vocabulary| vocabulary.keywords().iter().filter(|keyword| keyword.own).map(|k| k.name);
    let all: Vec<_> = Vocabulary::ALL.into_iter().flat_map(own).collect();
    let instance =
        ["checksum", "no_lease", "checksum", "both_versions", "no_lease", "router_advertisements", "track_probe"];
    let blocks = ["track_probe", "interface", "virtual_ipaddress"];
    let advertised = ["interval", "lifetime", "hop_limit", "managed", "other", "mtu", "prefix", "dns"];
    let probe = [
        &["tcp", "http", "ping", "default_route", "process", "quorum", "status_code", "virtualhost", "bindto"][..],
        &["bind_if", "interval", "timeout", "rise", "fall", "weight", "init_fail"],
    ];
    let probe = probe.concat();
    assert_eq!(all, [&["vrrp_probe", "real_server_role"], &instance[..], &blocks, &advertised, &probe].concat());
}

/// A file of this test's own in the build's temporary folder.
fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path
}

fn check(path: &Path, strict: bool, json: bool) -> (u8, String) {
    let mut out = Vec::new();
    let options = CheckOptions { config: None, reading: Reading::default(), strict, json, live: false };
    let status = check::run(path, &options, &mut out).unwrap();
    (status, String::from_utf8(out).unwrap())
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_with_a_place() {
    let missing = Path::new("/nonexistent/steadfast.conf");
    let (status, text) = check(missing, false, false);
    assert_eq!(status, 2);
    assert!(text.starts_with("/nonexistent/steadfast.conf:1:1: error: the file cannot be read: "), "{text}");
    assert_eq!(plan::load(missing).plan, None);

    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    assert_eq!(check(folder, false, false).0, 2);

    let latin = file("latin1.conf", b"# fine\nrouter_id \xc3\xa9\xe9\n");
    let (status, text) = check(&latin, false, false);
    assert_eq!(status, 2);
    assert!(text.ends_with("latin1.conf:2:12: error: the text is not UTF-8 from here on\n"), "{text}");

    let large = file("large.conf", &vec![b'\n'; source::MOST_BYTES as usize + 1]);
    assert!(check(&large, false, false).1.ends_with("large.conf:1:1: error: the file is larger than 16 MiB\n"));
    fs::remove_file(large).unwrap();
}

#[test]
fn the_exit_status_tells_clean_warnings_and_errors() {
    let clean = file("clean.conf", b"global_defs {\n router_id x\n include_check\n}\n");
    let (status, text) = check(&clean, true, false);
    assert_eq!(status, 0);
    assert!(
        text.ends_with("3:2: notice: `include_check` is not needed: a missing file is always an error\n"),
        "{text}"
    );
    let warnings = file("warnings.conf", b"global_defs {\n rooter_id x\n}\n");
    assert_eq!((check(&warnings, false, false).0, check(&warnings, true, false).0), (1, 2));
    let errors = file("errors.conf", b"}\n");
    assert_eq!(check(&errors, false, false).0, 2);
}

#[test]
fn json_has_every_finding() {
    let path = file("json.conf", b"global_defs {\n rooter_id x\n}\n}\n");
    let (status, text) = check(&path, false, true);
    assert_eq!(status, 2);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (json["schema"].as_u64(), json["errors"].as_u64(), json["warnings"].as_u64()),
        (Some(1), Some(1), Some(1))
    );
    let first = &json["findings"][0];
    assert_eq!((first["line"].as_u64(), first["column"].as_u64()), (Some(2), Some(2)));
    assert_eq!(first["severity"], "warning");
    assert_eq!(first["message"], "unknown keyword `rooter_id`; did you mean `router_id`?");
    assert_eq!(first["file"].as_str(), path.to_str());
}
