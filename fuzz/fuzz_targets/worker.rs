//! Datagrams and commands, in any order, into a live worker.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    whipstitch_webrtc::exercise::worker(data);
});
