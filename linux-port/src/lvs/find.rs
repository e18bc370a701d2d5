//! Which virtual server and which real server a person means: names as they stand in the file, as status shows
//! them, or shorter where that is clear.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::ipvs::row::{DestinationKey, Protocol, ServiceKey};
use crate::lvs::plan::VirtualServer;

/// How many others are named when there is none of a name.
const NEAR: usize = 5;

/// The virtual server that `service` means, by its place in `services`, and the key of its real server that
/// `server` means.
///
/// A virtual server is known by what stands after the keyword in the file (`192.0.2.1 80`, `fwmark 3`,
/// `group WEB`, or `WEB`), and by each of its services: `192.0.2.1:80`, `tcp 192.0.2.1:80`. A real server is known
/// by `10.0.0.1:80` and `10.0.0.1 80`, or by the address alone if no other has it.
///
/// # Errors
/// A sentence: there is none, and which there are that look like it; or more than one.
pub fn find(services: &[Arc<VirtualServer>], service: &str, server: &str) -> Result<(usize, DestinationKey), String> {
    let wanted = plain(service);
    let all = || services.iter().enumerate().map(|(place, plan)| ((place, plan), shown(plan)));
    let names: Vec<String> = all().flat_map(|(_, names)| names).collect();
    let spelt: Vec<_> = all().filter(|((_, plan), _)| spellings(plan).any(|name| name == wanted)).collect();
    // Names of groups may differ in nothing but their letters' case.
    let exact: Vec<_> = spelt.iter().filter(|((_, plan), _)| *plan.name == *service).cloned().collect();
    let meant = if exact.len() == 1 { exact } else { spelt };
    let meant = meant.into_iter().map(|(meant, names)| (meant, names.into_iter().next().unwrap_or_default()));
    let (place, plan) = only("virtual server", service, meant, &names)?;

    let wanted = plain(server);
    let keys = || plan.servers.iter().map(|server| server.key);
    let names: Vec<String> = keys().map(|key| key.to_string()).collect();
    let exact: Vec<_> = keys().zip(names.clone()).filter(|(_, name)| *name == wanted).collect();
    let address: Option<IpAddr> = wanted.trim_matches(['[', ']']).parse().ok();
    let by_address = || keys().zip(names.clone()).filter(|(key, _)| Some(key.address) == address).collect();
    let meant = if exact.is_empty() { by_address() } else { exact };
    let what = format!("real server of {}", plan.name);
    Ok((place, only(&what, server, meant.into_iter(), &names)?))
}

/// The one of `meant`, each with the name it is shown by; or why there is not exactly one.
fn only<T>(what: &str, wanted: &str, meant: impl Iterator<Item = (T, String)>, names: &[String]) -> Result<T, String> {
    let mut meant: Vec<_> = meant.collect();
    if meant.len() > 1 {
        let names: Vec<_> = meant.iter().take(NEAR).map(|(_, name)| format!("{name:?}")).collect();
        return Err(format!("{wanted:?} is more than one {what}: {}", names.join(", ")));
    }
    meant.pop().map(|(meant, _)| meant).ok_or_else(|| match near(wanted, names).as_slice() {
        [] => format!("there is no {what} {wanted:?}, nor any other"),
        near => format!("there is no {what} {wanted:?}; there is {}", near.join(", ")),
    })
}

/// The names that look most like `wanted`.
fn near(wanted: &str, names: &[String]) -> Vec<String> {
    let wanted = plain(wanted);
    let mut names: Vec<_> = names.iter().map(|name| (distance(&wanted, &plain(name)), name)).collect();
    names.sort();
    names.dedup();
    names.into_iter().take(NEAR).map(|(_, name)| format!("{name:?}")).collect()
}

/// The names that status shows of a virtual server.
fn shown(plan: &VirtualServer) -> Vec<String> {
    let keys = plan.keys.iter().map(ServiceKey::to_string);
    // The name of a group says more than its services.
    if plan.name.starts_with("group ") { vec![plan.name.clone()] } else { keys.collect() }
}

/// Every way to write a virtual server, in the form of [`plain`].
fn spellings(plan: &VirtualServer) -> impl Iterator<Item = String> {
    let name = plain(&plan.name);
    let group = name.strip_prefix("group ").map(str::to_owned);
    let keys = plan.keys.iter().flat_map(|key| match *key {
        ServiceKey::Address { protocol, address, port } => {
            let socket = SocketAddr::new(address, port).to_string();
            let protocol = match protocol {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
                Protocol::Sctp => "sctp",
            };
            vec![format!("{protocol} {socket}"), socket]
        }
        ServiceKey::Mark { mark, .. } => vec![plain(&key.to_string()), format!("fwmark {mark}")],
    });
    [name].into_iter().chain(group).chain(keys)
}

/// A name as it is compared: in lower case, one space between its words; an address followed by a port in the form
/// `address:port`.
fn plain(name: &str) -> String {
    let words: Vec<String> = name.split_whitespace().map(str::to_lowercase).collect();
    let joined = match words.as_slice() {
        [before @ .., address, port] => {
            let address: Option<IpAddr> = address.trim_matches(['[', ']']).parse().ok();
            let socket = address.zip(port.parse().ok()).map(|(address, port)| SocketAddr::new(address, port));
            socket.map(|socket| before.iter().cloned().chain([socket.to_string()]).collect::<Vec<_>>().join(" "))
        }
        _ => None,
    };
    let joined = joined.unwrap_or_else(|| words.join(" "));
    // However an IPv6 address is written.
    match joined.rsplit_once(' ') {
        Some((before, socket)) => match socket.parse::<SocketAddr>() {
            Ok(socket) => format!("{before} {socket}"),
            Err(_) => joined,
        },
        None => joined.parse::<SocketAddr>().map_or(joined.clone(), |socket| socket.to_string()),
    }
}

/// How many characters have to be put in, taken out or changed to make `a` into `b`. Only their beginnings are
/// looked at: nobody's names are as long as a hostile file's.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 64;
    let b: Vec<char> = b.chars().take(LONGEST).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, here) in a.chars().take(LONGEST).enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        let mut next = vec![left];
        for (there, above) in b.iter().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(here != *there)).min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvs::testing::{address_key, server, service};
    use steadfast_core::types::Family;

    fn services() -> Vec<Arc<VirtualServer>> {
        let named = |name: &str, keys: Vec<ServiceKey>| {
            let servers = [server("10.0.0.1:80"), server("10.0.0.2:80"), server("10.0.0.2:81")];
            let servers = servers.into_iter().chain([server("[2001:db8::a]:80")]).map(Arc::new).collect();
            Arc::new(VirtualServer { name: name.into(), keys, servers, ..service() })
        };
        let tcp = |text| address_key(Protocol::Tcp, text);
        vec![
            named("192.0.2.1 80", vec![tcp("192.0.2.1:80")]),
            named("192.0.2.1 53", vec![tcp("192.0.2.1:53")]),
            named("192.0.2.1 53", vec![address_key(Protocol::Udp, "192.0.2.1:53")]),
            named("fwmark 3", vec![ServiceKey::Mark { mark: 3, family: Family::V4 }]),
            named("group WEB", vec![tcp("198.51.100.1:80"), tcp("[2001:db8::1]:80")]),
            named("group web", vec![tcp("198.51.100.9:80")]),
        ]
    }

    fn found(service: &str, server: &str) -> Result<(usize, String), String> {
        find(&services(), service, server).map(|(place, key)| (place, key.to_string()))
    }

    #[test]
    fn a_service_is_known_by_each_of_its_names() {
        for (name, place) in [
            ("192.0.2.1 80", 0),
            ("192.0.2.1:80", 0),
            ("tcp 192.0.2.1:80", 0),
            ("TCP  192.0.2.1 80", 0),
            ("tcp 192.0.2.1:53", 1),
            ("UDP 192.0.2.1:53", 2),
            ("fwmark 3", 3),
            ("FWM 3", 3),
            ("group WEB", 4),
            ("198.51.100.1:80", 4),
            ("[2001:DB8:0::1]:80", 4),
            ("2001:db8::1 80", 4),
            ("tcp [2001:db8::1]:80", 4),
            ("group web", 5),
        ] {
            assert_eq!(found(name, "10.0.0.1:80"), Ok((place, "10.0.0.1:80".into())), "{name}");
        }
    }

    #[test]
    fn a_server_is_known_by_its_address_where_that_is_clear() {
        for (name, key) in [
            ("10.0.0.1", "10.0.0.1:80"),
            ("10.0.0.2 81", "10.0.0.2:81"),
            ("2001:db8:0::A", "[2001:db8::a]:80"),
            ("[2001:db8::a]", "[2001:db8::a]:80"),
            ("[2001:db8::a]:80", "[2001:db8::a]:80"),
        ] {
            assert_eq!(found("fwmark 3", name), Ok((3, key.into())), "{name}");
        }
    }

    #[test]
    fn what_is_not_there_or_not_clear_is_said_with_what_there_is() {
        for (service, server, sentence) in [
            (
                "192.0.2.1:53",
                "10.0.0.1",
                r#""192.0.2.1:53" is more than one virtual server: "TCP 192.0.2.1:53", "UDP 192.0.2.1:53""#,
            ),
            ("web", "10.0.0.1", r#""web" is more than one virtual server: "group WEB", "group web""#),
            (
                "192.0.2.2:80",
                "10.0.0.1",
                r#"there is no virtual server "192.0.2.2:80"; there is "TCP 192.0.2.1:80", "TCP 192.0.2.1:53", "#,
            ),
            (
                "fwmark 3",
                "10.0.0.2",
                r#""10.0.0.2" is more than one real server of fwmark 3: "10.0.0.2:80", "10.0.0.2:81""#,
            ),
            (
                "fwmark 3",
                "10.0.0.3:80",
                r#"there is no real server of fwmark 3 "10.0.0.3:80"; there is "10.0.0.1:80", "10.0.0.2:80", "10.0.0.2:81", "[2001:db8::a]:80""#,
            ),
        ] {
            let error = found(service, server).unwrap_err();
            assert!(error.starts_with(sentence), "{error}");
        }
        let nothing = find(&[], "", "").unwrap_err();
        assert_eq!(nothing, r#"there is no virtual server "", nor any other"#);
    }

    #[test]
    fn distances() {
        for (a, b, count) in [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)] {
            assert_eq!(distance(a, b), count, "{a} {b}");
        }
        assert_eq!(distance(&"x".repeat(1 << 20), &"y".repeat(1 << 20)), 64);
    }
}
