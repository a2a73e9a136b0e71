//! Caps at their edge: who comes at the last place, and that every place comes back however a session ends.

use std::sync::Barrier;

use whipstitch_stream::StreamKey;
use whipstitch_stream::directory::{self, Conflict};
use whipstitch_webrtc::{Accepted, Gateway, GatewayConfig, HalfOpen, Join, PatchRefusal, Patched, Refusal, Role};

use crate::peer::{Peer, publish_and_watch};
use crate::{V4, config, key};

fn limited(directory: directory::Config, half_open: HalfOpen) -> Gateway {
    Gateway::start(&GatewayConfig { directory, half_open, ..config(2) }).expect("loopback has a free port")
}

fn is_busy(outcome: Result<Peer, Refusal>) -> bool {
    matches!(outcome, Err(Refusal::Busy { .. }))
}

/// What the gateway counts, once it counts that.
fn until(gateway: &Gateway, happened: impl Fn(whipstitch_webrtc::Counts) -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !happened(gateway.counts()) {
        assert!(std::time::Instant::now() < deadline, "{:?}", gateway.counts());
        std::thread::yield_now();
    }
}

#[test]
fn of_many_at_the_last_place_exactly_one_gets_in() {
    let gateway = limited(directory::Config { publishers: 1, ..directory::Config::default() }, HalfOpen::default());
    let start = Barrier::new(8);
    let join = |number: usize| {
        start.wait();
        Peer::publisher(&gateway, &key(&format!("cam{number}")), V4).is_ok()
    };
    let taken = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|number| scope.spawn(move || join(number))).collect();
        threads.into_iter().map(|thread| usize::from(thread.join().expect("no panic"))).sum::<usize>()
    });
    assert_eq!((taken, gateway.counts().publishers, gateway.counts().half_open), (1, 1, 1));
}

#[test]
fn viewers_are_capped_and_a_place_comes_back_with_its_viewer() {
    let caps = directory::Config { subscribers: 2, subscribers_per_stream: 1, ..directory::Config::default() };
    let gateway = limited(caps, HalfOpen::default());
    let (one, other) = (key("one"), key("other"));
    let mut publishers =
        [&one, &other].map(|stream| Peer::publisher(&gateway, stream, V4).expect("room for publishers"));
    publishers.iter_mut().for_each(|publisher| publisher.until(|peer| peer.connected));
    let viewer = Peer::viewer(&gateway, &one, V4).expect("the first place");
    assert!(is_busy(Peer::viewer(&gateway, &one, V4)), "the stream is full");
    let _other = Peer::viewer(&gateway, &other, V4).expect("another stream is not");
    assert!(is_busy(Peer::viewer(&gateway, &other, V4)), "the gateway is full");
    gateway.delete(Role::Subscriber, &one, &viewer.accepted.resource).expect("it is there");
    until(&gateway, |counts| counts.subscribers == 1);
    Peer::viewer(&gateway, &one, V4).expect("there is room again");
}

#[test]
fn a_full_gateway_says_so_whatever_the_offer_is() {
    let caps = directory::Config { publishers: 1, subscribers_per_stream: 0, ..directory::Config::default() };
    let gateway = limited(caps, HalfOpen::default());
    let _publisher = Peer::publisher(&gateway, &key("one"), V4).expect("the first place");
    let asked = |stream: &StreamKey, ask: fn(&Gateway, &Join<'_>) -> Result<Accepted, Refusal>| {
        let join = Join { stream, offer: "no SDP", candidates: &[], client: V4, user_agent: None, subject: None };
        ask(&gateway, &join).expect_err("no offer is good enough")
    };
    assert!(matches!(asked(&key("other"), Gateway::publish), Refusal::Busy { .. }));
    assert!(matches!(asked(&key("one"), Gateway::publish), Refusal::Syntax(_)), "who takes over needs no place");
    assert!(matches!(asked(&key("one"), Gateway::watch), Refusal::Busy { .. }));
}

#[test]
fn a_half_open_session_gives_its_place_back_when_it_is_connected_or_gone() {
    let gateway = limited(directory::Config::default(), HalfOpen { total: 2, per_address: 1, ..HalfOpen::default() });
    let mut first = Peer::publisher(&gateway, &key("a"), V4).expect("the only place of this address");
    assert!(is_busy(Peer::publisher(&gateway, &key("b"), V4)));
    first.until(|peer| peer.connected);
    until(&gateway, |counts| counts.half_open == 0);
    let second = Peer::publisher(&gateway, &key("b"), V4).expect("the first is through");
    gateway.delete(Role::Publisher, &key("b"), &second.accepted.resource).expect("it is there");
    until(&gateway, |counts| counts.half_open == 0 && counts.publishers == 1);
}

/// Refused at each stage of the way in, a client leaves nothing behind.
#[test]
fn a_refused_offer_gives_everything_back() {
    let gateway = limited(directory::Config::default(), HalfOpen { total: 1, per_address: 1, ..HalfOpen::default() });
    let publisher = Peer::publisher(&gateway, &key("live"), V4);
    publisher.expect("room").until(|peer| peer.connected);
    until(&gateway, |counts| counts.half_open == 0);
    let candidates = gateway.local_addrs();
    let before = gateway.counts();
    let no_media = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
    for (stream, offer, what) in [
        ("new", "garbage", "syntax"),
        ("new", no_media, "meaning"),
        ("live", no_media, "meaning comes before the conflict"),
    ] {
        let stream = &key(stream);
        let join = Join { stream, offer, candidates, client: V4, user_agent: None, subject: None };
        assert!(gateway.publish(&join).is_err(), "{what}");
        assert!(gateway.watch(&join).is_err(), "{what}");
        assert_eq!(gateway.counts(), before, "{what}");
    }
    assert!(matches!(Peer::publisher(&gateway, &key("live"), V4), Err(Refusal::Conflict { .. })));
    assert!(matches!(Peer::viewer(&gateway, &key("idle"), V4), Err(Refusal::NotLive { .. })));
    assert_eq!(gateway.counts(), before);
}

#[test]
fn with_takeover_a_new_publisher_ends_the_old_one_and_a_bad_offer_does_not() {
    let caps = directory::Config { on_conflict: Conflict::TakeOver, publishers: 1, ..directory::Config::default() };
    let gateway = limited(caps, HalfOpen::default());
    let stream = key("cam");
    let mut old = Peer::publisher(&gateway, &stream, V4).expect("nobody publishes");
    old.until(|peer| peer.connected);
    let join = Join { stream: &stream, offer: "garbage", candidates: &[], client: V4, user_agent: None, subject: None };
    assert!(matches!(gateway.publish(&join), Err(Refusal::Syntax(_))));
    let mut viewers = vec![Peer::viewer(&gateway, &stream, V4).expect("it is live still")];
    publish_and_watch(&mut old, &mut viewers, 3);

    let mut new = Peer::publisher(&gateway, &stream, V4).expect("takes over, at the cap of publishers");
    old.until(|peer| peer.closed);
    new.until(|peer| peer.connected);
    // The old viewer may still be on its way through the old publisher's last packets.
    viewers = vec![Peer::viewer(&gateway, &stream, V4).expect("it is live again")];
    publish_and_watch(&mut new, &mut viewers, 3);
    assert_eq!(gateway.counts().publishers, 1);
}

#[test]
fn the_lenient_switch_lets_trickle_without_precondition_and_nothing_else() {
    let gateway = Gateway::start(&GatewayConfig { lenient_precondition: true, ..config(1) }).expect("a free port");
    let stream = key("cam");
    let publisher = Peer::publisher(&gateway, &stream, V4).expect("nobody publishes");
    let (resource, same) = (&publisher.accepted.resource, publisher.fragment());
    let patch = |tag, fragment: &str| gateway.patch(Role::Publisher, &stream, resource, tag, fragment);
    assert_eq!(patch(None, &same), Ok(Patched::Trickled));
    let fresh = "a=ice-ufrag:newufrag\r\na=ice-pwd:0123456789abcdefghijklmn\r\n";
    assert_eq!(patch(None, fresh), Err(PatchRefusal::PreconditionRequired));
    assert_eq!(patch(Some("\"other\""), &same), Err(PatchRefusal::PreconditionFailed));
    assert!(matches!(patch(Some("*"), fresh), Ok(Patched::Restarted { .. })));
}
