//! What fuzz targets and tests share: anything goes in, and what must hold is asserted.
//!
//! Each function here is the whole of one target in `fuzz/`; a test feeds it seeded inputs where no fuzzer is at hand.

use std::net::SocketAddr;

use whipstitch_media::{Codec, Kind};
use whipstitch_stream::{Track, Tracks};

use super::{
    Credentials, Local, Offer, Sender, answer_publisher, answer_viewer, parse_fragment, plan_publisher, plan_viewer,
    write_fragment,
};

/// Takes the offer through everything that can happen to it: as a publisher's, and as a viewer's of a stream of each
/// video codec, and of one that nobody publishes. Says whether anything was accepted.
///
/// # Panics
/// If an answer is over 8191 bytes, or does not parse back into as many sections as were offered.
pub fn offer(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(offer) = Offer::parse(text) else { return false };
    let (credentials, candidates) = ours();
    let local = Local { credentials: &credentials, fingerprint: &[0xAB; 32], candidates: &candidates, session_id: 1 };
    let senders = [
        Sender { kind: Kind::Audio, ssrc: 1, rtx_ssrc: None },
        Sender { kind: Kind::Video, ssrc: 2, rtx_ssrc: Some(3) },
    ];
    let publisher = plan_publisher(&offer).map(|plan| answer_publisher(&offer, &plan, &local));
    let viewers = streams().into_iter().map(Some).chain([None]).map(|tracks| {
        let plan = plan_viewer(&offer, tracks.as_ref())?;
        Ok(answer_viewer(&offer, &plan, &local, "stream", "cname", &senders))
    });
    let answers: Vec<String> = std::iter::once(publisher).chain(viewers).filter_map(Result::ok).collect();
    for answer in &answers {
        assert!(answer.len() <= 8191, "{} bytes answer {text:?}", answer.len());
        let session = sdp_types::Session::parse(answer.as_bytes());
        let sections = session.unwrap_or_else(|error| panic!("{error}: {answer:?} answers {text:?}")).medias.len();
        assert_eq!(sections, offer.sections().len(), "{answer:?} answers {text:?}");
    }
    !answers.is_empty()
}

/// Takes the body of a trickle or restart request. Says whether it was accepted.
///
/// # Panics
/// If credentials that were accepted are not accepted again when written.
pub fn fragment(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(fragment) = parse_fragment(text) else { return false };
    let written = write_fragment(&fragment.credentials, Some("0"), &ours().1);
    assert_eq!(parse_fragment(&written).map(|written| written.credentials), Ok(fragment.credentials));
    true
}

fn ours() -> (Credentials, Vec<SocketAddr>) {
    let credentials = Credentials { ufrag: "o".repeat(16), pwd: "p".repeat(32) };
    (credentials, [1, 2, 3].map(|last| SocketAddr::from(([192, 0, 2, last], 8189))).to_vec())
}

fn streams() -> Vec<Tracks> {
    let track = |codec, format: &str| Some(Track { codec, format: format.to_owned() });
    let audio = [Codec::Opus, Codec::Pcmu, Codec::Pcma, Codec::G722];
    let video = Codec::ALL.into_iter().filter(|codec| codec.kind() == Kind::Video);
    let both = video.zip(audio.into_iter().cycle());
    both.map(|(video, audio)| Tracks { audio: track(audio, ""), video: track(video, "packetization-mode=1") }).collect()
}
