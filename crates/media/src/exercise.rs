//! What fuzz targets and tests share: anything goes in, and what must hold is asserted.
//!
//! Each function here is the whole of one target in `fuzz/`; a test feeds it seeded inputs where no fuzzer is at hand.

use std::net::{IpAddr, Ipv4Addr};

use crate::codec::{Codec, Inspector};
use crate::sdp;

/// Parameter sets that are put into a stream have to fit a packet.
const MAX_SETS: usize = 1200;

/// Inspects a series of packets. The first byte picks the codec, the second how long the format parameters are; then
/// each packet is one byte of length, whose top bit moves the RTP time on, and as many bytes.
///
/// # Panics
/// If an inspector breaks its word.
pub fn codec(data: &[u8]) {
    let [pick, format_length, rest @ ..] = data else { return };
    let codec = Codec::ALL[usize::from(*pick) % Codec::ALL.len()];
    let (format, mut rest) = rest.split_at_checked(usize::from(*format_length)).unwrap_or((&[], rest));
    let mut inspector = Inspector::with_format(codec, &String::from_utf8_lossy(format));
    let (mut time, mut started) = (0, None);
    while let Some((&header, after)) = rest.split_first() {
        time += u64::from(header >> 7);
        let (payload, after) = after.split_at_checked(usize::from(header & 0x7f)).unwrap_or((after, &[]));
        rest = after;
        let found = inspector.inspect(time, payload);
        let format = inspector.format("a=1;sprop-sps=x");
        assert!(format.len() < 4096, "{codec}: {} bytes of parameters do not fit a line", format.len());
        if found.broken {
            assert!(!found.start && !found.keyframe && !found.bare && found.size.is_none(), "{codec}: {found:?}");
        }
        assert!(found.keyframe || !found.start && !found.bare, "{codec}: {found:?}");
        if found.start && codec.kind() == crate::Kind::Video {
            assert_ne!(started.replace(time), Some(time), "{codec}: two starts at one time");
        }
        if let Some(sets) = inspector.parameter_sets() {
            assert!(sets.len() <= MAX_SETS, "{codec}: {} bytes of parameter sets", sets.len());
            assert!(Inspector::new(codec).inspect(0, &sets).start, "{codec}: {sets:02x?} do not start");
        }
    }
}

/// Reads a description; what was understood of it must read back from what we write of it.
///
/// # Panics
/// If it does not.
pub fn announcement(data: &[u8]) {
    let Ok(sections) = sdp::read(&String::from_utf8_lossy(data)) else { return };
    assert!((1..=2).contains(&sections.len()), "{sections:?}");
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for rtsp in [false, true] {
        let header = sdp::Header { name: "fuzz", id: 1, version: 1, origin: address, connection: address, rtsp };
        let written = sdp::write(&header, &sections);
        assert_eq!(sdp::read(&written).as_ref(), Ok(&sections), "{written}");
    }
}
