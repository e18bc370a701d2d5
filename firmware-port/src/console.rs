//! The console: one line editor and a few commands over any byte stream that says when it is ready, such as a UART.
//! It never waits: each [`Console::poll`] takes a few bytes in, makes at most one buffer of 64 bytes of output, or
//! does one small step of work, and what the stream has no room for stays until the next call. The texts are those of
//! [`steadfast_core::text`]; what is shown and changed is behind [`Host`].
//!
//! A configuration is taken in whole, checked, and only then stored and put in force; one with errors changes
//! nothing. The only memory of size is the buffer that the text is taken into, which is lent by the caller: it is as
//! long as the longest text shall be, and the same memory serves to read the stored text at boot.

mod editor;
mod output;
mod screen;

use embedded_io::{Read, ReadReady, Write, WriteReady};
use embedded_storage::nor_flash::NorFlash;
use steadfast_core::agent::{Agent, InterfaceId, RouterId, TrackerId};
use steadfast_core::config::{Diagnostic, Severity};
use steadfast_core::storage::Storage;
use steadfast_core::time::Instant;

use crate::store::{Store, Writing};

use editor::{Editor, Input};
use output::Output;
use screen::{Facts, Findings, Next, Screen, Showing, messages};

/// Bytes that are taken in at once.
const INPUT: usize = 16;

/// What asks for a command.
const PROMPT: &[u8] = b"> ";

/// Whom the console speaks for.
pub trait Host {
    /// The agent's storage.
    type Storage: Storage;

    /// What is shown.
    fn agent(&self) -> &Agent<Self::Storage>;

    /// What a Virtual Router is called.
    fn router_name(&self, router: RouterId) -> &str;

    /// The interfaces, numbered from 0, and what they are called.
    fn interface(&self, number: usize) -> Option<(InterfaceId, &str)>;

    /// What a tracker is called.
    fn tracker_name(&self, tracker: TrackerId) -> &str;

    /// Says what is wrong with a configuration, without changing anything: by the grammar, and whether there is what
    /// it asks for. One that is applied had no errors.
    fn check<'t>(&self, text: &'t str, report: &mut dyn FnMut(Diagnostic<'t>));

    /// Puts a configuration in force; whether that is done. If not it is called again: Virtual Routers that the new
    /// one does not have may have to hand over before there is room for others.
    fn apply(&mut self, now: Instant, text: &str) -> bool;

    /// Takes a Virtual Router out, handing over first.
    fn drain(&mut self, now: Instant, router: RouterId);

    /// Lets it take part again.
    fn resume(&mut self, now: Instant, router: RouterId);
}

/// When the console wants to be called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// When the stream has something to read, or room for more.
    Wait,
    /// There is more to do: at once, after what is more urgent.
    Again,
    /// The board is to restart: hand over by [`Node::shutdown`](crate::node::Node::shutdown), and do so.
    Reboot,
}

/// What can be asked for.
#[derive(Clone, Copy)]
enum Verb {
    Help,
    Status,
    Explain,
    Counters,
    Show,
    Load,
    Drain,
    Resume,
    Reboot,
}

/// The first word of each command.
const VERBS: [(&[u8], Verb); 9] = [
    (b"help", Verb::Help),
    (b"status", Verb::Status),
    (b"explain", Verb::Explain),
    (b"counters", Verb::Counters),
    (b"show", Verb::Show),
    (b"load", Verb::Load),
    (b"drain", Verb::Drain),
    (b"resume", Verb::Resume),
    (b"reboot", Verb::Reboot),
];

/// What is shown and loaded.
const CONFIG: &[u8] = b"config";

/// What it is at.
enum State {
    /// The prompt comes next.
    Prompt,
    /// A line is being typed.
    Command,
    /// A configuration is being typed; `whole` until it is too long.
    Text { whole: bool },
    /// Something is being shown.
    Show(Showing),
    /// A configuration is being stored.
    Store(Writing),
    /// A configuration is being put in force.
    Apply,
    /// The board is to restart.
    Reboot,
}

/// A console.
pub struct Console<'b> {
    editor: Editor<'b>,
    output: Output,
    state: State,
    /// The configuration if none is stored that can be used.
    built_in: &'static str,
    /// One is stored and cannot be used.
    refused: bool,
}

impl<'b> Console<'b> {
    /// A console that takes texts into `buffer`; `built_in` is the configuration if none is stored.
    pub fn new(buffer: &'b mut [u8], built_in: &'static str) -> Self {
        let state = State::Show(Showing::new(Screen::Message(messages::GREETING)));
        Self { editor: Editor::new(buffer), output: Output::new(), state, built_in, refused: false }
    }

    /// Puts the stored configuration in force, once, at boot; the built-in one if there is none, or it has errors on
    /// this board.
    pub fn boot<F: NorFlash, H: Host>(&mut self, now: Instant, store: &mut Store<F>, host: &mut H) {
        if let Some(length) = store.stored() {
            let read = self.editor.fill(|buffer| store.read(0, buffer));
            let text = self.editor.text().ok().filter(|text| read == length && count(host, text).errors == 0);
            // Nothing has to hand over before it.
            if text.is_some_and(|text| host.apply(now, text)) {
                self.editor.clear();
                return;
            }
            self.editor.clear();
            self.refused = true;
            self.say(messages::REFUSED);
        }
        host.apply(now, self.built_in);
    }

    /// Does a little of what there is to do.
    pub fn poll<U, F, H>(&mut self, now: Instant, stream: &mut U, store: &mut Store<F>, host: &mut H) -> Turn
    where
        U: Read + ReadReady + Write + WriteReady,
        F: NorFlash,
        H: Host,
    {
        self.output.drain(stream);
        if !self.output.is_empty() {
            return Turn::Wait;
        }
        let again = match &self.state {
            State::Command | State::Text { .. } => self.listen(now, stream, host),
            State::Reboot => return Turn::Reboot,
            _ => {
                self.work(now, store, host);
                true
            }
        };
        self.output.drain(stream);
        if again && self.output.is_empty() { Turn::Again } else { Turn::Wait }
    }

    /// One step of what needs no input.
    fn work<F: NorFlash, H: Host>(&mut self, now: Instant, store: &mut Store<F>, host: &mut H) {
        match &mut self.state {
            State::Show(showing) => {
                let built_in = (self.refused || store.stored().is_none()).then_some(self.built_in);
                let mut facts = Facts { now, store, host, editor: &self.editor, built_in };
                if showing.show(&mut self.output, &mut facts) {
                    self.shown(store);
                }
            }
            State::Store(writing) => match store.step(writing, self.editor.bytes()) {
                Ok(false) => {}
                Ok(true) => self.state = State::Apply,
                Err(_) => self.say(messages::FLASH),
            },
            State::Apply => {
                // It was checked, so it is a text.
                if host.apply(now, self.editor.text().unwrap_or("")) {
                    self.refused = false;
                    self.say(messages::APPLIED);
                }
            }
            State::Prompt | State::Command | State::Text { .. } | State::Reboot => {
                self.editor.clear();
                self.output.echo(PROMPT);
                self.state = State::Command;
            }
        }
    }

    /// A screen has been shown.
    fn shown<F: NorFlash>(&mut self, store: &Store<F>) {
        let State::Show(showing) = &self.state else { return };
        self.state = match showing.screen {
            Screen::Message(messages::REBOOT) => State::Reboot,
            Screen::Message(messages::LOAD) => {
                self.editor.clear();
                State::Text { whole: true }
            }
            Screen::Findings(Findings { errors: 0, .. }) => match store.begin(self.editor.bytes()) {
                Ok(writing) => State::Store(writing),
                Err(_) => State::Show(Showing::new(Screen::Message(messages::TOO_LONG))),
            },
            Screen::Findings(_) => State::Show(Showing::new(Screen::Message(messages::REFUSED_TEXT))),
            _ => State::Prompt,
        };
    }

    /// Takes in what was typed; whether there may be more of it.
    fn listen<U: Read + ReadReady, H: Host>(&mut self, now: Instant, stream: &mut U, host: &mut H) -> bool {
        for _ in 0..INPUT {
            // What is typed ahead stays in the stream until its turn.
            if !self.output.has_room() || !matches!(self.state, State::Command | State::Text { .. }) {
                break;
            }
            let mut byte = [0];
            if !matches!(stream.read_ready(), Ok(true)) || !matches!(stream.read(&mut byte), Ok(1)) {
                return false;
            }
            let [byte] = byte;
            match &mut self.state {
                State::Command => match self.editor.command(byte, &mut self.output) {
                    Input::More => {}
                    Input::Abandoned => self.state = State::Prompt,
                    Input::Complete => self.execute(now, host),
                },
                State::Text { whole } => match self.editor.line_of_text(byte, whole, &mut self.output) {
                    Input::More => {}
                    Input::Abandoned => self.say(messages::ABANDONED),
                    Input::Complete if *whole => {
                        let findings = match self.editor.text() {
                            Ok(text) => count(host, text),
                            Err(_) => Findings { count: 1, errors: 1 },
                        };
                        self.state = State::Show(Showing::new(Screen::Findings(findings)));
                    }
                    Input::Complete => self.say(messages::TOO_LONG),
                },
                _ => break,
            }
        }
        true
    }

    /// Does what the line says.
    fn execute<H: Host>(&mut self, now: Instant, host: &mut H) {
        let (command, name) = self.editor.words();
        let verb = VERBS.iter().find(|(word, _)| *word == command).map(|(_, verb)| *verb);
        let named = match (verb, name) {
            (Some(Verb::Explain), _) | (_, [_, ..]) => {
                Some(host.agent().routers().find(|id| host.router_name(*id).as_bytes() == name))
            }
            _ => None,
        };
        let screen = match (verb, named) {
            (None, _) if command.is_empty() => {
                self.state = State::Prompt;
                return;
            }
            (Some(Verb::Show), _) if name == CONFIG => Screen::Config,
            (Some(Verb::Load), _) if name == CONFIG => Screen::Message(messages::LOAD),
            (Some(Verb::Help), None) => Screen::Message(messages::HELP),
            (Some(Verb::Status), None) => Screen::status(now, host),
            (Some(Verb::Reboot), None) => Screen::Message(messages::REBOOT),
            (Some(Verb::Counters), None) => Screen::counters(host),
            (Some(Verb::Counters), Some(Some(router))) => Screen::Counters(Some(router), Next::Ends),
            (Some(Verb::Explain), Some(Some(router))) => Screen::Explain(router),
            (Some(Verb::Drain), None | Some(Some(_))) => {
                each(host, named.flatten(), |host, id| host.drain(now, id));
                Screen::Message(messages::DRAINED)
            }
            (Some(Verb::Resume), None | Some(Some(_))) => {
                each(host, named.flatten(), |host, id| host.resume(now, id));
                Screen::Message(messages::RESUMED)
            }
            (Some(Verb::Counters | Verb::Explain | Verb::Drain | Verb::Resume), _) => {
                Screen::Message(messages::NO_ROUTER)
            }
            _ => Screen::Message(messages::UNKNOWN),
        };
        self.state = State::Show(Showing::new(screen));
    }

    /// Shows a message, and then the prompt.
    fn say(&mut self, message: &'static str) {
        self.state = State::Show(Showing::new(Screen::Message(message)));
    }
}

/// Does something to one Virtual Router, or to all.
fn each<H: Host>(host: &mut H, one: Option<RouterId>, act: impl Fn(&mut H, RouterId)) {
    if let Some(id) = one {
        return act(host, id);
    }
    let mut number = 0_usize;
    loop {
        let id = host.agent().routers().nth(number);
        let Some(id) = id else { break };
        number = number.saturating_add(1);
        act(host, id);
    }
}

/// How much is wrong with a text.
fn count<H: Host>(host: &H, text: &str) -> Findings {
    let mut findings = Findings::default();
    host.check(text, &mut |diagnostic| {
        findings.count = findings.count.saturating_add(1);
        findings.errors = findings.errors.saturating_add(u16::from(diagnostic.severity == Severity::Error));
    });
    findings
}

#[cfg(test)]
mod tests;
