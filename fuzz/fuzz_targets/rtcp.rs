//! What viewers say of what they are sent.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    whipstitch_webrtc::egress::exercise::rtcp(data);
});
