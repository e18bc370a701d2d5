//! What a web or mail server answers to a check. The input is a byte that chooses the check, one that says how the
//! answer is cut, and the answer. The verdict does not depend on the cut, and stays what it is.
#![no_main]

use std::net::{Ipv4Addr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use steadfast_linux::lvs::expression::Expression;
use steadfast_linux::lvs::plan::{HttpVersion, Pattern, UrlCheck};
use steadfast_linux::lvs::probe::Dialogue;
use steadfast_linux::lvs::probe::http::Http;
use steadfast_linux::lvs::probe::smtp::Smtp;
use steadfast_linux::lvs::verdict::Verdict;

fuzz_target!(|input: &[u8]| {
    let Some((&[choice, cut], answer)) = input.split_first_chunk() else { return };
    let whole = attempt(choice, answer, usize::MAX);
    assert_eq!(attempt(choice, answer, 1), whole);
    assert_eq!(attempt(choice, answer, usize::from(cut).max(1)), whole);
    let mut dialogue = dialogue(choice);
    let (first, second) = answer.split_at(usize::from(cut).min(answer.len()));
    let verdict = dialogue.received(first).or_else(|| dialogue.received(second));
    assert_eq!(verdict.unwrap_or_else(|| dialogue.ended()), whole);
    if let Verdict::Down(reason) = whole {
        assert!(!reason.is_empty() && reason.len() < 200);
    }
});

/// The verdict on an answer in pieces of so many bytes, after which the server closes.
fn attempt(choice: u8, answer: &[u8], piece: usize) -> Verdict {
    let mut dialogue = dialogue(choice);
    for piece in answer.chunks(piece) {
        let sent = dialogue.outgoing().len();
        dialogue.sent(sent);
        if let Some(verdict) = dialogue.received(piece) {
            return verdict;
        }
    }
    dialogue.ended()
}

fn dialogue(choice: u8) -> Box<dyn Dialogue> {
    if choice & 1 == 1 {
        return Box::new(Smtp::new("checker"));
    }
    let pattern = (choice & 2 != 0).then(|| Pattern {
        expression: Expression::new("^o?k$|[^k]b{2,3}\\b".into()).expect("an expression"),
        must_not_match: choice & 4 != 0,
        min_offset: usize::from(choice >> 5),
        max_offset: (choice & 8 != 0).then_some(100),
    });
    // MD5 of nothing.
    let nothing = 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e_u128.to_be_bytes();
    let url = UrlCheck {
        path: "/".into(),
        host: None,
        status: vec![(200, 299), (404, 404)],
        digest: (choice & 16 != 0).then_some(nothing),
        pattern,
    };
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
    Box::new(Http::new(HttpVersion::Http11, &url, target))
}
