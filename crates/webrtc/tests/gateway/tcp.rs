//! Media over TCP connections (RFC 6544, RFC 4571): mixed with UDP, on any worker, slow, broken, hostile.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use whipstitch_net::framing;
use whipstitch_net::sort::{Sort, sort};
use whipstitch_net::stun;
use whipstitch_webrtc::{Gateway, Role};

use crate::peer::{Link, PATIENCE, Peer, publish_and_watch};
use crate::{V4, V6, gateway, key};

fn address(gateway: &Gateway, ip: std::net::IpAddr) -> SocketAddr {
    SocketAddr::new(ip, gateway.local_addrs()[0].port())
}

fn framed(datagram: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    assert!(framing::frame(datagram, &mut frame));
    frame
}

/// The number in a payload of [`Peer::send_picture`].
fn number(payload: &[u8]) -> u64 {
    u64::from_be_bytes(*payload.last_chunk().expect("every picture has one"))
}

fn is_key(payload: &[u8]) -> bool {
    payload.get(1) == Some(&0x10)
}

/// Enough viewers that the kernel gives some of their connections to a worker that is not theirs.
#[test]
fn a_publisher_and_viewers_over_tcp_and_udp_meet_in_one_stream_in_both_families() {
    let gateway = gateway(3);
    for ip in [V4, V6] {
        let stream = key(if ip == V4 { "four" } else { "six" });
        let there = address(&gateway, ip);
        let mut publisher = Peer::publisher_on(&gateway, &stream, ip, Link::tcp(there)).unwrap();
        publisher.until(|peer| peer.connected);
        let links = (0..12).map(|n| if n % 3 == 2 { Link::udp(ip) } else { Link::tcp(there) });
        let mut viewers: Vec<Peer> =
            links.map(|link| Peer::viewer_on(&gateway, &stream, ip, link).expect("the stream is live")).collect();
        publish_and_watch(&mut publisher, &mut viewers, 5);
    }
}

#[test]
fn the_end_of_a_session_is_said_over_tcp_and_closes_its_connection() {
    let gateway = gateway(2);
    let stream = key("cam");
    let mut publisher = Peer::publisher_on(&gateway, &stream, V4, Link::tcp(address(&gateway, V4))).unwrap();
    publisher.until(|peer| peer.connected);
    gateway.delete(Role::Publisher, &stream, &publisher.accepted.resource).unwrap();
    publisher.until(|peer| peer.closed);
    let deadline = Instant::now() + PATIENCE;
    while publisher.link.recv(|_, _| {}).map_or_else(|error| error.kind() != ErrorKind::ConnectionReset, |()| true) {
        assert!(Instant::now() < deadline, "the connection stays");
    }
}

/// One picture a packet, many pictures a round: the outbox of a viewer that does not read is full after a thousand.
#[test]
fn a_viewer_that_stops_reading_goes_on_at_a_keyframe_and_nobody_else_notices() {
    const FILLING: usize = 1000;
    const A_ROUND: usize = 20;
    let gateway = gateway(2);
    let stream = key("cam");
    let over_tcp = || Link::tcp(address(&gateway, V4));
    // Over TCP no packet is lost on the way to the gateway, however busy the machine is.
    let mut publisher = Peer::publisher_on(&gateway, &stream, V4, over_tcp()).unwrap();
    publisher.until(|peer| peer.connected);
    let mut viewers = [(); 2].map(|()| Peer::viewer_on(&gateway, &stream, V4, over_tcp()).unwrap());
    publish_and_watch(&mut publisher, &mut viewers, 2);
    let [mut steady, mut slow] = viewers;

    let deadline = Instant::now() + PATIENCE;
    let round = |publisher: &mut Peer, steady: &mut Peer| {
        assert!(Instant::now() < deadline, "{} pictures seen", steady.received.len());
        for _ in 0..A_ROUND {
            let key = publisher.asked;
            publisher.send_picture(key, FILLING);
        }
        publisher.step();
        steady.step();
    };
    // More than outbox and kernel hold.
    while steady.received.len() < 6000 {
        round(&mut publisher, &mut steady);
    }
    let before = slow.received.len();
    while !slow.received.iter().skip(before + 1).any(|payload| is_key(payload)) {
        round(&mut publisher, &mut steady);
        slow.step();
    }
    let seen: Vec<u64> = slow.received.iter().map(|payload| number(payload)).collect();
    let jumps: Vec<usize> = (1..seen.len()).filter(|at| seen[*at] != seen[at - 1] + 1).collect();
    assert!(!jumps.is_empty(), "nothing was left out");
    for at in jumps {
        assert!(seen[at] > seen[at - 1] && is_key(&slow.received[at]), "{} after {}", seen[at], seen[at - 1]);
    }
    assert!(slow.numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "gaps that the gateway made do not exist");
    let seen: Vec<u64> = steady.received.iter().map(|payload| number(payload)).collect();
    assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1), "the other viewer lost something");
}

#[test]
fn media_moves_to_tcp_on_nomination_and_back_when_the_connection_is_closed() {
    let gateway = gateway(2);
    let stream = key("cam");
    let mut publisher = Peer::publisher(&gateway, &stream, V4).unwrap();
    publisher.until(|peer| peer.connected);
    let mut viewers = [Peer::viewer(&gateway, &stream, V4).unwrap()];
    publish_and_watch(&mut publisher, &mut viewers, 2);
    let [mut viewer] = viewers;

    // The same client, over a connection: with its own credentials, as ICE would.
    let value = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.expect("every description has it").to_owned()
    };
    let (answer, offer) = (&viewer.accepted.answer, &viewer.offer);
    let username = format!("{}:{}", value(answer, "a=ice-ufrag:"), value(offer, "a=ice-ufrag:"));
    let pwd = value(answer, "a=ice-pwd:");
    let mut link = Link::tcp(address(&gateway, V4));
    let mut sorts: Vec<Sort> = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    let mut transaction = [9_u8; 12];
    while !sorts.contains(&Sort::Rtp) {
        assert!(Instant::now() < deadline, "{sorts:?} over TCP");
        // An address moves once a second at most: asked again, as a client does.
        transaction[0] = transaction[0].wrapping_add(1);
        let check = stun::binding_request(&username, &pwd, true, 1, 1, transaction);
        link.send(address(&gateway, V4), &check);
        publisher.send_keyframe();
        publisher.step();
        viewer.step();
        let _ = link.recv(|_, datagram| sorts.push(sort(datagram)));
    }
    assert!(sorts.contains(&Sort::Stun), "the check was answered");
    drop(link);
    let before = viewer.received.len();
    let deadline = Instant::now() + PATIENCE;
    while viewer.received.len() < before + 3 {
        assert!(Instant::now() < deadline, "media did not come back to UDP");
        publisher.send_keyframe();
        publisher.step();
        viewer.step();
    }
}

#[test]
fn a_client_whose_connection_broke_comes_back_with_another() {
    let gateway = gateway(2);
    let stream = key("cam");
    let there = address(&gateway, V4);
    let mut publisher = Peer::publisher(&gateway, &stream, V4).unwrap();
    publisher.until(|peer| peer.connected);
    let mut viewers = [Peer::viewer_on(&gateway, &stream, V4, Link::tcp(there)).unwrap()];
    publish_and_watch(&mut publisher, &mut viewers, 2);
    let [viewer] = &mut viewers;
    viewer.link = Link::tcp(there);
    let before = viewer.received.len();
    let deadline = Instant::now() + PATIENCE;
    while viewer.received.len() < before + 3 {
        assert!(Instant::now() < deadline, "nothing comes over the new connection");
        publisher.send_keyframe();
        publisher.step();
        viewer.step();
    }
}

/// Connections that say nothing: one site may have 64 of them on a worker.
#[test]
fn silent_connections_are_bounded_and_the_oldest_goes_first() {
    let gateway = gateway(1);
    let there = address(&gateway, V4);
    let connect = || {
        let connection = TcpStream::connect(there).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection
    };
    let mut silent: Vec<TcpStream> = (0..64).map(|_| connect()).collect();
    let mut newer: Vec<TcpStream> = (0..3).map(|_| connect()).collect();
    for oldest in &mut silent[..3] {
        assert!(matches!(oldest.read(&mut [0; 1]), Ok(0)));
    }
    // The others are still there, and whoever has something to say gets in.
    for stays in silent[3..].iter_mut().chain(&mut newer) {
        stays.set_nonblocking(true).unwrap();
        assert_eq!(stays.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    let mut publisher = Peer::publisher_on(&gateway, &key("cam"), V4, Link::tcp(there)).unwrap();
    publisher.until(|peer| peer.connected);
}

#[test]
fn whoever_speaks_something_else_is_closed_and_harms_nobody() {
    let gateway = gateway(2);
    let stream = key("cam");
    let there = address(&gateway, V4);
    let mut publisher = Peer::publisher_on(&gateway, &stream, V4, Link::tcp(there)).unwrap();
    publisher.until(|peer| peer.connected);
    let unknown = |worker: &str| stun::binding_request(&format!("{worker}nobody:any"), "any", true, 1, 1, [1; 12]);
    let own = publisher.accepted.answer.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap().to_owned();
    let hostile = [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("a frame without a datagram", vec![0, 0]),
        ("RTP before any check", framed(&[0x80; 100])),
        ("DTLS before any check", framed(&[22; 100])),
        ("a frame of the greatest length", [vec![0xff, 0xff], vec![0; 3000]].concat()),
        ("a session of the first worker that never was", framed(&unknown("A"))),
        ("a session of the second worker that never was", framed(&unknown("B"))),
        ("a session of a worker that never was", framed(&unknown("z"))),
        (
            "a good name with a wrong password, and then media",
            [framed(&stun::binding_request(&format!("{own}:any"), "wrong", true, 1, 1, [2; 12])), framed(&[0x80; 100])]
                .concat(),
        ),
    ];
    // Several of each: either worker meets them.
    for (what, bytes) in hostile.iter().flat_map(|one| std::iter::repeat_n(one, 6)) {
        let mut connection = TcpStream::connect(there).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection.write_all(bytes).unwrap();
        let closed = connection.read(&mut [0; 100]);
        let reset = closed.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
        assert!(matches!(closed, Ok(0)) || reset, "{what}: {closed:?}");
    }
    let mut viewers = [Peer::viewer_on(&gateway, &stream, V4, Link::tcp(there)).unwrap()];
    publish_and_watch(&mut publisher, &mut viewers, 3);
}
