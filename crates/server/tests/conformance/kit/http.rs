//! HTTP/1.1 by hand: the request is whatever bytes the test wants, the answer is kept as it came. What every answer of
//! this server must have (protocol.md 2) is checked on each of them, so no test has to ask for it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// A connection to the server.
pub(crate) struct Connection {
    stream: TcpStream,
    host: SocketAddr,
    unread: Vec<u8>,
}

/// One answer, as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The fields in order, each line without its end.
    pub(crate) lines: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(host: SocketAddr) -> Connection {
        let stream = TcpStream::connect(host).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        Connection { stream, host, unread: Vec::new() }
    }

    /// Sends these bytes and nothing else.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server reads");
    }

    /// Sends a request with the fields (lines without their ends) it must have: `Host` unless there is one, and
    /// `Content-Length` unless there is one or no body.
    pub(crate) fn request(&mut self, method: &str, target: &str, fields: &[&str], body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let has = |name: &str| fields.iter().any(|field| field.to_ascii_lowercase().starts_with(name));
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !has("host:") {
            head += &format!("Host: {}\r\n", self.host);
        }
        for field in fields {
            head += &format!("{field}\r\n");
        }
        if !has("content-length:") && !has("transfer-encoding:") && (!body.is_empty() || method == "POST") {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head += "\r\n";
        self.send([head.as_bytes(), body].concat());
    }

    /// The next answer, to a request of this method.
    #[track_caller]
    pub(crate) fn answer(&mut self, method: &str) -> Answer {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.more(), "the connection ended before an answer: {:?}", String::from_utf8_lossy(&self.unread));
        };
        let head = String::from_utf8(self.unread.drain(..end).collect()).expect("a head of ASCII");
        let mut lines = head[..end - 4].split("\r\n");
        let status_line = lines.next().expect("a status line");
        let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).expect(status_line);
        let lines = lines.map(str::to_owned).collect();
        let mut answer = Answer { status: status.parse().expect(status_line), lines, body: Vec::new() };
        if answer.status < 200 {
            return answer;
        }
        let length = answer.field("content-length").map_or(0, |text| text.parse().expect("a length"));
        assert!(answer.field("transfer-encoding").is_none(), "every answer of ours has a length: {answer:?}");
        if method != "HEAD" && answer.status != 204 {
            while self.unread.len() < length {
                assert!(self.more(), "the connection ended in a body: {answer:?}");
            }
            answer.body = self.unread.drain(..length).collect();
        }
        answer.check();
        answer
    }

    /// Whether the server closes without another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && !self.more()
    }

    /// Reads more; false at the end.
    fn more(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(read) => {
                self.unread.extend_from_slice(&bytes[..read]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("reading: {error}"),
        }
    }
}

impl Answer {
    /// The values of the fields of that name, in order, exactly as sent.
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let fields = self.lines.iter().filter_map(|line| line.split_once(':'));
        let values = fields.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        values.map(|value| value.strip_prefix(' ').unwrap_or(value)).collect()
    }

    /// The value of a field that may stand there once at most.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let values = self.fields(name);
        assert!(values.len() <= 1, "{name} more than once: {self:?}");
        values.first().copied()
    }

    /// The body as text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// `Location` of a 201.
    #[track_caller]
    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, 201, "{}", self.text());
        self.field("location").expect("a Location")
    }

    /// `ETag`.
    #[track_caller]
    pub(crate) fn etag(&self) -> &str {
        self.field("etag").expect("an ETag")
    }

    /// What the problem body says to a person.
    #[track_caller]
    pub(crate) fn detail(&self) -> String {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).expect("a problem body");
        problem["detail"].as_str().expect("a detail").to_owned()
    }

    /// Asserts the status, with the whole answer in the message.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{:?} {}", self.lines, String::from_utf8_lossy(&self.body));
        self
    }

    /// What holds for every answer: protocol.md 2 items 5, 6, 7 and 9, 2.1, 2.2 and 2.4.
    #[track_caller]
    fn check(&self) {
        for line in &self.lines {
            let (name, value) =
                line.split_once(": ").unwrap_or_else(|| panic!("OBS cuts at the first space: {line:?}"));
            assert!(!name.contains(' ') && value.trim() == value, "{line:?}");
        }
        assert!(!(300..400).contains(&self.status) && self.status != 406, "{self:?}");
        self.check_cors();
        if let Some(etag) = self.field("etag") {
            let tag = etag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or_else(|| panic!("{etag}"));
            assert!(tag.len() >= 16 && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{etag}");
            assert!([200, 201].contains(&self.status), "an ETag on {self:?}");
        }
        if self.status >= 400 {
            self.check_problem();
        }
        assert_eq!(self.field("location").is_some(), self.status == 201, "{self:?}");
    }

    #[track_caller]
    fn check_cors(&self) {
        assert_eq!(self.field("access-control-allow-origin"), Some("*"), "{self:?}");
        assert!(self.field("access-control-allow-credentials").is_none(), "{self:?}");
        let max_age = self.field("access-control-max-age").and_then(|age| age.parse::<u32>().ok());
        assert!(max_age.is_some_and(|age| age > 0), "{self:?}");
        for (name, wanted) in [
            ("methods", &["OPTIONS", "GET", "HEAD", "POST", "PATCH", "DELETE"][..]),
            ("headers", &["Authorization", "Content-Type", "If-Match", "ETag", "Accept"]),
        ] {
            self.check_list(&format!("access-control-allow-{name}"), wanted);
        }
        let exposed = ["Location", "ETag", "Link", "Retry-After", "WWW-Authenticate", "Accept-Post", "Accept-Patch"];
        self.check_list("access-control-expose-headers", &exposed);
        self.check_list("access-control-expose-headers", &["Access-Control-Allow-Methods"]);
    }

    #[track_caller]
    fn check_list(&self, name: &str, wanted: &[&str]) {
        let list = self.field(name).unwrap_or_else(|| panic!("no {name}: {self:?}"));
        let has = |one: &str| list.split(", ").any(|other| other == one);
        assert!(wanted.iter().all(|one| has(one)) && !has("*"), "{name}: {list}");
    }

    /// RFC 9457, and nothing of this machine in it.
    #[track_caller]
    fn check_problem(&self) {
        assert_eq!(self.field("cache-control"), Some("no-store"), "{self:?}");
        assert_eq!(self.field("content-type"), Some("application/problem+json"), "{self:?}");
        if self.body.is_empty() {
            // HEAD.
            return;
        }
        let problem: serde_json::Value = serde_json::from_slice(&self.body).expect("JSON");
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["error"], problem["detail"], "MediaMTX's player reads `error`");
        assert!(problem["title"].is_string() && problem["type"].is_string());
        let text = self.text();
        for never in ["o=- ", "m=audio 9", "127.0.0.1", "/home", "panicked"] {
            assert!(!text.contains(never), "{never} in {text}");
        }
    }
}
