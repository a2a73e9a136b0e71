//! Ten thousand clients that ask and never come (RFC 9725 5): what each costs, that they go when their time is over, and
//! that a publisher and its viewer notice nothing of them. Alone in its process, whose memory it measures.

#[allow(dead_code, reason = "the gateway's other tests need more of it")]
#[path = "../gateway/peer.rs"]
mod peer;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use peer::{Peer, publish_and_watch};
use whipstitch_stream::StreamKey;
use whipstitch_stream::directory;
use whipstitch_stream::stream::Config;
use whipstitch_webrtc::{Accepted, Counts, Gateway, GatewayConfig, HalfOpen, Join, Role, WhenOffline};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Half of them would publish, each a stream of its own, half would watch the one that there is.
const CLIENTS: usize = 10_000;

/// Above what opening them takes on a slow machine, so that all are there at once.
const SETUP: Duration = Duration::from_secs(8);

/// What one may cost. A publisher's takes about 3 KiB; its tombstone and room in tables come on top.
const MEMORY_EACH: u64 = 8 * 1024;

fn key(name: &str) -> StreamKey {
    StreamKey::parse(name).expect("a legal name")
}

fn gateway() -> Gateway {
    let caps = directory::Config {
        streams: CLIENTS + 1,
        publishers: CLIENTS + 1,
        subscribers: CLIENTS + 1,
        subscribers_per_stream: CLIENTS + 1,
        ..directory::Config::default()
    };
    let half_open = HalfOpen { total: CLIENTS + 1, per_address: CLIENTS + 1, setup: SETUP };
    let config = GatewayConfig {
        rtc: SocketAddr::from((V4, 0)),
        workers: 2,
        directory: caps,
        stream: Config::default(),
        when_offline: WhenOffline::Reject,
        half_open,
        lenient_precondition: false,
    };
    Gateway::start(&config).expect("loopback has a free port")
}

/// Memory of this process that is in RAM, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of its own");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Asks, as a browser does, and says what there is then; never sends a datagram.
fn ask(gateway: &Gateway, n: usize) -> (Role, StreamKey, Accepted) {
    let candidates = gateway.local_addrs();
    let (role, stream) = if n.is_multiple_of(2) {
        (Role::Publisher, key(&format!("never-{n}")))
    } else {
        (Role::Subscriber, key("cam"))
    };
    let offer = match role {
        Role::Publisher => include_str!("../fixtures/offers/chromium-156-publisher.sdp"),
        Role::Subscriber => include_str!("../fixtures/offers/chromium-156-viewer.sdp"),
    };
    let join =
        Join { stream: &stream, offer, candidates, client: V4, user_agent: Some("silent".into()), subject: None };
    let accepted = match role {
        Role::Publisher => gateway.publish(&join),
        Role::Subscriber => gateway.watch(&join),
    };
    (role, stream, accepted.expect("there is room"))
}

#[test]
fn ten_thousand_that_never_come_cost_little_and_go_and_nobody_else_notices() {
    let gateway = gateway();
    let stream = key("cam");
    let mut publisher = Peer::publisher(&gateway, &stream, V4).expect("the first");
    publisher.until(|peer| peer.connected);
    let mut viewers = vec![Peer::viewer(&gateway, &stream, V4).expect("the stream is live")];
    publish_and_watch(&mut publisher, &mut viewers, 1);

    let (before, begun) = (resident(), Instant::now());
    let mut seen = 1;
    let mut first = None;
    for n in 0..CLIENTS {
        let asked = ask(&gateway, n);
        first.get_or_insert(asked);
        if n % 100 == 0 {
            seen += 1;
            publish_and_watch(&mut publisher, &mut viewers, seen);
        }
    }
    let took = begun.elapsed();
    let each = resident().saturating_sub(before) / CLIENTS as u64;
    println!("{CLIENTS} half-open sessions in {took:?}, {each} bytes each");
    assert!(took < SETUP, "all at once: the machine is too slow for this test ({took:?})");
    let half = CLIENTS / 2;
    assert_eq!(
        gateway.counts(),
        Counts { streams: 1, publishers: half + 1, subscribers: half + 1, half_open: CLIENTS }
    );
    assert!(each < MEMORY_EACH, "{each} bytes each");

    // Somebody new gets through, and nothing is lost, until the last of them is gone.
    viewers.push(Peer::viewer(&gateway, &stream, V4).expect("one more may come"));
    while gateway.counts() != (Counts { streams: 1, publishers: 1, subscribers: 2, half_open: 0 }) {
        assert!(begun.elapsed() < 4 * SETUP, "{:?}", gateway.counts());
        seen += 1;
        publish_and_watch(&mut publisher, &mut viewers[..1], seen);
        viewers[1].step();
    }
    assert!(begun.elapsed() >= SETUP, "none was given up early");
    publish_and_watch(&mut publisher, &mut viewers, 20);
    let (role, stream, accepted) = first.expect("there were some");
    assert!(!gateway.exists(role, &stream, &accepted.resource));
    assert!(gateway.delete(role, &stream, &accepted.resource).is_ok(), "its tombstone answers");

    // The same once more takes no more memory: what was freed serves again.
    let peak = resident();
    for n in 0..CLIENTS {
        let (role, stream, accepted) = ask(&gateway, n);
        gateway.delete(role, &stream, &accepted.resource).expect("known");
    }
    while gateway.counts().publishers + gateway.counts().subscribers > 3 {
        publisher.step();
    }
    let grown = resident().saturating_sub(peak) / CLIENTS as u64;
    println!("{grown} bytes each more in the second round");
    assert!(grown < MEMORY_EACH / 4, "{grown} bytes each");
    gateway.stop();
    assert_eq!(gateway.counts(), Counts::default());
}
