//! The lines of `counters`, and the short form of them that ends `status`: those that have moved.

use core::fmt;

use super::Printable;

/// One counter: `  advertisement-rcvd 7`, with the end of the line.
#[derive(Clone, Copy, Debug)]
pub struct CounterLine<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it stands.
    pub value: u64,
}

impl fmt::Display for CounterLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {} {}", Printable(self.name), self.value)
    }
}

/// The counters of something that are not 0: `gw: advertisement-rcvd 7, dual-active 1`, with the end of the line;
/// nothing if there are none.
#[derive(Clone, Copy, Debug)]
pub struct MovedCounters<'a, C> {
    /// What it is called.
    pub name: &'a str,
    /// Its counters.
    pub counters: C,
}

impl<'a, C: Iterator<Item = (&'a str, u64)> + Clone> fmt::Display for MovedCounters<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut any = false;
        for (name, value) in self.counters.clone().filter(|(_, value)| *value > 0) {
            if any {
                f.write_str(", ")?;
            } else {
                write!(f, "{}: ", Printable(self.name))?;
                any = true;
            }
            write!(f, "{} {value}", Printable(name))?;
        }
        if any { f.write_str("\n") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::string::ToString;

    #[test]
    fn only_what_has_moved_is_in_the_short_form() {
        let moved = |counters: &'static [(&'static str, u64)]| {
            MovedCounters { name: "gw", counters: counters.iter().copied() }.to_string()
        };
        assert_eq!(moved(&[("a", 0), ("b", 7), ("c", 1)]), "gw: b 7, c 1\n");
        assert_eq!(moved(&[("a", 0)]), "");
        assert_eq!(CounterLine { name: "a", value: u64::MAX }.to_string(), "  a 18446744073709551615\n");
    }
}
