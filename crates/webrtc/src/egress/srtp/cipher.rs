//! Protection of one packet under one session key: where nonce, associated data and tag are (RFC 3711 4.1-4.2,
//! RFC 7714 8-9). Knows no state: that each nonce is used once is [`super::Sealer`]'s business.
//!
//! A packet is worked on where it lies; the buffer has room for the tag behind it.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{EncryptingKey, EncryptionContext};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroizing;

use super::super::keys::{Master, Profile};
use super::derive::{Label, counter_mode, derive};

/// E bit of the word that follows an SRTCP packet (RFC 3711 3.4): the compound is encrypted.
const ENCRYPTED: u32 = 1 << 31;

/// The part of an RTCP packet that is never encrypted: first header and sender SSRC.
const RTCP_CLEAR: usize = 8;

/// What went wrong with a buffer: no room for the tag, shorter than its header, or (opening) not authentic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// The session keys of one direction, of RTP or of RTCP.
pub(super) enum Cipher {
    Gcm {
        key: LessSafeKey,
        salt: Zeroizing<[u8; 12]>,
    },
    /// Apart, because its schedules take 1.3 KiB that no viewer with GCM should pay for.
    CounterSha1(Box<CounterSha1>),
}

pub(super) struct CounterSha1 {
    key: EncryptingKey,
    mac: hmac::Key,
    salt: Zeroizing<[u8; 14]>,
}

impl Cipher {
    pub(super) fn for_rtp(master: &Master) -> Cipher {
        Cipher::derived(master, Label::RtpKey, Label::RtpAuthentication, Label::RtpSalt)
    }

    pub(super) fn for_rtcp(master: &Master) -> Cipher {
        Cipher::derived(master, Label::RtcpKey, Label::RtcpAuthentication, Label::RtcpSalt)
    }

    fn derived(master: &Master, key: Label, authentication: Label, salt: Label) -> Cipher {
        match master.profile() {
            Profile::Aes128Gcm => Cipher::gcm(derive::<16>(master, key).as_ref(), derive(master, salt)),
            Profile::Aes256Gcm => Cipher::gcm(derive::<32>(master, key).as_ref(), derive(master, salt)),
            Profile::Aes128CmSha1_80 => Cipher::counter_sha1(
                derive::<16>(master, key).as_ref(),
                derive::<20>(master, authentication).as_ref(),
                derive(master, salt),
            ),
        }
    }

    fn gcm(key: &[u8], salt: Zeroizing<[u8; 12]>) -> Cipher {
        let algorithm = if key.len() == 32 { &AES_256_GCM } else { &AES_128_GCM };
        let key = UnboundKey::new(algorithm, key).expect("profiles have keys of 16 or 32 bytes");
        Cipher::Gcm { key: LessSafeKey::new(key), salt }
    }

    fn counter_sha1(key: &[u8], authentication: &[u8], salt: Zeroizing<[u8; 14]>) -> Cipher {
        let mac = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, authentication);
        Cipher::CounterSha1(Box::new(CounterSha1 { key: counter_mode(key), mac, salt }))
    }

    pub(super) fn tag_len(&self) -> usize {
        match self {
            Cipher::Gcm { .. } => Profile::Aes128Gcm.tag_len(),
            Cipher::CounterSha1(_) => Profile::Aes128CmSha1_80.tag_len(),
        }
    }

    /// Protects the RTP packet in `buffer[..len]`, whose first `header` bytes stay readable; `index` is its sequence
    /// number and roll-over counter in 48 bits. What stands behind the header, or `from`, which is as long and goes there.
    /// Returns the length with the tag.
    pub(super) fn seal_rtp(
        &self,
        ssrc: u32,
        index: u64,
        buffer: &mut [u8],
        header: usize,
        len: usize,
        from: Option<&[u8]>,
    ) -> Result<usize, Broken> {
        let sealed = len + self.tag_len();
        let (clear, rest) = buffer.get_mut(..sealed).ok_or(Broken)?.split_at_mut_checked(header).ok_or(Broken)?;
        let (payload, tag) = rest.split_at_mut_checked(len.checked_sub(header).ok_or(Broken)?).ok_or(Broken)?;
        if from.is_some_and(|from| from.len() != payload.len()) {
            return Err(Broken);
        }
        match self {
            Cipher::Gcm { key, salt } => {
                let nonce = gcm_nonce(salt, ssrc, index);
                match from {
                    // Encrypted on its way: it is read and written once.
                    Some(from) => {
                        let sealed = key.seal_out_of_place_scatter(nonce, Aad::from(&*clear), from, payload, &[], tag);
                        sealed.map_err(|_| Broken)?;
                    }
                    None => seal_gcm(key, nonce, &*clear, payload, tag)?,
                }
            }
            Cipher::CounterSha1(cipher) => {
                let CounterSha1 { key, mac, salt } = &**cipher;
                if let Some(from) = from {
                    payload.copy_from_slice(from);
                }
                encrypt(key, counter_iv(salt, ssrc, index), payload)?;
                copy_tag(&sign(mac, &[clear, payload, &roll_over(index)]), tag);
            }
        }
        Ok(sealed)
    }

    /// Opens the SRTP packet in `packet`, whose first `header` bytes are its RTP header. Returns the length without the
    /// tag; the bytes are worthless after an error.
    pub(super) fn open_rtp(&self, ssrc: u32, index: u64, packet: &mut [u8], header: usize) -> Result<usize, Broken> {
        let len = packet.len().checked_sub(self.tag_len()).ok_or(Broken)?;
        let (clear, rest) = packet.split_at_mut_checked(header).ok_or(Broken)?;
        let (payload, tag) = rest.split_at_mut_checked(len.checked_sub(header).ok_or(Broken)?).ok_or(Broken)?;
        match self {
            Cipher::Gcm { key, salt } => open_gcm(key, gcm_nonce(salt, ssrc, index), &*clear, payload, tag)?,
            Cipher::CounterSha1(cipher) => {
                let CounterSha1 { key, mac, salt } = &**cipher;
                verify(&sign(mac, &[clear, payload, &roll_over(index)]), tag)?;
                encrypt(key, counter_iv(salt, ssrc, index), payload)?;
            }
        }
        Ok(len)
    }

    /// Protects the compound in `buffer[..len]`, whose first packet has `ssrc` as its sender. Always encrypted. Returns
    /// the length with tag and index.
    pub(super) fn seal_rtcp(&self, ssrc: u32, index: u32, buffer: &mut [u8], len: usize) -> Result<usize, Broken> {
        let sealed = len + self.tag_len() + 4;
        let (clear, rest) = buffer.get_mut(..sealed).ok_or(Broken)?.split_at_mut_checked(RTCP_CLEAR).ok_or(Broken)?;
        let (body, trailer) = rest.split_at_mut_checked(len.checked_sub(RTCP_CLEAR).ok_or(Broken)?).ok_or(Broken)?;
        let word = (ENCRYPTED | index).to_be_bytes();
        match self {
            Cipher::Gcm { key, salt } => {
                let (tag, last) = trailer.split_at_mut(self.tag_len());
                let nonce = gcm_nonce(salt, ssrc, index.into());
                seal_gcm(key, nonce, rtcp_associated(clear, word)?, body, tag)?;
                last.copy_from_slice(&word);
            }
            Cipher::CounterSha1(cipher) => {
                let CounterSha1 { key, mac, salt } = &**cipher;
                let (first, tag) = trailer.split_at_mut(4);
                encrypt(key, counter_iv(salt, ssrc, index.into()), body)?;
                copy_tag(&sign(mac, &[clear, body, &word]), tag);
                first.copy_from_slice(&word);
            }
        }
        Ok(sealed)
    }

    /// The index an SRTCP packet says it has, E bit included; not to be believed before it was opened.
    pub(super) fn rtcp_word(&self, packet: &[u8]) -> Option<u32> {
        let end = match self {
            Cipher::Gcm { .. } => packet.len(),
            Cipher::CounterSha1(_) => packet.len().checked_sub(self.tag_len())?,
        };
        let word = packet.get(end.checked_sub(4)?..end)?;
        Some(u32::from_be_bytes(word.try_into().ok()?))
    }

    /// Opens the SRTCP packet in `packet`; `word` is what `rtcp_word` says of it. Returns the length of the compound; the
    /// bytes are worthless after an error. A packet without the E bit is authentic and was never encrypted.
    pub(super) fn open_rtcp(&self, ssrc: u32, word: u32, packet: &mut [u8]) -> Result<usize, Broken> {
        let len = packet.len().checked_sub(self.tag_len() + 4).ok_or(Broken)?;
        let (compound, trailer) = packet.split_at_mut_checked(len).ok_or(Broken)?;
        let (clear, body) = compound.split_at_mut_checked(RTCP_CLEAR).ok_or(Broken)?;
        let (encrypted, index) = (word & ENCRYPTED != 0, u64::from(word & !ENCRYPTED));
        match self {
            Cipher::Gcm { key, salt } => {
                let nonce = gcm_nonce(salt, ssrc, index);
                let tag = trailer.get(..self.tag_len()).ok_or(Broken)?;
                if encrypted {
                    open_gcm(key, nonce, rtcp_associated(clear, word.to_be_bytes())?, body, tag)?;
                } else {
                    // RFC 7714 9.2: all of the packet and the word are associated data, the plaintext is empty. They
                    // lie on both sides of the tag, so this rare packet costs a copy.
                    let associated = [&*compound, &word.to_be_bytes()].concat();
                    open_gcm(key, nonce, associated, &mut [], tag)?;
                }
            }
            Cipher::CounterSha1(cipher) => {
                let CounterSha1 { key, mac, salt } = &**cipher;
                let tag = trailer.get(4..).ok_or(Broken)?;
                verify(&sign(mac, &[clear, body, &word.to_be_bytes()]), tag)?;
                if encrypted {
                    encrypt(key, counter_iv(salt, ssrc, index), body)?;
                }
            }
        }
        Ok(len)
    }
}

/// RFC 7714 8.1 and 9.1: SSRC and index, spread over 96 bits, XOR the salt. An SRTCP index has 31 bits of the 48.
fn gcm_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut nonce = *salt;
    xor(&mut nonce[2..6], &ssrc.to_be_bytes());
    xor(&mut nonce[6..12], &index.to_be_bytes()[2..]);
    Nonce::assume_unique_for_key(nonce)
}

/// RFC 3711 4.1.1: salt * 2^16 XOR SSRC * 2^64 XOR index * 2^16.
fn counter_iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    xor(&mut iv[4..8], &ssrc.to_be_bytes());
    xor(&mut iv[8..14], &index.to_be_bytes()[2..]);
    iv
}

fn xor(bytes: &mut [u8], with: &[u8]) {
    bytes.iter_mut().zip(with).for_each(|(byte, with)| *byte ^= with);
}

/// What the tag of an RTP packet covers beyond the packet itself (RFC 3711 4.2).
fn roll_over(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

/// RFC 7714 9.2: the clear 8 bytes, then E bit and index.
fn rtcp_associated(clear: &[u8], word: [u8; 4]) -> Result<[u8; RTCP_CLEAR + 4], Broken> {
    let mut associated = [0; RTCP_CLEAR + 4];
    associated.get_mut(..RTCP_CLEAR).ok_or(Broken)?.copy_from_slice(clear.get(..RTCP_CLEAR).ok_or(Broken)?);
    associated[RTCP_CLEAR..].copy_from_slice(&word);
    Ok(associated)
}

fn seal_gcm(
    key: &LessSafeKey,
    nonce: Nonce,
    associated: impl AsRef<[u8]>,
    plain: &mut [u8],
    tag: &mut [u8],
) -> Result<(), Broken> {
    let sealed = key.seal_in_place_separate_tag(nonce, Aad::from(associated), plain).map_err(|_| Broken)?;
    tag.copy_from_slice(sealed.as_ref());
    Ok(())
}

fn open_gcm(
    key: &LessSafeKey,
    nonce: Nonce,
    associated: impl AsRef<[u8]>,
    sealed: &mut [u8],
    tag: &[u8],
) -> Result<(), Broken> {
    key.open_in_place_separate_tag(nonce, Aad::from(associated), tag, sealed).map_err(|_| Broken)?;
    Ok(())
}

/// Counter mode: encrypts and decrypts alike.
fn encrypt(key: &EncryptingKey, iv: [u8; 16], bytes: &mut [u8]) -> Result<(), Broken> {
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    key.less_safe_encrypt(bytes, context).map_err(|_| Broken)?;
    Ok(())
}

fn sign(key: &hmac::Key, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    parts.iter().for_each(|part| context.update(part));
    context.sign()
}

/// The tag is the leftmost 80 bits (RFC 3711 4.2.1).
fn copy_tag(mac: &hmac::Tag, tag: &mut [u8]) {
    tag.iter_mut().zip(mac.as_ref()).for_each(|(tag, mac)| *tag = *mac);
}

fn verify(mac: &hmac::Tag, tag: &[u8]) -> Result<(), Broken> {
    let expected = mac.as_ref().get(..tag.len()).ok_or(Broken)?;
    verify_slices_are_equal(expected, tag).map_err(|_| Broken)
}

#[cfg(test)]
#[path = "cipher_tests.rs"]
mod tests;
