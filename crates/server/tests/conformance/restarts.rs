//! ICE restart over the wire (protocol.md 4.2): both generations are answered until the new one is nominated, media never
//! stops, and nothing but the address changes.

use std::time::Instant;

use crate::kit::peer::media::{Scene, Track};
use crate::kit::peer::stun::{BINDING_REQUEST, Reply, USE_CANDIDATE, USERNAME, Writing};
use crate::kit::peer::{Peer, Received, Script};
use crate::kit::sdp::Sdp;
use crate::kit::{FRAGMENT, PATIENCE, Site, offers};

const NEW_UFRAG: &str = "anew4242";
const NEW_PWD: &str = "nmlkjihgfedcba9876543210";

/// What the server is called in the new generation.
struct Generation {
    ufrag: String,
    pwd: String,
}

/// Restarts ICE of the session of `peer`.
#[track_caller]
fn restart(site: &Site, peer: &Peer) -> Generation {
    let fragment = format!("a=ice-ufrag:{NEW_UFRAG}\r\na=ice-pwd:{NEW_PWD}\r\n");
    let tag = format!("If-Match: {}", peer.accepted.etag());
    let restarted = site.ask("PATCH", peer.accepted.location(), &[FRAGMENT, &tag], fragment).is(200);
    let body = Sdp::parse(restarted.text());
    let section = &body.sections[0];
    Generation { ufrag: section.one("ice-ufrag").to_owned(), pwd: section.one("ice-pwd").to_owned() }
}

impl Generation {
    /// Sends a check of this generation; gives its transaction.
    fn send(&self, peer: &mut Peer, nominate: bool) -> [u8; 12] {
        let (transaction, username) = (peer.transaction(), format!("{}:{NEW_UFRAG}", self.ufrag));
        let mut check = Writing::new(BINDING_REQUEST, transaction).with(USERNAME, username.as_bytes());
        if nominate {
            check = check.with(USE_CANDIDATE, &[]);
        }
        peer.send_raw(&check.sign(&self.pwd).print().bytes());
        transaction
    }

    /// Sends one and waits for its success; whatever comes before it.
    #[track_caller]
    fn check(&self, peer: &mut Peer, nominate: bool) -> Vec<Received> {
        let transaction = self.send(peer, nominate);
        let mut before = Vec::new();
        let local = peer.local();
        peer.until("an answer in the new generation", |received| match received {
            Received::Stun(bytes) if bytes[8..20] == transaction => {
                assert_eq!(Reply::read(&bytes, &self.pwd).outcome, Ok(local));
                Some(())
            }
            other => {
                before.push(other);
                None
            }
        });
        before
    }
}

fn scene(site: &Site) -> Scene {
    let publisher = Peer::connect(site, "/whip/cam", &offers::offer("obs-30"), &Script::usual());
    let viewer = Peer::connect(site, "/whep/cam", &offers::offer("chromium-156-viewer"), &Script::usual());
    Scene::begin(publisher, viewer, Track::new(1_417_239_622, 96))
}

#[track_caller]
fn frame_arrives(scene: &mut Scene) {
    let frame = scene.delta().1;
    scene.until("the frame", |scene| scene.has(frame));
}

/// Nominates in the new generation, again and again as clients do since an address moves at most once a second, until a
/// check of the first one gets no answer.
#[track_caller]
fn nominate_until_the_first_is_gone(new: &Generation, peer: &mut Peer) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "the first generation is still answered");
        new.check(peer, true);
        let check = peer.write_check(true);
        peer.send_raw(&check);
        let before = new.check(peer, false);
        if !before.iter().any(|received| matches!(received, Received::Stun(_))) {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_viewers_media_follows_the_new_generation_when_it_is_nominated() {
    let site = Site::start();
    let mut scene = scene(&site);
    let new = restart(&site, &scene.viewer);
    assert_ne!(new.ufrag, scene.viewer.credentials().0);
    scene.viewer.check();
    frame_arrives(&mut scene);
    new.check(&mut scene.viewer, false);
    scene.viewer.check();
    frame_arrives(&mut scene);

    let ssrc = scene.packets[0].ssrc;
    let _old = scene.viewer.rebind();
    scene.packets.clear();
    nominate_until_the_first_is_gone(&new, &mut scene.viewer);
    frame_arrives(&mut scene);
    assert!(scene.packets.iter().all(|packet| packet.ssrc == ssrc), "the same source, under the same keys");
}

#[test]
fn a_publisher_goes_on_from_its_new_address_with_its_old_keys() {
    let site = Site::start();
    let mut scene = scene(&site);
    let new = restart(&site, &scene.publisher);
    scene.publisher.check();
    frame_arrives(&mut scene);
    let _old = scene.publisher.rebind();
    nominate_until_the_first_is_gone(&new, &mut scene.publisher);
    frame_arrives(&mut scene);
    assert_eq!(site.stream("cam")["live"], true);
}
