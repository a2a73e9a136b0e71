//! HTTP from a machine of a test's own: asked with curl, as the test itself is elsewhere.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::lan::Host;

/// Seconds that an answer may take: more than any part of a proxy waits.
const PATIENCE: &str = "20";

/// An answer, or that there was none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// 0 when nobody answered.
    pub status: u16,
    /// The header fields, a line each.
    pub head: String,
    /// What came with it.
    pub body: String,
}

impl Reply {
    /// The value of a header field.
    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

impl Host {
    /// Sends a request from this host, with these header fields (`Name: value`) and this body.
    pub fn ask(&self, method: &str, url: &str, fields: &[&str], body: &str) -> Reply {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--include", "--max-time", PATIENCE, "--request", method, "--header", "Expect:"]);
        for field in fields {
            curl.args(["--header", field]);
        }
        if !body.is_empty() {
            curl.args(["--data-binary", "@-"]);
        }
        let mut command = self.inside(curl.arg(url));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("nsenter is in util-linux");
        // One that has no use for a body closes its end.
        let _ = child.stdin.take().expect("a pipe").write_all(body.as_bytes());
        let output = child.wait_with_output().expect("its end");
        let text = String::from_utf8_lossy(&output.stdout);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return Reply::default() };
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Reply {
            status: status.unwrap_or_else(|| panic!("no status in {head}")),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }
}
