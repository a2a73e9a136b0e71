//! Descriptions of what is to come over RTSP or plain RTP, and what is written of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whipstitch_media::exercise::announcement(data));
