//! Datagrams on a byte stream (RFC 4571): two bytes of length before each. What ICE-TCP speaks (RFC 6544 section 3).
//!
//! The deframer holds what has arrived of the next frames and no more: a connection that announces a frame beyond the
//! limit, or is read on without its frames being taken, is broken for good and to be closed.

use std::ops::Range;

/// Bytes of the length before each frame.
pub const PREFIX: usize = 2;

/// Frames that have arrived and not been taken may fill this much before the stream counts as broken: a socket read of
/// 64 KiB on top of a started frame of the greatest length.
const MAX_BUFFERED: usize = 2 * (u16::MAX as usize + PREFIX);

/// Why a stream cannot be read on. It stays that way: frame boundaries are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// The next frame is longer than the limit.
    #[error("a frame of {announced} bytes where {limit} are allowed")]
    TooLong {
        /// Its length.
        announced: usize,
        /// The limit given to [`Deframer::new`].
        limit: usize,
    },
    /// More was pushed than may wait; the owner did not take the frames.
    #[error("more than {MAX_BUFFERED} bytes of frames not taken")]
    Overflow,
}

/// Cuts a byte stream into frames.
#[derive(Debug)]
pub struct Deframer {
    buffer: Vec<u8>,
    /// What lies before is taken; moved away at the next push, so that a frame is copied once.
    taken: usize,
    limit: usize,
    broken: Option<FramingError>,
}

impl Deframer {
    /// For frames of at most `limit` bytes; the format itself ends at 65535.
    pub fn new(limit: usize) -> Deframer {
        Deframer { buffer: Vec::new(), taken: 0, limit, broken: None }
    }

    /// Adds what was read from the stream. To be followed by [`Deframer::next`] until it returns None. A broken stream
    /// takes nothing any more.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.broken.is_some() {
            return;
        }
        self.buffer.drain(..self.taken);
        self.taken = 0;
        if self.buffer.len() + bytes.len() > MAX_BUFFERED {
            self.buffer = Vec::new();
            self.broken = Some(FramingError::Overflow);
            return;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame (possibly empty), to be opened in place; None when more bytes are needed; or, from the first
    /// error on, that error.
    #[expect(clippy::should_implement_trait, reason = "the frame borrows from the deframer, which Iterator cannot say")]
    pub fn next(&mut self) -> Option<Result<&mut [u8], FramingError>> {
        if let Some(error) = self.broken {
            return Some(Err(error));
        }
        match self.whole_frame()? {
            Ok(frame) => {
                self.taken = frame.end;
                Some(Ok(&mut self.buffer[frame]))
            }
            Err(error) => {
                self.buffer = Vec::new();
                self.broken = Some(error);
                Some(Err(error))
            }
        }
    }

    fn whole_frame(&self) -> Option<Result<Range<usize>, FramingError>> {
        let waiting = self.buffer.get(self.taken..)?;
        let announced = usize::from(u16::from_be_bytes(*waiting.first_chunk()?));
        if announced > self.limit {
            return Some(Err(FramingError::TooLong { announced, limit: self.limit }));
        }
        let start = self.taken + PREFIX;
        (waiting.len() >= PREFIX + announced).then_some(Ok(start..start + announced))
    }
}

/// Appends `datagram` to `stream` as one frame. False, and nothing appended, if it is longer than 65535 bytes.
#[must_use]
pub fn frame(datagram: &[u8], stream: &mut impl for<'a> Extend<&'a u8>) -> bool {
    let Ok(len) = u16::try_from(datagram.len()) else { return false };
    stream.extend(&len.to_be_bytes());
    stream.extend(datagram);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(frames: &[&[u8]]) -> Vec<u8> {
        let mut stream = Vec::new();
        assert!(frames.iter().all(|bytes| frame(bytes, &mut stream)));
        stream
    }

    fn taken(deframer: &mut Deframer, into: &mut Vec<Vec<u8>>) -> Option<FramingError> {
        while let Some(next) = deframer.next() {
            match next {
                Ok(bytes) => into.push(bytes.to_vec()),
                Err(error) => return Some(error),
            }
        }
        None
    }

    #[test]
    fn frames_survive_a_split_at_any_byte() {
        let frames: [&[u8]; 4] = [b"first", b"", b"x", &[7; 300]];
        let stream = framed(&frames);
        for split in 0..=stream.len() {
            let (mut deframer, mut out) = (Deframer::new(1500), Vec::new());
            for part in [&stream[..split], &stream[split..]] {
                deframer.push(part);
                assert_eq!(taken(&mut deframer, &mut out), None);
            }
            assert_eq!(out, frames, "split at {split}");
        }
    }

    #[test]
    fn frames_survive_single_bytes() {
        let (mut deframer, mut out) = (Deframer::new(1500), Vec::new());
        for byte in framed(&[b"one", b"two"]) {
            deframer.push(&[byte]);
            assert_eq!(taken(&mut deframer, &mut out), None);
        }
        assert_eq!(out, [b"one", b"two"]);
    }

    #[test]
    fn frame_beyond_the_limit_breaks_the_stream_for_good() {
        let (mut deframer, mut out) = (Deframer::new(4), Vec::new());
        deframer.push(&framed(&[b"good", b"large", b"good"]));
        let error = Some(FramingError::TooLong { announced: 5, limit: 4 });
        assert_eq!(taken(&mut deframer, &mut out), error);
        assert_eq!(out, [b"good"]);
        deframer.push(&framed(&[b"good"]));
        assert_eq!(taken(&mut deframer, &mut out), error);
        assert_eq!(out.len(), 1);
    }

    #[test]
    fn frames_not_taken_are_bounded() {
        let mut deframer = Deframer::new(65_535);
        for _ in 0..3 {
            deframer.push(&framed(&[&[1; 60_000]]));
        }
        assert_eq!(deframer.next(), Some(Err(FramingError::Overflow)));
        assert_eq!(deframer.buffer.capacity(), 0);
    }

    #[test]
    fn longest_frame_passes_and_a_longer_one_cannot_be_written() {
        let longest = vec![9; 65_535];
        let mut deframer = Deframer::new(65_535);
        deframer.push(&framed(&[&longest]));
        assert_eq!(deframer.next().map(|frame| frame.map(|bytes| bytes.to_vec())), Some(Ok(longest)));

        let mut stream = Vec::new();
        assert!(!frame(&vec![9; 65_536], &mut stream));
        assert!(stream.is_empty());
    }
}
