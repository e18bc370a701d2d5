//! Private network namespaces: leaving the machine's own network, as root or through a user namespace, and
//! working in one of several. They vanish with the last process and descriptor that is in them, so nothing
//! has to be taken down. What is built inside is in [`super::lan`].

use std::fmt;
use std::fs::{self, File};
use std::io;

use crate::sys::process::{Namespaces, enter, unshare};

/// How this process was allowed to leave the machine's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Privilege {
    /// By its own capabilities.
    Own,
    /// As root of a new user namespace, in which it is alone.
    UserNamespace,
}

/// Neither way is allowed here.
#[derive(Debug)]
pub(super) struct Forbidden {
    own: io::Error,
    user: io::Error,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the demo needs network namespaces of its own, and this system allows them neither directly ({}) nor \
             through a user namespace ({}); run it as root, or where user namespaces are allowed (sysctls \
             user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)",
            self.own, self.user
        )
    }
}

/// Moves this process, which must have one thread, into an empty network of its own.
pub(super) fn isolate() -> Result<Privilege, Forbidden> {
    match unshare(Namespaces::NETWORK) {
        Ok(()) => Ok(Privilege::Own),
        Err(own) => match become_root_of_user_namespace() {
            Ok(()) => Ok(Privilege::UserNamespace),
            Err(user) => Err(Forbidden { own, user }),
        },
    }
}

/// A new user namespace in which our user and group are root's and no others exist, and a network in it.
fn become_root_of_user_namespace() -> io::Result<()> {
    let (user, group) = ids()?;
    unshare(Namespaces::USER.and(Namespaces::NETWORK))?;
    // Without it an unprivileged process may not map its group (user_namespaces(7)).
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}

/// The effective user and group of this process.
fn ids() -> io::Result<(u32, u32)> {
    let status = fs::read_to_string("/proc/self/status")?;
    let effective = |key| {
        let line = status.lines().find_map(|line: &str| line.strip_prefix(key));
        line.and_then(|ids| ids.split_whitespace().nth(1)?.parse().ok()).ok_or(io::ErrorKind::InvalidData)
    };
    Ok((effective("Uid:")?, effective("Gid:")?))
}

/// A network namespace, kept alive.
#[derive(Debug)]
pub(super) struct Namespace(File);

impl Namespace {
    /// The calling thread's.
    pub(super) fn current() -> io::Result<Self> {
        File::open("/proc/thread-self/ns/net").map(Self)
    }

    /// A new and empty one; the calling thread stays in `home`.
    pub(super) fn new(home: &Self) -> io::Result<Self> {
        unshare(Namespaces::NETWORK)?;
        let new = Self::current();
        enter(&home.0)?;
        new
    }

    /// Does `work` in this namespace. Sockets that it makes and processes that it starts stay in it; the
    /// calling thread goes back to `home`.
    pub(super) fn within<T>(&self, home: &Self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        enter(&self.0)?;
        let result = work();
        enter(&home.0)?;
        result
    }

    /// The namespace as a file, for moving an interface into it.
    pub(super) fn file(&self) -> &File {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_ids_are_known() {
        let (user, _) = ids().unwrap();
        assert_eq!(user, crate::sys::local::user());
    }
}
