//! The vectors of RFC 3711 appendix B.2 and RFC 7714 sections 16 and 17, which are given for session keys.

use super::super::hex::{array, bytes};
use super::*;

/// RFC 7714 16: "Gallia est omnis divisa in partes tres", SSRC 5501a0b2, sequence number f17b, ROC 0.
const RTP: &str = "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070
                   61727465 73207472 6573";
const RTP_SSRC: u32 = 0x5501_a0b2;
const RTP_INDEX: u64 = 0xf17b;

/// RFC 7714 17: the packet its subsections protect, sender "Mars", index 000005d4.
const RTCP: &str = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef
                    deadbeef deadbeef deadbeef";
const RTCP_SSRC: u32 = 0x4d61_7273;
const RTCP_INDEX: u32 = 0x5d4;

fn rfc_7714(key_len: usize) -> Cipher {
    let key: Vec<u8> = (0..key_len as u8).collect();
    Cipher::gcm(&key, Zeroizing::new(array("51756964 2070726f 2071756f")))
}

/// The packet with as much room behind it as any tag takes.
fn roomy(packet: &[u8]) -> Vec<u8> {
    [packet, &[0xee; 20]].concat()
}

#[test]
fn rfc_3711_appendix_b_2() {
    let key = counter_mode(&bytes("2B7E151628AED2A6ABF7158809CF4F3C"));
    let salt = array("F0F1F2F3F4F5F6F7F8F9FAFBFCFD");
    let mut stream = vec![0; 0xff03 * 16];
    encrypt(&key, counter_iv(&salt, 0, 0), &mut stream).expect("any length");
    for (block, expected) in [
        (0, "E03EAD0935C95E80E166B16DD92B4EB4"),
        (1, "D23513162B02D0F72A43A2FE4A5F97AB"),
        (2, "41E95B3BB0A2E8DD477901E4FCA894C0"),
        (0xfeff, "EC8CDF7398607CB0F2D21675EA9EA1E4"),
        (0xff00, "362B7C3C6773516318A077D7FC5073AE"),
        (0xff01, "6A2CC3787889374FBEB4C81B17BA6C44"),
    ] {
        assert_eq!(stream[block * 16..][..16], bytes(expected), "block {block:#x}");
    }
}

#[test]
fn the_counter_mode_iv_has_ssrc_and_index_where_rfc_3711_says() {
    let iv = counter_iv(&[0; 14], 0x0102_0304, 0x0a0b_0c0d_0e0f);
    assert_eq!(iv.to_vec(), bytes("00000000 01020304 0a0b0c0d 0e0f 0000"));
}

#[test]
fn rfc_7714_section_16_srtp() {
    for (key_len, protected) in [
        (
            16,
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b
             36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
        ),
        (
            32,
            "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f
             1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
        ),
    ] {
        let (cipher, plain, protected) = (rfc_7714(key_len), bytes(RTP), bytes(protected));
        let mut packet = roomy(&plain);
        let len = cipher.seal_rtp(RTP_SSRC, RTP_INDEX, &mut packet, 12, plain.len(), None).expect("there is room");
        assert_eq!(packet[..len], protected, "AES-{}", 8 * key_len);

        let (mut packet, payload) = (roomy(&plain[..12]), &plain[12..]);
        packet.resize(protected.len(), 0xee);
        let sealed = cipher.seal_rtp(RTP_SSRC, RTP_INDEX, &mut packet, 12, plain.len(), Some(payload));
        assert_eq!((sealed, &packet), (Ok(protected.len()), &protected), "AES-{} of a payload elsewhere", 8 * key_len);

        let mut packet = protected.clone();
        let len = cipher.open_rtp(RTP_SSRC, RTP_INDEX, &mut packet, 12).expect("authentic");
        assert_eq!(packet[..len], plain, "AES-{}", 8 * key_len);
    }
}

#[test]
fn rfc_7714_sections_17_1_and_17_2_srtcp() {
    for (key_len, protected) in [
        (
            16,
            "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46
             86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
        ),
        (
            32,
            "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1 110555be 8415f658
             c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4",
        ),
    ] {
        let (cipher, plain, protected) = (rfc_7714(key_len), bytes(RTCP), bytes(protected));
        let mut packet = roomy(&plain);
        let len = cipher.seal_rtcp(RTCP_SSRC, RTCP_INDEX, &mut packet, plain.len()).expect("there is room");
        assert_eq!(packet[..len], protected, "AES-{}", 8 * key_len);

        let mut packet = protected.clone();
        let word = cipher.rtcp_word(&packet).expect("long enough");
        assert_eq!(word, ENCRYPTED | RTCP_INDEX);
        let len = cipher.open_rtcp(RTCP_SSRC, word, &mut packet).expect("authentic");
        assert_eq!(packet[..len], plain, "AES-{}", 8 * key_len);
    }
}

#[test]
fn rfc_7714_sections_17_3_and_17_4_srtcp_without_encryption() {
    for (key_len, tag) in
        [(16, "841dd968 3dd78ec9 2ae58790 125f62b3 000005d4"), (32, "91db4afb feee5a97 8fab4393 ed2615fe 000005d4")]
    {
        let cipher = rfc_7714(key_len);
        let mut packet = [bytes(RTCP), bytes(tag)].concat();
        let len = cipher.open_rtcp(RTCP_SSRC, RTCP_INDEX, &mut packet).expect("authentic");
        assert_eq!(packet[..len], bytes(RTCP), "AES-{}", 8 * key_len);

        packet[20] ^= 1;
        assert_eq!(cipher.open_rtcp(RTCP_SSRC, RTCP_INDEX, &mut packet), Err(Broken));
    }
}

#[test]
fn counter_mode_rtcp_without_the_e_bit_is_authenticated_only() {
    let cipher = Cipher::counter_sha1(&[1; 16], &[2; 20], Zeroizing::new([3; 14]));
    let Cipher::CounterSha1(inner) = &cipher else { unreachable!("made one") };
    let word = RTCP_INDEX.to_be_bytes();
    let tag = sign(&inner.mac, &[&bytes(RTCP), &word]);
    let mut packet = [&bytes(RTCP)[..], &word, &tag.as_ref()[..10]].concat();
    let len = cipher.open_rtcp(RTCP_SSRC, RTCP_INDEX, &mut packet).expect("authentic");
    assert_eq!(packet[..len], bytes(RTCP));
}

fn ciphers() -> [Cipher; 3] {
    [rfc_7714(16), rfc_7714(32), Cipher::counter_sha1(&[1; 16], &[2; 20], Zeroizing::new([3; 14]))]
}

#[test]
fn every_bit_of_a_packet_its_ssrc_and_its_index_are_authenticated() {
    for cipher in ciphers() {
        let (ssrc, index) = (RTP_SSRC, 5 << 16 | 0xf17b);
        let mut packet = roomy(&bytes(RTP));
        let len = cipher.seal_rtp(ssrc, index, &mut packet, 12, bytes(RTP).len(), None).expect("there is room");
        for bit in 0..len * 8 {
            let mut forged = packet[..len].to_vec();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(cipher.open_rtp(ssrc, index, &mut forged, 12), Err(Broken), "bit {bit}");
        }
        // Counter mode does not sign the SSRC it derives the nonce from; it is in the signed header.
        assert_eq!(cipher.open_rtp(ssrc, index + 0x10000, &mut packet[..len].to_vec(), 12), Err(Broken));
        assert!(cipher.open_rtp(ssrc, index, &mut packet[..len], 12).is_ok());
    }
}

#[test]
fn every_bit_of_a_compound_and_its_index_are_authenticated() {
    for cipher in ciphers() {
        let mut packet = roomy(&bytes(RTCP));
        let len = cipher.seal_rtcp(RTCP_SSRC, 77, &mut packet, bytes(RTCP).len()).expect("there is room");
        for bit in 0..len * 8 {
            let mut forged = packet[..len].to_vec();
            forged[bit / 8] ^= 1 << (bit % 8);
            let word = cipher.rtcp_word(&forged).expect("long enough");
            assert_eq!(cipher.open_rtcp(RTCP_SSRC, word, &mut forged), Err(Broken), "bit {bit}");
        }
        assert!(cipher.open_rtcp(RTCP_SSRC, ENCRYPTED | 77, &mut packet[..len]).is_ok());
    }
}

#[test]
fn buffers_without_room_and_stumps_are_errors() {
    for cipher in ciphers() {
        let mut packet = roomy(&bytes(RTP));
        let len = packet.len();
        let long = vec![0; len];
        for from in [None, Some(&long[..]), Some(&long[..20])] {
            assert_eq!(cipher.seal_rtp(1, 1, &mut packet, 12, len - 9, from), Err(Broken));
            assert_eq!(cipher.seal_rtp(1, 1, &mut packet, 12, 11, from), Err(Broken));
        }
        assert_eq!(cipher.seal_rtp(1, 1, &mut packet, 12, 31, Some(&long[..20])), Err(Broken), "one byte more");
        assert_eq!(cipher.seal_rtcp(1, 1, &mut packet, len - 13), Err(Broken));
        assert_eq!(cipher.seal_rtcp(1, 1, &mut packet, 7), Err(Broken));
        for len in 0..30 {
            let mut stump = vec![0x80; len];
            assert_eq!(cipher.open_rtp(1, 1, &mut stump, 12), Err(Broken));
            assert_eq!(cipher.open_rtcp(1, 1, &mut stump), Err(Broken));
            let _ = cipher.rtcp_word(&stump);
        }
    }
}
