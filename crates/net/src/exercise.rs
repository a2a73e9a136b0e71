//! What fuzz targets and tests share: anything goes in, and what must hold is asserted.
//!
//! Each function here is the whole of one target in `fuzz/`; a test feeds it seeded inputs where no fuzzer is at hand.

use crate::framing::{Deframer, FramingError, frame};
use crate::stun::{self, Check};

const LOCAL: &str = "server";
const PWD: &str = "a password of the server";

/// Longest frame of [`framing`].
const LIMIT: usize = 100;

/// Judges a STUN message. The first byte says how much of it is right, which no fuzzer would ever guess: nothing, its
/// fingerprint, its integrity too, or the header and a USERNAME as well.
///
/// # Panics
/// If a message is judged wrongly.
pub fn stun(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    let mut message = if mode % 4 == 3 { stun::written::binding(b"server:client") } else { Vec::new() };
    message.extend_from_slice(data);
    if mode % 4 > 0 {
        // Cut to whole words, and to what leaves room for the signatures in 16 bits of length.
        message.truncate(message.len().min(60_000) & !3);
        message.resize(message.len().max(20), 0);
    }
    if mode % 4 > 1 {
        stun::written::sign(&mut message, PWD);
    }
    if mode % 4 > 0 {
        stun::written::print(&mut message);
    }
    judge(&message);
}

fn judge(message: &[u8]) {
    let from = ([192, 0, 2, 1], 5000).into();
    let (ufrag, answer) = (stun::local_ufrag(message), stun::answer(message, PWD));
    let check = stun::check(message, LOCAL, "client", PWD);
    let verified = stun::verify(message, LOCAL, "client", PWD);
    assert_eq!(verified.is_err(), matches!(check, Check::Drop(_)), "one is stricter than the other");
    assert!(verified.is_err() || stun::head(message).is_ok_and(|head| head.username == Some(b"server:client")));
    match check {
        Check::Valid(binding) => {
            assert_eq!((ufrag, answer), (Some(LOCAL), None));
            let answer = stun::answer(&stun::success(message, from, PWD), PWD);
            assert_eq!(answer, Some(stun::Answer { transaction: binding.transaction, outcome: Ok(from) }));
        }
        Check::Reply(reply) => {
            assert_eq!((ufrag, answer), (Some(LOCAL), None));
            let answer = stun::answer(&reply, PWD).expect("a reply is authentic");
            assert!(matches!(answer.outcome, Err(420 | 487)));
        }
        Check::Drop(_) => {}
    }
}

/// Cuts a stream into frames, arriving in pieces: each piece is one byte of length and as many bytes.
///
/// # Panics
/// If the frames are not those of the stream in one piece.
pub fn framing(mut data: &[u8]) {
    let (mut pieces, mut stream, mut frames) = (Deframer::new(LIMIT), Vec::new(), Vec::new());
    let mut end = None;
    while let Some((&len, rest)) = data.split_first() {
        let (piece, rest) = rest.split_at_checked(usize::from(len)).unwrap_or((rest, &[]));
        data = rest;
        stream.extend_from_slice(piece);
        pieces.push(piece);
        end = take(&mut pieces, &mut frames);
    }
    let mut again = Vec::new();
    frames.iter().for_each(|one| assert!(one.len() <= LIMIT && frame(one, &mut again)));
    assert!(stream.starts_with(&again), "the frames are not what came");
    let rest = stream.get(again.len()..).and_then(|rest| rest.split_first_chunk());
    let announced = rest.map(|(len, rest)| (usize::from(u16::from_be_bytes(*len)), rest.len()));
    match announced {
        Some((announced, _)) if announced > LIMIT => {
            assert_eq!(end, Some(FramingError::TooLong { announced, limit: LIMIT }));
        }
        Some((announced, there)) => assert!(announced > there && end.is_none(), "a whole frame was kept back"),
        None => assert_eq!(end, None),
    }
}

fn take(deframer: &mut Deframer, frames: &mut Vec<Vec<u8>>) -> Option<FramingError> {
    loop {
        match deframer.next()? {
            Ok(frame) => frames.push(frame.to_vec()),
            Err(error) => return Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn stun_of_any_kind_is_judged() {
        // Attributes to begin with, one for each rule.
        let seeds = [
            vec![3],
            vec![3, 0, 0x25, 0, 0, 0, 0x24, 0, 4, 1, 2, 3, 4],
            vec![3, 0x80, 0x29, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8],
            vec![3, 0, 2, 0, 0, 0xc0, 0x57, 0, 4, 0, 0, 0, 10],
            [&[0][..], &stun::written::binding(b"server:client")].concat(),
        ];
        let mut random = Random::new(0x5eed);
        for round in 0..20_000 {
            let mut data = seeds[round % seeds.len()].clone();
            for _ in 0..random.below(5) {
                random.mutate(&mut data);
            }
            stun(&data);
        }
    }

    #[test]
    fn frames_of_any_stream_are_cut() {
        let seed = [&[9, 0, 3, 1, 2, 3, 0, 0, 0, 4][..], &[40], &[7; 40], &[3, 0, 100, 0], &[99], &[1; 99]].concat();
        let mut random = Random::new(0x5eed);
        for _ in 0..20_000 {
            let mut data = seed.clone();
            for _ in 0..random.below(5) {
                random.mutate(&mut data);
            }
            framing(&data);
        }
    }
}
