//! Real datagrams over loopback, through the sender of this system and through the fallback.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;

type Send = fn(&Udp, &mut Batch) -> Sent;

/// Every way of sending that works on this system.
const SENDERS: [(&str, Send); 2] = [("system", Udp::send), ("fallback", send_by_fallback)];

fn send_by_fallback(udp: &Udp, batch: &mut Batch) -> Sent {
    let sender = fallback::Sender::new(&udp.socket, &udp.state, udp.local, BUFFER_BYTES).unwrap();
    let sent = sender.send(&udp.socket, &udp.state, batch);
    batch.clear();
    sent
}

fn loopbacks() -> [SocketAddr; 2] {
    [(Ipv4Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into()]
}

fn bind(address: SocketAddr) -> Udp {
    Udp::bind(address, false).unwrap()
}

/// Waits until `socket` has something to read; far longer than loopback takes, so that only a loss can fail it.
fn wait(socket: &impl AsFd) {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    let ready = poll(&mut fds, PollTimeout::try_from(Duration::from_secs(10)).unwrap()).unwrap();
    assert_eq!(ready, 1, "nothing arrived");
}

/// Receives until `count` datagrams have arrived, and makes sure that no more are there.
fn receive(udp: &Udp, count: usize) -> Vec<(Path, Vec<u8>)> {
    let (mut buffer, mut received) = (RecvBuffer::new(), Vec::new());
    while received.len() < count {
        wait(udp);
        let before = received.len();
        let returned = udp.recv(&mut buffer, &mut |one| received.push((one.path, one.bytes.to_vec()))).unwrap();
        assert_eq!(returned, received.len() - before);
    }
    assert_eq!(udp.recv(&mut buffer, &mut |_| ()).unwrap(), 0);
    assert_eq!(received.len(), count);
    received
}

fn payloads(received: Vec<(Path, Vec<u8>)>) -> Vec<Vec<u8>> {
    received.into_iter().map(|(_, bytes)| bytes).collect()
}

fn push(batch: &mut Batch, path: Path, bytes: &[u8]) {
    assert!(batch.push(path, bytes.len(), |room| {
        room.copy_from_slice(bytes);
        Some(bytes.len())
    }));
}

/// Sizes as they come out of an encoder, with all the ways a run may end.
const SIZES: [usize; 14] = [1200, 1200, 1200, 300, 300, 40, 1199, 1200, 0, 1, 1, 1400, 1400, 1399];

#[test]
fn burst_of_mixed_sizes_arrives_complete_and_in_order_per_destination() {
    for address in loopbacks() {
        for (name, send) in SENDERS {
            let (sender, receivers) = (bind(address), [(); 5].map(|()| bind(address)));
            let (mut batch, mut expected) = (Batch::new(), BTreeMap::<usize, Vec<Vec<u8>>>::new());
            // Two bursts to each; more messages than one call takes.
            for round in 0..2 {
                for (index, receiver) in receivers.iter().enumerate() {
                    for (n, size) in SIZES.into_iter().enumerate() {
                        let bytes = vec![(round * 100 + index * 16 + n) as u8; size];
                        push(&mut batch, Path::to(receiver.local_addr()), &bytes);
                        expected.entry(index).or_default().push(bytes);
                    }
                }
            }
            let (count, bytes) = (receivers.len() * 2 * SIZES.len(), receivers.len() * 2 * SIZES.iter().sum::<usize>());
            let sent = send(&sender, &mut batch);
            assert_eq!(sent, Sent { datagrams: count as u64, bytes: bytes as u64, ..Sent::default() }, "{name}");
            assert!(batch.is_empty());
            for (index, receiver) in receivers.iter().enumerate() {
                let received = receive(receiver, 2 * SIZES.len());
                assert!(received.iter().all(|(path, _)| path.remote == sender.local_addr()));
                assert_eq!(payloads(received), expected[&index], "{name}, receiver {index}");
            }
        }
    }
}

#[test]
fn refused_destination_does_not_stop_the_others() {
    for (name, send) in SENDERS {
        let [v4, v6] = loopbacks();
        let (sender, first, last) = (bind(v4), bind(v4), bind(v4));
        // Taken, so that no other test gets the port, and closed to everybody but itself.
        let closed = UdpSocket::bind(v4).unwrap();
        closed.connect(closed.local_addr().unwrap()).unwrap();
        let mut batch = Batch::new();
        push(&mut batch, Path::to(first.local_addr()), b"first");
        // Broadcasting is forbidden unless asked for, and an IPv4 socket has no IPv6.
        for refused in [SocketAddr::from((Ipv4Addr::BROADCAST, 9)), v6] {
            for _ in 0..3 {
                push(&mut batch, Path::to(refused), b"refused");
            }
        }
        push(&mut batch, Path::to(closed.local_addr().unwrap()), b"nobody is there");
        push(&mut batch, Path::to(last.local_addr()), b"last");
        let sent = send(&sender, &mut batch);
        assert_eq!(sent, Sent { datagrams: 3, bytes: 24, refused: 6, dropped: 0 }, "{name}");
        assert_eq!(payloads(receive(&first, 1)), [b"first"]);
        assert_eq!(payloads(receive(&last, 1)), [b"last"]);
    }
}

#[test]
fn reply_leaves_from_the_address_that_received() {
    let wildcards = [
        (IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2])),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()),
    ];
    for (wildcard, client, local) in wildcards {
        for (name, send) in SENDERS {
            let server = bind((wildcard, 0).into());
            let client = UdpSocket::bind((client, 0)).unwrap();
            let server_at = SocketAddr::new(local, server.local_addr().port());
            client.send_to(b"request", server_at).unwrap();
            let (path, _) = receive(&server, 1).remove(0);
            assert_eq!(path, Path { local: Some(local), ..Path::to(client.local_addr().unwrap()) });

            // Alone, and as a run, where the source stands beside the segment size.
            let mut batch = Batch::new();
            for reply in [&b"reply"[..], b"twelve bytes", b"twelve bytes"] {
                push(&mut batch, path, reply);
            }
            assert_eq!(send(&server, &mut batch).datagrams, 3, "{name}");
            for expected in [&b"reply"[..], b"twelve bytes", b"twelve bytes"] {
                wait(&client);
                let mut bytes = [0; 64];
                let (len, from) = client.recv_from(&mut bytes).unwrap();
                assert_eq!((from, &bytes[..len]), (server_at, expected), "{name}");
            }
        }
    }
}

#[test]
fn ipv6_socket_leaves_ipv4_to_another() {
    assert!(bind((Ipv6Addr::UNSPECIFIED, 0).into()).socket.only_v6().unwrap());
}

#[test]
fn port_is_shared_only_when_asked_for() {
    let [v4, _] = loopbacks();
    let first = Udp::bind(v4, true).unwrap();
    Udp::bind(first.local_addr(), true).unwrap();
    assert_eq!(Udp::bind(first.local_addr(), false).unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn receiving_from_an_idle_socket_is_nothing_and_does_not_wait() {
    let udp = bind(loopbacks()[0]);
    assert_eq!(udp.recv(&mut RecvBuffer::new(), &mut |_| unreachable!()).unwrap(), 0);
}

#[test]
fn largest_datagram_arrives_whole() {
    for (name, send) in SENDERS {
        let [address, _] = loopbacks();
        let (sender, receiver) = (bind(address), bind(address));
        let largest: Vec<u8> = (0..65_507).map(|n| n as u8).collect();
        let mut batch = Batch::new();
        push(&mut batch, Path::to(receiver.local_addr()), &largest);
        push(&mut batch, Path::to(receiver.local_addr()), &[0; 65_508]);
        assert_eq!(send(&sender, &mut batch).refused, 1, "{name}");
        assert_eq!(payloads(receive(&receiver, 1)), [largest], "{name}");
    }
}

/// Receives until `count` datagrams have come to a socket with one peer.
fn receive_connected(connected: &Connected, count: usize) -> Vec<Vec<u8>> {
    let (mut buffer, mut received) = (RecvBuffer::new(), Vec::new());
    while received.len() < count {
        wait(connected);
        connected.recv(&mut buffer, &mut |bytes| received.push(bytes.to_vec())).unwrap();
    }
    assert_eq!(connected.recv(&mut buffer, &mut |_| ()).unwrap(), Taken::default());
    received
}

#[test]
fn connected_socket_talks_to_its_peer_and_to_nobody_else() {
    for address in loopbacks() {
        let (peer, stranger) = (bind(address), bind(address));
        let connected = Connected::open(peer.local_addr(), 0).unwrap();
        let to_it = Path::to(SocketAddr::new(address.ip(), connected.local_addr().port()));
        let (mut batch, mut expected) = (Batch::new(), Vec::new());
        for (n, size) in SIZES.into_iter().enumerate() {
            expected.push(vec![n as u8; size]);
            // Wherever it was written for.
            push(&mut batch, Path::to(stranger.local_addr()), &expected[n]);
        }
        assert_eq!(connected.send(&mut batch).datagrams, SIZES.len() as u64);
        let received = receive(&peer, SIZES.len());
        assert!(received.iter().all(|(path, _)| path.remote == to_it.remote), "{received:?}");
        assert_eq!(payloads(received), expected);
        push(&mut batch, to_it, b"from elsewhere");
        assert_eq!(stranger.send(&mut batch).datagrams, 1);
        for bytes in &expected {
            push(&mut batch, to_it, bytes);
        }
        assert_eq!(peer.send(&mut batch).datagrams, SIZES.len() as u64);
        assert_eq!(receive_connected(&connected, SIZES.len()), expected);
    }
}

#[test]
fn connected_socket_tells_that_nobody_listens_and_can_be_had_again_on_its_port() {
    for address in loopbacks() {
        let peer = bind(address);
        let (remote, mut batch) = (peer.local_addr(), Batch::new());
        let connected = Connected::open(remote, 0).unwrap();
        let port = connected.local_addr().port();
        drop(peer);
        push(&mut batch, Path::to(remote), b"lost");
        assert_eq!(connected.send(&mut batch).datagrams, 1);
        wait(&connected);
        let told = connected.recv(&mut RecvBuffer::new(), &mut |_| ()).unwrap_err();
        assert_eq!(told.kind(), io::ErrorKind::ConnectionRefused);
        push(&mut batch, Path::to(remote), b"lost, too");
        connected.send(&mut batch);
        wait(&connected);
        push(&mut batch, Path::to(remote), b"not even sent");
        assert_eq!(connected.send(&mut batch).refused, 1, "what the one before met");
        drop(connected);
        let again = Connected::open(remote, port).unwrap();
        let peer = bind(remote);
        push(&mut batch, Path::to(remote), b"there");
        assert_eq!(again.send(&mut batch).datagrams, 1);
        let received = receive(&peer, 1);
        assert_eq!((received[0].0.remote.port(), &received[0].1[..]), (port, &b"there"[..]));
    }
}

#[test]
fn warm_socket_does_not_allocate() {
    let [address, _] = loopbacks();
    let (sender, receiver) = (bind(address), bind(address));
    let (mut batch, mut buffer) = (Batch::new(), RecvBuffer::new());
    let mut round = || {
        for size in SIZES {
            push(&mut batch, Path::to(receiver.local_addr()), &[1; 1400][..size]);
        }
        assert_eq!(sender.send(&mut batch).datagrams, SIZES.len() as u64);
        let mut received = 0;
        while received < SIZES.len() {
            wait(&receiver);
            received += receiver.recv(&mut buffer, &mut |_| ()).unwrap();
        }
    };
    assert_ne!(allocations::during(&mut round), 0, "the first round fills the batch");
    assert_eq!(allocations::during(&mut round), 0);
}

#[cfg(target_os = "linux")]
mod linux_only {
    use super::*;
    use crate::socket::linux::set;

    fn run_of(count: usize, receiver: &Udp) -> (Batch, Vec<Vec<u8>>) {
        let mut batch = Batch::new();
        let mut datagrams: Vec<_> = (0..count).map(|n| vec![n as u8; 1000]).collect();
        datagrams.push(vec![0xff; 7]);
        for bytes in &datagrams {
            push(&mut batch, Path::to(receiver.local_addr()), bytes);
        }
        (batch, datagrams)
    }

    #[test]
    fn segments_put_together_by_the_kernel_are_split_again() {
        for address in loopbacks() {
            let (sender, receiver) = (bind(address), bind(address));
            let (mut batch, datagrams) = run_of(63, &receiver);
            assert_eq!(sender.send(&mut batch).datagrams, 64);
            wait(&receiver);
            let mut received = Vec::new();
            let count = receiver.recv(&mut RecvBuffer::new(), &mut |one| received.push(one.bytes.to_vec())).unwrap();
            // More than a burst has messages: they did come together.
            assert!(count > BATCH_SIZE, "{count} datagrams, GRO of {} segments", receiver.state.gro_segments());
            assert_eq!(received, datagrams);
        }
    }

    #[test]
    fn run_the_kernel_refuses_goes_in_single_datagrams() {
        let [address, _] = loopbacks();
        let (sender, receiver, other) = (bind(address), bind(address), bind(address));
        // Without checksums there is no GSO: the kernel answers EINVAL, as it does to segments above the MTU.
        set(&sender.socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
        let (mut batch, mut datagrams) = run_of(63, &receiver);
        push(&mut batch, Path::to(other.local_addr()), b"other");
        push(&mut batch, Path::to(receiver.local_addr()), b"after");
        datagrams.push(b"after".to_vec());
        let bytes = 63 * 1000 + 7 + 5 + 5;
        assert_eq!(sender.send(&mut batch), Sent { datagrams: 66, bytes, ..Sent::default() });
        assert_eq!(payloads(receive(&receiver, 65)), datagrams);
        assert_eq!(payloads(receive(&other, 1)), [b"other"]);
    }

    #[test]
    fn socket_without_gso_sends_single_datagrams() {
        let [address, _] = loopbacks();
        let (sender, receiver) = (bind(address), bind(address));
        sender.sender.without_gso();
        set(&sender.socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
        let (mut batch, datagrams) = run_of(100, &receiver);
        assert_eq!(sender.send(&mut batch).datagrams, 101);
        assert_eq!(payloads(receive(&receiver, 101)), datagrams);
    }
}
