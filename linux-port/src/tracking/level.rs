//! What results of one after the other come to, with keepalived's rules: the first one decides, after that as many in
//! succession as `rise` and `fall` say.

/// How something that is tried again and again stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    /// How many successes after a failure make it up.
    pub(super) rise: u32,
    /// How many failures after a success make it down.
    pub(super) fall: u32,
    /// What it is, as far as it is known.
    pub(super) up: Option<bool>,
    /// The next result decides.
    open: bool,
    /// Results in succession that say the opposite.
    against: u32,
}

impl Level {
    /// At the begin; `init_fail`: down, until it has succeeded as often as `rise` says.
    pub(super) fn new(rise: u32, fall: u32, init_fail: bool) -> Self {
        Self { rise, fall, up: init_fail.then_some(false), open: !init_fail, against: 0 }
    }

    /// The same in place of another one: it is what that was until the first result, which decides.
    pub(super) fn after(self, before: Self) -> Self {
        if before.up.is_some() { Self { up: before.up, open: true, ..self } } else { self }
    }

    /// Takes in a result, said in words; the words for how it stands.
    pub(super) fn note(&mut self, success: bool, result: String) -> String {
        if std::mem::take(&mut self.open) {
            (self.up, self.against) = (Some(success), 0);
        } else if self.up == Some(success) {
            self.against = 0;
        } else {
            self.against = self.against.saturating_add(1);
            if self.against >= self.wanted() {
                (self.up, self.against) = (Some(success), 0);
            }
        }
        match self.against {
            0 => result,
            against => format!("{result}, {against} of {}", self.wanted()),
        }
    }

    /// How many results in succession change it.
    fn wanted(&self) -> u32 {
        if self.up == Some(true) { self.fall } else { self.rise }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(rise: u32, fall: u32, init_fail: bool, results: &str) -> String {
        let mut level = Level::new(rise, fall, init_fail);
        let mut said = String::new();
        for result in results.chars() {
            level.note(result == '+', String::new());
            said.push(if level.up == Some(true) { '+' } else { '-' });
        }
        said
    }

    #[test]
    fn the_first_result_decides_and_then_as_many_as_are_wanted() {
        assert_eq!(levels(1, 1, false, "+-+-"), "+-+-");
        assert_eq!(levels(2, 3, false, "+--+---++"), "++++++--+");
        assert_eq!(levels(3, 2, false, "-++-+++--"), "------++-");
        assert_eq!(levels(2, 1, true, "++-"), "-+-");
    }

    #[test]
    fn another_one_in_its_place_is_what_it_was_until_its_first_result() {
        let mut before = Level::new(1, 1, false);
        assert_eq!(Level::new(1, 1, true).after(before).up, Some(false));
        assert_eq!(before.note(true, "yes".into()), "yes");
        let mut level = Level::new(9, 9, false).after(before);
        assert_eq!(level.up, Some(true));
        level.note(false, String::new());
        assert_eq!(level.up, Some(false));
        assert_eq!(level.note(true, "yes".into()), "yes, 1 of 9");
    }
}
