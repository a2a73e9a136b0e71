//! The last bytes of a load packet: when it was sent, its running number, its media time, and a CRC over the payload.

use crc::{CRC_32_ISO_HDLC, Crc, Table};

static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// Bytes of a stamp.
pub(crate) const TAIL: usize = 24;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Microseconds from the beginning of the load run to the sending of this packet.
    pub(crate) sent: u64,
    /// Counts the packets of one kind from zero.
    pub(crate) number: u64,
    /// RTP time on the publisher's own timeline.
    pub(crate) time: u32,
}

impl Stamp {
    /// Appends the stamp to a payload.
    pub(crate) fn seal(self, payload: &mut Vec<u8>) {
        payload.extend_from_slice(&self.sent.to_be_bytes());
        payload.extend_from_slice(&self.number.to_be_bytes());
        payload.extend_from_slice(&self.time.to_be_bytes());
        let crc = CRC.checksum(payload);
        payload.extend_from_slice(&crc.to_be_bytes());
    }

    /// The stamp of a payload, `None` when the payload is not what was sealed.
    pub(crate) fn open(payload: &[u8]) -> Option<Stamp> {
        let (covered, crc) = payload.split_last_chunk::<4>()?;
        if CRC.checksum(covered) != u32::from_be_bytes(*crc) {
            return None;
        }
        let (rest, time) = covered.split_last_chunk::<4>()?;
        let (rest, number) = rest.split_last_chunk::<8>()?;
        let (_, sent) = rest.split_last_chunk::<8>()?;
        Some(Stamp {
            sent: u64::from_be_bytes(*sent),
            number: u64::from_be_bytes(*number),
            time: u32::from_be_bytes(*time),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_bit_is_noticed() {
        let stamp = Stamp { sent: 123_456_789, number: 42, time: 90_000 };
        let mut payload = vec![0x7c, 0x85, 0xaa, 0xaa];
        stamp.seal(&mut payload);
        assert_eq!(payload.len(), 4 + TAIL);
        assert_eq!(Stamp::open(&payload), Some(stamp));
        for bit in 0..payload.len() * 8 {
            let mut damaged = payload.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Stamp::open(&damaged), None, "bit {bit}");
        }
        assert_eq!(Stamp::open(&payload[1..]), None);
        assert_eq!(Stamp::open(&[]), None);
    }
}
