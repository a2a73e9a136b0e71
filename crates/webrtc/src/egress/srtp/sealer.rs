//! The writing side: one [`Sealer`] per SSRC under one key, each index sealed once.
//!
//! Two packets under one nonce break AES-GCM altogether (RFC 7714 13) and counter mode for both packets. What keeps it
//! from happening lies here and nowhere else: [`Sealers`] is made from keys that cannot be copied and gives each SSRC
//! away once; a sealer writes SSRC and sequence number into the packet itself, so that no header can disagree with its
//! nonce; it records which indices were used; and it seals one a second time only to prove that the result is what was
//! sent before.

use std::sync::Arc;

use whipstitch_media::sequence::Seen;

use super::super::keys::Master;
use super::cipher::{Broken, Cipher};
use super::{WINDOW, Window};

/// First sequence numbers lie below this (RFC 3711 3.3.1 note): a receiver that loses the first packets, or meets them
/// out of order around a wrap, would otherwise start with the wrong roll-over counter.
const FIRST_LIMIT: u64 = 1 << 15;

/// RFC 3711 9.2: a key protects at most 2^48 RTP and 2^31 RTCP packets per SSRC.
const INDEX_LIMIT: u64 = 1 << 48;
const RTCP_INDEX_LIMIT: u32 = 1 << 31;

/// The first SRTCP index. RFC 3711 would allow 0; libsrtp starts at 1, which therefore every receiver has met.
const FIRST_RTCP_INDEX: u32 = 1;

/// An RTP header without CSRCs and extensions.
const FIXED_HEADER: usize = 12;

/// One direction's session keys.
struct Ciphers {
    rtp: Cipher,
    rtcp: Cipher,
}

/// All that may write under one key: gives out a [`Sealer`] for each SSRC, once.
pub struct Sealers {
    ciphers: Arc<Ciphers>,
    taken: Vec<u32>,
}

/// Why there is no sealer for an SSRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSealer {
    /// Another sealer writes with this SSRC.
    #[error("SSRC {0:#010x} has a writer already")]
    Taken(u32),
    /// The first sequence number must lie below 2^15.
    #[error("first sequence number {0} is not below 32768")]
    First(u64),
}

impl Sealers {
    pub(super) fn new(master: &Master) -> Sealers {
        let ciphers = Ciphers { rtp: Cipher::for_rtp(master), rtcp: Cipher::for_rtcp(master) };
        Sealers { ciphers: Arc::new(ciphers), taken: Vec::new() }
    }

    /// The one writer of `ssrc`, whose lowest index will be `first` (below 2^15). The newest `resends` packets, no more
    /// than [`WINDOW`], may be sealed again; each costs 8 bytes of memory.
    pub fn sealer(&mut self, ssrc: u32, first: u64, resends: usize) -> Result<Sealer, NoSealer> {
        if first >= FIRST_LIMIT {
            return Err(NoSealer::First(first));
        }
        if self.taken.contains(&ssrc) {
            return Err(NoSealer::Taken(ssrc));
        }
        self.taken.push(ssrc);
        Ok(Sealer {
            ciphers: Arc::clone(&self.ciphers),
            ssrc,
            first,
            window: Window::default(),
            sent: vec![0; resends.min(WINDOW as usize)].into_boxed_slice(),
            next_rtcp: FIRST_RTCP_INDEX,
        })
    }
}

/// Why a packet was not sealed. Nothing of it may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// This index was sealed before.
    #[error("index was sealed before")]
    Repeated,
    /// More than a window below the newest index: whether it was sealed is not known any more.
    #[error("index is more than {WINDOW} below the newest")]
    TooOld,
    /// Below the first index of this SSRC.
    #[error("index is below the first")]
    BeforeFirst,
    /// The key is used up for this SSRC.
    #[error("the key is used up")]
    Exhausted,
    /// The buffer is shorter than header, payload and tag.
    #[error("no room")]
    NoRoom,
    /// To be sealed again, but never sealed, or too long ago, or by a sealer that keeps no record for it.
    #[error("not known to have been sealed")]
    NotSealed,
    /// To be sealed again, but not what was sent.
    #[error("differs from what was sealed")]
    Different,
}

impl From<Broken> for SealError {
    fn from(_: Broken) -> SealError {
        SealError::NoRoom
    }
}

/// The one writer of one SSRC under one key.
///
/// ```compile_fail,E0599
/// # use whipstitch_webrtc::egress::{Keys, Profile};
/// let (mut sealers, _) = Keys::split(Profile::Aes128Gcm, &[0; 56], true).unwrap().into_contexts();
/// let copy = sealers.sealer(1, 0, 0).unwrap().clone();
/// ```
pub struct Sealer {
    ciphers: Arc<Ciphers>,
    ssrc: u32,
    first: u64,
    window: Window,
    /// First 8 bytes of the tags of the newest packets, as many as may be resent, at the remainder of their index.
    sent: Box<[u64]>,
    next_rtcp: u32,
}

impl Sealer {
    /// The SSRC written into every packet.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Bytes of protection behind an RTP packet.
    pub fn tag_len(&self) -> usize {
        self.ciphers.rtp.tag_len()
    }

    /// Bytes of protection behind an RTCP compound.
    pub fn rtcp_overhead(&self) -> usize {
        self.ciphers.rtcp.tag_len() + 4
    }

    /// Seals the RTP packet in `buffer[..len]`, whose header takes the first `header` bytes, as number `index` (sequence
    /// number and roll-over counter), once. Writes sequence number and SSRC into the header. Returns the length with
    /// the tag. An index is used up even if an error follows.
    pub fn seal(&mut self, index: u64, buffer: &mut [u8], header: usize, len: usize) -> Result<usize, SealError> {
        self.seal_new(index, buffer, header, len, None)
    }

    /// The same for a payload that is elsewhere: only its header is in the buffer, in the first `header` bytes.
    pub fn seal_from(
        &mut self,
        index: u64,
        buffer: &mut [u8],
        header: usize,
        payload: &[u8],
    ) -> Result<usize, SealError> {
        self.seal_new(index, buffer, header, header + payload.len(), Some(payload))
    }

    fn seal_new(
        &mut self,
        index: u64,
        buffer: &mut [u8],
        header: usize,
        len: usize,
        from: Option<&[u8]>,
    ) -> Result<usize, SealError> {
        if index < self.first {
            return Err(SealError::BeforeFirst);
        }
        if index >= INDEX_LIMIT {
            return Err(SealError::Exhausted);
        }
        match self.window.insert(index) {
            Seen::Newest | Seen::Late => {}
            Seen::Duplicate => return Err(SealError::Repeated),
            Seen::TooOld => return Err(SealError::TooOld),
        }
        let sealed = self.protect(index, buffer, header, len, from)?;
        if self.remembers(index) {
            let place = self.place(index);
            self.sent[place] = fingerprint(&buffer[..sealed], len);
        }
        Ok(sealed)
    }

    /// Seals a packet that was sealed before, for a resend without RTX. The same header and payload under the same
    /// nonce yield the same bytes; the tag proves it. Anything else is wiped and refused.
    pub fn seal_again(&self, index: u64, buffer: &mut [u8], header: usize, len: usize) -> Result<usize, SealError> {
        if !self.remembers(index) || !self.window.contains(index) {
            return Err(SealError::NotSealed);
        }
        let before = self.sent[self.place(index)];
        let sealed = self.protect(index, buffer, header, len, None)?;
        if fingerprint(&buffer[..sealed], len) != before {
            buffer[..sealed].fill(0);
            return Err(SealError::Different);
        }
        Ok(sealed)
    }

    /// Whether the index is so new that its place is its own.
    fn remembers(&self, index: u64) -> bool {
        self.window.newest().is_some_and(|newest| index <= newest && newest - index < self.sent.len() as u64)
    }

    /// Of an index that is remembered, so there are places.
    fn place(&self, index: u64) -> usize {
        (index % self.sent.len() as u64) as usize
    }

    fn protect(
        &self,
        index: u64,
        buffer: &mut [u8],
        header: usize,
        len: usize,
        from: Option<&[u8]>,
    ) -> Result<usize, SealError> {
        if header < FIXED_HEADER || len > buffer.len() {
            return Err(SealError::NoRoom);
        }
        let fixed = buffer.first_chunk_mut::<FIXED_HEADER>().ok_or(SealError::NoRoom)?;
        fixed[2..4].copy_from_slice(&(index as u16).to_be_bytes());
        fixed[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        Ok(self.ciphers.rtp.seal_rtp(self.ssrc, index, buffer, header, len, from)?)
    }

    /// Seals the RTCP compound in `buffer[..len]` with the next index. Writes the SSRC as the sender of its first packet.
    /// Returns the length with tag and index.
    pub fn seal_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SealError> {
        if self.next_rtcp >= RTCP_INDEX_LIMIT {
            return Err(SealError::Exhausted);
        }
        buffer.get_mut(4..8).ok_or(SealError::NoRoom)?.copy_from_slice(&self.ssrc.to_be_bytes());
        let index = self.next_rtcp;
        self.next_rtcp += 1;
        Ok(self.ciphers.rtcp.seal_rtcp(self.ssrc, index, buffer, len)?)
    }
}

/// The first 8 bytes of the tag: two different packets under one nonce agree in them once in 2^64.
fn fingerprint(sealed: &[u8], plain: usize) -> u64 {
    sealed.get(plain..).and_then(|tag| tag.first_chunk()).map_or(0, |tag| u64::from_be_bytes(*tag))
}

#[cfg(test)]
#[path = "sealer_tests.rs"]
mod tests;
