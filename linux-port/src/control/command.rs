//! What is asked of one real server at run time, and the answer: values as they go over the control socket. They
//! are carried out by the director of LVS.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::status::SCHEMA;
use crate::status::lvs::{Health, Override};

/// A request about one real server; on the wire `server {"action":"drain","service":"192.0.2.1 80",
/// "server":"10.0.0.1:80"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerCommand {
    /// What to do.
    pub action: Action,
    /// The virtual server, in any of the spellings that [`crate::lvs::find`] knows.
    pub service: String,
    /// The real server, likewise.
    pub server: String,
}

/// What to do with a real server: `"drain"`, `"enable"`, `"show"` or `{"weight":5}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// No new connections.
    Drain,
    /// As the file and the checks say.
    Enable,
    /// This weight.
    Weight(u32),
    /// Nothing; only the answer is wanted.
    Show,
}

/// How the server is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerReport {
    schema: u32,
    /// The virtual server, as it is written in the file.
    pub service: Arc<str>,
    /// Its address and port.
    pub server: SocketAddr,
    /// Whether it answers.
    pub health: Health,
    /// What an administrator has said; `null` if nothing.
    pub r#override: Option<Override>,
    /// Its weight in the kernel's table; `null` if it is not in it.
    pub weight: Option<u32>,
    /// Connections that are open, in all services of the virtual server.
    pub active_connections: u64,
    /// Connections in any other state.
    pub inactive_connections: u64,
    /// Clients that are kept with it.
    pub persistent_connections: u64,
    /// Connections that a drain waits for: the active ones; of UDP and of marks also the others, since of those the
    /// kernel cannot tell which are over.
    pub open_connections: u64,
}

impl ServerReport {
    /// The report of a server without connections, in this version's schema.
    pub fn new(service: Arc<str>, server: SocketAddr, health: Health) -> Self {
        Self {
            schema: SCHEMA,
            service,
            server,
            health,
            r#override: None,
            weight: None,
            active_connections: 0,
            inactive_connections: 0,
            persistent_connections: 0,
            open_connections: 0,
        }
    }

    /// Whether the last connection is gone.
    pub fn is_idle(&self) -> bool {
        self.open_connections == 0
    }
}

/// One line for people.
impl fmt::Display for ServerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let health = match self.health {
            Health::Up => "up",
            Health::Down => "down",
        };
        write!(f, "{} of {}: {health}, ", self.server, self.service.escape_debug())?;
        match self.r#override {
            None => f.write_str("enabled, ")?,
            Some(Override::Drain) => f.write_str("drained, ")?,
            Some(Override::Weight(weight)) => write!(f, "weighed {weight}, ")?,
        }
        match self.weight {
            None => f.write_str("not in the table, ")?,
            Some(weight) => write!(f, "weight {weight}, ")?,
        }
        write!(f, "{} active and {} inactive connections", self.active_connections, self.inactive_connections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_line() {
        let mut report = ServerReport::new("192.0.2.1 80".into(), ([10, 0, 0, 1], 80).into(), Health::Up);
        let sentence =
            "10.0.0.1:80 of 192.0.2.1 80: up, enabled, not in the table, 0 active and 0 inactive connections";
        assert_eq!(report.to_string(), sentence);
        assert!(report.is_idle());
        (report.weight, report.r#override, report.inactive_connections) = (Some(0), Some(Override::Drain), 1);
        report.open_connections = 1;
        let sentence = "10.0.0.1:80 of 192.0.2.1 80: up, drained, weight 0, 0 active and 1 inactive connections";
        assert_eq!(report.to_string(), sentence);
        assert!(!report.is_idle());
        report.r#override = Some(Override::Weight(5));
        let json =
            r#"{"schema":1,"service":"192.0.2.1 80","server":"10.0.0.1:80","health":"up","override":{"weight":5},"#;
        assert!(serde_json::to_string(&report).unwrap().starts_with(json));
    }
}
