//! For the tests of the dialogues: an attempt without a network.

use super::Dialogue;
use crate::lvs::verdict::Verdict;

/// The verdict on an answer that comes in pieces of so many bytes, after which the server closes.
pub(super) fn attempt(dialogue: &mut dyn Dialogue, answer: &[u8], piece: usize) -> Verdict {
    let sent = dialogue.outgoing().len();
    dialogue.sent(sent);
    for piece in answer.chunks(piece) {
        if let Some(verdict) = dialogue.received(piece) {
            return verdict;
        }
    }
    dialogue.ended()
}

/// The verdict on an answer, which has to be the same in one piece, byte by byte, and in two pieces that meet
/// anywhere.
pub(super) fn assert_same_however_cut(dialogue: impl Fn() -> Box<dyn Dialogue>, answer: &[u8]) -> Verdict {
    let verdict = attempt(&mut *dialogue(), answer, usize::MAX);
    assert_eq!(attempt(&mut *dialogue(), answer, 1), verdict, "byte by byte");
    // Of a long answer not every place.
    let step = if answer.len() < 1000 { 1 } else { answer.len() / 50 };
    for at in (0..answer.len()).step_by(step) {
        let mut dialogue = dialogue();
        let (first, second) = answer.split_at(at);
        let pieces = dialogue.received(first).or_else(|| dialogue.received(second));
        assert_eq!(pieces.unwrap_or_else(|| dialogue.ended()), verdict, "cut at {at}");
    }
    verdict
}

/// Why the server is down.
pub(super) fn down_reason(verdict: Verdict) -> String {
    match verdict {
        Verdict::Down(reason) => reason.into_owned(),
        verdict => panic!("{verdict:?}"),
    }
}
