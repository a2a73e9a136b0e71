//! Datagrams that come to a proxy's relay with live sessions.
#![no_main]

use std::time::Instant;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    whipstitch_proxy::exercise::relay(Instant::now(), data);
});
