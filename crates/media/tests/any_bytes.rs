//! The fuzz targets' entry functions over seeded inputs: no panic, whatever comes.

#![allow(clippy::disallowed_methods, reason = "virtual time begins at some instant")]

use whipstitch_media::exercise;

/// xorshift64*: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }
}

/// The payloads of a fixture in the form the target takes, after its two bytes of header.
fn seed(fixture: &str) -> Vec<u8> {
    let mut packets = Vec::new();
    for line in fixture.lines().filter(|line| !line.starts_with('#')) {
        let hex = line.rsplit(' ').next().unwrap_or_default();
        let digits = hex.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
        let payload: Vec<u8> = digits.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).take(127).collect();
        packets.push((u8::from(line.contains(" 1 ")) << 7) | payload.len() as u8);
        packets.extend(payload);
    }
    packets
}

#[test]
fn codecs_survive_random_bytes() {
    let mut random = Random(0x5eed);
    for _ in 0..4000 {
        let data: Vec<u8> = (0..random.below(400)).map(|_| random.next() as u8).collect();
        exercise::codec(&data);
    }
}

#[test]
fn codecs_survive_damaged_streams() {
    let fixtures = [
        (0, include_str!("fixtures/h264.txt")),
        (1, include_str!("fixtures/h265.txt")),
        (2, include_str!("fixtures/vp8.txt")),
        (3, include_str!("fixtures/vp9.txt")),
    ];
    let mut random = Random(0xdeed);
    for (codec, fixture) in fixtures {
        let seed = [vec![codec, 0], seed(fixture)].concat();
        exercise::codec(&seed);
        for _ in 0..2000 {
            let mut data = seed.clone();
            for _ in 0..=random.below(8) {
                let at = random.below(data.len() - 2) + 2;
                match random.below(4) {
                    0 => data[at] = random.next() as u8,
                    1 => data[at] ^= 1 << random.below(8),
                    2 => drop(data.remove(at)),
                    _ => data.truncate(at.max(40)),
                }
            }
            exercise::codec(&data);
        }
    }
}

#[test]
fn descriptions_survive_damage() {
    let seed = include_bytes!("fixtures/announce.sdp");
    damaged(seed, exercise::announcement);
    // Its ports are 0: in an offer nobody wants that, unless all are.
    damaged(seed, exercise::plain_offer);
    let offer = String::from_utf8_lossy(seed).replace("m=video 0", "m=video 5004").replace("RTP/AVP ", "RTP/AVPF ");
    damaged(offer.as_bytes(), exercise::plain_offer);
}

fn damaged(seed: &[u8], exercise: fn(&[u8])) {
    exercise(seed);
    let mut random = Random(0xace);
    for _ in 0..20_000 {
        let mut data = seed.to_vec();
        for _ in 0..=random.below(6) {
            let (at, from) = (random.below(data.len()), random.below(data.len()));
            match random.below(5) {
                0 => data[at] = random.next() as u8,
                1 => data[at] = data[from],
                2 => drop(data.remove(at)),
                3 => data.insert(at, b"\r\n;= :/0"[random.below(8)]),
                _ => data.truncate(at.max(40)),
            }
        }
        exercise(&data);
    }
}

#[test]
fn payloads_of_any_length_are_cut_to_size() {
    let mut random = Random(0xc07);
    // Indicators and flags of fragments, aggregates and descriptors come often.
    let heads = [0x7c, 0x78, 0x65, 0x41, 0x62, 0x60, 0x26, 0x10, 0x90, 0x00, 0x08, 0x8a, 0x0c, 0x50, 0x68, 0x90];
    for _ in 0..4000 {
        let mut data = vec![random.next() as u8];
        for _ in 0..random.below(12) {
            data.extend([random.next() as u8 & 7, random.below(8) as u8, random.next() as u8]);
            data.push(heads[random.below(heads.len())]);
            data.push([0x85, 0x05, 0x45, 0x93, 0x53, 0x13][random.below(6)]);
            data.extend((0..14).map(|_| random.next() as u8));
        }
        exercise::split(std::time::Instant::now(), &data);
    }
}
