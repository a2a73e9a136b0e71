//! Everything that must not be guessed: ufrag, pwd, session URLs, SSRCs, first numbers. One source for all of it:
//! [`whipstitch_plane::random`].

pub(crate) use whipstitch_plane::random::{fill, u32, u64};
use whipstitch_plane::ufrag_tag;

use crate::negotiate::Credentials;

/// ice-char (RFC 8839 5.4) and at the same time the alphabet of base64: 6 bits a letter, no bias.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// For URLs: no `+`, `/` or `=`.
const URL_LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// 42 random bits and a worker's tag.
const UFRAG: usize = 7;

/// 144 random bits (RFC 8445 5.3 asks for 128).
const PWD: usize = 24;

/// 132 random bits.
const RESOURCE: usize = 22;

fn text(letters: &[u8; 64], len: usize) -> String {
    let mut bytes = vec![0; len];
    fill(&mut bytes);
    bytes.iter().map(|byte| char::from(letters[usize::from(byte & 63)])).collect()
}

/// Credentials of a session on this worker (design 2.1: from a CSPRNG, at start and restart).
pub(crate) fn credentials(worker: usize) -> Credentials {
    let ufrag = format!("{}{}", ufrag_tag(worker), text(LETTERS, UFRAG));
    Credentials { ufrag, pwd: text(LETTERS, PWD) }
}

/// The secret part of a session URL, or of an entity tag.
pub(crate) fn resource() -> String {
    text(URL_LETTERS, RESOURCE)
}

/// SSRCs that differ from each other and from 0, which means "none" to some.
pub(crate) fn ssrcs<const N: usize>() -> [u32; N] {
    let mut ssrcs = [0; N];
    for index in 0..N {
        ssrcs[index] = loop {
            let ssrc = u32();
            if ssrc != 0 && !ssrcs[..index].contains(&ssrc) {
                break ssrc;
            }
        };
    }
    ssrcs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_long_enough_and_of_ice_chars() {
        let one = credentials(3);
        assert!(one.ufrag.len() >= 4 && one.pwd.len() >= 22);
        assert!(one.ufrag.chars().chain(one.pwd.chars()).all(|c| c.is_ascii_alphanumeric() || c == '+' || c == '/'));
        assert!(one.ufrag.starts_with(ufrag_tag(3)));
        assert_ne!(one.pwd, credentials(3).pwd);
    }

    #[test]
    fn a_resource_is_unguessable_and_fits_a_path() {
        let one = resource();
        assert!(one.len() * 6 >= 128);
        assert!(one.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'));
        assert_ne!(one, resource());
    }

    #[test]
    fn ssrcs_differ() {
        let ssrcs = ssrcs::<4>();
        assert!(ssrcs.iter().enumerate().all(|(i, ssrc)| *ssrc != 0 && !ssrcs[..i].contains(ssrc)));
    }
}
