//! The users and groups of this machine, from /etc/passwd and /etc/group: passwd(5), group(5). Users of a directory
//! service are not known here; asking for them would load foreign code into the agent.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// No such file is larger.
const MOST_BYTES: u64 = 4 << 20;

/// Accounts, as read once.
pub(crate) struct Accounts {
    users: String,
    groups: String,
}

impl Accounts {
    /// Of this machine; a file that cannot be read has nobody in it.
    pub(crate) fn read() -> Self {
        Self { users: read(Path::new("/etc/passwd")), groups: read(Path::new("/etc/group")) }
    }

    /// The numbers of a user and of its own group.
    pub(crate) fn user(&self, name: &str) -> Option<(u32, u32)> {
        let mut fields = entry(&self.users, name)?;
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    }

    /// The number of a group.
    pub(crate) fn group(&self, name: &str) -> Option<u32> {
        entry(&self.groups, name)?.next()?.parse().ok()
    }
}

/// The fields of an account after its password.
fn entry<'a>(text: &'a str, name: &str) -> Option<impl Iterator<Item = &'a str>> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.skip(1))
    })
}

fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes)) {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_name() {
        let accounts = Accounts {
            users: "root:x:0:0:root:/root:/bin/sh\nbroken\n:x:1:1\nweb:x:33:34::/:/bin/false".into(),
            groups: "root:x:0:\nwww:x:35:web,root\n".into(),
        };
        assert_eq!(accounts.user("root"), Some((0, 0)));
        assert_eq!(accounts.user("web"), Some((33, 34)));
        assert_eq!(accounts.group("www"), Some(35));
        assert_eq!((accounts.user("broken"), accounts.user("nobody"), accounts.group("web")), (None, None, None));
    }
}
