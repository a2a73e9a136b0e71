//! The reading side: what the peer sealed, each index once per SSRC.
//!
//! Nothing is remembered of a packet that is not authentic: no SSRC, no index, no liveness. The number of SSRCs is
//! bounded, so that a peer cannot make us keep windows without end.

use whipstitch_media::sequence::Seen;

use super::super::keys::Master;
use super::Window;
use super::cipher::Cipher;

/// SSRCs one peer may send RTP from, and RTCP from. Browsers need a handful; 32 is what `protocol.md` 7.2 grants.
const MAX_SOURCES: usize = 32;

/// Why a packet was not opened. It is dropped without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Shorter than header and tag, or not version 2, or a header longer than the packet.
    #[error("not a protected packet")]
    Malformed,
    /// Accepted before.
    #[error("replayed")]
    Replayed,
    /// So far below the newest that a replay could not be told.
    #[error("too old")]
    TooOld,
    /// The tag does not fit.
    #[error("not authentic")]
    NotAuthentic,
    /// Authentic, but from one SSRC too many.
    #[error("more than {MAX_SOURCES} SSRCs")]
    TooManySources,
}

/// An RTP packet that was opened in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Sequence number and roll-over counter.
    pub index: u64,
    /// Bytes of the header, CSRCs and extensions included.
    pub header: usize,
    /// Bytes of header and payload.
    pub len: usize,
}

/// Replay lists by SSRC.
#[derive(Default)]
struct Sources(Vec<(u32, Window)>);

impl Sources {
    fn find(&self, ssrc: u32) -> Option<&Window> {
        self.0.iter().find(|(known, _)| *known == ssrc).map(|(_, window)| window)
    }

    /// Whether a packet may pass if it is authentic.
    fn check(&self, ssrc: u32, index: u64) -> Result<(), OpenError> {
        match self.find(ssrc).map(|window| window.check(index)) {
            None | Some(Seen::Newest | Seen::Late) => Ok(()),
            Some(Seen::Duplicate) => Err(OpenError::Replayed),
            Some(Seen::TooOld) => Err(OpenError::TooOld),
        }
    }

    /// Marks an authentic packet.
    fn mark(&mut self, ssrc: u32, index: u64) -> Result<(), OpenError> {
        if let Some((_, window)) = self.0.iter_mut().find(|(known, _)| *known == ssrc) {
            window.insert(index);
            return Ok(());
        }
        if self.0.len() >= MAX_SOURCES {
            return Err(OpenError::TooManySources);
        }
        let mut window = Window::default();
        window.insert(index);
        self.0.push((ssrc, window));
        Ok(())
    }
}

/// Opens what one peer sends under its key.
pub struct Opener {
    rtp: Cipher,
    rtcp: Cipher,
    rtp_sources: Sources,
    rtcp_sources: Sources,
}

impl Opener {
    pub(super) fn new(master: &Master) -> Opener {
        Opener {
            rtp: Cipher::for_rtp(master),
            rtcp: Cipher::for_rtcp(master),
            rtp_sources: Sources::default(),
            rtcp_sources: Sources::default(),
        }
    }

    /// Opens an SRTP packet in place. After an error the bytes are worthless and nothing was remembered.
    pub fn open(&mut self, packet: &mut [u8]) -> Result<Opened, OpenError> {
        let header = header_len(packet).ok_or(OpenError::Malformed)?;
        let (seq, ssrc) = (u16_at(packet, 2), u32_at(packet, 8));
        let (Some(seq), Some(ssrc)) = (seq, ssrc) else { return Err(OpenError::Malformed) };
        let newest = self.rtp_sources.find(ssrc).and_then(Window::newest);
        let index = extend(newest, seq).ok_or(OpenError::TooOld)?;
        self.rtp_sources.check(ssrc, index)?;
        let len = self.rtp.open_rtp(ssrc, index, packet, header).map_err(|_| OpenError::NotAuthentic)?;
        self.rtp_sources.mark(ssrc, index)?;
        Ok(Opened { index, header, len })
    }

    /// Opens an SRTP packet in place as one of this index. Whether it comes for the first time is for the caller to know.
    pub(crate) fn open_as(&self, index: u64, packet: &mut [u8]) -> Result<Opened, OpenError> {
        let header = header_len(packet).ok_or(OpenError::Malformed)?;
        let ssrc = u32_at(packet, 8).ok_or(OpenError::Malformed)?;
        let len = self.rtp.open_rtp(ssrc, index, packet, header).map_err(|_| OpenError::NotAuthentic)?;
        Ok(Opened { index, header, len })
    }

    /// Opens an SRTCP packet in place and returns the length of the compound. After an error the bytes are worthless and
    /// nothing was remembered. A packet with the E bit clear is authentic but was sent unencrypted (RFC 3711 3.4): that
    /// gives away what the peer chose to give away, and is accepted.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, OpenError> {
        let word = self.rtcp.rtcp_word(packet).ok_or(OpenError::Malformed)?;
        let ssrc = u32_at(packet, 4).ok_or(OpenError::Malformed)?;
        if packet.first().is_none_or(|first| first >> 6 != 2) {
            return Err(OpenError::Malformed);
        }
        let index = u64::from(word & (u32::MAX >> 1));
        self.rtcp_sources.check(ssrc, index)?;
        let len = self.rtcp.open_rtcp(ssrc, word, packet).map_err(|_| OpenError::NotAuthentic)?;
        self.rtcp_sources.mark(ssrc, index)?;
        Ok(len)
    }
}

/// RFC 3711 3.3.1: the index nearest to the newest. The first packet has roll-over counter 0.
fn extend(newest: Option<u64>, seq: u16) -> Option<u64> {
    let Some(newest) = newest else { return Some(seq.into()) };
    let distance = seq.wrapping_sub(newest as u16) as i16;
    newest.checked_add_signed(distance.into())
}

/// Bytes of an RTP header with its CSRCs and extensions (RFC 3550 5.1, 5.3.1).
fn header_len(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    if first >> 6 != 2 {
        return None;
    }
    let mut len = 12 + 4 * usize::from(first & 0x0f);
    if first & 0x10 != 0 {
        len += 4 + 4 * usize::from(u16_at(packet, len + 2)?);
    }
    (len <= packet.len()).then_some(len)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
#[path = "opener_tests.rs"]
mod tests;
