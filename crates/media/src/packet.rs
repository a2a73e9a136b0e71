//! The RTP packet as it travels inside the gateway: header fields already understood, payload shared, nothing of the
//! wire left (no SSRC, no payload type, no CSRC, no padding).

use std::sync::Arc;
use std::time::Instant;

/// One media packet of one track, numbered in the space of whoever made it (a publisher's SSRC, or a stream's own
/// continuous timeline once the hub has placed it there).
#[derive(Clone, Debug)]
pub struct Packet {
    /// Extended sequence number: the 16 bits of the wire plus 65536 for every wrap (RFC 3711 3.3.1 calls it the index).
    pub seq: u64,
    /// Extended RTP time in the codec's clock rate.
    pub time: u64,
    /// RTP marker bit: the last packet of a picture; for audio the first of a talk spurt.
    pub marker: bool,
    /// The payload without padding. Shared: fan-out clones a pointer.
    pub payload: Arc<[u8]>,
    /// Header extensions that are meaningful to subscribers.
    pub extensions: Extensions,
    /// When the datagram was received.
    pub arrived: Instant,
}

/// The header extensions a subscriber can use; everything hop-by-hop (transport-cc, abs-send-time, MID, RID) is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// RFC 6464: the byte of the extension, V bit on top, level in -dBov below.
    pub audio_level: Option<u8>,
    /// 3GPP TS 26.114 7.4.5: the byte of coordination of video orientation.
    pub orientation: Option<u8>,
}
