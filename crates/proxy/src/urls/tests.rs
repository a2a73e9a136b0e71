use super::*;
use crate::record::OriginId;

const ID: &str = "0123456789abcdef0123456789abcdef";

fn endpoint(path: &str, query: &str) -> (&'static Place, String) {
    match target(path, Some(query)) {
        Ok(Target::Endpoint(place, Some(stream))) => (place, stream.as_str().to_owned()),
        other => panic!("{path}?{query}: {other:?}"),
    }
}

fn origin(kind: Kind, url: &str) -> Origin {
    let id = OriginId::parse("origin").expect("an id");
    Origin { id, url: Url::parse(url).expect("a URL"), kind, rtc: None }
}

#[test]
fn every_shape_names_its_stream_and_hands_out_session_urls_inside_its_prefix() {
    for (path, query, role, stream, session) in [
        ("/whip/cam", "", Role::Publisher, "cam", "/whip/cam/"),
        ("/whip/cam/", "", Role::Publisher, "cam", "/whip/cam/"),
        ("/whip/c%61m", "", Role::Publisher, "cam", "/whip/cam/"),
        ("/whep/cam", "app=x&stream=y", Role::Viewer, "cam", "/whep/cam/"),
        ("/whip/cam/whep", "", Role::Viewer, "cam", "/whip/cam/whep/"),
        ("/whip/whep", "", Role::Publisher, "whep", "/whip/whep/"),
        ("/api/v3/whip/cam", "", Role::Publisher, "cam", "/api/v3/whip/cam/"),
        ("/api/v3/whep/cam", "", Role::Viewer, "cam", "/api/v3/whep/cam/"),
        ("/rtc/v1/whip/", "app=live&stream=cam", Role::Publisher, "cam", "/rtc/v1/whip/cam/"),
        ("/rtc/v1/whip", "stream=cam", Role::Publisher, "cam", "/rtc/v1/whip/cam/"),
        ("/rtc/v1/whep/", "stream=cam&app=show&vhost=v", Role::Viewer, "show.cam", "/rtc/v1/whep/show.cam/"),
        ("/rtc/v1/whep/show/cam.flv", "", Role::Viewer, "show.cam", "/rtc/v1/whep/show.cam/"),
        ("/rtc/v1/whip/live/cam", "", Role::Publisher, "cam", "/rtc/v1/whip/cam/"),
        ("/rtc/v1/whip/cam", "", Role::Publisher, "cam", "/rtc/v1/whip/cam/"),
    ] {
        let (place, named) = endpoint(path, query);
        assert_eq!((place.role, named.as_str()), (role, stream), "{path}?{query}");
        let id = SessionId::parse(ID).expect("an id");
        let location = place.location(&StreamKey::parse(stream).expect("a name"), &id);
        assert_eq!(location, format!("{session}{ID}"), "{path}?{query}");
        let back = target(&location, None);
        assert_eq!(back, Ok(Target::Session(place, StreamKey::parse(stream).expect("a name"), Some(id))), "{location}");
    }
}

#[test]
fn what_names_nothing_is_refused() {
    for (path, query, error) in [
        ("/", "", UrlError::Nothing),
        ("/whip", "", UrlError::Nothing),
        ("/whipx/cam", "", UrlError::Nothing),
        ("/whip/cam/whep/a/b", "", UrlError::Nothing),
        ("/whip/a/b/c", "", UrlError::Nothing),
        ("/rtc/v1/play/cam", "", UrlError::Nothing),
        ("/whip/..", "", UrlError::Name),
        ("/whip/a%20b", "", UrlError::Name),
        ("/whip/%ff", "", UrlError::Name),
        ("/rtc/v1/whip/", "", UrlError::Query),
        ("/rtc/v1/whip/", "stream=", UrlError::Query),
        ("/rtc/v1/whip/", "stream=a&stream=b", UrlError::Query),
        ("/rtc/v1/whip/", "app=a%2Fb&stream=c", UrlError::Name),
    ] {
        assert_eq!(target(path, Some(query)), Err(error), "{path}?{query}");
    }
    let unknown = target("/whip/cam/nosuch", None);
    assert!(matches!(unknown, Ok(Target::Session(_, _, None))), "{unknown:?}");
}

#[test]
fn a_stream_url_names_application_and_stream() {
    for (text, stream) in [
        ("webrtc://192.0.2.1/live/livestream", Some("livestream")),
        ("webrtc://[2001:db8::1]:1985/show/cam?vhost=x&secret=y", Some("show.cam")),
        ("webrtc://media.example.net/cam", Some("cam")),
        ("webrtc://h/a/b/c", None),
        ("webrtc://h/", None),
        ("live/livestream", None),
        ("", None),
    ] {
        let named = named_by_stream_url(text).ok();
        assert_eq!(named.as_ref().map(StreamKey::as_str), stream, "{text}");
    }
}

#[test]
fn each_kind_of_origin_is_asked_at_its_own_url() {
    for (kind, path, query, expected) in [
        (Kind::Whipstitch, "/whip/cam", "token=t", "http://[::1]:8555/whip/cam?token=t"),
        (
            Kind::Whipstitch,
            "/rtc/v1/whip/",
            "app=show&stream=cam&token=a%2Bb",
            "http://[::1]:8555/whip/show.cam?token=a%2Bb",
        ),
        (Kind::Whip, "/whip/cam/whep", "", "http://[::1]:8555/whep/cam"),
        (
            Kind::Srs,
            "/rtc/v1/whip/",
            "app=live&stream=a.b&eip=x",
            "http://[::1]:8555/rtc/v1/whip/?app=live&stream=a.b&eip=x",
        ),
        (Kind::Srs, "/whip/cam", "token=t", "http://[::1]:8555/rtc/v1/whip/?app=live&stream=cam&token=t"),
        (Kind::Srs, "/whep/show.cam", "", "http://[::1]:8555/rtc/v1/whep/?app=show&stream=cam"),
        // What the path names was claimed, and nothing else is published.
        (
            Kind::Srs,
            "/rtc/v1/whip/live/foo",
            "app=live&stream=cam&token=t",
            "http://[::1]:8555/rtc/v1/whip/?app=live&stream=foo&token=t",
        ),
        (Kind::Srs, "/rtc/v1/whep/show/cam", "", "http://[::1]:8555/rtc/v1/whep/?app=show&stream=cam"),
    ] {
        let (place, stream) = endpoint(path, query);
        let stream = StreamKey::parse(&stream).expect("a name");
        let (url, in_envelope) = place.at(&origin(kind, "http://[::1]:8555"), &stream, Some(query));
        assert_eq!((url.as_str(), in_envelope), (expected, false), "{kind:?} {path}?{query}");
    }
    let Ok(Target::Endpoint(play, None)) = target("/rtc/v1/play/", None) else { panic!("the place of the envelope") };
    let stream = StreamKey::parse("cam").expect("a name");
    let (url, in_envelope) = play.at(&origin(Kind::Srs, "http://h:1985/"), &stream, Some("a=b"));
    assert_eq!((url.as_str(), in_envelope), ("http://h:1985/rtc/v1/play/?a=b", true));
    let (url, in_envelope) = play.at(&origin(Kind::Whip, "http://h/behind/"), &stream, None);
    assert_eq!((url.as_str(), in_envelope), ("http://h/behind/whep/cam", false));
}

#[test]
fn a_session_is_at_the_origin_that_answered_whatever_its_location_says() {
    let asked = Url::parse("http://10.0.0.2:1985/rtc/v1/whip/?app=live&stream=cam").expect("a URL");
    for (location, expected) in [
        ("/whip/cam/x", "http://10.0.0.2:1985/whip/cam/x"),
        ("x", "http://10.0.0.2:1985/rtc/v1/whip/x"),
        ("http://10.0.0.2:1985/whip/cam/x", "http://10.0.0.2:1985/whip/cam/x"),
        ("https://evil.example/whip/cam/x#y", "http://10.0.0.2:1985/whip/cam/x"),
        ("//evil.example/x", "http://10.0.0.2:1985/x"),
        (
            "/rtc/v1/whip/?action=delete&token=t&app=live&stream=cam&session=u:v",
            "http://10.0.0.2:1985/rtc/v1/whip/?action=delete&token=t&app=live&stream=cam&session=u:v",
        ),
    ] {
        assert_eq!(resource(&asked, location).map(String::from).as_deref(), Some(expected), "{location}");
    }
    let session = Url::parse("http://h/?a=b").expect("a URL");
    assert_eq!(with_query(session.clone(), Some("token=t")).as_str(), "http://h/?a=b&token=t");
    assert_eq!(with_query(session, None).as_str(), "http://h/?a=b");
}

#[test]
fn the_query_of_a_stream_url_goes_along_where_the_request_says_nothing_else() {
    for (url, stream_url, expected) in [
        ("http://o/whep/cam", "webrtc://h/live/cam?token=s", "http://o/whep/cam?token=s"),
        ("http://o/whep/cam?token=a", "webrtc://h/live/cam?token=b&x=%20y", "http://o/whep/cam?token=a&x=%20y"),
        ("http://o/whep/cam?a=b", "webrtc://h/live/cam?app=x&stream=y", "http://o/whep/cam?a=b"),
        ("http://o/whep/cam", "webrtc://h/live/cam", "http://o/whep/cam"),
        ("http://o/whep/cam", "no URL", "http://o/whep/cam"),
    ] {
        assert_eq!(with_stream_url(url.parse().unwrap(), stream_url).as_str(), expected, "{url} {stream_url}");
    }
}
