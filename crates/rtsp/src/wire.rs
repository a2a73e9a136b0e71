//! Bytes of an RTSP connection become requests and interleaved frames (RFC 2326 4, 6, 10.12).
//!
//! Finds where a message ends, within bounds, whatever the bytes are; its grammar is `rtsp-types`'. What cannot be a message
//! any more is a [`Violation`], after which nothing of the connection is understood and it has to be closed.

use rtsp_types::headers::{self, HeaderName};
use rtsp_types::{Message, Method, StatusCode, Version};

/// A request line, protocol.md 13.1.
const MAX_LINE: usize = 4 * 1024;

/// All lines of a head.
const MAX_HEAD: usize = 16 * 1024;

/// Header fields.
const MAX_FIELDS: usize = 64;

/// A body: an ANNOUNCE's SDP is a few kilobytes.
const MAX_BODY: usize = 64 * 1024;

/// Longer ones are not written back.
const MAX_CSEQ: usize = 32;

/// What comes over a connection.
#[derive(Debug, PartialEq)]
pub(crate) enum Item {
    /// A request that follows the grammar.
    Request(Request),
    /// A whole request that is answered with this status and nothing else.
    Refused(StatusCode, Option<String>),
    /// An interleaved frame.
    Frame(u8, Vec<u8>),
}

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    /// As it came, to be written back.
    pub(crate) cseq: String,
    message: rtsp_types::Request<Vec<u8>>,
}

impl Request {
    pub(crate) fn method(&self) -> &Method {
        self.message.method()
    }

    /// The URI; `None` for `*`.
    pub(crate) fn uri(&self) -> Option<&str> {
        self.message.request_uri().map(rtsp_types::Url::as_str)
    }

    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.message.header(name).map(headers::HeaderValue::as_str)
    }

    pub(crate) fn body(&self) -> &[u8] {
        self.message.body()
    }
}

/// The connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Answered with this status; then it is closed.
    Rtsp(StatusCode),
    /// An HTTP request, from a player that tries to tunnel.
    Http,
}

/// Takes bytes as they come and gives what they are. Holds at most one message and what was read behind it.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    bytes: Vec<u8>,
    /// So much of `bytes` was given out.
    taken: usize,
    /// So much behind `taken` holds no end of a head.
    searched: usize,
}

/// One line of a head, by its place.
struct Head {
    /// With the empty line at its end.
    len: usize,
    lines: Vec<std::ops::Range<usize>>,
}

impl Decoder {
    /// Bytes that were not given out yet.
    pub(crate) fn kept(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// Takes what was read.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message; `None` when more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Item>, Violation> {
        loop {
            let rest = self.bytes.get(self.taken..).unwrap_or_default();
            let blank = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if blank > 0 {
                // Between messages they mean nothing.
                self.take(blank);
                continue;
            }
            match rest.first() {
                None => return Ok(None),
                Some(b'$') => return Ok(self.frame()),
                Some(_) => match self.message()? {
                    Some(None) => {}
                    found => return Ok(found.flatten()),
                },
            }
        }
    }

    fn take(&mut self, len: usize) {
        self.taken += len;
        self.searched = 0;
    }

    fn frame(&mut self) -> Option<Item> {
        let rest = self.bytes.get(self.taken..)?;
        let (&[_, channel, high, low], behind) = rest.split_first_chunk::<4>()?;
        let frame = behind.get(..usize::from(u16::from_be_bytes([high, low])))?.to_vec();
        self.take(4 + frame.len());
        Some(Item::Frame(channel, frame))
    }

    /// A request, or `Some(None)` for a response, which nobody asked for.
    fn message(&mut self) -> Result<Option<Option<Item>>, Violation> {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let Some(head) = head(rest, self.searched)? else {
            // The end may lie across what is there and what comes.
            self.searched = rest.len().saturating_sub(3);
            return Ok(None);
        };
        let text: Vec<&[u8]> = head.lines.iter().filter_map(|line| rest.get(line.clone())).collect();
        let first = text.first().copied().unwrap_or_default();
        if is_http(first) {
            return Err(Violation::Http);
        }
        let length = match field(&text, b"content-length").map(number) {
            None => 0,
            Some(Some(length)) if length <= MAX_BODY => length,
            Some(Some(_)) => return Err(Violation::Rtsp(StatusCode::RequestMessageBodyTooLarge)),
            Some(None) => return Err(Violation::Rtsp(StatusCode::BadRequest)),
        };
        let Some(body) = rest.get(head.len..head.len + length) else { return Ok(None) };
        let item = if first.starts_with(b"RTSP/") { None } else { Some(judge(&text, body)) };
        let len = head.len + length;
        self.take(len);
        Ok(Some(item))
    }
}

/// The head that `bytes` begin with, if it is all there. Lines end with CRLF or, in the hands of careless authors, LF.
fn head(bytes: &[u8], from: usize) -> Result<Option<Head>, Violation> {
    let within = bytes.get(..bytes.len().min(MAX_HEAD)).unwrap_or_default();
    let first = within.iter().position(|byte| *byte == b'\n');
    if first.unwrap_or(within.len()) > MAX_LINE {
        return Err(Violation::Rtsp(StatusCode::RequestURITooLong));
    }
    let behind = within.get(from..).unwrap_or_default();
    let ends = |at: usize| matches!(behind.get(at + 1..), Some([b'\n', ..] | [b'\r', b'\n', ..]));
    if !(0..behind.len()).any(|at| behind.get(at) == Some(&b'\n') && ends(at)) {
        let full = within.len() == MAX_HEAD;
        return if full { Err(Violation::Rtsp(StatusCode::BadRequest)) } else { Ok(None) };
    }
    let (mut lines, mut at) = (Vec::new(), 0);
    while let Some(len) = within.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n')) {
        let end = at + len;
        let line = at..if end > at && within.get(end - 1) == Some(&b'\r') { end - 1 } else { end };
        at = end + 1;
        if line.is_empty() {
            return Ok(Some(Head { len: at, lines }));
        }
        if lines.len() > MAX_FIELDS {
            return Err(Violation::Rtsp(StatusCode::BadRequest));
        }
        lines.push(line);
    }
    Ok(None)
}

fn is_http(line: &[u8]) -> bool {
    let version = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    version.starts_with(b"HTTP/")
}

/// The value of the first header field of this name, in lower case.
fn field<'a>(lines: &[&'a [u8]], name: &[u8]) -> Option<&'a [u8]> {
    lines.iter().skip(1).find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (key, value) = line.split_at_checked(colon)?;
        key.eq_ignore_ascii_case(name).then(|| value.get(1..).unwrap_or_default().trim_ascii())
    })
}

fn number(value: &[u8]) -> Option<usize> {
    // No sign, and nothing that would wrap.
    let digits = (1..=9).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

/// What a whole request is.
fn judge(lines: &[&[u8]], body: &[u8]) -> Item {
    let legal = |value: &&[u8]| (1..=MAX_CSEQ).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    let cseq = field(lines, b"cseq").filter(legal).map(|value| String::from_utf8_lossy(value).into_owned());
    let version = lines.first().and_then(|line| line.rsplit(|byte| *byte == b' ').next()).unwrap_or_default();
    if version.starts_with(b"RTSP/") && version != b"RTSP/1.0" {
        return Item::Refused(StatusCode::RTSPVersionNotSupported, cseq);
    }
    // As it should have been written: every line with CRLF.
    let mut whole: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\r\n"[..]]).flatten().copied().collect();
    whole.extend_from_slice(b"\r\n");
    whole.extend_from_slice(body);
    match (Message::<Vec<u8>>::parse(&whole), cseq) {
        (Ok((Message::Request(message), len)), Some(cseq))
            if len == whole.len() && message.version() == Version::V1_0 =>
        {
            Item::Request(Request { cseq, message })
        }
        (_, cseq) => Item::Refused(StatusCode::BadRequest, cseq),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(decoder: &mut Decoder) -> Result<Vec<Item>, Violation> {
        std::iter::from_fn(|| decoder.next().transpose()).collect()
    }

    fn decode(bytes: &[u8]) -> Result<Vec<Item>, Violation> {
        let mut decoder = Decoder::default();
        decoder.push(bytes);
        all(&mut decoder)
    }

    fn shown(items: &[Item]) -> Vec<String> {
        let show = |item: &Item| match item {
            Item::Request(request) => format!(
                "{} {} {} {:?}",
                <&str>::from(request.method()),
                request.uri().unwrap_or("*"),
                request.cseq,
                String::from_utf8_lossy(request.body())
            ),
            Item::Refused(status, cseq) => format!("{} {}", u16::from(*status), cseq.as_deref().unwrap_or("-")),
            Item::Frame(channel, bytes) => format!("${channel} {bytes:?}"),
        };
        items.iter().map(show).collect()
    }

    #[test]
    fn requests_and_frames_are_told_apart_wherever_they_are_split() {
        let bytes = b"OPTIONS * RTSP/1.0\r\nCSeq: 0\r\n\r\n\
            $\x01\x00\x02\r\n\
            \r\n\r\nGET_PARAMETER rtsp://h/live/cam RTSP/1.0\nCSeq: 7\nSession: a\nContent-Length: 4\n\nv\r\n\r\
            $\x00\x00\x00\
            RTSP/1.0 200 OK\r\nCSeq: 4\r\n\r\n\
            TEARDOWN rtsp://h/live/cam/ RTSP/1.0\r\ncseq:8\r\n\r\n";
        let expected = [
            "OPTIONS * 0 \"\"",
            "$1 [13, 10]",
            "GET_PARAMETER rtsp://h/live/cam 7 \"v\\r\\n\\r\"",
            "$0 []",
            "TEARDOWN rtsp://h/live/cam/ 8 \"\"",
        ];
        assert_eq!(shown(&decode(bytes).unwrap()), expected);
        for split in 0..bytes.len() {
            let (mut decoder, (before, after)) = (Decoder::default(), bytes.split_at(split));
            decoder.push(before);
            let mut items = all(&mut decoder).unwrap();
            decoder.push(after);
            items.extend(all(&mut decoder).unwrap());
            assert_eq!(shown(&items), expected, "split at {split}");
        }
        let mut decoder = Decoder::default();
        let mut items = Vec::new();
        for byte in bytes {
            decoder.push(&[*byte]);
            items.extend(all(&mut decoder).unwrap());
        }
        assert_eq!(shown(&items), expected);
    }

    #[test]
    fn what_follows_no_grammar_is_refused_and_the_next_request_understood() {
        for (request, expected) in [
            ("OPTIONS * RTSP/1.0\r\n", "400 -"),
            ("OPTIONS * RTSP/1.0\r\nCSeq:\r\n", "400 -"),
            ("OPTIONS * RTSP/1.0\r\nCSeq: 1 2\r\n", "400 -"),
            ("OPTIONS * RTSP/2.0\r\nCSeq: 3\r\n", "505 3"),
            ("OPTIONS * RTSP/1.1\r\nCSeq: 3\r\n", "505 3"),
            ("OPTIONS *\r\nCSeq: 3\r\n", "400 3"),
            ("OPTIONS nowhere RTSP/1.0\r\nCSeq: 3\r\n", "400 3"),
            ("OPTIONS * RTSP/1.0\r\nno colon\r\nCSeq: 3\r\n", "400 3"),
            ("OPTIONS * RTSP/1.0\r\nCSeq: 3\r\nX: \u{e9}\r\n", "OPTIONS * 3 \"\""),
            ("FLY rtsp://h/cam RTSP/1.0\r\nCSeq: 3\r\n", "FLY rtsp://h/cam 3 \"\""),
        ] {
            let bytes = format!("{request}\r\nOPTIONS * RTSP/1.0\r\nCSeq: 4\r\n\r\n");
            assert_eq!(shown(&decode(bytes.as_bytes()).unwrap()), [expected, "OPTIONS * 4 \"\""], "{request}");
        }
    }

    #[test]
    fn bounds_hold() {
        let head = |line: &str, fields: &str| format!("{line}\r\nCSeq: 1\r\n{fields}\r\n").into_bytes();
        let options = "OPTIONS * RTSP/1.0";
        let uri = |len: usize| format!("OPTIONS rtsp://h/{} RTSP/1.0", "a".repeat(len));
        let rtsp = |status| Err(Violation::Rtsp(status));
        for (what, bytes, expected) in [
            ("a long line", head(&uri(4000), ""), Ok(1)),
            ("too long a line", head(&uri(5000), ""), rtsp(StatusCode::RequestURITooLong)),
            ("a line without end", uri(5000).into_bytes(), rtsp(StatusCode::RequestURITooLong)),
            ("63 fields more", head(options, &"X: y\r\n".repeat(63)), Ok(1)),
            ("64 fields more", head(options, &"X: y\r\n".repeat(64)), rtsp(StatusCode::BadRequest)),
            ("a large head", head(options, &format!("X: {}\r\n", "y".repeat(17_000))), rtsp(StatusCode::BadRequest)),
            ("a large body", head(options, "Content-Length: 65537\r\n"), rtsp(StatusCode::RequestMessageBodyTooLarge)),
            ("an absurd one", head(options, "Content-Length: 18446744073709551617\r\n"), rtsp(StatusCode::BadRequest)),
            ("a negative one", head(options, "Content-Length: -1\r\n"), rtsp(StatusCode::BadRequest)),
            ("a body that has not come", head(options, "Content-Length: 65536\r\n"), Ok(0)),
            ("HTTP", b"GET /live/cam HTTP/1.0\r\n\r\n".to_vec(), Err(Violation::Http)),
        ] {
            assert_eq!(decode(&bytes).map(|items| items.len()), expected, "{what}");
        }
    }
}
