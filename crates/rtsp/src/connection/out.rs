//! What waits to be written to a connection: responses and media, in the order in which they were put.
//!
//! Each piece is let go of when it is written, so what is held is what waits, however long a client stays that takes just
//! as much as there is.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;

use crate::queue::Chunk;

/// Pieces that are written at once: the frames of a few bursts.
const AT_ONCE: usize = 16;

/// Pieces that wait. Bounded by whoever puts them, who looks at [`waiting`](Self::waiting) before.
#[derive(Default)]
pub(super) struct Out {
    pieces: VecDeque<Piece>,
    /// So much of the first is written.
    written: usize,
    waiting: usize,
    /// Since when nothing was taken, if something waits.
    stuck: Option<Instant>,
}

enum Piece {
    Reply(Vec<u8>),
    /// It counts as waiting in its queue until it is dropped.
    Media(Chunk),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Piece::Reply(bytes) => bytes,
            Piece::Media(chunk) => &chunk.frames,
        }
    }
}

impl Out {
    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Since when the client has taken nothing of what waits.
    pub(super) fn stuck(&self) -> Option<Instant> {
        self.stuck
    }

    pub(super) fn reply(&mut self, bytes: Vec<u8>) {
        self.put(Piece::Reply(bytes));
    }

    pub(super) fn media(&mut self, chunk: Chunk) {
        self.put(Piece::Media(chunk));
    }

    fn put(&mut self, piece: Piece) {
        let len = piece.bytes().len();
        if len > 0 {
            self.waiting += len;
            self.pieces.push_back(piece);
            self.stuck.get_or_insert_with(Instant::now);
        }
    }

    /// Writes what the client takes now; how much that was is for [`wrote`](Self::wrote).
    pub(super) async fn write(&self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); AT_ONCE];
        let mut behind = self.written;
        let pieces = self.pieces.iter().take(AT_ONCE);
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece.bytes().get(std::mem::take(&mut behind)..).unwrap_or_default());
        }
        writer.write_vectored(slices.get(..self.pieces.len().min(AT_ONCE)).unwrap_or_default()).await
    }

    /// So much was written.
    pub(super) fn wrote(&mut self, len: usize) {
        self.waiting = self.waiting.saturating_sub(len);
        self.written += len;
        while let Some(first) = self.pieces.front().map(|piece| piece.bytes().len())
            && self.written >= first
        {
            self.written -= first;
            self.pieces.pop_front();
        }
        self.stuck = (self.waiting > 0).then(Instant::now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::queue;

    async fn written(out: &Out) -> Vec<u8> {
        let mut bytes = Vec::new();
        let len = out.write(&mut bytes).await.unwrap();
        bytes.truncate(len);
        bytes
    }

    #[tokio::test]
    async fn pieces_are_written_in_their_order_from_where_the_client_has_stopped() {
        let (mut out, (media, mut chunks)) = (Out::default(), queue());
        assert!(written(&out).await.is_empty() && out.stuck().is_none());
        out.reply(b"one".into());
        media.put(b"two".into());
        out.media(chunks.try_recv().unwrap());
        out.reply(Vec::new());
        out.reply(b"three".into());
        assert_eq!(out.waiting(), 11);
        for (takes, left) in [(0, "onetwothree"), (2, "etwothree"), (3, "othree"), (1, "three"), (5, "")] {
            out.wrote(takes);
            assert_eq!((written(&out).await, out.waiting()), (left.into(), left.len()));
            assert_eq!(out.stuck().is_none(), left.is_empty());
        }
    }

    #[tokio::test]
    async fn what_is_written_is_held_no_longer_even_if_something_always_waits() {
        let (mut out, (media, mut chunks)) = (Out::default(), queue());
        out.reply(vec![0; 100]);
        for _ in 0..1000 {
            media.put(vec![0; 1000]);
            out.media(chunks.try_recv().unwrap());
            out.reply(vec![0; 100]);
            out.wrote(1100);
            assert_eq!((out.waiting(), media.waiting(), out.pieces.len()), (100, 0, 1));
        }
    }

    #[tokio::test]
    async fn many_pieces_are_written_some_at_a_time() {
        let mut out = Out::default();
        (0..3 * AT_ONCE).for_each(|n| out.reply(vec![n as u8]));
        assert_eq!(written(&out).await, (0..AT_ONCE as u8).collect::<Vec<_>>());
        out.wrote(AT_ONCE);
        assert_eq!(written(&out).await[0], AT_ONCE as u8);
    }
}
