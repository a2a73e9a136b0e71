//! A connection of RTSP: requests and interleaved frames, split anywhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whipstitch_rtsp::exercise::connection(data));
