//! The LVS part of keepalived.conf, read into an [`LvsPlan`]. The words and blocks are the core's, which knows all the
//! keywords; here is what they mean together. As everywhere: where keepalived puts a default in the place of a wrong
//! value, so do we, with a warning; any other wrong value is an error, and the virtual server is left out.
//!
//! What is defined anywhere may be used anywhere: virtual servers are read after everything that they may refer to.

mod check;
mod common;
mod forwarding;
mod globals;
mod group;
pub(crate) mod http;
mod role;
mod server;
mod service;
mod udp;

use std::collections::HashMap;
use std::path::PathBuf;

use steadfast_core::config::statement::Statement;

use crate::check::Findings;
use crate::grammar::reader::Reader;
use crate::grammar::script::Scripts;

use super::plan::{LvsPlan, RealServerRole, SyncDaemon, TlsIdentity};
use globals::Globals;
use group::Group;
use service::Services;

/// What blocks other than the virtual servers say.
#[derive(Default)]
struct Definitions {
    globals: Globals,
    groups: HashMap<String, Group>,
    /// `track_file`: what FILE_CHECK refers to.
    files: HashMap<String, TrackFile>,
    tls: TlsIdentity,
    /// `real_server_role`.
    role: Option<RealServerRole>,
    /// The VRIDs of the instances, which `lvs_sync_daemon` takes for its id.
    vrids: HashMap<String, u8>,
    /// `lvs_sync_daemon_interface` of an instance: how it was written once.
    sync_daemon: Option<SyncDaemon>,
}

/// `track_file`, as far as FILE_CHECK wants it.
struct TrackFile {
    path: PathBuf,
    weight: i32,
}

/// Reads the statements of a file, with its scripts. What is wrong with its blocks themselves is reported by the core.
pub(crate) fn read(statements: &[Statement<'_>], scripts: &Scripts, findings: &mut Findings) -> LvsPlan {
    let mut reader = Reader::new(findings);
    let mut definitions = Definitions::default();
    let (virtual_servers, others): (Vec<_>, Vec<_>) =
        statements.iter().partition(|statement| statement.keyword.text == "virtual_server");
    for statement in others {
        definitions.read(statement, &mut reader);
    }
    let sync_daemon = definitions.sync_daemon(&mut reader);
    let mut services = Services::new(&definitions, scripts, sync_daemon.is_some());
    for statement in virtual_servers {
        services.read(statement, &mut reader);
    }
    LvsPlan {
        services: services.finish(),
        sync_daemon,
        timeouts: definitions.globals.timeouts,
        flush_at_start: definitions.globals.flush_at_start,
        flush_on_stop: definitions.globals.flush_on_stop,
        tls: definitions.tls,
        role: definitions.role,
    }
}
