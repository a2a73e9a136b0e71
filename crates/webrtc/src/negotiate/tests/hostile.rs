//! Seeded mutations of real offers and fragments: whatever comes of them is judged, never a panic; what is accepted is
//! answered within the size limit, and the answer parses back.

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

fn every_stream() -> Vec<Tracks> {
    let audio = [Codec::Opus, Codec::Pcmu, Codec::Pcma, Codec::G722];
    let video = [Codec::H264, Codec::H265, Codec::Vp8, Codec::Vp9, Codec::Av1];
    let both = video.iter().zip(audio.iter().cycle());
    both.map(|(video, audio)| Tracks { audio: track(*audio, ""), video: track(*video, "packetization-mode=1") })
        .collect()
}

/// Everything that happens to the text of an offer.
fn negotiate(text: &str, streams: &[Tracks]) -> bool {
    let Ok(offer) = Offer::parse(text) else { return false };
    let mut answers = Vec::new();
    if let Ok(plan) = plan_publisher(&offer) {
        answers.push(with_local(|local| answer_publisher(&offer, &plan, local)));
    }
    for tracks in streams {
        if let Ok(plan) = plan_viewer(&offer, tracks) {
            answers.push(answer_to_viewer(&offer, &plan));
        }
    }
    for answer in &answers {
        assert!(answer.len() <= 8191, "{text}");
        sdp_types::Session::parse(answer.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}\n{answer}"));
    }
    !answers.is_empty()
}

#[test]
fn mutated_offers_are_judged_and_their_answers_parse_back() {
    let (streams, mut accepted, mut all) = (every_stream(), 0, 0);
    let seeds = fixtures::PUBLISHERS.iter().chain(&fixtures::VIEWERS).chain(&fixtures::EITHER);
    for (seed, (_, text)) in seeds.enumerate() {
        let mut random = Random(0x9E37_79B9_7F4A_7C15 + seed as u64);
        for _ in 0..ROUNDS {
            accepted += usize::from(negotiate(&mutated(text, &mut random), &streams));
            all += 1;
        }
    }
    // Both outcomes must occur, or the mutations say nothing.
    assert!(accepted > all / 10 && accepted < all * 9 / 10, "{accepted} of {all} are accepted");
}

#[test]
fn mutated_fragments_are_judged() {
    let text = write_fragment(&our_credentials(), &addresses())
        + "a=candidate:1 1 udp 1 x.local 9 typ srflx raddr 1.2.3.4 rport 9";
    let (mut random, mut accepted) = (Random(7), 0);
    for _ in 0..ROUNDS * 10 {
        accepted += usize::from(parse_fragment(&mutated(&text, &mut random)).is_ok());
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
        assert!(!negotiate(text, &[]));
        assert!(parse_fragment(text).is_err());
    }
}
