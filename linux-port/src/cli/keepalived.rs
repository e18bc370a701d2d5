//! keepalived's command line, for a program that is called by its name: what OpenWrt's init script, systemd's unit and
//! containers pass to it means the same here. Options that have no meaning here are understood, and one sentence in
//! the log says why nothing follows from them.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser, ValueExt};
use log::LevelFilter;

use super::RunOptions;
use crate::logging::{Facility, Target};
use crate::plan::Reading;

/// Where keepalived looks for its file.
pub const CONFIG_PATH: &str = "/etc/keepalived/keepalived.conf";

/// What a program is to do that is called as `keepalived`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Be the agent.
    Run(Box<Options>),
    /// `--config-test`: say what is wrong with the file.
    Test {
        /// The file.
        config: PathBuf,
        /// Where the findings go; `None`: to stderr.
        log: Option<PathBuf>,
        /// How it is read.
        reading: Reading,
    },
    /// `--signum`: print the number of a signal; `None` if there is no such.
    SignalNumber(String, Option<u8>),
    /// `--version`.
    Version,
    /// `--help`.
    Help,
}

/// How to be the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// As for `steadfast run`.
    pub run: RunOptions,
    /// Not in the background.
    pub foreground: bool,
    /// The file for this process's number.
    pub pid: PathBuf,
    /// The same for whoever looks for the one that speaks VRRP.
    pub vrrp_pid: PathBuf,
    /// The same for whoever looks for the one that checks servers.
    pub checkers_pid: PathBuf,
    /// Where log lines go.
    pub log: Target,
    /// What is to be said about options that have no effect, a sentence each.
    pub remarks: Vec<String>,
}

/// The command line cannot be understood; one sentence says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misuse(String);

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; see `keepalived --help`", self.0)
    }
}

impl std::error::Error for Misuse {}

impl From<lexopt::Error> for Misuse {
    fn from(error: lexopt::Error) -> Self {
        Self(error.to_string())
    }
}

/// What the signals of keepalived are called, and their numbers.
const SIGNALS: [(&str, u8); 6] =
    [("STOP", 15), ("RELOAD", 1), ("DATA", 10), ("STATS", 12), ("STATS_CLEAR", 63), ("JSON", 36)];

const ONE_PROCESS: &str = "there is one process";
const HANDED_OVER: &str = "what this agent holds is always handed over or taken back";
const NO_CORE: &str = "core dumps are the system's to set up";

/// Options without a value that have no effect here, and why.
const WITHOUT_MEANING: [(Option<char>, &str, &str); 11] = [
    (Some('B'), "no_bfd", "there is no BFD"),
    (None, "all", ONE_PROCESS),
    (None, "flush-log-file", "every line is written at once"),
    (Some('X'), "release-vips", HANDED_OVER),
    (Some('V'), "dont-release-vrrp", HANDED_OVER),
    (Some('I'), "dont-release-ipvs", HANDED_OVER),
    (Some('R'), "dont-respawn", ONE_PROCESS),
    (Some('a'), "address-monitoring", "what happens to its addresses is always logged"),
    (Some('x'), "snmp", "there is no SNMP"),
    (Some('e'), "all-config", "a file that is missing is always an error"),
    (None, "no-mem-check", "nothing of the kind is built in"),
];

/// The same with a value, or, if that is what the last field says, perhaps with one.
const VALUE_WITHOUT_MEANING: [(Option<char>, &str, &str, bool); 5] = [
    (Some('b'), "bfd_pid", "there is no BFD", false),
    (Some('A'), "snmp-agent-socket", "there is no SNMP", false),
    (Some('u'), "umask", "every file has the mode that it needs", false),
    (Some('M'), "core-dump-pattern", NO_CORE, true),
    (None, "perf", "nothing of the kind is built in", true),
];

/// What the arguments ask for, the program's name not among them.
///
/// # Errors
/// An option that keepalived does not have, or a value that it would not take.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, Misuse> {
    let mut parser = Parser::from_args(arguments);
    let mut read = Read::default();
    while let Some(argument) = parser.next()? {
        // Options of the long form only are told from those with a letter by it.
        let (letter, name) = match &argument {
            Arg::Short(letter) => (Some(*letter), String::new()),
            Arg::Long(name) => (None, (*name).to_owned()),
            Arg::Value(word) => return Err(Misuse(format!("unexpected argument {word:?}"))),
        };
        let is = |short: char, long: &str| letter == Some(short) || name == long;
        if is('h', "help") {
            return Ok(Invocation::Help);
        } else if is('v', "version") {
            return Ok(Invocation::Version);
        } else if name == "signum" {
            let wanted = parser.value()?.string()?;
            let number = SIGNALS.iter().find(|(known, _)| *known == wanted).map(|(_, number)| *number);
            return Ok(Invocation::SignalNumber(wanted, number));
        } else if is('f', "use-file") {
            read.config = Some(parser.value()?.into());
        } else if is('P', "vrrp") {
            read.vrrp = true;
        } else if is('C', "check") {
            read.checkers = true;
        } else if is('l', "log-console") {
            read.console = true;
        } else if is('S', "log-facility") {
            read.facility = facility(&parser.value()?.string()?)?;
        } else if is('g', "log-file") {
            read.log_file = Some(parser.value()?.into());
        } else if is('G', "no-syslog") {
            read.no_syslog = true;
        } else if is('n', "dont-fork") {
            read.foreground = true;
        } else if is('D', "log-detail") || is('d', "dump-conf") || is('m', "core-dump") {
            // The first is how it is; what has been read, `check` and the status tell; and the last is the system's.
        } else if is('p', "pid") {
            read.pid = Some(parser.value()?.into());
        } else if is('r', "vrrp_pid") {
            read.vrrp_pid = Some(parser.value()?.into());
        } else if is('c', "checkers_pid") {
            read.checkers_pid = Some(parser.value()?.into());
        } else if is('s', "namespace") {
            read.namespace = Some(parser.value()?.string()?);
        } else if is('i', "config-id") {
            read.config_id = Some(parser.value()?.string()?);
        } else if is('t', "config-test") {
            // A value only where it cannot be meant otherwise: `-tFILE`, `--config-test=FILE`.
            read.test = Some(parser.optional_value().map(PathBuf::from));
        } else if is('T', "genhash") {
            return Err(Misuse("genhash is not part of this program; `digest` wants an MD5 sum".into()));
        } else if let Some(why) = without_meaning(letter, &name, &mut parser)? {
            read.remarks.push(why);
        } else {
            return Err(argument_error(letter, &name));
        }
    }
    Ok(read.finish())
}

/// Reads an option that has no effect; what is to be said about it.
fn without_meaning(letter: Option<char>, name: &str, parser: &mut Parser) -> Result<Option<String>, Misuse> {
    let is = |short: Option<char>, long: &str| letter.is_some() && letter == short || name == long;
    let shown = letter.map_or_else(|| format!("--{name}"), |letter| format!("-{letter}"));
    let said = |why: &str| Ok(Some(format!("the option {shown} has no effect: {why}")));
    if let Some((.., why)) = WITHOUT_MEANING.iter().find(|(short, long, _)| is(*short, long)) {
        return said(why);
    }
    let Some((.., why, optional)) = VALUE_WITHOUT_MEANING.iter().find(|(short, long, ..)| is(*short, long)) else {
        return if name == "debug" {
            parser.optional_value();
            said("nothing of the kind is built in")
        } else {
            Ok(None)
        };
    };
    if *optional {
        parser.optional_value();
    } else {
        parser.value()?;
    }
    said(why)
}

fn argument_error(letter: Option<char>, name: &str) -> Misuse {
    Misuse(letter.map_or_else(|| format!("invalid option '--{name}'"), |letter| format!("invalid option '-{letter}'")))
}

/// The value of `--log-facility`.
fn facility(text: &str) -> Result<Facility, Misuse> {
    let number = text.strip_prefix("local").unwrap_or(text);
    match (text, number.parse::<u8>()) {
        ("user", _) => Ok(Facility::USER),
        ("daemon", _) => Ok(Facility::DAEMON),
        (_, Ok(number)) if number < 8 => Ok(Facility::local(number)),
        _ => Err(Misuse(format!("{text:?} is no log facility: use 0 to 7, local0 to local7, user or daemon"))),
    }
}

/// The command line as it is read.
#[derive(Default)]
struct Read {
    config: Option<PathBuf>,
    vrrp: bool,
    checkers: bool,
    console: bool,
    facility: Facility,
    log_file: Option<PathBuf>,
    no_syslog: bool,
    foreground: bool,
    pid: Option<PathBuf>,
    vrrp_pid: Option<PathBuf>,
    checkers_pid: Option<PathBuf>,
    namespace: Option<String>,
    config_id: Option<String>,
    test: Option<Option<PathBuf>>,
    remarks: Vec<String>,
}

impl Read {
    fn finish(self) -> Invocation {
        // Both, or neither, is everything.
        let reading = Reading {
            config_id: self.config_id,
            namespace: self.namespace,
            without_vrrp: self.checkers && !self.vrrp,
            without_lvs: self.vrrp && !self.checkers,
        };
        let config = self.config.unwrap_or_else(|| CONFIG_PATH.into());
        if let Some(log) = self.test {
            return Invocation::Test { config, log, reading };
        }
        let log = match self.log_file {
            Some(file) => Target::File(file),
            None if self.console || self.no_syslog => Target::Stderr,
            None => Target::Syslog(self.facility),
        };
        let directory = reading.namespace.as_ref().map_or_else(
            || PathBuf::from("/run"),
            |namespace| PathBuf::from(format!("/run/keepalived/keepalived_{namespace}")),
        );
        let pid = self.pid.unwrap_or_else(|| directory.join("keepalived.pid"));
        let control = control(&pid, reading.namespace.as_deref());
        Invocation::Run(Box::new(Options {
            run: RunOptions { config: Some(config), control, metrics: None, log_level: LevelFilter::Info, reading },
            foreground: self.foreground,
            vrrp_pid: self.vrrp_pid.unwrap_or_else(|| directory.join("keepalived_vrrp.pid")),
            checkers_pid: self.checkers_pid.unwrap_or_else(|| directory.join("keepalived_checkers.pid")),
            pid,
            log,
            remarks: self.remarks,
        }))
    }
}

/// The control socket of an agent with this pid file: the usual one, or with another file one of its name, since
/// several agents are told apart by their pid files.
fn control(pid: &Path, namespace: Option<&str>) -> PathBuf {
    let usual = [Path::new("/run/keepalived.pid"), Path::new("/var/run/keepalived.pid")].contains(&pid);
    match (namespace, pid.file_stem()) {
        (Some(namespace), _) => format!("/run/steadfast/keepalived_{namespace}.sock").into(),
        (None, Some(stem)) if !usual => {
            let mut name = stem.to_owned();
            name.push(".sock");
            Path::new(crate::control::DEFAULT_PATH).with_file_name(name)
        }
        _ => crate::control::DEFAULT_PATH.into(),
    }
}

/// The text of `--version`: whoever asks for keepalived's version reads one, of the keepalived whose file this is.
pub const VERSION: &str = concat!("Steadfast ", env!("CARGO_PKG_VERSION"), ", in the place of Keepalived v2.4.3\n");

/// The text of `--help`.
pub const HELP: &str = "\
Usage: keepalived [OPTION]...      (this is Steadfast, called by keepalived's name)

  -f, --use-file=FILE       The configuration file; default: /etc/keepalived/keepalived.conf
  -P, --vrrp                Only VRRP
  -C, --check               Only virtual servers and their checks
  -n, --dont-fork           Stay in the foreground
  -l, --log-console         Log to stderr
  -S, --log-facility=F      The facility for syslog: 0 to 7, local0 to local7, user, daemon
  -g, --log-file=FILE       Log to this file
  -G, --no-syslog           Do not log to syslog
  -p, --pid=FILE            The pid file; default: /run/keepalived.pid. With another one the
                            control socket is /run/steadfast/NAME.sock
  -r, --vrrp_pid=FILE       The same number, where the VRRP process is looked for
  -c, --checkers_pid=FILE   The same number, where the checker process is looked for
  -s, --namespace=NAME      Run in this network namespace
  -i, --config-id=ID        Lines that begin with @ID are read, those with @^ID are not;
                            default: the host name up to its first dot
  -t, --config-test[=FILE]  Check the configuration; the findings go to stderr or FILE.
                            Exit status: 0 clean, 4 cannot be run, 5 warnings or errors,
                            6 scripts without enable_script_security
      --signum=NAME         Print the number of a signal: STOP, RELOAD, DATA, STATS,
                            STATS_CLEAR, JSON
  -v, --version             Print the version
  -h, --help                Print this help

keepalived's other options are understood and have no effect. What else there is to know
of a running agent: `steadfast --help`.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Invocation, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    fn options(line: &str) -> Options {
        match parsed(line) {
            Ok(Invocation::Run(options)) => *options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn without_options_it_goes_into_the_background_and_logs_to_syslog() {
        let options = options("");
        assert!(!options.foreground);
        assert_eq!(options.run.config.as_deref(), Some(Path::new("/etc/keepalived/keepalived.conf")));
        assert_eq!(options.run.control, Path::new("/run/steadfast/control.sock"));
        assert_eq!(options.log, Target::Syslog(Facility::DAEMON));
        assert_eq!((options.pid, options.remarks), ("/run/keepalived.pid".into(), Vec::new()));
    }

    #[test]
    fn options_may_be_grouped_long_or_followed_by_their_value() {
        for line in [
            "-nlDdf /a -p /x/wan.pid",
            "-n -l -D -f/a --pid=/x/wan.pid",
            "--dont-fork --log-console --use-file=/a --pid /x/wan.pid",
            "--dont-fork --log-console --use-file /a -p/x/wan.pid",
        ] {
            let options = options(line);
            assert!(options.foreground, "{line}");
            assert_eq!(options.run.config.as_deref(), Some(Path::new("/a")), "{line}");
            assert_eq!((&options.log, &*options.pid), (&Target::Stderr, Path::new("/x/wan.pid")), "{line}");
            assert_eq!(options.run.control, Path::new("/run/steadfast/wan.sock"), "{line}");
        }
    }

    #[test]
    fn subsystems_are_chosen_by_letter() {
        let chosen = |line| {
            let reading = options(line).run.reading;
            (!reading.without_vrrp, !reading.without_lvs)
        };
        assert_eq!(
            [chosen(""), chosen("-P"), chosen("-C"), chosen("-PC")],
            [(true, true), (true, false), (false, true), (true, true)]
        );
    }

    #[test]
    fn a_test_takes_a_file_only_where_it_is_joined() {
        let test = |line| match parsed(line) {
            Ok(Invocation::Test { config, log, .. }) => (config, log),
            other => panic!("{other:?}"),
        };
        assert_eq!(test("-t -f /a"), ("/a".into(), None));
        assert_eq!(test("--config-test=/log -f /a"), ("/a".into(), Some("/log".into())));
        assert_eq!(test("-t/log"), (CONFIG_PATH.into(), Some("/log".into())));
    }

    #[test]
    fn what_has_no_meaning_here_is_said_once_each() {
        let options = options("-nR -m --snmp -u 22 --core-dump-pattern=x -M -b /x --debug=DvE");
        assert_eq!(options.remarks[0], "the option -R has no effect: there is one process");
        assert_eq!(options.remarks.len(), 7, "{:?}", options.remarks);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for (line, sentence) in [
            ("-Z", "invalid option '-Z'"),
            ("--nonsense", "invalid option '--nonsense'"),
            ("-f", "missing argument for option '-f'"),
            ("stray", "unexpected argument \"stray\""),
            ("-S 8", "\"8\" is no log facility: use 0 to 7, local0 to local7, user or daemon"),
        ] {
            assert_eq!(parsed(line), Err(format!("{sentence}; see `keepalived --help`")));
        }
    }

    #[test]
    fn signals_have_keepaliveds_numbers() {
        assert_eq!(parsed("--signum=JSON"), Ok(Invocation::SignalNumber("JSON".into(), Some(36))));
        assert_eq!(parsed("--signum STOP"), Ok(Invocation::SignalNumber("STOP".into(), Some(15))));
        assert_eq!(parsed("--signum=DANCE"), Ok(Invocation::SignalNumber("DANCE".into(), None)));
    }
}
