//! Every shape of URL that WHIP and WHEP are served at (design 1.2), by one table.

use super::*;

/// One shape.
pub(super) struct Shape {
    pub(super) role: Role,
    /// The endpoint of the stream `a`.
    pub(super) endpoint: &'static str,
    /// Its session URLs without the last segment.
    pub(super) sessions: &'static str,
    /// `/api/v3`: DELETE is 204 always, PATCH needs no If-Match.
    pub(super) core: bool,
}

const fn shape(role: Role, endpoint: &'static str, sessions: &'static str, core: bool) -> Shape {
    Shape { role, endpoint, sessions, core }
}

pub(super) const SHAPES: &[Shape] = &[
    shape(Role::Publisher, "/whip/a", "/whip/a", false),
    shape(Role::Subscriber, "/whep/a", "/whep/a", false),
    shape(Role::Subscriber, "/whip/a/whep", "/whip/a/whep", false),
    shape(Role::Publisher, "/api/v3/whip/a", "/api/v3/whip/a", true),
    shape(Role::Subscriber, "/api/v3/whep/a", "/api/v3/whep/a", true),
    shape(Role::Publisher, "/rtc/v1/whip/?app=live&stream=a", "/rtc/v1/whip/a", false),
    shape(Role::Subscriber, "/rtc/v1/whep/?app=live&stream=a", "/rtc/v1/whep/a", false),
    // The same two places in other words.
    shape(Role::Publisher, "/rtc/v1/whip?stream=a", "/rtc/v1/whip/a", false),
    shape(Role::Subscriber, "/rtc/v1/whep?eip=192.0.2.1&stream=a&app=", "/rtc/v1/whep/a", false),
];

#[test]
fn every_place_is_in_the_table() {
    for mount in MOUNTS {
        let sessions = mount.session.replace("{stream}", "a").replace("/{session}", "");
        let shape = SHAPES.iter().find(|shape| shape.sessions == sessions).expect(mount.session);
        assert_eq!(shape.role, mount.role, "{}", mount.session);
    }
}

#[tokio::test]
async fn a_session_lives_and_ends_inside_the_prefix_that_was_called() {
    for Shape { role, endpoint, sessions, core } in SHAPES {
        let site = Site::open().await;
        let created = site.ask("POST", endpoint, &[SDP_TYPE], OFFER).await;
        assert_eq!(created.status, 201, "{endpoint}");
        created.check();
        let url = format!("{sessions}/secret");
        assert_eq!(created.field("location"), Some(&*url), "{endpoint}");
        let verb = if *role == Role::Publisher { "publish" } else { "watch" };
        assert_eq!(site.media.asked(), [format!("{verb} a {OFFER:?} [127.0.0.1:4000] None")], "{endpoint}");

        let options = site.ask("OPTIONS", &url, &[], "").await;
        assert_eq!((options.status, options.field("accept-patch")), (200, Some(FRAGMENT_TYPE.split_at(14).1)), "{url}");
        assert_eq!(options.field("allow"), Some("OPTIONS, GET, HEAD, PATCH, DELETE"), "{url}");
        for method in ["GET", "HEAD"] {
            assert_eq!(site.ask(method, &url, &[], "").await.status, 204, "{method} {url}");
        }
        assert_eq!(site.ask("POST", &url, &[SDP_TYPE], OFFER).await.status, 405, "{url}");

        for (fields, if_match) in
            [(&[FRAGMENT_TYPE, "if-match: \"tag\""][..], Some("\"tag\"")), (&[FRAGMENT_TYPE], core.then_some("*"))]
        {
            assert_eq!(site.ask("PATCH", &url, fields, FRAGMENT).await.status, 204, "{url}");
            let expected = format!("patch {role:?} a secret {if_match:?} {FRAGMENT:?}");
            assert_eq!(site.media.asked(), [expected], "{url}: what the precondition is, the media plane judges");
        }

        let (done, unknown) = if *core { (204, 204) } else { (200, 404) };
        assert_eq!(site.ask("DELETE", &url, &[], "").await.status, done, "{url}");
        assert_eq!(site.media.asked(), [format!("delete {role:?} a secret")], "{url}");
        assert_eq!(site.ask("DELETE", &format!("{sessions}/unknown"), &[], "").await.status, unknown, "{url}");
        assert_eq!(site.ask("PATCH", &format!("{sessions}/unknown"), &[FRAGMENT_TYPE], FRAGMENT).await.status, 404);
    }
}

#[tokio::test]
async fn an_endpoint_answers_at_every_url_as_its_protocol_says() {
    for Shape { role, endpoint, core, .. } in SHAPES {
        let site = Site::open().await;
        let (seen, delete, allow) = match role {
            Role::Publisher if *core => (204, 204, "OPTIONS, GET, HEAD, POST, DELETE"),
            Role::Publisher => (204, 404, "OPTIONS, GET, HEAD, POST, DELETE"),
            Role::Subscriber => (200, 405, "OPTIONS, GET, HEAD, POST"),
        };
        let preflight = ["origin: http://x", "access-control-request-method: POST"];
        for fields in [&preflight[..], &[]] {
            let options = site.ask("OPTIONS", endpoint, fields, "").await;
            assert_eq!((options.status, options.field("allow")), (200, Some(allow)), "{endpoint}");
            assert_eq!(options.field("accept-post"), Some("application/sdp"), "{endpoint}");
        }
        assert_eq!(site.ask("GET", endpoint, &[], "").await.status, seen, "{endpoint}");
        assert_eq!(site.ask("HEAD", endpoint, &[], "").await.status, seen, "{endpoint}");
        assert_eq!(site.ask("DELETE", endpoint, &[], "").await.status, delete, "{endpoint}");
        assert_eq!(site.ask("PATCH", endpoint, &[FRAGMENT_TYPE], FRAGMENT).await.status, 405, "{endpoint}");
        assert_eq!(site.ask("POST", endpoint, &[], OFFER).await.status, 415, "{endpoint}");
        site.media.live.lock().unwrap().insert("a".to_owned());
        if *role == Role::Publisher {
            let ended = if *core { 204 } else { 200 };
            assert_eq!(site.ask("DELETE", endpoint, &[], "").await.status, ended, "{endpoint}");
            assert!(site.media.live.lock().unwrap().is_empty(), "{endpoint}");
        }
    }
}

/// A session is its role, its stream and its secret; which of the prefixes it was made under does not matter.
#[tokio::test]
async fn a_session_url_is_good_under_all_prefixes_of_its_role_and_under_none_of_the_other() {
    for made in [Role::Publisher, Role::Subscriber] {
        let site = Site::open().await;
        site.with_session(made, "a");
        for Shape { role, sessions, .. } in SHAPES {
            let status = site.ask("GET", &format!("{sessions}/secret"), &[], "").await.status;
            assert_eq!(status, if *role == made { 204 } else { 404 }, "{made:?} {sessions}");
        }
    }
}

#[tokio::test]
async fn app_and_stream_make_one_name() {
    let site = Site::open().await;
    let longest = "s".repeat(128);
    let too_long = "s".repeat(124);
    for (query, name) in [
        ("app=live&stream=s", Some("s")),
        ("stream=s&app=live", Some("s")),
        ("stream=s", Some("s")),
        ("app=&stream=s", Some("s")),
        ("app=show&stream=s", Some("show.s")),
        ("app=Live&stream=s", Some("Live.s")),
        ("app=live&stream=%73&token=x&secret=y", Some("s")),
        (&format!("app=live&stream={longest}"), Some(&*longest)),
        (&format!("app=show&stream={too_long}"), None),
        ("app=live", None),
        ("app=live&stream=", None),
        ("", None),
        ("app=live&stream=s&stream=t", None),
        ("app=live&app=show&stream=s", None),
        ("app=a/b&stream=s", None),
        ("app=live&stream=a%2Fb", None),
        ("app=live&stream=..", None),
        ("app=live&stream=a+b", None),
        ("app=live&stream=%FF", None),
    ] {
        for (place, verb) in [("/rtc/v1/whip", "publish"), ("/rtc/v1/whep", "watch")] {
            for slash in ["", "/"] {
                let target = format!("{place}{slash}?{query}");
                let answer = site.ask("POST", &target, &[SDP_TYPE], OFFER).await;
                answer.check();
                let asked = site.media.asked();
                if let Some(name) = name {
                    assert_eq!(answer.field("location"), Some(&*format!("{place}/{name}/secret")), "{target}");
                    assert!(asked.len() == 1 && asked[0].starts_with(&format!("{verb} {name} ")), "{asked:?}");
                } else {
                    assert_eq!(answer.status, 400, "{target}");
                    answer.problem();
                    assert!(asked.is_empty(), "{target}");
                }
            }
        }
    }
}
