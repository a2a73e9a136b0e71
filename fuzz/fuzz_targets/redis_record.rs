//! Values as they may stand in the registry of several proxies.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whipstitch_proxy::exercise::redis_record(data));
