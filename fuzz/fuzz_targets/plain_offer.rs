//! Offers of plain RTP, and what they are answered.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whipstitch_media::exercise::plain_offer(data));
