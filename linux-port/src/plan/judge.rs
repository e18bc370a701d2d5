//! What a file says that is right word for word and cannot do what it is for. keepalived takes it without a word, so it
//! is advice: `steadfast check` warns, and `keepalived -t` calls it no mistake.

use std::collections::HashMap;

use steadfast_core::config::diagnostic::Short;
use steadfast_core::config::statement::{Block, Statement};

use crate::check::Findings;

/// Says which weights can never cause a failover.
pub(super) fn judge(text: &str, findings: &mut Findings) {
    // Most files have none of this, and need not be walked once more.
    if !text.contains("nopreempt") || !text.contains("track_") {
        return;
    }
    let mut weights = HashMap::new();
    let mut file = Block::file(text);
    while let Some(statement) = file.next(&mut |_| {}) {
        if let (Some(kind), Some(name)) = (list_of(statement.keyword.text), statement.words.clone().next()) {
            weights.insert((kind, name.text), weight_in(&statement));
        }
    }
    let mut file = Block::file(text);
    while let Some(statement) = file.next(&mut |_| {}) {
        if statement.keyword.text == "vrrp_instance" {
            instance(&statement, &weights, findings);
        }
    }
}

/// The list of an instance that names what is defined by this keyword.
fn list_of(keyword: &str) -> Option<&'static str> {
    match keyword {
        "vrrp_script" => Some("track_script"),
        "track_file" | "vrrp_track_file" => Some("track_file"),
        "vrrp_track_process" => Some("track_process"),
        "vrrp_probe" => Some("track_probe"),
        _ => None,
    }
}

/// The `weight` in the block of a definition. Without one a file has 1, everything else 0.
fn weight_in(definition: &Statement<'_>) -> i32 {
    let mut weight = i32::from(list_of(definition.keyword.text) == Some("track_file"));
    let Some(mut body) = definition.body else { return weight };
    while let Some(entry) = body.next(&mut |_| {}) {
        if entry.keyword.text == "weight" {
            weight = entry.words.clone().next().and_then(|word| word.text.parse().ok()).unwrap_or(weight);
        }
    }
    weight
}

fn instance(statement: &Statement<'_>, weights: &HashMap<(&str, &str), i32>, findings: &mut Findings) {
    let Some(body) = statement.body else { return };
    let (mut waits, mut begins_as_active) = (false, false);
    let mut entries = body;
    while let Some(entry) = entries.next(&mut |_| {}) {
        match entry.keyword.text {
            "nopreempt" => waits = true,
            "preempt" => waits = false,
            "state" => begins_as_active = entry.words.clone().next().is_some_and(|word| word.text == "MASTER"),
            _ => {}
        }
    }
    // `state MASTER` cancels it, which is said elsewhere.
    if !waits || begins_as_active {
        return;
    }
    let mut entries = body;
    while let Some(entry) = entries.next(&mut |_| {}) {
        let kind = entry.keyword.text;
        if !matches!(kind, "track_script" | "track_interface" | "track_file" | "track_process" | "track_probe") {
            continue;
        }
        let Some(mut tracked) = entry.body else { continue };
        while let Some(one) = tracked.next(&mut |_| {}) {
            let mut words = one.words.skip_while(|word| word.text != "weight").skip(1);
            let own = words.next().and_then(|word| word.text.parse::<i32>().ok());
            let defined = || weights.get(&(kind, one.keyword.text)).copied();
            let weight = own.or_else(defined).unwrap_or(0);
            if weight != 0 {
                let name = Short(one.keyword.text);
                let message = format_args!(
                    "the weight {weight} of `{name}` cannot cause a failover between routers with `nopreempt`: they leave \
                     an Active alone whose priority has fallen; with weight 0 it steps down"
                );
                findings.add_advice(one.keyword.place, message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn said(text: &str) -> Vec<String> {
        let mut findings = Findings::new(Path::new("f"));
        judge(text, &mut findings);
        assert!(!findings.has_mistakes());
        findings.iter().map(ToString::to_string).collect()
    }

    const FILE: &str = "vrrp_script a {\nscript /bin/true\nweight -20\n}\nvrrp_script b {\nscript /bin/true\n}\n\
                        vrrp_instance V {\nstate BACKUP\nnopreempt\ntrack_script {\na\nb\n}\ntrack_interface {\neth1 weight 5\neth2\n}\n}\n";

    #[test]
    fn weights_beside_nopreempt_are_in_vain() {
        let said = said(FILE);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("f:12:1: warning: the weight -20 of `a` cannot cause a failover"), "{}", said[0]);
        assert!(said[1].starts_with("f:16:1: warning: the weight 5 of `eth1` cannot cause a failover"), "{}", said[1]);
    }

    #[test]
    fn the_same_without_nopreempt_is_well() {
        for other in ["", "nopreempt\npreempt", "nopreempt\nstate MASTER"] {
            assert_eq!(said(&FILE.replace("nopreempt", other)), [""; 0], "{other}");
        }
        assert_eq!(said(&FILE.replace("\na\nb\n", "\na weight 0\nb\n").replace("eth1 weight 5", "eth1")), [""; 0]);
    }
}
