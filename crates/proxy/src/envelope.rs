//! SRS's JSON envelope around offer and answer: `/rtc/v1/publish/` and `/rtc/v1/play/`.
//!
//! A request is `{"api","streamurl","sdp","clientip","tid"}`, of which only the stream and the offer are looked at. Of a
//! reply (`{"code":0,"server","service","pid","sdp","sessionid",…}`) every byte stays as it is but those of the answer.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

/// What a client asks.
#[derive(Deserialize)]
pub struct Request {
    /// `webrtc://host/app/stream`.
    pub streamurl: String,
    /// The offer.
    pub sdp: String,
}

/// Why a body is no envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the body is no JSON object with the texts streamurl and sdp")]
pub struct EnvelopeError;

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// It is no JSON, or not this.
    pub fn read(body: &[u8]) -> Result<Self, EnvelopeError> {
        serde_json::from_slice(body).map_err(|_| EnvelopeError)
    }
}

/// A reply that carries an answer, and where in it.
pub struct Reply<'a> {
    body: &'a str,
    at: std::ops::Range<usize>,
    /// The answer.
    pub sdp: String,
}

#[derive(Deserialize)]
struct Borrowed<'a> {
    #[serde(default)]
    code: i64,
    #[serde(borrow, default)]
    sdp: Option<&'a RawValue>,
}

impl<'a> Reply<'a> {
    /// Reads the body of a reply; `None` when it is an error (a `code` other than 0), or no envelope, or has no answer.
    #[must_use]
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let body = std::str::from_utf8(body).ok()?;
        let Borrowed { code: 0, sdp: Some(raw) } = serde_json::from_str(body).ok()? else { return None };
        let sdp = serde_json::from_str(raw.get()).ok()?;
        // The raw value is a part of the body, so the distance of the two is its place.
        let start = (raw.get().as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
        let at = start..start + raw.get().len();
        (body.get(at.clone()) == Some(raw.get())).then_some(Self { body, at, sdp })
    }

    /// The same reply with another answer.
    #[must_use]
    pub fn with(&self, sdp: &str) -> String {
        let (before, after) = (&self.body[..self.at.start], &self.body[self.at.end..]);
        format!("{before}{}{after}", serde_json::Value::from(sdp))
    }
}

/// The reply for an answer that came without an envelope. `session` is what SRS calls a session by: the ufrags of both.
#[must_use]
pub fn made(sdp: &str, session: &str) -> String {
    #[derive(Serialize)]
    struct Made<'a> {
        code: u32,
        server: &'static str,
        sdp: &'a str,
        sessionid: &'a str,
    }
    let made = Made { code: 0, server: "whipstitch", sdp, sessionid: session };
    serde_json::to_string(&made).expect("texts and a number are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_reply_only_the_answer_changes() {
        let body = "{ \"code\":0 , \"server\":\"vid-1\",\r\n\"sdp\" : \"v=0\\r\\no=\\u002d\\r\\n\",\"sessionid\":\"a:b\",\"sdp2\":\"v=0\\r\\n\", \"n\":1.50e3}";
        let reply = Reply::read(body.as_bytes()).expect("a reply");
        assert_eq!(reply.sdp, "v=0\r\no=-\r\n");
        let expected = "{ \"code\":0 , \"server\":\"vid-1\",\r\n\"sdp\" : \"x\\r\\n\\\"\",\"sessionid\":\"a:b\",\"sdp2\":\"v=0\\r\\n\", \"n\":1.50e3}";
        assert_eq!(reply.with("x\r\n\""), expected);
        let made = made("v=0\r\n", "a:b");
        assert_eq!(Reply::read(made.as_bytes()).map(|reply| reply.sdp).as_deref(), Some("v=0\r\n"));
    }

    #[test]
    fn errors_and_garbage_are_no_reply_and_no_request() {
        for body in [
            "",
            "{}",
            "[]",
            "{\"code\":400}",
            "{\"code\":1,\"sdp\":\"v=0\"}",
            "{\"sdp\":1}",
            "{\"sdp\":\"\\ud800\"}",
            "{\"sdp\":\"a\"",
            "\u{7f}",
        ] {
            assert!(Reply::read(body.as_bytes()).is_none(), "{body}");
            assert!(Request::read(body.as_bytes()).is_err(), "{body}");
        }
        assert!(Reply::read(b"{\"sdp\":\"\xff\"}").is_none());
        let body = br#"{"api":"http://h:1985/rtc/v1/play/","streamurl":"webrtc://h/live/cam","sdp":"v=0\r\n","clientip":null,"tid":"1"}"#;
        let request = Request::read(body).expect("a request");
        assert_eq!((request.streamurl.as_str(), request.sdp.as_str()), ("webrtc://h/live/cam", "v=0\r\n"));
    }
}
