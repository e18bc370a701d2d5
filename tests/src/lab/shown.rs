//! What a machine shows of its network, as lines of text that can be compared: links, addresses, routes and rules, as
//! `ip --json` tells them, without what differs between two machines of one kind (indices, counters, moments).

use std::process::Command;

use serde_json::Value;

use super::namespace::{Namespace, run};

/// What `ip` is asked, and the word that begins its lines.
const QUESTIONS: [(&str, &[&str]); 4] = [
    ("link", &["-details", "address", "show"]),
    ("route", &["route", "show", "table", "all"]),
    ("rule", &["-4", "rule", "show"]),
    ("rule6", &["-6", "rule", "show"]),
];
/// What is told of a link.
const LINK: [&str; 4] = ["ifname", "flags", "mtu", "address"];

/// Every line, sorted: `link`, `address`, `route`, `rule`, `rule6`, each with a JSON object.
#[track_caller]
pub fn network(namespace: &Namespace) -> Vec<String> {
    let mut lines = Vec::new();
    for (word, question) in QUESTIONS {
        let output = namespace.enter(|| run(Command::new("ip").arg("-json").args(question)));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        for object in answer.as_array().into_iter().flatten() {
            match word {
                "link" => link(object, &mut lines),
                _ => lines.push(format!("{word} {}", without(object, &["expires"]))),
            }
        }
    }
    lines.sort();
    lines
}

/// One link and its addresses.
fn link(object: &Value, lines: &mut Vec<String>) {
    let name = object["ifname"].as_str().unwrap_or("");
    if matches!(name, "" | "lo") {
        return;
    }
    let mut shown: Vec<String> = LINK.iter().map(|field| object[field].to_string()).collect();
    let detail = &object["linkinfo"];
    shown.push(detail["info_kind"].as_str().unwrap_or("").to_owned());
    shown.push(detail["info_data"]["mode"].as_str().unwrap_or("").to_owned());
    lines.push(format!("link {}", shown.join(" ").trim_end()));
    for address in object["addr_info"].as_array().into_iter().flatten() {
        let forever = |field: &str| address[field].as_u64() == Some(u64::from(u32::MAX));
        let lifetime = match (forever("valid_life_time"), address["preferred_life_time"].as_u64()) {
            (true, Some(0)) => "deprecated",
            (true, _) => "forever",
            (false, Some(0)) => "leased, deprecated",
            (false, _) => "leased",
        };
        let rest = without(address, &["valid_life_time", "preferred_life_time", "dynamic"]);
        lines.push(format!("address {name} {rest} {lifetime}"));
    }
}

fn without(object: &Value, fields: &[&str]) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.retain(|field, _| !fields.contains(&field.as_str()));
    }
    object
}
