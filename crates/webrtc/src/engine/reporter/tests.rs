//! The engine's datagrams in, what leaves out.

use super::*;
use crate::egress::{Keys, Profile};

const SENDER: u32 = 0xfeed_0001;

fn keys(client: bool) -> Keys {
    let profile = Profile::Aes128Gcm;
    Keys::split(profile, &vec![5; profile.material_len()], client).expect("the right length")
}

/// The types of each packet of each datagram that leaves when the engine writes these packets.
fn rewritten(reduced: bool, engine: &[&[u8]]) -> Vec<Vec<u8>> {
    let (sealers, ours, _) = keys(true).into_rewriting_contexts();
    let (_, mut publisher) = keys(false).into_contexts();
    let mut reporter = Reporter::new(sealers, ours, reduced);
    let mut engines = keys(true).into_contexts().0.sealer(SENDER, 0, 0).expect("the first of its SSRC");
    let mut bytes = engine.concat();
    let len = bytes.len();
    bytes.resize(len + engines.rtcp_overhead(), 0);
    engines.seal_rtcp(&mut bytes, len).expect("room");
    let mut left = Vec::new();
    reporter.rewrite(&bytes, |datagram| {
        let mut opened = datagram.to_vec();
        let len = publisher.open_rtcp(&mut opened).expect("authentic, and each for the first time");
        assert!(len <= LONGEST && opened[4..8] == SENDER.to_be_bytes());
        assert_eq!(packets(&opened[..len]).map(<[u8]>::len).sum::<usize>(), len);
        left.push(packets(&opened[..len]).map(|packet| packet[1]).collect());
    });
    left
}

/// What leaves when these are asked for, after a report of the engine's.
fn asked(reduced: bool, numbers: &[u16]) -> Vec<Vec<u8>> {
    let (sealers, ours, _) = keys(true).into_rewriting_contexts();
    let (_, mut publisher) = keys(false).into_contexts();
    let mut reporter = Reporter::new(sealers, ours, reduced);
    reporter.ask(7, numbers, |_| panic!("nobody knows the sender"));
    assert!(!reporter.is_ready());
    let mut engines = keys(true).into_contexts().0.sealer(SENDER, 0, 0).expect("the first of its SSRC");
    let mut bytes = packet(0, 201, 1);
    let len = bytes.len();
    bytes.resize(len + engines.rtcp_overhead(), 0);
    engines.seal_rtcp(&mut bytes, len).expect("room");
    reporter.rewrite(&bytes, |_| {});
    assert!(reporter.is_ready());
    let mut left = Vec::new();
    reporter.ask(7, numbers, |datagram| {
        let mut opened = datagram.to_vec();
        let len = publisher.open_rtcp(&mut opened).expect("authentic, and each for the first time");
        left.extend(packets(&opened[..len]).map(<[u8]>::to_vec));
        assert!(len <= LONGEST);
    });
    left
}

fn packet(first: u8, kind: u8, words: usize) -> Vec<u8> {
    [&[0x80 | first, kind, 0, words as u8][..], &SENDER.to_be_bytes(), &vec![0; 4 * (words - 1)]].concat()
}

#[test]
fn feedback_is_alone_or_behind_a_report_with_a_name() {
    let (rr, xr) = (packet(1, 201, 7), packet(0, XR, 4));
    let (transport, pli) = (packet(15, 205, 3), packet(1, 206, 2));
    for (engine, whole, reduced) in [
        (vec![&rr], vec![vec![201, 202]], vec![vec![201, 202]]),
        (vec![&transport], vec![vec![201, 202, 205]], vec![vec![205]]),
        (vec![&transport, &pli], vec![vec![201, 202, 205, 206]], vec![vec![205], vec![206]]),
        (
            vec![&rr, &transport, &xr, &xr, &pli],
            vec![vec![201, 202, XR, 205, 206]],
            vec![vec![201, 202, XR], vec![205], vec![206]],
        ),
        (vec![&xr], vec![vec![201, 202, XR]], vec![vec![201, 202, XR]]),
    ] {
        let engine: Vec<&[u8]> = engine.into_iter().map(Vec::as_slice).collect();
        assert_eq!(rewritten(false, &engine), whole);
        assert_eq!(rewritten(true, &engine), reduced);
    }
}

#[test]
fn only_the_last_packet_of_a_compound_is_padded() {
    // P bit, and a length of padding of 4 in the last byte.
    let mut transport = packet(0x20 | 15, 205, 5);
    *transport.last_mut().unwrap() = 4;
    let pli = packet(1, 206, 2);
    assert_eq!(rewritten(false, &[&transport, &pli]), vec![vec![201, 202, 205], vec![201, 202, 206]]);
}

#[test]
fn what_does_not_fit_one_compound_goes_into_more() {
    let long = packet(15, 205, 200);
    let left = rewritten(false, &[&long, &long]);
    assert_eq!(left, vec![vec![201, 202, 205], vec![201, 202, 205]]);
}

#[test]
fn what_the_engine_did_not_seal_goes_nowhere() {
    let (sealers, ours, _) = keys(true).into_rewriting_contexts();
    let mut reporter = Reporter::new(sealers, ours, false);
    reporter.rewrite(&[0x80; 60], |_| panic!("nothing leaves"));
}

#[test]
fn what_the_engine_asks_for_itself_is_left_out() {
    let (rr, nack, pli) = (packet(1, 201, 7), packet(1, 205, 3), packet(1, 206, 2));
    for reduced in [false, true] {
        assert!(rewritten(reduced, &[&nack]).is_empty());
        assert!(!rewritten(reduced, &[&rr, &nack, &pli]).concat().contains(&205));
    }
}

#[test]
fn numbers_are_asked_for_in_one_packet_behind_a_report_or_alone() {
    let nack = [&[0x81, 205, 0, 4][..], &SENDER.to_be_bytes(), &[0, 0, 0, 7, 0, 5, 0x80, 1, 0, 22, 0, 0]].concat();
    assert_eq!(asked(true, &[5, 6, 21, 22]), std::slice::from_ref(&nack));
    let compound = asked(false, &[5, 6, 21, 22]);
    assert_eq!(compound.iter().map(|packet| packet[1]).collect::<Vec<_>>(), [201, 202, 205]);
    assert_eq!(compound[2], nack);
    // The most that can be missing at once, over the wrap, in the most words.
    let all: Vec<u16> = (0..1024_u16).step_by(17).map(|number| 65_000_u16.wrapping_add(number)).collect();
    let compound = asked(false, &all);
    let mut found: Vec<u16> = compound[2][12..].chunks(4).map(|word| u16::from_be_bytes([word[0], word[1]])).collect();
    found.sort_by_key(|number| number.wrapping_sub(65_000));
    assert_eq!((compound.len(), found), (3, all));
}
