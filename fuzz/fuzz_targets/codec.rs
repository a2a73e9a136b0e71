//! Payloads of every codec.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whipstitch_media::exercise::codec(data));
