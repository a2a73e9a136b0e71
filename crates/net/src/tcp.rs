//! TCP listeners and the connections they take, for ICE-TCP (RFC 6544 passive candidates).
//!
//! Nothing here waits: whoever owns a listener or a connection polls it, reads through [`std::io::Read`] and writes
//! through an [`Outbox`](crate::outbox::Outbox).

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use socket2::{Domain, SockRef, Socket, Type};

/// Connections that wait to be taken. A worker that is busy for 100 ms has as many at 10 000 a second.
const BACKLOG: i32 = 1024;

/// Bytes the kernel may hold that were not sent yet. All else waits in the outbox, where what is too much is seen; with
/// the kernel's own measure (4 MiB and more) a slow viewer would be many seconds late before anybody noticed.
const UNSENT_BYTES: u32 = 64 * 1024;

/// A bound, listening, non-blocking TCP socket of one address family.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    local: SocketAddr,
}

/// A connection as it was taken: it does not block, and sends at once what it is given.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: TcpStream,
    /// The peer's address.
    pub remote: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
}

impl Listener {
    /// Binds `address` and listens; port 0 takes a free one. An IPv6 socket never takes IPv4. With `reuse_port` several
    /// sockets may listen on the same address, and the kernel spreads the peers over them; without it the address is
    /// taken only if nobody else listens there. Connections that an earlier process left behind are no obstacle.
    ///
    /// # Errors
    /// What the system says: the address is taken or not ours, the family is not there, too many files.
    pub fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        if reuse_port {
            socket.set_reuse_port(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let local = socket.local_addr()?.as_socket().ok_or(ErrorKind::Unsupported)?;
        Ok(Listener { socket, local })
    }

    /// The bound address, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Takes the next connection; None when none waits. Those that broke while they waited are passed over.
    ///
    /// # Errors
    /// What the system says, mostly that no descriptor is left. Connections wait on: to be tried again later.
    pub fn accept(&self) -> io::Result<Option<Accepted>> {
        loop {
            let (socket, remote) = match self.socket.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                // Each of these takes one off the queue, so this ends.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => continue,
                Err(error) => return Err(error),
            };
            if let Some(accepted) = prepare(socket, remote.as_socket()) {
                return Ok(Some(accepted));
            }
        }
    }
}

/// None when the peer is gone already.
fn prepare(socket: Socket, remote: Option<SocketAddr>) -> Option<Accepted> {
    socket.set_nonblocking(true).ok()?;
    socket.set_tcp_nodelay(true).ok()?;
    let local = socket.local_addr().ok()?.as_socket()?;
    let stream = TcpStream::from(socket);
    #[cfg(target_os = "linux")]
    SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES).ok()?;
    #[cfg(not(target_os = "linux"))]
    SockRef::from(&stream).set_send_buffer_size(UNSENT_BYTES as usize).ok()?;
    Some(Accepted { stream, remote: remote?, local })
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn accepted(listener: &Listener) -> Accepted {
        for _ in 0..10_000 {
            if let Some(accepted) = listener.accept().unwrap() {
                return accepted;
            }
            std::thread::yield_now();
        }
        panic!("nobody came");
    }

    #[test]
    fn connections_are_taken_with_both_addresses_and_do_not_block() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = Listener::bind(address.parse().unwrap(), false).unwrap();
            assert!(listener.accept().unwrap().is_none());
            let client = TcpStream::connect(listener.local_addr()).unwrap();
            let mut accepted = accepted(&listener);
            assert_eq!(accepted.remote, client.local_addr().unwrap());
            assert_eq!(accepted.local, listener.local_addr());
            assert!(accepted.stream.nodelay().unwrap());
            assert_eq!(accepted.stream.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn a_port_is_shared_only_among_those_who_agree() {
        let any = "127.0.0.1:0".parse().unwrap();
        let alone = Listener::bind(any, false).unwrap();
        assert_eq!(Listener::bind(alone.local_addr(), true).unwrap_err().kind(), ErrorKind::AddrInUse);
        let first = Listener::bind(any, true).unwrap();
        assert!(Listener::bind(first.local_addr(), true).is_ok());
        assert_eq!(Listener::bind(first.local_addr(), false).unwrap_err().kind(), ErrorKind::AddrInUse);
    }
}
