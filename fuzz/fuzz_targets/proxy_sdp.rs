//! Answers, fragments and envelopes of origins, and the proxy's candidates in them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    whipstitch_proxy::exercise::proxy_sdp(data);
});
