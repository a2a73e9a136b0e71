//! Registrations of origins: heartbeats, and what SRS sends.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whipstitch_proxy::exercise::register(data));
