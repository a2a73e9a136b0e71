//! Authentic RTP and RTCP of a connected publisher and a connected viewer, into a live worker.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    whipstitch_webrtc::exercise::media(data);
});
