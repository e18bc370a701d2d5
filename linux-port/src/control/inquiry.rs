//! How a thread that talks to clients asks the agent's loop: one question at a time over a channel, and a wake-up in
//! each direction. The loop never waits for the thread, and answers with facts, whose formatting is the thread's work.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::{Answer, Verb};

/// A question to the agent's loop. Dropped without an answer, the client is told that there is none.
#[derive(Debug)]
pub struct Request {
    verb: Verb,
    answers: Sender<Option<Answer>>,
    wake: Arc<UnixStream>,
    answer: Option<Answer>,
}

impl Request {
    /// What is asked for.
    pub fn verb(&self) -> &Verb {
        &self.verb
    }

    /// Hands the answer to the thread that asked; never waits, and costs no more than a move and a wake-up.
    pub fn answer(mut self, answer: Answer) {
        self.answer = Some(answer);
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        // If the thread is gone, so are its clients. A wake-up that finds the pipe full is one too many.
        let _ = self.answers.send(self.answer.take());
        let _ = (&*self.wake).write(&[0]);
    }
}

/// The agent's end: readable when there is a question. When it is dropped, the other end is told.
#[derive(Debug)]
pub struct Inbox {
    questions: Receiver<Verb>,
    answers: Sender<Option<Answer>>,
    wake: Arc<UnixStream>,
}

/// The thread's end: readable when there is an answer, or the agent's end is gone.
#[derive(Debug)]
pub(crate) struct Asker {
    questions: Sender<Verb>,
    answers: Receiver<Option<Answer>>,
    wake: UnixStream,
}

/// Both ends.
///
/// # Errors
/// Of the system.
pub(crate) fn pair() -> io::Result<(Inbox, Asker)> {
    let (questions, asked) = channel();
    let (answers, answered) = channel();
    let (wake, woken) = UnixStream::pair()?;
    wake.set_nonblocking(true)?;
    woken.set_nonblocking(true)?;
    let inbox = Inbox { questions: asked, answers, wake: Arc::new(wake) };
    Ok((inbox, Asker { questions, answers: answered, wake: woken }))
}

impl Inbox {
    /// The question that the descriptor announced, if it is still there. Never waits.
    pub fn take(&mut self) -> Option<Request> {
        // One question is open at most, so one read takes every wake-up there is.
        let _ = (&*self.wake).read(&mut [0; 16]);
        let verb = self.questions.try_recv().ok()?;
        Some(Request { verb, answers: self.answers.clone(), wake: Arc::clone(&self.wake), answer: None })
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

impl Asker {
    /// Asks; not before the question before it has been answered.
    pub(crate) fn ask(&self, question: Verb) {
        // If the loop is gone, the wake-up's other end is too, and `is_heard` says so.
        let _ = self.questions.send(question);
        let _ = (&self.wake).write(&[0]);
    }

    /// Takes in the wake-ups; false if the loop is gone.
    pub(crate) fn is_heard(&self) -> bool {
        !matches!((&self.wake).read(&mut [0; 16]), Ok(0))
    }

    /// An answer that has come; in it `None` if the loop had none.
    pub(crate) fn answer(&self) -> Option<Option<Answer>> {
        self.answers.try_recv().ok()
    }
}

impl AsFd for Asker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
