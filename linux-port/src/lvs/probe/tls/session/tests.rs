//! Sessions with a real rustls server, in memory, and the files of `SSL { … }`.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use pkcs8::PrivateKeyInfo;
use pkcs8::pkcs5::pbes2;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::*;
use crate::lvs::plan::{CheckKind, HttpCheck, HttpVersion, LvsPlan, TlsCheck, TlsIdentity, UrlCheck};
use crate::lvs::probe::testing::{assert_same_however_cut, down_reason};
use crate::lvs::probe::{TlsContext, dialogue};

const NAME: &str = "www.example.org";
const OK: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Files of one test, gone after it.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("steadfast-tls-{}-{number}", std::process::id()));
        fs::create_dir(&directory).expect("a directory");
        Self(directory)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // It is in the directory for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { pem: certificate.pem(), der: certificate.der().clone(), key }
    }

    /// Of a server of this name.
    fn server(&self, name: &str) -> Identity {
        self.sign(&named(name))
    }
}

struct Identity {
    pem: String,
    der: rustls::pki_types::CertificateDer<'static>,
    key: KeyPair,
}

fn named(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).expect("a name")
}

fn expired(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.not_before = date_time_ymd(2019, 1, 1);
    params.not_after = date_time_ymd(2020, 2, 3);
    params
}

/// A web server with this identity, which wants a certificate of `clients`.
fn server(identity: &Identity, clients: Option<&Authority>) -> ServerConnection {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            let certificate = rustls::pki_types::pem::PemObject::from_pem_slice(authority.pem.as_bytes());
            roots.add(certificate.expect("a certificate")).expect("an issuer");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    let key = PrivateKeyDer::try_from(identity.key.serialize_der()).expect("a key");
    let config = builder.with_single_cert(vec![identity.der.clone()], key).expect("an identity");
    ServerConnection::new(Arc::new(config)).expect("a session")
}

fn check(name: Option<&str>, send_name: bool) -> CheckKind {
    let url = UrlCheck { path: "/".into(), host: None, status: vec![(200, 299)], digest: None, pattern: None };
    CheckKind::Http(HttpCheck {
        tls: Some(TlsCheck { server_name: name.map(str::to_owned), send_name }),
        version: HttpVersion::Http10,
        urls: vec![url],
    })
}

/// The dialogue that this identity leads to, with a server that is asked for this name.
fn client(tls: &TlsIdentity, name: Option<&str>) -> Box<dyn Dialogue> {
    client_of(&TlsContext::prepare(tls).expect("files"), name).expect("a check")
}

fn client_of(context: &TlsContext, name: Option<&str>) -> Result<Box<dyn Dialogue>, String> {
    let target = "192.0.2.1:443".parse().expect("an address");
    Ok(dialogue(&check(name, true), target, 0, context, 0)?.expect("a dialogue"))
}

/// The verdict on a server that answers a request by `answer` and closes. Its bytes come in such pieces.
fn talk(mut client: Box<dyn Dialogue>, mut server: ServerConnection, answer: &[u8], piece: usize) -> Verdict {
    exchange(&mut *client, &mut server, answer, piece)
}

fn exchange(client: &mut dyn Dialogue, server: &mut ServerConnection, answer: &[u8], piece: usize) -> Verdict {
    let mut answered = false;
    loop {
        let mut toward = client.outgoing().to_vec();
        client.sent(toward.len());
        let mut rest = &toward[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).expect("memory");
            if server.process_new_packets().is_err() {
                break;
            }
        }
        let mut request = [0; 1024];
        if !answered && server.reader().read(&mut request).is_ok_and(|count| request[..count].ends_with(b"\r\n\r\n")) {
            server.writer().write_all(answer).expect("room");
            server.send_close_notify();
            answered = true;
        }
        let mut back = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut back).expect("memory");
        }
        for piece in back.chunks(piece) {
            if let Some(verdict) = client.received(piece) {
                return verdict;
            }
        }
        toward.clear();
        if back.is_empty() && client.outgoing().is_empty() {
            return client.ended();
        }
    }
}

/// The verdict, which has to be the same however the bytes come.
fn verdict(tls: &TlsIdentity, name: Option<&str>, identity: &Identity, clients: Option<&Authority>) -> Verdict {
    let attempt = |piece| talk(client(tls, name), server(identity, clients), OK, piece);
    let verdict = attempt(usize::MAX);
    for piece in [1, 2, 7, 100] {
        assert_eq!(attempt(piece), verdict, "in pieces of {piece}");
    }
    verdict
}

fn trusting(files: &Files, pem: &str) -> TlsIdentity {
    TlsIdentity { ca: Some(files.write("ca.pem", pem)), ..TlsIdentity::default() }
}

#[test]
fn without_ca_everyone_is_believed() {
    let authority = Authority::new("ours");
    for params in [named(NAME), expired("elsewhere.example.org")] {
        let identity = authority.sign(&params);
        assert_eq!(verdict(&TlsIdentity::default(), Some(NAME), &identity, None), Verdict::Up);
        assert_eq!(verdict(&TlsIdentity::default(), None, &identity, None), Verdict::Up);
    }
}

#[test]
fn with_ca_the_server_is_verified() {
    let (files, authority) = (Files::new(), Authority::new("ours"));
    let tls = trusting(&files, &authority.pem);
    let name = Some(NAME);
    assert_eq!(verdict(&tls, name, &authority.server(NAME), None), Verdict::Up);
    assert_eq!(verdict(&tls, Some("www.example.org:443"), &authority.server(NAME), None), Verdict::Up);
    assert_eq!(verdict(&tls, name, &authority.server("*.example.org"), None), Verdict::Up);
    assert_eq!(
        down_reason(verdict(&tls, name, &authority.server("other.example.org"), None)),
        "certificate is not for www.example.org but for DnsName(\"other.example.org\")"
    );
    assert_eq!(
        down_reason(verdict(&tls, name, &authority.sign(&expired(NAME)), None)),
        "certificate expired at 2020-02-03T00:00:00Z"
    );
    let mut early = named(NAME);
    early.not_before = date_time_ymd(4000, 1, 1);
    early.not_after = date_time_ymd(4001, 1, 1);
    assert_eq!(
        down_reason(verdict(&tls, name, &authority.sign(&early), None)),
        "certificate not valid before 4000-01-01T00:00:00Z"
    );
    for (issuer, reason) in
        [("theirs", "certificate of an unknown issuer"), ("ours", "certificate with a wrong signature")]
    {
        assert_eq!(down_reason(verdict(&tls, name, &Authority::new(issuer).server(NAME), None)), reason);
    }
}

#[test]
fn without_a_name_the_address_has_to_be_in_the_certificate() {
    let (files, authority) = (Files::new(), Authority::new("ours"));
    let tls = trusting(&files, &authority.pem);
    assert_eq!(verdict(&tls, None, &authority.server("192.0.2.1"), None), Verdict::Up);
    let reason = down_reason(verdict(&tls, None, &authority.server(NAME), None));
    assert!(reason.starts_with("certificate is not for 192.0.2.1 but for "), "{reason}");
}

#[test]
fn a_server_that_signed_for_itself_can_be_trusted() {
    let files = Files::new();
    for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let sign = |mut params: CertificateParams| {
            params.is_ca = is_ca;
            let key = KeyPair::generate().expect("a key");
            let certificate = params.self_signed(&key).expect("a certificate");
            Identity { pem: certificate.pem(), der: certificate.der().clone(), key }
        };
        let verdict =
            |shown: &Identity, trusted: &Identity| verdict(&trusting(&files, &trusted.pem), Some(NAME), shown, None);
        let good = sign(named(NAME));
        assert_eq!(verdict(&good, &good), Verdict::Up);
        let other = sign(named("other.example.org"));
        assert!(down_reason(verdict(&other, &other)).starts_with("certificate is not for"));
        let old = sign(expired(NAME));
        assert!(down_reason(verdict(&old, &old)).starts_with("certificate expired"));
        assert!(down_reason(verdict(&sign(named(NAME)), &good)).starts_with("certificate "));
    }
}

#[test]
fn the_name_is_only_sent_where_it_is_wanted() {
    let (files, authority) = (Files::new(), Authority::new("ours"));
    let identity = authority.server(NAME);
    for (tls, sent, expected) in [
        (TlsIdentity::default(), true, Some(NAME)),
        (TlsIdentity::default(), false, None),
        (trusting(&files, &authority.pem), false, None),
    ] {
        let context = TlsContext::prepare(&tls).expect("files");
        let target = "192.0.2.1:443".parse().expect("an address");
        let mut client = dialogue(&check(Some(NAME), sent), target, 0, &context, 0).expect("a check").expect("one");
        let mut server = server(&identity, None);
        assert_eq!(exchange(&mut *client, &mut server, OK, usize::MAX), Verdict::Up);
        assert_eq!(server.server_name(), expected);
    }
}

#[test]
fn we_show_our_certificate_where_it_is_wanted() {
    let (files, authority) = (Files::new(), Authority::new("ours"));
    let server = authority.server(NAME);
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let us = authority.sign(&params);
    let none = TlsIdentity::default();
    assert_eq!(down_reason(verdict(&none, None, &server, Some(&authority))), "TLS alert CertificateRequired");

    let certificate = Some(files.write("certificate.pem", &us.pem));
    let key = Some(files.write("key.pem", us.key.serialize_pem()));
    let mine = TlsIdentity { certificate, key, ..none.clone() };
    assert_eq!(verdict(&mine, None, &server, Some(&authority)), Verdict::Up);
    let both = us.key.serialize_pem() + &us.pem;
    let in_one = TlsIdentity { certificate: Some(files.write("both.pem", both)), ..none };
    assert_eq!(verdict(&in_one, None, &server, Some(&authority)), Verdict::Up);

    let encrypted = TlsIdentity {
        key: Some(files.write("encrypted.pem", encrypted_pem(&us.key, "secret"))),
        password: Some("secret".into()),
        ..mine
    };
    assert_eq!(verdict(&encrypted, None, &server, Some(&authority)), Verdict::Up);
}

fn encrypted_pem(key: &KeyPair, password: &str) -> String {
    let der = key.serialize_der();
    let info = PrivateKeyInfo::try_from(der.as_slice()).expect("a key");
    let parameters = pbes2::Parameters::pbkdf2_sha256_aes256cbc(2, b"saltsalt", &[7; 16]).expect("parameters");
    let encrypted = info.encrypt_with_params(parameters, password).expect("encryption");
    encrypted.to_pem("ENCRYPTED PRIVATE KEY", pkcs8::LineEnding::LF).expect("a text").to_string()
}

#[test]
fn files_that_will_not_do_are_named() {
    let (files, authority) = (Files::new(), Authority::new("ours"));
    let us = authority.server(NAME);
    let good = files.write("good.pem", &us.pem);
    let key = files.write("key.pem", us.key.serialize_pem());
    let none = TlsIdentity::default;
    let error = |tls: TlsIdentity| {
        let error = TlsContext::prepare(&tls).expect_err("a bad file");
        error.replace(&format!("{}/", files.0.display()), "")
    };
    let with_key = |key: PathBuf, password: Option<&str>| {
        error(TlsIdentity {
            certificate: Some(good.clone()),
            key: Some(key),
            password: password.map(str::to_owned),
            ..none()
        })
    };
    let missing = files.0.join("missing.pem");
    assert!(error(TlsIdentity { ca: Some(missing.clone()), ..none() }).starts_with("missing.pem: No such file"));
    assert!(error(TlsIdentity { certificate: Some(missing), ..none() }).starts_with("missing.pem: No such file"));
    assert_eq!(error(TlsIdentity { ca: Some(key.clone()), ..none() }), "key.pem: there is no certificate in it");
    assert_eq!(error(TlsIdentity { certificate: Some(good.clone()), ..none() }), "good.pem: there is no key in it");
    assert_eq!(error(TlsIdentity { key: Some(key), ..none() }), "key.pem: a key without a certificate");
    let broken = files.write("broken.pem", us.pem.replace('M', "?"));
    assert!(error(TlsIdentity { ca: Some(broken), ..none() }).starts_with("broken.pem: "));
    let other = files.write("other.pem", KeyPair::generate().expect("a key").serialize_pem());
    assert!(with_key(other, None).starts_with("good.pem and other.pem: "));
    let encrypted = files.write("encrypted.pem", encrypted_pem(&us.key, "secret"));
    assert_eq!(with_key(encrypted.clone(), None), "encrypted.pem: the key is encrypted, and no password is given");
    assert_eq!(with_key(encrypted, Some("wrong")), "encrypted.pem: the key cannot be decrypted by this password");
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n";
    assert!(with_key(files.write("old.pem", old), None).contains("`openssl pkcs8 -topk8`"));
    let nameless = TlsContext::prepare(&none()).and_then(|context| client_of(&context, Some("a b")));
    assert_eq!(nameless.err().as_deref(), Some("SSL_GET: \"a b\" is not the name of a server"));
    // Nothing is read that no check needs.
    let unused = LvsPlan { tls: TlsIdentity { ca: Some("/does/not/exist".into()), ..none() }, ..LvsPlan::default() };
    assert!(TlsContext::load(&unused).is_ok());
}

#[test]
fn servers_without_tls_or_without_end_are_down() {
    let context = TlsContext::prepare(&TlsIdentity::default()).expect("no files");
    let client = || client_of(&context, None).expect("a check");
    let reason = |answer: &[u8]| down_reason(assert_same_however_cut(client, answer));
    assert_eq!(reason(b""), "closed in the TLS handshake");
    assert_eq!(reason(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "not a TLS answer");
    assert_eq!(reason(b"SSH-2.0-OpenSSH_9.2\r\n"), "not a TLS answer");
    assert_eq!(reason(b"\x15\x03\x03\0\x02\x02\x28"), "TLS alert HandshakeFailure");
    assert_eq!(reason(b"\x16\x03\x03\0\x20\x02\0\0\x40"), "closed in the TLS handshake");
    // A certificate message that goes on for ever.
    let mut endless = Vec::new();
    for _ in 0..20 {
        endless.extend_from_slice(b"\x16\x03\x03\x40\0\x02\xff\xff\xff");
        endless.resize(endless.len() + 0x4000 - 4, 0);
    }
    assert!(reason(&endless).len() <= REASON_LIMIT);
    let limit = Duration::from_secs(5);
    assert_eq!(down_reason(client().timed_out(limit)), "no TLS handshake within 5 s");
}

#[test]
fn a_status_inside_tls_counts_as_outside() {
    let identity = Authority::new("ours").server(NAME);
    let none = TlsIdentity::default();
    let attempt = |answer: &[u8]| talk(client(&none, Some(NAME)), server(&identity, None), answer, 1000);
    assert_eq!(down_reason(attempt(b"HTTP/1.0 503 No\r\n\r\n")), "status 503, expected 200-299");
    assert_eq!(attempt(b"HTTP/1.0 200 OK\r\n\r\nuntil closed"), Verdict::Up);
    assert_eq!(down_reason(attempt(b"")), "closed without an answer");
}
