//! Whether a file has scripts run without `enable_script_security`, which `keepalived -t` tells by its exit status.

use std::path::Path;

use steadfast_core::config::statement::Block;

use crate::plan::Reading;
use crate::source;

/// Whether there is a script and nobody looks at who may change it.
pub(super) fn are_unguarded(config: &Path, reading: &Reading) -> bool {
    let Ok(source) = source::read(config, reading.config_id.as_deref()) else { return false };
    let mut seen = Seen::default();
    seen.look(Block::file(&source.text), 0);
    seen.script && !seen.security
}

#[derive(Default)]
struct Seen {
    script: bool,
    security: bool,
}

impl Seen {
    /// Looks at the keywords of a block and of those in it.
    fn look(&mut self, mut block: Block<'_>, depth: u8) {
        while let Some(statement) = block.next(&mut |_| {}) {
            match statement.keyword.text {
                "enable_script_security" => self.security = true,
                "script" | "misc_path" | "quorum_up" | "quorum_down" => self.script = true,
                word => self.script |= is_notify(word),
            }
            // A checker of a real server of a virtual server is the deepest that has one.
            if let Some(body) = statement.body.filter(|_| depth < 3) {
                self.look(body, depth + 1);
            }
        }
    }
}

/// Whether the keyword names a script that is told of something.
fn is_notify(word: &str) -> bool {
    word == "notify"
        || word.ends_with("_fifo_script")
        || word.strip_prefix("notify_").is_some_and(|when| {
            matches!(when, "master" | "backup" | "fault" | "stop" | "deleted" | "master_rx_lower_pri" | "up" | "down")
        })
}
