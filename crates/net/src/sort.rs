//! What a datagram on a shared port is, by its first bytes (RFC 7983, RFC 9443; RTP from RTCP by RFC 5761 section 4).
//!
//! A guess from the outside: nothing is authenticated, and only as much is checked as the smallest header of each
//! protocol needs, so that later parsers may count on it.

/// The protocol of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sort {
    /// At least a STUN header with its magic cookie and both top bits clear.
    Stun,
    /// At least a DTLS record header (13 bytes, first 20-63).
    Dtls,
    /// At least an RTP header (12 bytes, version 2), protected or not.
    Rtp,
    /// At least an RTCP header with its SSRC (8 bytes, version 2, type 192-223), protected or not.
    Rtcp,
    /// Anything else, the empty datagram too: to be dropped and counted.
    Other,
}

/// Says what `datagram` is. Never reads past its end, never panics.
pub fn sort(datagram: &[u8]) -> Sort {
    match *datagram {
        // RFC 8489 6: 20 bytes of header, of which bytes 4-7 are the magic cookie.
        [0..=3, _, _, _, 0x21, 0x12, 0xa4, 0x42, ..] if datagram.len() >= 20 => Sort::Stun,
        [20..=63, ..] if datagram.len() >= 13 => Sort::Dtls,
        [128..=191, 192..=223, ..] if datagram.len() >= 8 => Sort::Rtcp,
        [128..=191, 0..=191 | 224..=255, ..] if datagram.len() >= 12 => Sort::Rtp,
        _ => Sort::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(first: u8, second: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len.max(8)];
        bytes[0] = first;
        bytes[1] = second;
        bytes[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
        bytes.truncate(len);
        bytes
    }

    #[test]
    fn first_byte_decides_as_in_rfc_7983_and_9443() {
        for first in 0..=255u8 {
            let expected = match first {
                0..=3 => Sort::Stun,
                20..=63 => Sort::Dtls,
                128..=191 => Sort::Rtp,
                _ => Sort::Other, // 4-15 nothing, 16-19 ZRTP, 64-79 TURN channels, the rest QUIC or undefined
            };
            assert_eq!(sort(&datagram(first, 96, 40)), expected, "first byte {first}");
        }
    }

    #[test]
    fn second_byte_tells_rtcp_from_rtp() {
        for second in 0..=255u8 {
            let expected = if (192..=223).contains(&second) { Sort::Rtcp } else { Sort::Rtp };
            assert_eq!(sort(&datagram(0x80, second, 40)), expected, "second byte {second}");
        }
    }

    #[test]
    fn shorter_than_the_smallest_header_is_other() {
        for (first, second, smallest, what) in
            [(0, 1, 20, Sort::Stun), (22, 254, 13, Sort::Dtls), (0x80, 111, 12, Sort::Rtp), (0x81, 201, 8, Sort::Rtcp)]
        {
            for len in 0..smallest {
                assert_eq!(sort(&datagram(first, second, len)), Sort::Other, "{what:?} of {len} bytes");
            }
            assert_eq!(sort(&datagram(first, second, smallest)), what);
        }
    }

    #[test]
    fn stun_without_its_cookie_is_other() {
        for byte in 4..8 {
            let mut bytes = datagram(0, 1, 20);
            bytes[byte] ^= 1;
            assert_eq!(sort(&bytes), Sort::Other, "cookie byte {byte}");
        }
    }
}
