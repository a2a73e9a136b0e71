//! UDP sockets that receive and send in bursts.
//!
//! Receiving is `quinn-udp`'s: `recvmmsg` with GRO and the address a datagram was sent to. Sending is ours on Linux
//! (`linux.rs`), because one `sendmmsg` whose messages are GSO runs for many destinations costs a third of a call per
//! datagram, and `quinn-udp` sends to one destination at a time; elsewhere it goes through `quinn-udp` (`fallback.rs`).
//! A socket never waits, in neither direction: its owner polls it. It lives as long as the worker that owns it.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use socket2::{Domain, Socket, Type};

pub use connected::{Connected, Taken};
pub use skim::{HEAD, Skimmer};

use crate::group::group;
use crate::{Batch, Path, Transport};

#[cfg(test)]
#[allow(unsafe_code, reason = "an allocator is unsafe by nature")]
mod allocations;
mod connected;
#[cfg(any(test, not(target_os = "linux")))]
mod fallback;
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "sendmmsg with control messages of their own for each message has no safe wrapper")]
mod linux;
#[allow(unsafe_code, reason = "recvmmsg that reads only the first bytes has no safe wrapper")]
mod skim;
#[cfg(test)]
mod tests;

#[cfg(not(target_os = "linux"))]
use fallback as system;
#[cfg(target_os = "linux")]
use linux as system;

/// Asked of the kernel for each direction: at 100 Mbit/s a third of a second, which a worker may be late by, and the
/// burst of a frame for some hundred subscribers. It grants no more than `net.core.{r,w}mem_max` to most processes.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// What one message of a receive burst may hold: the largest UDP datagram, and as much as GRO puts together.
const MESSAGE_BYTES: usize = 65_536;

/// Distance of messages in the buffer. 21 cache lines more than a power of two, so that the beginnings of the messages,
/// all that most of them use, do not share the same few cache sets.
const MESSAGE_STRIDE: usize = MESSAGE_BYTES + 21 * 64;

/// A bound, non-blocking UDP socket of one address family.
#[derive(Debug)]
pub struct Udp {
    socket: Socket,
    state: UdpSocketState,
    local: SocketAddr,
    sender: system::Sender,
}

/// One received datagram.
#[derive(Debug)]
pub struct Received<'a> {
    /// Where it came from and which address it was sent to.
    pub path: Path,
    /// Its payload, possibly empty; to be opened in place.
    pub bytes: &'a mut [u8],
}

/// What became of a batch. Nothing is ever kept for later: RTP is repaired by NACK, STUN and DTLS by their own timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Datagrams the kernel took.
    pub datagrams: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Datagrams the kernel refused for their destination (no route, forbidden, too large) and skipped.
    pub refused: u64,
    /// Datagrams dropped because the kernel had no room left (EAGAIN, ENOBUFS): all that came after the first such.
    pub dropped: u64,
}

/// Memory for one receive burst; may be shared by all sockets of a worker. The kernel backs only what was ever written.
pub struct RecvBuffer {
    bytes: Box<[u8]>,
}

impl RecvBuffer {
    /// Reserves room for one burst.
    pub fn new() -> RecvBuffer {
        RecvBuffer { bytes: vec![0; BATCH_SIZE * MESSAGE_STRIDE].into_boxed_slice() }
    }

    fn messages(&mut self) -> [IoSliceMut<'_>; BATCH_SIZE] {
        let mut messages = self.bytes.chunks_exact_mut(MESSAGE_STRIDE);
        std::array::from_fn(|_| {
            let message = messages.next().expect("the buffer has BATCH_SIZE strides");
            IoSliceMut::new(&mut message[..MESSAGE_BYTES])
        })
    }
}

impl Default for RecvBuffer {
    fn default() -> RecvBuffer {
        RecvBuffer::new()
    }
}

impl std::fmt::Debug for RecvBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecvBuffer").field("bytes", &self.bytes.len()).finish()
    }
}

impl Udp {
    /// Binds `address`; port 0 takes a free one. An IPv6 socket never takes IPv4. With `reuse_port` several sockets may
    /// bind the same address, and the kernel spreads the peers over them.
    ///
    /// # Errors
    /// What the system says: the address is taken or not ours, the family is not there, too many files.
    pub fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<Udp> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if reuse_port {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&address.into())?;
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
        // May be granted in part; what there is in the end is said below.
        let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(BUFFER_BYTES);
        let state = UdpSocketState::new((&socket).into())?;
        let sender = system::Sender::new(&socket, &state, local, BUFFER_BYTES)?;
        let udp = Udp { socket, state, local, sender };
        udp.report_small_buffers();
        Ok(udp)
    }

    /// Binds `address` as often as `count` says, all on one port, over which the kernel spreads the peers.
    ///
    /// # Errors
    /// As [`Udp::bind`]; also when somebody else has the port and would share it.
    pub fn bind_group(address: SocketAddr, count: usize) -> io::Result<Vec<Udp>> {
        group(address, count, |address, shared| {
            let socket = Udp::bind(address, shared)?;
            Ok((socket.local_addr(), socket))
        })
    }

    fn report_small_buffers(&self) {
        let receive = self.socket.recv_buffer_size().unwrap_or(0);
        let send = self.socket.send_buffer_size().unwrap_or(0);
        if receive.min(send) < BUFFER_BYTES {
            tracing::warn!(
                address = %self.local, receive, send, wanted = BUFFER_BYTES,
                "small socket buffers: large bursts may be lost; raise net.core.rmem_max and net.core.wmem_max"
            );
        }
    }

    /// The bound address, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Takes one burst from the kernel and calls `receive` for each datagram, in order of arrival; returns how many
    /// there were. `Ok(0)` means nothing is there: who is woken by edges calls until then.
    ///
    /// # Errors
    /// Only what concerns the socket as a whole; errors reported for single peers are passed over.
    pub fn recv(&self, buffer: &mut RecvBuffer, receive: &mut dyn FnMut(Received<'_>)) -> io::Result<usize> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut messages = buffer.messages();
        let count = loop {
            match self.state.recv((&self.socket).into(), &mut messages, &mut metas) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                // Each such call takes one ICMP report off the socket, so this ends.
                Err(error) if about_a_peer(&error) => {}
                Err(error) => return Err(error),
            }
        };
        let mut datagrams = 0;
        for (meta, message) in metas.iter().zip(&mut messages).take(count) {
            let path = Path { remote: meta.addr, local: meta.dst_ip, transport: Transport::Udp };
            let bytes = &mut message[..meta.len];
            if bytes.is_empty() {
                receive(Received { path, bytes });
                datagrams += 1;
                continue;
            }
            for bytes in bytes.chunks_mut(meta.stride.max(1)) {
                receive(Received { path, bytes });
                datagrams += 1;
            }
        }
        Ok(datagrams)
    }

    /// Sends all of `batch` in its order and leaves it empty. Never waits: when the kernel has no room, the rest is
    /// dropped and counted.
    pub fn send(&self, batch: &mut Batch) -> Sent {
        let sent = self.sender.send(&self.socket, &self.state, batch);
        batch.clear();
        sent
    }
}

/// Whether a receive error is the report of an earlier datagram that did not reach its peer.
fn about_a_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable)
}

impl AsFd for Udp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Udp {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
