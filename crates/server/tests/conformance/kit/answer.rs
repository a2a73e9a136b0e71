//! One judge of answers: every rule of protocol.md 5.3 and 5.4 that does not depend on a particular client. It reads the
//! text itself and shares nothing with what wrote it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::sdp::{Part, Sdp};

/// Who offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offerer {
    Publisher,
    Viewer,
}

/// FFmpeg's buffer.
const LONGEST: usize = 8191;

/// What an answer may say at all, by attribute. A new word is a decision to be made here.
const WORDS: [&str; 23] = [
    "group",
    "ice-lite",
    "ice-options",
    "ice-ufrag",
    "ice-pwd",
    "fingerprint",
    "setup",
    "mid",
    "rtcp-mux",
    "rtcp-mux-only",
    "rtcp-rsize",
    "recvonly",
    "sendonly",
    "inactive",
    "extmap",
    "rtpmap",
    "rtcp-fb",
    "fmtp",
    "msid",
    "ssrc",
    "ssrc-group",
    "candidate",
    "end-of-candidates",
];
/// And these to a publisher with layers.
const LAYER_WORDS: [&str; 2] = ["rid", "simulcast"];

/// What is forwarded, as offers call it.
const CODECS: [&str; 9] = [
    "opus/48000/2",
    "pcmu/8000",
    "pcma/8000",
    "g722/8000",
    "h264/90000",
    "h265/90000",
    "vp8/90000",
    "vp9/90000",
    "av1/90000",
];

/// Panics unless `answer` is one that every real client takes for `offer`.
#[track_caller]
pub(crate) fn check(offerer: Offerer, offer: &str, answer: &str) {
    check_text(answer);
    let (offered, answered) = (Sdp::parse(offer), Sdp::parse(answer));
    check_session(&answered.session);
    assert_eq!(answered.sections.len(), offered.sections.len(), "one section for each of the offer's:\n{answer}");
    for (offered_part, part) in offered.sections.iter().zip(&answered.sections) {
        check_words(part, offerer);
        assert_eq!((part.kind(), part.profile()), (offered_part.kind(), offered_part.profile()), "{answer}");
        assert_eq!(part.all("mid"), offered_part.all("mid"), "{answer}");
        check_transport(&offered, offered_part, part, &answered.sections[0]);
        if part.port() == 0 {
            check_refused(offered_part, part);
        } else {
            check_accepted(offerer, &offered, offered_part, part);
        }
    }
    check_bundle(&offered, &answered);
    check_candidates(&answered);
    check_sources(offerer, &answered);
}

#[track_caller]
fn check_text(answer: &str) {
    assert!(answer.starts_with("v=0\r\no=- "), "FFmpeg wants v= at byte 0: {answer:.40?}");
    assert!(answer.len() <= LONGEST, "{} bytes are more than FFmpeg reads", answer.len());
    assert!(answer.is_ascii() && answer.ends_with("\r\n"), "{answer:?}");
    let bare = answer.replace("\r\n", "");
    assert!(!bare.contains(['\r', '\n']), "OBS looks for CRLF: {answer:?}");
    assert!(!answer.contains("\r\n\r\n"), "no blank lines: {answer:?}");
    for line in answer.lines() {
        assert!(line.len() > 2 && line.as_bytes()[1] == b'=' && line.trim() == line, "{line:?}");
    }
}

#[track_caller]
fn check_session(session: &Part<'_>) {
    let [version, origin, name, time, attributes @ ..] = &session.lines[..] else { panic!("{session:?}") };
    assert_eq!((*version, *name, *time), ("v=0", "s=-", "t=0 0"));
    let origin: Vec<&str> = origin.split(' ').collect();
    let ["o=-", id, version, "IN", "IP4" | "IP6", _] = origin[..] else { panic!("{origin:?}") };
    assert!(id.parse::<u64>().expect("a number") < 1 << 63 && version.parse::<u64>().is_ok(), "{origin:?}");
    assert!(attributes.iter().all(|line| line.starts_with("a=")), "{attributes:?}");
    assert_eq!(session.one("ice-lite"), "");
    for line in attributes {
        let word = line[2..].split(':').next().unwrap_or_default();
        assert!(["group", "ice-lite", "ice-options"].contains(&word), "{line} in the session part");
    }
}

#[track_caller]
fn check_words(part: &Part<'_>, offerer: Offerer) {
    for line in &part.lines[1..] {
        if line.starts_with("c=") {
            continue;
        }
        let attribute = line.strip_prefix("a=").unwrap_or_else(|| panic!("{line} in a section"));
        let word = attribute.split(':').next().unwrap_or_default();
        let known = WORDS.contains(&word) || (offerer == Offerer::Publisher && LAYER_WORDS.contains(&word));
        assert!(known && !["group", "ice-lite"].contains(&word), "{line} in a section");
    }
    let connections: Vec<_> = part.lines.iter().filter(|line| line.starts_with("c=")).collect();
    assert_eq!(connections, [&"c=IN IP4 0.0.0.0"], "{part:?}");
    assert_eq!(part.lines[1], "c=IN IP4 0.0.0.0", "RFC 8866 5: c= before a=");
}

/// What every section has, refused ones too: GStreamer and aiortc want it so.
#[track_caller]
fn check_transport(offered: &Sdp<'_>, offered_part: &Part<'_>, part: &Part<'_>, first: &Part<'_>) {
    let (ufrag, pwd) = (part.one("ice-ufrag"), part.one("ice-pwd"));
    assert!((4..=32).contains(&ufrag.len()) && (22..=64).contains(&pwd.len()), "{part:?}");
    let is_ice_char = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    assert!(ufrag.bytes().chain(pwd.bytes()).all(is_ice_char), "GStreamer refuses {ufrag} or {pwd}");
    let hash = part.one("fingerprint").strip_prefix("sha-256 ").expect("sha-256");
    assert!(hash.len() == 95 && hash.split(':').all(|pair| pair.len() == 2), "{hash}");
    assert!(hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F' | b':')), "{hash}");
    // The transport is one, so it is described in the same words everywhere.
    for name in ["ice-ufrag", "ice-pwd", "fingerprint", "setup"] {
        assert_eq!(part.one(name), first.one(name));
    }
    if offered_part.port() != 0 && offered_part.kind() != "application" {
        let setup = offered.inherited(offered_part, "setup");
        let expected = if setup == ["passive"] { "active" } else { "passive" };
        assert_eq!(part.one("setup"), expected, "for {setup:?}");
    }
    assert_eq!(part.one("rtcp-mux"), "");
}

#[track_caller]
fn check_refused(offered: &Part<'_>, part: &Part<'_>) {
    let formats = part.formats();
    assert!(formats.len() == 1 && offered.formats().contains(&formats[0]), "{part:?}");
    assert_eq!(part.one("inactive"), "");
    // protocol.md 5.3 has no rtpmap here. aiortc refuses the answer unless it knows a codec of every section, and then
    // waits for the candidates of this one, which must therefore be said to have ended.
    let known = |format: &&str| offered.codec(format).is_some_and(|codec| CODECS.contains(&&*codec));
    match offered.formats().into_iter().find(known) {
        Some(format) => assert_eq!((formats[0], part.codec(format)), (format, offered.codec(format)), "{part:?}"),
        None => assert!(!part.has("rtpmap"), "{part:?}"),
    }
    assert!(part.has("end-of-candidates"), "{part:?}");
    for never in ["fmtp", "rtcp-fb", "extmap", "ssrc", "ssrc-group", "msid", "candidate", "rid", "simulcast"] {
        assert!(!part.has(never), "{never} in a refused section: {part:?}");
    }
    assert!(!part.has("recvonly") && !part.has("sendonly"), "{part:?}");
}

#[track_caller]
fn check_accepted(offerer: Offerer, offered: &Sdp<'_>, offered_part: &Part<'_>, part: &Part<'_>) {
    assert_eq!(part.port(), 9);
    let (direction, other) = match offerer {
        Offerer::Publisher => ("recvonly", "sendonly"),
        Offerer::Viewer => ("sendonly", "recvonly"),
    };
    assert!(part.one(direction).is_empty() && !part.has(other) && !part.has("inactive"), "{part:?}");
    assert_eq!(part.one("rtcp-mux-only"), "");
    assert!(!part.has("rtcp-rsize") || offered_part.has("rtcp-rsize"), "{part:?}");
    check_formats(offerer, offered_part, part);
    check_feedback(offerer, offered_part, part);
    check_extensions(offered, offered_part, part);
    check_layers(offerer, offered_part, part);
}

/// Codecs and the RTX of each, under the offer's numbers: one for a publisher; for a viewer all that may follow each other
/// on one SSRC, which has one clock rate (RFC 7160 4.1).
#[track_caller]
fn check_formats(offerer: Offerer, offered: &Part<'_>, part: &Part<'_>) {
    let formats = part.formats();
    let mut codecs = Vec::new();
    for format in &formats {
        let number: u8 = format.parse().expect("a payload type");
        assert!(offered.formats().contains(format) && !(64..96).contains(&number), "{format} was not offered");
        let [_] = part.of_format("rtpmap", format)[..] else { panic!("one rtpmap for {format}: {part:?}") };
        let codec = part.codec(format).expect("an rtpmap");
        assert_eq!(Some(&codec), offered.codec(format).as_ref(), "{format} is another codec: {part:?}");
        if codec.starts_with("rtx/") {
            let apt = part.of_format("fmtp", format);
            assert!(formats.iter().any(|main| apt == [format!("apt={main}")]), "RTX of nothing: {part:?}");
            assert_eq!(apt, offered.of_format("fmtp", format), "RTX of something else: {part:?}");
        } else {
            codecs.push(codec);
        }
    }
    let enough = if offerer == Offerer::Publisher { codecs.len() == 1 } else { !codecs.is_empty() };
    assert!(enough, "one codec a section, or all of them for a viewer: {part:?}");
    let rates: BTreeSet<_> = codecs.iter().map(|codec| codec.split('/').nth(1)).collect();
    assert_eq!(rates.len(), 1, "one clock rate a section: {part:?}");
    for never in ["red/", "ulpfec/", "flexfec", "telephone-event/", "cn/"] {
        assert!(codecs.iter().all(|codec| !codec.starts_with(never)), "{never}: {part:?}");
    }
    for name in ["rtpmap", "fmtp", "rtcp-fb"] {
        let of = |value: &&str| value.split(' ').next().is_some_and(|format| formats.contains(&format));
        assert!(part.all(name).iter().all(of), "{name} of a format that is not there: {part:?}");
    }
}

#[track_caller]
fn check_feedback(offerer: Offerer, offered: &Part<'_>, part: &Part<'_>) {
    let mut seen = BTreeSet::new();
    for value in part.all("rtcp-fb") {
        let (format, feedback) = value.split_once(' ').expect("a format");
        let known = match offerer {
            Offerer::Publisher => ["nack", "nack pli", "ccm fir", "transport-cc"].contains(&feedback),
            // Nothing towards a viewer is paced by transport-wide numbers.
            Offerer::Viewer => ["nack", "nack pli", "ccm fir"].contains(&feedback),
        };
        assert!(known && seen.insert(value), "{value}");
        let is_offered = offered.of_format("rtcp-fb", format).contains(&feedback)
            || offered.of_format("rtcp-fb", "*").contains(&feedback);
        assert!(is_offered, "{value} was not offered");
    }
}

#[track_caller]
fn check_extensions(offered: &Sdp<'_>, offered_part: &Part<'_>, part: &Part<'_>) {
    let reversed = |direction: &str| match direction {
        "sendonly" => "recvonly".to_owned(),
        "recvonly" => "sendonly".to_owned(),
        other => other.to_owned(),
    };
    let parse = |value: &str| -> (String, String, String) {
        let mut words = value.split(' ');
        let (id, uri) = (words.next().expect("an ID"), words.next().expect("a URI"));
        let (id, direction) = id.split_once('/').unwrap_or((id, ""));
        (id.to_owned(), direction.to_owned(), uri.to_owned())
    };
    let all = offered_part.all("extmap").into_iter().chain(offered.session.all("extmap"));
    let theirs: Vec<_> = all.map(parse).collect();
    let mut seen = BTreeSet::new();
    for value in part.all("extmap") {
        let (id, direction, uri) = parse(value);
        assert!((1..=14).contains(&id.parse::<u8>().expect("an ID")) && seen.insert(id.clone()), "{value}");
        let agrees = |(other_id, other_direction, other_uri): &(String, String, String)| {
            (other_id, other_uri) == (&id, &uri) && reversed(other_direction) == direction
        };
        assert!(theirs.iter().any(agrees), "{value} was not offered so");
    }
}

/// RFC 8853: all layers or none; OBS gives up on fewer than it offered.
#[track_caller]
fn check_layers(offerer: Offerer, offered: &Part<'_>, part: &Part<'_>) {
    let send = |value: &&str| value.strip_prefix("send ").map(str::to_owned);
    let layers = offered.all("simulcast").iter().find_map(send).filter(|_| offerer == Offerer::Publisher);
    let Some(layers) = layers else {
        assert!(!part.has("simulcast") && !part.has("rid"), "{part:?}");
        return;
    };
    assert_eq!(part.one("simulcast"), format!("recv {layers}"));
    let rids: Vec<String> = layers.split(';').map(|layer| format!("{layer} recv")).collect();
    assert_eq!(part.all("rid"), rids);
}

#[track_caller]
fn check_bundle(offered: &Sdp<'_>, answered: &Sdp<'_>) {
    let mids = |part: &Part<'_>| part.all("mid").first().map(|mid| (*mid).to_owned());
    let accepted: Vec<String> = answered.sections.iter().filter(|part| part.port() != 0).filter_map(mids).collect();
    assert!(answered.sections.iter().any(|part| part.port() != 0), "nothing was accepted: {answered:?}");
    let offered = offered.bundle();
    let expected: Vec<&str> = offered.into_iter().filter(|mid| accepted.iter().any(|other| other == mid)).collect();
    assert_eq!(answered.bundle(), expected, "the accepted mids in the group's order");
}

#[track_caller]
fn check_candidates(answered: &Sdp<'_>) {
    let first = answered.sections.iter().find(|part| part.port() != 0).expect("an accepted section");
    assert!(first.has("candidate"), "clients look in the first accepted section: {first:?}");
    for part in answered.sections.iter().filter(|part| part.has("candidate")) {
        assert_eq!(part.all("candidate"), first.all("candidate"), "the same wherever they are repeated");
        assert_eq!(part.lines.last(), Some(&"a=end-of-candidates"), "what comes after would not count");
    }
    check_candidate_lines(&first.all("candidate"));
}

#[track_caller]
fn check_candidate_lines(candidates: &[&str]) {
    let mut order = Vec::new();
    let mut priorities = Vec::new();
    for candidate in candidates {
        let words: Vec<&str> = candidate.split(' ').collect();
        let [foundation, "1", transport, priority, address, port, "typ", "host", rest @ ..] = &words[..] else {
            panic!("{candidate}")
        };
        assert!(!foundation.to_ascii_lowercase().contains("udp"), "FFmpeg misreads {candidate}");
        assert!((1..=32).contains(&foundation.len()), "{candidate}");
        let is_tcp = match (*transport, rest) {
            ("udp", []) => false,
            ("tcp", ["tcptype", "passive"]) => true,
            _ => panic!("{candidate}"),
        };
        let address: IpAddr = address.parse().expect("a numeric address, no .local");
        assert!(port.parse::<u16>().is_ok_and(|port| port != 0), "{candidate}");
        order.push((is_tcp, address.is_ipv6()));
        priorities.push(priority.parse::<u32>().expect("a priority"));
    }
    assert!(order.iter().any(|(is_tcp, _)| !is_tcp), "FFmpeg and OBS know nothing but UDP: {candidates:?}");
    assert!(order.is_sorted(), "UDP before TCP, IPv4 before IPv6: FFmpeg tries the first only: {candidates:?}");
    assert!(priorities.windows(2).all(|pair| pair[0] > pair[1]), "the most reachable first: {candidates:?}");
}

#[track_caller]
fn check_sources(offerer: Offerer, answered: &Sdp<'_>) {
    let (mut ssrcs, mut names, mut streams, mut tracks) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for part in answered.sections.iter().filter(|part| part.port() != 0) {
        if offerer == Offerer::Publisher {
            assert!(!part.has("ssrc") && !part.has("ssrc-group") && !part.has("msid"), "nothing is sent: {part:?}");
            continue;
        }
        let (stream, track) = part.one("msid").split_once(' ').expect("a stream and a track");
        streams.insert(stream);
        assert!(tracks.insert(track), "a track twice: {track}");
        let mut own = Vec::new();
        for line in part.all("ssrc") {
            let (ssrc, name) = line.split_once(" cname:").unwrap_or_else(|| panic!("{line}"));
            assert!(ssrc.parse::<u32>().is_ok_and(|ssrc| ssrc != 0) && ssrcs.insert(ssrc), "{line}");
            names.insert(name);
            own.push(ssrc);
        }
        // The media's SSRC, and that of RTX exactly where RTX was agreed on; Chrome wants a line for each in the group.
        let is_rtx = |format: &&str| part.codec(format).is_some_and(|codec| codec.starts_with("rtx/"));
        if part.formats().iter().any(is_rtx) {
            assert_eq!(own.len(), 2, "{part:?}");
            assert_eq!(part.one("ssrc-group"), format!("FID {}", own.join(" ")));
        } else {
            assert!(own.len() == 1 && !part.has("ssrc-group"), "{part:?}");
        }
    }
    if offerer == Offerer::Viewer {
        assert_eq!((streams.len(), names.len()), (1, 1), "one stream and one clock: {streams:?} {names:?}");
    }
}
