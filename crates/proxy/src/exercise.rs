//! What fuzz targets and tests share: anything goes in, and what must hold is asserted.
//!
//! Each function here is the whole of one target in `fuzz/`; a test feeds it seeded inputs where no fuzzer is at hand.

mod relay;

use std::net::{IpAddr, SocketAddr};

use sdp_types::{Candidate, CandidateAddress, Session};

pub use self::relay::relay;
#[cfg(test)]
pub(crate) use self::relay::{check, session};
use crate::envelope;
use crate::origins::{Heartbeat, OriginRecord, srs};
use crate::record;
use crate::sdp::{Description, SdpError};

/// Reads an answer, a fragment and an envelope, and puts the proxy's candidates in. Says whether anything was.
///
/// # Panics
/// If a rewritten description holds another candidate, has other sections, or changes when rewritten again.
pub fn proxy_sdp(data: &[u8]) -> bool {
    let ours: [SocketAddr; 2] = [
        SocketAddr::new(IpAddr::from([198, 51, 100, 1]), 18_000),
        SocketAddr::new(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]), 18_000),
    ];
    if let Some(reply) = envelope::Reply::read(data) {
        let changed = reply.with("v=0\r\n\"");
        let again = envelope::Reply::read(changed.as_bytes()).expect("an envelope stays one");
        assert_eq!(again.sdp, "v=0\r\n\"", "{changed}");
        assert_eq!(again.with(&reply.sdp).len(), changed.len() + encoded(&reply.sdp) - encoded("v=0\r\n\""));
    }
    let parsers: [(Parser, &str); 2] = [(Description::parse, ""), (Description::parse_fragment, "v=0\r\n")];
    let mut any = false;
    for (parse, head) in parsers {
        let (Ok(description), Ok(again)) = (parse(data), parse(data)) else { continue };
        let _ = (description.generation(&again), description.media_address(ours[0].ip()), again.has_credentials());
        let text = description.with_candidates(&ours).expect("there are addresses");
        holds_only(&format!("{head}{text}"), &ours);
        let twice = parse(text.as_bytes()).map(|read| read.with_candidates(&ours));
        // A fragment may come to nothing at all.
        assert!(text.is_empty() || twice == Ok(Ok(text.clone())), "{text:?} is rewritten to {twice:?}");
        any = true;
    }
    any
}

type Parser = fn(&[u8]) -> Result<Description, SdpError>;

fn encoded(text: &str) -> usize {
    serde_json::Value::from(text).to_string().len()
}

fn holds_only(text: &str, ours: &[SocketAddr]) {
    let session = Session::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text:?}"));
    let all = session.medias.iter().flat_map(|media| &media.attributes).chain(&session.attributes);
    for attribute in all.filter(|attribute| attribute.attribute.trim() == "candidate") {
        let value = attribute.value.as_deref().unwrap_or_default();
        let candidate: Candidate = value.parse().unwrap_or_else(|error| panic!("{error:?}: {text:?}"));
        let CandidateAddress::IpAddr(ip) = candidate.address else { panic!("{text:?}") };
        assert!(ours.contains(&SocketAddr::new(ip, candidate.port)), "{text:?}");
    }
}

/// Registrations as strangers may send them: heartbeats and SRS's. What is taken can be stored and read again.
///
/// # Panics
/// If one is judged wrongly.
pub fn register(data: &[u8]) {
    let peer = IpAddr::from([192, 0, 2, 1]);
    let heartbeat = Heartbeat::parse(data, peer).map(|heartbeat| heartbeat.record);
    for record in [heartbeat, srs::parse(data, peer)].into_iter().flatten() {
        assert_eq!(OriginRecord::from_json(&record.to_json()).as_ref(), Ok(&record));
    }
}

/// Values as they may stand in the registry: records of sessions and of origins. What is read is written the same.
///
/// # Panics
/// If one is judged wrongly.
pub fn redis_record(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(session) = record::Session::from_json(text) {
        assert_eq!(record::Session::from_json(&session.to_json()).as_ref(), Ok(&session));
        assert!(session.pairs().count() <= 2);
    }
    if let Ok(record) = OriginRecord::from_json(text) {
        assert_eq!(OriginRecord::from_json(&record.to_json()).as_ref(), Ok(&record));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origins::Load;
    use crate::registry::exercise::{origin, session};

    const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.2\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 10.0.0.2\r\na=rtcp:9 IN IP4 10.0.0.2\r\na=mid:0\r\na=ice-ufrag:abcd\r\n\
a=ice-pwd:0123456789abcdefghijkl\r\na=candidate:1 1 udp 1 10.0.0.2 8000 typ host\r\na=candidate:2 1 tcp 1 ::1 9 typ host\r\n\
a=end-of-candidates\r\n";

    #[test]
    fn no_bytes_break_it() {
        let fragment = ANSWER.split_once("t=0 0\r\n").expect("a head").1;
        let reply = envelope::made(ANSWER, "a:b");
        let mut passed = 0;
        for seed in [ANSWER, fragment, &reply] {
            passed += usize::from(proxy_sdp(seed.as_bytes()));
            for at in 0..seed.len() {
                proxy_sdp(&seed.as_bytes()[..at]);
                for byte in [b'\r', b'\n', b' ', b':', b'0', b'a', 0, 0xff] {
                    let mut bytes = seed.as_bytes().to_vec();
                    bytes[at] = byte;
                    passed += usize::from(proxy_sdp(&bytes));
                }
            }
        }
        assert!(passed > 1000, "{passed}");
    }

    /// Every cut and some changed bytes of each seed.
    fn changed(seeds: &[String], exercise: fn(&[u8])) {
        for seed in seeds {
            exercise(seed.as_bytes());
            for at in 0..seed.len() {
                exercise(&seed.as_bytes()[..at]);
                for byte in [b'"', b'{', b'[', b',', b'-', b'0', b'9', b' ', 0, 0xff] {
                    let mut bytes = seed.as_bytes().to_vec();
                    bytes[at] = byte;
                    exercise(&bytes);
                }
            }
        }
    }

    #[test]
    fn no_registration_breaks_it() {
        let heartbeat = r#"{"id":"a","http":"http://0.0.0.0:8555","rtc":"[::]:8189","kind":"whipstitch","load":{"cpu":0.5,
            "egress_bps":1000,"sessions":3,"streams":1},"streams":["cam"],"draining":false,"interval_seconds":2}"#;
        let srs = r#"{"ip":"10.0.0.3","server":"v","pid":7,"api":["tcp://[::]:1985"],"rtc":["udp://0.0.0.0:8000"]}"#;
        changed(&[heartbeat.to_owned(), srs.to_owned()], register);
    }

    #[test]
    fn no_value_of_the_registry_breaks_it() {
        let mut record = origin("a");
        record.load = Load { cpu: 0.1, ..record.load };
        changed(&[session("one", "cam", &record.origin.id).to_json(), record.to_json()], redis_record);
    }
}
