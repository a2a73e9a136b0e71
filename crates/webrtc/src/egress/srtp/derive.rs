//! Key derivation (RFC 3711 4.3, RFC 7714 11): from one master key and salt, the six session secrets.
//!
//! The key derivation rate is zero, as DTLS-SRTP has it, so each is derived once. The generator is AES in counter mode
//! with the master key's own length (RFC 6188 2 for 256 bits), whatever the profile encrypts with.

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroizing;

use super::super::keys::Master;

/// What a derived secret is for (RFC 3711 4.3.1 and 4.3.2).
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Label {
    RtpKey = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpKey = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// `N` bytes of the generator under `label`.
pub(super) fn derive<const N: usize>(master: &Master, label: Label) -> Zeroizing<[u8; N]> {
    let mut out = Zeroizing::new([0; N]);
    generate(&counter_mode(master.key()), master.salt(), label, out.as_mut());
    out
}

/// AES in counter mode under a key of 16 or 32 bytes.
pub(super) fn counter_mode(key: &[u8]) -> EncryptingKey {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    let key = UnboundCipherKey::new(algorithm, key).expect("profiles have keys of 16 or 32 bytes");
    EncryptingKey::ctr(key).expect("AES has a counter mode")
}

fn generate(cipher: &EncryptingKey, salt: &[u8; 14], label: Label, out: &mut [u8]) {
    // x = key_id XOR master_salt with key_id = label || r, r = 0 in 48 bits: the label meets byte 7 of the salt. The
    // last two bytes count blocks.
    let mut iv = Zeroizing::new([0; 16]);
    iv[..14].copy_from_slice(salt);
    iv[7] ^= label as u8;
    let context = EncryptionContext::Iv128(FixedLength::from(*iv));
    cipher.less_safe_encrypt(out, context).expect("counter mode takes any length");
}

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::*;

    #[test]
    fn rfc_3711_appendix_b_3() {
        let cipher = counter_mode(&hex::bytes("E1F97A0D3E018BE0D64FA32C06DE4139"));
        let salt = hex::array("0EC675AD498AFEEBB6960B3AABE6");
        let table = [
            (Label::RtpKey, "C61E7A93744F39EE10734AFE3FF7A087"),
            (Label::RtpSalt, "30CBBC08863D8C85D49DB34A9AE1"),
            (
                Label::RtpAuthentication,
                "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF7227098
                 6371C10C9A369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2",
            ),
        ];
        for (label, expected) in table {
            let expected = hex::bytes(expected);
            let mut derived = vec![0; expected.len()];
            generate(&cipher, &salt, label, &mut derived);
            assert_eq!(derived, expected, "label {}", label as u8);
        }
    }

    #[test]
    fn every_label_has_its_own_secret() {
        let cipher = counter_mode(&[9; 32]);
        let labels = [
            Label::RtpKey,
            Label::RtpAuthentication,
            Label::RtpSalt,
            Label::RtcpKey,
            Label::RtcpAuthentication,
            Label::RtcpSalt,
        ];
        let mut secrets: Vec<[u8; 16]> = Vec::new();
        for label in labels {
            let mut secret = [0; 16];
            generate(&cipher, &[3; 14], label, &mut secret);
            assert!(!secrets.contains(&secret));
            secrets.push(secret);
        }
    }
}
