//! The sockets of all workers: one port number, UDP and TCP, in one or both address families.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use whipstitch_net::socket::Udp;
use whipstitch_net::tcp::Listener;

use crate::plane::StartError;
use crate::worker::Sockets;

/// Ports tried when any will do. The kernel names one that is free over UDP and IPv4; that somebody has it over TCP or
/// IPv6 is rare, and so often in a row means something else is wrong.
const ATTEMPTS: usize = 16;

/// The sockets of each worker, and the addresses they share, IPv4 first.
pub(crate) fn bind_all(rtc: SocketAddr, workers: usize) -> Result<(Vec<Sockets>, Vec<SocketAddr>), StartError> {
    let attempts = if rtc.port() == 0 { ATTEMPTS } else { 1 };
    first_free(attempts, || bind_port(rtc, workers))
}

/// Tries again as long as a port is taken that nobody asked for.
fn first_free<T>(attempts: usize, mut bind: impl FnMut() -> Result<T, StartError>) -> Result<T, StartError> {
    for _ in 1..attempts {
        match bind() {
            Err(StartError::Bind { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => {}
            outcome => return outcome,
        }
    }
    bind()
}

fn bind_port(rtc: SocketAddr, workers: usize) -> Result<(Vec<Sockets>, Vec<SocketAddr>), StartError> {
    let mut sockets: Vec<Sockets> = std::iter::repeat_with(Sockets::default).take(workers).collect();
    let bound = bind_family(rtc, &mut sockets)?;
    let mut local = vec![bound];
    if rtc.ip() == IpAddr::from([0, 0, 0, 0]) {
        match bind_family(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), bound.port()), &mut sockets) {
            Ok(bound) => local.push(bound),
            // A machine without IPv6 is no mistake of anybody's.
            Err(StartError::Bind { source, .. }) if no_ipv6(&source) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((sockets, local))
}

fn no_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

/// Gives every worker its sockets of one address family; returns the address with the real port, UDP's first choice.
fn bind_family(address: SocketAddr, workers: &mut [Sockets]) -> Result<SocketAddr, StartError> {
    let count = workers.len();
    let datagrams = group("UDP", address, count, |address, shared| {
        let socket = Udp::bind(address, shared)?;
        Ok((socket.local_addr(), socket))
    })?;
    let bound = datagrams.first().map_or(address, Udp::local_addr);
    let listeners = group("TCP", bound, count, |address, shared| Ok((address, Listener::bind(address, shared)?)))?;
    for ((sockets, udp), listener) in workers.iter_mut().zip(datagrams).zip(listeners) {
        let place = if address.is_ipv4() { &mut sockets.v4 } else { &mut sockets.v6 };
        *place = Some(Arc::new(udp));
        sockets.listeners.push(listener);
    }
    Ok(bound)
}

/// One socket per worker on the same port. With several, SO_REUSEPORT would also let a second server share the port
/// unseen: a plain bind first proves that nobody has it.
fn group<T>(
    transport: &'static str,
    address: SocketAddr,
    count: usize,
    bind: impl Fn(SocketAddr, bool) -> io::Result<(SocketAddr, T)>,
) -> Result<Vec<T>, StartError> {
    let fail = |source| StartError::Bind { transport, address, source };
    let shared = count > 1;
    let mut wanted = address;
    if shared && address.port() != 0 {
        drop(bind(address, false).map_err(fail)?);
    }
    let mut group = Vec::with_capacity(count);
    for _ in 0..count {
        let (bound, socket) = bind(wanted, shared).map_err(fail)?;
        wanted = bound;
        group.push(socket);
    }
    Ok(group)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn refused(kind: io::ErrorKind) -> StartError {
        StartError::Bind { transport: "TCP", address: ([127, 0, 0, 1], 1).into(), source: kind.into() }
    }

    #[test]
    fn one_port_serves_both_transports_and_families() {
        for workers in [1, 3] {
            let (sockets, local) = bind_all(SocketAddr::from(([0, 0, 0, 0], 0)), workers).unwrap();
            assert_eq!(sockets.len(), workers);
            let port = local[0].port();
            assert!(local.iter().all(|address| address.port() == port));
            for one in sockets {
                let datagrams = [one.v4, one.v6].into_iter().flatten().map(|socket| socket.local_addr());
                assert_eq!(datagrams.collect::<Vec<_>>(), local);
                assert_eq!(one.listeners.iter().map(Listener::local_addr).collect::<Vec<_>>(), local);
            }
        }
    }

    #[test]
    fn a_port_that_is_taken_over_either_transport_is_said_so() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (taken, transport) in [(tcp.local_addr().unwrap(), "TCP"), (udp.local_addr().unwrap(), "UDP")] {
            for workers in [1, 3] {
                let error = bind_all(taken, workers).err().expect("somebody has it").to_string();
                assert!(
                    error.starts_with(&format!("cannot listen for WebRTC media on {transport} {taken}: ")),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn another_port_is_tried_when_any_will_do_but_not_for_ever() {
        for (attempts, taken, calls) in [(16, 0, 1), (16, 15, 16), (16, 20, 16), (1, 20, 1)] {
            let mut called = 0;
            let outcome = first_free(attempts, || {
                called += 1;
                if called > taken { Ok(called) } else { Err(refused(io::ErrorKind::AddrInUse)) }
            });
            assert_eq!((called, outcome.is_ok()), (calls, taken < attempts), "{taken} of {attempts} are taken");
        }
        let mut called = 0;
        let outcome: Result<(), _> = first_free(16, || {
            called += 1;
            Err(refused(io::ErrorKind::PermissionDenied))
        });
        assert!(outcome.is_err() && called == 1, "another error does not go away");
    }
}
