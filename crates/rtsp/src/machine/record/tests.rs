use whipstitch_media::Codec;

use super::*;
use crate::machine::tests::Scene;

const TCP: &str = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n";
const ANY: &str = "Transport: RTP/AVP/TCP;unicast;mode=\"RECORD\"\r\n";
const UDP: &str = "Transport: RTP/AVP/UDP;unicast;client_port=5000-5001;mode=record\r\n";
const S1: &str = "Session: s1\r\n";

/// A description of VP8 and Opus, as FFmpeg names their tracks.
const BOTH: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=No Name\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=control:streamid=0\r\n\
    m=audio 0 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\na=control:streamid=1\r\n";

/// Fields and body of an ANNOUNCE.
fn announcement(sdp: &str) -> String {
    format!("Content-Type: application/sdp\r\nUser-Agent: Lavf\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len())
}

impl Scene {
    fn announce(&mut self, uri: &str) -> String {
        self.send(&format!("ANNOUNCE {uri}"), &announcement(BOTH))
    }

    fn announced() -> Scene {
        let mut scene = Scene::new();
        assert!(scene.announce("rtsp://h/live/open").starts_with("200 "));
        scene
    }

    fn recording() -> Scene {
        let mut scene = Scene::announced();
        scene.status("SETUP rtsp://h/live/open/streamid=0", TCP);
        assert_eq!(scene.status("RECORD rtsp://h/live/open", S1), 200);
        scene
    }
}

#[test]
fn what_is_announced_is_asked_for_with_what_the_client_calls_itself() {
    let scene = Scene::announced();
    let [Question::Announce(Announcement { stream, sections, process: None, user_agent })] = &scene.asked[..] else {
        panic!("{:?}", scene.asked)
    };
    let codecs: Vec<_> = sections.iter().map(|section| (section.codec, section.pt)).collect();
    assert_eq!((stream.as_str(), user_agent.as_deref()), ("open", Some("Lavf")));
    assert_eq!(codecs, [(Codec::Vp8, 96), (Codec::Opus, 97)]);
}

#[test]
fn ffmpeg_tries_udp_and_goes_on_with_tcp() {
    let mut scene = Scene::announced();
    let fields = |transport: &str, session: &str| format!("{transport}{session}");
    assert_eq!(scene.status("SETUP rtsp://h/live/open/streamid=0", UDP), 461);
    let reply = scene.send("SETUP rtsp://h/live/open/streamid=0", TCP);
    assert!(reply.contains("|Session: s1;timeout=60|"), "{reply}");
    assert!(reply.contains("|Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record|"), "{reply}");
    let taken = fields(TCP, S1);
    assert_eq!(scene.status("SETUP rtsp://h/live/open/streamid=1", &taken), 461, "the channels are the video's");
    let reply = scene.send("SETUP rtsp://h/live/open/streamid=1", &fields(ANY, S1));
    assert!(reply.contains("interleaved=2-3;mode=record|"), "{reply}");
    let reply = scene.send("RECORD rtsp://h/live/open", &format!("{S1}Range: npt=0.000-\r\n"));
    assert!(reply.starts_with("200 ") && reply.contains("|Session: s1;timeout=60|"), "{reply}");
    let tracks = vec![(Kind::Video, (0, 1)), (Kind::Audio, (2, 3))];
    assert_eq!(scene.asked.last(), Some(&Question::Record(Begins { session: "s1".into(), tracks })));
}

#[test]
fn a_track_is_found_by_its_control_wherever_the_client_puts_it() {
    for (announced, control, uri, status) in [
        ("rtsp://h/live/open", "streamid=0", "rtsp://h/live/open/streamid=0", 200),
        ("rtsp://h/live/open/", "stream=0", "rtsp://h/live/open/stream=0", 200),
        ("rtsp://h/open?token=x", "streamid=0", "rtsp://h/open?token=x/streamid=0", 200),
        ("rtsp://h/open?token=x", "streamid=0", "rtsp://h/open/streamid=0", 200),
        ("rtsp://h/open", "rtsp://h/open/video", "rtsp://h/open/video", 200),
        ("rtsp://h/open", "rtsp://elsewhere/v", "rtsp://elsewhere/v", 200),
        ("rtsp://h/open", "trackID=7", "rtsp://h/open/trackID=7", 200),
        ("rtsp://h/open", "streamid=0", "rtsp://h/open/streamid=9", 404),
        ("rtsp://h/open", "streamid=0", "rtsp://h/other/streamid=0", 404),
        ("rtsp://h/open", "streamid=0", "rtsp://h/open", 459),
    ] {
        let sdp = BOTH.replace("streamid=0", control);
        let mut scene = Scene::new();
        assert_eq!(scene.status(&format!("ANNOUNCE {announced}"), &announcement(&sdp)), 200, "{announced}");
        assert_eq!(scene.status(&format!("SETUP {uri}"), TCP), status, "{uri}");
    }
    let one = BOTH.split("m=audio").next().unwrap_or_default().replace("a=control:streamid=0\r\n", "");
    let mut scene = Scene::new();
    scene.send("ANNOUNCE rtsp://h/open", &announcement(&one));
    assert_eq!(scene.status("SETUP rtsp://h/open", TCP), 200, "the only track needs no name");
}

#[test]
fn nobody_records_before_everything_is_said() {
    for (what, scene, line, fields, status) in [
        ("no announcement", Scene::new(), "RECORD rtsp://h/live/open", "", 454),
        ("nor session", Scene::new(), "RECORD rtsp://h/live/open", S1, 454),
        ("no SETUP", Scene::announced(), "RECORD rtsp://h/live/open", "", 455),
        ("a session before SETUP", Scene::announced(), "RECORD rtsp://h/live/open", S1, 454),
        ("PLAY of what is sent", Scene::recording(), "PLAY rtsp://h/live/open", S1, 455),
        ("SETUP too late", Scene::recording(), "SETUP rtsp://h/live/open/streamid=1", &format!("{ANY}{S1}"), 455),
        ("another announcement", Scene::recording(), "ANNOUNCE rtsp://h/live/x", &announcement(BOTH), 455),
        ("again", Scene::recording(), "RECORD rtsp://h/live/open", S1, 200),
        ("a sign of life", Scene::recording(), "GET_PARAMETER rtsp://h/live/open", S1, 200),
        ("the end", Scene::recording(), "TEARDOWN rtsp://h/live/open", S1, 200),
    ] {
        let mut scene = scene;
        assert_eq!(scene.status(line, fields), status, "{what}");
    }
    let mut scene = Scene::playing();
    assert_eq!(scene.status("RECORD rtsp://h/live/open", S1), 455, "what is read");
    let mut scene = Scene::recording();
    assert_eq!(scene.status("PAUSE rtsp://h/live/open", S1), 200);
    let setup = "SETUP rtsp://h/live/open/streamid=1";
    assert_eq!(scene.status(setup, &format!("{ANY}{S1}")), 455, "what is paused goes on as it was");
    assert_eq!(scene.status("ANNOUNCE rtsp://h/live/open", &announcement(BOTH)), 200);
    assert_eq!(scene.status(setup, ANY), 200, "unless it is announced anew");
}

#[test]
fn a_session_is_paused_goes_on_and_ends() {
    let mut scene = Scene::recording();
    for (line, status) in [("PAUSE", 200), ("PAUSE", 455), ("RECORD", 200), ("TEARDOWN", 200), ("RECORD", 454)] {
        assert_eq!(scene.status(&format!("{line} rtsp://h/live/open"), S1), status, "{line}");
    }
    assert_eq!(scene.effects, [Effect::Pause("s1".into()), Effect::End("s1".into())]);
    assert!(scene.announce("rtsp://h/live/open").starts_with("200 "), "and may begin anew");
    assert_eq!(scene.status("SETUP rtsp://h/live/open/streamid=0", TCP), 200);
    assert_eq!(scene.status("RECORD rtsp://h/live/open", "Session: s2\r\n"), 200);
}

#[test]
fn what_is_announced_again_takes_the_place_of_what_was() {
    let mut scene = Scene::announced();
    scene.status("SETUP rtsp://h/live/open/streamid=0", TCP);
    assert!(scene.announce("rtsp://h/live/another").starts_with("200 "));
    assert_eq!(scene.status("RECORD rtsp://h/live/open", S1), 454);
    let reply = scene.send("SETUP rtsp://h/live/another/streamid=0", TCP);
    assert!(reply.contains("Session: s2;"), "{reply}");
}

#[test]
fn who_may_not_send_is_told_why() {
    let mut scene = Scene::new();
    for (line, fields, status, words) in [
        ("ANNOUNCE rtsp://h/shut", announcement(BOTH), 401, "token is needed as the password"),
        ("ANNOUNCE rtsp://h/other", announcement(BOTH), 404, "No stream has such a name here"),
        ("ANNOUNCE rtsp://h/a/b", announcement(BOTH), 404, "letters, digits and . _ - behind"),
        ("ANNOUNCE rtsp://h/open/trackID=0", announcement(BOTH), 404, "Not Found"),
        ("ANNOUNCE rtsp://h/open", announcement("hello"), 400, "does not begin with the line v=0"),
        ("ANNOUNCE rtsp://h/open", String::new(), 400, "does not begin with the line v=0"),
        ("ANNOUNCE rtsp://h/open", announcement(BOTH).replace("/sdp", "/json"), 415, "Unsupported Media Type"),
        (
            "ANNOUNCE rtsp://h/open",
            announcement(&BOTH.replace("VP8/90000", "THEO/90000")),
            415,
            "THEO, which cannot be taken; send one of H264",
        ),
    ] {
        let reply = scene.send(line, &fields);
        assert!(reply.starts_with(&status.to_string()), "{line}: {reply}");
        assert!(reply.split('|').next().is_some_and(|line| line.contains(words)), "{line}: {reply}");
    }
    assert!(scene.asked.is_empty());
}

#[test]
fn a_stream_that_is_published_is_a_state_that_may_change() {
    let mut scene = Scene::new();
    scene.refusal = Some(Refusal::occupied(2));
    let reply = scene.announce("rtsp://h/live/open");
    assert!(reply.starts_with("455 The stream is being published already|"), "{reply}");
    assert!(reply.contains("|Retry-After: 2|") && reply.contains("|Allow: OPTIONS, "), "{reply}");
    assert_eq!(scene.status("SETUP rtsp://h/live/open/streamid=0", TCP), 404, "nothing is announced");
    let mut scene = Scene::announced();
    scene.status("SETUP rtsp://h/live/open/streamid=0", TCP);
    scene.refusal = Some(StatusCode::ServiceUnavailable.into());
    assert_eq!(scene.status("RECORD rtsp://h/live/open", S1), 503);
    assert_eq!(scene.status("RECORD rtsp://h/live/open", S1), 454, "its place is gone");
}

#[test]
fn a_child_announces_as_its_process() {
    let mut scene = Scene::new();
    assert!(scene.announce("rtsp://h/live/open?process=feeds").starts_with("200 "));
    let [Question::Announce(Announcement { process, .. })] = &scene.asked[..] else { panic!("{:?}", scene.asked) };
    assert_eq!(process.as_deref(), Some("p"));
    let reply = scene.send("SETUP rtsp://h/live/open?process=feeds/streamid=0", TCP);
    assert!(reply.starts_with("200 "), "{reply}");
    assert!(Scene::new().announce("rtsp://h/live/open?process=reads").starts_with("403 "));
}

#[test]
fn a_stream_that_is_kept_for_a_process_is_refused_with_a_reason() {
    let mut scene = Scene::new();
    scene.refusal = Some(Refusal::held());
    let reply = scene.announce("rtsp://h/live/open");
    assert!(reply.starts_with("455 The stream is kept for a process of this server"), "{reply}");
    assert!(!reply.contains("Retry-After"), "{reply}");
}
