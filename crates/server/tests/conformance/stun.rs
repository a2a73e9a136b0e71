//! Connectivity checks (protocol.md 6.2, 6.3) against a session that is connected: what is no good check gets the answer
//! of its row or none, and media stays where it was.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::kit::peer::media::{Scene, Track};
use crate::kit::peer::rtp::Rtcp;
use crate::kit::peer::stun::{
    BINDING_REQUEST, ICE_CONTROLLED, MESSAGE_INTEGRITY, PRIORITY, Reply, USE_CANDIDATE, USERNAME, Writing,
};
use crate::kit::peer::{Peer, Received, Script, UFRAG};
use crate::kit::{PATIENCE, Site, offers};

fn publisher(site: &Site) -> Peer {
    Peer::connect(site, "/whip/cam", &offers::offer("obs-30"), &Script::usual())
}

fn scene(site: &Site) -> Scene {
    let publisher = publisher(site);
    let viewer = Peer::connect(site, "/whep/cam", &offers::offer("chromium-156-viewer"), &Script::usual());
    Scene::begin(publisher, viewer, Track::new(1_417_239_622, 96))
}

/// Every datagram gets no answer at all, from the client's own address.
#[track_caller]
fn assert_silence(peer: &mut Peer, datagrams: &[(&str, Vec<u8>)]) {
    for (what, datagram) in datagrams {
        peer.send_raw(datagram);
        let answers: Vec<Received> = peer
            .so_far()
            .into_iter()
            .filter(|received| matches!(received, Received::Stun(_) | Received::Dtls))
            .collect();
        assert!(answers.is_empty(), "{what}: {answers:02x?}");
    }
}

#[test]
fn malformed_and_foreign_checks_get_no_answer() {
    let site = Site::start();
    let mut peer = publisher(&site);
    let (ufrag, pwd) = peer.credentials();
    let good = peer.write_check(true);
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        edit(&mut bytes);
        bytes
    };
    let named = |username: String, transaction: u8| {
        Writing::new(BINDING_REQUEST, [transaction; 12]).with(USERNAME, username.as_bytes())
    };
    let ours = || named(format!("{ufrag}:{UFRAG}"), 9);
    let long = ours().with(USE_CANDIDATE, &[]).sign(&pwd);
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("1: nineteen bytes", good[..19].to_vec()),
        ("1: top bits", edited(&|bytes| bytes[0] |= 0x40)),
        ("1: cookie", edited(&|bytes| bytes[4] ^= 1)),
        ("1: a length that is no multiple of four", edited(&|bytes| bytes[3] += 2)),
        ("1: longer than it says", [&good[..], &[0; 4]].concat()),
        ("1: shorter than it says", good[..good.len() - 4].to_vec()),
        ("2: an attribute past the end", edited(&|bytes| bytes[22] = 0x40)),
        ("3: no FINGERPRINT", long.clone().bytes()),
        ("3: wrong FINGERPRINT", edited(&|bytes| *bytes.last_mut().unwrap() ^= 1)),
        ("3: FINGERPRINT not last", ours().sign(&pwd).print().with(PRIORITY, &[0; 4]).bytes()),
        ("4: an unknown ufrag", named(format!("a{ufrag}:{UFRAG}"), 1).sign(&pwd).print().bytes()),
        ("4: another remote ufrag", named(format!("{ufrag}:a{UFRAG}"), 2).sign(&pwd).print().bytes()),
        ("4: no colon", named(ufrag.clone(), 3).sign(&pwd).print().bytes()),
        ("4: no USERNAME", Writing::new(BINDING_REQUEST, [4; 12]).sign(&pwd).print().bytes()),
        ("5: no MESSAGE-INTEGRITY", ours().print().bytes()),
        ("5: wrong MESSAGE-INTEGRITY", ours().sign("another-password-0123456").print().bytes()),
        ("5: MESSAGE-INTEGRITY of another length", ours().with(MESSAGE_INTEGRITY, &[0; 16]).print().bytes()),
        ("6: unknown and unauthenticated", ours().with(0x7f00, &[]).print().bytes()),
        ("12: indication", Writing::new(0x0011, [5; 12]).with(USERNAME, b"x").sign(&pwd).print().bytes()),
        ("12: success nobody asked for", Writing::new(0x0101, [6; 12]).sign(&pwd).print().bytes()),
        ("12: error nobody asked for", Writing::new(0x0111, [7; 12]).sign(&pwd).print().bytes()),
        ("12: another method", Writing::new(0x0003, [8; 12]).with(USERNAME, b"x").sign(&pwd).print().bytes()),
    ];
    assert_silence(&mut peer, &rows);
    // A flood of them opens no valve either: there is no unauthenticated answer whose rate could be too high.
    let flood: Vec<(&str, Vec<u8>)> = (0..100).map(|_| ("flood", ours().sign("wrong").print().bytes())).collect();
    flood.iter().for_each(|(_, datagram)| peer.send_raw(datagram));
    assert_silence(&mut peer, &rows[..1]);
}

#[test]
fn authentic_requests_that_must_be_refused_are_told_why() {
    let site = Site::start();
    let mut peer = publisher(&site);
    let pwd = peer.credentials().1;
    let mut ask = |edit: &dyn Fn(Writing) -> Writing| {
        let request = edit(peer.begin_check()).sign(&pwd).print().bytes();
        peer.send_raw(&request);
        let reply = peer.until("an answer", |received| match received {
            Received::Stun(bytes) => Some(bytes),
            _ => None,
        });
        // Its own address is the most an answer may add.
        assert!(reply.len() <= request.len() + 12, "{} bytes for {}", reply.len(), request.len());
        let reply = Reply::read(&reply, &pwd);
        assert_eq!(reply.transaction, request[8..20]);
        (reply.outcome, peer.local())
    };
    let (outcome, _) = ask(&|check| check.with(0x7f00, &[1, 2, 3]).with(0x0099, &[]));
    assert_eq!(outcome, Err((420, vec![0x7f00, 0x0099])));
    assert_eq!(ask(&|check| check.with(ICE_CONTROLLED, &[0; 8])).0, Err((487, vec![])));
    // Optional ones, a tie-breaker of 0, and no tie-breaker at all are fine.
    for edit in [
        &(|check: Writing| check.with(0xc057, &[0, 0, 0, 10])) as &dyn Fn(Writing) -> Writing,
        &|check| check.with(crate::kit::peer::stun::ICE_CONTROLLING, &[0; 8]).with(PRIORITY, &[0; 4]),
        &|check| check.with(USE_CANDIDATE, &[]),
    ] {
        let (outcome, local) = ask(edit);
        assert_eq!(outcome, Ok(local));
    }
}

#[test]
fn an_address_among_no_candidates_is_taken_and_nomination_moves_media() {
    let site = Site::start();
    let mut scene = scene(&site);
    let old = scene.viewer.rebind();
    old.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    // An address moves at most once a second; a client repeats its check.
    let deadline = Instant::now() + PATIENCE;
    scene.packets.clear();
    while scene.packets.is_empty() {
        assert!(Instant::now() < deadline, "media did not move");
        let check = scene.viewer.write_check(true);
        scene.viewer.send_raw(&check);
        scene.delta();
        scene.live(Duration::from_millis(20));
    }
    drain(&old);
    let frame = scene.delta().1;
    scene.until("the frame", |scene| scene.has(frame));
    assert_eq!(drain(&old), 0, "the address of before gets nothing more");
}

/// How many datagrams have come.
fn drain(socket: &UdpSocket) -> usize {
    std::iter::from_fn(|| socket.recv(&mut [0; 2048]).ok()).count()
}

#[test]
fn without_nomination_or_with_a_replayed_one_media_stays() {
    let site = Site::start();
    let mut scene = scene(&site);
    let replayed = scene.viewer.write_check(true);
    scene.viewer.send_raw(&replayed);
    scene.viewer.so_far();
    let home = scene.viewer.rebind();
    for datagram in [scene.viewer.write_check(false), replayed] {
        scene.viewer.send_raw(&datagram);
        assert_eq!(scene.viewer.reply().outcome, Ok(scene.viewer.local()), "it is answered all the same");
    }
    let elsewhere = scene.viewer.bind(home);
    elsewhere.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    // It has not fallen silent.
    scene.viewer.send_rtcp(&[Rtcp::rr(1)]);
    let frame = scene.delta().1;
    scene.until("the frame", |scene| scene.has(frame));
    assert_eq!(drain(&elsewhere), 0);
}

#[test]
fn datagrams_of_no_protocol_and_the_shortest_ones_change_nothing() {
    let site = Site::start();
    let mut scene = scene(&site);
    for first in 0..=255_u8 {
        for length in [0, 1, 4, 11, 12, 13, 20, 100] {
            let mut bytes = vec![0x55; length];
            bytes.iter_mut().take(1).for_each(|byte| *byte = first);
            scene.publisher.send_raw(&bytes);
        }
    }
    let answers: Vec<Received> = scene.publisher.so_far();
    assert!(answers.iter().all(|received| matches!(received, Received::Rtcp(_))), "{answers:02x?}");
    let frame = scene.delta().1;
    scene.until("the frame", |scene| scene.has(frame));
}
