//! Which protection profile was negotiated, and the master keys DTLS exported for it.
//!
//! Owns the layout of the exported material (RFC 5764 4.2) and its wiping: every byte of key or salt lives in a
//! container that zeroes it on drop, and none of these types can be printed, cloned or compared. [`Keys`] is consumed
//! by what seals and opens with it; there is no way back from a [`super::srtp::Sealers`] to the keys, so that two
//! writers can never share a key and an SSRC.

use zeroize::Zeroizing;

/// An SRTP protection profile a session may have negotiated with `use_srtp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// `SRTP_AEAD_AES_128_GCM`, 0x0007 (RFC 7714 14.2).
    Aes128Gcm,
    /// `SRTP_AEAD_AES_256_GCM`, 0x0008 (RFC 7714 14.2).
    Aes256Gcm,
    /// `SRTP_AES128_CM_HMAC_SHA1_80`, 0x0001 (RFC 5764 4.1.2), the one everybody must have.
    Aes128CmSha1_80,
}

impl Profile {
    /// Every profile, the cheapest to seal first.
    pub const ALL: [Profile; 3] = [Profile::Aes128Gcm, Profile::Aes256Gcm, Profile::Aes128CmSha1_80];

    /// Its name in RFC 5764 4.1.2 or RFC 7714 14.2.
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Aes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Profile::Aes256Gcm => "SRTP_AEAD_AES_256_GCM",
            Profile::Aes128CmSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
        }
    }

    /// Bytes of a master key, which is as long as the session key derived from it.
    pub const fn key_len(self) -> usize {
        match self {
            Profile::Aes128Gcm | Profile::Aes128CmSha1_80 => 16,
            Profile::Aes256Gcm => 32,
        }
    }

    /// Bytes of a master salt: 96 bits for GCM (RFC 7714 12), 112 for counter mode (RFC 3711 8.2).
    pub const fn salt_len(self) -> usize {
        match self {
            Profile::Aes128Gcm | Profile::Aes256Gcm => 12,
            Profile::Aes128CmSha1_80 => 14,
        }
    }

    /// Bytes the protection adds to an RTP packet.
    pub const fn tag_len(self) -> usize {
        match self {
            Profile::Aes128Gcm | Profile::Aes256Gcm => 16,
            Profile::Aes128CmSha1_80 => 10,
        }
    }

    /// Bytes the protection adds to an RTCP compound: the tag and the word with E bit and index.
    pub const fn rtcp_overhead(self) -> usize {
        self.tag_len() + 4
    }

    /// Bytes DTLS has to export for this profile: two keys, two salts.
    pub const fn material_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }
}

/// Longest master key of any profile.
const MAX_KEY: usize = 32;
/// Longest master salt of any profile.
const MAX_SALT: usize = 14;

/// One direction's master key and salt.
pub(crate) struct Master {
    profile: Profile,
    key: Zeroizing<[u8; MAX_KEY]>,
    /// Padded on the right with zeros where a profile's salt is shorter than 112 bits (RFC 7714 11).
    salt: Zeroizing<[u8; MAX_SALT]>,
}

impl Master {
    fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Option<Master> {
        let mut master = Master { profile, key: Zeroizing::new([0; MAX_KEY]), salt: Zeroizing::new([0; MAX_SALT]) };
        master.key.get_mut(..profile.key_len())?.copy_from_slice(key.get(..profile.key_len())?);
        master.salt.get_mut(..profile.salt_len())?.copy_from_slice(salt.get(..profile.salt_len())?);
        Some(master)
    }

    pub(crate) fn profile(&self) -> Profile {
        self.profile
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key[..self.profile.key_len()]
    }

    /// The 112 bits the key derivation starts from.
    pub(crate) fn salt(&self) -> &[u8; MAX_SALT] {
        &self.salt
    }
}

/// The master keys of one DTLS association: ours to seal with, the peer's to open with. Consumed by the one
/// [`super::Egress`] that writes under them.
///
/// It cannot be used twice:
/// ```compile_fail,E0382
/// # use whipstitch_webrtc::egress::{Keys, Profile};
/// let keys = Keys::split(Profile::Aes128Gcm, &[0; 56], true).unwrap();
/// let first = keys.into_contexts();
/// let second = keys.into_contexts();
/// ```
/// nor cloned:
/// ```compile_fail,E0599
/// # use whipstitch_webrtc::egress::{Keys, Profile};
/// let copy = Keys::split(Profile::Aes128Gcm, &[0; 56], true).unwrap().clone();
/// ```
pub struct Keys {
    pub(crate) local: Master,
    pub(crate) remote: Master,
}

/// The exported material is not as long as the profile needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("DTLS exported {actual} bytes of keying material, the profile takes {expected}")]
pub struct WrongLength {
    /// Bytes the profile takes.
    pub expected: usize,
    /// Bytes given.
    pub actual: usize,
}

impl Keys {
    /// Splits what DTLS exported under `EXTRACTOR-dtls_srtp`: client key, server key, client salt, server salt
    /// (RFC 5764 4.2). `dtls_client` says whether *we* were the DTLS client; offer and answer play no part.
    ///
    /// The caller keeps and wipes `material`, and splits it once: whoever splits it again for a second writer breaks
    /// what this type is for.
    pub fn split(profile: Profile, material: &[u8], dtls_client: bool) -> Result<Keys, WrongLength> {
        let wrong = WrongLength { expected: profile.material_len(), actual: material.len() };
        if material.len() != profile.material_len() {
            return Err(wrong);
        }
        let (keys, salts) = material.split_at(2 * profile.key_len());
        let (client_key, server_key) = keys.split_at(profile.key_len());
        let (client_salt, server_salt) = salts.split_at(profile.salt_len());
        let client = Master::new(profile, client_key, client_salt).ok_or(wrong)?;
        let server = Master::new(profile, server_key, server_salt).ok_or(wrong)?;
        Ok(if dtls_client { Keys { local: client, remote: server } } else { Keys { local: server, remote: client } })
    }

    /// The profile both directions use.
    pub fn profile(&self) -> Profile {
        self.local.profile
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn material_is_client_key_server_key_client_salt_server_salt() {
        for profile in Profile::ALL {
            let (key, salt) = (profile.key_len(), profile.salt_len());
            let mut material = vec![1; key];
            material.extend(vec![2; key]);
            material.extend(vec![3; salt]);
            material.extend(vec![4; salt]);

            let client = Keys::split(profile, &material, true).expect("the right length");
            assert_eq!((client.local.key(), client.local.salt()[0]), (&vec![1; key][..], 3), "{profile:?}");
            assert_eq!((client.remote.key(), client.remote.salt()[0]), (&vec![2; key][..], 4), "{profile:?}");
            let server = Keys::split(profile, &material, false).expect("the right length");
            assert_eq!((server.local.key(), server.local.salt()[0]), (&vec![2; key][..], 4), "{profile:?}");
            assert_eq!((server.remote.key(), server.remote.salt()[0]), (&vec![1; key][..], 3), "{profile:?}");
        }
    }

    #[test]
    fn a_shorter_salt_is_padded_on_the_right() {
        let keys = Keys::split(Profile::Aes128Gcm, &[7; 56], true).expect("the right length");
        assert_eq!(keys.local.salt(), &[7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0]);
    }

    #[test]
    fn material_of_another_length_is_refused() {
        for (profile, len) in [(Profile::Aes128Gcm, 60), (Profile::Aes128CmSha1_80, 56), (Profile::Aes256Gcm, 0)] {
            let refused = Keys::split(profile, &vec![0; len], true).err();
            assert_eq!(refused, Some(WrongLength { expected: profile.material_len(), actual: len }));
        }
    }

    #[test]
    fn keys_are_wiped_on_drop() {
        fn wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let keys = Keys::split(Profile::Aes256Gcm, &[7; 88], true).expect("the right length");
        // Compiles only while the containers zero themselves.
        wiped(&keys.local.key);
        wiped(&keys.local.salt);
    }
}
