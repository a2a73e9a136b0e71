//! Datagrams on TCP.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whipstitch_net::exercise::framing(data));
