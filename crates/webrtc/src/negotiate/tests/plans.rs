//! What is chosen: codecs, retransmission, feedback, header extensions, simulcast layers.

use super::*;

fn plan(offer: &str) -> PublisherPlan {
    plan_publisher(&Offer::parse(offer).expect("an offer")).expect("a publisher")
}

fn video_of(offer: &str) -> PublisherMedia {
    plan(offer).media.into_iter().find(|media| media.kind == Kind::Video).expect("video")
}

/// `PUBLISHER` with the video formats replaced: the m= line's list and the lines that describe them.
fn with_video(formats: &str, lines: &str) -> String {
    let (head, video) = PUBLISHER.split_once("m=video").expect("two sections");
    let (video, _) = video.split_once("a=rtpmap").expect("formats");
    format!("{head}m=video{}{}\r\n", changed(video, &[("96 97 98", formats)]), lines.trim().replace('\n', "\r\n"))
}

#[test]
fn a_publisher_is_planned_with_everything_it_offers_and_we_have() {
    let plan = plan(PUBLISHER);
    assert_eq!(plan.tracks, tracks());
    let [audio, video] = &plan.media[..] else { panic!("{plan:?}") };
    assert_eq!((audio.mid.as_str(), audio.codec, audio.pt, audio.rtx_pt), ("a", Codec::Opus, 111, None));
    assert_eq!((audio.ssrc, audio.rtx_ssrc), (Some(1001), None));
    assert!(!audio.nack && !audio.pli && !audio.fir && !audio.transport_cc && !audio.remb, "{audio:?}");
    assert_eq!((video.mid.as_str(), video.codec, video.pt, video.rtx_pt), ("v", Codec::H264, 96, Some(97)));
    assert_eq!((video.ssrc, video.rtx_ssrc), (Some(1002), Some(1003)));
    assert!(video.nack && video.pli && !video.fir && video.transport_cc && !video.remb, "{video:?}");
    assert_eq!(
        plan.extensions,
        [(4, Extension::Mid), (1, Extension::AudioLevel), (3, Extension::TransportCc)],
        "orientation stays with the browser"
    );
}

#[test]
fn a_publisher_gets_the_first_codec_of_its_order_that_can_be_forwarded() {
    for (rule, formats, lines, chosen) in [
        ("the first", "98 96", "a=rtpmap:96 VP8/90000\na=rtpmap:98 VP9/90000", (Codec::Vp9, 98)),
        ("the m= line orders", "96 98", "a=rtpmap:98 VP9/90000\na=rtpmap:96 VP8/90000", (Codec::Vp8, 96)),
        (
            "RED and FEC are passed over",
            "97 98 96",
            "a=rtpmap:97 red/90000\na=rtpmap:98 ulpfec/90000\na=rtpmap:96 AV1/90000",
            (Codec::Av1, 96),
        ),
        ("payload types 35 to 63 are legal", "45 96", "a=rtpmap:45 AV1/90000\na=rtpmap:96 VP8/90000", (Codec::Av1, 45)),
        ("64 to 95 are RTCP's", "72 96", "a=rtpmap:72 VP9/90000\na=rtpmap:96 VP8/90000", (Codec::Vp8, 96)),
        ("above 127 there is nothing", "200 96", "a=rtpmap:200 VP9/90000\na=rtpmap:96 VP8/90000", (Codec::Vp8, 96)),
        ("another clock is another codec", "97 96", "a=rtpmap:97 VP9/8000\na=rtpmap:96 VP8/90000", (Codec::Vp8, 96)),
        ("audio codecs are no video", "97 96", "a=rtpmap:97 opus/48000/2\na=rtpmap:96 VP8/90000", (Codec::Vp8, 96)),
        (
            "VP9 profile 2",
            "96 97",
            "a=rtpmap:96 VP9/90000\na=fmtp:96 profile-id=2\na=rtpmap:97 VP8/90000",
            (Codec::Vp9, 96),
        ),
        (
            "VP9 profile 1 is passed over",
            "96 97",
            "a=rtpmap:96 VP9/90000\na=fmtp:96 profile-id=1\na=rtpmap:97 VP8/90000",
            (Codec::Vp8, 97),
        ),
        (
            "H.264 mode 1 before mode 0",
            "97 96",
            "a=rtpmap:97 H264/90000\na=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1",
            (Codec::H264, 96),
        ),
        ("H.264 mode 0 where nothing else is", "97", "a=rtpmap:97 H264/90000", (Codec::H264, 97)),
        (
            "an earlier codec before mode 1",
            "98 96",
            "a=rtpmap:98 VP8/90000\na=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1",
            (Codec::Vp8, 98),
        ),
        (
            "H.265",
            "96",
            "a=rtpmap:96 H265/90000\na=fmtp:96 level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST",
            (Codec::H265, 96),
        ),
        (
            "an absurd profile-level-id",
            "96",
            "a=rtpmap:96 H264/90000\na=fmtp:96 profile-level-id=422001f; packetization-mode=1",
            (Codec::H264, 96),
        ),
    ] {
        let media = video_of(&with_video(formats, lines));
        assert_eq!((media.codec, media.pt), chosen, "{rule}");
    }
}

#[test]
fn audio_codecs_with_fixed_numbers_need_no_rtpmap() {
    for (formats, chosen) in [("0", Codec::Pcmu), ("8 0", Codec::Pcma), ("9", Codec::G722), ("13 0", Codec::Pcmu)] {
        let offer = changed(PUBLISHER, &[("SAVPF 111 0\r\n", &format!("SAVPF {formats}\r\n"))]);
        assert_eq!(plan(&offer).tracks.audio.expect("audio").codec, chosen, "{formats}");
    }
}

#[test]
fn opus_has_two_channels_or_says_nothing() {
    for (rtpmap, taken) in
        [("opus/48000/2", true), ("opus/48000", true), ("opus/48000/1", false), ("opus/44100/2", false)]
    {
        let offer = changed(PUBLISHER, &[("SAVPF 111 0\r\n", "SAVPF 111\r\n"), ("opus/48000/2", rtpmap)]);
        let plan = plan_publisher(&Offer::parse(&offer).expect("an offer"));
        assert_eq!(plan.is_ok(), taken, "{rtpmap}");
    }
}

#[test]
fn a_publisher_that_cannot_be_taken_whole_is_refused() {
    use Refused::Unusable;
    for (rule, offer, expected) in [
        (
            "recvonly",
            changed(PUBLISHER, &[("a=sendonly", "a=recvonly")]),
            Unusable("recvonly; a publisher offers sendonly"),
        ),
        ("inactive", changed(PUBLISHER, &[("a=sendonly", "a=inactive")]), Unusable("inactive")),
        (
            "one section recvonly",
            changed(PUBLISHER, &[("a=mid:v\r\na=sendonly", "a=mid:v\r\na=recvonly")]),
            Unusable("video section is recvonly"),
        ),
        (
            "direction of the session",
            changed(PUBLISHER, &[("t=0 0", "t=0 0\r\na=recvonly"), ("a=sendonly\r\n", "")]),
            Unusable("recvonly"),
        ),
        (
            "no codec of ours",
            with_video("96 97", "a=rtpmap:96 H266/90000\na=rtpmap:97 rtx/90000\na=fmtp:97 apt=96"),
            Refused::Codec("offers H266, none of which"),
        ),
        ("no codec at all", with_video("96", ""), Refused::Codec("offers payload type 96, none")),
        (
            "no partial success",
            changed(PUBLISHER, &[("SAVPF 111 0\r\n", "SAVPF 111\r\n"), ("opus", "speex")]),
            Refused::Codec("audio section offers speex"),
        ),
        (
            "one ID, two meanings in two sections",
            changed(PUBLISHER, &[("extmap:1 ", "extmap:3 ")]),
            Unusable("a=extmap:3"),
        ),
        (
            "one payload type for audio and video",
            changed(PUBLISHER, &[("111", "96")]),
            Unusable("payload type 96 stands for two"),
        ),
        (
            "one payload type for audio and RTX",
            changed(PUBLISHER, &[("111", "97")]),
            Unusable("payload type 97 stands for two"),
        ),
        ("more than 8 layers", simulcast("1;2;3;4;5;6;7;8;9"), Unusable("9 layers")),
    ] {
        let outcome = Offer::parse(&offer).and_then(|offer| plan_publisher(&offer));
        assert_refused(rule, outcome, expected);
    }
}

#[test]
fn a_publisher_may_leave_its_direction_out_or_offer_both() {
    for changes in [[("a=sendonly\r\n", "")], [("a=sendonly", "a=sendrecv")]] {
        assert_eq!(plan(&changed(PUBLISHER, &changes)).media.len(), 2);
    }
    // The section's own direction wins over the session's.
    assert_eq!(plan(&changed(PUBLISHER, &[("t=0 0", "t=0 0\r\na=inactive")])).media.len(), 2);
}

#[test]
fn feedback_is_what_both_sides_have() {
    let flags = |lines: &str| {
        let media = video_of(&with_video("96", &format!("a=rtpmap:96 VP8/90000\n{lines}")));
        (media.nack, media.pli, media.fir, media.transport_cc, media.remb)
    };
    for (lines, expected) in [
        ("", (false, false, false, false, false)),
        ("a=rtcp-fb:96 nack", (true, false, false, false, false)),
        ("a=rtcp-fb:96 nack pli", (false, true, false, false, false)),
        ("a=rtcp-fb:96 ccm fir", (false, false, true, false, false)),
        ("a=rtcp-fb:96 nack pli\na=rtcp-fb:96 ccm fir", (false, true, false, false, false)),
        ("a=rtcp-fb:* nack\na=rtcp-fb:* nack pli", (true, true, false, false, false)),
        ("a=rtcp-fb:97 nack", (false, false, false, false, false)),
        ("a=rtcp-fb:96 transport-cc\na=rtcp-fb:96 goog-remb", (false, false, false, true, false)),
    ] {
        assert_eq!(flags(lines), expected, "{lines}");
    }
}

#[test]
fn transport_wide_feedback_needs_its_header_extension() {
    let offer = changed(PUBLISHER, &[("a=extmap:3 http://www.ietf.org", "a=extmap:3 http://www.example.org")]);
    assert!(!video_of(&offer).transport_cc);
    assert!(plan(&offer).extensions.iter().all(|(_, extension)| *extension != Extension::TransportCc));
}

#[test]
fn extensions_are_only_taken_in_the_direction_of_the_media() {
    let offer = changed(PUBLISHER, &[("a=extmap:1 ", "a=extmap:1/recvonly "), ("a=extmap:3 ", "a=extmap:3/sendonly ")]);
    assert_eq!(plan(&offer).extensions, [(4, Extension::Mid), (3, Extension::TransportCc)]);
}

#[test]
fn extensions_that_need_the_two_byte_form_are_left_out() {
    let offer = changed(PUBLISHER, &[("a=extmap:3 ", "a=extmap:15 "), ("a=extmap:1 ", "a=extmap:16 ")]);
    assert_eq!(plan(&offer).extensions, [(4, Extension::Mid)]);
    assert!(!video_of(&offer).transport_cc);
}

#[test]
fn extensions_of_the_session_part_hold_for_every_section() {
    let offer = changed(
        PUBLISHER,
        &[
            ("a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n", ""),
            ("t=0 0\r\n", "t=0 0\r\na=extmap:7 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"),
        ],
    );
    assert!(plan(&offer).extensions.contains(&(7, Extension::Mid)));
    assert_eq!(publish(&offer).matches("a=extmap:7 urn:ietf:params:rtp-hdrext:sdes:mid\r\n").count(), 2);
}

#[test]
fn an_ssrc_announced_twice_is_no_hint() {
    let offer = changed(PUBLISHER, &[("a=ssrc:1001", "a=ssrc:1003")]);
    let hints: Vec<_> = plan(&offer).media.iter().map(|media| (media.ssrc, media.rtx_ssrc)).collect();
    assert_eq!(hints, [(None, None), (None, None)]);
}

#[test]
fn ssrc_0_is_no_hint() {
    let offer = changed(PUBLISHER, &[("a=ssrc:1001", "a=ssrc:0"), ("FID 1002 1003", "FID 1002 0")]);
    let hints: Vec<_> = plan(&offer).media.iter().map(|media| (media.ssrc, media.rtx_ssrc)).collect();
    assert_eq!(hints, [(None, None), (Some(1002), None)]);
}

/// `PUBLISHER` with these layers on its video.
fn simulcast(layers: &str) -> String {
    let ids = layers.split([';', ',']).map(|id| id.trim_start_matches('~'));
    let rids: String = ids.map(|id| format!("a=rid:{id} send\r\n")).collect();
    let lines = format!(
        "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
         a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n\
         {rids}a=simulcast:send {layers}\r\na=rtpmap:96"
    );
    changed(PUBLISHER, &[("a=rtpmap:96", &lines)])
}

#[test]
fn every_simulcast_layer_is_taken_in_the_offers_order() {
    for (layers, expected) in [
        ("h;m;l", vec!["h", "m", "l"]),
        ("2;1;0", vec!["2", "1", "0"]),
        ("h,x;l", vec!["h", "l"]),
        ("h;~l", vec!["h", "l"]),
        ("one", vec!["one"]),
    ] {
        let media = video_of(&simulcast(layers));
        assert_eq!(media.rids, expected, "{layers}");
        assert_eq!((media.ssrc, media.rtx_ssrc), (None, None), "{layers}: layers are found by RID");
    }
    let extensions = plan(&simulcast("h;l")).extensions;
    assert!(extensions.contains(&(10, Extension::Rid)) && extensions.contains(&(11, Extension::RepairedRid)));
}

#[test]
fn without_simulcast_a_rid_means_nothing() {
    // OBS 32.1 sends RID 0 on every packet all the same.
    let with_layers = simulcast("h;l");
    for (rule, changes) in [
        ("no a=simulcast", ("a=simulcast:send h;l\r\n", "")),
        ("a=simulcast for receiving", ("a=simulcast:send", "a=simulcast:recv")),
        ("no header extension to carry it", ("a=extmap:10 urn:ietf", "a=extmap:10 urn:x")),
    ] {
        let offer = changed(&with_layers, &[changes]);
        assert!(video_of(&offer).rids.is_empty(), "{rule}");
        assert!(plan(&offer).extensions.iter().all(|(_, extension)| *extension != Extension::Rid), "{rule}");
    }
    for (rule, changes) in [
        ("a layer without an a=rid line does not exist", ("a=rid:h send\r\n", "")),
        ("nor does one the publisher would receive", ("a=rid:h send", "a=rid:h recv")),
    ] {
        assert_eq!(video_of(&changed(&with_layers, &[changes])).rids, ["l"], "{rule}");
    }
}

#[test]
fn sections_without_a_mid_get_a_name_of_their_own() {
    let (head, video) = PUBLISHER.split_once("m=audio").expect("an audio section");
    let (_, video) = video.split_once("m=video").expect("a video section");
    let offer = changed(&format!("{head}m=video{video}m=application 0 X y\r\na=mid:0\r\n"), &[("a=mid:v\r\n", "")]);
    let plan = plan(&offer);
    assert_eq!(plan.media[0].mid, "1");
    assert!(plan.extensions.iter().all(|(_, extension)| *extension != Extension::Mid), "there is no mid to carry");
    let viewer = Offer::parse(&changed(&offer, &[("a=sendonly", "a=recvonly")])).expect("an offer");
    let plan = plan_viewer(&viewer, Some(&tracks())).expect("a viewer");
    assert_eq!((plan.media[0].mid.as_str(), plan.media[0].mid_extension), ("1", None));
}

#[test]
fn a_viewer_is_planned_with_its_own_numbers() {
    let offer = Offer::parse(&viewer_offer()).expect("an offer");
    let plan = plan_viewer(&offer, Some(&tracks())).expect("a viewer");
    let [audio, video] = &plan.media[..] else { panic!("{plan:?}") };
    assert_eq!((audio.mid.as_str(), numbers(audio)), ("a", vec![(Codec::Opus, 111, None)]));
    assert_eq!(
        (audio.mid_extension, audio.audio_level_extension, audio.orientation_extension),
        (Some(4), Some(1), None)
    );
    assert_eq!((video.mid.as_str(), numbers(video)), ("v", vec![(Codec::H264, 96, Some(97))]));
    assert_eq!(
        (video.mid_extension, video.audio_level_extension, video.orientation_extension),
        (Some(4), None, Some(13))
    );
    let (video, audio) = (&video.formats[0], &audio.formats[0]);
    assert!(video.nack && video.pli && video.fir && !audio.nack, "{plan:?}");
}

/// The formats agreed on, in the order of the answer.
fn numbers(media: &ViewerMedia) -> Vec<(Codec, u8, Option<u8>)> {
    media.formats.iter().map(|format| (format.codec, format.pt, format.rtx_pt)).collect()
}

/// The payload type a viewer with these formats gets for this video, or `None` for a refused section.
fn viewed(codec: Codec, published: &str, offered: &[(u8, &str)]) -> Option<u8> {
    let mut formats = String::new();
    let mut lines = String::new();
    for (pt, format) in offered {
        formats += &format!("{pt} ");
        lines += &format!("a=rtpmap:{pt} {codec}/90000\n");
        if !format.is_empty() {
            lines += &format!("a=fmtp:{pt} {format}\n");
        }
    }
    let offer = changed(&with_video(formats.trim(), &lines), &[("a=sendonly", "a=recvonly")]);
    let tracks = Tracks { audio: track(Codec::Opus, ""), video: track(codec, published) };
    let plan = plan_viewer(&Offer::parse(&offer).expect("an offer"), Some(&tracks)).expect("a viewer");
    plan.media.iter().find(|media| media.kind == Kind::Video).map(|media| media.formats[0].pt)
}

#[test]
fn h264_gets_the_closest_profile_that_is_not_below_the_publishers() {
    const CB: &str = "packetization-mode=1;profile-level-id=42e01f";
    const B: &str = "packetization-mode=1;profile-level-id=42001f";
    const M: &str = "packetization-mode=1;profile-level-id=4d001f";
    const CH: &str = "packetization-mode=1;profile-level-id=640c1f";
    const H: &str = "packetization-mode=1;profile-level-id=64001f";
    const H444: &str = "packetization-mode=1;profile-level-id=f4001f";
    const CB0: &str = "profile-level-id=42e01f";
    const H0: &str = "packetization-mode=0;profile-level-id=64001f";
    for (published, offered, chosen) in [
        (CB, &[(96, B), (97, CB)][..], Some(97)),
        (CB, &[(96, H), (97, B), (98, M)], Some(97)),
        (H, &[(96, CB), (97, CH), (98, H444)], Some(98)),
        (H, &[(96, CB), (97, M), (98, CH)], Some(98)), // loose: the nearest from below
        (H, &[(96, CB)], Some(96)),                    // Firefox
        (M, &[(96, CB), (97, CH)], Some(97)),          // Safari
        (CB, &[(96, CB0), (97, CB)], Some(97)),
        (CB, &[(96, H0), (97, CB0)], None), // mode 1 packets are not for mode 0
        (CB, &[(96, ""), (97, H)], Some(97)),
        (CB, &[(96, ""), (97, CB0)], Some(96)), // GStreamer
        (CB0, &[(96, CB), (97, CB0)], Some(97)),
        (CB0, &[(96, CB)], Some(96)), // mode 0 packets are for mode 1 too
        (H0, &[(96, CB0), (97, H)], Some(97)),
        ("packetization-mode=1;profile-level-id=422001f", &[(96, H), (97, CB)], Some(96)), // unknown: the offer's order
        (CB, &[(96, "packetization-mode=1"), (97, H)], Some(97)),
        (CB, &[(96, "packetization-mode=1;profile-level-id=xyz")], Some(96)),
        (CB, &[(96, CB), (97, CB)], Some(96)),
    ] {
        assert_eq!(viewed(Codec::H264, published, offered), chosen, "{published} for {offered:?}");
    }
}

#[test]
fn other_codecs_want_the_same_profile() {
    for (codec, published, offered, chosen) in [
        (Codec::Vp8, "", &[(96, "max-fs=12288")][..], Some(96)),
        (Codec::Vp9, "", &[(96, "profile-id=2"), (97, "profile-id=0")], Some(97)),
        (Codec::Vp9, "profile-id=0", &[(96, "")], Some(96)),
        (Codec::Vp9, "profile-id=2", &[(96, "profile-id=0")], None),
        (Codec::Av1, "", &[(96, "level-idx=5;profile=0;tier=0")], Some(96)),
        (Codec::Av1, "profile=1", &[(96, ""), (97, "profile=1")], Some(97)),
        (Codec::Av1, "profile=1", &[(96, "profile=0")], None),
        (Codec::H265, "level-id=93;profile-id=1", &[(96, "")], Some(96)),
        (Codec::H265, "profile-id=2", &[(96, "profile-id=1")], None),
    ] {
        assert_eq!(viewed(codec, published, offered), chosen, "{codec} {published} for {offered:?}");
    }
}

#[test]
fn what_a_viewer_cannot_have_is_left_out_and_the_rest_is_sent() {
    let offer = Offer::parse(&viewer_offer()).expect("an offer");
    for (rule, tracks, mids) in [
        ("both", tracks(), &["a", "v"][..]),
        ("no such codec", Tracks { video: track(Codec::Av1, ""), ..tracks() }, &["a"]),
        ("nothing published", Tracks { audio: None, ..tracks() }, &["v"]),
    ] {
        let plan = plan_viewer(&offer, Some(&tracks)).expect("a viewer");
        assert_eq!(plan.media.iter().map(|media| media.mid.as_str()).collect::<Vec<_>>(), mids, "{rule}");
    }
}

#[test]
fn aac_is_left_out_with_a_reason() {
    let aac = track(Codec::Aac { clock_rate: 44_100, channels: 2 }, "mode=AAC-hbr;config=1210");
    let offer = Offer::parse(&viewer_offer()).expect("an offer");
    let plan = plan_viewer(&offer, Some(&Tracks { audio: aac.clone(), ..tracks() })).expect("the video fits");
    assert_eq!(plan.media.iter().map(|media| media.kind).collect::<Vec<_>>(), [Kind::Video]);
    let [reason] = &plan.left_out[..] else { panic!("{:?}", plan.left_out) };
    assert!(reason.starts_with("the stream's audio is AAC, which no browser takes over WebRTC"), "{reason}");
    let refused = plan_viewer(&offer, Some(&Tracks { audio: aac, video: None }));
    assert_refused("AAC alone", refused, Refused::Codec("the stream's audio is AAC"));
    assert!(plan_viewer(&offer, Some(&tracks())).expect("all of it fits").left_out.is_empty());
}

#[test]
fn a_viewer_for_whom_nothing_is_left_is_told_which_codec_it_lacks() {
    use Refused::Unusable;
    let refusals = [
        (
            "wrong codecs",
            viewer_offer(),
            Tracks { audio: None, video: track(Codec::Vp9, "profile-id=2") },
            Refused::Codec("video is VP9 with profile-id=2, and the video section offers H264, red"),
        ),
        (
            "wrong audio",
            viewer_offer(),
            Tracks { audio: track(Codec::G722, ""), video: None },
            Refused::Codec("audio is G722, and the audio section offers opus, PCMU"),
        ),
        ("no tracks", viewer_offer(), Tracks::default(), Unusable("the stream has no audio; the stream has no video")),
        ("sendonly", PUBLISHER.to_owned(), tracks(), Unusable("sendonly; a viewer offers recvonly")),
        ("inactive", changed(PUBLISHER, &[("a=sendonly", "a=inactive")]), tracks(), Unusable("inactive")),
        (
            "half sendonly",
            changed(&viewer_offer(), &[("a=mid:v\r\na=recvonly", "a=mid:v\r\na=sendonly")]),
            tracks(),
            Unusable("video section is sendonly"),
        ),
    ];
    for (rule, offer, tracks, expected) in refusals {
        assert_refused(rule, plan_viewer(&Offer::parse(&offer).expect("an offer"), Some(&tracks)), expected);
    }
}

#[test]
fn a_viewer_may_leave_its_direction_out_or_offer_both() {
    for changes in [[("a=sendonly\r\n", "")], [("a=sendonly", "a=sendrecv")]] {
        let offer = Offer::parse(&changed(PUBLISHER, &changes)).expect("an offer");
        assert_eq!(plan_viewer(&offer, Some(&tracks())).expect("a viewer").media.len(), 2);
    }
}

#[test]
fn what_is_published_now_stands_first_and_what_could_follow_it_behind() {
    let formats = "a=rtpmap:100 VP8/90000\na=rtpmap:101 rtx/90000\na=fmtp:101 apt=100\na=rtpmap:102 H264/90000\n\
        a=fmtp:102 packetization-mode=0;profile-level-id=42e01f\na=rtpmap:103 H264/90000\n\
        a=fmtp:103 packetization-mode=1;profile-level-id=42e01f\na=rtpmap:104 rtx/90000\na=fmtp:104 apt=103\n\
        a=rtpmap:105 VP9/90000\na=fmtp:105 profile-id=1\na=rtpmap:106 AV1/90000\na=rtpmap:107 H264/90000\n\
        a=fmtp:107 packetization-mode=1;profile-level-id=64001f\n";
    let offer = changed(&with_video("100 101 102 103 104 105 106 107", formats), &[("a=sendonly", "a=recvonly")]);
    let offer = Offer::parse(&offer).expect("an offer");
    let agreed = |tracks: Option<&Tracks>, kind| {
        let plan = plan_viewer(&offer, tracks).expect("a viewer");
        plan.media.iter().find(|media| media.kind == kind).map(numbers)
    };
    let (vp8, av1) = ((Codec::Vp8, 100, Some(101)), (Codec::Av1, 106, None));
    let (baseline, high) = ((Codec::H264, 103, Some(104)), (Codec::H264, 107, None));
    let video = |codec, format| Tracks { video: track(codec, format), ..tracks() };
    // Mode 0 of the same profile is what mode 1 takes too, VP9 of profile 1 nobody plays.
    for (tracks, expected) in [
        (Some(video(Codec::H264, "packetization-mode=1;profile-level-id=64001f")), vec![high, vp8, baseline, av1]),
        (Some(video(Codec::H264, "packetization-mode=1;profile-level-id=42e01f")), vec![baseline, vp8, av1, high]),
        (Some(video(Codec::Av1, "")), vec![av1, vp8, baseline, high]),
        (None, vec![vp8, baseline, av1, high]),
    ] {
        assert_eq!(agreed(tracks.as_ref(), Kind::Video), Some(expected), "{tracks:?}");
    }
    assert_eq!(agreed(Some(&video(Codec::H265, "")), Kind::Video), None, "nothing fits: refused as a whole");
    let (opus, pcmu) = ((Codec::Opus, 111, None), (Codec::Pcmu, 0, None));
    assert_eq!(agreed(Some(&tracks()), Kind::Audio), Some(vec![opus]), "another clock rate cannot follow");
    assert_eq!(agreed(None, Kind::Audio), Some(vec![opus, pcmu]));
}

#[test]
fn formats_leave_room_for_candidates_however_many_are_offered() {
    let (mut numbers, mut lines) = (String::new(), String::new());
    for pt in (0..64).chain(96..128).step_by(2) {
        numbers += &format!("{pt} {} ", pt + 1);
        lines += &format!(
            "a=rtpmap:{pt} H265/90000\na=rtcp-fb:{pt} nack\na=rtcp-fb:{pt} nack pli\na=rtcp-fb:{pt} ccm fir\n"
        );
        lines += &format!("a=fmtp:{pt} profile-id=1;tier-flag={0};level-id={0};tx-mode=SRST\n", "1".repeat(16));
        lines += &format!("a=rtpmap:{0} rtx/90000\na=fmtp:{0} apt={pt}\n", pt + 1);
    }
    let offer = changed(&with_video(numbers.trim(), &lines), &[("a=sendonly", "a=recvonly")]);
    let offer = Offer::parse(&offer).expect("an offer");
    let plan = plan_viewer(&offer, None).expect("a viewer");
    let video = plan.media.iter().find(|media| media.kind == Kind::Video).expect("video");
    assert!((10..40).contains(&video.formats.len()), "{}", video.formats.len());
    let answer = answer_to_viewer(&offer, &plan);
    assert!((6000..8192).contains(&answer.len()), "{} bytes", answer.len());
    assert!(answer.contains("192.0.2.5 8189 typ host"), "every candidate has its place: {answer}");
}
