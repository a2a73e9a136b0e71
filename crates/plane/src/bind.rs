//! The sockets of all workers: one port number, UDP and TCP, in one or both address families.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use whipstitch_net::group::{ATTEMPTS, first_free, group, is_without_ipv6};
use whipstitch_net::socket::Udp;
use whipstitch_net::tcp::Listener;

use crate::plane::StartError;
use crate::worker::Sockets;

/// The sockets of each worker, and the addresses they share, IPv4 first.
pub(crate) fn bind_all(rtc: SocketAddr, workers: usize) -> Result<(Vec<Sockets>, Vec<SocketAddr>), StartError> {
    let attempts = if rtc.port() == 0 { ATTEMPTS } else { 1 };
    first_free(attempts, is_taken, || bind_port(rtc, workers))
}

fn is_taken(error: &StartError) -> bool {
    matches!(error, StartError::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
}

fn bind_port(rtc: SocketAddr, workers: usize) -> Result<(Vec<Sockets>, Vec<SocketAddr>), StartError> {
    let mut sockets: Vec<Sockets> = std::iter::repeat_with(Sockets::default).take(workers).collect();
    let bound = bind_family(rtc, &mut sockets)?;
    let mut local = vec![bound];
    if rtc.ip() == IpAddr::from([0, 0, 0, 0]) {
        match bind_family(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), bound.port()), &mut sockets) {
            Ok(bound) => local.push(bound),
            // A machine without IPv6 is no mistake of anybody's.
            Err(StartError::Bind { source, .. }) if is_without_ipv6(&source) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((sockets, local))
}

/// Gives every worker its sockets of one address family; returns the address with the real port, UDP's first choice.
fn bind_family(address: SocketAddr, workers: &mut [Sockets]) -> Result<SocketAddr, StartError> {
    let count = workers.len();
    let fail = |transport, address| move |source| StartError::Bind { transport, address, source };
    let datagrams = Udp::bind_group(address, count).map_err(fail("UDP", address))?;
    let bound = datagrams.first().map_or(address, Udp::local_addr);
    let listeners = group(bound, count, |address, shared| Ok((address, Listener::bind(address, shared)?)))
        .map_err(fail("TCP", bound))?;
    for ((sockets, udp), listener) in workers.iter_mut().zip(datagrams).zip(listeners) {
        let place = if address.is_ipv4() { &mut sockets.v4 } else { &mut sockets.v6 };
        *place = Some(Arc::new(udp));
        sockets.listeners.push(listener);
    }
    Ok(bound)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

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
}
