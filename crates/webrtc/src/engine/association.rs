//! What is left of a viewer's engine once it is connected: DTLS, for the goodbye and for a handshake's last words.
//!
//! Media, reports and repair of a viewer are the egress's and ICE the edge's, so that all the rest of str0m, a third of
//! a viewer's memory, would only wait with it.

use std::time::Instant;

use str0m::crypto::dtls::{DtlsInstance, DtlsOutput};

use crate::dtls::Instance;

/// Plain datagrams are no larger than `dtls::MTU`, a peer's certificate was read before.
const DATAGRAM: usize = 2048;

/// An established association.
pub(super) struct Association {
    instance: Box<Instance>,
    wake: Instant,
}

impl Association {
    /// Of an engine that was drained, and dropped at `now`.
    pub(super) fn new(now: Instant, instance: Box<Instance>) -> Association {
        Association { instance, wake: now }
    }

    /// A DTLS datagram of the peer. Drain afterwards, as after all that follows.
    pub(super) fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        self.handle_timeout(now);
        // Only handshakes fail, and this one is over.
        let _ = self.instance.handle_packet(datagram);
    }

    /// Its deadline has come.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let _ = self.instance.handle_timeout(now);
    }

    /// Starts to say goodbye.
    pub(super) fn close(&mut self) {
        let _ = self.instance.close();
    }

    /// Hands out what there is to send. True when the peer has said goodbye, once; drain again then.
    pub(super) fn drain(&mut self, mut send: impl FnMut(&[u8])) -> bool {
        let mut buffer = [0; DATAGRAM];
        loop {
            match self.instance.poll_output(&mut buffer) {
                DtlsOutput::Packet(datagram) => send(datagram),
                DtlsOutput::CloseNotify => return true,
                DtlsOutput::Timeout(at) => {
                    self.wake = at;
                    return false;
                }
                // Nothing that fits no buffer is ever written.
                DtlsOutput::BufferTooSmall { .. } => return false,
                // Told to the engine that was, or not spoken here.
                _ => {}
            }
        }
    }

    /// When [`Association::handle_timeout`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        Some(self.wake).filter(|_| !self.instance.is_closed())
    }
}
