//! The command line: words in, a [`Command`] out, and the help texts. Reading it touches nothing but the
//! arguments; doing what it says is in `main.rs` and the modules that it calls.

mod help;
pub mod keepalived;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};
use log::LevelFilter;

use crate::control;
use crate::control::command::{Action, ServerCommand};
use crate::lvs::plan::RealServerRole;
use crate::metrics::Endpoint;
use crate::plan::Reading;

/// The configuration files that are looked for, in this order, without `--config`.
pub const CONFIG_PATHS: [&str; 2] = ["/etc/steadfast/steadfast.conf", "/etc/keepalived/keepalived.conf"];

/// The exit status of a command line that cannot be understood (EX_USAGE of sysexits.h), which none of the
/// commands uses for anything else.
pub const EXIT_USAGE: u8 = 64;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `run`: be the agent.
    Run(RunOptions),
    /// `check`: say what is wrong with a configuration file.
    Check(CheckOptions),
    /// `status`: show a running agent's state.
    Status(StatusOptions),
    /// `counters`: show a running agent's counters.
    Counters {
        /// Its control socket.
        control: PathBuf,
        /// The Virtual Router whose they are; `None`: all there are.
        router: Option<String>,
    },
    /// `explain`: why a Virtual Router of a running agent is as it is.
    Explain {
        /// Its control socket.
        control: PathBuf,
        /// The name of the Virtual Router.
        router: String,
    },
    /// `reload`: have a running agent read its file again.
    Reload {
        /// Its control socket.
        control: PathBuf,
    },
    /// `drain`: have a Virtual Router of a running agent hand over and stay out.
    Drain(MaintenanceOptions),
    /// `resume`: let it take part again.
    Resume(MaintenanceOptions),
    /// `server`: drain, enable or weigh a real server of a running agent.
    Server(ServerOptions),
    /// `real-server`: hold virtual addresses without telling the LAN.
    RealServer(RealServerOptions),
    /// `keywords`: all keywords, as a table.
    Keywords,
    /// `demo`: two agents on a LAN of their own.
    Demo,
    /// `--help`, anywhere: print this.
    Help(&'static str),
    /// `--version`.
    Version,
}

/// The options of `run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// The configuration file; `None`: see [`find_config`].
    pub config: Option<PathBuf>,
    /// Where the control socket shall be.
    pub control: PathBuf,
    /// Where metrics are to be had, if anywhere.
    pub metrics: Option<Endpoint>,
    /// The least important lines that are logged.
    pub log_level: LevelFilter,
    /// How the file is read.
    pub reading: Reading,
}

/// The options of `check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckOptions {
    /// The configuration file; `None`: see [`find_config`].
    pub config: Option<PathBuf>,
    /// How it is read.
    pub reading: Reading,
    /// Warnings count as errors.
    pub strict: bool,
    /// Findings as JSON.
    pub json: bool,
    /// Look at the running machine too.
    pub live: bool,
}

/// The options of `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusOptions {
    /// The agent's control socket.
    pub control: PathBuf,
    /// The document as JSON instead of tables.
    pub json: bool,
}

/// The options of `drain` and `resume`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintenanceOptions {
    /// The agent's control socket.
    pub control: PathBuf,
    /// The name of the Virtual Router; `None` for `--all`.
    pub router: Option<String>,
}

/// The options of `server`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// The agent's control socket.
    pub control: PathBuf,
    /// What is asked.
    pub command: ServerCommand,
    /// `drain --wait`: until the last connection is gone.
    pub wait: bool,
    /// `--timeout`: but no longer than this.
    pub timeout: Option<Duration>,
}

/// The options of `real-server`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealServerOptions {
    /// The virtual addresses, none with `undo`, and the interface that holds them.
    pub role: RealServerRole,
    /// The directory of the notes.
    pub state: PathBuf,
    /// Take back what a predecessor has left, and nothing else.
    pub undo: bool,
}

/// The command line cannot be understood; one sentence says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; see `steadfast --help`", self.0)
    }
}

impl std::error::Error for UsageError {}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        Self(error.to_string())
    }
}

/// The command of these arguments, the program's name not among them.
///
/// # Errors
/// No command, an unknown one, or an option that it does not have.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut parser = Parser::from_args(arguments);
    let Some(first) = parser.next()? else {
        return Err(UsageError("no command is given".into()));
    };
    match first {
        Arg::Value(word) => match word.to_str() {
            Some("run") => run(parser),
            Some("check") => check(parser),
            Some("status") => status(parser),
            Some("counters") => counters(parser),
            Some("explain") => explain(parser),
            Some("reload") => reload(parser),
            Some("drain") => Ok(maintenance(parser, "drain")?.map_or(Command::Help(help::DRAIN), Command::Drain)),
            Some("resume") => Ok(maintenance(parser, "resume")?.map_or(Command::Help(help::RESUME), Command::Resume)),
            Some("server") => server(parser),
            Some("real-server") => real_server(parser),
            Some("keywords") => keywords(parser),
            Some("demo") => demo(parser),
            Some("help") => Ok(Command::Help(help::MAIN)),
            _ => Err(UsageError(format!("there is no command {word:?}"))),
        },
        Arg::Short('h') | Arg::Long("help") => Ok(Command::Help(help::MAIN)),
        Arg::Short('V') | Arg::Long("version") => Ok(Command::Version),
        other => Err(other.unexpected().into()),
    }
}

fn run(mut parser: Parser) -> Result<Command, UsageError> {
    let mut options = RunOptions {
        config: None,
        control: control::DEFAULT_PATH.into(),
        metrics: None,
        log_level: LevelFilter::Info,
        reading: Reading::default(),
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('c') | Arg::Long("config") => options.config = Some(parser.value()?.into()),
            Arg::Long("config-id") => options.reading.config_id = Some(parser.value()?.string()?),
            Arg::Long("control") => options.control = parser.value()?.into(),
            Arg::Long("metrics") => options.metrics = Some(endpoint(&parser.value()?)?),
            Arg::Long("log-level") => options.log_level = level(&parser.value()?)?,
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help(help::RUN)),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Run(options))
}

fn check(mut parser: Parser) -> Result<Command, UsageError> {
    let mut options =
        CheckOptions { config: None, reading: Reading::default(), strict: false, json: false, live: false };
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('c') | Arg::Long("config") => options.config = Some(parser.value()?.into()),
            Arg::Long("config-id") => options.reading.config_id = Some(parser.value()?.string()?),
            Arg::Value(file) if options.config.is_none() => options.config = Some(file.into()),
            Arg::Long("strict") => options.strict = true,
            Arg::Long("live") => options.live = true,
            Arg::Long("json") => options.json = true,
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help(help::CHECK)),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Check(options))
}

fn status(mut parser: Parser) -> Result<Command, UsageError> {
    let mut options = StatusOptions { control: control::DEFAULT_PATH.into(), json: false };
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("control") => options.control = parser.value()?.into(),
            Arg::Long("json") => options.json = true,
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help(help::STATUS)),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Status(options))
}

fn counters(parser: Parser) -> Result<Command, UsageError> {
    match router(parser)? {
        None => Ok(Command::Help(help::COUNTERS)),
        Some((control, router)) => Ok(Command::Counters { control, router }),
    }
}

fn explain(parser: Parser) -> Result<Command, UsageError> {
    match router(parser)? {
        None => Ok(Command::Help(help::EXPLAIN)),
        Some((control, Some(router))) => Ok(Command::Explain { control, router }),
        Some((_, None)) => Err(UsageError("name the Virtual Router: `explain ROUTER`".into())),
    }
}

/// The control socket and the Virtual Router that is named, if one is; `None` if help is asked for.
fn router(mut parser: Parser) -> Result<Option<(PathBuf, Option<String>)>, UsageError> {
    let (mut control, mut router) = (control::DEFAULT_PATH.into(), None);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Value(name) if router.is_none() => router = Some(router_name(name)?),
            Arg::Long("control") => control = parser.value()?.into(),
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some((control, router)))
}

/// The name of a Virtual Router; a request is one line.
fn router_name(word: OsString) -> Result<String, UsageError> {
    let name = word.string()?;
    if name.is_empty() || name.contains(char::is_control) {
        return Err(UsageError(format!("{name:?} is no name of a Virtual Router")));
    }
    Ok(name)
}

/// A Virtual Router or all of them; `None` if help is asked for.
fn maintenance(mut parser: Parser, command: &str) -> Result<Option<MaintenanceOptions>, UsageError> {
    let (mut control, mut router, mut all) = (control::DEFAULT_PATH.into(), None, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Value(name) if router.is_none() => router = Some(router_name(name)?),
            Arg::Long("all") => all = true,
            Arg::Long("control") => control = parser.value()?.into(),
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    if all == router.is_some() {
        return Err(UsageError(format!("use `{command} ROUTER` or `{command} --all`")));
    }
    Ok(Some(MaintenanceOptions { control, router }))
}

fn reload(mut parser: Parser) -> Result<Command, UsageError> {
    let mut control = control::DEFAULT_PATH.into();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("control") => control = parser.value()?.into(),
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help(help::RELOAD)),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Reload { control })
}

fn server(mut parser: Parser) -> Result<Command, UsageError> {
    let (mut words, mut control) = (Vec::new(), control::DEFAULT_PATH.into());
    let (mut wait, mut timeout) = (false, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Value(word) => words.push(word.string()?),
            Arg::Long("control") => control = parser.value()?.into(),
            Arg::Long("wait") => wait = true,
            Arg::Long("timeout") => timeout = Some(Duration::from_secs(parser.value()?.parse()?)),
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help(help::SERVER)),
            other => return Err(other.unexpected().into()),
        }
    }
    let (action, service, server) = match <[String; 3]>::try_from(words.clone()) {
        Ok([action, service, server]) if action == "drain" => (Action::Drain, service, server),
        Ok([action, service, server]) if action == "enable" => (Action::Enable, service, server),
        _ => match <[String; 4]>::try_from(words) {
            Ok([action, service, server, weight]) if action == "weight" => {
                let weight = weight.parse().map_err(|_| UsageError(format!("{weight:?} is no weight")))?;
                (Action::Weight(weight), service, server)
            }
            _ => {
                let what = "use `server drain SERVICE SERVER`, `server enable SERVICE SERVER` or \
                            `server weight SERVICE SERVER N`";
                return Err(UsageError(what.into()));
            }
        },
    };
    if wait && action != Action::Drain {
        return Err(UsageError("only `server drain` can --wait".into()));
    }
    if timeout.is_some() && !wait {
        return Err(UsageError("--timeout is for --wait".into()));
    }
    Ok(Command::Server(ServerOptions { control, command: ServerCommand { action, service, server }, wait, timeout }))
}

fn real_server(mut parser: Parser) -> Result<Command, UsageError> {
    let mut options = RealServerOptions {
        role: RealServerRole { interface: "lo".into(), addresses: Vec::new() },
        state: "/run/steadfast".into(),
        undo: false,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("vip") => {
                let address = parser.value()?.string()?;
                let parsed = address.parse().map_err(|_| UsageError(format!("{address:?} is no IP address")))?;
                if !options.role.addresses.contains(&parsed) {
                    options.role.addresses.push(parsed);
                }
            }
            Arg::Long("interface") => options.role.interface = parser.value()?.string()?,
            Arg::Long("state") => options.state = parser.value()?.into(),
            Arg::Long("undo") => options.undo = true,
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help(help::REAL_SERVER)),
            other => return Err(other.unexpected().into()),
        }
    }
    if options.undo != options.role.addresses.is_empty() {
        return Err(UsageError("name virtual addresses with --vip ADDRESS, or --undo".into()));
    }
    Ok(Command::RealServer(options))
}

fn keywords(mut parser: Parser) -> Result<Command, UsageError> {
    while let Some(argument) = parser.next()? {
        match argument {
            // The only form there is.
            Arg::Long("markdown") => {}
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help(help::KEYWORDS)),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Keywords)
}

fn demo(mut parser: Parser) -> Result<Command, UsageError> {
    match parser.next()? {
        None => Ok(Command::Demo),
        Some(Arg::Short('h') | Arg::Long("help")) => Ok(Command::Help(help::DEMO)),
        Some(other) => Err(other.unexpected().into()),
    }
}

fn endpoint(word: &OsString) -> Result<Endpoint, UsageError> {
    let word = word.clone().string()?;
    word.parse().map_err(|problem| UsageError(format!("{word:?} is no place for metrics: {problem}")))
}

fn level(word: &OsString) -> Result<LevelFilter, UsageError> {
    let level = word.clone().string()?;
    level.parse().map_err(|_| UsageError(format!("{level:?} is no log level: use error, warn, info, debug or trace")))
}

/// The configuration file to use: the given one, else the first of [`CONFIG_PATHS`] that exists.
///
/// # Errors
/// None is given and none exists; the sentence says so.
pub fn find_config(given: Option<&Path>) -> Result<PathBuf, String> {
    let exists = || CONFIG_PATHS.iter().map(PathBuf::from).find(|path| path.exists());
    given.map(Path::to_owned).or_else(exists).ok_or_else(|| {
        format!(
            "no configuration: neither {} nor {} exists; name one with --config FILE",
            CONFIG_PATHS[0], CONFIG_PATHS[1]
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn run_has_defaults() {
        let options = RunOptions {
            config: None,
            control: "/run/steadfast/control.sock".into(),
            metrics: None,
            log_level: LevelFilter::Info,
            reading: Reading::default(),
        };
        assert_eq!(parsed("run"), Ok(Command::Run(options)));
    }

    #[test]
    fn options_are_taken_in_every_usual_spelling() {
        let reading = Reading { config_id: Some("main".into()), ..Reading::default() };
        let options = RunOptions {
            config: Some("/a".into()),
            control: "/b".into(),
            metrics: Some(Endpoint::Unix("/m".into())),
            log_level: LevelFilter::Debug,
            reading: reading.clone(),
        };
        for line in [
            "run --config /a --control /b --metrics unix:/m --log-level debug --config-id main",
            "run -c /a --control=/b --config-id=main --log-level=DEBUG --metrics=unix:/m",
            "run --metrics unix:/m --config-id main -c/a --log-level debug --control /b",
        ] {
            assert_eq!(parsed(line), Ok(Command::Run(options.clone())), "{line}");
        }
        let options = CheckOptions { config: Some("/a".into()), reading, strict: true, json: true, live: true };
        let line = "check --json --live --strict --config=/a --config-id main";
        assert_eq!(parsed(line), Ok(Command::Check(options.clone())));
        assert_eq!(parsed("check /a --json --live --strict --config-id=main"), Ok(Command::Check(options)));
        let options = StatusOptions { control: "/b".into(), json: true };
        assert_eq!(parsed("status --json --control /b"), Ok(Command::Status(options)));
        let counters = |router: Option<&str>| {
            let router = router.map(String::from);
            Ok(Command::Counters { control: "/b".into(), router })
        };
        assert_eq!(parsed("counters --control /b"), counters(None));
        assert_eq!(parsed("counters gw --control=/b"), counters(Some("gw")));
        assert_eq!(
            parsed("explain --control /b gw"),
            Ok(Command::Explain { control: "/b".into(), router: "gw".into() })
        );
        assert_eq!(parsed("reload --control /b"), Ok(Command::Reload { control: "/b".into() }));
        let options =
            |router: Option<&str>| MaintenanceOptions { control: "/b".into(), router: router.map(String::from) };
        assert_eq!(parsed("drain gw --control /b"), Ok(Command::Drain(options(Some("gw")))));
        assert_eq!(parsed("resume --control=/b --all"), Ok(Command::Resume(options(None))));
        let options = |action, wait, timeout| {
            let command = ServerCommand { action, service: "fwmark3".into(), server: "10.0.0.1".into() };
            Ok(Command::Server(ServerOptions { control: "/b".into(), command, wait, timeout }))
        };
        let line = "server drain fwmark3 10.0.0.1 --wait --timeout 5 --control /b";
        assert_eq!(parsed(line), options(Action::Drain, true, Some(Duration::from_secs(5))));
        assert_eq!(parsed("server --control=/b enable fwmark3 10.0.0.1"), options(Action::Enable, false, None));
        assert_eq!(parsed("server weight --control /b fwmark3 10.0.0.1 7"), options(Action::Weight(7), false, None));
        let options = RealServerOptions {
            role: RealServerRole {
                interface: "lo".into(),
                addresses: vec![[192, 0, 2, 1].into(), "2001:db8::1".parse().unwrap()],
            },
            state: "/c".into(),
            undo: false,
        };
        let line = "real-server --vip 192.0.2.1 --vip=2001:db8::1 --vip 192.0.2.1 --state /c";
        assert_eq!(parsed(line), Ok(Command::RealServer(options)));
        assert_eq!(parsed("keywords --markdown"), Ok(Command::Keywords));
        assert_eq!(parsed("demo"), Ok(Command::Demo));
        assert_eq!(parsed("--version"), Ok(Command::Version));
    }

    #[test]
    fn every_command_has_its_help() {
        assert_eq!(parsed("--help"), Ok(Command::Help(help::MAIN)));
        for command in
            "run check status counters explain reload drain resume server real-server keywords demo".split(' ')
        {
            let Ok(Command::Help(text)) = parsed(&format!("{command} --help")) else {
                panic!("{command} has no help");
            };
            assert!(text.starts_with(&format!("Usage: steadfast {command}")), "{text}");
            assert!(help::MAIN.contains(&format!("\n  {command} ")));
        }
    }

    #[test]
    fn what_is_not_understood_is_said_in_one_sentence() {
        for (line, sentence) in [
            ("", "no command is given; see `steadfast --help`"),
            ("start", "there is no command \"start\"; see `steadfast --help`"),
            ("run --config", "missing argument for option '--config'; see `steadfast --help`"),
            ("run --strict", "invalid option '--strict'; see `steadfast --help`"),
            ("explain", "name the Virtual Router: `explain ROUTER`; see `steadfast --help`"),
            ("explain \x07", "\"\\u{7}\" is no name of a Virtual Router; see `steadfast --help`"),
            ("drain", "use `drain ROUTER` or `drain --all`; see `steadfast --help`"),
            ("resume gw --all", "use `resume ROUTER` or `resume --all`; see `steadfast --help`"),
            ("counters a b", "unexpected argument \"b\"; see `steadfast --help`"),
            ("status extra", "unexpected argument \"extra\"; see `steadfast --help`"),
            ("server weight a b -1", "invalid option '-1'; see `steadfast --help`"),
            ("server weight a b x", "\"x\" is no weight; see `steadfast --help`"),
            ("server enable a b --wait", "only `server drain` can --wait; see `steadfast --help`"),
            ("server drain a b --timeout 3", "--timeout is for --wait; see `steadfast --help`"),
            (
                "server drain a",
                "use `server drain SERVICE SERVER`, `server enable SERVICE SERVER` or `server weight SERVICE SERVER N`; \
                 see `steadfast --help`",
            ),
            ("real-server", "name virtual addresses with --vip ADDRESS, or --undo; see `steadfast --help`"),
            ("real-server --vip 192.0.2", "\"192.0.2\" is no IP address; see `steadfast --help`"),
            ("demo --json", "invalid option '--json'; see `steadfast --help`"),
            (
                "run --metrics 9165",
                "\"9165\" is no place for metrics: use ADDRESS:PORT or unix:PATH; see `steadfast --help`",
            ),
            (
                "run --log-level loud",
                "\"loud\" is no log level: use error, warn, info, debug or trace; see `steadfast --help`",
            ),
        ] {
            assert_eq!(parsed(line), Err(sentence.into()));
        }
    }

    #[test]
    fn a_given_configuration_is_taken_as_it_is() {
        assert_eq!(find_config(Some(Path::new("/nowhere"))), Ok("/nowhere".into()));
    }
}
