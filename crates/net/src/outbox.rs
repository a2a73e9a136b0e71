//! What waits to be written to one TCP connection: whole frames, a bounded number of bytes.
//!
//! A peer that reads too slowly fills its outbox and nothing else. What finds no room is left out whole; what was taken
//! leaves in order and untorn. It lives as long as its connection.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};

use crate::framing::{self, PREFIX};

/// Bytes of media that may wait: a second of 8 Mbit/s, and the largest keyframe of a 4K stream. A sender that knows its
/// rate stops before; see its own bound.
pub const MEDIA_BYTES: usize = 1024 * 1024;

/// Room behind full media for what keeps a session alive: STUN, DTLS, RTCP.
pub const RESERVE_BYTES: usize = 32 * 1024;

/// An emptied outbox gives back its memory above this: a few pictures of a slow stream.
const KEPT_BYTES: usize = 64 * 1024;

/// How much more media a path takes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes, the frames' lengths ([`framing::PREFIX`] each) included.
    pub free: usize,
    /// Bytes when nothing waits.
    pub of: usize,
}

impl Room {
    /// A path that never makes anything wait: UDP.
    pub const UNBOUNDED: Room = Room { free: usize::MAX, of: usize::MAX };

    /// A path that takes nothing: its connection is gone.
    pub const NONE: Room = Room { free: 0, of: 0 };

    /// Bytes that wait.
    pub fn waiting(self) -> usize {
        self.of - self.free
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: VecDeque<u8>,
}

impl Outbox {
    /// An empty outbox, without memory yet.
    pub fn new() -> Outbox {
        Outbox::default()
    }

    /// Room for media. What else is to be sent finds [`RESERVE_BYTES`] more.
    pub fn room(&self) -> Room {
        Room { free: MEDIA_BYTES.saturating_sub(self.bytes.len()), of: MEDIA_BYTES }
    }

    /// Whether everything was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Appends a datagram as one frame. False, and nothing appended, if there is no room for it or no frame can hold it.
    #[must_use]
    pub fn push(&mut self, datagram: &[u8]) -> bool {
        let fits = self.bytes.len() + PREFIX + datagram.len() <= MEDIA_BYTES + RESERVE_BYTES;
        fits && framing::frame(datagram, &mut self.bytes)
    }

    /// Writes as much as `stream` takes; true when nothing is left.
    ///
    /// # Errors
    /// The stream's; it is to be closed then. That it would block is none.
    pub fn write(&mut self, stream: &mut impl Write) -> io::Result<bool> {
        loop {
            let (first, _) = self.bytes.as_slices();
            if first.is_empty() {
                break;
            }
            match stream.write(first) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => drop(self.bytes.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes.shrink_to(KEPT_BYTES);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::Deframer;

    /// Takes as many bytes a call as it is told, then blocks.
    struct Slow {
        takes: Vec<usize>,
        taken: Vec<u8>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let take = self.takes.pop().ok_or(ErrorKind::WouldBlock)?.min(bytes.len());
            self.taken.extend_from_slice(&bytes[..take]);
            Ok(take)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn frames_leave_whole_and_in_order_however_little_is_taken() {
        let frames: Vec<Vec<u8>> = (0..50).map(|n: u8| vec![n; usize::from(n) * 7]).collect();
        let mut outbox = Outbox::new();
        let mut stream = Slow { takes: Vec::new(), taken: Vec::new() };
        for (n, frame) in frames.iter().enumerate() {
            assert!(outbox.push(frame));
            // Now a byte, now less than a frame, now several.
            stream.takes = vec![1, n % 3 * 90 + 1];
            assert!(outbox.write(&mut stream).is_ok());
        }
        stream.takes = vec![usize::MAX; 3];
        assert!(outbox.write(&mut stream).unwrap() && outbox.is_empty());
        let mut deframer = Deframer::new(1500);
        deframer.push(&stream.taken);
        for frame in frames {
            assert_eq!(deframer.next().unwrap().unwrap(), frame);
        }
        assert!(deframer.next().is_none());
    }

    #[test]
    fn full_outbox_takes_no_part_of_a_frame_and_keeps_a_reserve() {
        let mut outbox = Outbox::new();
        assert_eq!(outbox.room(), Room { free: MEDIA_BYTES, of: MEDIA_BYTES });
        while outbox.room().free >= 1002 {
            assert!(outbox.push(&[7; 1000]));
        }
        assert!(outbox.room().waiting() > MEDIA_BYTES - 1002);
        let mut beyond = 0;
        while outbox.push(&[9; 100]) {
            beyond += 1;
        }
        assert!(beyond >= RESERVE_BYTES / 102, "{beyond}");
        assert_eq!(outbox.room().free, 0);
        assert!(outbox.bytes.len() <= MEDIA_BYTES + RESERVE_BYTES);
        assert!(outbox.write(&mut io::sink()).unwrap());
        assert_eq!(outbox.room().free, MEDIA_BYTES);
        assert!(outbox.bytes.capacity() <= KEPT_BYTES, "the memory is given back");
    }

    #[test]
    fn what_no_frame_can_hold_is_left_out() {
        let mut outbox = Outbox::new();
        assert!(!outbox.push(&vec![0; 65_536]));
        assert!(outbox.is_empty());
    }

    #[test]
    fn broken_stream_is_an_error() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut outbox = Outbox::new();
        assert!(outbox.write(&mut Broken).unwrap(), "nothing to write is no error");
        assert!(outbox.push(b"x"));
        assert_eq!(outbox.write(&mut Broken).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
