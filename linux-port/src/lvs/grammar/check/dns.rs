//! What DNS_CHECK may ask for: record types and domain names.

/// The type that is asked for unless told otherwise.
pub(super) const SOA: u16 = 6;

/// What `type` may say.
pub(super) const EXPECTED: &str = "A, NS, CNAME, SOA, MX, TXT or AAAA";

/// The number of a record type (RFC 1035 section 3.2.2; AAAA: RFC 3596).
pub(super) fn record(text: &str) -> Option<u16> {
    Some(match text.to_ascii_uppercase().as_str() {
        "A" => 1,
        "NS" => 2,
        "CNAME" => 5,
        "SOA" => SOA,
        "MX" => 15,
        "TXT" => 16,
        "AAAA" => 28,
        _ => return None,
    })
}

/// A domain name without its last dot, if it can be sent: labels of 1 to 63 bytes, 253 in all (RFC 1035 section
/// 2.3.4).
pub(super) fn name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let labels = name.split('.').all(|label| (1..=63).contains(&label.len()));
    (text == "." || name.len() <= 253 && labels).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_sent() {
        assert_eq!(name(".").as_deref(), Some(""));
        assert_eq!(name("example.org.").as_deref(), Some("example.org"));
        assert_eq!(name("example.org").as_deref(), Some("example.org"));
        for wrong in ["", "..", "a..b", ".a", &"a".repeat(64), &"a.".repeat(127)] {
            assert_eq!(name(wrong).is_some(), wrong.len() == 254, "{wrong}");
        }
    }
}
