//! SRTP and SRTCP of one session (RFC 3711, RFC 7714): the only place of the gateway that seals outgoing packets.
//!
//! [`Keys`] become a [`Sealers`], which hands out one [`Sealer`] per SSRC and never a second, and an [`Opener`] for what
//! the peer sends. A sealer seals each index once, an opener accepts each index once. The ciphers are those of
//! `aws-lc-rs`; nothing here allocates per packet, and everything that holds a key wipes it on drop: masters and derived
//! bytes by `zeroize`, the ciphers' schedules by AWS-LC, which cleanses AEAD and HMAC contexts when it frees them and
//! AES schedules when they are dropped.

mod cipher;
mod derive;
mod opener;
mod sealer;

pub use opener::{OpenError, Opened, Opener};
pub use sealer::{NoSealer, SealError, Sealer, Sealers};

use whipstitch_media::sequence;

use super::keys::Keys;

/// How far below the newest index one may still pass, to be sealed or to be opened. OBS without RTX repeats packets
/// under their own numbers from a store of thousands; a repaired packet of a 20 Mbit/s stream is 1024 packets late after
/// half a second. 64, the least RFC 3711 allows, throws those away.
pub const WINDOW: u64 = 1024;

/// Which of the newest [`WINDOW`] indices were seen.
pub(crate) type Window = sequence::Window<{ WINDOW as usize / 64 }>;

impl Keys {
    /// What writes under our key, and what opens under the peer's.
    pub fn into_contexts(self) -> (Sealers, Opener) {
        (Sealers::new(&self.local), Opener::new(&self.remote))
    }

    /// The same, and what opens under our own key: for rewriting what another writer sealed with it. That one's packets
    /// must never leave.
    pub(crate) fn into_rewriting_contexts(self) -> (Sealers, Opener, Opener) {
        (Sealers::new(&self.local), Opener::new(&self.local), Opener::new(&self.remote))
    }

    /// What seals as the peer does, to put something before another reader of its packets. Nothing of it must ever leave.
    pub(crate) fn as_the_peer(&self) -> Sealers {
        Sealers::new(&self.remote)
    }
}

#[cfg(test)]
pub(crate) mod hex {
    //! Vectors as the RFCs print them: hexadecimal, white space wherever it helps.

    pub(crate) fn bytes(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        assert_eq!(digits.len() % 2, 0, "half a byte");
        let value = |digit: u8| (digit as char).to_digit(16).expect("a hexadecimal digit") as u8;
        digits.chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
    }

    pub(crate) fn array<const N: usize>(text: &str) -> [u8; N] {
        bytes(text).try_into().expect("as many bytes as the array has")
    }
}
