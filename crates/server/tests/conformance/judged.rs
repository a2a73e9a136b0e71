//! Offers as a person could get them wrong or merely unusual, at the front door (protocol.md 5.1, 5.2): the status, a
//! reason in words, and nothing left of a refused one. Every rule alone is proven in `crates/webrtc/src/negotiate/tests`.

use crate::kit::answer::{self, Offerer};
use crate::kit::sdp::Sdp;
use crate::kit::{Site, changed, offers};

type Changes<'a> = &'a [(&'a str, &'a str)];

/// What may be missing, doubled or written otherwise in any offer.
const LENIENT: [(&str, Changes<'_>); 26] = [
    ("LF", &[("\r\n", "\n")]),
    ("no SSRC, as OBS with simulcast", &[("a=ssrc:", "a=x:")]),
    ("no msid", &[("a=msid:", "a=x:")]),
    ("two streams", &[("a=msid:uP5vLd1HzR8yMo4F uP5vLd1HzR8yMo4F-video", "a=msid:other video")]),
    ("no a=ice-options", &[("a=ice-options:trickle\r\n", "")]),
    ("active", &[("setup:actpass", "setup:active")]),
    ("passive", &[("setup:actpass", "setup:passive")]),
    ("no setup", &[("a=setup:actpass\r\n", "")]),
    ("a BUNDLE with a mid that is not there", &[("BUNDLE 0 1", "BUNDLE 0 1 2 x")]),
    ("a BUNDLE the other way round", &[("BUNDLE 0 1", "BUNDLE 1 0")]),
    ("SAVP", &[("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP")]),
    ("RTP/SAVPF with a fingerprint", &[("UDP/TLS/RTP/SAVPF", "RTP/SAVPF")]),
    ("RTP/SAVP with a fingerprint", &[("UDP/TLS/RTP/SAVPF", "RTP/SAVP")]),
    ("TCP/DTLS/RTP/SAVPF", &[("UDP/TLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVPF")]),
    ("codec names in small letters", &[("H264/", "h264/"), ("opus/", "Opus/")]),
    ("seven digits, as FFmpeg 8.0 writes", &[("profile-level-id=42e01f", "profile-level-id=422001f")]),
    ("an absurd profile", &[("profile-level-id=42e01f", "profile-level-id=what")]),
    (
        "blanks in fmtp",
        &[("profile-level-id=42e01f;packetization-mode=1", "packetization-mode = 1 ; x;profile-level-id=42e01f")],
    ),
    ("feedback for all formats", &[("a=rtcp-fb:96 nack\r\n", "a=rtcp-fb:* nack\r\n")]),
    ("a fingerprint in small letters", &[("sha-256 8A:2F:7C", "SHA-256 8a:2f:7c")]),
    ("a weaker fingerprint besides", &[("a=fingerprint:", "a=fingerprint:sha-1 00:11:22\r\na=fingerprint:")]),
    (
        "candidates of all kinds",
        &[("a=mid:0\r\n", "a=mid:0\r\na=candidate:1 1 udp 1 a.local 9 typ host\r\na=candidate:x\r\n")],
    ),
    ("an extension of the two-byte form", &[("a=extmap:2 ", "a=extmap:20 ")]),
    ("SDES keys, which nobody uses", &[("a=mid:0\r\n", "a=mid:0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n")]),
    ("rtcp-rsize and rtcp-mux-only", &[("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=rtcp-mux-only\r\na=rtcp-rsize\r\n")]),
    ("a bundle-only section with port 0", &[("m=video 9", "m=video 0"), ("a=mid:1", "a=bundle-only\r\na=mid:1")]),
];

/// What no offer may be. 400 where it is no SDP, 422 where it cannot be used.
const UNUSABLE: [(&str, u16, Changes<'_>); 24] = [
    ("another version", 400, &[("v=0", "v=1")]),
    ("a line that is none", 400, &[("a=rtcp-mux\r\n", "rtcp-mux\r\n")]),
    ("a section cut short", 400, &[("m=video 9 UDP/TLS/RTP/SAVPF 96", "m=video")]),
    ("a port that is no number", 400, &[("m=video 9", "m=video nine")]),
    ("NUL", 400, &[("s=-", "s=\0")]),
    ("no BUNDLE", 422, &[("a=group:BUNDLE 0 1\r\n", "")]),
    ("a section outside of BUNDLE", 422, &[("BUNDLE 0 1", "BUNDLE 0")]),
    ("no rtcp-mux", 422, &[("a=rtcp-mux\r\n", "")]),
    ("no encryption", 422, &[("UDP/TLS/RTP/SAVPF", "RTP/AVP")]),
    ("nor with feedback", 422, &[("UDP/TLS/RTP/SAVPF", "RTP/AVPF")]),
    ("no ufrag", 422, &[("a=ice-ufrag:", "a=x:")]),
    ("no password", 422, &[("a=ice-pwd:", "a=x:")]),
    ("a ufrag of 3", 422, &[("a=ice-ufrag:pD7w", "a=ice-ufrag:pD7")]),
    ("a password of 21", 422, &[("NsA\r\n", "Ns\r\n")]),
    ("no fingerprint", 422, &[("a=fingerprint:", "a=x:")]),
    ("a weak fingerprint alone", 422, &[("a=fingerprint:sha-256", "a=fingerprint:sha-1")]),
    ("half a fingerprint", 422, &[(":1E:A3\r\n", "\r\n")]),
    ("holdconn", 422, &[("setup:actpass", "setup:holdconn")]),
    ("an unknown setup", 422, &[("setup:actpass", "setup:perhaps")]),
    ("inactive", 422, &[("a=sendonly", "a=inactive")]),
    ("one ID for two extensions", 422, &[("a=extmap:2 ", "a=extmap:1 ")]),
    ("every section disabled", 422, &[("m=audio 9", "m=audio 0"), ("m=video 9", "m=video 0")]),
    ("no audio and no video", 422, &[("m=audio 9", "m=text 9"), ("m=video 9", "m=image 9")]),
    ("one mid twice", 422, &[("a=mid:1", "a=mid:0")]),
];

/// OBS's offer, and the same as a viewer's.
fn bases() -> [(Offerer, &'static str, String); 2] {
    let publisher = offers::offer("obs-32");
    let viewer = changed(&publisher, &[("a=sendonly", "a=recvonly")]);
    [(Offerer::Publisher, "/whip/cam", publisher), (Offerer::Viewer, "/whep/live", viewer)]
}

#[test]
fn unusual_offers_are_accepted_by_both_endpoints() {
    let site = Site::start();
    let _publisher = site.live("live", "obs-32");
    for (offerer, target, base) in bases() {
        let mut all: Vec<(&str, String)> =
            LENIENT.iter().map(|(rule, changes)| (*rule, changed(&base, changes))).collect();
        let direction = if offerer == Offerer::Publisher { "a=sendonly" } else { "a=recvonly" };
        all.extend([
            ("no direction", changed(&base, &[(&format!("{direction}\r\n"), "")])),
            ("both directions", changed(&base, &[(direction, "a=sendrecv")])),
            ("no newline at the end", base.trim_end().to_owned()),
            ("a blank last line", format!("{base}\r\n")),
            ("unknown lines", changed(&base, &[("t=0 0\r\n", "t=0 0\r\nb=AS:1\r\na=what\r\ny=1\r\n")])),
            (
                "a data channel besides",
                format!("{base}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n"),
            ),
            ("a section that is disabled", changed(&base, &[("m=audio 9", "m=audio 0"), ("BUNDLE 0 1", "BUNDLE 1")])),
            ("one section alone, without BUNDLE and mid", alone(&base)),
        ]);
        for (rule, offer) in all {
            let accepted = site.post(target, &offer);
            assert_eq!(accepted.status, 201, "{rule}: {}", accepted.text());
            answer::check(offerer, &offer, accepted.text());
            let disabled = Sdp::parse(&offer).sections[0].lines[0].starts_with("m=audio 0");
            assert_eq!(Sdp::parse(accepted.text()).sections[0].port() == 0, disabled, "{rule}");
            site.ask("DELETE", accepted.location(), &[], "").is(200);
            if offerer == Offerer::Publisher {
                site.until(|| site.stream("cam")["publisher"].is_null());
            }
        }
    }
}

/// Only the video section.
fn alone(offer: &str) -> String {
    let (head, rest) = offer.split_once("m=audio").expect("two sections");
    let (_, video) = rest.split_once("m=video").expect("two sections");
    changed(&format!("{head}m=video{video}"), &[("a=group:BUNDLE 0 1\r\n", ""), ("a=mid:1\r\n", "")])
}

#[test]
fn unusable_offers_are_refused_by_both_endpoints_and_leave_nothing() {
    let site = Site::start();
    let _publisher = site.live("live", "obs-32");
    for (offerer, target, base) in bases() {
        let inactive = if offerer == Offerer::Publisher { "a=sendonly" } else { "a=recvonly" };
        let mut all: Vec<(&str, u16, String)> = UNUSABLE
            .iter()
            .map(|(rule, status, changes)| {
                let base = if *rule == "inactive" { changed(&base, &[(inactive, "a=sendonly")]) } else { base.clone() };
                (*rule, *status, changed(&base, changes))
            })
            .collect();
        let wrong_way = if offerer == Offerer::Publisher { "a=recvonly" } else { "a=sendonly" };
        let second = "m=video 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:2\r\na=rtcp-mux\r\na=rtpmap:97 VP8/90000\r\n";
        all.extend([
            ("empty", 400, String::new()),
            ("JSON", 400, "{\"type\":\"offer\",\"sdp\":\"\"}".to_owned()),
            ("over 1000 lines", 400, format!("{base}{}", "a=x\r\n".repeat(1000))),
            ("a line over 4 KiB", 400, format!("{base}a={}\r\n", "x".repeat(4096))),
            ("over 64 KiB", 413, format!("{base}{}", "a=x\r\n".repeat(16_000))),
            ("the wrong way", 422, changed(&base, &[(inactive, wrong_way)])),
            ("two pictures", 422, format!("{}{second}", changed(&base, &[("BUNDLE 0 1", "BUNDLE 0 1 2")]))),
            ("17 sections", 422, format!("{base}{}", "m=application 9 X y\r\n".repeat(15))),
        ]);
        for (rule, status, offer) in all {
            let refused = site.post(target, &offer);
            assert_eq!(refused.status, status, "{rule}: {}", refused.text());
            let detail = refused.detail();
            assert!(detail.len() > 20 && detail.contains(' ') && !detail.contains("Yt5hKc2"), "{rule}: {detail}");
        }
        match offerer {
            Offerer::Publisher => assert!(site.stream("cam").is_null(), "{}", site.stream("cam")),
            Offerer::Viewer => assert_eq!(site.stream("live")["subscribers"], serde_json::json!([])),
        }
        site.post(target, &base).is(201);
    }
}
