//! Definitions of processes as JSON, and changes of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whipstitch_ffmpeg::exercise::definition(data));
