//! Of a simulcast publisher's layers one is forwarded: the best that is alive, which is the one of the most bytes.
//!
//! Layers are told apart by SSRC and compared by what they sent in one to two seconds, so a layer that has fallen silent
//! is left after three at most.

use std::time::{Duration, Instant};

use super::MAX_SSRCS;

/// How long bytes are counted before the layers are compared.
const JUDGE_EVERY: Duration = Duration::from_secs(1);

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// It belongs to the chosen layer.
    Forward,
    /// It belongs to another.
    LeaveOut,
    /// Its layer is chosen from now on, in place of another.
    Switch,
}

#[derive(Debug, Default)]
pub(super) struct Layers {
    /// Bytes by SSRC since they were compared last.
    known: Vec<(u32, usize)>,
    chosen: Option<u32>,
    judged: Option<Instant>,
}

impl Layers {
    /// The SSRC of the layer that is forwarded.
    pub(super) fn chosen(&self) -> Option<u32> {
        self.chosen
    }

    pub(super) fn take(&mut self, now: Instant, ssrc: u32, bytes: usize) -> Choice {
        let known = self.known.len();
        match self.known.iter_mut().find(|(known, _)| *known == ssrc) {
            Some((_, sum)) => *sum += bytes,
            None if known < MAX_SSRCS => self.known.push((ssrc, bytes)),
            None => return Choice::LeaveOut,
        }
        let chosen = *self.chosen.get_or_insert(ssrc);
        let judged = *self.judged.get_or_insert(now);
        if now.saturating_duration_since(judged) >= JUDGE_EVERY && self.is_better(ssrc, chosen) {
            (self.chosen, self.judged) = (Some(ssrc), Some(now));
            self.known.iter_mut().for_each(|(_, sum)| *sum = 0);
            return Choice::Switch;
        }
        if now.saturating_duration_since(judged) >= 2 * JUDGE_EVERY {
            self.judged = Some(now);
            self.known.iter_mut().for_each(|(_, sum)| *sum = 0);
        }
        if chosen == ssrc { Choice::Forward } else { Choice::LeaveOut }
    }

    /// Whether this layer has the most bytes, and clearly more than the chosen one: every change costs a key picture.
    fn is_better(&self, ssrc: u32, chosen: u32) -> bool {
        let bytes = |wanted| self.known.iter().find(|(known, _)| *known == wanted).map_or(0, |(_, sum)| *sum);
        let own = bytes(ssrc);
        own > bytes(chosen) / 4 * 5 && self.known.iter().all(|(_, other)| *other <= own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each layer sends a packet of its size every 20 ms; what was forwarded of each, and how often it changed.
    fn run(layers: &mut Layers, from: Instant, millis: u64, sizes: &[(u32, usize)]) -> (Vec<usize>, usize) {
        let (mut forwarded, mut switches) = (vec![0; sizes.len()], 0);
        for at in (0..millis).step_by(20) {
            for (index, (ssrc, size)) in sizes.iter().enumerate() {
                let choice = layers.take(from + Duration::from_millis(at), *ssrc, *size);
                switches += usize::from(choice == Choice::Switch);
                forwarded[index] += usize::from(choice != Choice::LeaveOut);
            }
        }
        (forwarded, switches)
    }

    #[test]
    fn the_layer_of_the_most_bytes_is_chosen_after_a_second() {
        let (mut layers, start) = (Layers::default(), Instant::now());
        let (forwarded, switches) = run(&mut layers, start, 5000, &[(1, 100), (2, 300), (3, 1000)]);
        assert_eq!((forwarded, switches), (vec![51, 0, 200], 1));
        assert_eq!(layers.chosen(), Some(3));
    }

    #[test]
    fn a_layer_that_falls_silent_is_left_and_taken_again() {
        let (mut layers, start) = (Layers::default(), Instant::now());
        run(&mut layers, start, 3000, &[(1, 100), (2, 1000)]);
        let (_, switches) = run(&mut layers, start + Duration::from_secs(3), 4000, &[(1, 100)]);
        assert_eq!((switches, layers.chosen()), (1, Some(1)));
        let (_, switches) = run(&mut layers, start + Duration::from_secs(7), 4000, &[(1, 100), (2, 1000)]);
        assert_eq!((switches, layers.chosen()), (1, Some(2)));
    }

    #[test]
    fn layers_alike_do_not_take_turns() {
        let (mut layers, start) = (Layers::default(), Instant::now());
        let (_, switches) = run(&mut layers, start, 60_000, &[(1, 1000), (2, 1100)]);
        assert_eq!(switches, 0);
    }

    #[test]
    fn ssrcs_are_bounded() {
        let (mut layers, now) = (Layers::default(), Instant::now());
        for ssrc in 1..1000 {
            layers.take(now, ssrc, 1);
        }
        assert_eq!(layers.known.len(), MAX_SSRCS);
    }
}
