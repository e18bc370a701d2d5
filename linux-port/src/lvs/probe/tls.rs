//! TLS around another dialogue, by rustls. What we show and whom we trust is read once per configuration into a
//! [`TlsContext`].

use crate::lvs::plan::{CheckKind, LvsPlan};

/// What TLS needs besides a server: made once per configuration.
#[derive(Clone, Debug, Default)]
pub struct TlsContext {}

impl TlsContext {
    /// Reads the files of `SSL { … }`, if any check of the plan wants TLS.
    ///
    /// # Errors
    /// Which file cannot be used, and why; or that this build is without TLS.
    pub fn load(plan: &LvsPlan) -> Result<Self, String> {
        let checks = plan.services.iter().flat_map(|service| &service.servers).flat_map(|server| &server.checks);
        let wanted = checks.into_iter().any(|check| match &check.kind {
            CheckKind::Http(http) => http.tls.is_some(),
            _ => false,
        });
        if wanted { Err(WITHOUT.into()) } else { Ok(Self::default()) }
    }
}

/// Why a check cannot be carried out.
pub(super) const WITHOUT: &str = "SSL_GET: this build is without TLS";
