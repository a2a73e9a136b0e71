//! One publisher, one player: what they carry, what they say over HTTP, how they fail.

use std::time::{Duration, Instant};

use whipstitch_client::{CloseReason, Error, whep, whip};
use whipstitch_media::{Codec, Kind};

use crate::gateway::{Behaviour, Gateway, Post, WELL};

fn publish(gateway: &Gateway) -> whip::Options {
    whip::Options { token: Some("secret".to_owned()), ..whip::Options::new(gateway.url("/whip/test")) }
}

fn watch(gateway: &Gateway) -> whep::Options {
    whep::Options { token: Some("secret".to_owned()), ..whep::Options::new(gateway.url("/whep/test")) }
}

/// A keyframe of two packets, then pictures of one; the number makes them differ.
fn picture(number: u32) -> Vec<whip::Packet> {
    // 1280x720, constrained baseline, as x264 writes it.
    const SPS: [u8; 28] = [
        0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x05, 0xa8, 0x08, 0x08, 0x0a, 0x00, 0x00, 0x03, 0x00,
        0x02, 0x00, 0x00, 0x03, 0x00, 0x78, 0x1e, 0x30, 0x65, 0x40,
    ];
    const PPS: [u8; 5] = [0x68, 0xce, 0x0b, 0x2c, 0x80];
    let keyframe = [&[0x78, 0, SPS.len() as u8][..], &SPS, &[0, PPS.len() as u8], &PPS].concat();
    let mut slice = vec![if number == 0 { 0x65 } else { 0x41 }, 0x9a];
    slice.extend_from_slice(&number.to_be_bytes());
    let payloads = if number == 0 { vec![keyframe, slice] } else { vec![slice] };
    let last = payloads.len() - 1;
    let packet = |(index, payload): (usize, Vec<u8>)| whip::Packet {
        kind: Kind::Video,
        time: number * 3000,
        marker: index == last,
        payload: payload.into(),
        captured: Instant::now(),
    };
    payloads.into_iter().enumerate().map(packet).collect()
}

#[tokio::test]
async fn what_is_published_is_what_is_played() {
    let gateway = Gateway::start(WELL).await;
    let mut player = whep::Player::connect(&watch(&gateway)).await.expect("player");
    let mut publisher = whip::Publisher::connect(&publish(&gateway)).await.expect("publisher");
    assert_eq!(publisher.codec(Kind::Video), Some(Codec::H264));
    assert_eq!(publisher.etag(), Some("\"tag\""));
    let sent: Vec<whip::Packet> = (0..20).flat_map(picture).collect();
    assert!(publisher.write_burst(sent.clone()).await.expect("open"));
    publisher.write(Kind::Audio, 0, false, [0x78, 1, 2, 3]).await.expect("open");

    let mut video = Vec::new();
    let mut audio = Vec::new();
    while video.len() < sent.len() || audio.is_empty() {
        let event = tokio::select! {
            event = player.next() => event.expect("open"),
            event = publisher.next() => panic!("publisher heard {event:?}"),
        };
        let whep::Event::Packet(packet) = event else { panic!("player heard {event:?}") };
        if packet.kind == Kind::Video { video.push(packet) } else { audio.push(packet) }
    }
    let payloads: Vec<_> = video.iter().map(|packet| (packet.payload.clone(), packet.marker)).collect();
    let expected: Vec<_> = sent.iter().map(|packet| (packet.payload.clone(), packet.marker)).collect();
    assert_eq!(payloads, expected);
    assert!(video.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1));
    assert!(video.iter().zip(&sent).all(|(played, sent)| played.time - video[0].time == u64::from(sent.time)));
    assert_eq!(audio[0].payload[..], [0x78, 1, 2, 3]);
    assert_eq!((video[0].start, video[1].start), (true, false));
    let milestones = player.milestones();
    let picture = milestones.first_picture.expect("a picture came");
    assert!(milestones.first_keyframe.expect("a keyframe came") <= picture);
    assert!(milestones.posted < milestones.answered && milestones.answered < milestones.connected);

    player.close().await.expect("deleted");
    publisher.close().await.expect("deleted");
    assert_eq!(gateway.sessions(), 0);
    let requests = gateway.requests();
    let lines: Vec<String> = requests.iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect();
    assert_eq!(lines, ["POST /whep/test", "POST /whip/test", "DELETE /session/1", "DELETE /session/2"]);
    assert!(requests.iter().all(|seen| seen.authorization.as_deref() == Some("Bearer secret")));
}

#[tokio::test]
async fn end_by_the_gateway_is_heard() {
    let gateway = Gateway::start(WELL).await;
    let mut player = whep::Player::connect(&watch(&gateway)).await.expect("player");
    let mut publisher = whip::Publisher::connect(&publish(&gateway)).await.expect("publisher");
    gateway.kick().await;
    assert!(matches!(player.next().await, Ok(whep::Event::Closed(CloseReason::ByPeer))));
    assert!(matches!(publisher.next().await, Ok(whip::Event::Closed(CloseReason::ByPeer))));
    player.close().await.expect("an unknown session is as good as deleted");
}

#[tokio::test]
async fn refusal_carries_status_reason_and_retry_after() {
    for status in [400, 401, 409, 503] {
        let gateway = Gateway::start(Behaviour { post: Post::With(status), ..WELL }).await;
        let error = whip::Publisher::connect(&publish(&gateway)).await.err().expect("refused");
        let Error::Refused { status: found, retry_after, detail, .. } = &error else { panic!("{error}") };
        assert_eq!((*found, *retry_after), (status, Some(Duration::from_secs(7))));
        assert_eq!(detail, "the\nreason");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
    }
}

#[tokio::test]
async fn useless_201_is_an_error_and_leaves_no_session() {
    for post in [Post::WithoutLocation, Post::WithNonsense] {
        let gateway = Gateway::start(Behaviour { post, ..WELL }).await;
        let error = whep::Player::connect(&watch(&gateway)).await.err().expect("useless");
        assert!(matches!(error, Error::Answer { .. }), "{post:?}: {error}");
        let deleted = gateway.requests().iter().any(|seen| seen.method == "DELETE");
        assert_eq!(deleted, post == Post::WithNonsense, "{post:?}");
    }
}

#[tokio::test]
async fn dead_candidate_times_out_and_is_deleted() {
    let gateway = Gateway::start(Behaviour { post: Post::WithDeadCandidate, ..WELL }).await;
    let error = whep::Player::connect(&watch(&gateway)).await.err().expect("no way through");
    assert!(
        matches!(error, Error::ConnectTimeout { stage: "ICE", .. } | Error::Closed(CloseReason::IceTimeout)),
        "{error}"
    );
    assert_eq!(gateway.sessions(), 0);
}

#[tokio::test]
async fn nobody_there_and_nonsense_urls_are_told_apart() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        format!("http://{}/whip/x", listener.local_addr().expect("bound"))
    };
    let error = whip::Publisher::connect(&whip::Options::new(gone)).await.err().expect("nobody there");
    assert!(matches!(error, Error::Http { .. }), "{error}");
    for url in ["", "whip", "ftp://127.0.0.1/whip", "http://"] {
        let error = whip::Publisher::connect(&whip::Options::new(url)).await.err().expect("not a URL");
        assert!(matches!(error, Error::Url { .. }), "{url}: {error}");
    }
}
