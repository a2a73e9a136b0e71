//! Watches the bytes of one HTTP/1.1 connection go by, to know two things the HTTP library does not tell: whether a
//! request head is under way (for the timeouts of `connection`), and whether it carried both `Content-Length` and
//! `Transfer-Encoding`. The library resolves such a request quietly; behind a proxy that resolves it the other way it
//! is two requests (RFC 9112 6.1), so `http` refuses it.
//!
//! Constant memory: of each line only its beginning is kept.

/// Longer than `transfer-encoding: chunked` and than any `content-length` that makes sense.
const KEPT: usize = 64;

/// Where in a request the connection stands.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Between requests: no byte of the next head has come.
    Idle,
    /// Inside a request head.
    Head(Head),
    /// Inside a body with this many bytes to come.
    Body(u64),
    /// A chunked body, or a head that makes no sense. Where it ends is not followed: the connection closes after it.
    Opaque {
        /// Whether the head carried both length fields.
        ambiguous: bool,
    },
}

/// What is known of a head so far.
#[derive(Debug, Default)]
pub(crate) struct Head {
    line: Vec<u8>,
    /// Lines with something on them; the first is the request line.
    lines: u32,
    length: Option<u64>,
    has_length: bool,
    is_chunked: bool,
}

impl Stage {
    /// Whether the last request that began its body, if any did, has come to its end. Of a body whose end is not followed
    /// it is not known.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self, Self::Idle | Self::Head(_))
    }

    /// Follows `bytes`, the next ones the client sent.
    pub(crate) fn follow(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            match self {
                Self::Opaque { .. } => return,
                Self::Idle => *self = Self::Head(Head::default()),
                Self::Head(head) => {
                    bytes = rest;
                    if let Some(next) = head.byte(first) {
                        *self = next;
                    }
                }
                Self::Body(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = bytes.get(here..).unwrap_or_default();
                    *left -= here as u64;
                    if *left == 0 {
                        *self = Self::Idle;
                    }
                }
            }
        }
    }
}

impl Head {
    /// Takes one byte; the stage that follows when it was the head's last.
    fn byte(&mut self, byte: u8) -> Option<Stage> {
        if byte != b'\n' {
            if self.line.len() < KEPT {
                self.line.push(byte);
            }
            return None;
        }
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        match (line.is_empty(), self.lines) {
            // RFC 9112 2.2: empty lines before the request line are nothing.
            (true, 0) => None,
            (true, _) => Some(self.end()),
            (false, 0) => {
                self.lines = 1;
                None
            }
            (false, _) => {
                self.lines += 1;
                self.field(line);
                None
            }
        }
    }

    fn field(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let Some((name, value)) = line.split_once(':') else { return };
        if name.eq_ignore_ascii_case("content-length") {
            self.has_length = true;
            self.length = value.trim().parse().ok();
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            self.is_chunked = true;
        }
    }

    fn end(&self) -> Stage {
        match (self.is_chunked, self.has_length, self.length) {
            (true, ambiguous, _) => Stage::Opaque { ambiguous },
            (false, true, None) => Stage::Opaque { ambiguous: false },
            (false, _, None | Some(0)) => Stage::Idle,
            (false, _, Some(length)) => Stage::Body(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str) -> String {
        let mut whole = Stage::Idle;
        whole.follow(text.as_bytes());
        // What is followed byte by byte must come out the same.
        let mut bytewise = Stage::Idle;
        text.bytes().for_each(|byte| bytewise.follow(&[byte]));
        let name = |stage: &Stage| match stage {
            Stage::Idle => "idle".to_owned(),
            Stage::Head(_) => "head".to_owned(),
            Stage::Body(left) => format!("body {left}"),
            Stage::Opaque { ambiguous } => format!("opaque {ambiguous}"),
        };
        assert_eq!(name(&whole), name(&bytewise), "{text:?}");
        name(&whole)
    }

    #[test]
    fn stages_follow_the_bytes() {
        for (text, stage) in [
            ("", "idle"),
            ("P", "head"),
            ("\r\n", "head"),
            ("POST / HTTP/1.1\r\nHost: a\r\n", "head"),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "idle"),
            ("GET / HTTP/1.1\nHost: a\n\n", "idle"),
            ("\r\nGET / HTTP/1.1\r\n\r\nGET", "head"),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab", "body 3"),
            ("POST / HTTP/1.1\r\ncontent-length:5\r\n\r\nabcde", "idle"),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcdeGET / HTTP/1.1\r\n", "head"),
            ("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "idle"),
            ("POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", "opaque false"),
            ("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", "opaque false"),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "opaque false"),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", "opaque true"),
            ("POST / HTTP/1.1\r\nCONTENT-LENGTH: 5\r\nTRANSFER-ENCODING: chunked\r\n\r\n", "opaque true"),
            ("POST / HTTP/1.1\r\nContent-Length: \r\nTransfer-Encoding: x\r\n\r\n", "opaque true"),
        ] {
            assert_eq!(after(text), stage, "{text:?}");
        }
    }

    #[test]
    fn a_long_line_is_not_kept() {
        let mut stage = Stage::Idle;
        stage.follow(b"GET / HTTP/1.1\r\nX: ");
        stage.follow(&[b'x'; 1 << 20]);
        let Stage::Head(head) = &stage else { panic!("{stage:?}") };
        assert_eq!(head.line.len(), KEPT);
        stage.follow(b"\r\n\r\n");
        assert!(matches!(stage, Stage::Idle));
    }
}
