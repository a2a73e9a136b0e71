//! libsrtp and us under the same keys.

use std::ops::{Deref, DerefMut};

use whipstitch_webrtc::egress::srtp::{Opener, Sealers};
use whipstitch_webrtc::egress::{Keys, Profile};

use crate::process::Libsrtp;

/// `srtp_err_status_auth_fail`.
pub(crate) const NOT_AUTHENTIC: i32 = 7;
/// `srtp_err_status_replay_fail`.
pub(crate) const REPLAYED: i32 = 9;
/// `srtp_err_status_replay_old`.
pub(crate) const TOO_OLD: i32 = 10;

/// libsrtp whose protecting and whose unprotecting side have the same master key.
pub(crate) struct Peer(Libsrtp);

impl Peer {
    /// Starts libsrtp, and gives what opens what it protects and seals what it unprotects.
    pub(crate) fn start(profile: Profile) -> (Peer, Sealers, Opener) {
        let bytes = profile.key_len() + profile.salt_len();
        let master: Vec<u8> = (0..bytes).map(|byte| (11 * byte + 5) as u8).collect();
        // Both directions under one key: what the peer seals we open, what we seal it opens.
        let (key, salt) = master.split_at(profile.key_len());
        let material = [key, key, salt, salt].concat();
        let keys = Keys::split(profile, &material, true).expect("as long as the profile needs");
        let (sealers, opener) = keys.into_contexts();
        let name = match profile {
            Profile::Aes128Gcm => "gcm128",
            Profile::Aes256Gcm => "gcm256",
            Profile::Aes128CmSha1_80 => "sha1_80",
        };
        (Peer(Libsrtp::start(name, &master, &master)), sealers, opener)
    }
}

impl Deref for Peer {
    type Target = Libsrtp;

    fn deref(&self) -> &Libsrtp {
        &self.0
    }
}

impl DerefMut for Peer {
    fn deref_mut(&mut self) -> &mut Libsrtp {
        &mut self.0
    }
}
