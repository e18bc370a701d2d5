//! Starting programs that the agent waits for by descriptor (pidfd, kernel 5.3), each the leader of a process group
//! of its own, so that it can be ended with everything that it has started. What is run, for how long and as whom is
//! decided in [`crate::process`].

use std::ffi::{CString, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::ptr::null_mut;

use super::urgency::{Bounds, Limit};

/// Where programs are looked for when the agent itself was not told.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What whoever started the agent tells it alone (see [`crate::supervisor`]): a program must not speak in its place.
const OURS: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// A program that was started. Dropped before it has been waited for, it runs on, and stays a zombie in the end.
#[derive(Debug)]
pub struct Child {
    pid: libc::pid_t,
    pidfd: OwnedFd,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Status(u8),
    /// By this signal.
    Signal(i32),
}

impl Child {
    /// Starts `words` (the program and its arguments, at least one; no shell) with nothing on its standard streams,
    /// no signal blocked, our environment but for what is ours alone, and a `PATH` in any case; as `user` and group if
    /// that is another than ours.
    ///
    /// As our own user it is started without copying the agent's memory, which would hold other threads up.
    ///
    /// # Errors
    /// It cannot be run, or the kernel has no pidfds.
    pub fn spawn(words: &[String], user: Option<(u32, u32)>) -> io::Result<Self> {
        // SAFETY: both have no preconditions and cannot fail.
        let own = unsafe { (libc::geteuid(), libc::getegid()) };
        let pid = match user.filter(|user| *user != own) {
            None => spawn_as_self(words)?,
            Some((user, group)) => spawn_as(words, user, group)?,
        };
        match open_pidfd(pid) {
            Ok(pidfd) => Ok(Self { pid, pidfd }),
            Err(error) => {
                // SAFETY: both take integers, and a null pointer for the status is allowed; the process is our child
                // and has not been waited for, so the number is still its own.
                unsafe {
                    libc::kill(-pid, libc::SIGKILL);
                    libc::kill(pid, libc::SIGKILL);
                    libc::waitpid(pid, null_mut(), 0);
                }
                Err(error)
            }
        }
    }

    /// How it ended, once it has; never waits. After `Some` there is nothing left of it.
    pub fn try_wait(&mut self) -> Option<Exit> {
        let mut status = 0;
        // SAFETY: `status` is valid for writing during the call.
        let pid = unsafe { libc::waitpid(self.pid, &raw mut status, libc::WNOHANG) };
        match pid {
            0 => None,
            pid if pid < 0 => match io::Error::last_os_error().kind() {
                io::ErrorKind::Interrupted => None,
                // Somebody else has waited for it (SIGCHLD is ignored): it is gone, and nobody knows how.
                _ => Some(Exit::Signal(0)),
            },
            _ if libc::WIFEXITED(status) => {
                Some(Exit::Status(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX)))
            }
            _ => Some(Exit::Signal(libc::WTERMSIG(status))),
        }
    }

    /// Gives it another limit than ours.
    ///
    /// # Errors
    /// Of the system.
    pub fn set_limit(&self, limit: Limit, bounds: Bounds) -> io::Result<()> {
        limit.set_for(self.pid, bounds)
    }

    /// It and all that it has started.
    pub fn group(&self) -> Group {
        Group(self.pid)
    }
}

/// The group of processes that a program leads; as long as the program has not been waited for, its number is nobody
/// else's.
#[derive(Clone, Copy, Debug)]
pub struct Group(libc::pid_t);

impl Group {
    /// Asks all in it to end (SIGTERM).
    pub fn terminate(self) {
        self.signal(libc::SIGTERM);
    }

    /// Ends all in it (SIGKILL).
    pub fn kill(self) {
        self.signal(libc::SIGKILL);
    }

    fn signal(self, signal: libc::c_int) {
        // SAFETY: kill takes two integers. That nobody is left is no error.
        unsafe { libc::kill(-self.0, signal) };
    }
}

impl AsFd for Child {
    /// Becomes readable when the program ends.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

fn open_pidfd(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and touches no memory. It is closed on exec.
    let fd = super::check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as libc::c_int)?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// By posix_spawn, which shares the agent's memory until the program runs.
fn spawn_as_self(words: &[String]) -> io::Result<libc::pid_t> {
    let string = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let words = words.iter().map(|word| string(word.clone().into_bytes())).collect::<io::Result<Vec<_>>>()?;
    let program = words.first().ok_or(io::ErrorKind::InvalidInput)?;
    let variable = |(name, value): (OsString, OsString)| {
        string([name.as_encoded_bytes(), b"=", value.as_encoded_bytes()].concat())
    };
    let theirs = std::env::vars_os().filter(|(name, _)| name.to_str().is_none_or(|name| !OURS.contains(&name)));
    let variables = theirs.chain(missing_path()).map(variable).collect::<io::Result<Vec<_>>>()?;
    // The kernel and the C library only read them; the types say otherwise.
    let pointers = |strings: &[CString]| -> Vec<*mut libc::c_char> {
        strings.iter().map(|string| string.as_ptr().cast_mut()).chain([null_mut()]).collect()
    };
    let (arguments, environment) = (pointers(&words), pointers(&variables));
    let attributes = Attributes::new()?;
    let actions = Actions::new()?;
    let mut pid = 0;
    // SAFETY: all pointers are to strings, arrays that end with a null pointer, and initialised objects, which
    // outlive the call; `pid` is valid for writing.
    done(unsafe {
        libc::posix_spawnp(
            &raw mut pid,
            program.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            arguments.as_ptr(),
            environment.as_ptr(),
        )
    })?;
    Ok(pid)
}

/// By fork and exec: the user can only be changed in between.
fn spawn_as(words: &[String], user: u32, group: u32) -> io::Result<libc::pid_t> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments).envs(missing_path()).process_group(0).uid(user).gid(group);
    for name in OURS {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let unblock = || {
        let none = no_signals();
        // SAFETY: the set is initialised; a null pointer for the old mask is allowed.
        match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, null_mut()) } {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    };
    // SAFETY: between fork and exec the closure makes one system call, which is async-signal-safe, and allocates
    // nothing (an error of the system is a number).
    let child = unsafe { command.pre_exec(unblock) }.spawn()?;
    libc::pid_t::try_from(child.id()).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// `PATH`, if the agent itself was not told where programs are.
fn missing_path() -> Option<(OsString, OsString)> {
    std::env::var_os("PATH").is_none().then(|| ("PATH".into(), DEFAULT_PATH.into()))
}

fn no_signals() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set; it fails for no valid pointer.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

/// The result of a function that returns the error's number.
fn done(code: libc::c_int) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// A group of its own, no signal blocked, and those that we ignore as they are by default.
struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new() -> io::Result<Self> {
        let mut attributes = MaybeUninit::<libc::posix_spawnattr_t>::zeroed();
        // SAFETY: the call initialises the object.
        done(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: it was initialised by the call above.
        let mut attributes = Self(unsafe { attributes.assume_init() });
        let mask = no_signals();
        let mut defaults = no_signals();
        let flags = libc::POSIX_SPAWN_SETPGROUP | libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        let all = &raw mut attributes.0;
        // SAFETY: the attributes and both sets are initialised and outlive the calls; the signal exists.
        unsafe {
            libc::sigaddset(&raw mut defaults, libc::SIGPIPE);
            done(libc::posix_spawnattr_setpgroup(all, 0))?;
            done(libc::posix_spawnattr_setsigmask(all, &raw const mask))?;
            done(libc::posix_spawnattr_setsigdefault(all, &raw const defaults))?;
            done(libc::posix_spawnattr_setflags(all, flags as libc::c_short))?;
        }
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: the object is initialised, and nobody uses it any more.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

/// `/dev/null` on all three standard streams.
struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new() -> io::Result<Self> {
        let mut actions = MaybeUninit::<libc::posix_spawn_file_actions_t>::zeroed();
        // SAFETY: the call initialises the object.
        done(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: it was initialised by the call above.
        let mut actions = Self(unsafe { actions.assume_init() });
        for (stream, flags) in [(0, libc::O_RDONLY), (1, libc::O_WRONLY), (2, libc::O_WRONLY)] {
            let all = &raw mut actions.0;
            // SAFETY: the object is initialised; the path is a string, which is copied.
            done(unsafe { libc::posix_spawn_file_actions_addopen(all, stream, c"/dev/null".as_ptr(), flags, 0) })?;
        }
        Ok(actions)
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: the object is initialised, and nobody uses it any more.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::super::poll::PollSet;
    use super::*;

    fn shell(text: &str, user: Option<(u32, u32)>) -> Child {
        Child::spawn(&["/bin/sh".into(), "-c".into(), text.into()], user).unwrap()
    }

    fn wait(child: &mut Child) -> Exit {
        let mut set = PollSet::new();
        set.add(child.as_fd());
        set.wait(None).unwrap();
        child.try_wait().unwrap()
    }

    #[test]
    fn the_exit_status_comes_back() {
        assert_eq!(wait(&mut shell("exit 7", None)), Exit::Status(7));
        assert_eq!(wait(&mut shell("kill -9 $$", None)), Exit::Signal(9));
        let mut sleeping = shell("sleep 60", None);
        assert_eq!(sleeping.try_wait(), None);
        sleeping.group().kill();
        assert_eq!(wait(&mut sleeping), Exit::Signal(9));
    }

    #[test]
    fn what_cannot_be_run_is_an_error() {
        for words in [vec![], vec!["/no/such/program".to_owned()], vec!["/dev/null".into()], vec!["a\0b".into()]] {
            assert!(Child::spawn(&words, None).is_err(), "{words:?}");
        }
    }

    #[test]
    fn it_starts_clean() {
        // Leader of its group, our environment, nothing on its streams, nothing blocked.
        let test = r#"
            set -- $(cat /proc/$$/stat); [ "$5" = $$ ] || exit 1
            [ -n "$PATH" ] && [ "$CARGO_PKG_NAME" = steadfast-linux ] || exit 2
            for stream in 0 1 2; do [ "$(readlink /proc/$$/fd/$stream)" = /dev/null ] || exit 3; done
            grep -q '^SigBlk:.0*$' /proc/self/status || exit 4
            exit 0"#;
        // In a thread of its own: the mask of the test harness stays as it is.
        let exits = std::thread::spawn(move || {
            let _signals = super::super::signal::Signals::listen(&[super::super::signal::Signal::Terminate]).unwrap();
            let other = (super::super::local::user() == 0).then_some((65_534, 65_534));
            [wait(&mut shell(test, None)), wait(&mut shell(test, other))]
        });
        assert_eq!(exits.join().unwrap(), [Exit::Status(0); 2]);
    }

    #[test]
    fn it_runs_as_whom_it_was_told() {
        if super::super::local::user() != 0 {
            return;
        }
        let test = r#"[ "$(id -u) $(id -g) $(id -G)" = "65534 65534 65534" ]"#;
        assert_eq!(wait(&mut shell(test, Some((65_534, 65_534)))), Exit::Status(0));
    }

    #[test]
    fn a_group_ends_as_a_whole() {
        use std::io::Read;
        // The grandchild holds the write end of a fifo open: its end is the fifo's.
        let path = std::env::temp_dir().join(format!("steadfast-spawn-{}", std::process::id()));
        let made = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let mut child = shell(&format!("(echo there; exec sleep 60) >{} & wait", path.display()), None);
        let mut fifo = std::fs::File::open(&path).unwrap();
        fifo.read_exact(&mut [0; 6]).unwrap();
        child.group().terminate();
        assert_eq!(wait(&mut child), Exit::Signal(libc::SIGTERM));
        assert_eq!(fifo.read(&mut [0]).unwrap(), 0);
        std::fs::remove_file(path).unwrap();
    }
}
