//! Relays with real sockets, between a scripted client and a scripted origin.

mod kit;

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};

use kit::{answer, check, checked, is_quiet, loopback, packet, receive, session, socket, start, until};
use whipstitch_net::socket::Udp;
use whipstitch_net::{Batch, Path, stun};
use whipstitch_proxy::relay::{Dropped, EndReason, Relay, RelayConfig};

/// Sends packets both ways, some dozens at once as real ones come, and reads what arrives: all of it, intact, in order.
fn exchange(client: &UdpSocket, relay: SocketAddr, origin: &UdpSocket, seen: SocketAddr, count: u32) {
    for first in (0..count).step_by(40) {
        for number in first..first + 40 {
            client.send_to(&packet(number), relay).expect("sent");
        }
        for number in first..first + 40 {
            let (bytes, from) = receive(origin);
            assert_eq!((bytes == packet(number), from), (true, seen), "{number} to the origin");
        }
        for number in first..first + 40 {
            origin.send_to(&packet(number), seen).expect("sent");
        }
        for number in first..first + 40 {
            let (bytes, from) = receive(client);
            assert_eq!((bytes == packet(number), from), (true, relay), "{number} to the client");
        }
    }
}

#[test]
fn a_clients_datagrams_go_on_through_another_proxy() {
    let ((first, told), (second, told_of_second)) = (start(vec![loopback()], 2), start(vec![loopback()], 2));
    let [at_first, at_second] = [&first, &second].map(|relay| relay.local_addresses()[0]);
    let (origin, client) = (socket(), socket());
    let session = session(0, origin.local_addr().expect("bound"));
    first.install(session.clone()).expect("there is room");

    let seen = checked(&client, at_first, &origin, &session, 1);
    exchange(&client, at_first, &origin, seen, 2_000);

    // Its address is rewritten: the other proxy gets all from now on, media first, and asks whose it is.
    client.send_to(&packet(1), at_second).expect("sent");
    client.send_to(&check(&session, 2), at_second).expect("sent");
    assert_eq!(told_of_second.wanted.recv_timeout(kit::LONG), Ok(session.generations[0].pair()));
    second.install(session.clone()).expect("there is room");
    let seen_at_second = checked(&client, at_second, &origin, &session, 3);
    assert_ne!(seen_at_second, seen);
    exchange(&client, at_second, &origin, seen_at_second, 2_000);
    assert_eq!(second.counters().dropped(Dropped::Unbound), 1);

    let state = second.snapshot().remove(0);
    assert_eq!(state.client, client.local_addr().ok());
    assert_eq!((state.to_origin.datagrams, state.to_client.datagrams), (2_001, 2_001));
    // The first one dies, of which nobody is told: it is the other's session now.
    first.stop();
    assert!(told.ended.try_recv().is_err());
    exchange(&client, at_second, &origin, seen_at_second, 40);
    second.end(&session.id, EndReason::Deleted);
    let ended = told_of_second.ended.recv_timeout(kit::LONG);
    assert_eq!(ended, Ok((session.id.clone(), EndReason::Deleted)));
    assert!(second.snapshot().is_empty());
}

#[test]
fn who_proves_nothing_gets_nothing_and_reaches_nobody() {
    let (relay, told) = start(vec![loopback()], 2);
    let at = relay.local_addresses()[0];
    let (origin, client, other) = (socket(), socket(), socket());
    let session = session(0, origin.local_addr().expect("bound"));
    relay.install(session.clone()).expect("there is room");
    let captured = check(&session, 1);
    // Before anybody came.
    other.send_to(&packet(0), at).expect("sent");
    until("dropped", || relay.counters().dropped(Dropped::Unbound) == 1);
    let seen = checked(&client, at, &origin, &session, 1);

    let ice = &session.generations[0];
    let guessed = stun::binding_request(ice.pair().as_str(), "a guessed password 0123456", true, 7, 1, [1; 12]);
    let nobodys = stun::binding_request("nobody:nobody", "a guessed password 0123456", true, 7, 1, [1; 12]);
    let short = [&captured[..3], &[1], &captured[4..20], &[0]].concat();
    let attempts: [(&[u8], Dropped); 7] = [
        (&guessed, Dropped::Integrity),
        (&captured, Dropped::Replayed),
        (&packet(7), Dropped::Unbound),
        (&answer(&captured, &session), Dropped::Unbound),
        (&nobodys, Dropped::LookupPending),
        (&short, Dropped::Malformed),
        (b"GET / HTTP/1.1", Dropped::Other),
    ];
    for (bytes, reason) in attempts {
        let before = relay.counters().dropped(reason);
        other.send_to(bytes, at).expect("sent");
        until(reason.as_str(), || relay.counters().dropped(reason) == before + 1);
    }
    assert_eq!(told.wanted.recv_timeout(kit::LONG).map(String::from).as_deref(), Ok("nobody:nobody"));
    // To the origin itself, and from its address as well as it may be: a connected socket takes nothing of others.
    other.send_to(&packet(8), seen).expect("sent");
    exchange(&client, at, &origin, seen, 40);
    assert!(is_quiet(&other) && is_quiet(&origin) && is_quiet(&client));
    assert_eq!(relay.snapshot()[0].client, client.local_addr().ok());
}

#[test]
fn bursts_arrive_whole_at_many_clients_of_several_workers() {
    let (relay, _told) = start(vec![loopback()], 3);
    let at = relay.local_addresses()[0];
    let (origin, clients) = (Udp::bind(loopback(), false).expect("a free port"), [(); 24].map(|()| socket()));
    let sessions: Vec<_> = (0..clients.len()).map(|number| session(number, origin.local_addr())).collect();
    let mut seen: Vec<Option<Path>> = vec![None; clients.len()];
    for (client, session) in clients.iter().zip(&sessions) {
        relay.install(session.clone()).expect("there is room");
        client.send_to(&check(session, 1), at).expect("sent");
    }
    let mut buffer = whipstitch_net::socket::RecvBuffer::new();
    until("all have come", || {
        let received = origin.recv(&mut buffer, &mut |received| {
            let username = stun::head(received.bytes).ok().and_then(|head| head.username.map(<[u8]>::to_vec));
            let of = |session: &std::sync::Arc<whipstitch_proxy::Session>| {
                Some(session.generations[0].pair().as_str().as_bytes()) == username.as_deref()
            };
            let number = sessions.iter().position(of).expect("a session's check");
            seen[number] = Some(received.path);
        });
        received.expect("the socket is fine");
        seen.iter().all(Option::is_some)
    });
    let mut batch = Batch::new();
    for round in 0..20_u32 {
        // A frame for each, as one message of equal datagrams and a shorter one.
        for path in seen.iter().flatten() {
            for number in 0..10_u32 {
                let len = if number == 9 { 300 } else { 1200 };
                batch.push(*path, len, |room| {
                    room.fill((round * 10 + number) as u8);
                    room[0] = 0x80;
                    Some(len)
                });
            }
        }
        assert_eq!(origin.send(&mut batch).datagrams, 240);
        for client in &clients {
            for number in 0..10_u32 {
                let (bytes, from) = receive(client);
                let expected = (if number == 9 { 300 } else { 1200 }, (round * 10 + number) as u8);
                assert_eq!(((bytes.len(), bytes[1]), from), (expected, at), "round {round}");
            }
        }
    }
    let workers: std::collections::HashSet<_> = relay.snapshot().iter().map(|state| state.worker).collect();
    assert!(workers.len() > 1 && !workers.contains(&None), "{workers:?}: 24 addresses come to more than one of three");
}

#[test]
fn a_client_that_comes_to_another_worker_is_handed_over() {
    let (relay, _told) = start(vec![loopback()], 4);
    let at = relay.local_addresses()[0];
    let (origin, client) = (socket(), socket());
    let session = session(0, origin.local_addr().expect("bound"));
    relay.install(session.clone()).expect("there is room");
    let seen = checked(&client, at, &origin, &session, 0);
    let mut transaction = 0;
    // Of so many addresses all but one in 4^16 come to another worker.
    for client in [(); 16].map(|()| socket()) {
        transaction += 1;
        assert_eq!(checked(&client, at, &origin, &session, transaction), seen, "it is the same session's");
        client.send_to(&packet(transaction), at).expect("sent");
        assert!(receive(&origin).0 == packet(transaction));
    }
    assert!(relay.counters().handed_over > 0);
}

#[test]
fn an_origin_that_was_away_sees_its_client_where_it_was() {
    let (relay, _told) = start(vec![loopback()], 1);
    let at = relay.local_addresses()[0];
    let (origin, client) = (socket(), socket());
    let rtc = origin.local_addr().expect("bound");
    let session = session(0, rtc);
    relay.install(session.clone()).expect("there is room");
    let seen = checked(&client, at, &origin, &session, 1);
    drop(origin);
    until("its absence is noticed", || {
        client.send_to(&packet(1), at).expect("sent");
        relay.counters().upstreams_failed > 0
    });
    let origin = UdpSocket::bind(rtc).expect("nobody took the port meanwhile");
    origin.set_nonblocking(true).expect("a socket");
    until("the origin is found again", || {
        client.send_to(&packet(2), at).expect("sent");
        origin.recv_from(&mut [0; 2048]).is_ok_and(|(_, from)| from == seen)
    });
    assert!(relay.counters().dropped(Dropped::UpstreamDown) > 0);
}

#[test]
fn one_port_serves_both_families_and_a_taken_one_is_said_so() {
    let (relay, _told) = start(vec![loopback(), (Ipv6Addr::LOCALHOST, 0).into()], 2);
    let local = relay.local_addresses();
    assert!(local.len() == 2 && local[0].port() == local[1].port(), "{local:?}");
    let origin = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("a free port");
    let client = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("a free port");
    for socket in [&origin, &client] {
        socket.set_read_timeout(Some(kit::LONG)).expect("a timeout");
    }
    let session = session(0, origin.local_addr().expect("bound"));
    relay.install(session.clone()).expect("there is room");
    let seen = checked(&client, local[1], &origin, &session, 1);
    exchange(&client, local[1], &origin, seen, 40);

    struct Nobody;
    impl whipstitch_proxy::relay::Events for Nobody {
        fn wanted(&self, _: whipstitch_proxy::Pair) -> bool {
            false
        }
        fn used(&self, _: Vec<whipstitch_proxy::SessionId>) {}
        fn ended(&self, _: whipstitch_proxy::SessionId, _: EndReason) {}
    }
    let refused = |addresses: Vec<SocketAddr>| {
        let config = RelayConfig { addresses, workers: 2, ..RelayConfig::default() };
        Relay::start(&config, std::sync::Arc::new(Nobody)).err().map(|error| error.kind())
    };
    assert_eq!(refused(vec![local[0]]), Some(std::io::ErrorKind::AddrInUse));
    assert_eq!(refused(vec![loopback(), loopback()]), Some(std::io::ErrorKind::InvalidInput));
    assert_eq!(refused(vec![]), Some(std::io::ErrorKind::InvalidInput));
}
