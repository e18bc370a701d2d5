//! A client's request, taken apart by httparse, and the heads of answers. One request a connection: what a scraper
//! asks once a second is worth no state in between.

use super::text::Format;

/// The longest request, its head alone.
pub(super) const LIMIT: usize = 8192;

/// Header fields of a request.
const FIELDS: usize = 64;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// In which form.
    pub(super) format: Format,
    /// `HEAD`: what it would be, without it.
    pub(super) head_only: bool,
}

/// Why it is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is no HTTP.
    Garbled,
    /// There is nothing of that name.
    NotFound,
    /// Neither GET nor HEAD.
    Method,
    /// It is too long.
    TooLong,
    /// The agent does not answer now.
    Unavailable,
}

/// Reads what has come of a request so far; `None` if the rest of it is still to come.
pub(super) fn parse(bytes: &[u8]) -> Option<Result<Wanted, Refusal>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => Some(wanted(&request)),
        Ok(httparse::Status::Partial) if bytes.len() < LIMIT => None,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => Some(Err(Refusal::TooLong)),
        Err(_) => Some(Err(Refusal::Garbled)),
    }
}

fn wanted(request: &httparse::Request<'_, '_>) -> Result<Wanted, Refusal> {
    let path = request.path.unwrap_or_default();
    if path.split('?').next() != Some("/metrics") {
        return Err(Refusal::NotFound);
    }
    let head_only = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Err(Refusal::Method),
    };
    let is_asked_for = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("accept")).any(|field| {
        let value = String::from_utf8_lossy(field.value).to_ascii_lowercase();
        value.split(',').any(|range| range.trim_start().starts_with("application/openmetrics-text"))
    });
    Ok(Wanted { format: if is_asked_for { Format::OpenMetrics } else { Format::Prometheus }, head_only })
}

/// The head of a page of so many bytes.
pub(super) fn head(format: Format, length: usize) -> String {
    answer_head("200 OK", format.content_type(), length)
}

/// The whole of a refusal: its head, and a line for people.
pub(super) fn refusal(refusal: Refusal) -> (String, String) {
    let (status, line) = match refusal {
        Refusal::Garbled => ("400 Bad Request", "this is no request of HTTP/1.0 or HTTP/1.1\n"),
        Refusal::NotFound => ("404 Not Found", "there is only /metrics\n"),
        Refusal::Method => ("405 Method Not Allowed\r\nAllow: GET, HEAD", "there is only GET and HEAD\n"),
        Refusal::TooLong => ("431 Request Header Fields Too Large", "the request is too long\n"),
        Refusal::Unavailable => ("503 Service Unavailable", "the agent cannot answer this now\n"),
    };
    (answer_head(status, "text/plain; charset=utf-8", line.len()), line.into())
}

fn answer_head(status: &str, content_type: &str, length: usize) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_comes_in_the_form_that_is_asked_for() {
        let wanted = |format, head_only| Some(Ok(Wanted { format, head_only }));
        let curl = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n";
        assert_eq!(parse(curl), wanted(Format::Prometheus, false));
        assert_eq!(parse(b"HEAD /metrics?x=y HTTP/1.0\r\n\r\n"), wanted(Format::Prometheus, true));
        let prometheus = b"GET /metrics HTTP/1.1\r\nHost: x\r\nACCEPT: text/html;q=0.1, \
                           application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
                           q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n\r\n";
        assert_eq!(parse(prometheus), wanted(Format::OpenMetrics, false));
        for end in 0..prometheus.len() {
            assert_eq!(parse(&prometheus[..end]), None, "{end}");
        }
    }

    #[test]
    fn what_is_not_to_be_had_is_refused() {
        assert_eq!(parse(b"GET / HTTP/1.1\r\n\r\n"), Some(Err(Refusal::NotFound)));
        assert_eq!(parse(b"POST /metrics HTTP/1.1\r\n\r\n"), Some(Err(Refusal::Method)));
        assert_eq!(parse(b"\x16\x03\x01\x02\x00\x01"), Some(Err(Refusal::Garbled)));
        assert_eq!(parse(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Some(Err(Refusal::Garbled)));
        assert_eq!(parse(&[b'A'; LIMIT]), Some(Err(Refusal::TooLong)));
        let fields = "a: b\r\n".repeat(FIELDS + 1);
        let many = format!("GET /metrics HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(parse(many.as_bytes()), Some(Err(Refusal::TooLong)));
        let (head, line) = refusal(Refusal::Method);
        assert!(head.contains("\r\nAllow: GET, HEAD\r\n"), "{head}");
        assert!(head.ends_with(&format!("\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", line.len())));
    }
}
