use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::Codec;

/// What FFmpeg 5.1 writes with -sdp_file for two outputs.
const FFMPEG: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=No Name\r\nt=0 0\r\na=tool:libavformat LIBAVFORMAT_VERSION\r\n\
    m=video 5004 RTP/AVP 96\r\nc=IN IP4 127.0.0.1\r\nb=AS:800\r\na=rtpmap:96 H264/90000\r\n\
    a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAA8DxYuS,aMuMsg==; profile-level-id=42C01E\r\n\
    m=audio 5006 RTP/AVP 97\r\nc=IN IP4 127.0.0.1\r\nb=AS:64\r\na=rtpmap:97 opus/48000/2\r\na=fmtp:97 sprop-stereo=1\r\n";

fn offer(sections: &str) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n{sections}")
}

fn answered(sections: &str) -> String {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let header = Header { name: "cam", id: 7, version: 1, origin: address, connection: address, rtsp: false };
    let offer = Offer::read(&offer(sections)).expect("it can be taken").expect("it is plain");
    let answer = offer.answer(&header, |kind| if kind == Kind::Video { 10_000 } else { 10_002 });
    let head = "v=0\r\no=- 7 1 IN IP4 127.0.0.1\r\ns=cam\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n";
    answer.strip_prefix(head).unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[test]
fn ffmpeg_s_offer_is_answered_with_our_ports_and_its_payload_types() {
    let offer = Offer::read(FFMPEG).unwrap().unwrap();
    let taken: Vec<_> = offer.sections().map(|section| (section.codec, section.pt)).collect();
    assert_eq!(taken, [(Codec::H264, 96), (Codec::Opus, 97)]);
    assert_eq!(Kind::ALL.map(|kind| offer.rtcp_port(kind)), [None, None]);
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let header = Header { name: "cam", id: 7, version: 1, origin: address, connection: address, rtsp: false };
    let answer = offer.answer(&header, |kind| if kind == Kind::Video { 10_000 } else { 10_002 });
    let expected = "v=0\r\no=- 7 1 IN IP4 192.0.2.1\r\ns=cam\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=video 10000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
        a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAA8DxYuS,aMuMsg==; profile-level-id=42C01E\r\n\
        a=rtcp:10001\r\na=recvonly\r\n\
        m=audio 10002 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\na=fmtp:97 sprop-stereo=1\r\na=rtcp:10003\r\na=recvonly\r\n";
    assert_eq!(answer, expected);
}

#[test]
fn the_answer_has_every_section_of_the_offer_in_its_place() {
    let sections = "m=audio 5006 RTP/AVP 0\r\na=recvonly\r\nm=application 5010 RTP/AVP 107\r\na=rtpmap:107 x/90000\r\n\
        m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n\
        m=video 5004 RTP/AVPF 98 99\r\na=rtpmap:98 rtx/90000\r\na=rtpmap:99 VP9/90000\r\na=rtcp-fb:* nack pli\r\na=sendonly\r\n";
    let expected = "m=audio 0 RTP/AVP 0\r\nm=application 0 RTP/AVP 107\r\nm=video 0 RTP/AVP 96\r\n\
        m=video 10000 RTP/AVPF 99\r\na=rtpmap:99 VP9/90000\r\na=rtcp-fb:99 nack pli\r\na=rtcp:10001\r\na=recvonly\r\n";
    assert_eq!(answered(sections), expected);
}

#[test]
fn feedback_that_was_not_offered_is_not_answered() {
    for feedback in ["", "a=rtcp-fb:96 nack\r\n", "a=rtcp-fb:97 nack pli\r\n", "a=rtcp-fb:96 ccm fir\r\n"] {
        let answer = answered(&format!("m=video 5004 RTP/AVPF 96\r\na=rtpmap:96 VP8/90000\r\n{feedback}"));
        assert!(!answer.contains("rtcp-fb"), "{feedback}: {answer}");
    }
}

#[test]
fn the_port_for_rtcp_is_the_one_that_was_named() {
    for (attribute, port) in
        [("a=rtcp:7000 IN IP4 192.0.2.1\r\n", Some(7000)), ("a=rtcp:0\r\n", None), ("a=rtcp:x\r\n", None)]
    {
        let text = offer(&format!("m=audio 5004 RTP/AVP 8\r\n{attribute}"));
        assert_eq!(Offer::read(&text).unwrap().unwrap().rtcp_port(Kind::Audio), port, "{attribute}");
    }
}

#[test]
fn an_offer_in_which_nobody_thought_of_ports_is_taken() {
    let answer = answered("m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\nm=audio 0 RTP/AVP 8\r\n");
    assert!(answer.contains("m=video 10000 ") && answer.contains("m=audio 10002 "), "{answer}");
}

#[test]
fn what_is_encrypted_or_no_sdp_is_for_others_to_judge() {
    let video = "m=video 9 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n";
    for text in [
        String::new(),
        "v=0\r\nm=".to_owned(),
        offer(""),
        offer("m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n"),
        offer(&format!("{video}m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n")),
        offer(&format!("{video}a=fingerprint:sha-256 AA:BB\r\n")),
        offer(&format!("a=ice-ufrag:abcd\r\n{video}")),
        offer(&format!("{video}a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n")),
        offer("m=video 9 TCP/RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n"),
        offer(&"m=audio 9 RTP/AVP 0\r\n".repeat(17)),
    ] {
        assert_eq!(Offer::read(&text), Ok(None), "{text}");
    }
}

#[test]
fn what_cannot_be_taken_is_told_with_what_would_help() {
    for (sections, words) in [
        ("m=video 5004 RTP/AVP 96\r\na=rtpmap:96 theora/90000\r\n", "theora, which cannot be taken; send one of H264"),
        ("m=audio 5004 RTP/AVP 0\r\nm=audio 5006 RTP/AVP 8\r\n", "two audio sections"),
        ("m=audio 5004 RTP/AVP 0\r\na=recvonly\r\n", "sends neither audio nor video"),
        ("a=inactive\r\nm=audio 5004 RTP/AVP 0\r\n", "sends neither audio nor video"),
    ] {
        let error = Offer::read(&offer(sections)).expect_err(sections);
        assert!(error.to_string().contains(words), "{sections}: {error}");
    }
    let directed = "a=inactive\r\nm=audio 5004 RTP/AVP 0\r\na=sendonly\r\n";
    assert!(Offer::read(&offer(directed)).unwrap().is_some(), "the section's own direction counts");
}
