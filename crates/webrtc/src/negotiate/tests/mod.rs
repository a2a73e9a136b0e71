//! The rules of offers, answers and fragments as tables, and the offers of real clients (`tests/fixtures/offers`).

mod answers;
mod fixtures;
mod fragments;
mod hostile;
mod offers;
mod plans;

use std::net::SocketAddr;

use whipstitch_media::{Codec, Kind};
use whipstitch_stream::{Track, Tracks};

use super::*;

/// A publisher's offer with everything on it: RTX, feedback, extensions, a codec nobody knows, candidates.
const PUBLISHER: &str = "v=0\r
o=- 1 1 IN IP4 0.0.0.0\r
s=-\r
t=0 0\r
a=group:BUNDLE a v\r
m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r
c=IN IP4 0.0.0.0\r
a=ice-ufrag:abcd\r
a=ice-pwd:abcdefghijklmnopqrstuv\r
a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r
a=setup:actpass\r
a=mid:a\r
a=sendonly\r
a=rtcp-mux\r
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r
a=rtpmap:111 opus/48000/2\r
a=fmtp:111 minptime=10;useinbandfec=1\r
a=ssrc:1001 cname:c\r
m=video 9 UDP/TLS/RTP/SAVPF 96 97 98\r
c=IN IP4 0.0.0.0\r
a=ice-ufrag:abcd\r
a=ice-pwd:abcdefghijklmnopqrstuv\r
a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r
a=setup:actpass\r
a=mid:v\r
a=sendonly\r
a=rtcp-mux\r
a=rtcp-rsize\r
a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r
a=extmap:13 urn:3gpp:video-orientation\r
a=rtpmap:96 H264/90000\r
a=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r
a=rtcp-fb:96 nack\r
a=rtcp-fb:96 nack pli\r
a=rtcp-fb:96 ccm fir\r
a=rtcp-fb:96 goog-remb\r
a=rtcp-fb:96 transport-cc\r
a=rtpmap:97 rtx/90000\r
a=fmtp:97 apt=96\r
a=rtpmap:98 red/90000\r
a=ssrc-group:FID 1002 1003\r
a=ssrc:1002 cname:c\r
a=ssrc:1003 cname:c\r
";

/// The same as a viewer's offer.
fn viewer_offer() -> String {
    changed(PUBLISHER, &[("a=sendonly", "a=recvonly")])
}

/// `text` with every occurrence of the left side replaced; a left side that does not occur is a mistake in the test.
fn changed(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the offer has no {from:?}");
        text.replace(from, to)
    })
}

fn track(codec: Codec, format: &str) -> Option<Track> {
    Some(Track { codec, format: format.to_owned() })
}

/// What `PUBLISHER` publishes.
fn tracks() -> Tracks {
    Tracks {
        audio: track(Codec::Opus, "minptime=10;useinbandfec=1"),
        video: track(Codec::H264, "packetization-mode=1;profile-level-id=42e01f"),
    }
}

fn our_credentials() -> Credentials {
    Credentials { ufrag: "OurUfrag12345678".to_owned(), pwd: "OurPasswordOurPasswordOurPasswor".to_owned() }
}

fn addresses() -> Vec<SocketAddr> {
    ["[2001:db8::5]:8189", "203.0.113.5:8189", "192.0.2.5:8189"].map(|text| text.parse().expect("an address")).to_vec()
}

/// The answer to a publisher's offer that must be accepted.
fn publish(offer: &str) -> String {
    let offer = Offer::parse(offer).expect("an offer");
    let plan = plan_publisher(&offer).expect("a publisher");
    with_local(|local| answer_publisher(&offer, &plan, local))
}

/// The answer to a viewer's offer that must be accepted.
fn watch(offer: &str, tracks: &Tracks) -> String {
    let offer = Offer::parse(offer).expect("an offer");
    let plan = plan_viewer(&offer, Some(tracks)).expect("a viewer");
    answer_to_viewer(&offer, &plan)
}

fn answer_to_viewer(offer: &Offer, plan: &ViewerPlan) -> String {
    let senders = [
        Sender { kind: Kind::Audio, ssrc: 2001, rtx_ssrc: None },
        Sender { kind: Kind::Video, ssrc: 2002, rtx_ssrc: Some(2003) },
    ];
    with_local(|local| answer_viewer(offer, plan, local, "stream", "cname", &senders))
}

fn with_local<T>(with: impl FnOnce(&Local<'_>) -> T) -> T {
    let (credentials, addresses) = (our_credentials(), addresses());
    with(&Local { credentials: &credentials, fingerprint: &[0xAB; 32], candidates: &addresses, session_id: u64::MAX })
}

/// Which of the two refusals, and the words that must be in its text.
#[derive(Clone, Copy, Debug)]
enum Refused {
    Syntax(&'static str),
    Unusable(&'static str),
    Codec(&'static str),
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(rule: &str, outcome: Result<T, OfferError>, expected: Refused) {
    let error = outcome.map(|_| ()).expect_err(rule);
    let words = match (&error, expected) {
        (OfferError::Syntax(_), Refused::Syntax(words))
        | (OfferError::Unusable(_), Refused::Unusable(words))
        | (OfferError::Codec { .. }, Refused::Codec(words)) => words,
        _ => panic!("{rule}: {error:?} instead of {expected:?}"),
    };
    let text = error.to_string();
    assert!(text.contains(words), "{rule}: {text:?} does not say {words:?}");
    assert!(!text.contains("abcdefghijklmnopqrstu"), "{rule}: {text:?} tells a password");
    assert!(text.len() < 600 && !text.contains('\n'), "{rule}: {text:?} is not one readable line");
}
