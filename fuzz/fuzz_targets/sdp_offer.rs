//! Offers, as a publisher's and as a viewer's, and their answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    whipstitch_webrtc::negotiate::exercise::offer(data);
});
