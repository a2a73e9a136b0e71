//! Writing an answer: every rule that holds for all of them in one check, which every other test uses too, and the
//! particular ones as text.

use sdp_types::{ExtMap, Fingerprint, Group, HashFunc, Media, RtcpFb, RtcpFbPt, RtpMap, Session, Ssrc, SsrcGroup};
use str0m::change::SdpAnswer;

use super::*;

fn values<'a>(media: &'a Media, name: &'a str) -> Vec<&'a str> {
    media.get_attribute_values(name).map(Option::unwrap_or_default).collect()
}

fn one<'a>(media: &'a Media, name: &'a str) -> &'a str {
    let [value] = values(media, name)[..] else { panic!("not exactly one a={name}: {media:?}") };
    value
}

/// Checks `answer` against every rule that does not depend on what was agreed (RFC 3264 6, RFC 9143 7.3, RFC 9725 4.4).
pub(super) fn check(offer: &str, answer: &str, direction: &str) {
    assert!(answer.len() <= 8191, "{} bytes do not fit FFmpeg's buffer", answer.len());
    assert!(answer.starts_with("v=0\r\no=- ") && answer.contains("\r\ns=-\r\nt=0 0\r\n"), "{answer}");
    assert!(answer.lines().count() == answer.matches("\r\n").count() && answer.ends_with("\r\n"), "CRLF: {answer}");
    for never in ["sendrecv", "actpass", "bundle-only", "goog-remb", "extmap-allow-mixed", " red/", "127.0.0.1"] {
        assert!(!answer.contains(never), "{never}: {answer}");
    }
    let (offered, answered) = (Session::parse(offer.as_bytes()).expect("an offer"), parse(answer));
    assert!(answered.origin.sess_id.parse::<u64>().expect("a number") < 1 << 63);
    assert!(answered.has_attribute("ice-lite"), "{answer}");
    assert_eq!(answered.medias.len(), offered.medias.len(), "{answer}");
    for (offered, answered) in offered.medias.iter().zip(&answered.medias) {
        check_section(offered, answered);
        if answered.port == 0 { check_refused(offered, answered) } else { check_accepted(offered, answered, direction) }
    }
    check_group(&offered, &answered);
    check_candidates(&answered);
    check_sources(&answered);
    check_with_another_parser(answer);
}

fn parse(answer: &str) -> Session {
    Session::parse(answer.as_bytes()).expect("what is written parses back")
}

fn check_section(offered: &Media, answered: &Media) {
    assert_eq!((&offered.media, &offered.proto), (&answered.media, &answered.proto));
    assert_eq!(values(offered, "mid"), values(answered, "mid"));
    let ours = our_credentials();
    assert_eq!((one(answered, "ice-ufrag"), one(answered, "ice-pwd")), (&*ours.ufrag, &*ours.pwd));
    assert!(["active", "passive"].contains(&one(answered, "setup")));
    assert_eq!(one(answered, "rtcp-mux"), "");
    let fingerprint: Fingerprint = one(answered, "fingerprint").parse().expect("a fingerprint");
    assert_eq!(fingerprint, Fingerprint::with_fingerprint(HashFunc::Sha256, [0xAB; 32]));
    assert_eq!(one(answered, "fingerprint")[..13], *"sha-256 AB:AB");
    assert_eq!(answered.connections.len(), 1);
}

fn check_refused(offered: &Media, answered: &Media) {
    assert!(answered.has_attribute("inactive"), "{answered:?}");
    assert!(offered.fmt.split(' ').any(|format| format == answered.fmt), "one of the offer's: {answered:?}");
    // aiortc refuses an answer with a section of which it knows no codec, be it refused.
    let maps: Vec<RtpMap> = offered.attributes_typed().filter_map(Result::ok).collect();
    let known = maps.iter().any(|map| Codec::from_name(&map.encoding_name).is_some());
    assert_eq!(values(answered, "rtpmap").len(), usize::from(known), "{answered:?}");
    for never in ["fmtp", "rtcp-fb", "extmap", "ssrc", "candidate", "rtcp-mux-only"] {
        assert!(!answered.has_attribute(never), "{never}: {answered:?}");
    }
}

fn check_accepted(offered: &Media, answered: &Media, direction: &str) {
    assert_eq!(answered.port, 9);
    assert!(answered.has_attribute(direction) && answered.has_attribute("rtcp-mux-only"), "{answered:?}");
    assert!(!answered.has_attribute("rtcp-rsize") || offered.has_attribute("rtcp-rsize"), "{answered:?}");
    let maps = |media: &Media| -> Vec<RtpMap> { media.attributes_typed().filter_map(Result::ok).collect() };
    let name = |map: &RtpMap| map.encoding_name.to_lowercase();
    for pt in answered.fmt.split(' ') {
        assert!(offered.fmt.split(' ').any(|other| other == pt), "{pt} was not offered");
        let answered = maps(answered).into_iter().find(|map| map.payload_type.to_string() == pt).expect("an rtpmap");
        let offered = maps(offered).into_iter().find(|map| map.payload_type.to_string() == pt);
        assert!(offered.is_none_or(|offered| name(&offered) == name(&answered)), "{pt} has another codec");
    }
    assert_eq!(maps(answered).len(), answered.fmt.split(' ').count());
    let feedback: Vec<RtcpFb> = offered.attributes_typed().filter_map(Result::ok).collect();
    for agreed in answered.attributes_typed::<RtcpFb>().map(|line| line.expect("well-formed")) {
        let is_agreed =
            |line: &RtcpFb| line.val == agreed.val && (line.pt == agreed.pt || line.pt == RtcpFbPt::Wildcard);
        assert!(feedback.iter().any(is_agreed), "{agreed} was not offered");
        assert!(direction == "recvonly" || !agreed.val.is_transport_cc(), "transport-cc towards a viewer");
    }
    let extensions: Vec<ExtMap> = offered.attributes_typed().filter_map(Result::ok).collect();
    for agreed in answered.attributes_typed::<ExtMap>().map(|line| line.expect("well-formed")) {
        let of_session = |line: &&ExtMap| line.id == agreed.id && line.uri == agreed.uri;
        let offered = extensions.iter().find(of_session).map(|offered| offered.direction.map(|d| d.reverse()));
        assert!(offered.is_none_or(|direction| direction == agreed.direction), "{agreed} was offered otherwise");
    }
}

fn check_group(offered: &Session, answered: &Session) {
    let group = |session: &Session| -> Option<Group> {
        session.attributes_typed::<Group>().filter_map(Result::ok).find(|group| group.semantics.as_str() == "BUNDLE")
    };
    let accepted: Vec<&str> =
        answered.medias.iter().filter(|media| media.port != 0).flat_map(|media| values(media, "mid")).collect();
    let offered = group(offered).map(|group| group.mid_tags).unwrap_or_default();
    let expected: Vec<String> = offered.into_iter().filter(|mid| accepted.contains(&mid.as_str())).collect();
    assert_eq!(group(answered).map(|group| group.mid_tags).unwrap_or_default(), expected);
}

fn check_candidates(answered: &Session) {
    let first = answered.medias.iter().position(|media| media.port != 0).expect("an accepted section");
    let group = answered.get_first_attribute_value("group").flatten().and_then(|group| group.split(' ').nth(1));
    for (index, media) in answered.medias.iter().enumerate() {
        let candidates = values(media, "candidate");
        let is_tagged = group.is_some_and(|mid| values(media, "mid") == [mid]);
        let has_place = index == first || is_tagged;
        // A refused section has none and says so: aiortc waits for them otherwise.
        assert_eq!(media.has_attribute("end-of-candidates"), has_place || media.port == 0);
        assert!(candidates.is_empty() || has_place);
        for candidate in &candidates {
            let (foundation, rest) = candidate.split_once(' ').expect("words");
            let udp = rest.starts_with("1 udp ") && rest.ends_with(" typ host");
            let tcp = rest.starts_with("1 tcp ") && rest.ends_with(" typ host tcptype passive");
            assert!(!foundation.contains("udp") && (udp || tcp), "{candidate}");
        }
        assert!(candidates.is_sorted_by_key(|candidate| candidate.contains(" tcp ")), "{candidates:?}");
        // The end comes last, or what follows it would not count.
        let last = media.attributes.last().expect("attributes");
        assert!(!has_place || last.attribute == "end-of-candidates", "{last:?}");
    }
}

fn check_sources(answered: &Session) {
    let mut all: Vec<u32> = Vec::new();
    for media in &answered.medias {
        let lines: Vec<Ssrc> = media.attributes_typed().map(|line| line.expect("well-formed")).collect();
        for group in media.attributes_typed::<SsrcGroup>().map(|line| line.expect("well-formed")) {
            assert!(
                group.ssrc_ids.iter().all(|ssrc| lines.iter().any(|line| line.ssrc_id == *ssrc)),
                "Chrome refuses {group}"
            );
        }
        all.extend(lines.iter().map(|line| line.ssrc_id));
    }
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count, "an SSRC stands in two lines");
}

/// str0m knows one profile, wants a mid, BUNDLE in order, and a codec for what is refused; the rest is as written.
fn check_with_another_parser(answer: &str) {
    let mut session = parse(answer);
    if session.medias.iter().any(|media| !media.has_attribute("mid")) || !session.has_attribute("group") {
        return;
    }
    let accepted: Vec<&str> =
        session.medias.iter().filter(|media| media.port != 0).map(|media| one(media, "mid")).collect();
    let group = format!("BUNDLE {}", accepted.join(" "));
    if session.get_first_attribute_value("group") != Some(Some(&group)) {
        return;
    }
    for media in session.medias.iter_mut().filter(|media| media.media != "application") {
        media.proto = "UDP/TLS/RTP/SAVPF".to_owned();
        if media.port == 0 && !media.has_attribute("rtpmap") {
            media.fmt = "0".to_owned();
        }
    }
    SdpAnswer::from_sdp_string(&session.to_string()).unwrap_or_else(|error| panic!("str0m: {error}\n{answer}"));
}

const AUDIO_TRANSPORT: &str = "a=ice-ufrag:OurUfrag12345678\r
a=ice-pwd:OurPasswordOurPasswordOurPasswor\r
a=fingerprint:sha-256 AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB\r
a=setup:passive\r
";

#[test]
fn the_answer_to_a_publisher_reads_like_this() {
    let answer = publish(PUBLISHER);
    let expected = format!(
        "v=0\r
o=- 9223372036854775807 2 IN IP4 0.0.0.0\r
s=-\r
t=0 0\r
a=group:BUNDLE a v\r
a=ice-lite\r
a=ice-options:trickle\r
m=audio 9 UDP/TLS/RTP/SAVPF 111\r
c=IN IP4 0.0.0.0\r
{AUDIO_TRANSPORT}a=mid:a\r
a=rtcp-mux\r
a=recvonly\r
a=rtcp-mux-only\r
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r
a=rtpmap:111 opus/48000/2\r
a=fmtp:111 minptime=10;useinbandfec=1\r
a=candidate:1 1 udp 2130706431 203.0.113.5 8189 typ host\r
a=candidate:2 1 udp 2130706175 192.0.2.5 8189 typ host\r
a=candidate:3 1 udp 2130705919 2001:db8::5 8189 typ host\r
a=candidate:4 1 tcp 1520435199 203.0.113.5 8189 typ host tcptype passive\r
a=candidate:5 1 tcp 1520434943 192.0.2.5 8189 typ host tcptype passive\r
a=candidate:6 1 tcp 1520434687 2001:db8::5 8189 typ host tcptype passive\r
a=end-of-candidates\r
m=video 9 UDP/TLS/RTP/SAVPF 96 97\r
c=IN IP4 0.0.0.0\r
{AUDIO_TRANSPORT}a=mid:v\r
a=rtcp-mux\r
a=recvonly\r
a=rtcp-mux-only\r
a=rtcp-rsize\r
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r
a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r
a=rtpmap:96 H264/90000\r
a=rtcp-fb:96 nack\r
a=rtcp-fb:96 nack pli\r
a=rtcp-fb:96 transport-cc\r
a=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r
a=rtpmap:97 rtx/90000\r
a=fmtp:97 apt=96\r
"
    );
    assert_eq!(answer, expected);
    check(PUBLISHER, &answer, "recvonly");
}

#[test]
fn the_answer_to_a_viewer_names_one_stream_and_every_ssrc() {
    let (offer, tracks) = (viewer_offer(), tracks());
    let answer = watch(&offer, &tracks);
    check(&offer, &answer, "sendonly");
    assert!(answer.contains("a=msid:stream audio\r\na=ssrc:2001 cname:cname\r\n"), "{answer}");
    let video =
        "a=msid:stream video\r\na=ssrc-group:FID 2002 2003\r\na=ssrc:2002 cname:cname\r\na=ssrc:2003 cname:cname\r\n";
    assert!(answer.ends_with(video), "{answer}");
    assert!(
        answer.contains("a=extmap:13 urn:3gpp:video-orientation\r\n") && !answer.contains("transport-wide"),
        "{answer}"
    );
    // Without RTX there is no group and no second SSRC.
    let without_rtx = watch(&changed(&offer, &[("a=fmtp:97 apt=96\r\n", "")]), &tracks);
    assert!(!without_rtx.contains("FID") && !without_rtx.contains("2003"), "{without_rtx}");
}

#[test]
fn refused_sections_stay_in_their_place_complete_and_outside_of_the_group() {
    let tracks = Tracks { audio: None, ..tracks() };
    let data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\na=sctp-port:5000\r\n";
    let offer = changed(&viewer_offer(), &[("BUNDLE a v", "BUNDLE a v d")]) + data;
    let answer = watch(&offer, &tracks);
    check(&offer, &answer, "sendonly");
    assert!(answer.contains("a=group:BUNDLE v\r\n"), "the next one becomes the tagged section: {answer}");
    assert!(answer.contains("m=audio 0 UDP/TLS/RTP/SAVPF 111\r\n"), "{answer}");
    assert!(answer.contains("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"), "{answer}");
    let published = changed(PUBLISHER, &[("BUNDLE a v", "BUNDLE a v d")]) + data;
    check(&published, &publish(&published), "recvonly");
}

#[test]
fn a_section_the_offerer_disabled_is_answered_with_port_0() {
    let offer = changed(PUBLISHER, &[("m=audio 9", "m=audio 0"), ("BUNDLE a v", "BUNDLE v")]);
    let answer = publish(&offer);
    check(&offer, &answer, "recvonly");
    assert!(answer.contains("m=audio 0 ") && answer.contains("m=video 9 "), "{answer}");
}

#[test]
fn a_bundle_only_section_is_answered_with_a_port() {
    let offer = changed(PUBLISHER, &[("m=video 9", "m=video 0"), ("a=mid:v", "a=bundle-only\r\na=mid:v")]);
    let answer = publish(&offer);
    check(&offer, &answer, "recvonly");
    assert!(answer.contains("m=video 9 "), "{answer}");
}

#[test]
fn the_group_is_answered_in_its_own_order_and_only_if_offered() {
    let swapped = changed(PUBLISHER, &[("BUNDLE a v", "BUNDLE v a")]);
    let answer = publish(&swapped);
    check(&swapped, &answer, "recvonly");
    assert!(answer.contains("a=group:BUNDLE v a\r\n"), "{answer}");
    assert_eq!(
        answer.matches("a=end-of-candidates").count(),
        2,
        "in the first section and in the tagged one: {answer}"
    );
    let (head, rest) = PUBLISHER.split_once("m=audio").expect("an audio section");
    let (_, video) = rest.split_once("m=video").expect("a video section");
    let alone = changed(&format!("{head}m=video{video}"), &[("a=group:BUNDLE a v\r\n", ""), ("a=mid:v\r\n", "")]);
    let answer = publish(&alone);
    check(&alone, &answer, "recvonly");
    assert!(!answer.contains("a=group") && !answer.contains("a=mid"), "{answer}");
}

#[test]
fn fir_is_answered_to_a_publisher_only_without_pli_and_to_viewers_always() {
    let fir = "a=rtcp-fb:96 ccm fir\r\n";
    assert!(!publish(PUBLISHER).contains(fir));
    assert!(publish(&changed(PUBLISHER, &[("a=rtcp-fb:96 nack pli\r\n", "")])).contains(fir));
    assert!(watch(&viewer_offer(), &tracks()).contains(fir));
}

#[test]
fn extension_directions_are_turned_round() {
    let offer = changed(PUBLISHER, &[("a=extmap:3 ", "a=extmap:3/sendonly ")]);
    let answer = publish(&offer);
    check(&offer, &answer, "recvonly");
    assert!(answer.contains("a=extmap:3/recvonly http://www.ietf.org"), "{answer}");
}

#[test]
fn all_candidates_stay_unless_the_answer_would_not_fit() {
    let many: Vec<SocketAddr> = (0..200).map(|port| SocketAddr::from(([192, 0, 2, 1], 10_000 + port))).collect();
    let offer = Offer::parse(PUBLISHER).expect("an offer");
    let plan = plan_publisher(&offer).expect("a publisher");
    let answer = with_local(|local| answer_publisher(&offer, &plan, &Local { candidates: &many, ..*local }));
    check(PUBLISHER, &answer, "recvonly");
    assert!(answer.len() > 8100 && answer.contains(" 10000 typ host\r\n"), "the least preferred ones go first");
    let none = with_local(|local| answer_publisher(&offer, &plan, &Local { candidates: &[], ..*local }));
    check(PUBLISHER, &none, "recvonly");
}

#[test]
fn the_longest_possible_offer_is_answered_in_8191_bytes() {
    let mut offer = changed(
        PUBLISHER,
        &[
            ("mid:a", "mid:aaaaaaaaaaaaaaaa"),
            ("mid:v", "mid:vvvvvvvvvvvvvvvv"),
            ("BUNDLE a v", "BUNDLE aaaaaaaaaaaaaaaa vvvvvvvvvvvvvvvv"),
        ],
    );
    // Disabled ones keep a codec, which makes them longer than those nobody knows.
    for index in 0..14 {
        offer += &format!("m=audio 0 {0} 111\r\na=rtpmap:111 opus/48000/2\r\n", "x".repeat(24));
        offer += &format!("a=mid:{}\r\n", 1_000_000_000_000_000_u64 + index);
    }
    let answer = publish(&offer);
    check(&offer, &answer, "recvonly");
    assert_eq!(answer.matches("a=rtpmap:111 opus/48000/2\r\n").count(), 15);
}
