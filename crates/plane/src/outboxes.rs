//! What sessions write to TCP paths, on its way into the outbox of each connection.
//!
//! A session writes a datagram into a batch, as for UDP; before the next one writes, what is there is framed into the
//! outboxes. A connection has its outbox here from its first frame on until it is closed.

use std::collections::HashMap;

use whipstitch_net::batch::Batch;
use whipstitch_net::outbox::{Outbox, Room};
use whipstitch_net::{ConnectionId, Path, Transport};

/// The outboxes of one worker's connections.
#[derive(Debug, Default)]
pub(crate) struct Outboxes {
    batch: Batch,
    boxes: HashMap<ConnectionId, Outbox>,
    /// Connections with something new to write, each once in a row.
    dirty: Vec<ConnectionId>,
    poured: Poured,
}

/// What became of datagrams since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Poured {
    /// Taken by an outbox.
    pub(crate) datagrams: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Those that found no room, or no connection.
    pub(crate) dropped: u64,
}

impl Outboxes {
    /// A connection may be written to from now on.
    pub(crate) fn open(&mut self, id: ConnectionId) {
        self.boxes.entry(id).or_default();
    }

    /// It may not any more; what waits is forgotten.
    pub(crate) fn close(&mut self, id: ConnectionId) {
        self.boxes.remove(&id);
    }

    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Outbox> {
        self.boxes.get_mut(&id)
    }

    /// Where to write the next datagrams.
    pub(crate) fn batch(&mut self) -> &mut Batch {
        self.pour();
        &mut self.batch
    }

    /// What the connection takes, after everything that was written before.
    pub(crate) fn room(&mut self, id: ConnectionId) -> Room {
        self.pour();
        self.boxes.get(&id).map_or(Room::NONE, Outbox::room)
    }

    /// Something may be written to it again.
    pub(crate) fn touch(&mut self, id: ConnectionId) {
        self.dirty.push(id);
    }

    /// The connections that have something to write, some perhaps twice. The list is to be given back, emptied.
    pub(crate) fn take_dirty(&mut self) -> Vec<ConnectionId> {
        self.pour();
        std::mem::take(&mut self.dirty)
    }

    pub(crate) fn give_back(&mut self, dirty: Vec<ConnectionId>) {
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
    }

    /// Takes what was counted since the last call.
    pub(crate) fn take_poured(&mut self) -> Poured {
        std::mem::take(&mut self.poured)
    }

    fn pour(&mut self) {
        for (path, datagram) in self.batch.datagrams() {
            let Path { transport: Transport::Tcp(id), .. } = path else { continue };
            // A session may still write to a connection that is gone, as to a peer that is.
            let taken = self.boxes.get_mut(&id).is_some_and(|outbox| outbox.push(datagram));
            if !taken {
                self.poured.dropped += 1;
                continue;
            }
            self.poured.datagrams += 1;
            self.poured.bytes += datagram.len() as u64;
            if self.dirty.last() != Some(&id) {
                self.dirty.push(id);
            }
        }
        self.batch.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use whipstitch_net::framing::Deframer;

    use super::*;

    fn id(n: u32) -> ConnectionId {
        ConnectionId(NonZeroU32::new(n).unwrap())
    }

    fn put(outboxes: &mut Outboxes, n: u32, bytes: &[u8]) {
        let path = Path { transport: Transport::Tcp(id(n)), ..Path::to(([192, 0, 2, 1], 5000).into()) };
        outboxes.batch().push(path, bytes.len(), |buffer| {
            buffer.copy_from_slice(bytes);
            Some(bytes.len())
        });
    }

    #[test]
    fn each_connection_gets_its_own_frames_in_order() {
        let mut outboxes = Outboxes::default();
        outboxes.open(id(1));
        outboxes.open(id(2));
        for (n, bytes) in [(1, b"one"), (2, b"two"), (1, b"six")] {
            put(&mut outboxes, n, bytes);
        }
        assert_eq!(outboxes.take_dirty(), [id(1), id(2), id(1)]);
        assert_eq!(outboxes.take_poured(), Poured { datagrams: 3, bytes: 9, dropped: 0 });
        assert_eq!(outboxes.take_poured(), Poured::default());
        for (n, expected) in [(1, &[b"one", b"six"][..]), (2, &[b"two"])] {
            let mut stream = Vec::new();
            assert!(outboxes.get_mut(id(n)).unwrap().write(&mut stream).unwrap());
            let mut deframer = Deframer::new(100);
            deframer.push(&stream);
            for bytes in expected {
                assert_eq!(deframer.next().unwrap().unwrap(), *bytes);
            }
            assert!(deframer.next().is_none());
        }
    }

    #[test]
    fn room_counts_what_was_just_written() {
        let mut outboxes = Outboxes::default();
        outboxes.open(id(1));
        let before = outboxes.room(id(1));
        put(&mut outboxes, 1, &[0; 1000]);
        assert_eq!(outboxes.room(id(1)).free, before.free - 1002);
    }

    #[test]
    fn what_is_written_to_a_connection_that_is_gone_is_dropped_and_counted() {
        let mut outboxes = Outboxes::default();
        put(&mut outboxes, 1, b"lost");
        assert_eq!(outboxes.room(id(1)), Room::NONE);
        assert!(outboxes.take_dirty().is_empty());
        assert_eq!(outboxes.take_poured(), Poured { dropped: 1, ..Poured::default() });
        outboxes.open(id(1));
        outboxes.close(id(1));
        assert_eq!(outboxes.room(id(1)), Room::NONE);
    }
}
