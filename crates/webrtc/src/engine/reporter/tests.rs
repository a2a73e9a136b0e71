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

fn packet(first: u8, kind: u8, words: usize) -> Vec<u8> {
    [&[0x80 | first, kind, 0, words as u8][..], &SENDER.to_be_bytes(), &vec![0; 4 * (words - 1)]].concat()
}

#[test]
fn feedback_is_alone_or_behind_a_report_with_a_name() {
    let (rr, xr) = (packet(1, 201, 7), packet(0, XR, 4));
    let (nack, pli) = (packet(1, 205, 3), packet(1, 206, 2));
    for (engine, whole, reduced) in [
        (vec![&rr], vec![vec![201, 202]], vec![vec![201, 202]]),
        (vec![&nack], vec![vec![201, 202, 205]], vec![vec![205]]),
        (vec![&nack, &pli], vec![vec![201, 202, 205, 206]], vec![vec![205], vec![206]]),
        (
            vec![&rr, &nack, &xr, &xr, &pli],
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
    let long = packet(1, 205, 200);
    let left = rewritten(false, &[&long, &long]);
    assert_eq!(left, vec![vec![201, 202, 205], vec![201, 202, 205]]);
}

#[test]
fn what_the_engine_did_not_seal_goes_nowhere() {
    let (sealers, ours, _) = keys(true).into_rewriting_contexts();
    let mut reporter = Reporter::new(sealers, ours, false);
    reporter.rewrite(&[0x80; 60], |_| panic!("nothing leaves"));
}
