use super::*;
use crate::access::{Asked, Verdict};
use crate::auth::Proof;
use crate::wire::Decoder;
use std::net::IpAddr;

/// `open` is everybody's; `shut` needs the password `secret`; `other` is served to nobody.
struct Rules;

impl Access for Rules {
    fn judge(&self, _: Right, stream: &StreamKey, _: IpAddr, proof: Option<&Proof<'_>>) -> Verdict {
        match (stream.as_str(), proof) {
            ("guessed", _) => Verdict::TooOften(std::time::Duration::from_millis(1200)),
            ("shut" | "gone", None) => Verdict::Unknown,
            ("shut" | "gone", Some(proof)) if proof.of("weak") => Verdict::Forbidden,
            ("shut" | "gone", Some(proof)) if !proof.of("secret") => Verdict::Unknown,
            _ => Verdict::Allowed,
        }
    }

    fn judge_child(
        &self,
        right: Right,
        stream: &StreamKey,
        _: IpAddr,
        ours: Option<bool>,
        credential: &str,
    ) -> Verdict {
        match (credential, right, stream.as_str()) {
            ("reads" | "feeds", ..) if ours.is_none() => Verdict::Whose,
            ("reads" | "feeds", ..) if ours == Some(false) => Verdict::Unknown,
            ("reads", Right::Play, "open") | ("feeds", Right::Publish, "open") => Verdict::Child("p".into()),
            ("reads" | "feeds", ..) => Verdict::Forbidden,
            _ => Verdict::Unknown,
        }
    }

    fn is_ours(&self, _: std::net::SocketAddr, _: u16) -> Asked {
        unreachable!("the machine asks nobody")
    }

    fn serves(&self, stream: &StreamKey) -> bool {
        stream.as_str() != "other"
    }
}

/// A connection from this machine, of a client that numbers its requests, and the answers a server gives that has every
/// stream with both tracks.
pub(super) struct Scene {
    pub(super) machine: Machine,
    cseq: u32,
    pub(super) effects: Vec<Effect>,
    /// What a client was allowed to send, or begins to.
    pub(super) asked: Vec<Question>,
    /// Why it may not.
    pub(super) refusal: Option<Refusal>,
    sessions: u32,
    /// Whether its connection is a child's or our own user's; and how often that was asked.
    ours: bool,
    whose: usize,
    /// It was told the last it is told.
    over: bool,
}

impl Scene {
    pub(super) fn new() -> Scene {
        Self::in_a_place(false)
    }

    fn in_a_place(only_children: bool) -> Scene {
        let peer = "127.0.0.1:1000".parse().unwrap();
        let facts = Facts { peer, nonce: "n".into(), access: Arc::new(Rules), only_children };
        Scene {
            machine: Machine::new(facts),
            cseq: 0,
            effects: Vec::new(),
            asked: Vec::new(),
            refusal: None,
            sessions: 0,
            ours: true,
            whose: 0,
            over: false,
        }
    }

    fn step(&mut self, line: &str, fields: &str) -> Step {
        let (fields, body) = fields.split_once("\r\n\r\n").map_or((fields, ""), |(fields, body)| (fields, body));
        let blank = if fields.is_empty() || fields.ends_with("\r\n") { "" } else { "\r\n" };
        self.cseq += 1;
        let mut decoder = Decoder::default();
        decoder.push(format!("{line} RTSP/1.0\r\nCSeq: {}\r\n{fields}{blank}\r\n{body}", self.cseq).as_bytes());
        let item = decoder.next().unwrap().expect("a whole request");
        match self.machine.handle(item).expect("a request") {
            Step::Whose(request) => {
                self.whose += 1;
                self.machine.tell(self.ours);
                self.machine.handle(Item::Request(*request)).expect("a request")
            }
            step => step,
        }
    }

    /// The response: everything behind `RTSP/1.0 `, its lines with `|` between.
    pub(super) fn send(&mut self, line: &str, fields: &str) -> String {
        assert!(!self.over, "it is over");
        let reply = match self.step(line, fields) {
            Step::Whose(_) => panic!("asked twice"),
            Step::Reply(reply) => reply,
            Step::Last(reply) => {
                self.over = true;
                reply
            }
            Step::Do(effect, reply) => {
                self.effects.push(effect);
                reply
            }
            Step::Ask(question) => {
                let answer = self.answer(question);
                self.machine.answered(answer)
            }
        };
        let text = String::from_utf8(reply).unwrap();
        assert!(text.contains(&format!("CSeq: {}\r\n", self.cseq)), "{text}");
        text.strip_prefix("RTSP/1.0 ").expect("a status line").replace("\r\n", "|")
    }

    pub(super) fn status(&mut self, line: &str, fields: &str) -> u16 {
        self.send(line, fields).get(..3).and_then(|status| status.parse().ok()).expect("a status")
    }

    fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Describe { stream, .. } if stream.as_str() == "gone" => {
                Answer::Described(Err(StatusCode::NotFound))
            }
            Question::Describe { .. } => Answer::Described(Ok("v=0\r\n".into())),
            Question::SetUp { track: None, .. } => Answer::SetUp(Err(StatusCode::AggregateOperationNotAllowed)),
            Question::SetUp { session, track: Some(kind), way, .. } => {
                let session = session.unwrap_or_else(|| {
                    self.sessions += 1;
                    format!("s{}", self.sessions)
                });
                let ports = matches!(way, ChosenWay::Udp(..)).then_some((6000, 6001));
                Answer::SetUp(Ok(SetUp { session, kind, ssrc: 0xABCD, ports }))
            }
            Question::Play { .. } => Answer::Playing(Ok(vec![First { kind: Kind::Video, seq: 7, time: 90 }])),
            question @ Question::Announce(_) => {
                self.asked.push(question);
                self.sessions += 1;
                Answer::Announced(self.refusal.take().map_or(Ok(format!("s{}", self.sessions)), Err))
            }
            question @ Question::Record(_) => {
                self.asked.push(question);
                Answer::Recording(self.refusal.take().map_or(Ok(()), Err))
            }
        }
    }

    /// Sets both tracks up in the connection and plays.
    pub(super) fn playing() -> Scene {
        let mut scene = Scene::new();
        scene.send("SETUP rtsp://h/live/open/trackID=0", TCP);
        scene.send("SETUP rtsp://h/live/open/trackID=1", "Transport: RTP/AVP/TCP;interleaved=2-3\r\nSession: s1\r\n");
        assert_eq!(scene.status("PLAY rtsp://h/live/open/", S1), 200);
        scene
    }
}

const TCP: &str = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";
const UDP: &str = "Transport: RTP/AVP;unicast;client_port=5000-5001\r\n";
const S1: &str = "Session: s1\r\n";

#[test]
fn options_tell_what_there_is_and_keep_a_session_alive() {
    let mut scene = Scene::playing();
    for line in ["OPTIONS *", "OPTIONS rtsp://h/live/shut", "OPTIONS rtsp://h/"] {
        let reply = scene.send(line, "");
        assert!(
            reply.contains("Public: OPTIONS, DESCRIBE, ANNOUNCE, SETUP, PLAY, PAUSE, GET_PARAMETER, TEARDOWN, RECORD|"),
            "{reply}"
        );
    }
    scene.send("OPTIONS *", "Session: s2\r\n");
    assert!(scene.effects.is_empty());
    scene.send("OPTIONS *", S1);
    assert_eq!(scene.effects, [Effect::Touch("s1".into())]);
}

#[test]
fn a_description_says_where_its_tracks_are() {
    let mut scene = Scene::new();
    for (uri, base) in [
        ("rtsp://h:8554/live/open", "rtsp://h:8554/live/open/"),
        ("rtsp://h/open/", "rtsp://h/open/"),
        ("rtsp://[::1]:8554/open", "rtsp://[::1]:8554/open/"),
        // A track stands behind it, and a query would swallow that.
        ("rtsp://h/live/open?key=a/b", "rtsp://h/live/open/"),
    ] {
        let reply = scene.send(&format!("DESCRIBE {uri}"), "Accept: application/sdp\r\n");
        assert!(reply.starts_with("200 ") && reply.ends_with("||v=0|"), "{reply}");
        assert!(reply.contains("Content-Type: application/sdp|"), "{reply}");
        assert!(reply.contains(&format!("Content-Base: {base}|")), "{reply}");
    }
}

#[test]
fn every_request_has_its_status() {
    for (line, fields, status) in [
        ("DESCRIBE rtsp://h/live/open", "", 200),
        ("DESCRIBE rtsp://h/live/open", "Accept: text/html, */*;q=0.1\r\n", 200),
        ("DESCRIBE rtsp://h/live/open", "Accept: text/html\r\n", 406),
        ("DESCRIBE rtsp://h/live/open", "Require: com.example.x\r\n", 551),
        ("DESCRIBE rtsp://h/app/open", "", 404),
        ("DESCRIBE rtsp://h/other", "", 404),
        ("DESCRIBE rtsp://h/shut", "", 401),
        ("DESCRIBE rtsp://h/gone", "", 401),
        ("DESCRIBE *", "", 404),
        ("SETUP rtsp://h/live/open/trackID=0", TCP, 200),
        ("SETUP rtsp://h/live/open/trackID=0", UDP, 200),
        ("SETUP rtsp://h/live/open/trackID=0", "", 461),
        ("SETUP rtsp://h/live/open/trackID=0", "Transport: RTP/SAVP;unicast;client_port=5000-5001\r\n", 461),
        ("SETUP rtsp://h/live/open/trackID=0", "Transport: RTP/AVP;multicast\r\n", 461),
        ("SETUP rtsp://h/live/open/trackID=0", "Transport: RTP/AVP/TCP;mode=record\r\n", 461),
        ("SETUP rtsp://h/live/open/trackID=0", "Transport: RTP/AVP;destination=192.0.2.1;client_port=5-6\r\n", 403),
        ("SETUP rtsp://h/live/open/trackID=7", TCP, 404),
        ("SETUP rtsp://h/live/open", TCP, 459),
        ("SETUP rtsp://h/live/open/trackID=0", "Transport: RTP/AVP/TCP\r\nSession: s9\r\n", 454),
        ("PLAY rtsp://h/live/open", "", 454),
        ("PLAY rtsp://h/live/open", S1, 454),
        ("PAUSE rtsp://h/live/open", S1, 454),
        ("TEARDOWN rtsp://h/live/open", S1, 454),
        ("GET_PARAMETER rtsp://h/live/open", S1, 454),
        ("GET_PARAMETER rtsp://h/live/open", "", 200),
        ("SET_PARAMETER rtsp://h/live/open", "", 405),
        ("REDIRECT rtsp://h/live/open", "", 501),
        ("FLY rtsp://h/live/open", "", 501),
    ] {
        assert_eq!(Scene::new().status(line, fields), status, "{line} {fields}");
    }
}

#[test]
fn a_track_is_set_up_the_way_that_was_asked_for() {
    let mut scene = Scene::new();
    let reply = scene.send("SETUP rtsp://h/live/open/trackID=0", UDP);
    assert!(reply.contains("Session: s1;timeout=60|"), "{reply}");
    let expected = "Transport: RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001;ssrc=0000ABCD|";
    assert!(reply.contains(expected), "{reply}");
    // FFmpeg's way back: another session of the same connection.
    let reply = scene.send("SETUP rtsp://h/live/open/trackID=0", "Transport: RTP/AVP/TCP;unicast\r\n");
    assert!(reply.contains("Session: s2;") && reply.contains("RTP/AVP/TCP;unicast;interleaved=0-1;"), "{reply}");
    // Channels that another track has are not free, and ours skip them.
    let again = "Transport: RTP/AVP/TCP;interleaved=1-2\r\nSession: s2\r\n";
    assert_eq!(scene.status("SETUP rtsp://h/live/open/trackID=1", again), 461);
    let reply = scene.send("SETUP rtsp://h/live/open/trackID=1", "Transport: RTP/AVP/TCP\r\nSession: s2\r\n");
    assert!(reply.contains("interleaved=2-3;"), "{reply}");
    // One session goes one way, and is one stream.
    let udp = format!("{UDP}Session: s2\r\n");
    assert_eq!(scene.status("SETUP rtsp://h/live/open/trackID=1", &udp), 461);
    assert_eq!(scene.status("SETUP rtsp://h/live/x/trackID=1", "Transport: RTP/AVP/TCP\r\nSession: s2\r\n"), 459);
    // And a connection has only so many.
    for _ in 0..2 {
        assert_eq!(scene.status("SETUP rtsp://h/live/open/trackID=0", UDP), 200);
    }
    assert_eq!(scene.status("SETUP rtsp://h/live/open/trackID=0", UDP), 453);
}

#[test]
fn what_plays_is_named_by_the_uris_it_was_set_up_by() {
    let mut scene = Scene::new();
    scene.send("SETUP rtsp://h:8554/live/open/trackID=0", TCP);
    let reply = scene.send("PLAY rtsp://h:8554/live/open/", &format!("{S1}Range: npt=0.000-\r\n"));
    assert!(reply.contains("RTP-Info: url=rtsp://h:8554/live/open/trackID=0;seq=7;rtptime=90|"), "{reply}");
    assert!(reply.contains("Session: s1;timeout=60|") && reply.contains("Range: npt=now-|"), "{reply}");
}

#[test]
fn a_session_plays_pauses_goes_on_and_ends() {
    let mut scene = Scene::playing();
    let setup = format!("{TCP}{S1}");
    for (line, fields, status) in [
        ("PLAY rtsp://h/live/open", S1, 200),
        ("SETUP rtsp://h/live/open/trackID=0", setup.as_str(), 455),
        ("GET_PARAMETER rtsp://h/live/open", S1, 200),
        ("GET_PARAMETER rtsp://h/live/open", "Session: s1\r\nContent-Length: 0\r\n", 200),
        ("PAUSE rtsp://h/live/open", S1, 200),
        ("PAUSE rtsp://h/live/open", S1, 455),
        ("PLAY rtsp://h/live/open", "Session: s1;timeout=60\r\n", 200),
        ("TEARDOWN rtsp://h/live/open/trackID=1", S1, 200),
        ("TEARDOWN rtsp://h/live/open", S1, 454),
    ] {
        assert_eq!(scene.status(line, fields), status, "{line}");
    }
    let id = || "s1".to_owned();
    let expected =
        [Effect::Touch(id()), Effect::Touch(id()), Effect::Touch(id()), Effect::Pause(id()), Effect::End(id())];
    assert_eq!(scene.effects, expected);
}

#[test]
fn parameters_that_nobody_knows_are_not_understood() {
    let mut decoder = Decoder::default();
    decoder.push(b"GET_PARAMETER rtsp://h/live/open RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 8\r\n\r\npackets\n");
    let item = decoder.next().unwrap().unwrap();
    let Some(Step::Reply(reply)) = Scene::new().machine.handle(item) else { panic!("a reply") };
    assert!(reply.starts_with(b"RTSP/1.0 451 "));
}

/// FFmpeg and GStreamer show the words of the status line, and nothing else.
#[test]
fn the_words_say_what_would_help() {
    // "x:weak" and "x:secret".
    let (weak, secret) = ("Authorization: Basic eDp3ZWFr\r\n", "Authorization: Basic eDpzZWNyZXQ=\r\n");
    for (uri, fields, line) in [
        ("rtsp://h/live/a%20b", "", "404 No stream has such a name here; one is letters, digits and . _ -"),
        ("rtsp://h/live/other", "", "404 No stream has such a name here"),
        ("rtsp://h/live/shut", "", "401 A token is needed as the password"),
        ("rtsp://h/live/shut", weak, "403 This token does not allow that"),
        ("rtsp://h/live/gone", secret, "404 Nobody is publishing this stream"),
    ] {
        let reply = Scene::new().send(&format!("DESCRIBE {uri}"), fields);
        assert!(reply.starts_with(line), "{uri}: {reply}");
    }
}

#[test]
fn who_shows_nothing_of_use_is_asked_in_two_lines_whether_the_stream_is_there_or_not() {
    let told = |stream: &str, fields: &str| Scene::new().send(&format!("DESCRIBE rtsp://h/live/{stream}"), fields);
    let asked = told("shut", "");
    assert!(asked.contains("|WWW-Authenticate: Digest realm=\"whipstitch\", nonce=\"n\"|"), "{asked}");
    assert!(asked.contains("|WWW-Authenticate: Basic realm=\"whipstitch\"|"), "{asked}");
    assert_eq!(asked, told("gone", ""));
    for (user, password, status) in
        [("x", "secret", "200"), ("", "secret", "200"), ("x", "wrong", "401"), ("x", "weak", "403")]
    {
        use base64::Engine as _;
        let shown = base64::prelude::BASE64_STANDARD.encode(format!("{user}:{password}"));
        let reply = told("shut", &format!("Authorization: Basic {shown}\r\n"));
        assert!(reply.starts_with(status), "{password}: {reply}");
        if status != "200" {
            assert_eq!(reply, told("gone", &format!("Authorization: Basic {shown}\r\n")));
        }
    }
    let stale = told(
        "shut",
        "Authorization: Digest username=\"u\", realm=\"whipstitch\", nonce=\"old\", uri=\"rtsp://h/live/shut\", response=\"0\"\r\n",
    );
    assert!(stale.contains("nonce=\"n\", stale=true|"), "{stale}");
}

#[test]
fn who_guesses_is_told_to_wait() {
    let reply = Scene::new().send("DESCRIBE rtsp://h/live/guessed", "");
    assert!(reply.starts_with("503 ") && reply.contains("|Retry-After: 2|"), "{reply}");
}

#[test]
fn a_request_waits_for_the_answer_to_the_one_before() {
    let mut scene = Scene::new();
    let Step::Ask(question) = scene.step("DESCRIBE rtsp://h/live/open", "") else { panic!("a question") };
    assert_eq!(question, Question::Describe { stream: StreamKey::parse("open").unwrap(), asks: Asks::Anybody });
    let refused = scene.machine.answered(Answer::Described(Err(StatusCode::ServiceUnavailable)));
    assert!(refused.starts_with(b"RTSP/1.0 503 "));
    assert!(scene.machine.answered(Answer::Described(Ok(String::new()))).is_empty(), "nothing was asked");
}

#[test]
fn http_is_sent_away_and_what_cannot_be_understood_told_so() {
    let scene = Scene::new();
    assert!(scene.machine.violated(Violation::Http).starts_with(b"HTTP/1.1 404 "));
    let reply = scene.machine.violated(Violation::Rtsp(StatusCode::RequestMessageBodyTooLarge));
    let text = String::from_utf8(reply).unwrap();
    assert!(text.starts_with("RTSP/1.0 413 ") && text.contains("Connection: close\r\n"), "{text}");
}

#[test]
fn a_child_is_known_by_its_credential_however_open_the_stream_is_and_for_all_that_follows() {
    let mut scene = Scene::new();
    let asks = |step: Step| match step {
        Step::Ask(Question::Describe { asks, .. } | Question::SetUp { asks, .. }) => asks,
        step => panic!("{step:?}"),
    };
    assert_eq!(asks(scene.step("DESCRIBE rtsp://h/live/open?process=reads", "")), Asks::Child);
    let reply = scene.machine.answered(Answer::Described(Ok("v=0\r\n".into())));
    assert!(!String::from_utf8(reply).unwrap().contains("reads"), "it is not told again");
    // As the description has it, without the query.
    let tcp = "Transport: RTP/AVP/TCP;interleaved=0-1\r\n";
    assert_eq!(asks(scene.step("SETUP rtsp://h/live/open/trackID=0", tcp)), Asks::Child);
    scene.machine.answered(Answer::SetUp(Err(StatusCode::NotFound)));
    // It is a child's for one stream, and no longer anybody.
    assert_eq!(scene.status("DESCRIBE rtsp://h/live/free", ""), 403);
    assert_eq!(asks(Scene::new().step("DESCRIBE rtsp://h/live/open", "")), Asks::Anybody);
    for (uri, status) in [
        ("rtsp://h/live/open?process=old", 401),
        ("rtsp://h/live/open?process=", 401),
        ("rtsp://h/live/open?process=feeds", 403),
        ("rtsp://h/live/free?process=reads", 403),
    ] {
        assert_eq!(Scene::new().status(&format!("DESCRIBE {uri}"), ""), status, "{uri}");
    }
}

#[test]
fn a_place_that_is_kept_for_children_serves_nobody_else() {
    let mut scene = Scene::in_a_place(true);
    assert_eq!(scene.status("OPTIONS *", ""), 200);
    let reply = scene.send("DESCRIBE rtsp://h/live/open", "");
    assert!(reply.starts_with("503 There are too many connections|"), "{reply}");
    assert_eq!(
        scene.status("SETUP rtsp://h/live/open/trackID=0", "Transport: RTP/AVP;unicast;client_port=4-5\r\n"),
        503
    );
    assert!(!scene.machine.is_a_child());
    assert_eq!(scene.status("DESCRIBE rtsp://h/live/open?process=reads", ""), 200);
    assert!(scene.machine.is_a_child());
}

#[test]
fn who_is_refused_five_times_in_a_row_is_closed_and_who_asks_as_players_do_is_not() {
    let (shut, wrong) = ("DESCRIBE rtsp://h/live/shut", "Authorization: Basic dTp3cm9uZw==\r\n");
    let good = "Authorization: Basic dTpzZWNyZXQ=\r\n";
    let mut scene = Scene::new();
    // A challenge, a mistake, and what is right, each time anew.
    for _ in 0..3 {
        assert_eq!([scene.status(shut, ""), scene.status(shut, wrong), scene.status(shut, wrong)], [401; 3]);
        assert_eq!(scene.status(shut, good), 200);
    }
    for _ in 0..4 {
        assert!(!scene.send(shut, wrong).contains("Connection: close"));
    }
    assert!(!scene.over);
    assert!(scene.send(shut, wrong).contains("Connection: close"));
    assert!(scene.over);
    let mut weak = Scene::new();
    for _ in 0..5 {
        assert_eq!(weak.status(shut, "Authorization: Basic dTp3ZWFr\r\n"), 403);
    }
    assert!(weak.over, "forbidden is refused, too");
}

#[test]
fn whose_a_connection_is_is_asked_once() {
    for (ours, status) in [(true, 200), (false, 401)] {
        let mut scene = Scene { ours, ..Scene::new() };
        assert_eq!(scene.status("DESCRIBE rtsp://h/live/open?process=none", ""), 401);
        assert_eq!(scene.whose, 0, "of who shows nothing that is known");
        for _ in 0..3 {
            assert_eq!(scene.status("DESCRIBE rtsp://h/live/open?process=reads", ""), status);
        }
        assert_eq!(scene.whose, 1);
    }
}
