//! Plain RTP and RTCP of a sender.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whipstitch_rtp::exercise::receiver(std::time::Instant::now(), data));
