//! Two ends for a relay: a client and an origin, both scripted, over real sockets on loopback.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use whipstitch_net::stun;
use whipstitch_proxy::relay::{EndReason, Events, Relay, RelayConfig};
use whipstitch_proxy::{Credentials, Generation, OriginId, Pair, Role, Session, SessionId};

/// Far longer than loopback takes, so that only a loss can fail a test.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// What a relay has said.
pub(crate) struct Told {
    pub(crate) wanted: Receiver<Pair>,
    pub(crate) ended: Receiver<(SessionId, EndReason)>,
}

struct Teller {
    wanted: SyncSender<Pair>,
    ended: SyncSender<(SessionId, EndReason)>,
}

impl Events for Teller {
    fn wanted(&self, pair: Pair) -> bool {
        self.wanted.try_send(pair).is_ok()
    }

    fn used(&self, _: Vec<SessionId>) {}

    fn ended(&self, id: SessionId, reason: EndReason) {
        let _ = self.ended.try_send((id, reason));
    }
}

pub(crate) fn start(addresses: Vec<SocketAddr>, workers: usize) -> (Relay, Told) {
    let ((wanted, wanted_in), (ended, ended_in)) = (sync_channel(64), sync_channel(64));
    let config = RelayConfig { addresses, workers, ..RelayConfig::default() };
    let relay = Relay::start(&config, Arc::new(Teller { wanted, ended })).expect("a free port");
    (relay, Told { wanted: wanted_in, ended: ended_in })
}

pub(crate) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub(crate) fn socket() -> UdpSocket {
    let socket = UdpSocket::bind(loopback()).expect("a free port");
    socket.set_read_timeout(Some(LONG)).expect("a timeout");
    socket
}

/// A datagram and where it came from.
pub(crate) fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let (len, from) = socket.recv_from(&mut buffer).expect("a datagram before the time is over");
    (buffer[..len].to_vec(), from)
}

/// Whether nothing is there.
pub(crate) fn is_quiet(socket: &UdpSocket) -> bool {
    socket.set_nonblocking(true).expect("a socket");
    let quiet = matches!(socket.recv(&mut [0; 2048]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    socket.set_nonblocking(false).expect("a socket");
    quiet
}

/// Until something has come to be.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < LONG, "not in time: {what}");
        std::thread::yield_now();
    }
}

pub(crate) fn session(number: usize, rtc: SocketAddr) -> Arc<Session> {
    let credentials = |side: &str| {
        Credentials::new(&format!("{side}{number}"), &format!("the+password+of+{side}+{number}+0123456789"))
    };
    Arc::new(Session {
        id: SessionId::random(),
        stream: "camera".to_owned(),
        role: Role::Publisher,
        origin: OriginId::parse("origin").expect("a name"),
        rtc,
        generations: vec![Generation {
            origin: credentials("origin").expect("ice-chars"),
            client: credentials("client").expect("ice-chars"),
        }],
        resource: "http://127.0.0.1/whip/camera/1".to_owned(),
        etag: None,
        created_ms: 0,
    })
}

/// A check that the client makes, each with a transaction of its own.
pub(crate) fn check(session: &Session, transaction: u32) -> Vec<u8> {
    let (ice, mut id) = (&session.generations[0], [9; 12]);
    id[8..].copy_from_slice(&transaction.to_be_bytes());
    stun::binding_request(ice.pair().as_str(), ice.origin.pwd(), true, 7, 1, id)
}

/// What the origin answers.
pub(crate) fn answer(request: &[u8], session: &Session) -> Vec<u8> {
    stun::success(request, ([192, 0, 2, 1], 5).into(), session.generations[0].origin.pwd())
}

/// A packet with a number, as long as the number says.
pub(crate) fn packet(number: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 96, 0, 0];
    packet.extend(number.to_be_bytes());
    packet.resize(12 + number as usize * 37 % 1190, number as u8);
    packet
}

/// A check goes to the origin and its answer back; where the origin sees the client.
pub(crate) fn checked(
    client: &UdpSocket,
    relay: SocketAddr,
    origin: &UdpSocket,
    session: &Session,
    n: u32,
) -> SocketAddr {
    let request = check(session, n);
    client.send_to(&request, relay).expect("sent");
    let (bytes, seen) = receive(origin);
    assert!(bytes == request, "not the request");
    origin.send_to(&answer(&request, session), seen).expect("sent");
    let (bytes, from) = receive(client);
    assert_eq!((bytes == answer(&request, session), from), (true, relay));
    seen
}
