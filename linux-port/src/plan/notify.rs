//! Who is told of what: the scripts, FIFOs and mail of `global_defs`, the `vrrp_instance`s and the `vrrp_sync_group`s. A
//! script that cannot be run is said and left out; the instance that it belongs to is run all the same. Who tells, and
//! when, is in [`crate::notify`].

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use steadfast_core::config::diagnostic::{Short, Used};
use steadfast_core::config::lexer::unescape;
use steadfast_core::config::statement::{Block, Statement, Word};
use steadfast_core::config::{Message, Place};
use steadfast_core::time::Duration;

use crate::grammar::reader::{Reader, port};
use crate::grammar::script::Scripts;
use crate::process::Script;

use super::{PlannedGroup, PlannedRouter};

/// How long a `startup_script` or `shutdown_script` has, unless the file says otherwise.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The port of a mail server, and how long it has, in seconds, unless the file says otherwise.
const SMTP: u16 = 25;
const SMTP_TIMEOUT: u32 = 30;

/// Whom one instance or sync group tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notified {
    /// `notify_master`.
    pub master: Option<Arc<Script>>,
    /// `notify_backup`.
    pub backup: Option<Arc<Script>>,
    /// `notify_fault`.
    pub fault: Option<Arc<Script>>,
    /// `notify_stop`.
    pub stop: Option<Arc<Script>>,
    /// `notify_deleted`.
    pub deleted: Option<Arc<Script>>,
    /// `notify_master_rx_lower_pri`.
    pub lower: Option<Arc<Script>>,
    /// `notify`.
    pub any: Option<Arc<Script>>,
    /// `notify_deleted`, with or without a script: that it is gone is told as DELETED, not as FAULT.
    pub tells_deletion: bool,
    /// `smtp_alert`.
    pub mail: bool,
}

/// What `global_defs` say about notifications.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotifyPlan {
    /// `notify_fifo`, `vrrp_notify_fifo` and `lvs_notify_fifo`; each path is there once.
    pub fifos: Vec<PlannedFifo>,
    /// `fifo_write_vrrp_states_on_reload`.
    pub states_on_reload: bool,
    /// `startup_script`, and how long it may run.
    pub startup: Option<(Arc<Script>, Duration)>,
    /// `shutdown_script`, and how long it may run.
    pub shutdown: Option<(Arc<Script>, Duration)>,
    /// Where mail goes.
    pub mail: Option<Arc<MailPlan>>,
    /// Whether an instance or a sync group of the file wants to be told of.
    pub anybody: bool,
}

impl NotifyPlan {
    /// Whether somebody wants to hear of what happens.
    pub fn is_wanted(&self) -> bool {
        self.anybody || self.mail.is_some() || !self.fifos.is_empty()
    }
}

/// Where mail goes, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailPlan {
    /// `smtp_server`: the name or address of a host, and a port.
    pub server: (String, u16),
    /// `smtp_helo_name`: what we call ourselves.
    pub helo: String,
    /// `notification_email_from`.
    pub from: String,
    /// `notification_email`: at least one.
    pub to: Vec<String>,
    /// `smtp_connect_timeout`: for the connection, and again for the whole dialogue.
    pub timeout: std::time::Duration,
    /// Faults too (not `no_email_faults`).
    pub faults: bool,
    /// `router_id`, which is in each subject.
    pub router_id: String,
}

/// A FIFO that notifications are written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedFifo {
    /// Where it is, or is to be made.
    pub path: PathBuf,
    /// The user and group that it is made for; `None` is the agent's own.
    pub owner: Option<(u32, u32)>,
    /// The program that reads it, its path the last argument.
    pub script: Option<Arc<Script>>,
    /// Whether VRRP's notifications go to it.
    pub vrrp: bool,
    /// Whether those of virtual and real servers go to it.
    pub lvs: bool,
}

/// What a file says about notifications.
#[derive(Default)]
pub(super) struct Notifications {
    pub(super) plan: NotifyPlan,
    instances: HashMap<String, Arc<Notified>>,
    groups: HashMap<String, Arc<Notified>>,
    /// `notify_priority_changes` of instances and groups, and `vrrp_notify_priority_changes`.
    priorities: [HashMap<String, bool>; 2],
    all_priorities: bool,
}

impl Notifications {
    /// Reads the statements of a file. What is wrong with the blocks themselves is reported by the core.
    pub(super) fn read(statements: &[Statement<'_>], scripts: &Scripts, reader: &mut Reader<'_>) -> Self {
        let mut globals = Globals::default();
        for statement in statements.iter().filter(|statement| statement.keyword.text == "global_defs") {
            each(statement.body, |entry| globals.keyword(entry, scripts, reader));
        }
        let mut all = Self::default();
        for statement in statements {
            let [of_instances, of_groups] = &mut all.priorities;
            let (named, priorities) = match statement.keyword.text {
                "vrrp_instance" => (&mut all.instances, of_instances),
                "vrrp_sync_group" => (&mut all.groups, of_groups),
                _ => continue,
            };
            let Some(name) = statement.words.clone().next() else { continue };
            let mail = globals.smtp_alert_vrrp.or(globals.smtp_alert).unwrap_or(false);
            let mut notified = Notified { mail, ..Notified::default() };
            let mut any = false;
            each(statement.body, |entry| match entry.keyword.text {
                "notify_priority_changes" => {
                    if let Some(on) = reader.switch(entry) {
                        priorities.entry(name.text.to_owned()).or_insert(on);
                    }
                }
                _ => any |= notified.keyword(entry, scripts, reader),
            });
            all.plan.anybody |= any;
            if any || notified.mail {
                // Of a name that is there twice, the first is run.
                named.entry(name.text.to_owned()).or_insert_with(|| Arc::new(notified));
            }
        }
        all.all_priorities = globals.priorities;
        all.plan = NotifyPlan { anybody: all.plan.anybody, ..globals.finish(reader) };
        all
    }

    /// Whom a `vrrp_instance` tells.
    pub(super) fn of_instance(&self, name: &str) -> Option<Arc<Notified>> {
        self.instances.get(name).cloned()
    }

    /// Has those instances tell of their priorities that are to: by their own word, their group's, or for all.
    pub(super) fn tell_priorities(&self, routers: &mut [Arc<PlannedRouter>], groups: &[PlannedGroup]) {
        let [of_instances, of_groups] = &self.priorities;
        if of_instances.is_empty() && of_groups.is_empty() && !self.all_priorities {
            return;
        }
        let of_members: HashMap<&str, bool> = groups
            .iter()
            .filter_map(|group| Some((group, *of_groups.get(&group.name)?)))
            .flat_map(|(group, on)| group.members.iter().map(move |member| (member.as_str(), on)))
            .collect();
        for router in routers {
            let own = of_instances.get(&router.name).or_else(|| of_members.get(router.name.as_str()));
            if own.copied().unwrap_or(self.all_priorities) {
                Arc::make_mut(router).tells_priority = true;
            }
        }
    }

    /// Whom a `vrrp_sync_group` tells.
    pub(super) fn of_group(&self, name: &str) -> Option<Arc<Notified>> {
        self.groups.get(name).cloned()
    }
}

/// Visits the statements of a block, of which the core has said what is wrong.
fn each<'a>(body: Option<Block<'a>>, mut visit: impl FnMut(&Statement<'a>)) {
    let Some(mut body) = body else { return };
    while let Some(entry) = body.next(&mut |_| {}) {
        visit(&entry);
    }
}

impl Notified {
    /// Takes in a keyword of a block; whether it was one about notifications.
    fn keyword(&mut self, entry: &Statement<'_>, scripts: &Scripts, reader: &mut Reader<'_>) -> bool {
        let place = match entry.keyword.text {
            "notify_master" => &mut self.master,
            "notify_backup" => &mut self.backup,
            "notify_fault" => &mut self.fault,
            "notify_stop" => &mut self.stop,
            "notify_master_rx_lower_pri" => &mut self.lower,
            "notify" => &mut self.any,
            "notify_deleted" => {
                self.tells_deletion = true;
                if entry.words.clone().next().is_none() {
                    return true;
                }
                &mut self.deleted
            }
            "smtp_alert" => {
                self.mail = reader.switch(entry).unwrap_or(self.mail);
                // Mail alone is no reason for anything if there is nobody who reads it.
                return false;
            }
            _ => return false,
        };
        if place.is_some() {
            reader.no_effect(entry.keyword.place, entry.keyword.text, "it has been given already");
            return true;
        }
        *place = script(entry, scripts, reader);
        true
    }
}

/// Reads a script that is run if there is nothing against it.
fn script(entry: &Statement<'_>, scripts: &Scripts, reader: &mut Reader<'_>) -> Option<Arc<Script>> {
    reader.begin();
    let script = scripts.notify(entry, reader);
    script.filter(|_| !reader.has_errors())
}

/// The keywords of `global_defs`.
#[derive(Default)]
struct Globals {
    fifos: [Fifo; 3],
    states_on_reload: bool,
    startup: OneTime,
    shutdown: OneTime,
    mail: Mail,
    router_id: Option<String>,
    smtp_alert: Option<bool>,
    smtp_alert_vrrp: Option<bool>,
    priorities: bool,
}

/// The keywords about mail.
#[derive(Default)]
struct Mail {
    to: Option<(Place, Vec<String>)>,
    from: Option<String>,
    server: Option<(String, u16)>,
    helo: Option<String>,
    timeout: Option<u32>,
    no_faults: bool,
}

/// One kind of FIFO, as far as it was given.
#[derive(Default)]
struct Fifo {
    given: Option<(Place, PathBuf)>,
    owner: Option<(u32, u32)>,
    script: Option<(Place, Option<Arc<Script>>)>,
}

/// A script that is run once.
#[derive(Default)]
struct OneTime {
    script: Option<Arc<Script>>,
    timeout: Option<Duration>,
}

/// The FIFOs, and what goes to each: VRRP's notifications, LVS's.
const FIFOS: [(&str, bool, bool); 3] =
    [("notify_fifo", true, true), ("vrrp_notify_fifo", true, false), ("lvs_notify_fifo", false, true)];

impl Globals {
    fn keyword(&mut self, entry: &Statement<'_>, scripts: &Scripts, reader: &mut Reader<'_>) {
        let keyword = entry.keyword.text;
        for (fifo, (name, ..)) in self.fifos.iter_mut().zip(FIFOS) {
            if keyword == name {
                return fifo.path(entry, scripts, reader);
            }
            if keyword.strip_prefix(name) == Some("_script") {
                fifo.script = Some((entry.keyword.place, script(entry, scripts, reader)));
                return;
            }
        }
        match keyword {
            "fifo_write_vrrp_states_on_reload" => self.states_on_reload = reader.flag(entry),
            "vrrp_notify_priority_changes" => self.priorities = reader.switch(entry).unwrap_or(self.priorities),
            "smtp_alert" => self.smtp_alert = reader.switch(entry).or(self.smtp_alert),
            "smtp_alert_vrrp" => self.smtp_alert_vrrp = reader.switch(entry).or(self.smtp_alert_vrrp),
            // What is wrong there is the core's to say.
            "router_id" => self.router_id = entry.words.clone().next().map(|word| word.text.to_owned()),
            "startup_script" => self.startup.script = script(entry, scripts, reader),
            "shutdown_script" => self.shutdown.script = script(entry, scripts, reader),
            "startup_script_timeout" => self.startup.timeout(entry, reader),
            "shutdown_script_timeout" => self.shutdown.timeout(entry, reader),
            _ => self.mail.keyword(entry, reader),
        }
    }

    fn finish(self, reader: &mut Reader<'_>) -> NotifyPlan {
        let mut fifos: Vec<PlannedFifo> = Vec::new();
        for (fifo, (name, vrrp, lvs)) in self.fifos.into_iter().zip(FIFOS) {
            let Some((place, path)) = fifo.given else {
                if let Some((place, _)) = fifo.script {
                    reader.warning(place, format_args!("`{name}_script` has no effect: there is no `{name}`"));
                }
                continue;
            };
            if fifos.iter().any(|other| other.path == path) {
                let path = path.display().to_string();
                reader
                    .warning(place, format_args!("`{name}` has no effect: `{}` is another FIFO already", Short(&path)));
                continue;
            }
            let script = fifo.script.and_then(|(_, script)| script).map(|script| {
                let mut script = (*script).clone();
                script.words.push(path.display().to_string());
                Arc::new(script)
            });
            fifos.push(PlannedFifo { path, owner: fifo.owner, script, vrrp, lvs });
        }
        NotifyPlan {
            fifos,
            states_on_reload: self.states_on_reload,
            startup: self.startup.finish(),
            shutdown: self.shutdown.finish(),
            mail: self.mail.finish(self.router_id, reader).map(Arc::new),
            anybody: false,
        }
    }
}

impl Mail {
    fn keyword(&mut self, entry: &Statement<'_>, reader: &mut Reader<'_>) {
        match entry.keyword.text {
            "notification_email" => {
                let mut to = Vec::new();
                reader.entries(entry, "a block of addresses, { to }", |line, reader| {
                    let words = [line.keyword].into_iter().chain(line.words);
                    for word in words {
                        match mailbox(word.text) {
                            Some(address) => to.push(address),
                            None => reader.warning(word.place, not_an_address("notification_email", word.text)),
                        }
                    }
                });
                if !to.is_empty() {
                    self.to = Some((entry.keyword.place, to));
                }
            }
            "notification_email_from" => {
                self.from = reader.defaulted(entry, "an address", Used::Nothing, mailbox).or(self.from.take());
            }
            "smtp_server" => self.server(entry, reader),
            "smtp_helo_name" => self.helo = reader.host(entry).or(self.helo.take()),
            "smtp_connect_timeout" => {
                self.timeout = reader.number(entry, "seconds from 1 to 4294", 1..=4294).or(self.timeout);
            }
            "no_email_faults" => self.no_faults = reader.flag(entry),
            _ => {}
        }
    }

    /// `smtp_server HOST [PORT]`
    fn server(&mut self, entry: &Statement<'_>, reader: &mut Reader<'_>) {
        let mut words = entry.words;
        let Some(host) = words.next() else {
            let message = Message::MissingValue { keyword: "smtp_server", expected: "a host, and perhaps a port" };
            return reader.warning(entry.keyword.place, message);
        };
        let port = match words.next() {
            None => SMTP,
            Some(word) => port(word.text).unwrap_or_else(|| {
                let (keyword, value, expected) = ("smtp_server", word.text, "a port from 1 to 65535");
                let used = Used::Number(SMTP.into());
                reader.warning(word.place, Message::Substituted { keyword, value, expected, used });
                SMTP
            }),
        };
        reader.no_more(entry, words);
        self.server = Some((host.text.to_owned(), port));
    }

    fn finish(self, router_id: Option<String>, reader: &mut Reader<'_>) -> Option<MailPlan> {
        let (place, to) = self.to?;
        let Some(server) = self.server else {
            reader.warning(place, "no mail is sent: `notification_email` wants `smtp_server`");
            return None;
        };
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = if name.trim().is_empty() { "localhost" } else { name.trim() };
        Some(MailPlan {
            server,
            helo: self.helo.unwrap_or_else(|| name.to_owned()),
            from: self.from.unwrap_or_else(|| format!("keepalived@{name}")),
            to,
            timeout: std::time::Duration::from_secs(self.timeout.unwrap_or(SMTP_TIMEOUT).into()),
            faults: !self.no_faults,
            router_id: router_id.unwrap_or_else(|| name.to_owned()),
        })
    }
}

/// An address that can stand in a command of SMTP.
fn mailbox(text: &str) -> Option<String> {
    let bare = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
    let fits = |letter: char| !letter.is_control() && !letter.is_whitespace() && !"<>".contains(letter);
    (!bare.is_empty() && bare.len() <= 254 && bare.chars().all(fits)).then(|| bare.to_owned())
}

fn not_an_address<'a>(keyword: &'static str, value: &'a str) -> Message<'a> {
    Message::Substituted { keyword, value, expected: "an address", used: Used::Nothing }
}

impl Fifo {
    /// `notify_fifo PATH [USER [GROUP]]`
    fn path(&mut self, entry: &Statement<'_>, scripts: &Scripts, reader: &mut Reader<'_>) {
        let (keyword, place) = (entry.keyword.text, entry.keyword.place);
        let mut words = entry.words;
        let path = words.next().map(|word| (word.place, plain(keyword, word)));
        let Some((place, path)) = path.filter(|(_, path)| path.starts_with('/')) else {
            return reader.error(place, Message::MissingValue { keyword, expected: "the whole path of a FIFO" });
        };
        reader.begin();
        let owner = if words.clone().next().is_some() { scripts.user(entry, words, reader) } else { None };
        if !reader.has_errors() {
            (self.given, self.owner) = (Some((place, PathBuf::from(path))), owner);
        }
    }
}

/// A word that stands for itself: that of a command has been read with its quotes.
fn plain(keyword: &str, word: Word<'_>) -> String {
    use steadfast_core::config::keywords::quoting;
    use steadfast_core::config::lexer::Quoting;
    match quoting(keyword) {
        Quoting::Shell => unescape(word.text).collect(),
        Quoting::Plain => word.text.to_owned(),
    }
}

impl OneTime {
    fn timeout(&mut self, entry: &Statement<'_>, reader: &mut Reader<'_>) {
        let seconds = reader.number(entry, "seconds from 1 to 1000", 1..=1000);
        self.timeout = seconds.map(|seconds| Duration::from_secs(seconds.into())).or(self.timeout);
    }

    fn finish(self) -> Option<(Arc<Script>, Duration)> {
        self.script.map(|script| (script, self.timeout.unwrap_or(SCRIPT_TIMEOUT)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::check::Findings;
    use crate::plan::{self, Plan};

    use super::*;

    const INSTANCE: &str = "vrrp_instance V {\ninterface lan0\nvirtual_router_id 7\nvirtual_ipaddress { 192.0.2.1 }\n";

    fn read(text: &str) -> (Plan, Vec<String>) {
        let mut findings = Findings::new(Path::new("f"));
        let plan = plan::parse(text.as_bytes(), &mut findings).unwrap();
        (plan, findings.iter().map(ToString::to_string).collect())
    }

    fn words(script: &Option<Arc<Script>>) -> Vec<&str> {
        script.iter().flat_map(|script| &script.words).map(String::as_str).collect()
    }

    #[test]
    fn an_instance_and_a_group_have_scripts_of_their_own() {
        let text = format!(
            "{INSTANCE}notify_master \"/bin/true 'to master' \\\"now\\\"\" root root\nnotify_backup /bin/true\nnotify_fault '/bin/true fault'\n\
             notify_stop \"/bin/true stop\"\nnotify_deleted\nnotify_master_rx_lower_pri \"/bin/true lower\"\n\
             notify \"/bin/true any\"\n}}\n\
             vrrp_sync_group G {{\ngroup {{ V }}\nnotify_backup \"/bin/true group\"\n}}\n"
        );
        let (plan, findings) = read(&text);
        // That a group of one moves nothing is another matter.
        assert_eq!(findings.len(), 1, "{findings:?}");
        let notified = plan.routers[0].notified.as_deref().unwrap();
        assert_eq!(words(&notified.master), ["/bin/true", "to master", "now"]);
        assert_eq!(notified.master.as_ref().unwrap().user, Some((0, 0)));
        assert_eq!(words(&notified.backup), ["/bin/true"]);
        assert_eq!(words(&notified.fault), ["/bin/true", "fault"]);
        assert_eq!(words(&notified.stop), ["/bin/true", "stop"]);
        assert_eq!(words(&notified.lower), ["/bin/true", "lower"]);
        assert_eq!(words(&notified.any), ["/bin/true", "any"]);
        assert!(notified.tells_deletion && notified.deleted.is_none());
        assert_eq!(words(&plan.groups[0].notified.as_deref().unwrap().backup), ["/bin/true", "group"]);
        assert!(plan.notify.is_wanted());
    }

    #[test]
    fn who_tells_nobody_wants_no_thread() {
        let (plan, findings) = read(&format!("{INSTANCE}}}\n"));
        assert_eq!((plan.routers[0].notified.clone(), plan.notify.is_wanted()), (None, false));
        assert_eq!(findings, [""; 0]);
    }

    #[test]
    fn fifos_have_scripts_users_and_different_names() {
        let text = "global_defs {\nnotify_fifo /run/a root\nnotify_fifo_script \"/bin/cat -u\"\nvrrp_notify_fifo \"/run/b\"\n\
                    lvs_notify_fifo /run/a\nfifo_write_vrrp_states_on_reload\n\
                    startup_script /bin/true\nstartup_script_timeout 3\nshutdown_script \"/bin/true end\"\n}\n";
        let (plan, findings) = read(text);
        assert_eq!(findings, ["f:5:17: warning: `lvs_notify_fifo` has no effect: `/run/a` is another FIFO already"]);
        let [all, vrrp] = &plan.notify.fifos[..] else { panic!("{:?}", plan.notify) };
        assert_eq!((all.path.as_path(), all.owner, all.vrrp, all.lvs), (Path::new("/run/a"), Some((0, 0)), true, true));
        assert_eq!(words(&all.script), ["/bin/cat", "-u", "/run/a"]);
        assert_eq!((vrrp.path.as_path(), vrrp.owner, vrrp.vrrp, vrrp.lvs), (Path::new("/run/b"), None, true, false));
        assert!(plan.notify.states_on_reload && plan.notify.is_wanted());
        let (startup, limit) = plan.notify.startup.as_ref().unwrap();
        assert_eq!((startup.words.len(), *limit), (1, Duration::from_secs(3)));
        let (shutdown, limit) = plan.notify.shutdown.as_ref().unwrap();
        assert_eq!((shutdown.words.len(), *limit), (2, SCRIPT_TIMEOUT));
    }

    #[test]
    fn a_wrong_script_is_said_and_left_out_and_the_instance_runs() {
        let folder = std::env::temp_dir().join(format!("steadfast-insecure-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let script = folder.join("script");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let script = script.display();
        let instance =
            format!("{INSTANCE}notify_master {script} root\nnotify_backup /bin/true no_such_user\nnotify\n}}\n");
        for (globals, severity) in [("enable_script_security", "error"), ("", "warning")] {
            let (plan, findings) = read(&format!("{instance}global_defs {{\n{globals}\n}}\n"));
            let [insecure, user, none] = &findings[..] else { panic!("{findings:?}") };
            assert!(
                insecure.starts_with(&format!("f:5:15: {severity}: `{script}` is run as root, and others")),
                "{insecure}"
            );
            assert_eq!(user, "f:6:25: error: there is no user `no_such_user` in /etc/passwd");
            assert_eq!(none, "f:7:1: error: `notify` wants a program");
            let notified = plan.routers[0].notified.as_deref().unwrap();
            assert_eq!(notified.master.is_some(), severity == "warning");
            assert!(notified.backup.is_none() && notified.any.is_none());
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn mail_has_a_server_and_readers() {
        let globals = "global_defs {\nrouter_id r1\nnotification_email {\na@example.org <b@example.org>\n\"c d\"\n}\n\
                       smtp_server mail.example.org 2525\nsmtp_connect_timeout 5\nno_email_faults\nsmtp_alert\n}\n";
        let (plan, findings) = read(&format!(
            "{globals}{INSTANCE}}}\n{}",
            INSTANCE.replace(" V ", " W ").replace(" 7", " 8") + "smtp_alert off\n}\n"
        ));
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].starts_with("f:5:1: warning: ") && findings[0].contains("an address"), "{findings:?}");
        let mail = plan.notify.mail.as_deref().unwrap();
        assert_eq!((mail.server.0.as_str(), mail.server.1), ("mail.example.org", 2525));
        assert_eq!(mail.to, ["a@example.org", "b@example.org"]);
        assert_eq!((mail.timeout.as_secs(), mail.faults, mail.router_id.as_str()), (5, false, "r1"));
        assert!(mail.from.starts_with("keepalived@") && !mail.helo.is_empty());
        assert!(plan.routers[0].notified.as_deref().unwrap().mail && plan.routers[1].notified.is_none());
        let (plan, findings) = read("global_defs {\nnotification_email {\na@example.org\n}\n}\n");
        assert_eq!(findings, ["f:2:1: warning: no mail is sent: `notification_email` wants `smtp_server`"]);
        assert!(!plan.notify.is_wanted());
    }

    #[test]
    fn fifos_without_a_path_and_scripts_without_a_fifo_have_no_effect() {
        let (plan, findings) = read("global_defs {\nnotify_fifo fifo\nlvs_notify_fifo_script /bin/true\n}\n");
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(
            findings[0].contains("the whole path of a FIFO") && findings[1].contains("there is no `lvs_notify_fifo`")
        );
        assert!(!plan.notify.is_wanted());
    }
}
