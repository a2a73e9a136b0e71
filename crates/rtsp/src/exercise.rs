//! What the fuzz target and a test share: anything goes in, and what must hold is asserted.

use std::net::IpAddr;
use std::sync::Arc;

use rtsp_types::StatusCode;
use whipstitch_media::Kind;
use whipstitch_stream::StreamKey;

use crate::access::{Access, Right, Verdict};
use crate::auth::Proof;
use crate::machine::{Answer, Facts, First, Machine, Question, SetUp, Step};
use crate::wire::{Decoder, Item, Violation};

struct Rules;

impl Access for Rules {
    fn judge(&self, _: Right, stream: &StreamKey, _: IpAddr, proof: Option<&Proof<'_>>) -> Verdict {
        match proof {
            Some(proof) if proof.of("secret") => Verdict::Allowed,
            _ if stream.as_str() == "shut" => Verdict::Unknown,
            _ => Verdict::Allowed,
        }
    }

    fn serves(&self, _: &StreamKey) -> bool {
        true
    }
}

/// Takes what comes over one connection, split where the first byte says, and does everything that it asks for.
///
/// # Panics
/// If it is not the same as without the split, a response is none, or more is held than what has come.
pub fn connection(data: &[u8]) {
    let Some((&split, data)) = data.split_first() else { return };
    let whole = told(&[data]);
    let (before, after) = data.split_at(usize::from(split).min(data.len()));
    assert_eq!(told(&[before, after]), whole);
}

/// Everything that is answered.
fn told(reads: &[&[u8]]) -> Vec<u8> {
    let facts = Facts { peer: ([127, 0, 0, 1], 1).into(), nonce: "n".into(), access: Arc::new(Rules) };
    let (mut machine, mut decoder, mut told, mut sessions) = (Machine::new(facts), Decoder::default(), Vec::new(), 0);
    for read in reads {
        decoder.push(read);
        loop {
            match decoder.next() {
                Ok(None) => break,
                Ok(Some(item)) => told.extend(handled(&mut machine, item, &mut sessions)),
                Err(violation) => {
                    let last = machine.violated(violation);
                    assert!(violation == Violation::Http || is_response(&last));
                    told.extend(last);
                    return told;
                }
            }
        }
    }
    told
}

fn handled(machine: &mut Machine, item: Item, sessions: &mut usize) -> Vec<u8> {
    let reply = match machine.handle(item) {
        None => return Vec::new(),
        Some(Step::Reply(reply) | Step::Do(_, reply)) => reply,
        Some(Step::Ask(question)) => machine.answered(answer(question, sessions)),
    };
    assert!(is_response(&reply), "{}", String::from_utf8_lossy(&reply));
    reply
}

fn answer(question: Question, sessions: &mut usize) -> Answer {
    match question {
        Question::Describe { .. } => Answer::Described(Ok("v=0\r\n".into())),
        Question::SetUp { track: None, .. } => Answer::SetUp(Err(StatusCode::AggregateOperationNotAllowed)),
        Question::SetUp { session, track: Some(kind), .. } => {
            *sessions += 1;
            let session = session.unwrap_or_else(|| format!("s{sessions}"));
            Answer::SetUp(Ok(SetUp { session, kind, ssrc: 1, ports: Some((2, 3)) }))
        }
        Question::Play { .. } => Answer::Playing(Ok(vec![First { kind: Kind::Video, seq: 1, time: 2 }])),
    }
}

fn is_response(bytes: &[u8]) -> bool {
    matches!(rtsp_types::Message::<Vec<u8>>::parse(bytes), Ok((rtsp_types::Message::Response(_), len)) if len == bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TALK: &[u8] = b"OPTIONS rtsp://h/live/cam RTSP/1.0\r\nCSeq: 1\r\n\r\n\
        DESCRIBE rtsp://h/live/shut RTSP/1.0\r\nCSeq: 2\r\nAuthorization: Digest username=\"u\", realm=\"whipstitch\", \
        nonce=\"n\", uri=\"rtsp://h/live/shut\", response=\"00\"\r\n\r\n\
        SETUP rtsp://h/live/cam/trackID=0 RTSP/1.0\r\nCSeq: 3\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n\
        $\x01\x00\x08\x80\xc9\x00\x01\x00\x00\x00\x01\
        PLAY rtsp://h/live/cam RTSP/1.0\r\nCSeq: 4\r\nSession: s1\r\n\r\n\
        GET_PARAMETER rtsp://h/live/cam RTSP/1.0\nCSeq: 5\nSession: s1\nContent-Length: 3\n\nx\r\n\
        TEARDOWN rtsp://h/live/cam RTSP/1.0\r\nCSeq: 6\r\nSession: s1\r\n\r\n";

    #[test]
    fn any_bytes_of_a_connection_are_answered_or_refused() {
        // A generator of its own, so that a failure repeats (Marsaglia's xorshift64).
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        assert!(told(&[TALK]).len() > 500, "the talk is understood");
        for _ in 0..20_000 {
            let mut data = vec![random(256) as u8];
            data.extend_from_slice(TALK);
            for _ in 0..random(8) {
                let at = random(data.len());
                match random(4) {
                    0 => data[at] = random(256) as u8,
                    1 => data.truncate(at.max(1)),
                    2 => data.insert(at, b" :;,=\"\r\n$-/"[random(11)]),
                    _ => drop(data.drain(at..(at + random(20)).min(data.len()))),
                }
                if data.is_empty() {
                    data.push(0);
                }
            }
            connection(&data);
        }
    }
}
