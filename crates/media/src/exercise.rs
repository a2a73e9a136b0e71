//! What fuzz targets and tests share: anything goes in, and what must hold is asserted.
//!
//! Each function here is the whole of one target in `fuzz/`; a test feeds it seeded inputs where no fuzzer is at hand.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use crate::codec::{Codec, Inspector};
use crate::packet::{Extensions, Packet};
use crate::sdp;
use crate::split::{MAX_PAYLOAD, Splitter};

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

/// Cuts a series of payloads to size. The first byte picks the codec; then each packet is one byte of flags (the low bit is
/// the marker, the next moves the RTP time on, the next leaves a number out), two of length, and as many bytes, repeated to
/// that length.
///
/// # Panics
/// If numbers do not rise, a payload that could be cut stays too long, or what was whole is broken.
pub fn split(now: Instant, data: &[u8]) {
    let Some((&pick, mut rest)) = data.split_first() else { return };
    let codec = Codec::ALL[usize::from(pick) % Codec::ALL.len()];
    let (mut splitter, mut inspector) = (Splitter::new(codec), Inspector::new(codec));
    let (mut seq, mut time, mut newest, mut taken, mut given) = (1, 1, 0, 0, 0);
    while let [flags, high, low, after @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low]) % 4096);
        let (head, after) = after.split_at_checked(len.min(16)).unwrap_or((after, &[]));
        rest = after;
        let payload: Vec<u8> = head.iter().chain(std::iter::repeat(&0x55)).take(len).copied().collect();
        seq += 1 + u64::from(flags >> 2 & 1);
        time += u64::from(flags >> 1 & 1);
        // Of AV1 only the first OBU of a packet is looked at, and here each comes to be one.
        let is_whole = codec != Codec::Av1 && !Inspector::new(codec).inspect(time, &payload).broken;
        taken += len;
        let packet = Packet {
            seq,
            time,
            marker: flags & 1 != 0,
            payload: payload.into(),
            extensions: Extensions::default(),
            arrived: now,
        };
        splitter.push(packet, |packet| {
            assert!(packet.seq > newest, "{codec}: {} after {newest}", packet.seq);
            newest = packet.seq;
            given += packet.payload.len();
            let found = inspector.inspect(packet.time, &packet.payload);
            assert!(!is_whole || !found.broken, "{codec}: {:02x?}", packet.payload);
            let may_be_long = matches!(codec, Codec::Opus | Codec::Vp9) || !is_whole;
            assert!(may_be_long || packet.payload.len() <= MAX_PAYLOAD, "{codec}: {} bytes", packet.payload.len());
        });
        // Headers are repeated; nothing else is added.
        assert!(given <= 4 * taken + MAX_PAYLOAD, "{codec}: {given} of {taken} bytes");
    }
}

/// Reads an offer of plain RTP; what it is answered must be SDP with as many sections, each taken or rejected, and must read
/// back as what was taken.
///
/// # Panics
/// If it does not.
pub fn plain_offer(data: &[u8]) {
    let Ok(Some(offer)) = sdp::plain::Offer::read(&String::from_utf8_lossy(data)) else { return };
    let taken: Vec<sdp::Section> = offer.sections().cloned().collect();
    assert!((1..=2).contains(&taken.len()), "{taken:?}");
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let header = sdp::Header { name: "fuzz", id: 1, version: 1, origin: address, connection: address, rtsp: false };
    let port = |kind| if kind == crate::Kind::Video { 10_000 } else { 10_002 };
    let written = offer.answer(&header, port);
    let answer = sdp_types::Session::parse(written.as_bytes()).expect("the answer is SDP");
    let accepted: Vec<_> = answer.medias.iter().filter(|media| media.port != 0).collect();
    assert_eq!(accepted.len(), taken.len(), "{written}");
    for (media, section) in accepted.into_iter().zip(taken) {
        let alone = sdp_types::Session { medias: vec![media.clone()], ..answer.clone() };
        let mut text = Vec::new();
        alone.write(&mut text).expect("memory takes any number of bytes");
        let expected = sdp::Section { port: port(section.codec.kind()), control: None, ..section };
        assert_eq!(sdp::read(&String::from_utf8_lossy(&text)), Ok(vec![expected]), "{written}");
    }
}
