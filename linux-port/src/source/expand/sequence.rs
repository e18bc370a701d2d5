//! Lines that stand for many: `~SEQ(NAME, FIRST, STEP, LAST)`, `~SEQx`, which counts in hexadecimal, and `~LST(NAME,
//! VALUE, …)`, also with several names at once.

use super::line::Line;
use super::{Expander, Fault, Stop, name, next_reference};

/// The values of a sequence, one after the other.
enum Values {
    Numbers { next: i64, step: i64, last: i64, hexadecimal: bool },
    Listed(std::vec::IntoIter<Vec<String>>),
}

impl Iterator for Values {
    type Item = Vec<String>;

    fn next(&mut self) -> Option<Vec<String>> {
        match self {
            Self::Listed(values) => values.next(),
            Self::Numbers { next, step, last, hexadecimal } => {
                let number = *next;
                if if *step > 0 { number > *last } else { number < *last } {
                    return None;
                }
                // Behind the largest number there is none.
                match number.checked_add(*step) {
                    Some(following) => *next = following,
                    None => (*step, *next, *last) = (1, 1, 0),
                }
                Some(vec![if *hexadecimal { format!("{number:x}") } else { number.to_string() }])
            }
        }
    }
}

impl Expander<'_> {
    /// Takes in what a line stands for.
    pub(super) fn sequence(&mut self, line: &Line, depth: usize) -> Result<(), Stop> {
        let offset = line.text.len() - line.text.trim_start().len();
        let (names, values, end) = match self.read_sequence(line, offset) {
            Ok(read) => read,
            Err(Fault::Stop) => return Err(Stop),
            Err(Fault::Says(problem)) => {
                self.fault_in(line, offset, problem);
                return Ok(());
            }
        };
        let rest = line.cut(end);
        for values in values {
            let mut values = values.into_iter();
            for name in &names {
                self.set(name, &values.next().unwrap_or_default(), line.line);
            }
            self.process(rest.clone(), Vec::new(), depth + 1)?;
        }
        Ok(())
    }

    /// Reads the `~…(…)` that begins at a byte of a line: its names, their values, and where it ends.
    fn read_sequence(&mut self, line: &Line, offset: usize) -> Result<(Vec<String>, Values, usize), Fault> {
        let says = |problem: &str| Fault::Says(problem.to_owned());
        let begun = line.text.get(offset..).unwrap_or_default();
        let kind = ["~SEQx", "~SEQ", "~LST"].into_iter().find(|kind| begun.starts_with(kind));
        let kind = kind.ok_or_else(|| says("a line that begins with `~` is ~SEQ, ~SEQx or ~LST"))?;
        let wrong = |form: &str| Fault::Says(format!("`{kind}` wants {form}"));
        let form = if kind == "~LST" {
            "(NAME, VALUE, ...) or ({NAME, NAME}, {VALUE, VALUE}, ...)"
        } else {
            "(NAME, [FIRST, [STEP,]] LAST), whole numbers, of which STEP leads from FIRST to LAST"
        };
        let behind = begun.get(kind.len()..).unwrap_or_default();
        let inside = behind.trim_start().strip_prefix('(').ok_or_else(|| wrong(form))?;
        let length = inside.find(')').ok_or_else(|| wrong(form))?;
        let end = line.text.len() - inside.len() + length + 1;
        let inside = self.filled(inside.get(..length).unwrap_or_default(), line.line)?;
        let (names, values) = if kind == "~LST" {
            list(&inside).ok_or_else(|| wrong(form))?
        } else {
            numbers(&inside, kind == "~SEQx").ok_or_else(|| wrong(form))?
        };
        Ok((names, values, end))
    }

    /// A text with values in it.
    fn filled(&mut self, text: &str, line: u32) -> Result<String, Fault> {
        let mut made = String::new();
        let mut offset = 0;
        while let Some((start, end, reference)) = next_reference(text, offset) {
            made.push_str(text.get(offset..start).unwrap_or_default());
            if !self.value(reference, line, 0, &mut made)? {
                made.push_str(text.get(start..end).unwrap_or_default());
            }
            offset = end;
        }
        made.push_str(text.get(offset..).unwrap_or_default());
        Ok(made)
    }
}

/// `NAME, [FIRST, [STEP,]] LAST`.
fn numbers(inside: &str, hexadecimal: bool) -> Option<(Vec<String>, Values)> {
    let mut parts = inside.split(',').map(str::trim);
    let name = whole_name(parts.next()?)?;
    let given = parts.map(number).collect::<Option<Vec<_>>>()?;
    let towards = |first: i64, last: i64| if first > last { -1 } else { 1 };
    let (first, step, last) = match *given.as_slice() {
        [last] if last != 0 => (last.signum(), last.signum(), last),
        [first, last] => (first, towards(first, last), last),
        [first, step, last] if step != 0 && (first == last || step.signum() == towards(first, last)) => {
            (first, step, last)
        }
        _ => return None,
    };
    if hexadecimal && first.min(last) < 0 {
        return None;
    }
    Some((vec![name], Values::Numbers { next: first, step, last, hexadecimal }))
}

/// As in C: `0x` before a hexadecimal number, `0` before an octal one.
fn number(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    // The one sign has been read.
    let plain = digits.starts_with(|first: char| first.is_digit(radix));
    i64::from_str_radix(digits, radix).ok().filter(|_| plain).map(|number| sign * number)
}

/// `NAME, VALUE, …` or `{NAME, NAME}, {VALUE, VALUE}, …`.
fn list(inside: &str) -> Option<(Vec<String>, Values)> {
    let mut parts = tuples(inside)?.into_iter();
    let names = parts.next()?.iter().map(|name| whole_name(name)).collect::<Option<Vec<_>>>()?;
    let values: Vec<_> = parts.collect();
    let fits = |value: &Vec<String>| {
        value.len() <= names.len() && value.iter().all(|value| !value.contains(char::is_whitespace))
    };
    let is_right = !values.is_empty() && values.iter().all(fits);
    is_right.then(|| (names, Values::Listed(values.into_iter())))
}

/// What stands between the commas outside braces; within braces, what stands between theirs.
fn tuples(text: &str) -> Option<Vec<Vec<String>>> {
    let mut tuples = Vec::new();
    let mut rest = text.trim();
    loop {
        let behind = if let Some(open) = rest.strip_prefix('{') {
            let (inside, behind) = open.split_once('}')?;
            tuples.push(inside.split(',').map(|part| part.trim().to_owned()).collect());
            behind.trim_start()
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (part, behind) = rest.split_at(end);
            tuples.push(vec![part.trim().to_owned()]);
            behind
        };
        if behind.is_empty() {
            return Some(tuples);
        }
        rest = behind.strip_prefix(',')?.trim_start();
    }
}

fn whole_name(text: &str) -> Option<String> {
    name(text).filter(|name| name.len() == text.len()).map(str::to_owned)
}
