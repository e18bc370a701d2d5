//! tshark's word on captured Advertisements: well-formed, right checksum, TTL. An independent reader of what we send.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use super::capture::write_pcap;
use super::frames::{self, Frame};
use super::namespace::run;

/// Which checksum tshark is to expect of version 3 over IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// With the pseudo-header, what keepalived and FRR send.
    PseudoHeader,
    /// Without, RFC 9568's form.
    Plain,
}

/// tshark's complaints about the VRRP packets among `frames`, which are to go to `destination`, and how many it judged.
/// Writes `NAME.pcap` into `folder`.
#[track_caller]
pub fn complaints(
    folder: &Path,
    name: &str,
    frames: &[Frame],
    destination: IpAddr,
    preference: Preference,
) -> (usize, Vec<String>) {
    let own: Vec<Frame> = frames.iter().filter(|frame| frames::advert(frame).is_some()).cloned().collect();
    let path = folder.join(format!("{name}.pcap"));
    write_pcap(&path, &own);
    let plain = if preference == Preference::Plain { "TRUE" } else { "FALSE" };
    let fields = [
        "frame.number",
        "vrrp.version",
        "vrrp.checksum.status",
        "ip.ttl",
        "ipv6.hlim",
        "ip.dst",
        "ipv6.dst",
        "ip.checksum.status",
        "_ws.malformed",
        "_ws.expert.message",
    ];
    let mut command = Command::new("tshark");
    command.arg("-r").arg(&path).args(["-o", &format!("vrrp.v3_checksum_as_in_v2:{plain}")]);
    command.args(["-o", "ip.check_checksum:TRUE", "-T", "fields", "-E", "separator=|"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = run(&mut command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let destination = destination.to_string();
    let mut found = Vec::new();
    for line in text.lines() {
        let values: Vec<&str> = line.split('|').collect();
        let value = |index: usize| values.get(index).copied().unwrap_or("");
        let (ttl, to) = if value(3).is_empty() { (value(4), value(6)) } else { (value(3), value(5)) };
        // Status 1 is tshark's "good"; 2 is "unverified".
        let good = value(2) == "1" && ttl == "255" && to == destination && value(8).is_empty() && value(9).is_empty();
        let header = value(3).is_empty() || value(7) == "1";
        if !good || !header {
            found.push(format!("{name}: {line}"));
        }
    }
    assert_eq!(text.lines().count(), own.len(), "tshark read every packet");
    (own.len(), found)
}
