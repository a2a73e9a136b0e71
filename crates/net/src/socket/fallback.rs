//! Sending where `sendmmsg` or `UDP_SEGMENT` do not exist: one call per datagram, through `quinn-udp`.

use std::io;
use std::net::SocketAddr;

use quinn_udp::{Transmit, UdpSocketState};
use socket2::Socket;

use super::Sent;
use crate::Batch;

/// The sending half of a socket; without state here.
#[derive(Debug)]
pub(super) struct Sender;

impl Sender {
    pub(super) fn new(_: &Socket, _: &UdpSocketState, _: SocketAddr, _: usize) -> io::Result<Sender> {
        Ok(Sender)
    }

    /// For a socket with one peer; here it is named all the same.
    #[cfg_attr(all(test, target_os = "linux"), expect(dead_code, reason = "tests send through this one unconnected"))]
    pub(super) fn connected(self) -> Sender {
        self
    }

    pub(super) fn send(&self, socket: &Socket, state: &UdpSocketState, batch: &Batch) -> Sent {
        let mut sent = Sent::default();
        for (path, contents) in batch.datagrams() {
            let transmit =
                Transmit { destination: path.remote, ecn: None, contents, segment_size: None, src_ip: path.local };
            match state.try_send(socket.into(), &transmit) {
                Ok(()) => {
                    sent.datagrams += 1;
                    sent.bytes += contents.len() as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sent.dropped = batch.len() as u64 - sent.datagrams - sent.refused;
                    return sent;
                }
                Err(_) => sent.refused += 1,
            }
        }
        sent
    }
}
