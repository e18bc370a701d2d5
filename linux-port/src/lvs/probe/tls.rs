//! TLS around another dialogue, by rustls, in versions 1.2 and 1.3. What we show and whom we trust is read once per
//! configuration into a [`TlsContext`]; the session is in `session`, whom we believe in `verifier`. Without the
//! feature `tls` only the refusal is left.

#[cfg(feature = "tls")]
mod identity;
#[cfg(feature = "tls")]
mod session;
#[cfg(feature = "tls")]
mod verifier;

use std::net::IpAddr;
#[cfg(feature = "tls")]
use std::net::Ipv4Addr;
#[cfg(feature = "tls")]
use std::sync::Arc;

#[cfg(feature = "tls")]
use rustls::{ClientConfig, pki_types::ServerName};

use super::Dialogue;
use crate::lvs::plan::{CheckKind, LvsPlan, TlsCheck, TlsIdentity};

/// What TLS needs besides a server: made once per configuration.
#[derive(Clone, Debug, Default)]
pub struct TlsContext {
    /// None if no check wants TLS.
    #[cfg(feature = "tls")]
    configs: Option<Configs>,
}

/// For the sessions that send the server's name, and for those that do not.
#[cfg(feature = "tls")]
#[derive(Clone, Debug)]
struct Configs {
    with_name: Arc<ClientConfig>,
    without_name: Arc<ClientConfig>,
    /// Whether servers are verified.
    verified: bool,
}

#[cfg(feature = "tls")]
impl TlsContext {
    /// Reads the files of `SSL { … }`, if any check of the plan wants TLS.
    ///
    /// # Errors
    /// Which file or name cannot be used, and why.
    pub fn load(plan: &LvsPlan) -> Result<Self, String> {
        Self::of(&plan.tls, checks(plan))
    }

    /// Reads these files, if there is any such check.
    ///
    /// # Errors
    /// As of [`Self::load`].
    pub fn of<'a>(identity: &TlsIdentity, checks: impl Iterator<Item = &'a TlsCheck>) -> Result<Self, String> {
        let mut checks = checks.peekable();
        if checks.peek().is_none() {
            return Ok(Self::default());
        }
        let configs = Configs::load(identity)?;
        checks.try_for_each(|check| configs.server_name(check, Ipv4Addr::UNSPECIFIED.into()).map(drop))?;
        Ok(Self { configs: Some(configs) })
    }

    /// The same dialogue inside a session with the server at `address`.
    ///
    /// # Errors
    /// The name to ask for is none; or the plan of this context had no such check.
    pub(super) fn wrap(
        &self,
        check: &TlsCheck,
        address: IpAddr,
        inner: Box<dyn Dialogue>,
    ) -> Result<Box<dyn Dialogue>, String> {
        let configs = self.configs.as_ref().ok_or("SSL_GET: nothing has been prepared for it")?;
        let config = if check.send_name { &configs.with_name } else { &configs.without_name };
        Ok(Box::new(session::Tls::new(Arc::clone(config), configs.server_name(check, address)?, inner)?))
    }
}

#[cfg(feature = "tls")]
impl Configs {
    fn load(identity: &TlsIdentity) -> Result<Self, String> {
        let with_name = identity::load(identity)?;
        let mut without_name = with_name.clone();
        without_name.enable_sni = false;
        Ok(Self {
            with_name: Arc::new(with_name),
            without_name: Arc::new(without_name),
            verified: identity.ca.is_some(),
        })
    }

    /// What the server calls itself: the name of the check, or its address, which is never sent.
    fn server_name(&self, check: &TlsCheck, address: IpAddr) -> Result<ServerName<'static>, String> {
        let name = match &check.server_name {
            Some(name) if check.send_name || self.verified => name,
            _ => return Ok(address.into()),
        };
        // A `virtualhost` may come with a port.
        let host = match name.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => name,
        };
        ServerName::try_from(host.to_owned()).map_err(|_| format!("SSL_GET: {name:?} is not the name of a server"))
    }
}

#[cfg(not(feature = "tls"))]
impl TlsContext {
    /// Reads nothing.
    ///
    /// # Errors
    /// A check of the plan wants TLS.
    pub fn load(plan: &LvsPlan) -> Result<Self, String> {
        Self::of(&plan.tls, checks(plan))
    }

    /// Reads nothing.
    ///
    /// # Errors
    /// There is a check that wants TLS.
    pub fn of<'a>(_: &TlsIdentity, mut checks: impl Iterator<Item = &'a TlsCheck>) -> Result<Self, String> {
        match checks.next() {
            Some(_) => Err(WITHOUT.into()),
            None => Ok(Self::default()),
        }
    }

    /// Not in this build.
    pub(super) fn wrap(&self, _: &TlsCheck, _: IpAddr, _: Box<dyn Dialogue>) -> Result<Box<dyn Dialogue>, String> {
        Err(WITHOUT.into())
    }
}

/// Why there is no such check.
#[cfg(not(feature = "tls"))]
const WITHOUT: &str = "SSL_GET: this build is without TLS";

/// The checks that want TLS.
fn checks(plan: &LvsPlan) -> impl Iterator<Item = &TlsCheck> {
    let servers = plan.services.iter().flat_map(|service| &service.servers);
    servers.flat_map(|server| &server.checks).filter_map(|check| match &check.kind {
        CheckKind::Http(http) => http.tls.as_ref(),
        _ => None,
    })
}

#[cfg(all(test, feature = "tls"))]
impl TlsContext {
    /// As for a plan with such a check.
    fn prepare(identity: &TlsIdentity) -> Result<Self, String> {
        Ok(Self { configs: Some(Configs::load(identity)?) })
    }
}
