use super::*;

/// What FFmpeg 7 announces of H.264 and AAC.
const FFMPEG: &str = include_str!("../../../tests/fixtures/announce.sdp");

fn sdp(sections: &str) -> String {
    format!("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nt=0 0\n{sections}")
}

/// Codec and payload type of a description of one section.
fn one(section: &str) -> Result<(Codec, u8), Error> {
    read(&sdp(section)).map(|sections| (sections[0].codec, sections[0].pt))
}

#[test]
fn ffmpeg_s_announcement() {
    let sections = read(FFMPEG).expect("it is fine");
    let [video, audio] = &sections[..] else { panic!("{sections:?}") };
    assert_eq!((video.codec, video.pt, video.control.as_deref()), (Codec::H264, 96, Some("streamid=0")));
    assert_eq!(crate::codec::h264::ParameterSets::from_format(&video.format).size(), Some((640, 360)));
    assert_eq!((audio.codec, audio.pt), (Codec::Aac { clock_rate: 44_100, channels: 1 }, 97));
    assert!(audio.format.ends_with("config=120856E500"), "{}", audio.format);
}

#[test]
fn the_first_payload_type_that_can_be_taken_is_meant() {
    for (section, expected) in [
        ("m=audio 0 RTP/AVP 0\n", (Codec::Pcmu, 0)),
        ("m=audio 5004 RTP/AVP 8 0\n", (Codec::Pcma, 8)),
        ("m=audio 0 RTP/AVP/TCP 97 9\na=rtpmap:97 L16/44100/2\n", (Codec::G722, 9)),
        ("m=audio 0 RTP/AVP 97\na=rtpmap:97 OPUS/48000/2\n", (Codec::Opus, 97)),
        ("m=video 0 RTP/AVPF 96 98\na=rtpmap:96 rtx/90000\na=rtpmap:98 vp8/90000\n", (Codec::Vp8, 98)),
        (
            "m=video 0 RTP/AVP 96 97\na=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=2\na=rtpmap:97 AV1/90000\n",
            (Codec::Av1, 97),
        ),
    ] {
        assert_eq!(one(section), Ok(expected), "{section}");
    }
}

#[test]
fn what_cannot_be_taken_is_told_with_what_would_help() {
    for (section, words) in [
        ("m=video 0 RTP/AVP 96\na=rtpmap:96 theora/90000\n", "theora, which cannot be taken; send one of H264"),
        ("m=audio 0 RTP/AVP 97\na=rtpmap:97 MPEG4-GENERIC/44100/2\n", "without mode=AAC-hbr and config="),
        ("m=audio 0 RTP/AVP 97\na=rtpmap:97 MPEG4-GENERIC/0/2\n", "MPEG4-GENERIC, which"),
        ("m=audio 0 RTP/AVP 97\na=rtpmap:97 PCMU/44100/2\n", "PCMU with 44100 Hz and 2 channels"),
        ("m=audio 0 RTP/AVP 96\n", "payload type 96 without a=rtpmap"),
        ("m=audio 0 RTP/AVP 200 x\n", "has no payload type"),
        // A number has one kind only.
        ("m=video 0 RTP/AVP 0\n", "send one of H264"),
    ] {
        let error = one(section).expect_err(section);
        assert!(matches!(&error, Error::Codec(text) if text.contains(words)), "{section}: {error}");
    }
    for (sections, words) in [
        ("", "has 0 sections"),
        (&"m=audio 0 RTP/AVP 0\n".repeat(17), "has 17 sections"),
        ("m=audio 0 RTP/AVP 0\nm=audio 0 RTP/AVP 8\n", "two audio sections"),
        ("m=application 0 RTP/AVP 98\n", "a section of application"),
        ("m=audio 0 RTP/SAVP 0\n", "announce RTP/AVP"),
        ("m=audio 9 UDP/TLS/RTP/SAVPF 111\n", "announce RTP/AVP"),
    ] {
        let error = read(&sdp(sections)).expect_err(sections);
        assert!(matches!(&error, Error::Unusable(text) if text.contains(words)), "{sections}: {error}");
    }
}

#[test]
fn what_is_no_sdp_or_too_long_is_refused() {
    let long = sdp(&format!("a=x:{}\n", "y".repeat(5000)));
    let lines = sdp(&"a=x\n".repeat(1000));
    let bytes = sdp(&format!("a={}\n", "z".repeat(4000)).repeat(20));
    for (text, words) in [
        ("", "does not begin with the line v=0"),
        ("SDP:\nv=0\n", "does not begin with the line v=0"),
        ("v=0\nm=audio\n", "not SDP"),
        (&long, "line 5 of the SDP is longer"),
        (&lines, "more than 1000 lines"),
        (&bytes, "no more than 65536 are taken"),
    ] {
        let error = read(text).expect_err(words);
        assert!(matches!(&error, Error::Syntax(text) if text.contains(words)), "{words}: {error}");
    }
}
