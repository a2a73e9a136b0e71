//! What SRTP leaves in clear of a packet: its header with the extensions (RFC 3711 3.1). Authentic once the packet was opened.

/// Whose a packet is.
pub(super) struct RtpIdentity {
    pub(super) pt: u8,
    pub(super) seq: u16,
    pub(super) ssrc: u32,
}

pub(super) fn rtp_identity(datagram: &[u8]) -> Option<RtpIdentity> {
    let (&first, &second) = (datagram.first()?, datagram.get(1)?);
    if first >> 6 != 2 || (192..=223).contains(&second) {
        return None;
    }
    let ssrc = u32::from_be_bytes(*datagram.get(8..)?.first_chunk()?);
    Some(RtpIdentity { pt: second & 0x7f, seq: u16_at(datagram, 2)?, ssrc })
}

/// The value of a header extension, in the one-byte or the two-byte form (RFC 8285 4.2, 4.3).
pub(super) fn extension(datagram: &[u8], wanted: u8) -> Option<&[u8]> {
    let first = *datagram.first()?;
    if first & 0x10 == 0 {
        return None;
    }
    let at = 12 + 4 * usize::from(first & 0x0f);
    let profile = u16_at(datagram, at)?;
    let words = usize::from(u16_at(datagram, at + 2)?);
    let mut rest = datagram.get(at + 4..)?.get(..4 * words)?;
    while let Some((&head, after)) = rest.split_first() {
        // Padding.
        if head == 0 {
            rest = after;
            continue;
        }
        let (id, len, after) = match profile {
            0xbede if head >> 4 == 15 => return None,
            0xbede => (head >> 4, usize::from(head & 0x0f) + 1, after),
            0x1000..=0x100f => {
                let (&len, after) = after.split_first()?;
                (head, usize::from(len), after)
            }
            _ => return None,
        };
        let (value, after) = after.split_at_checked(len)?;
        if id == wanted {
            return Some(value);
        }
        rest = after;
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(profile: u16, elements: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x91, 96, 0, 7, 0, 0, 0, 0, 0, 0, 0, 5, 9, 9, 9, 9];
        bytes.extend(profile.to_be_bytes());
        bytes.extend((elements.len().div_ceil(4) as u16).to_be_bytes());
        bytes.extend(elements);
        bytes.resize(20 + elements.len().next_multiple_of(4), 0);
        bytes.extend([7; 10]);
        bytes
    }

    #[test]
    fn an_extension_is_found_by_its_number_in_both_forms() {
        let one = packet(0xbede, &[0x10, b'a', 0, 0x31, b'h', b'i', 0x40, 1]);
        let two = packet(0x1000, &[1, 1, b'a', 0, 3, 2, b'h', b'i', 4, 0]);
        for bytes in [&one, &two] {
            assert_eq!((extension(bytes, 1), extension(bytes, 3)), (Some(&b"a"[..]), Some(&b"hi"[..])));
            assert_eq!(extension(bytes, 5), None);
        }
        assert_eq!((extension(&one, 4), extension(&two, 4)), (Some(&[1][..]), Some(&[][..])));
        assert_eq!(rtp_identity(&one).map(|rtp| (rtp.pt, rtp.seq, rtp.ssrc)), Some((96, 7, 5)));
    }

    #[test]
    fn what_is_cut_off_or_of_another_form_has_none() {
        let whole = packet(0xbede, &[0x10, b'a', 0x31, b'h', b'i']);
        for len in 0..whole.len() - 10 {
            assert_eq!(extension(&whole[..len], 3), None, "{len}");
        }
        for (profile, elements) in [
            (0xbede, &[0xf0, 1, 0x31, b'h', b'i'][..]),
            (0xbede, &[0x3f, 1, 2]),
            (0x1000, &[3, 9, 1]),
            (0x1234, &[0x31, 1, 2]),
        ] {
            assert_eq!(extension(&packet(profile, elements), 3), None, "{profile:x} {elements:?}");
        }
        assert_eq!(extension(&[0x80; 40], 0), None);
    }
}
