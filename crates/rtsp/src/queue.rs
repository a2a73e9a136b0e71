//! The way from a worker to the task that owns a reader's sockets.
//!
//! What is put here are interleaved frames, ready to be written (RFC 2326 10.12); over UDP the task takes them apart again.
//! The worker never waits: a queue holds [`MAX_WAITING`] bytes in [`MAX_CHUNKS`] chunks, counted until they are written,
//! and who puts something asks for room first and leaves out what does not fit, up to the next keyframe.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;
use whipstitch_media::Kind;

/// 4 s of 4 Mbit/s: a reader that writes files may be kept by its disk for so long and loses nothing.
pub(crate) const MAX_WAITING: usize = 2 << 20;

/// A chunk is what one burst brought: 2 s of 30 pictures and 50 packets of audio, and slices of a replay.
const MAX_CHUNKS: usize = 256;

/// The worker's end.
pub(crate) struct Outgoing {
    chunks: mpsc::Sender<Chunk>,
    waiting: Arc<AtomicUsize>,
}

/// Frames one after the other. They count as waiting until this is dropped.
pub(crate) struct Chunk {
    pub(crate) frames: Vec<u8>,
    waiting: Arc<AtomicUsize>,
}

/// A queue.
pub(crate) fn queue() -> (Outgoing, mpsc::Receiver<Chunk>) {
    let (chunks, receiver) = mpsc::channel(MAX_CHUNKS);
    (Outgoing { chunks, waiting: Arc::default() }, receiver)
}

impl Outgoing {
    /// Bytes that may be put now.
    pub(crate) fn room(&self) -> usize {
        let room = MAX_WAITING.saturating_sub(self.waiting());
        if self.chunks.capacity() == 0 { 0 } else { room }
    }

    /// Bytes that are not written yet.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Puts frames; false when there is no room, or nobody takes them any more.
    pub(crate) fn put(&self, frames: Vec<u8>) -> bool {
        if frames.is_empty() {
            return true;
        }
        if frames.len() > self.room() {
            return false;
        }
        self.waiting.fetch_add(frames.len(), Ordering::Relaxed);
        self.chunks.try_send(Chunk { frames, waiting: Arc::clone(&self.waiting) }).is_ok()
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.frames.len(), Ordering::Relaxed);
    }
}

/// The channel numbers of a track inside of us: of RTP and RTCP.
pub(crate) const fn channels(kind: Kind) -> (u8, u8) {
    match kind {
        Kind::Video => (0, 1),
        Kind::Audio => (2, 3),
    }
}

/// What such a channel carries, and whether it is RTCP.
pub(crate) fn carried(channel: u8) -> (Kind, bool) {
    let kind = if channel < channels(Kind::Audio).0 { Kind::Video } else { Kind::Audio };
    (kind, channel % 2 == 1)
}

/// The frames of a chunk: channel and packet.
pub(crate) fn frames(mut chunk: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[_, channel, high, low], rest) = chunk.split_first_chunk::<4>()?;
        let (packet, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        chunk = rest;
        Some((channel, packet))
    })
}

/// Appends a packet as an interleaved frame: `write` appends the packet itself. One that does not fit a frame is left out.
pub(crate) fn frame(chunk: &mut Vec<u8>, channel: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let begin = chunk.len();
    chunk.extend_from_slice(&[b'$', channel, 0, 0]);
    write(chunk);
    let len = u16::try_from(chunk.len() - begin - 4).ok().filter(|len| *len > 0);
    match (len, chunk.get_mut(begin + 2..begin + 4)) {
        (Some(len), Some(field)) => field.copy_from_slice(&len.to_be_bytes()),
        _ => chunk.truncate(begin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_counts_until_it_is_written() {
        let (outgoing, mut chunks) = queue();
        assert!(outgoing.put(vec![0; MAX_WAITING - 10]));
        assert_eq!((outgoing.room(), outgoing.waiting()), (10, MAX_WAITING - 10));
        assert!(!outgoing.put(vec![0; 11]));
        let chunk = chunks.try_recv().unwrap();
        assert_eq!(outgoing.room(), 10, "taken is not written");
        drop(chunk);
        assert_eq!(outgoing.waiting(), 0);
        for _ in 0..MAX_CHUNKS {
            assert!(outgoing.put(vec![0]));
        }
        assert!(!outgoing.put(vec![0]));
        drop(chunks);
        assert_eq!(outgoing.waiting(), 0, "nothing is left behind");
    }

    #[test]
    fn channels_say_what_they_carry() {
        for kind in Kind::ALL {
            let (rtp, rtcp) = channels(kind);
            assert_eq!((carried(rtp), carried(rtcp)), ((kind, false), (kind, true)));
        }
    }

    #[test]
    fn frames_are_taken_apart_as_they_were_put_together() {
        let mut chunk = Vec::new();
        frame(&mut chunk, 0, |chunk| chunk.extend_from_slice(b"one"));
        frame(&mut chunk, 1, |_| {});
        frame(&mut chunk, 2, |chunk| chunk.resize(chunk.len() + 70_000, 0));
        frame(&mut chunk, 3, |chunk| chunk.extend_from_slice(b"$"));
        assert_eq!(frames(&chunk).collect::<Vec<_>>(), [(0, &b"one"[..]), (3, &b"$"[..])]);
        assert_eq!(frames(&chunk[..3]).count() + frames(&chunk[..6]).count(), 0);
    }
}
