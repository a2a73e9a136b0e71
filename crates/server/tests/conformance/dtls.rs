//! DTLS (protocol.md 7.1) with clients that send what they like, in any order, or not at all.

use crate::kit::peer::media::{Scene, Track};
use crate::kit::peer::rtp::RR;
use crate::kit::peer::{Faults, Identity, Options, Peer, Received, Script, State};
use crate::kit::{Site, offers};

const SSRC: u32 = 1_417_239_622;

fn join(site: &Site, script: &Script) -> Peer {
    Peer::join(site, "/whip/cam", &offers::offer("obs-30"), script)
}

fn connect(site: &Site, script: &Script) -> Peer {
    Peer::connect(site, "/whip/cam", &offers::offer("obs-30"), script)
}

fn is_live(site: &Site) -> bool {
    site.stream("cam")["live"] == true
}

/// Somebody else at the same worker: what the server had to say to others before it answered him has been said.
struct Bystander(Peer);

impl Bystander {
    fn at(site: &Site) -> Bystander {
        let mut peer = Peer::join(site, "/whip/other", &offers::offer("obs-30"), &Script::usual());
        peer.check();
        Bystander(peer)
    }

    /// Asserts that the server has sent nothing to `peer` since it was asked last.
    #[track_caller]
    fn sees_silence_for(&mut self, peer: &mut Peer) {
        self.0.so_far();
        let heard = peer.receive(std::time::Duration::ZERO);
        assert!(heard.is_none(), "{heard:02x?}");
    }
}

#[test]
fn a_client_hello_in_many_datagrams_is_put_together() {
    let site = Site::start();
    let dtls = Options { mtu: 300, ballast: 3000, ..Options::default() };
    let mut peer = join(&site, &Script { dtls, ..Script::usual() });
    peer.check();
    let mut hello = peer.write_handshake();
    assert!(hello.len() > 8, "{} datagrams", hello.len());
    // The last comes first, and one of them twice.
    hello.reverse();
    hello.push(hello[3].clone());
    hello.iter().for_each(|datagram| peer.send_raw(datagram));
    peer.handshake();
    site.until(|| is_live(&site));
}

#[test]
fn lost_doubled_and_overtaken_flights_are_made_good_in_both_roles() {
    let handshakes =
        (0..3).flat_map(|seed| [(seed, "obs-30", Script::usual()), (seed, "ffmpeg-8.0", Script::ffmpeg())]);
    std::thread::scope(|scope| {
        for (seed, fixture, script) in handshakes {
            scope.spawn(move || {
                let site = Site::start();
                let mut peer = Peer::join(&site, "/whip/cam", &offers::offer(fixture), &script);
                peer.spoil(Faults::seeded(seed, 12));
                peer.check();
                peer.handshake();
                site.until(|| is_live(&site));
            });
        }
    });
}

#[test]
fn another_certificate_than_the_offers_ends_in_a_fatal_alert() {
    for fixture in ["obs-30", "ffmpeg-8.0"] {
        let site = Site::start();
        let script = Script { shown: Some(Identity::ecdsa()), ..Script::usual() };
        let mut peer = Peer::join(&site, "/whip/cam", &offers::offer(fixture), &script);
        peer.check();
        // The handshake itself may end well: only then is the certificate compared.
        peer.try_handshake();
        let deadline = std::time::Instant::now() + crate::kit::PATIENCE;
        while *peer.state() == State::Connected {
            assert!(std::time::Instant::now() < deadline, "no alert");
            let _ = peer.receive(std::time::Duration::from_millis(20));
        }
        assert!(matches!(peer.state(), State::Failed(error) if error.contains("alert")), "{:?}", peer.state());
        site.until(|| site.stream("cam")["publisher"].is_null());
    }
}

#[test]
fn a_client_without_srtp_is_refused() {
    let site = Site::start();
    let dtls = Options { profiles: "", ..Options::default() };
    let mut peer = join(&site, &Script { dtls, ..Script::usual() });
    peer.check();
    assert!(matches!(peer.try_handshake(), State::Failed(error) if error.contains("alert")));
    site.until(|| site.stream("cam")["publisher"].is_null());
}

#[test]
fn a_goodbye_ends_the_session_at_once() {
    let site = Site::start();
    let mut peer = connect(&site, &Script::usual());
    site.until(|| is_live(&site));
    peer.close();
    site.until(|| !is_live(&site));
    // Answered in kind (RFC 5246 7.2.1).
    peer.until_closed();
}

#[test]
fn a_second_handshake_and_application_data_change_nothing() {
    let site = Site::start();
    let publisher = connect(&site, &Script::usual());
    let viewer = Peer::connect(&site, "/whep/cam", &offers::offer("chromium-156-viewer"), &Script::usual());
    let mut scene = Scene::begin(publisher, viewer, Track::new(SSRC, 96));
    // As if it were the same client anew: ClientHello on the path that is in use.
    let again = join_other(&site).write_handshake();
    again.iter().for_each(|datagram| scene.publisher.send_raw(datagram));
    scene.publisher.send_data(b"SCTP without a data channel");
    let frame = scene.delta().1;
    scene.until("the frame", |scene| scene.has(frame));
    assert_eq!(*scene.publisher.state(), State::Connected);
}

fn join_other(site: &Site) -> Peer {
    Peer::join(site, "/whip/other", &offers::offer("obs-30"), &Script::usual())
}

#[test]
fn dtls_of_an_unchecked_address_is_ignored() {
    let site = Site::start();
    let mut bystander = Bystander::at(&site);
    let mut peer = join(&site, &Script::usual());
    let hello = peer.write_handshake();
    hello.iter().for_each(|datagram| peer.send_raw(datagram));
    bystander.sees_silence_for(&mut peer);
    peer.check();
    hello.iter().for_each(|datagram| peer.send_raw(datagram));
    peer.handshake();
    // Its goodbye from elsewhere is nobody's.
    let home = peer.rebind();
    peer.close();
    bystander.sees_silence_for(&mut peer);
    drop(home);
    assert!(is_live(&site));
}

#[test]
fn delete_during_the_handshake_drops_it_and_what_still_comes_is_nobodys() {
    let site = Site::start();
    let mut bystander = Bystander::at(&site);
    let mut peer = join(&site, &Script::usual());
    peer.check();
    peer.begin_handshake();
    // Our first flight has come, its answer has not been written.
    peer.until("the server's flight", |received| matches!(received, Received::Dtls).then_some(()));
    let location = peer.accepted.location().to_owned();
    site.ask("DELETE", &location, &[], "").is(200);
    // The stream is free at once, but only when its worker has ended the session it has nothing more to say.
    let closed = || site.ask("GET", "/api/v1/sessions?state=closed", &[], "").is(200).body;
    site.until(|| String::from_utf8_lossy(&closed()).contains("by_request"));
    assert!(site.stream("cam")["publisher"].is_null());
    // What was on its way before.
    bystander.0.so_far();
    while peer.receive(std::time::Duration::ZERO).is_some() {}
    peer.begin_handshake();
    let check = peer.write_check(true);
    peer.send_raw(&check);
    bystander.sees_silence_for(&mut peer);
    assert_ne!(*peer.state(), State::Connected);
    assert!(site.stream("cam")["publisher"].is_null());
    site.ask("DELETE", &location, &[], "").is(200);
}

#[test]
fn every_profile_and_certificate_carries_media() {
    for (identity, profiles, expected) in [
        (Identity::ecdsa(), "SRTP_AES128_CM_SHA1_80", "sha1_80"),
        (Identity::rsa(), "SRTP_AEAD_AES_256_GCM", "gcm256"),
        (Identity::ecdsa(), "SRTP_AES128_CM_SHA1_32:SRTP_AES128_CM_SHA1_80", "sha1_80"),
    ] {
        let site = Site::start();
        let script = Script { identity, dtls: Options { profiles, ..Options::default() }, ..Script::usual() };
        let publisher = connect(&site, &script);
        let viewer = Peer::connect(&site, "/whep/cam", &offers::offer("chromium-156-viewer"), &script);
        assert_eq!((publisher.profile(), viewer.profile()), (expected, expected));
        let mut scene = Scene::begin(publisher, viewer, Track::new(SSRC, 96));
        scene.until("a report", |scene| scene.publisher_rtcp.iter().any(|(_, compound)| compound[0].kind == RR));
    }
}

#[test]
fn aes_gcm_is_chosen_whatever_order_a_client_offers_its_srtp_profiles_in() {
    let site = Site::start();
    for (place, (profiles, expected, name)) in [
        // As Chromium.
        ("SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM", "gcm128", "SRTP_AEAD_AES_128_GCM"),
        ("SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_128_GCM", "gcm128", "SRTP_AEAD_AES_128_GCM"),
        ("SRTP_AES128_CM_SHA1_32:SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM", "gcm256", "SRTP_AEAD_AES_256_GCM"),
        ("SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80", "gcm256", "SRTP_AEAD_AES_256_GCM"),
        ("SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80", "gcm128", "SRTP_AEAD_AES_128_GCM"),
    ]
    .into_iter()
    .enumerate()
    {
        let stream = format!("cam{place}");
        let script = Script { dtls: Options { profiles, ..Options::default() }, ..Script::usual() };
        let publisher = Peer::connect(&site, &format!("/whip/{stream}"), &offers::offer("obs-30"), &script);
        site.until(|| site.stream(&stream)["live"] == true);
        let offer = offers::offer("chromium-156-viewer");
        let viewer = Peer::connect(&site, &format!("/whep/{stream}"), &offer, &script);
        assert_eq!((publisher.profile(), viewer.profile()), (expected, expected), "{profiles}");
        site.until(|| site.stream(&stream)["subscribers"][0]["srtp"] == name);
        assert_eq!(site.stream(&stream)["publisher"]["srtp"], name, "{profiles}");
    }
}
