//! What the fuzz target and a test share: anything goes in, and what must hold is asserted.

use std::time::Instant;

use crate::process::exercise as process;

/// Takes what a child writes as its log and as its progress, read in pieces as the first bytes say.
///
/// # Panics
/// If more is kept than the bounds allow, or pieces make a difference.
pub fn progress(data: &[u8]) {
    let Some((&split, data)) = data.split_first() else { return };
    let (before, after) = data.split_at(usize::from(split).min(data.len()));
    let now = Instant::now();
    assert_eq!(process::told(now, &[data]), process::told(now, &[before, after]));
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_bytes_of_a_child_are_read() {
        let words: [&[u8]; 14] = [
            b"Input #",
            b"Output #0, a, to 'x':\n",
            b"  Stream #0:1: Video: h264",
            b", 3x4",
            b" -> ",
            b"(copy)",
            b"Stream mapping:\n",
            b"frame=",
            b"progress=continue\n",
            b"stream_0_0_q=",
            b"9999999999999999999999",
            b"\r",
            b"[info] ",
            b"\xff, 1 Hz, 5.1\n",
        ];
        let mut seed = 0x5eed_u64;
        let mut random = move |limit: usize| {
            seed ^= seed >> 12;
            seed ^= seed << 25;
            seed ^= seed >> 27;
            (seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
        };
        for _ in 0..2000 {
            let mut data = vec![random(256) as u8];
            for _ in 0..random(60) {
                match random(4) {
                    0 => data.push(random(256) as u8),
                    _ => data.extend_from_slice(words[random(words.len())]),
                }
            }
            super::progress(&data);
        }
    }
}
