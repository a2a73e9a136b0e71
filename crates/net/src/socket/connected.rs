//! A socket of one peer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use socket2::{Domain, Socket, Type};

use super::{RecvBuffer, Sent, system};
use crate::Batch;

/// Asked of the kernel for each direction: a keyframe of 100 Mbit/s video some times over, for one session.
const BUFFER_BYTES: usize = 1024 * 1024;

/// A non-blocking UDP socket that is connected: the kernel knows its route, gives it nothing that came from elsewhere, and
/// reports when nobody listens there any more.
#[derive(Debug)]
pub struct Connected {
    socket: Socket,
    state: UdpSocketState,
    local: SocketAddr,
    remote: SocketAddr,
    sender: system::Sender,
}

/// What one burst brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Datagrams given.
    pub datagrams: usize,
    /// The burst was as large as one can be: there may be more. Otherwise the kernel had no more, and who is woken by
    /// edges is woken for the next.
    pub may_go_on: bool,
}

impl Connected {
    /// Connects to `remote` from this port of ours; 0 takes a free one.
    ///
    /// # Errors
    /// What the system says: the port is taken, there is no route, too many files.
    pub fn open(remote: SocketAddr, port: u16) -> io::Result<Connected> {
        let any: IpAddr = if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = Socket::new(Domain::for_address(remote), Type::DGRAM, None)?;
        if port != 0 {
            socket.bind(&SocketAddr::new(any, port).into())?;
        }
        socket.connect(&remote.into())?;
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
        // May be granted in part, which one session hardly notices.
        let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(BUFFER_BYTES);
        let state = UdpSocketState::new((&socket).into())?;
        let sender = system::Sender::new(&socket, &state, local, BUFFER_BYTES)?.connected();
        Ok(Connected { socket, state, local, remote, sender })
    }

    /// Our address.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The peer's.
    pub fn remote_addr(&self) -> SocketAddr {
        self.remote
    }

    /// Takes one burst from the kernel and calls `receive` for each datagram of the peer, in order of arrival.
    ///
    /// # Errors
    /// What became of earlier datagrams (nobody listens there, no route): each is told once, and the socket can be used on.
    pub fn recv(&self, buffer: &mut RecvBuffer, receive: &mut dyn FnMut(&mut [u8])) -> io::Result<Taken> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut messages = buffer.messages();
        let count = match self.state.recv((&self.socket).into(), &mut messages, &mut metas) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Taken::default()),
            Err(error) => return Err(error),
        };
        let mut taken = Taken { datagrams: 0, may_go_on: count == BATCH_SIZE };
        for (meta, message) in metas.iter().zip(&mut messages).take(count) {
            // What came from others before the socket was connected is still given out.
            if (meta.addr.ip(), meta.addr.port()) != (self.remote.ip(), self.remote.port()) {
                continue;
            }
            let bytes = &mut message[..meta.len];
            if bytes.is_empty() {
                receive(bytes);
                taken.datagrams += 1;
                continue;
            }
            for datagram in bytes.chunks_mut(meta.stride.max(1)) {
                receive(datagram);
                taken.datagrams += 1;
            }
        }
        Ok(taken)
    }

    /// Sends all of `batch` to the peer, whatever paths it was written for, and leaves it empty. Never waits: when the
    /// kernel has no room, the rest is dropped and counted. What an earlier datagram met counts as refused, too.
    pub fn send(&self, batch: &mut Batch) -> Sent {
        let sent = self.sender.send(&self.socket, &self.state, batch);
        batch.clear();
        sent
    }
}

impl AsFd for Connected {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Connected {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
