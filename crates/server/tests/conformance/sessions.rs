//! Session URLs and PATCH against running sessions (protocol.md 3.3, 4, 4.1, 4.2).

use crate::kit::sdp::Sdp;
use crate::kit::{Answer, FRAGMENT, SDP, Site, changed, offers};

/// A session somebody was told of, its 201, and the credentials of its offer.
struct Session {
    site: Site,
    accepted: Answer,
    ufrag: String,
    pwd: String,
}

impl Session {
    fn publisher() -> Session {
        let site = Site::start();
        let accepted = site.post("/whip/cam", &offers::offer("obs-32")).is(201);
        Session::of(site, accepted, "obs-32")
    }

    fn viewer() -> Session {
        let site = Site::start();
        // The viewer's session goes on for a while without its publisher.
        let _publisher = site.live("cam", "obs-32");
        let accepted = site.post("/whep/cam", &offers::offer("chromium-156-viewer")).is(201);
        Session::of(site, accepted, "chromium-156-viewer")
    }

    /// A viewer whose first section was refused.
    fn viewer_of_picture() -> Session {
        let site = Site::start();
        let _publisher = site.live("cam", "ffmpeg-8.0-video-only");
        let accepted = site.post("/whep/cam", &offers::offer("chromium-156-viewer")).is(201);
        Session::of(site, accepted, "chromium-156-viewer")
    }

    fn of(site: Site, accepted: Answer, fixture: &str) -> Session {
        let offer = offers::offer(fixture);
        let offer = Sdp::parse(&offer);
        let of_first = |name| offer.inherited(&offer.sections[0], name)[0].to_owned();
        Session { site, accepted, ufrag: of_first("ice-ufrag"), pwd: of_first("ice-pwd") }
    }

    /// A fragment of the current generation.
    fn fragment(&self) -> String {
        fragment(&self.ufrag, &self.pwd)
    }

    #[track_caller]
    fn patch(&self, if_match: &[&str], body: &str) -> Answer {
        let preconditions: Vec<String> = if_match.iter().map(|tag| format!("If-Match: {tag}")).collect();
        let fields: Vec<&str> = preconditions.iter().map(String::as_str).chain([FRAGMENT]).collect();
        self.site.ask("PATCH", self.accepted.location(), &fields, body)
    }
}

fn fragment(ufrag: &str, pwd: &str) -> String {
    format!(
        "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
         a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag {ufrag}\r\n"
    )
}

const NEW: (&str, &str) = ("ABCD", "0123456789012345678901");
const NEWER: (&str, &str) = ("EFGH", "9876543210987654321098");

/// protocol.md 4.1, the rows that leave the session as it was; the order of checks among them.
#[test]
fn every_patch_that_is_no_restart_has_its_status_and_changes_nothing() {
    for session in [Session::publisher(), Session::viewer()] {
        let (tag, current) = (session.accepted.etag().to_owned(), session.fragment());
        let (short, long) = (&*session.ufrag, &*session.pwd);
        let list = format!("\"other\", {tag}");
        for (rule, if_match, body, status) in [
            ("no If-Match", &[][..], current.clone(), 428),
            ("no If-Match comes before syntax", &[], "{}".to_owned(), 428),
            ("the tag", &[&*tag], current.clone(), 204),
            ("the same again", &[&tag], current.clone(), 204),
            ("in a list", &[&list], current.clone(), 204),
            ("in a field of its own", &["\"other\"", &tag], current.clone(), 204),
            ("the wildcard", &["*"], current.clone(), 204),
            ("as the specifications print it", &["\"*\""], current.clone(), 204),
            ("another tag", &["\"other\""], current.clone(), 412),
            ("a weak tag", &[&format!("W/{tag}")], current.clone(), 412),
            ("a tag without quotes", &[tag.trim_matches('"')], current.clone(), 412),
            ("a failed precondition comes before syntax", &["\"other\""], "{}".to_owned(), 412),
            ("only the ufrag changed", &[&tag], fragment(NEW.0, long), 400),
            ("only the password changed", &["*"], fragment(short, NEW.1), 400),
            ("a ufrag of 3", &["*"], fragment("ABC", NEW.1), 400),
            ("a password of 21", &["*"], fragment(NEW.0, &NEW.1[1..]), 400),
            ("no ice-chars", &["*"], fragment("AB-D", NEW.1), 400),
            ("no ufrag", &["*"], format!("a=ice-pwd:{long}\r\n"), 400),
            ("no password", &["*"], format!("a=ice-ufrag:{short}\r\n"), 400),
            ("empty", &["*"], String::new(), 400),
            ("JSON", &["*"], "{\"candidate\":\"candidate:1 1 udp 1 192.0.2.1 9 typ host\"}".to_owned(), 400),
            ("binary", &["*"], "\u{0}\u{1}\u{2}=".to_owned(), 400),
            ("a line without =", &["*"], format!("{current}end-of-candidates\r\n"), 400),
            (
                "65 candidates",
                &["*"],
                current.clone() + &"a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n".repeat(64),
                400,
            ),
            ("over 16 KiB", &["*"], current.clone() + &"a=x\r\n".repeat(3300), 413),
        ] {
            let answer = session.patch(if_match, &body);
            assert_eq!(answer.status, status, "{rule}: {answer:?}");
            assert!(answer.field("etag").is_none() && (status != 204 || answer.body.is_empty()), "{rule}: {answer:?}");
        }
        session.patch(&[&tag], &current).is(204);
    }
}

/// protocol.md 4: whatever a client trickles that cannot be used is discarded, and the request succeeds.
#[test]
fn candidates_that_cannot_be_used_are_no_mistake() {
    let session = Session::publisher();
    let credentials = format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", session.ufrag, session.pwd);
    for (rule, rest) in [
        ("none", ""),
        ("TCP", "a=candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active"),
        ("component 0, as Eyevinn's SDK writes", "a=candidate:1 0 udp 1 192.0.2.1 9 typ host"),
        (".local", "a=candidate:1 1 udp 1 5a2b.local 9 typ host"),
        ("a name that leads nowhere", "a=candidate:1 1 udp 1 nowhere.invalid 9 typ host"),
        ("an unknown type", "a=candidate:1 1 udp 1 192.0.2.1 9 typ what"),
        ("a doubled prefix", "a=candidate:candidate:1 1 udp 1 192.0.2.1 9 typ host"),
        ("another generation's", "a=candidate:1 1 udp 1 192.0.2.1 9 typ host ufrag ELSE"),
        ("nonsense", "a=candidate:"),
        ("the end", "a=end-of-candidates"),
        (
            "a mid that is an index",
            "m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:7\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host",
        ),
        (
            "every option",
            "a=group:BUNDLE 0 1\r\na=ice-lite\r\na=ice-options:trickle ice2\r\na=ice-pacing:50\r\na=what:ever",
        ),
        ("the media level wins", "m=audio 9 RTP/AVP 0\r\na=mid:0"),
    ] {
        let answer = session.patch(&["*"], &format!("{credentials}{rest}"));
        assert_eq!(answer.status, 204, "{rule}: {answer:?}");
        session.patch(&["*"], &format!("{credentials}{rest}").replace("\r\n", "\n")).is(204);
    }
    let at_media = format!("a=ice-ufrag:ELSE\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n{credentials}");
    session.patch(&["*"], &at_media).is(204);
}

/// protocol.md 4.1 and 4.2: by tag and by wildcard, one after another; the loser's tag is dead.
#[test]
fn restarts_change_credentials_and_tag_and_kill_the_old_ones() {
    for session in [Session::publisher(), Session::viewer(), Session::viewer_of_picture()] {
        let answer = Sdp::parse(session.accepted.text());
        let first = &answer.sections[0];
        let (old_ufrag, old_pwd) = (first.one("ice-ufrag"), first.one("ice-pwd"));
        let tag = session.accepted.etag();
        let (new, newer) = (fragment(NEW.0, NEW.1), fragment(NEWER.0, NEWER.1));

        let restarted = session.patch(&[tag], &new).is(200);
        check_restart(&restarted, &answer);
        let second = restarted.etag().to_owned();
        assert_ne!(second, tag);
        let body = Sdp::parse(restarted.text());
        let (ufrag, pwd) = (body.sections[0].one("ice-ufrag"), body.sections[0].one("ice-pwd"));
        assert!(ufrag != old_ufrag && pwd != old_pwd, "new credentials");

        session.patch(&[tag], &session.fragment()).is(412);
        session.patch(&[tag], &new).is(412);
        session.patch(&["*"], &new).is(204);
        session.patch(&[&second], &new).is(204);

        // The old client credentials are a third generation's now: both differ from the current ones.
        let third = session.patch(&["*"], &newer).is(200).etag().to_owned();
        session.patch(&[&second], &newer).is(412);
        let fourth = session.patch(&["\"*\""], &session.fragment()).is(200).etag().to_owned();
        let all = [tag, &second, &third, &fourth];
        assert!((1..4).all(|index| !all[..index].contains(&all[index])), "a tag is never used twice: {all:?}");
        session.site.ask("GET", session.accepted.location(), &[], "").is(204);
    }
}

#[track_caller]
fn check_restart(restarted: &Answer, answer: &Sdp<'_>) {
    assert_eq!(restarted.field("content-type"), Some("application/trickle-ice-sdpfrag"));
    assert_eq!(restarted.field("cache-control"), Some("no-store"));
    let text = restarted.text();
    assert!(text.ends_with("\r\n") && !text.replace("\r\n", "").contains(['\r', '\n']), "medooze needs CRLF: {text:?}");
    let body = Sdp::parse(text);
    let [section] = &body.sections[..] else { panic!("{text}") };
    for name in ["ice-lite", "ice-options", "ice-pacing"] {
        assert_eq!(body.session.all(name), answer.session.all(name), "as in the answer: {text}");
    }
    let tagged = answer.sections.iter().find(|part| part.port() != 0).expect("an accepted section");
    assert_eq!(section.one("mid"), tagged.one("mid"));
    assert_eq!(section.all("candidate"), tagged.all("candidate"), "all of ours");
    assert_eq!(section.lines.last(), Some(&"a=end-of-candidates"));
}

/// protocol.md 3.3: the rows about types and methods, on sessions that exist.
#[test]
fn types_and_methods_of_a_session_url() {
    let (publisher, viewer) = (Session::publisher(), Session::viewer());
    for (session, sdp_status) in [(&publisher, 415), (&viewer, 422)] {
        let (url, tag) = (session.accepted.location(), format!("If-Match: {}", session.accepted.etag()));
        let offer = offers::offer("obs-32");
        let sdp = session.site.ask("PATCH", url, &[SDP, &tag], &offer).is(sdp_status);
        assert_eq!(sdp.field("accept-patch").is_some(), sdp_status == 415, "{sdp:?}");
        for fields in [&[][..], &["Content-Type: application/json"], &["Content-Type: text/plain"]] {
            let answer = session.site.ask("PATCH", url, fields, session.fragment()).is(415);
            assert_eq!(answer.field("accept-patch"), Some("application/trickle-ice-sdpfrag"));
        }
        let gzip = [FRAGMENT, &tag, "Content-Encoding: gzip"];
        session.site.ask("PATCH", url, &gzip, session.fragment()).is(415);
        let with_parameter = ["content-type: Application/Trickle-ICE-sdpfrag ; charset=utf-8", &tag];
        session.site.ask("PATCH", url, &with_parameter, session.fragment()).is(204);
        let options = session.site.ask("OPTIONS", url, &[], "").is(200);
        assert_eq!(options.field("accept-patch"), Some("application/trickle-ice-sdpfrag"));
        for method in ["POST", "PUT"] {
            let answer = session.site.ask(method, url, &[SDP], &offer).is(405);
            assert_eq!(answer.field("allow"), Some("OPTIONS, GET, HEAD, PATCH, DELETE"));
        }
        session.site.ask("GET", url, &[], "").is(204);
        session.site.ask("HEAD", url, &[], "").is(204);
    }
    // A session of one protocol is none of the other's.
    for (session, here, there) in [(&publisher, "/whip/", "/whep/"), (&viewer, "/whep/", "/whip/")] {
        let other = changed(session.accepted.location(), &[(here, there)]);
        session.site.ask("PATCH", &other, &[FRAGMENT, "If-Match: *"], session.fragment()).is(404);
        session.site.ask("DELETE", &other, &[], "").is(404);
        session.site.ask("DELETE", &changed(session.accepted.location(), &[("/cam/", "/other/")]), &[], "").is(404);
        session.site.ask("GET", session.accepted.location(), &[], "").is(204);
    }
}

/// protocol.md 4.3: PATCH after the end is 404, and so is everything but DELETE on a tombstone.
#[test]
fn a_tombstone_answers_delete_only() {
    for session in [Session::publisher(), Session::viewer()] {
        let url = session.accepted.location();
        session.site.ask("DELETE", url, &[], "").is(200);
        session.site.until(|| session.site.ask("GET", url, &[], "").status == 404);
        session.patch(&["*"], &session.fragment()).is(404);
        session.patch(&[], "{}").is(404);
        session.site.ask("DELETE", url, &["If-Match: \"x\""], "").is(200);
    }
}

/// design.md 1.2: every alias leads to real sessions with session URLs of its own prefix; `/api/v3` has manners of its
/// own.
#[test]
fn every_alias_publishes_watches_trickles_and_ends() {
    let site = Site::start();
    for (publish, watch, is_core) in [
        ("/whip/cam", "/whep/cam", false),
        ("/whip/cam", "/whip/cam/whep", false),
        ("/api/v3/whip/cam", "/api/v3/whep/cam", true),
        ("/rtc/v1/whip/?app=live&stream=cam", "/rtc/v1/whep/?app=live&stream=cam", false),
        ("/rtc/v1/whip?app=show&stream=cam", "/rtc/v1/whep?app=show&stream=cam", false),
    ] {
        let publisher = crate::kit::Live::connect(&site, publish, &offers::offer("obs-32"));
        let name = if publish.contains("app=show") { "show.cam" } else { "cam" };
        site.until(|| site.stream(name)["live"] == true);
        let viewer = site.post(watch, &offers::offer("chromium-156-viewer")).is(201);
        for (session, target) in [(&publisher.accepted, publish), (&viewer, watch)] {
            let url = session.location();
            let prefix = target.split('?').next().unwrap_or_default().trim_end_matches('/');
            let stream = if prefix.contains("cam") { "" } else { name };
            let expected = format!("{prefix}/{stream}").trim_end_matches('/').to_owned() + "/";
            assert!(url.starts_with(&expected) && !url[expected.len()..].contains('/'), "{target}: {url}");
            let offer = if target == publish { publisher.offer.clone() } else { offers::offer("chromium-156-viewer") };
            let offer = Sdp::parse(&offer);
            let of_first = |name| offer.inherited(&offer.sections[0], name)[0];
            let body = fragment(of_first("ice-ufrag"), of_first("ice-pwd"));
            site.ask("PATCH", url, &[FRAGMENT], &body).is(if is_core { 204 } else { 428 });
            site.ask("PATCH", url, &[FRAGMENT, "If-Match: *"], &body).is(204);
            site.ask("DELETE", url, &[], "").is(if is_core { 204 } else { 200 });
            site.ask("DELETE", &format!("{expected}unknown"), &[], "").is(if is_core { 204 } else { 404 });
        }
        site.until(|| publisher.is_closed());
    }
}
