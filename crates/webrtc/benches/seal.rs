//! What it costs to protect and deliver a packet of 1200 bytes, beside the bare cipher.
//!
//! `cargo bench -p whipstitch-webrtc --bench seal`. Each figure is the fastest of several rounds, which is what is left of
//! it on a machine that others use too.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use whipstitch_media::time::Ntp;
use whipstitch_media::{Codec, Extensions, Kind, Packet};
use whipstitch_net::Path;
use whipstitch_net::batch::Batch;
use whipstitch_net::outbox::Room;
use whipstitch_stream::{Burst, Clock, Forwarded, PerKind};
use whipstitch_webrtc::egress::{Egress, ExtensionIds, Format, Keys, Profile, TrackConfig};

/// Header, payload and GCM tag make 1200 bytes.
const HEADER: usize = 12;
const PAYLOAD: usize = 1172;
const TAG: usize = 16;

const VIEWERS: usize = 100;
/// One picture at 2.5 Mbit/s and 30 a second is 9 packets.
const BURST: usize = 9;

const ROUNDS: usize = 40;
const ROUND: Duration = Duration::from_millis(25);

/// Nanoseconds for each of the `count` things that one call of `run` does.
fn nanoseconds(count: usize, mut run: impl FnMut()) -> f64 {
    let round = |_| {
        let (start, mut calls) = (Instant::now(), 0usize);
        while start.elapsed() < ROUND {
            run();
            calls += 1;
        }
        start.elapsed().as_nanos() as f64 / (calls * count) as f64
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}

fn raw(algorithm: &'static Algorithm) -> f64 {
    let key = vec![1; algorithm.key_len()];
    let key = LessSafeKey::new(UnboundKey::new(algorithm, &key).expect("as long as the algorithm needs"));
    let mut buffer = vec![7; HEADER + PAYLOAD + TAG];
    let mut count = 0u64;
    nanoseconds(100, || {
        for _ in 0..100 {
            count += 1;
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&count.to_be_bytes());
            let (header, rest) = buffer.split_at_mut(HEADER);
            let (payload, tag) = rest.split_at_mut(PAYLOAD);
            let nonce = Nonce::assume_unique_for_key(nonce);
            let sealed = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload).expect("there is room");
            tag.copy_from_slice(sealed.as_ref());
            black_box(&mut buffer);
        }
    })
}

fn keys(profile: Profile, seed: usize) -> Keys {
    let material: Vec<u8> = (0..profile.material_len()).map(|byte| (byte * 7 + seed) as u8).collect();
    Keys::split(profile, &material, false).expect("as long as the profile needs")
}

fn seal(profile: Profile, resends: usize) -> f64 {
    let (mut sealers, _) = keys(profile, 1).into_contexts();
    let mut sealer = sealers.sealer(1, 0, resends).expect("the first of its SSRC");
    let mut buffer = vec![0x80; HEADER + PAYLOAD + TAG];
    let mut index = 0;
    nanoseconds(100, || {
        for _ in 0..100 {
            let sealed = sealer.seal(index, &mut buffer, HEADER, HEADER + PAYLOAD).expect("each index once");
            index += 1;
            black_box(sealed);
        }
    })
}

fn viewer(profile: Profile, now: Instant, number: usize) -> (Path, Egress) {
    let track = TrackConfig {
        kind: Kind::Video,
        ssrc: number as u32,
        rtx_ssrc: Some(0x1000_0000 + number as u32),
        repeats: false,
        extensions: ExtensionIds { mid: Some((4, "0".into())), ..ExtensionIds::default() },
    };
    let egress = Egress::new(now, keys(profile, number), "bench".into(), vec![track], |bytes| bytes.fill(9));
    let mut egress = egress.expect("a lawful track");
    let format = Format { codec: Codec::Vp8, pt: 96, rtx_pt: Some(97), nack: true };
    egress.send_as(Kind::Video, format).expect("lawful numbers");
    (Path::to(([192, 0, 2, 1], 1024 + number as u16).into()), egress)
}

fn deliver(profile: Profile) -> f64 {
    let now = Instant::now();
    let mut viewers: Vec<_> = (0..VIEWERS).map(|number| viewer(profile, now, number)).collect();
    let mut batch = Batch::new();
    let mut seq = 65_536u64;
    let clock = Some(Clock { ntp: Ntp(1 << 40), time: 1 << 32, at: now });
    nanoseconds(VIEWERS * BURST, || {
        let packets = (0..BURST)
            .map(|n| {
                seq += 1;
                let packet = Packet {
                    seq,
                    time: seq * 300,
                    marker: n + 1 == BURST,
                    payload: Arc::from(&[7; PAYLOAD][..]),
                    extensions: Extensions::default(),
                    arrived: now,
                };
                Forwarded { codec: Codec::Vp8, packet, start: n == 0 }
            })
            .collect();
        let burst = Burst { packets, clocks: PerKind { audio: None, video: clock } };
        for (path, egress) in &mut viewers {
            egress.deliver(now, *path, &burst, Room::UNBOUNDED, &mut batch);
            // A worker would send here.
            if batch.is_full() {
                black_box(batch.len());
                batch.clear();
            }
        }
        batch.clear();
    })
}

fn main() {
    let baseline = [raw(&AES_128_GCM), raw(&AES_256_GCM)];
    println!("{:<44} {:>9} {:>22}", "1200 bytes", "ns/packet", "x raw AES-128-GCM");
    let row = |what: &str, ns: f64| println!("{what:<44} {ns:>9.0} {:>22.2}", ns / baseline[0]);
    row("raw aws-lc-rs AES-128-GCM", baseline[0]);
    row("raw aws-lc-rs AES-256-GCM", baseline[1]);
    for profile in Profile::ALL {
        row(&format!("Sealer, {profile:?}"), seal(profile, 0));
        row(&format!("Sealer with record for resends, {profile:?}"), seal(profile, 1024));
    }
    for profile in Profile::ALL {
        row(&format!("Egress::deliver, {VIEWERS} viewers, {profile:?}"), deliver(profile));
    }
}
