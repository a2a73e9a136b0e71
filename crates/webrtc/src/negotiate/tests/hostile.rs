//! Seeded mutations of real offers and fragments: whatever comes of them is judged, never a panic, and what is written
//! parses back (`exercise`).

use super::*;

/// Mutations per seed text. All of them take about a second.
const ROUNDS: usize = 400;

/// xorshift64*: repeatable, and no dependency for a test.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(value).expect("31 bits") % bound.max(1)
    }
}

/// One to four changes of the kinds that parsers trip over.
fn mutated(text: &str, random: &mut Random) -> String {
    const WORDS: [&str; 16] = [
        "",
        "0",
        "-1",
        "255",
        "65536",
        "4294967296",
        "18446744073709551616",
        " ",
        ":",
        ";",
        "=",
        "/",
        "*",
        "~",
        "é",
        "\u{0}",
    ];
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..=random.below(4) {
        let (place, other) = (random.below(lines.len()), random.below(lines.len()));
        match random.below(6) {
            0 => drop(lines.remove(place)),
            1 => lines.insert(place, lines[other].clone()),
            2 => lines.swap(place, other),
            3 => lines.truncate(place + 1),
            4 => {
                let cut = random.below(lines[place].len() + 1);
                lines[place] = lines[place].chars().take(cut).collect();
            }
            _ => {
                let mut words: Vec<&str> = lines[place].split_inclusive([' ', ':', ';', '=', '/']).collect();
                let word = random.below(words.len());
                if let Some(place) = words.get_mut(word) {
                    *place = WORDS[random.below(WORDS.len())];
                }
                lines[place] = words.concat();
            }
        }
        if lines.is_empty() {
            break;
        }
    }
    lines.join("\r\n") + "\r\n"
}

#[test]
fn mutated_offers_are_judged_and_their_answers_parse_back() {
    let (mut accepted, mut all) = (0, 0);
    let seeds = fixtures::PUBLISHERS.iter().chain(&fixtures::VIEWERS).chain(&fixtures::EITHER);
    for (seed, (_, text)) in seeds.enumerate() {
        let mut random = Random(0x9E37_79B9_7F4A_7C15 + seed as u64);
        for _ in 0..ROUNDS {
            accepted += usize::from(exercise::offer(mutated(text, &mut random).as_bytes()));
            all += 1;
        }
    }
    // Both outcomes must occur, or the mutations say nothing.
    assert!(accepted > all / 10 && accepted < all * 9 / 10, "{accepted} of {all} are accepted");
}

#[test]
fn mutated_fragments_are_judged() {
    let text = write_fragment(&our_credentials(), Some("0"), &addresses())
        + "a=candidate:1 1 udp 1 x.local 9 typ srflx raddr 1.2.3.4 rport 9";
    let (mut random, mut accepted) = (Random(7), 0);
    for _ in 0..ROUNDS * 10 {
        accepted += usize::from(exercise::fragment(mutated(&text, &mut random).as_bytes()));
    }
    assert!(accepted > ROUNDS && accepted < ROUNDS * 9, "{accepted} are accepted");
}

#[test]
fn text_of_any_kind_is_judged() {
    for text in [
        "",
        "\r\n",
        "=",
        "v",
        "v=",
        "v=0",
        "v=0\r\nm=",
        "v=0\r\nm=audio",
        "v=0\r\na=",
        "v=0\r\nm=audio 1 x ",
        "\u{feff}v=0",
    ] {
        assert!(!exercise::offer(text.as_bytes()));
        assert!(!exercise::fragment(text.as_bytes()));
    }
}
