//! What the fuzz targets and tests share: anything goes in, and what must hold is asserted.

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

/// Takes a definition of a process as JSON and a change of it; where one ends and the other begins the first two bytes say.
///
/// # Panics
/// If what was read cannot be read again, or an id is a path.
pub fn definition(data: &[u8]) {
    let Some((split, data)) = data.split_first_chunk::<2>() else { return };
    let (definition, change) = data.split_at(usize::from(u16::from_be_bytes(*split)).min(data.len()));
    process::defined(definition, change);
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_definition_and_change_is_judged() {
        let words = [
            r#"{"id":"p","input":[{"address":"a"}],"output":[{"address":"b"}]}"#,
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"",
            "null",
            "true",
            "-1",
            "1e999",
            "18446744073709551615",
            "\"id\":",
            "\"../x\"",
            "\"input\":",
            "\"output\":[{\"address\":",
            "\"[f=tee]a|{whep:b}|'|\\\\|\"",
            "\"options\":[\"-f\",\"tee\",\"-i\"]",
            "\"whip_ingest\":{}",
            "\"whep_egress\":{\"stream\":\"{id}{reference}\"}",
            "\"concat:async:/a|/nowhere/b\"",
            "\"#p:output=x\"",
            "\"limits\":{\"cpu_usage\":",
            "\u{0}",
            "\u{fc}",
        ];
        let mut seed = 0x0dd5_u64;
        let mut random = move |limit: usize| {
            seed ^= seed >> 12;
            seed ^= seed << 25;
            seed ^= seed >> 27;
            (seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
        };
        let whole = words[0].len();
        for round in 0..3000 {
            let mut text = String::new();
            if round % 2 == 0 {
                text.push_str(words[0]);
                text.push('{');
            }
            (0..random(30)).for_each(|_| text.push_str(words[random(words.len())]));
            if round % 3 == 0 {
                text.push('}');
            }
            let split = if round % 2 == 0 { whole } else { random(text.len() + 1) };
            let mut data = u16::try_from(split).unwrap().to_be_bytes().to_vec();
            data.extend_from_slice(text.as_bytes());
            super::definition(&data);
        }
        // And one that goes all the way.
        let change = r#"{"output":[{"address":"[f=mpegts]/nowhere/x|{whep:z}","options":["-f","tee"]}]}"#;
        let mut data = u16::try_from(whole).unwrap().to_be_bytes().to_vec();
        data.extend_from_slice(words[0].as_bytes());
        data.extend_from_slice(change.as_bytes());
        super::definition(&data);
    }

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
