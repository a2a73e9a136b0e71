//! Reading and judging an offer, whatever its role (RFC 8866, 9143, 8839, 8842, 8122).

use super::*;

const VIDEO_TRANSPORT: &str = "a=ice-ufrag:abcd\r
a=ice-pwd:abcdefghijklmnopqrstuv\r
a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r
a=setup:actpass\r
";

fn without_audio(offer: &str) -> String {
    let (head, rest) = offer.split_once("m=audio").expect("an audio section");
    let (_, video) = rest.split_once("m=video").expect("a video section");
    format!("{head}m=video{video}")
}

#[test]
fn lenient_forms_are_accepted() {
    let pinned: [(&str, &[(&str, &str)]); 22] = [
        ("as it is", &[]),
        ("LF ends lines", &[("\r\n", "\n")]),
        ("unknown lines and attributes are ignored", &[("t=0 0\r\n", "t=0 0\r\ny=what\r\na=what:ever\r\na=flag\r\n")]),
        ("other lines of RFC 8866 are read", &[("t=0 0\r\n", "c=IN IP4 0.0.0.0\r\nb=AS:2000\r\nt=0 0\r\n")]),
        ("codec names have no case", &[("H264/", "h264/"), ("opus/", "OPUS/")]),
        ("a mid in BUNDLE that no section has is ignored", &[("BUNDLE a v", "BUNDLE x a v y")]),
        ("the order in BUNDLE is free", &[("BUNDLE a v", "BUNDLE v a")]),
        ("other groups are ignored", &[("a=group:BUNDLE", "a=group:LS a v\r\na=group:BUNDLE")]),
        ("several fingerprints", &[("a=fingerprint:", "a=fingerprint:sha-1 00:11\r\na=fingerprint:")]),
        ("the hash name has no case", &[("sha-256", "SHA-256")]),
        ("fingerprints have no case", &[("AA:BB:CC", "aa:bb:cc")]),
        ("no SSRC is announced", &[("a=ssrc:1001 cname:c\r\n", "")]),
        (
            "candidates of every kind",
            &[(
                "a=mid:a\r\n",
                "a=mid:a\r\na=candidate:1 1 udp 1 x.local 9 typ host\r\na=candidate:what\r\na=end-of-candidates\r\n",
            )],
        ),
        ("rtcp-mux-only is welcome", &[("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=rtcp-mux-only\r\n")]),
        ("IDs of the two-byte form are skipped", &[("extmap:13 ", "extmap:15 "), ("extmap:3 ", "extmap:200 ")]),
        ("IDs beyond that are skipped", &[("extmap:13 ", "extmap:4096 ")]),
        ("one extension under two IDs", &[("a=extmap:13", "a=extmap:5 urn:3gpp:video-orientation\r\na=extmap:13")]),
        ("msid says nothing", &[("a=mid:v\r\n", "a=mid:v\r\na=msid:one x\r\na=msid:two y\r\n")]),
        ("SDES keys say nothing", &[("a=mid:v\r\n", "a=mid:v\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n")]),
        (
            "malformed attributes that nobody needs",
            &[(
                "a=mid:v\r\n",
                "a=mid:v\r\na=rtpmap:x\r\na=fmtp:96\r\na=rtcp-fb:\r\na=extmap:\r\na=ssrc:\r\na=rid\r\na=simulcast:\r\n",
            )],
        ),
        ("blanks at line ends", &[("a=rtcp-mux\r\n", "a=rtcp-mux \r\n"), ("a=setup:actpass", "a=setup:actpass ")]),
        ("several ports on the m= line", &[("m=audio 9 ", "m=audio 9/2 ")]),
    ];
    for (rule, changes) in pinned {
        Offer::parse(&changed(PUBLISHER, changes)).unwrap_or_else(|error| panic!("{rule}: {error}"));
    }
    for (rule, text) in [
        ("no newline at the end", PUBLISHER.trim_end().to_owned()),
        ("a blank last line", format!("{PUBLISHER}\r\n")),
        ("a last line of blanks", format!("{PUBLISHER} \n\n")),
        ("BUNDLE of one section that names two (FFmpeg)", without_audio(PUBLISHER)),
        ("one section and no BUNDLE", without_audio(&changed(PUBLISHER, &[("a=group:BUNDLE a v\r\n", "")]))),
        ("one section without a mid", without_audio(&changed(PUBLISHER, &[("a=mid:v\r\n", "")]))),
    ] {
        Offer::parse(&text).unwrap_or_else(|error| panic!("{rule}: {error}"));
    }
}

#[test]
fn what_cannot_be_used_is_refused_with_the_reason() {
    use Refused::*;
    let twice = |section: &str| format!("{PUBLISHER}{section}");
    let rules: Vec<(&str, String, Refused)> = vec![
        ("empty", String::new(), Syntax("v=0")),
        ("JSON", "{\"sdp\":\"v=0\"}".to_owned(), Syntax("v=0")),
        ("another version", changed(PUBLISHER, &[("v=0", "v=1")]), Syntax("v=0")),
        ("a line before v=0", format!("a=x\r\n{PUBLISHER}"), Syntax("v=0")),
        ("a line that is not x=…", changed(PUBLISHER, &[("a=rtcp-mux\r\n", "rtcp-mux\r\n")]), Syntax("line 14")),
        ("NUL", changed(PUBLISHER, &[("s=-", "s=\0")]), Syntax("line 3")),
        (
            "an m= line cut short",
            changed(PUBLISHER, &[("m=audio 9 UDP/TLS/RTP/SAVPF 111 0", "m=audio 9")]),
            Syntax("line 6"),
        ),
        ("a port that is no number", changed(PUBLISHER, &[("m=audio 9", "m=audio x")]), Syntax("line 6")),
        ("over 64 KiB", format!("{PUBLISHER}{}", format!("a={}\r\n", "x".repeat(4000)).repeat(17)), Syntax("bytes")),
        ("over 1000 lines", format!("{PUBLISHER}{}", "a=x\r\n".repeat(1000)), Syntax("1000 lines")),
        (
            "a line over 4 KiB",
            format!("{PUBLISHER}a={}\r\n", "x".repeat(4096)),
            Syntax("line 46 of the offer is longer"),
        ),
        ("over 16 sections", twice(&"m=application 9 X y\r\n".repeat(15)), Unusable("17 m-sections")),
        ("only session lines", "v=0\r\n".to_owned(), Unusable("no audio or video")),
        ("only a data channel", "v=0\r\nm=application 9 UDP/DTLS/SCTP x\r\n".to_owned(), Unusable("no audio or video")),
        ("every section disabled", changed(PUBLISHER, &[(" 9 UDP", " 0 UDP")]), Unusable("no audio or video")),
        ("two video sections", twice("m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:w\r\n"), Unusable("1 audio and 2 video")),
        ("one mid twice", changed(PUBLISHER, &[("a=mid:v", "a=mid:a")]), Unusable("a=mid:a")),
        ("a mid of 17 characters", changed(PUBLISHER, &[("a=mid:v", "a=mid:12345678901234567")]), Unusable("a=mid")),
        ("a mid that is no token", changed(PUBLISHER, &[("a=mid:v", "a=mid:a b")]), Unusable("a=mid")),
        ("a section outside of BUNDLE", changed(PUBLISHER, &[("BUNDLE a v", "BUNDLE a")]), Unusable("max-bundle")),
        ("no BUNDLE", changed(PUBLISHER, &[("a=group:BUNDLE a v\r\n", "")]), Unusable("max-bundle")),
        (
            "two BUNDLE groups",
            changed(PUBLISHER, &[("BUNDLE a v", "BUNDLE a\r\na=group:BUNDLE v")]),
            Unusable("max-bundle"),
        ),
        ("no rtcp-mux", changed(PUBLISHER, &[("a=rtcp-mux\r\n", "")]), Unusable("rtcp-mux")),
        (
            "rtcp-mux with the wrong case",
            changed(PUBLISHER, &[("a=rtcp-mux\r\n", "a=RTCP-mux\r\n")]),
            Unusable("rtcp-mux"),
        ),
        ("RTP/AVP", changed(PUBLISHER, &[("UDP/TLS/RTP/SAVPF", "RTP/AVP")]), Unusable("profile RTP/AVP,")),
        ("RTP/AVPF", changed(PUBLISHER, &[("UDP/TLS/RTP/SAVPF", "RTP/AVPF")]), Unusable("profile RTP/AVPF,")),
        (
            "a profile nobody writes",
            changed(PUBLISHER, &[("UDP/TLS/RTP/SAVPF", &"X".repeat(99))]),
            Unusable("99 characters"),
        ),
        ("no ufrag", changed(PUBLISHER, &[("a=ice-ufrag:abcd\r\n", "")]), Unusable("a=ice-ufrag")),
        ("no password", changed(PUBLISHER, &[("a=ice-pwd:abcdefghijklmnopqrstuv\r\n", "")]), Unusable("a=ice-pwd")),
        ("a ufrag of 3", changed(PUBLISHER, &[("ice-ufrag:abcd", "ice-ufrag:abc")]), Unusable("a=ice-ufrag has 3")),
        ("a password of 21", changed(PUBLISHER, &[("qrstuv", "qrstu")]), Unusable("a=ice-pwd has 21")),
        ("a password of 257", changed(PUBLISHER, &[("qrstuv", &"q".repeat(241))]), Unusable("a=ice-pwd has 257")),
        (
            "a ufrag of other characters",
            changed(PUBLISHER, &[("ice-ufrag:abcd", "ice-ufrag:ab-d")]),
            Unusable("a=ice-ufrag"),
        ),
        ("a password of other characters", changed(PUBLISHER, &[("stuv", "stu=")]), Unusable("a=ice-pwd")),
        ("no fingerprint", changed(PUBLISHER, &[("a=fingerprint", "a=x")]), Unusable("a=fingerprint")),
        ("only SHA-1", changed(PUBLISHER, &[("sha-256", "sha-1")]), Unusable("sha-256")),
        ("only MD5", changed(PUBLISHER, &[("sha-256", "md5")]), Unusable("sha-256")),
        ("a hash cut short", changed(PUBLISHER, &[(":EE:FF\r\n", ":EE\r\n")]), Unusable("sha-256")),
        ("a hash that is no hexadecimal", changed(PUBLISHER, &[(":EE:FF\r\n", ":EE:FG\r\n")]), Unusable("sha-256")),
        ("setup:holdconn", changed(PUBLISHER, &[("setup:actpass", "setup:holdconn")]), Unusable("a=setup:holdconn")),
        ("an unknown setup", changed(PUBLISHER, &[("setup:actpass", "setup:maybe")]), Unusable("a=setup:maybe")),
        ("one ID for two extensions", changed(PUBLISHER, &[("extmap:13", "extmap:3")]), Unusable("a=extmap:3")),
        (
            "also for unknown ones",
            changed(PUBLISHER, &[("a=extmap:13", "a=extmap:13 urn:x\r\na=extmap:13")]),
            Unusable("a=extmap:13"),
        ),
    ];
    for (rule, text, expected) in rules {
        assert_refused(rule, Offer::parse(&text), expected);
    }
}

#[test]
fn every_encrypted_profile_is_accepted_and_answered_as_offered() {
    for profile in ["UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF", "RTP/SAVP", "TCP/DTLS/RTP/SAVPF"] {
        let answer = publish(&changed(PUBLISHER, &[("UDP/TLS/RTP/SAVPF", profile)]));
        assert!(answer.contains(&format!("m=audio 9 {profile} 111\r\n")), "{answer}");
        assert!(answer.contains(&format!("m=video 9 {profile} 96 97\r\n")), "{answer}");
    }
}

#[test]
fn the_offers_setup_decides_who_sends_the_client_hello() {
    for (setup, role, answered) in [
        ("a=setup:actpass\r\n", DtlsRole::Server, "passive"),
        ("a=setup:active\r\n", DtlsRole::Server, "passive"),
        ("a=setup:passive\r\n", DtlsRole::Client, "active"),
        ("", DtlsRole::Server, "passive"),
    ] {
        let offer = changed(PUBLISHER, &[("a=setup:actpass\r\n", setup)]);
        assert_eq!(Offer::parse(&offer).expect("an offer").dtls_role(), role, "{setup}");
        assert_eq!(publish(&offer).matches(&format!("a=setup:{answered}\r\n")).count(), 2, "{setup}");
    }
}

#[test]
fn transport_attributes_may_stand_in_the_session_part() {
    // OBS up to 30.
    let at_session =
        changed(PUBLISHER, &[(VIDEO_TRANSPORT, ""), ("t=0 0\r\n", &format!("t=0 0\r\n{VIDEO_TRANSPORT}"))]);
    let offer = Offer::parse(&at_session).expect("an offer");
    assert_eq!(offer.credentials().ufrag, "abcd");
    assert_eq!(offer.fingerprint()[..3], [0x00, 0x11, 0x22]);
}

#[test]
fn the_tagged_section_describes_the_transport() {
    // Its own attributes, else the session's, else another section's: RFC 9143 7.1.3.
    let other = changed(VIDEO_TRANSPORT, &[("abcd\r\n", "session\r\n"), ("actpass", "passive")]);
    let (head, video) = PUBLISHER.split_once("m=video").expect("two sections");
    let bundle_only =
        format!("m=video{}", changed(video, &[(" 9 UDP", " 0 UDP"), ("a=mid:v", "a=bundle-only\r\na=mid:v")]));
    for (rule, text, ufrag) in [
        ("own wins over the session's", changed(PUBLISHER, &[("t=0 0\r\n", &format!("t=0 0\r\n{other}"))]), "abcd"),
        (
            "bundle-only sections need none",
            format!("{head}{}", changed(&bundle_only, &[(VIDEO_TRANSPORT, ""), ("a=rtcp-mux\r\n", "")])),
            "abcd",
        ),
        (
            "the first of the group counts",
            format!(
                "{}{}",
                changed(head, &[("BUNDLE a v", "BUNDLE v a")]),
                changed(&bundle_only, &[("ufrag:abcd", "ufrag:video")])
            ),
            "video",
        ),
        (
            "a disabled section does not",
            changed(PUBLISHER, &[("m=audio 9", "m=audio 0"), ("a=mid:a\r\n", "a=mid:a\r\na=ice-ufrag:audio\r\n")]),
            "abcd",
        ),
    ] {
        let offer = Offer::parse(&text).unwrap_or_else(|error| panic!("{rule}: {error}"));
        assert_eq!(offer.credentials().ufrag, ufrag, "{rule}");
    }
}

#[test]
fn an_offer_printed_for_debugging_hides_the_password() {
    let printed = format!("{:?}", Offer::parse(PUBLISHER).expect("an offer"));
    assert!(printed.contains("abcd") && !printed.contains("abcdefghij"), "{printed}");
}
