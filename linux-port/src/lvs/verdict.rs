//! What a check says of a real server.

use std::borrow::Cow;

/// The outcome of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server answers as it should.
    Up,
    /// It does, and wants this weight from now on (`misc_dynamic`, `FILE_CHECK`): an absolute one, or one that is
    /// added to the configured one.
    UpWith(WeightChange),
    /// It does not; why, in a few words: `connection refused`, `no answer within 5 s`, `status 503`.
    Down(Cow<'static, str>),
}

/// How a check changes a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightChange {
    /// This is the weight.
    Absolute(u32),
    /// This is added to it; the sum is held between 0 and the largest weight.
    Relative(i32),
}
