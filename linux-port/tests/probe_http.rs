//! HTTP_GET and SSL_GET beside Python: its server (with OpenSSL) answers our dialogue over a pair of sockets, and its
//! client reads the same answers as our dialogue does. Without Python there is nothing to compare with.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use md5::{Digest, Md5};
use steadfast_linux::lvs::plan::{HttpVersion, UrlCheck};
use steadfast_linux::lvs::probe::Dialogue;
use steadfast_linux::lvs::probe::http::Http;
use steadfast_linux::lvs::verdict::Verdict;

/// Serves one connection, which is its standard input.
const SERVER: &str = "
import http.server, socket, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = sys.argv[1]
    def __init__(self, *args): super().__init__(*args, directory=sys.argv[2])
    def log_message(self, *args): pass
connection = socket.socket(fileno=0)
Handler(connection, ('192.0.2.9', 1), None)
connection.shutdown(socket.SHUT_WR)
";

/// The same with TLS up to a version, and without the farewell that TLS has.
#[cfg(feature = "tls")]
const TLS_SERVER: &str = "
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
context.maximum_version = ssl.TLSVersion[sys.argv[2]]
connection = context.wrap_socket(socket.socket(fileno=0), server_side=True)
request = b''
while not request.endswith(b'\\r\\n\\r\\n'): request += connection.recv(1000) or sys.exit()
connection.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\nhello')
";

/// Reads answers from the files it is given: their status and the MD5 of what it could read of their body.
const CLIENT: &str = "
import hashlib, http.client, sys
class Connection:
    def __init__(self, file): self.file = file
    def makefile(self, mode): return self.file
for name in sys.argv[1:]:
    response = http.client.HTTPResponse(Connection(open(name, 'rb')), method='GET')
    response.begin()
    try: body = response.read()
    except http.client.IncompleteRead as error: body = error.partial
    print(response.status, hashlib.md5(body).hexdigest())
";

/// A directory that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("steadfast-http-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn python() -> Option<&'static str> {
    let found = Command::new("python3").arg("--version").stdout(Stdio::null()).status().is_ok_and(|it| it.success());
    if !found {
        println!("skipped: there is no python3");
    }
    found.then_some("python3")
}

fn url(path: &str, status: u16, digest: Option<[u8; 16]>) -> UrlCheck {
    UrlCheck { path: path.into(), host: None, status: vec![(status, status)], digest, pattern: None }
}

/// The verdict on what Python's server answers.
fn ask(python: &str, directory: &Path, version: HttpVersion, url: &UrlCheck) -> Verdict {
    let protocol = if version == HttpVersion::Http11 { "HTTP/1.1" } else { "HTTP/1.0" };
    let mut server = Command::new(python);
    server.args(["-c", SERVER, protocol]).arg(directory);
    talk(&mut Http::new(version, url, "192.0.2.1:80".parse().unwrap()), server)
}

/// The verdict on what this program answers on its standard input.
fn talk(dialogue: &mut dyn Dialogue, mut command: Command) -> Verdict {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut server = command
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        // It is told no more than the verdict needs, and complains.
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It holds the server's end as well.
    drop(command);
    let mut buffer = [0; 1500];
    let verdict = loop {
        ours.write_all(dialogue.outgoing()).unwrap();
        dialogue.sent(dialogue.outgoing().len());
        match ours.read(&mut buffer) {
            Ok(0) => break dialogue.ended(),
            Ok(count) => {
                if let Some(verdict) = dialogue.received(&buffer[..count]) {
                    break verdict;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}"),
        }
    };
    drop(ours);
    server.wait().unwrap();
    verdict
}

#[test]
fn python_s_server_is_up() {
    let Some(python) = python() else { return };
    let scratch = Scratch::new("server");
    let content: Vec<u8> = (0..300_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    File::create(scratch.0.join("file")).unwrap().write_all(&content).unwrap();
    fs::create_dir(scratch.0.join("folder")).unwrap();
    let digest = Some(Md5::digest(&content).into());
    for version in [HttpVersion::Http10, HttpVersion::Http10Close, HttpVersion::Http11] {
        let ask = |path, status, digest| ask(python, &scratch.0, version, &url(path, status, digest));
        assert_eq!(ask("/file", 200, digest), Verdict::Up, "{version:?}");
        assert_eq!(ask("/folder", 301, None), Verdict::Up, "{version:?}");
        assert_eq!(ask("/missing", 404, None), Verdict::Up, "{version:?}");
        assert_eq!(ask("/missing", 200, None), Verdict::Down("status 404, expected 200".into()), "{version:?}");
    }
}

#[test]
#[cfg(feature = "tls")]
fn python_s_tls_server_is_up_for_those_who_trust_it() {
    use rcgen::{CertificateParams, KeyPair};
    use steadfast_linux::check::Findings;
    use steadfast_linux::lvs::probe::{self, TlsContext};

    let Some(python) = python() else { return };
    let scratch = Scratch::new("tls");
    let make = |file: &str| {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["www.example.org".to_owned()]).unwrap().self_signed(&key).unwrap();
        let file = scratch.0.join(file);
        fs::write(&file, key.serialize_pem() + &certificate.pem()).unwrap();
        file
    };
    let (shown, other) = (make("shown.pem"), make("other.pem"));
    let ask = |ca: &Path, name: &str, version: &str| {
        let text = format!(
            "SSL {{\n ca {}\n}}\nvirtual_server 192.0.2.9 443 {{\n protocol TCP\n real_server 192.0.2.1 443 {{\n \
             SSL_GET {{\n sni_name {name}\n url {{\n path /\n digest 5d41402abc4b2a76b9719d911017c592\n}}\n}}\n}}\n}}\n",
            ca.display()
        );
        let mut findings = Findings::new(Path::new("keepalived.conf"));
        let plan = steadfast_linux::plan::parse(text.as_bytes(), &mut findings).unwrap().lvs;
        let tls = TlsContext::load(&plan).unwrap();
        let check = &plan.services[0].servers[0].checks[0];
        let mut dialogue = probe::dialogue(&check.kind, check.target, 0, &tls, 0).unwrap().unwrap();
        let mut server = Command::new(python);
        server.args(["-c", TLS_SERVER]).arg(&shown).arg(version);
        talk(&mut *dialogue, server)
    };
    for version in ["TLSv1_2", "TLSv1_3"] {
        assert_eq!(ask(&shown, "www.example.org", version), Verdict::Up, "{version}");
        let Verdict::Down(reason) = ask(&other, "www.example.org", version) else { panic!("{version}: it is unknown") };
        assert!(reason.starts_with("certificate "), "{reason}");
        let Verdict::Down(reason) = ask(&shown, "other.example.org", version) else {
            panic!("{version}: not its name")
        };
        assert!(reason.starts_with("certificate is not for other.example.org"), "{reason}");
    }
}

#[test]
fn python_s_client_reads_the_same() {
    let Some(python) = python() else { return };
    let scratch = Scratch::new("client");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ncut off".to_owned(),
        "HTTP/1.0 200\r\nServer:x\r\n\r\nuntil the end\n".to_owned(),
        "HTTP/1.1 404 Not Found\nA: b\n\nline feeds alone".to_owned(),
        "HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 201 Created\r\n\r\nlater".to_owned(),
        "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
        "HTTP/1.1 304 Not Modified\r\n\r\nabc".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-LENGTH:   3  \r\nX: y\r\n\tfolded\r\n\r\nabcdef".to_owned(),
        format!("{chunked}5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nnot ours"),
        format!("{chunked}A;name=\"value\"\r\n0123456789\r\n000\r\nTrailer: x\r\n\r\n"),
    ];
    let files: Vec<PathBuf> = (0..answers.len()).map(|number| scratch.0.join(number.to_string())).collect();
    for (file, answer) in files.iter().zip(&answers) {
        fs::write(file, answer).unwrap();
    }
    let output = Command::new(python).args(["-c", CLIENT]).args(&files).stderr(Stdio::inherit()).output().unwrap();
    let read = String::from_utf8(output.stdout).unwrap();
    assert_eq!(read.lines().count(), answers.len());
    for (line, answer) in read.lines().zip(&answers) {
        let (status, digest) = line.split_once(' ').unwrap();
        let digest = u128::from_str_radix(digest, 16).unwrap().to_be_bytes();
        let url = url("/", status.parse().unwrap(), Some(digest));
        let mut dialogue = Http::new(HttpVersion::Http11, &url, "192.0.2.1:80".parse().unwrap());
        let verdict = dialogue.received(answer.as_bytes()).unwrap_or_else(|| dialogue.ended());
        assert_eq!(verdict, Verdict::Up, "{answer:?}");
    }
}
