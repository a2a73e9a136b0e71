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
