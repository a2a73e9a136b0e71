//! What the fuzz target and a test share: anything goes in, and what must hold is asserted.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtsp_types::StatusCode;
use whipstitch_media::Kind;
use whipstitch_media::sdp::Section;
use whipstitch_rtp::Publisher;
use whipstitch_rtp::publisher::Config;
use whipstitch_rtp::reorder::Limits;
use whipstitch_stream::StreamKey;

use crate::access::{Access, Asked, Right, Verdict};
use crate::auth::Proof;
use crate::machine::{Answer, Begins, Facts, First, Machine, Question, SetUp, Step};
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

    fn judge_child(&self, _: Right, _: &StreamKey, _: IpAddr, ours: Option<bool>, credential: &str) -> Verdict {
        match (credential, ours) {
            ("child", None) => Verdict::Whose,
            ("child", Some(true)) => Verdict::Child("p".into()),
            _ => Verdict::Unknown,
        }
    }

    fn is_ours(&self, _: SocketAddr, _: u16) -> Asked {
        Box::pin(std::future::ready(true))
    }

    fn serves(&self, _: &StreamKey) -> bool {
        true
    }
}

/// What a connection has brought about.
#[derive(Default)]
struct World {
    sessions: usize,
    announced: Vec<Section>,
    /// What the client sends, with the channels of its tracks, and the bytes that came and went.
    publisher: Option<(Publisher, Begins)>,
    taken: usize,
    given: usize,
}

/// Takes what comes over one connection, split where the first byte says, and does everything that it asks for.
///
/// # Panics
/// If it is not the same as without the split, a response is none, or more is held or published than what has come.
pub fn connection(data: &[u8]) {
    let Some((&split, data)) = data.split_first() else { return };
    let whole = told(&[data]);
    let (before, after) = data.split_at(usize::from(split).min(data.len()));
    assert_eq!(told(&[before, after]), whole);
}

/// Everything that is answered.
fn told(reads: &[&[u8]]) -> Vec<u8> {
    let facts =
        Facts { peer: ([127, 0, 0, 1], 1).into(), nonce: "n".into(), access: Arc::new(Rules), only_children: false };
    let (mut machine, mut decoder, mut told) = (Machine::new(facts), Decoder::default(), Vec::new());
    let mut world = World::default();
    for read in reads {
        decoder.push(read);
        loop {
            match decoder.next() {
                Ok(None) => break,
                Ok(Some(Item::Frame(channel, packet))) => world.frame(channel, packet),
                Ok(Some(item)) => {
                    let (reply, is_last) = handled(&mut machine, item, &mut world);
                    told.extend(reply);
                    if is_last {
                        return told;
                    }
                }
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

impl World {
    /// A frame as the publisher's worker takes it.
    fn frame(&mut self, channel: u8, mut packet: Vec<u8>) {
        let Some((publisher, begins)) = &mut self.publisher else { return };
        let now = Instant::now();
        self.taken += packet.len();
        for (kind, (rtp, rtcp)) in &begins.tracks {
            if channel == *rtp {
                let _ = publisher.receive(now, *kind, &packet);
            } else if channel == *rtcp {
                let _ = publisher.receive_rtcp(now, *kind, &mut packet);
            }
        }
        while let Some(event) = publisher.poll(now) {
            if let whipstitch_rtp::publisher::Event::Packet(_, packet) = event {
                self.given += packet.payload.len();
            }
        }
        assert!(self.given <= 2 * self.taken, "{} of {} bytes", self.given, self.taken);
    }
}

/// The response, and whether it is the last.
fn handled(machine: &mut Machine, item: Item, world: &mut World) -> (Vec<u8>, bool) {
    let (reply, is_last) = match machine.handle(item) {
        None => return (Vec::new(), false),
        Some(Step::Whose(request)) => {
            machine.tell(true);
            return handled(machine, Item::Request(*request), world);
        }
        Some(Step::Last(reply)) => (reply, true),
        Some(Step::Reply(reply) | Step::Do(_, reply)) => (reply, false),
        Some(Step::Ask(question)) => (machine.answered(answer(question, world)), false),
    };
    assert!(is_response(&reply), "{}", String::from_utf8_lossy(&reply));
    (reply, is_last)
}

fn answer(question: Question, world: &mut World) -> Answer {
    match question {
        Question::Describe { .. } => Answer::Described(Ok("v=0\r\n".into())),
        Question::SetUp { track: None, .. } => Answer::SetUp(Err(StatusCode::AggregateOperationNotAllowed)),
        Question::SetUp { session, track: Some(kind), .. } => {
            world.sessions += 1;
            let session = session.unwrap_or_else(|| format!("s{}", world.sessions));
            Answer::SetUp(Ok(SetUp { session, kind, ssrc: 1, ports: Some((2, 3)) }))
        }
        Question::Play { .. } => Answer::Playing(Ok(vec![First { kind: Kind::Video, seq: 1, time: 2 }])),
        Question::Announce(announcement) => {
            world.sessions += 1;
            (world.announced, world.publisher) = (announcement.sections, None);
            Answer::Announced(Ok(format!("s{}", world.sessions)))
        }
        Question::Record(begins) => {
            let order = Limits { packets: 0, wait: Duration::ZERO };
            let config = Config { sections: world.announced.clone(), order, ssrc: 1, cname: "us".into() };
            world.publisher = Some((Publisher::new(config), begins));
            Answer::Recording(Ok(()))
        }
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
        TEARDOWN rtsp://h/live/cam RTSP/1.0\r\nCSeq: 6\r\nSession: s1\r\n\r\n\
        ANNOUNCE rtsp://h/live/new RTSP/1.0\r\nCSeq: 7\r\nContent-Type: application/sdp\r\nContent-Length: 123\r\n\r\n\
        v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
        m=audio 0 RTP/AVP 0\r\na=control:1\r\n\
        SETUP rtsp://h/live/new/1 RTSP/1.0\r\nCSeq: 8\r\nTransport: RTP/AVP/TCP;interleaved=4-5;mode=record\r\n\r\n\
        RECORD rtsp://h/live/new RTSP/1.0\r\nCSeq: 9\r\nSession: s2\r\n\r\n\
        $\x04\x00\x10\x80\x00\x00\x07\x00\x00\x00\x09\x00\x00\x00\x01song\
        $\x05\x00\x08\x80\xcb\x00\x01\x00\x00\x00\x01";

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
        let all = String::from_utf8(told(&[TALK])).expect("responses");
        assert_eq!(all.matches("RTSP/1.0 ").count(), 9, "{all}");
        assert_eq!(all.matches(" 200 Ok").count(), 7, "the talk is understood: {all}");
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
