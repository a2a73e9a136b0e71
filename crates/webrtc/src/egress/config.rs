//! What negotiation decided about the packets of one viewer.

use whipstitch_media::{Codec, Kind};

/// How one codec is sent to one viewer. A track changes to another when its publisher does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// What the payloads are.
    pub codec: Codec,
    /// The viewer's number for it.
    pub pt: u8,
    /// The viewer's number for the RTX format of `pt` (RFC 4588), if negotiated.
    pub rtx_pt: Option<u8>,
    /// Whether generic NACK was negotiated; without it NACKs are not answered.
    pub nack: bool,
}

/// The viewer's identifiers of the header extensions we write (RFC 8285). An identifier outside 1-14, or a mid longer
/// than 16 bytes, would need the two-byte form, which is not negotiated: such an extension is not written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid` and the viewer's mid of the track.
    pub mid: Option<(u8, String)>,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level` (RFC 6464).
    pub audio_level: Option<u8>,
    /// `urn:3gpp:video-orientation` (3GPP TS 26.114 7.4.5).
    pub orientation: Option<u8>,
}

/// One track towards one viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackConfig {
    /// Audio or video; a session has at most one track of each.
    pub kind: Kind,
    /// Ours, known to nobody else under this session's keys.
    pub ssrc: u32,
    /// The SSRC of resends, if a format has RTX: they have a sequence space of their own (RFC 4588). Ours as well.
    pub rtx_ssrc: Option<u32>,
    /// Whether a format answers NACKs without RTX: what was sent has to be remembered for that.
    pub repeats: bool,
    /// Header extensions.
    pub extensions: ExtensionIds,
}

/// Why there can be no egress for what was negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Two of the SSRCs are the same: two writers would share a nonce.
    #[error("SSRC {0:#010x} is used twice")]
    SsrcTaken(u32),
    /// Two tracks of one kind.
    #[error("two tracks of kind {0:?}")]
    SameKind(Kind),
    /// A payload type above 127.
    #[error("payload type {0} does not fit seven bits")]
    PayloadType(u8),
    /// Empty, or longer than the 255 bytes an SDES item holds (RFC 3550 6.5).
    #[error("CNAME of {0} bytes")]
    Cname(usize),
}

/// Longest SDES item.
const MAX_CNAME: usize = 255;

/// What can be said against a configuration before any key is used.
pub(super) fn check(cname: &str, tracks: &[TrackConfig]) -> Result<(), ConfigError> {
    if cname.is_empty() || cname.len() > MAX_CNAME {
        return Err(ConfigError::Cname(cname.len()));
    }
    for (at, track) in tracks.iter().enumerate() {
        if tracks.iter().take(at).any(|before| before.kind == track.kind) {
            return Err(ConfigError::SameKind(track.kind));
        }
    }
    Ok(())
}

/// What can be said against a format.
pub(super) fn check_format(format: &Format) -> Result<(), ConfigError> {
    match [Some(format.pt), format.rtx_pt].into_iter().flatten().find(|pt| *pt > 127) {
        Some(pt) => Err(ConfigError::PayloadType(pt)),
        None => Ok(()),
    }
}
