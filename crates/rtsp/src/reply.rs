//! Responses as bytes.

use rtsp_types::headers::{self, HeaderName};
use rtsp_types::{Response, StatusCode, Version};

/// 404: what is no name, or none that the operator allows.
pub(crate) const NO_NAME: &str =
    "No stream has such a name here; one is letters, digits and . _ - behind rtsp://HOST/live/";
/// 404: what could be read if somebody sent it.
pub(crate) const NOBODY: &str = "Nobody is publishing this stream";
/// 503: what is left is for the children of processes.
pub(crate) const FULL: &str = "There are too many connections";
/// 401.
pub(crate) const NO_TOKEN: &str = "A token is needed as the password, and none came or a wrong one";
/// 403.
pub(crate) const NOT_ALLOWED: &str = "This token does not allow that";

/// Letters of a reason.
const MAX_REASON: usize = 200;

/// A response in the making.
pub(crate) struct Reply {
    response: rtsp_types::ResponseBuilder,
}

impl Reply {
    /// With this status; `cseq` as the request had it.
    pub(crate) fn new(status: StatusCode, cseq: Option<&str>) -> Reply {
        let mut response = Response::builder(Version::V1_0, status).header(headers::SERVER, "whipstitch");
        if let Some(cseq) = cseq {
            response = response.header(headers::CSEQ, cseq);
        }
        Reply { response }
    }

    /// Other words than the status' own, for the people who see them: FFmpeg and GStreamer show them.
    pub(crate) fn reason(self, words: &str) -> Reply {
        // RFC 2326 7.1.1: text without CR and LF. FFmpeg keeps 256 bytes of the line.
        let plain = |letter: char| if letter == ' ' || letter.is_ascii_graphic() { letter } else { '?' };
        let words: String = words.chars().map(plain).take(MAX_REASON).collect();
        Reply { response: self.response.reason_phrase(words) }
    }

    pub(crate) fn header(self, name: HeaderName, value: impl Into<String>) -> Reply {
        Reply { response: self.response.header(name, value.into()) }
    }

    /// One field of this name for each value. In one line with commas, which would mean the same, FFmpeg reads the last
    /// challenge as a part of the first.
    pub(crate) fn lines(self, name: HeaderName, values: &[String]) -> Reply {
        let between = format!("\r\n{name}: ");
        self.header(name, values.join(&between))
    }

    pub(crate) fn empty(self) -> Vec<u8> {
        written(&self.response.build(Vec::new()))
    }

    pub(crate) fn body(self, body: Vec<u8>) -> Vec<u8> {
        written(&self.response.build(body))
    }
}

fn written(response: &Response<Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    response.write(&mut bytes).expect("memory takes any number of bytes");
    bytes
}

/// The end of a connection that spoke HTTP: players that try to tunnel go on to something else.
pub(crate) const HTTP: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
