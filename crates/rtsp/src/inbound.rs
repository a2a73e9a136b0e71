//! The way from the task that reads a connection to the worker of the publisher at its other end.
//!
//! What goes here are interleaved frames as they were read, with [channel numbers of our own](crate::queue::channels). The queue holds
//! [`MAX_BATCHES`] of them, each of one read of the socket and what was left of a frame before it: 80 KiB at most, mostly 16.
//! Without room the task waits, and reads no more meanwhile.

use std::time::Instant;

use tokio::sync::mpsc;

/// 20 ms of 100 Mbit/s, which is what a publisher may send at most.
const MAX_BATCHES: usize = 16;

/// What one read brought.
pub(crate) struct Batch {
    pub(crate) at: Instant,
    pub(crate) frames: Vec<u8>,
}

/// The task's end.
pub(crate) struct Inbound {
    batches: mpsc::Sender<Batch>,
}

/// A queue.
pub(crate) fn queue() -> (Inbound, mpsc::Receiver<Batch>) {
    let (batches, receiver) = mpsc::channel(MAX_BATCHES);
    (Inbound { batches }, receiver)
}

impl Inbound {
    /// Puts a batch, or gives it back when there is no room. To a publisher that is gone everything is lost.
    pub(crate) fn put(&self, batch: Batch) -> Result<(), Batch> {
        match self.batches.try_send(batch) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(batch)) => Err(batch),
        }
    }

    /// Waits until there is room, or nobody who takes anything.
    pub(crate) async fn room(&self) {
        let _ = self.batches.reserve().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_given_back() {
        let (inbound, mut batches) = queue();
        let batch = |length| Batch { at: Instant::now(), frames: vec![0; length] };
        for length in 0..MAX_BATCHES {
            assert!(inbound.put(batch(length)).is_ok());
        }
        assert_eq!(inbound.put(batch(77)).map_err(|batch| batch.frames.len()), Err(77));
        assert_eq!(batches.try_recv().map(|batch| batch.frames.len()), Ok(0), "in order");
        assert!(inbound.put(batch(77)).is_ok());
        drop(batches);
        assert!(inbound.put(batch(78)).is_ok(), "nobody waits for what is gone");
    }
}
