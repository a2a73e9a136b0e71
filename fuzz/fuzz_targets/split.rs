//! Payloads of any codec, cut to a length that fits viewers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whipstitch_media::exercise::split(std::time::Instant::now(), data));
