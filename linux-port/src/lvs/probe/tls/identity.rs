//! The files of `SSL { … }`, read into what rustls takes.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use pkcs8::{EncryptedPrivateKeyInfo, SecretDocument};
use rustls::client::{ClientConfig, Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ConfigBuilder, RootCertStore};

use super::verifier::{Anyone, TrustedIssuers};
use crate::lvs::plan::TlsIdentity;
use crate::source;

/// The longest file: a bundle of all public issuers takes a quarter of a mebibyte.
const FILE_LIMIT: u64 = 4 * 1024 * 1024;

/// Everything about us and about trust, for all sessions.
///
/// # Errors
/// Which file cannot be used, and why.
pub(super) fn load(identity: &TlsIdentity) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("SSL: {error}"))?
        .dangerous();
    let builder = match &identity.ca {
        Some(file) => builder.with_custom_certificate_verifier(Arc::new(issuers(file, &provider)?)),
        None => builder.with_custom_certificate_verifier(Arc::new(Anyone::new(&provider))),
    };
    let mut config = with_certificate(builder, identity)?;
    // A resumed session shows no certificate: one that has expired would not be seen.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Those whom we trust.
fn issuers(file: &Path, provider: &Arc<CryptoProvider>) -> Result<TrustedIssuers, String> {
    let certificates = certificates(file, &read(file)?)?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots.add(certificate.clone()).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let verifier = verifier.build().map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(TrustedIssuers::new(verifier, certificates))
}

/// What we show to servers that ask for a certificate.
fn with_certificate(
    builder: ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>,
    identity: &TlsIdentity,
) -> Result<ClientConfig, String> {
    let Some(file) = &identity.certificate else {
        return match &identity.key {
            Some(key) => Err(format!("{}: a key without a certificate", key.display())),
            None => Ok(builder.with_no_client_auth()),
        };
    };
    let chain = certificates(file, &read(file)?)?;
    // They may be in one file.
    let key_file = identity.key.as_ref().unwrap_or(file);
    let key = key(key_file, &read(key_file)?, identity.password.as_deref())?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| format!("{} and {}: {error}", file.display(), key_file.display()))
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    source::open(file)
        .and_then(|opened| opened.take(FILE_LIMIT).read_to_end(&mut bytes))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(bytes)
}

fn certificates(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(format!("{}: there is no certificate in it", file.display()))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

fn key(file: &Path, pem: &[u8], password: Option<&str>) -> Result<PrivateKeyDer<'static>, String> {
    let place = file.display();
    let text = String::from_utf8_lossy(pem);
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(format!("{place}: the key is encrypted in the old form; `openssl pkcs8 -topk8` makes a new one"));
    }
    if let Some(section) = section(&text, "ENCRYPTED PRIVATE KEY") {
        let password = password.ok_or_else(|| format!("{place}: the key is encrypted, and no password is given"))?;
        let (_, document) = SecretDocument::from_pem(section).map_err(|error| format!("{place}: {error}"))?;
        let encrypted =
            EncryptedPrivateKeyInfo::try_from(document.as_bytes()).map_err(|error| format!("{place}: {error}"))?;
        let key = encrypted
            .decrypt(password)
            .map_err(|_| format!("{place}: the key cannot be decrypted by this password"))?;
        return Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into());
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| format!("{place}: there is no key in it"))
}

/// A part of a PEM file, from its first line to its last.
fn section<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let from = &text[text.find(&format!("-----BEGIN {label}-----"))?..];
    let end = format!("-----END {label}-----");
    from.get(..from.find(&end)?.saturating_add(end.len()))
}
