//! The plainest relay: one `recvfrom` and one `send` for each datagram of a client, one `recv` and one `sendto` for each of the
//! origin. A client is whoever sends; it gets a connected socket of its own. It waits with epoll, and reads what is there
//! until nothing is left.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

/// Running until it is dropped.
pub(crate) struct Plain {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Plain {
    pub(crate) fn start(listener: UdpSocket, origin: SocketAddr) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread =
            std::thread::Builder::new().name("plain".to_owned()).spawn(move || run(&listener, origin, &stopped))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(Ok(())))), "the plain relay failed: {ended:?}");
    }
}

fn run(listener: &UdpSocket, origin: SocketAddr, stop: &AtomicBool) -> io::Result<()> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    listener.set_nonblocking(true)?;
    poll.registry().register(&mut SourceFd(&listener.as_raw_fd()), Token(0), Interest::READABLE)?;
    let mut upstreams: Vec<(UdpSocket, SocketAddr)> = Vec::new();
    let mut clients = HashMap::new();
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        poll.poll(&mut events, Some(Duration::from_millis(50)))?;
        for event in &events {
            match event.token().0.checked_sub(1) {
                None => {
                    while let Some((len, from)) = there(listener.recv_from(&mut buffer))? {
                        let key = match clients.get(&from) {
                            Some(key) => *key,
                            None => {
                                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
                                socket.connect(origin)?;
                                socket.set_nonblocking(true)?;
                                let token = Token(upstreams.len() + 1);
                                let fd = socket.as_raw_fd();
                                poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)?;
                                clients.insert(from, upstreams.len());
                                upstreams.push((socket, from));
                                upstreams.len() - 1
                            }
                        };
                        there(upstreams[key].0.send(&buffer[..len]))?;
                    }
                }
                Some(key) => {
                    let (socket, client) = &upstreams[key];
                    while let Some(len) = there(socket.recv(&mut buffer))? {
                        there(listener.send_to(&buffer[..len], *client))?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// `None` when it would have to wait.
fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
