//! The guide (`linux-port/GUIDE.md`), read as what a stranger types. In its `console` blocks a line `MACHINE# COMMAND` is
//! typed into a shell on that machine, with the lines after it up to the end of a here-document; the lines below, up to
//! the next such line, are what is printed, where `…` stands for anything. What is printed is waited for, since a
//! stranger looks again; a command without any prints nothing and succeeds.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Its text.
pub const TEXT: &str = include_str!("../../linux-port/GUIDE.md");

/// How long a command may take, and what it is to print at last.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Comes after what a command has printed, with its exit status.
const END: &str = "--end-of-command--";

/// One command, and what it prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its line in the guide, from 1.
    pub line: usize,
    /// On which machine it is typed.
    pub machine: String,
    /// The command, with its here-document.
    pub command: String,
    /// What is printed.
    pub printed: String,
}

/// The steps of a chapter, which is named as its heading is, in order.
#[track_caller]
pub fn steps(text: &str, chapter: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut here, mut console, mut document) = (false, false, None);
    for (line, number) in text.lines().zip(1..) {
        if let Some(heading) = line.strip_prefix("## ") {
            here = heading == chapter;
        }
        if let Some(kind) = line.strip_prefix("```") {
            console = kind == "console";
            continue;
        }
        if !here || !console {
            continue;
        }
        if let Some((end, step)) = document.take().zip(steps.last_mut()) {
            step.command.push('\n');
            step.command.push_str(line);
            document = (line != end).then_some(end);
        } else if let Some((machine, command)) = prompt(line) {
            let (machine, command) = (machine.to_owned(), command.to_owned());
            document = command.split_once("<< '").and_then(|(_, rest)| Some(rest.split_once('\'')?.0.to_owned()));
            steps.push(Step { line: number, machine, command, printed: String::new() });
        } else {
            let step = steps.last_mut().unwrap_or_else(|| panic!("GUIDE.md:{number}: nothing has been typed yet"));
            step.printed.push_str(line);
            step.printed.push('\n');
        }
    }
    assert!(!steps.is_empty(), "the guide has no chapter {chapter:?} in which something is typed");
    steps
}

/// `MACHINE# COMMAND`
fn prompt(line: &str) -> Option<(&str, &str)> {
    let (machine, command) = line.split_once("# ")?;
    let is_name = !machine.is_empty() && machine.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    is_name.then_some((machine, command))
}

/// Types every step into the shell of its machine, and holds the guide to its word.
#[track_caller]
pub fn follow(steps: &[Step], shells: &mut [(&str, Shell)]) {
    for step in steps {
        let shell = shells.iter_mut().find(|(name, _)| *name == step.machine);
        let Some((_, shell)) = shell else { panic!("GUIDE.md:{}: no machine {}", step.line, step.machine) };
        let end = Instant::now() + PATIENCE;
        loop {
            let said = shell.type_in(&step.command);
            let right = if step.printed.is_empty() {
                said.status == 0 && said.text.is_empty()
            } else {
                matches(&step.printed, &said.text)
            };
            if right {
                break;
            }
            assert!(!step.printed.is_empty() && Instant::now() < end, "{step}\nprints {said}");
            std::thread::sleep(PAUSE);
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GUIDE.md:{}: {}# {}\n{}", self.line, self.machine, self.command, self.printed)
    }
}

/// Whether `text` is `pattern`, but for white space, and for what `…` stands for.
fn matches(pattern: &str, text: &str) -> bool {
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (pattern, text) = (squeezed(pattern), squeezed(text));
    let Some((first, pattern)) = pattern.split_once('…') else { return pattern == text };
    let (middle, last) = pattern.rsplit_once('…').unwrap_or(("", pattern));
    let Some(mut rest) = text.strip_prefix(first.trim()).and_then(|rest| rest.strip_suffix(last.trim())) else {
        return false;
    };
    middle.split('…').all(|part| match rest.split_once(part.trim()) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

/// What a command has printed, and its exit status.
#[derive(Debug, Default)]
struct Said {
    text: String,
    status: i32,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(exit status {}):\n{}", self.status, self.text)
    }
}

/// A shell that somebody types into.
#[derive(Debug)]
pub struct Shell {
    child: Child,
    lines: Receiver<String>,
}

impl Shell {
    /// `command` has to become a shell that reads commands from its standard input.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output = child.stdout.take().expect("it was asked for");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    #[track_caller]
    fn type_in(&mut self, command: &str) -> Said {
        let input = self.child.stdin.as_mut().expect("it was asked for");
        // In braces, so that both outputs are taken, and what is started in the background stays this shell's.
        let text = format!("{{ {command}\n}} 2>&1\necho \"{END}$?\"\n");
        input.write_all(text.as_bytes()).expect("the shell reads");
        let mut said = Said::default();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("{command}: {error}, after: {}", said.text));
            if let Some((before, status)) = line.split_once(END) {
                said.text.push_str(before);
                said.status = status.parse().expect("a status");
                return said;
            }
            said.text.push_str(&line);
            said.text.push('\n');
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_and_what_is_printed() {
        let text = "## One\n```console\na# cat > f << 'END'\nb# no\nEND\nb2# show\nline\n\nmore\n```\nc# no\n## Two\n```console\nd# x\n```\n";
        let steps = steps(text, "One");
        assert_eq!(steps.len(), 2);
        assert_eq!((steps[0].machine.as_str(), steps[0].command.as_str()), ("a", "cat > f << 'END'\nb# no\nEND"));
        assert_eq!((steps[1].line, steps[1].printed.as_str()), (6, "line\n\nmore\n"));
    }

    #[test]
    fn dots_stand_for_anything() {
        for (pattern, text, right) in [
            ("a b", " a   b\n", true),
            ("a b", "a b c", false),
            ("a … c", "a b\nb c", true),
            ("a … c", "a b c d", false),
            ("a … c", "a c b c", true),
            ("…", "", true),
            ("… b …", "a\nb\nc", true),
            ("… b …", "a\nc", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), right, "{pattern:?} {text:?}");
        }
    }
}
