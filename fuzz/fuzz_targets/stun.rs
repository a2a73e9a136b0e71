//! Connectivity checks, and the answers of a client's peer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whipstitch_net::exercise::stun(data));
