//! Bodies of trickle and restart requests.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    whipstitch_webrtc::negotiate::exercise::fragment(data);
});
