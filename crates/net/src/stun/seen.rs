//! Which requests were seen before.
//!
//! STUN has no clock, so a captured request is known for a replay only as long as its transaction id is remembered, and
//! an ICE restart makes all earlier ones worthless. Beyond that a replay from another address could turn media there until
//! the client's next check; what it would get is SRTP.

/// Transaction ids remembered of one ICE generation. Only requests with the right integrity are to be noted, so nobody but
/// the client can make us forget: browsers check every 2.5 s, which is over 11 hours; at one every 0.5 s it is 2.
pub const TRANSACTIONS: usize = 16_384;

/// The newest transaction ids, four bytes of each: 64 KiB for the longest memory, next to nothing for a short session. Who
/// chooses ids that fall together only has checks of its own taken for repeats.
#[derive(Debug, Default)]
pub struct Seen {
    ids: Vec<u32>,
    /// The next to be overwritten, once there are [`TRANSACTIONS`].
    oldest: usize,
}

impl Seen {
    /// True when the id is new.
    pub fn insert(&mut self, transaction: [u8; 12]) -> bool {
        let id = transaction
            .as_chunks::<4>()
            .0
            .iter()
            .fold(0_u32, |id, word| id.rotate_left(11) ^ u32::from_be_bytes(*word));
        if self.ids.contains(&id) {
            return false;
        }
        if self.ids.len() < TRANSACTIONS {
            self.ids.push(id);
        } else if let Some(place) = self.ids.get_mut(self.oldest) {
            *place = id;
            self.oldest = (self.oldest + 1) % TRANSACTIONS;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_for_a_replay_hours_later_and_the_memory_is_bounded() {
        let mut seen = Seen::default();
        let id = |n: u32| {
            let mut transaction = [7; 12];
            transaction[8..].copy_from_slice(&n.to_be_bytes());
            transaction
        };
        let count = TRANSACTIONS as u32;
        assert!((0..count).all(|n| seen.insert(id(n))));
        assert!((0..count).all(|n| !seen.insert(id(n))));
        assert!((count..count + 10).all(|n| seen.insert(id(n))));
        assert!((10..count).all(|n| !seen.insert(id(n))), "the oldest went");
        assert_eq!(seen.ids.len(), TRANSACTIONS);
    }
}
