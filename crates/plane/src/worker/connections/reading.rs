//! What connections say: frames are handed to their session, and the first one says which worker has it.

use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use whipstitch_net::framing::Deframer;
use whipstitch_net::sort::{Sort, sort};
use whipstitch_net::{ConnectionId, Path, Transport};

use super::super::{Owner, Worker};
use super::{Connection, Connections, Moved, READ_BYTES};
use crate::mailbox::Stray;

/// Read at once from a stranger, which has a single STUN request to say. With the start of a frame this is all that is
/// ever kept of it.
const STRANGER_BYTES: usize = 2048;

/// Frames handled at once, whatever a read brought: 64 KiB are 50 packets or 32 768 frames of nothing.
const FRAMES_A_READ: usize = 64;

/// What becomes of a connection after a frame.
enum After {
    /// It goes on.
    On,
    /// It is gone or about to go.
    Gone,
    /// It belongs to another worker.
    To(usize),
}

impl Worker {
    /// Takes in a connection that another worker has sent, with the frame that named this one.
    pub(super) fn take_in(&mut self, moved: Moved) {
        let Moved { stream, path, since, mut first, deframer } = moved;
        let id = self.connections.new_id();
        let path = Path { transport: Transport::Tcp(id), ..path };
        self.insert(Connection {
            stream,
            path,
            deframer,
            owner: None,
            since,
            settled: true,
            listed: false,
            unhandled: false,
            blocked: false,
            leaving: false,
        });
        if let After::On = self.frame(id, &mut first) {
            self.frames(id);
        }
    }

    pub(super) fn read(&mut self, id: ConnectionId) {
        let stranger = self.connections.is_stranger(id);
        let Connections { all, buffer, readable, .. } = &mut self.connections;
        let Some(connection) = all.get_mut(&id).filter(|connection| !connection.leaving) else { return };
        if std::mem::take(&mut connection.unhandled) {
            readable.push_back(id);
            return self.frames(id);
        }
        let most = if stranger { STRANGER_BYTES } else { READ_BYTES };
        match connection.stream.read(&mut buffer[..most]) {
            Ok(0) => self.broken(id),
            Ok(read) => {
                self.totals.received.calls += 1;
                connection.deframer.push(&buffer[..read]);
                // Edge-triggered: until there is nothing more.
                readable.push_back(id);
                self.frames(id);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => connection.listed = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => readable.push_back(id),
            Err(_) => self.broken(id),
        }
    }

    /// Hands on frames that have arrived whole; those that are one too many come in the connection's next turn.
    fn frames(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.all.get_mut(&id) else { return };
        let mut deframer = std::mem::replace(&mut connection.deframer, Deframer::new(0));
        let mut unhandled = true;
        for _ in 0..FRAMES_A_READ {
            let Some(frame) = deframer.next() else {
                unhandled = false;
                break;
            };
            let Ok(frame) = frame else {
                self.totals.strays += 1;
                return self.broken(id);
            };
            self.totals.received.datagrams += 1;
            self.totals.received.bytes += frame.len() as u64;
            match self.frame(id, frame) {
                After::On => {}
                After::Gone => return,
                After::To(worker) => {
                    let first = frame.to_vec();
                    return self.move_to(worker, id, first, deframer);
                }
            }
        }
        let Some(connection) = self.connections.all.get_mut(&id) else { return };
        (connection.deframer, connection.unhandled) = (deframer, unhandled);
        if unhandled && !std::mem::replace(&mut connection.listed, true) {
            self.connections.readable.push_back(id);
        }
    }

    fn frame(&mut self, id: ConnectionId, frame: &mut [u8]) -> After {
        let Some(connection) = self.connections.all.get_mut(&id).filter(|connection| !connection.leaving) else {
            return After::Gone;
        };
        let (path, settled) = (connection.path, connection.settled);
        if let Some(key) = connection.owner {
            self.with(key, |peer, cx| peer.handle_datagram(cx, path, frame));
            return After::On;
        }
        let sort = sort(frame);
        let mut owner = None;
        if sort == Sort::Stun {
            owner = self.owner(sort, path, frame);
            if owner.is_none() {
                // A session just answered over HTTP may be on its way here.
                self.take_commands();
                owner = self.owner(sort, path, frame);
            }
        }
        match owner {
            Some(Owner::Here(key)) => {
                if let Some(connection) = self.connections.all.get_mut(&id) {
                    connection.settled = true;
                }
                self.with(key, |peer, cx| peer.handle_datagram(cx, path, frame));
                After::On
            }
            Some(Owner::Worker(worker)) if !settled => After::To(worker),
            _ => {
                self.totals.strays += 1;
                self.remove(id);
                After::Gone
            }
        }
    }

    fn move_to(&mut self, worker: usize, id: ConnectionId, first: Vec<u8>, deframer: Deframer) {
        let Some(Connection { stream, path, since, .. }) = self.remove(id) else { return };
        // It is not closed here, so the poll would go on watching it.
        let _ = self.poll.registry().deregister(&mut SourceFd(&stream.as_raw_fd()));
        let moved = Stray::Connection(Box::new(Moved { stream, path, since, first, deframer }));
        let sent = self.mailboxes.get(worker).is_some_and(|other| other.send_stray(moved).is_ok());
        self.totals.strays += u64::from(!sent);
    }
}
