//! The board's own addresses: the block `static_ipaddress` of the configuration, whose entries are an address with the
//! length of its prefix, and perhaps `dev` and the interface. Which of them Advertisements leave from is not known here.

use core::net::IpAddr;

use heapless::Vec;
use steadfast_core::config::statement::{Block, Statement};
use steadfast_core::config::{Diagnostic, Message, Severity, value};

use crate::station::INTERFACE;

/// The block's keyword.
pub const KEYWORD: &str = "static_ipaddress";

/// How many there can be.
pub const MOST: usize = 4;

/// An address of the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    pub address: IpAddr,
    pub prefix: u8,
}

/// The addresses in a configuration; what is wrong with them is reported.
pub fn read<'t>(text: &'t str, report: &mut dyn FnMut(Diagnostic<'t>)) -> Vec<Own, MOST> {
    let mut all = Vec::new();
    let mut file = Block::file(text);
    // What is no statement is reported by the grammar of the rest.
    while let Some(statement) = file.next(&mut |_| {}) {
        let Some(mut body) = statement.body.filter(|_| statement.keyword.text == KEYWORD) else { continue };
        while let Some(entry) = body.next(&mut |_| {}) {
            let expected = match own(&entry) {
                None => "an address with the length of its prefix, and perhaps `dev eth0`",
                Some(one) if all.push(one).is_err() => "4 addresses at most",
                Some(_) => continue,
            };
            let message = Message::WrongValue { keyword: KEYWORD, value: entry.keyword.text, expected };
            report(Diagnostic { place: entry.keyword.place, severity: Severity::Error, message });
        }
    }
    all
}

fn own(entry: &Statement<'_>) -> Option<Own> {
    let (address, Some(Ok(prefix))) = value::prefix(entry.keyword.text)? else { return None };
    let mut words = entry.words.map(|word| word.text);
    let here = matches!((words.next(), words.next(), words.next()), (None, ..) | (Some("dev"), Some(INTERFACE), None));
    let usable = !address.is_unspecified() && !address.is_multicast();
    (here && usable).then_some(Own { address, prefix })
}
