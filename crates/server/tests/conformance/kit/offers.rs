//! The offers of real clients: the fixtures of `crates/webrtc/tests/fixtures/offers`, whose README says how each was
//! recorded.

/// Everything that publishes. Safari's offer is `sendrecv`.
pub(crate) const PUBLISHERS: [&str; 13] = [
    "aiortc-publisher",
    "chromium-156-publisher",
    "chromium-156-publisher-simulcast",
    "ffmpeg-8.0",
    "ffmpeg-8.0-audio-only",
    "ffmpeg-8.0-video-only",
    "firefox-153-publisher",
    "firefox-153-publisher-simulcast",
    "gstreamer-1.22-publisher",
    "obs-30",
    "obs-32",
    "obs-32-simulcast",
    "safari-18-publisher",
];

/// Everything that watches.
pub(crate) const VIEWERS: [&str; 8] = [
    "aiortc-viewer",
    "chromium-156-viewer",
    "eyevinn-player",
    "firefox-153-viewer",
    "firefox-153-viewer-openh264",
    "gstreamer-1.22-viewer",
    "mediamtx-reader",
    "safari-18-viewer",
];

/// The offer of that name, byte for byte.
#[track_caller]
pub(crate) fn offer(name: &str) -> String {
    let file = format!("{}/../webrtc/tests/fixtures/offers/{name}.sdp", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// One section of a hand-written offer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Media<'a> {
    /// `audio` or `video`.
    pub(crate) kind: &'a str,
    /// Its formats, as on the `m=` line.
    pub(crate) formats: &'a str,
    /// Further attributes, one a line, without their `a=`.
    pub(crate) attributes: &'a [&'a str],
}

/// An offer with nothing on it but what must be there, for tests of one thing. Mids count from 0.
pub(crate) fn written(direction: &str, sections: &[Media<'_>]) -> String {
    let mids: Vec<String> = (0..sections.len()).map(|mid| mid.to_string()).collect();
    let mut offer = format!("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n", mids.join(" "));
    for (mid, media) in sections.iter().enumerate() {
        offer += &format!("m={} 9 UDP/TLS/RTP/SAVPF {}\r\nc=IN IP4 0.0.0.0\r\n", media.kind, media.formats);
        offer += "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n";
        offer += &format!("a=fingerprint:sha-256 {}\r\n", ["AB"; 32].join(":"));
        offer += &format!("a=setup:actpass\r\na=mid:{mid}\r\na={direction}\r\na=rtcp-mux\r\n");
        for attribute in media.attributes {
            offer += &format!("a={attribute}\r\n");
        }
    }
    offer
}
