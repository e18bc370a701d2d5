//! VRRP on Linux: what the binary `steadfast` is made of. The protocol itself is in `steadfast_core`; here
//! are the sockets, netlink, the files and the loop that connects them.

pub mod accept;
pub mod check;
pub mod cli;
pub mod control;
pub mod daemon;
pub mod demo;
mod grammar;
pub mod guard;
pub mod ipvs;
pub mod keepalived;
pub mod keys;
pub mod keywords;
pub mod logging;
pub mod lvs;
pub mod metrics;
pub mod netlink;
pub mod notify;
pub mod plan;
pub mod process;
pub mod promote;
pub mod radv;
pub mod socket;
pub mod source;
pub mod statics;
pub mod status;
pub mod storage;
pub mod supervisor;
pub mod sys;
pub mod sysctl;
pub mod timestamp;
pub mod tracking;
pub mod vmac;
