//! What a web server may answer, and what comes of it, however it is cut.

use md5::{Digest, Md5};

use super::content::{BODY_LIMIT, STRIDE};
use super::*;
use crate::lvs::expression::Expression;
use crate::lvs::plan::Pattern;
use crate::lvs::probe::testing::{assert_same_however_cut, attempt, down_reason};

fn url() -> UrlCheck {
    UrlCheck { path: "/".into(), host: None, status: vec![(200, 299)], digest: None, pattern: None }
}

fn with_pattern(expression: &str) -> UrlCheck {
    let expression = Expression::new(expression.into()).expect("an expression");
    let pattern = Pattern { expression, must_not_match: false, min_offset: 0, max_offset: None };
    UrlCheck { pattern: Some(pattern), ..url() }
}

fn target() -> SocketAddr {
    "192.0.2.1:8080".parse().expect("an address")
}

fn http(url: &UrlCheck) -> Http {
    Http::new(HttpVersion::Http11, url, target())
}

/// The verdict on this answer, after which the server closes.
fn verdict(url: &UrlCheck, answer: impl AsRef<[u8]>) -> Verdict {
    assert_same_however_cut(|| Box::new(http(url)), answer.as_ref())
}

fn reason(url: &UrlCheck, answer: impl AsRef<[u8]>) -> String {
    down_reason(verdict(url, answer))
}

/// Whether the answer is enough without the end of the connection.
fn is_complete(answer: &str) -> bool {
    http(&url()).received(answer.as_bytes()).is_some()
}

#[test]
fn requests_are_keepalived_s() {
    let text = |version, url: &UrlCheck, target: &str| request(version, url, target.parse().expect("an address"));
    assert_eq!(
        text(HttpVersion::Http10, &url(), "192.0.2.1:80"),
        "GET / HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: 192.0.2.1:80\r\n\r\n"
    );
    let named = UrlCheck { host: Some("www.example.org".into()), path: "/a?b".into(), ..url() };
    assert_eq!(
        text(HttpVersion::Http10Close, &named, "192.0.2.1:81"),
        "GET /a?b HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: www.example.org\r\n\r\n"
    );
    assert_eq!(
        text(HttpVersion::Http11, &url(), "[2001:db8::1%3]:443"),
        "GET / HTTP/1.1\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: [2001:db8::1]:443\r\n\r\n"
    );
}

#[test]
fn a_status_is_in_a_range_or_not() {
    assert_eq!(verdict(&url(), "HTTP/1.1 200 OK\r\n\r\nhello"), Verdict::Up);
    assert_eq!(verdict(&url(), "HTTP/1.0 299\n\n"), Verdict::Up);
    assert_eq!(reason(&url(), "HTTP/1.1 503 Service Unavailable\r\n\r\n"), "status 503, expected 200-299");
    let two = UrlCheck { status: vec![(200, 200), (301, 302)], ..url() };
    assert_eq!(verdict(&two, "HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n"), Verdict::Up);
    assert_eq!(reason(&two, "HTTP/1.1 201 Created\r\n\r\n"), "status 201, expected 200, 301-302");
}

#[test]
fn interim_answers_are_not_the_answer() {
    assert_eq!(
        verdict(&url(), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
        Verdict::Up
    );
    assert_eq!(reason(&url(), "HTTP/1.1 100 Continue\r\n\r\n"), "closed before the end of the head");
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(2000);
    assert_eq!(reason(&url(), endless), "a head of more than 32 KiB");
}

#[test]
fn what_is_not_http_is_said_at_once() {
    for text in ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/2.0 200 OK\r\n\r\n", "\r\n\r\n", "\0\0\0"] {
        assert_eq!(reason(&url(), text), "not an HTTP answer", "{text:?}");
    }
    assert_eq!(reason(&url(), "HTTP/1.1 2x0 OK\r\n\r\n"), "a head that is not HTTP's");
    assert_eq!(reason(&url(), ""), "closed without an answer");
    assert_eq!(reason(&url(), "HTTP/1.1 200 OK\r\nContent-"), "closed before the end of the head");
}

#[test]
fn heads_have_a_bound() {
    let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(2 * HEAD_LIMIT));
    assert_eq!(reason(&url(), endless), "a head of more than 32 KiB");
    let fields = |count| format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(count));
    assert_eq!(verdict(&url(), fields(FIELD_LIMIT)), Verdict::Up);
    assert_eq!(reason(&url(), fields(FIELD_LIMIT + 1)), "more than 128 header fields");
}

#[test]
fn a_length_ends_the_body_without_a_close() {
    assert!(is_complete("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    assert!(is_complete("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok and more"));
    assert!(is_complete("HTTP/1.1 204 No Content\r\n\r\n"));
    assert!(is_complete("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    assert!(!is_complete("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"));
    assert!(!is_complete("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk"));
    assert!(!is_complete("HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nokk"));
    // As in keepalived, a wrong length alone is no failure.
    assert_eq!(verdict(&url(), "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nnode is synced\r\n"), Verdict::Up);
}

#[test]
fn chunks_are_put_together() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\nContent-Length: 1\r\n\r\n";
    let check = UrlCheck { digest: Some(Md5::digest("hello world").into()), ..url() };
    for body in [
        "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        "5;name=value\r\nhello\r\n06 \r\n world\r\n0\r\nTrailer: x\r\n\r\n",
        "5\nhello\n6\n world\n0\n\n",
    ] {
        assert_eq!(verdict(&check, format!("{head}{body}")), Verdict::Up, "{body:?}");
        assert!(http(&check).received(format!("{head}{body}").as_bytes()).is_some(), "{body:?}");
    }
    for (body, expected) in [
        ("hello", "a chunk without a size"),
        ("5x\r\nhello", "a chunk's size is not a number"),
        ("5\r\nhello!", "a chunk longer than its size"),
        ("00000000000000001\r\n", "a chunk's size is too long"),
    ] {
        assert_eq!(reason(&url(), format!("{head}{body}")), expected);
    }
}

#[test]
fn digests_are_of_the_body_alone() {
    let check = UrlCheck { digest: Some(Md5::digest("hello").into()), ..url() };
    assert_eq!(verdict(&check, "HTTP/1.1 200 OK\r\nServer: x\r\n\r\nhello"), Verdict::Up);
    assert_eq!(verdict(&check, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more"), Verdict::Up);
    assert_eq!(
        reason(&check, "HTTP/1.1 200 OK\r\n\r\nHello"),
        "digest 8b1a9953c4611296a827abf8c47804d7, expected 5d41402abc4b2a76b9719d911017c592"
    );
    // The status goes before.
    assert_eq!(reason(&check, "HTTP/1.1 404 Not Found\r\n\r\nhello"), "status 404, expected 200-299");
}

#[test]
fn a_regex_has_to_match_or_must_not() {
    let answer = |body: &str| format!("HTTP/1.1 200 OK\r\n\r\n{body}");
    assert_eq!(verdict(&with_pattern("is (up|ready)"), answer("all is ready.")), Verdict::Up);
    assert_eq!(reason(&with_pattern("is (up|ready)"), answer("all is lost.")), "no match of the regex");
    let mut unwanted = with_pattern("error [0-9]+");
    unwanted.pattern.as_mut().expect("it has one").must_not_match = true;
    assert_eq!(verdict(&unwanted, answer("fine")), Verdict::Up);
    assert_eq!(reason(&unwanted, answer("error 17")), "found what must not match");
}

#[test]
fn a_regex_matches_bytes_as_pcre_does() {
    let matches = |expression: &str, body: &[u8]| {
        let answer = [b"HTTP/1.1 200 OK\r\n\r\n", body].concat();
        verdict(&with_pattern(expression), answer) == Verdict::Up
    };
    assert!(matches("grün", "alles grün".as_bytes()));
    assert!(matches("gr.n", b"gr\xfcn"), "Latin 1");
    assert!(!matches("^gr.n$", "grün".as_bytes()), "two bytes");
    assert!(matches("a\\x00b", b"a\0b"));
    // `$` also matches before the last line end.
    assert!(matches("^OK$", b"OK\n"));
    assert!(matches("^OK$", b"OK"));
    assert!(!matches("^OK$", b"OK\n\n"));
    assert!(!matches("^OK$", b"OK\nx"));
    assert!(matches("(?m)^OK$", b"x\nOK\nx"));
    assert!(matches("^$", b""));
}

#[test]
fn a_match_begins_between_the_offsets() {
    let check = |min_offset, max_offset| {
        let limits = |pattern| Pattern { min_offset, max_offset, ..pattern };
        let pattern = with_pattern("b").pattern.map(limits);
        verdict(&UrlCheck { pattern, ..url() }, b"HTTP/1.1 200 OK\r\n\r\n\xff\xffb\xff")
    };
    assert_eq!(check(0, None), Verdict::Up);
    assert_eq!(check(2, Some(2)), Verdict::Up);
    assert_ne!(check(0, Some(1)), Verdict::Up);
    assert_ne!(check(3, None), Verdict::Up);
    assert_ne!(check(usize::MAX, None), Verdict::Up);
}

#[test]
fn a_match_is_found_anywhere_in_a_long_body() {
    let long = 3 * STRIDE;
    for at in [0, STRIDE - 3, 2 * STRIDE - 3, long - 6] {
        let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        answer.resize(answer.len() + long, b'\xe4');
        answer[19 + at..][..6].copy_from_slice(b"needle");
        for (expression, expected) in [("nee+dle", true), ("^needle", at == 0), ("needle$", at + 6 == long)] {
            let up = attempt(&mut http(&with_pattern(expression)), &answer, 4096) == Verdict::Up;
            assert_eq!(up, expected, "{expression} at {at}");
        }
    }
}

#[test]
fn memory_is_flat_whatever_comes() {
    let piece = vec![b'\xff'; 100_000];
    let mut dialogue = http(&with_pattern("needle"));
    assert_eq!(dialogue.received(b"HTTP/1.1 200 OK\r\n\r\n"), None);
    for _ in 0..4 {
        assert_eq!(dialogue.received(&piece), None);
        // Each byte is a character of two, and a text grows by doubling.
        assert!(dialogue.content.held() <= 8 * STRIDE, "{} bytes held", dialogue.content.held());
    }
}

#[test]
fn bodies_have_a_bound() {
    let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    answer.resize(answer.len() + BODY_LIMIT, 0);
    assert_eq!(attempt(&mut http(&url()), &answer, 60_000), Verdict::Up);
    answer.push(0);
    assert_eq!(down_reason(attempt(&mut http(&url()), &answer, 60_000)), "a body of more than 16 MiB");
}

#[test]
fn deadlines_say_how_far_it_came() {
    let limit = Duration::from_secs(5);
    let mut dialogue = http(&url());
    assert_eq!(down_reason(dialogue.timed_out(limit)), "no answer within 5 s");
    assert_eq!(dialogue.received(b"HTTP/1.1 200"), None);
    assert_eq!(down_reason(dialogue.timed_out(limit)), "no whole head within 5 s");
    assert_eq!(dialogue.received(b" OK\r\n\r\nx"), None);
    assert_eq!(down_reason(dialogue.timed_out(limit)), "no end of the body within 5 s");
}
