//! The gateway in this process, with real sockets on loopback and str0m as the clients: both address families, several
//! workers, the commands that HTTP gives.

mod limits;
mod peer;
mod races;
mod tcp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use peer::{Peer, publish_and_watch, send_and_watch};
use whipstitch_stream::StreamKey;
use whipstitch_stream::directory;
use whipstitch_stream::stream::Config;
use whipstitch_webrtc::{Gateway, GatewayConfig, HalfOpen, PatchRefusal, Patched, Refusal, Role, WhenOffline};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

fn config(workers: usize) -> GatewayConfig {
    GatewayConfig {
        rtc: SocketAddr::from(([0, 0, 0, 0], 0)),
        workers,
        directory: directory::Config::default(),
        stream: Config::default(),
        when_offline: WhenOffline::Reject,
        half_open: HalfOpen::default(),
        lenient_precondition: false,
    }
}

fn gateway(workers: usize) -> Gateway {
    Gateway::start(&config(workers)).expect("loopback has a free port")
}

fn key(name: &str) -> StreamKey {
    StreamKey::parse(name).expect("a legal name")
}

/// Enough viewers that the kernel gives some of them to a worker that is not theirs.
#[test]
fn every_viewer_is_served_whatever_worker_its_datagrams_come_to() {
    let gateway = gateway(3);
    let stream = key("cam");
    let mut publisher = Peer::publisher(&gateway, &stream, V4).expect("the first publisher is taken");
    publisher.until(|peer| peer.connected);
    let mut viewers: Vec<Peer> =
        (0..12).map(|_| Peer::viewer(&gateway, &stream, V4).expect("the stream is live")).collect();
    publish_and_watch(&mut publisher, &mut viewers, 5);
    assert_eq!(gateway.counts().subscribers, 12);
    gateway.stop();
}

#[test]
fn ipv6_and_ipv4_meet_in_one_stream_on_one_port() {
    let gateway = gateway(2);
    let [v4, v6] = gateway.local_addrs() else { panic!("two families: {:?}", gateway.local_addrs()) };
    assert_eq!(v4.port(), v6.port());
    let stream = key("cam");
    let mut publisher = Peer::publisher(&gateway, &stream, V6).unwrap();
    publisher.until(|peer| peer.connected);
    let mut viewers = vec![Peer::viewer(&gateway, &stream, V4).unwrap(), Peer::viewer(&gateway, &stream, V6).unwrap()];
    publish_and_watch(&mut publisher, &mut viewers, 5);
}

/// The one keyframe was sent before anybody came, and no request is answered.
#[test]
fn who_joins_late_gets_everything_since_the_keyframe_on_every_worker() {
    let gateway = gateway(3);
    let stream = key("cam");
    let mut publisher = Peer::publisher(&gateway, &stream, V4).expect("the first publisher is taken");
    publisher.until(|peer| peer.connected);
    publisher.send_keyframe();
    for _ in 0..2 {
        for _ in 0..20 {
            publisher.send_picture(false, 0);
            publisher.step();
        }
        // The second time the other workers have the cache already.
        let mut viewers: Vec<Peer> =
            (0..6).map(|_| Peer::viewer(&gateway, &stream, V4).expect("the stream is live")).collect();
        send_and_watch(&mut publisher, |publisher| publisher.send_picture(false, 0), &mut viewers, 60);
        for viewer in &viewers {
            assert_eq!(viewer.received[0].last(), Some(&1), "the keyframe is the first");
        }
    }
    gateway.stop();
}

#[test]
fn nobody_watches_what_nobody_publishes() {
    let gateway = gateway(1);
    assert!(matches!(Peer::viewer(&gateway, &key("idle"), V4), Err(Refusal::NotLive { .. })));
}

#[test]
fn nobody_publishes_a_stream_that_is_kept_for_a_process() {
    let gateway = gateway(1);
    let stream = key("p-out");
    let hold = gateway.directory().hold(&stream, "p").expect("nobody else's");
    assert_eq!(Peer::publisher(&gateway, &stream, V4).err(), Some(Refusal::Held));
    drop(hold);
    Peer::publisher(&gateway, &stream, V4).expect("it is anybody's again");
    gateway.stop();
}

fn where_viewers_wait(workers: usize, patience: Duration) -> Gateway {
    let stream = Config { grace: None, ..Config::default() };
    let config = GatewayConfig { when_offline: WhenOffline::Wait(patience), stream, ..config(workers) };
    Gateway::start(&config).expect("loopback has a free port")
}

/// The answer says nothing of a publisher that is not there; what it turns out to send decides.
#[test]
fn who_waits_sees_the_stream_when_it_begins_on_every_worker() {
    let gateway = where_viewers_wait(3, Duration::from_secs(600));
    let stream = key("cam");
    let mut viewers: Vec<Peer> = (0..6).map(|_| Peer::viewer(&gateway, &stream, V4).expect("it may wait")).collect();
    viewers.iter_mut().for_each(|viewer| viewer.until(|peer| peer.connected));
    let report = gateway.stream(&stream).expect("it exists from its first waiting viewer on");
    assert_eq!((report.live, report.publisher.is_none(), report.subscribers.len()), (false, true, 6));
    assert!(report.subscribers.iter().all(|viewer| viewer.stats.codecs.is_empty()));
    assert_eq!((gateway.counts().streams, gateway.counts().subscribers), (0, 6));
    let mut publisher = Peer::publisher(&gateway, &stream, V4).expect("viewers do not hold the stream");
    publisher.until(|peer| peer.connected);
    publish_and_watch(&mut publisher, &mut viewers, 5);

    // It goes, and another comes: still the same sessions.
    gateway.delete(Role::Publisher, &stream, &publisher.accepted.resource).expect("it is there");
    let mut other = Peer::publisher(&gateway, &stream, V4).expect("the stream is free");
    other.until(|peer| peer.connected);
    let mut late = vec![Peer::viewer(&gateway, &stream, V4).expect("the stream is live")];
    viewers.append(&mut late);
    // Its pictures are counted from one again.
    viewers.iter_mut().for_each(|viewer| viewer.received.clear());
    other.send_keyframe();
    other.step();
    let first = |viewer: &Peer| viewer.received.iter().any(|payload| payload.last() == Some(&1));
    viewers.iter_mut().for_each(|viewer| viewer.until(first));
    gateway.stop();
}

#[test]
fn who_has_waited_too_long_is_told_why() {
    let gateway = where_viewers_wait(2, Duration::from_millis(1));
    let mut viewers: Vec<Peer> =
        (0..4).map(|_| Peer::viewer(&gateway, &key("never"), V4).expect("it may wait")).collect();
    viewers.iter_mut().for_each(|viewer| viewer.until(|peer| peer.closed));
    assert_eq!(gateway.closed().iter().map(|closed| closed.reason).collect::<Vec<_>>(), ["idle"; 4]);
    assert_eq!(gateway.counts().subscribers, 0);
    gateway.stop();
}

#[test]
fn who_waits_for_a_publisher_that_is_expected_stays_until_it_is_not() {
    let patience = Duration::from_millis(20);
    let gateway = where_viewers_wait(2, patience);
    let expected = gateway.plane().running().expect(&key("fed"));
    let mut viewers: Vec<Peer> =
        (0..2).map(|_| Peer::viewer(&gateway, &key("fed"), V4).expect("it may wait")).collect();
    viewers.iter_mut().for_each(|viewer| viewer.until(|peer| peer.connected));
    let mut other = Peer::viewer(&gateway, &key("never"), V4).expect("it may wait");
    let since = std::time::Instant::now();
    // Another's patience is over, and theirs would be, ten times.
    other.until(|peer| peer.closed && since.elapsed() > 10 * patience);
    assert_eq!(gateway.counts().subscribers, 2);
    drop(expected);
    viewers.iter_mut().for_each(|viewer| viewer.until(|peer| peer.closed));
    assert_eq!(gateway.closed().iter().map(|closed| closed.reason).collect::<Vec<_>>(), ["idle"; 3]);
    gateway.stop();
}

#[test]
fn a_second_publisher_is_refused_and_the_first_goes_on() {
    let gateway = gateway(2);
    let stream = key("cam");
    let mut first = Peer::publisher(&gateway, &stream, V4).unwrap();
    assert!(matches!(Peer::publisher(&gateway, &stream, V4), Err(Refusal::Conflict { .. })));
    first.until(|peer| peer.connected);
    let mut viewers = vec![Peer::viewer(&gateway, &stream, V4).unwrap()];
    publish_and_watch(&mut first, &mut viewers, 3);
}

#[test]
fn delete_ends_a_session_and_is_repeatable() {
    let gateway = gateway(1);
    let stream = key("cam");
    let mut publisher = Peer::publisher(&gateway, &stream, V4).unwrap();
    publisher.until(|peer| peer.connected);
    let resource = publisher.accepted.resource.clone();
    assert!(gateway.delete(Role::Subscriber, &stream, &resource).is_err(), "another role's URL");
    assert!(gateway.delete(Role::Publisher, &key("other"), &resource).is_err(), "another stream's URL");
    assert!(gateway.delete(Role::Publisher, &stream, &resource).is_ok());
    publisher.until(|peer| peer.closed);
    assert!(gateway.delete(Role::Publisher, &stream, &resource).is_ok(), "its tombstone answers");
    assert!(gateway.delete(Role::Publisher, &stream, "never-was").is_err());
    assert_eq!(gateway.counts().publishers, 0);
}

#[test]
fn ice_restarts_keep_the_session_and_old_tags_die() {
    let gateway = gateway(2);
    let stream = key("cam");
    let mut publisher = Peer::publisher(&gateway, &stream, V4).unwrap();
    publisher.until(|peer| peer.connected);
    let (resource, etag) = (publisher.accepted.resource.clone(), publisher.accepted.etag.clone());
    let same = publisher.fragment();
    let patch = |tag: Option<&str>, fragment: &str| gateway.patch(Role::Publisher, &stream, &resource, tag, fragment);
    assert_eq!(patch(Some(&etag), &same), Ok(Patched::Trickled));
    assert_eq!(patch(Some("*"), &same), Ok(Patched::Trickled), "the wildcard alone is no restart");
    assert_eq!(patch(None, &same), Err(PatchRefusal::PreconditionRequired));
    assert_eq!(patch(Some("\"other\""), &same), Err(PatchRefusal::PreconditionFailed));
    let fresh = "a=ice-ufrag:newufrag\r\na=ice-pwd:0123456789abcdefghijklmn\r\n";
    let Ok(Patched::Restarted { etag: newer, fragment }) = patch(Some(&etag), fresh) else { panic!("a restart") };
    assert_ne!(newer, etag);
    assert!(fragment.contains("a=ice-ufrag:") && fragment.contains("a=candidate:"));
    assert_eq!(patch(Some(&etag), fresh), Err(PatchRefusal::PreconditionFailed));
    assert_eq!(patch(Some(&newer), fresh), Ok(Patched::Trickled), "the same again");
    let half = "a=ice-ufrag:newufrag\r\na=ice-pwd:another456789abcdefghijk\r\n";
    assert!(matches!(patch(Some(&newer), half), Err(PatchRefusal::Syntax(_))));
    // The client knows nothing of the restart: on its old generation everything goes on.
    let mut viewers = vec![Peer::viewer(&gateway, &stream, V4).unwrap()];
    publish_and_watch(&mut publisher, &mut viewers, 3);
}

#[test]
fn stopping_says_goodbye_to_everybody_and_takes_nobody_new() {
    let gateway = gateway(2);
    let stream = key("cam");
    let mut publisher = Peer::publisher(&gateway, &stream, V4).unwrap();
    publisher.until(|peer| peer.connected);
    let mut viewer = Peer::viewer(&gateway, &stream, V4).unwrap();
    viewer.until(|peer| peer.connected);
    gateway.stop();
    publisher.until(|peer| peer.closed);
    viewer.until(|peer| peer.closed);
    assert!(matches!(Peer::publisher(&gateway, &key("late"), V4), Err(Refusal::Busy { .. })));
}

#[test]
fn a_port_that_is_taken_is_said_so_with_any_number_of_workers() {
    let first = gateway(2);
    let rtc = SocketAddr::from(([0, 0, 0, 0], first.local_addrs()[0].port()));
    for workers in [1, 3] {
        let second = Gateway::start(&GatewayConfig { rtc, ..config(workers) });
        let error = second.err().expect("two gateways must not share a port").to_string();
        assert!(error.contains(&rtc.to_string()), "{error}");
    }
}
