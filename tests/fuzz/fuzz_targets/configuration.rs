//! keepalived.conf. Whatever the bytes: it ends, every finding can be printed and has a place within the text, and
//! reading the same text again finds the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steadfast_core::config::{self, Config};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = config::text(input) else { return };
    assert_eq!(read(text), read(text));
});

/// How many instances are good, and all findings as text.
fn read(text: &str) -> (usize, String) {
    let lines = text.split('\n').count();
    let mut findings = String::new();
    let mut report = |diagnostic: config::Diagnostic<'_>| {
        let line = usize::try_from(diagnostic.place.line).expect("32 bits");
        assert!((1..=lines + 1).contains(&line), "{diagnostic}");
        assert!(diagnostic.place.column >= 1, "{diagnostic}");
        findings.push_str(&diagnostic.to_string());
    };
    let config = Config::parse(text, &mut report);
    let mut good = 0;
    let mut instances = config.instances();
    while let Some(instance) = instances.next(&mut report) {
        if let Ok(instance) = instance {
            good += 1;
            assert!(instance.addresses().count() >= 1);
            instance.excluded().for_each(drop);
        }
    }
    (good, findings)
}
