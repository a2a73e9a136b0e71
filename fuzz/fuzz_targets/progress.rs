//! What a child writes: its log and its progress, split anywhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whipstitch_ffmpeg::exercise::progress(data));
