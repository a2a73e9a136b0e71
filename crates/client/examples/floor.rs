//! The floor that `cargo xtask bench` compares the gateway with: sealing a packet with AES-128-GCM and handing it to the
//! kernel in the cheapest way there is, as `key=value` lines.

use std::error::Error;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use whipstitch_net::floor::{Load, Pace, at_pace, measure};

/// Bytes of an RTP header: authenticated, not encrypted (RFC 7714 8).
const HEADER: usize = 12;

fn main() -> Result<(), Box<dyn Error>> {
    let load = Load::default();
    // As viewers have, each its own.
    let keys: Vec<_> = (0..load.destinations).map(key).collect::<Result<_, _>>()?;
    let mut index = 0_u64;
    let mut seal = |destination: usize, datagram: &mut [u8]| {
        index += 1;
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&index.to_be_bytes());
        let (packet, tag) = datagram.split_at_mut(datagram.len() - AES_128_GCM.tag_len());
        let (header, payload) = packet.split_at_mut(HEADER);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = keys[destination].seal_in_place_separate_tag(nonce, Aad::from(header), payload);
        tag.copy_from_slice(sealed.expect("far below 64 GiB").as_ref());
    };
    let floor = measure(&load, &mut seal)?;
    let paced = at_pace(&load, &Pace::default(), &mut seal)?;
    println!("batched_us={:.3}", floor.batched.per_datagram() / 1000.0);
    println!("single_us={:.3}", floor.single.per_datagram() / 1000.0);
    println!("at_pace_us={:.3}", paced.per_datagram() / 1000.0);
    Ok(())
}

fn key(destination: usize) -> Result<LessSafeKey, Box<dyn Error>> {
    let bytes = [destination.to_le_bytes()[0]; 16];
    Ok(LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &bytes).map_err(|_| "a key of 16 bytes")?))
}
