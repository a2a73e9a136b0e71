//! The judge of answers judged: a good answer with one thing wrong is refused, whatever the thing.

use std::panic::catch_unwind;

use crate::kit::answer::{self, Offerer};
use crate::kit::{Site, changed, offers};

fn is_refused(offerer: Offerer, offer: &str, answer: &str) -> bool {
    catch_unwind(|| answer::check(offerer, offer, answer)).is_err()
}

#[test]
fn every_broken_rule_for_a_viewers_answer_is_noticed() {
    let site = Site::start();
    let _publisher = site.live("cam", "chromium-156-publisher");
    let offer = offers::offer("chromium-156-viewer");
    let posted = site.post("/whep/cam", &offer).is(201);
    let good = posted.text();
    assert!(!is_refused(Offerer::Viewer, &offer, good));
    let (head, video) = good.split_once("m=video").expect("two sections");
    let line = |start: &str, text: &str| text.lines().find(|line| line.starts_with(start)).expect(start).to_owned();
    let candidate = line("a=candidate", good);
    let ufrag = line("a=ice-ufrag", good);
    let cname = line("a=ssrc", head);
    for (rule, bad) in [
        ("LF", good.replace("\r\n", "\n")),
        ("a blank line", format!("{good}\r\n")),
        ("a byte before v=", format!(" {good}")),
        ("8192 bytes", format!("{good}a=candidate:{}\r\n", "x".repeat(8192 - good.len()))),
        ("a name", changed(good, &[("s=-", "s=Whipstitch")])),
        (
            "a session id of 64 bits",
            format!("v=0\r\no=- {} 2 IN IP4 0.0.0.0{}", 1_u64 << 63, &good[good.find("\r\ns=").unwrap()..]),
        ),
        ("no ice-lite", changed(good, &[("a=ice-lite\r\n", "")])),
        ("an unknown word", changed(good, &[("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=extmap-allow-mixed\r\n")])),
        (
            "sections the other way round",
            format!(
                "{}m=video{video}{}",
                &head[..head.find("m=audio").unwrap()],
                &head[head.find("m=audio").unwrap()..]
            ),
        ),
        ("a section missing", head.to_owned()),
        ("another profile", changed(good, &[("UDP/TLS/RTP/SAVPF", "RTP/SAVPF")])),
        ("another mid", changed(good, &[("a=mid:1", "a=mid:2")])),
        ("a short ufrag", changed(good, &[(&ufrag, "a=ice-ufrag:abc")])),
        ("base64url", changed(good, &[(&ufrag, "a=ice-ufrag:ab-_")])),
        ("two transports", format!("{head}m=video{}", changed(video, &[(&ufrag, "a=ice-ufrag:abcd")]))),
        ("actpass", changed(good, &[("a=setup:passive", "a=setup:actpass")])),
        ("the wrong role", changed(good, &[("a=setup:passive", "a=setup:active")])),
        ("no setup", changed(good, &[("a=setup:passive\r\n", "")])),
        ("no fingerprint", changed(good, &[("a=fingerprint:", "a=ice-options:")])),
        ("a small fingerprint", changed(good, &[("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 ab:")])),
        ("no rtcp-mux", changed(good, &[("a=rtcp-mux\r\n", "")])),
        ("no rtcp-mux-only", changed(good, &[("a=rtcp-mux-only\r\n", "")])),
        ("sendrecv", changed(good, &[("a=sendonly", "a=sendrecv")])),
        ("the publisher's direction", changed(good, &[("a=sendonly", "a=recvonly")])),
        ("port 0 in an accepted section", changed(good, &[("m=video 9", "m=video 0")])),
        (
            "a number of our own",
            changed(
                good,
                &[("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio 9 UDP/TLS/RTP/SAVPF 101"), ("rtpmap:111", "rtpmap:101")],
            ),
        ),
        ("another codec", changed(good, &[("opus/48000/2", "G722/8000")])),
        (
            "two codecs",
            changed(good, &[("SAVPF 111", "SAVPF 111 9"), ("a=rtpmap:111", "a=rtpmap:9 G722/8000\r\na=rtpmap:111")]),
        ),
        ("RTX of nothing", changed(good, &[("apt=96", "apt=98")])),
        ("transport-cc to a viewer", changed(good, &[("a=rtcp-fb:96 nack pli", "a=rtcp-fb:96 transport-cc")])),
        ("goog-remb", changed(good, &[("a=rtcp-fb:96 nack pli", "a=rtcp-fb:96 goog-remb")])),
        ("an extension of our own number", changed(good, &[("a=extmap:", "a=extmap:1")])),
        ("a mid in the group that is none", changed(good, &[("BUNDLE 0 1", "BUNDLE 0 1 2")])),
        ("an accepted mid outside of the group", changed(good, &[("BUNDLE 0 1", "BUNDLE 0")])),
        ("no candidate over UDP", changed(good, &[(&format!("{candidate}\r\n"), "")])),
        ("a name for an address", changed(good, &[(" 127.0.0.1 ", " x.local ")])),
        ("udp in the foundation", changed(good, &[("a=candidate:", "a=candidate:udp")])),
        ("component 0", changed(good, &[("a=candidate:1 1 ", "a=candidate:1 0 ")])),
        ("no end of candidates", changed(good, &[("a=end-of-candidates\r\n", "")])),
        (
            "a candidate after the end",
            changed(good, &[("a=end-of-candidates\r\n", &format!("a=end-of-candidates\r\n{candidate}\r\n"))]),
        ),
        (
            "IPv6 first",
            changed(
                good,
                &[(
                    &candidate,
                    &format!(
                        "{}\r\n{candidate}",
                        candidate.replace("127.0.0.1", "::1").replace("candidate:1 1 udp 2", "candidate:2 1 udp 3")
                    ),
                )],
            ),
        ),
        ("no msid", changed(good, &[("a=msid:", "a=extmap:")])),
        ("two streams", format!("{head}m=video{}", changed(video, &[("a=msid:cam", "a=msid:other")]))),
        ("two clocks", changed(good, &[(&cname, &cname.replace("cname:", "cname:x"))])),
        ("an SSRC twice", changed(good, &[(&format!("{cname}\r\n"), &format!("{cname}\r\n{cname}\r\n"))])),
        ("no FID", changed(good, &[("a=ssrc-group:FID ", "a=ssrc-group:SIM ")])),
    ] {
        assert!(is_refused(Offerer::Viewer, &offer, &bad), "{rule} was not noticed");
    }
    for not_offered in ["a=rtcp-rsize\r\n", "a=rtcp-fb:96 ccm fir\r\n", "a=rtpmap:97 rtx/90000\r\n"] {
        assert!(good.contains(not_offered));
        let offer = changed(&offer, &[(not_offered, "")]);
        assert!(is_refused(Offerer::Viewer, &offer, good), "{not_offered} was not offered, which was not noticed");
    }
}

#[test]
fn every_broken_rule_for_refused_sections_and_layers_is_noticed() {
    let site = Site::start();
    let offer = offers::offer("chromium-156-publisher-simulcast");
    let publisher = site.live_with("cam", &offer);
    let good = publisher.accepted.text();
    assert!(!is_refused(Offerer::Publisher, &publisher.offer, good));
    for (rule, bad) in [
        ("a layer missing", changed(good, &[("a=simulcast:recv h;m;l", "a=simulcast:recv h;m")])),
        ("layers in another order", changed(good, &[("a=simulcast:recv h;m;l", "a=simulcast:recv l;m;h")])),
        ("a layer not described", changed(good, &[("a=rid:m recv\r\n", "")])),
        ("no layers", changed(good, &[("a=simulcast:recv h;m;l\r\n", ""), ("a=rid:", "a=extmap:")])),
        ("an SSRC for what is only received", format!("{good}a=ssrc:1 cname:x\r\n")),
    ] {
        assert!(is_refused(Offerer::Publisher, &publisher.offer, &bad), "{rule} was not noticed");
    }
    let _silent = site.live("silent", "ffmpeg-8.0-video-only");
    let offer = offers::offer("aiortc-viewer");
    let posted = site.post("/whep/silent", &offer).is(201);
    let good = posted.text();
    assert!(!is_refused(Offerer::Viewer, &offer, good));
    let audio = good.find("m=audio 0").expect("a refused section");
    let end = good[audio..].find("m=video").map_or(good.len(), |length| audio + length);
    let in_refused = |from: &str, to: &str| {
        format!("{}{}{}", &good[..audio], changed(&good[audio..end], &[(from, to)]), &good[end..])
    };
    for (rule, bad) in [
        ("no codec", in_refused("a=rtpmap:96 opus/48000/2\r\n", "")),
        ("no transport", in_refused("a=rtcp-mux\r\n", "")),
        ("not inactive", in_refused("a=inactive", "a=sendonly")),
        (
            "a candidate",
            in_refused("a=end-of-candidates", "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\na=end-of-candidates"),
        ),
        ("an open end", in_refused("a=end-of-candidates\r\n", "")),
        ("in the group", changed(good, &[("a=group:BUNDLE ", "a=group:BUNDLE 0 ")])),
    ] {
        assert!(is_refused(Offerer::Viewer, &offer, &bad), "{rule} was not noticed");
    }
}
