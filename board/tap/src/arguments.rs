//! The command line: which TAP device, which station the firmware is on it, and which configuration.

use std::net::IpAddr;
use std::path::PathBuf;

use lexopt::prelude::*;
use steadfast_core::types::MacAddr;

/// How it is called.
pub(crate) const USAGE: &str = "\
steadfast-tap: Steadfast's firmware as a process on a TAP device

usage: steadfast-tap --tap DEVICE --address ADDRESS/PREFIX... [OPTION...] [CONFIGURATION]

  CONFIGURATION            a keepalived.conf, for as long as none is stored by the console's `load config`
  --tap DEVICE             the TAP device; made if it is not there
  --address ADDRESS/PREFIX an address of the station: its first IPv4 address and its link-local IPv6 address are the
                           sources of Advertisements
  --mac ADDRESS            the station's hardware address (02:53:46:00:00:01)
  --interface NAME         what the configuration calls the device (its own name)
  --store FILE             the flash that `load config` stores in; without one it is forgotten at the end
  --help                   this text

The console is on standard input and output: `help` tells its commands. SIGTERM, SIGINT and `reboot` hand over to the
Backup, then it ends.
";

/// The station's hardware address unless one is given: locally administered.
const STATION: MacAddr = MacAddr([0x02, 0x53, 0x46, 0, 0, 1]);

/// An address of the station.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
}

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) tap: String,
    pub(crate) mac: MacAddr,
    pub(crate) interface: String,
    pub(crate) addresses: Vec<Address>,
    pub(crate) configuration: Option<PathBuf>,
    pub(crate) store: Option<PathBuf>,
}

/// Reads the command line; `None` if only help is wanted.
pub(crate) fn read(mut parser: lexopt::Parser) -> Result<Option<Arguments>, lexopt::Error> {
    let (mut tap, mut interface, mut mac) = (None, None, STATION);
    let (mut addresses, mut configuration, mut store) = (Vec::new(), None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("tap") => tap = Some(parser.value()?.string()?),
            Long("interface") => interface = Some(parser.value()?.string()?),
            Long("mac") => mac = parser.value()?.parse_with(hardware_address)?,
            Long("address") => addresses.push(parser.value()?.parse_with(station_address)?),
            Long("store") => store = Some(parser.value()?.into()),
            Long("help") | Short('h') => return Ok(None),
            Value(path) if configuration.is_none() => configuration = Some(path.into()),
            other => return Err(other.unexpected()),
        }
    }
    let tap = tap.ok_or("--tap is missing")?;
    if addresses.is_empty() {
        return Err("--address is missing: without an address there is no source for Advertisements".into());
    }
    let interface = interface.unwrap_or_else(|| tap.clone());
    Ok(Some(Arguments { tap, mac, interface, addresses, configuration, store }))
}

fn hardware_address(text: &str) -> Result<MacAddr, String> {
    let bytes: Vec<u8> = text.split(':').filter_map(|part| u8::from_str_radix(part, 16).ok()).collect();
    match <[u8; 6]>::try_from(bytes) {
        Ok(bytes) if text.split(':').count() == 6 && bytes[0] & 1 == 0 => Ok(MacAddr(bytes)),
        _ => Err(format!("{text} is no unicast hardware address such as 02:53:46:00:00:01")),
    }
}

fn station_address(text: &str) -> Result<Address, String> {
    let parsed = text.split_once('/').and_then(|(address, prefix)| {
        let (address, prefix) = (address.parse::<IpAddr>().ok()?, prefix.parse::<u8>().ok()?);
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= longest).then_some(Address { address, prefix })
    });
    parsed.ok_or_else(|| format!("{text} is no address with a prefix such as 192.0.2.2/24"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_words(words: &[&str]) -> Result<Option<Arguments>, String> {
        read(lexopt::Parser::from_args(words.iter().copied())).map_err(|error| error.to_string())
    }

    #[test]
    fn a_whole_command_line() {
        let words =
            ["--tap", "tap0", "--mac", "02:00:00:00:00:0a", "--address", "192.0.2.2/24", "--address", "fe80::2/64"];
        let arguments = read_words(&words).unwrap().unwrap();
        assert_eq!((arguments.tap.as_str(), arguments.interface.as_str()), ("tap0", "tap0"));
        assert_eq!(arguments.mac, MacAddr([2, 0, 0, 0, 0, 10]));
        assert_eq!(arguments.addresses.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (words, named) in [
            (&["--address", "192.0.2.2/24"][..], "--tap"),
            (&["--tap", "t"], "--address"),
            (&["--tap", "t", "--address", "192.0.2.2"], "192.0.2.2"),
            (&["--tap", "t", "--address", "192.0.2.2/33"], "192.0.2.2/33"),
            (&["--tap", "t", "--mac", "01:00:00:00:00:01"], "01:00:00:00:00:01"),
            (&["--tap", "t", "--mac", "02:00:00:00:00"], "02:00:00:00:00"),
            (&["--frobnicate"], "frobnicate"),
        ] {
            let complaint = read_words(words).unwrap_err();
            assert!(complaint.contains(named), "{words:?}: {complaint}");
        }
    }
}
